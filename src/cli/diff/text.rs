//! Differences for people: a unified diff per object, notes, and a summary. Enters: differences, masked already. Leaves: text.

use similar::TextDiff;

use super::difference::{Difference, Operation};
use super::{Labels, Outcome};
use crate::cli::output::plain;

/// Lines shown around a change, as `diff -u` does.
const CONTEXT_LINES: usize = 3;

const BOLD: &str = "1";
const RED: &str = "31";
const GREEN: &str = "32";
const CYAN: &str = "36";
const YELLOW: &str = "33";

/// The whole answer.
pub(super) fn answer(outcome: &Outcome, labels: &Labels, is_coloured: bool) -> anyhow::Result<String> {
    let mut text = String::new();
    for note in &outcome.notes {
        line(&mut text, &format!("# {}", plain(note)), is_coloured);
    }
    for difference in &outcome.differences {
        for each in unified(difference, labels)?.lines() {
            line(&mut text, each, is_coloured);
        }
    }
    text.push_str(&summary(outcome));
    Ok(text)
}

fn line(text: &mut String, line: &str, is_coloured: bool) {
    let colour = match line {
        line if line.starts_with("--- ") || line.starts_with("+++ ") => BOLD,
        line if line.starts_with('-') => RED,
        line if line.starts_with('+') => GREEN,
        line if line.starts_with("@@") => CYAN,
        line if line.starts_with('#') => YELLOW,
        _ => "",
    };
    if is_coloured && !colour.is_empty() {
        text.push_str(&format!("\u{1b}[{colour}m{line}\u{1b}[0m\n"));
    } else {
        text.push_str(line);
        text.push('\n');
    }
}

/// One object.
fn unified(difference: &Difference, labels: &Labels) -> anyhow::Result<String> {
    let subject = difference.subject();
    let mut text = String::new();
    for note in &difference.notes {
        text.push_str(&format!("# {}\n", plain(&format!("{subject}: {note}"))));
    }
    let place = |label: &str| match difference.file.as_str() {
        "" => label.to_owned(),
        file => format!("{file}@{label}"),
    };
    let (before, after) = match difference.operation {
        Operation::Unchecked => return Ok(text),
        Operation::Added => (format!("{} (absent)", labels.before), place(&labels.after)),
        Operation::Changed if labels.is_live => (labels.before.clone(), place(&labels.after)),
        Operation::Changed => (place(&labels.before), place(&labels.after)),
        Operation::Pruned => (labels.before.clone(), format!("{} (not declared)", labels.after)),
        Operation::Removed => (place(&labels.before), format!("{} (not declared)", labels.after)),
    };
    let [old, new] = [&difference.before, &difference.after]
        .map(|state| state.as_ref().map_or_else(|| Ok(String::new()), serde_yaml::to_string));
    let (old, new) = (old?, new?);
    let compared = TextDiff::from_lines(old.as_str(), new.as_str());
    let mut hunks = compared.unified_diff();
    hunks.context_radius(CONTEXT_LINES);
    text.push_str(&format!("--- {}\n+++ {}\n", plain(&format!("{before}  {subject}")), plain(&after)));
    // A manifest must not be able to write on the reader's terminal.
    let is_harmless = |character: &char| !character.is_control() || matches!(character, '\n' | '\t');
    text.extend(hunks.to_string().chars().filter(is_harmless));
    Ok(text)
}

/// The last line: how many objects differ, and how.
fn summary(outcome: &Outcome) -> String {
    let count = outcome.differences.len();
    if count == 0 {
        let apps = counted(outcome.apps, "application");
        let said = if outcome.notes.is_empty() { "" } else { ", but see above" };
        return format!("no difference in {} of {apps}{said}\n", counted(outcome.objects, "object"));
    }
    let of = |operation: Operation| outcome.differences.iter().filter(|each| each.operation == operation).count();
    let parts: Vec<String> = Operation::ALL
        .iter()
        .filter(|operation| of(**operation) > 0)
        .map(|operation| format!("{} {}", of(*operation), operation.word()))
        .collect();
    let differ = if count == 1 { "differs" } else { "differ" };
    format!("{} {differ}: {}\n", counted(count, "object"), parts.join(", "))
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::{AppName, ClusterName, Object};

    fn object(name: &str, change: impl Fn(&mut Value)) -> Object {
        let mut body = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"a": 1, "b": 1, "c": 1, "d": 1, "replicas": 1, "strategy": {}}});
        change(&mut body);
        Object::from_value(&ClusterName::local(), body).unwrap()
    }

    fn outcome(differences: Vec<Difference>) -> Outcome {
        Outcome { differences, objects: 4, apps: 1, ..Outcome::default() }
    }

    fn labels(is_live: bool) -> Labels {
        let before = if is_live { "live" } else { "aaaaaaa" };
        Labels { before: before.to_owned(), after: "working tree".to_owned(), is_live }
    }

    fn difference(before: Option<&Object>, after: Option<&Object>) -> Option<Difference> {
        Difference::of(&AppName::from("web"), "apps/web.yaml", before, after)
    }

    #[test]
    fn a_change_is_shown_with_three_lines_around_it() {
        let (before, after) = (object("web", |_| {}), object("web", |body| body["spec"]["replicas"] = json!(3)));
        let differences = vec![difference(Some(&before), Some(&after)).unwrap()];
        let expected = "\
--- live  apps/Deployment shop/web
+++ apps/web.yaml@working tree
@@ -8,5 +8,5 @@
   b: 1
   c: 1
   d: 1
-  replicas: 1
+  replicas: 3
   strategy: {}
1 object differs: 1 changed
";
        assert_eq!(answer(&outcome(differences), &labels(true), false).unwrap(), expected);
    }

    #[test]
    fn what_is_added_or_goes_is_shown_whole_with_its_notes() {
        let object = object("web", |_| {});
        let added = difference(None, Some(&object)).unwrap();
        let gone = difference(Some(&object), None).unwrap().pruned().noted("prune is off: it stays");
        let text = answer(&outcome(vec![added, gone]), &labels(true), false).unwrap();
        assert!(
            text.contains("--- live (absent)  apps/Deployment shop/web\n+++ apps/web.yaml@working tree\n"),
            "{text}"
        );
        assert!(text.contains("# apps/Deployment shop/web: prune is off: it stays\n--- live  apps/"), "{text}");
        assert!(text.contains("+++ working tree (not declared)\n"), "{text}");
        assert!(text.contains("+  replicas: 1\n") && text.contains("-  replicas: 1\n"), "{text}");
        assert!(text.ends_with("2 objects differ: 1 added, 1 pruned\n"), "{text}");
    }

    #[test]
    fn nothing_is_said_in_one_line_and_colour_changes_no_text() {
        let object = object("web", |_| {});
        assert!(difference(Some(&object), Some(&object)).is_none());
        let nothing = answer(&outcome(Vec::new()), &labels(false), true).unwrap();
        assert_eq!(nothing, "no difference in 4 objects of 1 application\n");
        let changes = || outcome(vec![difference(None, Some(&object)).unwrap()]);
        let plain = answer(&changes(), &labels(false), false).unwrap();
        let mut coloured = answer(&changes(), &labels(false), true).unwrap();
        assert!(coloured.contains("\u{1b}[32m+  replicas: 1\u{1b}[0m"), "{coloured}");
        for code in ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[32m", "\u{1b}[36m"] {
            coloured = coloured.replace(code, "");
        }
        assert_eq!(plain, coloured);
    }

    #[test]
    fn a_manifest_cannot_write_on_the_terminal() {
        let bad = object("web", |body| body["spec"]["note"] = json!("a\u{1b}[31mb\nc\u{9b}d"));
        let text = answer(&outcome(vec![difference(None, Some(&bad)).unwrap()]), &labels(true), false).unwrap();
        assert!(!text.chars().any(|character| character.is_control() && character != '\n'), "{text:?}");
    }

    #[test]
    fn a_secrets_value_is_in_no_output() {
        let secret = |value: &str| {
            let body = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "shop"},
                "data": {"password": value}});
            Object::from_value(&ClusterName::local(), body).unwrap()
        };
        let (one, two) = (secret("Y2FuYXJ5LW9uZQ=="), secret("Y2FuYXJ5LXR3bw=="));
        let states = [None, Some(&one), Some(&two)];
        for (before, after) in states.iter().flat_map(|before| states.map(|after| (*before, after))) {
            let Some(difference) = difference(before, after) else { continue };
            let document = difference.document().to_string();
            let text = answer(&outcome(vec![difference]), &labels(true), true).unwrap();
            for canary in ["Y2FuYXJ5", "canary"] {
                assert!(!text.contains(canary) && !document.contains(canary), "{text}{document}");
            }
            assert!(text.contains("masked"), "{text}");
        }
    }
}

//! What applications wait for, checked over all of them: names that nobody declares, and circles.
//!
//! Enters: every declaration by name. Leaves: what is wrong, by app. Only a circle's own members are held; whoever waits
//! for one of them says so by itself.

use std::collections::{BTreeMap, BTreeSet};

use super::file::ParsedApp;
use super::nearest::did_you_mean;
use super::problem::{Problem, shown};
use crate::model::AppName;

type Declared<'a> = BTreeMap<&'a AppName, Vec<&'a ParsedApp>>;

/// Finds dependencies that can never be met.
pub(super) fn check(declared: &Declared<'_>) -> BTreeMap<AppName, Vec<Problem>> {
    let circles = circles(declared);
    let mut problems: BTreeMap<AppName, Vec<Problem>> = BTreeMap::new();
    for (name, declarations) in declared {
        let [app] = declarations.as_slice() else { continue };
        let Ok(read) = &app.read else { continue };
        for (index, (dependency, at)) in read.application.depends_on.iter().zip(&read.depends_at).enumerate() {
            let field = format!("spec.dependsOn[{index}].name");
            let of = |message, hint| app.problem(*at, &field, message, hint);
            let problem = if !declared.contains_key(&dependency.app) {
                let quoted = shown(dependency.app.as_str());
                let names = declared.keys().map(|name| name.as_str());
                let hint = did_you_mean(dependency.app.as_str(), names).unwrap_or_default();
                of(format!("no Application is called `{quoted}`"), hint)
            } else if let Some(circle) = circles.get(*name).filter(|circle| circle.get(1) == Some(&&dependency.app)) {
                let names: Vec<&str> = circle.iter().map(|name| name.as_str()).collect();
                of(format!("waits in a circle: {}", names.join(" -> ")), "remove one of these dependencies".to_owned())
            } else {
                continue;
            };
            problems.entry((*name).clone()).or_default().push(problem);
        }
    }
    problems
}

/// For each app that waits for itself, the way there: it begins and ends with the app.
fn circles<'a>(declared: &Declared<'a>) -> BTreeMap<&'a AppName, Vec<&'a AppName>> {
    let mut waits: BTreeMap<&'a AppName, BTreeSet<&'a AppName>> = BTreeMap::new();
    for (name, declarations) in declared {
        for app in declarations {
            let Ok(read) = &app.read else { continue };
            if read.application.depends_on.is_empty() {
                continue;
            }
            waits.entry(name).or_default().extend(read.application.depends_on.iter().map(|dependency| &dependency.app));
        }
    }
    // Who waits for nobody that waits is in no circle: what remains is in one, or behind one.
    loop {
        let free: Vec<&AppName> = waits
            .iter()
            .filter(|(_, others)| !others.iter().any(|other| waits.contains_key(other)))
            .map(|(name, _)| *name)
            .collect();
        if free.is_empty() {
            break;
        }
        for name in free {
            waits.remove(name);
        }
    }
    waits.keys().filter_map(|name| Some((*name, way(&waits, name)?))).collect()
}

/// The way from an app to itself.
fn way<'a>(waits: &BTreeMap<&'a AppName, BTreeSet<&'a AppName>>, name: &'a AppName) -> Option<Vec<&'a AppName>> {
    let mut seen = BTreeSet::new();
    let mut open = vec![vec![name]];
    while let Some(path) = open.pop() {
        for next in path.last().and_then(|last| waits.get(last)).into_iter().flatten() {
            if *next == name {
                return Some(path.iter().copied().chain([name]).collect());
            }
            if seen.insert(*next) {
                open.push(path.iter().copied().chain([*next]).collect());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use crate::declare::{Made, assemble, parse_file};
    use crate::model::AppName;

    fn app(name: &str, depends_on: &str) -> String {
        format!(
            "apiVersion: tidegate.dev/v1alpha1\nkind: Application\nmetadata: {{name: {name}}}\nspec:\n  version: '1'\n  \
             source: {{path: m}}\n  destination: {{namespace: a}}\n  dependsOn:{depends_on}\n"
        )
    }

    /// What is wrong with each app, the good ones left out.
    fn check(apps: &[(&str, &str)], expected: &[(&str, &str)]) {
        let text = apps.iter().map(|(name, depends_on)| app(name, depends_on)).collect::<Vec<_>>().join("---\n");
        let files = BTreeMap::from([("apps.yaml".to_owned(), Arc::new(parse_file("apps.yaml", text.as_bytes())))]);
        let declared = assemble(&files, &BTreeMap::new(), [], &Made::default()).apps;
        let wrong: Vec<&AppName> = declared.iter().filter(|(_, app)| app.is_err()).map(|(name, _)| name).collect();
        assert_eq!(
            wrong.iter().map(|name| name.as_str()).collect::<Vec<_>>(),
            expected.iter().map(|(name, _)| *name).collect::<Vec<_>>()
        );
        for (name, message) in expected {
            let problems = declared[&AppName::from(*name)].as_ref().expect_err("it is wrong");
            let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
            assert!(told.iter().any(|told| told.contains(message) && told.starts_with("apps.yaml:")), "{told:?}");
        }
    }

    #[test]
    fn names_that_nobody_declares_are_refused() {
        check(&[("web", " [{name: api}]"), ("api", " []")], &[]);
        check(&[("web", " [{name: apu}]"), ("api", " []")], &[("web", "no Application is called `apu`")]);
        check(&[("web", " [{name: api}, {name: api}]"), ("api", " []")], &[("web", "stands twice")]);
        check(
            &[("web", " [{name: api, condition: ready}]"), ("api", " []")],
            &[("web", "`ready` is not healthy or release")],
        );
    }

    #[test]
    fn circles_hold_their_members_and_nobody_else() {
        check(&[("web", " [{name: web}]")], &[("web", "web -> web")]);
        check(
            &[("a", " [{name: b}]"), ("b", " [{name: c}]"), ("c", " [{name: a}]"), ("d", " [{name: a}]"), ("e", " []")],
            &[("a", "a -> b -> c -> a"), ("b", "b -> c -> a -> b"), ("c", "c -> a -> b -> c")],
        );
    }
}

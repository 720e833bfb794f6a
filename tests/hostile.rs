//! What is hostile or broken in a repository, or on the way to it, has an outcome that is written down:
//! `docs/reference/hostile-repositories.md` lists each, and the test that holds it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tidegate::declare::{Made, assemble, parse_file};
use tidegate::model::{Application, GroupKind};
use tidegate::render::render;
use tidegate::world::Kinds;

const REFERENCE: &str = "docs/reference/hostile-repositories.md";
const ONE_RUN: &str = "tests/cluster/hostile/mod.rs";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Rows of the tables: what is hostile, what comes of it, and which test holds that.
fn rows(text: &str) -> Vec<[String; 3]> {
    let cells = |line: &str| -> Option<[String; 3]> {
        let cells: Vec<String> = line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
        cells.try_into().ok()
    };
    let lines = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| Hostile"));
    lines.map(|line| cells(line).unwrap_or_else(|| panic!("three cells are needed: {line}"))).collect()
}

/// What is wrong with the reference, given the names of the cases that one agent meets.
fn wrong(text: &str, names: &[&str]) -> Vec<String> {
    let (mut wrong, mut seen, mut met) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for [name, outcome, test] in rows(text) {
        if !seen.insert((name.clone(), test.clone())) {
            wrong.push(format!("`{name}` stands twice"));
        }
        if outcome.is_empty() {
            wrong.push(format!("`{name}` has no outcome"));
        }
        let Some((file, function)) = test.trim_matches('`').split_once("::") else {
            wrong.push(format!("`{name}` names no test"));
            continue;
        };
        let code = std::fs::read_to_string(root().join(file)).unwrap_or_default();
        if !code.contains(&format!("fn {function}(")) {
            wrong.push(format!("`{name}` names a test that is not there: {test}"));
        }
        if file == ONE_RUN {
            met.insert(name);
        } else if file.starts_with("src/edge/git/tests/")
            && function.starts_with("each_")
            && !code.contains(&format!("\"{name}\""))
        {
            wrong.push(format!("`{name}` is no case of {file}"));
        }
    }
    let expected: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
    wrong.extend(met.symmetric_difference(&expected).map(|name| format!("`{name}` is on one side only")));
    wrong
}

#[test]
fn each_hostile_repository_has_an_outcome_and_a_test_that_holds_it() {
    let text = std::fs::read_to_string(root().join(REFERENCE)).expect("the reference is there");
    let found = wrong(&text, &crate::cluster::hostile::names());
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(rows(&text).len() >= 80, "{} rows", rows(&text).len());
}

#[test]
fn a_reference_that_names_no_test_is_found_out() {
    let check = |rows: &str, wanted: &str| {
        let found = wrong(rows, &[]);
        assert!(found.len() == 1 && found[0].contains(wanted), "{rows}: {found:?}");
    };
    check("| a | said | `tests/hostile.rs::no_such_test` |", "not there");
    check("| a | said | nothing |", "names no test");
    check(
        &format!("| a | said | `{ONE_RUN}::hostile_commits_are_said_by_the_apps_they_hit_and_delete_nothing` |"),
        "one side",
    );
    assert_eq!(
        wrong(
            "| a | said | `tests/hostile.rs::each_hostile_repository_has_an_outcome_and_a_test_that_holds_it` |",
            &[]
        ),
        [""; 0]
    );
}

/// An app of plain YAML in the folder `a`.
fn application() -> Application {
    let text = "apiVersion: tidegate.dev/v1alpha1\nkind: Application\nmetadata: {name: a}\nspec:\n  version: 1.0.0\n  \
                source: {path: a}\n  destination: {namespace: shop}\n";
    let files = BTreeMap::from([("a.yaml".to_owned(), parse_file("a.yaml", text.as_bytes()).into())]);
    let declared = assemble(&files, &BTreeMap::new(), [], &Made::default());
    let app = declared.apps.into_values().next().expect("one is declared");
    Application::clone(&app.expect("it is good"))
}

/// Its name, its bytes, and what comes of it: one field of the object, or words of the refusal.
type Odd = (&'static str, Vec<u8>, Result<Option<(&'static str, &'static str)>, &'static str>);

#[test]
fn yaml_that_looks_odd_is_read_or_refused_as_the_reference_says() {
    const GOOD: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
    let kinds: Kinds = [((GroupKind::new("", "ConfigMap"), "v1".to_owned()), true)].into_iter().collect();
    let with = |text: &str| format!("{GOOD}{text}").into_bytes();
    let deep = |count: usize| format!("data: {}{}\n", "{a: ".repeat(count), "}".repeat(count));
    let utf_16: Vec<u8> = [0xfeff].into_iter().chain(GOOD.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let odd: Vec<Odd> = vec![
        ("a byte order mark", format!("\u{feff}{GOOD}data: {{a: b}}\n").into_bytes(), Ok(Some(("/data/a", "b")))),
        (
            "line ends of Windows",
            with("data:\n  a: b\n")
                .split_inclusive(|byte| *byte == b'\n')
                .flat_map(|line| [line.trim_ascii_end(), b"\r\n"].concat())
                .collect(),
            Ok(Some(("/data/a", "b"))),
        ),
        ("documents of nothing", with("---\n---\n# nothing\n---\n"), Ok(None)),
        ("UTF-16", utf_16, Err("not UTF-8")),
        ("a NUL character", with("data: {a: \"b\0c\"}\n"), Err("")),
        ("nested 60 deep", with(&deep(60)), Ok(None)),
        ("nested 200 deep", with(&deep(200)), Err("")),
        (
            "a tag of a language",
            with("data: {a: !!python/object/apply:os.system [ls]}\n"),
            Ok(Some(("/data/a/0", "ls"))),
        ),
        ("a tag of binary data", with("data: {a: !!binary aGVsbG8=}\n"), Ok(None)),
        ("a merge key", with("x: &x {b: c}\ndata: {<<: *x}\n"), Ok(Some(("/data/b", "c")))),
        ("a scalar of 900 KB", with(&format!("data: {{a: {}}}\n", "x".repeat(900_000))), Ok(None)),
        (
            "a scalar of 900 KB twenty times",
            with(&format!("x: &x {}\ny: [{}]\n", "x".repeat(900_000), ["*x"; 20].join(", "))),
            Err(""),
        ),
        ("a mapping as a key", with("data: {{a: b}: c}\n"), Err("")),
        ("a directive", format!("%YAML 1.2\n---\n{GOOD}").into_bytes(), Ok(None)),
    ];
    let mut wrong = Vec::new();
    for (name, text, expected) in odd {
        let contents = BTreeMap::from([("a/it.yaml".to_owned(), text)]);
        let rendered = render(&application(), &contents, &kinds).map_err(|error| error.to_string());
        match (&rendered, expected) {
            (Ok(objects), Ok(field)) => {
                let object = objects.values().next().expect("there is one object");
                if let Some((pointer, value)) = field
                    && object.text(pointer) != Some(value)
                {
                    wrong.push(format!("{name}: {object:?}"));
                }
            }
            (Err(error), Err(words)) if error.starts_with("a/it.yaml:") && error.contains(words) => {}
            (rendered, _) => wrong.push(format!("{name}: {:.300}", format!("{rendered:?}"))),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

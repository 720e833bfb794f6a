//! The rules of the house, enforced by searching its text: one package has no crate walls, so this is the wall.
//!
//! `docs/architecture.md` says why. A rule that is worth writing there is worth a line in `architecture/rules.rs`.

use std::path::{Path, PathBuf};

mod rules;
mod text;

use rules::{Source, check, mark_tests, unreached};

/// Test files that may sleep, each with its reason. Everything else waits for what is to happen.
const SLEEPS_ALLOWED: &[(&str, &str)] = &[
    ("tests/architecture.rs", "has the word in planted violations"),
    ("tests/support/patience.rs", "waits for what no watch announces; the one place of the stories that does"),
];

/// Where the program starts.
fn source_roots() -> [String; 2] {
    ["src/lib.rs".to_owned(), "src/main.rs".to_owned()]
}

/// Every `.rs` file below a folder of the repository, in order.
fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the repository can be listed") {
            let path = entry.expect("an entry of a folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source file is UTF-8");
                let path = path.strip_prefix(root).expect("it was found below the root").display().to_string();
                found.push(Source { path, text, is_test: false });
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

/// Crate roots below `tests/`, as `Cargo.toml` names them.
fn test_roots(manifest: &str) -> Vec<String> {
    manifest
        .lines()
        .filter_map(|line| line.split_once("path = \"")?.1.split('"').next())
        .filter(|path| path.starts_with("tests/"))
        .map(str::to_owned)
        .collect()
}

fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "{} violation(s):\n{}", violations.len(), violations.join("\n"));
}

#[test]
fn source_files_keep_the_rules_of_the_house() {
    let mut sources = sources("src");
    mark_tests(&mut sources, &source_roots());
    let violations: Vec<String> = sources.iter().flat_map(|source| check(source, SLEEPS_ALLOWED)).collect();
    assert_none(&violations);
}

#[test]
fn test_files_keep_the_rules_of_the_house() {
    let violations: Vec<String> = sources("tests").iter().flat_map(|source| check(source, SLEEPS_ALLOWED)).collect();
    assert_none(&violations);
}

#[test]
fn every_file_is_compiled_by_some_target() {
    let manifest = include_str!("../Cargo.toml");
    // The fuzz targets are a package of their own, whose paths begin in its folder.
    let fuzzing = include_str!("fuzz/Cargo.toml").replace("path = \"", "path = \"tests/fuzz/");
    let roots = [test_roots(manifest), test_roots(&fuzzing)].concat();
    assert_none(&unreached(&sources("tests"), &roots));
    assert_none(&unreached(&sources("src"), &source_roots()));
}

#[test]
fn allowed_sleeps_are_still_slept() {
    for (path, reason) in SLEEPS_ALLOWED {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_default();
        assert!(text.contains("sleep("), "{path} no longer sleeps ({reason}): take it off the list");
    }
}

/// Plants `text` (after a proper opening) at `path`; `wanted` is part of the one violation, or empty for none.
fn plant(path: &str, text: &str, wanted: &str) {
    let source = Source { path: path.to_owned(), text: format!("//! Opening.\n{text}"), is_test: false };
    let found = check(&source, &[("tests/slow.rs", "a reason")]);
    match wanted {
        "" => assert_eq!(found, [""; 0], "{path}: {text}"),
        wanted => {
            assert_eq!(found.len(), 1, "{path}: {text}: {found:?}");
            assert!(found[0].contains(wanted), "{path}: {text}: {found:?}");
        }
    }
}

#[test]
fn planted_violations_are_found() {
    for (path, text, wanted) in [
        ("src/decide/mod.rs", "fn f() { g().await; }", "`await` in pure `decide`"),
        ("src/stage/mod.rs", "async fn f() {}", "`async`"),
        ("src/model/x.rs", "fn f() { let now = std::time::Instant::now(); }", "clock"),
        ("src/health/pod.rs", "use std::time::SystemTime;", "clock"),
        ("src/decide/mod.rs", "fn f() -> T { jiff::Timestamp::now() }", "clock"),
        ("src/diff/mod.rs", "fn f() { tracing::info!(\"x\"); }", "crate `tracing`"),
        ("src/render/mod.rs", "use rand::Rng;", "crate `rand`"),
        ("src/store/key.rs", "fn f() { getrandom::fill(&mut b); }", "crate `getrandom`"),
        ("src/declare/mod.rs", "use tokio::fs;", "crate `tokio`"),
        ("src/observe/mod.rs", "use std::collections::HashMap;", "BTreeMap"),
        ("src/decide/mod.rs", "use crate::edge::git;", "names `crate::edge`"),
        ("src/decide/mod.rs", "use crate::{model::Digest, agent::tick};", "names `crate::agent`"),
        ("src/stage/mod.rs", "use crate::{\n    decide::{A, B},\n    model,\n};", "names `crate::decide`"),
        ("src/model/plan.rs", "use crate::status::Report;", "names `crate::status`"),
        ("src/edge/git/mod.rs", "use crate::decide::decide;", "names `crate::decide`"),
        ("src/edge/git/mod.rs", "use crate::edge::cluster::Client;", "edge `git` names edge `cluster`"),
        ("src/edge/server/mod.rs", "use super::super::git::Repository;\nuse super::super::git::x;", "edge `git`"),
        ("src/edge/server/mod.rs", "fn f(r: git2::Repository) {}", "outside src/edge/git"),
        ("src/agent/tick.rs", "use axum::Router;", "outside src/edge/server"),
        ("src/agent/tick.rs", "fn f(k: &kube::Client) {}", "outside src/edge/cluster"),
        ("src/agent/mod.rs", "fn f() { std::env::var(\"X\"); }", "environment"),
        ("src/agent/tick.rs", "fn f() { std::process::Command::new(\"sh\"); }", "starts a process"),
        ("src/cli/diff/mod.rs", "use std::process::Command;", "starts a process"),
        ("src/cli/deploy/follow.rs", "use std::process::*;\nfn f() { Command::new(\"git\"); }", "starts a process"),
        ("src/model/x.rs", "#[derive(serde::Serialize)]\nstruct X;", "serde in `model`"),
        ("src/world.rs", "use serde::Deserialize;", "serde in `world`"),
        ("src/edge/git/mod.rs", "fn f() { g().unwrap(); }", "line 2"),
        ("src/fresh/mod.rs", "", "no line in the table"),
        ("src/agent/utils.rs", "", "says nothing"),
        ("src/edge/cluster/lease_manager.rs", "", "says nothing"),
        ("tests/cluster/canary.rs", "fn f() { std::thread::sleep(D); }", "sleeps"),
    ] {
        plant(path, text, wanted);
    }
}

#[test]
fn long_files_and_functions_are_found() {
    let lines = |count: usize| "    g();\n".repeat(count);
    plant("src/agent/tick.rs", &format!("fn f() {{\n{}}}", lines(68)), "");
    plant("src/agent/tick.rs", &format!("fn f() {{\n{}}}", lines(69)), "fn `f` (line 2) has 71 lines");
    plant("src/agent/tick.rs", &"const A: u8 = 0;\n".repeat(500), "has 501 lines");
    plant("tests/cluster/canary.rs", &"const A: u8 = 0;\n".repeat(500), "has 501 lines");
    let tested = format!("#[cfg(test)]\nmod tests {{\n    fn t() {{\n{}    }}\n}}", lines(600));
    plant("src/agent/tick.rs", &tested, "");
}

#[test]
fn what_only_looks_like_a_violation_is_left_alone() {
    for (path, text) in [
        ("src/decide/mod.rs", "// Never .await here, tracing::info! neither."),
        ("src/decide/mod.rs", "/* async /* nested */ kube::Client */"),
        ("src/decide/mod.rs", "const S: &str = \"use tokio::fs; .await \\\" crate::edge\";"),
        ("src/decide/mod.rs", "const S: &str = r#\"git2:: \"quoted\" async\"#;"),
        ("src/decide/mod.rs", "const C: char = '\"'; fn f<'a>(x: &'a str) -> &'a str { x } const D: char = '\\'';"),
        ("src/decide/mod.rs", "fn await_nothing(is_async: bool, random: u8) {}"),
        ("src/decide/mod.rs", "use crate::{model::{Digest, Wave}, status::Report, decide::gate};"),
        ("src/edge/git/mod.rs", "use crate::world::Polled;\nuse git2::Repository;\nuse super::limits;"),
        ("src/edge/mod.rs", "use crate::edge::{git::Git, cluster::Cluster};"),
        ("src/edge/cluster/mod.rs", "async fn f() { k().await; }\nuse kube::Client;"),
        ("src/cli/agent.rs", "fn f() { std::env::args(); }"),
        ("src/cli/deploy/git.rs", "fn f() { std::process::Command::new(\"git\"); }"),
        ("src/status/mod.rs", "use serde::Serialize;"),
        ("src/stage/mod.rs", "#[cfg(test)]\nmod tests {\n    fn t() { g().unwrap(); }\n}"),
        ("tests/slow.rs", "fn f() { std::thread::sleep(D); }"),
        ("tests/cluster/canary.rs", "fn f() { asleep(1); g().unwrap(); }"),
    ] {
        plant(path, text, "");
    }
    let source = Source { path: "src/agent/tick.rs".to_owned(), text: "use std::fs;\n".to_owned(), is_test: false };
    assert!(check(&source, &[])[0].contains("does not open"));
}

#[test]
fn files_without_a_mod_are_found() {
    let file = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned(), is_test: false };
    let tree = [
        file("tests/main.rs", "//! Tests.\nmod architecture;\n#[cfg(unix)]\nmod cluster;\npub(crate) mod scenarios;\n"),
        file("tests/architecture.rs", "mod rules;\n"),
        file("tests/architecture/rules.rs", ""),
        file("tests/cluster/mod.rs", "mod canary;\n// mod forgotten;\n"),
        file("tests/cluster/canary.rs", ""),
        file("tests/cluster/forgotten.rs", ""),
        file("tests/scenarios.rs", ""),
        file("tests/support/mod.rs", ""),
        file("tests/demo/main.rs", "#[path = \"../support/mod.rs\"]\nmod support;\n"),
        file("tests/dead.rs", ""),
    ];
    let roots = test_roots(
        "[[test]]\npath = \"tests/main.rs\"\n[[example]]\npath = \"tests/demo/main.rs\"\n[lib]\npath = \"src/lib.rs\"",
    );
    assert_eq!(roots, ["tests/main.rs", "tests/demo/main.rs"]);
    let found = unreached(&tree, &roots);
    assert_eq!(found, ["tests/cluster/forgotten.rs: no `mod` leads to it", "tests/dead.rs: no `mod` leads to it"]);
}

#[test]
fn files_for_tests_only_may_unwrap_and_be_long() {
    let file = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned(), is_test: false };
    let test = format!("//! Opening.\nfn t() {{ g().unwrap(); }}\n{}", "const A: u8 = 0;\n".repeat(600));
    let mut tree = [
        file("src/lib.rs", "//! Opening.\npub mod stage;\n"),
        file("src/stage/mod.rs", "//! Opening.\nmod hold;\n#[cfg(test)]\nmod tests;\n"),
        file("src/stage/hold.rs", "//! Opening.\nfn f() { g().unwrap(); }\n"),
        file("src/stage/tests.rs", &test),
    ];
    mark_tests(&mut tree, &["src/lib.rs".to_owned()]);
    let found: Vec<String> = tree.iter().flat_map(|source| check(source, &[])).collect();
    assert_eq!(found, ["src/stage/hold.rs: `unwrap` in line 2: use `expect` and state the invariant"]);
}

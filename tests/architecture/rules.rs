//! The rules of the house, each a function from one file (path and text) to what is wrong with it.
//!
//! Nothing in here reads the disk: `architecture.rs` hands over the tree, and planted violations in its tests.

use std::collections::{BTreeMap, BTreeSet};

use super::text::{
    DeclaredModule, code_of, crate_modules, declared_modules, functions, names_crate, without_tests, words,
};

/// Which modules of ours a module may name. Reading order: each line may only look up.
///
/// Two things differ from a plain "those before it": `status` stands early, because the report that a pass makes lives
/// there and `world` shows it; and `store` holds persistence formats as pure code, so that a simulated world can share them.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("expression", &[]),
    ("model", &["expression"]),
    ("mutants", &[]),
    ("signature", &["model"]),
    ("sops", &[]),
    ("status", &["model"]),
    ("world", &["model", "status"]),
    ("declare", &["expression", "model", "world"]),
    ("render", &["model", "sops", "world", "declare"]),
    ("health", &["model"]),
    ("observe", &["mutants", "model", "world", "health"]),
    ("stage", &["mutants", "model", "world", "render", "health", "observe"]),
    ("diff", &["model", "world", "render", "health", "observe", "stage"]),
    ("decide", &["mutants", "model", "status", "world", "render", "health", "observe", "stage", "diff"]),
    ("store", &["model", "status", "world", "declare", "render"]),
    ("config", &["model"]),
    ("telemetry", &["model", "status", "world", "config"]),
    ("edge", &["model", "signature", "status", "world", "config", "telemetry"]),
    ("agent", &["*", "-cli", "-sim"]),
    ("sim", &["*", "-cli", "-edge"]),
    ("cli", &["*"]),
    ("lib", &["*"]),
    ("main", &["*"]),
];

/// Folders whose code is a function of its arguments.
const PURE: &[&str] = &[
    "expression",
    "model",
    "signature",
    "sops",
    "declare",
    "render",
    "stage",
    "observe",
    "diff",
    "health",
    "decide",
    "status",
    "store",
];

/// What pure code does not contain, and why.
const NOT_PURE: &[(&str, &str)] = &[
    ("await", "it would wait"),
    ("async", "it would wait"),
    ("Instant", "it would read a clock: take `now` as an argument"),
    ("SystemTime", "it would read a clock: take `now` as an argument"),
    ("Timestamp::now", "it would read a clock: take `now` as an argument"),
    ("Zoned::now", "it would read a clock: take `now` as an argument"),
    ("HashMap", "its order differs from run to run: use BTreeMap"),
    ("HashSet", "its order differs from run to run: use BTreeSet"),
    ("super::edge", "pure code does not know the edges"),
    ("super::agent", "pure code does not know who calls it"),
];

/// Crates that pure code does not name.
const NOT_PURE_CRATES: &[&str] =
    &["tracing", "rand", "getrandom", "kube", "git2", "axum", "tokio", "hyper", "futures", "notify"];

/// The edges; none names another. `src/edge/mod.rs` and `outside.rs` put them together.
const EDGES: &[&str] = &["git", "cluster", "measure", "notify", "renderer", "server"];

/// A client crate and the one place that names it. `cli` may, thinly.
const CLIENTS: &[(&str, &str)] = &[("git2", "src/edge/git"), ("kube", "src/edge/cluster"), ("axum", "src/edge/server")];

/// What starts a process, and the files that may: a person's command, which runs the person's own `git`, and the renderer,
/// which runs beside the agent.
const PROCESS_STARTERS: &[&str] = &["process::Command", "Command::new("];
const PROCESS_HOMES: &[&str] = &["src/cli/deploy/git.rs", "src/edge/renderer/tool.rs"];

/// Modules with wire formats: the others keep their types free of serde.
const WIRE_FORMATS: &[&str] = &["declare", "status", "store", "edge", "cli", "config"];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "manager", "misc"];

/// Lines of a file, without its unit tests.
const FILE_LINES_MAX: usize = 500;

/// Lines of a function: what fits on a screen.
const FUNCTION_LINES_MAX: usize = 70;

/// One file: path from the repository's root, and its text.
pub(crate) struct Source {
    /// Path from the repository's root, such as `src/decide/mod.rs`.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
    /// Whether it is below `src` and compiled for tests only: unit tests that grew too long to stand beside the code.
    pub(crate) is_test: bool,
}

/// What is wrong with one Rust file, each as `path: sentence`.
pub(crate) fn check(source: &Source, sleeps_allowed: &[(&str, &str)]) -> Vec<String> {
    let code = code_of(&source.text);
    let shipped = if source.is_test { String::new() } else { without_tests(&code) };
    let mut found = Vec::new();
    if let Some(module) = module_of(&source.path) {
        found.extend(purity(module, &code));
        found.extend(direction(module, &shipped));
        found.extend(clients(&source.path, module, &shipped));
        found.extend(environment(module, &shipped));
        found.extend(processes(&source.path, &shipped));
        found.extend(wire_formats(module, &shipped));
        found.extend(unwraps(&shipped));
        found.extend(long_functions(&shipped));
    } else {
        found.extend(sleeps(&source.path, &code, sleeps_allowed));
    }
    found.extend(opening(&source.text));
    if !source.is_test {
        found.extend(length(&source.path, &source.text));
    }
    found.extend(name(&source.path));
    found.into_iter().map(|sentence| format!("{}: {sentence}", source.path)).collect()
}

/// The top-level module of a file below `src`.
fn module_of(path: &str) -> Option<&str> {
    path.strip_prefix("src/")?.split(['/', '.']).next()
}

fn purity(module: &str, code: &str) -> Vec<String> {
    if !PURE.contains(&module) {
        return Vec::new();
    }
    let things = NOT_PURE.iter().filter(|(thing, _)| words(code, thing).next().is_some());
    let crates = NOT_PURE_CRATES.iter().filter(|name| names_crate(code, name));
    things
        .map(|(thing, why)| format!("`{thing}` in pure `{module}`: {why}"))
        .chain(
            crates
                .map(|name| format!("crate `{name}` in pure `{module}`: I/O, logging and chance belong to the edges")),
        )
        .collect()
}

fn direction(module: &str, code: &str) -> Vec<String> {
    let Some((_, allowed)) = MAY_NAME.iter().find(|(each, _)| *each == module) else {
        return vec![format!("module `{module}` has no line in the table of tests/architecture/rules.rs: give it one")];
    };
    let is_allowed = |named: &str| {
        named == module
            || allowed.contains(&named)
            || (allowed.contains(&"*") && !allowed.contains(&format!("-{named}").as_str()))
    };
    let modules: BTreeSet<&str> = MAY_NAME.iter().map(|(each, _)| *each).collect();
    crate_modules(code)
        .iter()
        .filter(|named| modules.contains(named.as_str()) && !is_allowed(named))
        .map(|named| format!("`{module}` names `crate::{named}`: data flows one way, see docs/architecture.md"))
        .collect()
}

fn clients(path: &str, module: &str, code: &str) -> Vec<String> {
    let mut found: Vec<String> = CLIENTS
        .iter()
        .filter(|(name, home)| {
            names_crate(code, name) && !path.starts_with(home) && module != "cli" && module != "main"
        })
        .map(|(name, home)| format!("crate `{name}` is named outside {home}"))
        .collect();
    let own = path.strip_prefix("src/edge/").and_then(|rest| rest.split(['/', '.']).next()).unwrap_or("");
    if EDGES.contains(&own) {
        let others = EDGES.iter().filter(|other| **other != own);
        found.extend(
            others.filter(|other| names_edge(code, other)).map(|other| format!("edge `{own}` names edge `{other}`")),
        );
    }
    found
}

fn names_edge(code: &str, edge: &str) -> bool {
    let needles = [format!("crate::edge::{edge}"), format!("super::super::{edge}::"), format!("edge::{edge}::")];
    needles.iter().any(|needle| words(code, needle).next().is_some())
}

fn environment(module: &str, code: &str) -> Vec<String> {
    let reads =
        ["std::env", "env::var", "env::vars", "env::args"].iter().any(|needle| words(code, needle).next().is_some());
    if reads && !["cli", "main", "config"].contains(&module) {
        return vec!["reads the environment: only config, cli and main do, and hand over a Config".to_owned()];
    }
    Vec::new()
}

fn processes(path: &str, code: &str) -> Vec<String> {
    let starts = PROCESS_STARTERS.iter().any(|needle| words(code, needle).next().is_some());
    if starts && !PROCESS_HOMES.contains(&path) {
        return vec![format!("starts a process: only {} do, and the agent never", PROCESS_HOMES.join(" and "))];
    }
    Vec::new()
}

fn wire_formats(module: &str, code: &str) -> Vec<String> {
    let derives = ["Serialize", "Deserialize"].iter().any(|needle| words(code, needle).next().is_some());
    if derives && !WIRE_FORMATS.contains(&module) {
        return vec![format!("serde in `{module}`: wire formats belong to {}", WIRE_FORMATS.join(", "))];
    }
    Vec::new()
}

fn unwraps(code: &str) -> Vec<String> {
    let line = |at: usize| code[..at].matches('\n').count() + 1;
    words(code, ".unwrap()")
        .map(|at| format!("`unwrap` in line {}: use `expect` and state the invariant", line(at)))
        .collect()
}

fn long_functions(code: &str) -> Vec<String> {
    functions(code)
        .into_iter()
        .filter(|(_, _, lines)| *lines > FUNCTION_LINES_MAX)
        .map(|(name, line, lines)| format!("fn `{name}` (line {line}) has {lines} lines, at most {FUNCTION_LINES_MAX}"))
        .collect()
}

fn sleeps(path: &str, code: &str, allowed: &[(&str, &str)]) -> Vec<String> {
    if words(code, "sleep(").next().is_none() || allowed.iter().any(|(file, _)| *file == path) {
        return Vec::new();
    }
    vec!["sleeps: wait for what is to happen, or add the file and a reason to SLEEPS_ALLOWED".to_owned()]
}

fn opening(text: &str) -> Vec<String> {
    if text.starts_with("//!") {
        return Vec::new();
    }
    vec!["does not open with `//!`: say what enters, what leaves, what it must not touch".to_owned()]
}

fn length(path: &str, text: &str) -> Vec<String> {
    let is_source = path.starts_with("src/");
    let lines = if is_source { lines_outside_tests(text) } else { text.lines().count() };
    if lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    vec![format!("has {lines} lines, at most {FILE_LINES_MAX}: split it by what it does")]
}

/// Lines of a file up to its unit tests, which stand at the end.
fn lines_outside_tests(text: &str) -> usize {
    let code = code_of(text);
    let lines: Vec<&str> = code.lines().map(str::trim).collect();
    let tests = (0..lines.len()).find(|&at| {
        let item = lines[at..].iter().find(|line| !line.starts_with("#["));
        lines[at] == "#[cfg(test)]" && item.is_some_and(|item| item.starts_with("mod ") && item.ends_with('{'))
    });
    tests.unwrap_or_else(|| text.lines().count())
}

fn name(path: &str) -> Vec<String> {
    path.split(['/', '.', '_'])
        .filter(|part| EMPTY_NAMES.contains(part))
        .map(|part| format!("`{part}` in a file name says nothing: name it after what is inside"))
        .collect()
}

/// Files of `sources` that none of the `roots` reaches by `mod`: they would never be compiled.
pub(crate) fn unreached(sources: &[Source], roots: &[String]) -> Vec<String> {
    let reached = reached(sources, roots, |_| true);
    let lost = sources.iter().filter(|source| !reached.contains(&source.path));
    lost.map(|source| format!("{}: no `mod` leads to it", source.path)).collect()
}

/// Marks the files that are compiled for tests only: those that no root reaches without `#[cfg(test)]`.
pub(crate) fn mark_tests(sources: &mut [Source], roots: &[String]) {
    let shipped = reached(sources, roots, |module| !module.is_test);
    for source in sources {
        source.is_test = !shipped.contains(&source.path);
    }
}

/// Files that the `roots` reach through modules that pass the filter.
fn reached(sources: &[Source], roots: &[String], follows: impl Fn(&DeclaredModule) -> bool) -> BTreeSet<String> {
    let texts: BTreeMap<&str, &str> =
        sources.iter().map(|source| (source.path.as_str(), source.text.as_str())).collect();
    let mut reached: BTreeSet<String> = BTreeSet::new();
    let mut waiting: Vec<String> = roots.to_vec();
    while let Some(path) = waiting.pop() {
        let Some(text) = texts.get(path.as_str()) else { continue };
        if reached.insert(path.clone()) {
            let is_root = roots.contains(&path) || path.ends_with("/mod.rs");
            let modules = declared_modules(text).into_iter().filter(&follows);
            waiting.extend(modules.flat_map(|module| places(&path, is_root, &module)));
        }
    }
    reached
}

/// Where a module that `path` declares may be.
fn places(path: &str, is_root: bool, module: &DeclaredModule) -> Vec<String> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    if let Some(stated) = &module.path {
        return vec![normal(&format!("{folder}/{stated}"))];
    }
    let base = if is_root { folder.to_owned() } else { path.trim_end_matches(".rs").to_owned() };
    vec![format!("{base}/{}.rs", module.name), format!("{base}/{}/mod.rs", module.name)]
}

/// A path without `.` and `..` in it.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

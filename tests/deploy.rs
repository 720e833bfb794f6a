//! `tidegate deploy`: the program itself with the real `git`, bare repositories, hooks that refuse and people who are faster.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Variables that make `git` the same on every machine.
const GIT: [(&str, &str); 7] = [
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_AUTHOR_NAME", "Ada"),
    ("GIT_AUTHOR_EMAIL", "ada@example.com"),
    ("GIT_COMMITTER_NAME", "Ada"),
    ("GIT_COMMITTER_EMAIL", "ada@example.com"),
];

fn app(name: &str) -> String {
    format!(
        "# The {name}.\napiVersion: tidegate.dev/v1alpha1\nkind: Application\nmetadata:\n  name: {name}\nspec:\n  version: 1.4.2 # bump \
         me\n  images: [{{name: example/{name}}}]\n  source: {{path: m}}\n  destination: {{namespace: shop}}\n"
    )
}

/// What a run came to.
#[derive(Debug)]
struct Run {
    code: i32,
    out: String,
    err: String,
}

/// A bare repository and two people's clones of it.
struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        Self::with(&[("apps/web.yaml", &app("web")), ("apps/api.yaml", &app("api")), ("README", "hello\n")])
    }

    fn with(files: &[(&str, &str)]) -> Self {
        let scene = Self { folder: tempfile::tempdir().expect("a folder") };
        scene.git("", &["init", "--quiet", "--bare", "--initial-branch=main", "bare.git"]);
        scene.git("", &["clone", "--quiet", "bare.git", "ada"]);
        scene.git("ada", &["checkout", "--quiet", "-B", "main"]);
        for (path, text) in files {
            scene.write(&format!("ada/{path}"), text);
        }
        scene.git("ada", &["add", "--all"]);
        scene.git("ada", &["commit", "--quiet", "-m", "first"]);
        scene.git("ada", &["push", "--quiet", "-u", "origin", "main"]);
        scene.git("", &["clone", "--quiet", "bare.git", "bob"]);
        scene
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        std::fs::write(path, text).expect("a file");
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).expect("a file")
    }

    #[track_caller]
    fn git(&self, folder: &str, arguments: &[&str]) -> String {
        let output = run("git", &self.path(folder), arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "git {arguments:?}: {}", text(&output.stderr));
        text(&output.stdout).trim_end().to_owned()
    }

    fn deploy(&self, arguments: &[&str]) -> Run {
        self.deploy_in("ada", arguments)
    }

    fn deploy_in(&self, folder: &str, arguments: &[&str]) -> Run {
        let arguments: Vec<&str> = std::iter::once("deploy").chain(arguments.iter().copied()).collect();
        let output = run(env!("CARGO_BIN_EXE_tidegate"), &self.path(folder), &arguments);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it writes UTF-8");
        Run {
            code: output.status.code().expect("it ends by itself"),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    fn hook(&self, path: &str, script: &str) {
        self.write(path, &format!("#!/bin/sh\n{script}\n"));
        std::fs::set_permissions(self.path(path), std::fs::Permissions::from_mode(0o755)).expect("a mode");
    }

    /// Bob pushes a file.
    fn bob_pushes(&self, path: &str, text: &str) {
        self.git("bob", &["pull", "--quiet", "--ff-only"]);
        self.write(&format!("bob/{path}"), text);
        self.git("bob", &["add", "--all"]);
        self.git("bob", &["commit", "--quiet", "-m", "bob's"]);
        self.git("bob", &["push", "--quiet"]);
    }

    /// Everything of Ada's clone that a failed deploy leaves as it was: branch, what is staged, what is not, and the files.
    fn state(&self) -> Vec<String> {
        vec![
            self.git("ada", &["rev-parse", "HEAD"]),
            self.git("ada", &["status", "--porcelain"]),
            self.git("ada", &["diff", "--cached"]),
            self.git("ada", &["diff"]),
            self.git("ada", &["symbolic-ref", "-q", "HEAD"]),
        ]
    }
}

fn run(program: &str, folder: &Path, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).current_dir(folder).envs(GIT).output().expect("it can be started")
}

#[test]
fn one_line_changes_one_file_is_committed_and_pushed() {
    let scene = Scene::new();
    // Other changes of hers, staged and not, stay what they are.
    scene.write("ada/README", "staged\n");
    scene.git("ada", &["add", "README"]);
    scene.write("ada/apps/api.yaml", &app("api").replace("1.4.2", "9.9.9"));
    // From wherever in the clone she is.
    let run = scene.deploy_in("ada/apps", &["web", "1.5.0"]);
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{run:?}");
    let commit = scene.git("ada", &["rev-parse", "--short=7", "HEAD"]);
    assert_eq!(run.out, format!("web: 1.4.2 -> 1.5.0 (apps/web.yaml:7), pushed to origin/main as {commit}\n"));
    assert_eq!(scene.read("ada/apps/web.yaml"), app("web").replace("1.4.2 # bump", "1.5.0 # bump"));
    assert_eq!(
        scene.git("bare.git", &["log", "-1", "--format=%s %an", "--name-only"]),
        "web: 1.4.2 -> 1.5.0 Ada\n\napps/web.yaml"
    );
    assert_eq!(scene.git("ada", &["status", "--porcelain"]), "M  README\n M apps/api.yaml");
}

#[test]
fn scripts_get_one_document_and_a_message_of_their_own() {
    let scene = Scene::new();
    let run = scene.deploy(&["web", "1.10", "-m", "release 1.10", "-o", "json"]);
    let document: Value = serde_json::from_str(&run.out).expect("JSON");
    assert_eq!((document["state"].as_str(), document["pushedTo"].as_str()), (Some("pushed"), Some("origin/main")));
    assert_eq!((&document["from"], &document["to"], &document["line"]), (&"1.4.2".into(), &"1.10".into(), &7.into()));
    assert_eq!(document["commit"], scene.git("bare.git", &["rev-parse", "main"]));
    assert_eq!(scene.git("ada", &["log", "-1", "--format=%s"]), "release 1.10");
    // What YAML would read as the number 1.1 has got its quotes.
    assert!(scene.read("ada/apps/web.yaml").contains("  version: \"1.10\" # bump me\n"));
    let again = scene.deploy(&["web", "1.10"]);
    assert_eq!((again.code, again.out.as_str()), (0, "web is at 1.10 already (apps/web.yaml:7)\n"));
}

#[test]
fn the_line_is_edited_in_the_style_in_which_it_stands() {
    let several = format!("{}---\n{}", app("api"), app("web"));
    let flow = "{apiVersion: tidegate.dev/v1alpha1, kind: Application, metadata: {name: web}, spec: {version: '1.4.2', source: {path: \
                m}, destination: {namespace: é}}}"
        .replace('é', "e");
    let quoted = app("web").replace("1.4.2", "\"1.4.2\"");
    let windows = app("web").replace('\n', "\r\n");
    for (text, version, wanted) in [
        (several.clone(), "2.0.0", several.replace(&app("web"), &app("web").replace("1.4.2", "2.0.0"))),
        (flow.clone(), "017", flow.replace("1.4.2", "017")),
        (quoted.clone(), "yes", quoted.replace("1.4.2", "yes")),
        (windows.clone(), "yes", windows.replace("1.4.2", "\"yes\"")),
        (app("web"), "017", app("web").replace("1.4.2", "\"017\"")),
    ] {
        let scene = Scene::with(&[("all.yaml", &text)]);
        let run = scene.deploy(&["web", version, "--push=false"]);
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{text}");
        assert!(run.out.contains(", committed as "), "{}", run.out);
        assert_eq!(scene.read("ada/all.yaml"), wanted);
        assert_eq!(scene.git("ada", &["status", "--porcelain", "--branch"]), "## main...origin/main [ahead 1]");
    }
}

/// One set of two entries, one of folders with versions of their own, and two environments of one base.
const MADE: [(&str, &str); 6] = [
    (
        "tools.yaml",
        "apiVersion: tidegate.dev/v1alpha1\nkind: ApplicationSet\nmetadata: {name: tools}\nspec:\n  generators:\n    - list:\n        - \
         {name: api, version: 1.4.2} # the api\n        - {name: db, version: '1.4.2'}\n  template:\n    metadata: {name: \"${name}\"}\n    \
         spec:\n      version: ${version}\n      images: [{name: a, tag: \"v${version}\"}]\n      source: {path: m}\n      destination: \
         {namespace: shop}\n",
    ),
    (
        "set.yaml",
        "apiVersion: tidegate.dev/v1alpha1\nkind: ApplicationSet\nmetadata: {name: shop}\nspec:\n  generators:\n    - folders: {pattern: \
         apps/*}\n  template:\n    metadata: {name: \"${name}\"}\n    spec:\n      source: {path: \"${path}\"}\n      destination: \
         {namespace: shop}\n",
    ),
    (
        "apps/web/version.yaml",
        "apiVersion: tidegate.dev/v1alpha1\nkind: ApplicationVersion\nmetadata: {name: web}\nspec:\n  version: 1.4.2 # here\n",
    ),
    (
        "base.yaml",
        "apiVersion: tidegate.dev/v1alpha1\nkind: ApplicationBase\nmetadata: {name: shop}\nspec:\n  version: 1.4.2\n  source: {path: \
         m}\n",
    ),
    (
        "prod.yaml",
        "apiVersion: tidegate.dev/v1alpha1\nkind: Application\nmetadata: {name: prod}\nspec:\n  base: shop\n  version: 1.4.2\n  destination: \
         {namespace: prod}\n",
    ),
    (
        "test.yaml",
        "apiVersion: tidegate.dev/v1alpha1\nkind: Application\nmetadata: {name: test}\nspec:\n  base: shop\n  destination: {namespace: \
         test}\n",
    ),
];

#[test]
fn the_line_is_found_in_sets_versions_and_environments() {
    for (app, file, from, to) in [
        ("api", "tools.yaml", "version: 1.4.2} # the api", "version: \"2.10\"} # the api"),
        ("db", "tools.yaml", "version: '1.4.2'", "version: '2.10'"),
        ("web", "apps/web/version.yaml", "version: 1.4.2 # here", "version: \"2.10\" # here"),
        ("prod", "prod.yaml", "version: 1.4.2", "version: \"2.10\""),
        // One environment alone takes the version of the base: its line is the base's.
        ("test", "base.yaml", "version: 1.4.2", "version: \"2.10\""),
    ] {
        let scene = Scene::with(&MADE);
        let before = scene.read(&format!("ada/{file}"));
        let run = scene.deploy(&[app, "2.10"]);
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{app}");
        assert!(run.out.contains(&format!("({file}:")), "{}", run.out);
        assert_eq!(scene.read(&format!("ada/{file}")), before.replace(from, to), "{app}");
        assert_eq!(scene.git("bare.git", &["log", "-1", "--format=", "--name-only"]), file);
    }
    // Two environments have the base's line: moving one would move the other.
    let shared: Vec<(&str, String)> = MADE
        .iter()
        .map(|(path, text)| (*path, text.replace("  base: shop\n  version: 1.4.2\n", "  base: shop\n")))
        .collect();
    let shared: Vec<(&str, &str)> = shared.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let scene = Scene::with(&shared);
    let before = scene.state();
    let run = scene.deploy(&["test", "2.10"]);
    let wanted = "base.yaml:5: the edit would change Application `prod` too, which has the same line; give `test` a version of its own";
    assert!(run.code == 2 && run.err.contains(wanted), "{run:?}");
    assert_eq!(scene.state(), before);
}

#[test]
fn a_dry_run_shows_the_diff_and_changes_nothing() {
    let scene = Scene::new();
    let before = scene.state();
    let run = scene.deploy(&["web", "1.5.0", "--dry-run"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.out.starts_with("--- a/apps/web.yaml\n+++ b/apps/web.yaml\n@@ -4,7 +4,7 @@\n"), "{}", run.out);
    assert!(run.out.contains("-  version: 1.4.2 # bump me\n+  version: 1.5.0 # bump me\n"), "{}", run.out);
    assert_eq!(scene.state(), before);
}

#[test]
fn what_cannot_be_edited_is_refused_and_nothing_changes() {
    let scene = Scene::new();
    let alias = app("alias").replace("1.4.2", "&v 1.4.2").replace("example/alias}", "example/alias, tag: *v}");
    scene.write("ada/more.yaml", &format!("{alias}---\n{}---\n{}", app("twice"), app("twice")));
    scene.write("ada/block.yaml", &app("block").replace("1.4.2 # bump me", "|-\n    1.4.2"));
    scene.git("ada", &["add", "--all"]);
    scene.git("ada", &["commit", "--quiet", "-m", "more"]);
    scene.git("ada", &["push", "--quiet"]);
    scene.write("ada/new.yaml", &app("new"));
    scene.write("ada/apps/api.yaml", &app("api").replace("shop", "shop2"));
    let before = scene.state();
    for (arguments, message) in [
        (&["wep", "1"][..], "ada; there are alias, api, block, new, twice, web"),
        (&["twice", "1.5.0"], "Application `twice` is also declared at more.yaml:"),
        (&["alias", "1.5.0"], "the edit would change more of `alias` than its version"),
        (&["block", "1.5.0"], "the version cannot be edited: it is written as a block"),
        (&["web", "1.5 beta"], "`1.5 beta` is no version for web"),
        (&["web", "1.5.0+b"], "`1.5.0+b` is no image tag"),
        (&["web", ""], "is no version for web"),
        (&["new", "1.5.0"], "new.yaml is not in Git yet"),
        (&["api", "1.5.0"], "apps/api.yaml has changes that are not committed"),
        (&["web", "1.5.0", "--wait", "--push=false"], "leave `--push=false` out"),
        (&["web", "1.5.0", "--path", ".."], "lies in no clone"),
        // The rest of the clone may be another agent's.
        (
            &["web", "1.5.0", "--path", "block.yaml"],
            "no Application `web` is declared below block.yaml; there are block",
        ),
    ] {
        let run = scene.deploy(arguments);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{arguments:?}: {run:?}");
        assert!(run.err.contains(message), "{arguments:?}: {}", run.err);
        assert_eq!(scene.state(), before, "{arguments:?}");
    }
    let run = scene.deploy(&["api", "1.5.0", "--allow-dirty"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(scene.git("bare.git", &["show", "main:apps/api.yaml"]).contains("shop2"));
}

#[test]
fn a_branch_that_cannot_be_pushed_is_named_before_anything_is_written() {
    let scene = Scene::new();
    let refuses = |message: &str| {
        let before = scene.git("ada", &["rev-parse", "HEAD"]);
        let run = scene.deploy(&["web", "1.5.0"]);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{message}");
        assert!(run.err.contains(message), "{}", run.err);
        assert_eq!(scene.git("ada", &["rev-parse", "HEAD"]), before);
        assert_eq!(scene.git("ada", &["status", "--porcelain"]), "");
    };
    scene.git("ada", &["commit", "--quiet", "--allow-empty", "-m", "waits"]);
    refuses("is 1 commits ahead of its upstream");
    scene.git("ada", &["push", "--quiet"]);
    scene.git("ada", &["checkout", "--quiet", "-b", "mine"]);
    refuses("branch `mine` has no upstream");
    scene.git("ada", &["checkout", "--quiet", "--detach"]);
    refuses("HEAD is on no branch");
    scene.git("ada", &["checkout", "--quiet", "main"]);
    scene.hook("ada/.git/hooks/pre-commit", "echo no commits today >&2; exit 1");
    refuses("the commit was refused; nothing was changed: git commit: no commits today");
}

#[test]
fn without_push_rights_the_patch_is_printed_and_the_commit_undone() {
    let scene = Scene::new();
    scene.hook("bare.git/hooks/pre-receive", "echo only releases may push >&2; exit 1");
    scene.write("ada/README", "staged\n");
    scene.git("ada", &["add", "README"]);
    scene.write("ada/README", "and not\n");
    let before = scene.state();
    let run = scene.deploy(&["web", "1.5.0"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains("the push was refused, and the commit undone"), "{}", run.err);
    assert!(run.err.contains("only releases may push"), "{}", run.err);
    assert_eq!(scene.state(), before);
    // Somebody who may push takes it as it is.
    scene.write("change.patch", &run.out);
    scene.git("bob", &["am", "--quiet", "../change.patch"]);
    assert_eq!(scene.read("bob/apps/web.yaml"), app("web").replace("1.4.2", "1.5.0"));
    assert_eq!(scene.git("bob", &["log", "-1", "--format=%s %an"]), "web: 1.4.2 -> 1.5.0 Ada");

    let run = scene.deploy(&["web", "1.5.0", "-o", "json"]);
    let document: Value = serde_json::from_str(&run.out).expect("JSON");
    assert_eq!((run.code, &document["state"]), (1, &"refused".into()));
    assert!(document["patch"].as_str().expect("a patch").contains("+  version: 1.5.0"), "{document}");
    // So does a server that cannot write, although that looks as if somebody had been faster.
    std::fs::remove_file(scene.path("bare.git/hooks/pre-receive")).expect("the hook is there");
    scene.write("bare.git/refs/heads/main.lock", "");
    let run = scene.deploy(&["web", "1.5.0"]);
    assert!(run.code == 1 && run.out.starts_with("From ") && run.err.contains("[remote rejected]"), "{run:?}");
    assert_eq!(scene.state(), before);
    // A remote that is not there refuses as well.
    scene.git("ada", &["remote", "set-url", "origin", "../nowhere.git"]);
    let run = scene.deploy(&["web", "1.5.0"]);
    assert!(run.code == 1 && run.out.starts_with("From ") && run.err.contains("nowhere.git"), "{run:?}");
    assert_eq!(scene.state(), before);
}

#[test]
fn who_is_late_goes_on_top_of_what_others_pushed() {
    let scene = Scene::new();
    scene.bob_pushes("apps/api.yaml", &app("api").replace("1.4.2", "2.0.0"));
    // A line above moved the version line: it is found anew.
    scene.bob_pushes("apps/web.yaml", &format!("# Bob was here.\n{}", app("web")));
    scene.write("ada/README", "hers\n");
    let run = scene.deploy(&["web", "1.5.0"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(scene.git("bare.git", &["log", "--format=%s"]), "web: 1.4.2 -> 1.5.0\nbob's\nbob's\nfirst");
    let wanted = format!("# Bob was here.\n{}", app("web").replace("1.4.2", "1.5.0"));
    assert_eq!(scene.read("ada/apps/web.yaml"), wanted);
    assert_eq!(scene.git("ada", &["status", "--porcelain", "--branch"]), "## main...origin/main\n M README");
}

#[test]
fn who_is_late_for_the_same_line_or_stands_in_the_way_changes_nothing() {
    let moved = Scene::new();
    moved.bob_pushes("apps/web.yaml", &app("web").replace("1.4.2", "1.4.9"));
    let in_the_way = Scene::new();
    in_the_way.bob_pushes("README", "bob's\n");
    in_the_way.write("ada/README", "hers\n");
    let gone = Scene::new();
    gone.bob_pushes("apps/web.yaml", &app("www"));
    for (scene, message) in [
        (moved, "somebody else moved web from 1.4.2 to 1.4.9 meanwhile"),
        (in_the_way, "others pushed before, and this clone cannot follow"),
        (gone, "leaves nothing to edit"),
    ] {
        scene.write("ada/kept", "untracked\n");
        let before = scene.state();
        let run = scene.deploy(&["web", "1.5.0"]);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{run:?}");
        assert!(run.err.contains(message) && run.err.contains("nothing was changed"), "{message}: {}", run.err);
        assert_eq!(scene.state(), before, "{message}");
    }
}

#[test]
fn who_is_late_three_times_changes_nothing() {
    let scene = Scene::new();
    // Between every commit and its push, Bob is faster.
    let bob = scene.path("bob");
    let push = format!(
        "unset GIT_DIR GIT_INDEX_FILE; cd {} && git pull -q --ff-only && git commit -q --allow-empty -m faster && git push -q",
        bob.display()
    );
    scene.hook("ada/.git/hooks/pre-push", &push);
    scene.write("ada/README", "staged\n");
    scene.git("ada", &["add", "README"]);
    let before = scene.state();
    let run = scene.deploy(&["web", "1.5.0"]);
    assert_eq!((run.code, run.out.as_str()), (2, ""), "{run:?}");
    assert!(run.err.contains("3 times somebody else pushed to origin/main first"), "{}", run.err);
    assert_eq!(scene.state(), before);
    assert_eq!(scene.git("bare.git", &["log", "--format=%s"]), "faster\nfaster\nfaster\nfirst");
}

//! `tidegate validate` and `tidegate schema`, run as a user would: what each fault prints, and what editors are told.
//!
//! A file of `tests/validate/` is a repository and what is printed about it. `manifests/a.yaml` is there in each.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

mod draft;

/// What a run came to.
struct Run {
    code: i32,
    out: String,
    err: String,
}

fn tidegate(folder: &Path, arguments: &[&str]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the program of this package can be started");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it writes UTF-8");
    Run { code: output.status.code().expect("it ends by itself"), out: text(output.stdout), err: text(output.stderr) }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The faults, in order.
fn cases() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("tests/validate")).expect("the cases can be listed");
    let mut cases: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry can be read").path()).collect();
    cases.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    cases.sort();
    assert!(cases.len() >= 20, "{cases:?}");
    cases
}

/// A case: its files by path, and what is printed after the line that says the exit code.
fn read(case: &Path) -> (Vec<(String, String)>, String) {
    let text = std::fs::read_to_string(case).expect("a case can be read");
    let mut sections: Vec<(String, String)> = Vec::new();
    for line in text.split_inclusive('\n') {
        match (line.strip_prefix("=== "), sections.last_mut()) {
            (Some(title), _) => sections.push((title.trim_end().to_owned(), String::new())),
            (None, Some((_, section))) => section.push_str(line),
            (None, None) => panic!("{}: does not begin with `=== `", case.display()),
        }
    }
    let (title, printed) = sections.pop().expect("a case has sections");
    (sections, format!("{title}\n{printed}"))
}

fn planted(files: &[(String, String)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let manifests = ("manifests/a.yaml".to_owned(), "a: 1\n".to_owned());
    for (path, text) in std::iter::once(&manifests).chain(files) {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        std::fs::write(path, text).expect("a file");
    }
    folder
}

#[test]
fn each_fault_prints_its_place_its_line_and_what_to_do() {
    let mut wrong = Vec::new();
    for case in cases() {
        let (files, expected) = read(&case);
        let run = tidegate(planted(&files).path(), &["validate", ".", "--root", "."]);
        let found = format!("printed, exit code {}\n{}", run.code, run.out);
        if found != expected || !run.err.is_empty() {
            wrong.push(format!("{}:\n{found}{}", case.display(), run.err));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn machines_and_github_are_told_the_same_problems_as_people() {
    for case in cases() {
        let (files, _) = read(&case);
        let folder = planted(&files);
        let run = |form: &str| tidegate(folder.path(), &["validate", ".", "--root", ".", "-o", form]);
        let (text, json, github) = (run("text"), run("json"), run("github"));
        assert_eq!((json.code, github.code), (text.code, text.code), "{}", case.display());
        let document: Value = serde_json::from_str(&json.out).expect("it is JSON");
        let problems = document["problems"].as_array().expect("a list");
        let places: Vec<String> = problems
            .iter()
            .map(|it| format!("{}:{}:{}", it["file"], it["line"], it["column"]).replace('"', ""))
            .collect();
        let arrows: Vec<&str> = text.out.lines().filter_map(|line| line.trim_start().strip_prefix("--> ")).collect();
        assert_eq!(places, arrows, "{}", case.display());
        let annotations: Vec<String> = github
            .out
            .lines()
            .filter_map(|line| line.strip_prefix("::error file=")?.split(",title=").next())
            .map(|place| place.replace(",line=", ":").replace(",col=", ":"))
            .collect();
        assert_eq!(annotations, arrows, "{}", case.display());
        assert_eq!(github.out.lines().last(), text.out.lines().last(), "{}", case.display());
    }
}

#[test]
fn a_github_annotation_is_one_line_whatever_the_file_is_called() {
    let app = "apiVersion: tidegate.dev/v1alpha1\nkind: Application\nmetadata: {name: web}\nspec:\n  version: 1.4\n  \
               source: {path: manifests}\n  destination: {namespace: shop}\n";
    let folder = planted(&[("a,b:100%.yaml".to_owned(), app.to_owned())]);
    let run = tidegate(folder.path(), &["validate", ".", "--root", ".", "-o", "github"]);
    assert_eq!(
        run.out,
        "::error file=a%2Cb%3A100%25.yaml,line=5,col=12,title=spec.version::`1.4` is a number in YAML, text is needed%0Ahint: \
         quote it: \"1.4\"\n1 problem: 1 application, 0 plans in 1 file\n"
    );
}

#[test]
fn what_cannot_be_read_and_wrong_arguments_are_exit_code_2() {
    let folder = planted(&[]);
    for (arguments, wanted) in [
        (&["validate", "nowhere"][..], "error: failed to read nowhere: No such file or directory"),
        (&["validate", "-o", "xml"], "invalid value 'xml'"),
        (&["schema", "Deployment"], "error: there is no kind `Deployment`; known are Application"),
    ] {
        let run = tidegate(folder.path(), arguments);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{arguments:?}");
        assert!(run.err.contains(wanted), "{arguments:?}: {}", run.err);
    }
}

/// The schema of a kind, as the program prints it.
fn schema(kind: &str) -> Value {
    let run = tidegate(root(), &["schema", kind]);
    assert_eq!(run.code, 0, "{}", run.err);
    serde_json::from_str(&run.out).expect("it is JSON")
}

/// Documents of ours in the YAML files of a folder.
fn documents(folder: &str) -> Vec<Value> {
    let (mut found, mut folders) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a shipped folder can be listed") {
            let path = entry.expect("an entry of a folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                let text = std::fs::read_to_string(&path).expect("a shipped file is text");
                found.extend(serde_saphyr::from_multiple::<Value>(&text).expect("a shipped file is YAML"));
            }
        }
    }
    found.retain(|document| document["apiVersion"] == "tidegate.dev/v1alpha1");
    found
}

#[test]
fn shipped_declarations_obey_the_schema_of_their_kind_and_of_no_other() {
    let any: Value = serde_json::from_str(&tidegate(root(), &["schema"]).out).expect("it is JSON");
    let documents: Vec<Value> = ["manifests", "policies"].into_iter().flat_map(documents).collect();
    assert!(documents.len() >= 6, "{documents:?}");
    for document in documents {
        let kind = document["kind"].as_str().expect("a kind");
        assert_eq!(draft::violations(&schema(kind), &document), [""; 0], "{document}");
        assert_eq!(draft::violations(&any, &document), [""; 0], "{document}");
        let other = if kind == "Application" { "WavePlan" } else { "Application" };
        assert_ne!(draft::violations(&schema(other), &document), [""; 0], "{document}");
    }
}

/// Documents of the guides and the reference, so that what people copy is what editors accept.
fn documented() -> Vec<Value> {
    let mut found = Vec::new();
    for file in ["docs/reference/declarations.md", "docs/guides/first-rollout.md"] {
        let text = std::fs::read_to_string(root().join(file)).expect("it is there");
        for block in text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            found.extend(serde_saphyr::from_multiple::<Value>(block).expect("an example is YAML"));
        }
    }
    found.retain(|document| document["apiVersion"] == "tidegate.dev/v1alpha1");
    found
}

#[test]
fn every_kind_has_an_example_that_obeys_its_schema() {
    let examples = documented();
    let any: Value = serde_json::from_str(&tidegate(root(), &["schema"]).out).expect("it is JSON");
    for schema in any["oneOf"].as_array().expect("a list") {
        let kind = schema["title"].as_str().expect("a title");
        assert!(examples.iter().any(|example| example["kind"] == kind), "{kind}");
    }
    for example in &examples {
        let kind = example["kind"].as_str().expect("a kind");
        assert_eq!(draft::violations(&schema(kind), example), [""; 0], "{example}");
        assert_eq!(draft::violations(&any, example), [""; 0], "{example}");
    }
}

#[test]
fn an_application_may_lack_only_what_its_base_may_give() {
    for (text, is_good) in [
        ("{version: '1', source: {path: a}, destination: {namespace: b}}", true),
        ("{version: '1', source: {path: a}, destination: {cluster: in-cluster}}", false),
        ("{source: {path: a}, destination: {namespace: b}}", false),
        ("{version: '1', source: {path: a}, destination: {namespace: b}, plan: {analysis: []}}", false),
        ("{base: web, version: '1', destination: {cluster: in-cluster}}", true),
        ("{base: web, plan: {analysis: []}}", true),
        ("{base: web, images: [{tag: a}]}", false),
        ("{base: web, vresion: '1'}", false),
    ] {
        let text =
            format!("{{apiVersion: tidegate.dev/v1alpha1, kind: Application, metadata: {{name: web}}, spec: {text}}}");
        let document: Value = serde_saphyr::from_str(&text).expect("it is YAML");
        assert_eq!(draft::violations(&schema("application"), &document).is_empty(), is_good, "{text}");
    }
}

#[test]
fn an_application_is_shown_whole_with_what_its_base_gives() {
    let base = "apiVersion: tidegate.dev/v1alpha1\nkind: ApplicationBase\nmetadata: {name: web}\nspec:\n  source: {path: manifests}\n  \
                destination: {namespace: test, serviceAccount: deployer}\n";
    let app = "apiVersion: tidegate.dev/v1alpha1\nkind: Application\nmetadata: {name: web}\nspec:\n  base: web\n  version: '1.10'\n  \
               destination: {namespace: prod}\n";
    let folder = planted(&[("base.yaml".to_owned(), base.to_owned()), ("prod/web.yaml".to_owned(), app.to_owned())]);
    let run = tidegate(folder.path(), &["validate", "--root", ".", "--show", "web"]);
    let (comment, text) = run.out.split_once('\n').expect("two lines");
    assert_eq!((run.code, comment), (0, "# declared in prod/web.yaml"), "{}", run.err);
    let shown: Value = serde_saphyr::from_str(text).expect("it is YAML");
    let spec = serde_json::json!({"version": "1.10", "source": {"path": "manifests"},
        "destination": {"namespace": "prod", "serviceAccount": "deployer"}});
    assert_eq!(shown["spec"], spec);
    assert_eq!(draft::violations(&schema("application"), &shown), [""; 0]);
    let run = tidegate(folder.path(), &["validate", "--root", ".", "--show", "wep"]);
    assert_eq!((run.code, run.err.as_str()), (2, "error: no Application is called `wep`\n"));
}

#[test]
fn bad_declarations_break_the_schema_where_they_are_bad() {
    for (pointer, wrong, place) in [
        ("/apiVersion", "tidegate.dev/v2", "/apiVersion"),
        ("/metadata/name", "Web_App", "/metadata/name"),
        ("/spec/version", "1.4 beta", "/spec/version"),
        ("/spec/deletion", "never", "/spec/deletion"),
        ("/spec/source/path", "/apps/web", "/spec/source/path"),
        ("/spec/destination", "shop", "/spec/destination"),
        ("/spec/sync", "yes", "/spec/sync"),
        ("/spec/vresion", "1.4.0", "/spec: unknown field `vresion`"),
        ("/spec/plan", "Not A Plan", "/spec/plan"),
    ] {
        let text = "{apiVersion: tidegate.dev/v1alpha1, kind: Application, metadata: {name: web}, spec: {version: 1.4.0, \
                    source: {path: apps/web}, destination: {namespace: shop}}}";
        let mut document: Value = serde_saphyr::from_str(text).expect("it is YAML");
        assert_eq!(draft::violations(&schema("application"), &document), [""; 0]);
        let (parent, field) = pointer.rsplit_once('/').expect("a pointer has a slash");
        document.pointer_mut(parent).expect("the parent is there")[field] = Value::from(wrong);
        let violations = draft::violations(&schema("application"), &document);
        assert!(violations.iter().any(|violation| violation.starts_with(place)), "{pointer}: {violations:?}");
    }
}

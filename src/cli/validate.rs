//! `tidegate validate`: reads a working tree as the agent would read the commit, and says what is wrong.
//!
//! Enters: a folder (or one file) of a repository. Leaves: problems with the lines that they are about, and an exit code
//! that scripts can rely on. It needs neither a cluster nor Git, and follows no symbolic links, as the agent does not.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

use super::rendering;
use crate::declare::{
    API_VERSION, Declarations, FILE_BYTES_MAX, Made, ParsedFile, Problem, assemble, is_candidate, parse_file,
};
use crate::model::{AppName, Application, SourcePath};
use crate::render::values;
use crate::world::Files;

/// Checks the Applications and WavePlans below a folder.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Folder to look for declarations in, or one file.
    #[arg(default_value = ".")]
    pub path: PathBuf,
    /// The repository's root, which source paths start from; found by its `.git` when not given.
    #[arg(long)]
    pub root: Option<PathBuf>,
    /// How to print.
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Form,
    /// Print this Application as YAML instead: whole, with what its base or its template gives.
    #[arg(long, value_name = "APP", conflicts_with = "output")]
    pub show: Option<String>,
}

/// How to print problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// For people: the line, a caret, a hint.
    Text,
    /// For machines.
    Json,
    /// Annotations of a GitHub Actions run: each problem is shown beside its line in the pull request.
    Github,
}

/// How to print what has only two forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Runs `tidegate validate`. Exit codes: 0 nothing is wrong, 1 there are problems, 2 something cannot be read.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    let examined = match examine(&arguments.path, arguments.root.as_deref()) {
        Ok(examined) => examined,
        Err(error) => {
            let _ = writeln!(io::stderr().lock(), "error: {error}: {}", error.source);
            return ExitCode::from(2);
        }
    };
    if let Some(app) = &arguments.show {
        return show(&examined, app);
    }
    let text = match arguments.output {
        Form::Text => examined.as_text(),
        Form::Json => examined.as_json(),
        Form::Github => examined.as_annotations(),
    };
    // A closed pipe is the reader's choice, and no error.
    let _ = io::stdout().lock().write_all(text.as_bytes());
    if examined.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

/// Prints one Application as it is understood. Exit codes: 0 printed, 1 it has problems, 2 nobody declares it.
fn show(examined: &Examined, app: &str) -> ExitCode {
    let (text, code) = match examined.declarations.apps.get(&AppName::from(app)) {
        Some(Ok(application)) => (as_yaml(application), 0),
        Some(Err(problems)) => {
            let text = |problem: &Problem| examined.texts.get(&problem.file).map_or("", String::as_str).to_owned();
            (problems.iter().map(|problem| explain(problem, &text(problem)) + "\n").collect(), 1)
        }
        None => {
            let _ = writeln!(io::stderr().lock(), "error: no Application is called `{app}`");
            return ExitCode::from(2);
        }
    };
    let _ = io::stdout().lock().write_all(text.as_bytes());
    ExitCode::from(code)
}

fn as_yaml(application: &Application) -> String {
    let document = json!({
        "apiVersion": API_VERSION,
        "kind": "Application",
        "metadata": {"name": application.name.as_str()},
        "spec": (*application.spec).clone(),
    });
    let text = super::output::yaml(&document).expect("JSON values can be written as YAML");
    format!("# declared in {}\n{text}", super::output::plain(&application.declared_in))
}

/// Why the tree cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to read {}", path.display())]
pub(super) struct CannotRead {
    pub(super) path: PathBuf,
    pub(super) source: io::Error,
}

/// What was found in a working tree.
#[derive(Debug)]
pub(super) struct Examined {
    /// What is declared, and good.
    pub(super) apps: BTreeMap<AppName, Arc<Application>>,
    /// What is declared, good or bad.
    pub(super) declarations: Declarations,
    /// The files that declare something, by path from the root.
    pub(super) parsed: BTreeMap<String, Arc<ParsedFile>>,
    /// All files of the repository by path from the root, if they matter.
    pub(super) paths: Vec<String>,
    /// Where source paths start.
    pub(super) root: PathBuf,
    applications: usize,
    plans: usize,
    /// What is wrong.
    pub(super) problems: Vec<Problem>,
    /// Text of the files that declare something, by path from the root.
    pub(super) texts: BTreeMap<String, String>,
}

pub(super) fn examine(path: &Path, root: Option<&Path>) -> Result<Examined, CannotRead> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CannotRead { path, source }
    };
    let path = fs::canonicalize(path).map_err(failed(path))?;
    let root = match root {
        Some(root) => fs::canonicalize(root).map_err(failed(root))?,
        None => find_root(&path),
    };
    let mut texts = BTreeMap::new();
    let mut parsed: BTreeMap<String, Arc<ParsedFile>> = BTreeMap::new();
    for file in files_below(&path, true, is_yaml).map_err(failed(&path))? {
        let mut bytes = Vec::new();
        // One byte more than is read tells that there is more.
        let limit = FILE_BYTES_MAX as u64 + 1;
        fs::File::open(&file).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(failed(&file))?;
        if is_candidate(&bytes) {
            let name = relative(&file, &root);
            parsed.insert(name.clone(), Arc::new(parse_file(&name, &bytes)));
            texts.insert(name, String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    let paths = match parsed.values().any(|file| file.wants_paths()) {
        true => files_below(&root, true, |_| true).map_err(failed(&root))?,
        false => Vec::new(),
    };
    let paths: Vec<String> = paths.iter().map(|path| relative(path, &root)).collect();
    let declarations = assemble(&parsed, &BTreeMap::new(), paths.iter().map(String::as_str), &Made::default());
    let mut problems = declarations.problems.clone();
    let listed = OnceCell::new();
    for (name, app) in &declarations.apps {
        if let Ok(application) = app {
            for (index, source) in application.sources.iter().enumerate() {
                if let Some((message, hint)) = check(&root, source, &listed) {
                    problems.extend(declarations.source_problem(&parsed, name, index, &message, hint));
                }
            }
        }
    }
    problems.sort();
    let plans = parsed.values().map(|file| file.plan_count()).sum();
    let applications = declarations.apps.len();
    let good =
        |(name, app): (&AppName, &Result<Arc<Application>, Vec<Problem>>)| Some((name.clone(), app.clone().ok()?));
    let apps = declarations.apps.iter().filter_map(good).collect();
    Ok(Examined { apps, declarations, parsed, paths, root, applications, plans, problems, texts })
}

/// The nearest folder above with a `.git`, or the folder itself.
fn find_root(path: &Path) -> PathBuf {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    folder.ancestors().find(|folder| folder.join(".git").exists()).unwrap_or(folder).to_owned()
}

/// The wanted files at or below `path`, in order. Symbolic links and `.git` are passed by.
pub(super) fn files_below(path: &Path, is_recursive: bool, is_wanted: fn(&Path) -> bool) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            // The entry's own type: a symbolic link is neither a folder nor a file here.
            let kind = entry.file_type()?;
            if kind.is_dir() && is_recursive && entry.file_name() != ".git" {
                folders.push(entry.path());
            } else if kind.is_file() && is_wanted(&entry.path()) {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// The path from the root with `/` between its parts, as Git writes it.
pub(super) fn relative(path: &Path, root: &Path) -> String {
    let path = path.strip_prefix(root).unwrap_or(path);
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// What is wrong with what an Application renders from. What lies in another repository is not looked at. `listed` are the
/// files of the tree, once somebody asked.
fn check(root: &Path, source: &SourcePath, listed: &OnceCell<Option<Files>>) -> Option<(String, &'static str)> {
    let is_here = source.elsewhere.is_none();
    if is_here
        && source.helm.chart.is_none()
        && let Some(found) = check_source(root, &source.path, source.is_recursive)
    {
        return Some(found);
    }
    // A tree that cannot be listed whole may still hold all that was looked at.
    let files = listed.get_or_init(|| rendering::listed(root).ok()).as_ref()?;
    if !is_here {
        return values(source, files).err().map(|error| (error.to_string(), ""));
    }
    let mut read = |path: &str| Ok(fs::read(root.join(path))?);
    rendering::gather(source, files, &mut read).err().map(|error| (error.to_string(), ""))
}

/// What is wrong with a source folder.
fn check_source(root: &Path, path: &str, is_recursive: bool) -> Option<(String, &'static str)> {
    let mut folder = root.to_owned();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        folder.push(part);
        match fs::symlink_metadata(&folder) {
            Err(_) => {
                return Some((
                    format!("folder `{path}` does not exist"),
                    "it is looked for from the repository's root",
                ));
            }
            Ok(found) if found.is_symlink() => {
                return Some((
                    format!("`{path}` goes through a symbolic link"),
                    "links are not followed; name the folder",
                ));
            }
            Ok(found) if !found.is_dir() => {
                return Some((format!("`{path}` is no folder"), "name the folder of the file"));
            }
            Ok(_) => {}
        }
    }
    match files_below(&folder, is_recursive, is_yaml) {
        Ok(files) if files.is_empty() => {
            let hint = if is_recursive { "" } else { "folders below it are read with `recurse: true`" };
            Some((format!("folder `{path}` holds no YAML file"), hint))
        }
        Ok(_) => None,
        Err(_) => Some((format!("folder `{path}` cannot be read"), "")),
    }
}

impl Examined {
    fn as_json(&self) -> String {
        let problem = |problem: &Problem| {
            json!({
                "file": problem.file,
                "document": problem.document,
                "line": problem.line,
                "column": problem.column,
                "field": problem.field,
                "message": problem.message,
                "hint": problem.hint,
            })
        };
        let problems: Vec<_> = self.problems.iter().map(problem).collect();
        let document = json!({"applications": self.applications, "plans": self.plans, "problems": problems});
        format!("{document:#}\n")
    }

    /// Workflow commands, which the runner reads from the log, and the line that people read there.
    fn as_annotations(&self) -> String {
        let mut text: String = self.problems.iter().map(annotation).collect();
        text.push_str(&self.summary());
        text
    }

    /// The problems for people, and how much was looked at.
    pub(super) fn as_text(&self) -> String {
        let mut text = String::new();
        for problem in &self.problems {
            text.push_str(&explain(problem, self.texts.get(&problem.file).map_or("", String::as_str)));
            text.push('\n');
        }
        text.push_str(&self.summary());
        text
    }

    fn summary(&self) -> String {
        let found = format!("{}, {}", counted(self.applications, "application"), counted(self.plans, "plan"));
        let files = counted(self.texts.len(), "file");
        let problems = counted(self.problems.len(), "problem");
        match (self.problems.is_empty(), self.texts.is_empty()) {
            (_, true) => "no declarations found: no YAML file mentions tidegate.dev/\n".to_owned(),
            (true, false) => format!("ok: {found} in {files}\n"),
            (false, false) => format!("{problems}: {found} in {files}\n"),
        }
    }
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// A problem as GitHub's runner wants it: `::error file=..,line=..::message`, with what has a meaning there escaped.
fn annotation(problem: &Problem) -> String {
    let Problem { file, document: _, line, column, field, message, hint } = problem;
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let title = if field.is_empty() { "declaration" } else { field };
    let hint = if hint.is_empty() { String::new() } else { format!("\nhint: {hint}") };
    format!(
        "::error file={},line={line},col={column},title={}::{}\n",
        property(file),
        property(title),
        data(&format!("{message}{hint}"))
    )
}

/// A problem with the line that it is about, as compilers show it.
pub(super) fn explain(problem: &Problem, text: &str) -> String {
    let Problem { file, document: _, line, column, field, message, hint } = problem;
    let subject = if field.is_empty() { String::new() } else { format!("{field}: ") };
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    let mut lines = vec![format!("error: {subject}{message}"), format!("{margin}--> {file}:{line}:{column}")];
    if let Some(source) = text.lines().nth(line.saturating_sub(1)) {
        let source: String = source.chars().take(COLUMNS_MAX).collect();
        lines.push(format!("{margin} |"));
        lines.push(format!("{number} | {source}"));
        if *column <= COLUMNS_MAX {
            lines.push(format!("{margin} | {}^", " ".repeat(column.saturating_sub(1))));
        }
    }
    if !hint.is_empty() {
        lines.push(format!("{margin} = hint: {hint}"));
    }
    // A tab is one column; other control characters, in names of files too, could play tricks on a terminal.
    let show = |c: char| match c {
        '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    lines.iter().flat_map(|line| line.chars().map(show).chain(['\n'])).collect()
}

/// Longest piece of a source line that is shown.
const COLUMNS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    const APP: &str = "apiVersion: tidegate.dev/v1alpha1
kind: Application
metadata: {name: web}
spec:
  version: 1.4.0
  source: {path: ./manifests}
  destination: {namespace: shop}
";

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            fs::write(path, text).expect("a file");
        }
        folder
    }

    #[test]
    fn a_good_tree_is_ok_and_manifests_and_git_are_passed_by() {
        let tree = tree(&[
            ("apps/web/app.yaml", APP),
            ("apps/web/manifests/web.yml", "a: 1\na: [\n"),
            (".git/app.yaml", &APP.replace("1.4.0", "1.4")),
        ]);
        let examined = examine(tree.path(), None).expect("it can be read");
        assert_eq!(examined.problems, []);
        assert_eq!(examined.as_text(), "ok: 1 application, 0 plans in 1 file\n");
    }

    #[test]
    fn a_problem_is_shown_with_its_line_and_a_caret() {
        let tree = tree(&[("app.yaml", &APP.replace("1.4.0", "1.4")), ("manifests/web.yaml", "")]);
        let shown = examine(tree.path(), None).expect("it can be read").as_text();
        let expected = "\
error: spec.version: `1.4` is a number in YAML, text is needed
 --> app.yaml:5:12
  |
5 |   version: 1.4
  |            ^
  = hint: quote it: \"1.4\"

1 problem: 1 application, 0 plans in 1 file
";
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_source_folder_must_be_there_and_hold_yaml() {
        let other = APP.replace("./manifests", "other");
        let nested = APP.replace("{path: ./manifests}", "{path: other, recurse: true}");
        for (files, expected) in [
            (vec![("app.yaml", APP)], Some("folder `manifests` does not exist")),
            (vec![("app.yaml", APP), ("manifests/a.txt", "")], Some("folder `manifests` holds no YAML file")),
            (vec![("app.yaml", APP), ("manifests", "")], Some("`manifests` is no folder")),
            (vec![("a/app.yaml", APP), ("a/manifests/a.yaml", "")], None),
            (vec![("a/app.yaml", &other), ("other/b/a.yaml", "")], Some("folder `other` holds no YAML file")),
            (vec![("a/app.yaml", &nested), ("other/b/a.yaml", "")], None),
        ] {
            let tree = tree(&files);
            let problems = examine(tree.path(), None).expect("it can be read").problems;
            let found = problems.first().map(|problem| (problem.field.as_str(), problem.message.as_str()));
            assert_eq!(found, expected.map(|message| ("spec.source.path", message)), "{files:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn symbolic_links_are_not_followed() {
        let tree = tree(&[("app.yaml", APP), ("real/a.yaml", "")]);
        std::os::unix::fs::symlink(tree.path().join("real"), tree.path().join("manifests")).expect("a link");
        std::os::unix::fs::symlink(tree.path().join("app.yaml"), tree.path().join("again.yaml")).expect("a link");
        let problems = examine(tree.path(), None).expect("it can be read").problems;
        let messages: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(messages, ["`manifests` goes through a symbolic link"]);
    }

    #[test]
    fn a_folder_of_a_repository_is_checked_from_the_repositorys_root() {
        let app = APP.replace("./manifests", "manifests/web");
        let tree = tree(&[("apps/app.yaml", &app), ("manifests/web/a.yaml", ""), (".git/HEAD", "")]);
        let examined = examine(&tree.path().join("apps"), None).expect("it can be read");
        assert_eq!(examined.problems, []);
        let examined = examine(&tree.path().join("apps/app.yaml"), Some(tree.path())).expect("it can be read");
        assert_eq!((examined.problems, examined.applications), (vec![], 1));
    }

    #[test]
    fn what_is_not_there_cannot_be_read() {
        let tree = tree(&[]);
        let error = examine(&tree.path().join("nowhere"), None).expect_err("it is not there");
        assert!(error.to_string().ends_with("nowhere"), "{error}");
        assert!(examine(tree.path(), None).expect("it is there").as_text().starts_with("no declarations found"));
    }

    #[test]
    fn machines_read_the_same_problems() {
        let tree = tree(&[("app.yaml", &APP.replace("1.4.0", "1.4")), ("manifests/web.yaml", "")]);
        let text = examine(tree.path(), None).expect("it can be read").as_json();
        let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(document["applications"], 1);
        assert_eq!(document["problems"][0]["field"], "spec.version");
        assert_eq!(document["problems"][0]["line"], 5);
    }
}

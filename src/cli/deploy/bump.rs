//! The version line of an app -> the same file with another version. Enters: a working tree, a name, a version. Leaves: the
//! edit, checked by reading the result: nothing but this version differs. It writes nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail, ensure};
use similar::TextDiff;

use crate::cli::validate::{Examined, examine, explain};
use crate::declare::{Made, Problem, assemble, parse_file, with_value};
use crate::model::{AppName, Application};

/// An edit of one line of one file.
#[derive(Debug)]
pub(super) struct Bump {
    /// The app.
    pub(super) app: String,
    /// The version that stands there.
    pub(super) from: String,
    /// The version that is to stand there.
    pub(super) to: String,
    /// The file, relative to the clone's root.
    pub(super) file: String,
    /// The line.
    pub(super) line: usize,
    /// The file as it is.
    pub(super) before: String,
    /// The file as it is to be.
    pub(super) after: String,
}

impl Bump {
    /// `file:line`.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }

    /// What is done.
    pub(super) fn sentence(&self) -> String {
        format!("{}: {} -> {} ({})", self.app, self.from, self.to, self.place())
    }

    /// A unified diff.
    pub(super) fn diff(&self) -> String {
        let compared = TextDiff::from_lines(self.before.as_str(), self.after.as_str());
        compared.unified_diff().header(&format!("a/{}", self.file), &format!("b/{}", self.file)).to_string()
    }
}

/// Finds the line below `path` and edits it.
pub(super) fn find(root: &Path, path: &Path, app: &str, version: &str) -> anyhow::Result<Bump> {
    let examined = examine(path, Some(root))
        .map_err(|error| anyhow!("failed to read {}: {}", error.path.display(), error.source))?;
    let name = AppName::from(app);
    let before = match examined.declarations.apps.get(&name) {
        Some(Ok(application)) => application,
        Some(Err(problems)) => bail!("Application `{app}` cannot be edited\n{}", told(problems, &examined)),
        None => bail!(not_declared(app, path, &examined)),
    };
    let place = examined
        .declarations
        .version_place(&examined.parsed, &name)
        .ok_or_else(|| anyhow!("where the version of `{app}` stands cannot be told"))?;
    let file = root.join(&place.file);
    let text = std::fs::read_to_string(&file).with_context(|| format!("failed to read {}", file.display()))?;
    let from = before.version.clone();
    let after = if from == version {
        text.clone()
    } else {
        with_value(&text, place.line, place.column, version)
            .with_context(|| format!("{}:{}: the version cannot be edited", place.file, place.line))?
    };
    let bump = Bump {
        app: app.to_owned(),
        from,
        to: version.to_owned(),
        file: place.file,
        line: place.line,
        before: text,
        after,
    };
    check(&examined, &bump, before, place.is_templated)?;
    Ok(bump)
}

fn not_declared(app: &str, path: &Path, examined: &Examined) -> String {
    let names: Vec<&str> = examined.declarations.apps.keys().map(AppName::as_str).take(20).collect();
    let known = if names.is_empty() { "none is".to_owned() } else { format!("there are {}", names.join(", ")) };
    format!("no Application `{app}` is declared below {}; {known}", path.display())
}

/// Problems as `validate` shows them.
fn told(problems: &[Problem], examined: &Examined) -> String {
    let text = |problem: &Problem| examined.texts.get(&problem.file).map_or("", String::as_str).to_owned();
    problems.iter().map(|problem| explain(problem, &text(problem))).collect::<Vec<_>>().join("\n")
}

/// That the edit changes this app's version and nothing else.
fn check(examined: &Examined, bump: &Bump, before: &Application, is_templated: bool) -> anyhow::Result<()> {
    let mut files = examined.parsed.clone();
    files.insert(bump.file.clone(), Arc::new(parse_file(&bump.file, bump.after.as_bytes())));
    let after = assemble(&files, &BTreeMap::new(), examined.paths.iter().map(String::as_str), &Made::default());
    for (name, was) in &examined.declarations.apps {
        match (was, after.apps.get(name)) {
            (_, Some(Err(problems))) if name.as_str() == bump.app => {
                let shown = |problem: &Problem| explain(problem, &bump.after);
                let problems: Vec<String> = problems.iter().map(shown).collect();
                bail!("`{}` is no version for {}; nothing was changed\n{}", bump.to, bump.app, problems.join("\n"));
            }
            (_, Some(Ok(application))) if name.as_str() == bump.app => {
                let is_this =
                    application.version == bump.to && differs_in_version_alone(before, application, is_templated);
                ensure!(
                    is_this,
                    "{}: the edit would change more of `{name}` than its version; edit by hand",
                    bump.place()
                );
            }
            (Ok(was), Some(Ok(is))) if was == is => {}
            (Err(_), Some(Err(_))) => {}
            (Ok(_) | Err(_), Some(Ok(_) | Err(_)) | None) => {
                bail!(
                    "{}: the edit would change Application `{name}` too, which has the same line; give `{}` a version of its own",
                    bump.place(),
                    bump.app
                );
            }
        }
    }
    ensure!(
        after.apps.len() == examined.declarations.apps.len(),
        "{}: the edit would declare another Application",
        bump.place()
    );
    Ok(())
}

/// Whether two readings of an app are equal but for the version and the tags that follow it. A template may use the version
/// wherever it likes: that is what it says, and only other apps are none of its business.
fn differs_in_version_alone(before: &Application, after: &Application, is_templated: bool) -> bool {
    if is_templated {
        return before.name == after.name;
    }
    let mut expected = before.clone();
    expected.version.clone_from(&after.version);
    for (image, is) in expected.images.iter_mut().zip(&after.images) {
        if image.tag == before.version && is.tag == after.version {
            image.tag.clone_from(&is.tag);
        }
    }
    let mut spec: serde_json::Value = (*before.spec).clone();
    spec["version"] = serde_json::Value::from(after.version.as_str());
    expected.spec = after.spec.clone();
    expected == *after && spec == *after.spec
}

//! Which files a kustomization is made of: those that it names, and those that they name.
//!
//! Enters: a folder, the files of the commit, and the contents of the kustomization files that were read. Leaves: all files
//! that `kustomize build` may read, and the kustomization files still to be read. Nothing outside the repository is
//! followed: what is remote is refused by name.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::inputs::{below, missing, stranger};
use super::{RenderError, yaml};
use crate::world::{BlobId, Entry, Files};

/// What a kustomization file may be called; a folder has one of them.
pub(super) const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Fields that list files or folders with a kustomization of their own.
const FOLDERS: [&str; 3] = ["resources", "bases", "components"];
/// Fields that list files, or the text of one in place.
const FILES: [&str; 6] =
    ["crds", "configurations", "generators", "transformers", "validators", "patchesStrategicMerge"];
/// Fields with a list of mappings that name a file as `path`.
const PATHS: [&str; 3] = ["patches", "patchesJson6902", "replacements"];
/// Fields with a list of generators of ConfigMaps and Secrets.
const GENERATORS: [&str; 2] = ["configMapGenerator", "secretGenerator"];

/// Folders of one Application: bases of bases, one for each component.
const FOLDERS_MAX: usize = 500;

/// What a kustomization is made of.
#[derive(Debug, Default)]
pub(super) struct Closure<'a> {
    pub(super) files: BTreeMap<&'a str, &'a Entry>,
    pub(super) next: Vec<(&'a str, &'a BlobId)>,
}

/// Follows a kustomization as far as its contents are known.
pub(super) fn closure<'a>(
    folder: &str,
    files: &'a Files,
    known: &BTreeMap<String, Vec<u8>>,
) -> Result<Closure<'a>, RenderError> {
    let mut closure = Closure::default();
    let mut seen = BTreeSet::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        if !seen.insert(folder.clone()) {
            continue;
        }
        if seen.len() > FOLDERS_MAX {
            return Err(RenderError::TooLarge(format!("a kustomization of more than {FOLDERS_MAX} folders")));
        }
        let (file, entry, blob) = find(&folder, files)?;
        closure.files.insert(file, entry);
        let Some(text) = known.get(file) else {
            closure.next.push((file, blob));
            continue;
        };
        Reader { file, folder: &folder, files, closure: &mut closure, waiting: &mut waiting }.read(text)?;
    }
    Ok(closure)
}

/// The one kustomization file of a folder.
fn find<'a>(folder: &str, files: &'a Files) -> Result<(&'a str, &'a Entry, &'a BlobId), RenderError> {
    let mut found = NAMES.iter().filter_map(|name| files.get_key_value(&below(folder, name)));
    let Some((file, entry)) = found.next() else {
        let is_there = files.range(below(folder, "")..).next().is_some_and(|(file, _)| file.starts_with(folder));
        return Err(if is_there { RenderError::NoKustomization(folder.to_owned()) } else { missing(folder, files) });
    };
    if let Some((other, _)) = found.next() {
        return Err(refused(file, &format!("{other} stands beside it: kustomize takes one of them; remove the other")));
    }
    match entry {
        Entry::File { blob, .. } => Ok((file, entry, blob)),
        Entry::Link | Entry::Submodule => Err(RenderError::NotAFile(file.clone())),
    }
}

fn refused(file: &str, message: &str) -> RenderError {
    RenderError::Kustomization { file: file.to_owned(), message: message.to_owned() }
}

/// Reads one kustomization file.
struct Reader<'a, 'b> {
    file: &'a str,
    folder: &'b str,
    files: &'a Files,
    closure: &'b mut Closure<'a>,
    waiting: &'b mut Vec<String>,
}

impl Reader<'_, '_> {
    fn read(&mut self, text: &[u8]) -> Result<(), RenderError> {
        for document in yaml::documents(self.file, text)? {
            for field in ["helmCharts", "helmChartInflationGenerator"] {
                if document.get(field).is_some() {
                    let message =
                        format!("`{field}` is not rendered: give the chart an Application with `source.helm`");
                    return Err(refused(self.file, &message));
                }
            }
            for text in FOLDERS.iter().flat_map(|field| texts(document.get(field))) {
                self.follow(text, true)?;
            }
            for text in FILES.iter().flat_map(|field| texts(document.get(field))).filter(|text| !is_inline(text)) {
                self.follow(text, true)?;
            }
            let items = |field: &str| document.get(field).and_then(Value::as_array).into_iter().flatten();
            for item in PATHS.iter().flat_map(|field| items(field)) {
                self.follow_maybe(item.get("path"))?;
            }
            self.follow_maybe(document.pointer("/openapi/path"))?;
            for item in GENERATORS.iter().flat_map(|field| items(field)) {
                for text in texts(item.get("files")) {
                    // `key=path`, or a path whose last part is the key.
                    self.follow(text.split_once('=').map_or(text, |(_, path)| path), false)?;
                }
                for text in texts(item.get("envs")) {
                    self.follow(text, false)?;
                }
                self.follow_maybe(item.get("env"))?;
            }
        }
        Ok(())
    }

    fn follow_maybe(&mut self, path: Option<&Value>) -> Result<(), RenderError> {
        path.and_then(Value::as_str).map_or(Ok(()), |path| self.follow(path, false))
    }

    /// Takes in what a path names: a file, or (where that may be) a folder with a kustomization.
    fn follow(&mut self, text: &str, may_be_folder: bool) -> Result<(), RenderError> {
        if is_remote(text) {
            let message = format!(
                "`{}` lies outside the repository, and is not fetched: copy it into the repository",
                shown(text)
            );
            return Err(refused(self.file, &message));
        }
        let path = self.resolve(text)?;
        match self.files.get_key_value(&path) {
            Some((file, entry @ Entry::File { .. })) => drop(self.closure.files.insert(file, entry)),
            Some((file, Entry::Link | Entry::Submodule)) => return Err(RenderError::NotAFile(file.clone())),
            None if may_be_folder && self.is_folder(&path) => self.waiting.push(path),
            None => {
                return Err(match stranger(&path, self.files) {
                    Some(place) => RenderError::NotAFile(place),
                    None => refused(self.file, &format!("`{}` does not exist in the repository", shown(text))),
                });
            }
        }
        Ok(())
    }

    fn is_folder(&self, path: &str) -> bool {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        self.files.range(prefix.clone()..).next().is_some_and(|(file, _)| file.starts_with(&prefix))
    }

    /// The path from the repository's root.
    fn resolve(&self, text: &str) -> Result<String, RenderError> {
        let leaves = || {
            let message = format!("`{}` leaves the repository; name something inside of it", shown(text));
            refused(self.file, &message)
        };
        if text.starts_with('/') {
            return Err(leaves());
        }
        let mut parts: Vec<&str> = self.folder.split('/').filter(|part| !part.is_empty()).collect();
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop().ok_or_else(leaves)?),
                part => parts.push(part),
            }
        }
        Ok(parts.join("/"))
    }
}

/// The texts of a list.
fn texts(list: Option<&Value>) -> impl Iterator<Item = &str> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// Whether a list has the text of a document in place of its path.
fn is_inline(text: &str) -> bool {
    text.contains('\n') || text.contains(": ") || text.trim_start().starts_with('{')
}

/// Whether kustomize would take this for something to clone or to download.
fn is_remote(text: &str) -> bool {
    let first = text.split('/').next().unwrap_or_default();
    let is_host = text.contains('/') && first.contains('.') && !matches!(first, "." | "..") && !first.starts_with('.');
    let is_known_host =
        ["github.com", "gitlab.com", "bitbucket.org"].contains(&first) || is_host && text.contains(".git");
    text.contains("://")
        || text.starts_with("git@")
        || text.starts_with("git::")
        || text.contains("?ref=")
        || is_known_host
}

/// A text of the user's, on one line and not too long.
fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: &[&str]) -> Files {
        let entry = |path: &&str| {
            let entry = match path.strip_prefix("link:") {
                Some(_) => Entry::Link,
                None => Entry::File { blob: BlobId((*path).to_owned()), bytes: 1 },
            };
            (path.trim_start_matches("link:").to_owned(), entry)
        };
        paths.iter().map(entry).collect()
    }

    /// Follows from `overlays/prod`, reading what is asked for.
    fn run(paths: &[&str], texts: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let files = files(paths);
        let mut known = BTreeMap::new();
        loop {
            let found = closure("overlays/prod", &files, &known).map_err(|error| error.to_string())?;
            let Some((file, _)) = found.next.first() else {
                return Ok(found.files.into_keys().map(str::to_owned).collect());
            };
            let text = texts.iter().find(|(name, _)| name == file).map_or("", |(_, text)| text);
            known.insert((*file).to_owned(), text.as_bytes().to_vec());
        }
    }

    #[test]
    fn only_what_is_named_belongs_to_a_kustomization() {
        let paths = [
            "base/deployment.yaml",
            "base/kustomization.yaml",
            "base/unused.yaml",
            "overlays/prod/config/app.properties",
            "overlays/prod/env.txt",
            "overlays/prod/kustomization.yaml",
            "overlays/prod/patch.yaml",
            "overlays/prod/README.md",
            "overlays/test/kustomization.yaml",
        ];
        let overlay = "resources: [../../base]\npatches:\n- path: patch.yaml\n- patch: |-\n    - op: remove\n      path: /a\n\
                       configMapGenerator:\n- name: a\n  files: [app.properties=config/app.properties]\n  envs: [env.txt]\n\
                       transformers:\n- |-\n  kind: X\n";
        let base = "resources:\n- deployment.yaml\n";
        let found =
            run(&paths, &[("overlays/prod/kustomization.yaml", overlay), ("base/kustomization.yaml", base)]).unwrap();
        let expected = [
            "base/deployment.yaml",
            "base/kustomization.yaml",
            "overlays/prod/config/app.properties",
            "overlays/prod/env.txt",
            "overlays/prod/kustomization.yaml",
            "overlays/prod/patch.yaml",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_lies_elsewhere_is_refused_by_name() {
        let check = |text: &str, expected: &str| {
            let paths =
                ["overlays/prod/kustomization.yaml", "link:overlays/prod/link.yaml", "link:overlays/prod/folder"];
            let found = run(&paths, &[("overlays/prod/kustomization.yaml", text)]).unwrap_err();
            assert!(found.contains(expected), "{text}: {found}");
        };
        check("resources: ['https://github.example/a/b?ref=v1']", "lies outside the repository");
        check("resources: ['github.com/a/b//base?ref=v1']", "lies outside the repository");
        check("resources: ['git@git.example:a/b']", "lies outside the repository");
        check("resources: [git.example/team/repository.git]", "lies outside the repository");
        check("resources: [../../../etc]", "leaves the repository");
        check("resources: [/etc]", "leaves the repository");
        check("resources: [missing.yaml]", "`missing.yaml` does not exist");
        check("resources: [link.yaml]", "overlays/prod/link.yaml: symbolic links");
        check("patches: [{path: folder/patch.yaml}]", "overlays/prod/folder: symbolic links");
        check("helmCharts: [{name: a}]", "`helmCharts` is not rendered");
        check("resources: [\n", "overlays/prod/kustomization.yaml:");
        let found = run(&["overlays/prod/a.yaml"], &[]).unwrap_err();
        assert!(found.contains("overlays/prod"), "{found}");
        let both = ["overlays/prod/Kustomization", "overlays/prod/kustomization.yaml"];
        assert!(run(&both, &[]).unwrap_err().contains("stands beside it"));
    }

    #[test]
    fn a_kustomization_that_names_itself_ends() {
        let paths = ["overlays/prod/kustomization.yaml", "base/kustomization.yaml"];
        let texts = [
            ("overlays/prod/kustomization.yaml", "resources: [../../base]"),
            ("base/kustomization.yaml", "resources: [../overlays/prod]"),
        ];
        assert_eq!(run(&paths, &texts).unwrap().len(), 2);
    }
}

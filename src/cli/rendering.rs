//! What an Application renders from, for commands that read a working tree or a commit: Kustomize and Helm are run where
//! this command runs.
//!
//! Enters: an Application, the files beside it, and a way to read them. Leaves: manifests by path; for a tool, what it
//! printed under the name of its call.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::working_tree::Contents;
use crate::edge::renderer::{self, Programs};
use crate::model::{Application, SourcePath, Tool};
use crate::render::{RenderError, add, decrypt, inputs, job, label, may_be_encrypted, named, refuse_pointers, values};
use crate::sops::Keys;
use crate::world::{Entry, Files, Kinds};

/// Where checkouts of other repositories are, for apps that render from them.
#[derive(Clone, Debug, Default, clap::Args)]
pub(in crate::cli) struct CheckoutArgs {
    /// Checkout of another repository that an Application names, at whatever revision it stands; repeatable
    #[arg(long = "source", value_name = "URL=FOLDER", value_parser = checkout)]
    checkouts: Vec<(String, PathBuf)>,
}

fn checkout(text: &str) -> Result<(String, PathBuf), String> {
    // A URL may hold a `=`, and so may a folder: the one that follows is there.
    let parts = text.match_indices('=').map(|(at, _)| (text[..at].to_owned(), PathBuf::from(&text[at + 1..])));
    let mut parts = parts.filter(|(url, folder)| !url.is_empty() && folder.is_dir());
    parts
        .next()
        .ok_or_else(|| "expected the URL as the Application writes it, `=`, and a folder that exists".to_owned())
}

impl CheckoutArgs {
    /// The checkout that a source is in; `None` when that is the repository which declares.
    fn of(&self, source: &SourcePath) -> anyhow::Result<Option<&Path>> {
        let Some(elsewhere) = &source.elsewhere else { return Ok(None) };
        let url = |text: &str| text.trim_end_matches('/').to_owned();
        let found = self.checkouts.iter().find(|(given, _)| url(given) == elsewhere.repository);
        match found {
            Some((_, folder)) => Ok(Some(folder)),
            None => bail!(
                "its source is elsewhere, in {elsewhere}, which is not fetched here; name a checkout of it: --source {}=FOLDER",
                elsewhere.repository
            ),
        }
    }
}

/// The manifests of an app.
pub(in crate::cli) fn manifests(
    application: &Application,
    files: &Files,
    mut read: impl FnMut(&str) -> anyhow::Result<Vec<u8>>,
    checkouts: &CheckoutArgs,
) -> anyhow::Result<Contents> {
    let mut all = Contents::new();
    for (index, source) in application.sources.iter().enumerate() {
        let texts = match checkouts.of(source)? {
            None => manifests_of(application, source, files, &mut read, Contents::new())?,
            Some(root) => {
                let with_values = values(source, files)?.into_keys().map(str::to_owned).collect();
                let with_values = opened(with_values, &mut read)?;
                let read = &mut |path: &str| read_below(root, path);
                manifests_of(application, source, &listed(root)?, read, with_values)?
            }
        };
        add(&mut all, index + 1, texts);
    }
    Ok(all)
}

/// Reads a file of a working tree.
pub(in crate::cli) fn read_below(root: &Path, path: &str) -> anyhow::Result<Vec<u8>> {
    let path = root.join(path);
    std::fs::read(&path).with_context(|| format!("failed to read {}", path.display()))
}

/// The manifests of one source.
fn manifests_of(
    application: &Application,
    source: &SourcePath,
    files: &Files,
    read: &mut impl FnMut(&str) -> anyhow::Result<Vec<u8>>,
    values: Contents,
) -> anyhow::Result<Contents> {
    let (tool, paths) = gather(source, files, read)?;
    let contents = opened(paths, read)?;
    if tool == Tool::Plain {
        return Ok(contents.into_iter().map(|(path, text)| (named(source, &path), text)).collect());
    }
    let Some(job) = job(application, source, tool, (contents, values), &Kinds::default(), false) else {
        return Ok(Contents::new());
    };
    let label = label(source, tool);
    let ran = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok::<_, std::io::Error>(runtime.block_on(renderer::run(&programs(), &job)))
    });
    let Ok(ran) = ran.join() else { bail!("{label}: the run ended unexpectedly") };
    let output = ran?.map_err(|fault| RenderError::Tool { label: label.clone(), fault })?;
    Ok(Contents::from([(label, output.text)]))
}

/// Reads files, and decrypts those that are encrypted.
fn opened(paths: Vec<String>, read: &mut impl FnMut(&str) -> anyhow::Result<Vec<u8>>) -> anyhow::Result<Contents> {
    let mut contents = Contents::new();
    for path in paths {
        let text = read(&path)?;
        let opened =
            may_be_encrypted(&path, &text).then(|| decrypt(&path, &text, &keys()?).map_err(anyhow::Error::from));
        contents.insert(path, opened.transpose()?.flatten().unwrap_or(text));
    }
    refuse_pointers(&contents)?;
    Ok(contents)
}

/// The files of a source, and what makes manifests of them.
pub(in crate::cli) fn gather(
    source: &SourcePath,
    files: &Files,
    read: &mut impl FnMut(&str) -> anyhow::Result<Vec<u8>>,
) -> anyhow::Result<(Tool, Vec<String>)> {
    let mut known = BTreeMap::new();
    loop {
        let found = inputs(source, files, &known)?;
        if found.next.is_empty() {
            return Ok((found.tool, found.files.keys().map(|path| (*path).to_owned()).collect()));
        }
        for (path, _) in found.next {
            known.insert(path.to_owned(), read(path)?);
        }
    }
}

/// The files of a working tree. Links are told as such; folders named `.git` are passed by.
pub(in crate::cli) fn listed(root: &Path) -> anyhow::Result<Files> {
    let mut files = Files::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let failed = || format!("failed to read {}", folder.display());
        for entry in std::fs::read_dir(&folder).with_context(failed)? {
            let entry = entry.with_context(failed)?;
            let (kind, path) = (entry.file_type().with_context(failed)?, entry.path());
            let name = super::validate::relative(&path, root);
            if kind.is_symlink() {
                files.insert(name, Entry::Link);
            } else if kind.is_file() {
                let bytes = entry.metadata().with_context(failed)?.len();
                files.insert(name.clone(), Entry::File { blob: crate::world::BlobId(name), bytes });
            } else if kind.is_dir() && entry.file_name() != ".git" {
                folders.push(path);
            }
        }
    }
    Ok(files)
}

/// The age keys of whoever calls, where the `sops` command looks for them when it is told.
fn keys() -> anyhow::Result<Keys> {
    let Some(file) = std::env::var_os("SOPS_AGE_KEY_FILE") else { return Ok(Keys::default()) };
    let file = PathBuf::from(file);
    let bytes =
        std::fs::read(&file).with_context(|| format!("failed to read {} (SOPS_AGE_KEY_FILE)", file.display()))?;
    Ok(Keys::from_files([("keys.agekey".to_owned(), bytes)])?)
}

/// The programs of whoever calls: those on the PATH, with what they are logged in to.
fn programs() -> Programs {
    let environment = std::env::vars().filter(|(name, _)| is_for_fetching(name)).collect();
    Programs {
        kustomize: on_path("kustomize"),
        helm: on_path("helm"),
        work: std::env::temp_dir().join(format!("tidegate-{}", std::process::id())),
        registry_config: None,
        repository_credentials: None,
        ca_file: None,
        plain_http: Vec::new(),
        environment,
    }
}

/// Whether a variable says how to reach hosts.
pub(in crate::cli) fn is_for_fetching(name: &str) -> bool {
    let known = ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"];
    known.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// A program on the PATH: it runs with an empty environment, where nothing is found by name.
pub(in crate::cli) fn on_path(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file());
    found.unwrap_or_else(|| PathBuf::from(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declare::{Made, assemble, parse_file};

    fn application() -> Application {
        let text = "apiVersion: tidegate.dev/v1alpha1\nkind: Application\nmetadata: {name: web}\nspec:\n  version: '1'\n  \
                    destination: {namespace: shop}\n  sources:\n  - {path: here}\n  - {repository: 'https://git.example/x/', path: there}\n";
        let files = BTreeMap::from([("a.yaml".to_owned(), std::sync::Arc::new(parse_file("a.yaml", text.as_bytes())))]);
        let declared = assemble(&files, &BTreeMap::new(), [], &Made::default()).apps.into_values().next();
        Application::clone(&declared.expect("one is declared").expect("it is good"))
    }

    #[test]
    fn a_source_elsewhere_is_read_from_a_checkout_and_nowhere_else() {
        let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (root, folder) in [(&own, "here"), (&other, "there")] {
            std::fs::create_dir(root.path().join(folder)).unwrap();
            std::fs::write(root.path().join(folder).join("a.yaml"), folder).unwrap();
        }
        let files = listed(own.path()).unwrap();
        let manifests = |checkouts: &CheckoutArgs| {
            manifests(&application(), &files, |path| read_below(own.path(), path), checkouts)
        };
        let refused = manifests(&CheckoutArgs::default()).unwrap_err().to_string();
        assert!(refused.contains("its source is elsewhere, in https://git.example/x,"), "{refused}");
        assert!(refused.contains("--source https://git.example/x=FOLDER"), "{refused}");

        let given = checkout(&format!("https://git.example/x={}", other.path().display())).unwrap();
        let contents = manifests(&CheckoutArgs { checkouts: vec![given] }).unwrap();
        let expected = [("here/a.yaml", "here"), ("https://git.example/x: there/a.yaml", "there")];
        let expected = expected.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()));
        assert_eq!(contents, Contents::from(expected));
        assert!(checkout("https://git.example/x=/nowhere/at/all").is_err());
    }
}

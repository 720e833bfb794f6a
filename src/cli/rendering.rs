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
use crate::model::{Application, Tool};
use crate::render::{RenderError, decrypt, inputs, job, label, may_be_encrypted, refuse_pointers};
use crate::sops::Keys;
use crate::world::{Entry, Files, Kinds};

/// The manifests of an app.
pub(in crate::cli) fn manifests(
    application: &Application,
    files: &Files,
    mut read: impl FnMut(&str) -> anyhow::Result<Vec<u8>>,
) -> anyhow::Result<Contents> {
    let (tool, paths) = gather(application, files, &mut read)?;
    let mut contents = Contents::new();
    for path in paths {
        let text = read(&path)?;
        let opened =
            may_be_encrypted(&path, &text).then(|| decrypt(&path, &text, &keys()?).map_err(anyhow::Error::from));
        contents.insert(path, opened.transpose()?.flatten().unwrap_or(text));
    }
    refuse_pointers(&contents)?;
    let Some(job) = job(application, tool, contents.clone(), &Kinds::default(), false) else { return Ok(contents) };
    let label = label(application, tool);
    let ran = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok::<_, std::io::Error>(runtime.block_on(renderer::run(&programs(), &job)))
    });
    let Ok(ran) = ran.join() else { bail!("{label}: the run ended unexpectedly") };
    let output = ran?.map_err(|fault| RenderError::Tool { label: label.clone(), fault })?;
    Ok(Contents::from([(label, output.text)]))
}

/// The files of an app, and what makes manifests of them.
pub(in crate::cli) fn gather(
    application: &Application,
    files: &Files,
    read: &mut impl FnMut(&str) -> anyhow::Result<Vec<u8>>,
) -> anyhow::Result<(Tool, Vec<String>)> {
    let mut known = BTreeMap::new();
    loop {
        let found = inputs(application, files, &known)?;
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

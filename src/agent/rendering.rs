//! From one declared app to the Release that it renders to.
//!
//! Enters: an Application, the files of the commit, what it rendered to before. Leaves: an [`Entered`]. Nothing is read or
//! rendered when everything that rendering reads is what it was.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::keep;
use super::source::{Entered, Reading};
use crate::model::{
    Application, Declared, Digest, Object, ObjectKey, Release, ReleaseRef, Revision, SubstituteKind, Tool,
};
use crate::render::{
    Inputs, RenderError, Unsettled, decrypt, first_difference, inputs, job, label, may_be_encrypted, refuse_pointers,
    render, settle,
};
use crate::sops::Keys;
use crate::store::digest::digest;
use crate::world::{BlobId, Entry, Files, Kinds, RenderFault, SourceError, World};

/// Contents of files, by path.
type Contents = BTreeMap<String, Vec<u8>>;

/// Files that say which others belong to an app, as they were read: so that the same files are not read again to find out
/// that nothing changed.
pub(super) type Followed = BTreeMap<String, (BlobId, Arc<[u8]>)>;

/// Why an app has no Release at this commit.
enum Failure {
    /// The source cannot be read: nothing is known of any app.
    Source(SourceError),
    /// This app does not render.
    Render(RenderError),
}

impl From<RenderError> for Failure {
    fn from(error: RenderError) -> Self {
        Self::Render(error)
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        match error {
            // One file too many is one app's problem.
            SourceError::TooLarge(reason) => Self::Render(RenderError::TooLarge(reason)),
            SourceError::Unreachable(_)
            | SourceError::Unauthorized
            | SourceError::Busy { .. }
            | SourceError::NoReference(_)
            | SourceError::Access(_)
            | SourceError::Unverified(_)
            | SourceError::NoRepository(_)
            | SourceError::Corrupt(_) => Self::Source(error),
        }
    }
}

/// Renders an app, unless everything that rendering reads is what it was.
pub(super) async fn enter<W: World>(
    files: &Files,
    reading: &Reading<'_, W>,
    revision: &Revision,
    application: &Arc<Application>,
    before: Option<&Entered>,
) -> Result<Entered, SourceError> {
    match attempt(files, reading, revision, application, before).await {
        Ok(entered) => Ok(entered),
        Err(Failure::Source(error)) => Err(error),
        Err(Failure::Render(error)) => {
            let last = Some(Arc::clone(application));
            let may_be_retried = match &error {
                RenderError::UnknownKind { .. }
                | RenderError::Encrypted { .. }
                | RenderError::Keys(_)
                | RenderError::NoFirst { .. }
                | RenderError::NoVariables { .. } => true,
                RenderError::Tool { fault, .. } => matches!(fault, RenderFault::Unavailable(_)),
                _ => false,
            };
            let declared = Declared::Broken { last, revision: Some(revision.clone()), reason: error.to_string() };
            Ok(Entered { may_be_retried, ..Entered::bare(declared) })
        }
    }
}

async fn attempt<W: World>(
    files: &Files,
    reading: &Reading<'_, W>,
    revision: &Revision,
    application: &Arc<Application>,
    before: Option<&Entered>,
) -> Result<Entered, Failure> {
    let (found, followed) = follow(files, reading, application, before).await?;
    let filled = filled(reading, application).await?;
    let filled = filled.as_ref().unwrap_or(application);
    let key = key(filled, &found, reading.kinds);
    if let Some(Entered { declared: Declared::Ready { target, .. }, release: Some(release), key: Some(known), .. }) =
        before
        && *known == key
    {
        let target =
            ReleaseRef { attempt: application.attempt, version: application.version.clone(), ..target.clone() };
        let declared = Declared::Ready { application: Arc::clone(application), target };
        let release = Some(Arc::clone(release));
        return Ok(Entered { declared, release, key: Some(key), followed, may_be_retried: false });
    }
    let mut contents = contents(reading, &found).await?;
    refuse_pointers(&contents)?;
    let is_secret = decrypt_all(reading, &mut contents).await?;
    reading.telemetry.rendered();
    let objects =
        objects(reading, filled, found.tool, contents, is_secret, before.and_then(|entered| entered.release.as_ref()))
            .await?;
    let reference = ReleaseRef {
        digest: digest(&objects, reading.secret_key),
        attempt: application.attempt,
        version: application.version.clone(),
        revision: revision.clone(),
    };
    let release = Release { app: application.name.clone(), reference: reference.clone(), objects };
    let declared = Declared::Ready { application: Arc::clone(application), target: reference };
    let release = Some(Arc::new(release.at_rest()));
    Ok(Entered { declared, release, key: Some(key), followed, may_be_retried: false })
}

/// Finds all files of an app, reading those that name others when they are not known from before.
async fn follow<'a, W: World>(
    files: &'a Files,
    reading: &Reading<'_, W>,
    application: &Application,
    before: Option<&Entered>,
) -> Result<(Inputs<'a>, Followed), Failure> {
    let is_unchanged =
        |path: &str, blob: &BlobId| matches!(files.get(path), Some(Entry::File { blob: now, .. }) if now == blob);
    let earlier = before.into_iter().flat_map(|entered| &entered.followed);
    let mut followed: Followed = earlier
        .filter(|(path, (blob, _))| is_unchanged(path, blob))
        .map(|(path, seen)| (path.clone(), seen.clone()))
        .collect();
    let mut known: Contents = followed.iter().map(|(path, (_, text))| (path.clone(), text.to_vec())).collect();
    loop {
        let found = inputs(application, files, &known)?;
        if found.next.is_empty() {
            followed.retain(|path, _| found.files.contains_key(path.as_str()));
            return Ok((found, followed));
        }
        let blobs: Vec<BlobId> = found.next.iter().map(|(_, blob)| (*blob).clone()).collect();
        let texts = reading.world.read(&blobs).await?;
        for ((path, blob), text) in found.next.iter().zip(texts) {
            followed.insert((*path).to_owned(), ((*blob).clone(), Arc::from(text.as_slice())));
            known.insert((*path).to_owned(), text);
        }
    }
}

async fn contents<W: World>(reading: &Reading<'_, W>, found: &Inputs<'_>) -> Result<Contents, SourceError> {
    let (paths, blobs): (Vec<String>, Vec<BlobId>) = found
        .files
        .iter()
        .filter_map(|(path, entry)| match entry {
            Entry::File { blob, .. } => Some(((*path).to_owned(), blob.clone())),
            Entry::Link | Entry::Submodule => None,
        })
        .unzip();
    let texts = reading.world.read(&blobs).await?;
    Ok(paths.into_iter().zip(texts).collect())
}

/// Decrypts the files that SOPS encrypted; whether there were any.
async fn decrypt_all<W: World>(reading: &Reading<'_, W>, contents: &mut Contents) -> Result<bool, Failure> {
    let mut keys = None;
    let mut is_secret = false;
    for (path, text) in contents {
        if !may_be_encrypted(path, text) {
            continue;
        }
        let keys = match &keys {
            Some(keys) => keys,
            None => {
                let files = reading.world.keys().await.map_err(|error| RenderError::Keys(error.to_string()))?;
                let read = Keys::from_files(files).map_err(|error| RenderError::Keys(error.to_string()))?;
                keys.insert(read)
            }
        };
        if let Some(opened) = decrypt(path, text, keys)? {
            *text = opened;
            is_secret = true;
        }
    }
    Ok(is_secret)
}

/// The Application with the variables that it takes from objects of the cluster; `None` when it takes none.
async fn filled<W: World>(
    reading: &Reading<'_, W>,
    application: &Arc<Application>,
) -> Result<Option<Arc<Application>>, RenderError> {
    if application.substitute.from.is_empty() {
        return Ok(None);
    }
    let mut values = BTreeMap::new();
    for from in &application.substitute.from {
        let key = ObjectKey::local("", from.kind.as_str(), &application.namespace, &from.name);
        let missing = |problem: String| RenderError::NoVariables {
            kind: from.kind.as_str(),
            namespace: application.namespace.clone(),
            name: from.name.clone(),
            problem,
        };
        match reading.world.get(&key, "v1").await {
            Ok(Some(object)) => values.extend(entries(from.kind, &object)),
            Ok(None) if from.is_optional => {}
            Ok(None) => return Err(missing("does not exist; make it, or say `optional: true`".to_owned())),
            Err(error) => return Err(missing(format!("cannot be read: {error}"))),
        }
    }
    // What Git says itself is nearer.
    values.extend(application.substitute.values.clone());
    let mut filled = Application::clone(application);
    filled.substitute.values = values;
    Ok(Some(Arc::new(filled)))
}

/// The entries of an object that are text.
fn entries(kind: SubstituteKind, object: &Object) -> BTreeMap<String, String> {
    let data = object.body.get("data").and_then(serde_json::Value::as_object).into_iter().flatten();
    let text = |value: &serde_json::Value| match kind {
        SubstituteKind::ConfigMap => value.as_str().map(str::to_owned),
        SubstituteKind::Secret => {
            String::from_utf8(base64::Engine::decode(&base64::prelude::BASE64_STANDARD, value.as_str()?).ok()?).ok()
        }
    };
    data.filter_map(|(name, value)| Some((name.clone(), text(value)?))).collect()
}

/// Renders, by a tool where one is needed; `before` is what it rendered to before in this process.
async fn objects<W: World>(
    reading: &Reading<'_, W>,
    application: &Application,
    tool: Tool,
    contents: Contents,
    is_secret: bool,
    before: Option<&Arc<Release>>,
) -> Result<BTreeMap<ObjectKey, Object>, Failure> {
    let label = label(application, tool);
    if tool == Tool::Plain {
        return Ok(render(application, &contents, reading.kinds)?);
    }
    let Some(job) = job(application, tool, contents, reading.kinds, is_secret) else {
        return Ok(render(application, &Contents::new(), reading.kinds)?);
    };
    let output = reading.world.render(&job).await;
    let output = output.map_err(|fault| RenderError::Tool { label: label.clone(), fault })?;
    let read = |text: Vec<u8>| render(application, &Contents::from([(label.clone(), text)]), reading.kinds);
    let objects = read(output.text)?;
    let Some(second) = output.second.map(read).transpose()? else { return Ok(objects) };
    let Some((key, field)) = first_difference(&objects, &second) else { return Ok(objects) };
    if !application.source.helm.keeps_random {
        return Err(RenderError::Random { label, key: key.to_string(), field }.into());
    }
    let first = match before {
        Some(before) => Some(Arc::clone(before)),
        None => {
            let kept = keep::newest(reading.world, reading.namespace, reading.owner, &application.name).await;
            kept.map_err(|error| RenderError::NoFirst { label: label.clone(), problem: error.to_string() })?
                .map(Arc::new)
        }
    };
    settle(objects, &second, first.as_ref().map(|release| &release.objects)).map_err(|unsettled| {
        let Unsettled { key, field, reason } = unsettled;
        RenderError::Unsettled { label, key, field, reason }.into()
    })
}

/// Hash over what rendering reads: blobs by path, images, namespace, what the tool is told.
fn key(application: &Application, found: &Inputs<'_>, kinds: &Kinds) -> Digest {
    let mut hasher = Sha256::new();
    let mut add = |text: &str| {
        hasher.update(text.len().to_le_bytes());
        hasher.update(text);
    };
    add(found.tool.name());
    add(&application.namespace);
    for image in &application.images {
        add(&image.name);
        add(&image.tag);
        add(image.digest.as_deref().unwrap_or_default());
    }
    for (name, value) in application.common.labels.iter().chain(&application.common.annotations) {
        add(name);
        add(value);
    }
    for (name, value) in &application.substitute.values {
        add(name);
        add(value);
    }
    add(&format!("{} {}", application.common.labels.len(), application.substitute.values.len()));
    if found.tool == Tool::Helm {
        // Only ever compared with one that this process made.
        add(&format!("{:?} {:?} {:?}", application.name, application.source.helm, kinds.server_version));
        for (kind, version) in kinds.served.keys() {
            add(&kind.group);
            add(version);
            add(&kind.kind);
        }
    }
    for (path, entry) in &found.files {
        add(path);
        if let Entry::File { blob, .. } = entry {
            add(&blob.0);
        }
    }
    Digest(hasher.finalize().into())
}

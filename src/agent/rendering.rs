//! From one declared app to the Release that it renders to.
//!
//! Enters: an Application, the files of the commit and of other repositories, what it rendered to before. Leaves: an
//! [`Entered`]. Nothing is read or rendered when everything that rendering reads is what it was.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::keep;
use super::source::{Entered, Fetched, Reading};
use crate::model::{
    Application, Declared, Digest, Elsewhere, Object, ObjectKey, Release, ReleaseRef, Revision, SourcePath,
    SubstituteKind, Tool,
};
use crate::render::{
    Inputs, RenderError, SOURCE_BYTES_MAX, Unsettled, add, decrypt, first_difference, inputs, job, label,
    may_be_encrypted, named, refuse_pointers, render, settle, values,
};
use crate::sops::Keys;
use crate::store::digest::digest;
use crate::world::{BlobId, Entry, Files, Kinds, SourceError, World};

/// Contents of files, by path.
type Contents = BTreeMap<String, Vec<u8>>;

/// Files that say which others belong to an app, by its source and their path, as they were read: so that the same files are
/// not read again to find out that nothing changed.
pub(super) type Followed = BTreeMap<(usize, String), (BlobId, Arc<[u8]>)>;

/// One source of an app, and what it renders from.
struct Part<'a> {
    source: &'a SourcePath,
    found: Inputs<'a>,
    /// Its files with values, when the rest of it lies in another repository.
    values: BTreeMap<&'a str, &'a Entry>,
}

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

/// Renders an app, unless everything that rendering reads is what it was. `None` when another repository that it needs was
/// never fetched.
pub(super) async fn enter<W: World>(
    files: &Files,
    reading: &Reading<'_, W>,
    revision: &Revision,
    application: &Arc<Application>,
    before: Option<&Entered>,
) -> Result<Option<Entered>, SourceError> {
    let fetched = |other: &Elsewhere| Some((other.clone(), reading.others.get(other)?.revision.clone()));
    let Some(rendered_from) = application.elsewhere().map(fetched).collect::<Option<BTreeMap<_, _>>>() else {
        return Ok(None);
    };
    match attempt(files, reading, revision, application, before).await {
        Ok(entered) => Ok(Some(Entered { rendered_from, ..entered })),
        Err(Failure::Source(error)) => Err(error),
        Err(Failure::Render(error)) => {
            let (last, may_be_retried) = (Some(Arc::clone(application)), error.may_be_retried());
            let declared = Declared::Broken { last, revision: Some(revision.clone()), reason: error.to_string() };
            Ok(Some(Entered { may_be_retried, rendered_from, ..Entered::bare(declared) }))
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
    let mut followed = before.map(|entered| entered.followed.clone()).unwrap_or_default();
    let mut parts = Vec::new();
    for (index, source) in application.sources.iter().enumerate() {
        parts.push(find(files, reading, (index, source), &mut followed).await?);
    }
    followed.retain(|(index, path), _| parts.get(*index).is_some_and(|it| it.found.files.contains_key(path.as_str())));
    check_size(&parts)?;
    let filled = filled(reading, application).await?;
    let filled = filled.as_ref().unwrap_or(application);
    let key = key(filled, &parts, reading.kinds);
    if let Some(Entered { declared: Declared::Ready { target, .. }, release: Some(release), key: Some(known), .. }) =
        before
        && *known == key
    {
        let target =
            ReleaseRef { attempt: application.attempt, version: application.version.clone(), ..target.clone() };
        let declared = Declared::Ready { application: Arc::clone(application), target };
        let release = Some(Arc::clone(release));
        return Ok(Entered { release, key: Some(key), followed, ..Entered::bare(declared) });
    }
    reading.telemetry.rendered();
    let objects = objects(reading, filled, &parts, before.and_then(|entered| entered.release.as_ref())).await?;
    let reference = ReleaseRef {
        digest: digest(&objects, reading.secret_key),
        attempt: application.attempt,
        version: application.version.clone(),
        revision: revision.clone(),
    };
    let release = Release { app: application.name.clone(), reference: reference.clone(), objects };
    let declared = Declared::Ready { application: Arc::clone(application), target: reference };
    let release = Some(Arc::new(release.at_rest()));
    Ok(Entered { release, key: Some(key), followed, ..Entered::bare(declared) })
}

/// What one app may render from is bounded as a whole, however many sources it has.
fn check_size(parts: &[Part<'_>]) -> Result<(), RenderError> {
    let entries = parts.iter().flat_map(|part| part.found.files.values().chain(part.values.values()));
    let bytes: u64 = entries
        .map(|entry| match entry {
            Entry::File { bytes, .. } => *bytes,
            Entry::Link | Entry::Submodule => 0,
        })
        .sum();
    if bytes > SOURCE_BYTES_MAX {
        return Err(RenderError::TooLarge(format!(
            "its sources hold {bytes} bytes of manifests together; at most {SOURCE_BYTES_MAX} are read"
        )));
    }
    Ok(())
}

/// Finds all files of a source, reading those that name others when they are not known from before.
async fn find<'a, W: World>(
    files: &'a Files,
    reading: &Reading<'a, W>,
    (index, source): (usize, &'a SourcePath),
    followed: &mut Followed,
) -> Result<Part<'a>, Failure> {
    let of = source.elsewhere.as_ref();
    let here = match of.and_then(|other| reading.others.get(other)) {
        Some(Fetched { files, .. }) => files,
        None => files,
    };
    let values = if of.is_some() { values(source, files)? } else { BTreeMap::new() };
    let is_unchanged =
        |path: &str, blob: &BlobId| matches!(here.get(path), Some(Entry::File { blob: now, .. }) if now == blob);
    followed.retain(|(of, path), (blob, _)| *of != index || is_unchanged(path, blob));
    let known = followed.iter().filter(|((of, _), _)| *of == index);
    let mut known: Contents = known.map(|((_, path), (_, text))| (path.clone(), text.to_vec())).collect();
    loop {
        let found = inputs(source, here, &known).map_err(|error| error.in_source(source))?;
        if found.next.is_empty() {
            return Ok(Part { source, found, values });
        }
        let blobs: Vec<BlobId> = found.next.iter().map(|(_, blob)| (*blob).clone()).collect();
        let texts = read(reading, source, &blobs).await?;
        for ((path, blob), text) in found.next.iter().zip(texts) {
            followed.insert((index, (*path).to_owned()), ((*blob).clone(), Arc::from(text.as_slice())));
            known.insert((*path).to_owned(), text);
        }
    }
}

/// Reads files of a source. That those of another repository cannot be read concerns the apps alone that use it.
async fn read<W: World>(
    reading: &Reading<'_, W>,
    source: &SourcePath,
    blobs: &[BlobId],
) -> Result<Vec<Vec<u8>>, Failure> {
    let of = source.elsewhere.as_ref();
    match (reading.world.read(of, blobs).await, of) {
        (Ok(texts), _) => Ok(texts),
        (Err(error), None) => Err(error.into()),
        (Err(error), Some(_)) => Err(RenderError::Unread(error.to_string()).in_source(source).into()),
    }
}

async fn contents<W: World>(
    reading: &Reading<'_, W>,
    source: &SourcePath,
    files: &BTreeMap<&str, &Entry>,
) -> Result<Contents, Failure> {
    let (paths, blobs): (Vec<String>, Vec<BlobId>) = files
        .iter()
        .filter_map(|(path, entry)| match entry {
            Entry::File { blob, .. } => Some(((*path).to_owned(), blob.clone())),
            Entry::Link | Entry::Submodule => None,
        })
        .unzip();
    let texts = read(reading, source, &blobs).await?;
    Ok(paths.into_iter().zip(texts).collect())
}

/// Reads and decrypts files of a source; whether any was encrypted.
async fn opened<W: World>(
    reading: &Reading<'_, W>,
    source: &SourcePath,
    files: &BTreeMap<&str, &Entry>,
) -> Result<(Contents, bool), Failure> {
    let mut contents = contents(reading, source, files).await?;
    refuse_pointers(&contents).map_err(|error| error.in_source(source))?;
    let is_secret = decrypt_all(reading, &mut contents).await.map_err(|error| error.in_source(source))?;
    Ok((contents, is_secret))
}

/// Decrypts the files that SOPS encrypted; whether there were any.
async fn decrypt_all<W: World>(reading: &Reading<'_, W>, contents: &mut Contents) -> Result<bool, RenderError> {
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

/// Renders all sources together, by a tool where one is needed; `before` is what they rendered to before in this process.
async fn objects<W: World>(
    reading: &Reading<'_, W>,
    application: &Application,
    parts: &[Part<'_>],
    before: Option<&Arc<Release>>,
) -> Result<BTreeMap<ObjectKey, Object>, Failure> {
    let (mut texts, mut others) = (Contents::new(), Contents::new());
    let mut random = None;
    for (index, part) in parts.iter().enumerate() {
        let Manifests { texts: one, other } = manifests(reading, application, part).await?;
        if other.is_some() {
            random = Some(label(part.source, part.found.tool));
        }
        add(&mut others, index + 1, other.unwrap_or_else(|| one.clone()));
        add(&mut texts, index + 1, one);
    }
    let objects = render(application, &texts, reading.kinds)?;
    let Some(label) = random else { return Ok(objects) };
    let first = match before {
        Some(before) => Some(Arc::clone(before)),
        None => {
            let kept = keep::newest(reading.world, reading.namespace, reading.owner, &application.name).await;
            kept.map_err(|error| RenderError::NoFirst { label: label.clone(), problem: error.to_string() })?
                .map(Arc::new)
        }
    };
    let others = render(application, &others, reading.kinds)?;
    settle(objects, &others, first.as_ref().map(|release| &release.objects)).map_err(|unsettled| {
        let Unsettled { key, field, reason } = unsettled;
        RenderError::Unsettled { label, key, field, reason }.into()
    })
}

/// The manifests of one source, by what they are called in messages.
struct Manifests {
    texts: Contents,
    /// The same rendered once more, where something in it is made up anew each time and is to stay as it was first.
    other: Option<Contents>,
}

async fn manifests<W: World>(
    reading: &Reading<'_, W>,
    application: &Application,
    part: &Part<'_>,
) -> Result<Manifests, Failure> {
    let (source, tool) = (part.source, part.found.tool);
    let only = |texts: Contents| Manifests { texts, other: None };
    let (contents, is_secret) = opened(reading, source, &part.found.files).await?;
    // Files with values are of the repository that declares, wherever the rest lies.
    let here = SourcePath::default();
    let (values, has_secrets) = opened(reading, &here, &part.values).await?;
    let is_secret = is_secret || has_secrets;
    if tool == Tool::Plain {
        return Ok(only(contents.into_iter().map(|(path, text)| (named(source, &path), text)).collect()));
    }
    let Some(job) = job(application, source, tool, (contents, values), reading.kinds, is_secret) else {
        return Ok(only(Contents::new()));
    };
    let label = label(source, tool);
    let output = reading.world.render(&job).await;
    let output = output.map_err(|fault| RenderError::Tool { label: label.clone(), fault })?;
    let of = |text: Vec<u8>| Contents::from([(label.clone(), text)]);
    let texts = of(output.text);
    let Some(other) = output.second.map(of) else { return Ok(only(texts)) };
    let read = |texts: &Contents| render(application, texts, reading.kinds);
    match first_difference(&read(&texts)?, &read(&other)?) {
        None => Ok(only(texts)),
        Some(_) if source.helm.keeps_random => Ok(Manifests { texts, other: Some(other) }),
        Some((key, field)) => Err(RenderError::Random { label, key: key.to_string(), field }.into()),
    }
}

/// Hash over what rendering reads: blobs by path, images, namespace, what the tool is told.
fn key(application: &Application, parts: &[Part<'_>], kinds: &Kinds) -> Digest {
    let mut hasher = Sha256::new();
    let mut add = |text: &str| {
        hasher.update(text.len().to_le_bytes());
        hasher.update(text);
    };
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
    for Part { source, found, values } in parts {
        add(found.tool.name());
        add(&source.path);
        if found.tool == Tool::Helm {
            // Only ever compared with one that this process made.
            add(&format!("{:?} {:?} {:?}", application.name, source.helm, kinds.server_version));
            for (kind, version) in kinds.served.keys() {
                add(&kind.group);
                add(version);
                add(&kind.kind);
            }
        }
        add(&format!("{} {}", found.files.len(), values.len()));
        for (path, entry) in found.files.iter().chain(values) {
            add(path);
            if let Entry::File { blob, .. } = entry {
                add(&blob.0);
            }
        }
    }
    Digest(hasher.finalize().into())
}

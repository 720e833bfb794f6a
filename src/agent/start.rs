//! What must be known before the first pass: kinds, our key, the stored applications. Nothing is changed until then.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use tokio::sync::watch;

use super::event::Office;
use super::{App, Context, Settings, keep, takeover};
use crate::declare::{Made, assemble, parse_file};
use crate::model::{AppName, Application, ClusterName, Declared, Deletion, GroupKind, Millis, Object, ObjectKey};
use crate::store;
use crate::store::kept::KeptReleases;
use crate::telemetry::Telemetry;
use crate::world::{ApiError, Event, Kinds, Listed, Scope, World};

/// Between two tries to start.
const RETRY: Millis = Millis::from_seconds(2);
/// Name of the Secret with the key of ours.
const KEY_SECRET: &str = "tidegate-key";

/// What the scheduler starts from.
#[derive(Debug)]
pub struct Started<W> {
    /// What every pass needs.
    pub context: Context<W>,
    /// What the API server knows.
    pub kinds: Kinds,
    /// The stored applications.
    pub apps: BTreeMap<AppName, App>,
    /// Where to watch them from.
    pub listed: Listed,
    /// Their collection.
    pub scope: Scope,
}

/// Waits until the cluster answers, reads what is stored, and takes over what is under way. `None` when the process is
/// asked to end meanwhile.
pub(super) async fn start<W: World>(
    world: &Arc<W>,
    settings: &Settings,
    telemetry: &Telemetry,
    office: &Arc<watch::Sender<Office>>,
    epoch: u64,
) -> Option<Started<W>> {
    let Settings { namespace, owner, .. } = settings;
    let kind = GroupKind::new(store::GROUP, store::KIND);
    let scope = Scope { kind, version: store::VERSION.to_owned(), namespace: Some(namespace.clone()) };
    loop {
        let started = async {
            let (kinds, secret_key, listed) = read(&**world, namespace, owner, &scope).await?;
            let mut context = Context {
                world: Arc::clone(world),
                namespace: namespace.clone(),
                owner: owner.clone(),
                secret_key,
                telemetry: telemetry.clone(),
                epoch,
                office: Arc::clone(office),
            };
            let mut apps = BTreeMap::new();
            // Each is read from its text once; what is listed stays at rest.
            for object in listed.items.iter().cloned() {
                // Later than the last one even when somebody deleted the lease, and its count with it.
                context.epoch = context.epoch.max(store::application::epoch(&object) + 1);
                apps.extend([stored(&context, object)]);
            }
            note_kept(&context, &mut apps).await;
            takeover::touch(&context, apps.values_mut()).await?;
            Ok(Started { context, kinds, apps, listed, scope: scope.clone() })
        };
        match started.await {
            Ok(started) => return Some(started),
            Err(ApiError::UnknownKind(kind)) => {
                tracing::error!(%kind, "the custom resource definitions are not installed: run `tidegate crds | kubectl apply --server-side -f -`");
            }
            Err(error) => tracing::error!(%error, "the cluster cannot be read yet"),
        }
        if world.next_event(RETRY.after(world.now())).await == Event::Shutdown {
            return None;
        }
    }
}

async fn read<W: World>(
    world: &W,
    namespace: &str,
    owner: &str,
    scope: &Scope,
) -> Result<(Kinds, [u8; 32], Listed), ApiError> {
    let kinds = world.kinds().await?;
    let listed = world.list(scope, "").await?;
    let key = secret_key(world, namespace, owner).await?;
    Ok((kinds, key, listed))
}

/// Notes which Releases the cluster keeps. Without it each app asks for its own.
async fn note_kept<W: World>(context: &Context<W>, apps: &mut BTreeMap<AppName, App>) {
    let scope = keep::scope(&context.namespace);
    match context.world.list_metadata(&scope, &store::kept::selector(&context.owner)).await {
        Ok(listed) => {
            let kept = KeptReleases::new(listed.items);
            for (name, app) in apps {
                app.history.kept = kept.of(name);
                app.knows_kept = true;
            }
        }
        Err(error) => tracing::debug!(%error, "which Releases are kept cannot be listed"),
    }
}

/// The key that hashes of Secret contents are made with: read, or made once.
async fn secret_key<W: World>(world: &W, namespace: &str, owner: &str) -> Result<[u8; 32], ApiError> {
    let key = ObjectKey::local("", "Secret", namespace, KEY_SECRET);
    for _ in 0..2 {
        if let Some(object) = world.get(&key, "v1").await? {
            let bytes = object
                .text("/data/key")
                .and_then(|text| base64::Engine::decode(&base64::prelude::BASE64_STANDARD, text).ok());
            let whole = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
            return whole.ok_or_else(|| {
                ApiError::Invalid(format!(
                    "Secret {KEY_SECRET} does not hold 32 bytes under `key`; delete it to have it made anew"
                ))
            });
        }
        let encoded = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, world.random());
        let body = json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "immutable": true, "data": {"key": encoded},
            "metadata": {"name": KEY_SECRET, "namespace": namespace,
                "labels": {store::MANAGED_BY_LABEL: store::MANAGED_BY, store::OWNER_LABEL: owner}}});
        let object = Object { key: key.clone(), version: "v1".to_owned(), body: body.into() };
        match world.create(&object).await {
            Ok(_) | Err(ApiError::AlreadyExists) => {}
            Err(error) => return Err(error),
        }
    }
    Err(ApiError::Conflict)
}

/// The last good declaration as the custom resource mirrors it, for a start while Git is away. Its plan is the default
/// one: a rollout under way has its own, and no other starts before Git is read.
#[must_use]
pub fn recalled(object: &Object) -> Option<Arc<Application>> {
    let stored = store::application::read(object).ok()?;
    let mut spec = stored.spec.clone();
    spec.as_object_mut()?.remove("plan");
    // Those whom it waits for are not known either, and nothing starts before they are.
    spec.as_object_mut()?.remove("dependsOn");
    let document = json!({"apiVersion": crate::declare::API_VERSION, "kind": "Application",
        "metadata": {"name": stored.name.as_str()}, "spec": spec});
    let parsed = parse_file(&stored.declared_in, document.to_string().as_bytes());
    let files = BTreeMap::from([(stored.declared_in.clone(), Arc::new(parsed))]);
    assemble(&files, &BTreeMap::new(), [], &Made::default()).apps.remove(&stored.name)?.ok()
}

pub(super) fn stored<W: World>(context: &Context<W>, object: Object) -> (AppName, App) {
    let name = AppName::from(object.key.name.as_str());
    debug_assert_eq!(object.key.cluster, ClusterName::local(), "one cluster today");
    let declared = Declared::Broken { last: None, revision: None, reason: "Git was not read yet".to_owned() };
    let mut app = App::new(name.clone(), declared, "");
    if let Declared::Broken { last, .. } = &mut app.declared {
        *last = recalled(&object);
    }
    keep::take(&mut app, object);
    if let Some(record) = &app.history.record {
        let namespace = record.inventory.keys().find(|key| !key.namespace.is_empty()).map(|key| key.namespace.clone());
        context.telemetry.restore_reverts(
            &namespace.unwrap_or_default(),
            &name,
            record.pods_reverted,
            record.last_revert_at,
        );
    }
    // It may be long until its first pass, and there may be thousands.
    app.object.iter_mut().for_each(|object| object.body.rest());
    (name, app)
}

/// Which file declared a stored app, and what is to happen when it leaves Git.
pub(super) fn declared_in(object: &Object) -> Option<(String, Deletion)> {
    let spec = object.body.get("spec")?;
    let file = spec.get("declaredIn").and_then(serde_json::Value::as_str).unwrap_or_default();
    let cascades = spec.get("deletion").and_then(serde_json::Value::as_str) == Some("cascade");
    Some((file.to_owned(), if cascades { Deletion::Cascade } else { Deletion::Orphan }))
}

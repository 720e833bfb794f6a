//! A record that was lost, or never was, is made from what the cluster shows: an app whose objects carry our marks is
//! never taken for a first sync, and objects that run already are kept as Stable before anything changes them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::{App, Context, keep, sight};
use crate::model::marks::{
    ANNOTATION_CONTENT, ANNOTATION_KICK, ANNOTATION_OWNER, ANNOTATION_RELEASE, LABEL_APPLICATION,
};
use crate::model::{Declared, Digest, GroupKind, Inventory, Object, ObjectKey, Record, Release, ReleaseRef};
use crate::observe::ownership;
use crate::stage::{is_deployment, is_hook, waits_for_batches};
use crate::store;
use crate::world::{ApiError, Scope, World};

/// Fills in the record of an app that has none, when live objects tell what it must have been, and `seen` with what
/// turned out to belong to it: this pass asked the cache for nothing of that, and would take it for gone.
pub(super) async fn recover<W: World>(
    context: &Context<W>,
    app: &mut App,
    seen: &mut BTreeMap<ObjectKey, Object>,
) -> Result<(), ApiError> {
    let (Some(next), Declared::Ready { target, .. }) = (app.next.clone(), app.declared.clone()) else { return Ok(()) };
    let mut live = BTreeMap::new();
    for (key, object) in next.objects.iter().filter(|(key, _)| is_deployment(key) || waits_for_batches(key)) {
        if let Some(found) = context.world.get(key, &object.version).await? {
            live.insert(key.clone(), found);
        }
    }
    let ours = |object: &&Object| object.annotation(ANNOTATION_OWNER) == Some(context.owner.as_str());
    let marked = live.values().find(ours).and_then(|object| Digest::parse(object.annotation(ANNOTATION_RELEASE)?));
    let Some(digest) = marked else {
        adopt(context, app, &next, &target, &live, seen).await?;
        // What has our marks tells that the app was here: its workloads were deleted, and more of it may stand. (A new app
        // has nothing of the kind, and costs no request.)
        if seen.values().any(|object| is_ours(context, app, object)) {
            let kept = keep::kept(context, app).await?;
            let inventory = standing(context, app, &next, &kept, Inventory::new(), seen).await?;
            Arc::make_mut(app.history.record.get_or_insert_default()).inventory.extend(inventory);
            app.history.is_ahead = true;
        }
        return Ok(());
    };
    let kept = keep::kept(context, app).await?;
    // A workload in a hold carries the Target: Stable is then another kept Release.
    let is_held =
        live.values().any(|object| object.int("/spec/minReadySeconds") == Some(crate::observe::MIN_READY_SECONDS_HOLD));
    let before = match is_held {
        true => match beside(context, &live, digest).await? {
            Some(stable) if kept.contains(&stable) => Some(stable),
            Some(_) | None => keep::newest_but(context, app, digest).await?,
        },
        false => None,
    };
    let stable = before.unwrap_or(digest);
    app.history.kept.clone_from(&kept);
    let release = match stable == target.digest {
        true => Some((*next).clone()),
        false => readable(keep::restore(context, app, stable).await)?,
    };
    let mut inventory = Inventory::new();
    if let Some(release) = &release {
        inventory.extend(of_release(release).map(|(key, object)| (key.clone(), object.version.clone())));
    }
    let inventory = standing(context, app, &next, &kept, inventory, seen).await?;
    let Some(release) = release else {
        adopt(context, app, &next, &target, &live, seen).await?;
        if let Some(record) = &mut app.history.record {
            Arc::make_mut(record).inventory = inventory;
        }
        return Ok(());
    };
    tracing::warn!(application = %app.name, version = %release.reference.version, "the record was lost and is rebuilt from the cluster");
    let record =
        Record { stable: Some(release.reference.clone()), inventory, completed: vec![stable], ..Record::default() };
    app.releases.insert(stable, Arc::new(release));
    app.history.record = Some(Arc::new(record));
    app.history.is_ahead = true;
    Ok(())
}

/// The Release beside a Target in a hold: that of most other pods. ReplicaSets carry the annotations that their Deployment
/// had when it last made them its own. (The Release that was kept last may be one that failed.)
async fn beside<W: World>(
    context: &Context<W>,
    live: &BTreeMap<ObjectKey, Object>,
    target: Digest,
) -> Result<Option<Digest>, ApiError> {
    let mut pods: BTreeMap<Digest, i64> = BTreeMap::new();
    for object in live.values().filter(|object| is_deployment(&object.key)) {
        let kind = GroupKind::new("apps", "ReplicaSet");
        let scope = Scope { kind, version: "v1".to_owned(), namespace: Some(object.key.namespace.clone()) };
        let listed = context.world.list(&scope, "").await?;
        for set in listed.items.iter().filter(|set| set.text("/metadata/ownerReferences/0/uid") == Some(object.uid())) {
            let release = set.annotation(ANNOTATION_RELEASE).and_then(Digest::parse);
            if let Some(release) = release.filter(|release| *release != target) {
                *pods.entry(release).or_default() += set.int("/spec/replicas").unwrap_or_default();
            }
        }
    }
    Ok(pods.into_iter().filter(|(_, count)| *count > 0).max_by_key(|(_, count)| *count).map(|(release, _)| release))
}

/// What of a Release is inventoried: hooks are not.
fn of_release(release: &Release) -> impl Iterator<Item = (&ObjectKey, &Object)> {
    release.objects.iter().filter(|(_, object)| !is_hook(object))
}

/// A kept Release that is damaged counts as one that is not kept; one that could not be read just now does not.
fn readable(restored: Result<Option<Release>, ApiError>) -> Result<Option<Release>, ApiError> {
    match restored {
        Err(ApiError::Invalid(_)) => Ok(None),
        other => other,
    }
}

/// The inventory with all else that stands under our marks, and `seen` with what of it Git does not declare.
async fn standing<W: World>(
    context: &Context<W>,
    app: &App,
    next: &Release,
    kept: &BTreeSet<Digest>,
    mut inventory: Inventory,
    seen: &mut BTreeMap<ObjectKey, Object>,
) -> Result<Inventory, ApiError> {
    add_leftovers(context, app, kept, &mut inventory).await?;
    add_marked(context, app, next, &mut inventory).await?;
    for (key, version) in inventory.iter().filter(|(key, _)| !next.objects.contains_key(*key)) {
        if let Some(live) = served(context.world.get(key, version).await)?.flatten() {
            seen.insert(key.clone(), sight::without_data(live));
        }
    }
    Ok(inventory)
}

/// Adds what other kept Releases brought and what still stands under our marks: a rollout that was under way may have
/// added objects that Stable does not have, and nothing else tells of them.
async fn add_leftovers<W: World>(
    context: &Context<W>,
    app: &App,
    kept: &BTreeSet<Digest>,
    inventory: &mut Inventory,
) -> Result<(), ApiError> {
    for digest in kept {
        let Some(release) = readable(keep::restore(context, app, *digest).await)? else { continue };
        for (key, object) in of_release(&release) {
            if inventory.contains_key(key) {
                continue;
            }
            let live = served(context.world.get(key, &object.version).await)?.flatten();
            if live.is_some_and(|live| is_ours(context, app, &live)) {
                inventory.insert(key.clone(), object.version.clone());
            }
        }
    }
    Ok(())
}

/// Adds what stands under our marks beside what Git declares, of the same kinds and in the same places: a first sync that
/// failed is kept nowhere, and may have brought more than the next. Secrets are not listed: nobody gave us that right.
async fn add_marked<W: World>(
    context: &Context<W>,
    app: &App,
    next: &Release,
    inventory: &mut Inventory,
) -> Result<(), ApiError> {
    let scope = |(key, object): (&ObjectKey, &Object)| Scope {
        kind: key.kind.clone(),
        version: object.version.clone(),
        namespace: Some(key.namespace.clone()).filter(|namespace| !namespace.is_empty()),
    };
    let scopes: BTreeSet<Scope> = of_release(next).filter(|(key, _)| !sight::is_secret(key)).map(scope).collect();
    for scope in scopes {
        let listed = served(context.world.list(&scope, &format!("{LABEL_APPLICATION}={}", app.name)).await)?;
        let items = listed.into_iter().flat_map(|listed| listed.items);
        for live in items.filter(|live| is_ours(context, app, live)) {
            inventory.entry(live.key).or_insert_with(|| scope.version.clone());
        }
    }
    Ok(())
}

/// A kind that is not served (yet, or any more) has no objects, and is no reason to wait.
fn served<T>(answer: Result<T, ApiError>) -> Result<Option<T>, ApiError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(ApiError::UnknownKind(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_ours<W>(context: &Context<W>, app: &App, live: &Object) -> bool {
    live.annotation(ANNOTATION_OWNER) == Some(context.owner.as_str())
        && live.label(LABEL_APPLICATION) == Some(app.name.as_str())
}

/// Makes Stable's Release from what runs, when it is kept nowhere: an agent that ended right after a first sync had not
/// kept it yet, and Git has moved on. What we applied is told by field ownership, so that a revert has where to go.
pub(super) async fn rebuild_stable<W: World>(context: &Context<W>, app: &mut App) {
    let Some(record) = app.history.record.clone().filter(|record| record.rollout.is_none()) else { return };
    let Some(stable) = record.stable.clone() else { return };
    let mut objects = BTreeMap::new();
    for (key, version) in &record.inventory {
        match context.world.get(key, version).await {
            Ok(Some(live)) => {
                if let Some(mut body) = ownership::applied(&live).map(without_marks) {
                    // A template that others have a part in is taken as it runs: what stood there before is not known.
                    if ownership::is_template_shared(&live) {
                        body["spec"]["template"] = without_twins(&live.body["spec"]["template"]);
                    }
                    objects.insert(key.clone(), live.with_body(body));
                }
            }
            Ok(None) => {}
            Err(error) => return tracing::warn!(application = %app.name, %error, "live objects cannot be read"),
        }
    }
    if objects.is_empty() {
        return;
    }
    tracing::warn!(application = %app.name, version = %stable.version, "Stable's Release was not kept and is made from what runs");
    // It keeps its digest: it is that Release, as far as it can be told, and a `git revert` to it is recognised.
    let release = Release { app: app.name.clone(), reference: stable.clone(), objects };
    app.releases.insert(stable.digest, Arc::new(release));
}

/// A pod template that can be applied: of several items of one name, which only an update may make, the last, as the
/// kubelet reads them.
fn without_twins(template: &Value) -> Value {
    match template {
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (name.clone(), without_twins(value))).collect())
        }
        Value::Array(items) => {
            let name = |item: &Value| match item.get("containerPort") {
                Some(port) => Some((port.clone(), item.get("protocol").cloned().unwrap_or_else(|| "TCP".into()))),
                None => Some((item.get("name")?.clone(), Value::Null)),
            };
            let is_last = |(index, item): &(usize, &Value)| {
                name(item).is_none_or(|it| !items[index + 1..].iter().any(|later| name(later).as_ref() == Some(&it)))
            };
            Value::Array(items.iter().enumerate().filter(is_last).map(|(_, item)| without_twins(item)).collect())
        }
        other => other.clone(),
    }
}

/// What was applied, as it was declared: our marks are put on anew with each stage.
fn without_marks(mut body: Value) -> Value {
    for (field, marks) in [
        ("annotations", &[ANNOTATION_OWNER, ANNOTATION_CONTENT, ANNOTATION_RELEASE, ANNOTATION_KICK][..]),
        ("labels", &[LABEL_APPLICATION][..]),
    ] {
        let Some(map) = body["metadata"].get_mut(field).and_then(Value::as_object_mut) else { continue };
        map.retain(|name, _| !marks.contains(&name.as_str()));
        if map.is_empty() {
            body["metadata"].as_object_mut().map(|metadata| metadata.remove(field));
        }
    }
    body
}

/// Workloads that run under somebody else: their live state is kept as Stable, so that the first change of their pod
/// template is a rollout like any other, with something to go back to. What does not stand yet is none of it: that comes
/// with the rollout, which takes it away again when it turns back.
async fn adopt<W: World>(
    context: &Context<W>,
    app: &mut App,
    next: &Release,
    target: &ReleaseRef,
    live: &BTreeMap<ObjectKey, Object>,
    seen: &BTreeMap<ObjectKey, Object>,
) -> Result<(), ApiError> {
    if live.is_empty() {
        return Ok(());
    }
    let mut objects = next.objects.clone();
    for (key, object) in of_release(next).filter(|(key, _)| !seen.contains_key(*key)) {
        if served(context.world.get(key, &object.version).await)?.flatten().is_none() {
            objects.remove(key);
        }
    }
    for (key, object) in live {
        objects.insert(key.clone(), as_declared(object, next.objects.get(key)));
    }
    let digest = store::digest::digest(&objects, &context.secret_key);
    if digest == target.digest {
        return Ok(());
    }
    let reference = ReleaseRef { digest, attempt: 0, version: "adopted".to_owned(), revision: target.revision.clone() };
    tracing::info!(application = %app.name, "objects that run already are kept as Stable");
    app.releases.insert(digest, Arc::new(Release { app: app.name.clone(), reference: reference.clone(), objects }));
    app.history.record = Some(Arc::new(Record { stable: Some(reference), ..Record::default() }));
    app.history.is_ahead = true;
    Ok(())
}

/// A live workload as somebody would declare it: what is declared, with the pod template and replicas that run.
fn as_declared(live: &Object, declared: Option<&Object>) -> Object {
    let Some(declared) = declared else { return live.clone() };
    let mut body = (*declared.body).clone();
    for field in ["template", "replicas"] {
        if let Some(value) = live.body.pointer(&format!("/spec/{field}")) {
            body["spec"][field] = value.clone();
        }
    }
    declared.with_body(body)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_kind_that_is_not_served_is_no_reason_to_wait() {
        assert_eq!(served(Ok(1)), Ok(Some(1)));
        assert_eq!(served::<u8>(Err(ApiError::UnknownKind("Widget".to_owned()))), Ok(None));
        assert_eq!(served::<u8>(Err(ApiError::TimedOut)), Err(ApiError::TimedOut));
    }

    #[test]
    fn of_items_that_cannot_be_told_apart_the_last_is_kept() {
        let container = |env: Value, ports: Value| json!({"spec": {"containers": [{"name": "a", "env": env, "ports": ports}, {"name": "b"}], "tolerations": [{"key": "x"}, {"key": "x"}]}});
        let given = container(
            json!([{"name": "A", "value": "1"}, {"name": "B"}, {"name": "A", "value": "2"}]),
            json!([{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}, {"containerPort": 80, "protocol": "TCP", "name": "http"}]),
        );
        let kept = container(
            json!([{"name": "B"}, {"name": "A", "value": "2"}]),
            json!([{"containerPort": 80, "protocol": "UDP"}, {"containerPort": 80, "protocol": "TCP", "name": "http"}]),
        );
        assert_eq!(without_twins(&given), kept);
    }
}

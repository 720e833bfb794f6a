//! Verbs and watches over a real loopback server with recorded answers.

use std::time::Instant;

use serde_json::{Value, json};

use super::*;
use crate::edge::script::{Answer, Script};
use crate::world::Change;

/// An API server that answers discovery and then what the script says.
async fn open(answers: Vec<Answer>) -> (Script, Cluster) {
    let script = Script::serve([discovery(), answers].into_iter().flatten().collect()).await;
    let cluster = connect(&script);
    cluster.kinds().await.unwrap();
    (script, cluster)
}

fn connect(script: &Script) -> Cluster {
    crate::edge::install_tls_provider();
    let mut settings = kube::Config::new(script.base_url.parse().unwrap());
    // The host may have no certificates, and none is needed here.
    settings.accept_invalid_certs = true;
    let cluster = Cluster::connect(settings, 4).unwrap();
    cluster.lead(Some(Millis(u64::MAX)));
    cluster
}

/// What Kubernetes 1.36 answers, cut down.
fn discovery() -> Vec<Answer> {
    let resource = |plural: &str, group: &str, kind: &str, scope: &str, parts: Value| {
        json!({
            "resource": plural, "responseKind": {"group": group, "version": "v1", "kind": kind}, "scope": scope,
            "singularResource": kind.to_lowercase(), "verbs": ["create", "get", "list", "watch"], "subresources": parts,
        })
    };
    let status =
        json!([{"subresource": "status", "responseKind": {"group": "", "version": "", "kind": ""}, "verbs": ["get"]}]);
    let list = |items: Value| json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items});
    let core =
        list(json!([{"metadata": {"creationTimestamp": null}, "versions": [{"version": "v1", "freshness": "Current",
            "resources": [
                resource("configmaps", "", "ConfigMap", "Namespaced", json!(null)),
                resource("namespaces", "", "Namespace", "Cluster", status.clone()),
                resource("secrets", "", "Secret", "Namespaced", json!([])),
        ]}]}]));
    let apps = list(json!([
        {"metadata": {"name": "apps"}, "versions": [{"version": "v1", "resources": [
            resource("deployments", "apps", "Deployment", "Namespaced", status)]}]},
        {"metadata": {"name": "broken.example"}, "versions": [{"version": "v1", "freshness": "Stale", "resources": [
            {"resource": "things", "responseKind": null, "scope": "Namespaced"}]}]},
    ]));
    let json = |body: &Value| Answer::json(200, body);
    vec![json(&core), json(&apps)]
}

fn map(name: &str) -> Object {
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "shop", "resourceVersion": "7", "uid": "u"}, "data": {"a": "b"}});
    Object::from_value(&ClusterName::local(), body).unwrap()
}

fn maps() -> Scope {
    Scope { kind: GroupKind::new("", "ConfigMap"), version: "v1".to_owned(), namespace: Some("shop".to_owned()) }
}

fn status(code: u16, reason: &str, message: &str, details: &Value) -> Answer {
    Answer::json(code, &status_body(code, reason, message, details))
}

fn status_body(code: u16, reason: &str, message: &str, details: &Value) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "details": details, "code": code})
}

#[tokio::test]
async fn discovery_costs_two_requests_and_skips_what_has_no_kind() {
    let script = Script::serve(discovery()).await;
    let kinds = connect(&script).kinds().await.unwrap();
    assert_eq!(script.lines(), ["GET /api", "GET /apis"]);
    assert!(
        script
            .asked()
            .iter()
            .all(|asked| { asked.accept == "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList" })
    );
    assert_eq!(kinds.served.len(), 4);
    assert_eq!(kinds.is_namespaced(&GroupKind::new("apps", "Deployment"), "v1"), Some(true));
    assert_eq!(kinds.is_namespaced(&GroupKind::new("", "Namespace"), "v1"), Some(false));
    assert_eq!(kinds.is_namespaced(&GroupKind::new("apps", "Deployment"), "v1beta1"), None);
}

#[tokio::test]
async fn an_unknown_kind_is_asked_for_once_in_a_while() {
    let script = Script::serve(discovery().into_iter().chain(discovery()).collect()).await;
    let cluster = connect(&script);
    let kind = GroupKind::new("example.com", "Widget");
    let unknown = Err(ApiError::UnknownKind("Widget.example.com v1".to_owned()));
    let start = Instant::now();
    let find = async |now| cluster.api.kinds.find(&cluster.api.caller, &kind, "v1", now).await.map(|_known| ());
    assert_eq!(find(start).await, unknown);
    assert_eq!(find(start).await, unknown);
    assert_eq!(script.lines().len(), 2);
    assert_eq!(find(start + Duration::from_secs(3600)).await, unknown);
    assert_eq!(script.lines().len(), 4);
}

#[tokio::test]
async fn a_failed_discovery_does_not_make_a_kind_unknown() {
    let script = Script::serve(vec![Answer::text(503, "starting")]).await;
    let cluster = connect(&script);
    let failed = Err(ApiError::Server("HTTP status 503".to_owned()));
    assert_eq!(cluster.get(&map("x").key, "v1").await, failed);
    assert_eq!(cluster.get(&map("x").key, "v1").await, failed);
    assert_eq!(script.lines(), ["GET /api"]);
}

#[tokio::test]
async fn a_list_is_read_page_by_page_without_a_resource_version() {
    let page = |name: &str, next: &str| {
        Answer::json(
            200,
            &json!({"kind": "ConfigMapList", "apiVersion": "v1",
            "metadata": {"resourceVersion": "90", "continue": next},
            "items": [{"metadata": {"name": name, "namespace": "shop"}, "data": {"a": "b"}}]}),
        )
    };
    let (script, cluster) = open(vec![page("one", "to/k=en"), page("two", "")]).await;
    let listed = cluster.list(&maps(), "app=web,tier in (a)").await.unwrap();
    let selector = "labelSelector=app%3Dweb%2Ctier%20in%20%28a%29";
    assert_eq!(
        script.lines()[2..],
        [
            format!("GET /api/v1/namespaces/shop/configmaps?limit=500&{selector}"),
            format!("GET /api/v1/namespaces/shop/configmaps?limit=500&{selector}&continue=to%2Fk%3Den"),
        ]
    );
    assert_eq!(listed.resource_version, "90");
    let names: Vec<String> = listed.items.iter().map(|item| item.key.to_string()).collect();
    assert_eq!(names, ["ConfigMap shop/one", "ConfigMap shop/two"]);
    assert_eq!(listed.items[0].text("/kind"), Some("ConfigMap"));
    assert_eq!(cluster.request_counts().of(Verb::List), 2);
}

#[tokio::test]
async fn a_list_of_metadata_tells_what_its_objects_are() {
    let item = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"name": "one", "namespace": "shop", "uid": "u", "resourceVersion": "7"}});
    let page = json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": "90"}, "items": [item]});
    let (script, cluster) = open(vec![Answer::json(200, &page)]).await;
    let listed = cluster.list_metadata(&maps(), "").await.unwrap();
    assert_eq!(script.asked()[2].accept, "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
    let expected = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": item["metadata"]});
    assert_eq!(listed.items[0].key, map("one").key);
    assert!(listed.items[0].body.is_resting());
    assert_eq!(*listed.items[0].body, expected);
}

#[tokio::test]
async fn a_list_whose_token_expired_is_gone() {
    let first = json!({"kind": "ConfigMapList", "apiVersion": "v1", "items": [],
        "metadata": {"resourceVersion": "90", "continue": "t"}});
    let expired = status(410, "Expired", "The provided continue parameter is too old", &json!(null));
    let (_script, cluster) = open(vec![Answer::json(200, &first), expired]).await;
    assert_eq!(cluster.list(&maps(), "").await, Err(ApiError::Gone));
}

#[tokio::test]
async fn each_write_says_who_writes_and_when_to_give_up() {
    let stored = || Answer::json(200, &map("x").body);
    let (script, cluster) = open((0..6).map(|_write| stored()).collect()).await;
    let object = map("x");
    let options = ApplyOptions { is_forced: false, is_dry_run: true, manager: "other one" };
    assert_eq!(cluster.create(&object).await, Ok(object.clone()));
    cluster.update(&object, Part::Object).await.unwrap();
    cluster.apply(&object, options, None).await.unwrap();
    cluster
        .apply(&object, ApplyOptions { is_forced: true, is_dry_run: false, manager: FIELD_MANAGER }, None)
        .await
        .unwrap();
    let operations = json!([{"op": "test", "path": "/data/a", "value": "b"}, {"op": "remove", "path": "/data/a"}]);
    cluster.patch(&object.key, "v1", &operations, None).await.unwrap();
    let preconditions = Preconditions { uid: "u".to_owned(), resource_version: "7".to_owned() };
    cluster.delete(&object.key, "v1", &preconditions, None).await.unwrap();

    let home = "/api/v1/namespaces/shop/configmaps";
    let apply = "timeout=5s&force=false&fieldValidation=Strict&dryRun=All";
    let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background",
        "preconditions": {"uid": "u", "resourceVersion": "7"}});
    let expected = [
        (format!("POST {home}?fieldManager=tidegate&timeout=5s"), JSON, &*object.body),
        (format!("PUT {home}/x?fieldManager=tidegate&timeout=5s"), JSON, &*object.body),
        (format!("PATCH {home}/x?fieldManager=other%20one&{apply}"), APPLY_PATCH, &*object.body),
        (
            format!("PATCH {home}/x?fieldManager=tidegate&timeout=5s&force=true&fieldValidation=Strict"),
            APPLY_PATCH,
            &*object.body,
        ),
        (format!("PATCH {home}/x?fieldManager=tidegate&timeout=5s"), JSON_PATCH, &operations),
        (format!("DELETE {home}/x?timeout=5s"), JSON, &options),
    ];
    for (asked, (line, content_type, body)) in script.asked()[2..].iter().zip(expected) {
        assert_eq!((asked.line.as_str(), asked.content_type.as_str()), (line.as_str(), content_type));
        assert_eq!(serde_json::from_str::<Value>(&asked.body).unwrap(), *body);
    }
    assert_eq!(script.asked().len(), 8);
}

#[tokio::test]
async fn writes_wait_for_writes_and_reads_do_not() {
    let stored = || Answer::json(200, &map("x").body);
    let (script, cluster) = open(vec![stored(), stored()]).await;
    let writes = &cluster.api.caller.writes;
    let all_permits = futures::future::join_all((0..4).map(|_| writes.acquire())).await;
    let object = map("x");
    let mut create = std::pin::pin!(cluster.create(&object));
    assert!(futures::poll!(&mut create).is_pending());
    cluster.get(&object.key, "v1").await.unwrap();
    assert_eq!(script.lines()[2..], ["GET /api/v1/namespaces/shop/configmaps/x"]);
    drop(all_permits);
    create.await.unwrap();
    assert_eq!(script.lines().len(), 4);
}

#[tokio::test]
async fn status_is_put_where_the_kind_has_it() {
    let body = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}});
    let (script, cluster) = open(vec![Answer::json(200, &body)]).await;
    let deployment = Object::from_value(&ClusterName::local(), body).unwrap();
    cluster.update(&deployment, Part::Status).await.unwrap();
    assert_eq!(
        script.lines()[2],
        "PUT /apis/apps/v1/namespaces/shop/deployments/web/status?fieldManager=tidegate&timeout=5s"
    );
    let refused = cluster.update(&map("x"), Part::Status).await;
    assert_eq!(refused, Err(ApiError::Invalid("status: the kind has no status subresource".to_owned())));
}

#[tokio::test]
async fn absence_is_an_answer_to_get_and_delete() {
    let absent = || status(404, "NotFound", "configmaps \"x\" not found", &json!({"name": "x", "kind": "configmaps"}));
    let (_script, cluster) = open(vec![absent(), absent(), absent()]).await;
    let preconditions = Preconditions { uid: "u".to_owned(), resource_version: "7".to_owned() };
    assert_eq!(cluster.get(&map("x").key, "v1").await, Ok(None));
    assert_eq!(cluster.delete(&map("x").key, "v1", &preconditions, None).await, Ok(()));
    assert_eq!(cluster.update(&map("x"), Part::Object).await, Err(ApiError::NotFound));
}

#[tokio::test]
async fn a_kind_whose_path_is_gone_is_forgotten() {
    let gone = status(404, "NotFound", "the server could not find the requested resource", &json!({}));
    let (_script, cluster) = open(vec![gone]).await;
    let unknown = Err(ApiError::UnknownKind("ConfigMap".to_owned()));
    assert_eq!(cluster.get(&map("x").key, "v1").await, unknown);
    // Forgotten, and discovery was made just now.
    assert_eq!(cluster.get(&map("x").key, "v1").await, Err(ApiError::UnknownKind("ConfigMap v1".to_owned())));
}

#[tokio::test]
async fn retry_after_is_passed_on_and_no_call_is_sent_twice() {
    let busy = Answer::text(429, "Too many requests, please try again later.").header("retry-after", "7");
    let (script, cluster) = open(vec![busy]).await;
    assert_eq!(cluster.api.caller.writes.available(), 4);
    assert_eq!(cluster.create(&map("x")).await, Err(ApiError::Busy { retry_after_seconds: 7 }));
    assert_eq!(script.lines().len(), 3);
    assert_eq!(cluster.api.caller.writes.available(), 2, "fewer go out at once");
}

#[tokio::test]
async fn no_server_is_unreachable_and_a_lost_answer_to_a_write_may_have_happened() {
    let (script, cluster) = open(vec![Answer::text(200, "<html>")]).await;
    assert_eq!(cluster.create(&map("x")).await, Err(ApiError::Server("its answer is no JSON".to_owned())));
    // A listener that takes the request and hangs up.
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let caller = Caller::new(
        kube::Client::try_from({
            let mut settings = kube::Config::new(format!("http://{address}").parse().unwrap());
            settings.accept_invalid_certs = true;
            settings.default_retry = false;
            settings
        })
        .unwrap(),
        1,
    );
    caller.term.lead(Some(Millis(u64::MAX)));
    let write = Call::write(Verb::Create, Method::POST, "/x".to_owned(), GroupKind::new("", "X"), (JSON, &json!({})));
    let hang_up = async {
        let (stream, _peer) = listener.accept().await.unwrap();
        stream.readable().await.unwrap();
        drop(stream);
        drop(listener);
    };
    let (answer, ()) = tokio::join!(caller.send(write), hang_up);
    assert_eq!(answer, Err(ApiError::TimedOut));
    let read = Call::read(Verb::Get, "/x".to_owned(), GroupKind::new("", "X"));
    assert_eq!(caller.send(read).await, Err(ApiError::Unreachable("Connection refused (os error 111)".to_owned())));
    drop(script);
}

/// A watch event as the server writes it.
fn event(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": kind, "object": object}))
}

#[tokio::test]
async fn a_watch_tells_of_changes_bookmarks_and_its_end() {
    let bookmark = json!({"kind": "ConfigMap", "apiVersion": "v1",
        "metadata": {"resourceVersion": "95", "creationTimestamp": null}});
    let text = event("ADDED", &map("x").body) + &event("DELETED", &map("y").body) + &event("BOOKMARK", &bookmark);
    // Pieces end anywhere, and the last event is cut off.
    let (head, tail) = text.split_at(30);
    let (script, cluster) = open(vec![Answer::chunks(&[head, tail, "{\"type\":\"ADD"])]).await;
    cluster.watch(&maps(), "90");
    let changed = |change| Event::Changed { scope: maps(), change };
    assert_eq!(cluster.next_event().await, changed(Change::Stored(map("x"))));
    assert_eq!(cluster.next_event().await, changed(Change::Deleted(map("y"))));
    assert_eq!(cluster.next_event().await, changed(Change::Bookmark("95".to_owned())));
    assert_eq!(cluster.next_event().await, Event::WatchEnded { scope: maps(), error: None });

    let line = script.lines()[2].clone();
    let (query, seconds) = line.rsplit_once('=').unwrap();
    let watched = "GET /api/v1/namespaces/shop/configmaps?watch=1&resourceVersion=90&allowWatchBookmarks=true";
    assert_eq!(query, format!("{watched}&timeoutSeconds"));
    assert!((45..=55).contains(&seconds.parse::<u64>().unwrap()), "{seconds}");
}

#[tokio::test]
async fn a_watch_that_cannot_go_on_ends_with_the_reason() {
    let expired = status_body(410, "Expired", "too old resource version: 1 (90)", &json!(null));
    let failed = status_body(500, "InternalError", "etcd is away", &json!(null));
    let cases = [
        (Answer::chunks(&[&event("ERROR", &expired)]).left_open(), ApiError::Gone),
        (status(410, "Gone", "too old", &json!(null)), ApiError::Gone),
        (Answer::chunks(&[&event("ERROR", &failed)]), ApiError::Server("etcd is away".to_owned())),
        (Answer::chunks(&["nonsense\n"]), ApiError::Server("a watch event cannot be read".to_owned())),
        (
            Answer::chunks(&[&event("NEW", &json!({}))]),
            ApiError::Server("a watch event is of an unknown type".to_owned()),
        ),
    ];
    for (answer, error) in cases {
        let (_script, cluster) = open(vec![answer]).await;
        cluster.watch(&maps(), "1");
        assert_eq!(cluster.next_event().await, Event::WatchEnded { scope: maps(), error: Some(error) });
    }
}

#[tokio::test]
async fn events_of_a_stopped_or_replaced_watch_never_arrive() {
    let told = |name: &str| Answer::chunks(&[&event("ADDED", &map(name).body)]).left_open();
    let (script, cluster) = open(vec![told("old"), told("new"), told("other")]).await;
    let other = Scope { namespace: None, ..maps() };
    let asked = async |requests| {
        while script.lines().len() < requests {
            tokio::task::yield_now().await;
        }
    };
    cluster.watch(&maps(), "1");
    cluster.watches.wait_for_waiting(1).await;
    cluster.watch(&maps(), "2");
    asked(4).await;
    assert_eq!(cluster.next_event().await, Event::Changed { scope: maps(), change: Change::Stored(map("new")) });
    cluster.unwatch(&maps());
    cluster.watch(&other, "3");
    let change = Change::Stored(map("other"));
    assert_eq!(cluster.next_event().await, Event::Changed { scope: other.clone(), change });
}

#[tokio::test]
async fn a_silent_watch_ends_at_its_deadline() {
    let (_script, cluster) = open(vec![Answer::chunks(&[]).left_open()]).await;
    let ended = cluster.watches.follow_late(&cluster.api, &maps()).await;
    assert_eq!(ended, Err(ApiError::TimedOut));
}

#[tokio::test]
async fn no_write_goes_out_unless_this_agent_leads_but_its_lease_and_dry_runs_do() {
    let lease = json!({"resource": "leases", "responseKind": {"group": "", "version": "", "kind": "Lease"},
        "scope": "Namespaced", "verbs": ["create", "get", "update"]});
    let leases = json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {},
        "items": [{"metadata": {"name": "coordination.k8s.io"}, "versions": [{"version": "v1", "resources": [lease]}]}]});
    let core = discovery().remove(0);
    let ok = || Answer::json(200, &map("x").body);
    let script = Script::serve(vec![core, Answer::json(200, &leases), ok(), ok(), ok(), ok(), ok()]).await;
    let cluster = connect(&script);
    cluster.kinds().await.unwrap();
    let object = map("x");
    let lease = Object {
        key: ObjectKey::local("coordination.k8s.io", "Lease", "shop", "tidegate"),
        version: "v1".to_owned(),
        body: json!({}).into(),
    };
    let options = ApplyOptions { is_forced: true, is_dry_run: false, manager: FIELD_MANAGER };
    let conditions = Preconditions { uid: "u".to_owned(), resource_version: "7".to_owned() };
    for until in [None, Some(Millis(0)), Some(cluster.uptime())] {
        cluster.lead(until);
        assert_eq!(cluster.create(&object).await, Err(ApiError::Deposed));
        assert_eq!(cluster.update(&object, Part::Object).await, Err(ApiError::Deposed));
        assert_eq!(cluster.apply(&object, options, None).await, Err(ApiError::Deposed));
        assert_eq!(cluster.apply(&lease, options, None).await, Err(ApiError::Deposed), "a Lease that Git declares");
        assert_eq!(cluster.patch(&object.key, "v1", &json!([]), None).await, Err(ApiError::Deposed));
        assert_eq!(cluster.delete(&object.key, "v1", &conditions, None).await, Err(ApiError::Deposed));
    }
    assert_eq!(script.lines().len(), 2, "only discovery was asked for");
    cluster.apply(&object, ApplyOptions { is_dry_run: true, ..options }, None).await.unwrap();
    cluster.create(&lease).await.unwrap();
    cluster.update(&lease, Part::Object).await.unwrap();
    cluster.get(&object.key, "v1").await.unwrap();
    cluster.lead(Some(Millis(cluster.uptime().0 + 60_000)));
    cluster.create(&object).await.unwrap();
    assert_eq!(script.lines().len(), 7);
}

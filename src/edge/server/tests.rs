//! The server over loopback, with a real client.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::{Reader, Server, ServerError, Settings, Sources, api, connections, serve};
use crate::model::AppName;
use crate::status::fixture::{board, held, idle, measuring};
use crate::status::{AppView, Board, Standing};
use crate::telemetry::{EXPOSITION_TYPE, Requests, Telemetry};

const TOKEN: &str = "a-token.of-no-special.form";
const BEARER: (&str, &str) = ("authorization", "Bearer a-token.of-no-special.form");
const JSON_TYPE: (&str, &str) = ("content-type", "application/json");

/// A running server and everything that feeds it.
struct Running {
    server: Server,
    token_file: PathBuf,
    board: watch::Sender<Board>,
    standing: watch::Sender<Standing>,
    pokes: mpsc::Receiver<AppName>,
    shutdown: watch::Sender<bool>,
    _folder: tempfile::TempDir,
}

struct Answer {
    status: StatusCode,
    content_type: String,
    retry_after: Option<String>,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }
}

/// A cluster that has something of `shop` and does not answer about any other app.
fn reader() -> Reader {
    Arc::new(|view: Arc<AppView>| {
        let answer = match view.name.as_str() {
            "shop" => Ok(serde_json::json!({"nodes": [{"kind": "Pod", "name": "shop-1"}]})),
            _ => Err(crate::world::ApiError::TimedOut),
        };
        Box::pin(async move { answer })
    })
}

#[tokio::test]
async fn resources_are_read_from_the_cluster_for_whoever_asks() {
    let running = start().await;
    let answer = running.read("/api/v1/applications/shop/resource-tree").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json()["nodes"][0]["name"], "shop-1");
    let anonymous = running.api(Method::GET, "/api/v1/applications/shop/resource-tree", &[]).await;
    assert_eq!(anonymous.status, StatusCode::UNAUTHORIZED);
}

async fn start() -> Running {
    start_at("127.0.0.1:0").await
}

async fn start_at(address: &str) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, format!("{TOKEN}\n")).unwrap();
    let any = address.parse().unwrap();
    let settings = Settings { api_address: any, ops_address: any, token_file: token_file.clone(), webhook: None };
    let (board, board_seen) = watch::channel(board(vec![idle("shop"), measuring("web")]));
    let (standing, standing_seen) = watch::channel(Standing::Leading);
    let (poke, pokes) = mpsc::channel(1);
    let (shutdown, stop) = watch::channel(false);
    let sources = Sources { board: board_seen, standing: standing_seen, resources: reader() };
    let server = serve(settings, sources, Telemetry::new(), Requests::default, poke, stop).await.unwrap();
    Running { server, token_file, board, standing, pokes, shutdown, _folder: folder }
}

impl Running {
    async fn api(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        ask(&format!("http://{}{path}", self.server.api_address), method, headers, "").await
    }

    async fn read(&self, path: &str) -> Answer {
        self.api(Method::GET, path, &[BEARER]).await
    }

    async fn ops(&self, path: &str) -> Answer {
        ask(&format!("http://{}{path}", self.server.ops_address), Method::GET, &[], "").await
    }
}

async fn ask(url: &str, method: Method, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap();
    let response = Client::builder(TokioExecutor::new()).build_http().request(request).await.unwrap();
    let header_text = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (content_type, retry_after) = (header_text(header::CONTENT_TYPE), header_text(header::RETRY_AFTER));
    Answer {
        status: response.status(),
        content_type: content_type.unwrap_or_default(),
        retry_after,
        text: String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap(),
    }
}

#[tokio::test]
async fn the_token_admits_in_every_form_and_nothing_else_does() {
    let running = start().await;
    let (none, invalid) = ("no session information", "invalid session");
    for (headers, refusal) in [
        (vec![], Some(none)),
        (vec![BEARER], None),
        (vec![("authorization", "bearer a-token.of-no-special.form")], None),
        (vec![("token", TOKEN)], None),
        (vec![("cookie", "other=1; argocd.token=a-token.of-no-special.form")], None),
        (vec![("token", "wrong"), BEARER], None),
        (vec![("authorization", "Bearer wrong")], Some(invalid)),
        (vec![("authorization", "Bearer a-token.of-no-special.for")], Some(invalid)),
        (vec![("authorization", "Bearer a-token.of-no-special.form2")], Some(invalid)),
        (vec![("authorization", "Bearer ")], Some(none)),
        (vec![("authorization", "Basic YTpi")], Some(none)),
        (vec![("authorization", "a-token.of-no-special.form")], Some(none)),
        (vec![("cookie", "argocd.token=wrong")], Some(invalid)),
        (vec![("token", "")], Some(none)),
    ] {
        for path in [
            "/api/v1/applications",
            "/api/v1/applications/shop",
            "/api/v1/applications/absent",
            "/apis/tidegate.dev/v1/applications",
            "/apis/tidegate.dev/v1/applications/shop/rollout",
            "/apis/tidegate.dev/v1/applications/shop/why",
        ] {
            let answer = running.api(Method::GET, path, &headers).await;
            match refusal {
                None => assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "{headers:?} {path}"),
                Some(message) => {
                    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{headers:?} {path}");
                    assert_eq!(answer.json(), json!({"error": message, "code": 16, "message": message}));
                }
            }
        }
    }
}

#[tokio::test]
async fn a_cookie_is_no_token_for_writing() {
    let running = start().await;
    let cookie = ("cookie", "argocd.token=a-token.of-no-special.form");
    let answer = running.api(Method::DELETE, "/api/v1/applications/shop", &[cookie, JSON_TYPE]).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_token_file_is_read_again_and_nobody_enters_without_it() {
    let running = start().await;
    let path = "/api/v1/applications";
    let new = ("authorization", "Bearer new");
    for (content, old_enters, new_enters) in [
        (Some("new"), false, true),
        (Some(""), false, false),
        (Some(" \n"), false, false),
        (Some(TOKEN), true, false),
        (None, false, false),
        (Some("  new\n"), false, true),
    ] {
        match content {
            Some(content) => std::fs::write(&running.token_file, content).unwrap(),
            None => std::fs::remove_file(&running.token_file).unwrap(),
        }
        for (header, enters) in [(BEARER, old_enters), (new, new_enters)] {
            let status = running.api(Method::GET, path, &[header]).await.status;
            assert_eq!(status == StatusCode::OK, enters, "{content:?} {header:?}");
        }
        let empty = running.api(Method::GET, path, &[("authorization", "Bearer "), ("token", "")]).await;
        assert_eq!(empty.status, StatusCode::UNAUTHORIZED, "{content:?}");
    }
}

#[tokio::test]
async fn what_argo_cd_leaves_open_is_open() {
    let running = start().await;
    for (path, expected) in [
        ("/api/version", json!({"Version": "v3.3.0"})),
        ("/api/v1/settings", json!({"appLabelKey": "app.kubernetes.io/instance"})),
        ("/api/v1/session/userinfo", json!({})),
    ] {
        let answer = running.api(Method::GET, path, &[]).await;
        assert_eq!((answer.status, answer.json()), (StatusCode::OK, expected), "{path}");
        assert_eq!(answer.content_type, "application/json");
    }
    let known = running.read("/api/v1/session/userinfo").await.json();
    assert_eq!(known, json!({"loggedIn": true, "username": "token", "iss": "tidegate"}));
    let session = running.api(Method::POST, "/api/v1/session", &[JSON_TYPE]).await;
    assert_eq!((session.status, &session.json()["code"]), (StatusCode::NOT_IMPLEMENTED, &json!(12)));
}

#[tokio::test]
async fn without_secrets_there_is_no_route_for_webhooks() {
    let running = start().await;
    for method in [Method::POST, Method::GET] {
        for headers in [vec![], vec![BEARER, JSON_TYPE, ("x-github-event", "ping")]] {
            let answer = running.api(method.clone(), "/api/webhook", &headers).await;
            assert_eq!((answer.status.as_u16(), answer.text.as_str()), (404, "Not Found"), "{method} {headers:?}");
        }
    }
}

#[tokio::test]
async fn errors_are_argo_cds() {
    let running = start().await;
    let missing = r#"applications.argoproj.io "absent" not found"#;
    for (path, status, code, message) in [
        ("/api/v1/applications/absent", 404, 5, missing),
        ("/api/v1/applications/absent?project=default", 404, 5, missing),
        ("/api/v1/applications/absent/resource-tree", 404, 5, missing),
        ("/apis/tidegate.dev/v1/applications/absent/why", 404, 5, missing),
        ("/apis/tidegate.dev/v1/applications/absent/rollout", 404, 5, missing),
        ("/api/v1/applications/shop?project=other", 404, 5, r#"applications.argoproj.io "shop" not found"#),
        ("/api/v1/applications/shop?appNamespace=x", 404, 5, r#"applications.argoproj.io "shop" not found"#),
        ("/api/v1/applications/a%20%22b%22", 404, 5, r#"applications.argoproj.io "a \"b\"" not found"#),
        (
            "/api/v1/applications/shop/resource-tree?project=other",
            404,
            5,
            r#"applications.argoproj.io "shop" not found"#,
        ),
        ("/api/v1/applications/shop/events", 501, 12, "events is not offered"),
        ("/api/v1/applications/web/resource-tree", 503, 14, "the cluster cannot be read: no answer in time"),
    ] {
        let answer = running.read(path).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        assert_eq!(answer.json(), json!({"error": message, "code": code, "message": message}), "{path}");
    }
    let selector = running.read("/api/v1/applications?selector=a%20in%20(b)").await;
    assert_eq!((selector.status.as_u16(), &selector.json()["code"]), (400, &json!(3)));
    for path in
        ["/", "/api", "/api/v1/nothing", "/api/v1/applications/shop/nothing", "/metrics", "/apis/tidegate.dev/v1"]
    {
        let answer = running.read(path).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (404, "Not Found"), "{path}");
    }
}

#[tokio::test]
async fn a_list_is_filtered_sorted_and_null_when_empty() {
    let running = start().await;
    for (query, names) in [
        ("", vec!["shop", "web"]),
        ("?name=web", vec!["web"]),
        ("?projects=default&projects=other", vec!["shop", "web"]),
        ("?project=other", vec![]),
        ("?selector=a%3Db", vec![]),
        ("?selector=a!%3Db&search=x&fields=items.metadata.name", vec!["shop", "web"]),
        ("?repo=https%3A%2F%2Fgit.example%2Fshop.git", vec!["shop", "web"]),
        ("?appNamespace=argocd", vec![]),
    ] {
        let document = running.read(&format!("/api/v1/applications{query}")).await.json();
        let items = document["items"].as_array().cloned();
        let found: Vec<String> =
            items.iter().flatten().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect();
        assert_eq!(found, names, "{query}");
        assert_eq!(items.is_none(), names.is_empty(), "{query}");
        assert_eq!(document["metadata"]["resourceVersion"], "1234");
    }
}

#[tokio::test]
async fn answers_follow_the_board() {
    let running = start().await;
    let path = "/api/v1/applications/shop";
    assert_eq!(running.read(path).await.json()["status"]["health"]["status"], "Healthy");
    running.board.send_replace(board(vec![held("shop")]));
    let document = running.read(path).await.json();
    assert_eq!(document["status"]["health"]["status"], "Degraded");
    assert_eq!(document["status"]["operationState"]["phase"], "Failed");
    assert_eq!(running.read("/api/v1/applications/web").await.status, StatusCode::NOT_FOUND);
    let rollout = running.read("/apis/tidegate.dev/v1/applications/shop/rollout").await.json();
    assert_eq!((&rollout["active"], &rollout["outcome"]), (&json!(false), &json!("Reverted")));
    let why = running.read("/apis/tidegate.dev/v1/applications/shop/why").await.json();
    assert_eq!((&why["ok"], &why["phase"]), (&json!(false), &json!("Held")));
    assert!(why["ageSeconds"].as_i64().is_some_and(|age| age >= 0));
    let list = running.read("/apis/tidegate.dev/v1/applications").await.json();
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1));
    running.board.send_replace(Board::default());
    let empty = running.read("/api/v1/applications").await.json();
    assert_eq!(empty, json!({"metadata": {}, "items": null}));
}

#[tokio::test]
async fn a_refresh_pokes_the_agent_and_never_waits_for_it() {
    let mut running = start().await;
    for query in ["", "?refresh="] {
        running.read(&format!("/api/v1/applications/shop{query}")).await;
        assert!(running.pokes.try_recv().is_err(), "{query}");
    }
    // The queue has one place: further hints are dropped, and answered all the same.
    for query in ["?refresh=normal", "?refresh=hard", "?refresh=true"] {
        let answer = running.read(&format!("/api/v1/applications/shop{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}");
    }
    assert_eq!(running.pokes.try_recv().ok(), Some(AppName::from("shop")));
    assert!(running.pokes.try_recv().is_err());
}

#[tokio::test]
async fn a_write_is_refused_with_where_it_belongs() {
    let running = start().await;
    let app = "/api/v1/applications/shop";
    let edit = "edit apps/shop/application.yaml in https://git.example/shop.git on branch main and push";
    for (method, path, words) in [
        (Method::POST, "/api/v1/applications".to_owned(), vec!["declared in Git", "add a file"]),
        (Method::PUT, app.to_owned(), vec![edit]),
        (Method::PATCH, app.to_owned(), vec![edit]),
        (Method::DELETE, app.to_owned(), vec![edit]),
        (Method::PUT, format!("{app}/spec"), vec![edit]),
        (Method::POST, format!("{app}/sync"), vec!["-n tidegate tidegate.dev/request=sync --overwrite`", edit]),
        (Method::POST, format!("{app}/rollback"), vec!["`tidegate rollback shop`", "request=rollback", edit]),
        (Method::DELETE, format!("{app}/operation"), vec!["`tidegate abort shop`", "request=abort", edit]),
        (Method::POST, format!("{app}/resource/actions/v2"), vec![edit]),
    ] {
        let answer = running.api(method.clone(), &path, &[BEARER, JSON_TYPE]).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (403, &json!(7)), "{method} {path}");
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        for word in words {
            assert!(message.contains(word), "{method} {path}: {message}");
        }
        let anonymous = running.api(method.clone(), &path, &[JSON_TYPE]).await;
        assert_eq!(anonymous.status, StatusCode::UNAUTHORIZED, "{method} {path}");
        for headers in [vec![BEARER], vec![BEARER, ("content-type", "text/plain")], vec![]] {
            let answer = running.api(method.clone(), &path, &headers).await;
            assert_eq!(
                (answer.status.as_u16(), answer.text.as_str()),
                (415, "Invalid content type"),
                "{method} {path}"
            );
        }
    }
    let absent = running.api(Method::DELETE, "/api/v1/applications/absent", &[BEARER, JSON_TYPE]).await;
    assert_eq!(absent.status, StatusCode::NOT_FOUND);
    let native = "/apis/tidegate.dev/v1/applications/shop/rollout";
    assert_eq!(running.api(Method::POST, native, &[BEARER, JSON_TYPE]).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn the_ops_port_tells_health_readiness_and_metrics_to_anybody() {
    let running = start().await;
    assert_eq!(running.ops("/healthz").await.status, StatusCode::OK);
    let (starting, fine) = (StatusCode::SERVICE_UNAVAILABLE, StatusCode::OK);
    let standing_by = Standing::StandingBy { leader: None };
    for (standing, expected) in
        [(Standing::Starting, starting), (standing_by, fine), (Standing::Leading, fine), (Standing::Starting, starting)]
    {
        running.standing.send_replace(standing);
        assert_eq!(running.ops("/readyz").await.status, expected);
    }
    let metrics = running.ops("/metrics").await;
    assert_eq!((metrics.status, metrics.content_type.as_str()), (StatusCode::OK, EXPOSITION_TYPE));
    assert!(metrics.text.contains(r#"tidegate_app_phase{application="web",phase="Measuring"} 1"#), "{}", metrics.text);
    assert!(metrics.text.ends_with("# EOF\n"));
    assert_eq!(running.ops("/api/v1/applications").await.status, StatusCode::NOT_FOUND, "the API is not on this port");
}

#[tokio::test]
async fn a_replica_that_does_not_lead_tells_no_application_and_names_who_does() {
    let running = start().await;
    for (standing, expected) in [
        (Standing::Starting, "not read yet"),
        (Standing::StandingBy { leader: None }, "no replica leads yet"),
        (Standing::StandingBy { leader: Some("tidegate-7".to_owned()) }, "tidegate-7 leads"),
    ] {
        running.standing.send_replace(standing);
        for path in ["/api/v1/applications", "/api/v1/applications/shop", "/apis/tidegate.dev/v1/applications"] {
            let answer = running.read(path).await;
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
            assert!(answer.json()["message"].as_str().unwrap().contains(expected), "{}", answer.text);
            assert_eq!(answer.retry_after.as_deref(), Some("1"));
        }
        let unknown = running.api(Method::GET, "/api/v1/applications", &[]).await;
        assert_eq!(unknown.status, StatusCode::UNAUTHORIZED, "who leads is for those who have the token");
        assert_eq!(running.read("/api/version").await.status, StatusCode::OK);
    }
    running.standing.send_replace(Standing::Leading);
    assert_eq!(running.read("/api/v1/applications/shop").await.status, StatusCode::OK);
}

async fn panics() -> &'static str {
    panic!("a bug, on purpose")
}

#[tokio::test]
async fn a_large_body_and_a_panic_stay_one_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = Router::new().route("/panic", get(panics)).route("/fine", get(|| async {}));
    let (_shutdown, stop) = watch::channel(false);
    let serving = tokio::spawn(connections::accept(listener, api::guarded(routes), stop));
    let large = "x".repeat(65 * 1024);
    for (path, body, status) in [("/panic", "", 500), ("/fine", large.as_str(), 413), ("/fine", "", 200)] {
        let answer = ask(&format!("http://{address}{path}"), Method::GET, &[], body).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        if status == 500 {
            assert_eq!(answer.json(), json!({"error": "internal error", "code": 13, "message": "internal error"}));
        }
    }
    serving.abort();
}

#[tokio::test]
async fn a_stopped_server_answers_what_is_under_way_and_accepts_no_more() {
    // Where no other test listens: a port that is free again may be another's at once.
    let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (arrived, mut arrival) = mpsc::channel::<()>(1);
    let (go, gone) = watch::channel(false);
    let slow = move || {
        let (arrived, mut gone) = (arrived.clone(), gone.clone());
        async move {
            arrived.send(()).await.unwrap();
            gone.wait_for(|goes| *goes).await.unwrap();
            "answered"
        }
    };
    let (shutdown, stop) = watch::channel(false);
    let serving = tokio::spawn(connections::accept(listener, Router::new().route("/slow", get(slow)), stop));
    let asking = tokio::spawn(async move { ask(&format!("http://{address}/slow"), Method::GET, &[], "").await });
    arrival.recv().await.unwrap();
    shutdown.send_replace(true);
    go.send_replace(true);
    assert_eq!(asking.await.unwrap().text, "answered");
    serving.await.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn both_listeners_end_with_the_word_to_stop() {
    // Where no other test listens: a port that is free again may be another's at once.
    let Running { server, shutdown, .. } = start_at("127.0.0.3:0").await;
    let addresses = [server.api_address, server.ops_address];
    assert!(addresses.iter().all(|address| address.port() != 0));
    drop(shutdown);
    tokio::time::timeout(Duration::from_secs(60), server.stopped()).await.expect("it stops");
    for address in addresses {
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error_with_its_purpose() {
    let running = start().await;
    let settings = Settings {
        api_address: "127.0.0.1:0".parse().unwrap(),
        ops_address: running.server.ops_address,
        token_file: running.token_file.clone(),
        webhook: None,
    };
    let (poke, _pokes) = mpsc::channel(1);
    let (board, standing) = (running.board.subscribe(), running.standing.subscribe());
    let sources = Sources { board, standing, resources: reader() };
    let failed =
        serve(settings, sources, Telemetry::new(), Requests::default, poke, running.shutdown.subscribe()).await;
    assert!(matches!(failed, Err(ServerError::Listen { purpose: "ops", .. })));
}

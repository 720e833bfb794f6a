//! Webhooks over loopback, byte by byte as hosts send them.

use std::net::SocketAddr;

use axum::Router;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::edge::server::{Reader, Server, Settings, Sources, connections, serve};
use crate::model::Reference;
use crate::status::Board;
use crate::telemetry::Requests;

const SECRET: &str = "It's a Secret to Everybody";
const URL: &str = "https://git.example/team/fleet";

/// A host that hears webhooks.
struct Running {
    api: SocketAddr,
    ops: Option<SocketAddr>,
    secrets: tempfile::TempDir,
    pokes: mpsc::Receiver<()>,
    other_pokes: mpsc::Receiver<Elsewhere>,
    standing: watch::Sender<Standing>,
    _shutdown: watch::Sender<bool>,
    _server: Option<Server>,
    _serving: Option<JoinHandle<()>>,
}

struct Answer {
    status: u16,
    head: String,
    text: String,
}

/// What is told of pushes: to the repository that declares, and to others.
type Pokes = (mpsc::Receiver<()>, mpsc::Receiver<Elsewhere>);

/// Another repository that applications use.
fn charts() -> Elsewhere {
    let repository = "git@git.example:team/charts.git".to_owned();
    Elsewhere { repository, revision: Reference::parse("~1.4").unwrap() }
}

fn webhook(branch: &str) -> (Webhook, tempfile::TempDir, Pokes) {
    let secrets = tempfile::tempdir().unwrap();
    for provider in Provider::ALL {
        std::fs::write(secrets.path().join(provider.name()), format!("{SECRET}\n")).unwrap();
    }
    std::fs::write(secrets.path().join("azuredevops"), "ada:a pass:word").unwrap();
    let (poke, pokes) = mpsc::channel(1);
    let reference = Reference::parse(branch).unwrap();
    let followed = vec![Followed { repository: format!("{URL}.git"), reference }];
    let others = watch::channel(BTreeSet::from([charts()])).1;
    let (poke_other, other_pokes) = mpsc::channel(1);
    let webhook = Webhook { secrets: secrets.path().to_owned(), followed, poke, others, poke_other };
    (webhook, secrets, (pokes, other_pokes))
}

/// The real server with both of its ports.
async fn start() -> Running {
    let (webhook, secrets, (pokes, other_pokes)) = webhook("refs/heads/main");
    let any = "127.0.0.1:0".parse().unwrap();
    let token_file = secrets.path().join("token");
    std::fs::write(&token_file, "token").unwrap();
    let settings = Settings { api_address: any, ops_address: any, token_file, webhook: Some(webhook) };
    let (standing, standing_seen) = watch::channel(Standing::Leading);
    let (_board, board) = watch::channel(Board::default());
    let (shutdown, stop) = watch::channel(false);
    let resources: Reader = Arc::new(|_| Box::pin(async { Ok(Value::Null) }));
    let sources = Sources { board, standing: standing_seen, resources };
    let (refresh, _refreshes) = mpsc::channel(1);
    let server = serve(settings, sources, Telemetry::new(), Requests::default, refresh, stop).await.unwrap();
    let (api, ops) = (server.api_address, Some(server.ops_address));
    Running {
        api,
        ops,
        secrets,
        pokes,
        other_pokes,
        standing,
        _shutdown: shutdown,
        _server: Some(server),
        _serving: None,
    }
}

/// The route alone, within limits of the test.
async fn start_within(limits: Limits) -> Running {
    let (webhook, secrets, (pokes, other_pokes)) = webhook("refs/heads/main");
    let (standing, standing_seen) = watch::channel(Standing::Leading);
    let (shutdown, stop) = watch::channel(false);
    let routes: Router = router(webhook, standing_seen, Telemetry::new(), limits);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = listener.local_addr().unwrap();
    let serving = tokio::spawn(connections::accept(listener, routes, stop));
    Running {
        api,
        ops: None,
        secrets,
        pokes,
        other_pokes,
        standing,
        _shutdown: shutdown,
        _server: None,
        _serving: Some(serving),
    }
}

/// Sends bytes piece by piece, and reads the answer.
async fn exchange(address: SocketAddr, pieces: &[&[u8]]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in pieces {
        stream.write_all(piece).await.unwrap();
        stream.flush().await.unwrap();
    }
    answer(stream).await
}

async fn answer(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_ascii_lowercase(), text: body.to_owned() }
}

/// The head of a request whose length is told.
fn head(method: &str, headers: &[(&str, String)], length: usize) -> String {
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!(
        "{method} /api/webhook HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\
         Content-Type: application/json; charset=utf-8\r\nContent-Length: {length}\r\n{lines}\r\n"
    )
}

impl Running {
    async fn post(&self, headers: &[(&str, String)], body: &[u8]) -> Answer {
        exchange(self.api, &[&[head("POST", headers, body.len()).as_bytes(), body].concat()]).await
    }

    /// Whether Git was to be looked at since the last question.
    fn is_poked(&mut self) -> bool {
        self.pokes.try_recv().is_ok()
    }

    async fn post_github(&self, event: &str, body: &[u8]) -> Answer {
        self.post(&github(event, body), body).await
    }
}

fn signature(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn github(event: &str, body: &[u8]) -> Vec<(&'static str, String)> {
    let signature = format!("sha256={}", signature(SECRET, body));
    vec![("X-GitHub-Event", event.to_owned()), ("X-Hub-Signature-256", signature)]
}

fn github_push(url: &str, reference: &str) -> Vec<u8> {
    let body = json!({"ref": reference, "before": "0", "commits": [{"id": "1", "url": URL}], "sender": {"id": 1},
        "repository": {"id": 1, "full_name": "team/fleet", "html_url": url, "clone_url": format!("{url}.git")}});
    serde_json::to_vec(&body).unwrap()
}

/// What a provider sends: its headers, the one that proves it and what that says, and the body.
struct Sent {
    provider: Provider,
    headers: Vec<(&'static str, String)>,
    proof: (&'static str, String),
    body: Vec<u8>,
}

/// A push to `main` of the followed repository, by every provider.
fn pushes() -> Vec<Sent> {
    let text = |text: &str| text.to_owned();
    let hub = github_push(URL, "refs/heads/main");
    let lab = json!({"object_kind": "push", "ref": "refs/heads/main", "project": {"id": 1, "web_url": URL,
        "git_ssh_url": "git@git.example:team/fleet.git", "git_http_url": format!("{URL}.git")}});
    let cloud = json!({"push": {"changes": [
        {"old": null, "new": {"type": "tag", "name": "v1"}},
        {"old": {"type": "branch", "name": "main"}, "new": {"type": "branch", "name": "main", "target": {}}}]},
        "repository": {"full_name": "team/fleet", "links": {"self": {"href": "x"}, "html": {"href": URL}}}});
    let server = json!({"eventKey": "repo:refs_changed",
        "repository": {"slug": "fleet", "links": {"self": [{"href": "https://git.example/projects/T/repos/fleet"}],
            "clone": [{"href": "ssh://git@git.example:7999/team/fleet.git", "name": "ssh"},
                {"href": "https://git.example/scm/team/fleet.git", "name": "http"}]}},
        "changes": [{"ref": {"id": "refs/heads/main", "type": "BRANCH"}, "refId": "refs/heads/main", "type": "UPDATE"}]});
    let azure = json!({"eventType": "git.push", "resource": {
        "refUpdates": [{"name": "refs/heads/main", "oldObjectId": "0"}],
        "repository": {"name": "fleet", "remoteUrl": URL, "defaultBranch": "refs/heads/main"}}});
    let [lab, cloud, server, azure] = [lab, cloud, server, azure].map(|body| serde_json::to_vec(&body).unwrap());
    let tagged = |body: &[u8]| format!("sha256={}", signature(SECRET, body));
    vec![
        Sent {
            provider: Provider::GitHub,
            headers: vec![("X-GitHub-Event", text("push")), ("X-Hub-Signature", text("sha1=00"))],
            proof: ("X-Hub-Signature-256", tagged(&hub)),
            body: hub.clone(),
        },
        Sent {
            provider: Provider::Gitea,
            // As Gitea does: it is a little of all of them.
            headers: ["X-GitHub-Event", "X-Gogs-Event", "X-Gitea-Event"].map(|name| (name, text("push"))).to_vec(),
            proof: ("X-Gitea-Signature", signature(SECRET, &hub)),
            body: hub.clone(),
        },
        Sent {
            provider: Provider::Gogs,
            headers: vec![("X-Gogs-Event", text("push"))],
            proof: ("X-Gogs-Signature", signature(SECRET, &hub)),
            body: hub,
        },
        Sent {
            provider: Provider::GitLab,
            headers: vec![("X-Gitlab-Event", text("Push Hook"))],
            proof: ("X-Gitlab-Token", text(SECRET)),
            body: lab,
        },
        Sent {
            provider: Provider::Bitbucket,
            headers: vec![("X-Hook-UUID", text("1-2-3")), ("X-Event-Key", text("repo:push"))],
            proof: ("X-Hub-Signature", tagged(&cloud)),
            body: cloud,
        },
        Sent {
            provider: Provider::BitbucketServer,
            headers: vec![("X-Event-Key", text("repo:refs_changed"))],
            proof: ("X-Hub-Signature", tagged(&server)),
            body: server,
        },
        Sent {
            provider: Provider::AzureDevOps,
            headers: vec![("X-Vss-Activityid", text("1-2-3"))],
            proof: ("Authorization", text("Basic YWRhOmEgcGFzczp3b3Jk")),
            body: azure,
        },
    ]
}

#[tokio::test]
async fn every_provider_is_heard_when_it_proves_itself_and_only_then() {
    let mut running = start().await;
    let sent = pushes();
    assert_eq!(sent.len(), Provider::ALL.len());
    for Sent { provider, headers, proof, body } in sent {
        let with = |value: String| [headers.clone(), vec![(proof.0, value)]].concat();
        let answer = running.post(&with(proof.1.clone()), &body).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, ""), "{provider:?}");
        assert!(running.is_poked(), "{provider:?}");

        let mut changed = proof.1.clone();
        let last = if changed.pop() == Some('0') { '1' } else { '0' };
        changed.push(last);
        for wrong in [changed, String::new(), "sha256=".to_owned(), "Basic ?".to_owned(), "0".repeat(64)] {
            let answer = running.post(&with(wrong.clone()), &body).await;
            let expected = "Webhook processing failed: the signature or secret is wrong";
            assert_eq!(answer.status, 400, "{provider:?} {wrong}");
            let is_nothing = answer.text.ends_with("it is not signed, or shows no secret");
            assert!(answer.text == expected || is_nothing, "{provider:?} {wrong}: {}", answer.text);
        }
        let unproved = running.post(&headers, &body).await;
        assert_eq!(unproved.status, 400, "{provider:?}");
        assert!(unproved.text.starts_with("Webhook processing failed: "), "{}", unproved.text);

        let file = running.secrets.path().join(provider.name());
        for replacement in [Some("another"), Some("\n"), None] {
            match replacement {
                Some(text) => std::fs::write(&file, text).unwrap(),
                None => std::fs::remove_file(&file).unwrap(),
            }
            let answer = running.post(&with(proof.1.clone()), &body).await;
            assert_eq!(answer.status, 400, "{provider:?} {replacement:?}");
        }
        assert!(!running.is_poked(), "{provider:?}");
    }
}

#[tokio::test]
async fn the_signature_that_github_documents_is_right() {
    let mut running = start().await;
    let documented = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    for (event, body, status, text) in [
        ("ping", "Hello, World!", 200, ""),
        ("ping", "Hello, World?", 400, "Webhook processing failed: the signature or secret is wrong"),
        (
            "push",
            "Hello, World!",
            400,
            "Webhook processing failed: the body is not what this provider sends as application/json",
        ),
    ] {
        let headers = [("X-GitHub-Event", event.to_owned()), ("X-Hub-Signature-256", documented.to_owned())];
        let answer = running.post(&headers, body.as_bytes()).await;
        assert_eq!((answer.status, answer.text.as_str()), (status, text), "{event} {body}");
    }
    assert!(!running.is_poked());
}

#[tokio::test]
async fn a_push_to_another_repository_is_told_of_that_one_alone() {
    let mut running = start().await;
    let url = "https://git.example/team/charts";
    for (reference, expected) in [("refs/tags/v1.4.2", Some(charts())), ("refs/heads/main", None)] {
        let answer = running.post_github("push", &github_push(url, reference)).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, ""), "{reference}");
        assert_eq!(running.other_pokes.try_recv().ok(), expected, "{reference}");
        assert!(!running.is_poked(), "{reference}");
    }
    running.post_github("push", &github_push(URL, "refs/heads/main")).await;
    assert!(running.is_poked() && running.other_pokes.try_recv().is_err());
}

#[tokio::test]
async fn a_weak_signature_is_refused_by_name() {
    let mut running = start().await;
    let body = github_push(URL, "refs/heads/main");
    for headers in [
        vec![("X-GitHub-Event", "push"), ("X-Hub-Signature", "sha1=7d38cdd689735b008b3c702edd92eea23791c5f6")],
        vec![("X-GitHub-Event", "push"), ("X-Hub-Signature-256", "sha1=7d38cdd689735b008b3c702edd92eea23791c5f6")],
        vec![
            ("X-Event-Key", "repo:refs_changed"),
            ("X-Hub-Signature", "sha1=7d38cdd689735b008b3c702edd92eea23791c5f6"),
        ],
    ] {
        let headers: Vec<_> = headers.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
        let answer = running.post(&headers, &body).await;
        assert_eq!((answer.status, answer.text.contains("SHA-1")), (400, true), "{headers:?} {}", answer.text);
    }
    assert!(!running.is_poked());
}

#[tokio::test]
async fn a_body_in_pieces_is_signed_as_a_whole() {
    let mut running = start().await;
    let body = github_push(URL, "refs/heads/main");
    let headers = github("push", &body);
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!(
        "POST /api/webhook HTTP/1.1\r\nHost: agent\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n{lines}\r\n"
    );
    for size in [1, 7, 100, body.len()] {
        let chunks: Vec<Vec<u8>> = body
            .chunks(size)
            .map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat())
            .collect();
        let mut pieces = vec![head.as_bytes()];
        pieces.extend(chunks.iter().map(Vec::as_slice));
        pieces.push(b"0\r\n\r\n");
        assert_eq!(exchange(running.api, &pieces).await.status, 200, "{size}");
        assert!(running.is_poked(), "{size}");
    }
}

#[tokio::test]
async fn a_push_that_matters_to_nobody_is_taken_and_pokes_nobody() {
    let mut running = start().await;
    let check = |answer: Answer, what: &str| assert_eq!((answer.status, answer.text.as_str()), (200, ""), "{what}");
    for (url, reference) in [
        ("https://git.example/team/other", "refs/heads/main"),
        ("https://evil.example/team/fleet", "refs/heads/main"),
        (URL, "refs/heads/other"),
        (URL, "refs/tags/main"),
        (URL, "main"),
    ] {
        let body = github_push(url, reference);
        check(running.post_github("push", &body).await, &format!("{url} {reference}"));
        assert!(!running.is_poked(), "{url} {reference}");
    }
    let push = github_push(URL, "refs/heads/main");
    for event in ["ping", "issues", "package", "Push"] {
        check(running.post_github(event, &push).await, event);
        assert!(!running.is_poked(), "{event}");
    }
    for body in ["{}", r#"{"ref": null, "repository": null}"#, r#"{"ref": "refs/heads/main"}"#] {
        check(running.post_github("push", body.as_bytes()).await, body);
        assert!(!running.is_poked(), "{body}");
    }
    // Bitbucket Server tests its connection without a signature.
    check(running.post(&[("X-Event-Key", "diagnostics:ping".to_owned())], b"{\"test\": true}").await, "diagnostics");
    assert!(!running.is_poked());
    check(running.post_github("push", &push).await, "the followed branch");
    assert!(running.is_poked());
}

#[tokio::test]
async fn branches_and_tags_that_come_and_go_are_pushes() {
    let mut running = start().await;
    for (event, name, kind, is_poked) in [
        ("create", "main", "branch", true),
        ("delete", "main", "branch", true),
        ("create", "main", "tag", false),
        ("create", "other", "branch", false),
    ] {
        let body = json!({"ref": name, "ref_type": kind, "repository": {"html_url": URL}}).to_string();
        assert_eq!(running.post_github(event, body.as_bytes()).await.status, 200, "{event} {name} {kind}");
        assert_eq!(running.is_poked(), is_poked, "{event} {name} {kind}");
    }
    let change = |old: Value, new: Value| json!({"push": {"changes": [{"old": old, "new": new}]}, "repository": {"links": {"html": {"href": URL}}}});
    let main = json!({"type": "branch", "name": "main"});
    for (body, is_poked) in [
        (change(main.clone(), Value::Null), true),
        (change(Value::Null, main), true),
        (change(Value::Null, json!({"type": "annotated_tag", "name": "main"})), false),
    ] {
        let body = body.to_string();
        let headers = [
            ("X-Hook-UUID", "1".to_owned()),
            ("X-Event-Key", "repo:push".to_owned()),
            ("X-Hub-Signature", format!("sha256={}", signature(SECRET, body.as_bytes()))),
        ];
        assert_eq!(running.post(&headers, body.as_bytes()).await.status, 200, "{body}");
        assert_eq!(running.is_poked(), is_poked, "{body}");
    }
}

#[tokio::test]
async fn what_a_signed_body_may_hold_ends_in_an_answer() {
    let mut running = start().await;
    let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
    let skipped = format!(
        r#"{{"x": {open}{close}, "ref": "refs/heads/main", "repository": {{"y": {open}{close}, "html_url": "{URL}"}}}}"#
    );
    assert_eq!(running.post_github("push", skipped.as_bytes()).await.status, 200);
    assert!(running.is_poked());
    let deep = format!(r#"{{"repository": {open}{close}}}"#);
    let twice = r#"{"ref": "refs/heads/main", "ref": "refs/heads/main"}"#.to_owned();
    for body in [open, deep, twice, "null".to_owned(), "[]x".to_owned(), r#"{"ref": 1}"#.to_owned(), String::new()] {
        let answer = running.post_github("push", body.as_bytes()).await;
        assert_eq!(answer.status, 400, "{body:.40}");
        assert!(answer.text.ends_with("application/json") && !answer.text.contains("ref"), "{}", answer.text);
    }
    assert!(!running.is_poked());
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_by_its_word_or_by_its_bytes() {
    let body = github_push(URL, "refs/heads/main");
    let mut running = start_within(Limits { body_bytes_max: body.len(), ..Limits::USUAL }).await;
    assert_eq!(running.post_github("push", &body).await.status, 200, "just as much as may be");
    assert!(running.is_poked());

    let longer = [body.as_slice(), b" "].concat();
    let headers = github("push", &longer);
    let told = exchange(running.api, &[head("POST", &headers, longer.len()).as_bytes()]).await;
    let expected = (413, "Webhook processing failed: the body is too large");
    assert_eq!((told.status, told.text.as_str()), expected);
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let chunked = format!(
        "POST /api/webhook HTTP/1.1\r\nHost: agent\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n{lines}\r\n\
         {:x}\r\n",
        longer.len()
    );
    let shown = exchange(running.api, &[chunked.as_bytes(), &longer]).await;
    assert_eq!((shown.status, shown.text.as_str()), expected);
    assert!(!running.is_poked());

    // The limit of the shipped server, told.
    let running = start().await;
    let megabytes = exchange(running.api, &[head("POST", &github("push", b""), 25 * 1024 * 1024 + 1).as_bytes()]).await;
    assert_eq!(megabytes.status, 413);
}

#[tokio::test]
async fn a_body_of_many_megabytes_is_read() {
    let mut running = start().await;
    let filler = "x".repeat(8 * 1024 * 1024);
    let body = json!({"commits": [filler], "ref": "refs/heads/main", "repository": {"html_url": URL}})
        .to_string()
        .into_bytes();
    assert_eq!(running.post_github("push", &body).await.status, 200);
    assert!(running.is_poked());
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let mut running = start_within(Limits { read_timeout: Duration::from_millis(50), ..Limits::USUAL }).await;
    let body = github_push(URL, "refs/heads/main");
    let head = head("POST", &github("push", &body), body.len());
    let (half, _) = body.split_at(body.len() / 2);
    let answer = exchange(running.api, &[head.as_bytes(), half]).await;
    let expected = (408, "Webhook processing failed: the body did not come in time");
    assert_eq!((answer.status, answer.text.as_str()), expected);
    assert!(!running.is_poked());
}

#[tokio::test]
async fn only_so_many_bodies_are_read_at_once() {
    let mut running = start_within(Limits { read_timeout: Duration::from_secs(600), ..Limits::USUAL }).await;
    let body = github_push(URL, "refs/heads/main");
    let head = head("POST", &github("push", &body), body.len());
    let mut slow = Vec::new();
    for _ in 0..Limits::USUAL.bodies_max {
        let mut stream = TcpStream::connect(running.api).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    // Until all of them have their place.
    let mut refused = running.post_github("push", &body).await;
    while refused.status == 200 {
        refused = running.post_github("push", &body).await;
    }
    assert_eq!((refused.status, refused.head.contains("retry-after: 10")), (503, true), "{}", refused.head);
    let unsigned = running.post(&[("X-GitHub-Event", "push".to_owned())], &body).await;
    assert_eq!(unsigned.status, 400, "who cannot be meant takes no place and needs none");
    for mut stream in slow {
        stream.write_all(&body).await.unwrap();
        assert_eq!(answer(stream).await.status, 200, "who had a place keeps it");
    }
    while running.is_poked() {}
    assert_eq!(running.post_github("push", &body).await.status, 200, "places are given back");
    assert!(running.is_poked());
}

#[tokio::test]
async fn who_stands_by_sends_the_host_away_to_try_again() {
    let mut running = start().await;
    let body = github_push(URL, "refs/heads/main");
    for standing in [Standing::Starting, Standing::StandingBy { leader: Some("tidegate-7".to_owned()) }] {
        running.standing.send_replace(standing);
        let answer = running.post_github("push", &body).await;
        assert_eq!((answer.status, answer.head.contains("retry-after: 1")), (503, true), "{}", answer.head);
        assert!(!answer.text.contains("tidegate-7"), "who leads is for those who have the token");
        assert!(!running.is_poked());
    }
    running.standing.send_replace(Standing::Leading);
    // The queue has one place: a second poke is dropped, and answered all the same.
    for _ in 0..2 {
        assert_eq!(running.post_github("push", &body).await.status, 200);
    }
    assert!(running.is_poked() && !running.is_poked());
}

#[tokio::test]
async fn other_methods_and_unknown_senders_are_told_so_and_counted() {
    let running = start().await;
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let answer = exchange(running.api, &[head(method, &[], 0).as_bytes()]).await;
        assert_eq!((answer.status, answer.text.as_str()), (405, "Method Not Allowed"), "{method}");
    }
    for headers in [vec![], vec![("X-Hub-Signature-256", "sha256=00".to_owned())]] {
        let answer = running.post(&headers, b"{}").await;
        assert_eq!((answer.status, answer.text.as_str()), (400, "Unknown webhook event"), "{headers:?}");
    }
    running.post_github("push", &github_push(URL, "refs/heads/main")).await;
    running.post_github("ping", b"{}").await;
    let scrape = b"GET /metrics HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n";
    let metrics = exchange(running.ops.unwrap(), &[scrape]).await.text;
    for line in [
        r#"tidegate_webhooks_total{provider="unknown",outcome="refused"} 2"#,
        r#"tidegate_webhooks_total{provider="github",outcome="poked"} 1"#,
        r#"tidegate_webhooks_total{provider="github",outcome="passed_over"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} is missing:\n{metrics}");
    }
}

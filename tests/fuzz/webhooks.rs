//! Bodies of webhooks, proved as their hosts prove them -> the real server, over the loopback.
//!
//! What must hold: every body gets an answer, and it is 200 or a refusal with 400; a panic would be a 500.
#![no_main]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use sha2::Sha256;
use tempfile::TempDir;
use tidegate::edge::server::{Followed, Reader, Server, Settings, Sources, Webhook, serve};
use tidegate::model::{AppName, Reference};
use tidegate::status::{Board, Standing};
use tidegate::telemetry::{Requests, Telemetry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

const SECRET: &[u8] = b"It's a Secret to Everybody";

struct Scene {
    runtime: tokio::runtime::Runtime,
    line: Option<TcpStream>,
    server: Server,
    pokes: mpsc::Receiver<()>,
    _refreshes: mpsc::Receiver<AppName>,
    _standing: watch::Sender<Standing>,
    _board: watch::Sender<Board>,
    _shutdown: watch::Sender<bool>,
    _folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        for provider in ["gitea", "gogs", "github", "gitlab", "bitbucket", "bitbucketserver"] {
            std::fs::write(folder.path().join(provider), SECRET).expect("a secret can be written");
        }
        std::fs::write(folder.path().join("azuredevops"), "ada:pass").expect("a secret can be written");
        std::fs::write(folder.path().join("token"), "token").expect("a token can be written");
        let (poke, pokes) = mpsc::channel(1);
        let reference = Reference::parse("refs/heads/main").expect("it is a branch");
        let followed = vec![Followed { repository: "https://git.example/team/fleet.git".to_owned(), reference }];
        let (_others, others) = watch::channel(BTreeSet::new());
        let (poke_other, _) = mpsc::channel(1);
        let webhook = Webhook { secrets: folder.path().to_owned(), followed, poke, others, poke_other };
        let any = "127.0.0.1:0".parse().expect("it is an address");
        let token_file = folder.path().join("token");
        let settings = Settings { api_address: any, ops_address: any, token_file, webhook: Some(webhook) };
        let (standing, standing_seen) = watch::channel(Standing::Leading);
        let (board_sender, board) = watch::channel(Board::default());
        let (shutdown, stop) = watch::channel(false);
        let resources: Reader = Arc::new(|_| Box::pin(async { Ok(Value::Null) }));
        let sources = Sources { board, standing: standing_seen, resources };
        let (refresh, refreshes) = mpsc::channel(1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        let serving = serve(settings, sources, Telemetry::new(), Requests::default, refresh, stop);
        let server = runtime.block_on(serving).expect("it listens");
        Self {
            runtime,
            line: None,
            server,
            pokes,
            _refreshes: refreshes,
            _standing: standing,
            _board: board_sender,
            _shutdown: shutdown,
            _folder: folder,
        }
    }
}

thread_local! {
    static SCENE: RefCell<Scene> = RefCell::new(Scene::new());
}

fuzz_target!(|data: &[u8]| {
    let Some((provider, body)) = data.split_first() else { return };
    SCENE.with_borrow_mut(|scene| {
        let line = scene.line.take();
        let address = scene.server.api_address;
        let (status, line) = scene.runtime.block_on(async {
            // A line that was kept may have been closed in the meantime, as any server does.
            if let Some(mut line) = line
                && let Some(status) = ask(&mut line, *provider, body).await
            {
                return (Some(status), line);
            }
            let mut line = TcpStream::connect(address).await.expect("it listens");
            (ask(&mut line, *provider, body).await, line)
        });
        assert!(matches!(status, Some(200 | 400)), "{status:?}");
        scene.line = Some(line);
        let _ = scene.pokes.try_recv();
    });
});

/// The head that a provider sends, for this body.
fn head(provider: u8, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET).expect("HMAC takes keys of any length");
    mac.update(body);
    let signature: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    match provider % 7 {
        0 => format!("X-GitHub-Event: push\r\nX-Hub-Signature-256: sha256={signature}\r\n"),
        1 => "X-Gitlab-Event: Push Hook\r\nX-Gitlab-Token: It's a Secret to Everybody\r\n".to_owned(),
        2 => format!("X-Gitea-Event: push\r\nX-Gitea-Signature: {signature}\r\n"),
        3 => format!("X-Gogs-Event: create\r\nX-Gogs-Signature: {signature}\r\n"),
        4 => format!("X-Hook-UUID: 1\r\nX-Event-Key: repo:push\r\nX-Hub-Signature: sha256={signature}\r\n"),
        5 => format!("X-Event-Key: repo:refs_changed\r\nX-Hub-Signature: sha256={signature}\r\n"),
        _ => "X-Vss-Activityid: 1\r\nAuthorization: Basic YWRhOnBhc3M=\r\n".to_owned(),
    }
}

/// Sends one request and reads the answer's status.
async fn ask(line: &mut TcpStream, provider: u8, body: &[u8]) -> Option<u16> {
    let head = head(provider, body);
    let length = body.len();
    let mut request =
        format!("POST /api/webhook HTTP/1.1\r\nHost: a\r\n{head}Content-Length: {length}\r\n\r\n").into_bytes();
    request.extend_from_slice(body);
    line.write_all(&request).await.ok()?;
    let mut answer = Vec::new();
    loop {
        let mut part = [0; 1024];
        let count = line.read(&mut part).await.ok().filter(|count| *count > 0)?;
        answer.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, rest)) = text.split_once("\r\n\r\n") else { continue };
        let lengths =
            head.lines().filter_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let length: usize = lengths.last().unwrap_or(0);
        if rest.len() >= length {
            return head.split(' ').nth(1)?.parse().ok();
        }
    }
}

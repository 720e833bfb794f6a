//! Servers that lie: what is no answer of Git, what never ends, what comes too slowly. Each is an error in bounded time and
//! room that says what is wrong, and what was known stays.

use std::time::Duration;

use super::authority::{Authority, Door};
use super::server::{Manner, Server};
use super::{Fixture, GitSettings, GitSource, IMPATIENT, LIMITS, Limits, blob, files, moved};
use crate::world::SourceError;

/// One packet.
fn packet(text: &str) -> String {
    format!("{:04x}{text}", text.len() + 4)
}

const ID: &str = "0123456789012345678901234567890123456789";

/// A list of one branch that never ends.
fn endless_list() -> Manner {
    let line = packet(&format!("{ID} refs/heads/main-{}\n", "x".repeat(1000)));
    Manner::Endless { head: String::new(), part: line.repeat(60).into_bytes() }
}

fn said(text: &str) -> Manner {
    Manner::Say { kind: "application/x-git-upload-pack-result", body: text.as_bytes().to_vec() }
}

#[tokio::test]
async fn each_lie_of_a_server_has_its_outcome_in_bounded_time_and_room() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture.path("served"));
    let limits = Limits { exchange: Duration::from_secs(3), received_bytes_max: 64 << 20, ..IMPATIENT };
    let source = GitSource::open_with(fixture.settings(&server.url()), limits).unwrap();
    let good = loop {
        // A machine under load may be slower than these limits allow.
        match source.poll(None, None).await {
            Err(SourceError::Unreachable(_)) => {}
            polled => break moved(polled),
        }
    };
    let known = good.revision.commit.clone();
    let html = "<!doctype html><title>Sign in</title>".to_owned();
    let no_git = "not that of a Git server";
    let cases: Vec<(&str, Manner, &str)> = vec![
        ("a web page", Manner::Say { kind: "text/html", body: html.clone().into_bytes() }, no_git),
        ("a web page that says to be Git", said(&html), no_git),
        ("nothing", said(""), no_git),
        ("a list that ends early", said(&packet(&format!("{ID} refs/heads/main\n"))), no_git),
        ("packets of impossible length", said("0003"), no_git),
        ("a packet longer than the answer", said("fff0abc"), no_git),
        ("a ref with an id that is none", said(&format!("{}0000", packet("xyz refs/heads/main\n"))), no_git),
        (
            "a ref with an id of zeros",
            said(&format!("{}0000", packet(&format!("{} refs/heads/main\n", "0".repeat(40))))),
            "",
        ),
        ("a branch that it does not have", said(&format!("{}0000", packet(&format!("{ID} refs/heads/main\n")))), ""),
        ("a list without end", endless_list(), "the list of refs has more than 1048576 bytes"),
        (
            "an answer without end",
            Manner::Endless { head: String::new(), part: vec![b'x'; 65_536] },
            "the list of refs has more than 1048576 bytes",
        ),
        (
            "a head without end",
            Manner::Endless { head: "HTTP/1.1 200 OK\r\nX-Long: ".to_owned(), part: vec![b'x'; 65_536] },
            "too large",
        ),
        ("one byte at a time", Manner::Trickle, "did not answer in time"),
        ("an answer that is cut", Manner::Cut, "end of file"),
        ("no HTTP", Manner::Endless { head: "SSH-2.0-OpenSSH_9.2\r\n".to_owned(), part: Vec::new() }, "parse"),
    ];
    let mut wrong = Vec::new();
    for (name, manner, words) in cases {
        server.behave(manner);
        let polled = source.poll(Some(&known), Some(&known)).await;
        match &polled {
            Err(error) if error.to_string().contains(words) => {}
            polled => wrong.push(format!("{name}: {polled:?}")),
        }
        let read = source.read(&[blob(&good.files["readme"])]).await;
        assert_eq!(read, Ok(vec![b"hello\n".to_vec()]), "{name}: what was known cannot be read");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    server.behave(Manner::Serve);
    fixture.write("readme", "mended\n");
    fixture.commit("mended");
    let mended = loop {
        match source.poll(Some(&known), Some(&known)).await {
            Err(SourceError::Unreachable(_)) => {}
            polled => break moved(polled),
        }
    };
    assert_eq!(files(&mended), fixture.listed());
}

#[tokio::test]
async fn a_pack_without_end_is_not_received_without_end() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture.path("served"));
    let limits = Limits { received_bytes_max: 4 << 20, ..LIMITS };
    let source = GitSource::open_with(fixture.settings(&server.url()), limits).unwrap();
    server.behave(Manner::EndlessPack);
    let error = source.poll(None, None).await.unwrap_err();
    assert!(matches!(&error, SourceError::TooLarge(text) if text.contains("4194304 bytes")), "{error}");
    server.behave(Manner::Serve);
    assert_eq!(files(&moved(source.poll(None, None).await)), fixture.listed());
}

/// A pack of these objects alone.
fn pack(fixture: &Fixture, ids: &str) -> Vec<u8> {
    let folder = fixture.path("served/repository.git");
    let script = format!("printf '{ids}' | git pack-objects -q --stdout");
    let output = std::process::Command::new("sh").current_dir(folder).args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

#[tokio::test]
async fn a_pack_that_lacks_what_was_asked_for_is_never_used() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture.path("served"));
    let source = fixture.open(&server);
    let mut known: Option<String> = None;
    // Once as a clone, once as a fetch into one.
    for round in 0..2 {
        let id = |name: &str| fixture.git(&["rev-parse", name]).trim().to_owned();
        let (head, tree) = (id("HEAD"), id("HEAD^{tree}"));
        for (what, ids) in [
            ("nothing", String::new()),
            ("a commit alone", format!("{head}\n")),
            ("a commit and its tree", format!("{head}\n{tree}\n")),
            ("all but the commit", format!("{tree}\n")),
        ] {
            server.behave(Manner::Pack(pack(&fixture, &ids)));
            let error = source.poll(known.as_deref(), known.as_deref()).await.unwrap_err();
            let is_expected = matches!(error, SourceError::Unreachable(_) | SourceError::Corrupt(_));
            assert!(is_expected, "{round}: {what}: {error}");
        }
        server.behave(Manner::Serve);
        let snapshot = moved(source.poll(known.as_deref(), known.as_deref()).await);
        assert_eq!(files(&snapshot), fixture.listed());
        let blobs: Vec<_> = snapshot.files.values().map(blob).collect();
        assert_eq!(source.read(&blobs).await.unwrap().len(), blobs.len());
        known = Some(snapshot.revision.commit);
        fixture.write("readme", "next\n");
        fixture.commit("next");
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_or_by_nobody_is_not_trusted() {
    for (door, words) in [(Door::Elsewhere, "not valid for name"), (Door::Alone, "invalid peer certificate")] {
        let (fixture, authority) = (Fixture::new(), Authority::new());
        let address = "127.0.0.1:0".parse().unwrap();
        let server = Server::listen(&fixture.path("served"), address, Some(authority.server(door)));
        let mut settings: GitSettings = fixture.settings(&server.url());
        std::fs::write(fixture.path("authority.pem"), authority.pem()).unwrap();
        settings.access.ca_file = Some(fixture.path("authority.pem"));
        let error = GitSource::open(settings).unwrap().poll(None, None).await.unwrap_err();
        assert!(matches!(&error, SourceError::Unreachable(text) if text.contains(words)), "{error}");
    }
}

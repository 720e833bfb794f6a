//! A repository behind HTTP.

use super::server::{Manner, Server};
use super::{Fixture, GitSettings, GitSource, IMPATIENT, LIMITS, Limits, blob, files, git, moved};
use crate::world::{Ancestry, BLOB_BYTES_MAX, Polled, SourceError};

const LS_REFS: &str = "POST /repository.git/git-upload-pack";
const ADVERTISEMENT: &str = "GET /repository.git/info/refs?service=git-upload-pack";

#[tokio::test]
async fn the_first_poll_clones_the_head_and_blobs_are_read_from_it() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture.path("served"));
    let source = fixture.open(&server);
    let snapshot = moved(source.poll(None, None).await);
    assert_eq!(snapshot.revision.commit, fixture.git(&["rev-parse", "HEAD"]).trim());
    assert_eq!(files(&snapshot), fixture.listed());
    assert_eq!(snapshot.changed, None);
    assert_eq!(snapshot.ancestry, Ancestry::First);
    assert_eq!((snapshot.subject.as_str(), snapshot.author.as_str()), ("first", "Ada Lovelace"));
    assert_eq!(snapshot.authored_at, "2026-01-02T03:04:05Z".parse().unwrap());
    let contents = source.read(&[blob(&snapshot.files["readme"]), blob(&snapshot.files["app/web.yaml"])]).await;
    assert_eq!(contents.unwrap(), [b"hello\n".to_vec(), b"version: 1\n".to_vec()]);
}

#[tokio::test]
async fn a_poll_without_change_is_one_request() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture.path("served"));
    let source = fixture.open(&server);
    let commit = moved(source.poll(None, None).await).revision.commit;
    let before = source.requests();
    server.take_log();
    assert_eq!(source.poll(Some(&commit), Some(&commit)).await, Ok(Polled::Unchanged));
    assert_eq!(server.take_log(), [LS_REFS]);
    assert_eq!(source.requests(), before + 1);
    // The caller started anew, the clone is still there.
    let snapshot = moved(source.poll(None, Some(&commit)).await);
    assert_eq!(snapshot.ancestry, Ancestry::Descends);
    assert_eq!(server.take_log(), [LS_REFS]);
}

#[tokio::test]
async fn a_bump_says_what_changed_and_descends_without_more_history() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture.path("served"));
    let source = fixture.open(&server);
    let first = moved(source.poll(None, None).await).revision.commit;
    fixture.write("app/web.yaml", "version: 2\n");
    fixture.write("app/new/deep.yaml", "a: 1\n");
    fixture.git(&["mv", "readme", "renamed"]);
    let second = fixture.commit("bump\n\nwith a body");
    server.take_log();
    let snapshot = moved(source.poll(Some(&first), Some(&first)).await);
    assert_eq!(snapshot.revision.commit, second);
    assert_eq!(snapshot.subject, "bump");
    assert_eq!(snapshot.ancestry, Ancestry::Descends);
    assert_eq!(files(&snapshot), fixture.listed());
    let told = fixture.git(&["diff", "--name-only", "--no-renames", &first, &second]);
    assert_eq!(snapshot.changed.unwrap(), told.lines().collect::<Vec<_>>());
    // What the server can do is known from the first poll: it is asked where the branch is, and for what is missing.
    assert_eq!(server.take_log(), [LS_REFS; 2]);
}

#[tokio::test]
async fn a_server_that_failed_is_asked_anew_what_it_can_do() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture.path("served"));
    let source = fixture.open(&server);
    let first = moved(source.poll(None, None).await).revision.commit;
    let second = fixture.commit("second");
    server.behave(Manner::SpoilPack { at_percent: 50, is_cut: true });
    assert!(source.poll(Some(&first), Some(&first)).await.is_err());
    server.behave(Manner::Serve);
    server.take_log();
    assert_eq!(moved(source.poll(Some(&first), Some(&first)).await).revision.commit, second);
    assert_eq!(server.take_log()[..2], [LS_REFS, ADVERTISEMENT]);
    let third = fixture.commit("third");
    assert_eq!(moved(source.poll(Some(&second), Some(&second)).await).revision.commit, third);
    assert!(!server.take_log().iter().any(|line| line == ADVERTISEMENT));
}

#[tokio::test]
async fn ancestry_is_proven_by_deepening_and_denied_when_history_was_rewritten() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture.path("served"));
    let source = fixture.open(&server);
    let first = moved(source.poll(None, None).await).revision.commit;
    for number in 0..70 {
        fixture.git(&["commit", "-q", "--allow-empty", "-m", &format!("commit {number}")]);
    }
    let far = fixture.push();
    let snapshot = moved(source.poll(Some(&first), Some(&first)).await);
    assert_eq!((snapshot.revision.commit.as_str(), snapshot.ancestry), (far.as_str(), Ancestry::Descends));

    fixture.git(&["reset", "-q", "--hard", "HEAD~3"]);
    let rewritten = fixture.commit("instead");
    let snapshot = moved(source.poll(Some(&far), Some(&far)).await);
    assert_eq!((snapshot.revision.commit.as_str(), snapshot.ancestry), (rewritten.as_str(), Ancestry::Diverged));
    assert_eq!(source.poll(Some(&rewritten), Some(&far)).await, Ok(Polled::Unchanged));

    // Back to a commit that is already here: rewritten history as well, and nothing is fetched.
    fixture.git(&["reset", "-q", "--hard", &far]);
    fixture.push();
    server.take_log();
    let snapshot = moved(source.poll(Some(&rewritten), Some(&rewritten)).await);
    assert_eq!((snapshot.revision.commit.as_str(), snapshot.ancestry), (far.as_str(), Ancestry::Diverged));
    assert_eq!(files(&snapshot), fixture.listed());
}

#[tokio::test]
async fn a_new_clone_proves_ancestry_too() {
    let fixture = Fixture::new();
    let first = fixture.git(&["rev-parse", "HEAD"]).trim().to_owned();
    for number in 0..5 {
        fixture.commit(&format!("commit {number}"));
    }
    let server = Server::start(&fixture.path("served"));
    let source = fixture.open(&server);
    assert_eq!(moved(source.poll(None, Some(&first)).await).ancestry, Ancestry::Descends);
    let unknown = "0123456789012345678901234567890123456789";
    assert_eq!(moved(source.poll(None, Some(unknown)).await).ancestry, Ancestry::Diverged);
}

#[tokio::test]
async fn missing_things_are_told_apart() {
    let fixture = Fixture::empty();
    let server = Server::start(&fixture.path("served"));
    let source = fixture.open(&server);
    for manner in [Manner::Serve, Manner::Old] {
        server.behave(manner);
        let empty = SourceError::NoRepository("it has no commits, and no branch `main`".to_owned());
        assert_eq!(source.poll(None, None).await, Err(empty));
    }
    fixture.write("readme", "hello\n");
    let commit = fixture.commit("first");
    moved(source.poll(None, None).await);

    fixture.git(&["push", "-q", "origin", "main:mainly", "main:main2"]);
    git(&fixture.path("served/repository.git"), &["update-ref", "-d", "refs/heads/main"]);
    for manner in [Manner::Serve, Manner::Old] {
        server.behave(manner);
        assert_eq!(
            source.poll(Some(&commit), None).await,
            Err(SourceError::NoReference("branch `main` does not exist in the repository".to_owned()))
        );
    }

    server.behave(Manner::Serve);
    std::fs::rename(fixture.path("served/repository.git"), fixture.path("served/elsewhere.git")).unwrap();
    assert!(matches!(source.poll(Some(&commit), None).await, Err(SourceError::NoRepository(_))));
}

#[tokio::test]
async fn a_server_that_is_down_is_found_again() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture.path("served"));
    let (address, source) = (server.address, fixture.open(&server));
    let commit = moved(source.poll(None, None).await).revision.commit;
    drop(server);
    let mut polled = source.poll(Some(&commit), None).await;
    // The listener's thread may still close; it serves at most what it has accepted.
    while polled == Ok(Polled::Unchanged) {
        polled = source.poll(Some(&commit), None).await;
    }
    assert!(matches!(polled, Err(SourceError::Unreachable(_))), "{polled:?}");
    let _server = Server::listen(&fixture.path("served"), address, None);
    assert_eq!(source.poll(Some(&commit), None).await, Ok(Polled::Unchanged));
}

#[tokio::test]
async fn credentials_are_read_at_every_poll_and_never_shown() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture.path("served"));
    server.require("Basic YWRhOnNlY3JldA==");
    let mut settings = fixture.settings(&server.url());
    let anonymous = GitSource::open(GitSettings { store: fixture.path("other"), ..settings.clone() }).unwrap();
    assert_eq!(anonymous.poll(None, None).await, Err(SourceError::Unauthorized));
    settings.access.credentials = Some(fixture.path("credentials"));
    let source = GitSource::open(settings).unwrap();
    std::fs::write(fixture.path("credentials/username"), "ada\n").unwrap();
    let half = source.poll(None, None).await.unwrap_err().to_string();
    assert!(half.contains("has neither") && !half.contains("ada"), "{half}");
    std::fs::write(fixture.path("credentials/password"), "wrong\n").unwrap();
    assert_eq!(source.poll(None, None).await, Err(SourceError::Unauthorized));
    std::fs::write(fixture.path("credentials/password"), "secret\n").unwrap();
    moved(source.poll(None, None).await);
    server.require("Bearer t0ken");
    assert_eq!(source.poll(None, None).await, Err(SourceError::Unauthorized));
    std::fs::write(fixture.path("credentials/token"), "t0ken\n").unwrap();
    moved(source.poll(None, None).await);
    assert!(!format!("{source:?}").contains("t0ken"));
}

#[tokio::test]
async fn refusals_have_their_own_errors() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture.path("served"));
    let source = fixture.open(&server);
    let busy = |retry_after_seconds| Err(SourceError::Busy { retry_after_seconds });
    for (manner, expected) in [
        (Manner::Refuse(403, ""), Err(SourceError::Unauthorized)),
        (Manner::Refuse(429, "Retry-After: 7\r\n"), busy(7)),
        (Manner::Refuse(429, ""), busy(60)),
        (Manner::Refuse(503, "Retry-After: 9\r\n"), busy(9)),
    ] {
        server.behave(manner);
        assert_eq!(source.poll(None, None).await, expected);
    }
    for (manner, part) in [
        (Manner::Refuse(503, ""), "503"),
        (Manner::Refuse(500, ""), "500"),
        (Manner::Redirect("/", "http://elsewhere.example/?secret=".to_owned()), "elsewhere.example"),
        (Manner::Redirect("/", "/".to_owned()), "redirects too often"),
    ] {
        server.behave(manner);
        let error = source.poll(None, None).await.unwrap_err();
        assert!(matches!(&error, SourceError::Unreachable(text) if text.contains(part)), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn a_redirect_on_the_same_server_is_followed() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture.path("served"));
    server.behave(Manner::Redirect("/old", "/repository.git".to_owned()));
    let url = server.url().replace("/repository.git", "/old");
    let source = GitSource::open(fixture.settings(&url)).unwrap();
    assert_eq!(files(&moved(source.poll(None, None).await)), fixture.listed());
}

#[tokio::test]
async fn a_server_without_protocol_v2_is_polled_in_its_own_way() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture.path("served"));
    server.behave(Manner::Old);
    let source = fixture.open(&server);
    let commit = moved(source.poll(None, None).await).revision.commit;
    server.take_log();
    assert_eq!(source.poll(Some(&commit), None).await, Ok(Polled::Unchanged));
    assert_eq!(server.take_log(), [ADVERTISEMENT]);
}

#[tokio::test]
async fn a_silent_server_is_unreachable_in_bounded_time() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture.path("served"));
    let source = GitSource::open_with(fixture.settings(&server.url()), IMPATIENT).unwrap();
    for manner in [Manner::Stall, Manner::StallInPack] {
        server.behave(manner);
        let error = source.poll(None, None).await.unwrap_err();
        assert!(matches!(&error, SourceError::Unreachable(text) if text.contains("in time")), "{error}");
    }
    // The caller's own deadline comes first when the server is merely slow.
    let hasty = Limits { answer: std::time::Duration::from_millis(50), ..IMPATIENT };
    let other = GitSource::open_with(fixture.settings(&server.url().replace("localhost", "127.0.0.1")), hasty).unwrap();
    assert!(matches!(other.poll(None, None).await, Err(SourceError::Unreachable(_))));
    server.behave(Manner::Serve);
    // A machine under load may be slower than these limits allow.
    let snapshot = loop {
        match source.poll(None, None).await {
            Err(SourceError::Unreachable(_)) => {}
            polled => break moved(polled),
        }
    };
    assert_eq!(files(&snapshot), fixture.listed());
}

#[tokio::test]
async fn what_a_server_sends_is_bounded() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture.path("served"));
    let limits = Limits { received_bytes_max: 600, ..LIMITS };
    let source = GitSource::open_with(fixture.settings(&server.url()), limits).unwrap();
    assert!(matches!(source.poll(None, None).await, Err(SourceError::TooLarge(_))));
}

#[tokio::test]
async fn blobs_are_bounded() {
    let fixture = Fixture::new();
    fixture.write("large", &"x".repeat(BLOB_BYTES_MAX + 1));
    fixture.write("largest", &"x".repeat(BLOB_BYTES_MAX));
    fixture.commit("large");
    let server = Server::start(&fixture.path("served"));
    let source = fixture.open(&server);
    let snapshot = moved(source.poll(None, None).await);
    assert_eq!(source.read(&[blob(&snapshot.files["largest"])]).await.unwrap()[0].len(), BLOB_BYTES_MAX);
    let large = blob(&snapshot.files["large"]);
    let error = source.read(std::slice::from_ref(&large)).await.unwrap_err();
    assert!(matches!(&error, SourceError::TooLarge(text) if text.contains(&large.0)), "{error}");
}

#[tokio::test]
async fn a_poll_of_many_refs_stays_small() {
    let fixture = Fixture::new();
    let head = fixture.git(&["rev-parse", "HEAD"]).trim().to_owned();
    let lines: String = (0..20_000).map(|number| format!("{head} refs/heads/topic-{number}\n")).collect();
    let packed = fixture.path("served/repository.git/packed-refs");
    std::fs::write(packed, format!("# pack-refs with: sorted\n{lines}")).unwrap();
    let server = Server::start(&fixture.path("served"));
    let source = fixture.open(&server);
    let commit = moved(source.poll(None, None).await).revision.commit;
    server.take_sent_bytes();
    assert_eq!(source.poll(Some(&commit), None).await, Ok(Polled::Unchanged));
    let bytes = server.take_sent_bytes();
    assert!((1..200).contains(&bytes), "{bytes} bytes");
}

#[tokio::test]
async fn a_pack_that_is_cut_or_changed_on_its_way_is_never_used() {
    let fixture = Fixture::new();
    let noise = |round: u32| {
        let word =
            |number: u32| (number ^ round << 20).wrapping_mul(2_654_435_761).rotate_left(7).wrapping_mul(0x9e37_79b1);
        let bytes: Vec<u8> = (0..20_000).flat_map(|number| word(number).to_le_bytes()).collect();
        std::fs::write(fixture.path("work/noise"), bytes).unwrap();
        fixture.commit("noise");
    };
    noise(0);
    let server = Server::start(&fixture.path("served"));
    let mut last: Option<String> = None;
    let source = fixture.open(&server);
    for round in 0..2 {
        for (at_percent, is_cut) in [(1, true), (50, true), (99, true), (50, false), (99, false)] {
            server.behave(Manner::SpoilPack { at_percent, is_cut });
            let error = source.poll(last.as_deref(), None).await.unwrap_err();
            let is_expected = matches!(error, SourceError::Unreachable(_) | SourceError::Corrupt(_));
            assert!(is_expected, "{round} {at_percent} {is_cut}: {error}");
        }
        server.behave(Manner::Serve);
        let snapshot = moved(source.poll(last.as_deref(), None).await);
        assert_eq!(files(&snapshot), fixture.listed());
        let blobs: Vec<_> = snapshot.files.values().map(blob).collect();
        assert_eq!(source.read(&blobs).await.unwrap().len(), blobs.len());
        last = Some(snapshot.revision.commit);
        // And once more as a fetch into a clone that is there.
        noise(round + 1);
    }
}

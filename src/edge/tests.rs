//! The edges together, over a loopback API server.

use std::collections::BTreeMap;

use super::*;
use crate::config::GitAccess;
use crate::edge::script::{Answer, Script};
use crate::model::{GroupKind, Reference};

/// A Git edge that nobody asks.
fn git() -> GitSource {
    let folder = std::env::temp_dir().join("tidegate-no-repository");
    let repository = folder.to_string_lossy().into_owned();
    let reference = Reference::Branch("main".to_owned());
    GitSource::open(GitSettings { repository, reference, access: GitAccess::default(), store: folder }).unwrap()
}

async fn open(script: &Script) -> Outside {
    install_tls_provider();
    let mut settings = kube::Config::new(script.base_url.parse().unwrap());
    settings.accept_invalid_certs = true;
    let cluster = Cluster::connect(settings, 1).unwrap();
    Outside::compose(
        cluster,
        git(),
        Providers::new(BTreeMap::new()),
        super::renderer::Renderer::new(None, std::path::Path::new("/nowhere")),
    )
    .unwrap()
}

#[tokio::test]
async fn the_agent_wakes_at_once_when_it_is_late_and_for_a_poke() {
    let outside = open(&Script::serve(Vec::new()).await).await;
    assert_eq!(outside.next_event(outside.now()).await, Event::Woke);
    assert_eq!(outside.next_event(Timestamp::MIN).await, Event::Woke);
    let poke = outside.poke();
    poke.try_send(()).unwrap();
    assert!(poke.try_send(()).is_err(), "one poke that waits is enough");
    assert_eq!(outside.next_event(Timestamp::MAX).await, Event::SourceHint);
}

#[tokio::test]
async fn the_end_of_a_watch_wakes_the_agent() {
    let script = Script::serve(vec![Answer::text(503, "")]).await;
    let outside = open(&script).await;
    let scope = Scope { kind: GroupKind::new("", "Pod"), version: "v1".to_owned(), namespace: None };
    outside.watch(&scope, "1");
    let error = Some(ApiError::Server("HTTP status 503".to_owned()));
    assert_eq!(outside.next_event(Timestamp::MAX).await, Event::WatchEnded { scope, error });
}

#[tokio::test]
async fn removing_what_is_not_shown_wakes_no_reader() {
    let outside = open(&Script::serve(Vec::new()).await).await;
    let board = outside.board();
    outside.show(&AppName::from("shop"), None);
    assert!(!board.has_changed().unwrap());
    assert!(board.borrow().is_empty());
}

//! Several repositories at once: each by itself, only those that are listed, and none longer than it is used.

use std::collections::BTreeSet;

use super::*;
use crate::config::{AgentArgs, load};
use crate::edge::git::{Others, OthersSettings};
use crate::model::Elsewhere;
use crate::world::Ancestry;

/// Settings that list what starts with a URL.
fn settings(fixture: &Fixture, listed: &str) -> OthersSettings {
    let file = fixture.path("settings.yaml");
    std::fs::write(&file, format!("repositories: [{{url: '{listed}'}}]\n")).unwrap();
    let arguments = AgentArgs {
        config: Some(file),
        repository: Some("https://git.example/fleet".to_owned()),
        ..AgentArgs::default()
    };
    OthersSettings { rules: load(&arguments).unwrap().git, store: fixture.path("store") }
}

fn at(url: &str, revision: Reference) -> Elsewhere {
    Elsewhere { repository: url.to_owned(), revision }
}

/// The folders of clones that are there.
fn clones(fixture: &Fixture) -> usize {
    std::fs::read_dir(fixture.path("store/others")).map_or(0, Iterator::count)
}

#[tokio::test]
async fn the_default_branch_is_followed_wherever_it_leads() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture.path("served"));
    let source = GitSource::open(GitSettings { reference: Reference::Default, ..fixture.settings(&server.url()) });
    let source = source.unwrap();
    let first = moved(source.poll(None, None).await);
    assert_eq!((first.revision.branch.as_str(), files(&first)), ("main", fixture.listed()));
    let known = first.revision.commit;
    assert_eq!(source.poll(Some(&known), Some(&known)).await, Ok(Polled::Unchanged));

    // Renamed: the same history goes on under another name.
    fixture.write("app/web.yaml", "version: 2\n");
    fixture.git(&["commit", "-qam", "second"]);
    fixture.git(&["push", "-q", "origin", "HEAD:refs/heads/trunk"]);
    git(&fixture.path("served/repository.git"), &["symbolic-ref", "HEAD", "refs/heads/trunk"]);
    let second = moved(source.poll(Some(&known), Some(&known)).await);
    assert_eq!((second.revision.branch.as_str(), second.ancestry), ("trunk", Ancestry::Descends));

    git(&fixture.path("served/repository.git"), &["symbolic-ref", "HEAD", "refs/heads/nowhere"]);
    let known = second.revision.commit;
    let error = source.poll(Some(&known), Some(&known)).await.unwrap_err();
    assert!(matches!(error, SourceError::NoReference(_)), "{error}");
}

#[tokio::test]
async fn only_what_is_listed_is_asked_and_what_nobody_uses_any_more_goes() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture.path("served"));
    let own = fixture.open(&server);
    let url = server.url();
    let others = Others::new(Some(settings(&fixture, &url)));
    // The very repository and reference that declares, and one more: none is in the way of another.
    let [one, two] = [at(&url, Reference::Branch("main".to_owned())), at(&url, Reference::Default)];
    let foreign = at("http://127.0.0.1:1/secret", Reference::Default);
    others.follow(&BTreeSet::from([one.clone(), two.clone(), foreign.clone()]), &own);
    let head = moved(own.poll(None, None).await).revision.commit;
    for other in [&one, &two] {
        let snapshot = moved(others.poll(other, None, None).await);
        assert_eq!(snapshot.revision.commit, head);
        let blobs: Vec<BlobId> = snapshot.files.values().map(blob).collect();
        assert_eq!(others.read(other, &blobs).await.unwrap().len(), blobs.len());
    }
    let refused = others.poll(&foreign, None, None).await.unwrap_err().to_string();
    assert!(refused.contains("do not list it") && refused.contains("`repositories`"), "{refused}");
    assert_eq!(clones(&fixture), 2);

    others.follow(&BTreeSet::from([two.clone()]), &own);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while clones(&fixture) > 1 {
        assert!(tokio::time::Instant::now() < deadline, "the clone of what nobody uses stays");
        tokio::task::yield_now().await;
    }
    assert!(others.poll(&one, None, None).await.is_err());
    assert_eq!(others.poll(&two, Some(&head), None).await, Ok(Polled::Unchanged));
    assert_eq!(own.poll(Some(&head), None).await, Ok(Polled::Unchanged));
}

//! A repository in a folder.

use super::{Fixture, GitSource, files, moved};
use crate::world::{Ancestry, Polled, SourceError};

#[tokio::test]
async fn a_local_repository_is_read_in_place_and_hints_at_commits() {
    let fixture = Fixture::new();
    let work = fixture.path("work");
    for repository in [work.to_str().unwrap().to_owned(), format!("file://{}", work.display())] {
        let source = GitSource::open(fixture.settings(&repository)).unwrap();
        let first = moved(source.poll(None, None).await);
        assert_eq!((first.ancestry, files(&first)), (Ancestry::First, fixture.listed()));
        let known = first.revision.commit;
        assert_eq!(source.poll(Some(&known), None).await, Ok(Polled::Unchanged));

        fixture.write("app/web.yaml", &format!("version: {known}\n"));
        fixture.commit("bump");
        source.hinted().await;
        // The hint may come before the branch itself is written; those that follow end the loop.
        let second = loop {
            match source.poll(Some(&known), Some(&known)).await {
                Ok(Polled::Unchanged) => source.hinted().await,
                polled => break moved(polled),
            }
        };
        assert_eq!((second.ancestry, files(&second)), (Ancestry::Descends, fixture.listed()));
        assert_eq!(second.changed.unwrap(), ["app/web.yaml"]);
        let blobs: Vec<_> = second.files.values().map(super::blob).collect();
        assert_eq!(source.read(&blobs).await.unwrap().len(), 2);
        assert_eq!(source.requests(), 0);
    }
    assert!(std::fs::read_dir(fixture.path("store")).unwrap().next().is_none(), "nothing is cloned");
}

#[tokio::test]
async fn missing_local_things_are_told_apart_and_found_once_there() {
    let fixture = Fixture::empty();
    let missing = GitSource::open(fixture.settings(fixture.path("later").to_str().unwrap())).unwrap();
    assert!(matches!(missing.poll(None, None).await, Err(SourceError::NoRepository(_))));
    let source = GitSource::open(fixture.settings(fixture.path("work").to_str().unwrap())).unwrap();
    assert_eq!(
        source.poll(None, None).await,
        Err(SourceError::NoRepository("it has no commits, and no branch `main`".to_owned()))
    );
    fixture.git(&["checkout", "-q", "-b", "other"]);
    fixture.git(&["commit", "-q", "--allow-empty", "-m", "elsewhere"]);
    assert_eq!(
        source.poll(None, None).await,
        Err(SourceError::NoReference(
            "branch `main` does not exist in the repository; its default branch is `other`".to_owned()
        ))
    );
    fixture.git(&["branch", "main"]);
    let first = moved(source.poll(None, None).await);

    std::fs::rename(fixture.path("work"), fixture.path("later")).unwrap();
    assert_eq!(moved(missing.poll(None, None).await).revision, first.revision);
    std::process::Command::new("git")
        .current_dir(fixture.path("later"))
        .args(["update-ref", "-d", "refs/heads/main"])
        .status()
        .unwrap();
    missing.hinted().await;
    assert_eq!(
        missing.poll(None, None).await,
        Err(SourceError::NoReference(
            "branch `main` does not exist in the repository; its default branch is `other`".to_owned()
        ))
    );
}

#[tokio::test]
async fn rewritten_local_history_has_diverged() {
    let fixture = Fixture::new();
    let source = GitSource::open(fixture.settings(fixture.path("work").to_str().unwrap())).unwrap();
    let first = moved(source.poll(None, None).await).revision.commit;
    fixture.git(&["commit", "-q", "--amend", "-m", "instead"]);
    assert_eq!(moved(source.poll(Some(&first), Some(&first)).await).ancestry, Ancestry::Diverged);
}

#[tokio::test]
async fn a_repository_of_another_user_is_refused_with_what_to_do() {
    let fixture = Fixture::new();
    for folder in ["work", "work/.git"] {
        if std::os::unix::fs::chown(fixture.path(folder), Some(4242), None).is_err() {
            // Only root can give a folder away.
            return;
        }
    }
    let source = GitSource::open(fixture.settings(fixture.path("work").to_str().unwrap())).unwrap();
    let error = source.poll(None, None).await.unwrap_err();
    assert!(error.to_string().contains("safe.directory"), "{error}");
}

#[tokio::test]
async fn what_people_wrote_is_shown_on_one_line() {
    let fixture = Fixture::new();
    fixture.git(&["commit", "-q", "--allow-empty", "-m", &format!("red \u{1b}[31m{}\nbody", "x".repeat(1000))]);
    let source = GitSource::open(fixture.settings(fixture.path("work").to_str().unwrap())).unwrap();
    let snapshot = moved(source.poll(None, None).await);
    assert!(snapshot.subject.starts_with("red [31mxx"), "{}", snapshot.subject);
    assert_eq!(snapshot.subject.len(), 200);
}

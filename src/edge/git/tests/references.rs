//! Branches, tags, commits and ranges of versions, and what becomes of each when the repository changes under it.

use super::server::{Manner, Server};
use super::{Fixture, GitSettings, GitSource, files, git, moved};
use crate::model::Reference;
use crate::world::{Ancestry, Polled, SourceError};

const LS_REFS: &str = "POST /repository.git/git-upload-pack";

impl Fixture {
    /// Tags the head, annotated when there is a message, and pushes the tag by force.
    fn tag(&self, name: &str, message: &str) {
        match message {
            "" => self.git(&["tag", "-f", name]),
            message => self.git(&["tag", "-f", "-a", "-m", message, name]),
        };
        self.git(&["push", "-q", "-f", "origin", &format!("refs/tags/{name}")]);
    }

    pub(super) fn open_at(&self, repository: &str, reference: &str) -> GitSource {
        let reference = Reference::parse(reference).unwrap();
        // Nothing of one is left to another.
        let store = tempfile::tempdir_in(self.path("store")).unwrap().keep();
        GitSource::open(GitSettings { reference, store, ..self.settings(repository) }).unwrap()
    }

    /// Where the repository is found: behind a server that speaks v2 (true) or not, and as a folder.
    pub(super) fn places(&self, server: &Server) -> [(String, bool); 3] {
        let folder = self.path("served/repository.git").to_str().unwrap().to_owned();
        [(server.url(), true), (server.url(), false), (folder, true)]
    }
}

fn reason(polled: Result<Polled, SourceError>) -> String {
    match polled {
        Err(SourceError::NoReference(text)) => text,
        other => panic!("{other:?} instead of a missing reference"),
    }
}

#[tokio::test]
async fn a_tag_is_followed_to_its_commit_whichever_way_it_moves() {
    let fixture = Fixture::new();
    let first = fixture.git(&["rev-parse", "HEAD"]).trim().to_owned();
    let server = Server::start(&fixture.path("served"));
    for (place, is_v2) in fixture.places(&server) {
        server.behave(if is_v2 { Manner::Serve } else { Manner::Old });
        fixture.git(&["checkout", "-q", "--detach", &first]);
        fixture.tag("live", "");
        let source = fixture.open_at(&place, "refs/tags/live");
        let snapshot = moved(source.poll(None, None).await);
        assert_eq!((&snapshot.revision.commit, snapshot.ancestry), (&first, Ancestry::First), "{place}");
        assert_eq!(snapshot.revision.branch, "refs/tags/live");
        assert_eq!(source.poll(Some(&first), Some(&first)).await, Ok(Polled::Unchanged));

        // Forward, and annotated: the commit counts, not the tag's own object.
        fixture.write("app/web.yaml", "version: 2\n");
        fixture.git(&["commit", "-q", "-a", "-m", "second"]);
        let second = fixture.git(&["rev-parse", "HEAD"]).trim().to_owned();
        fixture.tag("live", "release");
        let snapshot = moved(source.poll(Some(&first), Some(&first)).await);
        assert_eq!((&snapshot.revision.commit, snapshot.ancestry), (&second, Ancestry::Named), "{place}");
        assert_eq!(snapshot.changed.as_deref(), Some(["app/web.yaml".to_owned()].as_slice()));
        assert_eq!(files(&snapshot), fixture.listed());
        assert_eq!(source.poll(Some(&second), Some(&second)).await, Ok(Polled::Unchanged), "{place}");

        // And back: who moves a tag means it, so that this is no rewritten history.
        fixture.git(&["checkout", "-q", "--detach", &first]);
        fixture.tag("live", "");
        let snapshot = moved(source.poll(Some(&second), Some(&second)).await);
        assert_eq!((&snapshot.revision.commit, snapshot.ancestry), (&first, Ancestry::Named), "{place}");
        assert_eq!(files(&snapshot), fixture.listed());

        fixture.git(&["push", "-q", "origin", ":refs/tags/live"]);
        assert_eq!(reason(source.poll(Some(&first), None).await), "tag `live` does not exist in the repository");
        // A branch of that name is no tag.
        fixture.git(&["push", "-q", "origin", "HEAD:refs/heads/live"]);
        assert_eq!(reason(source.poll(Some(&first), None).await), "tag `live` does not exist in the repository");
        fixture.git(&["push", "-q", "origin", ":refs/heads/live"]);
    }
}

#[tokio::test]
async fn a_tag_that_leads_to_no_commit_says_so() {
    let fixture = Fixture::new();
    let blob = fixture.git(&["rev-parse", "HEAD:readme"]).trim().to_owned();
    fixture.git(&["tag", "file", &blob]);
    fixture.git(&["push", "-q", "origin", "refs/tags/file"]);
    let server = Server::start(&fixture.path("served"));
    let source = fixture.open_at(&server.url(), "refs/tags/file");
    assert!(reason(source.poll(None, None).await).contains("does not lead to a commit"));
}

#[tokio::test]
async fn the_newest_version_in_a_range_is_followed() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture.path("served"));
    for (number, (place, is_v2)) in fixture.places(&server).into_iter().enumerate() {
        server.behave(if is_v2 { Manner::Serve } else { Manner::Old });
        let tag = |version: &str| format!("p{number}/v{version}");
        let source = fixture.open_at(&place, &format!("p{number}/~1.4"));
        let missing = reason(source.poll(None, None).await);
        assert!(missing.contains("no tag fits") && missing.contains("none is a version"), "{missing}");
        fixture.tag(&tag("1.3.9"), "");
        let missing = reason(source.poll(None, None).await);
        assert!(missing.contains("v1.3.9"), "{missing}");

        let release = |version: &str, message: &str| {
            fixture.write("app/web.yaml", &format!("version: {number} {version}\n"));
            let commit = fixture.commit(version);
            fixture.tag(&tag(version), message);
            commit
        };
        let first = release("1.4.2", "annotated");
        let snapshot = moved(source.poll(None, None).await);
        assert_eq!(snapshot.revision.commit, first);
        assert_eq!(snapshot.revision.branch, format!("p{number}/~1.4 (p{number}/v1.4.2)"));
        // Neither a prerelease nor another minor version nor a tag that is none.
        for other in ["1.4.3-rc.1", "1.5.0", "1.4.9x"] {
            release(other, "");
        }
        assert_eq!(source.poll(Some(&first), Some(&first)).await, Ok(Polled::Unchanged), "{place}");
        let second = release("1.4.10", "");
        let snapshot = moved(source.poll(Some(&first), Some(&first)).await);
        assert_eq!((&snapshot.revision.commit, snapshot.ancestry), (&second, Ancestry::Named));
        assert_eq!(files(&snapshot), fixture.listed());
        // A version that is taken back is gone: the one before it is the newest again.
        fixture.git(&["push", "-q", "origin", &format!(":refs/tags/{}", tag("1.4.10"))]);
        let snapshot = moved(source.poll(Some(&second), Some(&second)).await);
        assert_eq!((&snapshot.revision.commit, snapshot.ancestry), (&first, Ancestry::Named));
    }
}

#[tokio::test]
async fn a_commit_is_fetched_by_its_id_once_and_then_asked_for_no_more() {
    let fixture = Fixture::new();
    let first = fixture.git(&["rev-parse", "HEAD"]).trim().to_owned();
    fixture.write("app/web.yaml", "version: 2\n");
    let second = fixture.commit("second");
    let server = Server::start(&fixture.path("served"));
    for (place, _) in fixture.places(&server) {
        let source = fixture.open_at(&place, &first);
        if place == server.url() {
            let text = reason(source.poll(None, None).await);
            assert!(text.contains(&first) && text.contains("uploadpack.allowAnySHA1InWant"), "{text}");
            git(&fixture.path("served/repository.git"), &["config", "uploadpack.allowAnySHA1InWant", "true"]);
        }
        let snapshot = moved(source.poll(None, Some(&second)).await);
        assert_eq!((&snapshot.revision.commit, snapshot.ancestry), (&first, Ancestry::Named), "{place}");
        assert_eq!(snapshot.revision.branch, first);
        fixture.git(&["checkout", "-q", "--detach", &first]);
        assert_eq!(files(&snapshot), fixture.listed());
        server.take_log();
        assert_eq!(source.poll(Some(&first), Some(&first)).await, Ok(Polled::Unchanged));
        assert_eq!(moved(source.poll(None, None).await).revision.commit, first);
        assert!(server.take_log().is_empty(), "{place}");

        let nowhere = "0123456789012345678901234567890123456789";
        let text = reason(fixture.open_at(&place, nowhere).poll(None, None).await);
        assert!(text.contains(nowhere) && text.contains("not in the repository"), "{text}");
        git(&fixture.path("served/repository.git"), &["config", "uploadpack.allowAnySHA1InWant", "false"]);
    }
}

#[tokio::test]
async fn a_branch_that_is_gone_names_the_default_branch() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture.path("served"));
    let served = fixture.path("served/repository.git");
    let sources = fixture.places(&server).map(|(place, is_v2)| (fixture.open_at(&place, "refs/heads/main"), is_v2));
    for (source, is_v2) in &sources {
        server.behave(if *is_v2 { Manner::Serve } else { Manner::Old });
        moved(source.poll(None, None).await);
    }
    git(&served, &["branch", "-m", "main", "trunk"]);
    git(&served, &["symbolic-ref", "HEAD", "refs/heads/trunk"]);
    for (source, is_v2) in &sources {
        server.behave(if *is_v2 { Manner::Serve } else { Manner::Old });
        let expected = "branch `main` does not exist in the repository; its default branch is `trunk`";
        assert_eq!(reason(source.poll(None, None).await), expected, "v2: {is_v2}");
    }
    // Renamed back, it goes on as if nothing had been.
    git(&served, &["branch", "-m", "trunk", "main"]);
    server.behave(Manner::Serve);
    let first = fixture.git(&["rev-parse", "HEAD"]).trim().to_owned();
    assert_eq!(sources[0].0.poll(Some(&first), Some(&first)).await, Ok(Polled::Unchanged));
}

#[tokio::test]
async fn a_repository_that_is_made_anew_has_another_history() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture.path("served"));
    for (number, (place, is_v2)) in fixture.places(&server).into_iter().enumerate() {
        server.behave(if is_v2 { Manner::Serve } else { Manner::Old });
        let source = fixture.open_at(&place, "refs/heads/main");
        let old = moved(source.poll(None, None).await).revision.commit;
        std::fs::remove_dir_all(fixture.path("served/repository.git")).unwrap();
        assert!(matches!(source.poll(Some(&old), Some(&old)).await, Err(SourceError::NoRepository(_))), "{place}");
        git(&fixture.path("served"), &["init", "-q", "--bare", "-b", "main", "repository.git"]);
        assert!(matches!(source.poll(Some(&old), Some(&old)).await, Err(SourceError::NoRepository(_))), "{place}");
        fixture.git(&["checkout", "-q", "--orphan", &format!("again-{number}")]);
        fixture.git(&["branch", "-q", "-f", "-D", "main"]);
        fixture.git(&["branch", "-q", "-m", "main"]);
        fixture.write("again", &format!("{number}\n"));
        let new = fixture.commit("again");
        let snapshot = moved(source.poll(Some(&old), Some(&old)).await);
        assert_eq!((&snapshot.revision.commit, snapshot.ancestry), (&new, Ancestry::Diverged), "{place}");
        assert_eq!(files(&snapshot), fixture.listed());
    }
}

#[tokio::test]
async fn several_references_of_one_repository_share_a_store_folder() {
    let fixture = Fixture::new();
    fixture.tag("v1.0.0", "");
    let server = Server::start(&fixture.path("served"));
    let mut sources = Vec::new();
    for reference in ["refs/heads/main", "refs/tags/v1.0.0", "^1"] {
        let reference = Reference::parse(reference).unwrap();
        let source = GitSource::open(GitSettings { reference, ..fixture.settings(&server.url()) }).unwrap();
        moved(source.poll(None, None).await);
        sources.push(source);
    }
    server.take_log();
    let head = fixture.git(&["rev-parse", "HEAD"]).trim().to_owned();
    for source in &sources {
        assert_eq!(source.poll(Some(&head), None).await, Ok(Polled::Unchanged));
    }
    assert_eq!(server.take_log(), [LS_REFS; 3]);
}

//! The clone on disk: kept small, taken up after a restart, made anew when it is broken, removed when nobody uses it.

use super::server::Server;
use super::{Fixture, GitSettings, GitSource, blob, files, moved};
use crate::edge::git::store::PACKS_MAX;
use crate::edge::git::sweep;
use crate::model::Reference;
use crate::world::{Ancestry, Polled, Snapshot};

/// Polls until the source before it, whose thread ends on its own time, lets go of the store.
async fn moved_once_alone(source: &GitSource, known: Option<&str>) -> Snapshot {
    loop {
        match source.poll(known, known).await {
            Err(error) if error.to_string().contains("another agent") => {}
            polled => return moved(polled),
        }
    }
}

#[tokio::test]
async fn the_number_of_packs_is_bounded() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture.path("served"));
    let source = fixture.open(&server);
    let mut last = moved(source.poll(None, None).await);
    let (mut clones, mut bases) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    let mut packs = || {
        let folder = source.current.borrow().clone().unwrap();
        let names = std::fs::read_dir(folder.join("objects/pack")).unwrap().flatten();
        bases.insert(std::fs::read_to_string(folder.join("base")).ok());
        clones.insert(folder);
        names.filter(|name| name.path().extension().is_some_and(|extension| extension == "pack")).count()
    };
    let mut text = 1_u64;
    for number in 0..8 * PACKS_MAX {
        fixture.write("app/web.yaml", &format!("version: {number}\n"));
        if number % 8 == 0 && number > 3 * PACKS_MAX {
            // What nobody can compress outweighs the pack of the first clone in the end.
            let mut next = || {
                text = text.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                format!("{text:x}\n")
            };
            let more: String = (0..100).map(|_| next()).collect();
            fixture.write(&format!("other/{number}/more"), &more);
        }
        fixture.commit(&format!("bump {number}"));
        let commit = last.revision.commit.clone();
        last = moved(source.poll(Some(&commit), Some(&commit)).await);
        assert_eq!(last.ancestry, Ancestry::Descends);
        assert!(last.changed.as_deref().unwrap().contains(&"app/web.yaml".to_owned()));
        let packs = packs();
        assert!(packs <= 2 * PACKS_MAX + 1, "{packs} packs");
    }
    // Each answer comes after what was done behind the one before.
    let commit = last.revision.commit.clone();
    for _ in 0..2 {
        assert!(matches!(source.poll(Some(&commit), Some(&commit)).await, Ok(Polled::Unchanged)));
    }
    let (quiet, clones) = (packs(), clones.len());
    assert!(quiet <= PACKS_MAX, "{quiet} packs after a quiet moment");
    let kept = bases.iter().flatten().count();
    assert!((2..clones).contains(&kept), "{clones} clones shared {kept} packs: {bases:?}");
    assert_eq!(files(&last), fixture.listed());
    let unchanged: Vec<_> = last.files.values().map(blob).collect();
    assert_eq!(source.read(&unchanged).await.unwrap().len(), unchanged.len());
    // Rewritten history is still judged after the clone was compacted.
    fixture.git(&["commit", "-q", "--amend", "-m", "instead"]);
    fixture.push();
    let commit = last.revision.commit.clone();
    assert_eq!(moved(source.poll(Some(&commit), Some(&commit)).await).ancestry, Ancestry::Diverged);
}

#[tokio::test]
async fn a_lost_or_broken_clone_is_made_anew() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture.path("served"));
    let source = fixture.open(&server);
    let snapshot = moved(source.poll(None, None).await);
    let commit = snapshot.revision.commit.clone();
    let wanted = [blob(&snapshot.files["readme"])];

    let break_it = |how: &str| {
        let folder = source.current.borrow().clone().unwrap();
        match how {
            "lost" => std::fs::remove_dir_all(fixture.path("store")).unwrap(),
            "no objects" => std::fs::remove_dir_all(folder.join("objects")).unwrap(),
            "no packs" => std::fs::remove_dir_all(folder.join("objects/pack")).unwrap(),
            "locked by a process that was killed" => {
                std::fs::write(folder.join("refs/tidegate/head.lock"), "").unwrap();
            }
            "garbage" => {
                for entry in std::fs::read_dir(folder.join("objects/pack")).unwrap().flatten() {
                    let bytes = std::fs::metadata(entry.path()).unwrap().len();
                    std::fs::remove_file(entry.path()).unwrap();
                    std::fs::write(entry.path(), vec![0x5a; usize::try_from(bytes).unwrap()]).unwrap();
                }
            }
            other => panic!("{other}"),
        }
    };
    for how in ["lost", "no objects", "no packs", "garbage"] {
        break_it(how);
        assert!(source.read(&wanted).await.is_err(), "{how}");
        assert_eq!(source.poll(Some(&commit), Some(&commit)).await, Ok(Polled::Unchanged), "{how}");
        assert_eq!(source.read(&wanted).await.unwrap(), [b"hello\n"], "{how}");
    }
    // Found by the poll itself, when the branch moves.
    let mut known = commit;
    for how in ["lost", "no objects", "no packs", "garbage", "locked by a process that was killed"] {
        break_it(how);
        fixture.write("readme", how);
        fixture.commit(how);
        let snapshot = moved(source.poll(Some(&known), Some(&known)).await);
        assert_eq!((snapshot.ancestry, files(&snapshot)), (Ancestry::Descends, fixture.listed()), "{how}");
        assert_eq!(source.read(&[blob(&snapshot.files["readme"])]).await.unwrap(), [how.as_bytes()]);
        known = snapshot.revision.commit;
    }
}

#[tokio::test]
async fn a_restart_uses_the_clone_and_removes_what_was_left_unfinished() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture.path("served"));
    let source = fixture.open(&server);
    moved(source.poll(None, None).await);
    let folder = source.current.borrow().clone().unwrap();
    let store = folder.parent().unwrap().to_owned();
    let rival = fixture.open(&server);
    let error = rival.poll(None, None).await.unwrap_err();
    assert!(error.to_string().contains("another agent"), "{error}");

    std::fs::create_dir_all(store.join("unfinished/objects")).unwrap();
    std::fs::create_dir_all(store.join("clone-0")).unwrap();
    std::fs::write(folder.join("objects/pack/pack_git2_x"), "half").unwrap();
    drop(source);
    let snapshot = moved_once_alone(&rival, None).await;
    assert_eq!(files(&snapshot), fixture.listed());
    assert_eq!(rival.current.borrow().clone().unwrap(), folder);
    assert!(!store.join("unfinished").exists() && !store.join("clone-0").exists());
    assert!(!folder.join("objects/pack/pack_git2_x").exists());
}

#[tokio::test]
async fn a_clone_that_takes_a_file_for_a_commit_is_made_anew_after_a_restart() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture.path("served"));
    let source = fixture.open(&server);
    let first = moved(source.poll(None, None).await);
    let folder = source.current.borrow().clone().unwrap();
    drop(source);
    // As if it had been killed after it fetched a branch that led to a file.
    let file = blob(&first.files["readme"]);
    std::fs::write(folder.join("shallow"), format!("{}\n", file.0)).unwrap();
    let first = first.revision.commit;
    let second = fixture.commit("second");
    let source = fixture.open(&server);
    let snapshot = moved_once_alone(&source, Some(&first)).await;
    assert_eq!((snapshot.revision.commit, snapshot.ancestry), (second, Ancestry::Descends));
}

#[tokio::test]
async fn clones_that_nobody_uses_are_swept_and_nothing_else() {
    let fixture = Fixture::new();
    fixture.git(&["push", "-q", "origin", "main:next"]);
    let server = Server::start(&fixture.path("served"));
    let settings = |branch: &str| GitSettings {
        reference: Reference::Branch(branch.to_owned()),
        ..fixture.settings(&server.url())
    };
    let (used, kept) = (GitSource::open(settings("main")).unwrap(), GitSource::open(settings("next")).unwrap());
    moved(used.poll(None, None).await);
    moved(kept.poll(None, None).await);
    let folder = |source: &GitSource| source.current.borrow().clone().unwrap().parent().unwrap().to_owned();
    let (used_folder, kept_folder) = (folder(&used), folder(&kept));
    let store = fixture.path("store");
    let strange = store.join("0123456789abcdef");
    std::fs::create_dir(&strange).unwrap();
    std::fs::write(strange.join("lock"), "").unwrap();
    std::fs::write(strange.join("letters"), "mine").unwrap();
    sweep(&store, &[settings("next")]);
    assert!(used_folder.is_dir(), "it is in use");
    drop((used, kept));
    // Their threads end on their own time.
    while used_folder.is_dir() {
        sweep(&store, &[settings("next")]);
    }
    assert!(kept_folder.is_dir() && strange.join("letters").is_file());
}

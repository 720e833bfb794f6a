//! Trees, from `git` and from an attacker.

use std::sync::Arc;

use git2::{ObjectType, Oid, Repository};

use super::{Fixture, GitSource, files, moved};
use crate::edge::git::store::Failure;
use crate::edge::git::tree::{EntryLimit, advance};
use crate::world::{Entry, Files, SourceError};

#[tokio::test]
async fn every_kind_of_change_gives_the_files_and_paths_that_git_gives() {
    let fixture = Fixture::new();
    let source = GitSource::open(fixture.settings(fixture.path("work").to_str().unwrap())).unwrap();
    let mut last = moved(source.poll(None, None).await);
    let steps: [(&str, &[&str]); 8] = [
        ("link and submodule", &["ln -s app/web.yaml link", "git update-index --add --cacheinfo 160000,$ID,sub"]),
        ("a file becomes a folder", &["rm readme", "mkdir -p readme/a", "echo 1 > readme/a/b", "echo 2 > readme.txt"]),
        ("the folder becomes a link", &["rm -r readme", "ln -s app readme"]),
        ("the link becomes a file", &["rm readme", "echo 3 > readme"]),
        ("a folder moves", &["git mv app web"]),
        ("a mode changes", &["chmod +x web/web.yaml"]),
        (
            "names that are not plain",
            &["echo 1 > 'a b'", "echo 1 > ümlaut", "echo 1 > 'back\\slash'", "echo 1 > ...git"],
        ),
        ("all goes", &["git rm -qrf .", "echo 4 > only"]),
    ];
    for (step, commands) in steps {
        for command in commands {
            let script = format!("ID={}; {command}", last.revision.commit);
            let status =
                std::process::Command::new("sh").current_dir(fixture.path("work")).args(["-c", &script]).status();
            assert!(status.unwrap().success(), "{command}");
        }
        // Not `add -A`, which drops a submodule that has no folder.
        fixture.git(&["add", "--ignore-removal", "."]);
        let gone = fixture.git(&["ls-files", "-z", "--deleted"]);
        for path in gone.split_terminator('\0').filter(|path| *path != "sub") {
            fixture.git(&["rm", "-q", "--cached", path]);
        }
        fixture.git(&["commit", "-q", "-m", step]);
        let known = last.revision.commit.clone();
        let next = moved(source.poll(Some(&known), Some(&known)).await);
        assert_eq!(files(&next), fixture.listed(), "{step}");
        let told = fixture.git(&["diff", "--name-only", "--no-renames", "-z", &known, &next.revision.commit]);
        let told: Vec<_> = told.split_terminator('\0').collect();
        let changed = next.changed.clone().unwrap();
        assert_eq!(changed, told, "{step}");
        last = next;
    }
}

/// Writes a tree as no Git client would.
fn forge(repository: &Repository, entries: &[(&str, &[u8], Oid)]) -> Oid {
    let mut bytes = Vec::new();
    for (mode, name, id) in entries {
        bytes.extend_from_slice(mode.as_bytes());
        bytes.push(b' ');
        bytes.extend_from_slice(name);
        bytes.push(0);
        bytes.extend_from_slice(id.as_bytes());
    }
    repository.odb().unwrap().write(ObjectType::Tree, &bytes).unwrap()
}

#[test]
fn names_that_lead_out_of_a_folder_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::init_bare(folder.path()).unwrap();
    let blob = repository.blob(b"x").unwrap();
    for (name, is_allowed) in [
        (b"..".as_slice(), false),
        (b".", false),
        (b".git", false),
        (b".GIT", false),
        (b".Git", false),
        (b"a/b", false),
        (b"../../etc/passwd", false),
        (b"/etc", false),
        (b".gitignore", true),
        (b"..a", true),
        (b"caf\xe9", true),
    ] {
        let inner = forge(&repository, &[("100644", name, blob)]);
        let outer = forge(&repository, &[("40000", b"dir", inner)]);
        let shown = name.escape_ascii().to_string();
        match advance(&repository, &mut Files::new(), None, outer, EntryLimit::default()) {
            Ok(changed) => assert!(is_allowed && changed == [format!("dir/{shown}")], "{changed:?}"),
            Err(Failure::Source(SourceError::Corrupt(text))) => {
                assert!(!is_allowed && text.contains(&format!("dir/{shown}")), "{text}");
            }
            Err(other) => panic!("{shown}: {other:?}"),
        }
    }
}

#[test]
fn trees_are_bounded_in_number_and_depth() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::init_bare(folder.path()).unwrap();
    let blob = repository.blob(b"x").unwrap();
    let too_large = |tree: Oid, limit: usize| {
        let result = advance(&repository, &mut Files::new(), None, tree, EntryLimit(limit));
        matches!(result, Err(Failure::Source(SourceError::TooLarge(_))))
    };
    let names: Vec<_> = (0..10).map(|number| format!("f{number}")).collect();
    let wide: Vec<_> = names.iter().map(|name| ("100644", name.as_bytes(), blob)).collect();
    let wide = forge(&repository, &wide);
    assert!(too_large(wide, 9) && !too_large(wide, 10));

    // Ten folders of ten folders of …: a few objects that stand for a billion.
    let mut bomb = forge(&repository, &[]);
    for _ in 0..9 {
        let inner: Vec<_> = names.iter().map(|name| ("40000", name.as_bytes(), bomb)).collect();
        bomb = forge(&repository, &inner);
    }
    assert!(too_large(bomb, 1000));

    let mut deep = wide;
    for _ in 0..1000 {
        deep = forge(&repository, &[("40000", b"d", deep)]);
    }
    assert!(too_large(deep, 100_000));
}

#[test]
fn a_missing_object_makes_the_store_suspect() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::init_bare(folder.path()).unwrap();
    let absent = Oid::from_str("0123456789012345678901234567890123456789").unwrap();
    for mode in ["100644", "40000"] {
        let tree = forge(&repository, &[(mode, b"gone", absent)]);
        let result = advance(&repository, &mut Files::new(), None, tree, EntryLimit::default());
        assert!(matches!(result, Err(Failure::Store(_))), "{mode}: {result:?}");
    }
    let tree = forge(&repository, &[("160000", b"sub", absent)]);
    let mut files = Files::new();
    advance(&repository, &mut files, None, tree, EntryLimit::default()).unwrap();
    assert_eq!(Arc::new(files), Arc::new(Files::from([("sub".to_owned(), Entry::Submodule)])));
}

#[test]
fn what_two_trees_begin_and_end_with_hides_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::init_bare(folder.path()).unwrap();
    let blobs = [b"x", b"y", b"z"].map(|text| repository.blob(text).unwrap());
    let dir = forge(&repository, &[("100644", b"inner", blobs[0])]);
    let names: [&[u8]; 10] = [b"a", b"b", b"c", b"d", b"caf\xe9", b"caf\\xe9", b"e", b"f", b"g", b".git"];
    let mut random = fastrand::Rng::with_seed(1);
    let mut entries: Vec<(&str, &[u8], Oid)> = Vec::new();
    let (mut tree, mut files) = (forge(&repository, &[]), Files::new());
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..3000 {
        let before = entries.clone();
        for _ in 0..random.usize(1..4) {
            let new = match random.usize(0..5) {
                0 => ("40000", dir),
                1 => ("100755", blobs[0]),
                _ => ("100644", blobs[random.usize(0..3)]),
            };
            // In no order, and now and then twice: nobody but an attacker writes such trees.
            let new = (new.0, names[random.usize(0..names.len())], new.1);
            let at = random.usize(0..=entries.len());
            match random.usize(0..4) {
                0 | 1 if entries.iter().all(|entry| entry.1 != new.1) || random.usize(0..10) == 0 => {
                    entries.insert(at, new);
                }
                2 if at < entries.len() => drop(entries.remove(at)),
                _ => entries.iter_mut().filter(|entry| entry.1 == new.1).for_each(|entry| *entry = new),
            }
        }
        let next = forge(&repository, &entries);
        let (mut fresh, mut continued) = (Files::new(), files.clone());
        let expected = advance(&repository, &mut fresh, None, next, EntryLimit::default());
        let changed = advance(&repository, &mut continued, Some(tree), next, EntryLimit::default());
        if expected.is_err() {
            // Where several things are wrong, either may be told.
            assert!(matches!(changed, Err(Failure::Source(SourceError::Corrupt(_)))), "{changed:?}: {entries:?}");
            entries = before;
            refused += 1;
            continue;
        }
        assert_eq!(continued, fresh, "{entries:?}");
        let differ = |path: &&String| files.get(*path) != fresh.get(*path);
        let expected: Vec<_> = files.keys().chain(fresh.keys()).filter(differ).collect();
        assert!(expected.iter().all(|path| changed.as_ref().unwrap().contains(path)), "{changed:?}");
        (tree, files) = (next, fresh);
        accepted += 1;
    }
    assert!(accepted > 500 && refused > 500, "{accepted} {refused}");
}

//! Commits that cannot be read at all: their objects are written raw into the served repository, as no client would.

use git2::{ObjectType, Oid, Repository};

use crate::support::story::Story;

/// A commit that hits every app.
pub(super) struct Case {
    /// What is hostile.
    pub(super) name: &'static str,
    /// Makes its tree, from the good one.
    tree: fn(&Raw, Oid) -> Oid,
    /// What every app says.
    pub(super) said: &'static str,
    /// What the repository's owner does about it.
    pub(super) mend: fn(&Story),
}

/// All of them.
pub(super) const CASES: &[Case] = &[
    Case {
        name: "an entry `.git` in a folder",
        tree: |raw, good| raw.with(good, "40000", b"dir", raw.tree(&[("100644", b".git", raw.blob())])),
        said: "`dir/.git` is not a name",
        mend: push_good,
    },
    Case {
        name: "an entry `..` in a folder",
        tree: |raw, good| raw.with(good, "40000", b"dir", raw.tree(&[("100644", b"..", raw.blob())])),
        said: "`dir/..` is not a name",
        mend: push_good,
    },
    Case {
        name: "a name that is listed twice",
        tree: |raw, good| raw.with(good, "100644", b"apps", raw.blob()),
        said: "`apps` is listed twice",
        mend: push_good,
    },
    Case {
        name: "folders 200 deep",
        tree: |raw, good| raw.with(good, "40000", b"deep", raw.deep(200)),
        said: "lies more than 128 folders deep",
        mend: push_good,
    },
    Case {
        name: "a few folders that stand for a billion files",
        tree: |raw, good| raw.with(good, "40000", b"wide", raw.wide()),
        said: "more than 200000 files and folders",
        mend: push_good,
    },
    Case {
        name: "a file that is not there",
        tree: |raw, good| {
            raw.with(
                good,
                "100644",
                b"zz.yaml",
                Oid::from_str("0123456789012345678901234567890123456789").expect("it is an id"),
            )
        },
        said: "could not read from remote repository",
        // No server can pack what it lacks, and so no commit on top of it can be proven to descend from what is known.
        mend: take_back,
    },
];

/// Writes objects into the served repository.
struct Raw(Repository);

impl Raw {
    fn of(story: &Story) -> Self {
        let folder = story.plane.git_root().join(story.bare_name());
        Self(Repository::open_bare(folder).expect("the story has a repository"))
    }

    fn write(&self, kind: ObjectType, bytes: &[u8]) -> Oid {
        self.0.odb().and_then(|odb| odb.write(kind, bytes)).expect("objects can be written")
    }

    fn blob(&self) -> Oid {
        self.write(ObjectType::Blob, b"x")
    }

    fn tree(&self, rows: &[(&str, &[u8], Oid)]) -> Oid {
        let mut bytes = Vec::new();
        for (mode, name, id) in rows {
            bytes.extend([mode.as_bytes(), b" ", name, b"\0", id.as_bytes()].concat());
        }
        self.write(ObjectType::Tree, &bytes)
    }

    /// A tree with one more entry, at its end.
    fn with(&self, good: Oid, mode: &str, name: &[u8], id: Oid) -> Oid {
        let odb = self.0.odb().expect("it has objects");
        let mut bytes = odb.read(good).expect("the good tree is there").data().to_vec();
        bytes.extend([mode.as_bytes(), b" ", name, b"\0", id.as_bytes()].concat());
        self.write(ObjectType::Tree, &bytes)
    }

    fn deep(&self, count: usize) -> Oid {
        (0..count).fold(self.tree(&[("100644", b"file", self.blob())]), |inner, _| self.tree(&[("40000", b"d", inner)]))
    }

    fn wide(&self) -> Oid {
        let names: Vec<String> = (0..10).map(|number| format!("f{number}")).collect();
        (0..9).fold(self.blob(), |inner, level| {
            let mode = if level == 0 { "100644" } else { "40000" };
            let rows: Vec<_> = names.iter().map(|name| (mode, name.as_bytes(), inner)).collect();
            self.tree(&rows)
        })
    }

    /// A commit on the branch's head, and the branch there: `git push` would not do it.
    fn push(&self, tree: Oid) {
        let head = self.head();
        let who = "Mallory <mallory@example.com> 1750000000 +0000";
        let text = format!("tree {tree}\nparent {head}\nauthor {who}\ncommitter {who}\n\nraw\n");
        self.point(self.write(ObjectType::Commit, text.as_bytes()));
    }

    fn head(&self) -> Oid {
        self.0.refname_to_id("refs/heads/main").expect("the branch is there")
    }

    fn point(&self, commit: Oid) {
        std::fs::write(self.0.path().join("refs/heads/main"), format!("{commit}\n")).expect("a ref can be written");
    }
}

/// The tree of the last commit that was made by `git`.
fn good_tree(story: &Story) -> Oid {
    Oid::from_str(&story.repo.git(&["rev-parse", "HEAD^{tree}"])).expect("git prints ids")
}

/// Lets the branch move to a hostile commit.
pub(super) fn push(story: &Story, case: &Case) {
    let raw = Raw::of(story);
    raw.push((case.tree)(&raw, good_tree(story)));
}

/// Lets the branch move to a good commit after it.
fn push_good(story: &Story) {
    Raw::of(story).push(good_tree(story));
}

/// Takes the branch back to the commit before it.
fn take_back(story: &Story) {
    let raw = Raw::of(story);
    let parent = raw.0.find_commit(raw.head()).and_then(|commit| commit.parent_id(0));
    raw.point(parent.expect("the hostile commit has a parent"));
}

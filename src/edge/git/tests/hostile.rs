//! Objects that no Git client would make, written raw, served by Git itself and read from a folder: each is refused by name
//! or read for what it is, what was known before stays readable, and the next good commit is followed.

use git2::{ObjectType, Odb, Oid};

use super::server::Server;
use super::{Fixture, blob, git, moved};
use crate::world::{Ancestry, Polled, SourceError};

/// What must come of a commit.
enum Outcome {
    /// It is refused, with these words.
    Refused(&'static str),
    /// It is read, and has exactly these paths.
    Read(&'static [&'static str]),
}

use Outcome::{Read, Refused};

/// Writes objects as they are told.
struct Raw<'a> {
    odb: Odb<'a>,
    parent: String,
}

type Row<'a> = (&'a str, &'a [u8], Oid);

impl Raw<'_> {
    fn blob(&self, bytes: &[u8]) -> Oid {
        self.odb.write(ObjectType::Blob, bytes).unwrap()
    }

    fn tree(&self, rows: &[Row<'_>]) -> Oid {
        let mut bytes = Vec::new();
        for (mode, name, id) in rows {
            bytes.extend_from_slice(mode.as_bytes());
            bytes.push(b' ');
            bytes.extend_from_slice(name);
            bytes.push(0);
            bytes.extend_from_slice(id.as_bytes());
        }
        self.odb.write(ObjectType::Tree, &bytes).unwrap()
    }

    fn commit(&self, tree: Oid) -> Oid {
        let who = "Mallory <mallory@example.com> 1750000000 +0000";
        let text = format!("tree {tree}\nparent {}\nauthor {who}\ncommitter {who}\n\nhostile\n", self.parent);
        self.odb.write(ObjectType::Commit, text.as_bytes()).unwrap()
    }

    /// A commit of one file with this name, in a folder.
    fn named(&self, name: &[u8]) -> Oid {
        let inner = self.tree(&[("100644", name, self.blob(b"x"))]);
        self.commit(self.tree(&[("40000", b"dir", inner)]))
    }

    fn folders(&self, count: usize) -> Oid {
        let innermost = self.tree(&[("100644", b"file", self.blob(b"x"))]);
        let tree = (0..count).fold(innermost, |inner, _| self.tree(&[("40000", b"d", inner)]));
        self.commit(tree)
    }
}

const NOWHERE: &str = "0123456789012345678901234567890123456789";

/// A case: its name, how its commit is made, what must come of it in a folder, and what when Git serves it: its own server
/// refuses to send some of this.
type Case = (&'static str, fn(&Raw<'_>) -> Oid, Outcome, Outcome);

/// What a server that ends in mid-answer comes to.
const NOT_SENT: Outcome = Refused("");

/// One whose outcome is the same in both places.
fn same(name: &'static str, make: fn(&Raw<'_>) -> Oid, outcome: fn() -> Outcome) -> Case {
    (name, make, outcome(), outcome())
}

fn cases() -> Vec<Case> {
    vec![
        same("an entry `.git`", |raw| raw.named(b".git"), || Refused("`dir/.git` is not a name that a file may have")),
        same("an entry `.GIT`", |raw| raw.named(b".GIT"), || Refused("`dir/.GIT` is not a name")),
        same("an entry `..`", |raw| raw.named(b".."), || Refused("`dir/..` is not a name")),
        same("an entry `.`", |raw| raw.named(b"."), || Refused("`dir/.` is not a name")),
        same("a path for a name", |raw| raw.named(b"../../etc/passwd"), || Refused("`dir/../../etc/passwd` is not a")),
        ("an entry without a name", |raw| raw.named(b""), Refused("dir"), NOT_SENT),
        // Only file systems of other machines take these for `.git`; there is no working tree.
        same("names like `.git`", |raw| raw.named(b".git "), || Read(&["dir/.git "])),
        same("a short name of `.git`", |raw| raw.named(b"git~1"), || Read(&["dir/git~1"])),
        same("a backslash", |raw| raw.named(b"..\\..\\a"), || Read(&["dir/..\\..\\a"])),
        same("control characters", |raw| raw.named(b"a\nb\x1b[31m"), || Read(&["dir/a\nb\u{1b}[31m"])),
        same("bytes that are no UTF-8", |raw| raw.named(b"caf\xe9"), || Read(&["dir/caf\\xe9"])),
        same(
            "two names that read alike",
            |raw| {
                let file = raw.blob(b"x");
                raw.commit(raw.tree(&[("100644", b"caf\\xe9", file), ("100644", b"caf\xe9", file)]))
            },
            || Refused("`caf\\xe9` is listed twice"),
        ),
        same(
            "a name listed twice",
            |raw| {
                let (one, other) = (raw.blob(b"one"), raw.blob(b"other"));
                raw.commit(raw.tree(&[("100644", b"a.yaml", one), ("100644", b"a.yaml", other)]))
            },
            || Refused("`a.yaml` is listed twice"),
        ),
        same(
            "a name that is a file and a folder",
            |raw| {
                let file = raw.blob(b"one");
                let folder = raw.tree(&[("100644", b"b.yaml", file)]);
                let inner = raw.tree(&[("100644", b"a", file), ("40000", b"a", folder)]);
                raw.commit(raw.tree(&[("40000", b"dir", inner)]))
            },
            || Refused("`dir/a` is listed twice"),
        ),
        same(
            "entries out of order",
            |raw| {
                let file = raw.blob(b"one");
                raw.commit(raw.tree(&[("100644", b"b", file), ("100644", b"a", file), ("100644", b"c", file)]))
            },
            || Read(&["a", "b", "c"]),
        ),
        same("folders 200 deep", |raw| raw.folders(200), || Refused("lies more than 128 folders deep")),
        same(
            "a few folders that stand for a billion files",
            |raw| {
                let names: Vec<_> = (0..10).map(|number| format!("f{number}")).collect();
                let mut bomb = raw.tree(&[("100644", b"file", raw.blob(b"x"))]);
                for _ in 0..9 {
                    let rows: Vec<_> = names.iter().map(|name| ("40000", name.as_bytes(), bomb)).collect();
                    bomb = raw.tree(&rows);
                }
                raw.commit(bomb)
            },
            || Refused("more than 200000 files and folders"),
        ),
        same(
            "a path of 5,000 characters",
            |raw| {
                let part = "x".repeat(250);
                let innermost = raw.tree(&[("100644", b"file", raw.blob(b"x"))]);
                raw.commit((0..20).fold(innermost, |inner, _| raw.tree(&[("40000", part.as_bytes(), inner)])))
            },
            || Refused("has more than 4096 bytes"),
        ),
        (
            "a file that is said to be a folder",
            |raw| raw.commit(raw.tree(&[("40000", b"dir", raw.blob(b"x"))])),
            Refused("`dir` is listed as a folder and is none"),
            NOT_SENT,
        ),
        (
            "a folder that is said to be a file",
            |raw| raw.commit(raw.tree(&[("100644", b"a.yaml", raw.tree(&[]))])),
            Refused("`a.yaml` is listed as a file and is none"),
            NOT_SENT,
        ),
        (
            "a file that is missing",
            |raw| raw.commit(raw.tree(&[("100644", b"a.yaml", Oid::from_str(NOWHERE).unwrap())])),
            Refused("`a.yaml`: an object is missing"),
            NOT_SENT,
        ),
        (
            "a folder that is missing",
            |raw| raw.commit(raw.tree(&[("40000", b"dir", Oid::from_str(NOWHERE).unwrap())])),
            Refused("`dir`: an object is missing"),
            NOT_SENT,
        ),
        ("a commit of a file", |raw| raw.commit(raw.blob(b"x")), Refused(""), NOT_SENT),
        ("a commit of nothing", |raw| raw.commit(Oid::from_str(NOWHERE).unwrap()), Refused("missing"), NOT_SENT),
        (
            "a tree that is cut short",
            |raw| raw.commit(raw.odb.write(ObjectType::Tree, b"100644 a.yaml\0abc").unwrap()),
            Refused(""),
            NOT_SENT,
        ),
        (
            "a commit of garbage",
            |raw| raw.odb.write(ObjectType::Commit, b"\xff\x00 no commit").unwrap(),
            Refused(""),
            NOT_SENT,
        ),
        ("a branch that leads to a file", |raw| raw.blob(b"x"), Refused("commit"), Refused("commit")),
        ("a branch that leads to a folder", |raw| raw.tree(&[]), Refused("commit"), Refused("commit")),
        ("a branch that leads nowhere", |_| Oid::from_str(NOWHERE).unwrap(), Refused(""), Refused("")),
    ]
}

#[tokio::test]
async fn each_hostile_object_has_its_outcome_and_harms_nothing_that_is_known() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture.path("served"));
    let bare = fixture.path("served/repository.git");
    let repository = git2::Repository::open_bare(&bare).unwrap();
    // As an attacker would: `git update-ref` takes commits only.
    let lead_to = |id: Oid| std::fs::write(bare.join("refs/heads/main"), format!("{id}\n")).unwrap();
    let mut wrong = Vec::new();
    for place in [bare.to_str().unwrap().to_owned(), server.url()] {
        let source = fixture.open_at(&place, "refs/heads/main");
        let mut good = moved(source.poll(None, None).await);
        for (number, (name, make, in_folder, served)) in cases().into_iter().enumerate() {
            let expected = if place == server.url() { served } else { in_folder };
            let head = good.revision.commit.clone();
            let raw = Raw { odb: repository.odb().unwrap(), parent: head.clone() };
            lead_to(make(&raw));
            match (source.poll(Some(&head), Some(&head)).await, &expected) {
                (Ok(Polled::Moved(snapshot)), Read(paths)) if snapshot.files.keys().eq(paths.iter()) => {}
                (Err(error), Refused(words)) if error.to_string().contains(words) => {}
                (polled, _) => wrong.push(format!("{name} ({place}): {polled:?}")),
            }
            // What was known is still there to be read, whatever came in.
            let read = source.read(&[blob(&good.files["readme"])]).await;
            if matches!(expected, Refused(_)) && read.is_err() {
                wrong.push(format!("{name} ({place}): what was known cannot be read: {read:?}"));
            }
            let text = format!("mended {number}\n");
            let mended = raw.commit(raw.tree(&[("100644", b"readme", raw.blob(text.as_bytes()))]));
            lead_to(mended);
            good = moved(source.poll(Some(&head), Some(&head)).await);
            assert_eq!((&good.revision.commit, good.ancestry), (&mended.to_string(), Ancestry::Descends), "{name}");
            assert!(good.files.keys().eq(["readme"]), "{name}: {:?}", good.files);
            assert_eq!(source.read(&[blob(&good.files["readme"])]).await, Ok(vec![text.into_bytes()]), "{name}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_huge_file_that_no_app_reads_costs_nobody_anything() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture.path("served"));
    let source = fixture.open(&server);
    let head = moved(source.poll(None, None).await).revision.commit;
    // A thousandth of it travels.
    std::fs::write(fixture.path("work/huge.bin"), vec![0; 64 << 20]).unwrap();
    fixture.write("app/web.yaml", "version: 2\n");
    fixture.commit("huge");
    server.take_sent_bytes();
    let snapshot = moved(source.poll(Some(&head), Some(&head)).await);
    assert!(server.take_sent_bytes() < 1 << 20);
    assert_eq!(source.read(&[blob(&snapshot.files["app/web.yaml"])]).await.unwrap(), [b"version: 2\n"]);
    let error = source.read(&[blob(&snapshot.files["huge.bin"])]).await.unwrap_err();
    assert!(matches!(&error, SourceError::TooLarge(text) if text.contains("67108864 bytes")), "{error}");
}

#[tokio::test]
async fn a_repository_of_sha_256_is_refused_by_that_name() {
    let fixture = Fixture::new();
    let work = fixture.path("work");
    std::fs::remove_dir_all(fixture.path("served/repository.git")).unwrap();
    let kind = "--object-format=sha256";
    git(&fixture.path("served"), &["init", "-q", "--bare", kind, "-b", "main", "repository.git"]);
    std::fs::remove_dir_all(work.join(".git")).unwrap();
    git(&work, &["init", "-q", kind, "-b", "main", "."]);
    fixture.git(&["remote", "add", "origin", fixture.path("served/repository.git").to_str().unwrap()]);
    fixture.commit("first");
    let server = Server::start(&fixture.path("served"));
    for (place, _) in fixture.places(&server) {
        let error = fixture.open_at(&place, "refs/heads/main").poll(None, None).await.unwrap_err();
        assert!(error.to_string().contains("SHA-256"), "{place}: {error}");
    }
}

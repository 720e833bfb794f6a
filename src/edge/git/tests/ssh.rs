//! A repository behind OpenSSH's server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::sshd::{Line, Sshd, make_key, user};
use super::{Fixture, GitSettings, GitSource, LIMITS, Limits, files, git, moved};
use crate::model::Reference;
use crate::world::{Ancestry, Polled, SourceError};

const KINDS: [&str; 3] = ["ed25519", "rsa", "ecdsa"];

/// A repository, a server for it, and a key that it lets in.
struct Site {
    fixture: Fixture,
    sshd: Sshd,
    key: PathBuf,
}

impl Site {
    fn new(takes_protocol: bool) -> Self {
        let fixture = Fixture::new();
        std::fs::create_dir(fixture.path("sshd")).unwrap();
        let sshd = Sshd::start(&fixture.path("sshd"), &["ed25519"], takes_protocol);
        let key = make_key(&fixture.path("sshd"), "user", "ed25519", "");
        sshd.authorize(&key);
        let site = Self { fixture, sshd, key };
        site.hold("ssh-privatekey", &std::fs::read_to_string(&site.key).unwrap());
        site.hold("known_hosts", &site.sshd.known_host("ed25519"));
        site
    }

    fn hold(&self, name: &str, text: &str) {
        std::fs::write(self.fixture.path("credentials").join(name), text).unwrap();
    }

    fn drop_file(&self, name: &str) {
        std::fs::remove_file(self.fixture.path("credentials").join(name)).unwrap();
    }

    fn repository(&self) -> PathBuf {
        self.fixture.path("served/repository.git")
    }

    fn settings(&self) -> GitSettings {
        let mut settings = self.fixture.settings(&self.sshd.url(&self.repository()));
        settings.access.credentials = Some(self.fixture.path("credentials"));
        settings
    }

    fn open(&self) -> GitSource {
        GitSource::open(self.settings()).unwrap()
    }

    async fn refusal(&self) -> String {
        let error = self.open().poll(None, None).await.unwrap_err();
        assert!(matches!(error, SourceError::Access(_)), "{error:?}");
        error.to_string()
    }
}

#[tokio::test]
async fn a_repository_is_cloned_polled_bumped_and_deepened_over_one_connection_a_poll() {
    for takes_protocol in [true, false] {
        let site = Site::new(takes_protocol);
        let (fixture, source) = (&site.fixture, site.open());
        let snapshot = moved(source.poll(None, None).await);
        assert_eq!((snapshot.ancestry, files(&snapshot)), (Ancestry::First, fixture.listed()));
        let wanted = [super::blob(&snapshot.files["readme"])];
        assert_eq!(source.read(&wanted).await.unwrap(), [b"hello\n"]);
        let first = snapshot.revision.commit;
        assert_eq!(source.poll(Some(&first), Some(&first)).await, Ok(Polled::Unchanged));
        assert_eq!(site.sshd.connections(), 2, "one for each poll");

        fixture.write("app/web.yaml", "version: 2\n");
        let second = fixture.commit("bump");
        let snapshot = moved(source.poll(Some(&first), Some(&first)).await);
        assert_eq!((snapshot.revision.commit.as_str(), snapshot.ancestry), (second.as_str(), Ancestry::Descends));
        assert_eq!(snapshot.changed.unwrap(), ["app/web.yaml"]);

        for number in 0..70 {
            fixture.git(&["commit", "-q", "--allow-empty", "-m", &format!("commit {number}")]);
        }
        let far = fixture.push();
        let before = source.requests();
        let snapshot = moved(source.poll(Some(&second), Some(&second)).await);
        assert_eq!((snapshot.revision.commit.as_str(), snapshot.ancestry), (far.as_str(), Ancestry::Descends));
        assert!(source.requests() > before + 2, "the history was deepened");
        assert_eq!(site.sshd.connections(), 4);

        fixture.git(&["reset", "-q", "--hard", "HEAD~3"]);
        let rewritten = fixture.commit("instead");
        let snapshot = moved(source.poll(Some(&far), Some(&far)).await);
        assert_eq!((snapshot.revision.commit.as_str(), snapshot.ancestry), (rewritten.as_str(), Ancestry::Diverged));
        assert_eq!(files(&snapshot), fixture.listed());
    }
}

#[tokio::test]
async fn a_poll_of_many_refs_stays_small_where_the_server_takes_the_protocol() {
    let site = Site::new(true);
    let head = site.fixture.git(&["rev-parse", "HEAD"]).trim().to_owned();
    let lines: String = (0..20_000).map(|number| format!("{head} refs/heads/topic-{number}\n")).collect();
    let packed = site.repository().join("packed-refs");
    std::fs::write(packed, format!("# pack-refs with: sorted\n{lines}")).unwrap();
    let source = site.open();
    let commit = moved(source.poll(None, None).await).revision.commit;
    site.sshd.take_sent_bytes();
    assert_eq!(source.poll(Some(&commit), None).await, Ok(Polled::Unchanged));
    let bytes = site.sshd.take_sent_bytes();
    assert!((1..10_000).contains(&bytes), "{bytes} bytes, the keys of the connection included");
}

#[tokio::test]
async fn every_kind_of_key_lets_us_in_in_every_format() {
    let site = Site::new(true);
    site.drop_file("ssh-privatekey");
    for kind in KINDS {
        for (format, passphrase) in [("RFC4716", ""), ("PKCS8", ""), ("PEM", ""), ("RFC4716", "open sesame")] {
            if (kind, format) == ("ed25519", "PKCS8") || (kind, format) == ("ed25519", "PEM") {
                // OpenSSH writes these keys in its own format only.
                continue;
            }
            let name = format!("{kind}-{format}-{}", passphrase.len());
            let key = make_key(&site.fixture.path("sshd"), &name, kind, passphrase);
            site.sshd.authorize(&key);
            if format != "RFC4716" {
                let done = Command::new("ssh-keygen")
                    .args(["-q", "-p", "-N", "", "-P", "", "-m", format, "-f"])
                    .arg(&key)
                    .output()
                    .unwrap();
                assert!(done.status.success());
            }
            site.hold("identity", &std::fs::read_to_string(&key).unwrap());
            site.hold("password", passphrase);
            if passphrase.is_empty() {
                site.drop_file("password");
            }
            let polled = site.open_beside(&name).poll(None, None).await;
            assert_eq!(files(&moved(polled)), site.fixture.listed(), "{name}");
        }
    }
}

impl Site {
    /// Opens the repository with a store of its own.
    fn open_beside(&self, name: &str) -> GitSource {
        GitSource::open(GitSettings { store: self.fixture.path(name), ..self.settings() }).unwrap()
    }
}

#[tokio::test]
async fn a_key_is_read_at_every_poll_and_what_is_wrong_with_it_is_said_without_it() {
    let site = Site::new(true);
    let source = site.open();
    moved(source.poll(None, None).await);
    let stranger = make_key(&site.fixture.path("sshd"), "stranger", "ed25519", "");
    site.hold("ssh-privatekey", &std::fs::read_to_string(&stranger).unwrap());
    assert_eq!(source.poll(None, None).await, Err(SourceError::Unauthorized));

    let locked = make_key(&site.fixture.path("sshd"), "locked", "ed25519", "open sesame");
    site.hold("ssh-privatekey", &std::fs::read_to_string(&locked).unwrap());
    assert!(site.refusal().await.contains("put its passphrase into the file `password`"));
    site.hold("password", "wrong\n");
    let refusal = site.refusal().await;
    assert!(refusal.contains("ssh-privatekey") && refusal.contains("`password`"), "{refusal}");
    assert!(!refusal.contains("wrong"), "{refusal}");
    site.drop_file("password");

    for text in ["", "hello hidden", "-----BEGIN OPENSSH PRIVATE KEY-----\nhidden\n-----END OPENSSH PRIVATE KEY-----"] {
        site.hold("ssh-privatekey", text);
        let refusal = site.refusal().await;
        assert!(refusal.contains("is no private key") && !refusal.contains("hidden"), "{refusal}");
    }
    site.drop_file("ssh-privatekey");
    assert!(site.refusal().await.contains("neither `ssh-privatekey` nor `identity`"));

    site.hold("ssh-privatekey", &std::fs::read_to_string(&site.key).unwrap());
    moved(source.poll(None, None).await);
    let shown = format!("{source:?} {:?}", site.settings());
    assert!(!shown.contains("PRIVATE KEY"), "{shown}");
}

#[tokio::test]
async fn a_host_without_known_key_is_never_trusted() {
    let site = Site::new(true);
    site.drop_file("known_hosts");
    let host = format!("[localhost]:{}", site.sshd.port);
    let refusal = site.refusal().await;
    assert!(refusal.contains(&host) && refusal.contains("ssh-keyscan"), "{refusal}");
    site.hold("known_hosts", &site.sshd.known_host("ed25519").replace("localhost", "elsewhere"));
    let refusal = site.refusal().await;
    assert!(refusal.contains(&host) && refusal.contains("known_hosts") && refusal.contains("ssh-keyscan"), "{refusal}");
    site.hold("known_hosts", &format!("@cert-authority {}", site.sshd.known_host("ed25519")));
    assert!(site.refusal().await.contains("host certificates are not supported"));
    assert_eq!(site.sshd.connections(), 0, "nothing is sent to a host that cannot be trusted");
    assert!(!site.fixture.path("credentials/known_hosts.old").exists());

    // A file of its own wins over the folder.
    let mut settings = site.settings();
    settings.access.known_hosts = Some(site.fixture.path("hosts"));
    std::fs::write(site.fixture.path("hosts"), site.sshd.known_host("ed25519")).unwrap();
    moved(GitSource::open(settings).unwrap().poll(None, None).await);
}

#[tokio::test]
async fn a_host_with_another_key_is_refused_by_name_kind_and_fingerprint() {
    let site = Site::new(true);
    let other = make_key(&site.fixture.path("sshd"), "other", "ed25519", "");
    let other = std::fs::read_to_string(other.with_extension("pub")).unwrap();
    site.hold("known_hosts", &format!("[localhost]:{} {other}", site.sshd.port));
    let printed =
        Command::new("ssh-keygen").args(["-l", "-f"]).arg(site.fixture.path("sshd/host_ed25519.pub")).output().unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    let fingerprint = printed.split(' ').nth(1).unwrap();
    let refusal = site.refusal().await;
    for part in [&format!("[localhost]:{}", site.sshd.port), "ssh-ed25519", fingerprint, "known_hosts"] {
        assert!(refusal.contains(part), "{part}: {refusal}");
    }
    // Several keys of one host are all its keys, hashed or not; a revoked one is none.
    let known = site.sshd.known_host("ed25519");
    site.hold("known_hosts", &format!("[localhost]:{} {other}{known}", site.sshd.port));
    moved(site.open_beside("several").poll(None, None).await);
    let path = site.fixture.path("credentials/known_hosts");
    let hashed = Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&path).output().unwrap();
    assert!(hashed.status.success());
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.starts_with("|1|") && !text.contains("localhost"), "{text}");
    moved(site.open_beside("hashed").poll(None, None).await);
    site.hold("known_hosts", &format!("{known}@revoked * {}", known.split_once(' ').unwrap().1));
    assert!(site.refusal().await.contains("@revoked"));
}

#[tokio::test]
async fn the_kind_of_host_key_that_is_known_is_the_one_that_is_asked_for() {
    let fixture = Fixture::new();
    std::fs::create_dir(fixture.path("sshd")).unwrap();
    let sshd = Sshd::start(&fixture.path("sshd"), &KINDS, true);
    let key = make_key(&fixture.path("sshd"), "user", "ed25519", "");
    sshd.authorize(&key);
    let site = Site { fixture, sshd, key };
    site.hold("identity", &std::fs::read_to_string(&site.key).unwrap());
    for kind in KINDS {
        site.hold("known_hosts", &site.sshd.known_host(kind));
        let polled = site.open_beside(kind).poll(None, None).await;
        assert_eq!(files(&moved(polled)), site.fixture.listed(), "{kind}");
    }
}

#[tokio::test]
async fn a_line_that_breaks_or_falls_silent_is_an_error_in_bounded_time_and_then_mends() {
    let site = Site::new(true);
    let noise: Vec<u8> = (0..400_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    std::fs::write(site.fixture.path("work/noise"), noise).unwrap();
    site.fixture.commit("noise");
    // Longer than a login takes on a machine under load.
    let limits = Limits { idle: Duration::from_secs(3), ..LIMITS };
    let source = GitSource::open_with(site.settings(), limits).unwrap();
    for line in [Line::Cut(0), Line::Stall(0), Line::Cut(300_000), Line::Stall(300_000)] {
        site.sshd.behave(line);
        let error = source.poll(None, None).await.unwrap_err();
        assert!(matches!(error, SourceError::Unreachable(_)), "{line:?}: {error}");
    }
    site.sshd.behave(Line::Good);
    // A machine under load may be slower than these limits allow.
    let snapshot = loop {
        match source.poll(None, None).await {
            Err(SourceError::Unreachable(_)) => {}
            polled => break moved(polled),
        }
    };
    assert_eq!(files(&snapshot), site.fixture.listed());
}

#[tokio::test]
async fn what_a_server_sends_over_ssh_is_bounded() {
    let site = Site::new(true);
    let limits = Limits { received_bytes_max: 300, ..LIMITS };
    let source = GitSource::open_with(site.settings(), limits).unwrap();
    assert!(matches!(source.poll(None, None).await, Err(SourceError::TooLarge(_))));
}

#[tokio::test]
async fn missing_things_are_told_apart_over_ssh() {
    let site = Site::new(true);
    let source = site.open();
    let commit = moved(source.poll(None, None).await).revision.commit;
    git(&site.repository(), &["update-ref", "-d", "refs/heads/main"]);
    assert!(matches!(source.poll(Some(&commit), None).await, Err(SourceError::NoRepository(_))), "no ref is left");
    std::fs::rename(site.repository(), site.fixture.path("served/elsewhere.git")).unwrap();
    let error = source.poll(Some(&commit), None).await.unwrap_err();
    assert!(matches!(&error, SourceError::NoRepository(text) if text.contains("repository.git")), "{error}");
    let mut settings = site.settings();
    settings.repository = settings.repository.replace(&format!(":{}", site.sshd.port), ":1");
    site.hold("known_hosts", &site.sshd.known_host("ed25519").replace(&site.sshd.port.to_string(), "1"));
    let error = GitSource::open(settings).unwrap().poll(None, None).await.unwrap_err();
    assert!(matches!(error, SourceError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn a_path_may_have_quotes_and_blanks() {
    let site = Site::new(true);
    let odd = site.fixture.path("served/it's an odd! $(name).git");
    std::fs::rename(site.repository(), &odd).unwrap();
    let odd_url = |path: &Path| format!("{}@localhost:{}", user(), path.display());
    assert!(GitSource::open(site.fixture.settings(&odd_url(Path::new("-x")))).is_err());
    let mut settings = site.settings();
    settings.repository = site.sshd.url(&odd);
    let snapshot = moved(GitSource::open(settings).unwrap().poll(None, None).await);
    assert_eq!(files(&snapshot), site.fixture.listed());
}

#[tokio::test]
async fn tags_and_commits_are_followed_over_ssh() {
    let site = Site::new(true);
    let first = site.fixture.git(&["rev-parse", "HEAD"]).trim().to_owned();
    site.fixture.git(&["tag", "-a", "-m", "release", "v1.0.0"]);
    site.fixture.git(&["push", "-q", "origin", "refs/tags/v1.0.0"]);
    site.fixture.write("app/web.yaml", "version: 2\n");
    site.fixture.commit("second");
    let at = |reference: &str| {
        let reference = Reference::parse(reference).unwrap();
        GitSource::open(GitSettings { reference, ..site.settings() }).unwrap()
    };
    for reference in ["refs/tags/v1.0.0", "^1"] {
        assert_eq!(moved(at(reference).poll(None, None).await).revision.commit, first);
    }
    let refused = at(&first).poll(None, None).await.unwrap_err();
    assert!(matches!(&refused, SourceError::NoReference(text) if text.contains("allowAnySHA1InWant")), "{refused}");
    git(&site.repository(), &["config", "uploadpack.allowAnySHA1InWant", "true"]);
    let source = at(&first);
    // The thread of the one before gives the store back on its own time.
    let snapshot = loop {
        match source.poll(None, None).await {
            Err(error) if error.to_string().contains("another agent") => {}
            polled => break moved(polled),
        }
    };
    assert_eq!(snapshot.revision.commit, first);
    let nowhere = at("0123456789012345678901234567890123456789").poll(None, None).await.unwrap_err();
    assert!(matches!(nowhere, SourceError::NoReference(_)), "{nowhere}");
}

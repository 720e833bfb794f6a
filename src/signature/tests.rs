//! What real gpg, ssh-keygen, openssl and git signed is judged as they mean it, and nothing that was changed passes.
//!
//! Keys in every state and their commits were made by `cases/make.sh`; the rest is made here, by this machine's programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::*;

fn case(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/signature/cases").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A policy of files of the cases; `ca.crt` may come from another file.
fn policy(files: &[&str]) -> SignaturePolicy {
    let files = files.iter().map(|name| ((*name).to_owned(), case(name)));
    SignaturePolicy::from_files(files).expect("the files of the cases are keys")
}

/// Later than everything here: the verdicts do not age with the tests.
fn later() -> Timestamp {
    "2090-01-01T00:00:00Z".parse().unwrap()
}

fn judge_commit(bytes: &[u8], policy: &SignaturePolicy) -> Verdict {
    verify(&RawObject { kind: ObjectKind::Commit, bytes }, policy, later())
}

#[track_caller]
fn good(name: &str, files: &[&str], wanted: &str) {
    match judge_commit(&case(&format!("{name}.commit")), &policy(files)) {
        Verdict::Good { signer, .. } => assert_eq!(signer, wanted, "{name}"),
        other => panic!("{name}: {other}"),
    }
}

#[track_caller]
fn bad(name: &str, files: &[&str], wanted: &str) {
    match judge_commit(&case(&format!("{name}.commit")), &policy(files)) {
        Verdict::Bad { reason } => assert!(reason.contains(wanted), "{name}: {reason}"),
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn openpgp_keys_sign_while_they_live() {
    good("alive", &["alive.asc"], "Test alive <alive@example.com>");
    good("alive", &["expired.asc", "revoked1.asc", "alive.asc", "root.asc"], "Test alive <alive@example.com>");
    good("rsa", &["rsa.asc"], "Test rsa <rsa@example.com>");
    // What was signed before the key expired stays signed; what came after does not count until the key is renewed.
    good("expired-before", &["expired.asc"], "Test expired <expired@example.com>");
    bad("expired-after", &["expired.asc"], "the key expired at 2025-01-01T00:00:00Z, before it signed at 2025-06-01");
    good("expired-after", &["renewed.asc"], "Test expired <expired@example.com>");
    assert_eq!(
        judge_commit(&case("alive.commit"), &policy(&["rsa.asc"])),
        Verdict::UnknownKey { kind: SignatureKind::OpenPgp, key: fingerprint("alive.asc") }
    );
}

/// The fingerprint of the first key in a file.
fn fingerprint(name: &str) -> String {
    use pgp::composed::{Deserializable, SignedPublicKey};
    use pgp::types::KeyDetails;
    let text = case(name);
    let (key, _) = SignedPublicKey::from_armor_single(text.as_slice()).unwrap();
    format!("{:X}", key.fingerprint())
}

#[test]
fn revoked_openpgp_keys_do_not_sign() {
    // As compromised: nothing they ever signed counts.
    bad("revoked1-before", &["revoked1.asc"], "the key was revoked");
    bad("revoked1-after", &["revoked1.asc"], "the key was revoked");
    good("revoked1-before", &["revoked1-old-copy.asc"], "Test revoked1 <revoked1@example.com>");
    bad("revoked1-before", &["revoked1-old-copy.asc", "revoked1.asc"], "the key was revoked");
    // As superseded or retired: what came before stays.
    for reason in [2, 3] {
        let key = format!("revoked{reason}.asc");
        good(
            &format!("revoked{reason}-before"),
            &[&key],
            &format!("Test revoked{reason} <revoked{reason}@example.com>"),
        );
        bad(&format!("revoked{reason}-after"), &[&key], "was retired at 2025-01-01T00:00:00Z");
    }
}

#[test]
fn openpgp_subkeys_sign_for_their_key() {
    good("subkey", &["root.asc"], "Test root <root@example.com>");
    good("subkey-expired-before", &["root.asc"], "Test root <root@example.com>");
    good("subkey-revoked-before", &["root.asc"], "Test root <root@example.com>");
    good("subkey", &["root-one-subkey.asc"], "Test root <root@example.com>");
    let unknown = judge_commit(&case("subkey-expired-before.commit"), &policy(&["root-one-subkey.asc"]));
    assert!(matches!(unknown, Verdict::UnknownKey { .. }), "{unknown}");
}

#[test]
fn weak_and_strange_openpgp_signatures_do_not_count() {
    bad("sha1", &["rsa.asc"], "SHA-1");
    bad("old", &["old.asc"], "SHA-1 does not count");
    bad("text-mode", &["alive.asc"], "bytes as they are");
    bad("expiring-signature", &["alive.asc"], "expired at 2024-06-08");
    bad("two", &["alive.asc", "rsa.asc"], "exactly one");
    let raw = RawObject { kind: ObjectKind::Commit, bytes: &case("alive.commit") };
    let before = verify(&raw, &policy(&["alive.asc"]), "2024-05-31T00:00:00Z".parse().unwrap());
    assert!(before.to_string().contains("still to come"), "{before}");
}

#[test]
fn x509_certificates_sign_for_whom_they_name() {
    good("x509", &["ca.crt"], "ada@example.com");
    good("x509-keyid", &["ca.crt"], "ada@example.com");
    good("x509-uri", &["ca.crt"], "https://ci.example.com/job");
    good("x509-rsa", &["ca.crt"], "rsa@example.com");
    bad("x509-server", &["ca.crt"], "neither for signing code nor for signing mail");
    bad("x509-expired", &["ca.crt"], "not valid");
    bad("x509-early", &["ca.crt"], "not valid");
    bad("x509-sha1", &["ca.crt"], "hash");
    bad("x509-no-attributes", &["ca.crt"], "no signed attributes");
    bad("x509-no-certificate", &["ca.crt"], "certificate of the signer");
    bad("x509-not-detached", &["ca.crt"], "bytes of its own");
    let other = SignaturePolicy::from_files([("ca.crt".to_owned(), case("other-ca.crt"))]).unwrap();
    let unknown = judge_commit(&case("x509.commit"), &other);
    assert!(matches!(&unknown, Verdict::UnknownKey { key, .. } if key.contains("ada@example.com")), "{unknown}");
}

#[test]
fn identities_bound_what_an_authority_may_vouch_for() {
    let with = |identities: &str| {
        let files = [("ca.crt".to_owned(), case("ca.crt")), ("identities".to_owned(), identities.as_bytes().to_vec())];
        SignaturePolicy::from_files(files).unwrap()
    };
    assert!(judge_commit(&case("x509.commit"), &with("# people\nada@example.com\n")).is_good());
    assert!(judge_commit(&case("x509-uri.commit"), &with("https://ci.example.com/job\n")).is_good());
    for nobody in ["", "bob@example.com\n", "Ada@example.com\n", "example.com\n", "*@example.com\n"] {
        let refused = judge_commit(&case("x509.commit"), &with(nobody));
        assert!(refused.to_string().contains("identities does not name ada@example.com"), "{nobody}: {refused}");
    }
}

/// Where in a raw commit the signed bytes are: before and behind the header of the signature.
fn signed_bytes(raw: &[u8]) -> Vec<usize> {
    let text = std::str::from_utf8(raw).unwrap();
    let begin = text.find("gpgsig ").unwrap();
    let end = begin + text[begin..].find("-----END").map(|at| at + text[begin + at..].find('\n').unwrap() + 1).unwrap();
    (0..begin).chain(end..raw.len()).collect()
}

#[track_caller]
fn no_changed_byte_passes(raw: &[u8], policy: &SignaturePolicy, bits: &[u8]) {
    assert!(judge_commit(raw, policy).is_good());
    for at in signed_bytes(raw) {
        for bit in bits {
            let mut changed = raw.to_vec();
            changed[at] ^= bit;
            let verdict = judge_commit(&changed, policy);
            assert!(!verdict.is_good(), "byte {at} xor {bit}: {verdict}");
        }
        let shorter = [&raw[..at], &raw[at + 1..]].concat();
        assert!(!judge_commit(&shorter, policy).is_good(), "without byte {at}");
        let longer = [&raw[..at], b" ", &raw[at..]].concat();
        assert!(!judge_commit(&longer, policy).is_good(), "a space before byte {at}");
    }
    assert!(!judge_commit(&[raw, b"\n"].concat(), policy).is_good());
}

#[test]
fn no_changed_byte_passes_openpgp() {
    no_changed_byte_passes(&case("alive.commit"), &policy(&["alive.asc"]), &[1, 0x80]);
}

#[test]
fn no_changed_byte_passes_x509() {
    no_changed_byte_passes(&case("x509.commit"), &policy(&["ca.crt"]), &[1, 0x20, 0x80]);
}

/// Bytes of a signature, changed one by one: what still passes says the same as the original, such as another line break.
#[test]
fn changed_signatures_do_not_pass() {
    for (name, key) in [("alive", "alive.asc"), ("rsa", "rsa.asc"), ("x509", "ca.crt"), ("x509-rsa", "ca.crt")] {
        let raw = String::from_utf8(case(&format!("{name}.commit"))).unwrap();
        let policy = policy(&[key]);
        let begin = raw.find("gpgsig ").unwrap();
        let end = begin + raw[begin..].find("-----END").unwrap();
        for at in (begin + "gpgsig ".len()..end).filter(|at| raw.as_bytes()[*at].is_ascii_alphanumeric()) {
            let mut changed = raw.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'Q' } else { b'A' };
            let verdict = judge_commit(&changed, &policy);
            // Certificates that are not needed, key names and other words that are not signed may be anything.
            let signer = match &verdict {
                Verdict::Good { signer, .. } => signer.clone(),
                Verdict::Unsigned | Verdict::UnknownKey { .. } | Verdict::Bad { .. } => continue,
            };
            let original = judge_commit(raw.as_bytes(), &policy);
            assert!(matches!(original, Verdict::Good { signer: wanted, .. } if wanted == signer), "{name} at {at}");
        }
    }
}

#[test]
fn a_signature_of_another_object_does_not_count() {
    let signature_of = |name: &str| {
        let raw = String::from_utf8(case(&format!("{name}.commit"))).unwrap();
        let begin = raw.find("gpgsig ").unwrap();
        let end = begin + raw[begin..].find("\n\n").unwrap();
        raw[begin..end].to_owned()
    };
    let other = format!(
        "tree 0123456789012345678901234567890123456789\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n{}\n\nOther.\n",
        signature_of("alive")
    );
    let verdict = judge_commit(other.as_bytes(), &policy(&["alive.asc"]));
    assert!(verdict.to_string().contains("was changed"), "{verdict}");
}

#[test]
fn objects_that_are_none_are_refused() {
    let policy = policy(&["alive.asc"]);
    let raw = String::from_utf8(case("alive.commit")).unwrap();
    let refused = |bytes: &[u8], wanted: &str| {
        let verdict = judge_commit(bytes, &policy);
        assert!(matches!(&verdict, Verdict::Bad { reason } if reason.contains(wanted)), "{verdict:?}");
    };
    refused(b"", "does not begin");
    refused(&vec![b'x'; OBJECT_BYTES_MAX + 1], "at most");
    refused(raw.replace("BEGIN PGP SIGNATURE", "BEGIN PGP MESSAGE").as_bytes(), "kind that is not known");
    refused(
        raw.replace(" -----END PGP", " more\n -----BEGIN PGP SIGNATURE-----\n -----END PGP").as_bytes(),
        "beside it",
    );
    refused(
        raw.replace("-----END PGP SIGNATURE-----", "-----END PGP SIGNATURE-----\n and more").as_bytes(),
        "beside it",
    );
    let long = format!(" {}\n", "A".repeat(76)).repeat(2000);
    refused(raw.replace(" -----END PGP", &format!("{long} -----END PGP")).as_bytes(), "at most");
    let unsigned: String =
        raw.lines().filter(|line| !line.starts_with([' ', 'g'])).map(|line| format!("{line}\n")).collect();
    assert_eq!(judge_commit(unsigned.as_bytes(), &policy), Verdict::Unsigned);
    let as_tag = verify(&RawObject { kind: ObjectKind::Tag, bytes: raw.as_bytes() }, &policy, later());
    assert!(!as_tag.is_good());
}

#[test]
fn files_that_are_of_no_use_are_named() {
    let problem = |name: &str, bytes: &[u8], file: &str, wanted: &str| {
        let error =
            SignaturePolicy::from_files([(name.to_owned(), bytes.to_vec())]).expect_err("a file of no use was taken");
        assert_eq!(error.file, file);
        assert!(error.problem.contains(wanted), "{error}");
    };
    problem("a.asc", b"hello", "a.asc", "no armored");
    problem("a.asc", b"-----BEGIN PGP PRIVATE KEY BLOCK-----", "a.asc", "secret key");
    problem(
        "a.asc",
        b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n",
        "a.asc",
        "broken",
    );
    problem("ca.crt", b"hello", "ca.crt", "no certificate");
    problem("ca.crt", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "ca.crt", "broken");
    problem("allowed_signers", b"\na@b cert-authority ssh-ed25519 AAAA\n", "allowed_signers, line 2", "cert-authority");
    problem("identities", b"a@b\n", "identities", "no ca.crt");
    problem("key.gpg", b"x", "key.gpg", "not a file of keys");
    problem("a.asc", b"\xff", "a.asc", "not a text");
    problem("..data", b"x", "the folder of keys", "holds no key");
}

#[test]
fn several_blocks_may_stand_in_one_file() {
    let both = [case("rsa.asc"), case("alive.asc")].concat();
    let policy = SignaturePolicy::from_files([("team.asc".to_owned(), both)]).unwrap();
    assert!(judge_commit(&case("alive.commit"), &policy).is_good());
    assert!(judge_commit(&case("rsa.commit"), &policy).is_good());
    // Copies of one key add up.
    good("subkey", &["root-one-subkey.asc", "root.asc"], "Test root <root@example.com>");
    good("subkey-expired-before", &["root-one-subkey.asc", "root.asc"], "Test root <root@example.com>");
    good("expired-after", &["expired.asc", "renewed.asc"], "Test expired <expired@example.com>");
}

/// A repository with one file, made by the git of this machine.
struct Repository {
    folder: TempDir,
}

impl Repository {
    fn new() -> Self {
        let repository = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(repository.path("gnupg")).unwrap();
        repository.run("chmod", &["700", "gnupg"]);
        repository.git(&["init", "--quiet", "--initial-branch=main", "."]);
        repository.git(&["commit", "--quiet", "--allow-empty", "--message", "not signed"]);
        repository
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("HOME", self.folder.path()).env("GNUPGHOME", self.path("gnupg")).env("GIT_CONFIG_NOSYSTEM", "1");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "Ada").env(format!("GIT_{who}_EMAIL"), "ada@example.com");
            command.env(format!("GIT_{who}_DATE"), "1767225600 +0100");
        }
        command
    }

    #[track_caller]
    fn run(&self, program: &str, arguments: &[&str]) -> Vec<u8> {
        let output = self.command(program, arguments).output();
        let output = output.unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"));
        assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    #[track_caller]
    fn git(&self, arguments: &[&str]) -> Vec<u8> {
        self.run("git", arguments)
    }

    /// Makes an SSH key and has git sign with it; its line for `allowed_signers`.
    fn use_ssh_key(&self, name: &str, arguments: &[&str]) -> String {
        self.run("ssh-keygen", &[&["-q", "-N", "", "-C", "", "-f", name], arguments].concat());
        self.git(&["config", "gpg.format", "ssh"]);
        self.git(&["config", "user.signingkey", self.path(name).to_str().unwrap()]);
        fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap().trim().to_owned()
    }

    fn signed_commit(&self) -> Vec<u8> {
        self.git(&["commit", "--quiet", "--allow-empty", "--gpg-sign", "--message", "signed\n\nWith a body."]);
        self.git(&["cat-file", "commit", "HEAD"])
    }

    fn signed_tag(&self, name: &str) -> Vec<u8> {
        self.git(&["tag", "--sign", "--message", "signed", name]);
        self.git(&["cat-file", "tag", name])
    }

    /// What git itself thinks of the commit.
    fn git_agrees(&self, allowed_signers: &str) -> bool {
        fs::write(self.path("allowed_signers"), allowed_signers).unwrap();
        self.git(&["config", "gpg.ssh.allowedSignersFile", self.path("allowed_signers").to_str().unwrap()]);
        self.command("git", &["verify-commit", "HEAD"]).output().unwrap().status.success()
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        // The agent that gpg started; without one this says so and does nothing.
        let _ = self.command("gpgconf", &["--kill", "all"]).output();
    }
}

fn signers(lines: &str) -> SignaturePolicy {
    SignaturePolicy::from_files([("allowed_signers".to_owned(), lines.as_bytes().to_vec())]).unwrap()
}

#[test]
fn git_signs_with_ssh_keys_of_every_kind() {
    let repository = Repository::new();
    for (name, arguments) in [
        ("ed25519", ["-t", "ed25519"].as_slice()),
        ("p256", &["-t", "ecdsa", "-b", "256"]),
        ("p384", &["-t", "ecdsa", "-b", "384"]),
        ("p521", &["-t", "ecdsa", "-b", "521"]),
        ("rsa", &["-t", "rsa", "-b", "2048"]),
    ] {
        let key = repository.use_ssh_key(name, arguments);
        let policy = signers(&format!("ada@example.com {key}\n"));
        let wanted = Verdict::Good { signer: "ada@example.com".to_owned(), kind: SignatureKind::Ssh };
        let commit = repository.signed_commit();
        assert_eq!(judge_commit(&commit, &policy), wanted, "{name}");
        let tag = repository.signed_tag(name);
        assert_eq!(verify(&RawObject { kind: ObjectKind::Tag, bytes: &tag }, &policy, later()), wanted, "{name}");
        // A tag that was changed, and a signature that was cut off.
        let changed = String::from_utf8(tag).unwrap().replace("\n\nsigned\n", "\n\nchanged\n");
        assert!(!verify(&RawObject { kind: ObjectKind::Tag, bytes: changed.as_bytes() }, &policy, later()).is_good());
        let cut = &changed[..changed.find("-----BEGIN").unwrap()];
        assert_eq!(
            verify(&RawObject { kind: ObjectKind::Tag, bytes: cut.as_bytes() }, &policy, later()),
            Verdict::Unsigned
        );
    }
}

#[test]
fn lines_of_allowed_signers_count_as_they_do_for_git() {
    let repository = Repository::new();
    let other = repository.use_ssh_key("other", &["-t", "ed25519"]);
    let key = repository.use_ssh_key("own", &["-t", "ed25519"]);
    // Dated 2026-01-01, by GIT_COMMITTER_DATE.
    let commit = repository.signed_commit();
    for (line, wanted) in [
        (format!("ada@example.com {key}"), ""),
        (format!("somebody@else.example {key}"), ""),
        (format!("* namespaces=\"file,git\" {key}"), ""),
        (format!("* namespaces=\"g*\" {key}"), ""),
        (format!("* valid-after=\"20250101Z\",valid-before=\"20270101Z\" {key}"), ""),
        (format!("* namespaces=\"file\" {key}\n* {key}"), ""),
        (format!("* namespaces=\"file\" {key}"), "namespace git"),
        (format!("* namespaces=\"*,!git\" {key}"), "namespace git"),
        (format!("* valid-after=\"20260201Z\" {key}"), "before allowed_signers"),
        (format!("* valid-before=\"20251231Z\" {key}"), "ceased to be valid"),
        (format!("ada@example.com {other}"), "which is not in the folder"),
    ] {
        let verdict = judge_commit(&commit, &signers(&line));
        assert_eq!(verdict.is_good(), wanted.is_empty(), "{line}: {verdict}");
        assert!(verdict.to_string().contains(wanted), "{line}: {verdict}");
        assert_eq!(repository.git_agrees(&line), verdict.is_good(), "git thinks otherwise of {line}");
    }
}

#[test]
fn no_changed_byte_passes_ssh() {
    let repository = Repository::new();
    let key = repository.use_ssh_key("own", &["-t", "ed25519"]);
    no_changed_byte_passes(&repository.signed_commit(), &signers(&format!("* {key}")), &[1, 0x20, 0x80]);
}

#[test]
fn no_changed_byte_of_an_ssh_signature_passes() {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let repository = Repository::new();
    let key = repository.use_ssh_key("own", &["-t", "ed25519"]);
    let policy = signers(&format!("* {key}"));
    let raw = String::from_utf8(repository.signed_commit()).unwrap();
    let begin = raw.find("SIGNATURE-----\n").unwrap() + "SIGNATURE-----\n".len();
    let end = raw.find(" -----END").unwrap();
    let bytes = STANDARD.decode(raw[begin..end].split_ascii_whitespace().collect::<String>()).unwrap();
    let with = |bytes: &[u8]| {
        let text = STANDARD.encode(bytes).into_bytes();
        let lines =
            text.chunks(70).map(|line| format!(" {}\n", std::str::from_utf8(line).unwrap())).collect::<String>();
        judge_commit(format!("{}{lines}{}", &raw[..begin], &raw[end..]).as_bytes(), &policy)
    };
    assert!(with(&bytes).is_good());
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            assert!(!with(&changed).is_good(), "byte {at}, bit {bit}");
        }
        assert!(!with(&bytes[..at]).is_good(), "cut at {at}");
    }
    assert!(!with(&[bytes, vec![0]].concat()).is_good());
}

#[test]
fn a_signature_for_another_purpose_is_none_of_git() {
    let repository = Repository::new();
    let key = repository.use_ssh_key("own", &["-t", "ed25519"]);
    let raw = repository.git(&["cat-file", "commit", "HEAD"]);
    assert_eq!(judge_commit(&raw, &signers(&format!("* {key}"))), Verdict::Unsigned);
    fs::write(repository.path("payload"), &raw).unwrap();
    repository.run("ssh-keygen", &["-q", "-Y", "sign", "-n", "file", "-f", "own", "payload"]);
    let signature = fs::read_to_string(repository.path("payload.sig")).unwrap();
    let header = format!("gpgsig {}\n\nnot signed", signature.trim_end().replace('\n', "\n "));
    let signed = String::from_utf8(raw).unwrap().replacen("\nnot signed", &header, 1);
    let verdict = judge_commit(signed.as_bytes(), &signers(&format!("* {key}")));
    assert!(verdict.to_string().contains("made for file, not for git"), "{verdict}");
}

/// A text or number as SSH writes it.
fn wire(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// A security key in software: its line for `allowed_signers`, and a commit that it signed with these flags.
fn security_key(flags: u8) -> (String, String) {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use sha2::{Digest, Sha256, Sha512};
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let public = [wire(b"sk-ssh-ed25519@openssh.com"), wire(pair.public_key_raw()), wire(b"ssh:")].concat();
    let payload = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nA commit.\n";
    let hash = Sha512::digest(payload).to_vec();
    let parts = [wire(b"git"), wire(b""), wire(b"sha512")].concat();
    let signed = [b"SSHSIG".to_vec(), parts.clone(), wire(&hash)].concat();
    let trailer = [&[flags][..], &7_u32.to_be_bytes()].concat();
    let by_device = [Sha256::digest("ssh:").to_vec(), trailer.clone(), Sha256::digest(&signed).to_vec()].concat();
    let signature = rcgen::SigningKey::sign(&pair, &by_device).unwrap();
    let signature = [wire(b"sk-ssh-ed25519@openssh.com"), wire(&signature), trailer].concat();
    let blob = [b"SSHSIG".to_vec(), 1_u32.to_be_bytes().to_vec(), wire(&public), parts, wire(&signature)].concat();
    let lines: Vec<String> =
        STANDARD.encode(blob).as_bytes().chunks(70).map(|line| String::from_utf8(line.to_vec()).unwrap()).collect();
    let armor = format!("-----BEGIN SSH SIGNATURE-----\n {}\n -----END SSH SIGNATURE-----", lines.join("\n "));
    (
        format!("ada sk-ssh-ed25519@openssh.com {}", STANDARD.encode(public)),
        payload.replacen("\n\n", &format!("\ngpgsig {armor}\n\n"), 1),
    )
}

#[test]
fn security_keys_count_when_they_were_touched() {
    for (flags, wanted) in [(1, ""), (5, ""), (0, "not touched"), (4, "not touched")] {
        let (key, commit) = security_key(flags);
        let verdict = judge_commit(commit.as_bytes(), &signers(&key));
        assert_eq!(verdict.is_good(), wanted.is_empty(), "{flags}: {verdict}");
        assert!(verdict.to_string().contains(wanted), "{flags}: {verdict}");
        // The flags are signed.
        assert!(!judge_commit(commit.replace("A commit", "B commit").as_bytes(), &signers(&key)).is_good());
    }
}

#[test]
fn git_signs_with_gpg() {
    let repository = Repository::new();
    for (address, algorithm) in [("ed@example.com", "ed25519"), ("rsa@example.com", "rsa2048")] {
        let name = format!("Ada <{address}>");
        let quiet = ["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""];
        repository
            .run("gpg", &[quiet.as_slice(), &["--quick-generate-key", &name, algorithm, "sign", "never"]].concat());
        repository.git(&["config", "user.signingkey", address]);
        let key = repository.run("gpg", &["--batch", "--armor", "--export", address]);
        let policy = SignaturePolicy::from_files([(format!("{algorithm}.asc"), key)]).unwrap();
        let wanted = Verdict::Good { signer: name, kind: SignatureKind::OpenPgp };
        assert_eq!(judge_commit(&repository.signed_commit(), &policy), wanted);
        let tag = repository.signed_tag(algorithm);
        assert_eq!(verify(&RawObject { kind: ObjectKind::Tag, bytes: &tag }, &policy, later()), wanted);
        assert!(repository.git_agrees(""), "git thinks otherwise");
    }
}

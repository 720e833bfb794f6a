//! What the real `sops` encrypted is decrypted as it does it, and nothing that was changed is.
//!
//! The cases were made by `cases/make.sh`.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::*;

fn case(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sops/cases").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn keys(files: &[&str]) -> Keys {
    Keys::from_files(files.iter().map(|name| ((*name).to_owned(), case(name)))).expect("the test keys are keys")
}

/// The documents of a file, as the manifests' reader makes them.
fn documents(text: &[u8]) -> Vec<Value> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    serde_saphyr::from_multiple_with_options(std::str::from_utf8(text).unwrap(), options).unwrap()
}

fn decrypt_text(text: &[u8], format: Format, keys: &Keys) -> Result<Vec<Value>, SopsError> {
    decrypt(text, format, documents(text), keys)
}

/// Numbers as floats: what `sops` prints of a JSON file has lost the difference.
fn floats(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.iter().map(floats).collect(),
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), floats(value))).collect(),
        Value::Null | Value::Bool(_) | Value::String(_) => value.clone(),
    }
}

#[track_caller]
fn check(name: &str, key_files: &[&str]) {
    let (stem, extension) = name.rsplit_once('.').unwrap();
    let decrypted =
        decrypt_text(&case(name), Format::of(name), &keys(key_files)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let wanted = documents(&case(&format!("{stem}.plain.{extension}")));
    let both = |documents: &[Value]| documents.iter().map(floats).collect::<Vec<_>>();
    assert_eq!(both(&decrypted), both(&wanted), "{name}");
}

#[test]
fn files_are_decrypted_as_sops_does_it() {
    for name in [
        "secret.yaml",
        "types.yaml",
        "documents.yaml",
        "mac-only.yaml",
        "unencrypted-regex.yaml",
        "unencrypted-suffix.yaml",
        "secret.json",
        "both.yaml",
    ] {
        check(name, &["first.agekey"]);
    }
    check("secret.yaml", &["other.agekey", "second.agekey"]);
    check("pgp.yaml", &["open.asc"]);
    check("pgp-locked.yaml", &["open.asc", "locked.asc", "locked.passphrase"]);
    check("both.yaml", &["other.agekey", "locked.asc", "locked.passphrase"]);
    check("ssh-ed25519.yaml", &["ssh-ed25519.agekey"]);
    check("ssh-rsa.yaml", &["ssh-rsa.agekey", "first.agekey"]);
}

#[test]
fn types_survive() {
    let found = decrypt_text(&case("types.yaml"), Format::Yaml, &keys(&["first.agekey"])).unwrap();
    let found = &found[0];
    assert_eq!(found["text"], json!("true"));
    assert_eq!(found["truth"], json!(true));
    assert_eq!(found["whole"], json!(42));
    assert_eq!(found["fraction"], json!(1.5));
    assert_eq!(found["round"], json!(3));
    assert_eq!(found["list"][2][1], json!(true));
    assert!(found.get("sops").is_none());
}

#[test]
fn a_file_without_sops_comes_back_as_it_is() {
    let text = case("open.yaml");
    let plain = documents(&text);
    assert!(!is_encrypted(&plain));
    assert_eq!(decrypt(&text, Format::Yaml, plain.clone(), &Keys::default()), Ok(plain));
}

#[test]
fn without_the_key_the_recipients_are_named() {
    let recipients = |text: &str| {
        text.lines().filter_map(|line| line.trim().strip_prefix("- recipient: ").map(str::to_owned)).collect::<Vec<_>>()
    };
    let text = case("secret.yaml");
    let named = recipients(std::str::from_utf8(&text).unwrap());
    assert_eq!(named.len(), 2);
    let wrong = decrypt_text(&text, Format::Yaml, &keys(&["other.agekey", "open.asc"]));
    assert_eq!(wrong, Err(SopsError::NoKey(named.clone())));
    assert!(wrong.unwrap_err().to_string().contains(&named[1]));
    assert_eq!(decrypt_text(&text, Format::Yaml, &Keys::default()), Err(SopsError::NoKeys(named)));
}

#[track_caller]
fn refused(text: &str, format: Format) -> SopsError {
    let keys = keys(&["first.agekey"]);
    let error =
        decrypt(text.as_bytes(), format, documents(text.as_bytes()), &keys).expect_err("a changed file was decrypted");
    for secret in ["correct horse", "admin", "postgres", "AGE-SECRET"] {
        assert!(!error.to_string().contains(secret), "{error}");
    }
    error
}

/// The case `secret.yaml`, changed.
#[track_caller]
fn changed(from: &str, to: &str) -> SopsError {
    let text = String::from_utf8(case("secret.yaml")).unwrap();
    assert!(text.contains(from), "the case has no {from}");
    refused(&text.replacen(from, to, 1), Format::Yaml)
}

/// The encrypted value of a field in the case `secret.yaml`.
fn value_of(field: &str) -> String {
    let text = String::from_utf8(case("secret.yaml")).unwrap();
    let line = text.lines().find_map(|line| line.trim().strip_prefix(&format!("{field}: ")).map(str::to_owned));
    line.expect("the case has the field")
}

#[test]
fn a_changed_value_is_refused_by_name() {
    let password = value_of("password");
    let (username, zebra) = (value_of("username"), value_of("zebra"));
    let at = SopsError::Changed("stringData.password".to_owned());
    // Swapped, moved from another mapping, cut in its Base64, emptied, of another type, or with another tag.
    assert_eq!(changed(&password, &username), at);
    assert_eq!(changed(&password, &zebra), at);
    assert_eq!(changed(&password, &password.replace("==,iv", ",iv").replace("=,iv", ",iv")), at);
    assert_eq!(changed(&password, &password.replacen("data:", "data:A", 1)), at);
    assert_eq!(changed(&password, &password.replace("type:str", "type:int")), at);
    assert_eq!(changed(&password, &password.replace("type:str", "type:comment")), at);
    assert_eq!(changed(&password, &password.replace("tag:", "tag:AAAA")), at);
    assert_eq!(changed(&password, "plain"), SopsError::NotEncrypted("stringData.password".to_owned()));
    assert_eq!(changed(&password, "5"), SopsError::NotEncrypted("stringData.password".to_owned()));
}

#[test]
fn every_character_of_an_encrypted_value_matters() {
    let text = case("secret.yaml");
    let trees = tree::from_yaml(&text).unwrap();
    let metadata = Metadata::of(&trees).unwrap();
    let key = keys(&["first.agekey"]).open(&metadata.recipients).unwrap();
    let open = |text: &str| sealed::open(text, &key, b"stringData:password:");
    let password = value_of("password");
    assert!(open(&password).is_ok());
    // Behind `type:` stands what the MAC covers.
    for at in 0..password.find("type:").unwrap() {
        let mut bytes = password.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        assert!(open(std::str::from_utf8(&bytes).unwrap()).is_err(), "character {at}");
    }
}

#[test]
fn what_the_mac_covers_cannot_be_changed() {
    let mac = value_of("mac");
    let all_changes = [
        // A value that was never encrypted, emptied values, one taken out, one put in, another order, the MAC, its date.
        ("name: database", "name: other"),
        ("replicas: \"3\"", "replicas: \"4\""),
        ("immutable: true", "immutable: false"),
        ("type: Opaque\n", ""),
        ("type: Opaque\n", "type: Opaque\nmore: text\n"),
        ("apiVersion: v1\nkind: Secret\n", "kind: Secret\napiVersion: v1\n"),
        (value_of("apple").as_str(), "\"\""),
        (mac.as_str(), &mac.replace("data:", "data:AAAA")),
        (mac.as_str(), value_of("password").as_str()),
        (mac.as_str(), "\"\""),
        ("lastmodified: \"20", "lastmodified: \"21"),
    ]
    .map(|(from, to)| (from.to_owned(), to.to_owned()));
    for (from, to) in all_changes {
        assert_eq!(changed(&from, &to), SopsError::Mac, "{from} -> {to}");
    }
    // A rule that leaves more values open does not make texts of encrypted values.
    assert_eq!(changed("encrypted_regex: ^(data|stringData)$", "encrypted_regex: ^data$"), SopsError::Mac);
}

#[test]
fn with_mac_only_encrypted_the_rest_is_free_and_the_values_are_not() {
    let text = String::from_utf8(case("mac-only.yaml")).unwrap();
    let open = text.replace("anyone may change this", "changed");
    let found = decrypt_text(open.as_bytes(), Format::Yaml, &keys(&["first.agekey"])).unwrap();
    assert_eq!(found[0]["open"], json!("changed"));
    let lines: Vec<&str> = text.lines().collect();
    let gone =
        lines.iter().filter(|line| !line.starts_with("two_secret")).fold(String::new(), |all, line| all + line + "\n");
    assert_eq!(refused(&gone, Format::Yaml), SopsError::Mac);
    assert_eq!(
        refused(&text.replace("mac_only_encrypted: true\n", "mac_only_encrypted: false\n"), Format::Yaml),
        SopsError::Mac
    );
}

#[test]
fn the_format_of_the_file_counts() {
    let text = String::from_utf8(case("secret.json")).unwrap();
    assert!(text.contains("12345678901234567000"));
    assert_eq!(refused(&text.replace("12345678901234567000", "12345678901234569000"), Format::Json), SopsError::Mac);
    assert_eq!(refused(&text.replace("\"flag\": true", "\"flag\": false"), Format::Json), SopsError::Mac);
    let two =
        decrypt(format!("{text} {{}}").as_bytes(), Format::Json, documents(text.as_bytes()), &keys(&["first.agekey"]));
    assert!(matches!(two, Err(SopsError::Broken { problem, .. }) if problem.contains("behind")));
}

#[test]
fn what_is_not_supported_says_so() {
    let unsupported = |text: &[u8], word: &str| {
        let error = refused(std::str::from_utf8(text).unwrap(), Format::Yaml);
        assert!(matches!(&error, SopsError::Unsupported(said) if said.contains(word)), "{error}");
    };
    unsupported(&case("refused-shamir.yaml"), "Shamir");
    unsupported(&case("refused-comment-rule.yaml"), "comments");
    let two = [case("pgp.yaml"), b"---\n".to_vec(), case("both.yaml")].concat();
    unsupported(&two, "encrypted apart");
    unsupported(b"a: b\nsops:\n  kms:\n    - arn: x\n      enc: y\n  mac: ENC[]\n  lastmodified: x\n", "kms only");
    let many = "    - {recipient: age1x, enc: x}\n".repeat(65);
    unsupported(format!("a: b\nsops:\n  age:\n{many}  mac: x\n  lastmodified: x\n").as_bytes(), "65 recipients");
}

#[test]
fn broken_files_are_named_by_field() {
    let broken = |text: &str, wanted: &str| {
        let error = refused(text, Format::Yaml);
        assert!(matches!(&error, SopsError::Broken { field, .. } if field == wanted), "{wanted}: {error}");
    };
    let text = String::from_utf8(case("pgp.yaml")).unwrap();
    broken("a: b\nsops: {}\n", "sops");
    broken(&text.replace("lastmodified", "modified"), "sops.lastmodified");
    broken(&text.replace("mac: ", "cam: "), "sops.mac");
    broken(&text.replace("enc: |-", "con: |-"), "sops.pgp[0]");
    broken(&text.replace("unencrypted_suffix: _unencrypted", "unencrypted_suffix: a\n    encrypted_suffix: b"), "sops");
    broken(&text.replace("unencrypted_suffix: _unencrypted", "encrypted_regex: \"(\""), "sops.encrypted_regex");
    broken(&format!("anchor: &name text\n{text}"), "line 1");
    broken(&format!("tagged: !text text\n{text}"), "line 1");
    broken(&format!("1: text\n{text}"), "line 1");
    broken(&format!("plain: text\n---\n{text}"), "sops");
}

/// A document whose two readings are not one, as a reader with other rules would make it.
#[test]
fn what_was_not_proved_is_not_used() {
    let text = case("types.yaml");
    let keys = keys(&["first.agekey"]);
    let honest = documents(&text);
    assert!(decrypt(&text, Format::Yaml, honest.clone(), &keys).is_ok());
    let open = "/plain_unencrypted/any";
    for (at, other) in [
        ("/text", json!("ENC[other]")),
        ("/text", json!(5)),
        ("/nothing", json!("a value")),
        ("/hollow", json!({"more": 1})),
        ("/none", json!(["more"])),
        ("/list/2", json!("a text")),
        (&format!("{open}/0"), json!(2)),
        (&format!("{open}/0"), json!("1")),
        (&format!("{open}/2"), json!("no")),
        (&format!("{open}/2"), json!(true)),
        (&format!("{open}/4"), json!(true)),
        ("/plain_unencrypted/empty", json!(0)),
        ("/plain_unencrypted", json!({})),
        ("", json!([])),
    ] {
        let mut forged = honest.clone();
        *forged[0].pointer_mut(at).unwrap() = other.clone();
        if at.is_empty() {
            forged.push(honest[0].clone());
        }
        let refused = decrypt(&text, Format::Yaml, forged, &keys);
        assert!(matches!(&refused, Err(SopsError::Broken { .. })), "{at} {other}: {refused:?}");
    }
    let mut more = honest.clone();
    more[0]["more"] = json!("not proved");
    assert!(decrypt(&text, Format::Yaml, more, &keys).is_err());
    assert!(decrypt(&text, Format::Yaml, [honest.clone(), vec![json!({"kind": "Secret"})]].concat(), &keys).is_err());
}

#[test]
fn empty_documents_do_not_matter() {
    let text = [case("secret.yaml"), b"---\n# nothing\n---\n".to_vec()].concat();
    let found = decrypt_text(&text, Format::Yaml, &keys(&["first.agekey"])).unwrap();
    assert_eq!(found[0]["stringData"]["username"], json!("admin"));
}

#[test]
fn deep_and_huge_files_end_early() {
    let own = "sops: {mac: x, lastmodified: x, age: [{recipient: x, enc: x}]}\n";
    let plain = vec![json!({"sops": {}})];
    let keys = keys(&["first.agekey"]);
    let refuse = |text: &str, format| decrypt(text.as_bytes(), format, plain.clone(), &keys).unwrap_err();
    let deep = format!("a: {}1{}\n{own}", "[".repeat(150), "]".repeat(150));
    assert!(matches!(refuse(&deep, Format::Yaml), SopsError::Broken { .. }));
    let deeper = format!("a: {}", "[".repeat(500_000));
    assert!(matches!(refuse(&deeper, Format::Yaml), SopsError::Broken { .. }));
    let json = format!("{{\"a\": {}", "[".repeat(500_000));
    assert!(matches!(refuse(&json, Format::Json), SopsError::Broken { .. }));
    let huge = format!("a: {}\n{own}", "x".repeat(TEXT_BYTES_MAX));
    assert!(matches!(refuse(&huge, Format::Yaml), SopsError::Unsupported(_)));
    let large =
        format!("a: b\nsops: {{mac: x, lastmodified: x, age: [{{recipient: x, enc: {}}}]}}\n", "x".repeat(70_000));
    assert!(matches!(refuse(&large, Format::Yaml), SopsError::Broken { field, .. } if field == "sops.age[0].enc"));
}

#[test]
fn recipients_are_shown_without_what_could_mislead() {
    let own =
        "a: b\nsops:\n  mac: x\n  lastmodified: x\n  age:\n    - {recipient: \"age1<script>\\n\\e[31m\", enc: x}\n";
    assert_eq!(refused(own, Format::Yaml), SopsError::NoKey(vec!["age1script31m".to_owned()]));
}

#[test]
fn key_files_that_are_of_no_use_are_named() {
    let from = |files: &[(&str, &[u8])]| {
        let files = files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()));
        Keys::from_files(files)
    };
    let problem = |name: &str, bytes: &[u8], wanted: &str| {
        let error = from(&[(name, bytes)]).expect_err("a file of no use was taken");
        assert_eq!(error.file, name);
        assert!(error.problem.contains(wanted), "{error}");
        assert!(!error.to_string().contains("AGE-SECRET-KEY-1Q"), "{error}");
    };
    problem("a.agekey", b"", "no identity");
    problem("a.agekey", b"age1ayy6jgsg5wgx5ae4q3pkwk4m2phmnfxu09t4qa8gwrm8pjecls4qjjjqt6", "recipient");
    problem("a.agekey", b"AGE-SECRET-KEY-1QQQQ", "no identity");
    problem("a.agekey", b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", "SSH");
    problem("a.agekey", b"\xff\xfe", "not a text");
    problem("a.asc", b"hello", "not an armored");
    problem("locked.asc", &case("locked.asc"), ".passphrase");
    problem("locked.passphrase", b"x", "locked.asc");
    problem("keys.txt", b"x", "names end in");
    assert!(from(&[("..data", b"x"), ("..2026", b"x")]).unwrap().is_empty());
    assert_eq!(format!("{:?}", keys(&["first.agekey", "open.asc"])), "Keys(1 age, 1 OpenPGP)");
}

#[test]
fn a_wrong_passphrase_opens_nothing() {
    let files = [("locked.asc".to_owned(), case("locked.asc")), ("locked.passphrase".to_owned(), b"wrong".to_vec())];
    let keys = Keys::from_files(files).unwrap();
    assert!(matches!(decrypt_text(&case("pgp-locked.yaml"), Format::Yaml, &keys), Err(SopsError::NoKey(_))));
}

#[test]
fn plain_scalars_are_what_sops_takes_them_for() {
    let plain = |text: &str| match scalar::plain(text) {
        Node::Plain(bytes) => bytes,
        Node::Text(text) => format!("text {text}"),
        Node::Null => "null".to_owned(),
        Node::Map(_) | Node::List(_) => panic!("a scalar became a collection"),
    };
    for (text, wanted) in [
        ("", "null"),
        ("~", "null"),
        ("True", "True"),
        ("FALSE", "False"),
        ("yes", "text yes"),
        ("on", "text on"),
        ("0", "0"),
        ("-7", "-7"),
        ("+12", "12"),
        ("0644", "420"),
        ("0o17", "15"),
        ("0x_1F", "31"),
        ("-0b101", "-5"),
        ("1_000", "1000"),
        ("08", "8"),
        ("1.50", "1.5"),
        ("1e3", "1000"),
        (".5", "0.5"),
        ("-.INF", "-Inf"),
        (".nan", "NaN"),
        ("1e400", "text 1e400"),
        ("1.5.2", "text 1.5.2"),
        ("-", "text -"),
        ("--1", "text --1"),
        ("0x", "text 0x"),
        ("+", "text +"),
        ("5-6", "text 5-6"),
        ("2001-12-14", "2001-12-14T00:00:00Z"),
        ("2001-1-2 3:4:5.10", "2001-01-02T03:04:05.1Z"),
        ("2001-12-14t21:59:43.10-05:00", "2001-12-14T21:59:43.1-05:00"),
        ("2001-13-14", "text 2001-13-14"),
        ("2001-12-14T21:59:43", "text 2001-12-14T21:59:43"),
        ("12345678901234567890123", "12345678901234568000000"),
    ] {
        assert_eq!(plain(text), wanted, "{text}");
    }
}

/// With the real `sops` on PATH: what it encrypts now is decrypted too. Without it, the cases above have to do.
#[test]
fn the_sops_of_this_machine_is_understood() {
    let version = Command::new("sops").args(["--version", "--disable-version-check"]).output();
    if !version.is_ok_and(|output| output.status.success()) {
        return;
    }
    let recipient = String::from_utf8(case("first.agekey")).unwrap();
    let recipient = recipient.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let plain = "kind: Secret\nstringData:\n  z: first\n  a: second\n  number: \"5\"\n";
    std::fs::write(folder.path().join("plain.yaml"), plain).unwrap();
    let output = Command::new("sops")
        .args(["--encrypt", "--age", &recipient, "plain.yaml"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(decrypt_text(&output.stdout, Format::Yaml, &keys(&["first.agekey"])), Ok(documents(plain.as_bytes())));
}

//! What comes from Git is used when it is signed by somebody known, opened when it is encrypted for us, and filled in from
//! the cluster where it says so.

use std::path::Path;
use std::process::Command;

use crate::support::fixture::AppFixture;
use crate::support::renderer::RendererProcess;
use crate::support::story::Story;

/// Makes an SSH key and has the working copy sign with it; returns the line of `allowed_signers`.
fn signing(story: &Story, name: &str) -> String {
    let file = story.folder().join(name);
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&file).status();
    assert!(made.expect("ssh-keygen runs").success());
    let public = file.with_extension("pub");
    story.repo.git(&["config", "gpg.format", "ssh"]);
    story.repo.git(&["config", "user.signingkey", public.to_str().expect("paths are text")]);
    story.repo.git(&["config", "commit.gpgsign", "true"]);
    let key = std::fs::read_to_string(&public).expect("the key was written");
    format!("{name}@example.com namespaces=\"git\" {key}")
}

/// Starts the agent with a further flag that names a folder with these files.
fn start_with(story: &mut Story, flag: &str, files: &[(&str, &str)]) {
    let folder = story.folder().join(flag.trim_start_matches('-'));
    std::fs::create_dir_all(&folder).expect("the session folder can be written");
    for (name, text) in files {
        std::fs::write(folder.join(name), text).expect("the session folder can be written");
    }
    let mut settings = story.settings();
    settings.extra.extend([flag.to_owned(), folder.display().to_string()]);
    story.start_agent_with(settings);
}

#[test]
fn a_head_that_nobody_known_signed_is_not_applied_and_says_why() {
    let mut story = Story::begin("signed");
    let ada = signing(&story, "ada");
    AppFixture::new("web").replicas(2).write(&story.repo, &story.namespace);
    story.repo.commit_and_push("signed by ada");
    start_with(&mut story, "--verify-keys", &[("allowed_signers", &ada)]);
    story.wait_settled("web", "1.0.0");
    let start = story.mark();

    story.repo.git(&["config", "commit.gpgsign", "false"]);
    story.repo.bump("web", "1.1.0");
    story.wait_app("web", "says that nobody signed", |app| {
        app.phase() == "SourceFailed" && app.why().contains("not signed") && app.effective("version") == "1.0.0"
    });
    // Somebody else's key is no better.
    let bob = signing(&story, "bob");
    story.repo.bump("web", "1.2.0");
    story.wait_app("web", "says that the key is unknown", |app| {
        app.why().contains("is not in the folder of --verify-keys")
    });
    // Nor does a restart forget that.
    story.agent().restart();
    story.wait_app("web", "still says so", |app| {
        app.phase() == "SourceFailed" && app.why().contains("is not in the folder of --verify-keys")
    });
    story.observer.log().assert_untouched(start, "1.0.0");

    // The folder is read again: now bob counts.
    let signers = story.folder().join("verify-keys/allowed_signers");
    std::fs::write(signers, format!("{ada}{bob}")).expect("the session folder can be written");
    story.wait_settled("web", "1.2.0");
}

#[test]
fn an_app_changes_only_by_those_who_may_change_it_and_others_do_not_hold_it_up() {
    let mut story = Story::begin("guarded");
    let ada = signing(&story, "ada");
    AppFixture::new("web").replicas(2).write(&story.repo, &story.namespace);
    AppFixture::new("api").replicas(2).write(&story.repo, &story.namespace);
    story.repo.commit_and_push("signed by ada");
    let bob = signing(&story, "bob");
    let signers = format!("{ada}{bob}");
    let guarded = "# who may change what\nweb ada@example.com\n";
    story.repo.git(&["config", "user.signingkey", &story.folder().join("ada.pub").display().to_string()]);
    start_with(&mut story, "--verify-keys", &[("allowed_signers", &signers), ("applications", guarded)]);
    story.wait_settled("web", "1.0.0");
    story.wait_settled("api", "1.0.0");
    let view = story.agent().get("/apis/tidegate.dev/v1/applications/web/rollout").1;
    assert!(view.to_string().contains(r#""signer":"ada@example.com""#), "{view}");

    // Bob may change api, and web stays Synced under his heads.
    story.repo.git(&["config", "user.signingkey", &story.folder().join("bob.pub").display().to_string()]);
    story.repo.bump("api", "1.1.0");
    story.wait_settled("api", "1.1.0");
    story.wait_settled("web", "1.0.0");
    let start = story.mark();
    // He may not change web: neither what it runs, nor how, nor take it out.
    let refused = |story: &Story| {
        story.wait_app("web", "says who may change it", |app| {
            app.phase() == "SourceFailed"
                && app.why().contains("signed by bob@example.com")
                && app.why().contains("web is changed only by ada@example.com")
                && app.effective("version") == "1.0.0"
        });
    };
    story.repo.bump("web", "1.1.0");
    refused(&story);
    story.agent().restart();
    refused(&story);
    story.repo.edit("apps/web.yaml", "  version: 1.1.0", "  version: 1.0.0\n  sync: {prune: true}");
    story.repo.commit_and_push("prunes from now on");
    refused(&story);
    story.repo.remove("apps/web.yaml");
    story.repo.commit_and_push("web leaves");
    refused(&story);
    story.observer.log().assert_untouched(start, "1.0.0");
    // As it was vouched for it is fine, whoever puts it back.
    story.repo.git(&["checkout", "HEAD~3", "--", "apps/web.yaml"]);
    story.repo.commit_and_push("web as it was");
    story.wait_settled("web", "1.0.0");
    // And Ada changes it.
    story.repo.git(&["config", "user.signingkey", &story.folder().join("ada.pub").display().to_string()]);
    story.repo.bump("web", "1.2.0");
    story.wait_settled("web", "1.2.0");
}

/// A Secret that the real `sops` encrypted, and the test key that opens it.
const ENCRYPTED: &str = include_str!("../../src/sops/cases/secret.yaml");
const KEY: &str = include_str!("../../src/sops/cases/first.agekey");

/// Whether any file below a folder holds these bytes.
fn is_on_disk(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return is_on_disk(&path, bytes);
        }
        std::fs::read(&path).is_ok_and(|text| text.windows(bytes.len()).any(|part| part == bytes))
    })
}

#[test]
fn an_encrypted_secret_is_opened_in_memory_alone() {
    let mut story = Story::begin("sops");
    AppFixture::new("web").replicas(2).write(&story.repo, &story.namespace);
    story.repo.write("manifests/web/secret.yaml", ENCRYPTED);
    // The same one through kustomize.
    AppFixture::new("tool").replicas(1).write(&story.repo, &story.namespace);
    story.repo.write("manifests/tool/secret.yaml", ENCRYPTED);
    story.repo.write(
        "manifests/tool/kustomization.yaml",
        "namePrefix: tool-\nresources: [secret.yaml, deployment.yaml, service.yaml, config.yaml]\n",
    );
    story.repo.commit_and_push("encrypted");
    let renderer = RendererProcess::start(&story.folder().join("renderer"));
    let folder = story.folder().join("sops-keys");
    std::fs::create_dir_all(&folder).expect("the session folder can be written");
    let mut settings = story.settings();
    settings.extra.extend(["--sops-keys".to_owned(), folder.display().to_string()]);
    settings.extra.extend(["--renderer".to_owned(), renderer.socket().display().to_string()]);
    story.start_agent_unready(settings);
    story.wait_app("web", "says that no key opens it", |app| {
        app.phase() == "SourceFailed" && app.why().contains("manifests/web/secret.yaml") && app.why().contains("SOPS")
    });
    std::fs::write(folder.join("production.agekey"), KEY).expect("the session folder can be written");
    story.wait_settled("web", "1.0.0");
    story.wait_settled("tool", "1.0.0");

    let expected: serde_json::Value =
        serde_yaml::from_str(include_str!("../../src/sops/cases/secret.plain.yaml")).expect("YAML");
    let name = expected["metadata"]["name"].as_str().expect("it has a name");
    let value = expected["stringData"]["password"].as_str().expect("text");
    for name in [name.to_owned(), format!("tool-{name}")] {
        let found = story.kubectl(&format!("get secret {name} -o go-template={{{{.data.password|base64decode}}}}"));
        assert_eq!(found.trim(), value.trim(), "{name}");
    }
    // Nowhere but there: not in the store, the log, the renderer's folder, or the Application resources.
    story.agent().stop();
    assert!(!story.agent().log().contains(value));
    assert!(!story.kubectl_agent("get tgapp -o yaml").contains(value));
    for place in [story.agent().store(), story.folder().join("renderer")] {
        assert!(!is_on_disk(&place, value.as_bytes()), "{}", place.display());
    }
}

#[test]
fn variables_come_from_git_and_from_objects_of_the_cluster() {
    let mut story = Story::begin("variables");
    let app = AppFixture::new("web")
        .replicas(2)
        .spec("substitute: {COLOUR: blue}")
        .spec("substituteFrom: [{kind: ConfigMap, name: cluster}, {kind: Secret, name: tokens, optional: true}]");
    app.write(&story.repo, &story.namespace);
    story.repo.write(
        "manifests/web/more.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\ndata: {colour: '${COLOUR}', region: '${REGION}', size: '${SIZE:=small}', literal: '$${X}'}\n",
    );
    story.repo.commit_and_push("variables");
    story.start_agent();
    story.wait_app("web", "says what is missing", |app| {
        app.phase() == "SourceFailed" && app.why().contains("cluster") && app.why().contains("does not exist")
    });
    story.kubectl("create configmap cluster --from-literal=REGION=north --from-literal=COLOUR=red");
    story.wait_settled("web", "1.0.0");
    let data = story.kubectl("get configmap more -o jsonpath={.data}");
    for expected in [r#""colour":"blue""#, r#""region":"north""#, r#""size":"small""#, r#""literal":"${X}""#] {
        assert!(data.contains(expected), "{expected}: {data}");
    }
}

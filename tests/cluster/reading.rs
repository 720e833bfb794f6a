//! What people and machines read: `kubectl` as a user has it, the HTTP API, metrics, Events, the command line.

use crate::support::fixture::AppFixture;
use crate::support::http;
use crate::support::story::Story;

#[test]
fn kubectl_shows_and_waits_as_a_user_expects() {
    let (story, gate, _) = Story::in_mid_rollout("kubectl");

    let table = story.kubectl_agent("get tgapp web");
    for word in ["VERSION", "SYNC", "HEALTH", "1.0.0", "1.1.0", "OutOfSync", "Progressing"] {
        assert!(table.contains(word), "{word} is missing:\n{table}");
    }
    // A hold is a rollout under way, to whoever asks Kubernetes itself.
    let status = ["-n", &story.namespace, "rollout", "status", "deployment/web", "--timeout=1s"];
    assert!(!story.plane.kubectl_output(&status, "").status.success(), "the rollout is not over");

    gate.open();
    story.kubectl_agent("wait --for=condition=Ready --timeout=120s tgapp/web");
    let table = story.kubectl_agent("get tgapps");
    assert!(table.contains("Synced") && table.contains("Healthy") && !table.contains("1.0.0"), "{table}");
    story.kubectl("rollout status deployment/web --timeout=60s");
}

#[test]
fn kubectl_wait_tells_a_held_release() {
    let story = Story::begin_with("kubectl-held", &AppFixture::new("web"));
    story.repo.bump("web", "1.1.0-crash");
    story.kubectl_agent("wait --for=condition=Stalled --timeout=120s tgapp/web");

    story.wait_held("web", "1.1.0-crash");
    let reason = story.kubectl_agent(r#"get tgapp web -o jsonpath={.status.conditions[?(@.type=="Ready")].reason}"#);
    assert_eq!(reason, "Held");
    story.kubectl("rollout status deployment/web --timeout=60s");
}

#[test]
fn events_tell_of_waves_gates_and_reverts() {
    let story = Story::begin_with("notices", &AppFixture::new("web"));
    story.repo.bump("web", "1.1.0-crash");
    story.wait_held("web", "1.1.0-crash");

    story.agent().await_that("Events tell of wave, gate and revert", || {
        let events = story.events();
        ["Normal WaveStarted", "Warning GateShut", "Warning Reverted"]
            .iter()
            .all(|start| events.iter().any(|event| event.starts_with(start)))
    });
}

#[test]
fn the_api_wants_its_token() {
    let story = Story::begin_with("token", &AppFixture::new("web").replicas(1));
    let address = story.agent().api_address();
    for path in ["/api/v1/applications", "/api/v1/applications/web", "/apis/tidegate.dev/v1/applications/web/rollout"] {
        for token in [None, Some("wrong"), Some("")] {
            let answer = http::get(address, path, token).expect("the API answers");
            assert_eq!(answer.status, 401, "{path} with {token:?}: {}", answer.body);
        }
        assert_eq!(story.agent().get(path).0, 200, "{path}");
    }
    // The file is read again when it changes.
    std::fs::write(story.folder().join("agent/token"), "another").expect("the token can be written");
    story.agent().await_that("the new token counts", || {
        http::get(address, "/api/v1/applications", Some("another")).is_ok_and(|answer| answer.status == 200)
    });
    assert_eq!(story.agent().get("/api/v1/applications").0, 401, "the old one does not");
}

#[test]
fn the_api_speaks_argo_cds_language() {
    let (story, gate, _) = Story::in_mid_rollout("argocd");
    let read = || story.agent().get("/api/v1/applications/web").1;

    let running = read();
    assert_eq!(running["metadata"]["name"], "web", "{running:#}");
    assert_eq!(running["status"]["sync"]["status"], "OutOfSync", "{running:#}");
    assert_eq!(running["status"]["health"]["status"], "Progressing", "{running:#}");
    assert_eq!(running["status"]["operationState"]["phase"], "Running", "{running:#}");

    gate.open();
    story.wait_settled("web", "1.1.0");
    story.agent().await_that("the API shows the end", || read()["status"]["operationState"]["phase"] == "Succeeded");
    let done = read();
    assert_eq!(done["status"]["sync"]["status"], "Synced", "{done:#}");
    assert_eq!(done["status"]["sync"]["revision"], story.repo.head(), "{done:#}");
    assert_eq!(done["status"]["health"]["status"], "Healthy", "{done:#}");
    assert!(done["status"]["resources"].as_array().is_some_and(|all| all.len() >= 3), "{done:#}");

    let (_, list) = story.agent().get("/api/v1/applications");
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{list:#}");
    // Argo CD answers 403 for what does not exist, or is not yours: nobody learns which.
    let (status, body) = story.agent().get("/api/v1/applications/nothing");
    assert!(status == 403 || status == 404, "{status} {body}");
}

#[test]
fn the_native_document_tells_waves_gates_and_three_revisions() {
    let (story, gate, _) = Story::in_mid_rollout("native");
    let read = |what: &str| story.agent().get(&format!("/apis/tidegate.dev/v1/applications/web/{what}")).1;

    story.agent().await_that("the document shows the wave", || {
        read("rollout")["waves"].as_array().is_some_and(|waves| waves.len() == 2)
    });
    let document = read("rollout");
    assert_eq!(document["target"]["version"], "1.1.0", "{document:#}");
    assert_eq!(document["desired"]["version"], "1.1.0", "{document:#}");
    assert_eq!(document["effective"]["version"], "1.0.0", "{document:#}");
    let why = read("why");
    assert_eq!(why["ok"], false, "{why:#}");
    assert!(why["fact"].as_str().is_some_and(|fact| !fact.is_empty()), "{why:#}");

    gate.refuse();
    story.wait_held("web", "1.1.0");
    story.agent().await_that("the document shows what is held", || read("rollout")["held"]["version"] == "1.1.0");
    let document = read("rollout");
    assert_eq!(document["outcome"].as_str().map(str::to_ascii_lowercase), Some("reverted".to_owned()), "{document:#}");
    let gates = document["waves"][1]["gates"].as_array().cloned().unwrap_or_default();
    let go = gates.iter().find(|gate| gate["gate"] == "go").unwrap_or_else(|| panic!("{document:#}"));
    assert_eq!(go["measurements"][0]["value"], 0.0, "{go:#}");
    assert!(read("why")["fact"].as_str().is_some_and(|fact| fact.contains("go")), "{:#}", read("why"));
}

#[test]
fn metrics_tell_reverts_under_our_names_and_the_compatible_ones() {
    let story = Story::begin_with("metrics", &AppFixture::new("web"));
    story.repo.bump("web", "1.1.0-crash");
    story.wait_held("web", "1.1.0-crash");

    let place = [format!("namespace=\"{}\"", story.namespace), "application=\"web\"".to_owned()];
    let labels: Vec<_> = place.iter().map(String::as_str).collect();
    let agent = story.agent();
    agent.await_that("the reverted pod is counted", || {
        (agent.metric("ota_rollback_pods_total", &labels) - 1.0).abs() < f64::EPSILON
    });
    let then = agent.metric("ota_last_rollback_timestamp_seconds", &labels);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("clocks run").as_secs_f64();
    assert!(then > now - 3600.0 && then <= now + 1.0, "{then}");
    assert!(agent.metric("tidegate_rollouts_total", &["application=\"web\""]) >= 1.0);
    assert!(agent.metric("tidegate_gates_total", &["application=\"web\""]) >= 1.0);
    assert_eq!(agent.ops("/healthz").status, 200);

    // What was counted survives a restart: it is kept in the record.
    agent.restart();
    agent.await_that("the count is there again", || {
        (agent.metric("ota_rollback_pods_total", &labels) - 1.0).abs() < f64::EPSILON
    });
}

#[test]
fn the_command_line_tells_status_why_and_history() {
    let story = Story::begin_with("cli", &AppFixture::new("web"));
    story.repo.bump("web", "1.1.0-crash");
    story.wait_held("web", "1.1.0-crash");

    let (status, error, _) = story.tidegate("status");
    assert!(status.contains("web") && status.contains("Degraded") && status.contains("1.1.0-crash"), "{status}{error}");
    let (why, error, _) = story.tidegate("why web");
    assert!(why.contains("1.1.0-crash"), "{why}{error}");
    let (history, error, _) = story.tidegate("history web");
    assert!(history.contains("1.0.0") && history.to_ascii_lowercase().contains("reverted"), "{history}{error}");
    let (_, error, code) = story.tidegate("why nothing");
    assert_ne!(code, 0);
    assert!(error.contains("nothing"), "{error}");
}

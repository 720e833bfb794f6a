//! A Git host announces a push: the agent looks at once, and not only when the next poll is due.

use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::support::fixture::AppFixture;
use crate::support::http;
use crate::support::story::Story;

const SECRET: &str = "a secret between the host and the agent";

/// The event that GitHub sends for a push to `main`, signed with `secret`: status and body of the answer.
#[track_caller]
fn announce(story: &Story, url: &str, secret: &str) -> (u16, String) {
    let body = serde_json::json!({"ref": "refs/heads/main", "repository": {"clone_url": url}}).to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(body.as_bytes());
    let signature: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let signature = format!("sha256={signature}");
    let headers = [("X-GitHub-Event", "push"), ("X-Hub-Signature-256", signature.as_str())];
    let answer = http::post(story.agent().api_address(), "/api/webhook", &headers, &body).expect("the API answers");
    (answer.status, answer.body)
}

#[test]
fn a_signed_push_goes_out_long_before_the_next_poll() {
    let mut story = Story::begin("webhook");
    let url = story.settings().repository;
    let secrets = story.folder().join("webhook");
    std::fs::create_dir_all(&secrets).expect("the story's folder can be written");
    std::fs::write(secrets.join("github"), format!("{SECRET}\n")).expect("the story's folder can be written");
    AppFixture::new("web").replicas(2).write(&story.repo, &story.namespace);
    story.repo.commit_and_push("web 1.0.0");
    let mut settings = story.settings();
    settings.poll_interval = "10m";
    settings.extra = vec!["--webhook-secrets".to_owned(), secrets.display().to_string()];
    story.start_agent_with(settings);
    story.wait_settled("web", "1.0.0");
    // While the first rollout went on Git was asked every second, and may have been once more after it.
    story.agent().await_that("Git is left alone", || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("clocks run").as_secs_f64();
        now - story.agent().metric("tidegate_last_poll_timestamp_seconds", &[]) > 5.0
    });
    let polls = story.agent().metric("tidegate_polls_total", &[]);

    story.repo.bump("web", "1.1.0");
    let (status, said) = announce(&story, &url, "a guess");
    assert_eq!((status, said.as_str()), (400, "Webhook processing failed: the signature or secret is wrong"));
    assert_eq!(announce(&story, "https://git.example/another.git", SECRET), (200, String::new()));
    let outcome = |outcome: &str| story.agent().metric("tidegate_webhooks_total", &["\"github\"", outcome]).round();
    assert_eq!((outcome("refused"), outcome("passed_over"), outcome("poked")), (1.0, 1.0, 0.0));
    assert_eq!(story.agent().metric("tidegate_polls_total", &[]), polls, "Git was asked by somebody else");

    assert_eq!(announce(&story, &url, SECRET), (200, String::new()));
    story.wait_settled("web", "1.1.0");
    assert_eq!(outcome("poked"), 1.0);
    let log = story.agent().log();
    assert!(!log.contains(SECRET) && !log.contains("sha256="), "a secret or a signature was logged:\n{log}");
}

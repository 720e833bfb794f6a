//! Secrets reach no log, status, Event or page, whether they are applied, broken or refused (S14).

use crate::support::fixture::AppFixture;
use crate::support::story::Story;

/// What must never be seen outside the Secret itself, plain and as the API spells it.
const CANARIES: [&str; 2] = ["canary-7c1f0a9be2d4", "Y2FuYXJ5LTdjMWYwYTliZTJkNA=="];

/// A Secret with a canary, and one more line at its end.
fn secret(last_line: &str) -> String {
    let canary = CANARIES[0];
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: web}}\nstringData:\n  password: {canary}\n{last_line}\n")
}

#[test]
fn a_secret_is_applied_and_reaches_nothing_else() {
    let story = Story::begin_with("secrets", &AppFixture::new("web"));
    for (last_line, is_good) in [("", true), ("type: 3", false), ("  broken: [", false), ("", true)] {
        story.repo.write("manifests/web/secret.yaml", &secret(last_line));
        story.repo.write("note.txt", last_line);
        let commit = story.repo.commit_and_push("a secret");
        if is_good {
            story.wait_app("web", "is settled on it", |app| app.is_settled() && app.desired("version") == "1.0.0");
        } else {
            story.wait_app("web", "says what is wrong", |app| !app.is_settled() && !app.why().is_empty());
        }
        story.agent().await_polls();
        assert_silent(&story, &commit);
    }
    let stored = story.kubectl("get secret web -o jsonpath={.data.password}");
    assert_eq!(stored, CANARIES[1], "the Secret itself has it");
}

fn assert_silent(story: &Story, commit: &str) {
    let agent = story.agent();
    let pages = [
        "/api/v1/applications/web/resource-tree",
        "/api/v1/applications/web",
        "/apis/tidegate.dev/v1/applications/web/rollout",
        "/apis/tidegate.dev/v1/applications/web/why",
    ];
    let mut sinks = vec![
        ("log", agent.log()),
        ("resource", story.kubectl_agent("get tgapp web -o json")),
        ("Events", story.events().join("\n")),
        ("metrics", agent.ops("/metrics").body),
    ];
    sinks.extend(pages.map(|page| (page, agent.get(page).1.to_string())));
    for (sink, text) in sinks {
        assert!(CANARIES.iter().all(|canary| !text.contains(canary)), "{sink} tells a secret at {commit}");
    }
}

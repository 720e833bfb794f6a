//! `tidegate deploy --wait`: from a clone to a version in effect, or held, told by the exit code.

use serde_json::Value;

use crate::support::fixture::AppFixture;
use crate::support::story::Story;

/// Each wave stands longer than the time between two looks.
const BAKED: &str = "
  strategy: rolling
  waves:
  - {name: one, replicas: 1, bake: 2s, timeout: 60s}
  - {name: all, replicas: 100%, bake: 2s, timeout: 60s}
";

/// `tidegate deploy` in the story's clone: exit code, standard output and error.
fn deploy(story: &Story, arguments: &str) -> (i32, String, String) {
    let line = format!("deploy web {arguments} --path {}", story.repo.folder().display());
    let (out, error, code) = story.tidegate(&line);
    (code, out, error)
}

#[test]
fn a_deploy_waits_until_the_version_is_in_effect_or_held() {
    let story = Story::begin_with("deploy", &AppFixture::new("web").plan(BAKED));
    for (key, value) in [("user.name", "Ada"), ("user.email", "ada@example.com")] {
        story.repo.git(&["config", key, value]);
    }
    story.repo.git(&["push", "--quiet", "-u", "origin", "main"]);

    let (code, out, error) = deploy(&story, "1.1.0 --wait --timeout 3m");
    assert_eq!(code, 0, "{out}{error}");
    let lines: Vec<&str> = out.lines().collect();
    assert!(
        lines[0].starts_with("web: 1.0.0 -> 1.1.0 (apps/web.yaml:") && lines[0].contains("pushed to origin/main"),
        "{out}"
    );
    assert_eq!(lines[1..], ["web: 1.1.0 is in effect"], "{out}");
    for wave in ["wave one", "wave all"] {
        assert!(error.contains(wave), "the {wave} is told on the way:\n{error}");
    }
    story.app("web", |app| assert!(app.is_settled_on("1.1.0")));

    let (code, out, error) = deploy(&story, "1.2.0-crash --wait --timeout 3m -o json");
    let document: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &document["state"]), (1, &"held".into()), "{out}{error}");
    assert!(document["why"].as_str().is_some_and(|why| !why.is_empty()), "{out}");
    assert_eq!(document["commit"], story.repo.head());

    // Back to what ran: nothing moves, and it is in effect as soon as the agent has read it.
    let (code, out, error) = deploy(&story, "1.1.0 --wait --timeout 3m");
    assert_eq!((code, out.lines().last()), (0, Some("web: 1.1.0 is in effect")), "{out}{error}");

    // No agent reads this branch: time is over, and the commit stays where it is.
    story.repo.git(&["checkout", "--quiet", "-b", "other"]);
    story.repo.git(&["push", "--quiet", "-u", "origin", "other"]);
    let (code, out, error) = deploy(&story, "1.3.0 --wait --timeout 2s");
    assert_eq!(code, 1, "{out}{error}");
    assert!(
        out.contains("1.3.0 is not in effect in time; last: web: the agent has not read 1.3.0 in Git yet, but 1.1.0"),
        "{out}"
    );
}

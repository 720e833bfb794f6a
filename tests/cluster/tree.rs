//! The resource tree: from what an application declares down to its pods, read when somebody asks.

use serde_json::Value;

use crate::support::fixture::AppFixture;
use crate::support::story::Story;

#[test]
fn the_tree_leads_from_the_app_down_to_its_pods_and_to_no_stranger() {
    let story = Story::begin_with("tree", &AppFixture::new("web").replicas(2));
    story.kubectl("create deployment stranger --image=registry.example/stranger:1 --replicas=1");
    story.observer.wait("the stranger's pod exists", |state| state.pods().count() == 3);

    let (code, tree) = story.agent().get("/api/v1/applications/web/resource-tree");
    assert_eq!(code, 200, "{tree:#}");
    let nodes: Vec<&Value> = tree["nodes"].as_array().into_iter().flatten().collect();
    let of = |kind: &str| nodes.iter().filter(|node| node["kind"] == kind).copied().collect::<Vec<_>>();
    assert_eq!((of("Deployment").len(), of("ReplicaSet").len(), of("Pod").len()), (1, 1, 2), "{tree:#}");
    assert_eq!(of("ReplicaSet")[0]["parentRefs"][0]["uid"], of("Deployment")[0]["uid"], "{tree:#}");
    assert_eq!(of("Deployment")[0]["health"]["status"], "Healthy", "{tree:#}");
    for pod in of("Pod") {
        assert_eq!(pod["parentRefs"][0]["uid"], of("ReplicaSet")[0]["uid"], "{tree:#}");
        assert_eq!(pod["images"][0], "registry.example/web:1.0.0", "{tree:#}");
        assert_eq!(pod["health"]["status"], "Healthy", "{tree:#}");
    }
    assert!(!tree.to_string().contains("stranger"), "{tree:#}");

    let (out, error, code) = story.tidegate("tree web");
    assert_eq!((error.as_str(), code), ("", 0), "{out}");
    let names: Vec<&str> = out.lines().filter_map(|line| line.split("  ").next()).map(str::trim_end).collect();
    let namespace = &story.namespace;
    assert!(names.contains(&format!("Deployment {namespace}/web").as_str()), "{out}");
    assert_eq!(out.matches("└─ ReplicaSet web-").count(), 1, "{out}");
    assert_eq!(out.matches("─ Pod web-").count(), 2, "{out}");
    assert!(!out.contains("stranger"), "{out}");

    // What nobody declares is an orphan, with its children accounted for by it.
    let (out, error, code) = story.tidegate("orphans web");
    assert_eq!((error.as_str(), code), ("", 0), "{out}");
    assert!(out.contains("Deployment.apps/stranger"), "{out}");
    assert_eq!(out.lines().count(), 2, "{out}");

    let (out, _, _) = story.tidegate("tree web -o json");
    let told: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(told["nodes"].as_array().map(Vec::len), Some(nodes.len()), "{out}");
}

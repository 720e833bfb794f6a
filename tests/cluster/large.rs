//! What is larger than one object or one annotation holds: Releases of more than a MiB, definitions of more than 256 KiB.

use std::fmt::Write as _;

use crate::support::fixture::AppFixture;
use crate::support::state::State;
use crate::support::story::Story;

/// Letters that no packing makes much shorter, the same for the same seed (the multiplier is Knuth's, for MMIX).
fn noise(mut seed: u64, bytes: usize) -> String {
    let mut letter = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"[(seed >> 58) as usize])
    };
    (0..bytes).map(|_| letter()).collect()
}

/// A ConfigMap near the limit that Kubernetes sets.
fn large_config_map(name: &str, seed: u64) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  noise: {}\n", noise(seed, 900_000))
}

fn has_noise(state: &State, name: &str, seed: u64) -> bool {
    state.config(name, "noise") == Some(noise(seed, 900_000).as_str())
}

#[test]
fn a_release_of_more_than_a_mebibyte_is_kept_in_parts_and_gone_back_to() {
    const NAMES: [&str; 3] = ["large-0", "large-1", "large-2"];
    let mut story = Story::begin("large");
    let write = |story: &Story, first_seed: u64| {
        for (seed, name) in (first_seed..).zip(NAMES) {
            story.repo.write(&format!("manifests/web/{name}.yaml"), &large_config_map(name, seed));
        }
    };
    write(&story, 0);
    story.seed(&AppFixture::new("web").replicas(4));
    let start = story.mark();

    write(&story, 10);
    story.repo.edit("apps/web.yaml", "version: 1.0.0", "version: 1.1.0-crash");
    story.repo.commit_and_push("1.1.0-crash with other noise");
    story.wait_app("web", "is in a wave", |app| app.wave().is_some() && app.target() == "1.1.0-crash");
    // Both versions are kept by now, each in more than one Secret; the agent that comes next knows no more than they say.
    let parts = story.kubectl_agent("get secrets -o jsonpath={.items[*].metadata.annotations.tidegate\\.dev/parts}");
    let parts: Vec<u32> = parts.split_whitespace().filter_map(|count| count.parse().ok()).collect();
    assert!(parts.len() >= 4 && parts.iter().all(|count| *count >= 2), "{parts:?}");
    story.agent().sigkill();
    story.agent().start_again();

    story.wait_held("web", "1.1.0-crash");
    for (seed, name) in (0..).zip(NAMES) {
        story.observer.wait(&format!("{name} is Stable's again"), |state| has_noise(state, name, seed));
    }
    story.observer.log().assert_untouched(start, "1.0.0");
}

#[test]
fn a_definition_of_more_than_256_kib_is_applied_changed_and_used() {
    let mut story = Story::begin("large-definition");
    let group = format!("{}.example", story.namespace);
    let definition = |sizes: &str| {
        let mut fields = String::new();
        for field in 0..40 {
            let _ =
                writeln!(fields, "              field{field}: {{type: string, description: {}}}", noise(field, 10_000));
        }
        format!(
            "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: gadgets.{group}
spec:
  group: {group}
  scope: Namespaced
  names: {{kind: Gadget, plural: gadgets, singular: gadget, listKind: GadgetList}}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              size: {{type: integer, {sizes}}}
{fields}"
        )
    };
    let gadget = |size: u32| {
        format!("apiVersion: {group}/v1\nkind: Gadget\nmetadata: {{name: one}}\nspec: {{size: {size}, field7: x}}\n")
    };
    assert!(definition("minimum: 0").len() > 256 << 10);
    story.repo.write("manifests/web/definition.yaml", &definition("maximum: 3"));
    story.repo.write("manifests/web/gadget.yaml", &gadget(3));
    story.seed(&AppFixture::new("web").replicas(1));
    let size = || story.kubectl(&format!("get gadgets.{group} one -o jsonpath={{.spec.size}}"));
    assert_eq!(size(), "3");

    // A rule of the definition is changed, and a resource that only the new rule allows comes with it.
    story.repo.write("manifests/web/definition.yaml", &definition("maximum: 30"));
    story.repo.write("manifests/web/gadget.yaml", &gadget(30));
    let commit = story.repo.commit_and_push("larger gadgets");
    story.wait_app("web", "is settled on the commit", |app| app.is_settled() && app.effective("commit") == commit);
    assert_eq!(size(), "30");
    let applies = story.agent().metric("tidegate_applies_total", &[]);
    story.agent().await_polls();
    assert!(story.agent().metric("tidegate_applies_total", &[]) - applies < 0.5, "{}", story.agent().log_tail(40));
    story.plane.kubectl(&["delete", "crd", &format!("gadgets.{group}"), "--wait=false"]);
}

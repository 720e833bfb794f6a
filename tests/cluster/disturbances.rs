//! What others do to our objects, one thing at a time: what we put back, what we leave alone, and how many writes that
//! takes. `docs/reference/drift.md` is this file as a table for users.

use serde_json::{Value, json};

use crate::support::fixture::{AppFixture, config_map};
use crate::support::log::Mark;
use crate::support::state::{Kind, State};
use crate::support::story::Story;

/// One thing that somebody does.
struct Disturbance {
    /// What it is called in `docs/reference/drift.md`.
    name: &'static str,
    /// Does it.
    act: fn(&Story),
    /// What stands afterwards.
    end: fn(&State) -> bool,
    /// Fewest and most applies of ours that it may cost.
    applies: (u32, u32),
}

/// A claim about a ConfigMap.
fn config(state: &State, name: &str, claim: impl Fn(&Value) -> bool) -> bool {
    state.find(Kind::ConfigMap, name).is_some_and(claim)
}

/// Applies as a user who calls himself `manager`.
fn apply_as(story: &Story, manager: &str, manifest: &str) {
    let manager = format!("--field-manager={manager}");
    let words = ["-n", &story.namespace, "apply", "--server-side", &manager, "-f", "-"];
    let output = story.plane.kubectl_output(&words, manifest);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn applies(story: &Story) -> u32 {
    // One that met a conflict changed nothing: how often that happens while pods come and go is a matter of speed.
    let applied = story.agent().metric("tidegate_applies_total", &["outcome=\"applied\""]);
    format!("{applied:.0}").parse().expect("it is a count")
}

/// An app with an object for each disturbance.
fn begin(name: &str, objects: &[&str]) -> Story {
    let mut story = Story::begin(name);
    AppFixture::new("web").replicas(2).write(&story.repo, &story.namespace);
    story.repo.edit(
        "manifests/web/service.yaml",
        "  - port: 80\n",
        "  - name: admin\n    port: 81\n  - name: http\n    port: 80\n",
    );
    for object in objects {
        story.repo.write(&format!("manifests/web/{object}.yaml"), &config_map(object, "hello"));
    }
    story.repo.commit_and_push("web 1.0.0");
    story.start_agent();
    story.wait_settled("web", "1.0.0");
    story
}

/// Does one thing after the other and claims what comes of each.
#[track_caller]
fn check(story: &Story, disturbances: &[Disturbance]) {
    for Disturbance { name, act, end, applies: (fewest, most) } in disturbances {
        let before = applies(story);
        act(story);
        if *fewest > 0 {
            story.agent().await_that(&format!("{name}: it is answered"), || applies(story) >= before + fewest);
        }
        story.observer.wait(&format!("{name}: it is as it is to be"), end);
        story.agent().await_polls();
        story.wait_settled("web", "1.0.0");
        assert!(story.observer.now(end), "{name}: it does not last");
        let made = applies(story) - before;
        assert!((*fewest..=*most).contains(&made), "{name}: {made} applies\n{}", story.agent().log_tail(40));
    }
}

#[test]
fn what_takes_a_declared_value_away_is_put_back() {
    let story = begin("put-back", &["named", "slim", "gone", "unowned", "unmarked"]);
    let start = story.mark();
    check(
        &story,
        &[
            Disturbance {
                name: "a value is changed, under our own field manager's name",
                act: |story| {
                    let patch = r#"{"data":{"greeting":"theirs"}}"#;
                    story.kubectl(&format!("patch configmap named --type=merge --field-manager=tidegate -p {patch}"));
                },
                end: |state| state.config("named", "greeting") == Some("hello"),
                applies: (1, 1),
            },
            Disturbance {
                name: "less is applied, under our own field manager's name",
                act: |story| {
                    let manifest = config_map("slim", "x").replace("greeting: x", "other: x");
                    apply_as(story, "tidegate", &manifest);
                },
                end: |state| {
                    config(state, "slim", |map| {
                        map["data"].as_object().is_some_and(|data| data.len() == 1)
                            && map["data"]["greeting"] == "hello"
                            && map["metadata"]["labels"]["tidegate.dev/application"] == "web"
                    })
                },
                applies: (1, 1),
            },
            Disturbance {
                name: "an item of a list is removed",
                act: |story| {
                    let patch = r#"[{"op":"remove","path":"/spec/ports/0"}]"#;
                    story.kubectl(&format!("patch service web --type=json -p {patch}"));
                },
                end: |state| {
                    let service = state.find(Kind::Service, "web");
                    service.is_some_and(|it| it["spec"]["ports"].as_array().is_some_and(|ports| ports.len() == 2))
                },
                applies: (1, 1),
            },
            Disturbance {
                name: "an object is deleted",
                act: |story| drop(story.kubectl("delete configmap gone")),
                end: |state| state.config("gone", "greeting") == Some("hello"),
                applies: (1, 1),
            },
            Disturbance {
                name: "our owner's mark is taken off",
                act: |story| drop(story.kubectl("annotate configmap unowned tidegate.dev/owner-")),
                end: |state| {
                    config(state, "unowned", |map| map["metadata"]["annotations"]["tidegate.dev/owner"].is_string())
                },
                applies: (1, 1),
            },
            Disturbance {
                name: "all of our marks are taken off",
                act: |story| {
                    story.kubectl(
                        r#"patch configmap unmarked --type=merge -p {"metadata":{"annotations":null,"labels":null}}"#,
                    );
                },
                end: |state| {
                    config(state, "unmarked", |map| {
                        map["metadata"]["annotations"]["tidegate.dev/owner"].is_string()
                            && map["metadata"]["labels"]["tidegate.dev/application"] == "web"
                    })
                },
                applies: (1, 1),
            },
        ],
    );
    story.observer.log().assert_untouched(start, "1.0.0");

    // Last, since pods that came and were ready before we answered are as good as the ones that were there: which of
    // them leave is for the ReplicaSet controller to say.
    let scaled = Disturbance {
        name: "a workload is scaled whose replicas Git states",
        act: |story| drop(story.kubectl("scale deployment web --replicas=5")),
        end: |state| {
            state.deployment("web").is_some_and(|web| web["spec"]["replicas"] == 2) && state.runs("web", "1.0.0", 2)
        },
        // Looks that came before the answer to an apply was seen apply once more: on a slow machine there are several.
        applies: (1, 6),
    };
    check(&story, &[scaled]);
}

/// Whether the container has these variables.
fn has_variables(state: &State, variables: &[(&str, &str)]) -> bool {
    let expected: Vec<Value> = variables.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    state.deployment("web").is_some_and(|web| {
        web["spec"]["template"]["spec"]["containers"][0]["env"] == Value::from(expected)
            && state.runs("web", "1.0.0", 2)
    })
}

/// Adds a variable to the container by JSON patch, as somebody with an editor does.
fn add_variables(story: &Story, variables: &[(&str, &str)]) {
    let operation = |(name, value): &(&str, &str)| json!({"op": "add", "path": "/spec/template/spec/containers/0/env/-", "value": {"name": name, "value": value}});
    let operations: Vec<Value> = variables.iter().map(operation).collect();
    story.kubectl(&format!("patch deployment web --type=json -p {}", Value::from(operations)));
}

#[test]
fn a_variable_that_is_there_twice_is_taken_out() {
    let mut story = Story::begin("twice");
    AppFixture::new("web").replicas(2).write(&story.repo, &story.namespace);
    story.repo.edit(
        "manifests/web/deployment.yaml",
        "        ports:\n",
        "        env:\n        - name: OURS\n          value: x\n        ports:\n",
    );
    story.repo.commit_and_push("web 1.0.0");
    story.start_agent();
    story.wait_settled("web", "1.0.0");
    check(
        &story,
        &[
            Disturbance {
                name: "a variable is added twice",
                act: |story| add_variables(story, &[("THEIRS", "1"), ("THEIRS", "2")]),
                end: |state| has_variables(state, &[("OURS", "x")]),
                // Taken out by patch.
                applies: (0, 0),
            },
            Disturbance {
                name: "a declared variable is added once more",
                act: |story| add_variables(story, &[("OURS", "y")]),
                end: |state| has_variables(state, &[("OURS", "x")]),
                applies: (0, 1),
            },
        ],
    );

    // That we own it by more than an apply now does not keep it when Git takes it away.
    let path = "manifests/web/deployment.yaml";
    story.repo.edit(
        path,
        "        env:\n        - name: OURS\n          value: x\n        ports:\n",
        "        ports:\n",
    );
    story.repo.commit_and_push("no variable");
    story.observer.wait("it is gone", |state| {
        state.deployment("web").is_some_and(|web| web["spec"]["template"]["spec"]["containers"][0]["env"].is_null())
    });
    story.wait_settled("web", "1.0.0");
}

#[test]
fn what_adds_to_ours_is_left_alone() {
    let story = begin("left-alone", &["shared", "added", "held"]);
    let start = story.mark();
    check(
        &story,
        &[
            Disturbance {
                name: "somebody else applies the same value",
                act: |story| apply_as(story, "peer", &config_map("shared", "hello")),
                end: |state| {
                    config(state, "shared", |map| map["metadata"]["managedFields"].to_string().contains("peer"))
                },
                applies: (0, 0),
            },
            Disturbance {
                name: "a label is added",
                act: |story| drop(story.kubectl("label configmap,service,deployment --all team=blue")),
                end: |state| {
                    let is_blue =
                        |object: Option<&Value>| object.is_some_and(|it| it["metadata"]["labels"]["team"] == "blue");
                    is_blue(state.find(Kind::ConfigMap, "added"))
                        && is_blue(state.find(Kind::Service, "web"))
                        && is_blue(state.deployment("web"))
                },
                applies: (0, 0),
            },
            Disturbance {
                name: "a value is added that Git does not state",
                act: |story| {
                    story.kubectl(r#"patch configmap added --type=merge -p {"data":{"more":"x"}}"#);
                },
                end: |state| state.config("added", "more") == Some("x"),
                applies: (0, 0),
            },
            Disturbance {
                name: "a finalizer is added",
                act: |story| {
                    story.kubectl(
                        r#"patch configmap held --type=merge -p {"metadata":{"finalizers":["example.com/held"]}}"#,
                    );
                },
                end: |state| config(state, "held", |map| map["metadata"]["finalizers"][0] == "example.com/held"),
                applies: (0, 0),
            },
            Disturbance {
                name: "status is edited",
                act: |story| {
                    let patch = r#"{"status":{"availableReplicas":0,"readyReplicas":0,"conditions":null}}"#;
                    story.kubectl(&format!("patch deployment web --subresource=status --type=merge -p {patch}"));
                },
                // Its controller mends it.
                end: |state| state.deployment("web").is_some_and(|web| web["status"]["availableReplicas"] == 2),
                applies: (0, 0),
            },
        ],
    );
    story.observer.log().assert_untouched(start, "1.0.0");

    // One that is deleted and held by its finalizer is waited for, and then made anew.
    let before = applies(&story);
    story.kubectl("delete configmap held --wait=false");
    story.observer.wait("it is being deleted", |state| {
        config(state, "held", |map| map["metadata"]["deletionTimestamp"].is_string())
    });
    story.agent().await_polls();
    assert_eq!(applies(&story), before);
    story.kubectl(r#"patch configmap held --type=merge -p {"metadata":{"finalizers":null}}"#);
    story.observer.wait("it is made anew", |state| {
        config(state, "held", |map| {
            map["metadata"]["deletionTimestamp"].is_null() && map["data"]["greeting"] == "hello"
        })
    });
    story.wait_settled("web", "1.0.0");
    assert_eq!(applies(&story), before + 1);
}

/// Whether our manager is the only one that owns a part of the object, its status apart.
fn is_ours_alone(object: &Value) -> bool {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    let names: Vec<&Value> =
        entries.filter(|entry| entry["subresource"].is_null()).map(|entry| &entry["manager"]).collect();
    names.contains(&&Value::from("tidegate")) && !names.contains(&&Value::from("before-first-apply"))
}

/// Whether there was a moment at which nobody owned anything of the object.
fn was_reset(story: &Story, since: Mark, kind: Kind, name: &str) -> bool {
    story
        .observer
        .log()
        .ever(since, |state| state.find(kind, name).is_some_and(|object| object["metadata"]["managedFields"].is_null()))
}

#[test]
fn an_object_whose_field_ownership_was_reset_is_ours_again() {
    let story = begin("reset", &["reset"]);
    story.repo.edit("manifests/web/reset.yaml", "  greeting: hello\n", "  greeting: hello\n  farewell: bye\n");
    let commit = story.repo.commit_and_push("two values");
    story.wait_app("web", "has taken the commit", |app| app.is_settled() && app.effective("commit") == commit);

    let (start, before) = (story.mark(), applies(&story));
    for (kind, resource, name) in [(Kind::ConfigMap, "configmap", "reset"), (Kind::Deployment, "deployment", "web")] {
        let patch = r#"{"metadata":{"managedFields":[{}]}}"#;
        story.kubectl(&format!("patch {resource} {name} --type=merge -p {patch}"));
        story.agent().await_that("its fields were nobody's, and are ours alone", || {
            was_reset(&story, start, kind, name)
                && story.observer.now(|state| state.find(kind, name).is_some_and(is_ours_alone))
        });
    }
    story.agent().await_polls();
    story.wait_settled("web", "1.0.0");
    let made = applies(&story) - before;
    assert!((2..=4).contains(&made), "{made} applies\n{}", story.agent().log_tail(40));
    story.observer.log().assert_untouched(start, "1.0.0");

    // Which shows in that we can still take something away, and that nothing that the server fills in is fought for.
    story.repo.edit("manifests/web/reset.yaml", "  farewell: bye\n", "");
    story.repo.edit("manifests/web/deployment.yaml", "        ports:\n        - containerPort: 8080\n", "");
    story.repo.bump("web", "1.1.0");
    story.observer.wait("the value is gone", |state| {
        state.config("reset", "greeting") == Some("hello") && state.config("reset", "farewell").is_none()
    });
    story.wait_settled("web", "1.1.0");
    story.observer.now(|state| {
        let web = state.deployment("web").expect("it exists");
        let container = &web["spec"]["template"]["spec"]["containers"][0];
        assert!(container["ports"].is_null(), "{container:#}");
        assert_eq!(container["imagePullPolicy"], "IfNotPresent");
    });
}

#[test]
fn an_object_that_somebody_made_anew_is_theirs_until_it_is_given() {
    let story = begin("recreated", &["taken"]);
    // Without the agent, so that they are quick enough: it sees both at once.
    story.agent().freeze();
    story.kubectl("delete configmap taken");
    story.kubectl("create configmap taken --from-literal=greeting=theirs");
    story.agent().thaw();

    story.wait_app("web", "names who has it", |app| {
        ["ConfigMap", "/taken", "kubectl-create", ".data.greeting"].iter().all(|part| app.why().contains(part))
    });
    story.agent().await_polls();
    let taken = || story.observer.now(|state| state.config("taken", "greeting").map(str::to_owned));
    assert_eq!(taken().as_deref(), Some("theirs"));
    // Everything else of the app is still put back.
    story.kubectl(r#"patch configmap web --type=merge -p {"data":{"greeting":"drifted"}}"#);
    story.observer.wait("the value is put back", |state| state.config("web", "greeting") == Some("hello"));

    story.repo.edit("apps/web.yaml", "spec:\n", "spec:\n  sync: {adopt: [kubectl-create]}\n");
    story.repo.commit_and_push("take it over");
    story.observer.wait("it is taken over", |state| state.config("taken", "greeting") == Some("hello"));
    story.wait_settled("web", "1.0.0");
}

#[test]
fn an_object_that_another_agent_claims_is_left_to_it_and_said_so() {
    let story = begin("claimed", &["claimed"]);
    let before = applies(&story);
    story.kubectl("annotate configmap claimed tidegate.dev/owner=other --overwrite");
    story.wait_app("web", "names the other agent", |app| {
        app.why().contains("/claimed") && app.why().contains("another Tidegate agent, `other`")
    });
    story.kubectl(r#"patch configmap claimed --type=merge -p {"data":{"greeting":"theirs"}}"#);
    story.agent().await_polls();
    assert_eq!(
        story.observer.now(|state| state.config("claimed", "greeting").map(str::to_owned)).as_deref(),
        Some("theirs")
    );
    assert_eq!(applies(&story), before);

    let ours = story.agent_namespace.clone();
    story.kubectl(&format!("annotate configmap claimed tidegate.dev/owner={ours} --overwrite"));
    story.observer.wait("the value is put back", |state| state.config("claimed", "greeting") == Some("hello"));
    story.wait_settled("web", "1.0.0");
}

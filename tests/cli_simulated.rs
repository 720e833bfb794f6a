//! `tidegate demo` and `tidegate simulate`: the program itself, run as a user would, without a cluster.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// What a run came to.
struct Run {
    code: i32,
    out: String,
    err: String,
}

fn tidegate(arguments: &[&str]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the program of this package can be started");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it writes UTF-8");
    Run { code: output.status.code().expect("it ends by itself"), out: text(output.stdout), err: text(output.stderr) }
}

/// Where `wanted` stand in a text, one after another.
fn assert_in_order(text: &str, wanted: &[&str]) {
    let mut rest = text;
    for line in wanted {
        let Some(at) = rest.find(line) else { panic!("`{line}` does not follow in:\n{text}") };
        rest = &rest[at + line.len()..];
    }
}

/// The cells of the rows below the header that begins with these words, until a line without cells.
fn rows<'a>(text: &'a str, header: &str) -> Vec<Vec<&'a str>> {
    let below = text.lines().skip_while(|line| !line.starts_with(header)).skip(1);
    let cells = |line: &'a str| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>();
    below.map(cells).take_while(|cells| cells.len() > 2).collect()
}

/// The column of all rows.
fn column<'a>(rows: &[Vec<&'a str>], index: usize) -> Vec<&'a str> {
    rows.iter().map(|row| row[index]).collect()
}

#[test]
fn the_demo_tells_its_story_to_the_end() {
    let run = tidegate(&["demo", "--fast"]);
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{}", run.out);
    assert!(!run.out.contains("BUT:"), "{}", run.out);
    assert_in_order(
        &run.out,
        &[
            "are simulated in this process; the agent is the real code",
            "first sync:",
            "Synced Healthy",
            "a good version:",
            "you: git commit -m 'web 1.1.0'",
            "wave 1 canary,",
            "wave 2 blue,",
            "wave 3 green,",
            "of 1.1.0 in waves: Completed",
            "a bad version:",
            "wave 1 canary,",
            "reverting",
            "why: gate error-rate of wave canary shut",
            "of 1.2.0-errors-20 in waves: Reverted",
            "`git revert` of the bad commit",
            "`git revert` of the good commit too",
            "wave 1 express,",
            "of 1.0.0 by the express lane: Completed",
            "that was all of it",
        ],
    );
}

#[test]
fn the_shipped_plan_goes_out_in_its_waves_and_a_shut_gate_is_contained() {
    let run = tidegate(&["simulate", "manifests", "--app", "web"]);
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{}", run.out);
    assert!(run.out.contains("times are of the"), "{}", run.out);
    let stages = rows(&run.out, "WAVE      SIZE");
    assert_eq!(column(&stages, 0), ["1 canary", "2 blue", "3 green"], "{}", run.out);
    assert_eq!(column(&stages, 2), ["1", "2", "10"], "{}", run.out);
    assert!(stages.iter().all(|row| row[6].contains("error-rate Pass (0 0 0)")), "{}", run.out);
    assert_in_order(&run.out, &["Completed after", "new    10", "old    10", "wave", "what if a wave fails?"]);
    let failures = rows(&run.out, "WAVE      FAILS BY");
    assert_eq!(column(&failures, 0), ["1 canary", "2 blue", "3 green"], "{}", run.out);
    // The first two waves stand beside the ten old pods; in the last one everything is new.
    assert_eq!(column(&failures, 3), ["1", "2", "10"], "{}", run.out);
    assert_eq!(&column(&failures, 4)[..2], ["10", "10"], "{}", run.out);
    for failure in &failures {
        assert!(failure[6].contains("gate error-rate of wave"), "{failure:?}");
        assert!(failure[5].ends_with('s'), "Stable is back: {failure:?}");
    }
}

#[test]
fn one_failing_wave_is_played_alone_and_pods_that_crash_are_noticed_without_metrics() {
    let run = tidegate(&["simulate", "manifests", "--app", "api", "--fail-at", "1", "--ascii", "-o", "json"]);
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{}", run.out);
    let document: Value = serde_json::from_str(&run.out).expect("it is JSON");
    let [app] = document["applications"].as_array().expect("a list").as_slice() else {
        panic!("one app: {document:#}")
    };
    assert_eq!((&app["application"], &app["completed"]), (&"api".into(), &true.into()));
    let names: Vec<&Value> =
        app["rollout"]["waves"].as_array().expect("waves").iter().map(|wave| &wave["name"]).collect();
    assert_eq!(names, ["some", "all"]);
    // maxSurge 0 and maxUnavailable 1 of four: three are Ready at any time.
    assert_eq!(app["readyFewest"], 3, "{app:#}");
    let [failure] = app["failures"].as_array().expect("a list").as_slice() else { panic!("one failure: {app:#}") };
    assert_eq!((&failure["wave"], &failure["failsBy"]), (&"some".into(), &"pods".into()));
    assert_eq!((&failure["newPodsMost"], &failure["readyFewest"]), (&1.into(), &3.into()), "{failure:#}");
    assert!(failure["stableBackAfterMillis"].is_number(), "{failure:#}");
}

#[test]
fn charts_are_plain_where_that_is_asked_for() {
    let run = tidegate(&["simulate", "manifests", "--app", "api", "--fail-at", "1", "--ascii", "--width", "60"]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.out.is_ascii(), "{}", run.out);
    let chart: Vec<&str> =
        run.out.lines().filter(|line| line.starts_with("new ") || line.starts_with("old ")).collect();
    assert_eq!(chart.len(), 2, "{}", run.out);
    assert!(chart.iter().all(|line| line.len() <= 60 && line.contains('*')), "{}", run.out);
}

/// An app in a folder of its own, with a plan in place.
fn write_app(folder: &Path, plan: &str, manifests: &str) {
    let application = format!(
        "apiVersion: tidegate.dev/v1alpha1\nkind: Application\nmetadata: {{name: shop}}\nspec:\n  version: 2.0.0\n  source: {{path: shop}}\n  destination: {{namespace: shop}}\n  plan: {plan}\n"
    );
    std::fs::create_dir_all(folder.join("shop")).expect("a folder can be made");
    std::fs::write(folder.join("shop.yaml"), application).expect("a file can be written");
    std::fs::write(folder.join("shop/objects.yaml"), manifests).expect("a file can be written");
}

const OBJECTS: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  replicas: 3
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec: {containers: [{name: shop, image: 'registry.example:5000/shop:1.9'}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: shop}
spec: {minReplicas: 3, maxReplicas: 9, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: shop}}
";

#[test]
fn kinds_that_are_not_served_are_named_and_left_out() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    write_app(folder.path(), "{waves: [{name: one, replicas: 1}, {name: all, replicas: all}]}", OBJECTS);
    let run = tidegate(&["simulate", &folder.path().display().to_string()]);
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{}", run.out);
    assert!(run.out.contains("does not serve the kind: HorizontalPodAutoscaler shop"), "{}", run.out);
    assert!(run.out.contains("every image of the older version is tagged `previous`"), "{}", run.out);
    assert_eq!(column(&rows(&run.out, "WAVE   SIZE"), 2), ["1", "3"], "{}", run.out);
}

#[test]
fn stateful_sets_follow_the_last_wave_one_pod_at_a_time() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let objects = OBJECTS
        .replace("kind: Deployment\nmetadata", "kind: StatefulSet\nmetadata")
        .replace("  replicas: 3", "  serviceName: shop\n  replicas: 3");
    write_app(folder.path(), "{waves: [{name: one, replicas: 1}, {name: all, replicas: all}]}", &objects);
    let run = tidegate(&["simulate", &folder.path().display().to_string()]);
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{}", run.out);
    let failures = rows(&run.out, "WAVE   FAILS BY");
    assert_eq!((column(&failures, 0), column(&failures, 1)), (vec!["2 all"], vec!["pods crash"]), "{}", run.out);
    assert_eq!(column(&failures, 3), ["1"], "one pod at a time: {}", run.out);
    assert!(failures[0][6].contains("shop/shop"), "the agent names the StatefulSet: {}", run.out);
}

#[test]
fn a_broken_declaration_is_told_as_validate_tells_it() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    write_app(folder.path(), "nowhere", OBJECTS);
    let place = folder.path().display().to_string();
    let (simulated, validated) = (tidegate(&["simulate", &place]), tidegate(&["validate", &place]));
    assert!(simulated.out.contains("--> shop.yaml:8:9"), "{}", simulated.out);
    assert_eq!((simulated.code, simulated.out), (validated.code, validated.out));
    assert_eq!(simulated.code, 1);
}

#[test]
fn what_cannot_be_read_or_found_is_an_error_of_its_own() {
    for (arguments, wanted) in [
        (["simulate", "nowhere-at-all", "--ascii"].as_slice(), "failed to read nowhere-at-all"),
        (&["simulate", "manifests", "--app", "web2"], "no Application is called `web2`"),
        (&["simulate", "manifests", "--fail-at", "0"], "--fail-at"),
    ] {
        let run = tidegate(arguments);
        assert_eq!(run.code, 2, "{arguments:?}: {}", run.out);
        assert!(run.err.contains(wanted), "{arguments:?}: {}", run.err);
    }
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    write_app(folder.path(), "fast", "apiVersion: apps/v1\nkind: [\n");
    let run = tidegate(&["simulate", &folder.path().display().to_string()]);
    assert_eq!(run.code, 1, "{}", run.out);
    assert!(run.err.contains("shop/objects.yaml:"), "{}", run.err);
}

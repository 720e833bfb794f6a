//! What the whole stage promises: places of problems, one bad file, and the schema.

mod amend;
mod assembled;
mod made;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{
    Declarations, Edited, Made, ParsedFile, Problem, assemble, built_in_plans, is_candidate, parse_file, schemas,
};
use crate::expression::Expression;
use crate::model::{
    AppName, Application, Capacity, Deletion, Millis, NoDataRule, OnFailure, PausePolicy, Replicas, RollbackPolicy,
    Strategy, WavePlan,
};

/// Every field once.
const FULL: &str = "\
# The web shop.
apiVersion: tidegate.dev/v1alpha1
kind: Application
metadata:
  name: web
  labels: {team: shop}
spec:
  version: 1.4.0
  images:
    - name: example/web
    - {name: 'localhost:5000/side', tag: \"7\", digest: sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef}
  attempt: 2
  source: {path: ./manifests, recurse: true}
  destination: {namespace: shop, cluster: in-cluster}
  plan: thorough
  sync: {automated: false, prune: true, selfHeal: false, adopt: [kubectl, helm]}
  deletion: cascade
  rollback: manual
  pause: user
  history: 20
  health:
    - group: example.com
      kind: Widget
      degraded: object.status.phase == 'Broken'
      healthy: object.status.phase == 'Done'
    - kind: ConfigMap
      healthy: \"'ok' in object.data\"
---
apiVersion: tidegate.dev/v1alpha1
kind: WavePlan
metadata:
  name: thorough
spec:
  strategy: canary
  capacity: inPlace
  waves:
    - {name: canary, replicas: 1, bake: 30s, timeout: 5m, analysis: [errors]}
    - replicas: \"25%\"
    - replicas: all
      bake: 500ms
  analysis:
    - name: errors
      provider: prometheus
      query: up{pod=~\"${target_pods}\"}
      min: 0
      max: 0.5
      interval: 1m
      count: 5
      failureLimit: 1
      noData: wait
  health: {maxRestarts: 0}
  onFailure: hold
  revertTimeout: 1h
  express: [{name: back, replicas: all}]
";

/// As little as there must be.
const MINIMAL: &str = "\
apiVersion: tidegate.dev/v1alpha1
kind: Application
metadata:
  name: web
spec:
  version: 1.4.0
  source:
    path: apps/web
  destination:
    namespace: shop
";

const MINIMAL_PLAN: &str = "\
apiVersion: tidegate.dev/v1alpha1
kind: WavePlan
metadata:
  name: careful
spec:
  waves:
    - replicas: 1
    - replicas: all
";

fn app(name: &str, rest: &str) -> String {
    MINIMAL.replace("name: web", &format!("name: {name}")) + rest
}

fn assembled(files: &[(&str, &str)], known: &[(&str, &str)]) -> Declarations {
    let files: BTreeMap<String, Arc<ParsedFile>> =
        files.iter().map(|(path, text)| ((*path).to_owned(), Arc::new(parse_file(path, text.as_bytes())))).collect();
    let known = known.iter().map(|(name, file)| (AppName::from(*name), *file)).collect();
    assemble(&files, &known, [], &Made::default())
}

fn only_app(text: &str) -> Application {
    let declarations = assembled(&[("apps/web/app.yaml", text)], &[]);
    assert_eq!(declarations.problems, []);
    let app = declarations.apps.into_values().next().expect("an app").expect("a good one");
    Application::clone(&app)
}

#[test]
fn every_field_reaches_the_model() {
    let app = only_app(FULL);
    assert_eq!((app.name.as_str(), app.version.as_str(), app.attempt), ("web", "1.4.0", 2));
    assert_eq!((app.images[0].tag.as_str(), app.images[0].digest.is_none()), ("1.4.0", true));
    assert_eq!((app.images[1].tag.as_str(), app.images[1].digest.is_some()), ("7", true));
    assert_eq!((app.sources[0].path.as_str(), app.sources[0].is_recursive), ("apps/web/manifests", true));
    assert_eq!((app.namespace.as_str(), app.declared_in.as_str()), ("shop", "apps/web/app.yaml"));
    assert_eq!((app.sync.is_automated, app.sync.prunes, app.sync.self_heals), (false, true, false));
    assert_eq!(app.sync.adopt.iter().collect::<Vec<_>>(), ["helm", "kubectl"]);
    assert_eq!((app.deletion, app.rollback, app.pause), (Deletion::Cascade, RollbackPolicy::Manual, PausePolicy::User));
    assert_eq!(app.history_max, 20);
    let kinds: Vec<_> = app.health.iter().map(|rule| rule.kind.to_string()).collect();
    assert_eq!(kinds, ["Widget.example.com", "ConfigMap"]);
    let sources = |expression: &Option<Expression>| expression.as_ref().map(|it| it.source().to_owned());
    assert_eq!(sources(&app.health[0].degraded).as_deref(), Some("object.status.phase == 'Broken'"));
    assert_eq!(sources(&app.health[1].healthy).as_deref(), Some("'ok' in object.data"));
    assert_eq!((&app.health[1].degraded, &app.health[1].suspended, &app.health[1].progressing), (&None, &None, &None));
    assert_eq!(app.spec["images"][1]["tag"], "7");
    assert_eq!(app.spec["sync"]["prune"], true);
    assert_eq!(app.spec["attempt"], 2);

    let plan = &app.plan;
    assert_eq!((plan.name.as_str(), plan.strategy, plan.capacity), ("thorough", Strategy::Canary, Capacity::InPlace));
    let waves: Vec<_> = plan.waves.iter().map(|wave| (wave.name.as_str(), wave.replicas, wave.bake.0)).collect();
    let expected = [
        ("canary", Replicas::Count(1), 30_000),
        ("wave-2", Replicas::Percent(25), 0),
        ("wave-3", Replicas::Percent(100), 500),
    ];
    assert_eq!(waves, expected);
    assert_eq!(
        (plan.waves[0].timeout, plan.waves[0].analysis.as_slice()),
        (Millis(300_000), &["errors".to_owned()][..])
    );
    let analysis = plan.analysis("errors").expect("it is declared");
    assert_eq!((analysis.min, analysis.max, analysis.interval), (Some(0.0), Some(0.5), Millis(60_000)));
    assert_eq!((analysis.count, analysis.failures_max, analysis.no_data), (5, 1, NoDataRule::Wait));
    assert_eq!((plan.restarts_max, plan.on_failure, plan.revert_timeout), (0, OnFailure::Hold, Millis(3_600_000)));
    assert_eq!((plan.express.len(), plan.express[0].name.as_str()), (1, "back"));
}

#[test]
fn what_is_left_out_is_as_if_the_documented_default_was_written() {
    let explicit = "  images: []
  attempt: 0
  plan: all-at-once
  sync: {automated: true, prune: false, selfHeal: true, adopt: []}
  deletion: orphan
  rollback: automatic
  pause: agent
  history: 10
";
    let (short, long) = (only_app(MINIMAL), only_app(&app("web", explicit)));
    assert_eq!(Application { spec: long.spec.clone(), ..short.clone() }, long);
    assert_eq!(*short.plan, WavePlan::all_at_once());

    let inline = "  plan:
    strategy: rolling
    capacity: surge
    waves: [{name: wave-1, replicas: all, bake: 0s, timeout: 10m, analysis: []}]
    analysis: []
    health: {maxRestarts: 2}
    onFailure: revert
    revertTimeout: 10m
    express: [{name: express, replicas: all}]
";
    let (short, long) = (only_app(&app("web", "  plan: {waves: [replicas: all]}\n")), only_app(&app("web", inline)));
    assert_eq!(short.plan, long.plan);
    assert_eq!(short.plan.name, "inline");
}

/// A document, a text in it to replace, its replacement, and where what is wrong: line, column, field, message.
type Bad = (&'static str, &'static str, &'static str, (usize, usize, &'static str, &'static str));

#[test]
fn a_bad_input_is_refused_at_its_line_column_and_field() {
    #[rustfmt::skip]
    let cases: &[Bad] = &[
        // Names and identity.
        (MINIMAL, "v1alpha1", "v2", (1, 13, "apiVersion", "`tidegate.dev/v2` is not known")),
        (MINIMAL, "apiVersion: tidegate.dev/v1alpha1\n", "", (1, 1, "apiVersion", "`apiVersion` is missing")),
        (MINIMAL, "tidegate.dev/", "tidgate.dev/", (1, 13, "apiVersion", "is not known")),
        (MINIMAL, "Application", "Aplication", (2, 7, "kind", "`Aplication` is not known")),
        (MINIMAL, "Application", "AppProject", (2, 7, "kind", "kind `AppProject` is not in this version")),
        (MINIMAL, "kind: Application\n", "", (1, 1, "kind", "`kind` is missing")),
        (MINIMAL, "name: web", "name: Web_App", (4, 9, "metadata.name", "is no valid name")),
        (MINIMAL, "name: web", "name: 12", (4, 9, "metadata.name", "is a number in YAML")),
        (MINIMAL, "name: web", "name: a12345678901234567890123456789012345678901234567890123", (4, 9, "metadata.name", "is no valid name")),
        (MINIMAL, "name: web", "name: web\n  namespace: x", (5, 3, "metadata.namespace", "unknown field")),
        (MINIMAL, "name: web", "name: web\n  labels: {a: 1}", (5, 15, "metadata.labels.a", "is a number")),
        (MINIMAL_PLAN, "name: careful", "name: inline", (4, 9, "metadata.name", "plans inside an Application")),
        // Fields of an Application.
        (MINIMAL, "1.4.0", "1.4", (6, 12, "spec.version", "`1.4` is a number in YAML")),
        (MINIMAL, "1.4.0", "017", (6, 12, "spec.version", "`017` is a number in YAML")),
        (MINIMAL, "1.4.0", "12e4567", (6, 12, "spec.version", "is a number in YAML")),
        (MINIMAL, "1.4.0", "", (6, 3, "spec.version", "has no value")),
        (MINIMAL, "1.4.0", "1.4.0\n  base: 7", (7, 9, "spec.base", "is a number in YAML")),
        (MINIMAL, "1.4.0", "[a]", (6, 12, "spec.version", "is a list, text is needed")),
        (MINIMAL, "1.4.0", "\"1 4\"", (6, 12, "spec.version", "is not one word")),
        (MINIMAL, "  version: 1.4.0\n", "", (6, 3, "spec.version", "`version` is missing")),
        (MINIMAL, "version: 1.4.0", "version: 1.4.0\n  version: 1.5.0", (7, 3, "spec.version", "stands twice; the first is in line 6")),
        (MINIMAL, "version: 1.4.0", "verison: 1.4.0", (6, 3, "spec.verison", "unknown field `verison`")),
        (MINIMAL, "1.4.0", "1.4.0+b\n  images: [{name: web}]", (7, 19, "spec.images[0].name", "`1.4.0+b` is no image tag")),
        (MINIMAL, "1.4.0", "1.4.0\n  images: [{name: 'web:1'}]", (7, 19, "spec.images[0].name", "no image name")),
        (MINIMAL, "1.4.0", "1.4.0\n  images: [{name: a}, {name: a}]", (7, 30, "spec.images[1].name", "stands twice")),
        (MINIMAL, "1.4.0", "1.4.0\n  images: [{name: a, tag: 1.10}]", (7, 27, "spec.images[0].tag", "is a number in YAML")),
        (MINIMAL, "1.4.0", "1.4.0\n  images: [{name: a, digest: sha256:1}]", (7, 30, "spec.images[0].digest", "no image digest")),
        (MINIMAL, "1.4.0", "1.4.0\n  images: {name: a}", (7, 11, "spec.images", "is a mapping, a list is needed")),
        (MINIMAL, "1.4.0", "1.4.0\n  attempt: -1", (7, 12, "spec.attempt", "out of range")),
        (MINIMAL, "1.4.0", "1.4.0\n  attempt: 1.5", (7, 12, "spec.attempt", "a whole number is needed")),
        (MINIMAL, "1.4.0", "1.4.0\n  history: 51", (7, 12, "spec.history", "out of range")),
        (MINIMAL, "1.4.0", "1.4.0\n  health: [{kind: pod, healthy: 'true'}]", (7, 19, "spec.health[0].kind", "`pod` is no kind")),
        (MINIMAL, "1.4.0", "1.4.0\n  health: [{kind: Pod, healthy: true}]", (7, 33, "spec.health[0].healthy", "`true` is a boolean in YAML")),
        (MINIMAL, "1.4.0", "1.4.0\n  health: [{kind: Pod, group: apps/v1, healthy: 'true'}]", (7, 31, "spec.health[0].group", "`apps/v1` is no API group")),
        (MINIMAL, "1.4.0", "1.4.0\n  health: [{kind: Pod, healthy: objct.a == 1}]", (7, 33, "spec.health[0].healthy", "unknown name `objct`")),
        (MINIMAL, "1.4.0", "1.4.0\n  health: [{kind: Pod, healthy: 'object.a = 1'}]", (7, 33, "spec.health[0].healthy", "`=` is no operator")),
        (MINIMAL, "1.4.0", "1.4.0\n  health: [{kind: Pod, degraded: 'false'}]", (7, 19, "spec.health[0].kind", "would never be healthy")),
        (MINIMAL, "1.4.0", "1.4.0\n  health: [{kind: Pod, healthy: 'true'}, {kind: Pod, healthy: 'true'}]", (7, 49, "spec.health[1].kind", "Pod has two rules")),
        (MINIMAL, "1.4.0", "1.4.0\n  health: [{kind: Pod, current: 'true', healthy: 'true'}]", (7, 24, "spec.health[0].current", "unknown field `current`")),
        (MINIMAL, "1.4.0", "1.4.0\n  health: {kind: Pod}", (7, 11, "spec.health", "is a mapping, a list is needed")),
        (MINIMAL, "1.4.0", "1.4.0\n  deletion: Orphan", (7, 13, "spec.deletion", "is not orphan or cascade")),
        (MINIMAL, "1.4.0", "1.4.0\n  sync: {prune: yes}", (7, 17, "spec.sync.prune", "neither true nor false")),
        (MINIMAL, "1.4.0", "1.4.0\n  sync: {prune: \"true\"}", (7, 17, "spec.sync.prune", "neither true nor false")),
        (MINIMAL, "1.4.0", "1.4.0\n  sync: {adopt: [a, a]}", (7, 21, "spec.sync.adopt[1]", "stands twice")),
        (MINIMAL, "1.4.0", "1.4.0\n  sync:", (7, 3, "spec.sync", "is empty, a mapping is needed")),
        (MINIMAL, "1.4.0", "1.4.0\n  <<: {a: b}", (7, 3, "spec.<<", "unknown field")),
        (MINIMAL, "apps/web", "/apps/web", (8, 11, "spec.source.path", "is absolute")),
        (MINIMAL, "apps/web", "apps/../web", (8, 11, "spec.source.path", "leaves its folder")),
        (MINIMAL, "apps/web", "./../web", (8, 11, "spec.source.path", "leaves its folder")),
        (MINIMAL, "apps/web", ".git/hooks", (8, 11, "spec.source.path", "is no path")),
        (MINIMAL, "apps/web", "apps\\web", (8, 11, "spec.source.path", "has a backslash")),
        (MINIMAL, "apps/web", "\"\"", (8, 11, "spec.source.path", "is empty")),
        (MINIMAL, "path: apps/web", "path: apps/web\n    repoURL: x", (9, 5, "spec.source.repoURL", "unknown field")),
        (MINIMAL, "    namespace: shop\n", "    cluster: in-cluster\n", (10, 5, "spec.destination.namespace", "is missing")),
        (MINIMAL, "namespace: shop", "namespace: shop\n    cluster: other", (11, 14, "spec.destination.cluster", "cluster `other` is unknown")),
        (MINIMAL, "1.4.0", "1.4.0\n  plan: carefull", (7, 9, "spec.plan", "no plan is called `carefull`")),
        (MINIMAL, "1.4.0", "1.4.0\n  plan: [a]", (7, 9, "spec.plan", "is a list")),
        (MINIMAL, "1.4.0", "1.4.0\n  plan: {waves: []}", (7, 17, "spec.plan.waves", "the list is empty")),
        // Waves.
        (MINIMAL_PLAN, "  waves:\n    - replicas: 1\n    - replicas: all", "  capacity: surge", (6, 3, "spec.waves", "is missing")),
        (MINIMAL_PLAN, "replicas: 1", "replicas: 0", (7, 17, "spec.waves[0].replicas", "0 pods is no wave")),
        (MINIMAL_PLAN, "replicas: 1", "replicas: 0%", (7, 17, "spec.waves[0].replicas", "out of range")),
        (MINIMAL_PLAN, "replicas: 1", "replicas: \"101%\"", (7, 17, "spec.waves[0].replicas", "out of range")),
        (MINIMAL_PLAN, "replicas: 1", "replicas: 2.5%", (7, 17, "spec.waves[0].replicas", "no whole share")),
        (MINIMAL_PLAN, "replicas: 1", "replicas: \"1\"", (7, 17, "spec.waves[0].replicas", "is text")),
        (MINIMAL_PLAN, "replicas: 1", "replicas: half", (7, 17, "spec.waves[0].replicas", "no size of a wave")),
        (MINIMAL_PLAN, "replicas: 1", "replicas: -1", (7, 17, "spec.waves[0].replicas", "out of range")),
        (MINIMAL_PLAN, "replicas: 1", "replicas: all", (8, 17, "spec.waves[1].replicas", "no growth")),
        (MINIMAL_PLAN, "replicas: 1", "replicas: 30%\n    - replicas: 20%", (8, 17, "spec.waves[1].replicas", "the wave before has 30%, so 20% is no growth")),
        (MINIMAL_PLAN, "replicas: 1", "replicas: 2\n    - replicas: 2", (8, 17, "spec.waves[1].replicas", "no growth")),
        (MINIMAL_PLAN, "replicas: all", "replicas: 50%", (8, 17, "spec.waves[1].replicas", "would never complete")),
        (MINIMAL_PLAN, "replicas: 1", "bake: 30s", (7, 7, "spec.waves[0].replicas", "is missing")),
        (MINIMAL_PLAN, "replicas: 1", "replica: 1", (7, 7, "spec.waves[0].replica", "unknown field `replica`")),
        (MINIMAL_PLAN, "replicas: 1", "replicas: 1\n      bake: 30", (8, 13, "spec.waves[0].bake", "`30` is no duration")),
        (MINIMAL_PLAN, "replicas: 1", "replicas: 1\n      bake: 1.5h", (8, 13, "spec.waves[0].bake", "no duration")),
        (MINIMAL_PLAN, "replicas: 1", "replicas: 1\n      bake: 721h", (8, 13, "spec.waves[0].bake", "out of range")),
        (MINIMAL_PLAN, "replicas: 1", "replicas: 1\n      timeout: 0s", (8, 16, "spec.waves[0].timeout", "out of range")),
        (MINIMAL_PLAN, "replicas: 1", "replicas: 1\n      analysis: [errors]", (8, 18, "spec.waves[0].analysis[0]", "no analysis is called `errors`")),
        (MINIMAL_PLAN, "replicas: 1", "name: a\n      replicas: 1\n    - name: a\n      replicas: 2", (9, 13, "spec.waves[1].name", "two waves are called `a`")),
        (MINIMAL_PLAN, "spec:", "spec:\n  strategy: blueGreen", (6, 13, "spec.strategy", "blueGreen is not in this version")),
        (MINIMAL_PLAN, "spec:", "spec:\n  capacity: inplace", (6, 13, "spec.capacity", "is not surge or inPlace")),
        (MINIMAL_PLAN, "spec:", "spec:\n  health: {maxRestarts: 1001}", (6, 25, "spec.health.maxRestarts", "out of range")),
        (MINIMAL_PLAN, "spec:", "spec:\n  express: [{replicas: 1}]", (6, 24, "spec.express[0].replicas", "would never complete")),
        (MINIMAL_PLAN, "spec:", "spec:\n  express: []", (6, 12, "spec.express", "the list is empty")),
        // Analyses.
        (MINIMAL_PLAN, "spec:", "spec:\n  analysis: [{name: a, provider: p, query: q}]", (6, 21, "spec.analysis[0]", "neither `min` nor `max`")),
        (MINIMAL_PLAN, "spec:", "spec:\n  analysis: [{name: a, provider: p, query: q, max: .nan}]", (6, 52, "spec.analysis[0].max", "no finite number")),
        (MINIMAL_PLAN, "spec:", "spec:\n  analysis: [{name: a, provider: p, query: q, max: .inf}]", (6, 52, "spec.analysis[0].max", "no finite number")),
        (MINIMAL_PLAN, "spec:", "spec:\n  analysis: [{name: a, provider: p, query: q, max: '1'}]", (6, 52, "spec.analysis[0].max", "is no number")),
        (MINIMAL_PLAN, "spec:", "spec:\n  analysis: [{name: a, provider: p, query: q, min: 2, max: 1}]", (6, 60, "spec.analysis[0].max", "max 1 is below min 2")),
        (MINIMAL_PLAN, "spec:", "spec:\n  analysis: [{name: a, provider: p, query: '${pods}', max: 1}]", (6, 44, "spec.analysis[0].query", "unknown placeholder `${pods}`")),
        (MINIMAL_PLAN, "spec:", "spec:\n  analysis: [{name: a, provider: p, query: q, max: 1, failureLimit: 3}]", (6, 69, "spec.analysis[0].failureLimit", "would never shut")),
        (MINIMAL_PLAN, "spec:", "spec:\n  analysis: [{name: health, provider: p, query: q, max: 1}]", (6, 21, "spec.analysis[0].name", "a gate that every wave has")),
        (MINIMAL_PLAN, "spec:", "spec:\n  analysis: [{name: a, query: q, max: 1}]", (6, 14, "spec.analysis[0].provider", "is missing")),
        (MINIMAL_PLAN, "spec:", "spec:\n  analysis: [{name: a, provider: p, query: q, max: 1, interval: 10ms}]", (6, 65, "spec.analysis[0].interval", "out of range")),
        // YAML itself.
        (MINIMAL, "  version", "\tversion", (6, 2, "", "not valid YAML")),
        (MINIMAL, "1.4.0", "[1.4.0", (7, 9, "", "not valid YAML")),
        (MINIMAL, "1.4.0", "*nowhere", (6, 12, "", "not valid YAML")),
        (MINIMAL, "1.4.0", "!Ref x", (6, 17, "", "the tag `!Ref` is not read")),
        (MINIMAL, "1.4.0", "1\u{0}4", (6, 13, "", "NUL")),
        (MINIMAL, "  version: 1.4.0\n", "<<<<<<< HEAD\n  version: 1.4.0\n=======\n  version: 1.5.0\n>>>>>>> b\n", (6, 1, "", "not valid YAML")),
    ];
    let mut wrong = Vec::new();
    for (good, from, to, (line, column, field, message)) in cases {
        assert!(good.contains(from), "{from}");
        let problems = assembled(&[("a.yaml", &good.replacen(from, to, 1))], &[]).problems;
        let is_found = problems.first().is_some_and(|problem| {
            (problem.line, problem.column, problem.field.as_str()) == (*line, *column, *field)
                && problem.message.contains(message)
        });
        if !is_found {
            wrong.push(format!("{to:?}: wanted {line}:{column} {field} {message}: {problems:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn hints_say_what_to_do() {
    for (from, to, hint) in [
        ("1.4.0", "1.4", "quote it: \"1.4\""),
        ("version:", "verison:", "did you mean `version`?"),
        ("1.4.0", "1.4.0\n  plan: carefull", "did you mean `careful`?"),
        ("1.4.0", "1.4.0\n  syncPolicy: {}", "here it is called `sync`"),
        ("1.4.0", "1.4.0\n  sync: {prune: on}", "write true, without quotes"),
        ("  version", "\tversion", "spaces, not with tabs"),
        ("  version", "<<<<<<< HEAD\n  version", "a merge conflict was committed"),
        ("1.4.0", "1.4.0\n  plan: {waves: [{replicas: '1'}]}", "write the count without quotes: 1"),
    ] {
        let problems = assembled(&[("a.yaml", &MINIMAL.replacen(from, to, 1))], &[]).problems;
        assert!(problems.iter().any(|problem| problem.hint.contains(hint)), "{to}: {problems:#?}");
    }
}

#[test]
fn a_problem_reads_as_one_line() {
    let text = format!("{MINIMAL}---\n{}", MINIMAL_PLAN.replace("replicas: 1", "replicas: 0"));
    let problems = assembled(&[("plans/a.yaml", &text)], &[]).problems;
    let line = "plans/a.yaml:18:17: document 2: field `spec.waves[0].replicas`: a wave of 0 pods is no wave (write a count \
                (1), a share (\"25%\") or all)";
    assert_eq!(problems.iter().map(Problem::to_string).collect::<Vec<_>>(), [line]);
}

#[test]
fn manifests_of_others_are_not_judged() {
    for text in [
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, annotations: {tidegate.dev/x: y}}\na: 1\na: 2\n",
        "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: a}\nspec: {x: tidegate.dev/}\n",
        "apiVersion: v1\nkind: ConfigMap\ndata: {a: !Ref tidegate.dev/, b: {{ .Values.b }}}\n",
        "- op: add\n  path: /metadata/annotations/tidegate.dev~1x\n  value: tidegate.dev/y\n",
        "just text about tidegate.dev/ and more\n",
        "# only a comment about tidegate.dev/\n---\n---\n",
    ] {
        assert!(is_candidate(text.as_bytes()));
        assert_eq!(parse_file("a.yaml", text.as_bytes()), ParsedFile::default(), "{text}");
    }
    assert!(!is_candidate(b"apiVersion: v1\nkind: ConfigMap\n"));
}

#[test]
fn a_truncated_or_garbled_file_never_panics_and_never_loses_an_app_without_a_word() {
    let known = BTreeMap::from([(AppName::from("web"), "a.yaml")]);
    for end in 0..FULL.len() {
        let text = &FULL.as_bytes()[..end];
        let parsed = Arc::new(parse_file("a.yaml", text));
        let declarations =
            assemble(&BTreeMap::from([("a.yaml".to_owned(), Arc::clone(&parsed))]), &known, [], &Made::default());
        let is_there = declarations.apps.contains_key(&AppName::from("web"));
        // A cut before the version is the only one that leaves no trace of us.
        let is_ours = std::str::from_utf8(text).is_ok_and(|text| text.contains("tidegate.dev/v"));
        assert!(is_there || !is_ours, "cut at {end}: {parsed:?}");
    }
    for index in 0..FULL.len() {
        let mut text = FULL.as_bytes().to_vec();
        text[index] = b"\t\"{\n:\xff&%-*"[index % 10];
        let _ = parse_file("a.yaml", &text);
    }
}

#[test]
fn what_stops_the_reader_before_a_document_says_whose_it_is_removes_no_app() {
    let known = BTreeMap::from([(AppName::from("web"), "a.yaml")]);
    let bomb = (1..10).fold("x: {l0: &l0 word".to_owned(), |text, level| {
        let items = vec![format!("*l{}", level - 1); 9].join(", ");
        format!("{text}, l{level}: &l{level} [{items}]")
    });
    let deep = format!("x: {}{}\n", "[".repeat(100), "]".repeat(100));
    for start in
        [format!("{bomb}}}\n"), deep, "x: *nowhere\n".to_owned(), "x: !Ref y\n".to_owned(), "\tx: 1\n".to_owned()]
    {
        // The second is not even known for ours by its lines.
        for own in [MINIMAL.to_owned(), MINIMAL.replace("apiVersion: ", "apiVersion:\n  ")] {
            let text = format!("{start}{own}");
            let files = BTreeMap::from([("a.yaml".to_owned(), Arc::new(parse_file("a.yaml", text.as_bytes())))]);
            let declarations = assemble(&files, &known, [], &Made::default());
            let problems = declarations.apps.get(&AppName::from("web")).and_then(|app| app.as_ref().err());
            assert!(problems.is_some_and(|problems| problems[0].file == "a.yaml"), "{text:.200}: {declarations:?}");
        }
    }
}

#[test]
fn windows_line_ends_and_byte_order_marks_are_read() {
    let text = format!("\u{feff}{}", FULL.replace('\n', "\r\n"));
    assert_eq!(only_app(&text), only_app(FULL));
}

#[test]
fn an_alias_for_a_whole_value_is_read() {
    let text = MINIMAL.replace("1.4.0", "&v 1.4.0\n  images: [{name: web, tag: *v}]");
    assert_eq!(only_app(&text).images[0].tag, "1.4.0");
}

/// Every field of a schema: its path in a document, and its own schema.
fn fields(schema: &serde_json::Value, path: &str, found: &mut BTreeMap<String, serde_json::Value>) {
    let variants = schema["oneOf"].as_array().into_iter().flatten();
    for schema in std::iter::once(schema).chain(variants) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            found.insert(path.clone(), field.clone());
            fields(field, &path, found);
        }
        if schema["items"].is_object() {
            let path = format!("{path}[0]");
            found.insert(path.clone(), schema["items"].clone());
            fields(&schema["items"], &path, found);
        }
    }
}

/// A value that the schema accepts, as small as possible but with every field.
fn sample(schema: &serde_json::Value, path: &str) -> serde_json::Value {
    use serde_json::json;
    // Of what excludes each other, one is shown: a chart in the repository; the others have cases of their own.
    if path.ends_with(".source.tool") {
        return json!("helm");
    }
    if let Some(word) = schema["enum"].get(0).or_else(|| schema.get("const")) {
        return word.clone();
    }
    let last = path.rsplit(['.', ']']).next().unwrap_or_default();
    match (schema["type"].as_str(), last) {
        (Some("object"), "labels" | "substitute") => json!({"team": "shop"}),
        // One generator is either of both.
        (Some("object"), _) if path.ends_with(".generators[0]") => {
            json!({"folders": sample(&schema["properties"]["folders"], &format!("{path}.folders"))})
        }
        (Some("object"), _) => {
            let fields = schema["properties"].as_object().into_iter().flatten();
            // An Application with a base is not judged as a whole before the base is known: it has cases of its own.
            let fields = fields.filter(|(name, _)| *name != "base" && !(*name == "chart" && path.ends_with(".helm")));
            let fields = fields.filter(|(name, _)| *name != "sources");
            fields.map(|(name, field)| (name.clone(), sample(field, &format!("{path}.{name}")))).collect()
        }
        (Some("array"), _) if path.ends_with(".analysis") && schema["items"]["type"] == "string" => json!(["label"]),
        (Some("array"), _) => json!([sample(&schema["items"], &format!("{path}[0]"))]),
        (Some("integer"), "count") => json!(2),
        (Some("integer"), _) => json!(1),
        (Some("number"), _) => json!(1),
        // Only plain YAML is looked for in folders below, and the sample has a chart.
        (Some("boolean"), "recurse") => json!(false),
        (Some("boolean"), _) => json!(true),
        (Some("string"), "bake" | "timeout" | "interval" | "revertTimeout") => json!("30s"),
        (Some("string"), "repository") => json!("https://git.example/charts"),
        (Some("string"), "revision") => json!("~1.4"),
        (Some("string"), "digest") => json!(format!("sha256:{}", "0".repeat(64))),
        (Some("string"), "kind") if path.contains(".substituteFrom") => json!("Secret"),
        (Some("string"), "kind") => json!("Widget"),
        (Some("string"), "healthy" | "degraded" | "suspended" | "progressing" | "when" | "expression") => json!("true"),
        // Any text may stand in a template, and some does not mean anything.
        (Some("string"), "cluster") if path.contains(".template.") => json!("in-cluster"),
        (Some("string"), "random") if path.contains(".template.") => json!("keep"),
        (Some("string"), "deletion") if path.contains(".template.") => json!("cascade"),
        (Some("string"), "rollback") if path.contains(".template.") => json!("manual"),
        (Some("string"), "pause") if path.contains(".template.") => json!("user"),
        (Some("string"), "conflicts") if path.contains(".template.") => json!("fail"),
        (Some("string"), "condition") if path.contains(".template.") => json!("release"),
        (Some("string"), "strategy") if path.contains(".template.") => json!("canary"),
        (Some("string"), "capacity") if path.contains(".template.") => json!("surge"),
        (Some("string"), "onFailure") if path.contains(".template.") => json!("hold"),
        (Some("string"), "noData") if path.contains(".template.") => json!("wait"),
        (Some("string"), _) if path.contains(".jsonPointers") => json!("/spec/replicas"),
        (Some("string"), _) => json!("label"),
        (None, "replicas") => json!("all"),
        (None, _) => sample(&schema["oneOf"][1], path),
        other => panic!("no sample for {path}: {other:?}"),
    }
}

#[test]
fn schema_and_parser_know_the_same_fields_and_kinds_of_values() {
    for (kind, schema) in schemas() {
        let mut known = BTreeMap::new();
        fields(&schema, "", &mut known);
        let document = sample(&schema, "");
        // What the schema shows is accepted: JSON is YAML.
        let problems = parse_file("a.yaml", document.to_string().as_bytes()).problems;
        assert_eq!(problems, [], "{kind}");
        // And what it refuses is refused, at that very field: so each is read, and read as the kind of value it shows.
        // (`apiVersion` and `kind` say whose document it is; they have cases of their own.)
        known.retain(|path, _| {
            !["apiVersion", "kind"].contains(&path.as_str())
                && !path.ends_with(".base")
                && !path.contains(".list")
                && !path.contains(".helm.chart")
                && !path.ends_with(".source.tool")
                && !path.contains(".sources")
        });
        for (path, field) in &known {
            let pointer = format!("/{}", path.replace(['.', '['], "/").replace(']', ""));
            let accepts_text = field["type"] == "string" && field.get("enum").is_none();
            let wrong = if accepts_text { serde_json::json!(7) } else { serde_json::json!("no such thing!") };
            let mut document = document.clone();
            *document.pointer_mut(&pointer).expect("the sample has every field") = wrong;
            let problems = parse_file("a.yaml", document.to_string().as_bytes()).problems;
            assert!(problems.iter().any(|problem| problem.field == *path), "{kind} {path}: {problems:?}");
            // Each word that the schema offers is taken.
            for word in field["enum"].as_array().into_iter().flatten() {
                *document.pointer_mut(&pointer).expect("it is there") = word.clone();
                let problems = parse_file("a.yaml", document.to_string().as_bytes()).problems;
                assert_eq!(problems, [], "{kind} {path}: {word}");
            }
        }
        // A field that the schema lacks is unknown to the parser, at every level.
        for path in known.iter().filter(|(_, field)| field["additionalProperties"] == false).map(|(path, _)| path) {
            let pointer = format!("/{}", path.replace(['.', '['], "/").replace(']', ""));
            let mut document = document.clone();
            document.pointer_mut(&pointer).expect("it is there")["surprise"] = serde_json::json!(1);
            let problems = parse_file("a.yaml", document.to_string().as_bytes()).problems;
            assert!(problems.iter().any(|problem| problem.message == "unknown field `surprise`"), "{kind} {path}");
        }
    }
}

#[test]
fn a_mapping_with_too_many_fields_is_refused_without_comparing_them_all() {
    let many: String = (0..60_000).map(|index| format!("  k{index}: \n")).collect();
    let problems = parse_file("a.yaml", format!("{MINIMAL}{many}").as_bytes()).problems;
    assert!(problems.iter().any(|problem| problem.message.contains("more than 50000 values")), "{problems:?}");
    let many: String = (0..2000).map(|index| format!("  k{index}: \n")).collect();
    let problems = parse_file("a.yaml", format!("{MINIMAL}{many}").as_bytes()).problems;
    assert!(problems.iter().any(|problem| problem.hint == "at most 1000 are read"), "{problems:?}");
}

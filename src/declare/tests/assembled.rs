//! Several files together: which apps a bad one holds back, and whose plan counts.

use super::*;

/// Apps by what became of them: `ok`, or the messages.
fn outcomes(declarations: &Declarations) -> Vec<(String, String)> {
    let outcome = |result: &Result<Arc<Application>, Vec<Problem>>| match result {
        Ok(_) => "ok".to_owned(),
        Err(problems) => problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; "),
    };
    declarations.apps.iter().map(|(name, result)| (name.to_string(), outcome(result))).collect()
}

#[test]
fn one_bad_file_holds_back_only_the_apps_that_it_declares() {
    let (a, b, c) = (app("a", ""), app("b", ""), app("c", ""));
    let bad_b = b.replace("version: 1.4.0", "version: 1.4");
    let broken_b = b.replace("version: 1.4.0", "version: [");
    let uses_x = app("a", "  plan: careful\n");
    let bad_plan = MINIMAL_PLAN.replace("replicas: 1", "replicas: 0");
    let nameless = b.replace("name: b", "name: B!");
    let join = |left: &str, right: &str| format!("{left}---\n{right}");
    type Case<'a> = (&'a str, Vec<(&'a str, String)>, Vec<(&'a str, &'a str)>, Vec<(&'a str, &'a str)>);
    let cases: Vec<Case<'_>> = vec![
        ("good files", vec![("1", a.clone()), ("2", b.clone())], vec![], vec![("a", "ok"), ("b", "ok")]),
        (
            "its own document is bad",
            vec![("1", join(&a, &bad_b)), ("2", c.clone())],
            vec![],
            vec![("a", "ok"), ("b", "1:17:12"), ("c", "ok")],
        ),
        (
            "its file is no YAML",
            vec![("1", join(&a, &broken_b)), ("2", c.clone())],
            vec![],
            vec![("a", "not valid YAML"), ("b", "not valid YAML"), ("c", "ok")],
        ),
        (
            "its file is no YAML before it",
            vec![("1", join(&broken_b, &a))],
            vec![("z", "1")],
            vec![("a", "not valid YAML"), ("b", "not valid YAML"), ("z", "not valid YAML")],
        ),
        (
            "its name cannot be read",
            vec![("1", nameless.clone()), ("2", c.clone())],
            vec![("b", "1"), ("c", "2")],
            vec![("b", "is no valid name"), ("c", "ok")],
        ),
        (
            "its plan is unknown",
            vec![("1", app("a", "  plan: nope\n")), ("2", b.clone())],
            vec![],
            vec![("a", "no plan is called `nope`"), ("b", "ok")],
        ),
        (
            "its plan is bad",
            vec![("1", uses_x.clone()), ("2", b.clone()), ("3", bad_plan)],
            vec![],
            vec![("a", "plan `careful` has problems: 3:7:17"), ("b", "ok")],
        ),
        (
            "its plan is declared twice",
            vec![("1", uses_x), ("2", MINIMAL_PLAN.to_owned()), ("3", MINIMAL_PLAN.to_owned())],
            vec![],
            vec![("a", "WavePlan `careful` is also declared at 3:4:9")],
        ),
        (
            "two files declare it",
            vec![("1", a.clone()), ("2", join(&b, &a))],
            vec![],
            vec![("a", "also declared at 2:15:9"), ("b", "ok")],
        ),
        ("one file declares it twice", vec![("1", join(&a, &a))], vec![], vec![("a", "also declared at 1:15:9")]),
        (
            "one of two that declare it is bad",
            vec![("1", b.clone()), ("2", bad_b.clone())],
            vec![],
            vec![("b", "also declared at 2:4:9")],
        ),
        ("it left its file", vec![("1", a.clone())], vec![("a", "1"), ("b", "1")], vec![("a", "ok")]),
        ("its file left", vec![("1", a.clone())], vec![("a", "1"), ("b", "2")], vec![("a", "ok")]),
        (
            "it left a file with problems",
            vec![("1", join(&c, &bad_b))],
            vec![("a", "1")],
            vec![("a", "1:17:12"), ("b", "1:17:12"), ("c", "ok")],
        ),
        ("it moved", vec![("2", a.clone())], vec![("a", "1")], vec![("a", "ok")]),
        (
            "it may have moved into a file that is no YAML",
            vec![("1", c.clone()), ("2", "apiVersion: tidegate.dev/v1alpha1\nkind: [".to_owned())],
            vec![("a", "1")],
            vec![("a", "may be declared here"), ("c", "ok")],
        ),
        (
            "it may have moved into a document without a name",
            vec![("2", nameless)],
            vec![("a", "1")],
            vec![("a", "may be declared here")],
        ),
        ("another file with problems that hides no name", vec![("2", bad_b)], vec![("a", "1")], vec![("b", "2:6:12")]),
    ];
    for (claim, files, known, expected) in cases {
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let found = outcomes(&assembled(&files, &known));
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, expected.iter().map(|(name, _)| *name).collect::<Vec<_>>(), "{claim}: {found:?}");
        for ((name, outcome), (_, part)) in found.iter().zip(&expected) {
            assert!(outcome.contains(part), "{claim}: {name}: {outcome}");
            assert_eq!(outcome == "ok", *part == "ok", "{claim}: {name}: {outcome}");
        }
    }
}

#[test]
fn a_plan_of_the_repository_wins_over_a_built_in_one() {
    let files = [("1", &*app("a", "  plan: careful\n")), ("2", MINIMAL_PLAN)];
    let declarations = assembled(&files, &[]);
    let app = declarations.apps[&AppName::from("a")].as_ref().expect("it is good");
    assert_eq!(app.plan.waves.len(), 2);
    assert_eq!(declarations.plans["careful"], app.plan);
    assert_ne!(declarations.plans["careful"], built_in_plans()["careful"]);
    assert_eq!(declarations.plans["fast"], built_in_plans()["fast"]);
}

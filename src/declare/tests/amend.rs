//! Edits taken up one by one give what putting everything together gives.

use super::*;

/// An Application for each folder.
const SET: &str = "\
apiVersion: tidegate.dev/v1alpha1
kind: ApplicationSet
metadata: {name: s}
spec:
  generators: [{folders: {pattern: f/*}}]
  template:
    metadata: {name: '${name}'}
    spec: {version: '1', source: {path: '${path}'}, destination: {namespace: a}}
";

/// A document of some file: mostly an Application, rarely something that others depend on.
fn document(random: &mut fastrand::Rng, name: usize) -> String {
    let head = "apiVersion: tidegate.dev/v1alpha1\nkind:";
    let place = "destination: {namespace: a}\n  source: {path: m}";
    match random.usize(0..150) {
        0 => format!("{head} WavePlan\nmetadata: {{name: p{}}}\nspec:\n  waves: [{{replicas: all}}]\n", name % 2),
        1 => format!("{head} Application\nmetadata: {{name: a{name}}}\nspec: {{}}\n"),
        2 => "tidegate.dev/: [\n".to_owned(),
        3 => SET.to_owned(),
        _ => {
            let plan = match random.usize(0..8) {
                0 => "\n  plan: p0",
                1 => "\n  plan: all-at-once",
                2 => "\n  plan: {waves: [{replicas: 1}, {replicas: all}]}",
                _ => "",
            };
            let waits = match random.usize(0..30) {
                0 => format!("\n  dependsOn: [{{name: a{}}}]", random.usize(0..8)),
                _ => String::new(),
            };
            let version = random.usize(0..5);
            format!(
                "{head} Application\nmetadata: {{name: a{name}}}\nspec:\n  version: '{version}'\n  {place}{plan}{waits}\n"
            )
        }
    }
}

#[test]
fn an_edit_taken_up_alone_gives_what_all_together_give() {
    let mut random = fastrand::Rng::with_seed(7);
    let (mut amended, mut refused) = (0, 0);
    for fleet in 0..60 {
        let plan = MINIMAL_PLAN.replace("careful", "p0");
        let mut files = BTreeMap::from([("p.yaml".to_owned(), Arc::new(parse_file("p.yaml", plan.as_bytes())))]);
        let mut texts = BTreeMap::from([("p.yaml".to_owned(), plan)]);
        if fleet % 2 == 0 {
            files.insert("s.yaml".to_owned(), Arc::new(parse_file("s.yaml", SET.as_bytes())));
            texts.insert("s.yaml".to_owned(), SET.to_owned());
        }
        let mut declared = assemble(&files, &BTreeMap::new(), texts.keys().map(String::as_str), &Made::default());
        for _ in 0..60 {
            let before = (texts.clone(), files.clone());
            for _ in 0..random.usize(1..3) {
                // Most often each app has a file of its own, two share one, and files in folders declare nothing.
                let number = random.usize(0..8);
                let path = format!("{}.yaml", ["a", "a", "b", "c", "d", "e", "f/x/m", "f/y/m"][number]);
                let text = match random.usize(0..20) {
                    0 => {
                        texts.remove(&path);
                        continue;
                    }
                    1..5 if number < 2 => [document(&mut random, 0), document(&mut random, 1)].join("---\n"),
                    _ if number < 6 => document(&mut random, number),
                    _ => "kind: Deployment".to_owned(),
                };
                texts.insert(path, text);
            }
            for (path, text) in &texts {
                if is_candidate(text.as_bytes()) && before.0.get(path) != Some(text) {
                    files.insert(path.clone(), Arc::new(parse_file(path, text.as_bytes())));
                }
            }
            files.retain(|path, _| texts.get(path).is_some_and(|text| is_candidate(text.as_bytes())));
            let paths: BTreeSet<&String> = before.0.keys().chain(texts.keys()).collect();
            let changed: Vec<_> = paths.into_iter().filter(|path| before.0.get(*path) != texts.get(*path)).collect();
            let edited: Vec<Edited> =
                changed.iter().map(|path| (before.1.get(*path).cloned(), files.get(*path).cloned())).collect();
            let has_same_paths = changed.iter().all(|path| before.0.contains_key(*path) == texts.contains_key(*path));
            let all = |made: &Made| assemble(&files, &BTreeMap::new(), texts.keys().map(String::as_str), made);
            if declared.amend(&edited, has_same_paths) {
                amended += 1;
            } else {
                declared = all(&declared.made);
                refused += 1;
            }
            assert_eq!(declared, all(&Made::default()), "{texts:#?}");
        }
    }
    assert!(amended > 300 && refused > 300, "{amended} {refused}");
}

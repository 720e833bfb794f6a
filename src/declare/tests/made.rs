//! Applications that are whole by more than their own document: bases, sets, versions. And policies.

use super::super::file::ParsedApp;
use super::*;

const BASE: &str = "\
apiVersion: tidegate.dev/v1alpha1
kind: ApplicationBase
metadata:
  name: web-base
spec:
  source:
    path: ./manifests
    recurse: true
  destination:
    serviceAccount: deployer
  plan:
    waves:
      - {replicas: 1, analysis: [errors]}
      - replicas: all
  sync:
    prune: true
    adopt: [helm]
";

const OVERLAY: &str = "\
apiVersion: tidegate.dev/v1alpha1
kind: Application
metadata:
  name: web
spec:
  base: web-base
  version: 1.4.0
  destination:
    namespace: prod
  plan:
    analysis: [{name: errors, provider: p, query: q, max: 1}]
  sync:
    selfHeal: false
    adopt: [kubectl]
";

const FOLDERS: &str = "\
apiVersion: tidegate.dev/v1alpha1
kind: ApplicationSet
metadata:
  name: shop
spec:
  generators:
    - folders: {pattern: apps/*, exclude: [apps/old-*]}
  template:
    metadata:
      name: ${name}
      labels: {part: \"$${name} of ${folder}\"}
    spec:
      source: {path: \"${path}\"}
      destination: {namespace: shop}
";

const LIST: &str = "\
apiVersion: tidegate.dev/v1alpha1
kind: ApplicationSet
metadata: {name: tools}
spec:
  generators:
    - list:
        - {name: api, version: 2.0.0, team: one}
        - name: db
          version: \"1.10\" # quoted
          team: two
  template:
    metadata: {name: \"${name}\"}
    spec:
      version: ${version}
      images: [{name: \"example/${name}\"}]
      source: {path: tools/shared}
      destination: {namespace: \"team-${team}\"}
";

fn version(name: &str, version: &str) -> String {
    format!(
        "apiVersion: tidegate.dev/v1alpha1\nkind: ApplicationVersion\nmetadata: {{name: {name}}}\nspec:\n  version: {version}\n"
    )
}

fn made(files: &[(&str, &str)], known: &[(&str, &str)], paths: &[&str]) -> Declarations {
    let files = parsed(files);
    let known = known.iter().map(|(name, file)| (AppName::from(*name), *file)).collect();
    assemble(&files, &known, paths.iter().copied(), &Made::default())
}

fn parsed(files: &[(&str, &str)]) -> BTreeMap<String, Arc<ParsedFile>> {
    files.iter().map(|(path, text)| ((*path).to_owned(), Arc::new(parse_file(path, text.as_bytes())))).collect()
}

fn good<'a>(declarations: &'a Declarations, name: &str) -> &'a Application {
    declarations.apps[&AppName::from(name)].as_ref().unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// What is wrong, as lines.
fn told(declarations: &Declarations) -> Vec<String> {
    declarations.problems.iter().map(ToString::to_string).collect()
}

fn names(declarations: &Declarations) -> Vec<String> {
    declarations.apps.iter().map(|(name, app)| format!("{name}{}", if app.is_ok() { "" } else { "!" })).collect()
}

#[test]
fn own_fields_win_mappings_merge_and_lists_replace() {
    let files = [("base/web.yaml", BASE), ("prod/web.yaml", OVERLAY)];
    let declarations = made(&files, &[], &[]);
    assert_eq!(told(&declarations), [""; 0]);
    let app = good(&declarations, "web");
    // A path that starts at the base's folder stays there.
    assert_eq!((app.sources[0].path.as_str(), app.sources[0].is_recursive), ("base/manifests", true));
    assert_eq!((app.namespace.as_str(), app.service_account.as_deref()), ("prod", Some("deployer")));
    assert_eq!((app.sync.prunes, app.sync.self_heals), (true, false));
    assert_eq!(app.sync.adopt.iter().collect::<Vec<_>>(), ["kubectl"]);
    assert_eq!((app.plan.waves.len(), app.plan.analysis.len()), (2, 1));
    assert_eq!((app.declared_in.as_str(), app.version.as_str()), ("prod/web.yaml", "1.4.0"));
    // What the custom resource mirrors is whole, so that it can be read back without the base.
    assert_eq!(app.spec["base"], serde_json::Value::Null);
    assert_eq!(app.spec["source"]["path"], "base/manifests");
    let again = serde_json::json!({"apiVersion": super::super::API_VERSION, "kind": "Application",
        "metadata": {"name": "web"}, "spec": *app.spec});
    assert_eq!(good(&made(&[("prod/web.yaml", &again.to_string())], &[], &[]), "web"), app);
    let place = declarations.version_place(&parsed(&files), &AppName::from("web")).expect("it stands somewhere");
    assert_eq!((place.file.as_str(), place.line, place.is_templated), ("prod/web.yaml", 7, false));
}

#[test]
fn what_comes_from_a_base_is_told_where_it_stands() {
    let with = |from: &str, to: &str, base_from: &str, base_to: &str| {
        assert!(OVERLAY.contains(from) && BASE.contains(base_from), "{from} {base_from}");
        let (overlay, base) = (OVERLAY.replacen(from, to, 1), BASE.replacen(base_from, base_to, 1));
        made(&[("base.yaml", &base), ("web.yaml", &overlay)], &[], &[])
    };
    for (from, to, base_from, base_to, wanted) in [
        (
            "",
            "",
            "web-base",
            "web-bases",
            "web.yaml:6:9: document 1: field `spec.base`: no ApplicationBase is called `web-base` (did you mean `web-bases`?)",
        ),
        ("", "", "prune: true", "prune: yes", "base.yaml:16:12: document 1: field `spec.sync.prune`: `yes` is neither"),
        (
            "",
            "",
            "spec:\n",
            "spec:\n  base: other\n",
            "base.yaml:6:3: document 1: field `spec.base`: a base has no base",
        ),
        (
            "",
            "",
            "[errors]",
            "[erors]",
            "base.yaml:13:34: document 1: field `spec.plan.waves[0].analysis[0]`: no analysis is called `erors`",
        ),
        (
            "    namespace: prod\n",
            "    cluster: in-cluster\n",
            "",
            "",
            "web.yaml:9:5: document 1: field `spec.destination.namespace`: `namespace` is missing",
        ),
        ("  version: 1.4.0\n", "", "", "", "web.yaml:6:3: document 1: field `spec.version`: `version` is missing"),
        (
            "selfHeal: false",
            "selfheal: false",
            "",
            "",
            "web.yaml:13:5: document 1: field `spec.sync.selfheal`: unknown field",
        ),
        (
            "plan:\n    analysis: [{name: errors, provider: p, query: q, max: 1}]",
            "plan: carefull",
            "",
            "",
            "web.yaml:10:9: document 1: field `spec.plan`: no plan is called",
        ),
        (
            "  plan:\n    analysis: [{name: errors, provider: p, query: q, max: 1}]\n",
            "",
            "plan:\n    waves:\n      - {replicas: 1, analysis: [errors]}\n      - replicas: all",
            "plan: carefull",
            "base.yaml:11:9: document 1: field `spec.plan`: no plan is called",
        ),
    ] {
        let declarations = with(from, to, base_from, base_to);
        assert!(
            told(&declarations).iter().any(|told| told.starts_with(wanted)),
            "{wanted}: {:#?}",
            told(&declarations)
        );
        assert_eq!(names(&declarations), ["web!"], "{wanted}");
    }
    let twice = made(&[("a.yaml", BASE), ("b.yaml", BASE), ("web.yaml", OVERLAY)], &[], &[]);
    assert!(
        told(&twice).iter().any(|told| told.contains("`web-base` has problems: a.yaml:4:9")),
        "{:#?}",
        told(&twice)
    );
}

#[test]
fn a_folder_that_matches_is_an_application_with_a_version_of_its_own() {
    let (web, api) = (version("web", "1.4.0"), version("api", "\"7\"") + "  attempt: 2\n  images: [{name: api}]\n");
    let files = [("set.yaml", FOLDERS), ("apps/web/version.yaml", &web), ("apps/api/version.yaml", &api)];
    let paths =
        ["apps/README", "apps/api/d.yaml", "apps/old-x/d.yaml", "apps/web/deep/d.yaml", "apps/.git/d", "set.yaml"];
    let declarations = made(&files, &[], &paths);
    assert_eq!((told(&declarations), names(&declarations)), (vec![], vec!["api".to_owned(), "web".to_owned()]));
    let (web, api) = (good(&declarations, "web"), good(&declarations, "api"));
    assert_eq!(
        (web.version.as_str(), web.sources[0].path.as_str(), web.declared_in.as_str()),
        ("1.4.0", "apps/web", "set.yaml")
    );
    assert_eq!((api.version.as_str(), api.attempt, api.images[0].tag.as_str()), ("7", 2, "7"));
    let place = declarations.version_place(&parsed(&files), &AppName::from("api")).expect("it stands somewhere");
    assert_eq!((place.file.as_str(), place.line, place.column), ("apps/api/version.yaml", 5, 12));
}

#[test]
fn an_entry_of_a_list_is_an_application_and_its_version_stands_there() {
    let files = [("tools/set.yaml", LIST)];
    let declarations = made(&files, &[], &[]);
    assert_eq!(told(&declarations), [""; 0]);
    let db = good(&declarations, "db");
    assert_eq!((db.version.as_str(), db.images[0].tag.as_str(), db.namespace.as_str()), ("1.10", "1.10", "team-two"));
    let place =
        |name: &str| declarations.version_place(&parsed(&files), &AppName::from(name)).expect("it stands somewhere");
    assert_eq!((place("api").line, place("api").column), (7, 32));
    assert_eq!((place("db").line, place("db").column, place("db").is_templated), (9, 20, true));
}

#[test]
fn what_is_wrong_with_a_set_is_told_with_the_folder_or_the_entry() {
    let folders = |from: &str, to: &str| FOLDERS.replacen(from, to, 1);
    let list = |from: &str, to: &str| LIST.replacen(from, to, 1);
    let web = version("web", "1.4.0");
    type Case = (String, &'static str, &'static [&'static str]);
    let cases: Vec<Case> = vec![
        (
            FOLDERS.to_owned(),
            "field `spec.template.spec.version`: nothing says which version `api` has (for the folder `apps/api`) (declare it in an ApplicationVersion called `api`, such as apps/api/version.yaml)",
            &["api!", "web"],
        ),
        (folders("shop}", "Shop!}"), "field `spec.template.spec.destination.namespace`: `Shop!` is no valid name", &[]),
        (
            folders("namespace: shop}", "namespace: \"${name}_x\"}"),
            "`web_x` is no valid name (for the folder `apps/web`)",
            &["api!", "web!"],
        ),
        (
            folders("name: ${name}\n", "name: ${nam}\n"),
            "no variable is called `nam` (a folder has folder, name, path",
            &[],
        ),
        (folders("${folder}", "${2}"), "no variable is called `2`", &[]),
        (folders("name: ${name}\n", "name: ${name\n"), "`${` is not closed", &[]),
        (folders("name: ${name}\n", "name: all\n"), "Application `all` is also declared at set.yaml:10:13", &["all!"]),
        (folders("name: ${name}\n", "name: X-${name}\n"), "`X-api` is no valid name (for the folder `apps/api`)", &[]),
        (
            folders("apps/*,", "aps/*,"),
            "set.yaml:7:26: document 1: field `spec.generators[0].folders.pattern`: matches no folder: there is none like `aps/*`",
            &[],
        ),
        (folders("apps/*,", "apps/**,"), "`**` is not read", &[]),
        (
            folders("folders: {pattern: apps/*, exclude: [apps/old-*]}", "folder: apps/*"),
            "unknown field `folder` (did you mean `folders`?)",
            &[],
        ),
        (folders("    - folders:", "    - list: [{name: a}]\n      folders:"), "stands beside `folders`", &[]),
        (folders("destination:", "destinaton:"), "field `spec.template.spec.destinaton`: unknown field", &[]),
        (
            list("team: one}", "tem: one}"),
            "field `spec.generators[0].list[0]`: has no `team`, which the template uses in line 17",
            &[],
        ),
        (
            list("\"1.10\"", "1.10"),
            "set.yaml:9:20: document 1: field `spec.generators[0].list[1].version`: is a number, text is needed",
            &[],
        ),
        (
            list("2.0.0", "2.0 0"),
            "set.yaml:7:32: document 1: field `spec.template.spec.version`: `2.0 0` is not one word of 1 to 128 characters",
            &["api!", "db"],
        ),
        (
            list("2.0.0", "\"2.0 0\""),
            "`2.0 0` is not one word of 1 to 128 characters (for the entry in line 7)",
            &["api!", "db"],
        ),
        (list("name: api", "name: db"), "Application `db` is also declared at set.yaml:8:17", &["db!"]),
        (format!("{LIST}---\n{}", app("db", "")), "Application `db` is also declared at set.yaml", &["api", "db!"]),
        (format!("{LIST}---\n{}", version("db", "3")), "is a number in YAML", &["api", "db!"]),
        (
            format!("{LIST}---\n{}", version("db", "'3'")),
            "the version stands here, and in set.yaml:21 too (for the entry in line 8)",
            &["api", "db!"],
        ),
        (
            format!("{LIST}---\n{}", version("dbb", "'3'")),
            "no ApplicationSet makes an Application called `dbb`",
            &["api", "db"],
        ),
        (format!("{LIST}---\n{LIST}"), "ApplicationSet `tools` is also declared at set.yaml", &[]),
    ];
    for (set, wanted, expected) in cases {
        let files = [("set.yaml", set.as_str()), ("apps/web/version.yaml", &web)];
        let files = if set.contains("folder") { &files[..] } else { &files[..1] };
        let declarations = made(files, &[], &["apps/api/d.yaml", "apps/web/d.yaml"]);
        assert!(told(&declarations).iter().any(|told| told.contains(wanted)), "{wanted}: {:#?}", told(&declarations));
        assert_eq!(names(&declarations), expected, "{wanted}");
    }
}

#[test]
fn one_mistake_in_a_template_is_told_once_with_a_count() {
    let set = FOLDERS.replace("namespace: shop", "namespace: \"${name}_\"");
    let versions: Vec<String> = (0..50).map(|index| version(&format!("a{index}"), "1.0.0")).collect();
    let paths: Vec<String> = (0..50).map(|index| format!("apps/a{index}/d.yaml")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let declarations = made(&[("set.yaml", &set), ("versions.yaml", &versions.join("---\n"))], &[], &paths);
    assert_eq!(told(&declarations).len(), 1, "{:#?}", told(&declarations));
    assert!(told(&declarations)[0].contains("(for the folder `apps/a0`), and 49 more"), "{:?}", told(&declarations));
    assert_eq!(declarations.apps.len(), 50);
}

#[test]
fn a_set_that_cannot_be_told_to_the_last_name_removes_nothing() {
    let (web, other) = (version("web", "1.4.0"), app("other", ""));
    let known = [("web", "set.yaml"), ("gone", "old.yaml"), ("other", "other.yaml")];
    let broken = [
        FOLDERS.replace("apps/*,", "services/*,"),
        FOLDERS.replace("destination", "destinaton"),
        FOLDERS.replace("name: ${name}\n", "name: X-${name}\n"),
        FOLDERS.replace("name: shop\n", "name: Shop!\n"),
        FOLDERS.replace("  template:", "  template: ["),
        format!("{FOLDERS}---\n{FOLDERS}"),
    ];
    for set in &broken {
        let files = [("set.yaml", set.as_str()), ("other.yaml", &other), ("apps/web/version.yaml", &web)];
        assert_eq!(names(&made(&files, &known, &["apps/web/d.yaml"])), ["gone!", "other", "web!"], "{set}");
    }
    // A version file that cannot be read holds its Application, and no template stands in for it.
    let bad = web.replace("1.4.0", "1.4");
    let files = [("set.yaml", FOLDERS), ("other.yaml", &other), ("apps/web/version.yaml", &bad)];
    assert_eq!(names(&made(&files, &known, &["apps/web/d.yaml"])), ["other", "web!"]);
    // A folder that left is certain, while another one is there.
    let api = version("api", "1.0.0");
    let files = [("set.yaml", FOLDERS), ("other.yaml", &other), ("apps/api/version.yaml", &api)];
    assert_eq!(names(&made(&files, &known, &["apps/api/d.yaml"])), ["api", "other"]);
}

#[test]
fn sets_make_at_most_five_thousand_applications() {
    let paths = |count: usize| (0..count).map(|index| format!("apps/a{index}/d.yaml")).collect::<Vec<_>>();
    let set = FOLDERS.replace("      source:", "      version: 1.0.0\n      source:");
    for (count, apps) in [(5000, 5000), (5001, 1)] {
        let paths = paths(count);
        let declarations =
            made(&[("set.yaml", &set)], &[("a1", "set.yaml")], &paths.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(declarations.apps.len(), apps);
        assert_eq!(declarations.apps[&AppName::from("a1")].is_ok(), count == 5000);
    }
}

#[test]
fn a_template_may_have_a_base_and_what_a_variable_holds_is_text() {
    let base =
        BASE.replace("  plan:\n    waves:\n      - {replicas: 1, analysis: [errors]}\n      - replicas: all\n", "");
    let set = LIST.replace("      source: {path: tools/shared}\n", "      base: ${base}\n").replace(
        "team: one}",
        "team: one, base: web-base}\n        - {name: evil, version: '1, deletion: cascade', team: x, base: web-base}",
    );
    let set = set.replace("team: two\n", "team: two\n          base: web-base\n");
    let declarations = made(&[("base.yaml", &base), ("set.yaml", &set)], &[], &[]);
    assert_eq!(names(&declarations), ["api", "db", "evil!"]);
    let api = good(&declarations, "api");
    assert_eq!(
        (api.sources[0].path.as_str(), api.sync.prunes, api.namespace.as_str()),
        ("manifests", true, "team-one")
    );
}

#[test]
fn policies_are_strict_and_their_names_differ() {
    let policy = |rest: &str| {
        format!(
            "apiVersion: tidegate.dev/v1alpha1\nkind: Policy\nmetadata: {{name: limits}}\nspec:\n  rules:\n    - name: probes\n      \
             match: {{group: apps, kind: Deployment}}\n      expression: has(object.spec.replicas)\n      message: say how many\n{rest}"
        )
    };
    let good = made(&[("p.yaml", &policy("      when: warn\n"))], &[], &[]);
    assert_eq!(told(&good), [""; 0]);
    let rule = &good.policies["limits"].rules[0];
    assert_eq!((rule.name.as_str(), rule.kind.to_string().as_str()), ("probes", "Deployment.apps"));
    assert_eq!((rule.effect, rule.message.as_str()), (crate::model::PolicyEffect::Warn, "say how many"));
    let again = "    - {name: probes, match: {kind: Pod}, expression: 'true', message: m}\n";
    for (text, wanted) in [
        (policy("      when: never\n"), "`never` is not deny or warn"),
        (policy("      action: deny\n"), "unknown field `action` (here it is `when`)"),
        (policy(again), "two rules are called `probes`"),
        (policy("").replace("has(object.spec.replicas)", "objct.a == 1"), "unknown name `objct`"),
        (policy("").replace("      message: say how many\n", ""), "`message` is missing"),
        (policy("").replace("kind: Deployment}", "kind: deployment}"), "`deployment` is no kind"),
        (format!("{}---\n{}", policy(""), policy("")), "Policy `limits` is also declared at p.yaml:13"),
    ] {
        let declarations = made(&[("p.yaml", &text)], &[], &[]);
        assert!(told(&declarations).iter().any(|told| told.contains(wanted)), "{wanted}: {:#?}", told(&declarations));
        assert!(declarations.policies.is_empty(), "{wanted}");
    }
}

#[test]
fn variables_of_manifests_are_declared() {
    let rest = "  substitute: {REGION: eu, _a1: ''}\n  substituteFrom:\n    - {kind: ConfigMap, name: settings}\n    - {kind: Secret, \
                name: keys.shop, optional: true}\n";
    let web = only_app(&app("web", rest));
    assert_eq!((web.substitute.values["REGION"].as_str(), web.substitute.from.len()), ("eu", 2));
    let from: Vec<_> =
        web.substitute.from.iter().map(|from| (from.kind.as_str(), from.name.as_str(), from.is_optional)).collect();
    assert_eq!(from, [("ConfigMap", "settings", false), ("Secret", "keys.shop", true)]);
    assert!(web.substitute.is_on() && !only_app(MINIMAL).substitute.is_on());
    for (rest, wanted) in [
        ("  substitute: {1A: x}\n", "`1A` is no name of a variable"),
        ("  substitute: {A: 1}\n", "is a number, text is needed"),
        ("  substitute: {A: x, A: y}\n", "stands twice"),
        ("  substituteFrom: [{kind: Pod, name: a}]\n", "`Pod` is not ConfigMap or Secret"),
        ("  substituteFrom: [{kind: Secret, name: a}, {kind: Secret, name: a}]\n", "Secret `a` stands twice"),
        ("  substituteFrom: [{kind: Secret, name: A}]\n", "is no name of an object"),
        ("  substituteFrom: [{kind: Secret, name: a, namespace: b}]\n", "unknown field `namespace`"),
    ] {
        let declarations = assembled(&[("a.yaml", &app("web", rest))], &[]);
        assert!(told(&declarations).iter().any(|told| told.contains(wanted)), "{wanted}: {:#?}", told(&declarations));
    }
}

/// The Applications that are the very same as last time.
fn kept(before: &Declarations, after: &Declarations) -> Vec<String> {
    let read = |app: &ParsedApp| app.read.as_ref().ok().cloned();
    let same = after.made.apps().filter(|app| {
        let earlier = before.made.apps().find(|earlier| earlier.name == app.name).and_then(read);
        earlier.zip(read(app)).is_some_and(|(earlier, now)| Arc::ptr_eq(&earlier, &now))
    });
    same.map(|app| app.name.to_string()).collect()
}

#[test]
fn only_what_changed_is_put_together_again() {
    let base = BASE.replace("[errors]", "[]");
    let other = OVERLAY.replace("name: web\n", "name: other\n").replace("base: web-base", "base: second");
    let second = base.replace("name: web-base", "name: second");
    let (a, b) = (version("a", "1.0.0"), version("b", "1.0.0"));
    let texts = [
        ("base.yaml", base.as_str()),
        ("second.yaml", &second),
        ("web.yaml", OVERLAY),
        ("other.yaml", &other),
        ("set.yaml", FOLDERS),
        ("list.yaml", LIST),
        ("apps/a/version.yaml", &a),
        ("apps/b/version.yaml", &b),
    ];
    let paths = ["apps/a/version.yaml", "apps/b/version.yaml"];
    let files = parsed(&texts);
    let again = |files: &BTreeMap<String, Arc<ParsedFile>>, paths: &[&'static str], before: &Declarations| {
        assemble(files, &BTreeMap::new(), paths.iter().copied(), &before.made)
    };
    let first = again(&files, &paths, &Declarations::default());
    assert_eq!((told(&first), first.apps.len()), (vec![], 6));
    assert_eq!(kept(&first, &again(&files, &paths, &first)).len(), 6);
    let changed = |path: &str, from: &str, to: &str| {
        let text = texts.iter().find(|(known, _)| *known == path).expect("it is one of them").1;
        assert!(text.contains(from), "{path}: {from}");
        let mut files = files.clone();
        files.insert(path.to_owned(), Arc::new(parse_file(path, text.replacen(from, to, 1).as_bytes())));
        let after = again(&files, &paths, &first);
        // It comes out as if nothing had been known.
        assert_eq!(after, again(&files, &paths, &Declarations::default()), "{path}: {from}");
        let all = after.apps.keys().map(ToString::to_string);
        let kept = kept(&first, &after);
        all.filter(|name| !kept.contains(name)).collect::<Vec<_>>()
    };
    assert_eq!(changed("apps/a/version.yaml", "1.0.0", "1.1.0"), ["a"]);
    assert_eq!(changed("base.yaml", "prune: true", "prune: false"), ["web"]);
    assert_eq!(changed("web.yaml", "1.4.0", "1.5.0"), ["web"]);
    assert_eq!(changed("web.yaml", "base: web-base", "base: second"), ["web"]);
    assert_eq!(changed("base.yaml", "name: web-base", "name: gone"), ["web"]);
    assert_eq!(changed("list.yaml", "2.0.0", "2.1.0"), ["api", "db"]);
    assert_eq!(changed("set.yaml", "namespace: shop", "namespace: other"), ["a", "b"]);
    assert_eq!(changed("apps/a/version.yaml", "name: a", "name: x"), ["a"]);
    // Another folder leaves the others alone.
    let more = ["apps/a/version.yaml", "apps/b/version.yaml", "apps/c/d.yaml"];
    assert_eq!(kept(&first, &again(&files, &more, &first)).len(), 6);
}

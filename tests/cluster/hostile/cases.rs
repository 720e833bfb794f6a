//! Files that hit one app: what is done to its folder or its declaration, and what it says then.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::support::fixture::config_map;
use crate::support::repo::Repo;

/// What renders the app.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Plain,
    Kustomize,
    Helm,
}

use Shape::{Helm, Kustomize, Plain};

/// One way to hit an app.
pub(super) struct Case {
    /// What is hostile.
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    /// Hits the app of this name.
    pub(super) hit: fn(&Repo, &str),
    /// What its `why` says; nothing when it goes on as if nothing were.
    pub(super) said: &'static [&'static str],
}

const fn case(name: &'static str, shape: Shape, hit: fn(&Repo, &str), said: &'static [&'static str]) -> Case {
    Case { name, shape, hit, said }
}

const LINKS: &str = "symbolic links and submodules are not followed";
const YAML: &str = "/more.yaml:";
const GOES_ON: &[&str] = &[];

/// All of them.
pub(super) const CASES: &[Case] = &[
    case(
        "a symbolic link among the manifests",
        Plain,
        |repo, app| link(repo, "config.yaml", app, "link.yaml"),
        &["/link.yaml", LINKS],
    ),
    case("an absolute link", Plain, |repo, app| link(repo, "/etc/passwd", app, "link.yaml"), &["/link.yaml", LINKS]),
    case(
        "a link out of the repository",
        Plain,
        |repo, app| link(repo, "../../../../etc", app, "link"),
        &["/link", LINKS],
    ),
    case("a link to nowhere", Plain, |repo, app| link(repo, "nowhere.yaml", app, "link.yaml"), &["/link.yaml", LINKS]),
    case("a link to itself", Plain, |repo, app| link(repo, "link.yaml", app, "link.yaml"), &["/link.yaml", LINKS]),
    case("a link to the folder that it lies in", Plain, |repo, app| link(repo, ".", app, "loop"), &["/loop", LINKS]),
    case("a source path that is a link", Plain, path_becomes_link, &["manifests/", LINKS]),
    case(
        "a submodule among the manifests",
        Plain,
        |repo, app| submodule(repo, &format!("manifests/{app}/sub")),
        &["/sub", LINKS],
    ),
    case("a source path that is a submodule", Plain, path_becomes_submodule, &["manifests/", LINKS]),
    case("a file with values that is a link", Helm, values_become_link, &["env/", LINKS]),
    case(
        "a template that is a link",
        Helm,
        |repo, app| link(repo, "/etc/passwd", &format!("{app}/templates"), "a.yaml"),
        &["/templates/a.yaml", LINKS],
    ),
    case("a kustomization that names a link", Kustomize, kustomization_names_link, &["/link.yaml", LINKS]),
    case(
        "a base outside the repository",
        Kustomize,
        |repo, app| kustomize(repo, app, "resources: [../../../base]"),
        &["`../../../base` leaves the repository"],
    ),
    case(
        "an absolute base",
        Kustomize,
        |repo, app| kustomize(repo, app, "resources: [/etc]"),
        &["`/etc` leaves the repository"],
    ),
    case(
        "a remote base",
        Kustomize,
        |repo, app| kustomize(repo, app, "resources: ['https://github.example/a/b//base?ref=v1']"),
        &["lies outside the repository"],
    ),
    case(
        "a remote base without a scheme",
        Kustomize,
        |repo, app| kustomize(repo, app, "components: [github.com/team/repository//base]"),
        &["lies outside the repository"],
    ),
    case(
        "a generator that reads outside of the repository",
        Kustomize,
        |repo, app| kustomize(repo, app, "configMapGenerator: [{name: a, files: [../../../../etc/passwd]}]"),
        &["`../../../../etc/passwd` leaves the repository"],
    ),
    case(
        "a transformer that reads outside of the repository",
        Kustomize,
        transformer_reads_outside,
        &["kustomize build manifests/", "passwd"],
    ),
    case("a generator that runs a program", Kustomize, generator_runs_program, &["kustomize build manifests/"]),
    case(
        "a chart within a kustomization",
        Kustomize,
        |repo, app| kustomize(repo, app, "helmCharts: [{name: a, repo: 'https://charts.example'}]"),
        &["`helmCharts` is not rendered"],
    ),
    case("bases that name each other", Kustomize, bases_name_each_other, &["kustomize build manifests/", "cycle"]),
    case(
        "two kustomizations in one folder",
        Kustomize,
        |repo, app| repo.write(&format!("manifests/{app}/Kustomization"), "resources: [config.yaml]\n"),
        &["stands beside it"],
    ),
    case(
        "a packed subchart that leaves its folder",
        Helm,
        |repo, app| pack(repo, app, "../../../../evil.yaml", b'0'),
        &["helm template manifests/"],
    ),
    // To Helm it is an empty file.
    case("a packed subchart with a link", Helm, |repo, app| pack(repo, app, "sub/templates/link.yaml", b'2'), GOES_ON),
    case(
        "a chart with a dependency that lies elsewhere",
        Helm,
        |repo, app| {
            repo.write(&format!("manifests/{app}/Chart.yaml"), "apiVersion: v2\nname: a\nversion: 0.1.0\ndependencies: [{name: db, version: 1.0.0, repository: 'https://charts.example'}]\n");
        },
        &["helm template manifests/", "db"],
    ),
    case(
        "a template without end",
        Helm,
        |repo, app| {
            repo.write(
                &format!("manifests/{app}/templates/loop.yaml"),
                "{{ define \"a\" }}{{ include \"a\" . }}{{ end }}{{ include \"a\" . }}\n",
            );
        },
        &["helm template manifests/"],
    ),
    case(
        "a file of more than 1 MiB",
        Plain,
        |repo, app| more(repo, app, &format!("# {}\n", "x".repeat(1 << 20))),
        &["/more.yaml has 1048579 bytes; at most 1048576"],
    ),
    case("more than 16 MiB of manifests", Plain, much, &["bytes of manifests; at most 16777216 are read"]),
    case(
        "more than 2,000 objects",
        Plain,
        |repo, app| {
            more(
                repo,
                app,
                &(0..2001).map(|number| config_map(&format!("{app}-{number}"), "x") + "---\n").collect::<String>(),
            );
        },
        &["objects in one Application"],
    ),
    case("an alias bomb", Plain, |repo, app| more(repo, app, &bomb()), &[YAML]),
    case("100,000 documents", Plain, |repo, app| more(repo, app, &"--- {}\n".repeat(100_000)), &[YAML]),
    case(
        "YAML nested 5,000 deep",
        Plain,
        |repo, app| more(repo, app, &format!("a: {}{}\n", "[".repeat(5000), "]".repeat(5000))),
        &[YAML],
    ),
    case("a file that is not UTF-8", Plain, not_text, &[YAML, "not UTF-8"]),
    case("a tab for indentation", Plain, |repo, app| more(repo, app, "a:\n\tb: 1\n"), &[YAML]),
    case("a key that stands twice", Plain, |repo, app| more(repo, app, "kind: A\nkind: B\n"), &[YAML, "duplicate"]),
    case("an alias to nowhere", Plain, |repo, app| more(repo, app, "kind: *nowhere\n"), &[YAML]),
    case("a merge key that contains itself", Plain, |repo, app| more(repo, app, "a: &a\n  <<: *a\n"), &[YAML]),
    case(
        "a pointer of Git LFS",
        Plain,
        |repo, app| more(repo, app, "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"),
        &["/more.yaml", "pointer of Git LFS"],
    ),
    case(
        "a document that is no object",
        Plain,
        |repo, app| more(repo, app, "- 1\n- 2\n"),
        &["/more.yaml", "document 1"],
    ),
    case(
        "an object that is declared twice",
        Plain,
        |repo, app| more(repo, app, &config_map(app, "other")),
        &["is declared twice", "/more.yaml"],
    ),
    case(
        "a kind that nobody knows",
        Plain,
        |repo, app| more(repo, app, "apiVersion: evil.example/v1\nkind: Widget\nmetadata: {name: a}\n"),
        &["/more.yaml", "does not know Widget.evil.example"],
    ),
    case(
        "a source path that leaves the repository",
        Plain,
        |repo, app| repo.edit(&format!("apps/{app}.yaml"), "path: manifests/", "path: ../../manifests/"),
        &["apps/", "spec.source.path", "leaves its folder"],
    ),
    case(
        "values from outside of the repository",
        Helm,
        |repo, app| repo.edit(&format!("apps/{app}.yaml"), "[env/", "[../../env/"),
        &["apps/", "valuesFiles", "leaves its folder"],
    ),
    case(
        "a source path in `.git`",
        Plain,
        |repo, app| repo.edit(&format!("apps/{app}.yaml"), "path: manifests/", "path: .git/"),
        &["apps/", "spec.source.path", "is no path"],
    ),
    case(
        "two apps of one name",
        Plain,
        |repo, app| repo.write(&format!("apps/{app}-again.yaml"), &repo.read(&format!("apps/{app}.yaml"))),
        &["is also declared at apps/"],
    ),
    case(
        "a field that nobody knows",
        Plain,
        |repo, app| repo.edit(&format!("apps/{app}.yaml"), "version:", "vresion:"),
        &["apps/", "unknown field `vresion`"],
    ),
    case(
        "a value of the wrong type",
        Plain,
        |repo, app| repo.edit(&format!("apps/{app}.yaml"), "version: 1.0.0", "version: [1.0.0]"),
        &["apps/", "spec.version", "is a list, text is needed"],
    ),
];

/// Those that hide which apps a file declares, and would hold back the removal of any: one by one.
pub(super) const ALONE: &[Case] = &[
    case(
        "a declaration of more than 1 MiB",
        Plain,
        |repo, app| {
            repo.write(
                &format!("apps/{app}.yaml"),
                &format!("# {}\n{}", "x".repeat(1 << 20), repo.read(&format!("apps/{app}.yaml"))),
            );
        },
        &["apps/", "1048576"],
    ),
    case(
        "a declaration with an alias bomb",
        Plain,
        |repo, app| repo.write(&format!("apps/{app}.yaml"), &(bomb() + &repo.read(&format!("apps/{app}.yaml")))),
        &["apps/", "more than 50000 values"],
    ),
    case(
        "a declaration that becomes a link",
        Plain,
        declaration_becomes_link,
        &["apps/", "is a symbolic link or a submodule now"],
    ),
];

fn more(repo: &Repo, app: &str, text: &str) {
    repo.write(&format!("manifests/{app}/more.yaml"), text);
}

fn not_text(repo: &Repo, app: &str) {
    std::fs::write(repo.folder().join(format!("manifests/{app}/more.yaml")), b"a: caf\xe9\n")
        .expect("a file is written");
}

fn link(repo: &Repo, target: &str, app: &str, name: &str) {
    symlink(target, repo.folder().join(format!("manifests/{app}")).join(name)).expect("a link can be made");
}

fn replace_by_link(repo: &Repo, path: &str, target: &str) {
    repo.remove(path);
    symlink(target, repo.folder().join(path)).expect("a link can be made");
}

fn path_becomes_link(repo: &Repo, app: &str) {
    replace_by_link(repo, &format!("manifests/{app}"), "elsewhere");
}

fn values_become_link(repo: &Repo, app: &str) {
    replace_by_link(repo, &format!("env/{app}.yaml"), "../plans/three.yaml");
}

fn declaration_becomes_link(repo: &Repo, app: &str) {
    replace_by_link(repo, &format!("apps/{app}.yaml"), "/etc/passwd");
}

/// Its folder stays empty, as in a clone that did not ask for submodules.
fn submodule(repo: &Repo, path: &str) {
    std::fs::create_dir_all(repo.folder().join(path)).expect("a folder can be made");
    repo.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{},{path}", repo.head())]);
}

fn path_becomes_submodule(repo: &Repo, app: &str) {
    repo.remove(&format!("manifests/{app}"));
    submodule(repo, &format!("manifests/{app}"));
}

fn kustomize(repo: &Repo, app: &str, line: &str) {
    let file = format!("manifests/{app}/kustomization.yaml");
    let text = if line.starts_with("resources:") { String::new() } else { repo.read(&file) };
    repo.write(&file, &format!("{text}{line}\n"));
}

fn kustomization_names_link(repo: &Repo, app: &str) {
    link(repo, "/etc/passwd", app, "link.yaml");
    kustomize(repo, app, "resources: [deployment.yaml, link.yaml]");
}

fn transformer_reads_outside(repo: &Repo, app: &str) {
    let transformer = "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: a}\npath: /etc/passwd\n";
    repo.write(&format!("manifests/{app}/transformer.yaml"), transformer);
    kustomize(repo, app, "transformers: [transformer.yaml]");
}

fn generator_runs_program(repo: &Repo, app: &str) {
    let program = "apiVersion: evil.example/v1\nkind: Program\nmetadata:\n  name: a\n  annotations:\n    \
                   config.kubernetes.io/function: |\n      exec: {path: ./evil.sh}\n";
    repo.write(&format!("manifests/{app}/program.yaml"), program);
    repo.write(&format!("manifests/{app}/evil.sh"), "#!/bin/sh\ntouch /tmp/evil\n");
    kustomize(repo, app, "generators: [program.yaml]");
}

fn bases_name_each_other(repo: &Repo, app: &str) {
    repo.write(&format!("manifests/{app}/base/kustomization.yaml"), "resources: [..]\n");
    kustomize(repo, app, "resources: [deployment.yaml, config.yaml, base]");
}

/// Sixteen files of a megabyte and a little.
fn much(repo: &Repo, app: &str) {
    for number in 0..17 {
        repo.write(&format!("manifests/{app}/{number}.yaml"), &format!("# {}\n", "x".repeat(1_040_000)));
    }
}

/// Nine lists of nine lists of …: a billion words.
fn bomb() -> String {
    let mut text = "x: {l0: &l0 word".to_owned();
    for level in 1..10 {
        let items = vec![format!("*l{}", level - 1); 9].join(", ");
        text += &format!(", l{level}: &l{level} [{items}]");
    }
    text + "}\n"
}

/// A package of a chart with one entry of this name and kind (`0` a file, `2` a symbolic link to /etc/passwd).
fn pack(repo: &Repo, app: &str, entry: &str, kind: u8) {
    let mut archive = Vec::new();
    let mut add = |name: &str, kind: u8, target: &str, content: &[u8]| {
        let mut header = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, name.as_bytes());
        put(100, b"0000644\0");
        put(124, format!("{:011o}\0", content.len()).as_bytes());
        put(136, b"00000000000\0");
        put(148, b"        ");
        put(156, &[kind]);
        put(157, target.as_bytes());
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend_from_slice(&header);
        archive.extend_from_slice(content);
        archive.resize(archive.len().next_multiple_of(512), 0);
    };
    add("sub/Chart.yaml", b'0', "", b"apiVersion: v2\nname: sub\nversion: 1.0.0\n");
    match kind {
        b'2' => add(entry, kind, "/etc/passwd", b""),
        _ => add(entry, kind, "", b"a: 1\n"),
    }
    archive.resize(archive.len() + 1024, 0);
    let folder = repo.folder().join(format!("manifests/{app}/charts"));
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    let file = std::fs::File::create(folder.join(Path::new("sub-1.0.0.tgz"))).expect("a file can be made");
    let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::default());
    encoder.write_all(&archive).and_then(|()| encoder.finish().map(drop)).expect("a file can be written");
}

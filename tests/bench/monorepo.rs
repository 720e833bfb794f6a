//! A repository of thousands of apps, read as the agent reads it: through the real Git edge, from a real server. No cluster.
//!
//! Times are medians of the rounds with the least and the most; memory is what this process has resident, which does nothing
//! else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate::config::GitAccess;
use tidegate::declare::{Declarations, Made, ParsedFile, assemble, is_candidate, parse_file};
use tidegate::edge::git::{GitSettings, GitSource};
use tidegate::model::{AppName, GroupKind, Reference};
use tidegate::render::{inputs, render_with_files};
use tidegate::world::{BlobId, Entry, Files, Kinds, Polled, Snapshot};

use super::process::Process;
use super::support::fixture::AppFixture;
use super::support::plane::GitServer;
use super::support::repo::Repo;

/// What is known of the commit before.
struct Known {
    snapshot: Snapshot,
    texts: BTreeMap<String, (BlobId, Vec<u8>)>,
    parsed: BTreeMap<String, Arc<ParsedFile>>,
    declared: Declarations,
}

/// Measures, and prints one line for each figure.
pub(crate) fn run(apps: usize, rounds: usize) {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let root = folder.path().join("served");
    std::fs::create_dir_all(&root).expect("there is room for a folder");
    let repo = Repo::create(&folder.path().join("copy"), &root.join("it.git"));
    for number in 0..apps {
        AppFixture::new(&app(number)).replicas(0).write(&repo, "bench");
    }
    repo.commit_and_push("all of them");
    let server = GitServer::start(&root);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let open = |repository: String, store: &str| {
        let reference = Reference::Branch("main".to_owned());
        let store = folder.path().join(store);
        let access = GitAccess::default();
        GitSource::open(GitSettings { repository, reference, access, store }).expect("it is a place")
    };
    let own = Process(std::process::id());
    let at_start = own.memory();
    let source = open(server.url("it.git"), "store");
    let (first, cloned) = timed(|| moved(runtime.block_on(source.poll(None, None))));
    let files = first.files.len();
    println!("bench monorepo-first-poll N={apps} files={files} ms={} MiB={:.1}", ms(cloned), own.memory() - at_start);
    let (mut known, read) = timed(|| look(&runtime, &source, first, None));
    let peak = own.memory_peak() - at_start;
    println!(
        "bench monorepo-first-read N={apps} ms={} MiB={:.1} peak_MiB={peak:.1}",
        ms(read),
        own.memory() - at_start
    );
    let (_, rendered) = timed(|| render_all(&known));
    println!("bench monorepo-render-all N={apps} ms={} (plain YAML, without the cluster)", ms(rendered));

    let mut unchanged = Vec::new();
    for _ in 0..rounds * 10 {
        let commit = known.snapshot.revision.commit.clone();
        let before = source.requests();
        let (polled, time) = timed(|| runtime.block_on(source.poll(Some(&commit), Some(&commit))));
        assert!(matches!(polled, Ok(Polled::Unchanged)), "{polled:?}");
        assert_eq!(source.requests() - before, 1, "one request per poll");
        unchanged.push(time);
    }
    say("monorepo-poll-unchanged", apps, &mut unchanged);

    let (mut fetched, mut differed, mut taken) = (Vec::new(), Vec::new(), Vec::new());
    let local = open(root.join("it.git").display().to_string(), "none");
    let mut seen = moved(runtime.block_on(local.poll(None, None)));
    for round in 0..rounds {
        repo.bump(&app(apps / 2 + round), &format!("1.1.{round}"));
        let commit = known.snapshot.revision.commit.clone();
        let (next, time) = timed(|| moved(runtime.block_on(source.poll(Some(&commit), Some(&commit)))));
        fetched.push(time);
        assert_eq!(next.changed.as_ref().map(Vec::len), Some(1), "one file changed");
        // In a folder nothing is fetched: what is left is to walk the trees.
        let commit = seen.revision.commit.clone();
        let (next_seen, time) = timed(|| moved(runtime.block_on(local.poll(Some(&commit), Some(&commit)))));
        differed.push(time);
        seen = next_seen;
        let (next, time) = timed(|| look(&runtime, &source, next, Some(&known)));
        taken.push(time);
        known = next;
    }
    say("monorepo-fetch-bump", apps, &mut fetched);
    say("monorepo-diff-trees", apps, &mut differed);
    say("monorepo-read-bump", apps, &mut taken);
    println!("bench monorepo-memory N={apps} MiB={:.1} peak_MiB={:.1}", own.memory(), own.memory_peak());
}

fn app(number: usize) -> String {
    format!("app-{number:04}")
}

/// Reads what changed and puts the declarations together, as the agent does.
fn look(runtime: &tokio::runtime::Runtime, source: &GitSource, snapshot: Snapshot, before: Option<&Known>) -> Known {
    let (mut texts, mut parsed, mut missing) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for (path, entry) in snapshot.files.iter() {
        let Entry::File { blob, .. } = entry else { continue };
        match before.and_then(|before| before.texts.get(path)).filter(|(known, _)| known == blob) {
            Some(text) => drop(texts.insert(path.clone(), text.clone())),
            None => missing.push((path.clone(), blob.clone())),
        }
        if let (Some(before), true) = (before, texts.contains_key(path))
            && let Some(file) = before.parsed.get(path)
        {
            parsed.insert(path.clone(), Arc::clone(file));
        }
    }
    for batch in missing.chunks(500) {
        let blobs: Vec<BlobId> = batch.iter().map(|(_, blob)| blob.clone()).collect();
        let read = runtime.block_on(source.read(&blobs)).expect("what is listed can be read");
        for ((path, blob), text) in batch.iter().zip(read) {
            if is_candidate(&text) {
                parsed.insert(path.clone(), Arc::new(parse_file(path, &text)));
            }
            texts.insert(path.clone(), (blob.clone(), text));
        }
    }
    let names: BTreeMap<AppName, &str> = BTreeMap::new();
    let made = before.map_or_else(Made::default, |before| before.declared.made.clone());
    let declared = assemble(&parsed, &names, snapshot.files.keys().map(String::as_str), &made);
    assert!(declared.problems.is_empty(), "{:?}", declared.problems.first());
    Known { snapshot, texts, parsed, declared }
}

fn render_all(known: &Known) {
    let kinds = [("", "ConfigMap"), ("", "Service"), ("apps", "Deployment")];
    let kinds: Kinds =
        kinds.into_iter().map(|(group, kind)| ((GroupKind::new(group, kind), "v1".to_owned()), true)).collect();
    let files: &Files = &known.snapshot.files;
    for application in known.declared.apps.values().flatten() {
        let found = inputs(&application.sources[0], files, &BTreeMap::new()).expect("its folder is there");
        let contents = found.files.keys().map(|path| ((*path).to_owned(), known.texts[*path].1.clone())).collect();
        let (objects, _) = render_with_files(application, &contents, &kinds).expect("it renders");
        assert_eq!(objects.len(), 3);
    }
}

fn moved(polled: Result<Polled, impl std::fmt::Debug>) -> Snapshot {
    match polled {
        Ok(Polled::Moved(snapshot)) => snapshot,
        other => panic!("{other:?} instead of a snapshot"),
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begin = Instant::now();
    (work(), begin.elapsed())
}

fn ms(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}

fn say(what: &str, apps: usize, times: &mut [Duration]) {
    times.sort();
    let (least, median, most) = (times[0], times[times.len() / 2], times[times.len() - 1]);
    println!("bench {what} N={apps} ms={}({}..{})", ms(median), ms(least), ms(most));
}

//! The soak: rollouts on a real control plane whose parts are killed all the time, and a judge who reads every stored write.
//!
//! `MINUTES=30 ROLLOUTS=50 SEED=1 cargo run --example soak`, or `make soak-real`. [`driver`] commits, [`wrecker`] breaks
//! things, [`proxy`] lets watches go silent, [`etcd`] sees what is stored, [`judge`] holds it to S1-S8. It ends with a
//! summary, and with 1 when a rule was broken or when things do not settle once nothing is broken any more.
#![allow(clippy::print_stdout, reason = "its output is its result")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

mod dice;
mod driver;
mod etcd;
mod judge;
mod proxy;
#[path = "../support/mod.rs"]
mod support;
mod wrecker;

use dice::Dice;
use driver::{Driver, SHAKY};
use etcd::{Eyes, Seen};
use judge::{Commits, Judge, Kind, Violation};
use proxy::Proxy;
use support::agent::{Agent, Settings};
use support::child::{at_exit, lock, session_folder};
use support::patience::until;
use support::plane::{Plane, runtime};
use support::repo::Repo;
use wrecker::{RARE, Wreck, Wrecker};

/// Where the apps' objects are.
const NAMESPACE: &str = "soak";
/// Where the Application resources are.
const AGENT_NAMESPACE: &str = "tidegate";
/// Seconds between two commits.
const PAUSE_SECONDS: (u64, u64) = (3, 15);
/// How long things may take to settle once nothing is broken any more.
const SETTLE_MAX: Duration = Duration::from_secs(300);
/// A run that is short of rollouts or wrecks ends after this many times its minutes.
const OVERTIME: u32 = 2;

/// Everything that the threads share.
struct Court {
    judge: Mutex<Judge>,
    commits: Arc<Mutex<Commits>>,
    violations: Mutex<Vec<Violation>>,
}

/// What is asked for.
struct Wanted {
    minutes: u64,
    rollouts: u64,
    seed: u64,
}

fn main() {
    let wanted = Wanted::read();
    begun();
    // From here on, whatever ends this process stops what it started.
    runtime().spawn(exit_when_told());
    let Wanted { minutes, rollouts, seed } = wanted;
    tell(&format!("soak: MINUTES={minutes} ROLLOUTS={rollouts} SEED={seed}"));
    let plane = Plane::own_with(&["--store-json"]);
    let kept = Arc::clone(&plane);
    at_exit(move || kept.stop());
    plane.install_crds();
    for namespace in [NAMESPACE, AGENT_NAMESPACE] {
        plane.kubectl(&["create", "namespace", namespace]);
    }
    let court = Arc::new(Court { judge: Mutex::default(), commits: Arc::default(), violations: Mutex::default() });
    sit(&plane, &court);
    let proxy = Arc::new(Proxy::start(address_of(&plane.server)));
    let repo = Repo::create(&session_folder().join("repository"), &plane.git_root().join("soak.git"));
    let mut driver = Driver::start(repo, NAMESPACE, Arc::clone(&court.commits), Dice::new(seed, 1));
    let agent = Arc::new(Agent::start(settings(&plane, &proxy)));
    let kept = Arc::clone(&agent);
    at_exit(move || kept.sigkill());
    let is_first = settles(&court, "the first sync", |version, app| app.is_settled_on(version), &driver);
    place_bystander(&plane);

    let is_over = Arc::new(AtomicBool::new(false));
    let ends = Arc::new(AtomicU64::new(0));
    let keeper = keep_alive(&agent, &is_over, &ends);
    let owed = Arc::new(AtomicUsize::new(RARE.len()));
    let wrecks = {
        let (plane, agent, owed) = (Arc::clone(&plane), Arc::clone(&agent), Arc::clone(&owed));
        let wrecker = Wrecker { plane, agent, proxy, dice: Dice::new(seed, 2), owed, tell };
        let is_over = Arc::clone(&is_over);
        std::thread::spawn(move || wrecker.run(&is_over))
    };
    if is_first {
        drive(&court, &mut driver, &wanted, &owed);
    }
    is_over.store(true, Ordering::Relaxed);
    let wrecks = wrecks.join().expect("the wrecker does not panic");
    keeper.join().expect("the keeper does not panic");
    let is_settled = is_first && comes_to_rest(&court, &mut driver);
    let is_fine = report(&court, &wanted, &wrecks, ends.load(Ordering::Relaxed), is_settled, &agent);
    std::process::exit(i32::from(!is_fine));
}

impl Wanted {
    fn read() -> Self {
        let number = |name: &str| {
            std::env::var(name)
                .ok()
                .filter(|text| !text.is_empty())
                .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
        };
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| u64::from(time.subsec_nanos()));
        Self {
            minutes: number("MINUTES").unwrap_or(30),
            rollouts: number("ROLLOUTS").unwrap_or(50),
            seed: number("SEED").unwrap_or_else(clock),
        }
    }
}

/// Ctrl-C or SIGTERM: the exit hooks stop everything.
async fn exit_when_told() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).expect("signals can be handled");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    std::process::exit(130);
}

fn begun() -> Instant {
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    *BEGUN.get_or_init(Instant::now)
}

fn tell(line: &str) {
    println!("{:>8.1} {line}", begun().elapsed().as_secs_f64());
}

/// Judges every write as it comes.
fn sit(plane: &Plane, court: &Arc<Court>) {
    let (sender, seen) = std::sync::mpsc::channel();
    runtime().spawn(Eyes::new(&plane.etcd_url, NAMESPACE, AGENT_NAMESPACE).follow(sender));
    let court = Arc::clone(court);
    std::thread::spawn(move || {
        let mut is_first = true;
        for seen in seen {
            let found = match seen {
                Seen::Write(event) => lock(&court.judge).see(&event, &lock(&court.commits)),
                // The first look finds what was there before the soak: nothing of ours.
                Seen::Gap(objects) if std::mem::take(&mut is_first) => {
                    let mut judge = lock(&court.judge);
                    objects.iter().flat_map(|event| judge.see(event, &lock(&court.commits))).collect()
                }
                Seen::Gap(objects) => {
                    tell("the observer lost a part of the history to compaction, and cannot judge what happened in it");
                    lock(&court.judge).resume(&objects);
                    Vec::new()
                }
            };
            for violation in found {
                show(&violation);
                lock(&court.violations).push(violation);
            }
        }
    });
}

fn show(violation: &Violation) {
    let Violation { rule, revision, what, history } = violation;
    tell(&format!("VIOLATION of {rule} at revision {revision}: {what}"));
    history.iter().for_each(|line| println!("             {line}"));
}

fn address_of(url: &str) -> std::net::SocketAddr {
    url.trim_start_matches("https://").trim_end_matches('/').parse().expect("the API server's URL is an address")
}

fn settings(plane: &Plane, proxy: &Proxy) -> Settings {
    let folder = session_folder().join("agent");
    std::fs::create_dir_all(&folder).expect("the session folder can be written");
    let kubeconfig = folder.join("kubeconfig");
    let text = std::fs::read_to_string(plane.kubeconfig()).expect("the control plane wrote it");
    let server = format!("https://{}", proxy.address());
    std::fs::write(&kubeconfig, text.replace(&plane.server, &server)).expect("the session folder can be written");
    Settings {
        repository: plane.git_url("soak.git"),
        namespace: AGENT_NAMESPACE.to_owned(),
        owner: "soak".to_owned(),
        identity: "soak".to_owned(),
        kubeconfig,
        providers: BTreeMap::from([("prometheus".to_owned(), plane.prometheus().url())]),
        folder,
        poll_interval: "500ms",
        extra: Vec::new(),
    }
}

/// Objects of a stranger that bear the labels and annotations of ours.
fn place_bystander(plane: &Plane) {
    let get = |kind: &str| -> serde_json::Value {
        serde_json::from_str(&plane.kubectl(&["-n", NAMESPACE, "get", kind, SHAKY, "-o", "json"]))
            .expect("kubectl gives JSON")
    };
    let (deployment, config) = (get("deployment"), get("configmap"));
    let name = "bystander";
    let metadata = |like: &serde_json::Value| {
        serde_json::json!({"name": name, "namespace": NAMESPACE, "labels": like["metadata"]["labels"],
            "annotations": like["metadata"]["annotations"]})
    };
    let own = serde_json::json!({"app": SHAKY, "stranger": "yes"});
    let stranger = serde_json::json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(&deployment),
        "spec": {"replicas": 2, "selector": {"matchLabels": own}, "template": {"metadata": {"labels": own},
            "spec": {"containers": [{"name": "it", "image": "registry.example/stranger:1"}]}}}});
    let copied = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(&config),
        "data": {"greeting": "mine"}});
    plane.apply(&format!("{stranger}\n---\n{copied}\n"));
}

/// Starts the agent again when it ends by itself, as a kubelet does; it counts as an end.
fn keep_alive(agent: &Arc<Agent>, is_over: &Arc<AtomicBool>, ends: &Arc<AtomicU64>) -> std::thread::JoinHandle<()> {
    let (agent, is_over, ends) = (Arc::clone(agent), Arc::clone(is_over), Arc::clone(ends));
    std::thread::spawn(move || {
        while !until(Duration::from_secs(1), || is_over.load(Ordering::Relaxed)) {
            if agent.has_ended() {
                ends.fetch_add(1, Ordering::Relaxed);
                tell(&format!("the agent ended by itself\n{}", agent.log_tail(10)));
                agent.sigkill();
                agent.start_again();
            }
        }
    })
}

/// Commits until the time is over, enough rollouts were started, and everything was broken once.
fn drive(court: &Court, driver: &mut Driver, wanted: &Wanted, owed: &AtomicUsize) {
    let time = Duration::from_secs(wanted.minutes * 60);
    let start = Instant::now();
    let mut dice = Dice::new(wanted.seed, 3);
    let started = || started(&lock(&court.judge));
    let is_missing = || started() < wanted.rollouts || owed.load(Ordering::Relaxed) > 0;
    while start.elapsed() < time || (is_missing() && start.elapsed() < time * OVERTIME) {
        let what = driver.act();
        tell(&format!("commit: {what} (rollouts so far: {})", started()));
        let pause = dice.between(PAUSE_SECONDS.0, PAUSE_SECONDS.1);
        let _ = until(Duration::from_secs(pause), || false);
    }
}

/// Rollouts started, first syncs apart.
fn started(judge: &Judge) -> u64 {
    judge.figures.started.iter().filter(|(lane, _)| *lane != "firstSync").map(|(_, count)| count).sum()
}

/// Waits until a claim about every app is true.
fn settles(court: &Court, what: &str, claim: impl Fn(&str, &judge::Record<'_>) -> bool, driver: &Driver) -> bool {
    let is_so = || {
        let judge = lock(&court.judge);
        driver
            .declared()
            .iter()
            .all(|(name, app)| judge.cluster().record(name).is_some_and(|record| claim(&app.version, &record)))
    };
    let start = Instant::now();
    let is_settled = until(SETTLE_MAX, is_so);
    tell(&format!(
        "{what}: {} after {:.1} s",
        if is_settled { "settled" } else { "NOT settled" },
        start.elapsed().as_secs_f64()
    ));
    if !is_settled {
        let judge = lock(&court.judge);
        for (name, object) in judge.cluster().all(Kind::Application) {
            println!("             {name}: {}", judge::Record(object).line());
        }
    }
    is_settled
}

/// Nothing is broken any more: what good versions there are complete, and a bad one is held.
fn comes_to_rest(court: &Court, driver: &mut Driver) -> bool {
    let good = driver.settle();
    tell(&format!("the wrecker has ended; everything goes to {good}"));
    if !settles(court, "good versions", |version, app| app.is_settled_on(version), driver) {
        return false;
    }
    let bad = driver.spoil();
    settles(
        court,
        "a bad version",
        |version, app| if version == bad { app.holds(version, &good) } else { app.is_settled_on(version) },
        driver,
    )
}

/// The summary; gives whether everything is as it must be.
fn report(
    court: &Court,
    wanted: &Wanted,
    wrecks: &BTreeMap<Wreck, u64>,
    ends: u64,
    is_settled: bool,
    agent: &Agent,
) -> bool {
    let judge = lock(&court.judge);
    let violations = lock(&court.violations);
    let figures = &judge.figures;
    let started = started(&judge);
    let words = |counts: &BTreeMap<String, u64>| {
        counts.iter().map(|(name, count)| format!("{name}={count}")).collect::<Vec<_>>().join(" ")
    };
    let minutes = begun().elapsed().as_secs_f64() / 60.0;
    let Wanted { seed, rollouts, .. } = wanted;
    println!(
        "soak seed={seed} minutes={minutes:.1} rollouts={started} events={} gaps={}",
        figures.events, figures.gaps
    );
    println!("soak started {}", words(&figures.started));
    println!("soak ended {}", words(&figures.ended));
    println!("soak waves passed={} restarted={}", figures.waves_passed, figures.waves_restarted);
    let done = wrecks.iter().map(|(wreck, count)| (format!("{wreck:?}"), *count)).collect();
    println!("soak wrecks {} agentEndedByItself={ends}", words(&done));
    let log = agent.log();
    let count = |words: &[&str]| log.lines().filter(|line| words.iter().all(|word| line.contains(word))).count();
    let (relists, panics) = (count(&["older than what the API server remembers"]), count(&["panicked"]));
    let (warnings, errors) = (count(&["WARN", "tidegate::"]), count(&["ERROR", "tidegate::"]));
    println!("soak agent 410s={relists} warnings={warnings} errors={errors} panics={panics}");
    if let Some(file) = std::env::var_os("SOAK_LOG") {
        std::fs::write(file, &log).expect("the agent's log can be kept");
    }
    println!("soak settled={is_settled} violations={}", violations.len());
    let mut by_rule = BTreeMap::<String, u64>::new();
    violations.iter().for_each(|violation| *by_rule.entry(violation.rule.to_owned()).or_default() += 1);
    if !by_rule.is_empty() {
        println!("soak violations {}", words(&by_rule));
    }
    let has_broken_all = RARE.iter().all(|wreck| wrecks.contains_key(wreck));
    if !has_broken_all {
        println!("soak is short: not everything was broken once");
    }
    let is_fine = violations.is_empty() && is_settled && started >= *rollouts && has_broken_all && panics == 0;
    if !is_fine {
        // What the client crate says of every try would hide the rest.
        let ours: Vec<_> = log.lines().filter(|line| !line.contains("kube_client::")).collect();
        println!("{}", ours[ours.len().saturating_sub(60)..].join("\n"));
    }
    is_fine
}

//! The agent: a scheduler that says which apps need a pass, and the pass itself.
//!
//! One task owns everything; there are no locks. A pass takes its app out of the scheduler and brings it back, so that
//! no app waits for another. Start with [`tick`].

mod app;
mod contention;
mod declaring;
mod due;
mod election;
mod event;
mod execute;
mod guard;
mod keep;
mod neighbours;
mod observed;
mod others;
mod polling;
mod polls;
mod publish;
mod recover;
mod rehearsal;
mod rendering;
pub mod resources;
mod rest;
mod role;
mod schedule;
mod sight;
mod source;
mod start;
mod takeover;
pub mod tick;
mod watching;
mod work;

use std::sync::Arc;

use tokio::sync::watch;

use crate::config::Config;
use crate::edge::Outside;
use crate::edge::server::{Followed, Webhook};
use crate::model::{AppName, ObjectKey};
use crate::status::tree;
use crate::telemetry::Telemetry;
use crate::world::{Scope, World};

pub use crate::status::Standing;
pub use app::App;
pub use schedule::Scheduler;
pub use start::recalled;
pub use work::{Settings, work};

/// What every pass needs and none changes.
#[derive(Debug)]
pub struct Context<W> {
    /// The outside.
    pub world: Arc<W>,
    /// Namespace of the Application resources.
    pub namespace: String,
    /// Marks objects as ours.
    pub owner: String,
    /// Keys the hashes of Secret contents.
    pub secret_key: [u8; 32],
    /// Counts what is done.
    pub telemetry: Telemetry,
    /// The number of this term: later than every epoch that was stored when it began.
    pub epoch: u64,
    /// What the election says.
    office: Arc<watch::Sender<event::Office>>,
}

/// How often things happen.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Between two polls while nothing is under way.
    pub poll: crate::model::Millis,
    /// Folder below which declarations are looked for.
    pub path: String,
    /// The repository, for readers.
    pub repository: String,
    /// The branch, for messages.
    pub branch: String,
    /// What polls are spread with, so that agents that were started together do not ask their host together for good;
    /// `None`: they are not spread, and a story is told again as it was told before.
    pub spread: Option<u64>,
}

/// Runs the agent until it is told to stop.
///
/// # Errors
/// When the edges cannot be opened or an address cannot be listened on.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let telemetry = Telemetry::new();
    let world = Arc::new(Outside::open(&config).await?);
    let (standing_sender, standing) = watch::channel(Standing::default());
    let (stop_sender, stop) = watch::channel(false);
    let (poke, mut poked) = tokio::sync::mpsc::channel::<AppName>(1);
    let hint = world.poke();
    let (others, poke_other) = world.others();
    let settings = crate::edge::server::Settings {
        api_address: config.api_address,
        ops_address: config.ops_address,
        token_file: config.token_file.clone(),
        webhook: config.webhook_secrets.clone().map(|secrets| Webhook {
            secrets,
            followed: vec![Followed { repository: config.repository.clone(), reference: config.reference.clone() }],
            poke: hint.clone(),
            others,
            poke_other,
        }),
    };
    let sources = crate::edge::server::Sources { board: world.board(), standing, resources: reader(&world) };
    let server = crate::edge::server::serve(settings, sources, telemetry.clone(), world.requests(), poke, stop).await?;
    let pokes = async {
        while poked.recv().await.is_some() {
            // A full channel is as good as sent: one hint that waits says all that a hundred would.
            let _sent = hint.try_send(());
        }
    };
    let spread = world.random()[..8].try_into().expect("eight bytes of 32");
    let settings = Settings {
        namespace: config.namespace.clone(),
        owner: config.owner.clone(),
        identity: config.identity.clone().unwrap_or_else(|| passing_identity(world.random())),
        pod: config.pod.clone(),
        pace: Pace {
            poll: crate::model::Millis(u64::try_from(config.poll_interval.as_millis()).unwrap_or(u64::MAX)),
            path: config.path.clone(),
            repository: config.repository.clone(),
            branch: config.reference.to_string(),
            spread: Some(u64::from_le_bytes(spread)),
        },
    };
    let work = work(world, settings, &telemetry, &standing_sender);
    tokio::select! {
        () = work => {}
        () = pokes => {}
    }
    stop_sender.send_replace(true);
    server.stopped().await;
    Ok(())
}

/// How the HTTP server, which knows no cluster, reads the resources of an app.
fn reader<W: World + 'static>(world: &Arc<W>) -> crate::edge::server::Reader {
    let world = Arc::clone(world);
    Arc::new(move |view| {
        let world = Arc::clone(&world);
        Box::pin(async move {
            let rules = view.application.as_ref().map(|application| application.health.as_slice()).unwrap_or_default();
            let list = async |scope: Scope, selector: String| world.list(&scope, &selector).await;
            let get = async |key: ObjectKey, version: String| world.get(&key, &version).await;
            let read = resources::read(&view.name, &view.record.inventory, rules, list, get).await?;
            Ok(tree::argocd(&tree::nodes(&read.declared, &read.others)))
        })
    })
}

/// A name for a process that has none of its own: whoever starts anew is somebody else.
fn passing_identity(random: [u8; 32]) -> String {
    let suffix = u32::from_le_bytes(random[..4].try_into().expect("four bytes of 32"));
    format!("tidegate-{suffix:08x}")
}

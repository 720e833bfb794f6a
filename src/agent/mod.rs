//! The agent: a scheduler that says which apps need a pass, and the pass itself.
//!
//! One task owns everything; there are no locks. A pass takes its app out of the scheduler and brings it back, so that
//! no app waits for another. Start with [`tick`].

mod app;
mod event;
mod execute;
mod keep;
mod observed;
mod polling;
mod publish;
mod recover;
mod schedule;
mod sight;
mod source;
mod start;
pub mod tick;
mod watching;

use std::sync::Arc;

use tokio::sync::watch;

use crate::config::Config;
use crate::edge::Outside;
use crate::model::AppName;
use crate::telemetry::Telemetry;
use crate::world::World;

pub use crate::status::Standing;
pub use app::App;
pub use schedule::Scheduler;

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
}

/// What the agent's work depends on, beside the world.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespace of the Application resources and of the lease.
    pub namespace: String,
    /// Marks objects as ours.
    pub owner: String,
    /// Who this process is to the others that want to lead. No two that run at once may share it.
    pub identity: String,
    /// The pod that this process runs in, which is labelled when it leads.
    pub pod: Option<String>,
    /// How often things happen, and where they come from.
    pub pace: Pace,
}

/// Stands by until elected, leads until deposed, stands by again; returns once the process is asked to end. Knows no edge
/// by name: tests and simulations start here.
pub async fn work<W: World + 'static>(
    world: Arc<W>,
    settings: Settings,
    telemetry: &Telemetry,
    standing: &watch::Sender<Standing>,
) {
    let Settings { namespace, owner, identity: _, pod: _, pace } = settings;
    world.lead(Some(crate::model::Millis(u64::MAX)));
    let started = start::start(world, &namespace, &owner, telemetry).await;
    let Some(started) = started else { return };
    standing.send_replace(Standing::Leading);
    Scheduler::new(started, pace).run().await;
}

/// Runs the agent until it is told to stop.
///
/// # Errors
/// When the edges cannot be opened or an address cannot be listened on.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let telemetry = Telemetry::new();
    let world = Outside::open(&config).await?;
    let (standing_sender, standing) = watch::channel(Standing::default());
    let (stop_sender, stop) = watch::channel(false);
    let (poke, mut poked) = tokio::sync::mpsc::channel::<AppName>(1);
    let hint = world.poke();
    let settings = crate::edge::server::Settings {
        api_address: config.api_address,
        ops_address: config.ops_address,
        token_file: config.token_file.clone(),
    };
    let server = crate::edge::server::serve(settings, world.board(), standing, telemetry.clone(), poke, stop).await?;
    let pokes = async {
        while poked.recv().await.is_some() {
            // A full channel is as good as sent: one hint that waits says all that a hundred would.
            let _sent = hint.try_send(());
        }
    };
    let settings = Settings {
        namespace: config.namespace.clone(),
        owner: config.owner.clone(),
        identity: config.owner.clone(),
        pod: None,
        pace: Pace {
            poll: crate::model::Millis(u64::try_from(config.poll_interval.as_millis()).unwrap_or(u64::MAX)),
            path: config.path.clone(),
            repository: config.repository.clone(),
            branch: config.branch.clone(),
        },
    };
    let work = work(Arc::new(world), settings, &telemetry, &standing_sender);
    tokio::select! {
        () = work => {}
        () = pokes => {}
    }
    stop_sender.send_replace(true);
    server.stopped().await;
    Ok(())
}

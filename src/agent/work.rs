//! The agent's life: stands by, leads, stands by again. Knows no edge by name: tests and simulations start here.

use std::sync::Arc;

use tokio::sync::watch;

use super::event::{Ended, Office};
use super::{Pace, Scheduler, Standing, election, role, start};
use crate::model::Millis;
use crate::telemetry::Telemetry;
use crate::world::{Event, World};

/// While it stands by, only news of the lease and the end of the process wake it.
const IDLE: Millis = Millis::from_seconds(3600);

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

/// Stands by until elected, leads until deposed, stands by again; returns once the process is asked to end.
pub async fn work<W: World + 'static>(
    world: Arc<W>,
    settings: Settings,
    telemetry: &Telemetry,
    standing: &watch::Sender<Standing>,
) {
    let office = Arc::new(watch::channel(Office::Unknown).0);
    {
        let campaign = std::pin::pin!(election::campaign(&*world, &settings.namespace, &settings.identity, &office));
        let terms = std::pin::pin!(serve(&world, &settings, telemetry, standing, &office));
        futures::future::select(terms, campaign).await;
    }
    world.lead(None);
    telemetry.leads(false);
    standing.send_replace(Standing::StandingBy { leader: None });
    election::release(&*world, &settings.namespace, &settings.identity).await;
}

/// Serves one term after the other.
async fn serve<W: World + 'static>(
    world: &Arc<W>,
    settings: &Settings,
    telemetry: &Telemetry,
    standing: &watch::Sender<Standing>,
    office: &Arc<watch::Sender<Office>>,
) {
    while let Some(epoch) = stand_by(&**world, standing, office.subscribe()).await {
        let ended = lead(world, settings, telemetry, standing, office, epoch).await;
        telemetry.leads(false);
        match ended {
            Ended::Asked => return,
            Ended::Deposed => {}
        }
    }
}

/// Waits to be elected, and returns the epoch; `None` when the process is asked to end.
async fn stand_by<W: World>(
    world: &W,
    standing: &watch::Sender<Standing>,
    mut office: watch::Receiver<Office>,
) -> Option<u64> {
    loop {
        let now = office.borrow_and_update().clone();
        match now {
            Office::Unknown => {}
            Office::Follower { leader } => {
                standing.send_replace(Standing::StandingBy { leader });
            }
            Office::Leader { epoch, .. } => return Some(epoch),
        }
        let news = std::pin::pin!(office.changed());
        let event = std::pin::pin!(world.next_event(IDLE.after(world.now())));
        if let futures::future::Either::Left((Event::Shutdown, _)) = futures::future::select(event, news).await {
            return None;
        }
    }
}

/// Leads for one term. Everything in memory is of this term alone.
async fn lead<W: World + 'static>(
    world: &Arc<W>,
    settings: &Settings,
    telemetry: &Telemetry,
    standing: &watch::Sender<Standing>,
    office: &Arc<watch::Sender<Office>>,
    epoch: u64,
) -> Ended {
    let mut watched = office.subscribe();
    let deposed = std::pin::pin!(watched.wait_for(|office| office.epoch() != Some(epoch)));
    let starting = std::pin::pin!(start::start(world, settings, telemetry, office, epoch));
    let started = match futures::future::select(starting, deposed).await {
        futures::future::Either::Left((Some(started), _)) => started,
        futures::future::Either::Left((None, _)) => return Ended::Asked,
        futures::future::Either::Right(_) => return Ended::Deposed,
    };
    tracing::info!(epoch, "leading");
    telemetry.leads(true);
    standing.send_replace(Standing::Leading);
    let mut scheduler = Scheduler::new(started, settings.pace.clone());
    let ended = {
        let label = std::pin::pin!(role::show(&**world, &settings.namespace, settings.pod.as_deref()));
        let run = std::pin::pin!(scheduler.run(epoch));
        match futures::future::select(run, label).await {
            futures::future::Either::Left((ended, _)) => ended,
            futures::future::Either::Right(((), run)) => run.await,
        }
    };
    match ended {
        Ended::Asked => scheduler.finish().await,
        Ended::Deposed => {
            // Before what it showed is taken away: nobody is to read an empty list of a leader.
            standing.send_replace(Standing::StandingBy { leader: None });
            tracing::warn!(epoch, "deposed: everything in memory is dropped");
        }
    }
    scheduler.retire();
    ended
}

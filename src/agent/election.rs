//! Takes part in the election: carries out what [`decide::lease`](crate::decide::lease) says, and says at every change who leads.

use tokio::sync::watch;

use super::event::Office;
use crate::decide::lease::{Answer, Election, Step};
use crate::model::Millis;
use crate::mutants::{Mutant, is_planted};
use crate::store::lease;
use crate::world::{ApiError, Part, World};

/// Takes part for as long as it is polled. What it learns goes to the world (until when writes may start) and into
/// `office`, always both and in this order.
pub(super) async fn campaign<W: World>(world: &W, namespace: &str, identity: &str, office: &watch::Sender<Office>) {
    let mut election = Election::new(identity.to_owned());
    let key = lease::key(namespace);
    let mut failed = None;
    loop {
        let asked_at = world.uptime();
        let answer = match election.step(asked_at) {
            Step::Wait(until) => {
                world.wait(until).await;
                None
            }
            Step::Read => Some(match world.get(&key, lease::VERSION).await {
                Ok(found) => Ok(Answer::Read(found.as_ref().map(lease::read))),
                Err(error) => Err(error),
            }),
            Step::Claim(claim, previous) => {
                let previous = previous.map(|previous| previous.object);
                let object = lease::claimed(namespace, &claim, previous.as_ref(), world.now());
                let answer = match previous {
                    Some(_) => world.update(&object, Part::Object).await,
                    None => world.create(&object).await,
                };
                Some(match answer {
                    Ok(written) => Ok(Answer::Written(lease::read(&written))),
                    Err(ApiError::Conflict | ApiError::AlreadyExists | ApiError::NotFound) => Ok(Answer::Refused),
                    Err(error) => Err(error),
                })
            }
        };
        let now = world.uptime();
        let is_renewed = matches!(answer, Some(Ok(Answer::Written(_))));
        match answer {
            Some(Ok(answer)) => {
                failed = None;
                election.learn(answer, asked_at, now);
            }
            Some(Err(error)) => {
                if failed.as_ref() != Some(&error) {
                    tracing::warn!(%error, "the lease cannot be read or renewed");
                }
                failed = Some(error);
                election.learn(Answer::Failed, asked_at, now);
            }
            None => {}
        }
        announce(world, &election, is_renewed, now, office);
    }
}

/// Tells who leads. That this replica does is only ever told anew by a renewal: another way of learning that it does not
/// (an app that carries a later epoch) stands until then.
fn announce<W: World>(world: &W, election: &Election, is_renewed: bool, now: Millis, office: &watch::Sender<Office>) {
    let next = match (election.term(now), election.holder()) {
        (Some(term), _) if is_renewed => {
            let forever = is_planted(Mutant::LeaseWithoutDeadline).then_some(Millis(u64::MAX));
            let until = forever.unwrap_or(term.writes_until());
            world.lead(Some(until));
            Office::Leader { epoch: term.epoch, until }
        }
        (Some(_), _) | (None, None) => return,
        (None, Some(holder)) => {
            world.lead(None);
            Office::Follower { leader: holder.map(str::to_owned) }
        }
    };
    office.send_if_modified(|office| {
        let is_news = *office != next;
        let is_turn = office.epoch() != next.epoch();
        if is_news && is_turn {
            tracing::info!(before = ?office, now = ?next, "the lease changed hands");
        }
        *office = next;
        is_news
    });
}

/// Gives the lease back, so that another replica takes over at once. The caller has ended all its writes.
pub(super) async fn release<W: World>(world: &W, namespace: &str, identity: &str) {
    let key = lease::key(namespace);
    // The second try is for a renewal that was under way and changed what the first had read.
    for _ in 0..2 {
        let Ok(Some(found)) = world.get(&key, lease::VERSION).await else { return };
        let found = lease::read(&found);
        if found.holder.as_deref() != Some(identity) {
            return;
        }
        match world.update(&lease::released(&found, world.now()), Part::Object).await {
            Ok(_) => return tracing::info!("the lease is given back"),
            Err(error) => tracing::debug!(%error, "the lease was not given back"),
        }
    }
}

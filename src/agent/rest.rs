//! Between passes, an app whose pods no rollout moves takes little room: what only a pass looks at is kept as text.

use std::sync::Arc;

use super::App;
use super::schedule::Scheduler;
use crate::model::{Lane, Release};
use crate::world::World;

impl<W: World + 'static> Scheduler<W> {
    /// Lays to rest what a pass over `app` has looked at.
    pub(super) fn lay_to_rest(&mut self, app: &mut App) {
        if is_moving(app) {
            return;
        }
        app.keys().into_iter().for_each(|(key, _)| self.cache.rest(key));
        if let Some(object) = &mut app.object {
            object.body.rest();
        }
        if let Some(next) = app.next.take() {
            let rested = at_rest(&next);
            let entered = self.source.as_mut().and_then(|source| source.apps.get_mut(&app.name));
            let others = entered.into_iter().filter_map(|entered| entered.release.as_mut());
            for other in others.chain(app.releases.values_mut()).filter(|other| Arc::ptr_eq(other, &next)) {
                *other = Arc::clone(&rested);
            }
            app.next = Some(rested);
        }
        app.releases.values_mut().for_each(|release| *release = at_rest(release));
    }
}

/// Whether passes follow each other closely. A first sync is over soon, and thousands may come at once.
pub(super) fn is_moving(app: &App) -> bool {
    let rollout = app.history.record.as_ref().and_then(|record| record.rollout.as_ref());
    rollout.is_some_and(|rollout| rollout.lane != Lane::FirstSync)
}

/// The same Release with no object awake.
fn at_rest(release: &Arc<Release>) -> Arc<Release> {
    if release.objects.values().all(|object| object.body.is_resting()) {
        return Arc::clone(release);
    }
    Arc::new(Release::clone(release).at_rest())
}

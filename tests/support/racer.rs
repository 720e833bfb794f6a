//! Another writer that never gives up: it changes one object again and again, at a pace of its own.

use std::time::Duration;

use kube::Api;
use kube::core::DynamicObject;
use kube::core::params::{Patch, PatchParams};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::observer::resource;
use super::plane::runtime;
use super::state::Kind;
use super::story::Story;

/// What it calls itself.
pub(crate) const RACER: &str = "racer";

/// A writer at work. Dropped, it stops.
pub(crate) struct Racer {
    task: JoinHandle<usize>,
}

impl Racer {
    /// Sends `patch(n)` as a merge patch to an object of the apps' namespace, for n from 0 to `writes`, so many times a
    /// second: never two at once, so a slow API server makes it slower.
    pub(crate) fn start(
        story: &Story,
        (kind, name): (Kind, &str),
        per_second: u32,
        writes: usize,
        patch: impl Fn(usize) -> Value + Send + 'static,
    ) -> Self {
        let api: Api<DynamicObject> = Api::namespaced_with(story.plane.client(), &story.namespace, &resource(kind));
        let name = name.to_owned();
        let task = runtime().spawn(async move {
            let parameters = PatchParams { field_manager: Some(RACER.to_owned()), ..PatchParams::default() };
            let mut pace = interval(Duration::from_secs(1) / per_second);
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut written = 0;
            for number in 0..writes {
                pace.tick().await;
                let answer = api.patch(&name, &parameters, &Patch::Merge(&patch(number))).await;
                written += usize::from(answer.is_ok());
            }
            written
        });
        Self { task }
    }

    /// Waits for its last write; gives how many the API server took.
    pub(crate) fn finish(mut self) -> usize {
        runtime().block_on(&mut self.task).expect("it does not panic")
    }

    /// Stops it in the middle.
    pub(crate) fn stop(self) {
        drop(self);
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

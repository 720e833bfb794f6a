//! What the watcher saw of a bump, step by step: where its time goes. Only with `TRACE=1`.

use std::time::Instant;

use super::scene::Scene;
use super::support::application::App;
use super::support::log::Mark;
use super::support::state::{Kind, template_version};

/// Prints every event since `mark`, with its time since `pushed`.
pub(crate) fn print(scene: &Scene, mark: Mark, pushed: Instant) {
    scene.observer.log().replay(mark, |entry, _| {
        let Some(object) = &entry.object else { return };
        let milliseconds = entry.at.saturating_duration_since(pushed).as_secs_f64() * 1000.0;
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let generation = &object["metadata"]["generation"];
        let told = match entry.kind {
            Kind::Application => App(object).summary(),
            Kind::Deployment => template_version(object).to_owned(),
            Kind::ConfigMap
            | Kind::DaemonSet
            | Kind::Pod
            | Kind::ReplicaSet
            | Kind::Service
            | Kind::ServiceAccount
            | Kind::StatefulSet => String::new(),
        };
        eprintln!(
            "   trace {milliseconds:7.1} ms @{} {:?} {name} generation {generation}: {told}",
            entry.revision, entry.kind
        );
    });
}

/// Whether traces are wanted.
pub(crate) fn is_wanted() -> bool {
    std::env::var_os("TRACE").is_some_and(|text| !text.is_empty())
}

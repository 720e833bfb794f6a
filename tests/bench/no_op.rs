//! What looking costs when there is nothing to do.

use futures::{StreamExt, TryStreamExt};
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::json;

use super::fleet::{Fleet, IN_FLIGHT};
use super::report::{Figure, Report};
use super::run::as_f64;
use super::scene::{HOME, Scene};
use super::support::application::App;
use super::support::patience::{PATIENCE, until};
use super::support::plane::runtime;
use super::support::state::{Kind, State};
use super::tally::Tally;

/// Commits that concern no app: several, since one costs less processor time than the kernel's clock tells.
const COMMITS: usize = 10;

/// Measures passes that find nothing to do.
pub(crate) fn measure(scene: &Scene, report: &mut Report) {
    commits(scene, report);
    scene.await_quiet();
    refresh(scene, report);
    scene.await_quiet();
}

/// Commits that touch no file of any app.
fn commits(scene: &Scene, report: &mut Report) {
    let before = Tally::now(scene);
    for number in 0..COMMITS {
        scene.repo.write("README.md", &format!("The fleet, edition {number}.\n"));
        let commit = scene.repo.commit_and_push(&format!("edition {number}"));
        scene.hint();
        let is_read =
            || scene.agent.log().lines().any(|line| line.contains("a commit was read") && line.contains(&commit));
        assert!(until(PATIENCE, is_read), "the agent did not read {commit}\n{}", scene.agent.log_tail(40));
    }
    let cost = Tally::now(scene).since(&before);
    let count = as_f64(COMMITS);
    report.note(
        Figure::new("no-op-commit")
            .with("commits", count, 0)
            .with("cpu_ms", cost.cpu.as_secs_f64() * 1000.0 / count, 1)
            .with("requests", cost.requests / count, 1)
            .with("applies", cost.applies / count, 1)
            .with("git_requests", cost.git / count, 1)
            .with("passes", cost.passes / count, 1)
            .with("renders", cost.renders / count, 1),
    );
}

/// Every app is asked to look again: a pass over each, which costs the request's own answer and nothing else.
fn refresh(scene: &Scene, report: &mut Report) {
    const REQUEST: &str = "refresh:bench";
    let kind = GroupVersionKind::gvk("tidegate.dev", "v1alpha1", "Application");
    let api: Api<DynamicObject> = Api::namespaced_with(scene.plane.client(), HOME, &ApiResource::from_gvk(&kind));
    let before = Tally::now(scene);
    let body = json!({"metadata": {"annotations": {"tidegate.dev/request": REQUEST}}});
    let requests = (0..scene.fleet.apps()).map(|number| {
        let (api, body) = (api.clone(), &body);
        async move { api.patch(&Fleet::name(number), &PatchParams::default(), &Patch::Merge(body)).await }
    });
    let begun = std::time::Instant::now();
    runtime().block_on(async {
        let all = futures::stream::iter(requests).buffer_unordered(IN_FLIGHT);
        all.try_for_each(|_| async { Ok(()) }).await.expect("the API server takes every request");
    });
    let answered =
        |state: &State| state.all(Kind::Application).filter(|app| App(app).answer().contains(REQUEST)).count();
    assert!(
        until(scene.limit(), || scene.observer.now(answered) == scene.fleet.apps()),
        "{} apps of {} answered their refresh\n{}",
        scene.observer.now(answered),
        scene.fleet.apps(),
        scene.agent.log_tail(40)
    );
    let seconds = begun.elapsed().as_secs_f64();
    let cost = Tally::now(scene).since(&before);
    let apps = as_f64(scene.fleet.apps());
    report.note(
        Figure::new("refresh-all")
            .with("seconds", seconds, 2)
            .with("cpu_ms_per_app", cost.cpu.as_secs_f64() * 1000.0 / apps, 2)
            .with("requests_per_app", cost.requests / apps, 2)
            .with("applies", cost.applies, 0)
            .with("passes", cost.passes, 0)
            .with("renders", cost.renders, 0)
            .with("state_writes", cost.writes_of_state, 0),
    );
}

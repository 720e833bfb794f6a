//! The Deployment controller (`pkg/controller/deployment`). Enters: a Deployment and its ReplicaSets, whose status may lag.
//! Leaves: ReplicaSets created, scaled and cleaned up, and the Deployment's status.

mod report;
mod rolling;
mod scaling;
mod sets;

use serde_json::Value;

use super::{Desk, pods, reading};
use crate::model::{Object, ObjectKey, Timestamp};
use crate::world::ApiError;

use report::Status;
use sets::Set;

/// `progressDeadlineSeconds` that means none (`HasProgressDeadline`), and `revisionHistoryLimit` that means none.
const NO_LIMIT: i64 = i32::MAX as i64;

/// What a Deployment declares.
struct Declared {
    n: i64,
    min_ready_seconds: i64,
    deadline_seconds: Option<i64>,
    history_max: Option<i64>,
    is_paused: bool,
    /// `None` for Recreate.
    window: Option<Window>,
}

/// The bounds of a rolling update in pods.
#[derive(Clone, Copy)]
struct Window {
    surge: i64,
    unavailable: i64,
}

impl Declared {
    fn read(body: &Value) -> Self {
        let spec = body.get("spec").unwrap_or(&Value::Null);
        let n = reading::int(spec, &["replicas"]).unwrap_or(1);
        let limit = |field: &str, default| {
            Some(reading::int(spec, &[field]).unwrap_or(default)).filter(|limit| *limit != NO_LIMIT)
        };
        let is_recreate = reading::text(spec, &["strategy", "type"]) == Some("Recreate");
        let bound = |field: &str| reading::at(spec, &["strategy", "rollingUpdate", field]);
        Self {
            n,
            min_ready_seconds: reading::int(spec, &["minReadySeconds"]).unwrap_or(0),
            deadline_seconds: limit("progressDeadlineSeconds", 600),
            history_max: limit("revisionHistoryLimit", 10),
            is_paused: spec.get("paused") == Some(&Value::Bool(true)),
            window: (!is_recreate).then(|| Window::resolve(bound("maxSurge"), bound("maxUnavailable"), n)),
        }
    }

    /// `MaxSurge`.
    fn surge(&self) -> i64 {
        self.window.map_or(0, |window| window.surge)
    }

    /// `MaxUnavailable`: never more than n, and 0 when n is 0.
    fn unavailable(&self) -> i64 {
        self.window.map_or(0, |window| window.unavailable.min(self.n))
    }
}

impl Window {
    /// `ResolveFenceposts`: surge rounds up, unavailable down, and both 0 mean one unavailable.
    fn resolve(surge: Option<&Value>, unavailable: Option<&Value>, n: i64) -> Self {
        let pods = |value: Option<&Value>, up: i64| -> i64 {
            let text = value.map_or(Some("25%"), Value::as_str);
            let percent: Option<i64> = text.and_then(|text| text.strip_suffix('%')?.parse().ok());
            match percent {
                Some(percent) => (n * percent + 99 * up) / 100,
                None => value.and_then(Value::as_i64).unwrap_or(0),
            }
        };
        let (surge, unavailable) = (pods(surge, 1), pods(unavailable, 0));
        Self { surge, unavailable: if surge == 0 && unavailable == 0 { 1 } else { unavailable } }
    }
}

/// One sync of one Deployment.
struct Pass<'a, 'b> {
    desk: &'a mut Desk<'b>,
    object: Object,
    declared: Declared,
    /// Oldest first.
    sets: Vec<Set>,
    /// Which of them has the Deployment's template.
    new: Option<usize>,
    /// The status as stored, with conditions that this pass has set.
    status: Status,
    /// The revision that the Deployment's annotation should say.
    revision: Option<String>,
}

/// Brings the ReplicaSets one step further (`syncDeployment`) and returns when to look again.
pub(super) fn sync(desk: &mut Desk<'_>, key: &ObjectKey) -> Result<Option<Timestamp>, ApiError> {
    let Some(object) = desk.api.get(key).cloned() else { return Ok(None) };
    let mut pass = Pass::read(desk, object);
    if pass.object.is_terminating() {
        return pass.report_counts();
    }
    pass.check_paused();
    // Annotations or minReadySeconds of the new ReplicaSet changed: on a real cluster the rest of the sync runs into a
    // conflict with its own write, so the next sync goes on, with a status that may or may not be up to date by then.
    if pass.update_new()? {
        return Ok(None);
    }
    if pass.declared.is_paused {
        pass.scale()?;
        pass.clean_up()?;
        return pass.report_counts();
    }
    if pass.is_scaling() {
        pass.scale()?;
        return pass.report_counts();
    }
    match pass.declared.window {
        Some(_) => pass.roll()?,
        None => pass.recreate()?,
    }
    pass.report_progress()
}

impl<'a, 'b> Pass<'a, 'b> {
    fn read(desk: &'a mut Desk<'b>, object: Object) -> Self {
        let mut sets: Vec<Set> = desk.children(&object, "ReplicaSet").into_iter().map(Set::read).collect();
        sets.sort_by(|one, other| one.age().cmp(&other.age()));
        // `FindNewReplicaSet`: the oldest wins.
        let template = reading::at(&object.body, &["spec", "template"]).unwrap_or(&Value::Null);
        let new = sets.iter().position(|set| reading::same_template(set.template(), template));
        let declared = Declared::read(&object.body);
        let status = Status::read(object.body.get("status").unwrap_or(&Value::Null));
        Self { desk, object, declared, sets, new, status, revision: None }
    }

    /// All but the new ReplicaSet, oldest first.
    fn old(&self) -> Vec<usize> {
        (0..self.sets.len()).filter(|index| Some(*index) != self.new).collect()
    }

    /// Those that have, or ought to have, pods (`FilterActiveReplicaSets`).
    fn active(&self) -> Vec<usize> {
        (0..self.sets.len()).filter(|index| self.sets[*index].replicas > 0).collect()
    }

    fn sum(&self, count: impl Fn(&Set) -> i64) -> i64 {
        self.sets.iter().map(count).sum()
    }

    /// Whether a ReplicaSet was last scaled for another n (`isScalingEvent`).
    fn is_scaling(&self) -> bool {
        let others = |set: &Set| set.replicas > 0 && set.desired.is_some_and(|desired| desired != self.declared.n);
        self.sets.iter().any(others)
    }

    /// `recreate.go` `rolloutRecreate`: first nothing old, then everything new.
    fn recreate(&mut self) -> Result<(), ApiError> {
        let mut is_scaled = false;
        for index in self.old() {
            is_scaled |= self.set_scale(index, 0, false)?;
        }
        let is_old_running = self.old().into_iter().any(|index| {
            let set = &self.sets[index];
            let is_running = |pod: &Object| !matches!(pods::phase(pod), "Succeeded" | "Failed");
            set.actual > 0 || self.desk.children(&set.object, "Pod").iter().any(is_running)
        });
        if is_scaled || is_old_running {
            return Ok(());
        }
        let new = self.ensure_new()?;
        self.set_scale(new, self.declared.n, false)?;
        self.clean_up_when_complete()
    }
}

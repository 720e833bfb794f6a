//! The Lease that decides which replica leads, in the form that other clients of Kubernetes use.
//!
//! Enters: the object as the API server returned it. Leaves: [`Lease`], or the object to write. Each write replaces what was
//! read, under its resourceVersion: of two that claim at once, one is refused.

use serde_json::{Value, json};

use super::{MANAGED_BY, MANAGED_BY_LABEL};
use crate::model::{Claim, Lease, Millis, Object, ObjectKey, Timestamp};

/// Its name, in the agent's namespace.
pub const NAME: &str = "tidegate";
/// Its API version.
pub const VERSION: &str = "v1";

/// What names the Lease.
#[must_use]
pub fn key(namespace: &str) -> ObjectKey {
    ObjectKey::local("coordination.k8s.io", "Lease", namespace, NAME)
}

/// Reads a Lease. What is missing or broken reads as given back: nobody can hold that.
#[must_use]
pub fn read(object: &Object) -> Lease {
    let count = |pointer| object.int(pointer).and_then(|count| u64::try_from(count).ok()).unwrap_or_default();
    Lease {
        holder: object.text("/spec/holderIdentity").filter(|holder| !holder.is_empty()).map(str::to_owned),
        duration: Millis::from_seconds(count("/spec/leaseDurationSeconds")),
        transitions: count("/spec/leaseTransitions"),
        object: object.clone(),
    }
}

/// The Lease to write: to create it, or to replace `previous` under its resourceVersion.
#[must_use]
pub fn claimed(namespace: &str, claim: &Claim, previous: Option<&Object>, now: Timestamp) -> Object {
    let acquired = previous.and_then(|previous| previous.text("/spec/acquireTime")).filter(|_| !claim.is_new);
    let acquired = acquired.map_or_else(|| moment(now), str::to_owned);
    let spec = json!({
        "holderIdentity": claim.holder,
        "leaseDurationSeconds": claim.duration.0 / 1000,
        "leaseTransitions": claim.transitions,
        "acquireTime": acquired,
        "renewTime": moment(now),
    });
    match previous {
        Some(previous) => with_spec(previous, spec),
        None => Object {
            key: key(namespace),
            version: VERSION.to_owned(),
            body: json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": spec,
                "metadata": {"name": NAME, "namespace": namespace, "labels": {MANAGED_BY_LABEL: MANAGED_BY}}})
            .into(),
        },
    }
}

/// The Lease given back: whoever wants it takes it at once.
#[must_use]
pub fn released(lease: &Lease, now: Timestamp) -> Object {
    let spec = json!({
        "holderIdentity": "",
        // As client-go does: the API server refuses 0.
        "leaseDurationSeconds": 1,
        "leaseTransitions": lease.transitions,
        "acquireTime": moment(now),
        "renewTime": moment(now),
    });
    with_spec(&lease.object, spec)
}

fn with_spec(object: &Object, spec: Value) -> Object {
    let mut body = (*object.body).clone();
    if let Some(fields) = body.as_object_mut() {
        fields.insert("spec".to_owned(), spec);
    }
    object.with_body(body)
}

/// Microseconds, always six digits: the API server reads no other form.
fn moment(at: Timestamp) -> String {
    format!("{at:.6}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_read_as_it_was_claimed_and_a_renewal_keeps_its_beginning() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let claim = Claim { holder: "a".to_owned(), duration: Millis::from_seconds(15), transitions: 3, is_new: true };
        let first = claimed("tidegate", &claim, None, at(1));
        let lease = read(&first);
        assert_eq!((lease.holder.as_deref(), lease.duration, lease.transitions), (Some("a"), claim.duration, 3));
        assert_eq!(first.text("/spec/renewTime"), Some("1970-01-01T00:00:01.000000Z"));
        let renewed = claimed("tidegate", &Claim { is_new: false, ..claim.clone() }, Some(&first), at(6));
        assert_eq!(renewed.text("/spec/acquireTime"), Some("1970-01-01T00:00:01.000000Z"));
        assert_eq!(renewed.text("/spec/renewTime"), Some("1970-01-01T00:00:06.000000Z"));
        let taken = claimed("tidegate", &claim, Some(&renewed), at(40));
        assert_eq!(taken.text("/spec/acquireTime"), Some("1970-01-01T00:00:40.000000Z"));
        let released = read(&released(&read(&taken), at(50)));
        assert_eq!((released.holder, released.transitions), (None, 3));
    }
}

//! Notices as Kubernetes Events on the Application resource.
//!
//! Enters: a notice, the resource's UID, the time and a number that makes the name unique. Leaves: the Event to create.

use serde_json::{Value, json};

use super::{GROUP, KIND, MANAGED_BY, MANAGED_BY_LABEL, VERSION, shortened};
use crate::model::{ClusterName, Notice, NoticeKind, Object, Timestamp};

/// Bytes of a message: what `events.k8s.io` allows for a note.
const MESSAGE_BYTES_MAX: usize = 1024;

/// The Event that tells `notice`. `nonce` must differ between notices of one app.
#[must_use]
pub fn event(notice: &Notice, namespace: &str, uid: &str, now: Timestamp, nonce: u64) -> Object {
    let Notice { app, kind, reason, message } = notice;
    // Kubernetes' own form: the object's name, a dot, and hex digits. 253 - 17 leaves room for them.
    let name = format!("{}.{nonce:016x}", shortened(app.as_str(), 236));
    // Events count in whole seconds; a fraction is what older clients fail to parse.
    let seconds = Timestamp::from_second(now.as_second()).unwrap_or(now).to_string();
    let body = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": { "name": name, "namespace": namespace, "labels": { MANAGED_BY_LABEL: MANAGED_BY } },
        "involvedObject": {
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": KIND,
            "namespace": namespace,
            "name": app.as_str(),
            "uid": uid,
        },
        "type": type_of(*kind),
        "reason": reason,
        "message": cut(message),
        "source": { "component": MANAGED_BY },
        "reportingComponent": MANAGED_BY,
        "reportingInstance": "",
        "firstTimestamp": seconds,
        "lastTimestamp": seconds,
        "count": 1,
    });
    Object::from_value(&ClusterName::local(), body).expect("apiVersion, kind and name are set above")
}

fn type_of(kind: NoticeKind) -> Value {
    Value::from(match kind {
        NoticeKind::Normal => "Normal",
        NoticeKind::Warning => "Warning",
    })
}

/// The message, at most [`MESSAGE_BYTES_MAX`] long, cut between characters.
fn cut(message: &str) -> String {
    if message.len() <= MESSAGE_BYTES_MAX {
        return message.to_owned();
    }
    let mark = "...";
    let end = message.floor_char_boundary(MESSAGE_BYTES_MAX - mark.len());
    format!("{}{mark}", &message[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AppName;

    fn notice(app: &str, message: &str) -> Notice {
        Notice { app: AppName::from(app), kind: NoticeKind::Warning, reason: "WaveFailed", message: message.to_owned() }
    }

    #[test]
    fn an_event_points_at_its_application() {
        let now: Timestamp = "2026-03-01T10:00:00.75Z".parse().unwrap();
        let event = event(&notice("shop", "gate shut"), "tidegate", "u-1", now, 255);
        assert_eq!(event.key.name, "shop.00000000000000ff");
        assert_eq!(event.text("/involvedObject/apiVersion"), Some("tidegate.dev/v1alpha1"));
        assert_eq!(event.text("/involvedObject/uid"), Some("u-1"));
        assert_eq!(event.text("/metadata/namespace"), event.text("/involvedObject/namespace"));
        assert_eq!(event.text("/type"), Some("Warning"));
        assert_eq!(event.text("/lastTimestamp"), Some("2026-03-01T10:00:00Z"));
        assert_eq!(event.int("/count"), Some(1));
    }

    #[test]
    fn names_and_messages_stay_within_what_the_api_server_takes() {
        let event =
            event(&notice(&"a".repeat(253), &"\u{1f30a}".repeat(500)), "tidegate", "", Timestamp::UNIX_EPOCH, 1);
        assert!(event.key.name.len() <= 253);
        assert!(event.text("/message").is_some_and(|text| text.len() <= MESSAGE_BYTES_MAX && text.ends_with("...")));
    }
}

//! Image substitution by name, wherever a pod specification lists containers.

use serde_json::Value;

use crate::model::ImageOverride;

const CONTAINER_LISTS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// Replaces tag or digest of every container image whose name is declared.
pub(super) fn substitute(body: &mut Value, images: &[ImageOverride]) {
    if images.is_empty() {
        return;
    }
    match body {
        Value::Object(map) => {
            for (field, value) in map {
                match value {
                    Value::Array(items) if CONTAINER_LISTS.contains(&field.as_str()) => {
                        items.iter_mut().for_each(|container| replace(container, images));
                    }
                    other => substitute(other, images),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| substitute(item, images)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn replace(container: &mut Value, images: &[ImageOverride]) {
    let Some(image) = container.get("image").and_then(Value::as_str) else { return };
    let name = name_of(image);
    if let Some(wanted) = images.iter().find(|wanted| wanted.name == name) {
        let reference = match &wanted.digest {
            Some(digest) => format!("{name}@{digest}"),
            None => format!("{name}:{}", wanted.tag),
        };
        container["image"] = Value::String(reference);
    }
}

/// The image without tag and digest; a colon before the last slash belongs to the registry's port.
fn name_of(image: &str) -> &str {
    let without_digest = image.split_once('@').map_or(image, |(name, _)| name);
    let last = without_digest.rfind('/').map_or(0, |slash| slash + 1);
    match without_digest[last..].find(':') {
        Some(colon) => &without_digest[..last + colon],
        None => without_digest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_ends_before_tag_and_digest() {
        for (image, name) in [
            ("web", "web"),
            ("web:1", "web"),
            ("host:5000/team/web", "host:5000/team/web"),
            ("host:5000/team/web:1@sha256:abc", "host:5000/team/web"),
        ] {
            assert_eq!(name_of(image), name);
        }
    }
}

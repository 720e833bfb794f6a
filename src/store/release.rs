//! Kept Releases: rendered objects as Secrets in the agent's namespace, so that a revert needs neither Git nor a renderer.
//!
//! Enters: a Release, or the parts it was kept in. Leaves: the parts to write, or the Release again. The same Release
//! always gives the same bytes. Parts are checked as a whole before one byte of them is used.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::{Compression, GzBuilder, read::GzDecoder};
use serde_json::{Map, Value, json};

use super::wire::{Fields, Path, Wire, key_text, parse_key, wire_struct};
use super::{
    APPLICATION_LABEL, MANAGED_BY, MANAGED_BY_LABEL, OWNER_LABEL, StoreError, broken, label_value, sha256_hex,
    shortened,
};
use crate::model::{AppName, ClusterName, Digest, Object, Release, ReleaseRef};

/// `type` of the Secrets that hold Releases.
pub const RELEASE_SECRET_TYPE: &str = "tidegate.dev/release";
/// Label with a digest's first twelve hex digits (a label value has room for 63, a digest has 64).
pub const DIGEST_LABEL: &str = "tidegate.dev/digest";
/// Annotation with the whole digest.
const DIGEST_ANNOTATION: &str = "tidegate.dev/release-digest";
/// Annotation with the part's index, from 0.
const PART_ANNOTATION: &str = "tidegate.dev/part";
/// Annotation with the number of parts.
const PARTS_ANNOTATION: &str = "tidegate.dev/parts";
/// Annotation with the sha-256 of all parts together.
const CHECKSUM_ANNOTATION: &str = "tidegate.dev/checksum";
/// Annotation with the form's version.
const FORMAT_ANNOTATION: &str = "tidegate.dev/format";
/// Annotation with the app's version, for people.
const VERSION_ANNOTATION: &str = "tidegate.dev/version";
/// Annotation with the commit, for people.
const REVISION_ANNOTATION: &str = "tidegate.dev/revision";
/// Key of the bytes in the Secret's `data`.
const DATA_KEY: &str = "release";

/// The form that this program writes.
const FORMAT: u64 = 1;
/// Bytes per part: a Secret holds 1 MiB, and as base64 inside JSON 900 KiB are 1.2 MiB, below etcd's 1.5 MiB request.
const PART_BYTES_MAX: usize = 900 * 1024;
/// Bytes that a restored Release may unpack to: 1,000 objects of 256 KiB. What we kept never comes near; what somebody
/// else put there may be a bomb.
const RELEASE_BYTES_MAX: u64 = 256 << 20;

wire_struct!(KeptObject { key: "key", version: "version", body: "body" });
wire_struct!(KeptRelease { app: "app", reference: "reference", objects: "objects" });

/// A Release as it is stored.
struct KeptRelease {
    app: String,
    reference: ReleaseRef,
    objects: Vec<KeptObject>,
}

/// One of its objects.
struct KeptObject {
    key: String,
    version: String,
    body: Value,
}

/// An object's body is kept as it is.
impl Wire for Value {
    fn to_wire(&self) -> Value {
        self.clone()
    }

    fn from_wire(value: &Value, _at: &Path<'_>) -> Result<Self, StoreError> {
        Ok(value.clone())
    }
}

/// The Secrets that keep `release`, one or more.
#[must_use]
pub fn keep(namespace: &str, owner: &str, release: &Release) -> Vec<Object> {
    keep_in_parts(namespace, owner, release, PART_BYTES_MAX)
}

pub(super) fn keep_in_parts(namespace: &str, owner: &str, release: &Release, part_bytes_max: usize) -> Vec<Object> {
    let packed = pack(release);
    let checksum = sha256_hex(&packed);
    let chunks: Vec<&[u8]> = packed.chunks(part_bytes_max).collect();
    chunks
        .iter()
        .enumerate()
        .map(|(index, chunk)| {
            let Release { app, reference, objects: _ } = release;
            let body = json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "type": RELEASE_SECRET_TYPE,
                // Nobody has a reason to change a part; Kubernetes then need not watch it either.
                "immutable": true,
                "metadata": {
                    "name": part_name(app, reference.digest, index),
                    "namespace": namespace,
                    "labels": {
                        MANAGED_BY_LABEL: MANAGED_BY,
                        OWNER_LABEL: owner,
                        APPLICATION_LABEL: label_value(app.as_str()),
                        DIGEST_LABEL: reference.digest.short(),
                    },
                    "annotations": {
                        DIGEST_ANNOTATION: reference.digest.to_string(),
                        FORMAT_ANNOTATION: FORMAT.to_string(),
                        PART_ANNOTATION: index.to_string(),
                        PARTS_ANNOTATION: chunks.len().to_string(),
                        CHECKSUM_ANNOTATION: checksum,
                        VERSION_ANNOTATION: reference.version,
                        REVISION_ANNOTATION: reference.revision.commit,
                    },
                },
                "data": { DATA_KEY: BASE64.encode(chunk) },
            });
            Object::from_value(&ClusterName::local(), body).expect("apiVersion, kind and name are set above")
        })
        .collect()
}

/// The label selector that finds every part of one app's kept Releases.
#[must_use]
pub fn selector(owner: &str, app: &AppName) -> String {
    format!("{OWNER_LABEL}={owner},{APPLICATION_LABEL}={},{DIGEST_LABEL}", label_value(app.as_str()))
}

/// The digest that a part belongs to; `None` when the object is no part of a kept Release.
#[must_use]
pub fn digest_of(object: &Object) -> Option<Digest> {
    let is_part = object.key.kind.is("", "Secret") && object.text("/type") == Some(RELEASE_SECRET_TYPE);
    if is_part { object.annotation(DIGEST_ANNOTATION).and_then(Digest::parse) } else { None }
}

/// Puts a Release together again from all its parts, in any order.
///
/// # Errors
/// When a part is missing, twice there, of another Release, or broken, or when a later version wrote it.
pub fn restore(parts: &[Object]) -> Result<Release, StoreError> {
    let first = parts.first().ok_or_else(|| broken("parts", "no part was found"))?;
    let digest = digest_of(first).ok_or_else(|| broken(DIGEST_ANNOTATION, "not a part of a kept Release"))?;
    let format = number(first, FORMAT_ANNOTATION)?;
    if format > FORMAT {
        return Err(StoreError::NewerVersion { found: format, known: FORMAT });
    }
    let count = number(first, PARTS_ANNOTATION)?;
    let checksum = first.annotation(CHECKSUM_ANNOTATION);
    let mut chunks = BTreeMap::new();
    for part in parts {
        if digest_of(part) != Some(digest)
            || number(part, PARTS_ANNOTATION)? != count
            || part.annotation(CHECKSUM_ANNOTATION) != checksum
        {
            return Err(broken("parts", "parts of different Releases were put together"));
        }
        let index = number(part, PART_ANNOTATION)?;
        if index >= count || chunks.insert(index, data_of(part)?).is_some() {
            return Err(broken(PART_ANNOTATION, format!("part {index} of {count} is there twice or too much")));
        }
    }
    if chunks.len() as u64 != count {
        return Err(broken("parts", format!("{} of {count} parts were found", chunks.len())));
    }
    let packed: Vec<u8> = chunks.into_values().flatten().collect();
    if checksum != Some(sha256_hex(&packed).as_str()) {
        return Err(broken(CHECKSUM_ANNOTATION, "the content does not have this checksum"));
    }
    unpack(&packed, digest)
}

/// The Release as compressed JSON. The gzip header carries no time and no name: equal Releases are equal bytes.
fn pack(release: &Release) -> Vec<u8> {
    let objects = release.objects.iter().map(|(key, object)| KeptObject {
        key: key_text(key),
        version: object.version.clone(),
        body: (*object.body).clone(),
    });
    let kept =
        KeptRelease { app: release.app.to_string(), reference: release.reference.clone(), objects: objects.collect() };
    let mut writer = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
    writer.write_all(kept.to_wire().to_string().as_bytes()).expect("writing to a Vec cannot fail");
    writer.finish().expect("writing to a Vec cannot fail")
}

fn unpack(packed: &[u8], digest: Digest) -> Result<Release, StoreError> {
    let mut text = Vec::new();
    // One byte more than allowed shows that there is more.
    GzDecoder::new(packed)
        .take(RELEASE_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .map_err(|_| broken("release", "not a gzip stream"))?;
    if text.len() as u64 > RELEASE_BYTES_MAX {
        return Err(broken("release", "unpacks to more than is ever kept"));
    }
    let value: Value = serde_json::from_slice(&text).map_err(|_| broken("release", "not JSON"))?;
    let kept = KeptRelease::from_wire(&value, &Path::Root("release"))?;
    if kept.reference.digest != digest {
        return Err(broken("release.reference.digest", "not the digest that the Secret is labelled with"));
    }
    let objects = kept.objects.into_iter().map(|KeptObject { key, version, body }| {
        let key = parse_key(&key).ok_or_else(|| broken("release.objects", "not an object's key"))?;
        Ok((key.clone(), Object { key, version, body: body.into() }))
    });
    Ok(Release {
        app: AppName::from(kept.app.as_str()),
        reference: kept.reference,
        objects: objects.collect::<Result<_, StoreError>>()?,
    })
}

/// `tidegate-release-<app>-<digest>-<part>`: 34 characters besides the app's name, of the 253 that a name may have.
/// What a part says of itself: its place among the parts of a Release.
pub(super) struct PartOf {
    pub(super) digest: Digest,
    pub(super) index: u64,
    pub(super) count: u64,
}

/// Reads the metadata of a part. Whoever copies a part's marks does not have its name.
pub(super) fn part_of(part: &Object, app: &AppName) -> Option<PartOf> {
    let digest = part.annotation(DIGEST_ANNOTATION).and_then(Digest::parse)?;
    let (index, count) = (number(part, PART_ANNOTATION).ok()?, number(part, PARTS_ANNOTATION).ok()?);
    let is_ours = part.key.name == part_name(app, digest, usize::try_from(index).ok()?) && index < count;
    is_ours.then_some(PartOf { digest, index, count })
}

fn part_name(app: &AppName, digest: Digest, index: usize) -> String {
    format!("tidegate-release-{}-{}-{index}", shortened(app.as_str(), 200), digest.short())
}

fn number(part: &Object, annotation: &str) -> Result<u64, StoreError> {
    part.annotation(annotation)
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| broken(annotation, "missing or not a number"))
}

fn data_of(part: &Object) -> Result<Vec<u8>, StoreError> {
    part.body
        .get("data")
        .and_then(|data| data.get(DATA_KEY))
        .and_then(Value::as_str)
        .and_then(|text| BASE64.decode(text).ok())
        .ok_or_else(|| broken("data.release", "missing or not base64"))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;
    use crate::model::ObjectKey;

    /// Text that gzip cannot make small.
    fn noise(bytes: usize, seed: u64) -> String {
        let mut state = seed;
        (0..bytes)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                char::from(b'!' + u8::try_from((state >> 33) % 90).unwrap())
            })
            .collect()
    }

    fn release(app: &str, bytes: usize) -> Release {
        let bodies = [
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "shop"},
                   "data": {"a": "Y2FuYXJ5"}}),
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
                   "spec": {"unknown": [1, 2.5, null, {"deep": true}], "noise": noise(bytes, 1)}}),
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                   "metadata": {"name": "system:web"}}),
        ];
        let objects = bodies.map(|body| Object::from_value(&ClusterName::local(), body).unwrap());
        Release {
            app: AppName::from(app),
            reference: fixtures::release(7),
            objects: objects.into_iter().map(|object| (object.key.clone(), object)).collect(),
        }
    }

    #[test]
    fn what_was_kept_is_restored_exactly_from_parts_in_any_order() {
        for (bytes, part_bytes_max, count) in [(10, PART_BYTES_MAX, 1), (1_200_000, PART_BYTES_MAX, 2), (3000, 256, 12)]
        {
            let release = release("shop", bytes);
            let mut parts = keep_in_parts("tidegate", "team-a", &release, part_bytes_max);
            assert_eq!(parts.len(), count);
            assert_eq!(keep_in_parts("tidegate", "team-a", &release, part_bytes_max), parts, "the same bytes again");
            parts.reverse();
            assert_eq!(restore(&parts).unwrap(), release);
            assert!(parts.iter().all(|part| digest_of(part) == Some(release.reference.digest)));
            assert!(parts.iter().all(|part| part.body.to_string().len() < 1_500_000));
        }
    }

    #[test]
    fn names_and_labels_stay_within_what_the_api_server_takes() {
        let part = &keep("tidegate", "team-a", &release(&"a".repeat(253), 10))[0];
        assert!(part.key.name.len() <= 253);
        assert!(part.label(APPLICATION_LABEL).is_some_and(|label| label.len() <= 63));
        assert_eq!(part.label(DIGEST_LABEL), Some("070707070707"));
        let part = &keep("tidegate", "team-a", &release("shop", 10))[0];
        assert_eq!(part.key, ObjectKey::local("", "Secret", "tidegate", "tidegate-release-shop-070707070707-0"));
    }

    fn changed(part: &Object, pointer: &str, value: Value) -> Object {
        let mut body = (*part.body).clone();
        *body.pointer_mut(pointer).unwrap() = value;
        part.with_body(body)
    }

    #[test]
    fn incomplete_mixed_and_broken_parts_are_refused() {
        let parts = keep_in_parts("tidegate", "team-a", &release("shop", 3000), 1024);
        let other = keep_in_parts("tidegate", "team-a", &release("shop", 2900), 1024);
        let [first, second, third] = parts.as_slice() else { panic!("three parts") };
        let mut bytes = data_of(second).unwrap();
        bytes[100] ^= 1;
        let flipped = changed(second, "/data/release", json!(BASE64.encode(bytes)));
        let untyped = changed(second, "/type", json!("Opaque"));
        let garbled = changed(second, "/data/release", json!("***"));
        for parts in [
            vec![],
            vec![first.clone(), third.clone()],
            vec![first.clone(), second.clone(), second.clone()],
            vec![first.clone(), second.clone(), third.clone(), third.clone()],
            vec![first.clone(), other[1].clone(), third.clone()],
            vec![first.clone(), flipped, third.clone()],
            vec![first.clone(), untyped, third.clone()],
            vec![first.clone(), garbled, third.clone()],
        ] {
            let error = restore(&parts).expect_err("refused");
            assert!(matches!(error, StoreError::Broken { .. }), "{error}");
        }
    }

    #[test]
    fn parts_of_a_later_form_are_refused_as_newer() {
        let part = &keep("tidegate", "team-a", &release("shop", 10))[0];
        let newer = changed(part, "/metadata/annotations/tidegate.dev~1format", json!("2"));
        assert_eq!(restore(&[newer]), Err(StoreError::NewerVersion { found: 2, known: 1 }));
    }
}

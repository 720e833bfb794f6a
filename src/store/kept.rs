//! Which Releases the cluster keeps, as far as the metadata of their parts tells: asked once for all apps, since one
//! request for each would be most of what a start costs.

use std::collections::{BTreeMap, BTreeSet};

use super::release::{DIGEST_LABEL, PartOf, part_of};
use super::{APPLICATION_LABEL, OWNER_LABEL, label_value};
use crate::model::{AppName, Digest, Object};

/// The parts of all kept Releases of an agent, by the label of their app.
#[derive(Debug, Default)]
pub struct KeptReleases(BTreeMap<String, Vec<Object>>);

impl KeptReleases {
    /// Sorts parts by app.
    #[must_use]
    pub fn new(parts: Vec<Object>) -> Self {
        let mut by_app = BTreeMap::<String, Vec<Object>>::new();
        for part in parts {
            if let Some(app) = part.label(APPLICATION_LABEL) {
                by_app.entry(app.to_owned()).or_default().push(part);
            }
        }
        Self(by_app)
    }

    /// The Releases of an app of which every part is there.
    #[must_use]
    pub fn of(&self, app: &AppName) -> BTreeSet<Digest> {
        let mut found = BTreeMap::<Digest, (u64, BTreeSet<u64>)>::new();
        let parts = self.0.get(&label_value(app.as_str())).into_iter().flatten();
        for PartOf { digest, index, count } in parts.filter_map(|part| part_of(part, app)) {
            let (wanted, indices) = found.entry(digest).or_insert((count, BTreeSet::new()));
            *wanted = count.max(*wanted);
            indices.insert(index);
        }
        let is_whole = |(wanted, indices): &(u64, BTreeSet<u64>)| (0..*wanted).all(|index| indices.contains(&index));
        found.into_iter().filter(|(_, parts)| is_whole(parts)).map(|(digest, _)| digest).collect()
    }
}

/// The label selector that finds every part of every app's kept Releases.
#[must_use]
pub fn selector(owner: &str) -> String {
    format!("{OWNER_LABEL}={owner},{DIGEST_LABEL}")
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::super::release::keep_in_parts;
    use super::*;
    use crate::model::{ClusterName, Release};
    use serde_json::json;

    /// The metadata of the parts of a Release that needs several.
    fn parts(app: &str, seed: u8) -> Vec<Object> {
        let noise: String = (0..9000_u32).map(|at| at.wrapping_mul(2_654_435_761).to_string()).collect();
        let body =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"noise": noise}});
        let object = Object::from_value(&ClusterName::local(), body).unwrap();
        let objects = [(object.key.clone(), object)].into();
        let release = Release { app: AppName::from(app), reference: fixtures::release(seed), objects };
        let mut parts = keep_in_parts("tidegate", "us", &release, 16 * 1024);
        assert!(parts.len() > 2);
        parts.iter_mut().for_each(|part| part.body = part.body.outline());
        parts
    }

    #[test]
    fn releases_are_told_by_app_even_where_labels_are_shortened() {
        let long = "a".repeat(80);
        let all = [parts("shop", 1), parts("shop", 2), parts(&long, 3)].concat();
        let kept = KeptReleases::new(all);
        assert_eq!(kept.of(&AppName::from("shop")), [1, 2].map(fixtures::digest).into());
        assert_eq!(kept.of(&AppName::from(long.as_str())), [fixtures::digest(3)].into());
        assert_eq!(kept.of(&AppName::from("other")), BTreeSet::new());
    }

    #[test]
    fn a_release_of_which_a_part_is_missing_is_not_kept() {
        for missing in 0..parts("shop", 1).len() {
            let mut parts = parts("shop", 1);
            parts.remove(missing);
            assert_eq!(KeptReleases::new(parts).of(&AppName::from("shop")), BTreeSet::new(), "without part {missing}");
        }
    }

    #[test]
    fn whoever_bears_the_marks_of_a_part_under_another_name_is_none() {
        let mut parts = parts("shop", 1);
        let mut copy = (*parts[0].body).clone();
        copy["metadata"]["name"] = json!("backup");
        parts[0] = Object::from_value(&ClusterName::local(), copy).unwrap();
        assert_eq!(KeptReleases::new(parts).of(&AppName::from("shop")), BTreeSet::new());
    }
}

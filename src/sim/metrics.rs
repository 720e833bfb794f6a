//! Metrics: what a query gives. The model answers by what runs: the share of requests that fail in Ready pods, by their
//! images, so that a gate judges the wave and nothing else.
//!
//! Two kinds of queries are answered. To the provider [`PROVIDER`] the query is a namespace, and the answer the share
//! itself. Beside that, an analysis of any plan can be learned: its queries are told by their text around `${}`, and the
//! answer lies within its bounds while nothing fails.

use super::api::Api;
use crate::model::{Analysis, GroupKind, Object};
use crate::world::MeasureError;

/// Name of the provider that needs no learning.
pub const PROVIDER: &str = "simulated";

/// The metrics provider.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    errors: Vec<(String, f64)>,
    learned: Vec<Learned>,
}

/// An analysis whose queries are answered.
#[derive(Clone, Debug)]
struct Learned {
    provider: String,
    /// The query's text before, between and after what is filled in.
    parts: Vec<String>,
    /// Where the pods are that it is about.
    namespace: String,
    min: Option<f64>,
    max: Option<f64>,
}

impl Metrics {
    /// From now on, pods whose image contains `image` fail this share of their requests (0 to 1).
    pub fn fail(&mut self, image: &str, share: f64) {
        self.errors.retain(|(known, _)| known != image);
        self.errors.push((image.to_owned(), share));
    }

    /// From now on, queries of this analysis are answered, for the pods of a namespace.
    pub fn learn(&mut self, analysis: &Analysis, namespace: &str) {
        self.learned.push(Learned {
            provider: analysis.provider.clone(),
            parts: parts(&analysis.query),
            namespace: namespace.to_owned(),
            min: analysis.min,
            max: analysis.max,
        });
    }

    /// Answers a query. Without Ready pods there is no data.
    pub(super) fn measure(&self, api: &Api, provider: &str, query: &str) -> Result<Option<f64>, MeasureError> {
        if let Some(learned) = self.learned.iter().find(|learned| learned.covers(provider, query)) {
            return Ok(self.errors_in(api, &learned.namespace, None).map(|share| learned.value(share)));
        }
        if provider != PROVIDER {
            return Err(MeasureError::UnknownProvider(provider.to_owned()));
        }
        // `<namespace>/<pod-template-hash>` asks for the pods of one ReplicaSet alone.
        let (namespace, hash) =
            query.split_once('/').map_or((query, None), |(namespace, hash)| (namespace, Some(hash)));
        Ok(self.errors_in(api, namespace, hash))
    }

    /// The share of requests that fail in the worst Ready pod of a namespace: a small wave must show among many.
    fn errors_in(&self, api: &Api, namespace: &str, hash: Option<&str>) -> Option<f64> {
        let kind = GroupKind::new("", "Pod");
        let is_asked = |pod: &&Object| hash.is_none() || pod.label("pod-template-hash") == hash;
        let ready = api.objects(&kind, Some(namespace)).filter(|pod| is_ready(pod)).filter(is_asked);
        ready.map(|pod| self.errors_of(pod)).reduce(f64::max)
    }

    fn errors_of(&self, pod: &Object) -> f64 {
        let rate =
            |image: &str| self.errors.iter().find(|(part, _)| image.contains(part.as_str())).map(|(_, rate)| *rate);
        images(pod).filter_map(rate).fold(0.0, f64::max)
    }
}

impl Learned {
    fn covers(&self, provider: &str, query: &str) -> bool {
        let [first, rest @ ..] = self.parts.as_slice() else { return false };
        let Some(mut left) = query.strip_prefix(first.as_str()).filter(|_| provider == self.provider) else {
            return false;
        };
        let Some((last, middle)) = rest.split_last() else { return left.is_empty() };
        for part in middle {
            let Some(at) = left.find(part.as_str()) else { return false };
            left = &left[at + part.len()..];
        }
        left.ends_with(last.as_str())
    }

    /// What the query gives while this share of requests fails: within the bounds without failures, outside with them.
    /// The share itself, or the share that succeeds, where that says it: most queries are one of the two.
    fn value(&self, share: f64) -> f64 {
        let passes = |value: &f64| self.min.is_none_or(|min| *value >= min) && self.max.is_none_or(|max| *value <= max);
        let bounds = [self.min, self.max].into_iter().flatten();
        let candidates = [share, 1.0 - share].into_iter();
        if share == 0.0 {
            return candidates.chain(bounds).find(passes).unwrap_or(share);
        }
        let beyond = self.max.map(|max| max + 1.0).into_iter().chain(self.min.map(|min| min - 1.0));
        candidates.chain(beyond).find(|value| !passes(value)).unwrap_or(share)
    }
}

/// The text of a query around its `${}`.
fn parts(query: &str) -> Vec<String> {
    let mut pieces = query.split("${");
    let first = pieces.next().unwrap_or_default().to_owned();
    let others = pieces.map(|piece| piece.split_once('}').map_or(piece, |(_, after)| after).to_owned());
    std::iter::once(first).chain(others).collect()
}

fn is_ready(pod: &Object) -> bool {
    let conditions = pod.body.pointer("/status/conditions").and_then(serde_json::Value::as_array);
    let mut ready = conditions.into_iter().flatten().filter(|condition| condition["type"] == "Ready");
    ready.any(|condition| condition["status"] == "True")
}

fn images(pod: &Object) -> impl Iterator<Item = &str> {
    let containers = pod.body.pointer("/spec/containers").and_then(serde_json::Value::as_array);
    containers.into_iter().flatten().filter_map(|container| container["image"].as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(query: &str, min: Option<f64>, max: Option<f64>) -> Learned {
        Learned { provider: "prometheus".to_owned(), parts: parts(query), namespace: "shop".to_owned(), min, max }
    }

    #[test]
    fn a_query_is_told_by_its_text_around_what_is_filled_in() {
        let rate = learned("rate(x{pod=~\"${target_pods}\",ns=\"${namespace}\"}[1m])", None, Some(1.0));
        for (provider, query, is_covered) in [
            ("prometheus", "rate(x{pod=~\"a|b\",ns=\"shop\"}[1m])", true),
            ("prometheus", "rate(x{pod=~\"a|b\",ns=\"shop\"}[5m])", false),
            ("prometheus", "rate(y{pod=~\"a|b\",ns=\"shop\"}[1m])", false),
            ("other", "rate(x{pod=~\"a|b\",ns=\"shop\"}[1m])", false),
        ] {
            assert_eq!(rate.covers(provider, query), is_covered, "{query}");
        }
        let plain = learned("up", Some(1.0), None);
        assert!(plain.covers("prometheus", "up") && !plain.covers("prometheus", "up2"));
    }

    #[test]
    fn answers_lie_within_the_bounds_until_requests_fail() {
        for (min, max, good, bad) in [
            (None, Some(0.05), 0.0, 0.5),
            (Some(0.99), None, 1.0, 0.5),
            (None, Some(3.0), 0.0, 4.0),
            (Some(100.0), Some(200.0), 100.0, 0.5),
            (Some(-5.0), Some(-1.0), -5.0, 0.5),
        ] {
            let learned = learned("up", min, max);
            assert_eq!((learned.value(0.0), learned.value(0.5)), (good, bad), "{min:?} {max:?}");
        }
    }
}

//! Metrics: what a query gives. A query is `<what>(<namespace>)`-free text; the model answers by what runs: the share of
//! ready pods whose image does badly, so that a gate judges the wave and nothing else.

use super::api::Api;
use crate::model::GroupKind;
use crate::world::MeasureError;

/// Name of the one metrics provider.
pub const PROVIDER: &str = "simulated";

/// The metrics provider.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    errors: Vec<(String, f64)>,
}

impl Metrics {
    /// From now on, pods whose image contains `image` fail this share of their requests (0 to 1).
    pub fn fail(&mut self, image: &str, share: f64) {
        self.errors.retain(|(known, _)| known != image);
        self.errors.push((image.to_owned(), share));
    }

    /// The error rate that Ready pods of a namespace show: the query is the namespace's name. No pods, no data.
    pub(super) fn measure(&self, api: &Api, provider: &str, query: &str) -> Result<Option<f64>, MeasureError> {
        if provider != PROVIDER {
            return Err(MeasureError::UnknownProvider(provider.to_owned()));
        }
        let kind = GroupKind::new("", "Pod");
        let mut rates = Vec::new();
        for pod in api.objects(&kind, Some(query)) {
            let conditions = pod.at("/status/conditions").and_then(serde_json::Value::as_array);
            let is_ready = conditions
                .into_iter()
                .flatten()
                .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
            if is_ready {
                let image = pod.text("/spec/containers/0/image").unwrap_or_default();
                let rate =
                    self.errors.iter().find(|(part, _)| image.contains(part.as_str())).map_or(0.0, |(_, rate)| *rate);
                rates.push(rate);
            }
        }
        if rates.is_empty() {
            return Ok(None);
        }
        // The worst pod counts: a small wave must show among many.
        Ok(Some(rates.into_iter().fold(0.0, f64::max)))
    }
}

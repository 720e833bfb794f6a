//! Metrics providers (Prometheus). Enters: a provider's name and a query. Leaves: one number, none, or why not. It does
//! not judge the number, and follows no redirect.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde_json::Value;

use super::cause::innermost;
use super::query::encode_pairs;
use crate::world::MeasureError;

/// How long a query may take.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest answer that is read: one sample is about 100 bytes long, so that longer ones are no single number anyway.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Longest text of a refusal.
const TEXT_CHARS_MAX: usize = 200;

/// The metrics providers of the agent's settings.
pub(super) struct Providers {
    base_urls: BTreeMap<String, String>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Providers {
    /// Providers by name: base URL.
    pub(super) fn new(base_urls: BTreeMap<String, String>) -> Self {
        // Without system roots every `https` provider fails at its certificate and says so; `http` ones still work.
        let connector = HttpsConnectorBuilder::new().with_native_roots().unwrap_or_else(|_no_roots| {
            let no_roots = rustls::RootCertStore::empty();
            let settings = rustls::ClientConfig::builder().with_root_certificates(no_roots).with_no_client_auth();
            HttpsConnectorBuilder::new().with_tls_config(settings)
        });
        let connector = connector.https_or_http().enable_http1().build();
        Self { base_urls, client: Client::builder(TokioExecutor::new()).build(connector) }
    }

    /// Takes one sample.
    pub(super) async fn measure(&self, provider: &str, query: &str) -> Result<Option<f64>, MeasureError> {
        let base_url =
            self.base_urls.get(provider).ok_or_else(|| MeasureError::UnknownProvider(provider.to_owned()))?;
        let form = encode_pairs(&[("query", query), ("timeout", "5s")]);
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/api/v1/query", base_url.trim_end_matches('/')))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .body(Full::from(form))
            .map_err(|_source| unreachable("its address is no URL"))?;
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| unreachable(&innermost(&error)))?;
            let status = response.status();
            match Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await {
                Ok(collected) => Ok((status, collected.to_bytes())),
                Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                    Err(MeasureError::NotOneNumber(format!("an answer longer than {ANSWER_BYTES_MAX} bytes")))
                }
                Err(error) => Err(unreachable(&innermost(&*error))),
            }
        };
        let (status, body) = tokio::time::timeout(QUERY_TIMEOUT, exchange)
            .await
            .map_err(|_elapsed| unreachable("no answer in time"))??;
        read(status, &body)
    }
}

fn unreachable(why: &str) -> MeasureError {
    MeasureError::Unreachable(cut(why))
}

/// Reads an answer.
fn read(status: StatusCode, body: &[u8]) -> Result<Option<f64>, MeasureError> {
    let answer: Option<Answer> = serde_json::from_slice(body).ok();
    if status.is_success() {
        return match answer {
            Some(Answer::Success { data }) => read_data(&data),
            Some(Answer::Error { error }) => Err(MeasureError::Refused(cut(&error))),
            None => Err(MeasureError::NotOneNumber("an answer that is not Prometheus's".to_owned())),
        };
    }
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Err(unreachable(&format!("HTTP status {}", status.as_u16())));
    }
    Err(MeasureError::Refused(match answer {
        Some(Answer::Error { error }) => cut(&error),
        Some(Answer::Success { .. }) | None if status.is_redirection() => {
            format!("it redirects (HTTP status {}), which is not followed", status.as_u16())
        }
        Some(Answer::Success { .. }) | None => format!("HTTP status {}", status.as_u16()),
    }))
}

fn read_data(data: &Data) -> Result<Option<f64>, MeasureError> {
    let not_one = |what: &str| Err(MeasureError::NotOneNumber(what.to_owned()));
    match (data.result_type.as_str(), &data.result) {
        ("scalar", sample) => read_sample(sample),
        ("vector", Value::Array(series)) => match series.as_slice() {
            [] => Ok(None),
            [one] => match one.get("value") {
                Some(sample) => read_sample(sample),
                None => not_one("a histogram"),
            },
            many => not_one(&format!("a vector of {} series", many.len())),
        },
        ("matrix", _) => not_one("a matrix"),
        ("string", _) => not_one("a string"),
        _ => not_one("something else"),
    }
}

/// A sample is `[time, "value"]`; not-a-number is what Prometheus says for 0/0, which is no data.
fn read_sample(sample: &Value) -> Result<Option<f64>, MeasureError> {
    match sample.get(1).and_then(Value::as_str).map(str::parse::<f64>) {
        Some(Ok(value)) if value.is_nan() => Ok(None),
        Some(Ok(value)) => Ok(Some(value)),
        Some(Err(_)) | None => Err(MeasureError::NotOneNumber("something that is no number".to_owned())),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).map(|char| if char.is_control() { ' ' } else { char }).collect()
}

#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum Answer {
    Success { data: Data },
    Error { error: String },
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    result_type: String,
    result: Value,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::script::{Answer as Scripted, Script};

    async fn check(scripted: Scripted, expected: Result<Option<f64>, MeasureError>) {
        let script = Script::serve(vec![scripted]).await;
        let base_urls = BTreeMap::from([("main".to_owned(), format!("{}/prometheus/", script.base_url))]);
        assert_eq!(Providers::new(base_urls).measure("main", "sum(up) > 0").await, expected);
        let asked = script.asked();
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0].line, "POST /prometheus/api/v1/query");
        assert_eq!(asked[0].content_type, "application/x-www-form-urlencoded");
        assert_eq!(asked[0].body, "query=sum%28up%29%20%3E%200&timeout=5s");
    }

    fn success(kind: &str, result: &str) -> Scripted {
        let data = format!("{{\"resultType\":\"{kind}\",\"result\":{result}}}");
        Scripted::text(200, &format!("{{\"status\":\"success\",\"data\":{data},\"warnings\":[\"w\"]}}"))
    }

    #[tokio::test]
    async fn one_number_is_a_sample_and_no_number_is_no_data() {
        let one = r#"[{"metric":{"job":"x"},"value":[1435781451.781,"0.25"]}]"#;
        check(success("vector", one), Ok(Some(0.25))).await;
        check(success("scalar", r#"[1435781451.781,"1e3"]"#), Ok(Some(1000.0))).await;
        check(success("scalar", r#"[1,"+Inf"]"#), Ok(Some(f64::INFINITY))).await;
        check(success("vector", "[]"), Ok(None)).await;
        check(success("scalar", r#"[1,"NaN"]"#), Ok(None)).await;
    }

    #[tokio::test]
    async fn what_is_not_one_number_is_named() {
        let not_one = |what: &str| Err(MeasureError::NotOneNumber(what.to_owned()));
        let two = r#"[{"metric":{},"value":[1,"1"]},{"metric":{},"value":[1,"2"]}]"#;
        check(success("vector", two), not_one("a vector of 2 series")).await;
        check(success("vector", r#"[{"metric":{},"histogram":[1,{}]}]"#), not_one("a histogram")).await;
        check(success("matrix", "[]"), not_one("a matrix")).await;
        check(success("string", r#"[1,"2"]"#), not_one("a string")).await;
        check(success("scalar", r#"[1,"many"]"#), not_one("something that is no number")).await;
        check(Scripted::text(200, "<html>"), not_one("an answer that is not Prometheus's")).await;
        check(Scripted::text(200, &" ".repeat(ANSWER_BYTES_MAX + 1)), not_one("an answer longer than 1048576 bytes"))
            .await;
    }

    #[tokio::test]
    async fn refusals_and_failures_are_told_apart() {
        let refused = |what: &str| Err(MeasureError::Refused(what.to_owned()));
        let bad = format!("{{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"{}\"}}", "x".repeat(201));
        check(Scripted::text(400, &bad), refused(&"x".repeat(200))).await;
        check(Scripted::text(401, "who are you"), refused("HTTP status 401")).await;
        let elsewhere = Scripted::text(302, "").header("location", "http://127.0.0.1:1/");
        check(elsewhere, refused("it redirects (HTTP status 302), which is not followed")).await;
        check(Scripted::text(503, "starting"), Err(unreachable("HTTP status 503"))).await;
    }

    #[tokio::test]
    async fn a_provider_that_is_away_or_unknown_is_named_without_its_address() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let base_url = format!("http://user:password@{}", listener.local_addr().unwrap());
        drop(listener);
        let providers = Providers::new(BTreeMap::from([("main".to_owned(), base_url)]));
        assert_eq!(providers.measure("main", "1").await, Err(unreachable("Connection refused (os error 111)")));
        assert_eq!(providers.measure("other", "1").await, Err(MeasureError::UnknownProvider("other".to_owned())));
    }
}

//! The way to the agent's resources: the caller's kubeconfig, hence the caller's rights.

use std::time::Duration;

use anyhow::{Context, anyhow};
use http::{Method, Request};
use serde_json::{Value, json};

use crate::model::{ClusterName, Object};
use crate::store::{GROUP, PLURAL, REQUEST_ANNOTATION, VERSION, source};

/// Time that the API server has for one answer; `kubectl` users give up about then.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Which cluster, and where in it.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ConnectionArgs {
    /// Namespace of the agent
    #[arg(short, long, env = "TIDEGATE_NAMESPACE", default_value = "tidegate", value_parser = name)]
    namespace: String,
    /// Context of the kubeconfig [default: the current one]
    #[arg(long)]
    context: Option<String>,
}

/// A namespace's or app's name: what can stand in a path of the API server.
pub(super) fn name(text: &str) -> Result<String, String> {
    let is_name = (1..=253).contains(&text.len())
        && text.chars().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || "-.".contains(it))
        && !text.starts_with(['-', '.']);
    if is_name { Ok(text.to_owned()) } else { Err("expected lower-case letters, digits, `-` and `.`".to_owned()) }
}

/// How to reach the API server.
pub(super) async fn settings(arguments: &ConnectionArgs) -> anyhow::Result<kube::Config> {
    super::install_cryptography();
    // kube's errors tell their whole chain themselves: as a source they would be printed twice.
    let config = match &arguments.context {
        None => kube::Config::infer().await.map_err(|error| error.to_string()),
        Some(context) => {
            let options = kube::config::KubeConfigOptions { context: Some(context.clone()), cluster: None, user: None };
            kube::Config::from_kubeconfig(&options).await.map_err(|error| error.to_string())
        }
    };
    config.map_err(|error| anyhow!("no cluster to talk to: {error}"))
}

/// The Application resources of one agent.
pub(super) struct Connection {
    client: kube::Client,
    namespace: String,
}

impl Connection {
    pub(super) async fn open(arguments: &ConnectionArgs) -> anyhow::Result<Self> {
        Self::with(settings(arguments).await?, arguments)
    }

    /// With settings that were read already.
    pub(super) fn with(mut config: kube::Config, arguments: &ConnectionArgs) -> anyhow::Result<Self> {
        config.read_timeout = Some(REQUEST_TIMEOUT);
        config.connect_timeout = Some(REQUEST_TIMEOUT);
        let client = kube::Client::try_from(config).context("failed to set up the connection to the cluster")?;
        Ok(Self { client, namespace: arguments.namespace.clone() })
    }

    /// Namespace of the agent.
    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// All apps, by name.
    pub(super) async fn list(&self) -> anyhow::Result<Vec<Value>> {
        self.list_if_installed().await?.ok_or_else(|| {
            anyhow!("the cluster does not know the kind Application of {GROUP}: is Tidegate installed there?")
        })
    }

    /// All apps, by name; `None` when the cluster does not know what an Application is.
    pub(super) async fn list_if_installed(&self) -> anyhow::Result<Option<Vec<Value>>> {
        let Some(mut list) = self.send(Method::GET, "", None).await? else { return Ok(None) };
        match list["items"].take() {
            Value::Array(items) => Ok(Some(items)),
            _ => Err(anyhow!("the cluster's answer is no list")),
        }
    }

    /// One app.
    pub(super) async fn get(&self, app: &str) -> anyhow::Result<Object> {
        let body = self.send(Method::GET, app, None).await?;
        self.object(app, body)
    }

    /// Sets the request annotation of one app.
    pub(super) async fn ask(&self, app: &str, text: &str) -> anyhow::Result<Object> {
        let patch = json!({ "metadata": { "annotations": { REQUEST_ANNOTATION: text } } });
        let body = self.send(Method::PATCH, app, Some(&patch)).await?;
        self.object(app, body)
    }

    /// The ConfigMap in which the agent remembers the commit that it acted on last; `None` when there is none.
    pub(super) async fn source(&self) -> anyhow::Result<Option<Object>> {
        let body = self.request(Method::GET, self.source_path(), None).await?;
        Ok(body.map(|body| Object::from_value(&ClusterName::local(), body)).transpose()?)
    }

    /// Annotates that ConfigMap if it still is as it was read; `None` when it is gone.
    pub(super) async fn annotate_source(&self, read: &Object, name: &str, value: &str) -> anyhow::Result<Option<()>> {
        let metadata = json!({ "annotations": { name: value }, "resourceVersion": read.resource_version() });
        let patch = json!({ "metadata": metadata });
        Ok(self.request(Method::PATCH, self.source_path(), Some(&patch)).await?.map(drop))
    }

    fn source_path(&self) -> String {
        format!("/api/v1/namespaces/{}/configmaps/{}", self.namespace, source::SOURCE_MAP)
    }

    fn object(&self, app: &str, body: Option<Value>) -> anyhow::Result<Object> {
        let body = body.ok_or_else(|| anyhow!("no Application `{app}` in namespace `{}`", self.namespace))?;
        Ok(Object::from_value(&ClusterName::local(), body)?)
    }

    /// One request about Applications; `None` when what it names does not exist.
    async fn send(&self, method: Method, app: &str, patch: Option<&Value>) -> anyhow::Result<Option<Value>> {
        let collection = format!("/apis/{GROUP}/{VERSION}/namespaces/{}/{PLURAL}", self.namespace);
        let path = if app.is_empty() { collection } else { format!("{collection}/{app}") };
        self.request(method, path, patch).await
    }

    async fn request(&self, method: Method, path: String, patch: Option<&Value>) -> anyhow::Result<Option<Value>> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::CONTENT_TYPE, "application/merge-patch+json")
            .body(patch.map(|patch| patch.to_string().into_bytes()).unwrap_or_default())?;
        match self.client.request::<Value>(request).await {
            Ok(value) => Ok(Some(value)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(kube::Error::Api(status)) => Err(anyhow!("the API server refused: {}", status.message)),
            Err(error) => Err(anyhow!("failed to ask the API server: {error}")),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What the server was asked: method, path and body.
    pub(in super::super) type Seen = Arc<Mutex<Vec<(String, String, String)>>>;

    /// A server on the loopback that gives scripted answers, in order.
    pub(in super::super) async fn scripted(answers: Vec<(u16, Value)>) -> (Connection, Seen) {
        super::super::install_cryptography();
        let (seen, answers) = (Seen::default(), Arc::new(Mutex::new(VecDeque::from(answers))));
        let recorded = Arc::clone(&seen);
        let router = axum::Router::new().fallback(move |method: Method, uri: http::Uri, body: String| {
            recorded.lock().unwrap().push((method.to_string(), uri.to_string(), body));
            let (code, body) = answers.lock().unwrap().pop_front().expect("a scripted answer");
            async move { (http::StatusCode::from_u16(code).unwrap(), axum::Json(body)) }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let config = kube::Config::new(format!("http://{address}").parse().unwrap());
        let client = kube::Client::try_from(config).unwrap();
        (Connection { client, namespace: "tidegate".to_owned() }, seen)
    }

    /// The API server's way to say no.
    pub(in super::super) fn failure(code: u16, message: &str) -> (u16, Value) {
        let status = json!({
            "apiVersion": "v1", "kind": "Status", "status": "Failure", "message": message, "reason": "X", "code": code,
        });
        (code, status)
    }

    pub(in super::super) fn application(name: &str) -> Value {
        json!({"apiVersion": "tidegate.dev/v1alpha1", "kind": "Application", "metadata": {"name": name}})
    }

    #[tokio::test]
    async fn apps_are_read_from_the_agents_namespace() {
        let list = json!({"kind": "ApplicationList", "items": [application("a"), application("b")]});
        let (connection, seen) = scripted(vec![(200, list), (200, application("a"))]).await;
        assert_eq!(connection.list().await.unwrap().len(), 2);
        assert_eq!(connection.get("a").await.unwrap().key.name, "a");
        let paths: Vec<String> = seen.lock().unwrap().iter().map(|(_, path, _)| path.clone()).collect();
        let base = "/apis/tidegate.dev/v1alpha1/namespaces/tidegate/applications";
        assert_eq!(paths, [base.to_owned(), format!("{base}/a")]);
    }

    #[tokio::test]
    async fn what_is_missing_or_refused_is_said_in_words() {
        let answers = vec![failure(404, "not found"), failure(404, "not found"), failure(403, "may not patch")];
        let (connection, _) = scripted(answers).await;
        let error = connection.list().await.unwrap_err().to_string();
        assert!(error.contains("is Tidegate installed"), "{error}");
        let error = connection.get("shop").await.unwrap_err().to_string();
        assert_eq!(error, "no Application `shop` in namespace `tidegate`");
        let error = connection.ask("shop", "abort:1").await.unwrap_err().to_string();
        assert_eq!(error, "the API server refused: may not patch");
    }
}

//! The HTTP client to the API server: kube's parts (authority, identity, TLS), on a connector of our own.

use http_body_util::BodyExt as _;
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::Client;
use kube::client::{Body, ConfigExt as _};
use tower::{BoxError, ServiceBuilder, ServiceExt as _};

use super::CONNECT_TIMEOUT;

/// Makes the client. Nothing is opened yet.
///
/// What kube makes by itself lets small segments wait for each other (Nagle's algorithm). A write has its head and its
/// body in two of them, and a server that delays its acknowledgements then costs 40 ms, in most rollouts (seen on the
/// test control plane).
pub(super) fn client(mut settings: kube::Config) -> Result<Client, kube::Error> {
    settings.connect_timeout = Some(CONNECT_TIMEOUT);
    // Watches are silent for long; calls are timed as a whole.
    settings.read_timeout = None;
    // Every error is to be seen, counted and judged by the agent.
    settings.default_retry = false;
    if settings.proxy_url.is_some() {
        return Client::try_from(settings);
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let mut connector = TimeoutConnector::new(settings.rustls_https_connector_with_connector(tcp)?);
    connector.set_connect_timeout(settings.connect_timeout);
    let http = HyperClient::builder(TokioExecutor::new()).build::<_, Body>(connector);
    let service = ServiceBuilder::new()
        .layer(settings.base_uri_layer())
        .option_layer(settings.auth_layer()?)
        .layer(settings.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http)
        .map_response(|answer: http::Response<hyper::body::Incoming>| answer.map(|body| body.map_err(BoxError::from)));
    Ok(Client::new(service, settings.default_namespace))
}

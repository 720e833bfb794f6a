//! The HTTP client and its way to the server: directly, or through an HTTP proxy.
//!
//! Enters: whom to trust, who we are, which proxy. Leaves: a client. Over `https` a proxy is asked for a tunnel and sees
//! nothing of what goes through; over `http` it is given the request itself, its credentials included.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Uri};
use http_body_util::Full;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tower::Service;

use super::credentials::Identity;
use super::tls;
use crate::world::SourceError;

/// Within one poll connections are used again; between polls nobody drives them, so that they would be found dead.
const KEPT_ALIVE: Duration = Duration::from_secs(3);

/// The client of one repository's server.
pub(super) type HyperClient = Client<HttpsConnector<Way>, Full<Bytes>>;

/// All that a client is made of: another one is made when any of it changes.
#[derive(PartialEq)]
pub(super) struct Terms {
    /// Whether anything is asked over TLS.
    pub(super) is_secure: bool,
    /// The bundle of authorities to trust instead of the system's.
    pub(super) authorities: Option<Vec<u8>>,
    /// The certificate to show.
    pub(super) identity: Option<Identity>,
    /// The proxy on the way.
    pub(super) proxy: Option<Proxy>,
}

/// An HTTP proxy.
#[derive(Clone, PartialEq)]
pub(super) struct Proxy {
    /// Where it is.
    pub(super) uri: Uri,
    /// Who we are there.
    pub(super) authorization: Option<HeaderValue>,
}

/// Makes a client.
pub(super) fn client(terms: &Terms, connect_within: Duration) -> Result<HyperClient, SourceError> {
    let mut direct = HttpConnector::new();
    direct.enforce_http(false);
    direct.set_connect_timeout(Some(connect_within));
    direct.set_nodelay(true);
    let tls = match terms.is_secure {
        true => tls::configuration(terms.authorities.as_deref(), terms.identity.as_ref())?,
        false => tls::unused(),
    };
    let way = Way { direct, proxy: terms.proxy.clone() };
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(way);
    Ok(Client::builder(TokioExecutor::new()).pool_idle_timeout(KEPT_ALIVE).build(connector))
}

/// Opens connections towards a server.
#[derive(Clone)]
pub(super) struct Way {
    direct: HttpConnector,
    proxy: Option<Proxy>,
}

type BoxError = Box<dyn Error + Send + Sync>;

impl Service<Uri> for Way {
    type Response = Line;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Line, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.direct.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let Some(proxy) = &self.proxy else {
            let connecting = self.direct.call(target);
            return Box::pin(async move { Ok(Line { stream: connecting.await?, is_to_proxy: false }) });
        };
        if target.scheme_str() == Some("https") {
            let mut tunnel = Tunnel::new(proxy.uri.clone(), self.direct.clone());
            if let Some(authorization) = &proxy.authorization {
                tunnel = tunnel.with_auth(authorization.clone());
            }
            let connecting = tunnel.call(target);
            return Box::pin(async move { Ok(Line { stream: connecting.await?, is_to_proxy: false }) });
        }
        let connecting = self.direct.call(proxy.uri.clone());
        Box::pin(async move { Ok(Line { stream: connecting.await?, is_to_proxy: true }) })
    }
}

/// A connection to the server, or to a proxy that is given whole requests.
pub(super) struct Line {
    stream: TokioIo<TcpStream>,
    is_to_proxy: bool,
}

impl Connection for Line {
    fn connected(&self) -> Connected {
        // A request to a proxy names its target with the host.
        self.stream.connected().proxy(self.is_to_proxy)
    }
}

impl Read for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Line {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }
}

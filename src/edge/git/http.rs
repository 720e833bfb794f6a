//! HTTP to the Git server, for a thread that blocks: one request at a time, each step with a time limit.
//!
//! Enters: method, path and body. Leaves: the answer's bytes as they arrive, or why there is none. Credentials go to the
//! repository's own scheme, host and port only: a redirect to any other is refused. It must not be used on a thread that
//! runs async tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, LOCATION, PROXY_AUTHORIZATION, RETRY_AFTER, USER_AGENT,
};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::runtime::Runtime;

use super::connect::{self, HyperClient, Proxy, Terms};
use super::credentials::{AppFiles, Login};
use super::exchange::{Patience, chain, start_runtime};
use super::github_app::App;
use super::{Limits, credentials};
use crate::config::GitAccess;
use crate::model::Timestamp;
use crate::world::SourceError;

/// Servers redirect once, from a name without `.git` or from an old one.
const REDIRECTS_MAX: usize = 3;

/// What is waited when the server asks for patience without saying how much, and the most that is believed.
const RETRY_AFTER_SECONDS: u64 = 60;
const RETRY_AFTER_SECONDS_MAX: u64 = 3600;

/// A token with what is said about it: a few kilobytes.
const ANSWER_BYTES_MAX: usize = 256 << 10;

/// Who asks.
pub(super) const USER_AGENT_VALUE: HeaderValue =
    HeaderValue::from_static(concat!("git/tidegate-", env!("CARGO_PKG_VERSION")));

/// The client of one repository's server, kept over polls.
pub(super) struct Http {
    /// Made on the Git thread, because no runtime may be dropped on a thread that runs async tasks.
    runtime: Option<Arc<Runtime>>,
    base: String,
    access: GitAccess,
    limits: Limits,
    requests: Arc<AtomicU64>,
    client: Option<(Terms, HyperClient)>,
    app: Option<Arc<App>>,
}

impl Http {
    /// Names the repository at `base`; nothing is opened before the first session.
    pub(super) fn new(base: String, access: GitAccess, limits: Limits, requests: Arc<AtomicU64>) -> Self {
        Self { runtime: None, base, access, limits, requests, client: None, app: None }
    }

    /// Starts the exchange of one poll: credentials and authorities are read anew.
    pub(super) fn session(&mut self) -> Result<Session, SourceError> {
        let folder = self.access.credentials.as_deref();
        let login = match credentials::login(folder)? {
            Login::Silent => Token::None,
            Login::Header(header) => Token::Fixed(header),
            Login::App(files) => Token::Of(self.app(files)?),
        };
        let client = self.client(&login)?;
        let runtime = match &self.runtime {
            Some(runtime) => Arc::clone(runtime),
            None => Arc::clone(self.runtime.insert(Arc::new(start_runtime()?))),
        };
        Ok(Session {
            runtime,
            client,
            base: self.base.clone(),
            login,
            has_renewed: AtomicBool::new(false),
            proxy: self.access.proxy.clone(),
            proxy_authorization: self.proxy_authorization(),
            patience: Patience::new(&self.limits),
            received_bytes_max: self.limits.received_bytes_max,
            requests: Arc::clone(&self.requests),
            received_bytes: AtomicU64::new(0),
        })
    }

    /// The app of the poll before, with its token, unless files say otherwise by now.
    fn app(&mut self, files: AppFiles) -> Result<Arc<App>, SourceError> {
        if let Some(app) = self.app.as_ref().filter(|app| app.is_of(&files)) {
            return Ok(Arc::clone(app));
        }
        let app = Arc::new(App::new(files, &self.base)?);
        Ok(Arc::clone(self.app.insert(app)))
    }

    /// The client of the poll before, unless files say otherwise by now.
    fn client(&mut self, login: &Token) -> Result<HyperClient, SourceError> {
        let folder = self.access.credentials.as_deref();
        let proxy = match &self.access.proxy {
            Some(url) => {
                let uri =
                    url.parse().map_err(|_| SourceError::Access("the URL of the proxy is not valid".to_owned()))?;
                Some(Proxy { uri, authorization: credentials::proxy_authorization(folder)? })
            }
            None => None,
        };
        let terms = Terms {
            is_secure: self.base.starts_with("https:") || matches!(login, Token::Of(app) if app.is_secure()),
            authorities: credentials::authorities(self.access.ca_file.as_deref())?,
            identity: credentials::identity(folder)?,
            proxy,
        };
        if let Some((_, client)) = self.client.as_ref().filter(|(of, _)| *of == terms) {
            return Ok(client.clone());
        }
        let client = connect::client(&terms, self.limits.connect)?;
        self.client = Some((terms, client.clone()));
        Ok(client)
    }

    /// What a proxy that is given whole requests must be told with each.
    fn proxy_authorization(&self) -> Option<HeaderValue> {
        let (terms, _) = self.client.as_ref()?;
        terms.proxy.as_ref().filter(|_| !terms.is_secure)?.authorization.clone()
    }
}

/// The requests of one poll, with their common limits.
pub(super) struct Session {
    runtime: Arc<Runtime>,
    client: HyperClient,
    base: String,
    login: Token,
    /// Whether a token was asked for in this exchange: once is enough.
    has_renewed: AtomicBool,
    /// The proxy on the way.
    proxy: Option<String>,
    proxy_authorization: Option<HeaderValue>,
    patience: Patience,
    received_bytes_max: u64,
    requests: Arc<AtomicU64>,
    received_bytes: AtomicU64,
}

/// What the server is told of us.
enum Token {
    /// Nothing.
    None,
    /// This.
    Fixed(HeaderValue),
    /// What GitHub gives an app.
    Of(Arc<App>),
}

/// One request to the repository.
#[derive(Clone)]
pub(super) struct Call {
    /// What follows the repository's URL.
    pub(super) path: &'static str,
    /// The body of a POST; a GET has none.
    pub(super) body: Option<Bytes>,
    /// Whether protocol v2 is asked for.
    pub(super) is_v2: bool,
}

/// What came back.
pub(super) enum Answer {
    /// 200, and the body.
    Body(Incoming),
    /// A status that only the caller can judge.
    Status(StatusCode),
}

impl Session {
    /// Sends a request and waits for the head of its answer.
    pub(super) fn send(&self, call: &Call) -> Result<Answer, SourceError> {
        let mut target = format!("{}{}", self.base, call.path);
        for _ in 0..=REDIRECTS_MAX {
            let request = self.request(&target, call)?;
            self.requests.fetch_add(1, Ordering::Relaxed);
            let response = self.within(self.client.request(request))?.map_err(|error| self.lost(&error))?;
            match response.status() {
                StatusCode::OK => return Ok(Answer::Body(response.into_body())),
                // A token that was taken back before its time: one that was made just now would not fare better.
                StatusCode::UNAUTHORIZED
                    if let (Token::Of(app), false) = (&self.login, self.has_renewed.load(Ordering::Relaxed)) =>
                {
                    self.renew(app)?;
                }
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(SourceError::Unauthorized),
                StatusCode::PROXY_AUTHENTICATION_REQUIRED if self.proxy.is_some() => return Err(refused_by_proxy()),
                StatusCode::NOT_FOUND | StatusCode::GONE => {
                    return Err(SourceError::NoRepository(format!("the server knows no repository at {}", self.base)));
                }
                StatusCode::TOO_MANY_REQUESTS => {
                    let retry_after_seconds = retry_after(response.headers()).unwrap_or(RETRY_AFTER_SECONDS);
                    return Err(SourceError::Busy { retry_after_seconds });
                }
                StatusCode::SERVICE_UNAVAILABLE if let Some(retry_after_seconds) = retry_after(response.headers()) => {
                    return Err(SourceError::Busy { retry_after_seconds });
                }
                status if status.is_redirection() => target = redirected(&target, response.headers())?,
                status => return Ok(Answer::Status(status)),
            }
        }
        Err(SourceError::Unreachable(format!("{} redirects too often", self.base)))
    }

    /// Waits for the next part of a body; `None` at its end.
    pub(super) fn next_part(&self, body: &mut Incoming) -> Result<Option<Bytes>, SourceError> {
        loop {
            let Some(frame) = self.within(body.frame())? else { return Ok(None) };
            let frame = frame.map_err(|error| self.lost(&error))?;
            let Ok(part) = frame.into_data() else { continue };
            let received = self.received_bytes.fetch_add(part.len() as u64, Ordering::Relaxed) + part.len() as u64;
            if received > self.received_bytes_max {
                let text = format!("the server sent more than {} bytes", self.received_bytes_max);
                return Err(SourceError::TooLarge(text));
            }
            return Ok(Some(part));
        }
    }

    /// Reads a whole body.
    pub(super) fn read(&self, mut body: Incoming, bytes_max: usize) -> Result<Vec<u8>, SourceError> {
        let mut bytes = Vec::new();
        while let Some(part) = self.next_part(&mut body)? {
            bytes.extend_from_slice(&part);
            if bytes.len() > bytes_max {
                return Err(SourceError::TooLarge(format!("the list of refs has more than {bytes_max} bytes")));
            }
        }
        Ok(bytes)
    }

    /// What to call a status that nobody expected.
    pub(super) fn unexpected(&self, status: StatusCode) -> SourceError {
        SourceError::Unreachable(format!("{} answers {status}", self.base))
    }

    fn request(&self, target: &str, call: &Call) -> Result<Request<Full<Bytes>>, SourceError> {
        let method = if call.body.is_some() { Method::POST } else { Method::GET };
        let mut request = Request::builder().method(method).uri(target).header(USER_AGENT, USER_AGENT_VALUE);
        if let Some(authorization) = self.authorization()? {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(authorization) = &self.proxy_authorization {
            request = request.header(PROXY_AUTHORIZATION, authorization.clone());
        }
        if call.body.is_some() {
            request = request
                .header(CONTENT_TYPE, "application/x-git-upload-pack-request")
                .header(ACCEPT, "application/x-git-upload-pack-result");
        }
        if call.is_v2 {
            request = request.header("Git-Protocol", "version=2");
        }
        request
            .body(Full::new(call.body.clone().unwrap_or_default()))
            .map_err(|_| SourceError::Unreachable(format!("{} is no valid URL to ask", self.base)))
    }

    /// Sends a request that is not the repository's, and reads its short answer.
    pub(super) fn ask(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, HeaderMap, Vec<u8>), SourceError> {
        let place = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        if let Some(authorization) = &self.proxy_authorization {
            request.headers_mut().insert(PROXY_AUTHORIZATION, authorization.clone());
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        let lost = |text: String| SourceError::Unreachable(format!("{place}: {text}"));
        let response = self.within(self.client.request(request))?.map_err(|error| lost(chain(&error)))?;
        let (head, mut body) = response.into_parts();
        let mut bytes = Vec::new();
        while let Some(part) = self.next_part(&mut body)? {
            bytes.extend_from_slice(&part);
            if bytes.len() > ANSWER_BYTES_MAX {
                return Err(SourceError::TooLarge(format!("{place} answers with more than {ANSWER_BYTES_MAX} bytes")));
            }
        }
        Ok((head.status, head.headers, bytes))
    }

    fn authorization(&self) -> Result<Option<HeaderValue>, SourceError> {
        match &self.login {
            Token::None => Ok(None),
            Token::Fixed(header) => Ok(Some(header.clone())),
            Token::Of(app) => match app.authorization(Timestamp::now()) {
                Some(header) => Ok(Some(header)),
                None => self.renew(app).map(Some),
            },
        }
    }

    fn renew(&self, app: &App) -> Result<HeaderValue, SourceError> {
        self.has_renewed.store(true, Ordering::Relaxed);
        app.renew(self, Timestamp::now())
    }

    fn lost(&self, error: &(dyn std::error::Error + 'static)) -> SourceError {
        let text = chain(error);
        // The only sign of it that a tunnel gives.
        if text.contains("proxy authorization required") {
            return refused_by_proxy();
        }
        let by = self.proxy.as_ref().map(|proxy| format!(" by the proxy {proxy}")).unwrap_or_default();
        SourceError::Unreachable(format!("{}{by}: {text}", self.base))
    }

    fn within<F: Future>(&self, step: F) -> Result<F::Output, SourceError> {
        let left = self.patience.left();
        self.runtime
            .block_on(async { tokio::time::timeout(left, step).await })
            .map_err(|_| SourceError::Unreachable(format!("{} did not answer in time", self.base)))
    }
}

fn refused_by_proxy() -> SourceError {
    let why = "the proxy wants to know who we are: `proxy-username` and `proxy-password` in the credentials folder";
    SourceError::Access(why.to_owned())
}

/// Resolves a redirect, unless it leads elsewhere.
fn redirected(from: &str, headers: &HeaderMap) -> Result<String, SourceError> {
    let refuse = |why: &str| SourceError::Unreachable(format!("the server redirects {why}"));
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok()).ok_or_else(|| refuse("to nowhere"))?;
    let old = from.parse::<Uri>().map_err(|_| refuse("from an invalid URL"))?;
    let new = location.parse::<Uri>().map_err(|_| refuse("to an invalid URL"))?;
    let is_same = match (new.scheme(), new.authority()) {
        (None, None) => location.starts_with('/') && !location.starts_with("//"),
        (scheme, authority) => scheme == old.scheme() && authority == old.authority(),
    };
    if !is_same {
        // Only the host is told: paths of sign-in pages carry states and tokens.
        let host = new.host().unwrap_or("a relative path");
        return Err(refuse(&format!(
            "to another place ({host}), which is refused: give the final URL as the repository"
        )));
    }
    let path = new.path_and_query().map_or("/", |path| path.as_str());
    let origin = old.scheme_str().zip(old.authority()).ok_or_else(|| refuse("from an invalid URL"))?;
    Ok(format!("{}://{}{path}", origin.0, origin.1))
}

/// The patience that a server asks for, as seconds or as a date.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = text.parse::<u64>().ok().or_else(|| {
        let until = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        u64::try_from(until.duration_since(jiff::Timestamp::now()).as_secs()).ok()
    })?;
    Some(seconds.clamp(1, RETRY_AFTER_SECONDS_MAX))
}

#[cfg(test)]
mod cases {
    use super::*;

    #[test]
    fn redirects_stay_on_scheme_host_and_port() {
        let check = |location: &str, expected: Option<&str>| {
            let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_str(location).unwrap())]);
            let found = redirected("https://git.example/a/info/refs?service=x", &headers);
            assert_eq!(found.as_deref().ok(), expected, "{location}");
        };
        check("https://git.example/a.git/info/refs?service=x", Some("https://git.example/a.git/info/refs?service=x"));
        check("/a.git/info/refs", Some("https://git.example/a.git/info/refs"));
        check("http://git.example/a", None);
        check("https://git.example:8443/a", None);
        check("https://evil.example/a", None);
        check("//evil.example/a", None);
        check("https://user@git.example/a", None);
        check("a.git/info/refs", None);
    }

    #[test]
    fn retry_after_is_believed_up_to_an_hour() {
        let check = |text: &str, expected: Option<u64>| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(text).unwrap())]);
            assert_eq!(retry_after(&headers), expected, "{text}");
        };
        check("7", Some(7));
        check("0", Some(1));
        check("999999", Some(3600));
        check("soon", None);
        check("Tue, 31 Dec 2199 23:59:59 GMT", Some(3600));
    }
}

//! The API: Argo CD's routes for those who read status, and the native ones.
//!
//! Enters: requests and the board. Leaves: encodings of `status`. All but what Argo CD leaves free of authentication needs
//! the token. Methods that would change something are refused with a hint at where the change belongs.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc, watch};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use super::Reader;
use super::failure::{Code, Failure};
use super::filter::Filter;
use super::refusal;
use super::token::{Admission, TokenFile};
use crate::model::{AppName, Timestamp};
use crate::status::{AppView, Board, Standing, argocd, native};

/// The version of Argo CD whose API this is; clients switch features on by it.
const ARGOCD_VERSION: &str = "v3.3.0";

/// No request needs a body; clients send small ones.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Every answer but that of resources is made from memory: one that takes this long never comes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// How long the API server has for all requests of one reading; less than a request may take, so that the answer is told.
const READING_TIMEOUT: Duration = Duration::from_secs(12);

/// Readings at once: each holds one request to the API server at a time, and the pods of a namespace in memory.
const READINGS_MAX: usize = 2;

type Pairs = Query<Vec<(String, String)>>;

/// What the handlers read.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) board: watch::Receiver<Board>,
    pub(super) standing: watch::Receiver<Standing>,
    pub(super) token: Arc<TokenFile>,
    pub(super) poke: mpsc::Sender<AppName>,
    pub(super) resources: Resources,
}

/// The way to what is not in memory, and how many may go it at once.
#[derive(Clone)]
pub(super) struct Resources {
    reader: Reader,
    places: Arc<Semaphore>,
}

impl Resources {
    pub(super) fn new(reader: Reader) -> Self {
        Self { reader, places: Arc::new(Semaphore::new(READINGS_MAX)) }
    }

    async fn read(&self, view: Arc<AppView>) -> Result<Value, Failure> {
        let unavailable = |message: String| Failure::new(Code::Unavailable, message);
        let reading = async {
            // The semaphore is never closed, and who waits in vain is told by the time-out.
            let _place = self.places.acquire().await;
            (self.reader)(view).await
        };
        match tokio::time::timeout(READING_TIMEOUT, reading).await {
            Ok(answer) => answer.map_err(|error| unavailable(format!("the cluster cannot be read: {error}"))),
            Err(_) => Err(unavailable("the cluster was not read in time".to_owned())),
        }
    }
}

impl Shared {
    fn board(&self) -> Board {
        Board::clone(&self.board.borrow())
    }

    fn application(&self, name: &str) -> Result<Arc<AppView>, Failure> {
        self.board().get(&AppName::from(name)).cloned().ok_or_else(|| Failure::no_application(name))
    }
}

/// The routes of the API.
pub(super) fn router(shared: Shared) -> Router {
    let open = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/api/version", get(version))
        .route("/api/v1/settings", get(settings))
        .route("/api/v1/session", post(session))
        .route("/api/v1/session/userinfo", get(userinfo));
    let closed = Router::new()
        .route("/api/v1/applications", get(list).post(refuse_creation))
        .route(
            "/api/v1/applications/{name}",
            get(application).post(refuse_edit).put(refuse_edit).patch(refuse_edit).delete(refuse_edit),
        )
        .route(
            "/api/v1/applications/{name}/{*part}",
            get(part_of_application)
                .post(refuse_operation)
                .put(refuse_operation)
                .patch(refuse_operation)
                .delete(refuse_operation),
        )
        .route("/apis/tidegate.dev/v1/applications", get(native_list))
        .route("/apis/tidegate.dev/v1/applications/{name}/rollout", get(native_rollout))
        .route("/apis/tidegate.dev/v1/applications/{name}/why", get(native_why))
        .route_layer(from_fn_with_state(shared.clone(), pass_if_leading))
        .route_layer(from_fn_with_state(shared.clone(), authenticate));
    let routes = open
        .merge(closed)
        .method_not_allowed_fallback(|| async { (StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed") })
        .with_state(shared)
        .layer(from_fn(guard_content_type));
    guarded(routes)
}

/// Limits and last lines of defence that both ports have.
pub(super) fn guarded(routes: Router) -> Router {
    routes
        .fallback(not_found)
        .layer(RequestBodyLimitLayer::new(BODY_BYTES_MAX))
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, REQUEST_TIMEOUT))
        .layer(CatchPanicLayer::custom(|_: Box<dyn Any + Send>| {
            Failure::new(Code::Internal, "internal error").into_response()
        }))
}

async fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "Not Found").into_response()
}

/// Refuses what a browser's form could send from another site, before anything else is looked at.
async fn guard_content_type(request: Request, next: Next) -> Response {
    let is_json = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().eq_ignore_ascii_case(b"application/json"));
    if request.method().is_safe() || is_json {
        next.run(request).await
    } else {
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, "Invalid content type").into_response()
    }
}

async fn authenticate(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    match shared.token.admission(request.method(), request.headers()).await {
        Admission::Admitted => next.run(request).await,
        Admission::Anonymous => Failure::new(Code::Unauthenticated, "no session information").into_response(),
        Admission::Refused => Failure::new(Code::Unauthenticated, "invalid session").into_response(),
    }
}

/// Only the replica that leads knows how the applications stand. Another says who does, and that asking again soon helps:
/// an empty answer would look as if there were none.
async fn pass_if_leading(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let standing = shared.standing.borrow().clone();
    let message = match standing {
        Standing::Leading => return next.run(request).await,
        Standing::Starting => "the cluster was not read yet".to_owned(),
        Standing::StandingBy { leader: None } => "this replica stands by, and no replica leads yet".to_owned(),
        Standing::StandingBy { leader: Some(leader) } => {
            format!("this replica stands by: {leader} leads and knows the applications")
        }
    };
    let failure = Failure::new(Code::Unavailable, message).into_response();
    ([(header::RETRY_AFTER, "1")], failure).into_response()
}

async fn version() -> Json<Value> {
    Json(json!({"Version": ARGOCD_VERSION}))
}

async fn settings() -> Json<Value> {
    Json(json!({"appLabelKey": "app.kubernetes.io/instance"}))
}

async fn session() -> Failure {
    let message = "there are no user names here: send the API token as `Authorization: Bearer`";
    Failure::new(Code::Unimplemented, message)
}

async fn userinfo(State(shared): State<Shared>, request: Request) -> Json<Value> {
    match shared.token.admission(&Method::GET, request.headers()).await {
        Admission::Admitted => Json(json!({"loggedIn": true, "username": "token", "iss": "tidegate"})),
        Admission::Anonymous | Admission::Refused => Json(json!({})),
    }
}

async fn list(State(shared): State<Shared>, Query(pairs): Pairs) -> Result<Json<Value>, Failure> {
    let filter = Filter::parse(pairs)?;
    Ok(Json(argocd::list(&shared.board(), |view| filter.keeps(view))))
}

/// Answers with the state as it is now. Asked for a refresh, it has Git looked at but does not wait for the pass that
/// follows (Argo CD does): the caller sees it at its next call.
async fn application(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    Query(pairs): Pairs,
) -> Result<Json<Value>, Failure> {
    let filter = Filter::parse(pairs)?;
    let view = shared.application(&name)?;
    if !filter.reaches(&view) {
        return Err(Failure::no_application(&name));
    }
    if filter.wants_refresh {
        // A full queue holds hints that lead to the same poll; a closed one means that the agent is ending.
        let _ = shared.poke.try_send(view.name.clone());
    }
    Ok(Json(argocd::application(&view)))
}

/// Parts of an application. Those of Argo CD's that are not offered (yet) say so in JSON: some clients parse whatever they
/// get.
async fn part_of_application(
    State(shared): State<Shared>,
    Path((name, part)): Path<(String, String)>,
    Query(pairs): Pairs,
) -> Result<Response, Failure> {
    let first = part.split('/').next().unwrap_or_default();
    let is_known = [
        "events",
        "links",
        "logs",
        "managed-resources",
        "manifests",
        "pods",
        "resource",
        "resource-tree",
        "revisions",
        "syncwindows",
    ]
    .contains(&first);
    if !is_known {
        return Ok(not_found().await);
    }
    let filter = Filter::parse(pairs)?;
    let view = shared.application(&name)?;
    if !filter.reaches(&view) {
        return Err(Failure::no_application(&name));
    }
    if part == "resource-tree" {
        return Ok(Json(shared.resources.read(view).await?).into_response());
    }
    Err(Failure::new(Code::Unimplemented, format!("{first} is not offered")))
}

async fn refuse_creation() -> Failure {
    refusal::of_creation()
}

async fn refuse_edit(State(shared): State<Shared>, Path(name): Path<String>) -> Failure {
    shared.application(&name).map_or_else(|failure| failure, |view| refusal::of_edit(&view))
}

async fn refuse_operation(State(shared): State<Shared>, Path((name, part)): Path<(String, String)>) -> Failure {
    shared.application(&name).map_or_else(|failure| failure, |view| refusal::of_operation(&view, &part))
}

async fn native_list(State(shared): State<Shared>) -> Json<Value> {
    Json(native::list(&shared.board()))
}

async fn native_rollout(State(shared): State<Shared>, Path(name): Path<String>) -> Result<Json<Value>, Failure> {
    Ok(Json(native::rollout(&*shared.application(&name)?)))
}

async fn native_why(State(shared): State<Shared>, Path(name): Path<String>) -> Result<Json<Value>, Failure> {
    Ok(Json(native::why(&*shared.application(&name)?, Timestamp::now())))
}

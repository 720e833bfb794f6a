//! The outside: API server, Git, metrics providers, signals, clock and chance. Enters: what [`World`] is asked. Leaves:
//! its answers and events. Edges translate; none of them decides, and none calls another.

mod cause;
pub mod cluster;
mod folder;
pub mod git;
mod measure;
mod query;
pub mod renderer;
#[cfg(test)]
mod script;
pub mod server;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, mpsc, watch};

use self::cluster::{Cluster, ClusterError, Verb};
use self::git::{GitSettings, GitSource, Others, OthersSettings};
use self::measure::Providers;
use self::renderer::Renderer;
use crate::config::Config;
use crate::model::{AppName, Elsewhere, Millis, Object, ObjectKey, RenderJob, RenderOutput, Timestamp};
use crate::status::{AppView, Board};
use crate::telemetry::Requests;
use crate::world::{
    Acting, ApiError, ApplyOptions, BlobId, Event, Kinds, Listed, MeasureError, Part, Polled, Preconditions,
    RenderFault, Scope, SourceError, World,
};

/// Longest sleep before the clock is read again: `until` is a moment, and clocks are set.
const SLEEP_MAX: Duration = Duration::from_secs(10);

/// Hints about other repositories that wait to be heard; more are lost, each until the next poll.
const HINTS_MAX: usize = 100;

/// Why the agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no way to the API server.
    #[error("failed to set up the API server's edge")]
    Cluster(#[source] ClusterError),
    /// The repository cannot be followed.
    #[error("failed to set up the Git edge")]
    Git(#[source] SourceError),
    /// Signals cannot be listened for.
    #[error("failed to listen for signals")]
    Signals(#[source] std::io::Error),
}

/// The edges together: the real [`World`].
pub struct Outside {
    cluster: Cluster,
    git: GitSource,
    others: Others,
    providers: Providers,
    renderer: Renderer,
    /// Folder of keys that open encrypted files.
    sops_keys: Option<PathBuf>,
    board: watch::Sender<Board>,
    poke: mpsc::Sender<()>,
    poke_other: mpsc::Sender<Elsewhere>,
    senses: Mutex<Senses>,
}

/// What besides watches may wake the agent. Only one caller of `next_event` holds it.
struct Senses {
    poked: mpsc::Receiver<()>,
    others_poked: mpsc::Receiver<Elsewhere>,
    terminate: Signal,
    interrupt: Signal,
}

impl Outside {
    /// Opens all edges. Neither the API server nor the Git server need be reachable.
    ///
    /// # Errors
    /// When settings are missing or cannot be used.
    pub async fn open(config: &Config) -> Result<Self, OpenError> {
        install_tls_provider();
        let cluster = Cluster::open(config.writes_in_flight_max).await.map_err(OpenError::Cluster)?;
        let settings = GitSettings {
            repository: config.repository.clone(),
            reference: config.reference.clone(),
            access: config.access_for(&config.repository),
            store: config.store.clone(),
        };
        git::sweep(&config.store, std::slice::from_ref(&settings));
        let git = GitSource::open(settings).map_err(OpenError::Git)?;
        let renderer = Renderer::new(config.renderer.clone(), &config.store);
        let outside = Self::compose(cluster, git, Providers::new(config.providers.clone()), renderer)?;
        let others = Others::new(Some(OthersSettings { rules: config.git.clone(), store: config.store.clone() }));
        Ok(Self { others, sops_keys: config.sops_keys.clone(), ..outside })
    }

    fn compose(cluster: Cluster, git: GitSource, providers: Providers, renderer: Renderer) -> Result<Self, OpenError> {
        // One poke that waits says all that a hundred would.
        let (poke, poked) = mpsc::channel(1);
        let (poke_other, others_poked) = mpsc::channel(HINTS_MAX);
        let senses = Senses {
            poked,
            others_poked,
            terminate: signal(SignalKind::terminate()).map_err(OpenError::Signals)?,
            interrupt: signal(SignalKind::interrupt()).map_err(OpenError::Signals)?,
        };
        let (board, _reader) = watch::channel(Board::default());
        let (others, senses) = (Others::new(None), Mutex::new(senses));
        Ok(Self { cluster, git, others, providers, renderer, sops_keys: None, board, poke, poke_other, senses })
    }

    /// All apps as they are now shown, and as they will be.
    #[must_use]
    pub fn board(&self) -> watch::Receiver<Board> {
        self.board.subscribe()
    }

    /// Says from outside (a webhook) that Git may have moved. Use `try_send`: a full channel is as good as sent.
    #[must_use]
    pub fn poke(&self) -> mpsc::Sender<()> {
        self.poke.clone()
    }

    /// Other repositories that are used, and where a push to one is told. Use `try_send`: a hint that is lost is made up for
    /// by the next poll.
    #[must_use]
    pub fn others(&self) -> (watch::Receiver<BTreeSet<Elsewhere>>, mpsc::Sender<Elsewhere>) {
        (self.others.followed(), self.poke_other.clone())
    }

    /// Tells at any time what was sent so far.
    pub fn requests(&self) -> impl Fn() -> Requests + Send + Sync + 'static {
        let (api, git) = (self.cluster.request_counts(), self.git.clone());
        move || Requests {
            api: Verb::ALL.into_iter().map(|verb| (verb.name(), api.of(verb))).collect(),
            git: git.requests(),
        }
    }
}

impl World for Outside {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn uptime(&self) -> Millis {
        self.cluster.uptime()
    }

    async fn wait(&self, until: Millis) {
        self.cluster.wait(until).await;
    }

    fn lead(&self, until: Option<Millis>) {
        self.cluster.lead(until);
    }

    fn random(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the kernel gives randomness");
        bytes
    }

    async fn next_event(&self, until: Timestamp) -> Event {
        let mut senses = self.senses.lock().await;
        let Senses { poked, others_poked, terminate, interrupt } = &mut *senses;
        // Not biased: neither a flood of changes nor an `until` that has passed may hide the rest for long.
        tokio::select! {
            _ = terminate.recv() => Event::Shutdown,
            _ = interrupt.recv() => Event::Shutdown,
            Some(()) = poked.recv() => Event::SourceHint,
            Some(other) = others_poked.recv() => Event::OtherHint(other),
            () = self.git.hinted() => Event::SourceHint,
            event = self.cluster.next_event() => event,
            () = sleep_until(until) => Event::Woke,
        }
    }

    async fn kinds(&self) -> Result<Kinds, ApiError> {
        let kinds = self.cluster.kinds().await?;
        Ok(Kinds { server_version: self.cluster.version().await?, ..kinds })
    }

    async fn get(&self, key: &ObjectKey, version: &str) -> Result<Option<Object>, ApiError> {
        self.cluster.get(key, version).await
    }

    async fn list(&self, scope: &Scope, label_selector: &str) -> Result<Listed, ApiError> {
        self.cluster.list(scope, label_selector).await
    }

    async fn list_metadata(&self, scope: &Scope, label_selector: &str) -> Result<Listed, ApiError> {
        self.cluster.list_metadata(scope, label_selector).await
    }

    fn watch(&self, scope: &Scope, resource_version: &str) {
        self.cluster.watch(scope, resource_version);
    }

    fn unwatch(&self, scope: &Scope) {
        self.cluster.unwatch(scope);
    }

    async fn create(&self, object: &Object) -> Result<Object, ApiError> {
        self.cluster.create(object).await
    }

    async fn update(&self, object: &Object, part: Part) -> Result<Object, ApiError> {
        self.cluster.update(object, part).await
    }

    async fn apply(&self, object: &Object, options: ApplyOptions, acting: Acting<'_>) -> Result<Object, ApiError> {
        self.cluster.apply(object, options, acting).await
    }

    async fn patch(
        &self,
        key: &ObjectKey,
        version: &str,
        operations: &Value,
        acting: Acting<'_>,
    ) -> Result<Object, ApiError> {
        self.cluster.patch(key, version, operations, acting).await
    }

    async fn delete(
        &self,
        key: &ObjectKey,
        version: &str,
        preconditions: &Preconditions,
        acting: Acting<'_>,
    ) -> Result<(), ApiError> {
        self.cluster.delete(key, version, preconditions, acting).await
    }

    async fn poll(
        &self,
        of: Option<&Elsewhere>,
        known: Option<&str>,
        proven: Option<&str>,
    ) -> Result<Polled, SourceError> {
        match of {
            None => self.git.poll(known, proven).await,
            Some(other) => self.others.poll(other, known, proven).await,
        }
    }

    async fn read(&self, of: Option<&Elsewhere>, blobs: &[BlobId]) -> Result<Vec<Vec<u8>>, SourceError> {
        match of {
            None => self.git.read(blobs).await,
            Some(other) => self.others.read(other, blobs).await,
        }
    }

    fn follow(&self, others: &BTreeSet<Elsewhere>) {
        self.others.follow(others, &self.git);
    }

    async fn render(&self, job: &RenderJob) -> Result<RenderOutput, RenderFault> {
        self.renderer.render(job).await
    }

    async fn keys(&self) -> Result<Vec<(String, Vec<u8>)>, SourceError> {
        let Some(folder) = self.sops_keys.clone() else { return Ok(Vec::new()) };
        let read = tokio::task::spawn_blocking(move || folder::files(&folder));
        read.await.unwrap_or_else(|_| Err(SourceError::Access("the folder of keys could not be read".to_owned())))
    }

    async fn measure(&self, provider: &str, query: &str) -> Result<Option<f64>, MeasureError> {
        self.providers.measure(provider, query).await
    }

    fn show(&self, app: &AppName, view: Option<Arc<AppView>>) {
        self.board.send_if_modified(|board| match view {
            // The map is copied (its views are not) only when a reader still holds the one before.
            Some(view) => {
                Arc::make_mut(board).insert(app.clone(), view);
                true
            }
            None => board.contains_key(app) && Arc::make_mut(board).remove(app).is_some(),
        });
    }
}

/// Returns once the wall clock says that it is `until`.
async fn sleep_until(until: Timestamp) {
    loop {
        match Duration::try_from(until.duration_since(Timestamp::now())) {
            Ok(left) if !left.is_zero() => tokio::time::sleep(left.min(SLEEP_MAX)).await,
            // Now, or in the past.
            Ok(_) | Err(_) => return,
        }
    }
}

/// Makes ring the process's cryptography. Whoever came first wins; there is no other in the tree.
fn install_tls_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

//! SSH to the Git server, for a thread that blocks: one connection for each exchange, `git-upload-pack` run over it, each
//! step with a time limit.
//!
//! Enters: the address, names of files. Leaves: bytes of the command's output as they arrive, or why there are none. The
//! server's key is compared with `known_hosts` before anything of ours is sent; nothing is ever trusted because it was seen
//! first. It must not be used on a thread that runs async tasks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use russh::client::{AuthResult, Handle, Handler, Msg};
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{Channel, ChannelMsg, Disconnect, Preferred, SshId};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use super::exchange::{Patience, chain, start_runtime};
use super::known_hosts::{KnownKeys, Verdict};
use super::place::SshAddress;
use super::{Limits, credentials};
use crate::config::GitAccess;
use crate::world::SourceError;

/// What an operator reads in the server's log.
const CLIENT_ID: &str = concat!("SSH-2.0-tidegate_", env!("CARGO_PKG_VERSION"));

/// What a server says beside its answer is kept up to here, and shown shortened.
const SAID_BYTES_MAX: usize = 4096;
const SAID_CHARACTERS_MAX: usize = 300;

/// How long the end of a connection is waited for.
const FAREWELL: Duration = Duration::from_secs(1);

/// One repository behind SSH, over polls.
pub(super) struct Ssh {
    address: SshAddress,
    access: GitAccess,
    limits: Limits,
    requests: Arc<AtomicU64>,
}

impl Ssh {
    /// Names the repository; nothing is opened before the first session.
    pub(super) fn new(address: SshAddress, access: GitAccess, limits: Limits, requests: Arc<AtomicU64>) -> Self {
        Self { address, access, limits, requests }
    }

    /// Starts the exchange of one poll: key and known hosts are read anew. The connection is made by the first command.
    pub(super) fn session(&self) -> Result<Session, SourceError> {
        let folder = self.access.credentials.as_deref();
        let host = self.address.host_entry();
        let (text, file) = credentials::known_hosts(self.access.known_hosts.as_deref(), folder, &host)?;
        let known = KnownKeys::of(&text, &host);
        let file = file.display();
        if known.is_empty() && known.has_authority() {
            return Err(SourceError::Access(format!(
                "{file} names only a @cert-authority for {host}: host certificates are not supported, add the host's own key"
            )));
        }
        if known.is_empty() {
            return Err(SourceError::Access(format!("{file} has no key of {host}: {}", credentials::SCAN)));
        }
        Ok(Session {
            connection: OnceLock::new(),
            runtime: Some(start_runtime()?),
            address: self.address.clone(),
            key: Arc::new(credentials::ssh_key(folder)?),
            guard: Guard { host, file: file.to_string(), known, refusal: Arc::default() },
            connect: self.limits.connect,
            patience: Patience::new(&self.limits),
            received_bytes_max: self.limits.received_bytes_max,
            received_bytes: AtomicU64::new(0),
            requests: Arc::clone(&self.requests),
        })
    }
}

/// Compares the server's key with those that are known.
#[derive(Clone)]
struct Guard {
    host: String,
    file: String,
    known: KnownKeys,
    /// Why the key was refused: the client's own error says only that it was.
    refusal: Arc<OnceLock<SourceError>>,
}

impl Handler for Guard {
    type Error = russh::Error;

    async fn check_server_key(&mut self, offered: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let Self { host, file, .. } = &*self;
        let refusal = match offered {
            PublicKeyOrCertificate::Certificate(_) => {
                format!("{host} shows a host certificate, which is not supported")
            }
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                let (kind, print) = (key.algorithm(), key.fingerprint(HashAlg::Sha256));
                match self.known.judge(key) {
                    Verdict::Known => return Ok(true),
                    Verdict::Revoked => format!("{file} marks the key of {host} as @revoked: {kind} {print}"),
                    Verdict::Other => format!(
                        "{host} shows a key that {file} does not have: {kind} {print}. Somebody may pose as the server; if its \
                         key was changed on purpose, replace its lines there"
                    ),
                }
            }
        };
        drop(self.refusal.set(SourceError::Access(refusal)));
        Ok(false)
    }
}

/// The commands of one poll, over one connection, with their common limits.
pub(super) struct Session {
    connection: OnceLock<Handle<Guard>>,
    /// There until the session is dropped.
    runtime: Option<Runtime>,
    address: SshAddress,
    key: Arc<PrivateKey>,
    guard: Guard,
    connect: Duration,
    patience: Patience,
    received_bytes_max: u64,
    received_bytes: AtomicU64,
    requests: Arc<AtomicU64>,
}

/// A command that runs over there.
pub(super) struct Running {
    channel: Channel<Msg>,
    /// What it wrote to its second output.
    said: Vec<u8>,
    status: Option<u32>,
    has_answered: bool,
    has_ended: bool,
}

impl Session {
    /// Runs `git-upload-pack`, in protocol v2 when the server lets us ask for it.
    pub(super) fn run(&self, is_v2: bool) -> Result<Running, SourceError> {
        let connection = match self.connection.get() {
            Some(connection) => connection,
            None => {
                let made = self.log_in()?;
                self.connection.get_or_init(|| made)
            }
        };
        self.requests.fetch_add(1, Ordering::Relaxed);
        let channel = self.within(async {
            let channel = connection.channel_open_session().await?;
            if is_v2 {
                // A server that does not accept the variable says nothing and answers in its first protocol.
                channel.set_env(false, "GIT_PROTOCOL", "version=2").await?;
            }
            channel.exec(true, self.address.command()).await?;
            Ok(channel)
        })?;
        Ok(Running { channel, said: Vec::new(), status: None, has_answered: false, has_ended: false })
    }

    /// Waits for the next part of a command's output; `None` at its end.
    pub(super) fn next_part(&self, running: &mut Running) -> Result<Option<Bytes>, SourceError> {
        loop {
            match self.within(async { Ok(running.channel.wait().await) })? {
                Some(ChannelMsg::Data { data }) => {
                    self.count(data.len())?;
                    running.has_answered = true;
                    return Ok(Some(data));
                }
                Some(ChannelMsg::ExtendedData { data, .. }) => {
                    self.count(data.len())?;
                    let room = SAID_BYTES_MAX.saturating_sub(running.said.len()).min(data.len());
                    running.said.extend_from_slice(&data[..room]);
                }
                Some(ChannelMsg::Failure) => return Err(self.failed("the server does not run git-upload-pack for us")),
                Some(ChannelMsg::ExitStatus { exit_status }) => running.status = Some(exit_status),
                Some(ChannelMsg::Eof) => running.has_ended = true,
                Some(ChannelMsg::Close) => {
                    running.has_ended = true;
                    return self.ended(running);
                }
                // Room for what we send, and what only servers are told.
                Some(_) => {}
                None if running.has_ended => return self.ended(running),
                None => return Err(self.failed("the connection was lost")),
            }
        }
    }

    /// Sends input to a command.
    pub(super) fn send(&self, running: &Running, input: impl Into<Bytes>) -> Result<(), SourceError> {
        self.within(running.channel.data_bytes(input))
    }

    /// Ends a command. That this fails says nothing: the connection ends soon as well.
    pub(super) fn close(&self, running: &Running) {
        drop(self.within(running.channel.close()));
    }

    /// What the end of a command's output means.
    fn ended(&self, running: &Running) -> Result<Option<Bytes>, SourceError> {
        let said = shown(&running.said);
        match running.status {
            Some(0) | None if running.has_answered => Ok(None),
            // Git and every host of repositories end like this when there is no such repository, or none for us.
            _ if !running.has_answered && !said.is_empty() => {
                Err(SourceError::NoRepository(format!("{} says: {said}", self.guard.host)))
            }
            _ => Err(self.failed(&format!("git-upload-pack ended early there: {said}"))),
        }
    }

    fn log_in(&self) -> Result<Handle<Guard>, SourceError> {
        let config = Arc::new(russh::client::Config {
            client_id: SshId::Standard(CLIENT_ID.into()),
            preferred: Preferred { key: self.guard.known.algorithms().into(), ..Preferred::DEFAULT },
            nodelay: true,
            ..Default::default()
        });
        let (host, port) = (self.address.host.as_str(), self.address.port);
        let stream = self
            .runtime()
            .block_on(async { tokio::time::timeout(self.connect, TcpStream::connect((host, port))).await })
            .map_err(|_| self.failed("no connection in time"))?
            .map_err(|error| self.failed(&error.to_string()))?;
        let shake = russh::client::connect_stream(config, stream, self.guard.clone());
        let mut connection = self.within(shake).map_err(|error| match self.guard.refusal.get() {
            Some(refusal) => refusal.clone(),
            None => error,
        })?;
        let (user, key) = (self.address.user.as_str(), &self.key);
        let is_let_in = self.within(async {
            let hash = match key.algorithm().is_rsa() {
                // The old signature with SHA-1 is never made, not even for a server that knows no other.
                true => connection.best_supported_rsa_hash().await?.flatten().or(Some(HashAlg::Sha256)),
                false => None,
            };
            let key = PrivateKeyWithHashAlg::new(Arc::clone(key), hash);
            connection.authenticate_publickey(user, key).await
        })?;
        match is_let_in {
            AuthResult::Success => Ok(connection),
            AuthResult::Failure { .. } => Err(SourceError::Unauthorized),
        }
    }

    fn count(&self, bytes: usize) -> Result<(), SourceError> {
        let received = self.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        if received <= self.received_bytes_max {
            return Ok(());
        }
        Err(SourceError::TooLarge(format!("the server sent more than {} bytes", self.received_bytes_max)))
    }

    fn within<T>(&self, step: impl Future<Output = Result<T, russh::Error>>) -> Result<T, SourceError> {
        let left = self.patience.left();
        self.runtime()
            .block_on(async { tokio::time::timeout(left, step).await })
            .map_err(|_| self.failed("no answer in time"))?
            .map_err(|error| self.failed(&chain(&error)))
    }

    fn failed(&self, why: &str) -> SourceError {
        SourceError::Unreachable(format!("{}: {why}", self.address))
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("the runtime is taken by drop alone")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        if let Some(connection) = self.connection.take() {
            // Parts of the client must be dropped inside of a runtime, and the server is told, so that it keeps no session.
            let farewell = async {
                drop(connection.disconnect(Disconnect::ByApplication, "", "").await);
                drop(connection.await);
            };
            runtime.block_on(async { drop(tokio::time::timeout(FAREWELL, farewell).await) });
        }
        // A name that is still being looked up is not waited for.
        runtime.shutdown_background();
    }
}

/// What a server said beside its answer, on one line.
fn shown(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let lines = text.lines().map(str::trim).filter(|line| line.contains(char::is_alphanumeric));
    let joined = lines.take(3).collect::<Vec<_>>().join("; ");
    joined.chars().filter(|character| !character.is_control()).take(SAID_CHARACTERS_MAX).collect()
}

//! Lets libgit2 speak to the Git server through [`super::http`] and [`super::ssh`].
//!
//! Enters: the exchange of the poll under way, by [`with_exchange`]. Leaves: a remote whose requests go through it. libgit2
//! knows only the made-up URL [`URL`], so neither address nor credentials ever reach its files or messages.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::sync::{Arc, Once};

use bytes::{Buf, Bytes};
use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream, Transport};
use hyper::body::Incoming;

use super::exchange::{Exchange, Wire};
use super::http::{self, Answer, Call};
use super::{refs, ssh};
use crate::world::SourceError;

/// The URL of every remote of ours.
pub(super) const URL: &str = "tidegate://repository";

/// A request is a list of wants and haves: libgit2 stops after 256 haves of 50 bytes each per round, but repeats them.
const REQUEST_BYTES_MAX: usize = 4 << 20;

/// What a server can do is said in its first line, of at most 65,520 bytes.
const ABILITIES_BYTES_MAX: usize = 64 << 10;

thread_local! {
    static EXCHANGE: RefCell<Option<Arc<Exchange>>> = const { RefCell::new(None) };
}

/// Tells libgit2 of our transport, once for the process.
pub(super) fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        #[expect(
            unsafe_code,
            reason = "libgit2 has no safe way to add a transport; `Once` gives the exclusion it asks for"
        )]
        // SAFETY: registering must not run beside the creation of other transports. Only this edge makes any, on threads
        // that start after this call, and `Once` lets nobody pass before it is done.
        let registered = unsafe {
            git2::transport::register("tidegate", |remote| {
                let exchange = EXCHANGE.with_borrow(Clone::clone);
                let exchange = exchange.ok_or_else(|| git2::Error::from_str("there is no exchange on this thread"))?;
                // A request of HTTP stands for itself; over SSH one command is asked and answered in turns.
                let is_stateless = matches!(exchange.wire, Wire::Http(_));
                Transport::smart(remote, is_stateless, Subtransport { exchange })
            })
        };
        registered.expect("the scheme is ours alone and registered once");
    });
}

/// Runs `work` on this thread with the exchange that its remotes use.
pub(super) fn with_exchange<T>(exchange: &Arc<Exchange>, work: impl FnOnce() -> T) -> T {
    EXCHANGE.set(Some(Arc::clone(exchange)));
    let result = work();
    EXCHANGE.set(None);
    result
}

struct Subtransport {
    exchange: Arc<Exchange>,
}

impl SmartSubtransport for Subtransport {
    fn action(&self, _url: &str, action: Service) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        let exchange = Arc::clone(&self.exchange);
        let (session, state) = match (action, &self.exchange.wire) {
            (Service::UploadPackLs, Wire::Http(session)) => match exchange.foretold() {
                Some(foretold) => (session, State::Told(foretold.advertisement)),
                None => {
                    let call = Call { path: "/info/refs?service=git-upload-pack", body: None, is_v2: false };
                    (session, State::Ready(call))
                }
            },
            (Service::UploadPack, Wire::Http(session)) => (session, State::Writing(Vec::new())),
            // libgit2 asks for it once and goes on with it.
            (Service::UploadPackLs | Service::UploadPack, Wire::Ssh(session)) => match session.run(false) {
                Ok(running) => {
                    let session = Arc::clone(session);
                    return Ok(Box::new(Command { exchange, session, running, rest: Bytes::new(), sent_bytes: 0 }));
                }
                Err(error) => {
                    exchange.fail(&error);
                    return Err(git2::Error::from_str(&error.to_string()));
                }
            },
            (Service::ReceivePackLs | Service::ReceivePack, Wire::Http(_) | Wire::Ssh(_)) => {
                return Err(git2::Error::from_str("this transport only reads"));
            }
        };
        let start = matches!(action, Service::UploadPackLs).then(Vec::new);
        Ok(Box::new(Stream { exchange, session: Arc::clone(session), state, start }))
    }

    fn close(&self) -> Result<(), git2::Error> {
        Ok(())
    }
}

/// Keeps a failure for the poll, and tells libgit2 that there was one.
fn failed(exchange: &Exchange, error: SourceError) -> std::io::Error {
    exchange.fail(&error);
    std::io::Error::other(error)
}

/// A command over SSH: what libgit2 writes is its input.
struct Command {
    exchange: Arc<Exchange>,
    session: Arc<ssh::Session>,
    running: ssh::Running,
    rest: Bytes,
    sent_bytes: usize,
}

impl Read for Command {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.rest.is_empty() {
            match self.session.next_part(&mut self.running) {
                Ok(Some(part)) => self.rest = part,
                Ok(None) => return Ok(0),
                Err(error) => return Err(failed(&self.exchange, error)),
            }
        }
        let length = self.rest.len().min(buffer.len());
        self.rest.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

impl Write for Command {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        self.sent_bytes += buffer.len();
        if self.sent_bytes > REQUEST_BYTES_MAX {
            return Err(std::io::Error::other("the request is too long"));
        }
        let sent = self.session.send(&self.running, buffer.to_vec());
        sent.map(|()| buffer.len()).map_err(|error| failed(&self.exchange, error))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Command {
    fn drop(&mut self) {
        self.session.close(&self.running);
    }
}

/// Requests of HTTP.
struct Stream {
    exchange: Arc<Exchange>,
    session: Arc<http::Session>,
    state: State,
    /// How an advertisement began, until it has told what the server can do.
    start: Option<Vec<u8>>,
}

/// A request goes out when its answer is first read: only then is it whole.
enum State {
    Writing(Vec<u8>),
    Ready(Call),
    /// The answer is known without asking.
    Told(Bytes),
    Reading {
        body: Incoming,
        rest: Bytes,
    },
    Ended,
}

impl Stream {
    fn advance(&mut self) -> Result<(), SourceError> {
        let session = &self.session;
        self.state = match std::mem::replace(&mut self.state, State::Ended) {
            State::Writing(body) => match self.exchange.foretold().filter(|_| refs::asks_what_is_shallow(&body)) {
                Some(foretold) => State::Told(foretold.shallow),
                None => State::Ready(Call { path: "/git-upload-pack", body: Some(body.into()), is_v2: false }),
            },
            State::Ready(call) => match session.send(&call)? {
                Answer::Body(body) => State::Reading { body, rest: Bytes::new() },
                Answer::Status(status) => return Err(session.unexpected(status)),
            },
            State::Reading { mut body, rest } if rest.is_empty() => match session.next_part(&mut body)? {
                Some(rest) => State::Reading { body, rest },
                None => State::Ended,
            },
            state @ (State::Told(_) | State::Reading { .. } | State::Ended) => state,
        };
        Ok(())
    }

    /// Looks at what comes for what the server can do.
    fn note(&mut self, part: &[u8]) {
        let Some(start) = &mut self.start else { return };
        start.extend_from_slice(part);
        let abilities = refs::abilities(start);
        if abilities.is_some() || start.len() > ABILITIES_BYTES_MAX {
            self.start = None;
        }
        if let Some(abilities) = abilities {
            self.exchange.learn(abilities);
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            match &mut self.state {
                State::Told(rest) | State::Reading { rest, .. } if !rest.is_empty() => {
                    let length = rest.len().min(buffer.len());
                    rest.copy_to_slice(&mut buffer[..length]);
                    self.note(&buffer[..length]);
                    return Ok(length);
                }
                State::Told(_) | State::Ended => return Ok(0),
                State::Writing(_) | State::Ready(_) | State::Reading { .. } => {
                    if let Err(error) = self.advance() {
                        return Err(failed(&self.exchange, error));
                    }
                }
            }
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        match &mut self.state {
            State::Writing(body) if body.len() + buffer.len() <= REQUEST_BYTES_MAX => {
                body.extend_from_slice(buffer);
                Ok(buffer.len())
            }
            State::Writing(_) => Err(std::io::Error::other("the request is too long")),
            State::Ready(_) | State::Told(_) | State::Reading { .. } | State::Ended => {
                Err(std::io::Error::other("the request was already sent"))
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

//! Lets libgit2 speak to the Git server through [`super::http`].
//!
//! Enters: the session of the poll under way, by [`with_session`]. Leaves: a remote whose requests go through it. libgit2
//! knows only the made-up URL [`URL`], so neither address nor credentials ever reach its files or messages.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::sync::{Arc, Once};

use bytes::{Buf, Bytes};
use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream, Transport};
use hyper::body::Incoming;

use super::http::{Answer, Call, Session};
use crate::world::SourceError;

/// The URL of every remote of ours.
pub(super) const URL: &str = "tidegate://repository";

/// A request is a list of wants and haves: libgit2 stops after 256 haves of 50 bytes each per round, but repeats them.
const REQUEST_BYTES_MAX: usize = 4 << 20;

thread_local! {
    static SESSION: RefCell<Option<Arc<Session>>> = const { RefCell::new(None) };
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
                let session = SESSION.with_borrow(Clone::clone);
                let session = session.ok_or_else(|| git2::Error::from_str("there is no session on this thread"))?;
                Transport::smart(remote, true, Subtransport { session })
            })
        };
        registered.expect("the scheme is ours alone and registered once");
    });
}

/// Runs `work` on this thread with the session that its remotes use.
pub(super) fn with_session<T>(session: &Arc<Session>, work: impl FnOnce() -> T) -> T {
    SESSION.set(Some(Arc::clone(session)));
    let result = work();
    SESSION.set(None);
    result
}

struct Subtransport {
    session: Arc<Session>,
}

impl SmartSubtransport for Subtransport {
    fn action(&self, _url: &str, action: Service) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        let state = match action {
            Service::UploadPackLs => {
                State::Ready(Call { path: "/info/refs?service=git-upload-pack", body: None, is_v2: false })
            }
            Service::UploadPack => State::Writing(Vec::new()),
            Service::ReceivePackLs | Service::ReceivePack => {
                return Err(git2::Error::from_str("this transport only reads"));
            }
        };
        Ok(Box::new(Stream { session: Arc::clone(&self.session), state }))
    }

    fn close(&self) -> Result<(), git2::Error> {
        Ok(())
    }
}

struct Stream {
    session: Arc<Session>,
    state: State,
}

/// A request goes out when its answer is first read: only then is it whole.
enum State {
    Writing(Vec<u8>),
    Ready(Call),
    Reading { body: Incoming, rest: Bytes },
    Ended,
}

impl Stream {
    fn advance(&mut self) -> Result<(), SourceError> {
        self.state = match std::mem::replace(&mut self.state, State::Ended) {
            State::Writing(body) => {
                State::Ready(Call { path: "/git-upload-pack", body: Some(body.into()), is_v2: false })
            }
            State::Ready(call) => match self.session.send(&call)? {
                Answer::Body(body) => State::Reading { body, rest: Bytes::new() },
                Answer::Status(status) => return Err(self.session.unexpected(status)),
            },
            State::Reading { mut body, rest } if rest.is_empty() => match self.session.next_part(&mut body)? {
                Some(rest) => State::Reading { body, rest },
                None => State::Ended,
            },
            state @ (State::Reading { .. } | State::Ended) => state,
        };
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            match &mut self.state {
                State::Reading { rest, .. } if !rest.is_empty() => {
                    let length = rest.len().min(buffer.len());
                    rest.copy_to_slice(&mut buffer[..length]);
                    return Ok(length);
                }
                State::Ended => return Ok(0),
                State::Writing(_) | State::Ready(_) | State::Reading { .. } => {
                    if let Err(error) = self.advance() {
                        self.session.fail(&error);
                        return Err(std::io::Error::other(error));
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
            State::Ready(_) | State::Reading { .. } | State::Ended => {
                Err(std::io::Error::other("the request was already sent"))
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

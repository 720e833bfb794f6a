//! Asks a server which refs it has, as cheaply as it lets us: by `ls-refs` of protocol v2, or by the advertisement of all.
//!
//! Enters: an exchange, prefixes of names. Leaves: the refs.

use bytes::Bytes;

use super::exchange::{Exchange, Wire};
use super::http::{self, Answer, Call};
use super::refs::{self, Ref, Section};
use super::ssh;
use crate::world::SourceError;

/// All refs of a repository: 65 bytes each, a million of them.
pub(super) const ADVERTISEMENT_BYTES_MAX: usize = 64 << 20;

/// How a server lists its refs, once seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// With `ls-refs`.
    V2,
    /// All of them, always.
    V0,
}

/// The refs of a server.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// Those that were asked for, and perhaps more.
    pub(super) refs: Vec<Ref>,
    /// Whether these are all that there are.
    pub(super) is_all: bool,
}

/// Asks for the refs below prefixes. `protocol` is what the server is known to speak, and is learned here. An answer to
/// `ls-refs` is read up to `bytes_max`.
pub(super) fn list(
    exchange: &Exchange,
    protocol: &mut Option<Protocol>,
    prefixes: &[&str],
    bytes_max: usize,
) -> Result<Listed, SourceError> {
    let (refs, spoken) = match &exchange.wire {
        Wire::Ssh(session) => by_ssh(session, prefixes, bytes_max)?,
        Wire::Http(session) => match *protocol {
            Some(Protocol::V0) => (advertised(session)?, Protocol::V0),
            None | Some(Protocol::V2) => match by_http(session, prefixes, bytes_max)? {
                Some(refs) => (refs, Protocol::V2),
                None => (advertised(session)?, Protocol::V0),
            },
        },
    };
    *protocol = Some(spoken);
    Ok(Listed { refs, is_all: spoken == Protocol::V0 })
}

/// Sends one `ls-refs`; `None` when the server does not understand it. One that fails over it is taken for one that does
/// not know it: a server that is broken fails the next request as well.
fn by_http(session: &http::Session, prefixes: &[&str], bytes_max: usize) -> Result<Option<Vec<Ref>>, SourceError> {
    let body = Some(Bytes::from(refs::request(prefixes)));
    let call = Call { path: "/git-upload-pack", body, is_v2: true };
    match session.send(&call)? {
        Answer::Status(_) => Ok(None),
        Answer::Body(body) => Ok(refs::parse(&session.read(body, bytes_max)?)),
    }
}

/// Asks for all refs, as every server can.
fn advertised(session: &http::Session) -> Result<Vec<Ref>, SourceError> {
    match session.send(&Call { path: "/info/refs?service=git-upload-pack", body: None, is_v2: false })? {
        Answer::Status(status) => Err(session.unexpected(status)),
        Answer::Body(body) => {
            refs::parse_http_advertisement(&session.read(body, ADVERTISEMENT_BYTES_MAX)?).ok_or_else(|| {
                SourceError::NoRepository("the answer is not that of a Git server over smart HTTP".to_owned())
            })
        }
    }
}

/// Runs one command. The server speaks first, and what it says shows which protocol it chose.
fn by_ssh(session: &ssh::Session, prefixes: &[&str], bytes_max: usize) -> Result<(Vec<Ref>, Protocol), SourceError> {
    let senseless = || SourceError::NoRepository("the answer is not that of a Git server".to_owned());
    let mut running = session.run(true)?;
    let mut received = Vec::new();
    let greeting = section(session, &mut running, &mut received, ADVERTISEMENT_BYTES_MAX)?.ok_or_else(senseless)?;
    let answer = match refs::speaks_ls_refs(&greeting) {
        Some(true) => {
            session.send(&running, refs::request(prefixes))?;
            let answer = section(session, &mut running, &mut received, bytes_max)?;
            answer.and_then(|answer| refs::parse(&answer)).map(|refs| (refs, Protocol::V2))
        }
        Some(false) => None,
        None => refs::parse_advertisement(&greeting).map(|refs| (refs, Protocol::V0)),
    };
    // Nothing more is asked: a server that is told so ends its command in peace.
    drop(session.send(&running, refs::END));
    session.close(&running);
    answer.ok_or_else(senseless)
}

/// Reads up to the mark that ends a list; `None` when what came is no list. What follows the mark stays in `received`.
fn section(
    session: &ssh::Session,
    running: &mut ssh::Running,
    received: &mut Vec<u8>,
    bytes_max: usize,
) -> Result<Option<Vec<u8>>, SourceError> {
    let mut read = 0;
    loop {
        match refs::section(received, &mut read) {
            Section::Whole => {
                let rest = received.split_off(read);
                return Ok(Some(std::mem::replace(received, rest)));
            }
            Section::Broken => return Ok(None),
            Section::Partial if received.len() > bytes_max => {
                return Err(SourceError::TooLarge(format!("the list of refs has more than {bytes_max} bytes")));
            }
            Section::Partial => match session.next_part(running)? {
                Some(part) => received.extend_from_slice(&part),
                None => return Ok(None),
            },
        }
    }
}

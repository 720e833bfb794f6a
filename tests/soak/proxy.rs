//! A way to the API server that can go silent: bytes of all present connections stop, and none of them is closed.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Forwards bytes between the agent and the API server; TLS goes through.
pub(crate) struct Proxy {
    address: SocketAddr,
    /// Connections that are older than this say nothing any more.
    silenced: Arc<AtomicU64>,
    opened: Arc<AtomicU64>,
}

impl Proxy {
    /// Forwards to `server`.
    pub(crate) fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (silenced, opened) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (until, count) = (Arc::clone(&silenced), Arc::clone(&opened));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let number = count.fetch_add(1, Ordering::SeqCst);
                // A server that is away refuses: the client's connection ends, as it would without us.
                let Ok(upstream) = TcpStream::connect(server) else { continue };
                let both = || Some((client.try_clone().ok()?, upstream.try_clone().ok()?));
                let (Some((client, to)), Some((back, from))) = (both(), both()) else { continue };
                let (one, other) = (Arc::clone(&until), Arc::clone(&until));
                std::thread::spawn(move || {
                    forward(&client, &to, || number < one.load(Ordering::SeqCst));
                    // The client is gone: nobody waits for anything any more.
                    close(&client, &to);
                });
                std::thread::spawn(move || {
                    let is_silent = || number < other.load(Ordering::SeqCst);
                    forward(&from, &back, is_silent);
                    // Of a silent connection the client hears nothing, not even its end.
                    if !is_silent() {
                        close(&from, &back);
                    }
                });
            }
        });
        Self { address, silenced, opened }
    }

    /// Where to connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// All present connections go silent for good; new ones work.
    pub(crate) fn silence(&self) {
        self.silenced.store(self.opened.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

fn forward(mut from: &TcpStream, mut to: &TcpStream, is_silent: impl Fn() -> bool) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(length) = from.read(&mut bytes) {
        if length == 0 || (!is_silent() && to.write_all(&bytes[..length]).is_err()) {
            return;
        }
    }
}

fn close(one: &TcpStream, other: &TcpStream) {
    // Either may be closed already.
    let _ = one.shutdown(Shutdown::Both);
    let _ = other.shutdown(Shutdown::Both);
}

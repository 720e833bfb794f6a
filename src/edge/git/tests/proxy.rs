//! An HTTP proxy on the loopback that counts and remembers what it was asked.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// A running proxy; it ends when dropped.
pub(super) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    wanted: Mutex<Option<String>>,
    log: Mutex<Vec<String>>,
    is_stopped: AtomicBool,
}

impl Proxy {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared::default());
        let (address, accepting) = (listener.local_addr().unwrap(), Arc::clone(&shared));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.is_stopped.load(Ordering::SeqCst) {
                    return;
                }
                let serving = Arc::clone(&accepting);
                std::thread::spawn(move || serving.serve(stream.unwrap()));
            }
        });
        Self { address, shared }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets only those through who send this header.
    pub(super) fn require(&self, authorization: &str) {
        *self.shared.wanted.lock().unwrap() = Some(authorization.to_owned());
    }

    /// First lines of requests since the last call.
    pub(super) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.log.lock().unwrap())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn serve(&self, client: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(client.try_clone().ok()?);
        let mut client = client;
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let first = lines.first()?.clone();
        self.log.lock().unwrap().push(first.clone());
        let wanted = self.wanted.lock().unwrap().clone();
        let shown = lines.iter().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("proxy-authorization").then(|| value.to_owned())
        });
        if wanted.is_some() && wanted != shown {
            let refusal = "HTTP/1.1 407 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            return client.write_all(refusal.as_bytes()).ok();
        }
        let mut words = first.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        let mut server;
        if method == "CONNECT" {
            server = TcpStream::connect(target).ok()?;
            client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").ok()?;
        } else {
            // A request that names its target whole; what is passed on names the path alone.
            let (host, path) = target.strip_prefix("http://")?.split_once('/')?;
            server = TcpStream::connect(host).ok()?;
            write!(server, "{method} /{path} HTTP/1.1\r\n").ok()?;
            let kept = lines[1..].iter().filter(|line| !line.to_ascii_lowercase().starts_with("proxy-"));
            for line in kept {
                write!(server, "{line}\r\n").ok()?;
            }
            server.write_all(b"\r\n").ok()?;
        }
        let (mut back, mut to_client) = (server.try_clone().ok()?, client.try_clone().ok()?);
        std::thread::spawn(move || {
            drop(std::io::copy(&mut back, &mut to_client));
            drop(to_client.shutdown(Shutdown::Both));
        });
        drop(std::io::copy(&mut reader, &mut server));
        drop(server.shutdown(Shutdown::Write));
        Some(())
    }
}

//! A Git server on the loopback: `git http-backend` behind a few lines of HTTP, one thread per connection, that can be
//! told to misbehave. It keeps a log of what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How the server answers.
#[derive(Clone, Debug)]
pub(super) enum Manner {
    /// As Git does.
    Serve,
    /// As Git did before protocol v2.
    Old,
    /// With this status and these header lines.
    Refuse(u16, &'static str),
    /// Not at all.
    Stall,
    /// With the start of an answer to a fetch, then silence.
    StallInPack,
    /// With an answer to a fetch whose pack is spoilt: cut to this part of a hundred, or whole with one byte changed there.
    SpoilPack { at_percent: usize, is_cut: bool },
    /// With a redirect of everything below the first folder to the second.
    Redirect(&'static str, String),
    /// With this content, said to be of this kind.
    Say { kind: &'static str, body: Vec<u8> },
    /// With the start of a head (or the head of an endless body, when it is empty), and then with the same part again and
    /// again, unless it is nothing.
    Endless { head: String, part: Vec<u8> },
    /// With a pack that goes on and on.
    EndlessPack,
    /// With this pack, whatever was asked for.
    Pack(Vec<u8>),
    /// With one byte after the other.
    Trickle,
    /// With less than it says to send.
    Cut,
}

/// The head of an answer whose length is not told.
const ENDLESS: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";

/// A running server; it ends when dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    root: PathBuf,
    manner: Mutex<Manner>,
    authorization: Mutex<Option<String>>,
    log: Mutex<Vec<String>>,
    sent_bytes: AtomicU64,
    is_stopped: AtomicBool,
    tls: Option<Arc<rustls::ServerConfig>>,
}

impl Server {
    pub(super) fn start(root: &Path) -> Self {
        Self::listen(root, "127.0.0.1:0".parse().unwrap(), None)
    }

    pub(super) fn listen(root: &Path, address: SocketAddr, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let shared = Arc::new(Shared {
            root: root.to_owned(),
            manner: Mutex::new(Manner::Serve),
            authorization: Mutex::new(None),
            log: Mutex::new(Vec::new()),
            sent_bytes: AtomicU64::new(0),
            is_stopped: AtomicBool::new(false),
            tls,
        });
        let address = listener.local_addr().unwrap();
        let accepting = Arc::clone(&shared);
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
        let scheme = if self.shared.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://localhost:{}/repository.git", self.address.port())
    }

    pub(super) fn behave(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap() = manner;
    }

    pub(super) fn require(&self, authorization: &str) {
        *self.shared.authorization.lock().unwrap() = Some(authorization.to_owned());
    }

    /// Bytes of answers since the last call, without their heads.
    pub(super) fn take_sent_bytes(&self) -> u64 {
        self.shared.sent_bytes.swap(0, Ordering::SeqCst)
    }

    /// What was asked since the last call.
    pub(super) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.log.lock().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

/// A request as it came.
#[derive(Default)]
struct Asked {
    method: String,
    target: String,
    content_type: String,
    protocol: Option<String>,
    authorization: Option<String>,
    body: Vec<u8>,
}

impl Shared {
    fn serve(&self, stream: TcpStream) {
        // Errors are those of clients that went away, which is what some tests are about.
        let _ = match &self.tls {
            None => self.exchange(stream),
            Some(config) => {
                let connection = rustls::ServerConnection::new(Arc::clone(config)).unwrap();
                self.exchange(rustls::StreamOwned::new(connection, stream))
            }
        };
    }

    fn exchange(&self, stream: impl Read + Write) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        let asked = receive(&mut stream)?;
        self.log.lock().unwrap().push(format!("{} {}", asked.method, asked.target));
        let wanted = self.authorization.lock().unwrap().clone();
        if wanted.is_some() && wanted != asked.authorization {
            return answer(stream.get_mut(), "401 Unauthorized", "", b"");
        }
        let manner = self.manner.lock().unwrap().clone();
        match manner {
            Manner::Serve => self.run(&asked, true, stream.get_mut()),
            Manner::Old => self.run(&asked, false, stream.get_mut()),
            Manner::Refuse(status, headers) => answer(stream.get_mut(), &format!("{status} No"), headers, b""),
            Manner::StallInPack if !asked.body.ends_with(b"done\n") => self.run(&asked, true, stream.get_mut()),
            Manner::StallInPack => {
                let start = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n0008NAK\n";
                stream.get_mut().write_all(start)?;
                stream.get_mut().flush()?;
                stream.read_to_end(&mut Vec::new()).map(drop)
            }
            Manner::SpoilPack { .. } => self.run(&asked, true, stream.get_mut()),
            Manner::Stall => stream.read_to_end(&mut Vec::new()).map(drop),
            Manner::Say { kind, body } => {
                answer(stream.get_mut(), "200 OK", &format!("Content-Type: {kind}\r\n"), &body)
            }
            Manner::Endless { head, part } => {
                let head = if head.is_empty() { ENDLESS } else { &head };
                stream.get_mut().write_all(head.as_bytes())?;
                while !part.is_empty() {
                    stream.get_mut().write_all(&part)?;
                }
                stream.get_mut().flush()
            }
            Manner::EndlessPack if !asked.body.ends_with(b"done\n") => self.run(&asked, true, stream.get_mut()),
            Manner::EndlessPack => {
                stream.get_mut().write_all(format!("{ENDLESS}0008NAK\n").as_bytes())?;
                // Side band 2, what people are told: it never becomes a pack.
                let mut part = format!("{:04x}\u{2}", 60_005).into_bytes();
                part.resize(60_005, b'.');
                loop {
                    stream.get_mut().write_all(&part)?;
                }
            }
            Manner::Pack(_) if !asked.body.ends_with(b"done\n") => self.run(&asked, true, stream.get_mut()),
            Manner::Pack(pack) => {
                let mut body = format!("0008NAK\n{:04x}\u{1}", pack.len() + 5).into_bytes();
                body.extend([pack.as_slice(), b"0000"].concat());
                answer(stream.get_mut(), "200 OK", "", &body)
            }
            Manner::Trickle => {
                stream.get_mut().write_all(ENDLESS.as_bytes())?;
                loop {
                    // Within the time between two signs of life, and for ever.
                    std::thread::park_timeout(Duration::from_millis(50));
                    stream.get_mut().write_all(b"0")?;
                    stream.get_mut().flush()?;
                }
            }
            Manner::Cut => {
                let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n003d";
                stream.get_mut().write_all(head.as_bytes())
            }
            Manner::Redirect(from, to) => match asked.target.strip_prefix(from) {
                Some(rest) => answer(stream.get_mut(), "301 Moved", &format!("Location: {to}{rest}\r\n"), b""),
                None => self.run(&asked, true, stream.get_mut()),
            },
        }
    }

    fn run(&self, asked: &Asked, may_be_v2: bool, stream: &mut impl Write) -> std::io::Result<()> {
        let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
        let mut command = Command::new("git");
        command
            .arg("http-backend")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_PROJECT_ROOT", &self.root)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("PATH_INFO", path)
            .env("QUERY_STRING", query)
            .env("REQUEST_METHOD", &asked.method)
            .env("CONTENT_TYPE", &asked.content_type)
            .env("CONTENT_LENGTH", asked.body.len().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if let (Some(protocol), true) = (&asked.protocol, may_be_v2) {
            command.env("GIT_PROTOCOL", protocol);
        }
        let mut child = command.spawn()?;
        // Requests are shorter than a pipe's buffer; a program that ends early closes its side.
        drop(child.stdin.take().unwrap().write_all(&asked.body));
        let output = child.wait_with_output()?.stdout;
        let end = output.windows(4).position(|part| part == b"\r\n\r\n").unwrap_or(0);
        let headers = String::from_utf8_lossy(&output[..end]);
        let status = headers.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
        let kept: String =
            headers.lines().filter(|line| !line.starts_with("Status")).map(|line| format!("{line}\r\n")).collect();
        let mut body = output.get(end + 4..).unwrap_or_default().to_vec();
        if let Manner::SpoilPack { at_percent, is_cut } = *self.manner.lock().unwrap()
            && asked.body.ends_with(b"done\n")
        {
            let at = body.len() * at_percent / 100;
            if is_cut {
                body.truncate(at);
            } else {
                body[at] ^= 0x55;
            }
        }
        self.sent_bytes.fetch_add(body.len() as u64, Ordering::SeqCst);
        answer(stream, status, &kept, &body)
    }
}

fn receive(stream: &mut impl BufRead) -> std::io::Result<Asked> {
    let mut asked = Asked::default();
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let mut words = line.split(' ').map(ToOwned::to_owned);
    asked.method = words.next().unwrap_or_default();
    asked.target = words.next().unwrap_or_default();
    let mut length = 0;
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "content-type" => asked.content_type = value.to_owned(),
            "git-protocol" => asked.protocol = Some(value.to_owned()),
            "authorization" => asked.authorization = Some(value.to_owned()),
            _ => {}
        }
    }
    asked.body = vec![0; length];
    stream.read_exact(&mut asked.body)?;
    Ok(asked)
}

fn answer(stream: &mut impl Write, status: &str, headers: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n")?;
    stream.write_all(body)?;
    stream.flush()
}

//! A metrics provider in the hands of the story: it has no data until the story opens the gate, so a wave stands for as
//! long as the story needs it to, and not a moment longer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::child::lock;

/// Answers Prometheus queries with nothing, or with the value that the story chose.
pub(crate) struct Gatekeeper {
    address: SocketAddr,
    value: Arc<Mutex<Option<f64>>>,
    is_over: Arc<AtomicBool>,
}

impl Gatekeeper {
    /// A closed gate.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (value, is_over) = (Arc::new(Mutex::new(None)), Arc::new(AtomicBool::new(false)));
        let (shown, ends) = (Arc::clone(&value), Arc::clone(&is_over));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                let value = *lock(&shown);
                // Whoever asks and goes away asks again.
                let _ = answer(stream, value);
            }
        });
        Self { address, value, is_over }
    }

    /// Its base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on every query gives 1.
    pub(crate) fn open(&self) {
        *lock(&self.value) = Some(1.0);
    }

    /// From now on there is no data (again).
    pub(crate) fn close(&self) {
        *lock(&self.value) = None;
    }

    /// From now on every query gives 0: the gate shuts for good.
    pub(crate) fn refuse(&self) {
        *lock(&self.value) = Some(0.0);
    }
}

impl Drop for Gatekeeper {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

/// Reads a whole request: a socket that is closed over unread bytes is reset, and the answer may be lost with it.
fn read_request(stream: &TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream);
    let mut body = 0;
    loop {
        let mut line = String::new();
        lines.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(("content-length", length)) = line.trim().to_ascii_lowercase().split_once(": ") {
            body = length.parse().unwrap_or(0);
        }
    }
    std::io::copy(&mut lines.take(body), &mut std::io::sink()).map(drop)
}

fn answer(mut stream: TcpStream, value: Option<f64>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    read_request(&stream)?;
    let result = value.map_or_else(String::new, |value| format!(r#"{{"metric":{{}},"value":[0,"{value}"]}}"#));
    let body = format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{result}]}}}}"#);
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

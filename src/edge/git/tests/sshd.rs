//! OpenSSH's own server on the loopback: each connection is handed to an `sshd -i` through a relay that counts bytes, and
//! that can be told to fall silent or to break off.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// How the connection goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Line {
    /// All the way.
    Good,
    /// It breaks, and the server dies, after so many bytes of the server.
    Cut(u64),
    /// It falls silent after so many bytes of the server.
    Stall(u64),
}

/// A running server; it ends when dropped.
pub(super) struct Sshd {
    pub(super) port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    folder: PathBuf,
    line: Mutex<Line>,
    connections: AtomicU64,
    sent_bytes: AtomicU64,
    children: Mutex<Vec<Child>>,
    is_stopped: AtomicBool,
}

impl Sshd {
    /// Starts a server that keeps its files in `folder`, has one host key of each of these kinds, and takes the variable
    /// `GIT_PROTOCOL` or not.
    pub(super) fn start(folder: &Path, kinds: &[&str], takes_protocol: bool) -> Self {
        assert!(Path::new("/usr/sbin/sshd").exists(), "install openssh-server: `.ci/tools` does");
        // As root it wants this folder; as anybody else it does without.
        drop(std::fs::create_dir_all("/run/sshd"));
        let mut config = String::from(
            "StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n",
        );
        for kind in kinds {
            config.push_str(&format!("HostKey {}\n", make_key(folder, &format!("host_{kind}"), kind, "").display()));
        }
        config.push_str(&format!("AuthorizedKeysFile {}\n", folder.join("authorized_keys").display()));
        if takes_protocol {
            config.push_str("AcceptEnv GIT_PROTOCOL\n");
        }
        std::fs::write(folder.join("sshd_config"), config).unwrap();
        std::fs::write(folder.join("authorized_keys"), "").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared {
            folder: folder.to_owned(),
            line: Mutex::new(Line::Good),
            connections: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            children: Mutex::new(Vec::new()),
            is_stopped: AtomicBool::new(false),
        });
        let port = listener.local_addr().unwrap().port();
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.is_stopped.load(Ordering::SeqCst) {
                    return;
                }
                accepting.serve(&stream.unwrap());
            }
        });
        Self { port, shared }
    }

    /// The URL of a path of this machine.
    pub(super) fn url(&self, path: &Path) -> String {
        format!("ssh://{}@localhost:{}{}", user(), self.port, path.display())
    }

    /// Lets the owner of a key in.
    pub(super) fn authorize(&self, key: &Path) {
        let mut authorized = std::fs::OpenOptions::new();
        let mut file = authorized.append(true).open(self.shared.folder.join("authorized_keys")).unwrap();
        file.write_all(&std::fs::read(key.with_extension("pub")).unwrap()).unwrap();
    }

    /// A line of `known_hosts` for the host key of a kind.
    pub(super) fn known_host(&self, kind: &str) -> String {
        let key = std::fs::read_to_string(self.shared.folder.join(format!("host_{kind}.pub"))).unwrap();
        format!("[localhost]:{} {key}", self.port)
    }

    pub(super) fn behave(&self, line: Line) {
        *self.shared.line.lock().unwrap() = line;
    }

    /// Connections so far.
    pub(super) fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Bytes of the server since the last call.
    pub(super) fn take_sent_bytes(&self) -> u64 {
        self.shared.sent_bytes.swap(0, Ordering::SeqCst)
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        for child in self.shared.children.lock().unwrap().iter_mut() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl Shared {
    fn serve(self: &Arc<Self>, client: &TcpStream) {
        self.connections.fetch_add(1, Ordering::SeqCst);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let end = |stream: &UnixStream| Stdio::from(OwnedFd::from(stream.try_clone().unwrap()));
        let child = Command::new("/usr/sbin/sshd")
            .args(["-i", "-e", "-f"])
            .arg(self.folder.join("sshd_config"))
            .stdin(end(&theirs))
            .stdout(end(&theirs))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        drop(theirs);
        let at = {
            let mut children = self.children.lock().unwrap();
            children.push(child);
            children.len() - 1
        };
        let (mut from_client, mut to_server) = (client.try_clone().unwrap(), ours.try_clone().unwrap());
        std::thread::spawn(move || {
            drop(std::io::copy(&mut from_client, &mut to_server));
            drop(to_server.shutdown(Shutdown::Write));
        });
        let (shared, mut to_client, mut from_server) = (Arc::clone(self), client.try_clone().unwrap(), ours);
        std::thread::spawn(move || {
            drop(shared.relay(&mut from_server, &mut to_client));
            // Silence keeps the line open.
            if !matches!(*shared.line.lock().unwrap(), Line::Stall(_)) {
                drop(to_client.shutdown(Shutdown::Both));
                drop(from_server.shutdown(Shutdown::Both));
                drop(shared.children.lock().unwrap()[at].kill());
            }
        });
    }

    fn relay(&self, from: &mut UnixStream, to: &mut TcpStream) -> std::io::Result<()> {
        let mut buffer = [0; 4096];
        let mut sent = 0;
        loop {
            let length = from.read(&mut buffer)?;
            let is_over = match *self.line.lock().unwrap() {
                Line::Good => false,
                Line::Cut(bytes) | Line::Stall(bytes) => sent >= bytes,
            };
            if length == 0 || is_over {
                return Ok(());
            }
            to.write_all(&buffer[..length])?;
            sent += length as u64;
            self.sent_bytes.fetch_add(length as u64, Ordering::SeqCst);
        }
    }
}

/// Makes a key pair, and returns the file of the private one.
pub(super) fn make_key(folder: &Path, name: &str, kind: &str, passphrase: &str) -> PathBuf {
    let path = folder.join(name);
    let bits: &[&str] = if kind == "rsa" { &["-b", "2048"] } else { &[] };
    let made = Command::new("ssh-keygen")
        .args(["-q", "-C", "", "-t", kind, "-N", passphrase, "-f"])
        .arg(&path)
        .args(bits)
        .status()
        .unwrap();
    assert!(made.success());
    path
}

/// Who runs this test: nobody else can be logged in without being root.
pub(super) fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

//! An admission webhook in the hands of the story: HTTPS on a port of loopback, asked by the API server about what
//! happens in the story's own namespace and nowhere else.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::patience::{PATIENCE, until};
use super::plane::Plane;
use super::story::Story;

/// What the webhook says of one request.
pub(crate) enum Judgement {
    /// So be it.
    Allow,
    /// So be it, with these operations of a JSON patch.
    Patch(Value),
    /// No, in these words.
    Deny(&'static str),
    /// Nothing, for as long as somebody listens.
    Silence,
}

/// Judges one request: the object that is to be, and how many requests came before.
type Judge = dyn Fn(&Value, usize) -> Judgement + Send + Sync;

/// A registered webhook. Dropped, it is taken out of the API server's configuration again, and then ends.
pub(crate) struct Webhook {
    plane: Arc<Plane>,
    resource: &'static str,
    name: String,
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
}

impl Webhook {
    /// One that may change what it is asked about.
    #[track_caller]
    pub(crate) fn mutating(story: &Story, judge: impl Fn(&Value, usize) -> Judgement + Send + Sync + 'static) -> Self {
        Self::start(story, "MutatingWebhookConfiguration", Box::new(judge))
    }

    /// One that may only refuse.
    #[track_caller]
    pub(crate) fn validating(
        story: &Story,
        judge: impl Fn(&Value, usize) -> Judgement + Send + Sync + 'static,
    ) -> Self {
        Self::start(story, "ValidatingWebhookConfiguration", Box::new(judge))
    }

    /// Serves, registers, and waits until the API server asks.
    #[track_caller]
    fn start(story: &Story, kind: &'static str, judge: Box<Judge>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (tls, authority) = identity();
        let asked = Arc::new(AtomicUsize::new(0));
        let is_over = Arc::new(AtomicBool::new(false));
        let (counter, ends, judge) = (Arc::clone(&asked), Arc::clone(&is_over), Arc::<Judge>::from(judge));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                let (tls, counter, judge) = (Arc::clone(&tls), Arc::clone(&counter), Arc::clone(&judge));
                // Whoever asks and goes away asks again.
                std::thread::spawn(move || answer(stream, tls, &counter, &*judge));
            }
        });
        let name = format!("{}.example.com", story.namespace);
        let resource =
            if kind.starts_with('M') { "mutatingwebhookconfiguration" } else { "validatingwebhookconfiguration" };
        let plane = Arc::clone(&story.plane);
        let webhook = Self { plane, resource, name, address, is_over };
        webhook.plane.apply(&webhook.configuration(kind, &story.namespace, &authority).to_string());
        let probe = ["-n", &story.namespace, "create", "configmap", "probe", "--dry-run=server"];
        let is_asked = until(PATIENCE, || {
            let _ = webhook.plane.kubectl_output(&probe, "");
            asked.load(Ordering::Relaxed) > 0
        });
        assert!(is_asked, "the API server does not ask the webhook");
        webhook
    }

    fn configuration(&self, kind: &str, namespace: &str, authority: &str) -> Value {
        let rule = |group: &str, resources: &[&str]| json!({"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": resources});
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": self.name},
            "webhooks": [{
                "name": self.name,
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "timeoutSeconds": 1,
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "rules": [rule("", &["configmaps", "services"]), rule("apps", &["deployments"])],
                "clientConfig": {"url": format!("https://{}/", self.address), "caBundle": BASE64.encode(authority)},
            }],
        })
    }

    /// Its name, as refusals give it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        let _ = self.plane.kubectl_output(&["delete", self.resource, &self.name, "--ignore-not-found"], "");
        self.is_over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

/// A certificate for the loopback address, and the PEM of the authority that signed it.
fn identity() -> (Arc<ServerConfig>, String) {
    let mut parameters = CertificateParams::new(Vec::new()).expect("no name is malformed");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = || KeyPair::generate().expect("keys can be made");
    let authority = CertifiedIssuer::self_signed(parameters, key()).expect("it signs itself");
    let own = key();
    let names = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address is a name");
    let certificate = names.signed_by(&own, &authority).expect("the authority signs");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks them")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own.serialize_der())),
        )
        .expect("the key is the certificate's");
    (Arc::new(config), authority.pem())
}

fn answer(stream: TcpStream, tls: Arc<ServerConfig>, asked: &AtomicUsize, judge: &Judge) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let connection = ServerConnection::new(tls).map_err(std::io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    let review: Value = serde_json::from_slice(&read_request(&mut stream)?)?;
    let request = &review["request"];
    let mut response = json!({"uid": request["uid"], "allowed": true});
    match judge(&request["object"], asked.fetch_add(1, Ordering::Relaxed)) {
        Judgement::Allow => {}
        Judgement::Patch(operations) => {
            response["patchType"] = json!("JSONPatch");
            response["patch"] = json!(BASE64.encode(operations.to_string()));
        }
        Judgement::Deny(words) => {
            response["allowed"] = json!(false);
            response["status"] = json!({"message": words});
        }
        Judgement::Silence => return std::io::copy(&mut stream, &mut std::io::sink()).map(drop),
    }
    let body =
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}).to_string();
    let length = body.len();
    let stream = stream.get_mut();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// The body of a request.
fn read_request(lines: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        lines.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(("content-length", value)) = line.trim().to_ascii_lowercase().split_once(": ") {
            length = value.parse().unwrap_or(0);
        }
    }
    let mut body = Vec::new();
    lines.take(length).read_to_end(&mut body)?;
    Ok(body)
}

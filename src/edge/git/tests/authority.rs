//! An authority for certificates, made for one test.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;

pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// Whom a server lets in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// Anybody.
    Open,
    /// Who shows a certificate of the server's own authority.
    Guarded,
    /// Anybody, but its own certificate is long expired.
    Expired,
    /// Anybody, but its certificate is for another name.
    Elsewhere,
    /// Anybody, but nobody else vouches for its certificate.
    Alone,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap())
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A server for `localhost`.
    pub(super) fn server(&self, door: Door) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let name = if door == Door::Elsewhere { "elsewhere.example" } else { "localhost" };
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if door == Door::Expired {
            parameters.not_before = date_time_ymd(2020, 1, 1);
            parameters.not_after = date_time_ymd(2021, 1, 1);
        }
        let certificate = match door {
            Door::Alone => parameters.self_signed(&key).unwrap(),
            Door::Open | Door::Guarded | Door::Expired | Door::Elsewhere => {
                parameters.signed_by(&key, &self.0).unwrap()
            }
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
        let builder = match door {
            Door::Open | Door::Expired | Door::Elsewhere | Door::Alone => builder.with_no_client_auth(),
            Door::Guarded => {
                let mut roots = RootCertStore::empty();
                roots.add(self.0.der().clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.unwrap())
            }
        };
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Arc::new(builder.with_single_cert(vec![certificate.der().clone()], key).unwrap())
    }

    /// A client's certificate and key.
    pub(super) fn client(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(vec!["tidegate".to_owned()]).unwrap();
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        (parameters.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

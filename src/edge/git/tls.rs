//! Whom we trust over TLS, and who we are there. Enters: PEM texts. Leaves: a TLS configuration. The private key never leaves
//! in an error.

use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::credentials::Identity;
use crate::world::SourceError;

/// Makes the TLS configuration that trusts a bundle, or the system's authorities, and shows a certificate of ours when
/// there is one and the server asks for it.
pub(super) fn configuration(
    authorities: Option<&[u8]>,
    identity: Option<&Identity>,
) -> Result<ClientConfig, SourceError> {
    let distrust = |why: String| SourceError::Access(format!("no authority to trust for TLS: {why}"));
    let builder = builder();
    let builder = match authorities {
        None => builder.with_native_roots().map_err(|error| distrust(error.to_string()))?,
        Some(bundle) => {
            let mut roots = rustls::RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(bundle) {
                let certificate =
                    certificate.map_err(|error| distrust(format!("the CA file is not valid PEM: {error}")))?;
                roots.add(certificate).map_err(|error| distrust(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(distrust("the CA file has no certificate".to_owned()));
            }
            builder.with_root_certificates(roots)
        }
    };
    let Some(identity) = identity else { return Ok(builder.with_no_client_auth()) };
    let unusable = |file: &str, why: &str| SourceError::Access(format!("{}/{file}: {why}", identity.folder.display()));
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&identity.certificate).flatten().collect();
    if chain.is_empty() {
        return Err(unusable("tls.crt", "has no certificate in PEM"));
    }
    let key = PrivateKeyDer::from_pem_slice(&identity.key)
        .map_err(|_| unusable("tls.key", "has no private key in PEM (encrypted ones cannot be read)"))?;
    builder.with_client_auth_cert(chain, key).map_err(|_| {
        unusable("tls.key", "is not the key of the certificate in tls.crt, or of a kind that is not known")
    })
}

/// Makes one for plain HTTP, which trusts nobody: an image without any authorities must be able to use it.
pub(super) fn unused() -> ClientConfig {
    builder().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
}

fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions of TLS")
}

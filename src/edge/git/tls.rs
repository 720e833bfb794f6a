//! Whom we trust over TLS. Enters: a bundle of authorities, or none for the system's. Leaves: a TLS configuration.

use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::world::SourceError;

/// Makes the TLS configuration that trusts a bundle, or the system's authorities.
pub(super) fn configuration(authorities: Option<&[u8]>) -> Result<ClientConfig, SourceError> {
    let distrust = |why: String| SourceError::Access(format!("no authority to trust for TLS: {why}"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions of TLS");
    let Some(bundle) = authorities else {
        let builder = builder.with_native_roots().map_err(|error| distrust(error.to_string()))?;
        return Ok(builder.with_no_client_auth());
    };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle) {
        let certificate = certificate.map_err(|error| distrust(format!("the CA file is not valid PEM: {error}")))?;
        roots.add(certificate).map_err(|error| distrust(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(distrust("the CA file has no certificate".to_owned()));
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

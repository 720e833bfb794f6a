//! X.509 signatures: a CMS over the object, whose certificate leads to an authority that we trust.
//!
//! The certificate has to be valid when the signature says it was made, and be meant for signing code or mail. That time is
//! the signer's word: no transparency log and no time stamp is asked, and no list of revoked certificates.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cms::cert::CertificateChoices;
use cms::cert::x509::Certificate;
use cms::cert::x509::attr::Attributes;
use cms::cert::x509::der::asn1::{GeneralizedTime, ObjectIdentifier, OctetString, UtcTime};
use cms::cert::x509::der::{Decode, Encode};
use cms::cert::x509::ext::pkix::name::GeneralName;
use cms::cert::x509::ext::pkix::{SubjectAltName, SubjectKeyIdentifier};
use cms::content_info::ContentInfo;
use cms::signed_data::{SignedData, SignerIdentifier, SignerInfo};
use jiff::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use sha2::{Digest, Sha256, Sha384, Sha512};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert, ring};

use super::{CLOCK_AHEAD_MAX, SignatureKind, Verdict, shown};

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SIGNING_TIME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.5");
const ALTERNATIVE_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const KEY_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
const SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA_512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");

/// What certificates may be meant for: 1.3.6.1.5.5.7.3.3 is code, 1.3.6.1.5.5.7.3.4 is mail.
const USAGES: [KeyUsage; 2] = [
    KeyUsage::required_if_present(&[43, 6, 1, 5, 5, 7, 3, 3]),
    KeyUsage::required_if_present(&[43, 6, 1, 5, 5, 7, 3, 4]),
];

/// Algorithms of certificates in a chain.
const CHAIN_ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    ring::ECDSA_P256_SHA256,
    ring::ECDSA_P256_SHA384,
    ring::ECDSA_P384_SHA256,
    ring::ECDSA_P384_SHA384,
    ring::ED25519,
    ring::RSA_PKCS1_2048_8192_SHA256,
    ring::RSA_PKCS1_2048_8192_SHA384,
    ring::RSA_PKCS1_2048_8192_SHA512,
];

/// Certificates in one signature: a chain has three or four.
const CERTIFICATES_MAX: usize = 16;

/// Authorities, and whom of those they vouch for may sign.
#[derive(Debug, Default)]
pub(super) struct Authorities {
    anchors: Vec<TrustAnchor<'static>>,
    /// Nobody named is everybody.
    identities: Option<Vec<String>>,
}

impl Authorities {
    pub(super) fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }

    pub(super) fn is_restricted(&self) -> bool {
        self.identities.is_some()
    }

    /// Reads a bundle of certificates.
    pub(super) fn read(&mut self, text: &str) -> Result<(), &'static str> {
        for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
            let certificate = certificate.map_err(|_| "the PEM is broken")?;
            let anchor = anchor_from_trusted_cert(&certificate).map_err(|_| "a certificate in it is broken")?;
            self.anchors.push(anchor.to_owned());
        }
        if self.is_empty() { Err("holds no certificate (PEM)") } else { Ok(()) }
    }

    /// Reads the file of those who may sign: an e-mail address or URI a line.
    pub(super) fn restrict(&mut self, text: &str) {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        self.identities = Some(lines.map(str::to_owned).collect());
    }
}

/// Judges a signature.
pub(super) fn verify(payload: &[u8], armored: &str, authorities: &Authorities, now: Timestamp) -> Verdict {
    match judge(payload, armored, authorities, now) {
        Ok(signer) => Verdict::Good { signer, kind: SignatureKind::X509 },
        Err(Refusal::Unknown(key)) => Verdict::UnknownKey { kind: SignatureKind::X509, key },
        Err(Refusal::Bad(reason)) => Verdict::Bad { reason },
    }
}

enum Refusal {
    Unknown(String),
    Bad(String),
}

fn bad<T>(reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Bad(reason.into()))
}

fn judge(payload: &[u8], armored: &str, authorities: &Authorities, now: Timestamp) -> Result<String, Refusal> {
    let Some(signed) = read(armored) else {
        return bad("it is not a CMS that can be read (DER, as gitsign and smimesign write it); sign again");
    };
    let (Some(info), 1) = (signed.signer_infos.0.iter().next(), signed.signer_infos.0.len()) else {
        return bad("there is not exactly one in it; sign again");
    };
    if signed.encap_content_info.econtent.is_some() || signed.encap_content_info.econtent_type != DATA {
        return bad("it brings bytes of its own; sign with git itself");
    }
    let certificates = signed.certificates.iter().flat_map(|set| set.0.iter());
    let certificates: Vec<&Certificate> = certificates
        .filter_map(|each| match each {
            CertificateChoices::Certificate(certificate) => Some(certificate),
            CertificateChoices::Other(_) => None,
        })
        .collect();
    if certificates.len() > CERTIFICATES_MAX {
        return bad("it brings too many certificates");
    }
    let Some(signer) = certificates.iter().find(|each| is_of(&info.sid, each)) else {
        return bad("the certificate of the signer is not in it; sign again");
    };
    let made = what_was_signed(info, payload)?;
    if made > now + CLOCK_AHEAD_MAX {
        return bad(format!("it says it was made at {made}, which is still to come; set the clock and sign again"));
    }
    let chain: Result<Vec<_>, _> = certificates.iter().map(|each| each.to_der().map(CertificateDer::from)).collect();
    let (Ok(chain), Ok(own)) = (chain, signer.to_der().map(CertificateDer::from)) else {
        return bad("a certificate in it is broken");
    };
    let Ok(entity) = EndEntityCert::try_from(&own) else {
        return bad("the certificate of the signer is broken");
    };
    check_bytes(info, &entity)?;
    let name = name_of(signer);
    check_chain(&entity, &chain, authorities, made, &name)?;
    match &authorities.identities {
        Some(allowed) if !identities(signer).iter().any(|identity| allowed.contains(identity)) => {
            bad(format!("the file identities does not name {name}; add a line there if it may sign"))
        }
        Some(_) | None => Ok(name),
    }
}

fn read(armored: &str) -> Option<SignedData> {
    let body: String = armored.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
    let bytes = STANDARD.decode(body).ok()?;
    let content = ContentInfo::from_der(&bytes).ok()?;
    (content.content_type == SIGNED_DATA).then_some(())?;
    content.content.decode_as().ok()
}

fn is_of(named: &SignerIdentifier, certificate: &Certificate) -> bool {
    let own = &certificate.tbs_certificate;
    match named {
        SignerIdentifier::IssuerAndSerialNumber(named) => {
            named.issuer == own.issuer && named.serial_number == own.serial_number
        }
        SignerIdentifier::SubjectKeyIdentifier(named) => {
            let extension = own.extensions.iter().flatten().find(|each| each.extn_id == KEY_IDENTIFIER);
            let identifier = extension.and_then(|each| SubjectKeyIdentifier::from_der(each.extn_value.as_bytes()).ok());
            identifier.as_ref() == Some(named)
        }
    }
}

/// That the signed attributes are of these bytes, and when they were made.
fn what_was_signed(info: &SignerInfo, payload: &[u8]) -> Result<Timestamp, Refusal> {
    let digest = match info.digest_alg.oid {
        SHA_256 => Sha256::digest(payload).to_vec(),
        SHA_384 => Sha384::digest(payload).to_vec(),
        SHA_512 => Sha512::digest(payload).to_vec(),
        _ => return bad("its hash is not one of SHA-256, SHA-384 and SHA-512; sign with one of them"),
    };
    let Some(attributes) = &info.signed_attrs else {
        return bad("it has no signed attributes, so no time; sign with git itself");
    };
    let kind = attribute(attributes, CONTENT_TYPE).and_then(|value| value.decode_as::<ObjectIdentifier>().ok());
    let stated = attribute(attributes, MESSAGE_DIGEST).and_then(|value| value.decode_as::<OctetString>().ok());
    if kind != Some(DATA) || stated.is_none_or(|stated| stated.as_bytes() != digest) {
        return bad("it is not over these bytes: the object or the signature was changed");
    }
    let time = attribute(attributes, SIGNING_TIME).and_then(|value| {
        let short = value.decode_as::<UtcTime>().map(|time| time.to_unix_duration());
        short.or_else(|_| value.decode_as::<GeneralizedTime>().map(|time| time.to_unix_duration())).ok()
    });
    let time = time.and_then(|time| Timestamp::from_second(time.as_secs().try_into().ok()?).ok());
    time.map_or_else(|| bad("it does not say when it was made; sign again"), Ok)
}

/// The value of an attribute that is there once and has one value.
fn attribute(attributes: &Attributes, wanted: ObjectIdentifier) -> Option<&cms::cert::x509::der::Any> {
    let mut found = attributes.iter().filter(|each| each.oid == wanted);
    let (attribute, None) = (found.next()?, found.next()) else { return None };
    (attribute.values.len() == 1).then(|| attribute.values.get(0)).flatten()
}

/// That the signer's key signed the attributes.
fn check_bytes(info: &SignerInfo, entity: &EndEntityCert<'_>) -> Result<(), Refusal> {
    let algorithms: [&dyn SignatureVerificationAlgorithm; 4] = match info.digest_alg.oid {
        SHA_256 => [ring::ECDSA_P256_SHA256, ring::ECDSA_P384_SHA256, ring::RSA_PKCS1_2048_8192_SHA256, ring::ED25519],
        SHA_384 => [ring::ECDSA_P256_SHA384, ring::ECDSA_P384_SHA384, ring::RSA_PKCS1_2048_8192_SHA384, ring::ED25519],
        _ => [ring::RSA_PKCS1_2048_8192_SHA512, ring::ED25519, ring::ED25519, ring::ED25519],
    };
    // As a SET in DER, which is what is signed, not as the field that carries it.
    let Some(Ok(signed)) = info.signed_attrs.as_ref().map(Encode::to_der) else {
        return bad("its signed attributes are broken");
    };
    let signature = info.signature.as_bytes();
    if algorithms.iter().any(|algorithm| entity.verify_signature(*algorithm, &signed, signature).is_ok()) {
        return Ok(());
    }
    bad("it was not made with the key of its certificate, or with an algorithm that is not supported; sign again")
}

/// That the certificate leads to an authority of ours, was valid then, and is meant for this.
fn check_chain(
    entity: &EndEntityCert<'_>,
    chain: &[CertificateDer<'_>],
    authorities: &Authorities,
    made: Timestamp,
    name: &str,
) -> Result<(), Refusal> {
    let seconds = u64::try_from(made.as_second()).unwrap_or(0);
    let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let check = |usage| {
        let anchors = &authorities.anchors;
        entity.verify_for_usage(CHAIN_ALGORITHMS, anchors, chain, time, usage, None, None).map(|_| ())
    };
    let (code, mail) = (check(USAGES[0]), check(USAGES[1]));
    // Whatever else is wrong says more than that one of the two is not what the certificate is for.
    let error = match (code, mail) {
        (Ok(()), _) | (_, Ok(())) => return Ok(()),
        (Err(webpki::Error::RequiredEkuNotFoundContext(_)), Err(error)) | (Err(error), Err(_)) => error,
    };
    match error {
        webpki::Error::UnknownIssuer => {
            Err(Refusal::Unknown(format!("of {name}, whose certificate leads to no authority in ca.crt,")))
        }
        webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. } => bad(format!(
            "it says it was made at {made}, when the certificate of {name} or of one above it was not valid"
        )),
        webpki::Error::RequiredEkuNotFoundContext(_) => {
            bad(format!("the certificate of {name} is neither for signing code nor for signing mail"))
        }
        other => bad(format!("the certificate of {name} does not hold: {other}")),
    }
}

/// Addresses and URIs that a certificate is of.
fn identities(certificate: &Certificate) -> Vec<String> {
    let extensions = certificate.tbs_certificate.extensions.iter().flatten();
    let names = extensions.filter(|each| each.extn_id == ALTERNATIVE_NAME);
    let names = names.filter_map(|each| SubjectAltName::from_der(each.extn_value.as_bytes()).ok());
    let texts = names.flat_map(|names| names.0).filter_map(|name| match name {
        GeneralName::Rfc822Name(address) => Some(address.to_string()),
        GeneralName::UniformResourceIdentifier(address) => Some(address.to_string()),
        _ => None,
    });
    texts.collect()
}

/// Whom a certificate is of, to be shown.
fn name_of(certificate: &Certificate) -> String {
    let identities = identities(certificate).join(", ");
    if identities.is_empty() { shown(&certificate.tbs_certificate.subject.to_string()) } else { shown(&identities) }
}

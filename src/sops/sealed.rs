//! One `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]` -> the value in it.
//!
//! Enters: the text, the data key, and what the value is bound to. Leaves: the value, or nothing when it does not open.

use aes_gcm::aead::consts::U32;
use aes_gcm::aead::{AeadInPlace, KeyInit};
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, Nonce, Tag};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use zeroize::Zeroizing;

/// How every encrypted value begins.
pub(super) const OPENING: &str = "ENC[AES256_GCM,";

/// An encrypted value, taken apart.
pub(super) struct Sealed<'a> {
    data: Vec<u8>,
    nonce: [u8; 32],
    tag: [u8; 16],
    kind: &'a str,
}

/// What was in it, as bytes that are wiped, and what they stand for.
pub(super) struct Opened<'a> {
    bytes: Zeroizing<Vec<u8>>,
    kind: &'a str,
}

/// A value, and what of it the MAC covers.
pub(super) struct Typed {
    pub(super) value: Value,
    pub(super) hashed: Zeroizing<String>,
}

impl<'a> Sealed<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let rest = text.strip_prefix(OPENING)?.strip_prefix("data:")?.strip_suffix(']')?;
        let (data, rest) = rest.split_once(",iv:")?;
        let (nonce, rest) = rest.split_once(",tag:")?;
        let (tag, kind) = rest.split_once(",type:")?;
        Some(Self {
            data: STANDARD.decode(data).ok()?,
            nonce: STANDARD.decode(nonce).ok()?.try_into().ok()?,
            tag: STANDARD.decode(tag).ok()?.try_into().ok()?,
            kind,
        })
    }

    pub(super) fn open(self, key: &[u8; 32], bound_to: &[u8]) -> Option<Opened<'a>> {
        let cipher = AesGcm::<Aes256, U32>::new(key.into());
        let mut bytes = Zeroizing::new(self.data);
        let (nonce, tag) = (Nonce::from_slice(&self.nonce), Tag::from_slice(&self.tag));
        cipher.decrypt_in_place_detached(nonce, bound_to, &mut bytes, tag).ok()?;
        Some(Opened { bytes, kind: self.kind })
    }
}

impl Opened<'_> {
    /// The value that the bytes stand for. Which kind it is says `type`, which neither the encryption nor the MAC covers.
    pub(super) fn typed(self) -> Option<Typed> {
        let text = std::str::from_utf8(&self.bytes).ok()?;
        let (value, hashed) = match self.kind {
            "str" | "bytes" | "time" => (Value::from(text), text.to_owned()),
            "int" => {
                let number: i64 = text.parse().ok()?;
                (Value::from(number), number.to_string())
            }
            "float" => {
                let number: f64 = text.parse().ok()?;
                // 3.0 is 3 for SOPS, and JSON writes it so.
                let whole = text.parse::<i64>().ok().map(Value::from);
                (whole.or_else(|| serde_json::Number::from_f64(number).map(Value::from))?, number.to_string())
            }
            "bool" => match text {
                "True" | "true" => (Value::from(true), "True".to_owned()),
                "False" | "false" => (Value::from(false), "False".to_owned()),
                _ => return None,
            },
            _ => return None,
        };
        Some(Typed { value, hashed: Zeroizing::new(hashed) })
    }
}

/// Opens one text whose kind is of no interest.
pub(super) fn open(text: &str, key: &[u8; 32], bound_to: &[u8]) -> Result<Zeroizing<Vec<u8>>, ()> {
    Sealed::parse(text).and_then(|sealed| sealed.open(key, bound_to)).map(|opened| opened.bytes).ok_or(())
}

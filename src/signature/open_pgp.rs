//! OpenPGP signatures, and the keys that may make them.
//!
//! A signature counts when its bytes are right and its key could sign at the time that it claims: by the newest statements of
//! the key about itself, not expired then, not revoked (as compromised: ever; as superseded or retired: by then), bound both
//! ways when it is a subkey. SHA-1 and MD5 count nowhere, except to take a key away.

use std::fmt::Write;

use jiff::Timestamp;
use pgp::composed::{Deserializable, DetachedSignature, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{RevocationCode, Signature, SignatureType, SignatureVersion, SubpacketData};
use pgp::types::{Duration, KeyDetails, Tag, VerifyingKey};

use super::{CLOCK_AHEAD_MAX, SignatureKind, Verdict, shown};

/// Keys in all files together: each signature looks through them.
const KEYS_MAX: usize = 1000;

/// Keys that may sign.
#[derive(Debug, Default)]
pub(super) struct Keyring {
    keys: Vec<SignedPublicKey>,
}

impl Keyring {
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Adds the keys of a file; several blocks may stand one after the other.
    pub(super) fn add(&mut self, text: &str) -> Result<(), &'static str> {
        const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
        if text.contains("PRIVATE KEY BLOCK") {
            return Err(
                "holds a secret key, which does not belong here; export the public one with `gpg --armor --export`",
            );
        }
        let starts: Vec<usize> = text.match_indices(BEGIN).map(|(at, _)| at).collect();
        if starts.is_empty() {
            return Err("holds no armored OpenPGP key; export one with `gpg --armor --export`");
        }
        for (index, start) in starts.iter().enumerate() {
            let end = starts.get(index + 1).copied().unwrap_or(text.len());
            let block = &text.as_bytes()[*start..end];
            let (keys, _) =
                SignedPublicKey::from_armor_many(block).map_err(|_| "the armor is broken; export it again")?;
            for key in keys {
                self.merge(key.map_err(|_| "an OpenPGP key in it is broken; export it again")?);
            }
        }
        if self.keys.len() > KEYS_MAX {
            return Err("with this file there are more than 1,000 OpenPGP keys");
        }
        Ok(())
    }

    /// Adds a key, or what a further copy of it says: an old copy does not hide that the new one is revoked.
    fn merge(&mut self, new: SignedPublicKey) {
        let fingerprint = new.primary_key.fingerprint();
        let Some(known) = self.keys.iter_mut().find(|each| each.primary_key.fingerprint() == fingerprint) else {
            self.keys.push(new);
            return;
        };
        known.details.revocation_signatures.extend(new.details.revocation_signatures);
        known.details.direct_signatures.extend(new.details.direct_signatures);
        for user in new.details.users {
            match known.details.users.iter_mut().find(|each| each.id.id() == user.id.id()) {
                Some(known) => known.signatures.extend(user.signatures),
                None => known.details.users.push(user),
            }
        }
        for subkey in new.public_subkeys {
            match known.public_subkeys.iter_mut().find(|each| each.key.fingerprint() == subkey.key.fingerprint()) {
                Some(known) => known.signatures.extend(subkey.signatures),
                None => known.public_subkeys.push(subkey),
            }
        }
    }
}

/// Judges a signature.
pub(super) fn verify(payload: &[u8], armored: &str, keyring: &Keyring, now: Timestamp) -> Verdict {
    let signature = match read(armored) {
        Ok(signature) => signature,
        Err(reason) => return Verdict::bad(reason),
    };
    let made = match time_of(&signature, now) {
        Ok(made) => made,
        Err(reason) => return Verdict::bad(reason),
    };
    let mut reason = None;
    for key in &keyring.keys {
        let judged = if names(&signature, &key.primary_key) {
            judge(payload, &signature, &key.primary_key, || primary_may_sign(key, made))
        } else if let Some(subkey) = key.public_subkeys.iter().find(|subkey| names(&signature, &subkey.key)) {
            judge(payload, &signature, &subkey.key, || subkey_may_sign(key, subkey, made))
        } else {
            continue;
        };
        match judged {
            Ok(()) => return Verdict::Good { signer: name_of(key, now), kind: SignatureKind::OpenPgp },
            Err(why) => {
                reason = reason.or(Some(format!("{why} (key {} of {})", hex(&key.primary_key), name_of(key, now))));
            }
        }
    }
    match reason {
        Some(reason) => Verdict::Bad { reason },
        None => Verdict::UnknownKey { kind: SignatureKind::OpenPgp, key: issuer(&signature) },
    }
}

/// The one signature in the armor, if it is of a kind that may count.
fn read(armored: &str) -> Result<Signature, String> {
    let broken = || "it is not an OpenPGP signature that can be read; sign again".to_owned();
    let (signatures, _) = DetachedSignature::from_armor_many(armored.as_bytes()).map_err(|_| broken())?;
    let signatures: Result<Vec<_>, _> = signatures.take(2).collect();
    let mut signatures = signatures.map_err(|_| broken())?;
    let (Some(signature), true) = (signatures.pop(), signatures.is_empty()) else {
        return Err("there is not exactly one in it; sign again".to_owned());
    };
    let signature = signature.signature;
    if signature.typ() != Some(SignatureType::Binary) {
        return Err("it is not over bytes as they are; sign with git itself".to_owned());
    }
    if !matches!(signature.version(), SignatureVersion::V4 | SignatureVersion::V6) {
        return Err("it is of a version of OpenPGP that is not used any more; sign again with a current gpg".to_owned());
    }
    if !is_strong(&signature) {
        return Err("its hash is not safe any more (SHA-1, MD5 or unknown); set `digest-algo SHA256` in gpg.conf and sign again".to_owned());
    }
    if has_unknown_condition(&signature) {
        return Err("it makes a condition that is not understood (a critical subpacket); sign without it".to_owned());
    }
    Ok(signature)
}

/// When it was made, if it counts at all by now.
fn time_of(signature: &Signature, now: Timestamp) -> Result<Timestamp, String> {
    let made = signature.created().and_then(|made| moment(made.as_secs()));
    let made = made.ok_or_else(|| "it does not say when it was made; sign again".to_owned())?;
    if made > now + CLOCK_AHEAD_MAX {
        return Err(format!("it says it was made at {made}, which is still to come; set the clock and sign again"));
    }
    match signature.signature_expiration_time().map(Duration::as_secs) {
        Some(life) if life > 0 && after(made, life) <= now => {
            Err(format!("it expired at {}; sign again", after(made, life)))
        }
        Some(_) | None => Ok(made),
    }
}

/// Whether the signature says that it is of this key. A wrong word does not help: the bytes have to agree.
fn names(signature: &Signature, key: &impl KeyDetails) -> bool {
    signature.issuer_fingerprint().into_iter().any(|named| *named == key.fingerprint())
        || signature.issuer_key_id().into_iter().any(|named| *named == key.legacy_key_id())
}

fn judge(
    payload: &[u8],
    signature: &Signature,
    key: &impl VerifyingKey,
    may_sign: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    let changed = |_| "it is not over these bytes: the object or the signature was changed".to_owned();
    signature.verify(key, payload).map_err(changed)?;
    may_sign()
}

fn primary_may_sign(key: &SignedPublicKey, made: Timestamp) -> Result<(), String> {
    let own = alive(key, made)?;
    // Without the subpacket a primary key may do what its algorithm can.
    if key_flags(own).is_some_and(|may_sign| !may_sign) {
        return Err("the key may certify, but not sign".to_owned());
    }
    Ok(())
}

fn subkey_may_sign(key: &SignedPublicKey, subkey: &SignedPublicSubKey, made: Timestamp) -> Result<(), String> {
    alive(key, made)?;
    let signatures =
        || subkey.signatures.iter().filter(|each| each.verify_subkey_binding(&key.primary_key, &subkey.key).is_ok());
    for revocation in signatures().filter(|each| each.typ() == Some(SignatureType::SubkeyRevocation)) {
        if let Some(reason) = ended_by(revocation, made) {
            return Err(format!("the subkey {reason}"));
        }
    }
    let bindings = signatures().filter(|each| each.typ() == Some(SignatureType::SubkeyBinding) && counts(each));
    let Some(binding) = bindings.max_by_key(|each| each.created()) else {
        return Err("the subkey is not bound to its key".to_owned());
    };
    if key_flags(binding) != Some(true) {
        return Err("the subkey may not sign".to_owned());
    }
    let back = binding.embedded_signature().filter(|back| counts(back));
    if back.is_none_or(|back| back.verify_primary_key_binding(&subkey.key, &key.primary_key).is_err()) {
        return Err("the subkey itself does not say that it belongs to its key".to_owned());
    }
    lives(subkey.key.created_at().as_secs(), binding.key_expiration_time().map(Duration::as_secs), made)
        .map_err(|why| format!("the subkey {why}"))
}

/// The newest statement of a key about itself, if the key was alive at that time.
fn alive(key: &SignedPublicKey, made: Timestamp) -> Result<&Signature, String> {
    let primary = &key.primary_key;
    for revocation in &key.details.revocation_signatures {
        let is_own = revocation.typ() == Some(SignatureType::KeyRevocation) && revocation.verify_key(primary).is_ok();
        if let Some(reason) = is_own.then(|| ended_by(revocation, made)).flatten() {
            return Err(format!("the key {reason}"));
        }
    }
    let direct = key.details.direct_signatures.iter();
    let direct = direct
        .filter(|each| each.typ() == Some(SignatureType::Key) && counts(each) && each.verify_key(primary).is_ok());
    let direct = direct.max_by_key(|each| each.created());
    let users = users(key).map(|(_, signature)| signature).max_by_key(|each| each.created());
    let life = |own: Option<&Signature>| own.and_then(Signature::key_expiration_time).map(Duration::as_secs);
    let Some(own) = users.or(direct) else {
        return Err("the key has no valid user id of its own (SHA-1 does not count); renew it with `gpg --quick-set-expire`, and export it again".to_owned());
    };
    for life in [life(users), life(direct)] {
        lives(primary.created_at().as_secs(), life, made).map_err(|why| format!("the key {why}"))?;
    }
    Ok(own)
}

/// User ids that the key claims and has not taken back, each with the newest claim.
fn users(key: &SignedPublicKey) -> impl Iterator<Item = (&str, &Signature)> {
    key.details.users.iter().filter_map(|user| {
        let own = || {
            user.signatures
                .iter()
                .filter(|each| each.verify_certification(&key.primary_key, Tag::UserId, &user.id).is_ok())
        };
        let claim = own().filter(|each| each.is_certification() && counts(each)).max_by_key(|each| each.created())?;
        let is_taken_back =
            own().any(|each| each.typ() == Some(SignatureType::CertRevocation) && each.created() >= claim.created());
        (!is_taken_back).then(|| (user.id.as_str().unwrap_or("a user id that is no text"), claim))
    })
}

/// How a revocation ended the key for signatures of that time.
fn ended_by(revocation: &Signature, made: Timestamp) -> Option<String> {
    let revoked = revocation.created().and_then(|at| moment(at.as_secs()));
    let is_soft =
        matches!(revocation.revocation_reason_code(), Some(RevocationCode::KeySuperseded | RevocationCode::KeyRetired));
    match revoked {
        Some(revoked) if is_soft && made < revoked => None,
        Some(revoked) if is_soft => Some(format!("was retired at {revoked}, before it signed; sign with the new key")),
        Some(_) | None => Some("was revoked; sign with another key".to_owned()),
    }
}

/// Whether a key of that age was alive at that time.
fn lives(created: u32, life: Option<u32>, made: Timestamp) -> Result<(), String> {
    let created = moment(created).ok_or("has no age")?;
    if made < created {
        return Err(format!("was made at {created}, after the signature of {made}"));
    }
    match life {
        Some(life) if life > 0 && after(created, life) <= made => Err(format!(
            "expired at {}, before it signed at {made}; renew it, export it again and sign again",
            after(created, life)
        )),
        Some(_) | None => Ok(()),
    }
}

/// Whether a statement of a key about itself counts.
fn counts(signature: &Signature) -> bool {
    is_strong(signature) && signature.created().is_some() && !has_unknown_condition(signature)
}

fn is_strong(signature: &Signature) -> bool {
    matches!(
        signature.hash_alg(),
        Some(
            HashAlgorithm::Sha256
                | HashAlgorithm::Sha384
                | HashAlgorithm::Sha512
                | HashAlgorithm::Sha3_256
                | HashAlgorithm::Sha3_512
        )
    )
}

/// Whether it has a subpacket that has to be understood and is not.
fn has_unknown_condition(signature: &Signature) -> bool {
    let Some(config) = signature.config() else { return true };
    config.hashed_subpackets().any(|each| {
        let is_unknown = matches!(
            each.data,
            SubpacketData::Notation(_) | SubpacketData::Experimental(..) | SubpacketData::Other(..)
        );
        each.is_critical && is_unknown
    })
}

/// Whether a key may sign, if its statement says what it may.
fn key_flags(own: &Signature) -> Option<bool> {
    own.config()?.hashed_subpackets().find_map(|each| match &each.data {
        SubpacketData::KeyFlags(flags) => Some(flags.sign()),
        _ => None,
    })
}

fn moment(seconds: u32) -> Option<Timestamp> {
    Timestamp::from_second(i64::from(seconds)).ok()
}

/// Seconds of OpenPGP are of 32 bits: two of them end in the year 2242.
fn after(from: Timestamp, seconds: u32) -> Timestamp {
    Timestamp::from_second(from.as_second() + i64::from(seconds)).unwrap_or(Timestamp::MAX)
}

/// Who the owner of a key says to be, the newest claim first.
fn name_of(key: &SignedPublicKey, now: Timestamp) -> String {
    let is_past = |each: &Signature| each.created().and_then(|at| moment(at.as_secs())).is_some_and(|at| at <= now);
    let users = users(key).filter(|(_, claim)| is_past(claim));
    let name = users.max_by_key(|(_, claim)| (claim.is_primary(), claim.created())).map(|(name, _)| name);
    name.map_or_else(|| hex(&key.primary_key), shown)
}

/// The key that a signature names.
fn issuer(signature: &Signature) -> String {
    let fingerprint = signature.issuer_fingerprint().into_iter().next().map(|named| bytes_hex(named.as_bytes()));
    let key_id = || signature.issuer_key_id().into_iter().next().map(|named| bytes_hex(named.as_ref()));
    fingerprint.or_else(key_id).unwrap_or_else(|| "that it does not name".to_owned())
}

fn hex(key: &impl KeyDetails) -> String {
    bytes_hex(key.fingerprint().as_bytes())
}

fn bytes_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02X}").expect("a String takes what is written");
        text
    })
}

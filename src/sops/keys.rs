//! The folder of keys -> keys, and with them the data key of a file.
//!
//! Enters: files by name. `*.agekey` holds age identities (`AGE-SECRET-KEY-1…`, one a line) or one SSH private key without
//! a passphrase; `*.asc` OpenPGP secret keys, whose passphrase, if they have one, stands in the file of the same name with
//! the ending `.passphrase`. Key material is in no error and in no debug output.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::str::FromStr;

use age::armor::ArmoredReader;
use pgp::composed::{DecryptionOptions, Deserializable, Message, SignedSecretKey, TheRing};
use pgp::types::{Password, SecretParams};
use zeroize::Zeroizing;

use super::SopsError;
use super::metadata::{Recipient, RecipientKind};

/// Bytes of one key file: a large OpenPGP key with all its signatures has 100 KB.
const FILE_BYTES_MAX: usize = 1 << 20;
/// Keys of one kind: each is tried for each recipient.
const KEYS_MAX: usize = 64;

/// A file in the folder of keys that is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct KeysError {
    /// The file.
    pub file: String,
    /// What is wrong, and what to do.
    pub problem: String,
}

/// Keys that open files.
#[derive(Default)]
pub struct Keys {
    age: Vec<Box<dyn age::Identity + Send + Sync>>,
    open_pgp: Vec<(SignedSecretKey, Password)>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Keys({} age, {} OpenPGP)", self.age.len(), self.open_pgp.len())
    }
}

impl Keys {
    /// Reads the files of a folder. Names that begin with a dot are none of ours: a mounted Secret has some.
    ///
    /// # Errors
    /// The first file that is of no use: a key that was forgotten is better found here than when it is needed.
    pub fn from_files(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Result<Self, KeysError> {
        let files = files.into_iter().filter(|(name, _)| !name.starts_with('.'));
        let files: BTreeMap<String, Zeroizing<Vec<u8>>> =
            files.map(|(name, bytes)| (name, Zeroizing::new(bytes))).collect();
        let mut keys = Self::default();
        for (name, bytes) in &files {
            let wrong = |problem: &str| KeysError { file: name.clone(), problem: problem.to_owned() };
            let text = std::str::from_utf8(bytes).map_err(|_| wrong("not a text; export keys with --armor"))?;
            if bytes.len() > FILE_BYTES_MAX {
                return Err(wrong("larger than any key"));
            }
            match name.rsplit_once('.') {
                Some((_, "agekey")) => keys.age.extend(age_identities(text).map_err(&wrong)?),
                Some((stem, "asc")) => {
                    let passphrase = files.get(&format!("{stem}.passphrase"));
                    let passphrase = passphrase.map(|bytes| bytes.trim_ascii_end());
                    keys.open_pgp.extend(open_pgp_keys(text, passphrase).map_err(&wrong)?);
                }
                Some((stem, "passphrase")) if files.contains_key(&format!("{stem}.asc")) => {}
                Some((stem, "passphrase")) => {
                    return Err(wrong(&format!("there is no {stem}.asc that it would unlock")));
                }
                Some(_) | None => return Err(wrong("not a key: names end in .agekey, .asc or .passphrase")),
            }
            if keys.age.len() > KEYS_MAX || keys.open_pgp.len() > KEYS_MAX {
                return Err(wrong(&format!("with this file there are more than {KEYS_MAX} keys of a kind")));
            }
        }
        Ok(keys)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.age.is_empty() && self.open_pgp.is_empty()
    }

    /// The data key, from the first recipient that one of the keys belongs to.
    pub(super) fn open(&self, recipients: &[Recipient]) -> Result<Zeroizing<[u8; 32]>, SopsError> {
        let names = || recipients.iter().map(|recipient| recipient.name.clone()).collect();
        if self.is_empty() {
            return Err(SopsError::NoKeys(names()));
        }
        let opened = recipients.iter().find_map(|recipient| match recipient.kind {
            RecipientKind::Age => self.open_age(&recipient.wrapped),
            RecipientKind::OpenPgp => self.open_pgp(&recipient.wrapped),
        });
        opened.ok_or_else(|| SopsError::NoKey(names()))
    }

    fn open_age(&self, wrapped: &str) -> Option<Zeroizing<[u8; 32]>> {
        let decryptor = age::Decryptor::new_buffered(ArmoredReader::new(wrapped.as_bytes())).ok()?;
        let identities = self.age.iter().map(|identity| -> &dyn age::Identity { identity.as_ref() });
        data_key(decryptor.decrypt(identities).ok()?)
    }

    fn open_pgp(&self, wrapped: &str) -> Option<Zeroizing<[u8; 32]>> {
        self.open_pgp.iter().find_map(|(key, password)| {
            let (message, _) = Message::from_armor(wrapped.as_bytes()).ok()?;
            let ring = TheRing {
                secret_keys: vec![key],
                key_passwords: vec![password],
                // What gpg 2.3 and later write for keys of their own making.
                decrypt_options: DecryptionOptions::new().enable_gnupg_aead(),
                ..TheRing::default()
            };
            let (mut message, _) = message.decrypt_the_ring(ring, true).ok()?;
            if message.is_compressed() {
                message = message.decompress().ok()?;
            }
            data_key(message)
        })
    }
}

/// A data key has 32 bytes; not one byte more is read than it takes to see that.
fn data_key(from: impl Read) -> Option<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(64));
    from.take(33).read_to_end(&mut bytes).ok()?;
    bytes.as_slice().try_into().ok().map(Zeroizing::new)
}

fn age_identities(text: &str) -> Result<Vec<Box<dyn age::Identity + Send + Sync>>, &'static str> {
    if text.trim_start().starts_with("-----BEGIN ") {
        return match age::ssh::Identity::from_buffer(text.trim_start().as_bytes(), None) {
            Ok(age::ssh::Identity::Unencrypted(key)) => Ok(vec![Box::new(age::ssh::Identity::Unencrypted(key))]),
            Ok(age::ssh::Identity::Encrypted(_)) => {
                Err("the SSH key has a passphrase; give a copy without one (`ssh-keygen -p -N ''`) or an age key")
            }
            Ok(age::ssh::Identity::Unsupported(_)) => Err("only ed25519 and RSA keys of SSH can decrypt"),
            Err(_) => Err("not an SSH private key that can be read"),
        };
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut found: Vec<Box<dyn age::Identity + Send + Sync>> = Vec::new();
    for line in lines {
        if line.starts_with("age1") {
            return Err("holds a recipient (public); the identity that `age-keygen` wrote is needed");
        }
        let identity = age::x25519::Identity::from_str(line);
        found.push(Box::new(identity.map_err(|_| "a line is no identity such as AGE-SECRET-KEY-1…")?));
    }
    if found.is_empty() {
        return Err("holds no identity such as AGE-SECRET-KEY-1…");
    }
    Ok(found)
}

fn open_pgp_keys(text: &str, passphrase: Option<&[u8]>) -> Result<Vec<(SignedSecretKey, Password)>, &'static str> {
    if text.contains("-----BEGIN PGP PUBLIC KEY BLOCK-----") {
        return Err("holds a public key; export the secret one with `gpg --armor --export-secret-keys`");
    }
    let (keys, _) =
        SignedSecretKey::from_armor_many(text.as_bytes()).map_err(|_| "not an armored OpenPGP secret key")?;
    let mut found = Vec::new();
    for key in keys {
        let key = key.map_err(|_| "an OpenPGP secret key in it is broken")?;
        // A primary key that stayed at home leaves a stub that looks locked: with subkeys, those decrypt.
        let subkeys = key.secret_subkeys.iter().map(|subkey| subkey.key.secret_params());
        let primary = key.secret_subkeys.is_empty().then(|| key.primary_key.secret_params());
        let is_locked = subkeys.chain(primary).any(|secret| match secret {
            SecretParams::Encrypted(_) => true,
            SecretParams::Plain(_) => false,
        });
        let password = match passphrase {
            Some(passphrase) => Password::from(passphrase),
            None if is_locked => {
                return Err(
                    "the OpenPGP key has a passphrase; put it into the file of the same name that ends in .passphrase",
                );
            }
            None => Password::empty(),
        };
        found.push((key, password));
    }
    if found.is_empty() { Err("holds no OpenPGP secret key") } else { Ok(found) }
}

//! Passwords of devices: how they are hashed, checked and made up.

use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};

use super::random;

/// Memory of one hash, in KiB. This and the next two are the least that OWASP's Password Storage Cheat Sheet asks of Argon2id
/// (m=19456, t=2, p=1).
const HASH_KIB: u32 = 19_456;

/// Passes over that memory.
const HASH_PASSES: u32 = 2;

/// Lanes.
const HASH_LANES: u32 = 1;

/// Most memory that a hash in the devices file may ask for, in KiB, since it is taken whenever somebody tries the name.
const HASH_KIB_MAX: u32 = 256 << 10;

/// Most passes that it may ask for.
const HASH_PASSES_MAX: u32 = 16;

/// Longest password, in bytes. A longer one is wrong.
pub const PASSWORD_BYTES_MAX: usize = 4_096;

/// What a made-up password begins with, so that one that leaked is known for what it is.
const TOKEN_PREFIX: &str = "rhd_";

/// Bytes that say whose it is.
const TOKEN_ID_BYTES: usize = 6;

/// Bytes that nobody guesses.
const TOKEN_SECRET_BYTES: usize = 20;

/// A made-up password: `rhd_`, 12 hexadecimal digits that say whose it is, and 40 that are the secret.
pub struct DeviceToken {
    /// All of it.
    pub text: String,
    /// The part that says whose it is, which is no secret.
    pub id: String,
}

impl DeviceToken {
    /// Makes one up.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn new() -> std::io::Result<Self> {
        let id = hex(&random::<TOKEN_ID_BYTES>()?);
        let text = format!("{TOKEN_PREFIX}{id}{}", hex(&random::<TOKEN_SECRET_BYTES>()?));
        Ok(Self { text, id })
    }

    /// The part of a password that says whose it is, if it is a made-up one.
    pub(super) fn id_of(password: &[u8]) -> Option<&str> {
        let rest = std::str::from_utf8(password).ok()?.strip_prefix(TOKEN_PREFIX)?;
        let is_whole = rest.len() == 2 * (TOKEN_ID_BYTES + TOKEN_SECRET_BYTES);
        if is_whole { rest.get(..2 * TOKEN_ID_BYTES) } else { None }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hashes a password for the devices file, with a salt of its own. Takes tens of milliseconds.
///
/// # Errors
/// The system gives no random bytes, or no memory.
pub fn hash(password: &[u8]) -> Result<String, argon2::password_hash::Error> {
    let params = Params::new(HASH_KIB, HASH_PASSES, HASH_LANES, None)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password(password).map(|hash| hash.to_string())
}

/// Whether a password is the one that was hashed. Takes as long as the hash asks for, whatever the password is; the
/// comparison takes the same time for all.
pub(super) fn is_right(password: &[u8], hash: &str) -> bool {
    Argon2::default().verify_password(password, hash).is_ok()
}

/// Whether a text is a hash that can be checked, within bounds.
pub(super) fn is_hash(text: &str) -> bool {
    let Ok(hash) = PasswordHash::new(text) else { return false };
    let Ok(params) = Params::try_from(&hash) else { return false };
    hash.algorithm.as_str() == "argon2id"
        && hash.hash.is_some()
        && hash.salt.is_some()
        && params.m_cost() <= HASH_KIB_MAX
        && params.t_cost() <= HASH_PASSES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_right_for_its_own_hash_only() {
        let hashes = [hash(b"one").unwrap(), hash(b"one").unwrap()];
        assert_ne!(hashes[0], hashes[1], "each has its salt");
        assert!(hashes[0].starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hashes[0]);
        assert!(hashes.iter().all(|hash| is_hash(hash) && is_right(b"one", hash) && !is_right(b"two", hash)));
        assert!(!is_right(b"", &hashes[0]));
    }

    #[test]
    fn only_hashes_within_bounds_are_hashes() {
        let salt_and_hash = "c29tZXNhbHQxMjM0NTY$RdescudvJCsgt3ub+b4dWRWJTmaaJObGRdescudvJCs";
        for (text, expected) in [
            (format!("$argon2id$v=19$m=19456,t=2,p=1${salt_and_hash}"), true),
            (format!("$argon2id$v=19$m=2000000,t=2,p=1${salt_and_hash}"), false),
            (format!("$argon2id$v=19$m=19456,t=99,p=1${salt_and_hash}"), false),
            (format!("$argon2i$v=19$m=19456,t=2,p=1${salt_and_hash}"), false),
            ("$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQxMjM0NTY".to_owned(), false),
            ("$2b$12$abcdefghijklmnopqrstuv".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(is_hash(&text), expected, "{text}");
        }
    }

    #[test]
    fn a_made_up_password_says_whose_it_is() {
        let (one, two) = (DeviceToken::new().unwrap(), DeviceToken::new().unwrap());
        assert_ne!(one.text, two.text);
        assert_eq!(DeviceToken::id_of(one.text.as_bytes()), Some(one.id.as_str()));
        assert_eq!(one.text.len(), 4 + 12 + 40);
        for other in ["", "rhd_", "rhd_0123456789ab", "secret", &one.text[1..], &format!("{}0", one.text)] {
            assert_eq!(DeviceToken::id_of(other.as_bytes()), None, "{other}");
        }
    }
}

//! Credentials that were found right not long ago, so that a fleet that reconnects does not cost a hash for each of its
//! devices.
//!
//! What is kept is a keyed hash (HMAC-SHA256) of them, with a key that this process made up and keeps to itself: it shows
//! nothing, and nobody can find one by trying.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::{Admitted, random};

/// Most of them: some 15 MB. One more, and all are forgotten but that one.
const REMEMBERED_MAX: usize = 131_072;

/// What stands for credentials.
pub(super) type Tag = [u8; 32];

/// The right credentials.
pub(super) struct Remembered {
    keyed: Hmac<Sha256>,
    known: Mutex<HashMap<Tag, Admitted>>,
}

impl fmt::Debug for Remembered {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Remembered")
    }
}

impl Remembered {
    pub(super) fn new() -> io::Result<Self> {
        let key: [u8; 32] = random()?;
        let keyed = Hmac::new_from_slice(&key).map_err(io::Error::other)?;
        Ok(Self { keyed, known: Mutex::default() })
    }

    /// What stands for a secret that is checked with `with`: other credentials have another.
    pub(super) fn tag(&self, with: &str, secret: &[u8]) -> Tag {
        let mut keyed = self.keyed.clone();
        keyed.update(&(with.len() as u64).to_be_bytes());
        keyed.update(with.as_bytes());
        keyed.update(secret);
        keyed.finalize().into_bytes().into()
    }

    pub(super) fn find(&self, tag: &Tag) -> Option<Admitted> {
        self.known().get(tag).cloned()
    }

    pub(super) fn remember(&self, tag: Tag, admitted: Admitted) {
        let mut known = self.known();
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(tag, admitted);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Tag, Admitted>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::auth::Principal;

    #[test]
    fn only_the_same_secret_checked_with_the_same_is_known() {
        let remembered = Remembered::new().unwrap();
        let admitted = Admitted { principal: Arc::new(Principal::open(None).unwrap()), standing: None };
        let tag = remembered.tag("hash", b"secret");
        assert!(remembered.find(&tag).is_none());
        remembered.remember(tag, admitted);
        assert!(remembered.find(&remembered.tag("hash", b"secret")).is_some());
        for (with, secret) in [("hash", "other"), ("other", "secret"), ("hashs", "ecret"), ("", "hashsecret")] {
            assert!(remembered.find(&remembered.tag(with, secret.as_bytes())).is_none(), "{with} {secret}");
        }
        assert_ne!(Remembered::new().unwrap().tag("hash", b"secret"), tag, "every process has its own key");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let remembered = Remembered::new().unwrap();
        let admitted = Admitted { principal: Arc::new(Principal::open(None).unwrap()), standing: None };
        for number in 0..=REMEMBERED_MAX as u64 {
            let mut tag = [0; 32];
            tag[..8].copy_from_slice(&number.to_be_bytes());
            remembered.remember(tag, admitted.clone());
        }
        assert_eq!(remembered.known().len(), 1);
    }
}

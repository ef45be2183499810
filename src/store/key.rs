//! The keys of blocks: tenant, 0x00, driver, 0x00, the time of the block's first fix, complemented. In byte order a
//! tenant's drivers stand together, and a driver's blocks from the newest to the oldest.
//!
//! What is asked most is which block covers a time, the last one that begins no later. In this order that is one seek
//! forward; backwards, the database's iterators read one more block and its versions to know that they are done.

use crate::ids::{is_driver_id, is_tenant_id};
use crate::limits::{DRIVER_ID_BYTES_MAX, TENANT_ID_BYTES_MAX};
use crate::units::TimestampMs;

const TIME_BYTES: usize = size_of::<i64>();

const KEY_BYTES_MAX: usize = TENANT_ID_BYTES_MAX + 1 + DRIVER_ID_BYTES_MAX + 1 + TIME_BYTES;

/// A driver's place in the order of keys, at some time.
#[derive(Clone, Copy)]
pub(super) struct Key {
    bytes: [u8; KEY_BYTES_MAX],
    len: usize,
}

impl Key {
    /// The driver's key at the end of time, which is its least; `None` if these are not ids. That check keeps tenants apart: neither alphabet has the
    /// 0x00 that ends a name.
    pub(super) fn of(tenant: &str, driver: &str) -> Option<Self> {
        if !is_tenant_id(tenant.as_bytes()) || !is_driver_id(driver.as_bytes()) {
            return None;
        }
        let driver_at = tenant.len() + 1;
        let time_at = driver_at + driver.len() + 1;
        let mut bytes = [0; KEY_BYTES_MAX];
        bytes[..tenant.len()].copy_from_slice(tenant.as_bytes());
        bytes[driver_at..time_at - 1].copy_from_slice(driver.as_bytes());
        Some(Self { bytes, len: time_at + TIME_BYTES })
    }

    /// The same driver's key at another time.
    pub(super) fn at(mut self, time: TimestampMs) -> Self {
        self.bytes[self.len - TIME_BYTES..self.len].copy_from_slice(&complement(time.0).to_be_bytes());
        self
    }

    /// What all keys of the driver begin with.
    pub(super) fn driver(&self) -> &[u8] {
        &self.bytes[..self.len - TIME_BYTES]
    }

    /// Whether these are the bytes of a key of the same driver.
    pub(super) fn is_of_same_driver(&self, key: &[u8]) -> bool {
        key.len() == self.len && key.starts_with(self.driver())
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The time in a block's key, which is that of its first fix; `None` if the bytes are too few to be a key.
pub(super) fn time_of(key: &[u8]) -> Option<TimestampMs> {
    Some(TimestampMs(complement(i64::from_be_bytes(*key.last_chunk::<TIME_BYTES>()?))))
}

/// Its bytes in big-endian order sort later times first: all bits but the sign are flipped, and the sign as it stands
/// puts what is before 1970 last. Its own inverse.
fn complement(time_ms: i64) -> i64 {
    time_ms ^ i64::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(tenant: &str, driver: &str, time: i64) -> Vec<u8> {
        Key::of(tenant, driver).unwrap().at(TimestampMs(time)).as_ref().to_vec()
    }

    #[test]
    fn keys_sort_by_tenant_then_driver_then_newest_first() {
        let sorted = [
            key("a", "d", i64::MAX),
            key("a", "d", 1_708_092_000_000),
            key("a", "d", 0),
            key("a", "d", -1),
            key("a", "d", i64::MIN),
            key("a", "d1", 0),
            key("ab", "d", 0),
        ];
        assert!(sorted.is_sorted());
        let first = Key::of("a", "d").unwrap();
        assert_eq!(sorted.iter().filter(|key| first.is_of_same_driver(key)).count(), 5);
        assert_eq!(Key::of("a", "d").unwrap().as_ref(), sorted[0]);
    }

    #[test]
    fn the_time_reads_back() {
        for time in [i64::MIN, -1, 0, 1, i64::MAX] {
            assert_eq!(time_of(&key("tenant", "driver", time)), Some(TimestampMs(time)));
        }
        assert_eq!(time_of(b"short"), None);
    }

    #[test]
    fn names_that_are_no_ids_have_no_key() {
        assert!(Key::of("a\0b", "c").is_none());
        assert!(Key::of("a", "b\0c").is_none());
        assert!(Key::of("", "d").is_none());
        assert!(Key::of(&"t".repeat(32), &"d".repeat(64)).is_some());
    }
}

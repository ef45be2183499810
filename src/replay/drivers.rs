//! The names in a recording as drivers of a tenant.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::ids::{DriverId, DriverKey, TenantId, is_driver_id_byte};

/// Names that are remembered with their keys; a recording with more looks some of them up again.
const DRIVERS_REMEMBERED_MAX: usize = 65_536;

/// Whose rows those are that name no driver. They are refused, under this name.
const NAMELESS: &str = ":";

/// Names to keys, each key made once.
#[derive(Debug)]
pub(super) struct Drivers {
    tenant: TenantId,
    nameless: Arc<DriverKey>,
    known: HashMap<Box<[u8]>, Arc<DriverKey>>,
}

impl Drivers {
    pub(super) fn new(tenant: TenantId) -> Self {
        let driver = DriverId::new(NAMELESS).expect("a colon is in the alphabet of ids");
        let nameless = Arc::new(DriverKey::new(tenant.clone(), driver));
        Self { tenant, nameless, known: HashMap::new() }
    }

    /// The driver of a name, or `None` for an empty one and for one too long to be an id.
    pub(super) fn of_name(&mut self, name: &[u8]) -> Option<Arc<DriverKey>> {
        if let Some(known) = self.known.get(name) {
            return Some(Arc::clone(known));
        }
        let driver = driver_id(name)?;
        let key = Arc::new(DriverKey::new(self.tenant.clone(), driver));
        if self.known.len() >= DRIVERS_REMEMBERED_MAX {
            self.known.clear();
        }
        self.known.insert(name.into(), Arc::clone(&key));
        Some(key)
    }

    /// The driver that rows without one are refused under.
    pub(super) fn nameless(&self) -> Arc<DriverKey> {
        Arc::clone(&self.nameless)
    }
}

/// A name with every character outside the id alphabet as `:`. Two names may so become one driver.
fn driver_id(name: &[u8]) -> Option<DriverId> {
    let text = String::from_utf8_lossy(name);
    let id: String = text
        .chars()
        .map(|character| match u8::try_from(character) {
            Ok(byte) if is_driver_id_byte(byte) => character,
            _ => ':',
        })
        .collect();
    DriverId::new(&id).ok()
}

/// The name of a file without its folder and without `.gz`, `.gpx`, `.rec` or `.csv` at its end.
pub(super) fn name_of_file(path: &Path) -> Vec<u8> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut stem: &str = &name;
    for ending in [".gz", ".gpx", ".rec", ".csv"] {
        let cut = stem.len().saturating_sub(ending.len());
        if cut > 0 && stem.is_char_boundary(cut) && stem[cut..].eq_ignore_ascii_case(ending) {
            stem = &stem[..cut];
        }
    }
    stem.as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> Option<String> {
        driver_id(name.as_bytes()).map(|id| id.to_string())
    }

    #[test]
    fn what_is_not_in_the_alphabet_becomes_a_colon() {
        assert_eq!(id("22/1264").as_deref(), Some("22:1264"));
        assert_eq!(id("bus 7 ü+#").as_deref(), Some("bus:7::::"));
        assert_eq!(id(""), None);
        assert_eq!(id(&"x".repeat(65)), None);
        assert_eq!(driver_id(b"a\xff\xfe").map(|id| id.to_string()).as_deref(), Some("a::"));
    }

    #[test]
    fn files_name_their_driver() {
        let name = |path: &str| String::from_utf8(name_of_file(Path::new(path))).unwrap();
        assert_eq!(name("a/b/bus304.gpx"), "bus304");
        assert_eq!(name("ride.2.GPX.gz"), "ride.2");
        assert_eq!(name(".gpx"), ".gpx");
    }

    #[test]
    fn a_name_is_one_key() {
        let mut drivers = Drivers::new(TenantId::new("t").unwrap());
        let first = drivers.of_name(b"a/1").unwrap();
        assert!(Arc::ptr_eq(&first, &drivers.of_name(b"a/1").unwrap()));
        assert_eq!(first, drivers.of_name(b"a:1").unwrap());
    }
}

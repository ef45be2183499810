//! Changes of what a tenant keeps, such as its geofences: journalled among the fixes, so that the order of both says which
//! fixes a change holds for, at every replay alike.
//!
//! A change has a frame of its own, whose sequence is the version of what it made. The journal does not look into its body.

/// Longest body of a change, in bytes: with the rest of its frame well within [`super::FRAME_BYTES_MAX`].
pub const CHANGE_BODY_BYTES_MAX: usize = 512 << 10;

const _: () = assert!(CHANGE_BODY_BYTES_MAX + 1_024 <= super::FRAME_BYTES_MAX);

/// What became otherwise. The numbers are those in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ChangeKind {
    /// A geofence was made or replaced; the body is its description.
    GeofencePut = 0,
    /// A geofence was removed; there is no body.
    GeofenceRemoved = 1,
    /// The rules that a tenant's geofences are judged by; the body says them, and the name is always the same.
    GeofenceRules = 2,
}

impl ChangeKind {
    pub(super) fn of(number: u8) -> Option<Self> {
        [Self::GeofencePut, Self::GeofenceRemoved, Self::GeofenceRules].into_iter().find(|kind| *kind as u8 == number)
    }

    /// Its name in `rhumb journal dump`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GeofencePut => "geofence_put",
            Self::GeofenceRemoved => "geofence_removed",
            Self::GeofenceRules => "geofence_rules",
        }
    }
}

/// One change, as it stands in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// Whose, a sound id.
    pub tenant: &'a str,
    /// What became otherwise.
    pub kind: ChangeKind,
    /// Its name within the tenant, of the alphabet of driver ids.
    pub id: &'a str,
    /// What it is now, as its kind says.
    pub body: &'a [u8],
}

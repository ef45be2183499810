//! Bounds that are part of the contract and not for configuration.

/// Longest tenant id.
pub const TENANT_ID_BYTES_MAX: usize = 32;

/// Longest driver id.
pub const DRIVER_ID_BYTES_MAX: usize = 64;

/// Longest geofence id.
pub const FENCE_ID_BYTES_MAX: usize = 64;

/// Most drivers that one `nearest` answers with.
pub const NEAREST_LIMIT_MAX: usize = 1_000;

/// Drivers that `nearest` answers with when not told otherwise.
pub const NEAREST_LIMIT_DEFAULT: usize = 10;

/// Most fixes in a page of a track, and its default.
pub const TRACK_LIMIT_MAX: usize = 1_000;

/// Most fixes in the payload of one MQTT publish: a backlog of nearly three hours at one a second. One of more counts as one fix
/// that is `too_large`. Over HTTP the bound is `http.fixes_max`, and a body of more is answered with 413: whoever sent it hears that
/// it was not taken, and it is neither counted nor on record.
pub const PAYLOAD_FIXES_MAX: usize = 10_000;

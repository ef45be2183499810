//! The MQTT front door.

pub mod codec;
pub mod router;

//! The seam to a general MQTT router.

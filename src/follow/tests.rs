//! The follower over a real journal.

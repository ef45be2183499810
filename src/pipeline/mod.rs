//! pipeline
pub mod batch;

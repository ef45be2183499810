//! What tests of batches share.

use std::sync::Arc;

use super::batch::{Batch, Origin};
use crate::ids::{DriverId, DriverKey, TenantId};

/// An origin that nobody waits at.
#[derive(Debug)]
pub(crate) struct Nobody;

impl Origin for Nobody {
    fn judged(&self, _batch: Batch) {}
}

/// A driver of the tenant `acme`.
pub(crate) fn driver(name: &str) -> Arc<DriverKey> {
    Arc::new(DriverKey::new(TenantId::new("acme").unwrap(), DriverId::new(name).unwrap()))
}

//! What a port answers: one router until the engine is ready, another from then on.

use std::sync::{Arc, OnceLock};

use axum::Router;

/// The routes of a port.
#[derive(Clone, Debug)]
pub struct Routes {
    until_ready: Router,
    ready: Arc<OnceLock<Router>>,
}

impl Routes {
    /// These, until there are others.
    pub fn until_ready(router: Router) -> Self {
        Self { until_ready: router, ready: Arc::default() }
    }

    /// Has every further request answered by `router`, on connections that are there already as well. Once; a second call
    /// does nothing.
    pub fn open(&self, router: Router) {
        drop(self.ready.set(router));
    }

    /// Who answers now.
    pub(super) fn current(&self) -> Router {
        self.ready.get().unwrap_or(&self.until_ready).clone()
    }
}

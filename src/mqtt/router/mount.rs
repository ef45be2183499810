//! Namespaces: each has its own sessions, subscriptions and retained messages, so that nothing can cross.

use crate::ids::TenantId;

/// The namespace of a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Mount {
    /// One namespace for all (open mode).
    Open,
    /// A tenant's own.
    Tenant(TenantId),
}

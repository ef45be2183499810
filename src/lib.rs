//! Rhumb: a multi-tenant, high-throughput GPS telemetry ingestion engine.

pub mod auth;
pub mod config;
pub mod engine;
pub mod geo;
pub mod http;
pub mod journal;
pub mod live;
pub mod mqtt;
pub mod pipeline;
pub mod replay;
pub mod sink;
pub mod store;
pub mod telemetry;
pub mod wire;

pub mod clock;
pub mod counts;
pub mod fix;
pub mod ids;
pub mod limits;
pub mod packed;
pub mod units;

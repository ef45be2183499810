//! A load generator for MQTT brokers that take GPS fixes: plausible fleets, honest latencies, trouble on purpose.
//!
//! [`cli`] checks the options and makes a [`plan`]; [`run`] plays it with [`raw`] or [`faithful`] connections and
//! measures; [`report`] prints. It knows MQTT and the native JSON payload, and nothing of the broker behind them.

pub mod acked_log;
pub mod cli;
pub mod device;
pub mod faithful;
pub mod faults;
pub mod fix;
pub mod latency;
pub mod packet;
pub mod payload;
pub mod plan;
pub mod process;
pub mod random;
pub mod raw;
pub mod report;
pub mod route;
pub mod run;
pub mod schedule;
pub mod subscriber;
pub mod tally;
pub mod trace;
pub mod worker;

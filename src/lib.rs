//! Rhumb: a multi-tenant, high-throughput GPS telemetry ingestion engine.
//!
//! # The way of a fix
//! A front door ([`mqtt`], [`http`], [`replay`]) decodes a payload ([`wire`]) into reports and hands them, in batches, to the
//! shard that owns their driver ([`pipeline`]). The shard judges each, tells duplicates, and gives what it decided to the
//! [`journal`] as one frame. When that frame is synced the shard moves the index ([`geo`]), tells the [`live`] feed, and
//! the batch goes back to its door, which acknowledges. What was refused goes on record ([`rejected`]). Sinks ([`sink`])
//! follow the journal from their own position: the embedded [`store`], and the follower that judges geofences ([`follow`]).
//!
//! # What holds
//! - Whatever is acknowledged is in the journal and synced.
//! - The journal holds no duplicate, so that nothing behind it has to look for one.
//! - A shard's state belongs to its thread. Nothing in it is locked, and nothing on its way blocks: who sends to a shard
//!   claimed its room beforehand.
//! - The pipeline reads no clock. Time comes with the batch.
//! - Verdicts do not depend on how much of the past is in memory: the store tells the rest, a stretch at a time.
//! - A fix leaves memory only once the store has it. Without a store it is forgotten, and what is as old is refused.
//! - A snapshot has everything of the frames that it stands for; what it has of later ones, recovery finds again in the
//!   journal and applies without effect. A segment goes only once the older of two snapshots stands for it and every sink
//!   holds it synced.
//! - Events of geofences depend on the journal alone: on fixes and changes of fences, in its order.
//! - A part imports only parts below it: doors, pipeline, building blocks, vocabulary. A test holds that.
//!
//! # What was chosen, and why
//! - **The MQTT door is an event loop a core on [mio], not tasks on tokio** (which serves HTTP). Between two waits, all that
//!   the ready connections brought goes to the shards as one batch, and all that came back is acknowledged with one write a
//!   connection; from another thread's wake-up costs one `write` for all of them instead of one a task. An idle
//!   connection has no task, no timer and no read buffer. The two were not measured against each other here;
//!   `benches/results/` has what the whole path costs, beside mosquitto.
//! - **The codec off the fast path is our own.** rumqttd 0.20's, read and tried, takes reserved flags, trailing bytes,
//!   wildcards in topics and doubled properties for good, and reaches `unreachable!` on packets that only a server sends.
//!   rumqttc's is the independent reader in the codec's tests.
//! - **The router behind the MQTT door is our own too** ([`mqtt::router`]). rumqttd 0.20's stood there first, asked for
//!   matching and queues only: its own server reaches 1.1 to 9.5 µs a publish and lost 93,000 of a million from connections
//!   that hung up. It passes over what a slow subscriber has yet to read, keeps every filter and topic that it ever saw, mixes
//!   up share groups of one name, can save nothing, and takes 40 kB a session; a tenant was a prefix of every name in it. Ours
//!   gives each tenant a tree, sessions and retained messages of its own, owned by one thread outright, so that nothing is
//!   locked while a message is delivered and nothing can cross. A message is shared by all who wait for it, and what a
//!   worker's connections are sent is handed over in one go.
//! - **TLS is rustls over ring**, which builds from its crates alone and is driven without blocking by the workers as they are.
//!   **WebSocket frames are our own**, the handshake is tungstenite's: its frames are handed out as whole messages,
//!   which a connection would hold up to their largest size, while MQTT's packets do not care how they were cut.
//! - **Positions are whole steps of 1e-7 degrees** from the judge on: 1.1 cm, exact in every store, and two integers to
//!   pack and compare.
//! - **A frame counts only what it does not hold**: stored fixes are counted from the fixes themselves when the journal is
//!   read, so its counter records are for duplicates and refusals, and for how many of the stored were not native JSON.
//! - **The journal writes zeros ahead of itself**: a sync that need not move the file's end takes half the time (the table
//!   is in [`journal`]'s segment).
//! - **Geofences are changed through the journal**, one frame a change, and judged by a sink: the order of changes and fixes
//!   is the journal's, so that a restart may judge anew what it does not remember, and comes to the same events.
//! - **Recordings are read by `csv-core`**, not by `csv`: a quote that is left open costs a row there, and the rest of the
//!   file here.
//! - **`std::sync::mpsc` carries batches to shards and turns to the journal**, not crossbeam-channel, which it was made from:
//!   there a receiver yields its processor several times before it sleeps, and Linux then has it wait behind whoever has
//!   not. With 50,000 single publishes a second on two full processors the p99 of the acknowledgement went from 6.9 to 4.6
//!   ms. A closed loop lost some 4 % for it, since whoever yields gathers more.
//!
//! dashmap holds client ids and tenants; `geo` tests polygons; rumqttc publishes replays and
//! drives the load generator; hdrhistogram and criterion measure.
//!
//! [mio]: https://docs.rs/mio

pub mod auth;
pub mod backup;
pub mod config;
pub mod engine;
pub mod follow;
pub mod geo;
pub mod http;
pub mod journal;
pub mod live;
pub mod mqtt;
pub mod pipeline;
pub mod rejected;
pub mod replay;
pub mod sink;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod wire;

pub mod clock;
pub mod codec;
pub mod counts;
pub mod fix;
pub mod ids;
pub mod limits;
pub mod packed;
pub mod units;

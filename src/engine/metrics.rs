//! What the operator's port tells of the parts.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::core::Core;
use super::progress::Progress;
use super::reload::ReloadStatus;
use crate::auth::Authority;
use crate::http::{Operator, collect_fixes};
use crate::journal::{Assessment, Room, State};
use crate::mqtt::Stats;
use crate::mqtt::router::Router;
use crate::pipeline::Ingress;
use crate::sink::{SinkState, SinkStatus};
use crate::telemetry::process;
use crate::telemetry::prometheus::{Collect, Exposition, Kind};
use crate::telemetry::readiness::Readiness;

/// What is said of a journal that is full.
const FULL: &str = "its disk budget is used up and nothing more is taken in: see which sink is behind, make room on the disk, \
                    or raise journal.bytes_max";

/// Percent of the journal's budget from which on it is warned of.
const WARNED_PERCENT: f64 = 50.0;

/// The operator's view of an engine that recovers.
pub(super) fn unready(progress: &Arc<Progress>) -> Operator {
    let mut readiness = Readiness::default();
    let recovery = Arc::clone(progress);
    // Also for the moment between its end and the other routes.
    readiness.add("recovery", move || Err(recovery.to_string()));
    let recovery = Arc::clone(progress);
    let collect: Vec<Collect> = vec![Box::new(move |page| recovery.collect(page)), Box::new(process::collect)];
    Operator { readiness, collect, backups: None }
}

/// The operator's view of a running engine.
pub(super) fn operator(
    core: &Core,
    stats: Arc<Stats>,
    router: Router,
    authority: Authority,
    recovery: Arc<Progress>,
    reloads: Arc<ReloadStatus>,
) -> Operator {
    let ingress = core.pipeline.ingress().clone();
    let watermark = core.journal.watermark();
    let sink = core.sink_status();
    let fences = core.fences.as_ref().map(|fences| (fences.status(), fences.follow()));
    let recorder = core.recorder();
    let keeper = core.keeper.status();
    let mut readiness = Readiness::default();
    // Not held on to: it closes when the engine stops, whoever still asks.
    let journal = Arc::downgrade(&core.journal);
    let room = core.journal.room();
    let checked = Arc::clone(&room);
    readiness.add("journal", move || match journal.upgrade() {
        Some(journal) => match journal.failed() {
            Some(error) => Err(error),
            None if checked.is_full() => Err(FULL.to_owned()),
            None => Ok(()),
        },
        None => Err("stopping".to_owned()),
    });
    let looked_at = Arc::clone(&room);
    readiness.warn("journal", move || runs_short(&looked_at.assessment()));
    let waiting_for_store = core.pipeline.waiting_for_store();
    readiness.add("shards", move || match waiting_for_store.load(Ordering::Relaxed) {
        0 => Ok(()),
        shards => Err(format!("{shards} wait for the embedded store to catch up")),
    });
    if let Some(sink) = sink.clone() {
        readiness.add("store", move || match sink.state() {
            SinkState::Stopped { error } => Err(error),
            _ => Ok(()),
        });
    }
    if let Some((status, _)) = fences.clone() {
        readiness.add("fences", move || match status.state() {
            SinkState::Stopped { error } => Err(error),
            _ => Ok(()),
        });
    }
    let sinks: Vec<_> = sink.into_iter().chain(fences.iter().map(|(status, _)| Arc::clone(status))).collect();
    Operator {
        readiness,
        collect: vec![
            Box::new(move |page| collect_books(&ingress, page)),
            Box::new(move |page| {
                let help = "Frame of the journal up to which everything is durable.";
                page.family("rhumb_journal_durable_sequence", help, Kind::Gauge).sample(&[], watermark.get());
            }),
            Box::new(move |page| collect_room(&room, page)),
            Box::new(move |page| keeper.collect(page)),
            Box::new(move |page| recorder.iter().for_each(|recorder| recorder.collect(page))),
            Box::new(move |page| collect_sinks(&sinks, page)),
            Box::new(move |page| fences.iter().for_each(|(_, follow)| follow.collect(page))),
            Box::new(move |page| collect_door(&stats, page)),
            Box::new(move |page| collect_router(&router, page)),
            Box::new(move |page| authority.collect(page)),
            Box::new(move |page| reloads.collect(page)),
            Box::new(move |page| recovery.collect(page)),
            Box::new(process::collect),
        ],
        backups: Some(core.backups.clone()),
    }
}

/// What the operator should know of the journal's budget long before it is used up.
fn runs_short(assessment: &Assessment) -> Option<String> {
    let used_percent = assessment.fill() * 100.0;
    let slowed = match assessment.state {
        State::Full => return None,
        State::Braked { bytes_per_s } => format!(", and publishes are slowed to {bytes_per_s} bytes a second"),
        State::Open => String::new(),
    };
    (used_percent >= WARNED_PERCENT).then(|| {
        format!(
            "{used_percent:.0} % of what the journal may take is used{slowed}: see what its sinks are behind for, give it \
             more room (journal.bytes_max) or clear its disk"
        )
    })
}

fn collect_books(ingress: &Ingress, page: &mut Exposition) {
    collect_fixes(&ingress.books(), page);
    let help = "Messages that are not meant to hold a fix, since the start, by codec.";
    let mut skipped = page.family("rhumb_payloads_skipped_total", help, Kind::Counter);
    for (codec, count) in ingress.skipped().of_each() {
        skipped.sample(&[("codec", codec.as_str())], count);
    }
}

fn collect_room(room: &Room, page: &mut Exposition) {
    let assessment = room.assessment();
    let help = "What the journal takes on its disk, snapshots too.";
    page.family("rhumb_journal_bytes", help, Kind::Gauge).sample(&[], assessment.bytes);
    let help = "What the journal may take: journal.bytes_max, or what its disk has room for where that is less.";
    page.family("rhumb_journal_bytes_max", help, Kind::Gauge).sample(&[], assessment.limit_bytes);
    let help = "How much of that is used, 0 to 1; from 0.9 on what comes in is braked.";
    page.family("rhumb_journal_fill_ratio", help, Kind::Gauge).sample(&[], assessment.fill());
    let braked = match assessment.state {
        State::Open => f64::INFINITY,
        State::Braked { bytes_per_s } => bytes_per_s as f64,
        State::Full => 0.0,
    };
    let help = "What the brake lets into the journal in a second; +Inf without a brake.";
    page.family("rhumb_journal_brake_bytes_per_second", help, Kind::Gauge).sample(&[], braked);
    let help = "1 while the journal is full and nothing more is taken in.";
    page.family("rhumb_journal_full", help, Kind::Gauge).sample(&[], u64::from(assessment.state == State::Full));
}

fn collect_sinks(sinks: &[Arc<SinkStatus>], page: &mut Exposition) {
    type Number = fn(&SinkStatus) -> u64;
    let families: [(&'static str, &str, Kind, Number); 4] = [
        (
            "rhumb_sink_lag_frames",
            "Durable frames of the journal that the sink has not written.",
            Kind::Gauge,
            SinkStatus::lag_frames,
        ),
        (
            "rhumb_sink_fixes_written_total",
            "Fixes written to the sink since the start; of `fences`: fixes judged.",
            Kind::Counter,
            SinkStatus::fixes_written,
        ),
        (
            "rhumb_sink_batches_total",
            "Batches written to the sink since the start.",
            Kind::Counter,
            SinkStatus::batches_written,
        ),
        (
            "rhumb_sink_failures_total",
            "Calls of the sink that failed since the start.",
            Kind::Counter,
            SinkStatus::failures,
        ),
    ];
    for (name, help, kind, number) in families {
        let mut family = page.family(name, help, kind);
        for sink in sinks {
            family.sample(&[("sink", sink.name())], number(sink));
        }
    }
}

fn collect_door(stats: &Stats, page: &mut Exposition) {
    let help = "MQTT connections now.";
    page.family("rhumb_mqtt_connections", help, Kind::Gauge).sample(&[], stats.connections() as u64);
    let help = "MQTT connections now, by listener.";
    let mut listeners = page.family("rhumb_mqtt_listener_connections", help, Kind::Gauge);
    for (listener, count) in stats.connections_by_listener() {
        listeners.sample(&[("listener", listener)], count as u64);
    }
    let help = "Connections taken since the start.";
    page.family("rhumb_mqtt_connections_accepted_total", help, Kind::Counter).sample(&[], stats.accepted());
    let help = "Publishes on ingest topics since the start.";
    page.family("rhumb_mqtt_ingest_publishes_total", help, Kind::Counter).sample(&[], stats.publishes());
    let help = "Publishes since the start on topics where their clients may not publish, or which lead nowhere.";
    page.family("rhumb_mqtt_publishes_refused_total", help, Kind::Counter).sample(&[], stats.publishes_refused());
    let help = "Publishes at QoS 0 since the start that were over their client's rate and dropped.";
    page.family("rhumb_mqtt_publishes_dropped_total", help, Kind::Counter).sample(&[], stats.publishes_dropped());
    let help = "Filters since the start that their clients may not subscribe to.";
    page.family("rhumb_mqtt_subscriptions_refused_total", help, Kind::Counter)
        .sample(&[], stats.subscriptions_refused());
    let help =
        "Wills on ingest topics since the start that were due and had no room with the shards, nor to wait for it.";
    page.family("rhumb_mqtt_wills_lost_total", help, Kind::Counter).sample(&[], stats.wills_lost());
    let mut closed = page.family(
        "rhumb_mqtt_connections_closed_total",
        "Connections that ended since the start, by reason.",
        Kind::Counter,
    );
    for (reason, count) in stats.closed() {
        closed.sample(&[("reason", reason)], count);
    }
}

fn collect_router(router: &Router, page: &mut Exposition) {
    let help = "Subscriptions of all MQTT sessions.";
    page.family("rhumb_mqtt_subscriptions", help, Kind::Gauge).sample(&[], router.subscriptions() as u64);
    let help = "Accepted fixes that subscribers were not told of, because the router was behind.";
    page.family("rhumb_mqtt_fixes_untold_total", help, Kind::Counter).sample(&[], router.fixes_dropped());
    let help = "MQTT sessions, connected and kept, of clients that need the router.";
    page.family("rhumb_mqtt_sessions", help, Kind::Gauge).sample(&[], router.sessions() as u64);
    let help = "Messages that MQTT sessions lost since the start, because their clients were too far behind.";
    page.family("rhumb_mqtt_messages_dropped_total", help, Kind::Counter).sample(&[], router.messages_dropped());
    let help = "MQTT messages that were delivered and not retained since the start, for want of room.";
    page.family("rhumb_mqtt_unretained_total", help, Kind::Counter).sample(&[], router.unretained());
}

//! What each key wants: its kind by its default, and the range of every number.

use std::ops::RangeInclusive;

use toml::Value;

/// Largest packet that the MQTT format can express: a five-byte header and 268,435,455 bytes.
const MQTT_PACKET_BYTES_MAX: i64 = 268_435_460;

/// A day.
const DAY_S: i64 = 86_400;

/// The range of every key that is a number; a test holds that none is missing. The unit is the end of the name.
const RANGES: &[(&str, RangeInclusive<i64>)] = &[
    ("mqtt.workers", 0..=256),
    ("mqtt.packet_bytes_max", 128..=MQTT_PACKET_BYTES_MAX),
    ("mqtt.connect_timeout_s", 1..=3_600),
    ("mqtt.connections_max", 1..=10_000_000),
    ("mqtt.in_flight_max", 1..=65_535),
    ("mqtt.subscriber_queue_bytes_max", 4_096..=1_073_741_824),
    ("mqtt.tcp.connections_max", 0..=10_000_000),
    ("mqtt.tcp.connections_per_s_max", 0..=1_000_000),
    ("mqtt.tls.connections_max", 0..=10_000_000),
    ("mqtt.tls.connections_per_s_max", 0..=1_000_000),
    ("mqtt.websocket.connections_max", 0..=10_000_000),
    ("mqtt.websocket.connections_per_s_max", 0..=1_000_000),
    ("mqtt.websocket.tls.connections_max", 0..=10_000_000),
    ("mqtt.websocket.tls.connections_per_s_max", 0..=1_000_000),
    ("mqtt.publishes_per_s_max", 0..=1_000_000_000),
    ("mqtt.publish_bytes_per_s_max", 0..=4_294_967_295),
    ("mqtt.publish_burst_s", 1..=3_600),
    ("mqtt.topic_bytes_max", 1..=65_535),
    ("mqtt.topic_levels_max", 1..=65_535),
    ("mqtt.topic_alias_max", 0..=65_535),
    ("mqtt.keep_alive_s_max", 0..=65_535),
    ("mqtt.router.sessions_max", 1..=1_000_000),
    ("mqtt.router.sessions_per_tenant_max", 1..=1_000_000),
    ("mqtt.router.sessions_per_owner_max", 1..=1_000_000),
    ("mqtt.router.subscriptions_max", 1..=1_000_000),
    ("mqtt.router.session_expiry_s_max", 0..=4_294_967_295),
    ("mqtt.router.stalled_s_max", 1..=86_400),
    ("mqtt.router.queue_messages_max", 1..=1_000_000),
    ("mqtt.router.queue_bytes_max", 4_096..=1_073_741_824),
    ("mqtt.router.total_queue_bytes_max", 4_096..=1_099_511_627_776),
    ("mqtt.router.retained_max", 0..=10_000_000),
    ("mqtt.router.retained_bytes_max", 0..=1_099_511_627_776),
    ("mqtt.router.total_retained_bytes_max", 0..=1_099_511_627_776),
    ("mqtt.router.save_interval_s", 1..=DAY_S),
    ("http.connections_max", 1..=1_000_000),
    ("http.body_bytes_max", 1_024..=1_073_741_824),
    ("http.fixes_max", 1..=1_000_000),
    ("http.header_timeout_s", 1..=3_600),
    ("http.body_timeout_s", 1..=3_600),
    ("http.request_timeout_s", 1..=3_600),
    ("http.write_timeout_s", 1..=3_600),
    ("pipeline.shards", 0..=64),
    ("dedupe.window_fixes", 1..=4_096),
    ("rules.payload_bytes_max", 0..=1_073_741_824),
    ("rules.rollover_s_max", 0..=366 * DAY_S),
    ("rules.past_s", 0..=100 * 366 * DAY_S),
    ("rules.future_s", 0..=100 * 366 * DAY_S),
    ("rules.accuracy_m_max", 0..=1_000_000),
    ("rules.speed_mps_max", 0..=100_000),
    ("rules.stationary_m", 0..=100_000),
    ("rules.period_ms_min", 0..=DAY_S * 1_000),
    ("rules.distance_m_min", 0..=100_000),
    ("rules.heartbeat_s", 0..=366 * DAY_S),
    ("rejected.bytes_max", 0..=1_152_921_504_606_846_976),
    ("rejected.memory_bytes_max", 0..=1_073_741_824),
    ("rejected.payload_bytes_max", 0..=65_536),
    ("journal.segment_bytes", 1_048_576..=4_294_967_296),
    ("journal.sync_interval_ms", 1..=60_000),
    ("journal.bytes_max", 16_777_216..=1_152_921_504_606_846_976),
    ("store.cache_bytes", 0..=1_099_511_627_776),
    ("store.journal_bytes_max", 67_108_864..=1_099_511_627_776),
    ("store.worker_threads", 1..=64),
    ("store.files_open_max", 16..=1_000_000),
    ("sink.batch_fixes_max", 1..=10_000_000),
    ("sink.batch_age_ms_max", 1..=3_600_000),
    ("sink.sync_interval_ms", 1..=3_600_000),
    ("sink.retry_ms_max", 100..=3_600_000),
    ("geo.offline_after_s", 1..=366 * DAY_S),
    ("fences.per_tenant_max", 0..=10_000_000),
    ("fences.bytes_max", 0..=1_099_511_627_776),
    ("fences.hysteresis_m", 0..=1_000),
    ("fences.gap_max_s", 0..=366 * DAY_S),
    ("fences.batch_age_ms_max", 1..=60_000),
    ("fences.sync_interval_ms", 1..=3_600_000),
    ("fences.outbox_max", 1..=1_000_000_000_000),
    ("registry.tenants_max", 1..=1_000_000),
    ("registry.drivers_max", 1..=100_000_000),
];

/// The range of a key that is a number.
pub(super) fn range(key: &str) -> Option<RangeInclusive<i64>> {
    RANGES.iter().find(|(name, _)| *name == key).map(|(_, range)| range.clone())
}

/// What may stand at a key, in words.
pub(super) fn wants(key: &str, default: &Value) -> String {
    match default {
        Value::Integer(_) => match range(key) {
            Some(range) => format!("a whole number from {} to {}", range.start(), range.end()),
            None => "a whole number".to_owned(),
        },
        Value::Boolean(_) => "true or false".to_owned(),
        Value::String(address) if key.ends_with("listen") && address.is_empty() => {
            "an address and a port, such as \"127.0.0.1:8883\", or \"\" for none".to_owned()
        }
        Value::String(_) if key == "mqtt.tls.client_certificates" => {
            "\"none\", \"optional\" or \"required\"".to_owned()
        }
        Value::String(_) if key.ends_with("listen") => "an address and a port, such as \"127.0.0.1:1883\"".to_owned(),
        Value::String(_) if key == "auth.mode" => "\"open\" or \"required\"".to_owned(),
        Value::String(_) if key == "auth.certificate_tenant" || key == "auth.operator_tenant" => {
            "a tenant id, or \"\"".to_owned()
        }
        Value::String(_) if key == "mqtt.over_rate" => "\"delay\" or \"drop\"".to_owned(),
        Value::String(_) if key == "journal.on_full" => "\"refuse\" or \"abandon_sink\"".to_owned(),
        Value::String(_) if key == "journal.retention" => {
            "a duration such as \"0s\", \"90s\", \"30m\", \"1h\" or \"7d\"".to_owned()
        }
        Value::String(_) if key == "journal.sync" => "\"always\" or \"interval\"".to_owned(),
        Value::String(_) => "a text in quotes".to_owned(),
        Value::Array(_) if key == "mqtt.websocket.tls.certificate_origins" => {
            "at most 64 origins as browsers send them, such as [\"https://fleet.example\"]".to_owned()
        }
        Value::Array(_) if key == "mqtt.acl" => {
            "entries with a role, an action, an effect and a topic, each a text".to_owned()
        }
        Value::Array(_) if key == "mqtt.ingest" => {
            "entries with a topic, a codec, a driver and, if need be, a tenant, each a text".to_owned()
        }
        Value::Array(_) => "a list in brackets".to_owned(),
        Value::Float(_) => "a number".to_owned(),
        Value::Datetime(_) => "a date and time".to_owned(),
        Value::Table(_) if key == "tenant" => "a section for a tenant, such as [tenant.acme.rules]".to_owned(),
        Value::Table(keys) => format!("a section with the keys {}", names(keys)),
    }
}

/// The keys of a section, as a list to read.
pub(super) fn names(section: &toml::Table) -> String {
    section.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
pub(super) fn ranged() -> impl Iterator<Item = &'static str> {
    RANGES.iter().map(|(key, _)| *key)
}

//! What a CONNECT asks for and what it is granted: its will, its keep-alive, and what CONNACK tells of the server's limits.

use super::close::Close;
use super::codec::{ConnAckProperties, Connect, Version, Will};
use super::config::Config;
use super::connection::Session;
use super::ingest::{self, Refusal};
use super::worker::Context;
use crate::auth::Principal;

/// Whether a client may leave this will behind.
///
/// # Errors
/// Why the connection is refused.
pub(super) fn check_will(
    context: &Context,
    who: Option<&Principal>,
    version: Version,
    will: &Will,
) -> Result<(), Close> {
    // [MQTT-3.2.2-13]
    if will.retain && version == Version::V5 && !context.config.offers_retain() {
        return Err(Close::RetainNotSupported);
    }
    ingest::check_will_topic(context, who, &will.topic).map_err(|refusal| match refusal {
        Refusal::NotAllowed => Close::TopicDenied,
        Refusal::TopicTooLarge => Close::TopicTooLarge,
        Refusal::Route(_) => Close::BadIngestTopic,
    })
}

/// The keep-alive that holds for a client, in seconds, and whether it is another than it asked for, which it is to be told.
pub(super) fn keep_alive_s(config: &Config, connect: &Connect) -> (u16, bool) {
    let (asked, most) = (connect.keep_alive_s, config.keep_alive_s_max);
    let is_too_long = if asked == 0 { !config.keep_alive_never } else { asked > most };
    if connect.version == Version::V5 && most > 0 && is_too_long { (most, true) } else { (asked, false) }
}

/// What a CONNACK that lets the client in says. Response information is never given: a client finds its topics by the
/// rules that its operator knows.
pub(super) fn connack_properties(config: &Config, session: &Session) -> ConnAckProperties {
    let session_expiry_s_max = config.router.session_expiry_s_max;
    ConnAckProperties {
        // Only if it is another than was asked for [MQTT-3.1.2.11.2].
        session_expiry_s: (session.session_expiry_s > session_expiry_s_max).then_some(session_expiry_s_max),
        receive_maximum: Some(config.in_flight_max),
        packet_bytes_max: u32::try_from(config.packet_bytes_max).ok(),
        retain_available: (!config.offers_retain()).then_some(false),
        assigned_client_id: session.is_id_assigned.then(|| session.client_id.to_string()),
        topic_alias_max: Some(config.topic_alias_max).filter(|max| *max > 0),
        keep_alive_s: session.told_keep_alive_s,
        ..ConnAckProperties::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec;
    use super::*;

    #[test]
    fn a_keep_alive_over_the_longest_is_cut_where_the_client_can_be_told() {
        // Longest, whether never is allowed, version, asked for, granted.
        for (most, never, level, asked, granted) in [
            (0, true, 5, 120, (120, false)),
            (0, false, 5, 0, (0, false)),
            (60, true, 5, 120, (60, true)),
            (60, true, 5, 60, (60, false)),
            (60, true, 5, 0, (0, false)),
            (60, false, 5, 0, (60, true)),
            (60, false, 4, 120, (120, false)),
            (60, false, 4, 0, (0, false)),
        ] {
            let config = Config { keep_alive_s_max: most, keep_alive_never: never, ..Config::default() };
            let mut bytes = b"\x10\x0D\0\x04MQTT\x05\x02\0\0\0\0\0".to_vec();
            if level == 4 {
                bytes.pop();
                (bytes[1], bytes[8]) = (12, 4);
            }
            let connect = Connect { keep_alive_s: asked, ..codec::decode_connect(&bytes).unwrap() };
            assert_eq!(keep_alive_s(&config, &connect), granted, "{most} {never} {level} {asked}");
        }
    }
}

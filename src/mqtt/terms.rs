//! What a CONNECT asks for and what it is granted: its will, its keep-alive, and what CONNACK tells of the server's limits.

use super::close::Close;
use super::codec::{ConnAckProperties, Connect, Version, Will};
use super::config::Config;
use super::connection::Session;
use super::ingest;
use super::wills::IngestWill;
use super::worker::Context;
use crate::auth::Admitted;

/// A will that a client may leave behind.
#[derive(Debug)]
pub(super) enum Taken {
    /// Its topic carries fixes: the door's own to publish.
    Ingest(Box<IngestWill>),
    /// The router's.
    Routed(Will),
}

/// Takes a will that a client may leave behind, where its topic leads somewhere.
///
/// # Errors
/// Why the connection is refused.
pub(super) fn take_will(
    context: &Context,
    admitted: Option<&Admitted>,
    version: Version,
    will: Will,
) -> Result<Taken, Close> {
    // [MQTT-3.2.2-13]
    if will.retain && version == Version::V5 && !context.config.offers_retain() {
        return Err(Close::RetainNotSupported);
    }
    let who = admitted.map(|admitted| &*admitted.principal);
    match ingest::source_of(context, who, &will.topic) {
        Some(Ok(source)) => {
            let Will { payload, delay_s, .. } = will;
            Ok(Taken::Ingest(Box::new(IngestWill::new(source, payload, delay_s, admitted))))
        }
        Some(Err(refusal)) => Err(refusal.into_close()),
        None => match ingest::check_topic(context, who, &will.topic, None) {
            Ok(()) => Ok(Taken::Routed(will)),
            Err(refusal) => Err(refusal.into_close()),
        },
    }
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
    use std::sync::Arc;

    use super::super::codec;
    use super::super::workbench::Workbench;
    use super::*;
    use crate::auth::{Principal, Role};
    use crate::ids::{DriverId, TenantId};

    /// What CONNACK says to a client that leaves a will on this topic; none if there was no CONNACK.
    fn connack(door: &mut Workbench, who: Option<Role>, level: u8, topic: &str) -> Option<u8> {
        let mut body = [b"\0\x04MQTT", &[level, 0x06, 0, 0][..]].concat();
        // Properties of the connection and of the will.
        let none: &[u8] = if level == 5 { b"\0" } else { b"" };
        body.extend([none, b"\0\x01c", none, &(topic.len() as u16).to_be_bytes(), topic.as_bytes(), b"\0\0"].concat());
        let connect = codec::decode_connect(&[&[0x10, body.len() as u8], &body[..]].concat()).unwrap();
        let mut connection = door.connection(false);
        let admitted = who.map(|role| {
            let driver = Some(DriverId::new("d1").unwrap());
            let tenant = TenantId::new("acme").unwrap();
            let principal = Principal { tenant, role, subject: "x".into(), driver, expires_at: None };
            Admitted { principal: Arc::new(principal), standing: None }
        });
        let began = connection.begin_session(&mut door.context, connect, admitted);
        let code = connection.out.get(3).copied();
        assert!(began.is_ok() || connection.session.is_none());
        connection.end_session(&mut door.context, Close::ByClient { publish_will: false, session_expiry_s: None });
        code
    }

    #[test]
    fn a_client_id_is_no_longer_than_may_be() {
        let mut door = Workbench::new(Config::default());
        for (level, id_bytes, expected) in
            [(5, 1_024, Some(0)), (5, 1_025, Some(0x85)), (4, 1_024, Some(0)), (4, 1_025, Some(2))]
        {
            let properties: &[u8] = if level == 5 { b"\0" } else { b"" };
            let id = vec![b'x'; id_bytes];
            let body =
                [b"\0\x04MQTT", &[level, 2, 0, 0][..], properties, &(id_bytes as u16).to_be_bytes(), &id].concat();
            let connect = [&[0x10, body.len() as u8 | 0x80, (body.len() >> 7) as u8], &body[..]].concat();
            let mut connection = door.connection(false);
            let taken = connection.take_packets(&mut door.context, &connect);
            assert_eq!(
                (taken.is_ok(), connection.out.get(3).copied()),
                (expected == Some(0), expected),
                "{level} {id_bytes}"
            );
            connection.end_session(&mut door.context, Close::Lost);
        }
    }

    #[test]
    fn a_will_whose_topic_leads_nowhere_is_refused() {
        let mut door = Workbench::new(Config::default());
        // The topic; what is said at 3.1.1 and at 5 in open mode, to an operator of acme, and to its device d1.
        for (topic, expected) in [
            ("tenant/acme/driver/d1/location", [[0, 0], [0, 0], [0, 0]]),
            ("tenant/acme/driver/d 1/location", [[5, 0x90], [5, 0x90], [5, 0x87]]),
            ("tenant/acme/driver//location", [[5, 0x90], [5, 0x90], [5, 0x87]]),
            ("tenant/a b/driver/d1/location", [[5, 0x90], [5, 0x87], [5, 0x87]]),
            ("owntracks/ann/pho ne", [[5, 0x90], [5, 0x90], [5, 0x87]]),
            ("owntracks/ann/phone", [[0, 0], [0, 0], [5, 0x87]]),
        ] {
            for (who, expected) in [None, Some(Role::OpsAdmin), Some(Role::Device)].into_iter().zip(expected) {
                let found = [4, 5].map(|level| connack(&mut door, who, level, topic));
                assert_eq!(found, expected.map(Some), "{who:?} {topic}");
            }
        }
    }

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

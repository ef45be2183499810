//! A thinned matrix as a client meets it: what comes back for each packet, in both versions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::auth::Admitted;
use crate::mqtt::close::Close;
use crate::mqtt::codec::{Version, Will};
use crate::mqtt::config::Config;
use crate::mqtt::mapping::IngestTopic;
use crate::mqtt::terms;
use crate::mqtt::workbench::Workbench;

const NOT_AUTHORIZED: u8 = 0x87;

/// Every so manieth filter of the matrix.
const THINNED: usize = 17;

fn door(rules: RuleSet) -> Workbench {
    let ingest = |topic: &str, tenant: Option<&str>| IngestTopic {
        topic: topic.to_owned(),
        codec: "native".to_owned(),
        driver: "{driver}".to_owned(),
        tenant: tenant.map(str::to_owned),
    };
    Workbench::new(Config {
        acl: configured(rules),
        ingest: vec![ingest("mapped/{driver}", None), ingest("foreign/{driver}", Some("globex"))],
        ..Config::default()
    })
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

/// What a client in this role is answered, or how its connection ends.
fn answer(door: &mut Workbench, who: Option<&Principal>, version: Version, packet: &[u8]) -> Result<Vec<u8>, Close> {
    let mut connection = door.connection(false);
    let connect: &[u8] = match version {
        Version::V4 => b"\x10\x0D\0\x04MQTT\x04\x02\0\0\0\x01c",
        Version::V5 => b"\x10\x0E\0\x04MQTT\x05\x02\0\0\0\0\x01c",
    };
    assert_eq!(connection.take_packets(&mut door.context, connect), Ok(connect.len()));
    connection.out.clear();
    connection.session.as_mut().unwrap().principal = who.cloned().map(std::sync::Arc::new);
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut answered = connection.take_packets(&mut door.context, packet).map(|_| Vec::new());
    while answered.as_ref().is_ok_and(Vec::is_empty) {
        assert!(Instant::now() < deadline, "no answer to {packet:02x?}");
        answered = door.turn(&mut connection, || true).map(|()| std::mem::take(&mut connection.out));
        std::thread::yield_now();
    }
    connection.end_session(&mut door.context, Close::Lost);
    answered
}

fn publish(version: Version, topic: &str) -> Vec<u8> {
    let none: &[u8] = if version == Version::V5 { b"\0" } else { b"" };
    let body = [&text(topic)[..], b"\0\x07", none, b"{}"].concat();
    [&[0x32, body.len() as u8], &body[..]].concat()
}

fn subscribe(version: Version, filter: &str) -> Vec<u8> {
    let none: &[u8] = if version == Version::V5 { b"\0" } else { b"" };
    let body = [b"\0\x07", none, &text(filter), b"\x01"].concat();
    [&[0x82, body.len() as u8], &body[..]].concat()
}

#[test]
fn clients_of_both_versions_are_answered_as_the_model_says() {
    let filters = filters();
    for rules in RULE_SETS {
        let mut door = door(rules);
        for (who, version) in principals().into_iter().flat_map(|who| [(who.clone(), Version::V4), (who, Version::V5)])
        {
            let who = who.as_ref();
            for topic in TOPICS {
                let what = format!("{who:?} {version:?} {topic} {rules:?}");
                let may = model(who, true, &BTreeSet::from([topic.to_owned()]), rules);
                let is_denied = match (version, answer(&mut door, who, version, &publish(version, topic))) {
                    (Version::V4, answered) => answered == Err(Close::TopicDenied),
                    // Names that are no ids are another matter.
                    (Version::V5, Ok(ack)) => ack[4..].first() == Some(&NOT_AUTHORIZED),
                    (Version::V5, Err(why)) => panic!("{why:?}: {what}"),
                };
                assert_eq!(!is_denied, may, "publish: {what}");
                let will = Will {
                    topic: topic.to_owned(),
                    payload: bytes::Bytes::new(),
                    qos: 1,
                    retain: false,
                    delay_s: 0,
                    properties: None,
                };
                let admitted = who.map(|who| Admitted { principal: Arc::new(who.clone()), standing: None });
                let taken = terms::take_will(&door.context, admitted.as_ref(), version, will);
                // Names that are no ids, again.
                let is_denied = taken.is_err_and(|why| why != Close::BadIngestTopic);
                assert_eq!(!is_denied, may, "will: {what}");
            }
            for filter in filters.iter().step_by(THINNED).map(String::as_str).chain(TOPICS) {
                let what = format!("{who:?} {version:?} {filter} {rules:?}");
                let may = model(who, false, &topics_of(filter), rules);
                let suback = answer(&mut door, who, version, &subscribe(version, filter)).unwrap();
                let expected = match (may, version, who) {
                    (true, ..) => 1,
                    (false, Version::V5, Some(_)) => NOT_AUTHORIZED,
                    (false, ..) => 0x80,
                };
                assert_eq!(suback.last(), Some(&expected), "{what}");
            }
        }
    }
}

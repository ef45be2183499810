//! Wills alone, and those that connections leave behind.

use std::sync::Arc;

use super::*;
use crate::auth::{Principal, Role};
use crate::codec::Codec;
use crate::ids::{DriverId, DriverKey, TenantId};
use crate::mqtt::close::Close;
use crate::mqtt::codec;
use crate::mqtt::config::Config;
use crate::mqtt::connection::{Connection, Phase};
use crate::mqtt::ingest;
use crate::mqtt::workbench::Workbench;

/// A DISCONNECT.
const NORMAL: Close = Close::ByClient { publish_will: false, session_expiry_s: None };

fn name(client_id: &str) -> ClientName {
    ClientName::new(None, client_id)
}

pub(in crate::mqtt) fn will(payload: &[u8]) -> IngestWill {
    let driver = DriverKey::new(TenantId::new("acme").unwrap(), DriverId::new("d1").unwrap());
    let source = Source { driver: Arc::new(driver), codec: Codec::Native };
    IngestWill::new(source, Bytes::copy_from_slice(payload), 0, None)
}

/// A client of somebody's.
pub(super) fn name_of(tenant: &str, subject: &str, client_id: &str) -> ClientName {
    ClientName::new(Some(&principal(tenant, subject)), client_id)
}

fn principal(tenant: &str, subject: &str) -> Principal {
    let tenant = TenantId::new(tenant).unwrap();
    Principal { tenant, role: Role::OpsAdmin, subject: subject.into(), driver: None, expires_at: None }
}

/// What is left of a will that is to wait and whose owner has few.
fn wait(wills: &Wills, client_id: &str, payload: &[u8], wait_s: u32, now: Tick) -> Option<IngestWill> {
    wills.wait(&name(client_id), will(payload), wait_s, now, 16)
}

fn due(wills: &Wills, now: Tick) -> Vec<Bytes> {
    std::iter::from_fn(|| wills.due(now)).map(|will| will.payload).collect()
}

#[test]
fn they_come_when_they_are_due_unless_their_clients_were_there_before() {
    let wills = Wills::default();
    for (client_id, wait_s) in [("a", 3), ("b", 1), ("c", 2), ("d", 1)] {
        assert!(wait(&wills, client_id, client_id.as_bytes(), wait_s, 100).is_none());
    }
    assert!(wait(&wills, "e", b"e", 0, 100).is_some(), "it need not wait");
    assert!(due(&wills, 100 + TICKS_PER_S - 1).is_empty());
    assert_eq!(wills.take(&name("d")).unwrap().payload, "d");
    assert!(wills.take(&name("d")).is_none() && wills.take(&name("x")).is_none());
    assert_eq!(due(&wills, 100 + 2 * TICKS_PER_S), ["b", "c"]);
    assert!(!wills.is_empty());
    assert_eq!(wills.any().unwrap().payload, "a");
    assert!(wills.is_empty() && wills.any().is_none());
    assert!(wait(&wills, "a", b"a", u32::MAX, Tick::MAX).is_none());
    assert!(due(&wills, Tick::MAX).is_empty(), "later than ticks go");
}

#[test]
fn what_finds_no_room_is_given_back_and_who_has_none_is_no_burden_to_others() {
    let wills = Wills::default();
    let large = vec![0; 64_000];
    let hoarding = |number: usize| name_of("hoarding", &number.to_string(), "c");
    let waiting =
        (0..100_000).take_while(|number| wills.wait(&hoarding(*number), will(&large), 9, 0, 16).is_none()).count();
    assert!(waiting > 500 && waiting == wills.len());
    assert!(wills.wait(&name_of("modest", "ann", "c"), will(&large), 9, 0, 16).is_none(), "another tenant");
    // One for the other's, and one for its own.
    assert!(wills.take(&hoarding(7)).is_some() && wills.take(&hoarding(8)).is_some());
    assert!(wills.wait(&hoarding(waiting), will(&large), 9, 0, 16).is_none());
    let of_ann = |number: usize| name_of("modest", "ann", &number.to_string());
    let waiting = (0..100).take_while(|number| wills.wait(&of_ann(*number), will(b"{}"), 9, 0, 16).is_none()).count();
    assert_eq!(waiting, 15, "beside the one before");
    // Published, they leave nothing behind.
    while wills.due(Tick::MAX).is_some() {}
    assert!(wills.is_empty() && wills.lock().by_due.is_empty());
    assert!(wills.wait(&of_ann(99), will(b"{}"), 9, 0, 16).is_none());
}

#[test]
fn what_waits_already_is_never_thrown_away() {
    let wills = Wills::default();
    assert!(wait(&wills, "a", b"later", 9, 0).is_none());
    assert_eq!(wait(&wills, "a", b"earlier", 9, 0).unwrap().payload, "earlier");
    assert_eq!(wills.take(&name("a")).unwrap().payload, "later");
}

#[test]
fn what_the_shards_have_no_room_for_is_put_off_in_its_order_up_to_a_bound() {
    let wills = Wills::default();
    assert!(wait(&wills, "a", b"waits", 9, 0).is_none());
    assert!(wills.put_off(will(b"1")) && wills.put_off(will(b"2")));
    assert_eq!((due(&wills, 0), wills.len()), (vec![Bytes::from("1"), Bytes::from("2")], 1));
    let large = will(&vec![0; 64_000]);
    let put_off = (0..100_000).take_while(|_| wills.put_off(large.clone())).count();
    assert!((200..PUT_OFF_BYTES_MAX / 64_000).contains(&put_off), "{put_off}");
    assert_eq!(due(&wills, 0).len(), put_off);
    assert!(wills.put_off(large));
}

/// A client that leaves a fix behind, and 5 s to come back.
fn testator(door: &mut Workbench, begins_anew: bool, expiry_s: u8) -> Connection {
    let connect = testament(begins_anew, expiry_s);
    let mut connection = door.connection(false);
    assert_eq!(connection.take_packets(&mut door.context, &connect), Ok(connect.len()));
    assert_eq!((connection.phase, connection.out[3]), (Phase::Open, 0));
    connection
}

/// Its CONNECT.
fn testament(begins_anew: bool, expiry_s: u8) -> Vec<u8> {
    let connect = [
        b"\x10\x44\0\x04MQTT\x05",
        &[if begins_anew { 0x06 } else { 0x04 }][..],
        b"\0\0\x05\x11\0\0\0",
        &[expiry_s],
        b"\0\x01c\x05\x18\0\0\0\x05\0\x20tenant/default/driver/d/location\0\x02{}",
    ];
    let mut connect = connect.concat();
    connect[1] = connect.len() as u8 - 2;
    connect
}

/// How many wills were published until so many seconds later.
fn published(door: &mut Workbench, after_s: u32) -> u64 {
    door.context.now_tick += after_s * TICKS_PER_S;
    let now = door.context.now_tick;
    ingest::publish_wills(&mut door.context, |wills| wills.due(now));
    std::mem::take(&mut door.context.tally.publishes)
}

#[test]
fn a_will_waits_for_its_delay_or_its_session_and_not_for_whoever_begins_anew() {
    let mut door = Workbench::new(Config::default());
    let shortened = Close::ByClient { publish_will: true, session_expiry_s: Some(1) };
    // How the connection ends, the session's expiry, and how many are out at once, after 4 s and after 5 s.
    for (why, expiry_s, expected) in [
        (Close::Lost, 60, [0, 0, 1]),
        (Close::Lost, 4, [0, 1, 0]),
        (Close::Lost, 0, [1, 0, 0]),
        (Close::KeepAliveTimeout, 60, [0, 0, 1]),
        (Close::Stopping, 60, [1, 0, 0]),
        (Close::Revoked, 60, [0, 0, 0]),
        (Close::Expired, 0, [0, 0, 0]),
        (NORMAL, 60, [0, 0, 0]),
        (shortened, 60, [0, 1, 0]),
    ] {
        testator(&mut door, true, expiry_s).end_session(&mut door.context, why);
        let found = [0, 4, 1].map(|after_s| published(&mut door, after_s));
        assert_eq!(found, expected, "{why:?} {expiry_s}");
        assert!(door.context.wills.is_empty());
    }
    // Back after its connection was lost, or while it was not missed yet; with its session, or beginning one anew.
    for (is_missed, begins_anew, expected) in [(true, false, 0), (true, true, 1), (false, false, 0), (false, true, 1)] {
        let mut first = testator(&mut door, true, 60);
        let mut second = if is_missed {
            first.end_session(&mut door.context, Close::Lost);
            testator(&mut door, begins_anew, 60)
        } else {
            let second = testator(&mut door, begins_anew, 60);
            first.end_session(&mut door.context, Close::TakenOver);
            second
        };
        assert_eq!(published(&mut door, 60), expected, "missed: {is_missed}, anew: {begins_anew}");
        second.end_session(&mut door.context, NORMAL);
    }
}

/// Connections take each other's place, and leave in whatever order: each one's will is published if the next one began anew.
#[test]
fn whoever_takes_over_decides_about_the_will_however_soon_it_leaves() {
    let mut door = Workbench::new(Config::default());
    for (anew, order, expected) in [
        (&[true][..], &[1, 0][..], 1),
        (&[false], &[1, 0], 0),
        (&[true, false], &[0, 1, 2], 1),
        (&[true, false], &[2, 1, 0], 1),
        (&[true, false], &[1, 0, 2], 1),
        (&[false, true], &[2, 0, 1], 1),
        (&[true, true], &[2, 1, 0], 2),
    ] {
        let mut connections = vec![testator(&mut door, true, 60)];
        connections.extend(anew.iter().map(|anew| testator(&mut door, *anew, 60)));
        let last = anew.len();
        for place in order {
            let why = if *place == last { NORMAL } else { Close::TakenOver };
            connections[*place].end_session(&mut door.context, why);
        }
        assert_eq!(published(&mut door, 60), expected, "{anew:?} {order:?}");
        assert!(door.context.wills.is_empty());
    }
    // The later one is lost and its will waits, before the earlier one was seen to have left.
    let (mut first, mut second) = (testator(&mut door, true, 60), testator(&mut door, true, 60));
    second.end_session(&mut door.context, Close::Lost);
    first.end_session(&mut door.context, Close::Lost);
    assert_eq!([0, 4, 1].map(|after_s| published(&mut door, after_s)), [1, 0, 1]);
}

#[test]
fn a_client_that_is_not_let_in_is_not_back() {
    let mut door = Workbench::new(Config::default());
    for begins_anew in [false, true] {
        testator(&mut door, true, 60).end_session(&mut door.context, Close::Lost);
        // It takes no packets that are large enough for CONNACK.
        let connect = [b"\x10\x13\0\x04MQTT\x05", &[u8::from(begins_anew) << 1][..], b"\0\0\x05\x27\0\0\0\x05\0\x01c"];
        let mut refused = door.connection(false);
        let why = refused.take_packets(&mut door.context, &connect.concat()).unwrap_err();
        refused.end_session(&mut door.context, why);
        assert_eq!([0, 4, 1].map(|after_s| published(&mut door, after_s)), [0, 0, 1], "{why:?}");
    }
}

#[test]
fn a_will_does_not_outlive_the_right_to_leave_it() {
    let mut door = Workbench::new(Config::default());
    let expires_at = TimestampMs(door.context.now.0 + 1_000);
    for (is_revoked, is_expired, expected) in [(false, false, 1), (true, false, 0), (false, true, 0)] {
        let standing = Standing::default();
        let who = Principal { expires_at: Some(expires_at), ..principal("default", "ann") };
        let admitted = Admitted { principal: Arc::new(who), standing: Some(standing.clone()) };
        let mut connection = door.connection(false);
        let connect = codec::decode_connect(&testament(true, 60)).unwrap();
        connection.begin_session(&mut door.context, connect, Some(admitted)).unwrap();
        connection.end_session(&mut door.context, Close::Lost);
        assert!(!door.context.wills.is_empty());
        if is_revoked {
            standing.revoke();
        }
        let before = door.context.now;
        door.context.now.0 += if is_expired { 3_600_000 } else { 0 };
        assert_eq!(published(&mut door, 5), expected, "revoked: {is_revoked}, expired: {is_expired}");
        door.context.now = before;
    }
    assert_eq!(door.context.tally.publishes_refused, 2);
}

#[test]
fn wills_that_the_shards_have_no_room_for_come_later_and_are_not_lost() {
    let mut door = Workbench::new(Config::default());
    let large = vec![b' '; 64_000];
    for number in 0..400 {
        assert!(wait(&door.context.wills, &number.to_string(), &large, 1, 0).is_none());
    }
    let at_once = published(&mut door, 1);
    assert!((1..400).contains(&at_once) && door.context.outbox.is_over_ceiling());
    // One that is due at once waits as well.
    testator(&mut door, true, 0).end_session(&mut door.context, Close::Lost);
    assert_eq!((published(&mut door, 0), door.context.wills.len() as u64), (0, 401 - at_once));
    let mut later = 0;
    let mut connection = door.connection(false);
    for _ in 0..1_000 {
        door.turn(&mut connection, || true).unwrap();
        later += published(&mut door, 0);
    }
    assert_eq!((at_once + later, door.context.tally.wills_lost), (401, 0));
}

//! Clients that send anything: nothing they say may panic the door, and what it answers is MQTT that they take.
//!
//! Packets are made from a seed, well formed most of them, then bent. Each seed is one client, so that a seed that failed
//! fails again. `RHUMB_TEST_FUZZ_S=3600` goes on for an hour; otherwise it is a few thousand seeds.

mod client;
mod identity;
mod packets;

use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

use self::client::Door;
use super::codec::{self, ClientPacket, ServerPacket, Version, decode, decode_connect};
use super::config::Config;
use super::frame::{Framed, first_packet};
use super::publish::{Parsed, parse};
use super::workbench::Workbench;

/// How long to go on, in seconds.
const SECONDS_VARIABLE: &str = "RHUMB_TEST_FUZZ_S";

/// Seeds where the variable is not set.
const SEEDS: u64 = 3_000;

/// Packets that are decoded for each seed.
const PACKETS: usize = 20;

/// Seeds after which the door is built anew: its router forgets no filter and no topic.
const SEEDS_PER_DOOR: u64 = 20_000;

/// Sebastiano Vigna's SplitMix64: a number a step, and any seed will do.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &'a [impl std::borrow::Borrow<T> + 'a]) -> &'a T {
        from[self.below(from.len())].borrow()
    }
}

#[test]
fn no_client_can_say_what_the_door_does_not_survive() {
    let seconds = std::env::var_os(SECONDS_VARIABLE)
        .map(|text| text.to_str().and_then(|text| text.parse().ok()).expect("a whole number of seconds"));
    let (began, mut told) = (Instant::now(), Instant::now());
    let mut door = Door::new();
    let mut seed = 0;
    while seconds.map_or(seed < SEEDS, |seconds| began.elapsed() < Duration::from_secs(seconds)) {
        let tried = panic::catch_unwind(AssertUnwindSafe(|| {
            decoded(&mut Rng(seed));
            door.serve(&mut Rng(!seed));
        }));
        assert!(tried.is_ok(), "seed {seed}");
        seed += 1;
        if seed % SEEDS_PER_DOOR == 0 {
            door = Door::new();
        }
        if told.elapsed() > Duration::from_secs(60) {
            told = Instant::now();
            println!("{seed} seeds in {:?}", began.elapsed());
        }
    }
    let ends = door.ends;
    println!("{seed} seeds in {:?}; of the last door: {ends:?}", began.elapsed());
    assert!(seed % SEEDS_PER_DOOR < SEEDS || ends.is_complete(), "{ends:?}: not all was tried");
}

/// Decodes packets and holds what is between the codec, the fast path and the encoder.
fn decoded(rng: &mut Rng) {
    for _ in 0..PACKETS {
        let version = if rng.one_in(3) { Version::V4 } else { Version::V5 };
        let mut bytes =
            if rng.one_in(5) { packets::connect(rng, version, "") } else { packets::later(rng, version, "") };
        if rng.one_in(2) {
            packets::bend(rng, &mut bytes);
        }
        if let Ok(connect) = decode_connect(&bytes) {
            assert!(connect.receive_maximum > 0 && connect.packet_bytes_max != Some(0));
            assert!(connect.will.is_none_or(|will| will.qos < 3 && codec::is_topic(&will.topic)));
        }
        check(version, &bytes);
    }
}

/// What holds for any bytes of a client of this version.
fn check(version: Version, bytes: &[u8]) {
    let read = decode(version, bytes);
    let Framed::Packet(packet) = first_packet(bytes, Some(version), usize::MAX) else { return };
    if packet.bytes.len() == bytes.len()
        && packet.first_byte() >> 4 == 3
        && let Parsed::Plain(fast) = parse(&packet, version)
    {
        match &read {
            // What the fast path takes the codec takes and reads alike, but for topics that it does not look at.
            Ok(ClientPacket::Publish(slow)) => {
                let alias = slow.properties.as_ref().and_then(|properties| properties.topic_alias).unwrap_or(0);
                assert_eq!(
                    (slow.qos, slow.pkid, slow.topic.as_bytes(), alias, &slow.payload[..]),
                    (fast.qos, fast.packet_id, fast.topic, fast.alias, fast.payload)
                );
            }
            Ok(other) => panic!("the fast path took {other:?}"),
            Err(malformed) => {
                assert!(["MQTT-3.3.2-2", "MQTT-1.5.3-1", "MQTT-1.5.3-2"].contains(&malformed.clause), "{malformed}");
            }
        }
    }
    // What goes both ways comes back as it was.
    let again = match read {
        Ok(ClientPacket::Publish(publish)) => (ServerPacket::Publish(publish.clone()), ClientPacket::Publish(publish)),
        Ok(ClientPacket::PubAck { pkid }) => (ServerPacket::PubAck { pkid, reason: 0 }, ClientPacket::PubAck { pkid }),
        Ok(ClientPacket::PubRec { pkid, reason }) => {
            (ServerPacket::PubRec { pkid, reason }, ClientPacket::PubRec { pkid, reason })
        }
        Ok(ClientPacket::PubRel { pkid }) => (ServerPacket::PubRel { pkid, reason: 0 }, ClientPacket::PubRel { pkid }),
        Ok(ClientPacket::PubComp { pkid }) => {
            (ServerPacket::PubComp { pkid, reason: 0x92 }, ClientPacket::PubComp { pkid })
        }
        _ => return,
    };
    let mut out = Vec::new();
    codec::encode(version, &again.0, &mut out);
    assert_eq!(decode(version, &out), Ok(again.1), "{bytes:02x?}");
}

/// Found by a seed: a PUBREC of five bytes went to a client that takes two.
#[test]
fn a_client_that_takes_no_connack_is_not_let_in() {
    let mut bench = Workbench::new(Config::default());
    for (bytes_max, answer_bytes) in [(2, 0), (5, 5), (12, 5), (40, 16)] {
        let mut connection = bench.connection(false);
        let connect = [b"\x10\x13\0\x04MQTT\x05\x02\0\0\x05\x27\0\0\0", &[bytes_max][..], b"\0\x01c"].concat();
        let taken = connection.take_packets(&mut bench.context, &connect);
        assert_eq!(taken.is_ok(), bytes_max == 40, "{bytes_max}: {taken:?}");
        if let Err(why) = taken {
            connection.end_session(&mut bench.context, why);
        }
        assert_eq!(connection.out.len(), answer_bytes, "{:02x?}", connection.out);
    }
}

/// What was found, or might have been: each was a surprise to somebody once.
#[test]
fn bytes_that_were_worth_keeping() {
    let cases: [&[u8]; 10] = [
        b"",
        b"\x30",
        b"\x30\xFF\xFF\xFF\x7F",
        b"\x30\x80\x00",
        b"\x32\x86\x80\x80\x00\0\x01a\0\x01x",
        b"\x30\x02\xFF\xFF",
        // Alias 0, alone and in the shape that the fast path knows.
        b"\x30\x06\0\0\x03\x23\0\0",
        // Twice the same property, and one that says to be longer than its packet.
        b"\x30\x0B\0\x01a\x06\x23\0\x01\x23\0\x01x",
        b"\x30\x07\0\x01a\x7F\x26\0\0",
        // A topic of a NUL, which the fast path does not look at.
        b"\x30\x04\0\x01\0\0",
    ];
    for bytes in cases {
        drop(decode_connect(bytes));
        for version in [Version::V4, Version::V5] {
            check(version, bytes);
        }
    }
}

//! The tables of MQTT 5 as a test: each property in each packet of a client, once and twice, and each reason code.

use super::{Malformed, Version, decode, decode_connect};

/// Where a property may be, as table 2-4 of the specification has it, less what only servers send: C CONNECT, W will,
/// P PUBLISH, A acknowledgements, S SUBSCRIBE, U UNSUBSCRIBE, D DISCONNECT. Each with a value that is good.
const PROPERTIES: [(u8, &[u8], &str); 27] = [
    (0x01, b"\x01", "PW"),
    (0x02, b"\0\0\0\x09", "PW"),
    (0x03, b"\0\x01t", "PW"),
    (0x08, b"\0\x01t", "PW"),
    (0x09, b"\0\x01\xFF", "PW"),
    (0x0B, b"\x01", "S"),
    (0x11, b"\0\0\0\x09", "CD"),
    (0x12, b"\0\x01t", ""),
    (0x13, b"\0\x09", ""),
    (0x15, b"\0\x01t", "C"),
    // Without a method before it, it is wrong in CONNECT too.
    (0x16, b"\0\x01\xFF", ""),
    (0x17, b"\x01", "C"),
    (0x18, b"\0\0\0\x09", "W"),
    (0x19, b"\x01", "C"),
    (0x1A, b"\0\x01t", ""),
    (0x1C, b"\0\x01t", ""),
    (0x1F, b"\0\x01t", "AD"),
    (0x21, b"\0\x09", "C"),
    (0x22, b"\0\x09", "C"),
    (0x23, b"\0\x09", "P"),
    (0x24, b"\x01", ""),
    (0x25, b"\x01", ""),
    (0x26, b"\0\x01k\0\x01v", "CWPASUD"),
    (0x27, b"\0\0\0\x09", "C"),
    (0x28, b"\x01", ""),
    (0x29, b"\x01", ""),
    (0x2A, b"\x01", ""),
];

const PLACES: [char; 10] = ['C', 'W', 'P', 'A', 'R', 'L', 'O', 'S', 'U', 'D'];

/// A packet of version 5 with these properties, read.
fn read(place: char, properties: &[u8]) -> Result<(), Malformed> {
    let block = [&[properties.len() as u8], properties].concat();
    let (first, body) = match place {
        'C' => (0x10, [b"\0\x04MQTT\x05\x02\0\0", &block[..], b"\0\x01c"].concat()),
        'W' => (0x10, [b"\0\x04MQTT\x05\x06\0\0\0\0\x01c", &block[..], b"\0\x01w\0\0"].concat()),
        'P' => (0x30, [b"\0\x01t", &block[..], b"x"].concat()),
        'A' => (0x40, [b"\0\x01\0", &block[..]].concat()),
        'R' => (0x50, [b"\0\x01\0", &block[..]].concat()),
        'L' => (0x62, [b"\0\x01\0", &block[..]].concat()),
        'O' => (0x70, [b"\0\x01\0", &block[..]].concat()),
        'S' => (0x82, [b"\0\x01", &block[..], b"\0\x01f\0"].concat()),
        'U' => (0xA2, [b"\0\x01", &block[..], b"\0\x01f"].concat()),
        _ => (0xE0, [b"\0", &block[..]].concat()),
    };
    let packet = [&[first, body.len() as u8], &body[..]].concat();
    if first == 0x10 { decode_connect(&packet).map(drop) } else { decode(Version::V5, &packet).map(drop) }
}

#[test]
fn every_property_is_taken_where_it_belongs_and_once() {
    for place in PLACES {
        assert_eq!(read(place, b""), Ok(()), "{place}");
        // All four acknowledgements alike.
        let named = if "ARLO".contains(place) { 'A' } else { place };
        for (identifier, value, places) in PROPERTIES {
            let once = [&[identifier], value].concat();
            let found = read(place, &once);
            assert_eq!(found.is_ok(), places.contains(named), "{identifier:#x} in {place}: {found:?}");
            if let Err(malformed) = found {
                assert!([0x81, 0x82].contains(&malformed.reason), "{malformed}");
                continue;
            }
            let twice = read(place, &[&once[..], &once].concat());
            match identifier {
                0x26 => assert_eq!(twice, Ok(()), "user properties may come again"),
                _ => assert_eq!(twice.unwrap_err().reason, 0x82, "{identifier:#x} twice in {place}"),
            }
            assert!(read(place, &once[..once.len() - 1]).is_err(), "{identifier:#x} cut in {place}");
        }
        for identifier in (0..=0x7F).filter(|identifier| PROPERTIES.iter().all(|(known, ..)| known != identifier)) {
            assert_eq!(read(place, &[identifier, 0]).unwrap_err().reason, 0x81, "{identifier:#x} in {place}");
        }
    }
    let method_and_data = b"\x15\0\x01t\x16\0\x01\xFF";
    assert_eq!(read('C', method_and_data), Ok(()));
}

#[test]
fn only_reason_codes_that_a_client_may_send_are_taken() {
    // First byte, what is before the code, and the codes: sections 3.4.2.1, 3.5.2.1, 3.6.2.1, 3.7.2.1 and 3.14.2.1, of the
    // last those that clients send.
    let acknowledged: &[u8] = &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
    let released: &[u8] = &[0x00, 0x92];
    let left: &[u8] = &[0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];
    let cases: [(u8, &[u8], &[u8]); 5] = [
        (0x40, b"\0\x01", acknowledged),
        (0x50, b"\0\x01", acknowledged),
        (0x62, b"\0\x01", released),
        (0x70, b"\0\x01", released),
        (0xE0, b"", left),
    ];
    for (first, before, codes) in cases {
        for code in 0..=255 {
            let body = [before, &[code]].concat();
            let packet = [&[first, body.len() as u8], &body[..]].concat();
            assert_eq!(decode(Version::V5, &packet).is_ok(), codes.contains(&code), "{code:#x} in {first:#x}");
            // 3.1.1 knows no codes.
            assert!(decode(Version::V4, &packet).is_err(), "{code:#x} in {first:#x}");
        }
    }
}

#[test]
fn only_the_flags_of_the_table_are_taken() {
    let bodies: [(u8, &[u8]); 7] =
        [(4, b"\0\x01"), (5, b"\0\x01"), (6, b"\0\x01"), (7, b"\0\x01"), (12, b""), (14, b""), (8, b"\0\x01\0\x01f\0")];
    for (kind, body) in bodies {
        for flags in 0..16 {
            let packet = [&[kind << 4 | flags, body.len() as u8], body].concat();
            let wanted = if kind == 6 || kind == 8 { 2 } else { 0 };
            assert_eq!(decode(Version::V4, &packet).is_ok(), flags == wanted, "{flags:#x} of type {kind}");
        }
    }
    for flags in 0..16_u8 {
        let (dup, qos) = (flags & 8 != 0, flags >> 1 & 3);
        let body: &[u8] = if qos == 0 { b"\0\x01t" } else { b"\0\x01t\0\x01" };
        let packet = [&[0x30 | flags, body.len() as u8], body].concat();
        let is_good = qos < 3 && !(dup && qos == 0);
        assert_eq!(decode(Version::V4, &packet).is_ok(), is_good, "PUBLISH with flags {flags:#x}");
    }
    // Types that only servers send, AUTH, and those that nobody does.
    for kind in [0, 2, 9, 11, 13, 15] {
        let packet = [kind << 4, 4, 0, 1, 0, 0];
        for version in [Version::V4, Version::V5] {
            assert_eq!(decode(version, &packet).unwrap_err().reason, 0x82, "type {kind}");
        }
    }
}

//! The remaining length as a test, as each version has it.

use super::{PADDED_LENGTH, Version, decode, decode_connect};

#[test]
fn a_remaining_length_takes_more_bytes_than_it_needs_in_3_1_1_alone() {
    let packet = |first: u8, body: &[u8]| [&[first, body.len() as u8], body].concat();
    let wide = |packet: &[u8], length_bytes: usize| {
        let mut length = vec![packet[1] | 0x80];
        length.resize(length_bytes - 1, 0x80);
        [&packet[..1], &length, &[0], &packet[2..]].concat()
    };
    let v5_connect = packet(0x10, b"\0\x04MQTT\x05\x02\0\0\0\0\x01a");
    let v4_connect = packet(0x10, b"\0\x04MQTT\x04\x02\0\0\0\x01a");
    assert!(decode_connect(&v4_connect).is_ok() && decode_connect(&v5_connect).is_ok());
    for length_bytes in 2..=4 {
        assert_eq!(decode_connect(&wide(&v4_connect, length_bytes)), decode_connect(&v4_connect));
        assert_eq!(decode_connect(&wide(&v5_connect, length_bytes)), Err(PADDED_LENGTH));
        for (first, body) in [
            (0x30, &b"\0\x01a"[..]),
            (0x32, b"\0\x01a\0\x01x"),
            (0x62, b"\0\x01"),
            (0x82, b"\0\x01\0\x01a\0"),
            (0xA2, b"\0\x01\0\x01a"),
            (0xC0, b""),
            (0xE0, b""),
        ] {
            let packet = packet(first, body);
            let padded = wide(&packet, length_bytes);
            let expected = decode(Version::V4, &packet);
            assert!(expected.is_ok(), "{packet:02x?}");
            assert_eq!(decode(Version::V4, &padded), expected, "{padded:02x?}");
            assert_eq!(decode(Version::V5, &padded), Err(PADDED_LENGTH));
        }
    }
    for version in [Version::V4, Version::V5] {
        let read = decode(version, &wide(&[0xC0, 0], 5));
        assert!(read.is_err_and(|malformed| malformed.clause == "MQTT-1.5.5-1"));
    }
    let read = decode_connect(&wide(&v4_connect, 5));
    assert!(read.is_err_and(|malformed| malformed.clause == "MQTT-1.5.5-1"));
}

//! Runs of fixes come back as they were, whatever is in them, and no bytes do harm.

use proptest::prelude::*;

use super::*;

fn any_fix() -> impl Strategy<Value = Fix> {
    let place = (any::<i32>(), any::<i32>());
    let fields = (any::<Option<u32>>(), any::<Option<u16>>(), any::<Option<i32>>(), any::<Option<u32>>());
    let rest = (any::<Option<u16>>(), any::<Option<u32>>(), any::<Option<u8>>(), any::<Option<u8>>());
    (any::<i64>(), any::<i64>(), place, fields, rest).prop_map(
        |(time, received_at, (latitude_e7, longitude_e7), (speed, heading, altitude, accuracy), rest)| Fix {
            time: TimestampMs(time),
            received_at: TimestampMs(received_at),
            position: Position { latitude_e7, longitude_e7 },
            speed_mmps: speed,
            heading_cdeg: heading,
            altitude_cm: altitude,
            accuracy_cm: accuracy,
            hdop_centi: rest.0,
            seq: rest.1,
            battery_percent: rest.2,
            satellites: rest.3,
        },
    )
}

fn plain(time: i64, latitude_e7: i32) -> Fix {
    Fix {
        received_at: TimestampMs(time + 40),
        speed_mmps: Some(8_300),
        heading_cdeg: Some(27_000),
        battery_percent: Some(80),
        ..Fix::at(TimestampMs(time), Position { latitude_e7, longitude_e7: 210_000_000 })
    }
}

proptest! {
    #[test]
    fn any_integer_comes_back(value: u64, signed: i64) {
        let mut out = Vec::new();
        put_varint(&mut out, value);
        put_signed(&mut out, signed);
        let mut input = &out[..];
        prop_assert_eq!(take_varint(&mut input), Some(value));
        prop_assert_eq!(take_signed(&mut input), Some(signed));
        prop_assert!(input.is_empty());
    }

    #[test]
    fn any_run_comes_back(fixes in prop::collection::vec((any_fix(), any::<bool>()), 0..40), at: i64) {
        let mut out = Vec::new();
        let mut packer = Packer::at(TimestampMs(at));
        for (fix, mark) in &fixes {
            let len = out.len();
            packer.pack_marked(fix, *mark, &mut out);
            prop_assert!(out.len() - len <= FIX_BYTES_MAX);
            prop_assert!(out[len] & NEVER == 0);
        }
        let (mut input, mut unpacker) = (&out[..], Unpacker::at(TimestampMs(at)));
        for expected in &fixes {
            prop_assert_eq!(unpacker.unpack_marked(&mut input), Some(*expected));
        }
        prop_assert!(input.is_empty());
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let (mut input, mut unpacker) = (&bytes[..], Unpacker::new());
        while unpacker.unpack(&mut input).is_some() {}
    }

    #[test]
    fn a_cut_run_is_never_whole(fix in any_fix()) {
        let mut out = Vec::new();
        Packer::new().pack(&fix, &mut out);
        for len in 0..out.len() {
            prop_assert_eq!(Unpacker::new().unpack(&mut &out[..len]), None);
        }
    }
}

#[test]
fn overlong_integers_are_refused() {
    assert_eq!(take_varint(&mut &[0x80; 10][..]), None);
    assert_eq!(take_varint(&mut &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2][..]), None);
    let max = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    assert_eq!(take_varint(&mut &max[..]), Some(u64::MAX));
    assert_eq!(take_varint(&mut &[][..]), None);
}

#[test]
fn a_steady_run_is_short() {
    let mut packer = Packer::new();
    let mut out = Vec::new();
    for index in 0..100 {
        packer.pack(&plain(1_700_000_000_000 + 1_000 * index, 520_000_000 + 750 * index as i32), &mut out);
    }
    // Head, two bytes of latitude, one of longitude; time, receive time and the rest go on as before.
    assert!(out.len() <= 100 * 4 + 30, "{}", out.len());
}

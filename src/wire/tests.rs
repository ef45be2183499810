//! Every codec against its written cases, against any bytes, and against damage to what it reads.

use std::borrow::Cow;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

use super::testing::{cases, shown};
use super::*;

/// Those that a payload can come in.
const CODECS: [Codec; 7] =
    [Codec::Native, Codec::OwnTracks, Codec::OsmAnd, Codec::Traccar, Codec::Flespi, Codec::Teltonika, Codec::Compact];

fn decoded(codec: Codec, payload: &[u8]) -> (Vec<Element>, usize) {
    let mut elements = Vec::new();
    let Decoded { skipped } = decode(codec, payload, &mut elements);
    (elements, skipped)
}

#[test]
fn written_cases() {
    for codec in CODECS {
        for case in cases(codec) {
            let (elements, skipped) = decoded(codec, &case.payload);
            let elements: Vec<Value> = elements.iter().map(shown).collect();
            assert_eq!((elements, skipped as u64), (case.elements, case.skipped), "{}", case.name);
        }
    }
}

#[test]
fn payloads_name_their_devices() {
    type Named = (Codec, &'static str, fn(&[u8]) -> Option<Cow<'_, str>>);
    let named: [Named; 3] = [
        (Codec::OwnTracks, "topic", owntracks::topic),
        (Codec::OsmAnd, "device", osmand::device_id),
        (Codec::Traccar, "device", traccar::device_id),
    ];
    for (codec, key, name) in named {
        let mut found = 0;
        for case in cases(codec) {
            if let Some(expected) = case.line.get(key) {
                assert_eq!(name(&case.payload).as_deref(), expected.as_str(), "{}", case.name);
                found += usize::from(!expected.is_null());
            }
        }
        assert!(found > 1, "{codec} names too few");
    }
}

#[test]
fn elements_that_are_there_stay() {
    for codec in Codec::ALL {
        let mut elements = vec![Err(Reason::Past)];
        decode(codec, b"[1,", &mut elements);
        assert_eq!(elements, [Err(Reason::Past), Err(Reason::Malformed)], "{codec}");
    }
}

#[test]
fn a_recording_is_no_payload() {
    for payload in [&b""[..], b"{\"lat\":1,\"lon\":2}", b"d1,2024-02-16T14:17:04Z,1,2"] {
        assert_eq!(decoded(Codec::Recording, payload), (vec![Err(Reason::Malformed)], 0));
    }
}

#[test]
fn a_batch_on_a_native_topic_is_told_by_its_first_byte() {
    for case in cases(Codec::Native) {
        assert_eq!(native_or_compact(&case.payload), Codec::Native, "{}", case.name);
    }
    let mut batch = Vec::new();
    compact::encode(&[], &mut batch);
    assert_eq!(native_or_compact(&batch), Codec::Compact);
    // Neither what JSON begins with nor the space before it.
    assert!(!compact::VERSION.is_ascii_whitespace() && compact::VERSION.is_ascii_control());
}

#[test]
fn deep_nesting_is_skipped_without_recursion() {
    let depth = 200_000;
    for (open, close) in [("[", "]"), ("{\"location\":", "}"), ("{\"state\":{\"reported\":", "}}")] {
        let open = open.repeat(depth);
        for nested in [format!("{open}1{}", close.repeat(depth)), open] {
            for codec in CODECS {
                assert_eq!(decoded(codec, nested.as_bytes()), (vec![Err(Reason::Malformed)], 0), "{codec}");
            }
        }
    }
}

/// What a codec may make of a payload: no more elements than it has bytes, no more memory than a vector that doubles takes
/// for them, and something in any case but an array without members and a batch without fixes.
fn assert_bounded(codec: Codec, payload: &[u8]) {
    let mut elements = Vec::new();
    let Decoded { skipped } = decode(codec, payload, &mut elements);
    let count = elements.len() + skipped;
    assert!(count <= payload.len().max(1), "{codec}: {count} of {payload:?}");
    assert!(elements.capacity() <= 2 * payload.len().max(4), "{codec}: {payload:?}");
    let is_empty = payload == [compact::VERSION] || payload.contains(&b'[');
    assert!(count > 0 || is_empty, "{codec}: nothing of {payload:?}");
    for name in [owntracks::topic, osmand::device_id, traccar::device_id] {
        assert!(name(payload).is_none_or(|name| name.len() <= payload.len()), "{payload:?}");
    }
}

/// A case's payload, cut or with one byte replaced.
fn damaged() -> impl Strategy<Value = (Codec, Vec<u8>)> {
    let payloads: Vec<(Codec, Vec<u8>)> =
        CODECS.iter().flat_map(|codec| cases(*codec).into_iter().map(|case| (*codec, case.payload))).collect();
    (select(payloads), any::<prop::sample::Index>(), any::<u8>(), any::<bool>()).prop_map(
        |((codec, mut payload), at, byte, is_cut)| {
            let at = at.index(payload.len() + 1);
            if is_cut {
                payload.truncate(at);
            } else if let Some(there) = payload.get_mut(at) {
                *there = byte;
            } else {
                payload.push(byte);
            }
            (codec, payload)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_048))]

    #[test]
    fn any_bytes_give_elements_or_a_reason(payload in prop::collection::vec(any::<u8>(), 0..200), version: bool) {
        for codec in Codec::ALL {
            assert_bounded(codec, &payload);
            if version {
                assert_bounded(codec, &[&[compact::VERSION], &payload[..]].concat());
            }
        }
    }

    #[test]
    fn damaged_payloads_give_elements_or_a_reason((_, payload) in damaged()) {
        for codec in Codec::ALL {
            assert_bounded(codec, &payload);
        }
    }

    #[test]
    fn a_query_reads_as_the_same_json((latitude, longitude) in ("-?[1-9][0-9]?\\.[0-9]{1,12}", "-?[1-9][0-9]{1,2}\\.[0-9]{1,12}"), seconds in 0..2_000_000_000_u32) {
        let (query, _) = decoded(Codec::OsmAnd, format!("lat={latitude}&lon={longitude}&timestamp={seconds}").as_bytes());
        let (json, _) = decoded(Codec::Native, format!(r#"{{"lat":{latitude},"lon":{longitude},"timestamp":{seconds}}}"#).as_bytes());
        prop_assert_eq!(format!("{query:?}"), format!("{json:?}"));
    }
}

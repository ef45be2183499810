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
    let Decoded { skipped, is_over } = decode(codec, payload, usize::MAX, &mut elements);
    assert!(!is_over);
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
        decode(codec, b"[1,", 1, &mut elements);
        assert_eq!(elements, [Err(Reason::Past), Err(Reason::Malformed)], "{codec}");
        if let Some(hostile) = hostile(codec, 2) {
            assert_eq!(decode(codec, &hostile, 1, &mut elements), Decoded::OVER, "{codec}");
            assert_eq!(elements, [Err(Reason::Past), Err(Reason::Malformed)], "{codec}");
        }
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

/// The shortest payload that holds so many elements, unless the codec's payloads are always one.
fn hostile(codec: Codec, elements: usize) -> Option<Vec<u8>> {
    let array = || format!("[{}]", vec!["1"; elements].join(","));
    match codec {
        Codec::Native | Codec::OwnTracks | Codec::Flespi | Codec::Teltonika => Some(array().into_bytes()),
        Codec::Traccar => Some(format!("{{\"location\":{}}}", array()).into_bytes()),
        Codec::Compact => Some([&[compact::VERSION][..], &vec![0; elements]].concat()),
        Codec::OsmAnd | Codec::Recording => None,
    }
}

/// Bytes that a vector of so many elements may take, which doubles.
fn element_bytes(elements: usize) -> usize {
    2 * elements.max(4) * size_of::<Element>()
}

#[test]
fn a_payload_of_a_million_elements_takes_no_more_memory_than_as_many_as_it_may_hold() {
    const ELEMENTS_MAX: usize = 1_000;
    let plain_objects = |count| format!("[{}]", vec!["{}"; count].join(",")).into_bytes();
    let payloads = |count| CODECS.into_iter().filter_map(move |codec| Some((codec, hostile(codec, count)?)));
    let payloads = |count| payloads(count).chain([(Codec::Native, plain_objects(count))]);
    for (codec, payload) in payloads(1_000_000).chain(payloads(ELEMENTS_MAX + 1)) {
        let mut elements = Vec::new();
        assert_eq!(decode(codec, &payload, ELEMENTS_MAX, &mut elements), Decoded::OVER, "{codec}");
        assert_eq!(elements.len(), 0, "{codec}");
        let bytes = elements.capacity() * size_of::<Element>();
        assert!(bytes <= element_bytes(ELEMENTS_MAX), "{codec}: {bytes} bytes of {}", payload.len());
    }
    for (codec, payload) in payloads(ELEMENTS_MAX) {
        let mut elements = Vec::new();
        assert_eq!(decode(codec, &payload, ELEMENTS_MAX, &mut elements), Decoded::default(), "{codec}");
        assert_eq!(elements.len(), ELEMENTS_MAX, "{codec}");
    }
}

/// Whether a payload may be nothing at all to a codec: an array without members, or a batch without fixes.
fn is_empty(codec: Codec, payload: &[u8]) -> bool {
    let is_array = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    match codec {
        Codec::Native | Codec::OwnTracks | Codec::Flespi | Codec::Teltonika => {
            serde_json::from_slice(payload).is_ok_and(|value| is_array(&value))
        }
        Codec::Traccar => serde_json::from_slice(payload).is_ok_and(|value: Value| is_array(&value["location"])),
        Codec::Compact => payload == [compact::VERSION],
        Codec::OsmAnd | Codec::Recording => false,
    }
}

/// What a codec may make of a payload: no more elements than it has bytes, no more memory than those take that it may hold,
/// and something in any case but that of an empty one.
fn assert_bounded(codec: Codec, payload: &[u8]) {
    let (whole, skipped) = decoded(codec, payload);
    assert!(whole.len() + skipped <= payload.len().max(1), "{codec}: {} of {payload:?}", whole.len());
    assert_eq!(whole.len() + skipped == 0, is_empty(codec, payload), "{codec}: {payload:?}");
    for elements_max in [1, 5] {
        let mut elements = Vec::new();
        let decoded = decode(codec, payload, elements_max, &mut elements);
        assert!(elements.capacity() * size_of::<Element>() <= element_bytes(elements_max), "{codec}: {payload:?}");
        if decoded.is_over {
            assert_eq!((elements.len(), decoded), (0, Decoded::OVER), "{codec}: {payload:?}");
            assert!(payload.len() > elements_max && hostile(codec, 0).is_some(), "{codec}: {payload:?}");
        } else {
            assert_eq!((format!("{elements:?}"), decoded.skipped), (format!("{whole:?}"), skipped), "{codec}");
            assert!(elements.len() <= elements_max, "{codec}: {payload:?}");
        }
    }
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

//! Batches against the fixes that they were made of, and against input that ends or was damaged anywhere.

use proptest::option::of;
use proptest::prelude::*;

use super::*;
use crate::units::{Position, TimestampMs};
use crate::wire::testing::of_hex;
use crate::wire::time::{EARLIEST, LATEST};

const RECEIVED_AT: TimestampMs = TimestampMs(0);

fn batch_of(fixes: &[Fix]) -> Vec<u8> {
    let mut payload = Vec::new();
    encode(fixes, &mut payload);
    payload
}

/// The fixes of a batch as the engine would keep them, if all of it reads.
fn fixes_of(payload: &[u8]) -> Option<Vec<Fix>> {
    let mut elements = Vec::new();
    decode(payload, payload.len(), &mut elements);
    let fix = |element: Element| {
        let report = element.ok()?;
        let position = Position::from_degrees(report.latitude, report.longitude)?;
        Some(Fix::from_report(&report, position, report.time?, RECEIVED_AT))
    };
    elements.into_iter().map(fix).collect()
}

#[test]
fn the_example_of_the_documentation() {
    let example: String = include_str!("../compact.rs")
        .lines()
        .skip_while(|line| *line != "//! ```text")
        .skip(1)
        .take_while(|line| *line != "//! ```")
        .flat_map(|line| line.trim_start_matches("//!").trim_start().split("  ").next())
        .flat_map(|bytes| bytes.split(' '))
        .collect();
    let position = |latitude_e7| Position { latitude_e7, longitude_e7: 210_122_000 };
    let fix = |time_ms, latitude_e7, speed_mmps| Fix {
        received_at: RECEIVED_AT,
        speed_mmps: Some(speed_mmps),
        ..Fix::at(TimestampMs(time_ms), position(latitude_e7))
    };
    let fixes = [fix(1_708_093_024_000, 522_297_000, 8_300), fix(1_708_093_034_000, 522_298_000, 8_500)];
    assert_eq!(batch_of(&fixes), of_hex(&example));
    assert_eq!(fixes_of(&of_hex(&example)).unwrap(), fixes);
}

#[test]
fn a_fix_that_goes_on_as_before_is_a_head_and_its_move() {
    let fix = |n: i32| Fix {
        heading_cdeg: Some(9_000),
        ..Fix::at(
            TimestampMs(1_708_093_024_000 + i64::from(n) * 1_000),
            Position { latitude_e7: 522_297_000 + n * 900, longitude_e7: 210_122_000 - n * 900 },
        )
    };
    let two = batch_of(&[fix(0), fix(1)]).len();
    assert_eq!(batch_of(&[fix(0), fix(1), fix(2)]).len() - two, 5);
}

/// Fixes as a report can tell them: what takes more than the 24 bits of its floats is not kept to the last digit.
fn fixes() -> impl Strategy<Value = Fix> {
    const EXACT_MAX: u32 = 1 << 23;
    let time = prop_oneof![
        (1_708_000_000_i64..1_708_000_100).prop_map(|seconds| seconds * 1_000),
        1_708_000_000_000_i64..1_708_000_100_000,
        EARLIEST.0..=LATEST.0,
    ];
    let place = prop_oneof![
        (522_290_000..522_300_000, 210_120_000..210_130_000),
        (-900_000_000..=900_000_000, -1_800_000_000..=1_800_000_000),
    ];
    let moving = (of(0..EXACT_MAX), of(0..36_000_u16), of(-(EXACT_MAX as i32)..EXACT_MAX as i32), of(0..EXACT_MAX));
    let device = (any::<Option<u16>>(), any::<Option<u32>>(), of(0..=100_u8), any::<Option<u8>>());
    (time, place, moving, device).prop_map(|(time_ms, (latitude_e7, longitude_e7), moving, device)| Fix {
        received_at: RECEIVED_AT,
        speed_mmps: moving.0,
        heading_cdeg: moving.1,
        altitude_cm: moving.2,
        accuracy_cm: moving.3,
        hdop_centi: device.0,
        seq: device.1,
        battery_percent: device.2,
        satellites: device.3,
        ..Fix::at(TimestampMs(time_ms), Position { latitude_e7, longitude_e7 })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    #[test]
    fn batches_read_back(fixes in prop::collection::vec(fixes(), 0..20)) {
        prop_assert_eq!(fixes_of(&batch_of(&fixes)).unwrap(), fixes);
    }

    #[test]
    fn a_batch_that_is_cut_is_whole_fixes_or_malformed(fixes in prop::collection::vec(fixes(), 1..8), at: prop::sample::Index) {
        let whole = batch_of(&fixes);
        let payload = &whole[..at.index(whole.len())];
        match fixes_of(payload) {
            Some(read) => {
                prop_assert!(read.len() < fixes.len());
                prop_assert_eq!(&batch_of(&read), payload);
            }
            None => {
                let mut elements = Vec::new();
                decode(payload, payload.len(), &mut elements);
                prop_assert_eq!(elements, [Err(Reason::Malformed)]);
            }
        }
    }
}

//! The written cases of `fixtures/wire/`, a JSON object a line: `payload` as text (`hex` for a binary one), the `elements` that
//! it becomes, and where they matter `skipped` messages, the `device` or the `topic` that it names.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use crate::codec::Codec;
use crate::fix::Element;

/// A payload and what it becomes.
pub(super) struct Case {
    /// File, line and payload, for messages.
    pub(super) name: String,
    pub(super) payload: Vec<u8>,
    pub(super) elements: Vec<Value>,
    pub(super) skipped: u64,
    /// Everything that the line says.
    pub(super) line: Value,
}

/// The cases of a codec.
pub(super) fn cases(codec: Codec) -> Vec<Case> {
    let file = format!("fixtures/wire/{codec}.jsonl");
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&file)).unwrap();
    let cases: Vec<Case> = text.lines().enumerate().map(|(index, line)| case(&file, index + 1, line)).collect();
    assert!(!cases.is_empty(), "{file} is empty");
    cases
}

fn case(file: &str, number: usize, text: &str) -> Case {
    let line: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{file}:{number}: {error}"));
    let payload = match (line["payload"].as_str(), line["hex"].as_str()) {
        (Some(payload), None) => payload.as_bytes().to_vec(),
        (None, Some(hex)) => of_hex(hex),
        _ => panic!("{file}:{number}: one of payload and hex"),
    };
    Case {
        name: format!("{file}:{number}: {text}"),
        payload,
        elements: line["elements"].as_array().unwrap().clone(),
        skipped: line["skipped"].as_u64().unwrap_or(0),
        line,
    }
}

/// Bytes of their hexadecimal digits.
pub(super) fn of_hex(digits: &str) -> Vec<u8> {
    assert!(digits.len().is_multiple_of(2), "{digits}");
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// An element as the cases write it: the reason, or the fields that are known, each with the fewest digits that tell it.
pub(super) fn shown(element: &Element) -> Value {
    let report = match element {
        Ok(report) => report,
        Err(reason) => return reason.as_str().into(),
    };
    let mut object = Map::new();
    let coordinate = |value: f64| if value.is_finite() { value.into() } else { value.to_string().into() };
    object.insert("latitude".into(), coordinate(report.latitude));
    object.insert("longitude".into(), coordinate(report.longitude));
    if let Some(time) = report.time {
        object.insert("time_ms".into(), time.0.into());
    }
    for (name, value) in [
        ("speed_mps", report.speed_mps),
        ("heading_deg", report.heading_deg),
        ("altitude_m", report.altitude_m),
        ("accuracy_m", report.accuracy_m),
        ("hdop", report.hdop),
    ] {
        if !value.is_nan() {
            object.insert(name.into(), value.to_string().parse::<f64>().unwrap().into());
        }
    }
    let wholes = [
        ("seq", report.seq),
        ("battery_percent", report.battery_percent.map(u32::from)),
        ("satellites", report.satellites.map(u32::from)),
    ];
    for (name, value) in wholes {
        if let Some(value) = value {
            object.insert(name.into(), value.into());
        }
    }
    object.into()
}

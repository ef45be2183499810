//! The rules one by one, on the equator, where a metre is 90 steps of longitude.

use super::*;
use crate::geo::fence::state::Stay;
use FenceEventKind::{Dwell, Enter, Exit};

/// Metres of a degree on the equator.
const DEGREE_M: f64 = crate::geo::EARTH_RADIUS_M * std::f64::consts::PI / 180.0;

/// So far east of 0, 0.
fn east(metres: f64) -> Position {
    at(0.0, metres / DEGREE_M)
}

/// A circle of 100 m around a place on the street.
fn depot() -> FenceSpec {
    circle(0.0, 0.0, 100.0)
}

/// What a driver is told who is so far east at each of these seconds; kind, fence and second, to the tenth.
fn told(set: &FenceSet, way: &[(f64, f64)]) -> Vec<(FenceEventKind, String, f64)> {
    let mut drive = Drive::new(FenceRules::default());
    way.iter().flat_map(|(time_s, metres)| short(drive.take(set, &fix(*time_s, east(*metres))))).collect()
}

fn short(events: Vec<FenceEvent>) -> Vec<(FenceEventKind, String, f64)> {
    let tenths = |time: TimestampMs| (time.0 as f64 / 100.0).round() / 10.0;
    events.into_iter().map(|event| (event.kind, event.fence.as_str().to_owned(), tenths(event.time))).collect()
}

fn set(fences: &[(&str, FenceSpec)]) -> FenceSet {
    fences.iter().map(|(id, spec)| fence(id, 1, spec)).collect()
}

#[test]
fn each_rule_of_the_way() {
    let dwell = |dwell_s| FenceSpec { dwell_s: Some(dwell_s), ..depot() };
    let once = FenceSpec { once: true, dwell_s: Some(1), ..depot() };
    let inner = circle(0.0, 0.0, 50.0);
    let square = |half_m: f64| {
        let half = half_m / DEGREE_M;
        vec![[-half, -half], [half, -half], [half, half], [-half, half], [-half, -half]]
    };
    let ring_road = polygon(&[square(300.0), square(100.0)]);
    let narrow_hole = polygon(&[square(300.0), square(15.0)]);
    type Case<'a> = (&'a str, FenceSpec, &'a [(f64, f64)], &'a [(FenceEventKind, f64)]);
    let cases: &[Case<'_>] = &[
        (
            "in, stay, out",
            depot(),
            &[(0.0, -200.0), (10.0, 0.0), (20.0, 0.0), (30.0, 200.0)],
            &[(Enter, 5.0), (Exit, 25.0)],
        ),
        ("a first fix inside", depot(), &[(7.0, 0.0), (8.0, 10.0)], &[(Enter, 7.0)]),
        ("crossed between two fixes", depot(), &[(0.0, -500.0), (10.0, 500.0)], &[(Enter, 4.0), (Exit, 6.0)]),
        ("past it", depot(), &[(0.0, -500.0), (10.0, -100.1), (20.0, -500.0)], &[]),
        (
            "scatter over the edge, by less than the margin",
            depot(),
            &[(0.0, 90.0), (1.0, 110.0), (2.0, 95.0), (3.0, 119.0), (4.0, 99.0), (5.0, 115.0), (6.0, 116.0)],
            &[(Enter, 0.0)],
        ),
        (
            "out of the margin by a way that left the fence long before",
            depot(),
            &[(0.0, 90.0), (1.0, 110.0), (2.0, 110.0), (10.0, 110.0), (20.0, 130.0), (30.0, 140.0)],
            &[(Enter, 0.0), (Exit, 15.0)],
        ),
        (
            "a crossing that ends on the margin",
            depot(),
            &[(0.0, -500.0), (10.0, 110.0), (20.0, 500.0)],
            &[(Enter, 6.6), (Exit, 10.3)],
        ),
        ("a late fix", depot(), &[(0.0, 500.0), (10.0, 400.0), (5.0, 0.0), (10.0, 0.0), (11.0, 390.0)], &[]),
        (
            "a gap",
            depot(),
            &[(0.0, -500.0), (601.0, 500.0), (1_300.0, 0.0), (2_000.0, 110.0), (2_700.0, 500.0)],
            &[(Enter, 1_300.0), (Exit, 2_700.0)],
        ),
        ("just no gap", depot(), &[(0.0, -500.0), (600.0, 500.0)], &[(Enter, 240.0), (Exit, 360.0)]),
        ("a jump over 300 km", depot(), &[(0.0, -150_000.0), (60.0, 150_000.0)], &[]),
        (
            "dwell, once a stay, when it is over or not",
            dwell(30),
            &[
                (0.0, 0.0),
                (29.0, 0.0),
                (31.0, 0.0),
                (40.0, 0.0),
                (50.0, 1_000.0),
                (60.0, 0.0),
                (80.0, 0.0),
                (89.0, 1_000.0),
            ],
            &[(Enter, 0.0), (Dwell, 30.0), (Exit, 41.0), (Enter, 59.0), (Exit, 80.9)],
        ),
        (
            "dwell on the way through",
            dwell(10),
            &[(0.0, -500.0), (100.0, 500.0)],
            &[(Enter, 40.0), (Dwell, 50.0), (Exit, 60.0)],
        ),
        (
            "no dwell over a gap that ends outside",
            dwell(10),
            &[(0.0, 0.0), (700.0, 500.0)],
            &[(Enter, 0.0), (Exit, 700.0)],
        ),
        ("dwell over a gap that ends inside", dwell(10), &[(0.0, 0.0), (700.0, 10.0)], &[(Enter, 0.0), (Dwell, 700.0)]),
        (
            "one shot",
            once,
            &[(0.0, -500.0), (10.0, 500.0), (20.0, 0.0), (30.0, 0.0), (40.0, 500.0), (50.0, 0.0)],
            &[(Enter, 4.0)],
        ),
        ("within the other", inner, &[(0.0, -500.0), (10.0, 500.0)], &[(Enter, 4.5), (Exit, 5.5)]),
        (
            "over a hole",
            ring_road,
            &[(0.0, -500.0), (10.0, 500.0)],
            &[(Enter, 2.0), (Exit, 4.0), (Enter, 6.0), (Exit, 8.0)],
        ),
        ("over a hole within the margin", narrow_hole, &[(0.0, -500.0), (10.0, 500.0)], &[(Enter, 2.0), (Exit, 8.0)]),
    ];
    for (name, spec, way, expected) in cases {
        let expected: Vec<_> = expected.iter().map(|(kind, time_s)| (*kind, "f".to_owned(), *time_s)).collect();
        assert_eq!(told(&set(&[("f", spec.clone())]), way), expected, "{name}");
    }
}

#[test]
fn several_fences_are_told_in_the_order_of_the_way_and_then_by_id() {
    let fences = set(&[
        ("c", depot()),
        ("b", circle(0.0, 0.0, 50.0)),
        ("d", depot()),
        ("a", circle(0.0, 300.0 / DEGREE_M, 100.0)),
    ]);
    let expected = [
        (Enter, "c", 4.0),
        (Enter, "d", 4.0),
        (Enter, "b", 4.5),
        (Exit, "b", 5.5),
        (Exit, "c", 6.0),
        (Exit, "d", 6.0),
        (Enter, "a", 7.0),
        (Exit, "a", 9.0),
    ];
    let expected: Vec<_> = expected.iter().map(|(kind, id, time_s)| (*kind, (*id).to_owned(), *time_s)).collect();
    assert_eq!(told(&fences, &[(0.0, -500.0), (10.0, 500.0)]), expected);
}

#[test]
fn accuracy_widens_the_margin_up_to_a_kilometre() {
    for (accuracy_m, metres, leaves) in
        [(0, 121.0, true), (50, 121.0, false), (50, 151.0, true), (9_000, 1_099.0, false), (9_000, 1_101.0, true)]
    {
        let mut drive = Drive::new(FenceRules::default());
        let set = set(&[("f", depot())]);
        drive.take(&set, &fix(0.0, east(0.0)));
        let fix = Fix { accuracy_cm: Some(accuracy_m * 100), ..fix(1.0, east(metres)) };
        assert_eq!(!drive.take(&set, &fix).is_empty(), leaves, "{accuracy_m} {metres}");
    }
}

#[test]
fn fences_come_change_and_go_while_a_driver_is_there() {
    let mut drive = Drive::new(FenceRules::default());
    let mut set = FenceSet::new();
    let mut time_s = 0.0;
    let mut step = |drive: &mut Drive, set: &FenceSet, metres: f64| {
        time_s += 10.0;
        short(drive.take(set, &fix(time_s, east(metres))))
            .into_iter()
            .map(|(kind, _, time_s)| (kind, time_s))
            .collect::<Vec<_>>()
    };
    assert_eq!(step(&mut drive, &set, 0.0), []);
    set.put(fence("f", 1, &depot()));
    assert_eq!(step(&mut drive, &set, 0.0), [(Enter, 20.0)], "at its next fix, not before");
    set.put(fence("f", 2, &circle(0.0, 0.0, 500.0)));
    assert_eq!(step(&mut drive, &set, 0.0), [], "still inside");
    set.put(fence("f", 3, &circle(0.0, 300.0 / DEGREE_M, 100.0)));
    assert_eq!(step(&mut drive, &set, 0.0), [(Exit, 40.0)], "no longer inside");
    set.put(fence("f", 4, &FenceSpec { dwell_s: Some(15), ..depot() }));
    assert_eq!(step(&mut drive, &set, 1.0), [(Enter, 50.0)]);
    set.put(fence("f", 5, &FenceSpec { dwell_s: Some(5), ..depot() }));
    assert_eq!(step(&mut drive, &set, 2.0), [(Dwell, 55.0)]);
    set.put(fence("f", 6, &FenceSpec { dwell_s: Some(6), ..depot() }));
    assert_eq!(step(&mut drive, &set, 2.0), [], "told already");
    set.remove("f");
    assert_eq!(step(&mut drive, &set, 2.0), []);
    assert_eq!(drive.state.inside().count(), 0);
    set.put(fence("f", 7, &depot()));
    assert_eq!(step(&mut drive, &set, 3.0), [(Enter, 90.0)], "a new one, though the id is known");
    // Of another driver now, and then left out of that.
    set.put(fence("f", 8, &FenceSpec { driver_id: Some(DriverId::new("d2").unwrap()), ..depot() }));
    assert_eq!(step(&mut drive, &set, 4.0), []);
    set.put(fence("f", 9, &FenceSpec { driver_id: Some(driver()), ..depot() }));
    assert_eq!(step(&mut drive, &set, 5.0), [(Enter, 110.0)]);
    // Armed by every change, and not by fixes.
    set.put(fence("f", 10, &FenceSpec { once: true, ..depot() }));
    assert_eq!(step(&mut drive, &set, 6.0), [(Enter, 120.0)]);
    assert_eq!(step(&mut drive, &set, 900.0), []);
    assert_eq!(step(&mut drive, &set, 0.0), []);
    set.put(fence("f", 11, &FenceSpec { once: true, ..depot() }));
    assert_eq!(step(&mut drive, &set, 1.0), [(Enter, 150.0)]);
    // A fence that came while the driver was there, and that it left at once, it never entered.
    set.put(fence("g", 1, &depot()));
    assert_eq!(step(&mut drive, &set, 500.0), []);
    assert_eq!(set.len(), 2);
}

#[test]
fn a_fence_of_one_driver_is_nobody_elses() {
    let mine = FenceSpec { driver_id: Some(driver()), once: true, ..depot() };
    let theirs = FenceSpec { driver_id: Some(DriverId::new("d2").unwrap()), ..depot() };
    let fences = set(&[("mine", mine), ("theirs", theirs)]);
    let way = [(0.0, -5_000.0), (1.0, -4_990.0), (10.0, 500.0), (20.0, -500.0)];
    assert_eq!(
        told(&fences, &way).into_iter().map(|(kind, id, _)| (kind, id)).collect::<Vec<_>>(),
        [(Enter, "mine".to_owned())]
    );
}

#[test]
fn descriptions_that_are_none_say_which_field() {
    let line = |places: &[[f64; 2]], width_m| FenceSpec { width_m, ..bare(corridor(places, 10.0).geometry) };
    let square = vec![[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]];
    let bow_tie = vec![[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]];
    let spiral: Vec<_> = (0..2_000).map(|turn| [f64::from(turn % 2) * 170.0, f64::from(turn) * 0.01]).collect();
    for (spec, field) in [
        (circle(0.0, 0.0, 0.9), "radius_m"),
        (circle(0.0, 0.0, f64::NAN), "radius_m"),
        (circle(0.0, 0.0, 1_000_001.0), "radius_m"),
        (FenceSpec { radius_m: None, ..depot() }, "radius_m"),
        (FenceSpec { width_m: Some(5.0), ..depot() }, "width_m"),
        (circle(91.0, 0.0, 5.0), "geometry.coordinates"),
        (line(&[[0.0, 0.0], [1.0, 0.0]], None), "width_m"),
        (line(&[[0.0, 0.0], [1.0, 0.0]], Some(0.0)), "width_m"),
        (line(&[[0.0, 0.0]], Some(5.0)), "geometry.coordinates"),
        (line(&[[0.0, 0.0], [0.0, 0.0]], Some(5.0)), "geometry.coordinates"),
        (line(&[[0.0, 0.0], [181.0, 0.0]], Some(5.0)), "geometry.coordinates"),
        (line(&spiral, Some(5.0)), "geometry.coordinates"),
        (FenceSpec { radius_m: Some(5.0), ..polygon(std::slice::from_ref(&square)) }, "radius_m"),
        (polygon(&[]), "geometry.coordinates"),
        (polygon(&[square[..3].to_vec()]), "geometry.coordinates"),
        (polygon(&[bow_tie]), "geometry.coordinates"),
        (bare(Geometry::MultiPolygon(vec![])), "geometry.coordinates"),
        (FenceSpec { dwell_s: Some(0), ..depot() }, "dwell_s"),
        (FenceSpec { dwell_s: Some(DWELL_S_MAX + 1), ..depot() }, "dwell_s"),
        (FenceSpec { name: Some("x".repeat(NAME_BYTES_MAX + 1)), ..depot() }, "name"),
    ] {
        let fault = Fence::new(FenceId::new("f").unwrap(), 1, &spec).unwrap_err();
        assert_eq!(fault.field(), field, "{fault} of {spec:?}");
    }
}

#[test]
fn descriptions_are_json() {
    let text = r#"{"geometry":{"type":"Point","coordinates":[21.0,52.0]},"radius_m":150.0,"name":"depot","dwell_s":60,"driver_id":"d1","once":true}"#;
    let spec: FenceSpec = serde_json::from_str(text).unwrap();
    let expected = FenceSpec {
        name: Some("depot".to_owned()),
        dwell_s: Some(60),
        driver_id: Some(driver()),
        once: true,
        ..circle(52.0, 21.0, 150.0)
    };
    assert_eq!(spec, expected);
    assert_eq!(serde_json::to_string(&spec).unwrap(), text);
    let bare = r#"{"geometry":{"type":"LineString","coordinates":[[1.0,2.0],[3.0,4.0]]},"width_m":5.0}"#;
    assert_eq!(serde_json::to_string(&serde_json::from_str::<FenceSpec>(bare).unwrap()).unwrap(), bare);
    for bad in [r#"{"radius_m":5}"#, &text.replace("d1", "d/1"), &text.replace("once", "onse")] {
        assert!(serde_json::from_str::<FenceSpec>(bad).is_err(), "{bad}");
    }
}

#[test]
fn state_goes_into_few_bytes_and_back() {
    let encode = |state: &DriverFences| {
        let mut bytes = Vec::new();
        state.encode(&mut bytes);
        bytes
    };
    assert_eq!(encode(&DriverFences::default()).len(), 1);
    let mut drive = Drive::new(FenceRules::default());
    let fences = set(&[("f", depot()), ("g", FenceSpec { once: true, ..depot() })]);
    let begin_s = 1_700_000_000.0;
    drive.take(&fences, &fix(begin_s, at(-89.1234567, 179.7654321)));
    assert!(encode(&drive.state).len() <= 30, "outside of all");
    drive.take(&fences, &fix(begin_s + 1.0, east(0.0)));
    let bytes = encode(&drive.state);
    let read = DriverFences::decode(&bytes).unwrap();
    let stays =
        |state: &DriverFences| state.stays.iter().map(|stay| Stay { slot: 0, ..stay.clone() }).collect::<Vec<_>>();
    assert_eq!((read.last(), stays(&read)), (drive.state.last(), stays(&drive.state)));
    assert_eq!((read.stays.len(), read.inside().count()), (2, 1));
    assert_eq!(encode(&read), bytes);
    for end in 0..bytes.len() {
        assert!(end == 1 || DriverFences::decode(&bytes[..end]).is_none(), "{end} bytes of {}", bytes.len());
    }
    for index in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[index] ^= 1 << bit;
            // Read as something or as nothing, without a panic.
            DriverFences::decode(&damaged);
        }
    }
    assert!(DriverFences::decode(&[&bytes[..], &[0]].concat()).is_none());
    assert!(DriverFences::decode(&[2]).is_none());
}

#[test]
fn no_more_stays_than_there_is_room_for_and_the_same_ones_whatever_the_order_of_puts() {
    let ids: Vec<String> = (0..STAYS_MAX + 50).map(|index| format!("f{index}")).collect();
    let told = |ids: &mut dyn Iterator<Item = &String>| {
        let mut set = FenceSet::new();
        ids.for_each(|id| drop(set.put(fence(id, 1, &depot()))));
        let mut drive = Drive::new(FenceRules::default());
        drive.take(&set, &fix(0.0, east(0.0)))
    };
    let forward = told(&mut ids.iter());
    assert_eq!(forward.len(), STAYS_MAX);
    assert_eq!(told(&mut ids.iter().rev()), forward);
}

#[test]
fn the_set_finds_what_was_put_and_not_what_was_removed() {
    let mut set = FenceSet::new();
    for index in 0..500 {
        let spec = circle(0.0, f64::from(index) * 0.01, 100.0);
        assert!(set.put(fence(&format!("f{index}"), 1, &spec)).is_none());
    }
    assert_eq!(set.put(fence("f7", 2, &circle(1.0, 1.0, 50.0))).unwrap().version(), 1);
    for index in (0..500).step_by(2) {
        assert_eq!(set.remove(&format!("f{index}")).unwrap().id().as_str(), format!("f{index}"));
    }
    assert!(set.remove("f0").is_none() && set.get("f0").is_none());
    assert_eq!((set.len(), set.iter().count(), set.get("f7").unwrap().version()), (250, 250, 2));
    let mut drive = Drive::new(FenceRules { gap_max_s: 100_000, ..FenceRules::default() });
    drive.take(&set, &fix(0.0, at(0.0, -0.5)));
    let ids: Vec<_> =
        drive.take(&set, &fix(100.0, at(0.0, 1.2))).into_iter().map(|event| event.fence.to_string()).collect();
    let odd = (1..120).step_by(2).filter(|index| *index != 7);
    assert_eq!(ids, odd.flat_map(|index| [format!("f{index}"), format!("f{index}")]).collect::<Vec<_>>());
}

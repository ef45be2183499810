use std::collections::HashMap;

use ::geo::{Distance as _, Haversine, Point};
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::geo::distance::distance_m;
use crate::geo::testing::{bare, fix_at, key, mixed_key, position};
use crate::units::TimestampMs;

const TAGS: [&str; 3] = ["van", "cold", "bike"];

/// A driver as brute force knows it.
#[derive(Clone, Debug)]
struct Known {
    fix: Fix,
    tags: Vec<&'static str>,
    on_shipment: bool,
}

/// A neighbour by name.
type Named = (Arc<DriverKey>, Fix, f64, bool);

fn named(found: Vec<Neighbour<'_>>) -> Vec<Named> {
    found.into_iter().map(|one| (Arc::clone(one.driver), one.fix, one.distance_m, one.on_shipment)).collect()
}

fn brute_force(drivers: &[Known], query: &Nearest<'_>) -> Vec<Named> {
    let mut all: Vec<_> = drivers
        .iter()
        .enumerate()
        .filter(|(_, one)| query.received_since.is_none_or(|since| one.fix.received_at >= since))
        .filter(|(_, one)| query.received_before.is_none_or(|before| one.fix.received_at < before))
        .filter(|(_, one)| query.on_shipment.is_none_or(|on_shipment| one.on_shipment == on_shipment))
        .filter(|(_, one)| query.tags.iter().all(|tag| one.tags.contains(tag)))
        .map(|(index, one)| (mixed_key(index), one.fix, distance_m(query.position, one.fix.position), one.on_shipment))
        .filter(|(_, _, distance_m, _)| query.radius_m.is_none_or(|radius_m| *distance_m <= radius_m))
        .filter(|(key, _, distance_m, _)| {
            query.after.is_none_or(|after| {
                distance_m.total_cmp(&after.distance_m).then_with(|| key.driver().as_str().cmp(after.driver)).is_gt()
            })
        })
        .collect();
    all.sort_by(|one, other| one.2.total_cmp(&other.2).then_with(|| one.0.driver().cmp(other.0.driver())));
    all.truncate(query.limit);
    all
}

/// What happens to a fleet.
#[derive(Clone, Debug)]
enum Step {
    Move(Index, Position),
    Traits(Index, Vec<&'static str>, bool),
    Advance(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (any::<Index>(), position()).prop_map(|(index, position)| Step::Move(index, position)),
        2 => (any::<Index>(), proptest::sample::subsequence(&TAGS[..], 0..=TAGS.len()), any::<bool>())
            .prop_map(|(index, tags, on_shipment)| Step::Traits(index, tags, on_shipment)),
        1 => (0..100_i64).prop_map(Step::Advance),
    ]
}

#[derive(Clone, Debug)]
struct Asked {
    position: Position,
    limit: usize,
    radius_m: Option<f64>,
    since: Option<i64>,
    before: Option<i64>,
    on_shipment: Option<bool>,
    tags: Vec<&'static str>,
}

fn asked() -> impl Strategy<Value = Asked> {
    let times = (proptest::option::of(0..200_i64), proptest::option::of(0..200_i64));
    let traits = (any::<Option<bool>>(), proptest::sample::subsequence(&TAGS[..], 0..=2));
    let radius_m = proptest::option::of(prop_oneof![0.0..2e7_f64, 0.0..5_000.0_f64]);
    (position(), 0..30_usize, radius_m, times, traits).prop_map(
        |(position, limit, radius_m, (since, before), (on_shipment, tags))| Asked {
            position,
            limit,
            radius_m,
            since,
            before,
            on_shipment,
            tags,
        },
    )
}

/// The step's number in seconds, as ticks of the wheel are.
fn at_step(step: i64) -> TimestampMs {
    TimestampMs(step * 1_000)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn nearest_is_what_brute_force_finds(
        drivers in proptest::collection::vec(position(), 0..150),
        steps in proptest::collection::vec(step(), 0..200),
        queries in proptest::collection::vec(asked(), 1..8),
    ) {
        let fleet = Fleet::default();
        let known = |position| Known { fix: bare(position, 0), tags: Vec::new(), on_shipment: false };
        let mut drivers: Vec<_> = drivers.into_iter().map(known).collect();
        let slots: Vec<_> =
            drivers.iter().enumerate().map(|(index, one)| fleet.join(mixed_key(index), &one.fix)).collect();
        for (number, step) in steps.into_iter().enumerate().filter(|_| !slots.is_empty()) {
            match step {
                Step::Move(index, position) => {
                    let index = index.index(slots.len());
                    drivers[index].fix = bare(position, at_step(number as i64).0);
                    fleet.update(slots[index], &drivers[index].fix);
                }
                Step::Traits(index, tags, on_shipment) => {
                    let index = index.index(slots.len());
                    fleet.set_traits(mixed_key(index).driver(), &tags, on_shipment).unwrap();
                    drivers[index].tags = tags;
                    drivers[index].on_shipment = on_shipment;
                }
                Step::Advance(silent_after) => {
                    while !fleet.advance(at_step(number as i64 - silent_after)).is_done {}
                }
            }
        }
        fleet.tree.check(&fleet.records, slots.len() as u32);
        for asked in queries {
            let query = Nearest {
                radius_m: asked.radius_m,
                received_since: asked.since.map(at_step),
                received_before: asked.before.map(at_step),
                on_shipment: asked.on_shipment,
                tags: &asked.tags,
                ..Nearest::new(asked.position, asked.limit)
            };
            let expected = brute_force(&drivers, &query);
            prop_assert_eq!(named(fleet.nearest(&query)), expected.clone());
            // Page by page it is the same.
            let whole = brute_force(&drivers, &Nearest { limit: 3 * asked.limit, ..query });
            let mut pages: Vec<Named> = Vec::new();
            while asked.limit > 0 && pages.len() < whole.len() {
                let last = pages.last().cloned();
                let after = last
                    .as_ref()
                    .map(|(key, _, distance_m, _)| After { distance_m: *distance_m, driver: key.driver().as_str() });
                let page = named(fleet.nearest(&Nearest { after, ..query }));
                prop_assert!(!page.is_empty());
                pages.extend(page);
            }
            prop_assert_eq!(pages, whole);
            for (_, fix, distance_m, _) in expected.iter().filter(|one| one.2 < 15e6) {
                let point = |position: Position| Point::new(position.longitude(), position.latitude());
                let theirs = Haversine.distance(point(asked.position), point(fix.position));
                prop_assert!((distance_m - theirs).abs() <= 1e-6 + theirs * 1e-9);
            }
        }
    }
}

#[test]
fn across_the_antimeridian_and_over_the_pole() {
    let fleet = Fleet::default();
    fleet.join(key("suva"), &fix_at(-18.14, 178.44));
    fleet.join(key("apia"), &fix_at(-13.83, -171.77));
    fleet.join(key("svalbard"), &fix_at(78.22, 15.65));
    fleet.join(key("wrangel"), &fix_at(71.0, 179.9));
    let nearest = |latitude, longitude| {
        let position = Position::from_degrees(latitude, longitude).unwrap();
        fleet.nearest(&Nearest::new(position, 1))[0].driver.driver().to_string()
    };
    assert_eq!(nearest(-18.0, -179.9), "suva");
    assert_eq!(nearest(-14.0, 179.9), "suva");
    assert_eq!(nearest(-14.0, -176.0), "apia");
    assert_eq!(nearest(90.0, 0.0), "svalbard");
    assert_eq!(nearest(85.0, -170.0), "wrangel");
    assert_eq!(nearest(71.0, -179.9), "wrangel");
}

#[test]
fn a_radius_that_is_none_finds_nobody() {
    let fleet = Fleet::default();
    let fix = fix_at(52.0, 21.0);
    fleet.join(key("d1"), &fix);
    for (radius_m, count) in [(0.0, 1), (-1.0, 0), (f64::NAN, 0), (f64::INFINITY, 1)] {
        let query = Nearest { radius_m: Some(radius_m), ..Nearest::new(fix.position, 10) };
        assert_eq!(fleet.nearest(&query).len(), count, "{radius_m}");
    }
}

#[test]
fn ten_thousand_on_one_spot_come_by_id_and_page_by_page() {
    let fleet = Fleet::default();
    let fix = fix_at(52.0, 21.0);
    for index in 0..10_000 {
        fleet.join(mixed_key(index), &fix);
    }
    fleet.tree.check(&fleet.records, 10_000);
    let known = Known { fix, tags: Vec::new(), on_shipment: false };
    let query = Nearest::new(fix.position, 20);
    let first = named(fleet.nearest(&query));
    assert_eq!(first, brute_force(&vec![known.clone(); 10_000], &query));
    let after = After { distance_m: first[19].2, driver: first[19].0.driver().as_str() };
    let query = Nearest { after: Some(after), ..query };
    assert_eq!(named(fleet.nearest(&query)), brute_force(&vec![known; 10_000], &query));
}

#[test]
fn a_thousand_of_many_come_in_order() {
    let fleet = Fleet::default();
    let at = |index: usize| {
        let (north, east) = (index.wrapping_mul(0x9e37_79b1) % 100_000, index.wrapping_mul(0x85eb_ca6b) % 100_000);
        Position { latitude_e7: 520_000_000 + north as i32 * 10, longitude_e7: 210_000_000 + east as i32 * 10 }
    };
    let known: Vec<_> =
        (0..5_000).map(|index| Known { fix: bare(at(index), 0), tags: Vec::new(), on_shipment: false }).collect();
    for (index, one) in known.iter().enumerate() {
        fleet.join(mixed_key(index), &one.fix);
    }
    for limit in [1_000, 4_999, 6_000] {
        let query = Nearest::new(at(7), limit);
        assert_eq!(named(fleet.nearest(&query)), brute_force(&known, &query), "{limit}");
    }
}

#[test]
fn what_was_said_before_the_first_fix_counts() {
    let fleet = Fleet::default();
    let fix = fix_at(52.0, 21.0);
    fleet.set_traits(key("d1").driver(), &["van"], true).unwrap();
    for driver in ["d1", "d2"] {
        fleet.join(key(driver), &fix);
    }
    let found = |query: &Nearest<'_>| -> HashMap<String, bool> {
        fleet.nearest(query).iter().map(|one| (one.driver.driver().to_string(), one.on_shipment)).collect()
    };
    let query = Nearest::new(fix.position, 10);
    assert_eq!(found(&Nearest { tags: &["van"], ..query }), HashMap::from([("d1".into(), true)]));
    assert_eq!(found(&Nearest { on_shipment: Some(false), ..query }), HashMap::from([("d2".into(), false)]));
    assert_eq!(found(&query).len(), 2);
    fleet.set_traits(key("d1").driver(), &[], false).unwrap();
    assert!(found(&Nearest { tags: &["van"], ..query }).is_empty());
}

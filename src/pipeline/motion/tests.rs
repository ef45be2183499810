//! Tracks against the rules of motion, on windows that remember everything.

use proptest::prelude::*;

use super::*;
use crate::fix::Report;
use crate::pipeline::window::{Place, Window};

/// Road vehicles.
const ROAD: Rules = Rules {
    payload_bytes_max: 0,
    no_fix: true,
    null_island: true,
    rollover_s_max: 0,
    past_s: 0,
    future_s: 0,
    accuracy_m_max: 0,
    speed_mps_max: 70,
    stationary_m: 0,
    period_ms_min: 0,
    distance_m_min: 0,
    heartbeat_s: 0,
};

/// Some 20 m at 52° north, which is what a bus drives in a second.
const STEP_DEG: f64 = 0.0003;

fn fix(time_s: f64, latitude: f64, longitude: f64) -> Fix {
    let time = TimestampMs((time_s * 1_000.0).round() as i64);
    Fix::at(time, Position::from_degrees(latitude, longitude).unwrap())
}

/// At a second of a ride along 52° north.
fn riding(second: i64) -> Fix {
    fix(second as f64, 52.0, 21.0 + second as f64 * STEP_DEG)
}

/// The same ride as from another town, 100 km north.
fn elsewhere(second: i64) -> Fix {
    fix(second as f64, 53.0, 21.0 + second as f64 * STEP_DEG)
}

/// One driver.
#[derive(Default)]
struct Ride {
    window: Window,
    trail: Option<Box<Trail>>,
}

impl Ride {
    /// `+` stored, `d` a duplicate, else the first letter of the reason.
    fn judge(&mut self, rules: &Rules, fix: Fix) -> char {
        if self.window.place(fix.time) == Place::Taken {
            end_before(fix.time, &mut self.trail);
            return 'd';
        }
        match rules.judge_motion(&fix, self.window.neighbours(fix.time).neighbours, &mut self.trail) {
            Ok(()) => {
                self.window.insert(fix);
                '+'
            }
            Err(Reason::ImpliedSpeed) => 'i',
            Err(Reason::Stationary) => 's',
            Err(Reason::Thinned) => 't',
            Err(other) => panic!("{other}"),
        }
    }

    fn judge_all(&mut self, rules: &Rules, fixes: impl IntoIterator<Item = Fix>) -> String {
        fixes.into_iter().map(|fix| self.judge(rules, fix)).collect()
    }
}

fn told(rules: &Rules, fixes: impl IntoIterator<Item = Fix>) -> String {
    Ride::default().judge_all(rules, fixes)
}

#[test]
fn a_jump_is_refused_and_does_not_poison_the_track() {
    let (here, there) = (riding, elsewhere);
    let cases: &[(&str, Vec<Fix>, &str)] = &[
        ("a ride", (0..6).map(here).collect(), "++++++"),
        ("out and back", vec![here(0), here(1), there(2), here(3), here(4)], "++i++"),
        ("out for two and back", vec![here(0), there(1), there(2), here(3)], "+ii+"),
        ("a wrong first fix", vec![there(0), here(1), here(2), here(3), here(4)], "+ii++"),
        ("a wrong first fix from ahead", vec![there(3), here(0), here(1), here(2), here(4), here(5)], "+ii+++"),
        ("out, and it stays", vec![here(0), there(1), there(2), there(3), there(4)], "+ii++"),
        (
            "out for three and back for good",
            vec![here(0), there(1), there(2), there(3), here(4), here(5), here(6), here(7)],
            "+ii+ii++",
        ),
        ("now and then the same wrong place", vec![here(0), there(1), here(2), there(3), here(4), there(5)], "+i+i+i"),
        (
            "nothing agrees with anything",
            vec![here(0), there(1), fix(2.0, 54.0, 21.0), fix(3.0, 55.0, 21.0), fix(4.0, 56.0, 21.0)],
            "+iiii",
        ),
        ("the same jump again and again", vec![here(0), there(1), there(1), there(1), there(1), here(2)], "+iiii+"),
        ("two jumps again and again", vec![here(0), there(1), there(2), there(1), there(2), there(1)], "+iiiii"),
        ("what was stored stays a duplicate", vec![there(0), here(1), here(2), here(3), there(0), here(3)], "+ii+dd"),
        ("a late one between its neighbours", vec![here(0), here(9), here(5)], "+++"),
        ("a late one that fits neither", vec![here(0), here(9), there(5), here(4)], "++i+"),
        ("a late one that fits only one", vec![here(0), there(9_000), fix(8_999.0, 52.0, 21.0), here(1)], "++i+"),
        ("a late one before all", vec![here(9), there(8), here(7)], "+i+"),
        ("a drive of an hour", vec![here(0), fix(3_600.0, 52.9, 21.0)], "++"),
    ];
    for (name, fixes, expected) in cases {
        assert_eq!(told(&ROAD, fixes.iter().copied()), *expected, "{name}");
    }
}

#[test]
fn a_late_fix_does_not_end_a_doubt_of_now() {
    let mut ride = Ride::default();
    assert_eq!(ride.judge_all(&ROAD, (0..10).map(riding)), "+".repeat(10));
    assert_eq!(ride.judge_all(&ROAD, [elsewhere(20), elsewhere(21)]), "ii");
    // Between the seconds of the ride: it is missing in none.
    assert_eq!(ride.judge(&ROAD, fix(4.5, 52.0, 21.0 + 4.5 * STEP_DEG)), '+');
    assert_eq!(ride.judge(&ROAD, elsewhere(22)), '+');
}

#[test]
fn a_backlogs_lone_jumps_are_no_row_however_often_it_comes() {
    // A jump an hour, on a ride that goes on around it: any two of them could be driven between.
    let jumps = |hour: i64| [3_600 * hour + 1_800].map(elsewhere);
    let day: Vec<Fix> = (0..12)
        .flat_map(|hour| {
            let here = |second: i64| riding(3_600 * hour + second);
            [here(0), here(1_799)].into_iter().chain(jumps(hour)).chain([here(1_801), here(1_802)])
        })
        .collect();
    let mut ride = Ride::default();
    assert_eq!(ride.judge(&ROAD, riding(100_000)), '+', "today");
    assert_eq!(ride.judge_all(&ROAD, day.iter().copied()), "++i++".repeat(12), "yesterday");
    assert_eq!(ride.judge_all(&ROAD, day.iter().copied()), "ddidd".repeat(12), "and again");
}

#[test]
fn a_clock_that_is_set_back_goes_on_at_its_new_time() {
    let mut ride = Ride::default();
    assert_eq!(ride.judge_all(&ROAD, (0..100).map(|second| riding(second * 60))), "+".repeat(100));
    // An hour back, 70 km further on.
    let back = |second: i64| {
        let there = riding(6_000 + second);
        Fix { time: TimestampMs((2_400 + second) * 1_000 + 500), ..there }
    };
    let told = ride.judge_all(&ROAD, (0..1_000).map(back));
    assert_eq!(told, format!("ii{}", "+".repeat(998)));
}

#[test]
fn steps_of_no_time_are_noise_up_to_a_second_of_way() {
    let within = 60.0 / 111_195.0;
    let cases: &[(&str, [Fix; 2], &str)] = &[
        ("a millisecond, 60 m", [fix(1.0, 52.0, 21.0), fix(1.001, 52.0 + within, 21.0)], "++"),
        ("a millisecond, 120 m", [fix(1.0, 52.0, 21.0), fix(1.001, 52.0 + 2.0 * within, 21.0)], "+i"),
        ("no time", [fix(1.0, 52.0, 21.0), fix(1.0, 53.0, 21.0)], "+d"),
    ];
    for (name, fixes, expected) in cases {
        assert_eq!(told(&ROAD, *fixes), *expected, "{name}");
    }
}

#[test]
fn what_a_fix_may_be_off_by_is_no_way() {
    let blurred = |fix: Fix, accuracy_m: u32| Fix { accuracy_cm: Some(accuracy_m * 100), ..fix };
    let kilometre = 1_000.0 / 111_195.0;
    let (near, far) = (fix(0.0, 52.0, 21.0), fix(1.0, 52.0 + kilometre, 21.0));
    assert_eq!(told(&ROAD, [near, far]), "+i");
    assert_eq!(told(&ROAD, [blurred(near, 500), blurred(far, 440)]), "++");
    assert_eq!(told(&ROAD, [blurred(near, 500), blurred(far, 420)]), "+i");
}

#[test]
fn the_earth_is_round() {
    let cases: &[(&str, [Fix; 2], &str)] = &[
        ("across the antimeridian", [fix(0.0, 0.0, 179.9999), fix(1.0, 0.0, -179.9999)], "++"),
        ("the antimeridian itself", [fix(0.0, 52.0, 180.0), fix(1.0, 52.0, -180.0)], "++"),
        ("around the pole", [fix(0.0, 89.9999, 0.0), fix(1.0, 89.9999, 180.0)], "++"),
        ("the pole itself", [fix(0.0, 90.0, 0.0), fix(1.0, 90.0, 123.0)], "++"),
        ("from pole to pole", [fix(0.0, 90.0, 0.0), fix(60.0, -90.0, 0.0)], "+i"),
        ("the other side of the earth", [fix(0.0, 0.0, 0.0), fix(60.0, 0.0, 180.0)], "+i"),
    ];
    for (name, fixes, expected) in cases {
        assert_eq!(told(&ROAD, *fixes), *expected, "{name}");
    }
}

#[test]
fn what_stands_is_thinned_to_its_heartbeat() {
    let rules = Rules { speed_mps_max: 0, stationary_m: 20, heartbeat_s: 60, ..ROAD };
    let standing = |second: i64| fix(second as f64, 52.0 + (second % 3) as f64 * 0.00005, 21.0);
    assert_eq!(told(&rules, (0..=180).step_by(15).map(standing)), "+sss+sss+sss+");
    let moving = |second: i64| Fix { speed_mmps: Some(1_000), ..standing(second) };
    assert_eq!(told(&rules, (0..4).map(moving)), "++++", "slow, but it says so");
    let creeping = |second: i64| fix(second as f64, 52.0 + second as f64 * 0.00005, 21.0);
    assert_eq!(told(&rules, (0..9).map(creeping)), "+sss+sss+", "from the last that was stored");
    let no_heartbeat = Rules { heartbeat_s: 0, ..rules };
    assert_eq!(told(&no_heartbeat, (0..=180).step_by(60).map(standing)), "+sss");
}

#[test]
fn what_comes_too_often_is_thinned() {
    let period = Rules { speed_mps_max: 0, period_ms_min: 5_000, heartbeat_s: 1, ..ROAD };
    assert_eq!(told(&period, (0..=10).map(riding)), "+tttt+tttt+", "a heartbeat is no reason to come sooner");
    let distance = Rules { speed_mps_max: 0, distance_m_min: 50, heartbeat_s: 60, ..ROAD };
    assert_eq!(told(&distance, (0..=6).map(riding)), "+tt+tt+");
    let standing = |second: i64| Fix { speed_mmps: Some(9_000), ..fix(second as f64, 52.0, 21.0) };
    assert_eq!(told(&distance, (0..=120).step_by(30).map(standing)), "+t+t+");
    assert_eq!(told(&distance, [riding(0), riding(30), riding(1), riding(29)]), "++t+", "late, after the one before");
}

#[test]
fn a_trail_is_small() {
    assert!(size_of::<Trail>() <= 64, "{}", size_of::<Trail>());
    let report = Report::at(Some(TimestampMs(0)), 52.0, 21.0);
    let blurred = Report { accuracy_m: f32::INFINITY, ..report };
    let fix = Fix::from_report(&blurred, Position::default(), TimestampMs(0), TimestampMs(0));
    assert_eq!(fix.accuracy_cm, None, "nobody is off by so much that any jump is possible");
}

proptest! {
    /// Whatever comes, each driver whose newest fixes are true is believed after the third.
    #[test]
    fn a_driver_recovers_from_anything(
        rubbish in prop::collection::vec((0i64..1_000, -89.0..89.0_f64, -179.0..179.0_f64), 0..40),
    ) {
        let mut ride = Ride::default();
        for (second, latitude, longitude) in rubbish {
            ride.judge(&ROAD, fix(second as f64, latitude, longitude));
        }
        let told = ride.judge_all(&ROAD, (1_000..1_010).map(riding));
        prop_assert!(told.ends_with("++++++++"), "{}", told);
    }

    /// Nothing is refused of what could be driven, whatever the order it comes in.
    #[test]
    fn a_ride_within_the_limit_is_stored_whole_in_any_order(order in Just((0..60i64).collect::<Vec<_>>()).prop_shuffle()) {
        let told = told(&ROAD, order.into_iter().map(riding));
        prop_assert!(!told.contains('i'), "{}", told);
    }
}

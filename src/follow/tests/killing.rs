//! Ends at every instant: each call of the follower writes to its database once and atomically at most, so that an end
//! between two calls leaves what an end within one may leave.

use super::*;

/// Some drivers on the move across fences that come, change and go, in two tenants.
pub(super) fn write_story(written: &mut Written) {
    written.change("acme", ChangeKind::GeofenceRules, rules::RULES_ID, r#"{"hysteresis_m":10.0,"gap_max_s":600}"#);
    written.put("acme", "gate", &circle(0.0, 100.0, ""));
    written.put("acme", "yard", &circle(200.0, 150.0, r#","dwell_s":60"#));
    written.put("other", "gate", &circle(100.0, 300.0, r#","once":true"#));
    let mut seed = 7_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let drivers = [("acme", "a"), ("acme", "b"), ("acme", "c"), ("other", "a")];
    let mut east_m = [-400.0, -200.0, 0.0, 600.0];
    for second in 0..48 {
        match second {
            10 => drop(written.put("acme", "gate", &circle(50.0, 50.0, ""))),
            16 => drop(written.change("acme", ChangeKind::GeofenceRemoved, "gate", "")),
            22 => drop(written.put("acme", "mine", &circle(0.0, 80.0, r#","driver_id":"b""#))),
            // Without a fence nobody stands anywhere; later each is new.
            28 => {
                written.change("acme", ChangeKind::GeofenceRemoved, "yard", "");
                written.change("acme", ChangeKind::GeofenceRemoved, "mine", "");
            }
            32 => drop(written.put("acme", "yard", &circle(200.0, 150.0, r#","dwell_s":60"#))),
            40 => drop(written.change(
                "acme",
                ChangeKind::GeofenceRules,
                rules::RULES_ID,
                r#"{"hysteresis_m":0.0,"gap_max_s":5}"#,
            )),
            _ => {}
        }
        let mut fixes = Vec::new();
        for (index, (tenant, driver)) in drivers.into_iter().enumerate() {
            east_m[index] += random(400) as f64 - 180.0;
            if east_m[index] > 700.0 {
                east_m[index] = -400.0;
            }
            fixes.push((tenant, driver, fix(second * 20, east_m[index]), false));
            if random(5) == 0 {
                fixes.push((tenant, driver, fix(second * 20 - 7, 0.0), true));
            }
        }
        written.fixes(&fixes);
    }
}

fn undisturbed(written: &Written) -> Vec<(u64, Value)> {
    let mut following = written.follow("undisturbed", &Config::default());
    following.finish(1_000);
    following.sync();
    following.events()
}

/// What a run does: batches of so many frames, and a sync behind each so many.
#[derive(Clone, Copy, Debug)]
struct Way {
    frames: usize,
    sync_each: usize,
}

#[test]
fn events_do_not_depend_on_how_fixes_are_batched() {
    let mut written = Written::new();
    write_story(&mut written);
    let expected = undisturbed(&written);
    let kinds: std::collections::BTreeSet<_> =
        expected.iter().map(|(_, event)| event["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["geofence.dwell", "geofence.enter", "geofence.exit"]);
    assert!(expected.len() > 30, "{}", expected.len());
    let (sequences, ids): (Vec<_>, std::collections::HashSet<_>) =
        expected.iter().map(|(sequence, event)| (*sequence, format!("{}{}", event["tenant"], event["id"]))).unzip();
    assert_eq!(sequences, (1..=expected.len() as u64).collect::<Vec<_>>());
    assert_eq!(ids.len(), expected.len(), "an id is an event's own");
    for frames in [1, 2, 5] {
        let mut following = written.follow(&format!("by-{frames}"), &Config::default());
        following.finish(frames);
        assert_eq!(following.events(), expected, "{frames}");
    }
}

#[test]
fn a_kill_at_any_step_changes_no_event_and_tells_none_twice() {
    let mut written = Written::new();
    write_story(&mut written);
    let expected = undisturbed(&written);
    let ways =
        [Way { frames: 1, sync_each: 9 }, Way { frames: 3, sync_each: 4 }, Way { frames: 2, sync_each: usize::MAX }];
    for (number, way) in ways.into_iter().enumerate() {
        let mut kill_after = 0;
        loop {
            let mut following = written.follow(&format!("{number}-{kill_after}"), &Config::default());
            let mut is_over = false;
            for step in 1..=kill_after {
                is_over |= !following.step(way.frames);
                if step % way.sync_each == 0 {
                    following.sync();
                }
            }
            let mut told = following.told();
            let dir = following.kill();
            // The other way around from here, so that batches begin and end at other frames.
            let mut following = Following::open(&written, dir, &Config::default());
            following.finish(4 - way.frames);
            told.extend(following.told());
            assert_eq!(following.events(), expected, "{way:?} killed after {kill_after}");
            assert_eq!(told, expected, "{way:?} killed after {kill_after}: told live");
            if is_over {
                break;
            }
            kill_after += if way.frames == 1 { 1 } else { 5 };
        }
        assert!(kill_after > 10);
    }
}

#[test]
fn killed_again_and_again_it_comes_to_the_same_end() {
    let mut written = Written::new();
    write_story(&mut written);
    let expected = undisturbed(&written);
    let mut dir = written.dir.path().join("again");
    let mut told = Vec::new();
    for round in 0.. {
        let mut following = Following::open(&written, dir, &Config::default());
        let mut is_over = false;
        // Behind a checkpoint that is written now and then; in between each start has further to go than the one before.
        for _ in 0..3 + round {
            is_over |= !following.step(1 + round % 3);
        }
        if round % 3 == 2 {
            following.sync();
        }
        told.extend(following.told());
        dir = following.kill();
        if is_over {
            break;
        }
    }
    assert_eq!(events(&Tables::open(&dir).unwrap()), expected);
    assert_eq!(told, expected);
}

#[test]
fn what_a_crash_of_the_machine_takes_back_is_found_again() {
    let mut written = Written::new();
    write_story(&mut written);
    let expected = undisturbed(&written);
    // The database as it was after each step, and so what may be left of it later.
    for step in [0, 1, 5, 11, 19, 26, 33, 47] {
        let mut following = written.follow(&format!("left-{step}"), &Config::default());
        for done in 1..=step {
            following.step(1);
            if done % 8 == 0 {
                following.sync();
            }
        }
        let dir = following.kill();
        let left = written.dir.path().join(format!("left-{step}-copy"));
        copy_dir(&dir, &left);
        let mut following = Following::open(&written, dir, &Config::default());
        following.finish(2);
        following.sync();
        drop(following);
        let mut following = Following::open(&written, left, &Config::default());
        following.finish(5);
        assert_eq!(following.events(), expected, "{step}");
    }
}

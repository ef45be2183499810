//! Whatever fences and ways there are.

use proptest::prelude::*;

use super::model::{Model, SAMPLES, on_way};
use super::scenes::{Scene, scene};
use super::*;
use crate::geo::distance_m;
use crate::geo::fence::path::Path;
use crate::geo::fence::way::Way;

fn set_of(specs: &[FenceSpec]) -> FenceSet {
    specs.iter().enumerate().map(|(index, spec)| fence(&format!("f{index}"), 1, spec)).collect()
}

/// All events of a scene by one set.
fn events(scene: &Scene) -> Vec<FenceEvent> {
    let set = set_of(&scene.specs);
    let mut drive = Drive::new(FenceRules::default());
    scene.fixes.iter().flat_map(|fix| drive.take(&set, fix)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn stretches_are_where_samples_of_the_way_are_inside(scene in scene()) {
        let mut stretches = Vec::new();
        for spec in &scene.specs {
            let (fence, model) = (fence("f", 1, spec), Model::new(spec));
            for pair in scene.fixes.windows(2) {
                let (from, to) = (pair[0].position, pair[1].position);
                let length_m = distance_m(from, to);
                if length_m > GAP_M_MAX {
                    continue;
                }
                fence.shape.stretches(&Path::new((from, TimestampMs(0)), (to, TimestampMs(1))), &mut stretches);
                let apart = stretches.windows(2).all(|pair| pair[0].end < pair[1].begin);
                prop_assert!(apart && stretches.iter().all(|stretch| stretch.begin <= stretch.end), "{:?}", stretches);
                let (way, boxes) = (Way::new(from, to), fence.shape.boxes());
                let is_met = boxes.iter().any(|area| way.boxes.iter().any(|other| area.meets(other)) && way.may_meet(area));
                prop_assert!(stretches.is_empty() || is_met, "{:?} {:?} is not found", spec, (from, to));
                for sample in 0..=SAMPLES / 20 {
                    let share = sample as f64 * 20.0 / SAMPLES as f64;
                    let place = on_way(from, to, share);
                    let outside_m = model.outside_m(place);
                    // Of the chord: see the path.
                    let off_m = model.off_m() + length_m * 1e-4;
                    let is_in = stretches.iter().any(|stretch| stretch.begin <= share && share <= stretch.end);
                    prop_assert!(
                        outside_m.abs() <= off_m || is_in == (outside_m < 0.0),
                        "{:?} {:?} share {} outside {} m of {} m, {:?}", spec, (from, to), share, outside_m, length_m, stretches
                    );
                    prop_assert!(!fence.contains(place) || boxes.iter().any(|area| area.contains(place)));
                    prop_assert!(outside_m.abs() <= model.off_m() || fence.contains(place) == (outside_m < 0.0));
                    let clear_m = fence.shape.clearance_m(place, 300.0);
                    prop_assert!(place.latitude().abs() > 84.0 || clear_m <= (outside_m.abs() + model.off_m()) * 1.001, "{:?} {:?} {} {}", spec, place, clear_m, outside_m);
                    let beyond_m = outside_m - 25.0;
                    prop_assert!(
                        beyond_m.abs() <= 2.0 * model.off_m() || fence.shape.is_within(place, 25.0) == (beyond_m < 0.0),
                        "{:?} {:?} {}", spec, place, outside_m
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_told_depends_on_no_other_fence_and_on_nothing_that_is_not_in_the_bytes(scene in scene()) {
        let together = events(&scene);
        let mut apart: Vec<FenceEvent> = Vec::new();
        for (index, spec) in scene.specs.iter().enumerate() {
            let id = format!("f{index}");
            let mut set = FenceSet::new();
            set.put(fence(&id, 1, spec));
            let mut drive = Drive::new(FenceRules::default());
            for fix in &scene.fixes {
                drive.put_away();
                apart.extend(drive.take(&set, fix));
            }
            let of_it: Vec<_> = together.iter().filter(|event| event.fence.as_str() == id).collect();
            prop_assert_eq!(of_it, apart.iter().filter(|event| event.fence.as_str() == id).collect::<Vec<_>>());
        }
        prop_assert_eq!(together.len(), apart.len());
        prop_assert!(together.is_sorted_by_key(|event| event.time));
    }

    #[test]
    fn events_alternate_and_lie_on_the_way(scene in scene()) {
        let set = set_of(&scene.specs);
        let mut drive = Drive::new(FenceRules::default());
        let mut inside = std::collections::BTreeMap::new();
        for fix in &scene.fixes {
            let last = drive.state.last();
            for event in drive.take(&set, fix) {
                prop_assert!(last.is_none_or(|(time, _)| time <= event.time) && event.time <= fix.time);
                if let Some((_, from)) = last {
                    let (way_m, by_event_m) = (distance_m(from, fix.position), distance_m(from, event.position) + distance_m(event.position, fix.position));
                    prop_assert!(by_event_m <= way_m + 0.1);
                }
                let since = inside.remove(&event.fence);
                match event.kind {
                    FenceEventKind::Enter => {
                        prop_assert!(since.is_none());
                        inside.insert(event.fence.clone(), (event.time, false));
                    }
                    FenceEventKind::Exit => prop_assert!(since.is_some()),
                    FenceEventKind::Dwell => {
                        let (since, was_told) = since.unwrap();
                        prop_assert!(!was_told);
                        inside.insert(event.fence.clone(), (since, true));
                    }
                }
            }
            let known: Vec<_> = drive.state.inside().map(|(fence, since)| (fence.clone(), since)).collect();
            let once = |fence: &FenceId| scene.specs[fence.as_str()[1..].parse::<usize>().unwrap()].once;
            let expected: Vec<_> = inside.iter().filter(|(fence, _)| !once(fence)).map(|(fence, (since, _))| (fence.clone(), *since)).collect();
            prop_assert_eq!(known, expected);
        }
    }
}

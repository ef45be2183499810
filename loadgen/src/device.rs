//! A device: who it is, where it drives, what its clock says.

use crate::faults::{Faults, Item};
use crate::fix::Fix;
use crate::plan::Plan;
use crate::route::Route;
use crate::trace::{Trace, Track};

#[derive(Clone, Debug)]
enum Source {
    Route(Box<Route>),
    Track(Track),
}

/// One tracker and the stream of publishes it makes.
#[derive(Clone, Debug)]
pub struct Device {
    /// Driver id and MQTT client id.
    pub id: String,
    /// Where it publishes.
    pub topic: String,
    /// Its number among all devices, from 0.
    pub number: u32,
    source: Source,
    faults: Faults,
    clock: FixClock,
}

/// The clock of one device's fixes: every fix has a millisecond of its own.
///
/// Fixes carry the real time. A device that publishes more than once a millisecond would run ahead of it, and a broker
/// may refuse what lies in the future; so the clock starts as far back as its whole run could run ahead.
#[derive(Clone, Copy, Debug)]
struct FixClock {
    back_ms: i64,
    last_ms: i64,
}

impl FixClock {
    fn tick(&mut self, now_ms: i64) -> i64 {
        self.last_ms = (self.last_ms + 1).max(now_ms - self.back_ms);
        self.last_ms
    }
}

impl Device {
    /// The fleet of `plan`: made-up routes, or the vehicles of `trace`, which are driven by several devices where there
    /// are more devices than vehicles.
    pub fn fleet(plan: &Plan, trace: Option<&Trace>) -> Vec<Self> {
        (0..plan.devices)
            .map(|number| {
                let (id, source) = match trace {
                    None => {
                        let route = Route::new(plan.seed, u64::from(number));
                        (format!("{}{number:05}", plan.driver_prefix), Source::Route(Box::new(route)))
                    }
                    Some(trace) => {
                        let vehicles = trace.vehicles.len();
                        let (vehicle, track) = &trace.vehicles[number as usize % vehicles];
                        let lap = number as usize / vehicles;
                        let id = if lap == 0 { vehicle.clone() } else { format!("{vehicle}-{lap}") };
                        (format!("{}{id}", plan.driver_prefix), Source::Track(track.clone()))
                    }
                };
                Self {
                    topic: plan.topic.replace("{tenant}", &plan.tenant).replace("{driver}", &id),
                    id,
                    number,
                    source,
                    faults: Faults::new(plan.faults, plan.seed, u64::from(number)),
                    clock: FixClock { back_ms: plan.clock_back_ms(), last_ms: i64::MIN / 2 },
                }
            })
            .collect()
    }

    /// The next publish, at `now_ms` of the wall clock.
    pub fn next(&mut self, now_ms: i64) -> Item {
        let Self { source, faults, clock, .. } = self;
        faults.next(|| source.at(clock.tick(now_ms)))
    }
}

impl Source {
    fn at(&mut self, time_ms: i64) -> Fix {
        match self {
            Self::Route(route) => route.at(time_ms),
            Self::Track(track) => track.at(time_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_clock_gives_every_fix_its_own_millisecond_and_stays_behind_now() {
        let mut clock = FixClock { back_ms: 1_000, last_ms: i64::MIN / 2 };
        let times: Vec<i64> = (0..1_000).map(|n| clock.tick(50_000 + n / 100)).collect();
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(times.last().is_some_and(|last| *last <= 50_009));
    }

    #[test]
    fn an_idle_clock_follows_the_wall_clock() {
        let mut clock = FixClock { back_ms: 0, last_ms: i64::MIN / 2 };
        assert_eq!([clock.tick(1_000), clock.tick(2_000), clock.tick(1_990)], [1_000, 2_000, 2_001]);
    }
}

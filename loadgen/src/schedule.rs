//! When a device publishes: an open loop that never waits for the broker, or a closed loop that always does.

use std::time::Duration;

use crate::plan::{Load, Plan, Qos};

/// What was due in an open loop may still leave so long after its end; the rest stays unsent.
const OVERTIME: Duration = Duration::from_secs(1);

/// One device's timetable. Times are nanoseconds since the run's start; publishes are counted from 0.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Open loop only: nanoseconds between two publishes of this device, and the first one.
    spacing_ns: Option<(f64, f64)>,
    quota: u64,
    ends_ns: u64,
}

impl Schedule {
    /// The timetable of device `number`: in an open loop the devices take turns, evenly spaced.
    pub fn new(plan: &Plan, number: u32) -> Self {
        let devices = u64::from(plan.devices);
        let total = match (plan.publishes, plan.load, plan.duration) {
            (publishes, Load::Open { per_second }, Some(duration)) => {
                Some(publishes.unwrap_or(u64::MAX).min((per_second * duration.as_secs_f64()).round() as u64))
            }
            (publishes, _, _) => publishes,
        };
        let share = total.map_or(u64::MAX, |total| total / devices + u64::from(u64::from(number) < total % devices));
        let spacing_ns = match plan.load {
            Load::Open { per_second } => {
                let turn_ns = 1e9 / per_second;
                Some((turn_ns * devices as f64, turn_ns * f64::from(number)))
            }
            Load::Closed => None,
        };
        // At QoS 0 the last of a known number is the closing one.
        let closing = u64::from(plan.qos == Qos::AtMostOnce && share != u64::MAX);
        let overtime = if spacing_ns.is_some() { OVERTIME } else { Duration::ZERO };
        let ends_ns = plan.duration.map_or(u64::MAX, |duration| nanoseconds(duration.saturating_add(overtime)));
        Self { spacing_ns, quota: share.saturating_sub(closing), ends_ns }
    }

    /// Whether publish `index` belongs to the run at all.
    pub fn holds(&self, index: u64, now_ns: u64) -> bool {
        index < self.quota && now_ns < self.ends_ns
    }

    /// When publish `index` is meant to leave; `None` in a closed loop: as soon as may be.
    pub fn intended_ns(&self, index: u64) -> Option<u64> {
        self.spacing_ns.map(|(spacing_ns, first_ns)| (first_ns + spacing_ns * index as f64) as u64)
    }

    /// How many publishes from `index` on may leave now, `limit` at most.
    pub fn due(&self, index: u64, now_ns: u64, limit: usize) -> usize {
        if !self.holds(index, now_ns) {
            return 0;
        }
        let left = usize::try_from(self.quota - index).unwrap_or(usize::MAX).min(limit);
        match self.spacing_ns {
            None => left,
            Some(_) => {
                (0..left).take_while(|n| self.intended_ns(index + *n as u64).is_some_and(|at| at <= now_ns)).count()
            }
        }
    }

    /// The publishes from `index` on that were meant to have left by the end but had not: their intended times.
    pub fn missed(&self, index: u64, now_ns: u64) -> impl Iterator<Item = u64> {
        let schedule = *self;
        let end_ns = now_ns.min(self.ends_ns);
        (index..self.quota)
            .map_while(move |index| schedule.intended_ns(index))
            .take_while(move |intended_ns| *intended_ns < end_ns)
    }
}

/// A duration in whole nanoseconds, at the end of the range the end itself (584 years).
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(devices: u32, load: Load, publishes: Option<u64>, duration: Option<Duration>) -> Plan {
        Plan { devices, load, publishes, duration, qos: Qos::AtLeastOnce, ..Plan::default() }
    }

    #[test]
    fn devices_take_turns_in_an_open_loop() {
        let plan = plan(4, Load::Open { per_second: 1_000.0 }, None, Some(Duration::from_secs(1)));
        let schedules: Vec<Schedule> = (0..4).map(|number| Schedule::new(&plan, number)).collect();
        let mut times: Vec<u64> = Vec::new();
        for schedule in &schedules {
            times.extend((0..).take_while(|n| schedule.holds(*n, 0)).filter_map(|n| schedule.intended_ns(n)));
        }
        times.sort_unstable();
        assert_eq!(times.len(), 1_000);
        assert!(times.iter().enumerate().all(|(n, time)| time.abs_diff(n as u64 * 1_000_000) <= 1));
    }

    #[test]
    fn what_is_due_grows_with_time_and_is_limited() {
        let plan = plan(1, Load::Open { per_second: 1_000.0 }, Some(10), None);
        let schedule = Schedule::new(&plan, 0);
        assert_eq!(schedule.due(0, 0, 100), 1);
        assert_eq!(schedule.due(0, 4_500_000, 100), 5);
        assert_eq!(schedule.due(0, 4_500_000, 3), 3);
        assert_eq!(schedule.due(5, 4_500_000, 3), 0);
        assert_eq!(schedule.due(8, 90_000_000, 100), 2);
        assert_eq!(schedule.missed(8, 90_000_000).count(), 2);
    }

    #[test]
    fn a_number_of_publishes_is_shared_out_whole() {
        let plan = plan(3, Load::Closed, Some(10), None);
        let shares: Vec<usize> = (0..3).map(|number| Schedule::new(&plan, number).due(0, 0, 100)).collect();
        assert_eq!(shares, [4, 3, 3]);
    }

    #[test]
    fn nothing_leaves_after_the_end() {
        let plan = plan(1, Load::Closed, None, Some(Duration::from_secs(1)));
        let schedule = Schedule::new(&plan, 0);
        assert_eq!(schedule.due(0, 999_999_999, 20), 20);
        assert_eq!(schedule.due(0, 1_000_000_000, 20), 0);
    }
}

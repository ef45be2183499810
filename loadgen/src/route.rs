//! Plausible driving: course, speed, turns, stops and the slow wander of a GPS receiver, from a seed.

use crate::fix::Fix;
use crate::random::Random;

/// The town that the fleet drives in: the middle of Warsaw, degrees.
const CENTRE: (f64, f64) = (52.2297, 21.0122);
/// Half the width of that town, degrees; a vehicle that leaves it turns back.
const TOWN_HALF_WIDTH: f64 = 0.2;
const METRES_PER_DEGREE: f64 = 111_195.0;
const SPEED_MPS_MAX: f64 = 22.0;
const ACCELERATION_MPS2_MAX: f64 = 1.5;
/// A receiver's error wanders by so much around the truth.
const NOISE_M: f64 = 3.0;
/// The vehicle is steered once a second of its own time; between two steps it moves in a straight line, so that fixes
/// of neighbouring milliseconds never imply a speed that no vehicle has.
const STEP_MS: i64 = 1_000;
/// A pause longer than this is driven as one of this length.
const STEPS_AT_ONCE_MAX: i64 = 120;

/// One vehicle on its way. Asked for times that only grow.
#[derive(Clone, Debug)]
pub struct Route {
    random: Random,
    step_at_ms: Option<i64>,
    leg_ends_ms: i64,
    /// Where the receiver believed to be at `step_at_ms`, degrees.
    latitude: f64,
    longitude: f64,
    /// Degrees a millisecond, the wander of the error included.
    latitude_per_ms: f64,
    longitude_per_ms: f64,
    noise_m: (f64, f64),
    speed_mps: f64,
    speed_wanted_mps: f64,
    heading_deg: f64,
    turn_deg_per_s: f64,
}

impl Route {
    /// The route number `number` of `seed`.
    pub fn new(seed: u64, number: u64) -> Self {
        let mut random = Random::new(seed, number);
        let latitude = CENTRE.0 + random.between(-TOWN_HALF_WIDTH, TOWN_HALF_WIDTH);
        let longitude = CENTRE.1 + random.between(-TOWN_HALF_WIDTH, TOWN_HALF_WIDTH);
        let heading_deg = random.between(0.0, 360.0);
        let speed_mps = random.between(0.0, 15.0);
        Self {
            random,
            step_at_ms: None,
            leg_ends_ms: 0,
            latitude,
            longitude,
            latitude_per_ms: 0.0,
            longitude_per_ms: 0.0,
            noise_m: (0.0, 0.0),
            speed_mps,
            speed_wanted_mps: speed_mps,
            heading_deg,
            turn_deg_per_s: 0.0,
        }
    }

    /// The fix at `time_ms`, which is not before the one of the last call.
    pub fn at(&mut self, time_ms: i64) -> Fix {
        let mut step_at_ms = *self.step_at_ms.get_or_insert_with(|| time_ms - STEP_MS);
        if time_ms - step_at_ms > STEPS_AT_ONCE_MAX * STEP_MS {
            step_at_ms = time_ms - STEPS_AT_ONCE_MAX * STEP_MS;
        }
        while time_ms - step_at_ms >= STEP_MS {
            self.latitude += self.latitude_per_ms * STEP_MS as f64;
            self.longitude += self.longitude_per_ms * STEP_MS as f64;
            step_at_ms += STEP_MS;
            self.steer(step_at_ms);
        }
        self.step_at_ms = Some(step_at_ms);
        let since_ms = (time_ms - step_at_ms) as f64;
        Fix {
            time_ms,
            latitude_e6: ((self.latitude + self.latitude_per_ms * since_ms) * 1e6) as i32,
            longitude_e6: ((self.longitude + self.longitude_per_ms * since_ms) * 1e6) as i32,
            speed_dmps: (self.speed_mps * 10.0) as u16,
            heading_deg: self.heading_deg as u16 % 360,
        }
    }

    fn steer(&mut self, now_ms: i64) {
        if now_ms >= self.leg_ends_ms {
            self.begin_leg(now_ms);
        }
        let change_mps = self.speed_wanted_mps - self.speed_mps;
        self.speed_mps += change_mps.clamp(-2.0 * ACCELERATION_MPS2_MAX, ACCELERATION_MPS2_MAX);
        if self.speed_mps > 0.5 {
            self.heading_deg = (self.heading_deg + self.turn_deg_per_s).rem_euclid(360.0);
        }
        let noise_m = (
            0.9 * self.noise_m.0 + self.random.between(-0.3, 0.3) * NOISE_M,
            0.9 * self.noise_m.1 + self.random.between(-0.3, 0.3) * NOISE_M,
        );
        let (sine, cosine) = self.heading_deg.to_radians().sin_cos();
        let north_mps = self.speed_mps * cosine + noise_m.0 - self.noise_m.0;
        let east_mps = self.speed_mps * sine + noise_m.1 - self.noise_m.1;
        self.noise_m = noise_m;
        self.latitude_per_ms = north_mps / METRES_PER_DEGREE / 1_000.0;
        self.longitude_per_ms = east_mps / (METRES_PER_DEGREE * self.latitude.to_radians().cos()) / 1_000.0;
    }

    /// A leg is a stretch of road, a bend or a stop.
    fn begin_leg(&mut self, now_ms: i64) {
        let kind = self.random.unit();
        let (low_s, high_s) = if kind < 0.2 {
            self.speed_wanted_mps = 0.0;
            self.turn_deg_per_s = 0.0;
            (5.0, 60.0)
        } else if kind < 0.5 {
            self.speed_wanted_mps = self.random.between(4.0, 9.0);
            self.turn_deg_per_s = self.random.between(-18.0, 18.0);
            (3.0, 8.0)
        } else {
            self.speed_wanted_mps = self.random.between(6.0, SPEED_MPS_MAX);
            self.turn_deg_per_s = self.random.between(-0.5, 0.5);
            (10.0, 90.0)
        };
        let off = (CENTRE.0 - self.latitude, CENTRE.1 - self.longitude);
        if off.0.abs() > TOWN_HALF_WIDTH || off.1.abs() > TOWN_HALF_WIDTH {
            self.heading_deg = off.1.atan2(off.0).to_degrees().rem_euclid(360.0);
            self.turn_deg_per_s = 0.0;
        }
        self.leg_ends_ms = now_ms + (self.random.between(low_s, high_s) * 1_000.0) as i64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_MS: i64 = 1_790_000_000_000;

    fn metres_between(a: Fix, b: Fix) -> f64 {
        let north = f64::from(a.latitude_e6 - b.latitude_e6) * METRES_PER_DEGREE / 1e6;
        let east = f64::from(a.longitude_e6 - b.longitude_e6) * METRES_PER_DEGREE * 0.62 / 1e6;
        north.hypot(east)
    }

    #[test]
    fn the_same_seed_drives_the_same_way() {
        let drive = |seed| {
            let mut route = Route::new(seed, 7);
            (0..500).map(|n| route.at(START_MS + n * 250)).collect::<Vec<_>>()
        };
        assert_eq!(drive(1), drive(1));
        assert_ne!(drive(1), drive(2));
    }

    #[test]
    fn an_hour_of_driving_is_plausible() {
        for number in 0..20 {
            let mut route = Route::new(42, number);
            let fixes: Vec<Fix> = (0..3_600).map(|n| route.at(START_MS + n * 1_000)).collect();
            for pair in fixes.windows(2) {
                assert!(metres_between(pair[0], pair[1]) < 30.0, "{pair:?}");
                assert!(pair[1].speed_dmps <= 220 && pair[1].heading_deg < 360, "{pair:?}");
            }
            assert!(fixes.iter().any(|fix| fix.speed_dmps == 0), "route {number} never stops");
            assert!(fixes.iter().any(|fix| fix.speed_dmps > 60), "route {number} never drives");
            assert!(metres_between(fixes[0], fixes[1_800]) > 100.0, "route {number} goes nowhere");
        }
    }

    #[test]
    fn neighbouring_milliseconds_do_not_teleport() {
        let mut route = Route::new(3, 3);
        let fixes: Vec<Fix> = (0..20_000).map(|n| route.at(START_MS + n)).collect();
        for pair in fixes.windows(2) {
            assert!((pair[0].latitude_e6 - pair[1].latitude_e6).abs() <= 1, "{pair:?}");
        }
    }

    #[test]
    fn a_long_silence_costs_a_bounded_number_of_steps() {
        let mut route = Route::new(3, 3);
        route.at(0);
        let fix = route.at(i64::from(u32::MAX) * 1_000);
        assert!((fix.latitude_e6 - 52_229_700).abs() < 1_000_000);
    }
}

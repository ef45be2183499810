//! Stretches of a path: which of it lies inside a shape, in the order of the way.

/// From one share of a path to another, both included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stretch {
    pub(super) begin: f64,
    pub(super) end: f64,
}

/// Stretches that lie apart by less are one: a share of 1e-9 is 0.2 mm of the longest way that is judged.
const JOIN: f64 = 1e-9;

/// Adds the part of a stretch that is on the path.
pub(super) fn add(stretches: &mut Vec<Stretch>, begin: f64, end: f64) {
    let (begin, end) = (begin.max(0.0), end.min(1.0));
    if begin <= end {
        stretches.push(Stretch { begin, end });
    }
}

/// Puts them in order and joins those that touch.
pub(super) fn join(stretches: &mut Vec<Stretch>) {
    stretches.sort_unstable_by(|one, other| one.begin.total_cmp(&other.begin).then(one.end.total_cmp(&other.end)));
    stretches.dedup_by(|next, kept| {
        let is_one = next.begin <= kept.end + JOIN;
        if is_one {
            kept.end = kept.end.max(next.end);
        }
        is_one
    });
}

/// A polynomial `a2 t² + a1 t + a0`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quadratic {
    pub(super) a2: f64,
    pub(super) a1: f64,
    pub(super) a0: f64,
}

impl Quadratic {
    /// The shares from 0 to 1 where it is at most 0: none, one stretch or two.
    pub(super) fn at_most_zero(self) -> [Option<Stretch>; 2] {
        let Self { a2, a1, a0 } = self;
        let stretch = |begin: f64, end: f64| {
            let (begin, end) = (begin.max(0.0), end.min(1.0));
            // A NaN is none.
            (begin <= end).then_some(Stretch { begin, end })
        };
        if a2 == 0.0 {
            let root = -a0 / a1;
            return match () {
                () if a1 == 0.0 => [if a0 <= 0.0 { stretch(0.0, 1.0) } else { None }, None],
                () if a1 > 0.0 => [stretch(0.0, root), None],
                () => [stretch(root, 1.0), None],
            };
        }
        let discriminant = a1 * a1 - 4.0 * a2 * a0;
        if discriminant < 0.0 {
            return [if a2 < 0.0 { stretch(0.0, 1.0) } else { None }, None];
        }
        // The root that adds up, and the other from their product: neither loses digits.
        let sum = -(a1 + discriminant.sqrt().copysign(a1)) / 2.0;
        let (one, other) = if sum == 0.0 { (0.0, 0.0) } else { (sum / a2, a0 / sum) };
        let (low, high) = (one.min(other), one.max(other));
        if a2 > 0.0 { [stretch(low, high), None] } else { [stretch(0.0, low), stretch(high, 1.0)] }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stretches_that_touch_are_one() {
        let mut stretches = Vec::new();
        for (begin, end) in [(0.5, 0.7), (-1.0, 0.1), (0.1, 0.2), (0.15, 0.18), (0.9, 2.0), (0.8, 0.7), (1.5, 2.0)] {
            add(&mut stretches, begin, end);
        }
        join(&mut stretches);
        let expected = [(0.0, 0.2), (0.5, 0.7), (0.9, 1.0)].map(|(begin, end)| Stretch { begin, end });
        assert_eq!(stretches, expected);
    }

    proptest! {
        #[test]
        fn quadratics_are_at_most_zero_where_they_are(
            a2 in prop_oneof![Just(0.0), -4.0..4.0_f64],
            a1 in prop_oneof![Just(0.0), -4.0..4.0_f64],
            a0 in prop_oneof![Just(0.0), -1.0..1.0_f64],
        ) {
            let stretches = Quadratic { a2, a1, a0 }.at_most_zero();
            for step in 0..=100 {
                let share = f64::from(step) / 100.0;
                let value = (a2 * share + a1) * share + a0;
                let is_in = stretches.iter().flatten().any(|stretch| stretch.begin <= share && share <= stretch.end);
                prop_assert!(value.abs() < 1e-9 || is_in == (value < 0.0), "{} {:?}", share, stretches);
            }
        }
    }
}

//! The topics that a filter matches, found in an ordered map of topics by leaping over those that it cannot match.
//!
//! Each step looks at one topic. It matches, or it says which is the least topic behind it that can: with a literal level that
//! differs all of the subtree is passed over, and below a `+` each level is entered once. So a scan costs what it matches and what
//! its `+` have to choose from, however many topics there are. It can stop anywhere and go on later, while topics come and go.

use std::sync::Arc;

/// Follows `/` in the order of texts, so that a name with it is behind all that is below that name.
const BEHIND_BELOW: &str = "0";

/// Follows `$`.
const BEHIND_DOLLAR: &str = "%";

/// Before all that can follow a name.
const NEXT: &str = "\0";

/// A filter, and how far its topics have been looked for.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    /// Valid, and without a share group.
    pub(super) filter: Arc<str>,
    /// The least topic that may still match.
    from: String,
    is_over: bool,
}

impl Scan {
    pub(super) fn new(filter: Arc<str>) -> Self {
        Self { filter, from: String::new(), is_over: false }
    }

    /// Where the next topic is to be looked for; `None`: there is none any more.
    pub(super) fn place(&self) -> Option<&str> {
        (!self.is_over).then_some(&self.from)
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// There was no topic at [`Scan::place`] or behind.
    pub(super) fn end(&mut self) {
        self.is_over = true;
    }

    /// Goes past a topic, the first at [`Scan::place`] or behind. Whether it matches [MQTT-4.7.1-2, MQTT-4.7.1-3, MQTT-4.7.2-1].
    pub(super) fn pass(&mut self, topic: &str) -> bool {
        let filter = Arc::clone(&self.filter);
        if topic.starts_with('$') && filter.starts_with(['+', '#']) {
            self.go_on(&[BEHIND_DOLLAR]);
            return false;
        }
        // Where the level of the topic begins, and where that ended which the last `+` took.
        let (mut at, mut last_any) = (0, None);
        let mut levels = filter.split('/').peekable();
        while let Some(wanted) = levels.next() {
            if wanted == "#" {
                self.go_on(&[topic, NEXT]);
                return true;
            }
            let Some(rest) = topic.get(at..) else {
                self.go_on(&[topic, NEXT]);
                return false;
            };
            let end = at + rest.find('/').unwrap_or(rest.len());
            if wanted == "+" {
                last_any = Some(end);
            } else if *wanted != topic[at..end] {
                let below = levels.peek();
                let may_be_last = below.is_none_or(|below| *below == "#");
                if may_be_last && wanted > rest {
                    self.go_on(&[&topic[..at], wanted]);
                } else if below.is_some() && wanted.bytes().chain(*b"/").gt(rest.bytes()) {
                    self.go_on(&[&topic[..at], wanted, "/"]);
                } else if let Some(end) = last_any {
                    self.go_on(&[&topic[..end], BEHIND_BELOW]);
                } else {
                    self.is_over = true;
                }
                return false;
            }
            at = end + 1;
        }
        if at > topic.len() {
            self.go_on(&[topic, NEXT]);
            return true;
        }
        // Deeper than the filter.
        self.go_on(&[&topic[..at - 1], BEHIND_BELOW]);
        false
    }

    fn go_on(&mut self, from: &[&str]) {
        self.from.clear();
        self.from.extend(from.iter().copied());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ops::Bound;

    use proptest::prelude::*;

    use super::*;
    use crate::mqtt::router::trie::matches;

    /// What is found, and in how many steps; `change` is called between two of them.
    fn found(
        topics: &mut BTreeSet<String>,
        filter: &str,
        mut change: impl FnMut(&mut BTreeSet<String>),
    ) -> (Vec<String>, usize) {
        let mut scan = Scan::new(filter.into());
        let (mut found, mut steps) = (Vec::new(), 0);
        while let Some(from) = scan.place().map(str::to_owned) {
            steps += 1;
            match topics.range::<str, _>((Bound::Included(from.as_str()), Bound::Unbounded)).next() {
                Some(topic) => {
                    let is_match = scan.pass(topic);
                    assert!(scan.is_over() || scan.place() > Some(topic), "{filter} stays at {topic}");
                    found.extend(is_match.then(|| topic.clone()));
                }
                None => scan.end(),
            }
            change(topics);
        }
        (found, steps)
    }

    #[test]
    fn a_scan_costs_what_it_matches() {
        let mut topics = BTreeSet::new();
        for vehicle in 0..1_000 {
            for sensor in 0..20 {
                topics.insert(format!("fleet/{vehicle:04}/sensor/{sensor}"));
            }
            topics.insert(format!("fleet/{vehicle:04}/state"));
        }
        // Filter, how many match, most steps.
        let cases = [
            ("fleet/0500/#", 21, 25),
            ("fleet/0500/state", 1, 5),
            ("fleet/0500/sensor/+", 20, 25),
            ("fleet/+/state", 1_000, 3_010),
            ("fleet/+/sensor/7", 1_000, 3_010),
            ("fleet/+/nothing/+", 0, 2_010),
            ("+/0500/state", 1, 8),
            ("nobody/#", 0, 5),
            ("+/+", 0, 5_000),
        ];
        for (filter, count, steps_max) in cases {
            let (found, steps) = found(&mut topics, filter, |_| ());
            assert_eq!(found.len(), count, "{filter}");
            assert!(steps <= steps_max, "{filter}: {steps} steps");
        }
    }

    fn levels(of: &'static str) -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(of.split(' ').collect::<Vec<_>>()), 1..5)
            .prop_map(|levels| levels.join("/"))
    }

    fn topic() -> impl Strategy<Value = String> {
        // Some stand before `/` in the order of texts, some behind.
        levels("a b a! a0 ab $a $ ! ~ é  a b")
    }

    fn filter() -> impl Strategy<Value = String> {
        let with_rest = |(levels, has_rest)| if has_rest { format!("{levels}/#") } else { levels };
        prop_oneof![9 => (levels("a b a! a0 $a $ ! é  + + + a"), any::<bool>()).prop_map(with_rest), 1 => Just("#".to_owned())]
    }

    proptest! {
        /// Whatever there is, a scan finds what a look at every topic finds.
        #[test]
        fn a_scan_finds_what_matches(topics in prop::collection::btree_set(topic(), 0..60), filter in filter()) {
            let expected: Vec<_> = topics.iter().filter(|topic| matches(&filter, topic)).cloned().collect();
            let (found, steps) = found(&mut topics.clone(), &filter, |_| ());
            prop_assert_eq!(found, expected, "{}", filter);
            prop_assert!(steps <= 2 * topics.len() + 2);
        }

        /// Topics that come and go meanwhile keep none from being found that was there all the time, and none comes twice.
        #[test]
        fn a_scan_goes_on_whatever_changes(
            topics in prop::collection::btree_set(topic(), 0..40),
            mut changes in prop::collection::vec(topic(), 0..40),
            filter in filter(),
        ) {
            let changed: BTreeSet<_> = changes.iter().cloned().collect();
            let (found, _) = found(&mut topics.clone(), &filter, |topics| {
                if let Some(topic) = changes.pop() && !topics.remove(&topic) {
                    topics.insert(topic);
                }
            });
            for topic in topics.iter().filter(|topic| matches(&filter, topic) && !changed.contains(*topic)) {
                prop_assert!(found.contains(topic), "{} {}", filter, topic);
            }
            prop_assert!(found.is_sorted_by(|one, next| one < next) && found.iter().all(|topic| matches(&filter, topic)));
        }
    }
}

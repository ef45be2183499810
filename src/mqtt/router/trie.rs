//! What stands at topic filters, found by topic: a tree with a level of the filter at each step.
//!
//! A topic visits what its levels, `+` and `#` lead to, and nothing else, so that a match costs the levels of the topic and
//! what it matches, however many filters there are. Nodes go as soon as nothing stands at or below them. Filters are at most
//! [`LEVELS_MAX`] deep, which bounds the recursion; topics may be deeper.

use hashbrown::HashMap;

/// Deepest filter that has a place.
pub(super) const LEVELS_MAX: usize = 128;

/// What can stand at a filter.
pub(super) trait Standing: Default {
    /// Whether nothing stands here, so that the place may go.
    fn is_empty(&self) -> bool;
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Trie<T> {
    root: Node<T>,
}

#[derive(Debug)]
struct Node<T> {
    here: T,
    children: HashMap<Box<str>, Node<T>, foldhash::fast::RandomState>,
    /// `+`
    any: Option<Box<Node<T>>>,
    /// `#`: all below, and this level itself [MQTT-4.7.1-2].
    rest: Option<Box<T>>,
}

impl<T: Default> Default for Node<T> {
    fn default() -> Self {
        Self { here: T::default(), children: HashMap::default(), any: None, rest: None }
    }
}

/// Whether a filter is no deeper than [`LEVELS_MAX`].
pub(super) fn has_place(filter: &str) -> bool {
    filter.split('/').nth(LEVELS_MAX).is_none()
}

impl<T: Standing> Trie<T> {
    /// What stands at a filter, with a place made for it where there is none; [`Trie::prune`] takes back what stays empty.
    /// The filter is valid, without a share group, and [has a place](has_place).
    pub(super) fn at(&mut self, filter: &str) -> &mut T {
        let mut node = &mut self.root;
        for level in filter.split('/') {
            node = match level {
                "#" => return node.rest.get_or_insert_default(),
                "+" => node.any.get_or_insert_default(),
                level => node.children.entry(level.into()).or_default(),
            };
        }
        &mut node.here
    }

    /// What stands at a filter, if it has a place.
    pub(super) fn get(&mut self, filter: &str) -> Option<&mut T> {
        let mut node = &mut self.root;
        for level in filter.split('/') {
            node = match level {
                "#" => return node.rest.as_deref_mut(),
                "+" => node.any.as_deref_mut()?,
                level => node.children.get_mut(level)?,
            };
        }
        Some(&mut node.here)
    }

    /// Frees the places on the way to a filter at which nothing stands any more.
    pub(super) fn prune(&mut self, filter: &str) {
        self.root.prune(filter);
    }

    /// Visits what stands at the filters that match a topic.
    pub(super) fn visit(&mut self, topic: &str, visit: &mut impl FnMut(&mut T)) {
        // Wildcards in front match no topic that begins with `$` [MQTT-4.7.2-1].
        self.root.visit(Some(topic), !topic.starts_with('$'), visit);
    }

    /// Whether nothing is kept, not even an empty place.
    #[cfg(test)]
    fn is_bare(&self) -> bool {
        self.root.is_bare()
    }
}

impl<T: Standing> Node<T> {
    fn is_bare(&self) -> bool {
        self.here.is_empty() && self.children.is_empty() && self.any.is_none() && self.rest.is_none()
    }

    fn prune(&mut self, filter: &str) {
        let (level, below) = split(filter);
        match level {
            "#" => drop(self.rest.take_if(|rest| rest.is_empty())),
            "+" => {
                let is_bare = self.any.as_deref_mut().is_some_and(|any| any.is_bare_below(below));
                drop(self.any.take_if(|_| is_bare));
            }
            level => {
                if self.children.get_mut(level).is_some_and(|child| child.is_bare_below(below)) {
                    self.children.remove(level);
                    // A table keeps the size that it once had.
                    if self.children.len() * 4 < self.children.capacity() {
                        self.children.shrink_to_fit();
                    }
                }
            }
        }
    }

    fn is_bare_below(&mut self, below: Option<&str>) -> bool {
        if let Some(below) = below {
            self.prune(below);
        }
        self.is_bare()
    }

    fn visit(&mut self, rest_of_topic: Option<&str>, are_wildcards_on: bool, visit: &mut impl FnMut(&mut T)) {
        if are_wildcards_on && let Some(rest) = &mut self.rest {
            visit(rest);
        }
        let Some(rest_of_topic) = rest_of_topic else {
            visit(&mut self.here);
            return;
        };
        let (level, below) = split(rest_of_topic);
        if let Some(child) = self.children.get_mut(level) {
            child.visit(below, true, visit);
        }
        if are_wildcards_on && let Some(any) = &mut self.any {
            any.visit(below, true, visit);
        }
    }
}

fn split(path: &str) -> (&str, Option<&str>) {
    path.split_once('/').map_or((path, None), |(level, below)| (level, Some(below)))
}

/// Whether a filter without a share group matches a topic [MQTT-4.7.1-2, MQTT-4.7.1-3, MQTT-4.7.2-1]: what trees and scans are
/// compared with.
#[cfg(test)]
pub(super) fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    impl Standing for Vec<u32> {
        fn is_empty(&self) -> bool {
            Vec::is_empty(self)
        }
    }

    fn visited(trie: &mut Trie<Vec<u32>>, topic: &str) -> Vec<u32> {
        let mut visited = Vec::new();
        trie.visit(topic, &mut |here| visited.extend_from_slice(here));
        visited.sort_unstable();
        visited
    }

    #[test]
    fn filters_match_as_the_specification_has_it() {
        let cases = [
            ("a/b", "a/b", true),
            ("a/b", "a/b/", false),
            ("a/b", "a", false),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("a/#", "ab", false),
            ("#", "a/b", true),
            ("#", "/", true),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("$SYS/+", "$SYS/x", true),
            ("+", "a", true),
            ("+", "/a", false),
            ("+/+", "/a", true),
            ("/+", "/a", true),
            ("a/+", "a/", true),
            ("a/+", "a", false),
            ("+/b/#", "a/b", true),
            ("a/$b", "a/$b", true),
            ("a/+", "a/$b", true),
        ];
        for (filter, topic, expected) in cases {
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
            let mut trie: Trie<Vec<u32>> = Trie::default();
            trie.at(filter).push(1);
            assert_eq!(visited(&mut trie, topic) == [1], expected, "{filter} {topic} in the tree");
        }
    }

    #[test]
    fn the_deepest_filter_has_a_place_and_a_deeper_topic_finds_it() {
        let deepest = vec!["+"; LEVELS_MAX - 1].join("/") + "/#";
        assert!(has_place(&deepest) && !has_place(&format!("a/{deepest}")));
        let mut trie: Trie<Vec<u32>> = Trie::default();
        trie.at(&deepest).push(1);
        assert_eq!(visited(&mut trie, &"a/".repeat(30_000)), [1]);
    }

    fn levels(of: &'static str) -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(of.split(' ').collect::<Vec<_>>()), 1..5)
            .prop_map(|levels| levels.join("/"))
    }

    fn filter() -> impl Strategy<Value = String> {
        let with_rest = |(levels, has_rest)| if has_rest { format!("{levels}/#") } else { levels };
        prop_oneof![9 => (levels("a b c $a + +  + a"), any::<bool>()).prop_map(with_rest), 1 => Just("#".to_owned())]
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(String, u32),
        Take(String, u32),
        Look(String),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (filter(), 0..4_u32).prop_map(|(filter, who)| Step::Put(filter, who)),
            (filter(), 0..4_u32).prop_map(|(filter, who)| Step::Take(filter, who)),
            levels("a b c $a  x").prop_map(Step::Look),
        ]
    }

    proptest! {
        /// Whatever is put and taken, a topic finds what a look at every filter finds, and an empty tree keeps no node.
        #[test]
        fn the_tree_is_like_a_list_of_filters(steps in prop::collection::vec(step(), 1..120)) {
            let mut trie: Trie<Vec<u32>> = Trie::default();
            let mut list: BTreeMap<String, Vec<u32>> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Put(filter, who) => {
                        trie.at(&filter).push(who);
                        list.entry(filter).or_default().push(who);
                    }
                    Step::Take(filter, who) => {
                        if let Some(here) = trie.get(&filter) {
                            here.retain(|other| *other != who);
                        }
                        trie.prune(&filter);
                        list.entry(filter).or_default().retain(|other| *other != who);
                    }
                    Step::Look(topic) => {
                        let matching = list.iter().filter(|(filter, _)| matches(filter, &topic));
                        let mut expected: Vec<u32> = matching.flat_map(|(_, who)| who.clone()).collect();
                        expected.sort_unstable();
                        prop_assert_eq!(visited(&mut trie, &topic), expected, "{}", topic);
                    }
                }
            }
            for filter in list.keys() {
                if let Some(here) = trie.get(filter) {
                    here.clear();
                }
                trie.prune(filter);
            }
            prop_assert!(trie.is_bare());
        }
    }
}

//! What differs between two configurations, key by key.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use toml::{Table, Value};

use super::Config;

/// Sections whose keys an engine takes over while it runs.
const LIVE_SECTIONS: [&str; 3] = ["registry", "rules", "tenant"];

/// One key with another value than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// `section.key`.
    pub key: String,
    /// What stood there, as in a file; `None`: nothing, so that a tenant had the same as all.
    pub old: Option<String>,
    /// What stands there now.
    pub new: Option<String>,
}

impl Change {
    /// Whether an engine takes it over while it runs; if not, its next start does.
    pub fn is_live(&self) -> bool {
        self.key.split('.').next().is_some_and(|section| LIVE_SECTIONS.contains(&section))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "unset".to_owned());
        write!(formatter, "{}: {} -> {}", self.key, value(&self.old), value(&self.new))
    }
}

impl Config {
    /// What is otherwise in `new`, in the order of the keys.
    pub fn changes_to(&self, new: &Self) -> Vec<Change> {
        let (old, new) = (self.leaves(), new.leaves());
        let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        keys.into_iter()
            .filter(|key| old.get(*key) != new.get(*key))
            .map(|key| Change { key: key.clone(), old: old.get(key).cloned(), new: new.get(key).cloned() })
            .collect()
    }

    /// This configuration with what of `new` can change while the engine runs.
    #[must_use]
    pub fn with_live_part_of(&self, new: &Self) -> Self {
        Self { rules: new.rules.clone(), tenant: new.tenant.clone(), registry: new.registry.clone(), ..self.clone() }
    }

    /// Every value by its key.
    fn leaves(&self) -> BTreeMap<String, String> {
        let mut leaves = BTreeMap::new();
        let all = Table::try_from(self).expect("every section serialises: a test does it");
        collect(&all, "", &mut leaves);
        leaves
    }
}

fn collect(section: &Table, prefix: &str, leaves: &mut BTreeMap<String, String>) {
    for (name, value) in section {
        let key = format!("{prefix}{name}");
        match value {
            Value::Table(inner) => collect(inner, &format!("{key}."), leaves),
            _ => drop(leaves.insert(key, value.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Rules;

    #[test]
    fn changes_are_told_key_by_key_and_the_rest_waits_for_a_restart() {
        let old = Config::default();
        assert_eq!(old.changes_to(&old), []);
        let mut new =
            Config { rules: Rules { past_s: 60, null_island: false, ..Rules::default() }, ..Config::default() };
        new.pipeline.shards = 3;
        new.tenant.entry("acme".to_owned()).or_default().rules.insert("past_s".to_owned(), Value::Integer(9));
        let told: Vec<_> = old.changes_to(&new).iter().map(|change| (change.to_string(), change.is_live())).collect();
        let expected = [
            ("pipeline.shards: 0 -> 3", false),
            ("rules.null_island: true -> false", true),
            ("rules.past_s: 0 -> 60", true),
            ("tenant.acme.rules.past_s: unset -> 9", true),
        ];
        assert_eq!(told, expected.map(|(text, live)| (text.to_owned(), live)));
        let running = old.with_live_part_of(&new);
        assert_eq!(
            running.changes_to(&new).iter().map(|change| &change.key[..]).collect::<Vec<_>>(),
            ["pipeline.shards"]
        );
        assert!(old.changes_to(&running).iter().all(Change::is_live));
    }
}

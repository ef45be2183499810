//! Whether the engine can do its work, part by part, and if not, why.

use std::fmt;

/// One part's answer: fit, or the reason in words for an operator.
type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What will keep a part from being fit, if it goes on so; in words for an operator.
type Warning = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// The parts that have to be fit before the engine is.
#[derive(Default)]
pub struct Readiness {
    checks: Vec<(&'static str, Check)>,
    warnings: Vec<(&'static str, Warning)>,
}

/// A part that is not fit, or will not be.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Unready {
    /// The part's name.
    pub part: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl Readiness {
    /// Adds a part. `check` is called at every probe and must not block.
    pub fn add(&mut self, part: &'static str, check: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        self.checks.push((part, Box::new(check)));
    }

    /// Adds what to warn of while the part is still fit. `warning` is called at every probe and must not block.
    pub fn warn(&mut self, part: &'static str, warning: impl Fn() -> Option<String> + Send + Sync + 'static) {
        self.warnings.push((part, Box::new(warning)));
    }

    /// What there is to warn of now, in the order in which it was added.
    pub fn warnings(&self) -> Vec<Unready> {
        self.warnings.iter().filter_map(|(part, warning)| warning().map(|reason| Unready { part, reason })).collect()
    }

    /// The parts that are not fit now, in the order in which they were added. Empty says ready.
    pub fn unready(&self) -> Vec<Unready> {
        self.checks.iter().filter_map(|(part, check)| check().err().map(|reason| Unready { part, reason })).collect()
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.checks.iter().map(|(part, _)| part)).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn names_what_is_not_fit_and_asks_again_each_time() {
        let poisoned = Arc::new(AtomicBool::new(true));
        let mut readiness = Readiness::default();
        readiness.add("store", || Ok(()));
        let seen = Arc::clone(&poisoned);
        readiness.add("journal", move || if seen.load(Ordering::Relaxed) { Err("disk full".into()) } else { Ok(()) });
        assert_eq!(readiness.unready(), [Unready { part: "journal", reason: "disk full".into() }]);
        poisoned.store(false, Ordering::Relaxed);
        assert!(readiness.unready().is_empty());
        assert!(readiness.warnings().is_empty());
        readiness.warn("store", || None);
        readiness.warn("journal", || Some("half full".into()));
        assert_eq!(readiness.warnings(), [Unready { part: "journal", reason: "half full".into() }]);
        assert_eq!(format!("{readiness:?}"), r#"["store", "journal"]"#);
    }
}

//! The topic of a rule: a filter in which `{tenant}` and `{driver}` stand for the principal's own.

use crate::auth::Principal;

/// Most levels.
const LEVELS_MAX: usize = 16;

/// Longest topic of a rule, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// The level that stands for the principal's tenant.
pub(super) const TENANT: &str = "{tenant}";

/// The level that stands for the driver that the principal is.
const DRIVER: &str = "{driver}";

/// Which names a rule speaks of.
#[derive(Debug)]
pub(super) struct Pattern(Vec<Level>);

#[derive(Debug)]
enum Level {
    Exactly(Box<str>),
    /// In open mode any.
    Tenant,
    /// In open mode any. Of a principal that is no driver the rule does not speak.
    Driver,
    /// `+`
    Any,
    /// `#`: all that follows, and the level above.
    Rest,
}

impl Pattern {
    /// Reads a rule's topic; an error says what is wanted.
    pub(super) fn read(topic: &str) -> Result<Self, String> {
        if topic.is_empty() || topic.len() > TEXT_BYTES_MAX || topic.split('/').count() > LEVELS_MAX {
            return Err(format!("a topic of 1 to {TEXT_BYTES_MAX} bytes and at most {LEVELS_MAX} levels"));
        }
        if topic.starts_with("$share") {
            return Err("the topic that a shared subscription is to, without $share and its group".to_owned());
        }
        if topic.contains(char::is_control) {
            return Err("a topic without control characters".to_owned());
        }
        let mut levels = Vec::new();
        let mut texts = topic.split('/').peekable();
        while let Some(text) = texts.next() {
            levels.push(match text {
                TENANT => Level::Tenant,
                DRIVER => Level::Driver,
                "+" => Level::Any,
                "#" if texts.peek().is_none() => Level::Rest,
                _ if text.contains(['{', '}']) => {
                    return Err(format!("in braces only {TENANT} and {DRIVER}, each a whole level"));
                }
                _ if text.contains(['+', '#']) => {
                    return Err("+ for a whole level and # for all that follow, at the end".to_owned());
                }
                _ => Level::Exactly(text.into()),
            });
        }
        Ok(Self(levels))
    }

    /// Whether every topic that `name` matches, a topic or a plain filter, lies in this.
    pub(super) fn covers(&self, who: Option<&Principal>, name: &str) -> bool {
        // A wildcard in front matches no `$` topic [MQTT-4.7.2-1].
        if name.starts_with('$') && !matches!(self.0.first(), Some(Level::Exactly(_))) {
            return false;
        }
        let mut named = name.split('/');
        for level in &self.0 {
            if matches!(level, Level::Rest) {
                return true;
            }
            let Some(text) = named.next() else { return false };
            // `#` also stands for nothing and for many levels, of which only `#` here is sure to take all.
            let is_covered = text != "#"
                && match level {
                    Level::Exactly(exactly) => **exactly == *text,
                    Level::Tenant => who.is_none_or(|who| who.tenant.as_str() == text),
                    Level::Driver => {
                        who.is_none_or(|who| who.driver.as_ref().is_some_and(|driver| driver.as_str() == text))
                    }
                    Level::Any | Level::Rest => true,
                };
            if !is_covered {
                return false;
            }
        }
        named.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Role;
    use crate::ids::{DriverId, TenantId};

    #[test]
    fn a_pattern_covers_what_lies_wholly_in_it() {
        let driver = Principal {
            tenant: TenantId::new("acme").unwrap(),
            role: Role::Driver,
            subject: "anna".into(),
            driver: Some(DriverId::new("d1").unwrap()),
            expires_at: None,
        };
        let cases = [
            ("a/b", "a/b", true),
            ("a/b", "a/+", false),
            ("a/b", "a/b/c", false),
            ("a/b", "a", false),
            ("a/+", "a/b", true),
            ("a/+", "a/+", true),
            ("a/+", "a/#", false),
            ("a/+", "a", false),
            ("a/#", "a", true),
            ("a/#", "a/#", true),
            ("a/#", "a/+/b/#", true),
            ("a/#", "+/#", false),
            ("a/+/#", "a/#", false),
            ("#", "#", true),
            ("#", "+/a", true),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("a//b", "a//b", true),
            ("a/+/b", "a//b", true),
            ("tenant/{tenant}/x", "tenant/acme/x", true),
            ("tenant/{tenant}/x", "tenant/acm/x", false),
            ("tenant/{tenant}/x", "tenant/+/x", false),
            ("{driver}/#", "d1/x", true),
            ("{driver}/#", "d2/x", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(Pattern::read(pattern).unwrap().covers(Some(&driver), name), expected, "{pattern} {name}");
        }
        let open = Pattern::read("tenant/{tenant}/driver/{driver}").unwrap();
        assert!(open.covers(None, "tenant/x/driver/y") && open.covers(None, "tenant/+/driver/+"));
        let dispatcher = Principal { role: Role::Dispatcher, driver: None, ..driver };
        assert!(!open.covers(Some(&dispatcher), "tenant/acme/driver/d1"), "it is no driver");
    }

    #[test]
    fn topics_that_cannot_be_meant_are_refused() {
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        for topic in ["", "a/#/b", "a+", "#a", "{tenan}", "x{tenant}", "{tenant", "$share/g/a", "a\u{0}", &long] {
            assert!(Pattern::read(topic).is_err(), "{topic}");
        }
        for topic in ["/", "a//b", "{tenant}/{driver}/+/#", "$SYS/#"] {
            assert!(Pattern::read(topic).is_ok(), "{topic}");
        }
    }
}

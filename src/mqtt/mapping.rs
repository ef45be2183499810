//! `[[mqtt.ingest]]`: topics that carry fixes beside the native ones, each with its codec and whose fixes it carries.
//!
//! A topic is levels between slashes, of which `{name}` stands for any one. The driver and the tenant are texts in which
//! `{name}` is replaced by what stood there. Of several entries that match a topic the first counts. What comes out need not
//! be an id: that is for whoever routes by it.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::codec::Codec;
use crate::ids::{is_driver_id, is_tenant_id};

/// Most entries.
const ENTRIES_MAX: usize = 64;

/// Most levels of a topic.
const LEVELS_MAX: usize = 16;

/// Longest topic, driver or tenant of an entry, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// Topics of this shape are native, whatever the configuration says.
const NATIVE: [Option<&str>; 5] = [Some("tenant"), None, Some("driver"), None, Some("location")];

const DRIVER_WANTS: &str = "what comes to a driver id: 1 to 64 of A-Z a-z 0-9 . _ : -";

const TENANT_WANTS: &str = "what comes to a tenant id: 1 to 32 of A-Z a-z 0-9 _ -";

/// One entry, as it is configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngestTopic {
    /// Levels between slashes; `{name}` stands for one.
    pub topic: String,
    /// The codec's name.
    pub codec: String,
    /// Whose fixes they are, with `{name}` for what stood there in the topic.
    pub driver: String,
    /// Of which tenant, likewise. Left out: the tenant of whoever publishes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

impl IngestTopic {
    /// What is mapped unless something else is configured.
    pub(super) fn defaults() -> Vec<Self> {
        let entry = |topic: &str, codec: Codec, driver: &str| Self {
            topic: topic.to_owned(),
            codec: codec.to_string(),
            driver: driver.to_owned(),
            tenant: None,
        };
        vec![
            entry("owntracks/{user}/{device}", Codec::OwnTracks, "{user}:{device}"),
            entry("flespi/message/gw/devices/{id}", Codec::Flespi, "{id}"),
            entry("teltonika/{imei}/data", Codec::Teltonika, "{imei}"),
        ]
    }
}

/// An entry that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidMapping {
    /// Which of its keys; empty for the list as a whole.
    pub key: &'static str,
    /// What stands there.
    pub found: String,
    /// What may stand there.
    pub wants: String,
}

/// What a mapped topic says of the fixes that it carries. The names are not checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapped {
    pub(super) codec: Codec,
    pub(super) driver: String,
    /// `None`: the tenant of whoever publishes.
    pub(super) tenant: Option<String>,
}

/// All entries, ready to be matched.
#[derive(Debug, Default)]
pub(super) struct Mapping(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    levels: Vec<Level>,
    codec: Codec,
    driver: Template,
    tenant: Option<Template>,
}

#[derive(Debug)]
enum Level {
    Exactly(String),
    /// Any, and what it is called.
    Named(String),
}

/// A text with levels of the topic in it.
#[derive(Debug)]
struct Template(Vec<Part>);

#[derive(Debug)]
enum Part {
    Text(String),
    /// Which level.
    Level(usize),
}

impl Mapping {
    /// Reads the entries.
    pub(super) fn new(entries: &[IngestTopic]) -> Result<Self, InvalidMapping> {
        if entries.len() > ENTRIES_MAX {
            let wants = format!("at most {ENTRIES_MAX} entries");
            return Err(InvalidMapping { key: "", found: format!("{} entries", entries.len()), wants });
        }
        let mut mapping = Self::default();
        for entry in entries {
            let read = Entry::read(entry)?;
            if let Some(covers) = mapping.0.iter().position(|before| before.covers(&read)) {
                let wants = format!("a topic that no entry before it takes; {:?} does", entries[covers].topic);
                return Err(InvalidMapping { key: "topic", found: format!("{:?}", entry.topic), wants });
            }
            mapping.0.push(read);
        }
        Ok(mapping)
    }

    /// What the first entry that matches makes of a topic.
    pub(super) fn find(&self, topic: &str) -> Option<Mapped> {
        let mut levels = [""; LEVELS_MAX];
        let mut count = 0;
        for level in topic.split('/') {
            *levels.get_mut(count)? = level;
            count += 1;
        }
        let levels = &levels[..count];
        let entry = self.0.iter().find(|entry| entry.matches(levels))?;
        Some(Mapped {
            codec: entry.codec,
            driver: entry.driver.filled(levels),
            tenant: entry.tenant.as_ref().map(|tenant| tenant.filled(levels)),
        })
    }
}

impl Entry {
    fn read(entry: &IngestTopic) -> Result<Self, InvalidMapping> {
        let levels = levels(&entry.topic)?;
        let invalid = |key, found: &str, wants: &str| InvalidMapping {
            key,
            found: format!("{found:?} for the topic {:?}", entry.topic),
            wants: wants.to_owned(),
        };
        let codec = match Codec::from_str(&entry.codec) {
            Ok(Codec::Recording) => Err("a codec of payloads, which a recording is not".to_owned()),
            Ok(codec) => Ok(codec),
            Err(_) => Err(format!("one of {}", payload_codecs())),
        };
        let template = |key, text: &str, is_id: fn(&[u8]) -> bool, id: &str| {
            let read = Template::read(text, &levels, is_id);
            read.map_err(|wants| invalid(key, text, wants.as_deref().unwrap_or(id)))
        };
        Ok(Self {
            codec: codec.map_err(|wants| invalid("codec", &entry.codec, &wants))?,
            driver: template("driver", &entry.driver, is_driver_id, DRIVER_WANTS)?,
            tenant: match &entry.tenant {
                Some(tenant) => Some(template("tenant", tenant, is_tenant_id, TENANT_WANTS)?),
                None => None,
            },
            levels,
        })
    }

    fn matches(&self, topic: &[&str]) -> bool {
        let is_match = |(level, found): (&Level, &&str)| match level {
            Level::Exactly(text) => text == found,
            Level::Named(_) => true,
        };
        self.levels.len() == topic.len() && self.levels.iter().zip(topic).all(is_match)
    }

    /// Whether it matches every topic that the other does.
    fn covers(&self, other: &Self) -> bool {
        let is_wider = |(level, other): (&Level, &Level)| match (level, other) {
            (Level::Named(_), _) => true,
            (Level::Exactly(text), Level::Exactly(other)) => text == other,
            (Level::Exactly(_), Level::Named(_)) => false,
        };
        self.levels.len() == other.levels.len() && self.levels.iter().zip(&other.levels).all(is_wider)
    }
}

/// Reads the levels of an entry's topic.
fn levels(topic: &str) -> Result<Vec<Level>, InvalidMapping> {
    let invalid = |wants: String| InvalidMapping { key: "topic", found: format!("{topic:?}"), wants };
    if topic.is_empty() || topic.len() > TEXT_BYTES_MAX || topic.split('/').count() > LEVELS_MAX {
        return Err(invalid(format!("a topic of 1 to {TEXT_BYTES_MAX} bytes and at most {LEVELS_MAX} levels")));
    }
    if topic.starts_with('$') || topic.contains(['+', '#']) || topic.contains(char::is_control) {
        return Err(invalid(
            "a topic that clients can publish on, with {name} for a level that may be anything".to_owned(),
        ));
    }
    let mut levels: Vec<Level> = Vec::new();
    for level in topic.split('/') {
        levels.push(match level.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) if !is_name(name) => {
                return Err(invalid("names in braces of the letters a to z, digits and _".to_owned()));
            }
            Some(name) if place_of(name, &levels).is_some() => {
                return Err(invalid(format!("{{{name}}} only once")));
            }
            Some(name) => Level::Named(name.to_owned()),
            None if level.contains(['{', '}']) => {
                return Err(invalid("{name} for a whole level and not for a part of one".to_owned()));
            }
            None => Level::Exactly(level.to_owned()),
        });
    }
    let may_be_native = |(level, native): (&Level, Option<&str>)| match (level, native) {
        (Level::Exactly(text), Some(native)) => text == native,
        _ => true,
    };
    if levels.len() == NATIVE.len() && levels.iter().zip(NATIVE).all(may_be_native) {
        return Err(invalid("topics that are not of the shape tenant/+/driver/+/location, which is native".to_owned()));
    }
    Ok(levels)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

fn place_of(name: &str, levels: &[Level]) -> Option<usize> {
    levels.iter().position(|level| matches!(level, Level::Named(known) if known == name))
}

/// The names of all codecs that read payloads.
fn payload_codecs() -> String {
    let names = Codec::ALL.iter().filter(|codec| **codec != Codec::Recording).map(|codec| codec.as_str());
    names.collect::<Vec<_>>().join(", ")
}

impl Template {
    /// Reads a text, of which with any letter in place of the braces an id has to come. An error says what is wanted; `None`:
    /// an id.
    fn read(text: &str, levels: &[Level], is_id: fn(&[u8]) -> bool) -> Result<Self, Option<String>> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(Some(format!("at most {TEXT_BYTES_MAX} bytes")));
        }
        let (mut parts, mut example, mut rest) = (Vec::new(), String::new(), text);
        while let Some((before, behind)) = rest.split_once('{') {
            let Some((name, behind)) = behind.split_once('}') else { return Err(None) };
            let Some(level) = place_of(name, levels) else {
                let known = levels.iter().filter_map(|level| match level {
                    Level::Named(name) => Some(format!("{{{name}}}")),
                    Level::Exactly(_) => None,
                });
                let known = known.collect::<Vec<_>>().join(", ");
                return Err(Some(format!("in braces only names of its topic ({known})")));
            };
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Level(level));
            example.push_str(before);
            example.push('x');
            rest = behind;
        }
        example.push_str(rest);
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        if is_id(example.as_bytes()) { Ok(Self(parts)) } else { Err(None) }
    }

    /// The text with these levels in it; nothing, which is no id, if one of them is empty.
    fn filled(&self, levels: &[&str]) -> String {
        let mut filled = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Level(level) if levels[*level].is_empty() => return String::new(),
                Part::Level(level) => filled.push_str(levels[*level]),
            }
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(topic: &str, codec: &str, driver: &str, tenant: Option<&str>) -> IngestTopic {
        let tenant = tenant.map(str::to_owned);
        IngestTopic { topic: topic.to_owned(), codec: codec.to_owned(), driver: driver.to_owned(), tenant }
    }

    fn found(codec: Codec, driver: &str, tenant: Option<&str>) -> Option<Mapped> {
        Some(Mapped { codec, driver: driver.to_owned(), tenant: tenant.map(str::to_owned) })
    }

    #[test]
    fn topics_are_told_by_their_levels() {
        let mut entries = IngestTopic::defaults();
        entries.push(entry("fleet/{tenant}/{car}", "native", "car-{car}", Some("{tenant}")));
        entries.push(entry("yard/gate", "compact", "gate", Some("acme")));
        let mapping = Mapping::new(&entries).unwrap();
        let cases = [
            ("owntracks/ann/phone", found(Codec::OwnTracks, "ann:phone", None)),
            ("owntracks/ann/phone/event", None),
            ("owntracks/ann", None),
            ("owntracks/ann/ä b", found(Codec::OwnTracks, "ann:ä b", None)),
            ("owntracks//phone", found(Codec::OwnTracks, "", None)),
            ("flespi/message/gw/devices/123", found(Codec::Flespi, "123", None)),
            ("teltonika/352093081452251/data", found(Codec::Teltonika, "352093081452251", None)),
            ("teltonika/352093081452251/commands", None),
            ("fleet/acme/7", found(Codec::Native, "car-7", Some("acme"))),
            ("fleet//7", found(Codec::Native, "car-7", Some(""))),
            ("yard/gate", found(Codec::Compact, "gate", Some("acme"))),
            ("/yard/gate", None),
            ("a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q", None),
            ("", None),
        ];
        for (topic, expected) in cases {
            assert_eq!(mapping.find(topic), expected, "{topic}");
        }
    }

    #[test]
    fn the_first_entry_that_matches_counts() {
        let entries = [entry("gps/main", "flespi", "main", None), entry("gps/{id}", "owntracks", "{id}", None)];
        let mapping = Mapping::new(&entries).unwrap();
        assert_eq!(mapping.find("gps/main"), found(Codec::Flespi, "main", None));
        assert_eq!(mapping.find("gps/other"), found(Codec::OwnTracks, "other", None));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_its_key() {
        let long = "x".repeat(300);
        let cases = [
            (entry("a/{id}", "flespy", "{id}", None), "codec", "one of native, owntracks, osmand,"),
            (entry("a/{id}", "recording", "{id}", None), "codec", "a codec of payloads"),
            (entry("a/{id}", "flespi", "{imei}", None), "driver", "in braces only names of its topic ({id})"),
            (entry("a/{id}", "flespi", "{id", None), "driver", "what comes to a driver id"),
            (entry("a/{id}", "flespi", "id}", None), "driver", "what comes to a driver id"),
            (entry("a/{id}", "flespi", "my {id}", None), "driver", "what comes to a driver id"),
            (entry("a/{id}", "flespi", "", None), "driver", "what comes to a driver id"),
            (entry("a/{id}", "flespi", &long, None), "driver", "at most 256 bytes"),
            (entry("a/{id}", "flespi", "{id}", Some("{t}")), "tenant", "in braces only names of its topic ({id})"),
            (entry("a/{id}", "flespi", "{id}", Some("a.b")), "tenant", "what comes to a tenant id"),
            (entry("", "flespi", "d", None), "topic", "a topic of 1 to 256 bytes"),
            (entry(&"a/".repeat(20), "flespi", "d", None), "topic", "a topic of 1 to 256 bytes"),
            (entry("a/+", "flespi", "d", None), "topic", "a topic that clients can publish on"),
            (entry("a/#", "flespi", "d", None), "topic", "a topic that clients can publish on"),
            (entry("$SYS/{id}", "flespi", "{id}", None), "topic", "a topic that clients can publish on"),
            (entry("a/{}", "flespi", "d", None), "topic", "names in braces"),
            (entry("a/{I d}", "flespi", "d", None), "topic", "names in braces"),
            (entry("a/{id}/{id}", "flespi", "{id}", None), "topic", "{id} only once"),
            (entry("a/car-{id}", "flespi", "{id}", None), "topic", "{name} for a whole level"),
            (
                entry("tenant/{t}/driver/{d}/location", "flespi", "{d}", None),
                "topic",
                "topics that are not of the shape",
            ),
            (entry("{a}/{b}/{c}/{d}/{e}", "flespi", "{d}", None), "topic", "topics that are not of the shape"),
        ];
        for (bad, key, wants) in cases {
            let invalid = Mapping::new(std::slice::from_ref(&bad)).expect_err(wants);
            assert_eq!(invalid.key, key, "{invalid:?}");
            assert!(invalid.wants.starts_with(wants), "{invalid:?}");
        }
    }

    #[test]
    fn an_entry_that_nothing_reaches_and_one_too_many_are_refused() {
        let hidden = [entry("a/{b}", "flespi", "{b}", None), entry("a/c", "owntracks", "c", None)];
        let invalid = Mapping::new(&hidden).unwrap_err();
        assert_eq!((invalid.key, invalid.found.as_str()), ("topic", "\"a/c\""));
        let many: Vec<_> = (0..65).map(|n| entry(&format!("a/{n}"), "flespi", "d", None)).collect();
        assert!(Mapping::new(&many[..64]).is_ok());
        assert_eq!(Mapping::new(&many).unwrap_err().found, "65 entries");
    }
}

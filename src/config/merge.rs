//! The three sources, read and laid over the defaults one key at a time, so that each mistake is laid at its author's door.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Spanned, Table, Value, de::DeTable, de::DeValue};

use super::{Config, Invalid, Origin, keys, tenants};
use crate::pipeline::Rules;

/// What the names of the engine's environment variables begin with.
const VARIABLE_PREFIX: &str = "RHUMB_";

/// Variables of that prefix which are no configuration: the log filter, and what the tests are told.
const VARIABLES_ELSEWHERE: [&str; 2] = ["RHUMB_LOG", "RHUMB_TEST_"];

/// Where values come from, weakest first.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A file that has to exist, if any.
    pub file: Option<PathBuf>,
    /// The environment, names and values; those without the prefix are passed over.
    pub environment: Vec<(String, String)>,
    /// `section.key=value`, as given to `--set`.
    pub sets: Vec<String>,
}

/// A value that somebody gave, and where.
struct Override {
    key: Vec<String>,
    value: Given,
    origin: Origin,
}

/// A value as it was given.
enum Given {
    /// With its kind, from a file.
    Typed(Value),
    /// As text, to be read as whatever kind the key has.
    Text(String),
}

/// The outcome, and who said what.
pub(super) struct Merged {
    pub(super) config: Config,
    origins: BTreeMap<String, Origin>,
}

impl Merged {
    /// Where the first of the keys was said that begin so.
    pub(super) fn origin_of_first(&self, prefix: &str) -> Origin {
        let from = self.origins.range(prefix.to_owned()..).next();
        from.filter(|(key, _)| key.starts_with(prefix)).map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    /// Where a key's value was said.
    pub(super) fn origin_of(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }
}

/// Lays all sources over the defaults.
pub(super) fn merge(sources: &Sources) -> Result<Merged, Invalid> {
    let mut overrides = Vec::new();
    if let Some(path) = &sources.file {
        read_file(path, &mut overrides)?;
    }
    read_environment(&sources.environment, &mut overrides);
    for text in &sources.sets {
        overrides.push(read_set(text)?);
    }

    let defaults = Table::try_from(Config::default()).expect("every section serialises: a test does it");
    let mut merged = Merged { config: Config::default(), origins: BTreeMap::new() };
    let mut values = defaults.clone();
    let defaults = Value::Table(defaults);
    let of_tenant = tenants::defaults(&values);
    let mut own_rules = false;
    for Override { key, value, origin } in overrides {
        let name = key.join(".");
        let of_one_tenant = tenants::within(&key, &origin)?;
        let (section, within) = of_one_tenant.map_or((&defaults, &key[..]), |within| (&of_tenant, within));
        let default = default_of(section, &key, within, &origin)?;
        // A tenant's key wants what the same key wants for all.
        let common_name = within.join(".");
        if default.is_table() && value.is_empty_section() {
            continue;
        }
        let invalid = |found| Invalid {
            origin: origin.clone(),
            key: Some(name.clone()),
            found,
            wants: keys::wants(&common_name, default),
        };
        let value = value.into_kind_of(default).map_err(&invalid)?;
        if let (Value::Integer(number), Some(range)) = (&value, keys::range(&common_name))
            && !range.contains(number)
        {
            return Err(invalid(number.to_string()));
        }
        let found = value.to_string();
        // One key at a time, so that what the part itself refuses is known to be this key's.
        if let (Some(_), Some(rule)) = (of_one_tenant, within.last()) {
            let own = Table::from_iter([(rule.clone(), value.clone())]);
            Rules::deserialize(own).map_err(|_| invalid(found))?;
            put(&mut values, &key, value);
            own_rules = true;
        } else {
            put(&mut values, &key, value);
            merged.config = Config::deserialize(values.clone()).map_err(|error| match default {
                // Which of its entries, and what about it, only the part knows.
                Value::Array(_) => invalid(error.message().to_owned()),
                _ => invalid(found),
            })?;
        }
        merged.origins.insert(name, origin);
    }
    if own_rules {
        merged.config = Config::deserialize(values).expect("each of these keys was read with the others' defaults");
    }
    Ok(merged)
}

/// The default of the key whose end is `within` a section, or that there is no such key.
fn default_of<'a>(
    section: &'a Value,
    key: &[String],
    within: &[String],
    origin: &Origin,
) -> Result<&'a Value, Invalid> {
    let Value::Table(defaults) = section else { return Ok(section) };
    if within.is_empty() {
        return Ok(section);
    }
    find(defaults, within).map_err(|(depth, section)| {
        let depth = depth + key.len() - within.len();
        let place = if depth == 0 { "at the top".to_owned() } else { format!("in [{}]", key[..depth].join(".")) };
        Invalid {
            origin: origin.clone(),
            key: Some(key.join(".")),
            found: "an unknown key".to_owned(),
            wants: format!("{place} one of {}", keys::names(section)),
        }
    })
}

/// What stands at a key, or how deep it was followed and what is there.
fn find<'a>(section: &'a Table, key: &[String]) -> Result<&'a Value, (usize, &'a Table)> {
    match key {
        [] => Err((0, section)),
        [last] => section.get(last).ok_or((0, section)),
        [first, rest @ ..] => match section.get(first) {
            Some(Value::Table(inner)) => find(inner, rest).map_err(|(depth, section)| (depth + 1, section)),
            _ => Err((0, section)),
        },
    }
}

/// Puts a value where [`default_of`] found a default. The sections around it are made where a tenant has none yet.
fn put(values: &mut Table, key: &[String], value: Value) {
    let [sections @ .., last] = key else { return };
    let mut section = values;
    for part in sections {
        let inner = section.entry(part).or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(inner) = inner else { return };
        section = inner;
    }
    section.insert(last.clone(), value);
}

impl Given {
    /// Whether it is a section's header with nothing below it.
    fn is_empty_section(&self) -> bool {
        matches!(self, Self::Typed(Value::Table(section)) if section.is_empty())
    }

    /// The value, if it is of the default's kind, else what was found instead.
    fn into_kind_of(self, default: &Value) -> Result<Value, String> {
        let value = match self {
            Self::Typed(value) => value,
            Self::Text(text) if default.is_str() => Value::String(text),
            Self::Text(text) => toml::de::ValueDeserializer::parse(&text)
                .and_then(Value::deserialize)
                .map_err(|_| format!("\"{text}\""))?,
        };
        match (&value, default) {
            (Value::Table(_), _) => Err("a section".to_owned()),
            _ if value.same_type(default) => Ok(value),
            _ => Err(format!("{value} ({})", value.type_str())),
        }
    }
}

/// Reads a file into overrides, in the order of their keys.
fn read_file(path: &Path, overrides: &mut Vec<Override>) -> Result<(), Invalid> {
    let text = std::fs::read_to_string(path).map_err(|error| Invalid {
        origin: Origin::Unreadable(path.to_owned()),
        key: None,
        found: error.to_string(),
        wants: "a file in TOML that can be read".to_owned(),
    })?;
    let file = File { path, text: &text };
    let table = DeTable::parse(&text).map_err(|error| Invalid {
        origin: file.line_of(error.span().map_or(0, |span| span.start)),
        key: None,
        found: error.message().to_owned(),
        wants: "TOML".to_owned(),
    })?;
    file.flatten(&table.into_inner(), &mut Vec::new(), overrides);
    Ok(())
}

/// A file under way.
struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    /// Appends every leaf below a section.
    fn flatten(&self, section: &DeTable<'_>, key: &mut Vec<String>, overrides: &mut Vec<Override>) {
        for (name, value) in section.iter() {
            key.push(name.get_ref().to_string());
            match value.get_ref() {
                DeValue::Table(inner) if !inner.is_empty() => self.flatten(inner, key, overrides),
                // A section with nothing in it comes here too: it says nothing, but it has to be one of ours.
                _ => overrides.push(Override {
                    key: key.clone(),
                    value: Given::Typed(to_value(value)),
                    origin: self.line_of(name.span().start),
                }),
            }
            key.pop();
        }
    }

    /// Where a byte of the text stands.
    fn line_of(&self, offset: usize) -> Origin {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Origin::File { path: self.path.to_owned(), line }
    }
}

/// The value without its place.
fn to_value(value: &Spanned<DeValue<'_>>) -> Value {
    Value::deserialize(toml::de::ValueDeserializer::from(value.clone()))
        .unwrap_or_else(|_| Value::String("a number out of range".to_owned()))
}

/// Reads the environment into overrides, in the order of the names.
fn read_environment(environment: &[(String, String)], overrides: &mut Vec<Override>) {
    let mut variables: Vec<_> = environment.iter().collect();
    variables.sort();
    for (variable, value) in variables {
        let Some(name) = variable.strip_prefix(VARIABLE_PREFIX) else { continue };
        if VARIABLES_ELSEWHERE.iter().any(|elsewhere| variable.starts_with(elsewhere)) {
            continue;
        }
        overrides.push(Override {
            key: name.split("__").map(str::to_ascii_lowercase).collect(),
            value: Given::Text(value.clone()),
            origin: Origin::Variable(variable.clone()),
        });
    }
}

/// Reads one `--set`.
fn read_set(text: &str) -> Result<Override, Invalid> {
    let Some((key, value)) = text.split_once('=') else {
        return Err(Invalid {
            origin: Origin::Flag(text.to_owned()),
            key: None,
            found: "no =".to_owned(),
            wants: "section.key=value".to_owned(),
        });
    };
    Ok(Override {
        key: key.trim().split('.').map(str::to_owned).collect(),
        value: Given::Text(value.trim().trim_matches('"').to_owned()),
        origin: Origin::Flag(text.to_owned()),
    })
}

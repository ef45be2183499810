//! What the engine runs with: a file, the environment and `--set`, merged in that order and checked before anything binds.
//!
//! Each part owns its own `Config`; [`Config`] is a struct of those. Every key has a default, so a key that the defaults do
//! not serialise does not exist. Off is said by a value (`0`), never by leaving the key out.

mod change;
mod invalid;
mod keys;
mod merge;
mod sections;
mod tenants;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use change::Change;
pub use invalid::{Invalid, Origin};
pub use merge::Sources;
pub use sections::Geo;
pub use tenants::Tenant;

use crate::{auth, follow, http, journal, mqtt, pipeline, rejected, sink, store};

/// Everything that can be configured, validated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the engine keeps everything: journal, store, refusals, the lock that one process holds.
    pub data_dir: PathBuf,
    /// The MQTT front door.
    pub mqtt: mqtt::Config,
    /// The public HTTP API.
    pub http: http::Config,
    /// The operator's HTTP port.
    pub admin: http::AdminConfig,
    /// The shards.
    pub pipeline: pipeline::Config,
    /// How duplicates are told.
    pub dedupe: pipeline::DedupeConfig,
    /// When a fix is refused.
    pub rules: pipeline::Rules,
    /// What of that is otherwise for single tenants, by their ids.
    pub tenant: BTreeMap<String, Tenant>,
    /// What is kept of refused fixes.
    pub rejected: rejected::Config,
    /// The durable log.
    pub journal: journal::Config,
    /// The embedded store.
    pub store: store::Config,
    /// How sinks are fed.
    pub sink: sink::Config,
    /// The index of positions.
    pub geo: Geo,
    /// Geofences.
    pub fences: follow::Config,
    /// Which tenants and drivers there may be.
    pub registry: pipeline::RegistryConfig,
    /// Who may do what.
    pub auth: auth::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("data"),
            mqtt: mqtt::Config::default(),
            http: http::Config::default(),
            admin: http::AdminConfig::default(),
            pipeline: pipeline::Config::default(),
            dedupe: pipeline::DedupeConfig::default(),
            rules: pipeline::Rules::default(),
            tenant: BTreeMap::new(),
            rejected: rejected::Config::default(),
            journal: journal::Config::default(),
            store: store::Config::default(),
            sink: sink::Config::default(),
            geo: Geo::default(),
            fences: follow::Config::default(),
            registry: pipeline::RegistryConfig::default(),
            auth: auth::Config::default(),
        }
    }
}

impl Config {
    /// Merges the sources over the defaults and checks every value.
    ///
    /// # Errors
    /// The first thing that is wrong: where it was said, what was found and what is wanted.
    pub fn load(sources: &Sources) -> Result<Self, Invalid> {
        let merged = merge::merge(sources)?;
        merged.config.check_listeners().map_err(|exposed| Invalid {
            origin: merged.origin_of(exposed.key),
            key: Some(exposed.key.to_owned()),
            found: format!("\"{}\"", exposed.address),
            wants: exposed.wants.to_owned(),
        })?;
        if merged.config.data_dir.as_os_str().is_empty() {
            return Err(Invalid {
                origin: merged.origin_of("data_dir"),
                key: Some("data_dir".to_owned()),
                found: "\"\"".to_owned(),
                wants: "a directory, such as \"data\"".to_owned(),
            });
        }
        let tenants_max = merged.config.registry.tenants_max;
        if let Some(tenant) = merged.config.tenant.keys().nth(tenants_max) {
            return Err(Invalid {
                origin: merged.origin_of_first(&format!("{}.{tenant}.", tenants::SECTION)),
                key: Some(format!("{}.{tenant}", tenants::SECTION)),
                found: format!("rules for {} tenants", merged.config.tenant.len()),
                wants: format!("at most {tenants_max}, as registry.tenants_max allows"),
            });
        }
        merged.config.mqtt.check_ingest().map_err(|invalid| Invalid {
            origin: merged.origin_of("mqtt.ingest"),
            key: Some(["mqtt.ingest", invalid.key].join(".").trim_end_matches('.').to_owned()),
            found: invalid.found,
            wants: invalid.wants,
        })?;
        if let Some(part) = merged.config.mqtt.missing_tls_file() {
            let key = format!("mqtt.tls.{}", part.key());
            return Err(Invalid {
                origin: merged.origin_of(&key),
                key: Some(key),
                found: "\"\"".to_owned(),
                wants: "a file in PEM, since mqtt.tls.listen or mqtt.websocket.tls.listen is on".to_owned(),
            });
        }
        merged.config.mqtt.check_acl().map_err(|invalid| Invalid {
            origin: merged.origin_of("mqtt.acl"),
            key: Some(["mqtt.acl", invalid.key].join(".").trim_end_matches('.').to_owned()),
            found: invalid.found,
            wants: invalid.wants,
        })?;
        merged.config.auth.check_public_keys().map_err(|invalid| Invalid {
            origin: merged.origin_of("auth.public_keys"),
            key: Some("auth.public_keys".to_owned()),
            found: invalid.found,
            wants: invalid.wants,
        })?;
        let journal = &merged.config.journal;
        if journal.bytes_max < journal.bytes_min() {
            return Err(Invalid {
                origin: merged.origin_of("journal.bytes_max"),
                key: Some("journal.bytes_max".to_owned()),
                found: journal.bytes_max.to_string(),
                wants: format!(
                    "room for four segments, {} while journal.segment_bytes is {}",
                    journal.bytes_min(),
                    journal.segment_bytes
                ),
            });
        }
        Ok(merged.config)
    }

    /// The rules of every tenant.
    pub fn rule_book(&self) -> pipeline::RuleBook {
        tenants::rule_book(&self.rules, &self.tenant)
    }

    /// The effective configuration, as a file that [`Config::load`] reads back.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("every section serialises: a test does it with the defaults")
    }

    /// Every listener with its key.
    fn listeners(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        self.mqtt.listeners().chain([("http.listen", self.http.listen), (ADMIN_LISTEN, self.admin.listen)])
    }

    /// The first listener that strangers could reach and do there what is none of theirs: anything in open mode, and on the
    /// operator's port what concerns all tenants, as long as an `ops_admin` of any of them may use it.
    fn check_listeners(&self) -> Result<(), Exposed> {
        let (is_meant, wants): (fn(&str) -> bool, _) = match self.auth.mode {
            auth::Mode::Open => (|_| true, WANTS_CREDENTIALS),
            auth::Mode::Required if self.auth.operator_tenant.is_empty() => (|key| key == ADMIN_LISTEN, WANTS_OPERATOR),
            auth::Mode::Required => return Ok(()),
        };
        match self.listeners().find(|(key, address)| is_meant(key) && !address.ip().is_loopback()) {
            Some((key, address)) => Err(Exposed { key, address, wants }),
            None => Ok(()),
        }
    }
}

/// The key of the operator's port.
const ADMIN_LISTEN: &str = "admin.listen";

const WANTS_CREDENTIALS: &str = "a loopback address while auth.mode is \"open\", since whoever reached it could do everything; or auth.mode = \"required\"";

const WANTS_OPERATOR: &str = "a loopback address while auth.operator_tenant is \"\", since an ops_admin of any tenant could see and steer all of them; or the tenant of the operators there";

/// A listener that must not be reached from elsewhere.
struct Exposed {
    key: &'static str,
    address: SocketAddr,
    wants: &'static str,
}

#[cfg(test)]
mod tests;

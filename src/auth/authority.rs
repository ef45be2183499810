//! The one place that says who somebody is: both doors ask it, and it asks tokens, devices and certificates.

use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::config::{Config, InvalidKey};
use super::delays::{self, Delays};
use super::devices::file::{self, DevicesError};
use super::devices::{Device, Devices, Standing};
use super::failures::Failures;
use super::passwords::{self, DeviceToken, PASSWORD_BYTES_MAX};
use super::pool::Pool;
use super::remembered::Remembered;
use super::secret::{SECRET_FILE, Secret, SecretError};
use super::tokens::{PublicKey, Tokens, is_token};
use super::{Principal, Refusal, Role};
use crate::ids::{DriverId, TenantId};
use crate::telemetry::prometheus::{Exposition, Kind};
use crate::tls::Holder;
use crate::units::TimestampMs;

/// What somebody shows. It does not print.
pub enum Credentials {
    /// Nothing.
    None,
    /// Something that cannot be read.
    Unreadable,
    /// A user name, which may be empty, and a password, which may be a token.
    Password {
        /// `tenant/name`, or `name`. Not looked at beside a token.
        user: String,
        /// The password.
        password: Vec<u8>,
    },
    /// A client certificate that was verified.
    Certificate(Holder),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Credentials")
    }
}

/// Somebody who was let in.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// Who it is.
    pub principal: Arc<Principal>,
    /// Whether that is still so, for credentials that can be taken back.
    pub standing: Option<Standing>,
}

/// Somebody who was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Why.
    pub refusal: Refusal,
    /// How long the answer has to be held back.
    pub delay: Duration,
}

/// What came of a question.
pub type Verdict = Result<Admitted, Denied>;

/// The answer to a question, or that it comes later.
#[derive(Debug)]
pub enum Answer {
    /// It took no time.
    Now(Verdict),
    /// It is told on another thread, as long as somebody waits.
    Later(Waiting),
}

/// Somebody waits for an answer. Dropped, nobody does: a check that has not begun by then is left out, and nothing is told.
#[derive(Debug)]
#[must_use = "dropped, the question is withdrawn"]
pub struct Waiting(Arc<()>);

#[cfg(test)]
impl Waiting {
    /// For an answer that nobody was asked for.
    pub(crate) fn in_vain() -> Self {
        Self(Arc::default())
    }
}

/// Why nobody can be let in.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The key of the engine's own tokens.
    #[error("{0}")]
    Secret(#[from] SecretError),
    /// A file of `auth.public_keys`.
    #[error("auth.public_keys: found {}, wants {}", .0.found, .0.wants)]
    PublicKey(InvalidKey),
    /// The devices file.
    #[error("{0}")]
    Devices(#[from] DevicesError),
    /// The system gives no threads, no random bytes or no memory.
    #[error("cannot check credentials: {0}")]
    System(std::io::Error),
}

/// Who says who is who; clones are the same. In open mode nobody does.
#[derive(Clone, Debug)]
pub struct Authority(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    tokens: Tokens,
    devices: Devices,
    remembered: Remembered,
    pool: Pool,
    delays: Mutex<Delays>,
    failures: Failures,
    /// Checks that were left out, since nobody waited for them any more.
    abandoned: AtomicU64,
    certificate_tenant: Option<TenantId>,
    operator_tenant: Option<TenantId>,
    /// Of a password that nobody knows: what is checked for a name that nobody has.
    nobodys_hash: String,
}

/// What has to be checked on a thread of its own.
enum Slow {
    Password { device: Option<Arc<Device>>, password: Vec<u8> },
    Token(String),
}

impl Authority {
    /// The open mode.
    pub fn open() -> Self {
        Self(None)
    }

    /// Reads keys and devices, and makes the secret key if there is none. Takes some 20 ms.
    ///
    /// # Errors
    /// One of them cannot be read, or is none.
    pub fn required(config: &Config, data_dir: &Path) -> Result<Self, StartError> {
        let secret = Secret::of(data_dir)?;
        if secret.is_exposed() {
            tracing::warn!(
                file = %data_dir.join(SECRET_FILE).display(),
                "others than its owner may read the secret key, and make themselves any token: chmod 600 it"
            );
        }
        let public = config.public_keys.iter().map(|path| PublicKey::read(path)).collect::<Result<_, _>>();
        let unguessable = DeviceToken::new().map_err(StartError::System)?;
        let nobodys_hash = passwords::hash(unguessable.text.as_bytes());
        let inner = Inner {
            tokens: Tokens::new(&secret, public.map_err(StartError::PublicKey)?),
            devices: Devices::default(),
            remembered: Remembered::new().map_err(StartError::System)?,
            pool: Pool::start().map_err(StartError::System)?,
            delays: Mutex::default(),
            failures: Failures::default(),
            abandoned: AtomicU64::new(0),
            certificate_tenant: config.certificate_tenant(),
            operator_tenant: config.operator_tenant(),
            nobodys_hash: nobodys_hash.map_err(|error| StartError::System(std::io::Error::other(error)))?,
        };
        inner.devices.replace(file::read(data_dir)?);
        Ok(Self(Some(Arc::new(inner))))
    }

    /// Whether nobody is asked.
    pub fn is_open(&self) -> bool {
        self.0.is_none()
    }

    /// Reads the devices again; whoever is not among them as before loses its standing. Returns how many there are.
    ///
    /// # Errors
    /// The file cannot be read or a line of it is none; those that were known stay so.
    pub fn reload_devices(&self, data_dir: &Path) -> Result<usize, DevicesError> {
        let Some(inner) = &self.0 else { return Ok(0) };
        inner.devices.replace(file::read(data_dir)?);
        Ok(inner.devices.count())
    }

    /// Who shows these credentials, at `now`, from `address`. The answer is returned if it takes no time; otherwise,
    /// `tell` is called with it later, on another thread, if the [`Waiting`] is still there by then. Never blocks.
    ///
    /// In open mode everybody is the `ops_admin` of the default tenant.
    pub fn ask(
        &self,
        credentials: Credentials,
        address: Option<IpAddr>,
        now: TimestampMs,
        tell: impl FnOnce(Verdict) + Send + 'static,
    ) -> Answer {
        let Some(inner) = &self.0 else {
            let anyone =
                Principal::open(None).map(|principal| Admitted { principal: Arc::new(principal), standing: None });
            return Answer::Now(anyone.map_err(|_| Denied { refusal: Refusal::Missing, delay: Duration::ZERO }));
        };
        let slow = match inner.at_once(credentials, now) {
            Ok(result) => return Answer::Now(inner.conclude(result, address)),
            Err(slow) => slow,
        };
        let is_suspect = address.is_some_and(|address| inner.delays().is_suspect(address, Instant::now()));
        let later = Arc::clone(inner);
        let waiting = Waiting(Arc::default());
        let is_waited_for = Arc::downgrade(&waiting.0);
        let job = move || {
            if is_waited_for.strong_count() == 0 {
                later.abandoned.fetch_add(1, Ordering::Relaxed);
                return;
            }
            let result = later.check(slow, now);
            tell(later.conclude(result, address));
        };
        match inner.pool.submit(Box::new(job), address.map(delays::key), is_suspect) {
            Ok(()) => Answer::Later(waiting),
            Err(_) => Answer::Now(inner.conclude(Err(Refusal::Busy), address)),
        }
    }

    /// Whether this principal may use the operator's port.
    pub fn may_operate(&self, principal: &Principal) -> bool {
        principal.may_operate(self.0.as_ref().and_then(|inner| inner.operator_tenant.as_ref()))
    }

    /// Writes what failed to `/metrics`.
    pub fn collect(&self, page: &mut Exposition) {
        let Some(inner) = &self.0 else { return };
        inner.failures.collect(page);
        let help = "Checks of credentials since the start that were left out, since whoever asked was gone.";
        let abandoned = inner.abandoned.load(Ordering::Relaxed);
        page.family("rhumb_auth_checks_abandoned_total", help, Kind::Counter).sample(&[], abandoned);
        let help = "Devices in the credentials file.";
        page.family("rhumb_auth_devices", help, Kind::Gauge).sample(&[], inner.devices.count() as u64);
    }
}

impl Inner {
    /// What can be said without waiting, or what has to be checked for it.
    fn at_once(&self, credentials: Credentials, now: TimestampMs) -> Result<Result<Admitted, Refusal>, Slow> {
        let (user, password) = match credentials {
            Credentials::None => return Ok(Err(Refusal::Missing)),
            Credentials::Unreadable => return Ok(Err(Refusal::Malformed)),
            Credentials::Certificate(holder) => return Ok(self.certified(&holder, now)),
            Credentials::Password { password, .. } if password.len() > PASSWORD_BYTES_MAX => {
                return Ok(Err(Refusal::BadPassword));
            }
            Credentials::Password { user, password } => (user, password),
        };
        if is_token(&password) {
            let Ok(token) = String::from_utf8(password) else { return Ok(Err(Refusal::BadToken)) };
            if Tokens::is_quick(&token) {
                return Ok(self.tokens.check(&token, now).map(admitted));
            }
            let slow = Slow::Token(token);
            return self.known(&slow, now).map(Ok).ok_or(slow);
        }
        let device = self.devices.find(&user, &password);
        let slow = Slow::Password { device, password };
        self.known(&slow, now).map(Ok).ok_or(slow)
    }

    /// Whoever showed the same not long ago, and may still come in with it.
    fn known(&self, slow: &Slow, now: TimestampMs) -> Option<Admitted> {
        let tag = match slow {
            Slow::Token(token) => self.remembered.tag(TOKEN, token.as_bytes()),
            Slow::Password { device, password } => self.remembered.tag(device.as_ref()?.hash(), password),
        };
        let known = self.remembered.find(&tag)?;
        let is_revoked = known.standing.as_ref().is_some_and(Standing::is_revoked);
        (!is_revoked && !known.principal.is_expired(now)).then_some(known)
    }

    fn check(&self, slow: Slow, now: TimestampMs) -> Result<Admitted, Refusal> {
        // Several may have come with the same at once.
        if let Some(known) = self.known(&slow, now) {
            return Ok(known);
        }
        match slow {
            Slow::Token(token) => {
                let admitted = admitted(self.tokens.check(&token, now)?);
                self.remembered.remember(self.remembered.tag(TOKEN, token.as_bytes()), admitted.clone());
                Ok(admitted)
            }
            Slow::Password { device: None, password } => {
                // The same work as for a name that somebody has.
                let _ = passwords::is_right(&password, &self.nobodys_hash);
                Err(Refusal::BadPassword)
            }
            Slow::Password { device: Some(device), password } => {
                if !passwords::is_right(&password, device.hash()) || device.standing.is_revoked() {
                    return Err(Refusal::BadPassword);
                }
                let standing = Some(device.standing.clone());
                let admitted = Admitted { principal: Arc::clone(&device.principal), standing };
                self.remembered.remember(self.remembered.tag(device.hash(), &password), admitted.clone());
                Ok(admitted)
            }
        }
    }

    /// The device of the first name in a certificate that is a driver's: `{tenant}/{driver}`, or `{driver}` if there is
    /// a tenant for those. It ends with the certificate.
    fn certified(&self, holder: &Holder, now: TimestampMs) -> Result<Admitted, Refusal> {
        let named = holder.names.iter().find_map(|name| match name.split_once('/') {
            Some((tenant, driver)) => Some((TenantId::new(tenant).ok()?, DriverId::new(driver).ok()?)),
            None => Some((self.certificate_tenant.clone()?, DriverId::new(name).ok()?)),
        });
        let (tenant, driver) = named.ok_or(Refusal::BadCertificate)?;
        let subject = driver.as_str().into();
        let expires_at = Some(holder.ends_at);
        let principal = Principal { tenant, role: Role::Device, subject, driver: Some(driver), expires_at };
        // Whoever resumes a session was looked at when it began.
        if principal.is_expired(now) { Err(Refusal::BadCertificate) } else { Ok(admitted(principal)) }
    }

    /// Counts what failed, and says how long its answer waits.
    fn conclude(&self, result: Result<Admitted, Refusal>, address: Option<IpAddr>) -> Verdict {
        let now = Instant::now();
        match result {
            Ok(admitted) => {
                if let Some(address) = address {
                    self.delays().succeed(address);
                }
                Ok(admitted)
            }
            Err(refusal) => {
                self.failures.count(refusal, address, now);
                // Nothing was tried: it comes again.
                let is_tried = refusal != Refusal::Busy;
                let delay = address.filter(|_| is_tried).map(|address| self.delays().fail(address, now));
                Err(Denied { refusal, delay: delay.unwrap_or_default() })
            }
        }
    }

    fn delays(&self) -> std::sync::MutexGuard<'_, Delays> {
        self.delays.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a token is checked with, in place of a device's hash.
const TOKEN: &str = "token";

fn admitted(principal: Principal) -> Admitted {
    Admitted { principal: Arc::new(principal), standing: None }
}

#[cfg(test)]
mod tests;

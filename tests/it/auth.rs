//! Who may come in, and who may not: every way in and every refusal, over both doors and in both versions of MQTT.

mod acl;
mod backup;
mod certificate;
mod cli;
mod fleet;
mod http;
mod mqtt;
mod revocation;

use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use rhumb::auth::tokens::Claims;
use rhumb::auth::{SECRET_FILE, sign};
use rhumb::clock::Clock;

use crate::support::http::{self as client, Response};
use crate::support::rhumb::{Rhumb, command};

/// Asks everybody.
const REQUIRED: &str = "auth.mode=required";

/// An engine that asks everybody who it is, and logs what it can.
struct Guarded {
    rhumb: Rhumb,
    /// What must not be in its log.
    secrets: Vec<String>,
}

impl Guarded {
    fn start(sets: &[&str]) -> Self {
        let sets: Vec<&str> = [REQUIRED].iter().chain(sets).copied().collect();
        let rhumb = Rhumb::start_with(&sets, &[("RHUMB_LOG", Path::new("rhumb=trace"))]);
        Self { rhumb, secrets: Vec::new() }
    }

    /// What a command prints that has to succeed, which is a secret.
    fn secret_of(&mut self, args: &[&str]) -> String {
        let said = self.rhumb.run(args);
        assert!(said.status.success(), "{args:?}: {}", String::from_utf8_lossy(&said.stderr));
        let secret = String::from_utf8(said.stdout).unwrap();
        let secret = secret.strip_suffix('\n').unwrap().to_owned();
        assert!(!secret.is_empty() && !secret.contains(char::is_whitespace), "{secret:?}");
        self.secrets.push(secret.clone());
        secret
    }

    /// A token of `rhumb token`.
    fn token(&mut self, tenant: &str, role: &str, further: &[&str]) -> String {
        self.secret_of(&[&["token", "--tenant", tenant, "--role", role], further].concat())
    }

    /// The password of a device of this name, which is a driver of the same name.
    fn device(&mut self, tenant: &str, driver: &str) -> String {
        let password = self.secret_of(&["device", "add", "--tenant", tenant, "--driver", driver]);
        self.await_devices();
        password
    }

    /// Waits until the engine knows the devices that there are now.
    fn await_devices(&mut self) {
        let listed = self.rhumb.run(&["device", "list"]);
        let count = listed.stdout.iter().filter(|byte| **byte == b'\n').count() as f64;
        crate::support::wait_for("the engine to hear of the devices", || {
            (self.metric("rhumb_auth_devices") == count).then_some(())
        });
    }

    /// A token as an issuer with its own clock would sign it, good from now for so many seconds, which may be past.
    fn token_for_s(&mut self, tenant: &str, role: &str, subject: &str, seconds: f64) -> String {
        let claims = Claims {
            sub: subject.to_owned(),
            tenant: tenant.to_owned(),
            role: role.to_owned(),
            driver: Some(subject.to_owned()),
            exp: Clock::System.now().0 as f64 / 1_000.0 + seconds,
            nbf: None,
        };
        let token = sign(&self.rhumb.data_dir(), &claims).unwrap().0;
        self.secrets.push(token.clone());
        token
    }

    fn metric(&mut self, name: &str) -> f64 {
        let claims = Claims {
            sub: "prometheus".to_owned(),
            tenant: "ops".to_owned(),
            role: "ops_admin".to_owned(),
            driver: None,
            exp: Clock::System.now().0 as f64 / 1_000.0 + 60.0,
            nbf: None,
        };
        let token = sign(&self.rhumb.data_dir(), &claims).unwrap().0;
        let page = bearer(self.rhumb.admin(), "GET", "/metrics", &token, "");
        assert_eq!(page.status, 200, "{}", page.text());
        let sample = page.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        sample.unwrap_or_else(|| panic!("{name} is not in {}", page.text()))
    }

    fn failures(&mut self, reason: &str) -> f64 {
        self.metric(&format!("rhumb_auth_failures_total{{reason=\"{reason}\"}}"))
    }
}

impl Drop for Guarded {
    /// No test leaves a secret in the log, whatever it did.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let log = self.rhumb.log();
        assert!(!log.is_empty());
        let key = std::fs::read(self.rhumb.data_dir().join(SECRET_FILE)).unwrap();
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        for secret in self.secrets.iter().chain([&hex, &format!("{key:?}")]) {
            // Its end: of a token the first part is the same for all, of a password it says whose it is.
            let end = &secret[secret.len() - secret.len().min(20)..];
            assert!(!log.contains(end), "{secret} is in the log:\n{log}");
        }
        assert!(!log.contains("argon2id"), "a hash is in the log:\n{log}");
    }
}

/// One request with a bearer token.
fn bearer(address: std::net::SocketAddr, method: &str, path: &str, token: &str, body: &str) -> Response {
    let authorization = format!("Bearer {token}");
    client::request(address, method, path, &[("Authorization", &authorization)], body.as_bytes())
}

/// Runs a command with something on its standard input.
fn run_with_input(data_dir: &Path, args: &[&str], input: &str) -> Output {
    let data_dir_set = format!("data_dir={}", data_dir.display());
    let mut command = command(data_dir.parent().unwrap());
    command.args(args).args(["--set", &data_dir_set]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

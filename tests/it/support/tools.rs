//! Clients that others wrote: mosquitto's, and Python's paho.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use super::PATIENCE;
use super::mqtt::Version;
use super::process::output_within;

fn version_name(version: Version) -> &'static str {
    match version {
        Version::V4 => "311",
        Version::V5 => "5",
    }
}

fn mosquitto(program: &str, address: SocketAddr, version: Version) -> Command {
    let mut command = Command::new(program);
    command.args(["-h", &address.ip().to_string(), "-p", &address.port().to_string(), "-V", version_name(version)]);
    command
}

/// Runs `mosquitto_pub` with further options for one message; true if it was acknowledged.
pub(crate) fn mosquitto_pub_with(
    address: SocketAddr,
    version: Version,
    options: &[&str],
    topic: &str,
    payload: &str,
) -> bool {
    let mut command = mosquitto("mosquitto_pub", address, version);
    output_within(command.args(["-q", "1", "-t", topic, "-m", payload]).args(options), PATIENCE).status.success()
}

/// Publishes one message with `mosquitto_pub`, which leaves once it is acknowledged.
pub(crate) fn mosquitto_pub(address: SocketAddr, version: Version, qos: u8, topic: &str, payload: &str) {
    let mut command = mosquitto("mosquitto_pub", address, version);
    let said = output_within(command.args(["-q", &qos.to_string(), "-t", topic, "-m", payload]), PATIENCE);
    assert!(said.status.success(), "mosquitto_pub: {}", String::from_utf8_lossy(&said.stderr));
}

/// Publishes one message at QoS 1 with `mosquitto_pub` as somebody, and what it said.
pub(crate) fn mosquitto_pub_as(
    address: SocketAddr,
    version: Version,
    (user, password): (&str, &str),
    topic: &str,
    payload: &str,
) -> Output {
    let mut command = mosquitto("mosquitto_pub", address, version);
    output_within(command.args(["-u", user, "-P", password, "-q", "1", "-t", topic, "-m", payload]), PATIENCE)
}

/// Starts a `mosquitto_sub` that leaves after `count` messages and prints topic and payload of each.
pub(crate) fn mosquitto_sub(address: SocketAddr, version: Version, filter: &str, count: u32) -> Child {
    mosquitto_sub_with(address, version, &[], filter, count)
}

/// As [`mosquitto_sub`], with further options.
pub(crate) fn mosquitto_sub_with(
    address: SocketAddr,
    version: Version,
    options: &[&str],
    filter: &str,
    count: u32,
) -> Child {
    let mut command = mosquitto("mosquitto_sub", address, version);
    command.args(options);
    command.args(["-q", "1", "-v", "-t", filter, "-C", &count.to_string(), "-W", &PATIENCE.as_secs().to_string()]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Starts a `mosquitto_sub` with these arguments beside the address, which ends with an error if it takes too long.
pub(crate) fn mosquitto_sub_as(address: SocketAddr, version: Version, args: &[&str]) -> Child {
    let mut command = mosquitto("mosquitto_sub", address, version);
    command.args(["-W", &PATIENCE.as_secs().to_string()]).args(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for a client to end by itself, and what it printed.
pub(crate) fn said(client: Child) -> String {
    let output = client.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Publishes one message with `mosquitto_pub` and these arguments beside the address.
pub(crate) fn mosquitto_publish(address: SocketAddr, version: Version, args: &[&str]) {
    let said = output_within(mosquitto("mosquitto_pub", address, version).args(args), PATIENCE);
    assert!(said.status.success(), "mosquitto_pub: {}", String::from_utf8_lossy(&said.stderr));
}

/// Runs a script of `tests/it` in the Python that `.ci/test` made beside the build.
pub(crate) fn python(script: &str, args: &[&str]) -> Output {
    let target = Path::new(env!("CARGO_BIN_EXE_rhumb")).ancestors().nth(2).unwrap();
    let interpreter = target.join("test-python/bin/python");
    assert!(interpreter.exists(), "{} is missing: .ci/test makes it", interpreter.display());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(script);
    output_within(Command::new(interpreter).arg(script).args(args), 4 * PATIENCE)
}

//! `rhumb token` and `rhumb device`: what they print, what they refuse, and what a start refuses that cannot use what
//! they wrote.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use super::{REQUIRED, run_with_input};
use crate::support::PATIENCE;
use crate::support::process::output_within;
use crate::support::rhumb::command;

fn run(data_dir: &Path, args: &[&str]) -> Output {
    run_with_input(data_dir, args, "")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn commands_that_make_no_sense_exit_64_and_say_what_would() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    assert!(run(&data_dir, &["device", "add", "--tenant", "acme", "--driver", "d1"]).status.success());
    let cases: [(&[&str], &str); 13] = [
        (&["token", "--tenant", "acme", "--role", "device"], "--driver"),
        (&["token", "--tenant", "acme", "--role", "driver"], "--driver"),
        (&["token", "--tenant", "acme", "--role", "king"], "a role is ops_admin, dispatcher, driver or device"),
        (&["token", "--tenant", "a/b", "--role", "dispatcher"], "a tenant id is"),
        (&["token", "--role", "dispatcher"], "--tenant"),
        (&["token", "--tenant", "acme", "--role", "dispatcher", "--ttl", "0s"], "a duration"),
        (&["token", "--tenant", "acme", "--role", "dispatcher", "--sub", ""], "1 to 128 bytes"),
        (&["device", "add", "--tenant", "acme"], "--driver"),
        (&["device", "add", "--tenant", "acme", "--role", "dispatcher"], "--name"),
        (&["device", "add", "--tenant", "acme", "--driver", "d1"], "there is a device acme/d1 already"),
        (&["device", "add", "--tenant", "acme", "--driver", "d2", "--password-stdin"], "8 to 4096 bytes"),
        (&["device", "revoke", "d2"], "there is no device d2"),
        (&["device"], "Usage"),
    ];
    for (args, expected) in cases {
        let said = run(&data_dir, args);
        let error = text(&said.stderr);
        assert_eq!(said.status.code(), Some(64), "{args:?}: {error}");
        assert!(error.contains(expected) && said.stdout.is_empty(), "{args:?}: {error}");
    }
}

#[test]
fn devices_are_listed_without_what_they_know() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let token = text(&run(&data_dir, &["device", "add", "--tenant", "acme", "--driver", "d1"]).stdout);
    assert!(
        run(&data_dir, &["device", "add", "--tenant", "blue", "--role", "dispatcher", "--name", "ann"])
            .status
            .success()
    );
    let listed = text(&run(&data_dir, &["device", "list"]).stdout);
    let lines: Vec<&str> = listed.lines().collect();
    assert!(
        lines[0].starts_with("acme/d1  device  d1  20") && lines[1].starts_with("blue/ann  dispatcher  -  20"),
        "{listed}"
    );
    let json = text(&run(&data_dir, &["device", "list", "--json"]).stdout);
    let first: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!((first["tenant"].as_str(), first["driver"].as_str()), (Some("acme"), Some("d1")));
    for shown in [&listed, &json] {
        assert!(!shown.contains("argon2") && !shown.contains(token.trim()), "{shown}");
    }
    let file = data_dir.join("devices");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!fs::read_to_string(&file).unwrap().contains(token.trim()), "only a hash of it is kept");
    assert!(run(&data_dir, &["device", "revoke", "d1"]).status.success());
    assert_eq!(text(&run(&data_dir, &["device", "list"]).stdout).lines().count(), 1);
}

#[test]
fn a_token_warns_of_a_key_that_others_may_read() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["token", "--tenant", "acme", "--role", "dispatcher"];
    let data_dir = dir.path().join("data");
    assert!(run(&data_dir, &args).stderr.is_empty());
    let key = data_dir.join("secret.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let said = run(&data_dir, &args);
    assert!(said.status.success() && text(&said.stderr).contains("chmod 600"), "{}", text(&said.stderr));
    fs::write(&key, "short").unwrap();
    assert_eq!(run(&data_dir, &args).status.code(), Some(78));
}

#[test]
fn a_start_that_cannot_tell_who_is_who_exits_78() {
    let dir = tempfile::tempdir().unwrap();
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/keys");
    let private = format!("auth.public_keys=[\"{}\"]", keys.join("rsa.pem").display());
    let start = |data_dir: &Path, sets: &[&str]| {
        let mut command = command(dir.path());
        command.args(["--set", &format!("data_dir={}", data_dir.display())]);
        for set in ["mqtt.listen=127.0.0.1:0", "http.listen=127.0.0.1:0", "admin.listen=127.0.0.1:0"].iter().chain(sets)
        {
            command.args(["--set", set]);
        }
        let said = output_within(&mut command, PATIENCE);
        assert_eq!(said.status.code(), Some(78), "{}", text(&said.stderr));
        text(&said.stderr)
    };
    let data_dir = dir.path().join("data");
    for listener in ["mqtt", "http", "admin"] {
        let told = start(&data_dir, &[&format!("{listener}.listen=0.0.0.0:0")]);
        assert!(told.contains(&format!("{listener}.listen: found")) && told.contains("auth.mode"), "{told}");
    }
    let told = start(&data_dir, &[REQUIRED, &private]);
    assert!(told.contains("auth.public_keys: found") && told.contains("a private key"), "{told}");
    let told = start(&data_dir, &[REQUIRED, "auth.public_keys=[\"nowhere.pem\"]"]);
    assert!(told.contains("nowhere.pem"), "{told}");
    fs::create_dir_all(&data_dir).unwrap();
    fs::write(data_dir.join("devices"), "{}\n").unwrap();
    let told = start(&data_dir, &[REQUIRED]);
    assert!(told.contains("devices line 1"), "{told}");
    fs::remove_file(data_dir.join("devices")).unwrap();
    fs::write(data_dir.join("secret.key"), "short").unwrap();
    let told = start(&data_dir, &[REQUIRED]);
    assert!(told.contains("secret.key has 5 bytes"), "{told}");
}

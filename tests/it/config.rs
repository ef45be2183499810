//! What an operator sees of a configuration: the effective one, or what is wrong with it and exit code 78.

use std::fs;
use std::process::{Command, Output};

use crate::support::process::output_within;
use crate::support::{PATIENCE, rhumb};

/// A file, arguments, an environment, and how the message begins.
type Case<'a> = (&'a str, &'a [&'a str], &'a [(&'a str, &'a str)], &'a str);

struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn said(command: &mut Command) -> Said {
    let Output { status, stdout, stderr } = output_within(command, PATIENCE);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

#[test]
fn built_in_defaults_serve_without_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let said = said(rhumb::command(dir.path()).arg("check-config"));
    assert_eq!((said.code, said.stdout.as_str(), said.stderr.as_str()), (Some(0), "ok\n", ""));
}

#[test]
fn the_file_of_the_folder_is_read_and_what_is_in_effect_is_printed() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("config.toml"), "[dedupe]\nwindow_fixes = 7\n").unwrap();
    let mut command = rhumb::command(dir.path());
    command.args(["check-config", "--print", "--set", "pipeline.shards=3"]).env("RHUMB_HTTP__CONNECTIONS_MAX", "5");
    let first = said(&mut command);
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    for expected in ["window_fixes = 7", "shards = 3", "connections_max = 5"] {
        assert!(first.stdout.contains(expected), "{expected} in\n{}", first.stdout);
    }
    fs::write(dir.path().join("printed.toml"), &first.stdout).unwrap();
    let second = said(rhumb::command(dir.path()).args(["check-config", "--print", "--config", "printed.toml"]));
    assert_eq!(second.stdout, first.stdout);
}

#[test]
fn a_bad_configuration_exits_78_before_anything_is_made() {
    let cases: &[Case<'_>] = &[
        (
            "[mqtt]\nlisten = \"0.0.0.0:1883\"\n",
            &[],
            &[],
            "config.toml line 2: mqtt.listen: found \"0.0.0.0:1883\", wants a loopback",
        ),
        (
            "\n[mqtt]\nlisten_on = 1\n",
            &[],
            &[],
            "config.toml line 3: mqtt.listen_on: found an unknown key, wants in [mqtt] one of ",
        ),
        (
            "",
            &["--set", "mqtt.packet_bytes_max=big"],
            &[],
            "--set mqtt.packet_bytes_max=big: mqtt.packet_bytes_max: found \"big\", wants a whole number from ",
        ),
        (
            "",
            &[],
            &[("RHUMB_MQTT__PORT", "1")],
            "environment variable RHUMB_MQTT__PORT: mqtt.port: found an unknown key",
        ),
        ("", &[], &[("RHUMB_DATA", "x")], "environment variable RHUMB_DATA: data: found an unknown key"),
        ("", &["--config", "other.toml"], &[], "other.toml: found No such file"),
        ("x = = 1", &[], &[], "config.toml line 1: "),
        ("", &[], &[("RHUMB_LOG", "=loud=")], "environment variable RHUMB_LOG: found \"=loud=\", wants a log filter"),
    ];
    for (file, args, environment, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config.toml"), file).unwrap();
        let mut command = rhumb::command(dir.path());
        let said = said(command.arg("serve").args(*args).envs(environment.iter().copied()));
        assert_eq!(said.code, Some(78), "{expected}: {}", said.stderr);
        assert!(said.stderr.starts_with(&format!("rhumb: {expected}")), "\nexpected {expected}\nfound {}", said.stderr);
        assert!(!dir.path().join("data").exists());
    }
}

#[test]
fn what_the_tests_and_the_log_are_told_is_no_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = rhumb::command(dir.path());
    let said = said(command.arg("check-config").env("RHUMB_LOG", "debug").env("RHUMB_TEST_TRACES", "x"));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
}

#[test]
fn a_command_line_that_makes_no_sense_exits_64() {
    let dir = tempfile::tempdir().unwrap();
    for args in [&["serv"][..], &["replay"], &["--listen", "x"], &["replay", "a.csv", "--speed", "0"]] {
        assert_eq!(said(rhumb::command(dir.path()).args(args)).code, Some(64), "{args:?}");
    }
    assert_eq!(said(rhumb::command(dir.path()).arg("--help")).code, Some(0));
}

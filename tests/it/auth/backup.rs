//! What a backup leaves out, as the README says: sessions, evidence, and everything that lets people in.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{Guarded, REQUIRED, bearer};
use crate::support::mqtt::{self, CONNACK, Client, PUBACK, SUBACK, Shown, Version};
use crate::support::{native_fix, topic, wait_for};

/// The names in a directory.
fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Every file below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn a_backup_holds_journal_and_store_and_nothing_that_lets_anybody_in() {
    let mut guarded = Guarded::start(&[]);
    let password = guarded.device("acme", "d1");
    let token = guarded.token("acme", "ops_admin", &[]);
    // Something of each kind: a fix, one that is refused, a session that is kept.
    let shown = Shown { client_id: "c", user: Some("acme/d1"), password: Some(&password), keeps_session: true };
    let mut client = Client::open_as(guarded.rhumb.mqtt(), Version::V5, shown);
    assert_eq!(client.expect(CONNACK).connack_code(), 0);
    client.send(&mqtt::subscribe(Version::V5, "tenant/acme/driver/d1/command", 1, 1)).unwrap();
    client.expect(SUBACK);
    for (payload, id) in [(native_fix(1), 2), ("no fix".to_owned(), 3)] {
        client.send(&mqtt::publish(Version::V5, &topic("acme", "d1"), payload.as_bytes(), 1, id)).unwrap();
        assert_eq!(client.expect(PUBACK).ack_reason(), 0);
    }
    // The router's file is written when the engine stops.
    assert_eq!(guarded.rhumb.terminate().0.code(), Some(0));
    let data_dir = guarded.rhumb.data_dir();
    for name in ["journal", "store", "follow", "router", "rejected", "devices", "secret.key"] {
        assert!(names(&data_dir).contains(name), "{name} is not in {:?}", names(&data_dir));
    }
    let place = tempfile::tempdir().unwrap();
    let [stopped, running, asked] = ["stopped", "running", "asked"].map(|name| place.path().join(name));
    assert!(guarded.rhumb.run(&["backup", stopped.to_str().unwrap()]).status.success());
    guarded.rhumb.restart();
    // The command makes itself a token only if it is told that one is asked for.
    let made = guarded.rhumb.run(&["backup", running.to_str().unwrap(), "--set", REQUIRED]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let admin = guarded.rhumb.admin();
    let body = json!({ "directory": asked.to_str().unwrap() }).to_string();
    assert_eq!(bearer(admin, "POST", "/admin/backup", &token, &body).status, 202);
    wait_for("the backup", || {
        (bearer(admin, "GET", "/admin/backup", &token, "").json(200)["state"] == "done").then_some(())
    });

    let key = fs::read(data_dir.join("secret.key")).unwrap();
    let secrets = [key.as_slice(), password.as_bytes(), b"argon2id"];
    for backup in [&stopped, &running, &asked] {
        assert_eq!(
            names(backup).iter().collect::<Vec<_>>(),
            ["backup.json", "follow", "journal", "store"],
            "{backup:?}"
        );
        for file in files(backup) {
            let content = fs::read(&file).unwrap();
            let has = |secret: &[u8]| content.windows(secret.len()).any(|bytes| bytes == secret);
            assert!(!secrets.iter().any(|secret| has(secret)), "{} tells a secret", file.display());
        }
    }
}

//! Rules and limits change while the engine runs: all of the file or nothing of it, and the log says what.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::rhumb::Rhumb;
use crate::support::wait_for;

struct Reloading {
    rhumb: Rhumb,
    file: PathBuf,
    /// Of the next fix.
    second: u32,
}

impl Reloading {
    fn start(text: &str, sets: &[&str]) -> Self {
        let write = |data_dir: &std::path::Path| {
            fs::create_dir_all(data_dir.parent().unwrap()).unwrap();
            fs::write(data_dir.with_file_name("config.toml"), text).unwrap();
        };
        let rhumb = Rhumb::start_prepared(write, sets);
        let file = rhumb.data_dir().with_file_name("config.toml");
        Self { rhumb, file, second: 0 }
    }

    /// Writes the file anew, and waits until so many reloads had this result.
    fn rewrite(&mut self, text: &str, result: &str, count: f64) -> String {
        self.rhumb.take_log();
        fs::write(&self.file, text).unwrap();
        self.await_reload(result, count);
        self.rhumb.log()
    }

    fn await_reload(&self, result: &str, count: f64) {
        let name = format!("rhumb_config_reloads_total{{result=\"{result}\"}}");
        wait_for(&format!("reload {count} that is {result}"), || (self.rhumb.metrics()[&name] == count).then_some(()));
    }

    fn version(&self) -> f64 {
        self.rhumb.metrics()["rhumb_config_version"]
    }

    /// What becomes of a new fix: its verdict, or the reason why it was refused.
    fn verdict(&mut self, tenant: &str, driver: &str, fields: &str) -> String {
        self.second += 1;
        let body = format!("{{{fields},\"timestamp\":{}}}", 1_700_000_000 + self.second);
        let answer = self.rhumb.post(tenant, &format!("/v1/drivers/{driver}/location"), &body).json(202);
        let verdict: &Value = &answer["verdicts"][0];
        verdict["reason"].as_str().or(verdict["verdict"].as_str()).unwrap().to_owned()
    }
}

const NOWHERE: &str = "\"latitude\":0,\"longitude\":0";
const WARSAW: &str = "\"latitude\":52.2,\"longitude\":21.0";

#[test]
fn a_changed_file_is_in_effect_whole_or_not_at_all() {
    let mut engine = Reloading::start("[rules]\nno_fix = true\n", &["rules.past_s=0"]);
    assert_eq!(engine.version(), 1.0);
    assert_eq!(engine.verdict("acme", "d", NOWHERE), "null_island");
    assert_eq!(engine.verdict("acme", "d", WARSAW), "accepted");

    let log = engine.rewrite("[rules]\nnull_island = false\nno_fix = true\n", "applied", 1.0);
    assert!(log.contains("rules.null_island: true -> false"), "{log}");
    assert_eq!((engine.verdict("acme", "d", NOWHERE), engine.version()), ("accepted".to_owned(), 2.0));

    // The first line would be fine.
    let log = engine.rewrite("[rules]\nnull_island = true\nfuture_s = \"soon\"\n", "refused", 1.0);
    let reason = "config.toml line 3: rules.future_s: found \"soon\" (string), wants a whole number from 0 to ";
    assert!(log.replace('\\', "").contains(reason), "{log}");
    assert_eq!((engine.verdict("acme", "d", NOWHERE), engine.version()), ("accepted".to_owned(), 2.0));
    fs::remove_file(&engine.file).unwrap();
    engine.await_reload("refused", 2.0);
    assert_eq!(engine.verdict("acme", "d", NOWHERE), "accepted");

    // One key that needs a restart, one that the command line has the last word on, and one tenant's own rule.
    let text =
        "[pipeline]\nshards = 7\n[rules]\nnull_island = false\npast_s = 1\n[tenant.acme.rules]\nspeed_mps_max = 70\n";
    let log = engine.rewrite(text, "applied", 2.0);
    assert!(log.contains("changed key left as it is until a restart") && log.contains("pipeline.shards"), "{log}");
    assert!(log.contains("tenant.acme.rules.speed_mps_max: unset -> 70") && !log.contains("rules.past_s"), "{log}");
    assert_eq!(engine.verdict("acme", "d", WARSAW), "implied_speed");
    assert_eq!(engine.verdict("globex", "d", WARSAW), "accepted");
    assert_eq!(engine.verdict("globex", "d", NOWHERE), "accepted");

    let log = engine.rewrite(&format!("{text}[registry]\nopen = false\n"), "applied", 3.0);
    assert!(log.contains("registry.open: true -> false"), "{log}");
    assert_eq!(engine.verdict("globex", "stranger", WARSAW), "unknown_driver");
    assert_eq!((engine.verdict("globex", "d", WARSAW), engine.version()), ("accepted".to_owned(), 4.0));
}

#[test]
fn sighup_reads_the_file_again_and_ends_nothing() {
    let engine = Reloading::start("", &[]);
    for count in 1..=3 {
        engine.rhumb.signal(Signal::HUP);
        engine.await_reload("unchanged", f64::from(count));
    }
    assert_eq!(engine.version(), 1.0);
    fs::write(&engine.file, "[rules]\nnull_island = false\n").unwrap();
    engine.rhumb.signal(Signal::HUP);
    engine.await_reload("applied", 1.0);
    let mut engine = engine;
    assert_eq!(engine.verdict("acme", "d", NOWHERE), "accepted");
}

//! What was refused is on record: over the API, in the files, after a kill; and it can be judged again.

use std::fs;

use serde_json::{Value, json};

use crate::support::http;
use crate::support::mqtt::{self, Client, PUBACK, Version};
use crate::support::rhumb::{Rhumb, copy_dir};
use crate::support::{fix_time_ms, topic, wait_for};

const NULL_ISLAND: &str = r#"{"latitude":0,"longitude":0,"timestamp":1700000000}"#;

/// What the API says of a driver, once it knows of this many refusals of it.
fn rejections(rhumb: &Rhumb, tenant: &str, driver: &str, count: usize) -> Vec<Value> {
    wait_for("refusals to be on record", || {
        let answer = rhumb.get(tenant, &format!("/v1/drivers/{driver}/rejections"));
        let mut found = (answer.status == 200).then(|| answer.json(200))?;
        assert_eq!(found["driver_id"], driver, "{found}");
        Some(serde_json::from_value::<Vec<Value>>(found["rejections"].take()).unwrap()).filter(|all| all.len() == count)
    })
}

/// Reasons and payloads, newest first.
fn shown(rejections: &[Value]) -> Vec<(&str, &str)> {
    let text = |refusal: &'_ Value, key: &str| refusal[key].as_str().map(str::to_owned);
    assert!(rejections.iter().all(|refusal| text(refusal, "received_at").is_some_and(|time| time.ends_with('Z'))));
    rejections
        .iter()
        .map(|refusal| (refusal["reason"].as_str().unwrap(), refusal["payload"].as_str().unwrap_or("")))
        .collect()
}

/// What `rhumb rejected --json` prints, a value for each line.
fn listed(rhumb: &Rhumb, args: &[&str]) -> Vec<Value> {
    let said = rhumb.run(&[&["rejected", "--json"], args].concat());
    assert!(said.status.success(), "{args:?}: {}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn count(rhumb: &Rhumb, args: &[&str]) -> usize {
    listed(rhumb, args).len()
}

#[test]
fn rubbish_over_both_doors_is_shown_with_its_reason_to_its_tenant_alone() {
    let rhumb = Rhumb::start(&["rejected.payload_bytes_max=100"]);
    let mut client = Client::connect(rhumb.mqtt(), Version::V5, "tracker");
    let topic = topic("acme", "d1");
    client.publish_acked(&topic, NULL_ISLAND, 1);
    client.publish_acked(
        &topic,
        r#"[{"latitude":52,"longitude":21,"timestamp":1700000001}, {"latitude":91,"longitude":0} ,3]"#,
        2,
    );
    client.send(&mqtt::publish(Version::V5, &topic, b"\xff\xfe\x00", 1, 3)).unwrap();
    client.expect(PUBACK);
    let posted = rhumb.post("acme", "/v1/drivers/d1/location", &format!("{{\"latitude\":\"{}\"", "ä".repeat(100)));
    assert_eq!(posted.status, 400);
    // One that is there already is no refusal.
    client.publish_acked(&topic, r#"{"latitude":52,"longitude":21,"timestamp":1700000001}"#, 4);

    let found = rejections(&rhumb, "acme", "d1", 5);
    let cut = format!("{{\"latitude\":\"{}", "ä".repeat(43));
    assert_eq!(
        shown(&found),
        [
            ("malformed", cut.as_str()),
            ("malformed", ""),
            ("malformed", "3"),
            ("out_of_range", r#"{"latitude":91,"longitude":0}"#),
            ("null_island", NULL_ISLAND),
        ]
    );
    assert_eq!(
        (&found[0]["cut"], &found[1]["payload_hex"], &found[4]["cut"]),
        (&json!(true), &json!("fffe00"), &Value::Null)
    );
    assert!(found.iter().all(|refusal| refusal["codec"] == "native"));
    let newest = rhumb.get("acme", "/v1/drivers/d1/rejections?limit=2").json(200);
    assert_eq!(newest["rejections"].as_array().unwrap()[..], found[..2]);
    rhumb.get("acme", "/v1/drivers/d1/rejections?limit=0").problem(400);

    // Nobody else's, and nobody there; one that nothing was refused of has none.
    for (tenant, driver) in [("other", "d1"), ("acme", "d2")] {
        rhumb.get(tenant, &format!("/v1/drivers/{driver}/rejections")).problem(404);
    }
    let good = r#"{"latitude":52,"longitude":21,"timestamp":1700000001}"#;
    rhumb.post("acme", "/v1/drivers/d2/location", good).json(202);
    assert_eq!(
        rhumb.get("acme", "/v1/drivers/d2/rejections").json(200),
        json!({ "driver_id": "d2", "rejections": [] })
    );

    let metrics = rhumb.metrics();
    assert_eq!(metrics["rhumb_rejections_recorded_total"], 5.0);
    assert_eq!(metrics["rhumb_rejections_unrecorded_total"], 0.0);
    assert_eq!(rhumb.books("acme").rejected, 5);
    let files = fs::read_dir(rhumb.data_dir().join("rejected")).unwrap();
    let on_disk: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert_eq!(metrics["rhumb_rejections_bytes"], on_disk as f64);
}

#[test]
fn the_command_finds_what_is_asked_for_in_a_running_engine() {
    let rhumb = Rhumb::start(&[]);
    let old = r#"{"latitude":95,"longitude":0,"timestamp":1700000000}"#;
    for (tenant, driver, body) in
        [("acme", "d1", NULL_ISLAND), ("acme", "d2", old), ("other", "d1", old), ("acme", "d1", "[{},1]")]
    {
        rhumb.post(tenant, &format!("/v1/drivers/{driver}/location"), body).json(202);
    }
    rejections(&rhumb, "acme", "d1", 3);
    let all = listed(&rhumb, &[]);
    let reasons: Vec<_> = all.iter().map(|refusal| refusal["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons.len(), 5);
    assert_eq!(reasons[3..], ["malformed", "malformed"], "newest last");
    assert_eq!((&all[3]["payload"], &all[4]["payload"]), (&json!("{}"), &json!("1")));
    for (args, expected) in [
        (&["--since", "1h"][..], 5),
        (&["--since", "2100-01-01T00:00:00Z"], 0),
        (&["--reason", "out_of_range"], 2),
        (&["--reason", "out_of_range", "--tenant", "acme"], 1),
        (&["--driver", "d1"], 4),
        (&["--codec", "native"], 5),
        (&["--codec", "compact"], 0),
        (&["--limit", "2"], 2),
    ] {
        assert_eq!(count(&rhumb, args), expected, "{args:?}");
    }
    assert_eq!(listed(&rhumb, &["--limit", "1"])[0], all[4]);

    let table = String::from_utf8(rhumb.run(&["rejected", "--reason", "null_island"]).stdout).unwrap();
    let lines: Vec<_> = table.lines().collect();
    assert!(lines.len() == 2 && lines[1].contains("acme/d1 ") && lines[1].ends_with(NULL_ISLAND), "{table}");

    let said = rhumb.run(&["rejected", "--reason", "implied"]);
    let message = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(said.status.code(), Some(64), "{message}");
    assert!(message.contains("null_island, past, future"), "{message}");
}

#[test]
fn a_refusal_early_in_a_long_request_is_on_record() {
    let rhumb = Rhumb::start(&[]);
    // More than a shard judges in one turn, so that its verdicts are of two.
    let good = (0..9_000).map(|n| format!(r#"{{"lat":1,"lon":2,"timestamp":{}}}"#, fix_time_ms(n)));
    let elements: Vec<String> = [NULL_ISLAND.to_owned()].into_iter().chain(good).collect();
    rhumb.post("acme", "/v1/drivers/d1/location", &format!("[{}]", elements.join(","))).json(202);
    assert_eq!(shown(&rejections(&rhumb, "acme", "d1", 1)), [("null_island", NULL_ISLAND)]);
    assert_eq!(rhumb.books("acme").stored, 9_000);
}

#[test]
fn without_a_directory_both_commands_say_so() {
    let rhumb = Rhumb::start(&["rejected.bytes_max=0"]);
    rhumb.post("acme", "/v1/drivers/d1/location", NULL_ISLAND).json(202);
    assert_eq!(shown(&rejections(&rhumb, "acme", "d1", 1)), [("null_island", NULL_ISLAND)], "memory is kept");
    for args in [&["rejected"][..], &["replay", "--rejected"]] {
        let said = rhumb.run(args);
        let message = String::from_utf8_lossy(&said.stderr).into_owned();
        assert_eq!(said.status.code(), Some(65), "{message}");
        assert!(message.contains("data/rejected: no engine has recorded refusals there"), "{message}");
    }
}

#[test]
fn what_was_written_survives_a_kill_and_a_torn_line_costs_itself() {
    let mut rhumb = Rhumb::start(&[]);
    for n in 0..20 {
        let body = format!(r#"{{"latitude":0,"longitude":0,"timestamp":{}}}"#, fix_time_ms(n));
        rhumb.post("acme", "/v1/drivers/d1/location", &body).json(202);
    }
    wait_for("all to be written", || (count(&rhumb, &[]) == 20).then_some(()));
    rhumb.kill9();
    let file = fs::read_dir(rhumb.data_dir().join("rejected")).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 10]).unwrap();
    rhumb.restart();
    let found = rejections(&rhumb, "acme", "d1", 8);
    assert_eq!(found[0]["payload"], format!(r#"{{"latitude":0,"longitude":0,"timestamp":{}}}"#, fix_time_ms(18)));
    rhumb.post("acme", "/v1/drivers/d1/location", NULL_ISLAND).json(202);
    wait_for("one more", || (count(&rhumb, &[]) == 20).then_some(()));
    assert_eq!(listed(&rhumb, &["--limit", "1"])[0]["payload"], NULL_ISLAND);
}

#[test]
fn after_a_rule_was_changed_refusals_are_stored_once() {
    let mut rhumb = Rhumb::start(&["registry.open=false"]);
    let fix = |n: u64| format!(r#"{{"latitude":52,"longitude":21,"timestamp":{}}}"#, fix_time_ms(n));
    let timeless = r#"{"latitude":52.5,"longitude":21.5}"#;
    rhumb.post("acme", "/v1/drivers/d1/location", &format!("[{},{},{NULL_ISLAND}]", fix(1), fix(2))).json(202);
    rhumb.post("acme", "/v1/drivers/d1/location", timeless).json(202);
    rhumb.post("acme", "/v1/drivers/d2/location", &fix(3)).json(202);
    rejections(&rhumb, "acme", "d1", 4);
    assert!(rhumb.track("acme", "d1").is_empty());
    assert!(rhumb.terminate().0.success());

    let again = |args: &[&str]| -> Value {
        let said = rhumb.run(&[&["replay", "--rejected", "--json"], args].concat());
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        let mut summary: Value = serde_json::from_slice(&said.stdout).unwrap();
        summary.as_object_mut().unwrap().remove("seconds");
        summary
    };
    let refused = |reasons: Value| json!({"rows": 5, "skipped": 0, "stored": 0, "late": 0, "duplicate": 0, "conflict": 0, "rejected": reasons, "left_out": 0});
    let closed = again(&["--set", "registry.open=false"]);
    assert_eq!(closed, refused(json!({"unknown_driver": 4, "null_island": 1})), "the rule is as it was");
    let of_d2 = again(&["--driver", "d2", "--reason", "unknown_driver", "--since", "1h"]);
    assert_eq!(
        of_d2,
        json!({"rows": 1, "skipped": 0, "stored": 1, "late": 0, "duplicate": 0, "conflict": 0, "rejected": {}, "left_out": 0})
    );
    let first = again(&[]);
    assert_eq!(first["stored"], 3, "{first}");
    assert_eq!(first["rejected"], json!({"null_island": 1}));
    let second = again(&[]);
    assert_eq!((&second["stored"], &second["duplicate"]), (&json!(0), &json!(4)), "{second}");
    assert_eq!(count(&rhumb, &[]), 5, "what is refused again is not recorded again");

    rhumb.set("registry.open", "true");
    rhumb.restart();
    let times: Vec<_> = rhumb.track_times_ms("acme", "d1", 0);
    assert_eq!(times[..2], [fix_time_ms(1) as i64, fix_time_ms(2) as i64]);
    assert_eq!(times.len(), 3, "and the one without a time at its receive time");
    assert_eq!(rhumb.track("acme", "d2").len(), 1);
}

#[test]
fn rows_of_a_recording_are_on_record_as_they_stood() {
    let rhumb = Rhumb::start(&[]);
    let dir = tempfile::tempdir().unwrap();
    copy_dir(&rhumb.data_dir(), &dir.path().join("data"), &["rejected", "lock"]);
    drop(rhumb);
    let file = dir.path().join("rows.csv");
    fs::write(
        &file,
        "vehicle_id,timestamp,latitude,longitude\nd1,2015-03-07T16:03:34Z,0,0\nd1,?,1,2\nd1,2015-03-07T16:03:34Z,1,2\n",
    )
    .unwrap();
    let run = |args: &[&str]| {
        let mut command = crate::support::rhumb::command(dir.path());
        let said = crate::support::process::output_within(command.args(args), crate::support::PATIENCE);
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).unwrap()
    };
    run(&["replay", "rows.csv"]);
    let lines: Vec<Value> =
        run(&["rejected", "--json", "--since", "1h"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let rows: Vec<_> =
        lines.iter().map(|line| (line["reason"].as_str().unwrap(), line["payload"].as_str().unwrap())).collect();
    assert_eq!(rows, [("null_island", "d1,2015-03-07T16:03:34Z,0,0"), ("malformed", "d1,?,1,2")]);
    assert!(lines.iter().all(|line| line["codec"] == "recording"));
    let summary: Value = serde_json::from_str(&run(&["replay", "--rejected", "--json"])).unwrap();
    assert_eq!((&summary["rows"], &summary["left_out"]), (&json!(0), &json!(2)));
}

#[test]
fn payloads_of_other_codecs_are_judged_again_as_what_they_were() {
    let mut rhumb = Rhumb::start(&["registry.open=false"]);
    let headers = [("X-Tenant", "acme")];
    let osmand = "/osmand?id=phone&lat=52&lon=21&timestamp=1700000000&speed=10";
    assert!(http::request(rhumb.http(), "GET", osmand, &headers, b"").status < 300);
    let owntracks = br#"{"_type":"location","lat":52,"lon":21,"tst":1700000000}"#;
    assert!(http::request(rhumb.http(), "POST", "/owntracks?u=ann&d=car", &headers, owntracks).status < 300);
    for (driver, codec) in [("phone", "osmand"), ("ann:car", "owntracks")] {
        let found = rejections(&rhumb, "acme", driver, 1);
        assert_eq!((&found[0]["codec"], &found[0]["reason"]), (&json!(codec), &json!("unknown_driver")));
    }
    assert!(rhumb.terminate().0.success());
    let said = rhumb.run(&["replay", "--rejected", "--json"]);
    let summary: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!((&summary["stored"], &summary["left_out"]), (&json!(2), &json!(0)), "{summary}");
    rhumb.restart();
    for driver in ["phone", "ann:car"] {
        assert_eq!(rhumb.track_times_ms("acme", driver, 0), [fix_time_ms(0) as i64]);
    }
}

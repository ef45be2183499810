//! Geofences as their users see them: put over HTTP, told over MQTT, kept to be read, the same after whatever happened.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http::{Response, request};
use crate::support::mqtt::Version;
use crate::support::process::output_within;
use crate::support::publisher::Publisher;
use crate::support::recordings::recordings;
use crate::support::rhumb::{Rhumb, command, copy_dir, rfc3339_ms};
use crate::support::{tools, topic, wait_for};

/// What a replay may take on a busy machine.
const REPLAY_LIMIT: Duration = Duration::from_secs(300);

fn put(rhumb: &Rhumb, tenant: &str, id: &str, headers: &[(&str, &str)], body: &str) -> Response {
    let headers = [&[("X-Tenant", tenant)], headers].concat();
    request(rhumb.http(), "PUT", &format!("/v1/geofences/{id}"), &headers, body.as_bytes())
}

fn delete(rhumb: &Rhumb, tenant: &str, id: &str, headers: &[(&str, &str)]) -> Response {
    let headers = [&[("X-Tenant", tenant)], headers].concat();
    request(rhumb.http(), "DELETE", &format!("/v1/geofences/{id}"), &headers, b"")
}

fn circle(latitude: f64, longitude: f64, properties: &Value) -> String {
    let geometry = json!({"type": "Point", "coordinates": [longitude, latitude]});
    json!({"type": "Feature", "geometry": geometry, "properties": properties}).to_string()
}

/// A fix of a driver, so many seconds behind the first and metres or so north of 52 degrees.
fn fix(second: u64, north_m: f64) -> String {
    let latitude = 52.0 + north_m / 111_195.0;
    format!(r#"{{"latitude":{latitude:.6},"longitude":21.0,"timestamp":{}}}"#, 1_700_000_000_000 + second * 1_000)
}

/// Every event of a tenant, page by page, once all that is durable was judged.
fn events(rhumb: &Rhumb, tenant: &str) -> Vec<Value> {
    wait_for("all to be judged", || (rhumb.metrics()[r#"rhumb_sink_lag_frames{sink="fences"}"#] == 0.0).then_some(()));
    let mut events = Vec::new();
    let mut after = 0;
    loop {
        let page = rhumb.get(tenant, &format!("/v1/geofences/events?after={after}&limit=37")).json(200);
        events.extend(page["events"].as_array().unwrap().iter().cloned());
        after = page["next_after"].as_u64().unwrap();
        assert_eq!(page.get("truncated"), None, "{page}");
        if !page["has_more"].as_bool().unwrap() {
            return events;
        }
    }
}

/// Events in short: driver, kind, fence.
fn short(events: &[Value]) -> Vec<String> {
    let text = |event: &Value, member: &str| event[member].as_str().unwrap().to_owned();
    let short = |event: &Value| {
        let kind = text(event, "type");
        format!("{} {} {}", text(event, "driver_id"), kind.trim_start_matches("geofence."), text(event, "geofence_id"))
    };
    events.iter().map(short).collect()
}

#[test]
fn a_fence_is_put_and_a_driver_that_crosses_it_is_told_of() {
    let rhumb = Rhumb::start(&[]);
    let depot = circle(52.0, 21.0, &json!({"radius_m": 100, "name": "Depot", "dwell_s": 60}));
    let made = put(&rhumb, "acme", "depot", &[], &depot);
    let feature = made.json(201);
    assert_eq!((&feature["id"], &feature["properties"]["name"]), (&json!("depot"), &json!("Depot")));
    assert_eq!(made.header("etag"), Some(&format!("\"{}\"", feature["version"])[..]));
    // The same id elsewhere is another tenant's fence.
    put(&rhumb, "other", "depot", &[], &circle(10.0, 21.0, &json!({"radius_m": 100}))).json(201);

    let subscriber = tools::mosquitto_sub(rhumb.mqtt(), Version::V5, "tenant/acme/geofence/#", 3);
    wait_for("the subscription", || (rhumb.metrics()["rhumb_mqtt_subscriptions"] > 0.0).then_some(()));
    for (second, north_m) in [(0, -400.0), (30, -50.0), (120, 20.0), (130, 400.0)] {
        tools::mosquitto_pub(rhumb.mqtt(), Version::V4, 1, &topic("acme", "d1"), &fix(second, north_m));
    }
    let told = tools::said(subscriber);
    let told: Vec<(&str, Value)> = told
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(topic, body)| (topic, serde_json::from_str(body).unwrap()))
        .collect();
    let topics: Vec<&str> = told.iter().map(|(topic, _)| *topic).collect();
    assert_eq!(topics, ["enter", "dwell", "exit"].map(|kind| format!("tenant/acme/geofence/depot/{kind}")));

    let kept = events(&rhumb, "acme");
    assert_eq!(short(&kept), ["d1 enter depot", "d1 dwell depot", "d1 exit depot"]);
    for ((_, told), kept) in told.iter().zip(&kept) {
        let mut kept = kept.clone();
        assert!(kept.as_object_mut().unwrap().remove("sequence").is_some());
        assert_eq!(*told, kept);
        assert_eq!((&kept["version"], &kept["tenant"]), (&feature["version"], &json!("acme")));
    }
    // The edge is 100 m from the middle, on the way and not at a fix.
    let latitude = kept[0]["latitude"].as_f64().unwrap();
    assert!((latitude - (52.0 - 100.0 / 111_195.0)).abs() < 1e-5, "{latitude}");
    assert_eq!(kept[0]["fix_time"], "2023-11-14T22:13:50Z");

    // What comes again or late says nothing, and neither does a driver of the other tenant at the same place.
    for (name, second, north_m) in [("acme", 30, -50.0), ("acme", 60, 900.0), ("acme", 5, 0.0), ("other", 200, 0.0)] {
        tools::mosquitto_pub(rhumb.mqtt(), Version::V4, 1, &topic(name, "d1"), &fix(second, north_m));
    }
    assert_eq!(events(&rhumb, "acme"), kept);
    assert_eq!(events(&rhumb, "other"), Vec::<Value>::new());
    let metrics = rhumb.metrics();
    assert_eq!(metrics[r#"rhumb_geofences{tenant="acme"}"#], 1.0);
    assert_eq!(metrics[r#"rhumb_geofence_events_total{event="enter"}"#], 1.0);
}

#[test]
fn fences_are_listed_replaced_and_removed_and_mistakes_are_named() {
    let rhumb = Rhumb::start(&["fences.per_tenant_max=3"]);
    let body = |radius_m: u32| circle(52.0, 21.0, &json!({"radius_m": radius_m}));
    let first = put(&rhumb, "acme", "a", &[("If-None-Match", "*")], &body(10));
    first.json(201);
    put(&rhumb, "acme", "a", &[("If-None-Match", "*")], &body(20)).problem(412);
    let tag = first.header("etag").unwrap();
    let second = put(&rhumb, "acme", "a", &[("If-Match", tag)], &body(20));
    assert_eq!(second.json(200)["properties"]["radius_m"], 20.0);
    put(&rhumb, "acme", "a", &[("If-Match", tag)], &body(30)).problem(412);
    let shown = rhumb.get("acme", "/v1/geofences/a");
    assert_eq!((shown.json(200), shown.header("etag")), (second.json(200), second.header("etag")));

    put(&rhumb, "acme", "b", &[], &body(10)).json(201);
    put(&rhumb, "acme", "c", &[], &body(10)).json(201);
    let full = put(&rhumb, "acme", "d", &[], &body(10)).problem(409);
    assert!(full["detail"].as_str().unwrap().contains("fences.per_tenant_max"), "{full}");
    let page = rhumb.get("acme", "/v1/geofences?limit=2").json(200);
    let ids = |page: &Value| -> Vec<Value> {
        page["features"].as_array().unwrap().iter().map(|feature| feature["id"].clone()).collect()
    };
    assert_eq!(
        (ids(&page), &page["next_cursor"], &page["type"]),
        (vec![json!("a"), json!("b")], &json!("b"), &json!("FeatureCollection"))
    );
    let page = rhumb.get("acme", "/v1/geofences?limit=2&cursor=b").json(200);
    assert_eq!((ids(&page), &page["next_cursor"]), (vec![json!("c")], &Value::Null));
    assert_eq!(ids(&rhumb.get("other", "/v1/geofences").json(200)), Vec::<Value>::new());

    delete(&rhumb, "other", "a", &[]).problem(404);
    delete(&rhumb, "acme", "a", &[("If-Match", tag)]).problem(412);
    assert_eq!(delete(&rhumb, "acme", "a", &[]).status, 204);
    rhumb.get("acme", "/v1/geofences/a").problem(404);

    let bow_tie = r#"{"type":"Polygon","coordinates":[[[0,0],[1,1],[1,0],[0,1],[0,0]]]}"#;
    let parameter = |id: &str, body: &str| put(&rhumb, "acme", id, &[], body).problem(400)["parameter"].clone();
    assert_eq!(parameter("x", bow_tie), "geometry.coordinates");
    assert_eq!(parameter("x", &body(0)), "radius_m");
    assert_eq!(parameter("x%20y", &body(10)), "id");
    assert_eq!(parameter("x", &circle(52.0, 21.0, &json!({"radius_m": 5, "colour": "red"}))), "properties");
    assert_eq!(put(&rhumb, "acme", "x", &[], "{").status, 400);
    assert_eq!(rhumb.get("acme", "/v1/geofences/events?after=x").problem(400)["parameter"], "after");
}

#[test]
fn who_is_away_over_a_stop_is_told_of_the_last_moments_before_it() {
    let mut rhumb = Rhumb::start(&["fences.batch_age_ms_max=60000"]);
    put(&rhumb, "acme", "gate", &[], &circle(52.0, 21.0, &json!({"radius_m": 100}))).json(201);
    let session = ["-c", "-i", "watcher", "-q", "1", "-t", "tenant/acme/geofence/gate/+"];
    let subscribes = tools::mosquitto_sub_as(rhumb.mqtt(), Version::V4, &[&session[..], &["-E"]].concat());
    tools::said(subscribes);
    // Nothing is judged before the stop.
    rhumb.post("acme", "/v1/drivers/d1/location", &format!("[{},{}]", fix(0, 0.0), fix(30, 500.0))).json(202);
    assert_eq!(rhumb.terminate().0.code(), Some(0));
    rhumb.restart();
    let told = tools::mosquitto_sub_as(rhumb.mqtt(), Version::V4, &[&session[..], &["-v", "-C", "2"]].concat());
    let told = tools::said(told);
    let topics: Vec<&str> = told.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(topics, ["tenant/acme/geofence/gate/enter", "tenant/acme/geofence/gate/exit"]);
}

#[test]
fn an_arrival_is_told_once_and_of_the_driver_that_was_meant() {
    let rhumb = Rhumb::start(&[]);
    let arrival = circle(52.0, 21.0, &json!({"radius_m": 100, "driver_id": "d1", "once": true}));
    put(&rhumb, "acme", "pickup-7", &[], &arrival).json(201);
    for driver in ["d1", "d2"] {
        let there: Vec<String> =
            [(0, -400.0), (30, 0.0), (60, 400.0), (90, 0.0)].map(|(second, north_m)| fix(second, north_m)).into();
        rhumb.post("acme", &format!("/v1/drivers/{driver}/location"), &format!("[{}]", there.join(","))).json(202);
    }
    assert_eq!(short(&events(&rhumb, "acme")), ["d1 enter pickup-7"]);
}

/// Circles along the way of `native_fix`, 1.1 m a second north of 52 degrees, in each tenant.
fn put_along_the_way(rhumb: &Rhumb, tenants: &[&str]) {
    for tenant in tenants {
        for number in 0..40_u32 {
            let properties = json!({"radius_m": 20 + number % 5 * 10, "dwell_s": 30});
            let body = circle(52.0 + f64::from(number) * 0.0005, 21.0, &properties);
            put(rhumb, tenant, &format!("f{number}"), &[], &body).json(201);
        }
    }
}

#[test]
fn events_after_kills_are_those_of_a_run_without() {
    let mut rhumb = Rhumb::start(&["fences.sync_interval_ms=300", "fences.batch_age_ms_max=10"]);
    let tenants = ["acme", "globex"];
    put_along_the_way(&rhumb, &tenants);
    // In open mode clients of one name would take each other over.
    let drivers = [("acme", "a"), ("acme", "b"), ("acme", "c"), ("globex", "d"), ("globex", "e"), ("globex", "f")];
    let mut publishers = drivers.map(|(tenant, driver)| Publisher::new(tenant, driver, Version::V4));
    for round in 0..4 {
        let before = drivers.map(|(tenant, driver)| newest_s(&rhumb, tenant, driver));
        let address = rhumb.mqtt();
        thread::scope(|scope| {
            for publisher in &mut publishers {
                scope.spawn(move || publisher.run(address));
            }
            // Each of them, so that none is cut off before it is there.
            let have_come = |fixes: i64| {
                let has_come = |((tenant, driver), before): (&(&str, &str), &i64)| {
                    newest_s(&rhumb, tenant, driver) >= before + fixes
                };
                wait_for("fixes of all", || drivers.iter().zip(&before).all(has_come).then_some(()));
            };
            have_come(100);
            if round == 1 {
                // In the middle of it all: from here on by another shape, or not at all.
                put(&rhumb, "acme", "f10", &[], &circle(52.005, 21.0, &json!({"radius_m": 5}))).json(200);
                assert_eq!(delete(&rhumb, "globex", "f11", &[]).status, 204);
            }
            have_come(250);
            rhumb.kill9();
        });
        rhumb.restart();
    }
    let killed = tenants.map(|tenant| events(&rhumb, tenant));
    for (events, tenant) in killed.iter().zip(tenants) {
        assert!(events.len() > 60, "{tenant}: {} events", events.len());
        let ids: std::collections::BTreeSet<&str> = events.iter().map(|event| event["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), events.len(), "{tenant}: an event is there twice");
    }
    assert_eq!(rhumb.terminate().0.code(), Some(0));
    // Whoever follows this journal from its beginning, at one go, finds the same, to the sequence.
    let anew = Rhumb::start_on_copy(&rhumb.data_dir(), &["follow"], &[]);
    for (killed, tenant) in killed.iter().zip(tenants) {
        let found = events(&anew, tenant);
        let differ = killed.iter().zip(&found).find(|(killed, found)| killed != found);
        assert!(*killed == found, "{tenant}: {} and {} events, {differ:?}", killed.len(), found.len());
        assert_eq!(radius_m(&anew, "acme", "f10"), 5.0);
    }
}

/// The second of a driver's newest fix, counted from that of `native_fix(0)`.
fn newest_s(rhumb: &Rhumb, tenant: &str, driver: &str) -> i64 {
    let answer = rhumb.get(tenant, &format!("/v1/drivers/{driver}/location"));
    if answer.status == 404 {
        return 0;
    }
    rfc3339_ms(answer.json(200)["timestamp"].as_str().unwrap()) / 1_000 - 1_700_000_000
}

fn radius_m(rhumb: &Rhumb, tenant: &str, id: &str) -> f64 {
    rhumb.get(tenant, &format!("/v1/geofences/{id}")).json(200)["properties"]["radius_m"].as_f64().unwrap()
}

/// Rows of a recording, uncompressed: latitude and longitude.
fn places(file: &Path) -> Vec<(f64, f64)> {
    let bytes = std::fs::read(file).unwrap();
    let mut text = String::new();
    if file.extension().is_some_and(|extension| extension == "gz") {
        std::io::Read::read_to_string(&mut flate2::read::MultiGzDecoder::new(&bytes[..]), &mut text).unwrap();
    } else {
        text = String::from_utf8(bytes).unwrap();
    }
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let column = |name: &str| header.iter().position(|column| *column == name);
    let (Some(latitude), Some(longitude)) = (column("latitude"), column("longitude")) else { return Vec::new() };
    let place = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        Some((fields.get(latitude)?.parse().ok()?, fields.get(longitude)?.parse().ok()?))
    };
    lines.filter_map(place).collect()
}

#[test]
fn a_recording_that_is_replayed_twice_makes_the_same_events() {
    let file = recordings("csv").into_iter().find(|file| file.to_string_lossy().contains("bus")).unwrap();
    let places = places(&file);
    assert!(places.len() > 100, "{}", file.display());
    let run = || {
        let mut rhumb = Rhumb::start(&[]);
        for (number, (latitude, longitude)) in places.iter().step_by(places.len() / 20).enumerate() {
            let properties = json!({"radius_m": 300, "dwell_s": 120});
            put(&rhumb, "buses", &format!("stop-{number}"), &[], &circle(*latitude, *longitude, &properties)).json(201);
        }
        assert_eq!(rhumb.terminate().0.code(), Some(0));
        let dir = rhumb.data_dir();
        let mut replay = command(dir.parent().unwrap());
        let said = output_within(replay.args(["replay", "--json", "--tenant", "buses"]).arg(&file), REPLAY_LIMIT);
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        rhumb.restart();
        // Drivers of different shards stand in the journal in any order to each other.
        let mut of_drivers: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for mut event in events(&rhumb, "buses") {
            event.as_object_mut().unwrap().remove("sequence");
            of_drivers.entry(event["driver_id"].as_str().unwrap().to_owned()).or_default().push(event);
        }
        of_drivers
    };
    let (once, twice) = (run(), run());
    let count: usize = once.values().map(Vec::len).sum();
    println!("{}: {count} events of {} drivers", file.display(), once.len());
    assert!(count > 20, "{count} events");
    assert_eq!(once, twice);
}

fn run_journal(rhumb: &Rhumb, args: &[&str]) -> String {
    let said = rhumb.run(&[&["journal"], args].concat());
    assert!(said.status.success(), "{args:?}: {}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap()
}

#[test]
fn changes_stand_in_the_journal_and_salvage_keeps_them() {
    let mut rhumb = Rhumb::start(&[]);
    let body = circle(52.0, 21.0, &json!({"radius_m": 100}));
    let version = put(&rhumb, "acme", "depot", &[], &body).json(201)["version"].clone();
    rhumb.post("acme", "/v1/drivers/d1/location", &fix(0, 0.0)).json(202);
    put(&rhumb, "acme", "gone", &[], &body).json(201);
    assert_eq!(delete(&rhumb, "acme", "gone", &[]).status, 204);
    let kept = events(&rhumb, "acme");
    assert_eq!(rhumb.terminate().0.code(), Some(0));

    let dump = run_journal(&rhumb, &["dump", "--json", "--tenant", "acme"]);
    let lines: Vec<Value> = dump.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let changes: Vec<_> =
        lines.iter().filter_map(|line| Some((line.get("change")?.as_str()?, line["id"].as_str()?))).collect();
    let expected = [
        ("geofence_rules", "rules"),
        ("geofence_put", "depot"),
        ("geofence_put", "gone"),
        ("geofence_removed", "gone"),
    ];
    assert_eq!(changes, expected, "{dump}");
    let made = lines.iter().find(|line| line["id"] == "depot").unwrap();
    assert_eq!((&made["sequence"], &made["body"]["radius_m"]), (&version, &json!(100.0)));
    assert!(!run_journal(&rhumb, &["dump", "--json", "--tenant", "other"]).contains("geofence"));
    assert!(run_journal(&rhumb, &["dump"]).contains(" acme geofence_put depot {"));
    let stat: Value = serde_json::from_str(&run_journal(&rhumb, &["stat", "--json"])).unwrap();
    assert_eq!((&stat["changes"], &stat["fixes"]), (&json!(4), &json!(1)));

    let salvaged = rhumb.data_dir().join("salvaged");
    run_journal(&rhumb, &["verify", "--salvage", salvaged.to_str().unwrap()]);
    let journal = rhumb.data_dir().join("journal");
    std::fs::rename(&journal, rhumb.data_dir().join("journal.before")).unwrap();
    std::fs::rename(&salvaged, &journal).unwrap();
    std::fs::remove_dir_all(rhumb.data_dir().join("follow")).unwrap();
    rhumb.restart();
    assert_eq!(events(&rhumb, "acme"), kept);
    assert_eq!(rhumb.get("acme", "/v1/geofences/depot").json(200)["version"], version);
    // Rules that are known are not journalled again.
    assert_eq!(rhumb.terminate().0.code(), Some(0));
    let stat: Value = serde_json::from_str(&run_journal(&rhumb, &["stat", "--json"])).unwrap();
    assert_eq!(stat["changes"], 4);
}

#[test]
fn geofences_of_another_journal_stop_alone_and_say_what_to_do() {
    let mut other = Rhumb::start(&[]);
    let body = circle(52.0, 21.0, &json!({"radius_m": 100}));
    put(&other, "acme", "depot", &[], &body).json(201);
    assert_eq!(other.terminate().0.code(), Some(0));
    let mut rhumb = Rhumb::start(&[]);
    assert_eq!(rhumb.terminate().0.code(), Some(0));
    let follow = rhumb.data_dir().join("follow");
    std::fs::remove_dir_all(&follow).unwrap();
    copy_dir(&other.data_dir().join("follow"), &follow, &[]);
    rhumb.restart_unready();
    let reason = wait_for("/readyz to name it", || {
        let answer = request(rhumb.admin(), "GET", "/readyz", &[], b"");
        let said: Value = serde_json::from_slice(&answer.body).ok()?;
        let part = said["unready"].as_array()?.iter().find(|part| part["part"] == "fences")?;
        Some(part["reason"].as_str()?.to_owned())
    });
    assert!(reason.contains("is not in this journal") && reason.contains("`follow` in `data_dir`"), "{reason}");
    // Everything else goes on.
    rhumb.post("acme", "/v1/drivers/d1/location", &fix(0, 0.0)).json(202);
    put(&rhumb, "acme", "depot", &[], &body).problem(503);

    rhumb.kill9();
    std::fs::remove_dir_all(&follow).unwrap();
    rhumb.restart();
    put(&rhumb, "acme", "depot", &[], &body).json(201);
}

#[test]
fn without_geofences_there_are_none() {
    let rhumb = Rhumb::start(&["fences.enabled=false"]);
    assert_eq!(put(&rhumb, "acme", "depot", &[], "{}").status, 404);
    rhumb.post("acme", "/v1/drivers/d1/location", &fix(0, 0.0)).json(202);
    assert!(!rhumb.data_dir().join("follow").exists());
    assert!(!rhumb.metrics().keys().any(|name| name.contains("geofence") || name.contains("fences")));
}

//! Every wire format through its own door: published or posted, acknowledged once durable, shown in the engine's units, told to
//! subscribers as native JSON, and in the books by codec.

use std::collections::BTreeMap;

use rhumb::fix::Fix;
use rhumb::units::{Position, TimestampMs};
use rhumb::wire::compact;
use serde_json::{Value, json};

use crate::support::http::{self, Response};
use crate::support::mqtt::{self, Client, PUBACK, SUBACK, VERSIONS, Version};
use crate::support::payloads::{TIME_S, flespi, osmand, owntracks, teltonika, traccar};
use crate::support::rhumb::{Books, Rhumb};
use crate::support::{native_fix, topic, wait_for};

/// Holds that a driver's only fix is the one of the payloads.
fn assert_shown(rhumb: &Rhumb, driver: &str) {
    let track = rhumb.track("default", driver);
    let [fix] = track.as_slice() else { panic!("{driver}: {track:?}") };
    assert_eq!(fix["timestamp"], "2023-11-14T22:13:20Z", "{driver}");
    let number = |key: &str| fix[key].as_f64().unwrap_or_else(|| panic!("{driver}: no {key} in {fix}"));
    for (key, expected) in
        [("latitude", 46.0569), ("longitude", 14.5058), ("speed", 10.0), ("heading", 270.0), ("altitude", 295.0)]
    {
        assert!((number(key) - expected).abs() < 0.001, "{driver}: {key} of {fix}");
    }
}

fn post(rhumb: &Rhumb, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
    http::request(rhumb.http(), "POST", path, headers, body.as_bytes())
}

fn stored(books: &BTreeMap<String, Books>) -> BTreeMap<&str, u64> {
    books.iter().map(|(codec, books)| (codec.as_str(), books.stored)).collect()
}

#[test]
fn mapped_topics_are_acknowledged_and_shown() {
    let rhumb = Rhumb::start(&[]);
    for (version, suffix) in VERSIONS.into_iter().zip(["4", "5"]) {
        let mut client = Client::connect(rhumb.mqtt(), version, &format!("tracker-{suffix}"));
        let publishes = [
            (format!("owntracks/ann/{suffix}"), owntracks(TIME_S), format!("ann:{suffix}")),
            (format!("flespi/message/gw/devices/55{suffix}"), flespi(TIME_S), format!("55{suffix}")),
            (format!("teltonika/35209308{suffix}/data"), teltonika(TIME_S), format!("35209308{suffix}")),
        ];
        for (id, (topic, payload, driver)) in (1..).zip(publishes) {
            client.publish_acked(&topic, &payload, id);
            assert_shown(&rhumb, &driver);
        }
        // What holds no fix is acknowledged as well, and so is what cannot be read.
        client.publish_acked(&format!("owntracks/ann/{suffix}"), r#"{"_type":"lwt","tst":1}"#, 9);
        client.publish_acked(&format!("owntracks/ann/{suffix}"), "hello", 10);
    }
    let (books, codecs) = rhumb.books_by_codec("default");
    assert_eq!((books.stored, books.rejected), (6, 2));
    assert_eq!(stored(&codecs), BTreeMap::from([("owntracks", 2), ("flespi", 2), ("teltonika", 2)]));
    assert_eq!(codecs["owntracks"].rejected, 2);
    assert_eq!(rhumb.metrics()[r#"rhumb_payloads_skipped_total{codec="owntracks"}"#], 2.0);
}

#[test]
fn subscribers_are_told_in_native_json_whatever_the_codec_was() {
    let rhumb = Rhumb::start(&[]);
    let mut subscriber = Client::connect(rhumb.mqtt(), Version::V4, "dispatch");
    subscriber.send(&mqtt::subscribe(Version::V4, "tenant/default/driver/+/location", 0, 1)).unwrap();
    subscriber.expect(SUBACK);
    Client::connect(rhumb.mqtt(), Version::V5, "phone").publish_acked("owntracks/ann/phone", &owntracks(TIME_S), 1);
    let told = subscriber.expect(3);
    let topic_len = usize::from(u16::from_be_bytes([told.body[0], told.body[1]]));
    let (topic, payload) = told.body[2..].split_at(topic_len);
    assert_eq!(std::str::from_utf8(topic).unwrap(), "tenant/default/driver/ann:phone/location");
    let fix: Value = serde_json::from_slice(payload).unwrap();
    assert_eq!((&fix["driver_id"], &fix["timestamp"]), (&"ann:phone".into(), &"2023-11-14T22:13:20Z".into()));
    assert_eq!((&fix["speed"], &fix["latitude"]), (&10.into(), &46.0569.into()));
}

#[test]
fn a_topic_that_comes_to_no_id_is_refused() {
    let rhumb = Rhumb::start(&[]);
    for topic in ["owntracks/ann/my phone", "owntracks//phone", "teltonika/ä/data"] {
        let mut client = Client::connect(rhumb.mqtt(), Version::V5, "odd");
        client.send(&mqtt::publish(Version::V5, topic, owntracks(TIME_S).as_bytes(), 1, 1)).unwrap();
        assert_eq!(client.expect(PUBACK).ack_reason(), 0x90, "{topic}");
        client.publish_acked("owntracks/ann/phone", &owntracks(TIME_S), 2);
        let mut old = Client::connect(rhumb.mqtt(), Version::V4, "old");
        old.send(&mqtt::publish(Version::V4, topic, owntracks(TIME_S).as_bytes(), 1, 1)).unwrap();
        assert_eq!(old.receive(), None, "{topic}");
    }
    assert_eq!(rhumb.books("default").stored, 1);
}

#[test]
fn topics_are_mapped_as_configured() {
    let ingest = r#"mqtt.ingest=[{topic="fleet/{tenant}/{car}/up",codec="flespi",driver="car-{car}",tenant="{tenant}"},{topic="gate",codec="native",driver="gate",tenant="yard"}]"#;
    let rhumb = Rhumb::start(&[ingest]);
    let mut client = Client::connect(rhumb.mqtt(), Version::V4, "c");
    client.publish_acked("fleet/acme/7/up", &flespi(TIME_S), 1);
    client.publish_acked("gate", &native_fix(1), 2);
    // No longer mapped, and so nothing but a message.
    client.publish_acked("owntracks/ann/phone", &owntracks(TIME_S), 3);
    // As ever.
    client.publish_acked(&topic("acme", "d"), &native_fix(1), 4);
    assert_eq!(rhumb.track("acme", "car-7").len(), 1);
    assert_eq!(rhumb.track("yard", "gate").len(), 1);
    assert_eq!(stored(&rhumb.books_by_codec("acme").1), BTreeMap::from([("flespi", 1), ("native", 1)]));
    assert_eq!(rhumb.books("default").received, 0);
}

#[test]
fn a_mapping_that_cannot_be_meant_ends_the_start() {
    let rhumb = Rhumb::start(&[]);
    let cases = [
        (r#"[{topic="a/{b}",codec="flespi",driver="{c}"}]"#, "mqtt.ingest.driver: found \"{c}\""),
        (r#"[{topic="a/{b}",codec="flespy",driver="{b}"}]"#, "mqtt.ingest.codec: found \"flespy\""),
        (r#"[{topic="tenant/{t}/driver/{d}/{x}",codec="native",driver="{d}"}]"#, "mqtt.ingest.topic: found"),
        (r#"[{topic="a/{b}",codec="flespi"}]"#, "mqtt.ingest: found missing field `driver`"),
        (r#"[7]"#, "mqtt.ingest: found"),
    ];
    for (ingest, expected) in cases {
        let said = rhumb.run(&["check-config", "--set", &format!("mqtt.ingest={ingest}")]);
        let error = String::from_utf8_lossy(&said.stderr).into_owned();
        assert_eq!(said.status.code(), Some(78), "{ingest}: {error}");
        assert!(error.contains(expected), "{ingest}: {error}");
    }
}

#[test]
fn wills_on_mapped_topics_are_fixes() {
    let rhumb = Rhumb::start(&[]);
    for (client_id, will) in [("left", owntracks(TIME_S)), ("farewell", r#"{"_type":"lwt","tst":1}"#.to_owned())] {
        let mut client = Client::open(rhumb.mqtt(), Version::V4);
        client.send(&mqtt::connect_with_will(client_id, "owntracks/ann/phone", &will)).unwrap();
        assert_eq!(client.receive().unwrap().connack_code(), 0);
        client.hang_up();
    }
    wait_for("both wills", || {
        let skipped = rhumb.metrics().get(r#"rhumb_payloads_skipped_total{codec="owntracks"}"#).copied();
        (skipped == Some(1.0) && rhumb.books("default").stored == 1).then_some(())
    });
    assert_shown(&rhumb, "ann:phone");
}

#[test]
fn osmand_and_traccar_clients_post_to_one_path() {
    let rhumb = Rhumb::start(&[]);
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let json = [("Content-Type", "application/json")];
    let get = |path: &str| http::request(rhumb.http(), "GET", path, &[], b"");
    assert_eq!(get(&format!("/osmand?{}", osmand("got", TIME_S))).status, 200);
    assert_eq!(post(&rhumb, &format!("/osmand?{}", osmand("posted", TIME_S)), &[], "").status, 200);
    assert_eq!(post(&rhumb, "/osmand", &form, &osmand("form", TIME_S)).status, 200);
    assert_eq!(post(&rhumb, "/osmand", &json, &traccar("client", TIME_S)).status, 200);
    assert_eq!(post(&rhumb, "/osmand", &[], &traccar("shown", TIME_S)).status, 200);
    for driver in ["got", "posted", "form", "client", "shown"] {
        assert_shown(&rhumb, driver);
    }
    // Sent again because the answer was lost, and refused by a rule: neither is worth another try.
    assert_eq!(get(&format!("/osmand?{}", osmand("got", TIME_S))).status, 200);
    assert_eq!(get("/osmand?id=got&lat=0&lon=0&timestamp=1700000001").status, 200);
    let (books, codecs) = rhumb.books_by_codec("default");
    assert_eq!((books.stored, books.duplicate, books.rejected), (5, 1, 1));
    assert_eq!(stored(&codecs), BTreeMap::from([("osmand", 3), ("traccar", 2)]));

    let parameter = |response: Response, status: u16| response.problem(status)["parameter"].clone();
    assert_eq!(parameter(get("/osmand?lat=1&lon=2"), 400), "id");
    assert_eq!(parameter(get("/osmand?id=a%20b&lat=1&lon=2"), 400), "id");
    assert_eq!(parameter(get("/osmand"), 400), "id");
    assert_eq!(parameter(post(&rhumb, "/osmand", &json, r#"{"location":{}}"#), 400), "device_id");
    // Whoever does not hear 200 sends the same again for ever.
    assert_eq!(get("/osmand?id=got&lat=x&lon=2").status, 200);
    assert_eq!(post(&rhumb, "/osmand", &json, r#"{"device_id":"d"}"#).status, 200);
    let head = http::request(rhumb.http(), "HEAD", &format!("/osmand?{}", osmand("asked", TIME_S)), &[], b"");
    assert_eq!((head.status, head.header("allow")), (405, Some("GET,POST")));
    assert_eq!(rhumb.track("default", "asked").len(), 0);
    let foreign = [("Sec-Fetch-Site", "cross-site")];
    let path = format!("/osmand?{}", osmand("lured", TIME_S));
    http::request(rhumb.http(), "GET", &path, &foreign, b"").problem(403);
    assert_eq!(rhumb.track("default", "lured").len(), 0);
    assert_eq!(rhumb.books("default").rejected, 3, "what cannot be read was received too");
}

#[test]
fn owntracks_apps_are_answered_with_a_list() {
    let rhumb = Rhumb::start(&[]);
    let phone = [("X-Limit-U", "ann"), ("X-Limit-D", "phone"), ("X-Tenant", "acme")];
    let list = |response: Response| assert_eq!(response.json(200), json!([]));
    list(post(&rhumb, "/owntracks", &phone, &owntracks(TIME_S)));
    list(post(&rhumb, "/owntracks?u=bob&d=tab", &[], &owntracks(TIME_S)));
    list(post(&rhumb, "/owntracks", &[("Authorization", "Basic Ym9iOnNlY3JldA==")], &owntracks(TIME_S)));
    list(post(&rhumb, "/owntracks", &[], ""));
    list(post(&rhumb, "/owntracks", &phone, r#"{"_type":"waypoint","tst":1}"#));
    assert_eq!(rhumb.track("acme", "ann:phone").len(), 1);
    assert_shown(&rhumb, "bob:tab");
    assert_shown(&rhumb, "bob");
    assert_eq!(rhumb.metrics()[r#"rhumb_payloads_skipped_total{codec="owntracks"}"#], 2.0);

    assert_eq!(post(&rhumb, "/owntracks", &[], &owntracks(TIME_S)).problem(400)["parameter"], "X-Limit-U");
    let odd = [("X-Limit-U", "an n"), ("X-Limit-D", "phone")];
    assert_eq!(post(&rhumb, "/owntracks", &odd, &owntracks(TIME_S)).problem(400)["parameter"], "X-Limit-U");
    // Whoever does not hear 200 sends the same again for ever.
    list(post(&rhumb, "/owntracks", &phone, "{"));
    list(post(&rhumb, "/owntracks", &phone, r#"{"_type":"location","tst":1}"#));
    assert_eq!(stored(&rhumb.books_by_codec("acme").1), BTreeMap::from([("owntracks", 1)]));
    assert_eq!(rejected_by_reason(&rhumb, "acme"), BTreeMap::from([("malformed".to_owned(), 2)]));
}

#[test]
fn a_compact_batch_goes_where_native_json_does() {
    let rhumb = Rhumb::start(&[]);
    let position = Position { latitude_e7: 460_569_000, longitude_e7: 145_058_000 };
    let fix = |time_s: u64| Fix::at(TimestampMs(time_s as i64 * 1_000), position);
    let mut batch = Vec::new();
    compact::encode(&[fix(TIME_S), fix(TIME_S + 1), fix(TIME_S + 2)], &mut batch);
    for version in VERSIONS {
        let mut client = Client::connect(rhumb.mqtt(), version, "saving");
        client.send(&mqtt::publish(version, &topic("default", "saving"), &batch, 1, 1)).unwrap();
        assert_eq!(client.expect(PUBACK).ack_reason(), 0);
        client.publish_acked(&topic("default", "saving"), &native_fix(3), 2);
    }
    let times: Vec<_> = rhumb.track_times_ms("default", "saving", 0);
    assert_eq!(times, [0, 1, 2, 3].map(|n| (TIME_S as i64 + n) * 1_000));
    let (books, codecs) = rhumb.books_by_codec("default");
    assert_eq!((books.stored, books.duplicate), (4, 4));
    assert_eq!(stored(&codecs), BTreeMap::from([("compact", 3), ("native", 1)]));
}

/// A tenant's rejected fixes by reason, those that there are.
fn rejected_by_reason(rhumb: &Rhumb, tenant: &str) -> BTreeMap<String, u64> {
    let tenant = format!("tenant=\"{tenant}\"");
    let of_tenant = |name: &&String| name.starts_with("rhumb_fixes_rejected_total{") && name.contains(&tenant);
    let metrics = rhumb.metrics();
    let reason = |name: &str| name.split_once("reason=\"").unwrap().1.split_once('"').unwrap().0.to_owned();
    let counts = metrics.keys().filter(of_tenant).map(|name| (reason(name), metrics[name] as u64));
    counts.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn what_a_tracker_calls_no_fix_is_refused_in_its_turn_and_where_the_rule_is_on() {
    type Rejected<'a> = &'a [(&'a str, u64)];
    let with_rule: Rejected<'_> = &[("no_fix", 3), ("out_of_range", 1)];
    let without: Rejected<'_> = &[("null_island", 1), ("out_of_range", 1)];
    for (is_on, stored, rejected) in [(true, 0, with_rule), (false, 2, without)] {
        let rhumb = Rhumb::start(&[&format!("rules.no_fix={is_on}")]);
        let flespi = flespi(TIME_S).replace(r#""position.valid":true"#, r#""position.valid":false"#);
        Client::connect(rhumb.mqtt(), Version::V5, "tracker").publish_acked("flespi/message/gw/devices/d", &flespi, 1);
        for query in ["lat=95&lon=0&valid=0", "lat=52&lon=21&valid=false", "lat=0&lon=0&valid=0"] {
            let path = format!("/osmand?id=phone&timestamp={TIME_S}&{query}");
            assert_eq!(http::request(rhumb.http(), "GET", &path, &[], b"").status, 200);
        }
        let rejected = rejected.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect();
        assert_eq!(rejected_by_reason(&rhumb, "default"), rejected, "no_fix={is_on}");
        assert_eq!(rhumb.books("default").stored, stored, "no_fix={is_on}");
    }
}

#[test]
fn a_payload_of_more_fixes_than_may_be_is_one_too_large_over_mqtt_and_none_over_http() {
    let rhumb = Rhumb::start(&["http.fixes_max=100"]);
    let mut client = Client::connect(rhumb.mqtt(), Version::V5, "hostile");
    let members = |count: usize| format!("[{}]", vec!["1"; count].join(","));
    let batch = |count: usize| [&[compact::VERSION][..], &vec![0; count]].concat();
    let (native, flespi) = (topic("default", "d"), "flespi/message/gw/devices/d");
    let payloads = [
        (&*native, members(10_001).into_bytes()),
        (&*native, batch(200_000)),
        (flespi, members(20_000).into_bytes()),
        (flespi, members(10_000).into_bytes()),
    ];
    for (id, (topic, payload)) in (1..).zip(&payloads) {
        client.send(&mqtt::publish(client.version, topic, payload, 1, id)).unwrap();
        assert_eq!(client.expect(PUBACK).ack_reason(), 0);
    }
    let rejected = BTreeMap::from([("malformed".to_owned(), 10_000), ("too_large".to_owned(), 3)]);
    assert_eq!(rejected_by_reason(&rhumb, "default"), rejected);
    for body in [members(101).into_bytes(), batch(101)] {
        http::request(rhumb.http(), "POST", "/v1/drivers/d/location", &[], &body).problem(413);
    }
    assert_eq!(rhumb.books("default").received, 10_003);
}

/// Sends everything that a device of each format has, over every door.
fn send_all(rhumb: &Rhumb, times: std::ops::Range<u64>) {
    let mut client = Client::connect(rhumb.mqtt(), Version::V4, "all");
    for (id, time_s) in (1..).step_by(4).zip(times) {
        client.publish_acked("owntracks/u/d", &owntracks(time_s), id);
        client.publish_acked("flespi/message/gw/devices/1", &flespi(time_s), id + 1);
        client.publish_acked("teltonika/2/data", &teltonika(time_s), id + 2);
        client.publish_acked(&topic("default", "3"), &native_fix(time_s - TIME_S), id + 3);
        let path = format!("/osmand?{}", osmand("4", time_s));
        assert_eq!(http::request(rhumb.http(), "GET", &path, &[], b"").status, 200);
        assert_eq!(post(rhumb, "/osmand", &[], &traccar("5", time_s)).status, 200);
    }
}

#[test]
fn the_books_of_every_codec_balance_after_kill_9_and_redelivery() {
    let mut rhumb = Rhumb::start(&[]);
    // A refusal of each, which has to survive as well.
    let mut client = Client::connect(rhumb.mqtt(), Version::V5, "refused");
    client.publish_acked("owntracks/u/d", r#"{"_type":"location","lat":0,"lon":0,"tst":1700000000}"#, 1);
    client.publish_acked("flespi/message/gw/devices/1", "no", 2);
    send_all(&rhumb, TIME_S..TIME_S + 10);
    let codecs = ["flespi", "native", "osmand", "owntracks", "teltonika", "traccar"];
    let expected = |stored: u64, duplicate: u64| -> BTreeMap<String, Books> {
        let books = |codec: &str| {
            let rejected = u64::from(matches!(codec, "owntracks" | "flespi"));
            Books { received: stored + duplicate + rejected, stored, duplicate, rejected, in_flight: 0 }
        };
        codecs.iter().map(|codec| ((*codec).to_owned(), books(codec))).collect()
    };
    assert_eq!(rhumb.books_by_codec("default").1, expected(10, 0));
    for kill in 1..=3 {
        rhumb.kill9();
        rhumb.restart();
        assert_eq!(rhumb.books_by_codec("default").1, expected(10 + 5 * (kill - 1), 10 * (kill - 1)), "kill {kill}");
        // Half of it again, as after an acknowledgement that was lost, and some more.
        let begin = TIME_S + 5 * (kill - 1);
        send_all(&rhumb, begin..begin + 15);
        assert_eq!(rhumb.books_by_codec("default").1, expected(10 + 5 * kill, 10 * kill), "after kill {kill}");
    }
    // A clean end takes a snapshot, from which the next start has the books.
    assert_eq!(rhumb.terminate().0.code(), Some(0));
    rhumb.restart();
    assert_eq!(rhumb.books_by_codec("default").1, expected(25, 30));
    for driver in ["u:d", "1", "2", "3", "4", "5"] {
        assert_eq!(rhumb.track("default", driver).len(), 25, "{driver}");
    }
    assert_eq!(rhumb.terminate().0.code(), Some(0));
    let stat = rhumb.run(&["journal", "stat", "--json"]);
    let stat: Value = serde_json::from_slice(&stat.stdout).unwrap();
    let of_codecs = &stat["tenants"]["default"]["codecs"];
    for codec in codecs {
        assert_eq!((&of_codecs[codec]["stored"], &of_codecs[codec]["duplicate"]), (&25.into(), &30.into()), "{stat}");
    }
    assert_eq!(stat["tenants"]["default"]["stored"], 150);
    assert_eq!(rhumb.run(&["journal", "verify"]).status.code(), Some(0));
    // Native fixes speak for themselves, and the others are counted frame by frame.
    let dump = rhumb.run(&["journal", "dump", "--json"]).stdout;
    let lines = dump.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut counted: BTreeMap<String, u64> = BTreeMap::new();
    for line in
        lines.map(|line| serde_json::from_slice::<Value>(line).unwrap()).filter(|line| line["codec"].is_string())
    {
        let stored = line["counters"]["stored"].as_u64().unwrap_or_default();
        *counted.entry(line["codec"].as_str().unwrap().to_owned()).or_default() += stored;
    }
    assert_eq!(counted.remove("native"), Some(0));
    assert_eq!(
        counted,
        codecs[..].iter().filter(|codec| **codec != "native").map(|codec| ((*codec).to_owned(), 25)).collect()
    );
}

//! The HTTP API as clients rely on it: shapes, statuses, problems.

use serde_json::{Value, json};

use crate::support::rhumb::Rhumb;
use crate::support::{fix_time_ms, http, native_fix};

/// Posts a fix without a time, which is of now.
fn post_fix(rhumb: &Rhumb, tenant: &str, driver: &str, latitude: f64, longitude: f64) {
    let body = json!({ "latitude": latitude, "longitude": longitude, "speed": 8.3, "heading": 270 }).to_string();
    let answer = rhumb.post(tenant, &format!("/v1/drivers/{driver}/location"), &body).json(202);
    assert_eq!(answer["accepted"], 1, "{answer}");
}

fn ids(answer: &Value) -> Vec<&str> {
    let drivers = answer["drivers"].as_array().unwrap();
    assert_eq!(answer["count"], drivers.len(), "{answer}");
    drivers.iter().map(|driver| driver["driver_id"].as_str().unwrap()).collect()
}

#[test]
fn ingest_answers_with_a_verdict_for_each_element() {
    let rhumb = Rhumb::start(&[]);
    let path = "/v1/drivers/d1/location";
    let elements = [
        native_fix(5),
        native_fix(3),
        native_fix(5),
        r#"{"latitude":0,"longitude":0,"timestamp":1700000000}"#.to_owned(),
    ];
    let answer = rhumb.post("acme", path, &format!("[{}]", elements.join(","))).json(202);
    let expected = json!({
        "accepted": 2, "duplicate": 1, "rejected": 1,
        "verdicts": [
            { "verdict": "accepted" }, { "verdict": "late" }, { "verdict": "duplicate" },
            { "verdict": "rejected", "reason": "null_island" }
        ]
    });
    assert_eq!(answer, expected);

    let location = rhumb.get("acme", path).json(200);
    assert_eq!(location["driver_id"], "d1");
    assert_eq!(location["timestamp"], "2023-11-14T22:13:25Z", "the late fix moved now");
    assert_eq!((&location["latitude"], &location["longitude"]), (&json!(52.00005), &json!(21)));
    assert!(location["received_at"].is_string());

    let refused = rhumb.post("acme", path, r#"{"latitude":91,"longitude":0,"timestamp":1700000000}"#).json(202);
    assert_eq!(refused["verdicts"], json!([{ "verdict": "rejected", "reason": "out_of_range" }]));
    let books = rhumb.books("acme");
    assert_eq!((books.received, books.stored, books.duplicate, books.rejected), (5, 2, 1, 2));
}

#[test]
fn what_is_wrong_with_a_request_is_a_problem() {
    let rhumb = Rhumb::start(&["http.body_bytes_max=1024"]);
    let path = "/v1/drivers/d1/location";
    rhumb.post("default", path, "{").problem(400);
    rhumb.post("default", path, &" ".repeat(2_000)).problem(413);
    rhumb.post("default", "/v1/drivers/a%20b/location", &native_fix(1)).problem(400);
    rhumb.get("default", "/v1/drivers/nobody/location").problem(404);
    rhumb.get("default", "/v1/nothing").problem(404);
    rhumb.get("no such tenant!", path).problem(400);
    let cases = [
        ("/v1/drivers/nearest?lon=21", "lat"),
        ("/v1/drivers/nearest?lat=91&lon=21", "lat"),
        ("/v1/drivers/nearest?lat=NaN&lon=21", "lat"),
        ("/v1/drivers/nearest?lat=52&lon=x", "lon"),
        ("/v1/drivers/nearest?lat=52&lon=21&limit=0", "limit"),
        ("/v1/drivers/nearest?lat=52&lon=21&limit=1001", "limit"),
        ("/v1/drivers/nearest?lat=52&lon=21&radius_m=-1", "radius_m"),
        ("/v1/drivers/within?bbox=1,2,3", "bbox"),
        ("/v1/drivers/d1/track?from=yesterday", "from"),
        ("/v1/drivers/d1/track?limit=0", "limit"),
        ("/v1/drivers/d1/track?cursor=forged", "cursor"),
        ("/v1/drivers/d1/track?format=xml", "format"),
    ];
    rhumb.post("default", path, &native_fix(1)).json(202);
    for (path, parameter) in cases {
        let problem = rhumb.get("default", path).problem(400);
        assert!(problem.to_string().contains(parameter), "{path}: {problem}");
    }
    let method = http::request(rhumb.http(), "DELETE", path, &[], b"");
    assert_eq!(method.status, 405);
}

#[test]
fn nearest_is_in_the_order_of_distance_and_keeps_to_its_tenant() {
    let rhumb = Rhumb::start(&[]);
    for (driver, longitude) in [("far", 21.3), ("near", 21.001), ("middle", 21.1)] {
        post_fix(&rhumb, "acme", driver, 52.0, longitude);
    }
    post_fix(&rhumb, "other", "stranger", 52.0, 21.0);

    let all = rhumb.get("acme", "/v1/drivers/nearest?lat=52.0&lon=21.0").json(200);
    assert_eq!(ids(&all), ["near", "middle", "far"]);
    let near = &all["drivers"][0];
    let distance_m = near["distance_m"].as_f64().unwrap();
    assert!((distance_m - 68.5).abs() < 0.5, "{distance_m}");
    assert!(near["age_s"].as_f64().unwrap() < 60.0);
    assert_eq!((&near["heading"], &near["latitude"]), (&json!(270), &json!(52)));
    assert!(near["timestamp"].is_string() && near["speed"].is_number());

    assert_eq!(ids(&rhumb.get("acme", "/v1/drivers/nearest?lat=52&lon=21&limit=1").json(200)), ["near"]);
    assert_eq!(
        ids(&rhumb.get("acme", "/v1/drivers/nearest?lat=52&lon=21&radius_m=10000").json(200)),
        ["near", "middle"]
    );
    assert_eq!(ids(&rhumb.get("nobody", "/v1/drivers/nearest?lat=52&lon=21").json(200)), [] as [&str; 0]);
    rhumb.get("other", "/v1/drivers/near/location").problem(404);

    let mut within = rhumb.get("acme", "/v1/drivers/within?bbox=21.05,51.9,21.4,52.1").json(200);
    let drivers = within["drivers"].as_array_mut().unwrap();
    drivers.sort_by_key(|driver| driver["driver_id"].to_string());
    assert!(drivers.iter().all(|driver| driver.get("distance_m").is_none()));
    assert_eq!(ids(&within), ["far", "middle"]);
}

#[test]
fn across_the_antimeridian_is_near() {
    let rhumb = Rhumb::start(&[]);
    post_fix(&rhumb, "default", "east", 0.5, -179.99);
    post_fix(&rhumb, "default", "west", 0.5, 179.9);
    let nearest = rhumb.get("default", "/v1/drivers/nearest?lat=0.5&lon=179.999").json(200);
    assert_eq!(ids(&nearest), ["east", "west"]);
    let within = rhumb.get("default", "/v1/drivers/within?bbox=179.95,0,-179.95,1").json(200);
    assert_eq!(ids(&within), ["east"]);
}

#[test]
fn a_track_is_paged_oldest_first_whatever_the_order_of_arrival() {
    let rhumb = Rhumb::start(&["dedupe.window_fixes=64"]);
    let path = "/v1/drivers/d1/location";
    // Every other fix first, then those between, late: more than the window and more than a page.
    for offset in [0, 1] {
        for begin in (0..2_500).step_by(500) {
            let fixes: Vec<String> = (begin..begin + 500).filter(|n| n % 2 == offset).map(native_fix).collect();
            let answer = rhumb.post("default", path, &format!("[{}]", fixes.join(","))).json(202);
            assert_eq!(answer["accepted"], 250, "{answer}");
        }
    }
    let track = rhumb.track("default", "d1");
    assert_eq!(track.len(), 2_500);
    let times: Vec<&str> = track.iter().map(|fix| fix["timestamp"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|earlier, later| earlier < later));

    // `from` is inclusive, `to` exclusive; both as epoch or RFC 3339.
    let (from, to) = (fix_time_ms(10), fix_time_ms(20));
    let part = rhumb.get("default", &format!("/v1/drivers/d1/track?from={from}&to={to}")).json(200);
    assert_eq!(part["driver_id"], "d1");
    assert_eq!(part["fixes"].as_array().unwrap().len(), 10);
    assert_eq!(part["fixes"][0]["timestamp"], "2023-11-14T22:13:30Z");
    assert_eq!(part["next_cursor"], Value::Null);
    let same = rhumb.get("default", "/v1/drivers/d1/track?from=2023-11-14T22:13:30Z&to=2023-11-14T22:13:40Z").json(200);
    assert_eq!(same, part);
    let page = rhumb.get("default", "/v1/drivers/d1/track?limit=7").json(200);
    assert_eq!(page["fixes"].as_array().unwrap().len(), 7);
    assert!(page["next_cursor"].is_string());
}

#[test]
fn a_track_comes_as_geojson_csv_and_gpx() {
    let rhumb = Rhumb::start(&[]);
    let fixes: Vec<String> = (0..3).map(native_fix).collect();
    rhumb.post("default", "/v1/drivers/d1/location", &format!("[{}]", fixes.join(","))).json(202);

    let geojson = rhumb.get("default", "/v1/drivers/d1/track?format=geojson");
    assert!(geojson.header("content-type").unwrap().starts_with("application/geo+json"));
    let geojson = geojson.json(200);
    let text = geojson.to_string();
    assert!(text.contains("[21.0,52.0") && geojson["type"].is_string(), "{text}");

    let csv = rhumb.get("default", "/v1/drivers/d1/track?format=csv");
    assert!(csv.header("content-type").unwrap().starts_with("text/csv"));
    let lines: Vec<String> = csv.text().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    for column in ["timestamp", "latitude", "longitude"] {
        assert!(lines[0].split(',').any(|name| name == column), "{}", lines[0]);
    }

    let gpx = rhumb.get("default", "/v1/drivers/d1/track?format=gpx");
    assert!(gpx.header("content-type").unwrap().starts_with("application/gpx+xml"));
    assert_eq!(gpx.text().matches("<trkpt ").count(), 3);
}

#[test]
fn open_mode_lets_no_web_page_reach_in() {
    let rhumb = Rhumb::start(&[]);
    let path = "/v1/drivers/nearest?lat=52&lon=21";
    let ask = |headers: &[(&str, &str)]| http::request(rhumb.http(), "GET", path, headers, b"").status;
    assert_eq!(ask(&[("Host", "rhumb.example.com")]), 403);
    assert_eq!(ask(&[("Origin", "https://evil.example.com")]), 403);
    assert_eq!(ask(&[("Host", "localhost:8080")]), 200);
}

#[test]
fn the_operator_port_tells_health_and_metrics() {
    let rhumb = Rhumb::start(&[]);
    rhumb.post("acme", "/v1/drivers/d1/location", &native_fix(1)).json(202);
    for path in ["/health", "/readyz"] {
        assert_eq!(http::request(rhumb.admin(), "GET", path, &[], b"").status, 200, "{path}");
    }
    let metrics = rhumb.metrics();
    assert_eq!(metrics.get("rhumb_fixes_received_total{tenant=\"acme\"}"), Some(&1.0), "{metrics:?}");
    assert_eq!(metrics.get("rhumb_fixes_in_flight{tenant=\"acme\"}"), Some(&0.0), "{metrics:?}");
    let public = http::request(rhumb.http(), "GET", "/metrics", &[], b"");
    assert_eq!(public.status, 404, "metrics are the operator's");
}

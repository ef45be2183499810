//! The routes as a client meets them: every status and every shape, without a socket.

mod map;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

use super::*;
use crate::journal::{self, Journal};
use crate::live::Feed;
use crate::pipeline::{self, Pipeline, Recovering};
use crate::units::TimestampMs;

/// 2024-02-16T14:17:10Z
const NOW: TimestampMs = TimestampMs(1_708_093_030_000);

/// A whole engine behind the API: a journal in a directory of its own, shards, the index; no store.
struct Api {
    clock: Clock,
    router: Router,
    ingress: Ingress,
    /// Both are taken at the end, the pipeline first.
    running: Option<(Pipeline, Journal)>,
    _directory: TempDir,
}

impl Drop for Api {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The parameter that a problem names, and its status.
    fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16());
        (self.status.as_u16(), problem["parameter"].as_str().unwrap_or_default().into())
    }
}

async fn ask(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
    Answer { status: parts.status, headers: parts.headers, body }
}

fn request(method: Method, uri: &str, body: impl Into<Body>) -> Request<Body> {
    Request::builder().method(method).uri(uri).header("host", "localhost:8080").body(body.into()).unwrap()
}

impl Api {
    fn start() -> Self {
        Self::with(&Config::default())
    }

    fn with(config: &Config) -> Self {
        Self::on_journal(config, &journal::Config::default())
    }

    fn on_journal(config: &Config, journal_config: &journal::Config) -> Self {
        let clock = Clock::manual(NOW);
        let geo = Arc::new(GeoIndex::default());
        let recovering = Recovering::new(pipeline::Parts {
            config: pipeline::Config { shards: 1 },
            dedupe: pipeline::DedupeConfig::default(),
            rules: pipeline::RuleBook::default(),
            registry: pipeline::RegistryConfig { tenants_max: 2, ..pipeline::RegistryConfig::default() },
            geo: Arc::clone(&geo),
            feed: Feed::default(),
            history: None,
        });
        let directory = tempfile::tempdir().unwrap();
        let (journal, _) = journal::open(directory.path(), journal_config, &mut |_| Ok(())).unwrap();
        let pipeline = recovering.start(&journal, None).unwrap();
        let ingress = pipeline.ingress().clone();
        let state = State {
            clock: clock.clone(),
            geo,
            ingress: ingress.clone(),
            recorder: None,
            fences: None,
            authority: Authority::open(),
            offline_after_ms: 300_000,
        };
        let router = router(state, config);
        Self { clock, router, ingress, running: Some((pipeline, journal)), _directory: directory }
    }

    /// What the engine does at its end.
    fn stop(&mut self) {
        if let Some((pipeline, journal)) = self.running.take() {
            pipeline.stop();
            journal.close().unwrap();
        }
    }

    async fn get(&self, uri: &str) -> Answer {
        ask(&self.router, request(Method::GET, uri, Body::empty())).await
    }

    async fn post(&self, uri: &str, body: impl Into<Body>) -> Answer {
        ask(&self.router, request(Method::POST, uri, body)).await
    }

    /// Posts fixes of a driver, each at a place and so many seconds after [`NOW`].
    async fn drive(&self, driver: &str, fixes: &[(f64, f64, i64)]) {
        let fixes: Vec<_> = fixes
            .iter()
            .map(|(latitude, longitude, after_s)| {
                json!({"latitude": latitude, "longitude": longitude, "timestamp": NOW.0 + after_s * 1_000})
            })
            .collect();
        let answer = self.post(&format!("/v1/drivers/{driver}/location"), Value::from(fixes).to_string()).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
}

#[tokio::test]
async fn a_full_journal_is_unavailable_and_says_when_to_come_back() {
    let api = Api::on_journal(&Config::default(), &journal::Config { bytes_max: 1, ..journal::Config::default() });
    let answer = api.post("/v1/drivers/d1/location", r#"{"latitude":1,"longitude":2}"#).await;
    assert_eq!((answer.problem().0, answer.header("retry-after")), (503, "1"));
    assert_eq!(api.get("/v1/drivers/d1/location").await.status, 404, "what only reads is answered");
    // Whoever speaks these formats forgets what is answered with 2xx.
    let others = [
        api.get("/osmand?id=d1&lat=1&lon=2").await,
        api.post("/osmand", r#"{"device_id":"d1","location":{"coords":{"latitude":1,"longitude":2}}}"#).await,
        api.post("/owntracks?u=u&d=d", r#"{"_type":"location","lat":1,"lon":2,"tst":1708093024}"#).await,
    ];
    for answer in others {
        assert_eq!((answer.problem().0, answer.header("retry-after")), (503, "1"));
    }
}

#[tokio::test]
async fn ingest_answers_with_a_verdict_for_each() {
    let api = Api::start();
    let body = r#"[
        {"latitude":52.1,"longitude":21,"timestamp":"2024-02-16T14:17:04Z","speed":8.3,"heading":270},
        {"latitude":52.0,"longitude":21,"timestamp":"2024-02-16T14:17:03Z"},
        {"latitude":52.0,"longitude":21,"timestamp":"2024-02-16T14:17:03Z"},
        {"latitude":0,"longitude":0,"timestamp":"2024-02-16T14:17:05Z"},
        {"latitude":"x"}
    ]"#;
    let answer = api.post("/v1/drivers/d1/location", body).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (202, "application/json"));
    let wanted = json!({"accepted": 2, "duplicate": 1, "rejected": 2, "verdicts": [
        {"verdict": "accepted"}, {"verdict": "late"}, {"verdict": "duplicate"},
        {"verdict": "rejected", "reason": "null_island"}, {"verdict": "rejected", "reason": "malformed"},
    ]});
    assert_eq!(answer.json(), wanted);
}

#[tokio::test]
async fn ingest_of_nothing_good_is_still_202_and_of_no_json_400() {
    let api = Api::start();
    let refused = api.post("/v1/drivers/d1/location", r#"{"latitude":0,"longitude":0}"#).await;
    assert_eq!((refused.status.as_u16(), refused.json()["rejected"].as_u64()), (202, Some(1)));
    assert_eq!(api.post("/v1/drivers/d1/location", "[]").await.json()["verdicts"], json!([]));
    for body in ["", "hello", "{\"latitude\":", "\u{feff}{}"] {
        assert_eq!(api.post("/v1/drivers/d1/location", body).await.problem(), (400, String::new()), "{body}");
    }
    assert_eq!(api.post("/v1/drivers/d1/location", vec![b'"', 0xff, b'"']).await.problem().0, 400);
}

#[tokio::test]
async fn ingest_is_bounded() {
    let api = Api::with(&Config { body_bytes_max: 100, fixes_max: 3, ..Config::default() });
    let ok = api.post("/v1/drivers/d1/location", "[1,2,3]").await;
    assert_eq!(ok.status, 202);
    assert_eq!(api.post("/v1/drivers/d1/location", "[1,2,3,4]").await.problem().0, 413);
    assert_eq!(api.post("/v1/drivers/d1/location", " ".repeat(101)).await.problem().0, 413);
    assert_eq!(api.post("/v1/drivers/within", " ".repeat(101)).await.problem().0, 413);
}

#[tokio::test]
async fn ids_and_tenants_that_cannot_be_are_named() {
    let api = Api::start();
    for path in ["/v1/drivers/a%20b/location", "/v1/drivers/a%2Fb/location", "/v1/drivers/%FF/track"] {
        assert_eq!(api.get(path).await.problem(), (400, "id".into()), "{path}");
    }
    assert_eq!(api.post("/v1/drivers/a%20b/location", "{}").await.problem(), (400, "id".into()));
    let mut foreign = request(Method::GET, "/v1/drivers/d1/location", Body::empty());
    foreign.headers_mut().insert("x-tenant", "a/b".parse().unwrap());
    assert_eq!(ask(&api.router, foreign).await.problem(), (400, "X-Tenant".into()));
}

#[tokio::test]
async fn what_is_not_there_is_404() {
    let api = Api::start();
    api.drive("d1", &[(52.0, 21.0, 0)]).await;
    for path in ["/v1/drivers/d2/location", "/v1/drivers/d2/track", "/", "/v1/drivers", "/health", "/v1/drivers/d1/"] {
        assert_eq!(api.get(path).await.problem(), (404, String::new()), "{path}");
    }
}

#[tokio::test]
async fn a_tenant_sees_only_its_own() {
    let api = Api::start();
    api.drive("d1", &[(52.0, 21.0, 0)]).await;
    for path in ["/v1/drivers/d1/location", "/v1/drivers/d1/track"] {
        let mut theirs = request(Method::GET, path, Body::empty());
        theirs.headers_mut().insert("x-tenant", "other".parse().unwrap());
        assert_eq!(ask(&api.router, theirs).await.status, 404, "{path}");
    }
    for (path, nothing) in [
        ("/v1/drivers/nearest?lat=52&lon=21", json!({"drivers": [], "count": 0, "next_cursor": null})),
        ("/v1/drivers/within?bbox=-180,-90,180,90", json!({"drivers": [], "count": 0})),
        ("/v1/drivers/density?bbox=0,0,40,60&zoom=4", json!({"zoom": 4, "cells": [], "count": 0, "drivers": 0})),
    ] {
        let mut theirs = request(Method::GET, path, Body::empty());
        theirs.headers_mut().insert("x-tenant", "other".parse().unwrap());
        assert_eq!(ask(&api.router, theirs).await.json(), nothing, "{path}");
    }
}

#[tokio::test]
async fn a_method_that_is_not_there_is_405_with_those_that_are() {
    let api = Api::start();
    let cases = [
        (Method::DELETE, "/v1/drivers/d1/location", "GET,HEAD,POST"),
        (Method::POST, "/v1/drivers/nearest", "GET,HEAD"),
        (Method::PUT, "/v1/drivers/within", "GET,HEAD,POST"),
        (Method::POST, "/v1/drivers/d1/track", "GET,HEAD"),
    ];
    for (method, path, wanted) in cases {
        let answer = ask(&api.router, request(method.clone(), path, Body::empty())).await;
        assert_eq!(answer.problem(), (405, String::new()), "{method} {path}");
        let mut allowed: Vec<_> = answer.header("allow").split(',').collect();
        allowed.sort_unstable();
        assert_eq!(allowed.join(","), wanted, "{method} {path}");
    }
}

#[tokio::test]
async fn the_guard_stands_before_everything() {
    let api = Api::start();
    let operator = operator_router(Operator::default(), Authority::open(), &Config::default());
    for (router, path) in [(&api.router, "/v1/drivers/d1/location"), (&api.router, "/nowhere"), (&operator, "/metrics")]
    {
        let foreign = Request::builder().uri(path).header("host", "evil.example").body(Body::empty()).unwrap();
        assert_eq!(ask(router, foreign).await.problem(), (403, String::new()), "{path}");
        let mut page = request(Method::GET, path, Body::empty());
        page.headers_mut().insert("origin", "https://evil.example".parse().unwrap());
        assert_eq!(ask(router, page).await.problem(), (403, String::new()), "{path}");
        let nameless = Request::builder().uri(path).body(Body::empty()).unwrap();
        assert_eq!(ask(router, nameless).await.problem(), (400, "Host".into()), "{path}");
    }
}

#[tokio::test]
async fn latest_is_the_newest_accepted_fix() {
    let api = Api::start();
    let body = r#"{"latitude":52.1,"longitude":21,"timestamp":"2024-02-16T14:17:04Z","speed":8.3,"altitude":112.5}"#;
    api.post("/v1/drivers/d1/location", body).await;
    api.drive("d1", &[(50.0, 20.0, -60)]).await;
    let answer = api.get("/v1/drivers/d1/location").await;
    let wanted = json!({"driver_id": "d1", "latitude": 52.1, "longitude": 21, "timestamp": "2024-02-16T14:17:04Z",
        "received_at": "2024-02-16T14:17:10Z", "speed": 8.3, "altitude": 112.5});
    assert_eq!((answer.status.as_u16(), answer.json()), (200, wanted));
}

fn ids(answer: &Answer) -> Vec<String> {
    let answer = answer.json();
    let drivers = answer["drivers"].as_array().unwrap();
    assert_eq!(answer["count"], drivers.len());
    drivers.iter().map(|driver| driver["driver_id"].as_str().unwrap().into()).collect()
}

#[tokio::test]
async fn nearest_filters_by_status_and_age() {
    let api = Api::start();
    api.drive("old", &[(52.0, 21.0, 0)]).await;
    api.clock.set(TimestampMs(NOW.0 + 301_000));
    api.drive("far", &[(52.2, 21.0, 300)]).await;
    api.drive("near", &[(52.1, 21.0, 300)]).await;
    api.clock.set(TimestampMs(NOW.0 + 304_200));

    let near = api.get("/v1/drivers/nearest?lat=52&lon=21").await;
    assert_eq!(ids(&near), ["near", "far"]);
    let first = &near.json()["drivers"][0];
    assert_eq!((first["age_s"].as_f64(), first["status"].as_str()), (Some(3.2), Some("available")));
    let distance_m = first["distance_m"].as_f64().unwrap();
    assert!((11_000.0..11_200.0).contains(&distance_m), "{distance_m}");

    let asked = async |query: &str| ids(&api.get(&format!("/v1/drivers/nearest?lat=52&lon=21&{query}")).await);
    assert_eq!(asked("limit=1").await, ["near"]);
    assert_eq!(asked("radius_m=15000").await, ["near"]);
    assert_eq!(asked("status=offline").await, ["old"]);
    assert_eq!(asked("status=available").await, ["near", "far"]);
    assert_eq!(asked("status=on_shipment").await, Vec::<String>::new());
    assert_eq!(asked("max_age_s=1000").await, ["old", "near", "far"]);
    assert_eq!(asked("max_age_s=1").await, Vec::<String>::new());
    let old = api.get("/v1/drivers/nearest?lat=52&lon=21&status=offline").await.json();
    assert_eq!(old["drivers"][0]["status"], "offline");
    assert_eq!(api.get("/v1/drivers/nearest?lat=52&lon=21&status=asleep").await.problem(), (400, "status".into()));
    assert_eq!(api.get("/v1/drivers/nearest?lat=52").await.problem(), (400, "lon".into()));
}

#[tokio::test]
async fn within_finds_all_inside() {
    let api = Api::start();
    api.drive("in", &[(52.0, 21.0, 0)]).await;
    api.drive("out", &[(40.0, 21.0, 0)]).await;
    api.drive("fiji", &[(-17.0, 179.9, 0)]).await;
    let inside = api.get("/v1/drivers/within?bbox=20,51,22,53").await;
    assert_eq!(ids(&inside), ["in"]);
    assert_eq!(inside.json()["drivers"][0].get("distance_m"), None);
    assert_eq!(ids(&api.get("/v1/drivers/within?bbox=170,-20,-170,-10").await), ["fiji"]);
    let polygon = r#"{"type":"Polygon","coordinates":[[[20,51],[22,51],[22,53],[20,53],[20,51]]]}"#;
    assert_eq!(ids(&api.post("/v1/drivers/within", polygon).await), ["in"]);

    let some = api.get("/v1/drivers/within?bbox=-180,-90,180,90&limit=2").await.json();
    assert_eq!((&some["count"], &some["truncated"]), (&json!(2), &json!(true)));
    let all = api.get("/v1/drivers/within?bbox=-180,-90,180,90&limit=3").await.json();
    assert_eq!((&all["count"], all.get("truncated")), (&json!(3), None));

    assert_eq!(api.get("/v1/drivers/within").await.problem(), (400, "bbox".into()));
    assert_eq!(api.get("/v1/drivers/within?bbox=1,2,3").await.problem(), (400, "bbox".into()));
    assert_eq!(api.post("/v1/drivers/within", "hello").await.problem(), (400, String::new()));
    assert_eq!(api.post("/v1/drivers/within", r#"{"type":"Point"}"#).await.problem(), (400, "type".into()));
}

#[tokio::test]
async fn tracks_are_half_open_and_oldest_first() {
    let api = Api::start();
    api.drive("d1", &[(52.0, 21.0, 0), (52.1, 21.0, 10), (52.2, 21.0, 20), (51.9, 21.0, -10)]).await;
    let times = async |query: &str| {
        let page = api.get(&format!("/v1/drivers/d1/track?{query}")).await.json();
        let seconds = |fix: &Value| fix["timestamp"].as_str().unwrap()[17..19].parse::<u32>().unwrap();
        page["fixes"].as_array().unwrap().iter().map(seconds).collect::<Vec<_>>()
    };
    assert_eq!(times("").await, [0, 10, 20, 30]);
    assert_eq!(times("from=2024-02-16T14:17:10Z&to=2024-02-16T14:17:30Z").await, [10, 20]);
    assert_eq!(times("from=1708093030&to=1708093050000").await, [10, 20]);
    assert_eq!(times("from=1708093060").await, Vec::<u32>::new());
    assert_eq!(api.get("/v1/drivers/d1/track?limit=0").await.problem(), (400, "limit".into()));
}

#[tokio::test]
async fn pages_join_up_whatever_comes_between() {
    let api = Api::start();
    api.drive("d1", &[(52.0, 21.0, 0), (52.1, 21.0, 10), (52.2, 21.0, 20), (52.3, 21.0, 30)]).await;
    let first = api.get("/v1/drivers/d1/track?limit=2").await.json();
    assert_eq!(first["fixes"].as_array().unwrap().len(), 2);
    // One late fix before the cursor and one behind it.
    api.drive("d1", &[(52.05, 21.0, 5), (52.15, 21.0, 15)]).await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = api.get(&format!("/v1/drivers/d1/track?limit=3&cursor={cursor}")).await.json();
    let latitudes: Vec<_> = second["fixes"].as_array().unwrap().iter().map(|fix| fix["latitude"].as_f64()).collect();
    assert_eq!(latitudes, [Some(52.15), Some(52.2), Some(52.3)]);
    assert_eq!(second["next_cursor"], Value::Null);
}

#[tokio::test]
async fn every_form_pages() {
    let api = Api::start();
    api.drive("d1", &[(52.0, 21.0, 0), (52.1, 21.0, 10), (52.2, 21.0, 20)]).await;
    for (name, content_type) in [
        ("json", "application/json"),
        ("geojson", "application/geo+json"),
        ("csv", "text/csv; charset=utf-8; header=present"),
        ("gpx", "application/gpx+xml"),
    ] {
        let page = api.get(&format!("/v1/drivers/d1/track?limit=2&format={name}&from=0")).await;
        assert_eq!((page.status.as_u16(), page.header("content-type")), (200, content_type));
        let cursor = page.header("rhumb-next-cursor");
        let link = format!("</v1/drivers/d1/track?limit=2&format={name}&from=0&cursor={cursor}>; rel=\"next\"");
        assert_eq!(page.header("link"), link);

        let mut by_accept = request(Method::GET, "/v1/drivers/d1/track", Body::empty());
        by_accept.headers_mut().insert("accept", content_type.parse().unwrap());
        let all = ask(&api.router, by_accept).await;
        assert_eq!(
            (all.header("content-type"), all.header("link"), all.header("rhumb-next-cursor")),
            (content_type, "", "")
        );
        assert_eq!(all.header("vary"), "accept");
    }
    assert_eq!(api.get("/v1/drivers/d1/track?format=xml").await.problem(), (400, "format".into()));
    let page = api.get("/v1/drivers/d1/track?format=csv&limit=2").await;
    assert_eq!(page.text().lines().count(), 3);
}

#[tokio::test]
async fn a_gpx_track_reads_as_xml() {
    let api = Api::start();
    api.drive("d:1", &[(52.0, 21.0, 0), (52.1, -180.0, 10)]).await;
    let text = api.get("/v1/drivers/d:1/track?format=gpx").await.text();
    let mut reader = quick_xml::Reader::from_str(&text);
    let mut points = 0;
    loop {
        match reader.read_event().unwrap() {
            quick_xml::events::Event::Start(tag) if tag.name().as_ref() == "trkpt" => points += 1,
            quick_xml::events::Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(points, 2);
}

#[tokio::test]
async fn an_engine_that_stopped_is_503_and_says_when_to_come_back() {
    let mut api = Api::start();
    api.drive("d1", &[(52.0, 21.0, 0)]).await;
    api.stop();
    let refused = api.post("/v1/drivers/d1/location", r#"{"latitude":1,"longitude":2}"#).await;
    assert_eq!((refused.problem().0, refused.header("retry-after")), (503, "1"));
    assert_eq!(api.get("/v1/drivers/d1/track").await.problem().0, 503);
}

#[tokio::test]
async fn one_tenant_too_many_is_refused() {
    let api = Api::start();
    let mut statuses = Vec::new();
    for tenant in ["a", "b", "c", "a"] {
        let mut post = request(Method::POST, "/v1/drivers/d1/location", r#"{"latitude":1,"longitude":2}"#);
        post.headers_mut().insert("x-tenant", tenant.parse().unwrap());
        statuses.push(ask(&api.router, post).await.status.as_u16());
    }
    assert_eq!(statuses, [202, 202, 403, 202]);
}

#[tokio::test]
async fn what_cannot_be_read_is_in_the_books() {
    let api = Api::start();
    api.post("/v1/drivers/d1/location", "hello").await;
    let body =
        r#"[{"latitude":1,"longitude":2,"timestamp":1708093024},{"latitude":0,"longitude":0,"timestamp":1708093024}]"#;
    api.post("/v1/drivers/d1/location", body).await;
    let ingress = api.ingress.clone();
    let router = operator(|operator| {
        operator.collect.push(Box::new(move |page| collect_fixes(&ingress.books(), page)));
    });
    let text = ask(&router, request(Method::GET, "/metrics", Body::empty())).await.text();
    for line in [
        r#"rhumb_fixes_received_total{tenant="default"} 3"#,
        r#"rhumb_fixes_stored_total{tenant="default"} 1"#,
        r#"rhumb_fixes_duplicate_total{tenant="default"} 0"#,
        r#"rhumb_fixes_rejected_total{tenant="default",reason="malformed"} 1"#,
        r#"rhumb_fixes_rejected_total{tenant="default",reason="null_island"} 1"#,
        r#"rhumb_fixes_in_flight{tenant="default"} 0"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_503() {
    let slow = Router::new().route("/", axum::routing::get(std::future::pending::<()>));
    let router = finish(slow, Guard { authority: Authority::open(), is_operators: false }, Duration::from_millis(20));
    let answer = ask(&router, request(Method::GET, "/", Body::empty())).await;
    assert_eq!((answer.problem().0, answer.header("retry-after")), (503, "1"));
}

fn operator(prepare: impl FnOnce(&mut Operator)) -> Router {
    let mut operator = Operator::default();
    prepare(&mut operator);
    operator_router(operator, Authority::open(), &Config::default())
}

#[tokio::test]
async fn health_answers_and_readyz_says_why_not() {
    let fit = operator(|_| {});
    for (path, status) in [("/health", "ok"), ("/readyz", "ready")] {
        let answer = ask(&fit, request(Method::GET, path, Body::empty())).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({"status": status})), "{path}");
    }
    let unfit = operator(|operator| operator.readiness.add("journal", || Err("the disk is full".into())));
    let answer = ask(&unfit, request(Method::GET, "/readyz", Body::empty())).await;
    let wanted = json!({"status": "unready", "unready": [{"part": "journal", "reason": "the disk is full"}]});
    assert_eq!((answer.status.as_u16(), answer.json()), (503, wanted));
    assert_eq!(ask(&unfit, request(Method::GET, "/health", Body::empty())).await.status, 200);
}

#[tokio::test]
async fn metrics_are_a_page_of_what_was_registered() {
    let router = operator(|operator| {
        operator.collect.push(Box::new(crate::telemetry::process::collect));
        operator.collect.push(Box::new(|page| {
            page.family("x_total", "X.", crate::telemetry::prometheus::Kind::Counter).sample(&[], 1);
        }));
    });
    let answer = ask(&router, request(Method::GET, "/metrics", Body::empty())).await;
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert!(answer.text().starts_with("# HELP rhumb_build_info"));
    assert!(answer.text().ends_with("\nx_total 1\n"));
}

#[tokio::test]
async fn a_compressed_body_is_told_so_and_not_read_as_a_fix() {
    let api = Api::start();
    let mut request = request(Method::POST, "/v1/drivers/d1/location", r#"{"latitude":52,"longitude":21}"#);
    request.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    assert_eq!(ask(&api.router, request).await.problem().0, 415);
}

//! HTTP: what each role gets, what nobody gets without credentials, and the operator's port.

use super::{Guarded, bearer, run_with_input};
use crate::support::http::request;
use crate::support::native_fix;

#[test]
fn every_role_gets_its_own_and_no_more() {
    let mut guarded = Guarded::start(&[]);
    let device = guarded.device("acme", "d1");
    let tokens = [
        ("driver", guarded.token("acme", "driver", &["--driver", "d1"])),
        ("device", device),
        ("dispatcher", guarded.token("acme", "dispatcher", &[])),
        ("ops_admin", guarded.token("acme", "ops_admin", &[])),
        ("foreign", guarded.token("blue", "ops_admin", &[])),
    ];
    let admin = &tokens[3].1;
    let http = guarded.rhumb.http();
    for driver in ["d1", "d2"] {
        let path = format!("/v1/drivers/{driver}/location");
        assert_eq!(bearer(http, "POST", &path, admin, &native_fix(1)).json(202)["accepted"], 1);
        bearer(http, "POST", &path, admin, r#"{"latitude":0,"longitude":0}"#).json(202);
    }
    let polygon = r#"{"type":"Polygon","coordinates":[[[20,51],[22,51],[22,53],[20,53],[20,51]]]}"#;
    let fix = native_fix(1);
    // What is asked, and the statuses for driver, device, dispatcher, ops_admin and another tenant's ops_admin.
    let cases: [(&str, &str, &str, [u16; 5]); 19] = [
        ("GET", "/v1/drivers/d1/location", "", [200, 200, 200, 200, 404]),
        ("GET", "/v1/drivers/d2/location", "", [403, 403, 200, 200, 404]),
        ("GET", "/v1/drivers/d9/location", "", [403, 403, 404, 404, 404]),
        ("GET", "/v1/drivers/d1/track", "", [200, 200, 200, 200, 404]),
        ("GET", "/v1/drivers/d2/track", "", [403, 403, 200, 200, 404]),
        ("GET", "/v1/drivers/d1/rejections", "", [200, 200, 403, 200, 404]),
        ("GET", "/v1/drivers/d2/rejections", "", [403, 403, 403, 200, 404]),
        ("GET", "/v1/drivers/nearest?lat=52&lon=21&status=offline", "", [403, 403, 200, 200, 200]),
        ("GET", "/v1/drivers/within?bbox=20,51,22,53", "", [403, 403, 200, 200, 200]),
        ("POST", "/v1/drivers/within", polygon, [403, 403, 200, 200, 200]),
        ("POST", "/v1/drivers/d1/location", &fix, [202, 202, 403, 202, 202]),
        ("POST", "/v1/drivers/d2/location", &fix, [403, 403, 403, 202, 202]),
        ("PUT", "/v1/geofences/depot", polygon, [403, 403, 201, 200, 201]),
        ("GET", "/v1/geofences/depot", "", [403, 403, 200, 200, 200]),
        ("GET", "/v1/geofences", "", [403, 403, 200, 200, 200]),
        ("GET", "/v1/geofences/events", "", [403, 403, 200, 200, 200]),
        ("DELETE", "/v1/geofences/depot", "", [403, 403, 204, 404, 204]),
        ("GET", "/osmand?id=d1&lat=52&lon=21&timestamp=1700000001", "", [200, 200, 403, 200, 200]),
        ("GET", "/osmand?id=d2&lat=52&lon=21&timestamp=1700000001", "", [403, 403, 403, 200, 200]),
    ];
    for (method, path, body, statuses) in cases {
        for ((name, token), status) in tokens.iter().zip(statuses) {
            let answer = bearer(http, method, path, token, body);
            assert_eq!(answer.status, status, "{name} {method} {path}: {}", answer.text());
            if status == 204 {
                continue;
            }
            if status >= 400 {
                answer.problem(status);
            }
            // What the other tenant sees are the fixes that it stored itself, further below.
            assert!(*name != "foreign" || method == "POST" || !answer.text().contains("52.00001"), "{path}");
        }
    }
}

#[test]
fn without_credentials_there_is_nothing_but_what_to_bring() {
    let mut guarded = Guarded::start(&[]);
    let good = guarded.token("acme", "ops_admin", &[]);
    let expired = guarded.token_for_s("acme", "ops_admin", "d1", -10.0);
    let http = guarded.rhumb.http();
    let challenge = "Bearer realm=\"rhumb\"";
    for path in
        ["/v1/drivers/d1/location", "/v1/drivers/nearest?lat=52&lon=21", "/nowhere", "/osmand?id=d1&lat=1&lon=1"]
    {
        let answer = request(http, "GET", path, &[("X-Tenant", "acme")], b"");
        answer.problem(401);
        assert_eq!(answer.header("www-authenticate"), Some(challenge), "{path}");
        // It ends what the failure began.
        assert_ne!(bearer(http, "GET", path, &good, "").status, 401);
    }
    for (token, detail) in
        [(expired.as_str(), "the token has expired"), ("x", "not good here"), (&good[..60], "not good here")]
    {
        let answer = bearer(http, "GET", "/v1/drivers/d1/location", token, "");
        assert!(answer.problem(401)["detail"].as_str().unwrap().contains(detail));
        assert_eq!(answer.header("www-authenticate").unwrap(), format!("{challenge}, error=\"invalid_token\""));
        assert_ne!(bearer(http, "GET", "/v1/drivers/d1/location", &good, "").status, 401);
    }
    let authorization = format!("Bearer {good}");
    let other = [("Authorization", authorization.as_str()), ("X-Tenant", "blue")];
    request(http, "GET", "/v1/drivers/d1/location", &other, b"").problem(403);
    let own = [("Authorization", authorization.as_str()), ("X-Tenant", "acme"), ("Host", "rhumb.example")];
    request(http, "GET", "/v1/drivers/d9/location", &own, b"").problem(404);
    assert!(guarded.failures("missing") >= 4.0 && guarded.failures("expired_token") == 1.0);
}

/// Base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |group: &[u8]| {
        let bits = group.iter().chain(&[0; 3]).take(3).fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let digit = |place: usize| {
            if place <= group.len() { ALPHABET[(bits >> (18 - 6 * place) & 63) as usize] as char } else { '=' }
        };
        (0..4).map(digit).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

#[test]
fn phones_come_in_with_basic_authentication_and_are_the_driver_of_their_credentials() {
    let mut guarded = Guarded::start(&[]);
    let data_dir = guarded.rhumb.data_dir();
    let add = ["device", "add", "--tenant", "acme", "--driver", "phone", "--role", "driver", "--password-stdin"];
    let said = run_with_input(&data_dir, &add, "correct horse\n");
    assert!(said.status.success() && said.stdout.is_empty(), "{said:?}");
    guarded.secrets.push("correct horse".to_owned());
    guarded.await_devices();
    let http = guarded.rhumb.http();
    let basic = |user_and_password: &str| format!("Basic {}", base64(user_and_password.as_bytes()));
    let (right, wrong) = (basic("acme/phone:correct horse"), basic("acme/phone:wrong"));
    let osmand = |authorization: &str, query: &str| {
        let path = format!("/osmand?{query}lat=52&lon=21&timestamp=1700000001");
        request(http, "GET", &path, &[("Authorization", authorization)], b"")
    };
    for (query, status) in [("id=phone&", 200), ("", 200), ("id=other&", 403)] {
        assert_eq!(osmand(&right, query).status, status, "{query}");
    }
    osmand(&wrong, "").problem(401);
    // Its user and device are names of the app's.
    let message = br#"{"_type":"location","topic":"owntracks/jane/iphone","lat":52.5,"lon":21.5,"tst":1700000002}"#;
    let owntracks = |headers: &[(&str, &str)]| request(http, "POST", "/owntracks", headers, message).status;
    assert_eq!(owntracks(&[("Authorization", &right)]), 200);
    assert_eq!(owntracks(&[("Authorization", &right), ("X-Limit-U", "jane"), ("X-Limit-D", "iphone")]), 200);
    assert_eq!(owntracks(&[("Authorization", &right), ("Origin", "http://evil.example")]), 403);
    // Nowhere else, where a browser would send it along for any page.
    let location = |authorization: &str| {
        request(http, "GET", "/v1/drivers/phone/location", &[("Authorization", authorization)], b"")
    };
    location(&right).problem(401);
    let driver = guarded.token("acme", "driver", &["--driver", "phone"]);
    let at = location(&format!("Bearer {driver}")).json(200);
    assert_eq!((at["driver_id"].as_str(), at["latitude"].as_f64()), (Some("phone"), Some(52.5)));
    // A password that somebody chose names nobody: it is no bearer token.
    location("Bearer correct horse").problem(401);
}

#[test]
fn the_operators_port_is_for_operators_and_probes() {
    let mut guarded = Guarded::start(&["auth.operator_tenant=ops"]);
    let admin = guarded.rhumb.admin();
    let operator = guarded.token("ops", "ops_admin", &["--ttl", "365d"]);
    let prometheus =
        guarded.secret_of(&["device", "add", "--tenant", "ops", "--name", "prometheus", "--role", "ops_admin"]);
    guarded.await_devices();
    for path in ["/health", "/readyz"] {
        assert_eq!(request(admin, "GET", path, &[], b"").status, 200, "{path}");
    }
    for path in ["/metrics", "/admin/backup", "/nowhere"] {
        request(admin, "GET", path, &[], b"").problem(401);
        for (tenant, role) in [("ops", "dispatcher"), ("acme", "ops_admin")] {
            let token = guarded.token(tenant, role, &[]);
            bearer(admin, "GET", path, &token, "").problem(403);
        }
        for token in [&operator, &prometheus] {
            let wanted = if path == "/nowhere" { 404 } else { 200 };
            assert_eq!(bearer(admin, "GET", path, token, "").status, wanted, "{path}");
        }
    }

    let backup = tempfile::tempdir().unwrap();
    let into = backup.path().join("copy");
    let said = guarded.rhumb.run(&[
        "backup",
        into.to_str().unwrap(),
        "--set",
        super::REQUIRED,
        "--set",
        "auth.operator_tenant=ops",
    ]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert!(into.join("journal").is_dir());
}

#[test]
fn what_cannot_be_read_as_credentials_is_counted_as_well() {
    let mut guarded = Guarded::start(&[]);
    let http = guarded.rhumb.http();
    for (n, authorization) in ["Digest x", "Bearer", "Basic eDp5"].into_iter().enumerate() {
        request(http, "GET", "/v1/drivers/d1/location", &[("Authorization", authorization)], b"").problem(401);
        assert_eq!(guarded.failures("malformed"), n as f64 + 1.0, "{authorization}");
    }
}

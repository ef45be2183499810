use std::fs;

use toml::{Table, Value};

use super::*;

fn load(file: &str, environment: &[(&str, &str)], sets: &[&str]) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rhumb.toml");
    fs::write(&path, file).unwrap();
    let sources = Sources {
        file: Some(path),
        environment: environment.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        sets: sets.iter().map(|text| text.to_string()).collect(),
    };
    let dir_prefix = format!("{}/", dir.path().display());
    Config::load(&sources).map_err(|invalid| invalid.to_string().replace(&dir_prefix, ""))
}

fn leaves(section: &Table, prefix: &str, found: &mut Vec<(String, Value)>) {
    for (name, value) in section {
        let key = format!("{prefix}{name}");
        match value {
            Value::Table(inner) => leaves(inner, &format!("{key}."), found),
            _ => found.push((key, value.clone())),
        }
    }
}

fn leaves_of(table: &Table) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    leaves(table, "", &mut found);
    found
}

/// A file, an environment, some `--set`, and how the message begins.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a str], &'a str);

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config.toml");

#[test]
fn the_shipped_file_holds_every_key_at_its_default() {
    let shipped: Table = fs::read_to_string(SHIPPED).unwrap().parse().unwrap();
    let defaults = Table::try_from(Config::default()).unwrap();
    assert_eq!(leaves_of(&shipped), leaves_of(&defaults));
    let sources = Sources { file: Some(SHIPPED.into()), ..Sources::default() };
    assert_eq!(Config::load(&sources).unwrap(), Config::default());
}

#[test]
fn the_shipped_file_comments_every_key() {
    let text = fs::read_to_string(SHIPPED).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    // Of a list only the first entry.
    let (mut header, mut is_further) = ("", false);
    for (number, pair) in lines.windows(2).enumerate() {
        if pair[1].starts_with('[') {
            is_further = pair[1].starts_with("[[") && pair[1] == header;
            header = pair[1];
        }
        if pair[1].contains(" = ") && !pair[1].starts_with('#') && !is_further {
            assert!(pair[0].starts_with("# "), "config.toml line {}: no comment above it", number + 2);
        }
    }
}

#[test]
fn every_number_has_a_range_and_its_default_is_inside() {
    let defaults = leaves_of(&Table::try_from(Config::default()).unwrap());
    for (key, value) in &defaults {
        if let Value::Integer(number) = value {
            let range = keys::range(key).unwrap_or_else(|| panic!("{key} has no range"));
            assert!(range.contains(number), "{key} = {number}");
        }
    }
    for key in keys::ranged() {
        assert!(defaults.iter().any(|(name, _)| name == key), "a range for {key}, which is no key");
    }
}

#[test]
fn what_is_printed_is_read_back() {
    let rule = r##"mqtt.acl=[{role="*",action="all",effect="deny",topic="{driver}/+/#"}]"##;
    let config = load("[mqtt]\nlisten = \"127.0.0.1:0\"\n", &[], &["store.enabled=false", rule]).unwrap();
    assert_eq!(config.mqtt.acl.len(), 1);
    assert_eq!(load(&config.to_toml(), &[], &[]).unwrap(), config);
}

#[test]
fn the_environment_wins_over_the_file_and_the_command_line_over_both() {
    let file = "data_dir = \"file\"\n[mqtt]\nworkers = 1\nin_flight_max = 1\nconnect_timeout_s = 1\n[store]\n";
    let environment =
        [("RHUMB_MQTT__WORKERS", "2"), ("RHUMB_MQTT__IN_FLIGHT_MAX", "2"), ("HOME", "/"), ("RHUMB_LOG", "debug")];
    let config =
        load(file, &environment, &["mqtt.workers=3", "http.listen=[::1]:80", "store.enabled = false"]).unwrap();
    assert_eq!(config.data_dir, PathBuf::from("file"));
    assert_eq!((config.mqtt.connect_timeout_s, config.mqtt.in_flight_max, config.mqtt.workers), (1, 2, 3));
    assert_eq!(config.http.listen.to_string(), "[::1]:80");
    assert!(!config.store.enabled);
}

#[test]
fn a_mistake_is_told_with_its_place_and_what_is_wanted() {
    let cases: &[Case<'_>] = &[
        (
            "\n[mqtt]\npacket_bytes = 5\n",
            &[],
            &[],
            "rhumb.toml line 3: mqtt.packet_bytes: found an unknown key, wants in [mqtt] one of acl, connect_timeout_s, ",
        ),
        (
            "[mqqt]\nlisten = 1\n",
            &[],
            &[],
            "rhumb.toml line 2: mqqt.listen: found an unknown key, wants at the top one of admin, auth, ",
        ),
        ("[mqqt]\n", &[], &[], "rhumb.toml line 1: mqqt: found an unknown key, wants at the top one of "),
        ("[data_dir]\nx = 1\n", &[], &[], "rhumb.toml line 2: data_dir.x: found an unknown key"),
        ("mqtt = 5\n", &[], &[], "rhumb.toml line 1: mqtt: found 5 (integer), wants a section with the keys "),
        (
            "\n\n[journal]\n# why\nsegment_bytes = 7",
            &[],
            &[],
            "rhumb.toml line 5: journal.segment_bytes: found 7, wants a whole number from 1048576 to 4294967296",
        ),
        (
            "[mqtt]\nin_flight_max = \"9\"",
            &[],
            &[],
            "rhumb.toml line 2: mqtt.in_flight_max: found \"9\" (string), wants a whole number from 1 to 65535",
        ),
        ("[mqtt]\nworkers = 99999999999999999999", &[], &[], "rhumb.toml line 2: mqtt.workers: found"),
        (
            "[mqtt]\nlisten = \"localhost\"",
            &[],
            &[],
            "rhumb.toml line 2: mqtt.listen: found \"localhost\", wants an address and a port, such as \"127.0.0.1:1883\"",
        ),
        (
            "[mqtt.websocket.tls]\ncertificate_origins = [\"https://a/\"]",
            &[],
            &[],
            "rhumb.toml line 2: mqtt.websocket.tls.certificate_origins: found a text that is no origin, or too many, wants at most 64 origins",
        ),
        ("[store]\nenabled = 1", &[], &[], "rhumb.toml line 2: store.enabled: found 1 (integer), wants true or false"),
        ("[auth]\nmode = \"none\"", &[], &[], "rhumb.toml line 2: auth.mode: found \"none\", wants \"open\""),
        (
            "[journal]\nsync = \"never\"",
            &[],
            &[],
            "rhumb.toml line 2: journal.sync: found \"never\", wants \"always\" or \"interval\"",
        ),
        (
            "[journal]\nretention = \"1w\"",
            &[],
            &[],
            "rhumb.toml line 2: journal.retention: found \"1w\", wants a duration such as \"0s\", \"90s\", ",
        ),
        (
            "[journal]\non_full = \"drop\"",
            &[],
            &[],
            "rhumb.toml line 2: journal.on_full: found \"drop\", wants \"refuse\" or \"abandon_sink\"",
        ),
        (
            "[journal]\nbytes_max = 1000000000",
            &[],
            &[],
            "rhumb.toml line 2: journal.bytes_max: found 1000000000, wants room for four segments, 1073741824 while \
             journal.segment_bytes is 268435456",
        ),
        (
            "[[mqtt.ingest]]\ntopic = \"a/{b}\"\ncodec = \"flespi\"\n",
            &[],
            &[],
            "rhumb.toml line 1: mqtt.ingest: found missing field `driver`, wants entries with a topic, a codec, ",
        ),
        (
            "\n[[mqtt.ingest]]\ntopic = \"a/{b}\"\ncodec = \"flespi\"\ndriver = \"{b}\"\nqos = 1\n",
            &[],
            &[],
            "rhumb.toml line 2: mqtt.ingest: found unknown field `qos`",
        ),
        (
            "[[mqtt.ingest]]\ntopic = \"a/{b}\"\ncodec = \"flespi\"\ndriver = \"{c}\"\n",
            &[],
            &[],
            "rhumb.toml line 1: mqtt.ingest.driver: found \"{c}\" for the topic \"a/{b}\", wants in braces only names of its \
             topic ({b})",
        ),
        (
            "",
            &[],
            &["mqtt.ingest=[{topic=\"tenant/{t}/driver/{d}/location\",codec=\"native\",driver=\"{d}\"}]"],
            "--set mqtt.ingest=[{topic=\"tenant/{t}/driver/{d}/location\",codec=\"native\",driver=\"{d}\"}]: mqtt.ingest.topic: \
             found \"tenant/{t}/driver/{d}/location\", wants topics that are not of the shape tenant/+/driver/+/location",
        ),
        (
            "[mqtt]\nover_rate = \"lose\"",
            &[],
            &[],
            "rhumb.toml line 2: mqtt.over_rate: found \"lose\", wants \"delay\" or \"drop\"",
        ),
        (
            "[[mqtt.acl]]\nrole = \"boss\"\naction = \"all\"\neffect = \"deny\"\ntopic = \"a/#\"\n",
            &[],
            &[],
            "rhumb.toml line 1: mqtt.acl.role: found \"boss\" in entry 1, wants one of ops_admin, dispatcher, driver, device, or *",
        ),
        (
            "[[mqtt.acl]]\nrole = \"*\"\ntopic = \"a/#\"\n",
            &[],
            &[],
            "rhumb.toml line 1: mqtt.acl: found missing field `action`, wants entries with a role, an action, an effect and a ",
        ),
        ("[mqtt]\n\nlisten = \n", &[], &[], "rhumb.toml line 3: found "),
        ("[mqtt]\nworkers = 1\nworkers = 2\n", &[], &[], "rhumb.toml line 3: found duplicate key"),
        (
            "",
            &[("RHUMB_MQTT__WORKERS", "two")],
            &[],
            "environment variable RHUMB_MQTT__WORKERS: mqtt.workers: found \"two\", wants a whole number from 0 to 256",
        ),
        (
            "",
            &[("RHUMB_MQTT_LISTEN", "127.0.0.1:1")],
            &[],
            "environment variable RHUMB_MQTT_LISTEN: mqtt_listen: found an unknown key",
        ),
        (
            "",
            &[],
            &["rules.future_s=-1"],
            "--set rules.future_s=-1: rules.future_s: found -1, wants a whole number from 0 to ",
        ),
        ("", &[], &["workers"], "--set workers: found no =, wants section.key=value"),
        ("", &[], &["=1"], "--set =1: : found an unknown key"),
        (
            "[http]\nlisten = \"0.0.0.0:8080\"",
            &[],
            &[],
            "rhumb.toml line 2: http.listen: found \"0.0.0.0:8080\", wants a loopback address while auth.mode is \"open\"",
        ),
        (
            "",
            &[("RHUMB_ADMIN__LISTEN", "10.0.0.1:1")],
            &[],
            "environment variable RHUMB_ADMIN__LISTEN: admin.listen: found \"10.0.0.1:1\", wants a loopback address",
        ),
        (
            "[auth]\nmode = \"required\"\n[http]\nlisten = \"10.0.0.1:2\"\n[admin]\nlisten = \"10.0.0.1:1\"",
            &[],
            &[],
            "rhumb.toml line 6: admin.listen: found \"10.0.0.1:1\", wants a loopback address while auth.operator_tenant is \"\"",
        ),
    ];
    for (file, environment, sets, expected) in cases {
        let message = load(file, environment, sets).expect_err(expected);
        assert!(message.starts_with(expected), "\nexpected {expected}\nfound    {message}");
    }
}

#[test]
fn a_file_that_is_named_has_to_exist() {
    let sources = Sources { file: Some("no/such.toml".into()), ..Sources::default() };
    let message = Config::load(&sources).unwrap_err().to_string();
    assert!(message.starts_with("no/such.toml: found No such file"), "{message}");
}

#[test]
fn a_tenant_has_the_rules_of_all_but_for_its_own() {
    let file =
        "[tenant.acme.rules]\nnull_island = false\nfuture_s = 7\n\n[rules]\nfuture_s = 5\npast_s = 6\n[tenant.none]\n";
    let environment = [("RHUMB_TENANT__GLOBEX__RULES__PAST_S", "8")];
    let config = load(file, &environment, &["tenant.Acme-2.rules.past_s=9", "tenant.acme.rules.future_s=10"]).unwrap();
    let book = config.rule_book();
    let rules = |tenant| {
        let rules = book.of(&crate::ids::TenantId::new(tenant).unwrap());
        (rules.null_island, rules.future_s, rules.past_s)
    };
    assert_eq!(rules("acme"), (false, 10, 6));
    assert_eq!(rules("globex"), (true, 5, 8));
    assert_eq!(rules("Acme-2"), (true, 5, 9));
    assert_eq!(rules("none"), (true, 5, 6));
    assert_eq!(load(&config.to_toml(), &[], &[]).unwrap(), config);
}

#[test]
fn a_mistake_in_a_tenants_rules_is_told_like_any_other() {
    let cases: &[Case<'_>] = &[
        (
            "[tenant.acme.rules]\nspeed = 1",
            &[],
            &[],
            "rhumb.toml line 2: tenant.acme.rules.speed: found an unknown key, wants in [tenant.acme.rules] one of ",
        ),
        (
            "[tenant.acme]\nfuture_s = 1",
            &[],
            &[],
            "rhumb.toml line 2: tenant.acme.future_s: found an unknown key, wants in [tenant.acme] one of rules",
        ),
        (
            "[tenant]\nacme = 1",
            &[],
            &[],
            "rhumb.toml line 2: tenant.acme: found 1 (integer), wants a section with the keys rules",
        ),
        (
            "tenant = 1",
            &[],
            &[],
            "rhumb.toml line 1: tenant: found 1 (integer), wants a section for a tenant, such as ",
        ),
        (
            "[tenant.acme.rules]\nfuture_s = -1",
            &[],
            &[],
            "rhumb.toml line 2: tenant.acme.rules.future_s: found -1, wants a whole number from 0 to ",
        ),
        (
            "[tenant.acme.rules]\nno_fix = 0",
            &[],
            &[],
            "rhumb.toml line 2: tenant.acme.rules.no_fix: found 0 (integer), wants true or false",
        ),
        (
            "[tenant.\"a b\".rules]\nno_fix = true",
            &[],
            &[],
            "rhumb.toml line 2: tenant.a b.rules.no_fix: found \"a b\", wants the id of a tenant after \"tenant.\": ",
        ),
        (
            "[tenant.b.rules]\nno_fix = true\n[tenant.a.rules]\nno_fix = true",
            &[],
            &["registry.tenants_max=1"],
            "rhumb.toml line 2: tenant.b: found rules for 2 tenants, wants at most 1, as registry.tenants_max allows",
        ),
        (
            "",
            &[],
            &["tenant.acme.rules.future_s=soon"],
            "--set tenant.acme.rules.future_s=soon: tenant.acme.rules.future_s: found \"soon\", wants a whole number",
        ),
    ];
    for (file, environment, sets, expected) in cases {
        let message = load(file, environment, sets).expect_err(expected);
        assert!(message.starts_with(expected), "\nexpected {expected}\nfound    {message}");
    }
}

#[test]
fn listeners_that_are_off_by_default_are_held_to_the_same_rules() {
    let cases: &[Case<'_>] = &[
        (
            "[mqtt.tls]\nlisten = \"8883\"",
            &[],
            &[],
            "rhumb.toml line 2: mqtt.tls.listen: found \"8883\", wants an address and a port, such as \"127.0.0.1:8883\", or \
             \"\" for none",
        ),
        (
            "",
            &[("RHUMB_MQTT__TLS__CLIENT_CERTIFICATES", "maybe")],
            &[],
            "environment variable RHUMB_MQTT__TLS__CLIENT_CERTIFICATES: mqtt.tls.client_certificates: found \"maybe\", wants \
             \"none\", \"optional\" or \"required\"",
        ),
        (
            "[mqtt.websocket]\nlisten = \"0.0.0.0:8083\"",
            &[],
            &[],
            "rhumb.toml line 2: mqtt.websocket.listen: found \"0.0.0.0:8083\", wants a loopback address",
        ),
        (
            "[mqtt.websocket.tls]\nlisten = \"127.0.0.1:8084\"\n[mqtt.tls]\ncertificate = \"c.pem\"\nkey = \"\"",
            &[],
            &[],
            "rhumb.toml line 5: mqtt.tls.key: found \"\", wants a file in PEM",
        ),
        (
            "[mqtt.tls]\nlisten = \"127.0.0.1:8883\"\ncertificate = \"c.pem\"\nkey = \"k.pem\"",
            &[],
            &["mqtt.tls.client_certificates=optional"],
            "the defaults: mqtt.tls.client_ca: found \"\", wants a file in PEM",
        ),
    ];
    for (file, environment, sets, expected) in cases {
        let message = load(file, environment, sets).expect_err(expected);
        assert!(message.starts_with(expected), "\nexpected {expected}\nfound    {message}");
    }
    let listeners = [("tls", "[::1]:8883"), ("websocket", "127.0.0.1:8083"), ("websocket.tls", "127.0.0.1:8084")];
    let sets = listeners.map(|(section, address)| format!("mqtt.{section}.listen={address}"));
    let files = ["mqtt.tls.certificate=c.pem", "mqtt.tls.key=k.pem"];
    let sets: Vec<&str> = sets.iter().map(String::as_str).chain(files).collect();
    let config = load("", &[], &sets).unwrap();
    assert_eq!(config.mqtt.listeners().count(), 4);
    assert_eq!(load(&config.to_toml(), &[], &[]).unwrap(), config);
}

#[test]
fn the_operators_port_is_reached_from_elsewhere_by_a_tenant_of_its_own_only() {
    let file = "[auth]\nmode = \"required\"\noperator_tenant = \"ops\"\n[admin]\nlisten = \"10.0.0.1:1\"";
    assert_eq!(load(file, &[], &[]).unwrap().auth.operator_tenant, "ops");
}

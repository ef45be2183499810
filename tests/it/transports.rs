//! TLS, WebSocket and both, as real clients use and misuse them; what each listener takes.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::mqtt::{self, CONNACK, Client, PUBACK, VERSIONS, Version};
use crate::support::process::output_within;
use crate::support::rhumb::{self, Rhumb};
use crate::support::tls::{Authority, certificate};
use crate::support::{PATIENCE, native_fix, tools, topic, wait_for};

/// An engine with every listener on, and these settings beside.
fn start(authority: &Authority, sets: &[&str]) -> Rhumb {
    let all = authority.sets();
    let all: Vec<&str> = all.iter().map(String::as_str).chain(sets.iter().copied()).collect();
    Rhumb::start(&all)
}

/// Connections that ended for this reason.
fn closed(rhumb: &Rhumb, reason: &str) -> f64 {
    let sample = format!("rhumb_mqtt_connections_closed_total{{reason=\"{reason}\"}}");
    rhumb.metrics().get(&sample).copied().unwrap_or(0.0)
}

/// Reads until the server closes, and tells how long that took.
fn closes(mut stream: TcpStream, begun: Instant) -> Duration {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut rest = Vec::new();
    let read = stream.read_to_end(&mut rest);
    let is_late = read.is_err_and(|error| matches!(error.kind(), std::io::ErrorKind::WouldBlock));
    assert!(!is_late, "not closed within {PATIENCE:?}");
    begun.elapsed()
}

#[test]
fn mosquitto_speaks_tls_of_both_versions() {
    let authority = Authority::new();
    let rhumb = start(&authority, &[]);
    for (version, tls) in VERSIONS.into_iter().flat_map(|version| [(version, "tlsv1.2"), (version, "tlsv1.3")]) {
        let ca = authority.text("ca.pem");
        let options = ["--cafile", &ca, "--tls-version", tls];
        let driver = format!("{version:?}-{}", tls.replace('.', "-"));
        let topic = topic("default", &driver);
        let mut subscriber = tools::mosquitto_sub_with(rhumb.mqtt_tls(), version, &options, &topic, 1);
        let mut fixes = 0;
        wait_for("mosquitto_sub to have a message", || {
            fixes += 1;
            assert!(tools::mosquitto_pub_with(rhumb.mqtt_tls(), version, &options, &topic, &native_fix(fixes)));
            subscriber.try_wait().unwrap()
        });
        let said = subscriber.wait_with_output().unwrap();
        assert!(String::from_utf8_lossy(&said.stdout).starts_with(&topic), "{said:?}");
        assert_eq!(rhumb.track("default", &driver).len() as u64, fixes);
    }
    // Who does not trust the certificate does not come in, and whoever speaks no TLS does not either.
    let plain = native_fix(1);
    let topic = topic("default", "nobody");
    let other = Authority::new().text("ca.pem");
    assert!(!tools::mosquitto_pub_with(rhumb.mqtt_tls(), Version::V4, &["--cafile", &other], &topic, &plain));
    assert!(!tools::mosquitto_pub_with(rhumb.mqtt_tls(), Version::V4, &[], &topic, &plain));
    assert!(rhumb.track("default", "nobody").is_empty());
}

#[test]
fn clients_show_certificates_where_they_have_to() {
    let (authority, other) = (Authority::new(), Authority::new());
    authority.sign("truck-7", &["truck-7"]);
    other.sign("truck-7", &["truck-7"]);
    let ca = authority.text("ca.pem");
    let shown = |authority: &Authority| (authority.text("truck-7.pem"), authority.text("truck-7.key"));
    let (own, foreign) = (shown(&authority), shown(&other));
    for (asked, without, with_foreign) in [("required", false, false), ("optional", true, false), ("none", true, true)]
    {
        let rhumb = start(&authority, &[&format!("mqtt.tls.client_certificates={asked}")]);
        for tls in ["tlsv1.2", "tlsv1.3"] {
            let base = ["--cafile", &ca, "--tls-version", tls];
            let own = [&base[..], &["--cert", &own.0, "--key", &own.1]].concat();
            let foreign = [&base[..], &["--cert", &foreign.0, "--key", &foreign.1]].concat();
            for (options, may) in [(&base[..], without), (&own, true), (&foreign, with_foreign)] {
                let said = tools::mosquitto_pub_with(rhumb.mqtt_tls(), Version::V5, options, "any/topic", "x");
                assert_eq!(said, may, "{asked} {options:?}\n{}", rhumb.log());
            }
        }
        let refused = 2.0 * [without, with_foreign].iter().filter(|may| !**may).count() as f64;
        assert_eq!(closed(&rhumb, "tls_failed"), refused, "{asked}");
    }
}

#[test]
fn a_new_certificate_is_shown_to_new_connections_and_old_ones_stay() {
    let authority = Authority::new();
    let rhumb = start(&authority, &[]);
    let first = certificate(&authority.path("server.pem"));
    let mut old = authority.connect(rhumb.mqtt_tls()).unwrap();
    assert_eq!(old.shown(), first);
    old.say_connect(Version::V4, "old");
    let publish = |client: &mut crate::support::tls::TlsClient, n| {
        let packet = mqtt::publish(Version::V4, &topic("default", "d1"), native_fix(n).as_bytes(), 1, n as u16);
        client.send(&packet);
        assert_eq!(u64::from(client.expect(PUBACK).id()), n);
    };
    publish(&mut old, 1);

    authority.renew();
    let second = certificate(&authority.path("server.pem"));
    assert_ne!(first, second);
    for address in [rhumb.mqtt_tls(), rhumb.mqtt_websocket_tls()] {
        wait_for("the new certificate", || (authority.connect(address).unwrap().shown() == second).then_some(()));
    }
    publish(&mut old, 2);

    // Half of a pair is refused and changes nothing.
    fs::write(authority.path("server.key"), "no key").unwrap();
    wait_for("the refusal", || rhumb.log().contains("certificate refused").then_some(()));
    let mut new = authority.connect(rhumb.mqtt_tls()).unwrap();
    assert_eq!(new.shown(), second);
    new.say_connect(Version::V4, "new");
    publish(&mut new, 3);
    publish(&mut old, 4);
}

#[test]
fn paho_speaks_websocket_with_large_messages() {
    let authority = Authority::new();
    let rhumb = start(&authority, &[]);
    let ca = authority.text("ca.pem");
    for (address, authority) in [(rhumb.mqtt_websocket(), None), (rhumb.mqtt_websocket_tls(), Some(&ca))] {
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let args: Vec<&str> = [&host, &port].into_iter().chain(authority).map(String::as_str).collect();
        let said = tools::python("paho_websocket.py", &args);
        let (stdout, stderr) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
        assert!(said.status.success(), "{stdout}\n{stderr}\n{}", rhumb.log());
    }
    assert_eq!(rhumb.books("default").received, 12);
}

#[test]
fn half_a_million_bytes_published_at_once_over_tls_are_durable_when_acknowledged() {
    let authority = Authority::new();
    let mut rhumb = start(&authority, &[]);
    let fixes = 500_000 / native_fix(0).len() as u64 + 1;
    let mut client = authority.connect(rhumb.mqtt_tls()).unwrap();
    client.say_connect(Version::V4, "backlog");
    let topic = topic("default", "d1");
    let packets = (1..=fixes).map(|n| mqtt::publish(Version::V4, &topic, native_fix(n).as_bytes(), 1, n as u16));
    client.send(&packets.collect::<Vec<_>>().concat());
    for n in 1..=fixes {
        assert_eq!(u64::from(client.expect(PUBACK).id()), n);
    }
    rhumb.kill9();
    rhumb.restart();
    assert_eq!(rhumb.track("default", "d1").len() as u64, fixes);
}

/// What a handshake that gets no further has said.
type Begun = (&'static str, SocketAddr, &'static [u8]);

#[test]
fn a_handshake_that_stalls_costs_the_timeout() {
    let authority = Authority::new();
    let rhumb = start(&authority, &["mqtt.connect_timeout_s=1"]);
    let hello = b"\x16\x03\x01\x02\x00\x01\x00";
    let cases: [Begun; 5] = [
        ("tls, silent", rhumb.mqtt_tls(), b""),
        ("tls, a hello begun", rhumb.mqtt_tls(), hello),
        ("websocket, silent", rhumb.mqtt_websocket(), b""),
        ("websocket, a request begun", rhumb.mqtt_websocket(), b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\n"),
        ("websocket over tls, a hello begun", rhumb.mqtt_websocket_tls(), hello),
    ];
    for (what, address, begun) in cases {
        let began = Instant::now();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(begun).unwrap();
        let took = closes(stream, began);
        assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(5), "{what}: {took:?}");
    }
    // One that says a byte now and then gets no longer.
    let request = b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nX: ".iter().chain(std::iter::repeat_n(&b'x', 4_000));
    let mut stream = TcpStream::connect(rhumb.mqtt_websocket()).unwrap();
    let began = Instant::now();
    for byte in request {
        if stream.write_all(&[*byte]).is_err() {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "a slow request is still waited for");
        std::thread::sleep(Duration::from_millis(20));
    }
    // TLS alone is not CONNECT.
    let mut silent = authority.connect(rhumb.mqtt_tls()).unwrap();
    assert!(silent.receive().is_none());
    assert_eq!(closed(&rhumb, "connect_timeout"), 7.0);
}

#[test]
fn garbage_ends_its_own_connection_and_no_other() {
    let authority = Authority::new();
    let rhumb = start(&authority, &[]);
    let mut steady = authority.connect(rhumb.mqtt_tls()).unwrap();
    steady.say_connect(Version::V5, "steady");
    let garbage: Vec<u8> = (0..100_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for address in [rhumb.mqtt_tls(), rhumb.mqtt_websocket(), rhumb.mqtt_websocket_tls()] {
        let mut stream = TcpStream::connect(address).unwrap();
        // It may be closed before all of it was sent.
        drop(stream.write_all(&garbage));
        closes(stream, Instant::now());
    }
    // Good TLS around what is no MQTT, by another implementation.
    let mut openssl = Command::new("openssl")
        .args(["s_client", "-quiet", "-connect", &rhumb.mqtt_tls().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(openssl.stdin.take().unwrap().write_all(&garbage));
    wait_for("openssl to be closed", || openssl.try_wait().unwrap());
    wait_for("all to be counted", || {
        let faults = closed(&rhumb, "tls_failed") + closed(&rhumb, "websocket_refused");
        (faults == 3.0 && closed(&rhumb, "malformed_packet") == 1.0).then_some(())
    });
    steady.send(&mqtt::publish(Version::V5, &topic("default", "d1"), native_fix(1).as_bytes(), 1, 1));
    assert_eq!(steady.expect(PUBACK).id(), 1);
}

#[test]
fn a_websocket_has_to_be_asked_for_and_masked() {
    let authority = Authority::new();
    let rhumb = start(&authority, &[]);
    let ask = |further: &str| {
        let mut stream = TcpStream::connect(rhumb.mqtt_websocket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!(
            "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{further}\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        stream
    };
    for (further, status) in [("", 400), ("Sec-WebSocket-Protocol: mqtt\r\nOrigin: http://evil.example\r\n", 403)] {
        let mut response = String::new();
        ask(further).read_to_string(&mut response).unwrap();
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{response}");
    }
    let mut stream = ask("Sec-WebSocket-Protocol: mqtt\r\nOrigin: http://localhost:3000\r\n");
    let connect = mqtt::connect(Version::V4, "unmasked", 60);
    stream.write_all(&[&[0x82, connect.len() as u8][..], &connect].concat()).unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    assert!(said.starts_with(b"HTTP/1.1 101 "));
    // A close frame with 1002, and no CONNACK before it.
    let end = said.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    assert_eq!(said[end..], [0x88, 2, 0x03, 0xEA]);
}

#[test]
fn each_listener_takes_what_it_may() {
    let authority = Authority::new();
    let rhumb = start(&authority, &["mqtt.tcp.connections_max=2", "mqtt.tls.connections_max=1"]);
    let _taken = [1, 2].map(|n| Client::connect(rhumb.mqtt(), Version::V4, &format!("plain-{n}")));
    let mut third = Client::open(rhumb.mqtt(), Version::V4);
    third.send(&mqtt::connect(Version::V4, "plain-3", 60)).unwrap();
    assert_eq!(third.expect(CONNACK).connack_code(), 3);
    // The others have places of their own, over TLS one.
    assert_eq!(rhumb.metrics()["rhumb_mqtt_listener_connections{listener=\"tls\"}"], 0.0);
    let mut first = authority.connect(rhumb.mqtt_tls()).unwrap();
    first.say_connect(Version::V5, "tls-1");
    let mut second = authority.connect(rhumb.mqtt_tls()).unwrap();
    second.send(&mqtt::connect(Version::V5, "tls-2", 60));
    assert_eq!(second.expect(CONNACK).connack_code(), 0x97);
    // A place is free again once its connection is gone.
    drop((first, second));
    wait_for("a place", || {
        let mut client = authority.connect(rhumb.mqtt_tls()).unwrap();
        client.send(&mqtt::connect(Version::V5, "tls-3", 60));
        (client.expect(CONNACK).connack_code() == 0).then_some(())
    });
}

#[test]
fn connections_beyond_the_rate_wait_and_are_served() {
    let rhumb = Rhumb::start(&["mqtt.tcp.connections_per_s_max=10"]);
    let began = Instant::now();
    let mut clients: Vec<Client> = (0..30)
        .map(|n| {
            let mut client = Client::open(rhumb.mqtt(), Version::V4);
            client.send(&mqtt::connect(Version::V4, &format!("client-{n}"), 60)).unwrap();
            client
        })
        .collect();
    for client in &mut clients {
        assert_eq!(client.expect(CONNACK).connack_code(), 0);
    }
    let took = began.elapsed();
    assert!(took > Duration::from_millis(1_800), "thirty at ten a second, ten of them at once: {took:?}");
}

#[test]
fn what_tls_cannot_be_served_with_is_told_and_exits_78() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = (authority.text("server.pem"), authority.text("server.key"));
    let start = |key: &str| {
        let sets = [
            "mqtt.tls.listen=127.0.0.1:0".to_owned(),
            format!("mqtt.tls.certificate={certificate}"),
            format!("mqtt.tls.key={key}"),
            "mqtt.listen=127.0.0.1:0".to_owned(),
        ];
        let mut command = rhumb::command(dir.path());
        for set in &sets {
            command.args(["--set", set]);
        }
        let output = output_within(&mut command, PATIENCE);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    authority.sign("other", &[]);
    let other = authority.text("other.key");
    fs::write(&key, "no key").unwrap();
    for (key, expected) in [
        ("", "--set mqtt.tls.key=: mqtt.tls.key: found \"\", wants a file in PEM".to_owned()),
        ("/no/such.key", "mqtt.tls.key: /no/such.key cannot be read: No such file".to_owned()),
        (&key, format!("mqtt.tls.key: {key} holds no private key in PEM")),
        (&other, format!("mqtt.tls.key: {other} is not the key of the certificate in {certificate}")),
    ] {
        let (code, said) = start(key);
        assert!(said.contains(&expected), "expected {expected}\nfound {said}");
        assert_eq!(code, Some(78), "{said}");
    }
}

/// The commands of a section of README.md, one each however many lines it takes there.
fn commands_of(heading: &str) -> Vec<String> {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let section = readme.split("\n## ").find(|section| section.starts_with(heading)).unwrap().to_owned();
    let blocks = section.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap().replace("\\\n", ""));
    blocks.collect::<String>().lines().map(str::to_owned).collect()
}

#[test]
fn the_example_of_the_readme_works_as_typed() {
    let commands = commands_of("TLS and WebSocket");
    let [mkdir, openssl, serve, publish] = &commands[..] else { panic!("{commands:?}") };
    let run = |directory: &Path, command: &str| {
        let output = output_within(Command::new("sh").args(["-c", command]).current_dir(directory), PATIENCE);
        assert!(output.status.success(), "{command}\n{}", String::from_utf8_lossy(&output.stderr));
    };
    // All as it stands there, but for the ports.
    let sets = serve.split(" --set ").skip(1).map(|set| match set.trim().rsplit_once(":8") {
        Some((address, _)) => format!("{address}:0"),
        None => set.trim().to_owned(),
    });
    let sets: Vec<String> = sets.collect();
    assert_eq!(sets.len(), 5, "{serve}");
    let prepare = |data_dir: &Path| {
        let directory = data_dir.parent().unwrap();
        run(directory, mkdir);
        run(directory, openssl);
    };
    let rhumb = Rhumb::start_prepared(prepare, &sets.iter().map(String::as_str).collect::<Vec<_>>());
    let publish = publish.replace("-p 8883", &format!("-p {}", rhumb.mqtt_tls().port()));
    run(rhumb.data_dir().parent().unwrap(), &publish);
    assert_eq!(rhumb.track("default", "d1").len(), 1);
    assert!(
        TcpStream::connect(rhumb.mqtt_websocket()).is_ok() && TcpStream::connect(rhumb.mqtt_websocket_tls()).is_ok()
    );
}

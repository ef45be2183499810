//! TLS over a socket in memory, with rustls' own client at the other end.

use std::fs;

use rustls::ClientConnection;
use rustls::version::{TLS12, TLS13};
use tempfile::tempdir;

use super::*;
use crate::mqtt::transport::testing::{Ended, Wire, read_all};
use crate::tls::ClientCertificates;
use crate::tls::testing::Authority;

/// Both ends, with nothing said yet.
fn ends(
    asked: ClientCertificates,
    name: Option<&str>,
    version: &'static rustls::SupportedProtocolVersion,
) -> (Tls<Wire>, ClientConnection) {
    let (directory, authority) = (tempdir().unwrap(), Authority::new());
    let server = authority.server(directory.path(), asked);
    let pair = name.map(|name| authority.sign(name, &[]));
    (Tls::begin(&server, Wire::default()).unwrap(), authority.session(pair.as_ref(), version))
}

/// What the client has to say, as it goes over the wire.
fn said(client: &mut ClientConnection) -> Vec<u8> {
    let mut wire = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut wire).unwrap();
    }
    wire
}

/// The client hears these bytes, and gives what it read.
fn hear(client: &mut ClientConnection, bytes: &[u8]) -> Vec<u8> {
    let (mut bytes, mut plain) = (bytes, Vec::new());
    while !bytes.is_empty() {
        client.read_tls(&mut bytes).unwrap();
        client.process_new_packets().unwrap();
        // The end of what there is reads as an error.
        drop(client.reader().read_to_end(&mut plain));
    }
    plain
}

/// Shakes hands; gives what the server read meanwhile.
fn shake_hands(tls: &mut Tls<Wire>, client: &mut ClientConnection) -> Option<Ended> {
    for _ in 0..10 {
        tls.socket.put(&said(client));
        let (read, ended) = read_all(tls, 64 * 1024);
        assert!(read.is_empty());
        if ended.is_some() {
            return ended;
        }
        hear(client, &tls.socket.written());
    }
    assert!(!tls.session.is_handshaking() && !client.is_handshaking());
    None
}

#[test]
fn bytes_pass_both_ways_however_narrow_the_wire() {
    let payload: Vec<u8> = (0..100_000u32).map(|n| (n * 7 % 251) as u8).collect();
    for version in [&TLS12, &TLS13] {
        for (read_max, buffer_bytes) in
            [(1, 1_000), (3, 64 * 1024), (4_000, 1), (usize::MAX, 100), (usize::MAX, 64 * 1024)]
        {
            let (mut tls, mut client) = ends(ClientCertificates::None, None, version);
            tls.socket.read_max = read_max;
            assert_eq!(shake_hands(&mut tls, &mut client), None);
            let mut sent = 0;
            while sent < payload.len() {
                sent += client.writer().write(&payload[sent..]).unwrap();
                tls.socket.put(&said(&mut client));
            }
            let (read, ended) = read_all(&mut tls, buffer_bytes);
            assert!(read == payload && ended.is_none(), "{read_max} {buffer_bytes}: {} {ended:?}", read.len());
            assert!(tls.socket.is_drained());

            let mut sent = 0;
            while sent < payload.len() {
                sent += tls.send(&payload[sent..]).unwrap();
            }
            assert!(hear(&mut client, &tls.socket.written()) == payload);
        }
    }
}

#[test]
fn what_the_socket_does_not_take_waits_and_is_bounded() {
    let (mut tls, mut client) = ends(ClientCertificates::None, None, &TLS13);
    shake_hands(&mut tls, &mut client);
    let payload = vec![7; 1_000_000];
    tls.socket.room = 100;
    let taken = tls.send(&payload).unwrap();
    assert!(taken <= SEND_BYTES_MAX && tls.has_unsent());
    assert_eq!(tls.send(&payload[taken..]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert_eq!(tls.flush().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    tls.socket.room = usize::MAX;
    tls.flush().unwrap();
    assert!(!tls.has_unsent());
    assert_eq!(hear(&mut client, &tls.socket.written()).len(), taken);
}

#[test]
fn what_was_sent_before_the_end_comes_before_it() {
    for says_goodbye in [true, false] {
        let (mut tls, mut client) = ends(ClientCertificates::None, None, &TLS13);
        shake_hands(&mut tls, &mut client);
        client.writer().write_all(b"the last words").unwrap();
        if says_goodbye {
            client.send_close_notify();
        }
        tls.socket.put(&said(&mut client));
        tls.socket.is_ended = true;
        assert_eq!(read_all(&mut tls, 1_000), (b"the last words".to_vec(), Some(Ended::HungUp)));
    }
}

#[test]
fn a_goodbye_is_said_in_tls_too() {
    let (mut tls, mut client) = ends(ClientCertificates::None, None, &TLS12);
    shake_hands(&mut tls, &mut client);
    tls.finish().unwrap();
    client.read_tls(&mut &tls.socket.written()[..]).unwrap();
    assert!(client.process_new_packets().unwrap().peer_has_closed());
}

#[test]
fn what_is_no_tls_is_answered_with_an_alert() {
    for garbage in [&b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00"[..], b"GET / HTTP/1.1\r\n\r\n", &[0xFF; 300]] {
        let (mut tls, _) = ends(ClientCertificates::None, None, &TLS13);
        tls.socket.put(garbage);
        let (read, ended) = read_all(&mut tls, 1_000);
        assert!(read.is_empty() && matches!(ended, Some(Ended::Faulty(Fault::Tls(_)))), "{ended:?}");
        assert_eq!(tls.socket.written().first(), Some(&21), "the type of an alert");
        // It stays so.
        assert_eq!(read_all(&mut tls, 1_000).1, ended);
    }
}

#[test]
fn the_holder_of_a_certificate_is_known_after_the_handshake() {
    for version in [&TLS12, &TLS13] {
        let (mut tls, mut client) = ends(ClientCertificates::Optional, Some("truck-7"), version);
        assert_eq!(tls.holder(), None);
        assert_eq!(shake_hands(&mut tls, &mut client), None);
        assert_eq!(tls.holder().unwrap().names, ["truck-7".into()]);
        let (mut tls, mut client) = ends(ClientCertificates::Optional, None, version);
        assert_eq!(shake_hands(&mut tls, &mut client), None);
        assert_eq!(tls.holder(), None);
        let (mut tls, mut client) = ends(ClientCertificates::Required, None, version);
        let fault = Fault::Tls("the client showed no certificate");
        assert_eq!(shake_hands(&mut tls, &mut client), Some(Ended::Faulty(fault)));
    }
}

#[test]
fn a_certificate_that_is_revoked_while_the_connection_lasts_is_told() {
    for version in [&TLS12, &TLS13] {
        let (directory, authority) = (tempdir().unwrap(), Authority::new());
        let server = authority.server(directory.path(), ClientCertificates::Optional);
        let [one, other] = ["truck-7", "truck-8"].map(|name| authority.sign(name, &[]));
        let mut connections = [Some(&one), Some(&other), None].map(|pair| {
            let mut tls = Tls::begin(&server, Wire::default()).unwrap();
            assert_eq!(shake_hands(&mut tls, &mut authority.session(pair, version)), None);
            tls
        });
        let mut under_way = Tls::begin(&server, Wire::default()).unwrap();
        assert_eq!(connections.each_mut().map(Tls::is_revoked), [false; 3]);
        fs::write(directory.path().join("revoked.pem"), authority.revoke(&[&one])).unwrap();
        server.reload().unwrap();
        assert_eq!(connections.each_mut().map(Tls::is_revoked), [true, false, false]);
        // One that began before, and was judged by the lists of before, is found all the same.
        assert!(!under_way.is_revoked());
        assert_eq!(shake_hands(&mut under_way, &mut authority.session(Some(&one), version)), None);
        assert!(under_way.is_revoked() && under_way.is_revoked());
    }
}

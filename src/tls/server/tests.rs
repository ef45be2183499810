//! Files good and bad, and what a session shows of them.

use std::fs;
use std::io;

use rustls::SupportedProtocolVersion;
use tempfile::tempdir;

use super::*;
use crate::tls::testing::{Authority, Pair};

/// Carries bytes between both ends until neither has anything to say.
fn shake_hands(server: &mut ServerConnection, client: &mut rustls::ClientConnection) -> Result<(), rustls::Error> {
    while server.wants_write() || client.wants_write() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut sent = &wire[..];
        while !sent.is_empty() {
            server.read_tls(&mut sent).unwrap();
            server.process_new_packets()?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut sent: &mut dyn io::Read = &mut &wire[..];
        while client.read_tls(&mut sent).unwrap() > 0 {
            client.process_new_packets()?;
        }
    }
    Ok(())
}

/// The certificate that a client is shown.
fn shown(server: &Server, authority: &Authority, version: &'static SupportedProtocolVersion) -> Vec<u8> {
    let (mut session, mut client) = (server.session().unwrap(), authority.session(None, version));
    shake_hands(&mut session, &mut client).unwrap();
    assert!(!session.is_handshaking());
    client.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn both_versions_are_spoken() {
    let (directory, authority) = (tempdir().unwrap(), Authority::new());
    let server = authority.server(directory.path(), ClientCertificates::None);
    assert_eq!(shown(&server, &authority, &TLS12), shown(&server, &authority, &TLS13));
}

#[test]
fn clients_show_certificates_as_they_are_asked_to() {
    let (directory, authority) = (tempdir().unwrap(), Authority::new());
    let (good, foreign) = (authority.sign("truck-7", &[]), Authority::new().sign("truck-7", &[]));
    let cases: [(ClientCertificates, Option<&Pair>, bool, usize); 8] = [
        (ClientCertificates::None, None, true, 0),
        (ClientCertificates::None, Some(&good), true, 0),
        (ClientCertificates::Optional, None, true, 0),
        (ClientCertificates::Optional, Some(&good), true, 1),
        (ClientCertificates::Optional, Some(&foreign), false, 0),
        (ClientCertificates::Required, None, false, 0),
        (ClientCertificates::Required, Some(&good), true, 1),
        (ClientCertificates::Required, Some(&foreign), false, 0),
    ];
    for version in [&TLS12, &TLS13] {
        for (asked, pair, is_good, names) in cases {
            let server = authority.server(directory.path(), asked);
            let (mut session, mut client) = (server.session().unwrap(), authority.session(pair, version));
            let shaken = shake_hands(&mut session, &mut client);
            assert_eq!(shaken.is_ok(), is_good, "{asked:?} {pair:?} {version:?}: {shaken:?}");
            let shown = session
                .peer_certificates()
                .filter(|_| is_good)
                .map_or(Vec::new(), |chain| crate::tls::names_of(&chain[0]));
            assert_eq!(shown, vec!["truck-7".into(); names], "{asked:?} {pair:?}");
        }
    }
}

#[test]
fn a_new_pair_is_taken_whole_or_not_at_all() {
    let (directory, authority) = (tempdir().unwrap(), Authority::new());
    let server = authority.server(directory.path(), ClientCertificates::None);
    let first = shown(&server, &authority, &TLS13);
    let next = authority.sign_host();
    fs::write(directory.path().join("server.pem"), &next.certificate).unwrap();
    let error = server.reload().unwrap_err();
    assert!(matches!(error, Error::Mismatched { .. }), "{error}");
    assert_eq!(shown(&server, &authority, &TLS13), first);
    let before = server.session().unwrap();
    fs::write(directory.path().join("server.key"), &next.key).unwrap();
    server.reload().unwrap();
    assert_ne!(shown(&server, &authority, &TLS13), first);
    // A session that began before goes on with what it began with.
    let (mut session, mut client) = (before, authority.session(None, &TLS13));
    shake_hands(&mut session, &mut client).unwrap();
    assert_eq!(client.peer_certificates().unwrap()[0].to_vec(), first);
}

#[test]
fn what_is_wrong_with_a_file_is_told_with_its_path() {
    let authority = Authority::new();
    let other_key = authority.sign_host().key;
    let cases: [(&str, Option<&str>, Part, &str); 8] = [
        ("server.pem", None, Part::Certificate, "server.pem cannot be read: No such file"),
        ("server.key", None, Part::Key, "server.key cannot be read: No such file"),
        ("ca.pem", None, Part::ClientCa, "ca.pem cannot be read: No such file"),
        ("server.pem", Some("garbage"), Part::Certificate, "server.pem holds no certificate in PEM"),
        ("server.key", Some(""), Part::Key, "server.key holds no private key in PEM"),
        ("ca.pem", Some("\n"), Part::ClientCa, "ca.pem holds no certificate in PEM"),
        (
            "server.pem",
            Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            Part::Certificate,
            "server.pem cannot be used: ",
        ),
        ("server.key", Some(&other_key), Part::Key, "server.key is not the key of the certificate in "),
    ];
    for (name, content, part, expected) in cases {
        let directory = tempdir().unwrap();
        let files = authority.files(directory.path(), &authority.sign_host(), ClientCertificates::Required);
        let path = directory.path().join(name);
        match content {
            Some(content) => fs::write(path, content).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
        let error = Server::load(files).expect_err(expected);
        let told = error.to_string().replace(&format!("{}/", directory.path().display()), "");
        assert!(told.starts_with(expected), "expected {expected}, found {told}");
        assert_eq!(error.part(), part, "{told}");
    }
}

//! Files good and bad, and what a session shows of them.

use std::fs;
use std::io;

use rustls::{CertificateError, ClientConnection, HandshakeKind, SupportedProtocolVersion};
use tempfile::tempdir;

use super::*;
use crate::tls::ClientCertificates;
use crate::tls::testing::{Authority, Pair};

/// What became of a handshake.
type Shaken = Result<(), rustls::Error>;

/// Carries bytes between both ends until neither has anything to say.
fn shake_hands(server: &mut ServerConnection, client: &mut ClientConnection) -> Shaken {
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
                .map_or(Vec::new(), |chain| crate::tls::Holder::of(&chain[0]).unwrap().names);
            assert_eq!(shown, vec!["truck-7".into(); names], "{asked:?} {pair:?}");
        }
    }
}

#[test]
fn a_client_is_refused_that_is_revoked_or_of_which_no_list_tells() {
    let (authority, other) = (Authority::with_name("ours"), Authority::new());
    let [good, revoked] = ["truck-7", "truck-8"].map(|name| authority.sign(name, &[]));
    let stranger = other.sign("truck-9", &[]);
    let directory = tempdir().unwrap();
    let files = authority.files(directory.path(), &authority.sign_host(), ClientCertificates::Optional);
    fs::write(&files.client_ca, [&*authority.own.certificate, &other.own.certificate].concat()).unwrap();
    let refused = |error| Err(rustls::Error::InvalidCertificate(error));
    let (of_one, of_both) =
        (authority.revoke(&[&revoked]), [authority.revoke(&[&revoked]), other.revoke(&[])].concat());
    let unknown = || refused(CertificateError::UnknownRevocationStatus);
    let cases: [(&str, [Result<(), rustls::Error>; 3]); 2] = [
        (&of_one, [Ok(()), refused(CertificateError::Revoked), unknown()]),
        (&of_both, [Ok(()), refused(CertificateError::Revoked), Ok(())]),
    ];
    let server = Server::load(files).unwrap();
    for (list, expected) in cases {
        fs::write(directory.path().join("revoked.pem"), list).unwrap();
        server.reload().unwrap();
        for (pair, expected) in [&good, &revoked, &stranger].into_iter().zip(expected) {
            for version in [&TLS12, &TLS13] {
                let (mut session, mut client) = (server.session().unwrap(), authority.session(Some(pair), version));
                assert_eq!(shake_hands(&mut session, &mut client), expected, "{version:?}");
            }
        }
    }
    // Whoever shows none is not asked.
    assert!(shake_hands(&mut server.session().unwrap(), &mut authority.session(None, &TLS13)).is_ok());
}

#[test]
fn a_list_that_its_authority_did_not_sign_is_refused_and_the_one_before_holds() {
    let (directory, authority) = (tempdir().unwrap(), Authority::with_name("ours"));
    let [good, revoked] = ["truck-7", "truck-8"].map(|name| authority.sign(name, &[]));
    let server = authority.server(directory.path(), ClientCertificates::Required);
    let lists = authority.revoke(&[&revoked]);
    fs::write(directory.path().join("revoked.pem"), &lists).unwrap();
    server.reload().unwrap();
    // In the authority's name, of nobody's, and with a byte of it that is another one.
    let of_namesake = Authority::with_name("ours").revoke(&[]);
    let of_stranger = lists + &Authority::with_name("theirs").revoke(&[]);
    // The last line but one before the end is of the signature.
    let mut damaged = authority.revoke(&[]);
    let line = damaged.trim_end().rmatch_indices('\n').nth(2).unwrap().0;
    let other = if &damaged[line + 20..=line + 20] == "A" { "B" } else { "A" };
    damaged.replace_range(line + 20..=line + 20, other);
    for (list, issuer) in [(of_namesake, "ours"), (of_stranger, "theirs"), (damaged, "ours")] {
        fs::write(directory.path().join("revoked.pem"), list).unwrap();
        let error = server.reload().unwrap_err();
        assert!(matches!(&error, Error::Unsigned { issuer: named, .. } if *named == format!("CN={issuer}")), "{error}");
        assert_eq!(error.part(), Part::ClientRevocations);
        for (pair, expected) in [(&good, Ok(())), (&revoked, Err(CertificateError::Revoked.into()))] {
            let mut client = authority.session(Some(pair), &TLS13);
            assert_eq!(shake_hands(&mut server.session().unwrap(), &mut client), expected);
        }
        assert!(Server::load(server.files.clone()).is_err());
    }
}

#[test]
fn every_authority_on_the_way_has_a_list_that_tells_of_the_one_below() {
    let root = Authority::with_name("root");
    let sub = Authority::below("sub", Some(&root));
    let leaf = sub.sign("truck-7", &[]);
    let (of_root, of_sub) = (root.revoke(&[]), sub.revoke(&[]));
    let with_sub = |lists: &[&str]| [lists, &[sub.own.certificate.as_str()]].concat().concat();
    let refused = |error| Some(Err(rustls::Error::InvalidCertificate(error)));
    // The authorities, the file of lists, and what becomes of a handshake, if the files are taken.
    let cases: [(&Authority, String, Option<Shaken>); 7] = [
        (&root, with_sub(&[&of_root, &of_sub]), Some(Ok(()))),
        (&root, [&*of_root, &of_sub].concat(), None),
        (&root, with_sub(&[&of_root]), refused(CertificateError::UnknownRevocationStatus)),
        (&root, with_sub(&[&of_sub]), refused(CertificateError::UnknownRevocationStatus)),
        (&root, with_sub(&[&of_root, &sub.revoke(&[&leaf])]), refused(CertificateError::Revoked)),
        (&root, with_sub(&[&root.revoke(&[&sub.own]), &of_sub]), refused(CertificateError::Revoked)),
        // Where a way ends nobody asks what is above.
        (&sub, of_sub.clone(), Some(Ok(()))),
    ];
    for (n, (trusted, lists, expected)) in cases.into_iter().enumerate() {
        let directory = tempdir().unwrap();
        let files = root.files(directory.path(), &root.sign_host(), ClientCertificates::Required);
        fs::write(&files.client_ca, &trusted.own.certificate).unwrap();
        fs::write(&files.client_revocations, lists).unwrap();
        let found = Server::load(files).ok().map(|server| {
            let mut client = root.session(Some(&leaf), &TLS13);
            shake_hands(&mut server.session().unwrap(), &mut client)
        });
        assert_eq!(found, expected, "case {n}");
    }
    // Only an authority signs lists: a client's certificate beside one does not make it good.
    let directory = tempdir().unwrap();
    let files = root.files(directory.path(), &root.sign_host(), ClientCertificates::Required);
    fs::write(&files.client_revocations, [&*of_root, &of_sub, &leaf.certificate].concat()).unwrap();
    assert!(Server::load(files.clone()).is_ok(), "its chain has the authority's own");
    let stranger = Authority::below("stranger", Some(&Authority::with_name("theirs")));
    fs::write(&files.client_revocations, [&*of_root, &stranger.revoke(&[]), &stranger.own.certificate].concat())
        .unwrap();
    assert!(matches!(Server::load(files), Err(Error::Unsigned { .. })), "nobody that is trusted made it one");
}

#[test]
fn more_certificates_than_a_chain_has_are_not_looked_through() {
    let (directory, authority) = (tempdir().unwrap(), Authority::new());
    let server = authority.server(directory.path(), ClientCertificates::Required);
    let other = Authority::new();
    for (beside, expected) in [(16, Ok(())), (17, Err(CertificateError::BadEncoding.into()))] {
        let mut pair = authority.sign("truck-7", &[]);
        pair.certificate += &other.own.certificate.repeat(beside);
        let mut client = authority.session(Some(&pair), &TLS13);
        assert_eq!(shake_hands(&mut server.session().unwrap(), &mut client), expected, "{beside}");
    }
}

#[test]
fn a_session_is_not_resumed_with_a_certificate_that_was_revoked_since() {
    let (directory, authority) = (tempdir().unwrap(), Authority::new());
    let server = authority.server(directory.path(), ClientCertificates::Required);
    let pair = authority.sign("truck-7", &[]);
    for version in [&TLS12, &TLS13] {
        fs::write(directory.path().join("revoked.pem"), authority.revoke(&[])).unwrap();
        server.reload().unwrap();
        let config = authority.client(Some(&pair), &[version]);
        let again = || {
            let mut client = ClientConnection::new(Arc::clone(&config), "localhost".try_into().unwrap()).unwrap();
            let shaken = shake_hands(&mut server.session().unwrap(), &mut client);
            shaken.map(|()| client.handshake_kind().unwrap())
        };
        assert_eq!(again(), Ok(HandshakeKind::Full));
        assert_eq!(again(), Ok(HandshakeKind::Resumed), "{version:?}");
        fs::write(directory.path().join("revoked.pem"), authority.revoke(&[&pair])).unwrap();
        server.reload().unwrap();
        assert_eq!(again(), Err(CertificateError::Revoked.into()), "{version:?}");
    }
}

#[test]
fn certificates_are_revoked_whatever_is_wrong_with_the_servers_own() {
    let (directory, authority) = (tempdir().unwrap(), Authority::new());
    let server = authority.server(directory.path(), ClientCertificates::Required);
    let [one, other] = ["truck-7", "truck-8"].map(|name| authority.sign(name, &[]));
    let is_revoked = |pair: &Pair| {
        let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
        server.revocations().have_any(&[certificate])
    };
    assert!(!is_revoked(&one));
    let before = server.revocations().version();
    fs::write(directory.path().join("server.key"), "no key").unwrap();
    fs::write(directory.path().join("revoked.pem"), authority.revoke(&[&one])).unwrap();
    assert_eq!(server.reload().unwrap_err().part(), Part::Key);
    assert!(is_revoked(&one) && !is_revoked(&other));
    assert!(server.revocations().version() > before);
    assert_eq!(server.revocations().count(), 1);
    // A list that cannot be read takes nothing back.
    fs::write(directory.path().join("revoked.pem"), "no list").unwrap();
    assert_eq!(server.reload().unwrap_err().part(), Part::ClientRevocations);
    assert!(is_revoked(&one));
}

#[test]
fn nobody_is_looked_at_again_for_lists_that_say_the_same() {
    let (directory, authority) = (tempdir().unwrap(), Authority::new());
    let server = authority.server(directory.path(), ClientCertificates::Required);
    let pair = authority.sign("truck-7", &[]);
    let write = |list: &str| fs::write(directory.path().join("revoked.pem"), list).unwrap();
    let versions = || {
        server.reload().unwrap();
        server.revocations().version()
    };
    let before = versions();
    // Another pair of the server's own, and a list with another number and time.
    authority.files(directory.path(), &authority.sign_host(), ClientCertificates::Required);
    assert_eq!(versions(), before);
    write(&authority.revoke(&[&pair]));
    assert_eq!(versions(), before + 1);
    write(&authority.revoke(&[&pair]));
    assert_eq!(versions(), before + 1);
    write(&authority.revoke(&[]));
    assert_eq!(versions(), before + 2);
}

#[test]
fn a_list_is_overdue_from_its_next_update_on() {
    let (directory, authority) = (tempdir().unwrap(), Authority::new());
    let server = authority.server(directory.path(), ClientCertificates::Required);
    let now = crate::clock::Clock::System.now();
    assert!(!server.revocations().are_overdue(now));
    assert!(server.revocations().are_overdue(now.saturating_add_ms(25 * 60 * 60 * 1_000)));
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
    let garbage = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    let cases: [(&str, Option<&str>, Part, &str); 12] = [
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
        ("revoked.pem", None, Part::ClientRevocations, "revoked.pem cannot be read: No such file"),
        ("revoked.pem", Some(""), Part::ClientRevocations, "revoked.pem holds no list of revoked certificates"),
        ("revoked.pem", Some(garbage), Part::ClientRevocations, "revoked.pem cannot be used: "),
        (
            "revoked.pem",
            Some(&authority.own.certificate),
            Part::ClientRevocations,
            "revoked.pem holds no list of revoked certificates",
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

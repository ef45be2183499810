use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::super::message::{Message, Ms, SERVER};
use super::super::session::{Flying, Queued, Stage, Subscribed};
use super::super::will::{PendingWill, Will};
use super::*;
use crate::clock::Clock;
use crate::ids::TenantId;
use crate::mqtt::codec::{PublishProperties, RetainHandling, Subscription};
use crate::units::TimestampMs;

const NOW: Ms = Ms(50_000);
const AT: TimestampMs = TimestampMs(1_700_000_000_000);

fn message(number: u8, expires_at: Ms) -> Arc<Message> {
    let properties = PublishProperties {
        content_type: Some("text/plain".into()),
        correlation_data: Some(Bytes::from_static(b"\0\xFF")),
        user_properties: vec![("a".into(), "1".into()), ("a".into(), "2".into())],
        ..PublishProperties::default()
    };
    Arc::new(Message {
        topic: format!("a/{number}").into(),
        payload: Bytes::copy_from_slice(&[number]),
        qos: number % 3,
        retain: number.is_multiple_of(2),
        publisher: SERVER,
        expires_at,
        properties: (number > 100).then(|| Box::new(properties)),
    })
}

fn image() -> Image {
    let (first, second) = (message(1, Ms::NEVER), message(102, Ms(NOW.0 + 9_000)));
    let queued = |message: &Arc<Message>, share: Option<&str>| Queued {
        message: Arc::clone(message),
        qos: 2,
        retain: false,
        identifiers: Box::new([7, 268_435_455]),
        share: share.map(Arc::from),
    };
    let will = Will {
        topic: "will".into(),
        payload: Bytes::from_static(b"gone"),
        qos: 1,
        retain: true,
        delay_s: 0,
        properties: None,
    };
    let options = Subscription {
        filter: "$share/g/a/#".into(),
        qos: 1,
        no_local: false,
        retain_as_published: true,
        retain_handling: RetainHandling::Never,
    };
    let session = SessionImage {
        client_id: "tracker".into(),
        expires_at: Ms(NOW.0 + 60_000),
        will: Some(PendingWill { will, due: Ms(NOW.0 + 5_000) }),
        subscriptions: vec![Subscribed { options, identifier: 7 }],
        received: vec![1, 65_535],
        pkid_last: 4,
        in_flight: vec![
            Flying { pkid: 3, stage: Stage::Sent(queued(&first, Some("$share/g/a/#"))) },
            Flying { pkid: 4, stage: Stage::Released },
        ],
        queue: vec![queued(&second, None), queued(&first, None)],
    };
    let acme = Mount::Tenant(TenantId::new("acme").unwrap());
    Image {
        taken: NOW,
        namespaces: vec![
            NamespaceImage { mount: acme, retained: vec![Arc::clone(&second)], sessions: vec![session] },
            NamespaceImage { mount: Mount::Open, retained: vec![message(3, Ms::NEVER)], sessions: Vec::new() },
        ],
    }
}

fn bytes() -> Vec<u8> {
    let mut bytes = Vec::new();
    encode::encode(&image(), AT, &mut bytes).unwrap();
    bytes
}

#[test]
fn an_image_comes_back_with_what_is_left_of_its_lifetimes() {
    assert_eq!(format!("{:?}", decode::decode(&bytes(), NOW, AT).unwrap()), format!("{:?}", image()));
    // Nine seconds of the message, five of the will and sixty of the session, of which seven passed while nothing ran.
    let later = decode::decode(&bytes(), Ms(100), TimestampMs(AT.0 + 7_000)).unwrap();
    let namespace = &later.namespaces[0];
    let (session, retained) = (&namespace.sessions[0], &namespace.retained[0]);
    assert_eq!((retained.expires_at, session.expires_at), (Ms(2_100), Ms(53_100)));
    assert_eq!(session.will.as_ref().unwrap().due, Ms(100), "at once");
    assert!(Arc::ptr_eq(retained, &session.queue[0].message), "shared as before");
    let earlier = decode::decode(&bytes(), Ms(100), TimestampMs(AT.0 - 7_000)).unwrap();
    assert_eq!(earlier.namespaces[0].retained[0].expires_at, Ms(9_100), "the clock was set back");
}

#[test]
fn a_file_that_does_not_read_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("router");
    assert!(load(&path, NOW, AT).is_none(), "none is there");
    for content in [Vec::new(), b"something else entirely".to_vec(), bytes()[..100].to_vec()] {
        fs::write(&path, &content).unwrap();
        assert!(load(&path, NOW, AT).is_none());
        assert_eq!(fs::read(dir.path().join("router.unusable")).unwrap(), content);
        assert!(!path.exists());
    }
}

#[test]
fn the_last_image_is_durable_when_it_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("router");
    for left_over in [&path, &dir.path().join("router.unfinished")] {
        fs::write(left_over, "of an earlier version").unwrap();
        fs::set_permissions(left_over, fs::Permissions::from_mode(0o644)).unwrap();
    }
    let saver = Saver::start(path.clone(), Clock::manual(AT)).unwrap();
    saver.save(Image { taken: NOW, namespaces: Vec::new() });
    saver.finish(Some(image()));
    assert_eq!(format!("{:?}", load(&path, NOW, AT).unwrap()), format!("{:?}", image()));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

proptest! {
    /// Damage anywhere is found, and never more than that.
    #[test]
    fn no_damage_passes(place in any::<prop::sample::Index>(), bit in 0..8_u8, cut: bool) {
        let mut bytes = bytes();
        let place = place.index(bytes.len());
        if cut { bytes.truncate(place) } else { bytes[place] ^= 1_u8 << bit }
        prop_assert!(decode::decode(&bytes, NOW, AT).is_err());
    }

    /// Content that a later or a faulty program could have written, with a checksum that holds.
    #[test]
    fn nonsense_is_no_image_and_no_panic(place in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = bytes();
        bytes.truncate(bytes.len() - 4);
        let place = 20 + place.index(bytes.len() - 20);
        bytes[place] = byte;
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        drop(decode::decode(&bytes, NOW, AT));
    }
}

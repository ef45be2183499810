//! The window, held against what MQTT says, and its bytes against a count of them.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::mqtt::router::message::{Message, Ms};

const BOUNDS: Bounds = Bounds { messages_max: 100_000, bytes_max: usize::MAX };

fn queue(outgoing: &mut Outgoing, qos: u8) {
    outgoing.push(queued(qos, 0), BOUNDS);
}

fn queued(qos: u8, payload_bytes: usize) -> Queued {
    let message = Message {
        topic: "a".into(),
        payload: Bytes::from(vec![0; payload_bytes]),
        qos,
        retain: false,
        publisher: 1,
        expires_at: Ms::NEVER,
        properties: None,
    };
    Queued { message: Arc::new(message), qos, retain: false, identifiers: Box::default(), share: None }
}

/// Packet ids that are sent, with DUP and PUBREL told.
fn send(outgoing: &mut Outgoing, receive_maximum: u16) -> Vec<(u16, &'static str)> {
    std::iter::from_fn(|| outgoing.next(receive_maximum, usize::MAX))
        .map(|next| match next {
            Next::AtMostOnce(_) => (0, ""),
            Next::Publish { pkid, dup, .. } => (pkid, if dup { "dup" } else { "" }),
            Next::Release { pkid } => (pkid, "release"),
        })
        .collect()
}

#[test]
fn the_window_holds_and_qos_0_needs_none() {
    let mut outgoing = Outgoing::default();
    for qos in [0, 1, 2, 1, 0] {
        queue(&mut outgoing, qos);
    }
    assert_eq!(send(&mut outgoing, 2), [(0, ""), (1, ""), (2, "")]);
    assert!(!outgoing.complete(2, Answer::Acknowledged) && !outgoing.complete(9, Answer::Acknowledged));
    assert!(outgoing.complete(1, Answer::Acknowledged) && !outgoing.complete(1, Answer::Acknowledged));
    assert_eq!(send(&mut outgoing, 2), [(3, ""), (0, "")]);
    assert!(!outgoing.has_room(2, usize::MAX) && outgoing.has_room(3, usize::MAX));
}

#[test]
fn qos_2_goes_its_two_ways() {
    let mut outgoing = Outgoing::default();
    queue(&mut outgoing, 2);
    queue(&mut outgoing, 2);
    send(&mut outgoing, 9);
    assert!(!outgoing.complete(1, Answer::Completed), "before PUBREC");
    assert!(outgoing.release(1) && outgoing.release(1) && !outgoing.release(3));
    assert!(!outgoing.complete(1, Answer::Refused), "behind PUBREC");
    assert!(outgoing.complete(1, Answer::Completed));
    assert!(outgoing.complete(2, Answer::Refused));
    assert_eq!(outgoing.in_flight().count(), 0);
}

#[test]
fn what_was_not_answered_is_sent_again_within_the_window() {
    let mut outgoing = Outgoing::default();
    for qos in [1, 2, 1, 1] {
        queue(&mut outgoing, qos);
    }
    send(&mut outgoing, 3);
    outgoing.release(2);
    outgoing.begin_again();
    assert!(!outgoing.complete(3, Answer::Acknowledged), "not sent on this connection");
    assert_eq!(send(&mut outgoing, 2), [(1, "dup"), (2, "release")]);
    assert!(outgoing.complete(1, Answer::Acknowledged));
    assert_eq!(send(&mut outgoing, 2), [(3, "dup")]);
    assert!(outgoing.complete(2, Answer::Completed) && outgoing.complete(3, Answer::Acknowledged));
    assert_eq!(send(&mut outgoing, 2), [(4, "")]);
}

#[test]
fn what_was_not_sent_after_all_frees_its_place() {
    let mut outgoing = Outgoing::default();
    queue(&mut outgoing, 1);
    queue(&mut outgoing, 1);
    let Some(Next::Publish { pkid, .. }) = outgoing.next(1, usize::MAX) else { panic!("nothing to send") };
    outgoing.take_back(pkid);
    assert_eq!(send(&mut outgoing, 1), [(2, "")]);
    queue(&mut outgoing, 1);
    assert_eq!(send(&mut outgoing, 2), [(3, "")]);
    outgoing.begin_again();
    let Some(Next::Publish { pkid: 2, dup: true, .. }) = outgoing.next(1, usize::MAX) else { panic!("not sent again") };
    outgoing.take_back(0);
    assert_eq!(send(&mut outgoing, 1), [], "nothing had that id");
    outgoing.take_back(2);
    assert_eq!(send(&mut outgoing, 1), [(3, "dup")]);
    assert_eq!(outgoing.in_flight().count(), 1);
}

#[test]
fn ids_that_were_never_answered_are_passed_over() {
    let flying = |pkid| Flying { pkid, stage: Stage::Released };
    let mut outgoing = Outgoing::restored([65_534, 65_535, 1, 3].map(flying).into(), 65_533);
    queue(&mut outgoing, 1);
    queue(&mut outgoing, 1);
    let sent = send(&mut outgoing, 100);
    assert_eq!(sent[4..], [(2, ""), (4, "")]);
}

#[derive(Clone, Debug)]
enum Step {
    Come { qos: u8, payload_bytes: usize, retained: bool },
    Send { receive_maximum: u16 },
    TakeBack(u16),
    Answer(u16, Answer),
    Release(u16),
    BeginAgain,
}

fn step() -> impl Strategy<Value = Step> {
    let answer = prop::sample::select(vec![Answer::Acknowledged, Answer::Refused, Answer::Completed]);
    prop_oneof![
        8 => (0..3_u8, 0..PAYLOAD_BYTES_MAX, prop::bool::weighted(0.2))
            .prop_map(|(qos, payload_bytes, retained)| Step::Come { qos, payload_bytes, retained }),
        8 => (1..40_u16).prop_map(|receive_maximum| Step::Send { receive_maximum }),
        1 => (1..60_u16).prop_map(Step::TakeBack),
        3 => (1..60_u16, answer).prop_map(|(pkid, answer)| Step::Answer(pkid, answer)),
        1 => (1..60_u16).prop_map(Step::Release),
        1 => Just(Step::BeginAgain),
    ]
}

const PAYLOAD_BYTES_MAX: usize = 400;

proptest! {
    /// Whatever comes and however little is answered, what is held stays within its bytes and one packet, is counted right,
    /// and something is always on its way.
    #[test]
    fn what_is_held_is_bounded_by_bytes(steps in prop::collection::vec(step(), 1..300)) {
        const BYTES_MAX: usize = 2_000;
        let packet_bytes_max = queued(1, PAYLOAD_BYTES_MAX).message.bytes();
        let mut outgoing = Outgoing::default();
        for step in steps {
            match step {
                Step::Come { qos, payload_bytes, retained: true } => {
                    outgoing.push_retained(queued(qos, payload_bytes));
                }
                Step::Come { qos, payload_bytes, retained: false } => {
                    outgoing.push(queued(qos, payload_bytes), Bounds { bytes_max: BYTES_MAX, ..BOUNDS });
                }
                Step::Send { receive_maximum } => {
                    while outgoing.next(receive_maximum, BYTES_MAX).is_some() {}
                    let waits = outgoing.has_retained() || !outgoing.queue.is_empty();
                    prop_assert!(!waits || outgoing.in_flight().count() > 0);
                }
                Step::TakeBack(pkid) => outgoing.take_back(pkid),
                Step::Answer(pkid, answer) => drop(outgoing.complete(pkid, answer)),
                Step::Release(pkid) => drop(outgoing.release(pkid)),
                Step::BeginAgain => outgoing.begin_again(),
            }
            prop_assert!(outgoing.bytes() <= BYTES_MAX + packet_bytes_max, "{} bytes", outgoing.bytes());
            let in_flight: usize = outgoing.in_flight().map(Flying::bytes).sum();
            prop_assert_eq!(outgoing.bytes(), outgoing.queue.bytes() + in_flight);
            let restored = Outgoing::restored(outgoing.in_flight().cloned().collect(), outgoing.pkid_last());
            prop_assert_eq!(restored.bytes(), in_flight);
            let retained: usize = outgoing.retained.iter().map(|queued| queued.message.bytes()).sum();
            prop_assert_eq!(outgoing.retained_bytes, retained);
        }
    }

    /// However they are answered, and however often the ids go around, none is in flight twice.
    #[test]
    fn packet_ids_are_free(answers in prop::collection::vec(any::<prop::sample::Index>(), 1..400), begin in 64_000..=u16::MAX) {
        let mut outgoing = Outgoing::restored(VecDeque::new(), begin);
        for answer in answers {
            for _ in 0..20 {
                queue(&mut outgoing, 1);
            }
            send(&mut outgoing, 50);
            let mut pkids: Vec<u16> = outgoing.in_flight().map(|flying| flying.pkid).collect();
            let answered = *answer.get(&pkids);
            pkids.sort_unstable();
            pkids.dedup();
            prop_assert!(pkids.len() == outgoing.in_flight().count() && !pkids.contains(&0));
            prop_assert!(outgoing.complete(answered, Answer::Acknowledged));
        }
    }
}

//! What a client sends, frame by frame, without holding any: payload is unmasked and moved together where it was read.

use super::frame::{self, HEADER_BYTES_MAX, Header, Kind, NORMAL, PROTOCOL_ERROR, TOO_BIG, Violation};

/// Bytes that wait to be sent beyond which pings are no longer answered: whoever does not read the answers needs none.
const PONGS_WAITING_BYTES_MAX: usize = 1_024;

/// How it ended, and the code to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The client said so.
    Closed(u16),
    /// It broke the protocol.
    Violated { code: u16, what: &'static str },
}

/// A frame under way.
#[derive(Clone, Copy, Debug)]
struct Current {
    header: Header,
    /// Bytes of its payload that came.
    came: u64,
}

/// Where the reading of frames stands.
#[derive(Debug)]
pub(super) struct Inbound {
    frame_bytes_max: u64,
    /// The beginning of a header.
    begun: [u8; HEADER_BYTES_MAX],
    begun_bytes: u8,
    current: Option<Current>,
    /// What came of a control frame.
    control: Vec<u8>,
    /// A message has more frames to come.
    is_in_message: bool,
    ended: Option<Ended>,
}

impl Inbound {
    pub(super) fn new(frame_bytes_max: u64) -> Self {
        Self {
            frame_bytes_max,
            begun: [0; HEADER_BYTES_MAX],
            begun_bytes: 0,
            current: None,
            control: Vec::new(),
            is_in_message: false,
            ended: None,
        }
    }

    /// How it ended, if it has.
    pub(super) fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// Takes what was read, `buffer[begin..end]`, and leaves the payload of binary frames at the beginning of `buffer`; tells
    /// how much that is. Answers to pings go to `replies`. After an end nothing more is taken.
    pub(super) fn take(&mut self, buffer: &mut [u8], begin: usize, end: usize, replies: &mut Vec<u8>) -> usize {
        let (mut at, mut kept) = (begin, 0);
        while self.ended.is_none() {
            match self.current {
                None if at == end => break,
                None => {
                    self.begin_frame(buffer[at]);
                    at += 1;
                }
                Some(Current { header, came }) => {
                    let left = header.payload_bytes - came;
                    let here = usize::try_from(left).map_or(end - at, |left| left.min(end - at));
                    if here == 0 && left > 0 {
                        break;
                    }
                    frame::unmask(&mut buffer[at..at + here], header.mask, came);
                    if matches!(header.kind, Kind::Binary | Kind::Continuation) {
                        buffer.copy_within(at..at + here, kept);
                        kept += here;
                    } else {
                        self.control.extend_from_slice(&buffer[at..at + here]);
                    }
                    at += here;
                    self.current = Some(Current { header, came: came + here as u64 });
                    if here as u64 == left {
                        self.end_frame(header, replies);
                    }
                }
            }
        }
        kept
    }

    /// Takes a byte of a header.
    fn begin_frame(&mut self, byte: u8) {
        self.begun[usize::from(self.begun_bytes)] = byte;
        self.begun_bytes += 1;
        match frame::header(&self.begun[..usize::from(self.begun_bytes)]) {
            Ok(None) => {}
            Ok(Some(header)) => {
                self.begun_bytes = 0;
                match self.check(header) {
                    Ok(()) => self.current = Some(Current { header, came: 0 }),
                    Err(violation) => self.violate(violation),
                }
            }
            Err(violation) => self.violate(violation),
        }
    }

    /// What a header alone does not show.
    fn check(&self, header: Header) -> Result<(), Violation> {
        let broken = |what| Err(Violation { code: PROTOCOL_ERROR, what });
        match header.kind {
            Kind::Continuation if !self.is_in_message => broken("a continuation of no message"),
            Kind::Binary if self.is_in_message => broken("a message within another"),
            _ if header.payload_bytes > self.frame_bytes_max => {
                Err(Violation { code: TOO_BIG, what: "a frame that is too large" })
            }
            _ => Ok(()),
        }
    }

    fn end_frame(&mut self, header: Header, replies: &mut Vec<u8>) {
        self.current = None;
        match header.kind {
            Kind::Binary | Kind::Continuation => self.is_in_message = !header.is_final,
            Kind::Ping => {
                if replies.len() < PONGS_WAITING_BYTES_MAX {
                    frame::put_pong(replies, &self.control);
                }
            }
            Kind::Pong => {}
            Kind::Close => match self.control[..] {
                [] => self.ended = Some(Ended::Closed(NORMAL)),
                [_] => self.violate(Violation { code: PROTOCOL_ERROR, what: "a close frame with half a code" }),
                [high, low, ..] => self.ended = Some(closed(u16::from_be_bytes([high, low]))),
            },
        }
        self.control = Vec::new();
    }

    fn violate(&mut self, Violation { code, what }: Violation) {
        self.ended = Some(Ended::Violated { code, what });
    }
}

/// What a client's close code comes to: it is said back, if it is one that may be said at all (RFC 6455, section 7.4).
fn closed(code: u16) -> Ended {
    match code {
        1000..=1003 | 1007..=1014 | 3000..=4999 => Ended::Closed(code),
        _ => Ended::Violated { code: PROTOCOL_ERROR, what: "a close code that is none" },
    }
}

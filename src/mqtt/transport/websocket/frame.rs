//! Frames as bytes: their headers read and written (RFC 6455, section 5.2).

/// Bytes that a frame may announce, or one packet's worth where that is more. Nothing holds a frame, so that this bounds no
/// memory: it is to tell a client that lost its place from one that sends much at once.
pub(super) const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Bytes that a header can take: two, the longest length, and the mask.
pub(super) const HEADER_BYTES_MAX: usize = 2 + 8 + 4;

/// Payload that a control frame can have.
pub(super) const CONTROL_BYTES_MAX: usize = 125;

/// Close: all was said.
pub(super) const NORMAL: u16 = 1000;
/// Close: the protocol was broken.
pub(super) const PROTOCOL_ERROR: u16 = 1002;
/// Close: a kind of data that is not taken.
pub(super) const UNSUPPORTED: u16 = 1003;
/// Close: a frame that is too large.
pub(super) const TOO_BIG: u16 = 1009;

const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// More of the message under way.
    Continuation,
    /// The beginning of a message.
    Binary,
    /// The end of the connection.
    Close,
    /// To be answered.
    Ping,
    /// An answer.
    Pong,
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    /// The last frame of its message.
    pub(super) is_final: bool,
    pub(super) payload_bytes: u64,
    pub(super) mask: [u8; 4],
}

/// What breaks the protocol, and the code to close with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) code: u16,
    pub(super) what: &'static str,
}

const fn broken(what: &'static str) -> Violation {
    Violation { code: PROTOCOL_ERROR, what }
}

/// Reads the header that these bytes begin with; `None` if it goes on. What its first two bytes show to be wrong is told
/// before the others are there.
pub(super) fn header(bytes: &[u8]) -> Result<Option<Header>, Violation> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    if first & RESERVED != 0 {
        return Err(broken("a frame with reserved bits"));
    }
    let is_final = first & FINAL != 0;
    let kind = match first & 0x0F {
        0x0 => Kind::Continuation,
        0x1 => return Err(Violation { code: UNSUPPORTED, what: "a text frame [MQTT-6.0.0-1]" }),
        0x2 => Kind::Binary,
        0x8 => Kind::Close,
        0x9 => Kind::Ping,
        0xA => Kind::Pong,
        _ => return Err(broken("a frame of an unknown kind")),
    };
    if second & MASKED == 0 {
        return Err(broken("a frame that is not masked"));
    }
    let length = second & !MASKED;
    let is_control = matches!(kind, Kind::Close | Kind::Ping | Kind::Pong);
    if is_control && (!is_final || usize::from(length) > CONTROL_BYTES_MAX) {
        return Err(broken("a control frame that is long or in parts"));
    }
    let (payload_bytes, rest) = match (length, rest) {
        (126, [a, b, rest @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), rest),
        (127, [a, b, c, d, e, f, g, h, rest @ ..]) => (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), rest),
        (126 | 127, _) => return Ok(None),
        (short, rest) => (u64::from(short), rest),
    };
    let [a, b, c, d, ..] = rest else { return Ok(None) };
    Ok(Some(Header { kind, is_final, payload_bytes, mask: [*a, *b, *c, *d] }))
}

/// Takes the mask off bytes of a payload of which so many were unmasked before.
pub(super) fn unmask(bytes: &mut [u8], mask: [u8; 4], before: u64) {
    let mut turned = mask;
    turned.rotate_left((before % 4) as usize);
    let word =
        u64::from_ne_bytes([turned[0], turned[1], turned[2], turned[3], turned[0], turned[1], turned[2], turned[3]]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for chunk in words {
        *chunk = (u64::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(turned.iter().cycle()) {
        *byte ^= mask;
    }
}

/// Appends a binary frame that is a whole message.
pub(super) fn put_binary(out: &mut Vec<u8>, payload: &[u8]) {
    out.push(FINAL | 0x2);
    match payload.len() {
        short @ 0..=125 => out.push(short as u8),
        middle @ 126..=0xFFFF => {
            out.push(126);
            out.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            out.push(127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

/// Appends the answer to a ping, whose payload is a control frame's.
pub(super) fn put_pong(out: &mut Vec<u8>, payload: &[u8]) {
    out.extend_from_slice(&[FINAL | 0xA, payload.len() as u8]);
    out.extend_from_slice(payload);
}

/// Appends a close frame.
pub(super) fn put_close(out: &mut Vec<u8>, code: u16) {
    out.extend_from_slice(&[FINAL | 0x8, 2]);
    out.extend_from_slice(&code.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_once_they_are_whole() {
        let mask = [1, 2, 3, 4];
        let cases: [(&[u8], Kind, bool, u64); 6] = [
            (&[0x82, 0x80], Kind::Binary, true, 0),
            (&[0x02, 0x85], Kind::Binary, false, 5),
            (&[0x80, 0xFE, 0, 200], Kind::Continuation, true, 200),
            (&[0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0], Kind::Binary, true, 65_536),
            (&[0x89, 0xFD], Kind::Ping, true, 125),
            (&[0x88, 0x82], Kind::Close, true, 2),
        ];
        for (bytes, kind, is_final, payload_bytes) in cases {
            let whole = [bytes, &mask].concat();
            for end in 0..whole.len() {
                assert_eq!(header(&whole[..end]), Ok(None), "{whole:x?} cut at {end}");
            }
            assert_eq!(header(&whole), Ok(Some(Header { kind, is_final, payload_bytes, mask })), "{whole:x?}");
        }
    }

    #[test]
    fn what_may_not_be_is_told_by_its_first_bytes() {
        let cases: [([u8; 2], u16); 9] = [
            ([0x82, 0x05], PROTOCOL_ERROR),
            ([0xC2, 0x85], PROTOCOL_ERROR),
            ([0x92, 0x85], PROTOCOL_ERROR),
            ([0x83, 0x85], PROTOCOL_ERROR),
            ([0x8B, 0x85], PROTOCOL_ERROR),
            ([0x81, 0x85], UNSUPPORTED),
            ([0x09, 0x80], PROTOCOL_ERROR),
            ([0x89, 0xFE], PROTOCOL_ERROR),
            ([0x88, 0xFF], PROTOCOL_ERROR),
        ];
        for (bytes, code) in cases {
            assert_eq!(header(&bytes).map_err(|violation| violation.code), Err(code), "{bytes:x?}");
        }
    }

    #[test]
    fn a_mask_goes_on_where_it_stopped() {
        let plain: Vec<u8> = (0..100).collect();
        let mask = [0x11, 0x22, 0x43, 0x84];
        let masked: Vec<u8> = plain.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        for cut in 0..plain.len() {
            let mut bytes = masked.clone();
            let (first, second) = bytes.split_at_mut(cut);
            unmask(first, mask, 0);
            unmask(second, mask, cut as u64);
            assert_eq!(bytes, plain, "{cut}");
        }
    }

    #[test]
    fn lengths_are_written_in_as_few_bytes_as_they_need() {
        for (length, header) in [
            (0, &[0x82, 0][..]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (65_535, &[0x82, 126, 0xFF, 0xFF]),
            (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = Vec::new();
            put_binary(&mut out, &vec![7; length]);
            assert_eq!((&out[..header.len()], out.len()), (header, header.len() + length));
        }
    }
}

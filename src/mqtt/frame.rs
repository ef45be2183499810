//! Where a control packet begins and ends in what was read: the fixed header, in place.

use super::codec::Malformed;

/// Largest CONNECT, bytes: of whoever did not show yet who it is no more is gathered. A will's payload may be 65,535 bytes
/// [MQTT-3.1.3.4]; names, properties and credentials share the rest.
pub(super) const CONNECT_BYTES_MAX: usize = 80 * 1024;

/// The first packet in some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framed<'a> {
    /// The packet is not all there yet.
    Incomplete,
    /// A whole packet.
    Packet(Packet<'a>),
    /// A remaining length of more than four bytes, or of more than it needs.
    Malformed(Malformed),
    /// The packet is, or will be, larger than the bound.
    TooLarge,
}

/// A whole control packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    /// From the fixed header to the last byte.
    pub(super) bytes: &'a [u8],
    /// What follows the fixed header.
    pub(super) body: &'a [u8],
}

impl Packet<'_> {
    /// Type and flags.
    pub(super) fn first_byte(&self) -> u8 {
        self.bytes[0]
    }
}

const LONG_LENGTH: Malformed =
    Malformed { what: "a remaining length of more than four bytes", clause: "MQTT-1.5.5-1", reason: 0x81 };

const PADDED_LENGTH: Malformed =
    Malformed { what: "a remaining length takes more bytes than it needs", clause: "MQTT-1.5.5-1", reason: 0x81 };

/// Finds the first packet. A packet over `packet_bytes_max` is told by its header, before its bytes are gathered.
pub(super) fn first_packet(bytes: &[u8], packet_bytes_max: usize) -> Framed<'_> {
    let mut remaining = 0usize;
    for index in 0..4 {
        let Some(byte) = bytes.get(1 + index) else { return Framed::Incomplete };
        remaining |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            // As the codec has it: the fast path must take nothing that it would not.
            if *byte == 0 && index > 0 {
                return Framed::Malformed(PADDED_LENGTH);
            }
            let header = 2 + index;
            let total = header + remaining;
            if total > packet_bytes_max {
                return Framed::TooLarge;
            }
            return match bytes.get(..total) {
                Some(bytes) => Framed::Packet(Packet { bytes, body: &bytes[header..] }),
                None => Framed::Incomplete,
            };
        }
    }
    Framed::Malformed(LONG_LENGTH)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn packets_are_cut_where_their_length_says() {
        let ping = [0xC0, 0x00, 0xC0];
        match first_packet(&ping, 100) {
            Framed::Packet(packet) => assert_eq!((packet.bytes, packet.body), (&ping[..2], &[][..])),
            other => panic!("{other:?}"),
        }
        assert_eq!(first_packet(&[], 100), Framed::Incomplete);
        assert_eq!(first_packet(&[0x30], 100), Framed::Incomplete);
        assert_eq!(first_packet(&[0x30, 0x80], 100), Framed::Incomplete);
        assert_eq!(first_packet(&[0x30, 2, 0], 100), Framed::Incomplete);
        assert_eq!(first_packet(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF], 100), Framed::Malformed(LONG_LENGTH));
        for padded in [&[0x30, 0x80, 0x00][..], &[0x30, 0x83, 0x00, 0, 1, b't'], &[0xC0, 0x80, 0x80, 0x80, 0x00]] {
            assert_eq!(first_packet(padded, 100), Framed::Malformed(PADDED_LENGTH), "{padded:?}");
        }
        assert_eq!(first_packet(&[0x30, 99], 100), Framed::TooLarge);
        assert_eq!(first_packet(&[0x30, 98], 100), Framed::Incomplete);
        let mut long = vec![0x30, 0x80, 0x01];
        long.resize(3 + 128, 7);
        match first_packet(&long, 1_000) {
            Framed::Packet(packet) => assert_eq!(packet.body.len(), 128),
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_cut_within_themselves(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Framed::Packet(packet) = first_packet(&bytes, 200) {
                prop_assert!(packet.bytes.len() <= bytes.len().min(200));
                prop_assert!(packet.body.len() < packet.bytes.len());
            }
        }
    }
}

//! Where a control packet begins and ends in what was read: the fixed header, in place.

use super::codec::{Malformed, PADDED_LENGTH, Version};

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
    /// A remaining length of more than four bytes, or in MQTT 5 of more than it needs.
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

/// Finds the first packet. A packet over `packet_bytes_max` is told by its header, before its bytes are gathered. Before CONNECT
/// told the `version` a length is read as 3.1.1 has it, and decoding the CONNECT refuses what MQTT 5 does not have.
pub(super) fn first_packet(bytes: &[u8], version: Option<Version>, packet_bytes_max: usize) -> Framed<'_> {
    match length(bytes) {
        Length::Unknown => Framed::Incomplete,
        Length::TooLong => Framed::Malformed(LONG_LENGTH),
        // As the codec has it: the fast path must take nothing that it would not.
        Length::Known { is_padded: true, .. } if version == Some(Version::V5) => Framed::Malformed(PADDED_LENGTH),
        Length::Known { total, .. } if total > packet_bytes_max => Framed::TooLarge,
        Length::Known { header, total, .. } => match bytes.get(..total) {
            Some(bytes) => Framed::Packet(Packet { bytes, body: &bytes[header..] }),
            None => Framed::Incomplete,
        },
    }
}

/// How many bytes the first packet lacks; 0 if it is whole, or if its length is not there yet.
pub(super) fn missing_bytes(bytes: &[u8]) -> usize {
    match length(bytes) {
        Length::Known { total, .. } => total.saturating_sub(bytes.len()),
        Length::Unknown | Length::TooLong => 0,
    }
}

/// What a fixed header says of its packet's length.
enum Length {
    /// Its last byte is not there yet.
    Unknown,
    /// It has more than four bytes.
    TooLong,
    Known {
        /// Bytes of the fixed header.
        header: usize,
        /// Bytes of the whole packet.
        total: usize,
        /// Whether it takes more bytes than it needs.
        is_padded: bool,
    },
}

#[inline]
fn length(bytes: &[u8]) -> Length {
    let mut remaining = 0usize;
    for index in 0..4 {
        let Some(byte) = bytes.get(1 + index) else { return Length::Unknown };
        remaining |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            let header = 2 + index;
            return Length::Known { header, total: header + remaining, is_padded: *byte == 0 && index > 0 };
        }
    }
    Length::TooLong
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mqtt::close::Close;
    use crate::mqtt::config::Config;
    use crate::mqtt::workbench::Workbench;

    #[test]
    fn packets_are_cut_where_their_length_says() {
        let ping = [0xC0, 0x00, 0xC0];
        match first_packet(&ping, Some(Version::V4), 100) {
            Framed::Packet(packet) => assert_eq!((packet.bytes, packet.body), (&ping[..2], &[][..])),
            other => panic!("{other:?}"),
        }
        assert_eq!(first_packet(&[], Some(Version::V4), 100), Framed::Incomplete);
        assert_eq!(first_packet(&[0x30], Some(Version::V4), 100), Framed::Incomplete);
        assert_eq!(first_packet(&[0x30, 0x80], Some(Version::V4), 100), Framed::Incomplete);
        assert_eq!(first_packet(&[0x30, 2, 0], Some(Version::V4), 100), Framed::Incomplete);
        assert_eq!(
            first_packet(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF], Some(Version::V4), 100),
            Framed::Malformed(LONG_LENGTH)
        );
        assert_eq!(first_packet(&[0x30, 99], Some(Version::V4), 100), Framed::TooLarge);
        assert_eq!(first_packet(&[0x30, 98], Some(Version::V4), 100), Framed::Incomplete);
        let mut long = vec![0x30, 0x80, 0x01];
        long.resize(3 + 128, 7);
        match first_packet(&long, Some(Version::V4), 1_000) {
            Framed::Packet(packet) => assert_eq!(packet.body.len(), 128),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_length_may_take_up_to_four_bytes_and_more_than_it_needs_in_3_1_1_alone() {
        // What the length says, and the bytes that say it.
        let lengths: [(usize, &[u8]); 6] = [
            (0, &[0x80, 0x00]),
            (0, &[0x80, 0x80, 0x80, 0x00]),
            (3, &[0x83, 0x00]),
            (3, &[0x83, 0x80, 0x00]),
            (3, &[0x83, 0x80, 0x80, 0x00]),
            (130, &[0x82, 0x81, 0x00]),
        ];
        for (remaining, length) in lengths {
            let bytes = [&[0x30], length, &vec![7; remaining]].concat();
            for version in [None, Some(Version::V4)] {
                let Framed::Packet(packet) = first_packet(&bytes, version, 200) else { panic!("{length:02x?}") };
                assert_eq!((packet.bytes, packet.body), (&bytes[..], &bytes[1 + length.len()..]));
                assert_eq!(first_packet(&bytes, version, bytes.len() - 1), Framed::TooLarge, "the header counts");
            }
            assert_eq!(first_packet(&bytes, Some(Version::V5), 200), Framed::Malformed(PADDED_LENGTH), "{length:02x?}");
        }
        for version in [None, Some(Version::V4), Some(Version::V5)] {
            let too_long = [0x30, 0x80, 0x80, 0x80, 0x80, 0x00];
            assert_eq!(first_packet(&too_long, version, 200), Framed::Malformed(LONG_LENGTH));
            assert_eq!(first_packet(&too_long[..4], version, 200), Framed::Incomplete);
        }
    }

    /// A client that writes each length in four bytes, from its CONNECT on.
    #[test]
    fn a_client_of_3_1_1_may_pad_what_one_of_5_may_not() {
        let mut door = Workbench::new(Config::default());
        let mut said = |packets: &[&[u8]]| {
            let mut connection = door.connection(false);
            let ended = packets.iter().try_for_each(|packet| {
                let taken = connection.take_packets(&mut door.context, packet)?;
                assert_eq!(taken, packet.len(), "{packet:02x?}");
                Ok::<_, Close>(())
            });
            let out = std::mem::take(&mut connection.out);
            connection.end_session(&mut door.context, Close::Lost);
            (ended, out)
        };
        let ping = b"\xC0\x80\x80\x80\x00";
        let connect = b"\x10\x8D\x80\x80\x00\0\x04MQTT\x04\x02\0\0\0\x01c";
        assert_eq!(said(&[connect, ping]), (Ok(()), b"\x20\x02\0\0\xD0\0".to_vec()));
        let connect = b"\x10\x8E\x80\x80\x00\0\x04MQTT\x05\x02\0\0\0\0\x01c";
        let (ended, out) = said(&[connect]);
        assert_eq!((ended, out[0], out[3]), (Err(Close::Malformed(PADDED_LENGTH)), 0x20, 0x81));
        let connect = b"\x10\x0E\0\x04MQTT\x05\x02\0\0\0\0\x01c";
        assert_eq!(said(&[connect, ping]).0, Err(Close::Malformed(PADDED_LENGTH)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_cut_within_themselves(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Framed::Packet(packet) = first_packet(&bytes, Some(Version::V4), 200) {
                prop_assert!(packet.bytes.len() <= bytes.len().min(200));
                prop_assert!(packet.body.len() < packet.bytes.len());
                for cut in 0..packet.bytes.len() {
                    let header = packet.bytes.len() - packet.body.len();
                    let missing = if cut < header { 0 } else { packet.bytes.len() - cut };
                    prop_assert_eq!(missing_bytes(&bytes[..cut]), missing);
                }
            }
        }
    }
}

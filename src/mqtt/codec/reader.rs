//! Reads the fields of a packet, never past its end.

use super::{Malformed, VARINT_MAX};

/// What is left of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) =
            self.0.split_at_checked(count).ok_or(Malformed::packet("a field ends past the packet", "MQTT-4.8.0-1"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        let bytes = self.take(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A variable byte integer, in as few bytes as it takes.
    pub(super) fn varint(&mut self) -> Result<u32, Malformed> {
        match self.padded_varint()? {
            (_, true) => Err(Malformed::packet("a length takes more bytes than it needs", "MQTT-1.5.5-1")),
            (value, false) => Ok(value),
        }
    }

    /// A variable byte integer, and whether it came in more bytes than it takes: up to four, as 3.1.1 lets it.
    pub(super) fn padded_varint(&mut self) -> Result<(u32, bool), Malformed> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21] {
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                debug_assert!(value <= VARINT_MAX);
                return Ok((value, byte == 0 && shift > 0));
            }
        }
        Err(Malformed::packet("a length of more than four bytes", "MQTT-1.5.5-1"))
    }

    pub(super) fn binary(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    pub(super) fn string(&mut self) -> Result<&'a str, Malformed> {
        let text = std::str::from_utf8(self.binary()?)
            .map_err(|_| Malformed::packet("a string is not UTF-8", "MQTT-1.5.3-1"))?;
        if text.contains('\0') {
            return Err(Malformed::packet("a string contains U+0000", "MQTT-1.5.3-2"));
        }
        Ok(text)
    }

    /// A packet identifier, never 0.
    pub(super) fn pkid(&mut self) -> Result<u16, Malformed> {
        match self.u16()? {
            0 => Err(Malformed::protocol("the packet identifier is 0", "MQTT-2.3.1-1")),
            pkid => Ok(pkid),
        }
    }

    pub(super) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(Malformed::packet("bytes are left behind the last field", "MQTT-4.8.0-1"))
    }
}

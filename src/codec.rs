//! The wire formats by name: what a payload was read as, for books, evidence and configuration.

use std::fmt;
use std::str::FromStr;

/// A wire format that fixes come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Codec {
    /// Native JSON, over MQTT and HTTP.
    Native = 0,
    /// OwnTracks JSON, over MQTT and HTTP.
    OwnTracks = 1,
    /// OsmAnd's query string, over HTTP.
    OsmAnd = 2,
    /// Traccar Client's JSON, over HTTP.
    Traccar = 3,
    /// flespi's flat JSON messages.
    Flespi = 4,
    /// Teltonika's Codec JSON.
    Teltonika = 5,
    /// Compact binary batches.
    Compact = 6,
    /// Rows of a recording, which are no payloads.
    Recording = 7,
}

impl Codec {
    /// How many there are.
    pub const COUNT: usize = 8;

    /// All of them, each at its number.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Native,
        Self::OwnTracks,
        Self::OsmAnd,
        Self::Traccar,
        Self::Flespi,
        Self::Teltonika,
        Self::Compact,
        Self::Recording,
    ];

    /// The name in configuration, metrics and evidence.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::OwnTracks => "owntracks",
            Self::OsmAnd => "osmand",
            Self::Traccar => "traccar",
            Self::Flespi => "flespi",
            Self::Teltonika => "teltonika",
            Self::Compact => "compact",
            Self::Recording => "recording",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// No codec has this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such codec; there are native, owntracks, osmand, traccar, flespi, teltonika, compact, recording")]
pub struct UnknownCodec;

impl FromStr for Codec {
    type Err = UnknownCodec;

    fn from_str(name: &str) -> Result<Self, UnknownCodec> {
        Self::ALL.into_iter().find(|codec| codec.as_str() == name).ok_or(UnknownCodec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_codec_has_its_number_and_a_name_of_its_own() {
        for (number, codec) in Codec::ALL.into_iter().enumerate() {
            assert_eq!(codec as usize, number);
            assert_eq!(codec.as_str().parse(), Ok(codec));
            assert!(UnknownCodec.to_string().contains(codec.as_str()));
        }
        assert_eq!("Native".parse::<Codec>(), Err(UnknownCodec));
    }
}

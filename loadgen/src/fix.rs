//! One position report as the generator makes it, in the resolution that it prints.

/// A fix: enough to render its payload again, digit by digit, when it has to be sent twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fix {
    /// Milliseconds since the Unix epoch, UTC.
    pub time_ms: i64,
    /// Millionths of a degree, north positive.
    pub latitude_e6: i32,
    /// Millionths of a degree, east positive.
    pub longitude_e6: i32,
    /// Tenths of a metre a second.
    pub speed_dmps: u16,
    /// Degrees clockwise from north, 0 to 359.
    pub heading_deg: u16,
}

//! In which form a track is asked for: by `format`, or else by `Accept` (RFC 9110, 12.5.1).

use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, HeaderValue};

/// The forms of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    GeoJson,
    Csv,
    Gpx,
}

impl Format {
    /// The names that [`Format::parse`] takes.
    pub(super) const NAMES: &'static str = "json, geojson, csv or gpx";

    /// In the order of preference where a client has none.
    const ALL: [Self; 4] = [Self::Json, Self::GeoJson, Self::Csv, Self::Gpx];

    /// The form of this name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "json" => Some(Self::Json),
            "geojson" => Some(Self::GeoJson),
            "csv" => Some(Self::Csv),
            "gpx" => Some(Self::Gpx),
            _ => None,
        }
    }

    /// Its media type as the answer names it.
    pub(super) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json => "application/json",
            Self::GeoJson => "application/geo+json",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Gpx => "application/gpx+xml",
        })
    }

    fn media_type(self) -> (&'static str, &'static str) {
        match self {
            Self::Json => ("application", "json"),
            Self::GeoJson => ("application", "geo+json"),
            Self::Csv => ("text", "csv"),
            Self::Gpx => ("application", "gpx+xml"),
        }
    }

    /// The form that `Accept` likes best. JSON if it likes none: an answer that can be read beats a 406.
    pub(super) fn accepted(headers: &HeaderMap) -> Self {
        let ranges: Vec<_> = headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(Range::parse)
            .collect();
        let mut best = (0, Self::Json);
        for format in Self::ALL {
            let quality = format.quality(&ranges);
            if quality > best.0 {
                best = (quality, format);
            }
        }
        best.1
    }

    /// How well the most specific of the ranges likes this form, in thousandths.
    fn quality(self, ranges: &[Range<'_>]) -> u16 {
        let fitting = ranges.iter().filter_map(|range| Some((range.specificity(self.media_type())?, range.quality)));
        fitting.max().map_or(0, |(_, quality)| quality)
    }
}

/// One media range of an `Accept` header.
#[derive(Debug)]
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    quality: u16,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let quality = match quality {
            Some(text) => text.parse::<f32>().ok().filter(|quality| (0.0..=1.0).contains(quality))?,
            None => 1.0,
        };
        Some(Self { kind, subtype, quality: (quality * 1_000.0).round() as u16 })
    }

    /// How exactly this names a media type; `None` if it does not.
    fn specificity(&self, (kind, subtype): (&str, &str)) -> Option<u8> {
        match (self.kind, self.subtype) {
            ("*", "*") => Some(0),
            (mine, "*") if mine.eq_ignore_ascii_case(kind) => Some(1),
            (mine, own) if mine.eq_ignore_ascii_case(kind) && own.eq_ignore_ascii_case(subtype) => Some(2),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_chooses() {
        let cases = [
            ("", Format::Json),
            ("*/*", Format::Json),
            ("text/csv", Format::Csv),
            ("TEXT/CSV;q=0.5", Format::Csv),
            ("application/gpx+xml, */*;q=0.1", Format::Gpx),
            ("application/geo+json", Format::GeoJson),
            ("application/json;q=0.2, application/geo+json;q=0.9", Format::GeoJson),
            ("application/*, application/json;q=0", Format::GeoJson),
            ("text/*", Format::Csv),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Format::Json),
            ("image/png", Format::Json),
            ("text/csv;q=7, garbage", Format::Json),
        ];
        for (accept, wanted) in cases {
            let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
            assert_eq!(Format::accepted(&headers), wanted, "{accept}");
        }
        assert_eq!(Format::accepted(&HeaderMap::new()), Format::Json);
    }
}

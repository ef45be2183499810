//! GeoJSON geometries [RFC 7946, 3.1] as they are read and written, not yet judged.

use std::fmt;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// A place: longitude, then latitude, in degrees. An altitude behind them is passed over [RFC 7946, 3.1.1].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Vertex(pub [f64; 2]);

/// The geometries that have a meaning here, with their `coordinates`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "coordinates")]
pub enum Geometry {
    /// One place.
    Point(Vertex),
    /// A line through places.
    LineString(Vec<Vertex>),
    /// An outer ring, then its holes.
    Polygon(Vec<Vec<Vertex>>),
    /// Several polygons.
    MultiPolygon(Vec<Vec<Vec<Vertex>>>),
}

impl Geometry {
    /// The `type` of it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Point(_) => "Point",
            Self::LineString(_) => "LineString",
            Self::Polygon(_) => "Polygon",
            Self::MultiPolygon(_) => "MultiPolygon",
        }
    }
}

impl<'de> Deserialize<'de> for Vertex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Numbers;

        impl<'de> Visitor<'de> for Numbers {
            type Value = Vertex;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a position of longitude and latitude")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Vertex, A::Error> {
                let mut next = |index| {
                    let number = numbers.next_element::<f64>()?;
                    number.ok_or_else(|| serde::de::Error::invalid_length(index, &self))
                };
                let vertex = Vertex([next(0)?, next(1)?]);
                while numbers.next_element::<IgnoredAny>()?.is_some() {}
                Ok(vertex)
            }
        }

        deserializer.deserialize_seq(Numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geometries_are_read_and_written() {
        for (text, expected) in [
            (r#"{"type":"Point","coordinates":[21,52.5]}"#, Geometry::Point(Vertex([21.0, 52.5]))),
            (
                r#"{"coordinates":[[21,52,100],[22,53]],"type":"LineString","bbox":[1,2,3,4]}"#,
                Geometry::LineString(vec![Vertex([21.0, 52.0]), Vertex([22.0, 53.0])]),
            ),
        ] {
            let read: Geometry = serde_json::from_str(text).unwrap();
            assert_eq!(read, expected);
            assert_eq!(serde_json::from_str::<Geometry>(&serde_json::to_string(&read).unwrap()).unwrap(), expected);
        }
        for bad in [
            r#"{"type":"Point","coordinates":[21]}"#,
            r#"{"type":"Point","coordinates":"x"}"#,
            r#"{"type":"Circle","coordinates":[1,2]}"#,
            r#"{"type":"Polygon"}"#,
        ] {
            assert!(serde_json::from_str::<Geometry>(bad).is_err(), "{bad}");
        }
    }
}

//! A geofence as GeoJSON [RFC 7946]: read from what a client puts, and shown as it is kept.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::follow::Kept;
use crate::geo::Geometry;
use crate::geo::fence::{Fence, FenceSpec};
use crate::http::error::Error;
use crate::ids::{DriverId, FenceId};

/// Reads a Feature, or a geometry alone, and sees that a fence can be made of it.
pub(super) fn read(id: &FenceId, body: &[u8]) -> Result<Described, Error> {
    let read: Value = serde_json::from_slice(body).map_err(|error| Error::Body(format!("as GeoJSON: {error}")))?;
    let Value::Object(mut object) = read else {
        return Err(Error::Body("as GeoJSON: it is no object".to_owned()));
    };
    let (geometry, properties) = if object.get("type").and_then(Value::as_str) == Some("Feature") {
        if object.get("id").is_some_and(|named| named.as_str() != Some(id.as_str())) {
            return Err(Error::parameter("id", "is another in the body than in the path"));
        }
        let geometry = object.remove("geometry").ok_or_else(|| Error::parameter("geometry", "is missing"))?;
        let properties = match object.remove("properties") {
            Some(Value::Object(properties)) => properties,
            None | Some(Value::Null) => Map::new(),
            Some(_) => return Err(Error::parameter("properties", "wants an object")),
        };
        (geometry, properties)
    } else {
        (Value::Object(object), Map::new())
    };
    let geometry: Geometry = serde_json::from_value(geometry).map_err(|error| {
        Error::parameter("geometry", format!("wants a Polygon, MultiPolygon, Point or LineString: {error}"))
    })?;
    let spec = spec(geometry, properties)?;
    let written = |error| Error::internal("a geofence could not be written", &error);
    let bytes = serde_json::to_vec(&spec).map_err(written)?;
    // What the journal will hold is what is looked at, by the last bit. Any version: this one is not kept.
    let spec: FenceSpec = serde_json::from_slice(&bytes).map_err(written)?;
    let fence = Fence::new(id.clone(), 0, &spec).map_err(|error| Error::parameter(error.field(), error.to_string()))?;
    Ok(Described { spec: bytes, built_bytes: fence.len_bytes() })
}

/// A fence that can be.
#[derive(Debug)]
pub(super) struct Described {
    /// A [`FenceSpec`] in JSON.
    pub(super) spec: Vec<u8>,
    /// Memory that the fence will take.
    pub(super) built_bytes: usize,
}

fn spec(geometry: Geometry, properties: Map<String, Value>) -> Result<FenceSpec, Error> {
    let mut spec =
        FenceSpec { geometry, radius_m: None, width_m: None, name: None, dwell_s: None, driver_id: None, once: false };
    for (name, value) in properties.into_iter().filter(|(_, value)| !value.is_null()) {
        match name.as_str() {
            "radius_m" => spec.radius_m = Some(number("radius_m", &value)?),
            "width_m" => spec.width_m = Some(number("width_m", &value)?),
            "name" => spec.name = Some(text("name", &value)?.to_owned()),
            "dwell_s" => {
                let seconds = value.as_u64().and_then(|seconds| u32::try_from(seconds).ok());
                spec.dwell_s = Some(seconds.ok_or_else(|| Error::parameter("dwell_s", "wants a whole number"))?);
            }
            "driver_id" => {
                let driver = DriverId::new(text("driver_id", &value)?);
                spec.driver_id = Some(driver.map_err(|error| Error::parameter("driver_id", error.to_string()))?);
            }
            "once" => {
                spec.once = value.as_bool().ok_or_else(|| Error::parameter("once", "wants true or false"))?;
            }
            unknown => {
                let detail = format!(
                    "knows radius_m, width_m, name, dwell_s, driver_id and once, and not {:?}",
                    unknown.chars().take(40).collect::<String>()
                );
                return Err(Error::parameter("properties", detail));
            }
        }
    }
    Ok(spec)
}

fn number(name: &'static str, value: &Value) -> Result<f64, Error> {
    value.as_f64().ok_or_else(|| Error::parameter(name, "wants a number of metres"))
}

fn text<'a>(name: &'static str, value: &'a Value) -> Result<&'a str, Error> {
    value.as_str().ok_or_else(|| Error::parameter(name, "wants a text"))
}

/// A fence as it is shown. `version` stands beside what GeoJSON defines, so that the Feature can be put back as it is.
#[derive(Debug, Serialize)]
pub(super) struct Feature<'a> {
    r#type: &'static str,
    id: &'a str,
    version: u64,
    geometry: &'a RawValue,
    properties: Properties<'a>,
}

#[derive(Debug, Serialize, serde::Deserialize)]
struct Properties<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    name: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    radius_m: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    width_m: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    dwell_s: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    driver_id: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    once: Option<&'a RawValue>,
}

#[derive(serde::Deserialize)]
struct Description<'a> {
    #[serde(borrow)]
    geometry: &'a RawValue,
}

impl<'a> Feature<'a> {
    /// Shows what is kept under an id.
    pub(super) fn of(id: &'a FenceId, kept: &'a Kept) -> Result<Self, Error> {
        let read = || -> serde_json::Result<_> {
            let Description { geometry } = serde_json::from_slice(&kept.spec)?;
            Ok((geometry, serde_json::from_slice(&kept.spec)?))
        };
        let (geometry, properties) = read().map_err(|error| Error::internal("a geofence does not read", &error))?;
        Ok(Self { r#type: "Feature", id: id.as_str(), version: kept.version, geometry, properties })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn id() -> FenceId {
        FenceId::new("depot").unwrap()
    }

    #[test]
    fn what_is_put_is_shown_again() {
        let square = json!({"type": "Polygon", "coordinates": [[[20.0, 52.0], [22.0, 52.0], [22.0, 53.0], [20.0, 53.0], [20.0, 52.0]]]});
        let cases = [
            (square.clone(), json!({})),
            (
                json!({"type": "Point", "coordinates": [21.0, 52.0]}),
                json!({"radius_m": 250.5, "name": "A \"b\"", "dwell_s": 60}),
            ),
            (
                json!({"type": "LineString", "coordinates": [[21.0, 52.0], [21.5, 52.0]]}),
                json!({"width_m": 30.0, "driver_id": "d1", "once": true}),
            ),
        ];
        for (geometry, properties) in cases {
            let feature =
                json!({"type": "Feature", "id": "depot", "geometry": geometry, "properties": properties, "version": 1});
            let spec = read(&id(), feature.to_string().as_bytes()).unwrap().spec;
            let kept = Kept { version: 7, spec: spec.as_slice().into(), built_bytes: 0 };
            let id = id();
            let shown = serde_json::to_value(Feature::of(&id, &kept).unwrap()).unwrap();
            let expected =
                json!({"type": "Feature", "id": "depot", "version": 7, "geometry": geometry, "properties": properties});
            assert_eq!(shown, expected);
            assert_eq!(read(&id, shown.to_string().as_bytes()).unwrap().spec, spec);
        }
        assert!(read(&id(), square.to_string().as_bytes()).is_ok(), "a geometry alone");
    }

    /// The corner of the hole is on the edge to the last bit, and would lie beyond it in a reader that is off by one.
    #[test]
    fn what_is_journalled_is_what_was_looked_at() {
        let body = r#"{"type":"Polygon","coordinates":[[[0,0],[4,0],[4,2],[0,0]],[[2.4429688151665365,1.22148440758326808],[2.2,0.5],[2.8,0.5],[2.4429688151665365,1.22148440758326808]]]}"#;
        if let Ok(Described { spec, .. }) = read(&id(), body.as_bytes()) {
            let spec: FenceSpec = serde_json::from_slice(&spec).unwrap();
            Fence::new(id(), 1, &spec).unwrap();
        }
        for number in ["1.22148440758326808", "0.1", "179.99999999999997", "52.229700000000001"] {
            let read: f64 = serde_json::from_str(number).unwrap();
            assert_eq!(read, number.parse::<f64>().unwrap(), "{number}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let named = |geometry: &str, properties: &str| {
            let feature = format!(r#"{{"type":"Feature","geometry":{geometry},"properties":{properties}}}"#);
            match read(&id(), feature.as_bytes()) {
                Err(Error::Parameter { name, .. }) => name,
                other => panic!("{feature}: {other:?}"),
            }
        };
        let point = r#"{"type":"Point","coordinates":[21,52]}"#;
        let bow_tie = r#"{"type":"Polygon","coordinates":[[[0,0],[1,1],[1,0],[0,1],[0,0]]]}"#;
        let cases = [
            (point, "{}", "radius_m"),
            (point, r#"{"radius_m":0}"#, "radius_m"),
            (point, r#"{"radius_m":"9"}"#, "radius_m"),
            (point, r#"{"radius_m":9,"width_m":9}"#, "width_m"),
            (point, r#"{"radius_m":9,"dwell_s":1.5}"#, "dwell_s"),
            (point, r#"{"radius_m":9,"dwell_s":0}"#, "dwell_s"),
            (point, r#"{"radius_m":9,"driver_id":"a b"}"#, "driver_id"),
            (point, r#"{"radius_m":9,"once":1}"#, "once"),
            (point, r#"{"radius_m":9,"name":1}"#, "name"),
            (point, r#"{"radius":9}"#, "properties"),
            (point, "[]", "properties"),
            (bow_tie, "{}", "geometry.coordinates"),
            (r#"{"type":"Point","coordinates":[21,95]}"#, r#"{"radius_m":9}"#, "geometry.coordinates"),
            (r#"{"type":"LineString","coordinates":[[21,52]]}"#, r#"{"width_m":9}"#, "geometry.coordinates"),
            (r#"{"type":"Circle"}"#, "{}", "geometry"),
            ("null", "{}", "geometry"),
        ];
        for (geometry, properties, expected) in cases {
            assert_eq!(named(geometry, properties), expected, "{geometry} {properties}");
        }
        for ill_formed in ["", "[]", "7"] {
            assert!(matches!(read(&id(), ill_formed.as_bytes()), Err(Error::Body(_))), "{ill_formed}");
        }
        let other = r#"{"type":"Feature","id":"x","geometry":null}"#;
        assert!(matches!(read(&id(), other.as_bytes()), Err(Error::Parameter { name: "id", .. })));
    }
}

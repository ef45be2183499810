//! One fix in the formats of other systems.

use serde_json::json;

/// A place in Ljubljana at 2023-11-14T22:13:20Z, moving at 10 m/s to the west, as each format says it.
pub(crate) const TIME_S: u64 = 1_700_000_000;

/// As OwnTracks' apps publish it.
pub(crate) fn owntracks(time_s: u64) -> String {
    json!({"_type": "location", "lat": 46.0569, "lon": 14.5058, "tst": time_s, "vel": 36, "cog": 270, "alt": 295, "acc": 12,
           "batt": 81, "tid": "ph"})
    .to_string()
}

/// As flespi's channels publish it.
pub(crate) fn flespi(time_s: u64) -> String {
    json!([{"ident": "352093081452251", "timestamp": time_s as f64, "position.latitude": 46.0569,
            "position.longitude": 14.5058, "position.speed": 36, "position.direction": 270, "position.altitude": 295,
            "position.satellites": 9, "position.valid": true}])
    .to_string()
}

/// As a tracker of Teltonika's publishes it.
pub(crate) fn teltonika(time_s: u64) -> String {
    json!({"state": {"reported": {"ts": time_s * 1_000, "pr": 0, "latlng": "46.0569,14.5058", "alt": 295, "ang": 270,
                                  "sat": 9, "sp": 36, "evt": 0, "239": 1}}})
    .to_string()
}

/// As a query of OsmAnd's.
pub(crate) fn osmand(id: &str, time_s: u64) -> String {
    // 10 m/s in knots.
    format!("id={id}&lat=46.0569&lon=14.5058&timestamp={time_s}&speed=19.4384449244&bearing=270&altitude=295&batt=81")
}

/// As Traccar Client posts it, up to 40 s after [`TIME_S`].
pub(crate) fn traccar(id: &str, time_s: u64) -> String {
    let time = format!("2023-11-14T22:13:{:02}.000Z", time_s - TIME_S + 20);
    let coords = json!({"latitude": 46.0569, "longitude": 14.5058, "speed": 10, "heading": 270, "altitude": 295});
    json!({"device_id": id, "location": {"timestamp": time, "coords": coords, "battery": {"level": 0.81}}}).to_string()
}

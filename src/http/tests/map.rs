//! What a map shows: drivers by tile, and how many there are beyond an answer's limit.

use serde_json::{Value, json};

use super::Api;

#[tokio::test]
async fn more_than_the_limit_are_counted() {
    let api = Api::start();
    for (number, driver) in ["d1", "d2", "d3"].into_iter().enumerate() {
        api.drive(driver, &[(52.0 + number as f64 / 100.0, 21.0, 0)]).await;
    }
    let some = api.get("/v1/drivers/within?bbox=20,51,22,53&limit=2").await.json();
    assert_eq!((&some["count"], &some["truncated"], &some["total"]), (&json!(2), &json!(true), &json!(3)));
    let all = api.get("/v1/drivers/within?bbox=20,51,22,53&limit=3").await.json();
    assert_eq!((&all["count"], all.get("truncated"), all.get("total")), (&json!(3), None, None));
}

#[tokio::test]
async fn density_counts_drivers_by_tile() {
    let api = Api::start();
    api.drive("warsaw-1", &[(52.23, 21.01, 0)]).await;
    api.drive("warsaw-2", &[(52.24, 21.02, 0)]).await;
    api.drive("fiji", &[(-17.0, 179.9, 0)]).await;
    let asked = async |query: &str| api.get(&format!("/v1/drivers/density?{query}")).await.json();
    let counts = |answer: &Value| -> Vec<(Value, Value, Value)> {
        let cells = answer["cells"].as_array().unwrap().iter();
        cells.map(|cell| (cell["x"].clone(), cell["y"].clone(), cell["drivers"].clone())).collect()
    };

    let world = asked("bbox=-180,-90,180,90&zoom=1").await;
    assert_eq!(counts(&world), [(json!(1), json!(0), json!(2)), (json!(1), json!(1), json!(1))]);
    assert_eq!((&world["zoom"], &world["count"], &world["drivers"]), (&json!(1), &json!(2), &json!(3)));
    let cell = &world["cells"][0];
    assert_eq!((&cell["west"], &cell["east"], &cell["south"]), (&json!(0.0), &json!(180.0), &json!(0.0)));
    assert_eq!(counts(&asked("bbox=170,-20,-170,-10&zoom=0").await), [(json!(0), json!(0), json!(1))]);
    assert_eq!(counts(&asked("bbox=0,0,1,1&zoom=5").await), []);

    for (query, name) in [
        ("zoom=3", "bbox"),
        ("bbox=1,2,3&zoom=3", "bbox"),
        ("bbox=0,0,1,1", "zoom"),
        ("bbox=0,0,1,1&zoom=23", "zoom"),
        // A quarter of a million tiles.
        ("bbox=-180,-90,180,90&zoom=9", "zoom"),
        ("bbox=0,0,1,1&zoom=3&offline=perhaps", "offline"),
    ] {
        assert_eq!(api.get(&format!("/v1/drivers/density?{query}")).await.problem(), (400, name.into()), "{query}");
    }
}

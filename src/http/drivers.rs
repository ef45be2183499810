//! What `nearest` and `within` answer: drivers, written one by one as they were found. A tree of values that serde writes
//! takes twice the time, and of a `nearest` over HTTP that is more than the search.

use axum::http::StatusCode;
use axum::response::Response;

use super::answer::written;
use super::presence::Presence;
use crate::fix::Fix;

/// Room for a driver with all its fields, so that an answer is hardly ever moved while it grows.
const DRIVER_BYTES: usize = 224;

/// An answer in the making.
#[derive(Debug)]
pub(super) struct Drivers {
    presence: Presence,
    body: Vec<u8>,
    count: usize,
}

impl Drivers {
    /// One with room for so many drivers.
    pub(super) fn with_room_for(drivers: usize, presence: Presence) -> Self {
        let mut body = Vec::with_capacity(64 + drivers * DRIVER_BYTES);
        body.extend_from_slice(b"{\"drivers\":[");
        Self { presence, body, count: 0 }
    }

    /// Adds a driver.
    pub(super) fn add(&mut self, driver_id: &str, fix: &Fix, on_shipment: bool, distance_m: Option<f64>) {
        if self.count > 0 {
            self.body.push(b',');
        }
        self.count += 1;
        self.presence.put(driver_id, fix, on_shipment, distance_m, &mut self.body);
    }

    /// Ends the answer of `nearest`: what to ask with for those that follow, and `null` if that is all. A cursor has no
    /// character that JSON would escape.
    pub(super) fn with_cursor(mut self, next_cursor: Option<&str>) -> Response {
        self.put_count();
        match next_cursor {
            Some(cursor) => self.body.extend_from_slice(format!(",\"next_cursor\":\"{cursor}\"").as_bytes()),
            None => self.body.extend_from_slice(b",\"next_cursor\":null"),
        }
        self.end()
    }

    /// Ends the answer of `within`: with how many there are of them, if that is more than it holds.
    pub(super) fn of_total(mut self, total: Option<usize>) -> Response {
        self.put_count();
        if let Some(total) = total {
            self.body.extend_from_slice(format!(",\"truncated\":true,\"total\":{total}").as_bytes());
        }
        self.end()
    }

    fn put_count(&mut self) {
        self.body.extend_from_slice(format!("],\"count\":{}", self.count).as_bytes());
    }

    fn end(mut self) -> Response {
        self.body.push(b'}');
        written(StatusCode::OK, self.body)
    }
}

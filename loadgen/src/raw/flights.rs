//! What is in flight on one connection, by packet id.

use std::collections::VecDeque;

use crate::faults::Item;
use crate::plan::Qos;

/// A publish whose packet id is in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) item: Item,
    pub(super) qos: Qos,
    /// When its latency starts to count; `None` where it is not measured.
    pub(super) begun_ns: Option<u64>,
    /// PUBREC is there, PUBCOMP is not.
    pub(super) released: bool,
}

/// A fixed number of flights. The id that is free for longest is used next, so that a late acknowledgement of an id is
/// not taken for that of its next user.
#[derive(Debug)]
pub(super) struct Flights {
    /// Packet id 1 comes first.
    places: Vec<Option<Flight>>,
    free_ids: VecDeque<u16>,
}

impl Flights {
    /// Room for `window` flights.
    pub(super) fn new(window: u16) -> Self {
        Self { places: vec![None; usize::from(window)], free_ids: (1..=window).collect() }
    }

    /// Takes a flight up and gives it a packet id; `None` if the window is full.
    pub(super) fn begin(&mut self, flight: Flight) -> Option<u16> {
        let id = self.free_ids.pop_front()?;
        self.places[usize::from(id) - 1] = Some(flight);
        Some(id)
    }

    /// The flight of this id, if there is one.
    pub(super) fn get(&mut self, id: u16) -> Option<&mut Flight> {
        self.places.get_mut(usize::from(id).checked_sub(1)?)?.as_mut()
    }

    /// Ends a flight; its id may be used again.
    pub(super) fn end(&mut self, id: u16) {
        let place = usize::from(id).checked_sub(1).and_then(|index| self.places.get_mut(index));
        if place.and_then(Option::take).is_some() {
            self.free_ids.push_back(id);
        }
    }

    /// Flights under way.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free_ids.len()
    }

    /// Every flight with its packet id.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u16, &Flight)> {
        (1..=u16::MAX).zip(&self.places).filter_map(|(id, place)| Some((id, place.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Kind;
    use crate::fix::Fix;

    #[test]
    fn ids_are_unique_in_flight_and_reused_as_late_as_possible() {
        let item = Item { kind: Kind::Fresh, fix: Fix::default() };
        let flight = Flight { item, qos: Qos::AtLeastOnce, begun_ns: None, released: false };
        let mut flights = Flights::new(3);
        assert_eq!([flights.begin(flight), flights.begin(flight)], [Some(1), Some(2)]);
        flights.end(1);
        flights.end(1);
        flights.end(0);
        flights.end(9);
        assert_eq!([flights.begin(flight), flights.begin(flight), flights.begin(flight)], [Some(3), Some(1), None]);
        assert_eq!(flights.len(), 3);
        assert_eq!(flights.iter().map(|(id, _)| id).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(flights.get(2).is_some() && flights.get(0).is_none());
    }
}

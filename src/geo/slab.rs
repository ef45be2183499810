//! An array that only grows: its items never move, are reached without a lock, and are allocated a sixteenth ahead.

use std::array;
use std::sync::OnceLock;

/// Items before the first doubling.
const FIRST_ROW: usize = 64;
/// Each row is as long as all before it together, and comes in this many pieces.
const PIECES: usize = 16;
/// Rows to reach any `u32`.
const ROWS: usize = 27;

type Piece<T> = OnceLock<Box<[T]>>;

/// Items by number, each at first its default.
#[derive(Debug)]
pub(super) struct Slab<T> {
    rows: [OnceLock<Box<[Piece<T>; PIECES]>>; ROWS],
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { rows: array::from_fn(|_| OnceLock::new()) }
    }
}

impl<T: Default> Slab<T> {
    /// The item of a number that [`Slab::grown_to`] was called with before; others may panic.
    #[inline]
    pub(super) fn at(&self, index: u32) -> &T {
        let (row, piece, item) = locate(index);
        let pieces = self.rows[row].get().expect("numbers are handed out after their piece was allocated");
        &pieces[piece].get().expect("numbers are handed out after their piece was allocated")[item]
    }

    /// The item, allocated if it is the first of its piece.
    pub(super) fn grown_to(&self, index: u32) -> &T {
        let (row, piece, item) = locate(index);
        let row_pieces = self.rows[row].get_or_init(|| Box::new(array::from_fn(|_| OnceLock::new())));
        let piece_len = (FIRST_ROW << row) / PIECES;
        &row_pieces[piece].get_or_init(|| (0..piece_len).map(|_| T::default()).collect())[item]
    }
}

#[inline]
fn locate(index: u32) -> (usize, usize, usize) {
    let shifted = index as usize + FIRST_ROW;
    let row = (shifted.ilog2() - FIRST_ROW.ilog2()) as usize;
    let offset = shifted - (FIRST_ROW << row);
    let piece_bits = row as u32 + (FIRST_ROW / PIECES).ilog2();
    (row, offset >> piece_bits, offset & ((1 << piece_bits) - 1))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn every_item_has_its_own_place() {
        let slab = Slab::<AtomicU32>::default();
        for index in 0..5_000 {
            slab.grown_to(index).store(index, Ordering::Relaxed);
        }
        for index in 0..5_000 {
            assert_eq!(slab.at(index).load(Ordering::Relaxed), index);
        }
    }

    #[test]
    fn the_last_number_has_a_place() {
        let (row, piece, item) = locate(u32::MAX);
        assert!(row < ROWS && piece < PIECES && item < (FIRST_ROW << row) / PIECES);
    }
}

//! Looking for what is sound behind what is not, a part of a segment at a time.

use crate::journal::error::Error;
use crate::journal::frame::{self, FRAME_BYTES_MAX};
use crate::journal::scan::Scan;

/// Bytes that are searched at a time for the next sound frame.
const SEARCH_BYTES: usize = 1 << 20;

/// Where in the file, from `offset` on, the first sound frame begins whose sequence and durable sequence are as wanted.
pub(super) fn find(scan: &Scan, offset: u64, is_wanted: &dyn Fn(u64, u64) -> bool) -> Result<Option<u64>, Error> {
    let mut offset = offset;
    loop {
        // A frame that begins in the part that is searched is whole in what is read.
        let bytes = scan.bytes(offset, offset.saturating_add((SEARCH_BYTES + FRAME_BYTES_MAX) as u64))?;
        if let Some(found) = frame::find(&bytes, SEARCH_BYTES, is_wanted) {
            return Ok(Some(offset + found as u64));
        }
        if bytes.len() <= SEARCH_BYTES {
            return Ok(None);
        }
        offset += SEARCH_BYTES as u64;
    }
}

/// How many bytes there are from `offset` on to the last that is not 0.
pub(super) fn len_without_zeros(scan: &Scan, offset: u64) -> Result<u64, Error> {
    let (mut len, mut at) = (0, offset);
    loop {
        let bytes = scan.bytes(at, at.saturating_add(SEARCH_BYTES as u64))?;
        if bytes.is_empty() {
            return Ok(len);
        }
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            len = at - offset + last as u64 + 1;
        }
        at += bytes.len() as u64;
    }
}

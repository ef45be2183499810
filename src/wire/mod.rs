//! Wire formats: payload bytes to reports and fixes to payload bytes, one file per codec. No I/O, and no judgement
//! beyond "this cannot be read".

pub mod decimal;
pub mod draft;
mod encode;
pub mod native;
mod native_fast;
mod native_general;
pub mod time;

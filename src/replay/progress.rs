//! The progress bar: rows, rows a second and time left, by the bytes read of all files.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::counts::grouped;

/// Redraws a second, and so the refreshes of its text.
const DRAWS_PER_S: u8 = 8;

/// Rows between two looks at the bar.
const ROWS_PER_TICK: u64 = 1_024;

const TEMPLATE: &str = "{wide_bar} {bytes}/{total_bytes}  {msg}  {eta} left";

/// A bar on standard error, or nothing.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar over `bytes` in all; hidden if not wanted or standard error is no terminal.
    pub(super) fn new(bytes: u64, is_wanted: bool) -> Self {
        let target =
            if is_wanted { ProgressDrawTarget::stderr_with_hz(DRAWS_PER_S) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(bytes), target);
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        Self { bar }
    }

    /// Whether the bar should be told after this row: often when rows are slow, seldom when they are fast.
    pub(super) fn is_due(rows: u64, is_paced: bool) -> bool {
        is_paced || rows.is_multiple_of(ROWS_PER_TICK)
    }

    pub(super) fn show(&self, bytes: u64, rows: u64, elapsed: Duration) {
        if self.bar.is_hidden() {
            return;
        }
        let rows_per_second = rows as f64 / elapsed.as_secs_f64().max(1e-3);
        self.bar.set_message(format!("{} rows, {} rows/s", grouped(rows), grouped(rows_per_second as u64)));
        self.bar.set_position(bytes);
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

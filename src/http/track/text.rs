//! Writing the forms that are plain text.

use std::fmt::{Arguments, Write};

/// Appends `arguments`, as `format!` would have it, without a text in between.
pub(super) fn push(text: &mut String, arguments: Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a String does not fail");
}

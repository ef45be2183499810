//! The rules one by one, on one street.
use super::*;

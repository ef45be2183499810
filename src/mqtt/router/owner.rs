//! Whose a client id is, as the door names clients: what stands before the last NUL, which no client id has in it
//! [MQTT-1.5.4-2]. In open mode a name is the client id, and nobody's.

/// The owner and the client id in a client's name.
pub(in crate::mqtt) fn split(name: &str) -> (Option<&str>, &str) {
    match name.rsplit_once('\0') {
        Some((owner, client_id)) => (Some(owner), client_id),
        None => (None, name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_before_the_last_nul_is_the_owner() {
        let cases = [
            ("c", (None, "c")),
            ("truck-7\0c", (Some("truck-7"), "c")),
            ("truck-7\0device\0d1\0c", (Some("truck-7\0device\0d1"), "c")),
            ("truck-7\0", (Some("truck-7"), "")),
        ];
        for (name, expected) in cases {
            assert_eq!(split(name), expected);
        }
    }
}

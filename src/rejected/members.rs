//! The members of an array payload, as the bytes they came in.

use std::ops::ControlFlow;

use crate::wire::each_member;

/// The members of a JSON array at these places, which rise, if the array has `count` members in all; `None` if it has not, or
/// is no array. One pass, whatever is nested; only what is asked for is kept.
pub fn members<'a>(payload: &'a [u8], wanted: &[usize], count: usize) -> Option<Vec<&'a [u8]>> {
    let mut found = Vec::new();
    let mut place = 0;
    each_member(payload, |member| {
        if wanted.get(found.len()) == Some(&place) {
            found.push(member);
        }
        place += 1;
        if place > count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    (place == count && found.len() == wanted.len()).then_some(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn members_are_found_by_their_place() {
        let payload = br#" [ {"a":[1,2]} ,"x]", 3 , [[]] ] "#;
        assert_eq!(members(payload, &[0, 1, 3], 4).unwrap(), [&br#"{"a":[1,2]}"#[..], br#""x]""#, b"[[]]"]);
        assert_eq!(members(payload, &[2], 4).unwrap(), [b"3"]);
        assert!(members(payload, &[], 4).unwrap().is_empty());
        let cases: [(&[u8], &[usize], usize); 8] = [
            (payload, &[0], 3),
            (payload, &[4], 4),
            (b"{\"a\":[1]}", &[0], 1),
            (b"[1,2", &[0], 2),
            (b"[1,2] 3", &[0], 2),
            (b"[1,\xff]", &[1], 2),
            (b"", &[0], 1),
            (b"[", &[0], 1),
        ];
        for (payload, wanted, count) in cases {
            assert_eq!(members(payload, wanted, count), None, "{payload:?}");
        }
    }

    #[test]
    fn what_is_nested_deeply_is_not_recursed_into() {
        let deep = [b"[".repeat(200_000), b"]".repeat(200_000)].concat();
        assert_eq!(members(&deep, &[0], 1).unwrap()[0].len(), deep.len() - 2);
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(
            payload in proptest::collection::vec(any::<u8>(), 0..60),
            wanted in proptest::collection::btree_set(0_usize..8, 0..4),
        ) {
            let wanted: Vec<usize> = wanted.into_iter().collect();
            members(&payload, &wanted, 4);
        }
    }
}

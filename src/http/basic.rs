//! What a request says by Basic authentication (RFC 7617). Nobody's password is checked here.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use super::error::Error;

/// The user that a request names; `None` if it names none, or shows who it is in another way.
pub(super) fn user(headers: &HeaderMap) -> Result<Option<String>, Error> {
    Ok(user_and_password(headers)?.map(|(user, _)| user).filter(|user| !user.is_empty()))
}

/// The user and the password that a request names; `None` if it shows who it is in another way.
pub(super) fn user_and_password(headers: &HeaderMap) -> Result<Option<(String, String)>, Error> {
    let Some(value) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let Some((scheme, credentials)) = value.to_str().ok().and_then(|value| value.split_once(' ')) else {
        return Ok(None);
    };
    if !scheme.eq_ignore_ascii_case("basic") {
        return Ok(None);
    }
    let decoded = decode(credentials.trim().as_bytes()).and_then(|decoded| String::from_utf8(decoded).ok());
    match decoded.as_deref().and_then(|decoded| decoded.split_once(':')) {
        Some((user, password)) => Ok(Some((user.to_owned(), password.to_owned()))),
        None => Err(Error::parameter("Authorization", "wants user:password in Base64 behind Basic")),
    }
}

/// Decodes Base64 (RFC 4648, section 4), with its padding or without.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let padded = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let mut decoded = Vec::with_capacity(padded.len() / 4 * 3 + 2);
    for group in padded.chunks(4) {
        // A lone character holds no byte.
        if group.len() == 1 {
            return None;
        }
        let mut bits = 0_u32;
        for byte in group {
            bits = bits << 6 | u32::from(sextet(*byte)?);
        }
        let bytes = (bits << (32 - 6 * group.len())).to_be_bytes();
        decoded.extend_from_slice(&bytes[..group.len() - 1]);
    }
    Some(decoded)
}

fn sextet(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_every_length_is_read() {
        // RFC 4648, section 10.
        let cases: &[(&str, Option<&[u8]>)] = &[
            ("", Some(b"")),
            ("Zg==", Some(b"f")),
            ("Zm8=", Some(b"fo")),
            ("Zm9v", Some(b"foo")),
            ("Zm9vYg==", Some(b"foob")),
            ("Zm9vYmE=", Some(b"fooba")),
            ("Zm9vYmFy", Some(b"foobar")),
            ("Zm8", Some(b"fo")),
            ("+/+/", Some(b"\xfb\xff\xbf")),
            ("Z", None),
            ("Zm9vY", None),
            ("Zm 8", None),
            ("Zg=a", None),
        ];
        for (text, expected) in cases {
            assert_eq!(decode(text.as_bytes()).as_deref(), *expected, "{text}");
        }
    }

    #[test]
    fn users_are_told_from_other_schemes() {
        let user_of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            user(&headers)
        };
        assert_eq!(user_of("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==").unwrap().as_deref(), Some("Aladdin"));
        assert_eq!(user_of("basic  QWxhZGRpbjpvcGVuIHNlc2FtZQ==").unwrap().as_deref(), Some("Aladdin"));
        assert_eq!(user_of("Bearer x").unwrap(), None);
        assert_eq!(user_of("Basic OnBhc3M=").unwrap(), None, "no user");
        assert!(user_of("Basic !").is_err() && user_of("Basic QWxhZGRpbg==").is_err());
        assert_eq!(user(&HeaderMap::new()).unwrap(), None);
    }
}

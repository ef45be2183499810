use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;

const NOW_S: i64 = 1_800_000_000;
const NOW: TimestampMs = TimestampMs(NOW_S * 1_000);
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn key_file(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "fixtures", "keys", name].iter().collect()
}

fn pem(name: &str) -> Vec<u8> {
    std::fs::read(key_file(name)).unwrap()
}

fn tokens(public: &[&str]) -> Tokens {
    let public = public.iter().map(|name| PublicKey::read(&key_file(name)).unwrap()).collect();
    Tokens::new(&Secret::for_tests(SECRET), public)
}

fn signed(algorithm: Algorithm, claims: &Value, key: &EncodingKey) -> String {
    encode(&Header::new(algorithm), claims, key).unwrap()
}

fn own(claims: &Value) -> String {
    signed(Algorithm::HS256, claims, &EncodingKey::from_secret(SECRET))
}

fn claims() -> Value {
    json!({"sub": "truck-7", "tenant": "acme", "role": "device", "driver": "d1", "exp": NOW_S + 60})
}

/// The claims with one of them changed, or taken away if it is null.
fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
        value => claims[name] = value,
    }
    claims
}

#[test]
fn a_token_says_who_it_is() {
    let principal = tokens(&[]).check(&own(&claims()), NOW).unwrap();
    let expected = Principal {
        tenant: TenantId::new("acme").unwrap(),
        role: Role::Device,
        subject: "truck-7".into(),
        driver: Some(DriverId::new("d1").unwrap()),
        expires_at: Some(TimestampMs((NOW_S + 60) * 1_000)),
    };
    assert_eq!(principal, expected);
}

#[test]
fn claims_are_taken_or_refused() {
    let long = "x".repeat(SUBJECT_BYTES_MAX + 1);
    let cases: &[(&str, Value, Result<(), Refusal>)] = &[
        ("exp", json!(NOW_S), Ok(())),
        ("exp", json!(NOW_S - 4), Ok(())),
        ("exp", json!(NOW_S as f64 - 4.5), Ok(())),
        ("exp", json!(NOW_S - 5), Err(Refusal::ExpiredToken)),
        ("exp", json!(0), Err(Refusal::ExpiredToken)),
        ("exp", json!(1e300), Ok(())),
        ("exp", json!(-1), Err(Refusal::BadClaims)),
        ("exp", json!("tomorrow"), Err(Refusal::BadClaims)),
        ("exp", Value::Null, Err(Refusal::BadClaims)),
        ("nbf", json!(NOW_S + 5), Ok(())),
        ("nbf", json!(NOW_S + 6), Err(Refusal::EarlyToken)),
        ("nbf", json!("x"), Err(Refusal::BadClaims)),
        ("iat", json!(NOW_S + 1_000), Ok(())),
        ("aud", json!(["anybody"]), Ok(())),
        ("sub", Value::Null, Err(Refusal::BadClaims)),
        ("sub", json!(""), Err(Refusal::BadClaims)),
        ("sub", json!("a\u{0}b"), Err(Refusal::BadClaims)),
        ("sub", json!(long), Err(Refusal::BadClaims)),
        ("sub", json!(7), Err(Refusal::BadClaims)),
        ("tenant", Value::Null, Err(Refusal::BadClaims)),
        ("tenant", json!("a/b"), Err(Refusal::BadClaims)),
        ("tenant", json!("+"), Err(Refusal::BadClaims)),
        ("role", Value::Null, Err(Refusal::BadClaims)),
        ("role", json!("king"), Err(Refusal::BadClaims)),
        ("role", json!("OPS_ADMIN"), Err(Refusal::BadClaims)),
        ("role", json!("dispatcher"), Ok(())),
        ("driver", Value::Null, Err(Refusal::BadClaims)),
        ("driver", json!("d/1"), Err(Refusal::BadClaims)),
        ("driver", json!("#"), Err(Refusal::BadClaims)),
    ];
    let tokens = tokens(&[]);
    for (name, value, expected) in cases {
        let found = tokens.check(&own(&with(name, value.clone())), NOW).map(drop);
        assert_eq!(found, *expected, "{name} {value}");
    }
    let dispatcher = json!({"sub": "ann", "tenant": "acme", "role": "dispatcher", "exp": NOW_S + 60});
    assert_eq!(tokens.check(&own(&dispatcher), NOW).unwrap().driver, None);
}

#[test]
fn every_kind_of_key_signs_for_its_own_algorithm_only() {
    let tokens = tokens(&["rsa.pub.pem", "ec.pub.pem", "ed.pub.pem"]);
    let claims = claims();
    let rsa = EncodingKey::from_rsa_pem(&pem("rsa.pem")).unwrap();
    let other = EncodingKey::from_rsa_pem(&pem("rsa_other.pem")).unwrap();
    let ec = EncodingKey::from_ec_pem(&pem("ec.pem")).unwrap();
    let ed = EncodingKey::from_ed_pem(&pem("ed.pem")).unwrap();
    let hmac = EncodingKey::from_secret;
    // What anybody can do who has only the public keys, as text or as bytes.
    let der = PublicKey::read(&key_file("rsa.pub.pem")).unwrap().key.try_get_as_bytes().unwrap().to_vec();
    let cases = [
        (signed(Algorithm::HS256, &claims, &hmac(SECRET)), true),
        (signed(Algorithm::RS256, &claims, &rsa), true),
        (signed(Algorithm::ES256, &claims, &ec), true),
        (signed(Algorithm::EdDSA, &claims, &ed), true),
        (signed(Algorithm::HS256, &claims, &hmac(b"another secret of thirty-two byte")), false),
        (signed(Algorithm::HS384, &claims, &hmac(SECRET)), false),
        (signed(Algorithm::HS512, &claims, &hmac(SECRET)), false),
        (signed(Algorithm::RS512, &claims, &rsa), false),
        (signed(Algorithm::PS256, &claims, &rsa), false),
        (signed(Algorithm::RS256, &claims, &other), false),
        (signed(Algorithm::HS256, &claims, &hmac(&pem("rsa.pub.pem"))), false),
        (signed(Algorithm::HS256, &claims, &hmac(&der)), false),
        (signed(Algorithm::HS256, &claims, &hmac(b"")), false),
    ];
    for (index, (token, is_good)) in cases.iter().enumerate() {
        assert_eq!(tokens.check(token, NOW).is_ok(), *is_good, "case {index}");
        if !is_good {
            assert_eq!(tokens.check(token, NOW), Err(Refusal::BadToken), "case {index}");
        }
    }
}

#[test]
fn tokens_without_a_signature_or_with_another_header_are_refused() {
    let tokens = tokens(&["rsa.pub.pem"]);
    let good = own(&claims());
    let parts: Vec<&str> = good.split('.').collect();
    // {"alg":"none"} and {"alg":"None","typ":"JWT"} and {"alg":"RS256","typ":"JWT"}, in Base64.
    let (none, cased, rs256) =
        ("eyJhbGciOiJub25lIn0", "eyJhbGciOiJOb25lIiwidHlwIjoiSldUIn0", "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9");
    let (payload, signature) = (parts[1], parts[2]);
    let bad = [
        format!("{none}.{payload}."),
        format!("{none}.{payload}.{signature}"),
        format!("{cased}.{payload}."),
        format!("{rs256}.{payload}.{signature}"),
        format!("{}.{payload}.", parts[0]),
        format!("{}.{payload}", parts[0]),
        format!("{}.{signature}.{payload}", parts[0]),
        format!("{}.e30.{signature}", parts[0]),
        format!("{good}."),
        format!("{good}x"),
        format!(" {good}"),
        String::new(),
        "..".to_owned(),
    ];
    for token in bad {
        assert_eq!(tokens.check(&token, NOW), Err(Refusal::BadToken), "{token}");
    }
    assert!(tokens.check(&good, NOW).is_ok());
}

#[test]
fn key_files_are_taken_or_refused_with_a_reason() {
    for good in ["rsa.pub.pem", "rsa.pkcs1.pub.pem", "ec.pub.pem", "ed.pub.pem"] {
        assert!(PublicKey::read(&key_file(good)).is_ok(), "{good}");
    }
    let bad = [
        ("rsa.pem", "a private key"),
        ("ed.pem", "a private key"),
        ("rsa_small.pub.pem", "fewer than 2048 bits"),
        ("ec384.pub.pem", "not P-256"),
        ("README.md", "no PUBLIC KEY"),
        ("nowhere.pem", "No such file"),
    ];
    for (file, expected) in bad {
        let refused = PublicKey::read(&key_file(file)).unwrap_err();
        assert!(refused.found.contains(file) && refused.found.contains(expected), "{refused:?}");
    }
}

#[test]
fn what_is_signed_here_is_taken_here() {
    let secret = Secret::for_tests(SECRET);
    let claims = Claims {
        sub: "ann".to_owned(),
        tenant: "acme".to_owned(),
        role: "dispatcher".to_owned(),
        driver: None,
        exp: NOW_S as f64 + 60.0,
        nbf: None,
    };
    let token = sign(&secret, &claims).unwrap();
    assert!(is_token(token.as_bytes()) && Tokens::is_quick(&token));
    assert_eq!(tokens(&[]).check(&token, NOW).unwrap().role, Role::Dispatcher);
}

#[test]
fn passwords_are_told_from_tokens() {
    for password in ["", "secret", "a.b.c", "eyJ", "eyJ.b", "rhd_00", "eyJ.a.b.c"] {
        assert!(!is_token(password.as_bytes()), "{password}");
    }
}

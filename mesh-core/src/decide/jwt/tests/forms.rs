//! The form of a token, and its header.

use super::*;

/// H1: a token is signed; no spelling of `none` is an algorithm.
#[test]
fn a_token_without_a_signature_is_none() {
    for algorithm in [
        json!("none"),
        json!("None"),
        json!("NONE"),
        json!("nOnE"),
        json!(""),
        json!("rs256"),
    ] {
        let header = json!({ "alg": algorithm, "kid": "a" });
        assert_eq!(
            judged(&token(&header, &claims())),
            Err(Refusal::UnknownAlgorithm),
            "{header}"
        );
    }
    for header in [
        json!({ "kid": "a" }),
        json!({ "alg": null, "kid": "a" }),
        json!({ "alg": ["RS256"], "kid": "a" }),
    ] {
        assert_eq!(
            judged(&token(&header, &claims())),
            Err(Refusal::NoAlgorithm),
            "{header}"
        );
    }
    let unsigned = format!("{}.{}.", encoded(r#"{"alg":"none"}"#), encoded(claims().to_string()));
    assert_eq!(judged(&unsigned), Err(Refusal::BadFormat));
}

/// H2: no public key is ever taken for a secret: there are no algorithms with secrets.
#[test]
fn a_public_key_is_no_secret() {
    for algorithm in ["HS256", "HS384", "HS512"] {
        let header = json!({ "alg": algorithm, "kid": "a" });
        assert_eq!(judged(&token(&header, &claims())), Err(Refusal::UnknownAlgorithm));
    }
    let secret = json!({ "keys": [{ "kty": "oct", "kid": "a", "k": "c2VjcmV0", "alg": "HS256" }] }).to_string();
    assert_eq!(KeySet::parse(secret.as_bytes()), Err(KeySetError::NoUsableKey));
}

/// H5: a token brings no key, and names no place to get one; nor does it demand what is not understood.
#[test]
fn a_token_brings_no_key_of_its_own() {
    for (name, value) in [
        ("jwk", p256("evil")),
        ("jku", json!("https://evil.example.com/keys")),
        ("x5u", json!("https://evil.example.com/chain")),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
    ] {
        let mut header = header();
        header[name] = value;
        assert_eq!(judged(&token(&header, &claims())), Err(Refusal::HeaderKey), "{name}");
    }
}

/// H15: a token has one form.
#[test]
fn other_forms_of_a_token_are_refused() {
    let good = token(&header(), &claims());
    let [head, payload, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    for (token, refusal) in [
        (
            format!("{{\"payload\":\"{payload}\",\"signatures\":[]}}"),
            Refusal::BadFormat,
        ),
        (format!("{head}.{payload}.{signature}.x.y"), Refusal::BadFormat),
        (format!("{head}..{payload}.{signature}"), Refusal::BadFormat),
        (format!("{head}.{payload}"), Refusal::BadFormat),
        ("....".into(), Refusal::BadFormat),
        ("x".repeat(MAX_TOKEN + 1), Refusal::BadFormat),
        (format!("{head}==.{payload}.{signature}"), Refusal::HeaderEncoding),
        (format!("{head}.{payload}=.{signature}"), Refusal::PayloadEncoding),
        (format!("{head}.{payload}.{signature}="), Refusal::SignatureEncoding),
        (
            format!("{head}.{payload}.{}", signature.replace('-', "+")),
            Refusal::SignatureEncoding,
        ),
        (
            format!("{head}.{} {payload}.{signature}", ' '),
            Refusal::PayloadEncoding,
        ),
        (format!("{}.{payload}.{signature}", encoded("[]")), Refusal::HeaderJson),
        (format!("{head}.{}.{signature}", encoded("[]")), Refusal::PayloadJson),
        (
            format!("{head}.{}.{signature}", encoded(r#"{"sub":"a","sub":"b"}"#)),
            Refusal::PayloadJson,
        ),
        (
            format!("{}.{payload}.{signature}", encoded(r#"{"alg":"RS256","alg":"ES256"}"#)),
            Refusal::HeaderJson,
        ),
    ] {
        let judged = judged(&token);
        // A signature without `-` stays as it is.
        assert!(judged == Err(refusal) || token == good, "{token}: {judged:?}");
    }
    assert_eq!(judged(&good), Ok(()));
}

/// H15: of the texts that decode to one signature, one is its form.
#[test]
fn trailing_bits_are_zero() {
    // 256 + 5 + … bytes: the last character of this part holds bits that nothing is made of.
    let header = encoded(r#"{"alg":"RS256","kid":"a"}"#);
    let last = header.chars().last().unwrap();
    assert_eq!(header.len() % 4, 2);
    let next = char::from(u8::try_from(last).unwrap() + 1);
    let other = format!("{}{next}", &header[..header.len() - 1]);
    let good = token(&json!({ "alg": "RS256", "kid": "a" }), &claims());
    let rest = &good[good.find('.').unwrap()..];
    assert_eq!(judged(&format!("{other}{rest}")), Err(Refusal::HeaderEncoding));
}

//! Which key verifies which token, and where keys come from.

use super::*;

fn with_keys(keys: &[Value], token: &str) -> Result<(), Refusal> {
    ask(&compiled(vec![rule(keys)]), &bearing(token), NOW).map(|_| ())
}

fn changed(mut key: Value, name: &str, value: Value) -> Value {
    key[name] = value;
    key
}

/// H3: a key verifies what it is for, and nothing else.
#[test]
fn keys_are_used_for_what_they_are_for() {
    let good = token(&header(), &claims());
    for key in [
        changed(rsa("a"), "alg", json!("RS256")),
        changed(rsa("a"), "use", json!("sig")),
        changed(rsa("a"), "key_ops", json!(["verify"])),
    ] {
        assert_eq!(with_keys(std::slice::from_ref(&key), &good), Ok(()), "{key}");
    }
    for key in [
        changed(rsa("a"), "alg", json!("RS512")),
        changed(rsa("a"), "alg", json!("RSA-OAEP")),
        changed(rsa("a"), "alg", json!("HS256")),
        changed(rsa("a"), "alg", json!(7)),
        changed(rsa("a"), "use", json!("enc")),
        changed(rsa("a"), "use", json!(null)),
        changed(rsa("a"), "key_ops", json!(["encrypt", "wrapKey"])),
        changed(rsa("a"), "key_ops", json!("verify")),
        changed(rsa("a"), "kty", json!("EC")),
    ] {
        // Another key keeps the set from being empty.
        assert_eq!(
            with_keys(&[key.clone(), p256("b")], &good),
            Err(Refusal::UnknownKey),
            "{key}"
        );
    }
}

/// H3: RSA has 2048 bits at least, and points have the length of their curve.
#[test]
fn weak_and_broken_keys_are_no_keys() {
    let key = |key: Value| KeySet::parse(json!({ "keys": [key] }).to_string().as_bytes());
    let with_modulus = |modulus: Vec<u8>| changed(rsa("a"), "n", json!(encoded(modulus)));
    let mut small = modulus(256);
    small[0] = 0x7f;
    for weak in [
        with_modulus(modulus(128)),
        with_modulus(modulus(255)),
        with_modulus(small),
        with_modulus([vec![0; 64], modulus(192)].concat()),
        with_modulus(modulus(1_025)),
        changed(rsa("a"), "e", json!("AQ")),
        changed(rsa("a"), "e", json!("AQAA")),
        changed(rsa("a"), "n", json!("a=")),
        changed(p256("a"), "crv", json!("P-384")),
        changed(p256("a"), "crv", json!("secp256k1")),
        changed(p256("a"), "x", json!(encoded([1; 31]))),
        changed(p256("a"), "y", json!(null)),
        json!({ "kty": "OKP", "crv": "X25519", "x": encoded([1; 32]) }),
        json!({ "kty": "OKP", "crv": "Ed25519", "x": encoded([1; 31]) }),
        json!({}),
    ] {
        assert_eq!(key(weak.clone()), Err(KeySetError::NoUsableKey), "{weak}");
    }
    assert!(key(with_modulus([vec![0], modulus(256)].concat())).is_ok());
    assert_eq!(KeySet::parse(b"{}"), Err(KeySetError::Malformed));
    assert_eq!(KeySet::parse(&vec![b' '; MAX_KEY_SET + 1]), Err(KeySetError::TooLong));
}

/// H3: a curve verifies its own algorithm.
#[test]
fn a_curve_has_one_algorithm() {
    let es256 = token_by(&json!({ "alg": "ES256", "kid": "a" }), &claims(), &p256_point());
    let es384 = token_by(&json!({ "alg": "ES384", "kid": "a" }), &claims(), &p256_point());
    assert_eq!(with_keys(&[p256("a")], &es256), Ok(()));
    assert_eq!(with_keys(&[p256("a")], &es384), Err(Refusal::UnknownKey));
    assert_eq!(
        with_keys(&[p256("a")], &token(&header(), &claims())),
        Err(Refusal::UnknownKey)
    );
}

/// H4: nobody guesses a key.
#[test]
fn a_token_names_its_key() {
    let nameless = token(&json!({ "alg": "RS256" }), &claims());
    assert_eq!(with_keys(&[rsa("a"), p256("b")], &nameless), Ok(()));
    assert_eq!(with_keys(&[rsa("a"), rsa("b")], &nameless), Err(Refusal::UnknownKey));
    for id in [json!("b"), json!("../../x"), json!(""), json!("A")] {
        let token = token(&json!({ "alg": "RS256", "kid": id }), &claims());
        assert_eq!(with_keys(&[rsa("a")], &token), Err(Refusal::UnknownKey), "{id}");
    }
    for id in [json!(7), json!(null), json!(["a"]), json!("x".repeat(2 << 10))] {
        let token = token(&json!({ "alg": "RS256", "kid": id }), &claims());
        assert_eq!(with_keys(&[rsa("a")], &token), Err(Refusal::KeyId));
    }
}

#[test]
fn a_token_that_another_key_signed_is_refused() {
    let forged = token_by(&header(), &claims(), &[0xc2; 256]);
    assert_eq!(with_keys(&[rsa("a")], &forged), Err(Refusal::Signature));
}

/// H12: keys come over TLS, or from within the mesh, and from no place that is no issuer.
#[test]
fn keys_are_fetched_from_issuers_only() {
    let in_mesh = |host: &str| host == "keys.shop.svc.cluster.local";
    for text in [
        "https://id.example.com/keys",
        "https://10.0.0.7:8443/keys",
        "https://127.0.0.1/keys",
        "http://keys.shop.svc.cluster.local:8080/keys",
    ] {
        assert!(address(text, &in_mesh).is_ok(), "{text}");
    }
    for text in [
        "http://id.example.com/keys",
        "http://127.0.0.1/keys",
        "http://169.254.169.254/latest/meta-data",
        "https://169.254.169.254/",
        "https://[fe80::1]/",
        "https://[::ffff:169.254.169.254]/",
        "https://[fd00:ec2::254]/",
        "https://0.0.0.0/",
        "https://Metadata.Google.Internal./",
        "https://user@id.example.com/",
        "file:///etc/passwd",
        "ftp://id.example.com/keys",
        "/keys",
        "id.example.com",
        "",
    ] {
        assert!(address(text, &in_mesh).is_err(), "{text}");
    }
}

/// Rules whose keys are not there refuse every token.
#[test]
fn without_keys_no_token_is_valid() {
    let rule = JwtRule {
        keys: JwtKeys::Fetched("https://id.example.com/keys".into()),
        ..rule(&[])
    };
    let asked = ask(&compiled(vec![rule]), &bearing(&token(&header(), &claims())), NOW);
    assert_eq!(asked, Err(Refusal::NoKeys));
}

//! Who issued a token, and whom it is for.

use super::*;

/// H6: an audience is a text or a list of texts, one of which is ours.
#[test]
fn a_token_is_for_one_of_our_audiences() {
    let rule = JwtRule {
        audiences: vec!["orders".into(), "shop".into()],
        ..rule(&[rsa("a")])
    };
    let rules = compiled(vec![rule]);
    let judged = |claims: &Value| ask(&rules, &bearing(&token(&header(), claims)), NOW).map(|_| ());

    assert_eq!(judged(&claims()), Err(Refusal::NoAudience));
    for (audience, expected) in [
        (json!([]), Err(Refusal::NoAudience)),
        (json!("billing"), Err(Refusal::Audience)),
        (json!(["billing", "Orders"]), Err(Refusal::Audience)),
        (json!(["billing", "orders"]), Ok(())),
        (json!("shop"), Ok(())),
        (json!(7), Err(Refusal::ClaimType)),
        (json!(["orders", 7]), Err(Refusal::ClaimType)),
        (json!({ "orders": true }), Err(Refusal::ClaimType)),
    ] {
        assert_eq!(judged(&with("aud", audience.clone())), expected, "{audience}");
    }
    assert_eq!(
        [Refusal::NoAudience, Refusal::Audience].map(|r| r.status().as_u16()),
        [401, 403]
    );
}

/// H6: who is not genuine is not told whom the token would have to be for.
#[test]
fn a_forged_token_for_others_is_forged_first() {
    let rule = JwtRule {
        audiences: vec!["orders".into()],
        ..rule(&[rsa("a")])
    };
    let forged = token_by(&header(), &with("aud", "billing"), b"other");
    let asked = ask(&compiled(vec![rule]), &bearing(&forged), NOW);
    assert_eq!(asked, Err(Refusal::Signature));
}

/// H8: an issuer that no rule names is refused, and so is one that is no text.
#[test]
fn only_issuers_of_rules_are_believed() {
    for issuer in [
        json!("https://evil.example.com"),
        json!("https://id.example.com/"),
        json!(""),
    ] {
        let judged = judged(&token(&header(), &with("iss", issuer.clone())));
        assert_eq!(judged, Err(Refusal::UnknownIssuer), "{issuer}");
    }
    assert_eq!(judged(&token(&header(), &with("iss", 7))), Err(Refusal::ClaimType));
    assert_eq!(judged(&token(&header(), &with("sub", 7))), Err(Refusal::ClaimType));
    let mut nobody = claims();
    nobody.as_object_mut().unwrap().remove("iss");
    assert_eq!(judged(&token(&header(), &nobody)), Err(Refusal::UnknownIssuer));
}

/// The keys of one issuer vouch for nobody else.
#[test]
fn an_issuer_vouches_for_itself() {
    let other = JwtRule {
        issuer: "https://other.example.com".into(),
        ..rule(&[p256("b")])
    };
    let rules = compiled(vec![rule(&[rsa("a")]), other]);
    let by_b = |issuer: &str| {
        token_by(
            &json!({ "alg": "ES256", "kid": "b" }),
            &with("iss", issuer),
            &p256_point(),
        )
    };
    let judged = |token: &str| ask(&rules, &bearing(token), NOW).map(|_| ());

    assert_eq!(judged(&by_b("https://other.example.com")), Ok(()));
    assert_eq!(judged(&by_b(ISSUER)), Err(Refusal::UnknownKey));
    assert_eq!(judged(&token(&header(), &claims())), Ok(()));
}

/// Of two rules for one issuer, one that takes the token is enough.
#[test]
fn one_rule_is_enough() {
    let for_audience = |audience: &str| JwtRule {
        audiences: vec![audience.into()],
        ..rule(&[rsa("a")])
    };
    let rules = compiled(vec![for_audience("orders"), for_audience("billing")]);
    let judged = |audience: &str| ask(&rules, &bearing(&token(&header(), &with("aud", audience))), NOW).map(|_| ());

    assert_eq!((judged("orders"), judged("billing")), (Ok(()), Ok(())));
    assert_eq!(judged("web"), Err(Refusal::Audience));
}

/// H9: rules look at different places, and a token at each is one too many.
#[test]
fn a_token_at_each_of_two_places_is_one_too_many() {
    let at = |header: &str| JwtRule {
        from_headers: vec![(header.into(), String::new())],
        ..rule(&[rsa("a")])
    };
    let rules = compiled(vec![at("x-user"), at("x-service")]);
    let token = token(&header(), &claims());
    let request = Request::get("https://orders.shop/").header("x-user", &token);

    assert!(ask(&rules, &request.body(()).unwrap(), NOW).unwrap().is_some());
    let request = Request::get("https://orders.shop/")
        .header("x-user", &token)
        .header("x-service", &token);
    assert_eq!(
        ask(&rules, &request.body(()).unwrap(), NOW),
        Err(Refusal::SeveralTokens)
    );
}

#[test]
fn headers_that_frame_a_message_are_not_filled() {
    for name in [
        "Host",
        "content-length",
        "x-envoy-peer",
        "X-Forwarded-Client-Cert",
        "a b",
        "",
    ] {
        let rule = JwtRule {
            payload_header: Some(name.into()),
            ..rule(&[rsa("a")])
        };
        let hosts = |_: &str| false;
        assert_eq!(check(&policy(vec![rule]), &hosts).len(), 1, "{name}");
    }
    let twice = JwtRule {
        claim_headers: vec![("x-a".into(), "sub".into()), ("X-A".into(), "iss".into())],
        ..rule(&[rsa("a")])
    };
    let hosts = |_: &str| false;
    let found = check(&policy(vec![twice]), &hosts);
    assert_eq!(found[0].reason, InvalidToken::Repeated("X-A".into()));
}

/// What tokens fill is removed from what comes in: it cannot be where they are looked for.
#[test]
fn headers_with_tokens_are_not_filled_from_tokens() {
    let hosts = |_: &str| false;
    let filling = |header: &str| JwtRule {
        payload_header: Some(header.into()),
        ..rule(&[rsa("a")])
    };
    let of_cookie = JwtRule {
        from_cookies: vec!["session".into()],
        ..filling("cookie")
    };
    let elsewhere = JwtRule {
        from_headers: vec![("x-jwt".into(), String::new())],
        ..rule(&[rsa("a")])
    };
    for rules in [
        vec![filling("Authorization")],
        vec![of_cookie],
        vec![
            elsewhere,
            JwtRule {
                from_params: vec!["token".into()],
                ..filling("x_jwt")
            },
        ],
    ] {
        let found = check(&policy(rules), &hosts);
        assert!(matches!(found[0].reason, InvalidToken::Place(_)), "{found:?}");
    }
}

/// A rule may demand its token; another's does not do.
#[test]
fn a_token_may_be_demanded() {
    let demanding = JwtRule {
        presence: Presence::Required,
        ..rule(&[rsa("a")])
    };
    let other = JwtRule {
        issuer: "https://other.example.com".into(),
        ..rule(&[p256("b")])
    };
    let rules = compiled(vec![demanding, other]);
    let by_b = token_by(
        &json!({ "alg": "ES256", "kid": "b" }),
        &with("iss", "https://other.example.com"),
        &p256_point(),
    );
    let nothing = Request::get("https://orders.shop/").body(()).unwrap();

    assert_eq!(ask(&rules, &nothing, NOW), Err(Refusal::Missing));
    assert_eq!(ask(&rules, &bearing(&by_b), NOW), Err(Refusal::Missing));
    assert!(
        ask(&rules, &bearing(&token(&header(), &claims())), NOW)
            .unwrap()
            .is_some()
    );
    assert_eq!(Refusal::Missing.challenge(), Some("Bearer"));
}

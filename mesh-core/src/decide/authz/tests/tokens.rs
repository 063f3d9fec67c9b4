//! Rules on tokens.

use http::Request;
use serde_json::{Value, json};

use super::*;
use crate::decide::jwt::{TokenRules, VerifiedToken};
use crate::policy::model::authz::{Attribute, Condition, Pattern, Rule, Source, When};
use crate::policy::model::jwt::{JwtKeys, JwtRule, RequestAuthentication};
use crate::request::{Options, PathRules, Transport, canonicalize};

const ISSUER: &str = "https://id.example.com";

/// A genuine token with these claims.
fn token(claims: Value) -> VerifiedToken {
    let policy = RequestAuthentication {
        meta: Meta {
            namespace: "shop".into(),
            ..Meta::default()
        },
        rules: vec![JwtRule {
            keys: JwtKeys::Fetched("https://id.example.com/keys".into()),
            space_delimited_claims: vec!["teams".into()],
            ..JwtRule::default()
        }],
        ..RequestAuthentication::default()
    };
    let hosts = |_: &str| false;
    let rules = TokenRules::compile([&policy], &Workload::new("shop", "orders"), "istio-system", &hosts).unwrap();
    let Value::Object(claims) = claims else {
        panic!("claims are an object")
    };
    rules.suppose(claims).unwrap().unwrap()
}

fn decide(action: Action, rule: Rule, token: Option<&VerifiedToken>) -> bool {
    let meta = Meta {
        name: "rules".into(),
        namespace: "shop".into(),
        ..Meta::default()
    };
    let mut policy = AuthorizationPolicy::new(meta, action);
    policy.rules = vec![rule].into();
    let workload = Workload::new("shop", "orders");
    let authorizer = Authorizer::compile([&policy], &workload, "istio-system").unwrap();
    let request = Request::get("https://orders.shop/").body(()).unwrap();
    let canonical = canonicalize(&request, Options::inbound(Transport::Tls, PathRules::Absent)).unwrap();
    let peer = Peer::new(None, "10.0.0.7".parse().unwrap(), 8080);
    let view = canonical.view().bearing(token);
    let decided = authorizer.authorize(&view, &peer).is_allowed();
    assert_eq!(decided, authorizer.for_peer(&peer).authorize(&view).is_allowed());
    decided
}

fn by_principal(any_of: &[&str], none_of: &[&str]) -> Rule {
    let patterns = |texts: &[&str]| texts.iter().map(|text| Pattern::wildcard(text)).collect();
    let source = Source {
        request_principals: Condition {
            any_of: patterns(any_of),
            none_of: patterns(none_of),
        },
        ..Source::default()
    };
    Rule {
        from: vec![source],
        ..Rule::default()
    }
}

fn by_claim(path: &[&str], any_of: &[&str], none_of: &[&str]) -> Rule {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let values = Condition {
        any_of: owned(any_of),
        none_of: owned(none_of),
    };
    Rule {
        when: vec![When::new(Attribute::Claims(owned(path)), values)],
        ..Rule::default()
    }
}

#[test]
fn principals_are_compared_by_issuer_and_subject() {
    let ann = token(json!({ "iss": ISSUER, "sub": "ann" }));
    for (pattern, allows) in [
        ("https://id.example.com/ann", true),
        ("https://id.example.com/*", true),
        ("https://id.example.com/a*", true),
        ("*/ann", true),
        ("*example.com/ann", true),
        ("*nn", true),
        ("*", true),
        ("https://id.example.com/anne", false),
        ("https://id.example.co/*", false),
        // The text before the last `/` is the issuer, wildcard or not.
        ("https:/*", false),
        ("https://id*", false),
        ("*/bob", false),
        ("ann", false),
    ] {
        assert_eq!(
            decide(Action::Allow, by_principal(&[pattern], &[]), Some(&ann)),
            allows,
            "{pattern}"
        );
    }
}

/// A subject with a `/` in it is not taken for another issuer's, and does not hide from a denial.
#[test]
fn a_subject_does_not_reach_into_the_issuer() {
    let tenant = token(json!({ "iss": ISSUER, "sub": "evil/ann" }));
    assert!(!decide(
        Action::Allow,
        by_principal(&["https://id.example.com/evil/ann"], &[]),
        Some(&tenant)
    ));
    assert!(!decide(
        Action::Deny,
        by_principal(&["https://id.example.com/evil/ann"], &[]),
        Some(&tenant)
    ));
    let other = token(json!({ "iss": "https://id.example.com/evil", "sub": "ann" }));
    assert!(!decide(
        Action::Allow,
        by_principal(&["https://id.example.com/*"], &[]),
        Some(&other)
    ));
}

/// I6: without a token, nothing is known of it: no rule on it allows, and every rule on it denies.
#[test]
fn what_a_token_would_say_is_unknown_without_one() {
    for rule in [
        by_principal(&["*"], &[]),
        by_principal(&[], &["https://id.example.com/bob"]),
        by_claim(&["groups"], &["a"], &[]),
        by_claim(&["groups"], &[], &["a"]),
    ] {
        assert!(!decide(Action::Allow, rule.clone(), None), "{rule:?}");
        assert!(!decide(Action::Deny, rule.clone(), None), "{rule:?}");
        // Nor does a token that lacks the claim, or is of nobody.
        let nobody = token(json!({ "iss": ISSUER }));
        assert!(!decide(Action::Allow, rule.clone(), Some(&nobody)), "{rule:?}");
        assert!(!decide(Action::Deny, rule, Some(&nobody)));
    }
}

#[test]
fn claims_are_texts_lists_and_nested() {
    let said = token(json!({
        "groups": ["a", "b"], "tier": "gold", "level": 3, "mixed": ["a", 1], "empty": [],
        "scope": "read write", "teams": "red blue", "motto": "read write", "realm": { "roles": ["staff"], "a.b": "c" },
    }));
    let allows = |path: &[&str], value| decide(Action::Allow, by_claim(path, &[value], &[]), Some(&said));

    for (path, value) in [
        (&["groups"][..], "b"),
        (&["tier"], "go*"),
        (&["scope"], "write"),
        (&["teams"], "blue"),
        (&["motto"], "read write"),
        (&["realm", "roles"], "staff"),
        (&["realm", "a.b"], "c"),
        (&["tier"], "*"),
    ] {
        assert!(allows(path, value), "{path:?} {value}");
    }
    for (path, value) in [
        (&["groups"][..], "c"),
        (&["groups"], "a,b"),
        (&["scope"], "read write"),
        (&["motto"], "read"),
        (&["level"], "3"),
        (&["mixed"], "a"),
        (&["empty"], "*"),
        (&["realm"], "*"),
        (&["realm", "roles", "x"], "*"),
        (&["realm.roles"], "staff"),
    ] {
        assert!(!allows(path, value), "{path:?} {value}");
    }
}

#[test]
fn not_values_except_tokens() {
    let said = token(json!({ "groups": ["a", "b"], "empty": [] }));
    let denies = |path: &str, none_of| !decide(Action::Deny, by_claim(&[path], &[], &[none_of]), Some(&said));
    assert!(denies("groups", "c"));
    assert!(!denies("groups", "b"));
    assert!(denies("empty", "b"));
}

/// Of two sources, the one with the token need not be the one with the address.
#[test]
fn a_token_belongs_to_its_source() {
    let ann = token(json!({ "iss": ISSUER, "sub": "ann" }));
    let mut rule = by_principal(&["*/ann"], &[]);
    rule.from[0].ip_blocks.any_of = vec!["192.0.2.0/24".parse().unwrap()];
    let mut other = by_principal(&["*/bob"], &[]).from.remove(0);
    other.ip_blocks.any_of = vec!["10.0.0.0/8".parse().unwrap()];
    rule.from.push(other);
    assert!(!decide(Action::Allow, rule.clone(), Some(&ann)));
    rule.from[0].ip_blocks.any_of.push("10.0.0.7/32".parse().unwrap());
    assert!(decide(Action::Allow, rule, Some(&ann)));
}

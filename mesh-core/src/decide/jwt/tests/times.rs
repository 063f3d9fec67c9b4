//! When a token is valid.

use std::time::Duration;

use super::*;

/// H7 (CVE-2026-25537): times are numbers; anything else is no time, and never "for ever".
#[test]
fn times_are_numbers() {
    for name in ["exp", "nbf", "iat"] {
        for value in [
            json!("9999999999"),
            json!(null),
            json!(-1),
            json!(1e300),
            json!(-0.5),
            json!(253_402_300_800_u64),
            json!([NOW + 60]),
            json!({}),
            json!(true),
        ] {
            let judged = judged(&token(&header(), &with(name, value.clone())));
            assert_eq!(judged, Err(Refusal::ClaimType), "{name}: {value}");
        }
    }
}

/// H7: a token ends at its end.
#[test]
fn a_token_is_over_at_its_end() {
    assert_eq!(judged(&token(&header(), &with("exp", NOW))), Err(Refusal::Expired));
    assert_eq!(judged(&token(&header(), &with("exp", NOW - 1))), Err(Refusal::Expired));
    assert_eq!(judged(&token(&header(), &with("exp", NOW + 1))), Ok(()));
    // A part of a second is no second.
    let half = f64::from(u32::try_from(NOW).unwrap()) + 0.5;
    assert_eq!(judged(&token(&header(), &with("exp", half))), Err(Refusal::Expired));
    assert_eq!(judged(&token(&header(), &with("nbf", half))), Err(Refusal::NotYetValid));
    assert_eq!(judged(&token(&header(), &with("nbf", NOW))), Ok(()));
    assert_eq!(
        judged(&token(&header(), &with("nbf", NOW + 1))),
        Err(Refusal::NotYetValid)
    );
    // When it was issued says nothing about when it ends.
    assert_eq!(judged(&token(&header(), &with("iat", NOW + 60))), Ok(()));
}

/// H18: clocks differ by the leeway of the rule, which is none by default.
#[test]
fn clocks_differ_as_far_as_the_rule_says() {
    let lenient = JwtRule {
        leeway: Some(Duration::from_secs(60)),
        ..rule(&[rsa("a")])
    };
    let (lenient, strict) = (compiled(vec![lenient]), compiled(vec![rule(&[rsa("a")])]));
    let judged =
        |rules: &TokenRules, name, value| ask(rules, &bearing(&token(&header(), &with(name, value))), NOW).map(|_| ());

    assert_eq!(judged(&lenient, "exp", NOW - 59), Ok(()));
    assert_eq!(judged(&lenient, "exp", NOW - 61), Err(Refusal::Expired));
    assert_eq!(judged(&lenient, "nbf", NOW + 60), Ok(()));
    assert_eq!(judged(&lenient, "nbf", NOW + 61), Err(Refusal::NotYetValid));
    assert_eq!(judged(&strict, "exp", NOW - 1), Err(Refusal::Expired));
}

/// A token that is remembered is asked for its time again.
#[test]
fn what_was_valid_does_not_stay_so() {
    let rules = compiled(vec![rule(&[rsa("a")])]);
    let request = bearing(&token(&header(), &claims()));
    let token = ask(&rules, &request, NOW).unwrap().unwrap();
    let accepted = Accepted { token, rule: 0 };

    assert!(rules.still_valid(&accepted, NOW + 59).is_ok());
    assert_eq!(
        rules.still_valid(&accepted, NOW + 60).unwrap_err().refusal,
        Refusal::Expired
    );
}

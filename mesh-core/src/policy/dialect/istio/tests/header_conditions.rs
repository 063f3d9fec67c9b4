use super::*;
use crate::policy::model::route::{RouteMatch, StringMatch};

const DESTINATION: &str = "route: [{ destination: { host: a } }]";

/// A virtual service at a gateway whose one match begins in line 4.
fn spec(condition: &str) -> String {
    format!("hosts: [a], gateways: [g], http: [{{ match: [{{\n{condition} }}], {DESTINATION} }}]")
}

fn load_match(condition: &str) -> (RouteMatch, Vec<String>) {
    let mut loaded = load_spec("VirtualService", &spec(condition));
    let found = loaded.policy.routes.remove(0).rules.remove(0).matches.remove(0);
    (found, loaded.lines)
}

#[test]
fn claims_are_named_in_two_ways() {
    let exact = || StringMatch::Exact("a".into());
    for (key, path) in [
        ("@request.auth.claims.sub", vec!["sub"]),
        ("@request.auth.claims.realm.Role", vec!["realm", "Role"]),
        ("@Request.Auth.Claims[realm.x][role]", vec!["realm.x", "role"]),
    ] {
        let (found, lines) = load_match(&format!("headers: {{ '{key}': {{ exact: a }} }}"));
        assert_eq!(
            found.claims,
            [(path.iter().map(|name| (*name).to_owned()).collect(), exact())]
        );
        assert_eq!(lines, [""; 0]);
    }
    let (found, _) = load_match("withoutHeaders: { '@request.auth.claims.sub': {} }");
    assert_eq!(found.without_claims, [(vec!["sub".into()], StringMatch::Present)]);
}

#[test]
fn claims_need_a_gateway() {
    let spec = spec("headers: { '@request.auth.claims.sub': {} }").replace("gateways: [g], ", "");
    assert_lines(
        "VirtualService",
        &[(
            &spec,
            &[
                "4:12: error[MESH0301]: `@request.auth.claims.sub` needs a gateway in `gateways`: tokens are checked there",
            ],
        )],
    );
}

#[test]
fn a_claim_without_a_name_is_no_header() {
    for key in [
        "@request.auth.claims",
        "@request.auth.claims.",
        "@request.auth.claims[a",
        "@request.auth.claims.a..b",
    ] {
        let expected = format!("4:12: error[MESH0104]: key `{key}`: expected the name of a header");
        assert_lines(
            "VirtualService",
            &[(&spec(&format!("headers: {{ '{key}': {{}} }}")), &[&expected])],
        );
    }
}

#[test]
fn parts_of_the_request_may_be_written_as_headers() {
    let (found, lines) = load_match(
        "headers: { ':method': { exact: GET }, ':authority': { prefix: a }, ':scheme': { regex: https? }, ':path': {} }",
    );
    assert_eq!(found.method, Some(StringMatch::Exact("GET".into())));
    assert_eq!(found.authority, Some(StringMatch::Prefix("a".into())));
    assert_eq!(found.scheme, Some(StringMatch::Regex("https?".into())));
    assert!(found.headers.is_empty());
    assert_eq!(lines, [""; 0]);
}

#[test]
fn parts_that_cannot_be_compared_are_not_yet_in_force() {
    let cases: [(&str, &[&str]); 4] = [
        (
            "headers: { ':path': { exact: /a } }",
            &[
                "4:12: warning[MESH0401]: a condition on `:path` is not yet in force: a path is compared without its query, by `uri`",
            ],
        ),
        (
            "method: { exact: GET }, headers: { ':method': { exact: GET } }",
            &[
                "4:36: warning[MESH0401]: a condition on `:method` is not yet in force: the field of the match compares it already",
            ],
        ),
        (
            "withoutHeaders: { ':method': { exact: GET } }",
            &[
                "4:19: warning[MESH0401]: a condition on `:method` is not yet in force: parts of the request are compared, not excluded",
            ],
        ),
        (
            "headers: { ':status': {} }",
            &[
                "4:12: error[MESH0104]: key `:status`: expected the name of a header, or one of `:authority`, `:method`, `:scheme` or `:path`",
            ],
        ),
    ];
    for (condition, lines) in cases {
        assert_lines("VirtualService", &[(&spec(condition), lines)]);
    }
}

//! What a `GRPCRoute` becomes.

use super::*;
use crate::policy::model::route::StringMatch;

fn grpc(rule: &str) -> String {
    http(rule).replace("HTTPRoute", "GRPCRoute")
}

fn path(method: &str) -> Option<StringMatch> {
    let policy = clean(&grpc(&format!("{{ matches: [{{ method: {method} }}], {TO_A} }}")));
    rule(&policy).matches[0].path.clone()
}

#[test]
fn services_and_methods_are_paths() {
    let cases = [
        (
            "{ service: shop.Orders, method: Get }",
            StringMatch::Exact("/shop.Orders/Get".into()),
        ),
        ("{ service: shop.Orders }", StringMatch::Prefix("/shop.Orders/".into())),
        ("{ method: Get }", StringMatch::Regex("/[^/]+/Get".into())),
        (
            "{ type: RegularExpression, service: 'shop[.].*', method: 'Get|Put' }",
            StringMatch::Regex("/(?:shop[.].*)/(?:Get|Put)".into()),
        ),
        (
            "{ type: RegularExpression, service: 'shop[.].*' }",
            StringMatch::Regex("/(?:shop[.].*)/[^/]+".into()),
        ),
        (
            "{ type: RegularExpression, method: 'Get|Put' }",
            StringMatch::Regex("/[^/]+/(?:Get|Put)".into()),
        ),
    ];
    for (method, expected) in cases {
        assert_eq!(path(method), Some(expected), "{method}");
    }
}

#[test]
fn headers_and_filters_are_those_of_http() {
    let text = format!(
        "{{ name: one, matches: [{{ headers: [{{ name: Version, value: one }}] }}], \
         filters: [{{ type: RequestHeaderModifier, requestHeaderModifier: {{ remove: [x] }} }}], {TO_A} }}"
    );
    let policy = clean(&grpc(&text));
    let rule = rule(&policy);
    assert_eq!(
        (rule.name.as_deref(), rule.matches[0].path.as_ref()),
        (Some("one"), None)
    );
    assert_eq!(rule.matches[0].headers[0].0.as_str(), "version");
    assert_eq!(rule.headers.request.remove[0].as_str(), "x");
}

#[test]
fn what_grpc_does_not_have_is_refused() {
    assert_told(&[
        (
            grpc(&format!("{{ matches: [{{ method: {{}} }}], {TO_A} }}")),
            &["7:27: error[MESH0104]: `method`: expected `service`, `method` or both, found neither"],
        ),
        (
            grpc(&format!("{{ matches: [{{ method: {{ service: a/b }} }}], {TO_A} }}")),
            &[
                "7:38: error[MESH0104]: `service`: expected a name of protocol buffers such as `shop.v1.Orders`, found `a/b`",
            ],
        ),
        (
            grpc(&format!("{{ matches: [{{ method: {{ method: 1a }} }}], {TO_A} }}")),
            &[
                "7:37: error[MESH0104]: `method`: expected a name of protocol buffers such as `shop.v1.Orders`, found `1a`",
            ],
        ),
        (
            grpc(&format!("{{ matches: [{{ path: {{ value: / }} }}], {TO_A} }}")),
            &["7:19: error[MESH0101]: unknown field `path`"],
        ),
        (
            grpc(&format!(
                "{{ filters: [{{ type: URLRewrite, urlRewrite: {{}} }}], {TO_A} }}"
            )),
            &[
                "7:25: error[MESH0104]: `type`: unknown value `URLRewrite`, expected `RequestHeaderModifier`, `ResponseHeaderModifier`, `RequestMirror` or `ExtensionRef`",
            ],
        ),
        (
            grpc(&format!("{{ timeouts: {{ request: 1s }}, {TO_A} }}")),
            &["7:7: error[MESH0101]: unknown field `timeouts`"],
        ),
    ]);
}

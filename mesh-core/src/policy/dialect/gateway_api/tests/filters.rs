//! What filters become.

use std::time::Duration;

use http::StatusCode;

use super::*;
use crate::policy::model::filter::{
    Answer, Credentials, HeaderText, OriginMatch, PathRewrite, Redirect, RedirectPort, Rewrite, UnmatchedPreflight,
};
use crate::policy::model::route::StringMatch;

fn filtered(filters: &str) -> RouteRule {
    let prefix = "matches: [{ path: { value: /old } }]";
    rule(&clean(&http(&format!("{{ {prefix}, filters: [{filters}], {TO_A} }}")))).clone()
}

fn redirected(settings: &str) -> Redirect {
    let text = format!(
        "{{ matches: [{{ path: {{ value: /old }} }}], filters: [{{ type: RequestRedirect, requestRedirect: {settings} }}] }}"
    );
    let policy = clean(&http(&text));
    assert!(rule(&policy).destinations.is_empty());
    match &rule(&policy).answer {
        Some(Answer::Redirect(redirect)) => redirect.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn header_modifiers_are_read() {
    let rule = filtered(
        "{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: X-Set, value: 'a %b%' }], add: [{ name: X-Add, value: c }], remove: [X-Gone] } }, \
         { type: ResponseHeaderModifier, responseHeaderModifier: { set: [{ name: Y, value: d }] } }",
    );
    let request = &rule.headers.request;
    assert_eq!(request.remove[0].as_str(), "x-gone");
    // A percent sign is one: there are no variables.
    assert_eq!(
        (request.set[0].0.as_str(), &request.set[0].1),
        ("x-set", &HeaderText::literal("a %b%"))
    );
    assert_eq!(
        (request.add[0].0.as_str(), &request.add[0].1),
        ("x-add", &HeaderText::literal("c"))
    );
    assert_eq!(rule.headers.response.set[0].0.as_str(), "y");
}

#[test]
fn redirects_are_302_and_take_the_port_of_their_scheme() {
    let to_https = redirected("{ scheme: https }");
    assert_eq!(to_https, {
        let mut redirect = Redirect::new(StatusCode::FOUND);
        redirect.scheme = Some("https".into());
        redirect.port = RedirectPort::SchemeOrRequest;
        redirect
    });
    let whole = redirected(
        "{ scheme: https, hostname: new.example, port: 8443, statusCode: 308, path: { type: ReplaceFullPath, replaceFullPath: /new } }",
    );
    assert_eq!(
        (whole.scheme.as_deref(), whole.authority.as_deref()),
        (Some("https"), Some("new.example"))
    );
    assert_eq!(
        (whole.port, whole.status),
        (RedirectPort::Number(8443), StatusCode::PERMANENT_REDIRECT)
    );
    assert_eq!(whole.path, Some(PathRewrite::Full("/new".into())));
    let with_query = redirected("{ path: { type: ReplaceFullPath, replaceFullPath: '/new?a=b&c' } }");
    assert_eq!(with_query.path, Some(PathRewrite::Full("/new?a=b&c".into())));
    let prefix = redirected("{ path: { type: ReplacePrefixMatch, replacePrefixMatch: /new } }");
    assert_eq!(prefix.path, Some(PathRewrite::SegmentPrefix("/new".into())));
}

#[test]
fn rewrites_are_read_for_rules_and_for_backends() {
    let rewrite = "{ type: URLRewrite, urlRewrite: { hostname: new.example, path: { type: ReplacePrefixMatch, replacePrefixMatch: '' } } }";
    let expected = Rewrite {
        authority: Some("new.example".into()),
        path: Some(PathRewrite::SegmentPrefix(String::new())),
    };
    assert_eq!(filtered(rewrite).rewrite, Some(expected.clone()));
    let text = format!(
        "{{ matches: [{{ path: {{ value: /old }} }}], backendRefs: [{{ name: a, port: 80, filters: [{rewrite}, {{ type: RequestHeaderModifier, requestHeaderModifier: {{ remove: [x] }} }}] }}] }}"
    );
    let policy = clean(&http(&text));
    let to = &rule(&policy).destinations[0];
    assert_eq!(to.rewrite, Some(expected));
    assert_eq!(to.headers.request.remove[0].as_str(), "x");
}

#[test]
fn mirrors_copy_all_or_a_share() {
    let mirror = |share: &str| {
        let filter =
            format!("{{ type: RequestMirror, requestMirror: {{ backendRef: {{ name: m, port: 80 }}{share} }} }}");
        filtered(&filter).mirrors[0].fraction.millionths()
    };
    assert_eq!(mirror(""), 1_000_000);
    assert_eq!(mirror(", percent: 20"), 200_000);
    assert_eq!(mirror(", percent: 0"), 0);
    assert_eq!(mirror(", fraction: { numerator: 1 }"), 10_000);
    assert_eq!(mirror(", fraction: { numerator: 1, denominator: 1000000 }"), 1);
    let two = "{ type: RequestMirror, requestMirror: { backendRef: { name: m, port: 80 } } }, { type: RequestMirror, requestMirror: { backendRef: { name: n, port: 80 } } }";
    assert_eq!(filtered(two).mirrors.len(), 2);
}

#[test]
fn a_copy_for_nobody_is_not_made() {
    let text = format!(
        "{{ filters: [{{ type: RequestMirror, requestMirror: {{ backendRef: {{ kind: Pool, group: x.example, name: m }} }} }}], {TO_A} }}"
    );
    let policy = warned(&http(&text));
    assert!(rule(&policy).mirrors.is_empty());
    assert_eq!(rule(&policy).destinations[0].unresolved, None);
}

#[test]
fn cors_is_read() {
    let cors = filtered(
        "{ type: CORS, cors: { allowOrigins: ['https://www.foo.com', 'https://*.bar.com', 'http://a.example:80', 'https://B.example:8443'], \
         allowMethods: [GET, PUT], allowHeaders: [X-One], exposeHeaders: [X-Two], maxAge: 60, allowCredentials: true } }",
    )
    .cors
    .unwrap();
    let text = |text: StringMatch| OriginMatch::Text(text);
    assert_eq!(
        cors.allow_origins,
        [
            text(StringMatch::Exact("https://www.foo.com".into())),
            text(StringMatch::Regex(r"https://[^/:]+\.bar\.com".into())),
            text(StringMatch::Exact("http://a.example".into())),
            text(StringMatch::Exact("https://b.example:8443".into())),
        ]
    );
    assert_eq!(cors.allow_methods, ["GET", "PUT"]);
    assert_eq!(
        (cors.allow_headers.as_slice(), cors.expose_headers.as_slice()),
        (&["X-One".to_owned()][..], &["X-Two".to_owned()][..])
    );
    assert_eq!(
        (cors.max_age, cors.credentials),
        (Some(Duration::from_secs(60)), Credentials::Allow)
    );
    assert_eq!(cors.unmatched, UnmatchedPreflight::Answer);
    let all = filtered("{ type: CORS, cors: { allowOrigins: ['*'], allowMethods: ['*'] } }")
        .cors
        .unwrap();
    assert_eq!(
        (all.allow_origins.as_slice(), all.max_age),
        (&[OriginMatch::Any][..], Some(Duration::from_secs(5)))
    );
    assert_eq!(
        (all.allow_methods, all.credentials),
        (vec!["*".to_owned()], Credentials::Omit)
    );
}

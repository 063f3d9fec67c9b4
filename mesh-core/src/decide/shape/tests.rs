use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version};

use super::*;
use crate::policy::model::filter::{
    Abort, Cors, Credentials, HeaderChanges, HeaderPart, HeaderText, HeaderVariable, OriginMatch, PathRewrite,
    Redirect, RedirectPort, UnmatchedPreflight,
};
use crate::policy::model::route::StringMatch;
use crate::random::SplitMix64;
use crate::request::{Options, canonicalize};

fn matching(path: Option<StringMatch>) -> RouteMatch {
    RouteMatch {
        path,
        ..RouteMatch::default()
    }
}

fn rewritten(path: Option<StringMatch>, rewrite: &PathRewrite, request: &str) -> String {
    PathRewriter::compile(rewrite, &matching(path))
        .unwrap()
        .rewrite(request)
}

#[test]
fn a_prefix_is_replaced_as_text() {
    let prefix = |text: &str| Some(StringMatch::Prefix(text.into()));
    for (path, text, request, expected) in [
        (prefix("/ratings"), "/v1/x", "/ratingsABC", "/v1/xABC"),
        (prefix("/ratings"), "/v1", "/ratings/7", "/v1/7"),
        (prefix("/"), "/api/", "/orders", "/api/orders"),
        (None, "/api/", "/orders", "/api/orders"),
        (prefix("/%61/"), "/b/", "/a/c", "/b/c"),
        (Some(StringMatch::Exact("/a".into())), "/b", "/a", "/b"),
        (Some(StringMatch::Regex("/a/[0-9]+".into())), "/b", "/a/12", "/b"),
    ] {
        assert_eq!(rewritten(path, &PathRewrite::Prefix(text.into()), request), expected);
    }
}

#[test]
fn a_prefix_of_segments_keeps_one_slash() {
    for (matched, text, request, expected) in [
        ("/foo", "/xyz", "/foo/bar", "/xyz/bar"),
        ("/foo/", "/xyz", "/foo/bar", "/xyz/bar"),
        ("/foo", "/xyz/", "/foo/bar", "/xyz/bar"),
        ("/foo", "/xyz", "/foo", "/xyz"),
        ("/foo", "/xyz", "/foo/", "/xyz/"),
        ("/foo", "", "/foo/bar", "/bar"),
        ("/foo", "/", "/foo/bar", "/bar"),
        ("/foo", "", "/foo", "/"),
        ("/foo", "/", "/foo/", "/"),
        ("/", "/xyz", "/foo", "/xyz/foo"),
    ] {
        let path = Some(StringMatch::SegmentPrefix(matched.into()));
        let found = rewritten(path, &PathRewrite::SegmentPrefix(text.into()), request);
        assert_eq!(found, expected, "{matched} to {text}: {request}");
    }
}

#[test]
fn a_regex_replaces_every_part_that_it_matches() {
    let rewrite = |pattern: &str, substitution: &str| PathRewrite::Regex {
        pattern: pattern.into(),
        substitution: substitution.into(),
    };
    for (pattern, substitution, request, expected) in [
        (
            "/service/([^/]+)(/.*)$",
            r"\2/instance/\1",
            "/service/foo/v1/api",
            "/v1/api/instance/foo",
        ),
        ("one", "two", "/xxx/one/yyy/one/zzz", "/xxx/two/yyy/two/zzz"),
        ("(?i)/xxx/", "/yyy/", "/aaa/XxX/bbb", "/aaa/yyy/bbb"),
        ("b+", r"<\0>", "/abbc", "/a<bb>c"),
        ("b", r"\\", "/abc", r"/a\c"),
        ("x", "y", "/abc", "/abc"),
    ] {
        assert_eq!(rewritten(None, &rewrite(pattern, substitution), request), expected);
    }
    let error = PathRewriter::compile(&rewrite("a(b)", r"\2"), &matching(None)).unwrap_err();
    assert_eq!(
        error.to_string(),
        r"substitution `\2` refers to group 2, and the regex has 1"
    );
    assert!(PathRewriter::compile(&rewrite("a(", ""), &matching(None)).is_err());
}

fn redirected(redirect: &Redirect, path: Option<StringMatch>, url: &str, port: u16) -> String {
    let request = Request::get(url).body(()).unwrap();
    let canonical = canonicalize(&request, Options::outbound()).unwrap();
    let redirector = Redirector::compile(redirect, &matching(path)).unwrap();
    location(&redirector, &canonical.view(), port)
}

#[test]
fn a_redirect_takes_from_the_request_what_it_does_not_set() {
    let mut https = Redirect::new(StatusCode::MOVED_PERMANENTLY);
    https.scheme = Some("https".into());
    let mut host = Redirect::new(StatusCode::FOUND);
    host.authority = Some("new.example".into());
    let mut full = Redirect::new(StatusCode::FOUND);
    full.path = Some(PathRewrite::Full("/login".into()));
    let mut query = Redirect::new(StatusCode::FOUND);
    query.path = Some(PathRewrite::Full("/login?next=1".into()));
    for (redirect, url, expected) in [
        (&https, "http://shop.example/a?b=1", "https://shop.example/a?b=1"),
        (&https, "http://shop.example:80/a", "https://shop.example/a"),
        (&https, "http://shop.example:8080/a", "https://shop.example:8080/a"),
        (&host, "http://shop.example:8080/a", "http://new.example/a"),
        (&full, "http://shop.example/a?b=1", "http://shop.example/login?b=1"),
        (&query, "http://shop.example/a?b=1", "http://shop.example/login?next=1"),
    ] {
        assert_eq!(redirected(redirect, None, url, 80), expected);
    }
}

#[test]
fn the_port_of_a_redirect_is_left_out_where_the_scheme_says_it() {
    let redirect = |scheme: Option<&str>, port: RedirectPort| {
        let mut redirect = Redirect::new(StatusCode::FOUND);
        (redirect.scheme, redirect.port) = (scheme.map(Into::into), port);
        redirect
    };
    use RedirectPort::{Number, ProtocolDefault, Request, SchemeOrRequest};
    for (scheme, port, listener, expected) in [
        (None, Number(8443), 80, "http://[2001:db8::1]:8443/"),
        (None, Number(80), 80, "http://[2001:db8::1]/"),
        (Some("https"), Number(443), 80, "https://[2001:db8::1]/"),
        (Some("https"), Number(80), 80, "https://[2001:db8::1]:80/"),
        (None, Request, 8080, "http://[2001:db8::1]:8080/"),
        (None, Request, 80, "http://[2001:db8::1]/"),
        (None, ProtocolDefault, 8080, "http://[2001:db8::1]/"),
        (Some("https"), SchemeOrRequest, 8080, "https://[2001:db8::1]/"),
        (None, SchemeOrRequest, 8080, "http://[2001:db8::1]:8080/"),
    ] {
        let found = redirected(&redirect(scheme, port), None, "http://[2001:db8::1]:9000/", listener);
        assert_eq!(found, expected, "{scheme:?} {port:?} {listener}");
    }
}

#[test]
fn a_redirect_replaces_a_prefix_by_text_or_by_segments() {
    let mut redirect = Redirect::new(StatusCode::FOUND);
    redirect.path = Some(PathRewrite::Prefix("/".into()));
    let prefix = Some(StringMatch::Prefix("/foo".into()));
    assert_eq!(
        redirected(&redirect, prefix, "http://a/foo/baz?x", 80),
        "http://a//baz?x"
    );
    redirect.path = Some(PathRewrite::SegmentPrefix("/".into()));
    let prefix = Some(StringMatch::SegmentPrefix("/foo".into()));
    assert_eq!(
        redirected(&redirect, prefix, "http://a/foo/baz?x", 80),
        "http://a/baz?x"
    );
}

fn name(text: &'static str) -> HeaderName {
    HeaderName::from_static(text)
}

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

fn changes(remove: &[&'static str], set: &[(&'static str, &str)], add: &[(&'static str, &str)]) -> HeaderChanges {
    let texts = |fields: &[(&'static str, &str)]| {
        let text = |(key, value): &(&'static str, &str)| (name(key), HeaderText::literal(*value));
        fields.iter().map(text).collect()
    };
    HeaderChanges {
        remove: remove.iter().map(|key| name(key)).collect(),
        set: texts(set),
        add: texts(add),
    }
}

#[test]
fn headers_are_removed_then_set_then_added() {
    let one = changes(
        &["x-a", "x-b"],
        &[("x-a", "1"), ("x-c", "")],
        &[("x-a", "2"), ("x-d", "3")],
    );
    let mut headers = map(&[("x-a", "old"), ("x-b", "old"), ("x-c", "kept")]);
    HeaderEdit::compile([&one]).unwrap().apply_to_request(&mut headers);
    assert_eq!(
        headers,
        map(&[("x-a", "1"), ("x-a", "2"), ("x-c", "kept"), ("x-d", "3")])
    );
}

fn rule(order: HeaderOrder) -> (RouteRule, Destination) {
    let mut rule = RouteRule {
        header_order: order,
        ..RouteRule::default()
    };
    rule.headers.request = changes(&[], &[("x-who", "rule")], &[]);
    let mut to = Destination::default();
    to.headers.request = changes(&["x-who"], &[("x-who", "destination")], &[]);
    (rule, to)
}

#[test]
fn the_later_level_wins() {
    for (order, expected) in [
        (HeaderOrder::DestinationLast, "destination"),
        (HeaderOrder::RuleLast, "rule"),
    ] {
        let (rule, to) = rule(order);
        let edit = Edit::compile(&rule, &to, &RouteMatch::default()).unwrap().unwrap();
        let mut headers = HeaderMap::new();
        edit.request.apply_to_request(&mut headers);
        assert_eq!(headers, map(&[("x-who", expected)]), "{order:?}");
    }
}

#[test]
fn a_rule_that_only_forwards_has_no_shape_and_no_edit() {
    let (rule, to) = (RouteRule::default(), Destination::default());
    assert!(
        Shape::compile(&rule, &RouteMatch::default(), Box::default())
            .unwrap()
            .is_none()
    );
    assert!(Edit::compile(&rule, &to, &RouteMatch::default()).unwrap().is_none());
}

#[test]
fn an_authority_is_compiled_once_and_must_be_one() {
    let edit = |text: &str| {
        let rule = RouteRule {
            rewrite: Some(Rewrite {
                authority: Some(text.into()),
                path: None,
            }),
            ..RouteRule::default()
        };
        Edit::compile(&rule, &Destination::default(), &RouteMatch::default())
    };
    let authority = edit("new.example:8080").unwrap().unwrap().authority.unwrap();
    assert_eq!(authority.uri().port_u16(), Some(8080));
    assert_eq!(authority.header(), "new.example:8080");
    assert_eq!(
        edit("new example").unwrap_err(),
        InvalidShape::Value("new example".into())
    );
}

#[test]
fn headers_that_frame_a_message_are_not_changed() {
    for header in [
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "te",
        "upgrade",
        "trailer",
    ] {
        for one in [changes(&[header], &[], &[]), changes(&[], &[(header, "1")], &[])] {
            let error = HeaderEdit::compile([&one]).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("header `{header}` cannot be changed: it says how the message is framed or routed")
            );
        }
    }
    assert!(HeaderEdit::compile([&changes(&[], &[("x-a", "a\nb")], &[])]).is_err());
}

fn variables<'a>(method: &'a Method, headers: &'a HeaderMap) -> Variables<'a> {
    Variables {
        method,
        scheme: "https",
        authority: "shop.example",
        path: "/a?b=1",
        version: Version::HTTP_11,
        headers,
        route: "checkout",
        caller: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        hostname: "node-1",
    }
}

fn request_variable(name: &str, or: Option<&str>, limit: Option<usize>) -> HeaderPart {
    let mut variable = HeaderVariable::new(name);
    (variable.or, variable.limit) = (or.map(Into::into), limit);
    HeaderPart::Request(variable)
}

#[test]
fn values_take_parts_of_the_request() {
    let headers = map(&[("x-user", "alice"), ("x-user", "bob")]);
    for (part, expected) in [
        (request_variable("x-user", None, None), "<alice>"),
        (request_variable("x-none", Some("x-user"), Some(3)), "<ali>"),
        (request_variable(":path", None, None), "</a?b=1>"),
        (request_variable(":method", None, None), "<GET>"),
        (request_variable(":authority", None, None), "<shop.example>"),
        (request_variable("x-none", None, None), "<>"),
        (HeaderPart::Protocol, "<HTTP/1.1>"),
        (HeaderPart::RouteName, "<checkout>"),
        (HeaderPart::CallerAddress, "<127.0.0.1>"),
        (HeaderPart::Hostname, "<node-1>"),
        (HeaderPart::ResponseCode, "<>"),
    ] {
        let parts = vec![HeaderPart::Text("<".into()), part.clone(), HeaderPart::Text(">".into())];
        let mut one = HeaderChanges::default();
        one.set.push((name("x-told"), HeaderText { parts }));
        let edit = HeaderEdit::compile([&one]).unwrap();
        let bound = edit.bind(&variables(&Method::GET, &headers)).unwrap();
        let mut told = HeaderMap::new();
        bound.apply_to_request(&mut told);
        assert_eq!(told.get("x-told").unwrap(), expected, "{part:?}");
    }
}

#[test]
fn values_of_responses_take_parts_of_both_messages() {
    let parts = vec![
        request_variable(":method", None, None),
        HeaderPart::Text(" ".into()),
        HeaderPart::ResponseCode,
        HeaderPart::Text(" ".into()),
        HeaderPart::Response(HeaderVariable::new("server")),
    ];
    let mut one = HeaderChanges::default();
    one.set.push((name("x-told"), HeaderText { parts }));
    let edit = HeaderEdit::compile([&one]).unwrap();
    let bound = edit.bind(&variables(&Method::GET, &HeaderMap::new())).unwrap();
    let mut response = map(&[("server", "axum")]);
    bound.apply_to_response(StatusCode::OK, &mut response);
    assert_eq!(response.get("x-told").unwrap(), "GET 200 axum");
}

#[test]
fn a_value_that_turns_out_empty_changes_nothing() {
    let mut one = HeaderChanges::default();
    let parts = vec![request_variable("x-none", None, None)];
    one.set.push((name("x-kept"), HeaderText { parts }));
    let edit = HeaderEdit::compile([&one]).unwrap();
    let mut headers = map(&[("x-kept", "1")]);
    let bound = edit.bind(&variables(&Method::GET, &HeaderMap::new())).unwrap();
    bound.apply_to_request(&mut headers);
    assert_eq!(headers, map(&[("x-kept", "1")]));
    assert!(
        HeaderEdit::compile([&changes(&[], &[("x-a", "1")], &[])])
            .unwrap()
            .bind(&variables(&Method::GET, &HeaderMap::new()))
            .is_none()
    );
}

fn cors(origins: Vec<OriginMatch>, credentials: Credentials) -> CorsPolicy {
    CorsPolicy::compile(&Cors {
        allow_origins: origins,
        allow_methods: vec!["GET".into(), "PUT".into()],
        allow_headers: vec!["*".into()],
        expose_headers: vec!["x-total".into()],
        max_age: Some(Duration::from_secs(3600)),
        credentials,
        unmatched: UnmatchedPreflight::Forward,
    })
    .unwrap()
}

fn exact(origin: &str) -> OriginMatch {
    OriginMatch::Text(StringMatch::Exact(origin.into()))
}

#[test]
fn a_preflight_of_an_allowed_origin_is_answered() {
    let policy = cors(vec![exact("https://a.example")], Credentials::Allow);
    let headers = map(&[
        ("origin", "https://a.example"),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "x-token"),
    ]);
    let expected = map(&[
        ("access-control-allow-origin", "https://a.example"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "GET,PUT"),
        ("access-control-allow-headers", "x-token"),
        ("access-control-max-age", "3600"),
    ]);
    assert_eq!(
        policy.decide(&Method::OPTIONS, &headers),
        CorsDecision::Answer(expected)
    );
}

#[test]
fn a_request_of_an_allowed_origin_goes_on_and_its_response_says_so() {
    let policy = cors(vec![OriginMatch::Any], Credentials::Omit);
    let headers = map(&[("origin", "https://b.example")]);
    let expected = map(&[
        ("access-control-allow-origin", "*"),
        ("access-control-expose-headers", "x-total"),
    ]);
    assert_eq!(policy.decide(&Method::GET, &headers), CorsDecision::Decorate(expected));
}

#[test]
fn other_origins_get_nothing() {
    let policy = cors(vec![exact("https://a.example")], Credentials::Omit);
    let preflight = map(&[
        ("origin", "https://b.example"),
        ("access-control-request-method", "GET"),
    ]);
    assert_eq!(policy.decide(&Method::OPTIONS, &preflight), CorsDecision::Pass);
    assert_eq!(policy.decide(&Method::GET, &HeaderMap::new()), CorsDecision::Pass);
    let mut closed = Cors {
        unmatched: UnmatchedPreflight::Answer,
        ..Cors::default()
    };
    closed.allow_origins.push(exact("https://a.example"));
    let closed = CorsPolicy::compile(&closed).unwrap();
    assert_eq!(
        closed.decide(&Method::OPTIONS, &preflight),
        CorsDecision::Answer(HeaderMap::new())
    );
}

#[test]
fn faults_hit_their_share_independently() {
    let fault = Fault {
        delay: Some((Duration::from_secs(5), Fraction::from_percent(10.0))),
        abort: Some((Abort::Http(StatusCode::IM_A_TEAPOT), Fraction::from_percent(50.0))),
    };
    let mut rng = SplitMix64::new(11);
    let drawn: Vec<_> = (0..100_000).map(|_| draw_fault(&fault, &mut rng)).collect();
    let delayed = drawn.iter().filter(|one| one.delay.is_some()).count();
    let aborted = drawn.iter().filter(|one| one.abort.is_some()).count();
    let both = drawn
        .iter()
        .filter(|one| one.delay.is_some() && one.abort.is_some())
        .count();
    assert!((9_500..10_500).contains(&delayed), "{delayed}");
    assert!((49_000..51_000).contains(&aborted), "{aborted}");
    assert!((4_500..5_500).contains(&both), "{both}");
}

#[test]
fn all_and_none_need_no_draw() {
    struct Never;
    impl crate::random::Rng for Never {
        fn next_u64(&mut self) -> u64 {
            panic!("drawn")
        }
    }
    assert!(hits(Fraction::ALL, &mut Never));
    assert!(!hits(Fraction::default(), &mut Never));
    assert_eq!(Fraction::from_percent(0.07).millionths(), 700);
    assert_eq!(Fraction::from_percent(33.3333).millionths(), 333_333);
}

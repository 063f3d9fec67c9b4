//! Hosts (B) and methods (C).

use http::header::HOST;
use http::{HeaderValue, StatusCode};

use super::*;

fn host_of(host: &str) -> Result<(String, Option<u16>), BadRequest> {
    let request = request("GET", "/", &[("host", host)]);
    canonicalize(&request, WITHOUT_RULES).map(|request| (request.view().host.to_owned(), request.view().port))
}

#[test]
fn hosts_have_one_spelling() {
    for (row, host, name, port) in [
        ("B1", "Httpbin.Foo", "httpbin.foo", None),
        ("B2", "httpbin.foo.", "httpbin.foo", None),
        ("B3", "httpbin.foo:8080", "httpbin.foo", Some(8080)),
        ("B3", "httpbin.foo:", "httpbin.foo", None),
        ("B3", "httpbin.foo.:8080", "httpbin.foo", Some(8080)),
        ("B12", "xn--example-.org", "xn--example-.org", None),
        ("B12", "example.org.xn--", "example.org.xn--", None),
        ("address", "10.0.0.1:80", "10.0.0.1", Some(80)),
        ("address", "[::1]:80", "::1", Some(80)),
        ("address", "[2001:DB8:0::1]", "2001:db8::1", None),
        ("underscore", "my_service", "my_service", None),
        ("white space", " a ", "a", None),
    ] {
        assert_eq!(host_of(host), Ok((name.into(), port)), "{row}: {host}");
    }
}

#[test]
fn hosts_without_an_unambiguous_form_are_refused() {
    for (row, host, reason) in [
        ("B2", "httpbin.foo..", BadHost::Malformed),
        ("B5", "", BadHost::Malformed),
        ("B8", "good@evil", BadHost::UserInfo),
        ("B8", "a:b@c", BadHost::UserInfo),
        ("B8", "good@evil/..", BadHost::UserInfo),
        ("B9", "a/b", BadHost::Malformed),
        ("B9", "a b", BadHost::Malformed),
        ("B9", "[::1", BadHost::Malformed),
        ("B9", "[::1]x", BadHost::Malformed),
        ("B9", "[fe80::1%eth0]", BadHost::Malformed),
        ("B9", "a:99999", BadHost::Port),
        ("B9", "a:080000", BadHost::Port),
        ("B9", "a:+80", BadHost::Port),
        ("B9", ":80", BadHost::Malformed),
        ("B9", "a,b", BadHost::Malformed),
        ("B9", "%61", BadHost::Malformed),
        ("B9", "::1", BadHost::Malformed),
        ("B9", "a..b", BadHost::Malformed),
        ("B9", ".", BadHost::Malformed),
        ("B9", "*", BadHost::Malformed),
    ] {
        assert_eq!(host_of(host), Err(reason.into()), "{row}: {host}");
    }
    let long = format!("{}.b", "a".repeat(260));
    assert_eq!(host_of(&long), Err(BadHost::Malformed.into()));
}

/// B9, B12: `a\r` cannot be a header value; what can, but is not ASCII, is refused.
#[test]
fn a_host_line_that_is_not_ascii_is_refused() {
    assert!(HeaderValue::from_bytes(b"a\r").is_err());
    let mut request = Request::get("/").body(()).unwrap();
    request
        .headers_mut()
        .insert(HOST, HeaderValue::from_bytes("ex\u{e4}mple".as_bytes()).unwrap());
    let refused = canonicalize(&request, WITHOUT_RULES).map(|_| ());
    assert_eq!(refused, Err(BadHost::Malformed.into()));
}

/// B5, B7 and repeated lines: `None` for allowed.
#[test]
fn target_and_host_line_have_to_agree() {
    for (row, target, hosts, outcome) in [
        ("B5", "/", &[][..], Some(BadHost::Missing)),
        ("B7", "http://good/", &["evil"], Some(BadHost::Differing)),
        ("B7", "http://good/", &["Good:80"], None),
        ("B7", "http://good:8080/", &["good."], None),
        ("B7", "http://good/", &[], None),
        ("B7", "http://good/", &[""], Some(BadHost::Malformed)),
        ("B8", "http://good@evil/", &[], Some(BadHost::UserInfo)),
        ("two lines", "/", &["a", "a"], Some(BadHost::Repeated)),
        ("two lines", "/", &["a", "b"], Some(BadHost::Repeated)),
        ("two lines", "http://a/", &["a", "b"], Some(BadHost::Repeated)),
    ] {
        let headers: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
        let request = request("GET", target, &headers);
        let refused = canonicalize(&request, WITHOUT_RULES).map(|_| ()).err();
        assert_eq!(refused, outcome.map(BadRequest::from), "{row}: {target} {hosts:?}");
    }
}

/// B7: the target's authority counts, port included.
#[test]
fn the_targets_authority_counts_before_the_host_line() {
    let request = request("GET", "http://Good:8080/", &[("host", "good:9090")]);
    let canonical = canonicalize(&request, Options::outbound()).unwrap();
    let view = canonical.view();
    assert_eq!(
        (view.authority, view.port, view.effective_port()),
        ("Good:8080", Some(8080), 8080)
    );
}

/// Whoever serves the request may look at either.
#[test]
fn a_request_that_comes_in_names_one_port() {
    let inbound = Options::inbound(Transport::Plain, PathRules::Absent);
    for (target, line, is_taken) in [
        ("http://orders:8080/", "orders:9090", false),
        ("http://orders:8080/", "orders:8080", true),
        ("http://orders:8080/", "ORDERS.:8080", true),
        ("http://orders:8080/", "orders", true),
        ("http://orders/", "orders:9090", true),
    ] {
        let request = request("GET", target, &[("host", line)]);
        assert_eq!(canonicalize(&request, inbound).is_ok(), is_taken, "{target} {line}");
    }
}

/// B13: a forwarded host is no host.
#[test]
fn forwarded_hosts_are_ignored() {
    let headers = [
        ("host", "a"),
        ("x-forwarded-host", "evil"),
        ("x-forwarded-prefix", "/evil"),
        ("x-forwarded-uri", "/evil"),
        ("forwarded", "host=evil"),
    ];
    let request = request("GET", "/x", &headers);
    let canonical = canonicalize(&request, WITHOUT_RULES).unwrap();
    assert_eq!((canonical.view().host, canonical.view().path), ("a", "/x"));
}

/// E10: what the caller claims about the scheme does not count.
#[test]
fn the_connection_decides_on_the_scheme() {
    let claimed = request("GET", "https://a/", &[("x-forwarded-proto", "https")]);
    for (options, scheme, port) in [
        (Options::inbound(Transport::Plain, PathRules::Absent), "http", 80),
        (Options::inbound(Transport::Tls, PathRules::Absent), "https", 443),
        (Options::outbound(), "https", 443),
    ] {
        let canonical = canonicalize(&claimed, options).unwrap();
        assert_eq!(
            (canonical.view().scheme, canonical.view().effective_port()),
            (scheme, port)
        );
    }
}

#[test]
fn methods_are_registered_and_in_upper_case() {
    for (row, method, outcome) in [
        ("C1", "GET", None),
        ("C1", "PATCH", None),
        ("C1", "PROPFIND", None),
        ("C1", "QUERY", None),
        ("C1", "get", Some((BadRequest::MethodCase, 400))),
        ("C1", "GeT", Some((BadRequest::MethodCase, 400))),
        ("C1", "connect", Some((BadRequest::MethodCase, 400))),
        ("C1", "FOO", Some((BadRequest::UnknownMethod, 501))),
        ("C9", "TRACE", Some((BadRequest::Trace, 405))),
        ("C9", "TRACK", Some((BadRequest::Trace, 405))),
        ("C9", "track", Some((BadRequest::Trace, 405))),
    ] {
        let refused = canonicalize(&request(method, "/", &[("host", "a")]), WITHOUT_RULES)
            .map(|_| ())
            .err();
        let refused = refused.map(|reason| (reason, reason.status().as_u16()));
        assert_eq!(refused, outcome, "{row}: {method}");
    }
    let purge = request("PURGE", "/", &[("host", "a")]);
    assert!(canonicalize(&purge, WITHOUT_RULES.methods(Methods::Any)).is_ok());
    let traced = canonicalize(&request("TRACE", "/", &[("host", "a")]), Options::outbound()).map(|_| ());
    assert_eq!(traced, Err(BadRequest::Trace));
}

/// C2.
#[test]
fn method_overrides_are_ignored() {
    let request = request("POST", "/", &[("host", "a"), ("x-http-method-override", "DELETE")]);
    let canonical = canonicalize(&request, WITHOUT_RULES).unwrap();
    assert_eq!(canonical.view().method, Method::POST);
}

/// C3, C4.
#[test]
fn connect_has_no_path_and_extended_connect_is_refused() {
    let plain = request("CONNECT", "evil:443", &[("host", "evil:443")]);
    let canonical = canonicalize(&plain, WITH_RULES).unwrap();
    assert_eq!((canonical.view().path, canonical.view().port), ("", Some(443)));
    assert!(canonical.rewritten().is_none());

    let extended = request("CONNECT", "https://a/chat", &[]);
    let refused = canonicalize(&extended, WITH_RULES).map(|_| ());
    assert_eq!(refused, Err(BadRequest::ExtendedConnect));
    assert_eq!(BadRequest::ExtendedConnect.status(), StatusCode::NOT_IMPLEMENTED);

    for target in ["/origin-form", "/", "*"] {
        let refused = canonicalize(&request("CONNECT", target, &[("host", "a")]), WITH_RULES).map(|_| ());
        assert_eq!(refused, Err(BadRequest::ConnectTarget), "{target}");
    }
    assert_eq!(BadRequest::ConnectTarget.status(), StatusCode::BAD_REQUEST);
}

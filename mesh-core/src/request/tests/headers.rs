//! Headers (D, E), and the content types and upgrades of C.

use http::{HeaderName, HeaderValue, StatusCode};
use proptest::prelude::*;

use super::*;

/// C6.
#[test]
fn an_upgrade_to_plain_text_http2_is_stripped() {
    let mut h2c = request(
        "GET",
        "/",
        &[("upgrade", "H2C"), ("http2-settings", "AAMAAABkAAQAAP__")],
    );
    strip_h2c(h2c.headers_mut());
    assert!(h2c.headers().is_empty());

    let mut websocket = request("GET", "/", &[("upgrade", "websocket"), ("connection", "upgrade")]);
    strip_h2c(websocket.headers_mut());
    assert_eq!(websocket.headers().len(), 2);
}

/// C10.
#[test]
fn grpc_is_told_by_its_content_type() {
    for (content_type, grpc) in [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("application/grpc;charset=utf-8", true),
        ("application/grpc+proto;x", true),
        ("Application/gRPC", true),
        ("application/grpcx", false),
        ("application/grpc-web", false),
        ("text/plain", false),
    ] {
        let post = request("POST", "/s/m", &[("host", "a"), ("content-type", content_type)]);
        assert_eq!(is_grpc(post.headers()), grpc, "{content_type}");
        assert!(canonicalize(&post, WITHOUT_RULES).is_ok());
        let get = request("GET", "/s/m", &[("host", "a"), ("content-type", content_type)]);
        let refused = canonicalize(&get, WITHOUT_RULES).map(|_| ()).err();
        assert_eq!(refused, grpc.then_some(BadRequest::GrpcMethod), "{content_type}");
    }
    assert_eq!(BadRequest::GrpcMethod.status(), StatusCode::METHOD_NOT_ALLOWED);
}

fn role() -> HeaderName {
    HeaderName::from_static("x-role")
}

fn map(lines: &[(&str, &[u8])]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value).unwrap());
    }
    headers
}

fn roles(lines: &[&[u8]]) -> HeaderMap {
    let lines: Vec<_> = lines.iter().map(|line| ("x-role", *line)).collect();
    map(&lines)
}

/// D1, D2, D5, D14: what denies looks at every line and every element.
#[test]
fn every_element_of_every_line_can_deny() {
    for (row, lines, found) in [
        ("D1", &[&b"user"[..], b"admin"][..], true),
        ("D1", &[b"admin", b"user"], true),
        ("D2", &[b"user,admin"], true),
        ("D2", &[b"user , admin"], true),
        ("D2", &[b"\"admin\""], true),
        ("D2", &[b"\"ad\\min\""], true),
        ("D2", &[b"\"user,x\", admin"], true),
        ("D2", &[b"\"user,admin\""], false),
        ("D2: no end of the quote", &[b"\"user, admin"], true),
        ("D2: no end of the quote", &[b"a, \", admin, b"], true),
        ("D2: who knows no quotes", &[b"\"a,admin,b\""], true),
        ("D14", &[b" admin "], true),
        ("D1", &[b"administrator"], false),
        ("D10", &[], false),
    ] {
        let seen = any_element(&roles(lines), &role(), |element| element == b"admin");
        assert_eq!(seen, found, "{row}: {lines:?}");
    }
    let obs_text = any_element(&roles(&[b"admin\xff"]), &role(), |element| {
        element.starts_with(b"admin")
    });
    assert!(obs_text, "D5: a value that is not text is not absent");
}

/// D2: what allows relies on a single value only.
#[test]
fn several_values_are_no_single_one() {
    assert_eq!(single(&roles(&[b"user"]), &role()), Some(&b"user"[..]));
    for lines in [
        &[&b"user,admin"[..]][..],
        &[b"user", b"admin"],
        &[b"user", b"user"],
        &[],
    ] {
        assert_eq!(single(&roles(lines), &role()), None, "{lines:?}");
    }
}

/// D4, D10.
#[test]
fn repeated_lines_are_joined_by_commas_and_cookies_by_semicolons() {
    assert_eq!(joined(&roles(&[b"a", b" b"]), &role()).unwrap().as_ref(), b"a,b");
    assert_eq!(joined(&roles(&[b""]), &role()).unwrap().as_ref(), b"");
    assert_eq!(joined(&roles(&[]), &role()), None);
    let cookies = map(&[("cookie", b"a=1"), ("cookie", b"b=2")]);
    assert_eq!(joined(&cookies, &http::header::COOKIE).unwrap().as_ref(), b"a=1; b=2");
    assert!(matches!(joined(&roles(&[b"a"]), &role()), Some(Cow::Borrowed(_))));
}

/// D7.
#[test]
fn nul_is_no_header_value() {
    assert!(HeaderValue::from_bytes(b"a\0b").is_err());
}

/// D8, E1, E5, E6, E8: in any spelling.
#[test]
fn headers_of_the_mesh_are_stripped_in_any_spelling() {
    for name in [
        "x-forwarded-client-cert",
        "x_forwarded_client_cert",
        "X-Forwarded.Client_Cert",
        "X.Mesh.Peer",
        "x-mesh-route",
        "x-envoy-max-retries",
        "x-envoy-upstream-rq-timeout-ms",
        "x-envoy-original-path",
        "x_envoy-fault-delay-request",
        "l5d-client-id",
    ] {
        assert!(is_mesh_managed(name), "{name}");
        let mut headers = map(&[(name, b"1"), (name, b"2"), ("x-request-id", b"r")]);
        strip_mesh_managed(&mut headers);
        assert_eq!(headers.len(), 1, "{name}");
    }
    for name in [
        "x-forwarded-for",
        "x-forwarded-client-cert-chain",
        "x-meshed",
        "traceparent",
        "x",
    ] {
        assert!(!is_mesh_managed(name), "{name}");
    }
}

/// D19.
#[test]
fn bodies_in_other_codings_than_chunked_are_refused() {
    for (coding, taken) in [
        ("chunked", true),
        ("Chunked", true),
        ("gzip, chunked", false),
        ("gzip", false),
    ] {
        let request = request("POST", "/", &[("host", "a"), ("transfer-encoding", coding)]);
        let refused = canonicalize(&request, WITHOUT_RULES).map(|_| ()).err();
        assert_eq!(refused, (!taken).then_some(BadRequest::TransferCoding), "{coding}");
    }
    assert_eq!(BadRequest::TransferCoding.status(), StatusCode::NOT_IMPLEMENTED);
}

proptest! {
    /// D3: the order of lines with different names does not matter.
    #[test]
    fn the_order_of_headers_does_not_matter(values in prop::collection::vec("[a-z,]{0,6}", 1..4)) {
        let lines: Vec<_> = values.iter().map(|value| ("x-role", value.as_bytes())).collect();
        let mut before = vec![("x-other", &b"1"[..])];
        before.extend(&lines);
        let mut after = lines;
        after.push(("x-other", b"1"));
        let (before, after) = (map(&before), map(&after));
        prop_assert_eq!(joined(&before, &role()), joined(&after, &role()));
        prop_assert_eq!(single(&before, &role()), single(&after, &role()));
    }
}

/// E3: a deadline that servers may read otherwise is refused, gRPC's only; zero is one that is over already.
#[test]
fn a_malformed_grpc_timeout_is_refused() {
    let call = |content_type: &str, timeouts: &[&str]| {
        let mut headers = vec![("host", "a"), ("content-type", content_type)];
        headers.extend(timeouts.iter().map(|timeout| ("grpc-timeout", *timeout)));
        canonicalize(&request("POST", "/s/m", &headers), WITHOUT_RULES).map(drop)
    };
    for timeouts in [
        &["-1S"][..],
        &["123456789S"],
        &["1X"],
        &["1"],
        &[""],
        &["1S", "1S"],
        &["1 S"],
    ] {
        let refused = call("application/grpc", timeouts);
        assert_eq!(refused, Err(BadRequest::GrpcTimeout), "{timeouts:?}");
        assert_eq!(refused.map_err(BadRequest::grpc_status), Err(3));
        assert_eq!(call("application/json", timeouts), Ok(()), "{timeouts:?}");
    }
    for timeouts in [&["99999999H"][..], &["0u"], &["250m"], &[]] {
        assert_eq!(call("application/grpc", timeouts), Ok(()), "{timeouts:?}");
    }
}

#[test]
fn the_limit_of_a_caller_is_that_of_grpc_alone() {
    let limit = |content_type: &str, timeouts: &[(&str, &str)]| {
        let mut headers = vec![("host", "a"), ("content-type", content_type)];
        headers.extend(timeouts);
        let request = request("POST", "/s/m", &headers);
        canonicalize(&request, WITHOUT_RULES).unwrap().grpc_timeout()
    };
    let given = [("grpc-timeout", "250m")];
    assert_eq!(limit("application/grpc", &given), Some(Duration::from_millis(250)));
    assert_eq!(limit("application/grpc", &[]), None);
    assert_eq!(limit("application/json", &given), None);
}

#[test]
fn what_connection_lists_is_gone_and_so_is_the_list() {
    let mut request = Request::get("/")
        .header("connection", "close, X-Sub")
        .header("connection", "upgrade, host, x-gone")
        .header("upgrade", "websocket")
        .header("host", "a")
        .header("x-sub", "root")
        .body(())
        .unwrap();
    strip_listed(request.headers_mut());
    let headers = request.headers();
    assert_eq!(headers["connection"], "close, upgrade");
    assert!(headers.contains_key("upgrade") && headers.contains_key("host") && !headers.contains_key("x-sub"));

    let told = [
        "content-type",
        "forwarded",
        "x-forwarded-client-cert",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-request-id",
    ];
    let mut proxied = Request::get("/").header("connection", told.join(", "));
    for name in told {
        proxied = proxied.header(name, "a");
    }
    let mut proxied = proxied.body(()).unwrap();
    strip_listed(proxied.headers_mut());
    let mut left: Vec<_> = proxied.headers().keys().map(HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, told, "what proxies have said stays, and the list is gone");

    let mut plain = Request::get("/").header("connection", "keep-alive").body(()).unwrap();
    strip_listed(plain.headers_mut());
    assert_eq!(plain.headers()["connection"], "keep-alive");
}

/// D9: whoever reads the list afterwards, with quotes or without, it names no header for him.
#[test]
fn connection_names_no_header_for_any_reader() {
    for (list, left, stays) in [
        (&[&b"\", x-user"[..]][..], None, false),
        (&[b"close, \", x-user, keep-alive"], Some("close, keep-alive"), false),
        (&[b"\"x-user\""], None, false),
        (&[b"\"a, x-user, b\", upgrade"], Some("upgrade"), false),
        (&[b"\"a, x-user\", upgrade"], Some("upgrade"), true),
        (&[b"\"a\\\", x-user"], None, false),
        (&[b"\"", b"x-user"], None, false),
        (&[b"\xff, x-user"], None, false),
        (&[b"x user, x-user;q=1, ,"], None, true),
        (&[b"host, Authorization, content-length"], None, true),
        (&[b"Close", b"TE"], Some("Close"), true),
    ] {
        let mut headers = map(&[("x-user", b"me"), ("host", b"a"), ("authorization", b"b")]);
        for line in list {
            headers.append("connection", HeaderValue::from_bytes(line).unwrap());
        }
        strip_listed(&mut headers);
        let connection = headers.get("connection").map(|list| list.to_str().unwrap());
        assert_eq!((connection, headers.contains_key("x-user")), (left, stays), "{list:?}");
        assert!(
            headers.contains_key("host") && headers.contains_key("authorization"),
            "{list:?}"
        );
    }
}

//! Paths (A).

use http::StatusCode;
use proptest::prelude::*;

use super::*;

/// A request as an HTTP/1.1 server gets it: the target in origin form, the host in a header.
fn get(target: &str) -> Request<()> {
    request("GET", target, &[("host", "a")])
}

const MERGING: Options = WITHOUT_RULES.path_normalization(PathNormalization::MergeSlashes);

/// The path that is forwarded by default.
fn canonical(path: &str, rules: PathRules) -> Result<Cow<'_, str>, BadPath> {
    forms(path, PathNormalization::Base, rules).map(|forms| forms.forwarded)
}

fn forms(path: &str, mode: PathNormalization, rules: PathRules) -> Result<Forms<'_>, BadPath> {
    normalization::forms(path, mode, rules, Demand::Rewritable)
}

fn path_of(target: &str, options: Options) -> Result<String, BadRequest> {
    canonicalize(&get(target), options).map(|request| request.view().path.to_owned())
}

#[test]
fn paths_have_one_spelling() {
    for (row, target, canonical) in [
        ("A9", "/app1/admin#foo", "/app1/admin"),
        ("A9", "/admin?x#y", "/admin"),
        ("A12", "/%61dmin", "/admin"),
        ("A12", "/%41dmin", "/Admin"),
        ("A19", "/health%3F/x", "/health%3F/x"),
        ("A19", "/health%3f/x", "/health%3F/x"),
        ("A19", "/health%23/x", "/health%23/x"),
        ("A19", "/health?x=1", "/health"),
        ("A20", "/secret?x=/healthz", "/secret"),
        ("A20", "/healthz/../secret", "/secret"),
        ("A22", "/api/../admin", "/admin"),
        ("dots", "/a/./b/", "/a/b/"),
        ("dots", "/a/b/..", "/a/"),
        ("dots", "/a/b/.", "/a/b/"),
        ("dots", "/..", "/"),
        ("dots", "/../../a", "/a"),
        ("dots", "/a/%2e%2E/b", "/b"),
        ("dots", "/a/.%2e", "/"),
        ("dots", "/a/...", "/a/..."),
        ("dots", "/.well-known/x", "/.well-known/x"),
        ("dots", "/a/..b", "/a/..b"),
        ("escapes", "/caf%c3%a9", "/caf%C3%A9"),
        ("escapes", "/a%20b", "/a%20b"),
        ("escapes", "/100%25", "/100%25"),
        ("escapes", "/a%2520b", "/a%2520b"),
        ("escapes", "/a%2Cb%3a", "/a%2Cb%3A"),
        ("escapes", "/%f0%9f%98%80", "/%F0%9F%98%80"),
        ("not a path character", "/a|b{c}\"", "/a%7Cb%7Bc%7D%22"),
        ("not a path character", "/a[1]", "/a%5B1%5D"),
        ("punctuation", "/!$&'()*+,=:@-._~", "/!$&'()*+,=:@-._~"),
        ("absolute form", "http://a", "/"),
        ("absolute form", "http://a/b", "/b"),
        ("absolute form", "http://a?x=1", "/"),
    ] {
        for options in [WITH_RULES, WITHOUT_RULES, MERGING] {
            assert_eq!(path_of(target, options), Ok(canonical.into()), "{row}: {target}");
        }
    }
}

/// What each mode makes of a path; `Err` is a refusal.
type InModes = [Result<&'static str, BadPath>; 4];

const MODES: [PathNormalization; 4] = [
    PathNormalization::None,
    PathNormalization::Base,
    PathNormalization::MergeSlashes,
    PathNormalization::DecodeAndMergeSlashes,
];

const SLASH: Result<&str, BadPath> = Err(BadPath::EscapedSlash);

const IN_MODES: &[(&str, &str, InModes)] = &[
    (
        "A3",
        "//admin",
        [Ok("//admin"), Ok("//admin"), Ok("/admin"), Ok("/admin")],
    ),
    (
        "A3",
        "///admin",
        [Ok("///admin"), Ok("///admin"), Ok("/admin"), Ok("/admin")],
    ),
    (
        "A3",
        "/x/..//admin",
        [Ok("/x/..//admin"), Ok("//admin"), Ok("/admin"), Ok("/admin")],
    ),
    (
        "A3",
        "/x//../admin",
        [Ok("/x//../admin"), Ok("/x/admin"), Ok("/x/admin"), Ok("/x/admin")],
    ),
    (
        "A4",
        "/public/..%2fadmin",
        [Ok("/public/..%2fadmin"), SLASH, SLASH, Ok("/admin")],
    ),
    ("A4", "/admin%2Fx", [Ok("/admin%2Fx"), SLASH, SLASH, Ok("/admin/x")]),
    (
        "A5",
        "/public/%5c..%5Cadmin",
        [
            Ok("/public/%5c..%5Cadmin"),
            Err(BadPath::Backslash),
            Err(BadPath::Backslash),
            Ok("/public/admin"),
        ],
    ),
    (
        "A5",
        r"/public\..\admin",
        [Ok(r"/public\..\admin"), Ok("/admin"), Ok("/admin"), Ok("/admin")],
    ),
    (
        "A5",
        r"\admin",
        [Err(BadPath::NotAbsolute), Ok("/admin"), Ok("/admin"), Ok("/admin")],
    ),
    (
        "A12",
        "/%61dmin",
        [Ok("/%61dmin"), Ok("/admin"), Ok("/admin"), Ok("/admin")],
    ),
    (
        "A13",
        "/a%00",
        [
            Ok("/a%00"),
            Err(BadPath::EscapedControl),
            Err(BadPath::EscapedControl),
            Err(BadPath::EscapedControl),
        ],
    ),
    (
        "A14",
        "/%zz",
        [
            Ok("/%zz"),
            Err(BadPath::MalformedEscape),
            Err(BadPath::MalformedEscape),
            Err(BadPath::MalformedEscape),
        ],
    ),
    (
        "A18",
        "///evil.com/x",
        [
            Ok("///evil.com/x"),
            Ok("///evil.com/x"),
            Ok("/evil.com/x"),
            Ok("/evil.com/x"),
        ],
    ),
    (
        "A22",
        "/api//admin",
        [Ok("/api//admin"), Ok("/api//admin"), Ok("/api/admin"), Ok("/api/admin")],
    ),
    (
        "A27",
        "/a//b/%7Ec",
        [Ok("/a//b/%7Ec"), Ok("/a//b/~c"), Ok("/a/b/~c"), Ok("/a/b/~c")],
    ),
    (
        "R1",
        "/a%252fb",
        [
            Ok("/a%252fb"),
            Err(BadPath::DoubledEscape),
            Err(BadPath::DoubledEscape),
            Err(BadPath::DoubledEscape),
        ],
    ),
    ("control", "/a b", [Err(BadPath::Character); 4]),
];

#[test]
fn a_mode_says_what_is_forwarded() {
    for (row, sent, expected) in IN_MODES {
        for (mode, expected) in MODES.into_iter().zip(expected) {
            let found = forms(sent, mode, PathRules::Absent);
            let found = found.as_ref().map(|forms| forms.forwarded.as_ref());
            assert_eq!(found, expected.as_ref().copied(), "{row}: {sent} {mode:?}");
        }
    }
}

/// A3, A4: what a path may be taken for is told while rules look at paths, and only then.
#[test]
fn a_path_with_several_readings_names_them() {
    use PathNormalization::{Base, DecodeAndMergeSlashes, MergeSlashes, None};
    for (sent, mode, readings) in [
        ("/admin", Base, &[][..]),
        ("//admin", Base, &["/admin"]),
        ("//a//../admin", Base, &["/a/admin", "/admin"]),
        ("/x//../admin", Base, &["/admin"]),
        ("/x//../admin", MergeSlashes, &["/admin"]),
        ("//admin", MergeSlashes, &[]),
        ("/x/%2F../admin", DecodeAndMergeSlashes, &["/admin"]),
        ("/a", None, &[]),
        ("/a%2fb", None, &["/a%2Fb", "/a/b"]),
        ("//a%2Fb", None, &["//a/b", "/a%2Fb", "/a/b"]),
        (r"/a\b", None, &["/a/b"]),
    ] {
        assert_eq!(
            forms(sent, mode, PathRules::Present).unwrap().readings,
            readings,
            "{sent} {mode:?}"
        );
        assert_eq!(
            forms(sent, mode, PathRules::Absent).unwrap().readings,
            [""; 0],
            "{sent} {mode:?}"
        );
    }
    for (sent, reason) in [
        ("/a%00", BadPath::EscapedControl),
        ("/a/../b", BadPath::NotCanonical),
        ("/a/%2e%2E/b", BadPath::NotCanonical),
        ("/public/..%2fadmin", BadPath::NotCanonical),
        ("/a;b", BadPath::Parameters),
    ] {
        assert_eq!(
            forms(sent, None, PathRules::Present),
            Err(reason),
            "{sent}: rules cannot be asked"
        );
    }
}

#[test]
fn paths_without_an_unambiguous_form_are_refused() {
    for (row, target, reason) in [
        ("A4", "/public/..%2fadmin", BadPath::EscapedSlash),
        ("A4", "/admin%2fx", BadPath::EscapedSlash),
        ("A4", "/public%2f..%2Fadmin", BadPath::EscapedSlash),
        ("A5", "/public/%5c..%5Cadmin", BadPath::Backslash),
        ("A8", "/user/..;foo=bar/admin", BadPath::DotParameters),
        ("A8", "/./;a/admin", BadPath::DotParameters),
        ("A8", "/user/%2e.;foo/admin", BadPath::DotParameters),
        ("A8", "/user/..%3Bfoo/admin", BadPath::DotParameters),
        ("A8", "/user/..%3bfoo/admin", BadPath::DotParameters),
        ("A8", "/user/%2e%2e%3b/admin", BadPath::DotParameters),
        ("A13", "/admin%00.png", BadPath::EscapedControl),
        ("A13", "/x%0a/admin", BadPath::EscapedControl),
        ("A13", "/%0d", BadPath::EscapedControl),
        ("A13", "/%7f", BadPath::EscapedControl),
        ("A14", "/%", BadPath::MalformedEscape),
        ("A14", "/%4", BadPath::MalformedEscape),
        ("A14", "/%zz", BadPath::MalformedEscape),
        ("A14", "/%u0061dmin", BadPath::MalformedEscape),
        ("A22", "/api%2fadmin", BadPath::EscapedSlash),
        ("A26", "*", BadPath::NotAbsolute),
        ("R1 doubled", "/a%252fb", BadPath::DoubledEscape),
        ("R1 doubled", "/a%255Cb", BadPath::DoubledEscape),
        ("R1 doubled", "/a%252e%252e/b", BadPath::DoubledEscape),
        ("R1 doubled", "/a%25252fb", BadPath::DoubledEscape),
        ("R1 doubled", "/adm%2569n", BadPath::DoubledEscape),
        ("R1 doubled", "/adm%25%369n", BadPath::DoubledEscape),
        ("R1 doubled", "/a%25%32f", BadPath::DoubledEscape),
        ("R1 doubled", "/a%25%32%66", BadPath::DoubledEscape),
        ("R1 UTF-8", "/%c0%af", BadPath::NotUtf8),
        ("R1 UTF-8", "/%c3", BadPath::NotUtf8),
        ("R1 UTF-8", "/%c3a", BadPath::NotUtf8),
        ("R1 UTF-8", "/%ff", BadPath::NotUtf8),
        ("R1 UTF-8", "/%ed%a0%80", BadPath::NotUtf8),
        ("raw non-ASCII", "/caf\u{e9}", BadPath::Character),
    ] {
        assert_eq!(path_of(target, WITHOUT_RULES), Err(reason.into()), "{row}: {target}");
        assert!(path_of(target, WITH_RULES).is_err(), "{row}: {target}");
        assert_eq!(BadRequest::from(reason).status(), StatusCode::BAD_REQUEST);
        assert_eq!(BadRequest::from(reason).grpc_status(), 3);
    }
}

#[test]
fn raw_control_characters_are_refused() {
    for (path, reason) in [
        ("/a\0b", BadPath::Character),
        ("/a b", BadPath::Character),
        ("/a\tb", BadPath::Character),
        ("/a\u{7f}", BadPath::Character),
    ] {
        assert_eq!(canonical(path, PathRules::Absent), Err(reason), "{path:?}");
    }
}

/// A7, A8.
#[test]
fn parameters_are_refused_only_while_rules_look_at_paths() {
    for target in ["/admin;x=y", "/admin;x=y/action;b", "/a;/../admin"] {
        assert_eq!(path_of(target, WITH_RULES), Err(BadPath::Parameters.into()), "{target}");
        assert!(path_of(target, WITHOUT_RULES).is_ok(), "{target}");
    }
    assert_eq!(path_of("/a;x=y", WITHOUT_RULES), Ok("/a;x=y".into()));
}

/// A17, A26: targets that name no path.
#[test]
fn targets_without_a_path_are_refused() {
    for (method, target) in [("GET", "admin"), ("POST", "admin"), ("GET", "*"), ("POST", "*")] {
        let request = request(method, target, &[("host", "admin")]);
        let refused = canonicalize(&request, WITHOUT_RULES).map(|_| ());
        assert_eq!(refused, Err(BadPath::NotAbsolute.into()), "{method} {target}");
    }
    assert!(
        "http:///x".parse::<Uri>().is_err(),
        "the `http` crate refuses an empty authority"
    );
    assert!(
        "pkg.Svc/Method".parse::<Uri>().is_err(),
        "the `http` crate refuses a path without slash"
    );
}

#[test]
fn options_of_the_whole_server_keep_their_star() {
    let request = request("OPTIONS", "*", &[("host", "a")]);

    let canonical = canonicalize(&request, WITH_RULES).unwrap();

    assert_eq!(canonical.view().path, "*");
    assert!(canonical.rewritten().is_none());
}

/// A27: what is matched is what is forwarded.
#[test]
fn the_rewritten_uri_has_the_matched_path_and_the_query_as_sent() {
    let sent = request("GET", "http://A:80/a//b/%7Ec?q=%7E//", &[]);

    let merging = Options::outbound().path_normalization(PathNormalization::MergeSlashes);
    let canonical = canonicalize(&sent, merging).unwrap();

    assert_eq!(canonical.view().path, "/a/b/~c");
    assert_eq!(canonical.view().query, Some("q=%7E//"));
    assert_eq!(canonical.into_rewritten().unwrap(), "http://A:80/a/b/~c?q=%7E//");
}

#[test]
fn a_canonical_request_is_borrowed() {
    for target in ["/", "/api/orders?page=//2", "/caf%C3%A9/%2C", "http://a/x"] {
        let sent = get(target);
        let canonical = canonicalize(&sent, WITH_RULES).unwrap();
        assert!(canonical.rewritten().is_none(), "{target}");
        assert!(matches!(canonical.host, Cow::Borrowed(_)), "{target}");
    }
}

#[test]
fn strict_mode_and_grpc_refuse_what_would_be_rewritten() {
    let grpc = |target| request("POST", target, &[("host", "a"), ("content-type", "application/grpc")]);
    let strict = WITHOUT_RULES.path_mode(PathMode::Strict);
    let refused = Err(BadRequest::from(BadPath::NotCanonical));

    assert_eq!(path_of("//a", strict), refused);
    assert_eq!(path_of("/%61", strict), refused);
    assert_eq!(path_of("/a", strict), Ok("/a".into()));
    let outcome = |target| canonicalize(&grpc(target), WITHOUT_RULES).map(|request| request.view().path.to_owned());
    assert_eq!(outcome("//pkg.Svc/M"), refused);
    assert_eq!(outcome("/pkg.Svc/M"), Ok("/pkg.Svc/M".into()));
}

/// A25: the work grows with the length only.
#[test]
fn long_paths_are_resolved_in_one_pass() {
    let target = format!("/{}", "a/../".repeat(12_000));
    assert_eq!(path_of(&target, WITH_RULES), Ok("/".into()));
    let target = "/a".repeat(4_000);
    assert_eq!(path_of(&target, WITH_RULES), Ok(target.clone()));
}

#[test]
fn patterns_of_policies_take_the_form_of_canonical_paths() {
    for (text, shape, canonical) in [
        ("/caf\u{e9}/a b", PatternShape::Whole, "/caf%C3%A9/a%20b"),
        ("/caf%c3%a9", PatternShape::Part, "/caf%C3%A9"),
        ("/%61dmin", PatternShape::Whole, "/admin"),
        ("//a//b", PatternShape::Part, "/a/b"),
        ("/a/../b", PatternShape::Whole, "/b"),
        ("/a{b", PatternShape::Part, "/a%7Bb"),
        (".json", PatternShape::Part, ".json"),
        ("", PatternShape::Part, ""),
    ] {
        assert_eq!(canonical_pattern(text, shape), Ok(canonical.into()), "{text}");
    }
    for text in ["/a%2fb", "/a\\b", "/%zz", "/a%00", "/a%252f"] {
        assert!(canonical_pattern(text, PatternShape::Whole).is_err(), "{text}");
    }
}

#[test]
fn a_reason_says_where_and_what() {
    let reason = path_of("/a%2fb", WITH_RULES).unwrap_err();
    assert_eq!(reason.to_string(), "path: holds an escaped slash");
    assert_eq!(BadRequest::from(BadHost::Missing).to_string(), "host: missing");
}

/// Paths with much of what matters to them.
fn any_path() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("/"),
        Just("."),
        Just(".."),
        Just("%2e"),
        Just("%25"),
        Just("%2"),
        Just("2f"),
        Just("%C3%A9"),
        Just("%c3"),
        Just(";"),
        Just("%3b"),
        Just("a"),
        Just("%61"),
        Just("%7E"),
        Just("{"),
        Just("%"),
        Just("F"),
        Just("%5B"),
        Just("%2F"),
        Just("%5c"),
        Just("\\"),
        Just("//"),
        Just("/../"),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

/// Decodes what escapes can be decoded to a character of a path, as careless servers do.
fn naive_decoded(path: &str) -> String {
    let mut out = String::new();
    let mut rest = path;
    while let Some(c) = rest.chars().next() {
        let decoded = rest
            .get(1..3)
            .filter(|_| c == '%')
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match decoded.filter(|byte| (0x21..0x7f).contains(byte) && *byte != b'%') {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &rest[3..];
            }
            None => {
                out.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    out
}

fn naive_merged(path: &str) -> String {
    let mut path = path.replace('\\', "/");
    while path.contains("//") {
        path = path.replace("//", "/");
    }
    path
}

fn naive_resolved(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let all: Vec<&str> = path.split('/').skip(1).collect();
    for (at, segment) in all.iter().enumerate() {
        match *segment {
            "." | ".." => {
                if *segment == ".." {
                    segments.pop();
                }
                if at + 1 == all.len() {
                    segments.push("");
                }
            }
            segment => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

/// Does all three until nothing changes, in one of the six orders.
fn naive_fixpoint(path: &str, order: usize) -> String {
    let steps: [fn(&str) -> String; 3] = [naive_decoded, naive_merged, naive_resolved];
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let mut path = path.to_owned();
    loop {
        let next = orders[order]
            .iter()
            .fold(path.clone(), |path, step| steps[*step](&path));
        if next == path {
            return path;
        }
        path = next;
    }
}

proptest! {
    #[test]
    fn what_is_forwarded_at_a_glance_is_forwarded_so_at_length(
        path in any_path(),
        start in prop::sample::select(vec!["", "http://a", "http://a?b"]),
        method in prop::sample::select(vec![Method::GET, Method::OPTIONS, Method::CONNECT]),
        strict in any::<bool>(),
    ) {
        let Ok(uri) = Uri::try_from(format!("{start}{path}")) else {
            return Ok(());
        };
        let demand = if strict { Demand::Canonical } else { Demand::Rewritable };
        for options in MODES.map(|mode| WITH_RULES.path_normalization(mode)) {
            if is_as_forwarded(&method, &uri) {
                prop_assert!(matches!(other_forms(&method, &uri, demand, options), Ok(None)), "{method} {uri}");
            }
        }
    }

    #[test]
    fn canonical_paths_stay_as_they_are(path in any_path()) {
        for mode in MODES {
            if let Ok(Forms { forwarded: first, .. }) = forms(&path, mode, PathRules::Absent) {
                let second = forms(&first, mode, PathRules::Absent).map(|forms| forms.forwarded);
                prop_assert!(matches!(second, Ok(Cow::Borrowed(same)) if same == first), "{path} {first} {mode:?}");
            }
        }
    }

    #[test]
    fn canonical_paths_hold_nothing_ambiguous(path in any_path()) {
        if let Ok(canonical) = canonical(&path, PathRules::Absent) {
            let lower = canonical.to_ascii_lowercase();
            prop_assert!(canonical.starts_with('/') && canonical.is_ascii());
            for text in ["/./", "/../", "/..;", "/.;", "%2f", "%5c", "%2e", "%61", "%252f", "%252e", "%2525", "{"] {
                prop_assert!(!lower.contains(text), "{} holds {}", canonical, text);
            }
            prop_assert!(!canonical.ends_with("/..") && !canonical.ends_with("/."));
        }
        for mode in [PathNormalization::MergeSlashes, PathNormalization::DecodeAndMergeSlashes] {
            if let Ok(forms) = forms(&path, mode, PathRules::Absent) {
                prop_assert!(!forms.forwarded.contains("//"), "{} {mode:?}", forms.forwarded);
            }
        }
    }

    /// However a server decodes, merges and resolves what it gets, in whatever order and how often: that was asked, and so
    /// was what the path as it was sent comes to.
    #[test]
    fn whatever_a_server_makes_of_a_path_is_one_of_its_readings(path in any_path(), order in 0..6_usize) {
        for mode in MODES {
            if let Ok(forms) = forms(&path, mode, PathRules::Present) {
                let known = std::iter::once(forms.forwarded.as_ref()).chain(forms.readings.iter().map(String::as_str));
                let known: Vec<String> = known.map(naive_decoded).collect();
                for naive in [naive_fixpoint(&forms.forwarded, order), naive_fixpoint(&path, 0)] {
                    prop_assert!(known.contains(&naive), "{path} {mode:?}: {naive} is none of {known:?}");
                }
            }
        }
    }

    #[test]
    fn no_request_makes_it_panic(path in "/.{0,40}", host in ".{0,30}", method in "[A-Za-z]{1,8}") {
        let request = Request::builder().method(method.as_str()).uri(path.as_str()).header("host", host).body(());
        if let Ok(request) = request {
            for options in [WITH_RULES, Options::outbound()] {
                if let Ok(canonical) = canonicalize(&request, options) {
                    prop_assert!(!canonical.view().host.is_empty());
                }
            }
        }
    }
}

#[test]
fn a_target_of_host_and_query_shows_its_path() {
    let sent = request("GET", "http://a?x=1", &[]);
    let rewritten = canonicalize(&sent, Options::outbound())
        .unwrap()
        .into_rewritten()
        .unwrap();
    assert_eq!(rewritten.path_and_query().unwrap().as_str(), "/?x=1");
}

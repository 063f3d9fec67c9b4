//! Rows RT-1 to RT-5 of Linkerd, the string cases of Istio's virtual services, hosts and policies.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;
use crate::policy::model::authz::Pattern;

fn exact(text: &str) -> StringMatch {
    StringMatch::Exact(text.into())
}

fn prefix(text: &str) -> StringMatch {
    StringMatch::Prefix(text.into())
}

fn segments(text: &str) -> StringMatch {
    StringMatch::SegmentPrefix(text.into())
}

fn pattern(text: &str) -> StringMatch {
    StringMatch::Regex(text.into())
}

#[test]
fn texts_are_compared_as_the_match_says() {
    for (row, text, input, matches) in [
        ("RT-2b", exact("/foo/bar"), "/foo/bar", true),
        ("RT-2b", exact("/foo/bar"), "/foo", false),
        ("RT-2b", exact("/foo/bar"), "/foo/bar/qux", false),
        ("VS", prefix("/foo"), "/foobar", true),
        ("204", prefix(""), "/anything", true),
        ("RT-2d", segments("/foo"), "/foo", true),
        ("RT-2d", segments("/foo"), "/foo/", true),
        ("RT-2d", segments("/foo"), "/foo/bar/qux", true),
        ("RT-2e", segments("/foo"), "/foobar", false),
        ("RT-2f", segments("/foo/"), "/foo", true),
        ("RT-2f", segments("/foo/"), "/foo/bar", true),
        ("RT-2f", segments("/foo/"), "/foobar", false),
        ("root", segments("/"), "/foo", true),
        ("RT-2g", pattern(r"/foo/\d+"), "/foo/4321", true),
        ("RT-2g", pattern(r"/foo/\d+"), "/foo/4/x", false),
        ("I11", pattern("admin"), "/x/admin/y", false),
        ("I11", pattern("a.b"), "a\nb", false),
        ("I11", pattern("a|ab"), "ab", true),
        ("present", StringMatch::Present, "", true),
    ] {
        let matcher = TextMatcher::compile(&text).unwrap();
        assert_eq!(matcher.is_match(input.as_bytes()), matches, "{row}: {text:?} {input}");
    }
}

/// Row 202; a regex keeps its case.
#[test]
fn exact_and_prefix_paths_can_fold_their_case() {
    for (text, path, sensitive, folded) in [
        (prefix("/ABC"), "/abc/d", false, true),
        (exact("/Abc"), "/aBC", false, true),
        (segments("/ABC"), "/abc/d", false, true),
        (segments("/ABC"), "/abcd", false, false),
        (pattern("/ABC"), "/abc", false, false),
    ] {
        for (case, matches) in [(PathCase::Sensitive, sensitive), (PathCase::Folded, folded)] {
            let matcher = TextMatcher::path(&text, case).unwrap();
            assert_eq!(matcher.is_match(path.as_bytes()), matches, "{text:?} {case:?} {path}");
        }
    }
}

#[test]
fn path_texts_take_the_form_of_canonical_paths() {
    for (text, path) in [
        (exact("/caf\u{e9}"), "/caf%C3%A9"),
        (exact("/a/../%62"), "/b"),
        (prefix("/%61//b"), "/a//b/c"),
        (segments("/a%2c"), "/a%2C/x"),
        (exact("*"), "*"),
    ] {
        let matcher = TextMatcher::path(&text, PathCase::Sensitive).unwrap();
        assert!(matcher.is_match(path.as_bytes()), "{text:?} {path}");
    }
    let refused = TextMatcher::path(&exact("/a%2fb"), PathCase::Sensitive).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "no request is served whose path matches `/a%2fb`: it holds an escaped slash"
    );
}

/// I11: linear time, bounded memory, one expression.
#[test]
fn regexes_that_are_none_or_too_large_are_refused() {
    for text in [
        "(",
        "a)|(?:b",
        "(?x)a #c",
        r"(?=a)",
        r"(a)\1",
        "((a{100}){100}){100}",
        "(a*)*{500}{500}",
    ] {
        let refused = TextMatcher::compile(&pattern(text));
        assert!(matches!(refused, Err(InvalidMatch::Regex { .. })), "{text}");
    }
    let long = "a".repeat(1025);
    assert_eq!(
        TextMatcher::compile(&pattern(&long)).unwrap_err(),
        InvalidMatch::RegexLength(1025)
    );
    assert!(TextMatcher::compile(&pattern(&"a".repeat(1024))).is_ok());
    assert!(
        TextMatcher::compile(&pattern(r"\p{L}+"))
            .unwrap()
            .is_match("\u{e9}".as_bytes())
    );
    let reason = TextMatcher::compile(&pattern("(")).unwrap_err().to_string();
    assert_eq!(
        reason,
        "`(` is not a regular expression that runs in linear time: unclosed group"
    );
}

/// D5.
#[test]
fn what_is_not_utf8_is_matched_by_its_bytes() {
    assert!(
        TextMatcher::compile(&pattern("admin.*"))
            .unwrap()
            .is_match(b"admin\xff")
    );
    assert!(TextMatcher::compile(&prefix("admin")).unwrap().is_match(b"admin\xff"));
}

fn headers(values: &[&[u8]]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append("x", HeaderValue::from_bytes(value).unwrap());
    }
    headers
}

const X: HeaderName = HeaderName::from_static("x");

#[test]
fn headers_match_where_they_are_there_and_their_joined_lines_match() {
    let any = StringMatch::Present;
    for (row, text, values, matches) in [
        ("205", exact("jason"), &[&b"jason"[..]][..], true),
        ("205", exact("jason"), &[b"Jason"], false),
        ("207", any.clone(), &[b"any"], true),
        ("207", any.clone(), &[b""], true),
        ("207", any, &[], false),
        ("missing", exact(""), &[], false),
        ("missing", pattern(".*"), &[], false),
        ("empty", exact(""), &[b""], true),
        ("joined", exact("a,b"), &[b"a", b"b"], true),
        ("joined", exact("b"), &[b"a", b"b"], false),
        ("joined", pattern(".*b"), &[b"a", b"b"], true),
        ("RT-4d", pattern("bar*"), &[b"barr"], true),
        ("RT-4e", pattern("bar*"), &[b"barro"], false),
        ("D14", exact("admin"), &[b" admin "], true),
        ("D5", pattern("admin.*"), &[b"admin\xff"], true),
    ] {
        let matcher = HeaderMatcher::with(X, &text).unwrap();
        assert_eq!(
            matcher.is_match(&headers(values)),
            matches,
            "{row}: {text:?} {values:?}"
        );
    }
}

/// Rows 209 to 212: a missing header is an empty text before it is inverted, but for presence.
#[test]
fn without_headers_inverts_with_missing_as_empty() {
    let any = StringMatch::Present;
    for (row, text, values, matches) in [
        ("209", exact("a"), &[][..], true),
        ("209", exact("a"), &[&b"b"[..]], true),
        ("209", exact("a"), &[b"a"], false),
        ("210", any.clone(), &[], true),
        ("210", any, &[b""], false),
        ("trap", exact(""), &[], false),
        ("trap", pattern(".*"), &[], false),
        ("trap", pattern(".+"), &[], true),
    ] {
        let matcher = HeaderMatcher::without(X, &text).unwrap();
        assert_eq!(
            matcher.is_match(&headers(values)),
            matches,
            "{row}: {text:?} {values:?}"
        );
    }
}

/// RT-4f, RT-4g.
#[test]
fn all_conditions_on_headers_can_hold_at_once() {
    let matchers = [
        HeaderMatcher::with(HeaderName::from_static("x-foo"), &exact("bar")).unwrap(),
        HeaderMatcher::with(HeaderName::from_static("x-baz"), &pattern("qu+x")).unwrap(),
    ];
    let matches = |headers: &HeaderMap| matchers.iter().all(|matcher| matcher.is_match(headers));
    let mut headers = HeaderMap::new();
    headers.insert("x-baz", HeaderValue::from_static("zab"));
    assert!(!matches(&headers));
    headers.insert("x-foo", HeaderValue::from_static("bar"));
    headers.insert("x-baz", HeaderValue::from_static("quuuux"));
    assert!(matches(&headers));
}

#[test]
fn query_parameters_match_by_their_first_raw_value() {
    let any = StringMatch::Present;
    for (row, name, text, query, matches) in [
        ("213", "k", exact(""), Some("k"), true),
        ("213", "k", exact(""), Some("k="), true),
        ("213", "k", exact(""), Some("k=1"), false),
        ("214", "k", pattern(r"\d+$"), Some("k=123"), true),
        ("214", "k", pattern(r"\d+$"), Some("k=a123"), false),
        ("215", "k", exact("a"), Some("k=a&k=b"), true),
        ("215", "k", exact("a"), Some("k=b&k=a"), false),
        ("RT-3f", "foo", pattern("bar*"), Some("bar=foo"), false),
        ("case", "k", exact("a"), Some("K=a"), false),
        ("raw", "k", exact("a%2Fb"), Some("k=a%2Fb"), true),
        ("equals", "k", exact("a=b"), Some("k=a=b"), true),
        ("present", "k", any.clone(), Some("a=1&k"), true),
        ("present", "k", any, None, false),
    ] {
        let matcher = QueryMatcher::new(name, &text).unwrap();
        assert_eq!(matcher.is_match(query), matches, "{row}: {text:?} {query:?}");
    }
}

#[test]
fn hosts_fall_under_names_and_wildcards() {
    for (row, pattern, host, matches) in [
        ("RT-1a", "example.com", "example.com", true),
        ("RT-1c", "example.com", "foo.example.com", false),
        ("RT-1g", "*.example.com", "foo.example.com", true),
        ("RT-1h", "*.example.com", "foo.example.com.", true),
        ("RT-1k", "*.example.com.", "bar.foo.example.com.", true),
        ("RT-1m", "example.com", "ExAmPlE.CoM.", true),
        ("RT-1n", "example.com", "foo.EXAMPLE.com", false),
        ("RT-1o", "*.Example.COM", "foo.example.com", true),
        ("RT-1p", "*.example.com", "BAR.foo.EXAMPLE.COM.", true),
        ("RT-8", "*.example.com", "example.com", false),
        ("RT-8", "*.test.example.com", "test.example.com", false),
        ("1.3", "*-foo.com", "bar-foo.com", true),
        ("1.3", "*-foo.com", "-foo.com", false),
        ("1.3", "*", "foo.com", true),
        ("1.3", "*.com", ".com", false),
    ] {
        assert_eq!(host_matches(pattern, host), matches, "{row}: {pattern} {host}");
    }
}

#[test]
fn patterns_of_hosts_overlap_both_ways() {
    for (row, a, b, overlap) in [
        ("290", "foo.com", "foo.com", true),
        ("291", "*.com", "foo.com", true),
        ("294", "*.foo.bar.baz", "*.baz", true),
        ("295", "*.foo.bar.baz", "baz", false),
        ("any", "*", "foo.com", true),
        ("any", "*", "*.com", true),
        ("none", "*.com", "*.net", false),
        ("none", "foo.com", "bar.com", false),
        ("self", "*.com", "*.com", true),
    ] {
        assert_eq!(hosts_overlap(a, b), overlap, "{row}: {a} {b}");
        assert_eq!(hosts_overlap(b, a), overlap, "{row}: {b} {a}");
    }
}

#[test]
fn a_host_pattern_covers_what_all_falls_under_it() {
    for (outer, inner, covers) in [
        ("*", "*.com", true),
        ("*.net", "*.bar.net", true),
        ("*.bar.net", "*.net", false),
        ("*.com", "foo.com", true),
        ("foo.com", "*.com", false),
        ("foo.com", "FOO.com", true),
        ("*.com", "*.com", true),
    ] {
        assert_eq!(host_covers(outer, inner), covers, "{outer} {inner}");
    }
}

/// RT-1r.
#[test]
fn hosts_are_tried_from_the_most_specific() {
    let mut hosts = [
        "*",
        "*.example.com",
        "example.com",
        "*.foo.example.com",
        "www.example.com",
        "abcdefg.com",
    ];
    hosts.sort_by(|a, b| more_specific(a, b));
    let order = [
        "www.example.com",
        "abcdefg.com",
        "example.com",
        "*.foo.example.com",
        "*.example.com",
        "*",
    ];
    assert_eq!(hosts, order);
}

#[test]
fn patterns_of_policies_match_as_in_istio() {
    for (row, pattern, text, matches) in [
        ("AZ-5a", Pattern::wildcard("foo"), "foo", true),
        ("AZ-5b", Pattern::wildcard("foo"), "not", false),
        ("prefix", Pattern::wildcard("foo*"), "foo", true),
        ("prefix", Pattern::wildcard("foo*"), "foobar", true),
        ("prefix", Pattern::wildcard("foo*"), "notfoo", false),
        ("suffix", Pattern::wildcard("*foo"), "notfoo", true),
        ("AZ-5h", Pattern::wildcard("*foo"), "foonot", false),
        ("AZ-5i", Pattern::wildcard("*foo"), "", false),
        ("presence", Pattern::wildcard("*"), "foo", true),
        ("AZ-5k", Pattern::wildcard("*"), "", false),
        ("366", Pattern::wildcard("*abc*"), "/xabcx", false),
        ("366", Pattern::wildcard("*abc*"), "/x/abc*", true),
        ("377", Pattern::Glob("ns.*.prod".into()), "ns.any.prod", true),
        ("377", Pattern::Glob("ns.*.prod".into()), "nsXanyXprod", false),
        ("glob", Pattern::Glob("a*b*c".into()), "abc", true),
        ("glob", Pattern::Glob("a*b*c".into()), "a-b-b-c", true),
        ("glob", Pattern::Glob("a*b*c".into()), "acb", false),
        ("glob", Pattern::Glob("ab*ba".into()), "aba", false),
        ("glob", Pattern::Glob("*prod*".into()), "my-prod-ns", true),
        ("glob", Pattern::Glob("prod".into()), "prod2", false),
        ("F30", Pattern::Glob("cert-manager.io".into()), "cert-managerXio", false),
    ] {
        assert_eq!(
            PatternMatcher::compile(&pattern).is_match(text),
            matches,
            "{row}: {pattern:?} {text}"
        );
    }
}

#[test]
fn templates_match_whole_segments() {
    for (row, template, path, matches) in [
        ("368", "/foo/{*}", "/foo/bar", true),
        ("368", "/foo/{*}", "/foo/bar/baz", false),
        ("368", "/foo/{*}", "/foo/", false),
        ("369", "/foo/{**}/", "/foo/bar/", true),
        ("369", "/foo/{**}/", "/foo/bar/baz/", true),
        ("369", "/foo/{**}/", "/foo/bar", false),
        ("370", "/foo/{*}/bar/{**}", "/foo/buzz/bar/", true),
        ("370", "/foo/{*}/bar/{**}", "/foo/buzz/bar/baz", true),
        ("370", "/foo/{*}/bar/{**}", "/foo/buzz/x/baz", false),
        ("tail", "/{**}/path/template", "/a/b/path/template", true),
        ("tail", "/{**}/path/template", "/a/path/templates", false),
        ("escapes", "/caf%c3%a9/{*}", "/caf%C3%A9/x", true),
        ("A16", "/a/{*}/b", "/a/*/b", true),
    ] {
        let matcher = PatternMatcher::path(&Pattern::Template(template.into())).unwrap();
        assert_eq!(matcher.is_match(path), matches, "{row}: {template} {path}");
    }
}

/// A16: an operator takes every character that a path may hold.
#[test]
fn a_template_segment_takes_every_path_character() {
    let matcher = PathTemplate::parse("/a/{*}/b").unwrap();
    for character in "!$&'()*+,=:@~-._azAZ09".chars() {
        assert!(matcher.is_match(&format!("/a/{character}/b")), "{character}");
    }
    assert!(matcher.is_match("/a/%2A/b"));
}

/// Row 371.
#[test]
fn malformed_templates_are_refused() {
    for template in [
        "/*/baz/{*}",
        "/**/baz/{*}",
        "/{**}/foo/{*}",
        "/foo/{*}.txt",
        "/foo/{buzz}/bar",
        "/foo/{**}buzz/bar",
        "foo/{*}",
        "/a%2fb/{*}",
        "/a b/{*}",
    ] {
        assert!(PathTemplate::parse(template).is_err(), "{template}");
    }
    let reason = PathTemplate::parse("/{**}/{*}").unwrap_err().to_string();
    assert_eq!(
        reason,
        "`/{**}/{*}` is not a path template: `{**}` must be the last operator"
    );
}

#[test]
fn a_set_matches_where_any_pattern_does() {
    let set: PatternSet = ["b", "a", "c*", "a"]
        .map(|text| PatternMatcher::compile(&Pattern::wildcard(text)))
        .into_iter()
        .collect();
    for (text, matches) in [("a", true), ("b", true), ("cd", true), ("d", false), ("", false)] {
        assert_eq!(set.is_match(text), matches, "{text}");
    }
    assert!(set.has_exact("a") && !set.has_exact("c"));
    assert!(PatternSet::default().is_empty() && !PatternSet::default().is_match(""));
}

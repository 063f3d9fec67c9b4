use super::super::names::{is_dns_label, is_dns_name, is_host_pattern, overlap};

#[test]
fn patterns_overlap_where_some_host_fits_both() {
    for (left, right, expected) in [
        ("foo.com", "foo.com", true),
        ("*.com", "foo.com", true),
        ("foo.com", "*.com", true),
        ("*.foo.bar.baz", "*.baz", true),
        ("*.foo.bar.baz", "baz", false),
        ("*", "anything", true),
        ("*.foo.com", "foo.com", false),
        ("*-foo.com", "a-foo.com", true),
        ("*.a.com", "*.b.com", false),
    ] {
        assert_eq!(overlap(left, right), expected, "{left} {right}");
    }
}

#[test]
fn host_patterns_have_their_wildcard_in_front() {
    for good in [
        "*",
        "*.com",
        "*-foo.com",
        "*foo.com",
        "foo",
        "FOO.bar",
        "foo.com.",
        "a-1.b",
    ] {
        assert!(is_host_pattern(good), "{good}");
    }
    for bad in [
        "", "a.*.com", "foo.*", "**", "*.", "-a.com", "a_b.com", "foo..com", "*-", "a.123",
    ] {
        assert!(!is_host_pattern(bad), "{bad}");
    }
    assert!(!is_host_pattern(&format!("{}.com", "a".repeat(64))));
    assert!(!is_dns_name(&"a.".repeat(200)));
    assert!(!is_dns_label("a.b"));
}

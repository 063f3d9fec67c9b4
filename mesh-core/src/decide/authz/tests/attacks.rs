//! The attack tables: other spellings of what is denied.

use super::*;

/// A: every spelling of a denied path is denied, or refused.
#[test]
fn no_spelling_of_a_denied_path_passes() {
    for (row, path, expected) in [
        ("A3", "//admin", 403),
        ("A3", "///admin", 403),
        ("A3", "/x/..//admin", 403),
        ("A4", "/public/..%2fadmin", 400),
        ("A4", "/admin%2fx", 400),
        ("A5", "/public/%5c..%5Cadmin", 400),
        ("A7", "/admin;x=y", 400),
        ("A7", "/admin;x=y/action;b", 400),
        ("A7", "/a;/../admin", 400),
        ("A8", "/user/..;foo=bar/admin", 400),
        ("A9", "/admin#foo", 403),
        ("A9", "/admin?x#y", 403),
        ("A10", "/admin/", 403),
        ("A12", "/%61dmin", 403),
        ("A12", "/%41dmin", 200),
        ("A13", "/admin%00.png", 400),
        ("A14", "/%zz", 400),
        ("A18", "//admin/", 403),
        ("other", "/administrator", 200),
        ("other", "/x", 200),
    ] {
        let policy = deny(vec![rule(&[], &["paths=/admin"])]);
        assert_eq!(status(&[policy], &sleep(), &get(path)), expected, "{row}: {path}");
    }
}

/// A10: both ways, and in what is excepted from an `ALLOW`.
#[test]
fn a_final_slash_is_ignored_where_a_match_denies() {
    for (policy, path, expected) in [
        (deny(vec![rule(&[], &["paths=/admin/"])]), "/admin", 403),
        (deny(vec![rule(&[], &["paths=/"])]), "/", 403),
        (deny(vec![rule(&[], &["paths=/a/{*}"])]), "/a/b/", 403),
        (deny(vec![rule(&[], &["paths=*/edit"])]), "/a/edit/", 403),
        (deny(vec![rule(&[], &["not_paths=/health"])]), "/health", 200),
        (deny(vec![rule(&[], &["not_paths=/health"])]), "/health/", 403),
        (allow(vec![rule(&[], &["not_paths=/admin"])]), "/admin/", 403),
        (allow(vec![rule(&[], &["not_paths=/admin"])]), "/other", 200),
        (allow(vec![rule(&[], &["paths=/admin"])]), "/admin/", 403),
    ] {
        assert_eq!(
            status(std::slice::from_ref(&policy), &sleep(), &get(path)),
            expected,
            "{path}: {policy:?}"
        );
    }
}

/// A16.
#[test]
fn a_denied_template_takes_every_path_character() {
    for character in "*!$&'()+,=:@~".chars() {
        let policy = deny(vec![rule(&[], &["paths=/a/{*}/b"])]);
        let path = format!("/a/{character}/b");
        assert_eq!(status(&[policy], &sleep(), &get(&path)), 403, "{path}");
    }
}

/// B1, B2, B3.
#[test]
fn no_spelling_of_a_denied_host_passes() {
    for (host, expected) in [
        ("httpbin.foo", 403),
        ("Httpbin.Foo", 403),
        ("httpbin.foo.", 403),
        ("httpbin.foo..", 400),
        ("httpbin.foo:8080", 403),
        ("httpbin.foo:", 403),
        ("good@httpbin.foo", 400),
        ("httpbin.bar", 200),
        ("xn--httpbin-.foo", 200),
    ] {
        for pattern in ["hosts=httpbin.foo", "hosts=HTTPBIN.foo.", "hosts=*bin.foo"] {
            let policy = deny(vec![rule(&[], &[pattern, "hosts=unrelated"])]);
            if pattern == "hosts=*bin.foo" && host.starts_with("xn") {
                continue;
            }
            let request = request("GET", host, "/");
            assert_eq!(status(&[policy], &sleep(), &request), expected, "{pattern}: {host}");
        }
    }
}

/// C1, C3.
#[test]
fn connect_needs_a_rule_that_names_it() {
    let connect = request("CONNECT", "evil:443", "evil:443");
    for (row, policies, expected) in [
        ("no policy", vec![], 403),
        ("ALLOW any", vec![allow(anything())], 403),
        ("ALLOW *", vec![allow(vec![rule(&[], &["methods=*"])])], 403),
        ("ALLOW CONNECT", vec![allow(vec![rule(&[], &["methods=CONNECT"])])], 200),
        (
            "ALLOW CONNECT with a path",
            vec![allow(vec![rule(&[], &["methods=CONNECT paths=*"])])],
            403,
        ),
        (
            "ALLOW CONNECT, DENY a path",
            vec![
                allow(vec![rule(&[], &["methods=CONNECT"])]),
                deny(vec![rule(&[], &["paths=/admin"])]),
            ],
            403,
        ),
        ("DENY other", vec![deny(vec![rule(&[], &["methods=PUT"])])], 403),
    ] {
        assert_eq!(status(&policies, &sleep(), &connect), expected, "{row}");
    }
    let get_denied = deny(vec![rule(&[], &["methods=GET"])]);
    for (method, expected) in [("GET", 403), ("get", 400), ("GeT", 400), ("POST", 200)] {
        let request = request(method, "httpbin.foo", "/x");
        assert_eq!(
            status(std::slice::from_ref(&get_denied), &sleep(), &request),
            expected,
            "{method}"
        );
    }
}

/// A25: a long path among many rules finds the one that names it, and none that does not.
#[test]
fn a_long_path_finds_its_rule_among_ten_thousand() {
    let long = "/segment".repeat(2_000);
    let mut rules: Vec<Rule> = (0..10_000)
        .map(|index| rule(&[], &[&format!("paths=/path/{index}|/folder{index}/*")]))
        .collect();
    rules.push(rule(&[], &[&format!("paths={long}")]));
    let policy = deny(rules);
    for (path, expected) in [(long.as_str(), 403), ("/folder9999/x", 403), (&format!("{long}x"), 200)] {
        assert_eq!(
            status(std::slice::from_ref(&policy), &sleep(), &get(path)),
            expected,
            "{path:.20}"
        );
    }
}

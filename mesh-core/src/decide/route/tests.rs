use http::{HeaderName, Method, Request};
use proptest::prelude::*;

use super::*;
use crate::policy::model::route::{PathCase, RouteMatch, StringMatch};
use crate::request::{Options, canonicalize};

fn path(text: &str) -> impl Strategy<Value = StringMatch> + use<> {
    let text = text.to_owned();
    prop_oneof![
        Just(StringMatch::Exact(text.clone())),
        Just(StringMatch::Prefix(text.clone())),
        Just(StringMatch::SegmentPrefix(text.clone())),
        Just(StringMatch::Regex(format!("{text}.*"))),
    ]
}

fn conditions() -> impl Strategy<Value = RouteMatch> {
    // Texts that are not canonical are compared as what they stand for.
    let paths = vec![
        "/", "/a", "/a/b", "/a/bc", "/b", "/a/b/c/d", "//a", "/%61", "/a//b", "/a/%62c", "",
    ];
    let paths = prop::sample::select(paths).prop_flat_map(path);
    let method = prop::option::of(prop::sample::select(vec!["GET", "POST"]));
    let header = prop::sample::select(vec!["x-v", "x-w"]).prop_map(HeaderName::from_static);
    let header = (header, prop::sample::select(vec!["1", "2"]));
    let header = header.prop_map(|(name, value)| (name, StringMatch::Exact(value.into())));
    let with = prop::collection::vec(header.clone(), 0..3);
    let without = prop::collection::vec(header, 0..2);
    let headers = (with, without);
    (prop::option::of(paths), method, headers, any::<bool>()).prop_map(|(path, method, headers, folded)| RouteMatch {
        path,
        path_case: if folded { PathCase::Folded } else { PathCase::Sensitive },
        method: method.map(|method| StringMatch::Exact(method.into())),
        headers: headers.0,
        without_headers: headers.1,
        ..RouteMatch::default()
    })
}

fn requests() -> impl Strategy<Value = Request<()>> {
    let path = prop::sample::select(vec![
        "/",
        "/a",
        "/A",
        "/a/",
        "/a/b",
        "/a/b/c",
        "/a/bc",
        "/a/b/c/d/e",
        "/b",
        "/c",
    ]);
    let method = prop::sample::select(vec![Method::GET, Method::POST]);
    let lines = (
        prop::sample::select(vec!["x-v", "x-w"]),
        prop::sample::select(vec!["1", "2", "3"]),
    );
    let lines = prop::collection::vec(lines, 0..4);
    (path, method, lines).prop_map(|(path, method, lines)| {
        let request = Request::builder().method(method).uri(format!("http://orders{path}"));
        let request = lines
            .into_iter()
            .fold(request, |request, (name, value)| request.header(name, value));
        request.body(()).unwrap()
    })
}

proptest! {
    /// The index changes the cost of a look-up and never its result.
    #[test]
    fn the_index_finds_what_a_walk_in_order_finds(
        rules in prop::collection::vec(prop::collection::vec(conditions(), 1..3), 0..12),
        request in requests(),
    ) {
        let compile = |rule: &Vec<RouteMatch>| rule.iter().map(|one| Matcher::new(one).unwrap()).collect::<Vec<_>>();
        let mut list = RuleList::default();
        for (position, rule) in rules.iter().enumerate() {
            list.push(compile(rule), position);
        }
        let canonical = canonicalize(&request, Options::outbound()).unwrap();
        let view = canonical.view();
        let walked = rules.iter().position(|rule| compile(rule).iter().any(|matcher| matcher.matches(&view)));
        prop_assert_eq!(list.find(&view).copied(), walked);
    }
}

#[test]
fn a_regex_that_is_none_is_refused() {
    let conditions = RouteMatch {
        path: Some(StringMatch::Regex("(".into())),
        ..RouteMatch::default()
    };
    assert!(Matcher::new(&conditions).is_err());
}

/// A table for `orders` that names its rules `0`, `1` and so on.
fn router(rules: &[RouteMatch]) -> Router {
    let mut list = RuleList::default();
    for (position, conditions) in rules.iter().enumerate() {
        let name: Arc<str> = position.to_string().into();
        let route = Route::new(name, Origin::default(), vec![(Choice::target(position), 1)]);
        list.push([Matcher::new(conditions).unwrap()], route);
    }
    let host = VirtualHost {
        rules: Arc::new(list),
        ..VirtualHost::default()
    };
    let mut hosts = HostTable::default();
    hosts.insert(["orders"], host);
    Router::new(hosts)
}

fn found(router: &Router, uri: &str) -> String {
    let request = Request::get(uri).body(()).unwrap();
    let canonical = canonicalize(&request, Options::outbound()).unwrap();
    match router.route(&canonical.view()) {
        RouteResult::Route(selected) => selected.route.name.to_string(),
        RouteResult::NoRoute(_) => "no route".into(),
        RouteResult::UnknownHost => "unknown host".into(),
    }
}

#[test]
fn the_first_rule_wins_and_not_the_most_specific() {
    let on = |path| RouteMatch {
        path: Some(path),
        ..RouteMatch::default()
    };
    let router = router(&[
        on(StringMatch::Prefix("/a".into())),
        on(StringMatch::Exact("/a/b".into())),
        on(StringMatch::SegmentPrefix("/s/".into())),
        on(StringMatch::Regex("/r[0-9]".into())),
    ]);
    for (path, rule) in [
        ("/a/b", "0"),
        ("/ab", "0"),
        ("/s", "2"),
        ("/s/x", "2"),
        ("/sx", "no route"),
        ("/r1", "3"),
        ("/r12", "no route"),
    ] {
        assert_eq!(found(&router, &format!("http://orders{path}")), rule, "{path}");
    }
    assert_eq!(found(&router, "http://users/a"), "unknown host");
}

#[test]
fn the_authority_is_compared_as_it_was_sent() {
    let router = router(&[RouteMatch {
        authority: Some(StringMatch::Exact("orders:8080".into())),
        ..RouteMatch::default()
    }]);
    assert_eq!(found(&router, "http://orders:8080/"), "0");
    assert_eq!(found(&router, "http://orders/"), "no route");
}

#[test]
fn the_host_header_is_the_authority() {
    let host = || (http::header::HOST, StringMatch::Exact("orders:8080".into()));
    let with = RouteMatch {
        headers: vec![host()],
        ..RouteMatch::default()
    };
    let without = RouteMatch {
        without_headers: vec![host()],
        ..RouteMatch::default()
    };
    let router = router(&[with.clone(), without]);
    assert_eq!(found(&router, "http://orders:8080/"), "0");
    assert_eq!(found(&router, "http://orders/"), "1");

    let request = Request::get("http://orders:8080/").body(()).unwrap();
    let canonical = canonicalize(&request, Options::outbound()).unwrap();
    assert!(Matcher::new(&with).unwrap().matches(&canonical.view()));
}

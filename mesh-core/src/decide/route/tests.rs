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
    let paths = prop::sample::select(vec!["/", "/a", "/a/b", "/a/bc", "/b", "/a/b/c/d"]).prop_flat_map(path);
    let method = prop::option::of(prop::sample::select(vec!["GET", "POST"]));
    let header = prop::option::of(prop::sample::select(vec!["1", "2"]));
    (prop::option::of(paths), method, header, any::<bool>()).prop_map(|(path, method, header, folded)| RouteMatch {
        path,
        path_case: if folded { PathCase::Folded } else { PathCase::Sensitive },
        method: method.map(|method| StringMatch::Exact(method.into())),
        headers: header
            .into_iter()
            .map(|value| (HeaderName::from_static("x-v"), StringMatch::Exact(value.into())))
            .collect(),
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
    (path, method, prop::sample::select(vec!["1", "2", "3"])).prop_map(|(path, method, value)| {
        let request = Request::builder().method(method).uri(format!("http://orders{path}"));
        request.header("x-v", value).body(()).unwrap()
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

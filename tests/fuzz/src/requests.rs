//! Hosts and paths: a request has one canonical form, and an index finds what the rules say one by one.
#![no_main]

use http::{Request, Uri};
use libfuzzer_sys::fuzz_target;
use mesh_core::decide::route::string::{PathTemplate, host_covers, host_matches};
use mesh_core::decide::route::{Matcher, RuleList};
use mesh_core::policy::model::route::{PathCase, RouteMatch, StringMatch};
use mesh_core::request::{Options, canonicalize};

fn conditions(choice: u8, text: &str) -> RouteMatch {
    let path = match choice % 4 {
        0 => StringMatch::Exact(text.into()),
        1 => StringMatch::Prefix(text.into()),
        2 => StringMatch::SegmentPrefix(text.into()),
        _ => StringMatch::Regex(text.into()),
    };
    let mut conditions = RouteMatch::default();
    conditions.path = Some(path);
    if choice & 4 != 0 {
        conditions.path_case = PathCase::Folded;
    }
    conditions
}

fuzz_target!(|input: (&str, Vec<(u8, &str)>, &str)| {
    let (target, rules, pattern) = input;
    let Ok(uri) = target.parse::<Uri>() else { return };
    let mut request = Request::new(());
    *request.uri_mut() = uri;
    let Ok(canonical) = canonicalize(&request, Options::outbound()) else { return };
    let view = canonical.view();
    assert!(view.path.starts_with('/') && !view.path.contains('\\'), "{}", view.path);
    assert_eq!(view.host, view.host.to_ascii_lowercase());
    let _ = (host_covers(pattern, view.host), host_matches(pattern, view.host));
    let _ = PathTemplate::parse(pattern).map(|template| template.is_match(view.path));
    let mut list = RuleList::default();
    let mut first = None;
    for (position, (choice, text)) in rules.into_iter().take(8).enumerate() {
        let conditions = conditions(choice, text);
        let (Ok(indexed), Ok(alone)) = (Matcher::new(&conditions), Matcher::new(&conditions)) else {
            continue;
        };
        if first.is_none() && alone.matches(&view) {
            first = Some(position);
        }
        list.push([indexed], position);
    }
    assert_eq!(list.find(&view).copied(), first);
    let path = view.path.to_owned();
    if let Some(rewritten) = canonical.into_rewritten() {
        *request.uri_mut() = rewritten;
        let again = canonicalize(&request, Options::outbound()).expect("a canonical request stays one");
        assert_eq!(again.view().path, path);
        assert!(again.into_rewritten().is_none());
    }
});

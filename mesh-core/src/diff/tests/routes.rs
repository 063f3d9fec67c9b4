//! What routes say beside where requests go, hosts that no policy names, and namespaces that are only named as readers.

use super::{diff, line};

/// Who sends requests so, by workload, with what changes.
fn changes(old: &str, new: &str) -> Vec<String> {
    assert!(diff(old, old).changes.is_empty() && diff(new, new).changes.is_empty());
    diff(old, new).changes.iter().map(line).collect()
}

fn with_cors(cors: &str) -> String {
    format!(
        "namespace: shop\nservices: {{ web: {{ endpoints: [10.0.0.4:80], routes: [{{ name: all, to: [{{ service: web }}], cors: {{ {cors} }} }}] }} }}\n"
    )
}

#[test]
fn what_origins_are_told_is_compared() {
    const OLD: &str = "allow_origins: ['https://a.example'], allow_methods: [GET, PUT], max_age: 1h";
    let route = "Routes Changed web.shop.svc.cluster.local: route `all`";
    let told = "allow-methods GET PUT, allow-origin https://a.example, max-age 3600";
    for (new, expected) in [
        (
            "allow_origins: ['https://a.example', 'https://b.example'], allow_methods: [GET, PUT], max_age: 1h",
            format!(
                "[cors of https://b.example: none → allow-origin https://b.example; cors of https://b.example, preflight: none → {}]",
                told.replace("a.example", "b.example")
            ),
        ),
        (
            "allow_origins: ['https://a.example'], allow_methods: [GET], max_age: 1h",
            format!(
                "[cors of https://a.example, preflight: {told} → {}]",
                told.replace("GET PUT", "GET")
            ),
        ),
        (
            "allow_origins: ['https://a.example'], allow_methods: [GET, PUT]",
            format!(
                "[cors of https://a.example, preflight: {told} → {}]",
                told.replace(", max-age 3600", "")
            ),
        ),
    ] {
        assert_eq!(
            changes(&with_cors(OLD), &with_cors(new)),
            [format!("{route} {expected}")]
        );
    }
    let foreign = changes(
        &with_cors(OLD),
        &with_cors("allow_origins: ['*'], allow_methods: [GET, PUT], max_age: 1h"),
    );
    assert!(
        foreign[0].contains("cors of https://x.example: none → allow-origin *"),
        "{foreign:#?}"
    );
    let credentials = changes(&with_cors(OLD), &with_cors(&format!("{OLD}, allow_credentials: true")));
    assert!(credentials[0].contains("allow-credentials true"), "{credentials:#?}");
    let same =
        "allow_origins: ['https://a.example', { exact: 'https://a.example' }], allow_methods: [PUT, GET], max_age: 60m";
    assert_eq!(changes(&with_cors(OLD), &with_cors(same)), Vec::<String>::new());
}

#[test]
fn what_becomes_of_unknown_hosts_is_told_for_those_whose_sidecar_says_it() {
    let policy = |outbound: &str| {
        format!(
            "namespace: shop\nsidecars: [{{ name: all, outbound: {outbound} }}]\n---\nnamespace: other\nservices: {{ a: {{ endpoints: [10.0.0.1:80] }} }}\n"
        )
    };
    let found = diff(&policy("allow_any"), &policy("registry_only")).changes;
    assert_eq!(
        found.iter().map(line).collect::<Vec<_>>(),
        ["Routes Changed hosts that no policy names [outbound: allow_any → registry_only]"]
    );
    assert_eq!(found[0].workloads, ["namespace=shop"]);
}

#[test]
fn settings_of_patterns_are_compared_at_the_hosts_that_they_hold_for() {
    let policy = |timeout: &str| {
        format!(
            "namespace: shop\ndestinations: {{ '*.example.com': {{ limits: {{ connect_timeout: {timeout} }} }} }}\nroutes: [{{ name: r, hosts: [api.example.com], rules: [{{ to: [{{ service: eu.example.com }}] }}] }}]\n"
        )
    };
    assert_eq!(
        changes(&policy("2s"), &policy("3s")),
        ["Services Changed eu.example.com:80 [limits.connect_timeout: 2s → 3s]"]
    );
}

#[test]
fn namespaces_that_only_see_something_are_asked_for() {
    let policy = |seen_by: &str, timeout: &str| {
        format!(
            "namespace: shop\nservices: {{ web: {{ endpoints: [10.0.0.4:80], visible_to: [{seen_by}], routes: [{{ name: all, to: [{{ service: web }}], timeout: {timeout} }}] }} }}\n"
        )
    };
    let found = diff(&policy("edge", "1s"), &policy("edge", "2s")).changes;
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].workloads, ["namespace=edge"]);
    let found = diff(&policy("edge", "1s"), &policy("front", "1s")).changes;
    let of = |name: &str| {
        found
            .iter()
            .filter(|change| change.workloads == [format!("namespace={name}")])
            .count()
    };
    assert_eq!((of("edge"), of("front")), (2, 2), "{found:#?}");
}

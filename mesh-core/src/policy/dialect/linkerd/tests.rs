use super::*;
use crate::policy::Loaded;

fn profile(spec: &str) -> Loaded {
    let text = format!(
        "apiVersion: linkerd.io/v1alpha2\nkind: ServiceProfile\nmetadata: {{ name: api.shop.svc.cluster.local, namespace: client }}\nspec: {{ {spec} }}\n"
    );
    Loaded::from_files([("f", text)])
}

#[test]
fn classes_keep_their_order_timeouts_and_retries() {
    let loaded = profile(
        "routes: [{ name: list, condition: { method: get, pathRegex: /users }, isRetryable: true, timeout: 5s }, { name: rest, condition: { pathRegex: '/.*' } }]",
    );
    let profile = &loaded.policy.unwrap().profiles[0];
    assert_eq!(
        (profile.host.as_str(), profile.meta.namespace.as_str()),
        ("api.shop.svc.cluster.local", "client")
    );
    assert_eq!(profile.budget, RetryBudget::default());
    let [list, rest] = profile.routes.as_slice() else {
        panic!("two classes: {profile:?}");
    };
    assert_eq!((list.name.as_str(), &list.method), ("list", &Some(Method::GET)));
    assert_eq!(list.path_regex.as_deref(), Some("/users"));
    assert_eq!(
        (list.retryable, list.timeout),
        (Retryable::Yes, Some(Duration::from_secs(5)))
    );
    assert_eq!((rest.retryable, rest.timeout), (Retryable::No, None));
    assert_eq!(list.origin.to_string(), "f:4:18");
}

#[test]
fn a_budget_is_hundredths_and_has_linkerds_defaults() {
    for (budget, expected) in [
        (
            "retryRatio: 0.25, minRetriesPerSecond: 5, ttl: 1m",
            RetryBudget::new(25, 5, Duration::from_secs(60)),
        ),
        ("ttl: 10ms", RetryBudget::new(20, 10, Duration::from_millis(10))),
        (
            "retryRatio: 0, ttl: 1s",
            RetryBudget::new(0, 10, Duration::from_secs(1)),
        ),
        (
            "retryRatio: 2, ttl: 1s",
            RetryBudget::new(200, 10, Duration::from_secs(1)),
        ),
        (
            "retryRatio: 0.29, ttl: 1s",
            RetryBudget::new(29, 10, Duration::from_secs(1)),
        ),
    ] {
        let loaded = profile(&format!("retryBudget: {{ {budget} }}"));
        assert_eq!(loaded.policy.unwrap().profiles[0].budget, expected, "{budget}");
    }
}

#[test]
fn what_is_not_in_force_or_wrong_is_told() {
    let route = |rest: &str| format!("routes: [{{ name: r, {rest} }}]");
    for (spec, expected) in [
        (
            route("condition: { all: [] }"),
            &["f:4:42: warning[MESH0401]: field `all` is not yet in force: a condition is a method, a path or both"][..],
        ),
        (
            route("condition: { method: GET, not: { method: PUT } }, responseClasses: []"),
            &[
                "f:4:55: warning[MESH0401]: field `not` is not yet in force: a condition is a method, a path or both",
                "f:4:79: warning[MESH0401]: field `responseClasses` is not yet in force: a response of 5xx is a failure, others are not",
            ],
        ),
        (
            route("condition: {}"),
            &["f:4:40: error[MESH0104]: `condition`: expected a `method` or a `pathRegex`, found neither"],
        ),
        (
            route("condition: { pathRegex: '(' }, timeout: 5, isRetriable: true"),
            &[
                "f:4:53: error[MESH0104]: `pathRegex`: regex `(` does not compile: unclosed group",
                "f:4:69: error[MESH0104]: `timeout`: duration `5` has no unit, expected one of `ns`, `us`, `ms`, `s`, `m`, `h`",
                "f:4:72: error[MESH0101]: unknown field `isRetriable`",
            ],
        ),
        (
            route("condition: { method: 'G T' }"),
            &["f:4:50: error[MESH0104]: `method`: expected a method such as `GET`, found `G T`"],
        ),
        (
            "dstOverrides: [], opaquePorts: {}".into(),
            &[
                "f:4:9: warning[MESH0401]: field `dstOverrides` is not yet in force: split traffic by a `TrafficSplit`",
                "f:4:27: warning[MESH0401]: field `opaquePorts` is not yet in force: services speak HTTP",
            ],
        ),
        (
            "retryBudget: { retryRatio: 0.125, minRetriesPerSecond: -1, ttl: 0s }".into(),
            &[
                "f:4:36: error[MESH0104]: `retryRatio`: expected a ratio of whole hundredths such as `0.25`, at most 1000",
                "f:4:64: error[MESH0104]: `minRetriesPerSecond`: expected a whole number of 0 to 4294967295, found `-1`",
                "f:4:68: error[MESH0104]: `ttl`: expected more than `0s`",
            ],
        ),
    ] {
        let loaded = profile(&spec);
        assert_eq!(loaded.report.lines(&loaded.sources), expected, "{spec}");
    }
}

#[test]
fn a_profile_without_spec_has_no_classes() {
    let text = "apiVersion: linkerd.io/v1alpha2\nkind: ServiceProfile\nmetadata: { name: a.b }\n";
    let loaded = Loaded::from_files([("f", text)]);
    assert_eq!(loaded.policy.unwrap().profiles[0].routes, []);
}

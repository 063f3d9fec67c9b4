use std::time::Duration;

use http::Method;

use crate::policy::Loaded;
use crate::policy::model::profile::{RequestCondition, ResponseClass, ResponseCondition, ResponseResult, Retryable};
use crate::policy::model::traffic::RetryBudget;

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
    let condition = RequestCondition::All(vec![
        RequestCondition::Method(Method::GET),
        RequestCondition::Path("/users".into()),
    ]);
    assert_eq!((list.name.as_str(), &list.condition), ("list", &condition));
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
            route("condition: {}"),
            &[
                "f:4:40: error[MESH0104]: `condition`: expected a `method`, a `pathRegex`, `all`, `any` or `not`, found none",
            ][..],
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
            route(
                "condition: { any: [~, { foo: 1 }], all: 5 }, responseClasses: [~, { isFailure: true }, { condition: {} }, { condition: ~ }]",
            ),
            &[
                "f:4:48: error[MESH0103]: a condition is given without a value",
                "f:4:53: error[MESH0101]: unknown field `foo`",
                "f:4:69: error[MESH0102]: `all`: expected a list, found the number `5`",
                "f:4:92: error[MESH0103]: a response class is given without a value",
                "f:4:95: error[MESH0103]: missing field `condition`",
                "f:4:129: error[MESH0104]: `condition`: expected a `status`, `all`, `any` or `not`, found none",
                "f:4:135: error[MESH0103]: missing field `condition`",
            ],
        ),
        (
            route(
                "condition: { all: [] }, responseClasses: [{ condition: { all: [{ status: { min: 600 } }, { status: { min: 500, max: 400 } }, ~] } }]",
            ),
            &[
                "f:4:109: error[MESH0104]: `min`: expected a whole number of 100 to 599, found `600`",
                "f:4:128: error[MESH0104]: `status`: `max` must not be less than `min`, found 500 to 400",
                "f:4:154: error[MESH0103]: a condition is given without a value",
            ],
        ),
    ] {
        let loaded = profile(&spec);
        assert_eq!(loaded.report.lines(&loaded.sources), expected, "{spec}");
    }
}

#[test]
fn what_is_wrong_beside_classes_is_told() {
    for (spec, expected) in [
        (
            "dstOverrides: [{ authority: 'a b', weight: x }, { authority: 'a.b:0', weight: 1 }], opaquePorts: { '80': {}, x: {} }",
            &[
                "f:4:37: error[MESH0104]: `authority`: expected a name such as `orders.shop.svc.cluster.local:8080`, found `a b`",
                "f:4:52: error[MESH0104]: `weight`: expected a quantity such as `1` or `500m`, found `x`",
                "f:4:70: error[MESH0104]: `authority`: expected a port of 1 to 65535 in `a.b:0`",
                "f:4:93: warning[MESH0401]: field `opaquePorts` is not yet in force: clients speak HTTP to every port",
                "f:4:118: error[MESH0104]: key `x`: expected a port of 1 to 65535",
            ][..],
        ),
        (
            "dstOverrides: [{ authority: a.b, weight: 0 }]",
            &["f:4:23: error[MESH0104]: `dstOverrides`: the weights of all destinations are 0, one must be more"],
        ),
        (
            "retryBudget: { retryRatio: 0.125, minRetriesPerSecond: -1, ttl: 0s }",
            &[
                "f:4:36: error[MESH0104]: `retryRatio`: expected a ratio of whole hundredths such as `0.25`, at most 1000",
                "f:4:64: error[MESH0104]: `minRetriesPerSecond`: expected a whole number of 0 to 4294967295, found `-1`",
                "f:4:68: error[MESH0104]: `ttl`: expected more than `0s`",
            ],
        ),
    ] {
        let loaded = profile(spec);
        assert_eq!(loaded.report.lines(&loaded.sources), expected, "{spec}");
    }
}

#[test]
fn a_profile_without_spec_has_no_classes() {
    let text = "apiVersion: linkerd.io/v1alpha2\nkind: ServiceProfile\nmetadata: { name: a.b }\n";
    let loaded = Loaded::from_files([("f", text)]);
    assert_eq!(loaded.policy.unwrap().profiles[0].routes, []);
}

#[test]
fn conditions_nest_and_classes_say_what_fails() {
    let loaded = profile(
        "routes: [{ name: r, condition: { any: [], not: { all: [] } }, responseClasses: [{ condition: { status: { min: 503, max: 503 } }, isFailure: true }, { condition: { any: [{ status: { max: 499 } }, { not: { status: { min: 0 } } }] } }] }]",
    );
    let route = &loaded.policy.unwrap().profiles[0].routes[0];
    let all = RequestCondition::All(Vec::new());
    let expected = RequestCondition::All(vec![
        RequestCondition::Any(Vec::new()),
        RequestCondition::Not(Box::new(all)),
    ]);
    assert_eq!(route.condition, expected);
    let below = ResponseCondition::Any(vec![
        ResponseCondition::Status(100..=499),
        ResponseCondition::Not(Box::new(ResponseCondition::Status(100..=599))),
    ]);
    let classes = [
        ResponseClass::new(ResponseCondition::Status(503..=503), ResponseResult::Failure),
        ResponseClass::new(below, ResponseResult::Success),
    ];
    assert_eq!(route.response_classes, classes);
}

#[test]
fn overrides_have_shares_and_may_name_a_port() {
    let loaded = profile(
        "dstOverrides: [{ authority: 'new.shop.svc.cluster.local:8080', weight: 500m }, { authority: old.shop.svc.cluster.local., weight: 1500m }, { authority: none.shop, weight: 0 }]",
    );
    let overrides = &loaded.policy.unwrap().profiles[0].overrides;
    let found: Vec<_> = overrides
        .iter()
        .map(|to| (to.host.as_str(), to.port, to.weight))
        .collect();
    assert_eq!(
        found,
        [
            ("new.shop.svc.cluster.local", Some(8080), 1),
            ("old.shop.svc.cluster.local", None, 3),
            ("none.shop", None, 0)
        ]
    );
}

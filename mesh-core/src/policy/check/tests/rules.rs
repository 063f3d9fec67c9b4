use super::{findings, route};

fn rule(text: &str) -> Vec<String> {
    findings(&[&route("shop", text)])
}

#[test]
fn weights_that_nearly_add_up_to_a_hundred_are_told() {
    let split = |weights: &[u32]| {
        let to: Vec<String> = weights
            .iter()
            .map(|one| format!("{{ destination: {{ host: a }}, weight: {one} }}"))
            .collect();
        rule(&format!("{{ route: [{}] }}", to.join(", ")))
    };
    for weights in [&[90, 20][..], &[95, 10], &[80, 10], &[50, 30, 10]] {
        let sum: u32 = weights.iter().sum();
        let expected = format!("a:4:31: warning[MESH0521]: the weights add up to {sum}, and not to 100");
        assert_eq!(split(weights), [expected]);
    }
    for weights in [&[90, 10][..], &[9, 1], &[33, 33, 33], &[1, 1], &[900, 100], &[80]] {
        assert_eq!(split(weights), [""; 0], "{weights:?}");
    }
}

#[test]
fn a_request_that_may_be_done_twice_is_told() {
    let retried = |method: &str, on: &str| {
        rule(&format!(
            "{{ match: [{{ method: {{ exact: {method} }} }}], route: [{{ destination: {{ host: a }} }}], retries: {{ attempts: 2, retryOn: '{on}' }} }}"
        ))
    };
    for (method, on, condition) in [
        ("POST", "5xx", "5xx"),
        ("PATCH", "connect-failure,reset", "reset"),
        ("POST", "503", "retriable-status-codes"),
    ] {
        let expected = format!("`{method}` is tried again on `{condition}`, though it may have been done already");
        let found = retried(method, on);
        assert!(found.len() == 1 && found[0].ends_with(&expected), "{found:?}");
        assert!(found[0].contains("warning[MESH0511]"));
    }
    for (method, on) in [
        ("GET", "5xx"),
        ("PUT", "5xx"),
        ("POST", "connect-failure,refused-stream,reset-before-request"),
        ("POST", "unavailable"),
    ] {
        assert_eq!(retried(method, on), [""; 0], "{method} {on}");
    }
    let none =
        "{ match: [{ method: { exact: POST } }], route: [{ destination: { host: a } }], retries: { attempts: 0 } }";
    assert_eq!(rule(none), [""; 0]);
}

#[test]
fn findings_on_the_meaning_wait_for_a_policy_without_errors() {
    let split =
        "{ route: [{ destination: { host: a }, weight: 90 }, { destination: { host: b }, weight: 20 }], timout: 1s }";
    let found = rule(split);
    assert!(found.len() == 1 && found[0].contains("MESH0101"), "{found:?}");
}

#[test]
fn a_path_that_no_request_has_is_told() {
    let rule = |path: &str| {
        route(
            "shop",
            &format!("{{ match: [{{ uri: {{ {path} }} }}], route: [{{ destination: {{ host: shop }} }}] }}"),
        )
    };
    for (path, expected, help) in [
        (
            "prefix: static",
            "warning[MESH0512]: prefix `static` can never match: paths begin with `/`",
            "write `/static`",
        ),
        (
            "exact: login",
            "warning[MESH0512]: exact `login` can never match: paths begin with `/`",
            "write `/login`",
        ),
        (
            "prefix: /static/*",
            "warning[MESH0519]: in prefix `/static/*` the `*` is compared as it is",
            "write the prefix `/static/`",
        ),
        (
            "exact: '*'",
            "warning[MESH0519]: in exact `*` the `*` is compared as it is",
            "write the prefix `/`",
        ),
    ] {
        let text = rule(path);
        assert_eq!(findings(&[&text]), [format!("a:4:41: {expected}")], "{path}");
        assert_eq!(super::help(&[&text]), [Some(help.to_owned())], "{path}");
    }
    for path in ["prefix: /static", "exact: /", "prefix: ''", "regex: 'static.*'"] {
        assert_eq!(findings(&[&rule(path)]), [""; 0], "{path}");
    }
}

#[test]
fn a_redirect_to_where_the_request_came_from_is_told() {
    let redirect = |text: &str| {
        findings(&[&format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: orders }}\nspec:\n  \
             parentRefs: [{{ kind: Service, group: '', name: orders }}]\n  \
             rules: [{{ filters: [{{ type: RequestRedirect, requestRedirect: {{ {text} }} }}] }}]\n\
             ---\nservices: {{ orders: {{ endpoints: [10.0.0.4:80] }} }}\n"
        )])
    };
    let told = "a:6:11: warning[MESH0505]: the redirect changes nothing: callers come back with the same URL";
    assert_eq!(redirect("statusCode: 301"), [told]);
    assert_eq!(redirect("scheme: https"), [""; 0]);
}

use std::time::Duration;

use http::StatusCode;

use super::*;
use crate::policy::model::authorizer::{BodyForm, CheckedBody, ExternalAuthorizer, LargerBody, OnFailure, Protocol};
use crate::policy::model::authz::Pattern;

/// An `IstioOperator` with these providers, written in line 4.
fn load_providers(providers: &str) -> Loaded {
    load(&format!(
        "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: {{ meshConfig: {{ extensionProviders: [\n{providers}] }} }}\n"
    ))
}

#[track_caller]
fn found(provider: &str) -> ExternalAuthorizer {
    let loaded = load_providers(provider);
    assert_eq!(loaded.lines, [""; 0], "{provider}");
    loaded.policy.authorizers[0].clone()
}

#[test]
fn a_provider_over_http_is_read_whole() {
    let found = found(
        "{ name: web, envoyExtAuthzHttp: { service: auth/Ext.auth.svc.cluster.local, port: 8000, timeout: 500ms, pathPrefix: /check,
           failOpen: true, statusOnError: '503', includeRequestHeadersInCheck: [X-User, x-t*, '*-id'],
           includeAdditionalHeadersInCheck: { x-from: mesh, X-Level: 3 }, headersToUpstreamOnAllow: [x-user],
           headersToDownstreamOnDeny: [x-reason], headersToDownstreamOnAllow: [x-rate],
           includeRequestBodyInCheck: { maxRequestBytes: 10, allowPartialMessage: true } } }",
    );
    assert_eq!(
        (found.meta.name.as_str(), found.service.as_str(), found.port),
        ("web", "ext.auth.svc.cluster.local", 8000)
    );
    assert_eq!(
        (found.timeout, found.on_failure),
        (Duration::from_millis(500), OnFailure::Allow)
    );
    assert_eq!(found.failure_status, StatusCode::SERVICE_UNAVAILABLE);
    let mut body = CheckedBody::new(10);
    body.larger = LargerBody::Part;
    assert_eq!(found.body, Some(body));
    let Protocol::Http(check) = found.protocol else {
        panic!("{found:?}")
    };
    assert_eq!(check.path_prefix, "/check");
    let expected = [
        Pattern::Exact("x-user".into()),
        Pattern::Prefix("x-t".into()),
        Pattern::Suffix("-id".into()),
    ];
    assert_eq!(check.request_headers, expected);
    let extra: Vec<_> = check
        .extra_headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    assert_eq!(extra, [("x-from", "mesh"), ("x-level", "3")]);
    let lists = [
        &check.to_server_on_allow,
        &check.to_caller_on_deny,
        &check.to_caller_on_allow,
    ];
    assert_eq!(lists.map(Vec::len), [1, 1, 1]);
}

#[test]
fn a_provider_waits_ten_minutes_and_denies_unless_it_says_otherwise() {
    let found = found("{ name: opa, envoyExtAuthzGrpc: { service: opa.auth.svc.cluster.local, port: 9191 } }");
    let expected = ExternalAuthorizer {
        meta: found.meta.clone(),
        service: "opa.auth.svc.cluster.local".into(),
        port: 9191,
        timeout: Duration::from_secs(600),
        ..ExternalAuthorizer::default()
    };
    assert_eq!(found, expected);
    assert_eq!(
        (found.on_failure, found.failure_status),
        (OnFailure::Deny, StatusCode::FORBIDDEN)
    );
}

#[test]
fn bytes_are_for_grpc() {
    let body = "service: a.b, port: 1, includeRequestBodyInCheck: { maxRequestBytes: 1, packAsBytes: true }";
    let grpc = found(&format!("{{ name: a, envoyExtAuthzGrpc: {{ {body} }} }}"));
    assert_eq!(grpc.body.map(|body| body.form), Some(BodyForm::Bytes));
    let http = load_providers(&format!("{{ name: a, envoyExtAuthzHttp: {{ {body} }} }}"));
    assert_eq!(
        http.lines,
        ["4:31: warning[MESH0505]: `packAsBytes` has no effect over HTTP, which has the bytes in any case"]
    );
}

fn with(fields: &str) -> String {
    format!("{{ name: a, envoyExtAuthzHttp: {{ service: a.b, port: 1, {fields} }} }}")
}

/// Each provider with the one thing that is said of it.
#[track_caller]
fn assert_told(table: &[(String, &str)]) {
    let told = table
        .iter()
        .map(|(provider, line)| (load_providers(provider).lines, vec![(*line).to_owned()]));
    let wrong: Vec<_> = told.filter(|(found, expected)| found != expected).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn providers_are_checked() {
    assert_told(&[
        (
            "{ envoyExtAuthzGrpc: { service: a.b, port: 1 } }".into(),
            "4:1: error[MESH0103]: missing field `name`",
        ),
        (
            "{ name: a }".into(),
            "4:1: error[MESH0103]: missing field `envoyExtAuthzHttp` or `envoyExtAuthzGrpc`",
        ),
        (
            "{ name: a, envoyExtAuthzGrpc: { port: 1 } }".into(),
            "4:31: error[MESH0103]: missing field `service`",
        ),
        (
            "{ name: a, zipkin: { service: a.b, port: 1 } }".into(),
            "4:12: warning[MESH0401]: field `zipkin` is not yet in force: providers are chosen for authorization alone",
        ),
        (
            "{ name: a, envoyExtAuthzGrpc: { service: a.b, port: 1, pathPrefix: /x } }".into(),
            "4:56: error[MESH0101]: unknown field `pathPrefix`",
        ),
        (
            "{ name: a, envoyExtAuthzGrpc: { service: 'a b', port: 1 } }".into(),
            "4:42: error[MESH0104]: `service`: expected the full name of a service such as `ext-authz.auth.svc.cluster.local`, found `a b`",
        ),
        (
            with("statusOnError: '200'"),
            "4:71: error[MESH0104]: `statusOnError`: expected a status of 400 to 599, found `200`",
        ),
        (
            with("pathPrefix: check"),
            "4:68: error[MESH0104]: `pathPrefix`: expected a path that begins with `/`, without a query, found `check`",
        ),
    ]);
}

#[test]
fn headers_and_bodies_of_checks_are_checked() {
    assert_told(&[
        (
            with("headersToUpstreamOnAllow: ['*']"),
            "4:83: error[MESH0104]: `headersToUpstreamOnAllow`: `*` alone matches no header: name them, or what they begin or end with",
        ),
        (
            with("includeHeadersInCheck: [x-a]"),
            "4:56: warning[MESH0503]: field `includeHeadersInCheck` is deprecated",
        ),
        (
            with("clearRouteCache: true"),
            "4:56: warning[MESH0505]: `clearRouteCache` has no effect: routes are chosen after the check, by the request as it is then",
        ),
        (
            with("includeAdditionalHeadersInCheck: { host: a }"),
            "4:91: error[MESH0104]: key `host`: the header cannot be changed: it says how the message is framed or routed",
        ),
        (
            with("includeRequestBodyInCheck: { allowPartialMessage: true }"),
            "4:83: error[MESH0103]: missing field `maxRequestBytes`",
        ),
        (
            with("includeRequestBodyInCheck: { maxRequestBytes: 0 }"),
            "4:102: error[MESH0104]: `maxRequestBytes`: expected a whole number of 1 to 1048576, found `0`",
        ),
    ]);
    let twice = "{ name: a, envoyExtAuthzGrpc: { service: a.b, port: 1 } }, ".repeat(2);
    assert_eq!(
        load_providers(&twice).lines,
        ["4:68: error[MESH0104]: `name`: the provider `a` is defined before"]
    );
}

#[test]
fn a_provider_is_the_same_as_a_native_authorizer() {
    use crate::policy::convert;

    const PROVIDERS: &str = "
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
spec:
  meshConfig:
    extensionProviders:
      - name: opa
        envoyExtAuthzGrpc:
          { service: opa.auth.svc.cluster.local, port: 9191, failOpen: true, includeRequestBodyInCheck: { maxRequestBytes: 9, packAsBytes: true } }
      - name: web
        envoyExtAuthzHttp:
          { service: web.auth.svc.cluster.local, port: 80, timeout: 3s, pathPrefix: /check, includeRequestHeadersInCheck: [x-a, x-b*, '*-c'],
            includeAdditionalHeadersInCheck: { x-from: mesh }, headersToUpstreamOnAllow: [x-d], headersToDownstreamOnDeny: [x-e] }
";
    let loaded = crate::policy::Loaded::from_files([("mesh.yaml", PROVIDERS)]);
    let documents = convert::to_native(&loaded).unwrap();
    let texts = documents
        .iter()
        .map(|one| format!("---\n{}\n", serde_json::to_string(one).unwrap()));
    let native = crate::policy::Loaded::from_files([("native.yaml", texts.collect::<String>())]);

    let authorizers = |loaded: &crate::policy::Loaded| -> Vec<ExternalAuthorizer> {
        let policy = loaded.policy.as_ref().unwrap();
        let without_origin = policy.authorizers.iter().map(|one| {
            let mut one = one.clone();
            one.meta.origin = Default::default();
            one
        });
        without_origin.collect()
    };
    assert_eq!(authorizers(&native), authorizers(&loaded));
    assert_eq!(authorizers(&native).len(), 2);
}

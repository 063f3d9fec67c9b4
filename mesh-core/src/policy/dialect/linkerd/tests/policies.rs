//! Servers and what allows something on them: what is told of wrong documents, and what they become.

use crate::policy::Loaded;
use crate::policy::model::authz::Pattern;
use crate::policy::model::route::StringMatch;

fn load(kind: &str, spec: &str) -> Loaded {
    let version = match kind {
        "Server" | "HTTPRoute" => "v1beta3",
        "ServerAuthorization" => "v1beta1",
        _ => "v1alpha1",
    };
    let text = format!(
        "apiVersion: policy.linkerd.io/{version}\nkind: {kind}\nmetadata: {{ name: x, namespace: shop }}\nspec: {{ {spec} }}\n"
    );
    Loaded::from_files([("f", text)])
}

fn told(kind: &str, spec: &str) -> Vec<String> {
    let loaded = load(kind, spec);
    loaded.report.lines(&loaded.sources)
}

#[test]
fn servers_that_are_wrong_or_not_in_force_are_told() {
    for (spec, expected) in [
        ("podSelector: {}, port: 8080, proxyProtocol: gRPC", &[] as &[&str]),
        (
            "podSelector: {}, port: 8080, proxyProtocol: opaque",
            &[
                "f:4:38: warning[MESH0505]: `proxyProtocol` has no effect: a server of this process takes HTTP, and authorizes its requests",
            ],
        ),
        (
            "port: 0, proxyProtocol: HTTP/3, accessPolicy: allow",
            &[
                "f:4:7: error[MESH0103]: missing field `podSelector` or `externalWorkloadSelector`",
                "f:4:15: error[MESH0104]: `port`: expected a whole number of 1 to 65535, found `0`",
                "f:4:33: error[MESH0104]: `proxyProtocol`: unknown value `HTTP/3`, expected `unknown`, `HTTP/1`, `HTTP/2`, `gRPC`, `opaque` or `TLS`",
                "f:4:55: error[MESH0104]: `accessPolicy`: unknown value `allow`, expected `deny`, `audit`, `all-unauthenticated`, `all-authenticated`, `cluster-unauthenticated` or `cluster-authenticated`",
            ],
        ),
        (
            "podSelector: {}, externalWorkloadSelector: {}, port: Http",
            &[
                "f:4:26: error[MESH0105]: fields `podSelector` and `externalWorkloadSelector` exclude each other",
                "f:4:62: error[MESH0104]: `port`: expected a port of 1 to 65535, or its name, found `Http`",
            ],
        ),
        (
            "externalWorkloadSelector: {}, port: http",
            &[
                "f:4:9: error[MESH0402]: field `externalWorkloadSelector` is not supported in a process: `ExternalWorkload`s are registered with a control plane; select by `podSelector`",
            ],
        ),
        (
            "podSelector: { matchExpressions: [{ key: app, operator: In }] }, port: http",
            &[
                "f:4:43: error[MESH0104]: `matchExpressions`: this operator needs `values`",
                "f:4:80: warning[MESH0401]: the port `http` is not yet in force: no file describes pods of this server with a port of that name",
            ],
        ),
        (
            "podSelector: {}, port: http",
            &[
                "f:4:32: warning[MESH0401]: the port `http` is not yet in force: no file describes pods of this server with a port of that name",
            ],
        ),
    ] {
        assert_eq!(told("Server", spec), expected, "{spec}");
    }
}

fn assert_told(cases: &[(&str, &str, &[&str])]) {
    for (kind, spec, expected) in cases {
        assert_eq!(told(kind, spec), *expected, "{kind} {spec}");
    }
}

#[test]
fn authorization_policies_that_are_wrong_are_told() {
    assert_told(&[
        (
            "AuthorizationPolicy",
            "targetRef: { kind: Pod, name: a }, requiredAuthenticationRefs: [{ group: policy.linkerd.io, kind: NetworkAuthentication, name: a }, { group: policy.linkerd.io, kind: NetworkAuthentication, name: b }, { kind: Secret, name: a }]",
            &[
                "f:4:20: error[MESH0104]: `targetRef`: expected a `Server`, `HTTPRoute` or `GRPCRoute`, or the own `Namespace`, found `Pod`",
                "f:4:141: error[MESH0301]: a policy asks for one network at most, found another one",
                "f:4:209: error[MESH0104]: `requiredAuthenticationRefs`: expected a `MeshTLSAuthentication`, `NetworkAuthentication` or `ServiceAccount`, found `Secret`",
            ],
        ),
        (
            "AuthorizationPolicy",
            "targetRef: { group: policy.linkerd.io, kind: Server, name: a }, requiredAuthenticationRefs: [{ kind: ServiceAccount, name: a }, { group: policy.linkerd.io, kind: MeshTLSAuthentication, name: b }]",
            &["f:4:137: error[MESH0301]: a policy asks for one identity at most, found another one"],
        ),
        (
            "AuthorizationPolicy",
            "targetRef: { group: policy.linkerd.io, kind: Server, name: a, namespace: b }",
            &[
                "f:4:7: error[MESH0103]: missing field `requiredAuthenticationRefs`",
                "f:4:20: error[MESH0104]: `targetRef`: a policy is for something of its own namespace",
            ],
        ),
        (
            "AuthorizationPolicy",
            "targetRef: { group: policy.linkerd.io, kind: HTTPRoute, name: a }, requiredAuthenticationRefs: [{ group: policy.linkerd.io, kind: MeshTLSAuthentication, name: b }]",
            &[
                "f:4:20: warning[MESH0506]: no file defines the `HTTPRoute` `a`: the policy changes nothing",
                "f:4:105: warning[MESH0506]: no file defines the `MeshTLSAuthentication` `b` of namespace `shop`: the policy allows nobody",
            ],
        ),
    ]);
}

#[test]
fn authentications_that_are_wrong_are_told() {
    assert_told(&[
        (
            "MeshTLSAuthentication",
            "identities: []",
            &["f:4:21: error[MESH0104]: `identities`: expected at least one item, found an empty list"],
        ),
        (
            "MeshTLSAuthentication",
            "identities: ['*'], identityRefs: []",
            &["f:4:28: error[MESH0105]: fields `identities` and `identityRefs` exclude each other"],
        ),
        (
            "MeshTLSAuthentication",
            "identityRefs: [{ kind: Namespace, name: a, namespace: b }, { kind: Pod, name: a }]",
            &[
                "f:4:24: error[MESH0104]: `identityRefs`: a namespace is named without `namespace`",
                "f:4:68: error[MESH0104]: `identityRefs`: expected a `ServiceAccount` or a `Namespace`, found `Pod`",
            ],
        ),
        (
            "MeshTLSAuthentication",
            "identities: ['some.id']",
            &["f:4:22: warning[MESH0505]: no caller has the identity `some.id`"],
        ),
        (
            "NetworkAuthentication",
            "networks: [{ cidr: 10.0.0.0/33 }, { cidr: 10.0.0.0/8, except: [10.0.0.0/7] }]",
            &[
                "f:4:28: error[MESH0104]: `cidr`: expected a network such as `10.0.0.0/8`, found `10.0.0.0/33`",
                "f:4:72: error[MESH0104]: `networks`: `10.0.0.0/7` excepts all of `10.0.0.0/8`",
            ],
        ),
    ]);
}

#[test]
fn server_authorizations_that_are_wrong_are_told() {
    assert_told(&[
        (
            "ServerAuthorization",
            "server: {}, client: {}",
            &[
                "f:4:17: error[MESH0103]: missing field `name` or `selector`",
                "f:4:29: error[MESH0103]: missing field `unauthenticated` or `meshTLS`",
            ],
        ),
        (
            "ServerAuthorization",
            "server: { name: a, selector: {} }, client: { meshTLS: { unauthenticatedTLS: true, identities: ['*'] } }",
            &[
                "f:4:28: error[MESH0105]: fields `name` and `selector` exclude each other",
                "f:4:103: error[MESH0105]: `unauthenticatedTLS` allows every client that speaks TLS: names beside it ask for some",
            ],
        ),
        (
            "ServerAuthorization",
            "server: { name: a }, client: { meshTLS: {} }",
            &["f:4:49: error[MESH0103]: missing field `unauthenticatedTLS`, `identities` or `serviceAccounts`"],
        ),
    ]);
}

#[test]
fn rate_limits_and_networks_outside_are_checked() {
    for (kind, spec, expected) in [
        (
            "HTTPLocalRateLimitPolicy",
            "targetRef: { group: policy.linkerd.io, kind: Server, name: a }, total: { requestsPerSecond: 0 }, overrides: [{ requestsPerSecond: 1, clientRefs: [{ kind: Pod, name: a }] }]",
            &[
                "f:2:7: warning[MESH0401]: kind `HTTPLocalRateLimitPolicy` is not yet in force: requests are not counted by the second",
                "f:4:101: error[MESH0104]: `requestsPerSecond`: expected a whole number of 1 to 4294967295, found `0`",
                "f:4:155: error[MESH0104]: `clientRefs`: expected a `ServiceAccount`, found `Pod`",
            ] as &[&str],
        ),
        (
            "HTTPLocalRateLimitPolicy",
            "targetRef: { kind: Service, name: a }",
            &[
                "f:4:7: error[MESH0103]: missing field `total`, `identity` or `overrides`",
                "f:4:20: error[MESH0104]: `targetRef`: expected a `Server` of `policy.linkerd.io`, found `Service`",
            ],
        ),
        ("EgressNetwork", "trafficPolicy: Allow", &[]),
        (
            "EgressNetwork",
            "trafficPolicy: Deny, networks: [{ cidr: 0.0.0.0/0, except: [10.0.0.0/8] }]",
            &[
                "f:4:9: warning[MESH0401]: `trafficPolicy` `Deny` is not yet in force: the settings of the mesh say otherwise, for all namespaces",
            ],
        ),
        (
            "EgressNetwork",
            "networks: []",
            &["f:4:7: error[MESH0103]: missing field `trafficPolicy`"],
        ),
    ] {
        assert_eq!(told(kind, spec), expected, "{kind} {spec}");
    }
}

#[test]
fn routes_of_servers_change_no_requests() {
    for (spec, expected) in [
        (
            "parentRefs: [{ group: policy.linkerd.io, kind: Server, name: a }], rules: [{ timeouts: { request: 1s } }, {}]",
            &[
                "f:4:22: warning[MESH0506]: no file defines the server `a` of the route's own namespace: the route changes nothing there",
                "f:4:84: warning[MESH0401]: filters, backends, timeouts and retries of a server's route are not yet in force: it says what may be asked for",
            ] as &[&str],
        ),
        (
            "parentRefs: [{ group: policy.linkerd.io, kind: EgressNetwork, name: a }], rules: [{}]",
            &[
                "f:4:22: warning[MESH0401]: parent `EgressNetwork` is not yet in force: requests to the outside are not routed",
            ],
        ),
    ] {
        assert_eq!(told("HTTPRoute", spec), expected, "{spec}");
    }
}

#[test]
fn a_grpc_route_of_a_server_takes_post_only() {
    let server = "apiVersion: policy.linkerd.io/v1beta3\nkind: Server\nmetadata: { name: web, namespace: shop }\nspec: { podSelector: {}, port: 80 }\n";
    for (kind, method) in [
        ("GRPCRoute", Some(StringMatch::Exact("POST".into()))),
        ("HTTPRoute", None),
    ] {
        let text = format!(
            "{server}---\napiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{ name: x, namespace: shop }}\nspec: {{ parentRefs: [{{ group: policy.linkerd.io, kind: Server, name: web }}], rules: [{{}}] }}\n"
        );
        let policy = Loaded::from_files([("f", text)]).policy.unwrap();
        let methods = policy.servers[0].rules.iter().map(|rule| &rule.matches.method);
        assert_eq!(methods.collect::<Vec<_>>(), [&method], "{kind}");
    }
}

#[test]
fn an_empty_list_of_identities_is_nobody() {
    let text = "apiVersion: policy.linkerd.io/v1beta3\nkind: Server\nmetadata: { name: a }\nspec: { podSelector: {}, port: 1 }\n---\napiVersion: policy.linkerd.io/v1beta1\nkind: ServerAuthorization\nmetadata: { name: b }\nspec: { server: { name: a }, client: { meshTLS: { identities: [] } } }\n";
    let policy = Loaded::from_files([("f", text)]).policy.unwrap();

    let [server] = policy.servers.as_slice() else {
        panic!("one server: {policy:?}")
    };
    assert_eq!(server.policies.len(), 1);
    assert!(server.policies[0].rules.is_empty());
}

#[test]
fn rate_limits_are_in_the_model() {
    let loaded = load(
        "HTTPLocalRateLimitPolicy",
        "targetRef: { group: policy.linkerd.io, kind: Server, name: web }, total: { requestsPerSecond: 100 }, identity: { requestsPerSecond: 20 }, overrides: [{ requestsPerSecond: 25, clientRefs: [{ kind: ServiceAccount, name: special }] }]",
    );
    let limit = &loaded.policy.unwrap().rate_limits[0];
    assert_eq!(
        (limit.server.as_str(), limit.total, limit.identity),
        ("web", Some(100), Some(20))
    );
    assert_eq!(limit.overrides[0].per_second, 25);
    let client = Pattern::Exact("cluster.local/ns/shop/sa/special".into());
    assert_eq!(limit.overrides[0].clients, [client]);
}

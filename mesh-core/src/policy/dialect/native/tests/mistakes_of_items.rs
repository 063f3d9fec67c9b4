//! What is written in sections beside services and routes and cannot be meant, with its place and message.

use super::*;

const ACCESS_THAT_CANNOT_BE_MEANT_IS_REFUSED: &[(&str, &[&str])] = &[
    (
        "allow: [{ when: [{ attribute: source.ip, values: [x] }] }]",
        &["78: error[MESH0104]: `values`: expected an IP address or a block such as `10.0.0.0/8`, found `x`"],
    ),
    (
        "allow: [{ when: [{ attribute: destination.port, values: [x] }] }]",
        &["85: error[MESH0104]: `values`: expected a port such as `\"8080\"`, found `x`"],
    ),
    (
        "allow: [{ sources: [] }]",
        &["47: error[MESH0104]: `sources`: expected at least one value, found an empty list"],
    ),
    (
        "allow: [{ sources: [{ ip: [10.0.0.1] }], trust_domains: [a] }]",
        &["69: error[MESH0105]: fields `sources` and `trust_domains` exclude each other"],
    ),
    (
        "allow: [{ operations: [{ methods: [GET] }], headers: { a: b } }]",
        &["72: error[MESH0105]: fields `operations` and `headers` exclude each other"],
    ),
    (
        "allow: [{ operations: [{ methods: [GET] }], targets: [/a] }]",
        &["72: error[MESH0105]: fields `operations` and `targets` exclude each other"],
    ),
    (
        "allow: [{ paths: [{ template: '/a/{x' }] }]",
        &["58: error[MESH0104]: `template`: expected `{*}`, `{**}` or plain text as a segment, found `{x`"],
    ),
    (
        "allow: [{ paths: [{ present: false }] }]",
        &["57: error[MESH0104]: `present`: expected `true`; leave it out if it is not so"],
    ),
    (
        "allow: [{ trust_domains: [a*b] }]",
        &["54: error[MESH0104]: `trust_domains`: expected one `*`, at the start or at the end, found `a*b`"],
    ),
    (
        "allow: [{ authorities: ['a*b'] }]",
        &["52: error[MESH0104]: `authorities`: expected one `*`, at the start or at the end, found `a*b`"],
    ),
    (
        "targets: [], allow: []",
        &["37: error[MESH0104]: `targets`: expected at least one value, found an empty list"],
    ),
    (
        "targets: [{ kind: gateway, name: front }], selector: { app: x }, allow: []",
        &["71: error[MESH0105]: fields `targets` and `selector` exclude each other"],
    ),
    (
        "targets: [{ kind: service, name: orders }, { kind: service_entry, name: o }], deny: [{}]",
        &[
            "46: warning[MESH0401]: target `service` is not yet in force: waypoints guard it, and no process is one; pick its workloads with `selector`",
            "79: warning[MESH0401]: target `service_entry` is not yet in force: waypoints guard it, and no process is one; pick its workloads with `selector`",
        ],
    ),
    (
        "provider: x, allow: []",
        &["28: error[MESH0301]: `provider` is for the rules of `custom`"],
    ),
    (
        "action: ALLOW, rules: []",
        &[
            "28: error[MESH0101]: unknown field `action`",
            "43: error[MESH0101]: unknown field `rules`",
        ],
    ),
];

#[test]
fn access_that_cannot_be_meant_is_refused() {
    assert_lines(
        "authorization: [{ name: a, @ }]",
        ACCESS_THAT_CANNOT_BE_MEANT_IS_REFUSED,
    );
}

const SERVERS_THAT_CANNOT_BE_ARE_REFUSED: &[(&str, &[&str])] = &[
    ("ports: [80, 80]", &["34: error[MESH0202]: port `80` is given twice"]),
    (
        "ports: [80], rules: [{ route: 0 }]",
        &["52: error[MESH0201]: `route`: there is no route 0 in `routes`, which has 0"],
    ),
    (
        "ports: [80], rules: [{ route: 1 }], routes: [{ meta: { name: a, namespace: b } }]",
        &["52: error[MESH0201]: `route`: there is no route 1 in `routes`, which has 1"],
    ),
    (
        "ports: [80], routes: [{}]",
        &["44: error[MESH0103]: missing field `meta`"],
    ),
    (
        "ports: [80], routes: [{ meta: {} }]",
        &[
            "52: error[MESH0103]: missing field `name`",
            "52: error[MESH0103]: missing field `namespace`",
        ],
    ),
    (
        "ports: [80], selector: [{ label: a, is: { in: [] } }]",
        &["68: error[MESH0104]: `in`: expected at least one value, found an empty list"],
    ),
    (
        "ports: [80], selector: [{ label: a, is: { present: false } }]",
        &["73: error[MESH0104]: `present`: expected `true`; leave it out if it is not so"],
    ),
    (
        "ports: [80], policies: [{ name: x, namespace: 'A b', allow: [] }]",
        &[
            "68: error[MESH0104]: `namespace`: expected a namespace of lower-case letters, digits and `-`, at most 63, found `A b`",
        ],
    ),
];

#[test]
fn servers_that_cannot_be_are_refused() {
    assert_lines("servers: [{ name: s, @ }]", SERVERS_THAT_CANNOT_BE_ARE_REFUSED);
}

const PROFILES_IN_FULL_ARE_CHECKED: &[(&str, &[&str])] = &[
    (
        "routes: [{ name: a, condition: { method: GET }, response_classes: [{ condition: { status: { min: 600, max: 500 } }, is: failure }] }]",
        &["134: error[MESH0104]: `min`: expected a whole number of 100 to 599, found `600`"],
    ),
    (
        "routes: [{ name: a, condition: { method: GET }, response_classes: [{ condition: { status: { min: 1, max: 500 } }, is: failure }] }]",
        &["134: error[MESH0104]: `min`: expected a whole number of 100 to 599, found `1`"],
    ),
    (
        "routes: [{ name: a, condition: { method: GET }, response_classes: [{ condition: { status: { min: 500, max: 599 } } }] }]",
        &["104: error[MESH0103]: missing field `is`"],
    ),
    (
        "overrides: []",
        &["48: error[MESH0104]: `overrides`: expected at least one value, found an empty list"],
    ),
];

#[test]
fn profiles_in_full_are_checked() {
    assert_lines("profiles: [{ name: p, host: orders, @ }]", PROFILES_IN_FULL_ARE_CHECKED);
}

const SERVICES_IN_FULL_ARE_CHECKED: &[(&str, &[&str])] = &[
    (
        "{ name: a, hosts: [] }",
        &["30: error[MESH0104]: `hosts`: expected at least one value, found an empty list"],
    ),
    (
        "{ name: a, hosts: [a], ports: [{ number: 80, name: x }, { number: 80, name: y }] }",
        &["78: error[MESH0202]: port number `80` is given twice"],
    ),
    (
        "{ name: a, hosts: [a], ports: [{ number: 80, name: x }, { number: 81, name: x }] }",
        &["88: error[MESH0202]: port name `x` is given twice"],
    ),
];

#[test]
fn services_in_full_are_checked() {
    assert_lines("services: [@]", SERVICES_IN_FULL_ARE_CHECKED);
}

const GATEWAYS_IN_FULL_ARE_CHECKED: &[(&str, &[&str])] = &[
    (
        "servers: []",
        &["32: error[MESH0104]: `servers`: expected at least one value, found an empty list"],
    ),
    (
        "servers: [{ port: 80, name: a, hosts: [] }]",
        &["61: error[MESH0104]: `hosts`: expected at least one value, found an empty list"],
    ),
    (
        "servers: [{ port: 80, name: a, hosts: ['*'] }, { port: 81, name: a, hosts: ['*'] }]",
        &["88: error[MESH0202]: port name `a` is given twice"],
    ),
    (
        "servers: [{ port: 443, name: a, hosts: ['*'], tls: { credential: ../x } }]",
        &[
            "88: error[MESH0104]: `credential`: expected the name of a folder with `tls.crt` and `tls.key`, found `../x`",
        ],
    ),
    (
        "servers: [{ port: 443, name: a, hosts: ['*'], tls: { credential: x }, plain_text: redirect_to_https }]",
        &["105: error[MESH0301]: `plain_text` is for a port without `tls`"],
    ),
];

#[test]
fn gateways_in_full_are_checked() {
    assert_lines("gateways: [{ name: g, @ }]", GATEWAYS_IN_FULL_ARE_CHECKED);
}

const TOKENS_ARE_CHECKED: &[(&str, &[&str])] = &[
    (
        "rules: []",
        &["44: error[MESH0104]: `rules`: expected at least one value, found an empty list"],
    ),
    (
        "rules: [{}]",
        &["45: error[MESH0103]: missing field `issuer`, or `fetched` of `keys`"],
    ),
    (
        "rules: [{ issuer: a, keys: { discovered: false } }]",
        &["78: error[MESH0104]: `discovered`: expected `true`; leave it out if it is not so"],
    ),
    (
        "rules: [{ issuer: a, jwksUri: 'https://x' }]",
        &["58: error[MESH0101]: unknown field `jwksUri`"],
    ),
];

#[test]
fn tokens_are_checked() {
    assert_lines("request_authentication: [{ name: r, @ }]", TOKENS_ARE_CHECKED);
}

const TELEMETRY_THAT_CANNOT_BE_ARE_REFUSED: &[(&str, &[&str])] = &[
    (
        "sampling_percent: 101",
        &[
            "13: warning[MESH0401]: `telemetry` is not yet in force: everything is measured, traced by the service and logged by the mesh's settings",
            "42: error[MESH0104]: `sampling_percent`: expected a number of 0 to 100, found `101`",
        ],
    ),
    (
        "sampling_percent: -1",
        &[
            "13: warning[MESH0401]: `telemetry` is not yet in force: everything is measured, traced by the service and logged by the mesh's settings",
            "42: error[MESH0104]: `sampling_percent`: expected a number of 0 to 100, found `-1`",
        ],
    ),
    (
        "metrics: []",
        &[
            "13: warning[MESH0401]: `telemetry` is not yet in force: everything is measured, traced by the service and logged by the mesh's settings",
            "33: error[MESH0104]: `metrics`: expected at least one value, found an empty list",
        ],
    ),
];

#[test]
fn telemetry_that_cannot_be_are_refused() {
    assert_lines("telemetry: [{ name: r, @ }]", TELEMETRY_THAT_CANNOT_BE_ARE_REFUSED);
}

const MESH_THAT_CANNOT_BE_ARE_REFUSED: &[(&str, &[&str])] = &[
    (
        "trust_domain_aliases: ['a b']",
        &[
            "32: error[MESH0104]: `trust_domain_aliases`: expected a trust domain such as `cluster.local`, in lower case, found `a b`",
        ],
    ),
    (
        "trust_domain_aliases: ['spiffe://a']",
        &[
            "32: error[MESH0104]: `trust_domain_aliases`: expected a trust domain such as `cluster.local`, in lower case, found `spiffe://a`",
        ],
    ),
    (
        "trust_domain_aliases: [A.b]",
        &[
            "32: error[MESH0104]: `trust_domain_aliases`: expected a trust domain such as `cluster.local`, in lower case, found `A.b`",
        ],
    ),
    (
        "trust_domain_aliases: ['']",
        &[
            "32: error[MESH0104]: `trust_domain_aliases`: expected a trust domain such as `cluster.local`, in lower case, found ``",
        ],
    ),
    (
        "trust_domain_aliases: ['*.b']",
        &[
            "32: error[MESH0104]: `trust_domain_aliases`: expected a trust domain such as `cluster.local`, in lower case, found `*.b`",
        ],
    ),
    (
        "trust_domain_aliases: ['a/b']",
        &[
            "32: error[MESH0104]: `trust_domain_aliases`: expected a trust domain such as `cluster.local`, in lower case, found `a/b`",
        ],
    ),
];

#[test]
fn mesh_that_cannot_be_are_refused() {
    assert_lines("mesh: { @ }", MESH_THAT_CANNOT_BE_ARE_REFUSED);
}

const AUTHORIZERS_THAT_CANNOT_BE_ARE_REFUSED: &[(&str, &[&str])] = &[
    (
        "protocol: { grpc: true }, port: 1",
        &["15: error[MESH0103]: missing field `service`"],
    ),
    (
        "protocol: { grpc: false }, service: a, port: 1",
        &["44: error[MESH0104]: `grpc`: expected `true`; leave it out if it is not so"],
    ),
    (
        "protocol: { grpc: true, http: {} }, service: a, port: 1",
        &["50: error[MESH0105]: fields `grpc` and `http` exclude each other"],
    ),
    (
        "protocol: { http: { request_headers: ['a b'] } }, service: a, port: 1",
        &[
            "64: error[MESH0104]: `request_headers`: expected the name of a header, which may begin or end with `*`, found `a b`",
        ],
    ),
    (
        "protocol: { http: { extra_headers: { x-a: \"a\\nb\" } } }, service: a, port: 1",
        &["68: error[MESH0104]: `x-a`: expected printable ASCII, as headers have it, found `a\\nb`"],
    ),
    (
        "protocol: { grpc: true }, service: a, port: 1, failure_status: 302",
        &["89: error[MESH0104]: `failure_status`: expected a status of 400 to 599, found `302`"],
    ),
    (
        "protocol: { grpc: true }, service: a, port: 1, body: { larger: part }",
        &["79: error[MESH0103]: missing field `limit`"],
    ),
];

#[test]
fn authorizers_that_cannot_be_are_refused() {
    assert_lines("authorizers: [{ name: r, @ }]", AUTHORIZERS_THAT_CANNOT_BE_ARE_REFUSED);
}

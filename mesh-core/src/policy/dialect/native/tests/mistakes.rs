//! What is written in the newer fields and cannot be meant, with its place and message.

use super::*;

const RULES_THAT_MEAN_NOTHING_ARE_REFUSED: &[(&str, &[&str])] = &[
    (
        "{ redirect: {} }",
        &["72: error[MESH0103]: missing field `scheme`, `authority`, `port` or `path`"],
    ),
    (
        "{ redirect: { status: 200, authority: a.b } }",
        &["82: error[MESH0104]: `status`: expected 301, 302, 303, 307 or 308, found `200`"],
    ),
    (
        "{ redirect: { status: 999, scheme: https } }",
        &["82: error[MESH0104]: `status`: expected a whole number of 0 to 599, found `999`"],
    ),
    (
        "{ redirect: { scheme: ftp } }",
        &["82: error[MESH0104]: `scheme`: unknown value `ftp`, expected `http` or `https`"],
    ),
    (
        "{ redirect: { authority: 'a b' } }",
        &["85: error[MESH0104]: `authority`: expected a host, with or without a port, found `a b`"],
    ),
    (
        "{ redirect: { authority: 'http://x/y' } }",
        &["85: error[MESH0104]: `authority`: expected a host, with or without a port, found `http://x/y`"],
    ),
    (
        "{ redirect: { path: { segment_prefix: x } } }",
        &["98: error[MESH0104]: `segment_prefix`: expected a path that begins with `/`, without a query, found `x`"],
    ),
    (
        "{ respond: { status: 99 } }",
        &["81: error[MESH0104]: `status`: expected a whole number of 200 to 600, found `99`"],
    ),
    (
        "{ respond: { status: 150 } }",
        &["81: error[MESH0104]: `status`: expected a whole number of 200 to 600, found `150`"],
    ),
    (
        "{ respond: { status: 999 } }",
        &["81: error[MESH0104]: `status`: expected a whole number of 200 to 600, found `999`"],
    ),
    (
        "{ redirect: { scheme: https }, rewrite: { path: { full: /a } } }",
        &["91: error[MESH0105]: fields `redirect` and `rewrite` exclude each other"],
    ),
    (
        "{ rewrite: { path: { full: /a } }, respond: { status: 200 } }",
        &["95: error[MESH0105]: fields `rewrite` and `respond` exclude each other"],
    ),
    (
        "{ redirect: { scheme: https }, timeout: 1s, retry: { attempts: 1 }, mirrors: [{ to: { service: orders } }] }",
        &[
            "91: warning[MESH0505]: `timeout` has no effect: the rule forwards no request",
            "104: warning[MESH0505]: `retry` has no effect: the rule forwards no request",
            "128: warning[MESH0505]: `mirrors` has no effect: the rule forwards no request",
        ],
    ),
    (
        "{ respond: { status: 200 }, timeout: 1s }",
        &["88: warning[MESH0505]: `timeout` has no effect: the rule forwards no request"],
    ),
    (
        "{ respond: { status: 200 }, fault: { delay: { duration: 1s } }, headers: { request: { remove: [a] } } }",
        &[],
    ),
    (
        "{ rewrite: {} }",
        &["71: warning[MESH0505]: an empty mapping has no effect here"],
    ),
    (
        "{ rewrite: { authority: 'a b' } }",
        &["84: error[MESH0104]: `authority`: expected a host, with or without a port, found `a b`"],
    ),
    (
        "{ rewrite: { authority: '' } }",
        &["84: error[MESH0104]: `authority`: expected a host, with or without a port, found ``"],
    ),
    (
        "{ rewrite: { authority: 'http://a/' } }",
        &["84: error[MESH0104]: `authority`: expected a host, with or without a port, found `http://a/`"],
    ),
    (
        "{ rewrite: { path: { full: x } } }",
        &["87: error[MESH0104]: `full`: expected a path that begins with `/`, without a query, found `x`"],
    ),
    (
        "{ rewrite: { path: { full: '/a?b=1' } } }",
        &["87: error[MESH0104]: `full`: expected a path that begins with `/`, without a query, found `/a?b=1`"],
    ),
    (
        "{ rewrite: { path: { full: '/a b' } } }",
        &["87: error[MESH0104]: `full`: expected a path that begins with `/`, without a query, found `/a b`"],
    ),
    (
        "{ rewrite: { path: { segment_prefix: x } } }",
        &["97: error[MESH0104]: `segment_prefix`: expected a path that begins with `/`, without a query, found `x`"],
    ),
    (
        "{ rewrite: { path: { regex: { pattern: '/(a)', with: '\\2' } } } }",
        &["113: error[MESH0104]: `with`: the last group of the regex is 1, found `\\2`"],
    ),
    (
        "{ rewrite: { path: { regex: { pattern: '/(a)', with: '\\x' } } } }",
        &["113: error[MESH0104]: `with`: expected the number of a group behind `\\`, such as `\\1`"],
    ),
    (
        "{ headers: {} }",
        &["71: warning[MESH0505]: an empty mapping has no effect here"],
    ),
    (
        "{ headers: { request: {} } }",
        &["82: warning[MESH0505]: an empty mapping has no effect here"],
    ),
    (
        "{ headers: { request: { remove: [] } } }",
        &["92: error[MESH0104]: `remove`: expected at least one value, found an empty list"],
    ),
    (
        "{ headers: { request: { remove: [host] } } }",
        &[
            "93: error[MESH0104]: `remove`: header `host` cannot be changed: it says how the message is framed or routed",
        ],
    ),
    (
        "{ headers: { request: { set: { host: x } } } }",
        &["91: error[MESH0104]: key `host`: the header cannot be changed: it says how the message is framed or routed"],
    ),
    (
        "{ headers: { request: { set: { x-a: '%FOO' } } } }",
        &[
            "96: error[MESH0104]: `x-a`: `%` begins a variable that does not end in `%FOO`: a literal percent sign is written twice",
        ],
    ),
    (
        "{ headers: { request: { set: { x-a: \"a\\nb\" } } } }",
        &["96: error[MESH0104]: `x-a`: expected text without control characters, found `a\\nb`"],
    ),
    (
        "{ headers: { request: { set: [x-a] } } }",
        &["90: error[MESH0102]: `set`: expected a mapping, found the text `x-a`"],
    ),
    (
        "{ headers: { request: { add: [{ x-a: b }, 3] } } }",
        &["102: error[MESH0102]: `add`: expected a mapping, found the number `3`"],
    ),
    (
        "{ headers: { request: { set: { x-a: 1, X-A: 2 } } } }",
        &["99: error[MESH0104]: key `X-A`: the same key, written otherwise, is given before"],
    ),
    (
        "{ headers: { request: { set: { x-a: [b] } } } }",
        &["96: error[MESH0102]: `x-a`: expected text, found a list"],
    ),
    (
        "{ fault: {} }",
        &["69: warning[MESH0505]: an empty mapping has no effect here"],
    ),
    (
        "{ fault: { delay: { duration: 0s } } }",
        &["90: error[MESH0104]: `duration`: expected at least `1ms`, found `0s`"],
    ),
    (
        "{ fault: { delay: { duration: 1s, percent: 0.00001 } } }",
        &["103: error[MESH0104]: `percent`: expected at most four decimals, found `0.00001`"],
    ),
    (
        "{ fault: { abort: { status: 99 } } }",
        &["88: error[MESH0104]: `status`: expected a whole number of 200 to 600, found `99`"],
    ),
    (
        "{ fault: { abort: { status: 150 } } }",
        &["88: error[MESH0104]: `status`: expected a whole number of 200 to 600, found `150`"],
    ),
    (
        "{ fault: { abort: { status: 700 } } }",
        &["88: error[MESH0104]: `status`: expected a whole number of 200 to 600, found `700`"],
    ),
    (
        "{ mirrors: [] }",
        &["71: error[MESH0104]: `mirrors`: expected at least one value, found an empty list"],
    ),
    (
        "{ cors: {} }",
        &["68: warning[MESH0505]: `cors` has no effect without `allow_origins`"],
    ),
    (
        "{ cors: { allow_origins: [] } }",
        &["85: error[MESH0104]: `allow_origins`: expected at least one value, found an empty list"],
    ),
    (
        "{ cors: { allow_origins: ['*'], allow_methods: [get] } }",
        &["108: error[MESH0104]: `allow_methods`: expected a method such as `GET`, or `*`, found `get`"],
    ),
    (
        "{ cors: { allow_origins: ['*'], allow_headers: ['a b'] } }",
        &["108: error[MESH0104]: `allow_headers`: expected the name of a header, or `*`, found `a b`"],
    ),
    (
        "{ cors: { allow_origins: ['*'], max_age: 1500ms } }",
        &["101: error[MESH0104]: `max_age`: expected whole seconds, found `1500ms`"],
    ),
    (
        "{ cors: { allow_origins: [''] } }",
        &["86: error[MESH0104]: `allow_origins`: expected an origin, found empty text"],
    ),
    (
        "{ to: [{ service: orders, weight: 0 }] }",
        &["66: error[MESH0104]: `to`: the weights of all destinations are 0, one must be more"],
    ),
    (
        "{ match: { headers: [a] } }",
        &["81: error[MESH0102]: `headers`: expected a mapping, found the text `a`"],
    ),
];

#[test]
fn rules_that_mean_nothing_are_refused() {
    assert_lines(
        "services: { orders: { endpoints: ['10.0.0.1:80'], routes: [@] } }",
        RULES_THAT_MEAN_NOTHING_ARE_REFUSED,
    );
}

const TABLES_THAT_MEAN_NOTHING_ARE_REFUSED: &[(&str, &[&str])] = &[
    (
        "{ name: t, hosts: [a.b], tcp: [], rules: [{ to: orders }] }",
        &[
            "f:2:35: warning[MESH0401]: field `tcp` is not yet in force: connections are not routed",
            "f:2:40: error[MESH0104]: `tcp`: expected at least one value, found an empty list",
        ],
    ),
    (
        "{ name: t, hosts: [a.b], tcp: [] }",
        &[
            "f:2:10: error[MESH0103]: missing field `rules`",
            "f:2:35: warning[MESH0401]: field `tcp` is not yet in force: connections are not routed",
            "f:2:40: error[MESH0104]: `tcp`: expected at least one value, found an empty list",
        ],
    ),
    (
        "{ name: t, hosts: [a.b], tls: [{ match: [{ sni: [] }], to: orders }] }",
        &[
            "f:2:35: warning[MESH0401]: field `tls` is not yet in force: connections are not routed",
            "f:2:58: error[MESH0104]: `sni`: expected at least one value, found an empty list",
        ],
    ),
    (
        "{ name: t, hosts: [a.b], tcp: [{ match: [] , to: orders }] }",
        &[
            "f:2:35: warning[MESH0401]: field `tcp` is not yet in force: connections are not routed",
            "f:2:50: error[MESH0104]: `match`: expected at least one value, found an empty list",
        ],
    ),
    (
        "{ name: t, hosts: [a.b], gateways: [{ gateway: mesh, port: 3 }], rules: [{ to: orders }] }",
        &["f:2:46: error[MESH0104]: `gateways`: expected the name of a gateway, and `mesh` is none: write it alone"],
    ),
];

#[test]
fn tables_that_mean_nothing_are_refused() {
    assert_lines(
        "services: { orders: { endpoints: ['10.0.0.1:80'] } }\nroutes: [@]",
        TABLES_THAT_MEAN_NOTHING_ARE_REFUSED,
    );
}

const SETTINGS_THAT_CANNOT_BE_ARE_REFUSED: &[(&str, &[&str])] = &[
    (
        "balance: { passthrough: false }",
        &["75: error[MESH0104]: `passthrough`: expected `true`; leave it out if it is not so"],
    ),
    (
        "hash: { source_ip: false }",
        &[
            "51: warning[MESH0401]: field `hash` is not yet in force: requests are not hashed",
            "70: error[MESH0104]: `source_ip`: expected `true`; leave it out if it is not so",
        ],
    ),
    (
        "warmup: { duration: 1s, minimum_percent: 101 }",
        &[
            "51: warning[MESH0401]: field `warmup` is not yet in force: new endpoints get their full share at once",
            "92: error[MESH0104]: `minimum_percent`: expected a number of 0 to 100, found `101`",
        ],
    ),
    (
        "warmup: { duration: 1s, aggression: 0 }",
        &[
            "51: warning[MESH0401]: field `warmup` is not yet in force: new endpoints get their full share at once",
            "87: error[MESH0104]: `aggression`: expected at least 1, found `0`",
        ],
    ),
    (
        "tls: { disable: false }",
        &["67: error[MESH0104]: `disable`: expected `true`; leave it out if it is not so"],
    ),
    (
        "outliers: { error_codes: [] }",
        &["76: error[MESH0104]: `error_codes`: expected at least one value, found an empty list"],
    ),
    (
        "outliers: { error_codes: [700] }",
        &["77: error[MESH0104]: `error_codes`: expected a whole number of 100 to 599, found `700`"],
    ),
];

#[test]
fn settings_that_cannot_be_are_refused() {
    assert_lines(
        "services: { orders: { endpoints: ['10.0.0.1:80'], @ } }",
        SETTINGS_THAT_CANNOT_BE_ARE_REFUSED,
    );
}

const NAMES_OF_OTHER_DIALECTS_ARE_HELPED: &[(&str, &str)] = &[
    (
        "services: { orders: { endpoints: ['10.0.0.1:80'], routes: [{ rewrite: { uri: /a } }] } }",
        "path",
    ),
    (
        "services: { orders: { endpoints: ['10.0.0.1:80'], routes: [{ fault: { abort: { httpStatus: 500 } } }] } }",
        "status",
    ),
    (
        "authorization: [{ name: a, allow: [{ when: [{ key: source.ip, values: [10.0.0.1] }] }] }]",
        "attribute",
    ),
    (
        "services: { orders: { endpoints: ['10.0.0.1:80'], outlier_detection: {} } }",
        "outliers",
    ),
    (
        "services: { orders: { endpoints: ['10.0.0.1:80'], outlierDetection: {} } }",
        "outliers",
    ),
    (
        "services: { orders: { endpoints: ['10.0.0.1:80'], connectionPool: {} } }",
        "limits",
    ),
    (
        "services: { orders: { endpoints: ['10.0.0.1:80'], loadBalancer: x } }",
        "balance",
    ),
    (
        "services: { orders: { endpoints: ['10.0.0.1:80'], limits: { maxConnections: 3 } } }",
        "connections",
    ),
    (
        "services: { orders: { endpoints: ['10.0.0.1:80'], outliers: { consecutive5xxErrors: 3 } } }",
        "consecutive_5xx",
    ),
    (
        "services: { orders: { endpoints: ['10.0.0.1:80'], routes: [{ fault: { abort: { http_status: 500 } } }] } }",
        "status",
    ),
    (
        "services: { orders: { endpoints: ['10.0.0.1:80'], routes: [{ directResponse: { status: 200 } }] } }",
        "respond",
    ),
    (
        "services: { orders: { endpoints: ['10.0.0.1:80'], routes: [{ corsPolicy: {} }] } }",
        "cors",
    ),
    (
        "services: { orders: { endpoints: ['10.0.0.1:80'], routes: [{ retries: { attempts: 1 } }] } }",
        "retry",
    ),
    (
        "services: { orders: { endpoints: ['10.0.0.1:80'], routes: [{ route: [{ destination: { host: a } }] }] } }",
        "to",
    ),
    (
        "services: { orders: { endpoints: ['10.0.0.1:80'], routes: [{ to: [{ host: orders }] }] } }",
        "service",
    ),
    (
        "services: { orders: { endpoints: ['10.0.0.1:80'], routes: [{ to: [{ destination: orders }] }] } }",
        "service",
    ),
    (
        "services: { orders: { endpoints: ['10.0.0.1:80'], routes: [{ match: { uri: { prefix: /a } } }] } }",
        "path",
    ),
    (
        "services: { orders: { endpoints: ['10.0.0.1:80'], routes: [{ match: { queryParams: { a: b } } }] } }",
        "query",
    ),
    (
        "services: { orders: { endpoints: ['10.0.0.1:80'], routes: [{ match: { withoutHeaders: { a: b } } }] } }",
        "without_headers",
    ),
    (
        "services: { orders: { endpoints: ['10.0.0.1:80'], routes: [{ match: { sourceLabels: { a: b } } }] } }",
        "source",
    ),
    (
        "services: { orders: { endpoints: ['10.0.0.1:80'], routes: [{ match: { ignoreUriCase: true } }] } }",
        "ignore_case",
    ),
    (
        "services: { orders: { endpoints: ['10.0.0.1:80'], routes: [{ retry: { attempts: 1, retryOn: 5xx } }] } }",
        "on",
    ),
    (
        "services: { orders: { endpoints: ['10.0.0.1:80'], routes: [{ retry: { attempts: 1, perTryTimeout: 1s } }] } }",
        "per_try_timeout",
    ),
    (
        "services: { orders: { endpoints: ['10.0.0.1:80'], routes: [{ mirror: { to: { service: a } } }] } }",
        "mirrors",
    ),
    (
        "services: { orders: { endpoints: ['10.0.0.1:80'], routes: [{ redirect: { uri: /a } }] } }",
        "path",
    ),
    (
        "services: { orders: { endpoints: ['10.0.0.1:80'], routes: [{ redirect: { redirectCode: 301 } }] } }",
        "status",
    ),
    (
        "services: { orders: { endpoints: ['10.0.0.1:80'], routes: [{ fault: { delay: { fixedDelay: 1s } } }] } }",
        "duration",
    ),
    (
        "services: { orders: { endpoints: ['10.0.0.1:80'], routes: [{ fault: { delay: { duration: 1s, percentage: { value: 1 } } } }] } }",
        "percent",
    ),
    ("authorization: [{ name: a, allow: [{ principals: [a] }] }]", "from"),
    (
        "authorization: [{ name: a, allow: [{ source: { principals: [a] } }] }]",
        "sources",
    ),
    ("authorization: [{ name: a, allow: [{ ipBlocks: [a] }] }]", "ip"),
    (
        "authorization: [{ name: a, allow: [{ to: [{ operation: { methods: [GET] } }] }] }]",
        "operations",
    ),
    ("authorization: [{ name: a, targetRefs: [], allow: [] }]", "targets"),
];

#[test]
fn names_of_other_dialects_are_helped() {
    for (text, expected) in NAMES_OF_OTHER_DIALECTS_ARE_HELPED {
        assert_eq!(
            help(text),
            format!("in the native dialect it is `{expected}`"),
            "{text}"
        );
    }
}

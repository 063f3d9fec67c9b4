//! What is refused, and where.

use super::*;

#[test]
fn paths_are_checked() {
    assert_lines(&[
        (
            "{ matches: [{ path: { type: Exact, value: a } }], backendRefs: [{ name: a, port: 80 }] }",
            &["7:47: error[MESH0104]: `value`: expected a path that starts with `/`, found `a`"],
        ),
        (
            "{ matches: [{ path: { value: /a//b } }], backendRefs: [{ name: a, port: 80 }] }",
            &["7:34: error[MESH0104]: `value`: a path cannot have `//`, found `/a//b`"],
        ),
        (
            "{ matches: [{ path: { value: /a/../b } }], backendRefs: [{ name: a, port: 80 }] }",
            &["7:34: error[MESH0104]: `value`: a path cannot have `/../`, found `/a/../b`"],
        ),
        (
            "{ matches: [{ path: { value: /a/.. } }], backendRefs: [{ name: a, port: 80 }] }",
            &["7:34: error[MESH0104]: `value`: a path cannot have `/..`, found `/a/..`"],
        ),
        (
            "{ matches: [{ path: { value: '/a%2Fb' } }], backendRefs: [{ name: a, port: 80 }] }",
            &["7:34: error[MESH0104]: `value`: a path cannot have `%2F`, found `/a%2Fb`"],
        ),
        (
            "{ matches: [{ path: { value: '/a#b' } }], backendRefs: [{ name: a, port: 80 }] }",
            &["7:34: error[MESH0104]: `value`: a path cannot have `#`, found `/a#b`"],
        ),
        (
            "{ matches: [{ path: { value: '/a[b]' } }], backendRefs: [{ name: a, port: 80 }] }",
            &["7:34: error[MESH0104]: `value`: a path cannot have `[`, found `/a[b]`"],
        ),
        (
            "{ matches: [{ path: { type: RegularExpression, value: '/(' } }], backendRefs: [{ name: a, port: 80 }] }",
            &["7:59: error[MESH0104]: `value`: regex `/(` does not compile: unclosed group"],
        ),
        (
            "{ matches: [{ path: { type: Prefix, value: / } }], backendRefs: [{ name: a, port: 80 }] }",
            &[
                "7:33: error[MESH0104]: `type`: unknown value `Prefix`, expected `Exact`, `PathPrefix` or `RegularExpression`",
            ],
        ),
    ]);
}

#[test]
fn matches_are_checked() {
    assert_lines(&[
        (
            "{ matches: [{ method: get }], backendRefs: [{ name: a, port: 80 }] }",
            &[
                "7:27: error[MESH0104]: `method`: unknown value `get`, expected `GET`, `HEAD`, `POST`, `PUT`, `DELETE`, `CONNECT`, `OPTIONS`, `TRACE` or `PATCH`",
            ],
        ),
        (
            "{ matches: [{ headers: [{ name: 'a b', value: x }] }], backendRefs: [{ name: a, port: 80 }] }",
            &["7:37: error[MESH0104]: `name`: expected the name of a header, found `a b`"],
        ),
        (
            "{ matches: [{ headers: [{ name: a }] }], backendRefs: [{ name: a, port: 80 }] }",
            &["7:29: error[MESH0103]: missing field `value`"],
        ),
        (
            "{ matches: [{ headers: [{ name: a, value: '' }] }], backendRefs: [{ name: a, port: 80 }] }",
            &["7:47: error[MESH0104]: `value`: expected text, found empty text"],
        ),
        (
            "{ matches: [{ headers: [{ name: a, value: x }, { name: a, value: y }] }], backendRefs: [{ name: a, port: 80 }] }",
            &["7:52: error[MESH0202]: header `a` has a condition already"],
        ),
        (
            "{ matches: [{ queryParams: [{ name: a, value: x }, { name: a, value: y }] }], backendRefs: [{ name: a, port: 80 }] }",
            &["7:56: error[MESH0202]: query parameter `a` has a condition already"],
        ),
        (
            "{ matches: [{ query: [] }], backendRefs: [{ name: a, port: 80 }] }",
            &["7:19: error[MESH0101]: unknown field `query`"],
        ),
    ]);
}

#[test]
fn filters_are_checked() {
    assert_lines(&[
        (
            "{ filters: [{ type: RequestHeaderModifier }], backendRefs: [{ name: a, port: 80 }] }",
            &["7:17: error[MESH0103]: missing field `requestHeaderModifier`"],
        ),
        (
            "{ filters: [{ type: URLRewrite, urlRewrite: {}, cors: {} }], backendRefs: [{ name: a, port: 80 }] }",
            &["7:53: error[MESH0301]: `cors` belongs to filters of another type than `URLRewrite`"],
        ),
        (
            "{ filters: [{ type: Rewrite }], backendRefs: [{ name: a, port: 80 }] }",
            &[
                "7:25: error[MESH0104]: `type`: unknown value `Rewrite`, expected `RequestHeaderModifier`, `ResponseHeaderModifier`, `RequestMirror`, `RequestRedirect`, `URLRewrite`, `CORS`, `ExternalAuth` or `ExtensionRef`",
            ],
        ),
        (
            "{ filters: [{ type: CORS, cors: { allowOrigins: ['*'] } }, { type: CORS, cors: { allowOrigins: ['*'] } }], backendRefs: [{ name: a, port: 80 }] }",
            &["7:64: error[MESH0202]: filter `CORS` is given twice"],
        ),
        (
            "{ filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { remove: [a, A] } }], backendRefs: [{ name: a, port: 80 }] }",
            &["7:85: error[MESH0202]: header `a` is changed twice"],
        ),
        (
            "{ filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: a, value: x }], add: [{ name: a, value: y }] } }], backendRefs: [{ name: a, port: 80 }] }",
            &["7:109: error[MESH0202]: header `a` is changed twice"],
        ),
        (
            "{ filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: Host, value: x }] } }], backendRefs: [{ name: a, port: 80 }] }",
            &[
                "7:87: error[MESH0104]: `name`: header `host` cannot be changed: it says how the message is framed or routed",
            ],
        ),
        (
            "{ filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: a, value: \"x\\r\\ny\" }] } }], backendRefs: [{ name: a, port: 80 }] }",
            &["7:97: error[MESH0104]: `value`: expected printable ASCII characters, found `x\\r\\ny`"],
        ),
        (
            "{ filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: m, port: 80 }, percent: 1, fraction: { numerator: 1 } } }], backendRefs: [{ name: a, port: 80 }] }",
            &["7:104: error[MESH0105]: fields `percent` and `fraction` exclude each other"],
        ),
        (
            "{ filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: m, port: 80 }, fraction: { numerator: 3, denominator: 2 } } }], backendRefs: [{ name: a, port: 80 }] }",
            &["7:102: error[MESH0104]: `fraction`: expected a share of at most 1, found 3 of 2"],
        ),
        (
            "{ filters: [{ type: CORS, cors: { allowOrigins: ['*', 'https://a.example'] } }], backendRefs: [{ name: a, port: 80 }] }",
            &["7:54: error[MESH0301]: `allowOrigins`: `*` must stand alone"],
        ),
        (
            "{ filters: [{ type: CORS, cors: { allowOrigins: [a.example], maxAge: 0 } }], backendRefs: [{ name: a, port: 80 }] }",
            &[
                "7:54: error[MESH0104]: `allowOrigins`: expected `*` or an origin such as `https://shop.example` or `https://*.shop.example:8443`, found `a.example`",
                "7:74: error[MESH0104]: `maxAge`: expected a whole number of 1 to 2147483647, found `0`",
            ],
        ),
    ]);
}

#[test]
fn redirects_and_rewrites_are_checked() {
    assert_lines(&[
        (
            "{ filters: [{ type: RequestRedirect, requestRedirect: {} }], backendRefs: [{ name: a, port: 80 }] }",
            &["7:66: error[MESH0301]: a rule that redirects has no `backendRefs`: no request gets there"],
        ),
        (
            "{ filters: [{ type: RequestRedirect, requestRedirect: {} }, { type: URLRewrite, urlRewrite: { hostname: a } }] }",
            &[
                "7:16: error[MESH0301]: `RequestRedirect` and `URLRewrite` exclude each other: a request that is sent elsewhere is not rewritten",
            ],
        ),
        (
            "{ filters: [{ type: RequestRedirect, requestRedirect: { hostname: '*.a' } }] }",
            &["7:71: error[MESH0104]: `hostname`: expected a host name in lower case without `*`, found `*.a`"],
        ),
        (
            "{ filters: [{ type: RequestRedirect, requestRedirect: { scheme: ftp } }] }",
            &["7:69: error[MESH0104]: `scheme`: unknown value `ftp`, expected `http` or `https`"],
        ),
        (
            "{ filters: [{ type: RequestRedirect, requestRedirect: { statusCode: 304 } }] }",
            &["7:73: error[MESH0104]: `statusCode`: expected 301, 302, 303, 307 or 308, found `304`"],
        ),
        (
            "{ filters: [{ type: RequestRedirect, requestRedirect: { path: { type: ReplaceFullPath, replacePrefixMatch: /a } } }] }",
            &[
                "7:67: error[MESH0103]: missing field `replaceFullPath`",
                "7:92: error[MESH0301]: `replacePrefixMatch` does not belong to this `type`",
            ],
        ),
        (
            "{ matches: [{ path: { type: Exact, value: /a } }], filters: [{ type: RequestRedirect, requestRedirect: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /a } } }] }",
            &["7:116: error[MESH0301]: `replacePrefixMatch` needs a rule with exactly one match, of a `PathPrefix`"],
        ),
        (
            "{ matches: [{}, { method: GET }], backendRefs: [{ name: a, port: 80, filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /a } } }] }] }",
            &["7:124: error[MESH0301]: `replacePrefixMatch` needs a rule with exactly one match, of a `PathPrefix`"],
        ),
        (
            "{ filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplaceFullPath, replaceFullPath: 'a b' } } }], backendRefs: [{ name: a, port: 80 }] }",
            &[
                "7:99: error[MESH0104]: `replaceFullPath`: expected a path that starts with `/`, without query, found `a b`",
            ],
        ),
        (
            "{ filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplaceFullPath, replaceFullPath: '/a?b' } } }], backendRefs: [{ name: a, port: 80 }] }",
            &[
                "7:99: error[MESH0104]: `replaceFullPath`: expected a path that starts with `/`, without query, found `/a?b`",
            ],
        ),
        (
            "{ filters: [{ type: RequestRedirect, requestRedirect: { path: { type: ReplaceFullPath, replaceFullPath: 'a?b' } } }] }",
            &["7:109: error[MESH0104]: `replaceFullPath`: expected a path that starts with `/`, found `a?b`"],
        ),
    ]);
}

#[test]
fn backends_are_checked() {
    assert_lines(&[
        (
            "{ backendRefs: [{ name: a }] }",
            &["7:21: error[MESH0103]: backend `a` has no `port`"],
        ),
        (
            "{ backendRefs: [{ port: 80 }] }",
            &["7:21: error[MESH0103]: missing field `name`"],
        ),
        (
            "{ backendRefs: [{ name: a, port: 800080 }] }",
            &["7:38: error[MESH0104]: `port`: expected a whole number of 1 to 65535, found `800080`"],
        ),
        (
            "{ backendRefs: [{ group: '*', name: a, port: 80 }] }",
            &[
                "7:30: error[MESH0104]: `group`: expected an API group such as `gateway.networking.k8s.io`, or empty text for the core, found `*`",
            ],
        ),
        (
            "{ backendRefs: [{ kind: '*', name: a, port: 80 }] }",
            &["7:29: error[MESH0104]: `kind`: expected a kind such as `Service`, found `*`"],
        ),
        (
            "{ backendRefs: [{ name: a, namespace: 'A b', port: 80 }] }",
            &[
                "7:43: error[MESH0104]: `namespace`: expected a namespace of lower-case letters, digits and `-`, at most 63, found `A b`",
            ],
        ),
        (
            "{ backendRefs: [{ name: a, port: 80, weight: 1000001 }] }",
            &["7:50: error[MESH0104]: `weight`: expected a whole number of 0 to 1000000, found `1000001`"],
        ),
        (
            "{ backendRefs: [{ name: a, port: 80, filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: m, port: 80 } } }] }] }",
            &["7:90: warning[MESH0401]: filter `RequestMirror` of a backend is not yet in force: give it to the rule"],
        ),
    ]);
}

#[test]
fn times_are_checked() {
    assert_lines(&[
        (
            "{ timeouts: { request: 1.5s }, backendRefs: [{ name: a, port: 80 }] }",
            &[
                "7:28: error[MESH0104]: `request`: expected a duration such as `10s`, `1m30s` or `500ms`, without fractions, found `1.5s`",
            ],
        ),
        (
            "{ timeouts: { request: 1s, backendRequest: 2s }, backendRefs: [{ name: a, port: 80 }] }",
            &["7:48: error[MESH0301]: `backendRequest` must not be longer than `request`: a try is part of it"],
        ),
        (
            "{ retry: { codes: [200] }, backendRefs: [{ name: a, port: 80 }] }",
            &["7:24: error[MESH0104]: `codes`: expected a whole number of 400 to 599, found `200`"],
        ),
        (
            "{ retry: { attempts: 0 }, backendRefs: [{ name: a, port: 80 }] }",
            &["7:26: error[MESH0104]: `attempts`: expected a whole number of 1 to 2147483647, found `0`"],
        ),
        (
            "{ timeouts: { request: 1s, backendRequest: 1s }, backendRefs: [{ name: a, port: 80 }] }",
            &[],
        ),
        (
            "{ sessionPersistence: { type: Header, cookieConfig: {} }, backendRefs: [{ name: a, port: 80 }] }",
            &[
                "7:7: warning[MESH0401]: field `sessionPersistence` is not yet in force: requests of a session are balanced like others",
                "7:43: error[MESH0301]: `cookieConfig` does not belong to `type: Header`",
            ],
        ),
        (
            "{ sessionPersistence: { cookieConfig: { lifetimeType: Permanent } }, backendRefs: [{ name: a, port: 80 }] }",
            &[
                "7:7: warning[MESH0401]: field `sessionPersistence` is not yet in force: requests of a session are balanced like others",
                "7:27: error[MESH0103]: missing field `absoluteTimeout`",
            ],
        ),
        (
            "{ sessionPersistence: { sessionName: a }, backendRefs: [{ name: a, port: 80 }] }",
            &[
                "7:7: warning[MESH0401]: field `sessionPersistence` is not yet in force: requests of a session are balanced like others",
            ],
        ),
    ]);
}

#[test]
fn another_server_that_decides_is_not_yet_asked() {
    assert_lines(&[
        (
            "{ filters: [{ type: ExternalAuth, externalAuth: { protocol: HTTP, backendRef: { name: auth, port: 80 }, http: { path: /check, allowedHeaders: [a] } } }], backendRefs: [{ name: a, port: 80 }] }",
            &["7:53: warning[MESH0401]: filter `ExternalAuth` is not yet in force: no other server is asked"],
        ),
        (
            "{ filters: [{ type: ExternalAuth, externalAuth: { backendRef: { name: auth, port: 80 } } }], backendRefs: [{ name: a, port: 80 }] }",
            &[
                "7:53: error[MESH0103]: missing field `protocol`",
                "7:53: warning[MESH0401]: filter `ExternalAuth` is not yet in force: no other server is asked",
            ],
        ),
        (
            "{ filters: [{ type: ExternalAuth, externalAuth: { protocol: HTTP, backendRef: { name: auth, port: 80 }, http: { path: '/[]' } } }], backendRefs: [{ name: a, port: 80 }] }",
            &[
                "7:53: warning[MESH0401]: filter `ExternalAuth` is not yet in force: no other server is asked",
                "7:123: error[MESH0104]: `path`: expected a path, found `/[]`",
            ],
        ),
        (
            "{ filters: [{ type: ExternalAuth, externalAuth: { protocol: GRPC, backendRef: { name: auth, port: 80 }, http: {} } }], backendRefs: [{ name: a, port: 80 }] }",
            &[
                "7:53: warning[MESH0401]: filter `ExternalAuth` is not yet in force: no other server is asked",
                "7:109: error[MESH0301]: `http` does not belong to this `protocol`",
            ],
        ),
    ]);
}

#[test]
fn lists_have_the_lengths_that_the_api_gives_them() {
    let many = |item: &str, count: usize| vec![item; count].join(", ");
    let matches = format!("{{ matches: [{}], {TO_A} }}", many("{ method: GET }", 65));
    let backends = format!("{{ backendRefs: [{}] }}", many("{ name: a, port: 80 }", 17));
    let rules = many(&format!("{{ matches: [{}], {TO_A} }}", many("{ method: GET }", 50)), 3);
    assert_told(&[
        (
            http(&matches),
            &["7:16: error[MESH0104]: `matches`: expected at most 64 items, found 65"],
        ),
        (
            http(&backends),
            &["7:20: error[MESH0104]: `backendRefs`: expected at most 16 items, found 17"],
        ),
        (
            at_door("HTTPRoute", "r", "a.example", &rules),
            &["5:66: error[MESH0104]: `rules`: expected at most 128 matches in all, found 150"],
        ),
    ]);
}

#[test]
fn heads_of_routes_are_checked() {
    let head = |text: &str| {
        object(
            "HTTPRoute",
            "shop",
            "r",
            &format!("{{ {text}, rules: [{{ {TO_A} }}] }}"),
        )
    };
    let echo = |text: &str| {
        head(&format!(
            "parentRefs: [{{ group: '', kind: Service, name: echo }}], {text}"
        ))
    };
    assert_told(&[
        (
            echo("hostnames: [a_b]"),
            &[
                "5:73: error[MESH0104]: `hostnames`: expected a host name in lower case, or `*.` before one, and no address, found `a_b`",
            ],
        ),
        (
            echo("hostnames: [10.0.0.1]"),
            &[
                "5:73: error[MESH0104]: `hostnames`: expected a host name in lower case, or `*.` before one, and no address, found `10.0.0.1`",
            ],
        ),
        (
            echo("hostnames: ['*.*.a']"),
            &[
                "5:73: error[MESH0104]: `hostnames`: expected a host name in lower case, or `*.` before one, and no address, found `*.*.a`",
            ],
        ),
        (
            echo("hostnames: [a.example]"),
            &[
                "5:73: warning[MESH0505]: `hostnames` has no effect for parents that are services: requests are taken by the service's name",
            ],
        ),
        (
            echo("useDefaultGateways: All"),
            &["5:61: warning[MESH0401]: field `useDefaultGateways` is not yet in force: no gateway is the default one"],
        ),
    ]);
}

#[test]
fn parents_are_checked() {
    let head = |text: &str| {
        let spec = format!("{{ {text}, rules: [{{ {TO_A} }}] }}");
        object("HTTPRoute", "shop", "r", &spec)
    };
    assert_told(&[
        (
            head("parentRefs: []"),
            &["5:3: warning[MESH0505]: the route has no parents: it takes no request"],
        ),
        (
            head("parentRefs: [{ name: a, kind: Service, group: '' }, { name: a, kind: Service, group: '' }]"),
            &["5:57: error[MESH0202]: parent `a` is given twice"],
        ),
        (
            head("parentRefs: [{ name: a, kind: Service, group: '', sectionName: http }]"),
            &["5:18: warning[MESH0505]: `sectionName` has no effect for a parent that is a service: name its `port`"],
        ),
        (
            head("parentRefs: [{ name: a, kind: ServiceImport, group: multicluster.x-k8s.io }]"),
            &[
                "5:18: warning[MESH0505]: no route is served for a parent of kind `ServiceImport` of `multicluster.x-k8s.io`: it takes no request there",
            ],
        ),
    ]);
}

#[test]
fn whole_routes_are_checked() {
    let twice = "{ name: one, filters: [{ type: RequestRedirect, requestRedirect: {} }] }";
    let names = format!("{{ parentRefs: [{{ group: '', kind: Service, name: echo }}], rules: [{twice}, {twice}] }}");
    assert_told(&[
        (
            object("HTTPRoute", "shop", "r", &names),
            &["5:143: error[MESH0202]: rule `one` is given twice"],
        ),
        (
            object("HTTPRoute", "shop", "r", "{}"),
            &[
                "5:3: warning[MESH0505]: the route has no parents: it takes no request",
                "5:3: warning[MESH0505]: the route has no rules: requests are answered with 500",
            ],
        ),
        (
            format!("apiVersion: {GROUP}\nkind: HTTPRoute\nmetadata: {{ name: r }}\n"),
            &["1:1: error[MESH0103]: missing field `spec`"],
        ),
        (
            format!("apiVersion: {GROUP}\nkind: UDPRoute\nmetadata: {{ name: r }}\nspec: {{}}\n"),
            &[
                "2:7: warning[MESH0401]: kind `UDPRoute` is not yet in force: a process forwards requests and connections, no datagrams",
            ],
        ),
        (
            format!("apiVersion: {GROUP}\nkind: ListenerSet\nmetadata: {{ name: r }}\nspec: {{}}\n"),
            &[
                "2:7: warning[MESH0401]: kind `ListenerSet` is not yet in force: gateways have only the listeners that they list themselves",
            ],
        ),
    ]);
}

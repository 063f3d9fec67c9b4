use std::time::Duration;

use http::StatusCode;

use super::{assert_lines, load_spec};
use crate::policy::model::filter::{
    Abort, Answer, Credentials, Fraction, HeaderOrder, OriginMatch, PathRewrite, RedirectPort, UnmatchedPreflight,
};
use crate::policy::model::route::{RouteRule, StringMatch};

const KIND: &str = "VirtualService";
const ROUTE: &str = "route: [{ destination: { host: a } }]";

fn policy(kind: &str, spec: &str) -> crate::policy::model::Policy {
    load_spec(kind, spec).policy
}

fn rule(text: &str) -> RouteRule {
    let policy = policy(KIND, &format!("hosts: [a], http: [{{ {text} }}]"));
    policy.routes[0].rules[0].clone()
}

/// Asserts what is said of a rule whose text begins in line 4.
fn assert_rules(cases: &[(&str, &[&str])]) {
    for (text, expected) in cases {
        assert_lines(KIND, &[(&format!("hosts: [a], http: [{{\n{text} }}]"), expected)]);
    }
}

#[test]
fn a_redirect_is_read() {
    let Some(Answer::Redirect(found)) = rule(
        "redirect: { uri: /new, authority: 'b:8080', scheme: https, derivePort: FROM_REQUEST_PORT, redirectCode: 308 }",
    )
    .answer
    else {
        panic!("no redirect");
    };
    assert_eq!(found.path, Some(PathRewrite::Full("/new".into())));
    assert_eq!(found.authority.as_deref(), Some("b:8080"));
    assert_eq!(
        (found.scheme.as_deref(), found.port),
        (Some("https"), RedirectPort::Request)
    );
    assert_eq!(found.status, StatusCode::PERMANENT_REDIRECT);
    let Some(Answer::Redirect(found)) =
        rule("match: [{ uri: { prefix: /a } }], redirect: { prefixRewrite: /b, port: 81 }").answer
    else {
        panic!("no redirect");
    };
    assert_eq!(found.path, Some(PathRewrite::Prefix("/b".into())));
    assert_eq!(
        (found.port, found.status),
        (RedirectPort::Number(81), StatusCode::MOVED_PERMANENTLY)
    );
}

#[test]
fn redirects_are_checked() {
    assert_rules(&[
        (
            "redirect: {}",
            &[
                "4:11: error[MESH0103]: missing field `uri`, `prefixRewrite`, `authority`, `port`, `derivePort` or `scheme`",
            ],
        ),
        (
            "redirect: { uri: /a, prefixRewrite: /b }",
            &["4:22: error[MESH0105]: fields `uri` and `prefixRewrite` exclude each other"],
        ),
        (
            "redirect: { uri: /a, redirectCode: 305 }",
            &["4:36: error[MESH0104]: `redirectCode`: expected 301, 302, 303, 307 or 308, found `305`"],
        ),
        (
            "redirect: { scheme: ftp }",
            &["4:21: error[MESH0104]: `scheme`: unknown value `ftp`, expected `http` or `https`"],
        ),
        (
            "match: [{ uri: { exact: /a } }], redirect: { prefixRewrite: /b }",
            &["3:20: error[MESH0301]: `prefixRewrite` needs a `uri` with `prefix` in every match"],
        ),
        (
            "redirect: { uri: /a }, fault: { abort: { httpStatus: 500, percentage: { value: 1 } } }",
            &["4:24: error[MESH0105]: `fault` excludes `redirect` and `directResponse`"],
        ),
        (
            "redirect: { uri: /a }, timeout: 1s, mirror: { host: b }",
            &[
                "4:24: warning[MESH0505]: `timeout` has no effect: the rule forwards no request",
                "4:37: warning[MESH0505]: `mirror` has no effect: the rule forwards no request",
            ],
        ),
        (
            "redirect: { uri: /a, port: 80, derivePort: FROM_REQUEST_PORT }",
            &["4:32: error[MESH0105]: fields `port` and `derivePort` exclude each other"],
        ),
        (
            "route: [{ destination: { host: a } }], redirect: { uri: /a }",
            &["4:40: error[MESH0105]: fields `route` and `redirect` exclude each other"],
        ),
    ]);
}

#[test]
fn a_direct_response_is_read_and_checked() {
    let body = |text: &str| match rule(text).answer {
        Some(Answer::Direct(direct)) => (direct.status.as_u16(), direct.body.map(|body| body.to_vec())),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        body("directResponse: { status: 503, body: { string: down } }"),
        (503, Some(b"down".to_vec()))
    );
    assert_eq!(
        body("directResponse: { status: 200, body: { bytes: AP8= } }"),
        (200, Some(vec![0, 255]))
    );
    assert_eq!(
        body("directResponse: { status: 200, body: { bytes: '_-8' } }"),
        (200, Some(vec![255, 239]))
    );
    assert_eq!(body("directResponse: { status: 600 }"), (600, None));
    assert_rules(&[
        (
            "directResponse: { status: 199 }",
            &["4:27: error[MESH0104]: `status`: expected a whole number of 200 to 600, found `199`"],
        ),
        (
            "directResponse: { status: 200, body: { bytes: '*' } }",
            &["4:47: error[MESH0104]: `body`: expected base64: Invalid symbol 42, offset 0."],
        ),
        (
            "directResponse: { status: 200, body: {} }",
            &["4:38: error[MESH0103]: missing field `string` or `bytes`"],
        ),
    ]);
}

#[test]
fn a_rewrite_is_read_and_checked() {
    let found = rule(&format!("{ROUTE}, rewrite: {{ uri: /v1, authority: b }}"))
        .rewrite
        .unwrap();
    assert_eq!(
        (found.path, found.authority.as_deref()),
        (Some(PathRewrite::Prefix("/v1".into())), Some("b"))
    );
    let regex = rule(&format!(
        "{ROUTE}, rewrite: {{ uriRegexRewrite: {{ match: '^/(a)', rewrite: '/\\1' }} }}"
    ));
    let expected = PathRewrite::Regex {
        pattern: "^/(a)".into(),
        substitution: "/\\1".into(),
    };
    assert_eq!(regex.rewrite.unwrap().path, Some(expected));
    assert_rules(&[
        (
            &format!("{ROUTE}, rewrite: {{}}"),
            &["4:49: error[MESH0103]: missing field `uri`, `uriRegexRewrite` or `authority`"],
        ),
        (
            &format!("{ROUTE}, rewrite: {{ uriRegexRewrite: {{ match: '' , rewrite: a }} }}"),
            &["4:77: error[MESH0104]: `match`: expected a regex, found empty text"],
        ),
        (
            &format!("{ROUTE}, rewrite: {{ uriRegexRewrite: {{ match: '(a)' , rewrite: '\\2' }} }}"),
            &["4:94: error[MESH0104]: `rewrite`: the last group of the regex is 1, found `\\2`"],
        ),
        (
            &format!("{ROUTE}, rewrite: {{ uriRegexRewrite: {{ match: a , rewrite: '\\a' }} }}"),
            &["4:90: error[MESH0104]: `rewrite`: expected the number of a group behind `\\`, such as `\\1`"],
        ),
        (
            &format!("{ROUTE}, rewrite: {{ authority: a }}, headers: {{ request: {{ set: {{ host: b }} }} }}"),
            &["4:76: error[MESH0105]: the authority is set in two places: `rewrite` and `headers`"],
        ),
    ]);
}

#[test]
fn header_changes_are_read_in_the_order_of_their_names() {
    let found = rule(
        "headers: { request: { set: { x-b: '%REQ(x-a)%', x-a: 100%%, host: b.example }, add: { X-C: '1' }, remove: [x-d] }, response: { remove: [server] } }, route: [{ destination: { host: a } }, { destination: { host: b }, weight: 1, headers: { response: { set: { x-e: '2' } } } }]",
    );
    let request = &found.headers.request;
    let set: Vec<_> = request
        .set
        .iter()
        .map(|(name, text)| (name.as_str(), text.to_string()))
        .collect();
    assert_eq!(set, [("x-a", "100%%".into()), ("x-b", "%REQ(x-a)%".into())]);
    assert_eq!(request.add[0].0, "x-c");
    assert_eq!(
        (request.remove[0].as_str(), found.headers.response.remove[0].as_str()),
        ("x-d", "server")
    );
    assert_eq!(found.header_authority.as_deref(), Some("b.example"));
    assert_eq!(found.header_order, HeaderOrder::RuleLast);
    assert_eq!(found.destinations[1].headers.response.set[0].0, "x-e");
}

#[test]
fn header_changes_are_checked() {
    let request = |what: &str| format!("{ROUTE}, headers: {{ request: {{ {what} }} }}");
    assert_rules(&[
        (
            &request("set: { x: 'a%1' }"),
            &[
                "4:72: error[MESH0104]: `set`: `%` begins a variable that does not end in `a%1`: a literal percent sign is written twice",
            ],
        ),
        (
            &request("set: { x: '%UPSTREAM_HOST%' }"),
            &[
                "4:72: warning[MESH0401]: variable `%UPSTREAM_HOST%` is not yet in force: values take parts of requests and responses",
            ],
        ),
        (
            &request("add: { x: '' }"),
            &["4:69: warning[MESH0505]: header `x` has an empty value: it is not changed"],
        ),
        (
            &request("set: { host: a, ':authority': b }"),
            &["4:78: error[MESH0105]: key `:authority`: the authority is set in two places"],
        ),
        (
            &request("set: { ':path': a }"),
            &["4:69: error[MESH0104]: key `:path`: expected the name of a header that may be changed"],
        ),
        (
            &request("remove: [Host]"),
            &["4:71: error[MESH0104]: `remove`: `Host` cannot be removed: it says whom the request is for"],
        ),
        (
            &format!("{ROUTE}, headers: {{ response: {{ set: {{ host: a }} }} }}"),
            &["4:70: error[MESH0104]: key `host`: expected the name of a header that may be changed"],
        ),
    ]);
}

#[test]
fn faults_are_read_and_checked() {
    let found = rule(&format!(
        "{ROUTE}, fault: {{ delay: {{ fixedDelay: 5s, percentage: {{ value: 0.1 }} }}, abort: {{ grpcStatus: UNAVAILABLE, percentage: {{ value: 50 }} }} }}"
    ));
    let fault = found.fault.unwrap();
    assert_eq!(fault.delay, Some((Duration::from_secs(5), Fraction::from_percent(0.1))));
    assert_eq!(fault.abort, Some((Abort::Grpc(14), Fraction::from_percent(50.0))));
    let fault = |what: &str| format!("{ROUTE}, fault: {{ {what} }}");
    let none = rule(&fault("abort: { httpStatus: 400 }")).fault.unwrap().abort.unwrap();
    assert_eq!(none, (Abort::Http(StatusCode::BAD_REQUEST), Fraction::default()));
    assert_rules(&[
        (&fault(""), &["4:47: error[MESH0103]: missing field `delay` or `abort`"]),
        (
            &fault("abort: { httpStatus: 400 }"),
            &["4:56: warning[MESH0505]: the fault has no effect: without `percentage` it is for no request"],
        ),
        (
            &fault("abort: { percentage: { value: 1 } }"),
            &["4:56: warning[MESH0505]: `abort` has no effect: it names no error"],
        ),
        (
            &fault("abort: { grpcStatus: '14', percentage: { value: 1 } }"),
            &[
                "4:70: error[MESH0104]: `grpcStatus`: unknown value `14`, expected `OK`, `CANCELLED`, `UNKNOWN`, `INVALID_ARGUMENT`, `DEADLINE_EXCEEDED`, `NOT_FOUND`, `ALREADY_EXISTS`, `PERMISSION_DENIED`, `RESOURCE_EXHAUSTED`, `FAILED_PRECONDITION`, `ABORTED`, `OUT_OF_RANGE`, `UNIMPLEMENTED`, `INTERNAL`, `UNAVAILABLE`, `DATA_LOSS` or `UNAUTHENTICATED`",
            ],
        ),
        (
            &fault("abort: { httpStatus: 400, percentage: { value: 100.5 } }"),
            &["4:96: error[MESH0104]: `value`: expected 0, or 0.0001 to 100, found `100.5`"],
        ),
        (
            &fault("delay: { percentage: { value: 1 }, exponentialDelay: 1s }"),
            &[
                "4:56: error[MESH0103]: missing field `fixedDelay`",
                "4:84: error[MESH0402]: field `exponentialDelay` is not supported in a process: no version of Istio has put it in force",
            ],
        ),
    ]);
}

#[test]
fn mirrors_are_read_and_checked() {
    let share = |text: &str| {
        let found = rule(&format!("{ROUTE}, {text}"));
        found
            .mirrors
            .iter()
            .map(|mirror| mirror.fraction.millionths())
            .collect::<Vec<_>>()
    };
    assert_eq!(share("mirror: { host: b }"), [1_000_000]);
    assert_eq!(share("mirror: { host: b }, mirrorPercentage: { value: 0 }"), [0]);
    assert_eq!(
        share("mirrors: [{ destination: { host: b }, percentage: { value: 25 } }, { destination: { host: c } }]"),
        [250_000, 1_000_000]
    );
    assert_rules(&[
        (
            &format!("{ROUTE}, mirror: {{ host: b }}, mirrors: []"),
            &["4:61: error[MESH0105]: fields `mirror` and `mirrors` exclude each other"],
        ),
        (
            &format!("{ROUTE}, mirror: {{ host: b }}, mirrorPercent: 5"),
            &["4:61: warning[MESH0503]: field `mirrorPercent` is deprecated"],
        ),
        (
            &format!("{ROUTE}, mirrorPercentage: {{ value: 5 }}"),
            &["4:40: warning[MESH0505]: `mirrorPercentage` has no effect without `mirror`"],
        ),
        (
            &format!("{ROUTE}, mirror: {{ host: b }}, mirrorPercentage: {{ value: 101 }}"),
            &["4:88: error[MESH0104]: `value`: expected 0 to 100, found `101`"],
        ),
    ]);
}

#[test]
fn cors_is_read() {
    let any = rule(&format!(
        "{ROUTE}, corsPolicy: {{ allowOrigins: [{{ exact: '*' }}, {{ prefix: 'https://' }}] }}"
    ));
    assert_eq!(
        any.cors.unwrap().allow_origins,
        [
            OriginMatch::Text(StringMatch::Regex(".*".into())),
            OriginMatch::Text(StringMatch::Prefix("https://".into()))
        ]
    );
    let found = rule(&format!(
        "{ROUTE}, corsPolicy: {{ allowOrigins: [{{ exact: 'https://a' }}], allowMethods: [GET], allowHeaders: ['*'], exposeHeaders: [x-a], maxAge: 24h, allowCredentials: true, unmatchedPreflights: IGNORE }}"
    ));
    let cors = found.cors.unwrap();
    assert_eq!(
        cors.allow_origins,
        [OriginMatch::Text(StringMatch::Exact("https://a".into()))]
    );
    assert_eq!(
        (cors.allow_methods, cors.allow_headers),
        (vec!["GET".into()], vec!["*".into()])
    );
    assert_eq!(
        (cors.max_age, cors.credentials),
        (Some(Duration::from_secs(86_400)), Credentials::Allow)
    );
    assert_eq!(cors.unmatched, UnmatchedPreflight::Answer);
}

#[test]
fn cors_is_checked() {
    let cors = |what: &str| format!("{ROUTE}, corsPolicy: {{ {what} }}");
    assert_rules(&[
        (
            &cors("maxAge: 1500ms, allowOrigins: [{ exact: 'https://a' }]"),
            &["4:62: error[MESH0104]: `maxAge`: expected whole seconds, found `1500ms`"],
        ),
        (
            &cors("allowMethods: [get], allowOrigins: [{ exact: 'https://a' }]"),
            &["4:69: error[MESH0104]: `allowMethods`: expected a method such as `GET`, or `*`, found `get`"],
        ),
        (
            &cors("allowOrigin: ['*']"),
            &["4:54: warning[MESH0503]: field `allowOrigin` is deprecated"],
        ),
        (
            &cors(""),
            &["4:52: warning[MESH0505]: `corsPolicy` has no effect without `allowOrigins`"],
        ),
        (
            &cors("allowOrigins: [{ exact: '' }, { prefix: '' }]"),
            &[
                "4:69: error[MESH0104]: `allowOrigins`: expected an origin, found empty text",
                "4:84: error[MESH0104]: `allowOrigins`: expected an origin, found empty text",
            ],
        ),
        (
            &cors("allowOrigins: [{ exact: 'https://a' }], allowHeaders: ['a b']"),
            &["4:109: error[MESH0104]: `allowHeaders`: expected the name of a header, or `*`, found `a b`"],
        ),
        (
            &cors("allowOrigin: [a], allowOrigins: []"),
            &[
                "4:54: warning[MESH0503]: field `allowOrigin` is deprecated",
                "4:72: error[MESH0105]: fields `allowOrigin` and `allowOrigins` exclude each other",
            ],
        ),
    ]);
}

#[test]
fn streams_are_read_and_not_yet_in_force() {
    let found = policy(
        KIND,
        "hosts: ['*.b.example'], tls: [{ match: [{ sniHosts: [a.b.example], port: 443 }], route: [{ destination: { host: a } }] }], tcp: [{ route: [{ destination: { host: a } }] }]",
    );
    let table = &found.routes[0];
    assert_eq!(table.tls[0].matches[0].sni_hosts, ["a.b.example"]);
    assert_eq!(
        (table.tls[0].matches[0].port, table.tcp[0].destinations.len()),
        (Some(443), 1)
    );
    assert_lines(
        KIND,
        &[
            (
                "hosts: [a], tcp: [{ route: [{ destination: { host: a } }] }]",
                &["3:13: warning[MESH0401]: field `tcp` is not yet in force: only `http` routes are"],
            ),
            (
                "hosts: [a.b], tls: [{ match: [{ sniHosts: [c.d] }], route: [{ destination: { host: a } }] }]",
                &[
                    "3:15: warning[MESH0401]: field `tls` is not yet in force: only `http` routes are",
                    "3:44: error[MESH0301]: `sniHosts`: `c.d` is covered by none of the `hosts`",
                ],
            ),
            (
                "hosts: [a.b], tls: [{ match: [], route: [{ destination: { host: a }, headers: {} }] }]",
                &[
                    "3:15: warning[MESH0401]: field `tls` is not yet in force: only `http` routes are",
                    "3:30: error[MESH0104]: `tls`: expected at least one match, found an empty list",
                    "3:70: error[MESH0101]: unknown field `headers`",
                ],
            ),
            (
                "hosts: [a], tcp: [{ match: [{ sourceSubnet: x }], route: [{ destination: { host: a } }] }]",
                &[
                    "3:13: warning[MESH0401]: field `tcp` is not yet in force: only `http` routes are",
                    "3:31: warning[MESH0505]: `sourceSubnet` has no effect, in Istio and here",
                    "3:45: error[MESH0104]: `sourceSubnet`: expected an address or a range such as `10.0.0.0/8`, found `x`",
                ],
            ),
            (
                "hosts: [a.b], tls: [{ route: [{ destination: { host: a } }] }]",
                &[
                    "3:15: warning[MESH0401]: field `tls` is not yet in force: only `http` routes are",
                    "3:21: error[MESH0103]: missing field `match`",
                ],
            ),
        ],
    );
}

#[test]
fn the_port_that_takes_no_plain_text_sends_its_callers_away() {
    let found = policy(
        "Gateway",
        "servers: [{ port: { number: 80, name: http, protocol: HTTP }, hosts: ['*'], tls: { httpsRedirect: true } }]",
    );
    assert_eq!(
        found.gateways[0].servers[0].plain_text,
        crate::policy::model::gateway::PlainText::RedirectToHttps
    );
}

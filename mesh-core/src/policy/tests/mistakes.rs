//! What people get wrong first: each mistake is told once, with what to write instead.

use super::*;

/// All findings about some text, each with its help behind it.
fn helped(text: &str) -> Vec<String> {
    let loaded = Loaded::from_files([("f", text)]);
    let report = loaded.report.json(&loaded.sources);
    let told = report.diagnostics.into_iter().map(|one| {
        let place = one
            .line
            .zip(one.column)
            .map_or_else(String::new, |(line, column)| format!("{line}:{column}: "));
        let help = one.help.map_or_else(String::new, |help| format!(" ({help})"));
        format!("{place}{}: {}{help}", one.severity, one.message)
    });
    told.collect()
}

#[track_caller]
fn assert_helped(table: &[(&str, &[&str])]) {
    let mut failures = Vec::new();
    for (text, expected) in table {
        let found = helped(text);
        if found != *expected {
            failures.push(format!("{text}\n  expected {expected:#?}\n  found {found:#?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

const RULE: &str = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: { name: a }\nspec: { hosts: [a], http: [{ RULE }] }\n";

#[track_caller]
fn assert_rules(table: &[(&str, &[&str])]) {
    let texts: Vec<String> = table.iter().map(|(rule, _)| RULE.replace("RULE", rule)).collect();
    let table: Vec<(&str, &[&str])> = texts
        .iter()
        .map(String::as_str)
        .zip(table.iter().map(|(_, told)| *told))
        .collect();
    assert_helped(&table);
}

#[test]
fn a_weight_that_is_wrong_is_not_missed_as_well() {
    assert_rules(&[
        (
            "route: [{ destination: { host: a }, weight: '90' }, { destination: { host: b }, weight: 10 }]",
            &["4:74: error: `weight`: expected a whole number, found the text `90` (write it without quotes: `90`)"],
        ),
        (
            "route: [{ destination: { host: a, weight: 90 } }, { destination: { host: b }, weight: 10 }]",
            &["4:64: error: unknown field `weight` (expected `host`, `subset` or `port`)"],
        ),
    ]);
}

#[test]
fn what_was_not_read_has_not_no_effect() {
    assert_helped(&[
        (
            "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: a }\nspec:\n  parentRefs: [{ group: '', kind: Service, name: a }]\n  rules: [{ backendRef: [{ name: a, port: 80 }] }]\n",
            &["6:13: error: unknown field `backendRef` (did you mean `backendRefs`?)"],
        ),
        (
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { name: a }\nspec: { selector: { app: a } }\n",
            &["4:21: error: unknown field `app` (expected `matchLabels`)"],
        ),
    ]);
}

#[test]
fn a_list_that_is_none_is_not_missed_as_well() {
    let object =
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: { name: a }\nspec:\n  hosts: [a]\n";
    assert_helped(&[
        (
            &format!("{object}  http:\n    route: [{{ destination: {{ host: a }} }}]\n"),
            &["7:5: error: `http`: expected a list, found a mapping (each item of a list begins with `- `)"],
        ),
        (
            &format!("{object}  http: /a\n"),
            &[
                "6:9: error: `http`: expected a list, found the text `/a` (write it as an item of a list: `- ` before it, or brackets around it)",
            ],
        ),
        (
            "services: { a: { hosts: -b } }\n",
            &["1:25: error: `hosts`: expected a list, found the text `-b` (a blank follows the `-` of an item: `- b`)"],
        ),
    ]);
}

#[test]
fn a_comparison_that_is_text_is_shown_in_full() {
    let rule = |one: &str| format!("match: [{{ {one} }}], route: [{{ destination: {{ host: a }} }}]");
    assert_rules(&[
        (
            &rule("uri: /login"),
            &["4:45: error: `uri`: expected a mapping, found the text `/login` (write `{ exact: /login }`)"],
        ),
        (
            &rule("headers: { end-user: jason }"),
            &["4:61: error: `end-user`: expected a mapping, found the text `jason` (write `{ exact: jason }`)"],
        ),
        (
            "corsPolicy: { allowOrigins: ['*'] }, route: [{ destination: { host: a } }]",
            &["4:59: error: `allowOrigins`: expected a mapping, found the text `*` (write `{ exact: \"*\" }`)"],
        ),
    ]);
}

#[test]
fn messages_name_the_field_that_is_wrong() {
    let route = "route: [{ destination: { host: a } }]";
    assert_rules(&[
        (
            &format!("mirror: a, {route}"),
            &["4:38: error: `mirror`: expected a mapping, found the text `a`"],
        ),
        (
            &format!("fault: {{ abort: {{ httpStatus: 999, percentage: {{ value: 1 }} }} }}, {route}"),
            &["4:60: error: `httpStatus`: expected a whole number of 200 to 600, found `999`"],
        ),
        (
            &format!("fault: {{ abort: {{ httpStatus: 500, percentage: 100 }} }}, {route}"),
            &["4:77: error: `percentage`: expected a mapping, found the number `100` (write `{ value: 100 }`)"],
        ),
    ]);
}

#[test]
fn names_and_conditions_in_another_form_are_helped() {
    assert_rules(&[(
        "retries: { attempts: 3, retryOn: [5xx, reset] }, route: [{ destination: { host: a } }]",
        &["4:63: error: `retryOn`: expected text, found a list (write one text: `5xx,reset`)"],
    )]);
    assert_helped(&[(
        "mesh: { mtls: true }\n",
        &["1:15: error: `mtls`: unknown value `true`, expected `strict`, `permissive` or `disable`"],
    )]);
    let gateway = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: { name: a }\nspec: { servers: [{ port: { number: 80, name: a, protocol: HTPP }, hosts: [a.b] }] }\n";
    let expected = "4:60: error: `protocol`: unknown protocol `HTPP`, expected `HTTP`, `HTTPS`, `GRPC`, `GRPC-WEB`, `HTTP2`, `MONGO`, `TCP` or `TLS` (did you mean `HTTP`?)";
    assert_helped(&[(gateway, &[expected])]);
}

#[test]
fn variables_and_templates_that_nobody_filled_in_are_told() {
    let help = "variables and templates are filled in before a policy is loaded";
    assert_rules(&[
        (
            "route: [{ destination: { host: $HOST } }]",
            &[
                "4:61: error: `host`: expected a host name, a pattern such as `*.example.com` or an address, found `$HOST`",
            ],
        ),
        (
            "route: [{ destination: { host: '${HOST}' } }]",
            &[&format!(
                "4:61: error: `host`: expected a host name, a pattern such as `*.example.com` or an address, found `${{HOST}}` ({help})"
            )],
        ),
    ]);
    assert_helped(&[
        (
            "namespace: {{ .Values.namespace }}\nservices: {}\n",
            &[
                "1:13: error: expected a key of plain text, found a list or mapping (text that begins with `{` or `[` needs quotes; templates are rendered before they are loaded)",
            ],
        ),
        (
            "namespace: \"{{ .Values.namespace }}\"\nservices: { a: {} }\n",
            &[&format!(
                "1:12: error: `namespace`: expected a namespace of lower-case letters, digits and `-`, at most 63, found `{{{{ .Values.namespace }}}}` ({help})"
            )],
        ),
    ]);
}

#[test]
fn a_field_that_is_another_form_of_the_word_is_found() {
    assert_rules(&[(
        "retry: { attempts: 3 }, route: [{ destination: { host: a } }]",
        &["4:30: error: unknown field `retry` (did you mean `retries`?)"],
    )]);
    assert_helped(&[(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: a }\nspec:\n  parentRefs: [{ kind: Service, name: a }]\n  rules: [{ matches: [{ path: { type: Prefix, value: /a } }], backendRefs: [{ name: a, port: 80 }] }]\n",
        &[
            "6:39: error: `type`: unknown value `Prefix`, expected `Exact`, `PathPrefix` or `RegularExpression` (did you mean `PathPrefix`?)",
        ],
    )]);
}

#[test]
fn a_parent_of_the_wrong_group_is_helped() {
    let route = |parent: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: a }}\nspec:\n  parentRefs: [{{ {parent}, name: a }}]\n  rules: [{{ backendRefs: [{{ name: a, port: 80 }}] }}]\n"
        )
    };
    assert_helped(&[
        (
            &route("kind: Service"),
            &[
                "5:16: warning: no route is served for a parent of kind `Service` of `gateway.networking.k8s.io`: it takes no request there (a service is of the core: write `group: \"\"`)",
            ],
        ),
        (
            &route("group: '', kind: Services"),
            &[
                "5:16: warning: no route is served for a parent of kind `Services` of the core: it takes no request there (parents are `Gateway` of `gateway.networking.k8s.io` and `Service` of the core)",
            ],
        ),
    ]);
}

#[test]
fn a_name_that_is_taken_is_helped() {
    let item = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: { name: a }\nspec: {}\n";
    assert_helped(&[(
        &format!("{item}---\n{item}"),
        &[
            "8:19: error: `PeerAuthentication` `a` of namespace `default` is defined twice (all files together are one policy: remove one of the two, or give it another name)",
        ],
    )]);
}

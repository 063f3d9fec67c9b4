//! `when`, the order of the actions, marks and trials.

use super::*;
use crate::policy::model::authz::{Attribute, When};
use crate::policy::model::route::{RouteMatch, StringMatch};
use crate::policy::model::server::{Server, ServerRoute, ServerRule};

fn when(attribute: Attribute, any_of: &[&str], none_of: &[&str]) -> Rule {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let values = Condition {
        any_of: texts(any_of),
        none_of: texts(none_of),
    };
    Rule {
        when: vec![When::new(attribute, values)],
        ..Rule::default()
    }
}

fn header(name: &'static str) -> Attribute {
    Attribute::Header(http::HeaderName::from_static(name))
}

/// What a rule does as the only one of an `ALLOW` policy, and as the only one of a `DENY` policy.
fn both(rule: &Rule, peer: &Peer<'_>, request: &Request<()>) -> (bool, bool) {
    let is_allowed = |policy| {
        let authorizer = compile(&[policy]);
        let canonical = canonicalize(request, Options::default()).unwrap();
        let decision = authorizer.authorize(&canonical.view(), peer);
        assert_eq!(decision, authorizer.for_peer(peer).authorize(&canonical.view()));
        decision.is_allowed()
    };
    (
        is_allowed(allow(vec![rule.clone()])),
        is_allowed(deny(vec![rule.clone()])),
    )
}

/// It matches: `ALLOW` allows, `DENY` denies.
const MATCHES: (bool, bool) = (true, false);
/// It does not: `ALLOW` denies, `DENY` allows.
const DIFFERS: (bool, bool) = (false, true);
/// It cannot be told, or not without doubt: both deny.
const UNKNOWN: (bool, bool) = (false, false);

/// AZ-4j: the address at our end, and all but it.
#[test]
fn conditions_of_the_peer_compare_its_identity_and_addresses() {
    let caller = sleep();
    let peer = caller
        .peer()
        .to("192.0.2.7".parse().unwrap())
        .asking_for("api.shop.example");
    for (attribute, any_of, none_of, expected) in [
        (Attribute::SourcePrincipal, "cluster.local/ns/default/*", "", MATCHES),
        (Attribute::SourcePrincipal, "*", "*/sa/sleep", DIFFERS),
        (Attribute::SourceNamespace, "d*t", "", MATCHES),
        (Attribute::SourceNamespace, "defaul", "", DIFFERS),
        (Attribute::SourceServiceAccount, "default/sleep", "", MATCHES),
        (Attribute::SourceServiceAccount, "default/*", "", DIFFERS),
        (Attribute::SourceTrustDomain, "cluster.*", "", MATCHES),
        (Attribute::SourceTrustDomain, "", "*local", DIFFERS),
        (Attribute::SourceIp, "10.0.0.0/8", "10.0.0.2", MATCHES),
        (Attribute::SourceIp, "::ffff:10.0.0.1", "", MATCHES),
        (Attribute::SourceIp, "10.0.0.2", "", DIFFERS),
        (Attribute::DestinationIp, "192.0.2.0/24", "", MATCHES),
        (Attribute::DestinationIp, "", "192.0.2.7", DIFFERS),
        (Attribute::DestinationPort, "8080", "80", MATCHES),
        (Attribute::DestinationPort, "80", "", DIFFERS),
        (Attribute::Sni, "*.Shop.example", "", MATCHES),
        (Attribute::Sni, "", "api.*", DIFFERS),
        (Attribute::RemoteIp, "10.0.0.0/8", "10.0.0.2", MATCHES),
        (Attribute::RemoteIp, "", "10.0.0.1", DIFFERS),
        (Attribute::Presenter, "", "app", UNKNOWN),
        (Attribute::Claims(vec!["iss".into()]), "*", "", UNKNOWN),
        (
            Attribute::Foreign("experimental.envoy.filters.a[b]".into()),
            "*",
            "",
            UNKNOWN,
        ),
    ] {
        let list = |text: &'static str| if text.is_empty() { vec![] } else { vec![text] };
        let rule = when(attribute.clone(), &list(any_of), &list(none_of));
        assert_eq!(
            both(&rule, &peer, &get("/")),
            expected,
            "{attribute:?} {any_of} {none_of}"
        );
    }
}

#[test]
fn what_a_peer_does_not_have_is_not_known_whatever_is_asked() {
    let plain = Caller::plain();
    for attribute in [
        Attribute::SourcePrincipal,
        Attribute::SourceNamespace,
        Attribute::SourceServiceAccount,
        Attribute::SourceTrustDomain,
        Attribute::Sni,
    ] {
        for rule in [
            when(attribute.clone(), &["a/b"], &[]),
            when(attribute.clone(), &[], &["a/b"]),
        ] {
            assert_eq!(both(&rule, &plain.peer(), &get("/")), UNKNOWN, "{attribute:?}");
        }
    }
    let rule = when(Attribute::DestinationIp, &[], &["192.0.2.7"]);
    assert_eq!(both(&rule, &plain.peer(), &get("/")), UNKNOWN);
}

#[test]
fn an_element_does_not_hide_another_from_a_denial() {
    let tagged = |value: &str| Request::get("http://a/").header("x-tag", value).body(()).unwrap();
    let plain = Caller::plain();
    let check = |rule: &Rule, value: &str| both(rule, &plain.peer(), &tagged(value));
    let exact = when(header("x-tag"), &["evil"], &[]);
    assert_eq!(check(&exact, "evil"), MATCHES);
    assert_eq!(check(&exact, "good"), DIFFERS);
    assert_eq!(check(&exact, "good, evil"), UNKNOWN, "one text for ALLOW, two for DENY");
    let except = when(header("x-tag"), &[], &["evil"]);
    assert_eq!(check(&except, "good"), MATCHES);
    assert_eq!(
        check(&except, "good, evil"),
        UNKNOWN,
        "two for ALLOW, one text for DENY"
    );
    let there = when(header("x-tag"), &["*"], &[]);
    assert_eq!(check(&there, ""), MATCHES, "there, be it empty");
    assert_eq!(both(&there, &plain.peer(), &get("/")), DIFFERS);
    assert_eq!(
        both(&except, &plain.peer(), &get("/")),
        MATCHES,
        "what is not there has no value"
    );
}

#[test]
fn parts_of_a_request_that_are_written_as_headers() {
    let pseudo = |name: &str| Attribute::Pseudo(name.into());
    let peer = Caller::plain();
    let asked = request("PUT", "Shop.example:8080", "/a");
    for (name, value, expected) in [
        (":method", "PUT", MATCHES),
        (":method", "P*", MATCHES),
        (":method", "put", DIFFERS),
        (":authority", "SHOP.example", MATCHES),
        (":authority", "shop.example:80", DIFFERS),
        (":path", "/a", UNKNOWN),
    ] {
        let rule = when(pseudo(name), &[value], &[]);
        assert_eq!(both(&rule, &peer.peer(), &asked), expected, "{name} {value}");
    }
}

/// Over HTTP/2 no header says it, over HTTP/1 in many forms.
#[test]
fn a_condition_on_the_host_header_is_one_on_the_host() {
    let peer = Caller::plain();
    let said = |line: &str| Request::get("/").header("host", line).body(()).unwrap();
    let of_target = Request::get("http://admin.shop/").body(()).unwrap();
    let asked = [
        of_target,
        said("ADMIN.shop"),
        said("admin.shop:80"),
        said("admin.shop."),
    ];
    let mut by_header = when(header("x-tag"), &[], &[]);
    by_header.when.clear();
    by_header.to = vec![Operation {
        headers: vec![(http::header::HOST, Pattern::Exact("admin.shop".into()))],
        ..Operation::default()
    }];
    for request in &asked {
        let is = when(header("host"), &["admin.shop"], &[]);
        assert_eq!(both(&is, &peer.peer(), request), MATCHES, "{request:?}");
        let is_not = when(header("host"), &[], &["admin.shop"]);
        assert_eq!(both(&is_not, &peer.peer(), request), DIFFERS, "{request:?}");
        assert_eq!(both(&by_header, &peer.peer(), request), MATCHES, "{request:?}");
    }
    let is = when(header("host"), &["admin.shop"], &[]);
    assert_eq!(both(&is, &peer.peer(), &said("shop")), DIFFERS);
}

#[test]
fn all_conditions_must_hold_beside_sources_and_operations() {
    let mut rule = when(header("x-tag"), &["t"], &[]);
    rule.when.extend(when(Attribute::DestinationPort, &["8080"], &[]).when);
    rule.to = vec![operation("methods=GET")];
    let tagged = Request::get("http://a/").header("x-tag", "t").body(()).unwrap();
    let check = |caller: &Caller, request: &Request<()>| both(&rule, &caller.peer(), request);
    assert_eq!(check(&sleep(), &tagged), MATCHES);
    assert_eq!(check(&sleep().on_port(80), &tagged), DIFFERS);
    assert_eq!(check(&sleep(), &get("/")), DIFFERS);
    let connection = compile(&[allow(vec![when(header("x-tag"), &[], &["t"])])]);
    assert!(!connection.authorize_connection(&sleep().peer()).is_allowed());
}

#[test]
fn values_that_are_none_of_their_attribute_are_refused() {
    for (attribute, value) in [
        (Attribute::SourceIp, "10.0.0.0/33"),
        (Attribute::DestinationIp, "host"),
        (Attribute::DestinationPort, "65536"),
        (Attribute::DestinationPort, "80*"),
    ] {
        let refused = check(&allow(vec![when(attribute, &[value], &[])]));
        let expected = format!("policy `foo/allow`: `{value}` is no value of the attribute");
        assert_eq!(refused[0].to_string(), expected);
    }
}

fn named(name: &str, action: Action, to: &str) -> AuthorizationPolicy {
    policy(name, action, vec![rule(&[], &[to])])
}

fn on_trial(policy: AuthorizationPolicy) -> AuthorizationPolicy {
    AuthorizationPolicy {
        enforcement: Enforcement::DryRun,
        ..policy
    }
}

#[test]
fn actions_are_asked_in_their_order() {
    let all = [
        named("allow", Action::Allow, "methods=GET|PUT|POST"),
        named("deny", Action::Deny, "methods=GET|PUT"),
        named("ask", Action::Custom, "methods=GET"),
        named("mark", Action::Audit, "methods=GET|POST"),
    ];
    let authorizer = compile(&all);
    for (method, policy, audited) in [
        ("GET", Some("ask"), true),
        ("PUT", Some("deny"), false),
        ("POST", Some("allow"), true),
        ("HEAD", None, false),
    ] {
        let request = request(method, "a", "/");
        let canonical = canonicalize(&request, Options::default()).unwrap();
        let decision = authorizer.authorize(&canonical.view(), &sleep().peer());
        assert_eq!(
            (decision.policy(), decision.audited().is_some()),
            (policy, audited),
            "{method}"
        );
        assert_eq!(decision.is_allowed(), method == "POST");
    }
}

#[test]
fn who_would_have_to_be_asked_is_told() {
    let mut ask = named("ask", Action::Custom, "methods=GET");
    ask.provider = Some("opa".into());
    let authorizer = compile(&[ask]);
    assert_eq!(authorizer.providers(), ["opa".into()]);
    let decide = |method: &str| {
        let request = request(method, "a", "/");
        let canonical = canonicalize(&request, Options::default()).unwrap();
        authorizer.authorize(&canonical.view(), &sleep().peer()).to_string()
    };
    assert_eq!(
        decide("GET"),
        "rule 0 of policy `foo/ask` has the authorizer `opa` asked, and it was not: it is denied"
    );
    assert_eq!(
        decide("PUT"),
        "no rule of a DENY policy matched, and there is no ALLOW policy"
    );
}

#[test]
fn an_allowed_request_is_still_the_other_rules_to_deny() {
    let custom = |conditions| AuthorizationPolicy {
        provider: Some("opa".into()),
        ..named("ask", Action::Custom, conditions)
    };
    let authorizer = compile(&[custom("paths=/a*"), named("keep", Action::Deny, "methods=DELETE")]);
    let bound = authorizer.for_peer(&sleep().peer());
    for (method, path, asked, once_allowed) in [
        ("GET", "/a", Some("rule 0 of policy `foo/ask` asks `opa`"), true),
        ("DELETE", "/a", Some("rule 0 of policy `foo/ask` asks `opa`"), false),
        ("GET", "/b", None, true),
        ("DELETE", "/b", None, false),
    ] {
        let request = request(method, "a", path);
        let canonical = canonicalize(&request, Options::default()).unwrap();
        let view = canonical.view();
        let question = bound.question(&view);
        assert_eq!(question.map(|question| question.to_string()).as_deref(), asked);
        assert_eq!(question, authorizer.question(&view, &sleep().peer()));
        assert_eq!(
            bound.authorize_allowed(&view).is_allowed(),
            once_allowed,
            "{method} {path}"
        );
        // Who does not ask denies.
        assert_eq!(bound.authorize(&view).is_allowed(), asked.is_none() && once_allowed);
    }
}

#[test]
fn rules_of_servers_have_somebody_asked_too() {
    let mut server = server();
    let mut ask = named("ask", Action::Custom, "methods=GET");
    ask.provider = Some("opa".into());
    server.policies.push(ask);
    let authorizer = Authorizer::with_servers(&[] as &[AuthorizationPolicy], &[server], &httpbin(), ROOT).unwrap();
    assert_eq!(authorizer.providers(), ["opa".into()]);
}

#[test]
fn what_is_on_trial_has_nobody_asked() {
    let tried = on_trial(named("soon", Action::Custom, "methods=GET"));
    let authorizer = compile(&[tried]);
    let request = request("GET", "a", "/");
    let canonical = canonicalize(&request, Options::default()).unwrap();
    assert_eq!(authorizer.question(&canonical.view(), &sleep().peer()), None);
    assert!(authorizer.providers().is_empty());
}

#[test]
fn what_marks_or_is_on_trial_refuses_no_path() {
    let marked = named("mark", Action::Audit, "paths=/a");
    let tried = on_trial(named("soon", Action::Deny, "paths=/a"));
    assert_eq!(compile(&[marked, tried]).path_rules(), PathRules::Absent);
}

/// A server that guards port 8080, with one route that anyone may use.
fn server() -> Server {
    let matches = RouteMatch {
        method: Some(StringMatch::Exact("GET".into())),
        ..RouteMatch::default()
    };
    let rule = ServerRule {
        matches,
        ..ServerRule::default()
    };
    let route = ServerRoute {
        policies: vec![allow(vec![Rule::default()])],
        ..ServerRoute::default()
    };
    let mut server = Server::default();
    server.meta.namespace = "foo".into();
    server.ports = vec![8080];
    server.rules = vec![rule];
    server.routes = vec![route];
    server
}

#[test]
fn routes_do_not_concern_what_is_on_trial() {
    let policies = [
        on_trial(named("soon", Action::Allow, "methods=PUT")),
        named("mark", Action::Audit, "methods=PUT"),
    ];
    let authorizer = Authorizer::with_servers(&policies, &[server()], &httpbin(), ROOT).unwrap();
    for (method, status, trial, audited) in [("GET", 200, false, false), ("PUT", 404, true, true)] {
        let request = request(method, "a", "/");
        let canonical = canonicalize(&request, Options::default()).unwrap();
        let decision = authorizer.authorize(&canonical.view(), &sleep().peer());
        assert_eq!(decision.status().as_u16(), status, "{method}");
        assert_eq!(decision.trial().unwrap().is_allowed(), trial, "{method}");
        assert_eq!(decision.audited().is_some(), audited, "{method}");
        let again = authorizer.for_peer(&sleep().peer());
        assert_eq!(again.authorize(&canonical.view()), decision);
    }
}

#[test]
fn a_denial_comes_before_the_route_that_is_not_there() {
    let deny = [named("deny", Action::Deny, "methods=PUT")];
    let authorizer = Authorizer::with_servers(&deny, &[server()], &httpbin(), ROOT).unwrap();
    let request = request("PUT", "a", "/");
    let canonical = canonicalize(&request, Options::default()).unwrap();
    assert_eq!(
        authorizer
            .authorize(&canonical.view(), &sleep().peer())
            .status()
            .as_u16(),
        403
    );
}

#[test]
fn each_action_has_its_step() {
    let all = [Action::Custom, Action::Deny, Action::Allow, Action::Audit];
    let steps = Steps::new(|action| action);
    assert_eq!(all.map(|action| *steps.of(action)), all);
}

//! One rule of an `AuthorizationPolicy`: sources and operations.

use std::net::IpAddr;

use ipnet::IpNet;

use super::authorization_policy::is_empty_list;
use super::authorization_when::when;
use super::path_template;
use super::scope::Scope;

use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::MeshSettings;
use crate::policy::model::authz::{Condition, Operation, Pattern, Rule, Source};
use crate::policy::reader::{Fields, Reader, list_of};
use crate::policy::source::Node;

/// The most service accounts of a list, and the longest of them.
const ACCOUNTS: usize = 16;
const ACCOUNT_LENGTH: usize = 320;

/// The trust domain that stands for the mesh's own.
const LOCAL_TRUST_DOMAIN: &str = "cluster.local";

/// Reads a rule: an absent list takes every source, or every operation.
pub(super) fn rule(cx: &Reader<'_>, node: &Node, scope: Scope<'_>, mesh: &MeshSettings) -> Option<Rule> {
    let mut fields = cx.mapping(node)?;
    refuse_nothing(cx, node);
    let from = fields.optional("from", |cx, node| {
        items(cx, node, "source", |cx, node| source(cx, node, scope, mesh))
    });
    let to = fields.optional("to", |cx, node| items(cx, node, "operation", operation));
    let when = fields.optional("when", |cx, node| when(cx, node, scope, mesh));
    fields.finish();
    Some(Rule {
        from: from.unwrap_or_default(),
        to: to.unwrap_or_default(),
        when: when.unwrap_or_default(),
        origin: cx.origin(node.span),
        ..Rule::default()
    })
}

/// Refuses fields without a value, as Kubernetes does: a condition that is not there matches everything.
pub(super) fn refuse_nothing(cx: &Reader<'_>, node: &Node) {
    for (key, _) in node.entries().iter().filter(|(_, value)| value.is_null()) {
        let message = format!("{} has no value, so that it would match everything", quoted(&key.name));
        cx.report(Diagnostic::new(Code::INVALID_VALUE, key.span, message).with_help("leave it out if that is meant"));
    }
}

/// Reads a list of `{ name: … }`, which must not be empty: it would match nothing, or everything.
fn items<T>(
    cx: &Reader<'_>,
    node: &Node,
    name: &'static str,
    read: impl Fn(&Reader<'_>, &Node) -> Option<T>,
) -> Option<Vec<T>> {
    if is_empty_list(node) {
        return cx.invalid(node, format!("expected at least one `{name}`, found an empty list"));
    }
    list_of(|cx: &Reader<'_>, item| {
        let mut fields = cx.mapping(item)?;
        let value = fields.required(name, &read);
        fields.finish();
        value
    })(cx, node)
}

fn source(cx: &Reader<'_>, node: &Node, scope: Scope<'_>, mesh: &MeshSettings) -> Option<Source> {
    let errors = cx.errors();
    let mut fields = cx.mapping(node)?;
    refuse_nothing(cx, node);
    let source = Source {
        principals: principals(&mut fields, mesh),
        namespaces: condition(&mut fields, ["namespaces", "notNamespaces"], namespace),
        service_accounts: condition(&mut fields, ["serviceAccounts", "notServiceAccounts"], |cx, node| {
            service_account(cx, node, scope)
        }),
        ip_blocks: condition(&mut fields, ["ipBlocks", "notIpBlocks"], ip_block),
        trust_domains: condition(&mut fields, ["trustDomains", "notTrustDomains"], trust_domain),
        remote_ip_blocks: condition(&mut fields, ["remoteIpBlocks", "notRemoteIpBlocks"], ip_block),
        request_principals: condition(&mut fields, ["requestPrincipals", "notRequestPrincipals"], pattern),
    };
    check_accounts(cx, &mut fields);
    fields.finish();
    if cx.errors() == errors && source == Source::default() {
        return cx.invalid(node, "expected a condition, found none");
    }
    Some(source)
}

fn operation(cx: &Reader<'_>, node: &Node) -> Option<Operation> {
    let errors = cx.errors();
    let mut fields = cx.mapping(node)?;
    refuse_nothing(cx, node);
    let operation = Operation {
        hosts: hosts(&mut fields),
        ports: condition(&mut fields, ["ports", "notPorts"], port),
        methods: condition(&mut fields, ["methods", "notMethods"], pattern),
        paths: condition(&mut fields, ["paths", "notPaths"], path),
        ..Operation::default()
    };
    fields.finish();
    if cx.errors() == errors && operation == Operation::default() {
        return cx.invalid(node, "expected a condition, found none");
    }
    Some(operation)
}

/// Reads a list and its not-form.
fn condition<T>(
    fields: &mut Fields<'_, '_, '_>,
    [any_of, none_of]: [&'static str; 2],
    read: impl Fn(&Reader<'_>, &Node) -> Option<T>,
) -> Condition<T> {
    Condition {
        any_of: fields.list(any_of, &read),
        none_of: fields.list(none_of, &read),
    }
}

fn pattern(cx: &Reader<'_>, node: &Node) -> Option<Pattern> {
    cx.name(node).map(|text| Pattern::wildcard(&text))
}

/// Each principal with those that it stands for in the other names of the mesh's trust domain.
fn principals(fields: &mut Fields<'_, '_, '_>, mesh: &MeshSettings) -> Condition<Pattern> {
    let all = condition(fields, ["principals", "notPrincipals"], |cx, node| {
        principal(cx, node, mesh)
    });
    Condition {
        any_of: all.any_of.into_iter().flatten().collect(),
        none_of: all.none_of.into_iter().flatten().collect(),
    }
}

fn principal(cx: &Reader<'_>, node: &Node, mesh: &MeshSettings) -> Option<Vec<Pattern>> {
    let texts = in_trust_domains(principal_text(cx, node)?, mesh);
    Some(texts.iter().map(|text| Pattern::wildcard(text)).collect())
}

/// Reads an id without its scheme: with it, it would never match.
pub(super) fn principal_text(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.name(node)?;
    let (scheme, rest) = text.split_at_checked("spiffe://".len()).unwrap_or(("", &text));
    if scheme.eq_ignore_ascii_case("spiffe://") {
        return cx.invalid(
            node,
            format!("a principal is written without `spiffe://`: {}", quoted(rest)),
        );
    }
    Some(text)
}

/// An id of `cluster.local`, or of another name of the mesh's trust domain, is one of all of them (Istio); one that
/// begins with `*` keeps those names as they are that it takes.
pub(super) fn in_trust_domains(principal: String, mesh: &MeshSettings) -> Vec<String> {
    let is_full = principal.split('/').count() == 5;
    let names = || std::iter::once(&mesh.trust_domain).chain(&mesh.trust_domain_aliases);
    let Some((domain, rest)) = principal.split_once('/').filter(|_| is_full) else {
        return vec![principal];
    };
    let takes = |name: &str| name == domain || domain.strip_prefix('*').is_some_and(|end| name.ends_with(end));
    if domain == "*" || (domain != LOCAL_TRUST_DOMAIN && !names().any(|name| takes(name))) {
        return vec![principal];
    }
    let mut all: Vec<String> = Vec::new();
    for name in names() {
        let one = if takes(name) {
            principal.clone()
        } else {
            format!("{name}/{rest}")
        };
        if !all.contains(&one) {
            all.push(one);
        }
    }
    all
}

pub(super) fn trust_domain(cx: &Reader<'_>, node: &Node) -> Option<Pattern> {
    let text = cx.name(node)?;
    if text.contains('/') || text.matches('*').count() > 1 {
        let expected = "expected a trust domain, with one `*` at most";
        return cx.invalid(node, format!("{expected}, found {}", quoted(&text)));
    }
    Some(Pattern::wildcard(&text))
}

fn namespace(cx: &Reader<'_>, node: &Node) -> Option<Pattern> {
    let text = cx.name(node)?;
    Some(if text.contains('*') {
        Pattern::Glob(text)
    } else {
        Pattern::Exact(text)
    })
}

/// Reads `name`, of the policy's own namespace, or `namespace/name`.
fn service_account(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Pattern> {
    account_name(cx, node, scope).map(Pattern::Exact)
}

/// The account's name behind that of its namespace.
pub(super) fn account_name(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<String> {
    let text = cx.name(node)?;
    let is_name = !text.contains('*') && text.matches('/').count() < 2 && text.split('/').all(|part| !part.is_empty());
    if !is_name || text.len() > ACCOUNT_LENGTH {
        let expected = format!("expected `name` or `namespace/name` of at most {ACCOUNT_LENGTH} characters");
        return cx.invalid(node, format!("{expected}, found {}", quoted(&text)));
    }
    let is_short = !text.contains('/');
    Some(match is_short {
        true => format!("{}/{text}", scope.namespace),
        false => text,
    })
}

/// Service accounts stand for principals and namespaces, and are few.
fn check_accounts(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) {
    let accounts = ["serviceAccounts", "notServiceAccounts"].map(|name| fields.entry(name));
    for (key, node) in accounts.into_iter().flatten() {
        if node.items().len() > ACCOUNTS {
            let message = format!(
                "{} has {} items, the limit is {ACCOUNTS}",
                quoted(&key.name),
                node.items().len()
            );
            cx.report(Diagnostic::new(Code::INVALID_VALUE, key.span, message));
        }
    }
    let Some((account, _)) = accounts.into_iter().flatten().next() else {
        return;
    };
    for name in ["principals", "notPrincipals", "namespaces", "notNamespaces"] {
        if let Some((key, _)) = fields.entry(name) {
            let message = format!(
                "fields {} and {} exclude each other",
                quoted(&account.name),
                quoted(&key.name)
            );
            let diagnostic = Diagnostic::new(Code::CONFLICTING_FIELDS, key.span, message);
            cx.report(diagnostic.with_label(account.span, "given here"));
        }
    }
}

pub(super) fn ip_block(cx: &Reader<'_>, node: &Node) -> Option<IpNet> {
    let text = cx.name(node)?;
    let block = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    match block {
        Ok(block) => Some(block.trunc()),
        Err(_) => cx.invalid(
            node,
            format!(
                "expected an IP address or a block such as `10.0.0.0/8`, found {}",
                quoted(&text)
            ),
        ),
    }
}

/// Reads hosts, each once: `host` and `host:*` are the same.
fn hosts(fields: &mut Fields<'_, '_, '_>) -> Condition<Pattern> {
    let mut hosts = condition(fields, ["hosts", "notHosts"], host);
    for list in [&mut hosts.any_of, &mut hosts.none_of] {
        let mut seen = std::collections::BTreeSet::new();
        list.retain(|host| seen.insert(host.clone()));
    }
    hosts
}

/// Reads a host, which is compared without case; where it names a port, the request must be for that one.
fn host(cx: &Reader<'_>, node: &Node) -> Option<Pattern> {
    let text = cx.name(node)?;
    // `host:*` is the host with any port, as the host alone is.
    let text = text.strip_suffix(":*").unwrap_or(&text);
    Some(Pattern::wildcard(&text.to_ascii_lowercase()))
}

pub(super) fn port(cx: &Reader<'_>, node: &Node) -> Option<u16> {
    let text = cx.name(node)?;
    match text.parse() {
        Ok(port) => Some(port),
        Err(_) => cx.invalid(
            node,
            format!("expected a port of 0 to 65535 in quotes, found {}", quoted(&text)),
        ),
    }
}

fn path(cx: &Reader<'_>, node: &Node) -> Option<Pattern> {
    let text = cx.name(node)?;
    if !path_template::is_template(&text) {
        return Some(Pattern::wildcard(&text));
    }
    match path_template::problem(&text) {
        None => Some(Pattern::Template(text)),
        Some(problem) => cx.invalid(node, problem),
    }
}

//! Authorization rules that do not do what they seem to.

use std::collections::BTreeSet;

use super::kept::Kept;
use super::modes::{Mode, Modes};
use crate::policy::diagnostic::{Code, Diagnostic, Report, listed, quoted};
use crate::policy::model::authz::{
    Action, Attribute, AuthorizationPolicy, Condition, Enforcement, Operation, Pattern, Rule, Source, When,
};
use crate::policy::model::identity::MtlsMode;
use crate::policy::model::{MeshSettings, Policy};
use crate::workers::Workers;

pub(super) fn check(
    (policy, workers): (&Policy, &dyn Workers),
    modes: &Modes<'_>,
    patterns: &mut Kept<Rule>,
    report: &mut Report,
) {
    let lists = policy.authorizations.iter().map(|one| &one.rules);
    patterns.look(lists, workers, |rules, report| {
        rules.iter().for_each(|rule| check_patterns(rule, &policy.mesh, report));
    });
    for one in &policy.authorizations {
        patterns.report(&one.rules, report);
        if one.enforcement == Enforcement::Enforced {
            check_meaning(one, modes, report);
        }
    }
}

fn check_meaning(one: &AuthorizationPolicy, modes: &Modes<'_>, report: &mut Report) {
    for rule in &one.rules {
        if one.action == Action::Allow && is_empty(rule) {
            let message = "the rule has no condition: it allows every request";
            let help = "say who may do what; without any ALLOW policy everything is allowed as well";
            report.push(Diagnostic::new(Code::ALLOWS_ALL, &rule.origin, message).with_help(help));
        }
        if one.action == Action::Deny {
            check_bypass(rule, report);
        }
    }
    check_identity(one, modes, report);
}

const fn is_empty(rule: &Rule) -> bool {
    rule.from.is_empty() && rule.to.is_empty() && rule.when.is_empty()
}

/// A rule on identities, where callers may come without one.
fn check_identity(one: &AuthorizationPolicy, modes: &Modes<'_>, report: &mut Report) {
    let mode = modes.of_selected(&one.meta.namespace, &one.selector);
    if !modes.are_told() || mode.mode == MtlsMode::Strict {
        return;
    }
    let consequence = match one.action {
        Action::Allow => "allows",
        Action::Deny => "denies",
        _ => return,
    };
    if let Some(rule) = one.rules.iter().find(|rule| needs_identity(rule)) {
        report.push(without_identity(rule, consequence, mode));
    }
}

fn without_identity(rule: &Rule, verb: &str, mode: Mode<'_>) -> Diagnostic {
    let takes = match mode.mode {
        MtlsMode::Disable => "its workloads take only plain text",
        _ => "its workloads take plain text, too",
    };
    let message = format!("the rule never {verb} callers without an identity, and {takes}");
    let diagnostic = Diagnostic::new(Code::IDENTITY_NOT_ASSURED, &rule.origin, message);
    let diagnostic = match mode.origin {
        Some(origin) => diagnostic.with_label(origin, "the mode"),
        None => diagnostic,
    };
    diagnostic.with_help("set the mode `STRICT`: identities are known over mTLS only")
}

fn needs_identity(rule: &Rule) -> bool {
    let of_source = |source: &Source| {
        let conditions = [
            &source.principals,
            &source.namespaces,
            &source.service_accounts,
            &source.trust_domains,
        ];
        conditions.iter().any(|condition| !condition.any_of.is_empty())
    };
    let of_when = |when: &When| {
        let is_identity = matches!(
            when.attribute,
            Attribute::SourcePrincipal
                | Attribute::SourceNamespace
                | Attribute::SourceServiceAccount
                | Attribute::SourceTrustDomain
        );
        is_identity && !when.values.any_of.is_empty()
    };
    (!rule.from.is_empty() && rule.from.iter().all(of_source)) || rule.when.iter().any(of_when)
}

/// Paths that a rule denies, and near ones that it does not. A final slash and escapes are looked after at run time.
fn check_bypass(rule: &Rule, report: &mut Report) {
    let patterns: Vec<&Pattern> = rule.to.iter().flat_map(|operation| &operation.paths.any_of).collect();
    let denied: BTreeSet<&Pattern> = patterns.iter().copied().collect();
    for pattern in patterns {
        let (message, help) = match pattern {
            Pattern::Prefix(prefix) if prefix.ends_with('/') && prefix.len() > 1 => {
                let folder = prefix.trim_end_matches('/');
                let covers = [Pattern::Exact(folder.into()), Pattern::Prefix(folder.into())];
                if covers.iter().any(|cover| denied.contains(cover)) {
                    continue;
                }
                (
                    format!("{} is not denied: the rule denies what is below it", quoted(folder)),
                    format!("add {} where it is meant, too", quoted(folder)),
                )
            }
            Pattern::Suffix(suffix) if !suffix.contains('*') => (
                format!("paths that go on after {} are not denied", quoted(suffix)),
                "many servers take `/a/b` for `/a`: deny a prefix, or allow what is good instead".into(),
            ),
            _ => continue,
        };
        report.push(Diagnostic::new(Code::DENY_BYPASSED, &rule.origin, message).with_help(help));
    }
}

/// Texts that no request meets, and `*` that stand for themselves.
fn check_patterns(rule: &Rule, mesh: &MeshSettings, report: &mut Report) {
    let mut told = |code: Code, (message, help): (String, String)| {
        report.push(Diagnostic::new(code, &rule.origin, message).with_help(help));
    };
    let when: Vec<(&Attribute, Pattern)> = rule.when.iter().flat_map(patterns_of).collect();
    let principals = rule.from.iter().flat_map(|source| all(&source.principals));
    let of_when = when
        .iter()
        .filter(|(attribute, _)| **attribute == Attribute::SourcePrincipal)
        .map(|(_, pattern)| pattern);
    for principal in principals.chain(of_when) {
        if let Some(reason) = foreign(principal, mesh) {
            told(Code::NEVER_MATCHES, reason);
        }
    }
    for host in rule.to.iter().flat_map(|operation| all(&operation.hosts)) {
        if let Some(reason) = within_a_name(host) {
            told(Code::SUFFIX_WITHOUT_DOT, reason);
        }
    }
    for path in rule.to.iter().flat_map(|operation| all(&operation.paths)) {
        if let Some(reason) = no_path(path) {
            told(Code::NEVER_MATCHES, reason);
        }
        if let Some(reason) = literal_dot(path) {
            told(Code::LITERAL_WILDCARD, reason);
        }
    }
    for method in rule.to.iter().flat_map(|operation| all(&operation.methods)) {
        if let Some(reason) = no_method(method) {
            told(Code::NEVER_MATCHES, reason);
        }
    }
    let texts = rule
        .to
        .iter()
        .flat_map(texts_of)
        .chain(when.iter().map(|(_, pattern)| pattern));
    let sources = rule
        .from
        .iter()
        .flat_map(|source| all(&source.principals).chain(all(&source.request_principals)));
    for pattern in texts.chain(sources) {
        if let Some(reason) = literal_wildcard(pattern) {
            told(Code::LITERAL_WILDCARD, reason);
        }
    }
}

/// An end of hosts that is not below a dot takes names that others may register.
fn within_a_name(host: &Pattern) -> Option<(String, String)> {
    let Pattern::Suffix(end) = host else { return None };
    let is_part = end.contains('.') && !end.starts_with('.');
    is_part.then(|| {
        let message = format!(
            "`hosts`: {} takes any host that ends so, such as `x{end}`",
            quoted(&format!("*{end}"))
        );
        (
            message,
            format!("write `*.{end}` for the hosts below it, and `{end}` for itself"),
        )
    })
}

fn all<T>(condition: &Condition<T>) -> impl Iterator<Item = &T> + Clone {
    condition.any_of.iter().chain(&condition.none_of)
}

fn texts_of(operation: &Operation) -> impl Iterator<Item = &Pattern> {
    let headers = operation.headers.iter().map(|(_, pattern)| pattern);
    all(&operation.hosts)
        .chain(all(&operation.methods))
        .chain(all(&operation.paths))
        .chain(headers)
}

/// The values of a condition that are patterns.
fn patterns_of(when: &When) -> impl Iterator<Item = (&Attribute, Pattern)> {
    let is_pattern = !matches!(
        when.attribute,
        Attribute::SourceIp
            | Attribute::RemoteIp
            | Attribute::DestinationIp
            | Attribute::DestinationPort
            | Attribute::SourceNamespace
            | Attribute::SourceServiceAccount
    );
    let values = all(&when.values).filter(move |_| is_pattern);
    values.map(|value| (&when.attribute, Pattern::wildcard(value)))
}

/// Why no peer of this mesh has an identity of this pattern, and what to do.
fn foreign(pattern: &Pattern, mesh: &MeshSettings) -> Option<(String, String)> {
    let (Pattern::Exact(text) | Pattern::Prefix(text)) = pattern else {
        return None;
    };
    let never =
        |reason: &str, help: String| Some((format!("principal {} can never match: {reason}", shown(pattern)), help));
    let mut names = std::iter::once(&mesh.trust_domain).chain(&mesh.trust_domain_aliases);
    let Some((domain, path)) = text.split_once('/') else {
        let is_part = matches!(pattern, Pattern::Prefix(_));
        return match is_part && names.any(|name| name.starts_with(text.as_str())) {
            true => None,
            false => never(
                "it is no identity",
                "write `trust-domain/ns/namespace/sa/account`".into(),
            ),
        };
    };
    if domain == "spiffe:" {
        return never("`spiffe://` is left out of principals", "remove `spiffe://`".into());
    }
    if !names.any(|name| name == domain) {
        let names: Vec<&str> = names_of(mesh).into_iter().collect();
        let reason = format!("trust domain {} is not the mesh's, {}", quoted(domain), listed(&names));
        return never(&reason, "correct it, or make it an alias of the mesh's".into());
    }
    // Of more parts only the first are looked at.
    let mut parts = [""; 4];
    let found = parts.iter_mut().zip(path.split('/'));
    let count = found.map(|(place, part)| *place = part).count();
    let is_id = match (pattern, parts.get(..count).unwrap_or_default()) {
        (Pattern::Prefix(_), [kind]) => "ns".starts_with(kind),
        (Pattern::Prefix(_), ["ns", _]) => true,
        (Pattern::Prefix(_), ["ns", _, kind]) => "sa".starts_with(kind),
        (Pattern::Prefix(_), ["ns", _, "sa", ..]) => true,
        (_, ["ns", _, "sa", _, ..]) => true,
        _ => false,
    };
    match is_id {
        true => None,
        false => never(
            "identities of workloads have a namespace and an account",
            "write `trust-domain/ns/namespace/sa/account`".into(),
        ),
    }
}

fn names_of(mesh: &MeshSettings) -> BTreeSet<&str> {
    let aliases = mesh.trust_domain_aliases.iter().map(String::as_str);
    aliases.chain([mesh.trust_domain.as_str()]).collect()
}

/// Why no canonical path is of this pattern, and what to do.
fn no_path(pattern: &Pattern) -> Option<(String, String)> {
    let (Pattern::Exact(text) | Pattern::Prefix(text)) = pattern else {
        return None;
    };
    let (reason, help) = if !text.starts_with('/') {
        ("paths begin with `/`", "write `/` before it")
    } else if text.contains("//") {
        ("slashes are merged before paths are compared", "write one `/`")
    } else if text.contains('?') {
        ("paths are compared without their query", "write the path alone")
    } else {
        return None;
    };
    Some((
        format!("path {} can never match: {reason}", shown(pattern)),
        help.into(),
    ))
}

/// Methods that everybody knows, which requests write in capitals.
const METHODS: &[&str] = &[
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT",
];

/// Why no known method is of this pattern, and what to do.
fn no_method(pattern: &Pattern) -> Option<(String, String)> {
    let Pattern::Exact(text) = pattern else {
        return None;
    };
    let meant = METHODS.iter().find(|method| method.eq_ignore_ascii_case(text))?;
    (meant != text).then(|| {
        let message = format!(
            "method {} can never match: methods are compared with their case",
            quoted(text)
        );
        (message, format!("write `{meant}`"))
    })
}

/// Why the dot of a `.*` is compared as it is, and what to do.
fn literal_dot(pattern: &Pattern) -> Option<(String, String)> {
    let Pattern::Prefix(text) = pattern else {
        return None;
    };
    let meant = text.strip_suffix('.').filter(|rest| rest.ends_with('/'))?;
    let message = format!("in {} the `.` is compared as it is: this is no regex", shown(pattern));
    Some((message, format!("write {}", quoted(&format!("{meant}*")))))
}

/// Why a `*` is compared as it is, and what to do.
fn literal_wildcard(pattern: &Pattern) -> Option<(String, String)> {
    let (Pattern::Exact(text) | Pattern::Prefix(text) | Pattern::Suffix(text)) = pattern else {
        return None;
    };
    if !text.contains('*') {
        return None;
    }
    let message = match pattern {
        Pattern::Exact(_) => format!("in {} the `*` is compared as it is", shown(pattern)),
        _ => format!(
            "in {} only one `*` stands for any text, the rest is compared as it is",
            shown(pattern)
        ),
    };
    Some((
        message,
        "a `*` stands for any text at the start or at the end, not at both".into(),
    ))
}

/// A pattern as it was written.
fn shown(pattern: &Pattern) -> String {
    quoted(&pattern.to_string())
}

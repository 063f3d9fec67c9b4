//! Cilium's policies, as far as they say who may send which requests to a workload.
//!
//! What a policy selects is closed: whatever no `ingress` entry of all policies allows is denied. Entries are united, so
//! that one without HTTP rules voids those with them for the same peers and ports. `ingressDeny` goes before.
//!
//! Cilium knows its peers by the labels of their pods; here a peer proves its identity by mTLS, which has a
//! namespace and a service account. An entry that asks for other labels allows nobody, and says so; one that denies
//! denies everyone whom it may mean. Address ranges are compared with the address of the connection, whoever it is.

use super::{Dialect, Object, names, pattern};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::authz::{Action, AuthorizationPolicy, Rule};
use crate::policy::model::{MeshSettings, Policy};
use crate::policy::reader::{Fields, Reader, list_of};
use crate::policy::source::{Node, SourceSpan};

mod http_rule;
mod peers;
mod ports;
mod selector;

use selector::Subject;

/// The dialect.
pub const DIALECT: Dialect = Dialect {
    name: "cilium",
    spelling: crate::policy::reader::Spelling::Exact,
    knows: |api_version, kind| api_version == "cilium.io/v2" && (kind == NAMESPACED || kind == CLUSTERWIDE),
    is_settings: |_| false,
    lower,
};

const NAMESPACED: &str = "CiliumNetworkPolicy";
const CLUSTERWIDE: &str = "CiliumClusterwideNetworkPolicy";

/// Where a policy holds, and what identities of the mesh look like.
#[derive(Clone, Copy)]
struct Scope<'s> {
    /// The namespace of its peers where they name none; `None` is any.
    namespace: Option<&'s str>,
    mesh: &'s MeshSettings,
}

/// What an entry does, and where it holds.
#[derive(Clone, Copy)]
struct Entry<'s> {
    action: Action,
    scope: Scope<'s>,
}

impl Entry<'_> {
    /// Warns of what cannot be known: it allows nobody, and denies whomever it may mean.
    fn unknown(self, cx: &Reader<'_>, span: SourceSpan, what: &str) {
        let effect = match self.action {
            Action::Deny => "it denies everyone whom it may mean",
            _ => "it allows nobody",
        };
        cx.report(Diagnostic::new(Code::NO_EFFECT, span, format!("{what}: {effect}")));
    }
}

fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    let Some(mut fields) = cx.mapping(object.node) else {
        return;
    };
    fields.skip(&["apiVersion", "kind", "metadata", "status", "description"]);
    let mesh = policy.mesh.clone();
    let namespace = (object.kind == NAMESPACED).then_some(object.meta.namespace.as_str());
    let scope = Scope { namespace, mesh: &mesh };
    let read = |cx: &Reader<'_>, node: &Node| specification(cx, node, object, scope);
    let one = fields.optional("spec", read);
    let several = fields.optional("specs", list_of(read));
    if object.node.get("spec").is_none() && object.node.get("specs").is_none() {
        fields.missing(&["spec", "specs"]);
    }
    fields.finish();
    let all = one.into_iter().chain(several.into_iter().flatten());
    policy.authorizations.extend(all.flatten());
}

fn specification(
    cx: &Reader<'_>,
    node: &Node,
    object: &Object<'_>,
    scope: Scope<'_>,
) -> Option<Vec<AuthorizationPolicy>> {
    let mut fields = cx.mapping(node)?;
    let reason = "a process is no node";
    fields.refuse("nodeSelector", Code::NOT_IN_PROCESS, reason);
    let subjects = match node.get("nodeSelector") {
        Some(_) => fields.node("endpointSelector").and(None),
        None => fields.required("endpointSelector", |cx, node| Subject::read(cx, node, scope)),
    };
    let of = |action| Entry { action, scope };
    let allowed = rules(&mut fields, "ingress", of(Action::Allow));
    let denied = rules(&mut fields, "ingressDeny", of(Action::Deny));
    for name in ["egress", "egressDeny"] {
        let reason = "what a workload may call is not limited";
        fields.refuse(name, Code::NOT_YET_IN_FORCE, reason);
    }
    let closed = fields.optional("enableDefaultDeny", default_deny).flatten();
    fields.skip(&["labels", "description", "log"]);
    fields.finish();
    let is_closed = closed.unwrap_or_else(|| allowed.is_some() || denied.is_some());
    let mut policies = Vec::new();
    for subject in subjects? {
        let policy = |action, rules: &[Rule]| AuthorizationPolicy {
            selector: subject.labels.clone(),
            service_accounts: subject.accounts.clone(),
            rules: rules.to_vec().into(),
            ..AuthorizationPolicy::new(subject.meta(&object.meta, scope), action)
        };
        if is_closed || allowed.is_some() {
            policies.push(policy(Action::Allow, allowed.as_deref().unwrap_or_default()));
        }
        policies.extend(denied.as_deref().map(|rules| policy(Action::Deny, rules)));
    }
    Some(policies)
}

/// Reads entries; `None` where there is none, so that nothing is closed.
fn rules(fields: &mut Fields<'_, '_, '_>, name: &'static str, of: Entry<'_>) -> Option<Vec<Rule>> {
    let node = fields.node(name).filter(|node| !node.items().is_empty());
    let found = fields.list(name, |cx, node| entry(cx, node, of));
    node.map(|_| found.into_iter().flatten().collect())
}

/// Reads an entry of `ingress` or `ingressDeny`: a rule for each of its groups of ports.
fn entry(cx: &Reader<'_>, node: &Node, of: Entry<'_>) -> Option<Vec<Rule>> {
    let mut fields = cx.mapping(node)?;
    let peers = peers::read(cx, &mut fields, of);
    let is_of_icmp = fields.node("icmps").is_some();
    let operations = ports::read(&mut fields, of);
    fields.finish();
    let from = match (peers, &operations) {
        // Nobody is named, and no port: such an entry only closes what the policy selects.
        (None, None) => return Some(Vec::new()),
        (None, Some(_)) => Vec::new(),
        (Some(sources), _) if sources.is_empty() => return Some(Vec::new()),
        (Some(sources), _) => sources,
    };
    let groups = match operations {
        Some(groups) => groups,
        None if is_of_icmp => Vec::new(),
        None => vec![Vec::new()],
    };
    let rule = |to| Rule {
        from: from.clone(),
        to,
        origin: cx.origin(node.span),
        ..Rule::default()
    };
    Some(groups.into_iter().map(rule).collect())
}

/// Reads `enableDefaultDeny.ingress`. What is left open by a policy that allows is the same as no policy, unless another one closes it.
fn default_deny(cx: &Reader<'_>, node: &Node) -> Option<Option<bool>> {
    let mut fields = cx.mapping(node)?;
    let ingress = fields.optional("ingress", Reader::bool);
    fields.optional("egress", Reader::bool);
    if ingress == Some(false) {
        let reason = "a policy that allows closes what it selects";
        fields.refuse("ingress", Code::NOT_YET_IN_FORCE, reason);
    }
    fields.finish();
    Some(ingress)
}

#[cfg(test)]
mod tests;

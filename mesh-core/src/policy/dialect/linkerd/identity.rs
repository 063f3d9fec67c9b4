//! Linkerd's identities as SPIFFE ids.
//!
//! Linkerd names an account `<account>.<namespace>.serviceaccount.identity.<linkerd's namespace>.<trust domain>`. Here the same
//! account has the id `spiffe://<trust domain>/ns/<namespace>/sa/<account>`, whichever namespace Linkerd runs in.

use crate::policy::model::authz::Pattern;

/// What is between the account and the place where Linkerd runs.
const MARK: &str = "serviceaccount.identity.";

/// The namespace that Linkerd runs in, unless a name says otherwise.
const CONTROL_PLANE: &str = "linkerd.";

/// The ids that an account has: those of the mesh's own trust domain.
pub(super) fn account(trust_domain: &str, namespace: &str, name: &str) -> Pattern {
    Pattern::Exact(format!("{trust_domain}/ns/{namespace}/sa/{name}"))
}

/// The ids that all accounts of a namespace have.
pub(super) fn namespace(trust_domain: &str, namespace: &str) -> Pattern {
    Pattern::Prefix(format!("{trust_domain}/ns/{namespace}/sa/"))
}

/// The ids that an entry of `identities` means; `None` where it is a name that no id stands for.
///
/// `*` is any id, `*.` before a name any id whose name ends with it. Anything else is one name, or one id.
pub(super) fn pattern(text: &str) -> Option<Pattern> {
    if text == "*" {
        return Some(Pattern::Present);
    }
    if let Some(id) = text.strip_prefix("spiffe://") {
        return Some(Pattern::Exact(id.into()));
    }
    match text.strip_prefix("*.") {
        Some(suffix) => by_suffix(suffix),
        None => by_name(text),
    }
}

fn by_name(name: &str) -> Option<Pattern> {
    let (subject, place) = name.split_once(&format!(".{MARK}"))?;
    let (account_name, own_namespace) = subject.rsplit_once('.')?;
    let (_, trust_domain) = place.split_once('.')?;
    let parts = [account_name, own_namespace, trust_domain];
    let is_plain = parts.iter().all(|part| is_name(part));
    is_plain.then(|| account(trust_domain, own_namespace, account_name))
}

fn by_suffix(suffix: &str) -> Option<Pattern> {
    if !is_name(suffix) {
        return None;
    }
    if let Some(place) = suffix.strip_prefix(MARK).or_else(|| suffix.strip_prefix("identity.")) {
        let (_, trust_domain) = place.split_once('.')?;
        return Some(Pattern::Prefix(format!("{trust_domain}/ns/")));
    }
    if let Some((subject, place)) = suffix.split_once(&format!(".{MARK}")) {
        let (_, trust_domain) = place.split_once('.')?;
        return Some(match subject.rsplit_once('.') {
            None => namespace(trust_domain, subject),
            Some((end, own)) => {
                let [trust_domain, own, end] = [trust_domain, own, end].map(regex::escape);
                Pattern::Regex(format!(r"{trust_domain}/ns/{own}/sa/[^/]+\.{end}"))
            }
        });
    }
    let domain = suffix.strip_prefix(CONTROL_PLANE).unwrap_or(suffix);
    // The name of a trust domain, or the end of one.
    Some(Pattern::Regex(format!(r"([^/]+\.)?{}/ns/.+", regex::escape(domain))))
}

fn is_name(text: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.chars().all(is_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_accounts_stand_for_their_ids() {
        let exact = |id: &str| Some(Pattern::Exact(id.into()));
        let prefix = |start: &str| Some(Pattern::Prefix(start.into()));
        for (text, expected) in [
            ("*", Some(Pattern::Present)),
            (
                "web.shop.serviceaccount.identity.linkerd.cluster.local",
                exact("cluster.local/ns/shop/sa/web"),
            ),
            (
                "a.b.shop.serviceaccount.identity.mesh.example.com",
                exact("example.com/ns/shop/sa/a.b"),
            ),
            ("spiffe://other/workload", exact("other/workload")),
            ("some.id.local", None),
            ("**.x", None),
            ("*", Some(Pattern::Present)),
            ("web.*.serviceaccount.identity.linkerd.cluster.local", None),
            (
                "*.shop.serviceaccount.identity.linkerd.cluster.local",
                prefix("cluster.local/ns/shop/sa/"),
            ),
            (
                "*.serviceaccount.identity.linkerd.cluster.local",
                prefix("cluster.local/ns/"),
            ),
            ("*.identity.linkerd.cluster.local", prefix("cluster.local/ns/")),
            (
                "*.linkerd.cluster.local",
                Some(Pattern::Regex(r"([^/]+\.)?cluster\.local/ns/.+".into())),
            ),
            (
                "*.b.shop.serviceaccount.identity.linkerd.cluster.local",
                Some(Pattern::Regex(r"cluster\.local/ns/shop/sa/[^/]+\.b".into())),
            ),
            ("*.*.x", None),
        ] {
            assert_eq!(pattern(text), expected, "{text}");
        }
    }
}

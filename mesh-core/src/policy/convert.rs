//! A policy of any dialect as native documents.
//!
//! ```
//! use mesh_core::policy::{Loaded, convert};
//!
//! let loaded = Loaded::from_files([("s.yaml", "
//! apiVersion: security.istio.io/v1
//! kind: AuthorizationPolicy
//! metadata: { name: web, namespace: shop }
//! spec: { rules: [{ from: [{ source: { principals: [cluster.local/ns/shop/sa/web] } }] }] }
//! ")]);
//! let documents = convert::to_native(&loaded).unwrap();
//! assert_eq!(
//!     serde_json::to_string(&documents[0]).unwrap(),
//!     r#"{"namespace":"shop","authorization":[{"name":"web","allow":[{"from":["cluster.local/ns/shop/sa/web"]}]}]}"#
//! );
//! ```

use super::diagnostic::{Code, Report};
use super::dialect::native;
use super::load::Loaded;
use super::model::Policy;
use super::source::Sources;

pub use native::{Tree, schema};

/// The documents that mean what the loaded ones do; `None` where these have errors.
///
/// What is not yet in force stays so. Where the native dialect has no field for it, its text stands in the section
/// `deferred`, so that a service refuses to start with the result as it does with the original.
#[must_use]
pub fn to_native(loaded: &Loaded) -> Option<Vec<Tree>> {
    let policy = loaded.policy.as_ref()?;
    Some(documents(policy, &loaded.report, &loaded.sources))
}

/// The same for a policy with what was reported about it.
#[must_use]
pub fn documents(policy: &Policy, report: &Report, sources: &Sources) -> Vec<Tree> {
    let mut documents = native::write(policy);
    let told = deferred(report, sources);
    let converted = Loaded::from_files([("native", text(&documents))]);
    let again = deferred(&converted.report, &converted.sources);
    if told.len() > again.len() {
        documents.push(native::deferring(without(told, again)));
    }
    documents
}

/// The messages for which there is none that gives the same reason, each once.
fn without(told: Vec<String>, mut again: Vec<String>) -> Vec<String> {
    let mut left: Vec<String> = Vec::new();
    for message in told {
        match again.iter().position(|other| reason(other) == reason(&message)) {
            Some(index) => {
                again.swap_remove(index);
            }
            None if left.contains(&message) => {}
            None => left.push(message),
        }
    }
    left
}

/// Why something is not in force: fields have another name in each dialect, the reason is the same.
fn reason(message: &str) -> &str {
    message.split_once(": ").map_or(message, |(_, reason)| reason)
}

/// Documents as text that can be read: JSON, which is YAML as well.
fn text(documents: &[Tree]) -> String {
    let texts = documents
        .iter()
        .filter_map(|document| serde_json::to_string(document).ok());
    texts.map(|text| format!("---\n{text}\n")).collect()
}

/// What is told not to be in force yet.
fn deferred(report: &Report, sources: &Sources) -> Vec<String> {
    let findings = report.sorted(sources);
    let findings = findings.iter().filter(|one| one.code == Code::NOT_YET_IN_FORCE);
    findings.map(|one| one.message.to_string()).collect()
}

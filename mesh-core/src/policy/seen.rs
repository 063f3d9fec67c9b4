//! Callers that were seen to speak plain text, and whether a policy would cut them off.
//!
//! A server lists them on its admin page `/plaintext`. Before a port is made `STRICT`, [`check`] says whom that refuses.
//!
//! ```
//! use std::time::Duration;
//! use mesh_core::policy::{Loaded, seen};
//!
//! let seen: seen::PlainCallers = serde_json::from_str(r#"{
//!     "now": 7200, "service": "orders.shop.svc.cluster.local",
//!     "workload": { "namespace": "shop", "service_account": "orders", "name": "orders", "labels": {} },
//!     "callers": [{ "address": "10.0.0.7", "port": 8080, "requests": 3, "first_seen": 100, "last_seen": 7100 }]
//! }"#)?;
//! let mut loaded = Loaded::from_files([("mesh.yaml", "mesh: { mtls: strict }")]);
//! seen::check(loaded.policy.as_ref().unwrap(), &[seen], Duration::from_secs(3600), &mut loaded.report);
//! assert!(loaded.report.lines(&loaded.sources)[0].contains("10.0.0.7 (3 requests)"));
//! # Ok::<(), serde_json::Error>(())
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::diagnostic::{Code, Diagnostic, Report, quoted};
use super::model::identity::MtlsMode;
use super::model::{Labels, Policy};
use crate::decide::authz::resolve_mtls;
use crate::time::format_duration;
use crate::workload::Workload;

/// So many callers are named.
const NAMED: usize = 5;

/// The callers that one process has seen to speak plain text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "it is what the page of the admin listener says"
)]
pub struct PlainCallers {
    /// When the list was made, in seconds since 1970.
    pub now: u64,
    /// The workload that they called.
    pub workload: SeenWorkload,
    /// What that is called in metrics.
    pub service: String,
    /// The latest first.
    pub callers: Vec<PlainCaller>,
    /// How many were dropped from the list, the oldest first, as it is bounded.
    #[serde(default)]
    pub forgotten: u64,
}

/// Whom a list is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "it is what the page of the admin listener says"
)]
pub struct SeenWorkload {
    /// Its namespace.
    pub namespace: String,
    /// Its service account.
    pub service_account: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
}

/// A caller in plain text, to one port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "it is what the page of the admin listener says"
)]
pub struct PlainCaller {
    /// Its address.
    pub address: IpAddr,
    /// The port of ours that it called.
    pub port: u16,
    /// How many requests it sent.
    pub requests: u64,
    /// When the first came, in seconds since 1970.
    pub first_seen: u64,
    /// When the last came.
    pub last_seen: u64,
    /// What it says it is.
    #[serde(default)]
    pub user_agent: Option<String>,
}

impl From<&Workload> for SeenWorkload {
    fn from(workload: &Workload) -> Self {
        Self {
            namespace: workload.namespace.clone(),
            service_account: workload.service_account.clone(),
            name: workload.name.clone(),
            labels: workload.labels.clone(),
        }
    }
}

impl SeenWorkload {
    fn workload(&self) -> Workload {
        let mut workload = Workload::new(&self.namespace, &self.service_account);
        workload.name.clone_from(&self.name);
        workload.labels.clone_from(&self.labels);
        workload
    }
}

/// Warns of every port that the policy makes `STRICT` for callers that spoke plain text to it `within` the time before the
/// list was made.
pub fn check(policy: &Policy, seen: &[PlainCallers], within: Duration, report: &mut Report) {
    // Processes of one workload, of whom each has seen other callers.
    let mut ports: BTreeMap<(&SeenWorkload, u16), Vec<&PlainCaller>> = BTreeMap::new();
    for list in seen {
        let since = list.now.saturating_sub(within.as_secs());
        for caller in list.callers.iter().filter(|caller| caller.last_seen >= since) {
            ports.entry((&list.workload, caller.port)).or_default().push(caller);
        }
    }
    for ((of, port), callers) in ports {
        let workload = of.workload();
        let root = &policy.mesh.root_namespace;
        let (mode, origin) = resolve_mtls(&policy.peer_authentications, &workload, root, port);
        if mode == MtlsMode::Strict {
            let message = told(&workload, port, &callers, within);
            let help = "give these callers an identity first, or leave the port `PERMISSIVE` until they have one";
            report.push(Diagnostic::new(Code::CUTS_OFF_CALLERS, &origin, message).with_help(help));
        }
    }
}

fn told(workload: &Workload, port: u16, callers: &[&PlainCaller], within: Duration) -> String {
    let mut by_address: BTreeMap<IpAddr, (u64, Option<&str>)> = BTreeMap::new();
    for caller in callers.iter() {
        let entry = by_address.entry(caller.address).or_default();
        entry.0 = entry.0.saturating_add(caller.requests);
        entry.1 = entry.1.or(caller.user_agent.as_deref());
    }
    let mut named: Vec<_> = by_address.into_iter().collect();
    named.sort_by_key(|(_, (requests, _))| std::cmp::Reverse(*requests));
    let count = named.len();
    let mut texts: Vec<String> = named.iter().take(NAMED).map(caller_text).collect();
    if count > NAMED {
        texts.push(format!("{} more", count - NAMED));
    }
    let who = if count == 1 {
        "1 caller".into()
    } else {
        format!("{count} callers")
    };
    format!(
        "`STRICT` on port {port} of {} in namespace {} cuts off {who} that spoke plain text within {}: {}",
        quoted(&workload.name),
        quoted(&workload.namespace),
        format_duration(within),
        texts.join(", ")
    )
}

fn caller_text((address, (requests, user_agent)): &(IpAddr, (u64, Option<&str>))) -> String {
    let requests = match requests {
        1 => "1 request".into(),
        count => format!("{count} requests"),
    };
    match user_agent {
        Some(agent) => format!("{address} ({requests}, {})", quoted(agent)),
        None => format!("{address} ({requests})"),
    }
}

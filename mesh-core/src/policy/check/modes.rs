//! Which connections the workloads of a policy take, as far as the files tell.

use std::collections::BTreeMap;

use crate::policy::diagnostic::{Code, Diagnostic, Report, quoted};
use crate::policy::model::identity::{MtlsMode, PeerAuthentication};
use crate::policy::model::{Labels, Origin, Policy, selects};

use super::oldest_first;

/// Of two modes for single workloads only the older counts for those that both select.
pub(super) fn check(policy: &Policy, modes: &Modes<'_>, report: &mut Report) {
    for one in policy
        .peer_authentications
        .iter()
        .filter(|one| !one.selector.is_empty())
    {
        if one.meta.namespace == policy.mesh.root_namespace {
            continue;
        }
        let others = modes.selecting(&one.meta.namespace, &one.selector);
        let differs = |other: &&PeerAuthentication| {
            other.selector.len() < one.selector.len() && (other.mode, &other.ports) != (one.mode, &one.ports)
        };
        let Some(other) = others.filter(differs).min_by_key(|other| other.meta.precedence()) else {
            continue;
        };
        let winner = match other.meta.precedence() < one.meta.precedence() {
            true => other,
            false => one,
        };
        let (name, other_name) = (quoted(&one.meta.name), quoted(&other.meta.name));
        let message = format!(
            "workloads of {name} are those of {other_name}, too: only the modes of {} count for them",
            quoted(&winner.meta.name)
        );
        let diagnostic = Diagnostic::new(Code::MODES_OVERLAP, &one.meta.origin, message);
        let diagnostic = diagnostic.with_label(&other.meta.origin, "selects them, too");
        report.push(
            diagnostic.with_help("the oldest is used, then the first by name: let no two select the same workload"),
        );
    }
}

/// Modes of workloads that are compared with one, of those that share a label.
const COMPARED: usize = 64;

/// A mode, and where it was written; `None` is the default.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mode<'p> {
    pub(super) mode: MtlsMode,
    pub(super) origin: Option<&'p Origin>,
}

/// The modes of all documents, oldest first.
pub(super) struct Modes<'p> {
    mesh: Mode<'p>,
    namespaces: BTreeMap<&'p str, Mode<'p>>,
    workloads: BTreeMap<(&'p str, &'p str, &'p str), Vec<&'p PeerAuthentication>>,
    single: BTreeMap<&'p str, Vec<&'p PeerAuthentication>>,
    root: &'p str,
    is_told: bool,
}

impl<'p> Modes<'p> {
    pub(super) fn of(policy: &'p Policy) -> Self {
        let mut modes = Self {
            mesh: Mode {
                mode: MtlsMode::default(),
                origin: None,
            },
            namespaces: BTreeMap::new(),
            workloads: BTreeMap::new(),
            single: BTreeMap::new(),
            root: &policy.mesh.root_namespace,
            is_told: !policy.peer_authentications.is_empty(),
        };
        let oldest = oldest_first(&policy.peer_authentications, |one| &one.meta);
        for one in &oldest {
            modes.add_outer(one);
        }
        for one in oldest.into_iter().filter(|one| !one.selector.is_empty()) {
            if one.meta.namespace == modes.root {
                continue;
            }
            if let Some((key, value)) = one.selector.iter().next() {
                let key = (one.meta.namespace.as_str(), key.as_str(), value.as_str());
                modes.workloads.entry(key).or_default().push(one);
            }
            modes.single.entry(&one.meta.namespace).or_default().push(one);
        }
        modes
    }

    /// Of the modes for a whole namespace or the mesh the oldest counts.
    fn add_outer(&mut self, one: &'p PeerAuthentication) {
        if !one.selector.is_empty() {
            return;
        }
        let Some(mode) = one.mode else { return };
        let origin = Some(&one.meta.origin);
        let mode = Mode { mode, origin };
        if one.meta.namespace != self.root {
            self.namespaces.entry(&one.meta.namespace).or_insert(mode);
        } else if self.mesh.origin.is_none() {
            self.mesh = mode;
        }
    }

    /// Whether the files say anything about modes: where they do not, another place does.
    pub(super) const fn are_told(&self) -> bool {
        self.is_told
    }

    /// The mode of the mesh.
    pub(super) const fn of_mesh(&self) -> Mode<'p> {
        self.mesh
    }

    /// The mode of workloads of a namespace that no document names.
    pub(super) fn of_namespace(&self, namespace: &str) -> Mode<'p> {
        self.namespaces.get(namespace).copied().unwrap_or(self.mesh)
    }

    /// The mode of all workloads of a namespace; `None` where single ones have modes of their own.
    pub(super) fn of_all(&self, namespace: &str) -> Option<Mode<'p>> {
        match self.single.contains_key(namespace) {
            true => None,
            false => Some(self.of_namespace(namespace)),
        }
    }

    /// The mode of the workloads that a policy selects.
    pub(super) fn of_selected(&self, namespace: &str, selector: &Labels) -> Mode<'p> {
        if namespace == self.root && selector.is_empty() {
            return self.mesh;
        }
        let outer = self.of_namespace(namespace);
        let found = self
            .selecting(namespace, selector)
            .min_by_key(|one| one.meta.precedence());
        match found.and_then(|one| Some((one.mode?, &one.meta.origin))) {
            Some((mode, origin)) => Mode {
                mode,
                origin: Some(origin),
            },
            None => outer,
        }
    }

    /// The documents of a namespace that surely pick every workload with these labels.
    pub(super) fn selecting<'s>(
        &'s self,
        namespace: &'s str,
        labels: &'s Labels,
    ) -> impl Iterator<Item = &'p PeerAuthentication> + use<'s, 'p> {
        let sharing = labels.iter().filter_map(move |(key, value)| {
            let key = (namespace, key.as_str(), value.as_str());
            self.workloads.get(&key)
        });
        sharing
            .flat_map(|documents| documents.iter().take(COMPARED))
            .copied()
            .filter(|one| selects(&one.selector, labels))
    }
}

//! What was defined where, while documents are read.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::check::Known;
use super::diagnostic::{Code, Diagnostic, HELPED, Report, nearest, quoted};
use super::model::{Meta, Origin};
use super::reader::Reader;
use super::source::{SourceSpan, Spanned};

/// The kind of native services.
pub(in crate::policy) const SERVICE: &str = "service";

/// Definitions of all documents: which names are taken, and which items were read with errors.
#[derive(Clone, Debug, Default)]
pub(in crate::policy) struct Ledger {
    /// In the order of reading.
    definitions: Vec<(Definition, SourceSpan)>,
    broken: BTreeSet<Origin>,
    mentions: Vec<(String, Spanned<String>)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Definition {
    kind: Arc<str>,
    namespace: Arc<str>,
    name: Box<str>,
    part: Box<str>,
}

impl Ledger {
    /// Takes a name; that it is taken already is told by [`tell_duplicates`](Self::tell_duplicates).
    pub(in crate::policy) fn define(&mut self, kind: &str, meta: &Meta, span: SourceSpan) {
        self.define_part(kind, (meta, ""), span);
    }

    /// The same for an item of which there may be several parts with one name.
    pub(in crate::policy) fn define_part(&mut self, kind: &str, (meta, part): (&Meta, &str), span: SourceSpan) {
        // Documents list what is of one kind and namespace together.
        let before = self.definitions.last().map(|(before, _)| before);
        let kinds = before.map(|before| &before.kind);
        let namespaces = before.map(|before| &before.namespace);
        let definition = Definition {
            kind: shared(kinds, kind),
            namespace: shared(namespaces, &meta.namespace),
            name: meta.name.as_str().into(),
            part: part.into(),
        };
        self.definitions.push((definition, span));
    }

    /// Gives memory back that nothing is in.
    pub(in crate::policy) fn shrink(&mut self) {
        self.definitions.shrink_to_fit();
        self.mentions.shrink_to_fit();
    }

    /// Adds what was read elsewhere.
    pub(in crate::policy) fn append(&mut self, other: Self) {
        self.definitions.extend(other.definitions);
        self.broken.extend(other.broken);
        self.mentions.extend(other.mentions);
    }

    /// Reports names that are taken twice.
    pub(in crate::policy) fn tell_duplicates(&self, report: &mut Report) {
        let mut taken: FxHashMap<&Definition, SourceSpan> = FxHashMap::default();
        taken.reserve(self.definitions.len());
        for (definition, span) in &self.definitions {
            match taken.entry(definition) {
                Entry::Vacant(free) => _ = free.insert(*span),
                Entry::Occupied(first) => report.push(definition.duplicate(*span, *first.get())),
            }
        }
    }

    /// Keeps in mind that a service of this namespace is meant, which need not be defined.
    pub(in crate::policy) fn mention(&mut self, namespace: &str, service: Spanned<String>) {
        self.mentions.push((namespace.into(), service));
    }

    /// Runs `read`, and keeps in mind if it reports an error: what this item defines is then not known, and what in it
    /// has no effect may only seem so, since what could not be read is missing.
    pub(in crate::policy) fn watch<T>(&mut self, cx: &Reader<'_>, origin: &Origin, read: impl FnOnce() -> T) -> T {
        let (before, mark) = (cx.errors(), cx.mark());
        let value = read();
        if cx.errors() > before {
            self.broken.insert(origin.clone());
            cx.retract(mark, Code::NO_EFFECT);
        }
        value
    }

    /// Warns of services that are mentioned and not defined, where the name of one that is defined is near.
    ///
    /// So many that are not defined are no typing mistakes: another set of files defines them, and of the rest nothing is
    /// said.
    pub(in crate::policy) fn resolve(&self, report: &mut Report) {
        let mut known: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (one, _) in self.definitions.iter().filter(|(one, _)| *one.kind == *SERVICE) {
            known.entry(&one.namespace).or_default().insert(&one.name);
        }
        // Many speak of the same service.
        let mut nearest_of: FxHashMap<(&str, &str), Option<&str>> = FxHashMap::default();
        for (namespace, service) in &self.mentions {
            let Some(names) = known.get(namespace.as_str()) else {
                continue;
            };
            let name = service.value.as_str();
            if names.contains(name) {
                continue;
            }
            let is_asked = nearest_of.len() < HELPED;
            let near = match nearest_of.entry((namespace, name)) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) if is_asked => *new.insert(nearest(name, names.iter().copied())),
                Entry::Vacant(_) => None,
            };
            if let Some(near) = near {
                let message = format!("no file defines a service {}", quoted(name));
                let diagnostic = Diagnostic::new(Code::UNRESOLVED_REFERENCE, service.span, message);
                report.push(diagnostic.with_help(format!("did you mean `{near}`?")));
            }
        }
    }

    /// What is surely known after all files were read; `is_complete` says that no document is missing.
    pub(in crate::policy) fn known(self, is_complete: bool) -> Known {
        Known::of(self.broken, is_complete)
    }
}

impl Definition {
    fn duplicate(&self, span: SourceSpan, first: SourceSpan) -> Diagnostic {
        let (kind, name, namespace) = (&self.kind, quoted(&self.name), quoted(&self.namespace));
        let message = match &*self.name {
            "" => format!("{kind} are defined twice"),
            _ => format!("{kind} {name} of namespace {namespace} is defined twice"),
        };
        let help = match &*self.name {
            "" => "all files together are one policy: remove one of the two",
            _ => "all files together are one policy: remove one of the two, or give it another name",
        };
        let diagnostic = Diagnostic::new(Code::DUPLICATE_DEFINITION, span, message);
        diagnostic.with_label(first, "first defined here").with_help(help)
    }
}

/// A text, which is that of the item before where both are equal.
fn shared(before: Option<&Arc<str>>, text: &str) -> Arc<str> {
    before
        .filter(|before| ***before == *text)
        .map_or_else(|| text.into(), Arc::clone)
}

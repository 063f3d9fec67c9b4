//! What was defined where, while documents are read.

use std::collections::{BTreeMap, BTreeSet};

use super::check::Known;
use super::diagnostic::{Code, Diagnostic, Report, nearest, quoted};
use super::model::{Meta, Origin};
use super::reader::Reader;
use super::source::{SourceSpan, Spanned};

/// The kind of native services.
pub(in crate::policy) const SERVICE: &str = "service";

/// Definitions of all documents: which names are taken, and which items were read with errors.
#[derive(Debug, Default)]
pub(in crate::policy) struct Ledger {
    taken: BTreeMap<Definition, SourceSpan>,
    broken: BTreeSet<Origin>,
    mentions: Vec<(String, Spanned<String>)>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Definition {
    kind: String,
    namespace: String,
    name: String,
    part: String,
}

impl Ledger {
    /// Takes a name, or reports that it is taken.
    pub(in crate::policy) fn define(&mut self, cx: &Reader<'_>, kind: &str, meta: &Meta, span: SourceSpan) {
        self.define_part(cx, kind, (meta, ""), span);
    }

    /// The same for an item of which there may be several parts with one name.
    pub(in crate::policy) fn define_part(
        &mut self,
        cx: &Reader<'_>,
        kind: &str,
        (meta, part): (&Meta, &str),
        span: SourceSpan,
    ) {
        let definition = Definition {
            kind: kind.into(),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            part: part.into(),
        };
        let Some(first) = self.taken.get(&definition) else {
            self.taken.insert(definition, span);
            return;
        };
        let (name, namespace) = (quoted(&meta.name), quoted(&meta.namespace));
        let message = match meta.name.as_str() {
            "" => format!("{kind} are defined twice"),
            _ => format!("{kind} {name} of namespace {namespace} is defined twice"),
        };
        let help = match meta.name.as_str() {
            "" => "all files together are one policy: remove one of the two",
            _ => "all files together are one policy: remove one of the two, or give it another name",
        };
        let diagnostic = Diagnostic::new(Code::DUPLICATE_DEFINITION, span, message);
        let diagnostic = diagnostic.with_label(*first, "first defined here");
        cx.report(diagnostic.with_help(help));
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
    pub(in crate::policy) fn resolve(&mut self, report: &mut Report) {
        for (namespace, service) in std::mem::take(&mut self.mentions) {
            let is_here = |known: &&Definition| known.kind == SERVICE && known.namespace == namespace;
            let names = || self.taken.keys().filter(is_here).map(|known| known.name.as_str());
            if names().any(|name| name == service.value) {
                continue;
            }
            if let Some(near) = nearest(&service, names()) {
                let message = format!("no file defines a service {}", quoted(&service));
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

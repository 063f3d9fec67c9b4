//! Typed access to a spanned document that collects every problem and stops at none.
//!
//! A dialect reads each object with [`Reader::mapping`], asks for every field it knows, and ends
//! with [`Fields::finish`], which refuses the fields that nobody asked for: what is not in force is
//! never passed over. A wrong value gives one diagnostic, and `None` to the caller, who goes on.
//!
//! Reading functions have the shape `fn(&Reader, &Node) -> Option<T>`: the methods of [`Reader`],
//! a dialect's own functions, and what [`spanned`], [`list_of`], [`map_of`], [`choice`] and
//! [`within`] make of them. `None` means that the problem is in the report already.
//! A field that is given as `null` counts as absent.
//!
//! ```
//! use std::time::Duration;
//! use mesh_core::policy::diagnostic::{Code, Report};
//! use mesh_core::policy::reader::{Reader, choice, list_of, spanned};
//! use mesh_core::policy::source::{Node, Sources, Spanned, parse};
//!
//! #[derive(Clone, Copy, Debug, PartialEq)]
//! enum Mode { Strict, Permissive }
//! const MODES: &[(&str, Mode)] = &[("STRICT", Mode::Strict), ("PERMISSIVE", Mode::Permissive)];
//!
//! struct Rule { name: String, timeout: Option<Duration>, hosts: Vec<Spanned<String>>, mode: Mode }
//!
//! fn rule(cx: &Reader<'_>, node: &Node) -> Option<Rule> {
//!     let mut fields = cx.mapping(node)?;
//!     let name = fields.required("name", Reader::string);
//!     let timeout = fields.optional("timeout", Reader::duration);
//!     let hosts = fields.list("hosts", spanned(Reader::string));
//!     let mode = fields.optional("mode", choice(MODES)).unwrap_or(Mode::Strict);
//!     fields.refuse("fault", Code::NOT_YET_IN_FORCE, "faults are not injected");
//!     fields.finish();
//!     Some(Rule { name: name?, timeout, hosts, mode })
//! }
//!
//! let mut sources = Sources::new();
//! let mut report = Report::new();
//! let file = sources.add("rules.yaml", "- { name: a, timeout: 10s, hosts: [shop] }\n- { nam: b, timeout: 10, mode: STRIKT, fault: {} }\n");
//! let documents = parse(&sources, file, &mut report);
//! let cx = Reader::new(&sources, &mut report);
//! let rules = list_of(rule)(&cx, &documents[0].root).unwrap();
//!
//! assert_eq!(rules.len(), 1);
//! assert_eq!(rules[0].timeout, Some(Duration::from_secs(10)));
//! assert_eq!(cx.origin(rules[0].hosts[0].span).to_string(), "rules.yaml:1:36");
//! assert_eq!(report.lines(&sources), [
//!     "rules.yaml:2:5: error[MESH0101]: unknown field `nam`",
//!     "rules.yaml:2:22: error[MESH0104]: `timeout`: duration `10` has no unit, expected one of `ns`, `us`, `ms`, `s`, `m`, `h`",
//!     "rules.yaml:2:32: error[MESH0104]: `mode`: unknown value `STRIKT`, expected `STRICT` or `PERMISSIVE`",
//!     "rules.yaml:2:40: warning[MESH0401]: field `fault` is not yet in force: faults are not injected",
//! ]);
//! ```

use std::cell::RefCell;

use super::diagnostic::{Code, Diagnostic, Report, listed, nearest, quoted};
use super::source::{Key, Node, Origin, SourceSpan, Sources, Text, Value};

mod combine;
mod fields;
mod scalar;

pub use combine::{choice, list_of, map_of, spanned, within};
pub use fields::Fields;
pub use scalar::IntOrString;

/// How the names of fields may be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Spelling {
    /// As they are.
    #[default]
    Exact,
    /// As they are in lowerCamelCase, or in snake_case: parsers of protobuf's JSON form take both.
    CamelOrSnake,
}

/// Names of other dialects, in lower case and without `_`, each with the name of the same field here.
pub(in crate::policy) type Synonyms = &'static [(&'static str, &'static str)];

/// Reads nodes of documents, and reports what is wrong with them.
#[derive(Debug)]
pub struct Reader<'a> {
    sources: &'a Sources,
    report: RefCell<&'a mut Report>,
    spelling: Spelling,
    /// Names that other dialects have for fields, beside those of this one.
    synonyms: Synonyms,
    /// The field that is being read: messages name it.
    field: RefCell<Option<FieldName>>,
    /// Memory for fields that are read later.
    spare: RefCell<Vec<fields::Asked>>,
}

/// The name of the field that is being read.
#[derive(Clone, Debug)]
enum FieldName {
    OfDialect(&'static str),
    OfUser(Text),
}

impl FieldName {
    fn as_str(&self) -> &str {
        match self {
            Self::OfDialect(name) => name,
            Self::OfUser(name) => name,
        }
    }
}

impl<'a> Reader<'a> {
    /// A reader of these files that reports here.
    #[must_use]
    pub const fn new(sources: &'a Sources, report: &'a mut Report) -> Self {
        Self {
            sources,
            report: RefCell::new(report),
            spelling: Spelling::Exact,
            synonyms: &[],
            field: RefCell::new(None),
            spare: RefCell::new(Vec::new()),
        }
    }

    /// Takes the names of fields in this spelling. Default: [`Spelling::Exact`].
    #[must_use]
    pub const fn with_spelling(mut self, spelling: Spelling) -> Self {
        self.spelling = spelling;
        self
    }

    /// Helps who writes the names of another dialect.
    #[must_use]
    pub(in crate::policy) const fn with_synonyms(mut self, synonyms: Synonyms) -> Self {
        self.synonyms = synonyms;
        self
    }

    /// The files.
    #[must_use]
    pub const fn sources(&self) -> &'a Sources {
        self.sources
    }

    /// File, line and column of a span, for an item of the model.
    #[must_use]
    pub fn origin(&self, span: SourceSpan) -> Origin {
        self.sources.origin(span)
    }

    /// How many errors the report has: whether reading something added one.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.report.borrow().errors()
    }

    /// Where the report stands, for [`retract`](Self::retract).
    pub(in crate::policy) fn mark(&self) -> usize {
        self.report.borrow().mark()
    }

    /// Takes back the warnings with this code that were reported after the mark.
    pub(in crate::policy) fn retract(&self, mark: usize, code: Code) {
        self.report.borrow_mut().retract(mark, code);
    }

    /// Reports a problem.
    pub fn report(&self, diagnostic: Diagnostic) {
        self.report.borrow_mut().push(diagnostic);
    }

    /// Reports that a value is of the right type, and still cannot be; `reason` says what was found
    /// and what was expected. Always `None`, for the caller to return.
    pub fn invalid<T>(&self, node: &Node, reason: impl AsRef<str>) -> Option<T> {
        self.problem(Code::INVALID_VALUE, node.span, reason.as_ref());
        None
    }

    /// Reports that a value has another type than `expected` (such as `a list`), unless it is reported
    /// already. Always `None`, for the caller to return.
    pub fn wrong_type<T>(&self, node: &Node, expected: &str) -> Option<T> {
        self.wrong_type_with(node, expected, scalar::rewritten(node, expected))
    }

    /// The same, with what to write instead.
    pub(in crate::policy) fn wrong_type_with<T>(&self, node: &Node, expected: &str, help: Option<String>) -> Option<T> {
        if !matches!(node.value, Value::Refused) {
            let message = format!("expected {expected}, found {}", scalar::description(node));
            let mut diagnostic = self.diagnostic(Code::WRONG_TYPE, node.span, &message);
            diagnostic.help = diagnostic.help.or(help);
            self.report(diagnostic);
        }
        None
    }

    /// Reports that a text is none of the names of such things (`value`, `protocol`), with the nearest of them. Always
    /// `None`, for the caller to return.
    pub(in crate::policy) fn unknown<T>(&self, node: &Node, what: &str, names: &[&'static str]) -> Option<T> {
        let text = node.as_text().unwrap_or("");
        let message = format!("unknown {what} {}, expected {}", quoted(text), listed(names));
        let diagnostic = self.diagnostic(Code::INVALID_VALUE, node.span, &message);
        self.report(match nearest(text, names.iter().copied()) {
            Some(name) => diagnostic.did_you_mean(name),
            None => diagnostic,
        });
        None
    }

    fn problem(&self, code: Code, span: SourceSpan, message: &str) {
        self.report(self.diagnostic(code, span, message));
    }

    /// A diagnostic whose message begins with the name of the field that is being read.
    fn diagnostic(&self, code: Code, span: SourceSpan, message: &str) -> Diagnostic {
        let diagnostic = match self.field.borrow().as_ref().map(FieldName::as_str) {
            Some(field) => Diagnostic::new(code, span, format!("`{field}`: {message}")),
            None => Diagnostic::new(code, span, message),
        };
        let text = self.sources.text(span);
        match text.lines().count() == 1 && (text.contains("{{") || text.contains("${")) {
            true => diagnostic.with_help("variables and templates are filled in before a policy is loaded"),
            false => diagnostic,
        }
    }

    /// Runs `read` with messages that name this field.
    pub(in crate::policy) fn in_field<T>(&self, field: Option<&'static str>, read: impl FnOnce() -> T) -> T {
        self.in_named(field.map(FieldName::OfDialect), read)
    }

    /// Runs `read` with messages that name this key, which the user chose.
    pub(in crate::policy) fn in_key<T>(&self, key: &Key, read: impl FnOnce() -> T) -> T {
        self.in_named(Some(FieldName::OfUser(key.name.clone())), read)
    }

    fn in_named<T>(&self, field: Option<FieldName>, read: impl FnOnce() -> T) -> T {
        let outer = self.field.replace(field);
        let value = read();
        self.field.replace(outer);
        value
    }

    /// The fields of a mapping.
    #[must_use]
    pub fn mapping<'r, 'n>(&'r self, node: &'n Node) -> Option<Fields<'r, 'a, 'n>> {
        match &node.value {
            Value::Mapping(entries) => Some(Fields::new(self, node.span, entries)),
            _ => self.wrong_type(node, "a mapping"),
        }
    }

    fn lend(&self) -> fields::Asked {
        self.spare.borrow_mut().pop().unwrap_or_default()
    }

    fn take_back(&self, asked: fields::Asked) {
        self.spare.borrow_mut().push(asked);
    }

    /// Refuses a key of a mapping whose keys are no fields, such as a name that is not valid.
    pub fn invalid_key(&self, key: &Key, reason: impl AsRef<str>) {
        let message = format!("key {}: {}", quoted(&key.name), reason.as_ref());
        self.report(Diagnostic::new(Code::INVALID_VALUE, key.span, message));
    }
}

#[cfg(test)]
mod tests;

//! Files in, one policy out.

use std::sync::Arc;

use super::check;
use super::diagnostic::{Code, Diagnostic, Place, Report, listed, nearest, quoted};
use super::dialect::envelope::{self, Naming};
use super::dialect::gateway_api;
use super::dialect::istio::delegate;
use super::dialect::kubernetes;
use super::dialect::linkerd;
use super::dialect::native;
use super::dialect::smi;
use super::dialect::{self, Dialect, Object, beside};
use super::ledger::Ledger;
use super::model::Policy;
use super::reader::Reader;
use super::source::{Document, FileId, Key, Node, SourceSpan, Sources, Value, parse};

/// Reads all files as one policy: together they are in force, or none of them is.
///
/// Each file may hold several documents, YAML or JSON, of any dialect, and Kubernetes lists of them.
/// Settings of the mesh are read first; otherwise neither the order of the files nor that of the
/// documents matters.
///
/// # Errors
///
/// `None` where the report has an error, be it of this call or an earlier one. The report has all
/// problems of all files, not only the first.
///
/// # Examples
///
/// ```
/// use mesh_core::policy::diagnostic::Report;
/// use mesh_core::policy::load;
/// use mesh_core::policy::source::Sources;
///
/// let mut sources = Sources::new();
/// sources.add("shop.yaml", "services:\n  orders: { endpoints: [10.0.0.4:8080] }\n");
/// let mut report = Report::new();
/// let policy = load(&sources, &mut report).unwrap();
/// assert_eq!(policy.services[0].hosts, ["orders.default.svc.cluster.local"]);
///
/// sources.add("more.yaml", "services:\n  payments: { endpoint: [10.0.0.5:8080] }\n");
/// assert_eq!(load(&sources, &mut report), None);
/// assert_eq!(report.lines(&sources), ["more.yaml:2:15: error[MESH0101]: unknown field `endpoint`"]);
/// ```
#[must_use]
pub fn load(sources: &Sources, report: &mut Report) -> Option<Policy> {
    let files: Vec<FileId> = sources.iter().map(|(id, _)| id).collect();
    load_files(sources, &files, report)
}

/// A set of files as it was read: the policy, if it is one, and what is said about it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// The policy; `None` where the report has errors.
    pub policy: Option<Policy>,
    /// The files, which the report's positions point into.
    pub sources: Sources,
    /// All problems.
    pub report: Report,
}

impl Loaded {
    /// Reads the bytes of files, each with its name, in the order of the names.
    ///
    /// ```
    /// use mesh_core::policy::Loaded;
    ///
    /// let loaded = Loaded::from_files([("binary", b"\xff\xfe".as_slice())]);
    /// assert!(loaded.policy.is_none());
    /// assert_eq!(loaded.report.summary(), "1 error");
    /// ```
    #[must_use]
    pub fn from_files<N: Into<Arc<str>>, B: AsRef<[u8]>>(files: impl IntoIterator<Item = (N, B)>) -> Self {
        let mut files: Vec<(Arc<str>, B)> = files.into_iter().map(|(name, bytes)| (name.into(), bytes)).collect();
        files.sort_by(|(left, _), (right, _)| left.cmp(right));
        let (mut sources, mut report) = (Sources::new(), Report::new());
        let readable: Vec<FileId> = files
            .into_iter()
            .filter_map(|(name, bytes)| sources.add_bytes(name, bytes.as_ref(), &mut report))
            .collect();
        let policy = load_files(&sources, &readable, &mut report);
        Self {
            policy,
            sources,
            report,
        }
    }

    /// The same for a service that is to start with it: what is not yet in force is an error.
    ///
    /// ```
    /// use mesh_core::policy::Loaded;
    ///
    /// let text = "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: { name: all }\nspec: {}\n";
    /// let loaded = Loaded::from_files([("telemetry.yaml", text)]);
    /// assert_eq!(loaded.report.summary(), "1 warning");
    /// assert!(loaded.policy.is_some());
    /// assert!(loaded.in_force().policy.is_none());
    /// ```
    #[must_use]
    pub fn in_force(mut self) -> Self {
        self.report.refuse_deferred();
        if self.report.has_errors() {
            self.policy = None;
        }
        self
    }
}

/// What documents hold.
#[derive(Default)]
struct Found<'n> {
    items: Vec<Item<'n>>,
    /// Kinds that change nothing.
    told: beside::Told<'n>,
}

/// A document, or an item of a list, that is known by its kind.
enum Item<'n> {
    Object(&'static Dialect, Object<'n>),
    Native(&'n Node),
}

fn load_files(sources: &Sources, files: &[FileId], report: &mut Report) -> Option<Policy> {
    let documents: Vec<Document> = files.iter().flat_map(|file| parse(sources, *file, report)).collect();
    let mut ledger = Ledger::default();
    let mut policy = Policy::default();
    let mut found = Found::default();
    for document in &documents {
        recognise(&Reader::new(sources, report), &document.root, &mut found);
    }
    let mut items = found.items;
    let is_complete = !report.has_errors();
    if items.is_empty() && is_complete {
        report.push(nothing(files, documents.len()));
    }
    items.sort_by_key(order);
    for item in &items {
        read_settings(sources, report, item, &mut policy, &mut ledger);
    }
    for item in &items {
        read_item(sources, report, item, &mut policy, &mut ledger);
    }
    kubernetes::resolve(&mut policy, report);
    smi::resolve(&mut policy);
    linkerd::resolve(&documents, &mut policy, report);
    gateway_api::resolve(&documents, &mut policy, report);
    ledger.resolve(report);
    let known = ledger.known(is_complete);
    delegate::resolve(&mut policy, known.documents(), report);
    check::check_known(&policy, &known, report);
    (!report.has_errors()).then_some(policy)
}

/// What others are made of is read before them, wherever it stands.
fn order(item: &Item<'_>) -> u8 {
    match item {
        Item::Native(_) => 0,
        Item::Object(_, object) => dialect::order(object),
    }
}

/// Files without a policy are never meant as a policy of nothing, which would allow everything.
fn nothing(files: &[FileId], documents: usize) -> Diagnostic {
    let (code, message) = match (files, documents) {
        ([], _) => (Code::NO_DOCUMENT, "no policy found: there is no file to read"),
        (_, 0) => (Code::NO_DOCUMENT, "no policy found: no document configures a mesh"),
        _ => (
            Code::NOTHING_CONFIGURED,
            "no policy found: no document configures a mesh",
        ),
    };
    Diagnostic::new(code, Place::Nowhere, message)
}

/// Finds out what a document is.
fn recognise<'n>(cx: &Reader<'_>, node: &'n Node, found: &mut Found<'n>) {
    if envelope::is_object(node) {
        recognise_object(cx, node, found);
    } else if is_native(node) {
        found.items.push(Item::Native(node));
    } else if !matches!(node.value, Value::Refused) {
        cx.report(foreign(node));
    }
}

fn recognise_object<'n>(cx: &Reader<'_>, node: &'n Node, found: &mut Found<'n>) {
    let Some(kind) = envelope::kind(cx, node) else {
        return;
    };
    if kind.is_list(node) {
        for item in envelope::items(cx, node) {
            recognise(cx, item, found);
        }
        return;
    }
    let known = dialect::find(kind.api_version, kind.name).filter(|_| !kubernetes::is_idle(kind.name, node));
    let Some(dialect) = known else {
        beside::report(cx, kind, &mut found.told);
        return;
    };
    let naming = match (dialect.is_settings)(kind.name) {
        true => Naming::Optional,
        false => Naming::Required,
    };
    let object = envelope::object(cx, node, kind, naming);
    found.items.extend(object.map(|object| Item::Object(dialect, object)));
}

/// Whether a document has a section of the native dialect, or one that is misspelt.
fn is_native(node: &Node) -> bool {
    let is_section = |key: &Key| nearest(&key.name, native::SECTIONS.iter().copied()).is_some();
    node.entries().iter().any(|(key, _)| is_section(key))
}

/// A document that is no policy at all.
fn foreign(node: &Node) -> Diagnostic {
    let help =
        "a policy has `apiVersion` and `kind`, or sections such as `services`; keep other files out of its directory";
    let Value::Mapping(entries) = &node.value else {
        let message = "this is no policy: expected a mapping, found a list or plain text";
        return Diagnostic::new(Code::UNKNOWN_KIND, node.span, message).with_help(help);
    };
    let Some((first, _)) = entries.first() else {
        let message = "the document is empty: it says nothing about a mesh";
        return Diagnostic::new(Code::NO_DOCUMENT, node.span, message).with_help(help);
    };
    let keys: Vec<&str> = entries.iter().take(4).map(|(key, _)| &*key.name).collect();
    let found = listed(&keys).replace(" or ", " and ");
    let message = match node.get("groups") {
        Some(groups) if groups.items().iter().any(|group| group.get("rules").is_some()) => {
            "this is no policy: it looks like rules of Prometheus".into()
        }
        _ => format!("this is no policy: it has only {found}"),
    };
    Diagnostic::new(Code::UNKNOWN_KIND, first.span, message).with_help(help)
}

/// The kind under which settings of the mesh are defined, whatever their dialect.
const SETTINGS: &str = "the settings of the mesh";

fn read_settings(sources: &Sources, report: &mut Report, item: &Item<'_>, policy: &mut Policy, ledger: &mut Ledger) {
    match item {
        Item::Object(dialect, object) if (dialect.is_settings)(object.kind) => {
            let cx = Reader::new(sources, report).with_spelling(dialect.spelling);
            define_settings(&cx, object.node.span, ledger);
            (dialect.lower)(&cx, object, policy);
        }
        Item::Native(node) => {
            let cx = Reader::new(sources, report).with_synonyms(native::SYNONYMS);
            if let Some(span) = native::settings(&cx, node, policy) {
                define_settings(&cx, span, ledger);
            }
        }
        Item::Object(..) => {}
    }
}

fn define_settings(cx: &Reader<'_>, span: SourceSpan, ledger: &mut Ledger) {
    ledger.define(cx, SETTINGS, &super::model::Meta::default(), span);
}

fn read_item(sources: &Sources, report: &mut Report, item: &Item<'_>, policy: &mut Policy, ledger: &mut Ledger) {
    match item {
        Item::Object(dialect, object) if !(dialect.is_settings)(object.kind) => {
            let cx = Reader::new(sources, report).with_spelling(dialect.spelling);
            let metadata = object.node.get("metadata");
            let name = metadata
                .and_then(|metadata| metadata.get("name"))
                .unwrap_or(object.node);
            if !object.meta.name.is_empty() {
                ledger.define(&cx, &quoted(object.kind), &object.meta, name.span);
            }
            ledger.watch(&cx, &object.meta.origin, || (dialect.lower)(&cx, object, policy));
        }
        Item::Object(..) => {}
        Item::Native(node) => {
            let cx = Reader::new(sources, report).with_synonyms(native::SYNONYMS);
            native::lower(&cx, node, policy, ledger);
        }
    }
}

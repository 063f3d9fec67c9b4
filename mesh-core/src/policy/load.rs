//! Files in, one policy out.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::check::{self, Checked};
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
use super::loader::Loader;
use super::model::{MeshSettings, Policy};
use super::reader::Reader;
use super::source::{Document, Key, Node, SourceSpan, Sources, Value, parse};
use crate::workers::{self, Alone, Workers};

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
    let files = sources.iter().map(|(file, _)| file);
    let documents = files.flat_map(|file| parse(sources, file, report));
    let mut documents: Vec<Read> = documents.map(Read::Tree).collect();
    let mut documents: Vec<&mut Read> = documents.iter_mut().collect();
    let (mut mesh, mut checked) = (MeshSettings::default(), Checked::default());
    let policy = load_documents((sources, &Alone), &mut documents, &mut mesh, &mut checked, report);
    policy.ok().flatten()
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
        Loader::default().load(files)
    }

    pub(super) const fn nothing() -> Self {
        Self {
            policy: None,
            sources: Sources::new(),
            report: Report::new(),
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
    /// A native document that was lowered for the last policy.
    Lowered(&'n Fragment),
}

/// A document of a file, as it is kept.
#[derive(Clone, Debug)]
pub(super) enum Read {
    Tree(Document),
    /// A native document that has been lowered.
    Lowered(Arc<Fragment>),
}

/// What one native document says.
#[derive(Debug)]
pub(super) struct Fragment {
    /// Its settings of the mesh, which are read anew each time.
    settings: Option<Node>,
    policy: Policy,
    ledger: Ledger,
    report: Report,
}

impl Fragment {
    /// Lowers a document for a mesh with these settings.
    fn lower(sources: &Sources, node: &Node, mesh: &MeshSettings) -> Self {
        let mut policy = Policy {
            mesh: mesh.clone(),
            ..Policy::default()
        };
        let (mut ledger, mut report) = (Ledger::default(), Report::new());
        let cx = Reader::new(sources, &mut report).with_synonyms(native::SYNONYMS);
        native::lower(&cx, node, &mut policy, &mut ledger);
        // It is kept for as long as the file stays as it is.
        policy.services.shrink_to_fit();
        ledger.shrink();
        Self {
            settings: native::settings(node).cloned(),
            policy,
            ledger,
            report,
        }
    }

    fn add_to(&self, (policy, ledger): (&mut Policy, &mut Ledger), report: &mut Report) {
        policy.append(self.policy.clone());
        ledger.append(self.ledger.clone());
        report.append(self.report.clone());
    }
}

/// Documents were lowered for a mesh with other settings.
#[derive(Debug)]
pub(super) struct OtherMesh;

/// What native documents say, by the addresses of their outermost nodes.
type Lowered = FxHashMap<usize, Arc<Fragment>>;

/// The address of a node, which it has as long as its document is kept.
fn address(node: &Node) -> usize {
    std::ptr::from_ref(node).addr()
}

/// Where a policy is put together.
struct Loading<'s> {
    sources: &'s Sources,
    policy: Policy,
    ledger: Ledger,
    /// Native documents that were lowered now.
    lowered: Lowered,
}

/// Reads documents as one policy. Native ones among them are exchanged for what they say, as long as it holds: for a mesh
/// with the settings that `lowered_for` has.
///
/// # Errors
///
/// Where these settings turn out to be others: then the trees are needed again.
pub(super) fn load_documents(
    (sources, workers): (&Sources, &dyn Workers),
    documents: &mut [&mut Read],
    lowered_for: &mut MeshSettings,
    checked: &mut Checked,
    report: &mut Report,
) -> Result<Option<Policy>, OtherMesh> {
    let mut found = Found::default();
    for document in &*documents {
        match &**document {
            Read::Tree(document) => recognise(&Reader::new(sources, report), &document.root, &mut found),
            Read::Lowered(fragment) => found.items.push(Item::Lowered(fragment)),
        }
    }
    let mut items = found.items;
    let is_complete = !report.has_errors();
    if items.is_empty() && is_complete {
        report.push(nothing(sources, documents.len()));
    }
    items.sort_by_key(order);
    let mut loading = Loading::new(sources);
    for item in &items {
        loading.settings(report, item);
    }
    if loading.policy.mesh != *lowered_for && items.iter().any(|item| matches!(item, Item::Lowered(_))) {
        return Err(OtherMesh);
    }
    lowered_for.clone_from(&loading.policy.mesh);
    loading.lower(&items, workers);
    loading.items(report, &items);
    drop(items);
    let Loading {
        mut policy,
        ledger,
        lowered,
        ..
    } = loading;
    keep(documents, &lowered, workers);
    let trees: Vec<Document> = documents.iter().filter_map(|read| read.tree()).cloned().collect();
    ledger.tell_duplicates(report);
    kubernetes::resolve(&mut policy, report);
    smi::resolve(&mut policy);
    linkerd::resolve(&trees, &mut policy, report);
    gateway_api::resolve(&trees, &mut policy, report);
    ledger.resolve(report);
    let known = ledger.known(is_complete);
    delegate::resolve(&mut policy, known.documents(), report);
    policy.resolve_targets();
    check::check_known((&policy, workers), &known, checked, report);
    Ok((!report.has_errors()).then_some(policy))
}

impl Read {
    const fn tree(&self) -> Option<&Document> {
        match self {
            Self::Tree(document) => Some(document),
            Self::Lowered(_) => None,
        }
    }
}

/// Keeps what documents say in the place of their trees.
fn keep(documents: &mut [&mut Read], lowered: &Lowered, workers: &dyn Workers) {
    // To free a tree is work, too.
    workers::for_each(workers, documents, |document| {
        let Read::Tree(tree) = &**document else { return };
        if let Some(fragment) = lowered.get(&address(&tree.root)) {
            **document = Read::Lowered(Arc::clone(fragment));
        }
    });
}

/// What others are made of is read before them, wherever it stands.
fn order(item: &Item<'_>) -> u8 {
    match item {
        Item::Native(_) | Item::Lowered(_) => 0,
        Item::Object(_, object) => dialect::order(object),
    }
}

/// Files without a policy are never meant as a policy of nothing, which would allow everything.
fn nothing(sources: &Sources, documents: usize) -> Diagnostic {
    let (code, message) = match (sources.iter().next(), documents) {
        (None, _) => (Code::NO_DOCUMENT, "no policy found: there is no file to read"),
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
    let is_section = |key: &Key| {
        let sections = native::SECTIONS.iter().copied();
        sections.clone().any(|section| *section == *key.name) || nearest(&key.name, sections).is_some()
    };
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

impl<'s> Loading<'s> {
    fn new(sources: &'s Sources) -> Self {
        Self {
            sources,
            policy: Policy::default(),
            ledger: Ledger::default(),
            lowered: FxHashMap::default(),
        }
    }

    fn settings(&mut self, report: &mut Report, item: &Item<'_>) {
        match item {
            Item::Object(dialect, object) if (dialect.is_settings)(object.kind) => {
                let cx = Reader::new(self.sources, report).with_spelling(dialect.spelling);
                self.define_settings(object.node.span);
                (dialect.lower)(&cx, object, &mut self.policy);
            }
            Item::Native(node) => self.native_settings(report, native::settings(node)),
            Item::Lowered(fragment) => self.native_settings(report, fragment.settings.as_ref()),
            Item::Object(..) => {}
        }
    }

    fn native_settings(&mut self, report: &mut Report, settings: Option<&Node>) {
        if let Some(settings) = settings {
            let cx = Reader::new(self.sources, report).with_synonyms(native::SYNONYMS);
            native::read_settings(&cx, settings, &mut self.policy);
            self.define_settings(settings.span);
        }
    }

    fn define_settings(&mut self, span: SourceSpan) {
        self.ledger.define(SETTINGS, &super::model::Meta::default(), span);
    }

    /// Lowers native documents, which do not depend on each other.
    fn lower(&mut self, items: &[Item<'_>], workers: &dyn Workers) {
        let native = items.iter().filter_map(|item| match item {
            Item::Native(node) => Some((*node, None)),
            Item::Object(..) | Item::Lowered(_) => None,
        });
        let mut native: Vec<(&Node, Option<Arc<Fragment>>)> = native.collect();
        let (sources, mesh) = (self.sources, &self.policy.mesh);
        workers::for_each(workers, &mut native, |(node, fragment)| {
            *fragment = Some(Arc::new(Fragment::lower(sources, node, mesh)));
        });
        let lowered = native.into_iter();
        self.lowered = lowered
            .filter_map(|(node, fragment)| Some((address(node), fragment?)))
            .collect();
    }

    /// Reads items, which stand in their order.
    fn items(&mut self, report: &mut Report, items: &[Item<'_>]) {
        let services = items.partition_point(|item| order(item) < dialect::AFTER_SERVICES);
        for item in items.iter().take(services) {
            self.item(report, item);
        }
        kubernetes::resolve_names(&mut self.policy, report);
        for item in items.iter().skip(services) {
            self.item(report, item);
        }
    }

    fn item(&mut self, report: &mut Report, item: &Item<'_>) {
        match item {
            Item::Object(dialect, object) if !(dialect.is_settings)(object.kind) => {
                self.object(report, dialect, object);
            }
            Item::Object(..) => {}
            Item::Native(node) => {
                if let Some(fragment) = self.lowered.get(&address(node)) {
                    fragment.add_to((&mut self.policy, &mut self.ledger), report);
                }
            }
            Item::Lowered(fragment) => fragment.add_to((&mut self.policy, &mut self.ledger), report),
        }
    }

    fn object(&mut self, report: &mut Report, dialect: &Dialect, object: &Object<'_>) {
        let cx = Reader::new(self.sources, report).with_spelling(dialect.spelling);
        let metadata = object.node.get("metadata");
        let name = metadata
            .and_then(|metadata| metadata.get("name"))
            .unwrap_or(object.node);
        if !object.meta.name.is_empty() {
            self.ledger.define(&quoted(object.kind), &object.meta, name.span);
        }
        let policy = &mut self.policy;
        self.ledger
            .watch(&cx, &object.meta.origin, || (dialect.lower)(&cx, object, policy));
    }
}

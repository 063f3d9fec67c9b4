//! The labels of Istio's metrics: who calls, who answers, and which service was asked for.

use std::sync::{Arc, LazyLock};

use mesh_core::policy::model::Labels;
use mesh_core::workload::Workload;

/// What stands where a value is not known.
pub(super) const UNKNOWN: &str = "unknown";
/// Istio's revision of a workload that names none.
const LATEST: &str = "latest";

/// The labels that name a service in its own words, by rank; the workload's name comes last.
const NAME_LABELS: [&str; 3] = ["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"];
const REVISION_LABELS: [&str; 3] = [
    "service.istio.io/canonical-revision",
    "app.kubernetes.io/version",
    "version",
];

/// Who reports: the label `reporter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reporter {
    /// The caller's side.
    Source,
    /// The server's side.
    Destination,
}

impl Reporter {
    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }
}

/// What was spoken: the label `request_protocol`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP of any version.
    #[default]
    Http,
    /// gRPC, whose status is a label of its own.
    Grpc,
}

impl Protocol {
    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
        }
    }
}

/// How the connection was secured: the label `connection_security_policy`.
///
/// Istio's client side always says `unknown`, and so do groups with [`Reporter::Source`], whatever is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SecurityPolicy {
    /// The side that reports cannot tell.
    #[default]
    Unknown,
    /// Plain text.
    None,
    /// Both sides have shown their certificate.
    MutualTls,
}

impl SecurityPolicy {
    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => UNKNOWN,
            Self::None => "none",
            Self::MutualTls => "mutual_tls",
        }
    }
}

/// One end of a request: the labels `source_*` or `destination_*` that speak of a workload. Clones share them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Party(Arc<Names>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Names {
    pub(super) workload: Arc<str>,
    pub(super) canonical_service: Arc<str>,
    pub(super) canonical_revision: Arc<str>,
    pub(super) namespace: Arc<str>,
    pub(super) principal: Arc<str>,
    pub(super) app: Arc<str>,
    pub(super) version: Arc<str>,
    pub(super) cluster: Arc<str>,
}

impl Party {
    /// A party that nothing is known of.
    #[must_use]
    pub fn unknown() -> Self {
        // Of most endpoints nothing is known.
        static NOBODY: LazyLock<Party> = LazyLock::new(|| Party(Arc::new(Names::unknown())));
        NOBODY.clone()
    }

    /// What its labels say.
    pub(super) fn names(&self) -> &Names {
        &self.0
    }

    fn names_mut(&mut self) -> &mut Names {
        Arc::make_mut(&mut self.0)
    }

    /// This process.
    #[must_use]
    pub fn of_workload(workload: &Workload, trust_domain: &str) -> Self {
        let principal = principal(trust_domain, &workload.namespace, &workload.service_account);
        Self::of_peer(&principal)
            .named(&workload.name)
            .with_labels(&workload.labels)
    }

    /// An endpoint, as the policy describes it. Where it names a service account, the endpoint has an identity of the mesh.
    #[must_use]
    pub fn of_endpoint(labels: &Labels, namespace: &str, service_account: Option<&str>, trust_domain: &str) -> Self {
        let mut party = match service_account {
            Some(account) => Self::of_peer(&principal(trust_domain, namespace, account)),
            None => Self::unknown(),
        };
        party.names_mut().namespace = known(namespace);
        party.with_labels(labels)
    }

    /// A peer of which only its certificate is known: the SPIFFE id as text.
    ///
    /// Of `spiffe://DOMAIN/ns/NAMESPACE/sa/ACCOUNT` the namespace is taken, and the account as the workload's
    /// name, which is what a [`Workload`] without an `app` label is called, too.
    #[must_use]
    pub fn of_peer(spiffe_id: &str) -> Self {
        let mut party = Self::unknown();
        party.names_mut().principal = known(spiffe_id);
        let Some((namespace, account)) = namespace_and_account(spiffe_id) else {
            return party;
        };
        party.names_mut().namespace = known(namespace);
        party.named(account)
    }

    /// The same party with the name of its workload, which is its canonical service, too, until labels say otherwise.
    #[must_use]
    pub fn named(mut self, workload: &str) -> Self {
        let names = self.names_mut();
        names.workload = known(workload);
        names.canonical_service = Arc::clone(&names.workload);
        self
    }

    /// The same party with what its labels say of it: `app`, `version` and the canonical names of Istio and Kubernetes.
    #[must_use]
    pub fn with_labels(mut self, labels: &Labels) -> Self {
        let first = |keys: &[&str]| keys.iter().find_map(|key| labels.get(*key)).map(|value| known(value));
        if let Some(app) = labels.get("app") {
            let names = self.names_mut();
            names.app = known(app);
            names.workload = Arc::clone(&names.app);
        }
        if let Some(version) = labels.get("version") {
            self.names_mut().version = known(version);
        }
        if let Some(name) = first(&NAME_LABELS) {
            self.names_mut().canonical_service = name;
        }
        if let Some(revision) = first(&REVISION_LABELS) {
            self.names_mut().canonical_revision = revision;
        }
        self
    }

    /// The same party with the identity that it has shown.
    #[must_use]
    pub fn with_principal(mut self, spiffe_id: &str) -> Self {
        self.names_mut().principal = known(spiffe_id);
        self
    }

    /// The same party in a named cluster.
    #[must_use]
    pub fn in_cluster(mut self, cluster: &str) -> Self {
        self.names_mut().cluster = known(cluster);
        self
    }
}

impl Names {
    fn unknown() -> Self {
        let unknown: Arc<str> = UNKNOWN.into();
        Self {
            workload: Arc::clone(&unknown),
            canonical_service: Arc::clone(&unknown),
            canonical_revision: LATEST.into(),
            namespace: Arc::clone(&unknown),
            principal: Arc::clone(&unknown),
            app: Arc::clone(&unknown),
            version: Arc::clone(&unknown),
            cluster: unknown,
        }
    }
}

/// The service that a request asked for: `destination_service` and its two parts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    pub(super) host: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) namespace: Arc<str>,
}

impl Destination {
    /// A service that the policy knows: its full host, short name and namespace.
    #[must_use]
    pub fn new(host: &str, name: &str, namespace: &str) -> Self {
        Self {
            host: known(host),
            name: known(name),
            namespace: known(namespace),
        }
    }

    /// The full host.
    pub(crate) const fn host(&self) -> &Arc<str> {
        &self.host
    }

    /// The short name.
    pub(crate) const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// A service by its host: `NAME.NAMESPACE.svc.…` says all three, any other host is its own name in `namespace`, as Istio has it.
    #[must_use]
    pub fn of_host(host: &str, namespace: &str) -> Self {
        let mut labels = host.splitn(4, '.');
        match (labels.next(), labels.next(), labels.next()) {
            (Some(name), Some(own_namespace), Some("svc")) => Self::new(host, name, own_namespace),
            _ => Self::new(host, host, namespace),
        }
    }

    /// A service that the policy knows, whose host is `host`.
    pub(crate) fn of_service(host: &Arc<str>, namespace: &str) -> Self {
        Self {
            host: Arc::clone(host),
            ..Self::of_host(host, namespace)
        }
    }

    /// A host that no policy knows and that is forwarded anyway: its name never becomes a label.
    #[must_use]
    pub fn passthrough() -> Self {
        Self::new(UNKNOWN, "PassthroughCluster", UNKNOWN)
    }

    /// A host that no policy knows and that is refused.
    #[must_use]
    pub fn black_hole() -> Self {
        Self::new(UNKNOWN, "BlackHoleCluster", UNKNOWN)
    }

    /// Where series end up that are past the limits.
    pub(super) fn overflow() -> Self {
        Self::new(UNKNOWN, super::series::OVERFLOW, UNKNOWN)
    }
}

fn known(value: &str) -> Arc<str> {
    if value.is_empty() { UNKNOWN.into() } else { value.into() }
}

fn principal(trust_domain: &str, namespace: &str, account: &str) -> String {
    format!("spiffe://{trust_domain}/ns/{namespace}/sa/{account}")
}

fn namespace_and_account(spiffe_id: &str) -> Option<(&str, &str)> {
    let (_trust_domain, path) = spiffe_id.strip_prefix("spiffe://")?.split_once('/')?;
    let mut segments = path.split('/');
    match (
        segments.next(),
        segments.next(),
        segments.next(),
        segments.next(),
        segments.next(),
    ) {
        (Some("ns"), Some(namespace), Some("sa"), Some(account), None) => Some((namespace, account)),
        _ => None,
    }
}

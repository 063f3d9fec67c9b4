//! Kinds that no dialect reads: those that usually stand beside policies, and those of later versions.

use std::collections::BTreeSet;

use crate::policy::diagnostic::{Code, Diagnostic, nearest, quoted};
use crate::policy::reader::Reader;
use crate::policy::source::FileId;

use super::envelope::Kind;

/// What becomes of a kind.
#[derive(Clone, Copy)]
enum Fate {
    /// It configures no mesh: a warning says that it changes nothing.
    Ignored,
    /// The same, but for this.
    IgnoredBut(&'static str),
    /// It is refused for this reason.
    Refused(Code, &'static str),
}

/// Kinds of one group with the same fate; no kinds are all of the group.
struct Row {
    group: &'static str,
    kinds: &'static [&'static str],
    fate: Fate,
}

const fn ignored(group: &'static str, kinds: &'static [&'static str]) -> Row {
    let fate = Fate::Ignored;
    Row { group, kinds, fate }
}

const fn ignored_but(group: &'static str, kinds: &'static [&'static str], what: &'static str) -> Row {
    let fate = Fate::IgnoredBut(what);
    Row { group, kinds, fate }
}

const fn not_yet(group: &'static str, kinds: &'static [&'static str], reason: &'static str) -> Row {
    let fate = Fate::Refused(Code::NOT_YET_IN_FORCE, reason);
    Row { group, kinds, fate }
}

const fn not_here(group: &'static str, reason: &'static str) -> Row {
    let fate = Fate::Refused(Code::NOT_IN_PROCESS, reason);
    let kinds = &[];
    Row { group, kinds, fate }
}

const ALL: &[&str] = &[];
const GATEWAY_API: &str = "of Gateway API's objects routes, gateways, grants and TLS policies are read";
const LINKERD: &str = "of Linkerd's policies these kinds and versions are not read";
const SMI: &str = "of SMI's objects splits, targets and groups of requests are read";

/// The first row that fits counts.
const ROWS: &[Row] = &[
    ignored_but(
        "",
        &["Namespace"],
        "only gateways that choose namespaces look at its labels",
    ),
    ignored(
        "",
        &[
            "ServiceAccount",
            "ConfigMap",
            "Secret",
            "Pod",
            "PodTemplate",
            "ReplicationController",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "ResourceQuota",
            "LimitRange",
            "Node",
            "Event",
        ],
    ),
    ignored("apps", ALL),
    ignored("batch", ALL),
    ignored("autoscaling", ALL),
    ignored("policy", ALL),
    ignored("rbac.authorization.k8s.io", ALL),
    ignored("networking.k8s.io", ALL),
    ignored("storage.k8s.io", ALL),
    ignored("scheduling.k8s.io", ALL),
    ignored("coordination.k8s.io", ALL),
    ignored("apiextensions.k8s.io", ALL),
    ignored("apiregistration.k8s.io", ALL),
    ignored("admissionregistration.k8s.io", ALL),
    ignored("monitoring.coreos.com", ALL),
    ignored("cert-manager.io", ALL),
    ignored("k8s.cni.cncf.io", ALL),
    ignored("kustomize.config.k8s.io", ALL),
    ignored("kustomize.toolkit.fluxcd.io", ALL),
    ignored("helm.toolkit.fluxcd.io", ALL),
    ignored("source.toolkit.fluxcd.io", ALL),
    ignored("argoproj.io", ALL),
    not_yet("gateway.networking.k8s.io", ALL, GATEWAY_API),
    not_yet("gateway.networking.x-k8s.io", ALL, GATEWAY_API),
    not_yet(
        "inference.networking.k8s.io",
        ALL,
        "endpoints are not chosen by what they infer",
    ),
    not_yet("policy.linkerd.io", ALL, LINKERD),
    not_here(
        "workload.linkerd.io",
        "endpoints are read from `services`, `ServiceEntry` and `WorkloadEntry`",
    ),
    not_here("multicluster.linkerd.io", "a process links no clusters"),
    not_here("viz.linkerd.io", "there is no dashboard to configure"),
    not_here("config.linkerd.io", "there is no proxy to configure"),
    not_yet("specs.smi-spec.io", ALL, SMI),
    not_yet("access.smi-spec.io", ALL, SMI),
    not_here("metrics.smi-spec.io", "metrics are scraped from each process"),
    not_here("cilium.io", "there is no node agent to configure"),
];

/// The kinds that are read, for messages.
pub(in crate::policy) const READ: &[(&str, &str)] = &[
    ("networking.istio.io/v1", "VirtualService"),
    ("networking.istio.io/v1", "DestinationRule"),
    ("networking.istio.io/v1", "ServiceEntry"),
    ("networking.istio.io/v1", "WorkloadEntry"),
    ("networking.istio.io/v1", "Gateway"),
    ("networking.istio.io/v1", "Sidecar"),
    ("security.istio.io/v1", "PeerAuthentication"),
    ("security.istio.io/v1", "AuthorizationPolicy"),
    ("install.istio.io/v1alpha1", "IstioOperator"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ("gateway.networking.k8s.io/v1", "GRPCRoute"),
    ("gateway.networking.k8s.io/v1", "TLSRoute"),
    ("gateway.networking.k8s.io/v1alpha2", "TCPRoute"),
    ("gateway.networking.k8s.io/v1", "Gateway"),
    ("gateway.networking.k8s.io/v1", "GatewayClass"),
    ("gateway.networking.k8s.io/v1beta1", "ReferenceGrant"),
    ("gateway.networking.k8s.io/v1", "BackendTLSPolicy"),
    ("linkerd.io/v1alpha2", "ServiceProfile"),
    ("policy.linkerd.io/v1beta3", "Server"),
    ("policy.linkerd.io/v1beta1", "ServerAuthorization"),
    ("policy.linkerd.io/v1alpha1", "MeshTLSAuthentication"),
    ("policy.linkerd.io/v1alpha1", "NetworkAuthentication"),
    ("split.smi-spec.io/v1alpha4", "TrafficSplit"),
    ("access.smi-spec.io/v1alpha3", "TrafficTarget"),
    ("specs.smi-spec.io/v1alpha4", "HTTPRouteGroup"),
    ("cilium.io/v2", "CiliumNetworkPolicy"),
    ("cilium.io/v2", "CiliumClusterwideNetworkPolicy"),
    ("v1", "Service"),
    ("v1", "Endpoints"),
    ("v1", "Pod"),
    ("discovery.k8s.io/v1", "EndpointSlice"),
];

/// Kinds that were told to change nothing, each once a file.
pub(in crate::policy) type Told<'n> = BTreeSet<(FileId, &'n str)>;

/// Says what becomes of an object that no dialect knows.
pub(in crate::policy) fn report<'n>(cx: &Reader<'_>, kind: Kind<'n>, told: &mut Told<'n>) {
    let is_of = |row: &&Row| row.group == kind.group() && (row.kinds.is_empty() || row.kinds.contains(&kind.name));
    let found = quoted(kind.name);
    let fate = ROWS.iter().find(is_of).map(|row| row.fate);
    let diagnostic = match fate {
        None => unknown(kind),
        Some(Fate::Refused(code, _)) if code == Code::NOT_YET_IN_FORCE && misspelt(kind) => unknown(kind),
        Some(Fate::Ignored | Fate::IgnoredBut(_)) if !told.insert((kind.span.file, kind.name)) => return,
        Some(Fate::Ignored) => {
            let message = format!("kind {found} configures no mesh: it changes nothing here");
            Diagnostic::new(Code::IGNORED_OBJECT, kind.span, message)
        }
        Some(Fate::IgnoredBut(what)) => {
            let message = format!("kind {found} configures no mesh: {what}");
            Diagnostic::new(Code::IGNORED_OBJECT, kind.span, message)
        }
        Some(Fate::Refused(code, reason)) => {
            let message = format!("kind {found} is {}: {reason}", code.title());
            Diagnostic::new(code, kind.span, message)
        }
    };
    cx.report(diagnostic);
}

/// Whether a kind is one of its group's that are read, but for a letter or the version.
fn misspelt(kind: Kind<'_>) -> bool {
    let of_group = READ
        .iter()
        .filter(|(api_version, _)| group(api_version) == kind.group());
    let near = nearest(kind.name, of_group.clone().map(|(_, name)| *name));
    // A version that is not read may be one of another release, which has other fields.
    near.is_some_and(|name| name != kind.name || kind.group() == GATEWAY_GROUP)
}

const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";

fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

fn unknown(kind: Kind<'_>) -> Diagnostic {
    let message = format!("unknown kind {} of {}", quoted(kind.name), quoted(kind.api_version));
    let diagnostic = Diagnostic::new(Code::UNKNOWN_KIND, kind.span, message);
    // Kinds of the same group are meant before others: two projects have a `Gateway`.
    let (own, others): (Vec<_>, Vec<_>) = READ
        .iter()
        .partition(|(api_version, _)| group(api_version) == kind.group());
    let of_kinds = |kinds: &[(&'static str, &'static str)]| {
        let near = nearest(kind.name, kinds.iter().map(|(_, name)| *name))?;
        kinds.iter().find(|(_, name)| *name == near).copied()
    };
    match of_kinds(&own).or_else(|| of_kinds(&others)) {
        Some((api_version, name)) if name == kind.name => {
            diagnostic.with_help(format!("`{name}` is known as a kind of `{api_version}`"))
        }
        Some((api_version, name)) => diagnostic.with_help(format!("did you mean `{name}` of `{api_version}`?")),
        None => diagnostic.with_help("`docs/dialects.md` lists the kinds that are read"),
    }
}

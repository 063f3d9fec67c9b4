//! `IstioOperator`, of which only `meshConfig` has a meaning in a process.

use super::extension_provider::provider;
use super::names::{dns_label, is_dns_name};
use super::topology::{path_normalization, topology};
use super::values::given_or;
use super::{NOT_HERE, NOT_YET, refuse_all, required_spec};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::Object;
use crate::policy::model::{AccessLog, AccessLogEncoding, MeshSettings, OutboundMode, Policy};
use crate::policy::reader::{Fields, Reader, choice};
use crate::policy::source::Node;

/// Fields of an installation.
const INSTALLATION: &[&str] = &[
    "profile",
    "installPackagePath",
    "hub",
    "tag",
    "namespace",
    "revision",
    "compatibilityVersion",
    "components",
    "values",
    "unvalidatedValues",
    "addonComponents",
];

/// Reads an `IstioOperator`.
pub(super) fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    let Some(mut fields) = required_spec(cx, object).and_then(|spec| cx.mapping(spec)) else {
        return;
    };
    fields.optional("meshConfig", |cx, node| {
        mesh_config(cx, node, &mut policy.mesh, |cx, node| {
            let known = &policy.authorizers;
            let found = provider(cx, node, object, known);
            policy.authorizers.extend(found);
        })
    });
    for name in INSTALLATION {
        fields.refuse(name, NOT_HERE, "nothing is installed");
    }
    fields.finish();
}

const REFUSED: &[(&str, &str)] = &[
    ("accessLogFormat", "lines have the default fields"),
    ("defaultProviders", "providers are not chosen by policy"),
    ("caCertificates", "trust bundles are files of the process"),
    ("certificates", "certificates are files of the process"),
    ("defaultHttpRetryPolicy", "retries are set by route or service"),
    ("defaultTrafficPolicy", "traffic policies are set by service"),
    ("defaultServiceExportTo", EXPORT),
    ("defaultVirtualServiceExportTo", EXPORT),
    ("defaultDestinationRuleExportTo", EXPORT),
    ("localityLbSetting", "localities are not weighed"),
    ("tcpKeepalive", "probes are those of the system"),
    ("connectTimeout", "the limit for connecting is set by service"),
    ("h2UpgradePolicy", "protocols are set by service"),
    (
        "enableAutoMtls",
        "endpoints with an identity are always called with mTLS",
    ),
    ("meshMTLS", TLS),
    ("tlsDefaults", TLS),
    ("serviceSettings", "services have no settings by pattern"),
    ("discoverySelectors", "namespaces are not chosen"),
    ("verifyCertificateAtClient", "servers are always verified"),
    ("hboneIdleTimeout", "connections are not tunnelled"),
];
const EXPORT: &str = "documents are exported to all namespaces where they do not say";
const TLS: &str = "versions and cipher suites are those of the TLS library";

fn mesh_config(
    cx: &Reader<'_>,
    node: &Node,
    mesh: &mut MeshSettings,
    mut provider: impl FnMut(&Reader<'_>, &Node),
) -> Option<()> {
    let mut fields = cx.mapping(node)?;
    access_log(cx, &mut fields, mesh);
    if let Some(trust_domain) = fields.optional("trustDomain", trust_domain) {
        mesh.trust_domain = trust_domain;
    }
    mesh.trust_domain_aliases = fields.list("trustDomainAliases", trust_domain);
    if let Some(namespace) = fields.optional("rootNamespace", dns_label) {
        mesh.root_namespace = namespace;
    }
    if let Some(mode) = fields.optional("outboundTrafficPolicy", outbound) {
        mesh.outbound = mode;
    }
    if fields.optional("enableTracing", Reader::bool) == Some(true) {
        accept(&mut fields, "enableTracing");
    }
    fields.list("extensionProviders", |cx, node| {
        provider(cx, node);
        Some(())
    });
    if let Some(normalization) = fields.optional("pathNormalization", path_normalization) {
        mesh.path_normalization = normalization;
    }
    fields.optional("defaultConfig", |cx, node| default_config(cx, node, mesh));
    refuse_all(&mut fields, NOT_YET, REFUSED);
    fields.finish();
    Some(())
}

const NO_TRACES: &str = "spans are not exported";

/// Lets a field pass with a warning: documents that people have give it, and it protects nothing.
fn accept(fields: &mut Fields<'_, '_, '_>, name: &'static str) {
    fields.refuse(name, Code::ACCEPTED_NOT_IN_FORCE, NO_TRACES);
}

const ENCODINGS: &[(&str, AccessLogEncoding)] = &[("TEXT", AccessLogEncoding::Text), ("JSON", AccessLogEncoding::Json)];

/// Reads where the log goes; nowhere without a file.
fn access_log(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, mesh: &mut MeshSettings) {
    let path = fields.optional("accessLogFile", Reader::string);
    let encoding = fields.optional("accessLogEncoding", choice(ENCODINGS));
    let is_off = path.as_ref().is_none_or(String::is_empty);
    if let Some((key, _)) = fields.entry("accessLogEncoding").filter(|_| is_off) {
        let message = "`accessLogEncoding` has no effect without `accessLogFile`";
        cx.report(Diagnostic::new(Code::NO_EFFECT, key.span, message));
    }
    if let Some(path) = path {
        let log = AccessLog::new(path, encoding.unwrap_or(AccessLogEncoding::Text));
        mesh.access_log = Some(log).filter(|log| !log.path.is_empty());
    }
}

fn trust_domain(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    if is_dns_name(text) && !text.contains(|c: char| c.is_ascii_uppercase()) {
        return Some(text.into());
    }
    cx.invalid(
        node,
        format!(
            "expected a trust domain such as `cluster.local`, found {}",
            quoted(text)
        ),
    )
}

const OUTBOUND: &[(&str, OutboundMode)] = &[
    ("ALLOW_ANY", OutboundMode::AllowAny),
    ("REGISTRY_ONLY", OutboundMode::RegistryOnly),
];

fn outbound(cx: &Reader<'_>, node: &Node) -> Option<OutboundMode> {
    let mut fields = cx.mapping(node)?;
    // The first of Istio's list, which is not the default of the field as a whole.
    let mode = given_or(&mut fields, "mode", OutboundMode::RegistryOnly, choice(OUTBOUND));
    fields.finish();
    mode
}

fn default_config(cx: &Reader<'_>, node: &Node, mesh: &mut MeshSettings) -> Option<()> {
    let mut fields = cx.mapping(node)?;
    fields.optional("gatewayTopology", |cx, node| topology(cx, node, mesh));
    fields.optional("tracing", tracing);
    accept(&mut fields, "tracing");
    for name in PROXY {
        fields.refuse(name, NOT_HERE, "there is no proxy to configure");
    }
    fields.finish();
    Some(())
}

/// Fields of a proxy's configuration.
const PROXY: &[&str] = &[
    "concurrency",
    "drainDuration",
    "terminationDrainDuration",
    "discoveryAddress",
    "statsUdpAddress",
    "proxyAdminPort",
    "controlPlaneAuthPolicy",
    "customConfigFile",
    "proxyMetadata",
    "runtimeValues",
    "statusPort",
    "extraStatTags",
    "proxyStatsMatcher",
    "readinessProbe",
    "caCertificatesPem",
    "image",
    "privateKeyProvider",
    "proxyHeaders",
    "holdApplicationUntilProxyStarts",
    "meshId",
    "binaryPath",
    "configPath",
    "envoyAccessLogService",
    "envoyMetricsService",
];

/// Reads the fields, so that a misspelt one is told.
fn tracing(cx: &Reader<'_>, node: &Node) -> Option<()> {
    let mut fields = cx.mapping(node)?;
    let sampling = fields.optional("sampling", Reader::f64);
    if let Some(node) = fields
        .node("sampling")
        .filter(|_| sampling.is_some_and(|rate| !(0.0..=100.0).contains(&rate)))
    {
        cx.invalid::<()>(node, "expected a percentage of 0 to 100");
    }
    fields.optional("zipkin", address);
    let refused = ["customTags", "maxPathTagLength", "tlsSettings", "enableIstioTags"];
    let collectors = ["lightstep", "datadog", "stackdriver", "openCensusAgent"];
    for name in refused.into_iter().chain(collectors) {
        fields.refuse(name, NOT_YET, NO_TRACES);
    }
    fields.finish();
    Some(())
}

fn address(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let mut fields = cx.mapping(node)?;
    let address = fields.required("address", Reader::name);
    fields.finish();
    address
}

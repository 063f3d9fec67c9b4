//! Kinds that configure a proxy or a control plane: they are checked, and have no effect in a process.

use super::names::labels;
use super::scope::selector;
use super::workload_entry::{Addresses, template};
use super::{kind_span, required_spec};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::Object;
use crate::policy::model::Policy;
use crate::policy::reader::{Reader, choice, map_of, within};
use crate::policy::source::Node;

/// Reads a `WorkloadGroup`.
pub(super) fn workload_group(cx: &Reader<'_>, object: &Object<'_>, _: &mut Policy) {
    if let Some(spec) = required_spec(cx, object) {
        group(cx, spec);
    }
    warn(
        cx,
        object,
        "no control plane registers workloads, name each in a `WorkloadEntry`",
    );
}

/// Reads a `ProxyConfig`.
pub(super) fn proxy_config(cx: &Reader<'_>, object: &Object<'_>, _: &mut Policy) {
    if let Some(spec) = object.spec {
        proxy(cx, spec);
    }
    warn(cx, object, "there is no proxy to configure");
}

fn warn(cx: &Reader<'_>, object: &Object<'_>, reason: &str) {
    let message = format!("kind {} has no effect in a process: {reason}", quoted(object.kind));
    cx.report(Diagnostic::new(Code::NO_EFFECT, kind_span(object), message));
}

fn group(cx: &Reader<'_>, spec: &Node) -> Option<()> {
    let mut fields = cx.mapping(spec)?;
    fields.optional("metadata", |cx, node| {
        let mut fields = cx.mapping(node)?;
        fields.optional("labels", labels);
        fields.optional("annotations", map_of(Reader::string));
        fields.finish();
        Some(())
    });
    fields.required("template", |cx, node| template(cx, node, Addresses::Any));
    fields.optional("probe", probe);
    fields.finish();
    Some(())
}

/// How a probe asks: one of these.
const PROBES: &[&str] = &["httpGet", "tcpSocket", "exec", "grpc"];

fn probe(cx: &Reader<'_>, node: &Node) -> Option<()> {
    let mut fields = cx.mapping(node)?;
    for name in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        fields.optional(name, within::<u32>(0..=i32::MAX.into()));
    }
    fields.required_one_of(PROBES);
    fields.optional("httpGet", http_get);
    fields.optional("tcpSocket", |cx, node| {
        let mut fields = cx.mapping(node)?;
        fields.optional("host", Reader::string);
        fields.required("port", Reader::port);
        fields.finish();
        Some(())
    });
    fields.optional("exec", |cx, node| {
        let mut fields = cx.mapping(node)?;
        fields.list("command", Reader::any_text);
        fields.finish();
        Some(())
    });
    fields.optional("grpc", |cx, node| {
        let mut fields = cx.mapping(node)?;
        fields.optional("port", Reader::port);
        fields.optional("service", Reader::string);
        fields.finish();
        Some(())
    });
    fields.finish();
    Some(())
}

fn http_get(cx: &Reader<'_>, node: &Node) -> Option<()> {
    let mut fields = cx.mapping(node)?;
    fields.optional("path", Reader::string);
    fields.required("port", Reader::port);
    fields.optional("host", Reader::string);
    fields.optional(
        "scheme",
        choice(&[("HTTP", ()), ("HTTPS", ()), ("http", ()), ("https", ())]),
    );
    fields.list("httpHeaders", |cx, node| {
        let mut fields = cx.mapping(node)?;
        fields.required("name", Reader::name);
        fields.optional("value", Reader::string);
        fields.finish();
        Some(())
    });
    fields.finish();
    Some(())
}

fn proxy(cx: &Reader<'_>, spec: &Node) -> Option<()> {
    let mut fields = cx.mapping(spec)?;
    fields.optional("selector", selector);
    fields.optional("concurrency", within::<u32>(0..=i32::MAX.into()));
    fields.optional("environmentVariables", map_of(Reader::any_text));
    fields.optional("image", |cx, node| {
        let mut fields = cx.mapping(node)?;
        fields.optional("imageType", Reader::string);
        fields.finish();
        Some(())
    });
    fields.finish();
    Some(())
}

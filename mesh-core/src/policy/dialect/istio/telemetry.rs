//! `Telemetry`: what is measured, logged and traced.

use super::selection::selection;
use super::{NOT_YET, kind_span};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::Object;
use crate::policy::model::Policy;
use crate::policy::model::telemetry::{Switch, Telemetry};
use crate::policy::reader::{Fields, Reader, choice};
use crate::policy::source::{Node, Value};

/// Reads a `Telemetry`.
pub(super) fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    let reason = "metrics, traces and access logs are the same for all workloads";
    let message = format!("kind `Telemetry` is {}: {reason}", NOT_YET.title());
    cx.report(Diagnostic::new(NOT_YET, kind_span(object), message));
    let mut found = Telemetry {
        meta: object.meta.clone(),
        ..Telemetry::default()
    };
    if let Some(mut fields) = object.spec.and_then(|spec| cx.mapping(spec)) {
        let selection = selection(&mut fields);
        (found.selector, found.targets) = (selection.labels, selection.targets);
        found.sampling_percent = fields.list("tracing", tracing).into_iter().flatten().next_back();
        found.metrics = fields.list("metrics", metrics).into_iter().flatten().collect();
        found.access_log = fields.list("accessLogging", access_logging).into_iter().next_back();
        fields.finish();
    }
    policy.telemetries.push(found);
}

fn providers(fields: &mut Fields<'_, '_, '_>) {
    fields.list("providers", |cx, node| {
        let mut provider = cx.mapping(node)?;
        let name = provider.required("name", Reader::name);
        provider.finish();
        name
    });
}

/// Reads `match.mode`; further fields are those of metrics.
fn selected(fields: &mut Fields<'_, '_, '_>) -> Option<String> {
    const MODES: &[(&str, ())] = &[
        ("UNDEFINED", ()),
        ("CLIENT_AND_SERVER", ()),
        ("CLIENT", ()),
        ("SERVER", ()),
    ];
    fields.optional("match", |cx, node| {
        let mut selection = cx.mapping(node)?;
        selection.optional("mode", choice(MODES));
        let metric = selection.one_of(&["metric", "customMetric"]);
        selection.finish();
        metric
            .and_then(|(_, node)| cx.name(node))
            .filter(|metric| metric != "ALL_METRICS")
    })
}

fn switch(fields: &mut Fields<'_, '_, '_>, name: &'static str) -> Option<Switch> {
    let is_off = fields.optional(name, Reader::bool)?;
    Some(if is_off { Switch::Off } else { Switch::On })
}

/// `None` in it where no share is given.
#[expect(clippy::option_option, reason = "a block without a share is no wrong one")]
fn tracing(cx: &Reader<'_>, node: &Node) -> Option<Option<f64>> {
    let mut fields = cx.mapping(node)?;
    providers(&mut fields);
    selected(&mut fields);
    let share = fields.optional("randomSamplingPercentage", |cx, node| {
        let share = cx.f64(node)?;
        if (0.0..=100.0).contains(&share) {
            return Some(share);
        }
        cx.invalid(node, format!("expected 0 to 100, found `{share}`"))
    });
    for name in [
        "disableSpanReporting",
        "useRequestIdForTraceSampling",
        "enableIstioTags",
        "disableContextPropagation",
    ] {
        fields.optional(name, Reader::bool);
    }
    fields.optional("customTags", custom_tags);
    fields.finish();
    Some(share)
}

fn custom_tags(cx: &Reader<'_>, node: &Node) -> Option<()> {
    let Value::Mapping(entries) = &node.value else {
        return cx.wrong_type(node, "a mapping");
    };
    for (_, tag) in entries {
        let Some(mut fields) = cx.mapping(tag) else { continue };
        let Some((form, _)) = fields.required_one_of(&["literal", "environment", "header", "formatter"]) else {
            continue;
        };
        let needed = if matches!(form, "literal" | "formatter") {
            "value"
        } else {
            "name"
        };
        fields.optional(form, |cx, node| {
            let mut source = cx.mapping(node)?;
            source.required(needed, Reader::name);
            source.optional("defaultValue", Reader::any_text);
            source.finish();
            Some(())
        });
    }
    Some(())
}

fn metrics(cx: &Reader<'_>, node: &Node) -> Option<Vec<(Option<String>, Switch)>> {
    let mut fields = cx.mapping(node)?;
    providers(&mut fields);
    fields.optional("reportingInterval", super::values::duration);
    let switches = fields.list("overrides", |cx, node| {
        let mut change = cx.mapping(node)?;
        let metric = selected(&mut change);
        let switch = switch(&mut change, "disabled");
        change.optional("tagOverrides", tag_overrides);
        change.finish();
        Some((metric, switch))
    });
    fields.finish();
    Some(
        switches
            .into_iter()
            .filter_map(|(metric, switch)| Some((metric, switch?)))
            .collect(),
    )
}

fn tag_overrides(cx: &Reader<'_>, node: &Node) -> Option<()> {
    const OPERATIONS: &[(&str, bool)] = &[("UPSERT", true), ("REMOVE", false)];
    let Value::Mapping(entries) = &node.value else {
        return cx.wrong_type(node, "a mapping");
    };
    for (_, tag) in entries {
        let Some(mut fields) = cx.mapping(tag) else { continue };
        let has_value = fields.optional("operation", choice(OPERATIONS)).unwrap_or(true);
        match (has_value, fields.entry("value")) {
            (false, Some((key, _))) => {
                let message = format!("{} cannot stand beside `REMOVE`", quoted(&key.name));
                cx.report(Diagnostic::new(Code::CONFLICTING_FIELDS, key.span, message));
            }
            (true, _) => {
                fields.required("value", Reader::name);
            }
            _ => {}
        }
        fields.finish();
    }
    Some(())
}

fn access_logging(cx: &Reader<'_>, node: &Node) -> Option<Switch> {
    let mut fields = cx.mapping(node)?;
    providers(&mut fields);
    selected(&mut fields);
    let switch = switch(&mut fields, "disabled").unwrap_or(Switch::On);
    fields.optional("filter", |cx, node| {
        let mut filter = cx.mapping(node)?;
        filter.required("expression", Reader::name);
        filter.finish();
        Some(())
    });
    fields.finish();
    Some(switch)
}

//! Files of tests, read.

mod claims;
mod expectation;
mod request;
mod script;

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

pub(super) use expectation::{Expectation, Expected};
pub(crate) use request::{Scheme, header_map, identity_of, url_of, workload_of};
pub(super) use script::{RateLimited, Step, StepAnswer};

use super::question::{Asked, Received};
use crate::policy::diagnostic::{Code, Diagnostic, Report, quoted};
use crate::policy::reader::{Fields, Reader, list_of, spanned, within};
use crate::policy::source::{FileId, Node, SourceSpan, Sources, Value, parse};
use crate::request::is_grpc;
use crate::workload::Workload;

/// Tests of one policy.
#[derive(Debug)]
pub(super) struct Suite {
    pub(super) policy: Option<PolicySource>,
    pub(super) seed: u64,
    pub(super) tests: Vec<Test>,
}

/// Where a policy comes from.
#[derive(Debug)]
pub(super) enum PolicySource {
    /// Files or directories, and where the test file names them.
    Paths(Vec<String>, SourceSpan),
    /// The text itself, with the name that messages give it.
    Inline(Vec<(String, String)>),
}

#[derive(Debug)]
pub(super) struct Test {
    pub(super) name: String,
    pub(super) line: u32,
    pub(super) policy: Option<PolicySource>,
    pub(super) act: Act,
    pub(super) expect: Expectation,
}

/// What is tried.
#[derive(Debug)]
pub(super) enum Act {
    Load,
    Outbound(Sent),
    Inbound(Asked, Workload, Received),
}

/// A request on its way out.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) asked: Asked,
    /// Who sends it; `None` where the test does not say.
    pub(super) workload: Option<Workload>,
    pub(super) gateway: Option<String>,
    /// What the token says that the gateway gets.
    pub(super) claims: Option<Map<String, Json>>,
    /// What the called servers answer, one try after the other.
    pub(super) upstream: Option<Vec<Step>>,
}

/// Reads all suites of a file: one a document.
pub(super) fn suites(sources: &Sources, file: FileId, report: &mut Report) -> Vec<Suite> {
    let documents = parse(sources, file, report);
    let cx = Reader::new(sources, report);
    if let Some(policy) = documents.iter().map(|one| &one.root).find(|root| is_policy(root)) {
        let message = "this is a policy, and no file of tests";
        let help = "`mesh check` reads it; a file of tests has `policy`, which names it, and `tests`";
        let place = policy.entries().first().map_or(policy.span, |(key, _)| key.span);
        cx.report(Diagnostic::new(Code::UNKNOWN_KIND, place, message).with_help(help));
        return Vec::new();
    }
    let mut names = BTreeSet::new();
    documents
        .iter()
        .filter_map(|document| suite(&cx, &document.root, &mut names))
        .collect()
}

/// Whether a document is an object or a native policy: neither has tests.
fn is_policy(node: &Node) -> bool {
    let has = |name: &str| node.get(name).is_some();
    !has("tests") && (has("apiVersion") || has("kind") || has("services") || has("routes") || has("authorization"))
}

fn suite(cx: &Reader<'_>, node: &Node, names: &mut BTreeSet<String>) -> Option<Suite> {
    let mut fields = cx.mapping(node)?;
    let policy = fields.optional("policy", policy_source);
    let seed = fields.optional("seed", within(0..=i64::MAX)).unwrap_or(1);
    let has_policy = fields.node("policy").is_some();
    let tests = fields.required("tests", list_of(|cx, node| test(cx, node, names, has_policy)));
    if tests.as_ref().is_some_and(Vec::is_empty) && fields.node("tests").is_some_and(|node| node.items().is_empty()) {
        cx.report(Diagnostic::new(Code::MISSING_FIELD, fields.span(), "there is no test"));
    }
    fields.finish();
    Some(Suite {
        policy,
        seed,
        tests: tests?,
    })
}

/// A text with line breaks is a policy; one without is a path.
fn policy_source(cx: &Reader<'_>, node: &Node) -> Option<PolicySource> {
    match &node.value {
        Value::Sequence(items) if items.is_empty() => cx.invalid(node, "expected at least one file or directory"),
        Value::Sequence(_) => list_of(Reader::name)(cx, node).map(|paths| PolicySource::Paths(paths, node.span)),
        Value::Mapping(entries) => {
            let files = entries
                .iter()
                .filter_map(|(key, text)| Some((key.name.to_string(), cx.any_text(text)?)));
            Some(PolicySource::Inline(files.collect()))
        }
        _ => {
            let text = cx.string(node)?;
            Some(match text.contains('\n') {
                true => PolicySource::Inline(vec![("policy".into(), text)]),
                false => PolicySource::Paths(vec![text], node.span),
            })
        }
    }
}

fn test(cx: &Reader<'_>, node: &Node, names: &mut BTreeSet<String>, has_policy: bool) -> Option<Test> {
    let mut fields = cx.mapping(node)?;
    let name = fields.required("name", spanned(Reader::name));
    let policy = fields.optional("policy", policy_source);
    if policy.is_none() && !has_policy && fields.node("policy").is_none() {
        let message = "neither the test nor its document names a `policy`";
        cx.report(Diagnostic::new(Code::MISSING_FIELD, node.span, message));
    }
    let act = act(cx, &mut fields);
    let expect = fields.required("expect", expectation::read);
    fields.finish();
    let name = name?;
    if !names.insert(name.value.clone()) {
        let message = format!("a test {} is there already", quoted(&name.value));
        cx.report(Diagnostic::new(Code::DUPLICATE_DEFINITION, name.span, message));
    }
    Some(Test {
        name: name.value,
        line: cx.origin(node.span).line,
        policy,
        act: act?,
        expect: expect?,
    })
}

fn act(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) -> Option<Act> {
    let kind = fields.required_one_of(&["outbound", "inbound", "load"]);
    let upstream = fields.optional("upstream", list_of(|cx, node| script::step(cx, node)));
    if let (Some((key, _)), Some(("inbound" | "load", _))) = (fields.entry("upstream"), kind) {
        let message = "`upstream` is for `outbound`: it says what the called server answers";
        cx.report(Diagnostic::new(Code::CONFLICTING_FIELDS, key.span, message));
    }
    match kind? {
        ("outbound", node) => {
            let sent = outbound(cx, node, upstream)?;
            grpc_answers(cx, fields, &sent);
            Some(Act::Outbound(sent))
        }
        ("inbound", node) => inbound(cx, node),
        (_, node) => load(cx, node),
    }
}

/// `{}` or `true`: there is nothing to say beside that the policy is loaded.
fn load(cx: &Reader<'_>, node: &Node) -> Option<Act> {
    match &node.value {
        Value::Mapping(_) => cx.mapping(node)?.finish(),
        _ if cx.bool(node)? => {}
        _ => return cx.invalid(node, "expected `{}`, or the field left out"),
    }
    Some(Act::Load)
}

fn outbound(cx: &Reader<'_>, node: &Node, upstream: Option<Vec<Step>>) -> Option<Sent> {
    let mut fields = cx.mapping(node)?;
    let workload = fields.optional("as", request::workload);
    let gateway = fields.optional("gateway", Reader::name);
    let claims = fields.optional("claims", claims::read);
    if let (Some((key, _)), None) = (fields.entry("claims"), &gateway) {
        let message = "`claims` is for requests that come in: at a `gateway`, or `inbound`";
        cx.report(Diagnostic::new(Code::CONFLICTING_FIELDS, key.span, message));
    }
    let asked = request::asked(&mut fields);
    fields.finish();
    Some(Sent {
        asked: asked?,
        workload,
        gateway,
        claims,
        upstream,
    })
}

/// A gRPC status is read where the request is one of gRPC, and nowhere else.
fn grpc_answers(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, sent: &Sent) {
    let has_status = |step: &Step| matches!(step.answer, StepAnswer::Response { grpc: Some(_), .. });
    let steps = sent.upstream.as_deref().unwrap_or_default();
    if is_grpc(&sent.asked.headers) || !steps.iter().any(has_status) {
        return;
    }
    if let Some((key, _)) = fields.entry("upstream") {
        let message = "a gRPC status is looked at only where the request is of gRPC";
        let help = "give the request the header `content-type: application/grpc`";
        cx.report(Diagnostic::new(Code::INVALID_POLICY, key.span, message).with_help(help));
    }
}

fn inbound(cx: &Reader<'_>, node: &Node) -> Option<Act> {
    let mut fields = cx.mapping(node)?;
    let workload = fields.optional("as", request::workload).unwrap_or_default();
    let asked = request::asked(&mut fields);
    let other = Received::default();
    let received = Received {
        from: fields.optional("from", request::identity),
        source_ip: fields
            .optional("source_ip", request::address)
            .unwrap_or(other.source_ip),
        port: fields.optional("port", Reader::port),
        claims: fields.optional("claims", claims::read),
        authorizer: fields.optional("authorizer", script::authorizer),
    };
    fields.finish();
    Some(Act::Inbound(asked?, workload, received))
}

//! Files of tests, read.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use serde_json::Value as Json;

use crate::identity::SpiffeId;
use crate::policy::diagnostic::{Code, Diagnostic, Report, quoted};
use crate::policy::reader::{Reader, list_of, spanned, within};
use crate::policy::source::{FileId, Node, Origin, Sources, Style, Value, parse};
use crate::workload::Workload;

/// Gives the files, each with its name, that a path in a test file stands for; the reason where there are none.
pub type PolicyFiles<'a> = dyn FnMut(&str) -> Result<Vec<(String, Vec<u8>)>, String> + 'a;

/// Tests of one policy.
#[derive(Debug)]
pub(super) struct Suite {
    pub(super) policy: Option<PolicySource>,
    pub(super) seed: u64,
    pub(super) tests: Vec<Test>,
}

/// Where a policy comes from.
#[derive(Clone, Debug)]
pub(super) enum PolicySource {
    /// Files or directories.
    Paths(Vec<String>),
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
    Outbound(Sent, Option<Vec<Step>>),
    Inbound(Sent, Received),
}

/// A request, and the workload that it concerns.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) workload: Workload,
    pub(super) method: Method,
    pub(super) url: Uri,
    pub(super) headers: HeaderMap,
}

/// How a request comes in.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) from: Option<SpiffeId>,
    pub(super) source_ip: IpAddr,
    pub(super) port: Option<u16>,
}

/// An answer of a scripted server.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) after: Duration,
    pub(super) answer: StepAnswer,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum StepAnswer {
    Response(StatusCode, Option<u8>, RateLimited),
    Reset,
    ConnectFailure,
    Refused,
}

/// Whether an answer says that a rate limit made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RateLimited {
    Yes,
    No,
}

/// What is expected, with the place of every part.
#[derive(Debug)]
pub(super) struct Expectation {
    pub(super) value: Expected,
    pub(super) line: u32,
}

#[derive(Debug)]
pub(super) enum Expected {
    Value(Json),
    List(Vec<Expectation>),
    Fields(Vec<(String, Expectation)>),
}

/// Reads all suites of a file: one a document.
pub(super) fn suites(sources: &Sources, file: FileId, report: &mut Report) -> Vec<Suite> {
    let documents = parse(sources, file, report);
    let cx = Reader::new(sources, report);
    let mut names = BTreeSet::new();
    documents
        .iter()
        .filter_map(|document| suite(&cx, &document.root, &mut names))
        .collect()
}

fn suite(cx: &Reader<'_>, node: &Node, names: &mut BTreeSet<String>) -> Option<Suite> {
    let mut fields = cx.mapping(node)?;
    let policy = fields.optional("policy", policy_source);
    let seed = fields.optional("seed", within(0..=i64::MAX)).unwrap_or(1);
    let tests = fields.required("tests", list_of(|cx, node| test(cx, node, names)));
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
        Value::Sequence(_) => list_of(Reader::name)(cx, node).map(PolicySource::Paths),
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
                false => PolicySource::Paths(vec![text]),
            })
        }
    }
}

fn test(cx: &Reader<'_>, node: &Node, names: &mut BTreeSet<String>) -> Option<Test> {
    let mut fields = cx.mapping(node)?;
    let name = fields.required("name", spanned(Reader::name));
    let policy = fields.optional("policy", policy_source);
    let act = fields.required_one_of(&["outbound", "inbound", "load"]);
    let upstream = fields.optional("upstream", list_of(step));
    if let (Some((key, _)), Some(("inbound" | "load", _))) = (fields.entry("upstream"), act) {
        let message = "`upstream` is for `outbound`: it says what the called server answers";
        cx.report(Diagnostic::new(Code::CONFLICTING_FIELDS, key.span, message));
    }
    let expect = fields.required("expect", |cx, node| Some(expectation(cx, node)));
    fields.finish();
    let act = match act? {
        ("outbound", node) => Act::Outbound(outbound(cx, node)?, upstream),
        ("inbound", node) => inbound(cx, node)?,
        _ => Act::Load,
    };
    let name = name?;
    if !names.insert(name.value.clone()) {
        let message = format!("a test {} is there already", quoted(&name.value));
        cx.report(Diagnostic::new(Code::DUPLICATE_DEFINITION, name.span, message));
    }
    Some(Test {
        name: name.value,
        line: cx.origin(node.span).line,
        policy,
        act,
        expect: expect?,
    })
}

fn outbound(cx: &Reader<'_>, node: &Node) -> Option<Sent> {
    let mut fields = cx.mapping(node)?;
    let sent = sent(&mut fields);
    fields.finish();
    sent
}

fn inbound(cx: &Reader<'_>, node: &Node) -> Option<Act> {
    let mut fields = cx.mapping(node)?;
    let sent = sent(&mut fields);
    let received = Received {
        from: fields.optional("from", identity),
        source_ip: fields
            .optional("source_ip", address)
            .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        port: fields.optional("port", Reader::port),
    };
    fields.finish();
    Some(Act::Inbound(sent?, received))
}

fn sent(fields: &mut crate::policy::reader::Fields<'_, '_, '_>) -> Option<Sent> {
    let workload = fields
        .optional("as", workload)
        .unwrap_or_else(|| Workload::new("default", "default"));
    let method = fields.optional("method", method).unwrap_or(Method::GET);
    let headers = fields.optional("headers", headers).unwrap_or_default();
    let url = fields.required("url", url)?;
    Some(Sent {
        workload,
        method,
        url,
        headers,
    })
}

/// `namespace` and `service_account` (`sa`); every other key is a label.
fn workload(cx: &Reader<'_>, node: &Node) -> Option<Workload> {
    let Value::Mapping(entries) = &node.value else {
        return cx.wrong_type(node, "a mapping");
    };
    let texts: Vec<_> = entries
        .iter()
        .filter_map(|(key, value)| Some((&*key.name, cx.any_text(value)?)))
        .collect();
    let field = |names: &[&str]| {
        let found = texts.iter().find(|(key, _)| names.contains(key));
        found.map_or("default", |(_, value)| value.as_str())
    };
    let workload = Workload::new(field(&["namespace"]), field(&["service_account", "sa"]));
    let labels = texts
        .iter()
        .filter(|(key, _)| !["namespace", "service_account", "sa"].contains(key));
    Some(labels.fold(workload, |workload, (key, value)| workload.label(*key, value)))
}

fn method(cx: &Reader<'_>, node: &Node) -> Option<Method> {
    let text = cx.text(node)?;
    match Method::from_bytes(text.as_bytes()) {
        Ok(method) => Some(method),
        Err(_) => cx.invalid(node, format!("expected a method, found {}", quoted(text))),
    }
}

fn url(cx: &Reader<'_>, node: &Node) -> Option<Uri> {
    let text = cx.text(node)?;
    match text.parse::<Uri>() {
        Ok(url) if url.authority().is_some() && url.scheme().is_some() => Some(url),
        _ => cx.invalid(
            node,
            format!("expected a URL such as `http://orders/7`, found {}", quoted(text)),
        ),
    }
}

/// Values by name; a list is a header that is there several times.
fn headers(cx: &Reader<'_>, node: &Node) -> Option<HeaderMap> {
    let Value::Mapping(entries) = &node.value else {
        return cx.wrong_type(node, "a mapping");
    };
    let mut headers = HeaderMap::new();
    for (key, value) in entries {
        let Ok(name) = HeaderName::from_bytes(key.name.to_ascii_lowercase().as_bytes()) else {
            cx.invalid_key(key, "expected the name of a header");
            continue;
        };
        let values = if value.items().is_empty() {
            std::slice::from_ref(value)
        } else {
            value.items()
        };
        for value in values {
            headers.append(name.clone(), header_value(cx, value)?);
        }
    }
    Some(headers)
}

fn header_value(cx: &Reader<'_>, node: &Node) -> Option<HeaderValue> {
    let text = cx.any_text(node)?;
    match HeaderValue::from_str(&text) {
        Ok(value) => Some(value),
        Err(_) => cx.invalid(node, "expected text without control characters"),
    }
}

/// A SPIFFE id, whose scheme may be left out; `plaintext` is no id.
fn identity(cx: &Reader<'_>, node: &Node) -> Option<SpiffeId> {
    let text = cx.text(node)?;
    if text == "plaintext" {
        return None;
    }
    let full = if text.contains("://") {
        text.to_owned()
    } else {
        format!("spiffe://{text}")
    };
    match SpiffeId::parse(&full) {
        Ok(id) => Some(id),
        Err(error) => cx.invalid(node, format!("the id {error}")),
    }
}

fn address(cx: &Reader<'_>, node: &Node) -> Option<IpAddr> {
    let text = cx.text(node)?;
    match text.parse() {
        Ok(address) => Some(address),
        Err(_) => cx.invalid(node, format!("expected an IP address, found {}", quoted(text))),
    }
}

fn step(cx: &Reader<'_>, node: &Node) -> Option<Step> {
    let mut fields = cx.mapping(node)?;
    let kind = fields.required_one_of(&["status", "reset", "connect_failure", "refused"]);
    let grpc = fields.optional("grpc_status", within(0..=16));
    let limited = match fields.optional("rate_limited", Reader::bool) {
        Some(true) => RateLimited::Yes,
        _ => RateLimited::No,
    };
    let after = fields.optional("after", Reader::duration).unwrap_or_default();
    fields.finish();
    let answer = match kind? {
        ("status", node) => StepAnswer::Response(status(cx, node)?, grpc, limited),
        (name, node) => {
            if cx.bool(node)? {
                failure(name)
            } else {
                return cx.invalid(node, "expected `true`, or the field left out");
            }
        }
    };
    Some(Step { after, answer })
}

fn failure(name: &str) -> StepAnswer {
    match name {
        "connect_failure" => StepAnswer::ConnectFailure,
        "refused" => StepAnswer::Refused,
        _ => StepAnswer::Reset,
    }
}

fn status(cx: &Reader<'_>, node: &Node) -> Option<StatusCode> {
    StatusCode::from_u16(within::<u16>(100..=599)(cx, node)?).ok()
}

fn expectation(cx: &Reader<'_>, node: &Node) -> Expectation {
    let Origin { line, .. } = cx.origin(node.span);
    let value = match &node.value {
        Value::Mapping(entries) => {
            let fields = entries
                .iter()
                .map(|(key, value)| (key.name.to_string(), expectation(cx, value)));
            Expected::Fields(fields.collect())
        }
        Value::Sequence(items) => Expected::List(items.iter().map(|item| expectation(cx, item)).collect()),
        Value::Scalar(scalar) if scalar.style == Style::Plain => Expected::Value(plain(&scalar.text)),
        Value::Scalar(scalar) => Expected::Value(Json::String(scalar.text.to_string())),
        _ => Expected::Value(Json::Null),
    };
    Expectation { value, line }
}

/// A plain scalar: a boolean, a number, or text.
fn plain(text: &str) -> Json {
    match serde_json::from_str::<Json>(text) {
        Ok(value @ (Json::Bool(_) | Json::Number(_) | Json::Null)) => value,
        _ => Json::String(text.to_owned()),
    }
}

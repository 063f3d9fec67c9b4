//! Tests, tried.

use http::header::HOST;
use http::{HeaderValue, Request, Uri};
use serde_json::{Value as Json, json};

use super::read::{Act, PolicyFiles, PolicySource, Received, Sent, Step, Suite, Test};
use super::{TestResult, Verdict, compare, simulate};
use crate::decide::retry::default_policy;
use crate::decide::route::RouteResult;
use crate::explain::{self, Caller};
use crate::policy::Loaded;
use crate::policy::diagnostic::Paint;
use crate::request::{Options, Transport, canonicalize};
use crate::snapshot::Snapshot;

/// Tries all tests of a suite.
pub(super) fn suite(suite: &Suite, files: &mut PolicyFiles<'_>) -> Vec<TestResult> {
    let shared = suite.policy.as_ref().map(|policy| load(policy, files));
    let mut results = Vec::new();
    for test in &suite.tests {
        let own = test.policy.as_ref().map(|policy| load(policy, files));
        let found = match own.as_ref().or(shared.as_ref()) {
            Some(Ok(loaded)) => found(test, loaded, suite.seed),
            Some(Err(reason)) => Err(reason.clone()),
            None => Err("neither the test nor its file names a `policy`".into()),
        };
        results.push(TestResult {
            name: test.name.clone(),
            line: test.line,
            verdict: verdict(test, found),
        });
    }
    results
}

fn verdict(test: &Test, found: Result<Json, String>) -> Verdict {
    match found {
        Err(reason) => Verdict::Unusable(reason),
        Ok(found) => match compare::differences(&test.expect, &found) {
            differences if differences.is_empty() => Verdict::Passed,
            differences => Verdict::Failed(differences),
        },
    }
}

fn load(policy: &PolicySource, files: &mut PolicyFiles<'_>) -> Result<Loaded, String> {
    match policy {
        PolicySource::Inline(texts) => {
            let texts = texts.iter().map(|(name, text)| (name.as_str(), text.as_bytes()));
            Ok(Loaded::from_files(texts))
        }
        PolicySource::Paths(paths) => {
            let mut all = Vec::new();
            for path in paths {
                all.extend(files(path)?);
            }
            Ok(Loaded::from_files(
                all.iter().map(|(name, bytes)| (name.as_str(), bytes)),
            ))
        }
    }
}

/// What the policy makes of a test, as JSON.
fn found(test: &Test, loaded: &Loaded, seed: u64) -> Result<Json, String> {
    match &test.act {
        Act::Load => Ok(loading(loaded)),
        Act::Outbound(sent, script) => {
            let snapshot = compile(loaded, sent)?;
            outbound(&snapshot, sent, script.as_deref(), seed)
        }
        Act::Inbound(sent, received) => inbound(&compile(loaded, sent)?, sent, received),
    }
}

/// Whether the policy loads; the first finding, errors before warnings.
fn loading(loaded: &Loaded) -> Json {
    let report = loaded.report.json(&loaded.sources);
    let mut findings: Vec<_> = report.diagnostics.iter().collect();
    findings.sort_by_key(|finding| finding.severity);
    let mut told = json!({
        "valid": loaded.policy.is_some(),
        "errors": report.errors,
        "warnings": report.warnings,
        "codes": findings.iter().map(|finding| finding.code).collect::<Vec<_>>(),
    });
    if let (Some(first), Some(told)) = (findings.first(), told.as_object_mut()) {
        told.insert("code".into(), json!(first.code));
        told.insert("line".into(), json!(first.line));
        told.insert("column".into(), json!(first.column));
        told.insert("message".into(), json!(first.message));
    }
    told
}

fn compile(loaded: &Loaded, sent: &Sent) -> Result<Snapshot, String> {
    let Some(policy) = &loaded.policy else {
        return Err(format!(
            "the policy does not load\n{}",
            loaded.report.render(&loaded.sources, Paint::Plain)
        ));
    };
    Snapshot::compile(policy, &sent.workload, 1).map_err(|error| error.to_string())
}

fn outbound(snapshot: &Snapshot, sent: &Sent, script: Option<&[Step]>, seed: u64) -> Result<Json, String> {
    let request = request(sent, sent.url.clone());
    let canonical = match canonicalize(&request, Options::outbound()) {
        Ok(canonical) => canonical,
        Err(reason) => return json_of(&explain::outbound_refused(reason)),
    };
    let view = canonical.view();
    let mut told = json_of(&explain::outbound(snapshot, &view))?;
    let (Some(script), Some(fields)) = (script, told.as_object_mut()) else {
        return Ok(told);
    };
    let RouteResult::Route(selected) = snapshot.outbound.route(&view) else {
        return Err("`upstream` has no effect: no route sends the request to a server".into());
    };
    let port = view.effective_port();
    let target = selected.route.shares().find_map(|(to, _)| snapshot.target(to.index()?));
    let fallback = default_policy();
    let retry = selected
        .retry()
        .or_else(|| target.map(|target| target.retry(target.service_port(port))));
    let limits = simulate::Limits {
        retry: retry.map_or(&fallback, |retry| retry),
        timeout: selected.timeout(),
    };
    fields.extend(simulate::run(sent, &limits, script, seed)?);
    Ok(told)
}

/// As the server sees it: path and query, and the host in its header.
fn inbound(snapshot: &Snapshot, sent: &Sent, received: &Received) -> Result<Json, String> {
    let target = sent.url.path_and_query().map_or("/", |target| target.as_str());
    let mut request = request(sent, target.parse::<Uri>().map_err(|error| error.to_string())?);
    let authority = sent
        .url
        .authority()
        .map(|authority| HeaderValue::from_str(authority.as_str()));
    if let Some(Ok(host)) = authority.filter(|_| !request.headers().contains_key(HOST)) {
        request.headers_mut().insert(HOST, host);
    }
    let (caller, transport) = match &received.from {
        Some(id) => (Caller::Mtls(id), Transport::Tls),
        None => (Caller::Plaintext, Transport::Plain),
    };
    let port = received.port.or_else(|| sent.url.port_u16()).unwrap_or(80);
    let options = Options::inbound(transport, snapshot.inbound.authorizer.path_rules());
    let answer = match canonicalize(&request, options) {
        Ok(canonical) => explain::inbound(snapshot, &canonical.view(), caller, received.source_ip, port),
        Err(reason) => explain::inbound_refused(snapshot, reason, caller, port),
    };
    json_of(&answer)
}

fn request(sent: &Sent, target: Uri) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = sent.method.clone();
    *request.uri_mut() = target;
    *request.headers_mut() = sent.headers.clone();
    request
}

fn json_of(answer: &impl serde::Serialize) -> Result<Json, String> {
    serde_json::to_value(answer).map_err(|error| error.to_string())
}

//! Tests, tried.

use serde_json::{Value as Json, json};

use super::question::{self, Asked};
use super::read::{Act, PolicySource, Sent, Suite, Test};
use super::{PolicyFiles, TestResult, Verdict, compare, simulate};
use crate::policy::Loaded;
use crate::policy::diagnostic::{Code, Diagnostic, Paint, Report};
use crate::policy::model::authz::{Action, AuthorizationPolicy, Enforcement};
use crate::policy::model::{Policy, kubernetes_parts};
use crate::snapshot::Snapshot;
use crate::workload::Workload;

/// A suite with its policies, which are read once.
pub(super) struct Prepared<'s> {
    suite: &'s Suite,
    shared: Option<Given>,
    /// Those of single tests, in their order.
    own: Vec<Option<Given>>,
}

/// A policy, and what it was compiled to so far.
struct Given {
    loaded: Loaded,
    compiled: Vec<(Workload, Result<Snapshot, String>)>,
}

impl<'s> Prepared<'s> {
    /// Reads the policies; what is not there is a problem of the file of tests.
    pub(super) fn new(suite: &'s Suite, files: &mut PolicyFiles<'_>, report: &mut Report) -> Self {
        let mut load = |policy: Option<&PolicySource>| load(policy?, files, report);
        let shared = load(suite.policy.as_ref());
        let own = suite.tests.iter().map(|test| load(test.policy.as_ref())).collect();
        Self { suite, shared, own }
    }

    /// Tries the tests whose name is wanted.
    pub(super) fn results(self, is_wanted: impl Fn(&str) -> bool) -> Vec<TestResult> {
        let Self { suite, mut shared, own } = self;
        let mut results = Vec::new();
        for (test, own) in suite.tests.iter().zip(own) {
            if !is_wanted(&test.name) {
                continue;
            }
            let mut own = own;
            let found = match own.as_mut().or(shared.as_mut()) {
                Some(given) => given.found(test, suite.seed),
                None => Err("there is no policy".into()),
            };
            results.push(result(test, found));
        }
        results
    }
}

fn load(policy: &PolicySource, files: &mut PolicyFiles<'_>, report: &mut Report) -> Option<Given> {
    let loaded = match policy {
        PolicySource::Inline(texts) => {
            let texts = texts.iter().map(|(name, text)| (name.as_str(), text.as_bytes()));
            Loaded::from_files(texts)
        }
        PolicySource::Paths(paths, span) => {
            let mut all: Vec<(String, Vec<u8>)> = Vec::new();
            for path in paths {
                match files(path) {
                    Ok(read) => all.extend(read),
                    Err(reason) => {
                        report.push(Diagnostic::new(
                            Code::UNKNOWN_REFERENCE,
                            *span,
                            format!("`policy`: {reason}"),
                        ));
                        return None;
                    }
                }
            }
            Loaded::from_files(all.iter().map(|(name, bytes)| (name.as_str(), bytes)))
        }
    };
    let compiled = Vec::new();
    Some(Given { loaded, compiled })
}

fn result(test: &Test, found: Result<Json, String>) -> TestResult {
    let reason = found.as_ref().ok().and_then(|found| found.get("reason")?.as_str());
    let reason = reason.map(str::to_owned);
    let verdict = match found {
        Err(reason) => Verdict::Unusable(reason),
        Ok(found) => match compare::differences(&test.expect, &found) {
            differences if differences.is_empty() => Verdict::Passed,
            differences => Verdict::Failed(differences),
        },
    };
    TestResult {
        name: test.name.clone(),
        line: test.line,
        verdict,
        reason,
    }
}

impl Given {
    /// What the policy makes of a test, as JSON.
    fn found(&mut self, test: &Test, seed: u64) -> Result<Json, String> {
        match &test.act {
            Act::Load => Ok(loading(&self.loaded)),
            Act::Outbound(sent) => {
                let workload = match &sent.workload {
                    Some(workload) => workload.clone(),
                    None => caller_of(self.loaded.policy.as_ref(), &sent.asked),
                };
                outbound(self.snapshot(&workload)?, sent, seed)
            }
            Act::Inbound(asked, workload, received) => {
                let mut told = question::inbound(self.snapshot(workload)?, asked, received)?;
                let unmatched = unmatched(&told, self.loaded.policy.as_ref(), workload);
                if let Some(fields) = told.as_object_mut().filter(|_| !unmatched.is_empty()) {
                    fields.insert(compare::UNMATCHED.into(), json!(unmatched));
                }
                Ok(told)
            }
        }
    }

    /// What the policy means for a workload, compiled once.
    fn snapshot(&mut self, workload: &Workload) -> Result<&Snapshot, String> {
        if !self.compiled.iter().any(|(known, _)| known == workload) {
            let snapshot = compile(&self.loaded, workload);
            self.compiled.push((workload.clone(), snapshot));
        }
        let found = self.compiled.iter().find(|(known, _)| known == workload);
        match found {
            Some((_, Ok(snapshot))) => Ok(snapshot),
            Some((_, Err(reason))) => Err(reason.clone()),
            None => Err("the policy is not compiled".into()),
        }
    }
}

fn compile(loaded: &Loaded, workload: &Workload) -> Result<Snapshot, String> {
    let Some(policy) = &loaded.policy else {
        return Err(format!(
            "the policy does not load\n{}",
            loaded.report.render(&loaded.sources, Paint::Plain)
        ));
    };
    Snapshot::compile(policy, workload, 1).map_err(|error| error.to_string())
}

/// How `explain` says that.
const NO_ALLOW_MATCHED: &str = "no rule of an ALLOW policy matched";

/// The policies that could have allowed a request and did not: where it is denied for that, no single one decides.
fn unmatched<'p>(told: &Json, policy: Option<&'p Policy>, workload: &Workload) -> Vec<&'p str> {
    let is_undecided = told.get("reason").and_then(Json::as_str) == Some(NO_ALLOW_MATCHED);
    let Some(policy) = policy.filter(|_| is_undecided) else {
        return Vec::new();
    };
    let root = &policy.mesh.root_namespace;
    let allows = |one: &AuthorizationPolicy| one.action == Action::Allow && one.enforcement == Enforcement::Enforced;
    let holding = policy.authorizations.iter();
    let policies = holding.filter(|one| allows(one) && one.holds_for(workload, root));
    policies.map(|one| one.meta.name.as_str()).collect()
}

/// Where a test does not say who sends: a workload of the namespace that has the called service, where only one has a
/// service of that short name.
fn caller_of(policy: Option<&Policy>, asked: &Asked) -> Workload {
    let host = asked.url.host().unwrap_or_default();
    let Some(policy) = policy.filter(|_| !host.contains('.')) else {
        return Workload::default();
    };
    let of_services = policy.services.iter().flat_map(|service| &service.hosts);
    let of_routes = policy.routes.iter().flat_map(|table| &table.hosts);
    let hosts = of_services.chain(of_routes.map(|pattern| &pattern.host));
    let mut namespaces: Vec<&str> = hosts
        .filter_map(|known| kubernetes_parts(known, &policy.mesh.cluster_domain))
        .filter(|(name, _)| *name == host)
        .map(|(_, namespace)| namespace)
        .collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    match namespaces.as_slice() {
        [namespace] => Workload::new(*namespace, "default"),
        _ => Workload::default(),
    }
}

fn outbound(snapshot: &Snapshot, sent: &Sent, seed: u64) -> Result<Json, String> {
    let gateway = sent.gateway.as_deref();
    let mut told = question::outbound(snapshot, &sent.asked, gateway, sent.claims.as_ref())?;
    if let (Some(script), Some(fields)) = (&sent.upstream, told.as_object_mut()) {
        fields.extend(simulate::run(snapshot, &sent.asked, gateway, script, seed)?);
    }
    Ok(told)
}

/// Whether the policy loads; the first finding, errors before warnings.
fn loading(loaded: &Loaded) -> Json {
    let report = loaded.report.json(&loaded.sources);
    let mut findings: Vec<_> = report.diagnostics.iter().collect();
    findings.sort_by_key(|finding| finding.severity);
    let messages: Vec<_> = findings.iter().map(|finding| finding.message.as_str()).collect();
    let mut told = json!({
        "valid": loaded.policy.is_some(),
        "errors": report.errors,
        "warnings": report.warnings,
        "codes": findings.iter().map(|finding| finding.code).collect::<Vec<_>>(),
        "messages": messages,
    });
    if let (Some(first), Some(told)) = (findings.first(), told.as_object_mut()) {
        told.insert("code".into(), json!(first.code));
        told.insert("file".into(), json!(first.file));
        told.insert("line".into(), json!(first.line));
        told.insert("column".into(), json!(first.column));
        told.insert("message".into(), json!(first.message));
    }
    told
}

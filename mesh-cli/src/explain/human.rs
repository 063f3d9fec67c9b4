//! Answers for people: one line a fact, the facts below each other.

use mesh_core::explain::{Asks, Destination, Inbound, Outbound, Place, Retry};
use mesh_core::policy::diagnostic::Paint;
use mesh_core::policy::model::authz::{AuthorizationPolicy, Enforcement, Target};
use mesh_core::policy::model::identity::MtlsMode;
use mesh_core::policy::model::{Labels, Policy};
use mesh_core::workload::Workload;

use super::{filters, port};
use crate::args::ExplainArguments;
use crate::policy::PolicyText;
use crate::terminal::{Style, styled};

/// An answer about a request that the workload sends.
pub(super) fn outbound(answer: &Outbound, arguments: &ExplainArguments, paint: Paint) -> String {
    let mut facts = Facts::new(paint);
    facts.add("request", [request(arguments)]);
    facts.add("sent by", [workload(arguments)]);
    facts.add("outcome", [outcome(answer, paint)]);
    if let Some(gateway) = &answer.gateway {
        facts.add("gateway", [gateway.clone()]);
    }
    if let Some(route) = &answer.route {
        facts.add("route", [placed(route, answer.origin.as_ref())]);
    }
    if let Some(delegated) = &answer.delegated {
        facts.add("delegated", [format!("by the rule at {}", place(delegated))]);
    }
    if !answer.destinations.is_empty() {
        facts.add("to", destinations(answer));
    }
    for (label, lines) in filters::facts(answer) {
        facts.add(label, lines);
    }
    if answer.route.is_some() && !answer.destinations.is_empty() {
        facts.add("timeout", [answer.timeout_ms.map_or_else(|| "none".into(), duration)]);
        facts.add(
            "retries",
            [answer.retry.as_ref().map_or_else(|| "none".into(), retries)],
        );
    }
    facts.add("reason", clauses(&answer.reason));
    facts.text
}

/// An answer about a request that the workload receives.
pub(super) fn inbound(answer: &Inbound, text: &PolicyText, arguments: &ExplainArguments, paint: Paint) -> String {
    let mut facts = Facts::new(paint);
    facts.add("request", [request(arguments)]);
    facts.add("caller", caller(text.policy.as_ref(), arguments));
    let received = format!("port {} of {}", port(&arguments.url), workload(arguments));
    facts.add("received by", [received]);
    facts.add("token of", answer.request_principal.clone());
    facts.add("decision", [decision(answer, arguments, paint)]);
    let mtls = match answer.mtls {
        MtlsMode::Strict => "strict: mTLS only",
        MtlsMode::Permissive => "permissive: mTLS and plain text",
        MtlsMode::Disable => "disable: plain text only",
    };
    facts.add("mtls", [mtls.into()]);
    match (&answer.policy, answer.rule, &answer.origin) {
        (Some(policy), rule, origin) => {
            let name = rule.map_or_else(|| policy.clone(), |rule| format!("{policy}, rule {rule}"));
            facts.add("policy", [placed(&name, origin.as_ref())]);
        }
        (None, _, Some(origin)) => facts.add("set at", [place(origin)]),
        (None, _, None) if matches!(answer.status, 200 | 403) => facts.add("policies", written(text.policy.as_ref())),
        (None, _, None) => {}
    }
    facts.add("asks", answer.asks.as_ref().map(asks).unwrap_or_default());
    facts.add("reason", clauses(&answer.reason));
    facts.add("asked about", answer.paths.clone());
    facts.add("audited by", answer.audited.clone());
    let trial = answer.trial.as_ref();
    facts.add(
        "on trial",
        trial.map(|trial| format!("{}: {}", trial.decision, trial.reason)),
    );
    facts.text
}

/// Who is asked, and what follows where there is no answer.
fn asks(asks: &Asks) -> Vec<String> {
    let (protocol, service, failure) = (asks.protocol, &asks.service, asks.on_failure);
    vec![
        placed(&asks.authorizer, asks.origin.as_ref()),
        format!("{protocol} to {service}; without an answer: {failure}"),
    ]
}

/// Lines with a label each.
struct Facts {
    paint: Paint,
    text: String,
}

/// The longest label and two spaces.
const LABEL_WIDTH: usize = 13;

impl Facts {
    const fn new(paint: Paint) -> Self {
        Self {
            paint,
            text: String::new(),
        }
    }

    /// Adds a fact; lines after the first have no label.
    fn add(&mut self, label: &str, lines: impl IntoIterator<Item = String>) {
        let labels = std::iter::once(label).chain(std::iter::repeat(""));
        for (label, line) in labels.zip(lines) {
            let label = format!("{label:LABEL_WIDTH$}");
            self.text.push_str(&styled(self.paint, Style::Label, &label));
            self.text.push_str(&line);
            self.text.push('\n');
        }
    }
}

fn request(arguments: &ExplainArguments) -> String {
    format!("{} {}", arguments.method, arguments.url)
}

fn workload(arguments: &ExplainArguments) -> String {
    let workload = &arguments.workload;
    let labels = labels(&workload.labels, "no labels");
    let Workload {
        namespace,
        service_account,
        ..
    } = workload;
    format!("service account {service_account} of namespace {namespace}, {labels}")
}

fn outcome(answer: &Outbound, paint: Paint) -> String {
    let is_own = matches!(answer.outcome, "redirect" | "direct_response");
    let style = match answer.status {
        Some(_) if !is_own => Style::Bad,
        _ => Style::Good,
    };
    let word = styled(paint, style, answer.outcome);
    answer
        .status
        .map_or_else(|| word.clone(), |status| format!("{word}, answered with {status}"))
}

fn decision(answer: &Inbound, arguments: &ExplainArguments, paint: Paint) -> String {
    let is_mtls = arguments.from.is_some();
    let (style, answered) = match (answer.decision, answer.mtls) {
        ("allow", _) => (Style::Good, String::new()),
        ("ask", _) => (Style::Warning, String::new()),
        (_, MtlsMode::Strict) if !is_mtls => (Style::Bad, ", the connection is closed".into()),
        (_, MtlsMode::Disable) if is_mtls => (Style::Bad, ", the connection is closed".into()),
        _ => (Style::Bad, format!(", answered with {}", answer.status)),
    };
    format!("{}{answered}", styled(paint, style, answer.decision))
}

/// Authorization policies that are named where no rule decided; more are counted.
const POLICIES_SHOWN: usize = 5;

/// What there is, so that a wrong namespace or label in `--as` or in a selector is seen.
fn written(policy: Option<&Policy>) -> Vec<String> {
    let policies = policy
        .map(|policy| policy.authorizations.as_slice())
        .unwrap_or_default();
    let mut lines: Vec<String> = policies.iter().take(POLICIES_SHOWN).map(authorization).collect();
    match policies.len().checked_sub(POLICIES_SHOWN) {
        Some(more @ 1..) => lines.push(format!("and {more} more")),
        _ if policies.is_empty() => lines.push("none are written".into()),
        _ => {}
    }
    lines
}

fn authorization(policy: &AuthorizationPolicy) -> String {
    // As policies write it: `ALLOW`, `DENY`.
    let action = format!("{:?}", policy.action).to_uppercase();
    let trial = match policy.enforcement {
        Enforcement::Enforced => "",
        Enforcement::DryRun => " on trial",
    };
    let meta = &policy.meta;
    let name = format!(
        "{}/{}: {action}{trial} for {}",
        meta.namespace,
        meta.name,
        workloads(policy)
    );
    placed(&name, Place::new(&meta.origin).as_ref())
}

/// What a policy picks its workloads by.
fn workloads(policy: &AuthorizationPolicy) -> String {
    let accounts = match policy.service_accounts.as_slice() {
        [] => String::new(),
        accounts => format!(", of the accounts {}", accounts.join(", ")),
    };
    let targets: Vec<String> = policy.targets.iter().map(Target::text).collect();
    match targets.is_empty() {
        true => format!("{}{accounts}", labels(&policy.selector, "all workloads")),
        false => targets.join(", "),
    }
}

fn labels(labels: &Labels, none: &str) -> String {
    let pairs: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if pairs.is_empty() {
        none.into()
    } else {
        pairs.join(", ")
    }
}

fn caller(policy: Option<&Policy>, arguments: &ExplainArguments) -> Vec<String> {
    let address = arguments.source_ip;
    let Some(id) = &arguments.from else {
        return vec![format!("{address} in plain text, without an identity")];
    };
    let mut lines = vec![format!("{address} over mTLS as {id}")];
    let own = policy.map(|policy| policy.mesh.trust_domain.as_str());
    if let Some(own) = own.filter(|own| *own != id.trust_domain().as_str()) {
        lines.push(format!(
            "of another trust domain than `{own}`: its handshake fails unless the trust bundle has both"
        ));
    }
    lines
}

fn destinations(answer: &Outbound) -> Vec<String> {
    let names: Vec<String> = answer.destinations.iter().map(name).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let lines = names.iter().zip(&answer.destinations).flat_map(|(name, destination)| {
        let endpoints = endpoints(answer, destination);
        let line = format!("{:>6}  {name:width$}  {endpoints}", percent(destination.share));
        let seen = filters::seen_by(destination)
            .into_iter()
            .map(|seen| format!("      {seen}"));
        std::iter::once(line).chain(seen).collect::<Vec<_>>()
    });
    lines.collect()
}

/// Addresses; names among them are resolved by DNS, which a service without endpoints is as a whole.
fn endpoints(answer: &Outbound, destination: &Destination) -> String {
    let Destination { service, port, .. } = destination;
    match destination.endpoints.as_slice() {
        [] if answer.outcome == "passthrough" => "by DNS".into(),
        [] => "no endpoints".into(),
        [only] if *only == format!("{service}:{port}") => "by DNS".into(),
        endpoints => endpoints.join(", "),
    }
}

fn name(destination: &Destination) -> String {
    let Destination { service, port, .. } = destination;
    match &destination.subset {
        Some(subset) => format!("{service}:{port} subset {subset}"),
        None => format!("{service}:{port}"),
    }
}

/// With two decimals where they say something.
fn percent(share: f64) -> String {
    let text = format!("{:.2}", share * 100.0);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

fn retries(retry: &Retry) -> String {
    let tries = match retry.attempts {
        1 => "1 more try".into(),
        attempts => format!("{attempts} more tries"),
    };
    let limit = retry
        .per_try_timeout_ms
        .map(|limit| format!(", {} each", duration(limit)));
    format!("{tries}{} on {}", limit.unwrap_or_default(), retry.on.join(", "))
}

pub(super) fn duration(milliseconds: u64) -> String {
    match (milliseconds / 1000, milliseconds % 1000) {
        (seconds, 0) => format!("{seconds}s"),
        (0, rest) => format!("{rest}ms"),
        (seconds, rest) => format!("{seconds}.{}s", format!("{rest:03}").trim_end_matches('0')),
    }
}

/// One line a clause.
fn clauses(reason: &str) -> Vec<String> {
    reason.split("; ").map(str::to_owned).collect()
}

fn place(place: &Place) -> String {
    format!("{}:{}", place.file, place.line)
}

fn placed(name: &str, origin: Option<&Place>) -> String {
    origin.map_or_else(|| name.to_owned(), |origin| format!("{name}  ({})", place(origin)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_no_more_decimals_than_they_need() {
        assert_eq!(
            [0.9, 1.0, 0.125, 1.0 / 3.0].map(percent),
            ["90%", "100%", "12.5%", "33.33%"]
        );
    }

    #[test]
    fn durations_are_written_as_policies_write_them() {
        assert_eq!(
            [10_000, 250, 1_500, 61_005, 0].map(duration),
            ["10s", "250ms", "1.5s", "61.005s", "0s"]
        );
    }
}

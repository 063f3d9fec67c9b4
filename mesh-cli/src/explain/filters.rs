//! What a route does beside choosing where a request goes, for people.

use mesh_core::explain::{Cors, Destination, Fault, HeaderChange, HeaderChanges, Mirror, Outbound};

use super::human::duration;

/// Facts about the filters of a route, each with its lines.
pub(super) fn facts(answer: &Outbound) -> Vec<(&'static str, Vec<String>)> {
    let mut facts = Vec::new();
    if let Some(redirect) = &answer.redirect {
        facts.push((
            "redirect",
            vec![format!("{} to {}", redirect.status, redirect.location)],
        ));
    }
    if let Some(direct) = &answer.direct_response {
        let body = direct
            .body
            .as_deref()
            .map_or_else(|| "without a body".into(), |body| format!("{body:?}"));
        facts.push(("answer", vec![format!("{} {body}", direct.status)]));
    }
    if let Some(fault) = &answer.fault {
        facts.push(("faults", faults(fault)));
    }
    if let Some(cors) = answer.cors {
        facts.push(("cors", vec![cors_says(cors).into()]));
    }
    if !answer.mirrors.is_empty() {
        facts.push(("copies", answer.mirrors.iter().map(mirror).collect()));
    }
    facts
}

/// What a destination sees of a request that is not as the caller sent it.
pub(super) fn seen_by(to: &Destination) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(path) = &to.path {
        lines.push(format!("  path {path}"));
    }
    if let Some(authority) = &to.authority {
        lines.push(format!("  host {authority}"));
    }
    lines.extend(headers("request", &to.request_headers));
    lines.extend(headers("response", &to.response_headers));
    lines
}

fn headers(message: &str, changes: &HeaderChanges) -> Vec<String> {
    let change = |change: &HeaderChange| match change {
        HeaderChange::Remove(name) => format!("  {message} header {name} removed"),
        HeaderChange::Set(name, value) => format!("  {message} header {name}: {value}"),
        HeaderChange::Add(name, value) => format!("  {message} header {name}: {value} added"),
        _ => String::new(),
    };
    changes.0.iter().map(change).collect()
}

fn faults(fault: &Fault) -> Vec<String> {
    let mut lines = Vec::new();
    if let (Some(pause), Some(percent)) = (fault.delay_ms, fault.delay_percent) {
        lines.push(format!("{percent}% wait {}", duration(pause)));
    }
    let status = fault.abort_status.map(|status| status.to_string());
    let status = status.or_else(|| fault.abort_grpc_status.map(|status| format!("gRPC status {status}")));
    if let (Some(status), Some(percent)) = (status, fault.abort_percent) {
        lines.push(format!("{percent}% answered with {status}"));
    }
    lines
}

const fn cors_says(cors: Cors) -> &'static str {
    match cors {
        Cors::Answered => "a preflight request, answered here",
        Cors::Allowed => "the origin may read the response",
        _ => "nothing: no origin, or none that is allowed",
    }
}

fn mirror(mirror: &Mirror) -> String {
    let subset = mirror
        .subset
        .as_deref()
        .map(|subset| format!(", subset {subset}"))
        .unwrap_or_default();
    format!(
        "{}% to {}{subset}, port {}",
        mirror.percent, mirror.service, mirror.port
    )
}

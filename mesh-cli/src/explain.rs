//! `mesh explain`.

use http::header::HOST;
use http::uri::PathAndQuery;
use http::{Request, Uri};
use mesh_core::explain::{Caller, Inbound, Outbound, inbound, outbound};
use mesh_core::policy::model::identity::MtlsMode;
use mesh_core::request::{BadRequest, Options, RequestView, Transport, canonicalize};
use mesh_core::snapshot::Snapshot;

use crate::args::{ExplainArguments, Output};
use crate::check::pretty;
use crate::{exit, input};

pub(crate) fn run(arguments: &ExplainArguments) -> u8 {
    let request = match request(arguments) {
        Ok(request) => request,
        Err(reason) => return usage(&reason),
    };
    let loaded = match input::load(&arguments.policy) {
        Ok(loaded) => loaded,
        Err(error) => return usage(&error.to_string()),
    };
    input::print_report(&loaded);
    let Some(policy) = &loaded.policy else {
        return exit::ERRORS;
    };
    let snapshot = match Snapshot::compile(policy, &arguments.workload, 1) {
        Ok(snapshot) => snapshot,
        Err(error) => {
            eprintln!("error: {error}");
            return exit::ERRORS;
        }
    };
    if arguments.inbound {
        explain_inbound(arguments, &snapshot, &request)
    } else {
        explain_outbound(arguments, &snapshot, &request)
    }
}

fn usage(reason: &str) -> u8 {
    eprintln!("error: {reason}");
    exit::USAGE
}

/// The request as a client would make it. A `Host` header takes the place of the URL's, as with curl.
fn request(arguments: &ExplainArguments) -> Result<Request<()>, String> {
    let url = &arguments.url;
    let full = if url.contains("://") {
        url.clone()
    } else {
        format!("http://{url}")
    };
    let mut uri: Uri = full.parse().map_err(|error| format!("`{url}` is no URL: {error}"))?;
    if uri.authority().is_none() {
        return Err(format!("`{url}` names no host"));
    }
    let names_host = arguments.headers.iter().any(|(name, _)| name == HOST);
    if names_host {
        let path = uri.path_and_query().cloned();
        uri = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    }
    let mut request = Request::new(());
    *request.method_mut() = arguments.method.clone();
    *request.uri_mut() = uri;
    for (name, value) in &arguments.headers {
        request.headers_mut().append(name.clone(), value.clone());
    }
    Ok(request)
}

fn explain_outbound(arguments: &ExplainArguments, snapshot: &Snapshot, request: &Request<()>) -> u8 {
    let answer = match canonicalize(request, Options::outbound()) {
        Ok(canonical) => outbound(snapshot, &canonical.view()),
        Err(reason) => Outbound::bad_request(&reason),
    };
    match arguments.output {
        Output::Json => println!("{}", pretty(&answer)),
        Output::Human => print_outbound(&answer),
    }
    exit::CLEAN
}

fn print_outbound(answer: &Outbound) {
    line("outcome", answer.outcome);
    if let Some(gateway) = &answer.gateway {
        line("gateway", gateway);
    }
    if let Some(route) = &answer.route {
        let origin = answer.origin.as_ref();
        let origin = origin.map_or_else(
            || "built in".to_owned(),
            |place| format!("{}:{}", place.file, place.line),
        );
        line("route", &format!("{route}   ({origin})"));
    }
    for (index, to) in answer.destinations.iter().enumerate() {
        let subset = to
            .subset
            .as_ref()
            .map_or_else(String::new, |subset| format!(" subset {subset}"));
        let endpoints = if to.endpoints.is_empty() {
            String::new()
        } else {
            format!("   [{}]", to.endpoints.join(", "))
        };
        let text = format!(
            "{:>6.2} %  {}:{}{subset}{endpoints}",
            to.share * 100.0,
            to.service,
            to.port
        );
        line(if index == 0 { "destinations" } else { "" }, &text);
    }
    if answer.outcome == "routed" {
        line(
            "timeout",
            &answer
                .timeout_ms
                .map_or_else(|| "none".into(), |millis| format!("{millis} ms")),
        );
        line("retries", &retries(answer));
    }
    line("because", &answer.reason);
}

fn retries(answer: &Outbound) -> String {
    answer.retry.as_ref().map_or_else(
        || "none".into(),
        |retry| {
            let limit = retry
                .per_try_timeout_ms
                .map_or_else(String::new, |millis| format!(", {millis} ms each"));
            format!("up to {}{limit}, on {}", retry.attempts, retry.on.join(", "))
        },
    )
}

fn explain_inbound(arguments: &ExplainArguments, snapshot: &Snapshot, request: &Request<()>) -> u8 {
    let caller = arguments.from.as_ref().map_or(Caller::Plaintext, Caller::Mtls);
    let transport = match caller {
        Caller::Mtls(_) => Transport::Tls,
        _ => Transport::Plain,
    };
    let options = Options::inbound(transport, snapshot.inbound.authorizer.path_rules());
    let answer = match canonicalize(request, options) {
        Ok(canonical) => {
            let view = canonical.view();
            inbound(snapshot, &view, caller, arguments.source_ip, port(request.uri(), &view))
        }
        Err(reason) => refused(snapshot, request.uri(), &reason),
    };
    match arguments.output {
        Output::Json => println!("{}", pretty(&answer)),
        Output::Human => print_inbound(&answer),
    }
    if answer.decision == "allow" {
        exit::CLEAN
    } else {
        exit::DENIED
    }
}

/// The port of the URL, which stands for that of the listener.
fn port(uri: &Uri, view: &RequestView<'_>) -> u16 {
    let by_scheme = || if uri.scheme_str() == Some("https") { 443 } else { 80 };
    view.port.or_else(|| uri.port_u16()).unwrap_or_else(by_scheme)
}

fn refused(snapshot: &Snapshot, uri: &Uri, reason: &BadRequest) -> Inbound {
    let (mtls, _) = snapshot.inbound.mtls(uri.port_u16().unwrap_or(80));
    Inbound::bad_request(mtls, reason)
}

fn print_inbound(answer: &Inbound) {
    line("decision", &format!("{} ({})", answer.decision, answer.status));
    line("mTLS", mode(answer.mtls));
    if let Some(policy) = &answer.policy {
        let rule = answer.rule.map_or_else(String::new, |rule| format!(", rule {rule}"));
        let origin = answer.origin.as_ref();
        let origin = origin.map_or_else(String::new, |place| format!("   ({}:{})", place.file, place.line));
        line("policy", &format!("{policy}{rule}{origin}"));
    }
    line("because", &answer.reason);
}

/// The word that the JSON has.
fn mode(mode: MtlsMode) -> &'static str {
    match mode {
        MtlsMode::Strict => "strict",
        MtlsMode::Permissive => "permissive",
        MtlsMode::Disable => "disable",
    }
}

fn line(label: &str, text: &str) {
    println!("{label:<13} {text}");
}

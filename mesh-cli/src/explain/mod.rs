//! `mesh explain`: what becomes of one request, and why; or what a code means.

mod code;
mod filters;
mod human;
mod token;

use http::header::HOST;
use http::uri::InvalidUri;
use http::{Method, Request, Uri};
use mesh_core::explain::{self, Caller, Inbound, Outbound};
use mesh_core::request::{Transport, canonicalize};
use mesh_core::snapshot::Snapshot;

use crate::args::{ExplainArguments, Format};
use crate::policy::PolicyText;
use crate::terminal::Terminal;
use crate::{Exit, Failure, check};

/// Compiles the policy for the workload and prints what it decides.
///
/// # Errors
///
/// Where nothing can be read or the answer cannot be written.
pub(crate) fn run(arguments: &ExplainArguments, terminal: &Terminal) -> Result<Exit, Failure> {
    if arguments.policy.is_empty() {
        return without_policy(arguments, terminal);
    }
    let mut text = PolicyText::read(&arguments.policy)?;
    for remark in &text.remarks {
        terminal.warn(remark);
    }
    let Some(snapshot) = text.compile(&arguments.workload) else {
        return refuse(&text, arguments.output, terminal);
    };
    if !text.report.is_empty() {
        terminal.warn(&format!(
            "the policy has {}: `mesh check` shows more",
            text.report.summary()
        ));
    }
    if arguments.inbound {
        let answer = inbound(&snapshot, arguments, terminal)?;
        match arguments.output {
            Format::Json => terminal.json(&answer)?,
            Format::Human => terminal.answer(&human::inbound(&answer, &text, arguments, terminal.out))?,
        }
        return Ok(if answer.decision == "deny" {
            Exit::Denied
        } else {
            Exit::Good
        });
    }
    let answer = outbound(&snapshot, arguments)?;
    match arguments.output {
        Format::Json => terminal.json(&answer)?,
        Format::Human => terminal.answer(&human::outbound(&answer, arguments, terminal.out))?,
    }
    Ok(Exit::Good)
}

/// What can be told of no policy: codes. A URL of one word is kept as its authority.
fn without_policy(arguments: &ExplainArguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let word = arguments.url.authority().map(|authority| authority.as_str());
    match word.filter(|word| arguments.url.path() == "/" && code::is_meant(word)) {
        Some(id) => code::run(id, arguments.output, terminal),
        None => Err("a request is explained by a policy: give `--policy PATH`".into()),
    }
}

/// Shows why the policy does not load, in the form that was asked for.
fn refuse(text: &PolicyText, output: Format, terminal: &Terminal) -> Result<Exit, Failure> {
    match output {
        Format::Json => terminal.json(&text.json())?,
        Format::Human => {
            terminal.remark(&text.render(terminal.err));
            terminal.remark("\n");
            terminal.complain(&format!("the policy does not load, {}", text.report.summary()));
        }
    }
    Ok(check::exit(&text.report))
}

/// Asks as the client does.
fn outbound(snapshot: &Snapshot, arguments: &ExplainArguments) -> Result<Outbound, Failure> {
    let request = request(arguments, outbound_target(arguments)?)?;
    Ok(match canonicalize(&request, snapshot.outbound_options()) {
        Ok(canonical) => explain::outbound(snapshot, &canonical.view()),
        Err(reason) => explain::outbound_refused(reason),
    })
}

/// Asks as the server does, which knows the host from the `Host` line.
fn inbound(snapshot: &Snapshot, arguments: &ExplainArguments, terminal: &Terminal) -> Result<Inbound, Failure> {
    let port = port(&arguments.url);
    let (caller, transport) = match &arguments.from {
        Some(id) => (Caller::Mtls(id), Transport::Tls),
        None => (Caller::Plaintext, Transport::Plain),
    };
    let mut request = request(arguments, inbound_target(arguments)?)?;
    if let Some(authority) = arguments
        .url
        .authority()
        .filter(|_| !request.headers().contains_key(HOST))
    {
        let host = authority.as_str().parse()?;
        request.headers_mut().insert(HOST, host);
    }
    let canonical = match canonicalize(&request, snapshot.inbound_options(transport)) {
        Ok(canonical) => canonical,
        Err(reason) => return Ok(explain::inbound_refused(snapshot, reason, caller, port)),
    };
    let view = canonical.view();
    Ok(match token::judged(snapshot, arguments, &view, terminal)? {
        Ok(token) => {
            let view = view.bearing(token.as_deref());
            explain::inbound(snapshot, &view, caller, arguments.source_ip, port)
        }
        Err(rejected) => explain::inbound_token_refused(snapshot, &rejected, caller, port),
    })
}

fn request(arguments: &ExplainArguments, target: Uri) -> http::Result<Request<()>> {
    let mut request = Request::builder().method(&arguments.method).uri(target).body(())?;
    for (name, value) in &arguments.headers {
        request.headers_mut().append(name, value.clone());
    }
    Ok(request)
}

/// The whole URL; of `CONNECT` only the authority, unless a path is given, which the mesh refuses.
fn outbound_target(arguments: &ExplainArguments) -> Result<Uri, InvalidUri> {
    match connect_target(arguments) {
        Some(authority) => Ok(authority.parse()?),
        None => Ok(arguments.url.clone()),
    }
}

/// Path and query, as a server reads them.
fn inbound_target(arguments: &ExplainArguments) -> Result<Uri, InvalidUri> {
    let url = &arguments.url;
    let target = match (connect_target(arguments), url.query()) {
        (Some(authority), _) => authority.to_owned(),
        (None, Some(query)) => format!("{}?{query}", url.path()),
        (None, None) => url.path().to_owned(),
    };
    target.parse()
}

fn connect_target(arguments: &ExplainArguments) -> Option<&str> {
    let is_connect = arguments.method == Method::CONNECT && arguments.url.path() == "/";
    arguments
        .url
        .authority()
        .map(|authority| authority.as_str())
        .filter(|_| is_connect)
}

/// The port that a URL names, or that of its scheme.
fn port(url: &Uri) -> u16 {
    let of_scheme = if url.scheme_str() == Some("https") { 443 } else { 80 };
    url.port_u16().unwrap_or(of_scheme)
}

//! `mesh check`.

use std::io::IsTerminal;

use mesh_core::policy::Loaded;
use mesh_core::policy::model::Policy;
use mesh_core::snapshot::Snapshot;
use mesh_core::workload::Workload;
use mesh_tower::reload::watch::ReadError;
use serde_json::json;

use crate::args::{CheckArguments, Output};
use crate::{exit, input};

pub(crate) fn run(arguments: &CheckArguments) -> u8 {
    let loaded = match input::load(&arguments.paths) {
        Ok(loaded) => loaded,
        Err(error) => return nothing_to_read(&error, arguments.output),
    };
    match arguments.output {
        Output::Json => println!("{}", pretty(&loaded.report.json(&loaded.sources))),
        Output::Human => print(&loaded),
    }
    match &loaded.policy {
        Some(policy) => compiles(policy),
        None => exit::ERRORS,
    }
}

/// What the checks let through must compile: it is what a service does next.
fn compiles(policy: &Policy) -> u8 {
    match Snapshot::compile(policy, &Workload::default(), 1) {
        Ok(_) => exit::CLEAN,
        Err(error) => {
            eprintln!("error: {error}");
            exit::ERRORS
        }
    }
}

fn print(loaded: &Loaded) {
    let paint = input::paint(std::io::stdout().is_terminal());
    let report = &loaded.report;
    print!("{}", report.render(&loaded.sources, paint));
    if !report.is_empty() {
        println!();
    }
    let files = loaded.sources.iter().count();
    let files = format!("{files} file{}", if files == 1 { "" } else { "s" });
    match &loaded.policy {
        Some(policy) if report.is_empty() => println!("{files}: no problems; {}", contents(policy)),
        Some(policy) => println!(
            "{files}: {}; can be put in force: {}",
            report.summary(),
            contents(policy)
        ),
        None => println!("{files}: {}; cannot be put in force", report.summary()),
    }
}

/// How many of what a policy has.
fn contents(policy: &Policy) -> String {
    let counts = [
        (policy.services.len(), "service", "services"),
        (policy.routes.len(), "route table", "route tables"),
        (policy.destinations.len(), "destination policy", "destination policies"),
        (policy.profiles.len(), "profile", "profiles"),
        (policy.gateways.len(), "gateway", "gateways"),
        (policy.peer_authentications.len(), "mTLS policy", "mTLS policies"),
        (
            policy.authorizations.len(),
            "authorization policy",
            "authorization policies",
        ),
    ];
    let named = counts.iter().filter(|(count, ..)| *count > 0);
    let texts: Vec<String> = named
        .map(|(count, one, many)| format!("{count} {}", if *count == 1 { one } else { many }))
        .collect();
    if texts.is_empty() {
        "settings of the mesh only".into()
    } else {
        texts.join(", ")
    }
}

fn nothing_to_read(error: &ReadError, output: Output) -> u8 {
    match output {
        Output::Human => eprintln!("error: {error}"),
        Output::Json => println!("{}", pretty(&unreadable(error))),
    }
    exit::USAGE
}

/// The report of files that could not be read, in the form of any other.
fn unreadable(error: &ReadError) -> serde_json::Value {
    json!({
        "errors": 1,
        "warnings": 0,
        "diagnostics": [{
            "code": mesh_core::policy::diagnostic::Code::NO_DOCUMENT.to_string(),
            "severity": "error",
            "message": error.to_string(),
            "file": null,
            "line": null,
            "column": null,
            "help": null,
        }],
    })
}

pub(crate) fn pretty(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|error| format!("{{\"error\": \"{error}\"}}"))
}

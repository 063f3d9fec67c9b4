//! Policies as other projects print them, read in place where they are there.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Where the seed policies lie: `MESH_SEEDS`, or beside the workspace.
#[must_use]
pub fn directory() -> PathBuf {
    from("MESH_SEEDS", "../../shared/seeds-yaml")
}

/// Where upstream's own policies lie: `MESH_CORPORA`, or beside the workspace.
#[must_use]
pub fn corpora() -> PathBuf {
    from("MESH_CORPORA", "../../shared/corpora")
}

fn from(variable: &str, default: &str) -> PathBuf {
    let set = std::env::var_os(variable).filter(|value| !value.is_empty());
    set.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(default), PathBuf::from)
}

/// The text of the seed whose name starts with `number`; `None`, and a word about it, where the seeds are not there.
#[must_use]
pub fn seed(number: &str) -> Option<String> {
    let directory = directory();
    let Ok(entries) = std::fs::read_dir(&directory) else {
        println!("skipped: no seed policies at {}; set MESH_SEEDS", directory.display());
        return None;
    };
    let mut paths = entries.map(|entry| entry.unwrap().path());
    let is_it = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(number);
    let path = paths
        .find(is_it)
        .unwrap_or_else(|| panic!("no seed {number} in {}", directory.display()));
    Some(std::fs::read_to_string(path).unwrap())
}

/// A native document that says where the endpoints of a service are.
#[must_use]
pub fn service(namespace: &str, name: &str, endpoints: &[(&crate::Backend, &str)]) -> String {
    let mut text = format!("namespace: {namespace}\nservices:\n  {name}:\n    endpoints:\n");
    for (backend, version) in endpoints {
        writeln!(
            text,
            "      - {{ address: \"{}\", labels: {{ version: {version} }} }}",
            backend.address
        )
        .unwrap();
    }
    text
}

/// A native document of a service whose endpoint has an identity, so that callers use mTLS.
#[must_use]
pub fn secured(namespace: &str, name: &str, account: &str, address: std::net::SocketAddr) -> String {
    format!(
        "namespace: {namespace}\nservices:\n  {name}:\n    endpoints:\n      - {{ address: \"{address}\", service_account: {account} }}\n"
    )
}

/// The text of a seed, or the end of the test where the seeds are not there.
#[macro_export]
macro_rules! seed {
    ($number:literal) => {
        match $crate::seeds::seed($number) {
            Some(text) => text,
            None => return,
        }
    };
}

//! The API's own examples of what is invalid, read in place: each is refused for the reason that its name gives.

#![expect(
    clippy::disallowed_methods,
    reason = "the files are named at run time, by the environment"
)]

use std::path::{Path, PathBuf};

use super::*;

/// Files, with the error that tells their reason.
const INVALID: &[(&str, &str)] = &[
    (
        "standard/httproute/invalid-backend-group",
        "`group`: expected an API group",
    ),
    ("standard/httproute/invalid-backend-kind", "`kind`: expected a kind"),
    (
        "standard/httproute/invalid-backend-port",
        "`port`: expected a whole number of 1 to 65535",
    ),
    (
        "standard/httproute/invalid-filter-duplicate-header",
        "header `foo` is changed twice",
    ),
    (
        "standard/httproute/invalid-filter-empty",
        "missing field `requestHeaderModifier`",
    ),
    (
        "standard/httproute/invalid-header-name",
        "expected the name of a header, found `magic/`",
    ),
    (
        "standard/httproute/invalid-hostname",
        "`hostnames`: expected a host name",
    ),
    (
        "standard/httproute/invalid-httpredirect-hostname",
        "`hostname`: expected a host name in lower case without `*`",
    ),
    (
        "standard/httproute/invalid-path-alphanum-specialchars-mix",
        "a path cannot have `[`",
    ),
    (
        "experimental/httproute/invalid-filter-externalauth-bad-http-path",
        "`path`: expected a path, found `/[]`",
    ),
    (
        "experimental/httproute/invalid-filter-externalauth-empty",
        "missing field `externalAuth`",
    ),
    (
        "experimental/httproute/invalid-header-value",
        "`value`: expected printable ASCII characters",
    ),
    ("standard/gateway/duplicate-listeners", "listener `same` is given twice"),
    (
        "standard/gateway/hostname-tcp",
        "`hostname` does not belong to this protocol",
    ),
    (
        "standard/gateway/hostname-udp",
        "`hostname` does not belong to this protocol",
    ),
    (
        "standard/gateway/invalid-listener-name",
        "`name`: expected a name of lower-case letters",
    ),
    (
        "standard/gateway/invalid-listener-port",
        "`port`: expected a whole number of 1 to 65535",
    ),
    (
        "standard/gateway/tlsconfig-tcp",
        "`tls` does not belong to this protocol",
    ),
];

fn directory() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpora");
    let set = std::env::var_os("MESH_CORPORA").filter(|value| !value.is_empty());
    let directory = set
        .map_or(beside, PathBuf::from)
        .join("gateway-api/hack/invalid-examples");
    let is_there = directory.is_dir();
    if !is_there {
        eprintln!("skipped: no examples at {}; set MESH_CORPORA", directory.display());
    }
    is_there.then_some(directory)
}

#[test]
fn upstreams_invalid_examples_are_refused_for_their_reason() {
    let Some(directory) = directory() else { return };
    let mut failures = Vec::new();
    for (name, reason) in INVALID {
        let text = std::fs::read_to_string(directory.join(format!("{name}.yaml"))).unwrap();
        let found = lines(&text);
        if !found
            .iter()
            .any(|line| line.contains("error[") && line.contains(reason))
        {
            failures.push(format!("{name}: {found:#?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

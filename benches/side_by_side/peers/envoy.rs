//! Envoy: one worker, as a mesh sets it up.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::{Link, Place, in_path};
use crate::identities::{ORDERS, WEB};

const OUTBOUND: &str = include_str!("../configs/envoy_outbound.yaml");
const INBOUND: &str = include_str!("../configs/envoy_inbound.yaml");
const TYPE: &str = "type.googleapis.com/envoy.extensions.transport_sockets";
/// As many rules as the policy of the mesh has, the last one for these requests.
const RULES: [(&str, Option<&str>); 10] = [
    ("/v1/", None),
    ("/v2/", None),
    ("/v3/", None),
    ("/v4/", None),
    ("/v5/", None),
    ("/v6/", None),
    ("/v7/", None),
    ("/v8/", None),
    ("/shop.Orders/", Some("POST")),
    ("/api/", Some("GET")),
];

/// `MESH_ENVOY`, else what `pip` put into a directory of tools, else that of `PATH`.
pub(super) fn file() -> Option<PathBuf> {
    let named = std::env::var_os("MESH_ENVOY")
        .map(PathBuf::from)
        .filter(|file| file.is_file());
    named.or_else(in_tools).or_else(|| in_path("envoy"))
}

/// `target/tools/envoy-*/lib/python3*/site-packages/envoy/_bin/envoy`, seen from this program, which is in `target/release/deps`.
fn in_tools() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let tools = own.ancestors().nth(3)?.join("tools");
    let lib = beginning(&tools, "envoy-")?.join("lib");
    let python = beginning(&lib, "python3")?;
    Some(python.join("site-packages/envoy/_bin/envoy")).filter(|file| file.is_file())
}

fn beginning(directory: &PathBuf, name: &str) -> Option<PathBuf> {
    let mut entries = fs::read_dir(directory).ok()?.flatten();
    let entry = entries.find(|entry| entry.file_name().to_string_lossy().starts_with(name))?;
    Some(entry.path())
}

pub(super) fn arguments(command: &mut Command, link: &Link<'_>) -> Result<(), String> {
    let template = if link.place == Place::Inbound {
        INBOUND
    } else {
        OUTBOUND
    };
    let http = match link.is_upstream_http2 {
        true => "http2_protocol_options",
        false => "http_protocol_options",
    };
    let values = [
        ("LISTEN_PORT", &*link.listen.port().to_string()),
        ("UPSTREAM_PORT", &link.upstream.port().to_string()),
        ("UPSTREAM_HTTP", http),
        ("TRANSPORT", &transport(link).to_string()),
        ("POLICIES", &policies().to_string()),
    ];
    let file = link.write(&format!("envoy-{:?}.yaml", link.place), template, &values)?;
    command
        .args(["--concurrency", "1", "--disable-hot-restart", "-l", "error", "-c"])
        .arg(file);
    Ok(())
}

fn transport(link: &Link<'_>) -> Value {
    let (kind, own, peer) = match link.place {
        Place::Hop => {
            let raw = format!("{TYPE}.raw_buffer.v3.RawBuffer");
            return json!({ "name": "envoy.transport_sockets.raw_buffer", "typed_config": { "@type": raw } });
        }
        Place::Outbound => ("UpstreamTlsContext", WEB, ORDERS),
        Place::Inbound => ("DownstreamTlsContext", ORDERS, WEB),
    };
    let mut config = json!({ "@type": format!("{TYPE}.tls.v3.{kind}"), "common_tls_context": common(link, own, peer) });
    if link.place == Place::Inbound {
        config["require_client_certificate"] = json!(true);
    }
    json!({ "name": "envoy.transport_sockets.tls", "typed_config": config })
}

fn common(link: &Link<'_>, own: &str, peer: &str) -> Value {
    let file = |name: &str| json!({ "filename": link.identity(own, name) });
    let is_http2 = match link.place {
        Place::Inbound => link.is_http2,
        Place::Hop | Place::Outbound => link.is_upstream_http2,
    };
    json!({
        "tls_params": { "tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3" },
        "alpn_protocols": [if is_http2 { "h2" } else { "http/1.1" }],
        "tls_certificates": [{ "certificate_chain": file("tls.crt"), "private_key": file("tls.key") }],
        "validation_context": {
            "trusted_ca": file("ca.crt"),
            "match_typed_subject_alt_names": [{ "san_type": "URI", "matcher": { "exact": id(peer) } }],
        },
    })
}

fn id(account: &str) -> String {
    format!("spiffe://cluster.local/ns/shop/sa/{account}")
}

fn policies() -> Value {
    let name = |number: usize| format!("rule-{number}");
    let policy = |(number, (prefix, method)): (usize, &(&str, Option<&str>))| (name(number), policy(prefix, *method));
    Value::Object(RULES.iter().enumerate().map(policy).collect())
}

fn policy(prefix: &str, method: Option<&str>) -> Value {
    let mut permissions = vec![json!({ "url_path": { "path": { "prefix": prefix } } })];
    let header = |method| json!({ "header": { "name": ":method", "string_match": { "exact": method } } });
    permissions.extend(method.map(header));
    json!({
        "permissions": [{ "and_rules": { "rules": permissions } }],
        "principals": [{ "authenticated": { "principal_name": { "exact": id(WEB) } } }],
    })
}

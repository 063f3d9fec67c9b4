//! nginx: one worker, keep-alive on both sides; HTTP/1.1 only.

use std::process::Command;

use super::{Link, Place};
use crate::identities::{HOST, WEB};

const TEMPLATE: &str = include_str!("../configs/nginx.conf");

pub(super) fn arguments(command: &mut Command, link: &Link<'_>) -> Result<(), String> {
    let (listen, upstream) = (link.listen.to_string(), link.upstream.to_string());
    let directory = link.directory.join(format!("nginx-{:?}", link.place));
    std::fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
    let values = [
        ("DIRECTORY", &*directory.display().to_string()),
        ("LISTEN", &listen),
        ("LISTEN_OPTIONS", if link.place == Place::Inbound { "ssl" } else { "" }),
        ("SERVER_TLS", &server_tls(link)),
        ("UPSTREAM", &upstream),
        ("SCHEME", if link.place == Place::Outbound { "https" } else { "http" }),
        ("CLIENT_TLS", &client_tls(link)),
    ];
    let file = link.write(&format!("nginx-{:?}.conf", link.place), TEMPLATE, &values)?;
    command
        .args(["-e", "stderr"])
        .arg("-p")
        .arg(directory)
        .arg("-c")
        .arg(file);
    Ok(())
}

fn server_tls(link: &Link<'_>) -> String {
    if link.place != Place::Inbound {
        return String::new();
    }
    let [chain, key, ca] = ["tls.crt", "tls.key", "ca.crt"].map(|file| link.identity(HOST, file));
    format!(
        "ssl_certificate {chain}; ssl_certificate_key {key}; ssl_client_certificate {ca};
        ssl_verify_client on; ssl_protocols TLSv1.3;"
    )
}

fn client_tls(link: &Link<'_>) -> String {
    if link.place != Place::Outbound {
        return String::new();
    }
    let [chain, key, ca] = ["tls.crt", "tls.key", "ca.crt"].map(|file| link.identity(WEB, file));
    format!(
        "proxy_ssl_certificate {chain}; proxy_ssl_certificate_key {key}; proxy_ssl_trusted_certificate {ca};
            proxy_ssl_verify on; proxy_ssl_name localhost; proxy_ssl_server_name on; proxy_ssl_protocols TLSv1.3;"
    )
}

//! HAProxy: one thread, keep-alive on both sides.

use std::process::Command;

use super::{Link, Place};
use crate::identities::{HOST, WEB};

const TEMPLATE: &str = include_str!("../configs/haproxy.cfg");

pub(super) fn arguments(command: &mut Command, link: &Link<'_>) -> Result<(), String> {
    let (listen, upstream) = (link.listen.to_string(), link.upstream.to_string());
    let values = [
        ("LISTEN", listen.as_str()),
        ("LISTEN_OPTIONS", &listen_options(link)),
        ("UPSTREAM", &upstream),
        ("UPSTREAM_OPTIONS", &upstream_options(link)),
    ];
    let file = link.write(&format!("haproxy-{:?}.cfg", link.place), TEMPLATE, &values)?;
    command.arg("-db").arg("-f").arg(file);
    Ok(())
}

fn listen_options(link: &Link<'_>) -> String {
    match (link.place, link.is_http2) {
        (Place::Inbound, is_http2) => tls(link, HOST, is_http2),
        (_, true) => "proto h2".to_owned(),
        (_, false) => String::new(),
    }
}

fn upstream_options(link: &Link<'_>) -> String {
    match (link.place, link.is_upstream_http2) {
        (Place::Outbound, is_http2) => {
            format!("{} sni str(localhost) verifyhost localhost", tls(link, WEB, is_http2))
        }
        (_, true) => "proto h2".to_owned(),
        (_, false) => String::new(),
    }
}

fn tls(link: &Link<'_>, identity: &str, is_http2: bool) -> String {
    let (both, ca) = (link.identity(identity, "both.pem"), link.identity(identity, "ca.crt"));
    let alpn = if is_http2 { "h2" } else { "http/1.1" };
    format!("ssl crt {both} ca-file {ca} verify required ssl-min-ver TLSv1.3 alpn {alpn}")
}

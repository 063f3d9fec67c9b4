//! `x-forwarded-client-cert`: the certificates that earlier hops have seen, as Envoy writes them.
//!
//! Anybody can send this header. What it says is data for the application, where a policy trusts the caller that
//! wrote it; authorization looks at the certificate of the connection.
//!
//! Source: <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-forwarded-client-cert>

use std::fmt;

use http::{HeaderMap, HeaderName};
use thiserror::Error;

use super::lines;

/// The name of the header.
pub const CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// One certificate of the header: an element of its list.
///
/// ```
/// use mesh_core::request::ClientCert;
/// let written = r#"By=spiffe://a/web;Hash=0af1;Subject="CN=b\, c";URI=spiffe://a/b;DNS=b.example"#;
/// let cert: ClientCert = written.parse().unwrap();
/// assert_eq!(cert.uris, ["spiffe://a/b"]);
/// assert_eq!(cert.to_string(), written);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientCert {
    /// The identities of the hop that has seen the certificate.
    pub by: Vec<String>,
    /// SHA-256 of the certificate in hexadecimal.
    pub hash: Option<String>,
    /// The certificate, PEM in URL encoding.
    pub cert: Option<String>,
    /// Its chain, likewise.
    pub chain: Option<String>,
    /// The subject; empty where the certificate has none.
    pub subject: Option<String>,
    /// The URIs of the certificate: the identity is one.
    pub uris: Vec<String>,
    /// The DNS names of the certificate.
    pub dns: Vec<String>,
}

/// Why an `x-forwarded-client-cert` is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("`x-forwarded-client-cert` is malformed: {0}")]
#[non_exhaustive]
pub struct BadClientCert(&'static str);

impl ClientCert {
    /// The last certificate of the header: the one that the caller has seen; `None` without the header.
    ///
    /// # Errors
    ///
    /// Where any part of the header is malformed: what precedes the last element may hide where that begins.
    pub fn last(headers: &HeaderMap) -> Result<Option<Self>, BadClientCert> {
        let mut last = None;
        for line in lines(headers, &CLIENT_CERT) {
            let text = std::str::from_utf8(line).map_err(|_| BadClientCert("it is not UTF-8"))?;
            last = Some(last_of(text)?);
        }
        Ok(last)
    }

    fn set(&mut self, key: &str, value: String) -> Result<(), BadClientCert> {
        let single = match key.to_ascii_lowercase().as_str() {
            "by" => return push(&mut self.by, value),
            "uri" => return push(&mut self.uris, value),
            "dns" => return push(&mut self.dns, value),
            "hash" => &mut self.hash,
            "cert" => &mut self.cert,
            "chain" => &mut self.chain,
            "subject" => &mut self.subject,
            _ => return Err(BadClientCert("it has an unknown key")),
        };
        match single.replace(value) {
            None => Ok(()),
            Some(_) => Err(BadClientCert("it has a key twice")),
        }
    }
}

fn push(list: &mut Vec<String>, value: String) -> Result<(), BadClientCert> {
    list.push(value);
    Ok(())
}

impl std::str::FromStr for ClientCert {
    type Err = BadClientCert;

    /// Reads one element.
    fn from_str(text: &str) -> Result<Self, BadClientCert> {
        match element(text)? {
            (cert, "") => Ok(cert),
            _ => Err(BadClientCert("it has more than one element")),
        }
    }
}

fn last_of(line: &str) -> Result<ClientCert, BadClientCert> {
    let (mut last, mut rest) = element(line)?;
    while !rest.is_empty() {
        (last, rest) = element(rest)?;
    }
    Ok(last)
}

/// Reads an element, and the comma behind it where another follows.
fn element(text: &str) -> Result<(ClientCert, &str), BadClientCert> {
    let mut cert = ClientCert::default();
    let mut rest = text.trim_start_matches([' ', '\t']);
    loop {
        let (key, tail) = rest.split_once('=').ok_or(BadClientCert("a key has no value"))?;
        let (value, tail) = value(tail)?;
        cert.set(key, value)?;
        let tail = tail.trim_start_matches([' ', '\t']);
        match tail.split_at_checked(1) {
            None => return Ok((cert, "")),
            Some((";", more)) => rest = more,
            Some((",", "")) => return Err(BadClientCert("its last element is empty")),
            Some((",", more)) => return Ok((cert, more)),
            Some(_) => return Err(BadClientCert("text follows a quoted value")),
        }
    }
}

/// Reads a value, in quotes or without.
fn value(text: &str) -> Result<(String, &str), BadClientCert> {
    if let Some(quoted) = text.strip_prefix('"') {
        return quoted_value(quoted);
    }
    let end = text.find([',', ';']).unwrap_or(text.len());
    let (value, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    let value = value.trim_end_matches([' ', '\t']);
    match value.contains(['"', '=', ' ', '\t']) {
        true => Err(BadClientCert("a value needs quotes")),
        false => Ok((value.to_owned(), rest)),
    }
}

/// `\"` is a quote; another backslash belongs to the value, with the character behind it.
fn quoted_value(text: &str) -> Result<(String, &str), BadClientCert> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, text.get(at + 1..).unwrap_or_default())),
            '\\' => match chars.next() {
                Some((_, '"')) => value.push('"'),
                Some((_, other)) => value.extend(['\\', other]),
                None => break,
            },
            other => value.push(other),
        }
    }
    Err(BadClientCert("a quote is not closed"))
}

impl fmt::Display for ClientCert {
    /// The element as Envoy writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = self.by.iter().map(|value| ("By", value));
        let single = [
            ("Hash", &self.hash),
            ("Cert", &self.cert),
            ("Chain", &self.chain),
            ("Subject", &self.subject),
        ];
        let single = single
            .into_iter()
            .filter_map(|(key, value)| value.as_ref().map(|value| (key, value)));
        let uris = self.uris.iter().map(|value| ("URI", value));
        let dns = self.dns.iter().map(|value| ("DNS", value));
        for (at, (key, value)) in by.chain(single).chain(uris).chain(dns).enumerate() {
            let separator = if at == 0 { "" } else { ";" };
            write!(f, "{separator}{key}=")?;
            write_value(f, key, value)?;
        }
        Ok(())
    }
}

fn write_value(f: &mut fmt::Formatter<'_>, key: &str, value: &str) -> fmt::Result {
    let is_quoted = matches!(key, "Subject" | "Cert" | "Chain");
    match is_quoted || value.contains([',', ';', '=', '"', ' ', '\t']) {
        true => write!(f, "\"{}\"", value.replace('"', "\\\"")),
        false => f.write_str(value),
    }
}

//! Lines of recorded requests.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use http::{Method, StatusCode};
use serde_json::{Map, Value as Json};

use crate::explain::AuthorizerSays;
use crate::policy::diagnostic::{listed, nearest, quoted};
use crate::trial::question::{Asked, Received};
use crate::trial::read::{Scheme, header_map, identity_of, url_of, workload_of};
use crate::workload::Workload;

/// A request of a recording.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Recorded {
    /// Its line, from 1.
    pub line: usize,
    /// Who sends or receives it.
    pub workload: Workload,
    pub(super) asked: Asked,
    pub(super) way: Way,
}

#[derive(Clone, Debug)]
pub(super) enum Way {
    /// To a gateway, where one is named.
    Outbound(Option<String>),
    Inbound(Received),
}

/// All requests of a file.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Recording {
    /// The requests, in the order of their lines.
    pub requests: Vec<Recorded>,
    /// Lines of an access log without a host or with a target that is none: of requests that were refused.
    pub skipped: usize,
}

/// A line that is no recorded request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub struct InvalidLine {
    /// The file's name.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for InvalidLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.reason)
    }
}

/// Reads a recording, one JSON object a line; empty lines are passed over.
///
/// Who sends or receives is `workload`; where that is `None` it is what the line says, and `default` where it says nothing.
///
/// # Errors
///
/// The first line that is none, and a recording without a request.
pub fn read(file: &str, text: &str, workload: Option<&Workload>) -> Result<Recording, InvalidLine> {
    let mut recording = Recording::default();
    for (index, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        let line = index + 1;
        let invalid = |reason: String| InvalidLine {
            file: file.to_owned(),
            line,
            reason,
        };
        let request = match serde_json::from_str(text) {
            Ok(Json::Object(fields)) if is_access_log(&fields) => of_access_log(&Fields(&fields)),
            Ok(Json::Object(fields)) => of_request(&Fields(&fields)).map(Some),
            Ok(_) => Err("expected a JSON object".into()),
            Err(error) => Err(format!("no JSON object: {error}")),
        };
        match request.map_err(invalid)? {
            Some((asked, way, own)) => recording.requests.push(Recorded {
                line,
                workload: workload.cloned().or(own).unwrap_or_default(),
                asked,
                way,
            }),
            None => recording.skipped += 1,
        }
    }
    if recording.requests.is_empty() {
        let reason = "there is no request to ask for".into();
        let file = file.to_owned();
        return Err(InvalidLine { file, line: 1, reason });
    }
    Ok(recording)
}

/// What is read of a line.
type Line = (Asked, Way, Option<Workload>);

/// The fields of a request.
const FIELDS: [&str; 9] = [
    "direction",
    "as",
    "method",
    "url",
    "headers",
    "gateway",
    "from",
    "source_ip",
    "port",
];

fn of_request(fields: &Fields<'_>) -> Result<Line, String> {
    if let Some(unknown) = fields.0.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        let message = format!("unknown field {}", quoted(unknown));
        return Err(match nearest(unknown, FIELDS) {
            Some(near) => format!("{message}, did you mean `{near}`?"),
            None => format!("{message}, expected {}", listed(&FIELDS)),
        });
    }
    let url = fields.text("url")?.ok_or("missing field `url`")?;
    let asked = Asked {
        method: method(fields.text("method")?.unwrap_or("GET"))?,
        url: url_of(url, Scheme::Optional)?,
        headers: headers(fields)?,
    };
    let way = match fields.text("direction")?.unwrap_or("outbound") {
        "outbound" => {
            fields.none_of(&["from", "source_ip", "port"], "inbound")?;
            Way::Outbound(fields.text("gateway")?.map(str::to_owned))
        }
        "inbound" => {
            fields.none_of(&["gateway"], "outbound")?;
            Way::Inbound(received(fields)?)
        }
        other => {
            return Err(format!(
                "`direction`: expected `outbound` or `inbound`, found {}",
                quoted(other)
            ));
        }
    };
    Ok((asked, way, workload(fields)?))
}

fn received(fields: &Fields<'_>) -> Result<Received, String> {
    let mut received = Received::default();
    if let Some(id) = fields.text("from")? {
        received.from = identity_of(id)?;
    }
    if let Some(address) = fields.text("source_ip")? {
        received.source_ip = address
            .parse()
            .map_err(|_| format!("`source_ip`: expected an IP address, found {}", quoted(address)))?;
    }
    if let Some(port) = fields.value("port") {
        let number = port.as_u64().and_then(|number| u16::try_from(number).ok());
        received.port = Some(number.ok_or_else(|| format!("`port`: expected a port number, found {port}"))?);
    }
    Ok(received)
}

fn headers(fields: &Fields<'_>) -> Result<http::HeaderMap, String> {
    let mut pairs = Vec::new();
    for (name, value) in fields.object("headers")?.into_iter().flatten() {
        match value {
            Json::String(text) => pairs.push((name.as_str(), text.as_str())),
            Json::Array(items) => {
                for item in items {
                    pairs.push((name.as_str(), item.as_str().ok_or("`headers`: expected texts")?));
                }
            }
            other => return Err(format!("`headers`: expected text or a list of texts, found {other}")),
        }
    }
    header_map(pairs)
}

fn workload(fields: &Fields<'_>) -> Result<Option<Workload>, String> {
    let Some(given) = fields.object("as")? else {
        return Ok(None);
    };
    let mut pairs = Vec::new();
    for (key, value) in given {
        let text = value
            .as_str()
            .ok_or_else(|| format!("`as`: expected text, found {value}"))?;
        pairs.push((key.clone(), text.to_owned()));
    }
    Ok(Some(workload_of(&pairs)))
}

fn method(text: &str) -> Result<Method, String> {
    Method::from_bytes(text.as_bytes()).map_err(|_| format!("expected a method, found {}", quoted(text)))
}

fn is_access_log(fields: &Map<String, Json>) -> bool {
    fields.contains_key("reporter") && !fields.contains_key("url")
}

/// A line of the access log; `None` for one whose request cannot be asked again.
fn of_access_log(fields: &Fields<'_>) -> Result<Option<Line>, String> {
    let (method, path) = (fields.text("method")?, fields.text("path")?);
    let parts = method.zip(path).zip(fields.text("authority")?);
    let Some(((method, path), authority)) = parts else {
        return Ok(None);
    };
    let url = url_of(&format!("http://{authority}{path}"), Scheme::Required);
    let (Ok(method), Ok(url)) = (Method::from_bytes(method.as_bytes()), url) else {
        return Ok(None);
    };
    let named = [
        ("user-agent", "user_agent"),
        ("x-forwarded-for", "x_forwarded_for"),
        ("x-request-id", "request_id"),
    ];
    let mut pairs = Vec::new();
    for (header, field) in named {
        pairs.extend(fields.text(field)?.map(|text| (header, text)));
    }
    let headers = header_map(pairs).unwrap_or_default();
    let asked = Asked { method, url, headers };
    let ours = |field: &str| -> Result<Option<Workload>, String> {
        let id = fields.text(field)?.and_then(|id| identity_of(id).ok().flatten());
        Ok(id.and_then(|id| Some(Workload::new(id.namespace()?, id.service_account()?))))
    };
    match fields.text("reporter")? {
        Some("source") => Ok(Some((asked, Way::Outbound(None), ours("source_principal")?))),
        Some("destination") => {
            let from = fields.text("source_principal")?;
            let address = |field: &str| -> Result<Option<SocketAddr>, String> {
                Ok(fields.text(field)?.and_then(|text| text.parse().ok()))
            };
            let caller = address("downstream_remote_address")?.map(|address: SocketAddr| address.ip());
            let received = Received {
                from: from.map(identity_of).transpose()?.flatten(),
                source_ip: caller.unwrap_or_else(|| IpAddr::from([127, 0, 0, 1])),
                port: address("downstream_local_address")?.map(|address| address.port()),
                authorizer: fields.text("authorizer_result")?.and_then(said),
                ..Received::default()
            };
            Ok(Some((asked, Way::Inbound(received), ours("destination_principal")?)))
        }
        other => Err(format!(
            "`reporter`: expected `source` or `destination`, found {other:?}"
        )),
    }
}

/// What the external authorizer said then, it is taken to say again.
fn said(result: &str) -> Option<AuthorizerSays> {
    match result {
        "allowed" => Some(AuthorizerSays::Allow),
        "denied" => Some(AuthorizerSays::Deny(StatusCode::FORBIDDEN)),
        "error" | "timeout" | "failed_open" => Some(AuthorizerSays::Nothing),
        _ => None,
    }
}

/// The fields of a line; null counts as absent.
struct Fields<'a>(&'a Map<String, Json>);

impl<'a> Fields<'a> {
    fn value(&self, name: &str) -> Option<&'a Json> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Result<Option<&'a str>, String> {
        match self.value(name) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text)),
            Some(other) => Err(format!("`{name}`: expected text, found {other}")),
        }
    }

    fn object(&self, name: &str) -> Result<Option<&'a Map<String, Json>>, String> {
        match self.value(name) {
            None => Ok(None),
            Some(Json::Object(fields)) => Ok(Some(fields)),
            Some(other) => Err(format!("`{name}`: expected an object, found {other}")),
        }
    }

    fn none_of(&self, names: &[&str], direction: &str) -> Result<(), String> {
        match names.iter().find(|name| self.value(name).is_some()) {
            Some(name) => Err(format!("`{name}` is for requests whose `direction` is `{direction}`")),
            None => Ok(()),
        }
    }
}

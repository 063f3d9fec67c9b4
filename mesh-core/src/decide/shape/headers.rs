//! Changes to headers, compiled.

use std::fmt;
use std::net::IpAddr;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};

use serde::Serialize;

use super::InvalidShape;
use crate::policy::model::filter::{HeaderChanges, HeaderPart, HeaderText, HeaderVariable};

/// One change to a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HeaderChange {
    /// It is removed.
    Remove(String),
    /// It gets this one value.
    Set(String, String),
    /// It gets a further value.
    Add(String, String),
}

/// What the variables of a value stand for.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "drivers fill in all of it")]
pub struct Variables<'a> {
    /// The request's method.
    pub method: &'a Method,
    /// Its scheme.
    pub scheme: &'a str,
    /// Its authority.
    pub authority: &'a str,
    /// Its path, with the query.
    pub path: &'a str,
    /// Its version of HTTP.
    pub version: Version,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// The name of the route.
    pub route: &'a str,
    /// The caller, where one is connected.
    pub caller: Option<IpAddr>,
    /// The name of the machine.
    pub hostname: &'a str,
}

/// Changes to the headers of a message, in the order in which they are made.
#[derive(Clone, Debug, Default)]
pub struct HeaderEdit {
    steps: Box<[Step]>,
}

#[derive(Clone, Debug)]
enum Step {
    Remove(HeaderName),
    Set(HeaderName, Value),
    Add(HeaderName, Value),
}

#[derive(Clone, Debug)]
enum Value {
    Fixed(HeaderValue),
    Built(Box<[HeaderPart]>),
}

impl HeaderEdit {
    /// Compiles changes that are made together: the removals of all of them first.
    ///
    /// # Errors
    ///
    /// [`InvalidShape`] for headers that frame a message, and for values that no header can have.
    pub fn compile<'a>(changes: impl IntoIterator<Item = &'a HeaderChanges> + Clone) -> Result<Self, InvalidShape> {
        let mut steps = Vec::new();
        for name in changes.clone().into_iter().flat_map(|changes| &changes.remove) {
            steps.push(Step::Remove(changeable(name)?));
        }
        for changes in changes {
            for (name, text) in &changes.set {
                steps.extend(
                    value(text)?
                        .map(|value| changeable(name).map(|name| Step::Set(name, value)))
                        .transpose()?,
                );
            }
            for (name, text) in &changes.add {
                steps.extend(
                    value(text)?
                        .map(|value| changeable(name).map(|name| Step::Add(name, value)))
                        .transpose()?,
                );
            }
        }
        let steps = steps.into();
        Ok(Self { steps })
    }

    /// These changes, and then those.
    #[must_use]
    pub fn then(self, last: Self) -> Self {
        let steps = self.steps.into_iter().chain(last.steps).collect();
        Self { steps }
    }

    /// Whether nothing is changed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The changes, as policies write them.
    #[must_use]
    pub fn changes(&self) -> Vec<HeaderChange> {
        let step = |step: &Step| match step {
            Step::Remove(name) => HeaderChange::Remove(name.to_string()),
            Step::Set(name, value) => HeaderChange::Set(name.to_string(), value.to_string()),
            Step::Add(name, value) => HeaderChange::Add(name.to_string(), value.to_string()),
        };
        self.steps.iter().map(step).collect()
    }

    /// Makes the changes to a request; those that speak of the request must be bound ([`bind`](Self::bind)): values speak
    /// of the request as it came, whatever was changed before them.
    pub fn apply_to_request(&self, headers: &mut HeaderMap) {
        self.apply(headers, None);
    }

    /// The changes with the request's part of each value filled in; `None` where there is none, so that they can be made
    /// as they are.
    #[must_use]
    pub fn bind(&self, variables: &Variables<'_>) -> Option<Self> {
        let has_variables = |step: &Step| matches!(step, Step::Set(_, Value::Built(_)) | Step::Add(_, Value::Built(_)));
        if !self.steps.iter().any(has_variables) {
            return None;
        }
        let steps = self.steps.iter().map(|step| step.bind(variables)).collect();
        Some(Self { steps })
    }

    /// Makes the changes to a response; those that speak of the request must be bound ([`bind`](Self::bind)).
    pub fn apply_to_response(&self, status: StatusCode, headers: &mut HeaderMap) {
        self.apply(headers, Some(status));
    }

    fn apply(&self, headers: &mut HeaderMap, status: Option<StatusCode>) {
        for step in &self.steps {
            match step {
                Step::Remove(name) => {
                    headers.remove(name);
                }
                Step::Set(name, value) => {
                    if let Some(value) = value.of(headers, status) {
                        headers.insert(name, value);
                    }
                }
                Step::Add(name, value) => {
                    if let Some(value) = value.of(headers, status) {
                        headers.append(name, value);
                    }
                }
            }
        }
    }
}

impl Step {
    fn bind(&self, variables: &Variables<'_>) -> Self {
        let bind = |value: &Value| match value {
            Value::Fixed(value) => Value::Fixed(value.clone()),
            Value::Built(parts) => Value::Built(parts.iter().map(|part| bind_part(part, variables)).collect()),
        };
        match self {
            Self::Remove(name) => Self::Remove(name.clone()),
            Self::Set(name, value) => Self::Set(name.clone(), bind(value)),
            Self::Add(name, value) => Self::Add(name.clone(), bind(value)),
        }
    }
}

impl Value {
    /// The value, unless it is empty or cannot be one.
    fn of(&self, headers: &HeaderMap, status: Option<StatusCode>) -> Option<HeaderValue> {
        let parts = match self {
            Self::Fixed(value) => return Some(value.clone()),
            Self::Built(parts) => parts,
        };
        let mut bytes = Vec::new();
        for part in parts {
            match (part, status) {
                (HeaderPart::Text(text), _) => bytes.extend_from_slice(text.as_bytes()),
                (HeaderPart::ResponseCode, Some(status)) => bytes.extend_from_slice(status.as_str().as_bytes()),
                (HeaderPart::Response(variable), Some(_)) => bytes.extend_from_slice(first(variable, headers)),
                _ => {}
            }
        }
        let value = HeaderValue::from_bytes(&bytes).ok()?;
        (!value.is_empty()).then_some(value)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(value) => f.write_str(&String::from_utf8_lossy(value.as_bytes())),
            Self::Built(parts) => parts.iter().try_for_each(|part| write!(f, "{part}")),
        }
    }
}

/// Replaces what speaks of the request by its text.
fn bind_part(part: &HeaderPart, variables: &Variables<'_>) -> HeaderPart {
    let text = match part {
        HeaderPart::Request(variable) => of_request(variable, variables),
        HeaderPart::Protocol => format!("{:?}", variables.version),
        HeaderPart::RouteName => variables.route.to_owned(),
        HeaderPart::CallerAddress => variables.caller.map(|caller| caller.to_string()).unwrap_or_default(),
        HeaderPart::Hostname => variables.hostname.to_owned(),
        other => return other.clone(),
    };
    HeaderPart::Text(text)
}

fn of_request(variable: &HeaderVariable, variables: &Variables<'_>) -> String {
    let named = |name: &str| match name {
        ":method" => Some(variables.method.as_str().to_owned()),
        ":path" => Some(variables.path.to_owned()),
        ":authority" => Some(variables.authority.to_owned()),
        ":scheme" => Some(variables.scheme.to_owned()),
        name => variables
            .headers
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
    };
    let found = named(&variable.name).or_else(|| named(variable.or.as_deref()?));
    let mut text = found.unwrap_or_default();
    if let Some(limit) = variable.limit {
        let end = (0..=limit.min(text.len()))
            .rev()
            .find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or_default());
    }
    text
}

fn first<'h>(variable: &HeaderVariable, headers: &'h HeaderMap) -> &'h [u8] {
    let named = |name: &str| headers.get(name);
    let found = named(&variable.name).or_else(|| named(variable.or.as_deref()?));
    let bytes = found.map_or(&b""[..], HeaderValue::as_bytes);
    let limit = variable.limit.unwrap_or(usize::MAX);
    bytes.get(..limit.min(bytes.len())).unwrap_or(bytes)
}

/// A value that is never empty; an empty one changes nothing (Envoy).
fn value(text: &HeaderText) -> Result<Option<Value>, InvalidShape> {
    let Some(literal) = text.as_literal() else {
        return Ok(Some(Value::Built(text.parts.clone().into())));
    };
    if literal.is_empty() {
        return Ok(None);
    }
    let value = HeaderValue::from_str(literal).map_err(|_| InvalidShape::Value(literal.into()))?;
    Ok(Some(Value::Fixed(value)))
}

/// Whether two servers could disagree by this header on where a message ends or whom it is for.
pub(crate) fn is_fixed(name: &HeaderName) -> bool {
    const FIXED: &[HeaderName] = &[
        HOST,
        CONTENT_LENGTH,
        TRANSFER_ENCODING,
        CONNECTION,
        UPGRADE,
        TE,
        TRAILER,
    ];
    FIXED.contains(name)
}

fn changeable(name: &HeaderName) -> Result<HeaderName, InvalidShape> {
    if is_fixed(name) {
        Err(InvalidShape::Header(name.to_string()))
    } else {
        Ok(name.clone())
    }
}

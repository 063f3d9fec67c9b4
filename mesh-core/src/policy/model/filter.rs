//! What a rule does to a request and its response, beside choosing where the request goes.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, StatusCode};

use super::Origin;
use super::route::{Destination, StringMatch};

/// Changes to the headers of requests and of responses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeaderRules {
    /// To the request, before it is sent.
    pub request: HeaderChanges,
    /// To the response, before the caller sees it.
    pub response: HeaderChanges,
}

impl HeaderRules {
    /// Whether they change nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.request.is_empty() && self.response.is_empty()
    }
}

/// Changes to headers: first all of `remove`, then all of `set`, then all of `add`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeaderChanges {
    /// Headers that are removed.
    pub remove: Vec<HeaderName>,
    /// Headers that get this one value, whatever they had.
    pub set: Vec<(HeaderName, HeaderText)>,
    /// Values that are added to those that are there.
    pub add: Vec<(HeaderName, HeaderText)>,
}

impl HeaderChanges {
    /// Whether they change nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

/// The value of a header: text with variables of the request or the response in it. A value that turns out empty
/// changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderText {
    /// Its parts, one after the other.
    pub parts: Vec<HeaderPart>,
}

impl HeaderText {
    /// A value without variables.
    #[must_use]
    pub fn literal(text: impl Into<String>) -> Self {
        let parts = vec![HeaderPart::Text(text.into())];
        Self { parts }
    }

    /// The value, where it has no variables.
    #[must_use]
    pub fn as_literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [HeaderPart::Text(text)] => Some(text),
            _ => None,
        }
    }
}

/// A part of a [`HeaderText`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderPart {
    /// This text.
    Text(String),
    /// A header of the request (`%REQ(name?or):limit%`).
    Request(HeaderVariable),
    /// A header of the response (`%RESP(name?or):limit%`); empty in requests.
    Response(HeaderVariable),
    /// The protocol of the request, such as `HTTP/1.1` (`%PROTOCOL%`).
    Protocol,
    /// The status of the response (`%RESPONSE_CODE%`); empty in requests.
    ResponseCode,
    /// The name of the route (`%ROUTE_NAME%`).
    RouteName,
    /// The caller's address without its port (`%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%`); empty where no caller is
    /// connected, as for a client inside of the process.
    CallerAddress,
    /// The name of the machine (`%HOSTNAME%`).
    Hostname,
}

/// As Envoy and Istio write it; a literal percent sign is doubled.
impl fmt::Display for HeaderText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| write!(f, "{part}"))
    }
}

impl fmt::Display for HeaderPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&text.replace('%', "%%")),
            Self::Request(variable) => write!(f, "%REQ({variable}%"),
            Self::Response(variable) => write!(f, "%RESP({variable}%"),
            Self::Protocol => f.write_str("%PROTOCOL%"),
            Self::ResponseCode => f.write_str("%RESPONSE_CODE%"),
            Self::RouteName => f.write_str("%ROUTE_NAME%"),
            Self::CallerAddress => f.write_str("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
            Self::Hostname => f.write_str("%HOSTNAME%"),
        }
    }
}

/// The inside of `%REQ(…)%`, from the name on.
impl fmt::Display for HeaderVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(or) = &self.or {
            write!(f, "?{or}")?;
        }
        f.write_str(")")?;
        match self.limit {
            Some(limit) => write!(f, ":{limit}"),
            None => Ok(()),
        }
    }
}

/// A header whose first value a [`HeaderPart`] stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeaderVariable {
    /// Its name; `:path`, `:method`, `:authority` and `:scheme` are parts of the request.
    pub name: String,
    /// The header to take where that one is absent.
    pub or: Option<String>,
    /// The most bytes that are taken.
    pub limit: Option<usize>,
}

impl HeaderVariable {
    /// The header `name`.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            or: None,
            limit: None,
        }
    }
}

/// Whose header changes come last, and so win: those of the rule, or those of the destination that was drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "one of the two is last")]
pub enum HeaderOrder {
    /// The destination's.
    #[default]
    DestinationLast,
    /// The rule's (Istio, where a rule has several destinations).
    RuleLast,
}

/// Another path or authority for the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rewrite {
    /// The authority that the service sees.
    pub authority: Option<String>,
    /// The path; the query stays.
    pub path: Option<PathRewrite>,
}

/// How a path is written anew.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathRewrite {
    /// The whole path.
    Full(String),
    /// What the match's prefix covers, as text: `/ratings` to `/v1/x` makes `/v1/xABC` of `/ratingsABC`. Where the
    /// match is no prefix, the whole path.
    Prefix(String),
    /// What the match's prefix covers, by whole segments and with one slash between.
    SegmentPrefix(String),
    /// Every part of the path that a regex matches; `\1` stands for a group, `\0` for all of the part.
    Regex {
        /// RE2 syntax, known to compile.
        pattern: String,
        /// What each part becomes.
        substitution: String,
    },
}

/// An answer that sends the caller elsewhere. What is not set is taken from the request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Redirect {
    /// `http` or `https`.
    pub scheme: Option<String>,
    /// The host.
    pub authority: Option<String>,
    /// The path; the query stays, unless a full path has one.
    pub path: Option<PathRewrite>,
    /// The port.
    pub port: RedirectPort,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
}

impl Redirect {
    /// A redirect to the same place with this status.
    #[must_use]
    pub const fn new(status: StatusCode) -> Self {
        Self {
            scheme: None,
            authority: None,
            path: None,
            port: RedirectPort::Unset,
            status,
        }
    }
}

/// The port of a [`Redirect`]. 80 for `http` and 443 for `https` are never written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedirectPort {
    /// As the request wrote it; none with another authority; with another scheme the old scheme's default port is
    /// removed (Istio).
    #[default]
    Unset,
    /// This one.
    Number(u16),
    /// The one that the request came in by (`FROM_REQUEST_PORT`).
    Request,
    /// That of the scheme (`FROM_PROTOCOL_DEFAULT`).
    ProtocolDefault,
    /// That of the scheme where the redirect sets one, else the one that the request came in by (Gateway API).
    SchemeOrRequest,
}

/// An answer that the mesh gives itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirectResponse {
    /// Its status.
    pub status: StatusCode,
    /// Its body; `text/plain` unless header changes say otherwise.
    pub body: Option<Bytes>,
}

impl DirectResponse {
    /// An answer without a body.
    #[must_use]
    pub const fn new(status: StatusCode) -> Self {
        Self { status, body: None }
    }
}

/// An answer in place of a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// Go elsewhere.
    Redirect(Redirect),
    /// This is it.
    Direct(DirectResponse),
}

/// A share of the requests, in millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fraction(u32);

impl Fraction {
    /// All of them.
    pub const ALL: Self = Self(1_000_000);

    /// `millionths` of all; more than a million counts as all.
    #[must_use]
    pub const fn from_millionths(millionths: u32) -> Self {
        if millionths < 1_000_000 {
            Self(millionths)
        } else {
            Self::ALL
        }
    }

    /// `percent` of a hundred, cut off behind the fourth decimal as Istio does it.
    ///
    /// ```
    /// use mesh_core::policy::model::filter::Fraction;
    /// assert_eq!(Fraction::from_percent(12.5).millionths(), 125_000);
    /// assert_eq!(Fraction::from_percent(0.00005).millionths(), 0);
    /// ```
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the value is between 0 and a million"
    )]
    pub fn from_percent(percent: f64) -> Self {
        // A value such as 0.07 is a little less than it says: the digits that count are the first four decimals.
        let millionths = (percent * 10_000.0 + 1e-6).floor().clamp(0.0, 1_000_000.0);
        Self(millionths as u32)
    }

    /// Millionths of all.
    #[must_use]
    pub const fn millionths(self) -> u32 {
        self.0
    }
}

/// Errors that are made on purpose, to see how callers take them (Envoy's fault filter).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// A pause before the request goes on, for a share of the requests.
    pub delay: Option<(Duration, Fraction)>,
    /// An answer in place of the service's, for a share of the requests; drawn on its own.
    pub abort: Option<(Abort, Fraction)>,
}

/// The answer of a [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Abort {
    /// This status.
    Http(StatusCode),
    /// This gRPC status, with HTTP's 200.
    Grpc(u8),
}

/// A copy of a share of the requests, whose answer nobody waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mirror {
    /// Where the copy goes; its weight has no meaning.
    pub destination: Destination,
    /// The share.
    pub fraction: Fraction,
    /// Where it was written.
    pub origin: Origin,
}

impl Mirror {
    /// A copy of every request.
    #[must_use]
    pub const fn new(destination: Destination, origin: Origin) -> Self {
        Self {
            destination,
            fraction: Fraction::ALL,
            origin,
        }
    }
}

/// Which pages of other origins may read answers (the Fetch standard's CORS protocol).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cors {
    /// Origins that may: any of these.
    pub allow_origins: Vec<OriginMatch>,
    /// `access-control-allow-methods`.
    pub allow_methods: Vec<String>,
    /// `access-control-allow-headers`.
    pub allow_headers: Vec<String>,
    /// `access-control-expose-headers`.
    pub expose_headers: Vec<String>,
    /// `access-control-max-age`; `None` sends none.
    pub max_age: Option<Duration>,
    /// Whether pages may send cookies and the like.
    pub credentials: Credentials,
    /// What becomes of a preflight request of another origin.
    pub unmatched: UnmatchedPreflight,
}

/// An origin that [`Cors`] allows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OriginMatch {
    /// Such an origin, which the answer repeats.
    Text(StringMatch),
    /// Any: the answer says `*`, or repeats the origin where credentials are allowed (Gateway API).
    Any,
}

/// `access-control-allow-credentials`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "they are allowed or they are not")]
pub enum Credentials {
    /// The header is not sent.
    #[default]
    Omit,
    /// `true`.
    Allow,
}

/// What becomes of a preflight request whose origin is not allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnmatchedPreflight {
    /// The service answers it (Istio's default).
    #[default]
    Forward,
    /// The mesh answers 200 without CORS headers (Istio's `IGNORE`, Gateway API).
    Answer,
}

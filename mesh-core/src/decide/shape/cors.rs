//! Cross-origin requests of browsers: the Fetch standard's CORS protocol, as Envoy's filter plays the server's part.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::InvalidShape;
use crate::decide::route::string::TextMatcher;
use crate::policy::model::filter::{Cors, Credentials, OriginMatch, UnmatchedPreflight};

/// A compiled [`Cors`].
#[derive(Clone, Debug)]
pub struct CorsPolicy {
    origins: Box<[Allowed]>,
    methods: Listed,
    headers: Listed,
    expose: Option<HeaderValue>,
    max_age: Option<HeaderValue>,
    credentials: Credentials,
    unmatched: UnmatchedPreflight,
}

#[derive(Clone, Debug)]
enum Allowed {
    Any,
    Text(TextMatcher),
}

/// A list as a header has it.
#[derive(Clone, Debug)]
enum Listed {
    Nothing,
    /// `*`, which browsers do not take for requests with credentials: these get what they ask for.
    All,
    These(HeaderValue),
}

/// What CORS says of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CorsDecision {
    /// Nothing: the request goes on.
    Pass,
    /// The mesh answers 200 with these headers.
    Answer(HeaderMap),
    /// The request goes on, and its response gets these headers in place of those that it has.
    Decorate(HeaderMap),
}

impl CorsPolicy {
    /// Compiles a policy.
    ///
    /// # Errors
    ///
    /// [`InvalidShape`] for a regex that is none, and for texts that no header can have.
    pub fn compile(cors: &Cors) -> Result<Self, InvalidShape> {
        let origin = |origin: &OriginMatch| match origin {
            OriginMatch::Any => Ok(Allowed::Any),
            OriginMatch::Text(text) => TextMatcher::compile(text).map(Allowed::Text),
        };
        let expose = match Listed::compile(&cors.expose_headers)? {
            Listed::These(list) => Some(list),
            Listed::All => Some(HeaderValue::from_static("*")),
            Listed::Nothing => None,
        };
        Ok(Self {
            origins: cors.allow_origins.iter().map(origin).collect::<Result<_, _>>()?,
            methods: Listed::compile(&cors.allow_methods)?,
            headers: Listed::compile(&cors.allow_headers)?,
            expose,
            max_age: cors.max_age.map(|age| age.as_secs().into()),
            credentials: cors.credentials,
            unmatched: cors.unmatched,
        })
    }

    /// What becomes of a request.
    #[must_use]
    pub fn decide(&self, method: &Method, headers: &HeaderMap) -> CorsDecision {
        let Some(origin) = headers.get(ORIGIN) else {
            return CorsDecision::Pass;
        };
        let is_preflight = *method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        match (self.allowed(origin), is_preflight, self.unmatched) {
            (Some(allowed), true, _) => CorsDecision::Answer(self.preflight(allowed, headers)),
            (Some(allowed), false, _) => CorsDecision::Decorate(self.actual(allowed)),
            (None, true, UnmatchedPreflight::Answer) => CorsDecision::Answer(HeaderMap::new()),
            (None, ..) => CorsDecision::Pass,
        }
    }

    /// What the answer says of an origin that is allowed.
    fn allowed(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        let found = self.origins.iter().find(|allowed| match allowed {
            Allowed::Any => true,
            Allowed::Text(text) => text.is_match(origin.as_bytes()),
        })?;
        Some(match (found, self.credentials) {
            (Allowed::Any, Credentials::Omit) => HeaderValue::from_static("*"),
            _ => origin.clone(),
        })
    }

    fn with_origin(&self, allowed: HeaderValue) -> HeaderMap {
        let mut answer = HeaderMap::new();
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if self.credentials == Credentials::Allow {
            answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        answer
    }

    fn preflight(&self, allowed: HeaderValue, request: &HeaderMap) -> HeaderMap {
        let mut answer = self.with_origin(allowed);
        let mut put = |name: HeaderName, list: &Listed, asked: HeaderName| {
            if let Some(value) = list.value(self.credentials, request.get(asked)) {
                answer.insert(name, value);
            }
        };
        put(
            ACCESS_CONTROL_ALLOW_METHODS,
            &self.methods,
            ACCESS_CONTROL_REQUEST_METHOD,
        );
        put(
            ACCESS_CONTROL_ALLOW_HEADERS,
            &self.headers,
            ACCESS_CONTROL_REQUEST_HEADERS,
        );
        if let Some(age) = &self.max_age {
            answer.insert(ACCESS_CONTROL_MAX_AGE, age.clone());
        }
        answer
    }

    fn actual(&self, allowed: HeaderValue) -> HeaderMap {
        let mut answer = self.with_origin(allowed);
        if let Some(expose) = &self.expose {
            answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
        answer
    }
}

impl Listed {
    fn compile(names: &[String]) -> Result<Self, InvalidShape> {
        match names {
            [] => Ok(Self::Nothing),
            [all] if all == "*" => Ok(Self::All),
            names => {
                let list = names.join(",");
                HeaderValue::from_str(&list)
                    .map(Self::These)
                    .map_err(|_| InvalidShape::Value(list))
            }
        }
    }

    fn value(&self, credentials: Credentials, asked: Option<&HeaderValue>) -> Option<HeaderValue> {
        match (self, credentials) {
            (Self::Nothing, _) => None,
            (Self::These(list), _) => Some(list.clone()),
            (Self::All, Credentials::Allow) => asked.cloned(),
            (Self::All, Credentials::Omit) => Some(HeaderValue::from_static("*")),
        }
    }
}

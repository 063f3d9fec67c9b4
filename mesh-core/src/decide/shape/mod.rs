//! What a route does to a request and its response, beside choosing where the request goes.
//!
//! A [`Shape`] belongs to a rule: an answer in place of a destination, faults, mirrors, CORS. An [`Edit`] belongs to one
//! choice of the rule's split, as header changes and rewrites may differ by destination. Both are compiled with the
//! snapshot: what a request costs is the work itself. A rule that shapes nothing has neither.

mod cors;
mod fault;
mod headers;
mod path;
mod redirect;
#[cfg(test)]
mod tests;

use http::uri::Authority;
use http::{HeaderValue, StatusCode};
use thiserror::Error;

pub use cors::{CorsDecision, CorsPolicy};
pub use fault::{FaultDraw, draw_fault, hits};
pub(crate) use headers::is_fixed;
pub use headers::{HeaderChange, HeaderEdit, Variables};
pub use path::PathRewriter;
pub use redirect::{Redirector, location};

use super::route::string::InvalidMatch;
use crate::policy::model::filter::{Answer, DirectResponse, Fault, Fraction, HeaderOrder, HeaderRules, Rewrite};
use crate::policy::model::route::{Destination, RouteMatch, RouteRule};

/// Why a rule's filters do not compile.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidShape {
    /// A regex of a rewrite or an origin.
    #[error(transparent)]
    Match(#[from] InvalidMatch),
    /// A header that frames the message or belongs to one connection.
    #[error("header `{0}` cannot be changed: it says how the message is framed or routed")]
    Header(String),
    /// A text that no header can have.
    #[error("`{0}` cannot be the value of a header")]
    Value(String),
    /// A substitution that refers to a group which the regex does not have.
    #[error("substitution `{substitution}` refers to group {group}, and the regex has {groups}")]
    #[non_exhaustive]
    Group {
        /// The substitution.
        substitution: String,
        /// The group.
        group: usize,
        /// How many groups the regex has.
        groups: usize,
    },
}

/// What a rule does beside forwarding.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Shape {
    /// An answer in place of a destination.
    pub answer: Option<LocalAnswer>,
    /// Errors that are made on purpose.
    pub fault: Option<Fault>,
    /// Copies: the target's index in the snapshot, and the share.
    pub mirrors: Box<[(usize, Fraction)]>,
    /// Who may read answers from pages of other origins.
    pub cors: Option<CorsPolicy>,
}

/// An answer that the mesh gives itself, with the changes to its headers.
#[derive(Debug)]
#[non_exhaustive]
pub struct LocalAnswer {
    /// The answer.
    pub kind: LocalAnswerKind,
    /// Changes to its headers.
    pub response: HeaderEdit,
}

/// What kind of answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum LocalAnswerKind {
    /// Go elsewhere.
    Redirect(Redirector),
    /// This is it.
    Direct(DirectResponse),
}

impl LocalAnswerKind {
    /// The status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Redirect(redirect) => redirect.status(),
            Self::Direct(direct) => direct.status,
        }
    }
}

impl Shape {
    /// Compiles what a rule does to the requests of one of its matches; `None` where it only forwards. `mirrors` are the
    /// targets of the rule's mirrors, by their index in the snapshot.
    ///
    /// # Errors
    ///
    /// [`InvalidShape`] for what no dialect lets through, and for headers that frame a message.
    pub fn compile(
        rule: &RouteRule,
        conditions: &RouteMatch,
        mirrors: Box<[(usize, Fraction)]>,
    ) -> Result<Option<Self>, InvalidShape> {
        let answer = rule.answer.as_ref();
        let answer = answer.map(|answer| local_answer(answer, &rule.headers, conditions));
        let shape = Self {
            answer: answer.transpose()?,
            fault: rule.fault.clone(),
            mirrors,
            cors: rule.cors.as_ref().map(CorsPolicy::compile).transpose()?,
        };
        Ok(shape.does_something().then_some(shape))
    }

    fn does_something(&self) -> bool {
        self.answer.is_some() || self.fault.is_some() || self.cors.is_some() || !self.mirrors.is_empty()
    }
}

fn local_answer(answer: &Answer, headers: &HeaderRules, conditions: &RouteMatch) -> Result<LocalAnswer, InvalidShape> {
    let kind = match answer {
        Answer::Redirect(redirect) => LocalAnswerKind::Redirect(Redirector::compile(redirect, conditions)?),
        Answer::Direct(direct) => LocalAnswerKind::Direct(direct.clone()),
    };
    let response = HeaderEdit::compile([&headers.response])?;
    Ok(LocalAnswer { kind, response })
}

/// What a rule and one of its destinations rewrite together: the rule's authority counts before the destination's (Istio),
/// the destination's path before the rule's.
fn rewrite(rule: &RouteRule, to: &Destination) -> Rewrite {
    let of_rule = rule.rewrite.clone().unwrap_or_default();
    let of_destination = to.rewrite.clone().unwrap_or_default();
    Rewrite {
        authority: of_rule.authority.or(of_destination.authority),
        path: of_destination.path.or(of_rule.path),
    }
}

/// The authority that a service sees in place of the request's, ready to be put into requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAuthority {
    uri: Authority,
    header: HeaderValue,
}

impl NewAuthority {
    fn compile(text: &str) -> Result<Self, InvalidShape> {
        let invalid = || InvalidShape::Value(text.into());
        Ok(Self {
            uri: Authority::try_from(text).map_err(|_| invalid())?,
            header: HeaderValue::from_str(text).map_err(|_| invalid())?,
        })
    }

    /// As part of a URI.
    #[must_use]
    pub const fn uri(&self) -> &Authority {
        &self.uri
    }

    /// As the value of `host`.
    #[must_use]
    pub const fn header(&self) -> &HeaderValue {
        &self.header
    }
}

/// What one choice of a rule does to requests and responses.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Edit {
    /// The authority that the service sees.
    pub authority: Option<NewAuthority>,
    /// The path that it sees.
    pub path: Option<PathRewriter>,
    /// Changes to the headers of the request.
    pub request: HeaderEdit,
    /// Changes to the headers of the response.
    pub response: HeaderEdit,
}

impl Edit {
    /// Compiles what a rule and one of its destinations change together; `None` where they change nothing.
    ///
    /// # Errors
    ///
    /// As for [`Shape::compile`].
    pub fn compile(rule: &RouteRule, to: &Destination, conditions: &RouteMatch) -> Result<Option<Self>, InvalidShape> {
        let rewrite = rewrite(rule, to);
        let (first, last) = match rule.header_order {
            HeaderOrder::DestinationLast => return Self::joined(rule, to, &rewrite, conditions),
            HeaderOrder::RuleLast => (&to.headers, &rule.headers),
        };
        let request = HeaderEdit::compile([&first.request])?.then(HeaderEdit::compile([&last.request])?);
        let response = HeaderEdit::compile([&first.response])?.then(HeaderEdit::compile([&last.response])?);
        Self::with(&rewrite, conditions, request, response)
    }

    /// Removals of both first, then what the rule sets and adds, then what the destination does.
    fn joined(
        rule: &RouteRule,
        to: &Destination,
        rewrite: &Rewrite,
        conditions: &RouteMatch,
    ) -> Result<Option<Self>, InvalidShape> {
        let request = HeaderEdit::compile([&rule.headers.request, &to.headers.request])?;
        let response = HeaderEdit::compile([&rule.headers.response, &to.headers.response])?;
        Self::with(rewrite, conditions, request, response)
    }

    fn with(
        rewrite: &Rewrite,
        conditions: &RouteMatch,
        request: HeaderEdit,
        response: HeaderEdit,
    ) -> Result<Option<Self>, InvalidShape> {
        let path = rewrite.path.as_ref();
        let authority = rewrite.authority.as_deref();
        let edit = Self {
            authority: authority.map(NewAuthority::compile).transpose()?,
            path: path.map(|path| PathRewriter::compile(path, conditions)).transpose()?,
            request,
            response,
        };
        Ok(edit.does_something().then_some(edit))
    }

    fn does_something(&self) -> bool {
        self.authority.is_some() || self.path.is_some() || !self.request.is_empty() || !self.response.is_empty()
    }
}

//! Conditions of route classes, which nest.

use http::Method;

use super::matcher::MatchError;
use super::string::TextMatcher;
use crate::policy::model::profile::RequestCondition;
use crate::policy::model::route::{PathCase, StringMatch};
use crate::request::RequestView;

/// A compiled [`RequestCondition`].
#[derive(Debug)]
pub(super) enum CompiledCondition {
    Method(Method),
    Path(TextMatcher),
    All(Box<[Self]>),
    Any(Box<[Self]>),
    Not(Box<Self>),
}

impl CompiledCondition {
    pub(super) fn new(condition: &RequestCondition) -> Result<Self, MatchError> {
        let all = |conditions: &[RequestCondition]| conditions.iter().map(Self::new).collect::<Result<_, _>>();
        Ok(match condition {
            RequestCondition::Method(method) => Self::Method(method.clone()),
            RequestCondition::Path(regex) => {
                let regex = StringMatch::Regex(regex.clone());
                Self::Path(TextMatcher::path(&regex, PathCase::Sensitive)?)
            }
            RequestCondition::All(conditions) => Self::All(all(conditions)?),
            RequestCondition::Any(conditions) => Self::Any(all(conditions)?),
            RequestCondition::Not(condition) => Self::Not(Box::new(Self::new(condition)?)),
        })
    }

    pub(super) fn holds(&self, request: &RequestView<'_>) -> bool {
        match self {
            Self::Method(method) => method == request.method,
            Self::Path(path) => path.is_match(request.path.as_bytes()),
            Self::All(all) => all.iter().all(|one| one.holds(request)),
            Self::Any(any) => any.iter().any(|one| one.holds(request)),
            Self::Not(not) => !not.holds(request),
        }
    }
}

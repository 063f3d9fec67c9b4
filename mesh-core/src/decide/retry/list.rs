//! `retryOn` as policies write it: `5xx,reset,503`.

use std::fmt;
use std::str::FromStr;

use http::StatusCode;

use super::condition::row_of;
use super::{CONDITIONS, default_conditions};
use crate::policy::diagnostic::nearest;
use crate::policy::model::traffic::{RetryCondition, RetryOn};

/// Why a text is no list of retry conditions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RetryOnError {
    /// Nothing between two commas.
    #[error("empty retry condition, expected conditions separated by single commas")]
    Empty,
    /// Blanks around a condition. Istio refuses them too.
    #[error("retry condition `{0}` has blanks around it")]
    Blank(String),
    /// A number that is no status code.
    #[error("`{0}` is not an HTTP status code")]
    Status(String),
    /// No condition at all.
    #[error("unknown retry condition `{0}`")]
    Unknown(String),
}

impl RetryOnError {
    /// What to write instead, where there is something to say.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Empty => None,
            Self::Blank(token) => Some(format!("write `{}`", token.trim())),
            Self::Status(_) => Some("status codes are numbers such as 503".into()),
            Self::Unknown(token) => Some(
                nearest(token, CONDITIONS.iter().map(|row| row.name))
                    .map_or_else(known_names, |name| format!("did you mean `{name}`?")),
            ),
        }
    }
}

fn known_names() -> String {
    let names: Vec<&str> = CONDITIONS.iter().map(|row| row.name).collect();
    format!("expected status codes or some of {}", names.join(", "))
}

/// Reads a comma list of conditions and status codes. The empty text is Istio's default list.
impl FromStr for RetryOn {
    type Err = RetryOnError;

    fn from_str(text: &str) -> Result<Self, RetryOnError> {
        if text.is_empty() {
            return Ok(default_conditions());
        }
        let mut on = Self::default();
        for token in text.split(',') {
            on.add(token)?;
        }
        Ok(on)
    }
}

impl RetryOn {
    /// Adds a condition or a status code, as [`CONDITIONS`] and HTTP name them. What is there already is not added again.
    ///
    /// # Errors
    ///
    /// [`RetryOnError`], where it is neither.
    pub fn add(&mut self, token: &str) -> Result<(), RetryOnError> {
        if let Some(row) = CONDITIONS.iter().find(|row| row.name == token) {
            self.add_condition(row.condition);
            return Ok(());
        }
        let code = status_code(token)?;
        if !self.codes.contains(&code) {
            self.codes.push(code);
        }
        self.add_condition(RetryCondition::RetriableStatusCodes);
        Ok(())
    }

    fn add_condition(&mut self, condition: RetryCondition) {
        if !self.conditions.contains(&condition) {
            self.conditions.push(condition);
        }
    }
}

/// The status code that a token writes; for all other tokens the reason why they are none.
fn status_code(token: &str) -> Result<StatusCode, RetryOnError> {
    if token.is_empty() {
        return Err(RetryOnError::Empty);
    }
    if token.trim() != token {
        return Err(RetryOnError::Blank(token.into()));
    }
    if token.bytes().all(|byte| byte.is_ascii_digit()) {
        // Like Istio: a registered code, so that a typing error is seen.
        return StatusCode::from_bytes(token.as_bytes())
            .ok()
            .filter(|code| code.canonical_reason().is_some())
            .ok_or_else(|| RetryOnError::Status(token.into()));
    }
    Err(RetryOnError::Unknown(token.into()))
}

/// Writes the list as it is read.
impl fmt::Display for RetryOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for row in self.conditions.iter().filter_map(|condition| row_of(*condition)) {
            write!(f, "{separator}{}", row.name)?;
            separator = ",";
        }
        for code in &self.codes {
            write!(f, "{separator}{}", code.as_u16())?;
            separator = ",";
        }
        Ok(())
    }
}

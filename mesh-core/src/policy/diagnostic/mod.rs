//! What is wrong with a policy, and where: data first, text second.
//!
//! A [`Diagnostic`] has a stable [`Code`], one line of message, a [`Place`], labels at other places
//! and help. A [`Report`] collects all of a run; it renders them for people (the offending text
//! underlined), as lines for a log, and as JSON for programs ([`Report::json`]). All three say the
//! same, in the order of the files.
//!
//! ```
//! use mesh_core::policy::diagnostic::{Code, Diagnostic, Paint, Report};
//! use mesh_core::policy::source::{SourceSpan, Sources};
//!
//! let mut sources = Sources::new();
//! let file = sources.add("shop.yaml", "retrys: 3\n");
//! let mut report = Report::new();
//! report.push(
//!     Diagnostic::new(Code::UNKNOWN_FIELD, SourceSpan::new(file, 0, 6), "unknown field `retrys`")
//!         .with_help("did you mean `retries`?"),
//! );
//!
//! assert_eq!(report.lines(&sources), ["shop.yaml:1:1: error[MESH0101]: unknown field `retrys`"]);
//! assert_eq!(
//!     report.render(&sources, Paint::Plain),
//!     "\
//! error[MESH0101]: unknown field `retrys`
//!  --> shop.yaml:1:1
//!   |
//! 1 | retrys: 3
//!   | ^^^^^^
//!   |
//!   = help: did you mean `retries`?
//! "
//! );
//! ```

use std::fmt;
use std::sync::Arc;

use super::source::{Origin, SourceSpan};

mod code;
mod json;
mod nearest;
mod render;
mod report;

pub use code::Code;
pub use json::{JsonDiagnostic, JsonFix, JsonLabel, JsonPlace, JsonReport};
pub(in crate::policy) use nearest::HELPED;
pub use nearest::nearest;
pub use render::Paint;
pub use report::Report;

/// How bad it is. The set is complete: what needs neither a change nor attention is not said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The policy is refused.
    Error,
    /// The policy loads; somebody should look at this.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// Where something is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// In no file.
    #[default]
    Nowhere,
    /// A file or directory as a whole.
    Path(Arc<str>),
    /// A range of a file.
    Span(SourceSpan),
    /// The beginning of an item of the model.
    Origin(Origin),
}

impl From<SourceSpan> for Place {
    fn from(span: SourceSpan) -> Self {
        Self::Span(span)
    }
}

impl From<Origin> for Place {
    fn from(origin: Origin) -> Self {
        if origin.line == 0 {
            Self::Nowhere
        } else {
            Self::Origin(origin)
        }
    }
}

impl From<&Origin> for Place {
    fn from(origin: &Origin) -> Self {
        origin.clone().into()
    }
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostic {
    /// Which kind of problem.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// What was found and what was expected: one line, lower case, user text in backticks.
    pub message: String,
    /// Where.
    pub place: Place,
    /// Other places that matter, each with a remark.
    pub labels: Vec<(Place, String)>,
    /// What to do about it.
    pub help: Option<String>,
    /// A change that a program can make.
    pub fix: Option<Fix>,
}

/// A change that most likely is what was meant: a word of a file becomes another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fix {
    /// The word, its quotation marks included.
    pub span: SourceSpan,
    /// The word in its place, without quotation marks: they stay.
    pub replacement: String,
}

impl Diagnostic {
    /// A problem of this kind, as severe as its code is.
    ///
    /// Control characters in texts are escaped: a message is always one line.
    #[must_use]
    pub fn new(code: Code, place: impl Into<Place>, message: impl AsRef<str>) -> Self {
        Self {
            code,
            severity: code.severity(),
            message: one_line(message.as_ref()),
            place: place.into(),
            labels: Vec::new(),
            help: None,
            fix: None,
        }
    }

    /// Adds a remark at another place.
    #[must_use]
    pub fn with_label(mut self, place: impl Into<Place>, text: impl AsRef<str>) -> Self {
        self.labels.push((place.into(), one_line(text.as_ref())));
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn with_help(mut self, help: impl AsRef<str>) -> Self {
        self.help = Some(one_line(help.as_ref()));
        self
    }

    /// Asks whether another word was meant; where the word stands at the place itself, programs can put it there.
    #[must_use]
    pub fn did_you_mean(mut self, word: &str) -> Self {
        if let Place::Span(span) = self.place {
            self.fix = Some(Fix {
                span,
                replacement: word.into(),
            });
        }
        self.with_help(format!("did you mean `{word}`?"))
    }
}

/// The longest user text that a message repeats, in characters.
const QUOTED_LENGTH: usize = 60;

/// A user's text for a message: in backticks, escaped, and cut where it is long.
#[must_use]
pub fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED_LENGTH) {
        None => format!("`{}`", one_line(text)),
        Some((end, _)) => format!("`{}…`", one_line(text.get(..end).unwrap_or(""))),
    }
}

/// The names as a sentence lists them: `` `a`, `b` or `c` ``.
#[must_use]
pub fn listed(names: &[&str]) -> String {
    match names.split_last() {
        None => "nothing".into(),
        Some((last, [])) => quoted(last),
        Some((last, rest)) => {
            let rest: Vec<String> = rest.iter().map(|name| quoted(name)).collect();
            format!("{} or {}", rest.join(", "), quoted(last))
        }
    }
}

fn one_line(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.into();
    }
    let escaped = |c: char| {
        if c.is_control() {
            c.escape_default().to_string()
        } else {
            c.to_string()
        }
    };
    text.chars().map(escaped).collect()
}

#[cfg(test)]
mod examples;
#[cfg(test)]
mod tests;

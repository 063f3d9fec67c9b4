//! All problems of a run.

use std::sync::Arc;

use super::{Code, Diagnostic, JsonDiagnostic, JsonReport, Paint, Place, Severity, render};
use crate::policy::source::{FileId, Sources};

/// Diagnostics that a report keeps; the ones after it are only counted.
const KEPT: usize = 1000;

/// Collects diagnostics and gives them out in the order of the files, whatever order they came in.
#[derive(Clone, Debug, Default)]
pub struct Report {
    kept: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
    /// Warnings that keep a service from starting, and were only counted.
    deferred: usize,
}

impl Report {
    /// Nothing is wrong yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            kept: Vec::new(),
            errors: 0,
            warnings: 0,
            deferred: 0,
        }
    }

    /// Adds a problem, once: what is in the report already (an alias was read twice) is left out.
    ///
    /// After the first thousand problems are only counted.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if self.kept.len() >= KEPT {
            self.deferred += usize::from(is_deferred(&diagnostic));
            self.count(diagnostic.severity);
        } else if !self.kept.contains(&diagnostic) {
            self.count(diagnostic.severity);
            self.kept.push(diagnostic);
        }
    }

    const fn count(&mut self, severity: Severity) {
        match severity {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
        }
    }

    /// How many problems are kept: a mark for [`retract`](Self::retract).
    pub(in crate::policy) const fn mark(&self) -> usize {
        self.kept.len()
    }

    /// Takes back the warnings with this code that were added after the mark.
    pub(in crate::policy) fn retract(&mut self, mark: usize, code: Code) {
        let before = self.kept.len();
        let mut index = 0..;
        let is_taken = |one: &Diagnostic| one.code == code && one.severity == Severity::Warning;
        self.kept
            .retain(|one| index.next().is_none_or(|index: usize| index < mark) || !is_taken(one));
        self.warnings -= before - self.kept.len();
    }

    /// Adds the problems of another report.
    pub fn append(&mut self, other: Self) {
        let kept = other.kept.len();
        let errors = other.kept.iter().filter(|one| one.severity == Severity::Error).count();
        self.errors += other.errors - errors;
        self.warnings += other.warnings - (kept - errors);
        self.deferred += other.deferred;
        other.kept.into_iter().for_each(|diagnostic| self.push(diagnostic));
    }

    /// How many errors there are.
    #[must_use]
    pub const fn errors(&self) -> usize {
        self.errors
    }

    /// How many warnings there are.
    #[must_use]
    pub const fn warnings(&self) -> usize {
        self.warnings
    }

    /// Whether the policy is refused.
    #[must_use]
    pub const fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Whether something is not yet in force, or nothing is: the policy can be checked, and no service starts with it.
    #[must_use]
    pub fn has_deferred(&self) -> bool {
        self.deferred > 0 || self.kept.iter().any(is_deferred)
    }

    /// Makes errors of what is not yet in force, as a service does that is to start with the policy.
    pub fn refuse_deferred(&mut self) {
        let mut refused = std::mem::take(&mut self.deferred);
        for diagnostic in self.kept.iter_mut().filter(|one| is_deferred(one)) {
            diagnostic.severity = Severity::Error;
            refused += 1;
        }
        self.errors += refused;
        self.warnings -= refused;
    }

    /// Makes errors of all warnings (`mesh check --deny warnings`).
    pub fn deny_warnings(&mut self) {
        for diagnostic in &mut self.kept {
            diagnostic.severity = Severity::Error;
        }
        self.errors += self.warnings;
        (self.warnings, self.deferred) = (0, 0);
    }

    /// Whether nothing at all was found.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.errors == 0 && self.warnings == 0
    }

    /// The problems in the order of files and positions; problems without a position come first.
    #[must_use]
    pub fn sorted(&self, sources: &Sources) -> Vec<&Diagnostic> {
        let mut sorted: Vec<&Diagnostic> = self.kept.iter().collect();
        sorted.sort_by_cached_key(|diagnostic| order(diagnostic, sources));
        sorted
    }

    /// For people: each problem with the text it is about, underlined.
    #[must_use]
    pub fn render(&self, sources: &Sources, paint: Paint) -> String {
        let mut text = String::new();
        for (index, diagnostic) in self.sorted(sources).into_iter().enumerate() {
            text.push_str(if index == 0 { "" } else { "\n" });
            text.push_str(&render::human(diagnostic, sources, paint));
        }
        if let Some(omitted) = self.omitted() {
            text.push_str(&format!("\n{omitted}\n"));
        }
        text
    }

    /// For logs: one line a problem, `file:line:column: error[MESH0101]: message`.
    #[must_use]
    pub fn lines(&self, sources: &Sources) -> Vec<String> {
        let lines = self
            .sorted(sources)
            .into_iter()
            .map(|diagnostic| render::line(diagnostic, sources));
        lines.chain(self.omitted()).collect()
    }

    /// For programs: what `mesh check -o json` prints.
    #[must_use]
    pub fn json(&self, sources: &Sources) -> JsonReport {
        JsonReport {
            errors: self.errors,
            warnings: self.warnings,
            diagnostics: self
                .sorted(sources)
                .into_iter()
                .map(|one| JsonDiagnostic::new(one, sources))
                .collect(),
        }
    }

    /// How many there are, such as `2 errors, 1 warning`.
    #[must_use]
    pub fn summary(&self) -> String {
        let plural = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        match (self.errors, self.warnings) {
            (errors, 0) => plural(errors, "error"),
            (0, warnings) => plural(warnings, "warning"),
            (errors, warnings) => format!("{}, {}", plural(errors, "error"), plural(warnings, "warning")),
        }
    }

    fn omitted(&self) -> Option<String> {
        let omitted = self.errors + self.warnings - self.kept.len();
        (omitted > 0).then(|| format!("… and {omitted} more problems"))
    }
}

fn is_deferred(diagnostic: &Diagnostic) -> bool {
    let is_one = [Code::NOT_YET_IN_FORCE, Code::NOTHING_CONFIGURED].contains(&diagnostic.code);
    is_one && diagnostic.severity == Severity::Warning
}

/// Where a diagnostic stands in the report: by file, then by position.
fn order(diagnostic: &Diagnostic, sources: &Sources) -> (Option<FileId>, Option<Arc<str>>, u32) {
    match &diagnostic.place {
        Place::Nowhere => (None, None, 0),
        Place::Path(path) => {
            let file = sources.iter().find(|(_, file)| file.name() == path).map(|(id, _)| id);
            (file, Some(path.clone()), 0)
        }
        Place::Span(span) => (Some(span.file), None, span.start),
        Place::Origin(origin) => match sources.span_at(origin) {
            Some(span) => (Some(span.file), None, span.start),
            None => (None, Some(origin.file.clone()), origin.line),
        },
    }
}

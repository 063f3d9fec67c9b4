//! Something that is measured one iteration at a time.

use std::fmt;

/// Runs a number of iterations.
pub type Work = Box<dyn FnMut(u64)>;

/// Something to measure.
pub struct Case {
    /// What it is called, everywhere.
    pub name: String,
    /// How often it runs in the shorter of two runs.
    pub iterations: u64,
    /// Makes what one iteration needs.
    pub prepare: Box<dyn Fn() -> Work>,
}

impl Case {
    /// A case that `prepare` makes ready.
    pub fn new(name: impl Into<String>, iterations: u64, prepare: impl Fn() -> Work + 'static) -> Self {
        Self {
            name: name.into(),
            iterations,
            prepare: Box::new(prepare),
        }
    }

    /// The number at the end of its name, where it has one: of rules, or endpoints.
    #[must_use]
    pub fn size(&self) -> Option<(&str, usize)> {
        let (of, size) = self.name.rsplit_once('_')?;
        Some((of, size.parse().ok()?))
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).finish_non_exhaustive()
    }
}

//! Source texts and positions in them.

use std::fmt;
use std::sync::Arc;

/// Where an item of a policy was written: what errors, logs and `mesh explain` show.
///
/// Lines and columns count from 1. The default, line 0, stands for what no file says.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The file, as it was named to the loader.
    pub file: Arc<str>,
    /// The line, from 1; 0 where no file says it.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return f.write_str("built in");
        }
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

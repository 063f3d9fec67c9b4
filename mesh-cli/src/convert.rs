//! `mesh convert`: policies of any dialect in the native one; `mesh schema`: what that one takes.

use mesh_core::policy::convert::{self, Tree};
use serde_saphyr::SerializerOptions;

use crate::args::{ConvertArguments, Dialect};
use crate::policy::PolicyText;
use crate::terminal::Terminal;
use crate::{Exit, Failure};

/// Prints the policies; what is to be said about them goes to the standard error.
///
/// # Errors
///
/// Where the policy or the answer cannot be read or written.
pub(crate) fn run(arguments: &ConvertArguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let text = PolicyText::read(&arguments.paths)?;
    for remark in &text.remarks {
        terminal.warn(remark);
    }
    terminal.remark(&text.render(terminal.err));
    let Dialect::Native = arguments.to;
    let Some(documents) = text.native() else {
        return Ok(Exit::Bad);
    };
    if documents.is_empty() {
        terminal.complain(NOTHING_LEFT);
        return Ok(Exit::Bad);
    }
    terminal.answer(&printed(&documents)?)?;
    Ok(Exit::Good)
}

/// An empty text is no policy: who converts a file into one would notice when it is loaded, at the earliest.
const NOTHING_LEFT: &str = "nothing is left to print: what these files say is left out, as the warnings tell, or holds without them. \
                            Give all files of a policy together";

/// YAML of one or more documents.
fn printed(documents: &[Tree]) -> Result<String, Failure> {
    let mut options = SerializerOptions::default();
    // A path or a regex is one line, however long.
    options.prefer_block_scalars = false;
    let texts = documents
        .iter()
        .map(|document| serde_saphyr::to_string_with_options(document, options.clone()));
    Ok(texts.collect::<Result<Vec<_>, _>>()?.join("---\n"))
}

/// Prints the schema.
///
/// # Errors
///
/// Where it cannot be written.
pub(crate) fn schema(terminal: &Terminal) -> Result<Exit, Failure> {
    terminal.json(&convert::schema())?;
    Ok(Exit::Good)
}

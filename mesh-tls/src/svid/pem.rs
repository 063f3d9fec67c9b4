//! What is wrong with a PEM text.

use mesh_core::policy::diagnostic::quoted;
use rustls::pki_types::pem::Error;

/// An error of the parser, which shows names as the numbers of their bytes. The text itself may hold a key: of that nothing
/// is repeated.
pub(crate) fn problem(error: &Error) -> String {
    match error {
        Error::MissingSectionEnd { end_marker } => {
            let name = quoted(&String::from_utf8_lossy(end_marker));
            format!("the section {name} has no end, as where the text is cut off")
        }
        Error::IllegalSectionStart { .. } => "a line that begins with `-----BEGIN` has to end with `-----`".into(),
        other => other.to_string(),
    }
}

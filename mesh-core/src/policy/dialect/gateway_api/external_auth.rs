//! The `ExternalAuth` filter: read and checked, and not yet in force.

use super::backend::bare;
use super::values::{contradiction, text_within};
use super::{NOT_YET, Scope};
use crate::policy::diagnostic::{Diagnostic, quoted};
use crate::policy::reader::{Reader, choice};
use crate::policy::source::Node;

/// The longest path.
const PATH_LENGTH: usize = 1024;

/// What is spoken with the server that decides.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http,
    Grpc,
}

/// Reads the `ExternalAuth` filter, which is not in force.
pub(super) fn external_auth(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<()> {
    let mut fields = cx.mapping(node)?;
    let protocol = fields.required(
        "protocol",
        choice(&[("HTTP", Protocol::Http), ("GRPC", Protocol::Grpc)]),
    );
    fields.required("backendRef", |cx, node| bare(cx, node, scope));
    for (name, wanted) in [("http", Protocol::Http), ("grpc", Protocol::Grpc)] {
        let Some((key, _)) = fields.entry(name) else { continue };
        if protocol.is_some_and(|protocol| protocol != wanted) {
            contradiction(cx, key.span, format!("`{name}` does not belong to this `protocol`"));
        }
        fields.optional(name, auth_settings);
    }
    fields.optional("forwardBody", |cx, node| {
        let mut fields = cx.mapping(node)?;
        fields.optional("maxSize", Reader::u16);
        fields.finish();
        Some(())
    });
    fields.finish();
    let message = format!("filter `ExternalAuth` is {}: no other server is asked", NOT_YET.title());
    cx.report(Diagnostic::new(NOT_YET, node.span, message));
    Some(())
}

fn auth_settings(cx: &Reader<'_>, node: &Node) -> Option<()> {
    let mut fields = cx.mapping(node)?;
    fields.optional("path", |cx, node| {
        let text = text_within(PATH_LENGTH)(cx, node)?;
        let is_path = text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "/-._~!$&'()*+,;=:@%".contains(c));
        if is_path {
            return Some(());
        }
        cx.invalid(node, format!("expected a path, found {}", quoted(text)))
    });
    fields.list("allowedHeaders", super::names::header);
    fields.list("allowedResponseHeaders", super::names::header);
    fields.finish();
    Some(())
}

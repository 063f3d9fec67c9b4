//! Dialects: what users write, lowered into the model.
//!
//! A dialect is one row of [`DIALECTS`]: which objects it knows by `apiVersion` and `kind`, and a
//! function that reads one of them and adds to the [`Policy`]. Native documents have neither; they
//! are recognised by their top-level keys ([`native`]). What is said of the objects that usually stand
//! beside these, and of those that a later version reads, is in one table as well (`beside`).

use super::diagnostic::{Code, Diagnostic};
use super::model::{Meta, Policy};
use super::reader::{Reader, Spelling};
use super::source::{Node, SourceSpan};

mod authorizer_values;
pub(super) mod beside;
pub mod cilium;
pub(super) mod envelope;
mod filter_values;
pub mod gateway_api;
mod header_text;
pub mod istio;
pub mod kubernetes;
pub mod linkerd;
mod names;
pub mod native;
mod path_template;
mod pattern;
mod quantity;
pub mod smi;
mod values;

/// An object with an envelope: `apiVersion`, `kind`, `metadata`, `spec`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Object<'n> {
    /// `group/version`.
    pub api_version: &'n str,
    /// The kind.
    pub kind: &'n str,
    /// Name, namespace, time and place; already checked.
    pub meta: Meta,
    /// `spec`, where the object has one that is not null.
    pub spec: Option<&'n Node>,
    /// The whole document.
    pub node: &'n Node,
}

/// A dialect of objects with an envelope.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Dialect {
    /// Its name, for messages.
    pub name: &'static str,
    /// How the fields of its objects may be written.
    pub spelling: Spelling,
    /// Whether it knows objects of this `apiVersion` and `kind`.
    pub knows: fn(api_version: &str, kind: &str) -> bool,
    /// Whether such an object sets the mesh's settings, which are read before all others.
    pub is_settings: fn(kind: &str) -> bool,
    /// Reads an object into the policy; problems go into the reader's report.
    pub lower: fn(&Reader<'_>, &Object<'_>, &mut Policy),
}

/// All dialects of objects with an envelope.
pub const DIALECTS: &[Dialect] = &[
    istio::DIALECT,
    gateway_api::DIALECT,
    linkerd::DIALECT,
    smi::DIALECT,
    kubernetes::DIALECT,
    cilium::DIALECT,
];

/// The [`order`] of objects that look at services.
pub(super) const AFTER_SERVICES: u8 = 2;

/// What is made of other objects is read after them: services of endpoints and pods, splits of services.
pub(super) fn order(object: &Object<'_>) -> u8 {
    match object.kind {
        "Service" => 1,
        "TrafficSplit" | "TrafficTarget" => AFTER_SERVICES,
        _ => 0,
    }
}

/// The dialect that knows such objects.
pub(super) fn find(api_version: &str, kind: &str) -> Option<&'static Dialect> {
    DIALECTS.iter().find(|dialect| (dialect.knows)(api_version, kind))
}

/// Where the kind is written.
fn kind_span(object: &Object<'_>) -> SourceSpan {
    object.node.get("kind").unwrap_or(object.node).span
}

/// The object's `spec`, which must be given.
fn required_spec<'n>(cx: &Reader<'_>, object: &Object<'n>) -> Option<&'n Node> {
    if object.spec.is_none() {
        let message = "missing field `spec`";
        cx.report(Diagnostic::new(Code::MISSING_FIELD, object.node.span, message));
    }
    object.spec
}

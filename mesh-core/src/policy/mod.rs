//! Text → [`Policy`](model::Policy): documents with spans, dialects, one model, and every problem found on the way.
//!
//! [`load`] does all of it for a set of files, which is one transaction: [`source`] reads texts,
//! [`dialect`] lowers documents into the [`model`], [`check()`](check::check) looks across them, and everything that
//! is wrong goes into one [`Report`](diagnostic::Report). A set with an error gives no policy. [`seen`] holds a policy
//! against callers that were seen.

pub mod check;
pub mod convert;
pub mod diagnostic;
pub mod dialect;
mod ledger;
mod load;
mod loader;
pub mod model;
pub mod reader;
pub mod seen;
pub mod source;

pub use load::{Loaded, load};
pub use loader::Loader;

#[cfg(test)]
mod tests;

//! Text → [`Policy`](model::Policy): documents with spans, dialects, one model, and every problem found on the way.

pub mod check;
pub mod diagnostic;
pub mod dialect;
pub mod model;
pub mod reader;
pub mod source;

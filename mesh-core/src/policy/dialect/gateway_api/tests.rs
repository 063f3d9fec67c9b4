//! Documents in, model or diagnostics out.

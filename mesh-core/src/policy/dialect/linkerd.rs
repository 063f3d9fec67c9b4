//! linkerd
use super::Dialect;

/// The dialect.
pub const DIALECT: Dialect = Dialect {
    name: "linkerd",
    knows: |_, _| false,
    is_settings: |_| false,
    lower: |_, _, _| (),
};

//! smi
use super::Dialect;

/// The dialect.
pub const DIALECT: Dialect = Dialect {
    name: "smi",
    knows: |_, _| false,
    is_settings: |_| false,
    lower: |_, _, _| (),
};

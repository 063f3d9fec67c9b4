//! mesh
fn main() {}

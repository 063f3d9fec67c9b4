//! route

pub mod string;

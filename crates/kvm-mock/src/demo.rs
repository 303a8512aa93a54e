//! The two worlds that need no file.

/// `mock:///demo`.
pub(crate) const DEMO: &str = include_str!("demo.yaml");
/// `mock:///empty`.
pub(crate) const EMPTY: &str = "host: {name: empty}\n";

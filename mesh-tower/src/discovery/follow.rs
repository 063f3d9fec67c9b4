use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::{Resolve, ResolveError};

/// What is known of the names.
#[derive(Debug)]
pub(crate) enum Update<'a> {
    /// The addresses of each name that has been resolved; a name that has never been is missing.
    Addresses(&'a BTreeMap<Arc<str>, Vec<IpAddr>>),
    /// No name has ever been resolved, and this is why.
    Failed(&'a ResolveError),
}

/// Resolves `names` for ever, and reports every change and every failure before the first success, until `report` breaks.
pub(crate) async fn follow(
    resolver: Arc<dyn Resolve>,
    names: Vec<Arc<str>>,
    mut report: impl FnMut(Update<'_>) -> ControlFlow<()> + Send,
) {
    let mut known = BTreeMap::new();
    for name in names {
        match resolver.resolve(&name).await {
            Ok(answer) => drop(known.insert(name, answer.addresses)),
            Err(error) => drop(report(Update::Failed(&error))),
        }
    }
    let _ = report(Update::Addresses(&known));
}

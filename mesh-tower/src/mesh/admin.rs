//! What the admin pages tell of a mesh.

use std::sync::{Arc, PoisonError};

use serde_json::{Value, json};

use super::Shared;
use crate::admin::AdminSource;

/// The pages of a mesh.
#[derive(Debug)]
pub(super) struct Pages {
    shared: Arc<Shared>,
}

impl Pages {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl AdminSource for Pages {
    fn metrics(&self) -> String {
        self.shared.observe_identity();
        self.shared.metrics.render()
    }

    /// A mesh has had a policy since it was built; it takes requests until it is told to stop.
    fn is_ready(&self) -> bool {
        !*self.shared.stopping.borrow()
    }

    fn policy(&self) -> Value {
        let status = self
            .shared
            .status
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        serde_json::to_value(status).unwrap_or_else(|error| json!({ "error": error.to_string() }))
    }

    fn tokens(&self) -> Value {
        self.shared.tokens.describe()
    }

    fn endpoints(&self) -> Value {
        self.shared.clusters.describe()
    }

    fn identity(&self) -> Value {
        let identity = self.shared.identity.as_ref();
        identity.map_or(Value::Null, super::identity::describe)
    }

    fn plaintext(&self) -> Value {
        let live = self.shared.live.load();
        let list = self
            .shared
            .plain_text
            .list(&live.snapshot.workload, self.shared.clock.wall());
        serde_json::to_value(list).unwrap_or_else(|error| json!({ "error": error.to_string() }))
    }
}

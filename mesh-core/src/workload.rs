//! Who we are: the workload that a snapshot is compiled for.

use crate::policy::model::Labels;

/// The process that a policy is compiled for: selectors, namespaces and short names are read from its point of view.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Workload {
    /// Its name; the `app` label or the service account where nothing else is said.
    pub name: String,
    /// Its namespace. Default `default`.
    pub namespace: String,
    /// Its service account. Default `default`.
    pub service_account: String,
    /// Its labels, which selectors look at.
    pub labels: Labels,
}

impl Default for Workload {
    fn default() -> Self {
        Self::new("default", "default")
    }
}

impl Workload {
    /// A workload without labels, named after its service account.
    #[must_use]
    pub fn new(namespace: impl Into<String>, service_account: impl Into<String>) -> Self {
        let service_account = service_account.into();
        Self {
            name: service_account.clone(),
            namespace: namespace.into(),
            service_account,
            labels: Labels::new(),
        }
    }

    /// Adds a label; `app` also names the workload.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        let (key, value) = (key.into(), value.into());
        if key == "app" {
            self.name.clone_from(&value);
        }
        self.labels.insert(key, value);
        self
    }

    /// A label's value.
    #[must_use]
    pub fn label_value(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_app_label_names_a_workload() {
        assert_eq!(Workload::new("shop", "orders-sa").name, "orders-sa");
        let orders = Workload::new("shop", "orders-sa")
            .label("app", "orders")
            .label("version", "v2");
        assert_eq!(orders.name, "orders");
        assert_eq!(orders.label_value("version"), Some("v2"));
        assert_eq!(orders.label_value("zone"), None);
    }
}

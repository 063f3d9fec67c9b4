//! Who this process is, from its environment.

use std::env;

use mesh_core::workload::Workload;

/// Environment variables that name this workload, which Kubernetes' downward API fills in.
const NAMESPACE: &str = "MESH_NAMESPACE";
const SERVICE_ACCOUNT: &str = "MESH_SERVICE_ACCOUNT";
const LABELS: &str = "MESH_LABELS";

/// Why the environment does not say who we are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkloadError {
    /// A variable is not UTF-8.
    #[error("environment variable `{0}` is not UTF-8")]
    NotUnicode(&'static str),
    /// An entry of `MESH_LABELS` is not `key=value`.
    #[error("`MESH_LABELS` has the entry `{0}`: expected `key=value`, separated by commas")]
    Label(String),
}

/// Reads `MESH_NAMESPACE`, `MESH_SERVICE_ACCOUNT` and `MESH_LABELS` (`app=orders,version=v2`).
///
/// What is not set is `default`, or no label.
///
/// # Errors
///
/// [`WorkloadError`], where a variable cannot be read as what it should be.
pub fn from_env() -> Result<Workload, WorkloadError> {
    from_variables(|name| match env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => Err(WorkloadError::NotUnicode(name)),
    })
}

type Variable = Result<Option<String>, WorkloadError>;

fn from_variables(read: impl Fn(&'static str) -> Variable) -> Result<Workload, WorkloadError> {
    let or_default = |value: Option<String>| {
        value
            .filter(|value| !value.is_empty())
            .unwrap_or_else(|| "default".into())
    };
    let workload = Workload::new(or_default(read(NAMESPACE)?), or_default(read(SERVICE_ACCOUNT)?));
    let labels = read(LABELS)?.unwrap_or_default();
    let entries = labels.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries.into_iter().try_fold(workload, |workload, entry| {
        let (key, value) = entry
            .split_once('=')
            .ok_or_else(|| WorkloadError::Label(entry.into()))?;
        Ok(workload.label(key.trim(), value.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Workload, WorkloadError> {
        from_variables(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            Ok(found.map(|(_, value)| (*value).to_owned()))
        })
    }

    #[test]
    fn an_empty_environment_is_the_default_workload() {
        assert_eq!(read(&[]), Ok(Workload::default()));
        assert_eq!(read(&[(NAMESPACE, ""), (LABELS, " , ")]), Ok(Workload::default()));
    }

    #[test]
    fn labels_are_read_and_app_names_the_workload() {
        let variables = [
            (NAMESPACE, "shop"),
            (SERVICE_ACCOUNT, "orders-sa"),
            (LABELS, "app=orders, version = v2"),
        ];
        let expected = Workload::new("shop", "orders-sa")
            .label("app", "orders")
            .label("version", "v2");
        assert_eq!(read(&variables), Ok(expected));
    }

    #[test]
    fn an_entry_without_a_value_is_refused_in_words() {
        let error = read(&[(LABELS, "app=orders,v2")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`MESH_LABELS` has the entry `v2`: expected `key=value`, separated by commas"
        );
    }
}

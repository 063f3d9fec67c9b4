//! The external authorizers that a workload may have to ask.

use std::fmt;
use std::sync::Arc;

use crate::decide::authz::Question;
use crate::policy::model::authorizer::ExternalAuthorizer;

/// An external authorizer, and where it is.
#[derive(Debug)]
#[non_exhaustive]
pub struct AskedAuthorizer {
    /// Its name, shared with whoever tells of it.
    pub name: Arc<str>,
    /// What the policy says of it.
    pub settings: ExternalAuthorizer,
    /// The [target](super::Snapshot::target) that is called.
    pub target: usize,
}

/// Why the authorizer that a rule names cannot be asked. Then the rule denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unaskable {
    /// No file defines it.
    Undefined,
    /// Policies of the workload name several: as in Istio, it is not clear whose word counts.
    Several,
}

impl fmt::Display for Unaskable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Undefined => "no file defines it",
            Self::Several => "policies of this workload name several authorizers, and only one can be asked",
        })
    }
}

/// Whom the rules of the workload may have asked.
#[derive(Debug, Default)]
pub(super) enum External {
    /// Nobody, or nobody who is known.
    #[default]
    Unknown,
    One(Arc<AskedAuthorizer>),
    Several,
}

impl External {
    /// Looks for the authorizers that policies of a workload name; `target` finds where one is.
    pub(super) fn compile(
        names: &[Arc<str>],
        defined: &[ExternalAuthorizer],
        target: impl FnOnce(&ExternalAuthorizer) -> usize,
    ) -> Self {
        let name = match names {
            [] => return Self::Unknown,
            [name] => name,
            _ => return Self::Several,
        };
        let found = defined.iter().find(|authorizer| authorizer.meta.name == **name);
        found.map_or(Self::Unknown, |settings| {
            Self::One(Arc::new(AskedAuthorizer {
                name: Arc::clone(name),
                target: target(settings),
                settings: settings.clone(),
            }))
        })
    }

    pub(super) fn asked(&self, question: &Question<'_>) -> Result<&Arc<AskedAuthorizer>, Unaskable> {
        match self {
            Self::One(authorizer) if *authorizer.name == *question.provider() => Ok(authorizer),
            Self::One(_) | Self::Unknown => Err(Unaskable::Undefined),
            Self::Several => Err(Unaskable::Several),
        }
    }
}

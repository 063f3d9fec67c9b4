//! Routes of a service whose profile takes their place.

use crate::policy::diagnostic::{Code, Diagnostic, Report, quoted};
use crate::policy::model::Policy;
use crate::policy::model::profile::{AttachedRoutes, ServiceProfile};
use crate::policy::model::route::{Binding, RouteTable, RuleOrder};

/// Warns of routes that a profile takes the place of, for the callers that it holds for.
pub(super) fn check(policy: &Policy, report: &mut Report) {
    let of_mesh = policy
        .routes
        .iter()
        .filter(|table| table.bindings.contains(&Binding::Mesh));
    for table in of_mesh {
        for host in &table.hosts {
            let mut profiles = policy.profiles.iter().filter(|profile| profile.host == host.host);
            let Some(profile) = profiles.find(|profile| replaces(profile, table)) else {
                continue;
            };
            let name = quoted(&profile.meta.name);
            let message = format!("the `ServiceProfile` {name} takes the place of the routes of its service");
            let told = Diagnostic::new(Code::NO_EFFECT, &host.origin, message);
            report.push(told.with_label(&profile.meta.origin, "used in place of these routes"));
        }
    }
}

fn replaces(profile: &ServiceProfile, table: &RouteTable) -> bool {
    let is_attached = table.order == RuleOrder::Specific;
    !profile.overrides.is_empty() || (is_attached && profile.attached == AttachedRoutes::Replace)
}

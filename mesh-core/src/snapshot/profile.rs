//! Route classes of a service (Linkerd's `ServiceProfile`).

use std::sync::Arc;

use super::CompileError;
use super::outbound::Builder;
use crate::decide::route::{Choice, Matcher, NamedBy, Route, RouteClass, RuleList};
use crate::policy::model::Origin;
use crate::policy::model::profile::{AttachedRoutes, ProfileRoute, Retryable, ServiceProfile};
use crate::policy::model::route::Destination;
use crate::policy::model::traffic::{RetryBudget, RetryOn, RetryPolicy};

impl<'a> Builder<'a> {
    /// The profile in the caller's own namespace, else that in the service's; others hold for others.
    pub(super) fn profile(&self, host: &str) -> Option<&'a ServiceProfile> {
        let full = self.registry.full_name(host);
        let namespaces = [
            Some(self.registry.workload.namespace.as_str()),
            self.registry.namespace_of(full),
        ];
        namespaces.into_iter().flatten().find_map(|namespace| {
            let here = self.registry.profiles_of(namespace, full).into_iter();
            here.min_by_key(|profile| profile.meta.precedence())
        })
    }

    /// The budget of the service's profile, else of the profile that sends its requests there.
    pub(super) fn profile_budget(&self, full: &str) -> Option<RetryBudget> {
        if let Some(own) = self.profile(full) {
            return Some(own.budget);
        }
        let sending = self.registry.profiles_sending(full).iter();
        let in_force = sending.filter(|one| self.profile(&one.host).is_some_and(|found| std::ptr::eq(found, **one)));
        let oldest = in_force.min_by_key(|one| one.meta.precedence());
        oldest.map(|one| one.budget)
    }

    /// The rule that spreads the requests of a service over others; `None` where its profile does not.
    pub(super) fn overrides(&mut self, profile: Option<&ServiceProfile>) -> Option<Route> {
        let overrides = profile.map(|profile| profile.overrides.as_slice());
        let overrides = overrides.filter(|overrides| !overrides.is_empty())?;
        let mut choice = |to: &Destination| {
            let target = self.target(&to.host, None, to.port);
            (Choice::target(target), to.weight)
        };
        let choices = overrides.iter().map(&mut choice).collect();
        let origin = overrides
            .first()
            .map_or_else(Origin::default, |first| first.origin.clone());
        let mut route = Route::new("default".into(), origin, choices);
        route.named_by = NamedBy::Class;
        Some(route)
    }
}

/// Whether a profile takes the place of routes that attach to its service.
pub(super) fn replaces_routes(profile: Option<&ServiceProfile>) -> bool {
    profile.is_some_and(|profile| profile.attached == AttachedRoutes::Replace)
}

/// Adds the classes of a profile, in its order.
pub(super) fn add_classes(classes: &mut RuleList<RouteClass>, profile: &ServiceProfile) -> Result<(), CompileError> {
    for route in &profile.routes {
        let matcher =
            Matcher::of_class(&route.condition).map_err(|error| CompileError::matching(&route.origin, error))?;
        let mut class = RouteClass::new(route.name.as_str().into(), route.origin.clone(), route.timeout);
        class.retry = Some(Arc::new(class_retry(route)));
        classes.push([matcher], class);
    }
    Ok(())
}

/// A retryable class tries failed requests again until the budget or the timeout ends it; the number is a backstop.
fn class_retry(route: &ProfileRoute) -> RetryPolicy {
    let on = RetryOn {
        classes: Some(route.response_classes.clone()),
        ..RetryOn::default()
    };
    match route.retryable {
        Retryable::Yes => RetryPolicy::new(PROFILE_ATTEMPTS, on, route.origin.clone()),
        // An explicit no, which also switches the default retries off.
        Retryable::No => RetryPolicy::new(0, RetryOn::default(), route.origin.clone()),
    }
}

/// Linkerd sets no limit beside its budget; a single request may use at most this share of it.
const PROFILE_ATTEMPTS: u32 = 10;

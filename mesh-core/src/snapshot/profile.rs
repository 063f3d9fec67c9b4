//! Route classes of a service (Linkerd's `ServiceProfile`).

use std::sync::Arc;

use super::CompileError;
use super::outbound::Builder;
use crate::decide::route::{Matcher, RouteClass, RuleList};
use crate::policy::model::route::{ProfileRoute, Retryable, RouteMatch, ServiceProfile, StringMatch};
use crate::policy::model::traffic::{RetryCondition, RetryOn, RetryPolicy};

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
}

/// Adds the classes of a profile, in its order.
pub(super) fn add_classes(classes: &mut RuleList<RouteClass>, profile: &ServiceProfile) -> Result<(), CompileError> {
    for route in &profile.routes {
        let matcher =
            Matcher::new(&class_conditions(route)).map_err(|error| CompileError::matching(&route.origin, error))?;
        let mut class = RouteClass::new(route.name.as_str().into(), route.origin.clone(), route.timeout);
        class.retry = class_retry(route).map(Arc::new);
        classes.push([matcher], class);
    }
    Ok(())
}

fn class_conditions(route: &ProfileRoute) -> RouteMatch {
    RouteMatch {
        origin: route.origin.clone(),
        path: route.path_regex.clone().map(StringMatch::Regex),
        method: route
            .method
            .as_ref()
            .map(|method| StringMatch::Exact(method.as_str().into())),
        ..RouteMatch::default()
    }
}

/// A retryable class tries failed requests again until the budget or the timeout ends it; the number is a backstop.
fn class_retry(route: &ProfileRoute) -> Option<RetryPolicy> {
    let on = RetryOn {
        conditions: vec![RetryCondition::FiveXx],
        ..RetryOn::default()
    };
    match route.retryable {
        Retryable::Yes => Some(RetryPolicy::new(PROFILE_ATTEMPTS, on, route.origin.clone())),
        // An explicit no, which also switches the default retries off.
        Retryable::No => Some(RetryPolicy::new(0, RetryOn::default(), route.origin.clone())),
    }
}

/// Linkerd sets no limit beside its budget; a single request may use at most this share of it.
const PROFILE_ATTEMPTS: u32 = 10;

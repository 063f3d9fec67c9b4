//! External names: further names of services that documents define, else names that DNS knows.
//!
//! They are resolved once all other services are read, a name that stands for another external name after that one:
//! the order of documents decides nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::diagnostic::{Code, Diagnostic, Report, quoted};
use crate::policy::model::Policy;
use crate::policy::model::service::{Endpoint, EndpointSource, ExternalName, Location, Service};

/// Makes services, or names of services, of all external names.
pub(in crate::policy) fn resolve(policy: &mut Policy, report: &mut Report) {
    let mut waiting = std::mem::take(&mut policy.external_names);
    if waiting.is_empty() {
        return;
    }
    let mut services = Services::of(&mut policy.services);
    while !waiting.is_empty() {
        let own = waiting.iter().flat_map(|one| &one.service.hosts);
        let own: BTreeSet<String> = own.cloned().collect();
        let (blocked, ready): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|one| own.contains(&one.target));
        if ready.is_empty() {
            for one in blocked {
                report.push(endless(&one));
                services.add(external(one));
            }
            return;
        }
        ready.into_iter().for_each(|one| services.resolve(one));
        waiting = blocked;
    }
}

/// Services, and their places by each of their names.
struct Services<'p> {
    all: &'p mut Vec<Service>,
    places: BTreeMap<String, BTreeSet<usize>>,
}

impl<'p> Services<'p> {
    fn of(all: &'p mut Vec<Service>) -> Self {
        let mut places: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
        for (place, service) in all.iter().enumerate() {
            for host in &service.hosts {
                places.entry(host.clone()).or_default().insert(place);
            }
        }
        Self { all, places }
    }

    /// An external name is another name of the services that have it, or else stands for what DNS says.
    fn resolve(&mut self, one: ExternalName) {
        let Some(places) = self.places.get(&one.target).cloned() else {
            return self.add(external(one));
        };
        for place in &places {
            if let Some(service) = self.all.get_mut(*place) {
                service.hosts.extend(one.service.hosts.iter().cloned());
            }
        }
        for host in one.service.hosts {
            self.places.entry(host).or_default().extend(&places);
        }
    }

    fn add(&mut self, service: Service) {
        for host in &service.hosts {
            self.places.entry(host.clone()).or_default().insert(self.all.len());
        }
        self.all.push(service);
    }
}

/// The service of a name that no document knows.
fn external(one: ExternalName) -> Service {
    let endpoint = Endpoint {
        address: one.target,
        weight: 1,
        origin: one.origin,
        ..Endpoint::default()
    };
    Service {
        endpoints: EndpointSource::Listed(vec![endpoint].into()),
        location: Location::MeshExternal,
        ..one.service
    }
}

/// Names that stand for each other lead to no service, and no address.
fn endless(one: &ExternalName) -> Diagnostic {
    let message = format!(
        "the external name {} leads to no service: names stand for each other in a circle",
        quoted(&one.target)
    );
    let diagnostic = Diagnostic::new(Code::UNRESOLVED_REFERENCE, &one.origin, message);
    diagnostic.with_help("let one of them be the name of a service, or one that DNS knows")
}

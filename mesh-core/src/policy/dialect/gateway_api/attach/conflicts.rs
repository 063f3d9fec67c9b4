//! HTTPRoutes and GRPCRoutes of one host exclude each other: the older one has it.

use crate::decide::route::string::hosts_overlap;
use crate::policy::diagnostic::{Diagnostic, Report, quoted};
use crate::policy::model::attachment::{PendingRoute, RouteKind};
use crate::policy::model::{Meta, Origin};

use super::no_effect;

/// What was accepted at one place, such as a listener, by what it routes.
#[derive(Debug, Default)]
pub(super) struct Accepted {
    http: Vec<(Meta, Vec<String>)>,
    grpc: Vec<(Meta, Vec<String>)>,
}

impl Accepted {
    /// Accepts a route with these hosts, unless one of the other kind that came before has one of them.
    pub(super) fn accept(
        &mut self,
        route: &PendingRoute,
        hosts: Vec<String>,
        origin: &Origin,
        report: &mut Report,
    ) -> bool {
        let (own, other, kind) = match route.kind {
            RouteKind::Http => (&mut self.http, &self.grpc, RouteKind::Grpc),
            RouteKind::Grpc => (&mut self.grpc, &self.http, RouteKind::Http),
            RouteKind::Tls | RouteKind::Tcp => return true,
        };
        let shares = |taken: &[String]| {
            taken
                .iter()
                .any(|one| hosts.iter().any(|host| hosts_overlap(one, host)))
        };
        if let Some((winner, _)) = other.iter().find(|(_, taken)| shares(taken)) {
            report.push(told(route, (kind, winner), origin));
            return false;
        }
        own.push((route.table.meta.clone(), hosts));
        true
    }
}

fn told(route: &PendingRoute, (kind, winner): (RouteKind, &Meta), origin: &Origin) -> Diagnostic {
    let message = format!(
        "{} {} takes no request here: {} {} has one of its hosts already",
        route.kind.name(),
        quoted(&route.table.meta.name),
        kind.name(),
        quoted(&winner.name)
    );
    no_effect(origin, message)
        .with_label(&winner.origin, "this one is older, or first by name")
        .with_help("give routes of HTTP and of gRPC different hosts")
}

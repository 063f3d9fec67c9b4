//! HTTPRoutes and GRPCRoutes of one host exclude each other: the older one has it.

use crate::decide::route::string::hosts_overlap;
use crate::policy::diagnostic::{Diagnostic, Report, quoted};
use crate::policy::model::attachment::{PendingRoute, RouteKind};
use crate::policy::model::{Meta, Origin};

use super::no_effect;

/// What was accepted at one place, such as a listener.
#[derive(Debug, Default)]
pub(super) struct Accepted(Vec<(RouteKind, Meta, Vec<String>)>);

impl Accepted {
    /// Accepts a route with these hosts, unless one of the other kind that came before has one of them.
    pub(super) fn accept(
        &mut self,
        route: &PendingRoute,
        hosts: Vec<String>,
        origin: &Origin,
        report: &mut Report,
    ) -> bool {
        let is_other = |kind: RouteKind| {
            matches!(
                (kind, route.kind),
                (RouteKind::Http, RouteKind::Grpc) | (RouteKind::Grpc, RouteKind::Http)
            )
        };
        let shares = |own: &[String]| own.iter().any(|own| hosts.iter().any(|host| hosts_overlap(own, host)));
        let winner = self.0.iter().find(|(kind, _, own)| is_other(*kind) && shares(own));
        if let Some((kind, meta, _)) = winner {
            report.push(told(route, (*kind, meta), origin));
            return false;
        }
        self.0.push((route.kind, route.table.meta.clone(), hosts));
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

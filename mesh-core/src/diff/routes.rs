//! Where requests go, and what is done to them.

use std::collections::{BTreeMap, BTreeSet};

use http::HeaderValue;
use serde_json::{Value as Json, json};

use super::cors;
use super::facts::{Fact, Facts, between, differences, of_answer};
use super::hosts::Index;
use super::probe::{Probe, of_host};
use super::settings::word;
use super::{Area, Change, Kind, Sides};
use crate::decide::route::{RouteResult, Router};
use crate::decide::shape::CorsPolicy;
use crate::explain::{self, Outbound, Place};
use crate::policy::model::MeshSettings;
use crate::policy::model::traffic::RetryPolicy;
use crate::request::{RequestView, canonicalize};
use crate::snapshot::Snapshot;
use crate::trial::question::Asked;

/// Changes for the clients of the mesh, and at the ports of gateways.
pub(super) fn changes(sides: Sides<'_>, index: &Index<'_>) -> Vec<Change> {
    let mut changes: Vec<Change> = of_unknown_hosts(sides).into_iter().collect();
    let views = [View::Mesh].into_iter().chain(gateway_ports(sides));
    for view in views {
        let (old, new) = (view.router(sides.old.snapshot), view.router(sides.new.snapshot));
        let names = |router: Option<&Router>| -> BTreeSet<String> {
            let hosts = router.into_iter().flat_map(Router::virtual_hosts);
            hosts.map(|host| host.name.to_string()).collect()
        };
        let (old, new) = (names(old), names(new));
        for host in old.union(&new) {
            let known = (old.contains(host), new.contains(host));
            changes.extend(
                Compared {
                    sides,
                    view: &view,
                    host,
                }
                .changes(known, index),
            );
        }
    }
    changes
}

/// What becomes of requests to hosts that no policy names, where it is not the setting of the mesh that says it.
fn of_unknown_hosts(sides: Sides<'_>) -> Option<Change> {
    let facts = |mesh: &MeshSettings| Facts::from([("outbound".to_owned(), json!(word(&mesh.outbound)))]);
    let [of_mesh, of_workload] = [
        differences(&facts(&sides.old.policy.mesh), &facts(&sides.new.policy.mesh)),
        differences(&facts(&sides.old.snapshot.mesh), &facts(&sides.new.snapshot.mesh)),
    ];
    let is_news = !of_workload.is_empty() && of_workload != of_mesh;
    let subject = "hosts that no policy names".to_owned();
    is_news.then(|| Change::new(Area::Routes, Kind::Changed, subject, of_workload))
}

/// Whose routes are looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum View {
    Mesh,
    /// A gateway by its name, and one of its ports.
    Gateway(String, u16),
}

fn gateway_ports(sides: Sides<'_>) -> BTreeSet<View> {
    let gateways = [sides.old, sides.new]
        .into_iter()
        .flat_map(|side| side.snapshot.gateways.iter());
    let ports = gateways.flat_map(|gateway| gateway.ports.iter().map(move |port| (gateway, port)));
    ports
        .map(|(gateway, port)| View::Gateway(gateway.name.clone(), port.number))
        .collect()
}

impl View {
    fn router<'s>(&self, snapshot: &'s Snapshot) -> Option<&'s Router> {
        let Self::Gateway(name, number) = self else {
            return Some(&snapshot.outbound);
        };
        let gateway = snapshot.gateways.iter().find(|gateway| gateway.name == *name)?;
        let port = gateway.ports.iter().find(|port| port.number == *number)?;
        Some(&port.router)
    }

    fn gateway(&self) -> Option<&str> {
        match self {
            Self::Mesh => None,
            Self::Gateway(name, _) => Some(name),
        }
    }

    fn of(&self, host: &str) -> String {
        match self {
            Self::Mesh => host.to_owned(),
            Self::Gateway(name, port) => format!("{host} at gateway {name}:{port}"),
        }
    }
}

/// One host, seen from one place, in both policies.
struct Compared<'a> {
    sides: Sides<'a>,
    view: &'a View,
    host: &'a str,
}

/// What tells one group of requests from another: the routes on both sides, and what differs.
type Group = (Option<String>, Option<String>, String);

/// An answer, with the name of its route.
struct Answer {
    route: Option<String>,
    place: Option<Place>,
    facts: Facts,
}

impl Compared<'_> {
    fn changes(&self, known: (bool, bool), index: &Index<'_>) -> Vec<Change> {
        let mut groups: BTreeMap<Group, (Vec<Fact>, Answer, Answer, Vec<Probe>)> = BTreeMap::new();
        let written = index.of(self.host);
        let origins = cors::origins(&written.cors);
        for probe in of_host(&written) {
            let Some(asked) = self.asked(&probe) else { continue };
            let (old, new) = (
                self.answer(self.sides.old.snapshot, &asked, &origins),
                self.answer(self.sides.new.snapshot, &asked, &origins),
            );
            let (Some(old), Some(new)) = (old, new) else { continue };
            let facts = between(&old.facts, &new.facts);
            if facts.is_empty() {
                continue;
            }
            let group = (old.route.clone(), new.route.clone(), format!("{facts:?}"));
            groups
                .entry(group)
                .or_insert((facts, old, new, Vec::new()))
                .3
                .push(probe);
        }
        let groups = groups.into_values();
        let changes = groups.map(|(facts, old, new, probes)| self.change(facts, (old, new), &probes));
        match known {
            (true, true) => changes.collect(),
            // All that there is to say of a new host is new: its plainest request stands for it.
            (before, _) => self.whole(
                &changes.collect::<Vec<_>>(),
                if before { Kind::Removed } else { Kind::Added },
            ),
        }
    }

    fn asked(&self, probe: &Probe) -> Option<Asked> {
        match self.view {
            View::Mesh => probe.to(self.host),
            View::Gateway(_, port) => {
                let probe = Probe {
                    port: Some(*port),
                    ..probe.clone()
                };
                probe.to(self.host)
            }
        }
    }

    fn answer(&self, snapshot: &Snapshot, asked: &Asked, origins: &[HeaderValue]) -> Option<Answer> {
        let request = asked.request(asked.url.clone());
        let canonical = canonicalize(&request, snapshot.outbound_options()).ok()?;
        let view = canonical.view();
        let gateway = self.view.gateway();
        let told = match gateway {
            Some(name) => explain::outbound_at(snapshot, &view, name),
            None => explain::outbound(snapshot, &view),
        };
        let mut answer = Answer::new(told, snapshot, &view, gateway);
        if let Some(cors) = cors_of(snapshot, &view, gateway) {
            answer.facts.extend(cors::facts(cors, origins));
        }
        Some(answer)
    }

    fn change(&self, facts: Vec<Fact>, (old, new): (Answer, Answer), probes: &[Probe]) -> Change {
        let host = self.view.of(self.host);
        let (kind, what) = match (&old.route, &new.route) {
            (Some(before), Some(after)) if before == after => (Kind::Changed, format!("route `{after}`")),
            (None, None) => (Kind::Changed, "requests without a route".into()),
            (_, Some(after)) if !self.has_route(self.sides.old.snapshot, after) => {
                (Kind::Added, format!("route `{after}`"))
            }
            (Some(before), _) if !self.has_route(self.sides.new.snapshot, before) => {
                (Kind::Removed, format!("route `{before}`"))
            }
            (Some(before), Some(after)) => (
                Kind::Changed,
                format!("requests move from route `{before}` to `{after}`"),
            ),
            (None, Some(after)) => (Kind::Changed, format!("route `{after}` takes more requests")),
            (Some(before), None) => (Kind::Changed, format!("route `{before}` takes fewer requests")),
        };
        let mut change = Change::new(Area::Routes, kind, format!("{host}: {what}"), facts);
        change.old = old.place;
        change.new = new.place;
        change.told_by(probes.iter().map(ToString::to_string))
    }

    fn has_route(&self, snapshot: &Snapshot, name: &str) -> bool {
        let Some(router) = self.view.router(snapshot) else {
            return false;
        };
        let mut hosts = router.virtual_hosts().filter(|host| *host.name == *self.host);
        hosts.any(|host| {
            let of_rules = host.rules.values().map(|route| &route.name);
            let mut names = of_rules.chain(host.classes.values().map(|class| &class.name));
            names.any(|known| **known == *name)
        })
    }

    /// The host itself in place of its routes.
    fn whole(&self, changes: &[Change], kind: Kind) -> Vec<Change> {
        let plainest = Probe::default().to_string();
        let is_plainest = |change: &&Change| change.requests.contains(&plainest);
        let found = changes.iter().find(is_plainest).or_else(|| changes.first()).cloned();
        let whole = found.map(|change| Change {
            kind,
            subject: self.view.of(self.host),
            ..change
        });
        whole.into_iter().collect()
    }
}

impl Answer {
    fn new(told: Outbound, snapshot: &Snapshot, view: &RequestView<'_>, gateway: Option<&str>) -> Self {
        let mut facts = serde_json::to_value(&told)
            .map(|json| of_answer(&json))
            .unwrap_or_default();
        // What each origin is told says more.
        facts.remove("cors");
        if told.retry.is_some() {
            pauses(snapshot, view, gateway, &mut facts);
        }
        Self {
            route: told.route,
            place: told.origin,
            facts,
        }
    }
}

/// What the route says to pages of other origins.
fn cors_of<'s>(snapshot: &'s Snapshot, view: &RequestView<'_>, gateway: Option<&str>) -> Option<&'s CorsPolicy> {
    match explain::selected(snapshot, view, gateway) {
        RouteResult::Route(selected) => selected.route.shape.as_ref()?.cors.as_ref(),
        _ => None,
    }
}

/// How long retries wait, which `explain` does not tell.
fn pauses(snapshot: &Snapshot, view: &RequestView<'_>, gateway: Option<&str>, facts: &mut Facts) {
    let RouteResult::Route(selected) = explain::selected(snapshot, view, gateway) else {
        return;
    };
    let first = selected.route.shares().find_map(|(to, _)| snapshot.target(to.index()?));
    let of_target = || first.map(|target| target.retry(target.service_port(view.effective_port())));
    if let Some(retry) = selected.retry().or_else(of_target) {
        facts.extend(of_retry(retry));
    }
}

fn of_retry(retry: &RetryPolicy) -> [(String, Json); 5] {
    let millis = |duration: std::time::Duration| Json::from(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    let word = |value: String| Json::from(value.to_ascii_lowercase());
    [
        ("retry.backoff.base_ms".into(), millis(retry.backoff.base)),
        ("retry.backoff.least_ms".into(), millis(retry.backoff.least)),
        ("retry.backoff.max_ms".into(), millis(retry.backoff.max)),
        (
            "retry.previous_hosts".into(),
            word(format!("{:?}", retry.previous_hosts)),
        ),
        (
            "retry.remote_localities".into(),
            word(format!("{:?}", retry.remote_localities)),
        ),
    ]
}

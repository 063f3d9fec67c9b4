//! Joins servers with what allows something on them, once all documents are read.
//!
//! Nothing that is missing allows anything: a policy whose condition is not there is told of, and counts for nobody.

use crate::policy::diagnostic::{Code, Diagnostic, Report, quoted};
use crate::policy::model::attachment::{ParentKind, PendingRoute, RouteKind};
use crate::policy::model::authz::{Action, AuthorizationPolicy, Rule};
use crate::policy::model::route::{RouteMatch, RouteRule, StringMatch};
use crate::policy::model::server::{
    Authorization, Pending, PendingServer, Proof, Reference, Server, ServerRoute, ServerRule, Target, Who,
};
use crate::policy::model::{Meta, Policy};
use crate::policy::source::Document;

use super::authorization::sources;
use super::order::{Rank, rank};
use super::{NOT_YET, ports};

/// Joins servers, routes and policies; the policy has no such documents after it.
pub(in crate::policy) fn resolve(documents: &[Document], policy: &mut Policy, report: &mut Report) {
    let mut pending = std::mem::take(&mut policy.server_documents);
    for server in &mut pending.servers {
        find_port(documents, server, report);
    }
    check_targets(&pending, policy, report);
    check_parents(&pending, &policy.attachments.routes, report);
    let allowed: Vec<Allowed<'_>> = pending
        .authorizations
        .iter()
        .filter_map(|one| allowed(one, &pending, report))
        .collect();
    for waiting in &pending.servers {
        if waiting.server.ports.is_empty() {
            continue;
        }
        let mut server = waiting.server.clone();
        server.policies = policies(waiting, &allowed);
        add_routes(&mut server, &policy.attachments.routes, &allowed);
        tell_hidden(&server, &policy.servers, report);
        policy.servers.push(server);
    }
}

/// The number of a port that has a name.
fn find_port(documents: &[Document], waiting: &mut PendingServer, report: &mut Report) {
    let Some((name, origin)) = &waiting.port_name else {
        return;
    };
    waiting.server.ports = ports::numbers(documents, &waiting.server, name);
    if waiting.server.ports.is_empty() {
        let message = format!(
            "the port {} is {}: no file describes pods of this server with a port of that name",
            quoted(name),
            NOT_YET.title()
        );
        let help = "give its number, or keep the `Deployment` beside the server";
        report.push(Diagnostic::new(NOT_YET, origin, message).with_help(help));
    }
}

fn unresolved(authorization: &Authorization, message: String, report: &mut Report) {
    report.push(Diagnostic::new(
        Code::UNRESOLVED_REFERENCE,
        &authorization.origin,
        message,
    ));
}

/// Tells of policies for what is not there: they allow nothing.
fn check_targets(pending: &Pending, policy: &Policy, report: &mut Report) {
    for authorization in &pending.authorizations {
        let namespace = &authorization.meta.namespace;
        let servers = || pending.servers.iter().map(|waiting| &waiting.server);
        let own = || servers().filter(|server| server.meta.namespace == *namespace);
        let missing = match &authorization.target {
            Target::Server(name) => (!own().any(|server| server.meta.name == *name))
                .then(|| format!("no file defines the server {}", quoted(name))),
            Target::Servers(selector) => {
                let is_selected = |server: &Server| selector.iter().all(|one| one.holds(&server.labels));
                (!own().any(is_selected)).then(|| "no server is selected".to_owned())
            }
            Target::Route(kind, name) => {
                let mut routes = policy.attachments.routes.iter();
                let is_there = routes.any(|route| is_route(route, kind, &route.table.meta, (namespace, name)));
                (!is_there).then(|| format!("no file defines the {} {}", quoted(kind), quoted(name)))
            }
            Target::Namespace => own().next().is_none().then(|| "the namespace has no server".to_owned()),
        };
        if let Some(missing) = missing {
            unresolved(authorization, format!("{missing}: the policy changes nothing"), report);
        }
    }
}

/// Tells of routes for servers that are not there, and of what routes of servers do not do.
fn check_parents(pending: &Pending, routes: &[PendingRoute], report: &mut Report) {
    for route in routes {
        let namespace = &route.table.meta.namespace;
        let mut of_server = route
            .parents
            .iter()
            .filter(|parent| parent.kind == ParentKind::Server)
            .peekable();
        if of_server.peek().is_some() {
            tell_unused(route, report);
        }
        for parent in of_server {
            let is_there = pending
                .servers
                .iter()
                .any(|waiting| waiting.server.meta.namespace == *namespace && waiting.server.meta.name == parent.name);
            if is_there && parent.namespace == *namespace {
                continue;
            }
            let name = quoted(&parent.name);
            let message = format!(
                "no file defines the server {name} of the route's own namespace: the route changes nothing there"
            );
            report.push(Diagnostic::new(Code::UNRESOLVED_REFERENCE, &parent.origin, message));
        }
    }
}

/// Routes of servers say what may be asked for; they do not change requests.
fn tell_unused(route: &PendingRoute, report: &mut Report) {
    for rule in &route.table.rules {
        let plain = RouteRule {
            name: rule.name.clone(),
            origin: rule.origin.clone(),
            matches: rule.matches.clone(),
            ..RouteRule::default()
        };
        if *rule != plain {
            let message = format!(
                "filters, backends, timeouts and retries of a server's route are {}: it says what may be asked for",
                NOT_YET.title()
            );
            report.push(Diagnostic::new(NOT_YET, &rule.origin, message));
        }
    }
}

fn is_route(route: &PendingRoute, kind: &str, meta: &Meta, (namespace, name): (&str, &str)) -> bool {
    route.kind.name() == kind && meta.namespace == namespace && meta.name == name
}

/// Somebody who is allowed something.
struct Allowed<'p> {
    target: &'p Target,
    policy: AuthorizationPolicy,
}

/// Who a document allows; `None` where a condition that it names is not there.
fn allowed<'p>(authorization: &'p Authorization, pending: &Pending, report: &mut Report) -> Option<Allowed<'p>> {
    let from = match &authorization.who {
        Who::Sources(sources) => sources.clone(),
        Who::All(references) => required(references, pending, report)?,
    };
    let mut policy = AuthorizationPolicy::new(authorization.meta.clone(), Action::Allow);
    // Nobody at all is a policy without rules: a rule without sources would be for everybody.
    if !from.is_empty() {
        policy.rules = vec![Rule {
            from,
            origin: authorization.meta.origin.clone(),
            ..Rule::default()
        }]
        .into();
    }
    let target = &authorization.target;
    Some(Allowed { target, policy })
}

fn required(
    references: &[Reference],
    pending: &Pending,
    report: &mut Report,
) -> Option<Vec<crate::policy::model::authz::Source>> {
    let (mut principals, mut networks) = (None, None);
    for reference in references {
        let (kind, namespace, name, origin) = match reference {
            Reference::Identities(identities) => {
                principals = Some(identities.as_slice());
                continue;
            }
            Reference::Named {
                kind,
                namespace,
                name,
                origin,
            } => (kind, namespace, name, origin),
        };
        let mut known = pending.authentications.iter();
        let found =
            known.find(|one| one.proof.kind() == *kind && one.meta.namespace == *namespace && one.meta.name == *name);
        match found.map(|found| &found.proof) {
            Some(Proof::Identities(identities)) => principals = Some(identities),
            Some(Proof::Networks(found)) => networks = Some(found.as_slice()),
            None => {
                let message = format!(
                    "no file defines the {} {} of namespace {}: the policy allows nobody",
                    quoted(kind),
                    quoted(name),
                    quoted(namespace)
                );
                report.push(Diagnostic::new(Code::UNRESOLVED_REFERENCE, origin, message));
                return None;
            }
        }
    }
    Some(sources(principals, networks))
}

/// The policies of a server itself; the one that its `accessPolicy` makes comes last.
fn policies(waiting: &PendingServer, allowed: &[Allowed<'_>]) -> Vec<AuthorizationPolicy> {
    let server = &waiting.server;
    let is_for = |one: &&Allowed<'_>| {
        let is_own = one.policy.meta.namespace == server.meta.namespace;
        is_own
            && match one.target {
                Target::Server(name) => *name == server.meta.name,
                Target::Servers(selector) => selector.iter().all(|requirement| requirement.holds(&server.labels)),
                Target::Namespace => true,
                Target::Route(..) => false,
            }
    };
    let mut policies: Vec<_> = allowed.iter().filter(is_for).map(|one| one.policy.clone()).collect();
    if !waiting.access.is_empty() {
        let mut access = AuthorizationPolicy::new(server.meta.clone(), Action::Allow);
        access.rules = vec![Rule {
            from: waiting.access.clone(),
            origin: waiting.access_origin.clone(),
            ..Rule::default()
        }]
        .into();
        policies.push(access);
    }
    for policy in &mut policies {
        policy.ports.clone_from(&server.ports);
    }
    policies
}

/// The routes whose parent is the server, of its own namespace.
fn add_routes(server: &mut Server, routes: &[PendingRoute], allowed: &[Allowed<'_>]) {
    let mut ranked: Vec<(Rank, ServerRule)> = Vec::new();
    let attached: Vec<&PendingRoute> = routes.iter().filter(|route| is_attached(route, server)).collect();
    for route in attached {
        let meta = &route.table.meta;
        let is_for = |one: &&Allowed<'_>| match one.target {
            Target::Route(kind, name) => is_route(route, kind, meta, (&one.policy.meta.namespace, name)),
            _ => false,
        };
        let policies = allowed.iter().filter(is_for).map(|one| AuthorizationPolicy {
            ports: server.ports.clone(),
            ..one.policy.clone()
        });
        let index = server.routes.len();
        ranked.extend(
            rules(route, index)
                .into_iter()
                .enumerate()
                .map(|(position, rule)| (rank(&rule, meta, position), rule)),
        );
        server.routes.push(ServerRoute {
            meta: meta.clone(),
            policies: policies.collect(),
        });
    }
    ranked.sort_by(|(left, _), (right, _)| left.cmp(right));
    server.rules = ranked.into_iter().map(|(_, rule)| rule).collect();
}

fn is_attached(route: &PendingRoute, server: &Server) -> bool {
    let mut parents = route.parents.iter();
    route.table.meta.namespace == server.meta.namespace
        && parents.any(|parent| {
            parent.kind == ParentKind::Server
                && parent.namespace == server.meta.namespace
                && parent.name == server.meta.name
        })
}

/// Every match of every rule of a route, for each of its hosts.
fn rules(route: &PendingRoute, index: usize) -> Vec<ServerRule> {
    let hosts: Vec<Option<_>> = match route.table.hosts.as_slice() {
        [] => vec![None],
        hosts => hosts.iter().map(Some).collect(),
    };
    let matches = route.table.rules.iter().flat_map(|rule| &rule.matches);
    let for_hosts = matches.flat_map(|one| {
        hosts.iter().map(move |host| ServerRule {
            hosts: host.iter().map(|host| (*host).clone()).collect(),
            matches: of_kind(one, route.kind),
            route: index,
        })
    });
    for_hosts.collect()
}

/// A `GRPCRoute` takes calls of gRPC, which are all `POST`: a `GET` of the same path is nothing that it allows.
fn of_kind(one: &RouteMatch, kind: RouteKind) -> RouteMatch {
    let mut one = one.clone();
    if kind == RouteKind::Grpc {
        one.method = Some(StringMatch::Exact("POST".into()));
    }
    one
}

/// Tells of a server that another one of the same pods and port hides.
fn tell_hidden(server: &Server, others: &[Server], report: &mut Report) {
    let hides = |one: &&Server| {
        one.meta.namespace == server.meta.namespace
            && one.selector == server.selector
            && one.ports.iter().any(|port| server.ports.contains(port))
    };
    let Some(other) = others.iter().find(hides) else {
        return;
    };
    let (first, second) = if other.meta.precedence() <= server.meta.precedence() {
        (other, server)
    } else {
        (server, other)
    };
    let message = format!(
        "server {} changes nothing: {} guards the same port of the same pods",
        quoted(&second.meta.name),
        quoted(&first.meta.name)
    );
    let told = Diagnostic::new(Code::NO_EFFECT, &second.meta.origin, message);
    report.push(told.with_label(&first.meta.origin, "the older one counts, then the first by name"));
}

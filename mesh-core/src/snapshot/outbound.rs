//! Virtual hosts: which rules a host ends up with for this workload's clients, or at a gateway.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::known::{HostRules, KnownRoutes, Wanted};
use super::profile::replaces_routes;
use super::registry::{Known, Registry};
use super::specific::{self, Rank};
use super::target::Target;
use super::{CompileError, profile};
use crate::decide::route::{Choice, HostTable, Matcher, NamedBy, Route, RuleList, VirtualHost};
use crate::decide::shape::{Edit, InvalidShape, Shape};
use crate::policy::model::gateway::Gateway;
use crate::policy::model::profile::ServiceProfile;
use crate::policy::model::route::{self, Binding, RouteMatch, RouteRule, RouteTable, StringMatch};
use crate::policy::model::{Origin, selects};

/// Builds virtual hosts and collects the targets that they name.
#[derive(Debug)]
pub(super) struct Builder<'a> {
    pub(super) registry: Registry<'a>,
    targets: Vec<TargetName>,
    by_name: BTreeMap<TargetName, usize>,
    /// The same by the hosts that rules write: nearly all of them have been asked for before.
    asked: FxHashMap<Box<str>, Vec<Asked>>,
    known: &'a mut KnownRoutes,
    /// How many lists of rules were compiled.
    lists: u32,
    /// The one that is being compiled, and the targets that it names.
    list: Option<u32>,
    wanted: Vec<Wanted>,
}

/// A target by its callee, subset and port.
pub(super) type TargetName = (String, Option<String>, Option<u16>);

/// A target that was asked for.
#[derive(Debug)]
struct Asked {
    subset: Option<Box<str>>,
    port: Option<u16>,
    index: usize,
    /// The list that asked last.
    by: Option<u32>,
}

/// Whose point of view a rule is read from.
#[derive(Clone, Copy, Debug)]
pub(super) enum View<'a> {
    /// A client of the mesh.
    Mesh,
    /// A port of a gateway.
    Gateway(&'a Gateway, u16),
}

impl View<'_> {
    fn is(self, binding: &Binding) -> bool {
        match (self, binding) {
            (Self::Mesh, Binding::Mesh) => true,
            (Self::Gateway(gateway, _), Binding::Gateway { namespace, name, .. }) => {
                *namespace == gateway.meta.namespace && *name == gateway.meta.name
            }
            _ => false,
        }
    }

    /// The port that every request is for, where the point of view has one.
    const fn port(self) -> Option<u16> {
        match self {
            Self::Mesh => None,
            Self::Gateway(_, port) => Some(port),
        }
    }
}

/// Whether a rule takes whatever no rule before it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// It has conditions.
    Some,
    /// It has none.
    All,
}

/// One match of a rule, compiled, with the route that it selects.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) matcher: Matcher,
    pub(super) route: Route,
    pub(super) reach: Reach,
    /// The only port that it is for, where it is for one.
    pub(super) port: Option<u16>,
    /// Its place among the rules of other tables, where it competes with them.
    pub(super) rank: Option<Rank>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(registry: Registry<'a>, known: &'a mut KnownRoutes) -> Self {
        known.begin();
        Self {
            registry,
            targets: Vec::new(),
            by_name: BTreeMap::new(),
            asked: FxHashMap::default(),
            known,
            lists: 0,
            list: None,
            wanted: Vec::new(),
        }
    }

    /// Keeps what was made for the next policy.
    pub(super) fn end(self) {
        self.known.end();
    }

    /// The targets that were named, in order.
    pub(super) fn target_names(&self) -> &[TargetName] {
        &self.targets
    }

    /// Builds all of them.
    pub(super) fn targets(&self) -> Arc<[Target]> {
        let mut targets: Vec<Target> = Vec::with_capacity(self.targets.len());
        for (host, subset, port) in &self.targets {
            let mut target = self.build_target(host, subset.as_deref(), *port);
            if let Some(before) = targets.last() {
                target.share(before);
            }
            targets.push(target);
        }
        targets.into()
    }

    /// The virtual hosts of the mesh's clients.
    ///
    /// A short form of one service never hides the full name of another, unless only settings speak of that name.
    pub(super) fn mesh_hosts(&mut self) -> Result<HostTable<VirtualHost>, CompileError> {
        let mut table = HostTable::default();
        let callable: BTreeSet<_> = self.registry.hosts(Known::Called).collect();
        for known in [Known::Called, Known::Tuned] {
            let hosts: Vec<_> = self.registry.hosts(known).collect();
            for host in hosts {
                let virtual_host = self.service_host(host)?;
                let aliases = self.registry.aliases(host);
                let names = aliases.iter().map(String::as_str);
                table.insert(
                    names.filter(|name| *name == host || !callable.contains(name)),
                    virtual_host,
                );
            }
        }
        self.add_wildcards(&mut table)?;
        table.shrink();
        Ok(table)
    }

    /// Wildcard tables also take hosts that no policy names; a table without a rule for us is as if absent.
    fn add_wildcards(&mut self, table: &mut HostTable<VirtualHost>) -> Result<(), CompileError> {
        let tables = self.registry.visible_tables().to_vec();
        for routes in tables {
            let mut rules = RuleList::default();
            for pattern in routes.hosts.iter().filter(|pattern| pattern.host.starts_with('*')) {
                if table.contains(&pattern.host) {
                    continue;
                }
                match specific::competes(routes) {
                    true => self.add_competing(&mut rules, &pattern.host)?,
                    false => self.add_rules(&mut rules, routes)?,
                }
                if rules.is_empty() {
                    continue;
                }
                let host = VirtualHost {
                    name: pattern.host.as_str().into(),
                    rules: Arc::new(std::mem::take(&mut rules)),
                    ..VirtualHost::default()
                };
                table.insert([pattern.host.as_str()], host);
            }
        }
        Ok(())
    }

    /// The rules of a service: where its profile sends its requests, else of the table that claims it, else the default route to itself.
    fn service_host(&mut self, host: &str) -> Result<VirtualHost, CompileError> {
        let profile = self.profile(host);
        let mut built = VirtualHost {
            name: host.into(),
            rules: self.service_rules(profile, host)?,
            ..VirtualHost::default()
        };
        if let Some(profile) = profile {
            profile::add_classes(&mut built.classes, profile)?;
        }
        Ok(built)
    }

    fn service_rules(
        &mut self,
        profile: Option<&ServiceProfile>,
        host: &str,
    ) -> Result<Arc<RuleList<Route>>, CompileError> {
        let mut rules = RuleList::default();
        if let Some(overrides) = self.overrides(profile) {
            rules.push([Matcher::any()], overrides);
            rules.shrink();
            return Ok(Arc::new(rules));
        }
        let claim = self.registry.claim(host);
        match claim.filter(|table| !specific::competes(table) || !replaces_routes(profile)) {
            Some(table) if specific::competes(table) => self.add_competing(&mut rules, host)?,
            Some(table) => return self.written(table, host),
            None => {}
        }
        Ok(Arc::new(self.or_default(rules, host)))
    }

    /// Rules, or the way to the service itself where there are none.
    fn or_default(&mut self, mut rules: RuleList<Route>, host: &str) -> RuleList<Route> {
        if rules.is_empty() {
            rules.push([Matcher::any()], self.default_route(host));
        }
        rules.shrink();
        rules
    }

    /// The rules of the table that a service belongs to: those that are known, where the table and the places of its targets
    /// are the same.
    fn written(&mut self, table: &RouteTable, host: &str) -> Result<Arc<RuleList<Route>>, CompileError> {
        let known = self.known.find(host, table);
        let rules = match known.filter(|known| self.has_wanted(&known.wanted)) {
            Some(known) => known,
            None => Arc::new(self.written_anew(table, host)?),
        };
        self.known.keep(host, &rules);
        Ok(Arc::clone(&rules.rules))
    }

    /// Whether targets have the places that they had. Names them in the order in which the rules would.
    fn has_wanted(&mut self, wanted: &[Wanted]) -> bool {
        let mut wanted = wanted.iter();
        wanted.all(|one| self.target(&one.host, one.subset.as_deref(), one.port) == one.index)
    }

    fn written_anew(&mut self, table: &RouteTable, host: &str) -> Result<HostRules, CompileError> {
        self.list = Some(self.lists);
        self.lists += 1;
        let mut rules = RuleList::default();
        self.add_written(&mut rules, table, host)?;
        let rules = self.or_default(rules, host);
        self.list = None;
        Ok(HostRules::new(table, std::mem::take(&mut self.wanted), rules))
    }

    fn default_route(&mut self, host: &str) -> Route {
        let target = self.target(host, None, None);
        let mut route = Route::new("default".into(), Origin::default(), vec![(Choice::target(target), 1)]);
        route.named_by = NamedBy::Class;
        route
    }

    /// Appends the rules of all tables that compete for a host; ports that none of them is for keep the default.
    fn add_competing(&mut self, rules: &mut RuleList<Route>, host: &str) -> Result<(), CompileError> {
        let tables = self.registry.competing(host);
        let mut compiled = Vec::new();
        for table in &tables {
            compiled.extend(self.compiled(table, View::Mesh)?);
        }
        specific::sort(&mut compiled);
        for rule in compiled {
            rules.push([rule.matcher], rule.route);
        }
        if let Some(ports) = specific::ports(&tables).filter(|_| !host.starts_with('*')) {
            rules.push([Matcher::other_ports(&ports)], self.default_route(host));
        }
        Ok(())
    }

    /// Appends the rules of the table that a service belongs to; on ports that none of them is for it is as if absent.
    fn add_written(&mut self, rules: &mut RuleList<Route>, table: &RouteTable, host: &str) -> Result<(), CompileError> {
        let compiled = self.compiled(table, View::Mesh)?;
        let ports: Option<BTreeSet<u16>> = compiled.iter().map(|rule| rule.port).collect();
        for rule in compiled {
            rules.push([rule.matcher], rule.route);
        }
        if let Some(ports) = ports.filter(|ports| !ports.is_empty()) {
            let ports: Vec<_> = ports.into_iter().collect();
            rules.push([Matcher::other_ports(&ports)], self.default_route(host));
        }
        Ok(())
    }

    /// Appends the rules of a table that apply to the clients of the mesh.
    fn add_rules(&mut self, rules: &mut RuleList<Route>, table: &RouteTable) -> Result<(), CompileError> {
        for rule in self.compiled(table, View::Mesh)? {
            rules.push([rule.matcher], rule.route);
        }
        Ok(())
    }

    /// The rules of a table that apply from a point of view, up to the first that takes everything.
    pub(super) fn compiled(&mut self, table: &RouteTable, view: View<'_>) -> Result<Vec<Compiled>, CompileError> {
        let mut compiled = Vec::new();
        for (position, rule) in table.rules.iter().enumerate() {
            let name: Arc<str> = match &rule.name {
                Some(name) => name.as_str().into(),
                None => format!("{}#{position}", table.meta.name).into(),
            };
            let without = [RouteMatch::default()];
            let matches = if rule.matches.is_empty() {
                &without[..]
            } else {
                &rule.matches
            };
            for (index, conditions) in matches.iter().enumerate() {
                if !self.applies(conditions, view) {
                    continue;
                }
                let mut one = self.compile(rule, &name, conditions, view)?;
                let reach = one.reach;
                let competes = specific::competes(table);
                one.rank = competes.then(|| Rank::new(&table.meta, conditions, (position, index)));
                compiled.push(one);
                if reach == Reach::All && !competes {
                    return Ok(compiled);
                }
            }
        }
        Ok(compiled)
    }

    fn compile(
        &mut self,
        rule: &RouteRule,
        name: &Arc<str>,
        conditions: &RouteMatch,
        view: View<'_>,
    ) -> Result<Compiled, CompileError> {
        let conditions = match (conditions.port, view.port()) {
            // A gateway's port is decided already, whatever port its clients write.
            (Some(_), Some(_)) => Cow::Owned(RouteMatch {
                port: None,
                ..conditions.clone()
            }),
            _ => Cow::Borrowed(conditions),
        };
        let matcher = Matcher::new(&conditions).map_err(|error| CompileError::matching(&conditions.origin, error))?;
        let name = match &conditions.name {
            Some(own) => format!("{name}.{own}").into(),
            None => Arc::clone(name),
        };
        let route = self.route(rule, name, &conditions, view);
        Ok(Compiled {
            matcher,
            route: route.map_err(|error| CompileError::shape(&rule.origin, error))?,
            reach: reach(&conditions),
            port: conditions.port,
            rank: None,
        })
    }

    /// Whether a match concerns us at all. Naming gateways switches the conditions on the caller off, as in Istio.
    fn applies(&self, conditions: &RouteMatch, view: View<'_>) -> bool {
        if conditions.port.is_some() && view.port().is_some() && conditions.port != view.port() {
            return false;
        }
        if !conditions.bindings.is_empty() {
            return conditions.bindings.iter().any(|binding| view.is(binding));
        }
        let workload = self.registry.workload;
        let namespace = conditions.source_namespace.as_ref();
        selects(&conditions.source_labels, &workload.labels) && namespace.is_none_or(|name| *name == workload.namespace)
    }

    fn route(
        &mut self,
        rule: &RouteRule,
        name: Arc<str>,
        conditions: &RouteMatch,
        view: View<'_>,
    ) -> Result<Route, InvalidShape> {
        let mut choices = Vec::with_capacity(rule.destinations.len());
        for to in &rule.destinations {
            choices.push((self.choice(rule, to, conditions, view)?, to.weight));
        }
        let mut route = Route::new(name, rule.origin.clone(), choices);
        route.delegated.clone_from(&rule.delegated);
        let mirrors = rule.mirrors.iter();
        let mirrors = mirrors
            .map(|mirror| (self.destination(&mirror.destination, view), mirror.fraction))
            .collect();
        route.shape = Shape::compile(rule, conditions, mirrors)?.map(Arc::new);
        route.timeout = rule.timeout;
        route.retry = rule.retry.clone().map(Arc::new);
        Ok(route)
    }

    fn choice(
        &mut self,
        rule: &RouteRule,
        to: &route::Destination,
        conditions: &RouteMatch,
        view: View<'_>,
    ) -> Result<Choice, InvalidShape> {
        if let Some(reason) = &to.unresolved {
            return Ok(Choice::Unresolved(reason.as_str().into()));
        }
        Ok(Choice::Target {
            target: self.destination(to, view),
            edit: Edit::compile(rule, to, conditions)?.map(Arc::new),
        })
    }

    /// The port of a destination that names none is its only one, else the one that was dialled: at a gateway its own,
    /// never what its clients write.
    fn destination(&mut self, to: &route::Destination, view: View<'_>) -> usize {
        let port = to.port.or_else(|| {
            let listening = view.port()?;
            let ports = self.registry.ports(&to.host);
            Some(self.only_port(&to.host, &ports).unwrap_or(listening))
        });
        self.target(&to.host, to.subset.as_deref(), port)
    }

    /// The index of a target, by the order in which they are first named.
    pub(super) fn target(&mut self, host: &str, subset: Option<&str>, port: Option<u16>) -> usize {
        if let Some(index) = self.asked(host, subset, port) {
            return index;
        }
        let index = self.resolved(host, subset, port);
        let asked = self.asked.entry(host.into()).or_default();
        asked.push(Asked {
            subset: subset.map(Box::from),
            port,
            index,
            by: None,
        });
        self.asked(host, subset, port).unwrap_or(index)
    }

    /// The index of a target that was asked for before. The list that is being compiled wants it.
    fn asked(&mut self, host: &str, subset: Option<&str>, port: Option<u16>) -> Option<usize> {
        let mut asked = self.asked.get_mut(host)?.iter_mut();
        let found = asked.find(|one| one.port == port && one.subset.as_deref() == subset)?;
        if self.list.is_some() && found.by != self.list {
            found.by = self.list;
            self.wanted.push(Wanted {
                host: host.into(),
                subset: subset.map(Box::from),
                port,
                index: found.index,
            });
        }
        Some(found.index)
    }

    fn resolved(&mut self, host: &str, subset: Option<&str>, port: Option<u16>) -> usize {
        let host = self.registry.callee(host).to_owned();
        let name = (host, subset.map(str::to_owned), port);
        if let Some(index) = self.by_name.get(&name) {
            return *index;
        }
        let index = self.targets.len();
        self.targets.push(name.clone());
        self.by_name.insert(name, index);
        index
    }
}

/// A rule that takes every request, as Istio tells one.
fn reach(conditions: &RouteMatch) -> Reach {
    let any_path = conditions.path.as_ref().is_none_or(|path| match path {
        StringMatch::Prefix(prefix) | StringMatch::SegmentPrefix(prefix) => prefix == "/",
        StringMatch::Regex(regex) => regex == ".*",
        _ => false,
    });
    let RouteMatch {
        method: None,
        scheme: None,
        authority: None,
        port: None,
        headers,
        without_headers,
        claims,
        without_claims,
        query,
        ..
    } = conditions
    else {
        return Reach::Some;
    };
    let any_claims = claims.is_empty() && without_claims.is_empty();
    if any_path && any_claims && headers.is_empty() && without_headers.is_empty() && query.is_empty() {
        Reach::All
    } else {
        Reach::Some
    }
}

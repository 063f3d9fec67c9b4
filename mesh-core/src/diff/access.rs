//! Who gains and who loses access: both servers' decisions for the callers and operations that either policy names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use http::Method;
use ipnet::IpNet;
use serde_json::json;

use super::facts::Fact;
use super::listening::other_port;
use super::sample::{ANY, of_patterns};
use super::{Area, Change, Kind, Side, Sides};
use crate::explain::{Inbound, Place};
use crate::identity::SpiffeId;
use crate::policy::model::authz::{Action, Operation, Rule, Source};
use crate::policy::model::selects;
use crate::trial::question::{Asked, Received, inbound_answer};
use crate::trial::read::{Scheme, identity_of, url_of};

/// Questions for one workload at most.
const LIMIT: usize = 20_000;

/// An address that no policy names (RFC 5737).
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// A caller; `None` comes in plain text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Caller {
    identity: Option<SpiffeId>,
    address: IpAddr,
}

/// What a caller does; what is `None` is as plain as can be.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Act {
    path: Option<String>,
    method: Option<String>,
    host: Option<String>,
    port: Option<u16>,
}

/// Who may do more or less for the workload.
pub(super) fn changes(sides: Sides<'_>, notes: &mut Vec<String>) -> Vec<Change> {
    let questions = questions(sides, notes);
    let mut found: BTreeMap<(Caller, Verdicts), Vec<Act>> = BTreeMap::new();
    for (caller, act) in questions {
        if let Some(verdicts) = ask(sides, &caller, &act) {
            found.entry((caller, verdicts)).or_default().push(act);
        }
    }
    // Callers for whom the same changes in the same way are told together.
    let mut together: BTreeMap<(Verdicts, Vec<Act>), Vec<Caller>> = BTreeMap::new();
    for ((caller, verdicts), acts) in found {
        together.entry((verdicts, acts)).or_default().push(caller);
    }
    together
        .into_iter()
        .map(|((verdicts, acts), callers)| verdicts.change(&callers, &acts))
        .collect()
}

/// Both decisions, where they differ.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Verdicts {
    kind: Kind,
    old: Decider,
    new: Decider,
}

/// What decides.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Decider {
    told: String,
    file: String,
    line: u32,
}

impl Decider {
    fn new(answer: &Inbound) -> Self {
        let (file, line) = answer
            .origin
            .as_ref()
            .map_or_else(Default::default, |place| (place.file.clone(), place.line));
        Self {
            told: format!("{}: {}", answer.decision, answer.reason),
            file,
            line,
        }
    }

    fn place(self) -> Option<Place> {
        (self.line > 0).then_some(Place {
            file: self.file,
            line: self.line,
        })
    }
}

impl Verdicts {
    fn change(self, callers: &[Caller], acts: &[Act]) -> Change {
        let names: Vec<String> = callers.iter().map(ToString::to_string).collect();
        let fact = Fact {
            field: "decision".into(),
            old: json!(self.old.told),
            new: json!(self.new.told),
        };
        let mut change = Change::new(Area::Access, self.kind, names.join(", "), vec![fact]);
        (change.old, change.new) = (self.old.place(), self.new.place());
        change.told_by(acts.iter().map(ToString::to_string))
    }
}

fn ask(sides: Sides<'_>, caller: &Caller, act: &Act) -> Option<Verdicts> {
    let asked = act.asked()?;
    let received = Received {
        from: caller.identity.clone(),
        source_ip: caller.address,
        port: act.port.or_else(|| Some(other_port(&BTreeSet::new()))),
    };
    let answer = |side: Side<'_>| inbound_answer(side.snapshot, &asked, &received).ok();
    let (old, new) = (answer(sides.old)?, answer(sides.new)?);
    let kind = match (old.decision, new.decision) {
        (before, after) if before == after => return None,
        (_, "allow") => Kind::Gained,
        _ => Kind::Lost,
    };
    Some(Verdicts {
        kind,
        old: Decider::new(&old),
        new: Decider::new(&new),
    })
}

/// Each rule's callers with its own operations, and as many others with the others' as there is room for.
fn questions(sides: Sides<'_>, notes: &mut Vec<String>) -> BTreeSet<(Caller, Act)> {
    let mut questions = BTreeSet::new();
    let trust_domain = &sides.new.policy.mesh.trust_domain;
    let mut callers = BTreeSet::from([Caller::plain(), Caller::stranger(trust_domain)]);
    let mut acts = BTreeSet::from([Act::default(), Act::of_method("POST")]);
    for rule in [sides.old, sides.new].into_iter().flat_map(rules) {
        let (its_callers, its_acts) = (callers_of(rule, trust_domain), acts_of(rule));
        for caller in &its_callers {
            questions.extend(its_acts.iter().map(|act| (caller.clone(), act.clone())));
        }
        callers.extend(its_callers);
        acts.extend(its_acts);
    }
    acts.extend(acts_at_named_ports(sides));
    let all = callers.len() * acts.len();
    let pairs = acts
        .iter()
        .flat_map(|act| callers.iter().map(move |caller| (caller, act)));
    for (caller, act) in pairs {
        if questions.len() >= LIMIT {
            notes.push(format!(
                "access was asked for {LIMIT} of {all} pairs of callers and operations"
            ));
            break;
        }
        questions.insert((caller.clone(), act.clone()));
    }
    questions
}

/// The rules that hold for the workload.
fn rules(side: Side<'_>) -> impl Iterator<Item = &Rule> {
    let workload = &side.snapshot.workload;
    let root = &side.policy.mesh.root_namespace;
    let policies = side.policy.authorizations.iter().filter(move |one| {
        let namespace = &one.meta.namespace;
        (*namespace == workload.namespace || namespace == root) && selects(&one.selector, &workload.labels)
    });
    policies
        .filter(|one| matches!(one.action, Action::Allow | Action::Deny))
        .flat_map(|one| &one.rules)
}

/// Ports may take plain text or not.
fn acts_at_named_ports(sides: Sides<'_>) -> Vec<Act> {
    let policies = [sides.old, sides.new].into_iter();
    let documents = policies.flat_map(|side| &side.policy.peer_authentications);
    let ports = documents.flat_map(|one| one.ports.keys());
    let act = |port: &u16| Act {
        port: Some(*port),
        ..Act::default()
    };
    ports.map(act).collect()
}

fn callers_of(rule: &Rule, trust_domain: &str) -> BTreeSet<Caller> {
    let mut callers: BTreeSet<Caller> = rule
        .from
        .iter()
        .flat_map(|source| sources(source, trust_domain))
        .collect();
    if callers.is_empty() {
        callers.extend([Caller::plain(), Caller::stranger(trust_domain)]);
    }
    callers
}

/// Callers that a rule's source names or excludes.
fn sources(source: &Source, trust_domain: &str) -> Vec<Caller> {
    let mut ids = of_patterns(&source.principals);
    for namespace in of_patterns(&source.namespaces) {
        ids.push(format!("{trust_domain}/ns/{namespace}/sa/{ANY}"));
    }
    for account in of_patterns(&source.service_accounts) {
        let (namespace, name) = account.split_once('/').unwrap_or((ANY, &account));
        ids.push(format!("{trust_domain}/ns/{namespace}/sa/{name}"));
    }
    let mut identities: Vec<Option<SpiffeId>> = ids.iter().filter_map(|id| identity(id)).map(Some).collect();
    if identities.is_empty() {
        identities.extend([None, identity(&Caller::stranger_id(trust_domain))]);
    }
    let blocks = source.ip_blocks.any_of.iter().chain(&source.ip_blocks.none_of);
    let mut addresses: Vec<IpAddr> = blocks.map(within).collect();
    addresses.push(ELSEWHERE);
    let caller = |identity: &Option<SpiffeId>| {
        let identity = identity.clone();
        addresses.iter().map(move |address| Caller {
            identity: identity.clone(),
            address: *address,
        })
    };
    identities.iter().flat_map(caller).collect()
}

/// An identity that a text begins or is, such as `cluster.local/ns/shop/`.
fn identity(text: &str) -> Option<SpiffeId> {
    let endings = ["", ANY, "sa/x", "/sa/x", "ns/x/sa/x", "/ns/x/sa/x"];
    let texts = endings.iter().map(|ending| format!("{text}{ending}"));
    texts.filter_map(|text| identity_of(&text).ok().flatten()).next()
}

/// An address of a block that is not its first.
fn within(block: &IpNet) -> IpAddr {
    block.hosts().next().unwrap_or_else(|| block.addr())
}

/// Operations that a rule names, and those that break one of its conditions.
fn acts_of(rule: &Rule) -> BTreeSet<Act> {
    let mut acts: BTreeSet<Act> = rule.to.iter().flat_map(operations).collect();
    if acts.is_empty() {
        acts.insert(Act::default());
    }
    acts
}

fn operations(operation: &Operation) -> Vec<Act> {
    let texts = [&operation.paths, &operation.methods, &operation.hosts].map(of_patterns);
    let ports: Vec<u16> = operation
        .ports
        .any_of
        .iter()
        .chain(&operation.ports.none_of)
        .copied()
        .collect();
    let [paths, methods, hosts] = &texts;
    let base = Act {
        path: paths.first().cloned(),
        method: methods.first().cloned(),
        host: hosts.first().cloned(),
        port: ports.first().copied(),
    };
    let mut acts = vec![base.clone()];
    let mut vary = |vary: &dyn Fn(&mut Act)| {
        let mut act = base.clone();
        vary(&mut act);
        acts.push(act);
    };
    for path in paths {
        vary(&|act| act.path = Some(path.clone()));
        // Each method with each path is what most policies list.
        for method in methods {
            vary(&|act| (act.path, act.method) = (Some(path.clone()), Some(method.clone())));
        }
    }
    methods
        .iter()
        .for_each(|method| vary(&|act| act.method = Some(method.clone())));
    hosts.iter().for_each(|host| vary(&|act| act.host = Some(host.clone())));
    ports.iter().for_each(|port| vary(&|act| act.port = Some(*port)));
    vary(&|act| act.path = None);
    vary(&|act| act.method = None);
    vary(&|act| act.host = None);
    vary(&|act| act.port = None);
    acts
}

impl Caller {
    const fn plain() -> Self {
        Self {
            identity: None,
            address: ELSEWHERE,
        }
    }

    fn stranger_id(trust_domain: &str) -> String {
        format!("{trust_domain}/ns/{ANY}/sa/{ANY}")
    }

    fn stranger(trust_domain: &str) -> Self {
        Self {
            identity: identity(&Self::stranger_id(trust_domain)),
            address: ELSEWHERE,
        }
    }
}

/// `cluster.local/ns/shop/sa/web from 10.0.0.1`, or `plain text`.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.identity {
            Some(id) => f.write_str(id.without_scheme())?,
            None => f.write_str("plain text")?,
        }
        match self.address {
            ELSEWHERE => Ok(()),
            address => write!(f, " from {address}"),
        }
    }
}

impl Act {
    fn of_method(method: &str) -> Self {
        Self {
            method: Some(method.to_owned()),
            ..Self::default()
        }
    }

    fn method(&self) -> &str {
        self.method.as_deref().unwrap_or("GET")
    }

    fn path(&self) -> &str {
        self.path.as_deref().unwrap_or("/")
    }

    /// `None` where no request can be made of it.
    fn asked(&self) -> Option<Asked> {
        let host = self.host.as_deref().unwrap_or("localhost");
        let slash = if self.path().starts_with('/') { "" } else { "/" };
        Some(Asked {
            method: Method::from_bytes(self.method().as_bytes()).ok()?,
            url: url_of(&format!("http://{host}{slash}{}", self.path()), Scheme::Required).ok()?,
            headers: http::HeaderMap::new(),
        })
    }
}

/// `GET /api host orders port 8080`.
impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method(), self.path())?;
        if let Some(host) = &self.host {
            write!(f, " host {host}")?;
        }
        match self.port {
            Some(port) => write!(f, " port {port}"),
            None => Ok(()),
        }
    }
}

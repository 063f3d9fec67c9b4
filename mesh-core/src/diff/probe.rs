//! Requests to ask both policies with.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use http::Method;

use super::hosts::Written;
use super::sample::{self, ANY, Samples};
use crate::policy::model::profile::{ProfileRoute, RequestCondition};
use crate::policy::model::route::{RouteMatch, StringMatch};
use crate::trial::question::Asked;
use crate::trial::read::{Scheme, header_map, url_of};

/// Matches of a host whose overlaps are asked for, each with each; of more, each with those that follow it.
const ALL_PAIRS: usize = 40;
/// How many that are.
const FOLLOWING: usize = 8;

/// The parts of a request that routes look at; what is `None` is as plain as can be.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Probe {
    pub(super) path: Option<String>,
    pub(super) method: Option<String>,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) query: BTreeMap<String, String>,
    pub(super) port: Option<u16>,
    pub(super) scheme: Option<String>,
}

/// All requests for what is written for one host, the plainest first.
pub(super) fn of_host(written: &Written<'_>) -> Vec<Probe> {
    let mut all = BTreeSet::from([Probe::default(), Probe::with_method("POST"), Probe::with_path("/x")]);
    let mut bases = Vec::new();
    for one in &written.matches {
        let base = of_match(one, &mut all);
        if !bases.contains(&base) {
            bases.push(base);
        }
    }
    for class in &written.classes {
        of_class(class, &mut all);
    }
    let reach = if bases.len() <= ALL_PAIRS { ALL_PAIRS } else { FOLLOWING };
    for (index, one) in bases.iter().enumerate() {
        for other in bases.iter().skip(index + 1).take(reach) {
            all.insert(one.over(other));
        }
    }
    all.into_iter().collect()
}

/// A request that fulfils a match; those that fulfil it otherwise, and those that break one condition, go to `all`.
fn of_match(one: &RouteMatch, all: &mut BTreeSet<Probe>) -> Probe {
    let mut asked = Asking {
        base: Probe {
            port: one.port,
            ..Probe::default()
        },
        others: Vec::new(),
    };
    asked.text(one.path.as_ref(), |probe, text| probe.path = text);
    asked.text(one.method.as_ref(), |probe, text| probe.method = text);
    asked.text(one.scheme.as_ref(), |probe, text| probe.scheme = text);
    for (name, condition) in &one.headers {
        let set = |probe: &mut Probe, text: Option<String>| Probe::set(&mut probe.headers, name.as_str(), text);
        asked.text(Some(condition), set);
        asked.others.push(Box::new(move |probe| set(probe, None)));
    }
    for (name, condition) in &one.without_headers {
        for text in sample::of_match(condition).hits {
            asked.others.push(Box::new(move |probe| {
                Probe::set(&mut probe.headers, name.as_str(), Some(text.clone()));
            }));
        }
    }
    for (name, condition) in &one.query {
        let set = |probe: &mut Probe, text: Option<String>| Probe::set(&mut probe.query, name, text);
        asked.text(Some(condition), set);
        asked.others.push(Box::new(move |probe| set(probe, None)));
    }
    if one.port.is_some() {
        asked.others.push(Box::new(|probe| probe.port = None));
    }
    asked.finish(all)
}

/// A way to make another request of one.
type Vary<'p> = Box<dyn Fn(&mut Probe) + 'p>;

/// A request in the making, and how it is varied.
struct Asking<'p> {
    base: Probe,
    others: Vec<Vary<'p>>,
}

impl<'p> Asking<'p> {
    /// Takes a condition's first text for the request, and the others for its variants.
    fn text(&mut self, condition: Option<&StringMatch>, set: impl Fn(&mut Probe, Option<String>) + Copy + 'p) {
        let Some(condition) = condition else { return };
        let Samples { hits, misses } = sample::of_match(condition);
        let mut hits = hits.into_iter();
        set(&mut self.base, hits.next());
        for text in hits.chain(misses) {
            self.others.push(Box::new(move |probe| set(probe, Some(text.clone()))));
        }
    }

    fn finish(self, all: &mut BTreeSet<Probe>) -> Probe {
        for vary in &self.others {
            let mut probe = self.base.clone();
            vary(&mut probe);
            all.insert(probe);
        }
        all.insert(self.base.clone());
        self.base
    }
}

fn of_class(class: &ProfileRoute, all: &mut BTreeSet<Probe>) {
    let mut atoms = Atoms::default();
    atoms.collect(&class.condition);
    atoms.paths.push("/".to_owned());
    for path in &atoms.paths {
        all.insert(Probe::with_path(path));
        for method in &atoms.methods {
            let mut probe = Probe::with_path(path);
            probe.method = Some(method.to_string());
            all.insert(probe);
        }
    }
}

/// The methods and texts for the paths that a condition names, at whatever depth.
#[derive(Default)]
struct Atoms<'p> {
    methods: Vec<&'p Method>,
    paths: Vec<String>,
}

impl<'p> Atoms<'p> {
    fn collect(&mut self, condition: &'p RequestCondition) {
        match condition {
            RequestCondition::Method(method) => self.methods.push(method),
            RequestCondition::Path(regex) => self.paths.extend(sample::of_regex(regex)),
            RequestCondition::All(conditions) | RequestCondition::Any(conditions) => {
                for condition in conditions {
                    self.collect(condition);
                }
            }
            RequestCondition::Not(condition) => self.collect(condition),
        }
    }
}

impl Probe {
    fn with_path(path: &str) -> Self {
        Self {
            path: Some(path.to_owned()),
            ..Self::default()
        }
    }

    fn with_method(method: &str) -> Self {
        Self {
            method: Some(method.to_owned()),
            ..Self::default()
        }
    }

    fn set(fields: &mut BTreeMap<String, String>, name: &str, text: Option<String>) {
        match text {
            Some(text) => fields.insert(name.to_owned(), text),
            None => fields.remove(name),
        };
    }

    /// A request that fulfils both, as far as one can: of two paths the longer one, of two texts one's own.
    fn over(&self, other: &Self) -> Self {
        let longer = |one: &Option<String>, other: &Option<String>| match (one, other) {
            (Some(one), Some(other)) if other.len() > one.len() => Some(other.clone()),
            (one, other) => one.clone().or_else(|| other.clone()),
        };
        let both = |one: &BTreeMap<String, String>, other: &BTreeMap<String, String>| {
            let mut both = other.clone();
            both.extend(one.clone());
            both
        };
        Self {
            path: longer(&self.path, &other.path),
            method: self.method.clone().or_else(|| other.method.clone()),
            headers: both(&self.headers, &other.headers),
            query: both(&self.query, &other.query),
            port: self.port.or(other.port),
            scheme: self.scheme.clone().or_else(|| other.scheme.clone()),
        }
    }

    /// The request to a host; `None` where it is none that can be sent.
    pub(super) fn to(&self, host: &str) -> Option<Asked> {
        let host = match host.strip_prefix('*') {
            Some("") => format!("{ANY}.example"),
            Some(suffix) => format!("{ANY}{suffix}"),
            None if host.contains(':') => format!("[{host}]"),
            None => host.to_owned(),
        };
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        let scheme = self.scheme.as_deref().unwrap_or("http");
        let url = format!("{scheme}://{host}{port}{}", self.target());
        let headers = self.headers.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        Some(Asked {
            method: Method::from_bytes(self.method().as_bytes()).ok()?,
            url: url_of(&url, Scheme::Required).ok()?,
            headers: header_map(headers).ok()?,
        })
    }

    fn method(&self) -> &str {
        self.method
            .as_deref()
            .filter(|method| !method.is_empty())
            .unwrap_or("GET")
    }

    pub(super) fn target(&self) -> String {
        let path = self.path.as_deref().unwrap_or("/");
        let slash = if path.starts_with('/') { "" } else { "/" };
        let query: Vec<String> = self.query.iter().map(|(name, text)| format!("{name}={text}")).collect();
        match query.is_empty() {
            true => format!("{slash}{path}"),
            false => format!("{slash}{path}?{}", query.join("&")),
        }
    }
}

/// `GET /api port 8080 x-version: canary`.
impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method(), self.target())?;
        if let Some(scheme) = &self.scheme {
            write!(f, " by {scheme}")?;
        }
        if let Some(port) = self.port {
            write!(f, " port {port}")?;
        }
        self.headers
            .iter()
            .try_for_each(|(name, text)| write!(f, " {name}: {text}"))
    }
}

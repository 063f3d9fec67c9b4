//! Requests and connections about everything that policies name.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use mesh_core::identity::SpiffeId;
use mesh_core::policy::source::Node;

use crate::documents::{items, text};

/// The most requests for one file.
const LIMIT: usize = 8_000;

/// A request, or a connection, that both sides are asked about.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) id: Option<String>,
    pub(crate) address: IpAddr,
    pub(crate) local: IpAddr,
    pub(crate) port: u16,
    pub(crate) server_name: Option<String>,
    pub(crate) method: String,
    pub(crate) authority: String,
    pub(crate) path: String,
    pub(crate) header: Option<(String, String)>,
}

/// Values for each attribute, from what the policies name.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    ids: BTreeSet<Option<String>>,
    addresses: BTreeSet<IpAddr>,
    locals: BTreeSet<IpAddr>,
    ports: BTreeSet<u16>,
    server_names: BTreeSet<Option<String>>,
    methods: BTreeSet<String>,
    authorities: BTreeSet<String>,
    paths: BTreeSet<String>,
    headers: BTreeSet<Option<(String, String)>>,
}

/// Texts that fit a pattern, and texts that nearly do.
fn samples(pattern: &str) -> Vec<String> {
    if pattern == "*" {
        return vec!["any".into()];
    }
    if let Some(suffix) = pattern.strip_prefix('*') {
        return vec![suffix.into(), format!("x{suffix}"), format!("{suffix}x")];
    }
    if let Some(prefix) = pattern.strip_suffix('*') {
        return vec![prefix.into(), format!("{prefix}x"), format!("x{prefix}")];
    }
    vec![pattern.into(), format!("{pattern}x"), format!("x{pattern}")]
}

fn paths(pattern: &str) -> Vec<String> {
    let mut found = Vec::new();
    for segment in ["a", "a/b", ""] {
        let text = pattern.replace("{**}", segment).replace("{*}", segment);
        found.extend(
            samples(&text)
                .into_iter()
                .map(|text| text.trim_start_matches('x').to_owned()),
        );
        found.extend(
            samples(&text)
                .into_iter()
                .map(|text| format!("/x{}", text.trim_start_matches('x'))),
        );
    }
    let finals: Vec<_> = found.iter().map(|path| format!("{path}/")).collect();
    found.extend(finals);
    found
}

fn addresses(pattern: &str) -> Vec<IpAddr> {
    let net = pattern
        .parse::<IpNet>()
        .or_else(|_| pattern.parse::<IpAddr>().map(IpNet::from));
    let net = net.unwrap();
    let next = |address: IpAddr| match address {
        IpAddr::V4(v4) => IpAddr::V4((u32::from(v4).wrapping_add(1)).into()),
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6).wrapping_add(1)).into()),
    };
    vec![net.network(), net.broadcast(), next(net.broadcast())]
}

impl Pools {
    pub(crate) fn new(policies: &[Node]) -> Self {
        let mut pools = Self::default();
        pools.ids.extend([None, Some("cluster.local/ns/other/sa/other".into())]);
        pools.server_names.insert(None);
        pools.headers.insert(None);
        pools.methods.extend(["GET".into(), "PUT".into()]);
        pools.authorities.extend(["other.example".into()]);
        pools.paths.extend(["/".into()]);
        pools.ports.extend([80, 7777]);
        pools.addresses.insert("10.0.0.9".parse().unwrap());
        pools.locals.insert("10.0.0.10".parse().unwrap());
        for policy in policies {
            pools.walk(policy, "");
        }
        pools.ids.retain(|id| id.as_ref().is_none_or(|id| spiffe(id).is_some()));
        pools
    }

    fn walk(&mut self, node: &Node, name: &str) {
        if let Some(key) = text(node, &["key"]) {
            for list in ["values", "notValues"] {
                items(node, &[list])
                    .iter()
                    .for_each(|value| self.add(key, value.as_text().unwrap()));
            }
            return;
        }
        for (key, value) in node.entries() {
            self.walk(value, &key.name);
        }
        for item in node.items() {
            match item.as_text() {
                Some(value) => self.add(name, value),
                None => self.walk(item, name),
            }
        }
    }

    fn add(&mut self, field: &str, value: &str) {
        let field = field.strip_prefix("not").map_or_else(
            || field.to_owned(),
            |rest| {
                let (first, rest) = rest.split_at(1);
                format!("{}{rest}", first.to_lowercase())
            },
        );
        match &*field {
            "principals" | "source.principal" | "namespaces" | "source.namespace" | "serviceAccounts"
            | "trustDomains" => {
                self.ids.extend(ids(&field, value).into_iter().map(Some));
            }
            "ipBlocks" | "source.ip" | "remoteIpBlocks" | "remote.ip" => self.addresses.extend(addresses(value)),
            "destination.ip" => self.locals.extend(addresses(value)),
            "ports" | "destination.port" => self.ports.extend([value.parse::<u16>().unwrap()]),
            "connection.sni" => self.server_names.extend(samples(value).into_iter().map(Some)),
            "methods" | "request.headers[:method]" => self.methods.extend(samples(value)),
            "hosts" => {
                let hosts = samples(value).into_iter().map(|host| host.trim_matches('.').to_owned());
                let hosts = hosts.flat_map(|host| [host.to_uppercase(), format!("{host}:8080"), host]);
                self.authorities.extend(hosts);
            }
            "paths" => self
                .paths
                .extend(paths(value).into_iter().filter(|path| path.starts_with('/'))),
            "requestPrincipals" => {}
            _ => {
                if let Some(name) = field.strip_prefix("request.headers[") {
                    let name = name.trim_end_matches(']');
                    let values = samples(value).into_iter().chain([String::new()]);
                    self.headers.extend(values.map(|value| Some((name.to_owned(), value))));
                }
            }
        }
    }

    /// All combinations, or as many as there is room for, spread over all.
    pub(crate) fn requests(&self) -> Vec<Asked> {
        let lengths = [
            self.ids.len(),
            self.addresses.len(),
            self.locals.len(),
            self.ports.len(),
            self.server_names.len(),
            self.methods.len(),
            self.authorities.len(),
            self.paths.len(),
            self.headers.len(),
        ];
        let all: u64 = lengths.iter().map(|length| *length as u64).product();
        let count = all.min(LIMIT as u64);
        let mut state = 7u64;
        let draws = (0..count).map(|index| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            if all <= LIMIT as u64 {
                index
            } else {
                (state >> 16) % all
            }
        });
        let mut found = Vec::new();
        for mut draw in draws {
            let mut next = |length: usize| {
                let place = usize::try_from(draw % length as u64).unwrap();
                draw /= length as u64;
                place
            };
            found.push(Asked {
                id: nth(&self.ids, next(lengths[0])),
                address: nth(&self.addresses, next(lengths[1])),
                local: nth(&self.locals, next(lengths[2])),
                port: nth(&self.ports, next(lengths[3])),
                server_name: nth(&self.server_names, next(lengths[4])),
                method: nth(&self.methods, next(lengths[5])),
                authority: nth(&self.authorities, next(lengths[6])),
                path: nth(&self.paths, next(lengths[7])),
                header: nth(&self.headers, next(lengths[8])),
            });
        }
        found
    }
}

fn nth<T: Clone>(pool: &BTreeSet<T>, place: usize) -> T {
    pool.iter().nth(place).unwrap().clone()
}

pub(crate) fn spiffe(id: &str) -> Option<SpiffeId> {
    SpiffeId::parse(&format!("spiffe://{id}")).ok()
}

/// Ids that a condition of a source is about.
fn ids(field: &str, value: &str) -> Vec<String> {
    const DOMAINS: [&str; 7] = [
        "cluster.local",
        "td1",
        "foobar",
        "new-td",
        "old-td",
        "some-trustdomain",
        "badly",
    ];
    let of = |make: &dyn Fn(&str) -> String| samples(value).iter().map(|text| make(text)).collect();
    match field {
        "namespaces" | "source.namespace" => of(&|text| format!("cluster.local/ns/{text}/sa/a")),
        "trustDomains" => of(&|text| format!("{text}/ns/foo/sa/a")),
        "serviceAccounts" => {
            let (namespace, name) = value.split_once('/').unwrap_or(("foo", value));
            vec![
                format!("cluster.local/ns/{namespace}/sa/{name}"),
                format!("td1/ns/{namespace}/sa/{name}x"),
                format!("td1/ns/x{namespace}/sa/{name}"),
            ]
        }
        _ => {
            let mut found = samples(value);
            let path = value.split_once('/').map(|(_, path)| path);
            for domain in DOMAINS {
                found.extend(path.map(|path| format!("{domain}/{path}")));
                found.extend(value.strip_prefix('*').map(|rest| format!("{domain}{rest}")));
                found.extend(value.strip_prefix('*').map(|rest| format!("{domain}/x{rest}")));
            }
            found.extend(samples(value).iter().map(|text| format!("{text}/x")));
            found
        }
    }
}

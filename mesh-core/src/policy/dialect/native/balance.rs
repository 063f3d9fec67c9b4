//! Which endpoint is picked: `balance`, `hash`, `warmup`, `locality`.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::form::{
    Between, Count, Dur, DurOrZero, Flag, Form, Given, HeaderKey, Name, NonEmpty, Opt, Pairs, Schema, Text, TextKey,
    Tree, Wide, form, one_of,
};
use super::scope::Scope;
use crate::policy::diagnostic::{Code, Diagnostic};
use crate::policy::model::traffic::{Algorithm, HashKey, Locality, Warmup};
use crate::policy::reader::{Reader, choice};
use crate::policy::source::{Node, Value};

const SIMPLE: &[(&str, Algorithm)] = &[
    ("round_robin", Algorithm::RoundRobin),
    ("random", Algorithm::Random),
    ("least_request", Algorithm::LeastRequest),
];

/// A name; those that hash, with the size of their table.
pub(super) struct Balance;

impl Form for Balance {
    type Of = Algorithm;

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Algorithm> {
        match node.value {
            Value::Mapping(_) => {
                let found = Hashing::read(cx, node, scope)?;
                let message = format!("`balance` is {}: endpoints are picked whatever the request", not_yet());
                cx.report(Diagnostic::new(Code::NOT_YET_IN_FORCE, node.span, message));
                Some(found)
            }
            _ => choice(SIMPLE)(cx, node),
        }
    }

    fn write(value: &Algorithm) -> Tree {
        match SIMPLE.iter().find(|(_, known)| known == value) {
            Some((name, _)) => Tree::text(*name),
            None => Hashing::write(value),
        }
    }

    fn schema(schema: &mut Schema) -> Json {
        json!({ "oneOf": [{ "enum": ["round_robin", "random", "least_request"] }, Hashing::schema(schema)] })
    }
}

pub(super) fn not_yet() -> &'static str {
    Code::NOT_YET_IN_FORCE.title()
}

form! {
    /// The table of consistent hashing.
    Table of TableSize; {
        "size" [required] size: Wide;
    }
}

/// The size of a table.
#[derive(Default, PartialEq)]
pub(super) struct TableSize {
    size: u64,
}

one_of! {
    /// What needs more than a name.
    Hashing of Algorithm; {
        "ring_hash" Algorithm::RingHash(size) => &TableSize { size: *size }, |table| Algorithm::RingHash(table.size), Table;
        "maglev" Algorithm::Maglev(size) => &TableSize { size: *size }, |table| Algorithm::Maglev(table.size), Table;
        "passthrough" _ => &true, |_| Algorithm::Passthrough, Given;
    }
}

/// A cookie that is hashed.
#[derive(Default, PartialEq)]
pub(super) struct CookieKey {
    name: String,
    path: Option<String>,
    ttl: Option<Duration>,
    attributes: Vec<(String, String)>,
}

form! {
    /// The cookie that keeps a caller with an endpoint.
    Cookie of CookieKey; {
        "name" [required] name: Name;
        "path" path: Opt<Text>;
        "ttl" ttl: Opt<DurOrZero>;
        "attributes" attributes: Pairs<TextKey, Text>;
    }
}

impl CookieKey {
    fn of(key: &HashKey) -> Self {
        match key.clone() {
            HashKey::Cookie {
                name,
                path,
                ttl,
                attributes,
            } => Self {
                name,
                path,
                ttl,
                attributes,
            },
            _ => Self::default(),
        }
    }

    fn key(self) -> HashKey {
        let Self {
            name,
            path,
            ttl,
            attributes,
        } = self;
        HashKey::Cookie {
            name,
            path,
            ttl,
            attributes,
        }
    }
}

one_of! {
    /// What is hashed.
    Hash of HashKey; {
        "header" HashKey::Header(name) => name, HashKey::Header, HeaderKey;
        "query" HashKey::Query(name) => name, HashKey::Query, Name;
        "cookie" cookie @ HashKey::Cookie { .. } => &CookieKey::of(cookie), CookieKey::key, Cookie;
        "source_ip" _ => &true, |_| HashKey::SourceIp, Given;
    }
}

form! {
    /// A slow start of new endpoints.
    WarmupForm of Warmup = Warmup::new(Duration::ZERO); {
        "duration" [required] duration: Dur;
        "minimum_percent" minimum_percent: Between<0, 100>;
        "aggression" aggression: Between<1, { u32::MAX }>;
    }
}

form! {
    /// Where requests of a locality go.
    LocalityForm of Locality; {
        "enabled" enabled: Opt<Flag>;
        "distribute" distribute: Pairs<TextKey, Pairs<TextKey, Count>>;
        "failover" failover: Pairs<TextKey, Text>;
        "failover_priority" failover_priority: NonEmpty<Text>;
    }
}

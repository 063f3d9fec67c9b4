//! Requests as bytes, and all the ways in which they can be spelt.

use axum::extract::Request;
use proptest::prelude::*;

/// A request before anybody has read it.
#[derive(Clone, PartialEq)]
pub(crate) struct Form {
    pub(crate) method: Vec<u8>,
    /// The request's target, in HTTP/2 `:path`.
    pub(crate) target: Vec<u8>,
    /// In HTTP/2 `:authority`; in HTTP/1.1 the first `Host`.
    pub(crate) authority: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        write!(f, "{} {}", text(&self.method), text(&self.target))?;
        write!(f, " authority {:?}", self.authority.as_deref().map(text))?;
        self.headers
            .iter()
            .try_for_each(|(name, value)| write!(f, ", {name}: {}", text(value)))
    }
}

impl Form {
    /// A request as an application sees it.
    pub(crate) fn of(request: &Request) -> Self {
        let uri = request.uri();
        let mut headers: Vec<_> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
            .collect();
        headers.retain(|(name, _)| name.starts_with("x-role") || name == "host");
        Self {
            method: request.method().as_str().into(),
            target: uri
                .path_and_query()
                .map_or_else(Vec::new, |target| target.as_str().into()),
            authority: uri.authority().map(|authority| authority.as_str().into()),
            headers,
        }
    }
}

/// A change of the spelling of a path, at a place in it.
#[derive(Clone, Copy, Debug)]
enum Spelling {
    Escape,
    EscapeLower,
    EscapeTwice,
    Insert(&'static str),
    Append(&'static str),
    Prepend(&'static str),
    FlipCase,
    Wide,
}

const INSERTS: &[&str] = &[
    "/",
    "//",
    "/./",
    "/x/../",
    "/%2e/",
    "/x/%2E%2e/",
    "/.;a/",
    "/x/..;/",
    ";a=b",
    ";",
    "\\",
    "/\\",
    "\\..\\",
    "%2f",
    "%5c",
    "%00",
    "%0d%0a",
    "\t",
    " ",
    "%20",
    "\u{e9}",
    "%c3%a9",
    "*",
    "%",
    "%zz",
    "%u002f",
    "#",
    "%23",
    "?",
    "%3f",
    "+",
    "@",
    ":",
    "%c0%af",
    "%c0%ae",
    "\0",
    "\x7f",
    "\u{ff0f}",
    "..",
    ".",
    "~",
    ",",
];
const APPENDS: &[&str] = &[
    "/",
    "//",
    "/.",
    "/x/..",
    "?",
    "?x=/public",
    "#",
    "#x",
    ";",
    ";a=b",
    "/;",
    "%2f",
    "%00",
    ".",
    "%20",
    "/%2e",
    "\\",
    "%3b",
    "/*",
    "?a#b",
    "/..;/admin",
];
const PREPENDS: &[&str] = &[
    "/",
    "//",
    "/.",
    "/..",
    "/x/..",
    "/public/..",
    "/public/%2e%2e",
    "/./",
    "/;a",
    "/x;/..",
    "\\",
    "%2f",
    "/%2f",
    "http://orders",
    "HTTP://orders",
    "http://internal.example",
    "https://orders:8080",
    "http://a@orders",
    "http:",
    "//orders",
    "/..;/",
    "",
    "*",
    "/http://orders",
];
const PATHS: &[&str] = &["/admin", "/secret/x", "/secret/", "/public", "/", "/admin/x", "/x"];

fn spelling() -> impl Strategy<Value = Spelling> {
    prop_oneof![
        3 => Just(Spelling::Escape),
        2 => Just(Spelling::EscapeLower),
        1 => Just(Spelling::EscapeTwice),
        3 => prop::sample::select(INSERTS).prop_map(Spelling::Insert),
        2 => prop::sample::select(APPENDS).prop_map(Spelling::Append),
        2 => prop::sample::select(PREPENDS).prop_map(Spelling::Prepend),
        1 => Just(Spelling::FlipCase),
        1 => Just(Spelling::Wide),
    ]
}

fn spell(mut text: Vec<u8>, spelling: Spelling, place: usize) -> Vec<u8> {
    let at = place % text.len().max(1);
    let byte = text.get(at).copied();
    let mut replace = |with: String| {
        if byte.is_some() {
            drop(text.splice(at..=at, with.into_bytes()));
        }
    };
    let byte = byte.unwrap_or_default();
    match spelling {
        Spelling::Escape => replace(format!("%{byte:02X}")),
        Spelling::EscapeLower => replace(format!("%{byte:02x}")),
        Spelling::EscapeTwice => replace(format!("%25{byte:02X}")),
        Spelling::Wide => replace(format!("%u00{byte:02x}")),
        Spelling::FlipCase if byte.is_ascii_alphabetic() => replace(char::from(byte ^ 0x20).to_string()),
        Spelling::FlipCase => {}
        Spelling::Insert(with) => drop(text.splice(at..at, with.bytes())),
        Spelling::Append(with) => text.extend(with.bytes()),
        Spelling::Prepend(with) => drop(text.splice(0..0, with.bytes())),
    }
    text
}

fn targets() -> impl Strategy<Value = Vec<u8>> {
    let spellings = prop::collection::vec((spelling(), 0..64usize), 0..5);
    let spelt = (prop::sample::select(PATHS), spellings).prop_map(|(path, spellings)| {
        let start = path.as_bytes().to_vec();
        spellings
            .into_iter()
            .fold(start, |text, (how, place)| spell(text, how, place))
    });
    prop_oneof![
        40 => spelt,
        1 => Just(b"*".to_vec()),
        1 => Just(b"admin".to_vec()),
        1 => Just(b"".to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ]
}

const METHODS: &[&str] = &[
    "DELETE", "delete", "Delete", "HEAD", "OPTIONS", "PUT", "TRACE", "CONNECT", "PATCH", "get", "FOO", "DELETE ", "",
];
const HOSTS: &[&str] = &[
    "orders",
    "ORDERS",
    "orders:8080",
    "internal.example",
    "Internal.Example",
    "INTERNAL.EXAMPLE.",
    "internal.example..",
    "internal.example:80",
    "internal.example:",
    "internal.example.:443",
    "a@internal.example",
    "internal.example@orders",
    "orders/internal.example",
    "internal%2eexample",
    "internal.example,orders",
    " internal.example",
    "internal.example\t",
    "xn--internal.example",
    "int\u{e9}rnal.example",
    "",
    ":80",
    "[::1]",
    "127.0.0.1",
];
const ROLES: &[(&str, &str)] = &[
    ("x-role", "admin"),
    ("X-Role", "admin"),
    ("x-role", "user"),
    ("x-role", "user,admin"),
    ("x-role", "admin , user"),
    ("x-role", ""),
    ("x-role", " admin "),
    ("x-role", "\tadmin"),
    ("x-role", "\"admin\""),
    ("x-role", "administrator"),
    ("x-role", "Admin"),
    ("x_role", "admin"),
    ("x-role-", "admin"),
    ("x-http-method-override", "DELETE"),
    ("x-original-url", "/admin"),
    ("x-rewrite-url", "/admin"),
    ("x-forwarded-host", "internal.example"),
    ("x-envoy-original-path", "/public"),
    ("forwarded", "host=internal.example"),
    ("connection", "x-role"),
    ("host", "orders"),
    ("host", "internal.example"),
    ("transfer-encoding", "identity"),
    ("upgrade", "h2c"),
];

pub(crate) fn forms() -> impl Strategy<Value = Form> {
    let method = prop_oneof![6 => Just("GET"), 2 => Just("POST"), 2 => prop::sample::select(METHODS)];
    let authority = prop_oneof![
        8 => Just(Some("orders")),
        3 => prop::sample::select(HOSTS).prop_map(Some),
        1 => Just(None),
    ];
    let header = prop::sample::select(ROLES).prop_map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
    let headers = prop_oneof![3 => Just(Vec::new()), 2 => prop::collection::vec(header, 0..4)];
    (method, targets(), authority, headers).prop_map(|(method, target, authority, headers)| Form {
        method: method.into(),
        target,
        authority: authority.map(|host| host.as_bytes().to_vec()),
        headers,
    })
}

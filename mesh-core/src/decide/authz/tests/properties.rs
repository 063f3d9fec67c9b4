//! The compiled index against a plain reading of the model, on random policies and requests.

use proptest::prelude::*;

use super::*;
use crate::policy::model::authz::{Attribute, When};
use crate::request::{PatternShape, RequestView, canonical_pattern};

/// A policy's name, and the place of a rule in it.
type Place = Option<(String, usize)>;

/// What a plain reading of the policies decides: the verdict, the rule that decides, and the one that marks.
type Plain = (bool, Place, Place);

fn min(truths: impl IntoIterator<Item = Truth>) -> Truth {
    truths.into_iter().min().unwrap_or(Truth::True)
}

fn max_or_true(truths: Vec<Truth>) -> Truth {
    truths.into_iter().max().unwrap_or(Truth::True)
}

fn condition<T, V: Copy>(condition: &Condition<T>, value: Option<V>, matches: impl Fn(&T, V) -> bool) -> Truth {
    let (any, none) = (&condition.any_of, &condition.none_of);
    match value {
        _ if any.is_empty() && none.is_empty() => Truth::True,
        None => Truth::Unknown,
        Some(value) => {
            let asked = any.is_empty() || any.iter().any(|pattern| matches(pattern, value));
            Truth::from(asked && !none.iter().any(|pattern| matches(pattern, value)))
        }
    }
}

fn text(pattern: &Pattern, value: &str) -> bool {
    match pattern {
        Pattern::Exact(text) => text == value,
        Pattern::Prefix(text) => value.starts_with(text.as_str()),
        Pattern::Suffix(text) => value.ends_with(text.as_str()),
        Pattern::Present => !value.is_empty(),
        Pattern::Glob(glob) => wild(glob.as_bytes(), value.as_bytes()),
        Pattern::Template(_) | Pattern::Regex(_) => unreachable!("none is generated"),
    }
}

fn wild(glob: &[u8], value: &[u8]) -> bool {
    match (glob, value) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=value.len()).any(|skip| wild(rest, &value[skip..])),
        ([g, glob @ ..], [v, value @ ..]) => g == v && wild(glob, value),
        _ => false,
    }
}

fn path(pattern: &Pattern, value: &str, slash_counts: bool) -> bool {
    let matches = |value: &str| match pattern {
        Pattern::Exact(text) => canonical_pattern(text, PatternShape::Whole).unwrap() == value,
        Pattern::Template(template) => {
            let regex = regex::escape(template)
                .replace(r"\{\*\*\}", ".*")
                .replace(r"\{\*\}", "[^/]+");
            regex::bytes::Regex::new(&format!("^{regex}$"))
                .unwrap()
                .is_match(value.as_bytes())
        }
        other => text(other, value),
    };
    let toggled = match value.strip_suffix('/') {
        Some(shorter) => shorter.to_owned(),
        None if matches!(pattern, Pattern::Exact(_)) => format!("{value}/"),
        None => return matches(value),
    };
    let ignores = !slash_counts && !toggled.is_empty() && !matches!(pattern, Pattern::Prefix(_) | Pattern::Present);
    matches(value) || (ignores && matches(&toggled))
}

fn source_truth(source: &Source, caller: &Caller) -> Truth {
    let id = caller.identity.as_ref().map(|id| id.without_scheme().to_owned());
    let part = |key: &str| {
        let segments: Vec<_> = id.as_deref()?.split('/').skip(1).map(str::to_owned).collect();
        segments
            .chunks(2)
            .find(|pair| pair[0] == key && pair.len() == 2)
            .map(|pair| pair[1].clone())
    };
    let namespace = part("ns");
    let account = namespace
        .clone()
        .zip(part("sa"))
        .map(|(namespace, name)| format!("{namespace}/{name}"));
    min([
        condition(&source.principals, id.as_deref(), text),
        condition(&source.namespaces, namespace.as_deref(), text),
        condition(&source.service_accounts, account.as_deref(), text),
        condition(&source.ip_blocks, Some(caller.address), |block, address| {
            block.contains(&address)
        }),
    ])
}

fn operation_truth(operation: &Operation, action: Action, caller: &Caller, request: Option<&RequestView<'_>>) -> Truth {
    let paths = &operation.paths;
    let known = request
        .filter(|request| request.method != "CONNECT")
        .map(|request| request.path);
    let deny = action != Action::Allow;
    let asked = Condition {
        any_of: paths.any_of.clone(),
        none_of: vec![],
    };
    let excepted = Condition {
        any_of: paths.none_of.clone(),
        none_of: vec![],
    };
    let excepted = match condition(&excepted, known, |p, v| path(p, v, deny)) {
        _ if paths.none_of.is_empty() => Truth::True,
        Truth::True => Truth::False,
        Truth::False => Truth::True,
        Truth::Unknown => Truth::Unknown,
    };
    min([
        condition(&operation.ports, Some(caller.port), |port, actual| *port == actual),
        condition(&operation.methods, request.map(|r| r.method.as_str()), text),
        condition(&asked, known, |p, v| path(p, v, !deny)),
        excepted,
        condition(&operation.hosts, request.map(|r| r.host), text),
    ])
}

fn when_truth(when: &When, action: Action, caller: &Caller, request: Option<&RequestView<'_>>) -> Truth {
    let patterns = |texts: &[String]| texts.iter().map(|text| Pattern::wildcard(text)).collect();
    let mut source = Source::default();
    let condition = Condition {
        any_of: patterns(&when.values.any_of),
        none_of: patterns(&when.values.none_of),
    };
    match when.attribute {
        Attribute::SourcePrincipal => source.principals = condition,
        Attribute::SourceNamespace => source.namespaces = condition,
        Attribute::Header(_) => {
            let Some(request) = request else {
                return Truth::Unknown;
            };
            let Some(value) = request.headers.get("x-tag") else {
                return Truth::from(condition.any_of.is_empty());
            };
            let value = value.to_str().unwrap();
            let is_match = |list: &[Pattern], each: bool| {
                let of_list = || {
                    value
                        .split(',')
                        .any(|one| list.iter().any(|pattern| text(pattern, one)))
                };
                // `*` asks that the header is there, be it empty.
                let is_there = list.contains(&Pattern::Present);
                is_there || list.iter().any(|pattern| text(pattern, value)) || (each && of_list())
            };
            let allow = action == Action::Allow;
            let asked = condition.any_of.is_empty() || is_match(&condition.any_of, !allow);
            return Truth::from(asked && !is_match(&condition.none_of, allow));
        }
        // None of the requests bears a token: a condition on one is unknown, unless it asks for nothing.
        Attribute::Presenter if condition.is_unset() => return Truth::True,
        _ => return Truth::Unknown,
    }
    source_truth(&source, caller)
}

fn looks_at_requests(rule: &Rule) -> bool {
    let of_operation = |operation: &Operation| {
        !(operation.hosts.is_unset() && operation.methods.is_unset() && operation.paths.is_unset())
    };
    let is_header = |when: &When| !matches!(when.attribute, Attribute::SourcePrincipal | Attribute::SourceNamespace);
    rule.to.iter().any(of_operation) || rule.when.iter().any(is_header)
}

fn rule_truth(rule: &Rule, action: Action, caller: &Caller, request: Option<&RequestView<'_>>) -> Truth {
    let from = max_or_true(rule.from.iter().map(|source| source_truth(source, caller)).collect());
    let connect = request.is_some_and(|request| request.method == "CONNECT");
    let named = |operation: &&Operation| operation.methods.any_of.contains(&Pattern::Exact("CONNECT".into()));
    let truths = |operation| operation_truth(operation, action, caller, request);
    let to = if connect && action == Action::Allow {
        rule.to.iter().filter(named).map(truths).max().unwrap_or(Truth::False)
    } else {
        max_or_true(rule.to.iter().map(truths).collect())
    };
    let when = min(rule.when.iter().map(|when| when_truth(when, action, caller, request)));
    if request.is_none() && action == Action::Allow && looks_at_requests(rule) {
        return Truth::Unknown;
    }
    from.min(to).min(when)
}

fn plain(policies: &[AuthorizationPolicy], caller: &Caller, request: Option<&RequestView<'_>>) -> Plain {
    let first = |action, least| {
        policies
            .iter()
            .filter(|policy| policy.action == action)
            .find_map(|policy| {
                let fires = |rule: &Rule| rule_truth(rule, action, caller, request) >= least;
                let index = policy.rules.iter().position(fires)?;
                Some((policy.meta.name.clone(), index))
            })
    };
    let marked = first(Action::Audit, Truth::Unknown);
    let denied = || first(Action::Custom, Truth::Unknown).or_else(|| first(Action::Deny, Truth::Unknown));
    if let Some(rule) = denied() {
        return (false, Some(rule), marked);
    }
    if let Some(rule) = first(Action::Allow, Truth::True) {
        return (true, Some(rule), marked);
    }
    let connect = request.is_some_and(|request| request.method == "CONNECT");
    let allows = !connect && policies.iter().all(|policy| policy.action != Action::Allow);
    (allows, None, marked)
}

fn seen(decision: &Decision<'_>) -> Plain {
    let rule = decision.policy().map(str::to_owned).zip(decision.rule_index());
    let marked = decision.audited().map(|rule| (rule.policy.name.clone(), rule.index));
    (decision.is_allowed(), rule, marked)
}

/// Nothing for most fields, else some of the words, some of them excepted.
fn field<T: Clone + std::fmt::Debug + 'static>(
    word: impl Strategy<Value = T> + Clone + 'static,
) -> BoxedStrategy<Condition<T>> {
    let some = (
        prop::collection::vec(word.clone(), 0..3),
        prop::collection::vec(word, 0..2),
    );
    prop_oneof![
        3 => Just(Condition::default()),
        2 => some.prop_map(|(any_of, none_of)| Condition { any_of, none_of }),
    ]
    .boxed()
}

fn words(texts: &'static [&'static str]) -> impl Strategy<Value = Pattern> + Clone {
    prop::sample::select(texts).prop_map(Pattern::wildcard)
}

const IDS: &[&str] = &[
    "td/ns/a/sa/x",
    "td/ns/a/sa/y",
    "td/ns/b/sa/x",
    "td/ns/b/sa/y",
    "td/other",
    "td/ns/a",
];
const PATHS: &[&str] = &["/", "/a", "/a/", "/a/b", "/a/b/", "/b", "/b/c"];

fn sources() -> impl Strategy<Value = Source> {
    let principal = words(&[
        "td/ns/a/sa/x",
        "td/ns/a/sa/y",
        "td/ns/b/sa/y",
        "td/ns/a/*",
        "td/*",
        "*/sa/x",
        "*",
    ]);
    let namespace = prop::sample::select(&["a", "b", "*", "a*"][..]).prop_map(|glob| Pattern::Glob(glob.into()));
    let account = words(&["a/x", "a/y", "b/x"]);
    let block =
        prop::sample::select(&["10.0.0.0/8", "10.0.0.1/32", "192.0.2.0/24"][..]).prop_map(|b| b.parse().unwrap());
    let all = (field(principal), field(namespace), field(account), field(block));
    all.prop_map(|(principals, namespaces, service_accounts, ip_blocks)| Source {
        principals,
        namespaces,
        service_accounts,
        ip_blocks,
        ..Source::default()
    })
}

fn operations() -> impl Strategy<Value = Operation> {
    let path = prop_oneof![
        3 => words(&["/a", "/a/", "/a/b", "/b", "/", "/%61", "/c"]),
        1 => words(&["/a*", "/a/*", "/*", "*b", "*/", "*"]),
        1 => prop::sample::select(&["/{*}", "/a/{*}", "/{**}/b", "/a/{**}"][..]).prop_map(|t| Pattern::Template(t.into())),
    ];
    let method = words(&["GET", "POST", "P*", "CONNECT", "*"]);
    let host = words(&["h.com", "*.com", "g.com", "h*"]);
    let port = prop::sample::select(&[80u16, 8080][..]);
    let all = (field(host), field(port), field(method), field(path));
    all.prop_map(|(hosts, ports, methods, paths)| Operation {
        hosts,
        ports,
        methods,
        paths,
        ..Operation::default()
    })
}

fn whens() -> impl Strategy<Value = When> {
    let header = Attribute::Header(http::HeaderName::from_static("x-tag"));
    let principals = &["td/ns/a/sa/x", "td/ns/*", "*/sa/y", "*"][..];
    let attribute = prop_oneof![
        (
            Just(Attribute::SourcePrincipal),
            field(prop::sample::select(principals).prop_map(String::from))
        ),
        (
            Just(Attribute::SourceNamespace),
            field(prop::sample::select(&["a", "b"][..]).prop_map(String::from))
        ),
        (
            Just(header),
            field(prop::sample::select(&["t", "u*", "*"][..]).prop_map(String::from))
        ),
        (Just(Attribute::Presenter), Just(Condition::default())),
    ];
    let is_set =
        |(attribute, values): &(Attribute, Condition<String>)| *attribute == Attribute::Presenter || !values.is_unset();
    let set = attribute.prop_filter("a condition has values", is_set);
    set.prop_map(|(attribute, values)| When::new(attribute, values))
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let when = prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(whens(), 1..3)];
    let one = (
        prop::collection::vec(sources(), 0..3),
        prop::collection::vec(operations(), 0..3),
        when,
    );
    let one = one.prop_map(|(from, to, when)| Rule {
        from,
        to,
        when,
        ..Rule::default()
    });
    let one = one.boxed();
    prop_oneof![2 => prop::collection::vec(one.clone(), 0..4), 1 => prop::collection::vec(one, 9..30)]
}

fn policies() -> impl Strategy<Value = Vec<AuthorizationPolicy>> {
    let action = prop_oneof![
        4 => Just(Action::Allow),
        4 => Just(Action::Deny),
        2 => Just(Action::Audit),
        1 => Just(Action::Custom),
    ];
    prop::collection::vec((action, rules()), 0..4).prop_map(|list| {
        let named = list.into_iter().enumerate();
        named
            .map(|(i, (action, rules))| policy(&format!("p{i}"), action, rules))
            .collect()
    })
}

fn callers() -> impl Strategy<Value = Caller> {
    let id = prop::option::weighted(0.8, prop::sample::select(IDS));
    let address = prop::sample::select(&["10.0.0.1", "10.0.0.2", "192.0.2.1"][..]);
    (id, address, prop::sample::select(&[80u16, 8080][..]))
        .prop_map(|(id, address, port)| id.map_or_else(Caller::plain, Caller::new).at(address).on_port(port))
}

fn requests() -> impl Strategy<Value = Request<()>> {
    let method = prop::sample::select(&["GET", "POST", "PUT"][..]);
    let host = prop::sample::select(&["h.com", "g.com", "h.org"][..]);
    let tag = prop::option::of(prop::sample::select(&["t", "u", "u1,t", "", "v"][..]));
    let all = (method, host, prop::sample::select(PATHS), tag);
    let plain = all.prop_map(|(method, host, path, tag)| {
        let mut request = request(method, host, path);
        if let Some(tag) = tag {
            request.headers_mut().insert("x-tag", tag.parse().unwrap());
        }
        request
    });
    prop_oneof![9 => plain, 1 => Just(request("CONNECT", "h.com", "h.com:80"))]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// I18.
    #[test]
    fn the_index_decides_as_a_plain_reading_does(
        policies in policies(), caller in callers(), requests in prop::collection::vec(requests(), 1..6),
    ) {
        let authorizer = compile(&policies);
        let for_connection = authorizer.for_peer(&caller.peer());
        for request in &requests {
            let canonical = canonicalize(request, Options::default()).unwrap();
            let view = canonical.view();
            let expected = plain(&policies, &caller, Some(&view));
            let once = authorizer.authorize(&view, &caller.peer());
            prop_assert_eq!(&seen(&once), &expected, "{}", once);
            prop_assert_eq!(once, for_connection.authorize(&view));
        }
        let connection = authorizer.authorize_connection(&caller.peer());
        prop_assert_eq!(seen(&connection), plain(&policies, &caller, None));
    }

    #[test]
    fn what_is_on_trial_decides_beside_the_others_and_changes_nothing(
        policies in policies(), trial in policies(), caller in callers(), request in requests(),
    ) {
        let on_trial = trial.iter().map(|one| AuthorizationPolicy { enforcement: Enforcement::DryRun, ..one.clone() });
        let both: Vec<_> = policies.iter().cloned().chain(on_trial).collect();
        let canonical = canonicalize(&request, Options::default()).unwrap();
        let view = canonical.view();
        let authorizer = compile(&both);
        prop_assert_eq!(authorizer.path_rules(), compile(&policies).path_rules());
        let decision = authorizer.authorize(&view, &caller.peer());
        prop_assert_eq!(seen(&decision), plain(&policies, &caller, Some(&view)));
        let for_connection = authorizer.for_peer(&caller.peer());
        prop_assert_eq!(decision, for_connection.authorize(&view));
        let (allowed, rule, _) = plain(&trial, &caller, Some(&view));
        let expected = (!trial.is_empty()).then_some((allowed, rule, None));
        prop_assert_eq!(decision.trial().map(|trial| seen(&trial)), expected);
    }

    /// I19.
    #[test]
    fn what_becomes_unknown_turns_no_denial_into_leave(
        policies in policies(), caller in callers(), request in requests(),
    ) {
        let authorizer = compile(&policies);
        let canonical = canonicalize(&request, Options::default()).unwrap();
        let view = canonical.view();
        let known = authorizer.authorize(&view, &caller.peer());
        if !known.is_allowed() {
            let nameless = Caller { identity: None, ..caller.clone() };
            prop_assert!(!authorizer.authorize(&view, &nameless.peer()).is_allowed());
            if view.method != "CONNECT" {
                prop_assert!(!authorizer.authorize_connection(&caller.peer()).is_allowed());
            }
        }
    }
}

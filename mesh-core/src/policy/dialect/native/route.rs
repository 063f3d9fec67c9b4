//! Routes: those of a service, and tables of their own in `routes`.

use serde_json::{Value as Json, json};

use super::Sink;
use super::envelope::object_name;
use super::filter::{
    ANSWERS, Filters, Headers, RedirectForm, Respond, RewriteForm, answer, check_answer, write_answer,
};
use super::form::{
    Count, Created, Form, HostText, Ip, LabelSet, List, NonEmpty, Opt, Port, Schema, Table, Text, Tree, choices, form,
    pair,
};
use super::names::is_dns_label;
use super::retry::{Retry, retry};
use super::route_match::{MatchForm, route_match};
use super::scope::{Scope, write_export};
use super::service::non_empty;
use super::values::count;
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::route::{
    Binding, Destination, HostPattern, RouteRule, RouteTable, RuleOrder, StreamMatch, StreamRule,
};
use crate::policy::reader::{Reader, spanned};
use crate::policy::source::{Key, Node, SourceSpan, Spanned, Value};

/// What a name in `to` stands for.
pub(super) struct Target<'n> {
    pub(super) scope: Scope<'n>,
    /// The service whose routes these are: names are its subsets. Without one they are services.
    own: Option<Own<'n>>,
}

struct Own<'n> {
    host: &'n str,
    name: &'n str,
    has_subsets: bool,
}

impl<'n> Target<'n> {
    /// Names are subsets of this service.
    pub(super) fn of_service(host: &'n str, name: &'n str, service: &Node, scope: Scope<'n>) -> Self {
        let has_subsets = service.get("subsets").is_some_and(|node| !node.is_null());
        let own = Some(Own {
            host,
            name,
            has_subsets,
        });
        Self { scope, own }
    }

    /// Names are services.
    const fn services(scope: Scope<'n>) -> Self {
        Self { scope, own: None }
    }

    /// The destination of a name.
    fn named(&self, cx: &Reader<'_>, name: &str, span: SourceSpan) -> Option<Destination> {
        let own = match &self.own {
            Some(own) => own,
            None if super::names::is_dns_name(name) => {
                return Some(destination(cx, self.scope.full_host(name), None, span));
            }
            None => return refuse_name(cx, span, "the name of a service", name),
        };
        if !is_dns_label(name) {
            return refuse_name(cx, span, "the name of a subset", name);
        }
        if !own.has_subsets {
            let (name, service) = (quoted(name), quoted(own.name));
            let message = format!("{name} is no subset of {service}, which has none");
            let help = format!(
                "add it to `subsets`, or write `to: [{{ service: {} }}]`",
                name.trim_matches('`')
            );
            cx.report(Diagnostic::new(Code::UNKNOWN_REFERENCE, span, message).with_help(help));
            return None;
        }
        Some(destination(cx, own.host.into(), Some(name.into()), span))
    }
}

fn refuse_name<T>(cx: &Reader<'_>, span: SourceSpan, expected: &str, name: &str) -> Option<T> {
    let message = format!("`to`: expected {expected}, found {}", quoted(name));
    cx.report(Diagnostic::new(Code::INVALID_VALUE, span, message));
    None
}

fn destination(cx: &Reader<'_>, host: String, subset: Option<String>, span: SourceSpan) -> Destination {
    Destination {
        host,
        subset,
        port: None,
        weight: 1,
        origin: cx.origin(span),
        ..Destination::default()
    }
}

/// Reads a table of the section `routes`.
pub(super) fn table(cx: &Reader<'_>, node: &Node, sink: &mut Sink<'_>) -> Option<()> {
    let scope = sink.scope;
    let target = Target::services(scope);
    let mut fields = cx.mapping(node)?;
    let name = fields.required("name", spanned(object_name));
    let hosts = fields.required("hosts", |cx, node| {
        non_empty(cx, node, "host", spanned(|cx, node| scope.host_pattern(cx, node)))
    });
    let bindings = fields.optional("gateways", |cx, node| Bindings::read(cx, node, scope));
    let bindings = bindings.unwrap_or_else(|| vec![Binding::Mesh]);
    let export = scope.visible_to(cx, &mut fields);
    let rest = Streams::read_fields(&mut fields, scope);
    let has_streams = !rest.tls.is_empty() || !rest.tcp.is_empty();
    let found = match fields.node("rules") {
        None if has_streams => Some(Vec::new()),
        _ => fields.required("rules", |cx, node| rules(cx, node, &target)),
    };
    fields.finish();
    let (name, hosts) = (name?, hosts?);
    check_hosts(cx, &hosts, &bindings);
    let mut meta = scope.meta(cx, &name, node.span);
    meta.created = rest.meta.created;
    let pattern = |host: Spanned<String>| HostPattern {
        origin: cx.origin(host.span),
        host: host.value,
    };
    let table = RouteTable {
        meta,
        hosts: hosts.into_iter().map(pattern).collect(),
        bindings,
        export,
        rules: found?.into(),
        ..rest
    };
    sink.ledger
        .define_part("route table", (&table.meta, &part(&table)), name.span);
    sink.policy.routes.push(table);
    Some(())
}

/// What tells tables of one name apart: one object of another dialect may be several, of different hosts or gateways.
pub(super) fn part(table: &RouteTable) -> String {
    let sorts = (table.rules.is_empty(), table.tls.is_empty(), table.tcp.is_empty());
    let hosts: Vec<_> = table.hosts.iter().map(|host| &host.host).collect();
    format!("{sorts:?} {hosts:?} {:?}", places(&table.bindings))
}

/// Bindings without the places where they are written.
fn places(bindings: &[Binding]) -> Vec<String> {
    let place = |binding: &Binding| match binding {
        Binding::Mesh => "mesh".into(),
        Binding::Gateway {
            namespace,
            name,
            section,
            port,
            ..
        } => format!("{namespace}/{name} {section:?} {port:?}"),
    };
    bindings.iter().map(place).collect()
}

/// `*` belongs to gateways, and no host may be given twice.
fn check_hosts(cx: &Reader<'_>, hosts: &[Spanned<String>], bindings: &[Binding]) {
    for (index, host) in hosts.iter().enumerate() {
        if host.value == "*" && bindings.contains(&Binding::Mesh) {
            let message = "`hosts`: `*` is for gateways, the clients of the mesh need names";
            let help = "name the hosts, or list only gateways in `gateways`";
            cx.report(Diagnostic::new(Code::INVALID_POLICY, host.span, message).with_help(help));
        }
        let mut earlier = hosts.iter().take(index);
        if let Some(first) = earlier.find(|other| other.value == host.value) {
            let message = format!("`hosts`: {} is given twice", quoted(host));
            let diagnostic = Diagnostic::new(Code::INVALID_POLICY, host.span, message);
            cx.report(diagnostic.with_label(first.span, "given here"));
        }
    }
}

/// A list of `mesh`, `name`, `namespace/name`, or `{ gateway, section, port }`.
pub(super) struct Bindings;

impl Form for Bindings {
    type Of = Vec<Binding>;

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Vec<Binding>> {
        non_empty(cx, node, "gateway", |cx, node| binding(cx, node, scope))
    }

    fn write(value: &Vec<Binding>) -> Tree {
        Tree::List(value.iter().map(write_binding).collect())
    }

    fn schema(schema: &mut Schema) -> Json {
        let long = schema.object("Binding", |schema, object| {
            object.property("gateway", Text::schema(schema), true);
            object.property("section", Text::schema(schema), false);
            object.property("port", Port::schema(schema), false);
        });
        json!({ "type": "array", "minItems": 1, "items": { "oneOf": [{ "type": "string" }, long] } })
    }
}

fn write_binding(binding: &Binding) -> Tree {
    let Binding::Gateway {
        namespace,
        name,
        section,
        port,
        ..
    } = binding
    else {
        return Tree::text("mesh");
    };
    let gateway = Tree::text(format!("{namespace}/{name}"));
    if section.is_none() && port.is_none() {
        return gateway;
    }
    let mut map = Tree::map();
    map.put("gateway", gateway);
    map.put("section", Opt::<Text>::write(section));
    map.put("port", Opt::<Port>::write(port));
    map
}

fn binding(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Binding> {
    if !matches!(node.value, Value::Mapping(_)) {
        return gateway(cx, node, scope);
    }
    let mut fields = cx.mapping(node)?;
    let found = fields.required("gateway", |cx, node| gateway(cx, node, scope));
    let given_section = fields.optional("section", Reader::name);
    let given_port = fields.optional("port", Reader::port);
    fields.finish();
    let mut found = found?;
    match &mut found {
        Binding::Gateway { section, port, .. } => (*section, *port) = (given_section, given_port),
        Binding::Mesh => {
            return cx.invalid(
                node,
                "expected the name of a gateway, and `mesh` is none: write it alone",
            );
        }
    }
    Some(found)
}

fn gateway(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Binding> {
    let text = cx.text(node)?;
    if text == "mesh" {
        return Some(Binding::Mesh);
    }
    let (namespace, name) = text.split_once('/').unwrap_or((scope.namespace, text));
    if !super::envelope::is_namespace(namespace) || !super::envelope::is_object_name(name) {
        let found = quoted(text);
        return cx.invalid(
            node,
            format!("expected `mesh`, the name of a gateway or `namespace/name`, found {found}"),
        );
    }
    Some(Binding::Gateway {
        namespace: namespace.into(),
        name: name.into(),
        origin: cx.origin(node.span),
        section: None,
        port: None,
    })
}

/// Reads rules, the first match of which counts.
pub(super) fn rules(cx: &Reader<'_>, node: &Node, target: &Target<'_>) -> Option<Vec<RouteRule>> {
    non_empty(cx, node, "rule", |cx, node| rule(cx, node, target))
}

fn rule(cx: &Reader<'_>, node: &Node, target: &Target<'_>) -> Option<RouteRule> {
    let mut fields = cx.mapping(node)?;
    let name = fields.optional("name", Reader::name);
    let matches = fields.optional("match", |cx, node| match node.value {
        Value::Sequence(_) => non_empty(cx, node, "match", |cx, node| route_match(cx, node, target.scope)),
        _ => route_match(cx, node, target.scope).map(|one| vec![one]),
    });
    let answer = answer(&mut fields, target.scope);
    let destinations = match (&target.own, fields.node("to")) {
        (_, None) if answer.is_some() => Some(Vec::new()),
        (Some(own), None) => Some(vec![destination(cx, own.host.into(), None, node.span)]),
        _ => fields.required("to", |cx, node| to(cx, node, target)),
    };
    let filters = Filters::read_fields(&mut fields, target.scope);
    let retry = fields.optional("retry", |cx, node| retry(cx, node, target.scope));
    check_answer(cx, &mut fields);
    fields.finish();
    Some(RouteRule {
        name,
        origin: cx.origin(node.span),
        matches: matches.unwrap_or_default(),
        destinations: destinations?,
        answer,
        retry,
        ..filters
    })
}

/// A rule of a table of its own.
pub(super) struct RuleForm;

impl Form for RuleForm {
    type Of = RouteRule;

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<RouteRule> {
        rule(cx, node, &Target::services(scope))
    }

    fn write(value: &RouteRule) -> Tree {
        let mut map = Tree::map();
        map.put("name", Opt::<Text>::write(&value.name));
        match value.matches.as_slice() {
            [] => {}
            [one] => map.put("match", MatchForm::write(one)),
            several => map.put("match", Tree::List(several.iter().map(MatchForm::write).collect())),
        }
        write_answer(value.answer.as_ref(), &mut map);
        if value.answer.is_none() {
            map.put("to", To::write(&value.destinations));
        }
        Filters::write_fields(&without_vain(value), &mut map);
        map.put("retry", Opt::<Retry>::write(&value.retry));
        map
    }

    fn schema(schema: &mut Schema) -> Json {
        schema.object("Rule", |schema, object| {
            let one = MatchForm::schema(schema);
            object.property("name", Text::schema(schema), false);
            object.property(
                "match",
                json!({ "oneOf": [one, { "type": "array", "minItems": 1, "items": one }] }),
                false,
            );
            object.property("to", To::schema(schema), false);
            object.property("redirect", RedirectForm::schema(schema), false);
            object.property("respond", Respond::schema(schema), false);
            object.property("retry", Retry::schema(schema), false);
            Filters::properties(schema, object);
            object.exclude(&["to", "redirect", "respond"]);
            for name in ANSWERS {
                object.exclude(&[name, "rewrite"]);
            }
        })
    }
}

/// A rule without what changes nothing and is not told: the order of changes where only the rule or only destinations
/// have some, and what another virtual service, which delegates here, rewrites of requests that are answered.
fn without_vain(rule: &RouteRule) -> RouteRule {
    let changes_both = !rule.headers.is_empty() && rule.destinations.iter().any(|one| !one.headers.is_empty());
    let mut rule = rule.clone();
    if !changes_both {
        rule.header_order = crate::policy::model::filter::HeaderOrder::default();
    }
    if rule.answer.is_some() {
        rule.rewrite = None;
    }
    rule
}

/// A destination in full.
pub(super) struct DestinationForm;

impl Form for DestinationForm {
    type Of = Destination;

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Destination> {
        in_full(cx, node, &Target::services(scope), false)
    }

    fn write(value: &Destination) -> Tree {
        let mut map = Tree::map();
        match &value.unresolved {
            Some(reason) => map.put("unresolved", Unresolved::write(&(value.host.clone(), reason.clone()))),
            None => map.put("service", HostText::write(&value.host)),
        }
        map.put("subset", Opt::<Text>::write(&value.subset));
        map.put("port", Opt::<Port>::write(&value.port));
        if value.weight != 1 {
            map.put("weight", Count::write(&value.weight));
        }
        DestinationRest::write_fields(value, &mut map);
        map
    }

    fn schema(schema: &mut Schema) -> Json {
        schema.object("Destination", |schema, object| {
            object.property("service", Text::schema(schema), false);
            object.property("unresolved", Unresolved::schema(schema), false);
            object.property("subset", Text::schema(schema), false);
            object.property("port", Port::schema(schema), false);
            object.property("weight", Count::schema(schema), false);
            DestinationRest::properties(schema, object);
            object.exclude(&["service", "unresolved"]);
        })
    }
}

pair! {
    /// What a destination is that no service answers for, and why: its requests are answered with 500.
    Unresolved; "name" Text, "reason" Text
}

/// Destinations: services, or a list in full.
pub(super) struct To;

impl Form for To {
    type Of = Vec<Destination>;

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Vec<Destination>> {
        to(cx, node, &Target::services(scope))
    }

    fn write(value: &Vec<Destination>) -> Tree {
        let is_split = value.len() > 1;
        let item = |destination: &Destination| {
            // The only destination takes everything, whatever its weight.
            let mut map = DestinationForm::write(&Destination {
                weight: 1,
                ..destination.clone()
            });
            if is_split {
                map.put("weight", Count::write(&destination.weight));
            }
            map
        };
        Tree::List(value.iter().map(item).collect())
    }

    fn schema(schema: &mut Schema) -> Json {
        let weights = json!({ "type": "object", "additionalProperties": Count::schema(schema) });
        let name = json!({ "type": "string" });
        let item = DestinationForm::schema(schema);
        json!({ "oneOf": [name, weights, { "type": "array", "minItems": 1, "items": item }] })
    }
}

choices! {
    /// Which of the rules that take a request counts.
    Order of RuleOrder; {
        "written" RuleOrder::Written;
        "specific" RuleOrder::Specific;
    }
}

form! {
    /// The fields of a table beside its rules.
    Streams of RouteTable; {
        "created" meta.created: Created;
        "order" order: Order;
        "tls" [not_yet "connections are not routed"] tls: NonEmpty<StreamForm>;
        "tcp" [not_yet "connections are not routed"] tcp: NonEmpty<StreamForm>;
    }
}

form! {
    /// A rule of connections.
    StreamForm of StreamRule, origin origin; {
        "match" matches: NonEmpty<StreamMatchForm>;
        "to" [required] destinations: To;
    }
}

form! {
    /// A match of connections.
    StreamMatchForm of StreamMatch, origin origin; {
        "sni" sni_hosts: NonEmpty<Text>;
        "subnets" destination_subnets: NonEmpty<Ip>;
        "port" port: Opt<Port>;
        "source_labels" source_labels: LabelSet;
        "source_namespace" source_namespace: Opt<Text>;
        "gateways" bindings: Bindings;
    }
}

/// Prints a table.
pub(super) fn write_table(table: &RouteTable) -> Tree {
    let mut map = Tree::map();
    map.put("name", Tree::text(&table.meta.name));
    let hosts = table.hosts.iter().map(|pattern| HostText::write(&pattern.host));
    map.put("hosts", Tree::List(hosts.collect()));
    if table.bindings != [Binding::Mesh] {
        map.put("gateways", Bindings::write(&table.bindings));
    }
    map.put("visible_to", write_export(&table.export));
    Streams::write_fields(table, &mut map);
    if !table.rules.is_empty() {
        map.put("rules", List::<RuleForm>::write(&table.rules));
    }
    map
}

/// Describes a table.
pub(super) fn table_schema(schema: &mut Schema) -> Json {
    schema.object("RouteTable", |schema, object| {
        object.property("name", Text::schema(schema), true);
        object.property(
            "hosts",
            json!({ "type": "array", "minItems": 1, "items": { "type": "string" } }),
            true,
        );
        object.property("gateways", Bindings::schema(schema), false);
        object.property("visible_to", List::<Text>::schema(schema), false);
        let leads = ["to", "redirect", "respond"].map(|name| json!({ "required": [name] }));
        let rule = json!({ "allOf": [RuleForm::schema(schema), { "anyOf": leads }] });
        object.property("rules", json!({ "type": "array", "minItems": 1, "items": rule }), false);
        Streams::properties(schema, object);
        object.require_one(&["rules", "tls", "tcp"]);
    })
}

/// Reads a name, a mapping of names to weights, or a list of destinations in full.
fn to(cx: &Reader<'_>, node: &Node, target: &Target<'_>) -> Option<Vec<Destination>> {
    let errors = cx.errors();
    let found = match &node.value {
        Value::Scalar(_) => {
            let name = cx.text(node)?;
            vec![target.named(cx, name, node.span)?]
        }
        Value::Mapping(entries) => entries
            .iter()
            .filter_map(|(key, node)| weighted(cx, key, node, target))
            .collect(),
        Value::Sequence(items) => {
            let is_split = items.len() > 1;
            let read = |item: &Node| in_full(cx, item, target, is_split);
            items.iter().filter_map(read).collect()
        }
        _ => return cx.wrong_type(node, "a name, a mapping of names to weights or a list"),
    };
    if cx.errors() > errors {
        return None;
    }
    if found.is_empty() {
        return cx.invalid(node, "expected at least one destination, found none");
    }
    if found.iter().all(|destination| destination.weight == 0) {
        return cx.invalid(node, "the weights of all destinations are 0, one must be more");
    }
    Some(found)
}

fn weighted(cx: &Reader<'_>, key: &Key, node: &Node, target: &Target<'_>) -> Option<Destination> {
    if let Value::Mapping(_) = node.value {
        let message = format!("`to`: expected the weight of {}, found a mapping", quoted(&key.name));
        let help = "a destination with more than a weight is an item of a list: `to: [{ service: orders, weight: 1 }]`";
        cx.report(Diagnostic::new(Code::WRONG_TYPE, node.span, message).with_help(help));
        return None;
    }
    let weight = count(cx, node);
    let mut destination = target.named(cx, &key.name, key.span)?;
    destination.weight = weight?;
    Some(destination)
}

/// Reads `{ service, subset, port, weight }`; the service is the own one where there is one.
fn in_full(cx: &Reader<'_>, node: &Node, target: &Target<'_>, is_split: bool) -> Option<Destination> {
    let mut fields = cx.mapping(node)?;
    let unresolved = fields.optional("unresolved", |cx, node| Unresolved::read(cx, node, target.scope));
    let (name, unresolved) = unresolved.unzip();
    let service = match &target.own {
        _ if name.is_some() => name,
        Some(own) if fields.node("service").is_none() => Some(own.host.to_owned()),
        _ => fields.required("service", |cx, node| target.scope.host_pattern(cx, node)),
    };
    let rest = DestinationRest::read_fields(&mut fields, target.scope);
    let subset = fields.optional("subset", super::names::dns_label);
    let port = fields.optional("port", Reader::port);
    let weight = match is_split {
        true => fields.required("weight", count),
        false => Some(fields.optional("weight", count).unwrap_or(1)),
    };
    fields.finish();
    Some(Destination {
        host: service?,
        subset,
        port,
        weight: weight?,
        unresolved,
        origin: cx.origin(node.span),
        ..rest
    })
}

form! {
    /// What a destination does with its requests.
    DestinationRest of Destination; {
        "headers" headers: Headers;
        "rewrite" rewrite: Opt<RewriteForm>;
    }
}

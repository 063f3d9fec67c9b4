//! What is tried again: `retry`, `retry_budget`, `retry_concurrency`.

use serde_json::{Value as Json, json};

use super::form::{Count, Dur, DurOrZero, Form, Opt, Schema, Share, Tree, choices, form};
use super::scope::Scope;
use super::values::{check_codes, duration, retry_condition};
use crate::decide::retry::{CONDITIONS, default_conditions};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::traffic::{
    Backoff, PreviousHosts, RemoteLocalities, RetryBudget, RetryConcurrency, RetryOn, RetryPolicy,
};
use crate::policy::reader::{Reader, within};
use crate::policy::source::{Node, Value};

choices! {
    /// Whether an endpoint that failed is tried again.
    Previous of PreviousHosts; {
        "avoid" PreviousHosts::Avoid;
        "allow" PreviousHosts::Allow;
    }
}

choices! {
    /// Whether retries may leave the locality.
    Remote of RemoteLocalities; {
        "stay" RemoteLocalities::Stay;
        "leave" RemoteLocalities::Leave;
    }
}

/// What the table of a retry starts from; `attempts` is required.
fn no_retry() -> RetryPolicy {
    RetryPolicy::new(0, default_conditions(), crate::policy::model::Origin::default())
}

form! {
    /// The retries of a route or a service.
    Retry of RetryPolicy = no_retry(), origin origin, check refuse_beside_none; {
        "attempts" [required] attempts: Count;
        "on" on: Conditions;
        "per_try_timeout" per_try_timeout: Opt<Dur>;
        "backoff" backoff: Pause;
        "previous_endpoints" previous_hosts: Previous;
        "other_localities" [not_yet "endpoints are tried whatever their locality"] remote_localities: Remote;
    }
}

/// Reads the retries of a route or a service.
pub(super) fn retry(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<RetryPolicy> {
    let found = Retry::read(cx, node, scope)?;
    // Without `attempts` there is no policy, and the problem is told.
    node.get("attempts").map(|_| found)
}

/// Without attempts nothing else could be in force.
fn refuse_beside_none(cx: &Reader<'_>, node: &Node, found: &RetryPolicy) {
    if found.attempts != 0 || node.get("attempts").and_then(Node::as_text) != Some("0") {
        return;
    }
    for (key, _) in node
        .entries()
        .iter()
        .filter(|(key, value)| &*key.name != "attempts" && !value.is_null())
    {
        let message = format!("{} has no effect with `attempts: 0`", quoted(&key.name));
        cx.report(Diagnostic::new(Code::INVALID_POLICY, key.span, message));
    }
}

/// Conditions and status codes, each an item.
struct Conditions;

impl Form for Conditions {
    type Of = RetryOn;

    fn read(cx: &Reader<'_>, node: &Node, _: Scope<'_>) -> Option<RetryOn> {
        let Value::Sequence(items) = &node.value else {
            return cx.wrong_type(node, "a list such as `[5xx, reset, 409]`");
        };
        if items.is_empty() {
            return cx.invalid(node, "expected at least one condition, leave `on` out for the default");
        }
        let mut on = RetryOn::default();
        for item in items {
            let Some(token) = cx.any_text(item) else { continue };
            retry_condition(cx, &mut on, ("on", &token), item.span);
        }
        check_codes(cx, &on, "on", node.span);
        Some(on)
    }

    fn write(value: &RetryOn) -> Tree {
        let row = |condition| CONDITIONS.iter().find(|row| row.condition == condition);
        let names = value.conditions.iter().filter_map(|condition| row(*condition));
        let names = names.map(|row| Tree::text(row.name));
        let codes = value.codes.iter().map(|code| Tree::number(code.as_u16()));
        Tree::List(names.chain(codes).collect())
    }

    fn schema(_: &mut Schema) -> Json {
        let names: Vec<&str> = CONDITIONS.iter().map(|row| row.name).collect();
        let code = json!({ "type": "integer", "minimum": 100, "maximum": 599 });
        json!({ "type": "array", "minItems": 1, "items": { "anyOf": [{ "enum": names }, code, { "type": "string" }] } })
    }
}

/// The first pause, or `{ base, max, least }`.
struct Pause;

impl Form for Pause {
    type Of = Backoff;

    fn read(cx: &Reader<'_>, node: &Node, _: Scope<'_>) -> Option<Backoff> {
        if !matches!(node.value, Value::Mapping(_)) {
            return duration(cx, node).map(Backoff::from_base);
        }
        let mut fields = cx.mapping(node)?;
        let base = fields.required("base", duration);
        let max = fields.optional("max", duration);
        let least = fields.optional("least", super::values::duration_or_zero);
        let ends = fields.node("max");
        fields.finish();
        let mut backoff = Backoff::from_base(base?);
        backoff.max = max.unwrap_or(backoff.max);
        backoff.least = least.unwrap_or(backoff.least);
        match ends {
            Some(node) if backoff.max < backoff.base => cx.invalid(node, "expected at least `base`"),
            _ => Some(backoff),
        }
    }

    fn write(value: &Backoff) -> Tree {
        if *value == Backoff::from_base(value.base) {
            return Dur::write(&value.base);
        }
        let mut map = Tree::map();
        map.put("base", Dur::write(&value.base));
        map.put("max", Dur::write(&value.max));
        map.put("least", DurOrZero::write(&value.least));
        map
    }

    fn schema(schema: &mut Schema) -> Json {
        let duration = Dur::schema(schema);
        let long = schema.object("Pause", |schema, object| {
            object.property("base", Dur::schema(schema), true);
            object.property("max", Dur::schema(schema), false);
            object.property("least", DurOrZero::schema(schema), false);
        });
        json!({ "oneOf": [duration, long] })
    }
}

/// Retries for each hundred first tries.
struct BudgetPercent;

impl Form for BudgetPercent {
    type Of = u32;

    fn read(cx: &Reader<'_>, node: &Node, _: Scope<'_>) -> Option<u32> {
        within(0..=100_000)(cx, node)
    }

    fn write(value: &u32) -> Tree {
        Tree::number(*value)
    }

    fn schema(_: &mut Schema) -> Json {
        json!({ "type": "integer", "minimum": 0, "maximum": 100_000 })
    }
}

form! {
    /// A budget of retries beside first tries.
    Budget of RetryBudget; {
        "percent" percent: BudgetPercent;
        "min_per_second" min_per_second: Count;
        "ttl" ttl: Dur;
    }
}

form! {
    /// How many retries may be under way at a time.
    Concurrency of RetryConcurrency; {
        "percent" share: Share;
        "min" min: Count;
    }
}

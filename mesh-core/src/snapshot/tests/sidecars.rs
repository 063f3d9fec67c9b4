//! What the clients of a workload see of the mesh.

use super::*;
use crate::policy::model::OutboundMode;

/// Three services of two namespaces.
const SERVICES: &str = "---
namespace: shop
services: { orders: { endpoints: [\"10.0.0.1:80\"] }, cart: { endpoints: [\"10.0.0.2:80\"] } }
---
namespace: prod
services: { reviews: { endpoints: [\"10.0.0.3:80\"] } }
";

const HOSTS: [&str; 3] = ["orders.shop", "cart.shop", "reviews.prod"];

fn sidecar(namespace: &str, name: &str, spec: &str) -> String {
    object("Sidecar", namespace, name, &format!("{{ {spec} }}"))
}

fn is_seen(snapshot: &Snapshot, host: &str) -> bool {
    let request = Request::get(format!("http://{host}/")).body(()).unwrap();
    let canonical = canonicalize(&request, Options::outbound()).unwrap();
    matches!(snapshot.outbound.route(&canonical.view()), RouteResult::Route(_))
}

/// Which of the services a workload of `shop` with the label `app: web` sees.
fn seen(documents: &[String]) -> [bool; 3] {
    let workload = in_namespace("shop").label("app", "web");
    let snapshot = compile(&[SERVICES.to_owned(), documents.concat()].concat(), &workload);
    HOSTS.map(|host| is_seen(&snapshot, host))
}

#[test]
fn without_a_sidecar_everything_is_seen() {
    assert_eq!(seen(&[]), [true; 3]);
}

#[test]
fn hosts_outside_of_a_sidecar_are_not_seen() {
    for (hosts, expected) in [
        ("'./*'", [true, true, false]),
        ("'*/*'", [true; 3]),
        ("'prod/*'", [false, false, true]),
        ("'~/*'", [false; 3]),
        (
            "'./orders.shop.svc.cluster.local', '*/*.prod.svc.cluster.local'",
            [true, false, true],
        ),
        ("'prod/orders.shop.svc.cluster.local'", [false; 3]),
    ] {
        let document = sidecar("shop", "one", &format!("egress: [{{ hosts: [{hosts}] }}]"));
        assert_eq!(seen(&[document]), expected, "{hosts}");
    }
}

#[test]
fn the_selected_workload_goes_before_the_namespace_and_this_before_the_root() {
    let selected = sidecar(
        "shop",
        "c",
        "workloadSelector: { labels: { app: web } }, egress: [{ hosts: ['shop/orders.*'] }]",
    )
    .replace("orders.*", "orders.shop.svc.cluster.local");
    let other = sidecar(
        "shop",
        "a",
        "workloadSelector: { labels: { app: other } }, egress: [{ hosts: ['~/*'] }]",
    );
    let local = sidecar("shop", "b", "egress: [{ hosts: ['./*'] }]");
    let root = sidecar("istio-system", "d", "egress: [{ hosts: ['prod/*'] }]");
    let elsewhere = sidecar("prod", "e", "egress: [{ hosts: ['~/*'] }]");

    let all = [other.clone(), local.clone(), selected, root.clone(), elsewhere.clone()];
    assert_eq!(seen(&all), [true, false, false]);
    assert_eq!(seen(&[other.clone(), local, root.clone()]), [true, true, false]);
    assert_eq!(seen(&[other.clone(), root]), [false, false, true]);
    assert_eq!(seen(&[other, elsewhere]), [true; 3]);
}

#[test]
fn rules_that_are_seen_lead_to_services_that_are_not() {
    let rule = object(
        "VirtualService",
        "shop",
        "front",
        "{ hosts: [front.shop.svc.cluster.local], http: [{ route: [{ destination: { host: reviews.prod.svc.cluster.local } }] }] }",
    );
    let document = sidecar("shop", "one", "egress: [{ hosts: ['./*'] }]");
    let text = [SERVICES, &rule, &document].concat();
    let snapshot = compile(&text, &in_namespace("shop"));
    assert!(!is_seen(&snapshot, "reviews.prod"));
    let target = target(&snapshot, "http://front/");
    assert_eq!(target.endpoints[0].to_string(), "10.0.0.3:80");
}

#[test]
fn rules_of_hosts_that_are_not_seen_are_not_used() {
    let rule = object(
        "VirtualService",
        "shop",
        "cart",
        "{ hosts: [cart], http: [{ name: canary, route: [{ destination: { host: orders } }] }] }",
    );
    let document = sidecar(
        "shop",
        "one",
        "egress: [{ hosts: ['./orders.shop.svc.cluster.local'] }]",
    );
    let with = compile(&[SERVICES, &rule, &document].concat(), &in_namespace("shop"));
    let without = compile(&[SERVICES, &rule].concat(), &in_namespace("shop"));
    assert!(!is_seen(&with, "cart.shop"));
    assert_eq!(route(&without, "http://cart/"), "canary");
}

#[test]
fn settings_alone_make_no_host_seen() {
    let rule = object("DestinationRule", "prod", "r", "{ host: other.prod.svc.cluster.local }");
    let document = sidecar("shop", "one", "egress: [{ hosts: ['./*'] }]");
    let without = compile(&rule, &in_namespace("shop"));
    let with = compile(&[rule, document].concat(), &in_namespace("shop"));
    assert!(is_seen(&without, "other.prod"));
    assert!(!is_seen(&with, "other.prod"));
}

#[test]
fn a_sidecar_says_what_becomes_of_unknown_hosts() {
    let mode = |documents: &str, workload: &Workload| compile(documents, workload).mesh.outbound;
    let document = sidecar("shop", "one", "outboundTrafficPolicy: { mode: REGISTRY_ONLY }");
    let text = [SERVICES, &document].concat();
    assert_eq!(mode(&text, &in_namespace("shop")), OutboundMode::RegistryOnly);
    assert_eq!(mode(&text, &in_namespace("prod")), OutboundMode::AllowAny);
}

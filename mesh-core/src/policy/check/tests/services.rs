use super::{findings, istio, route};

const SHOP: &str = "\
services:
  shop: { ports: [80, 81], endpoints: [{ address: 10.0.0.1, labels: { version: v1, zone: a } }] }
  cart: {}
";

fn to(destination: &str) -> String {
    route(
        "front.example.com",
        &format!("{{ route: [{{ destination: {{ {destination} }} }}] }}"),
    )
}

#[test]
fn a_service_that_others_of_its_namespace_leave_out_is_told() {
    let expected = "a:4:54: warning[MESH0506]: no file defines the service `shup.default.svc.cluster.local`, as others of its namespace";
    assert_eq!(findings(&[&to("host: shup"), SHOP]), [expected]);
    assert_eq!(
        super::help(&[&to("host: shup"), SHOP]),
        [Some("did you mean `shop.default.svc.cluster.local`?".into())]
    );
    assert_eq!(
        super::help(&[&to("host: unlike"), SHOP]),
        [Some("DNS resolves it, if another place defines it".into())]
    );
    for host in [
        "shop",
        "cart",
        "shop.default.svc.cluster.local",
        "a.example.com",
        "other.far.svc.cluster.local",
    ] {
        assert_eq!(findings(&[&to(&format!("host: {host}")), SHOP]), [""; 0], "{host}");
    }
    assert_eq!(
        findings(&[&to("host: shup")]),
        [""; 0],
        "another place defines the services"
    );
}

#[test]
fn mirrors_and_settings_need_their_services_too() {
    let mirror = "{ route: [{ destination: { host: shop } }], mirror: { host: shup } }";
    assert_eq!(findings(&[&route("front.example.com", mirror), SHOP]).len(), 1);
    let settings = istio(
        "DestinationRule",
        "r",
        "host: shup, trafficPolicy: { loadBalancer: { simple: RANDOM } }",
    );
    assert_eq!(findings(&[&settings, SHOP]).len(), 1);
    let subset = "{ route: [{ destination: { host: shop } }], mirror: { host: shop, subset: v9 } }";
    let rule = istio(
        "DestinationRule",
        "r",
        "host: shop, subsets: [{ name: v1, labels: { version: v1 } }]",
    );
    let found = findings(&[&route("front.example.com", subset), &rule, SHOP]);
    assert!(found.len() == 1 && found[0].contains("has no subset `v9`"), "{found:?}");
}

#[test]
fn a_port_that_the_service_does_not_have_is_told() {
    assert_eq!(
        findings(&[&to("host: shop, port: { number: 82 }"), SHOP]),
        ["a:4:54: warning[MESH0506]: `shop.default.svc.cluster.local` has no port 82"]
    );
    assert_eq!(findings(&[&to("host: shop, port: { number: 81 }"), SHOP]), [""; 0]);
    assert_eq!(findings(&[&to("host: cart, port: { number: 82 }"), SHOP]), [""; 0]);
}

#[test]
fn a_subset_without_endpoints_is_told() {
    let subset = |labels: &str| {
        let rule = istio(
            "DestinationRule",
            "r",
            &format!("host: shop, subsets: [{{ name: s, labels: {{ {labels} }} }}]"),
        );
        findings(&[SHOP, &rule])
    };
    assert_eq!(
        subset("version: v2"),
        ["b:4:31: warning[MESH0524]: subset `s` of `shop.default.svc.cluster.local` has no endpoint"]
    );
    assert_eq!(subset("version: v1, zone: b").len(), 1);
    assert_eq!(subset("version: v1"), [""; 0]);
    let by_dns = istio(
        "DestinationRule",
        "r",
        "host: cart, subsets: [{ name: s, labels: { version: v2 } }]",
    );
    assert_eq!(findings(&[SHOP, &by_dns]), [""; 0]);
}

#[test]
fn documents_of_a_host_agree_on_the_protocol_of_a_port() {
    let entry = |name: &str, protocol: &str, more: &str| {
        let ports = format!("ports: [{{ number: 443, name: p, protocol: {protocol} }}]");
        istio(
            "ServiceEntry",
            name,
            &format!("hosts: [api.example.com], {ports}, resolution: DNS{more}"),
        )
    };
    let both = |first: String, second: String| findings(&[&first, &second]);
    assert_eq!(
        both(entry("x", "HTTP", ""), entry("y", "HTTPS", "")),
        ["b:1:1: warning[MESH0526]: port 443 of `api.example.com` has two protocols"]
    );
    assert_eq!(both(entry("x", "HTTP", ""), entry("y", "HTTP", "")), [""; 0]);
    let (here, there) = (", exportTo: [a]", ", exportTo: [b]");
    assert_eq!(both(entry("x", "HTTP", here), entry("y", "HTTPS", there)), [""; 0]);
}

#[test]
fn subsets_that_no_file_defines_are_told_once() {
    let both = "{ route: [{ destination: { host: shop, subset: v1 } }], mirror: { host: shop, subset: v1 } }, { route: [{ destination: { host: shop, subset: v2 } }] }";
    let rule = both.replacen("{ route", "{ match: [{ method: { exact: GET } }], route", 1);
    let expected =
        ["a:4:78: warning[MESH0506]: no file defines subsets of `shop.default.svc.cluster.local`, such as `v1`"];
    assert_eq!(findings(&[&route("shop", &rule)]), expected);
    let near = istio("DestinationRule", "r", "host: shops, subsets: [{ name: v1 }]");
    assert_eq!(
        super::help(&[&route("shop", &rule), &near])[0].as_deref(),
        Some("did you mean a subset of `shops.default.svc.cluster.local`?")
    );
    let broken = istio("DestinationRule", "r", "hosts: shop");
    let told = findings(&[&route("shop", &rule), &broken]);
    assert!(told.iter().all(|line| !line.contains("no file defines")), "{told:?}");
}

#[test]
fn a_subset_of_endpoints_that_no_file_lists_is_told() {
    let rule = |subset: &str| istio("DestinationRule", "r", &format!("host: shop, subsets: [{subset}]"));
    let to = route("shop", "{ route: [{ destination: { host: shop, subset: v1 } }] }");
    let labelled = rule("{ name: v1, labels: { version: v1 } }");
    let expected = [
        "a:4:41: warning[MESH0524]: subset `v1` of `shop.default.svc.cluster.local` has no endpoint: no file lists those of the host",
    ];
    assert_eq!(findings(&[&to, &labelled]), expected);
    assert_eq!(findings(&[&to, &labelled, "services: { shop: {} }\n"]), expected);
    assert_eq!(findings(&[&to, &labelled, SHOP]), [""; 0]);
    assert_eq!(
        findings(&[&to, &rule("{ name: v1 }")]),
        [""; 0],
        "without labels all endpoints are meant"
    );
    assert_eq!(findings(&[&labelled]), [""; 0], "nobody calls it");
}

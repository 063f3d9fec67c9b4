use super::super::Loaded;
use super::super::diagnostic::Place;

mod authz;
mod gateways;
mod oracle;
mod paths;
mod reach;
mod rules;
mod services;
mod targets;
mod traffic;

/// All findings about some files, each `file:line:column: severity[CODE]: message`.
fn findings(files: &[&str]) -> Vec<String> {
    let names = ["a", "b", "c"];
    let loaded = Loaded::from_files(names.into_iter().zip(files));
    loaded.report.lines(&loaded.sources)
}

/// The help of each finding.
fn help(files: &[&str]) -> Vec<Option<String>> {
    let names = ["a", "b", "c"];
    let loaded = Loaded::from_files(names.into_iter().zip(files));
    let sorted = loaded.report.sorted(&loaded.sources);
    sorted.into_iter().map(|one| one.help.clone()).collect()
}

fn istio(kind: &str, name: &str, spec: &str) -> String {
    format!("apiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{ name: {name} }}\nspec: {{ {spec} }}\n")
}

fn route(host: &str, http: &str) -> String {
    istio("VirtualService", host, &format!("hosts: [{host}], http: [{http}]"))
}

const V2: &str = "{ route: [{ destination: { host: shop, subset: v2 } }] }";

#[test]
fn a_subset_that_its_host_does_not_have_is_an_error() {
    let rule = istio(
        "DestinationRule",
        "r",
        "host: shop, subsets: [{ name: v1 }, { name: stable }]",
    );
    assert_eq!(
        findings(&[&route("shop", V2), &rule]),
        ["a:4:41: error[MESH0201]: `shop.default.svc.cluster.local` has no subset `v2`"]
    );
    assert_eq!(help(&[&route("shop", V2), &rule]), [Some("did you mean `v1`?".into())]);
    let far = V2.replace("v2", "canary");
    assert_eq!(
        help(&[&route("shop", &far), &rule]),
        [Some("expected `stable` or `v1`".into())]
    );
}

#[test]
fn a_subset_is_not_missed_where_it_may_be_defined() {
    let rule = |spec: &str| istio("DestinationRule", "r", spec);
    let has = rule("host: shop, subsets: [{ name: v2 }]");
    let pattern = rule("host: '*.svc.cluster.local', subsets: [{ name: v2 }]");
    let none = rule("host: shop");
    let other = rule("host: other, subsets: [{ name: v1 }]");
    for files in [&[][..], &[has.as_str()], &[&pattern], &[&none], &[&other]] {
        let mut all = vec![route("shop", V2)];
        all.extend(files.iter().map(|file| (*file).to_owned()));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let found = findings(&all);
        assert!(found.iter().all(|line| line.contains(": warning[")), "{found:?}");
        let is_defined = files.iter().any(|file| file.contains("v2"));
        let undefined =
            "a:4:41: warning[MESH0506]: no file defines subsets of `shop.default.svc.cluster.local`, such as `v2`";
        assert_eq!(found.iter().any(|line| line == undefined), !is_defined, "{found:?}");
    }
}

#[test]
fn subsets_are_those_of_all_settings_of_a_host_in_their_order() {
    let rule = |host: &str, subset: &str| {
        let spec = format!("host: '{host}', subsets: [{{ name: {subset} }}]");
        istio("DestinationRule", subset, &spec)
    };
    let (pattern, name) = (rule("*.svc.cluster.local", "v1"), rule("shop", "v3"));
    for (files, first) in [([&pattern, &name], "v1"), ([&name, &pattern], "v3")] {
        let files = [&route("shop", V2), files[0], files[1]];
        let loaded = Loaded::from_files(["a", "b", "c"].into_iter().zip(files));
        let told = loaded.report.sorted(&loaded.sources);
        assert_eq!(told[0].message, "`shop.default.svc.cluster.local` has no subset `v2`");
        assert_eq!(told[0].help, Some("did you mean `v1`?".into()));
        assert!(
            matches!(&told[0].labels[0].0, Place::Origin(origin) if &*origin.file == "b"),
            "{first}: {:?}",
            told[0].labels
        );
    }
    for host in ["'*.local'", "'*cluster.local'", "'*'"] {
        let rule = istio(
            "DestinationRule",
            "r",
            &format!("host: {host}, subsets: [{{ name: v2 }}]"),
        );
        assert_eq!(findings(&[&route("shop", V2), &rule]), [""; 0], "{host}");
    }
}

#[test]
fn the_nearest_host_with_subsets_is_looked_for_a_limited_number_of_times() {
    let to = |at: u32| {
        format!("{{ route: [{{ destination: {{ host: shop{at}, subset: v1 }} }}], match: [{{ port: {at} }}] }}")
    };
    let rules: Vec<String> = (10..70).map(to).collect();
    let rule = istio("DestinationRule", "r", "host: shop, subsets: [{ name: v1 }]");
    let told = help(&[&route("front.example.com", &rules.join(", ")), &rule]);
    let near = told
        .iter()
        .flatten()
        .filter(|help| help.starts_with("did you mean a subset of"));
    assert_eq!((told.len(), near.count()), (60, 50));
}

#[test]
fn a_definition_that_is_wrong_itself_gives_no_second_finding() {
    let rule = istio(
        "DestinationRule",
        "r",
        "host: shop, subsets: [{ name: v1 }, { nam: v2 }]",
    );
    let found = findings(&[&route("shop", V2), &rule]);
    assert_eq!(found, ["b:4:47: error[MESH0101]: unknown field `nam`"]);
}

#[test]
fn native_subsets_are_found_under_each_name_of_their_service() {
    let services = "services: { shop: { hosts: [shop.example.com], subsets: { v1: { version: v1 } } } }\n";
    let by_name = V2.replace("shop", "shop.example.com");
    assert_eq!(
        findings(&[&route("front", &by_name), services]),
        ["a:4:42: error[MESH0201]: `shop.example.com` has no subset `v2`"]
    );
    assert_eq!(
        findings(&[&route("front", &by_name.replace("v2", "v1")), services]),
        [""; 0]
    );
}

#[test]
fn a_gateway_that_is_missing_among_others_is_an_error() {
    let bound = |name: &str| {
        istio(
            "VirtualService",
            "v",
            &format!(
                "hosts: [a.example.com], gateways: [{name}], http: [{}]",
                V2.replace(", subset: v2", "")
            ),
        )
    };
    let gateway = istio(
        "Gateway",
        "front",
        "servers: [{ port: { number: 80, name: http, protocol: HTTP }, hosts: ['*'] }]",
    );
    assert_eq!(findings(&[&bound("front"), &gateway]), [""; 0]);
    assert_eq!(
        findings(&[&bound("frnt"), &gateway]),
        ["a:4:44: error[MESH0201]: no file defines the gateway `default/frnt`"]
    );
    assert_eq!(
        help(&[&bound("frnt"), &gateway]),
        [Some("did you mean `default/front`?".into())]
    );
    assert_eq!(
        findings(&[&bound("front")]),
        ["a:4:44: warning[MESH0506]: no file defines the gateway `default/front`"]
    );
}

#[test]
fn a_mesh_of_known_services_only_wants_every_target_defined() {
    let mesh = "mesh: { outbound: registry_only }\nservices: { shop: {} }\n";
    let to = |host: &str| {
        route(
            "front",
            &format!("{{ route: [{{ destination: {{ host: {host} }} }}] }}"),
        )
    };
    assert_eq!(findings(&[mesh, &to("shop")]), [""; 0]);
    assert_eq!(
        findings(&[mesh, &to("shup")]),
        [
            "b:4:42: error[MESH0201]: no file defines the service `shup.default.svc.cluster.local`, and the mesh calls known services only"
        ]
    );
    assert_eq!(
        help(&[mesh, &to("shup")]),
        [Some("did you mean `shop.default.svc.cluster.local`?".into())]
    );
    assert_eq!(
        findings(&["services: { shop: {} }\n", &to("shup")]),
        [
            "b:4:42: warning[MESH0506]: no file defines the service `shup.default.svc.cluster.local`, as others of its namespace"
        ]
    );
}

#[test]
fn a_host_that_two_tables_route_is_told_with_the_one_that_is_used() {
    let table = |name: &str, more: &str| {
        istio(
            "VirtualService",
            name,
            &format!("hosts: [shop], http: [{{ route: [{{ destination: {{ host: shop }} }}] }}]{more}"),
        )
    };
    assert_eq!(
        findings(&[&table("b", ""), &table("a", "")]),
        [
            "a:4:17: warning[MESH0508]: host `shop.default.svc.cluster.local` is routed twice: the routes of `a` of namespace `default` are used, not these"
        ]
    );
    let older = table("b", "").replace("name: b", "name: b, creationTimestamp: 2020-01-01T00:00:00Z");
    let newer = table("a", "").replace("name: a", "name: a, creationTimestamp: 2021-01-01T00:00:00Z");
    assert_eq!(
        findings(&[&older, &newer]),
        [
            "b:4:17: warning[MESH0508]: host `shop.default.svc.cluster.local` is routed twice: the routes of `b` of namespace `default` are used, not these"
        ]
    );
    assert_eq!(
        findings(&[&table("a", ", exportTo: [x]"), &table("b", ", exportTo: [y]")]),
        [""; 0]
    );
    let native = "services: { shop: { routes: [{ timeout: 1s }] } }\n";
    assert_eq!(findings(&[native, &table("z", "")]).len(), 1);
    // The dialects may use one name.
    assert_eq!(findings(&[native, &table("shop", "")]).len(), 1);
}

#[test]
fn rules_after_one_that_takes_everything_are_told() {
    let all = [
        "",
        "match: [{ uri: { prefix: / } }],",
        "match: [{ uri: { regex: '.*' } }],",
        "match: [{ method: { exact: GET } }, {}],",
    ];
    for condition in all {
        let rule = "{ route: [{ destination: { host: shop } }] }";
        let first = rule.replace("{ route", &format!("{{ {condition} route"));
        let found = findings(&[&route("shop", &format!("{first}, {rule}"))]);
        assert_eq!(found.len(), 1, "{condition}: {found:?}");
        assert!(
            found[0].contains("warning[MESH0507]: no request reaches this rule: one before it takes them all"),
            "{found:?}"
        );
    }
    let some = [
        "match: [{ uri: { prefix: /a } }],",
        "match: [{ port: 80 }],",
        "match: [{ headers: { a: {} } }],",
    ];
    for condition in some {
        let rule = "{ route: [{ destination: { host: shop } }] }";
        let first = rule.replace("{ route", &format!("{{ {condition} route"));
        assert_eq!(
            findings(&[&route("shop", &format!("{first}, {rule}"))]),
            [""; 0],
            "{condition}"
        );
    }
}

#[test]
fn weights_beyond_what_can_be_drawn_are_an_error() {
    let half = "{ destination: { host: a }, weight: 2147483647 }";
    let found = findings(&[&route("shop", &format!("{{ route: [{half}, {half}, {half}] }}"))]);
    assert_eq!(
        found,
        ["a:4:31: error[MESH0301]: the weights add up to 6442450941, the limit is 4294967295"]
    );
    assert_eq!(
        findings(&[&route("shop", &format!("{{ route: [{half}, {half}] }}"))]),
        [""; 0]
    );
}

#[test]
fn retries_that_outlast_their_request_are_told() {
    let rule = |attempts: u32| {
        format!(
            "{{ route: [{{ destination: {{ host: a }} }}], timeout: 10s, retries: {{ attempts: {attempts}, perTryTimeout: 3s }} }}"
        )
    };
    assert_eq!(findings(&[&route("shop", &rule(3))]), [""; 0]);
    assert_eq!(
        findings(&[&route("shop", &rule(4))]),
        ["a:4:95: warning[MESH0509]: 4 retries of 3s each take up to 12s, the whole request only 10s"]
    );
}

#[test]
fn of_several_modes_for_the_same_workloads_only_one_counts() {
    let root = "mesh: { mtls: strict }\n---\nnamespace: istio-system\nmtls: [{ name: a, mode: disable }]\n";
    assert_eq!(
        findings(&[root]),
        ["a:1:15: warning[MESH0505]: the modes of `mesh` have no effect: `a` is used"]
    );
    let service = "services: { shop: { mtls: strict } }\nmtls: [{ name: z, service: shop, mode: disable }, { name: y, mode: strict }]\n";
    assert_eq!(
        findings(&[service]),
        ["a:2:8: warning[MESH0505]: the modes of `z` have no effect: `shop` is used"]
    );
    assert_eq!(findings(&[&service.replace("disable", "strict")]), [""; 0]);
}

#[test]
fn modes_for_single_workloads_of_the_root_namespace_have_no_effect() {
    let text = "namespace: istio-system\nservices: { a: { mtls: strict } }\nmtls: [{ name: b, selector: { x: y }, mode: strict }]\n";
    let message =
        "warning[MESH0505]: the mode has no effect: in the root namespace `istio-system` none is for single workloads";
    assert_eq!(
        findings(&[text]),
        [format!("a:2:18: {message}"), format!("a:3:16: {message}")]
    );
}

#[test]
fn settings_and_subsets_of_a_host_count_once() {
    let one = "destinations: { shop: { balance: random, subsets: { v1: { version: v1 } } } }\n";
    let two = istio(
        "DestinationRule",
        "z",
        "host: shop, subsets: [{ name: v1 }, { name: v2 }], trafficPolicy: { loadBalancer: { simple: RANDOM } }",
    );
    assert_eq!(
        findings(&[one, &two]),
        [
            "b:1:1: warning[MESH0505]: the settings of `z` for host `shop.default.svc.cluster.local` have no effect: `shop` is used",
            "b:4:31: warning[MESH0505]: subset `v1` of host `shop.default.svc.cluster.local` has no effect: `shop` is used",
        ]
    );
    let elsewhere = format!("namespace: other\n{one}");
    assert_eq!(findings(&[one, &elsewhere]), [""; 0]);
}

#[test]
fn a_service_without_settings_leaves_its_host_to_patterns() {
    let text = "services: { a.example.com: {}, b: { balance: random } }\ndestinations: { '*.example.com': { balance: random } }\n";
    let policy = Loaded::from_files([("a", text)]).policy.unwrap();
    let hosts: Vec<&str> = policy.destinations.iter().map(|one| one.host.as_str()).collect();
    assert_eq!(hosts, ["b.default.svc.cluster.local", "*.example.com"]);
}

#[test]
fn a_host_of_another_services_is_told_to_have_no_effect() {
    let service = |namespace: &str, more: &str| {
        format!("namespace: {namespace}\nservices: {{ db.example.com: {{ endpoints: [10.0.0.1:80]{more} }} }}\n")
    };
    assert_eq!(
        findings(&[&service("x", ""), &service("y", "")]),
        ["b:2:13: warning[MESH0505]: host `db.example.com` has no effect in namespace `y`: `db.example.com` is used"]
    );
    assert_eq!(
        findings(&[&service("x", ", visible_to: [x]"), &service("y", "")]),
        [""; 0]
    );
}

//! Sets of files: lists, order, duplicates, emptiness.

use super::*;
use crate::policy::diagnostic::Report;
use crate::policy::model::OutboundMode;
use crate::policy::source::Sources;

const STRICT: &str = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: { name: a }\nspec: { mtls: { mode: STRICT } }\n";

#[test]
fn a_kubernetes_list_is_its_items() {
    let item =
        "  - { apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: { name: NAME }, spec: {} }\n";
    let items = item.replace("NAME", "a") + &item.replace("NAME", "b");
    for kind in ["List", "PeerAuthenticationList"] {
        let text = format!("apiVersion: v1\nkind: {kind}\nmetadata: {{ resourceVersion: \"\" }}\nitems:\n{items}");
        let policy = Loaded::from_files([("f", text)]).policy.unwrap();
        let names: Vec<_> = policy
            .peer_authentications
            .iter()
            .map(|one| one.meta.name.as_str())
            .collect();
        assert_eq!(names, ["a", "b"]);
    }
}

#[test]
fn a_list_with_something_else_in_it_is_told() {
    assert_lines(&[
        (
            "apiVersion: v1\nkind: List\nitem: 1\nitems:\n- 1\n- { kind: x }\n",
            &[
                "3:1: error[MESH0101]: unknown field `item`",
                "5:3: error[MESH0106]: this is no policy: expected a mapping, found a list or plain text",
                "6:3: error[MESH0103]: missing field `apiVersion`",
            ],
        ),
        (
            "apiVersion: v1\nkind: List\nitems: []\n",
            &[
                "warning[MESH0403]: no policy found: no document configures a mesh",
                "3:8: warning[MESH0505]: the list has no items: it changes nothing",
            ],
        ),
    ]);
}

#[test]
fn json_is_read_as_yaml_is() {
    let yaml = "namespace: shop\nservices:\n  orders:\n    endpoints: [10.0.0.4:8080]\n    routes:\n    - to: orders\n";
    let yaml = yaml.replace("    routes:\n    - to: orders\n", "    balance: random\n");
    let json = r#"{"namespace":"shop","services":{"orders":{"endpoints":["10.0.0.4:8080"],"balance":"random"}}}"#;
    let read = |text: &str| {
        let mut policy = Loaded::from_files([("f", text)]).policy.unwrap();
        policy.services[0].meta.origin = Default::default();
        policy.destinations[0].meta.origin = Default::default();
        let model::service::EndpointSource::Listed(endpoints) = &mut policy.services[0].endpoints else {
            panic!("endpoints are listed");
        };
        endpoints[0].origin = Default::default();
        policy
    };
    assert_eq!(read(json), read(&yaml));
}

#[test]
fn several_documents_and_files_are_one_policy() {
    let loaded = Loaded::from_files([
        (
            "b.yaml",
            "namespace: b\nmtls: [{ name: a, mode: strict }]\n---\nnamespace: c\nmtls: [{ name: a, mode: strict }]\n",
        ),
        ("a.yaml", STRICT),
    ]);
    let policy = loaded.policy.unwrap();
    let namespaces: Vec<_> = policy
        .peer_authentications
        .iter()
        .map(|one| one.meta.namespace.as_str())
        .collect();
    assert_eq!(namespaces, ["default", "b", "c"]);
}

#[test]
fn settings_are_read_before_everything_else() {
    let loaded = Loaded::from_files([
        ("a.yaml", "services: { orders: {} }\n"),
        (
            "z.yaml",
            "mesh: { cluster_domain: corp.example, mtls: strict, root_namespace: mesh-root }\n",
        ),
    ]);
    let policy = loaded.policy.unwrap();
    assert_eq!(policy.services[0].hosts, ["orders.default.svc.corp.example"]);
    assert_eq!(policy.peer_authentications[0].meta.namespace, "mesh-root");
    let istio = "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: { meshConfig: { outboundTrafficPolicy: { mode: REGISTRY_ONLY } } }\n";
    let policy = Loaded::from_files([("z.yaml", istio)]).policy.unwrap();
    assert_eq!(policy.mesh.outbound, OutboundMode::RegistryOnly);
}

#[test]
fn a_name_that_is_taken_is_told_with_both_places() {
    let loaded = Loaded::from_files([("a.yaml", STRICT), ("b.yaml", STRICT)]);
    assert!(loaded.policy.is_none());
    let found = loaded.report.sorted(&loaded.sources);
    let lines = loaded.report.lines(&loaded.sources);
    assert_eq!(
        lines,
        ["b.yaml:3:19: error[MESH0202]: `PeerAuthentication` `a` of namespace `default` is defined twice"]
    );
    let diagnostic::Place::Span(first) = found[0].labels[0].0 else {
        panic!("the first place is known");
    };
    assert_eq!(loaded.sources.origin(first).to_string(), "a.yaml:3:19");
    assert_eq!(found[0].labels[0].1, "first defined here");
}

#[test]
fn names_are_taken_per_kind_and_namespace() {
    let table = "routes: [{ name: a, hosts: [a], rules: [{ to: a }] }]";
    assert_lines(&[
        (
            "services: { a: {} }\n---\nservices: { a: {} }\n",
            &["3:13: error[MESH0202]: service `a` of namespace `default` is defined twice"],
        ),
        ("services: { a: {} }\n---\nnamespace: b\nservices: { a: {} }\n", &[]),
        (&format!("services: {{ a: {{}} }}\n{table}\n"), &[]),
        (
            "mesh: {}\n---\nmesh: { mtls: strict }\n",
            &["3:7: error[MESH0202]: the settings of the mesh are defined twice"],
        ),
        (
            "mesh: {}\n---\napiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: {}\n",
            &["3:1: error[MESH0202]: the settings of the mesh are defined twice"],
        ),
        (
            "gateways: { g: { servers: [{ port: 80, hosts: ['*'] }] } }\n---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: { name: g }\nspec: { servers: [{ port: { number: 80, name: http, protocol: HTTP }, hosts: ['*'] }] }\n",
            &["5:19: error[MESH0202]: `Gateway` `g` of namespace `default` is defined twice"],
        ),
    ]);
}

#[test]
fn nothing_is_no_policy() {
    let none: [(&str, &str); 0] = [];
    let loaded = Loaded::from_files(none);
    assert!(loaded.policy.is_none());
    assert_eq!(
        loaded.report.lines(&loaded.sources),
        ["error[MESH0006]: no policy found: there is no file to read"]
    );
    assert_lines(&[
        (
            "",
            &[" error[MESH0006]: no document found, the file is empty or has only comments"],
        ),
        (
            "apiVersion: v1\nkind: Namespace\n",
            &[
                "warning[MESH0403]: no policy found: no document configures a mesh",
                "2:7: warning[MESH0504]: kind `Namespace` configures no mesh: only gateways that choose namespaces look at its labels",
            ],
        ),
        (
            "namespace: shop\n",
            &["1:1: error[MESH0006]: the document defines nothing: it has only a namespace"],
        ),
        (
            "authorization:\n",
            &["1:1: error[MESH0104]: the section `authorization` has no value"],
        ),
    ]);
}

#[test]
fn one_bad_file_refuses_all_and_every_problem_is_told() {
    let loaded = Loaded::from_files([
        ("a.yaml", "services: { a: { balanc: random } }\n".as_bytes()),
        ("b.yaml", b"\xff"),
        ("c.yaml", b"services: {"),
        ("d.yaml", b"services: { d: { balance: randm } }\n"),
    ]);
    assert!(loaded.policy.is_none());
    let lines = loaded.report.lines(&loaded.sources);
    let codes: Vec<&str> = lines.iter().filter_map(|line| line.split(['[', ']']).nth(1)).collect();
    assert_eq!(codes, ["MESH0101", "MESH0005", "MESH0001", "MESH0104"]);
    assert!(lines[3].starts_with("d.yaml:1:27: "), "{}", lines[3]);
}

#[test]
fn an_error_that_was_there_before_refuses_too() {
    let (mut sources, mut report) = (Sources::new(), Report::new());
    sources.add("a.yaml", STRICT);
    assert!(load(&sources, &mut report).is_some());
    assert_eq!(sources.add_bytes("b.yaml", b"\xff\xff", &mut report), None);
    assert_eq!(load(&sources, &mut report), None);
}

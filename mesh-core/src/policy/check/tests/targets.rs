use super::{findings, help};

#[test]
fn policies_for_a_class_of_gateways_are_those_of_the_root_namespace() {
    let entry = "{ name: a, targets: [{ kind: gateway_class, name: mesh }]";
    let text = |namespace: &str| {
        format!(
            "namespace: {namespace}\nauthorization:\n  - {entry}, deny: [{{}}] }}\nrequest_authentication:\n  - {entry} }}\n"
        )
    };
    let message = "warning[MESH0505]: the target has no effect: policies for the gateways of a class are those of the root namespace `istio-system`";
    assert_eq!(
        findings(&[&text("shop")]),
        [format!("a:3:26: {message}"), format!("a:5:26: {message}")]
    );
    assert_eq!(findings(&[&text("istio-system")]), [""; 0]);
    let of_mesh = format!("namespace: shop\nauthorization:\n  - {entry}, scope: mesh, deny: [{{}}] }}\n");
    assert_eq!(findings(&[&of_mesh]), [""; 0]);
    let istio = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { name: p, namespace: shop }\n\
                 spec: { targetRef: { group: gateway.networking.k8s.io, kind: GatewayClass, name: mesh } }\n";
    assert_eq!(findings(&[istio]), [format!("a:4:20: {message}")]);
}

#[test]
fn a_policy_for_a_gateway_that_no_file_defines_is_told() {
    let entry = "{ name: a, targets: [{ kind: gateway, name: fornt }]";
    let policies = format!("authorization:\n  - {entry}, deny: [{{}}] }}\nrequest_authentication:\n  - {entry} }}\n");
    let message = "warning[MESH0506]: no file defines the gateway `shop/fornt`";
    let told = [format!("a:3:26: {message}"), format!("a:5:26: {message}")];
    let text = format!("namespace: shop\n{policies}");
    assert_eq!(findings(&[&text]), told);
    let label = "the policy holds for workloads with the label `gateway.networking.k8s.io/gateway-name: fornt` alone";
    assert_eq!(help(&[&text]), [Some(label.into()), Some(label.into())]);

    let gateway = |namespace: &str, name: &str| {
        format!("namespace: {namespace}\ngateways: {{ {name}: {{ servers: [{{ port: 80, hosts: ['*'] }}] }} }}\n")
    };
    let front = gateway("shop", "front");
    assert_eq!(findings(&[&text, &front]), told);
    assert_eq!(help(&[&text, &front])[0].as_deref(), Some("did you mean `front`?"));
    assert_eq!(findings(&[&text, &gateway("other", "fornt")]), told);
    assert_eq!(help(&[&text, &gateway("other", "fornt")])[0].as_deref(), Some(label));
    assert_eq!(findings(&[&text, &gateway("shop", "fornt")]), [""; 0]);
    let of_k8s = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: { name: fornt, namespace: shop }\n\
                  spec: { gatewayClassName: x, listeners: [{ name: http, port: 80, protocol: HTTP }] }\n";
    assert_eq!(findings(&[&text, of_k8s]), [""; 0]);
    // What it defines is not known.
    assert_eq!(findings(&[&text, "services: { a: { x: 1 } }"]).len(), 1);
}

/// Which workloads of namespace `shop` a policy for its gateway `front` holds for.
#[test]
fn a_policy_for_a_gateway_holds_for_the_workloads_that_serve_it() {
    use crate::policy::Loaded;
    use crate::workload::Workload;
    const LABEL: &str = "gateway.networking.k8s.io/gateway-name";
    let entry = "{ name: a, targets: [{ kind: gateway, name: front }]";
    let text = format!(
        "namespace: shop\nauthorization:\n  - {entry}, deny: [{{}}] }}\nrequest_authentication:\n  - {entry} }}\n"
    );
    let native =
        "namespace: shop\ngateways: { front: { selector: { app: front }, servers: [{ port: 80, hosts: ['*'] }] } }\n";
    let istio = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: { name: front, namespace: shop }\n\
                 spec: { selector: { app: front }, servers: [{ port: { number: 80, name: http, protocol: HTTP }, hosts: ['*'] }] }\n";
    let of_k8s = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: { name: front, namespace: shop }\n\
                  spec: { gatewayClassName: x, listeners: [{ name: http, port: 80, protocol: HTTP }] }\n";
    let of_all = native.replace("selector: { app: front }, ", "");
    let other = native.replace("shop", "other");
    for (gateway, by_app, by_label, any) in [
        (native, true, false, false),
        (istio, true, false, false),
        (of_k8s, false, true, false),
        (&of_all, true, true, true),
        (&other, false, true, false),
    ] {
        let policy = Loaded::from_files([("a", text.as_str()), ("b", gateway)])
            .policy
            .unwrap();
        let holds = |workload: &Workload| {
            let access = policy.authorizations[0].holds_for(workload, "istio-system");
            assert_eq!(
                access,
                policy.request_authentications[0].holds_for(workload, "istio-system")
            );
            access
        };
        let workload = |namespace: &str| Workload::new(namespace, "sa");
        assert_eq!(holds(&workload("shop").label("app", "front")), by_app, "{gateway}");
        assert_eq!(holds(&workload("shop").label(LABEL, "front")), by_label, "{gateway}");
        assert_eq!(holds(&workload("shop")), any, "{gateway}");
        // What others serve of this namespace's gateway is not this namespace's to decide.
        assert!(!holds(&workload("other").label("app", "front")), "{gateway}");
    }
}

use super::findings;

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

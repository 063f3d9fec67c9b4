//! Routes of connections, TLS to services, grants.

use super::*;
use crate::policy::model::traffic::ClientTls;

#[test]
fn routes_of_connections_are_read_and_not_yet_in_force() {
    let parents = "parentRefs: [{ group: '', kind: Service, name: db }]";
    let tcp = object(
        "TCPRoute",
        "shop",
        "t",
        &format!("{{ {parents}, rules: [{{ {TO_A} }}] }}"),
    );
    let told = "2:7: warning[MESH0401]: kind `TCPRoute` is not yet in force: requests are routed, connections are not";
    assert_eq!(lines(&tcp), [told]);
    let policy = warned(&tcp);
    assert_eq!(table(&policy).tcp[0].destinations[0].host, "a.shop.svc.cluster.local");
    assert!(table(&policy).rules.is_empty());
    let tls = object(
        "TLSRoute",
        "shop",
        "t",
        &format!("{{ {parents}, hostnames: [db.example], rules: [{{ {TO_A} }}] }}"),
    );
    let policy = warned(&tls);
    assert_eq!(table(&policy).tls[0].matches[0].sni_hosts, ["db.example"]);
    assert_told(&[(
        object("TCPRoute", "shop", "t", &format!("{{ {parents}, rules: [{{}}] }}")),
        &[
            "2:7: warning[MESH0401]: kind `TCPRoute` is not yet in force: requests are routed, connections are not",
            "5:67: error[MESH0103]: missing field `backendRefs`",
        ],
    )]);
}

fn backend_tls(name: &str, spec: &str) -> String {
    object("BackendTLSPolicy", "shop", name, spec)
}

const VALIDATION: &str =
    "validation: { hostname: a.example, caCertificateRefs: [{ group: '', kind: ConfigMap, name: ca }] }";

#[test]
fn tls_to_services_is_read_and_not_yet_in_force() {
    let policy = warned(&backend_tls(
        "p",
        &format!("{{ targetRefs: [{{ group: '', kind: Service, name: a }}], {VALIDATION} }}"),
    ));
    let [one] = policy.destinations.as_slice() else {
        panic!()
    };
    assert_eq!(one.host, "a.shop.svc.cluster.local");
    let Some(ClientTls::Origination(tls)) = &one.traffic.tls else {
        panic!()
    };
    assert_eq!(
        (tls.sni.as_deref(), tls.authorities.as_deref()),
        (Some("a.example"), Some("ca"))
    );
    let system = "{ targetRefs: [{ group: '', kind: Service, name: a }], \
                  validation: { hostname: a.example, wellKnownCACertificates: System, subjectAltNames: [{ type: URI, uri: 'spiffe://x/y' }] } }";
    let policy = warned(&backend_tls("p", system));
    let Some(ClientTls::Origination(tls)) = &policy.destinations[0].traffic.tls else {
        panic!()
    };
    assert_eq!(
        (tls.authorities.as_deref(), tls.subject_alt_names.as_slice()),
        (None, &["spiffe://x/y".to_owned()][..])
    );
}

#[test]
fn of_two_policies_for_one_service_the_first_counts_and_ports_stand_alone() {
    let entry = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: { name: a, namespace: shop }\nspec:\n  \
                 hosts: [a.shop.svc.cluster.local]\n  resolution: DNS\n  ports: [{ number: 443, name: web, protocol: HTTPS }]\n---\n";
    let whole = format!("{{ targetRefs: [{{ group: '', kind: Service, name: a }}], {VALIDATION} }}");
    let port = whole
        .replace("name: a }", "name: a, sectionName: web }")
        .replace("a.example", "b.example");
    let text = [
        entry.to_owned(),
        backend_tls("p", &whole),
        backend_tls("q", &whole),
        backend_tls("r", &port),
    ]
    .concat();
    let policy = warned(&text);
    let [one] = policy.destinations.as_slice() else {
        panic!()
    };
    let Some(ClientTls::Origination(tls)) = &one.ports[0].1.tls else {
        panic!()
    };
    assert_eq!(
        (one.ports[0].0, tls.sni.as_deref(), one.meta.name.as_str()),
        (443, Some("b.example"), "p")
    );
    assert_told(&[(
        text,
        &[
            "10:7: warning[MESH0401]: kind `BackendTLSPolicy` is not yet in force: TLS is spoken to the mesh's own workloads only",
            "16:7: warning[MESH0401]: kind `BackendTLSPolicy` is not yet in force: TLS is spoken to the mesh's own workloads only",
            "19:18: warning[MESH0505]: the policy has no effect for `a.shop.svc.cluster.local`: `p` is used",
            "22:7: warning[MESH0401]: kind `BackendTLSPolicy` is not yet in force: TLS is spoken to the mesh's own workloads only",
        ],
    )]);
}

#[test]
fn policies_of_tls_are_checked() {
    let with = |text: &str| backend_tls("p", text);
    let target = "targetRefs: [{ group: '', kind: Service, name: a }]";
    assert_told(&[
        (
            with(&format!("{{ {VALIDATION} }}")),
            &[
                "2:7: warning[MESH0401]: kind `BackendTLSPolicy` is not yet in force: TLS is spoken to the mesh's own workloads only",
                "5:3: error[MESH0103]: missing field `targetRefs`",
            ],
        ),
        (
            with(&format!("{{ {target} }}")),
            &[
                "2:7: warning[MESH0401]: kind `BackendTLSPolicy` is not yet in force: TLS is spoken to the mesh's own workloads only",
                "5:3: error[MESH0103]: missing field `validation`",
            ],
        ),
        (
            with(&format!("{{ {target}, validation: {{ hostname: a.example }} }}")),
            &[
                "2:7: warning[MESH0401]: kind `BackendTLSPolicy` is not yet in force: TLS is spoken to the mesh's own workloads only",
                "5:70: error[MESH0301]: give `caCertificateRefs` or `wellKnownCACertificates`, exactly one of them",
            ],
        ),
        (
            with(&format!(
                "{{ {target}, validation: {{ hostname: '*.example', wellKnownCACertificates: System }} }}"
            )),
            &[
                "2:7: warning[MESH0401]: kind `BackendTLSPolicy` is not yet in force: TLS is spoken to the mesh's own workloads only",
                "5:82: error[MESH0104]: `hostname`: expected a host name in lower case without `*`, found `*.example`",
            ],
        ),
        (
            with(&format!(
                "{{ {target}, validation: {{ hostname: a.example, wellKnownCACertificates: System, subjectAltNames: [{{ type: URI, hostname: a }}] }} }}"
            )),
            &[
                "2:7: warning[MESH0401]: kind `BackendTLSPolicy` is not yet in force: TLS is spoken to the mesh's own workloads only",
                "5:144: error[MESH0104]: `subjectAltNames`: expected the field that `type` names, and not the other",
            ],
        ),
        (
            with(&format!(
                "{{ targetRefs: [{{ group: '', kind: Pod, name: a }}], {VALIDATION} }}"
            )),
            &[
                "2:7: warning[MESH0401]: kind `BackendTLSPolicy` is not yet in force: TLS is spoken to the mesh's own workloads only",
                "5:18: warning[MESH0505]: targets are services, `Pod` has no effect",
            ],
        ),
    ]);
}

#[test]
fn grants_are_checked() {
    assert_told(&[
        (
            object(
                "ReferenceGrant",
                "shop",
                "g",
                "{ from: [{ group: '', kind: 'A b', namespace: x }], to: [{ group: '', kind: Service }] }",
            ),
            &["5:31: error[MESH0104]: `kind`: expected a kind such as `Service`, found `A b`"],
        ),
        (
            object("ReferenceGrant", "shop", "g", "{ to: [{ group: '', kind: Service }] }"),
            &["5:3: error[MESH0103]: missing field `from`"],
        ),
    ]);
}

use super::*;
use crate::policy::model::traffic::{ClientTls, TlsOrigination, Verification};

const KIND: &str = "DestinationRule";

/// A rule whose TLS begins in line 4.
fn spec(tls: &str) -> String {
    format!("host: a, trafficPolicy: {{ tls: {{\n{tls} }} }}")
}

fn origination(tls: &str) -> TlsOrigination {
    match load_spec(KIND, &spec(tls)).policy.destinations.remove(0).traffic.tls {
        Some(ClientTls::Origination(origination)) => origination,
        other => panic!("{other:?}"),
    }
}

/// What is said beside that the mode is not yet in force.
fn told(spec: &str) -> Vec<String> {
    let mut lines = load_spec(KIND, spec).lines;
    lines.retain(|line| !line.contains("TLS mode"));
    lines
}

#[test]
fn tls_to_servers_outside_of_the_mesh_is_read() {
    assert_eq!(
        origination(
            "mode: SIMPLE, sni: a.com, subjectAltNames: [b.com, c.com], caCertificates: /ca.pem, caCrl: /crl.pem"
        ),
        TlsOrigination {
            sni: Some("a.com".into()),
            subject_alt_names: vec!["b.com".into(), "c.com".into()],
            authorities: Some("/ca.pem".into()),
            revoked: Some("/crl.pem".into()),
            ..TlsOrigination::default()
        }
    );
    assert_eq!(
        origination("mode: MUTUAL, clientCertificate: /cert.pem, privateKey: /key.pem, caCertificates: ''"),
        TlsOrigination {
            certificate: Some(("/cert.pem".into(), "/key.pem".into())),
            ..TlsOrigination::default()
        }
    );
    assert_eq!(
        origination("mode: MUTUAL, credentialName: shop")
            .credential_name
            .as_deref(),
        Some("shop")
    );
    assert_eq!(
        origination("mode: SIMPLE, insecureSkipVerify: true").verification,
        Verification::Skip
    );
}

#[test]
fn modes_that_are_not_yet_in_force_are_told() {
    let lines = load_spec(KIND, &spec("mode: SIMPLE, caCertificates: /ca.pem")).lines;
    assert_eq!(
        lines,
        [
            "4:7: warning[MESH0401]: TLS mode `SIMPLE` is not yet in force: endpoints speak the mesh's mTLS or plain text"
        ]
    );
}

#[test]
fn sources_of_certificates_are_checked() {
    let cases: [(&str, &[&str]); 6] = [
        (
            "mode: MUTUAL, caCertificates: /ca.pem",
            &[
                "3:32: error[MESH0103]: mode `MUTUAL` needs `clientCertificate`, or `credentialName`",
                "3:32: error[MESH0103]: mode `MUTUAL` needs `privateKey`, or `credentialName`",
            ],
        ),
        (
            "mode: SIMPLE, credentialName: a, caCertificates: /ca.pem",
            &["4:34: error[MESH0105]: fields `credentialName` and `caCertificates` exclude each other"],
        ),
        (
            "mode: MUTUAL, clientCertificate: /c.pem, credentialName: a, caCertificates: ''",
            &[
                "4:7: warning[MESH0530]: the servers are verified by the authorities of the system: there are no `caCertificates`",
                "4:42: error[MESH0105]: fields `clientCertificate` and `credentialName` exclude each other",
            ],
        ),
        (
            "mode: SIMPLE, insecureSkipVerify: true, caCertificates: /ca.pem",
            &["4:41: error[MESH0105]: `caCertificates` and `insecureSkipVerify: true` exclude each other"],
        ),
        (
            "mode: SIMPLE, insecureSkipVerify: true, credentialName: a",
            &["4:41: error[MESH0105]: `credentialName` and `insecureSkipVerify: true` exclude each other"],
        ),
        (
            "mode: MUTUAL, insecureSkipVerify: true, credentialName: a, subjectAltNames: [b]",
            &["4:60: error[MESH0105]: `subjectAltNames` and `insecureSkipVerify: true` exclude each other"],
        ),
    ];
    for (tls, expected) in cases {
        assert_eq!(told(&spec(tls)), expected, "{tls}");
    }
}

#[test]
fn public_authorities_for_a_service_are_told() {
    let warning = |place: &str, port: &str| {
        vec![format!(
            "{place}: warning[MESH0530]: the servers{port} are verified by the authorities of the system: there are no `caCertificates`"
        )]
    };
    assert_eq!(told(&spec("mode: SIMPLE")), warning("4:7", ""));
    assert_eq!(told(&spec("mode: SIMPLE, credentialName: a")), warning("4:7", ""));
    let port = "host: a, trafficPolicy: { portLevelSettings: [{ port: { number: 80 }, tls: { mode: SIMPLE } }] }";
    assert_eq!(told(port), warning("3:84", " of the port"));
    let selected = format!(
        "workloadSelector: {{ matchLabels: {{ app: a }} }}, {}",
        spec("mode: SIMPLE, credentialName: a")
    );
    assert_eq!(told(&selected), [""; 0]);
    assert_eq!(told(&spec("mode: SIMPLE, insecureSkipVerify: true")), [""; 0]);
}

#[test]
fn what_a_mode_does_not_look_at_is_told() {
    let cases: [(&str, &[&str]); 4] = [
        (
            "sni: a, caCertificates: b",
            &[
                "4:1: warning[MESH0505]: `sni` has no effect on plain text",
                "4:9: warning[MESH0505]: `caCertificates` has no effect on plain text",
            ],
        ),
        (
            "mode: ISTIO_MUTUAL, clientCertificate: a",
            &["4:21: warning[MESH0505]: `clientCertificate` has no effect: a workload shows the mesh its own identity"],
        ),
        (
            "mode: ISTIO_MUTUAL, sni: a",
            &["4:21: warning[MESH0401]: field `sni` is not yet in force: the name in the handshake is the service's"],
        ),
        (
            "mode: ISTIO_MUTUAL, subjectAltNames: [a.com]",
            &[
                "4:39: warning[MESH0401]: subject alternative name `a.com` is not yet in force: only SPIFFE ids are verified",
            ],
        ),
    ];
    for (tls, expected) in cases {
        assert_eq!(told(&spec(tls)), expected, "{tls}");
    }
}

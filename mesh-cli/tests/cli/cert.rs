//! `mesh cert`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use mesh_core::identity::TrustDomain;
use mesh_tower::tls::authority::DevCa;
use mesh_tower::tls::source::Layout;

use crate::mesh::{Folder, Run, keys};

const ORDERS: &str = "spiffe://cluster.local/ns/shop/sa/orders";
const START: &str = "2030-01-01T00:00:00Z";
const LATER: &str = "2030-01-01T12:00:00Z";

/// A directory with an authority in `ca`.
fn authority() -> Folder {
    let folder = Folder::new(&[]);
    let made = folder.mesh(&["cert", "dev-ca", "ca", "--at", START]);
    assert_eq!(made.code, 0, "{made:#?}");
    folder
}

fn issue(folder: &Folder, id: &str, more: &[&str]) -> Run {
    folder.mesh(&[&["cert", "issue", "--ca", "ca", id, "out", "--at", START], more].concat())
}

fn path(folder: &Folder, name: &str) -> PathBuf {
    folder.path().join(name)
}

#[test]
fn an_authority_is_made_once_and_found_from_then_on() {
    let folder = authority();
    let certificate = std::fs::read(path(&folder, "ca/ca.crt")).unwrap();

    let found = folder.mesh(&["cert", "dev-ca", "ca", "--at", START]);
    let other = folder.mesh(&["cert", "dev-ca", "ca", "--trust-domain", "example.org", "--at", START]);

    assert_eq!(
        found.out,
        "found      authority of cluster.local in ca, valid until 2039-12-30T00:00:00Z\n"
    );
    assert_eq!((other.code, other.out.as_str()), (2, ""));
    assert!(other.err.contains("is for another trust domain"), "{}", other.err);
    assert_eq!(std::fs::read(path(&folder, "ca/ca.crt")).unwrap(), certificate);
}

#[test]
fn a_certificate_is_issued_in_every_layout_and_verified_there() {
    for (layout, names) in [
        ("kubernetes", ["tls.crt", "tls.key", "ca.crt"]),
        ("spiffe-helper", ["svid.pem", "svid_key.pem", "svid_bundle.pem"]),
        ("istio", ["cert-chain.pem", "key.pem", "root-cert.pem"]),
        ("spire-agent", ["svid.0.pem", "svid.0.key", "bundle.0.pem"]),
    ] {
        let folder = authority();
        let issued = issue(
            &folder,
            "cluster.local/ns/shop/sa/orders",
            &["--layout", layout, "--ttl", "1h"],
        );
        assert_eq!(
            issued.out,
            format!("issued     {ORDERS} into out, valid until 2030-01-01T01:00:00Z\n")
        );
        assert!(
            names.iter().all(|name| path(&folder, "out").join(name).is_file()),
            "{layout}"
        );

        let verified = folder.mesh(&["cert", "verify", "out", "--at", "2030-01-01T00:30:00Z"]);
        assert_eq!((verified.code, verified.fact("id")), (0, vec![ORDERS]));
        assert_eq!(verified.fact("as client"), ["accepted"]);
        assert_eq!(verified.fact("as server"), ["accepted"]);
    }
}

#[test]
fn nothing_is_issued_without_an_authority_of_the_trust_domain() {
    let folder = authority();
    for (id, more, reason) in [
        (
            "example.org/ns/shop/sa/orders",
            &[] as &[&str],
            "is for another trust domain",
        ),
        ("cluster.local", &[], "expected a workload"),
        (
            "cluster.local/ns/shop/sa/orders",
            &["--ttl", "0s"],
            "expected a time such as `24h`",
        ),
        (
            "cluster.local/ns/shop/sa/orders",
            &["--layout", "vault"],
            "expected one of `kubernetes`",
        ),
    ] {
        let run = issue(&folder, id, more);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{run:#?}");
        assert!(run.err.contains(reason), "{}", run.err);
    }
    let none = folder.mesh(&[
        "cert",
        "issue",
        "--ca",
        "none",
        "cluster.local/ns/shop/sa/orders",
        "out",
    ]);
    assert_eq!(none.code, 2);
    assert!(!path(&folder, "none").exists() && !path(&folder, "out").exists());
}

#[test]
fn certificates_are_told_with_their_time_and_their_faults() {
    let folder = authority();
    issue(&folder, "cluster.local/ns/shop/sa/orders", &[]);
    let inspect = |path: &str, at: &str| folder.mesh(&["cert", "inspect", path, "--at", at]);

    let good = inspect("out", LATER);
    assert_eq!((good.code, good.fact("id")), (0, vec![ORDERS]));
    assert_eq!(good.fact("valid")[1], "12 h left");
    for (at, code, text) in [
        ("2030-01-01T19:00:00Z", 0, "5 h left, renewal is late"),
        ("2030-01-01T23:00:00Z", 0, "1 h left, nearly at its end"),
        ("2030-01-02T00:01:30Z", 1, "expired 1 min 30 s ago"),
        ("2029-12-31T00:00:00Z", 1, "not valid before 23 h 58 min from now"),
    ] {
        let run = inspect("out", at);
        assert_eq!((run.code, run.fact("valid")[1]), (code, text), "{at}");
    }
    let authority = inspect("ca/ca.crt", LATER);
    assert!(
        authority.out.starts_with("ca/ca.crt, certificate 1: authority\n"),
        "{}",
        authority.out
    );
    assert_eq!(authority.fact("usage"), ["keyCertSign, cRLSign"]);
    let both = folder.mesh(&["cert", "inspect", "out", "ca/ca.crt", "--at", LATER]);
    assert_eq!(both.out.matches("certificate 1").count(), 2);
}

#[test]
fn a_certificate_is_told_to_programs() {
    let folder = authority();
    issue(&folder, "cluster.local/ns/shop/sa/orders", &[]);

    let run = folder.mesh(&["cert", "inspect", "out", "--at", LATER, "-o", "json"]);

    let answer = run.json();
    let one = &answer["certificates"][0];
    assert_eq!(
        keys(one),
        [
            "broken",
            "expires_in_seconds",
            "extended_key_usage",
            "file",
            "issuer",
            "key",
            "key_usage",
            "kind",
            "not_after",
            "not_before",
            "number",
            "other_names",
            "phase",
            "serial",
            "subject",
            "uris"
        ]
    );
    assert_eq!(
        (&one["phase"], &one["expires_in_seconds"]),
        (&"fresh".into(), &43_200.into())
    );
    assert_eq!(one["not_after"], "2030-01-02T00:00:00Z");
    assert_eq!(one["broken"], serde_json::json!([]));
}

#[test]
fn a_refusal_says_exactly_why() {
    let folder = authority();
    issue(&folder, "cluster.local/ns/shop/sa/orders", &[]);
    let other = folder.mesh(&["cert", "dev-ca", "other", "--at", START]);
    assert_eq!(other.code, 0);
    let verify = |more: &[&str]| {
        let always = ["cert", "verify", "out/tls.crt", "--as", "client"];
        folder.mesh(&[&always as &[&str], more].concat())
    };

    for (more, reason) in [
        (
            &["--bundle", "other/ca.crt", "--at", LATER] as &[&str],
            "a signature in the chain is wrong",
        ),
        (
            &["--bundle", "example.org=ca/ca.crt", "--at", LATER],
            "no trust bundle for `cluster.local`",
        ),
        (
            &["--bundle", "ca/ca.crt", "--at", "2030-01-02T00:00:01Z"],
            "certificate expired 1 s ago",
        ),
        (
            &[
                "--bundle",
                "ca/ca.crt",
                "--at",
                LATER,
                "--id",
                "cluster.local/ns/shop/sa/web",
            ],
            "expected `spiffe://cluster.local/ns/shop/sa/web`",
        ),
        (
            &["--bundle", "ca/ca.crt", "--at", LATER, "--trust-domain", "example.org"],
            "expected any workload of `example.org`",
        ),
        (
            &["--bundle", "ca/ca.crt", "--at", LATER, "--key", "ca/ca.key"],
            "does not belong to the certificate",
        ),
    ] {
        let run = verify(more);
        assert_eq!(run.code, 1, "{run:#?}");
        assert!(run.out.contains("refused: ") && run.out.contains(reason), "{}", run.out);
    }
    let accepted = verify(&["--bundle", "ca/ca.crt", "--at", LATER, "--key", "out/tls.key"]);
    assert_eq!((accepted.code, accepted.fact("own files")), (0, vec!["accepted"]));
}

#[test]
fn a_revoked_certificate_is_refused_by_its_list_wherever_it_lies() {
    let folder = authority();
    issue(&folder, "cluster.local/ns/shop/sa/orders", &[]);
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_456_000);
    let (day, domain) = (
        Duration::from_secs(86_400),
        TrustDomain::parse("cluster.local").unwrap(),
    );
    let ca = DevCa::load(path(&folder, "ca"), domain, start).unwrap();
    let gone = ca.issue(&ORDERS.parse().unwrap(), day, start).unwrap();
    std::fs::write(path(&folder, "gone.pem"), &gone.chain_pem).unwrap();
    std::fs::write(
        path(&folder, "ca.crl"),
        ca.revocation_list(&[&gone], day, start).unwrap(),
    )
    .unwrap();
    let verify = |certificate: &str| {
        let arguments = [
            "cert",
            "verify",
            certificate,
            "--bundle",
            "ca/ca.crt",
            "--crl",
            "ca.crl",
            "--at",
            LATER,
        ];
        folder.mesh(&arguments)
    };

    let revoked = verify("gone.pem");
    assert!(revoked.code == 1 && revoked.out.contains("revoked"), "{revoked:#?}");
    assert_eq!(verify("out/tls.crt").code, 0);
    ca.write_issued(path(&folder, "gone"), Layout::Kubernetes, &gone)
        .unwrap();
    assert_eq!(folder.mesh(&["cert", "verify", "gone", "--at", LATER]).code, 0);
    std::fs::copy(path(&folder, "ca.crl"), path(&folder, "gone/ca.crl")).unwrap();
    assert_eq!(folder.mesh(&["cert", "verify", "gone", "--at", LATER]).code, 1);
    let wrong = folder.mesh(&["cert", "verify", "gone", "--crl", "ca/ca.key"]);
    assert!(wrong.code == 2 && wrong.err.contains("`ca/ca.key`"), "{wrong:#?}");
}

#[test]
fn a_directory_that_no_service_would_start_with_is_refused() {
    let folder = authority();
    issue(&folder, "cluster.local/ns/shop/sa/orders", &[]);
    std::fs::copy(path(&folder, "ca/ca.key"), path(&folder, "out/tls.key")).unwrap();

    let run = folder.mesh(&["cert", "verify", "out", "--at", LATER, "-o", "json"]);

    assert_eq!((run.code, &run.json()["accepted"]), (1, &false.into()));
    let reason = run.json()["own_files"]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("private key does not belong"), "{reason}");
}

#[test]
fn federated_bundles_of_a_directory_count() {
    let folder = authority();
    issue(&folder, "cluster.local/ns/shop/sa/orders", &[]);
    let bundles = path(&folder, "out/bundles");
    std::fs::create_dir(&bundles).unwrap();
    std::fs::copy(path(&folder, "ca/ca.crt"), bundles.join("example.org.pem")).unwrap();
    assert_eq!(folder.mesh(&["cert", "verify", "out", "--at", LATER]).code, 0);

    std::fs::write(bundles.join("example.com.json"), "{}").unwrap();
    let run = folder.mesh(&["cert", "verify", "out", "--at", LATER]);

    assert_eq!(run.code, 1);
    assert!(run.out.contains("example.com.json"), "{}", run.out);
    let bundle = folder.mesh(&["cert", "inspect", "out/bundles/example.com.json"]);
    assert!(bundle.code == 2 && bundle.err.contains("no list `keys`"), "{bundle:#?}");
}

#[test]
fn what_cannot_be_read_is_told_with_exit_code_2() {
    let folder = authority();
    issue(&folder, "cluster.local/ns/shop/sa/orders", &[]);
    let cut = "-----BEGIN CERTIFICATE-----\nMIIB\n";
    folder.write("../cut.crt", cut.as_bytes());
    for (arguments, reason) in [
        (&["inspect", "missing"] as &[&str], "cannot read `missing`"),
        (&["inspect", "ca/ca.key"], "`ca/ca.key`: holds no certificate"),
        (
            &["inspect", "cut.crt"],
            "`cut.crt`: is not valid PEM: the section `CERTIFICATE` has no end",
        ),
        (&["inspect", "policy"], "no identity in `policy`"),
        (&["inspect", "out", "--at", "now"], "expected a time such as"),
        (&["verify", "out/tls.crt"], "expected `--bundle`"),
        (
            &["verify", "out/tls.crt", "--bundle", "ca/ca.key"],
            "`ca/ca.key`: trust bundle holds no certificate",
        ),
        (
            &["verify", "out/tls.crt", "--bundle", "X=ca/ca.crt"],
            "the name has 'X' at byte 0",
        ),
        (&["verify", "out", "--key", "out/tls.key"], "expected no `--key`"),
    ] {
        let run = folder.mesh(&[&["cert"], arguments].concat());
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{run:#?}");
        assert!(run.err.contains(reason), "{}", run.err);
    }
}

#[test]
fn certificates_are_read_from_the_standard_input() {
    let folder = authority();
    let pem = std::fs::read_to_string(path(&folder, "ca/ca.crt")).unwrap();

    let run = folder.mesh_reading(&["cert", "inspect", "-", "--at", LATER], &pem);

    assert_eq!(run.code, 0);
    assert!(run.out.starts_with("-, certificate 1: authority\n"), "{}", run.out);
}

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose};

use super::*;
use crate::testing::{HOUR, World, domain, id, leaf, signed, start, uri};

fn read(world: &World, change: impl FnOnce(&mut CertificateParams)) -> Certificate {
    let mut params = leaf("spiffe://td/orders");
    change(&mut params);
    Certificate::read(&signed(&params, &world.ca).0[0]).unwrap()
}

#[test]
fn a_workloads_certificate_says_who_for_how_long_and_what_for() {
    let orders = read(&World::new(), |params| {
        params
            .subject_alt_names
            .push(rcgen::SanType::DnsName("orders.shop".try_into().unwrap()));
    });

    assert_eq!(orders.kind, Kind::Leaf);
    assert_eq!(orders.uris, ["spiffe://td/orders"]);
    assert!(
        orders.other_names[0].contains("orders.shop"),
        "{:?}",
        orders.other_names
    );
    assert_eq!(orders.issuer, "CN=td");
    assert_eq!(orders.lifetime, Lifetime::new(start(), start() + HOUR));
    assert_eq!(orders.key, "EC, 256 bits");
    assert_eq!(orders.key_usage, ["digitalSignature"]);
    assert_eq!(orders.extended_key_usage, ["serverAuth", "clientAuth"]);
    assert_eq!(orders.broken, Vec::<String>::new());
}

#[test]
fn every_broken_rule_is_told() {
    let broken = read(&World::new(), |params| {
        params.key_usages = vec![KeyUsagePurpose::KeyAgreement];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        params.subject_alt_names.push(uri("spiffe://td/web"));
    });

    assert_eq!(
        broken.broken,
        [
            "key usage of the certificate lacks `digitalSignature`",
            "certificate has 2 URI names, expected exactly one",
            "extended key usage of the certificate does not allow its use as client",
            "extended key usage of the certificate does not allow its use as server",
        ]
    );
}

#[test]
fn an_authority_is_judged_by_the_rules_of_authorities() {
    let world = World::new();
    let good = Certificate::read(world.ca.der()).unwrap();
    let bad = read(&world, |params| {
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.subject_alt_names.push(uri("https://td"));
    });

    assert_eq!((good.kind, good.broken.len()), (Kind::Authority, 0));
    assert_eq!(
        bad.broken,
        [
            "key usage of the authority lacks `keyCertSign`",
            "authority names the workload `spiffe://td/orders`, expected a trust domain",
            "URI name of the authority does not start with `spiffe://`",
        ]
    );
}

#[test]
fn what_is_no_certificate_is_told() {
    assert_eq!(
        Certificate::read(b"nonsense").unwrap_err(),
        LeafError::Malformed("encoding")
    );
    assert_eq!(certificates(b"nonsense").unwrap_err(), OwnIdentityError::NoCertificate);
    let cut = b"-----BEGIN CERTIFICATE-----\nAAAA";
    assert!(matches!(certificates(cut), Err(OwnIdentityError::Pem(_))));
}

#[test]
fn a_chain_is_judged_as_in_a_handshake() {
    let world = World::new();
    let svid = world.svid("orders");
    let ask = |expected: Option<&ExpectedPeer>, now| {
        let role = Role::Server;
        judge(svid.certificates(), &world.bundles, &Question { role, expected, now })
    };

    assert_eq!(ask(None, start()), Ok(id("spiffe://td/orders")));
    assert_eq!(
        ask(Some(&ExpectedPeer::any_in(domain("td"))), start()),
        Ok(id("spiffe://td/orders"))
    );
    let web = ExpectedPeer::exactly(id("spiffe://td/web"));
    assert!(matches!(ask(Some(&web), start()), Err(PeerError::Unexpected { .. })));
    let late = ask(None, start() + HOUR * 2).unwrap_err();
    assert_eq!(late.to_string(), "peer's certificate expired 3600 s ago");
    let question = Question {
        role: Role::Client,
        expected: None,
        now: start(),
    };
    assert_eq!(judge(&[], &world.bundles, &question), Err(PeerError::NoCertificate));
}

//! Each rule is broken by a certificate in a real handshake, once on each side.

use std::time::{Duration, SystemTime};

use rcgen::string::Ia5String;
use rcgen::{CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType};
use rustls::ALL_VERSIONS;
use rustls::version::{TLS12, TLS13};

use super::*;
use crate::svid::TrustBundle;
use crate::testing::{
    HOUR, Pair, World, as_client, as_server, authority, authority_params, bundle, domain, id, leaf, peer_error,
    private_key, refusal, shake, signed, start, uri,
};

const ORDERS: &str = "spiffe://td/orders";

/// What both sides say to a leaf that `spoil` has changed.
async fn spoiled(world: &World, spoil: impl Fn(&mut rcgen::CertificateParams)) -> PeerError {
    let mut params = leaf(ORDERS);
    spoil(&mut params);
    refusal(world, || signed(&params, &world.ca)).await
}

#[tokio::test]
async fn a_good_svid_is_accepted_on_both_sides_and_in_both_versions() {
    let world = World::new();

    for version in [&TLS12, &TLS13] {
        let good = || signed(&leaf(ORDERS), &world.ca);
        let client = as_client(&world, good(), &[version]).await.unwrap();
        let server = as_server(&world, good(), &[version]).await.unwrap();

        assert_eq!((client.id(), client.role()), (&id(ORDERS), Role::Client));
        assert_eq!((server.id(), server.role()), (&id(ORDERS), Role::Server));
    }
}

/// F1, F3.
#[tokio::test]
async fn exactly_one_uri_name_is_accepted() {
    let world = World::new();
    let dns = || SanType::DnsName(Ia5String::try_from("orders.shop").unwrap());

    let none = spoiled(&world, |p| p.subject_alt_names = vec![]).await;
    let only_dns = spoiled(&world, |p| p.subject_alt_names = vec![dns()]).await;
    let two = spoiled(&world, |p| p.subject_alt_names.push(uri("spiffe://td/admin"))).await;
    let twice = spoiled(&world, |p| p.subject_alt_names.push(uri(ORDERS))).await;
    let other_scheme = spoiled(&world, |p| p.subject_alt_names.push(uri("https://td/"))).await;

    assert_eq!(none, LeafError::NoUri.into());
    assert_eq!(only_dns, LeafError::NoUri.into());
    assert_eq!(two, LeafError::SeveralUris(2).into());
    assert_eq!(twice, LeafError::SeveralUris(2).into());
    assert_eq!(other_scheme, LeafError::SeveralUris(2).into());
}

/// F10, ID-2a, ID-2i, ID-2j, ID-2k, ID-2n: Linkerd's names in DNS form prove nothing, alone or beside an id.
#[tokio::test]
async fn names_of_other_kinds_are_no_identity() {
    let world = World::new();
    let text = |text: &str| Ia5String::try_from(text).unwrap();
    let mut params = leaf(ORDERS);
    params
        .subject_alt_names
        .insert(0, SanType::DnsName(text("spiffe-admin.td")));
    params
        .subject_alt_names
        .push(SanType::Rfc822Name(text("spiffe://td/admin")));
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "spiffe://td/admin");

    let peer = as_client(&world, signed(&params, &world.ca), ALL_VERSIONS)
        .await
        .unwrap();

    assert_eq!(peer.id(), &id(ORDERS));
}

/// F8, F9, F28, ID-1d.
#[tokio::test]
async fn malformed_ids_are_refused_and_never_cut() {
    let world = World::new();
    for text in [
        "spiffe://td/ns/a\0/sa/admin",
        "spiffe://td/orders/",
        "spiffe://td//orders",
        "spiffe://td/a/../admin",
        "spiffe://td/orders?x",
        "spiffe://td/orders#x",
        "spiffe://td/%61dmin",
        "spiffe://td:80/orders",
        "spiffe://u@td/orders",
        "spiffe://TD/orders",
        "SPIFFE://td/orders",
        "Spiffe://td/orders",
        "spiffe:///orders",
        "https://td/orders",
        "",
    ] {
        let error = spoiled(&world, |p| p.subject_alt_names = vec![uri(text)]).await;
        let expected = SpiffeId::parse(text).unwrap_err();
        assert_eq!(error, LeafError::InvalidId(expected).into(), "{text:?}");
    }
}

/// F27.
#[tokio::test]
async fn the_longest_id_is_accepted_and_a_longer_one_refused() {
    let world = World::new();
    let of_length = |n: usize| format!("spiffe://td/{}", "a".repeat(n - 12));

    let longest = signed(&leaf(&of_length(2048)), &world.ca);
    let peer = as_client(&world, longest, ALL_VERSIONS).await.unwrap();
    let longer = spoiled(&world, |p| p.subject_alt_names = vec![uri(&of_length(2049))]).await;

    assert_eq!(peer.id().as_str().len(), 2048);
    assert!(matches!(longer, PeerError::Leaf(LeafError::InvalidId(_))), "{longer}");
}

/// F4.
#[tokio::test]
async fn a_trust_domains_own_id_is_no_workload() {
    let world = World::new();
    let error = spoiled(&world, |p| p.subject_alt_names = vec![uri("spiffe://td")]).await;
    assert_eq!(error, LeafError::RootId(id("spiffe://td")).into());
}

/// F5.
#[tokio::test]
async fn an_authoritys_certificate_is_no_workloads() {
    let world = World::new();
    let unconstrained = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);

    let ca_leaf = spoiled(&world, |p| p.is_ca = unconstrained).await;
    let itself = || (vec![world.ca.der().clone()], private_key(world.ca.key()));
    let root = refusal(&world, itself).await;

    assert_eq!(ca_leaf, LeafError::Authority.into());
    assert_eq!(root, LeafError::Authority.into());
}

/// X509-SVID 4.3: `digitalSignature`, and neither `keyCertSign` nor `cRLSign`.
#[tokio::test]
async fn the_key_must_be_for_signatures_and_for_nothing_of_an_authority() {
    use KeyUsagePurpose::{CrlSign, DigitalSignature, KeyCertSign, KeyEncipherment};
    let world = World::new();
    for (usages, expected) in [
        (vec![], LeafError::NoKeyUsage),
        (vec![KeyEncipherment], LeafError::NoDigitalSignature),
        (
            vec![DigitalSignature, KeyCertSign],
            LeafError::AuthorityKeyUsage("keyCertSign"),
        ),
        (vec![DigitalSignature, CrlSign], LeafError::AuthorityKeyUsage("cRLSign")),
    ] {
        let error = spoiled(&world, |p| p.key_usages.clone_from(&usages)).await;
        assert_eq!(error, expected.into());
    }
}

/// F7.
#[tokio::test]
async fn the_extended_key_usage_binds_each_side() {
    use ExtendedKeyUsagePurpose::{ClientAuth, EmailProtection, ServerAuth};
    let world = World::new();
    let with = |usages: &[ExtendedKeyUsagePurpose]| {
        let mut params = leaf(ORDERS);
        params.extended_key_usages = usages.to_vec();
        signed(&params, &world.ca)
    };
    let refused = |role| PeerError::Leaf(LeafError::ExtendedKeyUsage(role));
    for (usages, client, server) in [
        (vec![], true, true),
        (vec![ServerAuth], false, true),
        (vec![ClientAuth], true, false),
        (vec![EmailProtection], false, false),
        (vec![EmailProtection, ClientAuth, ServerAuth], true, true),
    ] {
        let outcome = as_client(&world, with(&usages), ALL_VERSIONS).await;
        match client {
            true => assert_eq!(outcome.unwrap().id(), &id(ORDERS), "{usages:?}"),
            false => assert_eq!(peer_error(outcome), refused(Role::Client), "{usages:?}"),
        }
        let outcome = as_server(&world, with(&usages), ALL_VERSIONS).await;
        match server {
            true => assert_eq!(outcome.unwrap().id(), &id(ORDERS), "{usages:?}"),
            false => assert_eq!(peer_error(outcome), refused(Role::Server), "{usages:?}"),
        }
    }
}

/// F26.
#[tokio::test]
async fn a_certificate_outside_its_validity_is_refused_with_the_skew() {
    let world = World::new();
    let early = |p: &mut rcgen::CertificateParams| p.not_before = (start() + Duration::from_secs(60)).into();
    let late = |p: &mut rcgen::CertificateParams| {
        p.not_before = (start() - HOUR).into();
        p.not_after = (start() - Duration::from_secs(1)).into();
    };

    let early = spoiled(&world, early).await;
    let late = spoiled(&world, late).await;

    assert_eq!(early, LeafError::NotYetValid(60).into());
    assert_eq!(
        early.to_string(),
        "peer's certificate is not valid before 60 s from now"
    );
    assert_eq!(late, LeafError::Expired(1).into());
    assert_eq!(late.to_string(), "peer's certificate expired 1 s ago");
}

/// F26.
#[tokio::test]
async fn both_ends_of_the_validity_are_included() {
    let world = World::new();
    let last_second = |p: &mut rcgen::CertificateParams| {
        p.not_before = (start() - HOUR).into();
        p.not_after = start().into();
    };
    let mut params = leaf(ORDERS);
    last_second(&mut params);

    assert!(
        as_client(&world, signed(&leaf(ORDERS), &world.ca), ALL_VERSIONS)
            .await
            .is_ok()
    );
    assert!(
        as_client(&world, signed(&params, &world.ca), ALL_VERSIONS)
            .await
            .is_ok()
    );
}

/// F11.
#[tokio::test]
async fn an_authority_outside_of_the_bundle_is_refused_even_under_the_same_name() {
    let world = World::new();
    let impostor = authority("td");

    let error = refusal(&world, || signed(&leaf(ORDERS), &impostor)).await;

    let PeerError::Untrusted { id: claimed, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(claimed, id(ORDERS));
}

/// F11, ID-4, AZ-10d.
#[tokio::test]
async fn an_authority_vouches_for_its_own_trust_domain_only() {
    let mut world = World::new();
    let other = authority("other");
    world.bundles = world.bundles.with(domain("other"), bundle(&other));
    let foreign = "spiffe://other/orders";

    let crossed = peer_error(as_client(&world, signed(&leaf(foreign), &world.ca), ALL_VERSIONS).await);
    let own = as_client(&world, signed(&leaf(foreign), &other), ALL_VERSIONS)
        .await
        .unwrap();

    let reason = ChainError::UnknownIssuer;
    assert_eq!(
        crossed,
        PeerError::Untrusted {
            id: id(foreign),
            reason
        }
    );
    assert_eq!(own.id(), &id(foreign));
}

/// F12.
#[tokio::test]
async fn a_trust_domain_without_a_bundle_or_with_an_empty_one_is_not_trusted() {
    let mut world = World::new();
    let stranger = "spiffe://stranger/orders";

    let unknown = refusal(&world, || signed(&leaf(stranger), &world.ca)).await;
    let (server, client) = (world.server(&world.svid("a")), world.svid("b"));
    world.bundles = world.bundles.with(domain("td"), TrustBundle::empty());
    let client = world.client(&client, &ExpectedPeer::any_in(domain("td")));
    let (_, connected) = shake(server, client).await;
    let accepted = as_client(&world, signed(&leaf(ORDERS), &world.ca), ALL_VERSIONS).await;

    assert_eq!(unknown, PeerError::UnknownTrustDomain(id(stranger)));
    assert_eq!(peer_error(connected), PeerError::EmptyBundle(id("spiffe://td/a")));
    assert_eq!(peer_error(accepted), PeerError::EmptyBundle(id(ORDERS)));
}

/// F18, ID-2c, ID-2d, ID-2g, ID-4.
#[tokio::test]
async fn a_server_that_is_somebody_else_is_refused() {
    let world = World::new();
    let (orders, payments) = (id(ORDERS), id("spiffe://td/payments"));
    let server = || world.server(&world.svid("payments"));
    let client = |expected: &ExpectedPeer| world.client(&world.svid("web"), expected);

    for (expected, accepted) in [
        (ExpectedPeer::exactly(payments.clone()), true),
        (ExpectedPeer::one_of([orders.clone(), payments.clone()]), true),
        (ExpectedPeer::any_in(domain("td")), true),
        (ExpectedPeer::exactly(orders), false),
        (ExpectedPeer::one_of([]), false),
        (ExpectedPeer::any_in(domain("other")), false),
    ] {
        let (_, connected) = shake(server(), client(&expected)).await;
        if accepted {
            assert_eq!(connected.unwrap().1.id(), &payments);
        } else {
            let found = payments.clone();
            assert_eq!(peer_error(connected), PeerError::Unexpected { found, expected });
        }
    }
}

/// F3.
#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let world = World::new();
    let none: Pair = (vec![], private_key(&KeyPair::generate().unwrap()));

    for version in [&TLS12, &TLS13] {
        let outcome = as_client(&world, (none.0.clone(), none.1.clone_key()), &[version]).await;
        assert_eq!(peer_error(outcome), PeerError::NoCertificate);
    }
}

/// F15, in both versions and directions.
#[tokio::test]
async fn a_stolen_certificate_is_worth_nothing_without_its_key() {
    let world = World::new();
    let stolen = || -> Pair {
        let (chain, _) = signed(&leaf(ORDERS), &world.ca);
        (chain, private_key(&KeyPair::generate().unwrap()))
    };

    for version in [&TLS12, &TLS13] {
        let client = as_client(&world, stolen(), &[version]).await;
        let server = as_server(&world, stolen(), &[version]).await;
        assert_eq!(peer_error(client), PeerError::KeyNotProven);
        assert_eq!(peer_error(server), PeerError::KeyNotProven);
    }
}

/// `depth` authorities between the root and the leaf.
fn deep_chain(world: &World, depth: usize) -> Pair {
    let root_key = KeyPair::from_pem(&world.ca.key().serialize_pem()).unwrap();
    let root = CertifiedIssuer::self_signed(authority_params("td"), root_key).unwrap();
    let mut authorities = vec![root];
    for level in 0..depth {
        let params = authority_params(&format!("intermediate {level}"));
        let issuer = authorities.last().unwrap();
        let next = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), issuer).unwrap();
        authorities.push(next);
    }
    let (mut chain, key) = signed(&leaf(ORDERS), authorities.last().unwrap());
    chain.extend(authorities.iter().skip(1).rev().map(|ca| ca.der().clone()));
    (chain, key)
}

/// F20.
#[tokio::test]
async fn intermediates_are_followed_as_far_as_webpki_goes_and_capped_at_eight_certificates() {
    let world = World::new();

    let three = as_client(&world, deep_chain(&world, 2), ALL_VERSIONS).await.unwrap();
    let nine = refusal(&world, || deep_chain(&world, 8)).await;

    assert_eq!(three.id(), &id(ORDERS));
    assert_eq!(nine, PeerError::ChainTooLong(9));
}

#[tokio::test]
async fn an_expired_issuer_is_named_as_such() {
    let world = World::new();
    let mut params = authority_params("intermediate");
    params.not_after = (start() - Duration::from_secs(5)).into();
    let expired = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &world.ca).unwrap();
    let chain = || {
        let (mut chain, key) = signed(&leaf(ORDERS), &expired);
        chain.push(expired.der().clone());
        (chain, key)
    };

    let error = refusal(&world, chain).await;

    let reason = ChainError::IssuerExpired(5);
    assert_eq!(error, PeerError::Untrusted { id: id(ORDERS), reason });
}

/// Chain building takes an anchor for good whatever its own validity.
#[tokio::test]
async fn an_authority_outside_of_its_validity_vouches_for_nobody() {
    let mut world = World::new();
    let aged = |name: &str, from: SystemTime, until: SystemTime| {
        let mut params = authority_params(name);
        (params.not_before, params.not_after) = (from.into(), until.into());
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    };
    let second = Duration::from_secs(1);
    let expired = aged("expired", start() - HOUR, start() - 5 * second);
    let early = aged("early", start() + 7 * second, start() + HOUR);
    let good = aged("good", start(), start());
    let both = [expired.pem(), early.pem(), good.pem()].concat();
    let both = TrustBundle::from_pem(both.as_bytes()).unwrap();
    world.bundles = world.bundles.with(domain("other"), both);
    let foreign = "spiffe://other/orders";

    for (ca, reason) in [
        (&expired, ChainError::AuthorityExpired(5)),
        (&early, ChainError::AuthorityNotYetValid(7)),
    ] {
        let refused = peer_error(as_client(&world, signed(&leaf(foreign), ca), ALL_VERSIONS).await);
        assert_eq!(
            refused,
            PeerError::Untrusted {
                id: id(foreign),
                reason
            }
        );
    }
    let accepted = as_client(&world, signed(&leaf(foreign), &good), ALL_VERSIONS).await;
    assert_eq!(accepted.unwrap().id(), &id(foreign));
    let stranger = peer_error(as_client(&world, signed(&leaf(foreign), &authority("x")), ALL_VERSIONS).await);
    let reason = ChainError::UnknownIssuer;
    assert_eq!(
        stranger,
        PeerError::Untrusted {
            id: id(foreign),
            reason
        }
    );
}

/// F20 (RUSTSEC-2023-0053): Authorities of one name and key, so that every order of them is a path to try.
#[tokio::test]
async fn a_chain_with_paths_without_number_is_refused_in_time() {
    let world = World::new();
    let key = KeyPair::generate().unwrap().serialize_pem();
    let crossed = |serial: u8| {
        let mut params = authority_params("crossed");
        params.serial_number = Some(vec![serial].into());
        CertifiedIssuer::self_signed(params, KeyPair::from_pem(&key).unwrap()).unwrap()
    };
    let (mut chain, leaf_key) = signed(&leaf(ORDERS), &crossed(1));
    chain.extend((1..8).map(|serial| crossed(serial).der().clone()));
    let began = std::time::Instant::now();

    let error = refusal(&world, || (chain.clone(), leaf_key.clone_key())).await;

    assert!(matches!(error, PeerError::Untrusted { .. }), "{error}");
    // 7! paths would take minutes; the limit of webpki stops after some hundred signatures.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

/// F24: Constraints on URI names are refused by webpki whatever they say (RUSTSEC-2026-0098).
#[tokio::test]
async fn an_authority_with_constraints_on_uri_names_is_refused_with_a_reason() {
    let mut world = World::new();
    let mut params = authority_params("td");
    // permittedSubtrees [0], GeneralSubtree with uniformResourceIdentifier [6] "td".
    let constraints = b"\x30\x08\xa0\x06\x30\x04\x86\x02td".to_vec();
    let extension = rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 30], constraints);
    params.custom_extensions.push(extension);
    world.ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    world.bundles = world.bundles.with(domain("td"), bundle(&world.ca));

    let PeerError::Untrusted { reason, .. } = refusal(&world, || signed(&leaf(ORDERS), &world.ca)).await else {
        panic!("the leaf itself is good");
    };

    assert!(reason.to_string().contains("NameConstraint"), "{reason}");
}

#[test]
fn a_refusal_says_what_was_found_and_what_was_expected() {
    let error = PeerError::Unexpected {
        found: id("spiffe://td/a"),
        expected: ExpectedPeer::one_of([id("spiffe://td/b"), id("spiffe://td/c")]),
    };
    let text = "peer is `spiffe://td/a`, expected `spiffe://td/b` or `spiffe://td/c`";
    assert_eq!(error.to_string(), text);

    let error = PeerError::UnknownTrustDomain(id("spiffe://td/a"));
    let text = "no trust bundle for `td`, the trust domain of peer `spiffe://td/a`";
    assert_eq!(error.to_string(), text);
}

/// ID-2a, ID-2f, ID-2g, ID-2j, ID-2n: Linkerd's names in certificates stand for nobody, whoever is expected; an id
/// beside them does.
#[tokio::test]
async fn linkerds_names_in_a_certificate_are_no_identity() {
    let world = World::new();
    let dns = |name: &str| SanType::DnsName(Ia5String::try_from(name).unwrap());
    let linkerds = [
        "foo.ns1.serviceaccount.identity.linkerd.td",
        "bar.ns1.serviceaccount.identity.linkerd.td",
    ];
    let names: Vec<SanType> = linkerds.into_iter().map(dns).collect();
    let alone = spoiled(&world, |leaf| leaf.subject_alt_names.clone_from(&names)).await;
    assert_eq!(alone, LeafError::NoUri.into());
    let dotted = spoiled(&world, |leaf| {
        leaf.subject_alt_names = vec![dns("foo.ns1.serviceaccount.identity.linkerd.td.")]
    });
    assert_eq!(dotted.await, LeafError::NoUri.into());

    let id_of_foo = id("spiffe://td/ns/ns1/sa/foo");
    let mut beside = leaf(ORDERS);
    beside.subject_alt_names.splice(0..0, names);
    let server = |expected| {
        let client = world.client(&world.svid("web"), &ExpectedPeer::exactly(expected));
        let (chain, key) = signed(&beside, &world.ca);
        let svid = crate::svid::Svid::from_der(chain, key).unwrap();
        shake(world.server(&svid), client)
    };
    assert_eq!(server(id(ORDERS)).await.1.unwrap().1.id(), &id(ORDERS));
    assert!(matches!(
        peer_error(server(id_of_foo).await.1),
        PeerError::Unexpected { .. }
    ));
}

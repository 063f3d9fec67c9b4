use super::*;
use crate::leaf::Role;
use crate::source::StaticSource;
use crate::testing::{HOUR, World, authority, bundle, domain, id, leaf, private_key, signed, uri};
use crate::verify::ExpectedPeer;

/// F34.
#[test]
fn a_key_of_another_certificate_is_refused() {
    let world = World::new();
    let (chain, _) = signed(&leaf("spiffe://td/orders"), &world.ca);
    let other = private_key(&rcgen::KeyPair::generate().unwrap());

    let error = Svid::from_der(chain, other).unwrap_err();

    assert_eq!(error, OwnIdentityError::KeyMismatch(id("spiffe://td/orders")));
}

/// G12.
#[test]
fn text_without_certificate_or_key_is_refused_without_quoting_it() {
    let world = World::new();
    let key = rcgen::KeyPair::generate().unwrap();
    let chain = leaf("spiffe://td/orders").signed_by(&key, &world.ca).unwrap().pem();
    let key = key.serialize_pem();
    let half = &chain[..chain.len() / 2];

    let read = |chain: &str, key: &str| Svid::from_pem(chain.as_bytes(), key.as_bytes());
    assert!(read(&chain, &key).is_ok());
    assert_eq!(read("", &key).unwrap_err(), OwnIdentityError::NoCertificate);
    assert_eq!(read(&key, &key).unwrap_err(), OwnIdentityError::NoCertificate);
    let cut =
        "own certificate file is not valid PEM: the section `CERTIFICATE` has no end, as where the text is cut off";
    assert_eq!(read(half, &key).unwrap_err().to_string(), cut);
    let open = chain.replacen("-----\n", "\n", 1);
    let line = "own certificate file is not valid PEM: a line that begins with `-----BEGIN` has to end with `-----`";
    assert_eq!(read(&open, &key).unwrap_err().to_string(), line);
    assert!(matches!(
        read(&format!("{chain}{half}"), &key),
        Err(OwnIdentityError::Pem(_))
    ));
    let secret = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n";
    for bad in ["", "no key", secret] {
        let error = read(&chain, bad).unwrap_err();
        assert_eq!(error, OwnIdentityError::NoKey);
        assert!(!format!("{error} {error:?}").contains("c2Vj"));
    }
}

#[test]
fn an_own_leaf_keeps_the_rules_that_peers_apply() {
    use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose};
    let world = World::new();
    let refused = |spoil: fn(&mut rcgen::CertificateParams)| {
        let mut params = leaf("spiffe://td/orders");
        spoil(&mut params);
        let (chain, key) = signed(&params, &world.ca);
        Svid::from_der(chain, key).unwrap_err()
    };

    for (error, expected) in [
        (
            refused(|p| p.subject_alt_names.push(uri("spiffe://td/admin"))),
            LeafError::SeveralUris(2),
        ),
        (refused(|p| p.subject_alt_names.clear()), LeafError::NoUri),
        (
            refused(|p| p.subject_alt_names = vec![uri("spiffe://td")]),
            LeafError::RootId(id("spiffe://td")),
        ),
        (
            refused(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
            LeafError::Authority,
        ),
        (refused(|p| p.key_usages.clear()), LeafError::NoKeyUsage),
        (
            refused(|p| p.key_usages.push(KeyUsagePurpose::KeyCertSign)),
            LeafError::AuthorityKeyUsage("keyCertSign"),
        ),
        (
            refused(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection]),
            LeafError::ExtendedKeyUsage(Role::Client),
        ),
    ] {
        assert_eq!(error, OwnIdentityError::Leaf(expected));
    }
}

#[test]
fn an_own_chain_that_peers_would_not_read_is_refused() {
    let world = World::new();
    let (mut chain, key) = signed(&leaf("spiffe://td/orders"), &world.ca);
    chain.extend(std::iter::repeat_n(world.ca.der().clone(), MAX_CHAIN));

    let error = Svid::from_der(chain, key).unwrap_err();

    assert_eq!(error, OwnIdentityError::Untrusted(PeerError::ChainTooLong(9)));
}

#[test]
fn a_bundle_is_taken_whole_or_not_at_all() {
    let world = World::new();
    let second = authority("td");
    let (leaf, _) = signed(&leaf("spiffe://td/orders"), &world.ca);
    let (one, other) = (world.ca.der().clone(), second.der().clone());
    let of = TrustBundle::from_der;

    assert_eq!(of(vec![one.clone(), other.clone()]).unwrap().len(), 2);
    let with_leaf = of(vec![one.clone(), leaf[0].clone()]).unwrap_err();
    assert_eq!(with_leaf, BundleError::NoAuthority(2));
    let damaged = of(vec![one.clone(), one[..one.len() - 1].to_vec().into()]).unwrap_err();
    assert_eq!(damaged, BundleError::Malformed(2));

    let pem = format!("{}{}", world.ca.pem(), second.pem());
    assert_eq!(TrustBundle::from_pem(pem.as_bytes()).unwrap().len(), 2);
    let cut = &pem[..pem.len() - 30];
    let error = TrustBundle::from_pem(cut.as_bytes()).unwrap_err();
    let told = "trust bundle is not valid PEM: the section `CERTIFICATE` has no end, as where the text is cut off";
    assert_eq!(error.to_string(), told);
    for empty in ["", "# nothing\n", &world.ca.key().serialize_pem()] {
        let error = TrustBundle::from_pem(empty.as_bytes()).unwrap_err();
        assert_eq!(error, BundleError::NoCertificate);
    }
}

#[test]
fn validity_and_trust_are_asked_at_the_time_of_the_clock() {
    let (world, other) = (World::new(), World::new());
    let svid = world.svid("orders");
    assert_eq!(svid.check(&world.bundles, &world.time.clock()), Ok(()));
    assert_eq!(svid.not_after().duration_since(svid.not_before()).unwrap(), HOUR);

    let untrusted = svid.check(&other.bundles, &world.time.clock());
    assert!(
        matches!(untrusted, Err(OwnIdentityError::Untrusted(PeerError::Untrusted { .. }))),
        "{untrusted:?}"
    );
    let unknown = TrustBundles::of(domain("elsewhere"), bundle(&world.ca));
    let unknown = svid.check(&unknown, &world.time.clock());
    assert!(
        matches!(
            unknown,
            Err(OwnIdentityError::Untrusted(PeerError::UnknownTrustDomain(_)))
        ),
        "{unknown:?}"
    );

    world.time.advance(HOUR);
    assert_eq!(
        svid.check(&world.bundles, &world.time.clock()),
        Ok(()),
        "valid to the last second"
    );
    world.time.advance(std::time::Duration::from_secs(1));
    assert!(matches!(
        svid.check(&world.bundles, &world.time.clock()),
        Err(OwnIdentityError::Leaf(_))
    ));
}

#[test]
fn bundles_vouch_for_their_own_trust_domain_alone() {
    let world = World::new();
    let both = world.bundles.with(domain("other"), TrustBundle::empty());

    assert_eq!(both.trust_domains().count(), 2);
    assert_eq!(both.bundle(&domain("td")).map(TrustBundle::len), Some(1));
    assert!(both.bundle(&domain("other")).unwrap().is_empty());
    assert!(both.bundle(&domain("third")).is_none());
}

/// G12.
#[test]
fn no_debug_form_holds_a_key() {
    let world = World::new();
    let (key, clock) = (rcgen::KeyPair::generate().unwrap(), world.time.clock());
    let certificate = leaf("spiffe://td/orders").signed_by(&key, &world.ca).unwrap();
    let svid = Svid::from_der(vec![certificate.der().clone()], private_key(&key)).unwrap();
    let source = StaticSource::new(svid.clone(), world.bundles, clock).unwrap();
    let anybody = ExpectedPeer::any_in(domain("td"));
    let text = format!(
        "{svid:?} {source:?} {:?} {:?} {:#?}",
        source.source().server_config(&[]).unwrap(),
        source.source().client_config(&anybody, &[]).unwrap(),
        source.source().current()
    );

    assert!(text.contains("spiffe://td/orders"));
    // PKCS#8 of a P-256 key holds the secret at bytes 36 to 68.
    let secret = &key.serialize_der()[40..48];
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let decimal = format!("{secret:?}");
    assert!(!text.to_lowercase().contains(&hex));
    assert!(!text.contains(decimal.trim_matches(['[', ']'])));
    let pem = key.serialize_pem();
    assert!(!text.contains(pem.lines().nth(1).unwrap()));
}

use super::*;
use crate::testing::{HOUR, World, bundle, domain, id, leaf, private_key, signed};

#[test]
fn a_key_of_another_certificate_is_refused() {
    let world = World::new();
    let (chain, _) = signed(&leaf("spiffe://td/orders"), &world.ca);
    let other = private_key(&rcgen::KeyPair::generate().unwrap());

    let error = Svid::from_der(chain, other).unwrap_err();

    assert_eq!(error, OwnIdentityError::KeyMismatch(id("spiffe://td/orders")));
}

#[test]
fn text_without_certificate_or_key_is_refused_without_quoting_it() {
    let world = World::new();
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let (chain, _) = signed(&leaf("spiffe://td/orders"), &world.ca);
    let pem = |der: &[u8]| pem_of(der);
    let chain = pem(&chain[0]);

    assert_eq!(
        Svid::from_pem(b"", key.as_bytes()).unwrap_err(),
        OwnIdentityError::NoCertificate
    );
    let secret = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n";
    for bad in ["", "no key", secret] {
        let error = Svid::from_pem(chain.as_bytes(), bad.as_bytes()).unwrap_err();
        assert_eq!(error, OwnIdentityError::NoKey);
        assert!(!format!("{error} {error:?}").contains("c2Vj"));
    }
}

fn pem_of(der: &[u8]) -> String {
    use rustls::pki_types::pem::PemObject;
    // rcgen's own certificates know their PEM; this one is built from what the chain holds.
    let text = base64(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let pem = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    );
    assert_eq!(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().as_ref(), der);
    pem
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = (word >> (18 - 6 * place)) & 63;
            text.push(if place <= group.len() {
                char::from(ALPHABET[digit as usize])
            } else {
                '='
            });
        }
    }
    text
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

#[test]
fn its_debug_form_holds_no_key() {
    let text = format!("{:?}", World::new().svid("orders"));
    assert!(
        text.contains("spiffe://td/orders") && !text.to_lowercase().contains("key"),
        "{text}"
    );
}

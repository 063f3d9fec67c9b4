use std::time::{Duration, Instant};

use proptest::prelude::*;
use rcgen::CustomExtension;

use super::*;
use crate::testing::{HOUR, World, leaf, signed, start, uri};

fn parse(params: &rcgen::CertificateParams) -> Result<Leaf, LeafError> {
    let (chain, _) = signed(params, &World::new().ca);
    Leaf::parse(&chain[0])
}

#[test]
fn a_leaf_tells_its_id_and_validity() {
    let leaf = parse(&leaf("spiffe://td/orders")).unwrap();

    assert_eq!(leaf.id.as_str(), "spiffe://td/orders");
    assert_eq!((leaf.not_before(), leaf.not_after()), (start(), start() + HOUR));
}

/// F37.
#[test]
fn what_is_no_certificate_is_refused() {
    let (chain, _) = signed(&leaf("spiffe://td/orders"), &World::new().ca);
    let mut longer = chain[0].to_vec();
    longer.push(0);

    for bytes in [&b""[..], b"0", &[0x30, 0x80], &chain[0][..chain[0].len() - 1]] {
        assert_eq!(Leaf::parse(bytes).unwrap_err(), LeafError::Malformed("encoding"));
    }
    assert_eq!(Leaf::parse(&longer).unwrap_err(), LeafError::Malformed("end"));
}

/// OID and DER value of an extension that the certificate already has, or that is damaged.
fn with_extension(oid: &[u64], value: &[u8], spoil: impl Fn(&mut rcgen::CertificateParams)) -> LeafError {
    let mut params = leaf("spiffe://td/orders");
    spoil(&mut params);
    let extension = CustomExtension::from_oid_content(oid, value.to_vec());
    params.custom_extensions.push(extension);
    parse(&params).unwrap_err()
}

#[test]
fn repeated_and_damaged_extensions_are_refused() {
    const NAMES: &[u64] = &[2, 5, 29, 17];
    const CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
    const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
    let keep = |_: &mut rcgen::CertificateParams| {};
    let no_names = |p: &mut rcgen::CertificateParams| p.subject_alt_names.clear();
    let no_constraints = |p: &mut rcgen::CertificateParams| p.is_ca = rcgen::IsCa::NoCa;
    let no_usage = |p: &mut rcgen::CertificateParams| p.key_usages.clear();
    let second_name = b"\x30\x14\x86\x12spiffe://td/admin1";
    let not_utf8 = b"\x30\x04\x86\x02\xff\xfe";

    assert!(matches!(
        with_extension(NAMES, second_name, keep),
        LeafError::Malformed(_)
    ));
    assert!(matches!(
        with_extension(NAMES, b"\x30", no_names),
        LeafError::Malformed(_)
    ));
    assert_eq!(
        with_extension(NAMES, not_utf8, no_names),
        LeafError::Malformed("URI name")
    );
    assert!(matches!(
        with_extension(CONSTRAINTS, b"\x01\x01\xff", no_constraints),
        LeafError::Malformed(_)
    ));
    assert!(matches!(
        with_extension(CONSTRAINTS, b"\x30\x03\x01\x01\xff", keep),
        LeafError::Malformed(_)
    ));
    assert!(matches!(
        with_extension(KEY_USAGE, b"\xff", no_usage),
        LeafError::Malformed(_)
    ));
}

#[test]
fn an_absent_extended_key_usage_allows_both_sides() {
    let mut params = leaf("spiffe://td/orders");
    params.extended_key_usages.clear();
    let leaf = parse(&params).unwrap();

    assert_eq!(leaf.check_role(Role::Client), Ok(()));
    assert_eq!(leaf.check_role(Role::Server), Ok(()));
}

/// F37.
#[test]
fn a_crowd_of_names_is_counted_and_refused_in_time() {
    let mut params = leaf("spiffe://td/orders");
    params.subject_alt_names = vec![uri("spiffe://td/a"); 3000];
    let (chain, _) = signed(&params, &World::new().ca);
    let began = Instant::now();

    assert_eq!(Leaf::parse(&chain[0]).unwrap_err(), LeafError::SeveralUris(3000));
    // A debug build on a busy machine needs a few milliseconds; quadratic work needs seconds.
    assert!(began.elapsed() < Duration::from_secs(1));
}

proptest! {
    /// F37.
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = Leaf::parse(&bytes);
    }

    #[test]
    fn a_damaged_certificate_is_refused_or_keeps_a_valid_id(at in 0_usize..300, bit in 0_u8..8) {
        let (chain, _) = FIXED.clone();
        let mut bytes = chain[0].to_vec();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;

        if let Ok(leaf) = Leaf::parse(&bytes) {
            prop_assert!(SpiffeId::parse(leaf.id.as_str()).is_ok());
            prop_assert!(!leaf.id.is_root());
        }
    }
}

static FIXED: std::sync::LazyLock<(Vec<rustls::pki_types::CertificateDer<'static>>, ())> =
    std::sync::LazyLock::new(|| (signed(&leaf("spiffe://td/orders"), &World::new().ca).0, ()));

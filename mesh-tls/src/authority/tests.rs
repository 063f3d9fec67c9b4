use super::*;
use crate::clock::ManualClock;
use crate::testing::{HOUR, domain, id, start};

fn create(directory: &Path) -> Result<DevCa, AuthorityError> {
    DevCa::load_or_create(directory, domain("td"), start())
}

/// Why the directory is refused, and that it is left as it was.
fn refusal(directory: &Path, now: SystemTime) -> String {
    let before = listing(directory);
    let error = DevCa::load_or_create(directory, domain("td"), now).unwrap_err();
    assert_eq!(listing(directory), before, "{error}");
    error.to_string()
}

fn listing(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn an_authority_that_is_loaded_again_issues_for_those_who_trusted_it_before() {
    let directory = tempfile::tempdir().unwrap();
    let first = create(directory.path()).unwrap();
    let again = create(directory.path()).unwrap();

    let svid = again.issue(&id("spiffe://td/orders"), HOUR, start()).unwrap().svid();

    let clock = ManualClock::at(start()).clock();
    assert_eq!(first.certificate_pem(), again.certificate_pem());
    assert_eq!(svid.unwrap().check(&first.bundles().unwrap(), &clock), Ok(()));
}

#[test]
fn an_svid_is_valid_from_two_minutes_before_until_its_ttl_and_no_longer_than_its_authority() {
    let ca = DevCa::new(domain("td"), start()).unwrap();
    let orders = id("spiffe://td/orders");
    let svid = |ttl| ca.issue(&orders, ttl, start()).unwrap().svid().unwrap();

    assert_eq!(svid(HOUR).not_before(), start() - BACKDATE);
    assert_eq!(svid(HOUR).not_after(), start() + HOUR);
    assert_eq!(svid(Duration::MAX).not_after(), start() + CA_LIFETIME);
}

#[test]
fn a_clock_that_shows_nonsense_makes_no_panic() {
    for now in [
        UNIX_EPOCH,
        UNIX_EPOCH - CA_LIFETIME,
        UNIX_EPOCH + Duration::from_secs(LATEST * 9),
    ] {
        let ca = DevCa::new(domain("td"), now).unwrap();
        let svid = ca.issue(&id("spiffe://td/orders"), Duration::MAX, now).unwrap().svid();
        assert!(svid.unwrap().not_before() >= UNIX_EPOCH);
    }
}

#[test]
fn only_workloads_of_its_own_trust_domain_are_issued_for() {
    let ca = DevCa::new(domain("td"), start()).unwrap();

    for other in ["spiffe://td", "spiffe://other/orders", "spiffe://td.x/orders"] {
        let error = ca.issue(&id(other), HOUR, start()).unwrap_err();
        let expected = format!("cannot issue for `{other}`, expected a workload of `td`");
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn a_hosts_certificate_is_no_identity() {
    let ca = DevCa::new(domain("td"), start()).unwrap();
    let web = ca.issue_web(&["shop.example.com", "10.0.0.1"], HOUR, start()).unwrap();

    assert_eq!(web.svid().unwrap_err(), crate::leaf::LeafError::NoUri.into());
    assert!(ca.issue_web(&["é"], HOUR, start()).is_err());
}

#[test]
fn a_directory_that_holds_something_else_is_refused_and_never_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let ca = create(path).unwrap();
    let (certificate, key) = (path.join(CA_CERTIFICATE), path.join(CA_KEY));
    let (good, good_key) = (fs::read(&certificate).unwrap(), fs::read(&key).unwrap());
    let leaf = ca.issue(&id("spiffe://td/orders"), HOUR, start()).unwrap();
    let other = DevCa::new(domain("other"), start()).unwrap();

    for (text, secret, reason) in [
        ("nonsense", None, "`ca.crt` is no certificate"),
        (ca.certificate_pem(), Some("nonsense"), "`ca.key` is no private key"),
        (
            ca.certificate_pem(),
            Some(&*leaf.key_pem),
            "`ca.key` does not belong to `ca.crt`",
        ),
        (
            &leaf.chain_pem,
            Some(&*leaf.key_pem),
            "`ca.crt` is not that of an authority (CA:true)",
        ),
        (
            other.certificate_pem(),
            Some(&*other.issuer.key().serialize_pem()),
            "`ca.crt` is for another trust domain",
        ),
    ] {
        fs::write(&certificate, text).unwrap();
        fs::write(&key, secret.map_or(&*good_key, str::as_bytes)).unwrap();
        assert!(refusal(path, start()).ends_with(reason), "{reason}");
    }
    fs::write(&key, &good_key).unwrap();
    fs::remove_file(&certificate).unwrap();
    assert!(refusal(path, start()).ends_with("only one of `ca.crt` and `ca.key` is there"));
    fs::write(&certificate, &good).unwrap();
    let late = start() + CA_LIFETIME + Duration::from_secs(1);
    assert!(refusal(path, late).ends_with("`ca.crt` has expired"));
    assert!(create(path).is_ok(), "whole again");
}

#[cfg(unix)]
#[test]
fn keys_are_for_their_owner_alone_even_where_a_crash_left_a_file_behind() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::write(path.join(format!("tls.key.{}.tmp", std::process::id())), "left").unwrap();

    let ca = create(path).unwrap();
    ca.write_workload(path, &id("spiffe://td/orders"), HOUR, start())
        .unwrap();

    for name in [CA_KEY, "tls.key"] {
        let mode = fs::metadata(path.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(listing(path).len(), 4, "no temporary file stays");
}

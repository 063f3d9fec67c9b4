use std::time::SystemTime;

use super::*;
use crate::authority::{DevCa, Issued};
use crate::clock::Clock;
use crate::source::Refresh;
use crate::testing::{HOUR, domain};

const LIMIT: Duration = Duration::from_secs(10);

fn ca() -> DevCa {
    DevCa::new(domain("td"), SystemTime::now()).unwrap()
}

fn issued(ca: &DevCa, host: &str) -> Issued {
    ca.issue_web(&[host], HOUR, SystemTime::now()).unwrap()
}

fn credential(issued: &Issued) -> WebCredential {
    WebCredential::from_pem(issued.chain_pem.as_bytes(), issued.key_pem.as_bytes()).unwrap()
}

fn pattern(host: &str) -> HostPattern {
    HostPattern::parse(host).unwrap()
}

/// Shakes hands for `host`; what the client says of it, and the name that the server saw.
async fn ask(ca: &DevCa, server: &Arc<WebServerConfig>, host: &str) -> Result<Option<String>, HandshakeError> {
    let roots = ca.certificate_pem().as_bytes();
    let client = WebClientConfig::with_roots(roots, &[Alpn::Http1], &Clock::system()).unwrap();
    let (near, far) = tokio::io::duplex(1 << 16);
    let (accepted, connected) = tokio::join!(
        accept_web(near, Arc::clone(server), LIMIT),
        connect_web(far, Arc::new(client), host, LIMIT)
    );
    connected?;
    let (_, alpn, name) = accepted?;
    assert_eq!(alpn, Some(Alpn::Http1));
    Ok(name)
}

#[test]
fn patterns_are_names_wildcards_and_everything() {
    assert_eq!(pattern("*"), HostPattern::Any);
    assert_eq!(pattern("*.Example.com"), HostPattern::Under("example.com".into()));
    assert_eq!(
        pattern("shop.example.com"),
        HostPattern::Exact("shop.example.com".into())
    );
    for bad in ["", "*.", "a*b.com", "shop example", "*.*.com"] {
        assert_eq!(HostPattern::parse(bad), None, "{bad}");
    }
}

#[tokio::test]
async fn the_name_that_is_asked_for_chooses_the_certificate() {
    let ca = ca();
    let hosts = ["shop.example.com", "*.example.com", "*.eu.example.com"];
    let hosts = hosts.map(|host| (pattern(host), credential(&issued(&ca, host))));
    let server = Arc::new(WebServerConfig::by_host(hosts, &[Alpn::H2, Alpn::Http1]).unwrap());

    for host in [
        "shop.example.com",
        "api.example.com",
        "SHOP.example.com",
        "a.eu.example.com",
    ] {
        let name = ask(&ca, &server, host).await.unwrap();
        assert_eq!(name, Some(host.to_ascii_lowercase()), "{host}");
    }
    assert!(
        ask(&ca, &server, "example.com").await.is_err(),
        "a wildcard does not take its parent"
    );
    assert!(ask(&ca, &server, "elsewhere.org").await.is_err());
}

#[tokio::test]
async fn a_certificate_for_another_host_or_authority_is_refused_by_clients() {
    let (ours, theirs) = (ca(), ca());
    let other = issued(&ours, "other.example.com");
    let server = WebServerConfig::simple(other.chain_pem.as_bytes(), other.key_pem.as_bytes(), &[Alpn::Http1]);
    let server = Arc::new(server.unwrap());

    assert!(ask(&ours, &server, "shop.example.com").await.is_err());
    assert!(ask(&theirs, &server, "other.example.com").await.is_err());
    assert!(ask(&ours, &server, "other.example.com").await.is_ok());
}

#[tokio::test]
async fn a_replaced_credential_is_used_from_the_next_handshake_on() {
    let ca = ca();
    let shop = credential(&issued(&ca, "old.example.com"));
    let server = Arc::new(WebServerConfig::by_host([(HostPattern::Any, shop.clone())], &[Alpn::Http1]).unwrap());
    assert!(ask(&ca, &server, "new.example.com").await.is_err());

    let next = issued(&ca, "new.example.com");
    shop.replace(next.chain_pem.as_bytes(), next.key_pem.as_bytes())
        .unwrap();

    assert!(ask(&ca, &server, "new.example.com").await.is_ok());
}

#[test]
fn files_are_followed_and_broken_ones_leave_the_last_good_pair() {
    let (ca, directory) = (ca(), tempfile::tempdir().unwrap());
    let write = || {
        ca.write_web(directory.path(), &["shop.example.com"], HOUR, SystemTime::now())
            .unwrap()
    };
    write();
    let files = CredentialFiles::open(directory.path()).unwrap();
    let first = files.credential().current();
    assert_eq!(files.refresh().unwrap(), Refresh::Unchanged);

    std::fs::write(directory.path().join("tls.crt"), "broken").unwrap();
    assert!(files.refresh().is_err());
    assert!(Arc::ptr_eq(&first, &files.credential().current()));

    write();
    assert!(matches!(files.refresh().unwrap(), Refresh::Replaced(_)));
    assert!(!Arc::ptr_eq(&first, &files.credential().current()));
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let ca = ca();
    let (one, other) = (issued(&ca, "one.example.com"), issued(&ca, "other.example.com"));

    let error = WebCredential::from_pem(one.chain_pem.as_bytes(), other.key_pem.as_bytes()).unwrap_err();

    assert!(matches!(error, CredentialError::KeyMismatch), "{error}");
}

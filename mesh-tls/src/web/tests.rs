use std::time::SystemTime;

use super::*;
use crate::authority::{DevCa, Issued};
use crate::clock::{Clock, ManualClock};
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
    for bad in [
        "",
        "*.",
        "a*b.com",
        "shop example",
        "*.*.com",
        "shop.example.com.",
        "*.com.",
        ".com",
    ] {
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

#[test]
fn the_best_pattern_wins_whatever_the_order() {
    let ca = ca();
    let mut hosts = ["*", "*.example.com", "*.eu.example.com", "a.eu.example.com"]
        .map(|host| (pattern(host), credential(&issued(&ca, "x.example.com"))));
    let same = |one: &WebCredential, other: &WebCredential| Arc::ptr_eq(&one.current(), &other.current());
    for _ in 0..2 {
        let resolver = HostResolver(hosts.to_vec());
        for (name, best) in [
            (None, "*"),
            (Some("example.com"), "*"),
            (Some("badexample.com"), "*"),
            (Some("shop.example.com"), "*.example.com"),
            (Some("eu.example.com"), "*.example.com"),
            (Some("b.eu.example.com"), "*.eu.example.com"),
            (Some("A.EU.example.com"), "a.eu.example.com"),
        ] {
            let expected = hosts.iter().find(|(host, _)| *host == pattern(best)).unwrap();
            assert!(same(resolver.credential(name).unwrap(), &expected.1), "{name:?}");
        }
        hosts.reverse();
    }

    let twice = ["*", "*"].map(|host| (pattern(host), credential(&issued(&ca, "x.example.com"))));
    let resolver = HostResolver(twice.to_vec());
    assert!(
        same(resolver.credential(None).unwrap(), &twice[0].1),
        "the first of equals"
    );
}

#[tokio::test]
async fn a_client_that_sends_no_name_gets_the_certificate_for_any_or_none() {
    let ca = ca();
    let address = credential(&issued(&ca, "127.0.0.1"));
    let any = WebServerConfig::by_host([(HostPattern::Any, address.clone())], &[Alpn::Http1]).unwrap();
    let named = WebServerConfig::by_host([(pattern("shop.example.com"), address)], &[Alpn::Http1]).unwrap();

    assert_eq!(ask(&ca, &Arc::new(any), "127.0.0.1").await.unwrap(), None);
    let refused = ask(&ca, &Arc::new(named), "127.0.0.1").await.unwrap_err();
    assert!(matches!(refused, HandshakeError::PeerRefused(_)), "{refused}");
}

/// F19.
#[tokio::test]
async fn a_wildcard_certificate_is_for_one_label_only() {
    let ca = ca();
    let wildcard = credential(&issued(&ca, "*.example.com"));
    let server = WebServerConfig::by_host([(HostPattern::Any, wildcard)], &[Alpn::Http1]).unwrap();
    let server = Arc::new(server);

    assert!(ask(&ca, &server, "a.example.com").await.is_ok());
    for host in ["a.b.example.com", "example.com"] {
        assert!(ask(&ca, &server, host).await.is_err(), "{host}");
    }
}

#[tokio::test]
async fn a_hosts_certificate_ends_by_the_clock_of_the_client() {
    let ca = ca();
    let server = issued(&ca, "shop.example.com");
    let server = WebServerConfig::simple(server.chain_pem.as_bytes(), server.key_pem.as_bytes(), &[]).unwrap();
    let (server, time) = (Arc::new(server), ManualClock::at(SystemTime::now()));
    let roots = ca.certificate_pem().as_bytes();
    let client = Arc::new(WebClientConfig::with_roots(roots, &[], &time.clock()).unwrap());
    let attempt = async || {
        let (near, far) = tokio::io::duplex(1 << 16);
        let connect = connect_web(far, Arc::clone(&client), "shop.example.com", LIMIT);
        tokio::join!(accept_web(near, Arc::clone(&server), LIMIT), connect).1
    };

    assert!(attempt().await.is_ok());
    time.advance(HOUR * 2);
    assert!(matches!(attempt().await, Err(HandshakeError::Protocol(_))));
}

/// G4: no session of a gateway is resumed, whichever listener made it.
#[tokio::test]
async fn no_web_session_is_resumed_on_either_side() {
    let ca = ca();
    let host = issued(&ca, "shop.example.com");
    let server = WebServerConfig::simple(host.chain_pem.as_bytes(), host.key_pem.as_bytes(), &[]).unwrap();
    let mut willing = rustls::ServerConfig::clone(&server.inner);
    willing.session_storage = rustls::server::ServerSessionMemoryCache::new(32);
    willing.send_tls13_tickets = 2;
    let willing = WebServerConfig {
        inner: Arc::new(willing),
    };
    let client = WebClientConfig::with_roots(ca.certificate_pem().as_bytes(), &[], &Clock::system()).unwrap();
    let mut eager = rustls::ClientConfig::clone(&client.inner);
    eager.resumption = Resumption::default();
    let eager = WebClientConfig { inner: Arc::new(eager) };
    let (server, willing) = (Arc::new(server), Arc::new(willing));
    let (client, eager) = (Arc::new(client), Arc::new(eager));

    use rustls::HandshakeKind::{Full, Resumed};
    assert_eq!(second_handshake(&server, &eager).await, Full);
    assert_eq!(second_handshake(&willing, &client).await, Full);
    assert_eq!(second_handshake(&willing, &eager).await, Resumed, "the test can tell");
}

async fn second_handshake(server: &Arc<WebServerConfig>, client: &Arc<WebClientConfig>) -> rustls::HandshakeKind {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut kind = rustls::HandshakeKind::Full;
    for _ in 0..2 {
        let (near, far) = tokio::io::duplex(1 << 16);
        let (accepted, connected) = tokio::join!(
            accept_web(near, Arc::clone(server), LIMIT),
            connect_web(far, Arc::clone(client), "shop.example.com", LIMIT)
        );
        let (mut near, mut far) = (accepted.unwrap().0, connected.unwrap().0);
        // Tickets of TLS 1.3 come with the first data.
        near.write_all(b"x").await.unwrap();
        near.flush().await.unwrap();
        far.read_exact(&mut [0]).await.unwrap();
        kind = far.get_ref().1.handshake_kind().unwrap();
    }
    kind
}

#[tokio::test(start_paused = true)]
async fn a_web_handshake_that_stalls_ends_at_its_limit() {
    let host = issued(&ca(), "shop.example.com");
    let server = WebServerConfig::simple(host.chain_pem.as_bytes(), host.key_pem.as_bytes(), &[]).unwrap();
    let (near, _far) = tokio::io::duplex(64);
    let began = tokio::time::Instant::now();

    let accepted = accept_web(near, Arc::new(server), LIMIT).await;

    assert!(accepted.unwrap_err().is_timeout());
    assert_eq!(began.elapsed().as_secs(), LIMIT.as_secs());
}

#[test]
fn roots_are_taken_whole_or_not_at_all() {
    let ca = ca();
    let good = ca.certificate_pem();
    let cut = format!("{good}{}", &good[..good.len() / 2]);
    for roots in ["", "nonsense", &cut] {
        assert!(WebClientConfig::with_roots(roots.as_bytes(), &[], &Clock::system()).is_err());
    }
}

/// F21, towards servers outside of the mesh: revoked, in doubt, and no list at all.
#[tokio::test]
async fn a_revoked_host_is_refused() {
    use crate::svid::{InDoubt, RevocationPolicy};
    let (ca, other, now) = (ca(), ca(), SystemTime::now());
    let (shop, roots) = (issued(&ca, "shop.example.com"), ca.certificate_pem().as_bytes());
    let server = WebServerConfig::simple(shop.chain_pem.as_bytes(), shop.key_pem.as_bytes(), &[]).unwrap();
    let server = Arc::new(server);
    let attempt = async |list: String, policy| {
        let texts = (roots, list.as_bytes());
        let client = WebClientConfig::with_revocations(texts, policy, &[], &Clock::system()).unwrap();
        let (near, far) = tokio::io::duplex(1 << 16);
        let connect = connect_web(far, Arc::new(client), "shop.example.com", LIMIT);
        tokio::join!(accept_web(near, Arc::clone(&server), LIMIT), connect)
            .1
            .is_ok()
    };
    let deny = RevocationPolicy::default();
    let allow = RevocationPolicy::new(InDoubt::Allow, InDoubt::Allow);

    assert!(attempt(ca.revocation_list(&[], HOUR, now).unwrap(), deny).await);
    assert!(!attempt(ca.revocation_list(&[&shop], HOUR, now).unwrap(), allow).await);
    let foreign = || other.revocation_list(&[], HOUR, now).unwrap();
    // Of the same name, signed by another key: whoever it is about is refused.
    assert!(!attempt(foreign(), allow).await);
    let expired = || ca.revocation_list(&[], HOUR, now - HOUR * 2).unwrap();
    assert!(!attempt(expired(), deny).await);
    assert!(attempt(expired(), allow).await);
    for bad in ["", "no list"] {
        let client = WebClientConfig::with_revocations((roots, bad.as_bytes()), deny, &[], &Clock::system());
        assert!(client.is_err(), "{bad}");
    }
}

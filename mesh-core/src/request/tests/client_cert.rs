//! `x-forwarded-client-cert` (E7).

use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

use super::*;

fn last(lines: &[&str]) -> Result<Option<ClientCert>, BadClientCert> {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(CLIENT_CERT, HeaderValue::from_bytes(line.as_bytes()).unwrap());
    }
    ClientCert::last(&headers)
}

fn uri(lines: &[&str]) -> Option<String> {
    last(lines).ok().flatten().map(|cert| cert.uris.join("|"))
}

/// E7: only the last element counts, and a URI in a quoted subject is none.
#[test]
fn the_last_element_counts() {
    for (lines, found) in [
        (&["URI=spiffe://td/x"][..], "spiffe://td/x"),
        (
            &[r#"Subject="CN=a,URI=spiffe://evil";URI=spiffe://td/x"#],
            "spiffe://td/x",
        ),
        (&["URI=spiffe://evil,URI=spiffe://td/x"], "spiffe://td/x"),
        (&["URI=spiffe://evil", "By=b;URI=spiffe://td/x"], "spiffe://td/x"),
        (
            &[r#"Subject="a\",URI=spiffe://evil";uri=spiffe://td/x"#],
            "spiffe://td/x",
        ),
        (&[r#"Subject="a\\";URI=spiffe://td/x"#], "spiffe://td/x"),
        (
            &["By=a;By=b;Hash=0;Subject=\"\";URI=x;DNS=y , Hash=1;URI=spiffe://td/x"],
            "spiffe://td/x",
        ),
        (&["Hash=1"], ""),
    ] {
        assert_eq!(uri(lines).as_deref(), Some(found), "{lines:?}");
    }
    assert_eq!(last(&[]), Ok(None));
}

/// E7: what is malformed anywhere says nothing.
#[test]
fn what_is_malformed_says_nothing() {
    for line in [
        "",
        "URI",
        "URI=a,",
        "URI=a,,URI=b",
        "URI=a;",
        r#"Subject="a;URI=spiffe://td/x"#,
        r#"Subject="a,URI=spiffe://td/x"#,
        r#"Subject="a\";URI=spiffe://td/x"#,
        r#"Subject="a"b;URI=spiffe://td/x"#,
        r#"URI=a"b"#,
        "URI=a=b",
        "Hash=1;Hash=2",
        "Subject=a;Subject=b;URI=c",
        "Other=1;URI=a",
        "=a",
        r#"Subject="a"#,
        r#"Subject=""#,
    ] {
        assert!(last(&[line]).is_err(), "{line}: {:?}", last(&[line]));
        assert!(last(&[line, "URI=b"]).is_err(), "{line}");
        assert!(last(&["URI=b", line]).is_err(), "{line}");
    }
    assert!(
        last(&[r#"Subject="a"#, r#"b";URI=spiffe://td/x"#]).is_err(),
        "lines stand alone"
    );
}

#[test]
fn an_element_is_written_as_envoy_does() {
    let cert = ClientCert {
        by: vec!["spiffe://cluster.local/ns/shop/sa/orders".into()],
        hash: Some("0f".into()),
        subject: Some(r"CN=a,O=b\, c".into()),
        uris: vec!["spiffe://cluster.local/ns/shop/sa/web".into()],
        dns: vec!["web.shop".into(), "a;b".into()],
        ..ClientCert::default()
    };
    let written = r#"By=spiffe://cluster.local/ns/shop/sa/orders;Hash=0f;Subject="CN=a,O=b\, c";URI=spiffe://cluster.local/ns/shop/sa/web;DNS=web.shop;DNS="a;b""#;
    assert_eq!(cert.to_string(), written);
    assert_eq!(last(&[written]), Ok(Some(cert)));
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(values in prop::collection::vec("[a-z,;=\" ]{1,8}", 4), count in 1..3_usize) {
        let cert = ClientCert {
            by: vec![values[0].clone()],
            subject: Some(values[1].clone()),
            uris: vec![values[2].clone(); count],
            dns: vec![values[3].clone()],
            ..ClientCert::default()
        };
        let text = cert.to_string();
        prop_assert_eq!(last(&["URI=before", &format!("Hash=1,{text}")]), Ok(Some(cert)), "{}", text);
    }

    #[test]
    fn no_header_makes_it_panic(bytes in prop::collection::vec(0x20..0xff_u8, 0..60)) {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            headers.append(CLIENT_CERT, value);
            let _ = ClientCert::last(&headers);
        }
    }
}

//! `mesh explain --inbound` of requests with tokens.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::mesh::Folder;

/// A key, and what it signs.
struct Issuer(Ed25519KeyPair);

impl Issuer {
    fn new() -> Self {
        Self(Ed25519KeyPair::generate().unwrap())
    }

    fn key_set(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.0.public_key());
        json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "a", "x": x }] }).to_string()
    }

    fn token(&self, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&json!({ "alg": "EdDSA", "kid": "a" })), part(claims));
        let signature = self.0.sign(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn folder(keys: &str) -> Folder {
    let policy = format!(
        "\
namespace: shop
request_authentication:
  - name: users
    selector: {{ app: orders }}
    rules:
      - {{ issuer: a, audiences: [orders], {keys} }}
authorization:
  - name: staff
    service: orders
    allow: [{{ when: [{{ attribute: 'request.auth.claims[groups]', values: [staff] }}] }}]
"
    );
    Folder::new(&[("shop.yaml", &policy)])
}

const ORDERS: [&str; 3] = ["--inbound", "--as", "namespace=shop,sa=orders,app=orders"];

#[track_caller]
fn explained(folder: &Folder, arguments: &[&str]) -> (i32, Value, String) {
    let run = folder.explain(&[&ORDERS[..], arguments, &["http://orders/"]].concat());
    (run.code, run.json(), run.err)
}

#[test]
fn claims_may_be_supposed() {
    let folder = folder("keys: { fetched: 'https://a.example.com/keys' }");
    let staff = [
        "--claim",
        "sub=ann",
        "--claim",
        "aud=orders",
        "--claim",
        "groups=[\"staff\"]",
    ];

    let (code, answer, _) = explained(&folder, &staff);
    assert_eq!((code, &answer["request_principal"]), (0, &json!("a/ann")));

    let (code, answer, _) = explained(&folder, &["--claim", "aud=billing"]);
    assert_eq!((code, &answer["status"]), (3, &json!(403)));
    assert_eq!(answer["reason"], "Audiences in Jwt are not allowed");
    assert_eq!(answer["origin"], json!({ "file": "policy/shop.yaml", "line": 6 }));

    let (code, answer, _) = explained(&folder, &["--claim", "iss=b"]);
    assert_eq!((code, &answer["status"]), (3, &json!(401)));

    let (code, answer, _) = explained(&folder, &[]);
    assert_eq!(
        (code, &answer["reason"]),
        (3, &json!("no rule of an ALLOW policy matched"))
    );
}

#[test]
fn people_see_whose_token_it_is() {
    let folder = folder("keys: { fetched: 'https://a.example.com/keys' }");
    let claims = ["--claim", "sub=ann", "--claim", "aud=orders", "--claim", "groups=staff"];
    let run = folder.tell(&[&ORDERS[..], &claims, &["http://orders/"]].concat());
    assert_eq!(run.fact("token of"), ["a/ann"]);
}

#[test]
fn a_token_is_verified_with_the_keys_at_hand() {
    let issuer = Issuer::new();
    let token = issuer.token(&json!({ "iss": "a", "sub": "ann", "aud": "orders", "groups": ["staff"] }));
    let old = issuer.token(&json!({ "iss": "a", "sub": "ann", "aud": "orders", "exp": 1 }));
    let inline = folder(&format!("keys: {{ inline: '{}' }}", issuer.key_set()));
    inline.write("../token", format!("{token}\n").as_bytes());
    inline.write("../old", old.as_bytes());

    let (code, answer, _) = explained(&inline, &["--token", "token"]);
    assert_eq!((code, &answer["request_principal"]), (0, &json!("a/ann")));
    let (code, answer, _) = explained(&inline, &["--token", "old"]);
    assert_eq!(
        (code, &answer["status"], &answer["reason"]),
        (3, &json!(401), &json!("Jwt is expired"))
    );
    let header = format!("authorization: Bearer {token}");
    let (code, answer, _) = explained(&inline, &["-H", &header]);
    assert_eq!((code, &answer["request_principal"]), (0, &json!("a/ann")));

    let fetched = folder("keys: { fetched: 'https://a.example.com/keys' }");
    fetched.write("../token", token.as_bytes());
    fetched.write("../keys.json", issuer.key_set().as_bytes());
    let (code, _, told) = explained(&fetched, &["--token", "token"]);
    assert_eq!(code, 3);
    assert!(told.contains("give them with `--jwks FILE`"), "{told}");
    let (code, ..) = explained(&fetched, &["--token", "token", "--jwks", "keys.json"]);
    assert_eq!(code, 0);
}

#[test]
fn a_change_of_rules_is_told() {
    let folder = folder("keys: { fetched: 'https://a.example.com/keys' }");
    let text = std::fs::read_to_string(folder.path().join("policy/shop.yaml")).unwrap();
    folder.write("../new.yaml", text.replace("[orders]", "[orders, shop]").as_bytes());

    let run = folder.mesh(&["diff", "policy", "new.yaml"]);

    assert!(run.out.contains("tokens"), "{run:#?}");
    assert!(run.out.contains("audiences: orders → orders, shop"), "{run:#?}");
}

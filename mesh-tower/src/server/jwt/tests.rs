//! Keys and remembered tokens, in virtual time.

use std::sync::Arc;
use std::time::Duration;

use mesh_core::decide::jwt::{Accepted, KeyPlace, KeySet, KeySource, TokenRules};
use mesh_core::policy::Loaded;
use mesh_core::snapshot::Snapshot;
use mesh_core::time::Timestamp;
use mesh_core::workload::Workload;

use super::cache::{CAPACITY, Cache, Remembered};
use super::state::SourceState;
use crate::mesh::Mesh;

const KEYS: &str =
    r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

fn keys() -> Arc<KeySet> {
    Arc::new(KeySet::parse(KEYS.as_bytes()).unwrap())
}

fn rules() -> TokenRules {
    let policy = "
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: tokens, namespace: shop }
spec: { jwtRules: [{ issuer: a, jwksUri: 'https://a.example.com/keys' }] }
";
    let policy = Loaded::from_files([("f", policy)]).policy.unwrap();
    let hosts = |_: &str| false;
    let policies = &policy.request_authentications;
    TokenRules::compile(policies, &Workload::new("shop", "orders"), "istio-system", &hosts).unwrap()
}

fn source() -> KeySource {
    let source = rules().sources().next().unwrap().as_ref().clone();
    assert_eq!(source.from, KeyPlace::At("https://a.example.com/keys".parse().unwrap()));
    source
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_secs(seconds)
}

/// H17: keys that cannot be got again are used for an hour after their twenty minutes.
#[test]
fn the_last_good_keys_have_their_time() {
    let (state, source) = (SourceState::default(), source());
    assert!(state.held(&source, at(1)).is_none());

    state.ended(Ok(keys()), at(100));
    state.ended(Err("no answer".into()), at(1_400));

    assert!(state.held(&source, at(100 + 1_200 + 3_600)).is_some());
    assert!(state.held(&source, at(100 + 1_200 + 3_601)).is_none());
    state.ended(Ok(keys()), at(9_000));
    assert_eq!(state.held(&source, at(9_000)).unwrap().version, 1);
}

/// H4: whoever asks, a key that is not there is looked for once a minute.
#[tokio::test(start_paused = true)]
async fn a_missing_key_is_looked_for_once_a_minute() {
    let state = Arc::new(SourceState::default());
    state.ended(Ok(keys()), at(100));
    let limit = Duration::from_secs(5);
    let answering = Arc::clone(&state);
    tokio::spawn(async move {
        loop {
            answering.wanted().await;
            answering.ended(Ok(keys()), at(200));
        }
    });

    assert!(state.awaited(limit, at(200)).await);
    assert!(!state.awaited(limit, at(201)).await);
    assert!(!state.awaited(limit, at(259)).await);
    assert!(state.awaited(limit, at(260)).await);
}

/// Requests that come while keys are looked for wait for them, too, and no longer than their rule says.
#[tokio::test(start_paused = true)]
async fn requests_wait_for_an_attempt_that_is_under_way() {
    let state = Arc::new(SourceState::default());
    let (first, second) = (Arc::clone(&state), Arc::clone(&state));
    let waiting = tokio::spawn(async move { first.awaited(Duration::from_secs(5), at(1)).await });
    let impatient = tokio::spawn(async move { second.awaited(Duration::from_secs(1), at(1)).await });
    assert!(!impatient.await.unwrap());

    state.ended(Ok(keys()), at(2));

    assert!(waiting.await.unwrap());
}

/// A policy whose keys come from one place, within so many seconds.
fn snapshot(timeout: u8, generation: u64) -> Snapshot {
    let policy = format!(
        "
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{ name: tokens, namespace: shop }}
spec: {{ jwtRules: [{{ issuer: a, jwksUri: 'https://a.example.com/keys', timeout: {timeout}s }}] }}
"
    );
    let policy = Loaded::from_files([("f", policy.as_str())]).policy.unwrap();
    Snapshot::compile(&policy, &Workload::new("shop", "orders"), generation).unwrap()
}

fn source_of(snapshot: &Snapshot) -> KeySource {
    snapshot.inbound.tokens.sources().next().unwrap().as_ref().clone()
}

/// Requests go on under a policy until the next one is in force; keys are no others for being asked for otherwise.
#[tokio::test]
async fn keys_are_kept_from_policy_to_policy() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mesh.yaml"), "mesh: {}\n").unwrap();
    let workload = Workload::new("shop", "orders");
    let building = Mesh::builder().policy(folder.path()).workload(workload).without_admin();
    let mesh = building.build().await.unwrap();
    let tokens = &mesh.shared().tokens;
    let (first, second) = (snapshot(5, 10), snapshot(6, 11));
    let held = |snapshot: &Snapshot| {
        let source = source_of(snapshot);
        tokens.state(&source)?.held(&source, tokens.clock.now())
    };
    tokens.apply(mesh.shared(), &first);
    let state = tokens.state(&source_of(&first)).unwrap();
    state.ended(Ok(keys()), tokens.clock.now());

    tokens.apply(mesh.shared(), &second);
    assert!(held(&first).is_some(), "the last policy is in force yet");
    assert!(held(&second).is_some(), "they come from the same place");

    tokens.retire(10);
    assert!(tokens.state(&source_of(&first)).is_none());
    assert!(held(&second).is_some());
    assert_eq!(tokens.followers.lock().unwrap().len(), 1);
}

#[test]
fn the_cache_is_bounded_and_whole() {
    let rules = rules();
    let claims = serde_json::json!({ "sub": "ann" }).as_object().unwrap().clone();
    let token = Arc::new(rules.suppose(claims).unwrap().unwrap());
    let cache = Cache::default();
    for number in 0..3 * CAPACITY {
        let remembered = Remembered {
            accepted: Accepted::new(Arc::clone(&token), 0),
            generation: 1,
            at: (0, 0),
            keys: None,
        };
        cache.put(&format!("token {number}"), remembered, |_| false);
        assert!(cache.len() <= CAPACITY);
    }

    let last = format!("token {}", 3 * CAPACITY - 1);
    assert!(cache.find(&last, 1, (0, 0)).is_some());
    // Another policy, another place, another text.
    assert!(cache.find(&last, 2, (0, 0)).is_none());
    assert!(cache.find(&last, 1, (0, 1)).is_none());
    assert!(cache.find(&last[..last.len() - 1], 1, (0, 0)).is_none());
    cache.forget(&last);
    assert!(cache.find(&last, 1, (0, 0)).is_none());
}

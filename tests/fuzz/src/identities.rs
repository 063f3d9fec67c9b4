//! SPIFFE ids: what is read is written again as it was, and nothing else is an id.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_core::identity::{SpiffeId, TrustDomain};

fuzz_target!(|text: &str| {
    if let Ok(domain) = TrustDomain::parse(text) {
        assert_eq!(domain.as_str(), text);
    }
    let Ok(id) = SpiffeId::parse(text) else { return };
    assert_eq!(id.as_str(), text);
    assert!(text.len() <= 2048 && text.starts_with("spiffe://"));
    assert!(!text.contains(['?', '#', '%', '\\', ' ']) && text.is_ascii());
    let domain = id.trust_domain();
    assert_eq!(domain.as_str(), domain.as_str().to_ascii_lowercase());
    let path = text.trim_start_matches("spiffe://").trim_start_matches(domain.as_str());
    assert!(path.is_empty() || path.split('/').skip(1).all(|segment| !matches!(segment, "" | "." | "..")));
});

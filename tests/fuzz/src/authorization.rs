//! Requests of any spelling against rules that deny: none is allowed that a generous server could take for what they name.
#![no_main]

use std::sync::OnceLock;

use http::Request;
use libfuzzer_sys::fuzz_target;
use mesh_core::decide::authz::Peer;
use mesh_core::policy::Loaded;
use mesh_core::request::{Options, Transport, canonicalize};
use mesh_core::snapshot::Snapshot;
use mesh_core::workload::Workload;

use form::Form;

/// The same as the end-to-end test reads.
#[path = "../../tests/request_forms/reference.rs"]
mod reference;

mod form {
    /// A request before anybody has read it.
    #[derive(Debug)]
    pub(crate) struct Form {
        pub(crate) method: Vec<u8>,
        pub(crate) target: Vec<u8>,
        pub(crate) authority: Option<Vec<u8>>,
        pub(crate) headers: Vec<(String, Vec<u8>)>,
    }
}

fn snapshot() -> &'static Snapshot {
    static SNAPSHOT: OnceLock<Snapshot> = OnceLock::new();
    SNAPSHOT.get_or_init(|| {
        let loaded = Loaded::from_files([("rules.yaml", reference::RULES.as_bytes())]);
        let policy = loaded.policy.as_ref().expect("the rules are good");
        Snapshot::compile(policy, &Workload::new("shop", "orders"), 1).expect("the rules are good")
    })
}

fn request(form: &Form) -> Option<Request<()>> {
    let mut request = Request::builder().method(&form.method[..]).uri(&form.target[..]);
    if let Some(host) = &form.authority {
        request = request.header("host", &host[..]);
    }
    for (name, value) in &form.headers {
        request = request.header(name, &value[..]);
    }
    request.body(()).ok()
}

fuzz_target!(|input: (&str, &[u8], &[u8], Option<&[u8]>, bool)| {
    let (method, target, host, role, is_guest) = input;
    let role = role.map(|value| ("x-role".to_owned(), value.to_vec()));
    let guest = is_guest.then(|| ("X-Role".to_owned(), b"guest".to_vec()));
    let form = Form {
        method: method.into(),
        target: [b"/", target].concat(),
        authority: Some(host.to_vec()),
        headers: guest.into_iter().chain(role).collect(),
    };
    let Some(request) = request(&form) else { return };
    let authorizer = &snapshot().inbound.authorizer;
    let options = Options::inbound(Transport::Plain, authorizer.path_rules());
    let Ok(canonical) = canonicalize(&request, options) else { return };
    let peer = Peer::new(None, [10, 0, 0, 1].into(), 8080);
    if authorizer.authorize(&canonical.view(), &peer).is_allowed() {
        let denied = reference::denied(&form);
        assert!(denied.is_none(), "{denied:?} allowed: {form:?}");
    }
});

//! Paths in every mode of normalisation, and addresses that proxies tell.

use proptest::prelude::*;

use super::*;
use crate::request::PathNormalization::{self, Base, DecodeAndMergeSlashes, MergeSlashes};

const MODES: [PathNormalization; 3] = [Base, MergeSlashes, DecodeAndMergeSlashes];

fn answer(policies: &[AuthorizationPolicy], request: &Request<()>, set: impl Fn(Options) -> Options) -> u16 {
    let authorizer = compile(policies);
    let options = set(Options::inbound(Transport::Plain, authorizer.path_rules()));
    let canonical = match canonicalize(request, options) {
        Ok(canonical) => canonical,
        Err(refused) => return refused.status().as_u16(),
    };
    let caller = sleep();
    let once = authorizer.authorize(&canonical.view(), &caller.peer());
    let for_connection = authorizer.for_peer(&caller.peer());
    assert_eq!(once, for_connection.authorize(&canonical.view()), "{once}");
    once.status().as_u16()
}

fn in_mode(policy: &AuthorizationPolicy, path: &str, mode: PathNormalization) -> u16 {
    answer(std::slice::from_ref(policy), &get(path), |options| {
        options.path_normalization(mode)
    })
}

/// A3, A4, A5: the default keeps slashes, and what they may be taken for is denied all the same.
#[test]
fn a_mode_changes_what_is_forwarded_and_lets_nothing_by() {
    let admin = deny(vec![rule(&[], &["paths=/admin"])]);
    for (path, expected) in [
        ("//admin", [403; 3]),
        ("/x/..//admin", [403; 3]),
        ("/x//../admin", [403; 3]),
        (r"/public\..\admin", [403; 3]),
        ("/public/..%2fadmin", [400, 400, 403]),
        ("/public/%5C../..%5Cadmin", [400, 400, 403]),
        ("/public//x", [200; 3]),
    ] {
        assert_eq!(MODES.map(|mode| in_mode(&admin, path, mode)), expected, "{path}");
    }
}

/// A3: both forms have to be allowed.
#[test]
fn what_is_allowed_is_allowed_as_it_is_forwarded() {
    let public = allow(vec![rule(&[], &["paths=/public/*"])]);
    for (path, expected) in [
        ("/public/x", [200; 3]),
        ("/public//x", [200; 3]),
        ("//public/x", [403, 200, 200]),
        ("/public//../admin", [403; 3]),
        ("/public/%2f../../admin", [400, 400, 403]),
    ] {
        assert_eq!(MODES.map(|mode| in_mode(&public, path, mode)), expected, "{path}");
    }
}

/// A3: paths that are forwarded as they came are allowed where every reading is, and refused where they have none.
#[test]
fn paths_as_they_came_are_allowed_where_every_reading_is() {
    let public = allow(vec![rule(&[], &["paths=/public/*|/files/a"])]);
    for (path, expected) in [
        ("/public/a%2Fb", 200),
        ("/files%2Fa", 403),
        ("//public/x", 403),
        ("/public/../admin", 400),
        ("/public/%2e%2e/admin", 400),
        ("/public/a%00", 400),
    ] {
        assert_eq!(in_mode(&public, path, PathNormalization::None), expected, "{path}");
    }
}

/// The path that careless servers come to: decoded, merged and resolved until nothing changes.
fn fixpoint(path: &str) -> String {
    let mut path = path.to_owned();
    loop {
        let mut next = path.replace('\\', "/");
        for (escape, text) in [
            ("%2e", "."),
            ("%2f", "/"),
            ("%5c", "/"),
            ("%61", "a"),
            ("%2E", "."),
            ("%2F", "/"),
        ] {
            next = next.replace(escape, text);
        }
        while next.contains("//") {
            next = next.replace("//", "/");
        }
        let mut segments: Vec<&str> = Vec::new();
        for segment in next.split('/').skip(1) {
            match segment {
                "." => {}
                ".." => drop(segments.pop()),
                segment => segments.push(segment),
            }
        }
        next = format!("/{}", segments.join("/"));
        if next == path {
            return path;
        }
        path = next;
    }
}

fn spelling() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("/"),
        Just("//"),
        Just("."),
        Just(".."),
        Just("/../"),
        Just("%2e"),
        Just("%2E"),
        Just("%2f"),
        Just("%5c"),
        Just("\\"),
        Just("%61"),
        Just("a"),
        Just("admin"),
        Just("%61dmin"),
        Just("x"),
        Just("%25"),
        Just("2f"),
    ];
    prop::collection::vec(piece, 0..9).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// A3, A4, A12: whatever a careless server would take for a denied path, or for one that is not allowed, does not pass.
    #[test]
    fn no_spelling_passes_in_any_mode(path in spelling()) {
        let Ok(uri) = path.parse::<http::Uri>() else { return Ok(()) };
        let target = fixpoint(uri.path());
        let is_admin = target.trim_end_matches('/') == "/admin";
        for mode in MODES {
            if is_admin {
                let denied = in_mode(&deny(vec![rule(&[], &["paths=/admin"])]), &path, mode);
                prop_assert_ne!(denied, 200, "{} is {} {:?}", path, target, mode);
            }
        }
        for mode in MODES.into_iter().chain([PathNormalization::None]) {
            if !target.starts_with("/x") {
                let allowed = in_mode(&allow(vec![rule(&[], &["paths=/x*"])]), &path, mode);
                prop_assert_ne!(allowed, 200, "{} is {} {:?}", path, target, mode);
            }
        }
    }
}

fn forwarded(lines: &[&str]) -> Request<()> {
    let mut request = get("/");
    for line in lines {
        request.headers_mut().append(
            "x-forwarded-for",
            http::HeaderValue::from_bytes(line.as_bytes()).unwrap(),
        );
    }
    request
}

fn remote(not: bool, block: &str) -> Rule {
    let mut source = Source::default();
    let condition = &mut source.remote_ip_blocks;
    let list = if not {
        &mut condition.none_of
    } else {
        &mut condition.any_of
    };
    list.push(block.parse().unwrap());
    Rule {
        from: vec![source],
        ..Rule::default()
    }
}

/// E9: the address that trusted proxies tell; where they tell none, nothing is allowed and everything denied.
#[test]
fn an_address_is_believed_as_far_as_proxies_are_trusted() {
    // (lines, trusted, what ALLOW and DENY on 10.0.0.0/8 answer). The peer is 10.0.0.1.
    for (lines, trusted, expected) in [
        (&[][..], 0, (200, 403)),
        (&[], 1, (200, 403)),
        (&["192.0.2.1"], 0, (200, 403)),
        (&["192.0.2.1"], 1, (403, 200)),
        (&["10.9.9.9"], 1, (200, 403)),
        (&["10.9.9.9, 192.0.2.1"], 1, (403, 200)),
        (&["10.9.9.9, 192.0.2.1"], 2, (200, 403)),
        (&["10.9.9.9", "192.0.2.1"], 1, (403, 200)),
        (&["10.9.9.9", "192.0.2.1"], 2, (200, 403)),
        (&["1.1.1.1, 2.2.2.2, 10.3.3.3, 4.4.4.4, 5.5.5.5"], 3, (200, 403)),
        (&["::ffff:10.0.0.1"], 1, (200, 403)),
        (&["2001:db8::1"], 1, (403, 200)),
        (&["192.0.2.1"], 2, (403, 403)),
        (&["unknown"], 1, (403, 403)),
        (&["fe80::1%eth0"], 1, (403, 403)),
        (&["10.0.0.1:80"], 1, (403, 403)),
        (&["10.0.0.1,"], 1, (403, 403)),
        (&["10.0.0.0x1"], 1, (403, 403)),
        (&["\u{e9}"], 1, (403, 403)),
        (&["10.0.0.1"], u32::MAX, (403, 403)),
    ] {
        let request = forwarded(lines);
        let ask = |policy| answer(&[policy], &request, |options| options.trusted_proxies(trusted));
        let found = (
            ask(allow(vec![remote(false, "10.0.0.0/8")])),
            ask(deny(vec![remote(false, "10.0.0.0/8")])),
        );
        assert_eq!(found, expected, "{lines:?} {trusted}");
    }
    let unknown = forwarded(&["unknown"]);
    let not_there = allow(vec![remote(true, "192.0.2.0/24")]);
    assert_eq!(
        answer(&[not_there], &unknown, |options| options.trusted_proxies(1)),
        403
    );
}

/// E9: an identity and an address of one source belong together.
#[test]
fn a_source_asks_for_peer_and_address_together() {
    let mut both = remote(false, "192.0.2.0/24");
    both.from[0].principals = source("principals=cluster.local/ns/default/sa/sleep").principals;
    both.from.push(source("principals=cluster.local/ns/other/sa/x"));
    let policy = allow(vec![both]);
    for (line, expected) in [("192.0.2.1", 200), ("10.9.9.9", 403)] {
        let found = answer(std::slice::from_ref(&policy), &forwarded(&[line]), |options| {
            options.trusted_proxies(1)
        });
        assert_eq!(found, expected, "{line}");
    }
}

/// E9: a connection without requests tells of no proxies.
#[test]
fn a_connection_has_no_remote_address() {
    let caller = sleep();
    for (policy, allowed) in [
        (allow(vec![remote(false, "10.0.0.0/8")]), false),
        (deny(vec![remote(false, "192.0.2.0/24")]), false),
    ] {
        assert_eq!(
            compile(&[policy]).authorize_connection(&caller.peer()).is_allowed(),
            allowed
        );
    }
}

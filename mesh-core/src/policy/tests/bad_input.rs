//! Input that nobody meant: each is refused with its place, none panics.

use super::*;
use crate::policy::diagnostic::Paint;

/// Bad input by its sort, beside all that is said about it.
const BAD: &[(&str, &[&str])] = &[
    // Cut in the middle of a flow mapping.
    (
        "services:\n  orders: { endpoints: [10.0.0.4:80",
        &["2:24: error[MESH0001]: this `[` is never closed"],
    ),
    // Cut in the middle of a word.
    (
        "services:\n  orders:\n    balance: round_ro",
        &[
            "3:14: error[MESH0104]: `balance`: unknown value `round_ro`, expected `round_robin`, `random` or `least_request`",
        ],
    ),
    // A field that nobody knows.
    (
        "services: { orders: { balanse: random } }",
        &["1:23: error[MESH0101]: unknown field `balanse`"],
    ),
    // A value of another type.
    (
        "services: { orders: { limits: { requests: many } } }",
        &["1:43: error[MESH0102]: `requests`: expected a whole number, found the text `many`"],
    ),
    // A subset that the service has not.
    (
        "services:\n  orders: { subsets: { v1: { version: v1 } }, routes: [{ to: v2 }] }",
        &["2:62: error[MESH0201]: `orders.default.svc.cluster.local` has no subset `v2`"],
    ),
    // A subset of a DestinationRule that is not there.
    (
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: { name: a }\nspec: { host: a, subsets: [{ name: v1 }] }\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: { name: a }\nspec: { hosts: [a], http: [{ route: [{ destination: { host: a, subset: v2 } }] }] }",
        &["9:38: error[MESH0201]: `a.default.svc.cluster.local` has no subset `v2`"],
    ),
    // The same key twice.
    (
        "services: { a: { balance: random, balance: random } }",
        &["1:35: error[MESH0002]: key `balance` is given twice"],
    ),
];

#[test]
fn bad_input_is_refused_with_its_place() {
    assert_lines(BAD);
    for (text, _) in BAD {
        assert!(Loaded::from_files([("f", text)]).policy.is_none());
    }
}

#[test]
fn a_megabyte_of_anchors_is_refused_at_the_limit() {
    let mut bomb = String::from("services:\n  a0: &a0 { hosts: [x, x, x, x, x, x, x, x, x] }\n");
    let mut last = 0;
    while bomb.len() < 1 << 20 {
        let alias = format!("*a{last}");
        last += 1;
        bomb.push_str(&format!(
            "  a{last}: &a{last} [{alias}, {alias}, {alias}, {alias}, {alias}, {alias}]\n"
        ));
    }
    let loaded = Loaded::from_files([("f", bomb)]);
    assert!(loaded.policy.is_none());
    assert_eq!(
        loaded.report.lines(&loaded.sources),
        ["f:8:11: error[MESH0003]: the file has more than 1000000 values, aliases followed"]
    );
}

#[test]
fn binary_files_are_refused_at_the_first_byte_that_is_no_text() {
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".as_slice();
    let zeros = [0; 64].as_slice();
    let late = b"services:\n  a: \xc3\x28\n".as_slice();
    let marked = b"\xef\xbb\xbfservices:\n  a: \xc3\x28\n".as_slice();
    let loaded = Loaded::from_files([("a", png), ("b", zeros), ("c", late), ("d", marked)]);
    assert!(loaded.policy.is_none());
    assert_eq!(
        loaded.report.lines(&loaded.sources),
        [
            "a:1:1: error[MESH0005]: expected UTF-8 text, found the byte 0x89",
            "b:1:1: error[MESH0001]: expected text, found the control character 0x00",
            "c:2:6: error[MESH0005]: expected UTF-8 text, found the byte 0xc3",
            "d:2:6: error[MESH0005]: expected UTF-8 text, found the byte 0xc3"
        ]
    );
    let shown = loaded.report.render(&loaded.sources, Paint::Plain);
    assert!(!shown.contains(['\0', '\x1b']), "{shown}");
}

#[test]
fn an_empty_directory_is_no_policy() {
    let none: [(&str, &str); 0] = [];
    let loaded = Loaded::from_files(none);
    assert!(loaded.policy.is_none());
    assert_eq!(
        loaded.report.lines(&loaded.sources),
        ["error[MESH0006]: no policy found: there is no file to read"]
    );
}

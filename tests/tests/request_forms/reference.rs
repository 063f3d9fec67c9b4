//! What the most generous server could take a request for. Naive on purpose: nothing of it is shared with the library.

use super::form::Form;

/// What nobody may reach.
pub(crate) const RULES: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: keep-out, namespace: shop }
spec:
  action: DENY
  rules:
    - to: [{ operation: { paths: [/admin, '/secret/*'] } }]
    - to: [{ operation: { hosts: [internal.example] } }]
    - to: [{ operation: { methods: [DELETE] } }]
    - when: [{ key: 'request.headers[x-role]', values: [admin] }]
";

/// The rule that denies a request, if it could be read as one that a rule names.
pub(crate) fn denied(form: &Form) -> Option<&'static str> {
    let path = path(&form.target);
    if path == "/admin" || path.starts_with("/secret/") {
        return Some("path");
    }
    if hosts(form).iter().any(|name| host(name) == "internal.example") {
        return Some("host");
    }
    if form.method.trim_ascii().eq_ignore_ascii_case(b"DELETE") {
        return Some("method");
    }
    let roles = form
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("x-role"));
    let is_admin = |value: &[u8]| {
        value
            .split(|byte| *byte == b',')
            .any(|one| one.trim_ascii() == b"admin")
    };
    roles.into_iter().any(|(_, value)| is_admin(value)).then_some("header")
}

/// The path: without parameters, then decoded, with one kind of slash, without dots, again and again until nothing changes.
///
/// An escaped `;` is data, not the start of parameters (RFC 3986 section 3.3): who strips them does so before decoding.
fn path(target: &[u8]) -> String {
    let text: String = target.iter().map(|byte| char::from(*byte)).collect();
    let text = without_authority(&text).unwrap_or(&text);
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let bare = |segment: &str| segment.split(';').next().unwrap_or_default().to_owned();
    let mut path = text.split('/').map(bare).collect::<Vec<_>>().join("/");
    loop {
        let next = resolved(&decoded(&path).replace('\\', "/"));
        if next == path {
            return path;
        }
        path = next;
    }
}

/// What follows scheme and authority in a target that is a whole URI.
fn without_authority(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once("://")?;
    let is_scheme = !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphabetic());
    let start = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    is_scheme.then_some(&rest[start..])
}

fn decoded(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::new();
    let mut at = 0;
    while at < chars.len() {
        let digits: String = chars[at..].iter().skip(1).take(2).collect();
        let byte = u8::from_str_radix(&digits, 16)
            .ok()
            .filter(|_| digits.len() == 2 && !digits.starts_with('+'));
        match byte {
            Some(byte) if chars[at] == '%' => {
                out.push(char::from(byte));
                at += 3;
            }
            _ => {
                out.push(chars[at]);
                at += 1;
            }
        }
    }
    out
}

fn resolved(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').collect();
    for segment in &segments {
        match *segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let ends_open = matches!(segments.last(), Some(&("" | "." | "..")));
    let tail = if ends_open && !kept.is_empty() { "/" } else { "" };
    format!("/{}{tail}", kept.join("/"))
}

/// Every name that a request could be taken to ask for.
fn hosts(form: &Form) -> Vec<Vec<u8>> {
    let mut hosts: Vec<Vec<u8>> = form.authority.iter().cloned().collect();
    let named = form
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("host"));
    hosts.extend(named.map(|(_, value)| value.clone()));
    let target = String::from_utf8_lossy(&form.target).into_owned();
    if let Some((_, rest)) = target.split_once("://")
        && without_authority(&target).is_some()
    {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        hosts.push(rest.as_bytes()[..end].to_vec());
    }
    hosts
}

/// A host without user, port and dots at its end, in lower case.
fn host(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name).trim().to_ascii_lowercase();
    let text = text.rsplit('@').next().unwrap_or_default();
    let text = match text.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => text,
    };
    text.trim_end_matches('.').to_owned()
}

#[test]
fn it_reads_generously() {
    for (target, expected) in [
        ("/admin", "/admin"),
        ("//x/..;a=b/%2561dmin;c?d", "/admin"),
        ("http://h/%5cadmin#x", "/admin"),
        ("/a/./b/../", "/a/"),
        ("/secret%2fx", "/secret/x"),
        ("/%zz", "/%zz"),
    ] {
        assert_eq!(path(target.as_bytes()), expected, "{target}");
    }
    assert_eq!(host(b"a@Internal.Example.:443"), "internal.example");
}

//! Attack cases on paths (A), hosts (B), methods (C) and headers (D), each a row with its required outcome.

mod client_cert;
mod headers;
mod hosts;
mod paths;

use super::*;

const WITH_RULES: Options = Options::inbound(Transport::Plain, PathRules::Present);
const WITHOUT_RULES: Options = Options::inbound(Transport::Plain, PathRules::Absent);

fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

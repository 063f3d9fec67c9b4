//! `mesh cert dev-ca` and `mesh cert issue`.

use mesh_tower::tls::authority::DevCa;
use mesh_tower::tls::inspect::{Certificate, certificates};

use super::args::{DevCaArguments, IssueArguments};
use super::{fact, moment, now};
use crate::terminal::Terminal;
use crate::{Exit, Failure};

/// Makes an authority, or shows the one that is there.
///
/// # Errors
///
/// Where the directory cannot be used.
pub(super) fn make(arguments: &DevCaArguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let found = arguments.directory.join("ca.crt").exists();
    let ca = DevCa::load_or_create(&arguments.directory, arguments.trust_domain.clone(), now(arguments.at))?;
    let text = format!(
        "authority of {} in {}, valid until {}",
        ca.trust_domain(),
        arguments.directory.display(),
        until(ca.certificate_pem())?
    );
    terminal.answer(&fact(terminal.out, if found { "found" } else { "made" }, text))?;
    Ok(Exit::Good)
}

/// Issues a workload's certificate into its directory.
///
/// # Errors
///
/// Where there is no authority for it, or a directory cannot be used.
pub(super) fn issue(arguments: &IssueArguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let now = now(arguments.at);
    let ca = DevCa::load(&arguments.ca, arguments.id.trust_domain().clone(), now)?;
    let issued = ca.issue(&arguments.id, arguments.ttl, now)?;
    ca.write_issued(&arguments.directory, arguments.layout, &issued)?;
    let text = format!(
        "{} into {}, valid until {}",
        arguments.id,
        arguments.directory.display(),
        until(&issued.chain_pem)?
    );
    terminal.answer(&fact(terminal.out, "issued", text))?;
    Ok(Exit::Good)
}

/// When the first certificate ends.
fn until(pem: &str) -> Result<String, Failure> {
    let chain = certificates(pem.as_bytes())?;
    let first = chain.first().ok_or("no certificate")?;
    Ok(moment::show(Certificate::read(first)?.lifetime.not_after()))
}

//! `mesh diff`: what changes in meaning from one policy to another.

mod human;

use std::path::PathBuf;

use mesh_core::diff::impact::{Impact, read, replay};
use mesh_core::diff::{Changes, changes, workloads};
use mesh_core::policy::model::Policy;
use mesh_core::workload::Workload;
use serde::Serialize;

use crate::args::{DiffArguments, Format};
use crate::policy::PolicyText;
use crate::terminal::Terminal;
use crate::{Exit, Failure};

/// The answer for programs.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    changes: &'a Changes,
    impact: Option<&'a Impact>,
}

/// Compares both policies and prints what changes.
///
/// # Errors
///
/// Where one of the policies or the recording cannot be read, does not load, or the answer cannot be written.
pub(crate) fn run(arguments: &DiffArguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let old = load(&arguments.old, terminal)?;
    let new = load(&arguments.new, terminal)?;
    let asked: Vec<Workload> = match &arguments.workload {
        Some(workload) => vec![workload.clone()],
        None => workloads(&old, &new),
    };
    let changes = changes(&old, &new, &asked)?;
    let impact = match &arguments.impact {
        Some(path) => Some(impact(path, &old, &new, arguments.workload.as_ref())?),
        None => None,
    };
    match arguments.output {
        Format::Json => terminal.json(&Answer {
            changes: &changes,
            impact: impact.as_ref(),
        })?,
        Format::Human => terminal.answer(&human::answer(&changes, impact.as_ref(), terminal.out))?,
    }
    let is_same = changes.changes.is_empty() && impact.is_none_or(|impact| impact.changed == 0);
    Ok(match is_same || arguments.exit_zero {
        true => Exit::Good,
        false => Exit::Bad,
    })
}

/// A policy that does not load has no meaning to compare.
fn load(path: &PathBuf, terminal: &Terminal) -> Result<Policy, Failure> {
    let text = PolicyText::read(std::slice::from_ref(path))?;
    for remark in &text.remarks {
        terminal.warn(remark);
    }
    match text.policy {
        Some(policy) => Ok(policy),
        None => {
            terminal.remark(&text.render(terminal.err));
            terminal.remark("\n");
            let summary = text.report.summary();
            Err(format!("the policy `{}` does not load, {summary}", path.display()).into())
        }
    }
}

fn impact(path: &PathBuf, old: &Policy, new: &Policy, workload: Option<&Workload>) -> Result<Impact, Failure> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| format!("cannot read `{name}`: {error}"))?;
    let text = String::from_utf8(bytes).map_err(|_| format!("`{name}` is no UTF-8 text"))?;
    Ok(replay(old, new, &read(&name, &text, workload)?)?)
}

//! A client that stays, and sends when it is told to: a line of JSON as the question, one as the answer.

use std::io::{BufRead as _, Write as _, stdin, stdout};

use serde::Serialize;

use super::load::Run;
use super::{Done, Sends};
use crate::role::Turn;
use crate::service::Question;

/// Takes turns until nobody tells it anything any more. In between it does nothing at all, so it waits with its whole thread.
pub(super) async fn run<S: Sends>(sender: S, question: Question, rate: u32) -> Done {
    let run = Run::begin(sender, question, Vec::new()).await?;
    tell(&"ready")?;
    for line in stdin().lock().lines() {
        match serde_json::from_str(&line?)? {
            Turn::Burst(length) => tell(&run.burst(length).await)?,
            Turn::AtRate { warm_up, length } => {
                let fixed = run.at_rate(warm_up, length, rate).await;
                tell(&fixed.map_err(|error| error.to_string())?)?;
            }
        }
    }
    Ok(())
}

fn tell(answer: &impl Serialize) -> Done {
    let mut out = stdout();
    serde_json::to_writer(&mut out, answer)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

//! Programs of others that tests run: found or said to be missing, given their input, ended with the test.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::world::until;

/// The longest that a program may run.
const LIMIT: Duration = Duration::from_secs(20);

/// The program that `variable` names, or `default` in the system's path; `None`, and a word about it, where it is not there.
#[must_use]
pub fn program(variable: &str, default: &str) -> Option<PathBuf> {
    let set = std::env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from);
    let found = set.or_else(|| in_path(default)).filter(|path| path.is_file());
    if found.is_none() {
        println!("skipped: no `{default}` here; {variable} may name one");
    }
    found
}

fn in_path(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}

/// What a program said.
#[derive(Debug)]
pub struct Said {
    /// How it ended; `None` where it had to be ended.
    pub status: Option<ExitStatus>,
    /// All that it wrote.
    pub text: String,
}

/// Runs a program to its end with this input, which stays open as long as the program runs.
pub async fn run(command: Command, input: &[u8]) -> Said {
    converse(command, &[("", input)]).await
}

/// Runs a program to its end; each input is given when the program has said the words before it.
pub async fn converse(mut command: Command, steps: &[(&str, &[u8])]) -> Said {
    command.kill_on_drop(true);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let said = Arc::new(Mutex::new(Vec::new()));
    let out = tokio::spawn(collect(child.stdout.take().unwrap(), Arc::clone(&said)));
    let err = tokio::spawn(collect(child.stderr.take().unwrap(), Arc::clone(&said)));
    let text = || String::from_utf8_lossy(&said.lock().unwrap()).into_owned();
    let mut stdin = child.stdin.take().unwrap();
    for (words, input) in steps {
        until("a word of the program", || text().contains(words) || out.is_finished()).await;
        // It may end before it has read anything.
        let _ = stdin.write_all(input).await;
        let _ = stdin.flush().await;
    }
    let ended = tokio::time::timeout(LIMIT, async { tokio::join!(out, err) }).await;
    let status = match ended {
        Ok(_) => Some(child.wait().await.unwrap()),
        Err(_) => None,
    };
    Said { status, text: text() }
}

async fn collect(mut from: impl AsyncRead + Unpin, said: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let read = buffer.get(..length).unwrap();
        said.lock().unwrap().extend_from_slice(read);
    }
}

//! Processes of this benchmark's own: what they are told, what they hold and what they use.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// Names the part that a process plays.
const PART: &str = "MESH_GROWTH_PART";

/// A process that plays a part of the benchmark, and is told and asked in lines.
pub(crate) struct Process {
    child: Child,
    told: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What this process is to play, where it is one of these.
pub(crate) fn part() -> Option<Vec<String>> {
    let part = std::env::var(PART).ok()?;
    Some(part.split(' ').map(str::to_owned).collect())
}

/// Answers whoever started this process.
pub(crate) fn answer(text: impl std::fmt::Display) {
    println!("{text}");
}

/// What this process is told, line by line, until the one that started it is done with it.
pub(crate) fn orders() -> impl Iterator<Item = Vec<String>> {
    let lines = std::io::stdin().lines().map_while(Result::ok);
    lines.map(|line| line.split(' ').map(str::to_owned).collect())
}

impl Process {
    /// Starts one and waits for its first answer.
    pub(crate) fn start(part: &str) -> (Self, String) {
        // Without `unsafe`, only a shell gets the descriptors that connections need.
        Self::started("ulimit -n $(ulimit -Hn); exec \"$0\"", part)
    }

    /// The same on one processor, where that can be had.
    pub(crate) fn start_pinned(part: &str) -> (Self, String) {
        Self::started(
            "command -v taskset >/dev/null && exec taskset -c 0 \"$0\"; exec \"$0\"",
            part,
        )
    }

    fn started(script: &str, part: &str) -> (Self, String) {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command.arg(std::env::current_exe().unwrap()).env(PART, part);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (told, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let answers = BufReader::new(answers);
        let mut process = Self { child, told, answers };
        let first = process.heard();
        (process, first)
    }

    /// Tells it to do something and waits for what comes of it.
    pub(crate) fn tell(&mut self, order: &str) -> String {
        writeln!(self.told, "{order}").unwrap();
        self.heard()
    }

    fn heard(&mut self) -> String {
        let mut line = String::new();
        let length = self.answers.read_line(&mut line).unwrap();
        assert!(length > 0, "a process of the benchmark ended before its time");
        line.trim_end().to_owned()
    }

    /// The memory that it holds, in bytes: what is resident.
    pub(crate) fn resident(&self) -> f64 {
        self.status("VmRSS:")
    }

    /// What of it is no file's content: heap and stacks, and not the program's code.
    pub(crate) fn anonymous(&self) -> f64 {
        self.status("RssAnon:")
    }

    fn status(&self, field: &str) -> f64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        let kibibytes: f64 = value.trim().trim_end_matches(" kB").parse().unwrap();
        kibibytes * 1024.0
    }

    /// The time that its threads have had of the processors.
    pub(crate) fn processor_time(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let spent = |task: fs::DirEntry| {
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|spent| spent.parse().ok()).unwrap_or(0)
        };
        Duration::from_nanos(tasks.map_while(Result::ok).map(spent).sum())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How often processor time is taken.
const SAMPLES: usize = 5;

/// The sample that others on the machine disturbed least.
pub(crate) fn least(sample: impl FnMut() -> u128) -> f64 {
    std::iter::repeat_with(sample).take(SAMPLES).min().unwrap_or_default() as f64
}

//! What processes used, from `/proc`: nothing runs inside of them for it.

use std::fs;
use std::path::Path;

/// A process and all that it started.
pub(crate) fn family(process: u32) -> Vec<u32> {
    let mut family = vec![process];
    let mut next = 0;
    while let Some(&process) = family.get(next) {
        let tasks = tasks(process).into_iter();
        let children = tasks.filter_map(|task| fs::read_to_string(format!("{task}/children")).ok());
        let children: Vec<u32> = children.flat_map(|text| numbers(&text)).collect();
        family.extend(children);
        next += 1;
    }
    family
}

fn numbers(text: &str) -> Vec<u32> {
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

fn tasks(process: u32) -> Vec<String> {
    let Ok(entries) = fs::read_dir(format!("/proc/{process}/task")) else {
        return Vec::new();
    };
    let path = |entry: fs::DirEntry| entry.path().to_string_lossy().into_owned();
    entries.flatten().map(path).collect()
}

/// Seconds on a CPU so far, of processes, their children and all threads, user and kernel.
pub(crate) fn cpu_seconds(processes: &[u32]) -> f64 {
    let families = processes.iter().flat_map(|&process| family(process));
    let nanos: u64 = families
        .flat_map(tasks)
        .filter_map(|task| running(Path::new(&task)))
        .sum();
    nanos as f64 / 1e9
}

/// The first number of `schedstat`: nanoseconds on a CPU, which `stat` only has in ticks.
fn running(task: &Path) -> Option<u64> {
    let text = fs::read_to_string(task.join("schedstat")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// The sum of the peaks of resident memory, in KiB.
pub(crate) fn peak_kib(processes: &[u32]) -> u64 {
    let families = processes.iter().flat_map(|&process| family(process));
    families.filter_map(peak).sum()
}

fn peak(process: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

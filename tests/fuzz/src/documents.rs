//! Any bytes as a policy file: read, checked, compiled, explained and rendered, the same way twice.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_core::policy::Loaded;
use mesh_core::policy::diagnostic::Paint;
use mesh_core::snapshot::Snapshot;
use mesh_core::workload::Workload;

fn told(bytes: &[u8]) -> String {
    let loaded = Loaded::from_files([("policy.yaml", bytes)]);
    if let Some(policy) = &loaded.policy {
        // What compiling refuses must be a matter of words, not of panics.
        let _ = Snapshot::compile(policy, &Workload::new("default", "web").label("app", "web"), 1);
    }
    let lines = loaded.report.lines(&loaded.sources);
    assert_eq!(loaded.report.has_errors(), loaded.policy.is_none());
    for line in &lines {
        assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
    }
    loaded.report.render(&loaded.sources, Paint::Plain)
}

fuzz_target!(|bytes: &[u8]| {
    assert_eq!(told(bytes), told(bytes));
});

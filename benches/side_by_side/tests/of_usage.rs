use std::process::{Command, Stdio};

use crate::usage::{cpu_seconds, family, peak_kib};

#[test]
fn a_busy_process_uses_cpu_and_memory() {
    let own = [std::process::id()];
    let before = cpu_seconds(&own);
    let mut number = 1_u64;
    while cpu_seconds(&own) - before < 0.02 {
        number = std::hint::black_box(number.wrapping_mul(3));
    }
    assert!(peak_kib(&own) > 500);
}

#[test]
fn children_belong_to_a_process() {
    let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let family = family(std::process::id());
    assert!(family.contains(&child.id()), "{family:?}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_process_that_is_no_more_uses_nothing() {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    assert_eq!((cpu_seconds(&[child.id()]), peak_kib(&[child.id()])), (0.0, 0));
}

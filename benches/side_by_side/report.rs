//! The table that people read.

use std::fmt::Write as _;

use crate::matrix::{Cell, Configuration, Traffic};
use crate::options::Options;
use crate::session::{Controls, Row, Session};
use crate::statistics::Spread;
use crate::summary::{Ratios, Summary};

const HEAD: [&str; 12] = [
    "configuration",
    "rps",
    "p50 us",
    "p99 us",
    "p99.9 us",
    "CPU s",
    "at rate",
    "MiB",
    "proxies",
    "x rps",
    "x CPU",
    "p50 added us",
];
const WIDTHS: [usize; 12] = [20, 8, 7, 8, 9, 7, 8, 6, 8, 19, 19, 19];

/// Of fewer values not even the range from the least to the greatest holds the median with 95 %.
const ENOUGH: usize = 6;

/// A figure of the project with the bar that it has to pass.
pub(crate) struct Bar {
    name: &'static str,
    of: fn(&Ratios) -> Spread,
    bar: f64,
    moonshot: f64,
    is_upper: bool,
}

pub(crate) const BARS: [Bar; 3] = [
    Bar {
        name: "CPU per request, mesh_mtls / bare_pool_mtls",
        of: |ratios| ratios.cpu,
        bar: 1.05,
        moonshot: 1.0,
        is_upper: true,
    },
    Bar {
        name: "throughput, the same pair",
        of: |ratios| ratios.throughput,
        bar: 0.95,
        moonshot: 1.0,
        is_upper: false,
    },
    Bar {
        name: "p50 added at 2000 rps over bare_pool, us",
        of: |ratios| ratios.p50_added,
        bar: 8.0,
        moonshot: 5.0,
        is_upper: true,
    },
];

/// Everything that a session is told by.
pub(crate) fn text(session: &Session, summaries: &[Summary], turns: &[Row], options: &Options) -> String {
    let mut text = String::new();
    if options.is_quick {
        text.push_str("\nQUICK: rounds are few and short; these figures are for a look, not for quoting.\n");
    }
    let threads = (options.workers > 1).then_some("no verdict, the bars are for one thread a process");
    if threads.is_some() {
        let _ = writeln!(text, "\nService and load client have {} threads each.", options.workers);
    }
    for traffic in traffics(summaries) {
        table(&mut text, traffic, summaries);
    }
    text.push_str(LEGEND);
    let is_loud = !session.controls.is_quiet();
    let doubt = is_loud.then_some("no verdict, the machine was not quiet");
    bars(&mut text, summaries, "rounds", threads.or(doubt));
    controls(&mut text, &session.controls);
    by_turns(&mut text, &Summary::all(turns), threads);
    for failure in session.rows.iter().chain(turns).flat_map(|row| &row.failures) {
        let _ = writeln!(text, "FAILED {failure}");
    }
    text
}

const LEGEND: &str = "
Medians over rounds. rps, CPU s, MiB: as many requests as go through, 32 at a time; CPU seconds per 100 000 requests and the sum of the
peaks of memory, of client, service and proxies together. p50, p99, p99.9, at rate: at the fixed rate. x: paired ratios to the bare
pair with as much encryption; p50 added: over the bare pair in plain text; median [95 % interval of the median, by order statistics; of fewer
than six values, all of them]. p99 and p99.9 of a virtual machine are noise, and its p50 where processes differ: they are told, not to be steered by.
";

/// What the pairs that stay came to: neighbours slow all of them at once, so a machine that is not quiet widens the intervals, which tell it.
fn by_turns(text: &mut String, summaries: &[Summary], doubt: Option<&str>) {
    for traffic in traffics(summaries) {
        let rows = summaries.iter().filter(|summary| summary.cell.traffic == traffic);
        let turns = rows.map(|summary| summary.figures.rounds).max().unwrap_or_default();
        let _ = write!(
            text,
            "\nBy turns: {turns} of each pair, which stays for a few; those of one start are one value; p99 and p99.9 are those of one turn's requests"
        );
        table(text, traffic, summaries);
    }
    bars(text, summaries, "turns", doubt);
}

fn traffics(summaries: &[Summary]) -> Vec<Traffic> {
    let mut traffics: Vec<Traffic> = summaries.iter().map(|summary| summary.cell.traffic).collect();
    traffics.dedup();
    traffics
}

fn table(text: &mut String, traffic: Traffic, summaries: &[Summary]) {
    let (protocol, body, rate) = (traffic.protocol(), traffic.body(), traffic.rate());
    let _ = writeln!(text, "\n{protocol}, {body}, fixed rate {rate} a second");
    line(text, &HEAD.map(str::to_owned));
    for summary in summaries.iter().filter(|summary| summary.cell.traffic == traffic) {
        line(text, &columns(summary));
        if summary.is_overloaded() {
            let _ = writeln!(text, "    ^ only {:.0} of {rate} a second went through", summary.rate);
        }
    }
}

fn line(text: &mut String, columns: &[String; 12]) {
    for (index, (column, width)) in columns.iter().zip(WIDTHS).enumerate() {
        let _ = match index {
            0 => write!(text, "  {column:<width$}"),
            _ => write!(text, " {column:>width$}"),
        };
    }
    text.push('\n');
}

fn columns(summary: &Summary) -> [String; 12] {
    let figures = &summary.figures;
    let ratio = |of: fn(&Ratios) -> Spread, digits: usize| {
        let spread = summary.ratios.as_ref().map(of);
        spread.map_or_else(|| "-".to_owned(), |spread| with_interval(&spread, digits))
    };
    [
        figures.configuration.to_owned(),
        format!("{:.0}", figures.rps),
        format!("{:.0}", figures.p50_us),
        format!("{:.0}", figures.p99_us),
        format!("{:.0}", figures.p999_us),
        format!("{:.2}", figures.cpu_s_per_100k),
        format!("{:.2}", summary.cpu_at_rate),
        format!("{:.0}", figures.peak_rss_mib),
        format!("{:.0}", summary.proxies_rss_mib),
        ratio(|ratios| ratios.throughput, 2),
        ratio(|ratios| ratios.cpu, 2),
        ratio(|ratios| ratios.p50_added, 0),
    ]
}

fn with_interval(spread: &Spread, digits: usize) -> String {
    let (low, high) = spread.interval;
    format!("{:.digits$} [{low:.digits$}, {high:.digits$}]", spread.median)
}

fn bars(text: &mut String, summaries: &[Summary], of: &str, doubt: Option<&str>) {
    let cell = Cell {
        configuration: Configuration::MeshMtls,
        traffic: Traffic::Http1Small,
    };
    let Some(mesh) = summaries.iter().find(|summary| summary.cell == cell) else {
        return;
    };
    let Some(ratios) = mesh.ratios else { return };
    let (rounds, values) = (mesh.figures.rounds, ratios.cpu.count);
    let _ = writeln!(
        text,
        "\nBars, h1, 1KiB, {rounds} {of}, of {values} starts beside bare_pool_mtls"
    );
    for bar in BARS {
        let spread = (bar.of)(&ratios);
        let sign = if bar.is_upper { "<=" } else { ">=" };
        let _ = writeln!(
            text,
            "  {:<46} {:>21}  (min {:.2}, max {:.2})  bar {sign} {}, moonshot {}: {}",
            bar.name,
            with_interval(&spread, 2),
            spread.min,
            spread.max,
            bar.bar,
            bar.moonshot,
            doubt.unwrap_or_else(|| bar.verdict(&spread)),
        );
    }
}

impl Bar {
    /// A bar is met, or is not, where the whole interval is on one side of it; of a few values an interval says nothing.
    pub(crate) fn verdict(&self, spread: &Spread) -> &'static str {
        let (low, high) = spread.interval;
        if spread.count < ENOUGH {
            return "too few starts to say";
        }
        let is_met = |value: f64| {
            if self.is_upper {
                value <= self.bar
            } else {
                value >= self.bar
            }
        };
        match (is_met(low), is_met(high)) {
            (true, true) => "met",
            (false, false) => "NOT met",
            _ => "within the noise",
        }
    }
}

fn controls(text: &mut String, controls: &Controls) {
    let (before, after) = (controls.before, controls.after);
    let [rps, cpu] = controls.drift();
    let _ = writeln!(
        text,
        "\nControl, {}: {:.0} rps and {:.2} CPU s first, {:.0} and {:.2} last ({:+.1} %, {:+.1} %)",
        Cell::CONTROL.name(),
        before.rps,
        before.cpu_s_per_100k,
        after.rps,
        after.cpu_s_per_100k,
        rps * 100.0,
        cpu * 100.0,
    );
    if !controls.is_quiet() {
        text.push_str(
            "\n!!! THE MACHINE WAS NOT QUIET: the control differs by more than 5 % between the two ends of this session. !!!\n\
             !!! Do not publish these figures; measure again.                                                        !!!\n",
        );
    }
}

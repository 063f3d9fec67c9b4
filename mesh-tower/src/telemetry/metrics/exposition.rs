//! The series of requests in Prometheus' text exposition format, as the exporter writes all others.

use std::fmt::Write as _;

use metrics::Label;
use metrics_exporter_prometheus::formatting::{sanitize_label_value, write_help_line, write_type_line};

use super::series::{DURATION, DURATION_HELP, REQUESTS, REQUESTS_HELP, SeriesGroup};
use super::tally::Totals;

/// Writes the series of all groups: nothing, where there are none.
pub(super) fn write(out: &mut String, groups: &[SeriesGroup]) {
    let mut series = Vec::new();
    for group in groups {
        group.each(|labels, totals| series.push((joined(&labels), totals)));
    }
    if series.is_empty() {
        return;
    }
    write_head(out, REQUESTS, REQUESTS_HELP, "counter");
    for (labels, totals) in &series {
        let _ = writeln!(out, "{REQUESTS}{{{labels}}} {}", totals.count());
    }
    out.push('\n');
    write_head(out, DURATION, DURATION_HELP, "histogram");
    for (labels, totals) in &series {
        write_histogram(out, labels, totals);
    }
    out.push('\n');
}

/// What a metric is, ahead of its samples.
pub(super) fn write_head(out: &mut String, name: &str, help: &str, kind: &str) {
    write_help_line(out, name, None, None, help);
    write_type_line(out, name, None, None, kind);
}

fn write_histogram(out: &mut String, labels: &str, totals: &Totals) {
    for (bound, count) in totals.within() {
        let _ = writeln!(out, "{DURATION}_bucket{{{labels},le=\"{bound}\"}} {count}");
    }
    let count = totals.count();
    let _ = writeln!(out, "{DURATION}_bucket{{{labels},le=\"+Inf\"}} {count}");
    let _ = writeln!(out, "{DURATION}_sum{{{labels}}} {}", totals.sum);
    let _ = writeln!(out, "{DURATION}_count{{{labels}}} {count}");
}

fn joined(labels: &[Label]) -> String {
    let mut text = String::new();
    for label in labels {
        let separator = if text.is_empty() { "" } else { "," };
        let value = sanitize_label_value(label.value());
        let _ = write!(text, "{separator}{}=\"{value}\"", label.key());
    }
    text
}

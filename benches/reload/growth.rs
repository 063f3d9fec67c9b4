//! How time and memory grow with the size of a policy: curves through the rows that differ in nothing else.

use std::fs;
use std::path::Path;

use mesh_benches::curve::Curve;
use mesh_benches::plot;

use crate::measure::Row;

/// Fewer sizes tell nothing of growth.
const FEWEST: usize = 3;
/// What the sizes count.
const OF: &str = "routes, rules and endpoints, of each so many";

/// Curves that are drawn together.
pub(crate) struct Plot {
    /// Names the file.
    name: &'static str,
    title: &'static str,
    curves: Vec<Curve>,
}

/// What can be drawn of these rows; nothing without a curve.
pub(crate) fn plots(rows: &[Row]) -> Vec<Plot> {
    let all = [
        Plot {
            name: "whole-time",
            title: "Reading, checking and compiling a policy from nothing",
            curves: curves(rows, &["whole_"], ("ms", |row| row.total_ms)),
        },
        Plot {
            name: "whole-memory",
            title: "Memory that texts, policy and snapshot hold",
            curves: curves(rows, &["whole_"], ("KiB", |row| row.held_bytes as f64 / 1024.0)),
        },
        Plot {
            name: "change-time",
            title: "Reading, checking and compiling where one rule or route has changed",
            curves: curves(rows, &["one_rule_", "one_route_"], ("ms", |row| row.total_ms)),
        },
    ];
    all.into_iter().filter(|plot| !plot.curves.is_empty()).collect()
}

/// What is drawn of a row, and its unit.
type Measure = (&'static str, fn(&Row) -> f64);

/// A curve for each case whose name begins so, in the order in which they come.
fn curves(rows: &[Row], beginnings: &[&str], (unit, of): Measure) -> Vec<Curve> {
    let mut named: Vec<(&str, Vec<(f64, f64)>)> = Vec::new();
    for row in rows {
        let Some(name) = row.case.strip_suffix(&format!("_{}", row.size)) else {
            continue;
        };
        let point = (row.size as f64, of(row));
        match named.iter_mut().find(|(known, _)| *known == name) {
            Some((_, points)) => points.push(point),
            None => named.push((name, vec![point])),
        }
    }
    let is_wanted = |name: &str| beginnings.iter().any(|beginning| name.starts_with(beginning));
    named.retain(|(name, points)| is_wanted(name) && points.len() >= FEWEST);
    let curve = |(name, points)| Curve::new(name, OF, unit, points);
    named.into_iter().map(curve).collect()
}

/// Prints what fits the curves: `y = a · n^b`.
pub(crate) fn print(plot: &Plot) {
    println!("\n{}", plot.title);
    for curve in &plot.curves {
        let fit = curve.fit.map_or_else(
            || "nothing fits".to_owned(),
            |fit| format!("{:.3e} · n^{:.3} (R² {:.2})", fit.factor, fit.exponent, fit.r_squared),
        );
        println!("  {:<34} {} = {fit}", curve.name, curve.unit);
    }
}

/// Writes each plot as a drawing.
pub(crate) fn draw(plots: &[Plot], directory: &Path) -> std::io::Result<()> {
    fs::create_dir_all(directory)?;
    plots.iter().try_for_each(|plot| {
        let file = directory.join(format!("{}.svg", plot.name));
        fs::write(file, plot::svg(plot.title, &plot.curves))
    })
}

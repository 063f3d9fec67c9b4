//! What the benchmark has found: curves in plots, and single figures.

use std::fs;
use std::path::Path;

use mesh_benches::curve::Curve;
use mesh_benches::plot;
use serde::Serialize;

/// Everything found.
#[derive(Default, Serialize)]
pub(crate) struct Report {
    pub(crate) plots: Vec<Plot>,
    pub(crate) figures: Vec<Figure>,
}

/// Curves that are drawn together.
#[derive(Serialize)]
pub(crate) struct Plot {
    /// Names the file.
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) curves: Vec<Curve>,
}

/// A number that stands for itself.
#[derive(Serialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
}

impl Report {
    /// Adds curves that are drawn together, and prints them.
    pub(crate) fn plot(&mut self, name: &str, title: &str, curves: Vec<Curve>) {
        println!("\n{title}");
        curves.iter().for_each(print);
        self.plots.push(Plot {
            name: name.to_owned(),
            title: title.to_owned(),
            curves,
        });
    }

    /// Adds a figure, and prints it.
    pub(crate) fn figure(&mut self, name: impl Into<String>, unit: &'static str, value: f64) {
        let name = name.into();
        println!("{name:<60} {value:>10.1} {unit}");
        self.figures.push(Figure { name, unit, value });
    }

    /// Writes each plot as a drawing.
    pub(crate) fn draw(&self, directory: &Path) -> std::io::Result<()> {
        fs::create_dir_all(directory)?;
        self.plots.iter().try_for_each(|plot| {
            let file = directory.join(format!("{}.svg", plot.name));
            fs::write(file, plot::svg(&plot.title, &plot.curves))
        })
    }
}

fn print(curve: &Curve) {
    let points: Vec<String> = curve.points.iter().map(|(x, y)| format!("{x:.0}: {y:.1}")).collect();
    let fit = curve
        .fit
        .map(|fit| format!("  ∝ n^{:.3} (R² {:.2})", fit.exponent, fit.r_squared));
    println!("  {} [{}]{}", curve.name, curve.unit, fit.unwrap_or_default());
    println!("    {}", points.join("  "));
}

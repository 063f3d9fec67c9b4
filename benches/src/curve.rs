//! How something grows with something else: measured points, and the power of x that fits them.

use serde::Serialize;

/// Points of one measure.
#[derive(Clone, Debug, Serialize)]
pub struct Curve {
    /// What is measured.
    pub name: String,
    /// What x counts: rules, connections.
    pub of: String,
    /// What y is counted in.
    pub unit: String,
    /// Both, in the order of x.
    pub points: Vec<(f64, f64)>,
    /// The fit, where there are points enough.
    pub fit: Option<Fit>,
}

/// `y = factor · x ^ exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Fit {
    /// 0 where nothing grows, 1 where y doubles with x.
    pub exponent: f64,
    /// What y is at x = 1.
    pub factor: f64,
    /// The share of the variance of log y that the fit explains; of little meaning where y hardly changes.
    pub r_squared: f64,
}

impl Curve {
    /// A curve through these points, fitted.
    #[must_use]
    pub fn new(name: impl Into<String>, of: &str, unit: &str, points: Vec<(f64, f64)>) -> Self {
        Self {
            fit: fit(&points),
            ..Self::unfitted(name, of, unit, points)
        }
    }

    /// A curve of which nobody expects a power.
    #[must_use]
    pub fn unfitted(name: impl Into<String>, of: &str, unit: &str, points: Vec<(f64, f64)>) -> Self {
        Self {
            name: name.into(),
            of: of.to_owned(),
            unit: unit.to_owned(),
            points,
            fit: None,
        }
    }

    /// How many times the last value is the first.
    #[must_use]
    pub fn growth(&self) -> Option<f64> {
        Some(self.points.last()?.1 / self.points.first()?.1)
    }
}

impl Fit {
    /// The value at x.
    #[must_use]
    pub fn at(&self, x: f64) -> f64 {
        self.factor * x.powf(self.exponent)
    }
}

/// Least squares on the logarithms; of what is not positive, there is none.
fn fit(points: &[(f64, f64)]) -> Option<Fit> {
    let positive = points.iter().filter(|(x, y)| *x > 0.0 && *y > 0.0);
    let logs: Vec<(f64, f64)> = positive.map(|(x, y)| (x.ln(), y.ln())).collect();
    let mean = |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / logs.len() as f64;
    let (x_mean, y_mean) = (mean(|log| log.0), mean(|log| log.1));
    let sum = |of: &dyn Fn(f64, f64) -> f64| logs.iter().map(|(x, y)| of(x - x_mean, y - y_mean)).sum::<f64>();
    let (xx, xy, yy) = (sum(&|x, _| x * x), sum(&|x, y| x * y), sum(&|_, y| y * y));
    let exponent = (logs.len() > 1 && xx > 0.0).then(|| xy / xx)?;
    Some(Fit {
        exponent,
        factor: (y_mean - exponent * x_mean).exp(),
        r_squared: if yy > 0.0 { xy * xy / (xx * yy) } else { 1.0 },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(of: impl Fn(f64) -> f64) -> Curve {
        let points = [1.0, 10.0, 100.0, 1_000.0].map(|x| (x, of(x)));
        Curve::new("it", "rules", "instructions", points.to_vec())
    }

    fn assert_near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    }

    #[test]
    fn a_power_is_found() {
        let fit = curve(|x| 3.0 * x.powf(0.7)).fit.unwrap();
        assert_near(fit.exponent, 0.7);
        assert_near(fit.factor, 3.0);
        assert_near(fit.r_squared, 1.0);
        assert_near(fit.at(10.0), 3.0 * 10_f64.powf(0.7));
    }

    #[test]
    fn what_does_not_grow_has_no_exponent() {
        assert_near(curve(|_| 310.0).fit.unwrap().exponent, 0.0);
        assert_near(curve(|_| 310.0).growth().unwrap(), 1.0);
    }

    #[test]
    fn noise_shows_in_the_share_explained() {
        let fit = curve(|x| if x < 50.0 { x } else { 1.0 }).fit.unwrap();
        assert!(fit.r_squared < 0.5, "{fit:?}");
    }

    #[test]
    fn one_point_fits_everything_and_so_nothing() {
        assert_eq!(Curve::new("it", "rules", "bytes", vec![(10.0, 5.0)]).fit, None);
        assert_eq!(
            Curve::new("it", "rules", "bytes", vec![(1.0, 5.0), (2.0, -1.0)]).fit,
            None
        );
    }
}

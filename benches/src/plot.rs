//! Curves as SVG, both axes logarithmic: a power is a straight line, and its exponent the slope.

use std::fmt::Write as _;

use crate::curve::Curve;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 86.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 48.0;
const BOTTOM: f64 = 56.0;
/// The height of a line of the legend.
const LINE: f64 = 18.0;
/// Told apart by those who see no red or green, too (Okabe and Ito).
const COLOURS: [&str; 7] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000",
];

/// A drawing of curves that share their axes: those of the first.
#[must_use]
pub fn svg(title: &str, curves: &[Curve]) -> String {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let (across, up) = (
        Axis::over(points().map(|point| point.0)),
        Axis::over(points().map(|point| point.1)),
    );
    let mut drawing = Drawing {
        across,
        // Room above for the legend: the curves stay below it.
        legend: curves.len() as f64 * LINE + 12.0,
        up,
        text: String::new(),
    };
    drawing.frame(title, curves);
    for (curve, colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        drawing.curve(curve, colour);
    }
    drawing.legend(curves);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{}</svg>\n",
        drawing.text
    )
}

/// A logarithmic axis, as exponents of ten.
struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>) -> Self {
        let logs = values.filter(|value| *value > 0.0).map(f64::log10);
        let (low, high) = logs.fold((f64::MAX, f64::MIN), |(low, high), log| (low.min(log), high.max(log)));
        match low <= high {
            // Whole decades, so that curves of different runs can be compared.
            true => Self {
                low: low.floor(),
                high: high.ceil().max(low.floor() + 1.0),
            },
            false => Self { low: 0.0, high: 1.0 },
        }
    }

    /// Where on the axis, from 0 to 1.
    fn share(&self, value: f64) -> f64 {
        (value.log10() - self.low) / (self.high - self.low)
    }

    /// Powers of ten; where there are few, two and five times these.
    fn ticks(&self) -> Vec<f64> {
        let steps: &[f64] = if self.high - self.low > 2.5 {
            &[1.0]
        } else {
            &[1.0, 2.0, 5.0]
        };
        let (mut ticks, mut decade) = (Vec::new(), self.low);
        while decade <= self.high {
            ticks.extend(steps.iter().map(|step| step * 10_f64.powf(decade)));
            decade += 1.0;
        }
        ticks.retain(|tick| self.share(*tick) < 1.0 + 1e-9);
        ticks
    }
}

struct Drawing {
    across: Axis,
    up: Axis,
    legend: f64,
    text: String,
}

impl Drawing {
    fn x(&self, value: f64) -> f64 {
        LEFT + self.across.share(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let bottom = HEIGHT - BOTTOM;
        bottom - self.up.share(value) * (bottom - TOP - self.legend)
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), style: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = writeln!(
            self.text,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" {style}/>"
        );
    }

    fn label(&mut self, (x, y): (f64, f64), style: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(self.text, "<text x=\"{x:.1}\" y=\"{y:.1}\" {style}>{text}</text>");
    }

    fn frame(&mut self, title: &str, curves: &[Curve]) {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        self.label((LEFT, 28.0), "font-size=\"17\" font-weight=\"bold\"", title);
        for tick in self.across.ticks() {
            let x = self.x(tick);
            self.line((x, TOP), (x, bottom), "stroke=\"#e4e4e4\"");
            self.label((x, bottom + 20.0), "text-anchor=\"middle\"", &number(tick));
        }
        for tick in self.up.ticks() {
            let y = self.y(tick);
            self.line((LEFT, y), (right, y), "stroke=\"#e4e4e4\"");
            self.label((LEFT - 8.0, y + 4.0), "text-anchor=\"end\"", &number(tick));
        }
        self.line((LEFT, bottom), (right, bottom), "stroke=\"#444\"");
        self.line((LEFT, TOP), (LEFT, bottom), "stroke=\"#444\"");
        if let Some(first) = curves.first() {
            let middle = f64::midpoint(TOP, bottom);
            let turned = format!("text-anchor=\"middle\" transform=\"rotate(-90 18 {middle:.1})\"");
            self.label(
                (f64::midpoint(LEFT, right), HEIGHT - 12.0),
                "text-anchor=\"middle\"",
                &first.of,
            );
            self.label((18.0, middle), &turned, &first.unit);
        }
    }

    /// Its points, and as a broken line what fits them; where nothing does, from one point to the next.
    fn curve(&mut self, curve: &Curve, colour: &str) {
        let mut drawn = curve.points.iter().filter(|(x, y)| *x > 0.0 && *y > 0.0);
        let places: Vec<(f64, f64)> = drawn.clone().map(|(x, y)| (self.x(*x), self.y(*y))).collect();
        let style = format!("stroke=\"{colour}\" stroke-width=\"1.5\"");
        if let (Some(fit), Some(first), Some(last)) = (curve.fit, drawn.clone().next(), drawn.next_back()) {
            let place = |x: f64| (self.x(x), self.y(fit.at(x)));
            self.line(
                place(first.0),
                place(last.0),
                &format!("{style} stroke-dasharray=\"6 4\""),
            );
        } else {
            for pair in places.windows(2) {
                if let [from, to] = pair {
                    self.line(*from, *to, &style);
                }
            }
        }
        for (x, y) in places {
            let _ = writeln!(
                self.text,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"/>"
            );
        }
    }

    fn legend(&mut self, curves: &[Curve]) {
        for ((row, curve), colour) in curves.iter().enumerate().zip(COLOURS.iter().cycle()) {
            let y = TOP + 16.0 + row as f64 * LINE;
            let fit = curve.fit.map(|fit| format!(" ∝ n^{:.2}", fit.exponent));
            let text = format!("{}{}", curve.name, fit.unwrap_or_default());
            let _ = writeln!(
                self.text,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\" fill=\"{colour}\"/>",
                LEFT + 14.0,
                y - 4.0
            );
            self.label((LEFT + 26.0, y), "", &text);
        }
    }
}

/// A number as people write it: `0.5`, `20`, `10 000`, `5 M`.
fn number(value: f64) -> String {
    match value {
        value if value < 0.999_999 => format!("{value:.3}").trim_end_matches('0').to_owned(),
        value if value < 9_999.0 => format!("{value:.0}"),
        value if value < 999_999.0 => format!("{:.0} 000", value / 1e3),
        value => format!("{:.0} M", value / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_and_fit_are_drawn_where_they_are() {
        let points = vec![(1.0, 10.0), (10.0, 100.0), (100.0, 1_000.0)];
        let text = svg("it & all", &[Curve::new("a<b", "rules", "instructions", points)]);
        assert_eq!(
            text.matches("<circle").count(),
            3 + 1,
            "a circle for each point, one for the legend"
        );
        assert!(
            text.contains("it &amp; all") && text.contains("a&lt;b ∝ n^1.00"),
            "{text}"
        );
        // The first point stands in the corner of the axes.
        assert!(
            text.contains(&format!("cx=\"{LEFT:.1}\" cy=\"{:.1}\"", HEIGHT - BOTTOM)),
            "{text}"
        );
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert_eq!(svg("empty", &[]).matches("<circle").count(), 0);
    }

    #[test]
    fn numbers_read_well() {
        let read: Vec<_> = [0.5, 20.0, 1_000.0, 10_000.0, 100_000.0, 5e6].map(number).into();
        assert_eq!(read, ["0.5", "20", "1000", "10 000", "100 000", "5 M"]);
    }
}

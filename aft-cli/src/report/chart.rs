//! Charts as SVG. Their colors are the page's, so that they are readable in light and in dark.

use std::fmt::Write as _;

use super::page::escaped;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 190.0;
/// What is left of the bars, for the numbers, and below them, for the names.
const LEFT: f64 = 56.0;
const BELOW: f64 = 24.0;
const ABOVE: f64 = 10.0;

/// A bar.
#[derive(Debug, Clone)]
pub(super) struct Bar {
    pub(super) value: f64,
    /// What is shown where the pointer is over it.
    pub(super) title: String,
    /// Drawn in the second color.
    pub(super) other: bool,
}

/// Bars side by side; `names` stand below the first and the last, `tick` says what a number of the scale is called.
pub(super) fn bars(what: &str, bars: &[Bar], names: [&str; 2], tick: impl Fn(f64) -> String) -> String {
    let most = scale(bars.iter().map(|bar| bar.value).fold(0.0, f64::max));
    let (plot, bottom) = (WIDTH - LEFT, HEIGHT - BELOW);
    let y = |value: f64| bottom - (bottom - ABOVE) * value / most;
    let mut svg =
        format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n", escaped(what));
    for part in [0.0, 0.5, 1.0] {
        let (at, text) = (y(most * part), escaped(&tick(most * part)));
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>"
        );
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
            LEFT - 8.0,
            at + 4.0
        );
    }
    #[allow(clippy::cast_precision_loss, reason = "some tens of bars")]
    let step = plot / bars.len().max(1) as f64;
    // A single bar is no wall.
    let width = (step * 0.8).min(48.0);
    let mut x = LEFT + (step - width) / 2.0;
    for bar in bars {
        let (top, class) = (y(bar.value), if bar.other { "bar other" } else { "bar" });
        let height = bottom - top;
        let _ = writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"><title>{}</title></rect>",
            escaped(&bar.title)
        );
        x += step;
    }
    let [first, last] = names.map(escaped);
    let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"{:.0}\">{first}</text>", HEIGHT - 6.0);
    let _ = writeln!(svg, "<text x=\"{WIDTH}\" y=\"{:.0}\" text-anchor=\"end\">{last}</text>", HEIGHT - 6.0);
    svg + "</svg>\n"
}

/// The end of a scale for values up to `most`: 2, 4 or 10 times a power of ten, so that half of it is a whole number.
fn scale(most: f64) -> f64 {
    let mut power = 1.0;
    while power < f64::MAX / 100.0 {
        if let Some(end) = [2.0, 4.0, 10.0].map(|step| step * power).into_iter().find(|end| most <= *end) {
            return end;
        }
        power *= 10.0;
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_ends_at_or_above_the_greatest_bar() {
        let ends = [0.0, 1.0, 2.0, 3.0, 5.0, 10.0, 11.0, 1e6].map(scale);
        assert_eq!(ends, [2.0, 2.0, 2.0, 4.0, 10.0, 10.0, 20.0, 1e6]);
        assert!(scale(f64::MAX) >= f64::MAX);
    }

    #[test]
    fn a_chart_has_a_bar_for_each_value_and_escapes_its_words() {
        let bar = |value| Bar { value, title: "<b>".into(), other: value > 1.0 };
        let svg = bars("a & b", &[bar(1.0), bar(2.0)], ["<", ">"], |value| format!("{value}"));
        assert_eq!((svg.matches("<rect").count(), svg.matches("bar other").count()), (2, 1));
        assert!(
            svg.contains("a &amp; b") && svg.contains("<title>&lt;b&gt;</title>") && !svg.contains("<b>")
        );
        assert!(!bars("none", &[], ["", ""], |_| String::new()).contains("NaN"));
    }
}

//! A chart of horizontal bars as SVG: labelled, on a light ground, and the same bytes for the same
//! figures. Called by `report`.

use std::fmt::Write as _;

/// One bar, in parts from left to right.
pub(super) struct Row {
    /// Its label.
    pub(super) label: String,
    /// Length of each part.
    pub(super) parts: Vec<f64>,
    /// The text after it.
    pub(super) note: String,
    /// Whether it is Roomcast's, or of another server.
    pub(super) ours: bool,
}

/// A chart.
pub(super) struct Chart {
    /// The title.
    pub(super) title: String,
    /// The unit, and how to read it.
    pub(super) subtitle: String,
    /// The labels of the parts.
    pub(super) parts: Vec<&'static str>,
    /// The bars.
    pub(super) rows: Vec<Row>,
}

const WIDTH: f64 = 860.0;
const LEFT: f64 = 290.0;
const BAR: f64 = 440.0;
const STEP: f64 = 34.0;
const TOP: f64 = 92.0;
const OURS: [&str; 2] = ["#2f6fed", "#9dbcf8"];
const OTHERS: [&str; 2] = ["#6b7896", "#c3cad9"];

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

impl Chart {
    /// The SVG.
    pub(super) fn svg(&self) -> String {
        let height = TOP + STEP * self.rows.len() as f64 + 18.0;
        let longest =
            self.rows.iter().map(|row| row.parts.iter().sum::<f64>()).fold(f64::MIN_POSITIVE, f64::max);
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"system-ui, sans-serif\" \
             font-size=\"14\" role=\"img\" aria-label=\"{}\">\n<rect width=\"{WIDTH}\" height=\"{height}\" rx=\"12\" fill=\"#fbfcfe\"/>\n",
            escape(&self.title)
        );
        let text = |x: f64, y: f64, attributes: &str, text: &str| {
            format!("<text x=\"{x}\" y=\"{y}\" {attributes}>{}</text>\n", escape(text))
        };
        out += &text(24.0, 34.0, "font-size=\"17\" font-weight=\"600\" fill=\"#1d2536\"", &self.title);
        out += &text(24.0, 56.0, "font-size=\"13\" fill=\"#56617a\"", &self.subtitle);
        if self.parts.len() > 1 {
            for (index, (part, color)) in self.parts.iter().zip(OTHERS).enumerate() {
                let x = LEFT + 110.0 * index as f64;
                // Writing to a string cannot fail.
                out += &format!(
                    "<rect x=\"{x}\" y=\"68\" width=\"11\" height=\"11\" rx=\"2\" fill=\"{color}\"/>\n"
                );
                out += &text(x + 17.0, 78.0, "font-size=\"12.5\" fill=\"#56617a\"", part);
            }
        }
        for (index, row) in self.rows.iter().enumerate() {
            let y = TOP + STEP * index as f64;
            let weight = if row.ours { "font-weight=\"600\" fill=\"#1d2536\"" } else { "fill=\"#3b4a6b\"" };
            out += &text(LEFT - 12.0, y + 16.0, &format!("text-anchor=\"end\" {weight}"), &row.label);
            let mut x = LEFT;
            for (part, color) in row.parts.iter().zip(if row.ours { OURS } else { OTHERS }) {
                let width = part / longest * BAR;
                out += &format!(
                    "<rect x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"22\" fill=\"{color}\"/>\n"
                );
                x += width;
            }
            out += &text((x * 10.0).round() / 10.0 + 8.0, y + 16.0, weight, &row.note);
        }
        out.write_str("</svg>\n").map_or(String::new(), |()| out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_figures_are_the_same_bytes() {
        let chart = || Chart {
            title: "CPU & <things>".into(),
            subtitle: "µs".into(),
            parts: vec!["servers", "Redis"],
            rows: vec![
                Row { label: "ours".into(), parts: vec![1.0, 0.5], note: "1.5".into(), ours: true },
                Row { label: "theirs".into(), parts: vec![3.0, 0.0], note: "3.0".into(), ours: false },
            ],
        };
        let svg = chart().svg();
        assert_eq!(svg, chart().svg());
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("CPU &amp; &lt;things>") && svg.contains("width=\"440.0\""), "{svg}");
    }
}

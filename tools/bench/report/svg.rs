//! Plots as SVG text: bars, points and lines on logarithmic scales, with no program but this one.
//!
//! Guarantees: the same figures give the same bytes; text is escaped; every plot names its scale.

use std::fmt::Write;

/// Ours.
pub const OURS: &str = "#1b6ca8";
/// The other side's.
pub const THEIRS: &str = "#b5651d";
const GREY: &str = "#999999";
const WIDTH: f64 = 900.0;
const LABELS: f64 = 330.0;
const ROW: f64 = 24.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 34.0;

/// A bar from 1 to a ratio.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Beside it.
    pub label: String,
    /// Its end.
    pub value: f64,
    /// Of the rounds.
    pub low: f64,
    /// Of the rounds.
    pub high: f64,
    /// Marked across it.
    pub bound: Option<f64>,
}

/// Points on one line.
#[derive(Clone, Debug)]
pub struct Dots {
    /// Beside them.
    pub label: String,
    /// Left and right end of ours.
    pub ours: (f64, f64),
    /// Left and right end of the other's.
    pub theirs: (f64, f64),
}

/// A line through points.
#[derive(Clone, Debug)]
pub struct Series {
    /// At its end.
    pub label: String,
    /// Of it.
    pub colour: &'static str,
    /// x and y.
    pub points: Vec<(f64, f64)>,
}

struct Drawing {
    body: String,
    height: f64,
}

impl Drawing {
    fn new(height: f64, title: &str, legend: &[(&str, &str)]) -> Drawing {
        let mut drawing = Drawing { body: String::new(), height };
        drawing.text(10.0, 22.0, "start", 15.0, "#000000", title);
        let mut x = 10.0;
        for (colour, name) in legend {
            drawing.rect(x, 34.0, 12.0, 12.0, colour);
            drawing.text(x + 17.0, 45.0, "start", 12.0, "#000000", name);
            x += 45.0 + 7.0 * name.chars().count() as f64;
        }
        drawing
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, size: f64, colour: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let style = format!("font-family=\"sans-serif\" font-size=\"{size}\" text-anchor=\"{anchor}\" fill=\"{colour}\"");
        // Writing to a String can't fail, here and below.
        let _ = writeln!(self.body, "<text x=\"{x:.1}\" y=\"{y:.1}\" {style}>{text}</text>");
    }

    fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, colour: &str) {
        let _ = writeln!(self.body, "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>");
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str, width: f64) {
        let (x1, y1, x2, y2) = (from.0, from.1, to.0, to.1);
        let ends = format!("x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"");
        let _ = writeln!(self.body, "<line {ends} stroke=\"{colour}\" stroke-width=\"{width}\"/>");
    }

    fn dot(&mut self, x: f64, y: f64, radius: f64, colour: &str) {
        let _ = writeln!(self.body, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{colour}\"/>");
    }

    fn finish(self) -> String {
        let Drawing { body, height } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{body}</svg>\n"
        )
    }
}

/// Whole powers of ten around some values.
struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    fn around(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Scale {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite() && *value > 0.0) {
            low = low.min(value);
            high = high.max(value);
        }
        if low > high {
            (low, high) = (1.0, 1.0);
        }
        let (low, high) = (low.log10().floor(), high.log10().ceil());
        Scale { low, high: high.max(low + 1.0), from, to }
    }

    fn at(&self, value: f64) -> f64 {
        let share = (value.max(1e-12).log10() - self.low) / (self.high - self.low);
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> + use<> {
        (self.low as i32..=self.high as i32).map(|power| 10f64.powi(power))
    }
}

fn tick_name(value: f64) -> String {
    match value {
        _ if value >= 1e6 => format!("{}M", value / 1e6),
        _ if value >= 1e3 => format!("{}k", value / 1e3),
        _ => format!("{value}"),
    }
}

fn grid(drawing: &mut Drawing, scale: &Scale, unit: &str) {
    let bottom = drawing.height - BOTTOM;
    for tick in scale.ticks() {
        let x = scale.at(tick);
        drawing.line((x, TOP - 6.0), (x, bottom), if tick == 1.0 { "#555555" } else { "#dddddd" }, 1.0);
        drawing.text(x, bottom + 16.0, "middle", 11.0, GREY, &format!("{}{unit}", tick_name(tick)));
    }
}

/// Ratios, with their spread and what is demanded of them.
pub fn bars(title: &str, more_is_better: bool, all: &[Bar]) -> String {
    let height = TOP + ROW * all.len() as f64 + BOTTOM;
    let better = if more_is_better { "further right is better" } else { "further left is better" };
    let mut drawing = Drawing::new(height, title, &[(OURS, better), ("#c0392b", "demanded"), ("#000000", "least to most of the rounds")]);
    let values = all.iter().flat_map(|bar| [bar.low, bar.high, bar.bound.unwrap_or(1.0), 1.0]);
    let scale = Scale::around(values, LABELS, WIDTH - 60.0);
    grid(&mut drawing, &scale, "×");
    for (idx, bar) in all.iter().enumerate() {
        let y = TOP + ROW * idx as f64;
        let (one, end) = (scale.at(1.0), scale.at(bar.value));
        drawing.text(LABELS - 8.0, y + 14.0, "end", 12.0, "#000000", &bar.label);
        drawing.rect(one.min(end), y + 3.0, (end - one).abs().max(1.0), ROW - 10.0, OURS);
        drawing.line((scale.at(bar.low), y + 10.0), (scale.at(bar.high), y + 10.0), "#000000", 2.0);
        if let Some(bound) = bar.bound {
            drawing.line((scale.at(bound), y), (scale.at(bound), y + ROW - 4.0), "#c0392b", 3.0);
        }
        drawing.text(WIDTH - 6.0, y + 14.0, "end", 12.0, "#000000", &crate::compare::verdict::short(bar.value));
    }
    drawing.finish()
}

/// Two sides' ranges, line by line.
pub fn dots(title: &str, unit: &str, names: [&str; 2], all: &[Dots]) -> String {
    let height = TOP + ROW * all.len() as f64 + BOTTOM;
    let mut drawing = Drawing::new(height, title, &[(OURS, names[0]), (THEIRS, names[1])]);
    let values = all.iter().flat_map(|dots| [dots.ours.0, dots.ours.1, dots.theirs.0, dots.theirs.1]);
    let scale = Scale::around(values, LABELS, WIDTH - 40.0);
    grid(&mut drawing, &scale, unit);
    for (idx, dots) in all.iter().enumerate() {
        let y = TOP + ROW * idx as f64;
        drawing.text(LABELS - 8.0, y + 14.0, "end", 12.0, "#000000", &dots.label);
        for (range, colour, y) in [(dots.ours, OURS, y + 6.0), (dots.theirs, THEIRS, y + 13.0)] {
            drawing.line((scale.at(range.0), y), (scale.at(range.1), y), colour, 2.0);
            drawing.dot(scale.at(range.0), y, 3.5, colour);
            drawing.dot(scale.at(range.1), y, 3.5, colour);
        }
    }
    drawing.finish()
}

/// How something grows; `x_ticks` are named below.
pub fn lines(title: &str, legend: &[(&str, &str)], x_ticks: &[(f64, String)], all: &[Series]) -> String {
    const HEIGHT: f64 = 420.0;
    let mut drawing = Drawing::new(HEIGHT, title, legend);
    let y = Scale::around(all.iter().flat_map(|series| series.points.iter().map(|point| point.1)), HEIGHT - BOTTOM - 10.0, TOP);
    let (first, last) = x_ticks.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (x, _)| (low.min(*x), high.max(*x)));
    let x = |value: f64| 70.0 + (value - first) / (last - first).max(1e-9) * (WIDTH - 320.0);
    for tick in y.ticks() {
        drawing.line((60.0, y.at(tick)), (WIDTH - 240.0, y.at(tick)), "#dddddd", 1.0);
        drawing.text(54.0, y.at(tick) + 4.0, "end", 11.0, GREY, &tick_name(tick));
    }
    for (value, name) in x_ticks {
        drawing.text(x(*value), HEIGHT - 14.0, "middle", 11.0, GREY, name);
    }
    for series in all {
        for pair in series.points.windows(2) {
            drawing.line((x(pair[0].0), y.at(pair[0].1)), (x(pair[1].0), y.at(pair[1].1)), series.colour, 2.0);
        }
        for point in &series.points {
            drawing.dot(x(point.0), y.at(point.1), 3.5, series.colour);
        }
        if let Some(end) = series.points.last() {
            drawing.text(x(end.0) + 8.0, y.at(end.1) + 4.0, "start", 11.0, series.colour, &series.label);
        }
    }
    drawing.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_logarithmic_and_hold_all_values() {
        let scale = Scale::around([0.5, 30.0, f64::NAN].into_iter(), 0.0, 300.0);
        assert_eq!(scale.ticks().collect::<Vec<_>>(), [0.1, 1.0, 10.0, 100.0]);
        assert_eq!((scale.at(0.1), scale.at(1.0), scale.at(100.0), scale.at(1e9)), (0.0, 100.0, 300.0, 300.0));
        assert_eq!(Scale::around([].into_iter(), 0.0, 1.0).ticks().count(), 2);
    }

    #[test]
    fn plots_are_whole_and_escaped() {
        let bar = Bar { label: "a < b & c".to_owned(), value: 7.0, low: 6.0, high: 9.0, bound: Some(5.0) };
        let dots_of = Dots { label: "x".to_owned(), ours: (1.0, 2.0), theirs: (3.0, 40.0) };
        let series = Series { label: "s".to_owned(), colour: OURS, points: vec![(1.0, 10.0), (3.0, 20.0)] };
        let ticks = [(1.0, "1".to_owned()), (3.0, "3".to_owned())];
        for plot in [bars("t", true, &[bar]), dots("t", " µs", ["a", "b"], &[dots_of]), lines("t", &[], &ticks, &[series])] {
            assert!(plot.starts_with("<svg ") && plot.ends_with("</svg>\n") && !plot.contains("NaN"), "{plot}");
            assert!(!plot.contains("a < b"));
        }
    }
}

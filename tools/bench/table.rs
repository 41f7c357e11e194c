//! The comparison as a table: medians over the rounds, their ratio, how far the rounds lie apart, and where we are slower.

use crate::compare::Shape;
use crate::figures::Figures;
use crate::servers::Side;
use crate::workload::Workload;

/// One combination of sessions, window and workload, with the figures of each round.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Cell {
    /// Sessions.
    pub sessions: usize,
    /// Requests in flight of each.
    pub outstanding: usize,
    /// What they ask.
    pub workload: Workload,
    /// Ours, a round each.
    pub ringkeeper: Vec<Figures>,
    /// The other's, a round each.
    pub zookeeper: Vec<Figures>,
}

/// One figure of a measurement, and whether more of it is better.
#[derive(Clone, Copy)]
struct Column {
    name: &'static str,
    decimals: usize,
    more_is_better: bool,
    of: fn(&Figures) -> f64,
}

const COLUMNS: [Column; 5] = [
    Column { name: "ops/s", decimals: 0, more_is_better: true, of: |f| f.ops_per_s },
    Column { name: "p50 µs", decimals: 0, more_is_better: false, of: |f| f.latency.p50_us },
    Column { name: "p99 µs", decimals: 0, more_is_better: false, of: |f| f.latency.p99_us },
    Column { name: "CPU µs/op", decimals: 2, more_is_better: false, of: |f| f.server_cpu_us_per_op.unwrap_or(f64::NAN) },
    Column { name: "machine µs/op", decimals: 2, more_is_better: false, of: |f| f.rest_of_machine_cpu_us_per_op },
];

/// Both sides of one column of one cell.
struct Comparison {
    ours: f64,
    theirs: f64,
    ratio: f64,
    spread_percent: f64,
    slower: bool,
}

impl Cell {
    /// Without figures yet.
    pub fn new(shape: Shape, workload: Workload) -> Cell {
        let Shape { sessions, outstanding } = shape;
        Cell { sessions, outstanding, workload, ringkeeper: Vec::new(), zookeeper: Vec::new() }
    }

    /// For people.
    pub fn name(&self) -> String {
        format!("{}x{} {}", self.sessions, self.outstanding, self.workload)
    }

    /// Adds a round's figures.
    pub fn push(&mut self, side: Side, figures: Figures) {
        match side {
            Side::Ringkeeper => self.ringkeeper.push(figures),
            Side::ZooKeeper => self.zookeeper.push(figures),
        }
    }

    fn compare(&self, column: Column) -> Comparison {
        let values = |figures: &[Figures]| -> Vec<f64> { figures.iter().map(column.of).collect() };
        let (ours, theirs) = (values(&self.ringkeeper), values(&self.zookeeper));
        let spread_percent = spread(&ours).max(spread(&theirs)) * 100.0;
        let (ours, theirs) = (median(&ours), median(&theirs));
        let ratio = ours / theirs;
        Comparison { ours, theirs, ratio, spread_percent, slower: if column.more_is_better { ratio < 1.0 } else { ratio > 1.0 } }
    }
}

/// The middle value; NaN of none.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => f64::NAN,
        (len, middle) if len % 2 == 1 => sorted[middle],
        (_, middle) => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

/// Largest less smallest, as a share of the median.
fn spread(values: &[f64]) -> f64 {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let smallest = values.iter().copied().fold(f64::INFINITY, f64::min);
    (largest - smallest) / median(values)
}

/// Prints all cells, and a line for each in which the generator limited a side.
pub fn print_table(cells: &[Cell]) {
    println!("{:14} {:14} {:>12} {:>12} {:>8} {:>8}", "cell", "figure", "ringkeeper", "zookeeper", "ratio", "spread");
    for cell in cells {
        for (at, column) in COLUMNS.into_iter().enumerate() {
            let name = if at == 0 { cell.name() } else { String::new() };
            println!("{}", row(&name, column, &cell.compare(column)));
        }
    }
    for cell in cells {
        for (side, rounds) in [("ringkeeper", &cell.ringkeeper), ("zookeeper", &cell.zookeeper)] {
            if let Some(warning) = rounds.iter().find_map(Figures::warning) {
                println!("{}, {side}: {warning}", cell.name());
            }
        }
    }
}

fn row(name: &str, column: Column, c: &Comparison) -> String {
    let decimals = column.decimals;
    // The rounds of one side lie further apart than the two sides: the word stays, with its doubt.
    let within_spread = (c.ratio - 1.0).abs() * 100.0 < c.spread_percent;
    let mark = match (c.slower, within_spread) {
        (true, false) => "  slower",
        (true, true) => "  slower (within the spread)",
        (false, _) => "",
    };
    format!(
        "{name:14} {:14} {:>12.decimals$} {:>12.decimals$} {:>8.3} {:>7.0}%{mark}",
        column.name, c.ours, c.theirs, c.ratio, c.spread_percent
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Latency;

    #[test]
    fn medians_and_spreads() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
        assert_eq!(spread(&[9.0, 10.0, 12.0]), 0.3);
    }

    #[test]
    fn less_throughput_and_more_latency_are_slower() {
        let figures = |ops_per_s, p50_us| {
            let latency = Latency { count: 1, p50_us, p99_us: 1.0, p99_9_us: 1.0, max_us: 1.0 };
            Figures::of(Workload::Set, ops_per_s, latency)
        };
        let mut cell = Cell::new(Shape { sessions: 1, outstanding: 1 }, Workload::Set);
        cell.push(Side::Ringkeeper, figures(50.0, 5.0));
        cell.push(Side::ZooKeeper, figures(100.0, 10.0));
        let (throughput, p50) = (cell.compare(COLUMNS[0]), cell.compare(COLUMNS[1]));
        assert_eq!((throughput.ratio, throughput.slower), (0.5, true));
        assert_eq!((p50.ratio, p50.slower), (0.5, false));
    }

    #[test]
    fn slower_is_marked_in_the_right_direction() {
        let c = |ratio: f64, slower| Comparison { ours: ratio, theirs: 1.0, ratio, spread_percent: 3.0, slower };
        assert!(row("1x1 set", COLUMNS[0], &c(0.5, true)).ends_with("3%  slower"));
        assert!(row("1x1 set", COLUMNS[1], &c(0.5, false)).ends_with("3%"));
        assert!(row("1x1 set", COLUMNS[0], &c(0.98, true)).ends_with("3%  slower (within the spread)"));
    }
}

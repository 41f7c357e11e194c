//! What the rounds of a row say: medians, the ratio with its spread over the paired rounds, "slower" where we are, and whether what
//! is demanded holds.

use super::rows::{Demand, FIGURES, Figure, Row};
use super::state::RowState;
use crate::figures::Figures;

/// One figure of a row.
#[derive(Clone, PartialEq, Debug)]
pub struct Line {
    /// Which.
    pub figure: Figure,
    /// Median over the rounds.
    pub ours: f64,
    /// Median over the rounds.
    pub theirs: f64,
    /// Ours ÷ theirs.
    pub ratio: Spread,
    /// What is demanded, and whether it holds.
    pub demand: Option<Judged>,
}

/// A value over the rounds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Spread {
    /// Middle.
    pub median: f64,
    /// Smallest.
    pub low: f64,
    /// Largest.
    pub high: f64,
}

/// A demand beside what was measured.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Judged {
    /// The demand.
    pub demand: Demand,
    /// By the median.
    pub holds: bool,
    /// In each round by itself.
    pub in_every_round: bool,
    /// By the median.
    pub aim_reached: bool,
}

impl Line {
    /// Whether we are worse, by the median of the ratios.
    pub fn is_slower(&self) -> bool {
        if self.figure.more_is_better() { self.ratio.median < 1.0 } else { self.ratio.median > 1.0 }
    }

    /// For the last column.
    pub fn remark(&self) -> String {
        let mut parts = Vec::new();
        if self.is_slower() && !self.figure.is_ours_alone() {
            let doubtful = self.ratio.low <= 1.0 && self.ratio.high >= 1.0;
            parts.push(if doubtful { "slower (within the spread)" } else { "slower" });
        }
        if let Some(judged) = &self.demand {
            parts.push(match (judged.holds, judged.in_every_round) {
                (true, true) => "holds",
                (true, false) => "holds, not in every round",
                (false, _) => "does not hold",
            });
        }
        parts.join("; ")
    }

    /// What is demanded, for people.
    pub fn demanded(&self) -> String {
        let sign = if self.figure.more_is_better() { "≥" } else { "≤" };
        self.demand.map_or_else(String::new, |judged| format!("{sign} {}", judged.demand.bound))
    }
}

impl Spread {
    /// Of at least one value.
    pub fn of(values: &[f64]) -> Option<Spread> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (low, high, middle) = (*sorted.first()?, *sorted.last()?, sorted.len() / 2);
        let median = if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
        Some(Spread { median, low, high })
    }
}

/// All figures that the rounds have on both sides, judged by the demands for so many servers.
pub fn lines(row: &Row, state: &RowState, servers: usize) -> Vec<Line> {
    let is_demanded = |figure: Figure| row.demands.iter().any(|demand| demand.figure == figure);
    let shown = FIGURES.iter().filter(|figure| !figure.is_ours_alone() || is_demanded(**figure));
    shown.filter_map(|figure| line(*figure, row, state, servers)).collect()
}

fn line(figure: Figure, row: &Row, state: &RowState, servers: usize) -> Option<Line> {
    let pairs: Option<Vec<(f64, f64)>> =
        state.rounds.iter().map(|round| Some((figure.of(&round.ours)?, figure.of(&round.theirs)?))).collect();
    let pairs = pairs?;
    let ours: Vec<f64> = pairs.iter().map(|pair| pair.0).collect();
    let theirs: Vec<f64> = pairs.iter().map(|pair| pair.1).collect();
    let ratios: Vec<f64> = pairs.iter().map(|(ours, theirs)| ours / theirs).filter(|ratio| ratio.is_finite()).collect();
    let demand = row.demands.iter().find(|demand| demand.figure == figure && demand.servers == servers);
    let judged = demand.and_then(|demand| judge(*demand, if figure.is_ours_alone() { &ours } else { &ratios }));
    Some(Line { figure, ours: Spread::of(&ours)?.median, theirs: Spread::of(&theirs)?.median, ratio: Spread::of(&ratios)?, demand: judged })
}

fn judge(demand: Demand, values: &[f64]) -> Option<Judged> {
    let reaches = |value: f64, bound: f64| if demand.figure.more_is_better() { value >= bound } else { value <= bound };
    let median = Spread::of(values)?.median;
    Some(Judged {
        demand,
        holds: reaches(median, demand.bound),
        in_every_round: values.iter().all(|value| reaches(*value, demand.bound)),
        aim_reached: demand.aim.is_some_and(|aim| reaches(median, aim)),
    })
}

/// Why figures of a row are in doubt.
pub fn warnings(state: &RowState, names: [&str; 2]) -> Vec<String> {
    let of = |side: fn(&super::state::Round) -> &Figures, name: &str| {
        let all: Vec<String> = state.rounds.iter().filter_map(|round| side(round).warning()).collect();
        all.first().map(|first| format!("{name}, {} of {} rounds: {first}", all.len(), state.rounds.len()))
    };
    [of(|round| &round.ours, names[0]), of(|round| &round.theirs, names[1])].into_iter().flatten().collect()
}

/// A figure with three digits or more, of any size.
pub fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Prints a row.
pub fn print(row: &Row, state: &RowState, servers: usize, judged_servers: usize, names: [&str; 2]) {
    let rounds = state.rounds.len();
    say!("\n{}: {}; {servers} server{}, {rounds} round{}", row.name, row.text, plural(servers), plural(rounds));
    if let Some(round) = state.rounds.first() {
        say!("  {:.1} s that count after {:.1} s of the same load", round.ours.seconds, round.ours.warmup_seconds);
    }
    say!("  {:16} {:>12} {:>12} {:>8}  {:17} {:>8}", "", names[0], names[1], "ratio", "(min..max)", "demand");
    for line in lines(row, state, judged_servers) {
        let spread = format!("({}..{})", short(line.ratio.low), short(line.ratio.high));
        let (ours, theirs, ratio) = (short(line.ours), short(line.theirs), short(line.ratio.median));
        let (name, demanded, remark) = (line.figure.name(), line.demanded(), line.remark());
        say!("{}", format!("  {name:16} {ours:>12} {theirs:>12} {ratio:>8}  {spread:17} {demanded:>8}  {remark}").trim_end());
    }
    if let Some(knee) = state.knee_per_s {
        say!("  the other side's closed loop reached {knee:.0} ops/s");
    }
    for warning in warnings(state, names) {
        say!("  WARNING: {warning}");
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::rows::ROWS;
    use crate::compare::state::Round;
    use crate::figures::Latency;
    use crate::limits::Limits;

    fn figures(ops_per_s: f64, p50_us: f64, cpu: f64) -> Figures {
        let latency = Latency { count: 1, p50_us, p99_us: 1.0, p99_9_us: 1.0, max_us: 1.0 };
        Figures { ops_per_s, latency, server_cpu_us_per_op: Some(cpu), ..Figures::default() }
    }

    fn state(rounds: &[(f64, f64)]) -> RowState {
        let round = |(ours, theirs): &(f64, f64)| Round {
            ours: figures(*ours, 10.0, 1.0),
            theirs: figures(*theirs, 5.0, 20.0),
            limits: Limits::default(),
        };
        RowState { name: "set-8x64".to_owned(), knee_per_s: None, rounds: rounds.iter().map(round).collect() }
    }

    fn line_of(state: &RowState, figure: Figure, servers: usize) -> Line {
        let row = ROWS.iter().find(|row| row.name == "set-8x64").expect("a row");
        lines(row, state, servers).into_iter().find(|line| line.figure == figure).expect("a line")
    }

    #[test]
    fn ratios_are_of_paired_rounds_and_demands_are_judged_by_the_median() {
        let state = state(&[(700.0, 100.0), (600.0, 100.0), (1600.0, 200.0)]);
        let line = line_of(&state, Figure::Throughput, 3);
        assert_eq!((line.ours, line.theirs, line.ratio), (700.0, 100.0, Spread { median: 7.0, low: 6.0, high: 8.0 }));
        assert_eq!((line.remark().as_str(), line.demanded().as_str()), ("holds, not in every round", "≥ 7"));
        assert!(!line.demand.expect("a demand").aim_reached);
        assert_eq!(line_of(&state, Figure::Cpu, 3).remark(), "holds");
        assert_eq!(line_of(&state, Figure::Throughput, 5).demand, None, "the demand is for three servers");
    }

    #[test]
    fn slower_is_said_in_the_right_direction() {
        let state = state(&[(50.0, 100.0), (70.0, 100.0)]);
        assert_eq!(line_of(&state, Figure::Throughput, 3).remark(), "slower; does not hold");
        assert_eq!(line_of(&state, Figure::P50, 3).remark(), "slower");
        assert_eq!(line_of(&state, Figure::Cpu, 3).remark(), "holds");
        let about_equal = self::state(&[(90.0, 100.0), (101.0, 100.0), (99.0, 100.0)]);
        assert_eq!(line_of(&about_equal, Figure::Throughput, 1).remark(), "slower (within the spread)");
    }

    #[test]
    fn numbers_keep_three_digits() {
        assert_eq!([12_345.6, 12.34, 1.234, 0.0123].map(short), ["12346", "12.3", "1.23", "0.012"]);
    }
}

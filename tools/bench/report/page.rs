//! The page's text and plots from what was measured: one part for each comparison and each set of scenarios.

use super::svg::{self, Bar, Dots, OURS, Series, THEIRS};
use crate::compare::rows::{Figure, ROWS, Row};
use crate::compare::state::{RowState, State};
use crate::compare::verdict::{Line, Spread, lines, short, warnings};
use crate::ensemble::System;
use crate::figures::Figures;
use crate::growth::{self, Dimension, Growth, Point};
use crate::host::Host;
use crate::scenario::Results;
use std::fmt::Write;

/// Load average above which a machine wasn't quiet.
const QUIET_LOAD_MAX: f64 = 0.7;

/// Text, and the plots that it shows by name.
#[derive(Default)]
pub struct Page {
    /// Markdown.
    pub text: String,
    /// Name and SVG.
    pub plots: Vec<(String, String)>,
}

impl Page {
    fn say(&mut self, text: &str) {
        self.text += text;
        self.text.push('\n');
    }

    fn plot(&mut self, name: &str, alt: &str, svg: String) {
        self.say(&format!("![{alt}](performance/{name}.svg)\n"));
        self.plots.push((format!("{name}.svg"), svg));
    }

    /// Where and when.
    fn host(&mut self, host: &Host, file: &str) {
        let Host { kind, cores, memory_mib, kernel, filesystem, commit, date, load_average } = host;
        let quiet = if *load_average > QUIET_LOAD_MAX {
            format!(" **The machine was not quiet when it began (load average {load_average}): figures that hang on time say little.**")
        } else {
            String::new()
        };
        self.say(&format!(
            "Measured {date} at commit {commit} on a {kind}, {cores} cores, {memory_mib} MiB, kernel {kernel}, {filesystem}; from {file}.{quiet}\n"
        ));
    }

    /// `stem`, with a number behind it if another comparison of as many servers has its plots under that name already.
    fn unused(&self, stem: String) -> String {
        let is_free = |stem: &String| !self.plots.iter().any(|(name, _)| name.starts_with(&format!("{stem}-")));
        let numbered = (2..).map(|number| format!("{stem}.{number}"));
        std::iter::once(stem.clone()).chain(numbered).find(is_free).unwrap_or_default()
    }

    /// A comparison.
    pub fn comparison(&mut self, state: &State, file: &str) {
        let (servers, judged) = (state.setup.servers, state.setup.judged_servers());
        let names = [0, 1].map(|side| state.setup.sides.get(side).map_or("", |system| system.name()));
        self.say(&format!("## {servers} server{} of {} and of {}\n", if servers == 1 { "" } else { "s" }, names[0], names[1]));
        self.host(&state.host, file);
        self.how(state);
        let rows: Vec<(&Row, &RowState)> = ROWS.iter().filter_map(|row| Some((row, find(state, row.name)?))).collect();
        self.demands(&rows, judged, names);
        let stem = if state.is_ours() { format!("compare-{servers}") } else { format!("compare-{servers}-{}", names.join("-")) };
        let stem = self.unused(stem);
        if state.setup.sides.contains(&System::Bare) {
            self.say(
                "A bare server makes its answers up: one thread, one receive and one send for what lies ready on a connection, nothing looked \
                 up, kept or ordered. What it doesn't reach no server on this machine does.\n",
            );
        }
        if state.setup.sides.contains(&System::Etcd) {
            self.say(&format!(
                "etcd {} by its own Go client: a session is a connection, its znode a key; writes are puts, reads are serializable gets. What its \
                 client uses of the machine isn't counted as the servers', but takes more of it from them than ours does.\n",
                state.setup.etcd_version
            ));
        }
        let of = format!("ratio to {}, {servers} servers", names[1]);
        self.ratio_plot(&format!("{stem}-throughput"), &of, &rows, judged, Figure::Throughput);
        self.ratio_plot(&format!("{stem}-cpu"), &of, &rows, judged, Figure::Cpu);
        self.latency_plot(&format!("{stem}-latency"), &rows, servers, names);
        for (row, row_state) in &rows {
            self.row(row, row_state, judged, names);
        }
    }

    fn how(&mut self, state: &State) {
        let setup = &state.setup;
        let limits: Vec<_> = state.rows.iter().flat_map(|row| row.rounds.iter().map(|round| round.limits)).collect();
        let java = if setup.sides.contains(&System::ZooKeeper) {
            format!(" ZooKeeper {} on {} ({}).", setup.zookeeper_version, setup.java, setup.java_options.join(" "))
        } else {
            String::new()
        };
        let of = |value: fn(&crate::limits::Limits) -> f64| Spread::of(&limits.iter().map(value).collect::<Vec<_>>());
        self.say(&format!(
            "Each round starts both sides anew, one after the other, {}: {} s of busy load and {} s of the row's own that \
             don't count, then {} s that do.{} The ratio is of paired rounds: median, least and most.\n",
            if setup.sides.contains(&System::Etcd) { "each as it comes" } else { "with the same `zoo.cfg`" },
            setup.conditioning,
            setup.warmup,
            setup.seconds,
            java
        ));
        if let (Some(sync), Some(echo)) = (of(|limits| limits.sync.p50_us), of(|limits| limits.echo.p50_us)) {
            let range = |spread: Spread| format!("{} µs ({} to {})", short(spread.median), short(spread.low), short(spread.high));
            let (sync, echo) = (range(sync), range(echo));
            self.say(&format!("The machine itself, median of each round: 4 KiB to the device {sync}, TCP there and back {echo}.\n"));
        }
        if setup.scale_down != 1 {
            self.say(&format!("**Scenarios had one of {} of their sessions only.**\n", setup.scale_down));
        }
        if setup.slowed_percent > 0 {
            self.say(&format!("**The first side was stopped for {} % of the time on purpose.**\n", setup.slowed_percent));
        }
    }

    fn demands(&mut self, rows: &[(&Row, &RowState)], servers: usize, names: [&str; 2]) {
        let mut table = String::new();
        for (row, state) in rows {
            for line in lines(row, state, servers).iter().filter(|line| line.demand.is_some()) {
                let measured = if line.figure.is_ours_alone() { short(line.ours) } else { ratio(line) };
                let aim = line.demand.and_then(|judged| judged.demand.aim).map_or_else(String::new, |aim| aim.to_string());
                let reached = if line.demand.is_some_and(|judged| judged.holds && judged.aim_reached) { "; aim reached" } else { "" };
                let (figure, demanded, remark) = (line.figure.name(), line.demanded(), line.remark());
                let _ = writeln!(table, "| {} | {figure} | {demanded} | {aim} | {measured} | {remark}{reached} |", row.text);
            }
        }
        if table.is_empty() {
            return;
        }
        self.say(&format!(
            "### What is demanded ({} ÷ {})\n\n| row | figure | must hold | aim | measured | |\n|---|---|---|---|---|---|",
            names[0], names[1]
        ));
        self.say(&table);
    }

    fn row(&mut self, row: &Row, state: &RowState, servers: usize, names: [&str; 2]) {
        let rounds = state.rounds.len();
        self.say(&format!("### {}\n\n`{}`, {rounds} rounds.\n", row.text, row.name));
        self.say(&format!("| | {} | {} | ratio (least to most) | |\n|---|---|---|---|---|", names[0], names[1]));
        for line in lines(row, state, servers) {
            let remark = line.remark();
            self.say(&format!("| {} | {} | {} | {} | {remark} |", line.figure.name(), short(line.ours), short(line.theirs), ratio(&line)));
        }
        self.say("");
        if let Some(knee) = state.knee_per_s {
            self.say(&format!("The other side's closed loop reached {knee:.0} requests a second.\n"));
        }
        for warning in warnings(state, names) {
            self.say(&format!("- {warning}"));
        }
        self.say("");
    }

    fn ratio_plot(&mut self, name: &str, of: &str, rows: &[(&Row, &RowState)], judged_servers: usize, figure: Figure) {
        let bar = |(row, state): &(&Row, &RowState)| {
            let line = lines(row, state, judged_servers).into_iter().find(|line| line.figure == figure)?;
            let Spread { median, low, high } = line.ratio;
            Some(Bar { label: row.text.to_owned(), value: median, low, high, bound: line.demand.map(|judged| judged.demand.bound) })
        };
        let bars: Vec<Bar> = rows.iter().filter_map(bar).collect();
        if !bars.is_empty() {
            let title = format!("{}: {of}", figure.name());
            self.plot(name, &title, svg::bars(&title, figure.more_is_better(), &bars));
        }
    }

    fn latency_plot(&mut self, name: &str, rows: &[(&Row, &RowState)], servers: usize, names: [&str; 2]) {
        let dots = |(row, state): &(&Row, &RowState)| {
            let all = lines(row, state, servers);
            let of = |figure: Figure| all.iter().find(|line| line.figure == figure);
            let (p50, p999) = (of(Figure::P50)?, of(Figure::P999)?);
            Some(Dots { label: row.text.to_owned(), ours: (p50.ours, p999.ours), theirs: (p50.theirs, p999.theirs) })
        };
        let all: Vec<Dots> = rows.iter().filter_map(dots).collect();
        if !all.is_empty() {
            let title = format!("Latency from p50 to p99.9, {servers} servers");
            self.plot(name, &title, svg::dots(&title, " µs", names, &all));
        }
    }

    /// How the rows that several comparisons, each of another number of servers, have change with that number.
    pub fn growth(&mut self, states: &[&State]) {
        if states.len() < 2 {
            return;
        }
        let mut series = Vec::new();
        for row in ROWS {
            let of = |ours: bool| -> Vec<(f64, f64)> {
                let point = |state: &&State| {
                    let line = lines(row, find(state, row.name)?, state.setup.servers)
                        .into_iter()
                        .find(|line| line.figure == Figure::Throughput)?;
                    Some((state.setup.servers as f64, if ours { line.ours } else { line.theirs }))
                };
                states.iter().filter_map(point).collect()
            };
            for (points, colour) in [(of(true), OURS), (of(false), THEIRS)] {
                if points.len() > 1 {
                    series.push(Series { label: row.name.to_owned(), colour, points });
                }
            }
        }
        if series.is_empty() {
            return;
        }
        self.say("## By the number of servers\n");
        let ticks: Vec<(f64, String)> =
            states.iter().map(|state| (state.setup.servers as f64, format!("{} servers", state.setup.servers))).collect();
        let title = "Requests a second by the number of servers";
        self.plot("growth-servers", title, svg::lines(title, &[(OURS, "Ringkeeper"), (THEIRS, "ZooKeeper")], &ticks, &series));
    }

    /// How it goes with more of everything.
    pub fn more_of_everything(&mut self, growth: &Growth, file: &str) {
        self.say("## More of everything\n");
        self.host(&growth.host, file);
        self.say(&format!("Each point on servers of its own, {} s that count; one server unless it says more.\n", growth.seconds));
        for dimension in <Dimension as clap::ValueEnum>::value_variants() {
            let points: Vec<&Point> = growth.points.iter().filter(|point| point.dimension == *dimension).collect();
            if !points.is_empty() {
                self.dimension(*dimension, &points, file);
            }
        }
    }

    fn dimension(&mut self, dimension: Dimension, points: &[&Point], file: &str) {
        self.say(&format!("### More {}\n", dimension.name()));
        self.say(&format!(
            "| {} | | sessions × outstanding | ops/s | p50 µs | p99 µs | p99.9 µs | CPU µs/op | MiB of a server |",
            dimension.name()
        ));
        self.say("|---|---|---|---|---|---|---|---|---|");
        for Point { at, figures, .. } in points {
            let Figures { name, sessions, outstanding, latency: l, .. } = figures;
            let numbers = [figures.ops_per_s, l.p50_us, l.p99_us, l.p99_9_us].map(short).join(" | ");
            let cpu = figures.server_cpu_us_per_op.map_or_else(String::new, short);
            let memory = figures.extra.get(growth::RSS_MIB).map_or_else(String::new, |mib| short(*mib));
            self.say(&format!("| {at} | {name} | {sessions} × {outstanding} | {numbers} | {cpu} | {memory} |"));
        }
        self.say("");
        let mut places: Vec<usize> = points.iter().map(|point| point.at).collect();
        places.dedup();
        let place = |at: usize| places.iter().position(|place| *place == at).unwrap_or(0) as f64;
        let mut works: Vec<&str> = points.iter().map(|point| point.figures.name.as_str()).collect();
        works.sort_unstable();
        works.dedup();
        let series = works.iter().zip([OURS, THEIRS].into_iter().cycle()).map(|(work, colour)| Series {
            label: (*work).to_owned(),
            colour,
            points: points.iter().filter(|p| p.figures.name == *work).map(|p| (place(p.at), p.figures.ops_per_s)).collect(),
        });
        if places.len() > 1 {
            let title = format!("Requests a second with more {}", dimension.name());
            let ticks: Vec<(f64, String)> = places.iter().map(|at| (place(*at), at.to_string())).collect();
            let name = format!("{}-{}", stem(file), dimension.name().replace(' ', "-"));
            self.plot(&name, &title, svg::lines(&title, &[], &ticks, &series.collect::<Vec<_>>()));
        }
    }

    /// Scenarios that were run by themselves.
    pub fn scenarios(&mut self, results: &Results, file: &str) {
        self.say("## Scenarios\n");
        self.host(&results.host, file);
        self.say("| | sessions × outstanding | bytes | ops/s | p50 µs | p99 µs | p99.9 µs | max µs | CPU µs/op | |\n|---|---|---|---|---|---|---|---|---|---|");
        for figures in &results.figures {
            self.say(&scenario_row(figures));
        }
        self.say("");
        let share = |figures: &Figures| figures.name.strip_prefix("mixed:").and_then(|percent| percent.parse::<f64>().ok());
        let points: Vec<(f64, f64)> = results.figures.iter().filter_map(|figures| Some((share(figures)?, figures.ops_per_s))).collect();
        if points.len() > 1 {
            let ticks: Vec<(f64, String)> = points.iter().map(|(percent, _)| (*percent, format!("{percent} %"))).collect();
            let (title, name) = ("Requests a second by the share of reads", format!("{}-read-ratio", stem(file)));
            let series = [Series { label: "ops/s".to_owned(), colour: OURS, points }];
            self.plot(&name, title, svg::lines(title, &[], &ticks, &series));
        }
    }
}

fn find<'a>(state: &'a State, name: &str) -> Option<&'a RowState> {
    state.rows.iter().find(|row| row.name == name && !row.rounds.is_empty())
}

fn ratio(line: &Line) -> String {
    format!("{} ({} to {})", short(line.ratio.median), short(line.ratio.low), short(line.ratio.high))
}

fn stem(file: &str) -> &str {
    file.rsplit_once('.').map_or(file, |(stem, _)| stem)
}

fn scenario_row(figures: &Figures) -> String {
    let Figures { name, sessions, outstanding, value_bytes, latency: l, .. } = figures;
    let cpu = figures.server_cpu_us_per_op.map_or_else(String::new, short);
    let extra: Vec<String> = figures.extra.iter().map(|(name, value)| format!("{name} {}", short(*value))).collect();
    let numbers = [figures.ops_per_s, l.p50_us, l.p99_us, l.p99_9_us, l.max_us].map(short).join(" | ");
    format!("| {name} | {sessions} × {outstanding} | {value_bytes} | {numbers} | {cpu} | {} |", extra.join(", "))
}

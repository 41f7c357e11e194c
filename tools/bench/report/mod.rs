//! `report`: one page with tables and plots from the figures that were measured, and from nothing else.
//!
//! Guarantees: the same files give the same page; a file that isn't understood is named on it, not passed over.

mod page;
mod svg;

use crate::compare::state::{FORMAT, State};
use crate::growth::{self, Growth};
use crate::scenario::{RESULTS_FORMAT, Results};
use crate::{Failure, create_dir};
use page::Page;
use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};

/// What `report` takes.
#[derive(clap::Args)]
pub struct ReportArguments {
    /// Directory with the figures as JSON.
    #[arg(long, default_value = "benches/results")]
    results: PathBuf,
    /// The page; its plots go into a directory of its name beside it.
    #[arg(long, default_value = "docs/performance.md")]
    page: PathBuf,
}

/// What the directory holds.
#[derive(Default)]
struct Found {
    comparisons: Vec<(String, State)>,
    scenarios: Vec<(String, Results)>,
    growths: Vec<(String, Growth)>,
    others: Vec<String>,
}

/// Renders the page.
pub fn report(arguments: &ReportArguments) -> Result<(), Failure> {
    let mut found = read(&arguments.results)?;
    // Of several with as many servers the one with most rows comes first: the others measure some of its rows once more.
    found.comparisons.sort_by_key(|(_, state)| (state.setup.servers, !state.is_ours(), Reverse(state.rows.len())));
    let page = render(&found);
    let failed = |path: &Path, e: std::io::Error| format!("{}: {e}", path.display());
    let plots = arguments.page.with_extension("");
    let stem = plots.file_name().map(|name| name.to_string_lossy().into_owned()).ok_or("--page names no file")?;
    create_dir(&plots)?;
    for (name, svg) in &page.plots {
        fs::write(plots.join(name), svg).map_err(|e| failed(&plots, e))?;
    }
    let text = page.text.replace("](performance/", &format!("]({stem}/"));
    fs::write(&arguments.page, text).map_err(|e| failed(&arguments.page, e))?;
    say!(
        "{}, {} plots, from {} files",
        arguments.page.display(),
        page.plots.len(),
        found.comparisons.len() + found.scenarios.len() + found.growths.len()
    );
    Ok(())
}

fn read(dir: &Path) -> Result<Found, Failure> {
    let failed = |path: &Path, e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let entries = fs::read_dir(dir).map_err(|e| failed(dir, &e))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let mut found = Found::default();
    for path in paths {
        let text = fs::read_to_string(&path).map_err(|e| failed(&path, &e))?;
        let value: serde_json::Value = serde_json::from_str(&text).map_err(|e| failed(&path, &e))?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match value.get("format").and_then(serde_json::Value::as_str) {
            Some(FORMAT) => found.comparisons.push((name, serde_json::from_value(value).map_err(|e| failed(&path, &e))?)),
            Some(RESULTS_FORMAT) => found.scenarios.push((name, serde_json::from_value(value).map_err(|e| failed(&path, &e))?)),
            Some(growth::FORMAT) => found.growths.push((name, serde_json::from_value(value).map_err(|e| failed(&path, &e))?)),
            _ => found.others.push(name),
        }
    }
    Ok(found)
}

fn render(found: &Found) -> Page {
    let mut page = Page::default();
    page.text += "# Performance\n\nRendered by `ringkeeper-bench report` from the files below `benches/results/`; don't edit it. How it is measured \
                  stands in [testing.md](testing.md). All servers and the generator share one machine: ratios mean more than figures. \
                  Why a row doesn't hold, and what the limit is, stands in [limits.md](limits.md).\n\n";
    for (file, state) in &found.comparisons {
        page.comparison(state, file);
    }
    let mut ours: Vec<&State> = found.comparisons.iter().map(|(_, state)| state).filter(|state| state.is_ours()).collect();
    ours.dedup_by_key(|state| state.setup.servers);
    page.growth(&ours);
    for (file, growth) in &found.growths {
        page.more_of_everything(growth, file);
    }
    for (file, results) in &found.scenarios {
        page.scenarios(results, file);
    }
    if found.comparisons.is_empty() && found.scenarios.is_empty() && found.growths.is_empty() {
        page.text += "Nothing has been measured yet.\n\n";
    }
    if !found.others.is_empty() {
        page.text += &format!("Of an older form, not shown here: {}.\n", found.others.join(", "));
    }
    page.text.truncate(page.text.trim_end().len());
    page.text.push('\n');
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::state::{Round, Setup};
    use crate::ensemble::System;
    use crate::figures::{Figures, Latency};
    use crate::growth::{Dimension, Point};
    use crate::host::Host;
    use crate::limits::Limits;

    fn state(servers: usize, ours: f64, theirs: f64) -> State {
        let latency = Latency { count: 9, p50_us: 5.0, p99_us: 7.0, p99_9_us: 8.0, max_us: 9.0 };
        let figures = |ops_per_s| Figures { ops_per_s, latency, server_cpu_us_per_op: Some(2.0), ..Figures::default() };
        let sides = vec![System::Ringkeeper, System::ZooKeeper];
        let setup = Setup { servers, sides, scale_down: 1, ..Setup::default() };
        let mut state = State { format: FORMAT.to_owned(), host: Host { load_average: 9.0, ..Host::default() }, setup, rows: Vec::new() };
        let round = Round { ours: figures(ours), theirs: figures(theirs), limits: Limits::default() };
        state.row("set-8x64").rounds.push(round);
        state
    }

    #[test]
    fn a_page_shows_every_file_every_demand_and_every_plot() {
        let dir = tempfile::tempdir().expect("a directory");
        let results = dir.path().join("results");
        for (servers, ours, file) in [(1, 50.0, "1.json"), (1, 60.0, "1-again.json"), (3, 900.0, "3.json")] {
            state(servers, ours, 100.0).save(&results.join(file)).expect("written");
        }
        fs::write(results.join("old.json"), "{}").expect("written");
        let mixed = |name: &str| Figures { name: name.to_owned(), ops_per_s: 5.0, ..Figures::default() };
        let scenarios =
            Results { format: RESULTS_FORMAT.to_owned(), host: Host::default(), figures: vec![mixed("mixed:0"), mixed("mixed:100")] };
        fs::write(results.join("s.json"), serde_json::to_string(&scenarios).expect("JSON")).expect("written");
        let point = |at| Point {
            dimension: Dimension::Znodes,
            at,
            figures: Figures { name: "set".to_owned(), ops_per_s: 7.0, ..Figures::default() },
        };
        let growth = Growth { format: growth::FORMAT.to_owned(), points: vec![point(10), point(1000)], ..Growth::default() };
        fs::write(results.join("g.json"), serde_json::to_string(&growth).expect("JSON")).expect("written");
        let page = dir.path().join("speed.md");
        report(&ReportArguments { results, page: page.clone() }).expect("a page");
        let text = fs::read_to_string(&page).expect("a page");
        for part in [
            "| setData 100 B, 8 sessions × 64 outstanding | ops/s | ≥ 7 | 12 | 9.00 (9.00 to 9.00) | holds |",
            "| ops/s | 50.0 | 100 | 0.500 (0.500 to 0.500) | slower |",
            "does not hold",
            "The machine was not quiet",
            "not shown here: old.json",
            "(speed/compare-1-cpu.svg)",
            "(speed/compare-1.2-cpu.svg)",
            "(speed/growth-servers.svg)",
            "(speed/s-read-ratio.svg)",
            "(speed/g-znodes.svg)",
            "| 1000 | set |",
        ] {
            assert!(text.contains(part), "{part} isn't in\n{text}");
        }
        let plots = fs::read_dir(dir.path().join("speed")).expect("plots").count();
        assert_eq!(plots, text.matches("](speed/").count());
    }
}

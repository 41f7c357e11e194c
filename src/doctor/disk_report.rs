//! What measuring a disk gave: the cases, their figures, and both forms of the report. Measuring itself is left to `runtime`.

use super::disk_advice::{Advice, advise};
use super::tree::Tree;
use serde::Serialize;
use std::fmt::Write;

/// How a block becomes durable; named as the values of `ringkeeper.log.sync`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sync {
    /// The write itself (O_DSYNC).
    Dsync,
    /// A write, then fdatasync.
    Fdatasync,
}

impl Sync {
    /// As in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Sync::Dsync => "dsync",
            Sync::Fdatasync => "fdatasync",
        }
    }
}

/// One way of writing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Case {
    /// How a block becomes durable.
    pub sync: Sync,
    /// Bytes of a block.
    pub block_bytes: u32,
    /// Files that are written at the same time, each with one block in flight.
    pub writers: u8,
}

/// Files that are written at the same time.
pub const WRITERS: [u8; 4] = [1, 2, 4, 8];
/// Sizes of blocks, in bytes. The first one is what advice goes by: a batch of an idle server.
pub const BLOCK_BYTES: [u32; 3] = [4 << 10, 16 << 10, 64 << 10];

/// Above this the figures are partly those of the processors.
const CPU_WAITED_PERCENT_MAX: f64 = 10.0;

/// Microseconds in which some task waited for a processor, by `/proc/pressure/cpu`.
#[must_use]
pub fn cpu_waited_us(tree: &Tree) -> Option<u64> {
    let text = tree.text("/proc/pressure/cpu");
    let some = text.known()?.lines().find_map(|line| line.strip_prefix("some "))?;
    some.split_whitespace().find_map(|word| word.strip_prefix("total=")?.parse().ok())
}

/// All cases; those that advice needs come first, so that they are measured even when time is short.
#[must_use]
pub fn cases() -> Vec<Case> {
    let sizes = BLOCK_BYTES.iter().flat_map(|block_bytes| WRITERS.iter().map(move |writers| (*block_bytes, *writers)));
    sizes.flat_map(|(block_bytes, writers)| [Sync::Dsync, Sync::Fdatasync].map(|sync| Case { sync, block_bytes, writers })).collect()
}

/// What a case gave.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Figure {
    /// The case.
    #[serde(flatten)]
    pub case: Case,
    /// Durable blocks, of all writers.
    pub syncs: u64,
    /// Of them in a second.
    pub per_second: f64,
    /// µs; half of them took no longer.
    pub p50_us: f64,
    /// µs; 99 of 100.
    pub p99_us: f64,
    /// µs; all of them.
    pub max_us: f64,
}

/// What measuring a disk gave.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct DiskReport {
    /// Where.
    pub dir: String,
    /// `io_uring`, as a server writes, or `threads`: one with plain system calls for each writer.
    pub through: &'static str,
    /// Why not as a server writes.
    pub why_threads: Option<String>,
    /// Seconds of measuring.
    pub seconds: f64,
    /// Share of that time in which some task of the host waited for a processor; `None` when the kernel doesn't say.
    pub cpu_waited_percent: Option<f64>,
    /// In the order of [`cases`]; those that there was no time for are left out.
    pub figures: Vec<Figure>,
    /// Settings that the figures speak for.
    pub advice: Option<Advice>,
}

impl DiskReport {
    /// With the advice that the figures give.
    #[must_use]
    pub fn of(dir: String, why_threads: Option<String>, seconds: f64, cpu_waited_percent: Option<f64>, figures: Vec<Figure>) -> DiskReport {
        let through = if why_threads.is_some() { "threads" } else { "io_uring" };
        let advice = advise(&figures);
        DiskReport { dir, through, why_threads, seconds, cpu_waited_percent, figures, advice }
    }

    /// A table, and lines for `zoo.cfg` with their reasons.
    #[must_use]
    pub fn table(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "{}: measured through {} for {:.1} s", self.dir, self.through, self.seconds);
        if let Some(why) = &self.why_threads {
            let _ = writeln!(out, "not as a server writes, but with plain system calls, a thread for each writer: {why}");
        }
        if let Some(percent) = self.busy_percent() {
            let _ = writeln!(
                out,
                "the processors were busy: in {percent:.0} % of the time a task waited for one, so latencies aren't the disk's alone, and \
                 scaling looks better than it is; measure again on a quiet host"
            );
        }
        let _ = writeln!(
            out,
            "\n{:<10} {:>4} {:>8} {:>9} {:>9} {:>9} {:>9} {:>8}",
            "sync", "KiB", "writers", "syncs/s", "p50 us", "p99 us", "max us", "scaling"
        );
        for figure in &self.figures {
            let Case { sync, block_bytes, writers } = figure.case;
            let scaling = self.scaling(figure).map_or_else(|| "-".to_owned(), |n| format!("{n:.2}"));
            let Figure { per_second, p50_us, p99_us, max_us, .. } = figure;
            let _ = writeln!(
                out,
                "{:<10} {:>4} {writers:>8} {per_second:>9.0} {p50_us:>9.0} {p99_us:>9.0} {max_us:>9.0} {scaling:>8}",
                sync.name(),
                block_bytes >> 10
            );
        }
        self.recommend(&mut out);
        out
    }

    /// How busy the processors were, if that is to be told.
    fn busy_percent(&self) -> Option<f64> {
        self.cpu_waited_percent.filter(|percent| *percent > CPU_WAITED_PERCENT_MAX)
    }

    /// Syncs a second as a multiple of those of one writer.
    fn scaling(&self, figure: &Figure) -> Option<f64> {
        let one = self.figures.iter().find(|other| other.case == Case { writers: 1, ..figure.case })?;
        (one.per_second > 0.0).then(|| figure.per_second / one.per_second)
    }

    fn recommend(&self, out: &mut String) {
        let left_out = cases().len() - self.figures.len().min(cases().len());
        if left_out > 0 {
            let _ = writeln!(out, "\n{left_out} cases were left out: there was no time for them (--seconds)");
        }
        let doubt = if self.busy_percent().is_some() { " (doubtful, since the processors were busy)" } else { "" };
        let Some(advice) = &self.advice else {
            let _ = writeln!(out, "\nno recommendation: too little was measured (--seconds)");
            return;
        };
        let _ = writeln!(
            out,
            "\nrecommended for zoo.cfg{doubt}:\nringkeeper.log.shards={}\nringkeeper.log.sync={}",
            advice.shards,
            advice.sync.name()
        );
        for reason in &advice.reasons {
            let _ = writeln!(out, "because {reason}");
        }
    }

    /// One JSON object.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::forge::Forged;
    use super::*;

    fn figure(case: Case, per_second: f64) -> Figure {
        Figure { case, syncs: 1000, per_second, p50_us: 100.0, p99_us: 300.4, max_us: 900.0 }
    }

    #[test]
    fn the_cases_cover_each_combination_once_the_small_blocks_first() {
        let cases = cases();
        assert_eq!(cases.len(), 24);
        assert!(cases.iter().enumerate().all(|(at, case)| !cases[..at].contains(case)));
        assert!(cases[..8].iter().all(|case| case.block_bytes == 4096));
    }

    #[test]
    fn the_table_has_figures_settings_and_reasons() {
        let figures: Vec<Figure> = cases().into_iter().take(8).map(|case| figure(case, 1000.0 * f64::from(case.writers))).collect();
        let report = DiskReport::of("/srv/log".into(), Some("io_uring can't be used: it is blocked".into()), 1.0, Some(42.0), figures);
        let table = report.table();
        for part in [
            "/srv/log: measured through threads for 1.0 s\nnot as a server writes",
            "\nthe processors were busy: in 42 % of the time",
            "\ndsync         4        8      8000       100       300       900     8.00\n",
            "\n16 cases were left out",
            "\nrecommended for zoo.cfg (doubtful, since the processors were busy):\nringkeeper.log.shards=8\nringkeeper.log.sync=dsync\nbecause ",
        ] {
            assert!(table.contains(part), "{part:?} isn't in\n{table}");
        }
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!((&json["advice"]["shards"], &json["advice"]["sync"]), (&8.into(), &"dsync".into()));
        assert_eq!((&json["figures"][2]["writers"], &json["figures"][2]["block_bytes"]), (&2.into(), &4096.into()));
    }

    #[test]
    fn waiting_for_a_processor_is_read_where_the_kernel_says_it() {
        let host = Forged::new();
        assert_eq!(cpu_waited_us(&host.tree()), None);
        host.put("/proc/pressure/cpu", "some avg10=1.0 avg60=2.0 avg300=3.0 total=4567\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n");
        assert_eq!(cpu_waited_us(&host.tree()), Some(4567));
        host.put("/proc/pressure/cpu", "some total=much\n");
        assert_eq!(cpu_waited_us(&host.tree()), None);
    }

    #[test]
    fn nothing_measured_is_no_recommendation() {
        let report = DiskReport::of("d".into(), None, 0.0, None, Vec::new());
        assert!(report.advice.is_none() && report.table().contains("no recommendation"));
    }
}

//! From figures of a disk to `ringkeeper.log.shards` and `ringkeeper.log.sync`, with the reasons.
//!
//! The rules are plain on purpose: the default stays unless another value is clearly better, since figures of a shared disk differ
//! by a tenth from one minute to the next.

use super::disk_report::{BLOCK_BYTES, Case, Figure, Sync, WRITERS};
use serde::Serialize;

/// fdatasync must be so much better than a write with O_DSYNC.
const BETTER_SYNC: f64 = 1.15;
/// Twice the shards must give so many times the syncs.
const BETTER_SHARDS: f64 = 1.3;
/// And their p99 must stay below so many times that of one.
const TAIL_MAX: f64 = 3.0;
/// Fewer syncs make a figure doubtful.
const SYNCS_FEW: u64 = 100;

/// Settings that the figures speak for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Advice {
    /// For `ringkeeper.log.shards`.
    pub shards: u8,
    /// For `ringkeeper.log.sync`.
    pub sync: Sync,
    /// Why, as ends of sentences that begin with "because".
    pub reasons: Vec<String>,
}

/// What the figures of small blocks speak for; `None` when those of one writer are missing.
#[must_use]
pub fn advise(figures: &[Figure]) -> Option<Advice> {
    let of = |sync, writers| figures.iter().find(|figure| figure.case == Case { sync, writers, block_bytes: BLOCK_BYTES[0] });
    let dsync = of(Sync::Dsync, 1)?;
    let mut reasons = Vec::new();
    let sync = match of(Sync::Fdatasync, 1) {
        Some(fdatasync) => {
            let pairs = [Some((dsync, fdatasync)), of(Sync::Dsync, 2).zip(of(Sync::Fdatasync, 2))];
            choose_sync(pairs.into_iter().flatten(), &mut reasons)
        }
        None => Sync::Dsync,
    };
    let one = of(sync, 1)?;
    let mut best = one;
    for writers in &WRITERS[1..] {
        let Some(next) = of(sync, *writers) else { break };
        let gain = next.per_second / best.per_second.max(f64::MIN_POSITIVE);
        let (now, then) = (best.case.writers, next.case.writers);
        let rates =
            format!("{now} in parallel make {:.0} syncs/s, {then} make {:.0} ({gain:.2} times as many)", best.per_second, next.per_second);
        if gain < BETTER_SHARDS {
            reasons.push(format!("{rates}: more than {now} aren't worth it"));
            break;
        }
        if next.p99_us > one.p99_us * TAIL_MAX {
            reasons.push(format!("{rates}, but p99 grows from {:.0} to {:.0} us", one.p99_us, next.p99_us));
            break;
        }
        reasons.push(rates);
        best = next;
    }
    if figures.iter().any(|figure| figure.case.block_bytes == BLOCK_BYTES[0] && figure.syncs < SYNCS_FEW) {
        reasons.push(format!("(some figures rest on fewer than {SYNCS_FEW} syncs; a longer --seconds is surer)"));
    }
    Some(Advice { shards: best.case.writers, sync, reasons })
}

/// By the mean ratio (geometric) over the pairs.
fn choose_sync<'a>(pairs: impl Iterator<Item = (&'a Figure, &'a Figure)>, reasons: &mut Vec<String>) -> Sync {
    let (mut product, mut count) = (1.0, 0);
    for (dsync, fdatasync) in pairs {
        product *= fdatasync.per_second / dsync.per_second.max(f64::MIN_POSITIVE);
        count += 1;
    }
    let ratio = f64::powf(product, 1.0 / f64::from(count.max(1)));
    if ratio > BETTER_SYNC {
        reasons.push(format!("fdatasync makes {ratio:.2} times the syncs of O_DSYNC, one and two in parallel"));
        return Sync::Fdatasync;
    }
    let verdict = if ratio < 1.0 / BETTER_SYNC { "" } else { ", which is no clear difference: the default stays" };
    reasons.push(format!("fdatasync makes {ratio:.2} times the syncs of O_DSYNC, one and two in parallel{verdict}"));
    Sync::Dsync
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Figures with these rates for 1, 2, 4, 8 writers.
    fn figures(dsync: [f64; 4], fdatasync: [f64; 4]) -> Vec<Figure> {
        let of = |sync, rates: [f64; 4]| {
            WRITERS.iter().zip(rates).map(move |(writers, per_second)| Figure {
                case: Case { sync, writers: *writers, block_bytes: BLOCK_BYTES[0] },
                syncs: 1000,
                per_second,
                p50_us: 100.0,
                p99_us: 200.0,
                max_us: 300.0,
            })
        };
        of(Sync::Dsync, dsync).chain(of(Sync::Fdatasync, fdatasync)).collect()
    }

    fn advised(dsync: [f64; 4], fdatasync: [f64; 4]) -> (u8, Sync) {
        let advice = advise(&figures(dsync, fdatasync)).unwrap();
        (advice.shards, advice.sync)
    }

    #[test]
    fn shards_grow_as_long_as_the_disk_scales() {
        let slow = [10.0; 4];
        assert_eq!(advised([3400.0, 7400.0, 13_500.0, 15_700.0], slow), (4, Sync::Dsync));
        assert_eq!(advised([100.0, 110.0, 400.0, 900.0], slow), (1, Sync::Dsync));
        assert_eq!(advised([100.0, 150.0, 300.0, 600.0], slow), (8, Sync::Dsync));
    }

    #[test]
    fn the_default_sync_stays_unless_the_other_is_clearly_better() {
        assert_eq!(advised([100.0, 200.0, 200.0, 200.0], [110.0, 220.0, 220.0, 220.0]), (2, Sync::Dsync));
        assert_eq!(advised([100.0, 200.0, 200.0, 200.0], [130.0, 240.0, 400.0, 400.0]), (4, Sync::Fdatasync));
    }

    #[test]
    fn a_long_tail_ends_the_growth_and_few_syncs_are_told() {
        let mut all = figures([100.0, 200.0, 400.0, 800.0], [1.0; 4]);
        all[2].p99_us = 700.0;
        all[3].syncs = 5;
        let advice = advise(&all).unwrap();
        assert_eq!(advice.shards, 2);
        assert!(
            advice.reasons.iter().any(|r| r.contains("p99 grows")) && advice.reasons.iter().any(|r| r.contains("fewer than 100")),
            "{advice:?}"
        );
    }

    #[test]
    fn advice_needs_one_writer_and_bears_zero() {
        assert_eq!(advise(&[]), None);
        assert_eq!(advise(&figures([1.0; 4], [1.0; 4])[1..2]), None);
        assert_eq!(advised([0.0; 4], [0.0; 4]), (1, Sync::Dsync));
    }
}

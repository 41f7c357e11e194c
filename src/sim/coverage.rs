//! What the runs of a batch went through. A kind that is never met tests nothing, so a large batch fails without it.

use std::collections::BTreeMap;

/// Kinds of [`EXPECTED`] that a random crash meets seldom, the less so the more shards there are: in one seed of a thousand. The crash
/// sweep meets them by design.
const RARE: &[&str] = &["case-E", "case-F"];

/// Kinds that at least one of a hundred seeds must meet.
pub const EXPECTED: &[&str] = &[
    "acl-refused",
    "auth",
    "bad-request",
    "boot-crash",
    "case-D",
    "case-E",
    "case-F",
    "close-session",
    "container",
    "disk-full-refusal",
    "disk-write-failed",
    "ephemeral-gone",
    "event",
    "failed-multi",
    "grown-segment",
    "kill",
    "multi",
    "orderly-stop",
    "persistent-watch",
    "power-failure",
    "reaped",
    "recycled-segment",
    "rot",
    "sequence",
    "session-expired",
    "session-move",
    "session-resume",
    "set-watches",
    "sync",
    "told-gone",
    "torn-append",
    "unknown-outcome-kept",
    "unknown-outcome-lost",
    "wall-jump",
];

/// The same for ensembles: what can happen to several servers only, and what of the rest is likely enough there.
pub const EXPECTED_OF_ENSEMBLES: &[&str] = &[
    "all-crash",
    "all-paused",
    "back",
    "boot-crash",
    "bridge",
    "chain",
    "client-gives-up",
    "client-lost-silently",
    "close-session",
    "constrained-election",
    "container",
    "cut",
    "deposed-with-requests",
    "diff",
    "disk-full",
    "disk-write-failed",
    "ephemeral-gone",
    "epoch-change-in-sync",
    "event",
    "failed-multi",
    "fetch",
    "founding",
    "founding-interrupted",
    "grown-segment",
    "half-open",
    "isolated",
    "kill",
    "leader-crash",
    "leader-disk-full",
    "leader-paused",
    "link-broken",
    "mid-turn-crash",
    "multi",
    "observer",
    "one-way",
    "orderly-stop",
    "paused",
    "power-failure",
    "quorum-loss",
    "reboot",
    "repaired",
    "session-expired",
    "session-move",
    "session-resume",
    "shard-partly-durable-at-crash",
    "slow-disk",
    "slow-peer",
    "snapshot-install",
    "split",
    "sync",
    "told-gone",
    "torn-append",
    "unknown-outcome-kept",
    "unknown-outcome-lost",
    "wall-jump",
    "wiped-rejoined",
];

/// Counts by kind.
#[derive(Clone, Debug, Default)]
pub struct Coverage(BTreeMap<&'static str, u64>);

impl Coverage {
    /// It happened.
    pub fn hit(&mut self, kind: &'static str) {
        *self.0.entry(kind).or_default() += 1;
    }

    /// Adds a run: each kind it met counts once.
    pub fn add_run(&mut self, run: &Coverage) {
        for kind in run.0.keys() {
            self.hit(kind);
        }
    }

    /// How often.
    #[must_use]
    pub fn count(&self, kind: &str) -> u64 {
        self.0.get(kind).copied().unwrap_or(0)
    }

    /// Everything met.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(kind, count)| (*kind, *count))
    }

    /// Expected kinds that so few of `seeds` runs met that one in a hundred is out of the question: by chance alone it happens to one kind in some
    /// thousand counts. What no run met is always missing.
    #[must_use]
    pub fn missing(&self, seeds: u64, ensembles: bool) -> Vec<&'static str> {
        let one_in = |kind: &str| if RARE.contains(&kind) { 1000 } else { 100 };
        let expected = if ensembles { EXPECTED_OF_ENSEMBLES } else { EXPECTED };
        let least = |kind: &str| {
            let mean = seeds / one_in(kind);
            mean.saturating_sub(3 * mean.isqrt()).max(1)
        };
        expected.iter().copied().filter(|kind| self.count(kind) < least(kind)).collect()
    }
}

//! `late`, a word of our own: where a write spends its time, stage by stage.
//!
//! A table for people whose columns are separated by blanks, one line for each stage, so that `awk` and `ringkeeper latency` read it too.

use super::facts::Mode;
use super::text::put;

/// Number of stages.
pub const STAGES: usize = 7;

/// What lies between two moments in the life of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// A write was read from its socket, until the keeper takes it in.
    Prepare,
    /// Judged and encoded, until it is handed to the disk with its batch. On a learner: received from the leader, until then.
    Submit,
    /// Handed to the disk, until it is durable on this server.
    Sync,
    /// Durable here, until this server knows that it is on a quorum of disks.
    Quorum,
    /// Committed, until it is applied, its watches have fired and the answers are handed to the sockets.
    Reply,
    /// A write of this server's own clients, from receipt to its answer.
    Write,
    /// A read, from receipt to its answer.
    Read,
}

impl Stage {
    /// On the way of a write, then the whole.
    pub const ALL: [Stage; STAGES] = [Stage::Prepare, Stage::Submit, Stage::Sync, Stage::Quorum, Stage::Reply, Stage::Write, Stage::Read];

    /// As it is shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Stage::Prepare => "prepare",
            Stage::Submit => "submit",
            Stage::Sync => "sync",
            Stage::Quorum => "quorum",
            Stage::Reply => "reply",
            Stage::Write => "write",
            Stage::Read => "read",
        }
    }

    /// What it lasts from and to.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Stage::Prepare => "a write: received > judged and encoded",
            Stage::Submit => "a turn's writes: encoded > handed to the disk",
            Stage::Sync => "a turn's writes: handed to the disk > durable here",
            Stage::Quorum => "a turn's writes: durable here > durable on a quorum (0: the others were first)",
            Stage::Reply => "a turn's writes: committed > applied and answered",
            Stage::Write => "a write: received > answered",
            Stage::Read => "a read: received > answered",
        }
    }
}

/// One stage, in µs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StageFigures {
    /// Which.
    pub stage: Stage,
    /// How many were seen.
    pub count: u64,
    /// Half is at or below.
    pub p50_us: u64,
    /// 99 of 100 are.
    pub p99_us: u64,
    /// 999 of 1000 are.
    pub p999_us: u64,
    /// The longest.
    pub max_us: u64,
}

/// The answer to `late`: of `window_ms` up to now.
pub fn late(out: &mut Vec<u8>, mode: Mode, window_ms: u64, figures: &[StageFigures]) {
    put(out, format_args!("mode {}, the last {} s, times in microseconds\n", mode.name(), window_ms.div_ceil(1000)));
    put(out, format_args!("{:<8}{:>10}{:>10}{:>10}{:>10}{:>10}  from > to\n", "stage", "count", "p50", "p99", "p99.9", "max"));
    for f in figures {
        put(
            out,
            format_args!(
                "{:<8}{:>10}{:>10}{:>10}{:>10}{:>10}  {}\n",
                f.stage.name(),
                f.count,
                f.p50_us,
                f.p99_us,
                f.p999_us,
                f.max_us,
                f.stage.meaning()
            ),
        );
    }
}

/// Our own lines of `mntr`.
pub(super) fn own_lines(out: &mut Vec<u8>, figures: &[StageFigures]) {
    for f in figures {
        let name = f.stage.name();
        for (part, n) in [("count", f.count), ("p50_us", f.p50_us), ("p99_us", f.p99_us), ("p999_us", f.p999_us), ("max_us", f.max_us)] {
            put(out, format_args!("zk_ringkeeper_stage_{name}_{part}\t{n}\n"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_each_stage_in_columns() {
        let of = |stage| StageFigures { stage, count: 123_456, p50_us: 71, p99_us: 1500, p999_us: 20_000, max_us: 1_234_567 };
        let mut out = Vec::new();
        late(&mut out, Mode::Leader, 31_001, &Stage::ALL.map(of));
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "mode leader, the last 32 s, times in microseconds");
        assert_eq!(lines[1], "stage        count       p50       p99     p99.9       max  from > to");
        assert_eq!(
            lines[4],
            "sync        123456        71      1500     20000   1234567  a turn's writes: handed to the disk > durable here"
        );
        assert_eq!(lines.len(), 2 + STAGES);
        let mut out = Vec::new();
        own_lines(&mut out, &[of(Stage::Write)]);
        assert!(String::from_utf8(out).unwrap().contains("zk_ringkeeper_stage_write_p999_us\t20000\n"));
    }
}

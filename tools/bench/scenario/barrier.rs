//! Double barrier: all enter, and none goes on before the last has entered; all leave, and none is done before the last has left.
//!
//! Each participant makes an ephemeral node and removes it again; whoever sees the last one come (or go) makes the node that the
//! others wait for.

use super::Plan;
use super::pool::{News, NewsList, Pool};
use super::stage::{Meter, Stage, connected, ephemeral, expect_ok, ms, names};
use crate::Failure;
use crate::compare::rows::TIME_MS;
use crate::compare::verdict::Spread;
use crate::figures::Figures;
use crate::workload::plain_create;
use ringkeeper::model::error_code::ErrorCode;
use ringkeeper::model::request::Request;
use ringkeeper::model::watch_kind::EventType;
use std::time::Instant;

const TIMEOUT_MS: i32 = 30_000;
const ROUNDS_MAX: usize = 10_000;
/// What a reply answers.
const MOVED: u32 = 1;
const WATCHED: u32 = 2;
const LISTED: u32 = 3;
const SIGNALLED: u32 = 4;
const PREPARED: u32 = 5;

/// Runs it.
pub fn run(plan: &Plan) -> Result<Figures, Failure> {
    let stage = Stage::set(plan, &["barrier"])?;
    let mut barrier = Barrier {
        pool: connected(plan, plan.sessions, TIMEOUT_MS)?,
        dir: stage.path("barrier"),
        members: plan.sessions,
        signal: String::new(),
        entering: true,
    };
    let mut meter = Meter::begin(plan)?;
    let (mut enter_ms, mut both_ms) = (Vec::new(), Vec::new());
    while both_ms.is_empty() || (both_ms.len() < ROUNDS_MAX && meter.elapsed() < plan.measured) {
        let round = both_ms.len();
        let began = Instant::now();
        barrier.pass(true, &stage.path(&format!("ready-{round}")), &mut meter)?;
        enter_ms.push(ms(began.elapsed()));
        barrier.pass(false, &stage.path(&format!("left-{round}")), &mut meter)?;
        both_ms.push(ms(began.elapsed()));
    }
    let median = |values: &[f64]| Spread::of(values).map_or(0.0, |spread| spread.median);
    let extra = [(TIME_MS, median(&both_ms)), ("enter_ms", median(&enter_ms)), ("rounds", both_ms.len() as f64)];
    let figures = meter.end(plan, "barrier", &extra)?;
    barrier.pool.close_all()?;
    stage.clear()?;
    Ok(figures)
}

struct Barrier {
    pool: Pool,
    dir: String,
    members: usize,
    /// The node that lets everybody through.
    signal: String,
    entering: bool,
}

impl Barrier {
    /// All come, or all go.
    fn pass(&mut self, entering: bool, signal: &str, meter: &mut Meter) -> Result<(), Failure> {
        self.entering = entering;
        let last_signal = std::mem::replace(&mut self.signal, signal.to_owned());
        if !last_signal.is_empty() {
            self.pool.send(0, PREPARED, &Request::Delete { path: last_signal.as_bytes(), version: -1 })?;
        }
        let began = Instant::now();
        for idx in 0..self.members {
            let own = format!("{}/p{idx:05}", self.dir);
            let leave = Request::Delete { path: own.as_bytes(), version: -1 };
            self.pool.send(idx, MOVED, &if entering { ephemeral(own.as_bytes(), false) } else { leave })?;
        }
        let (mut through, mut listed, mut left) = (vec![false; self.members], 0, self.members);
        let mut news = NewsList::new();
        // The lists are waited for too, so that no answer of this pass is left for the next.
        while left > 0 || listed < self.members {
            self.pool.wait(&mut news)?;
            for (idx, heard) in news.drain(..) {
                listed += usize::from(matches!(heard, News::Reply { tag: LISTED, .. }));
                if self.hear(idx, heard)? && !std::mem::replace(&mut through[idx], true) {
                    left -= 1;
                    meter.record(began);
                }
            }
        }
        Ok(())
    }

    /// True if the session is let through by what it heard.
    fn hear(&mut self, idx: usize, heard: News) -> Result<bool, Failure> {
        let missing = ErrorCode::NoNode.code();
        match heard {
            News::Event { kind: EventType::NodeCreated, path } if path == self.signal.as_bytes() => return Ok(true),
            News::Event { .. } => {}
            News::Reply { tag: MOVED, err, .. } => {
                expect_ok(err, if self.entering { "create" } else { "delete" })?;
                self.pool.send(idx, WATCHED, &Request::Exists { path: self.signal.as_bytes(), watch: true })?;
                self.pool.send(idx, LISTED, &Request::GetChildren { path: self.dir.as_bytes(), watch: false })?;
            }
            News::Reply { tag: WATCHED, err, .. } if err == missing => {}
            News::Reply { tag: WATCHED, err, .. } => {
                expect_ok(err, "exists")?;
                return Ok(true);
            }
            News::Reply { tag: LISTED, err, body } => {
                let present = names(err, &body)?.len();
                if present == if self.entering { self.members } else { 0 } {
                    self.pool.send(idx, SIGNALLED, &plain_create(self.signal.as_bytes(), b""))?;
                }
            }
            News::Reply { tag: SIGNALLED, err, .. } if err == ErrorCode::NodeExists.code() => {}
            News::Reply { tag: SIGNALLED | PREPARED, err, .. } => expect_ok(err, "create or delete")?,
            other => return Err(format!("participant {idx} heard {other:?}")),
        }
        Ok(false)
    }
}

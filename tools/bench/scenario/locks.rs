//! Lock hand-offs: every contender makes an ephemeral sequential node and waits for the one just before its own to go, as ZooKeeper's
//! lock recipe does; whoever gets the lock gives it up at once and queues again.
//!
//! Counts hand-offs, each from giving up to the next one's knowing. Fails if the lock isn't handed on in the order of the nodes.

use super::Plan;
use super::pool::{News, NewsList, Pool};
use super::stage::{Meter, Stage, connected, ephemeral, expect_ok, names};
use crate::Failure;
use crate::figures::Figures;
use ringkeeper::model::error_code::ErrorCode;
use ringkeeper::model::op_code::OpCode;
use ringkeeper::model::request::Request;
use ringkeeper::wire::client_side::{ReplyBody, decode_body};
use std::time::Instant;

const TIMEOUT_MS: i32 = 30_000;
/// What a reply answers.
const QUEUED: u32 = 1;
const LISTED: u32 = 2;
const WATCHED: u32 = 3;
const GIVEN_UP: u32 = 4;

struct Locks {
    pool: Pool,
    dir: String,
    /// The node of each contender.
    own: Vec<String>,
    /// Node of the one that had the lock last.
    last: String,
    given_up: Option<Instant>,
    meter: Meter,
    /// Contenders that don't queue again.
    done: usize,
    over: bool,
}

/// Runs it.
pub fn run(plan: &Plan) -> Result<Figures, Failure> {
    let stage = Stage::set(plan, &["lock"])?;
    let pool = connected(plan, plan.sessions, TIMEOUT_MS)?;
    let own = vec![String::new(); plan.sessions];
    let (dir, meter) = (stage.path("lock"), Meter::begin(plan)?);
    let mut locks = Locks { pool, dir, own, last: String::new(), given_up: None, meter, done: 0, over: false };
    for idx in 0..plan.sessions {
        locks.queue(idx)?;
    }
    let mut news = NewsList::new();
    while locks.done < plan.sessions {
        locks.pool.wait(&mut news)?;
        for (idx, heard) in news.drain(..) {
            locks.hear(idx, heard)?;
        }
        locks.over = locks.meter.elapsed() >= plan.measured;
    }
    let figures = locks.meter.end(plan, "locks", &[])?;
    locks.pool.close_all()?;
    stage.clear()?;
    Ok(figures)
}

impl Locks {
    fn queue(&mut self, idx: usize) -> Result<(), Failure> {
        let path = format!("{}/n-", self.dir);
        self.pool.send(idx, QUEUED, &ephemeral(path.as_bytes(), true))
    }

    fn list(&mut self, idx: usize) -> Result<(), Failure> {
        self.pool.send(idx, LISTED, &Request::GetChildren { path: self.dir.as_bytes(), watch: false })
    }

    fn hear(&mut self, idx: usize, heard: News) -> Result<(), Failure> {
        match heard {
            News::Event { .. } => self.list(idx),
            News::Reply { tag: QUEUED, err, body } => {
                expect_ok(err, "create")?;
                let Ok(ReplyBody::Path(path)) = decode_body(OpCode::Create, &body) else {
                    return Err("the reply to create names no path".to_owned());
                };
                self.own[idx] = String::from_utf8_lossy(path).into_owned();
                self.list(idx)
            }
            News::Reply { tag: LISTED, err, body } => self.look(idx, names(err, &body)?),
            // The one before went while the watch was set.
            News::Reply { tag: WATCHED, err, .. } if err == ErrorCode::NoNode.code() => self.list(idx),
            News::Reply { tag: WATCHED, err, .. } => expect_ok(err, "exists"),
            News::Reply { tag: GIVEN_UP, err, .. } => {
                expect_ok(err, "delete")?;
                if self.over {
                    self.done += 1;
                    return Ok(());
                }
                self.queue(idx)
            }
            other => Err(format!("contender {idx} heard {other:?}")),
        }
    }

    /// Takes the lock if the own node is the first, else watches the one before.
    fn look(&mut self, idx: usize, mut queue: Vec<String>) -> Result<(), Failure> {
        // A node that was watched but not there any more may still tell of itself after its contender has had the lock.
        let Some(own) = self.own[idx].rsplit('/').next().filter(|own| !own.is_empty()).map(str::to_owned) else { return Ok(()) };
        queue.sort_unstable();
        let Some(at) = queue.iter().position(|name| *name == own) else {
            return Err(format!("contender {idx} doesn't find its own node"));
        };
        if at > 0 {
            let before = format!("{}/{}", self.dir, queue[at - 1]);
            return self.pool.send(idx, WATCHED, &Request::Exists { path: before.as_bytes(), watch: true });
        }
        if own <= self.last {
            return Err(format!("the lock came to {own} after {}", self.last));
        }
        self.last = own;
        if let Some(since) = self.given_up.take() {
            self.meter.record(since);
        }
        self.give_up(idx)
    }

    fn give_up(&mut self, idx: usize) -> Result<(), Failure> {
        self.given_up = Some(Instant::now());
        let own = std::mem::take(&mut self.own[idx]);
        self.pool.send(idx, GIVEN_UP, &Request::Delete { path: own.as_bytes(), version: -1 })
    }
}

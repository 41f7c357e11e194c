//! What every scenario with sessions of its own needs: a root node that goes in the end with all below it, all sessions connected,
//! and the figures of the time that counts.

use super::Plan;
use super::pool::{News, NewsList, Pool};
use crate::Failure;
use crate::figures::{Figures, Latency};
use crate::load::fresh_root;
use crate::session::Session;
use crate::usage::Usage;
use crate::workload::{open_create, plain_create};
use hdrhistogram::Histogram;
use ringkeeper::model::error_code::ErrorCode;
use ringkeeper::model::op_code::OpCode;
use ringkeeper::model::request::Request;
use ringkeeper::wire::client_side::{ReplyBody, decode_body};
use std::time::{Duration, Instant};

/// Latencies above this count as this.
const LATENCY_NS_MAX: u64 = 600_000_000_000;

/// A root node.
pub struct Stage {
    /// Its path.
    pub root: String,
    server: String,
}

impl Stage {
    /// Creates the root, and `children` below it.
    pub fn set(plan: &Plan, children: &[&str]) -> Result<Stage, Failure> {
        let stage = Stage { root: fresh_root(), server: plan.servers[0].clone() };
        let mut session = stage.session()?;
        session.call_all(&[plain_create(stage.root.as_bytes(), b"")], None)?;
        for child in children {
            session.call_all(&[plain_create(stage.path(child).as_bytes(), b"")], None)?;
        }
        session.call_all(&[Request::CloseSession], None)?;
        Ok(stage)
    }

    /// Of a node below the root.
    pub fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.root)
    }

    /// A session of its own.
    pub fn session(&self) -> Result<Session, Failure> {
        let mut session = Session::connect(&self.server)?;
        session.finish_handshake()?;
        Ok(session)
    }

    /// Removes the root with all below it.
    pub fn clear(self) -> Result<(), Failure> {
        let mut session = self.session()?;
        remove(&mut session, &self.root)?;
        session.call_all(&[Request::CloseSession], None)
    }
}

/// Children may vanish by themselves meanwhile.
fn remove(session: &mut Session, path: &str) -> Result<(), Failure> {
    session.call_all(&[Request::Sync { path: Some(path.as_bytes()) }], None)?;
    let (err, body) = session.call(&Request::GetChildren { path: path.as_bytes(), watch: false })?;
    if err == ErrorCode::NoNode.code() {
        return Ok(());
    }
    let names = names(err, &body)?;
    let gone = Some(ErrorCode::NoNode.code());
    let mut with_children = Vec::new();
    for name in names {
        let path = format!("{path}/{name}");
        match session.call(&Request::Delete { path: path.as_bytes(), version: -1 })?.0 {
            err if err == 0 || Some(err) == gone => {}
            err if err == ErrorCode::NotEmpty.code() => with_children.push(path),
            err => return Err(format!("removing {path}: error {err}")),
        }
    }
    for path in with_children {
        remove(session, &path)?;
    }
    session.call_all(&[Request::Delete { path: path.as_bytes(), version: -1 }], gone)
}

/// The names in the reply to getChildren.
pub fn names(err: i32, body: &[u8]) -> Result<Vec<String>, Failure> {
    expect_ok(err, "getChildren")?;
    match decode_body(OpCode::GetChildren, body) {
        Ok(ReplyBody::Names(names)) => Ok(names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()),
        other => Err(format!("the reply to getChildren is {other:?}")),
    }
}

/// Refuses an answer with an error.
pub fn expect_ok(err: i32, what: &str) -> Result<(), Failure> {
    if err == 0 { Ok(()) } else { Err(format!("{what} was answered with error {err}")) }
}

/// A pool with all sessions of the plan, connected.
pub fn connected(plan: &Plan, sessions: usize, timeout_ms: i32) -> Result<Pool, Failure> {
    let mut pool = Pool::new(&plan.servers, timeout_ms, plan.time_max)?;
    pool.connect_many(sessions)?;
    let (mut news, mut left) = (NewsList::new(), sessions);
    while left > 0 {
        pool.wait(&mut news)?;
        for (idx, heard) in news.drain(..) {
            match heard {
                News::Connected => left -= 1,
                // A full backlog; anybody would try again.
                News::Closed => pool.connect_as(idx)?,
                other => return Err(format!("a session that asked nothing heard {other:?}")),
            }
        }
    }
    Ok(pool)
}

/// Counts what a scenario does from its beginning.
pub struct Meter {
    began: Instant,
    before: Usage,
    latencies: Histogram<u64>,
    operations: Option<u64>,
}

impl Meter {
    /// The time that counts begins.
    pub fn begin(plan: &Plan) -> Result<Meter, Failure> {
        let latencies = Histogram::new_with_bounds(100, LATENCY_NS_MAX, 3).map_err(|e| e.to_string())?;
        Ok(Meter { before: Usage::now(&plan.watched)?, latencies, operations: None, began: Instant::now() })
    }

    /// Since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Something took from `since` until now.
    pub fn record(&mut self, since: Instant) {
        self.latencies.saturating_record(since.elapsed().as_nanos() as u64);
    }

    /// So many things were done, whatever the number of times that were recorded.
    pub fn did(&mut self, operations: u64) {
        self.operations = Some(operations);
    }

    /// What came out.
    pub fn end(self, plan: &Plan, name: &str, extra: &[(&str, f64)]) -> Result<Figures, Failure> {
        let (elapsed, used) = (self.began.elapsed(), Usage::now(&plan.watched)?.since(&self.before));
        let latency = Latency::of(&self.latencies).ok_or("nothing came to its end in the time that counts")?;
        let operations = self.operations.unwrap_or(latency.count);
        let mut figures = Figures {
            name: name.to_owned(),
            sessions: plan.sessions,
            outstanding: 1,
            seconds: elapsed.as_secs_f64(),
            operations,
            ops_per_s: operations as f64 / elapsed.as_secs_f64(),
            latency,
            extra: extra.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
            ..Figures::default()
        };
        figures.set_usage(&used);
        Ok(figures)
    }
}

/// Milliseconds of a duration.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// A create of an ephemeral node, with the sequence flag or without.
pub fn ephemeral(path: &[u8], sequential: bool) -> Request<'_> {
    open_create(path, b"", if sequential { 3 } else { 1 })
}

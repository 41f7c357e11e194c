//! Makes the load of a trace again: the same requests on as many sessions at the same moments, below a node of its own, whatever the
//! servers do. Latency counts from the moment for which a request was meant, as in every open loop.
//!
//! What the trace found already there is made before. An answer with another error than in the trace is counted: some are to be expected,
//! since races end differently and versions aren't compared.

use super::{Event, Op, read};
use crate::figures::Figures;
use crate::scenario::pool::{News, NewsList, Pool};
use crate::scenario::stage::{Meter, Stage, connected};
use crate::scenario::{Plan, SESSIONS_MAX};
use crate::workload::{plain_create, value};
use crate::{Failure, Target, print_figures, seconds};
use ringkeeper::model::error_code::ErrorCode;
use ringkeeper::model::request::Request;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const TIMEOUT_MS: i32 = 30_000;
/// Creates in flight while the nodes are made.
const BURST: usize = 200;
/// Longest wait for news when nothing is due.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// What `replay` takes.
#[derive(clap::Args)]
pub struct ReplayArguments {
    #[command(flatten)]
    target: Target,
    /// The trace.
    #[arg(long)]
    trace: PathBuf,
    /// How much faster than it was recorded.
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// Seconds after which the replay has failed, however long the trace is.
    #[arg(long, default_value_t = 3600.0)]
    time_max: f64,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// Replays a trace against running servers.
pub fn replay(arguments: &ReplayArguments) -> Result<(), Failure> {
    if !(0.001..=1000.0).contains(&arguments.speed) {
        return Err(format!("a --speed of {}; it is between 0.001 and 1000", arguments.speed));
    }
    let mut events = read(&arguments.trace)?;
    let sessions = number_sessions(&mut events);
    if sessions > SESSIONS_MAX {
        return Err(format!("{}: {sessions} sessions; at most {SESSIONS_MAX} are replayed", arguments.trace.display()));
    }
    let plan = Plan {
        servers: arguments.target.connect.clone(),
        watched: arguments.target.watched()?,
        sessions,
        size: 0,
        measured: Duration::ZERO,
        time_max: seconds(arguments.time_max)?,
    };
    print_figures(&run(&plan, events, arguments.speed)?, arguments.json)
}

/// Numbers the sessions from 0 without gaps; returns how many there are.
fn number_sessions(events: &mut [Event]) -> usize {
    let mut numbers = HashMap::new();
    for event in events {
        let next = numbers.len() as u32;
        event.session = *numbers.entry(event.session).or_insert(next);
    }
    numbers.len()
}

fn run(plan: &Plan, mut events: Vec<Event>, speed: f64) -> Result<Figures, Failure> {
    let stage = Stage::set(plan, &[])?;
    for event in &mut events {
        event.op.move_below(&stage.root);
    }
    let value = value(events.iter().map(|event| event.op.bytes()).max().unwrap_or(0));
    prepare(&stage, &needed(&events, &stage.root), &value)?;
    let mut pool = connected(plan, plan.sessions, TIMEOUT_MS)?;
    catch_up(&mut pool, plan.sessions, &stage.root)?;
    let figures = drive(plan, &mut pool, &events, speed, &value)?;
    pool.close_all()?;
    stage.clear()?;
    Ok(figures)
}

/// Nodes that the trace found there, with the sizes of their values, parents before children.
fn needed(events: &[Event], root: &str) -> BTreeMap<String, usize> {
    let (mut needed, mut made) = (BTreeMap::new(), BTreeSet::from([root.to_owned()]));
    for event in events.iter().filter(|event| event.err == 0) {
        for op in event.op.parts() {
            let mut need = |path: &str, bytes: usize| {
                let mut at = path;
                let mut bytes = bytes;
                while at.len() > root.len() && !made.contains(at) {
                    needed.entry(at.to_owned()).or_insert(bytes);
                    made.insert(at.to_owned());
                    bytes = 0;
                    at = at.rsplit_once('/').map_or(root, |(parent, _)| parent);
                }
            };
            match op {
                Op::Create { path, .. } => {
                    if let Some((parent, _)) = path.rsplit_once('/') {
                        need(parent, 0);
                    }
                    made.insert(path.clone());
                }
                Op::GetData { path, bytes, .. } => need(path, *bytes),
                Op::SetData { path, .. } | Op::Exists { path, .. } | Op::GetChildren { path, .. } => need(path, 0),
                Op::GetChildren2 { path, .. } | Op::Check { path } => need(path, 0),
                Op::Delete { path } => {
                    need(path, 0);
                    made.remove(path);
                }
                Op::Sync { .. } | Op::Multi { .. } | Op::CloseSession => {}
            }
        }
    }
    needed
}

fn prepare(stage: &Stage, needed: &BTreeMap<String, usize>, value: &[u8]) -> Result<(), Failure> {
    let mut session = stage.session()?;
    let all: Vec<Request<'_>> = needed.iter().map(|(path, bytes)| plain_create(path.as_bytes(), &value[..*bytes])).collect();
    for burst in all.chunks(BURST) {
        session.call_all(burst, Some(ErrorCode::NodeExists.code()))?;
    }
    session.call_all(&[Request::CloseSession], None)
}

/// Each session's server has applied what was prepared.
fn catch_up(pool: &mut Pool, sessions: usize, root: &str) -> Result<(), Failure> {
    for idx in 0..sessions {
        pool.send(idx, 0, &Request::Sync { path: Some(root.as_bytes()) })?;
    }
    let (mut news, mut left) = (NewsList::new(), sessions);
    while left > 0 {
        pool.wait(&mut news)?;
        for (_, heard) in news.drain(..) {
            match heard {
                News::Reply { err: 0, .. } => left -= 1,
                other => return Err(format!("a session that asked for a sync heard {other:?}")),
            }
        }
    }
    Ok(())
}

/// What came of it, besides latencies.
#[derive(Default)]
struct Counts {
    answered_otherwise: u64,
    notifications: u64,
}

fn drive(plan: &Plan, pool: &mut Pool, events: &[Event], speed: f64, value: &[u8]) -> Result<Figures, Failure> {
    let mut meter = Meter::begin(plan)?;
    let began = Instant::now();
    let first_us = events[0].at_us;
    let due = |event: &Event| began + Duration::from_secs_f64((event.at_us - first_us) as f64 / 1e6 / speed);
    let (mut next, mut waiting, mut news) = (0, events.len(), NewsList::new());
    let mut counts = Counts::default();
    while waiting > 0 {
        let now = Instant::now();
        while let Some(event) = events.get(next).filter(|event| due(event) <= now) {
            pool.send(event.session as usize, next as u32, &event.op.request(value))?;
            next += 1;
        }
        let until = events.get(next).map_or(WAIT_MAX, |event| due(event).saturating_duration_since(Instant::now()));
        pool.wait_at_most(&mut news, until.min(WAIT_MAX))?;
        for (idx, heard) in news.drain(..) {
            match heard {
                News::Reply { tag, err, .. } => {
                    let event = &events[tag as usize];
                    meter.record(due(event));
                    counts.answered_otherwise += u64::from(err != event.err);
                    waiting -= 1;
                }
                News::Event { .. } => counts.notifications += 1,
                // After its last request; with requests still to come the trace had more than one life of that session.
                News::Closed if events[next..].iter().all(|event| event.session as usize != idx) => {}
                other => return Err(format!("session {idx} heard {other:?}")),
            }
        }
    }
    let extra = [("answered_otherwise", counts.answered_otherwise as f64), ("notifications", counts.notifications as f64)];
    let seconds = (events[events.len() - 1].at_us - first_us) as f64 / 1e6 / speed;
    let offered_per_s = (seconds > 0.0).then(|| events.len() as f64 / seconds);
    Ok(Figures { offered_per_s, ..meter.end(plan, "replay", &extra)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_is_needed_and_what_was_made_is_not() {
        let event = |op: Op| Event { at_us: 0, session: 0, err: 0, op };
        let path = |path: &str| path.to_owned();
        let events = [
            event(Op::GetData { path: path("/r/a/b"), watch: false, bytes: 9 }),
            event(Op::Create { path: path("/r/c/new"), bytes: 1, ephemeral: false }),
            event(Op::SetData { path: path("/r/c/new"), bytes: 1 }),
            event(Op::Delete { path: path("/r/c/new") }),
            Event { err: -101, ..event(Op::Exists { path: path("/r/never"), watch: true }) },
            event(Op::Multi { ops: vec![Op::Check { path: path("/r/d") }] }),
        ];
        let wanted = [("/r/a", 0), ("/r/a/b", 9), ("/r/c", 0), ("/r/d", 0)].map(|(path, bytes)| (path.to_owned(), bytes));
        assert_eq!(needed(&events, "/r"), BTreeMap::from(wanted));
    }

    #[test]
    fn sessions_are_numbered_without_gaps() {
        let mut events = [7, 3, 7].map(|session| Event { at_us: 0, session, err: 0, op: Op::CloseSession });
        assert_eq!(number_sessions(&mut events), 2);
        assert_eq!(events.map(|event| event.session), [0, 1, 0]);
    }
}

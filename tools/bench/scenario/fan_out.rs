//! Watch fan-out: one session writes, all others watch; how long until the last of them has heard.
//!
//! A round begins once every watch is set. Fails if a watcher hears of anything else, or twice.

use super::Plan;
use super::pool::{News, NewsList, Pool};
use super::stage::{Meter, Stage, connected, expect_ok, ms};
use crate::Failure;
use crate::compare::rows::TIME_MS;
use crate::compare::verdict::Spread;
use crate::figures::Figures;
use ringkeeper::model::request::Request;
use ringkeeper::model::watch_kind::EventType;
use std::time::{Duration, Instant};

/// Rounds, as far as the time reaches; at least one.
const ROUNDS_MAX: usize = 20;
const TIMEOUT_MS: i32 = 30_000;
/// The generator, which shares the machine with the servers, looks for what was heard only so often: otherwise it would be woken for
/// every notification, at the expense of the servers' sends. A time is too long by at most as much, on both sides.
const NAP: Duration = Duration::from_millis(1);
/// The writer's number.
const WRITER: usize = 0;

/// Runs it.
pub fn run(plan: &Plan) -> Result<Figures, Failure> {
    let stage = Stage::set(plan, &["watched"])?;
    let path = stage.path("watched");
    let mut pool = connected(plan, plan.sessions + 1, TIMEOUT_MS)?;
    let mut meter = Meter::begin(plan)?;
    let mut times_ms = Vec::new();
    while times_ms.is_empty() || (times_ms.len() < ROUNDS_MAX && meter.elapsed() < plan.measured) {
        set_watches(&mut pool, plan.sessions, path.as_bytes())?;
        times_ms.push(ms(fire(&mut pool, plan.sessions, path.as_bytes(), &mut meter)?));
    }
    let spread = Spread::of(&times_ms).ok_or("no round")?;
    let extra = [(TIME_MS, spread.median), ("time_max_ms", spread.high), ("rounds", times_ms.len() as f64)];
    let figures = meter.end(plan, "fan-out", &extra)?;
    pool.close_all()?;
    stage.clear()?;
    Ok(figures)
}

fn set_watches(pool: &mut Pool, watchers: usize, path: &[u8]) -> Result<(), Failure> {
    for idx in 1..=watchers {
        // Its server may not have applied the last write yet: then the watch would hear of that one.
        pool.send(idx, 0, &Request::Sync { path: Some(path) })?;
        pool.send(idx, 1, &Request::GetData { path, watch: true })?;
    }
    let (mut left, mut news) = (watchers, NewsList::new());
    while left > 0 {
        pool.wait(&mut news)?;
        for (idx, heard) in news.drain(..) {
            match heard {
                News::Reply { tag, err, .. } => {
                    expect_ok(err, "sync or getData")?;
                    left -= tag as usize;
                }
                other => return Err(format!("watcher {idx} heard {other:?} while the watches were set")),
            }
        }
    }
    Ok(())
}

/// One write; the time until the last watcher has heard.
fn fire(pool: &mut Pool, watchers: usize, path: &[u8], meter: &mut Meter) -> Result<Duration, Failure> {
    let began = Instant::now();
    pool.send(WRITER, 0, &Request::SetData { path, data: Some(b"new"), version: -1 })?;
    let (mut heard_by, mut left, mut answered, mut last) = (vec![false; watchers + 1], watchers, false, began);
    let mut news = NewsList::new();
    while left > 0 || !answered {
        std::thread::sleep(NAP);
        pool.wait(&mut news)?;
        for (idx, heard) in news.drain(..) {
            match heard {
                News::Event { kind: EventType::NodeDataChanged, path: at } if at == path && !heard_by[idx] => {
                    heard_by[idx] = true;
                    left -= 1;
                    meter.record(began);
                    last = Instant::now();
                }
                News::Reply { err, .. } if idx == WRITER && !answered => {
                    expect_ok(err, "setData")?;
                    answered = true;
                }
                other => return Err(format!("watcher {idx} heard {other:?} where one notification was due")),
            }
        }
    }
    Ok(last - began)
}

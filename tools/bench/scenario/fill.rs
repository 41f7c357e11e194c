//! Many znodes, made once and left: what memory and restarts are measured with.

use super::Plan;
use super::pool::{News, NewsList, Pool};
use super::stage::{Meter, Stage, connected, expect_ok};
use crate::Failure;
use crate::figures::Figures;
use crate::workload::{plain_create, value};
use ringkeeper::model::error_code::ErrorCode;
use ringkeeper::model::request::Request;
use std::time::Instant;

const TIMEOUT_MS: i32 = 30_000;
/// Requests that each session has in flight.
const OUTSTANDING: usize = 64;
const VALUE_BYTES: usize = 100;

/// Makes `plan.size` znodes with values of 100 bytes and names of 30, spread over `parents`. Returns the path of the last one too.
pub fn fill(plan: &Plan, parents: usize) -> Result<(Figures, String), Failure> {
    if plan.size == 0 || parents == 0 {
        return Err("filling needs at least one znode and one parent".to_owned());
    }
    let names: Vec<String> = (0..parents).map(|idx| format!("p{idx:05}")).collect();
    let stage = Stage::set(plan, &names.iter().map(String::as_str).collect::<Vec<_>>())?;
    let path = |idx: usize| stage.path(&format!("{}/znode-{idx:024}", names[idx % parents]));
    let value = value(VALUE_BYTES);
    let mut pool = connected(plan, plan.sessions, TIMEOUT_MS)?;
    let mut meter = Meter::begin(plan)?;
    let mut began = vec![Instant::now(); plan.sessions * OUTSTANDING];
    let (mut next, mut left, mut news) = (0, plan.size, NewsList::new());
    while next < plan.size.min(plan.sessions * OUTSTANDING) {
        pool.send(next % plan.sessions, next as u32, &plain_create(path(next).as_bytes(), &value))?;
        next += 1;
    }
    while left > 0 {
        pool.wait(&mut news)?;
        for (session, heard) in news.drain(..) {
            let News::Reply { tag, err, .. } = heard else { return Err(format!("a session that creates heard {heard:?}")) };
            expect_ok(err, "create")?;
            meter.record(began[tag as usize]);
            left -= 1;
            if next < plan.size {
                began[tag as usize] = Instant::now();
                pool.send(session, tag, &plain_create(path(next).as_bytes(), &value))?;
                next += 1;
            }
        }
    }
    let figures = Figures { value_bytes: VALUE_BYTES, outstanding: OUTSTANDING, ..meter.end(plan, "fill", &[])? };
    pool.close_all()?;
    Ok((figures, path(plan.size - 1)))
}

/// `plan.size` watches on paths that nobody touches, spread over `plan.sessions`; they stay as long as the pool does.
pub fn watches(plan: &Plan) -> Result<Pool, Failure> {
    let mut pool = connected(plan, plan.sessions, TIMEOUT_MS)?;
    let (mut next, mut left, mut news) = (0, plan.size, NewsList::new());
    let path = |idx: usize| format!("/nobody-makes-this/watched-{idx:07}");
    while left > 0 {
        while next < plan.size && next < plan.size - left + plan.sessions * OUTSTANDING {
            pool.send(next % plan.sessions, 0, &Request::Exists { path: path(next).as_bytes(), watch: true })?;
            next += 1;
        }
        pool.wait(&mut news)?;
        for (_, heard) in news.drain(..) {
            match heard {
                News::Reply { err, .. } if err == ErrorCode::NoNode.code() => left -= 1,
                other => return Err(format!("a session that watches what nobody made heard {other:?}")),
            }
        }
    }
    Ok(pool)
}

/// So many sessions that are there and ask nothing. Returns what is known while they live.
pub fn idle_sessions<T>(plan: &Plan, look: impl FnOnce() -> Result<T, Failure>) -> Result<(Figures, T), Failure> {
    let mut meter = Meter::begin(plan)?;
    let began = Instant::now();
    let pool = connected(plan, plan.sessions, TIMEOUT_MS)?;
    let seen = look()?;
    meter.record(began);
    meter.did(plan.sessions as u64);
    let figures = meter.end(plan, "idle sessions", &[])?;
    pool.close_all()?;
    Ok((figures, seen))
}

//! Sessions in great numbers: that come and go all the time, that come all at once, that are abandoned all at once.

use super::Plan;
use super::pool::{News, NewsList, Pool};
use super::stage::{Meter, Stage, connected, ephemeral, expect_ok, ms};
use crate::Failure;
use crate::compare::rows::TIME_MS;
use crate::figures::Figures;
use ringkeeper::model::op_code::OpCode;
use ringkeeper::model::request::Request;
use ringkeeper::wire::client_side::{ReplyBody, decode_body};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

const TIMEOUT_MS: i32 = 30_000;
/// Of sessions that are to expire: short, but longer than the least that a server grants with its usual tick.
const EXPIRING_TIMEOUT_MS: i32 = 5000;
/// How often it is looked how many nodes are left.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Attempts of each session before the storm has failed.
const ATTEMPTS_MAX: usize = 20;
/// Pause of a client that lost its connection before it tries the next server.
const RESUME_PAUSE: Duration = Duration::from_millis(20);
/// Attempts of a session to come back before the storm has failed.
const RESUMES_MAX: usize = 3000;
/// What a reply answers.
const CREATED: u32 = 1;
const ENDED: u32 = 2;

/// A session opens, makes an ephemeral node, closes, and the next one comes.
pub fn churn(plan: &Plan) -> Result<Figures, Failure> {
    let stage = Stage::set(plan, &[])?;
    let mut pool = Pool::new(&plan.servers, TIMEOUT_MS, plan.time_max)?;
    let mut meter = Meter::begin(plan)?;
    let mut began = vec![Instant::now(); plan.sessions];
    let (mut left, mut refused, mut news) = (plan.sessions, 0, NewsList::new());
    let mut ended = vec![false; plan.sessions];
    pool.connect_many(plan.sessions)?;
    while left > 0 {
        pool.wait(&mut news)?;
        for (idx, heard) in news.drain(..) {
            match heard {
                News::Connected => {
                    let own = stage.path(&format!("e{idx:05}"));
                    pool.send(idx, CREATED, &ephemeral(own.as_bytes(), false))?;
                }
                News::Reply { tag: CREATED, err, .. } => {
                    expect_ok(err, "create: the last session's node should have gone with it, but it")?;
                    pool.send(idx, ENDED, &Request::CloseSession)?;
                }
                News::Reply { err, .. } => {
                    expect_ok(err, "closeSession")?;
                    meter.record(began[idx]);
                    ended[idx] = true;
                }
                News::Closed => {
                    refused += usize::from(!std::mem::replace(&mut ended[idx], false));
                    if meter.elapsed() < plan.measured {
                        began[idx] = Instant::now();
                        pool.connect_as(idx)?;
                    } else {
                        left -= 1;
                    }
                }
                other @ (News::Event { .. } | News::Expired) => return Err(format!("a session that watched nothing heard {other:?}")),
            }
        }
    }
    let figures = meter.end(plan, "churn", &[("refused", refused as f64)])?;
    stage.clear()?;
    Ok(figures)
}

/// All connect at once; each is there once it has been answered a read.
pub fn connections(plan: &Plan) -> Result<Figures, Failure> {
    let mut pool = Pool::new(&plan.servers, TIMEOUT_MS, plan.time_max)?;
    let mut meter = Meter::begin(plan)?;
    let began = Instant::now();
    let (mut left, mut refused, mut news) = (plan.sessions, 0, NewsList::new());
    pool.connect_many(plan.sessions)?;
    while left > 0 {
        pool.wait(&mut news)?;
        for (idx, heard) in news.drain(..) {
            match heard {
                News::Connected => pool.send(idx, 0, &Request::Exists { path: b"/", watch: false })?,
                News::Reply { err, .. } => {
                    expect_ok(err, "exists")?;
                    meter.record(began);
                    left -= 1;
                }
                News::Closed if refused < plan.sessions * ATTEMPTS_MAX => {
                    refused += 1;
                    pool.connect_as(idx)?;
                }
                other => return Err(format!("session {idx} heard {other:?} after {refused} refused attempts of all")),
            }
        }
    }
    let time_ms = ms(began.elapsed());
    let figures = meter.end(plan, "connections", &[(TIME_MS, time_ms), ("refused", refused as f64)])?;
    pool.close_all()?;
    Ok(figures)
}

/// All are connected, then `kill` ends the leader. Each is back once it has resumed its session somewhere and been answered a read.
pub fn leader_lost(plan: &Plan, kill: impl FnOnce() -> Result<(), Failure>) -> Result<Figures, Failure> {
    let mut pool = connected(plan, plan.sessions, TIMEOUT_MS)?;
    let mut meter = Meter::begin(plan)?;
    let began = Instant::now();
    kill()?;
    // Those whose server keeps them have nothing to come back from; whether it does shows in their answer.
    for idx in 0..plan.sessions {
        pool.send(idx, 0, &Request::Exists { path: b"/", watch: false })?;
    }
    let (mut back, mut left, mut attempts, mut news) = (vec![false; plan.sessions], plan.sessions, vec![0; plan.sessions], NewsList::new());
    let mut again: VecDeque<(Instant, usize)> = VecDeque::new();
    while left > 0 {
        while let Some((_, idx)) = again.front().copied().filter(|(due, _)| *due <= Instant::now()) {
            again.pop_front();
            attempts[idx] += 1;
            if attempts[idx] > RESUMES_MAX {
                return Err(format!("session {idx} was refused {RESUMES_MAX} times"));
            }
            pool.resume(idx, attempts[idx])?;
        }
        pool.wait_at_most(&mut news, RESUME_PAUSE)?;
        for (idx, heard) in news.drain(..) {
            match heard {
                News::Connected => pool.send(idx, 0, &Request::Exists { path: b"/", watch: false })?,
                News::Reply { err, .. } => {
                    expect_ok(err, "exists")?;
                    meter.record(began);
                    left -= usize::from(!std::mem::replace(&mut back[idx], true));
                }
                News::Closed => {
                    // One that was answered by a server that then lost its leader isn't back yet.
                    left += usize::from(std::mem::replace(&mut back[idx], false));
                    again.push_back((Instant::now() + RESUME_PAUSE, idx));
                }
                other => return Err(format!("session {idx} heard {other:?} after {} attempts", attempts[idx])),
            }
        }
    }
    let time_ms = ms(began.elapsed());
    let tried = attempts.iter().sum::<usize>() as f64;
    meter.did(plan.sessions as u64);
    meter.end(plan, "leader lost", &[(TIME_MS, time_ms), ("attempts", tried)])
}

/// All sessions with their ephemeral nodes are abandoned; how long the nodes' removal takes from the first to the last.
pub fn expiry(plan: &Plan) -> Result<Figures, Failure> {
    if plan.size == 0 {
        return Err("an expiry storm needs a --size of at least 1: the ephemeral nodes of each session".to_owned());
    }
    let stage = Stage::set(plan, &["ephemerals"])?;
    let parent = stage.path("ephemerals");
    let pool = with_ephemerals(plan, &parent)?;
    let mut observer = connected(plan, 1, TIMEOUT_MS)?;
    let all = count(&mut observer, &parent)?;
    if all != plan.sessions * plan.size {
        return Err(format!("{} ephemeral nodes were made and {all} are there", plan.sessions * plan.size));
    }
    let mut meter = Meter::begin(plan)?;
    let abandoned = Instant::now();
    drop(pool);
    let (mut first, mut left) = (abandoned, all);
    while left > 0 {
        std::thread::sleep(LOOK_EVERY);
        let now_left = count(&mut observer, &parent)?;
        if now_left == all {
            // The last look at which none had gone: the time from here is rather too long than too short.
            first = Instant::now();
        }
        if now_left < left {
            meter.record(abandoned);
        }
        left = now_left;
    }
    let (time_ms, whole_ms) = (ms(first.elapsed()).max(ms(LOOK_EVERY)), ms(abandoned.elapsed()));
    let extra = [(TIME_MS, time_ms), ("abandoned_to_last_ms", whole_ms), ("removed_per_s", all as f64 / time_ms * 1000.0)];
    meter.did(all as u64);
    let mut figures = meter.end(plan, "expiry", &extra)?;
    figures.ops_per_s = all as f64 / time_ms * 1000.0;
    observer.close_all()?;
    stage.clear()?;
    Ok(figures)
}

/// Sessions with their nodes, all answered.
fn with_ephemerals(plan: &Plan, parent: &str) -> Result<Pool, Failure> {
    let mut pool = connected(plan, plan.sessions, EXPIRING_TIMEOUT_MS)?;
    let mut news = NewsList::new();
    // One node of each session at a time, so that a session never has more than one request in flight.
    for node in 0..plan.size {
        for idx in 0..plan.sessions {
            let path = format!("{parent}/e{idx:05}-{node}");
            pool.send(idx, CREATED, &ephemeral(path.as_bytes(), false))?;
        }
        let mut left = plan.sessions;
        while left > 0 {
            pool.wait(&mut news)?;
            for (idx, heard) in news.drain(..) {
                match heard {
                    News::Reply { err, .. } => expect_ok(err, "create")?,
                    other => return Err(format!("session {idx} heard {other:?} while the nodes were made")),
                }
                left -= 1;
            }
        }
    }
    Ok(pool)
}

/// Children of a node, as the observer's server has them now.
fn count(observer: &mut Pool, parent: &str) -> Result<usize, Failure> {
    observer.send(0, 0, &Request::Sync { path: Some(parent.as_bytes()) })?;
    observer.send(0, 1, &Request::Exists { path: parent.as_bytes(), watch: false })?;
    let mut news = NewsList::new();
    loop {
        observer.wait(&mut news)?;
        for (_, heard) in news.drain(..) {
            match heard {
                News::Reply { tag: 0, err, .. } => expect_ok(err, "sync")?,
                News::Reply { err: 0, body, .. } => match decode_body(OpCode::Exists, &body) {
                    Ok(ReplyBody::Stat(stat)) => return Ok(stat.num_children.max(0) as usize),
                    other => return Err(format!("the reply to exists is {other:?}")),
                },
                other => return Err(format!("the observer heard {other:?}")),
            }
        }
    }
}

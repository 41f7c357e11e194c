//! The load itself: one thread, all sessions in one epoll; a closed loop, or an open one whose requests start when they are meant to.
//!
//! Guarantees: no session ever has more than `outstanding` requests in flight; only replies of the time that counts are counted, in an
//! open loop by the moment for which their requests were meant, answered or not; a server that falls silent ends the run.

mod record;
mod setup;
#[cfg(test)]
mod tests;

use crate::Failure;
use crate::arrivals::{Arrivals, Schedule};
use crate::figures::Figures;
use crate::progress::Progress;
use crate::session::Session;
use crate::syscalls::Syscalls;
use crate::usage::{Usage, Watched};
use crate::workload::Workload;
use record::Latencies;
use ringkeeper::base::prng::Prng;
use rustix::event::{Timespec, epoll};
pub use setup::fresh_root;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// HOST:PORT of each server; the sessions are spread over them.
    pub servers: Vec<String>,
    /// Processes and device of the servers, for what they use.
    pub watched: Watched,
    /// Whether to count system calls too, in a closed loop, for a while behind the time that counts.
    pub count_syscalls: bool,
    /// Connections.
    pub sessions: usize,
    /// Requests in flight of each.
    pub outstanding: usize,
    /// What they ask.
    pub workload: Workload,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Time that counts.
    pub measured: Duration,
    /// Time before that doesn't.
    pub warmup: Duration,
    /// Whether to delete all nodes afterwards.
    pub clean_up: bool,
    /// An open loop.
    pub arrivals: Option<Arrivals>,
    /// Time that the generator wastes for each reply, to show that it is noticed.
    pub wasted: Duration,
    /// While this is set, writes are counted apart from all others ([`APART_P99_9_US`]).
    pub apart: Option<Arc<AtomicBool>>,
}

/// Name in [`Figures::extra`]: 999 of 1000 writes that were answered while [`Plan::apart`] was set took no longer.
pub const APART_P99_9_US: &str = "apart_p99_9_us";
/// See [`APART_P99_9_US`]: how many they were.
pub const APART_COUNT: &str = "apart_count";

/// Name in [`Figures::extra`]: of a mixture of reads and writes, 99 of 100 reads that followed no unanswered write of their own
/// session took no longer. All others have to wait for that write, whatever the server: a session's answers come in order.
pub const FREE_READS_P99_US: &str = "free_reads_p99_us";

/// Without a single reply for this long the run is given up.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// How long an open loop waits for what wasn't served in time.
const LAST_REPLIES_MAX: Duration = Duration::from_secs(10);
/// Longest time that counts.
pub const MEASURED_MAX: Duration = Duration::from_secs(24 * 3600);
/// For so long system calls are counted.
const SYSCALLS_TIME: Duration = Duration::from_secs(1);
/// Sockets that one wait reports at most.
const EVENTS_MAX: usize = 256;
/// Requests of an open loop that are started between two looks at the sockets.
const STARTS_MAX: usize = 256;
/// Longest wait for a socket.
const WAIT_MAX_NS: u64 = 100_000_000;

impl Plan {
    /// What figures say of what was asked, before anything is measured.
    pub fn figures(&self) -> Figures {
        Figures {
            name: self.workload.to_string(),
            sessions: self.sessions,
            outstanding: self.outstanding,
            value_bytes: self.value_bytes,
            warmup_seconds: self.warmup.as_secs_f64(),
            ..Figures::default()
        }
    }
}

/// Runs the plan against the servers and says what came out.
pub fn run(plan: &Plan) -> Result<Figures, Failure> {
    if plan.sessions == 0 || plan.outstanding == 0 || plan.servers.is_empty() {
        return Err("at least one server, one session and one outstanding request are needed".to_owned());
    }
    if plan.measured.is_zero() || plan.measured.max(plan.warmup) > MEASURED_MAX {
        return Err("the time that counts has to be longer than nothing and at most a day".to_owned());
    }
    plan.arrivals.map_or(Ok(()), |arrivals| arrivals.check())?;
    let mut load = Load::prepare(plan)?;
    load.latencies = Latencies::for_plan(plan)?;
    let (measured, used) = match plan.arrivals {
        None => load.closed_loop(plan)?,
        Some(arrivals) => load.open_loop(plan, arrivals)?,
    };
    let latencies = std::mem::replace(&mut load.latencies, Latencies::new()?);
    let syscalls = if plan.count_syscalls && plan.arrivals.is_none() { load.syscalls_per_op(&plan.watched)? } else { None };
    load.drain()?;
    if plan.clean_up {
        load.clean_up(plan)?;
    }
    let mut figures = latencies.figures(plan, measured, &used)?;
    figures.server_syscalls_per_op = syscalls;
    Ok(figures)
}

/// All sessions under load.
struct Load {
    sessions: Vec<Session>,
    epoll: OwnedFd,
    root: String,
    clock: Instant,
    latencies: Latencies,
    wasted: Duration,
    last_reply: Instant,
}

/// What follows a reply.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// A request.
    Ask,
    /// The removal of a node, while there are any.
    CleanUp,
    /// Nothing.
    Rest,
}

/// An open loop that goes on.
struct Open {
    schedule: Schedule,
    outstanding: usize,
    end_ns: u64,
    next_session: usize,
    blocked: bool,
}

impl Load {
    fn closed_loop(&mut self, plan: &Plan) -> Result<(Duration, Usage), Failure> {
        self.start(plan.outstanding, Next::Ask)?;
        self.go_on_for(plan.warmup)?;
        self.latencies = Latencies::for_plan(plan)?;
        let (began, before) = (Instant::now(), Usage::now(&plan.watched)?);
        self.latencies.count_from(self.now_ns());
        let mut progress = Progress::new(plan.measured);
        while began.elapsed() < plan.measured {
            self.turn(Next::Ask, WAIT_MAX_NS)?;
            progress.show(|| self.latencies.progress());
        }
        Ok((began.elapsed(), Usage::now(&plan.watched)?.since(&before)))
    }

    /// Goes on for a moment while the servers' system calls are counted. `None` where they can't be.
    fn syscalls_per_op(&mut self, watched: &Watched) -> Result<Option<f64>, Failure> {
        self.latencies.count_from(self.now_ns());
        let Some(counting) = Syscalls::of(&watched.pids) else { return Ok(None) };
        self.go_on_for(SYSCALLS_TIME)?;
        let calls = counting.count();
        let replies = self.latencies.count();
        Ok((replies > 0).then(|| calls as f64 / replies as f64))
    }

    fn open_loop(&mut self, plan: &Plan, arrivals: Arrivals) -> Result<(Duration, Usage), Failure> {
        precise_timers()?;
        let start_ns = self.now_ns();
        let counts_ns = start_ns + plan.warmup.as_nanos() as u64;
        let end_ns = counts_ns + plan.measured.as_nanos() as u64;
        self.latencies.count_only(counts_ns, end_ns);
        let schedule = Schedule::new(arrivals, start_ns, Prng::from_seed(11));
        let mut open = Open { schedule, outstanding: plan.outstanding, end_ns, next_session: 0, blocked: false };
        self.last_reply = Instant::now();
        while self.now_ns() < counts_ns {
            self.open_turn(&mut open, counts_ns)?;
        }
        let before = Usage::now(&plan.watched)?;
        let mut progress = Progress::new(plan.measured);
        while self.now_ns() < end_ns {
            self.open_turn(&mut open, end_ns)?;
            progress.show(|| self.latencies.progress());
        }
        let used = Usage::now(&plan.watched)?.since(&before);
        // What was meant for the time that counts is served late, if at all, but counts.
        let last_ns = end_ns + LAST_REPLIES_MAX.as_nanos() as u64;
        let is_done = |load: &Load, open: &Open| open.schedule.next_ns() >= end_ns && load.sessions.iter().all(|s| s.waiting() == 0);
        while self.now_ns() < last_ns && !is_done(self, &open) {
            self.open_turn(&mut open, last_ns)?;
        }
        self.give_up(&mut open);
        Ok((plan.measured, used))
    }

    /// Counts what was never answered as having taken as long as it waited so far.
    fn give_up(&mut self, open: &mut Open) {
        let now_ns = self.now_ns();
        for session in &self.sessions {
            for burst in session.in_flight() {
                self.latencies.unserved(burst.start_ns, burst.kind, burst.count, now_ns);
            }
        }
        while open.schedule.next_ns() < open.end_ns {
            self.latencies.unserved(open.schedule.next_ns(), crate::workload::Kind::Write, 1, now_ns);
            open.schedule.advance();
        }
        self.latencies.stop();
    }

    /// Starts what is due, then waits for replies, at longest until the next request is due.
    fn open_turn(&mut self, open: &mut Open, until_ns: u64) -> Result<(), Failure> {
        self.start_due(open)?;
        let now_ns = self.now_ns();
        let next_ns = if open.blocked || open.schedule.next_ns() >= open.end_ns { u64::MAX } else { open.schedule.next_ns() };
        self.turn(Next::Rest, next_ns.min(until_ns).saturating_sub(now_ns).min(WAIT_MAX_NS))
    }

    fn start_due(&mut self, open: &mut Open) -> Result<(), Failure> {
        for _ in 0..STARTS_MAX {
            let (now_ns, start_ns) = (self.now_ns(), open.schedule.next_ns());
            if start_ns > now_ns || start_ns >= open.end_ns {
                open.blocked = false;
                return Ok(());
            }
            let count = self.sessions.len();
            let mut candidates = (0..count).map(|step| (open.next_session + step) % count);
            let Some(idx) = candidates.find(|idx| self.sessions[*idx].waiting() < open.outstanding) else {
                open.blocked = true;
                return Ok(());
            };
            open.next_session = (idx + 1) % count;
            if !open.blocked {
                self.latencies.started(start_ns, now_ns);
            }
            self.sessions[idx].add(1, start_ns, now_ns, false);
            self.send(idx)?;
            open.schedule.advance();
        }
        Ok(())
    }

    /// Puts the first requests on their way.
    fn start(&mut self, outstanding: usize, next: Next) -> Result<(), Failure> {
        self.last_reply = Instant::now();
        let now_ns = self.now_ns();
        for idx in 0..self.sessions.len() {
            self.sessions[idx].add(outstanding, now_ns, now_ns, next == Next::CleanUp);
            self.send(idx)?;
        }
        Ok(())
    }

    /// Keeps the closed loop going.
    fn go_on_for(&mut self, time: Duration) -> Result<(), Failure> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn(Next::Ask, WAIT_MAX_NS)?;
        }
        Ok(())
    }

    /// Waits for all replies without asking for more.
    fn drain(&mut self) -> Result<(), Failure> {
        self.latencies.stop();
        while self.sessions.iter().any(|s| s.waiting() > 0) {
            self.turn(Next::Rest, WAIT_MAX_NS)?;
        }
        Ok(())
    }

    /// One wait and everything that it reports.
    fn turn(&mut self, next: Next, wait_ns: u64) -> Result<(), Failure> {
        let empty = epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) };
        let mut events = [empty; EVENTS_MAX];
        let timeout = Timespec { tv_sec: 0, tv_nsec: wait_ns.min(WAIT_MAX_NS) as _ };
        let count = match epoll::wait(&self.epoll, &mut events[..], Some(&timeout)) {
            Ok(count) => count,
            Err(rustix::io::Errno::INTR) => 0,
            Err(e) => return Err(format!("waiting: {e}")),
        };
        for event in &events[..count] {
            let (idx, flags) = (event.data.u64() as usize, event.flags);
            let clock = self.clock;
            let answered = if flags.difference(epoll::EventFlags::OUT).is_empty() {
                0
            } else {
                self.sessions[idx].receive(|| clock.elapsed().as_nanos() as u64, &mut self.latencies)?
            };
            if answered > 0 {
                self.waste(answered);
                if next != Next::Rest {
                    let now_ns = self.now_ns();
                    self.sessions[idx].add(answered, now_ns, now_ns, next == Next::CleanUp);
                }
            }
            self.send(idx)?;
        }
        if count > 0 || self.sessions.iter().all(|s| s.waiting() == 0) {
            self.last_reply = Instant::now();
        } else if self.last_reply.elapsed() > SILENCE_MAX {
            return Err(format!("no reply for {} s", SILENCE_MAX.as_secs()));
        }
        Ok(())
    }

    fn waste(&self, replies: usize) {
        if !self.wasted.is_zero() {
            let end = Instant::now() + self.wasted * replies as u32;
            while Instant::now() < end {
                std::hint::spin_loop();
            }
        }
    }

    /// Sends, and asks to be told when a full socket has room again.
    fn send(&mut self, idx: usize) -> Result<(), Failure> {
        let session = &mut self.sessions[idx];
        let was_full = session.is_full();
        let is_full = session.send()?;
        if was_full != is_full {
            let wanted = if is_full { epoll::EventFlags::IN | epoll::EventFlags::OUT } else { epoll::EventFlags::IN };
            let data = epoll::EventData::new_u64(idx as u64);
            epoll::modify(&self.epoll, session.stream(), data, wanted).map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    fn now_ns(&self) -> u64 {
        self.clock.elapsed().as_nanos() as u64
    }
}

/// Lets this thread's waits end when they are due; the kernel adds up to 50 µs otherwise, to save wake-ups.
fn precise_timers() -> Result<(), Failure> {
    // SAFETY: PR_SET_TIMERSLACK takes a number and touches no memory of this process.
    let status = unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong) };
    if status == 0 { Ok(()) } else { Err(format!("timer slack: {}", std::io::Error::last_os_error())) }
}

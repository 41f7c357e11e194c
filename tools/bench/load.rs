//! The load itself: one thread, all sessions in one epoll, a closed loop.

use crate::Failure;
use crate::figures::{Figures, Latency};
use crate::session::{Replies, Session};
use crate::usage::Usage;
use crate::workload::{Kind, Source, Workload, plain_create, value};
use hdrhistogram::Histogram;
use ringkeeper::base::prng::Prng;
use ringkeeper::model::error_code::ErrorCode;
use ringkeeper::model::request::Request;
use rustix::event::{Timespec, epoll};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// HOST:PORT.
    pub server: String,
    /// Processes of the server, for their CPU time.
    pub pids: Vec<u32>,
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
}

/// Without a single reply for this long the run is given up.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// Requests that the setup has in flight.
const SETUP_BURST: usize = 200;
/// Sockets that one wait reports at most.
const EVENTS_MAX: usize = 256;
/// Latencies above this count as this.
const LATENCY_NS_MAX: u64 = 120_000_000_000;

/// Runs the plan against a server and says what came out.
pub fn run(plan: &Plan) -> Result<Figures, Failure> {
    if plan.sessions == 0 || plan.outstanding == 0 {
        return Err("at least one session and one outstanding request are needed".to_owned());
    }
    let mut load = Load::prepare(plan)?;
    load.start(plan.outstanding)?;
    load.go_on_for(plan.warmup)?;
    load.latencies = Latencies::new()?;
    let (began, before) = (Instant::now(), Usage::now(&plan.pids)?);
    load.go_on_for(plan.measured)?;
    let (measured, used) = (began.elapsed(), Usage::now(&plan.pids)?.since(&before));
    let latencies = std::mem::replace(&mut load.latencies, Latencies::new()?);
    load.drain()?;
    if plan.clean_up {
        load.clean_up(plan.outstanding)?;
    }
    latencies.figures(plan, measured, &used)
}

/// Histograms in nanoseconds.
struct Latencies {
    reads: Histogram<u64>,
    writes: Histogram<u64>,
}

impl Latencies {
    fn new() -> Result<Latencies, Failure> {
        let histogram = || Histogram::new_with_bounds(100, LATENCY_NS_MAX, 3).map_err(|e| e.to_string());
        Ok(Latencies { reads: histogram()?, writes: histogram()? })
    }

    fn figures(&self, plan: &Plan, measured: Duration, used: &Usage) -> Result<Figures, Failure> {
        let mut all = self.reads.clone();
        all.add(&self.writes).map_err(|e| e.to_string())?;
        let latency = Latency::of(&all).ok_or("no reply arrived in the time that counts")?;
        let (reads, writes) = (Latency::of(&self.reads), Latency::of(&self.writes));
        let mixed = reads.is_some() && writes.is_some();
        let mut figures = Figures {
            sessions: plan.sessions,
            outstanding: plan.outstanding,
            value_bytes: plan.value_bytes,
            seconds: measured.as_secs_f64(),
            reads: reads.filter(|_| mixed),
            writes: writes.filter(|_| mixed),
            ..Figures::of(plan.workload, all.len() as f64 / measured.as_secs_f64(), latency)
        };
        figures.set_usage(used);
        Ok(figures)
    }
}

impl Replies for Latencies {
    fn answered(&mut self, kind: Kind, latency_ns: u64, count: u64) {
        let histogram = match kind {
            Kind::Read => &mut self.reads,
            Kind::Write => &mut self.writes,
        };
        histogram.saturating_record_n(latency_ns, count);
    }
}

/// All sessions under load.
struct Load {
    sessions: Vec<Session>,
    epoll: OwnedFd,
    root: String,
    clock: Instant,
    latencies: Latencies,
    cleaning_up: bool,
    last_reply: Instant,
}

impl Load {
    /// Connects everything and creates the nodes.
    fn prepare(plan: &Plan) -> Result<Load, Failure> {
        let mut sessions = Vec::with_capacity(plan.sessions);
        for _ in 0..plan.sessions {
            sessions.push(Session::connect(&plan.server)?);
        }
        for session in &mut sessions {
            session.finish_handshake()?;
        }
        let root = format!("/bench-{}", std::process::id());
        let value = value(plan.value_bytes);
        let paths: Vec<String> = (0..plan.sessions).map(|idx| format!("{root}/s{idx:05}")).collect();
        let exists = Some(ErrorCode::NodeExists.code());
        sessions[0].call_all(&[plain_create(root.as_bytes(), b"")], exists)?;
        for burst in paths.chunks(SETUP_BURST) {
            let creates: Vec<Request<'_>> = burst.iter().map(|path| plain_create(path.as_bytes(), &value)).collect();
            sessions[0].call_all(&creates, None)?;
        }
        let random = Prng::from_seed(7);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| e.to_string())?;
        for (idx, session) in sessions.iter_mut().enumerate() {
            session.source = Some(Source::new(plan.workload, &paths[idx], &value, random.stream(&paths[idx])));
            let data = epoll::EventData::new_u64(idx as u64);
            epoll::add(&epoll, session.stop_blocking()?, data, epoll::EventFlags::IN).map_err(|e| e.to_string())?;
        }
        let now = Instant::now();
        Ok(Load { sessions, epoll, root, clock: now, latencies: Latencies::new()?, cleaning_up: false, last_reply: now })
    }

    /// Puts the first requests on their way.
    fn start(&mut self, outstanding: usize) -> Result<(), Failure> {
        self.last_reply = Instant::now();
        let now_ns = self.now_ns();
        for idx in 0..self.sessions.len() {
            self.sessions[idx].add(outstanding, now_ns, self.cleaning_up);
            self.send(idx)?;
        }
        Ok(())
    }

    /// Keeps the loop going.
    fn go_on_for(&mut self, time: Duration) -> Result<(), Failure> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn(true)?;
        }
        Ok(())
    }

    /// Waits for all replies without asking for more.
    fn drain(&mut self) -> Result<(), Failure> {
        while self.sessions.iter().any(|s| s.waiting() > 0) {
            self.turn(false)?;
        }
        Ok(())
    }

    /// Deletes all nodes, as busily as they were made.
    fn clean_up(&mut self, outstanding: usize) -> Result<(), Failure> {
        self.cleaning_up = true;
        self.start(outstanding)?;
        while self.sessions.iter().any(|s| s.waiting() > 0) {
            self.turn(true)?;
        }
        let root = std::mem::take(&mut self.root);
        let paths: Vec<String> = (0..self.sessions.len()).map(|idx| format!("{root}/s{idx:05}")).collect();
        let first = &mut self.sessions[0];
        first.block_again()?;
        for burst in paths.chunks(SETUP_BURST) {
            let deletes: Vec<Request<'_>> = burst.iter().map(|path| Request::Delete { path: path.as_bytes(), version: -1 }).collect();
            first.call_all(&deletes, None)?;
        }
        first.call_all(&[Request::Delete { path: root.as_bytes(), version: -1 }, Request::CloseSession], None)
    }

    /// One wait and everything that it reports.
    fn turn(&mut self, ask_more: bool) -> Result<(), Failure> {
        let empty = epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) };
        let mut events = [empty; EVENTS_MAX];
        let timeout = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
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
            if ask_more && answered > 0 {
                let now_ns = self.now_ns();
                self.sessions[idx].add(answered, now_ns, self.cleaning_up);
            }
            self.send(idx)?;
        }
        if count > 0 {
            self.last_reply = Instant::now();
        } else if self.last_reply.elapsed() > SILENCE_MAX {
            return Err(format!("no reply for {} s", SILENCE_MAX.as_secs()));
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_server;

    fn plan(server: String, workload: &str) -> Plan {
        Plan {
            server,
            pids: vec![std::process::id()],
            sessions: 3,
            outstanding: 5,
            workload: workload.parse().expect("a workload"),
            value_bytes: 10,
            measured: Duration::from_millis(200),
            warmup: Duration::from_millis(50),
            clean_up: true,
        }
    }

    #[test]
    fn every_workload_runs_counts_and_cleans_up() {
        for (workload, op) in [("set", 5), ("get", 4), ("create", 1), ("mixed:30", 4)] {
            let (server, seen) = fake_server::start(None);
            let figures = run(&plan(server, workload)).expect("a run");
            let seen = seen.lock().expect("no panic elsewhere");
            assert!(figures.operations > 0 && figures.latency.count == figures.operations, "{workload}");
            assert!(figures.server_cpu_us_per_op.is_some());
            assert!(seen.counts[&op] > 0, "{workload}");
            assert!(seen.nodes.is_empty(), "{workload} left {} nodes", seen.nodes.len());
            let asked: u64 = seen.counts.values().sum();
            assert!(figures.operations < asked, "what the warm-up and the setup did doesn't count");
            assert_eq!(figures.reads.is_some() && figures.writes.is_some(), workload == "mixed:30");
        }
    }

    #[test]
    fn the_share_of_reads_is_kept() {
        let (server, _seen) = fake_server::start(None);
        let figures = run(&plan(server, "mixed:80")).expect("a run");
        let share = figures.reads.expect("reads").count as f64 / figures.operations as f64;
        assert!((0.7..0.9).contains(&share), "{share}");
    }

    #[test]
    fn an_error_ends_the_run() {
        let (server, _seen) = fake_server::start(Some(100));
        let failure = run(&plan(server, "get")).expect_err("an error");
        assert!(failure.starts_with("the server answered -1 to request "), "{failure}");
    }
}

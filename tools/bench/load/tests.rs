use super::*;
use crate::fake_server::{self, Fault};

fn plan(server: String, workload: &str) -> Plan {
    Plan {
        servers: vec![server.clone(), server],
        watched: Watched { pids: vec![std::process::id()], device: None },
        count_syscalls: false,
        sessions: 3,
        outstanding: 5,
        workload: workload.parse().expect("a workload"),
        value_bytes: 10,
        measured: Duration::from_millis(200),
        warmup: Duration::from_millis(50),
        clean_up: true,
        arrivals: None,
        wasted: Duration::ZERO,
        apart: None,
    }
}

fn open(server: String, rate_per_s: f64, milliseconds: u64) -> Plan {
    let arrivals = Some(Arrivals { rate_per_s, poisson: true });
    Plan { arrivals, outstanding: 1000, measured: Duration::from_millis(milliseconds), ..plan(server, "set") }
}

#[test]
fn every_workload_runs_counts_and_cleans_up() {
    let workloads =
        [("set", 5), ("get", 4), ("create", 1), ("mixed:30", 4), ("multi:3", 14), ("children:7", 12), ("hadoop", 3), ("spark", 2)];
    for (workload, op) in workloads {
        let (server, seen) = fake_server::start(Fault::None);
        let figures = run(&plan(server, workload)).expect("a run");
        let seen = seen.lock().expect("no panic elsewhere");
        assert!(figures.operations > 0 && figures.latency.count == figures.operations, "{workload}");
        assert!(figures.server_cpu_us_per_op.is_some());
        assert!(seen.counts[&op] > 0, "{workload}");
        assert!(seen.nodes.is_empty(), "{workload} left {} nodes", seen.nodes.len());
        let asked: u64 = seen.counts.values().sum();
        assert!(figures.operations < asked, "what the warm-up and the setup did doesn't count");
        assert_eq!(figures.intervals.iter().map(|i| i.operations).sum::<u64>(), figures.operations);
        assert_eq!(figures.reads.is_some() && figures.writes.is_some(), ["mixed:30", "hadoop", "spark"].contains(&workload));
    }
}

#[test]
fn the_share_of_reads_is_kept() {
    let (server, _seen) = fake_server::start(Fault::None);
    let figures = run(&plan(server, "mixed:80")).expect("a run");
    let share = figures.reads.expect("reads").count as f64 / figures.operations as f64;
    assert!((0.7..0.9).contains(&share), "{share}");
}

#[test]
fn an_error_ends_the_run() {
    let (server, _seen) = fake_server::start(Fault::FailAfter(100));
    let failure = run(&plan(server, "get")).expect_err("an error");
    assert!(failure.starts_with("the server answered -1 to request "), "{failure}");
}

#[test]
fn a_stall_is_seen_by_everyone_in_an_open_loop_and_by_nearly_nobody_in_a_closed_one() {
    let stall = Fault::StallAt(1500, Duration::from_millis(200));
    let (server, _seen) = fake_server::start(stall);
    let one_by_one = Plan { sessions: 1, outstanding: 1, measured: Duration::from_secs(2), ..plan(server, "set") };
    let closed = run(&one_by_one).expect("a run");
    let (server, _seen) = fake_server::start(stall);
    let open = run(&open(server, 2000.0, 2000)).expect("a run");
    assert!(closed.latency.max_us >= 190_000.0 && open.latency.max_us >= 190_000.0, "the stall lies in both");
    assert!(closed.operations > 2000, "the fake server is too slow for this test: {closed}");
    assert!(closed.latency.p99_9_us < 100_000.0, "{closed}");
    assert!(open.latency.p99_9_us >= 190_000.0, "{open}");
    assert!(open.latency.p99_us >= 100_000.0, "a tenth of all was meant for the time of the stall: {open}");
    let meant_meanwhile = open.latency.p99_us - closed.latency.p99_us;
    assert!(meant_meanwhile > 0.0 && open.offered_per_s == Some(2000.0));
}

#[test]
fn a_narrow_window_hides_no_latency_in_an_open_loop() {
    let (server, _seen) = fake_server::start(Fault::StallAt(1000, Duration::from_millis(200)));
    let figures = run(&Plan { outstanding: 1, ..open(server, 2000.0, 1000) }).expect("a run");
    let service = figures.service.expect("an open loop has it");
    assert!(figures.latency.p99_us >= 100_000.0, "{figures}");
    assert!(service.p99_us < figures.latency.p99_us, "what waited for the window wasn't sent yet: {figures}");
}

#[test]
fn what_is_never_served_counts() {
    let (server, _seen) = fake_server::start(Fault::SilentFrom(400));
    let mut load = Load::prepare(&plan(server.clone(), "set")).expect("a load");
    let schedule = Schedule::new(Arrivals { rate_per_s: 1000.0, poisson: false }, load.now_ns(), Prng::from_seed(1));
    let (start_ns, end_ns) = (load.now_ns(), load.now_ns() + 1_000_000_000);
    load.latencies.count_only(start_ns, end_ns);
    let mut open = Open { schedule, outstanding: 10, end_ns, next_session: 0, blocked: false };
    while load.now_ns() < end_ns {
        load.open_turn(&mut open, end_ns).expect("a silent server is no error yet");
    }
    load.give_up(&mut open);
    let latencies = std::mem::replace(&mut load.latencies, Latencies::new().expect("histograms"));
    let figures = latencies.figures(&plan(server, "set"), Duration::from_secs(1), &Usage::default()).expect("figures");
    assert!((400..700).contains(&figures.unserved), "{figures}");
    assert_eq!(figures.operations + figures.unserved, 1000, "{figures}");
    assert!(figures.latency.p99_us > 400_000.0, "{figures}");
}

#[test]
fn a_generator_that_is_the_bottleneck_is_reported_with_its_own_cpu_use() {
    let (server, _seen) = fake_server::start(Fault::None);
    let slow = Plan { wasted: Duration::from_micros(500), measured: Duration::from_millis(600), ..plan(server, "set") };
    let figures = run(&slow).expect("a run");
    let warning = figures.warning().unwrap_or_else(|| panic!("no warning: {figures}"));
    assert!(warning.starts_with("the generator was the bottleneck: it used "), "{warning}");
    assert!(figures.generator_cpu_us_per_op >= 400.0, "{figures}");
}

#[test]
fn writes_are_counted_apart_while_that_is_wanted() {
    let (server, _seen) = fake_server::start(Fault::None);
    let flag = Arc::new(AtomicBool::new(true));
    let lowered = Arc::clone(&flag);
    let lowering = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(400));
        lowered.store(false, std::sync::atomic::Ordering::Relaxed);
    });
    let figures = run(&Plan { apart: Some(flag), ..open(server, 1000.0, 800) }).expect("a run");
    lowering.join().expect("a thread");
    let apart = figures.extra[APART_COUNT];
    assert!(apart > 50.0 && figures.latency.count > 50 && figures.extra[APART_P99_9_US] > 0.0, "{figures}");
    assert_eq!(apart as u64 + figures.latency.count, figures.operations, "{figures}");
}

#[test]
fn reads_behind_a_write_of_their_session_are_told_from_those_that_nothing_holds_back() {
    let (server, _seen) = fake_server::start(Fault::SlowSets(Duration::from_millis(10)));
    let mixed = Plan { sessions: 1, outstanding: 2, measured: Duration::from_millis(600), clean_up: false, ..plan(server, "mixed:80") };
    let figures = run(&mixed).expect("a run");
    let (all_us, free_us) = (figures.reads.expect("reads").p99_us, figures.extra[FREE_READS_P99_US]);
    assert!(all_us >= 10_000.0 && free_us < all_us, "all {all_us}, free {free_us}");
    let (server, _seen) = fake_server::start(Fault::None);
    let alone = run(&plan(server, "get")).expect("a run");
    assert!(!alone.extra.contains_key(FREE_READS_P99_US), "{alone}");
}

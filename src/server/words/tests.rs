//! Whole answers, to the byte.

use super::dump::{Deadline, DumpConn, SessionNodes, SessionsShown, dump};
use super::facts::Latency;
use super::mntr::{Counters, Gauges, MntrFacts, Number, Percentiles, Summary, mntr};
use super::simple::{self, ConfFacts, DirSizes};
use super::{status, watches, *};
use crate::base::ids::{SessionId, Zxid};

pub(super) const VERSION: Version<'static> = Version { own: "0.1.0", built: "2026-02-11 20:18" };

pub(super) fn text(render: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    render(&mut out);
    String::from_utf8(out).unwrap()
}

pub(super) fn server() -> ServerFacts<'static> {
    ServerFacts {
        version: VERSION,
        mode: Mode::Standalone,
        latency: Latency::default(),
        packets_received: 4,
        packets_sent: 5,
        connections: 1,
        outstanding: 0,
        zxid: Zxid(0),
        node_count: 5,
        proposal_bytes: None,
    }
}

fn probe() -> ConnFacts {
    ConnFacts { peer: "127.0.0.1:50002".parse().unwrap(), interest: 0, queued: 0, received: 1, sent: 0, session: None }
}

fn client() -> ConnFacts {
    let mut latency = Latency::default();
    [0, 27, 4].into_iter().for_each(|ms| latency.record(ms));
    let session = SessionFacts {
        id: SessionId(0x0300_002e_00d2_0000),
        last_op: "EXIS",
        established_wall_ms: 1_795_369_661_209,
        timeout_ms: 10_000,
        last_cxid: 4,
        last_zxid: Zxid(0x1_0000_001e),
        last_response_mono_ms: 3_100_250,
        last_latency_ms: 0,
        latency,
    };
    ConnFacts { peer: "[::1]:53648".parse().unwrap(), interest: 1, queued: 0, received: 5, sent: 6, session: Some(session) }
}

#[test]
fn srvr_and_stat_of_an_empty_server() {
    let head = "Zookeeper version: 3.9.5-ringkeeper-0.1.0, built on 2026-02-11 20:18 UTC\n";
    let tail = "Latency min/avg/max: 0/0.0/0\nReceived: 4\nSent: 5\nConnections: 1\nOutstanding: 0\nZxid: 0x0\n\
                Mode: standalone\nNode count: 5\n";
    assert_eq!(text(|out| status::srvr(out, &server())), format!("{head}{tail}"));
    let clients = "Clients:\n /127.0.0.1:50002[0](queued=0,recved=1,sent=0)\n\n";
    assert_eq!(text(|out| status::stat(out, &server(), [probe()].into_iter())), format!("{head}{clients}{tail}"));
}

#[test]
fn srvr_of_other_roles() {
    let mut facts = server();
    facts.mode = Mode::ReadOnly;
    assert!(text(|out| status::srvr(out, &facts)).contains(" UTC\nREAD-ONLY mode; serving only read-only clients\nLatency"));
    facts.mode = Mode::Leader;
    facts.zxid = Zxid(0x1_0000_0020);
    facts.proposal_bytes = Some((98, 36, 99));
    [0, 27, 4].into_iter().for_each(|ms| facts.latency.record(ms));
    let shown = text(|out| status::srvr(out, &facts));
    assert!(shown.contains("Latency min/avg/max: 0/10.3333/27\n"), "{shown}");
    assert!(shown.ends_with("Zxid: 0x100000020\nMode: leader\nNode count: 5\nProposal sizes last/min/max: 98/36/99\n"), "{shown}");
}

#[test]
fn cons_shows_sessions_and_hides_a_number_that_never_came() {
    assert_eq!(
        text(|out| status::cons(out, [client(), probe()].into_iter())),
        " /[::1]:53648[1](queued=0,recved=5,sent=6,sid=0x300002e00d20000,lop=EXIS,est=1795369661209,to=10000,lcxid=0x4,\
         lzxid=0x10000001e,lresp=3100250,llat=0,minlat=0,avglat=10,maxlat=27)\n /127.0.0.1:50002[0](queued=0,recved=1,sent=0)\n\n"
    );
    let mut fresh = client();
    let session = fresh.session.as_mut().unwrap();
    (session.last_op, session.last_cxid, session.last_zxid) = ("NA", -1, Zxid::from_i64(-1));
    let shown = text(|out| status::cons(out, [fresh].into_iter()));
    assert!(shown.contains(",lop=NA,est=1795369661209,to=10000,lzxid=0xffffffffffffffff,lresp="), "{shown}");
}

#[test]
fn conf_has_twelve_lines_and_dirs_two() {
    let sizes = DirSizes { data_bytes: 478, log_bytes: 479 };
    let facts = ConfFacts {
        client_port: 2181,
        data_dir: "/var/lib/d",
        data_log_dir: "/var/lib/l",
        sizes,
        tick_ms: 2000,
        max_client_cnxns: Some(60),
        min_session_timeout_ms: 4000,
        max_session_timeout_ms: 40_000,
        listen_backlog: None,
        server_id: 0,
        ensemble: None,
    };
    assert_eq!(
        text(|out| simple::conf(out, &facts)),
        "clientPort=2181\nsecureClientPort=-1\ndataDir=/var/lib/d\ndataDirSize=478\ndataLogDir=/var/lib/l\ndataLogSize=479\n\
         tickTime=2000\nmaxClientCnxns=60\nminSessionTimeout=4000\nmaxSessionTimeout=40000\nclientPortListenBacklog=-1\nserverId=0\n"
    );
    assert_eq!(text(|out| simple::dirs(out, sizes)), "datadir_size: 478\nlogdir_size: 479\n");
}

#[test]
fn the_words_of_one_value() {
    assert_eq!(simple::RUOK, b"imok");
    assert_eq!([simple::isro(Some(false)), simple::isro(Some(true)), simple::isro(None)], [&b"rw"[..], b"ro", b"null"]);
    assert_eq!(simple::trace_mask(simple::TRACE_MASK_DEFAULT), b"306");
    assert_eq!(simple::CRST, b"Connection stats reset.\n");
    assert_eq!(simple::SRST, b"Server stats reset.\n");
    let digests = [(Zxid(0x80), 5), (Zxid(0x100), u64::MAX)];
    assert_eq!(text(|out| simple::hash(out, digests.into_iter())), "80: 5\n100: -1\n");
    assert_eq!(text(|out| simple::hash(out, std::iter::empty())), "");
}

#[test]
fn envi_says_what_is_unknown() {
    let facts = simple::EnviFacts {
        version: "v",
        host_name: None,
        os_name: Some("Linux"),
        os_arch: Some("amd64"),
        os_version: Some("6.1"),
        user_name: Some("u"),
        user_home: Some("/h"),
        user_dir: Some("/w"),
        memory_free_mb: Some(12),
        memory_total_mb: None,
    };
    assert_eq!(
        text(|out| simple::envi(out, &facts)),
        "Environment:\nzookeeper.version=v\nhost.name=<NA>\nos.name=Linux\nos.arch=amd64\nos.version=6.1\nuser.name=u\n\
         user.home=/h\nuser.dir=/w\nos.memory.free=12MB\n"
    );
}

#[test]
fn dump_of_an_idle_and_of_a_busy_server() {
    let conn = |port: u16, session| DumpConn { peer: ([127, 0, 0, 1], port).into(), session: SessionId(session) };
    let idle = [Deadline { wall_ms: 1_795_342_412_000, items: vec![conn(50_003, 0)] }];
    assert_eq!(
        text(|out| dump(out, SessionsShown::Deadlines(&[]), &[], &idle)),
        "SessionTracker dump:\nSession Sets (0)/(0):\nephemeral nodes dump:\nSessions with Ephemerals (0):\n\
         Connections dump:\nConnections Sets (1)/(1):\n1 expire at Sun Nov 22 10:13:32 UTC 2026:\n\
         \tip: /127.0.0.1:50003 sessionId: 0x0\n"
    );
    let sessions =
        [Deadline { wall_ms: 0, items: vec![SessionId(16), SessionId(17)] }, Deadline { wall_ms: 2000, items: vec![SessionId(18)] }];
    let nodes = [SessionNodes { session: SessionId(16), paths: vec![b"/a", b"/b"] }];
    assert_eq!(
        text(|out| dump(out, SessionsShown::Deadlines(&sessions), &nodes, &[])),
        "SessionTracker dump:\nSession Sets (2)/(3):\n2 expire at Thu Jan 01 00:00:00 UTC 1970:\n\t0x10\n\t0x11\n\
         1 expire at Thu Jan 01 00:00:02 UTC 1970:\n\t0x12\nephemeral nodes dump:\nSessions with Ephemerals (1):\n0x10:\n\t/a\n\t/b\n\
         Connections dump:\nConnections Sets (0)/(0):\n"
    );
}

#[test]
fn watches_by_session_and_by_path() {
    let paths: [&[u8]; 2] = [b"/missing", b"/app"];
    let by_session = [(SessionId(0x30), paths.into_iter())];
    assert_eq!(text(|out| watches::wchc(out, by_session.into_iter())), "0x30\n\t/missing\n\t/app\n\n");
    let by_path = paths.map(|path| (path, [SessionId(0x30), SessionId(-1)].into_iter()));
    assert_eq!(
        text(|out| watches::wchp(out, by_path.into_iter())),
        "/missing\n\t0x30\n\t0xffffffffffffffff\n/app\n\t0x30\n\t0xffffffffffffffff\n\n"
    );
    assert_eq!(text(|out| watches::wchp(out, std::iter::empty::<(&[u8], std::iter::Empty<SessionId>)>())), "\n");
    assert_eq!(text(|out| watches::wchs(out, 1, 2, 3)), "1 connections watching 2 paths\nTotal watches:3\n");
}

pub(super) fn metrics() -> MntrFacts<'static> {
    let mut facts = MntrFacts {
        version: VERSION,
        mode: Mode::Standalone,
        gauges: Gauges::default(),
        counters: Counters::default(),
        basic: mntr::BasicSummaries::default(),
        advanced: mntr::AdvancedSummaries::default(),
        positions: None,
        log_full: None,
        stages: Vec::new(),
        ensemble: None,
    };
    facts.gauges.znode_count = Some(Number::Whole(5));
    facts.gauges.avg_latency = Some(Number::Fraction(0.0));
    facts.counters.bytes_received_count = Some(4);
    let mut summary = Summary::default();
    [8, 1].into_iter().for_each(|n| summary.record(n));
    facts.basic.dbinittime = Some(summary);
    facts.basic.fsynctime = Some(Summary::default());
    facts.advanced.readlatency = Some(Percentiles { summary, p50: 1, p95: 8, p99: 8, p999: 9 });
    facts
}

#[test]
fn mntr_shows_what_is_measured_in_the_order_of_the_groups() {
    assert_eq!(
        text(|out| mntr(out, &metrics())),
        "zk_version\t3.9.5-ringkeeper-0.1.0, built on 2026-02-11 20:18 UTC\nzk_server_state\tstandalone\nzk_avg_latency\t0.0\n\
         zk_znode_count\t5\nzk_bytes_received_count\t4\nzk_avg_fsynctime\t0.0\nzk_min_fsynctime\t0\nzk_max_fsynctime\t0\n\
         zk_cnt_fsynctime\t0\nzk_sum_fsynctime\t0\nzk_avg_dbinittime\t4.5\nzk_min_dbinittime\t1\nzk_max_dbinittime\t8\n\
         zk_cnt_dbinittime\t2\nzk_sum_dbinittime\t9\nzk_avg_readlatency\t4.5\nzk_min_readlatency\t1\nzk_max_readlatency\t8\n\
         zk_cnt_readlatency\t2\nzk_sum_readlatency\t9\nzk_p50_readlatency\t1\nzk_p95_readlatency\t8\nzk_p99_readlatency\t8\n\
         zk_p999_readlatency\t9\nzk_ringkeeper\t1\n"
    );
}

#[test]
fn mntr_says_whether_the_log_has_room() {
    for (full, line) in [(false, "\nzk_ringkeeper_log_full\t0\n"), (true, "\nzk_ringkeeper_log_full\t1\n")] {
        assert!(text(|out| mntr(out, &MntrFacts { log_full: Some(full), ..metrics() })).contains(line));
    }
}

#[test]
fn every_line_of_mntr_is_one_that_collectors_take() {
    for line in text(|out| mntr(out, &metrics())).lines() {
        let (name, value) = line.split_once('\t').unwrap();
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        assert!(name.strip_prefix("zk_").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(word)), "{line}");
        assert!(value.bytes().next().is_some_and(|b| word(b) || b == b'-') && !value.contains('\t'), "{line}");
    }
}

#[test]
fn words_are_refused_by_whitelist_first_and_then_for_not_serving() {
    let none = WordSet::EMPTY;
    assert_eq!(refusal(Word::Wchs, none, true).unwrap(), b"wchs is not executed because it is not in the whitelist.\n");
    assert_eq!(refusal(Word::Srvr, none, true), None);
    assert_eq!(refusal(Word::Wchs, WordSet::ALL, true), None);
    let idle = b"This ZooKeeper instance is not currently serving requests";
    assert_eq!(refusal(Word::Srvr, none, false).unwrap(), [&idle[..], b"\n"].concat());
    assert_eq!(refusal(Word::Hash, WordSet::ALL, false).unwrap(), idle);
    for word in [Word::Ruok, Word::Envi, Word::Gtmk, Word::Stmk, Word::Isro] {
        assert_eq!(refusal(word, WordSet::ALL, false), None);
        assert!(refusal(word, none, false).unwrap().ends_with(b"whitelist.\n"));
    }
}

#[test]
fn names_bytes_and_sets_agree() {
    let mut all = WordSet::EMPTY;
    for word in Word::ALL {
        assert_eq!(Word::from_name(word.name()), Some(word));
        assert_eq!(Word::recognise(word.name().as_bytes()), Some(word));
        assert!(!all.contains(word));
        all = all.with(word);
    }
    assert_eq!(all, WordSet::ALL);
    assert_eq!(all.iter().collect::<Vec<_>>(), Word::ALL);
    assert_eq!((Word::from_name("lead"), Word::from_name("")), (None, None));
}

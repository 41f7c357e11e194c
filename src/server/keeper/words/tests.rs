//! Words asked of a keeper that serves clients, through a front, with a disk that always succeeds.

use super::*;
use crate::base::ids::FrontId;
use crate::base::memory::{HeapMemory, HeapPool};
use crate::base::prng::Prng;
use crate::log::{DiskDone, DiskEffect};
use crate::model::acl::OPEN_UNSAFE;
use crate::model::create_mode::CreateMode;
use crate::model::file::NoFiles;
use crate::model::request::{Connect, Create, CreateOp, Request};
use crate::server::boot::recover_server;
use crate::server::config::{Beside, Companion, ConfigFile, Input, check_with};
use crate::server::front::{Front, FrontOptions, Verdict};
use crate::server::keeper::{Effects, Tell};
use crate::server::mail::{Burst, Then};
use crate::wire::client::client_side::{put_connect, put_request};

/// A disk without files.
struct Bench {
    keeper: Keeper<HeapMemory>,
    pool: HeapPool,
    fx: Effects<HeapMemory>,
    front: Front,
    burst: Burst,
    now: Now,
}

const WALL_MS: i64 = 1_795_342_400_000;

impl Bench {
    fn new(lines: &str) -> Bench {
        let text = format!("dataDir=/d\nclientPort=0\ntickTime=2000\nsnapCount=100000\n{lines}\n");
        let beside = Beside { my_id: Companion::Read(ConfigFile { name: "/d/myid", bytes: b"2" }), ..Beside::default() };
        let input = Input { file: Some(ConfigFile { name: "zoo.cfg", bytes: text.as_bytes() }), overrides: &[], cores_available: 1 };
        let (config, _) = check_with(&input, &beside).into_config().unwrap();
        let boot = recover_server(&NoFiles, &config, &mut Prng::from_seed(7)).unwrap();
        let now = Now { mono: MonoMs(1000), mono_ns: 1_000_000_000, wall_ms: WALL_MS };
        let (keeper, startup) = boot.keeper(&config, 1, now);
        let options = FrontOptions { frame_bytes_max: config.frame_bytes_max, sessionless_timeout_ms: 10_000, stuck_timeout_ms: 30_000 };
        let front = Front::new(FrontId(0), options);
        let mut bench = Bench { keeper, pool: HeapPool::default(), fx: Effects::new(1), front, burst: Burst::default(), now };
        bench.fx.disk.extend(startup);
        bench.settle();
        bench
    }

    fn open(&mut self, port: u16) -> ConnId {
        self.front.on_accept(([127, 0, 0, 1], port).into(), self.now.mono, &mut self.burst)
    }

    /// Runs turns until the disk has nothing more to do; returns what was sent to `conn`, and whether it was closed.
    fn send(&mut self, conn: ConnId, bytes: &[u8]) -> (Vec<u8>, bool) {
        self.burst.received_ns = self.now.mono_ns;
        self.front.on_bytes(conn, bytes, &mut self.burst);
        let (mut sent, mut closed) = (Vec::new(), false);
        for (to, bytes, then) in self.settle() {
            if to == conn {
                sent.extend(bytes);
                closed |= then == Then::Close;
            }
        }
        (sent, closed)
    }

    fn settle(&mut self) -> Vec<(ConnId, Vec<u8>, Then)> {
        let mut sent = Vec::new();
        let mut dones = Vec::new();
        for _ in 0..100 {
            let mut cx = Cx { now: self.now, pool: &mut self.pool, fx: &mut self.fx };
            for ticket in dones.drain(..) {
                self.keeper.on_disk(&mut cx, DiskDone::of(ticket, Ok(())));
            }
            self.keeper.on_burst(&mut cx, &std::mem::take(&mut self.burst));
            self.keeper.turn(&mut cx);
            self.keeper.tell_progress(&mut cx, Tell::All);
            dones.extend(self.fx.disk.drain(..).map(|effect| match effect {
                DiskEffect::Append { ticket, .. } | DiskEffect::Script { ticket, .. } | DiskEffect::Read { ticket, .. } => ticket,
            }));
            let outbox = self.fx.outboxes.of(FrontId(0));
            let mut at = 0;
            for part in std::mem::take(&mut outbox.parts) {
                sent.push((part.conn, outbox.bytes[at..at + part.len].to_vec(), part.then));
                at += part.len;
                self.front.on_answered(part.conn, part.replies, part.then, 0, self.now.mono, &mut self.burst);
                if part.then == Then::Close {
                    self.front.on_closed(part.conn, &mut self.burst);
                }
            }
            outbox.bytes.clear();
            if dones.is_empty() && self.burst.is_empty() {
                return sent;
            }
        }
        panic!("the keeper doesn't come to rest");
    }

    /// Asks a word on a connection of its own.
    fn ask(&mut self, word: &[u8]) -> String {
        let conn = self.open(50_000);
        let (answer, closed) = self.send(conn, word);
        assert!(closed, "{word:?} leaves its connection open");
        String::from_utf8(answer).unwrap()
    }

    fn session(&mut self, port: u16) -> ConnId {
        let conn = self.open(port);
        let mut bytes = Vec::new();
        let session = crate::base::ids::SessionId::NONE;
        let (last_zxid_seen, password) = (Zxid::ZERO, &[0; 16][..]);
        put_connect(&mut bytes, &Connect { protocol_version: 0, last_zxid_seen, timeout_ms: 10_000, session, password, read_only: None });
        let (answer, closed) = self.send(conn, &bytes);
        assert!(answer.len() == 40 && !closed, "{answer:?}");
        conn
    }

    fn request(&mut self, conn: ConnId, xid: i32, request: &Request<'_>) {
        let mut bytes = Vec::new();
        put_request(&mut bytes, xid, request);
        let (answer, closed) = self.send(conn, &bytes);
        // The error code lies behind length, xid and zxid.
        assert!(answer.len() >= 20 && answer[16..20] == [0; 4] && !closed, "{answer:?}");
    }

    fn create(&mut self, conn: ConnId, xid: i32, path: &[u8], mode: CreateMode) {
        let create = Create { op: CreateOp::Create, path, data: Some(b"x"), acl: Some(OPEN_UNSAFE), flags: mode as i32, ttl_ms: 0 };
        self.request(conn, xid, &Request::Create(create));
    }
}

const ALL: &str = "4lw.commands.whitelist=*";

#[test]
fn an_empty_server_answers_as_zookeeper_does() {
    let mut bench = Bench::new(ALL);
    let srvr = bench.ask(b"srvr");
    let (version, rest) = srvr.split_once('\n').unwrap();
    assert!(version.starts_with("Zookeeper version: 3.9.5-ringkeeper-") && version.ends_with(" UTC"), "{version}");
    assert_eq!(
        rest,
        "Latency min/avg/max: 0/0.0/0\nReceived: 1\nSent: 0\nConnections: 1\nOutstanding: 0\nZxid: 0x0\nMode: standalone\nNode count: 5\n"
    );
    assert_eq!(bench.ask(b"ruok"), "imok");
    assert_eq!(bench.ask(b"isro"), "rw");
    assert_eq!(bench.ask(b"cons"), " /127.0.0.1:50000[0](queued=0,recved=1,sent=0)\n\n");
    assert_eq!(bench.ask(b"wchs"), "0 connections watching 0 paths\nTotal watches:0\n");
    assert_eq!(bench.ask(b"hash"), "");
    assert!(bench.ask(b"conf").contains("\nminSessionTimeout=4000\nmaxSessionTimeout=40000\n"));
}

#[test]
fn sessions_ephemerals_and_watches_show() {
    let mut bench = Bench::new(ALL);
    let (a, b) = (bench.session(40_001), bench.session(40_002));
    bench.create(a, 1, b"/e", CreateMode::Ephemeral);
    bench.create(a, 2, b"/p", CreateMode::Persistent);
    bench.request(b, 1, &Request::GetData { path: b"/p", watch: true });
    bench.request(b, 2, &Request::GetChildren { path: b"/p", watch: true });
    let session = |conn: ConnId, bench: &Bench| bench.keeper.conns.get(bench.keeper.conns.find(conn).unwrap()).unwrap().session;
    let (sa, sb) = (session(a, &bench), session(b, &bench));
    let cons = bench.ask(b"cons");
    let line = format!(
        " /127.0.0.1:40001[1](queued=0,recved=3,sent=3,sid={sa},lop=CREA,est={WALL_MS},to=10000,lcxid=0x2,lzxid=0x4,lresp=1000,llat=0,minlat=0,\
         avglat=0,maxlat=0)\n"
    );
    assert!(cons.starts_with(&line), "{cons}\n{line}");
    // 10 s from 1 s, up to the next tick.
    let due = "Sun Nov 22 10:13:31 UTC 2026";
    assert_eq!(
        bench.ask(b"dump"),
        format!(
            "SessionTracker dump:\nSession Sets (1)/(2):\n2 expire at {due}:\n\t{sb}\n\t{sa}\nephemeral nodes dump:\n\
             Sessions with Ephemerals (1):\n{sa}:\n\t/e\nConnections dump:\nConnections Sets (2)/(3):\n1 expire at Sun Nov 22 10:13:30 UTC 2026:\n\
             \tip: /127.0.0.1:50000 sessionId: 0x0\n2 expire at {due}:\n\tip: /127.0.0.1:40001 sessionId: {sa}\n\
             \tip: /127.0.0.1:40002 sessionId: {sb}\n"
        )
    );
    assert_eq!(bench.ask(b"wchs"), "1 connections watching 1 paths\nTotal watches:1\n");
    assert_eq!(bench.ask(b"wchc"), format!("{sb}\n\t/p\n\n"));
    assert_eq!(bench.ask(b"wchp"), format!("/p\n\t{sb}\n\n"));
    assert!(bench.ask(b"mntr").contains("\nzk_watch_count\t2\n"), "the metric counts child watches too");
}

#[test]
fn cons_counts_events_and_shows_the_last_number_over_pings() {
    let mut bench = Bench::new(ALL);
    let (a, b) = (bench.session(40_001), bench.session(40_002));
    bench.create(a, 7, b"/p", CreateMode::Persistent);
    bench.request(b, 9, &Request::GetChildren { path: b"/p", watch: true });
    bench.create(a, 8, b"/p/c", CreateMode::Persistent);
    bench.request(a, -2, &Request::Ping);
    let cons = bench.ask(b"cons");
    let shows = |port: &str, parts: &[&str]| cons.lines().any(|line| line.contains(port) && parts.iter().all(|part| line.contains(part)));
    assert!(shows(":40001[", &["recved=4,sent=4,", ",lop=PING,", ",lcxid=0x8,"]), "{cons}");
    assert!(shows(":40002[", &["recved=2,sent=3,", ",lcxid=0x9,"]), "{cons}");
}

#[test]
fn conf_of_a_member_ends_with_the_membership() {
    let members = "server.1=a:2888:3888\nserver.2=b:2889:3889:observer\nserver.3=c:2888:3888;2181";
    let mut bench = Bench::new(&format!("syncLimit=7\nreadonlymode.enabled=true\n{members}"));
    assert_eq!(bench.ask(b"conf"), "This ZooKeeper instance is not currently serving requests\n", "it has no leader");
    // Without one it answers after a while to those who read.
    bench.now.mono = MonoMs(10_000);
    assert!(bench.ask(b"conf").ends_with(
        "\nserverId=2\ninitLimit=10\nsyncLimit=7\nelectionAlg=3\nelectionPort=3889\nquorumPort=2889\npeerType=1\nmembership: \n\
         server.1=a:2888:3888:participant\nserver.2=b:2889:3889:observer\nserver.3=c:2888:3888:participant;0.0.0.0:2181\nversion=0"
    ));
}

#[test]
fn mntr_counts_what_happened() {
    let mut bench = Bench::new(ALL);
    let (a, b) = (bench.session(40_001), bench.session(40_002));
    bench.create(a, 1, b"/p", CreateMode::Persistent);
    bench.request(b, 1, &Request::GetData { path: b"/p", watch: true });
    bench.now.mono_ns += 7_000_000;
    bench.request(a, 2, &Request::SetData { path: b"/p", data: None, version: -1 });
    bench.now.mono = MonoMs(1500);
    let sizes = DirSizes { data_bytes: 1, log_bytes: 2 };
    let figures = HostFigures { sizes, descriptors_open: Some(11), sync_ms: Summary::of(1, 3, 2, 4), ..HostFigures::default() };
    bench.keeper.set_host_figures(figures);
    let mntr = bench.ask(b"mntr");
    for line in [
        "zk_server_state\tstandalone",
        "zk_num_alive_connections\t3",
        "zk_znode_count\t6",
        "zk_global_sessions\t2",
        "zk_open_file_descriptor_count\t11",
        "zk_uptime\t500",
        "zk_connection_request_count\t2",
        "zk_commit_count\t4",
        "zk_proposal_count\t4",
        "zk_sum_node_changed_watch_count\t1",
        "zk_cnt_node_created_watch_count\t0",
        "zk_avg_fsynctime\t2.0",
        "zk_outstanding_requests\t0",
    ] {
        assert!(mntr.lines().any(|l| l == line), "{line} isn't in\n{mntr}");
    }
    assert!(!mntr.contains("max_file_descriptor_count"), "nobody measured it");
    let own = |name: &str| mntr.lines().find_map(|l| l.strip_prefix(&format!("zk_ringkeeper_{name}_zxid\t"))).unwrap().to_owned();
    let applied = bench.keeper.applied().0.to_string();
    for position in ["proposed", "accepted", "submitted", "durable", "committed", "applied"] {
        assert_eq!(own(position), applied, "{position}: everything came to rest");
    }
    assert_eq!(bench.ask(b"dirs"), "datadir_size: 1\nlogdir_size: 2\n");
}

#[test]
fn figures_are_reset_and_masks_kept() {
    let mut bench = Bench::new(ALL);
    let a = bench.session(40_001);
    bench.create(a, 1, b"/p", CreateMode::Persistent);
    assert_eq!(bench.ask(b"gtmk"), "306");
    assert_eq!(bench.ask(b"stmk\0\0\0\0\0\0\x01\x02"), "258");
    assert_eq!(bench.ask(b"gtmk"), "258");
    assert_eq!(bench.ask(b"crst"), "Connection stats reset.\n");
    let cons = bench.ask(b"cons");
    assert!(
        cons.contains("recved=0,sent=0,") && cons.contains("lop=NA,") && cons.contains(",to=10000,lzxid=0xffffffffffffffff,"),
        "{cons}"
    );
    assert_eq!(bench.ask(b"srst"), "Server stats reset.\n");
    assert!(bench.ask(b"srvr").contains("\nReceived: 1\nSent: 1\n"));
    let conn = bench.open(50_001);
    assert_eq!(bench.front.on_bytes(conn, b"\xff\xf4\xff\xfd", &mut bench.burst), Verdict::Close(None));
}

#[test]
fn every_128th_transaction_leaves_its_digest() {
    let mut bench = Bench::new(ALL);
    let a = bench.session(40_001);
    let mut expected = String::new();
    for xid in 2..=256 {
        bench.create(a, xid, format!("/n{xid}").as_bytes(), CreateMode::Persistent);
        if xid == 128 || xid == 256 {
            expected.push_str(&format!("{xid:x}: {}\n", bench.keeper.tree().digest().cast_signed()));
        }
    }
    assert_eq!(bench.ask(b"hash"), expected);
    let mut words = Words::new(bench.now);
    let tree = bench.keeper.tree();
    (0..2000 * DIGEST_EVERY).for_each(|n| words.on_applied(Zxid(n), tree));
    assert_eq!((words.digests.len(), words.digests.back().map(|d| d.0)), (DIGESTS_MAX, Some(Zxid(1999 * DIGEST_EVERY))));
}

#[test]
fn words_outside_the_whitelist_are_refused_and_a_stopping_server_says_so() {
    let mut bench = Bench::new("4lw.commands.whitelist=ruok,stat");
    assert_eq!(bench.ask(b"mntr"), "mntr is not executed because it is not in the whitelist.\n");
    assert_eq!(bench.ask(b"ruok"), "imok");
    assert!(bench.ask(b"srvr").contains("Mode: standalone"));
    bench.keeper.stop();
    assert_eq!(bench.ask(b"srvr"), "This ZooKeeper instance is not currently serving requests\n");
}

#[test]
fn a_full_disk_is_named_with_what_is_needed_and_what_is_free() {
    let said = super::full_disk("/srv/log", 65_536, Some(12));
    assert!(
        said.starts_with("the disk of /srv/log has no room for the next segment of the log (up to 65536 KiB are needed, 12 KiB were"),
        "{said}"
    );
    assert!(super::full_disk("/srv/log", 65_536, None).contains("(up to 65536 KiB are needed): writes are refused"));
}

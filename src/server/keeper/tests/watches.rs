//! Order and headers of events, through the whole way from the request.

use super::bench::{Bench, Seen, create};
use crate::base::ids::Zxid;
use crate::model::acl::{AclEntry, encode, perms};
use crate::model::request::{Create, CreateOp, Request, SetWatches};

const CREATED: i32 = 1;
const DELETED: i32 = 2;
const CHANGED: i32 = 3;
const CHILDREN: i32 = 4;

fn event(zxid: i64, kind: i32, path: &str) -> Seen {
    Seen::Event(zxid, kind, path.into())
}

fn exists(path: &str) -> Request<'_> {
    Request::Exists { path: path.as_bytes(), watch: true }
}

fn set(path: &str) -> Request<'_> {
    Request::SetData { path: path.as_bytes(), data: None, version: -1 }
}

#[test]
fn an_event_precedes_the_answer_to_its_write_and_reads_behind_it() {
    let mut bench = Bench::new();
    let conn = bench.client();
    bench.must(conn, &create("/a", 0));
    bench.ask(conn, &exists("/a"));
    let seen = bench.ask_all(conn, &[set("/a"), exists("/a"), set("/a")]);
    let brief: Vec<_> =
        seen.iter().map(|s| if let Seen::Reply(xid, zxid, err, _) = s { Seen::bare(*xid, *zxid, *err) } else { s.clone() }).collect();
    // The read behind the write registers anew, so that the second write fires too.
    assert_eq!(brief[..3], [event(3, CHANGED, "/a"), Seen::bare(1, 3, 0), Seen::bare(2, 3, 0)]);
    assert_eq!(brief[3..], [event(4, CHANGED, "/a"), Seen::bare(3, 4, 0)]);
}

#[test]
fn a_watch_of_another_connection_sees_only_what_is_durable() {
    let mut bench = Bench::new();
    let (writer, watcher) = (bench.client(), bench.client());
    bench.ask(watcher, &exists("/a"));
    bench.disk_waits = true;
    bench.ask(writer, &create("/a", 0));
    assert_eq!(bench.news(watcher), []);
    bench.disk_waits = false;
    bench.settle();
    assert_eq!(bench.news(watcher), [event(3, CREATED, "/a")]);
}

#[test]
fn the_events_of_a_multi_share_its_zxid_and_a_failed_one_has_none() {
    let mut bench = Bench::new();
    let (conn, watcher) = (bench.client(), bench.client());
    let persistent = |path| Request::AddWatch { path, mode: 0 };
    bench.ask_all(watcher, &[persistent(b"/"), persistent(b"/a"), persistent(b"/b")]);
    let delete = |path: &'static str| Request::Delete { path: path.as_bytes(), version: -1 };
    bench.must(conn, &Request::Multi(vec![create("/a", 0), set("/a"), create("/b", 0), delete("/a")]));
    let wanted = [
        event(3, CREATED, "/a"),
        event(3, CHILDREN, "/"),
        event(3, CHANGED, "/a"),
        event(3, CREATED, "/b"),
        event(3, CHILDREN, "/"),
        event(3, DELETED, "/a"),
        event(3, CHILDREN, "/"),
    ];
    assert_eq!(bench.news(watcher), wanted);
    bench.ask(conn, &Request::Multi(vec![set("/b"), delete("/none")]));
    assert_eq!(bench.news(watcher), []);
}

#[test]
fn the_end_of_a_session_is_seen_by_others_under_its_zxid_and_by_itself_before_the_answer() {
    let mut bench = Bench::new();
    let (leaving, watcher) = (bench.client(), bench.client());
    for path in ["/x", "/y"] {
        bench.must(leaving, &create(path, 1));
        bench.ask(watcher, &exists(path));
    }
    bench.ask(watcher, &Request::GetChildren { path: b"/", watch: true });
    bench.ask(leaving, &exists("/x"));
    let own = bench.ask(leaving, &Request::CloseSession);
    assert_eq!(own, [event(5, DELETED, "/x"), Seen::bare(1, 5, 0), Seen::End]);
    let mut seen = bench.news(watcher);
    seen.sort_by_key(|s| format!("{s:?}"));
    assert_eq!(seen, [event(5, DELETED, "/x"), event(5, DELETED, "/y"), event(5, CHILDREN, "/")]);
    assert!(bench.keeper.sessions().get(crate::base::ids::SessionId(0)).is_none());
}

#[test]
fn catching_up_tells_what_was_missed_before_the_answer_without_a_zxid() {
    let mut bench = Bench::new();
    let conn = bench.client();
    let before = bench.must(conn, &create("/a", 0));
    bench.must(conn, &create("/a/kid", 0));
    let lists = |since: i64| {
        Request::SetWatches(SetWatches {
            relative_zxid: Zxid::from_i64(since),
            data: vec![b"/a", b"/gone"],
            exist: vec![b"/a", b"/never"],
            child: vec![b"/a", b"/gone"],
            persistent: vec![b"/a"],
            persistent_recursive: vec![],
        })
    };
    let gone = event(-1, DELETED, "/gone");
    let made = event(-1, CREATED, "/a");
    let kids = event(-1, CHILDREN, "/a");
    assert_eq!(bench.ask(conn, &lists(before)), [gone.clone(), made.clone(), kids.clone(), gone.clone(), Seen::bare(1, 3, 0)]);
    // A client that has seen nothing may say -1, and then hears of everything.
    let all = [event(-1, CHANGED, "/a"), gone.clone(), made, kids, gone, Seen::bare(1, 3, 0)];
    assert_eq!(bench.ask(conn, &lists(-1)), all);
    let seen = bench.ask(conn, &set("/a"));
    assert_eq!(seen[0], event(4, CHANGED, "/a"), "what wasn't missed is registered");
    assert_eq!(seen.len(), 2, "one event, however many watches match");
}

#[test]
fn an_event_of_a_node_that_may_not_be_read_is_dropped() {
    let mut bench = Bench::new();
    let (owner, stranger) = (bench.client(), bench.client());
    let write_only = encode([AclEntry { perms: perms::ALL & !perms::READ, scheme: b"world", id: b"anyone" }]);
    let hidden = Create { op: CreateOp::Create, path: b"/h", data: None, acl: Some(&write_only), flags: 0, ttl_ms: 0 };
    bench.ask_all(stranger, &[exists("/h"), Request::GetChildren { path: b"/", watch: true }]);
    bench.must(owner, &Request::Create(hidden));
    assert_eq!(bench.news(stranger), [event(3, CHILDREN, "/")]);
    bench.must(owner, &set("/h"));
    assert_eq!(bench.news(stranger), [], "the watch was used up all the same");
}

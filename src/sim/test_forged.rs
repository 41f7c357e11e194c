//! The checkers judged: a good history with one thing forged in it must be refused, whatever is forged.

use super::coverage::Coverage;
use super::history::{Arrived, History, Txn};
use super::options::Options;
use super::watching;
use super::world::{World, new_replay};
use crate::base::ids::Zxid;
use crate::base::prng::Prng;
use crate::model::error_code::ErrorCode;
use crate::model::op_code::OpCode;
use crate::model::txn::OpRef;

fn options(seed: u64) -> Options {
    let mut options = Options { endings: 0, fail_op: 0, full_ms: 0, rot: 0, stop_percent: 0, bulk: 0, ..Options::draw(seed) };
    (options.clients, options.requests, options.reads, options.watches, options.sets, options.syncs) = (3, 200, 6, 6, 6, 2);
    options
}

fn run(seed: u64) -> (Options, History) {
    let options = options(seed);
    let mut world = World::new(options.clone(), false).unwrap();
    world.run().unwrap();
    let mut history = world.history().clone();
    (history.judged_asked, history.judged_conns) = (0, 0);
    (options, history)
}

fn judge(options: &Options, mut history: History) -> Result<(), String> {
    let mut coverage = Coverage::default();
    let to = history.txns().last().map_or(Zxid::ZERO, |t| t.head.zxid);
    let mut replay = new_replay(options);
    replay.advance(&mut history, to, &mut coverage)?;
    replay.were_gone(&history.told_gone)?;
    watching::judge(&mut history, options.skip_acl, to, &mut coverage)
}

/// Requests that were answered, by index, that `fits`.
fn answered(history: &History, fits: impl Fn(OpCode, i32) -> bool) -> Vec<usize> {
    let of = |idx: &usize| {
        let asked = &history.asked[*idx];
        let op = OpCode::from_wire(asked.op);
        op.zip(asked.reply.as_ref()).is_some_and(|(op, reply)| fits(op, reply.err))
    };
    (0..history.asked.len()).filter(of).collect()
}

/// Forges in up to so many places of a run, and counts those that nobody notices.
const PLACES: usize = 8;

/// What is forged in it, given where to draw a place from; false when there is no such place.
type Forgery = fn(&mut History, &mut Prng) -> bool;

fn pick(prng: &mut Prng, of: &[usize]) -> Option<usize> {
    (!of.is_empty()).then(|| of[prng.index(of.len())])
}

fn unnoticed(forge: Forgery) -> (usize, usize) {
    let (mut tried, mut missed) = (0, 0);
    for seed in [11, 12, 13] {
        let (options, good) = run(seed);
        assert_eq!(judge(&options, good.clone()), Ok(()), "seed {seed} unforged");
        let mut prng = Prng::from_seed(seed);
        for _ in 0..PLACES {
            let mut forged = good.clone();
            if forge(&mut forged, &mut prng) {
                tried += 1;
                missed += usize::from(judge(&options, forged).is_ok());
            }
        }
    }
    (tried, missed)
}

fn is_noticed(forge: Forgery) {
    let (tried, missed) = unnoticed(forge);
    assert!(tried >= PLACES, "only {tried} places to forge");
    assert_eq!(missed, 0, "of {tried}");
}

const WRITES: [OpCode; 3] = [OpCode::Create, OpCode::Create2, OpCode::SetData];

#[test]
fn a_session_that_is_told_of_its_move_is_noticed() {
    is_noticed(|history, prng| {
        let refused = answered(history, |op, err| WRITES.contains(&op) && err != 0);
        let Some(idx) = pick(prng, &refused) else { return false };
        history.asked[idx].reply.as_mut().unwrap().err = ErrorCode::SessionMoved.code();
        true
    });
}

#[test]
fn a_session_that_is_called_gone_before_its_end_is_committed_is_noticed() {
    is_noticed(|history, prng| {
        // What lives to the end is called gone at its birth; what ends, one transaction too early.
        let too_early = |txn: &Txn| match txn.ops.get(0) {
            Some(OpRef::CreateSession { .. }) => Some((txn.head.session, txn.head.zxid)),
            Some(OpRef::CloseSession) => Some((txn.head.session, history.before(txn.head.zxid))),
            _ => None,
        };
        let early: Vec<_> = history.txns().iter().filter_map(too_early).collect();
        let places: Vec<usize> = (0..early.len()).collect();
        let Some(at) = pick(prng, &places) else { return false };
        history.told_gone.push(early[at]);
        true
    });
}

#[test]
fn an_acknowledged_write_that_is_missing_is_noticed() {
    is_noticed(|history, prng| {
        let Some(idx) = pick(prng, &answered(history, |op, err| WRITES.contains(&op) && err == 0)) else { return false };
        let zxid = history.asked[idx].reply.as_ref().map(|r| Zxid::from_i64(r.zxid)).unwrap();
        history.ledger.txns.retain(|t| t.head.zxid != zxid);
        true
    });
}

#[test]
fn a_write_that_went_through_twice_is_noticed() {
    is_noticed(|history, prng| {
        let Some(idx) = pick(prng, &answered(history, |op, err| WRITES.contains(&op) && err == 0)) else { return false };
        let zxid = history.asked[idx].reply.as_ref().map(|r| Zxid::from_i64(r.zxid)).unwrap();
        let mut again = history.txn(zxid).cloned().unwrap();
        again.head.zxid = Zxid(history.txns().last().unwrap().head.zxid.0 + 1);
        history.ledger.txns.push(again);
        true
    });
}

#[test]
fn two_writes_of_a_session_in_the_wrong_order_are_noticed() {
    is_noticed(|history, prng| {
        let txns = history.txns();
        let swappable = |at: &usize| {
            let (a, b) = (&txns[*at].head, &txns[at + 1].head);
            a.session == b.session && a.cxid > 0 && b.cxid > 0
        };
        let places: Vec<usize> = (0..txns.len() - 1).filter(swappable).collect();
        let Some(at) = pick(prng, &places) else { return false };
        let (first, second) = (txns[at].head.zxid, txns[at + 1].head.zxid);
        let txns = &mut history.ledger.txns;
        txns.swap(at, at + 1);
        (txns[at].head.zxid, txns[at + 1].head.zxid) = (first, second);
        true
    });
}

#[test]
fn an_acknowledged_write_that_says_it_failed_is_noticed() {
    is_noticed(|history, prng| {
        let Some(idx) = pick(prng, &answered(history, |op, err| WRITES.contains(&op) && err == 0)) else { return false };
        history.asked[idx].reply.as_mut().unwrap().err = -101;
        true
    });
}

#[test]
fn an_error_that_was_never_true_is_noticed() {
    is_noticed(|history, prng| {
        let Some(idx) = pick(prng, &answered(history, |op, err| WRITES.contains(&op) && (err == -101 || err == -110))) else {
            return false;
        };
        let reply = history.asked[idx].reply.as_mut().unwrap();
        reply.err = if reply.err == -101 { -103 } else { -111 };
        true
    });
}

#[test]
fn a_stat_with_another_version_is_noticed() {
    is_noticed(|history, prng| {
        let Some(idx) = pick(prng, &answered(history, |op, err| op == OpCode::SetData && err == 0)) else { return false };
        // The version lies behind czxid, mzxid, ctime and mtime.
        history.asked[idx].reply.as_mut().unwrap().body[35] ^= 1;
        true
    });
}

#[test]
fn a_read_of_other_data_is_noticed() {
    is_noticed(|history, prng| {
        let reads = answered(history, |op, err| matches!(op, OpCode::GetData | OpCode::Exists) && err == 0);
        let Some(idx) = pick(prng, &reads) else { return false };
        let body = &mut history.asked[idx].reply.as_mut().unwrap().body;
        let last = body.len() - 1;
        body[last] ^= 1;
        true
    });
}

#[test]
fn a_reply_older_than_what_its_session_saw_is_noticed() {
    is_noticed(|history, prng| {
        let reads = answered(history, |op, err| op == OpCode::GetData && err == 0);
        let reads: Vec<usize> = reads.into_iter().filter(|idx| history.asked[*idx].seen > Zxid::ZERO).collect();
        let Some(idx) = pick(prng, &reads) else { return false };
        let seen = history.asked[idx].seen;
        history.asked[idx].reply.as_mut().unwrap().zxid = seen.as_i64() - 1;
        true
    });
}

#[test]
fn a_sync_older_than_what_anybody_saw_is_noticed() {
    is_noticed(|history, prng| {
        let syncs = answered(history, |op, err| op == OpCode::Sync && err == 0);
        let fits = |idx: &usize| history.asked[*idx].seen_by_anybody > history.asked[*idx].seen;
        let syncs: Vec<usize> = syncs.into_iter().filter(fits).collect();
        let Some(idx) = pick(prng, &syncs) else { return false };
        let seen = history.asked[idx].seen;
        history.asked[idx].reply.as_mut().unwrap().zxid = seen.as_i64();
        true
    });
}

/// Places of events before a reply on their connection: (connection, place).
fn events(history: &History) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (conn, log) in history.conns.iter().enumerate() {
        let last_reply = log.arrived.iter().rposition(|a| matches!(a, Arrived::Reply(_))).unwrap_or(0);
        for (at, arrived) in log.arrived[..last_reply].iter().enumerate() {
            if matches!(arrived, Arrived::Event { zxid, .. } if *zxid > 0) {
                found.push((conn, at));
            }
        }
    }
    found
}

fn with_event(history: &mut History, prng: &mut Prng, forge: impl FnOnce(&mut Vec<Arrived>, usize)) -> bool {
    let found = events(history);
    if found.is_empty() {
        return false;
    }
    let (conn, at) = found[prng.index(found.len())];
    forge(&mut history.conns[conn].arrived, at);
    true
}

#[test]
fn a_lost_event_is_noticed() {
    is_noticed(|history, prng| with_event(history, prng, |arrived, at| drop(arrived.remove(at))));
}

#[test]
fn an_event_that_comes_twice_is_noticed() {
    is_noticed(|history, prng| with_event(history, prng, |arrived, at| arrived.insert(at, arrived[at].clone())));
}

#[test]
fn an_event_behind_the_reply_that_shows_its_change_is_noticed() {
    is_noticed(|history, prng| {
        with_event(history, prng, |arrived, at| {
            let event = arrived.remove(at);
            let next = arrived[at..].iter().position(|a| matches!(a, Arrived::Reply(_))).unwrap();
            arrived.insert(at + next + 1, event);
        })
    });
}

#[test]
fn an_event_elsewhere_is_noticed() {
    is_noticed(|history, prng| {
        with_event(history, prng, |arrived, at| {
            if let Arrived::Event { path, .. } = &mut arrived[at] {
                path.push(b'!');
            }
        })
    });
}

//! The oracles of an ensemble judged: what each of them exists for is refused, and only that.

use super::coverage::Coverage;
use super::ledger::{Ledger, server_id};
use super::presence::Presence;
use super::protocol::Protocol;
use crate::base::checksum::checksum;
use crate::base::ids::{ClusterId, ServerId, SessionId, ShardId, Zxid};
use crate::log::batch::{HEADER_BYTES, Identity, Local, Place, Replicated};
use crate::log::meta::Meta;
use crate::log::record::encode_record;
use crate::model::membership::{Member, Membership};
use crate::model::ops::OpBuf;
use crate::model::peer::{Lane, Message};
use crate::model::position::Position;
use crate::model::txn::{OpRef, TxnHead};
use crate::wire::peer::put;

fn ledger(servers: usize) -> Ledger {
    let member = |node: usize| Member {
        id: server_id(node),
        votes: true,
        weight: 1,
        group: 0,
        host: String::new(),
        quorum_port: 1,
        election_port: 2,
        client: None,
    };
    Ledger::new(Membership::new(1, (0..servers).map(member)))
}

/// A batch of one transaction that follows `previous`; `salt` makes another of it.
fn batch(previous: Identity, zxid: Zxid, salt: i64) -> (Vec<u8>, Identity) {
    let mut ops = OpBuf::default();
    ops.push(OpRef::Delete { path: b"/a" });
    let head = TxnHead { zxid, session: SessionId(1), cxid: 1, time_ms: salt };
    let mut bytes = vec![0; 4096];
    let len = encode_record(&head, &ops, &mut bytes[HEADER_BYTES + 4..]).unwrap();
    bytes[HEADER_BYTES..HEADER_BYTES + 4].copy_from_slice(&u32::try_from(len).unwrap().to_le_bytes());
    let body_len = len + 4;
    let replicated = Replicated {
        cluster: ClusterId(1),
        first: zxid,
        last: zxid,
        body_len: u32::try_from(body_len).unwrap(),
        records: 1,
        body_checksum: checksum(&bytes[HEADER_BYTES..HEADER_BYTES + body_len]),
        previous,
        committed: Zxid::ZERO,
    };
    let identity = replicated.write(&mut bytes);
    Local { generation: 1, shard: ShardId(0), offset: 0, previous: Place::NONE, durable_cut: Zxid::ZERO }.write(&mut bytes);
    (bytes, identity)
}

fn z(epoch: u32, counter: u64) -> Zxid {
    Zxid::new(epoch, counter)
}

/// Three batches of epoch 1.
fn chain() -> Vec<(Vec<u8>, Identity)> {
    let mut previous = Identity::default();
    let mut all = Vec::new();
    for counter in 1..=3 {
        let next = batch(previous, z(1, counter), 0);
        previous = next.1;
        all.push(next);
    }
    all
}

fn write(ledger: &mut Ledger, node: usize, batches: &[(Vec<u8>, Identity)]) {
    for (bytes, identity) in batches {
        ledger.tap(node, bytes).unwrap();
        ledger.landed(node, *identity);
    }
}

fn meta(generation: u64, start: Identity, epochs: (u32, u32)) -> Meta {
    let (accepted_epoch, current_epoch) = epochs;
    Meta {
        cluster: ClusterId(1),
        accepted_epoch,
        current_epoch,
        generation,
        start,
        sequence: generation,
        ended: Vec::new(),
        repairing: false,
    }
}

#[test]
fn what_is_applied_is_durable_on_a_quorum_contiguously() {
    let mut ledger = ledger(3);
    let all = chain();
    for node in 0..2 {
        all.iter().for_each(|(bytes, _)| {
            ledger.tap(node, bytes).unwrap();
        });
    }
    ledger.landed(0, all[0].1);
    ledger.landed(0, all[1].1);
    assert!(ledger.committed(0, z(1, 2)).unwrap_err().contains("is durable on"), "on one of three");
    // The second shard of the other server is ahead of its first one.
    ledger.landed(1, all[1].1);
    assert!(ledger.is_partly_durable(1));
    assert!(ledger.committed(0, z(1, 2)).is_err());
    ledger.landed(1, all[0].1);
    assert_eq!(ledger.committed(0, z(1, 2)), Ok(()));
    assert_eq!(ledger.txns.len(), 2);
    assert_eq!(ledger.shown(z(1, 2)), Ok(()));
    assert!(ledger.shown(z(1, 3)).is_err(), "not committed");
}

#[test]
fn an_epoch_has_one_history_and_all_servers_have_the_same() {
    let mut ledger = ledger(3);
    let all = chain();
    write(&mut ledger, 0, &all);
    let (other, _) = batch(Identity::default(), z(1, 1), 7);
    assert!(ledger.tap(2, &other).unwrap_err().contains("two histories"));

    let mut ledger = self::ledger(3);
    write(&mut ledger, 0, &all[..2]);
    write(&mut ledger, 1, &all[..2]);
    ledger.committed(0, z(1, 2)).unwrap();
    let (bytes, identity) = batch(all[0].1, z(2, 1), 0);
    write(&mut ledger, 2, &all[..1]);
    write(&mut ledger, 2, &[(bytes, identity)]);
    assert!(ledger.committed(2, z(2, 1)).unwrap_err().contains("which follows"), "it skips what is committed");
}

#[test]
fn nothing_committed_is_cut_and_nothing_durable_is_lost() {
    let mut ledger = ledger(3);
    let all = chain();
    write(&mut ledger, 0, &all);
    write(&mut ledger, 1, &all[..2]);
    ledger.committed(1, z(1, 2)).unwrap();
    ledger.started(0, &meta(1, Identity::default(), (1, 1))).unwrap();
    let (mut other, good) = (ledger.clone(), meta(2, all[1].1, (1, 1)));
    assert_eq!(ledger.metadata(0, &good), Ok((true, false)), "what isn't committed may go");
    assert!(!ledger.is_durable(0, z(1, 3)));
    assert!(other.metadata(0, &meta(2, all[0].1, (1, 1))).unwrap_err().contains("is committed"));

    assert!(ledger.clone().recovered(0, all[0].1).unwrap_err().contains("a lost write"));
    assert_eq!(ledger.recovered(0, all[1].1), Ok(()));
    assert!(ledger.clone().started(0, &meta(3, all[1].1, (0, 0))).unwrap_err().contains("were durable"), "a forgotten promise");
    let stranger = batch(all[1].1, z(1, 9), 0).1;
    assert!(ledger.recovered(0, stranger).unwrap_err().contains("never written"));
}

#[test]
fn a_wiped_server_is_excused_until_it_has_everything_again() {
    let mut ledger = ledger(3);
    let all = chain();
    write(&mut ledger, 0, &all);
    write(&mut ledger, 1, &all);
    ledger.committed(0, z(1, 3)).unwrap();
    ledger.excuse(1, true);
    assert_eq!(ledger.recovered(1, Identity::default()), Ok(()));
    assert!(ledger.is_wiped(1) && !ledger.mended(1));
    assert_eq!(ledger.shown(z(1, 3)), Ok(()), "one copy is left, by no fault of the servers");
    write(&mut ledger, 1, &all);
    assert!(ledger.mended(1) && !ledger.is_excused(1));
}

/// What `message` of server 1 is judged.
fn says(protocol: &mut Protocol, ledger: &mut Ledger, node: usize, message: &Message<'_>) -> Result<(), String> {
    let mut bytes = Vec::new();
    put(&mut bytes, ServerId(u8::try_from(node + 1).unwrap()), message);
    protocol.leaves(node, (2, Lane::Main), &bytes, ledger, &mut Coverage::default()).map(drop)
}

#[test]
fn nothing_is_said_that_is_not_durable() {
    let (mut ledger, mut protocol) = (ledger(3), Protocol::default());
    let all = chain();
    all.iter().for_each(|(bytes, _)| {
        ledger.tap(0, bytes).unwrap();
    });
    ledger.landed(0, all[0].1);
    ledger.started(1, &meta(1, Identity::default(), (2, 1))).unwrap();
    let position = |last| Position { current_epoch: 0, last };
    let promise = |epoch, last| Message::Promise { epoch, position: position(last) };
    assert!(says(&mut protocol, &mut ledger, 0, &promise(1, all[0].1)).is_err(), "an epoch that isn't durable");
    assert!(says(&mut protocol, &mut ledger, 1, &promise(2, all[0].1)).is_err(), "a position that isn't durable");
    assert_eq!(says(&mut protocol, &mut ledger, 1, &promise(2, Identity::default())), Ok(()));
    let ack = |counter| Message::Ack { epoch: 1, durable: z(1, counter), beat: 0 };
    assert!(says(&mut protocol, &mut ledger, 0, &ack(2)).is_err());
    assert_eq!(says(&mut protocol, &mut ledger, 0, &ack(1)), Ok(()));
    let ack_leader = |epoch| Message::AckLeader { epoch, last: Identity::default() };
    assert!(says(&mut protocol, &mut ledger, 1, &ack_leader(2)).is_err(), "the current epoch isn't durable");
    assert_eq!(says(&mut protocol, &mut ledger, 1, &ack_leader(1)), Ok(()));
    let progress = Message::Progress { epoch: 1, committed: z(1, 1), beat: 0, confirmed: 0 };
    assert!(says(&mut protocol, &mut ledger, 0, &progress).is_err(), "durable on one of three");
}

#[test]
fn an_epoch_has_one_leader_whom_a_quorum_promised() {
    let (mut ledger, mut protocol) = (ledger(3), Protocol::default());
    let lead = Message::Lead { epoch: 2 };
    ledger.started(0, &meta(1, Identity::default(), (2, 0))).unwrap();
    assert!(says(&mut protocol.clone(), &mut ledger, 0, &lead).unwrap_err().contains("only"));
    ledger.started(1, &meta(1, Identity::default(), (2, 0))).unwrap();
    assert_eq!(says(&mut protocol, &mut ledger, 0, &lead), Ok(()));
    assert!(says(&mut protocol, &mut ledger, 1, &lead).unwrap_err().contains("both lead"));
}

#[test]
fn no_session_expires_before_its_time() {
    let mut presence = Presence::default();
    presence.created(SessionId(1), 1000, 0);
    presence.heard(SessionId(1), 500);
    assert!(presence.expired(SessionId(1), 1400).is_err());
    assert_eq!(presence.expired(SessionId(1), 1500), Ok(()));
    presence.timers_from_ms = 900;
    assert!(presence.expired(SessionId(1), 1500).is_err(), "a new leader gives everybody the whole timeout");
    presence.late_ms = 50;
    assert!(presence.expired(SessionId(1), 1700).is_err());
    presence.trouble_ms = 950;
    assert_eq!(presence.expired(SessionId(1), 1700), Ok(()), "the news may have been lost on the way");
    presence.heard(SessionId(1), 2500);
    presence.trouble_ms = 0;
    assert_eq!(presence.expired(SessionId(1), 2600), Ok(()), "it was heard again when its time was over already");
}

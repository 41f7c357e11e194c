//! NEWLEADER and its acknowledgement, establishment, commits, rounds.

use super::at;
use super::bench::{Bench, following, persisted, role, send};
use crate::base::ids::{ServerId, Zxid};
use crate::model::peer::Message;
use crate::model::position::Identity;
use crate::zab::{Input, Output, Persisted, Role};

const LAST: Identity = Identity { zxid: Zxid(3 << 40 | 5), checksum: 1 };

fn z(counter: u64) -> Zxid {
    Zxid::new(4, counter)
}

fn ack(durable: Zxid, beat: u64) -> Message<'static> {
    Message::Ack { epoch: 4, durable, beat }
}

fn progress(committed: Zxid, beat: u64, confirmed: u64) -> Message<'static> {
    Message::Progress { epoch: 4, committed, beat, confirmed }
}

fn synced_epoch() -> Persisted {
    Persisted { accepted_epoch: 4, current_epoch: 4, ..persisted() }
}

#[test]
fn a_learner_acknowledges_when_first_the_history_and_then_the_epoch_is_durable() {
    let mut b = Bench::with(1, Persisted { repairing: true, ..persisted() }, LAST);
    b.follow();
    assert_eq!(b.hear(3, Message::NewLeader { epoch: 4, last: at(3, 7, 1) }), []);
    assert_eq!(b.step(Input::Durable { last: at(3, 6, 1) }), []);
    assert_eq!(b.step(Input::Durable { last: at(3, 7, 1) }), [Output::Store(synced_epoch())], "and it is repaired");
    assert_eq!(b.step(Input::Flush), []);
    let acknowledged = send(3, Message::AckLeader { epoch: 4, last: at(3, 7, 1) });
    assert_eq!(b.step(Input::Stored), std::slice::from_ref(&acknowledged));
    assert_eq!(b.step(Input::Flush), [send(3, ack(at(3, 7, 1).zxid, 0))]);
    assert_eq!(b.hear(3, Message::NewLeader { epoch: 4, last: at(3, 7, 1) }), [acknowledged], "asked again it says it again");
    assert_eq!(b.hear(3, Message::NewLeader { epoch: 4, last: at(3, 8, 1) }), [], "and for more when it has more");
    assert_eq!(b.step(Input::Durable { last: at(3, 8, 1) }), [send(3, Message::AckLeader { epoch: 4, last: at(3, 8, 1) })]);
}

#[test]
fn a_learner_that_left_meanwhile_acknowledges_nothing() {
    let mut b = Bench::new(1);
    b.follow();
    b.hear(3, Message::NewLeader { epoch: 4, last: LAST });
    b.step(Input::Down { peer: ServerId(3) });
    assert_eq!(b.step(Input::Stored), []);
    assert_eq!(b.zab.persisted().current_epoch, 4, "though the epoch is durable, and its history was");
}

#[test]
fn a_learner_with_another_batch_at_the_same_place_synchronises_anew() {
    let mut b = Bench::new(1);
    b.follow();
    let out = b.hear(3, Message::NewLeader { epoch: 4, last: at(3, 5, 2) });
    assert_eq!(out, [role(Role::Looking), Output::Drop { peer: ServerId(3) }]);
}

#[test]
fn a_learner_takes_commits_when_its_history_is_the_leaders_and_serves_after_uptodate() {
    let mut b = Bench::new(1);
    b.follow();
    assert_eq!(b.hear(3, progress(LAST.zxid, 9, 8)), [], "its own batches may be others than the leader's");
    assert_eq!(b.hear(3, Message::UpToDate { epoch: 4, committed: LAST.zxid }), [], "it has acknowledged nothing");
    b.hear(3, Message::NewLeader { epoch: 4, last: LAST });
    b.step(Input::Stored);
    assert_eq!(b.hear(3, progress(z(1), 9, 8)), [Output::Confirmed(8), Output::Committed(z(1))]);
    assert_eq!(b.hear(3, progress(LAST.zxid, 9, 8)), [], "positions only grow");
    let serves = Role::Following { leader: ServerId(3), epoch: 4, serving: true };
    assert_eq!(b.hear(3, Message::UpToDate { epoch: 4, committed: z(2) }), [Output::Committed(z(2)), role(serves)]);
    let other = Message::Progress { epoch: 3, committed: z(9), beat: 1, confirmed: 1 };
    assert_eq!(b.hear(3, other), [], "of another epoch");
    assert_eq!(b.hear(2, progress(z(9), 1, 1)), [], "of another server");
}

#[test]
fn a_learner_acknowledges_once_a_turn_what_moved() {
    let mut b = Bench::new(1);
    b.follow();
    b.hear(3, Message::NewLeader { epoch: 4, last: LAST });
    b.step(Input::Stored);
    b.step(Input::Flush);
    assert_eq!(b.step(Input::Flush), []);
    b.step(Input::Durable { last: at(4, 1, 1) });
    b.hear(3, progress(LAST.zxid, 9, 8));
    assert_eq!(b.step(Input::Flush), [send(3, ack(z(1), 9))]);
    b.hear(3, progress(LAST.zxid, 10, 8));
    assert_eq!(b.step(Input::Flush), [send(3, ack(z(1), 10))]);
}

#[test]
fn a_leader_counts_itself_when_its_own_epoch_is_durable() {
    let mut b = Bench::new(1);
    b.lead();
    b.pulse(2, following(1, 4));
    assert_eq!(b.step(Input::Streamed { peer: ServerId(2), last: LAST }), [send(2, Message::NewLeader { epoch: 4, last: LAST })]);
    assert_eq!(b.hear(2, Message::AckLeader { epoch: 4, last: LAST }), []);
    let leads = Role::Leading { epoch: 4, established: true };
    let up_to_date = send(2, Message::UpToDate { epoch: 4, committed: LAST.zxid });
    assert_eq!(b.step(Input::Stored), [Output::Committed(LAST.zxid), role(leads), up_to_date]);
}

#[test]
fn only_an_acknowledgement_of_the_newleader_that_was_sent_establishes() {
    let mut b = Bench::new(1);
    b.lead();
    b.pulse(2, following(1, 4));
    b.step(Input::Stored);
    assert_eq!(b.hear(2, Message::AckLeader { epoch: 4, last: LAST }), [], "none was sent");
    b.step(Input::Streamed { peer: ServerId(2), last: LAST });
    assert_eq!(b.hear(2, Message::AckLeader { epoch: 4, last: at(3, 4, 1) }), []);
    assert_eq!(b.hear(2, Message::AckLeader { epoch: 3, last: LAST }), []);
    b.up(&[2]);
    b.pulse(2, following(1, 4));
    assert_eq!(b.hear(2, Message::AckLeader { epoch: 4, last: LAST }), [], "that was another connection");
    b.up(&[4]);
    b.step(Input::Streamed { peer: ServerId(4), last: LAST });
    b.pulse(4, following(1, 4));
    assert_eq!(b.hear(4, Message::AckLeader { epoch: 4, last: LAST }), [], "an observer establishes nobody");
    assert_eq!(b.zab.role(), Role::Leading { epoch: 4, established: false });
}

#[test]
fn acks_before_the_newleader_is_acknowledged_are_tolerated_and_count_for_nothing() {
    let mut b = Bench::new(1);
    b.establish();
    b.step(Input::Proposed { last: at(4, 1, 1) });
    b.step(Input::Streamed { peer: ServerId(3), last: at(4, 1, 1) });
    b.step(Input::Durable { last: at(4, 1, 1) });
    assert_eq!(b.hear(3, ack(z(1), 0)), []);
    let up_to_date = send(3, Message::UpToDate { epoch: 4, committed: z(1) });
    assert_eq!(b.hear(3, Message::AckLeader { epoch: 4, last: at(4, 1, 1) }), [Output::Committed(z(1)), up_to_date]);
}

#[test]
fn what_a_quorum_is_durable_through_is_committed() {
    let mut b = Bench::new(1);
    b.establish();
    for n in 1..=3 {
        b.step(Input::Proposed { last: at(4, n, 1) });
    }
    assert_eq!(b.hear(2, ack(z(2), 0)), [], "its own disk isn't so far");
    assert_eq!(b.step(Input::Durable { last: at(4, 1, 1) }), [Output::Committed(z(1))]);
    assert_eq!(b.step(Input::Durable { last: at(4, 3, 1) }), [Output::Committed(z(2))]);
    assert_eq!(b.hear(2, ack(z(1), 0)), [], "positions only grow");
    assert_eq!(b.hear(2, ack(z(4), 0)), [], "that was never proposed");
    assert_eq!(b.hear(2, ack(z(3), 0)), [Output::Committed(z(3))]);
    assert_eq!(b.zab.committed(), z(3));
}

#[test]
fn an_observers_ack_commits_nothing() {
    let mut b = Bench::new(1);
    b.establish();
    b.up(&[4]);
    b.pulse(4, following(1, 4));
    b.step(Input::Streamed { peer: ServerId(4), last: LAST });
    b.hear(4, Message::AckLeader { epoch: 4, last: LAST });
    b.step(Input::Proposed { last: at(4, 1, 1) });
    b.step(Input::Durable { last: at(4, 1, 1) });
    assert_eq!(b.hear(4, ack(z(1), 0)), []);
}

#[test]
fn a_round_is_confirmed_by_answers_to_what_left_after_it_was_opened() {
    let mut b = Bench::new(1);
    b.establish();
    let first = b.zab.open_round();
    assert_eq!(b.zab.open_round(), first, "shared in one turn");
    assert_eq!((b.zab.beat(), b.zab.progress()), (first, Some(progress(LAST.zxid, first, first - 1))));
    b.step(Input::Flush);
    let second = b.zab.open_round();
    assert_eq!(second, first + 1, "messages with the first one have left");
    assert_eq!(b.hear(2, ack(LAST.zxid, first)), [Output::Confirmed(first)]);
    assert_eq!(b.hear(2, ack(LAST.zxid, second + 1)), [], "nothing carried that");
    b.up(&[3]);
    b.pulse(3, following(1, 4));
    b.step(Input::Streamed { peer: ServerId(3), last: LAST });
    assert_eq!(b.hear(3, ack(LAST.zxid, second)), [], "NEWLEADER isn't acknowledged");
    assert_eq!(b.hear(2, ack(LAST.zxid, second)), [Output::Confirmed(second)]);
}

#[test]
fn messages_that_fit_no_relation_are_not_accepted() {
    let mut b = Bench::new(1);
    b.establish();
    let follow = Message::Follow { epoch: 4, last: LAST, probe: false };
    let forward = Message::Forward { epoch: 4, bytes: &[] };
    assert!(b.zab.accepts(ServerId(3), &follow) && b.zab.accepts(ServerId(2), &forward));
    assert!(!b.zab.accepts(ServerId(3), &forward), "it isn't synchronised");
    assert!(!b.zab.accepts(ServerId(4), &follow) && !b.zab.accepts(ServerId(9), &follow), "no connection, no member");
    assert!(!b.zab.accepts(ServerId(3), &Message::Follow { epoch: 3, last: LAST, probe: false }));
    assert!(!b.zab.accepts(ServerId(2), &progress(z(1), 0, 0)), "a leader has none");
    let mut b = Bench::new(1);
    b.follow();
    assert!(b.zab.accepts(ServerId(3), &progress(z(1), 0, 0)) && !b.zab.accepts(ServerId(2), &progress(z(1), 0, 0)));
    assert!(!b.zab.accepts(ServerId(3), &follow));
}

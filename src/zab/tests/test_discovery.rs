//! Promises, candidacies, founding.

use super::bench::{Bench, behind, empty, leading, looking, persisted, role, send};
use super::{CLUSTER, SILENCE_MS, at};
use crate::base::ids::{ClusterId, EPOCH_MAX, ServerId, Zxid};
use crate::model::peer::{Message, Pulse, Refusal, Stance, Standing};
use crate::model::position::Position;
use crate::zab::{Input, Output, Persisted, Role};

fn ask(epoch: u32, position: Position) -> Message<'static> {
    Message::NewEpoch { epoch, position, cluster: CLUSTER, founding: false }
}

fn refuse(peer: u8, epoch: u32, accepted_epoch: u32, why: Refusal) -> Output {
    send(peer, Message::Refuse { epoch, accepted_epoch, position: looking().position, why })
}

#[test]
fn a_promise_leaves_when_it_is_durable() {
    let mut b = Bench::new(1);
    b.up(&[2, 3]);
    let stored = Persisted { accepted_epoch: 4, ..persisted() };
    assert_eq!(b.hear(2, ask(4, looking().position)), [Output::Store(stored)]);
    assert_eq!(b.step(Input::Tick), []);
    assert_eq!(b.step(Input::Stored), [send(2, Message::Promise { epoch: 4, position: looking().position })]);
    assert_eq!(*b.zab.persisted(), stored);
}

#[test]
fn an_epoch_is_promised_to_one_candidate_but_told_it_again() {
    let mut b = Bench::new(1);
    b.up(&[2, 3]);
    b.hear(2, ask(4, looking().position));
    b.step(Input::Stored);
    assert_eq!(b.hear(3, ask(4, looking().position)), [refuse(3, 4, 4, Refusal::Promised)]);
    assert_eq!(b.hear(3, ask(3, looking().position)), [refuse(3, 3, 4, Refusal::Promised)]);
    b.step(Input::Down { peer: ServerId(2) });
    b.up(&[2]);
    b.hear(2, ask(4, looking().position));
    assert_eq!(
        b.step(Input::Stored),
        [send(2, Message::Promise { epoch: 4, position: looking().position })],
        "the promise was lost on the way"
    );
}

#[test]
fn a_promise_on_its_way_to_the_disk_is_overtaken_by_one_for_a_later_epoch() {
    let mut b = Bench::new(1);
    b.up(&[2, 3]);
    b.hear(2, ask(4, looking().position));
    assert_eq!(b.hear(3, ask(5, looking().position)), [], "one store at a time");
    assert_eq!(b.step(Input::Stored), [Output::Store(Persisted { accepted_epoch: 5, ..persisted() })]);
    assert_eq!(b.step(Input::Stored), [send(3, Message::Promise { epoch: 5, position: looking().position })]);
}

#[test]
fn no_promise_for_an_older_history_nor_over_a_connection_that_ended() {
    let mut b = Bench::new(1);
    b.up(&[2, 3]);
    let older = Position { current_epoch: 2, last: at(3, 9, 1) };
    assert_eq!(b.hear(2, ask(4, older)), [refuse(2, 4, 3, Refusal::Newer)]);
    let shorter = Position { current_epoch: 3, last: at(3, 4, 1) };
    assert_eq!(b.hear(2, ask(4, shorter)), [refuse(2, 4, 3, Refusal::Newer)]);
    b.hear(2, ask(4, looking().position));
    b.step(Input::Down { peer: ServerId(2) });
    assert_eq!(b.step(Input::Stored), []);
}

#[test]
fn a_question_waits_until_the_log_is_at_rest() {
    let mut b = Bench::new(1);
    b.follow();
    b.step(Input::Down { peer: ServerId(3) });
    assert_eq!(b.hear(2, ask(5, looking().position)), []);
    let more = Position { current_epoch: 3, last: at(3, 6, 1) };
    assert_eq!(
        b.step(Input::Settled { last: at(3, 6, 1) }),
        [send(2, Message::Refuse { epoch: 5, accepted_epoch: 3, position: more, why: Refusal::Newer })]
    );
    b.hear(2, ask(6, more));
    assert_eq!(b.step(Input::Stored), [send(2, Message::Promise { epoch: 6, position: more })]);
}

#[test]
fn who_leads_or_follows_refuses_and_so_does_who_has_no_voice() {
    let mut b = Bench::new(1);
    b.follow();
    assert_eq!(b.hear(2, ask(9, looking().position)), [refuse(2, 9, 3, Refusal::Content)]);
    let mut b = Bench::new(1);
    b.establish();
    assert_eq!(b.hear(3, ask(9, looking().position)).len(), 1);
    assert_eq!(b.zab.role(), Role::Leading { epoch: 4, established: true });
    for lacking in [Persisted { repairing: true, ..persisted() }, Persisted { current_epoch: 0, ..persisted() }] {
        let mut b = Bench::with(1, lacking, at(3, 5, 1));
        b.up(&[2, 3]);
        let out = b.hear(2, ask(9, looking().position));
        assert!(matches!(out[..], [Output::Send { message: Message::Refuse { why: Refusal::NoVoice, .. }, .. }]), "{out:?}");
    }
}

#[test]
fn a_candidate_asks_when_its_own_promise_is_durable_and_leads_with_a_quorum() {
    let mut b = Bench::new(1);
    b.up(&[2, 3, 4]);
    let all = b.pass(200, &[(2, behind())]);
    assert_eq!(all, [Output::Store(Persisted { accepted_epoch: 4, ..persisted() })]);
    assert_eq!(b.hear(2, Message::Promise { epoch: 4, position: looking().position }), [], "nobody was asked yet");
    let asked = Message::NewEpoch { epoch: 4, position: looking().position, cluster: CLUSTER, founding: false };
    assert_eq!(b.step(Input::Stored), [send(2, asked), send(3, asked)], "voters only");
    assert_eq!(b.hear(2, Message::Promise { epoch: 3, position: looking().position }), []);
    assert_eq!(b.hear(4, Message::Promise { epoch: 4, position: looking().position }), [], "an observer has no vote");
    let lead = Message::Lead { epoch: 4 };
    assert_eq!(
        b.hear(2, Message::Promise { epoch: 4, position: looking().position }),
        [
            role(Role::Leading { epoch: 4, established: false }),
            send(2, lead),
            send(3, lead),
            send(4, lead),
            Output::Store(Persisted { accepted_epoch: 4, current_epoch: 4, ..persisted() })
        ]
    );
}

#[test]
fn promises_count_while_connection_and_candidacy_last() {
    let mut b = Bench::new(1);
    let five = super::membership(5, 0);
    b.zab = crate::zab::Zab::new(
        super::options(1, &five),
        persisted(),
        at(3, 5, 1),
        Zxid::ZERO,
        crate::base::prng::Prng::from_seed(1),
        crate::base::time::MonoMs(1000),
    );
    b.up(&[2, 3, 4]);
    b.pass(200, &[(2, behind()), (3, behind())]);
    b.step(Input::Stored);
    b.hear(2, Message::Promise { epoch: 4, position: looking().position });
    b.step(Input::Down { peer: ServerId(2) });
    b.hear(3, Message::Promise { epoch: 4, position: looking().position });
    assert_eq!(b.zab.role(), Role::Looking, "the first one is void");
    b.pass(SILENCE_MS * 2, &[(3, behind()), (4, behind())]);
    b.hear(4, Message::Promise { epoch: 4, position: looking().position });
    assert_eq!(b.zab.role(), Role::Looking, "the candidacy is over");
}

#[test]
fn a_candidate_gives_way_to_a_later_epoch_with_a_history_as_new_only() {
    let mut b = Bench::new(1);
    b.up(&[2, 3]);
    b.pass(200, &[(2, behind())]);
    b.step(Input::Stored);
    assert_eq!(b.hear(3, ask(4, looking().position)), [refuse(3, 4, 4, Refusal::Promised)]);
    let older = Position { current_epoch: 2, ..looking().position };
    assert_eq!(b.hear(3, ask(5, older)), [refuse(3, 5, 4, Refusal::Newer)]);
    assert_eq!(b.hear(3, ask(5, looking().position)), [Output::Store(Persisted { accepted_epoch: 5, ..persisted() })]);
    b.hear(2, Message::Promise { epoch: 4, position: looking().position });
    assert_eq!(b.zab.role(), Role::Looking, "it has promised a later epoch itself");
}

#[test]
fn a_failed_candidacy_burns_no_epoch_unless_somebody_else_has_it() {
    let mut b = Bench::new(1);
    b.up(&[2, 3]);
    b.pass(200, &[(2, behind())]);
    b.step(Input::Stored);
    b.pass(SILENCE_MS * 12, &[(2, behind())]);
    assert_eq!(b.zab.persisted().accepted_epoch, 4, "asked for again");
    let mut b = Bench::new(1);
    b.up(&[2]);
    b.pass(200, &[(2, behind())]);
    b.step(Input::Stored);
    b.hear(2, Message::Refuse { epoch: 4, accepted_epoch: 4, position: looking().position, why: Refusal::Promised });
    let again = b.pass(400, &[(2, Pulse { accepted_epoch: 4, ..behind() })]);
    assert_eq!(again, [Output::Store(Persisted { accepted_epoch: 5, ..persisted() })]);
}

#[test]
fn without_an_epoch_left_a_server_says_so_and_does_not_stand() {
    let last = Persisted { accepted_epoch: EPOCH_MAX, ..persisted() };
    let mut b = Bench::with(1, last, at(3, 5, 1));
    b.up(&[2, 3]);
    let mut said = Vec::new();
    for _ in 0..10 {
        b.now += 50;
        said.extend(b.all(Input::Message { peer: ServerId(2), message: Message::Pulse(behind()) }));
    }
    assert!(said.iter().any(|o| matches!(o, Output::Say { important: true, text } if text.contains("every epoch is used up"))), "{said:?}");
    assert!(!said.iter().any(|o| matches!(o, Output::Store(_))));
}

fn new_server(me: u8) -> Bench {
    Bench::with(me, Persisted::default(), at(0, 0, 0))
}

#[test]
fn an_ensemble_is_founded_when_every_voter_is_heard_without_a_history() {
    let mut b = new_server(3);
    b.up(&[1, 2]);
    assert_eq!(b.pass(1000, &[(1, empty())]), [], "a voter isn't heard");
    let out = b.pass(200, &[(1, empty()), (2, empty())]);
    assert_eq!(out, [Output::Store(Persisted { accepted_epoch: 1, ..Persisted::default() })]);
    let out = b.step(Input::Stored);
    let Output::Send { message: Message::NewEpoch { epoch: 1, founding: true, cluster, .. }, .. } = out[0] else { panic!("{out:?}") };
    assert_ne!(cluster, ClusterId(0));
    let out = b.hear(1, Message::Promise { epoch: 1, position: Position::default() });
    assert!(out.contains(&Output::Store(Persisted { cluster, accepted_epoch: 1, current_epoch: 1, repairing: false })), "{out:?}");
}

#[test]
fn a_founder_to_be_gives_up_when_a_voter_connects_anew() {
    let mut b = new_server(3);
    b.up(&[1, 2]);
    b.pass(200, &[(1, empty()), (2, empty())]);
    let asked = |out: &[Output]| out.iter().any(|o| matches!(o, Output::Send { message: Message::NewEpoch { .. }, .. }));
    assert!(asked(&b.step(Input::Stored)));
    let out = b.step(Input::Down { peer: ServerId(2) });
    assert!(!asked(&out), "{out:?}");
    let out = b.step(Input::Up { peer: ServerId(2) });
    assert!(!asked(&out), "it may have lost its disk, and what it promised to another: {out:?}");
    let out = b.hear(1, Message::Promise { epoch: 1, position: Position::default() });
    assert_eq!(out, [], "nothing of that candidacy counts any more");
}

#[test]
fn an_empty_server_promises_to_found_only_and_not_beside_a_history() {
    let founding = Message::NewEpoch { epoch: 1, position: Position::default(), cluster: CLUSTER, founding: true };
    let mut b = new_server(1);
    b.up(&[2, 3]);
    b.pulse(3, empty());
    assert_eq!(b.hear(3, founding), [Output::Store(Persisted { accepted_epoch: 1, ..Persisted::default() })]);
    assert_eq!(b.step(Input::Stored), [send(3, Message::Promise { epoch: 1, position: Position::default() })]);
    let mut b = new_server(1);
    b.up(&[2, 3]);
    b.pulse(2, looking());
    let out = b.hear(3, founding);
    assert!(matches!(out[..], [Output::Send { message: Message::Refuse { why: Refusal::NoVoice, .. }, .. }]), "{out:?}");
    assert_eq!(b.pass(1000, &[(2, looking()), (3, empty())]), [], "nor does it stand");
}

#[test]
fn a_founder_founds_with_its_history_when_everybody_is_heard() {
    let alone = Persisted { cluster: CLUSTER, ..Persisted::default() };
    let mut b = Bench::with(1, alone, at(1, 9, 1));
    b.up(&[2, 3]);
    assert_eq!(b.zab.standing(), Standing::Empty, "a history that no ensemble knows");
    let mut founder = super::options(1, &super::membership(3, 1));
    founder.founder = true;
    b.zab = crate::zab::Zab::new(
        founder,
        alone,
        at(1, 9, 1),
        Zxid::ZERO,
        crate::base::prng::Prng::from_seed(1),
        crate::base::time::MonoMs(b.now),
    );
    b.up(&[2, 3]);
    assert_eq!(b.pass(500, &[(3, empty())]), []);
    assert_eq!(b.pass(300, &[(2, empty()), (3, empty())]), [Output::Store(Persisted { accepted_epoch: 2, ..alone })]);
    let position = Position { current_epoch: 0, last: at(1, 9, 1) };
    assert!(b.step(Input::Stored).contains(&send(2, Message::NewEpoch { epoch: 2, position, cluster: CLUSTER, founding: true })));
}

#[test]
fn a_wiped_server_follows_when_a_majority_without_it_has_told_what_it_accepted() {
    let mut b = new_server(1);
    b.up(&[2, 3]);
    assert_eq!(b.pass(SILENCE_MS * 3, &[(3, leading(4))]), [], "one of two others is no majority");
    let two = Pulse { accepted_epoch: 5, stance: Stance::Candidate { epoch: 5 }, ..looking() };
    assert_eq!(b.pass(200, &[(2, two), (3, leading(4))]), [], "it may have promised 5");
    let out = b.pass(200, &[(2, two), (3, leading(5))]);
    assert_eq!(
        out,
        [Output::Store(Persisted { cluster: CLUSTER, ..Persisted::default() })],
        "the identity is durable before the first batch"
    );
    assert_eq!(b.step(Input::Stored), [role(Role::Following { leader: ServerId(3), epoch: 5, serving: false })]);
    let mut b = new_server(1);
    b.up(&[2, 3]);
    assert_eq!(b.pass(SILENCE_MS, &[(2, looking()), (3, leading(4))]), [], "candidacies that its old promise counts for may still last");
}

#[test]
fn a_server_whose_metadata_is_lost_listens_before_it_follows_as_a_wiped_one_does() {
    // The batches tell of epoch 3 only: a promise of epoch 4, to server 2, is forgotten.
    let lost = Persisted { current_epoch: 0, repairing: true, ..persisted() };
    let mut b = Bench::with(1, lost, at(3, 5, 1));
    b.up(&[2, 3]);
    assert_eq!(b.pass(SILENCE_MS * 3, &[(3, leading(3))]), [], "one of two others is no majority");
    let two = Pulse { accepted_epoch: 4, stance: Stance::Leading { epoch: 4, established: false }, ..looking() };
    let out = b.pass(200, &[(2, two), (3, leading(3))]);
    assert_eq!(out, [role(Role::Following { leader: ServerId(2), epoch: 4, serving: false })]);
    // Who lacks a part of its history only knows what it promised.
    let mut b = Bench::with(1, Persisted { repairing: true, ..persisted() }, at(3, 5, 1));
    b.up(&[2, 3]);
    assert_eq!(b.pass(200, &[(3, leading(3))]), [role(Role::Following { leader: ServerId(3), epoch: 3, serving: false })]);
}

#[test]
fn an_observer_never_stands_nor_promises() {
    let mut b = Bench::new(4);
    b.up(&[1, 2, 3]);
    assert_eq!(b.pass(2000, &[(1, looking()), (2, looking()), (3, looking())]), []);
    let out = b.hear(1, ask(9, looking().position));
    assert!(matches!(out[..], [Output::Send { message: Message::Refuse { why: Refusal::NoVoice, .. }, .. }]), "{out:?}");
}

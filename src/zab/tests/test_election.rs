//! Who stands, whom one follows, who leaves, who steps down.

use super::bench::{Bench, behind, following, leading, looking, persisted, role};
use super::{CLUSTER, INIT_MS, PULSE_MS, SILENCE_MS, at};
use crate::base::ids::{ClusterId, ServerId};
use crate::model::peer::{Message, Pulse, Stance};
use crate::model::position::Position;
use crate::zab::{Input, Output, Persisted, Role};

const LOOKING: Role = Role::Looking;

fn longer() -> Pulse {
    Pulse { position: Position { current_epoch: 3, last: at(3, 9, 1) }, ..looking() }
}

#[test]
fn the_best_stands_at_once_when_all_who_are_linked_look_too() {
    let mut b = Bench::new(3);
    b.up(&[1, 2]);
    assert_eq!(b.pulse(1, looking()), [], "2 may be better");
    assert_eq!(b.pulse(2, looking()), [Output::Store(Persisted { accepted_epoch: 4, ..persisted() })]);
}

#[test]
fn the_best_gathers_when_somebody_linked_is_not_heard_looking() {
    let mut b = Bench::new(3);
    b.up(&[1, 2]);
    b.pulse(1, looking());
    assert_eq!(b.pass(50, &[(1, looking())]), []);
    assert_eq!(b.pass(50, &[(1, looking())]), [Output::Store(Persisted { accepted_epoch: 4, ..persisted() })]);
}

#[test]
fn a_quorum_that_is_missed_for_long_is_important_and_says_who_has_to_connect() {
    let mut b = Bench::new(2);
    let mut said = Vec::new();
    for _ in 0..9000 / (PULSE_MS / 2) {
        b.now += PULSE_MS / 2;
        said.extend(b.all(Input::Tick).into_iter().filter_map(|o| match o {
            Output::Say { important, text } => Some((important, text)),
            _ => None,
        }));
    }
    assert_eq!(said.len(), 2, "{said:?}");
    assert_eq!(said[0], (false, "waits for a quorum; not heard: server 1, 3".to_owned()));
    assert!(
        said[1].0 && said[1].1.contains("not heard: server 1, 3 (3 connects to this one: look at the log there, and whether "),
        "{said:?}"
    );
}

#[test]
fn others_wait_for_the_best_and_pass_over_one_that_does_not_come_up() {
    let mut b = Bench::new(1);
    b.up(&[2, 3]);
    let both = [(2, looking()), (3, looking())];
    assert_eq!(b.pass(SILENCE_MS * 2, &both), [], "2 and 3 have higher ids");
    let out = b.pass(SILENCE_MS * 6, &both);
    assert_eq!(out, [Output::Store(Persisted { accepted_epoch: 4, ..persisted() })]);
}

#[test]
fn who_hears_no_quorum_or_does_not_want_to_is_no_candidate() {
    let mut b = Bench::new(1);
    b.up(&[2, 3]);
    let unfit = Pulse { hears_quorum: false, ..looking() };
    assert_eq!(b.pass(200, &[(2, unfit), (3, unfit)]), [Output::Store(Persisted { accepted_epoch: 4, ..persisted() })]);
}

#[test]
fn a_server_joins_a_working_leader_instead_of_standing() {
    let mut b = Bench::new(3);
    b.up(&[1, 2]);
    let follows = Role::Following { leader: ServerId(1), epoch: 4, serving: false };
    b.pulse(2, looking());
    assert_eq!(b.pulse(1, leading(4)), [role(follows)]);
    let mut b = Bench::new(3);
    b.up(&[1, 2]);
    assert_eq!(b.pulse(1, leading(2)), [], "its promise is for a later epoch");
    let mut b = Bench::new(3);
    b.up(&[2]);
    assert_eq!(b.pulse(1, leading(4)), [], "without a connection to it");
    assert_eq!(b.pass(1000, &[(2, following(1, 4))]), [], "nor does it stand while no quorum looks");
}

#[test]
fn nobody_who_belongs_to_another_ensemble_or_to_none_is_listened_to() {
    let mut b = Bench::new(1);
    b.up(&[2, 3]);
    assert_eq!(b.pulse(3, Pulse { cluster: ClusterId(7), ..leading(4) }), []);
    assert_eq!(b.pulse(9, leading(4)), []);
    b.up(&[9]);
    assert_eq!(b.zab.role(), LOOKING);
}

#[test]
fn a_learner_leaves_at_once_when_the_connection_ends_or_the_leader_says_so() {
    let mut b = Bench::new(1);
    b.follow();
    assert_eq!(b.step(Input::Down { peer: ServerId(3) }), [role(LOOKING)]);
    let mut b = Bench::new(1);
    b.follow();
    assert_eq!(b.pulse(3, looking()), [role(LOOKING)]);
    let mut b = Bench::new(1);
    b.follow();
    assert_eq!(b.pulse(3, leading(5)), [role(LOOKING)]);
    assert_eq!(b.step(Input::Settled { last: at(3, 5, 1) }), [role(Role::Following { leader: ServerId(3), epoch: 5, serving: false })]);
}

#[test]
fn a_learner_leaves_a_silent_leader_and_one_that_never_synchronises_it() {
    let mut b = Bench::new(1);
    b.follow();
    assert_eq!(b.pass(SILENCE_MS, &[]), []);
    assert_eq!(b.pass(PULSE_MS, &[]), [role(LOOKING), Output::Drop { peer: ServerId(3) }]);
    let mut b = Bench::new(1);
    b.follow();
    assert_eq!(b.pass(INIT_MS, &[(3, leading(4))]), []);
    assert_eq!(b.pass(PULSE_MS, &[(3, leading(4))]), [role(LOOKING), Output::Drop { peer: ServerId(3) }]);
}

#[test]
fn being_sent_for_the_same_ranges_again_and_again_is_no_progress() {
    let mut b = Bench::new(1);
    b.follow();
    let fetch = |b: &mut Bench, counter| b.hear(3, Message::Fetch { epoch: 4, after: at(3, counter, 1) });
    for _ in 0..4 {
        assert_eq!(fetch(&mut b, 5), []);
        assert_eq!(b.pass(INIT_MS / 4, &[(3, leading(4))]), []);
    }
    assert_eq!(fetch(&mut b, 5), []);
    assert_eq!(b.pass(PULSE_MS, &[(3, leading(4))]), [role(LOOKING), Output::Drop { peer: ServerId(3) }]);
    let mut b = Bench::new(1);
    b.follow();
    for counter in 5..20 {
        assert_eq!(fetch(&mut b, counter), []);
        assert_eq!(b.pass(INIT_MS / 2, &[(3, leading(4))]), []);
    }
}

#[test]
fn pulses_sent_before_the_leader_led_do_not_end_the_relation() {
    let mut b = Bench::new(1);
    b.up(&[2, 3]);
    b.pulse(3, Pulse { stance: Stance::Candidate { epoch: 4 }, ..looking() });
    b.hear(3, Message::NewEpoch { epoch: 4, position: looking().position, cluster: CLUSTER, founding: false });
    b.step(Input::Stored);
    assert_eq!(b.hear(3, Message::Lead { epoch: 4 }), [role(Role::Following { leader: ServerId(3), epoch: 4, serving: false })]);
    assert_eq!(b.pulse(3, Pulse { stance: Stance::Candidate { epoch: 4 }, ..looking() }), []);
    b.pulse(3, leading(4));
    assert_eq!(b.pulse(3, looking()), [role(LOOKING)], "but later ones do");
    b.step(Input::Settled { last: at(3, 5, 1) });
    assert_eq!(b.pulse(3, leading(4)), [Output::Drop { peer: ServerId(3) }], "and to begin again a new connection is needed");
}

#[test]
fn a_leader_that_hears_no_quorum_following_steps_down() {
    let mut b = Bench::new(1);
    b.establish();
    assert_eq!(b.pass(SILENCE_MS * 3, &[(2, following(1, 4))]), []);
    let out = b.pass(SILENCE_MS + PULSE_MS * 2, &[(2, looking())]);
    assert_eq!(out, [role(LOOKING)], "it hears 2, but not following");
    let mut b = Bench::new(1);
    b.establish();
    b.step(Input::Down { peer: ServerId(2) });
    assert_eq!(b.pass(SILENCE_MS + PULSE_MS, &[(2, following(1, 4))]), [role(LOOKING)], "it hears 2, but without a connection");
}

#[test]
fn a_leader_steps_down_for_a_later_one_and_when_it_is_never_established() {
    let mut b = Bench::new(1);
    b.establish();
    assert_eq!(b.pulse(3, leading(5)), [role(LOOKING)]);
    let mut b = Bench::new(1);
    b.lead();
    let out = b.pass(INIT_MS + PULSE_MS, &[(2, following(1, 4))]);
    assert_eq!(out, [role(LOOKING)]);
}

#[test]
fn a_leader_steps_down_for_a_voter_with_a_later_promise_once_in_ten_seconds() {
    let mut b = Bench::new(1);
    b.establish();
    let both = [(2, following(1, 4)), (3, Pulse { accepted_epoch: 6, ..looking() })];
    assert_eq!(b.pass(SILENCE_MS, &both), [], "it may be a candidacy that is under way");
    assert_eq!(b.pass(PULSE_MS, &both), [role(LOOKING)]);
    b.step(Input::Settled { last: at(3, 5, 1) });
    b.pass(200, &[(2, Pulse { accepted_epoch: 4, ..behind() })]);
    b.step(Input::Stored);
    b.step(Input::Stored);
    b.hear(2, Message::Promise { epoch: 7, position: behind().position });
    assert_eq!(b.zab.role(), Role::Leading { epoch: 7, established: false });
    let both = [(2, following(1, 7)), (3, Pulse { accepted_epoch: 9, ..looking() })];
    assert_eq!(b.pass(INIT_MS - PULSE_MS, &both), []);
}

#[test]
fn a_silent_learner_is_cut_off() {
    let mut b = Bench::new(1);
    b.establish();
    b.pulse(3, following(1, 4));
    b.step(Input::Streamed { peer: ServerId(3), last: at(3, 5, 1) });
    assert_eq!(b.pass(SILENCE_MS + PULSE_MS, &[(2, following(1, 4))]), [Output::Drop { peer: ServerId(3) }]);
    assert_eq!(b.zab.learners().map(|l| l.id).collect::<Vec<_>>(), [ServerId(2)]);
    b.up(&[3]);
    b.step(Input::Streamed { peer: ServerId(3), last: at(3, 5, 1) });
    let out = b.pass(SILENCE_MS + PULSE_MS, &[(2, following(1, 4))]);
    assert_eq!(out, [Output::Drop { peer: ServerId(3) }], "also when it was never heard on this connection");
}

#[test]
fn a_leader_hands_over_after_it_told_everybody() {
    let mut b = Bench::new(1);
    b.establish();
    let out = b.all(Input::Abdicate);
    let told = out.iter().position(
        |o| matches!(o, Output::Send { peer: ServerId(2), message: Message::Pulse(p) } if p.stance == Stance::Looking && !p.hears_quorum),
    );
    let ends = out.iter().position(|o| matches!(o, Output::Role { role: LOOKING, .. }));
    assert!(told.is_some() && told < ends, "{out:?}");
    b.step(Input::Settled { last: at(3, 5, 1) });
    let out = b.pass(SILENCE_MS * 4, &[(2, Pulse { hears_quorum: false, ..looking() })]);
    assert_eq!(out, [], "it doesn't stand for a while");
}

#[test]
fn who_alone_hears_a_quorum_fetches_the_history_that_it_needs_to_lead() {
    let mut b = Bench::new(1);
    b.up(&[2, 3]);
    let newer = Pulse { hears_quorum: false, ..longer() };
    let out = b.pass(SILENCE_MS * 2, &[(2, newer)]);
    assert_eq!(out, [Output::CatchUp { peer: ServerId(2), last: at(3, 9, 1) }]);
    assert_eq!(
        b.hear(2, Message::NewEpoch { epoch: 5, position: longer().position, cluster: CLUSTER, founding: false }),
        [],
        "not at rest"
    );
    b.step(Input::Durable { last: at(3, 9, 1) });
    b.step(Input::Down { peer: ServerId(2) });
    b.up(&[2]);
    b.step(Input::Settled { last: at(3, 9, 1) });
    assert_eq!(b.pass(200, &[(2, newer)]), [Output::Store(Persisted { accepted_epoch: 4, ..persisted() })]);
}

#[test]
fn what_was_heard_before_a_pause_is_void() {
    let mut b = Bench::new(3);
    b.up(&[1, 2]);
    b.pulse(1, leading(2));
    b.pulse(2, looking());
    b.now += SILENCE_MS + 1;
    // These may have waited in a buffer.
    assert_eq!(b.pulse(1, leading(4)), []);
    assert_eq!(b.pulse(2, looking()), []);
    assert_eq!(b.step(Input::Tick), []);
    b.now += PULSE_MS;
    assert_eq!(b.pulse(1, leading(4)), [role(Role::Following { leader: ServerId(1), epoch: 4, serving: false })]);
}

#[test]
fn a_paused_leader_confirms_no_round_before_it_hears_a_quorum_again() {
    let mut b = Bench::new(1);
    b.establish();
    let beat = b.zab.open_round();
    b.step(Input::Flush);
    b.now += SILENCE_MS + 1;
    assert_eq!(b.step(Input::Tick), [], "followers get the time to be heard");
    b.pulse(2, following(1, 4));
    let ack = Message::Ack { epoch: 4, durable: at(3, 5, 1).zxid, beat };
    assert_eq!(b.hear(2, ack), []);
    b.now += PULSE_MS;
    assert_eq!(b.pulse(2, following(1, 4)), [Output::Confirmed(beat)]);
    b.now += SILENCE_MS + 1;
    b.step(Input::Tick);
    assert_eq!(b.pass(SILENCE_MS + PULSE_MS, &[]), [role(LOOKING)]);
}

#[test]
fn pulses_go_to_everybody_at_each_interval_and_when_something_changes() {
    let mut b = Bench::new(1);
    let pulses = |out: Vec<Output>| out.iter().filter(|o| matches!(o, Output::Send { message: Message::Pulse(_), .. })).count();
    assert_eq!(pulses(b.all(Input::Tick)), 3);
    assert_eq!(pulses(b.all(Input::Tick)), 0);
    b.now += PULSE_MS;
    assert_eq!(pulses(b.all(Input::Tick)), 3);
    b.all(Input::Up { peer: ServerId(2) });
    assert_eq!(pulses(b.all(Input::Message { peer: ServerId(2), message: Message::Pulse(looking()) })), 3, "it hears a quorum now");
}

use super::*;
use crate::base::ids::{ServerId, SessionId};
use crate::base::prng::Prng;
use crate::base::time::MonoMs;
use crate::model::txn::PASSWORD_BYTES;
use std::collections::BTreeMap;

const PASSWORD: [u8; PASSWORD_BYTES] = *b"0123456789abcdef";

fn options() -> SessionOptions {
    SessionOptions { tick_ms: 2000, timeout_ms_min: 4000, timeout_ms_max: 40_000, server_id: ServerId(1) }
}

fn with_one(now: u64) -> (Sessions, SessionId) {
    let mut sessions = Sessions::new(options());
    let id = sessions.next_id(1_700_000_000_000, 0);
    sessions.apply_create(MonoMs(now), id, 4000, &PASSWORD);
    (sessions, id)
}

fn expired(sessions: &mut Sessions, now: u64) -> Vec<SessionId> {
    let mut out = Vec::new();
    sessions.expire(MonoMs(now), &mut out);
    out
}

#[test]
fn ids_follow_zookeepers_layout_and_go_up_by_one() {
    let mut ids = SessionIds::new(ServerId(3));
    let wall_ms: i64 = 0x18b_cfe5_6800;
    let first = ids.draw(wall_ms, 0).0.cast_unsigned();
    assert_eq!(first, (3 << 56) | ((0x18b_cfe5_6800u64 << 24) >> 8));
    assert_eq!(ids.draw(wall_ms + 5, 0).0.cast_unsigned(), first + 1);
}

#[test]
fn ids_never_mark_containers_and_keep_clear_of_what_exists() {
    let mut ids = SessionIds::new(ServerId(128));
    assert_eq!(ids.draw(0, 0), SessionId(i64::MIN + 1));
    let mut zero = SessionIds::new(ServerId(0));
    assert_eq!(zero.draw(0, 0), SessionId(1));
    let mut behind = SessionIds::new(ServerId(1));
    behind.observe(SessionId((1 << 56) | 0x7777_0000));
    behind.observe(SessionId((2 << 56) | 0x9999_0000));
    assert_eq!(behind.draw(0, 0), SessionId((1 << 56) | 0x7777_0001));
    assert_eq!(std::mem::size_of_val(&behind.draw(0, 0)), 8);
}

#[test]
fn timeouts_are_clamped() {
    let sessions = Sessions::new(options());
    assert_eq!([-1, 0, 3999, 4001, i32::MAX].map(|t| sessions.negotiate(t)), [4000, 4000, 4000, 4001, 40_000]);
}

#[test]
fn a_session_lives_its_whole_timeout_and_at_most_a_tick_longer() {
    for created in [0, 1, 1999, 2000, 2001] {
        let (mut sessions, id) = with_one(created);
        assert_eq!(expired(&mut sessions, created + 4000), [], "created at {created}");
        assert_eq!(expired(&mut sessions, created + 6000), [id], "created at {created}");
        assert_eq!(expired(&mut sessions, created + 60_000), []);
        assert!(sessions.get(id).unwrap().closing);
        assert!(!sessions.touch(id, MonoMs(created + 6000)));
    }
}

#[test]
fn a_touch_moves_the_deadline_and_a_resume_the_timeout() {
    let (mut sessions, id) = with_one(0);
    assert!(sessions.touch(id, MonoMs(3000)));
    assert_eq!(expired(&mut sessions, 7999), []);
    assert!(sessions.renegotiate(id, 20_000, MonoMs(7999)));
    assert_eq!(expired(&mut sessions, 27_999), []);
    assert_eq!(sessions.images().next().unwrap().timeout_ms, 4000, "the replicated timeout stays");
    assert_eq!(expired(&mut sessions, 28_000), [id]);
}

#[test]
fn what_was_heard_a_while_ago_counts_from_then_and_shortens_nothing() {
    let (mut sessions, id) = with_one(0);
    assert!(sessions.touch(id, MonoMs(5000)));
    assert!(sessions.touch_since(id, MonoMs(3000)));
    assert_eq!(expired(&mut sessions, 9999), [], "heard at 5000, whatever was heard before");
    assert!(sessions.touch_since(id, MonoMs(7999)));
    assert_eq!(expired(&mut sessions, 11_999), []);
    assert_eq!(expired(&mut sessions, 12_000), [id], "heard at 7999 and not when it was said");
    assert!(!sessions.touch_since(id, MonoMs(12_000)), "it is closing");
    assert_eq!(expired(&mut sessions, 60_000), []);
    assert!(!sessions.touch_since(SessionId(1), MonoMs(0)), "it is unknown");
}

#[test]
fn only_the_right_password_resumes() {
    let (mut sessions, id) = with_one(0);
    assert!(sessions.check_password(id, &PASSWORD));
    for at in 0..PASSWORD_BYTES {
        let mut wrong = PASSWORD;
        wrong[at] ^= 1;
        assert!(!sessions.check_password(id, &wrong));
    }
    assert!(!sessions.check_password(id, b""));
    assert!(!sessions.check_password(id, &PASSWORD[..15]));
    assert!(!sessions.check_password(id, b"0123456789abcdefg"));
    assert!(!sessions.check_password(SessionId(5), &PASSWORD));
    sessions.apply_close(id);
    assert!(!sessions.check_password(id, &PASSWORD));
}

#[test]
fn a_clock_that_was_set_back_brings_no_id_of_a_forgotten_session() {
    let mut before = SessionIds::new(ServerId(3));
    let drawn: Vec<SessionId> = (0..1000).map(|_| before.draw(1_700_000_000_000, 77)).collect();
    // Only the third of them is still there.
    for salt in [0x1_0000, 0xffff_ffff, 5000] {
        let mut after = SessionIds::new(ServerId(3));
        after.observe(drawn[2]);
        let next: Vec<SessionId> = (0..1000).map(|_| after.draw(1_600_000_000_000, salt)).collect();
        assert!(next.iter().all(|id| !drawn.contains(id) && *id > drawn[2]), "{salt}");
    }
    let mut same = SessionIds::new(ServerId(3));
    assert_ne!(same.draw(1_700_000_000_000, 5001), drawn[0], "the same millisecond in another life");
}

#[test]
fn a_newer_connection_takes_over() {
    let (mut sessions, id) = with_one(0);
    assert_eq!(sessions.attach(id, 7), None);
    assert_eq!(sessions.attach(id, 7), None);
    assert_eq!(sessions.attach(id, 9), Some(7));
    sessions.detach(id, 7);
    assert_eq!(sessions.get(id).unwrap().conn, Some(9));
    assert_eq!(sessions.apply_close(id), Some(9));
    assert_eq!(sessions.apply_close(id), None);
    assert_eq!(sessions.attach(id, 1), None);
    assert_eq!(sessions.count(), 0);
}

#[test]
fn closing_is_final_until_the_role_changes() {
    let (mut sessions, id) = with_one(0);
    assert!(sessions.mark_closing(id));
    assert!(!sessions.mark_closing(id));
    assert_eq!(expired(&mut sessions, 100_000), []);
    sessions.retry_closing(id, MonoMs(100_000));
    assert!(!sessions.touch(id, MonoMs(100_001)));
    assert_eq!(expired(&mut sessions, 102_000), [id]);
    sessions.restart_timers(MonoMs(200_000));
    assert!(sessions.touch(id, MonoMs(200_000)));
    assert_eq!(expired(&mut sessions, 204_000), []);
    assert_eq!(expired(&mut sessions, 206_000), [id]);
}

/// Random calls against a map of exact deadlines.
#[test]
fn expiry_agrees_with_a_plain_model() {
    for seed in 0..50 {
        let mut prng = Prng::from_seed(seed);
        let mut sessions = Sessions::new(options());
        let mut model: BTreeMap<SessionId, (u32, u64)> = BTreeMap::new();
        let mut now = prng.below(10_000);
        for _ in 0..400 {
            now += prng.below(900);
            let known: Vec<SessionId> = model.keys().copied().collect();
            match prng.below(4) {
                0 => {
                    let (id, timeout_ms) = (sessions.next_id(1 << 41, 0), prng.between(4000, 40_000) as u32);
                    sessions.apply_create(MonoMs(now), id, timeout_ms, &PASSWORD);
                    model.insert(id, (timeout_ms, (now + u64::from(timeout_ms)) / 2000 * 2000 + 2000));
                }
                1 if !known.is_empty() => {
                    let id = known[prng.index(known.len())];
                    assert!(sessions.touch(id, MonoMs(now)));
                    let entry = model.get_mut(&id).unwrap();
                    entry.1 = (now + u64::from(entry.0)) / 2000 * 2000 + 2000;
                }
                2 if !known.is_empty() && prng.chance(1, 3) => {
                    let id = known[prng.index(known.len())];
                    sessions.apply_close(id);
                    model.remove(&id);
                }
                _ => {
                    let mut got = expired(&mut sessions, now);
                    got.sort_unstable();
                    let due: Vec<SessionId> = model.iter().filter(|(_, (_, due))| *due <= now).map(|(id, _)| *id).collect();
                    assert_eq!(got, due, "seed {seed} at {now}");
                    for id in due {
                        sessions.apply_close(id);
                        model.remove(&id);
                    }
                }
            }
            assert_eq!(sessions.count(), model.len());
            let listed: BTreeMap<SessionId, u64> = sessions.deadlines().flat_map(|(due, ids)| ids.map(move |id| (id, due.0))).collect();
            assert_eq!(listed, model.iter().map(|(id, (_, due))| (*id, *due)).collect());
        }
    }
}

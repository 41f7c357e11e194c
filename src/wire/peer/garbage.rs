//! Bytes that nobody should send: good checksums over bad fields, lengths and counts that lie, pieces of one message in another.

use super::forward::{ForwardItem, ForwardVerdict, items, put_attach, put_create, put_gone, put_request, put_sync, put_verdict, verdicts};
use super::frame::HEADER_BYTES;
use super::round_trip::drawn;
use super::*;
use crate::base::ids::{ServerId, SessionId};
use crate::model::acl::Identity;
use proptest::collection::vec;
use proptest::prelude::*;

/// Small numbers are drawn often, so that lengths, counts and tags lie in every way and are right now and then.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![4 => Just(0u8), 4 => 0u8..10, 1 => Just(255u8), 1 => any::<u8>()], 0..200)
}

/// A change that a defect could make to good bytes.
#[derive(Debug, Clone)]
enum Damage {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Copy(prop::sample::Index, prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, mask)| Damage::Flip(at, mask)),
        any::<prop::sample::Index>().prop_map(Damage::Cut),
        (any::<prop::sample::Index>(), bytes()).prop_map(|(at, what)| Damage::Insert(at, what)),
        (any::<prop::sample::Index>(), any::<prop::sample::Index>()).prop_map(|(from, to)| Damage::Copy(from, to)),
    ]
}

fn harm(bytes: &mut Vec<u8>, damage: &Damage) {
    if bytes.is_empty() {
        return;
    }
    let len = bytes.len();
    match damage {
        Damage::Flip(at, mask) => bytes[at.index(len)] ^= mask,
        Damage::Cut(at) => bytes.truncate(at.index(len)),
        Damage::Insert(at, what) => {
            let at = at.index(len);
            bytes.splice(at..at, what.iter().copied());
        }
        Damage::Copy(from, to) => {
            let (from, to) = (from.index(len), to.index(len));
            let n = 8.min(len - from).min(len - to);
            bytes.copy_within(from..from + n, to);
        }
    }
}

/// What decodes has exactly one form, so two servers never read one message differently.
fn only_canonical(body: &[u8]) {
    if let Ok(message) = decode(body) {
        let mut again = Vec::new();
        put(&mut again, ServerId(1), &message);
        assert_eq!(&again[HEADER_BYTES..], body, "{message:?} has two forms");
    }
    if let Ok(hello) = decode_hello(body) {
        let mut again = Vec::new();
        put_hello(&mut again, &hello);
        assert_eq!(&again[HEADER_BYTES..], body);
    }
    if let Ok(goodbye) = decode_goodbye(body) {
        assert!(goodbye.reason.len() <= GOODBYE_BYTES_MAX);
    }
}

/// The items and what they are when they are put again: the same bytes as far as they were good.
fn forward_again(bytes: &[u8]) {
    let mut again = Vec::new();
    let mut bad = 0;
    for item in items(bytes) {
        match item {
            Ok(ForwardItem::Request { conn, session, xid, op, identities, body }) => {
                put_request(&mut again, conn, session, xid, op, &identities.to_vec(), body);
                assert_eq!(identities.iter().count(), identities.count());
            }
            Ok(ForwardItem::Create { conn, session, timeout_ms, password }) => put_create(&mut again, conn, session, timeout_ms, &password),
            Ok(ForwardItem::Attach { conn, session, timeout_ms, password }) => put_attach(&mut again, conn, session, timeout_ms, password),
            Ok(ForwardItem::Sync { conn, session, xid }) => put_sync(&mut again, conn, session, xid),
            Ok(ForwardItem::Gone { conn, session }) => put_gone(&mut again, conn, session),
            Err(_) => bad += 1,
        }
    }
    assert!(bytes.starts_with(&again) && bad <= 1);
    assert_eq!(bad == 0, again.len() == bytes.len(), "bytes were left out without an error");
}

fn verdicts_again(bytes: &[u8]) {
    let mut again = Vec::new();
    let found: Vec<_> = verdicts(bytes).collect();
    let good: Vec<ForwardVerdict> = found.iter().map_while(|v| v.ok()).collect();
    good.iter().for_each(|v| put_verdict(&mut again, v));
    assert!(bytes.starts_with(&again) && found.len() - good.len() <= 1);
    assert_eq!(found.len() == good.len(), again.len() == bytes.len(), "bytes were left out without an error");
}

fn forwarded(session: i64, body: &[u8], other: &[u8]) -> Vec<u8> {
    let session = SessionId(session);
    let mut out = Vec::new();
    let who = Identity { scheme: other.to_vec(), id: body.to_vec() };
    put_request(&mut out, 1, session, 2, 3, &[who.clone(), who], body);
    put_create(&mut out, 1, session, 4, &[5; 16]);
    put_attach(&mut out, 1, session, 4, other);
    put_sync(&mut out, 1, session, 6);
    put_gone(&mut out, 1, session);
    out
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_have_one_meaning(bytes in bytes(), kind in any::<u8>()) {
        only_canonical(&bytes);
        only_canonical(&[&[kind][..], &bytes].concat());
        forward_again(&bytes);
        verdicts_again(&bytes);
    }

    #[test]
    fn harmed_messages_are_refused_or_have_one_meaning(drawn in drawn(), damages in vec(damage(), 1..4)) {
        for message in drawn.messages() {
            let mut out = Vec::new();
            put(&mut out, ServerId(1), &message);
            let mut body = out.split_off(HEADER_BYTES);
            damages.iter().for_each(|d| harm(&mut body, d));
            only_canonical(&body);
        }
    }

    #[test]
    fn harmed_forwards_end_with_the_first_bad_item(
        session in any::<i64>(), body in bytes(), other in bytes(), damages in vec(damage(), 0..4),
    ) {
        let mut out = forwarded(session, &body, &other);
        damages.iter().for_each(|d| harm(&mut out, d));
        forward_again(&out);
        verdicts_again(&out);
    }

    /// Any stream: the splitter keeps one frame's beginning at most and goes on to its end.
    #[test]
    fn a_stream_of_anything_is_cut_in_bounded_memory(parts in vec((bytes(), any::<bool>()), 0..8), max in 1usize..300, size in 1usize..64) {
        let mut stream = Vec::new();
        for (bytes, whole) in &parts {
            if *whole {
                put_goodbye(&mut stream, ServerId(1), &String::from_utf8_lossy(bytes));
            } else {
                stream.extend_from_slice(bytes);
            }
        }
        let mut frames = PeerFrames::new(max);
        'all: for mut piece in stream.chunks(size) {
            while !piece.is_empty() {
                match frames.next(piece) {
                    Ok((used, Some(frame))) => {
                        prop_assert!(frame.body.len() <= max);
                        piece = &piece[used..];
                    }
                    Ok((used, None)) => {
                        prop_assert_eq!(used, piece.len());
                        break;
                    }
                    Err(_) => break 'all,
                }
                prop_assert!(frames.pending() <= HEADER_BYTES + max);
            }
        }
    }
}

//! Bytes of peer messages that mustn't change without another format version, and the hard edges of the splitter.

use super::forward::{
    ForwardItem, ForwardOutcome, ForwardVerdict, items, put_attach, put_create, put_gone, put_request, put_sync, put_verdict, verdicts,
};
use super::frame::HEADER_BYTES;
use super::*;
use crate::base::checksum::checksum_of_two;
use crate::base::ids::{ClusterId, ServerId, SessionId, Zxid};
use crate::model::acl::Identity as Who;
use crate::model::error_code::ErrorCode;
use crate::model::peer::{Message, Pulse, Stance, Standing};
use crate::model::position::{Identity, Position};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

const LAST: Identity = Identity { zxid: Zxid(0x0000_0700_0000_0009), checksum: 0x1122_3344_5566_7788 };
const POSITION: Position = Position { current_epoch: 7, last: LAST };

fn body(message: &Message<'_>) -> String {
    let mut out = Vec::new();
    put(&mut out, ServerId(3), message);
    hex(&out[HEADER_BYTES..])
}

#[test]
fn a_frame_is_magic_version_sender_flags_length_checksum_body() {
    let mut out = Vec::new();
    put(&mut out, ServerId(3), &Message::Ack { epoch: 7, durable: Zxid(9), beat: 5 });
    assert_eq!(hex(&out[..12]), "524b70720100030015000000");
    assert_eq!(hex(&out[20..]), "420700000009000000000000000500000000000000");
    assert_eq!(out[12..20], checksum_of_two(&out[..12], &out[20..]).to_le_bytes());
    assert_eq!(hex(&out[12..20]), "3f355be1a205426b");
}

#[test]
fn the_handshake_has_these_bytes() {
    let hello = Hello {
        format_version: FORMAT_VERSION,
        cluster: ClusterId(0xabcd),
        sender: ServerId(3),
        addressee: ServerId(1),
        lane: Lane::Bulk,
        membership_digest: 0x0102,
        incarnation: 0x0304,
    };
    let mut out = Vec::new();
    put_hello(&mut out, &hello);
    assert_eq!(hex(&out[HEADER_BYTES..]), "010200cdab000000000000000000000000000003010202010000000000000403000000000000");
    assert_eq!(decode_hello(&out[HEADER_BYTES..]), Ok(hello));
    out.clear();
    put_goodbye(&mut out, ServerId(3), "no");
    assert_eq!(hex(&out[HEADER_BYTES..]), "026e6f");
    assert_eq!(decode_goodbye(&out[HEADER_BYTES..]), Ok(Goodbye { reason: b"no" }));
}

#[test]
fn a_long_reason_is_cut_between_characters() {
    let mut out = Vec::new();
    put_goodbye(&mut out, ServerId(3), &"ö".repeat(400));
    assert_eq!(decode_goodbye(&out[HEADER_BYTES..]).unwrap().reason, "ö".repeat(256).as_bytes());
    out.clear();
    put_goodbye(&mut out, ServerId(3), &format!("x{}", "ö".repeat(400)));
    assert_eq!(decode_goodbye(&out[HEADER_BYTES..]).unwrap().reason.len(), 511);
}

#[test]
fn messages_have_these_bytes() {
    let last = "09000000000700008877665544332211";
    let position = format!("07000000{last}");
    let pulse = Pulse {
        cluster: ClusterId(1),
        standing: Standing::Voter,
        stance: Stance::Following { leader: ServerId(2), epoch: 8, serving: true },
        accepted_epoch: 8,
        position: POSITION,
        hears_quorum: true,
        founder: false,
        applied: Zxid(6),
        digest: 5,
    };
    let wanted = format!("10{}020302080000000108000000{position}010006000000000000000500000000000000", "01000000000000000000000000000000");
    assert_eq!(body(&Message::Pulse(pulse)), wanted);
    let new_epoch = Message::NewEpoch { epoch: 8, position: POSITION, cluster: ClusterId(0), founding: true };
    assert_eq!(body(&new_epoch), format!("2008000000{position}{}01", "0".repeat(32)));
    assert_eq!(body(&Message::Follow { epoch: 8, last: LAST, probe: false }), format!("3008000000{last}00"));
    let batch = Message::Batch { epoch: 8, committed: Zxid(6), beat: 2, confirmed: 1, bytes: b"\xaa\xbb" };
    assert_eq!(body(&batch), "4008000000060000000000000002000000000000000100000000000000aabb");
    assert_eq!(body(&Message::Fetched { after: LAST, more: true, bytes: b"\xcc" }), format!("61{last}01cc"));
}

#[test]
fn a_batch_in_two_parts_has_the_bytes_of_one_in_one() {
    let (mut whole, mut parts) = (vec![1, 2], vec![1, 2]);
    put(&mut whole, ServerId(3), &Message::Batch { epoch: 8, committed: Zxid(6), beat: 2, confirmed: 1, bytes: b"headbody" });
    put_batch(&mut parts, ServerId(3), 8, Zxid(6), 2, 1, [b"head", b"body"]);
    assert_eq!(whole, parts);
    whole.truncate(0);
    parts.truncate(0);
    put(&mut whole, ServerId(3), &Message::Piece { at: Zxid(1), offset: 2, bytes: b"piece" });
    put_filled(&mut parts, ServerId(3), &Message::Piece { at: Zxid(1), offset: 2, bytes: b"" }, |out| out.extend_from_slice(b"piece"));
    assert_eq!(whole, parts);
}

#[test]
fn forwarded_items_and_verdicts_have_these_bytes() {
    let session = SessionId(0x0a);
    let (conn, s) = ("0500000000000000", "0a00000000000000");
    let who = [Who { scheme: b"ip".to_vec(), id: b"::1".to_vec() }];
    let mut out = Vec::new();
    put_request(&mut out, 5, session, 6, 1, &who, b"body");
    assert_eq!(hex(&out), format!("01{conn}{s}06000000010000000102000000697003000000{}04000000626f6479", hex(b"::1")));
    put_create(&mut out, 5, session, 4000, &[7; 16]);
    put_attach(&mut out, 5, session, 4000, &[9; 70]);
    put_sync(&mut out, 5, session, 8);
    put_gone(&mut out, 5, session);
    let found: Vec<ForwardItem<'_>> = items(&out).map(Result::unwrap).collect();
    let ForwardItem::Request { conn: 5, xid: 6, op: 1, identities, body: b"body", .. } = found[0] else { panic!("{:?}", found[0]) };
    assert_eq!((identities.count(), identities.to_vec()), (1, who.to_vec()));
    assert_eq!(
        found[1..],
        [
            ForwardItem::Create { conn: 5, session, timeout_ms: 4000, password: [7; 16] },
            ForwardItem::Attach { conn: 5, session, timeout_ms: 4000, password: &[9; 64] },
            ForwardItem::Sync { conn: 5, session, xid: 8 },
            ForwardItem::Gone { conn: 5, session },
        ]
    );
    out.clear();
    put_verdict(&mut out, &ForwardVerdict::Proposed { zxid: Zxid(3) });
    let outcome = ForwardOutcome::RefusedMulti { failed_idx: 1, code: ErrorCode::NoNode, count: 2 };
    put_verdict(&mut out, &ForwardVerdict::Answer { at: Zxid(4), beat: 5, outcome });
    assert_eq!(hex(&out), "010300000000000000020400000000000000050000000000000002010000009bffffff02000000");
    let wanted = [Ok(ForwardVerdict::Proposed { zxid: Zxid(3) }), Ok(ForwardVerdict::Answer { at: Zxid(4), beat: 5, outcome })];
    assert_eq!(verdicts(&out).collect::<Vec<_>>(), wanted);
}

#[test]
fn a_length_is_refused_before_its_bytes_come() {
    for (len, good) in [(0u32, false), (1, true), (4096, true), (4097, false), (u32::MAX, false)] {
        let mut header = b"RKpr\x01\0\x03\0".to_vec();
        header.extend(len.to_le_bytes());
        header.extend([0; 8]);
        let mut frames = PeerFrames::new(body_bytes_max(Lane::Pulse));
        let wanted = if good { Ok((20, None)) } else { Err(BadFrame::Length { len, max: 4096 }) };
        assert_eq!(frames.next(&header), wanted, "{len}");
        let mut frames = PeerFrames::new(body_bytes_max(Lane::Pulse));
        assert_eq!(frames.next(&header[..19]), Ok((19, None)));
        assert_eq!(frames.next(&header[19..]), wanted.map(|_| (1, None)), "{len}");
    }
}

#[test]
fn what_is_no_server_of_ours_gets_its_name() {
    let name = |bytes: &[u8]| PeerFrames::new(100).next(bytes).unwrap_err().to_string();
    assert_eq!(name(b"GET / HTTP/1.1\r\n"), "this is no server of Ringkeeper's: an HTTP request");
    assert!(name(b"\0\0\0\x0b\0").contains("ZooKeeper server"));
    assert!(name(&[0xff; 8]).contains("ZooKeeper server"));
    assert!(name(b"RKpr\x02\0\x03\0\x01\0\0\0........").contains("layout 2"));
    assert_eq!(name(b"RKpr\x01\0\x03\x80\x01\0\0\0........"), "a frame with flags 0x80");
    let mut frames = PeerFrames::new(100);
    assert_eq!(frames.next(b"GE"), Ok((2, None)), "too little to know");
    assert_eq!(frames.next(b"T "), Err(BadFrame::Foreign(*b"GET ")));
}

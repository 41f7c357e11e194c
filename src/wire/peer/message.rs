//! Messages: every one of [`Message`] appended as a whole frame, and read from a frame's body.

use super::fields::{BadMessage, Fields, put_epoch, put_flag, put_identity, put_position, put_u32, put_u64, put_u128, put_zxid};
use super::frame::{begin, end};
use super::touched::TOUCHED_BYTES;
use super::{body_bytes_max, kind};
use crate::base::ids::{ServerId, Zxid};
use crate::invariant;
use crate::model::peer::{Message, Pulse, Refusal, Stance, Standing};

/// Appends a message as a frame from `sender`.
///
/// # Panics
/// If it is longer than its lane allows or names an impossible epoch: the sender bounds what it collects.
pub fn put(out: &mut Vec<u8>, sender: ServerId, message: &Message<'_>) {
    let start = begin(out, sender);
    let kind = put_body(out, message);
    finish(out, start, kind);
}

/// Appends a [`Message::Batch`] whose bytes lie in two places (replicated header, body), copied once.
///
/// # Panics
/// As [`put`].
pub fn put_batch(out: &mut Vec<u8>, sender: ServerId, epoch: u32, committed: Zxid, beat: u64, confirmed: u64, parts: [&[u8]; 2]) {
    let start = begin(out, sender);
    put_batch_head(out, epoch, committed, beat, confirmed);
    for part in parts {
        out.extend_from_slice(part);
    }
    finish(out, start, kind::BATCH);
}

/// Appends a message of the bulk lane whose bytes are gathered by `fill`, copied once: [`Message::Fetched`] or [`Message::Piece`]
/// with empty bytes, to which `fill` appends.
///
/// # Panics
/// As [`put`].
pub fn put_filled(out: &mut Vec<u8>, sender: ServerId, head: &Message<'_>, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = begin(out, sender);
    let kind = put_body(out, head);
    invariant!(matches!(head, Message::Fetched { bytes: [], .. } | Message::Piece { bytes: [], .. }), "{head:?} can't be filled");
    fill(out);
    finish(out, start, kind);
}

fn finish(out: &mut [u8], start: usize, kind: u8) {
    let lane = kind::lane(kind);
    invariant!(lane.is_some(), "a message of kind {kind} has no lane");
    end(out, start, lane.map_or(0, body_bytes_max));
}

fn put_batch_head(out: &mut Vec<u8>, epoch: u32, committed: Zxid, beat: u64, confirmed: u64) {
    out.push(kind::BATCH);
    put_epoch(out, epoch);
    put_zxid(out, committed);
    put_u64(out, beat);
    put_u64(out, confirmed);
}

/// Kind and fields. Returns the kind.
fn put_body(out: &mut Vec<u8>, message: &Message<'_>) -> u8 {
    let at = out.len();
    match *message {
        Message::Pulse(ref pulse) => put_pulse(out, pulse),
        Message::Batch { epoch, committed, beat, confirmed, bytes } => {
            put_batch_head(out, epoch, committed, beat, confirmed);
            out.extend_from_slice(bytes);
        }
        Message::NewEpoch { .. } | Message::Promise { .. } | Message::Refuse { .. } | Message::Lead { .. } => put_election(out, message),
        Message::FetchAsk { .. } | Message::Fetched { .. } | Message::PieceAsk { .. } | Message::Piece { .. } => put_bulk(out, message),
        Message::Forward { epoch, bytes } => put_tail(out, kind::FORWARD, epoch, bytes),
        Message::Verdicts { epoch, bytes } => put_tail(out, kind::VERDICTS, epoch, bytes),
        Message::Touched { epoch, bytes } => put_tail(out, kind::TOUCHED, epoch, bytes),
        Message::Progress { epoch, committed, beat, confirmed } => {
            put_head(out, kind::PROGRESS, epoch);
            put_zxid(out, committed);
            put_u64(out, beat);
            put_u64(out, confirmed);
        }
        Message::Ack { epoch, durable, beat } => {
            put_head(out, kind::ACK, epoch);
            put_zxid(out, durable);
            put_u64(out, beat);
        }
        _ => put_synchronisation(out, message),
    }
    out[at]
}

fn put_head(out: &mut Vec<u8>, kind: u8, epoch: u32) {
    out.push(kind);
    put_epoch(out, epoch);
}

fn put_tail(out: &mut Vec<u8>, kind: u8, epoch: u32, bytes: &[u8]) {
    put_head(out, kind, epoch);
    out.extend_from_slice(bytes);
}

fn put_pulse(out: &mut Vec<u8>, pulse: &Pulse) {
    out.push(kind::PULSE);
    put_u128(out, pulse.cluster.0);
    out.push(pulse.standing as u8);
    match pulse.stance {
        Stance::Looking => out.push(0),
        Stance::Candidate { epoch } => put_head(out, 1, epoch),
        Stance::Leading { epoch, established } => {
            put_head(out, 2, epoch);
            put_flag(out, established);
        }
        Stance::Following { leader, epoch, serving } => {
            out.extend_from_slice(&[3, leader.0]);
            put_epoch(out, epoch);
            put_flag(out, serving);
        }
    }
    put_epoch(out, pulse.accepted_epoch);
    put_position(out, pulse.position);
    put_flag(out, pulse.hears_quorum);
    put_flag(out, pulse.founder);
    put_zxid(out, pulse.applied);
    put_u64(out, pulse.digest);
}

fn put_election(out: &mut Vec<u8>, message: &Message<'_>) {
    match *message {
        Message::NewEpoch { epoch, position, cluster, founding } => {
            put_head(out, kind::NEW_EPOCH, epoch);
            put_position(out, position);
            put_u128(out, cluster.0);
            put_flag(out, founding);
        }
        Message::Promise { epoch, position } => {
            put_head(out, kind::PROMISE, epoch);
            put_position(out, position);
        }
        Message::Refuse { epoch, accepted_epoch, position, why } => {
            put_head(out, kind::REFUSE, epoch);
            put_epoch(out, accepted_epoch);
            put_position(out, position);
            out.push(why as u8);
        }
        Message::Lead { epoch } => put_head(out, kind::LEAD, epoch),
        _ => invariant!(false, "{message:?} is none of the election's"),
    }
}

fn put_synchronisation(out: &mut Vec<u8>, message: &Message<'_>) {
    match *message {
        Message::Follow { epoch, last, probe } => {
            put_head(out, kind::FOLLOW, epoch);
            put_identity(out, last);
            put_flag(out, probe);
        }
        Message::Diff { epoch, after } => {
            put_head(out, kind::DIFF, epoch);
            put_identity(out, after);
        }
        Message::Back { epoch, to } => {
            put_head(out, kind::BACK, epoch);
            put_identity(out, to);
        }
        Message::Fetch { epoch, after } => {
            put_head(out, kind::FETCH, epoch);
            put_identity(out, after);
        }
        Message::Snapshot { epoch, at, len } => {
            put_head(out, kind::SNAPSHOT, epoch);
            put_identity(out, at);
            put_u64(out, len);
        }
        Message::NewLeader { epoch, last } => {
            put_head(out, kind::NEW_LEADER, epoch);
            put_identity(out, last);
        }
        Message::AckLeader { epoch, last } => {
            put_head(out, kind::ACK_LEADER, epoch);
            put_identity(out, last);
        }
        Message::UpToDate { epoch, committed } => {
            put_head(out, kind::UP_TO_DATE, epoch);
            put_zxid(out, committed);
        }
        _ => invariant!(false, "{message:?} is none of the synchronisation's"),
    }
}

fn put_bulk(out: &mut Vec<u8>, message: &Message<'_>) {
    match *message {
        Message::FetchAsk { after, bytes_max } => {
            out.push(kind::FETCH_ASK);
            put_identity(out, after);
            put_u32(out, bytes_max);
        }
        Message::Fetched { after, more, bytes } => {
            out.push(kind::FETCHED);
            put_identity(out, after);
            put_flag(out, more);
            out.extend_from_slice(bytes);
        }
        Message::PieceAsk { at, offset, len } => {
            out.push(kind::PIECE_ASK);
            put_zxid(out, at);
            put_u64(out, offset);
            put_u32(out, len);
        }
        Message::Piece { at, offset, bytes } => {
            out.push(kind::PIECE);
            put_zxid(out, at);
            put_u64(out, offset);
            out.extend_from_slice(bytes);
        }
        _ => invariant!(false, "{message:?} isn't of the bulk lane"),
    }
}

/// Reads a message from a frame's body.
///
/// # Errors
/// [`BadMessage`] for anything that [`put`] doesn't write. What the bytes at its end hold isn't looked into.
pub fn decode(body: &[u8]) -> Result<Message<'_>, BadMessage> {
    let mut fields = Fields::new(body);
    let kind = fields.u8()?;
    let message = match kind {
        kind::PULSE => Message::Pulse(decode_pulse(&mut fields)?),
        kind::BATCH => Message::Batch {
            epoch: fields.epoch()?,
            committed: fields.zxid()?,
            beat: fields.u64()?,
            confirmed: fields.u64()?,
            bytes: fields.take_rest(),
        },
        kind::PROGRESS => {
            Message::Progress { epoch: fields.epoch()?, committed: fields.zxid()?, beat: fields.u64()?, confirmed: fields.u64()? }
        }
        kind::ACK => Message::Ack { epoch: fields.epoch()?, durable: fields.zxid()?, beat: fields.u64()? },
        kind::FORWARD => Message::Forward { epoch: fields.epoch()?, bytes: fields.take_rest() },
        kind::VERDICTS => Message::Verdicts { epoch: fields.epoch()?, bytes: fields.take_rest() },
        kind::TOUCHED => Message::Touched { epoch: fields.epoch()?, bytes: touched(&mut fields)? },
        kind::NEW_EPOCH..=kind::LEAD => decode_election(kind, &mut fields)?,
        kind::FOLLOW..=kind::UP_TO_DATE => decode_synchronisation(kind, &mut fields)?,
        kind::FETCH_ASK..=kind::PIECE => decode_bulk(kind, &mut fields)?,
        other => return Err(BadMessage::Kind(other)),
    };
    fields.end()?;
    Ok(message)
}

fn touched<'a>(fields: &mut Fields<'a>) -> Result<&'a [u8], BadMessage> {
    let bytes = fields.take_rest();
    if bytes.len().is_multiple_of(TOUCHED_BYTES) { Ok(bytes) } else { Err(BadMessage::Truncated) }
}

fn decode_pulse(fields: &mut Fields<'_>) -> Result<Pulse, BadMessage> {
    Ok(Pulse {
        cluster: fields.cluster()?,
        standing: match fields.u8()? {
            0 => Standing::Empty,
            1 => Standing::Repairing,
            2 => Standing::Voter,
            other => return Err(BadMessage::Field { what: "a standing", value: u64::from(other) }),
        },
        stance: match fields.u8()? {
            0 => Stance::Looking,
            1 => Stance::Candidate { epoch: fields.epoch()? },
            2 => Stance::Leading { epoch: fields.epoch()?, established: fields.flag("a flag \"established\"")? },
            3 => Stance::Following { leader: fields.server()?, epoch: fields.epoch()?, serving: fields.flag("a flag \"serving\"")? },
            other => return Err(BadMessage::Field { what: "a stance", value: u64::from(other) }),
        },
        accepted_epoch: fields.epoch()?,
        position: fields.position()?,
        hears_quorum: fields.flag("a flag \"hears a quorum\"")?,
        founder: fields.flag("a flag \"founder\"")?,
        applied: fields.zxid()?,
        digest: fields.u64()?,
    })
}

fn decode_election(kind: u8, fields: &mut Fields<'_>) -> Result<Message<'static>, BadMessage> {
    let epoch = fields.epoch()?;
    Ok(match kind {
        kind::NEW_EPOCH => Message::NewEpoch {
            epoch,
            position: fields.position()?,
            cluster: fields.cluster()?,
            founding: fields.flag("a flag \"founding\"")?,
        },
        kind::PROMISE => Message::Promise { epoch, position: fields.position()? },
        kind::REFUSE => Message::Refuse {
            epoch,
            accepted_epoch: fields.epoch()?,
            position: fields.position()?,
            why: match fields.u8()? {
                0 => Refusal::Promised,
                1 => Refusal::Newer,
                2 => Refusal::Content,
                3 => Refusal::NoVoice,
                other => return Err(BadMessage::Field { what: "a refusal", value: u64::from(other) }),
            },
        },
        kind::LEAD => Message::Lead { epoch },
        other => return Err(BadMessage::Kind(other)),
    })
}

fn decode_synchronisation(kind: u8, fields: &mut Fields<'_>) -> Result<Message<'static>, BadMessage> {
    let epoch = fields.epoch()?;
    Ok(match kind {
        kind::FOLLOW => Message::Follow { epoch, last: fields.identity()?, probe: fields.flag("a flag \"probe\"")? },
        kind::DIFF => Message::Diff { epoch, after: fields.identity()? },
        kind::BACK => Message::Back { epoch, to: fields.identity()? },
        kind::FETCH => Message::Fetch { epoch, after: fields.identity()? },
        kind::SNAPSHOT => Message::Snapshot { epoch, at: fields.identity()?, len: fields.u64()? },
        kind::NEW_LEADER => Message::NewLeader { epoch, last: fields.identity()? },
        kind::ACK_LEADER => Message::AckLeader { epoch, last: fields.identity()? },
        kind::UP_TO_DATE => Message::UpToDate { epoch, committed: fields.zxid()? },
        other => return Err(BadMessage::Kind(other)),
    })
}

fn decode_bulk<'a>(kind: u8, fields: &mut Fields<'a>) -> Result<Message<'a>, BadMessage> {
    Ok(match kind {
        kind::FETCH_ASK => Message::FetchAsk { after: fields.identity()?, bytes_max: fields.u32()? },
        kind::FETCHED => Message::Fetched { after: fields.identity()?, more: fields.flag("a flag \"more\"")?, bytes: fields.take_rest() },
        kind::PIECE_ASK => Message::PieceAsk { at: fields.zxid()?, offset: fields.u64()?, len: fields.u32()? },
        kind::PIECE => Message::Piece { at: fields.zxid()?, offset: fields.u64()?, bytes: fields.take_rest() },
        other => return Err(BadMessage::Kind(other)),
    })
}

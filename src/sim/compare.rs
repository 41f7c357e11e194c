//! Whether an answer on the wire is the one that the reference model gives.

use super::history::Reply;
use super::model::{Answer, Outcome};
use crate::model::error_code::ErrorCode;
use crate::model::op_code::OpCode;
use crate::wire::client::client_side::{MultiResult, ReplyBody, decode_body};
use std::collections::BTreeSet;

/// Whether a reply to a multi says that it failed.
#[must_use]
pub fn is_failed_multi(op: OpCode, reply: &Reply) -> bool {
    op == OpCode::Multi
        && reply.err == 0
        && matches!(decode_body(op, &reply.body), Ok(ReplyBody::Multi(results)) if results.iter().any(|r| matches!(r, MultiResult::Error { .. })))
}

/// Compares.
///
/// # Errors
/// Both sides, in words.
pub fn agrees(op: OpCode, outcome: &Outcome, reply: &Reply) -> Result<(), String> {
    let answer = match outcome {
        Err(code) if reply.err == code.code() => return Ok(()),
        Err(code) => return Err(format!("the model says {code:?}, the reply has error {}", reply.err)),
        Ok(_) if reply.err != 0 => return Err(format!("the model says {outcome:?}, the reply has error {}", reply.err)),
        Ok(answer) => answer,
    };
    let body = decode_body(op, &reply.body).map_err(|e| format!("the reply to {op:?} doesn't decode: {e}"))?;
    let same = match (answer, &body) {
        (Answer::Nothing, ReplyBody::Empty) => true,
        (Answer::Path(want), ReplyBody::Path(got)) => want == got,
        (Answer::PathStat(want, stat), ReplyBody::Created { path, stat: got }) => want == path && stat == got,
        (Answer::Stat(want), ReplyBody::Stat(got)) => want == got,
        (Answer::Data(want, stat), ReplyBody::Data { data, stat: got }) => want.as_deref() == *data && stat == got,
        (Answer::Acl(want, stat), ReplyBody::Acl { list, stat: got }) => want == list.bytes() && stat == got,
        (Answer::Children(want) | Answer::Paths(want), ReplyBody::Names(got)) => same_names(want, got),
        (Answer::ChildrenStat(want, stat), ReplyBody::Children { names, stat: got }) => same_names(want, names) && stat == got,
        (Answer::Count(want), ReplyBody::Number(got)) => i32::try_from(*want) == Ok(*got),
        (Answer::Each(want), ReplyBody::Multi(got)) => want.len() == got.len() && want.iter().zip(got).all(|(w, g)| same_result(w, g)),
        (Answer::FailedMulti(at, code, count), ReplyBody::Multi(got)) => {
            got.len() == *count
                && got.iter().enumerate().all(|(idx, r)| matches!(r, MultiResult::Error { code: c } if *c == tail_code(idx, *at, *code)))
        }
        _ => false,
    };
    if same { Ok(()) } else { Err(format!("the model says {answer:?}, the reply says {body:?}")) }
}

fn tail_code(idx: usize, failed: usize, code: ErrorCode) -> i32 {
    match idx.cmp(&failed) {
        std::cmp::Ordering::Less => 0,
        std::cmp::Ordering::Equal => code.code(),
        std::cmp::Ordering::Greater => ErrorCode::RuntimeInconsistency.code(),
    }
}

fn same_names(want: &BTreeSet<Vec<u8>>, got: &[&[u8]]) -> bool {
    want.len() == got.len() && got.iter().all(|name| want.contains(*name))
}

fn same_result(want: &Outcome, got: &MultiResult<'_>) -> bool {
    match (want, got) {
        (Err(code), MultiResult::Error { code: got }) => code.code() == *got,
        (Ok(Answer::Path(want)), MultiResult::Created { path }) => want == path,
        (Ok(Answer::PathStat(want, stat)), MultiResult::Created2 { path, stat: got }) => want == path && stat == got,
        (Ok(Answer::Nothing), MultiResult::Deleted | MultiResult::Checked) => true,
        (Ok(Answer::Stat(want)), MultiResult::Set { stat }) => want == stat,
        (Ok(Answer::Children(want)), MultiResult::Children { names }) => same_names(want, names),
        (Ok(Answer::Data(want, stat)), MultiResult::Data { data, stat: got }) => want.as_deref() == *data && stat == got,
        _ => false,
    }
}

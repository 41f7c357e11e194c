//! Renders a file of the log as lines for people, from its bytes alone; for the inspector tool and for texts to an operator.
//!
//! Guarantees: any bytes give some lines, never a panic; the number of lines is bounded by the number of blocks and records.

use crate::base::limits::BLOCK_BYTES;
use crate::log::batch::{BadHeader, HEADER_BYTES, Header};
use crate::log::fields::get_u64;
use crate::log::mark::{MARK_MAGIC, Mark};
use crate::log::meta::{META_MAGIC, Meta};
use crate::log::record::Records;
use crate::log::segment::{SEGMENT_HEADER_BYTES, SegmentHead};
use crate::model::txn::OpRef;

/// Lines about a segment, a copy of the epoch metadata or a mark file, told apart by their first bytes. With `with_records` each
/// transaction of a segment gets a line too.
#[must_use]
pub fn inspect(bytes: &[u8], with_records: bool) -> Vec<String> {
    match get_u64(bytes, 0) {
        META_MAGIC => meta_lines(bytes),
        MARK_MAGIC => mark_lines(bytes),
        _ => segment_lines(bytes, with_records),
    }
}

fn meta_lines(bytes: &[u8]) -> Vec<String> {
    let meta = match Meta::decode(bytes) {
        Ok(meta) => meta,
        Err(what) => return vec![format!("epoch metadata: {what}")],
    };
    let mut lines = vec![
        format!("epoch metadata of cluster {}, sequence {}", meta.cluster, meta.sequence),
        format!("accepted epoch {}, current epoch {}", meta.accepted_epoch, meta.current_epoch),
        format!("generation {} begins after {} ({:016x})", meta.generation, meta.start.zxid, meta.start.checksum),
    ];
    if meta.repairing {
        lines.push("repairing: it lacks something that it once made durable".to_owned());
    }
    lines.extend(meta.ended.iter().map(|s| {
        let (from, to) = (s.start, s.end);
        format!("generation {} ran after {} through {} ({:016x})", s.generation, from.zxid, to.zxid, to.checksum)
    }));
    lines
}

fn mark_lines(bytes: &[u8]) -> Vec<String> {
    let sector = |idx: usize| {
        let at = idx * BLOCK_BYTES;
        match Mark::decode(bytes.get(at..).unwrap_or_default()) {
            Ok(mark) => format!(
                "mark sector {idx}: sequence {}, generation {}, durable through {} ({:016x}), cluster {}",
                mark.sequence, mark.generation, mark.durable.zxid, mark.durable.checksum, mark.cluster
            ),
            Err(what) => format!("mark sector {idx}: {what}"),
        }
    };

    vec![sector(0), sector(1)]
}

fn segment_lines(bytes: &[u8], with_records: bool) -> Vec<String> {
    let head = SegmentHead::decode(bytes);
    let mut lines = vec![match &head {
        Ok(head) => format!(
            "segment {} of shard {}, generation {}, logical offsets {} to {}, cluster {}",
            head.number,
            head.shard.0,
            head.generation,
            head.base,
            head.end(),
            head.cluster
        ),
        Err(what) => format!("segment: {what}"),
    }];
    let mut at = SEGMENT_HEADER_BYTES as usize;
    let mut nothing_from = None;
    while let Some(block) = bytes.get(at..).filter(|block| !block.is_empty()) {
        match Header::read(block) {
            Err(BadHeader::NoBatch) => {
                nothing_from.get_or_insert(at);
                at += BLOCK_BYTES;
                continue;
            }
            Ok(header) => {
                close_gap(&mut lines, &mut nothing_from, at);
                let stale = head.as_ref().is_ok_and(|h| !stands_here(h, &header, at as u64));
                batch_lines(&mut lines, block, &header, at, stale, with_records);
                at += if stale { BLOCK_BYTES } else { header.replicated.batch_bytes() };
            }
            Err(bad) => {
                close_gap(&mut lines, &mut nothing_from, at);
                lines.push(format!("byte {at}: {bad}"));
                at += BLOCK_BYTES;
            }
        }
    }
    close_gap(&mut lines, &mut nothing_from, bytes.len());
    lines
}

fn stands_here(head: &SegmentHead, header: &Header, at: u64) -> bool {
    header.local.generation == head.generation && head.base.checked_add(at - SEGMENT_HEADER_BYTES) == Some(header.local.offset)
}

fn close_gap(lines: &mut Vec<String>, from: &mut Option<usize>, to: usize) {
    if let Some(from) = from.take() {
        lines.push(format!("bytes {from} to {to}: no batch"));
    }
}

fn batch_lines(lines: &mut Vec<String>, block: &[u8], header: &Header, at: usize, stale: bool, with_records: bool) {
    let (r, l) = (&header.replicated, &header.local);
    let body = block.get(HEADER_BYTES..HEADER_BYTES + r.body_len as usize);
    let state = match body {
        _ if stale => "stale",
        Some(body) if r.body_is_whole(body) => "whole",
        Some(_) => "body not whole",
        None => "cut short",
    };
    lines.push(format!(
        "byte {at}: batch {} to {} ({state}), {} records, {} body bytes, generation {}, shard {} offset {}, follows {} ({:016x}), durable {}, committed {}",
        r.first,
        r.last,
        r.records,
        r.body_len,
        l.generation,
        l.shard.0,
        l.offset,
        r.previous.zxid,
        r.previous.checksum,
        l.durable_cut,
        r.committed
    ));
    if with_records && state == "whole" {
        for record in Records::new(body.unwrap_or_default()).flatten() {
            let head = record.head();
            let ops: Vec<String> = record.ops().map(op_text).collect();
            lines.push(format!("  {} session {} cxid {} time {}: {}", head.zxid, head.session, head.cxid, head.time_ms, ops.join("; ")));
        }
    }
}

fn op_text(op: OpRef<'_>) -> String {
    let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    let size = |data: Option<&[u8]>| data.map_or_else(|| "null".to_owned(), |d| format!("{} bytes", d.len()));
    match op {
        OpRef::Create { path, data, owner, .. } => format!("create {} ({}, owner {owner:#x})", text(path), size(data)),
        OpRef::Delete { path } => format!("delete {}", text(path)),
        OpRef::SetData { path, data, version } => format!("set {} ({}, version {version})", text(path), size(data)),
        OpRef::SetAcl { path, aversion, .. } => format!("set ACL of {} (version {aversion})", text(path)),
        OpRef::CreateSession { timeout_ms, .. } => format!("create session ({timeout_ms} ms)"),
        OpRef::CloseSession => "close session".to_owned(),
    }
}

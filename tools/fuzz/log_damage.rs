//! What may happen to the files of a log: rot, loss, misplacement, and lies with right checksums.

use super::disk::Disk;
use super::mutate;
use ringkeeper::base::checksum::checksum;
use ringkeeper::base::ids::{ClusterId, ShardId, Zxid};
use ringkeeper::base::prng::Prng;
use ringkeeper::log::batch::{HEADER_BYTES, Header, REPLICATED_BYTES};
use ringkeeper::log::mark::{Mark, mark_path};
use ringkeeper::log::meta::{Meta, meta_path};
use ringkeeper::log::segment::{SegmentHead, segment_path, shard_dir};

const BLOCK: usize = 4096;

/// How much of the truth a damage leaves intact.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Nothing was done.
    None,
    /// Bytes of one block went bad: nothing that was durable may be lost in silence.
    Rot,
    /// Blocks or files went, came, or moved, checksums as they were: no content that never was may come out.
    Loss,
    /// Checksums were made right again: anything may come out, but nothing may break.
    Forgery,
}

/// Damages `disk` once or several times.
pub fn damage(prng: &mut Prng, disk: &mut Disk, other: &Disk) -> (Severity, Vec<String>) {
    let mut done = Vec::new();
    let mut severity = Severity::None;
    let times = if prng.chance(1, 8) { 0 } else { 1 + prng.below(3) * prng.below(2) };
    for _ in 0..times {
        let names = disk.names();
        if names.is_empty() {
            break;
        }
        // The few files that decide everything come up as often as the many segments.
        let name = match prng.below(8) {
            0 => meta_path(prng.index(2)).name,
            1 => mark_path().name,
            _ => names[prng.index(names.len())].clone(),
        };
        if disk.content(&name).is_none() {
            continue;
        }
        let kind = match prng.below(9) {
            0..=2 => rot(prng, disk, &name),
            3..=5 => lose(prng, disk, &name, other),
            _ => forge(prng, disk, &name),
        };
        // Two blocks gone bad are more than what one mark and one chain can tell.
        severity = if severity == Severity::Rot && kind == Severity::Rot { Severity::Loss } else { severity.max(kind) };
        done.push(format!("{kind:?} of {name}"));
    }
    (severity, done)
}

/// Where a batch, or what looks like one, begins.
fn batches(bytes: &[u8]) -> Vec<usize> {
    (1..bytes.len() / BLOCK).map(|block| block * BLOCK).filter(|at| Header::read(&bytes[*at..]).is_ok()).collect()
}

/// A place near something that matters: in a batch of a segment, or anywhere.
fn place(prng: &mut Prng, bytes: &[u8]) -> usize {
    let found = batches(bytes);
    if found.is_empty() || prng.chance(1, 4) {
        return prng.index(bytes.len().clamp(1, 600));
    }
    if bytes.is_empty() {
        return 0;
    }
    let near = [16, HEADER_BYTES, 600][prng.index(3)];
    (found[prng.index(found.len())] + prng.index(near)).min(bytes.len() - 1)
}

fn rot(prng: &mut Prng, disk: &mut Disk, name: &str) -> Severity {
    let Some(bytes) = disk.content_mut(name).filter(|bytes| !bytes.is_empty()) else { return Severity::None };
    let at = place(prng, bytes);
    if prng.chance(1, 4) {
        let start = at / BLOCK * BLOCK;
        let end = (start + BLOCK).min(bytes.len());
        bytes[start..end].fill(0);
    } else {
        bytes[at] ^= 1 << prng.below(8);
    }
    Severity::Rot
}

fn lose(prng: &mut Prng, disk: &mut Disk, name: &str, other: &Disk) -> Severity {
    match prng.below(10) {
        0 => {
            disk.take(name);
        }
        1 => {
            let bytes = disk.content_mut(name).expect("the file was there");
            let len = if prng.chance(1, 2) { prng.index(bytes.len() + 1) } else { prng.index(bytes.len() / BLOCK + 1) * BLOCK };
            bytes.truncate(len);
        }
        2 => disk.spoil(name),
        3 => disk.spoil(&shard_dir(ShardId(prng.below(4) as u8)).name),
        4 => {
            // A file of another log under this one's name, or in another directory.
            let names = other.names();
            let from = if names.is_empty() || prng.chance(1, 2) { name.to_owned() } else { names[prng.index(names.len())].clone() };
            disk.put(name, other.content(&from).unwrap_or_default().to_vec());
        }
        5 => {
            let content = disk.take(name).unwrap_or_default();
            disk.put(&segment_path(ShardId(prng.below(3) as u8), prng.below(5)).name, content);
        }
        6 => disk.put(&format!("log/shard-{}/{}", prng.below(3), ["next.tmp", "core", "1.log"][prng.index(3)]), vec![7; 9]),
        7 => {
            let bytes = disk.content_mut(name).expect("the file was there");
            let other = other.content(name).unwrap_or_default().to_vec();
            mutate::once(prng, bytes, &other);
        }
        _ => move_block(prng, disk.content_mut(name).expect("the file was there")),
    }
    Severity::Loss
}

/// Blocks change places, or one is found twice, as after a misdirected write.
fn move_block(prng: &mut Prng, bytes: &mut [u8]) {
    let blocks = bytes.len() / BLOCK;
    if blocks < 2 {
        return;
    }
    let found = batches(bytes);
    let from = if found.is_empty() { prng.index(blocks) * BLOCK } else { found[prng.index(found.len())] };
    let to = prng.index(blocks) * BLOCK;
    let (a, b) = (bytes[from..from + BLOCK].to_vec(), bytes[to..to + BLOCK].to_vec());
    bytes[to..to + BLOCK].copy_from_slice(&a);
    if prng.chance(1, 2) {
        bytes[from..from + BLOCK].copy_from_slice(&b);
    }
}

fn forge(prng: &mut Prng, disk: &mut Disk, name: &str) -> Severity {
    let bytes = disk.content_mut(name).expect("the file was there");
    if let Ok(mut meta) = Meta::decode(bytes) {
        forge_meta(prng, &mut meta);
        *bytes = meta.encode();
        if prng.chance(1, 6) {
            patch(prng, bytes, VERSION_AT);
            let end = bytes.len() - 8;
            seal(bytes, 0, end);
        }
        // Both copies say so, or the better one hides the lie.
        if prng.chance(2, 3) {
            let copy = bytes.clone();
            disk.put(&meta_path(0).name, copy.clone());
            disk.put(&meta_path(1).name, copy);
        }
    } else if name == mark_path().name {
        forge_mark(prng, bytes);
    } else if bytes.len() > BLOCK {
        forge_segment(prng, bytes);
    }
    Severity::Forgery
}

fn forge_meta(prng: &mut Prng, meta: &mut Meta) {
    let value = number(prng);
    match prng.below(9) {
        0 => meta.cluster = ClusterId(u128::from(value)),
        1 => meta.accepted_epoch = value as u32,
        2 => meta.current_epoch = value as u32,
        3 => meta.generation = value,
        4 => meta.sequence = value,
        5 => meta.start.zxid = zxid(prng),
        6 => meta.start.checksum = value,
        7 => meta.ended.clear(),
        _ => {
            let Some(span) = meta.ended.last_mut() else { return };
            match prng.below(3) {
                0 => span.generation = value,
                1 => span.start.zxid = zxid(prng),
                _ => span.end.zxid = zxid(prng),
            }
        }
    }
}

fn forge_mark(prng: &mut Prng, bytes: &mut [u8]) {
    let value = number(prng);
    for at in [0, BLOCK] {
        let Some(Ok(mut mark)) = bytes.get(at..).map(Mark::decode) else { continue };
        match prng.below(6) {
            0 => mark.cluster = ClusterId(u128::from(value)),
            1 => mark.sequence = value,
            2 => mark.generation = value,
            3 => mark.durable.checksum = value,
            _ => mark.durable.zxid = zxid(prng),
        }
        let mut sector = mark.encode();
        if prng.chance(1, 8) {
            patch(prng, &mut sector, VERSION_AT);
            let end = sector.len() - 8;
            seal(&mut sector, 0, end);
        }
        bytes[at..at + sector.len()].copy_from_slice(&sector);
        if prng.chance(1, 3) {
            break;
        }
    }
}

fn forge_segment(prng: &mut Prng, bytes: &mut [u8]) {
    let found = batches(bytes);
    if found.is_empty() || prng.chance(1, 4) {
        if let Ok(mut head) = SegmentHead::decode(bytes) {
            let value = number(prng);
            match prng.below(6) {
                0 => head.cluster = ClusterId(u128::from(value)),
                1 => head.shard = ShardId(value as u8),
                2 => head.number = value,
                3 => head.generation = value,
                4 => head.base = value,
                _ => head.capacity = value,
            }
            bytes[..BLOCK].copy_from_slice(&head.encode());
            if prng.chance(1, 6) {
                patch(prng, bytes, VERSION_AT);
                seal(bytes, 0, 120);
            }
        }
        return;
    }
    let at = found[prng.index(found.len())];
    forge_batch(prng, &mut bytes[at..]);
}

/// Changes fields or body of the batch at the front of `bytes` and makes every checksum right.
fn forge_batch(prng: &mut Prng, bytes: &mut [u8]) {
    let Ok(header) = Header::read(bytes) else { return };
    let body_len = header.replicated.body_len as usize;
    match prng.below(4) {
        // Any number in the replicated part, the local part, or the body.
        0 => patch(prng, &mut bytes[..REPLICATED_BYTES], VERSION_AT),
        1 => patch(prng, &mut bytes[..HEADER_BYTES], REPLICATED_BYTES),
        2 if bytes.len() >= HEADER_BYTES + body_len && body_len > 8 => {
            let mut body = bytes[HEADER_BYTES..HEADER_BYTES + body_len].to_vec();
            patch(prng, &mut body, 0);
            bytes[56..64].copy_from_slice(&checksum(&body).to_le_bytes());
            bytes[HEADER_BYTES..HEADER_BYTES + body_len].copy_from_slice(&body);
        }
        _ => {
            let (mut replicated, mut local) = (header.replicated, header.local);
            match prng.below(5) {
                0 => local.durable_cut = zxid(prng),
                1 => local.generation = number(prng),
                2 => replicated.previous.zxid = zxid(prng),
                3 => replicated.previous.checksum = number(prng),
                _ => local.offset = number(prng),
            }
            replicated.write(bytes);
            local.write(bytes);
        }
    }
    seal(bytes, 0, REPLICATED_BYTES - 8);
    seal(bytes, REPLICATED_BYTES - 8, HEADER_BYTES - 8);
}

/// Where the version stands in every block of the log; its magic comes before.
const VERSION_AT: usize = 8;

/// Puts a number over some bytes of `bytes` from `from` on, or makes it a newer version's.
fn patch(prng: &mut Prng, bytes: &mut [u8], from: usize) {
    if from == VERSION_AT && prng.chance(1, 2) {
        bytes[VERSION_AT..VERSION_AT + 4].copy_from_slice(&2u32.to_le_bytes());
        return;
    }
    let width = [1, 4, 8][prng.index(3)];
    let at = from + prng.index((bytes.len() - from - width).max(1));
    bytes[at..at + width].copy_from_slice(&number(prng).to_le_bytes()[..width]);
}

/// Writes the checksum of `from..to` behind it.
fn seal(bytes: &mut [u8], from: usize, to: usize) {
    let sum = checksum(&bytes[from..to]);
    bytes[to..to + 8].copy_from_slice(&sum.to_le_bytes());
}

fn number(prng: &mut Prng) -> u64 {
    mutate::number(prng).cast_unsigned()
}

/// A zxid that may be near the log's own, or anything.
fn zxid(prng: &mut Prng) -> Zxid {
    if prng.chance(1, 4) { Zxid(number(prng)) } else { Zxid::new(prng.below(4) as u32, prng.below(30)) }
}

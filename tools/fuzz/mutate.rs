//! Changes of byte strings that are likely to matter: flipped bits, lengths that lie, pieces cut out, doubled, moved, spliced.

use ringkeeper::base::prng::Prng;

/// Numbers at which lengths, counts and versions tend to break.
const NUMBERS: [i64; 22] = [
    0,
    1,
    2,
    3,
    -1,
    -2,
    4,
    8,
    16,
    127,
    128,
    255,
    256,
    4095,
    4096,
    65_535,
    1 << 24,
    i32::MAX as i64,
    i32::MIN as i64,
    u32::MAX as i64,
    i64::MAX,
    i64::MIN,
];

/// A number that may hurt: one of [`NUMBERS`] or near it, or any.
pub fn number(prng: &mut Prng) -> i64 {
    match prng.below(8) {
        0 => prng.next_u64().cast_signed(),
        1 => NUMBERS[prng.index(NUMBERS.len())].wrapping_add(prng.below(5).cast_signed() - 2),
        2 => prng.below(64).cast_signed(),
        _ => NUMBERS[prng.index(NUMBERS.len())],
    }
}

/// A place and a length within `len` bytes; `None` when there are none.
fn piece(prng: &mut Prng, len: usize, piece_max: usize) -> Option<(usize, usize)> {
    if len == 0 {
        return None;
    }
    let at = prng.index(len);
    Some((at, 1 + prng.index((len - at).min(piece_max))))
}

/// Changes `bytes` once. `other` is where a splice takes its bytes from.
pub fn once(prng: &mut Prng, bytes: &mut Vec<u8>, other: &[u8]) {
    let piece_max = 64.max(bytes.len() / 4);
    match prng.below(12) {
        0..=2 => {
            if let Some((at, _)) = piece(prng, bytes.len(), 1) {
                bytes[at] ^= 1 << prng.below(8);
            }
        }
        3 => {
            if let Some((at, _)) = piece(prng, bytes.len(), 1) {
                bytes[at] = number(prng) as u8;
            }
        }
        4..=6 => overwrite_number(prng, bytes),
        7 => bytes.truncate(prng.index(bytes.len() + 1)),
        8 => {
            if let Some((at, len)) = piece(prng, bytes.len(), piece_max) {
                bytes.drain(at..at + len);
            }
        }
        9 => {
            if let Some((at, len)) = piece(prng, bytes.len(), piece_max) {
                let copy = bytes[at..at + len].to_vec();
                let to = prng.index(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
        }
        10 => {
            if let Some((from, len)) = piece(prng, other.len(), piece_max) {
                let at = prng.index(bytes.len() + 1);
                let end = if prng.chance(1, 2) { at } else { (at + len).min(bytes.len()) };
                bytes.splice(at..end, other[from..from + len].iter().copied());
            }
        }
        _ => {
            let mut tail = vec![0; prng.index(20)];
            prng.fill(&mut tail);
            bytes.extend(tail);
        }
    }
}

/// A number of 2, 4 or 8 bytes in either order, over what is there.
fn overwrite_number(prng: &mut Prng, bytes: &mut [u8]) {
    let width = [2, 4, 4, 4, 8][prng.index(5)];
    if bytes.len() < width {
        return;
    }
    let at = prng.index(bytes.len() - width + 1);
    let value = number(prng);
    let big = value.to_be_bytes();
    let little = value.to_le_bytes();
    let chosen = if prng.chance(1, 2) { &big[8 - width..] } else { &little[..width] };
    bytes[at..at + width].copy_from_slice(chosen);
}

/// Changes `bytes` a few times; seldom not at all. Whether it did.
pub fn some(prng: &mut Prng, bytes: &mut Vec<u8>, other: &[u8]) -> bool {
    let times = if prng.chance(1, 6) { 0 } else { 1 + prng.below(4) * prng.below(2) };
    (0..times).for_each(|_| once(prng, bytes, other));
    times > 0
}

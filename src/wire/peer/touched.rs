//! What a learner reports of its clients: items of [`TOUCHED_BYTES`], little-endian, in any order.
//!
//! | offset | |
//! |---|---|
//! | 0 | session id, 8 bytes |
//! | 8 | for how many ms it has been silent, 4 bytes |
//!
//! Guarantees: what was put comes back, whatever the bytes. Leaves to others: whole items (`message` refuses anything else), what the
//! leader makes of them.

use crate::base::ids::SessionId;

/// Bytes of an item.
pub const TOUCHED_BYTES: usize = 12;

/// Appends an item. A silence that doesn't fit is the longest that does.
pub fn put_touched(out: &mut Vec<u8>, session: SessionId, silent_ms: u64) {
    out.extend_from_slice(&session.0.to_le_bytes());
    out.extend_from_slice(&u32::try_from(silent_ms).unwrap_or(u32::MAX).to_le_bytes());
}

/// Each session with its silence in ms.
pub fn touched(bytes: &[u8]) -> impl Iterator<Item = (SessionId, u64)> + '_ {
    bytes.as_chunks::<TOUCHED_BYTES>().0.iter().map(|[a, b, c, d, e, f, g, h, silent_ms @ ..]| {
        (SessionId(i64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h])), u64::from(u32::from_le_bytes(*silent_ms)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_put_comes_back(items in proptest::collection::vec((any::<i64>(), any::<u32>()), 0..9)) {
            let mut bytes = Vec::new();
            items.iter().for_each(|(session, silent_ms)| put_touched(&mut bytes, SessionId(*session), u64::from(*silent_ms)));
            let got: Vec<_> = touched(&bytes).collect();
            let put: Vec<_> = items.iter().map(|(session, silent_ms)| (SessionId(*session), u64::from(*silent_ms))).collect();
            prop_assert_eq!(got, put);
        }
    }

    #[test]
    fn the_layout_is_as_described_and_a_long_silence_the_longest() {
        let mut bytes = Vec::new();
        put_touched(&mut bytes, SessionId(0x0102_0304_0506_0708), 0x0a0b);
        put_touched(&mut bytes, SessionId(-1), u64::MAX);
        assert_eq!(bytes[..12], [8, 7, 6, 5, 4, 3, 2, 1, 0x0b, 0x0a, 0, 0]);
        assert_eq!(bytes[12..], [0xff; 12]);
    }
}

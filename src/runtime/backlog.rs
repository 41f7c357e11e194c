//! Bytes that a full socket left: taken at the end, sent from the front.
//!
//! Guarantees: memory follows what waits, also where it never quite empties; what is moved is no more than what was sent. Leaves to others:
//! how much may wait.

/// What waits for a socket.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    bytes: Vec<u8>,
    /// So many of `bytes` are sent.
    sent: usize,
}

impl Backlog {
    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What waits.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Behind what waits already.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// `n` more bytes are sent. Empty it keeps at most `kept_bytes_max` of its memory, and so many sent ones it keeps at least rather than
    /// to move the rest.
    pub(super) fn advance(&mut self, n: usize, kept_bytes_max: usize) {
        self.sent += n;
        if self.is_empty() {
            self.bytes.clear();
            self.bytes.shrink_to(kept_bytes_max);
            self.sent = 0;
        } else if self.sent >= kept_bytes_max && self.sent >= self.bytes.len() / 2 {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each turn leaves a little: it must neither grow nor lose a byte.
    #[test]
    fn one_that_never_empties_does_not_grow() {
        const KEPT: usize = 1000;
        let mut backlog = Backlog::default();
        let (mut given, mut taken) = (0u64, 0u64);
        for turn in 0..2000usize {
            let more: Vec<u8> = (0..300).map(|n| (given + n) as u8).collect();
            backlog.push(&more);
            given += 300;
            let n = backlog.len().saturating_sub(1 + turn % 7);
            assert!(backlog.rest()[..n].iter().all(|byte| {
                taken += 1;
                *byte == (taken - 1) as u8
            }));
            backlog.advance(n, KEPT);
            assert_eq!(backlog.len() as u64, given - taken);
            assert!(!backlog.is_empty() && backlog.bytes.capacity() < 4 * KEPT, "{} bytes in turn {turn}", backlog.bytes.capacity());
        }
        backlog.advance(backlog.len(), KEPT);
        assert!(backlog.is_empty() && backlog.bytes.capacity() <= KEPT);
    }
}

//! How much a front does for its clients before its executor looks at its rings again.
//!
//! An executor looks at timers, sockets and completions of the disk when no task is ready (our own after many of them, too). Clients that send without end, and take what they
//! are answered, would keep tasks ready for ever: no other client, no disk and no other server would be seen meanwhile. So what all
//! connections of a front move is counted, and once that is a share of work they wait for a look. Leaves to others: waiting ([`super::Fronts`]).

use std::cell::Cell;

/// Bytes sent that make up a share: some milliseconds of work.
const SHARE_BYTES: usize = 4 << 20;
/// A byte read counts for so many sent: requests are short, and answering them is the work.
const READ_WEIGHT: usize = 16;

/// What was moved since the last look.
#[derive(Debug, Default)]
pub(super) struct Share {
    spent: Cell<usize>,
}

impl Share {
    /// Bytes came from a client.
    pub(super) fn read(&self, bytes: usize) {
        self.sent(bytes.saturating_mul(READ_WEIGHT));
    }

    /// Bytes went to a client.
    pub(super) fn sent(&self, bytes: usize) {
        self.spent.set(self.spent.get().saturating_add(bytes));
    }

    /// Whether a look is due before more is done.
    pub(super) fn is_spent(&self) -> bool {
        self.spent.get() >= SHARE_BYTES
    }

    /// The executor has looked.
    pub(super) fn renew(&self) {
        self.spent.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_spent_by_what_is_read_and_sent_together() {
        let share = Share::default();
        share.read(SHARE_BYTES / READ_WEIGHT / 2);
        assert!(!share.is_spent());
        share.sent(SHARE_BYTES / 2);
        assert!(share.is_spent());
        share.renew();
        assert!(!share.is_spent());
    }
}

//! Pieces of snapshots that leave for another server: checked as the receiver will.
//!
//! Guarantees: a snapshot that rotted since it was taken is sent to nobody twice: it counts for nothing from then on, and a new one is
//! taken. Without that a server that needs it would fetch it for ever. Leaves to others: reading (`bulk`), taking (`snapshots`).

use super::Keeper;
use crate::base::ids::{ServerId, Zxid};
use crate::base::memory::BatchMemory;
use crate::log::ReadOutcome;
use crate::server::keeper::Cx;
use crate::server::note::Level;

impl<M: BatchMemory> Keeper<M> {
    /// Whether a piece may leave. One that can't be read, or isn't as it was written, condemns its snapshot.
    pub(super) fn may_send_piece(
        &mut self,
        cx: &mut Cx<'_, M>,
        peer: ServerId,
        at: Zxid,
        offset: u64,
        outcome: Option<&ReadOutcome>,
    ) -> bool {
        let what = match outcome {
            Some(ReadOutcome::Bytes(bytes)) => match self.snapshots.check_piece(peer, at, offset, bytes, self.log.cluster()) {
                Ok(()) => return true,
                Err(damage) => damage.to_string(),
            },
            Some(ReadOutcome::Damaged(damage)) => damage.to_string(),
            // It is gone, or the host was asked for something else: nothing is known of it.
            _ => return true,
        };
        if self.snapshots.condemn(at) {
            let text = format!(
                "snapshot {at} is damaged on this server: {what}. It isn't used any more, and a new one is taken. Look at the device (dmesg): \
                 more may be wrong"
            );
            cx.fx.note(Level::Error, text);
        }
        false
    }
}

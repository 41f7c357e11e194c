//! Notifications of watches.

use crate::base::ids::Zxid;
use crate::model::watch_kind::EventType;
use crate::wire::client::XID_EVENT;
use crate::wire::client::frame::LENGTH_BYTES;
use crate::wire::jute::writer::len_on_wire;

/// The state in every notification, also a read-only server's: SyncConnected. Clients take others for fatal.
pub const STATE_SYNC_CONNECTED: i32 = 3;

/// Bytes of a notification before its path: length, header, type, state, length of the path.
const HEAD_BYTES: usize = 32;

/// Appends a notification. `zxid` is the transaction's that caused it (T3), `None` for the catch-up of setWatches.
pub fn write_event(out: &mut Vec<u8>, zxid: Option<Zxid>, event: EventType, path: &[u8]) {
    // Two appends, not seven: one change can notify very many connections.
    let mut head = [0; HEAD_BYTES];
    head[0..4].copy_from_slice(&len_on_wire(HEAD_BYTES - LENGTH_BYTES + path.len()).to_be_bytes());
    head[4..8].copy_from_slice(&XID_EVENT.to_be_bytes());
    head[8..16].copy_from_slice(&zxid.map_or(-1, Zxid::as_i64).to_be_bytes());
    head[20..24].copy_from_slice(&(event as i32).to_be_bytes());
    head[24..28].copy_from_slice(&STATE_SYNC_CONNECTED.to_be_bytes());
    head[28..32].copy_from_slice(&len_on_wire(path.len()).to_be_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(path);
}

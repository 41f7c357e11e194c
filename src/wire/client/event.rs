//! Notifications of watches.

use crate::base::ids::Zxid;
use crate::model::watch_kind::EventType;
use crate::wire::client::XID_EVENT;
use crate::wire::client::reply::frame_into;
use crate::wire::jute::writer::{put_int, put_long, put_text};

/// The state in every notification, also a read-only server's: SyncConnected. Clients take others for fatal.
pub const STATE_SYNC_CONNECTED: i32 = 3;

/// Appends a notification. `zxid` is the transaction's that caused it (T3), `None` for the catch-up of setWatches.
pub fn write_event(out: &mut Vec<u8>, zxid: Option<Zxid>, event: EventType, path: &[u8]) {
    frame_into(out, |out| {
        put_int(out, XID_EVENT);
        put_long(out, zxid.map_or(-1, Zxid::as_i64));
        put_int(out, 0);
        put_int(out, event as i32);
        put_int(out, STATE_SYNC_CONNECTED);
        put_text(out, path);
    });
}

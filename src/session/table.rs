//! The table of sessions: one slot of 64 bytes each, found by id through a hash index.
//!
//! `apply_create` and `apply_close` are the only changes that are replicated; everything else is this server's own and is lost
//! and rebuilt ([`Sessions::restart_timers`]) with its role. Iteration orders follow from the calls alone.

use super::expiry::{Buckets, Link, Links};
use super::ids::SessionIds;
use crate::base::ids::{ServerId, SessionId};
use crate::base::time::MonoMs;
use crate::model::image::SessionImage;
use crate::model::txn::PASSWORD_BYTES;
use crate::{invariant, mutant};
use hashbrown::HashTable;

/// No connection.
const DETACHED: u32 = u32::MAX;

/// What configuration decides about sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionOptions {
    /// Deadlines are rounded up to multiples of it (`tickTime`), above 0.
    pub tick_ms: u32,
    /// Shortest timeout a client can get (`minSessionTimeout`).
    pub timeout_ms_min: u32,
    /// Longest timeout a client can get (`maxSessionTimeout`), not below the shortest.
    pub timeout_ms_max: u32,
    /// The top byte of new ids.
    pub server_id: ServerId,
}

/// One session as others see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Session {
    /// Which.
    pub id: SessionId,
    /// The timeout that counts now, in milliseconds: the replicated one, or that of a later resume (T42).
    pub timeout_ms: u32,
    /// What resuming it needs.
    pub password: [u8; PASSWORD_BYTES],
    /// A closeSession for it is under way: it can do nothing any more (T40).
    pub closing: bool,
    /// The connection that serves it here.
    pub conn: Option<u32>,
    /// When it expires unless touched; `None` while closing.
    pub deadline: Option<MonoMs>,
}

#[derive(Clone, Debug)]
struct Slot {
    id: SessionId,
    password: [u8; PASSWORD_BYTES],
    timeout_ms: u32,
    timeout_ms_now: u32,
    conn: u32,
    closing: bool,
    link: Link,
}

impl Links for Vec<Slot> {
    fn link(&mut self, slot: u32) -> &mut Link {
        &mut self[slot as usize].link
    }
}

/// All sessions of the ensemble, as this server knows them.
#[derive(Clone, Debug)]
pub struct Sessions {
    options: SessionOptions,
    ids: SessionIds,
    slots: Vec<Slot>,
    free: Vec<u32>,
    index: HashTable<u32>,
    buckets: Buckets,
}

/// Ids are drawn by servers, so a client can't choose colliding ones and no seed is needed: a multiply spreads them.
fn hash_of(id: SessionId) -> u64 {
    let spread = id.0.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    spread ^ (spread >> 32)
}

impl Sessions {
    /// No session yet.
    ///
    /// # Panics
    /// If the tick is 0 or the shortest timeout is above the longest; configuration refuses both.
    #[must_use]
    pub fn new(options: SessionOptions) -> Sessions {
        assert!(options.timeout_ms_min <= options.timeout_ms_max, "session timeouts from {options:?}");
        Sessions {
            options,
            ids: SessionIds::new(options.server_id),
            slots: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            buckets: Buckets::new(options.tick_ms),
        }
    }

    /// The id for a new session; `wall_ms` is milliseconds since 1970, `salt` any number that differs from start to start.
    pub fn next_id(&mut self, wall_ms: i64, salt: u32) -> SessionId {
        loop {
            // Ends: an id is never drawn twice, and there are far fewer sessions than ids.
            let id = self.ids.draw(wall_ms, salt);
            if self.find(id).is_none() {
                return id;
            }
        }
    }

    /// The timeout that a client gets which asks for `timeout_ms`.
    #[must_use]
    pub fn negotiate(&self, timeout_ms: i32) -> u32 {
        u32::try_from(timeout_ms).unwrap_or(0).clamp(self.options.timeout_ms_min, self.options.timeout_ms_max)
    }

    fn find(&self, id: SessionId) -> Option<u32> {
        self.index.find(hash_of(id), |slot| self.slots[*slot as usize].id == id).copied()
    }

    fn slot(&self, id: SessionId) -> Option<&Slot> {
        self.find(id).map(|at| &self.slots[at as usize])
    }

    /// A createSession transaction (or a session of a snapshot): it begins, and its timer with it.
    ///
    /// # Panics
    /// If the session exists: a transaction was applied twice.
    pub fn apply_create(&mut self, now: MonoMs, id: SessionId, timeout_ms: u32, password: &[u8; PASSWORD_BYTES]) {
        invariant!(self.find(id).is_none(), "session {id} is created twice");
        self.ids.observe(id);
        let new = Slot { id, password: *password, timeout_ms, timeout_ms_now: timeout_ms, conn: DETACHED, closing: false, link: Link::OUT };
        let at = if let Some(at) = self.free.pop() {
            self.slots[at as usize] = new;
            at
        } else {
            self.slots.push(new);
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 sessions fit into memory")
        };
        let slots = &self.slots;
        self.index.insert_unique(hash_of(id), at, |slot| hash_of(slots[*slot as usize].id));
        self.buckets.schedule(&mut self.slots, at, now, timeout_ms);
    }

    /// A closeSession transaction: it is gone. Returns the connection that served it here, to be closed.
    ///
    /// Two closes of one session may be on their way at once (the client's own and its expiry), so a missing one is no breach.
    pub fn apply_close(&mut self, id: SessionId) -> Option<u32> {
        let slots = &self.slots;
        let entry = self.index.find_entry(hash_of(id), |slot| slots[*slot as usize].id == id).ok()?;
        let (at, _) = entry.remove();
        self.buckets.remove(&mut self.slots, at);
        self.free.push(at);
        let conn = self.slots[at as usize].conn;
        (conn != DETACHED).then_some(conn)
    }

    /// Something was heard of the session: its timer starts anew. False if it is unknown or closing, and then it must not be
    /// served.
    pub fn touch(&mut self, id: SessionId, now: MonoMs) -> bool {
        let Some(at) = self.find(id) else { return false };
        let Slot { closing, timeout_ms_now, .. } = self.slots[at as usize];
        if closing {
            return false;
        }
        self.buckets.schedule(&mut self.slots, at, now, timeout_ms_now);
        true
    }

    /// Something was heard of the session some time ago: it lives its whole timeout from then on, or longer if it does anyway. False as with
    /// [`Sessions::touch`].
    pub fn touch_since(&mut self, id: SessionId, heard: MonoMs) -> bool {
        let Some(at) = self.find(id) else { return false };
        let Slot { closing, timeout_ms_now, link, .. } = &self.slots[at as usize];
        let (lives, would_live) = (link.deadline(), self.buckets.due(heard, *timeout_ms_now));
        if !closing && (lives.is_none_or(|lives| lives < would_live) || mutant!("session-report-shortens")) {
            self.touch(id, heard)
        } else {
            !closing
        }
    }

    /// Resumes a session with a newly negotiated timeout, which counts from now on (T42). False as with [`Sessions::touch`].
    pub fn renegotiate(&mut self, id: SessionId, timeout_ms: u32, now: MonoMs) -> bool {
        if let Some(at) = self.find(id) {
            self.slots[at as usize].timeout_ms_now = timeout_ms;
        }
        self.touch(id, now)
    }

    /// Marks every session that is due as closing and adds it to `out`, earliest deadline first.
    pub fn expire(&mut self, now: MonoMs, out: &mut Vec<SessionId>) {
        while let Some(at) = self.buckets.pop_due(&mut self.slots, now) {
            let slot = &mut self.slots[at as usize];
            slot.closing = true;
            out.push(slot.id);
        }
    }

    /// A closeSession was asked for: the session expires no more and can do nothing more. False if it is unknown or closing
    /// already.
    pub fn mark_closing(&mut self, id: SessionId) -> bool {
        let Some(at) = self.find(id) else { return false };
        self.buckets.remove(&mut self.slots, at);
        !std::mem::replace(&mut self.slots[at as usize].closing, true)
    }

    /// The closeSession of a closing session could not be written (a full disk): [`Sessions::expire`] names it again after a
    /// tick. It stays closing.
    pub fn retry_closing(&mut self, id: SessionId, now: MonoMs) {
        if let Some(at) = self.find(id)
            && self.slots[at as usize].closing
        {
            self.buckets.schedule(&mut self.slots, at, now, 0);
        }
    }

    /// Whether `password` resumes session `id`. Takes the same time wherever the first difference is.
    #[must_use]
    pub fn check_password(&self, id: SessionId, password: &[u8]) -> bool {
        let Some(slot) = self.slot(id) else { return false };
        if mutant!("session-password-unchecked") {
            return true;
        }
        let differing = slot.password.iter().zip(password).fold(0, |bits, (a, b)| bits | (a ^ b));
        password.len() == PASSWORD_BYTES && std::hint::black_box(differing) == 0
    }

    /// `conn` serves the session from now on. Returns the connection that did before, to be closed (T41).
    pub fn attach(&mut self, id: SessionId, conn: u32) -> Option<u32> {
        assert_ne!(conn, DETACHED, "the connection index {DETACHED} is reserved");
        let at = self.find(id)?;
        let old = std::mem::replace(&mut self.slots[at as usize].conn, conn);
        (old != DETACHED && old != conn).then_some(old)
    }

    /// `conn` is gone; nothing happens if another one serves the session by now.
    pub fn detach(&mut self, id: SessionId, conn: u32) {
        if let Some(at) = self.find(id)
            && self.slots[at as usize].conn == conn
        {
            self.slots[at as usize].conn = DETACHED;
        }
    }

    /// The session, if it exists (closing or not).
    #[must_use]
    pub fn get(&self, id: SessionId) -> Option<Session> {
        self.slot(id).map(|slot| Session {
            id,
            timeout_ms: slot.timeout_ms_now,
            password: slot.password,
            closing: slot.closing,
            conn: (slot.conn != DETACHED).then_some(slot.conn),
            deadline: slot.link.deadline(),
        })
    }

    /// A new leader, or a server that just started: every session has its whole timeout again, and closings that never became
    /// transactions are forgotten.
    pub fn restart_timers(&mut self, now: MonoMs) {
        for at in self.live_slots() {
            let slot = &mut self.slots[at as usize];
            slot.closing = false;
            let timeout_ms = slot.timeout_ms_now;
            self.buckets.schedule(&mut self.slots, at, now, timeout_ms);
        }
    }

    /// Slots in use, in the order of their ids, which doesn't depend on history.
    fn live_slots(&self) -> Vec<u32> {
        let mut live: Vec<u32> = self.index.iter().copied().collect();
        live.sort_unstable_by_key(|at| self.slots[*at as usize].id);
        live
    }

    /// The replicated facts of every session, by ascending id, for a snapshot.
    pub fn images(&self) -> impl Iterator<Item = SessionImage> {
        self.live_slots().into_iter().map(|at| {
            let slot = &self.slots[at as usize];
            SessionImage { session: slot.id, timeout_ms: slot.timeout_ms, password: slot.password }
        })
    }

    /// Number of sessions, closing ones included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.index.len()
    }

    /// Each deadline with the sessions that are due then, earliest first.
    pub fn deadlines(&self) -> impl Iterator<Item = (MonoMs, impl Iterator<Item = SessionId>)> {
        self.buckets.heads().map(|(due, head)| {
            let slots = std::iter::successors(Some(head), |at| Buckets::after(&self.slots[*at as usize].link));
            (due, slots.map(|at| self.slots[at as usize].id))
        })
    }
}

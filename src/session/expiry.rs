//! Deadlines in buckets of one tick: a touch costs a comparison, seldom a move between two lists; there is no timer per session.
//!
//! Sessions are slots of the table; each bucket is a doubly linked list through them. Guarantees: a slot is in at most one
//! bucket, a bucket exists only while it has a slot. A deadline is rounded up to the next tick, so a session may live up to one
//! tick longer than its timeout and never shorter (source: ZooKeeper's `ExpiryQueue`).

use crate::base::time::{MonoMs, round_up_to_tick};
use crate::{invariant, mutant};
use std::collections::BTreeMap;

/// No slot.
pub(super) const NIL: u32 = u32::MAX;

/// A slot's place in the buckets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    /// The bucket; `None` outside all of them (a closing session).
    deadline: Option<MonoMs>,
    prev: u32,
    next: u32,
}

impl Link {
    /// In no bucket.
    pub(super) const OUT: Link = Link { deadline: None, prev: NIL, next: NIL };

    /// When the slot is due.
    pub(super) fn deadline(&self) -> Option<MonoMs> {
        self.deadline
    }
}

/// Gives access to the links, which live in the table's slots.
pub(super) trait Links {
    /// The link of `slot`.
    fn link(&mut self, slot: u32) -> &mut Link;
}

/// The buckets of all sessions.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    tick_ms: u64,
    /// First slot of each bucket. There are as many as ticks in the longest timeout, so a small tree does.
    heads: BTreeMap<MonoMs, u32>,
}

impl Buckets {
    pub(super) fn new(tick_ms: u32) -> Buckets {
        assert!(tick_ms > 0, "a tick of 0 ms");
        Buckets { tick_ms: u64::from(tick_ms), heads: BTreeMap::new() }
    }

    /// When that is due which isn't heard of for `timeout_ms` after `heard`.
    pub(super) fn due(&self, heard: MonoMs, timeout_ms: u32) -> MonoMs {
        let due = round_up_to_tick(heard.plus(u64::from(timeout_ms)), self.tick_ms);
        if mutant!("session-expires-early") { MonoMs(due.0.saturating_sub(2 * self.tick_ms)) } else { due }
    }

    /// Puts `slot` where it is due `timeout_ms` after `heard`, out of where it was.
    pub(super) fn schedule(&mut self, links: &mut impl Links, slot: u32, heard: MonoMs, timeout_ms: u32) {
        let due = self.due(heard, timeout_ms);
        if links.link(slot).deadline == Some(due) {
            return;
        }
        self.remove(links, slot);
        let head = self.heads.insert(due, slot).unwrap_or(NIL);
        *links.link(slot) = Link { deadline: Some(due), prev: NIL, next: head };
        if head != NIL {
            links.link(head).prev = slot;
        }
    }

    /// Takes `slot` out of its bucket, if it is in one.
    pub(super) fn remove(&mut self, links: &mut impl Links, slot: u32) {
        let Link { deadline, prev, next } = *links.link(slot);
        let Some(due) = deadline else { return };
        if next != NIL {
            links.link(next).prev = prev;
        }
        if prev != NIL {
            links.link(prev).next = next;
        } else if next != NIL {
            self.heads.insert(due, next);
        } else {
            self.heads.remove(&due);
        }
        *links.link(slot) = Link::OUT;
    }

    /// Takes out one slot that is due at `now`, of the earliest bucket; `None` when none is due.
    pub(super) fn pop_due(&mut self, links: &mut impl Links, now: MonoMs) -> Option<u32> {
        let (due, slot) = self.heads.first_key_value().map(|(due, slot)| (*due, *slot))?;
        if due > now {
            return None;
        }
        invariant!(links.link(slot).deadline == Some(due), "slot {slot} heads the bucket {due:?} and isn't in it");
        self.remove(links, slot);
        Some(slot)
    }

    /// Deadline and first slot of every bucket, earliest first.
    pub(super) fn heads(&self) -> impl Iterator<Item = (MonoMs, u32)> {
        self.heads.iter().map(|(due, slot)| (*due, *slot))
    }

    /// The slot after `link`'s in its bucket.
    pub(super) fn after(link: &Link) -> Option<u32> {
        (link.next != NIL).then_some(link.next)
    }
}

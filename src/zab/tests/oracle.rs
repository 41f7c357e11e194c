//! What must hold whatever happens, judged from outside with everybody's disk in view.

use crate::base::ids::{ServerId, Zxid};
use crate::model::position::Identity;
use std::collections::BTreeMap;

#[derive(Clone, Default)]
pub(super) struct Oracle {
    /// The one committed history.
    pub(super) committed: Vec<Identity>,
    /// How much of it was committed by leaders of each epoch or earlier ones.
    committed_in: BTreeMap<u32, usize>,
    /// Who led each epoch, in which of its lives.
    leaders: BTreeMap<u32, (ServerId, u32)>,
    /// The latest epoch that had an established leader.
    pub(super) established: u32,
    pub(super) elections: u32,
}

impl Oracle {
    /// All that later judgements rest on.
    pub(super) fn memory(&self) -> impl std::hash::Hash + '_ {
        (&self.committed, &self.committed_in, &self.leaders)
    }

    /// `history` is what the new leader begins with.
    pub(super) fn leads(&mut self, id: ServerId, life: u32, epoch: u32, history: &[Identity]) {
        let before = self.leaders.insert(epoch, (id, life));
        assert!(before.is_none(), "epoch {epoch} is led by {id:?} and was led by {before:?}");
        // A promise that was long on its way may still make a leader of an epoch that is over: it will have no followers.
        let earlier = self.committed_in.range(..epoch).next_back().map_or(0, |(_, len)| *len);
        let holds = history.len() >= earlier && history[..earlier] == self.committed[..earlier];
        assert!(
            holds,
            "the leader of epoch {epoch}, {id:?}, lacks committed history: {history:?}, committed {:?}",
            &self.committed[..earlier]
        );
        self.elections += 1;
    }

    pub(super) fn establishes(&mut self, epoch: u32) {
        self.established = self.established.max(epoch);
    }

    /// A leader committed through `zxid`.
    pub(super) fn commits(&mut self, id: ServerId, epoch: u32, history: &[Identity], zxid: Zxid) {
        let through = &history[..count_through(history, zxid)];
        let both = through.len().min(self.committed.len());
        assert_eq!(through[..both], self.committed[..both], "{id:?} committed another history");
        if through.len() > both {
            self.committed = through.to_vec();
        }
        let len = self.committed_in.entry(epoch).or_default();
        *len = through.len().max(*len);
    }

    /// A standalone server had this.
    pub(super) fn begins_with(&mut self, history: Vec<Identity>) {
        self.committed_in.insert(0, history.len());
        self.committed = history;
    }

    /// A server applied this.
    pub(super) fn applies(&self, id: ServerId, applied: &[Identity]) {
        let is_prefix = applied.len() <= self.committed.len() && self.committed[..applied.len()] == *applied;
        assert!(is_prefix, "{id:?} applied what isn't committed: {applied:?}, committed {:?}", self.committed);
    }
}

/// How many batches end at `zxid` or before.
pub(super) fn count_through(history: &[Identity], zxid: Zxid) -> usize {
    history.partition_point(|i| i.zxid <= zxid)
}

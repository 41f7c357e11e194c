//! Who holds what: every batch that was ever handed to a disk, what each server holds durably of it, and the one history that
//! they committed.
//!
//! Batches name their predecessor, so all of them are a tree. A server's log is a path in it; what servers apply must be one path
//! for all of them (*the truth*), and when it grows, each batch of it must be durable, contiguously over all shards, on a quorum
//! of voters. Nothing here believes what a server says of itself: appends, their ends and the epoch metadata on disk are watched.

use super::checker::Checker;
use super::history::Txn;
use super::options::Options;
use crate::base::ids::{ServerId, Zxid};
use crate::log::batch::{HEADER_BYTES, Header, Identity};
use crate::log::meta::Meta;
use crate::log::record::Records;
use crate::model::membership::{Member, Membership};
use crate::model::ops::OpBuf;
use std::collections::{BTreeMap, BTreeSet};

/// A batch as it was first handed to some disk.
#[derive(Clone, Debug)]
pub struct Written {
    previous: Identity,
    /// Its transactions.
    pub txns: Vec<Txn>,
}

/// What one server holds.
#[derive(Clone, Debug, Default)]
struct Holding {
    /// Its log: the position at which what is known of it begins, then its batches in order.
    log: Vec<Identity>,
    /// Contiguously durable through here.
    end: Identity,
    /// On durable media beyond `end`, by predecessor.
    landed: BTreeMap<Identity, Identity>,
    /// Log generation in use.
    generation: u64,
    /// It lost something by a fault that it isn't to blame for, and was not yet mended.
    excused: bool,
    /// It lost everything, promises included.
    wiped: bool,
    /// Accepted and current epoch that are durable.
    epochs: (u32, u32),
}

/// See the module's description.
#[derive(Clone, Debug)]
pub struct Ledger {
    members: Membership,
    batches: BTreeMap<Identity, Written>,
    /// In an ensemble an epoch has one history: what ends at a zxid, by zxid.
    by_zxid: BTreeMap<Zxid, Identity>,
    holdings: Vec<Holding>,
    /// Batches of the truth.
    truth: Vec<Identity>,
    /// Transactions of the truth, in order.
    pub txns: Vec<Txn>,
    /// Grows when a server holds less than before.
    losses: u64,
    checked: (Zxid, u64),
}

/// The same batch; a snapshot knows its place by the zxid alone.
fn same(a: Identity, b: Identity) -> bool {
    a.zxid == b.zxid && (a.checksum == b.checksum || a.checksum == 0 || b.checksum == 0)
}

/// The entry of `path` that ends at `zxid`.
fn at(path: &[Identity], zxid: Zxid) -> Option<Identity> {
    path.binary_search_by_key(&zxid, |i| i.zxid).ok().map(|idx| path[idx])
}

/// The id of the server with an index.
#[must_use]
pub fn server_id(node: usize) -> ServerId {
    ServerId(u8::try_from(node + 1).unwrap_or(u8::MAX))
}

/// Who belongs to the ensemble.
#[must_use]
pub fn membership(options: &Options) -> Membership {
    let member = |node: usize| Member {
        id: server_id(node),
        votes: node < options.voters(),
        weight: 1,
        group: 0,
        host: format!("s{}", node + 1),
        quorum_port: 2888,
        election_port: 3888,
        client: None,
    };
    Membership::new(1, (0..usize::from(options.servers)).map(member))
}

impl Ledger {
    /// Of servers that hold nothing.
    #[must_use]
    pub fn new(members: Membership) -> Ledger {
        let empty = Holding { log: vec![Identity::default()], ..Holding::default() };
        let holdings = members.members().map(|_| empty.clone()).collect();
        Ledger {
            members,
            batches: BTreeMap::new(),
            by_zxid: BTreeMap::new(),
            holdings,
            truth: vec![Identity::default()],
            txns: Vec::new(),
            losses: 0,
            checked: (Zxid::ZERO, 0),
        }
    }

    fn is_ensemble(&self) -> bool {
        self.holdings.len() > 1
    }

    /// A batch is handed to the disk of `node`. Returns its first zxid and its identity.
    ///
    /// # Errors
    /// When it isn't a whole batch, doesn't follow what that server wrote before, or is a second history of its epoch.
    pub fn tap(&mut self, node: usize, bytes: &[u8]) -> Result<(Zxid, Identity), String> {
        let header = Header::read(bytes).map_err(|e| format!("an append that is no batch: {e}"))?;
        let (replicated, identity) = (header.replicated, header.identity);
        let log = &mut self.holdings[node].log;
        let tail = log.last().copied().unwrap_or_default();
        if !same(tail, replicated.previous) {
            return Err(format!("{identity:?} is written after {tail:?}, it says it follows {:?}", replicated.previous));
        }
        log.push(identity);
        if self.batches.contains_key(&identity) {
            return Ok((replicated.first, identity));
        }
        if self.is_ensemble()
            && let Some(other) = self.by_zxid.insert(identity.zxid, identity)
        {
            return Err(format!("two histories in epoch {}: {other:?} and {identity:?}", identity.zxid.epoch()));
        }
        let body = bytes.get(HEADER_BYTES..HEADER_BYTES + replicated.body_len as usize).ok_or("a batch is longer than its append")?;
        let mut txns = Vec::new();
        for record in Records::new(body) {
            let record = record.map_err(|e| format!("a batch with a bad record: {e}"))?;
            let head = record.head();
            let mut ops = OpBuf::default();
            record.ops().for_each(|op| ops.push(op));
            txns.push(Txn { head, ops, events: Vec::new() });
        }
        let mut zxid = replicated.previous.zxid;
        for txn in &txns {
            let next = txn.head.zxid;
            if next != Zxid(zxid.0 + 1) && !(next.epoch() > zxid.epoch() && next.counter() <= 1) {
                return Err(format!("{next} is written after {zxid}"));
            }
            zxid = next;
        }
        self.batches.insert(identity, Written { previous: replicated.previous, txns });
        Ok((replicated.first, identity))
    }

    /// The transactions of a batch.
    #[must_use]
    pub fn batch(&self, identity: Identity) -> Option<&Written> {
        self.batches.get(&identity)
    }

    /// All transactions of a server's log that were written in this run, in order.
    pub fn log_of(&self, node: usize) -> impl Iterator<Item = &Txn> {
        self.holdings[node].log.iter().filter_map(|i| self.batches.get(i)).flat_map(|b| b.txns.iter())
    }

    /// A batch is on durable media.
    pub fn landed(&mut self, node: usize, identity: Identity) {
        let Some(previous) = self.batches.get(&identity).map(|b| b.previous) else { return };
        let holding = &mut self.holdings[node];
        holding.landed.insert(previous, identity);
        let wanted = |end: Identity, (previous, _): &(&Identity, &Identity)| same(**previous, end);
        while let Some((&previous, &next)) = holding.landed.iter().find(|entry| wanted(holding.end, entry)) {
            holding.landed.remove(&previous);
            holding.end = next;
        }
    }

    /// How far a server is durable.
    #[must_use]
    pub fn end_of(&self, node: usize) -> Identity {
        self.holdings[node].end
    }

    /// Whether a shard of a server is ahead of another: something landed that isn't contiguous.
    #[must_use]
    pub fn is_partly_durable(&self, node: usize) -> bool {
        !self.holdings[node].landed.is_empty()
    }

    /// Durable accepted and current epoch of a server.
    #[must_use]
    pub fn epochs_of(&self, node: usize) -> (u32, u32) {
        self.holdings[node].epochs
    }

    /// Epoch metadata is about to take effect: what it cuts off counts no more.
    pub fn metadata_seen(&mut self, node: usize, meta: &Meta) {
        let holding = &mut self.holdings[node];
        if meta.generation > holding.generation && holding.end.zxid > meta.start.zxid {
            holding.end = meta.start;
            self.losses += 1;
        }
    }

    /// Epoch metadata of a running server took effect durably: epochs, and with a new generation the place where the log goes
    /// on. Returns whether that cut the log, and whether it jumped forward (a snapshot was installed).
    ///
    /// # Errors
    /// When something that was committed is cut off.
    pub fn metadata(&mut self, node: usize, meta: &Meta) -> Result<(bool, bool), String> {
        let truth_end = self.end();
        let on_truth = self.is_on_truth(meta.start);
        let holding = &mut self.holdings[node];
        if meta.accepted_epoch < holding.epochs.0 || meta.current_epoch < holding.epochs.1 {
            let what = format!("epochs go back from {:?} to {}, {}", holding.epochs, meta.accepted_epoch, meta.current_epoch);
            return Err(Checker::Epochs.says(&what));
        }
        holding.epochs = (meta.accepted_epoch, meta.current_epoch);
        if meta.generation <= holding.generation {
            return Ok((false, false));
        }
        holding.generation = meta.generation;
        holding.landed.clear();
        if let Some(idx) = holding.log.iter().position(|i| same(*i, meta.start)) {
            let cut = idx + 1 < holding.log.len();
            if cut
                && meta.start.zxid < truth_end.zxid
                && holding.log.get(idx + 1).is_some_and(|next| at(&self.truth, next.zxid) == Some(*next))
            {
                return Err(format!("the log is cut at {:?}, although {:?} is committed", meta.start, holding.log[idx + 1]));
            }
            holding.log.truncate(idx + 1);
            if holding.end.zxid > meta.start.zxid {
                holding.end = meta.start;
                self.losses += 1;
            }
            return Ok((cut, false));
        }
        if !on_truth {
            return Err(format!("the log goes on after {:?}, which isn't committed", meta.start));
        }
        holding.log = vec![meta.start];
        holding.end = meta.start;
        self.losses += 1;
        Ok((false, true))
    }

    /// A server lost something by a fault of its disk (or all of it), and may be behind until it is mended.
    pub fn excuse(&mut self, node: usize, wiped: bool) {
        let holding = &mut self.holdings[node];
        holding.excused = true;
        if wiped {
            *holding = Holding { log: vec![Identity::default()], excused: true, wiped: true, ..Holding::default() };
        }
    }

    /// Whether a server lost everything and isn't mended yet.
    #[must_use]
    pub fn is_wiped(&self, node: usize) -> bool {
        self.holdings[node].wiped
    }

    /// Whether a server lost something and isn't mended yet.
    #[must_use]
    pub fn is_excused(&self, node: usize) -> bool {
        self.holdings[node].excused
    }

    /// A server serves: what it lost it has again, if it holds all that is committed.
    pub fn mended(&mut self, node: usize) -> bool {
        let end = self.end();
        let mended = self.holdings[node].excused && self.holds(node, end);
        if mended {
            (self.holdings[node].excused, self.holdings[node].wiped) = (false, false);
        }
        mended
    }

    /// A start found a log that ends at `end`. What was only readable may still be lost until the start is over.
    ///
    /// # Errors
    /// When something durable is lost, or something is there that nobody wrote.
    pub fn recovered(&mut self, node: usize, end: Identity) -> Result<(), String> {
        let path = self.path_to(end)?;
        let kept = self.is_kept(node, end);
        let holding = &mut self.holdings[node];
        if kept.is_err() {
            if !holding.excused {
                return kept;
            }
            holding.end = end;
            self.losses += 1;
        }
        holding.log = path;
        holding.landed.clear();
        Ok(())
    }

    /// Whether a log that ends at `end` holds what the server had made durable.
    ///
    /// # Errors
    /// When it doesn't, or nobody wrote it.
    pub fn is_kept(&self, node: usize, end: Identity) -> Result<(), String> {
        let path = self.path_to(end)?;
        let durable = self.holdings[node].end;
        let kept = at(&path, durable.zxid).is_some_and(|found| same(found, durable)) || path[0].zxid > durable.zxid;
        if kept { Ok(()) } else { Err(format!("durable through {durable:?}, recovered through {end:?}: a lost write")) }
    }

    /// All batches from the beginning, or from a snapshot, through `end`.
    fn path_to(&self, end: Identity) -> Result<Vec<Identity>, String> {
        let mut path = Vec::new();
        let mut at_batch = end;
        while let Some(written) = self.batches.get(&at_batch) {
            path.push(at_batch);
            at_batch = written.previous;
        }
        let begins = at_batch == Identity::default() || at_batch.checksum == 0 && self.truth_has(at_batch.zxid);
        if !begins {
            return Err(format!("recovered through {end:?}, of which {at_batch:?} was never written"));
        }
        path.push(at_batch);
        path.reverse();
        Ok(path)
    }

    fn truth_has(&self, zxid: Zxid) -> bool {
        zxid == Zxid::ZERO || self.txns.binary_search_by_key(&zxid, |t| t.head.zxid).is_ok()
    }

    fn is_on_truth(&self, identity: Identity) -> bool {
        at(&self.truth, identity.zxid).is_some_and(|i| same(i, identity)) || identity.checksum == 0 && self.truth_has(identity.zxid)
    }

    /// The start made everything that was recovered durable.
    ///
    /// # Errors
    /// When the server forgot an epoch.
    pub fn started(&mut self, node: usize, meta: &Meta) -> Result<(), String> {
        let holding = &mut self.holdings[node];
        if !holding.excused && (meta.accepted_epoch < holding.epochs.0 || meta.current_epoch < holding.epochs.1) {
            return Err(format!(
                "epochs {:?} were durable, recovered are {} and {}",
                holding.epochs, meta.accepted_epoch, meta.current_epoch
            ));
        }
        holding.end = holding.log.last().copied().unwrap_or_default();
        holding.landed.clear();
        holding.generation = meta.generation;
        holding.epochs = (meta.accepted_epoch, meta.current_epoch);
        Ok(())
    }

    /// Whether a server holds everything through a position of the truth durably.
    #[must_use]
    pub fn holds(&self, node: usize, identity: Identity) -> bool {
        let holding = &self.holdings[node];
        if identity.zxid > holding.end.zxid {
            return false;
        }
        match holding.log.first() {
            Some(base) if identity.zxid < base.zxid => self.is_on_truth(*base),
            _ => at(&holding.log, identity.zxid).is_some_and(|found| same(found, identity)),
        }
    }

    fn on_quorum(&self, identity: Identity) -> Result<(), String> {
        let nodes = 0..self.holdings.len();
        let there: BTreeSet<ServerId> = nodes.filter(|n| self.holds(*n, identity) || self.holdings[*n].excused).map(server_id).collect();
        if self.members.is_quorum(&there) {
            return Ok(());
        }
        let ends: Vec<String> = self.holdings.iter().map(|h| format!("{}", h.end.zxid)).collect();
        let what = format!("{} is durable on {there:?} only (each server through: {})", identity.zxid, ends.join(", "));
        Err(Checker::Durability.says(&what))
    }

    /// Whether a server's log is durable, contiguously, through `zxid`.
    #[must_use]
    pub fn is_durable(&self, node: usize, zxid: Zxid) -> bool {
        zxid <= self.holdings[node].end.zxid
    }

    /// A candidate says that a quorum promised `epoch`.
    ///
    /// # Errors
    /// When the promises of a quorum aren't durable.
    pub fn is_promised(&self, epoch: u32) -> Result<(), String> {
        let promised = |h: &Holding| h.epochs.0 >= epoch || h.excused;
        let there: BTreeSet<ServerId> = (0..self.holdings.len()).filter(|n| promised(&self.holdings[*n])).map(server_id).collect();
        if self.members.is_quorum(&there) { Ok(()) } else { Err(format!("only {there:?} promised epoch {epoch}")) }
    }

    /// A leader says that everything through `zxid` is committed.
    ///
    /// # Errors
    /// When it isn't durable on a quorum.
    pub fn may_commit(&self, node: usize, zxid: Zxid) -> Result<(), String> {
        if zxid <= self.end().zxid {
            return Ok(());
        }
        let log = &self.holdings[node].log;
        match log.get(log.partition_point(|i| i.zxid < zxid)) {
            Some(identity) => self.on_quorum(*identity),
            None => Err(format!("its own log ends at {:?}", log.last())),
        }
    }

    /// A server has applied everything through `applied`: that is committed.
    ///
    /// # Errors
    /// When it isn't durable on a quorum, or isn't what the others have.
    pub fn committed(&mut self, node: usize, applied: Zxid) -> Result<(), String> {
        let log = &self.holdings[node].log;
        let truth_end = self.end();
        if applied <= truth_end.zxid {
            let mine = at(log, applied);
            let theirs = at(&self.truth, applied);
            return match (mine, theirs) {
                (Some(mine), Some(theirs)) if !same(mine, theirs) => Err(format!("applied {mine:?}, the others have {theirs:?} there")),
                _ => Ok(()),
            };
        }
        let from = log.partition_point(|i| i.zxid <= truth_end.zxid);
        let to = log.partition_point(|i| i.zxid <= applied);
        if log[..to].last().is_none_or(|i| i.zxid != applied) {
            return Err(format!("applied through {applied}, the log has no batch that ends there"));
        }
        let new: Vec<Identity> = log[from..to].to_vec();
        let previous = new.first().and_then(|i| self.batches.get(i)).map(|b| b.previous);
        if previous.is_some_and(|p| !same(p, truth_end)) || previous.is_none() {
            return Err(format!("{:?} is applied, which follows {previous:?}; committed is {truth_end:?}", new.first()));
        }
        if let Some(last) = new.last() {
            self.on_quorum(*last).map_err(|what| format!("applied through {applied}: {what}"))?;
        }
        for identity in new {
            self.txns.extend(self.batches.get(&identity).map(|b| b.txns.clone()).unwrap_or_default());
            self.truth.push(identity);
        }
        Ok(())
    }

    /// A client is shown `zxid`.
    ///
    /// # Errors
    /// When that isn't committed, or isn't on a quorum any more.
    pub fn shown(&mut self, zxid: Zxid) -> Result<(), String> {
        let end = self.end();
        if zxid > end.zxid {
            return Err(format!("{zxid} is shown, committed is only {}", end.zxid));
        }
        let known = (zxid, self.losses);
        if known.1 == self.checked.1 && zxid <= self.checked.0 {
            return Ok(());
        }
        self.checked = (if known.1 == self.checked.1 { zxid.max(self.checked.0) } else { zxid }, known.1);
        let idx = self.truth.partition_point(|i| i.zxid < zxid);
        self.truth.get(idx).map_or(Ok(()), |identity| self.on_quorum(*identity))
    }

    /// Epochs of the first and the last batch of the truth; none, if there is none.
    pub fn epochs_begun(&self) -> impl Iterator<Item = u32> {
        let batches = &self.truth[1..];
        batches.first().into_iter().chain(batches.last()).map(|batch| batch.zxid.epoch())
    }

    /// The last batch of the truth.
    #[must_use]
    pub fn end(&self) -> Identity {
        self.truth.last().copied().unwrap_or_default()
    }
}

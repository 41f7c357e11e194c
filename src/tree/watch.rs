//! Who wants to hear of which change: watches by connection and path, and which connections an event goes to.
//!
//! Guarantees: a connection gets an event at most once, however many of its watches match; a one-shot watch that matched is
//! gone before the next event; persistent ones stay. One record per connection and path holds all modes as bits, in two lists
//! (of its path, of its connection) and one index, so every single operation costs the same however many watches there are.
//! Leaves to others: the filter by READ (T29; a filtered one-shot is consumed all the same), catch-up of setWatches (T30), and
//! which events a transaction causes (T23). Source: ZooKeeper's `WatchManager`, whose data table and child table are the bits
//! `DATA_TABLE` and `CHILD_TABLE` here.

use crate::base::checksum::seeded_hash;
use crate::model::watch_kind::{EventType, WatchMode, WatcherType};
use crate::{invariant, mutant};
use hashbrown::HashTable;

const NIL: u32 = u32::MAX;

const DATA: u8 = 1;
const CHILDREN: u8 = 2;
const PERSISTENT: u8 = 4;
const RECURSIVE: u8 = 8;
/// Modes that ZooKeeper keeps in its data table.
const DATA_TABLE: u8 = DATA | PERSISTENT | RECURSIVE;
/// Modes that ZooKeeper keeps in its child table.
const CHILD_TABLE: u8 = CHILDREN | PERSISTENT;

fn bits_of_mode(mode: WatchMode) -> u8 {
    match mode {
        WatchMode::Data => DATA,
        WatchMode::Children => CHILDREN,
        WatchMode::Persistent => PERSISTENT,
        WatchMode::PersistentRecursive => RECURSIVE,
    }
}

fn bits_of_type(kind: WatcherType) -> u8 {
    match kind {
        WatcherType::Data => DATA,
        WatcherType::Children => CHILDREN,
        WatcherType::Persistent => PERSISTENT,
        WatcherType::PersistentRecursive => RECURSIVE,
        WatcherType::Any => DATA_TABLE | CHILD_TABLE,
    }
}

/// Modes that an event of the watched path itself matches.
fn bits_of_event(event: EventType) -> u8 {
    match event {
        EventType::NodeCreated | EventType::NodeDataChanged => DATA_TABLE,
        EventType::NodeChildrenChanged => CHILD_TABLE,
        EventType::NodeDeleted => DATA_TABLE | CHILD_TABLE,
    }
}

/// The watches of one connection on one path.
#[derive(Clone, Copy, Debug)]
struct Record {
    conn: u32,
    entry: u32,
    path_prev: u32,
    path_next: u32,
    conn_prev: u32,
    conn_next: u32,
    bits: u8,
}

/// A watched path.
#[derive(Clone, Debug)]
struct Entry {
    path: Box<[u8]>,
    head: u32,
    /// Records with a bit of the data table.
    data_count: u32,
}

#[derive(Clone, Copy, Debug)]
struct Conn {
    head: u32,
    /// Records with a bit of the data table.
    data_count: u32,
    /// The last event that was delivered to it.
    event_serial: u64,
}

const NO_CONN: Conn = Conn { head: NIL, data_count: 0, event_serial: 0 };

/// How many watches there are, as `wchs` and `mntr` tell it. The first three are of the data table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WatchCounts {
    /// Connections with a watch.
    pub connections: usize,
    /// Paths with a watch.
    pub paths: usize,
    /// Pairs of connection and path.
    pub watches: usize,
    /// Pairs of both tables.
    pub watches_both_tables: usize,
}

/// All watches of one server, by dense connection index.
#[derive(Clone, Debug)]
pub struct Watches {
    hash_seed: u64,
    records: Vec<Record>,
    free_records: Vec<u32>,
    entries: Vec<Entry>,
    free_entries: Vec<u32>,
    conns: Vec<Conn>,
    by_path: HashTable<u32>,
    by_pair: HashTable<u32>,
    recursive_count: usize,
    event_serial: u64,
    data_connections: usize,
    data_paths: usize,
    data_watches: usize,
    child_watches: usize,
}

/// Both halves are dense numbers of ours, so a multiply spreads them and no seed is needed.
fn hash_of_pair(conn: u32, entry: u32) -> u64 {
    let spread = ((u64::from(conn) << 32) | u64::from(entry)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    spread ^ (spread >> 29)
}

impl Watches {
    /// None yet. Paths are hashed with `hash_seed`, so that a client can't build colliding ones.
    #[must_use]
    pub fn new(hash_seed: u64) -> Watches {
        Watches {
            hash_seed,
            records: Vec::new(),
            free_records: Vec::new(),
            entries: Vec::new(),
            free_entries: Vec::new(),
            conns: Vec::new(),
            by_path: HashTable::new(),
            by_pair: HashTable::new(),
            recursive_count: 0,
            event_serial: 0,
            data_connections: 0,
            data_paths: 0,
            data_watches: 0,
            child_watches: 0,
        }
    }

    /// Whether there is no watch at all, so that firing can be skipped.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_pair.is_empty()
    }

    /// Registers a watch; a second one of the same kind changes nothing, other kinds on the path coexist (T28).
    pub fn add(&mut self, conn: u32, path: &[u8], mode: WatchMode) {
        assert_ne!(conn, NIL, "the connection index {NIL} is reserved");
        let conn_idx = conn as usize;
        if self.conns.len() <= conn_idx {
            self.conns.resize(conn_idx + 1, NO_CONN);
        }
        let entry = self.entry_or_new(path);
        let at = self.find_pair(conn, entry).unwrap_or_else(|| self.link_new(conn, entry));
        self.set_bits(at, self.records[at as usize].bits | bits_of_mode(mode));
    }

    /// Whether the connection has a watch of that kind on exactly that path.
    #[must_use]
    pub fn contains(&self, conn: u32, path: &[u8], kind: WatcherType) -> bool {
        self.find(conn, path).is_some_and(|at| self.records[at as usize].bits & bits_of_type(kind) != 0)
    }

    /// Removes the connection's watches of that kind on that path. False if there was none.
    pub fn remove(&mut self, conn: u32, path: &[u8], kind: WatcherType) -> bool {
        let Some(at) = self.find(conn, path) else { return false };
        let old = self.records[at as usize].bits;
        self.keep_only(at, old & !bits_of_type(kind));
        old & bits_of_type(kind) != 0
    }

    /// The connection is gone, and all its watches with it (T32).
    pub fn drop_conn(&mut self, conn: u32) {
        if mutant!("watch-outlives-connection") {
            return;
        }
        while let Some(at) = self.conns.get(conn as usize).map(|c| c.head).filter(|head| *head != NIL) {
            self.keep_only(at, 0);
        }
        if let Some(gone) = self.conns.get_mut(conn as usize) {
            *gone = NO_CONN;
        }
    }

    /// Gives every connection that an event of `path` goes to to `deliver`, each once; the order is unspecified.
    ///
    /// A NodeDeleted stands for both of ZooKeeper's tables. Recursive watches of ancestors match all but NodeChildrenChanged.
    pub fn fire(&mut self, path: &[u8], event: EventType, deliver: &mut dyn FnMut(u32)) {
        if self.is_empty() {
            return;
        }
        self.event_serial += 1;
        if let Some(entry) = self.find_entry(path) {
            self.fire_entry(entry, bits_of_event(event), deliver);
        }
        if self.recursive_count == 0 || event == EventType::NodeChildrenChanged {
            return;
        }
        let mut below = path;
        while below.len() > 1
            && let Some(parent) = crate::model::path::parent(below)
        {
            if let Some(entry) = self.find_entry(parent) {
                self.fire_entry(entry, RECURSIVE, deliver);
            }
            below = parent;
            if mutant!("watch-recursive-skips-ancestor") {
                break;
            }
        }
    }

    fn fire_entry(&mut self, entry: u32, matching: u8, deliver: &mut dyn FnMut(u32)) {
        let mut at = self.entries[entry as usize].head;
        while at != NIL {
            let record = self.records[at as usize];
            let hit = record.bits & matching;
            if hit != 0 {
                let conn = &mut self.conns[record.conn as usize];
                if conn.event_serial != self.event_serial {
                    conn.event_serial = self.event_serial;
                    deliver(record.conn);
                }
                let spent = if mutant!("watch-one-shot-stays") { 0 } else { hit & (DATA | CHILDREN) };
                self.keep_only(at, record.bits & !spent);
            }
            at = record.path_next;
        }
    }

    /// The numbers for `wchs` and `mntr`.
    #[must_use]
    pub fn counts(&self) -> WatchCounts {
        WatchCounts {
            connections: self.data_connections,
            paths: self.data_paths,
            watches: self.data_watches,
            watches_both_tables: self.data_watches + self.child_watches,
        }
    }

    /// Each path of the data table with its connections, for `wchp`.
    pub fn by_path(&self) -> impl Iterator<Item = (&[u8], impl Iterator<Item = u32>)> {
        let watched = self.entries.iter().filter(|e| e.data_count > 0);
        watched.map(|e| (&*e.path, self.data_records(e.head, |r| r.path_next).map(|r| r.conn)))
    }

    /// Each connection with its paths of the data table, for `wchc`.
    pub fn by_conn(&self) -> impl Iterator<Item = (u32, impl Iterator<Item = &[u8]>)> {
        let watching = (0u32..).zip(&self.conns).filter(|(_, c)| c.data_count > 0);
        watching.map(|(conn, c)| (conn, self.data_records(c.head, |r| r.conn_next).map(|r| &*self.entries[r.entry as usize].path)))
    }

    fn data_records(&self, head: u32, next: fn(&Record) -> u32) -> impl Iterator<Item = &Record> {
        let first = self.records.get(head as usize);
        std::iter::successors(first, move |r| self.records.get(next(r) as usize)).filter(|r| r.bits & DATA_TABLE != 0)
    }

    fn find_entry(&self, path: &[u8]) -> Option<u32> {
        let hash = seeded_hash(self.hash_seed, path);
        self.by_path.find(hash, |e| *self.entries[*e as usize].path == *path).copied()
    }

    fn find_pair(&self, conn: u32, entry: u32) -> Option<u32> {
        let same = |at: &u32| self.records[*at as usize].conn == conn && self.records[*at as usize].entry == entry;
        self.by_pair.find(hash_of_pair(conn, entry), same).copied()
    }

    fn find(&self, conn: u32, path: &[u8]) -> Option<u32> {
        self.find_pair(conn, self.find_entry(path)?)
    }

    fn entry_or_new(&mut self, path: &[u8]) -> u32 {
        if let Some(entry) = self.find_entry(path) {
            return entry;
        }
        let new = Entry { path: path.into(), head: NIL, data_count: 0 };
        let entry = put(&mut self.entries, &mut self.free_entries, new);
        let (seed, entries) = (self.hash_seed, &self.entries);
        self.by_path.insert_unique(seeded_hash(seed, path), entry, |e| seeded_hash(seed, &entries[*e as usize].path));
        entry
    }

    /// A record without bits at the head of both lists; the caller sets bits at once.
    fn link_new(&mut self, conn: u32, entry: u32) -> u32 {
        let (path_next, conn_next) = (self.entries[entry as usize].head, self.conns[conn as usize].head);
        let new = Record { conn, entry, path_prev: NIL, path_next, conn_prev: NIL, conn_next, bits: 0 };
        let at = put(&mut self.records, &mut self.free_records, new);
        if path_next != NIL {
            self.records[path_next as usize].path_prev = at;
        }
        if conn_next != NIL {
            self.records[conn_next as usize].conn_prev = at;
        }
        self.entries[entry as usize].head = at;
        self.conns[conn as usize].head = at;
        let records = &self.records;
        let hash = |at: &u32| hash_of_pair(records[*at as usize].conn, records[*at as usize].entry);
        self.by_pair.insert_unique(hash_of_pair(conn, entry), at, hash);
        at
    }

    fn keep_only(&mut self, at: u32, bits: u8) {
        self.set_bits(at, bits);
        if bits == 0 {
            self.unlink(at);
        }
    }

    /// Sets the modes of a record and every count that follows from them.
    fn set_bits(&mut self, at: u32, bits: u8) {
        let Record { conn, entry, bits: old, .. } = self.records[at as usize];
        self.records[at as usize].bits = bits;
        let (conn, entry) = (&mut self.conns[conn as usize], &mut self.entries[entry as usize]);
        match (old & DATA_TABLE != 0, bits & DATA_TABLE != 0) {
            (false, true) => {
                self.data_connections += usize::from(conn.data_count == 0);
                self.data_paths += usize::from(entry.data_count == 0);
                self.data_watches += 1;
                conn.data_count += 1;
                entry.data_count += 1;
            }
            (true, false) => {
                conn.data_count -= 1;
                entry.data_count -= 1;
                self.data_watches -= 1;
                self.data_connections -= usize::from(conn.data_count == 0);
                self.data_paths -= usize::from(entry.data_count == 0);
            }
            _ => {}
        }
        self.child_watches += usize::from(bits & CHILD_TABLE != 0);
        self.child_watches -= usize::from(old & CHILD_TABLE != 0);
        self.recursive_count += usize::from(bits & RECURSIVE != 0);
        self.recursive_count -= usize::from(old & RECURSIVE != 0);
    }

    fn unlink(&mut self, at: u32) {
        let gone = self.records[at as usize];
        match gone.path_prev {
            NIL => self.entries[gone.entry as usize].head = gone.path_next,
            prev => self.records[prev as usize].path_next = gone.path_next,
        }
        if gone.path_next != NIL {
            self.records[gone.path_next as usize].path_prev = gone.path_prev;
        }
        match gone.conn_prev {
            NIL => self.conns[gone.conn as usize].head = gone.conn_next,
            prev => self.records[prev as usize].conn_next = gone.conn_next,
        }
        if gone.conn_next != NIL {
            self.records[gone.conn_next as usize].conn_prev = gone.conn_prev;
        }
        let found = self.by_pair.find_entry(hash_of_pair(gone.conn, gone.entry), |r| *r == at);
        invariant!(found.is_ok(), "watch {at} isn't in the index");
        if let Ok(found) = found {
            found.remove();
        }
        self.free_records.push(at);
        if self.entries[gone.entry as usize].head == NIL {
            self.free_entry(gone.entry);
        }
    }

    fn free_entry(&mut self, entry: u32) {
        let path = std::mem::take(&mut self.entries[entry as usize].path);
        let found = self.by_path.find_entry(seeded_hash(self.hash_seed, &path), |e| *e == entry);
        invariant!(found.is_ok(), "watched path {entry} isn't in the index");
        if let Ok(found) = found {
            found.remove();
        }
        self.free_entries.push(entry);
    }

    /// Bytes held, all included, for the figure of memory per watch.
    #[must_use]
    pub fn allocated_bytes(&self) -> usize {
        let paths: usize = self.entries.iter().map(|e| e.path.len()).sum();
        self.records.capacity() * size_of::<Record>()
            + self.entries.capacity() * size_of::<Entry>()
            + self.conns.capacity() * size_of::<Conn>()
            + (self.free_records.capacity() + self.free_entries.capacity()) * size_of::<u32>()
            + self.by_path.allocation_size()
            + self.by_pair.allocation_size()
            + paths
    }
}

fn put<T>(slots: &mut Vec<T>, free: &mut Vec<u32>, new: T) -> u32 {
    if let Some(at) = free.pop() {
        slots[at as usize] = new;
        return at;
    }
    slots.push(new);
    u32::try_from(slots.len() - 1).ok().filter(|at| *at != NIL).expect("fewer than 2^32 watches fit into memory")
}

#[cfg(test)]
mod tests;

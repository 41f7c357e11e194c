//! The decision table of recovery: which facts lead to which case. `docs/recovery.md` prints it; logs and tests name its letters.

/// What recovery decided. Each case has a letter that is never given to another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Case {
    /// A: no metadata and no trace of a history: a first start.
    FirstStart,
    /// B: no metadata, but files that an unfinished first start left: start over.
    UnfinishedFirstStart,
    /// C: the metadata is missing, unreadable or older than the log, although a history exists.
    MetadataLost,
    /// D: the chain reaches its end and nothing lies behind it.
    Whole,
    /// E: the last batch is not whole, above all evidence: cut.
    TornTail,
    /// F: a batch is missing or not whole above all evidence, and whole ones lie behind it: cut with everything behind.
    Hole,
    /// G: a batch at or below the evidence is not whole.
    Corrupt,
    /// H: no batch is found where the evidence says there was one.
    Missing,
    /// I: the snapshot reaches beyond the log, and nothing says that there was more than the snapshot holds.
    SnapshotAhead,
    /// J: the log begins after the snapshot ends.
    Gap,
    /// K: files of another cluster, or of a newer format.
    Foreign,
    /// L: the durable mark is missing or unreadable, so that nothing tells how far this server was durable.
    MarkLost,
    /// M: two whole batches or a batch and the metadata contradict each other at or below the evidence.
    Fork,
}

/// Every case, in the order of its letters.
pub const CASES: [Case; 13] = [
    Case::FirstStart,
    Case::UnfinishedFirstStart,
    Case::MetadataLost,
    Case::Whole,
    Case::TornTail,
    Case::Hole,
    Case::Corrupt,
    Case::Missing,
    Case::SnapshotAhead,
    Case::Gap,
    Case::Foreign,
    Case::MarkLost,
    Case::Fork,
];

impl Case {
    /// Its letter.
    #[must_use]
    pub fn letter(self) -> char {
        // The discriminants count from 0 in the order of the letters.
        char::from(b'A' + self as u8)
    }

    /// Its name in logs and docs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Case::FirstStart => "first start",
            Case::UnfinishedFirstStart => "unfinished first start",
            Case::MetadataLost => "metadata lost",
            Case::Whole => "whole",
            Case::TornTail => "torn tail",
            Case::Hole => "hole above the evidence",
            Case::Corrupt => "corrupt batch",
            Case::Missing => "missing batch",
            Case::SnapshotAhead => "snapshot ahead",
            Case::Gap => "gap after the snapshot",
            Case::Foreign => "foreign files",
            Case::MarkLost => "mark lost",
            Case::Fork => "fork",
        }
    }

    /// Whether it is damage: a standalone server refuses to start, a member repairs from its peers.
    #[must_use]
    pub fn is_damage(self) -> bool {
        match self {
            Case::FirstStart | Case::UnfinishedFirstStart | Case::Whole | Case::TornTail | Case::Hole | Case::SnapshotAhead => false,
            Case::MetadataLost | Case::Corrupt | Case::Missing | Case::Gap | Case::Foreign | Case::MarkLost | Case::Fork => true,
        }
    }
}

/// State of the metadata and the mark.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fact {
    /// Never written.
    Absent,
    /// Read and checked.
    Good,
    /// There, but not to be trusted.
    Lost,
}

/// Why the chain of batches ends where it ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChainEnd {
    /// Nothing follows.
    End,
    /// The next batch has a good header but not its body.
    Bad,
    /// A later batch is there, the next isn't.
    Missing,
    /// The next batch names another predecessor than the one that is there.
    Fork,
}

/// All that the decision depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Epoch metadata.
    pub meta: Fact,
    /// Durable mark.
    pub mark: Fact,
    /// Files of another cluster or a newer format were found.
    pub foreign: bool,
    /// There are segments, empty or not.
    pub segments: bool,
    /// A batch, a mark above zero or a snapshot shows that there was a history.
    pub history: bool,
    /// Why the chain ends.
    pub end: ChainEnd,
    /// The chain has a batch beyond the snapshot.
    pub chain: bool,
    /// The chain's last batch lies before the snapshot's zxid.
    pub behind_snapshot: bool,
    /// Whole batches lie behind the chain's end.
    pub beyond: bool,
    /// The evidence reaches further than the chain and the snapshot.
    pub lost: bool,
}

/// The decision table, first matching row.
#[must_use]
pub fn decide(facts: &Facts) -> Case {
    match facts {
        Facts { foreign: true, .. } => Case::Foreign,
        Facts { meta: Fact::Absent, history: false, segments: false, mark: Fact::Absent, .. } => Case::FirstStart,
        Facts { meta: Fact::Absent, history: false, .. } => Case::UnfinishedFirstStart,
        Facts { meta: Fact::Absent | Fact::Lost, .. } => Case::MetadataLost,
        Facts { mark: Fact::Absent | Fact::Lost, .. } => Case::MarkLost,
        Facts { lost: true, end: ChainEnd::Bad, .. } => Case::Corrupt,
        Facts { lost: true, end: ChainEnd::Fork, .. } => Case::Fork,
        Facts { lost: true, end: ChainEnd::Missing, chain: false, .. } => Case::Gap,
        Facts { lost: true, .. } => Case::Missing,
        Facts { end: ChainEnd::Bad, beyond: false, .. } => Case::TornTail,
        Facts { end: ChainEnd::Bad | ChainEnd::Missing | ChainEnd::Fork, .. } => Case::Hole,
        Facts { end: ChainEnd::End, behind_snapshot: true, .. } => Case::SnapshotAhead,
        Facts { end: ChainEnd::End, .. } => Case::Whole,
    }
}

//! The oracles by name, so that a failure says in a stable word who noticed it: the kill matrix prints that word.
//!
//! What is wrong travels as text through everything that adds where and when. The innermost name counts: it was given where the most was
//! known.

/// Who notices something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checker {
    /// A broken invariant of the code itself, or a server that ends by itself.
    Assertion,
    /// Digests of all servers at one zxid.
    Digest,
    /// What anybody saw is durable on a quorum, and found again.
    Durability,
    /// Epochs on disk never go back.
    Epochs,
    /// Everybody is served after the faults.
    Liveness,
    /// One chain of batches, which is never cut.
    OneHistory,
    /// An epoch has one leader.
    OneLeader,
    /// Promises are durable before they count.
    Promises,
    /// An answer is what the model answers.
    Replies,
    /// Sessions live as long as they must, and no longer.
    Sessions,
    /// The tree is the model's.
    State,
    /// A read behind a sync sees what was acknowledged before it.
    SyncThenRead,
    /// Votes and acknowledgements name only what is durable.
    Votes,
    /// Each watch fires when it must.
    Watches,
    /// What a session saw it never unsees, and later zxids are higher.
    ZxidOrder,
}

const ALL: [(Checker, &str); 15] = [
    (Checker::Assertion, "assertion"),
    (Checker::Digest, "digest"),
    (Checker::Durability, "durability"),
    (Checker::Epochs, "epochs"),
    (Checker::Liveness, "liveness"),
    (Checker::OneHistory, "one history"),
    (Checker::OneLeader, "one leader"),
    (Checker::Promises, "promises"),
    (Checker::Replies, "replies"),
    (Checker::Sessions, "sessions"),
    (Checker::State, "state"),
    (Checker::SyncThenRead, "sync then read"),
    (Checker::Votes, "votes"),
    (Checker::Watches, "watches"),
    (Checker::ZxidOrder, "zxid order"),
];

impl Checker {
    /// The stable word.
    #[must_use]
    pub fn name(self) -> &'static str {
        ALL.iter().find(|(checker, _)| *checker == self).map_or("", |(_, name)| name)
    }

    /// `what` with the name of who noticed it, unless it has one.
    #[must_use]
    pub fn says(self, what: &str) -> String {
        if find(what).is_some() { what.to_owned() } else { format!("[{}] {what}", self.name()) }
    }
}

/// Gives what is wrong the name of who noticed it.
pub trait NoticedBy {
    /// Named by `checker`, unless somebody further inside has said its name already.
    #[must_use]
    fn by(self, checker: Checker) -> Self;
}

impl<T> NoticedBy for Result<T, String> {
    fn by(self, checker: Checker) -> Result<T, String> {
        self.map_err(|what| checker.says(&what))
    }
}

/// The name in `what`, and where it stands.
fn find(what: &str) -> Option<(usize, String)> {
    ALL.iter().map(|(_, name)| format!("[{name}] ")).find_map(|tag| what.find(&tag).map(|at| (at, tag)))
}

/// What is wrong, the name in front.
#[must_use]
pub fn with_name_in_front(what: &str) -> String {
    match find(what) {
        Some((at, tag)) => format!("{tag}{}{}", &what[..at], &what[at + tag.len()..]),
        None => format!("[other] {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_name_counts_and_comes_to_the_front() {
        let inner: Result<(), String> = Err("lost".to_owned()).by(Checker::Durability);
        let outer = inner.map_err(|what| format!("server 2: {what}")).by(Checker::OneHistory).unwrap_err();
        assert_eq!(outer, "server 2: [durability] lost");
        assert_eq!(with_name_in_front(&outer), "[durability] server 2: lost");
        assert_eq!(with_name_in_front("odd"), "[other] odd");
        assert!(ALL.iter().all(|(checker, name)| checker.name() == *name));
    }
}

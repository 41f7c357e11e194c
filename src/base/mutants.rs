//! Deliberate faults, compiled in only by the feature `mutants`, chosen by name with `ringkeeper-sim --mutant NAME`.
//!
//! `mutant!("name")` is `false`, a constant, in every normal build. Each name used in the code must stand in [`CATALOGUE`]
//! (a test checks it), so that the kill matrix can't forget one.

/// True when the named fault is switched on. A constant `false` without the feature `mutants`.
#[macro_export]
macro_rules! mutant {
    ($name:literal) => {{
        #[cfg(feature = "mutants")]
        {
            $crate::base::mutants::is_on($name)
        }
        #[cfg(not(feature = "mutants"))]
        {
            false
        }
    }};
}

/// One deliberate fault.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// As given to `--mutant`.
    pub name: &'static str,
    /// What the faulty code does, in a few words.
    pub what: &'static str,
}

/// Every fault that the code can be built with, in alphabetical order.
pub const CATALOGUE: &[Mutant] = &[
    Mutant { name: "accept-loss-forgets-membership", what: "an accepted loss makes a member a full voter without its history" },
    Mutant { name: "ack-before-durable", what: "applies and answers what isn't durable yet" },
    Mutant { name: "apply-overtakes-a-refusal", what: "a transaction is applied although a refusal judged before it waits for its round" },
    Mutant { name: "auth-any-id-is-valid", what: "an ACL may name unknown schemes and invalid ids" },
    Mutant { name: "auth-everybody-is-super", what: "any digest credentials make a super user" },
    Mutant { name: "boot-trusts-snapshot-names", what: "a start builds upon a snapshot whose name may not be durable" },
    Mutant { name: "cut-forgets-a-shard", what: "after a cut all shards but the first go on in segments of the ended generation" },
    Mutant { name: "cut-keeps-cache", what: "batches and identities beyond a cut stay in memory" },
    Mutant { name: "damage-treated-as-torn-tail", what: "a member cuts damage away and doesn't say that it has to be repaired" },
    Mutant { name: "disk-early-completion", what: "an append is reported before it is written" },
    Mutant { name: "disk-error-swallowed", what: "a failed append is reported as done" },
    Mutant { name: "disk-no-dsync", what: "the log is written without O_DSYNC" },
    Mutant { name: "disk-short-write", what: "half of an append is written" },
    Mutant {
        name: "ensemble-answers-without-round",
        what: "a leader answers syncs and refusals without asking a quorum whether it still leads",
    },
    Mutant { name: "ensemble-clients-outlive-role", what: "connections stay when a leader or learner loses its role" },
    Mutant { name: "ensemble-commits-alone", what: "a member applies what is durable on its own disk" },
    Mutant { name: "ensemble-diff-is-committed", what: "a leader calls committed whatever a learner lacks" },
    Mutant { name: "ensemble-diff-skips-first", what: "a leader leaves out the first batch that a learner lacks" },
    Mutant { name: "ensemble-durable-is-tail", what: "a member takes for durable whatever its log holds" },
    Mutant { name: "ensemble-follower-expires", what: "a follower expires sessions by its own clock" },
    Mutant { name: "ensemble-former-owner-writes", what: "requests of a session count through a server that it has left" },
    Mutant { name: "ensemble-forward-twice", what: "a forwarded write is judged twice" },
    Mutant { name: "ensemble-pending-outlives-role", what: "what a deposed leader had outstanding is still judged against" },
    Mutant { name: "ensemble-says-more-than-it-applied", what: "a leader tells learners of commits that it keeps back itself" },
    Mutant { name: "ensemble-serves-before-uptodate", what: "a learner serves before its leader is established" },
    Mutant { name: "ensemble-timers-go-on", what: "a new leader doesn't start the sessions' timers anew" },
    Mutant { name: "ensemble-touch-lost", what: "a learner doesn't report which sessions it heard of" },
    Mutant { name: "keeper-holds-nothing", what: "a leader lets go of what it has offered a server to catch up from" },
    Mutant { name: "link-frames-of-anyone", what: "a frame on a link is taken whoever says it sent it" },
    Mutant { name: "link-keeps-the-older", what: "a newer connection of a server leaves the older one up" },
    Mutant { name: "link-other-ensemble-fits", what: "a server with another ensemble's data is let in" },
    Mutant { name: "log-ignores-snapshots-cluster", what: "a log of one cluster goes on from a snapshot of another" },
    Mutant { name: "log-missing-is-gone", what: "a batch that isn't found where one is known to be counts as never written" },
    Mutant { name: "log-refuses-its-former-identity", what: "a server refuses what is left of an identity that gave way" },
    Mutant { name: "log_acks_before_completion", what: "counts a batch as durable when it is handed to the disk" },
    Mutant { name: "log_cuts_at_corruption", what: "cuts the log at damage below the evidence as if it were a torn tail" },
    Mutant { name: "log_durable_is_maximum", what: "takes the furthest completed batch over all shards as the durable position" },
    Mutant { name: "log_epochs_need_room", what: "a new epoch is written to new files, and a full disk ends the server" },
    Mutant { name: "log_generation_not_raised", what: "starts again in the old log generation" },
    Mutant { name: "log_ignores_hole", what: "replays past a missing batch" },
    Mutant { name: "log_mark_ahead", what: "writes a durable mark for what isn't durable yet" },
    Mutant { name: "log_recycles_what_it_keeps", what: "a start takes a segment with batches for one that was never written to" },
    Mutant { name: "log_revives_dead_generation", what: "replays whole batches beyond the end of their generation" },
    Mutant { name: "log_skips_chain_check", what: "replays batches that don't follow each other" },
    Mutant { name: "log_trusts_the_next_sync", what: "a start after a failed sync believes a sync that succeeds without writing" },
    Mutant { name: "log_trusts_unsynced_tail", what: "serves batches that recovery read without making them durable" },
    Mutant { name: "member-applies-uncommitted", what: "a member applies at its start what nobody committed" },
    Mutant { name: "member-refuses-damage", what: "a member with a damaged log doesn't start" },
    Mutant { name: "prep-check-skips-acl", what: "a check in a multi passes without READ" },
    Mutant { name: "prep-closing-session-writes", what: "a session whose closing is outstanding still creates ephemeral nodes" },
    Mutant { name: "prep-delete-checks-node-before-acl", what: "delete says NONODE for a missing node that it may not delete anyway" },
    Mutant { name: "prep-failed-multi-leaves-overlay", what: "later requests are judged against a multi that failed" },
    Mutant { name: "prep-sequence-ignores-outstanding", what: "sequence numbers come from the applied parent alone" },
    Mutant { name: "prep-version-ignores-outstanding", what: "setData compares its version with the applied node alone" },
    Mutant { name: "receive-skips-chain-check", what: "a received batch is compared with the tail by zxid alone" },
    Mutant { name: "reply-before-watch", what: "the answer to a setData leaves before its watches fire" },
    Mutant {
        name: "session-clock-forgets-it-stood",
        what: "time in which the leader heard nobody counts as silence when a learner reports",
    },
    Mutant { name: "session-expires-early", what: "a session's deadline lies a tick before its timeout" },
    Mutant { name: "session-password-unchecked", what: "any password resumes a session" },
    Mutant { name: "session-report-shortens", what: "a learner's late report brings a session's deadline forward" },
    Mutant { name: "sessions-expire-unheard", what: "sessions time out while no client's socket is read" },
    Mutant { name: "snapshot-checksum-ignored", what: "a damaged chunk of a snapshot is loaded" },
    Mutant { name: "snapshot-old-image-dropped", what: "a changed node's old image is not written to the running snapshot" },
    Mutant { name: "snapshot-part-is-whole", what: "the first piece of a snapshot on its way counts as the whole of it" },
    Mutant { name: "snapshot-renamed-unsynced", what: "a snapshot gets its final name before its bytes are durable" },
    Mutant { name: "tree-digest-keeps-old", what: "a change leaves the node's old part in the tree digest" },
    Mutant { name: "tree-ephemeral-forgotten", what: "closing a session leaves its last ephemeral node" },
    Mutant { name: "tree-old-image-skipped", what: "a node that changes during a scan is snapshot as it is afterwards" },
    Mutant { name: "tree-parent-cversion-lost", what: "a creation doesn't count in its parent, so a sequence number comes twice" },
    Mutant { name: "tree-pzxid-not-moved", what: "a deletion doesn't show in its parent's pzxid" },
    Mutant { name: "tree-quota-not-charged", what: "usage below a quota isn't counted" },
    Mutant { name: "watch-catch-up-skipped", what: "what changed while a client was away is not told when it sets its watches again" },
    Mutant { name: "watch-one-shot-stays", what: "a one-shot watch fires again and again" },
    Mutant { name: "watch-outlives-connection", what: "the watches of a closed connection stay" },
    Mutant { name: "watch-recursive-skips-ancestor", what: "a recursive watch sees children only, no deeper nodes" },
    Mutant { name: "wire-container-in-multi-is-plain", what: "a create with the container flag in a multi makes a plain node" },
    Mutant { name: "wire-failed-multi-tail-is-ok", what: "operations after the failed one of a multi are answered with 0" },
    Mutant { name: "wire-null-buffer-is-empty", what: "null data is read as empty data" },
    Mutant { name: "wire-peer-checksum-ignored", what: "a frame between servers that changed on its way is taken" },
    Mutant { name: "wire-read-only-byte-always", what: "the handshake's answer has the read-only byte that the client didn't send" },
    Mutant { name: "zab-ack-leader-before-epoch", what: "acknowledges NEWLEADER before the epoch is durable" },
    Mutant {
        name: "zab-ack-leader-before-history",
        what: "acknowledges NEWLEADER, and takes the epoch, before the history is durable (ZOOKEEPER-4646)",
    },
    Mutant {
        name: "zab-ack-overtakes-ack-leader",
        what: "acknowledges batches before NEWLEADER, when that doesn't count yet (ZOOKEEPER-3023, 4685)",
    },
    Mutant { name: "zab-candidate-promises-itself-late", what: "asks for promises, and counts itself, before the own promise is durable" },
    Mutant { name: "zab-commits-before-sync", what: "a learner takes commits before its history is the leader's" },
    Mutant { name: "zab-confirms-after-pause", what: "a leader that was paused confirms rounds before it hears a quorum again" },
    Mutant { name: "zab-counts-unsynced", what: "a learner counts before it has acknowledged NEWLEADER" },
    Mutant { name: "zab-epoch-before-history", what: "a learner makes the epoch durable before the history (ZOOKEEPER-4643)" },
    Mutant { name: "zab-established-alone", what: "a leader takes its history for committed before a quorum has acknowledged it" },
    Mutant { name: "zab-follows-older-epoch", what: "follows a leader of an epoch below the own promise" },
    Mutant { name: "zab-founds-past-a-reconnect", what: "a candidate that founds asks a voter that connected anew since it was heard" },
    Mutant { name: "zab-founds-unheard", what: "founds an ensemble while a voter isn't heard" },
    Mutant { name: "zab-half-is-a-quorum", what: "half of the voters, rounded down, count as a quorum" },
    Mutant { name: "zab-late-write-counts", what: "a write of an ended role reaches the log of the next one (ZOOKEEPER-4712)" },
    Mutant { name: "zab-leader-counts-itself-early", what: "a leader counts itself before its epoch is durable" },
    Mutant { name: "zab-leads-unheard", what: "a leader that hears no quorum goes on leading" },
    Mutant { name: "zab-learner-outlives-connection", what: "what a learner acknowledged counts on its next connection too" },
    Mutant { name: "zab-never-steps-up", what: "a leader stays though a voter that promised a later epoch can't follow it" },
    Mutant { name: "zab-passes-nobody-over", what: "waits forever for a best candidate that doesn't come up" },
    Mutant { name: "zab-promise-before-durable", what: "a promise leaves before it is durable" },
    Mutant { name: "zab-promises-to-older", what: "promises to a candidate with an older history" },
    Mutant { name: "zab-promises-twice", what: "promises an epoch that it promised already" },
    Mutant { name: "zab-pulses-fresh-after-pause", what: "what was heard before a pause of the process still counts" },
    Mutant { name: "zab-repairing-follows-at-once", what: "a server whose metadata is lost doesn't listen for what it may have promised" },
    Mutant { name: "zab-repairing-votes", what: "a server that lacks what it acknowledged promises" },
    Mutant { name: "zab-round-is-an-old-one", what: "a round shares the number of messages that left before it was opened" },
    Mutant { name: "zab-stands-in-used-epoch", what: "a candidate asks for an epoch that was used already" },
    Mutant { name: "zab-votes-unsettled", what: "takes part in an election before its log is at rest" },
    Mutant { name: "zab-wiped-follows-at-once", what: "a wiped server follows without having heard what it may have promised" },
    Mutant { name: "zab-wiped-votes", what: "a wiped server's word counts" },
    Mutant { name: "zk1156-cuts-too-much", what: "a learner cuts one batch more than it must" },
    Mutant { name: "zk2832-no-truncation", what: "a learner whose log the leader doesn't have asks again instead of cutting it" },
    Mutant { name: "zk2846-diff-over-divergence", what: "a leader sends its batches to a learner whose last one it doesn't have" },
];

#[cfg(feature = "mutants")]
mod chosen {
    use std::sync::OnceLock;

    static CHOSEN: OnceLock<String> = OnceLock::new();

    /// Switches one fault on for the life of the process. Returns false if it isn't in the catalogue or one is on already.
    pub fn choose(name: &str) -> bool {
        super::CATALOGUE.iter().any(|m| m.name == name) && CHOSEN.set(name.to_owned()).is_ok()
    }

    /// In tests the environment variable `RINGKEEPER_MUTANT` chooses: the test that is named for a fault must fail with it.
    #[cfg(test)]
    fn of_environment() -> String {
        let name = std::env::var("RINGKEEPER_MUTANT").unwrap_or_default();
        assert!(name.is_empty() || super::CATALOGUE.iter().any(|m| m.name == name), "no deliberate fault is named {name}");
        name
    }

    /// Whether `name` was chosen.
    #[must_use]
    pub fn is_on(name: &str) -> bool {
        #[cfg(test)]
        CHOSEN.get_or_init(of_environment);
        CHOSEN.get().is_some_and(|c| c == name)
    }
}

#[cfg(feature = "mutants")]
pub use chosen::{choose, is_on};

//! Lines for people, each kind at most once in a while: a line that comes at every tick tells nobody anything.

use crate::base::ids::ServerId;
use crate::base::time::MonoMs;
use crate::zab::send_after::Sink;
use std::collections::BTreeMap;

/// Time between two lines of one kind, ms.
const PAUSE_MS: u64 = 5000;

/// What a line is about. As many kinds as there are members, times a few.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Topic {
    /// Somebody who isn't a member speaks.
    Unknown,
    /// It belongs to another ensemble.
    OtherCluster(ServerId),
    /// It says what can't be.
    BadInput(ServerId),
    /// Who is waited for.
    Waiting,
    /// No epoch is left.
    EpochsSpent,
}

/// When each kind was said last.
#[derive(Clone, Debug, Default)]
pub(super) struct Words {
    said: BTreeMap<Topic, MonoMs>,
}

impl Words {
    /// Says it unless the same kind was said within the last 5 s.
    pub(super) fn say(&mut self, now: MonoMs, topic: Topic, important: bool, text: String, sink: &mut Sink<'_>) {
        if self.is_due(now, topic) {
            self.said.insert(topic, now);
            sink.say(important, text);
        }
    }

    pub(super) fn is_due(&self, now: MonoMs, topic: Topic) -> bool {
        self.said.get(&topic).is_none_or(|at| now.since(*at) >= PAUSE_MS)
    }
}

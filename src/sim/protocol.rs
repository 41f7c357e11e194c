//! What servers say to each other, judged as it leaves them: nothing is said that isn't durable, and an epoch has one leader.
//!
//! Reads the bytes on their way out, knows the protocol's messages (`docs/replication.md`) and the truth (`ledger`), and believes no
//! server's own figures.

use super::checker::{Checker, NoticedBy};
use super::coverage::Coverage;
use super::ledger::Ledger;
use crate::model::peer::Lane;
use crate::model::peer::{Message, Pulse, Refusal, Stance};
use crate::model::position::Position;
use crate::wire::peer::{PeerFrames, body_bytes_max, decode};
use std::collections::BTreeMap;

/// See the module's description.
#[derive(Clone, Debug, Default)]
pub struct Protocol {
    /// Who leads an epoch.
    leaders: BTreeMap<u32, usize>,
    /// Epochs whose leader was acknowledged by a quorum.
    established: u32,
}

impl Protocol {
    /// The highest epoch in which a leader said that it is established; 0: none yet.
    #[must_use]
    pub fn established(&self) -> u32 {
        self.established
    }

    /// `node` acts as the leader of `epoch`.
    ///
    /// # Errors
    /// When another one does.
    pub fn leads(&mut self, node: usize, epoch: u32) -> Result<(), String> {
        let leader = *self.leaders.entry(epoch).or_insert(node);
        let alone = if leader == node { Ok(()) } else { Err(format!("servers {} and {} both lead epoch {epoch}", leader + 1, node + 1)) };
        alone.by(Checker::OneLeader)
    }

    /// Bytes leave `node` for `peer`. Returns what is worth a line of the story.
    ///
    /// # Errors
    /// What mustn't be said, in words.
    pub fn leaves(
        &mut self,
        node: usize,
        (peer, lane): (usize, Lane),
        bytes: &[u8],
        ledger: &mut Ledger,
        coverage: &mut Coverage,
    ) -> Result<Vec<String>, String> {
        let mut frames = PeerFrames::new(body_bytes_max(lane));
        let (mut rest, mut lines) = (bytes, Vec::new());
        loop {
            let (used, frame) = frames.next(rest).map_err(|e| format!("server {} sends what isn't a frame: {e}", node + 1))?;
            rest = &rest[used..];
            let Some(frame) = frame else { break };
            let message = decode(frame.body).map_err(|e| format!("server {} sends what doesn't decode: {e}", node + 1))?;
            self.says((node, peer), &message, ledger, coverage).by(checker_of(&message)).map_err(|what| {
                let said: String = format!("{message:?}").chars().take(400).collect();
                format!("server {} to {}: {said}: {what}", node + 1, peer + 1)
            })?;
            if is_told(&message) {
                lines.push(format!("server {} to {}: {message:?}", node + 1, peer + 1));
            }
        }
        if frames.pending() > 0 {
            return Err(format!("server {} sends a part of a frame", node + 1));
        }
        Ok(lines)
    }

    fn says(
        &mut self,
        (node, peer): (usize, usize),
        message: &Message<'_>,
        ledger: &mut Ledger,
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        let (accepted, current) = ledger.epochs_of(node);
        match message {
            // A candidate may name the epoch that it asks for before its own promise is durable: too high is never wrong.
            // Who follows or leads isn't judged by it.
            Message::Pulse(Pulse { position, stance: Stance::Looking | Stance::Candidate { .. }, .. }) => {
                is_durable(ledger, node, position)
            }
            Message::NewEpoch { position, founding, .. } => {
                if *founding {
                    coverage.hit("founding");
                }
                is_durable(ledger, node, position)
            }
            Message::Promise { epoch, position } => {
                if accepted < *epoch {
                    return Err(format!("durably accepted is only epoch {accepted}"));
                }
                // A promise to found may be on its way while those who gave theirs sooner begin: then all there is is of that epoch, and its
                // leader is who asked.
                let asked_by_its_leader = self.leaders.get(epoch) == Some(&peer);
                let mut begun = ledger.epochs_begun();
                if ledger.is_wiped(node) && current == 0 && begun.any(|begun| begun != *epoch || !asked_by_its_leader) {
                    return Err("it was wiped and nobody has synchronised it".to_owned());
                }
                is_durable(ledger, node, position)
            }
            Message::Refuse { why, .. } => {
                coverage.hit(match why {
                    Refusal::Promised => "refused-promised",
                    Refusal::Newer => "refused-newer",
                    Refusal::Content => "refused-content",
                    Refusal::NoVoice => "refused-no-voice",
                });
                Ok(())
            }
            Message::Lead { epoch } => {
                self.leads(node, *epoch)?;
                ledger.is_promised(*epoch)
            }
            Message::NewLeader { epoch, .. } => self.leads(node, *epoch),
            Message::AckLeader { epoch, last } => {
                if current < *epoch {
                    return Err(format!("the durable current epoch is {current}"));
                }
                if !ledger.is_durable(node, last.zxid) {
                    return Err(format!("durable is only {:?}", ledger.end_of(node)));
                }
                Ok(())
            }
            Message::Ack { durable, .. } => {
                if *durable > ledger.end_of(node).zxid {
                    return Err(format!("durable is only {:?}", ledger.end_of(node)));
                }
                Ok(())
            }
            Message::Diff { epoch, .. } => {
                coverage.hit("diff");
                self.leads(node, *epoch)
            }
            Message::Fetch { epoch, .. } => {
                coverage.hit("fetch");
                self.leads(node, *epoch)
            }
            Message::Back { epoch, .. } => {
                coverage.hit("back");
                self.leads(node, *epoch)
            }
            Message::Snapshot { epoch, .. } => {
                coverage.hit("snapshot-offered");
                self.leads(node, *epoch)
            }
            Message::UpToDate { epoch, committed } => {
                self.leads(node, *epoch)?;
                self.established = self.established.max(*epoch);
                ledger.may_commit(node, *committed)
            }
            Message::Batch { epoch, committed, .. } | Message::Progress { epoch, committed, .. } => {
                self.leads(node, *epoch)?;
                ledger.may_commit(node, *committed)
            }
            _ => Ok(()),
        }
    }
}

/// Who notices what is wrong with a message, unless more is known.
fn checker_of(message: &Message<'_>) -> Checker {
    match message {
        Message::Promise { .. } | Message::Lead { .. } => Checker::Promises,
        Message::UpToDate { .. } | Message::Batch { .. } | Message::Progress { .. } => Checker::Durability,
        _ => Checker::Votes,
    }
}

/// A vote names only what is durable.
fn is_durable(ledger: &Ledger, node: usize, position: &Position) -> Result<(), String> {
    if position.current_epoch > ledger.epochs_of(node).1 {
        return Err(format!("the durable current epoch is {}", ledger.epochs_of(node).1));
    }
    if ledger.is_durable(node, position.last.zxid) { Ok(()) } else { Err(format!("durable is only {:?}", ledger.end_of(node))) }
}

/// What belongs to the story of an election or a synchronisation.
fn is_told(message: &Message<'_>) -> bool {
    !matches!(
        message,
        Message::Pulse(_)
            | Message::Batch { .. }
            | Message::Progress { .. }
            | Message::Ack { .. }
            | Message::Forward { .. }
            | Message::Verdicts { .. }
            | Message::Touched { .. }
            | Message::Fetched { .. }
            | Message::Piece { .. }
    )
}

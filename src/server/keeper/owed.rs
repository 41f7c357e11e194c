//! What the keeper owes its clients, looked at from outside: for the simulator, which asks after every turn.

use super::Keeper;
use super::conns::{Conn, Phase, Waiting};
use crate::base::memory::BatchMemory;
use hashbrown::HashSet;

impl<M: BatchMemory> Keeper<M> {
    /// An answer that nothing will give any more, although its time has come or will come: what stands first in a queue waits for something
    /// that is to happen, and whoever waits for a round has a gate. A turn leaves none behind.
    #[must_use]
    pub fn forgotten_answer(&self) -> Option<String> {
        let gated: HashSet<_> = self.gates.iter().map(|gate| gate.conn).collect();
        let mut open = self.conns.iter().filter(|(_, conn)| conn.phase != Phase::Closing);
        open.find_map(|(_, conn)| {
            let what = self.forgotten_of(conn, gated.contains(&conn.id))?;
            Some(format!("the client at {} will never be answered: {what}", conn.peer))
        })
    }

    fn forgotten_of(&self, conn: &Conn, is_gated: bool) -> Option<String> {
        let applied = self.applied;
        let missed = conn.queue.iter().find(|waiting| matches!(waiting, Waiting::Write { zxid, .. } if *zxid <= applied));
        let first = conn.queue.front();
        let overdue = first.filter(|first| match first.due() {
            Some(due) => self.is_due(due) || !is_gated,
            None => matches!(first, Waiting::Later { .. }),
        });
        missed.or(overdue).map(|waiting| format!("{waiting:?} at {applied}"))
    }
}

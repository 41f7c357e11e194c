//! stub
use super::{Cx, Keeper, replies};
use crate::base::ids::ConnId;
use crate::base::memory::BatchMemory;
use crate::wire::four_letter::Word;
#[allow(missing_docs)]
#[derive(Clone, Debug)]
pub struct WordOptions;
impl<M: BatchMemory> Keeper<M> {
    pub(super) fn on_word(&mut self, cx: &mut Cx<'_, M>, conn: ConnId, word: Word, _argument: i64) {
        let Some(idx) = self.ready_to_hear(conn, 0) else { return };
        replies::text(&mut self.conns, &mut self.stats, cx.fx, idx, if word == Word::Ruok { "imok" } else { "" });
    }
}

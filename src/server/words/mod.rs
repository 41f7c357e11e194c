//! Four-letter words: which there are, who may ask, and the exact text of each answer.
//!
//! Pure rendering from plain values into bytes, in ZooKeeper's formats to the byte, since tools split them by position.
//! Leaves to others: recognising a word on a connection (`wire`), gathering the facts (`keeper`), sending (`front`).

pub mod dump;
pub mod ensemble;
pub mod facts;
pub mod latency;
pub mod mntr;
pub mod simple;
pub mod status;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_ensemble;
pub mod text;
pub mod watches;

pub use crate::wire::four_letter::Word;
pub use facts::{ConnFacts, Mode, ServerFacts, SessionFacts, Version};

/// A set of words.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct WordSet(u32);

impl WordSet {
    /// No word.
    pub const EMPTY: WordSet = WordSet(0);
    /// Every word.
    pub const ALL: WordSet = WordSet((1 << Word::ALL.len()) - 1);

    /// This set and `word`.
    #[must_use]
    pub const fn with(self, word: Word) -> WordSet {
        WordSet(self.0 | 1 << (word as u8))
    }

    /// Whether `word` is in it.
    #[must_use]
    pub const fn contains(self, word: Word) -> bool {
        self.0 & (1 << (word as u8)) != 0
    }

    /// Its words in alphabetical order.
    pub fn iter(self) -> impl Iterator<Item = Word> {
        Word::ALL.into_iter().filter(move |word| self.contains(*word))
    }
}

/// What a word gets instead of its answer: a refusal because it isn't in the whitelist, or because the server isn't serving.
/// `None` when it is to be answered. While the server isn't serving, `isro` is to be answered with `null`.
#[must_use]
pub fn refusal(word: Word, whitelist: WordSet, serving: bool) -> Option<Vec<u8>> {
    if word != Word::Srvr && !whitelist.contains(word) {
        return Some(format!("{} is not executed because it is not in the whitelist.\n", word.name()).into_bytes());
    }
    let needs_server = !matches!(word, Word::Ruok | Word::Envi | Word::Gtmk | Word::Stmk | Word::Isro);
    if serving || !needs_server {
        return None;
    }
    // ZooKeeper prints a newline here for every word but this one.
    let end = if word == Word::Hash { "" } else { "\n" };
    Some(format!("This ZooKeeper instance is not currently serving requests{end}").into_bytes())
}

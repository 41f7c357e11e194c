//! Four-letter words: which there are, who may ask, and the exact text of each answer.
//!
//! Pure rendering from plain values into bytes, in ZooKeeper's formats to the byte, since tools split them by position.
//! Leaves to others: recognising a word on a connection (`wire`), gathering the facts (`keeper`), sending (`front`).

pub mod dump;
pub mod facts;
pub mod mntr;
pub mod simple;
pub mod status;
#[cfg(test)]
mod tests;
pub mod text;
pub mod watches;

pub use facts::{ConnFacts, Mode, ServerFacts, SessionFacts, Version};

/// A four-letter word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
#[allow(missing_docs, reason = "each is the word of its name")]
pub enum Word {
    Conf,
    Cons,
    Crst,
    Dirs,
    Dump,
    Envi,
    Gtmk,
    Hash,
    Isro,
    Mntr,
    Ruok,
    Srst,
    Srvr,
    Stat,
    Stmk,
    Wchc,
    Wchp,
    Wchs,
}

impl Word {
    /// Every word, in alphabetical order.
    pub const ALL: [Word; 18] = {
        use Word::*;
        [Conf, Cons, Crst, Dirs, Dump, Envi, Gtmk, Hash, Isro, Mntr, Ruok, Srst, Srvr, Stat, Stmk, Wchc, Wchp, Wchs]
    };

    /// As it is sent.
    #[must_use]
    pub fn name(self) -> &'static str {
        const NAMES: [&str; 18] = [
            "conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "hash", "isro", "mntr", "ruok", "srst", "srvr", "stat", "stmk", "wchc",
            "wchp", "wchs",
        ];
        NAMES[self as usize]
    }

    /// The word of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Word> {
        Word::ALL.into_iter().find(|word| word.name() == name)
    }

    /// The word of the first four bytes of a connection.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 4]) -> Option<Word> {
        Word::ALL.into_iter().find(|word| word.name().as_bytes() == bytes)
    }
}

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

//! Four-letter words: which there are, who may ask, and the exact text of each answer.
//!
//! Pure rendering from plain values into bytes, in ZooKeeper's formats to the byte, since tools split them by position.
//! Leaves to others: recognising a word on a connection (`wire`), gathering the facts (`keeper`), sending (`front`).

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

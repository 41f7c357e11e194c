//! The four-letter words: which exist, and how one is told from the length of a first frame.
//!
//! A word stands where the length of the first frame would stand, before the handshake only. Every word read as a length is
//! above the highest `jute.maxbuffer`, so nothing is lost. Rendering the answers and the whitelist are `server`'s.

use crate::base::limits::{FRAME_BYTES_MAX, WORD_BYTES};

/// A known word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
#[allow(missing_docs, reason = "each variant is the word it is named after")]
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
    /// Ours: where a write spends its time.
    Late,
    Mntr,
    Ruok,
    Srst,
    Srvr,
    Stat,
    /// Eight bytes with the new trace mask follow it.
    Stmk,
    Wchc,
    Wchp,
    Wchs,
    /// Ctrl-C as telnet sends it: the connection is closed without an answer.
    TelnetBreak,
}

/// Each word with the bytes it is sent as.
const WORDS: [(&[u8; WORD_BYTES], Word); 20] = [
    (b"conf", Word::Conf),
    (b"cons", Word::Cons),
    (b"crst", Word::Crst),
    (b"dirs", Word::Dirs),
    (b"dump", Word::Dump),
    (b"envi", Word::Envi),
    (b"gtmk", Word::Gtmk),
    (b"hash", Word::Hash),
    (b"isro", Word::Isro),
    (b"late", Word::Late),
    (b"mntr", Word::Mntr),
    (b"ruok", Word::Ruok),
    (b"srst", Word::Srst),
    (b"srvr", Word::Srvr),
    (b"stat", Word::Stat),
    (b"stmk", Word::Stmk),
    (b"wchc", Word::Wchc),
    (b"wchp", Word::Wchp),
    (b"wchs", Word::Wchs),
    (b"\xff\xf4\xff\xfd", Word::TelnetBreak),
];

/// Bytes that follow [`Word::Stmk`].
pub const STMK_MASK_BYTES: usize = 8;

// The smallest first byte of a word is 'c', so a word can't be a legal length.
const _: () = assert!((b'c' as usize) << 24 > FRAME_BYTES_MAX);

impl Word {
    /// Every word that has an answer, in alphabetical order; each stands at its own number.
    pub const ALL: [Word; 19] = {
        use Word::*;
        [Conf, Cons, Crst, Dirs, Dump, Envi, Gtmk, Hash, Isro, Late, Mntr, Ruok, Srst, Srvr, Stat, Stmk, Wchc, Wchp, Wchs]
    };

    /// The word that a fresh connection's first bytes are; `None` for a frame's length, or while fewer than four are there.
    #[must_use]
    pub fn recognise(received: &[u8]) -> Option<Word> {
        let first = received.first_chunk::<WORD_BYTES>()?;
        WORDS.iter().find(|(bytes, _)| *bytes == first).map(|(_, word)| *word)
    }

    /// As it is written in the whitelist and in messages; empty for [`Word::TelnetBreak`].
    #[must_use]
    pub fn name(self) -> &'static str {
        let bytes = WORDS.iter().find(|(_, word)| *word == self).map_or(&b"    "[..], |(bytes, _)| &bytes[..]);
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// The word of that name (for the whitelist of the configuration).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Word> {
        Word::ALL.into_iter().find(|word| word.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_recognised_and_nothing_else() {
        for (bytes, word) in WORDS {
            assert_eq!(Word::recognise(bytes), Some(word));
            if word != Word::TelnetBreak {
                assert_eq!(Word::from_name(word.name()), Some(word));
            }
        }
        assert_eq!(Word::recognise(b"ruok\n"), Some(Word::Ruok), "a newline does no harm");
        assert_eq!(Word::recognise(b"ruo"), None);
        assert_eq!(Word::recognise(b"lead"), None);
        assert_eq!(Word::recognise(b"\0\0\0\x2c"), None);
        assert_eq!(Word::from_name("ruok "), None);
        assert_eq!(Word::recognise(b"RUOK"), None);
    }

    #[test]
    fn words_stand_at_their_numbers_in_alphabetical_order() {
        assert!(Word::ALL.into_iter().enumerate().all(|(at, word)| word as usize == at));
        assert!(Word::ALL.map(Word::name).is_sorted());
    }
}

//! Reading small text files below a root: `/` on a host, a forged tree in tests.
//!
//! Guarantees: reads are bounded in bytes and entries, wait for nobody (a pipe in a file's place is told, not waited for), and end
//! in one of three ways that are never mixed up: known, absent, not readable and why.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Bytes of a file that are read; `/proc/interrupts` of a large host has a megabyte.
const TEXT_BYTES_MAX: u64 = 4 << 20;
/// Entries of a directory that are looked at.
const ENTRIES_MAX: usize = 65_536;
/// Characters of a strange content that a message repeats.
const SHOWN_MAX: usize = 40;

/// What looking for a fact gave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fact<T> {
    /// It is so.
    Known(T),
    /// The host has no such thing.
    Absent,
    /// It has, and it can't be read: why.
    Unread(String),
}

impl<T> Fact<T> {
    /// The value, if it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Fact::Known(value) => Some(value),
            _ => None,
        }
    }

    /// Goes on with a known value.
    pub fn and_then<U>(self, then: impl FnOnce(T) -> Fact<U>) -> Fact<U> {
        match self {
            Fact::Known(value) => then(value),
            Fact::Absent => Fact::Absent,
            Fact::Unread(why) => Fact::Unread(why),
        }
    }

    /// Changes a known value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Fact<U> {
        self.and_then(|value| Fact::Known(change(value)))
    }
}

/// The root below which files are read.
#[derive(Clone, Debug)]
pub struct Tree(PathBuf);

impl Tree {
    /// `/` on a real host.
    #[must_use]
    pub fn below(root: impl Into<PathBuf>) -> Tree {
        Tree(root.into())
    }

    /// `path`, absolute on the host, in the filesystem.
    fn place(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// A file's text without the white space around it.
    #[must_use]
    pub fn text(&self, path: &str) -> Fact<String> {
        match read_bounded(&self.place(path)) {
            Ok(bytes) => Fact::Known(String::from_utf8_lossy(&bytes).trim().to_owned()),
            Err(error) => missing(path, &error),
        }
    }

    /// A file that holds a whole number and perhaps a unit of it.
    #[must_use]
    pub fn number(&self, path: &str) -> Fact<u64> {
        self.text(path).and_then(|text| match text.split_whitespace().next().map(str::parse) {
            Some(Ok(number)) => Fact::Known(number),
            _ => Fact::Unread(format!("{path} holds {:?}, no number", shown(&text))),
        })
    }

    /// The word in brackets of a file that lists choices (`none [mq-deadline] bfq`), or the only one.
    #[must_use]
    pub fn chosen(&self, path: &str) -> Fact<String> {
        self.text(path).and_then(|text| {
            let words: Vec<&str> = text.split_whitespace().collect();
            let marked = words.iter().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
            match (marked, words.as_slice()) {
                (Some(word), _) => Fact::Known(word.to_owned()),
                (None, [only]) => Fact::Known((*only).to_owned()),
                _ => Fact::Unread(format!("{path} holds {:?}, where one choice should stand in brackets", shown(&text))),
            }
        })
    }

    /// Names in a directory, sorted.
    #[must_use]
    pub fn names(&self, path: &str) -> Fact<Vec<String>> {
        let entries = match fs::read_dir(self.place(path)) {
            Ok(entries) => entries,
            Err(error) => return missing(path, &error),
        };
        let names = entries.take(ENTRIES_MAX).flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.collect();
        names.sort();
        Fact::Known(names)
    }

    /// Whether there is something at `path`.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.place(path).exists()
    }

    /// The last name of `path` once links are followed: of a device's link the device's name.
    #[must_use]
    pub fn real_name(&self, path: &str) -> Fact<String> {
        match self.place(path).canonicalize() {
            Ok(real) => match real.file_name().and_then(|name| name.to_str()) {
                Some(name) => Fact::Known(name.to_owned()),
                None => Fact::Unread(format!("{path} has a name that is no text")),
            },
            Err(error) => missing(path, &error),
        }
    }
}

fn missing<T>(path: &str, error: &io::Error) -> Fact<T> {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Fact::Absent,
        _ => Fact::Unread(format!("{path}: {error}")),
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe without a writer would be waited for.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a file"));
    }
    let mut bytes = Vec::new();
    file.take(TEXT_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The beginning of a text, for a message.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(SHOWN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::super::forge::Forged;
    use super::*;

    #[test]
    fn known_absent_and_unreadable_are_told_apart() {
        let host = Forged::new();
        host.put("/a/number", "42 kB\n")
            .put("/a/word", "many")
            .put("/a/choice", "none [bfq]\n")
            .put("/a/only", "none\n")
            .put("/a/none", "");
        let tree = host.tree();
        assert_eq!(tree.number("/a/number"), Fact::Known(42));
        assert_eq!(tree.number("/a/missing"), Fact::Absent);
        assert_eq!(tree.number("/a/word/below"), Fact::Absent);
        assert!(matches!(tree.number("/a/word"), Fact::Unread(why) if why.contains("\"many\", no number")));
        assert!(matches!(tree.number("/a"), Fact::Unread(why) if why.contains("not a file")));
        assert_eq!(tree.chosen("/a/choice"), Fact::Known("bfq".into()));
        assert_eq!(tree.chosen("/a/only"), Fact::Known("none".into()));
        assert!(matches!(tree.chosen("/a/none"), Fact::Unread(_)));
        assert_eq!(tree.names("/a").known().map(Vec::len), Some(5));
    }

    #[test]
    fn strange_files_are_bounded_and_waited_for_by_nobody() {
        let host = Forged::new();
        host.put("/long", &"x".repeat(6 << 20)).link("/loop", "loop");
        host.put_bytes("/bytes", b"\xff\xfe\0");
        rustix::fs::mknodat(rustix::fs::CWD, host.path("/pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let tree = host.tree();
        assert_eq!(tree.text("/long").known().map(String::len), Some(4 << 20));
        assert!(matches!(tree.text("/pipe"), Fact::Unread(_)));
        assert!(matches!(tree.text("/loop"), Fact::Unread(_)));
        assert!(matches!(tree.number("/bytes"), Fact::Unread(_)));
        assert!(matches!(tree.real_name("/loop"), Fact::Unread(_)));
    }
}

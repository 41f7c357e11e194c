//! Java's properties syntax: keys, values and the line each began on.
//!
//! Guarantees: any bytes are accepted without a panic, memory is bounded by the length of the text, and at most
//! [`ENTRIES_MAX`] entries come out. What a file must say is left to [`super::zoo_cfg`].

/// Largest file that is looked at; a `zoo.cfg` has a few hundred bytes.
pub const TEXT_BYTES_MAX: usize = 1 << 20;
/// Most entries of one file.
pub const ENTRIES_MAX: usize = 4096;

/// One `key=value`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Escapes resolved.
    pub key: String,
    /// Escapes resolved; blanks at the end are kept, as Java does.
    pub value: String,
    /// Where the entry begins, from 1.
    pub line: usize,
}

/// Something that can't be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyntaxError {
    /// Where the entry begins, from 1.
    pub line: usize,
    /// What was found and what is accepted.
    pub what: String,
}

/// What a text says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Properties {
    /// In the order of the text; a key may stand more than once.
    pub entries: Vec<Entry>,
    /// In the order of the text.
    pub errors: Vec<SyntaxError>,
}

/// Reads `bytes`: UTF-8, or else ISO 8859-1 as Java reads such files. A byte order mark at the front is skipped.
#[must_use]
pub fn parse(bytes: &[u8]) -> Properties {
    let mut out = Properties::default();
    if bytes.len() > TEXT_BYTES_MAX {
        let what = format!("the file has {} bytes; a configuration has at most {TEXT_BYTES_MAX}", bytes.len());
        out.errors.push(SyntaxError { line: 1, what });
        return out;
    }
    let text = decode(bytes);
    let mut lines = Lines { rest: text.strip_prefix('\u{feff}').unwrap_or(&text), number: 0 };
    while let Some((line, logical)) = lines.next_logical() {
        if out.entries.len() == ENTRIES_MAX {
            out.errors.push(SyntaxError { line, what: format!("more than {ENTRIES_MAX} entries") });
            return out;
        }
        let (key, value) = split(&logical);
        match (unescape(key), unescape(value)) {
            (Ok(key), Ok(value)) => out.entries.push(Entry { key, value, line }),
            (Err(what), _) | (_, Err(what)) => out.errors.push(SyntaxError { line, what }),
        }
    }
    out
}

fn decode(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|b| char::from(*b)).collect(),
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

struct Lines<'a> {
    rest: &'a str,
    number: usize,
}

impl<'a> Lines<'a> {
    /// The next line of the text without its end (`\n`, `\r` or both).
    fn next_natural(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        self.number += 1;
        let end = self.rest.find(['\n', '\r']).unwrap_or(self.rest.len());
        let (line, tail) = self.rest.split_at(end);
        self.rest = tail.strip_prefix("\r\n").or_else(|| tail.strip_prefix(['\n', '\r'])).unwrap_or("");
        Some(line)
    }

    /// The next entry: comments and empty lines skipped, continuation lines joined without their leading blanks.
    fn next_logical(&mut self) -> Option<(usize, String)> {
        let first = loop {
            let line = self.next_natural()?.trim_start_matches(is_blank);
            if !line.is_empty() && !line.starts_with(['#', '!']) {
                break line;
            }
        };
        let number = self.number;
        let mut logical = first.to_owned();
        while ends_with_open_backslash(&logical) {
            logical.pop();
            match self.next_natural() {
                // An empty continuation ends the entry.
                Some(line) if !line.trim_start_matches(is_blank).is_empty() => logical.push_str(line.trim_start_matches(is_blank)),
                _ => break,
            }
        }
        Some((number, logical))
    }
}

fn ends_with_open_backslash(line: &str) -> bool {
    line.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1
}

/// Key and value, both still escaped. The key ends at the first `=`, `:` or blank that isn't escaped.
fn split(logical: &str) -> (&str, &str) {
    let mut escaped = false;
    for (at, c) in logical.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if matches!(c, '=' | ':') || is_blank(c) {
            let tail = logical[at..].trim_start_matches(is_blank);
            let value = tail.strip_prefix(['=', ':']).unwrap_or(tail);
            return (&logical[..at], value.trim_start_matches(is_blank));
        }
    }
    (logical, "")
}

fn unescape(raw: &str) -> Result<String, String> {
    if !raw.contains('\\') {
        return Ok(raw.to_owned());
    }
    // UTF-16 units, because \uXXXX may write one character as two of them.
    let mut units: Vec<u16> = Vec::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        let plain = match c {
            '\\' => match chars.next() {
                Some('u') => {
                    units.push(hex_unit(&mut chars)?);
                    continue;
                }
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some(other) => other,
                None => break,
            },
            other => other,
        };
        units.extend_from_slice(plain.encode_utf16(&mut [0; 2]));
    }
    Ok(String::from_utf16_lossy(&units))
}

fn hex_unit(chars: &mut std::str::Chars<'_>) -> Result<u16, String> {
    let mut unit: u16 = 0;
    for _ in 0..4 {
        let digit = chars.next().and_then(|c| c.to_digit(16)).ok_or("\\u must be followed by four hexadecimal digits")?;
        // Four times four bits fill the unit exactly.
        unit = (unit << 4) | digit as u16;
    }
    Ok(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String, usize)> {
        parse(text.as_bytes()).entries.into_iter().map(|e| (e.key, e.value, e.line)).collect()
    }

    fn one(text: &str) -> (String, String) {
        let all = pairs(text);
        assert_eq!(all.len(), 1, "{text:?}");
        (all[0].0.clone(), all[0].1.clone())
    }

    #[test]
    fn separators_are_equals_colon_and_blanks() {
        for text in ["k=v", "k:v", "k v", "k = v", "k\t:  v", " \tk=v", "k\u{c}v"] {
            assert_eq!(one(text), ("k".into(), "v".into()), "{text:?}");
        }
        assert_eq!(one("k = = v"), ("k".into(), "= v".into()));
        assert_eq!(one("k"), ("k".into(), String::new()));
        assert_eq!(one("=v"), (String::new(), "v".into()));
        assert_eq!(one("server.1=a:2888:3888;2181"), ("server.1".into(), "a:2888:3888;2181".into()));
    }

    #[test]
    fn comments_and_empty_lines_keep_the_count_of_lines() {
        let text = "# one\r\n\r\n! two\n  a=1\r\r b=2\n\t# three\\\nc=3";
        assert_eq!(pairs(text), [("a".into(), "1".into(), 4), ("b".into(), "2".into(), 6), ("c".into(), "3".into(), 8)]);
    }

    #[test]
    fn a_backslash_at_the_end_continues_and_an_even_number_does_not() {
        assert_eq!(one("k=a,\\\n   # b,\\\r\n\tc"), ("k".into(), "a,# b,c".into()));
        assert_eq!(pairs("k=a\\\\\nb=2").len(), 2);
        assert_eq!(pairs("k=a\\\n\nb=2"), [("k".into(), "a".into(), 1), ("b".into(), "2".into(), 3)]);
        assert_eq!(one("k=a\\"), ("k".into(), "a".into()));
    }

    #[test]
    fn escapes_are_resolved_in_keys_and_values() {
        assert_eq!(one("a\\ b\\=c=\\t\\n\\r\\f\\q\\\\"), ("a b=c".into(), "\t\n\r\u{c}q\\".into()));
        assert_eq!(one("k=\\u00e4\\uD83D\\uDE00"), ("k".into(), "ä😀".into()));
        assert_eq!(one("k=\\uD83D"), ("k".into(), "\u{fffd}".into()));
    }

    #[test]
    fn a_bad_unicode_escape_names_its_line_and_spoils_nothing_else() {
        let read = parse(b"a=1\nb=\\u12\nc=\\u12g4\nd=4");
        assert_eq!(read.errors.iter().map(|e| e.line).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(read.entries.len(), 2);
    }

    #[test]
    fn bytes_that_are_no_utf8_are_latin1_and_a_mark_is_skipped() {
        assert_eq!(parse(b"k=\xe4").entries[0].value, "ä");
        assert_eq!(parse(b"\xef\xbb\xbfk=1").entries[0].key, "k");
    }

    #[test]
    fn size_and_count_are_bounded() {
        assert_eq!(parse(&vec![b'a'; TEXT_BYTES_MAX + 1]).errors.len(), 1);
        let many = "a=1\n".repeat(ENTRIES_MAX + 10);
        let read = parse(many.as_bytes());
        assert_eq!((read.entries.len(), read.errors.len()), (ENTRIES_MAX, 1));
        assert_eq!(parse("a=1\n".repeat(ENTRIES_MAX).as_bytes()).errors.len(), 0);
    }
}

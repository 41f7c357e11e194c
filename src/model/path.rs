//! Paths of nodes: what a legal one is (ZooKeeper's `PathUtils.validatePath`), and how it splits into parent and name.
//!
//! Paths stay bytes. The forbidden characters are tested per UTF-16 unit in ZooKeeper; here on the UTF-8 bytes as the wire
//! carries them, with surrogates encoded one by one (CESU-8) refused alike.

/// Why a path is not legal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PathError {
    /// Empty, or without the leading slash.
    #[error("doesn't start with a slash")]
    NotAbsolute,
    /// Ends with a slash and isn't the root.
    #[error("ends with a slash")]
    TrailingSlash,
    /// Two slashes in a row.
    #[error("has an empty component")]
    EmptyComponent,
    /// A component `.` or `..`.
    #[error("has a component . or ..")]
    Relative,
    /// A control, surrogate, private-use or special character, or bytes that are no UTF-8.
    #[error("has a forbidden character")]
    ForbiddenCharacter,
}

/// The full check (create after the sequence number is appended, setData, setACL, check).
///
/// # Errors
/// What is wrong with it first.
pub fn validate(path: &[u8]) -> Result<(), PathError> {
    if path.first() != Some(&b'/') {
        return Err(PathError::NotAbsolute);
    }
    if path.len() == 1 {
        return Ok(());
    }
    if path.last() == Some(&b'/') {
        return Err(PathError::TrailingSlash);
    }
    for component in path[1..].split(|b| *b == b'/') {
        match component {
            b"" => return Err(PathError::EmptyComponent),
            b"." | b".." => return Err(PathError::Relative),
            _ => {}
        }
    }
    if has_forbidden_character(path) { Err(PathError::ForbiddenCharacter) } else { Ok(()) }
}

/// Printable ASCII is the common case and needs no decoding.
fn has_forbidden_character(path: &[u8]) -> bool {
    if path.iter().all(|b| (0x20..0x7f).contains(b)) {
        return false;
    }
    // Decoding also refuses surrogates and broken sequences; a character above U+FFFF is a pair of surrogates in UTF-16.
    match std::str::from_utf8(path) {
        Ok(text) => text.chars().any(is_forbidden),
        Err(_) => true,
    }
}

fn is_forbidden(c: char) -> bool {
    matches!(u32::from(c), 0..=0x1f | 0x7f..=0x9f | 0xd800..=0xf8ff | 0xfff0..=0xffff | 0x1_0000..)
}

/// The parent of a path as text arithmetic: everything before the last slash, and `/` for a child of the root.
/// `None` without a slash. The root's parent is the root (ZooKeeper's alias of it is the empty path).
#[must_use]
pub fn parent(path: &[u8]) -> Option<&[u8]> {
    let slash = path.iter().rposition(|b| *b == b'/')?;
    Some(if slash == 0 { b"/" } else { &path[..slash] })
}

/// The last component; empty for the root.
#[must_use]
pub fn name(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|b| *b == b'/') {
        Some(slash) => &path[slash + 1..],
        None => path,
    }
}

/// Whether `path` is `ancestor` or lies below it.
#[must_use]
pub fn is_at_or_below(path: &[u8], ancestor: &[u8]) -> bool {
    ancestor == b"/" || path.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_and_illegal_paths() {
        for good in ["/", "/a", "/a/b.c", "/a/...", "/ä/ö"] {
            assert_eq!(validate(good.as_bytes()), Ok(()), "{good}");
        }
        let bad: [(&[u8], PathError); 9] = [
            (b"", PathError::NotAbsolute),
            (b"a", PathError::NotAbsolute),
            (b"/a/", PathError::TrailingSlash),
            (b"//a", PathError::EmptyComponent),
            (b"/a/../b", PathError::Relative),
            (b"/a\0", PathError::ForbiddenCharacter),
            (b"/\x7f", PathError::ForbiddenCharacter),
            (b"/\xff", PathError::ForbiddenCharacter),
            ("/\u{1f600}".as_bytes(), PathError::ForbiddenCharacter),
        ];
        for (path, error) in bad {
            assert_eq!(validate(path), Err(error), "{path:?}");
        }
    }

    #[test]
    fn splitting() {
        assert_eq!(parent(b"/a/b"), Some(&b"/a"[..]));
        assert_eq!(parent(b"/a"), Some(&b"/"[..]));
        assert_eq!(parent(b"a"), None);
        assert_eq!(name(b"/a/b"), b"b");
        assert!(is_at_or_below(b"/a/b", b"/a") && !is_at_or_below(b"/ab", b"/a"));
    }
}

//! Which values a key accepts, and how they are read.
//!
//! Every value is trimmed first. Whole numbers may also be written as `0x…`, as Java reads system properties.

use crate::server::words::WordSet;

/// Kind of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Any text.
    Text,
    /// A text that isn't empty: a directory, a host, a name.
    Name,
    /// A whole number in a range.
    Int {
        /// Lowest.
        min: i64,
        /// Highest.
        max: i64,
    },
    /// A number with a fraction.
    Decimal,
    /// `true` or `false`, in any case.
    Bool,
    /// Compared literally, as ZooKeeper does: off only if exactly `no`.
    OffIfNo,
    /// Compared literally: on only if exactly `yes`.
    OnIfYes,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// Four-letter words with commas between them, or `*`.
    Words,
    /// Numbers of processor cores with commas between them; `2-5` is a range.
    Cores,
    /// `user:base64` of a digest.
    Digest,
    /// One member of an ensemble.
    Server,
    /// Numbers of servers with colons between them.
    Group,
    /// A whole number in hexadecimal digits.
    Hex,
}

/// Highest number of a core that is accepted.
pub const CORE_MAX: usize = 4095;

impl Kind {
    /// Any number of a Java `int` that isn't negative.
    pub const COUNT: Kind = Kind::Int { min: 0, max: i32::MAX as i64 };
    /// Any Java `int`.
    pub const INT: Kind = Kind::Int { min: i32::MIN as i64, max: i32::MAX as i64 };
    /// A Java `int` of which -1 means "off" or "not set".
    pub const OR_MINUS_ONE: Kind = Kind::Int { min: -1, max: i32::MAX as i64 };
    /// Any Java `long` that isn't negative.
    pub const LONG: Kind = Kind::Int { min: 0, max: i64::MAX };
    /// A TCP port, 0 for a free one.
    pub const PORT: Kind = Kind::Int { min: 0, max: 65_535 };

    /// What is accepted, for messages and documentation.
    #[must_use]
    pub fn accepted(self) -> String {
        match self {
            Kind::Text => "any text".into(),
            Kind::Name => "a text that is not empty".into(),
            Kind::Int { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Decimal => "a number".into(),
            Kind::Bool => "true or false".into(),
            Kind::OffIfNo | Kind::OnIfYes => "yes or no".into(),
            Kind::Choice(texts) => texts.join(" or "),
            Kind::Words => "four-letter words with commas between them, or *".into(),
            Kind::Cores => format!("numbers of cores from 0 to {CORE_MAX} with commas between them, or ranges as 2-5"),
            Kind::Digest => "user:base64 of the SHA-1 of user:password".into(),
            Kind::Server => "host:quorumPort:electionPort[:participant|observer][;[clientHost:]clientPort]".into(),
            Kind::Group => "numbers of servers from 1 to 255 with : between them".into(),
            Kind::Hex => "hexadecimal digits".into(),
        }
    }

    /// Whether `value` (trimmed) is accepted.
    #[must_use]
    pub fn accepts(self, value: &str) -> bool {
        match self {
            Kind::Text | Kind::OffIfNo | Kind::OnIfYes | Kind::Words => true,
            Kind::Name => !value.is_empty(),
            Kind::Int { min, max } => int(value).is_some_and(|n| (min..=max).contains(&n)),
            Kind::Decimal => value.parse::<f64>().is_ok_and(f64::is_finite),
            Kind::Bool => boolean(value).is_some(),
            Kind::Choice(texts) => texts.contains(&value),
            Kind::Cores => cores(value).is_some(),
            Kind::Digest => is_digest(value),
            Kind::Server => super::server_line::parse(value).is_some(),
            Kind::Group => group(value).is_some(),
            Kind::Hex => hex(value).is_some(),
        }
    }
}

/// A whole number, decimal or after `0x`.
#[must_use]
pub fn int(value: &str) -> Option<i64> {
    let (negative, digits) = match value.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, value.strip_prefix('+').unwrap_or(value)),
    };
    let hex = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let (digits, radix) = hex.map_or((digits, 10), |hex| (hex, 16));
    if digits.is_empty() || !digits.bytes().all(|b| char::from(b).is_digit(radix)) {
        return None;
    }
    let magnitude = i128::from_str_radix(digits, radix).ok()?;
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

/// `true` or `false` in any case.
#[must_use]
pub fn boolean(value: &str) -> Option<bool> {
    match value {
        _ if value.eq_ignore_ascii_case("true") => Some(true),
        _ if value.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// Numbers of cores without duplicates, in the order given. `None` when the text is no such list.
#[must_use]
pub fn cores(value: &str) -> Option<Vec<usize>> {
    let mut out = Vec::new();
    for part in value.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (core(first)?, core(last)?);
        if first > last {
            return None;
        }
        for number in first..=last {
            if !out.contains(&number) {
                out.push(number);
            }
        }
    }
    Some(out)
}

/// The number of a server: 1 to 255, in plain digits.
#[must_use]
pub fn server_id(text: &str) -> Option<u8> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|id| digits && *id > 0)
}

/// The servers of a group.
#[must_use]
pub fn group(value: &str) -> Option<Vec<u8>> {
    value.split(':').map(|id| server_id(id.trim())).collect()
}

/// A number in hexadecimal digits that a Java `long` holds and that isn't negative.
#[must_use]
pub fn hex(value: &str) -> Option<u64> {
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_hexdigit());
    u64::from_str_radix(value, 16).ok().filter(|n| digits && i64::try_from(*n).is_ok())
}

fn core(text: &str) -> Option<usize> {
    text.trim().parse::<usize>().ok().filter(|number| *number <= CORE_MAX)
}

fn is_digest(value: &str) -> bool {
    use base64::Engine;
    let Some((user, hash)) = value.split_once(':') else { return false };
    let decoded = base64::engine::general_purpose::STANDARD.decode(hash);
    // SHA-1 gives 20 bytes.
    !user.is_empty() && decoded.is_ok_and(|bytes| bytes.len() == 20)
}

/// The words of a whitelist, and those names in it that are no words.
#[must_use]
pub fn words(value: &str) -> (WordSet, Vec<String>) {
    let mut set = WordSet::EMPTY;
    let mut unknown = Vec::new();
    for name in value.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        match crate::server::words::Word::from_name(name) {
            Some(word) => set = set.with(word),
            None if name == "*" => set = WordSet::ALL,
            None => unknown.push(name.to_owned()),
        }
    }
    (set, unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal_or_hexadecimal_and_never_wrap() {
        assert_eq!(int("4096"), Some(4096));
        assert_eq!(int("0xfffff"), Some(1_048_575));
        assert_eq!(int("-1"), Some(-1));
        assert_eq!(int("+7"), Some(7));
        assert_eq!(int("-9223372036854775808"), Some(i64::MIN));
        for bad in ["", "-", "0x", "1k", "9223372036854775808", "--1", "-+1", "1 2", "٣", "1e3", &"9".repeat(200)] {
            assert_eq!(int(bad), None, "{bad}");
        }
    }

    #[test]
    fn core_lists_take_numbers_and_ranges() {
        assert_eq!(cores("0, 2-4,3,9"), Some(vec![0, 2, 3, 4, 9]));
        for bad in ["", "a", "3-1", "1,,2", "4096", "1-", "0-99999999999999999999"] {
            assert_eq!(cores(bad), None, "{bad}");
        }
    }

    #[test]
    fn server_numbers_groups_and_versions_are_plain_digits() {
        assert_eq!((server_id("1"), server_id("255"), server_id("007")), (Some(1), Some(255), Some(7)));
        for bad in ["", "0", "256", "-1", "+1", "one", "1 "] {
            assert_eq!(server_id(bad), None, "{bad}");
        }
        assert_eq!(group("1: 2:255"), Some(vec![1, 2, 255]));
        assert_eq!([group(""), group("1:"), group("1,2"), group("0")], [None, None, None, None]);
        assert_eq!((hex("100000000"), hex("7fffffffffffffff")), (Some(1 << 32), Some(i64::MAX as u64)));
        assert_eq!([hex(""), hex("0x1"), hex("-1"), hex("8000000000000000"), hex("g")], [None; 5]);
    }

    #[test]
    fn ranges_are_inclusive() {
        assert!(Kind::PORT.accepts("0") && Kind::PORT.accepts("65535"));
        assert!(!Kind::PORT.accepts("65536") && !Kind::PORT.accepts("-1"));
        assert!(Kind::OR_MINUS_ONE.accepts("-1") && !Kind::OR_MINUS_ONE.accepts("-2"));
    }

    #[test]
    fn a_digest_has_a_user_and_twenty_bytes() {
        assert!(Kind::Digest.accepts("super:D/InIHSb7yEEbrWz8b9l71RjZJU="));
        for bad in ["super", "super:", ":D/InIHSb7yEEbrWz8b9l71RjZJU=", "super:plain-password", "super:AAAA"] {
            assert!(!Kind::Digest.accepts(bad), "{bad}");
        }
    }
}

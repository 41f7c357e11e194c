//! Access control: permissions, identities, ACL lists, and the one decision "may these identities do that".
//!
//! A list is kept in the form in which clients send it (count, then `int perms, str scheme, str id` each, big-endian lengths),
//! so it is stored, interned and sent back without another encoding. [`AclList`] only exists over bytes that were checked.
//! Turning credentials into identities is `auth`'s, expanding `auth` entries and refusing unknown schemes too.

/// Permission bits.
pub mod perms {
    /// Read data, list children.
    pub const READ: i32 = 1;
    /// Set data.
    pub const WRITE: i32 = 2;
    /// Create children.
    pub const CREATE: i32 = 4;
    /// Delete children.
    pub const DELETE: i32 = 8;
    /// Set the ACL.
    pub const ADMIN: i32 = 16;
    /// All of them.
    pub const ALL: i32 = 31;
}

/// Somebody: who a connection is known as, or whom an ACL entry names.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Identity {
    /// `world`, `ip`, `digest`, `super`, …
    pub scheme: Vec<u8>,
    /// In the scheme's own form.
    pub id: Vec<u8>,
}

/// One entry of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AclEntry<'a> {
    /// Bits of [`perms`].
    pub perms: i32,
    /// Scheme of the one it names.
    pub scheme: &'a [u8],
    /// The one it names.
    pub id: &'a [u8],
}

/// A list in wire form, checked: every length in it is true.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AclList<'a>(&'a [u8]);

/// `world:anyone` with all permissions, in wire form.
pub const OPEN_UNSAFE: &[u8] = b"\0\0\0\x01\0\0\0\x1f\0\0\0\x05world\0\0\0\x06anyone";
/// `world:anyone` with READ, in wire form.
pub const READ_UNSAFE: &[u8] = b"\0\0\0\x01\0\0\0\x01\0\0\0\x05world\0\0\0\x06anyone";

impl<'a> AclList<'a> {
    /// Checks `bytes`: the count is not negative, every entry is whole, nothing follows. Null strings count as empty.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<AclList<'a>> {
        let (count, mut rest) = take_i32(bytes)?;
        // Each entry needs 12 bytes at least, so a count that lies is refused before it is believed.
        let count = usize::try_from(count).ok().filter(|c| *c <= rest.len() / 12)?;
        for _ in 0..count {
            (_, rest) = take_entry(rest)?;
        }
        rest.is_empty().then_some(AclList(bytes))
    }

    /// Bytes that [`AclList::parse`] accepted before; walking a long list anew for every question costs more than the question.
    #[must_use]
    pub fn of_checked(bytes: &'a [u8]) -> AclList<'a> {
        AclList(bytes)
    }

    /// The bytes, as stored and as sent.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Number of entries.
    #[must_use]
    pub fn count(self) -> usize {
        take_i32(self.0).map_or(0, |(count, _)| usize::try_from(count).unwrap_or(0))
    }

    /// The entries in order.
    pub fn entries(self) -> impl Iterator<Item = AclEntry<'a>> {
        let mut rest = self.0.get(4..).unwrap_or_default();
        std::iter::from_fn(move || {
            let (entry, after) = take_entry(rest)?;
            rest = after;
            Some(entry)
        })
    }
}

/// Encodes entries as a list.
#[must_use]
pub fn encode<'a>(entries: impl IntoIterator<Item = AclEntry<'a>>) -> Vec<u8> {
    let mut out = vec![0; 4];
    let mut count = 0i32;
    for entry in entries {
        count += 1;
        out.extend_from_slice(&entry.perms.to_be_bytes());
        for text in [entry.scheme, entry.id] {
            out.extend_from_slice(&u32::try_from(text.len()).expect("a string of a frame is shorter than 4 GiB").to_be_bytes());
            out.extend_from_slice(text);
        }
    }
    out[..4].copy_from_slice(&count.to_be_bytes());
    out
}

fn take_i32(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    Some((i32::from_be_bytes(*head), rest))
}

fn take_text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = take_i32(bytes)?;
    if len == -1 {
        return Some((&[], rest));
    }
    rest.split_at_checked(usize::try_from(len).ok()?)
}

fn take_entry(bytes: &[u8]) -> Option<(AclEntry<'_>, &[u8])> {
    let (perms, rest) = take_i32(bytes)?;
    let (scheme, rest) = take_text(rest)?;
    let (id, rest) = take_text(rest)?;
    Some((AclEntry { perms, scheme, id }, rest))
}

/// Whether one of `identities` may do one of the things in `wanted` (an OR over bits, as ZooKeeper has it).
///
/// An empty list permits; scheme `super` passes always. `ip` entries match by prefix, every other scheme by equality.
#[must_use]
pub fn permits(list: AclList<'_>, wanted: i32, identities: &[Identity]) -> bool {
    if list.count() == 0 || identities.iter().any(|i| i.scheme == b"super") {
        return true;
    }
    list.entries().filter(|e| e.perms & wanted != 0).any(|entry| {
        (entry.scheme == b"world" && entry.id == b"anyone")
            || identities.iter().any(|who| who.scheme == entry.scheme && matches_id(entry.scheme, &who.id, entry.id))
    })
}

fn matches_id(scheme: &[u8], who: &[u8], entry: &[u8]) -> bool {
    if scheme == b"ip" { ip_matches(who, entry) } else { who == entry }
}

/// Whether the address `who` lies in `entry`, an address with an optional `/bits`; both of one family.
fn ip_matches(who: &[u8], entry: &[u8]) -> bool {
    let (Some((who, who_width)), Some((address, width, bits))) = (ip_address(who), ip_network(entry)) else { return false };
    // A difference in the first `bits` of `width` bits; shifting by all 128 gives none.
    let differing = (who ^ address).checked_shr(width - bits).unwrap_or(0);
    who_width == width && differing == 0
}

/// An `ip` id of an ACL: address, its width in bits (32 or 128), and how many of them count. `None` if it isn't valid
/// (source: ZooKeeper's `IPAuthenticationProvider.isValid`).
#[must_use]
pub fn ip_network(id: &[u8]) -> Option<(u128, u32, u32)> {
    let (address, bits) = match id.iter().position(|b| *b == b'/') {
        Some(slash) => (&id[..slash], Some(&id[slash + 1..])),
        None => (id, None),
    };
    let (address, width) = ip_address(address)?;
    let bits = match bits {
        Some(text) => u32::try_from(std::str::from_utf8(text).ok()?.parse::<i32>().ok()?).ok()?,
        None => width,
    };
    (bits <= width).then_some((address, width, bits))
}

fn ip_address(text: &[u8]) -> Option<(u128, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    if text.contains(':') {
        // ZooKeeper knows no IPv4 tail in an IPv6 address.
        let address = text.parse::<std::net::Ipv6Addr>().ok().filter(|_| !text.contains('.'))?;
        return Some((u128::from(address), 128));
    }
    let mut address = 0u128;
    let mut parts = 0;
    for part in text.split('.') {
        // Leading zeros are allowed, unlike in the parser of the standard library.
        address = (address << 8) | u128::from(u8::try_from(part.parse::<i32>().ok()?).ok()?);
        parts += 1;
        if parts > 4 {
            return None;
        }
    }
    (parts == 4).then_some((address, 32))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(scheme: &str, id: &str) -> Identity {
        Identity { scheme: scheme.into(), id: id.into() }
    }

    #[test]
    fn lists_round_trip_and_lies_are_refused() {
        let list = AclList::parse(OPEN_UNSAFE).expect("a good list");
        assert_eq!(encode(list.entries()), OPEN_UNSAFE);
        assert_eq!(AclList::parse(b"\x7f\xff\xff\xff"), None);
        assert_eq!(AclList::parse(&OPEN_UNSAFE[..OPEN_UNSAFE.len() - 1]), None);
        assert_eq!(AclList::parse(b"\xff\xff\xff\xff"), None);
        let trailing = [OPEN_UNSAFE, b"x"].concat();
        assert_eq!(AclList::parse(&trailing), None);
    }

    #[test]
    fn permission_is_an_or_over_bits_and_schemes() {
        let bytes = encode([
            AclEntry { perms: perms::READ, scheme: b"digest", id: b"u:h" },
            AclEntry { perms: perms::WRITE, scheme: b"ip", id: b"10.1.0.0/16" },
        ]);
        let list = AclList::parse(&bytes).unwrap();
        assert!(permits(list, perms::READ | perms::ADMIN, &[id("digest", "u:h")]));
        assert!(!permits(list, perms::WRITE, &[id("digest", "u:h")]));
        assert!(permits(list, perms::WRITE, &[id("ip", "10.1.2.3")]));
        assert!(!permits(list, perms::WRITE, &[id("ip", "10.2.2.3")]));
        assert!(permits(list, perms::ADMIN, &[id("super", "")]));
        for (who, entry, matches) in [
            ("10.1.2.3", "010.1.2.3", true),
            ("10.1.2.3", "0.0.0.0/0", true),
            ("10.1.2.3", "10.1.2.2/31", true),
            ("10.1.2.3", "::/0", false),
            ("fe80::1", "fe80::/10", true),
            ("2001:db8::1", "2001:DB8:0:0:0:0:0:1", true),
            ("2001:db8::1", "::/0", true),
            ("2001:db8::1", "2001:db8::2", false),
        ] {
            assert_eq!(ip_matches(who.as_bytes(), entry.as_bytes()), matches, "{who} in {entry}");
        }
        assert!(permits(AclList::parse(b"\0\0\0\0").unwrap(), perms::ADMIN, &[]));
    }
}

//! ACL lists as clients send them become lists as they are kept: `auth` entries replaced by who the connection is, duplicates
//! dropped (those sent; `auth` may expand to one that stands there already, as in ZooKeeper), everything else valid or refused. And what clients are shown of lists and of themselves.

use super::AuthOptions;
use crate::base::limits::FRAME_BYTES_DEFAULT;
use crate::model::acl::{AclEntry, AclList, Identity, encode, ip_network};
use crate::model::error_code::ErrorCode;
use crate::mutant;

/// Entries of one list as sent; comparing each with each must stay cheap.
const ENTRIES_MAX: usize = 4096;
/// Bytes that expanding `auth` may add to a list: entries times identities would have no bound of their own.
const EXPANDED_BYTES_MAX: usize = FRAME_BYTES_DEFAULT;

/// The list that create and setACL keep, appended to `out` in wire form.
///
/// # Errors
/// [`ErrorCode::InvalidAcl`]: null, empty, an unknown scheme, an id that isn't valid in its scheme, or `auth` without identity.
pub fn resolve_acl(list: Option<&[u8]>, identities: &[Identity], options: &AuthOptions, out: &mut Vec<u8>) -> Result<(), ErrorCode> {
    let list = list.and_then(AclList::parse).ok_or(ErrorCode::InvalidAcl)?;
    if list.count() == 0 || list.count() > ENTRIES_MAX {
        return Err(ErrorCode::InvalidAcl);
    }
    let mut unique: Vec<AclEntry<'_>> = Vec::with_capacity(list.count());
    for entry in list.entries() {
        if !unique.contains(&entry) {
            unique.push(entry);
        }
    }
    let mut kept: Vec<AclEntry<'_>> = Vec::with_capacity(unique.len());
    let mut expanded_bytes = 0usize;
    for entry in unique {
        if entry.scheme == b"auth" {
            let kept_before = kept.len();
            for who in identities.iter().filter(|i| proves_identity(&i.scheme)) {
                expanded_bytes = expanded_bytes.saturating_add(12 + who.scheme.len() + who.id.len());
                if expanded_bytes > EXPANDED_BYTES_MAX {
                    return Err(ErrorCode::InvalidAcl);
                }
                kept.push(AclEntry { perms: entry.perms, scheme: &who.scheme, id: &who.id });
            }
            if kept.len() == kept_before {
                return Err(ErrorCode::InvalidAcl);
            }
        } else if is_valid(&entry, options) || mutant!("auth-any-id-is-valid") {
            kept.push(entry);
        } else {
            return Err(ErrorCode::InvalidAcl);
        }
    }
    out.extend_from_slice(&encode(kept));
    Ok(())
}

/// Only proven identities stand for a connection in an ACL: its address and `super` don't.
fn proves_identity(scheme: &[u8]) -> bool {
    scheme == b"digest"
}

/// Whether an id can be named in its scheme (the providers' `isValid`).
fn is_valid(entry: &AclEntry<'_>, options: &AuthOptions) -> bool {
    match entry.scheme {
        b"world" => entry.id == b"anyone",
        b"digest" => options.digest_enabled && java_split(entry.id, b':') == 2,
        b"ip" => ip_network(entry.id).is_some(),
        _ => false,
    }
}

/// Number of parts of Java's `String.split`, which drops empty ones at the end.
fn java_split(text: &[u8], at: u8) -> usize {
    let parts: Vec<&[u8]> = text.split(|b| *b == at).collect();
    parts.iter().rposition(|p| !p.is_empty()).map_or(0, |last| last + 1)
}

/// A list as somebody without ADMIN sees it: hashes of passwords replaced (T17).
#[must_use]
pub fn masked_acl(list: AclList<'_>) -> Vec<u8> {
    let mut masked = Vec::new();
    let ids: Vec<Vec<u8>> = list.entries().map(|e| if e.scheme == b"digest" { mask(e.id) } else { e.id.to_vec() }).collect();
    masked.extend(list.entries().zip(&ids).map(|(e, id)| AclEntry { id, ..e }));
    encode(masked)
}

fn mask(id: &[u8]) -> Vec<u8> {
    let user = id.split(|b| *b == b':').next().unwrap_or_default();
    [user, b":x"].concat()
}

/// Who a connection is, as whoAmI tells it: scheme and user, for digest without the hash (T52).
#[must_use]
pub fn who_am_i(identities: &[Identity]) -> Vec<Identity> {
    let user = |i: &Identity| match i.scheme.as_slice() {
        b"digest" => i.id.split(|b| *b == b':').next().unwrap_or_default().to_vec(),
        _ => i.id.clone(),
    };
    // ZooKeeper's order is that of a hash set; what the client proved comes first here, its address last.
    let (address, proven): (Vec<_>, Vec<_>) = identities.iter().partition(|i| i.scheme == b"ip");
    proven.into_iter().chain(address).map(|i| Identity { scheme: i.scheme.clone(), id: user(i) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::acl::perms;

    fn options() -> AuthOptions {
        AuthOptions { digest_enabled: true, super_digest: None, ensemble_names: Vec::new() }
    }

    fn entry(scheme: &'static str, id: &'static str) -> AclEntry<'static> {
        AclEntry { perms: perms::ALL, scheme: scheme.as_bytes(), id: id.as_bytes() }
    }

    fn resolve(entries: &[AclEntry<'_>], identities: &[Identity]) -> Result<Vec<u8>, ErrorCode> {
        let mut out = Vec::new();
        resolve_acl(Some(&encode(entries.iter().copied())), identities, &options(), &mut out).map(|()| out)
    }

    #[test]
    fn valid_and_invalid_ids() {
        for (scheme, id) in [
            ("world", "anyone"),
            ("digest", "u:h"),
            ("ip", "10.0.0.1"),
            ("ip", "10.0.0.0/8"),
            ("ip", "1.2.3.4/0"),
            ("ip", "::1"),
            ("ip", "fe80::/10"),
            ("digest", "u:h:"),
            ("digest", ":h"),
        ] {
            assert!(resolve(&[entry(scheme, id)], &[]).is_ok(), "{scheme}:{id}");
        }
        let bad = [
            ("world", "all"),
            ("digest", "u"),
            ("digest", "u:h:x"),
            ("digest", "u:"),
            ("ip", "10.0.0"),
            ("ip", "1.2.3.4/33"),
            ("super", ""),
            ("x", "y"),
            ("ip", "1::2::3"),
            ("ip", "::1/129"),
            ("ip", "localhost"),
            ("ensemble", "east"),
        ];
        for (scheme, id) in bad {
            assert_eq!(resolve(&[entry(scheme, id)], &[]), Err(ErrorCode::InvalidAcl), "{scheme}:{id}");
        }
        assert_eq!(resolve(&[], &[]), Err(ErrorCode::InvalidAcl));
        assert_eq!(resolve_acl(None, &[], &options(), &mut Vec::new()), Err(ErrorCode::InvalidAcl));
    }

    #[test]
    fn auth_stands_for_who_the_connection_is() {
        let digest = |id: &str| Identity { scheme: b"digest".to_vec(), id: id.into() };
        let ip = Identity { scheme: b"ip".to_vec(), id: b"1.2.3.4".to_vec() };
        assert_eq!(resolve(&[entry("auth", "")], std::slice::from_ref(&ip)), Err(ErrorCode::InvalidAcl));
        let sent = [entry("auth", ""), entry("digest", "a:1"), entry("auth", ""), entry("digest", "a:1")];
        let kept = resolve(&sent, &[ip, digest("a:1"), digest("b:2")]).unwrap();
        assert_eq!(kept, encode([entry("digest", "a:1"), entry("digest", "b:2"), entry("digest", "a:1")]));
        let huge = digest(&"x".repeat(EXPANDED_BYTES_MAX));
        assert_eq!(resolve(&[entry("auth", "")], &[huge]), Err(ErrorCode::InvalidAcl));
    }

    #[test]
    fn hashes_are_hidden() {
        let list = encode([entry("digest", "u:secret"), entry("ip", "1.2.3.4")]);
        assert_eq!(masked_acl(AclList::parse(&list).unwrap()), encode([entry("digest", "u:x"), entry("ip", "1.2.3.4")]));
        let me = who_am_i(&[Identity { scheme: b"digest".to_vec(), id: b"u:secret".to_vec() }]);
        assert_eq!(me[0].id, b"u");
    }
}

//! Credentials become identities, and ACL lists that clients send become the lists that are kept.
//!
//! Guarantees: a failed authentication adds nothing; a list is kept only if every entry names a known scheme and a valid id.
//! Sources: ZooKeeper's authentication providers and `PrepRequestProcessor.fixupACL`. Leaves to others: the decision what an
//! identity may do ([`crate::model::acl::permits`]). SASL and x509 aren't built.

mod resolve;

pub use resolve::{masked_acl, resolve_acl, who_am_i};

use crate::model::acl::Identity;
use crate::mutant;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// Identities of one connection; more are refused, since each is compared on every check.
const IDENTITIES_MAX: usize = 64;

/// Bytes of all identities of one connection; more are refused, since a learner forwards them with each write.
const IDENTITY_BYTES_MAX: usize = 64 << 10;

/// How credentials are judged.
#[derive(Clone, Debug)]
pub struct AuthOptions {
    /// Whether the scheme digest is offered.
    pub digest_enabled: bool,
    /// `user:base64(sha1(user:password))` of the super user.
    pub super_digest: Option<Vec<u8>>,
    /// Names that the scheme ensemble accepts; empty accepts any.
    pub ensemble_names: Vec<String>,
}

/// How an authentication went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The identities, if any, were added.
    Accepted,
    /// Nothing was added; the connection ends.
    Failed,
    /// Nothing was added; the connection ends without an answer, so that the client tries another server. To be told of a failure would
    /// be the end of its session with all of them.
    HangUp,
}

/// Judges credentials of a client and adds who it then is to `identities`.
pub fn authenticate(scheme: &[u8], credentials: &[u8], options: &AuthOptions, identities: &mut Vec<Identity>) -> Outcome {
    let bytes = identities.iter().map(|i| i.id.len()).sum::<usize>() + credentials.len();
    if identities.len() >= IDENTITIES_MAX || bytes > IDENTITY_BYTES_MAX {
        return Outcome::Failed;
    }
    match scheme {
        b"digest" if options.digest_enabled => digest(credentials, options, identities),
        // The address is known since the accept; asking for it again changes nothing.
        b"ip" => Outcome::Accepted,
        b"ensemble" => ensemble(credentials, options),
        _ => Outcome::Failed,
    }
}

fn digest(credentials: &[u8], options: &AuthOptions, identities: &mut Vec<Identity>) -> Outcome {
    let id = digest_id(credentials);
    if options.super_digest.as_ref().is_some_and(|digest| *digest == id) || mutant!("auth-everybody-is-super") {
        add(identities, b"super", Vec::new());
    }
    add(identities, b"digest", id);
    Outcome::Accepted
}

fn add(identities: &mut Vec<Identity>, scheme: &[u8], id: Vec<u8>) {
    let identity = Identity { scheme: scheme.to_vec(), id };
    if !identities.contains(&identity) {
        identities.push(identity);
    }
}

/// `user:base64(sha1(user:password))`; the user is what stands before the first colon, the hash is over all of it. Bytes that
/// are no UTF-8 count as U+FFFD, as in ZooKeeper, which decodes the token first.
#[must_use]
pub fn digest_id(credentials: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(credentials);
    let credentials = text.as_bytes();
    let user = credentials.split(|b| *b == b':').next().unwrap_or_default();
    let mut id = user.to_vec();
    id.push(b':');
    id.extend_from_slice(STANDARD.encode(Sha1::digest(credentials)).as_bytes());
    id
}

/// A client may state which ensemble it believes to talk to; a wrong name ends the connection
/// (ZooKeeper: `EnsembleAuthenticationProvider`).
fn ensemble(name: &[u8], options: &AuthOptions) -> Outcome {
    let known = options.ensemble_names.is_empty() || name.is_empty() || options.ensemble_names.iter().any(|n| n.as_bytes() == name);
    if known { Outcome::Accepted } else { Outcome::HangUp }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> AuthOptions {
        AuthOptions { digest_enabled: true, super_digest: Some(digest_id(b"root:pw")), ensemble_names: vec!["east".into()] }
    }

    #[test]
    fn the_digest_is_that_of_zookeeper() {
        // The example of ZooKeeper's administrator's guide for `super:test`.
        assert_eq!(digest_id(b"super:test"), b"super:D/InIHSb7yEEbrWz8b9l71RjZJU=");
        assert!(digest_id(b"a:b:c").starts_with(b"a:"));
    }

    #[test]
    fn credentials_add_identities_once() {
        let mut who = Vec::new();
        for _ in 0..2 {
            assert_eq!(authenticate(b"digest", b"root:pw", &options(), &mut who), Outcome::Accepted);
        }
        assert_eq!(who.iter().map(|i| i.scheme.as_slice()).collect::<Vec<_>>(), [&b"super"[..], b"digest"]);
        let mut plain = Vec::new();
        authenticate(b"digest", b"root:other", &options(), &mut plain);
        assert_eq!(plain.len(), 1);
    }

    #[test]
    fn unknown_schemes_fail_and_wrong_names_get_no_answer_and_neither_adds_anything() {
        let mut who = Vec::new();
        for (scheme, credentials) in [(&b"nosuch"[..], &b"x"[..]), (b"world", b"anyone"), (b"super", b"")] {
            assert_eq!(authenticate(scheme, credentials, &options(), &mut who), Outcome::Failed, "{scheme:?}");
        }
        let off = AuthOptions { digest_enabled: false, ..options() };
        assert_eq!(authenticate(b"digest", b"a:b", &off, &mut who), Outcome::Failed);
        assert_eq!(authenticate(b"ensemble", b"west", &options(), &mut who), Outcome::HangUp);
        assert_eq!(authenticate(b"ensemble", b"east", &options(), &mut who), Outcome::Accepted);
        assert_eq!(authenticate(b"ensemble", b"", &options(), &mut who), Outcome::Accepted, "no name is no wrong one");
        assert!(who.is_empty());
    }

    #[test]
    fn a_connection_has_a_bounded_number_of_identities() {
        let mut who = Vec::new();
        for n in 0..IDENTITIES_MAX {
            authenticate(b"digest", format!("u{n}:x").as_bytes(), &options(), &mut who);
        }
        assert_eq!(authenticate(b"digest", b"one:more", &options(), &mut who), Outcome::Failed);
    }
}

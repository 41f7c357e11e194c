//! The one checksum for wire, log and snapshot: XXH3 with 64 bits.
//!
//! It detects rot and torn or misdirected blocks; it is no protection against an attacker.

/// Checksum of `bytes`.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}

/// Checksum of `head` and `body` that needs no copy of either: the sum of the first is the seed of the second.
#[must_use]
pub fn checksum_of_two(head: &[u8], body: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(body, checksum(head))
}

/// Hash of a key of a table, seeded by the host so that a client can't build colliding paths.
#[must_use]
pub fn seeded_hash(seed: u64, bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(bytes, seed)
}

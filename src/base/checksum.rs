//! The one checksum for wire, log and snapshot: XXH3 with 64 bits.
//!
//! It detects rot and torn or misdirected blocks; it is no protection against an attacker.

/// Checksum of `bytes`.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}

/// Hash of a key of a table, seeded by the host so that a client can't build colliding paths.
#[must_use]
pub fn seeded_hash(seed: u64, bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(bytes, seed)
}

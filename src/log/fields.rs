//! Little-endian numbers at fixed places of a block, for the headers and sectors of the log.
//!
//! Also the one sentence by which a newer format is told from damage.
//!
//! Reading past the end gives zeros, writing past the end is a defect of ours: all layouts are constants of this module's users.

/// Writes `value` at byte `at`.
pub(super) fn put_u8(block: &mut [u8], at: usize, value: u8) {
    block[at] = value;
}

/// Writes `value` at byte `at`.
pub(super) fn put_u32(block: &mut [u8], at: usize, value: u32) {
    block[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Writes `value` at byte `at`.
pub(super) fn put_u64(block: &mut [u8], at: usize, value: u64) {
    block[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// Writes `value` at byte `at`.
pub(super) fn put_u128(block: &mut [u8], at: usize, value: u128) {
    block[at..at + 16].copy_from_slice(&value.to_le_bytes());
}

/// `N` bytes at `at`, zeros where `block` ends.
pub(super) fn get<const N: usize>(block: &[u8], at: usize) -> [u8; N] {
    block.get(at..).and_then(|rest| rest.first_chunk::<N>()).copied().unwrap_or([0; N])
}

/// The number at byte `at`.
pub(super) fn get_u8(block: &[u8], at: usize) -> u8 {
    get::<1>(block, at)[0]
}

/// The number at byte `at`.
pub(super) fn get_u32(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(get(block, at))
}

/// The number at byte `at`.
pub(super) fn get_u64(block: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(get(block, at))
}

/// The number at byte `at`.
pub(super) fn get_u128(block: &[u8], at: usize) -> u128 {
    u128::from_le_bytes(get(block, at))
}

const NEWER: &str = "format version";

/// What is said of a good block of another version.
pub(super) fn newer_format(version: u32) -> String {
    format!("{NEWER} {version}, this program knows {}", super::batch::FORMAT_VERSION)
}

/// Whether `what` is such a sentence.
pub(super) fn is_newer_format(what: &str) -> bool {
    what.starts_with(NEWER)
}

//! Appends fields to a `Vec<u8>`; the caller owns the vector and its growth.

use crate::invariant;
use crate::model::acl::AclList;
use crate::model::stat::Stat;

/// Bytes of an encoded [`Stat`].
pub const STAT_BYTES: usize = 68;

/// A boolean.
#[inline]
pub fn put_bool(out: &mut Vec<u8>, value: bool) {
    out.push(u8::from(value));
}

/// A 32-bit number.
#[inline]
pub fn put_int(out: &mut Vec<u8>, value: i32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// A 64-bit number.
#[inline]
pub fn put_long(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// The length of something that we send, as the wire has it.
#[inline]
pub(crate) fn len_on_wire(len: usize) -> i32 {
    invariant!(len <= i32::MAX as usize, "a field of {len} bytes doesn't fit its length on the wire");
    len as i32
}

/// A string, or a buffer that isn't null.
#[inline]
pub fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put_int(out, len_on_wire(text.len()));
    out.extend_from_slice(text);
}

/// A buffer; `None` is null.
#[inline]
pub fn put_buffer(out: &mut Vec<u8>, buffer: Option<&[u8]>) {
    match buffer {
        Some(bytes) => put_text(out, bytes),
        None => put_int(out, -1),
    }
}

/// A vector of whatever `put` appends, for any iterator: the count is filled in afterwards.
pub fn put_vector<T>(out: &mut Vec<u8>, items: impl IntoIterator<Item = T>, mut put: impl FnMut(&mut Vec<u8>, T)) {
    let at = out.len();
    put_int(out, 0);
    let mut count = 0usize;
    for item in items {
        put(out, item);
        count += 1;
    }
    out[at..at + 4].copy_from_slice(&len_on_wire(count).to_be_bytes());
}

/// A vector of strings.
pub fn put_texts<'t>(out: &mut Vec<u8>, texts: impl IntoIterator<Item = &'t [u8]>) {
    put_vector(out, texts, put_text);
}

/// An ACL list, which is kept in the form in which it is sent.
pub fn put_acl(out: &mut Vec<u8>, list: AclList<'_>) {
    out.extend_from_slice(list.bytes());
}

/// A stat.
pub fn put_stat(out: &mut Vec<u8>, stat: &Stat) {
    // One append of a fixed size instead of eleven that each check the vector's capacity.
    let mut bytes = [0; STAT_BYTES];
    bytes[0..8].copy_from_slice(&stat.czxid.0.to_be_bytes());
    bytes[8..16].copy_from_slice(&stat.mzxid.0.to_be_bytes());
    bytes[16..24].copy_from_slice(&stat.ctime_ms.to_be_bytes());
    bytes[24..32].copy_from_slice(&stat.mtime_ms.to_be_bytes());
    bytes[32..36].copy_from_slice(&stat.version.to_be_bytes());
    bytes[36..40].copy_from_slice(&stat.cversion.to_be_bytes());
    bytes[40..44].copy_from_slice(&stat.aversion.to_be_bytes());
    bytes[44..52].copy_from_slice(&stat.ephemeral_owner.to_be_bytes());
    bytes[52..56].copy_from_slice(&stat.data_len.to_be_bytes());
    bytes[56..60].copy_from_slice(&stat.num_children.to_be_bytes());
    bytes[60..68].copy_from_slice(&stat.pzxid.0.to_be_bytes());
    out.extend_from_slice(&bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::Zxid;
    use crate::wire::jute::reader::Reader;

    #[test]
    fn fields_have_their_documented_bytes() {
        let mut out = Vec::new();
        put_bool(&mut out, true);
        put_int(&mut out, -2);
        put_long(&mut out, 1);
        put_buffer(&mut out, None);
        put_buffer(&mut out, Some(b""));
        put_text(&mut out, b"ab");
        put_texts(&mut out, [&b"x"[..], b""]);
        let wanted = b"\x01\xff\xff\xff\xfe\0\0\0\0\0\0\0\x01\xff\xff\xff\xff\0\0\0\0\0\0\0\x02ab\0\0\0\x02\0\0\0\x01x\0\0\0\0";
        assert_eq!(out, wanted);
    }

    #[test]
    fn a_stat_has_its_fields_in_order() {
        let stat = Stat {
            czxid: Zxid(1),
            mzxid: Zxid(2),
            ctime_ms: 3,
            mtime_ms: 4,
            version: 5,
            cversion: -6,
            aversion: 7,
            ephemeral_owner: -8,
            data_len: 9,
            num_children: 10,
            pzxid: Zxid(11),
        };
        let mut out = Vec::new();
        put_stat(&mut out, &stat);
        let numbers = b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x04\0\0\0\x05\xff\xff\xff\xfa\0\0\0\x07";
        let rest = b"\xff\xff\xff\xff\xff\xff\xff\xf8\0\0\0\x09\0\0\0\x0a\0\0\0\0\0\0\0\x0b";
        assert_eq!(out, [&numbers[..], rest].concat());
        assert_eq!(out.len(), STAT_BYTES);
        assert_eq!(Reader::new(&out).stat(), Ok(stat));
    }
}

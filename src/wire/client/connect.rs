//! The handshake: the only two messages without a header.

use crate::base::ids::SessionId;
use crate::model::request::{Connect, Connected};
use crate::mutant;
use crate::wire::client::reply::frame_into;
use crate::wire::jute::reader::{DecodeError, Reader};
use crate::wire::jute::writer::{put_bool, put_int, put_long, put_text};

/// Reads the first frame of a connection. The form without the last byte (44 bytes with a password of 16) is legal; bytes
/// after the last field are ignored.
///
/// # Errors
/// What is wrong; the connection is closed then.
pub fn decode_connect(frame: &[u8]) -> Result<Connect<'_>, DecodeError> {
    let mut r = Reader::new(frame);
    Ok(Connect {
        protocol_version: r.int()?,
        last_zxid_seen: r.zxid()?,
        timeout_ms: r.int()?,
        session: SessionId(r.long()?),
        password: r.text()?,
        read_only: if r.rest().is_empty() { None } else { Some(r.boolean()?) },
    })
}

/// Appends the answer to a connect request. `read_only` says whether this server only reads, and is `None` exactly if the
/// request had no such byte.
pub fn write_connected(out: &mut Vec<u8>, connected: &Connected, read_only: Option<bool>) {
    frame_into(out, |out| {
        put_int(out, 0);
        put_int(out, i32::try_from(connected.timeout_ms).unwrap_or(i32::MAX));
        put_long(out, connected.session.0);
        put_text(out, &connected.password);
        let read_only = if mutant!("wire-read-only-byte-always") { Some(read_only.unwrap_or(false)) } else { read_only };
        if let Some(value) = read_only {
            put_bool(out, value);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::Zxid;

    const REQUEST: &[u8; 45] = b"\0\0\0\0\0\0\0\0\0\0\0\x09\0\0\x75\x30\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\x10ABCDEFGHIJKLMNOP\x01";

    #[test]
    fn both_forms_of_the_request() {
        let wanted = Connect {
            protocol_version: 0,
            last_zxid_seen: Zxid(9),
            timeout_ms: 30_000,
            session: SessionId(0x0102_0304_0506_0708),
            password: b"ABCDEFGHIJKLMNOP",
            read_only: Some(true),
        };
        assert_eq!(decode_connect(REQUEST), Ok(wanted));
        assert_eq!(decode_connect(&REQUEST[..44]), Ok(Connect { read_only: None, ..wanted }));
        let longer = [&REQUEST[..], b"more"].concat();
        assert_eq!(decode_connect(&longer), Ok(wanted), "bytes after the last field are ignored");
        for len in 0..44 {
            assert_eq!(decode_connect(&REQUEST[..len]), Err(DecodeError::Truncated), "{len} bytes");
        }
    }

    #[test]
    fn a_null_password_is_an_empty_one() {
        let frame = [&REQUEST[..24], b"\xff\xff\xff\xff\0"].concat();
        let connect = decode_connect(&frame).unwrap();
        assert_eq!((connect.password, connect.read_only), (&b""[..], Some(false)));
    }

    #[test]
    fn both_forms_of_the_answer() {
        let connected = Connected { timeout_ms: 10_000, session: SessionId(0x0100_0000_0000_0001), password: *b"ABCDEFGHIJKLMNOP" };
        let (mut long, mut short) = (Vec::new(), Vec::new());
        write_connected(&mut long, &connected, Some(false));
        write_connected(&mut short, &connected, None);
        let fields = b"\0\0\0\0\0\0\x27\x10\x01\0\0\0\0\0\0\x01\0\0\0\x10ABCDEFGHIJKLMNOP";
        assert_eq!(short, [b"\0\0\0\x24", &fields[..]].concat());
        assert_eq!(long, [b"\0\0\0\x25", &fields[..], b"\0"].concat());
    }
}

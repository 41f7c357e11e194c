//! The first bytes of a connection: four-letter words, the frame of the handshake in both forms.

use super::meter;
use super::mutate;
use super::target::{Tally, Target};
use ringkeeper::base::ids::{SessionId, Zxid};
use ringkeeper::base::prng::Prng;
use ringkeeper::model::request::Connect;
use ringkeeper::wire::client_side::put_connect;
use ringkeeper::wire::four_letter::Word;
use ringkeeper::wire::{DecodeError, FrameSplitter, decode_connect};

/// See the module.
pub struct Connects;

/// What decoding may hold: it borrows everything.
const HELD_MAX: usize = 0;
const FRAME_BYTES_MAX: usize = 1 << 20;

impl Target for Connects {
    fn name(&self) -> &'static str {
        "connect"
    }

    fn expected(&self) -> Vec<(&'static str, String)> {
        let mut all: Vec<_> = Word::ALL.iter().map(|word| ("word", word.name().to_owned())).collect();
        for item in
            ["short form, a password of 16", "long form, a password of 16", "short form, another password", "long form, another password"]
        {
            all.push(("accepted", item.to_owned()));
        }
        all.extend(["Truncated", "BadLength"].map(|item| ("refused", item.to_owned())));
        let frames =
            ["an HTTP request", "a TLS handshake", "an SSH greeting", "a PROXY protocol header", "length refused", "more bytes needed"];
        all.extend(frames.map(|item| ("frame", item.to_owned())));
        all
    }

    fn try_one(&self, prng: &mut Prng, tally: &mut Tally) -> Result<(), String> {
        let mut bytes = Vec::new();
        match prng.below(10) {
            0 => bytes.extend_from_slice(Word::ALL[prng.index(Word::ALL.len())].name().as_bytes()),
            1 => bytes.extend_from_slice(FOREIGN[prng.index(FOREIGN.len())]),
            _ => handshake(prng, &mut bytes)?,
        }
        let fixed_length = prng.chance(2, 3) && bytes.len() >= 44;
        if fixed_length {
            // The frame stays one, so that what is wrong lies within it.
            let mut body = bytes.split_off(4);
            mutate::some(prng, &mut body, b"ruokGET /\0\0\0\x10");
            bytes = (body.len() as u32).to_be_bytes().to_vec();
            bytes.extend(body);
        } else if prng.chance(1, 2) {
            mutate::some(prng, &mut bytes, b"stmkPOST\x16\x03\x01");
        }
        tally.input("received", &bytes);
        received(&bytes, tally)
    }
}

/// What people point at the port.
const FOREIGN: [&[u8]; 6] = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\0\x01\0",
    b"SSH-2.0-OpenSSH\r\n",
    b"PROXY TCP4 1.1.1.1",
    b"\r\n\r\n\0\r\nQUIT\n",
    b"PRI * HTTP/2.0\r\n",
];

fn handshake(prng: &mut Prng, bytes: &mut Vec<u8>) -> Result<(), String> {
    let mut password = vec![0; if prng.chance(3, 4) { 16 } else { prng.index(40) }];
    prng.fill(&mut password);
    let connect = Connect {
        protocol_version: mutate::number(prng) as i32,
        last_zxid_seen: Zxid(prng.next_u64()),
        timeout_ms: mutate::number(prng) as i32,
        session: SessionId(mutate::number(prng)),
        password: &password,
        read_only: [None, Some(false), Some(true)][prng.index(3)],
    };
    put_connect(bytes, &connect);
    let read = decode_connect(&bytes[4..]);
    if read == Ok(connect) { Ok(()) } else { Err(format!("{connect:?} reads as {read:?}")) }
}

fn received(bytes: &[u8], tally: &mut Tally) -> Result<(), String> {
    let mut splitter = FrameSplitter::new(bytes, FRAME_BYTES_MAX);
    let next = splitter.next_frame();
    if let Some(word) = Word::recognise(bytes) {
        tally.met("word", word.name());
        tally.accepted += 1;
        return if next.is_err() { Ok(()) } else { Err(format!("{word:?} is a frame too")) };
    }
    let frame = match next {
        Err(error) => {
            tally.met("frame", error.foreign().map_or("length refused", |foreign| foreign.name()));
            return Ok(());
        }
        Ok(None) => {
            tally.met("frame", "more bytes needed");
            return if splitter.missing() > 0 { Ok(()) } else { Err("nothing is missing, but no frame comes".to_owned()) };
        }
        Ok(Some(frame)) => frame,
    };
    match meter::bounded("decoding a handshake", HELD_MAX, || decode_connect(frame))? {
        Err(DecodeError::Truncated) => tally.met("refused", "Truncated"),
        Err(DecodeError::BadLength(_)) => tally.met("refused", "BadLength"),
        Err(other) => return Err(format!("a handshake can't fail with {other:?}")),
        Ok(connect) => {
            let form = if connect.read_only.is_some() { "long" } else { "short" };
            let password = if connect.password.len() == 16 { "a password of 16" } else { "another password" };
            tally.met("accepted", format!("{form} form, {password}"));
            tally.accepted += 1;
            let mut again = Vec::new();
            put_connect(&mut again, &connect);
            if decode_connect(&again[4..]) != Ok(connect) {
                return Err(format!("{connect:?} written again reads differently"));
            }
        }
    }
    Ok(())
}

//! Asking running servers four-letter words over their client ports, as `nc` would: for commands beside a server, on threads that may block.

use crate::wire::four_letter::Word;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// A server that doesn't answer within this time counts as away.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// How often a server that doesn't serve yet is asked again.
const POLL: Duration = Duration::from_millis(20);

/// What `server` (`host:port`) answers to `word`; the first address that answers counts.
///
/// # Errors
/// When none does in time.
pub fn word(server: &str, word: Word) -> io::Result<String> {
    let mut last = io::Error::other("the name has no address");
    for address in server.to_socket_addrs()? {
        let asked = TcpStream::connect_timeout(&address, TIMEOUT).and_then(|mut stream| {
            stream.set_read_timeout(Some(TIMEOUT))?;
            stream.set_write_timeout(Some(TIMEOUT))?;
            stream.write_all(word.name().as_bytes())?;
            let mut answer = Vec::new();
            stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
            Ok(String::from_utf8_lossy(&answer).into_owned())
        });
        match asked {
            Ok(answer) => return Ok(answer),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Calls `then` once every one of these servers serves, on a thread of its own.
pub fn once_all_serve(servers: Vec<String>, then: impl FnOnce() + Send + 'static) {
    std::thread::spawn(move || {
        while !servers.iter().all(|server| serves(server)) {
            std::thread::sleep(POLL);
        }
        then();
    });
}

/// Only then `srvr` says in which mode.
fn serves(server: &str) -> bool {
    word(server, Word::Srvr).is_ok_and(|answer| answer.lines().any(|line| line.starts_with("Mode: ")))
}

/// Carries out `round` once, or again and again with this pause between two, until it returns `None`. Returns what the last one returned.
pub fn again_every<T>(pause: Option<Duration>, mut round: impl FnMut() -> Option<T>) -> Option<T> {
    let mut last = round();
    while let Some(pause) = pause
        && last.is_some()
    {
        std::thread::sleep(pause);
        last = round();
    }
    last
}

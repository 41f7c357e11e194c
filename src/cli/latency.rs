//! `ringkeeper latency`: where writes spend their time, asked of running servers with the four-letter word `late`.
//!
//! Each server is asked for itself; one that can't be asked is named and the others are shown. Leaves to others: measuring
//! (`server::keeper`), the table (`server::words::latency`).

use crate::wire::four_letter::Word;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// A server that doesn't answer within this time is passed over.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// What to ask.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Client addresses, `host:port`.
    pub servers: Vec<String>,
    /// Pause between two rounds, in seconds; one round without it.
    pub every_s: Option<u64>,
}

/// Asks and prints, once or until the process is ended. Returns the exit status: 0 if every server of the (last) round answered, else 1.
pub fn run(plan: &Plan, out: &mut dyn Write) -> i32 {
    loop {
        let mut status = 0;
        for server in &plan.servers {
            let text = match ask(server, Word::Late.name()) {
                Ok(answer) if answer.starts_with("mode ") => answer,
                Ok(answer) => {
                    status = 1;
                    explain(&answer)
                }
                Err(error) => {
                    status = 1;
                    format!("can't be asked: {error}\n")
                }
            };
            // Whoever reads has seen enough.
            if writeln!(out, "{server}: {text}").and_then(|()| out.flush()).is_err() {
                return status;
            }
        }
        let Some(every_s) = plan.every_s else { return status };
        std::thread::sleep(Duration::from_secs(every_s));
    }
}

fn explain(answer: &str) -> String {
    match answer.trim() {
        "" => "closed the connection without an answer; a server that isn't Ringkeeper doesn't know the word `late`\n".to_owned(),
        said if said.contains("whitelist") => format!("{said} Add `late` to 4lw.commands.whitelist there.\n"),
        said => format!("{said}\n"),
    }
}

fn ask(server: &str, word: &str) -> io::Result<String> {
    let mut last = io::Error::other("the name has no address");
    for address in server.to_socket_addrs()? {
        let asked = TcpStream::connect_timeout(&address, TIMEOUT).and_then(|mut stream| {
            stream.set_read_timeout(Some(TIMEOUT))?;
            stream.set_write_timeout(Some(TIMEOUT))?;
            stream.write_all(word.as_bytes())?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn asked_of(answer: &'static str) -> (i32, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap().to_string();
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut word = [0; 4];
            stream.read_exact(&mut word).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            word
        });
        let mut out = Vec::new();
        let status = run(&Plan { servers: vec![server.clone()], every_s: None }, &mut out);
        assert_eq!(&serving.join().unwrap(), b"late");
        (status, String::from_utf8(out).unwrap().replace(&server, "S"))
    }

    #[test]
    fn the_table_is_printed_and_a_refusal_explained() {
        assert_eq!(asked_of("mode leader, x\nstage\n"), (0, "S: mode leader, x\nstage\n\n".to_owned()));
        let (status, text) = asked_of("late is not executed because it is not in the whitelist.\n");
        assert!(status == 1 && text.contains("Add `late` to 4lw.commands.whitelist"), "{text}");
        let (status, text) = asked_of("");
        assert!(status == 1 && text.contains("isn't Ringkeeper"), "{text}");
    }

    #[test]
    fn a_server_that_is_away_is_named() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let mut out = Vec::new();
        assert_eq!(run(&Plan { servers: vec![free.clone(), "no port".to_owned()], every_s: None }, &mut out), 1);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(&format!("{free}: can't be asked")) && text.contains("no port: can't be asked"), "{text}");
    }
}

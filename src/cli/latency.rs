//! `ringkeeper latency`: where writes spend their time, asked of running servers with the four-letter word `late`.
//!
//! Each server is asked for itself; one that can't be asked is named and the others are shown. Leaves to others: measuring
//! (`server::keeper`), the table (`server::words::latency`).

use crate::runtime::{again_every, ask_word};
use crate::wire::four_letter::Word;
use std::io::Write;
use std::time::Duration;

/// What to ask.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Client addresses, `host:port`.
    pub servers: Vec<String>,
    /// Pause between two rounds, in seconds; one round without it.
    pub every_s: Option<u64>,
}

/// Asks and prints, once or until the process is ended. Returns the exit status: 0 if every server answered, else 1.
pub fn run(plan: &Plan, out: &mut dyn Write) -> i32 {
    let mut status = 0;
    again_every(plan.every_s.map(Duration::from_secs), || {
        status = 0;
        for server in &plan.servers {
            let text = match ask_word(server, Word::Late) {
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
            // Whoever reads may have seen enough.
            writeln!(out, "{server}: {text}").and_then(|()| out.flush()).ok()?;
        }
        Some(())
    });
    status
}

fn explain(answer: &str) -> String {
    match answer.trim() {
        "" => "closed the connection without an answer; a server that isn't Ringkeeper doesn't know the word `late`\n".to_owned(),
        said if said.contains("whitelist") => format!("{said} Add `late` to 4lw.commands.whitelist there.\n"),
        said => format!("{said}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_refusal_is_explained() {
        assert!(
            explain("late is not executed because it is not in the whitelist.\n")
                .contains("whitelist. Add `late` to 4lw.commands.whitelist")
        );
        assert!(explain("").contains("isn't Ringkeeper"));
        assert_eq!(
            explain("This ZooKeeper instance is not currently serving requests\n"),
            "This ZooKeeper instance is not currently serving requests\n"
        );
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

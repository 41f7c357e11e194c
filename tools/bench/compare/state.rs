//! What a comparison has measured so far, as the JSON file that it writes after each round: it is resumed from there, and `report`
//! reads it.
//!
//! Guarantees: a file is replaced in one step, so an interrupted comparison leaves the last whole one; figures of different set-ups
//! are never put into one file.

use crate::Failure;
use crate::ensemble::System;
use crate::figures::Figures;
use crate::host::Host;
use crate::limits::Limits;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// At the start of every such file.
pub const FORMAT: &str = "ringkeeper-compare-1";

/// What must be equal for figures to stand beside each other.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Setup {
    /// Servers of each side.
    pub servers: usize,
    /// The side called "ours", and the other.
    pub sides: Vec<System>,
    /// Seconds that count.
    pub seconds: f64,
    /// Seconds of the same load before.
    pub warmup: f64,
    /// Seconds of a busy mixture before that.
    pub conditioning: f64,
    /// Sessions of scenarios were divided by this; 1 in a run whose figures count.
    pub scale_down: usize,
    /// Checksum of the program `ringkeeper`.
    pub ringkeeper_build: String,
    /// Lines added to its configuration.
    pub ringkeeper_settings: Vec<String>,
    /// Release of ZooKeeper.
    pub zookeeper_version: String,
    /// Lines added to its configuration.
    pub zookeeper_settings: Vec<String>,
    /// Its Java machine.
    pub java: String,
    /// Arguments of its Java machine.
    pub java_options: Vec<String>,
    /// Time of each period of 100 ms for which our servers were stopped on purpose.
    pub slowed_percent: u8,
    /// Release of etcd, if it is one of the sides.
    #[serde(default)]
    pub etcd_version: String,
}

impl Setup {
    /// For how many servers the demands hold that its rows are judged by; 0, which none names, where it compares others than ours, or a
    /// bare server, with ZooKeeper.
    pub fn judged_servers(&self) -> usize {
        let is_judged = matches!(self.sides[..], [System::Ringkeeper | System::Bare, System::ZooKeeper]);
        if is_judged { self.servers } else { 0 }
    }
}

/// One round of a row: both sides, one after the other, and the machine itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Round {
    /// First in its turn.
    pub ours: Figures,
    /// Second.
    pub theirs: Figures,
    /// Just before.
    pub limits: Limits,
}

/// One row.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RowState {
    /// Of `ROWS`.
    pub name: String,
    /// What ZooKeeper reached in a closed loop, for rows that need it.
    pub knee_per_s: Option<f64>,
    /// Round by round.
    pub rounds: Vec<Round>,
}

/// The file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// [`FORMAT`].
    pub format: String,
    /// Where and when it began.
    pub host: Host,
    /// How.
    pub setup: Setup,
    /// What came out.
    pub rows: Vec<RowState>,
}

impl State {
    /// Whether it is one of Ringkeeper with ZooKeeper.
    pub fn is_ours(&self) -> bool {
        self.setup.sides == [System::Ringkeeper, System::ZooKeeper]
    }

    /// What `path` holds; `None` if there is no such file.
    pub fn load(path: &Path) -> Result<Option<State>, Failure> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(format!("{}: {e}", path.display())),
        };
        let state: State = serde_json::from_str(&text).map_err(|e| format!("{} isn't a comparison: {e}", path.display()))?;
        if state.format == FORMAT { Ok(Some(state)) } else { Err(format!("{} has the format {:?}", path.display(), state.format)) }
    }

    /// The state to go on with: what `path` holds if it was measured in the same way, else a new one.
    pub fn resume(path: &Path, host: Host, setup: Setup) -> Result<State, Failure> {
        let Some(state) = State::load(path)? else {
            return Ok(State { format: FORMAT.to_owned(), host, setup, rows: Vec::new() });
        };
        if state.setup != setup {
            let place = path.display();
            return Err(format!(
                "{place} was measured in another way (servers, times, settings or programs): name another --state, or remove it"
            ));
        }
        if (&state.host.kind, &state.host.kernel, state.host.cores) != (&host.kind, &host.kernel, host.cores) {
            return Err(format!("{} was measured on another machine or kernel: name another --state, or remove it", path.display()));
        }
        Ok(state)
    }

    /// Writes it in place of what `path` holds.
    pub fn save(&self, path: &Path) -> Result<(), Failure> {
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            crate::create_dir(dir)?;
        }
        let text = serde_json::to_string_pretty(self).map_err(|e| e.to_string())?;
        let fresh = path.with_extension("json.new");
        fs::write(&fresh, text + "\n").and_then(|()| fs::rename(&fresh, path)).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// The row of that name, made if there is none.
    pub fn row(&mut self, name: &str) -> &mut RowState {
        let at = self.rows.iter().position(|row| row.name == name).unwrap_or_else(|| {
            self.rows.push(RowState { name: name.to_owned(), ..RowState::default() });
            self.rows.len() - 1
        });
        &mut self.rows[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_goes_on_only_where_it_was_made_the_same_way() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("results/state.json");
        let setup = Setup { servers: 3, sides: vec![System::Ringkeeper, System::ZooKeeper], ..Setup::default() };
        let judged = |ours, theirs| Setup { sides: vec![ours, theirs], ..setup.clone() }.judged_servers();
        assert_eq!(
            (setup.judged_servers(), judged(System::Ringkeeper, System::Etcd), judged(System::ZooKeeper, System::ZooKeeper)),
            (3, 0, 0)
        );
        let mut state = State::resume(&path, Host::default(), setup.clone()).expect("a new one");
        let round = Round { ours: Figures::default(), theirs: Figures::default(), limits: Limits::default() };
        state.row("a").rounds.push(round);
        state.row("a").knee_per_s = Some(5.0);
        state.save(&path).expect("written");
        let mut again = State::resume(&path, Host::default(), setup.clone()).expect("the same");
        assert_eq!((again.rows.len(), again.row("a").rounds.len(), again.row("a").knee_per_s), (1, 1, Some(5.0)));
        let other = State::resume(&path, Host::default(), Setup { servers: 5, ..setup.clone() }).expect_err("another");
        assert!(other.contains("in another way"), "{other}");
        let elsewhere = Host { cores: 99, ..Host::default() };
        assert!(State::resume(&path, elsewhere, setup).expect_err("another machine").contains("another machine"));
        fs::write(&path, "{}").expect("written");
        assert!(State::load(&path).expect_err("no state").contains("isn't a comparison"));
    }
}

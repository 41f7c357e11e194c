//! The budget of a write: what its pieces cost by the criterion benches, added up, beside what the whole keeper costs there and what a
//! whole server measures. The rest is the runtime's and the kernel's: wake-ups, system calls, TCP, the disk.
//!
//! Leaves to others: measuring (`benches/`, `run --json`).

use crate::Failure;
use crate::figures::Figures;
use serde::Deserialize;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// A piece: where criterion keeps its figure, and for how many operations that is.
struct Piece {
    name: &'static str,
    path: &'static str,
    operations: f64,
}

/// Operations of a burst in the benches.
const BURST: f64 = 64.0;

/// In the order in which a setData meets them.
#[rustfmt::skip]
const PIECES: [Piece; 6] = [
    Piece { name: "split and decode the frame", path: "codec_split and decode/setData", operations: BURST },
    Piece { name: "prep: judge it against tree and outstanding changes", path: "write path/prep setData", operations: BURST },
    Piece { name: "encode the record, close its share of a batch", path: "log_append and close a batch/64", operations: BURST },
    Piece { name: "apply it to the tree", path: "tree_apply/setData", operations: BURST },
    Piece { name: "fire one watch", path: "write path/fire a watch", operations: BURST },
    Piece { name: "encode the reply", path: "codec_encode reply/setData", operations: BURST },
];
const KEEPER: Piece = Piece { name: "the same through the whole keeper", path: "write path/keeper setData", operations: BURST };
/// Two hops.
const HOP: Piece = Piece { name: "one hop between two executors", path: "write path/mailbox there and back", operations: 2.0 };

/// What criterion keeps.
#[derive(Deserialize)]
struct Estimates {
    mean: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    point_estimate: f64,
}

/// Adds the pieces of a write up from the criterion benches, beside a measured server.
#[derive(clap::Args)]
pub struct BudgetArguments {
    /// Where criterion keeps its figures; `cargo bench` fills it.
    #[arg(long, default_value = "target/criterion")]
    criterion: PathBuf,
    /// A measurement of setData: what `run --workload set --pid PID --json` printed.
    #[arg(long)]
    measured: Option<PathBuf>,
}

/// Prints the table.
pub fn budget(arguments: &BudgetArguments) -> Result<(), Failure> {
    let measured = match &arguments.measured {
        None => None,
        Some(path) => {
            let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
            Some(serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?)
        }
    };
    say_on!("{}", table(&arguments.criterion, measured.as_ref())?);
    Ok(())
}

fn table(criterion: &Path, measured: Option<&Figures>) -> Result<String, Failure> {
    let mut out = String::new();
    let mut line = |name: &str, ns: f64| {
        // Writing to a String can't fail.
        let _ = writeln!(out, "{name:52} {ns:>9.0} ns/op");
    };
    let mut sum = 0.0;
    for piece in &PIECES {
        let ns = cost(criterion, piece)?;
        sum += ns;
        line(piece.name, ns);
    }
    line("sum of the pieces", sum);
    let keeper = cost(criterion, &KEEPER)?;
    line(KEEPER.name, keeper);
    line(HOP.name, cost(criterion, &HOP)?);
    if let Some(figures) = measured {
        let us = figures.server_cpu_us_per_op.ok_or("the measurement doesn't know the server's CPU time: name its process with --pid")?;
        let (sessions, outstanding) = (figures.sessions, figures.outstanding);
        line(&format!("the server at {sessions} × {outstanding}: CPU of its process"), us * 1000.0);
        line("  of it outside the keeper (runtime, kernel)", us * 1000.0 - keeper);
    }
    Ok(out)
}

fn cost(criterion: &Path, piece: &Piece) -> Result<f64, Failure> {
    let path = criterion.join(piece.path).join("new/estimates.json");
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}; `cargo bench` measures it", path.display()))?;
    let estimates: Estimates = serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(estimates.mean.point_estimate / piece.operations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_add_up_and_a_missing_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for (n, piece) in PIECES.iter().chain([&KEEPER, &HOP]).enumerate() {
            let missing = table(dir.path(), None).unwrap_err();
            assert!(missing.contains(piece.path) && missing.contains("cargo bench"), "{missing}");
            let home = dir.path().join(piece.path).join("new");
            fs::create_dir_all(&home).unwrap();
            let ns = (n + 1) as f64 * 100.0 * piece.operations;
            fs::write(home.join("estimates.json"), format!("{{\"mean\":{{\"point_estimate\":{ns}}},\"median\":{{}}}}")).unwrap();
        }
        let figures = Figures { sessions: 8, outstanding: 64, server_cpu_us_per_op: Some(4.0), ..Figures::default() };
        let text = table(dir.path(), Some(&figures)).unwrap();
        let of = |name: &str| text.lines().find(|l| l.starts_with(name)).unwrap().split_whitespace().rev().nth(1).unwrap().to_owned();
        assert_eq!(
            (of("sum of the pieces"), of(KEEPER.name), of("the server at 8 × 64"), of("  of it")),
            ("2100".into(), "700".into(), "4000".into(), "3300".into())
        );
        assert!(table(dir.path(), Some(&Figures::default())).unwrap_err().contains("--pid"));
    }
}

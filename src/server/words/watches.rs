//! `wchs`, `wchc` and `wchp`: watches of the data table. Child watches don't show, as in ZooKeeper.

use super::text::put;
use crate::base::ids::SessionId;

/// The answer to `wchs`.
pub fn wchs(out: &mut Vec<u8>, connections: u64, paths: u64, watches: u64) {
    put(out, format_args!("{connections} connections watching {paths} paths\nTotal watches:{watches}\n"));
}

/// The answer to `wchc`: the paths that each session watches.
pub fn wchc<'a, P>(out: &mut Vec<u8>, sessions: impl Iterator<Item = (SessionId, P)>)
where
    P: Iterator<Item = &'a [u8]>,
{
    for (session, paths) in sessions {
        put(out, format_args!("{session}\n"));
        for path in paths {
            indented(out, path);
        }
    }
    out.push(b'\n');
}

/// The answer to `wchp`: the sessions that watch each path.
pub fn wchp<'a, S>(out: &mut Vec<u8>, paths: impl Iterator<Item = (&'a [u8], S)>)
where
    S: Iterator<Item = SessionId>,
{
    for (path, sessions) in paths {
        out.extend_from_slice(path);
        out.push(b'\n');
        for session in sessions {
            put(out, format_args!("\t{session}\n"));
        }
    }
    out.push(b'\n');
}

/// A path on a line of its own, after a tab.
pub(super) fn indented(out: &mut Vec<u8>, path: &[u8]) {
    out.push(b'\t');
    out.extend_from_slice(path);
    out.push(b'\n');
}

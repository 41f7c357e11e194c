//! `dump`: sessions by their deadline, ephemeral nodes by session, connections by their deadline.

use super::text::{java_date, put};
use super::watches::indented;
use crate::base::ids::SessionId;
use std::net::SocketAddr;

/// Everything that expires at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deadline<T> {
    /// The moment on the wall clock.
    pub wall_ms: i64,
    /// What expires then.
    pub items: Vec<T>,
}

/// A connection as `dump` shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DumpConn {
    /// The client's address.
    pub peer: SocketAddr,
    /// [`SessionId::NONE`] before a session.
    pub session: SessionId,
}

/// Ephemeral nodes of one session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionNodes<'a> {
    /// The owner.
    pub session: SessionId,
    /// Their paths.
    pub paths: Vec<&'a [u8]>,
}

/// Sessions as `dump` shows them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionsShown<'a> {
    /// Of a leader or a standalone server, who let them expire.
    Deadlines(&'a [Deadline<SessionId>]),
    /// Of a follower or an observer: with their timeouts in ms.
    Timeouts(&'a [(SessionId, u32)]),
}

/// The answer to `dump`. Deadlines come in the order in which they are given.
pub fn dump(out: &mut Vec<u8>, sessions: SessionsShown<'_>, ephemerals: &[SessionNodes<'_>], connections: &[Deadline<DumpConn>]) {
    out.extend_from_slice(b"SessionTracker dump:\n");
    match sessions {
        SessionsShown::Deadlines(deadlines) => {
            put(out, format_args!("Session Sets ({})/({}):\n", deadlines.len(), total(deadlines)));
            for deadline in deadlines {
                heading(out, deadline);
                deadline.items.iter().for_each(|session| put(out, format_args!("\t{session}\n")));
            }
        }
        SessionsShown::Timeouts(sessions) => {
            put(out, format_args!("Global Sessions({}):\n", sessions.len()));
            sessions.iter().for_each(|(session, ms)| put(out, format_args!("{session}\t{ms}ms\n")));
        }
    }
    put(out, format_args!("ephemeral nodes dump:\nSessions with Ephemerals ({}):\n", ephemerals.len()));
    for owner in ephemerals {
        put(out, format_args!("{}:\n", owner.session));
        for path in &owner.paths {
            indented(out, path);
        }
    }
    put(out, format_args!("Connections dump:\nConnections Sets ({})/({}):\n", connections.len(), total(connections)));
    for deadline in connections {
        heading(out, deadline);
        for conn in &deadline.items {
            put(out, format_args!("\tip: /{} sessionId: {}\n", conn.peer, conn.session));
        }
    }
}

fn total<T>(deadlines: &[Deadline<T>]) -> usize {
    deadlines.iter().map(|deadline| deadline.items.len()).sum()
}

fn heading<T>(out: &mut Vec<u8>, deadline: &Deadline<T>) {
    put(out, format_args!("{} expire at {}:\n", deadline.items.len(), java_date(deadline.wall_ms)));
}

//! Listening sockets: bound once without SO_REUSEPORT to learn whether the address is free, then once for each front with it.
//!
//! The first bind matters: with SO_REUSEPORT alone a second server would silently share the port with the first.

use crate::base::fatal::{Fatal, FatalError};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// How long an address that is taken is tried again: a second in all.
const BIND_RETRY: Duration = Duration::from_millis(20);
const BIND_RETRIES: u32 = 50;

/// What an address is for, in the words of a refusal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Purpose {
    pub(super) what: &'static str,
    /// What to do when somebody else has it.
    pub(super) elsewhere: &'static str,
    /// What to do when it is none of this host's.
    pub(super) not_ours: &'static str,
}

const CLIENTS: Purpose = Purpose {
    what: "the client address",
    elsewhere: "set another clientPort",
    not_ours: "set clientPortAddress to one that `ip address` shows, or leave it out",
};

/// All addresses: one socket for both families where the host has IPv6, as Java's wildcard.
pub(super) fn any_ip() -> IpAddr {
    if std::path::Path::new("/proc/net/if_inet6").exists() { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) }
}

/// One socket that listens for other servers.
///
/// # Errors
/// As [`listen`].
pub(super) fn listen_for_servers(address: SocketAddr, backlog: i32, purpose: &Purpose) -> Result<Socket, FatalError> {
    bind_patiently(address).and_then(|s| s.listen(backlog).map(|()| s)).map_err(|error| refusal(address, &error, purpose))
}

/// Sockets for `fronts` fronts, all on one address; port 0 takes a free one. Accepted connections inherit `keepalive`.
///
/// # Errors
/// [`Fatal::AddressInUse`] when somebody else has the address, [`Fatal::Configuration`] when it isn't this host's.
pub(super) fn listen(address: SocketAddr, fronts: usize, backlog: i32, keepalive: bool) -> Result<(Vec<Socket>, SocketAddr), FatalError> {
    let probe = bind_patiently(address).map_err(|error| refusal(address, &error, &CLIENTS))?;
    let bound = probe.local_addr().ok().and_then(|a| a.as_socket()).unwrap_or(address);
    drop(probe);
    let mut sockets = Vec::new();
    for _ in 0..fronts {
        let socket = bind(bound, true)
            .and_then(|s| s.set_keepalive(keepalive).and_then(|()| s.listen(backlog)).map(|()| s))
            .map_err(|error| refusal(bound, &error, &CLIENTS))?;
        sockets.push(socket);
    }
    Ok((sockets, bound))
}

/// Binds for one alone. A process that was killed a moment ago may hold the address still: the kernel takes its rings, and what they refer
/// to, apart in the background.
fn bind_patiently(address: SocketAddr) -> io::Result<Socket> {
    for _ in 0..BIND_RETRIES {
        match bind(address, false) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => std::thread::sleep(BIND_RETRY),
            other => return other,
        }
    }
    bind(address, false)
}

fn bind(address: SocketAddr, share: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of a server that just ended may linger in TIME_WAIT; they don't hold the address.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share)?;
    // Inherited by every accepted connection: replies are gathered by us, never by a timer of the kernel.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    if !share {
        // SO_REUSEADDR lets two sockets bind as long as neither listens, so only listening proves that the address is free.
        socket.listen(1)?;
    }
    Ok(socket)
}

fn refusal(address: SocketAddr, error: &io::Error, purpose: &Purpose) -> FatalError {
    let Purpose { what, elsewhere, not_ours } = purpose;
    match error.kind() {
        io::ErrorKind::AddrInUse => FatalError::new(
            Fatal::AddressInUse,
            format!(
                "{what} {address} is in use by another process. Find it with `ss -ltnp 'sport = :{}'`, stop it, or {elsewhere}",
                address.port()
            ),
        ),
        io::ErrorKind::AddrNotAvailable => {
            FatalError::new(Fatal::Configuration, format!("{what} {address} is none of this host's: {not_ours}"))
        }
        _ => FatalError::new(Fatal::AddressInUse, format!("listening on {what} {address} fails: {error}")),
    }
}

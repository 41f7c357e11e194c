//! Listening sockets: bound once without SO_REUSEPORT to learn whether the address is free, then once for each front with it.
//!
//! The first bind matters: with SO_REUSEPORT alone a second server would silently share the port with the first.

use crate::base::fatal::{Fatal, FatalError};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;

/// Sockets for `fronts` fronts, all on one address; port 0 takes a free one. Accepted connections inherit `keepalive`.
///
/// # Errors
/// [`Fatal::AddressInUse`] when somebody else has the address, [`Fatal::Configuration`] when it isn't this host's.
pub(super) fn listen(address: SocketAddr, fronts: usize, backlog: i32, keepalive: bool) -> Result<(Vec<Socket>, SocketAddr), FatalError> {
    let probe = bind(address, false).map_err(|error| refusal(address, &error))?;
    let bound = probe.local_addr().ok().and_then(|a| a.as_socket()).unwrap_or(address);
    drop(probe);
    let mut sockets = Vec::new();
    for _ in 0..fronts {
        let socket = bind(bound, true)
            .and_then(|s| s.set_keepalive(keepalive).and_then(|()| s.listen(backlog)).map(|()| s))
            .map_err(|error| refusal(bound, &error))?;
        sockets.push(socket);
    }
    Ok((sockets, bound))
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

fn refusal(address: SocketAddr, error: &io::Error) -> FatalError {
    match error.kind() {
        io::ErrorKind::AddrInUse => FatalError::new(
            Fatal::AddressInUse,
            format!(
                "the client address {address} is in use by another process. Find it with `ss -ltnp 'sport = :{}'`, stop it, or set another \
                 clientPort",
                address.port()
            ),
        ),
        io::ErrorKind::AddrNotAvailable => FatalError::new(
            Fatal::Configuration,
            format!(
                "the client address {address} is none of this host's: set clientPortAddress to one that `ip address` shows, or leave it out"
            ),
        ),
        _ => FatalError::new(Fatal::AddressInUse, format!("listening on the client address {address} fails: {error}")),
    }
}

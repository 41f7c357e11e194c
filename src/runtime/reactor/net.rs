//! Sockets: read and written without waiting, and waited for through the ring.

use super::ring::Watch;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, getpeername, recv, send, sockopt};
use std::cell::OnceCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::task::{Context, Poll, ready};

/// A connection.
pub(in super::super) struct Stream {
    reading: Watch,
    /// Made when the socket is found full for the first time.
    writing: OnceCell<Watch>,
    // Behind the watches: they end before it is closed.
    fd: OwnedFd,
}

impl Stream {
    /// `fd`: a connected socket that doesn't block.
    fn new(fd: OwnedFd) -> Stream {
        Stream { reading: Watch::of_reading(fd.as_raw_fd()), writing: OnceCell::new(), fd }
    }

    /// Connects.
    ///
    /// # Errors
    /// The system's.
    pub(in super::super) async fn connect(to: SocketAddr) -> io::Result<Stream> {
        let socket = socket2::Socket::new(socket2::Domain::for_address(to), socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        match socket.connect(&to.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        let fd = OwnedFd::from(socket);
        let watch = Watch::of_writing(fd.as_raw_fd());
        watch.is_not_ready();
        poll_fn(|cx| watch.poll(cx)).await;
        drop(watch);
        sockopt::socket_error(&fd)??;
        Ok(Stream::new(fd))
    }

    /// Who is at the other end.
    ///
    /// # Errors
    /// The system's, when it is gone already.
    pub(in super::super) fn peer_addr(&self) -> io::Result<SocketAddr> {
        let address = getpeername(&self.fd)?.ok_or(io::ErrorKind::NotConnected)?;
        SocketAddr::try_from(address).map_err(io::Error::from)
    }

    /// Reads what is there, or waits for something. None: the end.
    pub(in super::super) fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.reading.poll(cx));
            match recv(&self.fd, &mut *buffer, RecvFlags::DONTWAIT) {
                Ok((_, n)) => {
                    // Whatever comes from now on is told anew.
                    if n > 0 && n < buffer.len() {
                        self.reading.is_not_ready();
                    }
                    return Poll::Ready(Ok(n));
                }
                Err(Errno::AGAIN) if self.reading.is_over() => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                Err(Errno::AGAIN) => self.reading.is_not_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Writes as much as there is room for, or waits for some.
    pub(in super::super) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match send(&self.fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(n) => return Poll::Ready(Ok(n)),
                Err(Errno::AGAIN) => {
                    let watch = self.writing.get_or_init(|| Watch::of_writing(self.fd.as_raw_fd()));
                    if watch.is_over() {
                        return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                    }
                    watch.is_not_ready();
                    ready!(watch.poll(cx));
                }
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// A socket that connections come in at.
pub(in super::super) struct Listener {
    watch: Watch,
    socket: socket2::Socket,
}

impl Listener {
    /// `socket` listens.
    ///
    /// # Errors
    /// The system's.
    pub(in super::super) fn new(socket: socket2::Socket) -> io::Result<Listener> {
        socket.set_nonblocking(true)?;
        Ok(Listener { watch: Watch::of_reading(socket.as_raw_fd()), socket })
    }

    /// The next connection.
    ///
    /// # Errors
    /// The system's, for want of descriptors for example.
    pub(in super::super) async fn accept(&self) -> io::Result<Stream> {
        loop {
            poll_fn(|cx| self.watch.poll(cx)).await;
            match accept_with(&self.socket, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(fd) => return Ok(Stream::new(fd)),
                Err(Errno::AGAIN) => self.watch.is_not_ready(),
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

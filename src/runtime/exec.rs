//! What tasks ask of the executor that they run on: our own ([`super::reactor`]) where one thread has all roles, glommio's where they are spread.
//!
//! Guarantees: what is made on one kind of executor works on that thread alone, and by its means. Leaves to others: who starts which (`boot`).

use super::reactor;
use futures_lite::io::{AsyncRead, AsyncWrite};
use glommio::io::{DmaBuffer, DmaFile, OpenOptions};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, RawFd};
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// A task's handle: dropped, the task ends.
pub(super) enum Task<T> {
    Own(reactor::Task<T>),
    Glommio(glommio::Task<T>),
}

impl<T> Task<T> {
    /// The task goes on by itself.
    pub(super) fn detach(self) {
        match self {
            Task::Own(task) => task.detach(),
            Task::Glommio(task) => drop(task.detach()),
        }
    }
}

/// Starts a task on this thread.
pub(super) fn spawn_local<T: 'static>(future: impl Future<Output = T> + 'static) -> Task<T> {
    if reactor::is_here() { Task::Own(reactor::spawn_local(future)) } else { Task::Glommio(glommio::spawn_local(future)) }
}

/// Carries `work` out on a thread that may block.
pub(super) async fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    if reactor::is_here() { reactor::spawn_blocking(work).await } else { glommio::executor().spawn_blocking(work).await }
}

/// Ends after `time`.
pub(super) async fn sleep(time: Duration) {
    if reactor::is_here() {
        reactor::sleep(time).await;
    } else {
        glommio::timer::sleep(time).await;
    }
}

/// Long enough for a timer that isn't due yet when it is made.
const LOOK_AT_IO: Duration = Duration::from_micros(50);

/// Lets the executor look at its sockets, files and timers, which it does only when no task is ready, or after many of them.
pub(super) async fn look_at_io() {
    if reactor::is_here() {
        reactor::look().await;
    } else {
        glommio::timer::sleep(LOOK_AT_IO).await;
    }
}

/// Whether [`look_at_io`] costs no more than the look: glommio looks when a timer is due.
pub(super) fn looks_without_waiting() -> bool {
    reactor::is_here()
}

/// A connection.
pub(super) enum TcpStream {
    Own(reactor::Stream),
    Glommio(glommio::net::TcpStream),
}

impl TcpStream {
    /// Connects within `timeout`.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) async fn connect(to: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        if reactor::is_here() {
            let late = async {
                reactor::sleep(timeout).await;
                Err(io::ErrorKind::TimedOut.into())
            };
            return futures_lite::future::or(reactor::Stream::connect(to), late).await.map(TcpStream::Own);
        }
        // Only what the kernel says; glommio adds how it asked.
        glommio::net::TcpStream::connect_timeout(to, timeout).await.map(TcpStream::Glommio).map_err(io::Error::from)
    }

    /// Who is at the other end, if that can be told.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        match self {
            TcpStream::Own(stream) => stream.peer_addr().ok(),
            TcpStream::Glommio(stream) => stream.peer_addr().ok(),
        }
    }
}

impl AsRawFd for TcpStream {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            TcpStream::Own(stream) => stream.as_raw_fd(),
            TcpStream::Glommio(stream) => stream.as_raw_fd(),
        }
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            TcpStream::Own(stream) => stream.poll_read(cx, buffer),
            TcpStream::Glommio(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            TcpStream::Own(stream) => stream.poll_write(cx, bytes),
            TcpStream::Glommio(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            TcpStream::Own(_) => Poll::Ready(Ok(())),
            TcpStream::Glommio(stream) => Pin::new(stream).poll_close(cx),
        }
    }
}

/// A socket that connections come in at.
pub(super) enum TcpListener {
    Own(reactor::Listener),
    Glommio(glommio::net::TcpListener),
}

impl TcpListener {
    /// `socket` listens.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn new(socket: socket2::Socket) -> io::Result<TcpListener> {
        if reactor::is_here() {
            return reactor::Listener::new(socket).map(TcpListener::Own);
        }
        // SAFETY: the descriptor is a listening TCP socket that nobody else holds; ownership passes over.
        Ok(TcpListener::Glommio(unsafe { glommio::net::TcpListener::from_raw_fd(socket.into_raw_fd()) }))
    }

    /// The next connection.
    ///
    /// # Errors
    /// The system's, for want of descriptors for example.
    pub(super) async fn accept(&self) -> io::Result<TcpStream> {
        match self {
            TcpListener::Own(listener) => listener.accept().await.map(TcpStream::Own),
            TcpListener::Glommio(listener) => listener.accept().await.map(TcpStream::Glommio).map_err(io::Error::from),
        }
    }
}

/// A file that is written with O_DIRECT.
pub(super) enum DirectFile {
    Own(reactor::DirectFile),
    Glommio(DmaFile),
}

impl DirectFile {
    /// Opens it. `durable`: each write is durable when it ends.
    ///
    /// # Errors
    /// The system's.
    pub(super) async fn open(path: PathBuf, durable: bool) -> io::Result<DirectFile> {
        if reactor::is_here() {
            return reactor::DirectFile::open(path, durable).await.map(DirectFile::Own);
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        if durable {
            options.custom_flags(libc::O_DSYNC);
        }
        options.dma_open(path).await.map(DirectFile::Glommio).map_err(io::Error::from)
    }

    /// Writes `buffer` at byte `at`. Returns how much was written.
    ///
    /// # Errors
    /// The system's.
    pub(super) async fn write_at(&self, buffer: Rc<DmaBuffer>, at: u64) -> io::Result<usize> {
        match self {
            DirectFile::Own(file) => file.write_at(buffer, at).await,
            DirectFile::Glommio(file) => file.write_rc_at(buffer, at).await.map_err(io::Error::from),
        }
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// The system's.
    pub(super) async fn sync_data(&self) -> io::Result<()> {
        match self {
            DirectFile::Own(file) => file.sync_data().await,
            DirectFile::Glommio(file) => file.fdatasync().await.map_err(io::Error::from),
        }
    }

    /// Closes it.
    pub(super) async fn close(self) {
        if let DirectFile::Glommio(file) = self {
            // Nothing was left to be written.
            let _ = file.close().await;
        }
    }
}

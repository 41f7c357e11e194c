use super::ring::{COMPLETIONS, Watch};
use super::*;
use futures_lite::future::{or, poll_once};
use std::cell::Cell;
use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream as Blocking};
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::thread;

/// Runs `root` on a thread of its own.
fn on_its_own<T: Send + 'static, F: Future<Output = T> + 'static>(make: impl FnOnce() -> F + Send + 'static) -> T {
    thread::spawn(move || run(make(), 2).unwrap()).join().unwrap()
}

fn listening() -> (Listener, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(64).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (Listener::new(socket).unwrap(), address)
}

async fn read(stream: &Stream, buffer: &mut [u8]) -> io::Result<usize> {
    poll_fn(|cx| stream.poll_read(cx, buffer)).await
}

#[test]
fn tasks_run_in_turn_and_end_with_their_handles() {
    let order = on_its_own(|| async {
        let order: Rc<RefCell<Vec<u32>>> = Rc::default();
        for n in 0..3 {
            let order = Rc::clone(&order);
            spawn_local(async move { order.borrow_mut().push(n) }).detach();
        }
        let dropped = Rc::clone(&order);
        drop(spawn_local(async move { dropped.borrow_mut().push(9) }));
        let last = Rc::clone(&order);
        spawn_local(async move { last.borrow_mut().push(3) }).await;
        order.take()
    });
    assert_eq!(order, [0, 1, 2, 3]);
}

#[test]
fn timers_end_in_the_order_of_their_times_and_a_dropped_one_is_forgotten() {
    let (order, left) = on_its_own(|| async {
        let order: Rc<RefCell<Vec<u64>>> = Rc::default();
        let tasks: Vec<_> = [30, 10, 20]
            .into_iter()
            .map(|ms| {
                let order = Rc::clone(&order);
                spawn_local(async move {
                    sleep(Duration::from_millis(ms)).await;
                    order.borrow_mut().push(ms);
                })
            })
            .collect();
        assert!(poll_once(pin!(sleep(Duration::from_secs(3600)))).await.is_none());
        for task in tasks {
            task.await;
        }
        (order.take(), current().timers.borrow().next().is_none())
    });
    assert_eq!((order, left), (vec![10, 20, 30], true));
}

#[test]
fn work_that_blocks_wakes_a_sleeping_executor_and_panics_where_it_is_awaited() {
    assert_eq!(
        on_its_own(|| async {
            let late = spawn_blocking(|| {
                thread::sleep(Duration::from_millis(20));
                1
            });
            spawn_blocking(|| 7).await + late.await
        }),
        8
    );
    let ended = thread::spawn(|| run(spawn_it(), 1).unwrap()).join();
    assert_eq!(ended.unwrap(), ("broken", 5));
}

async fn spawn_it() -> (&'static str, i32) {
    let caught = std::panic::AssertUnwindSafe(spawn_blocking(|| panic!("broken")));
    let result: Result<(), _> = futures_lite::FutureExt::catch_unwind(caught.0).await;
    let what = *result.unwrap_err().downcast_ref::<&str>().unwrap();
    (what, spawn_blocking(|| 5).await)
}

/// However many tasks are ready, a socket is looked at.
#[test]
fn tasks_that_never_rest_keep_no_socket_waiting() {
    let got = on_its_own(|| async {
        let (listener, address) = listening();
        let stop = Rc::new(Cell::new(false));
        let spin = Rc::clone(&stop);
        let busy = spawn_local(async move {
            while !spin.get() {
                futures_lite::future::yield_now().await;
            }
        });
        let client = thread::spawn(move || Blocking::connect(address).unwrap().write_all(b"hello").unwrap());
        let stream = listener.accept().await.unwrap();
        let mut buffer = [0; 16];
        let n = read(&stream, &mut buffer).await.unwrap();
        stop.set(true);
        busy.await;
        client.join().unwrap();
        buffer[..n].to_vec()
    });
    assert_eq!(got, b"hello");
}

#[test]
fn a_stream_is_read_to_its_end_and_filled_until_it_is_full() {
    let (read_bytes, echoed) = on_its_own(|| async {
        let (listener, address) = listening();
        let client = thread::spawn(move || {
            let mut stream = Blocking::connect(address).unwrap();
            for part in 0..200u32 {
                stream.write_all(&part.to_le_bytes()).unwrap();
            }
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            // Long enough that the other side finds its socket full.
            thread::sleep(Duration::from_millis(50));
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            all.len()
        });
        let stream = listener.accept().await.unwrap();
        assert!(stream.peer_addr().is_ok());
        let (mut buffer, mut sum) = ([0; 64], 0);
        loop {
            match read(&stream, &mut buffer).await.unwrap() {
                0 => break,
                n => sum += n,
            }
        }
        let bytes = vec![1u8; 16 << 20];
        let mut sent = 0;
        while sent < bytes.len() {
            sent += poll_fn(|cx| stream.poll_write(cx, &bytes[sent..])).await.unwrap();
        }
        drop(stream);
        (sum, spawn_blocking(move || client.join().unwrap()).await)
    });
    assert_eq!((read_bytes, echoed), (800, 16 << 20));
}

#[test]
fn connecting_works_and_says_why_not() {
    on_its_own(|| async {
        let (listener, address) = listening();
        let stream = Stream::connect(address).await.unwrap();
        let accepted = listener.accept().await.unwrap();
        assert_eq!(poll_fn(|cx| stream.poll_write(cx, b"x")).await.unwrap(), 1);
        assert_eq!(read(&accepted, &mut [0; 4]).await.unwrap(), 1);
        drop((listener, accepted));
        let refused = Stream::connect(address).await.err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    });
}

/// A reset while nobody reads, and one that is waited for.
#[test]
fn an_end_is_noticed_whenever_it_comes() {
    on_its_own(|| async {
        let (listener, address) = listening();
        for waits in [false, true] {
            let client = Blocking::connect(address).unwrap();
            let stream = listener.accept().await.unwrap();
            let mut buffer = [0; 4];
            assert!(poll_once(pin!(read(&stream, &mut buffer))).await.is_none());
            if waits {
                let late = spawn_blocking(move || {
                    thread::sleep(Duration::from_millis(20));
                    drop(client);
                });
                let mut buffer = [0; 4];
                let (end, ()) = futures_lite::future::zip(read(&stream, &mut buffer), late).await;
                assert_eq!(end.unwrap(), 0);
            } else {
                drop(client);
                sleep(Duration::from_millis(20)).await;
                assert_eq!(read(&stream, &mut [0; 4]).await.unwrap(), 0);
            }
            // It stays to be read.
            assert_eq!(read(&stream, &mut [0; 4]).await.unwrap(), 0);
        }
    });
}

/// Many connections come and go: nothing of them stays with the ring.
#[test]
fn what_ended_leaves_nothing_behind() {
    let left = on_its_own(|| async {
        let (listener, address) = listening();
        for _ in 0..3 {
            let mut pairs = Vec::new();
            for _ in 0..200 {
                let client = Stream::connect(address).await.unwrap();
                pairs.push((client, listener.accept().await.unwrap()));
            }
            for (client, server) in &pairs {
                poll_fn(|cx| client.poll_write(cx, b"abc")).await.unwrap();
                assert_eq!(read(server, &mut [0; 8]).await.unwrap(), 3);
                assert!(poll_once(pin!(read(server, &mut [0; 8]))).await.is_none());
            }
        }
        sleep(Duration::from_millis(20)).await;
        // The listener's.
        current().ring.borrow().standing()
    });
    assert_eq!(left, 1);
}

/// More requests than fit between two visits, and more completions.
#[test]
fn more_becomes_ready_at_once_than_the_ring_holds() {
    let told = on_its_own(|| async {
        let (_other, end) = std::os::unix::net::UnixStream::pair().unwrap();
        let watches: Vec<Watch> = (0..3 * COMPLETIONS).map(|_| Watch::of_writing(end.as_raw_fd())).collect();
        for watch in &watches {
            watch.is_not_ready();
            assert!(poll_once(poll_fn(|cx| watch.poll(cx))).await.is_none());
        }
        for watch in &watches {
            poll_fn(|cx| watch.poll(cx)).await;
        }
        watches.len()
    });
    assert_eq!(told, 3 * COMPLETIONS as usize);
}

#[test]
fn files_are_written_where_it_was_said_and_errors_told() {
    let dir = tempfile::tempdir().unwrap();
    let (path, missing) = (dir.path().join("f"), dir.path().join("none"));
    std::fs::write(&path, [0u8; 3 * 4096]).unwrap();
    let there = path.clone();
    on_its_own(move || async move {
        assert_eq!(DirectFile::open(missing, true).await.err().unwrap().kind(), io::ErrorKind::NotFound);
        for durable in [true, false] {
            let file = DirectFile::open(there.clone(), durable).await.unwrap();
            let mut buffer = glommio::allocate_dma_buffer_global(4096);
            buffer.as_bytes_mut().fill(7 + u8::from(durable));
            assert_eq!(file.write_at(Rc::new(buffer), 4096 * (1 + u64::from(durable))).await.unwrap(), 4096);
            file.sync_data().await.unwrap();
        }
        // Given up in the middle: its memory is kept.
        let file = DirectFile::open(there, false).await.unwrap();
        let buffer = Rc::new(glommio::allocate_dma_buffer_global(4096));
        let held = Rc::downgrade(&buffer);
        or(async { drop(file.write_at(buffer, 0).await) }, async {}).await;
        drop(file);
        assert!(held.upgrade().is_some(), "the kernel may still read it");
        sleep(Duration::from_millis(50)).await;
        assert!(held.upgrade().is_none());
    });
    let bytes = std::fs::read(path).unwrap();
    assert!(bytes[4096..8192].iter().all(|b| *b == 7) && bytes[8192..].iter().all(|b| *b == 8));
}

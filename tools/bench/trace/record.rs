//! Listens in: clients connect here, everything is passed on unchanged to a server and back, and what was answered becomes a trace.
//!
//! Guarantees: bounded in connections, requests and time; bytes are passed on whether they are understood or not. Two threads for each
//! connection: it is meant for hundreds of clients, not for thousands.

use super::{EVENTS_MAX, Event, Op, SEQUENTIAL, write};
use crate::{Failure, seconds};
use ringkeeper::model::op_code::OpCode;
use ringkeeper::model::request::Request;
use ringkeeper::wire::FrameSplitter;
use ringkeeper::wire::client::decode::{decode_header, decode_request};
use ringkeeper::wire::client_side::{ReplyBody, decode_body, decode_reply_header};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Clients that are listened to.
const CONNECTIONS_MAX: u32 = 2000;
/// Bytes that one read takes at most.
const READ_BYTES: usize = 64 << 10;
/// No frame of either side is larger in any usual configuration.
const FRAME_BYTES_MAX: usize = 64 << 20;
/// How often it is looked whether somebody connects, or the time is over.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What `record` takes.
#[derive(clap::Args)]
pub struct RecordArguments {
    /// Where clients connect instead of the server, HOST:PORT; port 0 takes a free one, which is printed.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// The server's client port, HOST:PORT.
    #[arg(long)]
    connect: String,
    /// The trace.
    #[arg(long)]
    save: PathBuf,
    /// Seconds until it ends, with the connections that are still there.
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
}

/// What all connections share.
struct Recorder {
    began: Instant,
    events: Mutex<Vec<Event>>,
    /// Requests that a trace doesn't hold, or that came after it was full.
    left_out: AtomicU64,
}

/// A request that isn't answered yet.
struct Asked {
    xid: i32,
    at_us: u64,
    code: OpCode,
    sequential: bool,
    op: Op,
}

/// What the two threads of a connection share.
type Pending = Arc<Mutex<VecDeque<Asked>>>;

/// Records until the time is over.
pub fn record(arguments: &RecordArguments) -> Result<(), Failure> {
    let failed = |e: std::io::Error| format!("{}: {e}", arguments.listen);
    let mut out =
        std::io::BufWriter::new(std::fs::File::create(&arguments.save).map_err(|e| format!("{}: {e}", arguments.save.display()))?);
    let listener = TcpListener::bind(&arguments.listen).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    say!("recording: clients connect to {}", listener.local_addr().map_err(failed)?);
    let recorder = Arc::new(Recorder { began: Instant::now(), events: Mutex::default(), left_out: AtomicU64::new(0) });
    let end = recorder.began + seconds(arguments.seconds)?;
    let (mut sockets, mut threads, mut number) = (Vec::new(), Vec::new(), 0);
    while Instant::now() < end {
        match listener.accept() {
            Ok((client, _)) if number < CONNECTIONS_MAX => {
                match pass_on(client, &arguments.connect, number, &recorder) {
                    Ok((pair, both)) => {
                        sockets.extend(pair);
                        threads.extend(both);
                    }
                    // The client sees its connection close, as with a server that is away.
                    Err(failure) => eprintln!("ringkeeper-bench: {failure}"),
                }
                number += 1;
            }
            Ok(_) => eprintln!("ringkeeper-bench: a client is turned away: {CONNECTIONS_MAX} connections were recorded"),
            Err(e) if e.kind() == ErrorKind::WouldBlock => std::thread::sleep(LOOK_EVERY),
            // What was recorded so far is kept.
            Err(e) => {
                eprintln!("ringkeeper-bench: the recording ends early: {}", failed(e));
                break;
            }
        }
    }
    for socket in &sockets {
        // One that is closed already needs no end.
        let _ = socket.shutdown(Shutdown::Both);
    }
    threads.into_iter().try_for_each(|thread: std::thread::JoinHandle<()>| thread.join().map_err(|_| "a connection's thread panicked"))?;
    let mut events = std::mem::take(&mut *lock(&recorder.events));
    events.sort_by_key(|event| event.at_us);
    write(&events, &mut out).map_err(|e| format!("{}: {e}", arguments.save.display()))?;
    let left_out = recorder.left_out.load(Ordering::Relaxed);
    say!("recorded {} requests of {number} connections in {}; {left_out} others were left out", events.len(), arguments.save.display());
    Ok(())
}

/// A thread that panicked has left nothing half done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Passing = ([TcpStream; 2], [std::thread::JoinHandle<()>; 2]);

fn pass_on(client: TcpStream, server: &str, session: u32, recorder: &Arc<Recorder>) -> Result<Passing, Failure> {
    let failed = |e: std::io::Error| format!("a connection to {server}: {e}");
    client.set_nonblocking(false).map_err(failed)?;
    let server = TcpStream::connect(server).map_err(failed)?;
    for stream in [&client, &server] {
        stream.set_nodelay(true).map_err(failed)?;
    }
    let copy = |stream: &TcpStream| stream.try_clone().map_err(failed);
    let pending = Pending::default();
    let (from_client, to_server, to_client, from_server) = (copy(&client)?, copy(&server)?, copy(&client)?, copy(&server)?);
    let (asking, asked) = (Arc::clone(recorder), Arc::clone(&pending));
    let upward = std::thread::spawn(move || copy_all(from_client, to_server, |frame| asking.asked(frame, &asked)));
    let answering = Arc::clone(recorder);
    let downward = std::thread::spawn(move || copy_all(from_server, to_client, |frame| answering.answered(frame, session, &pending)));
    Ok(([client, server], [upward, downward]))
}

/// Copies until either side ends. Every frame behind the handshake is shown before it is passed on.
fn copy_all(mut from: TcpStream, mut to: TcpStream, mut show: impl FnMut(&[u8])) {
    let (mut buffer, mut received, mut frames_seen, mut understood) = (vec![0; READ_BYTES], Vec::new(), 0u64, true);
    loop {
        let n = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        if understood {
            received.extend_from_slice(&buffer[..n]);
            let mut frames = FrameSplitter::new(&received, FRAME_BYTES_MAX);
            loop {
                match frames.next_frame() {
                    Ok(Some(frame)) if frames_seen == 0 => frames_seen += u64::from(!frame.is_empty()),
                    Ok(Some(frame)) => show(frame),
                    Ok(None) => break,
                    // A four-letter word, say: nothing of this connection is recorded, but it goes on.
                    Err(_) => {
                        understood = false;
                        break;
                    }
                }
            }
            let used = frames.consumed();
            received.drain(..used);
        }
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    // Whoever is gone already needs no end.
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

impl Recorder {
    fn asked(&self, frame: &[u8], pending: &Pending) {
        let Ok((header, body)) = decode_header(frame) else { return };
        let Some(code) = OpCode::from_wire(header.op) else { return };
        if code == OpCode::Ping {
            return;
        }
        let request = decode_request(code, body);
        let sequential = matches!(&request, Ok(Request::Create(create)) if create.flags & SEQUENTIAL != 0);
        match request.ok().as_ref().and_then(Op::of) {
            Some(op) => {
                let at_us = self.began.elapsed().as_micros() as u64;
                lock(pending).push_back(Asked { xid: header.xid, at_us, code, sequential, op });
            }
            None => drop(self.left_out.fetch_add(1, Ordering::Relaxed)),
        }
    }

    fn answered(&self, frame: &[u8], session: u32, pending: &Pending) {
        let Ok((header, body)) = decode_reply_header(frame) else { return };
        let mut pending = lock(pending);
        let Some(at) = pending.iter().position(|asked| asked.xid == header.xid) else { return };
        let Some(mut asked) = pending.remove(at) else { return };
        drop(pending);
        if header.err == 0 {
            match (&mut asked.op, decode_body(asked.code, body)) {
                (Op::Create { path, .. }, Ok(ReplyBody::Path(made) | ReplyBody::Created { path: made, .. })) if asked.sequential => {
                    *path = String::from_utf8_lossy(made).into_owned();
                }
                (Op::GetData { bytes, .. }, Ok(ReplyBody::Data { data, .. })) => *bytes = data.map_or(0, <[u8]>::len),
                _ => {}
            }
        }
        let mut events = lock(&self.events);
        if events.len() < EVENTS_MAX {
            events.push(Event { at_us: asked.at_us, session, err: header.err, op: asked.op });
        } else {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

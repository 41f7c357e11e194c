//! Connecting to servers with lower ids, again and again, each lane by itself.
//!
//! Names are resolved at each attempt, on a thread of their own: a resolver that hangs for half a minute keeps neither another server
//! nor the disk waiting. One look-up serves the three lanes of a server.

use super::Peers;
use crate::base::ids::ServerId;
use crate::base::prng::Prng;
use crate::model::membership::Member;
use crate::model::peer::Lane;
use crate::runtime::exec::{self, TcpStream};
use crossbeam::channel::{Receiver, bounded};
use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Shortest pause between two attempts.
const PAUSE_MS_MIN: u64 = 50;
/// Longest pause.
const PAUSE_MS_MAX: u64 = 1000;
/// A connection that was up so long is opened again at once when it breaks.
const STABLE_MS: u64 = 1000;
/// Life of one attempt to connect to one address.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1500);
/// Life of one attempt to resolve a name.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the result of a look-up is asked for.
const RESOLVE_POLL: Duration = Duration::from_millis(2);
/// A name is looked up once for the lanes of a server that connect together.
const RESOLVED_FOR: Duration = Duration::from_millis(500);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;

type Answer = Result<Vec<IpAddr>, String>;

/// A server to connect to.
pub(super) struct Target {
    member: Member,
    lookup: RefCell<Option<Receiver<Answer>>>,
    resolved: RefCell<Option<(Instant, Answer)>>,
}

impl Target {
    pub(super) fn new(member: Member) -> Target {
        Target { member, lookup: RefCell::default(), resolved: RefCell::default() }
    }

    pub(super) fn id(&self) -> ServerId {
        self.member.id
    }

    fn port(&self, lane: Lane) -> u16 {
        if lane == Lane::Pulse { self.member.election_port } else { self.member.quorum_port }
    }

    async fn connect(&self, lane: Lane) -> Result<(TcpStream, SocketAddr), String> {
        let mut last = "its name has no address".to_owned();
        for ip in self.addresses().await? {
            let address = SocketAddr::new(ip, self.port(lane));
            match TcpStream::connect(address, CONNECT_TIMEOUT).await {
                Ok(stream) => return Ok((stream, address)),
                Err(error) => last = error.to_string(),
            }
        }
        Err(last)
    }

    async fn addresses(&self) -> Answer {
        if let Ok(ip) = self.member.host.parse() {
            return Ok(vec![ip]);
        }
        let begun = Instant::now();
        loop {
            if let Some((at, answer)) = &*self.resolved.borrow()
                && begun.duration_since(*at) < RESOLVED_FOR
            {
                return answer.clone();
            }
            self.look_up();
            if begun.elapsed() > RESOLVE_TIMEOUT {
                return Err(format!("resolving its name takes longer than {} s", RESOLVE_TIMEOUT.as_secs()));
            }
            exec::sleep(RESOLVE_POLL).await;
        }
    }

    /// Takes the result of the look-up that runs, or begins one. There is one at a time, however long it takes.
    fn look_up(&self) {
        let mut lookup = self.lookup.borrow_mut();
        if let Some(running) = &*lookup {
            let Ok(answer) = running.try_recv() else { return };
            *self.resolved.borrow_mut() = Some((Instant::now(), answer));
            *lookup = None;
            return;
        }
        let (sender, receiver) = bounded(1);
        let host = self.member.host.clone();
        let work = move || {
            let found = (host.as_str(), 0).to_socket_addrs().map_err(|e| format!("its name doesn't resolve: {e}"));
            // Nobody may be waiting any more.
            let _ = sender.send(found.map(|all| {
                let mut ips: Vec<IpAddr> = Vec::new();
                for ip in all.map(|a| a.ip()) {
                    if !ips.contains(&ip) && ips.len() < ADDRESSES_MAX {
                        ips.push(ip);
                    }
                }
                ips
            }));
        };
        match std::thread::Builder::new().name("resolve".to_owned()).spawn(work) {
            Ok(_) => *lookup = Some(receiver),
            Err(error) => *self.resolved.borrow_mut() = Some((Instant::now(), Err(format!("no thread for resolving its name: {error}")))),
        }
    }
}

impl Peers {
    /// Connects, and connects again whenever that ends.
    pub(super) async fn keep_connected(self, target: Rc<Target>, lane: Lane, mut jitter: Prng) {
        let mut pause_ms = 0;
        loop {
            match target.connect(lane).await {
                Ok((stream, address)) => {
                    let socket = self.adopt_dialed(stream, target.id(), lane, address);
                    socket.over.rung().await;
                    let now = self.0.clock.now().mono;
                    if socket.up_since.get().is_some_and(|since| now.since(since) >= STABLE_MS) {
                        pause_ms = 0;
                    }
                }
                Err(error) => {
                    let address = format!("{}:{}", target.member.host, target.port(lane));
                    let now = self.0.clock.now().mono;
                    self.0.links.borrow_mut().on_dial_failed(now, target.id(), &address, &error);
                    self.carry_out();
                }
            }
            let spread_ms = jitter.below(pause_ms / 2 + 1);
            exec::sleep(Duration::from_millis(pause_ms - pause_ms / 4 + spread_ms)).await;
            pause_ms = (pause_ms * 2).clamp(PAUSE_MS_MIN, PAUSE_MS_MAX);
        }
    }
}

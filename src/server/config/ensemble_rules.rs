//! From `server.N` lines, `myid` and their company to an [`Ensemble`], or to none: which servers there are, which one this is,
//! and what contradicts itself.

use super::rules::{OwnLine, Reader, is_wildcard};
use super::server_line::{self, ServerLine};
use super::settings::finding;
use super::{Beside, Bootstrap, Companion, Config, Ensemble, Level, Origin, kind};
use crate::base::ids::ServerId;
use crate::model::membership::{Member, Membership};
use std::collections::BTreeMap;

/// Name of the file in `dataDir` that holds this server's number.
pub(super) const MY_ID: &str = "myid";
/// Ticks to connect and be synchronised, as in ZooKeeper's sample file (it has no default).
const INIT_LIMIT_DEFAULT: u64 = 10;
/// Ticks that a synchronised server may lag, from the same file.
const SYNC_LIMIT_DEFAULT: u64 = 5;
/// Highest server id that leaves the session ids' first byte to nodes with a time to live (ZooKeeper: `EphemeralType`).
const ID_MAX_WITH_EXTENDED_TYPES: u8 = 254;
/// A peer is given the chance to lose this many heartbeats but one.
const PULSES_IN_SILENCE_MIN: u64 = 3;
/// Records of the largest client frame that a peer's backlog holds at least.
const BACKLOG_FRAMES_MIN: u64 = 4;

/// One `server.N` line.
#[derive(Clone, Debug)]
pub(super) struct Line {
    origin: Origin,
    says: ServerLine,
}

pub(super) type Lines = BTreeMap<ServerId, Line>;

/// What the configuration says about members.
#[derive(Debug)]
pub(super) enum Members {
    /// The server stands alone; perhaps with one line that gives its client address.
    Alone(Option<OwnLine>),
    /// There are several, and this server is one of them; unknown which after an error about `myid`.
    Ensemble(Option<ServerId>, Lines),
}

impl Members {
    /// What this server's line says about its client address.
    pub(super) fn own_line(&self) -> Option<OwnLine> {
        match self {
            Members::Alone(own) => own.clone(),
            Members::Ensemble(me, lines) => own_line(lines.get(&(*me)?)?),
        }
    }
}

fn own_line(line: &Line) -> Option<OwnLine> {
    let (host, port) = line.says.client.clone()?;
    Some((line.origin.clone(), host, port))
}

/// Reads the members, and decides as ZooKeeper 3.9 does whether they are an ensemble: more than one voter, or
/// `standaloneEnabled=false`.
pub(super) fn members(r: &mut Reader<'_>, beside: &Beside<'_>) -> Members {
    let standalone_enabled = r.bool("standaloneEnabled", true);
    let lines = lines(r);
    let observers = lines.values().filter(|line| line.says.observer).count();
    let voters = lines.len() - observers;
    if r.settings.refused_any("server.") || r.settings.refused("dynamicConfigFile") {
        // What the broken line meant is unknown, and it has its finding already.
        return Members::Alone(None);
    }
    let Some((first, line)) = lines.first_key_value() else {
        no_members(r, standalone_enabled, beside.dynamic);
        return Members::Alone(None);
    };
    if voters == 0 {
        let text =
            format!("`server.{}` is an observer, and so is every other; an ensemble of observers only can't decide anything", first.0);
        r.error(&line.origin, text);
        return Members::Alone(None);
    }
    if voters == 1 && standalone_enabled {
        if let Some((id, line)) = lines.iter().find(|(_, line)| line.says.observer) {
            let text = format!(
                "`server.{}` is an observer of one single server; that server runs alone unless standaloneEnabled=false is set on all",
                id.0
            );
            r.error(&line.origin, text);
            return Members::Alone(None);
        }
        let text = format!("`server.{}` is the only member, so the server runs alone, as ZooKeeper does", first.0);
        r.findings.push(finding(Level::Info, &line.origin, text));
        return Members::Alone(own_line(line));
    }
    let me = my_id(r, &lines, beside.my_id);
    Members::Ensemble(me, lines)
}

/// No line at all is a standalone server, unless something says otherwise.
fn no_members(r: &mut Reader<'_>, standalone_enabled: bool, dynamic: Companion<'_>) {
    if let Some(setting) = r.settings.get("dynamicConfigFile") {
        // About a file that isn't there, or is broken, there is a finding already.
        if let Companion::Read(file) = dynamic
            && !r.findings.iter().any(|f| f.file == file.name && f.level == Level::Error)
        {
            r.error(
                &setting.origin,
                format!("{}, which `dynamicConfigFile` names, holds no `server.N` line; add one for each server", file.name),
            );
        }
    } else if !standalone_enabled {
        let origin = r.origins.get("standaloneEnabled").cloned().unwrap_or(Origin::Default);
        let text = "`standaloneEnabled` is false, so this server belongs to an ensemble, but there is no `server.N` line; add one for \
                    each server, or remove `standaloneEnabled`";
        r.error(&origin, text.into());
    }
}

fn lines(r: &mut Reader<'_>) -> Lines {
    let settings = r.settings;
    let mut lines = Lines::new();
    for (name, setting) in settings.of_pattern("server.*") {
        let number = name.trim_start_matches("server.");
        let Some(id) = kind::server_id(number).map(ServerId) else {
            r.error(&setting.origin, format!("`{name}`: the number of a server is 1 to 255, as in its file `{MY_ID}`"));
            continue;
        };
        let Some(says) = server_line::parse(&setting.value) else { continue };
        r.origins.insert("server.*".to_owned(), setting.origin.clone());
        r.origins.insert(format!("server.{}", id.0), setting.origin.clone());
        if let Some(first) = lines.insert(id, Line { origin: setting.origin.clone(), says }) {
            let text = format!("`{name}` is a second server of number {}, the first is at {}; give each its own", id.0, first.origin);
            r.error(&setting.origin, text);
        }
    }
    lines
}

/// Which server this is, by the file `myid`.
fn my_id(r: &mut Reader<'_>, lines: &Lines, file: Companion<'_>) -> Option<ServerId> {
    let place = r.settings.get("dataDir").map_or_else(|| "dataDir".to_owned(), |dir| dir.value.trim_end_matches('/').to_owned());
    let place = format!("{place}/{MY_ID}");
    let numbers: Vec<String> = lines.keys().map(|id| id.0.to_string()).collect();
    let numbers = numbers.join(", ");
    let (name, bytes) = match file {
        Companion::Read(file) => (file.name, file.bytes),
        Companion::Absent => {
            let text = format!(
                "{place} is missing: it holds the number of this server, one of {numbers}. Write the N of its `server.N` line into it \
                 (echo {} > {place})",
                lines.keys().next().map_or(1, |id| id.0)
            );
            r.error(&Origin::Default, text);
            return None;
        }
        Companion::Unreadable { name, why } => {
            r.error(&Origin::Default, format!("{name}, which holds the number of this server, can't be read: {why}"));
            return None;
        }
    };
    let origin = Origin::File { name: name.to_owned(), line: 1 };
    let text = String::from_utf8_lossy(bytes);
    let first = text.lines().next().unwrap_or_default().trim();
    let Some(id) = kind::server_id(first).map(ServerId) else {
        let found: String = first.chars().take(20).collect();
        r.error(&origin, format!("`{found}` is no number of a server; accepted is one line with one of {numbers}"));
        return None;
    };
    if !lines.contains_key(&id) {
        let text =
            format!("this server is number {}, but there is no `server.{}` line; there are {numbers}. Correct one of them", id.0, id.0);
        r.error(&origin, text);
        return None;
    }
    r.origins.insert(MY_ID.to_owned(), origin);
    Some(id)
}

/// The ensemble, if the members are one. After an error the result is `None` or incomplete; it is never handed out then.
pub(super) fn ensemble(r: &mut Reader<'_>, members: Members, config: &Config) -> Option<Ensemble> {
    let read_only_enabled = r.bool("readonlymode.enabled", false);
    let Members::Ensemble(me, lines) = members else { return None };
    let shape = shape(r, &lines);
    let version = r.text("version").and_then(kind::hex).unwrap_or(0);
    let membership = Membership::new(version, lines.iter().filter_map(|(id, line)| member(*id, line, &shape)));
    check_lines(r, &lines, config);
    if let Some(id) = me {
        check_own(r, id, &lines, config);
    }
    check_tolerance(r, &membership, &shape);
    let pulse_interval_ms = r.int("ringkeeper.pulse.intervalMs", 100);
    let built = Ensemble {
        me: me?,
        membership,
        init_ms: limit_ms(r, "initLimit", INIT_LIMIT_DEFAULT, config.tick_ms),
        sync_ms: limit_ms(r, "syncLimit", SYNC_LIMIT_DEFAULT, config.tick_ms),
        pulse_interval_ms,
        silence_ms: silence_ms(r, pulse_interval_ms),
        gather_ms: r.int("ringkeeper.election.gatherMs", 60),
        bootstrap: if r.text("ringkeeper.bootstrap") == Some("quorum") { Bootstrap::Quorum } else { Bootstrap::All },
        founder: false,
        peer_backlog_bytes: backlog_bytes(r, config.frame_bytes_max),
        catchup_cache_bytes: r.int::<u64>("ringkeeper.catchup.cacheKb", 65_536) * 1024,
        listen_on_all: r.bool("quorumListenOnAllIPs", false),
        read_only_enabled,
    };
    if config.reconfig_enabled {
        let origin = r.origins.get("reconfigEnabled").cloned().unwrap_or(Origin::Default);
        let text = "`reconfigEnabled=true`: changing the members of a running ensemble is not built yet, so reconfig is refused";
        r.warn(&origin, text.into());
    }
    Some(built)
}

/// Ticks as milliseconds.
fn limit_ms(r: &mut Reader<'_>, name: &'static str, default: u64, tick_ms: u32) -> u64 {
    let ticks = r.int(name, default);
    if ticks == 0 {
        let origin = r.origins.get(name).cloned().unwrap_or(Origin::Default);
        r.error(&origin, format!("`{name}` is 0 ticks, so no server could ever join; set it to {default}"));
    }
    ticks.saturating_mul(u64::from(tick_ms))
}

fn silence_ms(r: &mut Reader<'_>, interval_ms: u64) -> u64 {
    let silence_ms = r.int("ringkeeper.pulse.silenceMs", 800);
    let least = interval_ms.saturating_mul(PULSES_IN_SILENCE_MIN);
    if silence_ms < least {
        let set = r.origins.get("ringkeeper.pulse.silenceMs").or_else(|| r.origins.get("ringkeeper.pulse.intervalMs"));
        let origin = set.cloned().unwrap_or(Origin::Default);
        let text = format!(
            "`ringkeeper.pulse.silenceMs` ({silence_ms}) is below {PULSES_IN_SILENCE_MIN} times `ringkeeper.pulse.intervalMs` \
             ({interval_ms}): a single late heartbeat would cost a leader its office; set it to {least} or more"
        );
        r.error(&origin, text);
    }
    silence_ms
}

fn backlog_bytes(r: &mut Reader<'_>, frame_bytes_max: usize) -> u64 {
    let bytes = r.int::<u64>("ringkeeper.peer.backlogKb", 65_536) * 1024;
    let least = BACKLOG_FRAMES_MIN * frame_bytes_max as u64;
    if bytes < least {
        let set = r.origins.get("ringkeeper.peer.backlogKb").or_else(|| r.origins.get("jute.maxbuffer"));
        let origin = set.cloned().unwrap_or(Origin::Default);
        let text = format!(
            "`ringkeeper.peer.backlogKb` is {}, too little for {BACKLOG_FRAMES_MIN} requests of `jute.maxbuffer` ({frame_bytes_max} bytes), \
             so that a large one would cut every peer off; set it to {} or more",
            bytes / 1024,
            least.div_ceil(1024)
        );
        r.error(&origin, text);
    }
    bytes
}

/// Groups and weights.
#[derive(Debug, Default)]
struct Shape {
    /// Whether there are any; else each voter has one vote.
    hierarchical: bool,
    groups: BTreeMap<ServerId, u32>,
    weights: BTreeMap<ServerId, u64>,
}

fn member(id: ServerId, line: &Line, shape: &Shape) -> Option<Member> {
    let (host, quorum_port, election_port) = line.says.addresses.first()?.clone();
    let client = line.says.client.as_ref().map(|(host, port)| {
        let host = host.as_deref().unwrap_or("0.0.0.0");
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    });
    let group = shape.groups.get(&id).copied().unwrap_or(0);
    let weight = shape.weights.get(&id).copied().unwrap_or(1);
    Some(Member { id, votes: !line.says.observer, weight, group, host, quorum_port, election_port, client })
}

fn shape(r: &mut Reader<'_>, lines: &Lines) -> Shape {
    let settings = r.settings;
    let mut shape = Shape::default();
    for (name, setting) in settings.of_pattern("group.*") {
        shape.hierarchical = true;
        r.origins.insert(name.to_owned(), setting.origin.clone());
        let digits = name.trim_start_matches("group.");
        let number = digits.parse::<u32>().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()));
        let Some(number) = number else {
            r.error(&setting.origin, format!("`{name}`: the number of a group is 0 to {}", u32::MAX));
            continue;
        };
        for id in kind::group(&setting.value).unwrap_or_default().into_iter().map(ServerId) {
            if !lines.contains_key(&id) {
                r.warn(&setting.origin, format!("`{name}` names server {}, for which there is no `server.{}` line", id.0, id.0));
            } else if let Some(other) = shape.groups.insert(id, number) {
                r.error(&setting.origin, format!("`{name}` names server {}, which is in group {other} already; keep one of them", id.0));
            }
        }
    }
    for (name, setting) in settings.of_pattern("weight.*") {
        shape.hierarchical = true;
        r.origins.insert(name.to_owned(), setting.origin.clone());
        match kind::server_id(name.trim_start_matches("weight.")).map(ServerId) {
            Some(id) if lines.contains_key(&id) => {
                shape.weights.insert(id, kind::int(&setting.value).and_then(|n| u64::try_from(n).ok()).unwrap_or(1));
            }
            _ => r.warn(&setting.origin, format!("`{name}` is the weight of a server for which there is no `server.N` line")),
        }
    }
    if shape.hierarchical {
        for (id, line) in lines.iter().filter(|(id, line)| !line.says.observer && !shape.groups.contains_key(id)) {
            let text =
                format!("`server.{0}` is in no group, and with `group.N` or `weight.N` each voter is in one; add {0} to a group", id.0);
            r.error(&line.origin, text);
        }
    }
    shape
}

/// Each server has one address and ports of its own.
fn check_lines(r: &mut Reader<'_>, lines: &Lines, config: &Config) {
    let mut taken: BTreeMap<(String, u16), (ServerId, Origin)> = BTreeMap::new();
    for (id, line) in lines {
        let name = format!("server.{}", id.0);
        if line.says.addresses.len() > 1 {
            let text = format!(
                "`{name}` has several addresses; that is not built yet, and a server that isn't reached at the first would be cut off. Keep one"
            );
            r.error(&line.origin, text);
        }
        if id.0 > ID_MAX_WITH_EXTENDED_TYPES && config.extended_types {
            let text = format!(
                "`{name}`: with extendedTypesEnabled=true the highest number of a server is {ID_MAX_WITH_EXTENDED_TYPES}, since 255 marks the \
                 owner of a node with a time to live"
            );
            r.error(&line.origin, text);
        }
        let Some((host, quorum, election)) = line.says.addresses.first() else { continue };
        let client = line.says.client.iter().map(|(own, port)| (own.as_ref().filter(|own| !is_wildcard(own)).unwrap_or(host), *port));
        for (host, port) in [(host, *quorum), (host, *election)].into_iter().chain(client) {
            if port == 0 {
                r.error(&line.origin, format!("`{name}` names port 0, which nobody can find; give it a port"));
                continue;
            }
            let address = (host.to_ascii_lowercase(), port);
            match taken.get(&address) {
                None => {
                    taken.insert(address, (*id, line.origin.clone()));
                }
                Some((first, _)) if first == id => {
                    r.error(&line.origin, format!("`{name}` uses {host}:{port} twice; quorum, election and client port must differ"));
                }
                Some((first, place)) => {
                    let text = format!("`{name}` uses {host}:{port}, as does `server.{}` ({place}); give each server its own", first.0);
                    r.error(&line.origin, text);
                }
            }
        }
    }
}

/// What only concerns this server's own line.
fn check_own(r: &mut Reader<'_>, me: ServerId, lines: &Lines, config: &Config) {
    let Some(line) = lines.get(&me) else { return };
    if let Some((host, quorum, election)) = line.says.addresses.first()
        && line.says.client.is_none()
        && config.client_host.as_ref().is_none_or(|own| own == host || is_wildcard(own))
        && [*quorum, *election].contains(&config.client_port)
    {
        let text = format!("`server.{}` gives servers the port {}, which is also `clientPort`; they must differ", me.0, config.client_port);
        r.error(&line.origin, text);
    }
    let by_list = if line.says.observer { "observer" } else { "participant" };
    if let Some(setting) = r.set("peerType")
        && setting.value != by_list
    {
        let text = format!("`peerType` is {}, but `server.{}` says {by_list}, and that holds, as in ZooKeeper", setting.value, me.0);
        r.warn(&setting.origin, text);
    }
}

/// What the ensemble can bear.
fn check_tolerance(r: &mut Reader<'_>, membership: &Membership, shape: &Shape) {
    let voters = membership.voters().count();
    if !membership.is_quorum(&membership.voters().collect()) {
        return r.error(&Origin::Default, "no set of servers decides: the weights of all voters are 0".into());
    }
    let text = match voters {
        1 => "1 voter: when it fails, nobody decides. Three are the least that bear the loss of one".to_owned(),
        2 => "2 voters: both must run for anything to be decided, which is less safe than one alone. Use 3".to_owned(),
        _ if !membership.tolerates_one_failure() => {
            format!("{voters} voters with these groups and weights: the loss of a single one can be the end of every quorum")
        }
        _ if voters.is_multiple_of(2) && !shape.hierarchical => {
            format!("{voters} voters bear the loss of {}, no more than {} do; use an odd number", (voters - 1) / 2, voters - 1)
        }
        _ => return,
    };
    r.warn(&Origin::Default, text);
}

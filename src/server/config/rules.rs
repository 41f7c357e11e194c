//! Typed reading of settings, and the rules that concern several keys or more than a key's kind.

use super::settings::{Setting, Settings, finding};
use super::zoo_cfg::{LogLevel, Placement, SEGMENT_KB_MAX, SEGMENT_KB_MIN, SNAP_RETAIN_MIN, WORDS_DEFAULT};
use super::{Finding, Level, Origin, kind};
use crate::base::limits::FRONTS_MAX;
use crate::server::words::{Word, WordSet};
use std::collections::BTreeMap;

/// Most fronts that are started without being asked for.
const FRONTS_DEFAULT_MAX: usize = 16;

/// Reads typed values and remembers where each came from.
pub(super) struct Reader<'a> {
    pub(super) settings: &'a Settings,
    pub(super) origins: BTreeMap<String, Origin>,
    pub(super) findings: &'a mut Vec<Finding>,
}

impl<'a> Reader<'a> {
    pub(super) fn set(&mut self, name: &'static str) -> Option<&'a Setting> {
        let setting = self.settings.get(name)?;
        self.origins.insert(setting.key.name.to_owned(), setting.origin.clone());
        Some(setting)
    }

    pub(super) fn text(&mut self, name: &'static str) -> Option<&'a str> {
        self.set(name).map(|setting| setting.value.as_str())
    }

    /// A number whose kind has already bounded it to what `T` holds; `default` also stands in for what is out of it.
    pub(super) fn int<T: TryFrom<i64> + Copy>(&mut self, name: &'static str, default: T) -> T {
        self.text(name).and_then(kind::int).and_then(|n| T::try_from(n).ok()).unwrap_or(default)
    }

    /// As [`Reader::int`], where 0 means "no limit", "never" or "off".
    pub(super) fn int_or_none<T: TryFrom<i64> + Copy + PartialEq + From<u8>>(&mut self, name: &'static str, default: T) -> Option<T> {
        let n = self.int(name, default);
        (n != T::from(0)).then_some(n)
    }

    pub(super) fn bool(&mut self, name: &'static str, default: bool) -> bool {
        self.text(name).and_then(kind::boolean).unwrap_or(default)
    }

    pub(super) fn error(&mut self, origin: &Origin, text: String) {
        self.findings.push(finding(Level::Error, origin, text));
    }

    pub(super) fn warn(&mut self, origin: &Origin, text: String) {
        self.findings.push(finding(Level::Warning, origin, text));
    }
}

/// What a `server.N` line says about the client address of its server: where it stands, host and port.
pub(super) type OwnLine = (Origin, Option<String>, u16);

/// Address and port for clients: their own keys, or the client part of this server's `server.N` line. Said twice they must
/// agree, but the wildcard address gives way to a host, as in ZooKeeper.
pub(super) fn client_address(r: &mut Reader<'_>, member: Option<OwnLine>) -> (Option<String>, u16) {
    let (member_host, member_port) = member.clone().map_or((None, None), |(_, host, port)| (host, Some(port)));
    let mut host = r.text("clientPortAddress").map(str::to_owned);
    let port = r.set("clientPort").map(|setting| kind::int(&setting.value).and_then(|n| u16::try_from(n).ok()).unwrap_or(0));
    let from_command_line = |r: &Reader<'_>, key: &str| r.origins.get(key) == Some(&Origin::CommandLine);
    if let Some((origin, ..)) = &member {
        if let (Some(own), Some(other)) = (port, member_port)
            && own != other
            && !from_command_line(r, "clientPort")
        {
            r.error(origin, format!("the client port {other} differs from `clientPort`, which is {own}; keep one of them"));
        }
        if member_host.is_some() && host.as_deref().is_some_and(is_wildcard) && !from_command_line(r, "clientPortAddress") {
            host = None;
        }
        if let (Some(own), Some(other)) = (&host, &member_host)
            && own != other
            && !from_command_line(r, "clientPortAddress")
        {
            r.error(origin, format!("the client address {other} differs from `clientPortAddress`, which is {own}; keep one of them"));
        }
        if port.is_none() {
            r.origins.insert("clientPort".to_owned(), origin.clone());
        }
        if host.is_none() && member_host.is_some() {
            r.origins.insert("clientPortAddress".to_owned(), origin.clone());
        }
    }
    if port.or(member_port).is_none() && !r.settings.refused("clientPort") {
        match r.settings.get("secureClientPort") {
            // Whoever asked for TLS only isn't to be talked into a port without it.
            Some(setting) => r.error(
                &setting.origin,
                "`secureClientPort` asks for TLS only, and TLS is not built yet; there is no `clientPort`. Adding one (clientPort=2181) opens a port \
                 without encryption: do so only where that is acceptable"
                    .into(),
            ),
            None => r.error(&Origin::Default, "`clientPort` is not set; add clientPort=2181".into()),
        }
    }
    (host.or(member_host), port.or(member_port).unwrap_or(0))
}

/// Whether a host stands for every address of the machine.
pub(super) fn is_wildcard(host: &str) -> bool {
    matches!(host, "0.0.0.0" | "::" | "0:0:0:0:0:0:0:0")
}

pub(super) fn directories(r: &mut Reader<'_>) -> (String, String) {
    let data = r.text("dataDir").map(str::to_owned);
    if data.is_none() && !r.settings.refused("dataDir") {
        r.error(&Origin::Default, "`dataDir` is not set; add the directory that holds the data".into());
    }
    let data = data.unwrap_or_default();
    let log = r.text("dataLogDir").map_or_else(|| data.clone(), str::to_owned);
    (data, log)
}

pub(super) fn session_timeouts(r: &mut Reader<'_>, tick_ms: u32) -> (u32, u32) {
    let or_ticks = |n: i64, ticks: u32| u32::try_from(n).unwrap_or(tick_ms.saturating_mul(ticks));
    let min = or_ticks(r.int("minSessionTimeout", -1), 2);
    let max = or_ticks(r.int("maxSessionTimeout", -1), 20);
    if min > max {
        let origin = r.origins.get("minSessionTimeout").or_else(|| r.origins.get("maxSessionTimeout")).cloned().unwrap_or(Origin::Default);
        r.error(&origin, format!("`minSessionTimeout` ({min} ms) is above `maxSessionTimeout` ({max} ms)"));
    }
    (min, max)
}

pub(super) fn words(r: &mut Reader<'_>) -> WordSet {
    let mut set = WORDS_DEFAULT;
    if let Some(setting) = r.set("4lw.commands.whitelist") {
        let (asked, unknown) = kind::words(&setting.value);
        set = asked.with(Word::Srvr);
        for name in unknown {
            r.warn(&setting.origin, format!("`4lw.commands.whitelist` names `{name}`, which is no four-letter word"));
        }
    }
    if r.bool("readonlymode.enabled", false) { set.with(Word::Isro) } else { set }
}

pub(super) fn retain_count(r: &mut Reader<'_>) -> u32 {
    let asked = r.int("autopurge.snapRetainCount", SNAP_RETAIN_MIN);
    if asked < SNAP_RETAIN_MIN {
        let origin = r.origins.get("autopurge.snapRetainCount").cloned().unwrap_or(Origin::Default);
        r.warn(&origin, format!("`autopurge.snapRetainCount` is {asked}; {SNAP_RETAIN_MIN} is the least and is used"));
    }
    asked.max(SNAP_RETAIN_MIN)
}

/// Our own key says the segment's size; `preAllocSize`, which is about the same thing, is brought into its range.
pub(super) fn segment_kb(r: &mut Reader<'_>) -> u64 {
    let hinted: u64 = r.int("preAllocSize", 65_536);
    let hint = hinted.clamp(SEGMENT_KB_MIN, SEGMENT_KB_MAX);
    if r.settings.get("ringkeeper.log.segment.kb").is_some() {
        return r.int("ringkeeper.log.segment.kb", hint);
    }
    if let Some(origin) = r.origins.get("preAllocSize").cloned() {
        r.origins.insert("ringkeeper.log.segment.kb".to_owned(), origin.clone());
        if hint != hinted {
            r.findings.push(finding(
                Level::Info,
                &origin,
                format!("`preAllocSize` is {hinted}; log segments have {hint} KiB, the nearest size there is"),
            ));
        }
    }
    hint
}

/// Placement and number of fronts. On one executor there is one front.
pub(super) fn placement(r: &mut Reader<'_>, cores_available: usize) -> (Placement, usize) {
    let small = cores_available <= 2;
    let placement = match r.text("ringkeeper.placement") {
        Some("one") => Placement::One,
        Some(_) => Placement::Spread,
        None if small => Placement::One,
        None => Placement::Spread,
    };
    let usual = if small || placement == Placement::One { 1 } else { (cores_available / 2).min(FRONTS_DEFAULT_MAX).min(FRONTS_MAX) };
    let fronts: usize = r.int("ringkeeper.fronts", usual);
    if placement == Placement::One && fronts > 1 {
        let origin = r.origins.get("ringkeeper.fronts").cloned().unwrap_or(Origin::Default);
        r.warn(
            &origin,
            format!(
                "`ringkeeper.fronts` is {fronts}, but one executor holds all roles: one front is started; set ringkeeper.placement=spread"
            ),
        );
        return (placement, 1);
    }
    (placement, fronts)
}

pub(super) fn skip_acl(r: &mut Reader<'_>) -> bool {
    let Some(setting) = r.set("skipACL") else { return false };
    let skip = setting.value == "yes";
    if skip {
        r.warn(&setting.origin, "`skipACL=yes`: every client may read and change everything".into());
    }
    skip
}

pub(super) fn super_digest(r: &mut Reader<'_>) -> Option<String> {
    r.text("DigestAuthenticationProvider.superDigest").map(str::to_owned)
}

/// Names with commas between them.
pub(super) fn names(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

pub(super) fn log_level(r: &mut Reader<'_>) -> LogLevel {
    match r.text("ringkeeper.log.level") {
        Some("error") => LogLevel::Error,
        Some("warn") => LogLevel::Warn,
        Some("debug") => LogLevel::Debug,
        Some("trace") => LogLevel::Trace,
        _ => LogLevel::Info,
    }
}

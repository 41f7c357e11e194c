//! What a configuration comes to, as text: for `ringkeeper check-config`, and the tables of `docs/configuration.md`.

use super::keys::{Fate, Key, SECTIONS};
use super::{Bootstrap, Checked, Config, Ensemble, Executor, LogFormat, LogLevel, LogSync, Placement, settings};
use std::fmt::Write;

/// Every effective value with where it comes from, in the syntax of a configuration, and below it what was set without effect.
#[must_use]
pub fn render_effective(checked: &Checked) -> String {
    let values = values(checked);
    let width = values.iter().map(|(key, value)| key.len() + value.len() + 1).max().unwrap_or(0).min(60);
    let mut out = String::new();
    for (key, value) in &values {
        let pair = format!("{key}={}", settings::shown(key, value));
        line(&mut out, format_args!("{pair:width$}  # {}", checked.origin(key)));
    }
    if let Some(ensemble) = &checked.config.ensemble {
        // No key of the file, so no line that could be read as one.
        let pair = format!("# myid={}", ensemble.me.0);
        line(&mut out, format_args!("{pair:width$}  # {}", checked.origin("myid")));
    }
    if !checked.idle.is_empty() {
        line(&mut out, format_args!("\n# set, but without effect here:"));
    }
    for idle in &checked.idle {
        let pair = format!("# {}={}", idle.name, idle.value);
        line(&mut out, format_args!("{pair:width$}  # {}", idle.origin));
    }
    out
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String can't fail.
    let _ = out.write_fmt(text);
    out.push('\n');
}

/// The value of every honoured key as one would write it, in the order of the documentation. Not set is an empty text.
fn values(checked: &Checked) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = server_values(&checked.config).into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    all.push(("standaloneEnabled".to_owned(), checked.standalone_enabled.to_string()));
    all.push(("dynamicConfigFile".to_owned(), checked.dynamic.clone().unwrap_or_default()));
    if let Some(ensemble) = &checked.config.ensemble {
        all.extend(ensemble_values(ensemble, checked.config.tick_ms));
    }
    all
}

fn ensemble_values(e: &Ensemble, tick_ms: u32) -> Vec<(String, String)> {
    let ticks = |ms: u64| (ms / u64::from(tick_ms.max(1))).to_string();
    let own = e.membership.get(e.me);
    let plain = [
        ("initLimit", ticks(e.init_ms)),
        ("syncLimit", ticks(e.sync_ms)),
        ("peerType", if own.is_some_and(|own| own.votes) { "participant" } else { "observer" }.into()),
        ("quorumListenOnAllIPs", e.listen_on_all.to_string()),
        ("readonlymode.enabled", e.read_only_enabled.to_string()),
        ("ringkeeper.pulse.intervalMs", e.pulse_interval_ms.to_string()),
        ("ringkeeper.pulse.silenceMs", e.silence_ms.to_string()),
        ("ringkeeper.election.gatherMs", e.gather_ms.to_string()),
        ("ringkeeper.bootstrap", if e.bootstrap == Bootstrap::All { "all" } else { "quorum" }.into()),
        ("ringkeeper.peer.backlogKb", (e.peer_backlog_bytes / 1024).to_string()),
        ("ringkeeper.catchup.cacheKb", (e.catchup_cache_bytes / 1024).to_string()),
    ];
    let mut all: Vec<(String, String)> = plain.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let text = crate::model::membership_text::membership_text(&e.membership);
    all.extend(text.lines().filter_map(|line| line.split_once('=')).map(|(key, value)| (key.to_owned(), value.to_owned())));
    all
}

fn server_values(c: &Config) -> Vec<(&'static str, String)> {
    fn number<T: ToString>(n: Option<T>, none: &str) -> String {
        n.map_or_else(|| none.to_owned(), |n| n.to_string())
    }
    let list = |items: Vec<String>| items.join(",");
    let yes_no = |on: bool| if on { "yes" } else { "no" }.to_owned();
    vec![
        ("ringkeeper.log.shards", c.log_shards.to_string()),
        ("ringkeeper.log.sync", if c.log_sync == LogSync::Dsync { "dsync" } else { "fdatasync" }.into()),
        ("ringkeeper.log.segment.kb", c.log_segment_kb.to_string()),
        ("ringkeeper.fronts", c.fronts.to_string()),
        ("ringkeeper.executor", if c.executor == Executor::Ring { "ring" } else { "glommio" }.into()),
        ("ringkeeper.placement", if c.placement == Placement::One { "one" } else { "spread" }.into()),
        ("ringkeeper.cores", list(c.cores.iter().map(usize::to_string).collect())),
        ("ringkeeper.attend.us", c.attend_us.to_string()),
        ("ringkeeper.log.format", if c.log_format == LogFormat::Text { "text" } else { "json" }.into()),
        ("ringkeeper.log.level", log_level(c.log_level).into()),
        ("ringkeeper.slow.request.ms", number(c.slow_request_ms, "0")),
        ("dataDir", c.data_dir.clone()),
        ("dataLogDir", c.data_log_dir.clone()),
        ("clientPort", c.client_port.to_string()),
        ("clientPortAddress", c.client_host.clone().unwrap_or_default()),
        ("clientPortListenBacklog", number(c.listen_backlog, "-1")),
        ("tickTime", c.tick_ms.to_string()),
        ("minSessionTimeout", c.min_session_timeout_ms.to_string()),
        ("maxSessionTimeout", c.max_session_timeout_ms.to_string()),
        ("maxClientCnxns", number(c.max_client_cnxns, "0")),
        ("maxCnxns", number(c.max_cnxns, "0")),
        ("4lw.commands.whitelist", list(c.words.iter().map(|word| word.name().to_owned()).collect())),
        ("snapCount", c.snap_count.to_string()),
        ("snapSizeLimitInKb", number(c.snap_size_limit_kb, "-1")),
        ("autopurge.snapRetainCount", c.purge_retain_count.to_string()),
        ("fsync.warningthresholdms", c.fsync_warning_ms.to_string()),
        ("digest.enabled", c.digest_enabled.to_string()),
        ("datadir.autocreate", c.data_dir_autocreate.to_string()),
        ("jute.maxbuffer", c.frame_bytes_max.to_string()),
        ("extendedTypesEnabled", c.extended_types.to_string()),
        ("enforceQuota", c.enforce_quota.to_string()),
        ("reconfigEnabled", c.reconfig_enabled.to_string()),
        ("znode.container.checkIntervalMs", c.container_check_interval_ms.to_string()),
        ("znode.container.maxPerMinute", c.container_max_per_minute.to_string()),
        ("znode.container.maxNeverUsedIntervalMs", number(c.container_max_never_used_ms, "0")),
        ("nio.sessionlessCnxnTimeout", c.sessionless_timeout_ms.to_string()),
        ("clientTcpKeepAlive", c.tcp_keepalive.to_string()),
        ("skipACL", yes_no(c.skip_acl)),
        ("DigestAuthenticationProvider.enabled", c.digest_auth_enabled.to_string()),
        ("DigestAuthenticationProvider.superDigest", c.super_digest.clone().unwrap_or_default()),
        ("DigestAuthenticationProvider.digestAlg", "SHA1".into()),
        ("ensembleAuthName", list(c.ensemble_names.clone())),
    ]
}

fn log_level(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    }
}

/// The tables of `docs/configuration.md`, one for each section of the catalogue.
#[must_use]
pub fn render_tables() -> String {
    let mut out = String::new();
    for section in SECTIONS {
        line(&mut out, format_args!("## {}\n", section.title));
        line(&mut out, format_args!("| key | accepted | default | here | meaning |\n|---|---|---|---|---|"));
        for key in section.keys {
            let accepted = key.kind.accepted().replace('|', "\\|");
            line(&mut out, format_args!("| `{}` | {accepted} | {} | {} | {} |", key.name, key.default, fate(key), key.meaning));
        }
        out.push('\n');
    }
    out
}

fn fate(key: &Key) -> String {
    match key.fate {
        Fate::Honoured => "honoured".into(),
        Fate::InEnsemble => "honoured in an ensemble".into(),
        Fate::NoMeaning(why) => format!("no meaning: {why}"),
        Fate::Later(_) => "not built yet: warning".into(),
        Fate::Refused("") => "not built yet: refused".into(),
        Fate::Refused(off) => format!("not built yet: refused unless {off}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::all;
    use super::super::{Beside, Companion, ConfigFile, Input, check_with};
    use super::*;

    /// Keys that are honoured by way of another one's value, under which they show.
    const SHOWN_AS: &[(&str, &str)] =
        &[("preAllocSize", "ringkeeper.log.segment.kb"), ("readonlymode.enabled", "4lw.commands.whitelist"), ("server.*", "clientPort")];

    fn checked(text: &str) -> Checked {
        let file = Some(ConfigFile { name: "zoo.cfg", bytes: text.as_bytes() });
        let my_id = Companion::Read(ConfigFile { name: "/d/myid", bytes: b"2\n" });
        check_with(&Input { file, overrides: &[], cores_available: 1 }, &Beside { my_id, ..Beside::default() })
    }

    const MEMBERS: &str = "dataDir=/d\nclientPort=1\nserver.1=a:2:3\nserver.2=b:2:3;1\nserver.7=c:2:3:observer\n\
        group.1=1\ngroup.2=2\nweight.2=5\nversion=1f\n";

    #[test]
    fn every_honoured_key_shows_and_no_other() {
        let alone = checked("dataDir=/d\nclientPort=1");
        let shown: Vec<String> = values(&alone).into_iter().map(|(key, _)| key).collect();
        let has = |shown: &[String], name: &str| match name.strip_suffix('*') {
            Some(stem) => shown.iter().any(|key| key.starts_with(stem)),
            None => shown.iter().any(|key| key == name),
        };
        for key in all() {
            let through = SHOWN_AS.iter().any(|(name, other)| *name == key.name && has(&shown, other));
            let honoured = key.fate == Fate::Honoured;
            assert_eq!(has(&shown, key.name) || through, honoured, "{}", key.name);
        }
        let ensemble = checked(MEMBERS);
        let shown: Vec<String> = values(&ensemble).into_iter().map(|(key, _)| key).collect();
        for key in all() {
            let through = SHOWN_AS.iter().any(|(name, other)| *name == key.name && has(&shown, other));
            let honoured = matches!(key.fate, Fate::Honoured | Fate::InEnsemble);
            assert_eq!(has(&shown, key.name) || through, honoured, "{}", key.name);
        }
    }

    #[test]
    fn members_show_with_their_origins() {
        let shown = render_effective(&checked(MEMBERS));
        let has = |start: &str, end: &str| shown.lines().any(|l| l.starts_with(start) && l.ends_with(end));
        assert!(has("server.1=a:2:3:participant ", "# zoo.cfg:3"), "{shown}");
        assert!(has("server.2=b:2:3:participant;0.0.0.0:1 ", "# zoo.cfg:4"), "{shown}");
        assert!(has("server.7=c:2:3:observer ", "# zoo.cfg:5"), "{shown}");
        assert!(has("group.2=2 ", "# zoo.cfg:7") && has("weight.2=5 ", "# zoo.cfg:8") && has("weight.1=1 ", "# default"), "{shown}");
        assert!(has("version=1f ", "# zoo.cfg:9") && has("# myid=2 ", "# /d/myid:1") && has("initLimit=10 ", "# default"), "{shown}");
    }

    #[test]
    fn the_catalogue_names_the_default_that_holds() {
        let effective = values(&checked("dataDir=/d\nclientPort=1\nserver.1=a:2:3\nserver.2=b:2:3"));
        let mut compared = 0;
        for (name, value) in effective {
            let Some(key) = all().find(|key| key.name == name) else { continue };
            let mut listed: Vec<&str> = key.default.split(',').collect();
            let mut held: Vec<&str> = value.split(',').collect();
            listed.sort_unstable();
            held.sort_unstable();
            if key.kind.accepts(key.default) && !key.default.contains(' ') && name != "dataLogDir" && key.default != "none" {
                assert_eq!(held, listed, "{name}");
                compared += 1;
            }
        }
        assert!(compared > 35, "only {compared} defaults were compared");
    }

    #[test]
    fn values_show_their_origin_and_secrets_do_not_show() {
        let text = "dataDir=/d\nclientPort=2181\ninitLimit=10\nssl.keyStore.password=geheim\n\
                    DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU=\npreAllocSize=131072\n";
        let shown = render_effective(&checked(text));
        let has = |start: &str, end: &str| shown.lines().any(|l| l.starts_with(start) && l.ends_with(end));
        assert!(has("dataDir=/d ", "# zoo.cfg:1"), "{shown}");
        assert!(has("tickTime=3000 ", "# default"), "{shown}");
        assert!(has("ringkeeper.log.segment.kb=131072 ", "# zoo.cfg:6"), "{shown}");
        assert!(has("# initLimit=10 ", "# zoo.cfg:3"), "{shown}");
        assert!(!shown.contains("geheim") && !shown.contains("D/InIH"), "{shown}");
    }
}

//! What a configuration comes to, as text: for `ringkeeper check-config`, and the tables of `docs/configuration.md`.

use super::keys::{Fate, Key, SECTIONS};
use super::{Checked, Config, LogFormat, LogLevel, LogSync, Placement, settings};
use std::fmt::Write;

/// Every effective value with where it comes from, in the syntax of a configuration, and below it what was set without effect.
#[must_use]
pub fn render_effective(checked: &Checked) -> String {
    let values = values(&checked.config);
    let width = values.iter().map(|(key, value)| key.len() + value.len() + 1).max().unwrap_or(0).min(60);
    let mut out = String::new();
    for (key, value) in &values {
        let pair = format!("{key}={}", settings::shown(key, value));
        line(&mut out, format_args!("{pair:width$}  # {}", checked.origin(key)));
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
fn values(c: &Config) -> Vec<(&'static str, String)> {
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
        ("ringkeeper.placement", if c.placement == Placement::One { "one" } else { "spread" }.into()),
        ("ringkeeper.cores", list(c.cores.iter().map(usize::to_string).collect())),
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
        Fate::NoMeaning(why) => format!("no meaning: {why}"),
        Fate::Later(_) => "not built yet: warning".into(),
        Fate::Refused("") => "not built yet: refused".into(),
        Fate::Refused(off) => format!("not built yet: refused unless {off}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::all;
    use super::super::{ConfigFile, Input, check};
    use super::*;

    /// Keys that are honoured by way of another one's value, under which they show.
    const SHOWN_AS: &[(&str, &str)] =
        &[("preAllocSize", "ringkeeper.log.segment.kb"), ("readonlymode.enabled", "4lw.commands.whitelist"), ("server.*", "clientPort")];

    fn checked(text: &str) -> Checked {
        check(&Input { file: Some(ConfigFile { name: "zoo.cfg", bytes: text.as_bytes() }), overrides: &[], cores_available: 1 })
    }

    #[test]
    fn every_honoured_key_shows_and_no_other() {
        let shown: Vec<&str> = values(&checked("dataDir=/d\nclientPort=1").config).into_iter().map(|(key, _)| key).collect();
        for key in all() {
            let through = SHOWN_AS.iter().any(|(name, other)| *name == key.name && shown.contains(other));
            let honoured = key.fate == Fate::Honoured;
            assert_eq!(shown.contains(&key.name) || through, honoured, "{}", key.name);
        }
    }

    #[test]
    fn the_catalogue_names_the_default_that_holds() {
        let effective = values(&checked("dataDir=/d\nclientPort=1").config);
        let mut compared = 0;
        for (name, value) in effective {
            let key = all().find(|key| key.name == name).unwrap();
            let mut listed: Vec<&str> = key.default.split(',').collect();
            let mut held: Vec<&str> = value.split(',').collect();
            listed.sort_unstable();
            held.sort_unstable();
            if key.kind.accepts(key.default) && !key.default.contains(' ') && !matches!(name, "dataLogDir") && key.default != "none" {
                assert_eq!(held, listed, "{name}");
                compared += 1;
            }
        }
        assert!(compared > 25, "only {compared} defaults were compared");
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

//! The check of a `zoo.cfg`: Java's properties syntax, every key of the catalogue, values right, nearly right and wrong.

use super::meter;
use super::mutate;
use super::target::{Tally, Target, without_numbers};
use ringkeeper::base::limits::{FRAME_BYTES_MAX, FRONTS_MAX, SHARDS_MAX};
use ringkeeper::base::prng::Prng;
use ringkeeper::server::config::effective::render_effective;
use ringkeeper::server::config::keys::{self, Key};
use ringkeeper::server::config::kind::Kind;
use ringkeeper::server::config::{Checked, Config, ConfigFile, Input, Level, check, properties};

/// See the module.
pub struct Configs;

/// What checking may hold for each byte of the text: a line of few bytes gives a finding of some hundred.
const HELD_FOR_EACH_BYTE_MAX: usize = 200;
/// And for each check: the distance to every known key.
const HELD_MIN: usize = 256 << 10;

/// Parts of the sentences that a check may say.
const FINDINGS: [&str; 19] = [
    "unknown key",
    "did you mean",
    "is set again",
    "; accepted is ",
    "is accepted and has no meaning here",
    "has no effect, it is not built yet",
    "is not built yet (",
    "hexadecimal digits",
    "is not set; add",
    "is above `maxSessionTimeout`",
    "so the server runs alone",
    "differs from `clientPort",
    "is no four-letter word",
    "is the least and is used",
    "the nearest size there is",
    "every client may read and change everything",
    "one executor holds all roles",
    "it is on only if exactly",
    "is an observer",
];

impl Target for Configs {
    fn name(&self) -> &'static str {
        "config"
    }

    fn expected(&self) -> Vec<(&'static str, String)> {
        let mut all: Vec<_> = ["accepted", "accepted with warnings", "refused"].map(|item| ("outcome", item.to_owned())).to_vec();
        all.extend(FINDINGS.map(|item| ("finding", item.to_owned())));
        all.extend(keys::all().map(|key| ("key accepted", key.name.to_owned())));
        all.extend(keys::all().filter(|key| has_bad_value(key)).map(|key| ("key refused", key.name.to_owned())));
        all
    }

    fn try_one(&self, prng: &mut Prng, tally: &mut Tally) -> Result<(), String> {
        let pairs = pairs(prng);
        let mut text = Vec::new();
        pairs.iter().for_each(|(key, value)| line(prng, &mut text, key, value));
        let cores = [1, 2, 3, 8, 500][prng.index(5)];
        if prng.chance(1, 3) {
            tally.input("text", &text);
            return same_by_both_ways(&pairs, &text, cores);
        }
        mutate::some(prng, &mut text, b"\\u00e4=\\\n\r#!: server.1=a:1:2;3");
        tally.input("text", &text);
        let overrides: Vec<_> = if prng.chance(1, 4) { self::pairs(prng) } else { Vec::new() };
        let bytes = text.len() + overrides.iter().map(|(k, v)| k.len() + v.len() + 100).sum::<usize>();
        let input = Input { file: Some(ConfigFile { name: "zoo.cfg", bytes: &text }), overrides: &overrides, cores_available: cores };
        let checked = meter::bounded("checking a configuration", HELD_MIN + bytes * HELD_FOR_EACH_BYTE_MAX, || check(&input))?;
        judge(&text, checked, tally)
    }
}

fn judge(text: &[u8], checked: Checked, tally: &mut Tally) -> Result<(), String> {
    let lines = text.iter().filter(|b| matches!(b, b'\n' | b'\r')).count() + 1;
    for finding in checked.findings() {
        let mut classes = FINDINGS.into_iter().filter(|item| finding.text.contains(item)).peekable();
        if classes.peek().is_none() {
            tally.met("other finding", without_numbers(&finding.text.chars().filter(char::is_ascii).take(40).collect::<String>()));
        }
        classes.for_each(|class| tally.met("finding", class));
        if finding.text.is_empty() || finding.line.is_some_and(|line| line == 0 || line > lines) {
            return Err(format!("a finding without words or outside the file: {finding}"));
        }
    }
    count_keys(text, &checked, tally);
    let effective = render_effective(&checked);
    if !effective.contains("dataDir=") {
        return Err(format!("the effective configuration lacks a key: {effective}"));
    }
    let warns = checked.findings().iter().any(|f| f.level == Level::Warning);
    let refused = checked.is_refused();
    match checked.into_config() {
        Ok((config, _)) if !refused => {
            tally.accepted += 1;
            tally.met("outcome", if warns { "accepted with warnings" } else { "accepted" });
            check_bounds(&config)
        }
        Err(findings) if refused && findings.iter().any(|f| f.level == Level::Error) => {
            tally.met("outcome", "refused");
            Ok(())
        }
        _ => Err("refused, but handed out; or the other way round".to_owned()),
    }
}

/// Which keys came to which end.
fn count_keys(text: &[u8], checked: &Checked, tally: &mut Tally) {
    for entry in properties::parse(text).entries {
        if let Some(key) = keys::find(entry.key.trim()).filter(|key| key.kind.accepts(entry.value.trim())) {
            tally.met("key accepted", key.name);
        }
    }
    for finding in checked.findings().iter().filter(|f| f.text.contains("; accepted is ")) {
        let name = finding.text.split('`').nth(1).unwrap_or_default();
        if let Some(key) = keys::find(name) {
            tally.met("key refused", key.name);
        }
    }
}

/// Every number lies where the program expects it.
fn check_bounds(c: &Config) -> Result<(), String> {
    let good = (1024..=FRAME_BYTES_MAX).contains(&c.frame_bytes_max)
        && (1..=SHARDS_MAX).contains(&c.log_shards)
        && (1..=FRONTS_MAX).contains(&c.fronts)
        && c.min_session_timeout_ms <= c.max_session_timeout_ms
        && c.purge_retain_count >= 3
        && c.snap_count >= 2
        && c.tick_ms > 0
        && c.container_check_interval_ms > 0
        && c.container_max_per_minute > 0
        && c.log_segment_kb >= 4096
        && c.cores.len() <= 4096
        && !c.data_dir.is_empty()
        && !c.data_log_dir.is_empty();
    if good { Ok(()) } else { Err(format!("a value out of range is handed out: {c:?}")) }
}

/// What an undamaged text says is what the same settings say on the command line.
fn same_by_both_ways(pairs: &[(String, String)], text: &[u8], cores: usize) -> Result<(), String> {
    let read = properties::parse(text);
    let said: Vec<(String, String)> = read.entries.into_iter().map(|e| (e.key, e.value.trim().to_owned())).collect();
    if said != pairs || !read.errors.is_empty() {
        return Err(format!("{pairs:?} written down reads as {said:?}, {:?}", read.errors));
    }
    let file = check(&Input { file: Some(ConfigFile { name: "zoo.cfg", bytes: text }), overrides: &[], cores_available: cores });
    let options = check(&Input { file: Some(ConfigFile { name: "zoo.cfg", bytes: b"" }), overrides: pairs, cores_available: cores });
    // A lone member's own client part gives way to the command line only.
    let by_member = pairs.iter().any(|(key, _)| keys::plain_name(key).starts_with("server."));
    match (file.into_config(), options.into_config()) {
        _ if by_member => Ok(()),
        (Ok((a, _)), Ok((b, _))) if a == b => Ok(()),
        (Err(_), Err(_)) => Ok(()),
        (a, b) => Err(format!("in the file: {a:?}; as options: {b:?}")),
    }
}

/// Settings: those that a start needs, and a few others.
fn pairs(prng: &mut Prng) -> Vec<(String, String)> {
    let mut out = Vec::new();
    if prng.chance(9, 10) {
        out.push(("dataDir".to_owned(), "/srv/data".to_owned()));
        out.push(("clientPort".to_owned(), "2181".to_owned()));
    }
    let all: Vec<&Key> = keys::all().collect();
    for _ in 0..prng.below(12) {
        let key = all[prng.index(all.len())];
        let mut name = match key.name {
            // Between servers only the names that clients' TLS has too.
            "ssl.quorum.*" => "ssl.quorum.keyStore.location".to_owned(),
            pattern if pattern.ends_with('*') => format!("{}{}", key.stem(), ["1", "x", "17.y"][prng.index(3)]),
            plain => plain.to_owned(),
        };
        let mut value = if prng.chance(2, 3) { good_value(prng, key) } else { bad_value(prng, key) };
        match prng.below(30) {
            0 => name = format!("zookeeper.{name}"),
            1 => name = name.replacen('i', "j", 1),
            2 => name.push('x'),
            3 => value = odd_value(prng),
            _ => {}
        }
        out.push((name, value.trim().to_owned()));
    }
    if prng.chance(1, 6) {
        let special = SPECIAL[prng.index(SPECIAL.len())];
        out.extend(special.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    }
    out
}

/// Settings that contradict each other or say something together.
const SPECIAL: [&[(&str, &str)]; 10] = [
    &[("minSessionTimeout", "9000"), ("maxSessionTimeout", "8000")],
    &[("server.1", "a:1:2;3"), ("server.2", "b:1:2;3")],
    &[("server.1", "a:2888:3888;2182")],
    &[("server.1", "a:2888:3888:observer;2181")],
    &[("server.1", "a:2888:3888;[::1]:2181"), ("clientPortAddress", "127.0.0.1")],
    &[("4lw.commands.whitelist", "ruok, nope,*")],
    &[("ringkeeper.placement", "one"), ("ringkeeper.fronts", "3")],
    &[("skipACL", "yes")],
    &[("autopurge.snapRetainCount", "1"), ("preAllocSize", "1")],
    &[("skipACL", "true"), ("forceSync", "false")],
];

fn good_value(prng: &mut Prng, key: &Key) -> String {
    match key.kind {
        Kind::Text | Kind::Name => ["/srv/x y", "a", "ä=b:c", "x\\y"][prng.index(4)].to_owned(),
        Kind::Int { min, max } => match prng.below(5) {
            0 => min.to_string(),
            1 => max.to_string(),
            2 => format!("{}0x{:x}", if min < 0 && prng.chance(1, 2) { "-" } else { "" }, min.unsigned_abs().min(1)),
            _ => (min + (prng.next_u64() % (max.abs_diff(min) / 2 + 1)).cast_signed()).to_string(),
        },
        Kind::Decimal => ["0.5", "1e3", "-2"][prng.index(3)].to_owned(),
        Kind::Bool => ["true", "FALSE", "True"][prng.index(3)].to_owned(),
        Kind::OffIfNo | Kind::OnIfYes => ["yes", "no", "true"][prng.index(3)].to_owned(),
        Kind::Choice(texts) => texts[prng.index(texts.len())].to_owned(),
        Kind::Words => ["*", "ruok, srvr", "stat", "bogus"][prng.index(4)].to_owned(),
        Kind::Cores => ["0", "0-3,7", "4095", "1,1"][prng.index(4)].to_owned(),
        Kind::Digest => "super:xQJmxLMiHGwaqBvst5y6rkB6HQs=".to_owned(),
        Kind::Server => ["h:1:2", "h:2888:3888:participant;2181", "[::1]:1:2;[::]:2181"][prng.index(3)].to_owned(),
        Kind::Group => ["1", "1:2:3", "255"][prng.index(3)].to_owned(),
        Kind::Hex => ["0", "ff", "10000000a"][prng.index(3)].to_owned(),
    }
}

/// Whether any text is refused for this key.
fn has_bad_value(key: &Key) -> bool {
    !matches!(key.kind, Kind::Text | Kind::OffIfNo | Kind::OnIfYes | Kind::Words)
}

fn bad_value(prng: &mut Prng, key: &Key) -> String {
    match key.kind {
        Kind::Int { min, max } => match prng.below(4) {
            0 => (i128::from(min) - 1).to_string(),
            1 => (i128::from(max) + 1).to_string(),
            2 => "99999999999999999999999999".to_owned(),
            _ => "1_000".to_owned(),
        },
        Kind::Name => String::new(),
        Kind::Cores => ["3-1", "4096", "0-99999999999", ","][prng.index(4)].to_owned(),
        _ => ["", "NaN", "1:2", "super:%%", "h:0:99999", ":::::;"][prng.index(6)].to_owned(),
    }
}

fn odd_value(prng: &mut Prng) -> String {
    match prng.below(4) {
        0 => "x".repeat(prng.index(5000)),
        1 => "\u{1f600}\u{feff}é".to_owned(),
        2 => mutate::number(prng).to_string(),
        _ => ",;:=#!\\".to_owned(),
    }
}

/// One setting in any of the ways that Java's syntax has.
fn line(prng: &mut Prng, text: &mut Vec<u8>, key: &str, value: &str) {
    match prng.below(12) {
        0 => text.extend_from_slice(b"# a comment \\\n"),
        1 => text.extend_from_slice(b"\r\n \t\n"),
        _ => {}
    }
    text.extend_from_slice([&b""[..], b"  ", b"\t"][prng.index(3)]);
    escape(prng, text, key, true);
    text.extend_from_slice([&b"="[..], b" = ", b":", b"\t", b" : "][prng.index(5)]);
    escape(prng, text, value, false);
    text.extend_from_slice([&b"\n"[..], b"\r\n", b"\r"][prng.index(3)]);
}

fn escape(prng: &mut Prng, text: &mut Vec<u8>, raw: &str, is_key: bool) {
    for (at, c) in raw.chars().enumerate() {
        if at > 0 && prng.chance(1, 40) && !c.is_whitespace() {
            text.extend_from_slice(b"\\\n   ");
        }
        match c {
            '\\' => text.extend_from_slice(b"\\\\"),
            '=' | ':' | ' ' | '#' | '!' if is_key || at == 0 => text.extend_from_slice(format!("\\{c}").as_bytes()),
            c if !c.is_ascii() || prng.chance(1, 30) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    text.extend_from_slice(format!("\\u{unit:04X}").as_bytes());
                }
            }
            c => text.push(c as u8),
        }
    }
}

//! What configurations found in the field, and wrong ones, come to.

use super::effective::{render_effective, render_tables};
use super::zoo_cfg::{SEGMENT_KB_MAX, SEGMENT_KB_MIN, WORDS_DEFAULT};
use super::*;
use crate::server::words::{Word, WordSet};
use proptest::prelude::*;

const MINIMAL: &str = "dataDir=/d\nclientPort=2181\n";

fn check_with(text: &str, overrides: &[(&str, &str)], cores: usize) -> Checked {
    let overrides: Vec<(String, String)> = overrides.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
    check(&Input { file: Some(ConfigFile { name: "zoo.cfg", bytes: text.as_bytes() }), overrides: &overrides, cores_available: cores })
}

fn checked(more: &str) -> Checked {
    check_with(&format!("{MINIMAL}{more}"), &[], 2)
}

fn accepted(more: &str) -> Config {
    checked(more).into_config().unwrap_or_else(|found| panic!("{found:#?}")).0
}

/// The only finding, as it is printed.
fn only(more: &str) -> String {
    let found = checked(more).findings().to_vec();
    assert_eq!(found.len(), 1, "{more}: {found:#?}");
    found[0].to_string()
}

#[test]
fn without_a_file_a_first_start_needs_nothing() {
    let (config, findings) = check(&Input { file: None, overrides: &[], cores_available: 2 }).into_config().unwrap();
    assert!(findings.is_empty());
    assert_eq!((config.client_host.as_deref(), config.client_port), (Some("127.0.0.1"), 2181));
    assert_eq!((config.data_dir.as_str(), config.data_log_dir.as_str()), ("./data", "./data"));
    assert_eq!((config.tick_ms, config.min_session_timeout_ms, config.max_session_timeout_ms), (2000, 4000, 40_000));
    assert_eq!((config.fronts, config.placement, config.log_shards), (1, Placement::One, 2));
    assert_eq!(config.words, WORDS_DEFAULT);
}

#[test]
fn defaults_are_those_of_zookeeper() {
    let config = accepted("");
    assert_eq!((config.tick_ms, config.min_session_timeout_ms, config.max_session_timeout_ms), (3000, 6000, 60_000));
    assert_eq!((config.max_client_cnxns, config.max_cnxns, config.frame_bytes_max), (Some(60), None, 0xf_ffff));
    assert_eq!((config.snap_count, config.snap_size_limit_kb), (100_000, Some(4_194_304)));
    assert_eq!(config.purge_retain_count, 3);
    assert_eq!((config.sessionless_timeout_ms, config.listen_backlog), (10_000, None));
    assert_eq!((config.client_host, config.skip_acl, config.super_digest), (None, false, None));
}

#[test]
fn a_member_of_the_sample_file_runs_alone() {
    let config = accepted("tickTime=2000\ninitLimit=10\nsyncLimit=5\n");
    assert_eq!(config.tick_ms, 2000);
    let levels: Vec<Level> = checked("initLimit=10\nsyncLimit=5\n").findings().iter().map(|f| f.level).collect();
    assert_eq!(levels, [Level::Info, Level::Info]);
}

#[test]
fn the_template_of_a_stateful_set_is_understood_to_the_last_key() {
    let template = "dataLogDir=/datalog\ntickTime=2000\ninitLimit=300\nsyncLimit=10\nmaxClientCnxns=2000\nmaxTimeToWaitForEpoch=2000\n\
        maxSessionTimeout=60000000\nsnapCount=3000000\npreAllocSize=131072\nautopurge.purgeInterval=1\nautopurge.snapRetainCount=10\n\
        leaderServes=yes\nstandaloneEnabled=false\nserver.1=a:2888:3888\nserver.2=b:2888:3888\nserver.3=c:2888:3888\n4lw.commands.whitelist=*\nskipACL=true\nfastleader.maxNotificationInterval=10000\n\
        group.1=1:2:3\nweight.1=10\njute.maxbuffer=8388608\n";
    let checked = super::tests_ensemble::member(1, &format!("{MINIMAL}{template}"), &[]);
    assert!(checked.findings().iter().all(|f| !f.text.contains("unknown")), "{:#?}", checked.findings());
    let config = checked.into_config().unwrap().0;
    assert!(config.ensemble.as_ref().is_some_and(|ensemble| ensemble.init_ms == 600_000 && ensemble.sync_ms == 20_000));
    assert_eq!((config.max_session_timeout_ms, config.max_client_cnxns, config.snap_count), (60_000_000, Some(2000), 3_000_000));
    assert_eq!((config.frame_bytes_max, config.log_segment_kb, config.data_log_dir.as_str()), (8 << 20, 131_072, "/datalog"));
    // Exactly `yes` switches ACLs off, in ZooKeeper as here.
    assert_eq!((config.skip_acl, config.words), (false, WordSet::ALL));
}

#[test]
fn the_file_of_the_official_image_gets_its_port_from_the_server_line() {
    let text = "dataDir=/data\ndataLogDir=/datalog\ntickTime=2000\ninitLimit=5\nsyncLimit=2\nautopurge.snapRetainCount=3\n\
        autopurge.purgeInterval=0\nmaxClientCnxns=60\nstandaloneEnabled=true\nadmin.enableServer=true\nserver.1=localhost:2888:3888;2181\n";
    let checked = check_with(text, &[], 4);
    assert_eq!(checked.origin("clientPort"), &Origin::File { name: "zoo.cfg".into(), line: 11 });
    let (config, findings) = checked.into_config().unwrap();
    assert_eq!((config.client_port, config.client_host), (2181, None));
    assert!(findings.iter().any(|f| f.level == Level::Warning && f.text.contains("admin.enableServer=true")));
}

#[test]
fn a_template_with_metrics_and_audit_starts_with_warnings() {
    let template = "tickTime=2000\ninitLimit=10\nsyncLimit=5\nautopurge.purgeInterval=24\nautopurge.snapRetainCount=30\nskipACL=yes\n\
        audit.enable=true\nsnapshot.trust.empty=true\nadmin.enableServer=true\nadmin.serverPort=8080\n4lw.commands.whitelist=srvr, mntr, ruok\n\
        metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider\nmetricsProvider.httpPort=7000\n\
        metricsProvider.exportJvmInfo=true\npreAllocSize=65536\nsnapCount=100000\nmaxCnxns=0\nreconfigEnabled=false\n\
        quorumListenOnAllIPs=false\nsslQuorum=false\nclientPortAddress=0.0.0.0\n";
    let (config, findings) = checked(template).into_config().unwrap();
    assert_eq!((config.purge_retain_count, config.skip_acl), (30, true));
    assert_eq!((config.client_host.as_deref(), config.max_cnxns), (Some("0.0.0.0"), None));
    let warned: Vec<usize> = findings.iter().filter(|f| f.level == Level::Warning).filter_map(|f| f.line).collect();
    assert_eq!(warned, [8, 9, 11, 12, 14, 15, 16]);
}

#[test]
fn a_template_with_tls_and_several_servers_is_refused_with_every_reason() {
    let template = "secureClientPort=2282\nserverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory\nsslQuorum=true\n\
        ssl.keyStore.location=/k.p12\nssl.quorum.trustStore.location=/t.p12\nserver.1=a:2888:3888;2181\nserver.2=b:2888:3888;2181|c:1:2\n";
    let found = checked(template);
    let refused: Vec<usize> = found.findings().iter().filter(|f| f.level == Level::Error).filter_map(|f| f.line).collect();
    assert_eq!(refused, [5, 9]);
    assert!(found.findings().iter().all(|f| !f.text.contains("unknown")));
}

#[test]
fn a_file_with_security_switched_on_is_refused_until_that_is_built() {
    for line in [
        "sslQuorum=true",
        "quorum.auth.enableSasl=true",
        "quorum.auth.serverRequireSasl=TRUE",
        "quorum.auth.learnerRequireSasl=true",
        "sessionRequireClientSASLAuth=true",
        "zookeeper.sessionRequireClientSASLAuth=true",
        "enforce.auth.enabled=true",
        "db.autocreate=false",
        "oraclePath=/o",
    ] {
        let said = only(line);
        assert!(said.starts_with("zoo.cfg:3: error: ") && said.contains("not built yet"), "{said}");
    }
}

#[test]
fn what_is_switched_off_is_as_good_as_not_there() {
    for line in [
        "sslQuorum=false",
        "enforce.auth.enabled=False",
        "admin.enableServer=false",
        "reconfigEnabled=false",
        "standaloneEnabled=true",
        "leaderServes=yes",
        "db.autocreate=true",
        "request_throttle_max_requests=0",
        "largeRequestThreshold=-1",
        "audit.enable=false",
        "snapshot.compression.method=",
    ] {
        assert_eq!(checked(line).findings(), [], "{line}");
    }
}

#[test]
fn comfort_that_is_not_built_yet_is_a_warning() {
    for line in ["audit.enable=true", "metricsProvider.httpPort=7000", "authProvider.1=a.B", "admin.serverPort=8081", "superUser.2=x"] {
        let said = only(line);
        assert!(said.starts_with("zoo.cfg:3: warning: ") && said.contains("not built yet"), "{said}");
    }
}

#[test]
fn what_has_no_meaning_says_why_in_one_line() {
    for (line, why) in [
        ("forceSync=no", "durable"),
        ("commitProcessor.numWorkerThreads=4", "keeper"),
        ("jvm.pause.monitor=true", "Java"),
        ("ssl.quorum.keyStore.location=/k", "TLS"),
        ("zookeeper.nio.numWorkerThreads=4", "ringkeeper.fronts"),
    ] {
        let said = only(line);
        assert!(said.starts_with("zoo.cfg:3: info: ") && said.contains(why), "{said}");
    }
}

#[test]
fn an_unknown_key_names_the_nearest_known_one() {
    assert_eq!(only("tickTmie=1"), "zoo.cfg:3: warning: unknown key `tickTmie` is ignored; did you mean `tickTime`?");
    assert_eq!(only("qqqqqqqqqq=1"), "zoo.cfg:3: warning: unknown key `qqqqqqqqqq` is ignored");
    let found = check_with(MINIMAL, &[("zookeeper.snapCuont", "5")], 2);
    assert_eq!(found.findings()[0].to_string(), "-D: warning: unknown key `snapCuont` is ignored; did you mean `snapCount`?");
}

#[test]
fn a_bad_value_names_file_line_key_value_and_what_is_accepted() {
    assert_eq!(only("tickTime=2s"), "zoo.cfg:3: error: `tickTime` is `2s`; accepted is a whole number from 1 to 3600000");
    for line in [
        "tickTime=0",
        "maxClientCnxns=-1",
        "ringkeeper.log.shards=17",
        "ringkeeper.log.sync=never",
        "jute.maxbuffer=1073741824",
        "extendedTypesEnabled=yes",
        "electionAlg=0",
        "server.1=here",
        "dataLogDir=",
        "initLimit=ten",
        "DigestAuthenticationProvider.digestAlg=MD5",
    ] {
        assert!(only(line).starts_with("zoo.cfg:3: error: `"), "{line}");
    }
    let secret = only("DigestAuthenticationProvider.superDigest=super:secret");
    assert!(!secret.contains("super:secret"), "{secret}");
}

#[test]
fn what_a_file_must_say() {
    let found = check_with("tickTime=2000\n", &[], 2);
    let texts: Vec<&str> = found.findings().iter().map(|f| f.text.as_str()).collect();
    assert!(texts.len() == 2 && texts[0].contains("clientPort") && texts[1].contains("dataDir"), "{texts:?}");
    // One error about a bad value, not another one that the key is missing.
    assert_eq!(check_with("dataDir=/d\nclientPort=x\n", &[], 2).findings().len(), 1);
    assert!(check_with("", &[("dataDir", "/d"), ("clientPort", "0")], 2).into_config().is_ok());
}

#[test]
fn the_last_of_equal_keys_wins_with_a_warning_in_either_form() {
    let checked = checked("snapCount=5\nzookeeper.snapCount=6\n");
    assert_eq!(
        checked.findings().iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["zoo.cfg:4: warning: `snapCount` is set again; this last value holds, not that of zoo.cfg:3"]
    );
    assert_eq!(checked.into_config().unwrap().0.snap_count, 6);
    assert!(super::check(&Input { file: None, overrides: &[], cores_available: 2 }).findings().is_empty());
}

#[test]
fn the_command_line_goes_before_the_file_with_and_without_prefix() {
    let checked = check_with(MINIMAL, &[("zookeeper.snapCount", "7"), ("jute.maxbuffer", "0x1fffff"), ("clientPort", "0")], 2);
    assert_eq!(checked.origin("snapCount"), &Origin::CommandLine);
    assert_eq!(checked.origin("dataDir"), &Origin::File { name: "zoo.cfg".into(), line: 1 });
    let (config, findings) = checked.into_config().unwrap();
    assert_eq!((config.snap_count, config.frame_bytes_max, config.client_port), (7, 0x1f_ffff, 0));
    assert!(findings.is_empty());
    let again = check_with(MINIMAL, &[("snapCount", "7"), ("snapCount", "8")], 2);
    assert_eq!(again.findings()[0].to_string(), "-D: warning: `snapCount` is set again; this last value holds, not that of -D");
}

#[test]
fn the_client_part_of_a_lone_line_counts_and_must_agree() {
    let error = |more: &str| checked(more).findings().iter().any(|f| f.level == Level::Error);
    assert!(error("server.1=a:2888:3888:observer"));
    assert!(error("server.1=a:2888:3888;2182"), "a client port that differs from clientPort");
    assert!(!error("server.1=a:2888:3888;2181"));
    assert!(!check_with(&format!("{MINIMAL}server.1=a:2888:3888;2182"), &[("clientPort", "0")], 2).is_refused());
    assert!(accepted("server.1=a:2888:3888;2181").ensemble.is_none());
    // As in ZooKeeper, the wildcard gives way to the host of the line, and two hosts contradict each other.
    let of_line = accepted("clientPortAddress=0.0.0.0\nserver.1=a:2888:3888;a:2181").client_host;
    assert_eq!(of_line.as_deref(), Some("a"));
    assert!(error("clientPortAddress=b\nserver.1=a:2888:3888;a:2181"));
}

#[test]
fn session_timeouts_must_not_cross() {
    assert!(only("minSessionTimeout=70000").contains("`minSessionTimeout` (70000 ms) is above `maxSessionTimeout` (60000 ms)"));
    assert!(only("maxSessionTimeout=100").starts_with("zoo.cfg:3: error:"));
    let config = accepted("minSessionTimeout=-1\nmaxSessionTimeout=6000");
    assert_eq!((config.min_session_timeout_ms, config.max_session_timeout_ms), (6000, 6000));
}

#[test]
fn values_are_brought_into_their_range_where_zookeeper_does_so() {
    assert_eq!(accepted("autopurge.snapRetainCount=1").purge_retain_count, 3);
    assert!(only("autopurge.snapRetainCount=1").contains("warning"));
    assert_eq!(accepted("preAllocSize=64").log_segment_kb, SEGMENT_KB_MIN);
    assert_eq!(accepted("preAllocSize=99999999").log_segment_kb, SEGMENT_KB_MAX);
    assert_eq!(accepted("preAllocSize=131072\nringkeeper.log.segment.kb=8192").log_segment_kb, 8192);
    assert_eq!(accepted("snapSizeLimitInKb=-1").snap_size_limit_kb, None);
}

#[test]
fn the_whitelist_always_holds_srvr() {
    assert_eq!(accepted("4lw.commands.whitelist=ruok, wchs").words, WordSet::EMPTY.with(Word::Ruok).with(Word::Wchs).with(Word::Srvr));
    assert_eq!(accepted("4lw.commands.whitelist=").words, WordSet::EMPTY.with(Word::Srvr));
    assert_eq!(accepted("4lw.commands.whitelist=\nreadonlymode.enabled=true").words, WordSet::EMPTY.with(Word::Srvr).with(Word::Isro));
    assert_eq!(accepted("zookeeper.4lw.commands.whitelist=*").words, WordSet::ALL);
    assert!(only("4lw.commands.whitelist=ruok,lead").contains("`lead`, which is no four-letter word"));
}

#[test]
fn placement_follows_the_cores() {
    let with = |more: &str, cores| check_with(&format!("{MINIMAL}{more}"), &[], cores).into_config().unwrap().0;
    assert_eq!((with("", 1).placement, with("", 1).fronts), (Placement::One, 1));
    assert_eq!((with("", 8).placement, with("", 8).fronts), (Placement::Spread, 4));
    assert_eq!(with("", 4096).fronts, 16);
    assert_eq!(with("ringkeeper.placement=spread\nringkeeper.fronts=2", 2).fronts, 2);
    assert_eq!(with("ringkeeper.placement=one\nringkeeper.fronts=2", 8).fronts, 1);
    assert_eq!(with("ringkeeper.cores=3,0-1", 8).cores, [3, 0, 1]);
}

#[test]
fn acls_go_off_only_with_yes_and_never_in_silence() {
    assert!(accepted("skipACL=yes").skip_acl);
    assert!(only("skipACL=yes").contains("warning"));
    assert!(!accepted("skipACL=YES").skip_acl);
    assert!(only("skipACL=YES").contains("only if exactly `yes`"));
    assert_eq!(checked("skipACL=no").findings(), []);
}

#[test]
fn the_documentation_shows_the_catalogue() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (begin, end) = ("<!-- begin of the generated tables -->\n", "<!-- end of the generated tables -->");
    let (head, rest) = text.split_once(begin).unwrap();
    let (shown, tail) = rest.split_once(end).unwrap();
    let wanted = format!("\n{}", render_tables());
    if std::env::var_os("RINGKEEPER_WRITE_DOCS").is_some() {
        std::fs::write(path, format!("{head}{begin}{wanted}{end}{tail}")).unwrap();
        return;
    }
    assert!(shown == wanted, "docs/configuration.md is out of date; run this test once with RINGKEEPER_WRITE_DOCS=1");
}

/// Texts that are nearly configurations.
fn almost_a_configuration() -> impl Strategy<Value = Vec<u8>> {
    let names: Vec<&str> = keys::all().map(|key| key.stem()).chain(["", "zookeeper.", "nonsense"]).collect();
    let values = [
        "",
        "1",
        "-1",
        "true",
        "yes",
        "*",
        "0x10",
        "99999999999999999999",
        "a:1:2;3",
        "[::1]:1:2",
        "b:1:2:observer",
        "1:2:3",
        "\\u00",
        "\\",
        "ü",
        "a:b",
        "2-5,",
    ];
    let line = (prop::sample::select(names), "[ =:\\t]{0,3}", prop::sample::select(values.to_vec()), "[0-9]{0,2}", "(\n|\r\n|\\\\\n|\r|)");
    let lines = prop::collection::vec(line, 0..40);
    (lines, prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)).prop_map(|(lines, flips)| {
        let mut bytes: Vec<u8> =
            lines.into_iter().flat_map(|(name, gap, value, n, end)| format!("{name}{n}{gap}{value}{end}").into_bytes()).collect();
        for (at, byte) in flips {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        bytes
    })
}

/// Whatever the text, a verdict comes out that agrees with itself.
fn judge(bytes: &[u8]) {
    let input = Input { file: Some(ConfigFile { name: "f", bytes }), overrides: &[], cores_available: 2 };
    // The file itself stands in for the others, too.
    let beside =
        Beside { dynamic: Companion::Read(ConfigFile { name: "d.1", bytes }), my_id: Companion::Read(ConfigFile { name: "m", bytes }) };
    assert!(!render_effective(&super::check_with(&input, &beside)).is_empty());
    let my_id = Companion::Read(ConfigFile { name: "m", bytes: b"1" });
    let checked = super::check_with(&input, &Beside { my_id, ..beside });
    assert!(!render_effective(&checked).is_empty());
    let refused = checked.is_refused();
    match checked.into_config() {
        Ok((config, findings)) => {
            assert!(!refused && findings.iter().all(|f| f.level < Level::Error));
            assert!(!config.data_dir.is_empty() && config.tick_ms > 0 && config.words.contains(Word::Srvr));
            assert!(config.min_session_timeout_ms <= config.max_session_timeout_ms);
            if let Some(ensemble) = &config.ensemble {
                assert!(ensemble.membership.get(ensemble.me).is_some() && ensemble.silence_ms >= 3 * ensemble.pulse_interval_ms);
                assert!(ensemble.membership.is_quorum(&ensemble.membership.voters().collect()) && !ensemble.founder);
            }
            assert!((1..=16).contains(&config.log_shards) && config.fronts >= 1);
            assert!((SEGMENT_KB_MIN..=SEGMENT_KB_MAX).contains(&config.log_segment_kb));
        }
        Err(findings) => assert!(refused && findings.iter().any(|f| f.level == Level::Error)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_get_a_verdict(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        judge(&bytes);
    }

    #[test]
    fn any_near_configuration_gets_a_verdict(bytes in almost_a_configuration()) {
        judge(&bytes);
    }

    #[test]
    fn written_properties_read_back(pairs in prop::collection::vec(("\\PC{1,12}", "\\PC{0,12}"), 0..10)) {
        let escape = |text: &str| text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_string() } else {
            c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
        }).collect::<String>();
        let text: String = pairs.iter().map(|(k, v)| format!("{} = {}\n", escape(k), escape(v))).collect();
        let read = properties::parse(text.as_bytes());
        let back: Vec<(String, String)> = read.entries.into_iter().map(|e| (e.key, e.value)).collect();
        prop_assert_eq!(back, pairs);
    }
}

#[test]
fn who_asks_for_tls_only_is_not_told_to_open_a_plain_port() {
    let found = check_with("dataDir=/d\nsecureClientPort=2281\n", &[], 2);
    let errors: Vec<String> = found.findings().iter().filter(|f| f.level == Level::Error).map(ToString::to_string).collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("asks for TLS only") && errors[0].contains("without encryption"), "{errors:?}");
}

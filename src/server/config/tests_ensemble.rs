//! What the configurations of ensembles come to, right ones and wrong ones.

use super::effective::render_effective;
use super::*;
use crate::base::ids::ServerId;
use std::collections::BTreeSet;

const BASE: &str = "dataDir=/d\nclientPort=2181\ntickTime=2000\n";
const THREE: &str = "server.1=a:2888:3888\nserver.2=b:2888:3888\nserver.3=c:2888:3888\n";

fn beside<'a>(my_id: &'a str, dynamic: Option<(&'a str, &'a str)>) -> Beside<'a> {
    let read = |name, text: &'a str| Companion::Read(ConfigFile { name, bytes: text.as_bytes() });
    Beside { my_id: read("/d/myid", my_id), dynamic: dynamic.map_or(Companion::Absent, |(name, text)| read(name, text)) }
}

fn check_text(text: &str, overrides: &[(&str, &str)], beside: &Beside<'_>) -> Checked {
    let overrides: Vec<(String, String)> = overrides.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
    let file = Some(ConfigFile { name: "zoo.cfg", bytes: text.as_bytes() });
    check_with(&Input { file, overrides: &overrides, cores_available: 2 }, beside)
}

/// A file seen by the member `id`.
pub(super) fn member(id: u8, text: &str, overrides: &[(&str, &str)]) -> Checked {
    check_text(text, overrides, &beside(&id.to_string(), None))
}

fn checked(more: &str) -> Checked {
    member(1, &format!("{BASE}{more}"), &[])
}

fn ensemble(more: &str) -> Ensemble {
    let config = checked(more).into_config().unwrap_or_else(|found| panic!("{more}: {found:#?}")).0;
    config.ensemble.unwrap_or_else(|| panic!("{more}: alone"))
}

/// Findings that aren't mere information, as they are printed.
fn said(checked: &Checked) -> Vec<String> {
    checked.findings().iter().filter(|f| f.level > Level::Info).map(ToString::to_string).collect()
}

/// The only such finding.
fn only(more: &str) -> String {
    let found = said(&checked(more));
    assert_eq!(found.len(), 1, "{more}: {found:#?}");
    found[0].clone()
}

#[test]
fn three_lines_and_a_number_are_an_ensemble() {
    let checked = checked(&format!("{THREE}initLimit=5\nsyncLimit=2\n"));
    assert_eq!(checked.findings(), []);
    let e = checked.into_config().unwrap().0.ensemble.unwrap();
    assert_eq!((e.me, e.init_ms, e.sync_ms), (ServerId(1), 10_000, 4000));
    assert_eq!((e.pulse_interval_ms, e.silence_ms, e.gather_ms), (100, 800, 60));
    assert_eq!((e.bootstrap, e.founder, e.listen_on_all, e.read_only_enabled), (Bootstrap::All, false, false, false));
    assert_eq!((e.peer_backlog_bytes, e.catchup_cache_bytes), (64 << 20, 64 << 20));
    let m = e.membership;
    assert_eq!((m.version(), m.voters().collect::<Vec<_>>()), (0, vec![ServerId(1), ServerId(2), ServerId(3)]));
    let second = m.get(ServerId(2)).unwrap();
    assert_eq!((second.host.as_str(), second.quorum_port, second.election_port, second.client.as_deref()), ("b", 2888, 3888, None));
    assert_eq!((second.weight, second.group), (1, 0));
}

#[test]
fn limits_have_the_defaults_of_the_sample_file() {
    let e = ensemble(THREE);
    assert_eq!((e.init_ms, e.sync_ms), (20_000, 10_000));
    assert!(only(&format!("{THREE}initLimit=0")).contains("`initLimit` is 0 ticks"));
}

#[test]
fn own_keys_are_taken_and_bounded() {
    let e = ensemble(&format!(
        "{THREE}ringkeeper.pulse.intervalMs=50\nringkeeper.pulse.silenceMs=150\nringkeeper.election.gatherMs=0\n\
         ringkeeper.bootstrap=quorum\nringkeeper.peer.backlogKb=8192\nringkeeper.catchup.cacheKb=0\nquorumListenOnAllIPs=true\n\
         readonlymode.enabled=true\n"
    ));
    assert_eq!((e.pulse_interval_ms, e.silence_ms, e.gather_ms, e.bootstrap), (50, 150, 0, Bootstrap::Quorum));
    assert_eq!((e.peer_backlog_bytes, e.catchup_cache_bytes), (8 << 20, 0));
    assert!(e.listen_on_all && e.read_only_enabled);
    let short = only(&format!("{THREE}ringkeeper.pulse.silenceMs=299"));
    assert!(short.starts_with("zoo.cfg:7: error: ") && short.contains("set it to 300 or more"), "{short}");
    assert!(only(&format!("{THREE}ringkeeper.pulse.intervalMs=300")).contains("set it to 900 or more"));
    let small = only(&format!("{THREE}ringkeeper.peer.backlogKb=1024"));
    assert!(small.contains("set it to 4096 or more"), "{small}");
    assert!(only(&format!("{THREE}jute.maxbuffer=67108864")).contains("ringkeeper.peer.backlogKb"));
    assert!(only(&format!("{THREE}ringkeeper.bootstrap=none")).contains("accepted is all or quorum"));
}

#[test]
fn the_number_of_this_server_is_a_must_and_errors_say_what_to_do() {
    let with = |my_id: Companion<'_>| said(&check_text(&format!("{BASE}{THREE}"), &[], &Beside { my_id, ..Beside::default() }));
    let read = |text: &'static str| Companion::Read(ConfigFile { name: "/d/myid", bytes: text.as_bytes() });
    assert_eq!(
        with(Companion::Absent),
        [
            "configuration: error: /d/myid is missing: it holds the number of this server, one of 1, 2, 3. Write the N of its `server.N` line \
          into it (echo 1 > /d/myid)"
        ]
    );
    let denied = with(Companion::Unreadable { name: "/d/myid", why: "permission denied" });
    assert!(denied.len() == 1 && denied[0].ends_with("can't be read: permission denied"), "{denied:?}");
    for bad in ["", "\n", "one", "0", "256", "-1", "99999999999999999999", "\u{fffd}"] {
        let found = with(read(bad));
        assert!(found.len() == 1 && found[0].starts_with("/d/myid:1: error: `"), "{bad}: {found:?}");
        assert!(found[0].ends_with("accepted is one line with one of 1, 2, 3"), "{found:?}");
    }
    let stranger = with(read("4"));
    assert_eq!(
        stranger,
        ["/d/myid:1: error: this server is number 4, but there is no `server.4` line; there are 1, 2, 3. Correct one of them"]
    );
    for good in ["2", "2\n", " 2 \r\nnotes\n", "002"] {
        assert!(with(read(good)).is_empty(), "{good}");
    }
}

#[test]
fn a_single_voter_is_an_ensemble_only_if_asked_for() {
    let alone = |more: &str| check_text(&format!("{BASE}{more}"), &[], &Beside::default());
    assert!(alone("server.1=a:1:2").into_config().unwrap().0.ensemble.is_none(), "no myid needed");
    let one = checked("standaloneEnabled=false\nserver.1=a:1:2\n");
    assert!(said(&one).len() == 1 && said(&one)[0].contains("1 voter: when it fails, nobody decides"), "{:?}", said(&one));
    assert!(one.into_config().unwrap().0.ensemble.is_some());
    assert!(checked("standaloneEnabled=false\nserver.1=a:1:2\nserver.2=b:1:2:observer").into_config().unwrap().0.ensemble.is_some());
    assert!(only("server.1=a:1:2\nserver.2=b:1:2:observer").contains("`server.2` is an observer of one single server"));
    assert!(only("server.1=a:1:2:observer\nserver.2=b:1:2:observer").contains("observers only can't decide"));
    assert!(only("standaloneEnabled=false").contains("there is no `server.N` line"));
}

#[test]
fn servers_have_numbers_addresses_and_ports_of_their_own() {
    for (more, text) in [
        ("server.1=d:1:2\n", "`server.1` is a second server of that number, the first is at zoo.cfg:4"),
        ("server.01=d:1:2\n", "a second server of number 1, the first is at zoo.cfg:"),
        ("server.0=d:1:2\n", "`server.0`: the number of a server is 1 to 255"),
        ("server.256=d:1:2\n", "the number of a server is 1 to 255"),
        ("server.x=d:1:2\n", "the number of a server is 1 to 255"),
        ("server.4=A:2888:9\n", "`server.4` uses A:2888, as does `server.1` (zoo.cfg:4)"),
        ("server.4=a:9:3888\n", "uses a:3888, as does `server.1`"),
        ("server.4=a:9:2888\n", "uses a:2888, as does `server.1`"),
        ("server.4=d:9:9\n", "`server.4` uses d:9 twice"),
        ("server.4=d:8:9;9\n", "`server.4` uses d:9 twice"),
        ("server.4=d:8:9;a:3888\n", "uses a:3888, as does `server.1`"),
        ("server.4=d:0:9\n", "`server.4` names port 0"),
        ("server.4=d:1:2|e:1:2\n", "`server.4` has several addresses; that is not built yet"),
    ] {
        let found: Vec<String> = said(&checked(&format!("{THREE}{more}"))).into_iter().filter(|f| !f.contains("voters")).collect();
        assert!(found.len() == 1 && found[0].contains("error: ") && found[0].contains(text), "{more}: {found:#?}");
    }
    assert!(only("server.1=a:2888:2181\nserver.2=b:2888:3888\nserver.3=c:2888:3888").contains("which is also `clientPort`"));
    // Several on one machine, each with ports of its own.
    ensemble("server.1=h:1:2;2181\nserver.2=h:3:4;2182\nserver.3=h:5:6;2183");
}

#[test]
fn the_client_port_of_the_own_line_counts() {
    let text = "dataDir=/d\nserver.1=a:1:2;2181\nserver.2=b:1:2;b:2182\nserver.3=c:1:2;2183\n";
    let (config, _) = member(2, text, &[]).into_config().unwrap();
    assert_eq!((config.client_port, config.client_host.as_deref()), (2182, Some("b")));
    let clients: Vec<_> = config.ensemble.unwrap().membership.members().filter_map(|m| m.client.clone()).collect();
    assert_eq!(clients, ["0.0.0.0:2181", "b:2182", "0.0.0.0:2183"]);
    assert!(said(&member(3, &format!("{text}clientPort=2181\n"), &[]))[0].contains("differs from `clientPort`"));
    let without = member(1, "dataDir=/d\nserver.1=a:1:2\nserver.2=b:1:2;b:2182\nserver.3=c:1:2;2183\n", &[]);
    assert!(said(&without)[0].contains("`clientPort` is not set"), "the ports of others don't count");
}

#[test]
fn ensembles_that_bear_less_than_they_cost_are_told_so() {
    let voters = |n: u8| (1..=n).map(|i| format!("server.{i}=h{i}:1:2\n")).collect::<String>();
    assert!(only(&voters(2)).starts_with("configuration: warning: 2 voters: both must run"));
    assert_eq!(only(&voters(4)), "configuration: warning: 4 voters bear the loss of 1, no more than 3 do; use an odd number");
    assert!(only(&voters(6)).contains("6 voters bear the loss of 2, no more than 5 do"));
    for odd in [3, 5, 7] {
        assert_eq!(said(&checked(&voters(odd))), Vec::<String>::new());
    }
    assert_eq!(said(&checked(&format!("{THREE}server.4=d:1:2:observer"))), Vec::<String>::new(), "observers don't count");
}

#[test]
fn groups_and_weights_shape_quorums_as_in_zookeeper() {
    let nine: String = (1..=9).map(|i| format!("server.{i}=h{i}:1:2\n")).collect();
    let m = ensemble(&format!("{nine}group.1=1:2:3\ngroup.2=4:5:6\ngroup.3=7:8:9\nweight.9=0\n")).membership;
    let set = |ids: &[u8]| ids.iter().map(|id| ServerId(*id)).collect::<BTreeSet<_>>();
    assert!(m.is_quorum(&set(&[1, 2, 5, 6])) && !m.is_quorum(&set(&[1, 2, 3, 4, 7])) && m.is_quorum(&set(&[1, 2, 7, 8])));
    assert_eq!(m.get(ServerId(9)).map(|m| (m.weight, m.group)), Some((0, 3)));
    let heavy = only(&format!("{THREE}group.1=1:2:3\nweight.1=10\n"));
    assert!(heavy.contains("warning: 3 voters with these groups and weights"), "{heavy}");
    for (more, text) in [
        ("group.1=1:2\n", "`server.3` is in no group"),
        ("weight.1=2\ngroup.1=2:3\n", "`server.1` is in no group"),
        ("group.1=1:2:3\ngroup.2=3\n", "names server 3, which is in group 1 already"),
        ("group.1=1:2:3:4\n", "names server 4, for which there is no `server.4` line"),
        ("group.1=1:2:3\nweight.4=1\n", "`weight.4` is the weight of a server for which"),
        ("group.1=1:2:3\nweight.1=0\nweight.2=0\nweight.3=0\n", "no set of servers decides"),
        ("group.x=1:2:3\n", "`group.x`: the number of a group is 0 to"),
        ("group.1=1,2,3\n", "accepted is numbers of servers from 1 to 255 with : between them"),
        ("weight.1=-1\ngroup.1=1:2:3\n", "accepted is a whole number from 0 to"),
    ] {
        assert!(said(&checked(&format!("{THREE}{more}"))).iter().any(|f| f.contains(text)), "{more}");
    }
}

#[test]
fn a_dynamic_file_holds_the_members_and_nothing_else() {
    let main = format!("{BASE}dynamicConfigFile=/d/zoo.cfg.dynamic.100000001\n");
    fn with(main: &str, name: &str, text: &str) -> Checked {
        check_text(main, &[], &beside("3", Some((name, text))))
    }
    let checked = with(&main, "/d/zoo.cfg.dynamic.100000001", THREE);
    assert_eq!(checked.findings(), []);
    assert_eq!(checked.origin("server.3"), &Origin::File { name: "/d/zoo.cfg.dynamic.100000001".into(), line: 3 });
    let e = checked.into_config().unwrap().0.ensemble.unwrap();
    assert_eq!((e.me, e.membership.version()), (ServerId(3), 0x1_0000_0001));
    let inside = with(&main, "/d/members", &format!("{THREE}version=ab\n")).into_config().unwrap().0.ensemble.unwrap();
    assert_eq!(inside.membership.version(), 0xab);
    let plain = with(&main, "/d/zoo.cfg.dynamic", THREE).into_config().unwrap().0.ensemble.unwrap();
    assert_eq!(plain.membership.version(), 0);
    let foreign = said(&with(&main, "/d/f", &format!("{THREE}tickTime=1\n")));
    assert!(foreign.len() == 1 && foreign[0].starts_with("/d/f:4: error: `tickTime` doesn't belong here"), "{foreign:?}");
    let both = said(&with(&format!("{main}server.1=a:1:2\n"), "/d/f", THREE));
    assert!(both.len() == 1 && both[0].starts_with("zoo.cfg:5: error: `server.1` belongs into the file"), "{both:?}");
    let none = said(&check_text(&main, &[], &beside("3", None)));
    assert!(none.len() == 1 && none[0].starts_with("zoo.cfg:4: error: `dynamicConfigFile` names") && none[0].contains("isn't there"));
    let denied = Companion::Unreadable { name: "/d/f", why: "denied" };
    assert!(said(&check_text(&main, &[], &Beside { dynamic: denied, ..Beside::default() }))[0].ends_with("can't be read: denied"));
    let broken = with(&main, "/d/f", "server.1=\\u00\nserver.2=b\n");
    assert!(broken.is_refused() && broken.findings().iter().all(|f| f.file == "/d/f"), "{broken:#?}");
    let empty = said(&with(&main, "/d/f", "# nobody\n"));
    assert!(empty.len() == 1 && empty[0].starts_with("zoo.cfg:4: error: /d/f, which `dynamicConfigFile` names, holds no"), "{empty:?}");
    let one = with(&main, "/d/f", "server.3=a:1:2;2181\n").into_config().unwrap().0;
    assert!(one.ensemble.is_none(), "a single one runs alone from there, too");
    let input = Input { file: Some(ConfigFile { name: "zoo.cfg", bytes: main.as_bytes() }), overrides: &[], cores_available: 1 };
    let names = CompanionNames { dynamic: Some("/d/zoo.cfg.dynamic.100000001".into()), my_id: Some("/d/myid".into()) };
    assert_eq!(companion_names(&input), names);
}

#[test]
fn the_line_of_a_server_goes_before_its_peer_type() {
    assert!(only(&format!("{THREE}peerType=observer")).contains("`server.1` says participant, and that holds"));
    assert_eq!(said(&checked(&format!("{THREE}peerType=participant"))), Vec::<String>::new());
    let observer = member(4, &format!("{BASE}{THREE}server.4=d:1:2:observer\npeerType=observer\n"), &[]);
    assert_eq!(observer.findings(), []);
}

#[test]
fn number_255_and_nodes_with_a_time_to_live_exclude_each_other() {
    let lines = format!("{THREE}server.255=d:1:2:observer\n");
    assert_eq!(said(&checked(&lines)), Vec::<String>::new());
    assert!(only(&format!("{lines}extendedTypesEnabled=true")).contains("the highest number of a server is 254"));
}

#[test]
fn keys_of_an_ensemble_mean_nothing_alone_and_say_nothing_in_one() {
    for line in ["initLimit=10", "group.1=1", "ringkeeper.pulse.silenceMs=900", "version=5", "peerType=observer"] {
        let found = super::check(&Input {
            file: Some(ConfigFile { name: "zoo.cfg", bytes: format!("{BASE}{line}").as_bytes() }),
            overrides: &[],
            cores_available: 1,
        });
        assert!(found.findings().len() == 1 && found.findings()[0].text.contains("stands alone"), "{:?}", found.findings());
    }
    for line in ["localSessionsEnabled=true", "leaderServes=no", "observerMasterPort=5", "multiAddress.enabled=true"] {
        assert!(only(&format!("{THREE}{line}")).contains("not built yet"), "{line}");
    }
    assert!(only(&format!("{THREE}reconfigEnabled=true")).contains("reconfig is refused"));
    for (line, why) in [("cnxTimeout=5", "silenceMs"), ("electionPortBindRetry=9", "refuses the start"), ("commitLogCount=9", "cacheKb")] {
        let found = checked(&format!("{THREE}{line}"));
        assert!(found.findings().len() == 1 && found.findings()[0].text.contains(why), "{:?}", found.findings());
        assert_eq!(found.findings()[0].level, Level::Info);
    }
}

#[test]
fn the_command_line_can_name_members() {
    let text = format!("{BASE}{THREE}");
    let moved = member(1, &text, &[("server.2", "x:2888:3888"), ("ringkeeper.bootstrap", "quorum")]);
    assert!(render_effective(&moved).lines().any(|l| l.starts_with("server.2=x:2888:3888:participant ") && l.ends_with("# -D")));
    let e = moved.into_config().unwrap().0.ensemble.unwrap();
    assert_eq!((e.membership.get(ServerId(2)).map(|m| m.host.clone()), e.bootstrap), (Some("x".into()), Bootstrap::Quorum));
}

#[test]
fn a_broken_line_of_a_server_leads_to_no_other_finding() {
    for second in ["server.2=b:1\n", "server.2=b:1:2\n"] {
        let text = format!("dataDir=/d\nclientPort=2281\ninitLimit=5\nsyncLimit=4\nserver.1=a:1:2\n{second}server.3=c:1:2\n");
        // Without a broken line it's the number of this server that is missing.
        let found = check_text(&text, &[], &Beside::default());
        assert!(found.findings().iter().all(|f| f.level == Level::Error) && found.is_refused(), "{:?}", found.findings());
        assert_eq!(found.findings().len(), 1, "{:?}", found.findings());
    }
}

//! Answers of a leader, a follower and an observer, to the byte where ZooKeeper's are (`conf`, `dump`, `srvr`), by name in `mntr`.

use super::dump::{Deadline, DumpConn, SessionNodes, SessionsShown, dump};
use super::ensemble::*;
use super::mntr::{Summary, mntr};
use super::simple::{self, ConfFacts, DirSizes, EnsembleConf};
use super::status;
use super::tests::{metrics, server, text};
use super::*;
use crate::base::ids::{ServerId, SessionId, Zxid};

fn summary(values: &[u64]) -> Summary {
    let mut summary = Summary::default();
    values.iter().for_each(|value| summary.record(*value));
    summary
}

fn counts() -> EnsembleCounts {
    EnsembleCounts {
        looking: 1,
        elections_won: 1,
        election_ms: summary(&[1063]),
        unavailable_ms: summary(&[1658]),
        syncs_served: [2, 1, 4],
        ..EnsembleCounts::default()
    }
}

fn in_role(role: Role) -> EnsembleFacts {
    EnsembleFacts { role, phase: Phase::Broadcast, current_epoch: 1, accepted_epoch: 2, voters: 3, counts: counts() }
}

fn leader() -> EnsembleFacts {
    let learner = |id, votes, synced, waiting_bytes| LearnerFacts { id: ServerId(id), votes, synced, durable: Zxid(32), waiting_bytes };
    let mut proposal_bytes = None;
    [36, 99, 98].into_iter().for_each(|len| ProposalBytes::record(&mut proposal_bytes, len));
    let learners = vec![learner(1, true, true, 0), learner(2, true, false, 77), learner(4, false, true, 0)];
    in_role(Role::Leading(LeaderFacts { uptime_ms: 87_577, proposal_bytes, pending_syncs: 5, learners }))
}

fn mntr_of(ensemble: EnsembleFacts) -> String {
    let mode = ensemble.mode();
    let positions = Positions { proposed: Zxid(33), accepted: Zxid(33), durable: Zxid(32), committed: Zxid(31), ..Positions::default() };
    text(|out| mntr(out, &MntrFacts { mode, positions: Some(positions), ensemble: Some(ensemble), ..metrics() }))
}

use super::mntr::MntrFacts;

#[track_caller]
fn has(shown: &str, lines: &[&str]) {
    for line in lines {
        let line = line.replace(' ', "\t");
        assert!(shown.lines().any(|l| l == line), "{line} in {shown}");
    }
}

#[test]
fn mntr_of_a_leader_has_zookeepers_lines() {
    let shown = mntr_of(leader());
    assert!(shown.contains("\nzk_server_state\tleader\nzk_peer_state\tleading - broadcast\nzk_avg_latency\t0.0\n"), "{shown}");
    has(
        &shown,
        &[
            "zk_quorum_size 3",
            "zk_learners 3",
            "zk_synced_followers 1",
            "zk_synced_non_voting_followers 0",
            "zk_synced_observers 1",
            "zk_pending_syncs 5",
            "zk_leader_uptime 87577",
            "zk_last_proposal_size 98",
            "zk_min_proposal_size 36",
            "zk_max_proposal_size 99",
            "zk_diff_count 3",
            "zk_snap_count 4",
            "zk_looking_count 1",
            "zk_avg_election_time 1063.0",
            "zk_cnt_election_time 1",
            "zk_sum_unavailable_time 1658",
            "zk_cnt_follower_sync_time 0",
        ],
    );
    assert!(!shown.contains("observer_master"), "{shown}");
}

#[test]
fn own_lines_tell_every_position_and_how_far_each_learner_is() {
    let shown = mntr_of(leader());
    let own = shown.split_once("zk_ringkeeper\t1\n").unwrap().1;
    has(
        own,
        &[
            "zk_ringkeeper_proposed_zxid 33",
            "zk_ringkeeper_accepted_zxid 33",
            "zk_ringkeeper_durable_zxid 32",
            "zk_ringkeeper_committed_zxid 31",
            "zk_ringkeeper_applied_zxid 0",
            "zk_ringkeeper_current_epoch 1",
            "zk_ringkeeper_accepted_epoch 2",
            "zk_ringkeeper_elections_won 1",
            "zk_ringkeeper_sync_trunc_served 1",
            "zk_ringkeeper_learner_2_synced 0",
            "zk_ringkeeper_learner_2_durable_zxid 32",
            "zk_ringkeeper_learner_2_waiting_bytes 77",
        ],
    );
    for line in shown.lines().skip(3) {
        let (name, value) = line.split_once('\t').unwrap();
        assert!(name.starts_with("zk_") && value.parse::<f64>().is_ok(), "{line}");
    }
}

#[test]
fn mntr_of_learners_says_whom_they_follow_and_how_they_were_synchronised() {
    let mut follower = in_role(Role::Following { leader: ServerId(3) });
    follower.counts.synced_ms = [summary(&[8, 500]), Summary::default(), summary(&[1000])];
    (follower.counts.proposals_received, follower.counts.commits_received) = (32, 31);
    let shown = mntr_of(follower.clone());
    has(
        &shown,
        &[
            "zk_server_state follower",
            "zk_quorum_size 3",
            "zk_learner_proposal_received_count 32",
            "zk_learner_commit_received_count 31",
            "zk_min_follower_sync_time 8",
            "zk_max_follower_sync_time 1000",
            "zk_cnt_follower_sync_time 3",
            "zk_sum_follower_sync_time 1508",
            "zk_cnt_observer_sync_time 0",
            "zk_ringkeeper_sync_diff_count 2",
            "zk_ringkeeper_sync_diff_sum_ms 508",
            "zk_ringkeeper_sync_snap_max_ms 1000",
        ],
    );
    assert!(shown.contains("zk_peer_state\tfollowing - broadcast\n") && !shown.contains("zk_learners"), "{shown}");
    let observer = EnsembleFacts { role: Role::Observing { leader: ServerId(3) }, ..follower };
    let shown = mntr_of(observer);
    assert!(shown.contains("observer\nzk_peer_state\tobserving - broadcast\nzk_observer_master_id\t3\n"), "{shown}");
    has(&shown, &["zk_cnt_observer_sync_time 3", "zk_cnt_follower_sync_time 0"]);
}

#[test]
fn the_peer_state_names_phase_and_kind() {
    let state = |role: Role, phase| {
        let shown = mntr_of(EnsembleFacts { phase, ..in_role(role) });
        shown.lines().find_map(|l| l.strip_prefix("zk_peer_state\t")).unwrap().to_owned()
    };
    let follower = || Role::Following { leader: ServerId(1) };
    assert_eq!(state(Role::Looking, Phase::Election), "looking");
    assert_eq!(state(follower(), Phase::Discovery), "following - discovery");
    assert_eq!(state(follower(), Phase::Synchronization(None)), "following - synchronization");
    assert_eq!(state(follower(), Phase::Synchronization(Some(SyncKind::Snap))), "following - synchronization - snap");
}

#[test]
fn srvr_says_the_mode_and_of_a_leader_the_sizes_of_proposals() {
    let shown = |e: &EnsembleFacts| {
        let facts = ServerFacts { mode: e.mode(), proposal_bytes: e.proposal_bytes(), ..server() };
        text(|out| status::srvr(out, &facts))
    };
    assert!(shown(&leader()).ends_with("\nMode: leader\nNode count: 5\nProposal sizes last/min/max: 98/36/99\n"));
    let fresh = in_role(Role::Leading(LeaderFacts::default()));
    assert!(shown(&fresh).ends_with("\nProposal sizes last/min/max: -1/-1/-1\n"));
    assert!(shown(&in_role(Role::Following { leader: ServerId(3) })).ends_with("\nMode: follower\nNode count: 5\n"));
    assert!(shown(&in_role(Role::Observing { leader: ServerId(3) })).ends_with("\nMode: observer\nNode count: 5\n"));
    let cut_off = shown(&in_role(Role::Looking));
    assert!(cut_off.contains("UTC\nREAD-ONLY mode; serving only read-only clients\nLatency"), "{cut_off}");
    assert!(cut_off.ends_with("\nMode: read-only\nNode count: 5\n"), "{cut_off}");
}

#[test]
fn conf_of_an_observer_is_zookeepers_to_the_byte() {
    let membership = "server.1=127.0.0.1:2888:3888:participant\nserver.4=127.0.0.1:2888:3888:observer\nversion=0";
    let facts = ConfFacts {
        client_port: 2181,
        data_dir: "/var/lib/d",
        data_log_dir: "/var/lib/d",
        sizes: DirSizes { data_bytes: 67_110_194, log_bytes: 67_110_194 },
        tick_ms: 2000,
        max_client_cnxns: Some(60),
        min_session_timeout_ms: 4000,
        max_session_timeout_ms: 40_000,
        listen_backlog: None,
        server_id: 4,
        ensemble: Some(EnsembleConf { init_limit: 10, sync_limit: 5, election_port: 3888, quorum_port: 2888, observer: true, membership }),
    };
    assert!(text(|out| simple::conf(out, &facts)).ends_with(
        "clientPortListenBacklog=-1\nserverId=4\ninitLimit=10\nsyncLimit=5\nelectionAlg=3\nelectionPort=3888\nquorumPort=2888\npeerType=1\n\
         membership: \nserver.1=127.0.0.1:2888:3888:participant\nserver.4=127.0.0.1:2888:3888:observer\nversion=0"
    ));
}

#[test]
fn dump_of_a_follower_has_timeouts_instead_of_deadlines() {
    let session = SessionId(0x0001_0000_2e0b_2900);
    let nodes = [SessionNodes { session, paths: vec![b"/app/follower"] }];
    let conns = [Deadline {
        wall_ms: 1_795_369_681_000,
        items: vec![DumpConn { peer: "127.0.0.1:60328".parse().unwrap(), session: SessionId::NONE }],
    }];
    assert_eq!(
        text(|out| dump(out, SessionsShown::Timeouts(&[(session, 10_000)]), &nodes, &conns)),
        "SessionTracker dump:\nGlobal Sessions(1):\n0x100002e0b2900\t10000ms\nephemeral nodes dump:\nSessions with Ephemerals (1):\n\
         0x100002e0b2900:\n\t/app/follower\nConnections dump:\nConnections Sets (1)/(1):\n1 expire at Sun Nov 22 17:48:01 UTC 2026:\n\
         \tip: /127.0.0.1:60328 sessionId: 0x0\n"
    );
}

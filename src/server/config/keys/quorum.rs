//! Keys of an ensemble, and those that only ZooKeeper's clients and tests read.

use super::super::kind::Kind;
use super::{Key, honoured, in_ensemble, later, moot, refused};

/// Why a setting of the Java machine has no meaning.
pub(super) const JVM: &str = "there is no Java machine";
const CLIENT: &str = "it is a setting of clients";
const TEST: &str = "it is a setting of ZooKeeper's own tests and tools";
const NO_SASL: &str = "it only matters with quorum.auth.enableSasl, which is not built yet";
const ONE_ELECTION: &str = "there is one way to elect, and it sets its own pace, see ringkeeper.election.gatherMs";
const PULSE: &str = "heartbeats tell who is gone, see ringkeeper.pulse.silenceMs";
const INIT: &str = "initLimit bounds the whole way to a synchronised server";
const RECONNECT: &str = "connections between servers are made again by themselves";
const NO_THREADS: &str = "no thread waits for a server's socket";
const NO_OBSERVER_MASTER: &str = "it only matters with observerMasterPort, which is not built yet";
const ONE_ADDRESS: &str = "it only matters with multiAddress.enabled, which is not built yet";
const BACKLOG: &str = "what waits for one server is bounded in bytes, see ringkeeper.peer.backlogKb";
const CATCHUP: &str = "servers catch up from the log as far as it goes back, see ringkeeper.catchup.cacheKb";
const ONE_QUEUE: &str = "a forwarded request is kept once";

/// Heaviest vote: sums of weights stay far below what a number holds.
const WEIGHT_MAX: i64 = 1_000_000_000;

/// Membership, election, synchronisation.
pub(super) const KEYS: &[Key] = &[
    honoured(
        "server.*",
        Kind::Server,
        "none",
        "a member; which one this server is says the file myid in dataDir. A single voter runs as a standalone server unless \
         standaloneEnabled=false",
    ),
    in_ensemble("group.*", Kind::Group, "none", "members of a group: a quorum is a majority of the weight in a majority of the groups"),
    in_ensemble("weight.*", Kind::Int { min: 0, max: WEIGHT_MAX }, "1", "a member's weight in its group; 0: its vote doesn't count"),
    in_ensemble("version", Kind::Hex, "0", "version of the membership, in hexadecimal digits"),
    honoured("dynamicConfigFile", Kind::Name, "none", "file that holds server.N, group.N, weight.N and version instead of this one"),
    honoured("standaloneEnabled", Kind::Bool, "true", "false: one voter is an ensemble as well, and there must be one"),
    in_ensemble("initLimit", Kind::COUNT, "10", "ticks to connect to a leader and be synchronised"),
    in_ensemble("syncLimit", Kind::COUNT, "5", "ticks that a synchronised server may lag"),
    in_ensemble(
        "peerType",
        Kind::Choice(&["participant", "observer"]),
        "participant",
        "whether this server votes; its server.N line decides",
    ),
    in_ensemble("quorumListenOnAllIPs", Kind::Bool, "false", "listens for servers on all addresses, not only on that of its server.N line"),
    honoured("reconfigEnabled", Kind::Bool, "false", "how reconfig is refused: not implemented, or disabled"),
    moot("connectToLearnerMasterLimit", Kind::COUNT, "0", INIT, "ticks to connect to the leader"),
    moot("electionAlg", Kind::Choice(&["3"]), "3", ONE_ELECTION, "election algorithm"),
    refused("oraclePath", Kind::Name, "none", "", "oracle for two servers"),
    refused("quorum.auth.enableSasl", Kind::Bool, "false", "false", "SASL between servers"),
    refused("quorum.auth.serverRequireSasl", Kind::Bool, "false", "false", "refuses servers without SASL"),
    refused("quorum.auth.learnerRequireSasl", Kind::Bool, "false", "false", "refuses leaders without SASL"),
    moot("quorum.auth.server.saslLoginContext", Kind::Name, "QuorumServer", NO_SASL, "JAAS section"),
    moot("quorum.auth.learner.saslLoginContext", Kind::Name, "QuorumLearner", NO_SASL, "JAAS section"),
    moot("quorum.auth.kerberos.servicePrincipal", Kind::Name, "zkquorum/localhost", NO_SASL, "Kerberos principal"),
    moot("quorum.cnxn.threads.size", Kind::COUNT, "20", NO_THREADS, "threads of the election transport"),
    later("localSessionsEnabled", Kind::Bool, "false", "false", "sessions that are known to one server only: all are global"),
    moot(
        "localSessionsUpgradingEnabled",
        Kind::Bool,
        "false",
        "it only matters with localSessionsEnabled, which is not built yet",
        "makes a local session global when it needs to be",
    ),
    moot("syncEnabled", Kind::Bool, "true", "an observer always keeps a log", "an observer keeps a log"),
    moot("observer.syncEnabled", Kind::Bool, "true", "an observer always keeps a log", "an observer keeps a log"),
    later("observerMasterPort", Kind::PORT, "0", "0", "port on which followers feed observers: the leader feeds all"),
    moot("observerMaster.sizeLimit", Kind::COUNT, "33554432", NO_OBSERVER_MASTER, "bytes kept for late observers"),
    moot("observer.reconnectDelayMs", Kind::LONG, "0", RECONNECT, "ms before an observer connects again"),
    moot("observer.election.DelayMs", Kind::LONG, "200", RECONNECT, "ms before an observer looks for a leader again"),
    later("leaderServes", Kind::OffIfNo, "yes", "yes", "a leader serves clients: it always does"),
    moot("cnxTimeout", Kind::COUNT, "5000", PULSE, "ms; connect timeout of the election"),
    moot("quorumCnxnTimeoutMs", Kind::INT, "-1", PULSE, "ms; read timeout of the election"),
    moot(
        "electionPortBindRetry",
        Kind::COUNT,
        "3",
        "an address that is taken refuses the start at once, and names who may hold it",
        "attempts to bind the election port",
    ),
    moot("tcpKeepAlive", Kind::Bool, "false", PULSE, "SO_KEEPALIVE on election sockets"),
    moot("maxTimeToWaitForEpoch", Kind::INT, "-1", ONE_ELECTION, "ms to wait for a quorum of epochs"),
    moot("leader.maxTimeToWaitForEpoch", Kind::INT, "-1", ONE_ELECTION, "ms to wait for a quorum of epochs"),
    moot("fastleader.minNotificationInterval", Kind::COUNT, "200", ONE_ELECTION, "ms before a vote is sent again"),
    moot("fastleader.maxNotificationInterval", Kind::COUNT, "60000", ONE_ELECTION, "ms; highest such interval"),
    later("multiAddress.enabled", Kind::Bool, "false", "false", "several addresses of one server"),
    moot("multiAddress.reachabilityCheckEnabled", Kind::Bool, "true", ONE_ADDRESS, "probes which address answers"),
    moot("multiAddress.reachabilityCheckTimeoutMs", Kind::COUNT, "1000", ONE_ADDRESS, "ms; timeout of that probe"),
    moot("leader.nodelay", Kind::Bool, "true", "TCP_NODELAY is always on", "TCP_NODELAY on a leader's sockets"),
    moot("follower.nodelay", Kind::Bool, "true", "TCP_NODELAY is always on", "TCP_NODELAY on a follower's socket"),
    moot(
        "leader.ackLoggingFrequency",
        Kind::COUNT,
        "1000",
        "mntr says at any time how far each server is",
        "one of so many acknowledgements is logged",
    ),
    moot("leader.closeSocketAsync", Kind::Bool, "false", NO_THREADS, "closes sockets in the background"),
    moot("learner.closeSocketAsync", Kind::Bool, "false", NO_THREADS, "closes sockets in the background"),
    moot("learner.asyncSending", Kind::Bool, "false", NO_THREADS, "sends from a thread of its own"),
    moot("leader.maxConcurrentDiffSyncs", Kind::COUNT, "100", BACKLOG, "followers that catch up by log at a time"),
    moot("leader.maxConcurrentSnapSyncs", Kind::COUNT, "10", BACKLOG, "followers that catch up by snapshot at a time"),
    moot("leaderConnectDelayDuringRetryMs", Kind::COUNT, "100", RECONNECT, "ms between two attempts to connect"),
    moot("commitLogCount", Kind::COUNT, "500", CATCHUP, "transactions kept in memory for followers"),
    moot("snapshotSizeFactor", Kind::Decimal, "0.33", CATCHUP, "share of a snapshot's size up to which the log is sent"),
    moot("forceSnapshotSync", Kind::Bool, "false", CATCHUP, "always sends a snapshot"),
    moot("follower.skipLearnerRequestToNextProcessor", Kind::Bool, "false", ONE_QUEUE, "doesn't keep forwarded requests"),
    moot(
        "forward_learner_requests_to_commit_processor_disabled",
        Kind::Bool,
        "false",
        ONE_QUEUE,
        "a leader doesn't keep forwarded requests",
    ),
    moot("messageTracker.BufferSize", Kind::COUNT, "10", "no message is kept for diagnosis", "messages remembered for each follower"),
    moot("messageTracker.Enabled", Kind::Bool, "false", "no message is kept for diagnosis", "remembers messages for diagnosis"),
];

/// What a server doesn't read.
pub(super) const OTHERS: &[Key] = &[
    moot("client.secure", Kind::Bool, "false", CLIENT, "uses TLS"),
    moot("clientCnxnSocket", Kind::Name, "the NIO socket", CLIENT, "class of the socket"),
    moot("disableAutoWatchReset", Kind::Bool, "false", CLIENT, "doesn't register watches again"),
    moot("request.timeout", Kind::LONG, "0", CLIENT, "ms; timeout of a request"),
    moot("sasl.client", Kind::Bool, "true", CLIENT, "may use SASL"),
    moot("sasl.client.canonicalize.hostname", Kind::Bool, "true", CLIENT, "canonical host names"),
    moot("sasl.client.username", Kind::Name, "zookeeper", CLIENT, "first part of the server's principal"),
    moot("sasl.clientconfig", Kind::Name, "Client", CLIENT, "JAAS section"),
    moot("server.principal", Kind::Name, "none", CLIENT, "principal of the server"),
    moot("server.realm", Kind::Name, "none", CLIENT, "realm of the server"),
    moot("controllerPort", Kind::PORT, "none", TEST, "port of the controller"),
    moot("configuration", Kind::Text, "none", TEST, "configuration of an embedded server"),
    refused("test.allowDiscontinuousProposals", Kind::Bool, "false", "false", "accepts gaps between proposals"),
    refused("testingonly.initialZxid", Kind::LONG, "none", "", "first zxid of a leader"),
];

//! Keys of an ensemble, and those that only ZooKeeper's clients and tests read.

use super::super::kind::Kind;
use super::{Key, honoured, later, moot, refused};

/// Why a setting of the Java machine has no meaning.
pub(super) const JVM: &str = "there is no Java machine";
const ALONE: &str = "it only counts between the servers of an ensemble, and this server stands alone";
const CLIENT: &str = "it is a setting of clients";
const TEST: &str = "it is a setting of ZooKeeper's own tests and tools";

/// Membership, election, synchronisation.
pub(super) const KEYS: &[Key] = &[
    honoured(
        "server.*",
        Kind::Server,
        "none",
        "a member; one alone runs as a standalone server, and its client part counts; several are refused: an ensemble is not built yet",
    ),
    moot("group.*", Kind::Text, "none", ALONE, "members of a group"),
    moot("weight.*", Kind::LONG, "1", ALONE, "a member's weight in its group"),
    moot("initLimit", Kind::COUNT, "none", ALONE, "ticks to connect and catch up"),
    moot("syncLimit", Kind::COUNT, "none", ALONE, "ticks that a follower may lag"),
    moot("connectToLearnerMasterLimit", Kind::COUNT, "0", ALONE, "ticks to connect to the leader"),
    moot("electionAlg", Kind::Choice(&["3"]), "3", ALONE, "election algorithm"),
    refused("peerType", Kind::Choice(&["participant", "observer"]), "participant", "participant", "whether this server votes"),
    later("standaloneEnabled", Kind::Bool, "true", "true", "false: one server is an ensemble that can grow"),
    honoured("reconfigEnabled", Kind::Bool, "false", "how a standalone server refuses reconfig: not implemented, or disabled"),
    refused("dynamicConfigFile", Kind::Name, "none", "", "file with the members of the ensemble"),
    refused("oraclePath", Kind::Name, "none", "", "oracle for two servers"),
    refused("quorum.auth.enableSasl", Kind::Bool, "false", "false", "SASL between servers"),
    refused("quorum.auth.serverRequireSasl", Kind::Bool, "false", "false", "refuses servers without SASL"),
    refused("quorum.auth.learnerRequireSasl", Kind::Bool, "false", "false", "refuses leaders without SASL"),
    moot("quorum.auth.server.saslLoginContext", Kind::Name, "QuorumServer", ALONE, "JAAS section"),
    moot("quorum.auth.learner.saslLoginContext", Kind::Name, "QuorumLearner", ALONE, "JAAS section"),
    moot("quorum.auth.kerberos.servicePrincipal", Kind::Name, "zkquorum/localhost", ALONE, "Kerberos principal"),
    moot("quorum.cnxn.threads.size", Kind::COUNT, "20", ALONE, "threads of the election transport"),
    moot("quorumListenOnAllIPs", Kind::Bool, "false", ALONE, "listens for servers on all addresses"),
    moot("localSessionsEnabled", Kind::Bool, "false", ALONE, "sessions that are known to one server only"),
    moot("localSessionsUpgradingEnabled", Kind::Bool, "false", ALONE, "makes a local session global when it needs to be"),
    moot("syncEnabled", Kind::Bool, "true", ALONE, "an observer keeps a log"),
    moot("observer.syncEnabled", Kind::Bool, "true", ALONE, "an observer keeps a log"),
    moot("observerMasterPort", Kind::PORT, "0", ALONE, "port on which followers feed observers"),
    moot("observerMaster.sizeLimit", Kind::COUNT, "33554432", ALONE, "bytes kept for late observers"),
    moot("observer.reconnectDelayMs", Kind::LONG, "0", ALONE, "ms before an observer connects again"),
    moot("observer.election.DelayMs", Kind::LONG, "200", ALONE, "ms before an observer looks for a leader again"),
    moot("leaderServes", Kind::OffIfNo, "yes", ALONE, "a leader serves clients"),
    moot("cnxTimeout", Kind::COUNT, "5000", ALONE, "ms; connect timeout of the election"),
    moot("quorumCnxnTimeoutMs", Kind::INT, "-1", ALONE, "ms; read timeout of the election"),
    moot("electionPortBindRetry", Kind::COUNT, "3", ALONE, "attempts to bind the election port"),
    moot("tcpKeepAlive", Kind::Bool, "false", ALONE, "SO_KEEPALIVE on election sockets"),
    moot("maxTimeToWaitForEpoch", Kind::INT, "-1", ALONE, "ms to wait for a quorum of epochs"),
    moot("leader.maxTimeToWaitForEpoch", Kind::INT, "-1", ALONE, "ms to wait for a quorum of epochs"),
    moot("fastleader.minNotificationInterval", Kind::COUNT, "200", ALONE, "ms before a vote is sent again"),
    moot("fastleader.maxNotificationInterval", Kind::COUNT, "60000", ALONE, "ms; highest such interval"),
    moot("multiAddress.enabled", Kind::Bool, "false", ALONE, "several addresses of one server"),
    moot("multiAddress.reachabilityCheckEnabled", Kind::Bool, "true", ALONE, "probes which address answers"),
    moot("multiAddress.reachabilityCheckTimeoutMs", Kind::COUNT, "1000", ALONE, "ms; timeout of that probe"),
    moot("leader.nodelay", Kind::Bool, "true", ALONE, "TCP_NODELAY on a leader's sockets"),
    moot("follower.nodelay", Kind::Bool, "true", ALONE, "TCP_NODELAY on a follower's socket"),
    moot("leader.ackLoggingFrequency", Kind::COUNT, "1000", ALONE, "one of so many acknowledgements is logged"),
    moot("leader.closeSocketAsync", Kind::Bool, "false", ALONE, "closes sockets in the background"),
    moot("learner.closeSocketAsync", Kind::Bool, "false", ALONE, "closes sockets in the background"),
    moot("learner.asyncSending", Kind::Bool, "false", ALONE, "sends from a thread of its own"),
    moot("leader.maxConcurrentDiffSyncs", Kind::COUNT, "100", ALONE, "followers that catch up by log at a time"),
    moot("leader.maxConcurrentSnapSyncs", Kind::COUNT, "10", ALONE, "followers that catch up by snapshot at a time"),
    moot("leaderConnectDelayDuringRetryMs", Kind::COUNT, "100", ALONE, "ms between two attempts to connect"),
    moot("commitLogCount", Kind::COUNT, "500", ALONE, "transactions kept in memory for followers"),
    moot("snapshotSizeFactor", Kind::Decimal, "0.33", ALONE, "share of a snapshot's size up to which the log is sent"),
    moot("forceSnapshotSync", Kind::Bool, "false", ALONE, "always sends a snapshot"),
    moot("follower.skipLearnerRequestToNextProcessor", Kind::Bool, "false", ALONE, "doesn't keep forwarded requests"),
    moot("forward_learner_requests_to_commit_processor_disabled", Kind::Bool, "false", ALONE, "a leader doesn't keep forwarded requests"),
    moot("messageTracker.BufferSize", Kind::COUNT, "10", ALONE, "messages remembered for each follower"),
    moot("messageTracker.Enabled", Kind::Bool, "false", ALONE, "remembers messages for diagnosis"),
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
    moot("version", Kind::Text, "none", TEST, "first line of the word envi, no setting"),
    moot("controllerPort", Kind::PORT, "none", TEST, "port of the controller"),
    moot("configuration", Kind::Text, "none", TEST, "configuration of an embedded server"),
    refused("test.allowDiscontinuousProposals", Kind::Bool, "false", "false", "accepts gaps between proposals"),
    refused("testingonly.initialZxid", Kind::LONG, "none", "", "first zxid of a leader"),
];

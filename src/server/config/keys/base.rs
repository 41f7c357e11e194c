//! Keys of addresses, directories, the clock of sessions.

use super::super::kind::Kind;
use super::{Key, honoured, later, moot};

/// In the order of the documentation.
pub(super) const KEYS: &[Key] = &[
    honoured("dataDir", Kind::Name, "none; required in a file", "directory of snapshots and identity"),
    honoured("dataLogDir", Kind::Name, "dataDir", "directory of the transaction log"),
    honoured("clientPort", Kind::PORT, "none; required in a file", "port for clients; 0 takes a free one"),
    honoured("clientPortAddress", Kind::Name, "all addresses", "address for clients"),
    honoured("clientPortListenBacklog", Kind::OR_MINUS_ONE, "-1", "connections that wait to be accepted; -1: the system's choice"),
    later("secureClientPort", Kind::PORT, "none", "", "port for clients with TLS: none is opened"),
    later("secureClientPortAddress", Kind::Name, "all addresses", "", "address for clients with TLS"),
    honoured("tickTime", Kind::Int { min: 1, max: 3_600_000 }, "3000", "ms; unit of session expiry"),
    honoured("minSessionTimeout", Kind::OR_MINUS_ONE, "2 * tickTime", "ms; lowest session timeout that is granted; -1: the default"),
    honoured("maxSessionTimeout", Kind::OR_MINUS_ONE, "20 * tickTime", "ms; highest session timeout that is granted; -1: the default"),
    honoured("maxClientCnxns", Kind::COUNT, "60", "connections from one address; 0: no limit"),
    honoured("maxCnxns", Kind::COUNT, "0", "connections in all; 0: no limit"),
    honoured(
        "4lw.commands.whitelist",
        Kind::Words,
        "ruok,srvr,mntr,conf,stat,isro,dirs,late",
        "four-letter words that are answered; * for all; srvr always is",
    ),
    honoured(
        "readonlymode.enabled",
        Kind::Bool,
        "false",
        "answers isro whatever the whitelist says; a server cut off from its ensemble serves reads to clients that accept it",
    ),
    moot("jvm.pause.monitor", Kind::Bool, "false", super::quorum::JVM, "watches for pauses of the Java machine"),
    moot("jvm.pause.info-threshold.ms", Kind::LONG, "1000", super::quorum::JVM, "ms; pause that is logged"),
    moot("jvm.pause.warn-threshold.ms", Kind::LONG, "10000", super::quorum::JVM, "ms; pause that is a warning"),
    moot("jvm.pause.sleep.time.ms", Kind::LONG, "500", super::quorum::JVM, "ms between two looks"),
    moot("jmx.log4j.disable", Kind::Bool, "false", super::quorum::JVM, "JMX beans of log4j"),
    moot("jmx.log4j.mbean", Kind::Text, "none", super::quorum::JVM, "JMX bean of log4j"),
];

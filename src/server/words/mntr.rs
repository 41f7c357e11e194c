//! `mntr`: the metrics, one `zk_name<TAB>value` a line and nothing else, since one other line makes some tools give up.
//!
//! A metric that isn't measured here is absent, never zero; so every field is an `Option`, and only what has a meaning for
//! this server is a field at all. The order is ZooKeeper's: gauges, counters, then summaries without and with percentiles.

use super::ensemble::{EnsembleFacts, Positions};
use super::facts::{Mode, Version};
use super::latency::{self, StageFigures};
use super::text::{average, java_double, put};

/// Declares a struct of metrics whose names are those of its fields.
macro_rules! metrics {
    ($(#[$about:meta])* $group:ident of $value:ty { $($(#[$meaning:meta])* $name:ident,)* }) => {
        $(#[$about])*
        #[derive(Clone, PartialEq, Debug, Default)]
        pub struct $group {
            $($(#[$meaning])* pub $name: Option<$value>,)*
        }

        impl $group {
            /// Those that are measured, with their names, in order.
            pub fn measured(&self) -> impl Iterator<Item = (&'static str, &$value)> {
                [$((stringify!($name), self.$name.as_ref()),)*].into_iter().filter_map(|(name, value)| Some((name, value?)))
            }
        }
    };
}

/// A number as it is printed: whole ones plain, others as Java prints them.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Number {
    /// Plain.
    Whole(i64),
    /// With a fraction, always.
    Fraction(f64),
}

metrics! {
    /// What is, at this moment.
    Gauges of Number {
        /// Ephemeral nodes.
        ephemerals_count,
        /// Open client connections.
        num_alive_connections,
        /// Mean request latency in ms, four decimals.
        avg_latency,
        /// Requests without an answer yet.
        outstanding_requests,
        /// Nodes as ZooKeeper counts them (an empty tree says 5).
        znode_count,
        /// Sessions.
        global_sessions,
        /// Bytes of the last reply; -1 before the first.
        last_client_response_size,
        /// Messages to clients.
        packets_sent,
        /// Messages from clients.
        packets_received,
        /// Bytes of the largest reply; -1 before the first.
        max_client_response_size,
        /// Watches in both tables.
        watch_count,
        /// Failed authentications.
        auth_failed_count,
        /// Lowest request latency in ms.
        min_latency,
        /// Descriptors that the process may open.
        max_file_descriptor_count,
        /// Bytes of paths and data.
        approximate_data_size,
        /// Descriptors that are open.
        open_file_descriptor_count,
        /// Milliseconds since the start.
        uptime,
        /// Highest request latency in ms.
        max_latency,
        /// Bytes of the smallest reply; -1 before the first.
        min_client_response_size,
    }
}

metrics! {
    /// What has been, since the start.
    Counters of u64 {
        /// Bytes of watch events sent.
        watch_bytes,
        /// Connections refused by a limit.
        connection_rejected,
        /// Connections closed because they set up no session in time.
        sessionless_connections_expired,
        /// Requests of closed connections.
        stale_requests,
        /// Connections closed by the server.
        connection_drop_count,
        /// Bytes from clients.
        bytes_received_count,
        /// Requests handed to the prep stage.
        prep_processor_request_queued,
        /// Replies made for closed connections.
        stale_replies,
        /// Bytes of replies sent.
        response_bytes,
        /// Scheme ensemble: names that didn't match.
        ensemble_auth_fail,
        /// Connects that resume a session.
        connection_revalidate_count,
        /// Errors that end the process.
        unrecoverable_error_count,
        /// Transactions committed.
        commit_count,
        /// Outstanding changes added.
        outstanding_changes_queued,
        /// Scheme ensemble: checks without a configured name.
        ensemble_auth_skip,
        /// Transactions proposed.
        proposal_count,
        /// Outstanding changes that were applied.
        outstanding_changes_removed,
        /// Connections closed because the server wasn't serving.
        cnxn_closed_without_zk_server_running,
        /// Digests of the tree that differed.
        digest_mismatches_count,
        /// Scheme ensemble: names that matched.
        ensemble_auth_success,
        /// Connects received.
        connection_request_count,
        /// Sessions that expired.
        stale_sessions_expired,
        /// Records handed to the log.
        sync_processor_request_queued,
    }
}

metrics! {
    /// Summaries without percentiles.
    BasicSummaries of Summary {
        /// Watches fired by a creation.
        node_created_watch_count,
        /// Watches fired by a deletion.
        node_deleted_watch_count,
        /// Replay of the log at the start, ms.
        startup_txns_load_time,
        /// Records waiting for the log.
        sync_processor_queue_size,
        /// Requests waiting for prep.
        prep_processor_queue_size,
        /// One durable write of the log, ms.
        fsynctime,
        /// One snapshot, ms.
        snapshottime,
        /// Transactions replayed at the start.
        startup_txns_loaded,
        /// Prep of one request, ms.
        prep_process_time,
        /// Start until the database was there, ms.
        dbinittime,
        /// Records of one batch.
        sync_processor_batch_size,
        /// Watches fired by a change of children.
        node_children_watch_count,
        /// Watches fired by a change of data.
        node_changed_watch_count,
        /// Load of the snapshot at the start, ms.
        startup_snap_load_time,
    }
}

metrics! {
    /// Summaries with percentiles, all in ms.
    AdvancedSummaries of Percentiles {
        /// Wait for prep.
        prep_processor_queue_time_ms,
        /// Prep of a closeSession.
        close_session_prep_time,
        /// A write, from receipt to reply.
        updatelatency,
        /// Wait of a write of this server's own client for its commit.
        local_write_committed_time_ms,
        /// A read, from receipt to reply.
        readlatency,
        /// Execution of a read.
        read_final_proc_time_ms,
        /// Execution of a write.
        write_final_proc_time_ms,
        /// In the log stage.
        sync_processor_queue_and_flush_time_ms,
        /// From the transaction's time stamp to its application.
        propagation_latency,
        /// Wait of any write for its commit.
        server_write_committed_time_ms,
        /// Wait in front of the log.
        sync_processor_queue_time_ms,
        /// Wait for the durable write.
        sync_processor_queue_flush_time_ms,
    }
}

/// Lowest, highest, number and sum of what was observed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    min: u64,
    max: u64,
    count: u64,
    sum: u64,
}

impl Summary {
    /// What somebody else observed; `None` when that is nothing.
    #[must_use]
    pub fn of(min: u64, max: u64, count: u64, sum: u64) -> Option<Summary> {
        (count > 0).then_some(Summary { min, max, count, sum })
    }

    /// Observes `value`.
    pub fn record(&mut self, value: u64) {
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
    }

    /// What both observed.
    #[must_use]
    pub fn with(self, other: &Summary) -> Summary {
        match (self.count, other.count) {
            (_, 0) => self,
            (0, _) => *other,
            _ => Summary {
                min: self.min.min(other.min),
                max: self.max.max(other.max),
                count: self.count.saturating_add(other.count),
                sum: self.sum.saturating_add(other.sum),
            },
        }
    }

    /// Observes `value` so many times.
    pub fn record_n(&mut self, value: u64, count: u64) {
        *self = self.with(&Summary::of_n(value, count));
    }

    /// Of `count` times the same.
    #[must_use]
    pub fn of_n(value: u64, count: u64) -> Summary {
        Summary::of(value, value, count, value.saturating_mul(count)).unwrap_or_default()
    }

    /// Lowest; 0 before the first.
    #[must_use]
    pub fn min(&self) -> u64 {
        self.min
    }

    /// How many were observed.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Of all.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Highest; 0 before the first.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max
    }
}

/// A summary and four percentiles of what was observed lately.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Percentiles {
    /// The rest.
    pub summary: Summary,
    /// Half is at or below.
    pub p50: u64,
    /// 95 of 100 are.
    pub p95: u64,
    /// 99 of 100 are.
    pub p99: u64,
    /// 999 of 1000 are.
    pub p999: u64,
}

/// Everything that `mntr` shows.
#[derive(Clone, PartialEq, Debug)]
pub struct MntrFacts<'a> {
    /// Which server.
    pub version: Version<'a>,
    /// In which role.
    pub mode: Mode,
    /// At this moment.
    pub gauges: Gauges,
    /// Since the start.
    pub counters: Counters,
    /// Since the start.
    pub basic: BasicSummaries,
    /// Since the start.
    pub advanced: AdvancedSummaries,
    /// Where the server stands in the history.
    pub positions: Option<Positions>,
    /// Whether writes are refused because the disk has no room for the log.
    pub log_full: Option<bool>,
    /// Where a write spends its time.
    pub stages: Vec<StageFigures>,
    /// Its part in an ensemble; `None` of a standalone server.
    pub ensemble: Option<EnsembleFacts>,
}

/// The answer to `mntr`.
pub fn mntr(out: &mut Vec<u8>, facts: &MntrFacts<'_>) {
    put(out, format_args!("zk_version\t{}\n", facts.version.text()));
    put(out, format_args!("zk_server_state\t{}\n", facts.mode.name()));
    let ensemble = facts.ensemble.as_ref();
    ensemble.inspect(|e| e.state_lines(out));
    for (name, value) in facts.gauges.measured() {
        match value {
            Number::Whole(n) => put(out, format_args!("zk_{name}\t{n}\n")),
            Number::Fraction(n) => put(out, format_args!("zk_{name}\t{}\n", java_double(*n))),
        }
    }
    ensemble.inspect(|e| e.gauge_lines(out));
    for (name, n) in facts.counters.measured() {
        put(out, format_args!("zk_{name}\t{n}\n"));
    }
    ensemble.inspect(|e| e.counter_lines(out));
    for (name, summary) in facts.basic.measured() {
        summary_lines(out, name, summary);
    }
    for (name, summary) in ensemble.into_iter().flat_map(EnsembleFacts::summaries) {
        summary_lines(out, name, &summary);
    }
    for (name, p) in facts.advanced.measured() {
        summary_lines(out, name, &p.summary);
        for (rank, n) in [("p50", p.p50), ("p95", p.p95), ("p99", p.p99), ("p999", p.p999)] {
            put(out, format_args!("zk_{rank}_{name}\t{n}\n"));
        }
    }
    // Ours, at the end; a number, because tools convert every value.
    out.extend_from_slice(b"zk_ringkeeper\t1\n");
    facts.positions.inspect(|positions| positions.own_lines(out));
    facts.log_full.inspect(|full| put(out, format_args!("zk_ringkeeper_log_full\t{}\n", u8::from(*full))));
    latency::own_lines(out, &facts.stages);
    ensemble.inspect(|e| e.own_lines(out));
}

fn summary_lines(out: &mut Vec<u8>, name: &str, summary: &Summary) {
    put(out, format_args!("zk_avg_{name}\t{}\n", java_double(average(summary.sum, summary.count))));
    for (part, n) in [("min", summary.min), ("max", summary.max), ("cnt", summary.count), ("sum", summary.sum)] {
        put(out, format_args!("zk_{part}_{name}\t{n}\n"));
    }
}

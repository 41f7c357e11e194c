//! `srvr`, `stat` and `cons`: the server and its connections. Tools read these lines by position.

use super::facts::{ConnFacts, Mode, ServerFacts};
use super::text::{java_double, put};

/// The answer to `srvr`.
pub fn srvr(out: &mut Vec<u8>, facts: &ServerFacts<'_>) {
    version(out, facts);
    server(out, facts);
}

/// The answer to `stat`: that of `srvr`, with one line for each connection in between.
pub fn stat(out: &mut Vec<u8>, facts: &ServerFacts<'_>, connections: impl Iterator<Item = ConnFacts>) {
    version(out, facts);
    out.extend_from_slice(b"Clients:\n");
    for conn in connections {
        connection(out, &conn);
        out.extend_from_slice(b")\n");
    }
    out.push(b'\n');
    server(out, facts);
}

/// The answer to `cons`.
pub fn cons(out: &mut Vec<u8>, connections: impl Iterator<Item = ConnFacts>) {
    for conn in connections {
        connection(out, &conn);
        session(out, &conn);
        out.extend_from_slice(b")\n");
    }
    out.push(b'\n');
}

fn version(out: &mut Vec<u8>, facts: &ServerFacts<'_>) {
    put(out, format_args!("Zookeeper version: {}\n", facts.version.text()));
    if facts.mode == Mode::ReadOnly {
        out.extend_from_slice(b"READ-ONLY mode; serving only read-only clients\n");
    }
}

fn server(out: &mut Vec<u8>, facts: &ServerFacts<'_>) {
    let latency = &facts.latency;
    put(out, format_args!("Latency min/avg/max: {}/{}/{}\n", latency.min_ms, java_double(latency.avg_ms()), latency.max_ms));
    put(out, format_args!("Received: {}\nSent: {}\n", facts.packets_received, facts.packets_sent));
    put(out, format_args!("Connections: {}\nOutstanding: {}\n", facts.connections, facts.outstanding));
    put(out, format_args!("Zxid: {}\nMode: {}\nNode count: {}\n", facts.zxid, facts.mode.name(), facts.node_count));
    if let Some((last, min, max)) = facts.proposal_bytes {
        put(out, format_args!("Proposal sizes last/min/max: {last}/{min}/{max}\n"));
    }
}

/// Everything up to the closing bracket.
fn connection(out: &mut Vec<u8>, conn: &ConnFacts) {
    put(out, format_args!(" /{}[{:x}](queued={},recved={},sent={}", conn.peer, conn.interest, conn.queued, conn.received, conn.sent));
}

fn session(out: &mut Vec<u8>, conn: &ConnFacts) {
    let Some(s) = &conn.session else { return };
    put(out, format_args!(",sid={},lop={},est={},to={}", s.id, s.last_op, s.established_wall_ms, s.timeout_ms));
    if s.last_cxid >= 0 {
        put(out, format_args!(",lcxid=0x{:x}", s.last_cxid));
    }
    put(out, format_args!(",lzxid={},lresp={},llat={}", s.last_zxid, s.last_response_mono_ms, s.last_latency_ms));
    let latency = &s.latency;
    // Whole milliseconds here, unlike in `srvr`.
    let avg_ms = latency.sum_ms.checked_div(latency.count).unwrap_or(0);
    put(out, format_args!(",minlat={},avglat={avg_ms},maxlat={}", latency.min_ms, latency.max_ms));
}

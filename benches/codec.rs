//! What the client protocol costs for each operation: splitting frames, decoding requests, encoding replies and events.
//!
//! `cargo bench --bench codec`. Every figure is per burst of [`BURST`] operations, as a front meets them; criterion also
//! prints the operations a second.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringkeeper::base::ids::Zxid;
use ringkeeper::model::acl::OPEN_UNSAFE;
use ringkeeper::model::op_code::OpCode;
use ringkeeper::model::request::{Create, CreateOp, Request};
use ringkeeper::model::stat::Stat;
use ringkeeper::model::watch_kind::EventType;
use ringkeeper::wire::client_side::put_request;
use ringkeeper::wire::{FrameSplitter, Reply, decode_header, decode_request, write_event};
use std::hint::black_box;

/// Operations that arrive together.
const BURST: usize = 64;
/// A usual path.
const PATH: &[u8] = b"/services/frontend/instances/n0000000017";
/// A usual value.
const VALUE: &[u8] = &[7; 100];

fn requests() -> Vec<(&'static str, Request<'static>)> {
    let create = Create { op: CreateOp::Create2, path: PATH, data: Some(VALUE), acl: Some(OPEN_UNSAFE), flags: 0, ttl_ms: 0 };
    let set = || Request::SetData { path: PATH, data: Some(VALUE), version: -1 };
    vec![
        ("getData", Request::GetData { path: PATH, watch: false }),
        ("setData", set()),
        ("create2", Request::Create(create)),
        ("ping", Request::Ping),
        ("multi of 8", Request::Multi((0..8).map(|_| set()).collect())),
    ]
}

/// A burst of one request as it is received.
fn burst_of(request: &Request<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for xid in 0..BURST {
        put_request(&mut bytes, xid as i32 + 1, request);
    }
    bytes
}

/// Splits, and decodes header and body, of every frame.
fn decode_all(received: &[u8]) {
    let mut frames = FrameSplitter::new(received, 1 << 20);
    while let Some(frame) = frames.next_frame().expect("legal frames") {
        let (header, body) = decode_header(frame).expect("a header");
        let op = OpCode::from_wire(header.op).expect("a known operation");
        black_box(decode_request(op, body).expect("a legal request"));
    }
}

fn frames(c: &mut Criterion) {
    let received = burst_of(&Request::SetData { path: PATH, data: Some(VALUE), version: -1 });
    let mut group = c.benchmark_group("codec");
    group.throughput(Throughput::Elements(BURST as u64));
    group.bench_function("split frames", |b| {
        b.iter(|| {
            let mut frames = FrameSplitter::new(black_box(&received), 1 << 20);
            while let Some(frame) = frames.next_frame().expect("legal frames") {
                black_box(frame);
            }
            frames.consumed()
        });
    });
    group.finish();
}

fn decoding(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec/split and decode");
    group.throughput(Throughput::Elements(BURST as u64));
    for (name, request) in requests() {
        let received = burst_of(&request);
        group.bench_function(BenchmarkId::from_parameter(name), |b| b.iter(|| decode_all(black_box(&received))));
    }
    group.finish();
}

/// One reply's body.
type PutBody = fn(&mut Reply<'_>, &Stat);

fn encoding(c: &mut Criterion) {
    let bodies: [(&str, PutBody); 4] = [
        ("header only", |_, _| {}),
        ("setData", |reply, stat| _ = reply.put_stat(stat)),
        ("getData", |reply, stat| _ = reply.put_buffer(Some(VALUE)).put_stat(stat)),
        ("getChildren2 of 100", |reply, stat| _ = reply.put_texts((0..100).map(|_| &b"n0000000017"[..])).put_stat(stat)),
    ];
    let stat = Stat { czxid: Zxid(1), mzxid: Zxid(2), data_len: 100, ..Stat::default() };
    let mut group = c.benchmark_group("codec/encode reply");
    group.throughput(Throughput::Elements(BURST as u64));
    for (name, put) in bodies {
        let mut out = Vec::new();
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| {
                out.clear();
                for xid in 0..BURST {
                    let mut reply = Reply::begin(&mut out, xid as i32, Zxid(9), None);
                    put(&mut reply, black_box(&stat));
                    reply.finish();
                }
                black_box(out.len())
            });
        });
    }
    // From an empty vector: what the growth of a connection's outgoing bytes costs.
    group.bench_function("getData, into new memory", |b| {
        b.iter_batched(
            Vec::new,
            |mut out| {
                for xid in 0..BURST {
                    let mut reply = Reply::begin(&mut out, xid as i32, Zxid(9), None);
                    reply.put_buffer(Some(VALUE)).put_stat(black_box(&stat));
                    reply.finish();
                }
                out
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn events(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec");
    group.throughput(Throughput::Elements(BURST as u64));
    let mut out = Vec::new();
    group.bench_function("encode event", |b| {
        b.iter(|| {
            out.clear();
            for _ in 0..BURST {
                write_event(&mut out, Some(Zxid(9)), EventType::NodeDataChanged, black_box(PATH));
            }
            black_box(out.len())
        });
    });
    group.finish();
}

criterion_group!(codec, frames, decoding, encoding, events);
criterion_main!(codec);

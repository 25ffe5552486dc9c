//! The pure parts of the path that a request takes, each alone: route, head, chunk framing, bandwidth, access log.
//!
//! `cargo bench --bench parts`. Times of one machine compare only with each other; a name given on the command line
//! chooses among them.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a bench that is wrong about its world should stop at once"
)]

use std::{hint::black_box, sync::Arc};

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use http::Method;
use sluicegate::{
    config::{
        model::Verb,
        presets::{CLF, JSON},
    },
    route::trie::Trie,
    server::gate::{Sizes, judge},
    stream::{
        framing::Framing,
        outbox::Outbox,
        shaper::{Bandwidth, Grant, Policy, Shaper},
    },
    types::{
        clock::Tick,
        context::Context,
        fields::Fields,
        outcome::Outcome,
        peer::{Peer, Serves},
        template::{Escape, Template},
    },
};

/// What a browser sends to an API, give or take.
const HEAD: &[u8] = b"POST /v1/chat/completions?stream=true HTTP/1.1\r\n\
    Host: api.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/event-stream\r\n\
    Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Content-Type: application/json\r\n\
    Authorization: Bearer 0123456789abcdef0123456789abcdef\r\n\
    Origin: https://app.example.com\r\n\
    Content-Length: 412\r\n\
    \r\n";

const SIZES: Sizes = Sizes {
    line: 8192,
    fields: 10_240,
};

/// Paths of three segments, a third of them with a parameter, a third with a greedy one.
fn trie(routes: usize) -> Trie {
    let mut trie = Trie::default();
    for index in 0..routes {
        let path = match index % 3 {
            0 => format!("/tenant{index}/orders/latest"),
            1 => format!("/tenant{index}/orders/{{order}}"),
            _ => format!("/tenant{index}/{{proxy+}}"),
        };
        trie.insert(&path, &Verb::Only(Method::GET), index);
    }
    trie
}

fn routes(c: &mut Criterion) {
    let mut group = c.benchmark_group("trie");
    for routes in [10, 10_000] {
        let trie = trie(routes);
        let middle = routes / 2 / 3 * 3;
        for (kind, path) in [
            ("literal", format!("/tenant{middle}/orders/latest")),
            ("parameter", format!("/tenant{}/orders/7", middle + 1)),
            ("greedy", format!("/tenant{}/a/b/c/d", middle + 2)),
        ] {
            assert!(trie.find(&Method::GET, &path, 0).is_some());
            group.bench_function(format!("{kind} of {routes}"), |b| {
                b.iter(|| trie.find(&Method::GET, black_box(&path), 0));
            });
        }
    }
    group.finish();
}

fn heads(c: &mut Criterion) {
    let mut group = c.benchmark_group("head");
    group.throughput(Throughput::Bytes(HEAD.len() as u64));
    group.bench_function("request", |b| {
        b.iter(|| judge(black_box(HEAD), SIZES).unwrap().unwrap());
    });
    let block = HEAD.split_at(HEAD.iter().position(|byte| *byte == b'\n').unwrap() + 1);
    group.bench_function("fields", |b| {
        b.iter(|| Fields::parse(black_box(block.1), 100).unwrap().unwrap());
    });
    group.finish();
}

/// Chunks of `size` bytes, without the last one.
fn chunks(size: usize, count: usize) -> BytesMut {
    let mut wire = BytesMut::new();
    for _ in 0..count {
        wire.extend_from_slice(format!("{size:x}\r\n").as_bytes());
        wire.extend_from_slice(&vec![b'x'; size]);
        wire.extend_from_slice(b"\r\n");
    }
    wire
}

fn framing(c: &mut Criterion) {
    let mut group = c.benchmark_group("chunks");
    for (name, size, count) in [
        ("one of 64 B", 64, 1),
        ("100 of 64 B in a read", 64, 100),
        ("one of 16 KiB", 16_384, 1),
    ] {
        let wire = chunks(size, count);
        group.throughput(Throughput::Bytes((size * count) as u64));
        group.bench_function(format!("decode {name}"), |b| {
            b.iter_batched(
                || (Framing::chunked(), wire.clone()),
                |(mut framing, mut data)| {
                    assert!(framing.decode(&mut data).unwrap().is_none());
                    data
                },
                BatchSize::SmallInput,
            );
        });
    }
    let payload = Bytes::from_static(&[b'x'; 64]);
    group.throughput(Throughput::Bytes(64));
    group.bench_function("encode one of 64 B", |b| {
        let mut outbox = Outbox::default();
        b.iter(|| {
            outbox.chunk(black_box(payload.clone()), false);
            outbox.clear();
        });
    });
    group.finish();
}

fn shaper(c: &mut Criterion) {
    let mut group = c.benchmark_group("shaper");
    for (name, policy) in [("offset", Policy::Offset), ("bucket", Policy::Bucket)] {
        let bandwidth = Bandwidth {
            policy,
            burst: 10 * 1024 * 1024,
            rate: 2 * 1024 * 1024,
        };
        group.throughput(Throughput::Bytes(30 * 1024 * 1024));
        group.bench_function(format!("30 MiB, {name}"), |b| {
            b.iter(|| paced(bandwidth, 30 * 1024 * 1024));
        });
    }
    group.finish();
}

/// Lets so many bytes pass, on a clock that jumps to wherever the shaper wants it.
fn paced(bandwidth: Bandwidth, mut left: u64) -> Tick {
    let mut now = Tick::from_micros(1);
    let mut shaper = Shaper::new(bandwidth, now);
    while left > 0 {
        match shaper.grant(now) {
            Grant::Now(most) => {
                let bytes = most.min(16 * 1024).min(left);
                shaper.spend(bytes);
                left -= bytes;
            }
            Grant::At(later) => now = later,
        }
    }
    now
}

/// A request that has ended.
fn context() -> Box<Context> {
    let address = "127.0.0.1:8080".parse().unwrap();
    let head = judge(HEAD, SIZES).unwrap().unwrap().head;
    let mut context = Context::open(
        Arc::new(Peer::new(address, address, None, Serves::Apis)),
        head,
    );
    context.status = Some(200);
    context.transfer.bytes = 123_456;
    context.transfer.chunks = 321;
    context.end = Some((Outcome::Complete, Tick::now()));
    context
}

fn access_log(c: &mut Criterion) {
    let mut group = c.benchmark_group("access log");
    let context = context();
    for (name, format) in [("json", JSON), ("clf", CLF)] {
        let (template, unknown) = Template::compile(format);
        assert!(unknown.is_empty());
        let mut line = Vec::new();
        group.bench_function(name, |b| {
            b.iter(|| {
                line.clear();
                template.render(black_box(&context), Escape::Log, &mut line);
                line.len()
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(1))
        .sample_size(30);
    targets = routes, heads, framing, shaper, access_log
}
criterion_main!(benches);

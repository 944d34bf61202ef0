//! Fingerprints side by side with what bounds them: the hash function alone, and parsing alone.
//!
//! ```text
//! cargo bench -p claimstore-bench --bench hash
//! ```

use claimstore_hash::{FieldDigests, Fingerprinter, JsonRules};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::fmt::Write;
use std::hint::black_box;

/// Raw bytes: at least 0.9 of the hash function's own speed at 1 MiB.
fn raw(criterion: &mut Criterion) {
    let maker = Fingerprinter::with_key([7; 32]);
    for (name, bytes) in [("64 B", 64), ("4 KiB", 4 << 10), ("1 MiB", 1 << 20)] {
        let payload: Vec<u8> = (0..bytes).map(|at: usize| (at % 251) as u8).collect();
        let mut group = criterion.benchmark_group(format!("raw {name}"));
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function("blake3 alone", |bencher| {
            bencher.iter(|| blake3::keyed_hash(&[7; 32], black_box(&payload)));
        });
        group.bench_function("fingerprint", |bencher| bencher.iter(|| maker.raw(black_box(&payload))));
        group.finish();
    }
}

/// JSON of a 4 KiB order: at most three times the time of parsing it.
fn json(criterion: &mut Criterion) {
    let maker = Fingerprinter::with_key([7; 32]);
    let rules = JsonRules::new();
    let but = JsonRules::new().exclude("/sent_at").and_then(|rules| rules.exclude("/trace_id"));
    let but = but.unwrap_or_default();
    let order = order();
    let mut group = criterion.benchmark_group(format!("json order of {} B", order.len()));
    group.throughput(Throughput::Bytes(order.len() as u64));
    group.bench_function("serde_json into a Value", |bencher| {
        bencher.iter(|| serde_json::from_slice::<serde_json::Value>(black_box(&order)));
    });
    group.bench_function("fingerprint", |bencher| bencher.iter(|| maker.json(black_box(&order))));
    group.bench_function("fingerprint but two members", |bencher| {
        bencher.iter(|| maker.json_with(&but, black_box(&order)));
    });
    group.bench_function("fingerprint and field digests", |bencher| {
        bencher.iter(|| maker.json_with_fields(&rules, black_box(&order)));
    });
    if let Ok((_, fields)) = maker.json_with_fields(&rules, &order) {
        let bytes = fields.to_bytes();
        group.bench_function("comparing field digests", |bencher| {
            bencher.iter(|| FieldDigests::from_bytes(black_box(&bytes)).map(|read| read.differing(&fields)));
        });
    }
    group.finish();
}

/// An order as an ERP system writes it, of about 4 KiB.
fn order() -> Vec<u8> {
    let mut text = String::from(
        r#"{"order":"0000471100","customer":{"id":"C-10042","name":"M\u00fcller & S\u00f6hne","country":"DE"},"#,
    );
    text.push_str(
        r#""currency":"EUR","sent_at":"2026-11-21T13:44:00Z","trace_id":"4bf92f3577b34da6","lines":["#,
    );
    let mut line = 0;
    while text.len() < 4 * 1024 - 120 {
        line += 1;
        let comma = if line > 1 { "," } else { "" };
        let _ = write!(
            text,
            "{comma}{{\"line\":{line},\"sku\":\"SKU-{line:05}\",\"quantity\":{},\"unit\":\"PCE\",\"price\":{}.{:02},\
             \"text\":\"Screw M{line} x 40, zinc\",\"taxed\":true}}",
            line * 3,
            line + 10,
            line * 7 % 100,
        );
    }
    text.push_str(r#"],"total":48211.45,"paid":false,"note":null}"#);
    text.into_bytes()
}

criterion_group!(benches, raw, json);
criterion_main!(benches);

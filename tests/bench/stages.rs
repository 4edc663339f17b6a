//! The stages of the line one by one, through the library: `cargo bench --bench stages`.
//!
//! What a stage takes here and what the whole takes in `throughput` belong together: the stages of an object
//! follow each other on one thread.

#![expect(unreachable_pub, dead_code, unused_imports, reason = "modules are shared with another program")]

mod corpus;
mod rules;

use std::sync::{Arc, LazyLock};

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use libdeflater::Decompressor;
use trailhound::decode::{Decoder, Item, Limits, Source};
use trailhound::detect::{Detections, Scratch};
use trailhound::event::{Keys, Parser};
use trailhound::rulebook::{Pack, Rulebook};
use trailhound::sigma::{self, RuleFile};

const SEED: u64 = 1;
/// About a megabyte of JSON: a busy account's five minutes.
const RECORDS: usize = 800;
const LIMITS: Limits = Limits { inflated: 512 << 20, record: 4 << 20 };

/// An object as it is stored.
static OBJECT: LazyLock<Vec<u8>> = LazyLock::new(|| object(0, RECORDS));
/// Its records.
static ORDINARY: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| records(&OBJECT));
/// Records that raise an alert each.
static TELLING: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| (0..100).flat_map(|number| records(&object(number, 1))).collect());
/// The embedded pack.
static PACK: LazyLock<Detections> =
    LazyLock::new(|| Detections::new(Rulebook::open(&[], Pack::Runs, None).rules));

fn main() {
    divan::main();
}

#[divan::bench]
fn gunzip(bencher: Bencher<'_, '_>) {
    let (mut inflater, mut inflated) = (Decompressor::new(), vec![0; inflated_size(&OBJECT)]);
    per_object(bencher)
        .bench_local(|| inflater.gzip_decompress(&OBJECT, &mut inflated).expect("the object is sound"));
}

#[divan::bench]
fn decode(bencher: Bencher<'_, '_>) {
    let mut decoder = Decoder::new(LIMITS);
    per_object(bencher).bench_local(|| {
        let mut records = 0;
        decoder.decode(Source::Whole(&OBJECT), &Keys::default(), &mut |_| records += 1);
        records
    });
}

#[divan::bench]
fn decode_and_detect(bencher: Bencher<'_, '_>) {
    let (mut decoder, mut scratch) = (Decoder::new(LIMITS), Scratch::default());
    let detections = &*PACK;
    per_object(bencher).bench_local(|| {
        let mut hits = 0_usize;
        decoder.decode(Source::Whole(&OBJECT), PACK.keys(), &mut |item| {
            if let Item::Record(record) = item {
                detections.detect(record, &mut scratch, &mut |_| hits += 1).expect("the record is sound");
            }
        });
        hits
    });
}

#[divan::bench]
fn detect_ordinary(bencher: Bencher<'_, '_>) {
    detect_all(bencher, &PACK, &ORDINARY);
}

#[divan::bench]
fn detect_telling(bencher: Bencher<'_, '_>) {
    detect_all(bencher, &PACK, &TELLING);
}

#[divan::bench(args = [30, 300, 3_000])]
fn detect_with_rules(bencher: Bencher<'_, '_>, count: usize) {
    let detections = Detections::new(sigma::compile(&rule_files(count)).rules);
    detect_all(bencher, &detections, &ORDINARY);
}

#[divan::bench]
fn parse(bencher: Bencher<'_, '_>) {
    let mut parser = Parser::default();
    per_record(bencher, &ORDINARY).bench_local(|| {
        for record in &*ORDINARY {
            parser.parse(record, |event| event.omitted()).expect("the record is sound");
        }
    });
}

#[divan::bench]
fn load_pack() -> Detections {
    Detections::new(Rulebook::open(&[], Pack::Runs, None).rules)
}

#[divan::bench(args = [30, 300, 3_000])]
fn load_rules(bencher: Bencher<'_, '_>, count: usize) {
    let files = rule_files(count);
    bencher.counter(ItemsCount::new(count)).bench(|| Detections::new(sigma::compile(&files).rules));
}

fn detect_all(bencher: Bencher<'_, '_>, detections: &Detections, records: &[Vec<u8>]) {
    let mut scratch = Scratch::default();
    per_record(bencher, records)
        .bench_local(|| records.iter().map(|record| detect(detections, &mut scratch, record)).sum::<usize>());
}

/// The number of hits of a record.
fn detect(detections: &Detections, scratch: &mut Scratch, record: &[u8]) -> usize {
    let mut hits = 0;
    detections.detect_alone(record, scratch, &mut |_| hits += 1).expect("the record is sound");
    hits
}

fn object(number: usize, records: usize) -> Vec<u8> {
    corpus::object(SEED, number, records).1
}

/// The records of an object, as the decoder finds them.
fn records(object: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    Decoder::new(LIMITS).decode(Source::Whole(object), &Keys::default(), &mut |item| {
        if let Item::Record(record) = item {
            records.push(record.bytes.to_vec());
        }
    });
    records
}

fn rule_files(count: usize) -> Vec<RuleFile> {
    let file = |(name, text): rules::RuleFile| RuleFile { name: Arc::from(name), text, named: false };
    rules::rules(count, SEED).into_iter().map(file).collect()
}

fn inflated_size(object: &[u8]) -> usize {
    let decoded = Decoder::new(LIMITS).decode(Source::Whole(object), &Keys::default(), &mut |_| {});
    usize::try_from(decoded.inflated).expect("the object is in memory")
}

/// Counts the bytes and records of the object.
fn per_object<'a, 'b>(bencher: Bencher<'a, 'b>) -> Bencher<'a, 'b> {
    bencher.counter(BytesCount::new(inflated_size(&OBJECT))).counter(ItemsCount::new(RECORDS))
}

/// Counts records and their bytes.
fn per_record<'a, 'b>(bencher: Bencher<'a, 'b>, records: &[Vec<u8>]) -> Bencher<'a, 'b> {
    let bytes: usize = records.iter().map(Vec::len).sum();
    bencher.counter(BytesCount::new(bytes)).counter(ItemsCount::new(records.len()))
}

//! Stored rows of windows, changed at will: the engine that is restored from them does not panic, goes on, and what it stores
//! from then on restores to the same.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use trailhound::decode::{Decoder, Item, Limits, Source};
use trailhound::detect::windows::{Change, Engine, Identity, Idle, Journaling, StreamProgress, StoredRow};
use trailhound::detect::{Detections, Evidence, Scratch};
use trailhound::sigma::{RuleFile, compile};

const RULES: &str = "title: A\nname: a\nid: a\nlogsource: {product: aws, service: cloudtrail}\ndetection: {s: {eventName: A}, condition: s}
---\ntitle: B\nname: b\nid: b\nlogsource: {product: aws, service: cloudtrail}\ndetection: {s: {eventName: B}, condition: s}
---\ntitle: C\nid: c\ncorrelation: {type: event_count, rules: [a, b], group-by: [awsRegion], timespan: 1h, condition: {gte: 3}}
---\ntitle: D\nid: d\ncorrelation: {type: value_count, rules: [a], group-by: [awsRegion], timespan: 1h, condition: {field: sourceIPAddress, lt: 2}}
---\ntitle: E\nid: e\ncorrelation: {type: temporal_ordered, rules: [a, b], group-by: [awsRegion], timespan: 1h}
---\ntitle: F\nid: f\ncorrelation: {type: value_sum, rules: [a, b], timespan: 1h, condition: {field: n, gte: 7}}
---\ntitle: G\nid: g\nlogsource: {product: aws, service: cloudtrail}\ndetection: {s: {eventName: A}, condition: s}\ntrailhound: {group: {by: [awsRegion], period: 1h}}
---\ntitle: H\nid: h\nlogsource: {product: aws, service: cloudtrail}\ndetection: {s: {eventName: B}, condition: s}\ntrailhound: {first_seen: {of: sourceIPAddress, by: [awsRegion], learn: 1h, forget: 7d}}
";

const IDLE: Idle = Idle { settle: Duration::from_hours(1), forget: Duration::from_hours(24) };

struct Stored {
    detections: Detections,
    evidence: Vec<Evidence>,
    rows: Vec<StoredRow>,
}

static STORED: LazyLock<Stored> = LazyLock::new(|| {
    let file = RuleFile { name: "f.yml".into(), text: RULES.to_owned(), named: true };
    let compiled = compile(&[file]);
    assert!(compiled.problems.is_empty(), "{:?}", compiled.problems);
    let detections = Detections::new(compiled.rules);
    let records: Vec<String> = (0..40).map(record).collect();
    let log = format!(r#"{{"Records":[{}]}}"#, records.join(","));
    let (mut evidence, mut scratch) = (Vec::new(), Scratch::default());
    let limits = Limits { inflated: 1 << 20, record: 64 << 10 };
    Decoder::new(limits).decode(Source::Whole(log.as_bytes()), detections.keys(), &mut |item| {
        let Item::Record(record) = item else { panic!("the records are sound") };
        let taken = detections.detect(record, &mut scratch, &mut |hit| {
            let gathered = detections.feeds().evidence(&hit, &Identity::default()).expect("it has a time");
            evidence.extend(gathered.map(|mut evidence| {
                evidence.excerpt = Some("{}".into());
                evidence
            }));
        });
        taken.expect("the records are sound");
    });
    let mut engine = Engine::new(Arc::clone(detections.feeds()), IDLE, Journaling::On);
    let (first, rest) = evidence.split_at(evidence.len() / 2);
    let changes = engine.step(first.iter().cloned(), progress(30)).changes;
    let mut rows = Vec::new();
    apply(&mut rows, changes);
    assert!(rows.len() > 20, "{}", rows.len());
    Stored { evidence: rest.to_vec(), rows, detections }
});

fn record(number: usize) -> String {
    let (name, region) = (["A", "B"][number % 2], ["x", "y", "z"][number / 2 % 3]);
    format!(
        r#"{{"eventID":"{number}","eventTime":"2026-03-01T{:02}:{:02}:00Z","eventName":"{name}","awsRegion":"{region}","sourceIPAddress":"10.0.0.{}","n":{}}}"#,
        10 + number / 12,
        number % 12 * 5,
        number % 7,
        number % 5,
    )
}

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_second(1_772_359_200 + minutes * 60).expect("a time")
}

/// Events are expected and come as they happen.
fn progress(minutes: i64) -> StreamProgress {
    StreamProgress { watermark: at(minutes), now: at(minutes), caught_up: at(minutes) }
}

fn apply(rows: &mut Vec<StoredRow>, changes: Vec<Change>) {
    for change in changes {
        match change {
            Change::Write(row) => {
                rows.retain(|old| (&old.detection, &old.key) != (&row.detection, &row.key));
                rows.push(row);
            }
            Change::Remove { detection, prefix } => {
                rows.retain(|old| old.detection != detection || !old.key.starts_with(&prefix));
            }
        }
    }
}

/// One change for each five bytes: which row, what to do, where, and with which value.
fn changed(rows: &[StoredRow], edits: &[u8]) -> Vec<StoredRow> {
    let mut rows = rows.to_vec();
    for edit in edits.chunks_exact(5) {
        let row = usize::from(edit[0]) % rows.len();
        let StoredRow { detection, key, value } = rows[row].clone();
        let (mut key, mut value) = (key.into_vec(), value.into_vec());
        let part = if edit[1] & 1 == 0 { &mut key } else { &mut value };
        let at = usize::from(edit[2]).min(part.len());
        match edit[1] >> 1 & 7 {
            0 => part.truncate(at),
            1 => part.insert(at, edit[3]),
            2 if at < part.len() => _ = part.remove(at),
            3 if at < part.len() => part[at..].fill(edit[3]),
            4 => part.extend_from_slice(&[edit[3]; 64][..usize::from(edit[4] % 64)]),
            _ if at < part.len() => part[at] = edit[3],
            _ => {}
        }
        key.truncate(64);
        let changed = StoredRow { detection, key: key.into(), value: value.into() };
        if edit[1] & 0x80 == 0 { rows[row] = changed } else { rows.push(changed) }
    }
    rows
}

fuzz_target!(|edits: &[u8]| {
    let Stored { detections, evidence, rows } = &*STORED;
    let mut rows = changed(rows, edits);
    let mut engine = Engine::restored(Arc::clone(detections.feeds()), IDLE, rows.clone());
    let (first, last) = evidence.split_at(evidence.len() / 2);
    let step = engine.step(first.iter().cloned(), progress(90));
    apply(&mut rows, step.changes);
    let step = engine.step(last.iter().cloned(), progress(10_000));
    apply(&mut rows, step.changes);
    let mut engine = Engine::restored(Arc::clone(detections.feeds()), IDLE, rows);
    for days in 10..14 {
        engine.step([], progress(days * 24 * 60));
    }
});

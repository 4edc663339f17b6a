//! What happened, counted: one struct, one method per fact.
//!
//! A fact is counted where it becomes true. Labels come from small closed sets: outcomes, reasons, the ids of
//! detections, the names of sinks; never keys, ARNs or users.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

/// The program's metrics; a cheap copy that counts into the same place.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    messages: IntCounterVec,
    objects: IntCounterVec,
    records: IntCounterVec,
    bytes: IntCounterVec,
    anomalies: IntCounterVec,
    alerts: IntCounterVec,
    repeats: IntCounterVec,
    deliveries: IntCounterVec,
    sink_up: IntGaugeVec,
    stage: HistogramVec,
    event_to_alert: Histogram,
    queue_oldest: Gauge,
    in_flight_bytes: IntGauge,
    in_flight_messages: IntGauge,
    intake_stopped: IntGauge,
    intake: IntGaugeVec,
    in_flight: Mutex<BTreeMap<String, InFlight>>,
    evicted: IntCounterVec,
    evidence: IntCounterVec,
    windows: IntGaugeVec,
    rules: IntGaugeVec,
    reloads: IntCounterVec,
    sink_alerts: IntCounterVec,
    outbox: IntGaugeVec,
    dead: IntGaugeVec,
    state_failures: IntCounter,
    begun: IntCounterVec,
    objects_in_work: IntGauge,
    remainder: IntGaugeVec,
}

/// Counts of what came in and what became of it, each with its name.
#[derive(Debug)]
pub struct Counts {
    /// Messages; those in flight are among them.
    pub messages: Vec<(String, i64)>,
    /// Objects; those in work are among them.
    pub objects: Vec<(String, i64)>,
    /// Records.
    pub records: Vec<(String, i64)>,
    /// Alerts, by sink; those in the outbox are among them.
    pub sinks: BTreeMap<String, Vec<(String, i64)>>,
}

/// An object that is being worked on until this is dropped.
#[derive(Debug)]
pub struct InWork(IntGauge);

impl Drop for InWork {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What a source of announcements has in flight.
#[derive(Debug, Clone, Copy, Default)]
pub struct InFlight {
    /// Messages that were received and are not settled.
    pub messages: usize,
    /// The age of the oldest of them; zero without any.
    pub oldest: Duration,
}

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(format!("trailhound_{name}"), help), labels);
            register(&registry, counter.expect("the name and labels are valid"))
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(format!("trailhound_{name}"), help).expect("the name is valid");
            register(&registry, gauge)
        };
        let gauges = |name: &str, help: &str, label: &str| {
            let gauges = IntGaugeVec::new(Opts::new(format!("trailhound_{name}"), help), &[label]);
            register(&registry, gauges.expect("the name and label are valid"))
        };
        let stage = HistogramOpts::new("trailhound_stage_seconds", "Time spent on an object, by stage.")
            .buckets(vec![0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0]);
        let event_to_alert = HistogramOpts::new(
            "trailhound_event_to_alert_seconds",
            "From an event to the delivery of its alert.",
        )
        .buckets(vec![1.0, 5.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 86400.0]);
        let reloads =
            counter("reloads_total", "Detections read again, by what became of them.", &["outcome"]);
        // An increase shows only over a counter that is there before it.
        RELOADS.iter().for_each(|outcome| _ = reloads.with_label_values(&[outcome]));
        let state_failures = IntCounter::new(
            "trailhound_state_failures_total",
            "Times that the state could not be written or read.",
        );
        Self(Arc::new(Inner {
            sink_alerts: counter(
                "sink_alerts_total",
                "Alerts, by what became of them at each sink.",
                &["sink", "outcome"],
            ),
            begun: counter("begun_total", "What was taken up: objects and records.", &["kind"]),
            objects_in_work: gauge("objects_in_work", "Objects that were taken up and have not met an end."),
            remainder: gauges(
                "ledger_remainder",
                "What was taken up, less what met an end, where that stays: always zero.",
                "account",
            ),
            outbox: gauges("outbox", "Alerts that a sink has still to take.", "sink"),
            dead: gauges("dead", "What could not be handled and waits for somebody to look at it.", "kind"),
            state_failures: register(&registry, state_failures.expect("the name is valid")),
            reloads,
            messages: counter("messages_total", "Messages, by what became of them.", &["outcome"]),
            objects: counter(
                "objects_total",
                "Objects, by what became of them and why.",
                &["outcome", "reason"],
            ),
            records: counter("records_total", "Records, by what became of them.", &["outcome"]),
            bytes: counter("bytes_total", "Bytes of objects, as stored and inflated.", &["kind"]),
            anomalies: counter("anomalies_total", "What ordinary objects never have.", &["kind"]),
            alerts: counter("alerts_total", "Alerts raised, each id once.", &["rule", "status"]),
            repeats: counter(
                "alert_repeats_total",
                "Alerts not sent again: their id was raised before.",
                &["rule"],
            ),
            deliveries: counter("deliveries_total", "Attempts to deliver alerts.", &["sink", "outcome"]),
            sink_up: gauges("sink_up", "Whether a sink takes alerts.", "sink"),
            stage: register(&registry, HistogramVec::new(stage, &["stage"]).expect("the label is valid")),
            event_to_alert: register(
                &registry,
                Histogram::with_opts(event_to_alert).expect("the buckets ascend"),
            ),
            queue_oldest: register(
                &registry,
                Gauge::new("trailhound_queue_oldest_seconds", "Age of the oldest message in flight.")
                    .expect("the name is valid"),
            ),
            in_flight_bytes: gauge("in_flight_bytes", "Bytes of objects and alerts in flight."),
            in_flight_messages: gauge("in_flight_messages", "Messages in flight."),
            intake_stopped: gauge(
                "intake_stopped",
                "Whether nothing is received because nothing would work.",
            ),
            intake: gauges("intake", "Sources, by how much they may receive and why.", "state"),
            evicted: counter("evicted_total", "What was forgotten to stay within bounds.", &["store"]),
            evidence: counter(
                "evidence_total",
                "What hits told detections over more than one event, by what became of it.",
                &["outcome"],
            ),
            windows: gauges("windows", "What is kept for detections over more than one event.", "kind"),
            rules: gauges("rules", "Detections, by state.", "state"),
            in_flight: Mutex::default(),
            registry,
        }))
    }
}

/// A count and its labels.
struct Labelled {
    labels: Vec<(String, String)>,
    value: i64,
}

impl Labelled {
    fn label(&self, name: &str) -> String {
        let label = self.labels.iter().find(|(label, _)| label == name);
        label.map(|(_, value)| value.clone()).unwrap_or_default()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "counts are whole numbers, and exact up to 2^53")]
fn labelled(collector: &impl prometheus::core::Collector) -> Vec<Labelled> {
    let families = collector.collect();
    let metrics = families.iter().flat_map(prometheus::proto::MetricFamily::get_metric);
    let labelled = metrics.map(|metric| {
        let labels = metric.get_label().iter();
        let value = metric.get_counter().get_value() + metric.get_gauge().get_value();
        Labelled {
            labels: labels.map(|label| (label.name().to_owned(), label.value().to_owned())).collect(),
            value: value as i64,
        }
    });
    labelled.collect()
}

/// Sums of counts by one of their labels.
fn sums(collector: &impl prometheus::core::Collector, label: &str) -> Vec<(String, i64)> {
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    for labels in labelled(collector) {
        *sums.entry(labels.label(label)).or_default() += labels.value;
    }
    sums.into_iter().collect()
}

/// What can become of detections that were read again.
const RELOADS: [&str; 3] = ["taken", "refused", "unchanged"];

fn register<C: prometheus::core::Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    registry.register(Box::new(collector.clone())).expect("each name is registered once");
    collector
}

impl Metrics {
    /// A message was `received`, or met its end: `acknowledged`, `retried`, `left`, `released`, `lost` because
    /// its receipt was not valid any more, or `unsettled` because the queue did not take its end.
    pub fn message(&self, outcome: &str) {
        self.0.messages.with_label_values(&[outcome]).inc();
    }

    /// An object met its end: `detected`, `skipped`, `refused`, `unreadable`, `failed`, or is to be
    /// `retried`; and why.
    pub fn object(&self, outcome: &str, reason: &str) {
        self.0.objects.with_label_values(&[outcome, reason]).inc();
    }

    /// An object, or a part of a message that speaks of none, is taken up.
    #[must_use]
    pub fn object_begins(&self) -> InWork {
        self.0.begun.with_label_values(&["objects"]).inc();
        self.0.objects_in_work.inc();
        InWork(self.0.objects_in_work.clone())
    }

    /// Records were found in objects and messages.
    pub fn records_begin(&self, count: u64) {
        self.0.begun.with_label_values(&["records"]).inc_by(count);
    }

    /// What remains of an account of the ledger.
    pub fn ledger_remainder(&self, account: &str, remainder: i64) {
        self.0.remainder.with_label_values(&[account]).set(remainder);
    }

    /// What came in and what became of it.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let Inner { begun, messages, objects, records, sink_alerts, outbox, .. } = &*self.0;
        // Ends before beginnings: what happens meanwhile has only begun.
        let mut counts = Counts {
            messages: sums(messages, "outcome"),
            objects: sums(objects, "outcome"),
            records: sums(records, "outcome"),
            sinks: BTreeMap::new(),
        };
        counts.messages.push(("in-flight".to_owned(), self.0.in_flight_messages.get()));
        counts.objects.push(("in-work".to_owned(), self.0.objects_in_work.get()));
        for (kind, count) in sums(begun, "kind") {
            let side = if kind == "objects" { &mut counts.objects } else { &mut counts.records };
            side.push(("begun".to_owned(), count));
        }
        for labels in labelled(sink_alerts) {
            let (sink, outcome) = (labels.label("sink"), labels.label("outcome"));
            counts.sinks.entry(sink).or_default().push((outcome, labels.value));
        }
        for labels in labelled(outbox) {
            let side = counts.sinks.entry(labels.label("sink")).or_default();
            side.push(("pending".to_owned(), labels.value));
        }
        counts
    }

    /// Records met their end: `evaluated` or `undecodable`.
    pub fn records(&self, outcome: &str, count: u64) {
        self.0.records.with_label_values(&[outcome]).inc_by(count);
    }

    /// Bytes of objects: `compressed` as stored, `inflated`.
    pub fn bytes(&self, kind: &str, count: u64) {
        self.0.bytes.with_label_values(&[kind]).inc_by(count);
    }

    /// Something that an ordinary object never has.
    pub fn anomaly(&self, kind: &str, count: u64) {
        self.0.anomalies.with_label_values(&[kind]).inc_by(count);
    }

    /// An alert was raised for the first time: a `match`, `undecided`, or undecided and `withheld` from all sinks; or one
    /// that was raised before is `updated`.
    pub fn alert(&self, rule: &str, status: &str) {
        self.0.alerts.with_label_values(&[rule, status]).inc();
    }

    /// An alert was raised again and is not sent again.
    pub fn repeat(&self, rule: &str) {
        self.0.repeats.with_label_values(&[rule]).inc();
    }

    /// An attempt to deliver: `taken`, `refused`, `retried`, `set-up-wrongly`, `dropped`.
    pub fn delivery(&self, sink: &str, outcome: &str) {
        self.0.deliveries.with_label_values(&[sink, outcome]).inc();
    }

    /// An alert was `raised` and met its end at a sink: `suppressed` because it is below the sink's level, `delivered`,
    /// `dead`, `dropped`.
    pub fn sink_alert(&self, sink: &str, outcome: &str) {
        self.sink_alerts(sink, outcome, 1);
    }

    /// The same for several; also those `restored`: found in the state at the start, or brought back to life.
    pub fn sink_alerts(&self, sink: &str, outcome: &str, count: u64) {
        self.0.sink_alerts.with_label_values(&[sink, outcome]).inc_by(count);
    }

    /// How many alerts a sink has still to take.
    pub fn outbox(&self, sink: &str, alerts: i64) {
        self.0.outbox.with_label_values(&[sink]).set(alerts);
    }

    /// How many `alerts` and `objects` are dead.
    pub fn dead(&self, alerts: u64, objects: u64) {
        for (kind, count) in [("alerts", alerts), ("objects", objects)] {
            self.0.dead.with_label_values(&[kind]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// The state could not be written or read.
    pub fn state_failed(&self) {
        self.0.state_failures.inc();
    }

    /// Whether a sink takes alerts.
    pub fn sink_up(&self, sink: &str, up: bool) {
        self.0.sink_up.with_label_values(&[sink]).set(up.into());
    }

    /// A stage took this long: `fetch`, `examine`, `commit`.
    pub fn stage(&self, stage: &str, took: Duration) {
        self.0.stage.with_label_values(&[stage]).observe(took.as_secs_f64());
    }

    /// An alert was delivered this long after its event.
    pub fn event_to_alert(&self, seconds: f64) {
        self.0.event_to_alert.observe(seconds);
    }

    /// Bytes in flight.
    pub fn in_flight_bytes(&self, bytes: usize) {
        self.0.in_flight_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// What a source has in flight now; shown are the sum of the messages and the greatest age of all sources.
    pub fn in_flight(&self, source: &str, now: InFlight) {
        let mut sources = self.0.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        sources.insert(source.to_owned(), now);
        let messages: usize = sources.values().map(|source| source.messages).sum();
        let oldest = sources.values().map(|source| source.oldest).max().unwrap_or_default();
        self.0.in_flight_messages.set(i64::try_from(messages).unwrap_or(i64::MAX));
        self.0.queue_oldest.set(oldest.as_secs_f64());
    }

    /// Sets the number of sources in a state of the intake.
    pub fn intake(&self, state: &str, sources: usize) {
        self.0.intake.with_label_values(&[state]).set(i64::try_from(sources).unwrap_or(i64::MAX));
    }

    /// Whether the intake is stopped.
    pub fn intake_stopped(&self, stopped: bool) {
        self.0.intake_stopped.set(stopped.into());
    }

    /// Something was forgotten to stay within bounds.
    pub fn evicted(&self, store: &str, count: u64) {
        self.0.evicted.with_label_values(&[store]).inc_by(count);
    }

    /// What hits told detections over more than one event was `taken`, `duplicate`, `spent` because it told nothing new,
    /// of an event with `no-group` or `no-value`, `without-room`; or it never came so far: `untimed`, as its
    /// event has no time, or `outdated`, as its detection was replaced meanwhile.
    pub fn evidence(&self, outcome: &str, count: u64) {
        self.0.evidence.with_label_values(&[outcome]).inc_by(count);
    }

    /// How much is kept for detections over more than one event: groups and the hits in their windows, values seen.
    pub fn windows(&self, groups: usize, hits: usize, values: usize) {
        for (kind, count) in [("groups", groups), ("hits", hits), ("values", values)] {
            self.0.windows.with_label_values(&[kind]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// How many detections are `running`, and how many faults were found when they were last read: `broken`.
    pub fn rules(&self, state: &str, count: usize) {
        self.0.rules.with_label_values(&[state]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// The detections were read again, and the new set was `taken`, `refused`, or `unchanged`.
    pub fn reload(&self, outcome: &str) {
        self.0.reloads.with_label_values(&[outcome]).inc();
    }

    /// All metrics in the text format of Prometheus.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        // Writing to memory does not fail; an odd family would only be missing.
        let _ = TextEncoder::new().encode(&self.0.registry.gather(), &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_metric_is_documented() {
        let metrics = Metrics::default();
        metrics.message("received");
        metrics.object("detected", "log");
        metrics.records("evaluated", 1);
        metrics.bytes("inflated", 1);
        metrics.anomaly("trailing-bytes", 1);
        metrics.alert("rule", "match");
        metrics.repeat("rule");
        metrics.delivery("sink", "taken");
        metrics.sink_up("sink", true);
        metrics.intake("open", 1);
        metrics.stage("fetch", Duration::ZERO);
        metrics.evicted("alert-ids", 1);
        metrics.evidence("taken", 1);
        metrics.windows(1, 1, 1);
        metrics.rules("running", 1);
        metrics.sink_alert("sink", "raised");
        metrics.outbox("sink", 1);
        metrics.dead(1, 1);
        metrics.ledger_remainder("objects", 0);
        drop(metrics.object_begins());
        let text = metrics.render();
        let shown: BTreeSet<&str> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        assert_eq!(shown, names(include_str!("../README.md")));
        let asked = names(include_str!("../deploy/prometheus-alerts.yml"));
        assert!(!asked.is_empty() && asked.is_subset(&shown), "{asked:?}");
    }

    /// The names of metrics in a text.
    fn names(text: &str) -> BTreeSet<&str> {
        let starts = text.match_indices("trailhound_").map(|(at, _)| &text[at..]);
        starts
            .map(|text| {
                let end = text.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(text.len());
                &text[..end]
            })
            .collect()
    }

    #[test]
    fn sources_add_up() {
        let metrics = Metrics::default();
        let in_flight = |messages, secs| InFlight { messages, oldest: Duration::from_secs(secs) };
        for (source, now) in [("a", in_flight(9, 90)), ("b", in_flight(2, 7)), ("a", in_flight(1, 3))] {
            metrics.in_flight(source, now);
        }
        let text = metrics.render();
        assert!(text.contains("trailhound_in_flight_messages 3\n"), "{text}");
        assert!(text.contains("trailhound_queue_oldest_seconds 7\n"), "{text}");
    }

    #[test]
    fn every_fact_shows() {
        let metrics = Metrics::default();
        metrics.message("acknowledged");
        metrics.object("skipped", "digest");
        metrics.records("evaluated", 3);
        metrics.stage("fetch", Duration::from_millis(3));
        let text = metrics.render();
        for line in [
            r#"trailhound_messages_total{outcome="acknowledged"} 1"#,
            r#"trailhound_objects_total{outcome="skipped",reason="digest"} 1"#,
            r#"trailhound_records_total{outcome="evaluated"} 3"#,
            r#"trailhound_stage_seconds_count{stage="fetch"} 1"#,
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}

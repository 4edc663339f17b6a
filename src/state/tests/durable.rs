//! What a state folder keeps from one run of the program to the next.

use super::*;
use crate::ledger::Ledger;

/// A committer over file sinks, in a folder that outlives it.
struct Run<'f> {
    folder: &'f Path,
    state: State,
    metrics: Metrics,
    committer: tokio::task::JoinHandle<()>,
    wanted: tokio::sync::watch::Receiver<Arc<[Wanted]>>,
    outbox_full: tokio::sync::watch::Receiver<bool>,
    cancel: CancellationToken,
}

impl<'f> Run<'f> {
    fn start(folder: &'f Path, sinks: &[(&str, Level, bool)], by: &Arc<Inspection>) -> Self {
        Self::bounded(folder, sinks, by, 1 << 30)
    }

    fn bounded(folder: &'f Path, sinks: &[(&str, Level, bool)], by: &Arc<Inspection>, most: u64) -> Self {
        let (metrics, clock) = (Metrics::default(), Clock::system());
        let (reports, receiver) = mpsc::unbounded_channel();
        let cancel = CancellationToken::new();
        let mut handles = Vec::new();
        for (number, (name, min_level, required)) in sinks.iter().enumerate() {
            let settings = SinkSettings {
                name: (*name).to_owned(),
                min_level: *min_level,
                max_late: None,
                required: *required,
                updates: false,
                target: SinkTarget::File(folder.join(name)),
            };
            let gone = CancellationToken::new();
            let opened =
                Sender::open(number, settings, reports.clone(), gone, metrics.clone(), clock.clone());
            let (handle, sender) = opened.unwrap();
            tokio::spawn(sender.run(cancel.clone()));
            handles.push(handle);
        }
        drop(reports);
        let horizon = Horizon::new(Duration::from_hours(1));
        let no_wait = Duration::ZERO;
        let opened =
            open(&folder.join("state"), no_wait, Arc::clone(by), LIMITS, horizon, metrics.clone()).unwrap();
        let (state, committer) = opened.owner(handles, receiver, most, metrics.clone(), clock).unwrap();
        let (wanted, outbox_full) = (committer.wanted(), committer.outbox_full());
        let committer = tokio::spawn(committer.run(cancel.clone()));
        Self { folder, state, metrics, committer, wanted, outbox_full, cancel }
    }

    /// Ends as the daemon does on a signal.
    async fn stop(self) {
        drop(self.state);
        self.committer.await.unwrap();
        assert!(Ledger::of(&self.metrics).balanced, "{:?}", Ledger::of(&self.metrics));
    }

    /// Ends without the time to drain.
    async fn give_up(self) {
        self.cancel.cancel();
        self.committer.await.unwrap();
    }

    fn lines(&self, sink: &str) -> Vec<String> {
        lines(self.folder, sink)
    }

    async fn until(&self, sink: &str, lines: usize) {
        until(self.folder, sink, lines).await;
    }

    fn graveyard(&self) -> Graveyard {
        Graveyard::open(&self.folder.join("state")).unwrap()
    }
}

/// What is awaited must come soon.
async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it comes soon")
}

const ONE: [(&str, Level, bool); 1] = [("a", Level::Low, true)];

fn object(key: &str) -> DoneObject {
    let id = ObjectId::of("bucket", key, "version");
    DoneObject { id, bucket: "bucket".into(), key: key.into(), version: None }
}

fn dead_object(key: &str, reason: &str) -> DeadObject {
    let (source, bucket, key, reason) = ("queue".into(), "bucket".into(), key.into(), reason.into());
    DeadObject { source, bucket, key, version: None, reason }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_raised_once_whatever_ends_meanwhile() {
    let (folder, by) = (tempfile::tempdir().unwrap(), inspection("other"));
    for times in 0..4 {
        let run = Run::start(folder.path(), &ONE, &by);
        for _ in 0..2 {
            let alerts = vec![alert(1, Level::High), alert(1, Level::High), alert(2, Level::Informational)];
            assert_eq!(run.state.commit(alerts).await, Settled::Final);
        }
        run.until("a", 1).await;
        assert_eq!(run.lines("a"), [r#"{"n":1}"#], "start {times}");
        let repeats = if times == 0 { 4 } else { 6 };
        let counted = format!("trailhound_alert_repeats_total{{rule=\"rule\"}} {repeats}\n");
        assert!(run.metrics.render().contains(&counted), "{counted}");
        run.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_sink_has_not_taken_waits_for_the_next_start() {
    let (folder, by) = (tempfile::tempdir().unwrap(), inspection("other"));
    let sinks = [("a", Level::Low, true), ("down", Level::Low, true), ("unloved", Level::Low, false)];
    let blocked = ["down", "unloved"].map(|sink| folder.path().join(sink));
    blocked.iter().for_each(|path| std::fs::create_dir(path).unwrap());
    let run = Run::start(folder.path(), &sinks, &by);
    for number in 0..700 {
        assert_eq!(run.state.commit(vec![alert(number, Level::High)]).await, Settled::Final);
    }
    run.until("a", 700).await;
    assert!(!*run.outbox_full.borrow());
    let pending = r#"trailhound_outbox{sink="down"} 700"#;
    assert!(run.metrics.render().contains(pending));
    run.stop().await;

    blocked.iter().for_each(|path| std::fs::remove_dir(path).unwrap());
    let run = Run::start(folder.path(), &sinks, &by);
    let expected: Vec<String> = (0..700).map(|number| format!("{{\"n\":{number}}}")).collect();
    for sink in ["down", "unloved"] {
        run.until(sink, 700).await;
        assert_eq!(run.lines(sink), expected, "in order");
    }
    assert_eq!(run.lines("a"), expected, "this one has them already");
    run.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_outbox_is_told_until_there_is_room() {
    let (folder, by) = (tempfile::tempdir().unwrap(), inspection("other"));
    let blocked = folder.path().join("a");
    std::fs::create_dir(&blocked).unwrap();
    let mut run = Run::bounded(folder.path(), &ONE, &by, 50);
    for number in 0..10 {
        run.state.commit(vec![alert(number, Level::High)]).await;
    }
    soon(run.outbox_full.wait_for(|full| *full)).await.unwrap();
    std::fs::remove_dir(&blocked).unwrap();
    soon(run.outbox_full.wait_for(|full| !*full)).await.unwrap();
    run.until("a", 10).await;
    run.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_are_done_are_known() {
    let (folder, by) = (tempfile::tempdir().unwrap(), inspection("other"));
    let run = Run::start(folder.path(), &ONE, &by);
    let effects = Effects { end: Some(End::Done(object("k"))), ..vec![alert(1, Level::High)].into() };
    assert!(!run.state.has(object("k").id).await);
    assert_eq!(run.state.commit(effects).await, Settled::Final);
    assert!(run.state.has(object("k").id).await);
    run.give_up().await;
    let run = Run::start(folder.path(), &ONE, &by);
    assert!(run.state.has(object("k").id).await);
    let others = [("bucket", "l", "version"), ("bucket", "k", "other"), ("bucke", "tk", "version")];
    for (bucket, key, version) in others {
        assert!(!run.state.has(ObjectId::of(bucket, key, version)).await, "{bucket} {key} {version}");
    }
    run.until("a", 1).await;
    run.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_objects_are_listed_and_tried_again() {
    let (folder, by) = (tempfile::tempdir().unwrap(), inspection("other"));
    let mut run = Run::start(folder.path(), &ONE, &by);
    for (key, reason) in [("k", "missing"), ("l", "cut short"), ("k", "damaged")] {
        assert_eq!(run.state.commit(End::Dead(dead_object(key, reason))).await, Settled::Final);
    }
    let mut graveyard = run.graveyard();
    let listed = |graveyard: &Graveyard| {
        let dead = graveyard.list().unwrap();
        dead.iter().map(|dead| (dead.number, dead.reason.clone(), dead.is_wanted)).collect::<Vec<_>>()
    };
    assert_eq!(listed(&graveyard), [(2, "cut short".into(), false), (3, "damaged".into(), false)]);
    assert_eq!(graveyard.retry(&[3, 9]).unwrap(), [9]);
    let wanted = soon(run.wanted.wait_for(|wanted| !wanted.is_empty())).await.unwrap().clone();
    assert_eq!(*wanted, [Wanted { number: 3, object: dead_object("k", "damaged") }]);

    // The wish outlives a restart, and ends with success.
    run.stop().await;
    let mut run = Run::start(folder.path(), &ONE, &by);
    soon(run.wanted.wait_for(|wanted| wanted.len() == 1)).await.unwrap();
    assert_eq!(run.state.commit(End::Done(object("k"))).await, Settled::Final);
    soon(run.wanted.wait_for(|wanted| wanted.is_empty())).await.unwrap();
    // Whatever is dead and done is dead no more, however often it is told.
    assert_eq!(run.state.commit(End::Dead(dead_object("k", "missing"))).await, Settled::Final);
    assert_eq!(run.state.commit(End::Done(object("k"))).await, Settled::Final);
    assert_eq!(listed(&graveyard), [(2, "cut short".into(), false)]);
    assert!(graveyard.drop(&[2]).unwrap().is_empty());
    assert!(graveyard.list().unwrap().is_empty());
    run.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_for_a_sink_that_is_gone_are_dead_until_it_is_back() {
    let (folder, by) = (tempfile::tempdir().unwrap(), inspection("other"));
    let blocked = folder.path().join("a");
    std::fs::create_dir(&blocked).unwrap();
    let run = Run::start(folder.path(), &ONE, &by);
    run.state.commit(vec![alert(1, Level::High), alert(2, Level::High)]).await;
    run.stop().await;
    std::fs::remove_dir(&blocked).unwrap();

    let run = Run::start(folder.path(), &[("b", Level::Low, true)], &by);
    let mut graveyard = run.graveyard();
    let dead = graveyard.list().unwrap();
    let DeadKind::Alert { id, sink, .. } = &dead[0].kind else { panic!("{dead:?}") };
    assert_eq!((dead.len(), id, sink.as_str()), (2, &alert(1, Level::High).id.to_string(), "a"));
    run.stop().await;

    let run = Run::start(folder.path(), &ONE, &by);
    assert!(graveyard.drop(&[dead[1].number]).unwrap().is_empty());
    assert!(graveyard.retry(&[dead[0].number]).unwrap().is_empty());
    run.until("a", 1).await;
    assert_eq!(run.lines("a"), [r#"{"n":1}"#]);
    run.stop().await;
    assert!(graveyard.list().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_go_on_where_they_ended() {
    let by = inspection("other");
    let storm: Vec<String> = (0..9).map(|minute| denied(minute, "ann")).collect();
    let first = expected(&[("denied", 1, 1), ("many", 1, 5)]);
    for ends in [vec![], vec![2], vec![4], vec![5], vec![1, 2, 3, 4, 5, 6, 7, 8]] {
        let folder = tempfile::tempdir().unwrap();
        let mut run = Run::start(folder.path(), &ONE, &by);
        for (number, record) in storm.iter().enumerate() {
            if ends.contains(&number) {
                run.stop().await;
                run = Run::start(folder.path(), &ONE, &by);
            }
            let settled = run.state.commit(effects(&by, std::slice::from_ref(record))).await;
            assert_eq!(settled, Settled::Final);
        }
        run.until("a", first.len()).await;
        assert_eq!(told(&run.lines("a")), first, "{ends:?}");
        run.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_for_a_rule_that_means_something_else_is_forgotten() {
    let (folder, by) = (tempfile::tempdir().unwrap(), inspection("one"));
    let run = Run::start(folder.path(), &ONE, &by);
    let storm: Vec<String> = (0..4).map(|minute| denied(minute, "ann")).collect();
    run.state.commit(effects(&by, &storm)).await;
    run.until("a", 1).await;
    run.stop().await;

    // Another rule of the set has changed: what is kept goes on.
    let by = inspection("two");
    let run = Run::start(folder.path(), &ONE, &by);
    run.state.commit(effects(&by, &[denied(4, "ann")])).await;
    run.until("a", 2).await;
    assert_eq!(told(&run.lines("a")), expected(&[("denied", 1, 1), ("many", 1, 5)]));
    run.stop().await;

    // A member counts other events now.
    let by = inspection_of(&RULES.replace("AccessDenied", "AccessDenied*"));
    let run = Run::start(folder.path(), &ONE, &by);
    run.state.commit(effects(&by, &[denied(5, "bob")])).await;
    let groups = r#"trailhound_windows{kind="groups"} 2"#;
    assert!(run.metrics.render().contains(groups), "{}", run.metrics.render());
    run.stop().await;
}

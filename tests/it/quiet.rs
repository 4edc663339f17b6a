//! The embedded pack over ordinary administration, in small: what the bench holds over ten million events must not
//! break unseen.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::support::{root, run};

#[path = "../bench/corpus/mod.rs"]
#[allow(dead_code, unused_imports, reason = "most of it is for the bench")]
mod corpus;

use corpus::Company;

/// Alerts of a replay of these objects: levels and titles, with how often they come.
fn alerts(objects: &[Vec<u8>]) -> BTreeMap<(String, String), usize> {
    let folder = tempfile::tempdir().unwrap();
    for (number, object) in objects.iter().enumerate() {
        fs::write(folder.path().join(format!("{number}.json")), object).unwrap();
    }
    let replayed = run(["replay".as_ref(), folder.path().as_os_str(), "--quiet".as_ref()]);
    assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
    let mut counts = BTreeMap::new();
    for alert in replayed.alerts() {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        *counts.entry((text(&alert["level"]), text(&alert["rule"]["title"]))).or_default() += 1;
    }
    counts
}

fn at(counts: &BTreeMap<(String, String), usize>, levels: &[&str]) -> usize {
    counts.iter().filter(|((level, _), _)| levels.contains(&level.as_str())).map(|(_, count)| count).sum()
}

#[test]
fn no_kind_of_ordinary_work_is_grave() {
    let company = Company::new(1, 0);
    let objects: Vec<Vec<u8>> = (0..4)
        .map(|account| {
            let mut object = Vec::new();
            assert!(company.sample(account, &mut object) > 1_000);
            object
        })
        .collect();
    let counts = alerts(&objects);
    assert_eq!(at(&counts, &["high", "critical"]), 0, "{counts:#?}");
}

#[test]
fn an_hour_of_some_accounts_raises_next_to_nothing() {
    let company = Company::new(1, 10);
    let objects: Vec<Vec<u8>> = (0..20)
        .map(|account| {
            let mut object = Vec::new();
            company.object(account, 2, &mut object);
            object
        })
        .collect();
    let counts = alerts(&objects);
    assert_eq!(at(&counts, &["high", "critical"]), 0, "{counts:#?}");
    assert!(at(&counts, &["medium"]) <= 8, "{counts:#?}");
}

#[test]
fn a_deployment_is_one_alert_that_names_what_it_touched() {
    let case = root().join("fixtures/detections/iam/role-inline-policy-put/hit-deployment.json");
    let alerts = run(["replay".as_ref(), case.as_os_str(), "--quiet".as_ref()]).alerts();
    let [alert] = &alerts[..] else { panic!("{alerts:#?}") };
    assert_eq!((&alert["level"], &alert["count"]), (&"low".into(), &3.into()));
    let names: Vec<_> = alert["targets"].as_array().unwrap().iter().map(|target| &target["name"]).collect();
    assert_eq!(names, ["orders-task", "billing-task", "search-task"]);
    let summary = alert["summary"].as_str().unwrap();
    assert!(summary.ends_with(" on orders-task, billing-task and search-task)"), "{summary}");
}

//! The audit of itself: whether everything that was taken up has met an end.
//!
//! Each account has what came in on one side and every end on the other; both are counted where they happen, in different
//! places of the program. While something is on its way from one counter to the next the sides may differ for a moment;
//! a difference that stays is a mistake of this program, and is told.

use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::metrics::Metrics;

/// How often is looked, and how often in a row a remainder must be the same to be told.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const STAYS: u32 = 3;

/// All accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// Whether every account balances.
    pub balanced: bool,
    /// The accounts: messages, objects, records, and the alerts at each sink.
    pub accounts: Vec<Account>,
}

/// One account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Account {
    /// What it is about.
    pub account: String,
    /// What came in, by how.
    #[serde(rename = "in")]
    pub came_in: Side,
    /// What became of it; also what is still on its way.
    #[serde(rename = "out")]
    pub became: Side,
    /// The difference between the two.
    pub remainder: i64,
}

/// Names and counts.
pub type Side = Vec<(String, i64)>;

impl Ledger {
    /// The ledger as it stands.
    #[must_use]
    pub fn of(metrics: &Metrics) -> Self {
        let counts = metrics.counts();
        let mut accounts = vec![
            Account::of("messages", &counts.messages, &["received"]),
            Account::of("objects", &counts.objects, &["begun"]),
            Account::of("records", &counts.records, &["begun"]),
        ];
        let sinks = counts.sinks.iter();
        accounts
            .extend(sinks.map(|(sink, side)| {
                Account::of(&format!("alerts at {sink}"), side, &["raised", "restored"])
            }));
        Self { balanced: accounts.iter().all(|account| account.remainder == 0), accounts }
    }
}

impl Account {
    fn of(name: &str, counts: &[(String, i64)], incoming: &[&str]) -> Self {
        let (came_in, became): (Side, Side) =
            counts.iter().cloned().partition(|(name, _)| incoming.contains(&name.as_str()));
        let sum = |side: &Side| side.iter().map(|(_, count)| count).sum::<i64>();
        let remainder = sum(&came_in) - sum(&became);
        Self { account: name.to_owned(), came_in, became, remainder }
    }
}

/// Looks at the ledger until it is stopped, and tells remainders that stay.
pub async fn audit(metrics: Metrics, stop: CancellationToken) {
    let mut stays: Vec<(String, i64, u32)> = Vec::new();
    let looks = async {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            stays = look(&metrics, &stays);
        }
    };
    stop.run_until_cancelled(looks).await;
}

/// One look: what remains, and how often it was the same.
fn look(metrics: &Metrics, before: &[(String, i64, u32)]) -> Vec<(String, i64, u32)> {
    let mut stays = Vec::new();
    for Account { account, remainder, .. } in Ledger::of(metrics).accounts {
        let times = match before.iter().find(|(name, same, _)| *name == account && *same == remainder) {
            Some((.., times)) => times + 1,
            None => 1,
        };
        let told = if times >= STAYS { remainder } else { 0 };
        metrics.ledger_remainder(&account, told);
        if times == STAYS && remainder != 0 {
            error!(account, remainder, "the ledger does not balance: please report this");
        }
        stays.push((account, remainder, times));
    }
    stays
}

/// Tells how the ledger stands when everything has ended.
pub fn close(metrics: &Metrics) {
    let Ledger { balanced, accounts } = Ledger::of(metrics);
    for Account { account, came_in, became, remainder } in accounts {
        metrics.ledger_remainder(&account, remainder);
        if remainder != 0 {
            error!(account, remainder, came_in = ?came_in, became = ?became, "the ledger does not balance: please report this");
        }
    }
    if balanced {
        info!("the ledger balances");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_meets_no_end_remains() {
        let metrics = Metrics::default();
        assert!(Ledger::of(&metrics).balanced);
        metrics.message("received");
        let work = metrics.object_begins();
        metrics.records_begin(3);
        metrics.records("evaluated", 2);
        metrics.sink_alert("siem", "raised");
        let remainders = || {
            let ledger = Ledger::of(&metrics);
            assert_eq!(ledger.balanced, ledger.accounts.iter().all(|account| account.remainder == 0));
            ledger
                .accounts
                .into_iter()
                .map(|account| (account.account, account.remainder))
                .collect::<Vec<_>>()
        };
        let expected = |messages, objects, records, alerts| {
            let names = ["messages", "objects", "records", "alerts at siem"].map(str::to_owned);
            names.into_iter().zip([messages, objects, records, alerts]).collect::<Vec<_>>()
        };
        assert_eq!(remainders(), expected(1, 0, 1, 1));
        drop(work);
        metrics.message("acknowledged");
        metrics.records("undecodable", 1);
        metrics.outbox("siem", 1);
        assert_eq!(remainders(), expected(0, 1, 0, 0));
        metrics.object("detected", "log");
        assert!(Ledger::of(&metrics).balanced);
    }

    #[test]
    fn a_remainder_is_told_once_it_stays() {
        let metrics = Metrics::default();
        metrics.message("received");
        let mut stays = Vec::new();
        for times in 1..=STAYS {
            stays = look(&metrics, &stays);
            let told = metrics.render().contains(r#"trailhound_ledger_remainder{account="messages"} 1"#);
            assert_eq!(told, times == STAYS, "{times}");
        }
        metrics.message("acknowledged");
        look(&metrics, &stays);
        assert!(metrics.render().contains(r#"trailhound_ledger_remainder{account="messages"} 0"#));
    }
}

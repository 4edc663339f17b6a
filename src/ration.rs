//! Warnings in rations: what goes wrong ten thousand times is told a few times, with the number left out.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Warnings of one kind that are told within a span.
const TOLD: u64 = 10;
const SPAN: Duration = Duration::from_secs(30);

/// Who may warn of what, and how often.
#[derive(Debug, Default)]
pub struct Ration(Mutex<HashMap<&'static str, Span>>);

#[derive(Debug)]
struct Span {
    began: Instant,
    told: u64,
    left_out: u64,
}

impl Ration {
    /// Whether a warning of this kind may be told: then how many were left out since the last one.
    pub fn admit(&self, kind: &'static str) -> Option<u64> {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let span = spans.entry(kind).or_insert(Span { began: now, told: 0, left_out: 0 });
        if now.duration_since(span.began) >= SPAN {
            span.began = now;
            span.told = 0;
        }
        if span.told >= TOLD {
            span.left_out += 1;
            return None;
        }
        span.told += 1;
        Some(std::mem::take(&mut span.left_out))
    }
}

/// Warns as `tracing::warn!` does, as far as the ration admits warnings of this kind.
macro_rules! warn_some {
    ($ration:expr, $kind:literal, $($fields:tt)*) => {
        if let Some(left_out) = $ration.admit($kind) {
            let left_out = (left_out > 0).then_some(left_out);
            tracing::warn!(left_out, $($fields)*);
        }
    };
}
pub(crate) use warn_some;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_few_are_told_and_the_rest_is_counted() {
        let ration = Ration::default();
        let told = (0..25).filter(|_| ration.admit("a").is_some()).count();
        assert_eq!(told as u64, TOLD);
        assert_eq!(ration.admit("b"), Some(0));
        tokio::time::advance(SPAN).await;
        assert_eq!(ration.admit("a"), Some(15));
        assert_eq!(ration.admit("a"), Some(0));
    }
}

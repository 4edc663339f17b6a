//! `/metrics`, `/ledger`, `/healthz` and `/readyz` over plain HTTP, for the machine next door.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::intake::{Intake, IntakeState};
use crate::ledger::Ledger;
use crate::metrics::Metrics;

/// What the endpoints speak of.
#[derive(Debug, Clone)]
pub struct Admin {
    /// The metrics.
    pub metrics: Metrics,
    /// Tells whether sources can receive.
    pub intake: Intake,
    /// Cancelled once the program is ending.
    pub stop: CancellationToken,
}

impl Admin {
    /// Serves until it is cancelled.
    pub async fn serve(self, listener: TcpListener, cancel: CancellationToken) {
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/ledger", get(ledger))
            .route("/healthz", get(async || "alive\n"))
            .route("/readyz", get(ready))
            .with_state(self);
        let served = axum::serve(listener, router).with_graceful_shutdown(cancel.cancelled_owned()).await;
        if let Err(error) = served {
            error!(%error, "metrics and health are not served any more");
        }
    }
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    admin.intake.publish();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], admin.metrics.render())
}

async fn ledger(State(admin): State<Admin>) -> impl IntoResponse {
    let ledger = serde_json::to_string(&Ledger::of(&admin.metrics)).unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], ledger)
}

/// Answers if every source can be received from, and names in further lines what holds the intake back. Nothing of that takes the program
/// out of service: another one in its place would meet the same sink and the same outbox.
async fn ready(State(admin): State<Admin>) -> (StatusCode, String) {
    let (status, mut text) = match () {
        () if admin.stop.is_cancelled() => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned()),
        () if !admin.intake.is_able() => {
            (StatusCode::SERVICE_UNAVAILABLE, "not able to receive\n".to_owned())
        }
        () => (StatusCode::OK, "ready\n".to_owned()),
    };
    for state in admin.intake.states().into_iter().filter(|state| *state != IntakeState::Open) {
        text.push_str(&format!("{}: {}\n", state.name(), state.reason()));
    }
    (status, text)
}

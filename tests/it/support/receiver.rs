//! A receiver of webhooks that answers by script.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::serve::Listener;
use serde_json::Value;

use super::DEADLINE;

/// One answer of the script.
#[derive(Debug, Clone)]
pub struct Answer {
    status: u16,
    headers: Vec<(&'static str, &'static str)>,
    delay: Duration,
}

/// An answer with this status.
pub fn answer(status: u16) -> Answer {
    Answer { status, headers: Vec::new(), delay: Duration::ZERO }
}

impl Answer {
    pub fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub at: Instant,
    pub headers: HeaderMap,
    pub body: String,
    pub status: u16,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn alert(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// STS on loopback: hands out credentials for every role, and keeps what it was asked.
pub async fn sts() -> (String, Arc<Mutex<Vec<String>>>) {
    const ANSWER: &str = "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
        <Credentials><AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>\
        <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>";
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    let router = Router::new().route(
        "/",
        post(async move |body: String| {
            kept.lock().unwrap().push(body);
            ANSWER
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, asked)
}

/// A running receiver: answers by its script first, then with 200.
pub struct Receiver {
    pub port: u16,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    script: Mutex<VecDeque<Answer>>,
    /// Whatever has this text in it gets this answer.
    dislikes: Mutex<Option<(&'static str, Answer)>>,
    /// So many of a hundred requests get this answer, and all of them late.
    mood: Mutex<Option<(u8, Answer, Duration)>>,
    requests: Mutex<Vec<Request>>,
}

impl Receiver {
    pub async fn start(script: Vec<Answer>) -> Self {
        Self::start_on(0, script).await
    }

    /// From now on whatever has this text in it gets this answer.
    pub fn dislike(&self, text: &'static str, answer: Answer) {
        *self.shared.dislikes.lock().unwrap() = Some((text, answer));
    }

    /// From now on so many of a hundred requests get this answer, and all of them one after this time.
    pub fn moody(&self, percent: u8, answer: Answer, delay: Duration) {
        *self.shared.mood.lock().unwrap() = Some((percent, answer, delay));
    }

    /// On a given port, to come up where nothing was before.
    pub async fn start_on(port: u16, script: Vec<Answer>) -> Self {
        Self::serve(tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap(), script)
    }

    /// On any listener.
    pub fn serve(listener: impl Listener<Addr = SocketAddr>, script: Vec<Answer>) -> Self {
        let shared = Arc::new(Shared { script: Mutex::new(script.into()), ..Shared::default() });
        let router = Router::new().route("/hook", post(receive)).with_state(Arc::clone(&shared));
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { port, shared, task }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Waits for this many requests in all.
    pub async fn received(&self, count: usize) -> Vec<Request> {
        let started = Instant::now();
        while self.requests().len() < count {
            assert!(started.elapsed() < DEADLINE, "received {} of {count} requests", self.requests().len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.requests()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let body = String::from_utf8(body.to_vec()).unwrap();
    let disliked = shared.dislikes.lock().unwrap().clone().filter(|(text, _)| body.contains(text));
    let mood = shared.mood.lock().unwrap().clone();
    let answer = match (disliked, mood) {
        (Some((_, answer)), _) => answer,
        (None, Some((percent, bad, delay))) => {
            let good = fastrand::u8(0..100) >= percent;
            if good { answer(200).after(delay) } else { bad.after(delay) }
        }
        (None, None) => shared.script.lock().unwrap().pop_front().unwrap_or_else(|| answer(200)),
    };
    shared.requests.lock().unwrap().push(Request {
        at: Instant::now(),
        headers,
        body,
        status: answer.status,
    });
    tokio::time::sleep(answer.delay).await;
    let mut response = StatusCode::from_u16(answer.status).unwrap().into_response();
    for (name, value) in answer.headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

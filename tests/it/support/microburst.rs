//! Faults on the way to AWS: microburst, a proxy that answers, delays and cuts by rules.

use serde_json::Value;

use super::free_port;
use super::server::Server;

/// A running proxy.
pub struct Microburst {
    pub endpoint: String,
    http: reqwest::Client,
    _server: Server,
}

impl Microburst {
    /// A proxy without rules in front of a server.
    pub async fn start(upstream: &str) -> Self {
        let (port, upstream) = (free_port(), upstream.to_owned());
        let start = move || {
            let text = port.to_string();
            let args = ["--upstream", &upstream, "--port", &text, "--host", "127.0.0.1"];
            Server::start("microburst", port, &args, &[])
        };
        let server = tokio::task::spawn_blocking(start).await.unwrap();
        let endpoint = format!("http://127.0.0.1:{port}");
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        server.answers(&http, &format!("{endpoint}/_microburst/health")).await;
        Self { endpoint, http, _server: server }
    }

    /// These rules take the place of those of before.
    pub async fn rules(&self, rules: Value) {
        let request = self.http.post(format!("{}/_microburst/rules", self.endpoint)).body(rules.to_string());
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }

    /// How often a fault was inflicted on an operation.
    pub async fn fired(&self, operation: &str) -> usize {
        let url = format!("{}/_microburst/fired?limit=10000&operation={operation}", self.endpoint);
        let text = self.http.get(url).send().await.unwrap().text().await.unwrap();
        serde_json::from_str::<Vec<Value>>(&text).unwrap().len()
    }
}

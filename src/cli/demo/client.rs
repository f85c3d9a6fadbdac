//! An HTTP client of the demo: what an application in any language would send.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::super::Failure;

/// Sends requests to nodes by number.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    addresses: Arc<Vec<String>>,
    key: Arc<str>,
}

/// Status and body.
pub(super) type Answer = Result<(u16, Value), String>;

impl Client {
    pub(super) fn new(addresses: Vec<String>, key: &str) -> Result<Self, Failure> {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).no_proxy().build();
        let http = http.map_err(|error| Failure::Config(format!("The HTTP client did not start: {error}")))?;
        Ok(Self { http, addresses: Arc::new(addresses), key: key.into() })
    }

    pub(super) async fn get(&self, node: usize, path: &str) -> Answer {
        self.send(reqwest::Method::GET, node, path, None).await
    }

    pub(super) async fn post(&self, node: usize, path: &str, body: Value) -> Answer {
        self.send(reqwest::Method::POST, node, path, Some(body)).await
    }

    pub(super) async fn put(&self, node: usize, path: &str, body: Value) -> Answer {
        self.send(reqwest::Method::PUT, node, path, Some(body)).await
    }

    pub(super) async fn patch(&self, node: usize, path: &str, body: Value) -> Answer {
        self.send(reqwest::Method::PATCH, node, path, Some(body)).await
    }

    pub(super) async fn delete(&self, node: usize, path: &str) -> Answer {
        self.send(reqwest::Method::DELETE, node, path, None).await
    }

    async fn send(&self, method: reqwest::Method, node: usize, path: &str, body: Option<Value>) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.addresses[node])).bearer_auth(&self.key);
        if let Some(body) = body {
            request = request.json(&body);
        }
        // The error of reqwest may quote a URL, never a header or body.
        let response = request.send().await.map_err(|error| format!("node-{} did not answer: {error}", node + 1))?;
        let status = response.status().as_u16();
        let body = response.json().await.map_err(|error| format!("node-{} answered no JSON: {error}", node + 1))?;
        Ok((status, body))
    }
}

//! What browsers are told by headers: to come over TLS again, and to forget.

use ipnet::IpNet;
use tenure::server::ServeOptions;

use super::{Console, sent_to};
use crate::support::{Answer, Api, Db, Node, send};

const HSTS: &str = "strict-transport-security";

/// What a node that trusts these proxies answers to each pair of headers.
async fn answers(trusted_proxies: Vec<IpNet>, path: &str, said: &[&[&str]]) -> Vec<Answer> {
    let db = Db::new().await;
    let node = Node::start_with(db.node("node-1").await, ServeOptions { trusted_proxies, ..ServeOptions::default() }).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut answers = Vec::new();
    for lines in said {
        let request = client.get(format!("{}{path}", node.url));
        answers.push(send(lines.iter().fold(request, |request, line| request.header("x-forwarded-proto", *line))).await);
    }
    answers
}

#[tokio::test]
async fn over_tls_and_only_then_browsers_are_kept_to_it() {
    let proxy = vec!["127.0.0.0/8".parse().unwrap()];
    let secure: [&[&str]; 3] = [&["https"], &["HTTPS"], &["https, http"]];
    for path in ["/console/sign-in", "/healthz", "/v1/nodes", "/nowhere"] {
        for answer in answers(proxy.clone(), path, &secure).await {
            assert_eq!(answer.header(HSTS), Some("max-age=31536000"), "{path}: {} {}", answer.status, answer.text);
        }
    }
    let plain: [&[&str]; 6] = [&[], &[""], &["http"], &["http, https"], &["http", "https"], &["httpsx"]];
    for answer in answers(proxy, "/console/sign-in", &plain).await {
        assert_eq!((answer.status, answer.header(HSTS)), (200, None));
    }
    for answer in answers(vec!["127.0.0.0/8".parse().unwrap()], "/v1/auth", &secure).await {
        assert_eq!(answer.header(HSTS), None, "a proxy hands it on under the name of the application");
    }
    for answer in answers(vec!["10.0.0.0/8".parse().unwrap()], "/console/sign-in", &secure).await {
        assert_eq!((answer.status, answer.header(HSTS)), (200, None), "anybody can say so");
    }
}

/// What it kept of pages goes, and nothing of the application on the same host.
#[tokio::test]
async fn signing_out_clears_the_browsers_cache_and_neither_cookies_nor_storage() {
    let api = Api::start().await;
    let console = Console::of(&api, "abel.tuter", &["admin"]).await;
    let out = console.post("/console/sign-out", &[]).await;
    sent_to(&out, "/console/sign-in?reason=signed_out");
    assert_eq!(out.header("clear-site-data"), Some("\"cache\""));
    assert!(out.header("set-cookie").unwrap().starts_with("__Host-tenure=;"));
}

//! Requests that no client library would send: cases 7, 12, 14, 15, 18, 26, 27, 33, 39; connections that hold on.

use std::time::Duration;

use serde_json::json;
use tenure::server::ServeOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{SECRET, fingerprint};
use crate::support::{Api, Node};

/// Writes bytes, and reads until the server is done with them.
async fn talk(api: &Api, bytes: &[u8], hang_up: bool) -> String {
    exchange(api.node.url.clone(), bytes.to_vec(), hang_up, Duration::from_secs(4)).await
}

async fn exchange(url: String, bytes: Vec<u8>, hang_up: bool, patience: Duration) -> String {
    let mut socket = TcpStream::connect(url.trim_start_matches("http://")).await.unwrap();
    let (mut read, mut write) = socket.split();
    let mut answer = Vec::new();
    // The server may answer and close before it has read everything, which is no failure of the test.
    let exchange = async {
        let sent = async {
            let _ = write.write_all(&bytes).await;
            if hang_up {
                let _ = write.shutdown().await;
            }
        };
        let heard = async {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = read.read(&mut buffer).await {
                answer.extend_from_slice(&buffer[..count]);
            }
        };
        tokio::join!(sent, heard);
    };
    let _ = timeout(patience, exchange).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn head(api: &Api, request: &str) -> String {
    format!("{request} HTTP/1.1\r\nHost: tenure\r\nAuthorization: Bearer {}\r\nConnection: close\r\n", api.key)
}

/// The status line's number; 0 when the server closed without a word.
fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn input_007_012_015_026_027_raw_requests() {
    let api = Api::start().await;
    let (session, _) = api.create(&json!({"kind": "guest"})).await;
    let id = session["id"].as_str().unwrap();
    let before = fingerprint(&api).await;
    let create = head(&api, "POST /v1/sessions");
    let json = "Content-Type: application/json\r\n";
    let body = r#"{"kind":"guest"}"#;
    let length = body.len();
    let rows: Vec<(&str, Vec<u8>, &[u16])> = vec![
        ("7 NUL in a header", format!("{}X-A: a\0b\r\n\r\n", head(&api, "GET /v1/nodes")).into(), &[400]),
        (
            "7 NUL in the key",
            format!("GET /v1/nodes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\0\r\n\r\n", api.key).into(),
            &[400],
        ),
        (
            "7 non-ASCII key",
            "GET /v1/nodes HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer tnk_é\r\n\r\n".into(),
            &[400, 401],
        ),
        ("7 line end in a header", format!("{}X-A: a\rb\r\n\r\n", head(&api, "GET /v1/nodes")).into(), &[400]),
        ("7 folded header", format!("{}X-A: a\r\n b\r\n\r\n", head(&api, "GET /v1/nodes")).into(), &[400]),
        (
            "12 1 MiB header",
            format!("{}Cookie: {}\r\n\r\n", head(&api, "GET /v1/nodes"), "c".repeat(1 << 20)).into(),
            &[431, 400],
        ),
        ("12 1,000 headers", format!("{}{}\r\n", head(&api, "GET /v1/nodes"), "X-A: b\r\n".repeat(1000)).into(), &[431, 400]),
        ("7 two keys", format!("{}Authorization: Bearer {}\r\n\r\n", head(&api, "GET /v1/nodes"), api.key).into(), &[401]),
        ("12 1,000 short headers", format!("{}{}\r\n", head(&api, "GET /v1/nodes"), "a:\r\n".repeat(1000)).into(), &[431]),
        ("12 a 20 KiB header", format!("{}X-A: {}\r\n\r\n", head(&api, "GET /v1/nodes"), "c".repeat(20 << 10)).into(), &[431]),
        (
            "15 chunked in HTTP/1.0",
            format!("{create}{json}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n").replace("HTTP/1.1", "HTTP/1.0").into(),
            &[400],
        ),
        ("15 two lengths", format!("{create}{json}Content-Length: {length}\r\nContent-Length: 1\r\n\r\n{body}").into(), &[400]),
        ("15 length with a sign", format!("{create}{json}Content-Length: +{length}\r\n\r\n{body}").into(), &[400]),
        ("15 not chunked last", format!("{create}{json}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n").into(), &[400]),
        (
            "15 bad chunk size",
            format!("{create}{json}Transfer-Encoding: chunked\r\n\r\nzz\r\n{body}\r\n0\r\n\r\n").into(),
            &[400],
        ),
        ("19 body cut short", format!("{create}{json}Content-Length: {}\r\n\r\n{body}", length + 10).into(), &[0, 400]),
        ("26 dots", format!("{}\r\n", head(&api, &format!("DELETE /v1/users/../sessions/{id}"))).into(), &[400, 404]),
        ("26 encoded dots", format!("{}\r\n", head(&api, &format!("DELETE /v1/users/%2e%2e/sessions/{id}"))).into(), &[400, 404]),
        ("26 encoded slash", format!("{}\r\n", head(&api, &format!("DELETE /v1/sessions%2F{id}"))).into(), &[404]),
        ("26 doubly encoded", format!("{}\r\n", head(&api, "GET /v1/users/a%252Fb")).into(), &[404]),
        ("26 NUL in a user", format!("{}\r\n", head(&api, "GET /v1/users/a%00b")).into(), &[422]),
        ("26 NUL in a property", format!("{}\r\n", head(&api, "GET /v1/properties/a%00b")).into(), &[404]),
        ("26 NUL in an id", format!("{}\r\n", head(&api, &format!("DELETE /v1/sessions/{id}%00"))).into(), &[404]),
        ("26 not UTF-8 user", format!("{}\r\n", head(&api, "GET /v1/users/%ff%fe")).into(), &[400]),
        (
            "26 not UTF-8 transaction",
            format!("{}\r\n", head(&api, &format!("DELETE /v1/sessions/{id}/transactions/%ff"))).into(),
            &[404],
        ),
        ("26 double slash", format!("{}\r\n", head(&api, &format!("DELETE //v1/sessions/{id}"))).into(), &[404]),
        ("26 slash behind", format!("{}\r\n", head(&api, &format!("DELETE /v1/sessions/{id}/"))).into(), &[404]),
        ("27 TRACE", format!("{}\r\n", head(&api, "TRACE /v1/sessions")).into(), &[405]),
        ("27 CONNECT", format!("{}\r\n", head(&api, "CONNECT tenure:80")).into(), &[400, 404, 405]),
        ("27 lower case", format!("{}\r\n", head(&api, "get /v1/sessions")).into(), &[400, 405]),
        (
            "39 filter of 1 MiB",
            format!("{}\r\n", head(&api, &format!("GET /v1/sessions?user={}", "a".repeat(1 << 20)))).into(),
            &[414, 431, 400],
        ),
        (
            "39 filter of 60 KiB",
            format!("{}\r\n", head(&api, &format!("GET /v1/sessions?user={}", "a".repeat(60 << 10)))).into(),
            &[414, 431],
        ),
        (
            "39 node of 60 KiB",
            format!("{}\r\n", head(&api, &format!("GET /v1/sessions?node={}", "a".repeat(60 << 10)))).into(),
            &[414, 431],
        ),
        ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), &[0, 400]),
        ("HTTP/0.9", b"GET /\r\n\r\n".to_vec(), &[0, 400]),
    ];
    let mut wrong = Vec::new();
    // All at once: some servers wait for more, and their time runs side by side.
    let talks: Vec<_> = rows
        .into_iter()
        .map(|(name, bytes, expected)| {
            let talk = exchange(api.node.url.clone(), bytes, name.starts_with("19"), Duration::from_secs(4));
            (name, expected, tokio::spawn(talk))
        })
        .collect();
    for (name, expected, talk) in talks {
        let answer = talk.await.unwrap();
        if !expected.contains(&status(&answer)) || answer.contains(&api.key) {
            wrong.push(format!("{name}: wanted {expected:?}, got {}", answer.chars().take(600).collect::<String>()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(fingerprint(&api).await, before);
    api.get(&format!("/v1/sessions/{id}")).await.expect(200);
}

/// With two lengths the chunks count, and nothing behind them is read as a request of its own.
#[tokio::test]
async fn input_015_nothing_is_smuggled() {
    let api = Api::start().await;
    let body = r#"{"kind":"guest"}"#;
    let json = "Content-Type: application/json\r\n";
    let smuggled = format!("{}{json}Content-Length: {}\r\n\r\n{body}", head(&api, "POST /v1/sessions"), body.len());
    let open = head(&api, "POST /v1/sessions/check").replace("Connection: close\r\n", "");
    let chunks = "d\r\n{\"token\":\"x\"}\r\n0\r\n\r\n";
    let lengths = ["Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"];
    for lengths in lengths {
        let answer = talk(&api, format!("{open}{json}{lengths}\r\n{chunks}{smuggled}").as_bytes(), false).await;
        assert_eq!((status(&answer), answer.matches("HTTP/1.1 ").count()), (401, 1), "{lengths}: {answer}");
        assert!(answer.contains("unknown_token"), "{answer}");
    }
    assert_eq!(api.db.count("select count(*) from tenure.sessions").await, 0);
    // Without the second length the connection stays open, so that the test above can fail.
    let pipelined = format!("{open}{json}Transfer-Encoding: chunked\r\n\r\n{chunks}{smuggled}");
    talk(&api, pipelined.as_bytes(), false).await;
    assert_eq!(api.db.count("select count(*) from tenure.sessions").await, 1);
}

#[tokio::test]
async fn input_014_a_body_without_length_is_read_to_the_limit_only() {
    let api = Api::start().await;
    let head = head(&api, "POST /v1/sessions");
    let chunk = format!("4000\r\n{}\r\n", "a".repeat(0x4000));
    let mut request = format!("{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes();
    for _ in 0..64 {
        request.extend_from_slice(chunk.as_bytes());
    }
    let answer = talk(&api, &request, false).await;
    assert_eq!(status(&answer), 413, "{answer}");
    assert_eq!(api.db.count("select count(*) from tenure.sessions").await, 0);
}

#[tokio::test]
async fn input_014_a_body_that_does_not_come_is_not_waited_for() {
    let api = Api::start().await;
    let request =
        format!("{}Content-Type: application/json\r\nContent-Length: 16\r\n\r\n{{\"kind\":", head(&api, "POST /v1/sessions"));
    let answer = exchange(api.node.url.clone(), request.into_bytes(), false, Duration::from_secs(9)).await;
    assert_eq!(status(&answer), 408, "{answer}");
    assert_eq!(api.db.count("select count(*) from tenure.sessions").await, 0);
}

/// A head that dawdles ends its connection; a rest between two requests does not.
#[tokio::test]
async fn input_014_a_head_that_does_not_come_is_not_waited_for() {
    let api = Api::start().await;
    let place = api.node.url.trim_start_matches("http://").to_owned();
    let mut resting = TcpStream::connect(&place).await.unwrap();
    let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut buffer = [0; 4096];
    resting.write_all(request).await.unwrap();
    assert!(resting.read(&mut buffer).await.unwrap() > 0);
    let begun = tokio::time::Instant::now();
    let dawdlers = [&b""[..], b"G", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"].map(|sent| {
        let place = place.clone();
        tokio::spawn(async move {
            let mut socket = TcpStream::connect(place).await.unwrap();
            socket.write_all(sent).await.unwrap();
            let heard = timeout(Duration::from_secs(9), socket.read(&mut [0; 64])).await.expect("it is closed");
            assert!(matches!(heard, Ok(0) | Err(_)), "{heard:?}");
        })
    });
    for dawdler in dawdlers {
        dawdler.await.unwrap();
    }
    assert!(begun.elapsed() > Duration::from_secs(4), "closed too early: {:?}", begun.elapsed());
    resting.write_all(request).await.unwrap();
    let count = resting.read(&mut buffer).await.unwrap();
    assert!(buffer[..count].starts_with(b"HTTP/1.1 200"), "a client may reuse a connection after a rest");
    // A second request that dawdles on a connection that has served one.
    resting.write_all(b"GET /healthz").await.unwrap();
    let heard = timeout(Duration::from_secs(9), resting.read(&mut buffer)).await.expect("it is closed");
    assert!(matches!(heard, Ok(0) | Err(_)), "{heard:?}");
}

/// Further connections than may be are closed, and there is room again when one ends.
#[tokio::test]
async fn input_012_connections_are_limited() {
    let api = Api::start().await;
    let options = ServeOptions { connections: 2, ..ServeOptions::default() };
    let node = Node::start_with(api.db.node("narrow").await, options).await;
    let place = node.url.trim_start_matches("http://");
    let ask = async |socket: &mut TcpStream| {
        let _ = socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let mut buffer = [0; 1024];
        matches!(socket.read(&mut buffer).await, Ok(1..)) && buffer.starts_with(b"HTTP/1.1 200")
    };
    let (mut one, mut two) = (TcpStream::connect(place).await.unwrap(), TcpStream::connect(place).await.unwrap());
    assert!(ask(&mut one).await && ask(&mut two).await);
    assert!(!ask(&mut TcpStream::connect(place).await.unwrap()).await, "a third");
    assert!(ask(&mut one).await, "the others go on");
    drop(two);
    let begun = tokio::time::Instant::now();
    while !ask(&mut TcpStream::connect(place).await.unwrap()).await {
        assert!(begun.elapsed() < Duration::from_secs(4), "no room again");
    }
}

#[tokio::test]
async fn input_033_client_gone_in_the_middle() {
    let api = Api::start().await;
    let head = head(&api, "POST /v1/sessions");
    let whole = format!("{head}Content-Type: application/json\r\nContent-Length: 16\r\n\r\n{{\"kind\":\"guest\"}}");
    for end in [10, head.len(), whole.len() - 8, whole.len() - 1] {
        let mut socket = TcpStream::connect(api.node.url.trim_start_matches("http://")).await.unwrap();
        socket.write_all(&whole.as_bytes()[..end]).await.unwrap();
        drop(socket);
    }
    let answer = talk(&api, whole.as_bytes(), false).await;
    assert_eq!(status(&answer), 201, "{answer}");
    assert_eq!(api.db.count("select count(*) from tenure.sessions").await, 1, "only the whole request counted");
    let metrics = api.get("/metrics").await.text;
    assert!(!metrics.contains(r#"route="/v1/sessions",method="POST",status="500""#), "{metrics}");
    assert!(!metrics.contains(SECRET));
}

/// A client that asks and asks and reads nothing is left, and what was made for it goes.
#[tokio::test]
async fn input_012_answers_do_not_stay_unread() {
    let api = Api::start().await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2_048).unwrap();
    let mut deaf = socket.connect(api.node.url.trim_start_matches("http://").parse().unwrap()).await.unwrap();
    let request = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n";
    // The server stops reading once it cannot write; it ends the connection when nothing was taken for twenty seconds.
    let sent = timeout(Duration::from_mins(1), async {
        loop {
            if deaf.write_all(request).await.is_err() {
                return;
            }
        }
    });
    sent.await.expect("the connection was ended");
}

//! A small HTTP client: one connection, one request at a time. The load needs thousands of requests a second from a machine
//! that also runs the cluster, and must know exactly when one was sent and whether it may have arrived.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An answer.
#[derive(Debug)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// The body as JSON; null when it is none.
    pub body: Value,
}

impl Response {
    /// A text of the body.
    pub fn text(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap_or_default()
    }
}

/// One connection to one node.
pub struct Client {
    port: u16,
    key: String,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Client {
    /// A client that connects when it is first used.
    pub fn new(port: u16, key: &str) -> Self {
        Self { port, key: key.to_owned(), stream: None, buffer: Vec::new() }
    }

    /// The port it talks to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connects without sending anything, so that a request that follows is either sent or has certainly not arrived.
    pub async fn connect(&mut self) -> bool {
        if self.stream.is_none() {
            let connected = timeout(Duration::from_secs(1), TcpStream::connect(("127.0.0.1", self.port))).await;
            if let Ok(Ok(stream)) = connected {
                let _ = stream.set_nodelay(true);
                self.stream = Some(stream);
            }
        }
        self.stream.is_some()
    }

    /// Sends a request; `None` when no answer came in time. `read_body` leaves the body of a 200 unread when false.
    pub async fn send(&mut self, method: &str, path: &str, body: &str, patience: Duration, read_body: bool) -> Option<Response> {
        let mut stream = self.stream.take()?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: chaos\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        );
        let answered = timeout(patience, exchange(&mut stream, &request, &mut self.buffer)).await.ok().flatten();
        let (status, at, close) = answered?;
        if !close {
            self.stream = Some(stream);
        }
        let body =
            if status != 200 || read_body { serde_json::from_slice(&self.buffer[at..]).unwrap_or_default() } else { Value::Null };
        Some(Response { status, body })
    }
}

/// Writes the request and reads one answer: its status, where its body begins, and whether the connection ends with it.
async fn exchange(stream: &mut TcpStream, request: &str, buffer: &mut Vec<u8>) -> Option<(u16, usize, bool)> {
    stream.write_all(request.as_bytes()).await.ok()?;
    buffer.clear();
    let mut head = None;
    loop {
        if let Some((_, begin, length, _)) = head
            && buffer.len() >= begin + length
        {
            let (status, begin, _, close) = head?;
            return Some((status, begin, close));
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
        if head.is_none()
            && let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n")
        {
            head = Some(parse(std::str::from_utf8(&buffer[..end]).ok()?, end + 4)?);
        }
    }
}

fn parse(head: &str, begin: usize) -> Option<(u16, usize, usize, bool)> {
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let (mut length, mut close) = (0, false);
    for line in lines {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        } else if name.eq_ignore_ascii_case("connection") {
            close = value.trim().eq_ignore_ascii_case("close");
        }
    }
    Some((status, begin, length, close))
}

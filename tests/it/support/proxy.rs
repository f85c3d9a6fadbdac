//! A link to PostgreSQL that tests cut, freeze and mend.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the link does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Carries bytes.
    Up,
    /// Hangs up on everyone, at once.
    Down,
    /// Takes bytes and delivers none, as a dropped route does.
    Frozen,
}

/// The link.
pub struct Proxy {
    /// The database's URL through the link.
    pub url: String,
    link: watch::Sender<Link>,
}

impl Proxy {
    /// A link to the server of a URL.
    pub async fn to(url: &str) -> Self {
        let (front, place) = url.rsplit_once('@').unwrap();
        let (server, database) = place.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{front}@{}/{database}", listener.local_addr().unwrap());
        let (link, state) = watch::channel(Link::Up);
        tokio::spawn(accept(listener, server.to_owned(), state));
        Self { url, link }
    }

    /// Changes what it does.
    pub fn set(&self, link: Link) {
        self.link.send_replace(link);
    }
}

async fn accept(listener: TcpListener, server: String, state: watch::Receiver<Link>) {
    while let Ok((client, _)) = listener.accept().await {
        if *state.borrow() == Link::Down {
            continue;
        }
        let server = TcpStream::connect(&server).await.unwrap();
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        tokio::spawn(pump(from_client, to_server, state.clone()));
        tokio::spawn(pump(from_server, to_client, state.clone()));
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<Link>) {
    let mut buffer = vec![0; 16 * 1024];
    let mut down = state.clone();
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            _ = down.wait_for(|link| *link == Link::Down) => return,
        };
        let Ok(count @ 1..) = read else { return };
        match state.wait_for(|link| *link != Link::Frozen).await.map(|link| *link) {
            Ok(Link::Up) => {}
            _ => return,
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

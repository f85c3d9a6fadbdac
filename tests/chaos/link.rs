//! A node's link to PostgreSQL: a proxy that cuts, freezes and slows what it carries.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

/// What the link does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Carries bytes.
    Up,
    /// Carries them late.
    Slow(Duration, Share),
    /// Hangs up on everyone, at once.
    Down,
    /// Takes bytes and delivers none, as a dropped route does.
    Frozen(Share),
}

/// Which connections are hit. When only some are, a load may come back long after a poll has told of what ended meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// All of them.
    All,
    /// Every other one.
    Half,
}

impl Share {
    fn hits(self, connection: u64) -> bool {
        self == Self::All || connection.is_multiple_of(2)
    }
}

impl State {
    fn freezes(self, connection: u64) -> bool {
        matches!(self, Self::Frozen(share) if share.hits(connection))
    }

    /// How long it holds bytes of a connection back; `None` when it does not carry them at all.
    fn delay(self, connection: u64) -> Option<Duration> {
        match self {
            Self::Slow(by, share) if share.hits(connection) => Some(by),
            Self::Down => None,
            _ => Some(Duration::ZERO),
        }
    }
}

/// The link.
pub struct Link {
    /// The database's URL through the link.
    pub url: String,
    state: watch::Sender<State>,
}

impl Link {
    /// A link to the server of a URL.
    pub async fn to(url: &str) -> std::io::Result<Self> {
        let broken = || std::io::Error::other("the database's URL has no address");
        let (front, place) = url.rsplit_once('@').ok_or_else(broken)?;
        let (server, database) = place.split_once('/').ok_or_else(broken)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("{front}@{}/{database}", listener.local_addr()?);
        let (state, seen) = watch::channel(State::Up);
        tokio::spawn(accept(listener, server.parse().map_err(std::io::Error::other)?, seen));
        Ok(Self { url, state })
    }

    /// Whether it works.
    pub fn is_up(&self) -> bool {
        *self.state.borrow() == State::Up
    }

    /// Changes what it does.
    pub fn set(&self, state: State) {
        self.state.send_replace(state);
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, state: watch::Receiver<State>) {
    for connection in 0.. {
        let Ok((client, _)) = listener.accept().await else { continue };
        if *state.borrow() == State::Down {
            continue;
        }
        // While PostgreSQL is away the node sees its connection close, as it would without the link.
        let Ok(server) = TcpStream::connect(server).await else { continue };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        tokio::spawn(pump(from_client, to_server, state.clone(), connection));
        tokio::spawn(pump(from_server, to_client, state.clone(), connection));
    }
}

/// Carries one direction. What was taken while frozen is delivered after a thaw, even when its sender has gone.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<State>, connection: u64) {
    let mut buffer = vec![0; 16 * 1024];
    let mut watched = state.clone();
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            _ = watched.wait_for(|state| *state == State::Down) => return,
        };
        let Ok(count @ 1..) = read else { return };
        let Ok(now) = state.wait_for(|state| !state.freezes(connection)).await.map(|state| *state) else { return };
        match now.delay(connection) {
            Some(Duration::ZERO) => {}
            Some(delay) => sleep(delay).await,
            None => return,
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

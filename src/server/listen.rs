//! Connections, and how long and large a head may be: what axum's own accept loop leaves open.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

use super::address::Proxies;
use super::buckets::{Buckets, Rate};
use super::limits::network;

/// How long a request's head may take from its first byte, and a new connection until its first head.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// How long a connection may rest between two requests: longer than the usual clients and proxies keep theirs, so that it is them
/// who close, and no request meets a connection that is just being closed.
const REST_TIME: Duration = Duration::from_mins(2);
/// How long a client may leave unread what was sent to it.
const READ_TIME: Duration = Duration::from_secs(20);
/// Largest head read, bytes, request line included; `limit` in the room above is stricter about the headers. hyper takes 100
/// headers at most by itself.
const HEAD_SIZE: usize = 32 * 1024;
/// Largest buffer of a connection, bytes.
const BUFFER_SIZE: usize = 64 * 1024;
/// After a failure to accept: without free descriptors it would fail again at once.
const BREATH: Duration = Duration::from_millis(100);

/// Serves connections, `most` at once, until `stop` is done and what is in flight by then has been answered. One address has at
/// most half the room, unless it is a proxy's, or this machine's own.
pub(super) async fn listen(
    listener: TcpListener,
    router: Router,
    most: usize,
    proxies: &Proxies,
    stop: impl Future<Output = ()>,
) {
    let room = Arc::new(Semaphore::new(most));
    let neighbours = Arc::new(Neighbours::default());
    let complaints = Buckets::new(Rate { burst: 1, every: Duration::from_mins(1) });
    let graceful = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(REST_TIME).max_header_size(HEAD_SIZE).max_buf_size(BUFFER_SIZE);
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // A client that went away before it was accepted is nobody's trouble.
                if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
                    if complaints.take("accept", Instant::now()).is_ok() {
                        tracing::warn!(%error, "a connection could not be accepted; see the limit of open files (ulimit -n)");
                    }
                    sleep(BREATH).await;
                }
                continue;
            }
        };
        let address = peer.ip().to_canonical();
        let alone = !address.is_loopback() && !proxies.trusts(address);
        let seat = neighbours.seat(network(address), if alone { most.div_ceil(2) } else { usize::MAX });
        let (Ok(place), Some(seat)) = (Arc::clone(&room).try_acquire_owned(), seat) else {
            metrics::counter!("tenure_connections_refused_total").increment(1);
            if complaints.take("full", Instant::now()).is_ok() {
                tracing::warn!(most, %peer, "as many connections as may be are open, in all or from this peer; further ones are closed");
            }
            continue;
        };
        tokio::spawn(connection(&http, &graceful, stream, peer, router.clone(), (place, seat)));
    }
    drop(listener);
    graceful.shutdown().await;
}

/// One connection, to its end.
fn connection(
    http: &http1::Builder,
    graceful: &GracefulShutdown,
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    place: (OwnedSemaphorePermit, Seat),
) -> impl Future<Output = ()> + Send + 'static {
    let stage = Arc::new(AtomicU8::new(HEAD));
    let io = TokioIo::new(Paced { stream, stage: Arc::clone(&stage), late: None, unread: None });
    let api = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        stage.store(BUSY, Ordering::Relaxed);
        request.extensions_mut().insert(ConnectInfo(peer));
        let (answer, stage) = (api.call(request), Arc::clone(&stage));
        async move {
            let answer = answer.await;
            stage.store(REST, Ordering::Relaxed);
            answer.map_err(|never: Infallible| match never {})
        }
    });
    let served = graceful.watch(http.serve_connection(io, service));
    async move {
        let _place = place;
        if let Err(error) = served.await {
            tracing::debug!(%peer, %error, "a connection ended early");
        }
    }
}

/// Connections by network.
#[derive(Debug, Default)]
struct Neighbours(Mutex<HashMap<IpAddr, usize>>);

impl Neighbours {
    /// A place among those of a network; `None` when it has as many as it may.
    fn seat(self: &Arc<Self>, network: IpAddr, most: usize) -> Option<Seat> {
        let mut taken = self.taken();
        let count = taken.entry(network).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Seat { neighbours: Arc::clone(self), network })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of a network's connections.
#[derive(Debug)]
struct Seat {
    neighbours: Arc<Neighbours>,
    network: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.neighbours.taken();
        if let Entry::Occupied(mut count) = taken.entry(self.network) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// Between requests.
const REST: u8 = 0;
/// A head has begun to arrive.
const HEAD: u8 = 1;
/// A request is being answered; what arrives is its body.
const BUSY: u8 = 2;

/// A connection on which heads must not dawdle, and answers not stay unread. hyper's own time-out counts the rest between requests as well, and a head has to be
/// much quicker than that.
struct Paced {
    stream: TcpStream,
    stage: Arc<AtomicU8>,
    /// Ends when the head is late; made only when one does not arrive at once.
    late: Option<Pin<Box<Sleep>>>,
    /// Ends when the client has read nothing for too long; made only when it does not take what is sent at once.
    unread: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    /// What became of sending, or that the client reads nothing.
    fn patiently<T>(&mut self, cx: &mut Context<'_>, sent: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if sent.is_ready() {
            self.unread = None;
            return sent;
        }
        let unread = self.unread.get_or_insert_with(|| Box::pin(sleep(READ_TIME)));
        ready!(unread.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client did not read its answer")))
    }
}

impl AsyncRead for Paced {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        let stage = this.stage.load(Ordering::Relaxed);
        if stage == REST && read.is_ready() && buffer.filled().len() > before {
            this.stage.store(HEAD, Ordering::Relaxed);
        }
        if stage != HEAD {
            this.late = None;
        } else if read.is_pending() {
            let late = this.late.get_or_insert_with(|| Box::pin(sleep(HEAD_TIME)));
            ready!(late.as_mut().poll(cx));
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the head of a request took too long")));
        }
        read
    }
}

impl AsyncWrite for Paced {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.patiently(cx, sent)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = Pin::new(&mut self.stream).poll_flush(cx);
        self.patiently(cx, sent)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.patiently(cx, sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_does_not_take_every_place() {
        let neighbours = Arc::new(Neighbours::default());
        let (one, other): (IpAddr, IpAddr) = ("203.0.113.1".parse().unwrap(), "203.0.113.2".parse().unwrap());
        let mut seats: Vec<_> = (0..2).map(|_| neighbours.seat(one, 2).unwrap()).collect();
        assert!(neighbours.seat(one, 2).is_none() && neighbours.seat(other, 2).is_some());
        seats.pop();
        assert!(neighbours.seat(one, 2).is_some());
        drop(seats);
        assert!(neighbours.taken().is_empty(), "what is counted does not grow");
    }
}

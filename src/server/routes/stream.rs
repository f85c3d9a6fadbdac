//! Events as they happen: a server-sent event stream that can be resumed.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::super::App;
use super::super::auth::Lasting;
use super::super::problem::Problem;
use crate::manager::{Following, Told};
use crate::store::{Event, EventPosition};

/// Sent by a client that comes back.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Between two looks at whether the key still holds and the node still serves: half the lease (C50).
const LOOK: Duration = Duration::from_secs(1);
/// A stream that has nothing to say says so, for proxies that cut what is silent.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a client may leave what it was sent unread.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pieces on their way to a client.
const PIECES: usize = 4;

/// Whether the client asks for a stream.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let accepted =
        headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    accepted
        .into_iter()
        .any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream")))
}

/// Where a client that comes back wants to go on.
pub(in crate::server) fn position(headers: &HeaderMap) -> Result<Option<EventPosition>, Problem> {
    // A client that was told none may send an empty one.
    let Some(value) = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty()) else { return Ok(None) };
    value.to_str().ok().and_then(|text| text.parse().ok()).map(Some).ok_or_else(|| {
        Problem::new(
            400,
            "invalid_cursor",
            "Last-Event-ID was not made by this stream.",
            "Leave it out to begin now, and list the events for what came before.",
        )
    })
}

/// The stream: it ends when the client is too slow, its key is revoked or the node drains, and is resumed by the last id. A node
/// that drains begins none, or who was cut off would come back to it again and again.
pub(in crate::server) async fn answer(
    caller: impl Lasting,
    app: App,
    kind: Option<String>,
    from: Option<EventPosition>,
) -> Result<Response, Problem> {
    if app.is_draining() {
        return Err(Problem::draining());
    }
    let following = app.manager.follow_events(from).await?;
    let (sender, receiver) = mpsc::channel(PIECES);
    tokio::spawn(tell(caller, app, kind, following, sender));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        // Proxies must not collect what should arrive at once.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::from_stream(Pieces(receiver))).into_response())
}

async fn tell(caller: impl Lasting, app: App, kind: Option<String>, mut following: Following, client: mpsc::Sender<Bytes>) {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut spoken = Instant::now();
    if following.lost && !say(&client, RESET.to_owned()).await {
        return;
    }
    loop {
        let told = {
            let mut next = pin!(following.next());
            loop {
                tokio::select! {
                    // The look first: a backlog must not keep a revoked key's stream going.
                    biased;
                    () = client.closed() => return,
                    _ = look.tick() => {
                        if app.is_draining() || !caller.is_still_allowed(&app).await {
                            return;
                        }
                        if spoken.elapsed() >= KEEP_ALIVE {
                            if !say(&client, ":\n\n".to_owned()).await {
                                return;
                            }
                            spoken = Instant::now();
                        }
                    }
                    told = &mut next => break told,
                }
            }
        };
        let text = match told {
            Ok(Some(Told::Events(events))) => {
                let wanted = events.iter().filter(|event| kind.as_ref().is_none_or(|kind| event.kind == *kind));
                wanted.fold(String::new(), spell)
            }
            // An id without data moves the client's last event id and is no event.
            Ok(Some(Told::Position(position))) => format!("id: {position}\n\n"),
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%error, "a stream of events ends");
                return;
            }
        };
        if !text.is_empty() {
            if !say(&client, text).await {
                return;
            }
            spoken = Instant::now();
        }
    }
}

/// Told to a client whose position is gone: the server was replaced by one that may know less.
const RESET: &str = "event: reset\ndata: {\"detail\":\"This position is not one of this database: events may be missing. List the events for what came before.\"}\n\n";

fn spell(mut text: String, event: &Event) -> String {
    // JSON of one line; a type is a word of letters and underscores.
    if let Ok(data) = serde_json::to_string(event) {
        let _ = write!(text, "event: {}\ndata: {data}\n\n", event.kind);
    }
    text
}

/// Whether the client takes it.
async fn say(client: &mpsc::Sender<Bytes>, text: String) -> bool {
    matches!(timeout(PATIENCE, client.send(text.into())).await, Ok(Ok(())))
}

/// The body.
struct Pieces(mpsc::Receiver<Bytes>);

impl Stream for Pieces {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|piece| piece.map(Ok))
    }
}

//! The HTTP API: JSON in and out, RFC 9457 problems, API keys as bearer tokens.

mod address;
mod asset;
mod auth;
mod buckets;
#[cfg(feature = "console")]
mod console;
mod cookie;
mod extract;
mod limits;
mod listen;
mod presented;
mod problem;
mod routes;
mod same_origin;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use ipnet::IpNet;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::manager::Manager;
use address::Proxies;
use limits::Limits;
use problem::Problem;

pub use routes::openapi;

/// Largest body read, bytes: the app's payload of 64 KiB and what surrounds it.
const BODY_LIMIT: usize = 128 * 1024;

/// Largest headers read, bytes in all.
const HEADER_LIMIT: usize = 16 * 1024;
/// What a browser is told that came over TLS: to come so for a year. Hosts below this one are not ours to speak for.
const STRICT: &str = "max-age=31536000";
/// How long a request may take. Statements end after 5 s; this also bounds a link to PostgreSQL that swallows them.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// The same for changes of users and properties and for endings of many sessions, whose transaction may run for two minutes.
const CHANGE_TIME: Duration = Duration::from_secs(130);
/// How long a stopping node goes on accepting, with /readyz at 503.
const FAREWELL_TIME: Duration = Duration::from_millis(500);
/// How long what is in flight may go on after the stop: a client that never finishes its request must not hold the process.
const STOP_TIME: Duration = Duration::from_secs(5);
/// How long writing the last activity and leaving the registry may take, when the link to PostgreSQL swallows bytes.
const LEAVE_TIME: Duration = Duration::from_secs(4);

/// How the API is served; the defaults suit whoever has no proxy in front.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Networks of proxies whose `X-Forwarded-For` says whose request it is; none.
    pub trusted_proxies: Vec<IpNet>,
    /// Connections at once, 10,000, half of them at most from one address that is no proxy's; further ones are closed.
    pub connections: usize,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self { trusted_proxies: Vec::new(), connections: 10_000 }
    }
}

/// What every handler shares.
#[derive(Clone)]
struct App {
    manager: Arc<Manager>,
    metrics: PrometheusHandle,
    limits: Arc<Limits>,
    proxies: Arc<Proxies>,
}

type AppState = State<App>;

impl App {
    /// Whether this node is draining.
    fn is_draining(&self) -> bool {
        self.manager.node().is_some_and(|node| node.is_draining())
    }
}

/// The routes over a running node, for a server of the embedder's own. It should tell the peer
/// (`into_make_service_with_connect_info`): what is limited by client address is not limited otherwise.
pub fn router(manager: Arc<Manager>) -> Router {
    router_with(manager, &ServeOptions::default())
}

fn router_with(manager: Arc<Manager>, options: &ServeOptions) -> Router {
    let (router, _) = routes::all().split_for_parts();
    #[cfg(feature = "console")]
    let router = router.merge(console::routes());
    let app = App {
        manager,
        metrics: recorder(),
        limits: Arc::default(),
        proxies: Arc::new(Proxies::new(options.trusted_proxies.clone())),
    };
    router
        .fallback(|| async {
            Problem::new(404, "not_found", "There is nothing at this path.", "See /openapi.json for the paths.")
        })
        .method_not_allowed_fallback(|| async {
            Problem::new(405, "method_not_allowed", "This path does not answer this method.", "See the Allow header.")
        })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn_with_state(app.clone(), limit))
        .layer(from_fn(measure))
        .layer(SetResponseHeaderLayer::if_not_present(header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .layer(SetResponseHeaderLayer::if_not_present(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")))
        .layer(CatchPanicLayer::custom(|_| Problem::internal().into()))
        .layer(from_fn_with_state(app.clone(), keep_to_tls))
        .with_state(app)
}

/// Keeps browsers to TLS that came over it. Over plain HTTP the header is forbidden (RFC 6797), and this server speaks nothing
/// else: only a trusted proxy knows. What a proxy asks for itself it may hand on, under the name of the application: `/v1/auth`
/// promises nothing for that.
async fn keep_to_tls(State(app): AppState, request: Request, next: Next) -> Response {
    let tls = request.uri().path() != "/v1/auth" && app.proxies.say_tls(&request);
    let mut response = next.run(request).await;
    if tls {
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(STRICT));
    }
    response
}

/// Serves until `stop` is done, then finishes what is in flight and leaves the cluster.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    manager: Arc<Manager>,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    serve_with(manager, listener, stop, ServeOptions::default()).await
}

/// The same with other options.
///
/// # Errors
/// As [`serve`].
pub async fn serve_with(
    manager: Arc<Manager>,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
    options: ServeOptions,
) -> std::io::Result<()> {
    let draining = Arc::clone(&manager);
    let upkeep = recorder();
    let upkeep = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            upkeep.run_upkeep();
        }
    });
    let (stopping, stopped) = oneshot::channel();
    let router = router_with(Arc::clone(&manager), &options);
    let proxies = Proxies::new(options.trusted_proxies);
    let serving = listen::listen(listener, router, options.connections, &proxies, async move {
        stop.await;
        if let Some(node) = draining.node() {
            node.drain();
        }
        // Still accepting: a load balancer learns from /readyz, not from a refused connection.
        tokio::time::sleep(FAREWELL_TIME).await;
        let _ = stopping.send(());
    });
    tokio::select! {
        () = serving => {}
        () = patience(stopped) => tracing::warn!("some connections did not finish in time and were cut"),
    }
    upkeep.abort();
    let left = tokio::time::timeout(LEAVE_TIME, manager.drain()).await;
    if let Err(error) = left.unwrap_or_else(|late| Err(crate::Error::unavailable(late))) {
        tracing::warn!(%error, "the node could not leave the registry; it will be found silent");
    }
    Ok(())
}

/// Ends when the stop has lasted too long.
async fn patience(stopped: oneshot::Receiver<()>) {
    match stopped.await {
        Ok(()) => tokio::time::sleep(STOP_TIME).await,
        Err(_) => std::future::pending().await,
    }
}

/// The process's recorder of metrics, installed once.
fn recorder() -> PrometheusHandle {
    static HANDLE: std::sync::OnceLock<PrometheusHandle> = std::sync::OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let recorder = PrometheusBuilder::new().build_recorder();
            let handle = recorder.handle();
            // An embedder may have a recorder of its own; then /metrics shows nothing of ours.
            let _ = metrics::set_global_recorder(recorder);
            handle
        })
        .clone()
}

/// Refuses headers that are too large (12), and answers for a request that takes too long.
async fn limit(State(app): AppState, request: Request, next: Next) -> Response {
    app.proxies.report_ignored(&request);
    let size: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if size > HEADER_LIMIT {
        return Problem::new(431, "headers_too_large", "The headers are larger than 16 KiB.", "Send less.").into();
    }
    let path = request.uri().path();
    let changes = ["/v1/users/", "/v1/properties/", "/v1/sessions/terminate", "/console/"];
    let change = !request.method().is_safe() && changes.iter().any(|place| path.starts_with(place));
    let time = if change { CHANGE_TIME } else { REQUEST_TIME };
    tokio::time::timeout(time, next.run(request)).await.unwrap_or_else(|_| {
        tracing::warn!(seconds = time.as_secs(), "a request took too long and was given up");
        Problem::unavailable().into()
    })
}

async fn measure(path: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let route = path.map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    // Any word is a method to HTTP; a label has to come from a short list.
    let method = match *request.method() {
        Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::PATCH | Method::DELETE => request.method().to_string(),
        _ => "other".to_owned(),
    };
    let started = Instant::now();
    let response = next.run(request).await;
    let labels = [("route", route), ("method", method), ("status", response.status().as_u16().to_string())];
    metrics::histogram!("tenure_http_request_seconds", &labels).record(started.elapsed().as_secs_f64());
    response
}

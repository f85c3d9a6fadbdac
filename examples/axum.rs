//! An application that keeps its sessions in Tenure, as a library: no process beside it, no HTTP in between.
//!
//! Any number of these processes share one database. Each is a node: it checks from its own memory while that may be trusted,
//! and what ends on one is refused by all. With a database that `tenure migrate` has prepared:
//!
//! ```sh
//! tenure users create abel.tuter
//! cargo run --example axum -- 127.0.0.1:3001 app-1 &
//! cargo run --example axum -- 127.0.0.1:3002 app-2 &
//! curl -i -c jar 127.0.0.1:3001/sign-in -H 'Content-Type: application/json' -d '{"user":"abel.tuter"}'
//! curl -i -b jar 127.0.0.1:3002/                   # signed in on app-1, served by app-2
//! curl -i -b jar -X POST 127.0.0.1:3002/sign-out   # returns when no node accepts the old token any more
//! curl -i -b jar 127.0.0.1:3001/                   # 401, "reason":"signed_out"
//! kill %1 %2                                       # both write what they counted and leave the registry
//! ```
//!
//! `DATABASE_URL` names the database. Behind a proxy that speaks TLS, say `HTTPS=1`: cookies are then safe to use.

use std::env;
use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tenure::input::CreateSession;
use tenure::{Actor, CheckOptions, ConnectSettings, Manager, Registration, Store, Verdict};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Who acts, in the audit trail.
const APP: Actor<'_> = Actor("example");

#[derive(Clone)]
struct App {
    sessions: Arc<Manager>,
    https: bool,
}

/// A handler that takes this runs only for somebody who is signed in. The check counts as activity and so keeps the session.
struct SignedIn {
    session: uuid::Uuid,
    user: String,
    seconds_left: i64,
}

impl FromRequestParts<App> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let token = app.token(&parts.headers).map_err(IntoResponse::into_response)?;
        // Memory first: a map look-up, without a lock or an await. It only ever says yes; whatever it cannot say is asked below.
        let (session, user, seconds_left) = match app.sessions.check_now(token, None) {
            Some(hit) => (hit.id, hit.user().map(str::to_owned), hit.seconds_left()),
            None => match app.sessions.check(token, None, CheckOptions::default(), APP).await {
                Ok(Verdict::Live(checked)) => (checked.session.id, checked.session.user, checked.seconds_left),
                // Whoever holds the right token learns why the session ended, and what to do about it.
                Ok(Verdict::Over(over)) => {
                    return Err(signed_out(json!({ "reason": over.ending.reason.as_str(), "action": over.action })));
                }
                Ok(Verdict::TokenExpired | Verdict::Unknown) => return Err(signed_out(json!({ "reason": "unknown_token" }))),
                Err(error) => return Err(failed(&error)),
            },
        };
        // A guest has a session and no name.
        let user = user.ok_or_else(|| signed_out(json!({ "reason": "guest" })))?;
        Ok(Self { session, user, seconds_left })
    }
}

/// The only answer that means "sign in again".
fn signed_out(why: Value) -> Response {
    (StatusCode::UNAUTHORIZED, Json(why)).into_response()
}

/// PostgreSQL away says nothing about the session: the client keeps its cookie and asks again. Never a 401.
fn failed(error: &tenure::Error) -> Response {
    let code = Json(json!({ "code": error.code() }));
    match error.refusal() {
        Some(refusal) => (StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST), code).into_response(),
        None if error.is_unavailable() => (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], code).into_response(),
        None => (StatusCode::INTERNAL_SERVER_ERROR, code).into_response(),
    }
}

impl App {
    /// `__Host-` makes the browser take the cookie only over TLS, from this very host and for every path, so that no
    /// neighbouring host can plant one. Over plain HTTP, on a developer's machine, browsers would drop it.
    fn cookie_name(&self) -> &'static str {
        if self.https { "__Host-session" } else { "session" }
    }

    /// `HttpOnly`: no script reads it. `SameSite`: no other site's form sends it. No `Max-Age`: when the session ends is decided
    /// by the store; the browser forgets the cookie when it is closed.
    fn cookie(&self, token: &str, more: &str) -> [(header::HeaderName, String); 1] {
        let secure = if self.https { "; Secure" } else { "" };
        [(header::SET_COOKIE, format!("{}={token}; Path=/; HttpOnly; SameSite=Lax{secure}{more}", self.cookie_name()))]
    }

    /// The one token of a request, from the cookie or `Authorization: Bearer`. Two of them are a sign of trouble: neither is used.
    fn token<'a>(&self, headers: &'a HeaderMap) -> Result<&'a str, (StatusCode, Json<Value>)> {
        let text = |name| headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        let cookies = text(header::COOKIE)
            .flat_map(|cookies| cookies.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('=').filter(|(name, _)| *name == self.cookie_name()));
        let bearers = text(header::AUTHORIZATION).filter_map(|value| value.split_once(' '));
        let mut tokens =
            cookies.chain(bearers.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))).map(|(_, token)| token);
        match (tokens.next(), tokens.next()) {
            (Some(token), None) => Ok(token),
            (None, _) => Err((StatusCode::UNAUTHORIZED, Json(json!({ "reason": "no_session" })))),
            (Some(_), Some(_)) => Err((StatusCode::BAD_REQUEST, Json(json!({ "code": "two_tokens" })))),
        }
    }
}

#[derive(serde::Deserialize)]
struct SignIn {
    user: String,
}

/// Checking a password is the application's own: Tenure begins the session of whoever it names, if that user may have one.
async fn sign_in(State(app): State<App>, Json(form): Json<SignIn>) -> Result<impl IntoResponse, Response> {
    let new = CreateSession { kind: "user".into(), user: Some(form.user), ..CreateSession::default() };
    let new = new.validate().map_err(|error| failed(&error))?;
    // Always a new token, made after the sign-in: one that an attacker planted before is worth nothing.
    let created = app.sessions.create(&new, APP).await.map_err(|error| failed(&error))?;
    Ok((app.cookie(created.token.reveal(), ""), Json(json!({ "expires_at": created.session.expires_at }))))
}

async fn sign_out(State(app): State<App>, who: SignedIn) -> Result<impl IntoResponse, Response> {
    // Waits for the barrier: milliseconds, or two seconds while some node does not answer. It leaves a guest session, whose
    // token an application with something for guests would now set; this one has nothing for them and clears the cookie.
    let left = app.sessions.sign_out(who.session, APP).await.map_err(|error| failed(&error))?;
    Ok((app.cookie("", "; Max-Age=0"), Json(json!({ "barrier": left.barrier }))))
}

async fn home(who: SignedIn) -> Json<Value> {
    Json(json!({ "user": who.user, "seconds_left": who.seconds_left }))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let listen = arguments.next().unwrap_or_else(|| "127.0.0.1:3001".to_owned());
    let name = arguments.next().unwrap_or_else(|| "app-1".to_owned());

    let mut settings = ConnectSettings::new(env::var("DATABASE_URL")?, &name);
    // For a server whose data nobody would miss.
    settings.allow_lossy = env::var_os("TENURE_ALLOW_LOSSY_DATABASE").is_some();
    let store = Store::connect(&settings).await?;
    store.check_schema().await?;
    let listener = TcpListener::bind(&listen).await?;
    // From here on this process is in the registry, and `tenure nodes list` shows it.
    let sessions = Arc::new(Manager::start(store, Registration { name, address: None }).await?);

    let app = App { sessions: Arc::clone(&sessions), https: env::var_os("HTTPS").is_some() };
    let routes = Router::new().route("/", get(home)).route("/sign-in", post(sign_in)).route("/sign-out", post(sign_out));
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    axum::serve(listener, routes.with_state(app))
        .with_graceful_shutdown(async move {
            tokio::select! { _ = interrupt.recv() => {} _ = terminate.recv() => {} }
        })
        .await?;
    // No request is in flight any more. Without this, up to two seconds of activity would be lost, and barriers of other nodes
    // would wait for this one until it is found silent.
    sessions.drain().await?;
    Ok(())
}

//! The script for pages in a real browser; `make test-browser` runs it. The page has a strict policy, so whatever the script
//! shows here it shows without inline code.

mod answers;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Query;
use axum::http::header::{CONTENT_SECURITY_POLICY, SET_COOKIE};
use axum::response::Html;
use axum::routing::get;
use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use crate::support::{Api, Browser, send};

const ENTER: char = '\u{e007}';
const ESCAPE: char = '\u{e00c}';
const PROMPT: &str = "document.querySelector('dialog.tenure-prompt[open]') !== null";
const NO_DIALOG: &str = "document.querySelector('dialog') === null";
const SOON: Duration = Duration::from_secs(30);

/// A node and pages of the same origin; its address.
async fn site(api: &Api) -> String {
    let page = || async {
        let policy = "default-src 'none'; script-src 'self'; connect-src 'self'";
        let body = "<!doctype html><html lang='en'><head><title>Orders</title>\
            <script src='/client.js' defer data-login-url='/login'></script></head><body><h1>Orders</h1></body></html>";
        ([(CONTENT_SECURITY_POLICY, policy)], Html(body))
    };
    // Stands for the application's sign-in.
    let enter = |Query(query): Query<Vec<(String, String)>>| async move {
        let token = query.into_iter().map(|(_, token)| token).next().unwrap_or_default();
        ([(SET_COOKIE, format!("__Host-tenure={token}; Path=/; Secure; HttpOnly; SameSite=Lax"))], Html("Welcome"))
    };
    let pages = Router::new()
        .route("/page", get(page))
        .route("/login", get(|| async { Html("<h1>Sign in</h1>") }))
        .route("/enter", get(enter));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let app = tenure::server::router(Arc::clone(&api.node.manager)).merge(pages);
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// What the page learns when it asks now.
async fn state(browser: &Browser) -> Value {
    let state = browser.value("Tenure.ask()").await;
    assert!(state["seconds_left"].is_i64(), "{state}");
    state
}

/// Moves the clock so that the session has so many seconds left, and lets the page know.
async fn leave(api: &Api, browser: &Browser, seconds: i64) {
    let left = state(browser).await["seconds_left"].as_i64().unwrap();
    api.db.advance(TimeDelta::seconds(left - seconds)).await;
    state(browser).await;
}

async fn until_address(browser: &Browser, address: &str) {
    let begun = Instant::now();
    while browser.address().await != address {
        assert!(begun.elapsed() < SOON, "{} is not {address}", browser.address().await);
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
#[ignore = "needs Chromium: make test-browser"]
async fn rule_a10_the_dialog_comes_in_time_and_decides() {
    let api = Api::start().await;
    api.db.user("abel.tuter").await;
    let (_, token) = api.create(&json!({"kind": "user", "user": "abel.tuter"})).await;
    let site = site(&api).await;
    let browser = Browser::start().await;
    browser.open(&format!("{site}/enter?token={token}")).await;
    browser.open(&format!("{site}/page")).await;
    assert_eq!(state(&browser).await["session"]["user"], "abel.tuter");
    assert_eq!(browser.value(NO_DIALOG).await, true);

    // Two minutes before the end it comes by itself, and the keyboard is enough to extend.
    leave(&api, &browser, 124).await;
    assert_eq!(browser.value(NO_DIALOG).await, true, "too early");
    browser.until(PROMPT, SOON).await;
    let text = browser.value("document.querySelector('.tenure-text').textContent").await;
    assert!(text.as_str().unwrap().starts_with("Your session ends in 1"), "{text}");
    let labelled = "(d => d.getAttribute('role') === 'alertdialog' && document.getElementById(d.getAttribute('aria-labelledby'))\
        .textContent === 'Extend your session' && document.activeElement.textContent === 'Extend')(document.querySelector('dialog'))";
    assert_eq!(browser.value(labelled).await, true);
    browser.press(ENTER).await;
    browser.until(NO_DIALOG, SOON).await;
    browser.until("Tenure.ask().then(state => state.seconds_left > 1780)", SOON).await;

    // K0: two windows are one session; extended in one, the other's dialog goes.
    let first = browser.windows().await[0].clone();
    let second = browser.tab().await;
    browser.open(&format!("{site}/page")).await;
    leave(&api, &browser, 60).await;
    browser.until(PROMPT, SOON).await;
    browser.switch(&first).await;
    browser.until(PROMPT, SOON).await;
    browser.press(ENTER).await;
    browser.until(NO_DIALOG, SOON).await;
    browser.switch(&second).await;
    browser.until(NO_DIALOG, SOON).await;

    // Who ignores it, dismissed or not, is at the sign-in page when it is over, with the reason.
    leave(&api, &browser, 6).await;
    browser.until(PROMPT, SOON).await;
    browser.press(ESCAPE).await;
    browser.until(NO_DIALOG, SOON).await;
    assert_eq!(browser.address().await, format!("{site}/page"));
    for window in [&second, &first] {
        browser.switch(window).await;
        until_address(&browser, &format!("{site}/login?reason=idle")).await;
    }
}

#[tokio::test]
#[ignore = "needs Chromium: make test-browser"]
async fn rule_k4_signing_out_in_one_window_ends_it_in_all() {
    let api = Api::start().await;
    api.db.user("abel.tuter").await;
    let (_, token) = api.create(&json!({"kind": "user", "user": "abel.tuter"})).await;
    let site = site(&api).await;
    let browser = Browser::start().await;
    browser.open(&format!("{site}/enter?token={token}")).await;
    browser.open(&format!("{site}/page")).await;
    state(&browser).await;
    let first = browser.windows().await[0].clone();
    browser.tab().await;
    browser.open(&format!("{site}/page")).await;
    state(&browser).await;
    let left = browser.value("Tenure.signOut()").await;
    assert_eq!((&left["session"]["end_reason"], &left["guest"]["residue"]), (&json!("signed_out"), &json!(true)));
    assert_eq!(browser.address().await, format!("{site}/page"), "where to go is the page's to say");
    assert_eq!(state(&browser).await["session"]["id"], left["guest"]["id"]);
    browser.switch(&first).await;
    until_address(&browser, &format!("{site}/login?reason=signed_out")).await;
    assert_eq!(browser.value("document.cookie").await, "", "no script reads the token");
}

#[tokio::test]
#[ignore = "needs Chromium: make test-browser"]
async fn rule_e1_a_request_that_met_an_ended_session_is_sent_again_or_not() {
    let api = Api::start().await;
    api.db.user("abel.tuter").await;
    let sign_in = json!({"kind": "user", "user": "abel.tuter", "remember_me": true});
    let (_, token) = api.create(&sign_in).await;
    let site = site(&api).await;
    let browser = Browser::start().await;
    browser.open(&format!("{site}/enter?token={token}")).await;
    browser.open(&format!("{site}/page")).await;
    let request = "Tenure.fetch('/v1/auth').then(answer => { window.status_seen = answer.status })";

    // As it is by default: it says that it ended, and sends nothing again.
    state(&browser).await;
    api.db.advance(TimeDelta::days(16)).await;
    browser.run(request).await;
    browser.until("document.querySelector('dialog.tenure-ended[open]') !== null && window.status_seen === 401", SOON).await;
    browser.press(ENTER).await;
    until_address(&browser, &format!("{site}/login?reason=remember_me")).await;

    // With auto-resubmit it asks, waits for the sign-in in the pop-up, and sends the request again.
    api.put("/v1/properties/glide.security.auto.resubmit.ajax", &json!({"value": "true"})).await.expect(200);
    let (_, token) = api.create(&sign_in).await;
    browser.open(&format!("{site}/enter?token={token}")).await;
    browser.open(&format!("{site}/page")).await;
    state(&browser).await;
    api.db.advance(TimeDelta::days(16)).await;
    browser.run(request).await;
    browser.until("document.querySelector('dialog.tenure-continue[open]') !== null", SOON).await;
    let page = browser.windows().await[0].clone();
    browser.press(ENTER).await;
    let begun = Instant::now();
    let popup = loop {
        if let Some(popup) = browser.windows().await.into_iter().find(|window| *window != page) {
            break popup;
        }
        assert!(begun.elapsed() < SOON, "no pop-up opens");
        sleep(Duration::from_millis(50)).await;
    };
    let (_, token) = api.create(&sign_in).await;
    browser.switch(&popup).await;
    until_address(&browser, &format!("{site}/login?reason=remember_me")).await;
    browser.open(&format!("{site}/enter?token={token}")).await;
    browser.switch(&page).await;
    browser.until("window.status_seen === 200", SOON).await;
    assert_eq!(browser.windows().await.len(), 1, "the pop-up closes");
}

#[tokio::test]
#[ignore = "needs Chromium: make test-browser"]
async fn rule_x3_a_page_says_once_when_maintenance_ends_the_session() {
    const NOTICE: &str = "document.querySelector('dialog.tenure-maintenance[open]') !== null";
    let api = Api::start().await;
    api.db.user("abel.tuter").await;
    let (_, token) = api.create(&json!({"kind": "user", "user": "abel.tuter"})).await;
    let site = site(&api).await;
    let browser = Browser::start().await;
    browser.open(&format!("{site}/enter?token={token}")).await;
    browser.open(&format!("{site}/page")).await;
    state(&browser).await;
    let announce = async |ahead: TimeDelta| {
        let at = api.db.now().await + ahead;
        let value = at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        api.put("/v1/properties/tenure.maintenance_at", &json!({ "value": value })).await.expect(200);
        state(&browser).await;
        browser.until(NOTICE, SOON).await;
        value
    };
    let later = announce(TimeDelta::days(2)).await;
    let text = browser.value("document.querySelector('.tenure-text').textContent").await;
    let expected = browser.value(&format!("`Your session ends at ${{new Date('{later}').toLocaleString()}}.`")).await;
    assert_eq!(text, expected, "with the date, since it is another day");
    browser.press(ENTER).await;
    browser.until(NO_DIALOG, SOON).await;
    // Neither the next answer nor the next page says it again; another instant does.
    state(&browser).await;
    assert_eq!(browser.value(NO_DIALOG).await, true, "said once");
    browser.open(&format!("{site}/page")).await;
    state(&browser).await;
    assert_eq!(browser.value(NO_DIALOG).await, true, "said once in a tab");
    announce(TimeDelta::minutes(10)).await;
    browser.press(ENTER).await;
    browser.until(NO_DIALOG, SOON).await;
    leave(&api, &browser, 3).await;
    until_address(&browser, &format!("{site}/login?reason=maintenance")).await;
}

/// The logged in users at the console of a node, for somebody signed in by password.
pub async fn console(api: &Api, browser: &Browser) {
    let password = json!({"password": "correct horse battery"});
    api.put("/v1/users/abel.tuter", &json!({"roles": ["admin"]})).await;
    api.put("/v1/users/abel.tuter/password", &password).await.expect(200);
    browser.open(&format!("{}/console", api.node.url)).await;
    browser.run("document.getElementById('user').value = 'abel.tuter'").await;
    browser.run("document.getElementById('password').value = 'correct horse battery'").await;
    browser.run("document.querySelector('form').requestSubmit()").await;
    until_address(browser, &format!("{}/console/overview", api.node.url)).await;
    browser.open(&format!("{}/console/sessions", api.node.url)).await;
    api.node.manager.flush().await.unwrap();
}

#[tokio::test]
#[ignore = "needs Chromium: make test-browser"]
async fn rule_c1_the_console_shows_sessions_come_and_go_by_itself() {
    let api = Api::start().await;
    let other = api.another("node-2").await;
    let browser = Browser::start().await;
    console(&api, &browser).await;
    let lines = |count: usize| format!("document.querySelectorAll('#lines tr').length === {count}");
    browser.until(&lines(1), SOON).await;
    // The style of the page is applied, and nothing of it was stopped by its own policy.
    assert_eq!(browser.value("getComputedStyle(document.querySelector('table')).borderCollapse").await, "collapse");

    // A session of another node appears, what is selected and focused stays, and its end shows.
    browser.run("const box = document.querySelector('#lines input'); box.click(); box.focus()").await;
    let create = json!({"kind": "guest", "client_address": "203.0.113.7"});
    let created = send(api.to(&other, Method::POST, "/v1/sessions").json(&create)).await.expect(201);
    browser.until(&lines(2), SOON).await;
    let kept =
        "document.activeElement.name === 'id' && document.activeElement.checked && document.getElementById('all').indeterminate";
    assert_eq!(browser.value(kept).await, true);
    let id = created["session"]["id"].as_str().unwrap();
    send(api.to(&other, Method::DELETE, &format!("/v1/sessions/{id}"))).await.expect(200);
    browser.until(&lines(1), SOON).await;

    // Paused, it stays as it is.
    browser.run("document.getElementById('pause').click()").await;
    api.create(&create).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(browser.value(&lines(1)).await, true);
    browser.run("document.getElementById('pause').click()").await;
    browser.until(&lines(2), SOON).await;

    // By keyboard: the button of the first line, then "Terminate", then the receipt.
    browser.run("document.querySelector('#lines button').focus()").await;
    browser.press(ENTER).await;
    browser.until("document.querySelector('h1').textContent === 'Terminate this session?'", SOON).await;
    browser.run("document.querySelector('button[name=sure]').focus()").await;
    browser.press(ENTER).await;
    browser.until("document.querySelector('h1').textContent === '1 session terminated'", SOON).await;
    assert_eq!(browser.value("document.querySelectorAll('tbody tr').length").await, 2, "both nodes acknowledged");
}

#[tokio::test]
#[ignore = "needs Chromium: make test-browser"]
async fn rule_c1_a_session_of_another_node_appears_within_a_second() {
    /// Of a busy machine one slow answer says nothing; a page that only looks now and then is slow every time.
    const TRIES: u32 = 10;
    let api = Api::start().await;
    let other = api.another("node-2").await;
    let browser = Browser::start().await;
    console(&api, &browser).await;
    // By the browser's own clock, from before the other node is asked until the line is in the page.
    browser
        .run("new MutationObserver(() => { window.changed = performance.now() }).observe(document.getElementById('lines'), { childList: true })")
        .await;
    let mut took = Vec::new();
    for n in 1..=TRIES {
        let begun = browser.value("performance.now()").await.as_f64().unwrap();
        send(api.to(&other, Method::POST, "/v1/sessions").json(&json!({"kind": "guest"}))).await.expect(201);
        browser.until(&format!("document.querySelectorAll('#lines tr').length === {}", 1 + n), SOON).await;
        took.push(browser.value("window.changed").await.as_f64().unwrap() - begun);
        if took.last().is_some_and(|took| *took < 1_000.0) {
            break;
        }
    }
    eprintln!("a session made through another node appeared after {took:.0?} ms");
    assert!(took.iter().any(|took| *took < 1_000.0), "after {took:.0?} ms");
}

#[tokio::test]
#[ignore = "needs Chromium: make test-browser"]
async fn rule_u5_who_is_terminated_is_at_the_sign_in_page_with_the_reason() {
    let api = Api::start().await;
    let browser = Browser::start().await;
    console(&api, &browser).await;
    // The console asks for more time as every page does.
    browser.until("window.Tenure !== undefined", SOON).await;
    leave(&api, &browser, 60).await;
    browser.until(PROMPT, SOON).await;
    browser.press(ENTER).await;
    browser.until(NO_DIALOG, SOON).await;
    let sessions = api.get("/v1/sessions").await.expect(200);
    let id = sessions["items"][0]["id"].as_str().unwrap();
    api.delete(&format!("/v1/sessions/{id}")).await.expect(200);
    until_address(&browser, &format!("{}/console/sign-in?reason=terminated", api.node.url)).await;
    let said = browser.value("document.querySelector('[role=status]').textContent").await;
    assert_eq!(said, "An administrator terminated this session. You are not locked out.");
}

#[tokio::test]
#[ignore = "needs Chromium: make test-browser"]
async fn rule_x1_the_page_of_a_session_shows_its_end_by_itself() {
    let api = Api::start().await;
    let browser = Browser::start().await;
    console(&api, &browser).await;
    let (session, _) = api.create(&json!({"kind": "guest"})).await;
    let id = session["id"].as_str().unwrap();
    browser.open(&format!("{}/console/sessions/{id}", api.node.url)).await;
    // The bar of the limit that binds is drawn in the accent, by the style and not by itself.
    let filled = "getComputedStyle(document.querySelector('rect.binds')).fill !== getComputedStyle(document.body).color";
    browser.until(filled, SOON).await;
    api.delete(&format!("/v1/sessions/{id}")).await.expect(200);
    browser.until("document.getElementById('explanation').textContent.includes('Terminated, by tests')", SOON).await;
    browser.until("document.querySelectorAll('#events li').length === 2", SOON).await;
    // What it offers is what can be done.
    browser.until("document.getElementById('why').textContent === 'How it ended'", SOON).await;
    browser.until("document.querySelector('#ending button') === null", SOON).await;
}

/// What axe-core finds wrong with the page that shows.
async fn faults_of(browser: &Browser) -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/target/axe/node_modules/axe-core/axe.min.js");
    browser.run(&std::fs::read_to_string(folder).expect("run scripts/install-axe.sh, or make test-browser")).await;
    let rules = "{ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }";
    let found = "violations.map(found => `${found.id}: ${found.nodes.map(node => node.html).join(' ')}`)";
    let found = browser.value(&format!("axe.run(document, {rules}).then(({{ violations }}) => {found})")).await;
    serde_json::from_value(found).unwrap()
}

#[tokio::test]
#[ignore = "needs Chromium: make test-browser"]
async fn every_page_of_the_console_is_accessible_in_both_themes_and_needs_nothing_its_policy_forbids() {
    let api = Api::start().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/console/sign-in?reason=terminated", api.node.url)).await;
    assert_eq!(faults_of(&browser).await, [""; 0]);
    console(&api, &browser).await;
    api.db.user("bow.ruggeri").await;
    api.put("/v1/oauth-entities/Kiosk", &json!({})).await.expect(201);
    let (session, _) = api.create(&json!({"kind": "user", "user": "bow.ruggeri", "user_agent": "curl/8"})).await;
    let session = format!("/console/sessions/{}", session["id"].as_str().unwrap());
    for path in [
        "/console/overview",
        "/console/sessions",
        "/console/sessions?address=nonsense",
        &session,
        "/console/users",
        "/console/user?name=bow.ruggeri",
        "/console/users/new",
        "/console/properties",
        "/console/property?name=glide.ui.session_timeout",
        "/console/property?name=glide.ui.session_timeout&value=15",
        "/console/property?name=glide.ui.session_timeout&value=0",
        "/console/keys",
        "/console/entities",
        "/console/entities/new",
        "/console/entity?name=Kiosk",
        "/console/nodes",
        "/console/audit",
        "/console/nothing",
    ] {
        for dark in [false, true] {
            browser.prefer_dark(dark).await;
            browser.open(&format!("{}{path}", api.node.url)).await;
            assert_eq!(faults_of(&browser).await, [""; 0], "{path}, dark: {dark}");
            assert_eq!(browser.stopped_by_policy().await, [""; 0], "{path}");
        }
    }
    // The log does name what a policy stops.
    browser.run("document.body.setAttribute('style', 'color: red')").await;
    browser
        .run("document.body.append(Object.assign(document.createElement('style'), { textContent: 'p { color: red }' }))")
        .await;
    assert!(!browser.stopped_by_policy().await.is_empty(), "the check itself");
}

/// Another browser at the page of an application, signed in as this user.
async fn elsewhere(api: &Api, site: &str, user: &str) -> (Browser, String) {
    let (session, token) = api.create(&json!({"kind": "user", "user": user, "client_address": "203.0.113.7"})).await;
    let browser = Browser::start().await;
    browser.open(&format!("{site}/enter?token={token}")).await;
    browser.open(&format!("{site}/page")).await;
    assert_eq!(state(&browser).await["session"]["user"], user);
    (browser, session["id"].as_str().unwrap().to_owned())
}

/// Presses a button by its text, as the keyboard does.
async fn press(browser: &Browser, text: &str) {
    let button = format!("[...document.querySelectorAll('button')].find(button => button.textContent === '{text}')");
    browser.until(&format!("{button} !== undefined"), SOON).await;
    browser.run(&format!("{button}.focus()")).await;
    browser.press(ENTER).await;
}

async fn until_heading(browser: &Browser, heading: &str) {
    browser.until(&format!("document.querySelector('h1')?.textContent === '{heading}'"), SOON).await;
}

#[tokio::test]
#[ignore = "needs Chromium: make test-browser"]
async fn rule_u5_and_u1_what_is_done_in_the_console_reaches_the_other_browser() {
    let api = Api::start().await;
    let site = site(&api).await;
    let browser = Browser::start().await;
    console(&api, &browser).await;
    api.db.user("bow.ruggeri").await;

    // One session is terminated: with the next thing it asks its page leads to the sign-in page with the reason, and signing in again is possible.
    let (other, id) = elsewhere(&api, &site, "bow.ruggeri").await;
    browser.until(&format!("document.getElementById('s-{id}') !== null"), SOON).await;
    browser.run(&format!("document.querySelector('#s-{id} button').focus()")).await;
    browser.press(ENTER).await;
    until_heading(&browser, "Terminate this session?").await;
    press(&browser, "Terminate").await;
    until_heading(&browser, "1 session terminated").await;
    other.run("Tenure.ask()").await;
    until_address(&other, &format!("{site}/login?reason=terminated")).await;
    drop(other);

    // A lock-out ends what the user has, and signing in again is refused.
    let (other, _) = elsewhere(&api, &site, "bow.ruggeri").await;
    browser.open(&format!("{}/console/user?name=bow.ruggeri", api.node.url)).await;
    press(&browser, "Lock out…").await;
    until_heading(&browser, "Lock out: bow.ruggeri?").await;
    let said = browser.value("document.querySelector('main li').textContent").await;
    assert_eq!(said, "1 session on 1 node will end.");
    press(&browser, "Lock out").await;
    until_heading(&browser, "Lock out: bow.ruggeri").await;
    other.run("Tenure.ask()").await;
    until_address(&other, &format!("{site}/login?reason=locked_out")).await;
    api.post("/v1/sessions", &json!({"kind": "user", "user": "bow.ruggeri"})).await.refused(403, "user_locked_out");
}

#[tokio::test]
#[ignore = "needs Chromium: make test-browser"]
async fn rule_x2_a_time_out_is_tried_while_it_is_typed_then_set_and_takes_effect() {
    let api = Api::start().await;
    let site = site(&api).await;
    api.db.user("bow.ruggeri").await;
    let browser = Browser::start().await;
    console(&api, &browser).await;
    let (other, _) = elsewhere(&api, &site, "bow.ruggeri").await;
    let left = state(&other).await["seconds_left"].as_i64().unwrap();
    browser.open(&format!("{}/console/property?name=glide.ui.session_timeout", api.node.url)).await;
    let shown = |text: &str| format!("document.getElementById('preview').textContent.includes('{text}')");
    browser.run("document.getElementById('value').select()").await;
    browser.write("0").await;
    browser.until("document.getElementById('value').getAttribute('aria-invalid') === 'true'", SOON).await;
    assert_eq!(browser.value("document.querySelector('button.main') === null").await, true, "nothing to press");
    browser.run("document.getElementById('value').select()").await;
    browser.write("15").await;
    browser.until(&shown("2 sessions end earlier than they would have."), SOON).await;
    press(&browser, "Set to 15 minutes").await;
    browser.until("document.getElementById('result')?.textContent.startsWith('It is 15 minutes now')", SOON).await;
    let less = state(&other).await["seconds_left"].as_i64().unwrap();
    assert!(left > 1_000 && less <= 900, "half an hour before, a quarter of an hour now: {left} {less}");
    leave(&api, &other, 3).await;
    until_address(&other, &format!("{site}/login?reason=idle")).await;
}

#[tokio::test]
#[ignore = "needs Chromium: make test-browser"]
async fn rule_a3_to_a6_what_a_page_does_by_itself_counts_as_the_property_says() {
    let api = Api::start().await;
    api.db.user("abel.tuter").await;
    let site = site(&api).await;
    let sign_in = json!({"kind": "user", "user": "abel.tuter", "homepage_refresh_minutes": 5});
    let browser = Browser::start().await;
    for (extends, refreshed) in [("true", true), ("false", false)] {
        api.put("/v1/properties/glide.ui.auto_req.extend.session", &json!({ "value": extends })).await.expect(200);
        let (_, token) = api.create(&sign_in).await;
        browser.open(&format!("{site}/enter?token={token}")).await;
        browser.open(&format!("{site}/page")).await;
        let whole = state(&browser).await["seconds_left"].as_i64().unwrap();
        let after = async |activity: &str| {
            let asked = browser.value(&format!("Tenure.report('{activity}')")).await;
            asked["seconds_left"].as_i64().expect(activity)
        };
        api.db.advance(TimeDelta::minutes(10)).await;
        api.node.manager.barrier().await;
        // Ten minutes passed: a refresh gives back five of them, or nothing.
        let left = after("auto_refresh").await;
        let lost = if refreshed { 300 } else { 600 };
        assert!((whole - left - lost).abs() < 120, "{extends}: {whole} {left}");
        // What a person does, and ajax, give back all.
        let left = after("ajax").await;
        assert!((whole - left).abs() < 120, "{extends}: {whole} {left}");
    }
}

#[tokio::test]
#[ignore = "needs Chromium: make test-browser"]
async fn everything_that_can_be_pressed_or_typed_into_is_reached_by_the_tab_key() {
    const TAB: char = '\u{e004}';
    let api = Api::start().await;
    let browser = Browser::start().await;
    console(&api, &browser).await;
    api.put("/v1/users/bow.ruggeri", &json!({})).await;
    let (session, _) = api.create(&json!({"kind": "user", "user": "bow.ruggeri"})).await;
    let session = format!("/console/sessions/{}", session["id"].as_str().unwrap());
    for path in [
        "/console/overview",
        "/console/sessions?kind=user",
        &session,
        "/console/users",
        "/console/user?name=bow.ruggeri",
        "/console/property?name=glide.ui.session_timeout&value=15",
        "/console/audit",
        "/console/keys",
    ] {
        browser.open(&format!("{}{path}", api.node.url)).await;
        // The page stays as it is, so that what was counted is what is reached; what is folded is unfolded.
        browser.run("document.getElementById('pause')?.click(); document.querySelectorAll('details').forEach(part => { part.open = true })").await;
        browser.run("window.reached = new Set(); document.addEventListener('focusin', event => reached.add(event.target)); document.activeElement.blur()").await;
        let all = "[...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, summary')]\
            .filter(part => part.checkVisibility())";
        let left = format!("{all}.filter(part => !reached.has(part)).map(part => part.outerHTML)");
        let mut missing = browser.value(&left).await;
        for _ in 0..40 {
            if missing == json!([]) {
                break;
            }
            for _ in 0..8 {
                browser.press(TAB).await;
            }
            missing = browser.value(&left).await;
        }
        assert_eq!(missing, json!([]), "{path}");
    }
}

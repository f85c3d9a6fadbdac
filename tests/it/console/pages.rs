//! What pages show, and to whom.

use std::fs;
use std::path::Path;

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::json;

use super::{Console, guarded, page, sent_to};
use crate::support::{Api, send};

/// Pages, and the roles that see them.
const PAGES: [(&str, &[&str]); 13] = [
    ("/console/entities/new", &["admin"]),
    ("/console/users/new", &["admin"]),
    ("/console/entity?name=Kiosk", &["admin", "reporter"]),
    ("/console/keys", &["admin"]),
    ("/console/overview", &["admin", "user_admin", "reporter"]),
    ("/console/sessions", &["admin", "user_admin", "reporter"]),
    ("/console/users", &["admin", "user_admin", "reporter"]),
    ("/console/user?name=bow.ruggeri", &["admin", "user_admin", "reporter"]),
    ("/console/properties", &["admin", "reporter"]),
    ("/console/entities", &["admin", "reporter"]),
    ("/console/nodes", &["admin", "reporter"]),
    ("/console/audit", &["admin", "user_admin", "reporter"]),
    ("/console/property?name=glide.ui.session_timeout", &["admin", "reporter"]),
];

#[tokio::test]
async fn rule_u6_a_page_is_shown_to_the_roles_it_is_for() {
    let api = Api::start().await;
    api.put("/v1/oauth-entities/Kiosk", &json!({})).await.expect(201);
    api.db.user("bow.ruggeri").await;
    for role in ["admin", "user_admin", "reporter", "app", "nonsense", ""] {
        let roles = if role.is_empty() { vec![] } else { vec![role] };
        let console = Console::of(&api, &format!("u.{role}x"), &roles).await;
        for (path, allowed) in PAGES {
            let answer = console.get(path).await;
            let shown = page(&answer, if allowed.contains(&role) { 200 } else { 403 });
            assert!(allowed.contains(&role) || shown.contains("It needs the role "), "{shown}");
        }
    }
    // A role that is taken away, and a user who is locked out, see nothing from the next request on.
    let console = Console::of(&api, "abel.tuter", &["admin"]).await;
    api.patch("/v1/users/abel.tuter", &json!({"roles": []})).await.expect(200);
    page(&console.get("/console/sessions").await, 403);
    api.patch("/v1/users/abel.tuter", &json!({"roles": ["admin"]})).await.expect(200);
    page(&console.get("/console/sessions").await, 200);
    api.patch("/v1/users/abel.tuter", &json!({"locked_out": true})).await.expect(200);
    let location = "/console/sign-in?reason=locked_out&next=/console/sessions";
    sent_to(&console.get("/console/sessions").await, location);
    page(&console.get(location).await, 200);
}

#[tokio::test]
async fn rule_e1_who_is_not_signed_in_is_sent_to_the_sign_in_page_with_the_reason() {
    let api = Api::start().await;
    let stranger = Console::stranger(&api.node);
    sent_to(&stranger.get("/console").await, "/console/overview");
    sent_to(
        &stranger.get("/console/sessions?user=a&kind=user").await,
        "/console/sign-in?next=/console/sessions%3Fuser%3Da%26kind%3Duser",
    );
    let (_, token) = api.create(&json!({"kind": "guest"})).await;
    sent_to(
        &Console { token, ..Console::stranger(&api.node) }.get("/console/sessions").await,
        "/console/sign-in?next=/console/sessions",
    );

    // Being terminated leads there with the reason; a page that asks by itself is told instead.
    let console = Console::of(&api, "abel.tuter", &["admin"]).await;
    api.delete(&format!("/v1/sessions/{}", console.session)).await.expect(200);
    sent_to(&console.get("/console/sessions").await, "/console/sign-in?reason=terminated&next=/console/sessions");
    let told = send(console.request(Method::GET, "/console/sessions").header("x-tenure-client", "1")).await;
    assert_eq!(told.refused(401, "session_ended")["reason"], "terminated");
    let shown = stranger.get("/console/sign-in?reason=terminated&next=/console/sessions").await;
    assert!(page(&shown, 200).contains("An administrator terminated this session. You are not locked out."));
    // Whatever else a link to the sign-in page says is not repeated on it.
    let shown = stranger.get("/console/sign-in?reason=%3Cscript%3E&next=https://evil.example").await;
    assert!(!page(&shown, 200).contains("evil") && !shown.text.contains("<script"), "{}", shown.text);
    let console = Console::of(&api, "bow.ruggeri", &["admin"]).await;
    for (path, status) in [("/console/nothing", 404), ("/console/sign-in?x=1", 400), ("/console/sessions?x=1", 400)] {
        page(&console.get(path).await, status);
    }
}

#[tokio::test]
async fn rule_c1_every_session_of_every_node_is_listed_with_what_is_left() {
    let api = Api::start().await;
    let other = api.another("node-2").await;
    let console = Console::of(&api, "abel.tuter", &["reporter"]).await;
    api.put("/v1/properties/glide.integration.session_timeout", &json!({"value": "60"})).await.expect(200);
    api.db.user("bow.ruggeri").await;
    let body = json!({"kind": "integration", "user": "bow.ruggeri", "client_address": "203.0.113.7", "user_agent": "curl/8"});
    let created = send(api.to(&other, Method::POST, "/v1/sessions").json(&body)).await.expect(201);
    let id = created["session"]["id"].as_str().unwrap();
    api.create(&json!({"kind": "guest"})).await;
    api.db.advance(TimeDelta::minutes(10)).await;
    // A node answers from memory by the time of its last poll, and no clock but this one leaps: it polls for a barrier.
    api.node.manager.barrier().await;

    let shown = console.get("/console/sessions").await;
    let shown = page(&shown, 200);
    for part in [
        &*format!("id=\"s-{id}\""),
        "bow.ruggeri",
        "node-2",
        "203.0.113.7",
        "curl/8",
        ">guest</a>",
        "3 sessions",
        ">you<",
        "<meter",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    // A reporter reads; buttons that would be refused are not there.
    assert!(!shown.contains("Terminate"), "{shown}");
    api.node.manager.flush().await.unwrap();
    for (filter, found) in [
        ("idle=5", 2),
        ("user=bow.ruggeri&kind=&node=&active=&address=&idle=&created_from=&created_to=", 1),
        ("kind=guest", 1),
        ("node=node-2", 1),
        ("address=203.0.113.7", 1),
        ("active=true", 0),
        ("idle=0", 3),
        ("idle=60", 0),
        ("created_from=2020-01-01T00:00", 3),
        ("created_to=2020-01-01T00:00", 0),
    ] {
        let answer = console.get(&format!("/console/sessions?{filter}")).await;
        assert_eq!(page(&answer, 200).matches("<tr id=").count(), found, "{filter}");
    }
    let wrong = console.get("/console/sessions?address=nonsense").await;
    assert!(page(&wrong, 200).contains("this is not an IP address") && wrong.text.contains("value=\"nonsense\""));

    // At every node the same.
    assert!(page(&console.at(&other).get("/console/sessions").await, 200).contains(id));
}

#[tokio::test]
async fn a_list_goes_on_where_a_page_ends() {
    let api = Api::start().await;
    let console = Console::of(&api, "abel.tuter", &["admin"]).await;
    for _ in 0..60 {
        api.create(&json!({"kind": "guest"})).await;
    }
    let first = console.get("/console/sessions?kind=guest").await;
    let first = page(&first, 200);
    assert_eq!(first.matches("<tr id=").count(), 50);
    let next = first.split("href=\"/console/sessions?kind=guest&#38;after=").nth(1).expect("a further page");
    let after = next.split('"').next().unwrap();
    let second = console.get(&format!("/console/sessions?kind=guest&after={after}")).await;
    assert_eq!(page(&second, 200).matches("<tr id=").count(), 10);
}

#[tokio::test]
async fn rule_x1_the_page_of_a_session_shows_every_limit_and_which_one_binds() {
    let api = Api::start().await;
    api.put("/v1/properties/glide.ui.active.session.life_span", &json!({"value": "60"})).await.expect(200);
    let console = Console::of(&api, "abel.tuter", &["admin"]).await;
    api.db.user("bow.ruggeri").await;
    let (session, _) = api.create(&json!({"kind": "user", "user": "bow.ruggeri", "client_address": "203.0.113.7"})).await;
    let path = format!("/console/sessions/{}", session["id"].as_str().unwrap());
    let shown = |at: &serde_json::Value| at.as_str().unwrap()[..19].replace('T', " ");

    // Each limit of explain, with the property it comes from and the instant, as words and as a bar.
    let explained = api.get(&format!("/v1/sessions/{}/explain", session["id"].as_str().unwrap())).await.expect(200);
    let answer = console.get(&path).await;
    let text = page(&answer, 200);
    for part in ["User session of user bow.ruggeri", "203.0.113.7", "Terminate session…"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    for candidate in explained["candidates"].as_array().unwrap() {
        assert!(text.contains(candidate["name"].as_str().unwrap()) && text.contains(candidate["why"].as_str().unwrap()));
        assert!(candidate["deadline_at"].is_null() || text.contains(&shown(&candidate["deadline_at"])), "{candidate}");
    }
    assert_eq!((text.matches("<rect ").count(), text.matches(">binds<").count()), (2, 1), "idle and maximum life: {text}");
    assert!(text.contains(">now</text>") && text.contains("session created"), "{text}");

    // For one that is over: how.
    api.delete(&format!("/v1/sessions/{}", session["id"].as_str().unwrap())).await.expect(200);
    let answer = console.get(&path).await;
    let text = page(&answer, 200);
    assert!(text.contains("Terminated, by tests on node-1, at ") && text.contains("session ended"), "{text}");
    assert!(!text.contains(">binds<") && !text.contains("Terminate session…"), "{text}");
    for unknown in ["nonsense", "00000000-0000-7000-8000-000000000000"] {
        page(&console.get(&format!("/console/sessions/{unknown}")).await, 404);
    }
}

#[tokio::test]
async fn the_overview_counts_what_is_and_what_began_and_ended() {
    let api = Api::start().await;
    let other = api.another("node-2").await;
    api.db.user("bow.ruggeri").await;
    let ended = api.create(&json!({"kind": "guest"})).await.0;
    api.delete(&format!("/v1/sessions/{}", ended["id"].as_str().unwrap())).await.expect(200);
    api.db.advance(TimeDelta::hours(3)).await;
    let console = Console::of(&api, "abel.tuter", &["reporter"]).await;
    for _ in 0..2 {
        let body = json!({"kind": "integration", "user": "bow.ruggeri"});
        send(api.to(&other, Method::POST, "/v1/sessions").json(&body)).await.expect(201);
    }
    let answer = console.get("/console/overview").await;
    let text = page(&answer, 200);
    for part in [
        "<dt>Live sessions</dt><dd>3</dd>",
        "<dt>Begun in 24 hours</dt><dd>4</dd>",
        "<dt>Ended in 24 hours</dt><dd>1</dd>",
        "Live sessions by kind: 3 now: user 1, integration 2",
        "Ends by reason: 1 in 24 hours: terminated 1",
        "node=node-2\">node-2</a> <span class=\"number\">2</span>",
        "name=bow.ruggeri\">bow.ruggeri</a> <span class=\"number\">2</span>",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // A column for each hour in which some began; the hour may turn while the test runs.
    let began = text.split("id=\"began\"").nth(1).unwrap().split("</svg>").next().unwrap();
    assert!((3..=4).contains(&began.matches("<rect ").count()), "a guest then, a user and integrations now: {began}");
    // It is read once for many, and of no later instant than it says.
    api.create(&json!({"kind": "guest"})).await;
    assert!(page(&console.get("/console/overview").await, 200).contains("<dt>Live sessions</dt><dd>3</dd>"));
}

#[tokio::test]
async fn rule_m2_the_window_beside_an_application_is_what_a_sign_in_freezes() {
    let api = Api::start().await;
    let console = Console::of(&api, "abel.tuter", &["reporter"]).await;
    api.db.user("bow.ruggeri").await;
    for (name, access, refresh, shown) in
        [("one", 1800, 8_640_000, "100 d 00 h"), ("two", 7200, 3600, "2 h 00 min"), ("three", 60, 120, "30 min 00 s")]
    {
        let body = json!({"access_token_lifespan": access, "refresh_token_lifespan": refresh});
        api.put(&format!("/v1/oauth-entities/{name}"), &body).await.expect(201);
        let answer = console.get("/console/entities").await;
        let line = page(&answer, 200).split(&format!(">{name}</a></th>")).nth(1).unwrap().split("</tr>").next().unwrap();
        assert!(line.contains(&format!("<strong>{shown}</strong>")), "{line}");
        let (session, _) = api.create(&json!({"kind": "mobile", "user": "bow.ruggeri", "oauth_entity": name})).await;
        let id = session["id"].as_str().unwrap();
        let frozen = api.db.count(&format!("select window_seconds::bigint from tenure.sessions where id = '{id}'")).await;
        assert_eq!(frozen, i64::from(access.max(refresh).max(1800)));
    }
}

#[tokio::test]
async fn rule_x4_the_audit_says_who_did_what() {
    let api = Api::start().await;
    let console = Console::of(&api, "abel.tuter", &["admin"]).await;
    api.db.user("bow.ruggeri").await;
    let (session, _) = api.create(&json!({"kind": "user", "user": "bow.ruggeri"})).await;
    let id = session["id"].as_str().unwrap();
    console.post("/console/sessions/terminate", &[("id", id), ("sure", "yes")]).await;
    for (filter, lines) in [
        ("actor=abel.tuter", 1),
        ("user=Bow.Ruggeri&type=session_ended", 1),
        ("user=bow.ruggeri&actor=nobody", 0),
        (&*format!("session={id}"), 2),
        ("type=session_created", 2),
    ] {
        let answer = console.get(&format!("/console/audit?{filter}")).await;
        assert_eq!(page(&answer, 200).matches("<tr id=").count(), lines, "{filter}: {}", answer.text);
    }
    let answer = console.get("/console/audit?actor=abel.tuter").await;
    for part in ["session ended", "terminated", "bow.ruggeri", "node-1", id] {
        assert!(answer.text.contains(part), "{part}: {}", answer.text);
    }
    page(&console.get("/console/audit?session=nonsense").await, 400);
    // Whatever the store notes can be asked for by name.
    for kind in [
        "api_key_created",
        "api_key_revoked",
        "oauth_entity_created",
        "oauth_entity_changed",
        "oauth_entity_deleted",
        "access_token_revoked",
        "token_rotated",
        "session_imported",
        "history_dropped",
    ] {
        assert!(answer.text.contains(&format!("<option>{kind}</option>")), "{kind}: {}", answer.text);
    }
}

#[tokio::test]
async fn nodes_are_shown_with_lease_lag_and_sweep() {
    let api = Api::start().await;
    let _other = api.another("node-2").await;
    let console = Console::of(&api, "abel.tuter", &["reporter"]).await;
    let answer = console.get("/console/nodes").await;
    let text = page(&answer, 200);
    assert!(text.contains("node=node-1") && text.contains("node=node-2"), "{text}");
    assert_eq!(text.matches(">live</span>").count(), 2, "{text}");
}

#[tokio::test]
async fn users_are_found_by_a_part_of_their_names() {
    let api = Api::start().await;
    let console = Console::of(&api, "abel.tuter", &["reporter"]).await;
    api.put("/v1/users/bow.ruggeri", &json!({"display_name": "Ähnlich O'Neil"})).await.expect(201);
    for (part, found) in [("RUGG", true), ("%C3%A4hn", true), ("%25", false), ("o%27ne", true), ("rugg&locked_out=true", false)] {
        let answer = console.get(&format!("/console/users?name={part}")).await;
        assert_eq!(page(&answer, 200).contains(">bow.ruggeri</a>"), found, "{part}: {}", answer.text);
    }
}

#[tokio::test]
async fn what_a_page_asks_by_itself_keeps_nobody_signed_in() {
    let api = Api::start().await;
    let console = Console::of(&api, "abel.tuter", &["admin"]).await;
    for minutes in [20, 20] {
        api.db.advance(TimeDelta::minutes(minutes)).await;
        page(&console.get("/console/sessions").await, 200);
        api.node.manager.flush().await.unwrap();
    }
    api.db.advance(TimeDelta::minutes(20)).await;
    let by_script = || console.request(Method::GET, "/console/sessions").header("x-tenure-client", "1");
    page(&send(by_script()).await, 200);
    api.node.manager.flush().await.unwrap();
    api.db.advance(TimeDelta::minutes(11)).await;
    assert_eq!(send(by_script()).await.refused(401, "session_ended")["reason"], "idle");
}

#[tokio::test]
async fn a_stream_that_is_opened_again_and_again_keeps_nobody_signed_in() {
    let api = Api::start().await;
    let console = Console::of(&api, "abel.tuter", &["admin"]).await;
    api.db.advance(TimeDelta::minutes(20)).await;
    // As an EventSource asks: it has no header of its own.
    let stream = console.request(Method::GET, "/console/live").header("accept", "text/event-stream").send().await.unwrap();
    assert_eq!(stream.status(), 200);
    drop(stream);
    api.node.manager.flush().await.unwrap();
    api.db.advance(TimeDelta::minutes(11)).await;
    // It is told so in a way that makes it stop asking; the page learns it beside it.
    assert_eq!(console.get("/console/live").await.refused(401, "session_ended")["reason"], "idle");
    sent_to(&console.get("/console/sessions").await, "/console/sign-in?reason=idle&next=/console/sessions");
}

#[tokio::test]
async fn whoever_is_refused_finds_the_way_out() {
    let api = Api::start().await;
    let console = Console::of(&api, "abel.tuter", &[]).await;
    let refused = console.get("/console/overview").await;
    assert!(page(&refused, 403).contains("href=\"/console/sign-in\""), "{}", refused.text);
    sent_to(&console.send(&refused, "/console/sign-out", &[]).await, "/console/sign-in?reason=signed_out");
    sent_to(&console.get("/console/overview").await, "/console/sign-in?reason=signed_out&next=/console/overview");
}

#[tokio::test]
async fn rule_k1_a_session_that_is_no_persons_is_not_signed_in() {
    let api = Api::start().await;
    super::user(&api, "abel.tuter", &["admin"]).await;
    api.put("/v1/oauth-entities/Kiosk", &json!({})).await.expect(201);
    for (kind, entity) in [("mobile", Some("Kiosk")), ("integration", None)] {
        let (_, token) = api.create(&json!({"kind": kind, "user": "abel.tuter", "oauth_entity": entity})).await;
        let console = Console { token, ..Console::stranger(&api.node) };
        sent_to(&console.get("/console/overview").await, "/console/sign-in?next=/console/overview");
        assert_eq!(console.get("/console/live").await.status, 401, "{kind}");
    }
}

#[tokio::test]
async fn an_address_that_only_a_form_is_sent_to_leads_to_its_list() {
    let api = Api::start().await;
    let stranger = Console::stranger(&api.node);
    for (path, list) in [
        ("/console/sessions/terminate", "/console/sessions"),
        ("/console/sessions/matching", "/console/sessions"),
        ("/console/user/roles", "/console/users"),
        ("/console/sign-out", "/console/overview"),
    ] {
        sent_to(&stranger.get(path).await, list);
    }
}

#[tokio::test]
async fn a_page_of_something_that_is_not_named_leads_to_its_list() {
    let api = Api::start().await;
    let console = Console::of(&api, "abel.tuter", &["admin"]).await;
    for (path, list) in [
        ("/console/user", "/console/users"),
        ("/console/user?name=", "/console/users"),
        ("/console/property", "/console/properties"),
        ("/console/entity", "/console/entities"),
    ] {
        sent_to(&console.get(path).await, list);
    }
    for path in ["/console/user?name=nobody", "/console/property?name=nothing", "/console/entity?name=nothing"] {
        let refused = console.get(path).await;
        assert!(!page(&refused, 404).contains("PUT"), "a page speaks of pages: {}", refused.text);
    }
}

#[tokio::test]
async fn what_others_write_stays_text() {
    let api = Api::start().await;
    let console = Console::of(&api, "abel.tuter", &["admin"]).await;
    let hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;";
    api.db.user(hostile).await;
    api.put(&format!("/v1/oauth-entities/{}", super::escaped(hostile)), &json!({})).await.expect(201);
    api.create(&json!({"kind": "user", "user": hostile, "user_agent": hostile})).await;
    let id = api.get("/v1/sessions?limit=1").await.expect(200)["items"][0]["id"].as_str().unwrap().to_owned();
    let filter = format!("/console/sessions?user={}", super::escaped(hostile));
    for answer in [
        console.get("/console/sessions").await,
        console.get(&filter).await,
        console.get(&format!("/console/sessions/{id}")).await,
        console.get("/console/users").await,
        console.get(&format!("/console/user?name={}", super::escaped(hostile))).await,
        console.post("/console/user", &[("name", hostile), ("act", "lock_out")]).await,
        console.post("/console/users/new", &[("name", hostile), ("display_name", hostile), ("refresh", hostile)]).await,
        console.post("/console/entities/new", &[("name", hostile), ("client_id", hostile), ("access", hostile)]).await,
        console.get(&format!("/console/entity?name={}", super::escaped(hostile))).await,
        console.post("/console/entity", &[("name", hostile), ("act", "delete")]).await,
        console.post("/console/sessions/terminate", &[("only", &id)]).await,
        console.post("/console/sign-in", &[("user", hostile), ("password", "wrong")]).await,
    ] {
        assert!(answer.text.contains("alert(1)"), "it is shown: {}", answer.text);
        for markup in ["<script>", "<img", "\"'>", "onerror=alert(1)>"] {
            assert!(!answer.text.contains(markup), "{markup}: {}", answer.text);
        }
        guarded(&answer);
    }
}

#[tokio::test]
async fn the_consoles_files_are_served_and_kept() {
    let api = Api::start().await;
    let stranger = Console::stranger(&api.node);
    for (path, kind) in
        [("/console/console.css", "text/css; charset=utf-8"), ("/console/console.js", "text/javascript; charset=utf-8")]
    {
        let answer = stranger.get(path).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)));
        guarded(&answer);
        let tag = answer.header("etag").unwrap();
        let again = send(stranger.request(Method::GET, path).header("if-none-match", tag)).await;
        assert_eq!((again.status, again.text.len()), (304, 0));
    }
}

/// The policy would stop them in a browser; here nobody writes them in the first place.
#[test]
fn no_template_has_inline_code_or_style_or_unescaped_text() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/server/console/pages");
    let mut seen = 0;
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let text = fs::read_to_string(&path).unwrap();
        for banned in [
            "style=",
            "<style",
            "<script>",
            "javascript:",
            "|safe",
            "| safe",
            "{% autoescape",
            " onclick",
            " onload",
            "http://",
            "https://",
        ] {
            assert!(!text.contains(banned), "{}: {banned}", path.display());
        }
        assert!(path.extension().is_some_and(|extension| extension == "html"), "escaping goes by the name: {}", path.display());
        seen += 1;
    }
    assert!(seen > 5, "the scan found too little: {seen}");
}

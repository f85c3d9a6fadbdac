//! Pictures of the console for the documents; `make screenshots` takes them anew.

use std::fs;
use std::path::Path;
use std::time::Duration;

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::json;
use tokio::time::sleep;

use crate::chromium::console;
use crate::support::{Api, Browser, Node, send};

const WIDE: (u32, u32) = (1280, 900);
const PHONE: (u32, u32) = (390, 844);
/// Of longer pages the beginning says all.
const HIGHEST: u32 = 1_400;
const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
#[ignore = "writes docs/images: make screenshots"]
async fn pictures_of_the_console() {
    let api = Api::start().await;
    let others = [api.another("node-2").await, api.another("node-3").await];
    let session = a_day(&api, &others).await;
    let browser = Browser::start().await;
    console(&api, &browser).await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images");
    fs::create_dir_all(&folder).unwrap();
    for (name, path) in [
        ("overview", "/console/overview"),
        ("sessions", "/console/sessions"),
        ("matching", ""),
        ("session", &*format!("/console/sessions/{session}")),
        ("users", "/console/users"),
        ("user", "/console/user?name=bow.ruggeri"),
        ("user-new", "/console/users/new"),
        ("properties", "/console/properties"),
        ("property", "/console/property?name=glide.ui.session_timeout&value=15"),
        ("entities", "/console/entities"),
        ("entity", "/console/entity?name=Kiosk"),
        ("entity-new", "/console/entities/new"),
        ("nodes", "/console/nodes"),
        ("audit", "/console/audit"),
        ("keys", "/console/keys"),
        ("sign-in", "/console/sign-in?reason=terminated"),
    ] {
        for (look, (width, height), dark) in
            [("", WIDE, false), ("-dark", WIDE, true), ("-phone", PHONE, false), ("-phone-dark", PHONE, true)]
        {
            browser.prefer_dark(dark).await;
            browser.resize(width, height).await;
            if path.is_empty() {
                // A question comes from the button of its list.
                browser.open(&format!("{}/console/sessions?kind=user", api.node.url)).await;
                browser.run("document.querySelector('button[formaction]').click()").await;
                browser.until("location.pathname === '/console/sessions/matching'", SOON).await;
            } else {
                browser.open(&format!("{}{path}", api.node.url)).await;
            }
            browser.until("document.readyState === 'complete'", SOON).await;
            // What appeared is no longer highlighted.
            browser.until("document.getAnimations().every(animation => animation.playState === 'finished')", SOON).await;
            fs::write(folder.join(format!("console-{name}{look}.png")), browser.picture(HIGHEST).await).unwrap();
        }
    }
}

/// A day as it may be: sessions of every kind that began and ended all along, and some that are there at its end; one of these.
async fn a_day(api: &Api, others: &[Node]) -> String {
    let users = ["bow.ruggeri", "don.goodliffe", "beth.anglin", "fred.luddy"];
    for (user, name) in users.into_iter().zip(["Bow Ruggeri", "Don Goodliffe", "Beth Anglin", "Fred Luddy"]) {
        api.put(&format!("/v1/users/{user}"), &json!({"display_name": name})).await.expect(201);
    }
    let app = json!({"access_token_lifespan": 1800, "refresh_token_lifespan": 86_400});
    api.put("/v1/oauth-entities/Field-Service", &app).await.expect(201);
    api.put("/v1/oauth-entities/Kiosk", &json!({"access_token_lifespan": 3600, "refresh_token_lifespan": 600})).await.expect(201);
    let begin = async |n: usize| {
        let kind = ["user", "user", "integration", "user", "guest", "mobile"][n % 6];
        let user = (kind != "guest").then_some(users[n * 7 / 3 % 4]);
        let session = json!({
            "kind": kind,
            "user": user,
            "remember_me": (kind == "user" && n % 9 == 1).then_some(true),
            "oauth_entity": (kind == "mobile").then_some("Field-Service"),
            "client_address": format!("203.0.113.{}", 7 + n % 100),
            "user_agent": if kind == "integration" { "curl/8.14" } else { "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Firefox/145.0" },
        });
        let node = others.get(n % 3).unwrap_or(&api.node);
        let created = send(api.to(node, Method::POST, "/v1/sessions").json(&session)).await.expect(201);
        created["session"]["id"].as_str().unwrap().to_owned()
    };
    let mut n = 0;
    for hour in 0..22 {
        // Quiet at night.
        for _ in 0..[1, 1, 2, 4, 7, 9, 8, 6, 8, 9, 7, 5, 4, 3, 2, 2, 1, 1, 3, 5, 7, 8][hour] {
            let id = begin(n).await;
            n += 1;
            if n % 4 == 0 {
                send(api.to(&api.node, Method::POST, &format!("/v1/sessions/{id}/sign-out"))).await;
            } else if n % 13 == 0 {
                api.delete(&format!("/v1/sessions/{id}")).await.expect(200);
            }
        }
        api.db.advance(TimeDelta::hours(1)).await;
    }
    let mut shown = String::new();
    for _ in 0..12 {
        let id = begin(n).await;
        n += 1;
        if n % 6 == 4 {
            shown = id;
        }
        api.db.advance(TimeDelta::seconds(97)).await;
    }
    let due = "select count(*) from tenure.sessions where due_at <= tenure.now() - interval '1 second'";
    while api.db.count(due).await > 0 {
        sleep(Duration::from_millis(100)).await;
    }
    api.put("/v1/users/joe.employee", &json!({"display_name": "Joe Employee", "locked_out": true})).await.expect(201);
    api.put("/v1/properties/glide.ui.active.session.life_span", &json!({"value": "120"})).await.expect(200);
    shown
}

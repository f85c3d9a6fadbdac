//! Pictures of the console for the documents; `make screenshots` takes them anew.

use std::fs;
use std::path::Path;
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;

use crate::chromium::console;
use crate::support::{Api, Browser};

const WIDE: (u32, u32) = (1280, 900);
const PHONE: (u32, u32) = (390, 844);

#[tokio::test]
#[ignore = "writes docs/images: make screenshots"]
async fn pictures_of_the_console() {
    let api = Api::start().await;
    let others = [api.another("node-2").await, api.another("node-3").await];
    let mut first = String::new();
    for (n, user) in ["bow.ruggeri", "don.goodliffe", "beth.anglin", "fred.luddy", "bow.ruggeri"].into_iter().enumerate() {
        api.put(&format!("/v1/users/{user}"), &json!({})).await;
        let session = json!({
            "kind": if n == 3 { "integration" } else { "user" },
            "user": user,
            "remember_me": (n == 1).then_some(true),
            "client_address": format!("203.0.113.{}", 7 + n),
            "user_agent": if n == 3 { "curl/8.14" } else { "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Firefox/145.0" },
        });
        let node = others.get(n % 3).unwrap_or(&api.node);
        let created = crate::support::send(api.to(node, reqwest::Method::POST, "/v1/sessions").json(&session)).await.expect(201);
        created["session"]["id"].as_str().unwrap().clone_into(&mut first);
        api.db.advance(TimeDelta::seconds(70)).await;
    }
    api.put("/v1/properties/glide.ui.active.session.life_span", &json!({"value": "120"})).await.expect(200);
    let browser = Browser::start().await;
    console(&api, &browser).await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images");
    fs::create_dir_all(&folder).unwrap();
    for (name, path, (width, height), dark) in [
        ("sessions", "/console/sessions", WIDE, false),
        ("sessions-dark", "/console/sessions", WIDE, true),
        ("sessions-phone", "/console/sessions", PHONE, false),
        ("session", &*format!("/console/sessions/{first}"), WIDE, false),
        ("session-dark", &*format!("/console/sessions/{first}"), WIDE, true),
        ("users", "/console/users", WIDE, false),
        ("user", "/console/user?name=bow.ruggeri", WIDE, false),
        ("properties", "/console/properties", WIDE, false),
        ("property", "/console/property?name=glide.ui.session_timeout", WIDE, false),
    ] {
        browser.prefer_dark(dark).await;
        browser.open(&format!("{}{path}", api.node.url)).await;
        browser.until("document.readyState === 'complete'", Duration::from_secs(10)).await;
        let picture = browser.picture(width, height).await;
        fs::write(folder.join(format!("console-{name}.png")), picture).unwrap();
    }
}

//! What forms do, and for whom.

mod entities;
mod properties;
mod sessions;
mod sign_in;
mod users;

use serde_json::{Value, json};

use super::{Console, page, sent_to};
use crate::support::{Api, send};

const PASSWORD: &str = "correct horse battery";

async fn user(api: &Api, name: &str, roles: &[&str]) {
    super::user(api, name, roles).await;
    api.put(&format!("/v1/users/{name}/password"), &json!({ "password": PASSWORD })).await.expect(200);
}

async fn live(api: &Api, user: &str) -> Vec<Value> {
    let page = api.get(&format!("/v1/sessions?user={user}")).await.expect(200);
    page["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn input_028_a_form_of_another_site_does_nothing() {
    let api = Api::start().await;
    user(&api, "abel.tuter", &["admin"]).await;
    let console = Console::of(&api, "bow.ruggeri", &["admin"]).await;
    let victim = Console::of(&api, "don.goodliffe", &[]).await.session;
    let forms: [(&str, Vec<(&str, &str)>); 14] = [
        ("/console/entity", vec![("name", "Kiosk"), ("act", "change"), ("access", "1"), ("refresh", "1")]),
        ("/console/entity", vec![("name", "Kiosk"), ("act", "secret"), ("sure", "yes"), ("password", PASSWORD)]),
        ("/console/entity", vec![("name", "Kiosk"), ("act", "delete"), ("sure", "yes"), ("password", PASSWORD)]),
        ("/console/entities/new", vec![("name", "Till"), ("access", "1"), ("refresh", "1"), ("password", PASSWORD)]),
        ("/console/users/new", vec![("name", "new.comer"), ("role", "admin"), ("password", PASSWORD)]),
        ("/console/user", vec![("name", "don.goodliffe"), ("act", "delete"), ("sure", "yes"), ("password", PASSWORD)]),
        ("/console/sessions/matching", vec![("typed", "1"), ("sure", "yes"), ("kind", "user")]),
        ("/console/user/roles", vec![("name", "don.goodliffe"), ("role", "admin"), ("password", PASSWORD)]),
        ("/console/keys", vec![("name", "x"), ("role", "admin"), ("act", "make"), ("password", PASSWORD)]),
        ("/console/sessions/terminate", vec![("id", &victim), ("sure", "yes")]),
        ("/console/user", vec![("name", "don.goodliffe"), ("act", "lock_out"), ("sure", "yes")]),
        ("/console/property", vec![("name", "glide.ui.session_timeout"), ("value", "1")]),
        ("/console/sign-out", vec![]),
        ("/console/sign-in", vec![("user", "abel.tuter"), ("password", PASSWORD)]),
    ];
    for (path, fields) in &forms {
        for headers in [
            &[][..],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none")],
            &[("origin", "https://evil.example")],
            &[("origin", "null")],
            &[("sec-fetch-site", "cross-site"), ("x-tenure-client", "1")],
        ] {
            let request = headers.iter().fold(console.form(path, fields), |request, (name, value)| request.header(*name, *value));
            let answer = send(request).await;
            assert!(page(&answer, 403).contains("nothing was done"), "{path} {headers:?}");
            assert!(answer.header("set-cookie").is_none());
        }
        // Nor does opening an address.
        let shown = path.ends_with("/new") || ["/console/sign-in", "/console/keys"].contains(path);
        assert!([303, 400].contains(&console.get(path).await.status) || shown, "{path}");
    }
    assert_eq!(api.get("/v1/properties/glide.ui.session_timeout").await.expect(200)["value"], "30");
    assert_eq!(live(&api, "don.goodliffe").await.len(), 1);
    assert_eq!(live(&api, "bow.ruggeri").await.len(), 1);
    assert_eq!(live(&api, "abel.tuter").await.len(), 0);
    // A browser that names the origin instead is heard.
    let answer = send(console.form("/console/sign-out", &[]).header("origin", &api.node.url)).await;
    sent_to(&answer, "/console/sign-in?reason=signed_out");
}

#[tokio::test]
async fn roles_and_keys_ask_for_the_password_once_more() {
    let api = Api::start().await;
    user(&api, "abel.tuter", &[]).await;
    let console = Console::of(&api, "bow.ruggeri", &["admin"]).await;
    api.put("/v1/users/bow.ruggeri/password", &json!({ "password": PASSWORD })).await.expect(200);
    let roles = async || api.get("/v1/users/abel.tuter").await.expect(200)["roles"].clone();
    let shown = console.get("/console/user?name=abel.tuter").await;
    let give = [("role", "reporter"), ("role", "admin")];
    for password in [&[][..], &[("password", "wrong")]] {
        page(&console.send(&shown, "/console/user/roles", &[&give, password].concat()).await, 403);
    }
    assert_eq!(roles().await, json!([]));
    let right = ("password", PASSWORD);
    let given = console.send(&shown, "/console/user/roles", &[&give[..], &[right]].concat()).await;
    sent_to(&given, "/console/user?name=abel.tuter");
    assert_eq!(roles().await, json!(["reporter", "admin"]));
    page(&console.send(&shown, "/console/user/roles", &[("role", "app"), right]).await, 422);
    // 51: nobody takes their own role away.
    page(&console.post("/console/user/roles", &[("name", "bow.ruggeri"), ("role", "reporter"), right]).await, 409);

    let make = [("name", "orders"), ("role", "app"), ("days", "30"), ("act", "make")];
    page(&console.post("/console/keys", &make).await, 403);
    let made = console.post("/console/keys", &[&make[..], &[right]].concat()).await;
    let key = page(&made, 200).split("class=\"secret\">").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let called = async || {
        let request = json!({"kind": "guest"});
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        send(client.post(format!("{}/v1/sessions", api.node.url)).bearer_auth(&key).json(&request)).await.status
    };
    assert_eq!(called().await, 201);
    let listed = console.get("/console/keys").await;
    assert!(page(&listed, 200).contains("orders") && !listed.text.contains(&key), "it is shown once");
    let asked = console.post("/console/keys", &[("name", "orders"), ("act", "revoke")]).await;
    page(&asked, 200);
    page(&console.send(&asked, "/console/keys", &[("sure", "yes")]).await, 403);
    assert_eq!(called().await, 201);
    page(&console.send(&asked, "/console/keys", &[("sure", "yes"), right]).await, 200);
    assert_eq!(called().await, 401);
    page(&console.send(&asked, "/console/keys", &[("sure", "yes"), right]).await, 404);
    page(&console.post("/console/keys", &[("name", "a b"), ("act", "make"), right]).await, 422);
    let reporter = Console::of(&api, "don.goodliffe", &["reporter", "user_admin"]).await;
    page(&reporter.get("/console/keys").await, 403);
    // Who did it is on record.
    let events = api.get("/v1/events?type=api_key_created").await.expect(200);
    assert_eq!(events["items"][0]["actor"], "bow.ruggeri", "{events}");
    // Guessing is limited as at the sign-in page.
    let mut last = 0;
    for _ in 0..6 {
        last = console.post("/console/keys", &[&make[..], &[("password", "wrong")]].concat()).await.status;
    }
    assert_eq!(last, 429);
}

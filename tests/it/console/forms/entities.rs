//! Client applications: made, changed, deleted.

use serde_json::json;

use super::super::{Console, page, sent_to};
use crate::support::Api;

#[tokio::test]
async fn rule_m2_lifespans_of_an_application_are_set_and_end_nothing() {
    let api = Api::start().await;
    let console = Console::of(&api, "abel.tuter", &["admin"]).await;
    api.put("/v1/oauth-entities/Kiosk", &json!({})).await.expect(201);
    api.db.user("bow.ruggeri").await;
    let (_, token) = api.create(&json!({"kind": "mobile", "user": "bow.ruggeri", "oauth_entity": "Kiosk"})).await;
    let set = [("name", "Kiosk"), ("access", "60"), ("refresh", "120")];
    sent_to(&console.post("/console/entity", &set).await, "/console/entity?name=Kiosk");
    let shown = console.get("/console/entity?name=Kiosk").await;
    assert!(page(&shown, 200).contains("<strong>30 min 00 s</strong>"), "the user interface decides: {}", shown.text);
    api.check(&token).await.expect(200);
    for wrong in ["0", "soon", "", "315360001"] {
        let refused = console.post("/console/entity", &[("name", "Kiosk"), ("access", "60"), ("refresh", wrong)]).await;
        assert!(
            page(&refused, 422).contains("role=\"alert\"") && refused.text.contains(&format!("value=\"{wrong}\"")),
            "{wrong}"
        );
    }
    assert_eq!(api.get("/v1/oauth-entities/Kiosk").await.expect(200)["refresh_token_lifespan"], 120);
    page(&console.post("/console/entity", &[("name", "nobody"), ("access", "60"), ("refresh", "60")]).await, 404);
    let reporter = Console::of(&api, "don.goodliffe", &["reporter"]).await;
    page(&reporter.post("/console/entity", &set).await, 403);
}

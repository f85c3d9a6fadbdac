//! Client applications: made, changed, deleted.

use serde_json::{Value, json};
use tenure::store::{Actor, EntityPut};

use super::super::{Console, page, sent_to};
use super::{PASSWORD, user};
use crate::support::{Answer, Api};

const RIGHT: (&str, &str) = ("password", PASSWORD);

/// An administrator at the console who knows their password.
async fn administrator(api: &Api) -> Console {
    let console = Console::of(api, "abel.tuter", &["admin"]).await;
    api.put("/v1/users/abel.tuter/password", &json!({ "password": PASSWORD })).await.expect(200);
    console
}

async fn entity(api: &Api, name: &str) -> Value {
    api.get(&format!("/v1/oauth-entities/{name}")).await.expect(200).clone()
}

/// The secret that a receipt shows.
#[track_caller]
fn secret(receipt: &Answer) -> String {
    page(receipt, 200).split("class=\"secret\">").nth(1).expect(&receipt.text).split('<').next().unwrap().to_owned()
}

async fn is_secret(api: &Api, client_id: &str, secret: &str) -> bool {
    api.node.manager.client(client_id, Some(secret)).await.unwrap().is_some()
}

#[tokio::test]
async fn rule_m2_lifespans_of_an_application_are_set_and_end_nothing() {
    let api = Api::start().await;
    let console = administrator(&api).await;
    api.put("/v1/oauth-entities/Kiosk", &json!({})).await.expect(201);
    api.db.user("bow.ruggeri").await;
    let (_, token) = api.create(&json!({"kind": "mobile", "user": "bow.ruggeri", "oauth_entity": "Kiosk"})).await;
    let (path, shown) = ("/console/entity", "/console/entity?name=Kiosk");
    let opened = console.get(shown).await;
    let set =
        |access, refresh| [("act", "change"), ("client_id", "kiosk"), ("secret", "no"), ("access", access), ("refresh", refresh)];
    sent_to(&console.send(&opened, path, &set("60", "120")).await, shown);
    let answer = console.get(shown).await;
    assert!(page(&answer, 200).contains("<strong>30 min 00 s</strong>"), "the user interface decides: {}", answer.text);
    api.check(&token).await.expect(200);
    for (wrong, status) in [("0", 422), ("soon", 400), ("", 400), ("315360001", 422)] {
        let refused = console.send(&answer, path, &set("61", wrong)).await;
        let text = page(&refused, status);
        assert!(text.contains("id=\"problem\"") && text.contains("Refresh token lifespan: "), "{wrong}: {text}");
        assert!(text.contains(&format!("value=\"{wrong}\"")) && text.contains("value=\"61\""), "{wrong}: {text}");
    }
    assert_eq!(entity(&api, "Kiosk").await["refresh_token_lifespan"], 120);
    page(&console.post(path, &[&set("60", "60")[..], &[("name", "nobody")]].concat()).await, 404);
    page(&console.post(path, &[("name", "Kiosk"), ("act", "nonsense")]).await, 400);
    let reporter = Console::of(&api, "don.goodliffe", &["reporter"]).await;
    page(&reporter.post(path, &[&set("60", "60")[..], &[("name", "Kiosk")]].concat()).await, 403);
}

#[tokio::test]
async fn rule_m1_an_application_is_made_in_a_page_and_its_secret_is_shown_once() {
    let api = Api::start().await;
    let console = administrator(&api).await;
    let path = "/console/entities/new";
    let list = console.get("/console/entities").await;
    assert!(page(&list, 200).contains(&format!("href=\"{path}\"")), "{}", list.text);
    assert!(page(&console.get(path).await, 200).contains("value=\"8640000\""));

    let (lives, spans) = (("access", "60"), ("refresh", "7200"));
    let made = console.post(path, &[("name", "Field <Service> "), ("secret", "yes"), lives, spans, RIGHT]).await;
    let shown = secret(&made);
    assert!(made.text.contains("<strong>field--service</strong>"), "the id is made of the name: {}", made.text);
    assert!(is_secret(&api, "field--service", &shown).await);
    let answer = console.get("/console/entity?name=Field%20%3CService%3E").await;
    assert!(page(&answer, 200).contains("<strong>2 h 00 min</strong>") && !answer.text.contains(&shown), "{}", answer.text);
    // One without a secret has nothing to show once.
    let public = [("name", "Kiosk"), ("client_id", "till.1"), ("secret", "no"), lives, spans, RIGHT];
    sent_to(&console.post(path, &public).await, "/console/entity?name=Kiosk");
    let kiosk = entity(&api, "Kiosk").await;
    assert_eq!((&kiosk["client_id"], &kiosk["public"]), (&json!("till.1"), &json!(true)));
    let events = api.get("/v1/events?type=oauth_entity_created").await.expect(200);
    assert_eq!((events["items"].as_array().unwrap().len(), &events["items"][0]["actor"]), (2, &json!("abel.tuter")), "{events}");

    // What is refused is said there, with what was typed, and changes nothing.
    let long = "x".repeat(129);
    for (name, id, refresh, password, status, said) in [
        ("Kiosk", "other", "7200", PASSWORD, 409, "There is an OAuth entity of this name already."),
        ("Other", "till.1", "7200", PASSWORD, 409, "Another OAuth entity has this client id."),
        ("Other", "a b", "7200", PASSWORD, 422, "Client id: "),
        ("Другой", "", "7200", PASSWORD, 422, "none can be made of this name"),
        ("", "x", "7200", PASSWORD, 422, "a name has 1 to 128 characters"),
        (&*long, "x", "7200", PASSWORD, 422, "a name has 1 to 128 characters"),
        ("a\0b", "x", "7200", PASSWORD, 422, "a name has 1 to 128 characters"),
        ("Other", "x", "0", PASSWORD, 422, "Refresh token lifespan: "),
        ("Other", "x", "1e3", PASSWORD, 400, "Refresh token lifespan: this is not a whole number of seconds."),
        ("Other", "x", "7200", "wrong", 403, "The password is wrong, so nothing was done."),
        ("Other", "x", "7200", "", 403, "The password is wrong, so nothing was done."),
    ] {
        let sent = [("name", name), ("client_id", id), ("secret", "yes"), lives, ("refresh", refresh), ("password", password)];
        let refused = console.post(path, &sent).await;
        let text = page(&refused, status);
        assert!(text.contains("id=\"problem\"") && text.contains(said), "{name:?} {id:?}: {text}");
        for kept in [id, refresh, "60"] {
            assert!(text.contains(&format!("value=\"{kept}\"")), "{kept}: {text}");
        }
        assert!(text.contains("<option value=\"yes\" selected>") && !text.contains(PASSWORD), "{text}");
    }
    assert_eq!(api.get("/v1/oauth-entities").await.expect(200)["items"].as_array().unwrap().len(), 2);
    assert_eq!(entity(&api, "Kiosk").await, kiosk);
    for role in ["user_admin", "reporter"] {
        let console = Console::of(&api, role, &[role]).await;
        page(&console.get(path).await, 403);
        page(&console.post(path, &[("name", "Other"), lives, spans, RIGHT]).await, 403);
    }
    let reporter = Console::of(&api, "bow.ruggeri", &["reporter"]).await;
    for path in ["/console/entities", "/console/entity?name=Kiosk"] {
        let answer = reporter.get(path).await;
        assert!(!page(&answer, 200).contains("/new\"") && !answer.text.contains("action=\"/console/entity\""), "{}", answer.text);
    }
}

#[tokio::test]
async fn what_an_application_must_be_told_of_is_asked_first_and_takes_the_password() {
    let api = Api::start().await;
    let console = administrator(&api).await;
    let first = api.put("/v1/oauth-entities/Kiosk", &json!({"public": false})).await.expect(201)["client_secret"].clone();
    let first = first.as_str().unwrap();
    let (path, shown) = ("/console/entity", "/console/entity?name=Kiosk");
    let opened = console.get(shown).await;
    let sure = [("sure", "yes"), RIGHT];

    // Another client id.
    let rename = [("act", "change"), ("client_id", "till"), ("secret", "yes"), ("access", "60"), ("refresh", "120")];
    let asked = console.send(&opened, path, &rename).await;
    assert!(page(&asked, 200).contains("Its client id will be till instead of kiosk."), "{}", asked.text);
    for password in [&[][..], &[("password", "wrong")]] {
        let refused = console.send(&asked, path, &[&sure[..1], password].concat()).await;
        assert!(page(&refused, 403).contains("id=\"problem\""), "{}", refused.text);
    }
    assert_eq!(entity(&api, "Kiosk").await["client_id"], "kiosk", "asking changes nothing");
    sent_to(&console.send(&asked, path, &sure).await, shown);
    let now = entity(&api, "Kiosk").await;
    assert_eq!((&now["client_id"], &now["access_token_lifespan"]), (&json!("till"), &json!(60)));
    assert!(is_secret(&api, "till", first).await);

    // Another secret: the old one is void.
    let opened = console.get(shown).await;
    let asked = console.send(&opened, path, &[("act", "secret")]).await;
    assert!(page(&asked, 200).contains("The old one is void at once."), "{}", asked.text);
    assert!(is_secret(&api, "till", first).await);
    let second = secret(&console.send(&asked, path, &sure).await);
    assert!(is_secret(&api, "till", &second).await && !is_secret(&api, "till", first).await);
    // Sent twice, the form is stale: who got the second secret keeps it.
    page(&console.send(&asked, path, &sure).await, 412);
    assert!(is_secret(&api, "till", &second).await);

    // None, and one again.
    let kind = |secret| [("act", "change"), ("client_id", "till"), ("secret", secret), ("access", "60"), ("refresh", "120")];
    let asked = console.send(&console.get(shown).await, path, &kind("no")).await;
    assert!(page(&asked, 200).contains("Its secret is void"), "{}", asked.text);
    sent_to(&console.send(&asked, path, &sure).await, shown);
    assert_eq!(entity(&api, "Kiosk").await["public"], true);
    let asked = console.send(&console.get(shown).await, path, &kind("yes")).await;
    assert!(page(&asked, 200).contains("It gets a secret"), "{}", asked.text);
    let third = secret(&console.send(&asked, path, &sure).await);
    assert!(is_secret(&api, "till", &third).await);
}

#[tokio::test]
async fn a_stale_form_of_an_application_overwrites_nobodys_change() {
    let api = Api::start().await;
    let console = administrator(&api).await;
    api.put("/v1/oauth-entities/Kiosk", &json!({})).await.expect(201);
    let (path, shown) = ("/console/entity", "/console/entity?name=Kiosk");
    let opened = console.get(shown).await;
    api.put("/v1/oauth-entities/Kiosk", &json!({"access_token_lifespan": 77})).await.expect(200);
    let set = [("act", "change"), ("client_id", "kiosk"), ("secret", "no"), ("access", "60"), ("refresh", "120")];
    let stale = console.send(&opened, path, &set).await;
    let text = page(&stale, 412);
    assert!(text.contains("The OAuth entity has changed since it was read, so nothing was done."), "{text}");
    assert!(text.contains("value=\"77\"") && !text.contains("value=\"60\""), "it shows what is so now: {text}");
    for revision in [&[][..], &[("revision", "1")], &[("revision", "nonsense\0")]] {
        page(&console.post(path, &[&set[..], &[("name", "Kiosk")], revision].concat()).await, 412);
    }
    assert_eq!(entity(&api, "Kiosk").await["access_token_lifespan"], 77);
    sent_to(&console.send(&stale, path, &set).await, shown);
    assert_eq!(entity(&api, "Kiosk").await["access_token_lifespan"], 60);
    // What was typed and has to be corrected rests on what was seen when it was typed.
    let opened = console.get(shown).await;
    api.put("/v1/oauth-entities/Kiosk", &json!({"access_token_lifespan": 78})).await.expect(200);
    let mut wrong = set;
    wrong[4].1 = "0";
    let refused = console.send(&opened, path, &wrong).await;
    assert!(page(&refused, 422).contains("value=\"60\""), "{}", refused.text);
    page(&console.send(&refused, path, &set).await, 412);
    assert_eq!(entity(&api, "Kiosk").await["access_token_lifespan"], 78);

    // Of two who saw the same, one changes it.
    let (manager, actor) = (&api.node.manager, Actor("tests"));
    let put = |seconds| EntityPut { access_token_lifespan: Some(seconds), ..EntityPut::default() };
    let (short, long) = (put(10), put(20));
    for _ in 0..5 {
        let seen = manager.store().entity_revision("Kiosk").await.unwrap().unwrap();
        let (one, other) = tokio::join!(
            manager.change_entity("Kiosk", &short, seen, actor),
            manager.change_entity("Kiosk", &long, seen, actor),
        );
        assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
        assert_eq!(one.err().or(other.err()).unwrap().code(), "version_mismatch");
    }
}

#[tokio::test]
async fn an_application_is_deleted_once_it_has_no_session_and_what_was_stays_on_record() {
    let api = Api::start().await;
    let console = administrator(&api).await;
    api.put("/v1/oauth-entities/Kiosk", &json!({})).await.expect(201);
    user(&api, "bow.ruggeri", &[]).await;
    let (session, token) = api.create(&json!({"kind": "mobile", "user": "bow.ruggeri", "oauth_entity": "Kiosk"})).await;
    let id = session["id"].as_str().unwrap();
    let (path, delete) = ("/console/entity", [("name", "Kiosk"), ("act", "delete")]);
    let asked = console.post(path, &delete).await;
    let text = page(&asked, 200);
    assert!(text.contains("It has 1 session, and cannot be deleted until that has ended."), "{text}");
    assert!(!text.contains("name=\"sure\"") && text.contains("href=\"/console/sessions?kind=mobile\""), "{text}");
    let shown = console.get("/console/entity?name=Kiosk").await;
    let (act, sure) = (("act", "delete"), ("sure", "yes"));
    let refused = console.send(&shown, path, &[act, sure, RIGHT]).await;
    assert!(page(&refused, 409).contains("still has live sessions"), "{}", refused.text);
    api.check(&token).await.expect(200);

    api.delete(&format!("/v1/sessions/{id}")).await.expect(200);
    let asked = console.send(&shown, path, &[act]).await;
    assert!(page(&asked, 200).contains("Nobody will be able to sign in through it."), "{}", asked.text);
    page(&console.send(&asked, path, &[("sure", "yes")]).await, 403);
    let reporter = Console::of(&api, "don.goodliffe", &["reporter"]).await;
    page(&reporter.post(path, &[&delete[..], &[("sure", "yes"), RIGHT]].concat()).await, 403);
    // What was seen is what is deleted, not what bears its name by now.
    api.delete("/v1/oauth-entities/Kiosk").await.expect(200);
    api.put("/v1/oauth-entities/Kiosk", &json!({"client_id": "another"})).await.expect(201);
    page(&console.send(&asked, path, &[sure, RIGHT]).await, 412);
    assert_eq!(entity(&api, "Kiosk").await["client_id"], "another");
    let asked = console.send(&console.get("/console/entity?name=Kiosk").await, path, &[act]).await;
    let done = console.send(&asked, path, &[("sure", "yes"), RIGHT]).await;
    assert!(page(&done, 200).contains("Kiosk deleted"), "{}", done.text);
    api.get("/v1/oauth-entities/Kiosk").await.refused(404, "unknown_oauth_entity");
    page(&console.send(&asked, path, &[("sure", "yes"), RIGHT]).await, 404);
    assert_eq!(api.get(&format!("/v1/sessions/{id}")).await.expect(200)["oauth_entity"], "Kiosk");
    let events = api.get("/v1/events?type=oauth_entity_deleted").await.expect(200);
    assert_eq!(events["items"][0]["actor"], "abel.tuter", "{events}");
}

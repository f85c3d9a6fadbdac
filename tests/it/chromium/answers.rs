//! What answers a form, in a real browser: it is as accessible as the pages one goes to, and who is without a mouse or a screen is
//! where it begins.

use chrono::{SecondsFormat, TimeDelta};
use serde_json::json;

use super::{ENTER, SOON, console, faults_of, press, site, until_heading};
use crate::support::{Api, Browser};

/// The heading that answers, and with it what is said at once.
const HEADING: &str = "h1";

/// The page that shows answers with this heading or asks for this field, which has the focus; it is accessible in both themes, and
/// its policy stopped nothing.
async fn answered(browser: &Browser, heading: &str, focused: &str) {
    until_heading(browser, heading).await;
    browser.until(&format!("document.activeElement.matches('{focused}')"), SOON).await;
    // What it refers to, such as what is described by the result, is there.
    let described = "(id => id === null || document.getElementById(id).textContent.length > 9)(document.activeElement.getAttribute('aria-describedby'))";
    assert_eq!(browser.value(described).await, true, "{heading}");
    for dark in [false, true] {
        browser.prefer_dark(dark).await;
        assert_eq!(faults_of(browser).await, [""; 0], "{heading}, dark: {dark}");
    }
    assert_eq!(browser.stopped_by_policy().await, [""; 0], "{heading}");
}

/// Fills in a field.
async fn fill(browser: &Browser, id: &str, value: &str) {
    browser.until(&format!("document.getElementById('{id}') !== null"), SOON).await;
    browser.run(&format!("document.getElementById('{id}').value = '{value}'")).await;
}

const PASSWORD: &str = "correct horse battery";

#[tokio::test]
#[ignore = "needs Chromium: make test-browser"]
async fn what_answers_a_form_of_sessions_has_the_focus_and_is_accessible() {
    let api = Api::start().await;
    let browser = Browser::start().await;
    console(&api, &browser).await;
    let list = format!("{}/console/sessions?kind=guest", api.node.url);
    let guest = async || api.create(&json!({"kind": "guest"})).await.0["id"].as_str().unwrap().to_owned();
    let ask = async |id: &str| {
        browser.open(&list).await;
        browser.run(&format!("document.querySelector('#s-{id} button').click()")).await;
    };

    let id = guest().await;
    ask(&id).await;
    answered(&browser, "Terminate this session?", HEADING).await;
    press(&browser, "Terminate").await;
    answered(&browser, "1 session terminated", HEADING).await;

    // Another was quicker, before the question and after it.
    let id = guest().await;
    ask(&id).await;
    until_heading(&browser, "Terminate this session?").await;
    api.delete(&format!("/v1/sessions/{id}")).await.expect(200);
    press(&browser, "Terminate").await;
    answered(&browser, "0 sessions terminated", HEADING).await;
    let id = guest().await;
    browser.open(&list).await;
    browser.run("document.getElementById('pause').click()").await;
    api.delete(&format!("/v1/sessions/{id}")).await.expect(200);
    browser.run(&format!("document.querySelector('#s-{id} button').click()")).await;
    answered(&browser, "Nothing to terminate", HEADING).await;

    // All that match: the question, a wrong number, the receipt, and nothing that matches any more.
    guest().await;
    let all = async || {
        browser.open(&list).await;
        browser.run("document.querySelector('button[formaction]').click()").await;
    };
    all().await;
    answered(&browser, "Terminate 1 session?", HEADING).await;
    fill(&browser, "password", PASSWORD).await;
    fill(&browser, "typed", "7").await;
    press(&browser, "Terminate this session").await;
    answered(&browser, "Terminate 1 session?", "#typed").await;
    fill(&browser, "password", PASSWORD).await;
    fill(&browser, "typed", "1").await;
    press(&browser, "Terminate this session").await;
    answered(&browser, "1 session terminated", HEADING).await;
    all().await;
    answered(&browser, "Nothing to terminate", HEADING).await;
}

#[tokio::test]
#[ignore = "needs Chromium: make test-browser"]
async fn what_answers_a_form_of_keys_and_users_has_the_focus_and_is_accessible() {
    let api = Api::start().await;
    let browser = Browser::start().await;
    console(&api, &browser).await;
    let keys = format!("{}/console/keys", api.node.url);
    browser.open(&keys).await;
    fill(&browser, "name", "reports").await;
    fill(&browser, "password", PASSWORD).await;
    press(&browser, "Make the key").await;
    answered(&browser, "Key reports", HEADING).await;

    let revoke = async || {
        browser.open(&keys).await;
        browser.run("document.querySelector('button[aria-label=\"Revoke the key reports\"]').click()").await;
        until_heading(&browser, "Revoke the key reports?").await;
    };
    revoke().await;
    answered(&browser, "Revoke the key reports?", HEADING).await;
    fill(&browser, "password", "wrong horse battery").await;
    press(&browser, "Revoke").await;
    browser.until("document.getElementById('result')?.textContent.startsWith('The password is wrong')", SOON).await;
    let refused = browser.value("document.querySelector('h1').textContent").await;
    answered(&browser, refused.as_str().unwrap(), HEADING).await;
    revoke().await;
    fill(&browser, "password", PASSWORD).await;
    press(&browser, "Revoke").await;
    answered(&browser, "Key reports revoked", HEADING).await;

    api.put("/v1/users/bow.ruggeri", &json!({})).await.expect(201);
    browser.open(&format!("{}/console/user?name=bow.ruggeri", api.node.url)).await;
    press(&browser, "Lock out…").await;
    answered(&browser, "Lock out: bow.ruggeri?", HEADING).await;
    press(&browser, "Lock out").await;
    answered(&browser, "Lock out: bow.ruggeri", HEADING).await;
}

#[tokio::test]
#[ignore = "needs Chromium: make test-browser"]
async fn what_answers_who_makes_or_deletes_has_the_focus_and_is_accessible() {
    let api = Api::start().await;
    let browser = Browser::start().await;
    console(&api, &browser).await;
    let at = |path: &str| format!("{}/console/{path}", api.node.url);
    browser.open(&at("users/new")).await;
    fill(&browser, "name", "bow.ruggeri").await;
    fill(&browser, "password", "wrong horse battery").await;
    press(&browser, "Make the user").await;
    answered(&browser, "New user", "#problem").await;
    fill(&browser, "password", PASSWORD).await;
    press(&browser, "Make the user").await;
    until_heading(&browser, "bow.ruggeri").await;
    press(&browser, "Delete…").await;
    answered(&browser, "Delete: bow.ruggeri?", HEADING).await;
    fill(&browser, "password", PASSWORD).await;
    press(&browser, "Delete").await;
    answered(&browser, "Delete: bow.ruggeri", HEADING).await;

    api.put("/v1/oauth-entities/Kiosk", &json!({"public": false})).await.expect(201);
    browser.open(&at("entity?name=Kiosk")).await;
    press(&browser, "New secret…").await;
    answered(&browser, "New secret: Kiosk?", HEADING).await;
    fill(&browser, "password", PASSWORD).await;
    press(&browser, "New secret").await;
    answered(&browser, "Kiosk", HEADING).await;
    browser.open(&at("entity?name=Kiosk")).await;
    press(&browser, "Delete…").await;
    answered(&browser, "Delete: Kiosk?", HEADING).await;
    fill(&browser, "password", PASSWORD).await;
    press(&browser, "Delete").await;
    answered(&browser, "Kiosk deleted", HEADING).await;
}

#[tokio::test]
#[ignore = "needs Chromium: make test-browser"]
async fn what_answers_a_form_of_properties_has_the_focus_and_is_accessible() {
    let api = Api::start().await;
    let browser = Browser::start().await;
    console(&api, &browser).await;
    let page = async |name: &str, value: &str| {
        browser.open(&format!("{}/console/property?name={name}&value={value}", api.node.url)).await;
    };
    // What it would do, and why not.
    page("glide.ui.session_timeout", "15").await;
    answered(&browser, "glide.ui.session_timeout", "h2").await;
    press(&browser, "Set to 15 minutes").await;
    answered(&browser, "glide.ui.session_timeout", HEADING).await;
    page("glide.ui.session_timeout", "0").await;
    answered(&browser, "glide.ui.session_timeout", "#value").await;

    // One that ends every session takes the password; a wrong one is said where the value is.
    let value = (api.db.now().await + TimeDelta::hours(2)).to_rfc3339_opts(SecondsFormat::Secs, true);
    page("tenure.maintenance_at", &value).await;
    answered(&browser, "tenure.maintenance_at", "h2").await;
    let set = async |password: &str| {
        fill(&browser, "password", password).await;
        browser.run("document.querySelector('button.main').click()").await;
    };
    set("wrong horse battery").await;
    browser.until("document.getElementById('problem')?.textContent.startsWith('The password is wrong')", SOON).await;
    answered(&browser, "tenure.maintenance_at", "#value").await;
    // What was announced is said at once; who has closed that is at the result.
    set(PASSWORD).await;
    browser.until("document.querySelector('dialog.tenure-maintenance[open]') !== null", SOON).await;
    browser.press(ENTER).await;
    browser.until("document.getElementById('result')?.textContent.startsWith('It is ')", SOON).await;
    answered(&browser, "tenure.maintenance_at", HEADING).await;
}

#[tokio::test]
#[ignore = "needs Chromium: make test-browser"]
async fn only_a_sentence_is_read_out_while_a_value_is_typed() {
    const SAID: &str = "document.getElementById('said').textContent";
    let api = Api::start().await;
    let browser = Browser::start().await;
    console(&api, &browser).await;
    browser.open(&format!("{}/console/property?name=glide.ui.session_timeout", api.node.url)).await;
    // What changes with every key lies in no region that is read out as a whole.
    let whole = "document.getElementById('preview').closest('[aria-live], [role=status], [role=alert]') === null";
    assert_eq!(browser.value(whole).await, true);
    assert_eq!(browser.value(SAID).await, "");
    browser.run("document.getElementById('value').select()").await;
    browser.write("15").await;
    browser.until(&format!("{SAID} === 'With 15 minutes: 1 session ends earlier than it would have.'"), SOON).await;
    assert_eq!(browser.value("document.activeElement.id").await, "value", "who is typing stays there");
    answered(&browser, "glide.ui.session_timeout", "#value").await;
    browser.run("document.getElementById('value').select()").await;
    browser.write("x").await;
    assert_eq!(browser.value(SAID).await, "", "of another value");
}

#[tokio::test]
#[ignore = "needs Chromium: make test-browser"]
async fn whoever_is_refused_is_told_where_the_focus_is() {
    let api = Api::start().await;
    let browser = Browser::start().await;
    let sign_in = format!("{}/console/sign-in", api.node.url);
    // Why one is here is said with the first field.
    browser.open(&format!("{sign_in}?reason=terminated")).await;
    answered(&browser, "Sign in", "#user[aria-describedby]").await;
    browser.open(&sign_in).await;
    fill(&browser, "user", "abel.tuter").await;
    fill(&browser, "password", "wrong horse battery").await;
    press(&browser, "Sign in").await;
    answered(&browser, "Sign in", "#password[aria-describedby]").await;

    console(&api, &browser).await;
    browser.open(&format!("{}/console/nothing", api.node.url)).await;
    let heading = browser.value("document.querySelector('h1').textContent").await;
    answered(&browser, heading.as_str().unwrap(), "h1[aria-describedby]").await;
    // A form of another origin.
    browser.open(&format!("{}/page", site(&api).await)).await;
    let form = format!("method: 'post', action: '{}/console/keys'", api.node.url);
    browser
        .run(&format!(
            "const form = Object.assign(document.createElement('form'), {{ {form} }}); document.body.append(form); form.submit()"
        ))
        .await;
    browser.until("document.getElementById('result')?.textContent.startsWith('The form does not come from')", SOON).await;
    let heading = browser.value("document.querySelector('h1').textContent").await;
    answered(&browser, heading.as_str().unwrap(), "h1[aria-describedby]").await;
}

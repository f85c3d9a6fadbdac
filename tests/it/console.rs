//! The console over HTTP: who sees what, what a form may do, and what a page says.

mod forms;
mod headers;
mod nodes;
mod pages;
mod scale;

use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder};
use tenure::input::CreateSession;
use tenure::store::Actor;

use crate::support::{Answer, Api, Node, send};

/// A browser at the console of a node: it holds one cookie, and follows no redirect by itself.
pub struct Console {
    client: Client,
    url: String,
    /// The token in its cookie.
    pub token: String,
    /// The session of the token.
    pub session: String,
}

impl Console {
    /// Nobody is signed in.
    pub fn stranger(node: &Node) -> Self {
        let client = Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
        Self { client, url: node.url.clone(), token: String::new(), session: String::new() }
    }

    /// A user with these roles, signed in.
    pub async fn of(api: &Api, name: &str, roles: &[&str]) -> Self {
        user(api, name, roles).await;
        let (session, token) = enter(api, name).await;
        Self { token, session, ..Self::stranger(&api.node) }
    }

    /// The same browser at another node.
    pub fn at(self, node: &Node) -> Self {
        Self { url: node.url.clone(), ..self }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.url));
        if self.token.is_empty() { request } else { request.header("cookie", format!("__Host-tenure={}", self.token)) }
    }

    /// Opens a page.
    pub async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    /// A form that nothing says the origin of.
    pub fn form(&self, path: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        let body = fields.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect::<Vec<_>>().join("&");
        self.request(Method::POST, path).header("content-type", "application/x-www-form-urlencoded").body(body)
    }

    /// Sends the last form of a page, with what a person adds to it.
    pub async fn send(&self, from: &Answer, action: &str, typed: &[(&str, &str)]) -> Answer {
        let fields = fields(from, action);
        let fields = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(typed.iter().copied());
        self.post(action, &fields.collect::<Vec<_>>()).await
    }

    /// Sends a form of a page of the console.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        send(self.form(path, fields).header("sec-fetch-site", "same-origin")).await
    }
}

/// What the last form of a page sends to `action`, as the page gives it and without what is typed.
#[track_caller]
pub fn fields(answer: &Answer, action: &str) -> Vec<(String, String)> {
    let form = answer.text.rsplit_once(&format!("<form method=\"post\" action=\"{action}\"")).expect(&answer.text).1;
    let form = form.split("</form>").next().unwrap();
    let inputs = form.split("<input type=\"hidden\" name=\"").skip(1);
    inputs
        .map(|input| {
            let (name, rest) = input.split_once("\" value=\"").unwrap();
            (name.to_owned(), rest.split('"').next().unwrap().to_owned())
        })
        .collect()
}

/// Id and token of a session as the sign-in page begins it.
async fn enter(api: &Api, name: &str) -> (String, String) {
    let new = CreateSession { kind: "user".into(), user: Some(name.into()), ..Default::default() };
    let created = api.node.manager.create(&new.validate().unwrap(), Actor("console sign-in")).await.unwrap();
    (created.session.id.to_string(), created.token.reveal().to_owned())
}

/// A user with these roles, by plain SQL, which judges no role.
pub async fn user(api: &Api, name: &str, roles: &[&str]) {
    let roles = roles.join(",");
    api.db.sql(&format!("insert into tenure.users (name, roles) values ('{name}', '{{{roles}}}')")).await;
}

fn escaped(value: &str) -> String {
    value.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// A whole page of HTML with what every page of the console has.
#[track_caller]
pub fn page(answer: &Answer, status: u16) -> &str {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{}", answer.text);
    assert!(answer.text.starts_with("<!doctype html>") && answer.text.trim_end().ends_with("</html>"), "{}", answer.text);
    assert_eq!(answer.text.matches("<h1").count(), 1, "{}", answer.text);
    guarded(answer);
    &answer.text
}

/// The headers of every answer of the console.
#[track_caller]
pub fn guarded(answer: &Answer) {
    let policy = answer.header("content-security-policy").expect("a policy");
    for part in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "form-action 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("data:"), "{policy}");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert!(answer.header("server-timing").is_some_and(|timing| timing.starts_with("page;dur=")));
}

/// Sent elsewhere.
#[track_caller]
pub fn sent_to<'a>(answer: &'a Answer, location: &str) -> &'a Answer {
    assert_eq!((answer.status, answer.header("location")), (303, Some(location)), "{}", answer.text);
    guarded(answer);
    answer
}

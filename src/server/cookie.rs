//! The browser's cookie. Its name keeps it from being set by another host, another path or over plain HTTP, and
//! `HttpOnly` keeps scripts from reading it.
//!
//! `SameSite` is Lax. Under Strict a link from a mail or another site would arrive without the cookie, and a proxy that asks
//! [`/v1/auth`](super::routes) would send somebody who is signed in to the sign-in page. Lax still keeps the cookie out of
//! images, frames, scripts and forms of other sites; what changes something here wants more: see
//! [`SameOrigin`](super::same_origin::SameOrigin).

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};

use super::problem::Problem;
use crate::session::{SessionToken, SessionView};

/// Name of the cookie.
pub(super) const NAME: &str = "__Host-tenure";

const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Lax";

/// The value of the cookie, as it was sent; `None` without one.
///
/// Two of that name are refused (8): one is somebody else's, and nobody knows which.
pub(super) fn read(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    // Bytes, because the cookies beside it are not ours and may hold anything.
    let pairs = headers.get_all(COOKIE).into_iter().flat_map(|header| header.as_bytes().split(|byte| *byte == b';'));
    let mut values = pairs.filter_map(|pair| pair.trim_ascii().strip_prefix(NAME.as_bytes())?.strip_prefix(b"="));
    match (values.next(), values.next()) {
        (Some(_), Some(_)) => Err(Problem::ambiguous_token("The request has two cookies of the name __Host-tenure.")),
        // What is no text is no token of ours, like any other wrong one.
        (value, _) => Ok(value.map(|value| std::str::from_utf8(value).unwrap_or_default())),
    }
}

/// The cookie that gives a browser its token: until the browser ends, or for as long as Remember Me keeps the session.
///
/// For the answer that starts the session. The store does not rely on when a browser forgets it.
pub(super) fn issue(session: &SessionView, token: &SessionToken) -> HeaderValue {
    let max_age = session
        .remember_me_deadline_at
        .map(|deadline| format!("; Max-Age={}", (deadline - session.last_activity_at).num_seconds().max(0)))
        .unwrap_or_default();
    header(&format!("{NAME}={}; {ATTRIBUTES}{max_age}", token.reveal()))
}

/// The cookie that takes the token away again.
pub(super) fn clear() -> HeaderValue {
    header(&format!("{NAME}=; {ATTRIBUTES}; Max-Age=0"))
}

fn header(cookie: &str) -> HeaderValue {
    let mut value = HeaderValue::from_str(cookie).expect("a token is base64url and the rest is ours");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Kind, Limits, Policy, Session, TokenParts};

    fn cookies(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (COOKIE, HeaderValue::from_bytes(value.as_bytes()).unwrap())).collect()
    }

    #[test]
    fn it_is_found_among_others() {
        for sent in [
            &["__Host-tenure=tn_x"][..],
            &["a=1; __Host-tenure=tn_x; b=\"2\""],
            &["a=é;__Host-tenure=tn_x"],
            &["a=1", "__Host-tenure=tn_x"],
            &["x__Host-tenure=no; __Host-tenure=tn_x; __Host-tenure2=no; __host-tenure=no"],
        ] {
            assert_eq!(read(&cookies(sent)).unwrap(), Some("tn_x"), "{sent:?}");
        }
        for sent in [&[][..], &["a=1"], &["__Host-tenure"], &["tenure=tn_x"]] {
            assert_eq!(read(&cookies(sent)).unwrap(), None, "{sent:?}");
        }
    }

    #[test]
    fn input_008_two_of_the_name_are_refused_even_when_they_agree() {
        for sent in [
            &["__Host-tenure=tn_x; __Host-tenure=tn_y"][..],
            &["__Host-tenure=tn_x; __Host-tenure=tn_x"],
            &["__Host-tenure=tn_x", "a=1; __Host-tenure="],
        ] {
            assert!(read(&cookies(sent)).is_err(), "{sent:?}");
        }
    }

    #[test]
    fn it_lasts_as_long_as_remember_me_keeps_the_session_or_the_browser_runs() {
        let began = crate::session::instant(1_772_366_400_000_000);
        let session = |remember_me| Session {
            id: uuid::Uuid::nil(),
            kind: Kind::User,
            user: Some("abel.tuter".to_owned()),
            device: None,
            remember_me,
            residue: false,
            created_at: began,
            last_activity_at: began,
            refresh_seconds: None,
            idle_limit_seconds: None,
            window_seconds: None,
            oauth_entity: None,
            app_state: None,
            app_state_at: None,
            node: None,
            client_address: None,
            user_agent: None,
            active: false,
            ended: None,
        };
        let policy = Policy {
            idle_seconds: 1800,
            max_life_seconds: None,
            remember_me_seconds: Some(1_296_000),
            residue_seconds: None,
            prompt_seconds: 120,
            auto_refresh_extends: true,
            ajax_prompt: true,
            ajax_resubmit: false,
            maintenance_at: None,
        };
        let token = TokenParts::new().for_session(uuid::Uuid::nil());
        for (remember_me, attributes) in
            [(false, "Path=/; Secure; HttpOnly; SameSite=Lax"), (true, "Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=1296000")]
        {
            let session = session(remember_me);
            let limits = Limits::of(&session, &policy);
            let cookie = issue(&SessionView::new(session, Some(&limits)), &token);
            assert_eq!(cookie.to_str().unwrap(), format!("__Host-tenure={}; {attributes}", token.reveal()));
            assert!(cookie.is_sensitive());
        }
        assert_eq!(clear().to_str().unwrap(), "__Host-tenure=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0");
    }
}

//! Changing a client application, giving it another secret, and deleting it. What the app has to be told of says so first and asks
//! for the password; nothing overwrites what somebody else has changed since the page was made.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};

use super::super::super::address::ClientAddress;
use super::super::super::auth::Admins;
use super::super::super::problem::Problem;
use super::super::super::{App, AppState};
use super::super::failure::{Refused, Stopped};
use super::super::form::{Form, encoded};
use super::super::operator::Operator;
use super::super::page::{Answer, Frame, rendered};
use super::super::sure;
use super::{Fields, Page, Receipt, TimeOuts};
use crate::error::Error;
use crate::input;
use crate::store::{Entity, EntityPut, Revision};

/// Live sessions of an application that are counted; more are as good a reason not to delete it.
const COUNTED: i64 = 10_000;

/// What can be done to an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Change,
    Secret,
    Delete,
}

impl Act {
    fn named(word: &str) -> Result<Self, Problem> {
        match word {
            "change" => Ok(Self::Change),
            "secret" => Ok(Self::Secret),
            "delete" => Ok(Self::Delete),
            _ => {
                let advice = "Go back to the application.";
                Err(Problem::new(400, "invalid_parameter", "There is nothing of this name to do.", advice))
            }
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::Secret => "secret",
            Self::Delete => "delete",
        }
    }

    /// On a button and in a heading.
    fn label(self) -> &'static str {
        match self {
            Self::Change => "Change",
            Self::Secret => "New secret",
            Self::Delete => "Delete",
        }
    }
}

#[derive(Template)]
#[template(path = "entity_sure.html")]
struct Sure {
    frame: Frame,
    name: String,
    /// The name as part of an address.
    encoded: String,
    label: &'static str,
    word: &'static str,
    revision: String,
    /// The fields of a change, to be sent along.
    fields: Option<Fields>,
    /// What will happen, sentence by sentence.
    happens: Vec<String>,
    /// Why it cannot be done now.
    stopped: Option<String>,
    /// Why it was not done.
    problem: Option<String>,
}

#[derive(Template)]
#[template(path = "entity_gone.html")]
struct Gone {
    frame: Frame,
    name: String,
}

/// Changes an application. Lifespans concern who signs in afterwards: live sessions keep the window of their sign-in (P5), so
/// nothing ends, and nothing is asked.
pub(in crate::server::console) async fn change(
    operator: Operator<Admins>,
    State(app): AppState,
    address: ClientAddress,
    form: Form,
) -> Answer<Response> {
    let act = Act::named(form.one("act"))?;
    let entity = app.manager.entity(&input::entity_name(form.one("name"))?).await?;
    let fields = Fields::of(&form);
    // The page as it is now, with what was typed unless it rests on something else.
    let refused = async |error: Error| -> Answer<Response> {
        let refused = Stopped::from(error).refused()?;
        let mut page = Page { problem: Some(refused.said().to_owned()), ..Page::of(&app, &operator, &entity.name).await? };
        // What is kept goes on resting on what was seen when it was typed.
        if act == Act::Change && !refused.is_stale() {
            page.fields = Fields::of(&form);
            page.revision = Revision::read(form.one("revision"));
        }
        Ok(refused.on(rendered(&page)?))
    };
    let put = match act {
        Act::Change => fields.judged(&entity.name),
        Act::Secret => Ok(EntityPut { public: Some(false), new_secret: true, ..EntityPut::default() }),
        Act::Delete => Ok(EntityPut::default()),
    };
    let put = match put {
        Ok(put) => put,
        Err(error) => return refused(error).await,
    };
    let happens = consequences(&entity, act, &put);
    if !happens.is_empty() {
        let ask = async |problem: Option<String>| -> Answer {
            rendered(&Sure {
                frame: Frame::of(&operator, "entities"),
                name: entity.name.clone(),
                encoded: encoded(&entity.name),
                label: act.label(),
                word: act.word(),
                revision: form.one("revision").to_owned(),
                fields: (act == Act::Change).then(|| Fields::of(&form)),
                happens: happens.clone(),
                stopped: stopped(&app, &entity, act).await?,
                problem,
            })
        };
        if form.one("sure") != "yes" {
            return Ok(ask(None).await?.into_response());
        }
        if let Err(problem) = sure::prove(&app, &operator, address, &form).await {
            let refused = Refused::from(problem);
            let page = ask(Some(refused.said().to_owned())).await?;
            return Ok(refused.on(page));
        }
    }
    let seen = Revision::read(form.one("revision"));
    if act == Act::Delete {
        return match app.manager.delete_entity(&entity.name, Some(seen), operator.actor()).await {
            Ok(gone) => Ok(rendered(&Gone { frame: Frame::of(&operator, "entities"), name: gone.name })?.into_response()),
            Err(error) => refused(error).await,
        };
    }
    let changed = match app.manager.change_entity(&entity.name, &put, seen, operator.actor()).await {
        Ok(changed) => changed,
        Err(error) => return refused(error).await,
    };
    let Some(secret) = changed.secret else {
        return Ok(Redirect::to(&format!("/console/entity?name={}", encoded(&entity.name))).into_response());
    };
    let line = TimeOuts::of(&app).await?.line(changed.entity);
    let frame = Frame::of(&operator, "entities");
    Ok(rendered(&Receipt { frame, line: &line, secret: secret.reveal() })?.into_response())
}

/// What the application has to be told of, or can do no more, sentence by sentence; nothing when only lifespans change.
fn consequences(entity: &Entity, act: Act, put: &EntityPut) -> Vec<String> {
    let mut happens = Vec::new();
    if let Some(id) = put.client_id.as_ref().filter(|id| **id != entity.client_id) {
        happens.push(format!("Its client id will be {id} instead of {}.", entity.client_id));
        happens.push("The app can renew no token until it calls itself by the new one.".to_owned());
    }
    let public = put.public.unwrap_or(entity.public);
    if act == Act::Change && public && !entity.public {
        happens.push("Its secret is void: whoever knows the client id and a refresh token may redeem it.".to_owned());
        happens.push("The app can renew no token until it stops sending one.".to_owned());
    }
    if (act == Act::Change && !public && entity.public) || (act == Act::Secret && entity.public) {
        happens.push("It gets a secret, which is shown once. The app can renew no token until it has it.".to_owned());
    } else if act == Act::Secret {
        happens.push("It gets another secret, which is shown once. The old one is void at once.".to_owned());
        happens.push("The app can renew no token until it has the new one.".to_owned());
    }
    if act == Act::Delete {
        happens.push("Nobody will be able to sign in through it. No session ends by it.".to_owned());
        happens.push("Ended sessions keep its name on record, for as long as they are retained.".to_owned());
    } else if !happens.is_empty() {
        happens.push("No session ends by it at once.".to_owned());
    }
    happens
}

/// Why the application cannot be deleted now.
async fn stopped(app: &App, entity: &Entity, act: Act) -> Answer<Option<String>> {
    if act != Act::Delete {
        return Ok(None);
    }
    Ok(match app.manager.store().entity_sessions(&entity.name, COUNTED + 1).await? {
        0 => None,
        1 => Some("It has 1 session, and cannot be deleted until that has ended.".to_owned()),
        count if count > COUNTED => {
            Some(format!("It has more than {COUNTED} sessions, and cannot be deleted until they have ended."))
        }
        count => Some(format!("It has {count} sessions, and cannot be deleted until they have ended.")),
    })
}

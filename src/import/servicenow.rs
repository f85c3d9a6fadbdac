//! What ServiceNow's tables say, in the words of this store: users, properties, client applications.

use serde_json::{Value, json};

use super::{Item, Record, Remark, Rows, row};
use crate::error::Error;
use crate::input::{EntityInput, UserInput, entity_name, user_name};

/// A table that is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Table {
    /// `sys_user`.
    Users,
    /// `sys_properties`.
    Properties,
    /// `oauth_entity`.
    OauthEntities,
}

impl Table {
    /// Its name there.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Users => "sys_user",
            Self::Properties => "sys_properties",
            Self::OauthEntities => "oauth_entity",
        }
    }

    /// The table of a name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Users, Self::Properties, Self::OauthEntities].into_iter().find(|table| table.name() == name)
    }
}

/// Makes of a record what the store takes; `table` is the record's where it does not say itself.
pub fn convert(record: &Record, table: Option<Table>) -> Result<Item, Remark> {
    let table = record.table.as_deref().map_or(table, Table::named);
    let (Some(table), false) = (table, record.deleted) else { return Ok(Item::Nothing) };
    match table {
        Table::Users => row(record.line, Rows::Users, &user(record)?),
        // An empty value there is none at all.
        Table::Properties if filled(record, "value").is_none() => Ok(Item::Nothing),
        Table::Properties => row(record.line, Rows::Properties, &property(record)?),
        Table::OauthEntities => row(record.line, Rows::OauthEntities, &entity(record)?),
    }
}

/// A field that is not empty.
fn filled<'a>(record: &'a Record, field: &str) -> Option<&'a str> {
    record.fields.get(field).map(String::as_str).filter(|text| !text.is_empty())
}

fn required<'a>(record: &'a Record, field: &str) -> Result<&'a str, Remark> {
    filled(record, field).ok_or_else(|| Remark::new(record.line, field, "It is missing or empty."))
}

/// A refusal of the validation room as a rejected line.
fn because<'a>(record: &'a Record, field: &'a str) -> impl Fn(Error) -> Remark + 'a {
    move |error| Remark::new(record.line, field, error.to_string())
}

/// An empty one is false there. One that was not exported is nothing to guess at: it may lock its user out.
fn boolean(record: &Record, field: &str) -> Result<bool, Remark> {
    let said = |reason: &str| Remark::new(record.line, field, reason);
    let text = record.fields.get(field).ok_or_else(|| said("It is missing: export this column too."))?;
    if text.is_empty() { Ok(false) } else { word(text).ok_or_else(|| said("It is neither true nor false.")) }
}

fn word(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" => Some(true),
        "false" | "0" | "no" => Some(false),
        _ => None,
    }
}

/// Roles stay there: what they allow is something else.
fn user(record: &Record) -> Result<Value, Remark> {
    let name = user_name(required(record, "user_name")?).map_err(because(record, "user_name"))?;
    let input = UserInput { display_name: filled(record, "name").map(|name| Some(name.to_owned())), ..UserInput::default() };
    let display_name = input.validate(&name).map_err(because(record, "name"))?.display_name.flatten();
    Ok(json!({
        "name": name, "display_name": display_name,
        "active": boolean(record, "active")?, "locked_out": boolean(record, "locked_out")?,
    }))
}

/// Whether a value fits says the catalogue; here it only gets the spelling of this store.
fn property(record: &Record) -> Result<Value, Remark> {
    let name = required(record, "name")?;
    let value = filled(record, "value").unwrap_or_default().trim();
    if name.chars().count() > 255 || value.chars().count() > 255 || value.contains('\0') || name.contains('\0') {
        // No property of the catalogue is that long.
        return Ok(json!({ "name": "", "value": "-" }));
    }
    let number = value.trim_start_matches('0');
    let value = match value.to_ascii_lowercase().as_str() {
        word @ ("true" | "false") => word.to_owned(),
        "yes" => "true".to_owned(),
        "no" => "false".to_owned(),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => if number.is_empty() { "0" } else { number }.to_owned(),
        _ => value.to_owned(),
    };
    Ok(json!({ "name": name, "value": value }))
}

fn entity(record: &Record) -> Result<Value, Remark> {
    let name = entity_name(required(record, "name")?).map_err(because(record, "name"))?;
    let seconds = |field: &str| match filled(record, field).map(|text| text.trim().replace(',', "")) {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| Remark::new(record.line, field, "It is no whole number of seconds.")),
    };
    let input = EntityInput {
        client_id: Some(required(record, "client_id")?.to_owned()),
        access_token_lifespan: seconds("access_token_lifespan")?,
        refresh_token_lifespan: seconds("refresh_token_lifespan")?,
        ..EntityInput::default()
    };
    let put = input.validate(&name).map_err(because(record, "client_id"))?;
    Ok(json!({
        "name": name, "client_id": put.client_id,
        "access_token_lifespan": put.access_token_lifespan, "refresh_token_lifespan": put.refresh_token_lifespan,
        // It is encrypted there with a key that stays there: never imported. Whoever may have one is not made public.
        "confidential": record.fields.get("client_secret").is_none_or(|secret| !secret.is_empty()),
    }))
}

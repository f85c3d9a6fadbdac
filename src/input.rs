//! Bad input is refused here: one function for each kind of value, the same for HTTP, command line and library.
//!
//! Each answer says what is wrong, where, the limit, and what to do; none quotes a secret. Numbers in comments are those of
//! `docs/FAULTS.md`, "Bad input".

mod change;
mod entity;
mod filter;
mod login;

use std::net::{IpAddr, Ipv6Addr};

use chrono::{DateTime, Datelike, Utc};
use ipnet::IpNet;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;

pub use login::{LogIn, PasswordInput, new_password, presented_password};

use crate::error::{Error, Result};
use crate::session::{Activity, Device, Kind, SessionToken};
use crate::store::{NewSession, Once, UserPatch};

pub use change::{PropertyInput, RehearsalInput, UserRehearsalInput, expect, expect_parameters};
pub use entity::{EntityInput, entity_name};
pub use filter::{SessionFilter, TerminateInput, state};

/// Longest user agent kept, characters.
const USER_AGENT: usize = 512;

fn invalid(field: &str, what: impl std::fmt::Display, advice: impl Into<String>) -> Error {
    Error::refused(422, "invalid_field", format!("{field}: {what}"), advice)
}

/// A parameter of a listing or command that cannot be read (34 to 38).
pub fn parameter(name: &str, what: impl std::fmt::Display) -> Error {
    Error::refused(400, "invalid_parameter", format!("The parameter {name}: {what}"), "Correct it and repeat the request.")
}

/// A sign-in as JSON or arguments give it, before it is checked.
#[derive(Debug, Clone, Default, serde::Deserialize, serde::Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateSession {
    /// `user`, `guest`, `integration` or `mobile`.
    pub kind: String,
    /// User name; for every kind but guest.
    pub user: Option<String>,
    /// Remember Me; kind user only, null takes the property's default.
    pub remember_me: Option<bool>,
    /// `desktop`, `tablet`, `phone` or `app`; null is desktop for user and guest, app for mobile.
    pub device: Option<String>,
    /// Client address.
    pub client_address: Option<String>,
    /// User agent; cut at 512 characters.
    pub user_agent: Option<String>,
    /// Homepage refresh interval, 1 to 1440 minutes; kind user only, null takes the user's.
    #[serde(default, deserialize_with = "whole")]
    pub homepage_refresh_minutes: Option<i64>,
    /// Own idle limit, 1 to 1440 minutes; kind user only.
    #[serde(default, deserialize_with = "whole")]
    pub idle_limit_minutes: Option<i64>,
    /// Token of the guest session this sign-in replaces; kind user only.
    pub guest_token: Option<String>,
    /// Whether the guest's attributes move over; kind user only.
    pub carry_attributes: Option<bool>,
    /// Client application; kind mobile only.
    pub oauth_entity: Option<String>,
    /// The app's payload: a JSON object.
    pub attributes: Option<Map<String, Value>>,
}

impl CreateSession {
    /// What makes it repeatable under an idempotency key of 1 to 255 printable ASCII characters (31). Fields that are null count
    /// as absent, and their order does not matter.
    pub fn once(&self, api_key: uuid::Uuid, key: &[u8]) -> Result<Once> {
        if key.is_empty() || key.len() > 255 || !key.iter().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(Error::refused(
                400,
                "invalid_idempotency_key",
                "Idempotency-Key has 1 to 255 printable ASCII characters.",
                "Send one such header, for instance a new UUID for each sign-in.",
            ));
        }
        let mut request = serde_json::to_value(self).map_err(Error::failed)?;
        if let Value::Object(fields) = &mut request {
            fields.retain(|_, value| !value.is_null());
        }
        let request = Sha256::digest(request.to_string()).into();
        Ok(Once { api_key, key: Sha256::digest(key).into(), request })
    }

    /// Checks every field against its kind (K1) and its range.
    pub fn validate(self) -> Result<NewSession> {
        let kind: Kind = self.kind.parse().map_err(|error| invalid("kind", error, "Use one of them."))?;
        let present = [
            ("user", self.user.is_some(), kind != Kind::Guest),
            ("remember_me", self.remember_me.is_some(), kind == Kind::User),
            ("homepage_refresh_minutes", self.homepage_refresh_minutes.is_some(), kind == Kind::User),
            ("idle_limit_minutes", self.idle_limit_minutes.is_some(), kind == Kind::User),
            ("guest_token", self.guest_token.is_some(), kind == Kind::User),
            ("carry_attributes", self.carry_attributes == Some(true), kind == Kind::User),
            ("oauth_entity", self.oauth_entity.is_some(), kind == Kind::Mobile),
        ];
        if let Some((field, ..)) = present.iter().find(|(_, given, belongs)| *given && !belongs) {
            return Err(Error::refused(
                422,
                "field_not_for_kind",
                format!("{field}: this field does not belong to a session of kind {kind}."),
                "Leave it out, or set it to null.",
            ));
        }
        let user = match (kind, self.user) {
            (Kind::Guest, _) => None,
            (_, Some(user)) => Some(user_name(&user)?),
            (_, None) => return Err(invalid("user", format!("a session of kind {kind} needs one."), "Give the user's name.")),
        };
        let oauth_entity = match (kind, self.oauth_entity) {
            (Kind::Mobile, None) => {
                return Err(invalid(
                    "oauth_entity",
                    "a session of kind mobile needs one.",
                    "Give the name of the client application.",
                ));
            }
            (_, name) => name.map(|name| entity_name(&name)).transpose()?,
        };
        let default_device = match kind {
            Kind::User | Kind::Guest => Some(Device::Desktop),
            Kind::Mobile => Some(Device::App),
            Kind::Integration => None,
        };
        let attributes = self.attributes.unwrap_or_default();
        self::attributes(&attributes)?;
        Ok(NewSession {
            kind,
            user,
            remember_me: self.remember_me,
            device: match self.device {
                Some(device) => Some(device.parse().map_err(|error| invalid("device", error, "Use one of them."))?),
                None => default_device,
            },
            client_address: self.client_address.as_deref().map(address).transpose()?,
            user_agent: self.user_agent.map(|agent| user_agent(&agent)),
            homepage_refresh_minutes: self
                .homepage_refresh_minutes
                .map(|minutes| day("homepage_refresh_minutes", minutes))
                .transpose()?,
            idle_limit_minutes: self.idle_limit_minutes.map(|minutes| day("idle_limit_minutes", minutes)).transpose()?,
            guest: self.guest_token.as_deref().and_then(SessionToken::parse),
            carry_attributes: self.carry_attributes.unwrap_or(false),
            oauth_entity,
            attributes,
        })
    }
}

/// Minutes within a day: 1 to 1440 (45).
fn day(field: &str, minutes: i64) -> Result<i32> {
    i32::try_from(minutes)
        .ok()
        .filter(|minutes| (1..=1440).contains(minutes))
        .ok_or_else(|| invalid(field, format!("{minutes} is not 1 to 1440 minutes."), "Choose a number of minutes within a day."))
}

/// A user name in composed form: 1 to 128 characters, nothing that cannot be seen (43).
pub fn user_name(name: &str) -> Result<String> {
    // Composing at most quarters a name; what is longer is refused, never cut.
    let name: String = name.chars().take(513).nfc().collect();
    let count = name.chars().count();
    let unseen = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if count == 0 || count > 128 {
        return Err(Error::refused(422, "invalid_user_name", "A user name has 1 to 128 characters.", "Shorten it, or give one."));
    }
    if name.chars().any(unseen) || name.trim() != name {
        return Err(Error::refused(
            422,
            "invalid_user_name",
            "A user name has no control or direction characters and no space around it.",
            "Remove them.",
        ));
    }
    Ok(name)
}

/// An IP address; an IPv4 address mapped into IPv6 becomes IPv4 (56).
pub fn address(text: &str) -> Result<IpAddr> {
    let address: IpAddr = text.parse().map_err(|_| {
        invalid(
            "client_address",
            "this is not an IP address.",
            "Write an address such as 203.0.113.7 or 2001:db8::7, without port or mask.",
        )
    })?;
    Ok(match address {
        IpAddr::V6(v6) => Ipv6Addr::to_ipv4_mapped(&v6).map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    })
}

/// A network whose proxies are trusted: an address with a mask, or one address. Not everybody: whoever is trusted says who calls.
pub fn network(text: &str) -> Result<IpNet> {
    let text = text.trim();
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    // Peers are known by their IPv4 address: a mapped network would never match.
    let mapped = |network: &IpNet| matches!(network, IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some());
    network.ok().filter(|network| network.prefix_len() > 0 && !mapped(network)).map(|network| network.trunc()).ok_or_else(|| {
        invalid(
            "network",
            "this is no address and no network of fewer than all addresses.",
            "Write one such as 10.0.0.0/8, 192.0.2.10 or 2001:db8::/32.",
        )
    })
}

/// For how many days a key is good: 1 to 3650.
pub fn key_days(days: i64) -> Result<i32> {
    i32::try_from(days).ok().filter(|days| (1..=3650).contains(days)).ok_or_else(|| {
        invalid("expires-in-days", format!("{days} is not 1 to 3650 days."), "Leave it out for a key that does not expire.")
    })
}

/// A user agent, control characters made visible, cut at 512 characters with an ellipsis (57).
fn user_agent(text: &str) -> String {
    let mut agent: String = text.chars().take(USER_AGENT + 1).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if agent.chars().count() > USER_AGENT {
        agent = agent.chars().take(USER_AGENT - 1).collect();
        agent.push('…');
    }
    agent
}

/// The app's payload: at most 64 keys of 1 to 128 characters, 4 KiB a value, 64 KiB in all, depth 32, no NUL (58 to 60).
pub fn attributes(attributes: &Map<String, Value>) -> Result<()> {
    let refuse = |what: String, advice: &str| Err(Error::refused(422, "invalid_attributes", what, advice));
    if attributes.len() > 64 {
        return refuse(
            format!("attributes: {} keys are more than 64.", attributes.len()),
            "Group keys into objects, or store them in your own table.",
        );
    }
    let mut total = 0;
    for (key, value) in attributes {
        let length = key.chars().count();
        if length == 0 || length > 128 {
            return refuse(format!("attributes: a key of {length} characters; keys have 1 to 128."), "Rename the key.");
        }
        if key.chars().any(char::is_control) {
            return refuse(format!("attributes.{}: a key has no control characters.", key.escape_debug()), "Rename the key.");
        }
        let size = value.to_string().len();
        if size > 4096 {
            return refuse(
                format!("attributes.{}: {size} bytes are more than 4,096.", key.escape_debug()),
                "Store large values elsewhere and keep a reference.",
            );
        }
        if depth(value) > 32 {
            return refuse(format!("attributes.{}: nested deeper than 32 levels.", key.escape_debug()), "Flatten it.");
        }
        if has_nul(value) || key.contains('\0') {
            return refuse(
                format!("attributes.{}: contains the character U+0000, which PostgreSQL cannot store.", key.escape_debug()),
                "Remove it.",
            );
        }
        total += key.len() + size;
    }
    if total > 65_536 {
        return refuse(
            format!("attributes: {total} bytes are more than 65,536."),
            "Store large values elsewhere and keep a reference.",
        );
    }
    Ok(())
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 1,
    }
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(map) => map.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        _ => false,
    }
}

/// An activity word (A1).
pub fn activity(word: &str) -> Result<Activity> {
    word.parse().map_err(|error| invalid("activity", error, "Use one of them."))
}

/// A state that a mobile app reports (M3).
pub fn app_state(word: &str) -> Result<Activity> {
    let state = word.parse().ok().filter(|state| matches!(state, Activity::Foreground | Activity::Task | Activity::Background));
    state.ok_or_else(|| invalid("state", "expected one of foreground, task, background.", "Use one of them."))
}

/// A kind, as a filter.
pub fn kind(word: &str) -> Result<Kind> {
    word.parse().map_err(|error| parameter("kind", error))
}

/// Items of a page: 1 to 500, 50 when not given (34).
pub fn limit(text: Option<&str>) -> Result<i64> {
    let Some(text) = text else { return Ok(50) };
    text.parse()
        .ok()
        .filter(|limit| (1..=500).contains(limit))
        .ok_or_else(|| parameter("limit", "give a whole number from 1 to 500."))
}

/// A cursor of sessions or events (35): a position, which grants nothing.
pub fn cursor(text: &str) -> Result<uuid::Uuid> {
    uuid::Uuid::try_parse(text).map_err(|_| {
        Error::refused(
            400,
            "invalid_cursor",
            "The cursor was not made by this listing.",
            "Leave after out to begin at the first page.",
        )
    })
}

/// An instant with an offset, years 1 to 9999 (38).
pub fn instant(name: &str, text: &str) -> Result<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text)
        .map(|at| at.with_timezone(&Utc))
        .ok()
        // chrono reads second 60 as a leap second, which PostgreSQL has no room for.
        .filter(|at| (1..=9999).contains(&at.year()) && at.timestamp_subsec_nanos() < 1_000_000_000)
        .ok_or_else(|| parameter(name, "give an instant with offset, such as 2026-03-01T12:00:00Z."))
}

/// A range that does not run backwards (37).
pub fn range(name: &str, from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>) -> Result<()> {
    match (from, to) {
        (Some(from), Some(to)) if from >= to => Err(Error::refused(
            422,
            "invalid_range",
            format!("The parameter {name}: the range ends before it begins."),
            "Exchange its ends.",
        )),
        _ => Ok(()),
    }
}

/// A user as JSON gives it, for PUT and PATCH.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct UserInput {
    /// Must be the name in the path, when given.
    pub name: Option<String>,
    /// Name to show, 1 to 255 characters; null clears it.
    #[serde(default, deserialize_with = "given")]
    pub display_name: Option<Option<String>>,
    /// Whether active.
    pub active: Option<bool>,
    /// Whether locked out.
    pub locked_out: Option<bool>,
    /// Console roles.
    pub roles: Option<Vec<String>>,
    /// Homepage refresh interval, 1 to 1440 minutes; null clears it.
    #[serde(default, deserialize_with = "given_whole")]
    pub homepage_refresh_minutes: Option<Option<i64>>,
    /// PATCH only: how many live sessions end with the change, as its preview said; another number is refused with 409
    /// `preview_changed`.
    #[serde(default, deserialize_with = "whole")]
    pub expect: Option<i64>,
}

/// A whole number, or null: to JSON 5.0 is as whole as 5, and there are languages that write it so.
fn whole<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    use serde::de::{Deserialize, Error, Unexpected};
    let Some(number) = Option::<serde_json::Number>::deserialize(deserializer)? else { return Ok(None) };
    // Up to 2^53 every whole number has a float of its own.
    #[expect(clippy::cast_possible_truncation, reason = "whole, and within the range of both")]
    let float = || number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 9e15).map(|n| n as i64);
    let whole = number.as_i64().or_else(float);
    whole.map(Some).ok_or_else(|| D::Error::invalid_type(Unexpected::Other("another number"), &"a whole number"))
}

/// The same, told from a field that is absent.
#[allow(clippy::option_option)]
fn given_whole<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<i64>>, D::Error> {
    whole(deserializer).map(Some)
}

/// Tells a field that is null from one that is absent.
#[allow(clippy::option_option)]
fn given<'de, D: serde::Deserializer<'de>, T: serde::Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    serde::Deserialize::deserialize(deserializer).map(Some)
}

impl UserInput {
    /// Checks every field; `path_name` is the user the path names.
    pub fn validate(self, path_name: &str) -> Result<UserPatch> {
        if let Some(name) = &self.name
            && user_name(name)? != path_name
        {
            return Err(invalid("name", "it is not the name in the path.", "Names do not change; leave it out."));
        }
        if let Some(Some(name)) = &self.display_name {
            let count = name.chars().count();
            if count == 0 || count > 255 || name.chars().any(char::is_control) {
                return Err(invalid(
                    "display_name",
                    "it has 1 to 255 characters and no control characters.",
                    "Shorten it, or set it to null.",
                ));
            }
        }
        if let Some(roles) = &self.roles {
            const ROLES: [&str; 3] = ["admin", "user_admin", "reporter"];
            if let Some(role) = roles.iter().find(|role| !ROLES.contains(&role.as_str())) {
                return Err(invalid(
                    "roles",
                    format!("{:?} is not a console role.", role.chars().take(32).collect::<String>()),
                    "Use admin, user_admin or reporter.",
                ));
            }
            if ROLES.iter().any(|known| roles.iter().filter(|role| role == known).count() > 1) {
                return Err(invalid("roles", "a role is named twice.", "Name each role once."));
            }
        }
        Ok(UserPatch {
            display_name: self.display_name,
            active: self.active,
            locked_out: self.locked_out,
            roles: self.roles,
            homepage_refresh_minutes: self
                .homepage_refresh_minutes
                .map(|minutes| minutes.map(|minutes| day("homepage_refresh_minutes", minutes)).transpose())
                .transpose()?,
        })
    }
}

/// A name of a node or key: letters, digits, dot, dash and underscore, 1 to 63, beginning with a letter or digit.
pub fn label(what: &str, name: &str) -> Result<String> {
    let ok = name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    if ok {
        return Ok(name.to_owned());
    }
    Err(invalid(
        what,
        "a name has 1 to 63 letters, digits, dots, dashes and underscores, a letter or digit first.",
        "Choose such a name.",
    ))
}

/// The value of a property: 1 to 255 characters; whether it fits is the catalogue's to say (P2).
pub fn property_value(value: &str) -> Result<()> {
    if value.is_empty() || value.chars().count() > 255 || value.contains('\0') {
        return Err(invalid("value", "it has 1 to 255 characters.", "To restore the default, unset the property instead."));
    }
    Ok(())
}

/// A boolean parameter: exactly true or false.
pub fn boolean(name: &str, text: &str) -> Result<bool> {
    text.parse().map_err(|_| parameter(name, "expected true or false."))
}

/// A number of minutes as a parameter: 0 to 525,600.
pub fn minutes(name: &str, text: &str) -> Result<i32> {
    text.parse()
        .ok()
        .filter(|minutes| (0..=525_600).contains(minutes))
        .ok_or_else(|| parameter(name, "give a whole number of minutes from 0 to 525600."))
}

/// A text parameter that is compared as it is: 1 to 255 characters, none of them a control character.
pub fn text(name: &str, text: String) -> Result<String> {
    if text.is_empty() || text.chars().count() > 255 || text.chars().any(char::is_control) {
        return Err(parameter(name, "give 1 to 255 characters, none of them a control character."));
    }
    Ok(text)
}

/// A cursor of users.
pub fn user_cursor(text: &str) -> Result<i64> {
    text.parse().ok().filter(|id| *id > 0).ok_or_else(|| {
        Error::refused(
            400,
            "invalid_cursor",
            "The cursor was not made by this listing.",
            "Leave after out to begin at the first page.",
        )
    })
}

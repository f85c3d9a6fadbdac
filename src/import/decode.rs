//! One row of a foreign session table: the token its client holds, whose it is, and what the application kept in it.

use std::collections::HashMap;
use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta};
use flate2::read::ZlibDecoder;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use sha2::Sha256;

use super::Remark;
use crate::input;
use crate::session::ForeignToken;
use crate::store::{FOREIGN_DATA, ForeignFacts, ForeignFormat, ForeignRow};

/// Latest instant that is believed, seconds since 1970: the end of the year 9998.
const LATEST: i64 = 253_370_764_800;
/// Deepest nesting that is read; deeper data would not be valid here either.
const DEPTH: usize = 34;

/// How rows are read.
#[derive(Default)]
pub struct DecodeOptions {
    /// Where in the data the user's name is, from the outside in; empty for what the format itself says.
    pub user_path: Vec<String>,
    /// The secret that connect signed its cookies with: with it the whole cookie is the token, without it the bare session id.
    pub cookie_secret: Option<Vec<u8>>,
}

/// Whose session it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// Nobody has signed in.
    Guest,
    /// A user of this name.
    Name(String),
    /// A user whom the source knows by number.
    Id(i64),
}

/// A row that was read.
#[derive(Debug)]
pub struct Decoded {
    /// Digest of what the client presents.
    pub token: ForeignToken,
    /// Whose it is.
    pub owner: Owner,
    /// What is known of it.
    pub facts: ForeignFacts,
    /// What was left behind of it.
    pub remark: Option<Remark>,
}

/// Reads row number `line`; the error says why it is left out.
pub fn decode(line: u64, row: ForeignRow, format: ForeignFormat, options: &DecodeOptions) -> Result<Decoded, Remark> {
    let reject = |field: &str, reason: &str| Remark::new(line, field, reason);
    let token = token(&row.key, format, options.cookie_secret.as_deref())
        .ok_or_else(|| reject("key", "It is no token of 16 to 512 printable characters."))?;
    if row.too_long || row.text.as_ref().map_or(0, String::len).max(row.data.as_ref().map_or(0, Vec::len)) > FOREIGN_DATA {
        return Err(reject("data", "It is longer than 1 MiB."));
    }
    let mut facts = ForeignFacts {
        created_at: row.created_at,
        last_activity_at: row.last_activity_at,
        expires_at: row.expires_at,
        attributes: Map::new(),
    };
    let data = match format {
        ForeignFormat::Connect => connect(row.text.as_deref().unwrap_or_default(), &options.user_path, &mut facts),
        ForeignFormat::Django => django(row.text.as_deref().unwrap_or_default(), &options.user_path, &mut facts),
        ForeignFormat::Tower => tower(row.data.as_deref().unwrap_or_default()).map(Data::whole),
        // Serialised Java objects, which nothing but their own program can read: they were not even asked for.
        ForeignFormat::Spring => Ok(Data::whole(Map::new())),
    }
    .map_err(|reason| reject("data", reason))?;
    let owner = match row.principal {
        Some(name) => input::user_name(&name).map(Owner::Name).map_err(|_| "Its principal is no user name."),
        None => owner(&data.map, format, options),
    }
    .map_err(|reason| reject("user", reason))?;
    let mut remark = None;
    // Nobody is logged out for what an application kept too much of. What exactly it is would quote a name of its own.
    if data.whole && input::attributes(&data.map).is_ok() {
        facts.attributes = data.map;
    } else {
        remark = Some(reject("data", UNFIT));
    }
    Ok(Decoded { token, owner, facts, remark })
}

/// Data that stays behind.
const UNFIT: &str = "The session was taken without its data, which does not fit into the attributes of a session: 64 keys \
                     without control characters, 4 KiB each, 64 KiB in all, 32 levels, and only characters that PostgreSQL can store.";

/// What an application kept in a session.
struct Data {
    map: Map<String, Value>,
    /// Whether it is all of it, or only what says whose session it is.
    whole: bool,
}

impl Data {
    const fn whole(map: Map<String, Value>) -> Self {
        Self { map, whole: true }
    }
}

/// What the client of such a session presents, as its application hands it on: decoded from the percent-encoding of cookies.
fn token(key: &str, format: ForeignFormat, secret: Option<&[u8]>) -> Option<ForeignToken> {
    let presented = match (format, secret) {
        (ForeignFormat::Connect, Some(secret)) => {
            let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret).ok()?;
            mac.update(key.as_bytes());
            format!("s:{key}.{}", STANDARD_NO_PAD.encode(mac.finalize().into_bytes()))
        }
        (ForeignFormat::Spring, _) => STANDARD.encode(key),
        _ => key.to_owned(),
    };
    ForeignToken::parse(&presented)
}

const NO_OBJECT: &str = "It is no JSON object.";

/// An object, all of it; where something in it is no Unicode (half of a pair of surrogates), or nested too deep, only what is at the
/// `wanted` paths.
fn object(text: &[u8], wanted: &[&[&str]]) -> Result<Data, &'static str> {
    if let Ok(map) = serde_json::from_slice(text) {
        return Ok(Data::whole(map));
    }
    let text = str::from_utf8(text).map_err(|_| NO_OBJECT)?;
    let mut map = Map::new();
    for path in wanted {
        if let Some((last, parents)) = path.split_last()
            && let Some(value) = at(text, path)?
        {
            let parent = parents
                .iter()
                .try_fold(&mut map, |map, name| map.entry(*name).or_insert_with(|| Map::new().into()).as_object_mut());
            parent.ok_or(NO_OBJECT)?.insert((*last).to_owned(), value);
        }
    }
    Ok(Data { map, whole: false })
}

/// What is at a path, without reading what is beside it. A path that leads to something that cannot be read is an error, or
/// somebody would become a guest.
fn at(text: &str, path: &[&str]) -> Result<Option<Value>, &'static str> {
    let Some((name, rest)) = path.split_first() else {
        return serde_json::from_str(text).map(Some).map_err(|_| "What says whose session it is cannot be read.");
    };
    let parts: HashMap<String, &RawValue> = serde_json::from_str(text).map_err(|_| NO_OBJECT)?;
    match parts.get(*name).map(|part| part.get()) {
        Some(part) if rest.is_empty() || part.starts_with('{') => at(part, rest),
        _ => Ok(None),
    }
}

/// `{"cookie": {"originalMaxAge": milliseconds, ...}, ...}`: what is not `cookie` is the application's.
fn connect(text: &str, user_path: &[String], facts: &mut ForeignFacts) -> Result<Data, &'static str> {
    let user_path: Vec<&str> = user_path.iter().map(String::as_str).collect();
    let mut data = object(text.as_bytes(), &[&["cookie", "originalMaxAge"], &user_path])?;
    let cookie = data.map.remove("cookie");
    let age = cookie.as_ref().and_then(|cookie| cookie["originalMaxAge"].as_i64()).filter(|age| (1..=MAX_AGE).contains(age));
    // Each touch moves the expiry to a cookie's age from now.
    facts.last_activity_at = age.and_then(|age| facts.expires_at?.checked_sub_signed(TimeDelta::milliseconds(age)));
    Ok(data)
}

/// Oldest cookie that says something about activity, milliseconds: browsers keep none for longer than 400 days.
const MAX_AGE: i64 = 400 * 86_400_000;

/// Django's `signing.dumps`: `[.]payload:instant:signature`, or before version 3.1 base64 of `digest:payload`.
fn django(text: &str, user_path: &[String], facts: &mut ForeignFacts) -> Result<Data, &'static str> {
    const MALFORMED: &str = "It is not what Django's signing writes.";
    let payload = if let Some((payload, saved)) = text.split_once(':').map(|(payload, rest)| (payload, rest.split(':').next())) {
        facts.last_activity_at =
            saved.and_then(base_62).filter(|at| *at <= LATEST).and_then(|at| DateTime::from_timestamp(at, 0));
        let (packed, payload) = payload.strip_prefix('.').map_or((false, payload), |payload| (true, payload));
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| MALFORMED)?;
        if packed { inflate(&payload)? } else { payload }
    } else {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| MALFORMED)?;
        let colon = bytes.iter().position(|byte| *byte == b':').ok_or(MALFORMED)?;
        bytes[colon + 1..].to_vec()
    };
    // Reading a pickle runs what it says, and without reading it nobody knows whose session it is.
    if payload.first() == Some(&b'{') {
        let user_path: Vec<&str> = user_path.iter().map(String::as_str).collect();
        object(&payload, &[&["_auth_user_id"], &user_path])
    } else {
        Err("It is a pickle, which is not read: reading one runs what it says.")
    }
}

/// Seconds since 1970 as Django writes them.
fn base_62(text: &str) -> Option<i64> {
    text.bytes().try_fold(0_i64, |sum, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'A'..=b'Z' => byte - b'A' + 10,
            b'a'..=b'z' => byte - b'a' + 36,
            _ => return None,
        };
        sum.checked_mul(62)?.checked_add(digit.into())
    })
}

/// Unpacks zlib, at most as much as a session may have.
fn inflate(packed: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut data = Vec::new();
    let limit = u64::try_from(FOREIGN_DATA).unwrap_or(u64::MAX) + 1;
    ZlibDecoder::new(packed).take(limit).read_to_end(&mut data).map_err(|_| "Its compressed data is damaged.")?;
    if data.len() > FOREIGN_DATA { Err("Its compressed data unpacks to more than 1 MiB.") } else { Ok(data) }
}

/// tower-sessions' record as MessagePack, an array or a map of id, data and expiry.
fn tower(mut bytes: &[u8]) -> Result<Map<String, Value>, &'static str> {
    const MALFORMED: &str = "It is not what tower-sessions writes.";
    let record =
        rmpv::decode::read_value_with_max_depth(&mut bytes, DEPTH).map_err(|_| "It is no MessagePack, or nested too deep.")?;
    let data = match record {
        rmpv::Value::Array(parts) => parts.into_iter().nth(1),
        rmpv::Value::Map(parts) => parts.into_iter().find(|(name, _)| name.as_str() == Some("data")).map(|(_, data)| data),
        _ => None,
    };
    match data.and_then(plain) {
        Some(Value::Object(data)) if bytes.is_empty() => Ok(data),
        _ => Err(MALFORMED),
    }
}

/// MessagePack as JSON; what JSON cannot say is `None`.
fn plain(value: rmpv::Value) -> Option<Value> {
    Some(match value {
        rmpv::Value::Nil => Value::Null,
        rmpv::Value::Boolean(value) => value.into(),
        rmpv::Value::Integer(number) => number.as_i64().map(Value::from).or_else(|| number.as_u64().map(Value::from))?,
        rmpv::Value::F32(number) => f64::from(number).into(),
        rmpv::Value::F64(number) => number.into(),
        rmpv::Value::String(text) => text.into_str()?.into(),
        rmpv::Value::Binary(bytes) => bytes.into(),
        rmpv::Value::Array(items) => items.into_iter().map(plain).collect::<Option<_>>()?,
        rmpv::Value::Map(entries) => {
            let entry = |(name, value): (rmpv::Value, rmpv::Value)| Some((name.as_str()?.to_owned(), plain(value)?));
            Value::Object(entries.into_iter().map(entry).collect::<Option<_>>()?)
        }
        rmpv::Value::Ext(..) => return None,
    })
}

/// The user whom the data names; without a name it is a guest's.
fn owner(data: &Map<String, Value>, format: ForeignFormat, options: &DecodeOptions) -> Result<Owner, &'static str> {
    if options.user_path.is_empty() {
        return match (format, data.get("_auth_user_id")) {
            (ForeignFormat::Django, Some(id)) => {
                let id = id.as_str().map_or_else(|| id.as_i64(), |id| id.parse().ok());
                id.map(Owner::Id).ok_or("The id of its user is no number. Say with --user-path where the name is.")
            }
            _ => Ok(Owner::Guest),
        };
    }
    let (first, rest) = options.user_path.split_first().ok_or("")?;
    let found = rest.iter().try_fold(data.get(first), |at, name| Some(at?.get(name))).flatten();
    match found {
        None | Some(Value::Null) => Ok(Owner::Guest),
        Some(Value::String(name)) => input::user_name(name).map(Owner::Name).map_err(|_| "The name is no user name."),
        Some(Value::Number(number)) => Ok(Owner::Name(number.to_string())),
        Some(_) => Err("What is at --user-path is neither text nor a number."),
    }
}

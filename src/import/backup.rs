//! This store's own exports: lines of JSON between a header that says what they are, and a trailer that says how many there
//! should be. A file without its trailer, or whose digest differs, is refused before anything of it is imported.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::file::{Opened, open};
use super::{Item, ReadError, Remark, Rows};
use crate::input;
use crate::session::{Device, EndReason, Kind, hex};
use crate::store::ImportSession;

/// The version of this form. Another one is refused.
const FORMAT: u64 = 1;

/// Longest name of a user or client application, characters.
const NAME: usize = 128;
/// Longest other text in a line of history, characters: a user agent has 512.
const TEXT: usize = 1024;
/// Deepest nesting of the details of an event: as deep as any other JSON is read.
const DEPTH: usize = 128;

/// Longest life of a token of any client application, seconds, as entities are checked.
const LIFESPAN: i32 = 315_360_000;

/// Most types of lines that are counted.
const TYPES: usize = 16;

/// How many lines there are of each type.
pub type Counts = BTreeMap<String, u64>;

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trailer {
    r#type: String,
    counts: Counts,
    /// Of every byte before this line.
    sha256: String,
}

enum Out {
    Plain(Box<dyn Write + Send>),
    Packed(GzEncoder<Box<dyn Write + Send>>),
}

/// Writes an export. Nothing of it names an instant of its own: the same database makes the same bytes.
pub struct BackupWriter {
    out: Out,
    digest: Sha256,
    counts: Counts,
}

impl BackupWriter {
    /// Begins with the header.
    pub fn begin(out: impl Write + Send + 'static, gzip: bool) -> io::Result<Self> {
        let out: Box<dyn Write + Send> = Box::new(out);
        let out = if gzip { Out::Packed(GzEncoder::new(out, Compression::default())) } else { Out::Plain(out) };
        let mut writer = Self { out, digest: Sha256::new(), counts: Counts::new() };
        writer.write(&json!({ "type": "tenure_export", "format": FORMAT }).to_string())?;
        Ok(writer)
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        self.digest.update(line);
        self.digest.update("\n");
        let out: &mut dyn Write = match &mut self.out {
            Out::Plain(out) => out,
            Out::Packed(out) => out,
        };
        out.write_all(line.as_bytes())?;
        out.write_all(b"\n")
    }

    /// Writes a line of a type.
    pub fn line(&mut self, word: &str, line: &str) -> io::Result<()> {
        match self.counts.get_mut(word) {
            Some(count) => *count += 1,
            None => drop(self.counts.insert(word.to_owned(), 1)),
        }
        self.write(line)
    }

    /// Ends with the trailer.
    pub fn finish(mut self) -> io::Result<Counts> {
        let sha256 = hex(&self.digest.clone().finalize());
        let trailer = Trailer { r#type: "end".to_owned(), counts: self.counts.clone(), sha256 };
        self.write(&serde_json::to_string(&trailer)?)?;
        match self.out {
            Out::Plain(mut out) => out.flush()?,
            Out::Packed(out) => out.finish()?.flush()?,
        }
        Ok(self.counts)
    }
}

/// A digest as PostgreSQL writes it, `\x` and 64 digits.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash(String);

impl TryFrom<String> for Hash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digits = text.strip_prefix("\\x").unwrap_or_default();
        let fits = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if fits { Ok(Self(text)) } else { Err("a SHA-256 digest is \\x and 64 hexadecimal digits") }
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.0
    }
}

/// The type of a line: it was read already.
type Word = IgnoredAny;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    #[serde(rename = "type", skip_serializing)]
    _type: Word,
    name: String,
    display_name: Option<String>,
    active: bool,
    locked_out: bool,
    roles: Vec<String>,
    epoch: i64,
    password_hash: Option<String>,
    homepage_refresh_minutes: Option<i32>,
    created_at: DateTime<Utc>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Property {
    #[serde(rename = "type", skip_serializing)]
    _type: Word,
    name: String,
    value: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OauthEntity {
    #[serde(rename = "type", skip_serializing)]
    _type: Word,
    name: String,
    client_id: String,
    client_secret_hash: Option<Hash>,
    access_token_lifespan: i32,
    refresh_token_lifespan: i32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionLine {
    #[serde(rename = "type")]
    _type: Word,
    user: Option<String>,
    oauth_entity: Option<String>,
    session: Session,
    place: Option<Place>,
    tokens: Vec<Token>,
}

/// Columns of `sessions`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Session {
    id: Uuid,
    token_hash: Hash,
    kind: Kind,
    device: Option<Device>,
    remember_me: bool,
    residue: bool,
    created_at: DateTime<Utc>,
    anchor_at: DateTime<Utc>,
    refresh_seconds: Option<i32>,
    idle_limit_seconds: Option<i32>,
    window_seconds: Option<i32>,
    app_state: Option<String>,
    app_state_at: Option<DateTime<Utc>>,
    node: Option<String>,
    foreign_hash: Option<Hash>,
}

/// Columns of `session_attributes`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    client_address: Option<String>,
    user_agent: Option<String>,
    /// As it is written: plain SQL may have put a number there that no other type holds.
    attributes: Box<RawValue>,
    version: i64,
}

/// Columns of `oauth_tokens`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_field_names, reason = "they are the columns")]
struct Token {
    token_hash: Hash,
    r#type: String,
    issued_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    used_at: Option<DateTime<Utc>>,
    access_seconds: Option<i32>,
    successor_hash: Option<Hash>,
    predecessor_hash: Option<Hash>,
    sealed_successor: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndedLine {
    #[serde(rename = "type")]
    _type: Word,
    session: Ended,
}

/// Columns of `ended_sessions`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_field_names, reason = "they are the columns")]
struct Ended {
    id: Uuid,
    token_hash: Hash,
    kind: Kind,
    user_name: Option<String>,
    device: Option<Device>,
    remember_me: bool,
    residue: bool,
    created_at: DateTime<Utc>,
    anchor_at: DateTime<Utc>,
    refresh_seconds: Option<i32>,
    idle_limit_seconds: Option<i32>,
    window_seconds: Option<i32>,
    oauth_entity: Option<String>,
    app_state: Option<String>,
    app_state_at: Option<DateTime<Utc>>,
    node: Option<String>,
    client_address: Option<String>,
    user_agent: Option<String>,
    ended_at: DateTime<Utc>,
    end_reason: EndReason,
    ended_by: String,
    ended_on: Option<String>,
    oauth_hashes: Option<Vec<Hash>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventLine {
    #[serde(rename = "type")]
    _type: Word,
    event: Event,
}

/// Columns of `session_events`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    id: Uuid,
    at: DateTime<Utc>,
    r#type: String,
    session_id: Option<Uuid>,
    user_name: Option<String>,
    actor: String,
    reason: Option<String>,
    node: Option<String>,
    details: Option<Box<RawValue>>,
}

/// An export that was read once from its beginning to its end, and is whole.
#[derive(Debug)]
pub struct Backup {
    path: PathBuf,
    sha256: String,
    /// How many lines of each type there are.
    pub counts: Counts,
}

impl Backup {
    /// Reads it through: header, lines, trailer, digest.
    pub fn verify(path: &Path) -> Result<Self, ReadError> {
        let (trailer, sha256, counts) = scan(path, |_, _, _| Ok(()))?;
        if trailer.sha256 != sha256 || trailer.counts != counts {
            return Err(ReadError::Data(
                "The export was changed or damaged: its digest is another than its last line says. Export again.".to_owned(),
            ));
        }
        Ok(Self { path: path.to_owned(), sha256, counts })
    }

    /// Hands each line to `take`; the error of a line says why it cannot be taken.
    pub fn each(&self, mut take: impl FnMut(Result<Item, Remark>) -> Result<(), ReadError>) -> Result<(), ReadError> {
        let (_, sha256, _) = scan(&self.path, |number, word, line| take(item(number, word, line)))?;
        if sha256 != self.sha256 {
            let text = "The file was changed while it was imported. Begin again with the right one.";
            return Err(ReadError::Data(text.to_owned()));
        }
        Ok(())
    }
}

/// Reads every line between header and trailer: the trailer, the digest of what is before it, and what was counted.
fn scan(
    path: &Path,
    mut each: impl FnMut(u64, &str, &[u8]) -> Result<(), ReadError>,
) -> Result<(Trailer, String, Counts), ReadError> {
    #[derive(Deserialize)]
    struct Typed {
        r#type: String,
    }
    let mut file = open(path)?;
    let (mut line, mut digest, mut counts, mut number) = (Vec::new(), Sha256::new(), Counts::new(), 1);
    header(&mut file, &mut line)?;
    feed(&mut digest, &line);
    while file.line(&mut line)? {
        number += 1;
        let word = serde_json::from_slice::<Typed>(&line)
            .map_err(|_| ReadError::Data(format!("Line {number} is no JSON object with a type, or the file ends in it.")))?
            .r#type;
        if word == "end" {
            let trailer = serde_json::from_slice(&line)
                .map_err(|_| ReadError::Data(format!("Line {number}, the last one, is not what ends an export.")))?;
            if file.line(&mut line)? {
                return Err(ReadError::Data(format!("After line {number}, which ends the export, there is more.")));
            }
            return Ok((trailer, hex(&digest.finalize()), counts));
        }
        feed(&mut digest, &line);
        each(number, &word, &line)?;
        *counts.entry(word).or_default() += 1;
        if counts.len() > TYPES {
            return Err(ReadError::Data(format!("Line {number} has yet another type: no export has so many.")));
        }
    }
    Err(ReadError::Data(format!("The file is truncated after line {number}: the line that ends an export is missing.")))
}

fn feed(digest: &mut Sha256, line: &[u8]) {
    digest.update(line);
    digest.update(b"\n");
}

fn header(file: &mut Opened, line: &mut Vec<u8>) -> Result<(), ReadError> {
    let other = || ReadError::Data("The file is no export of this store: it has another first line.".to_owned());
    if !file.line(line)? {
        return Err(ReadError::Data("The file is empty.".to_owned()));
    }
    let header: Value = serde_json::from_slice(line).map_err(|_| other())?;
    match (header["type"].as_str(), header["format"].as_u64()) {
        (Some("tenure_export"), Some(FORMAT)) => Ok(()),
        (Some("tenure_export"), _) => {
            Err(ReadError::Data("The export has another format. Import it with the version that exported it.".to_owned()))
        }
        _ => Err(other()),
    }
}

/// Makes of a line what the store takes, judged as at every other door. A field that no export has is refused: a raw token has
/// none to be in (81).
fn item(number: u64, word: &str, line: &[u8]) -> Result<Item, Remark> {
    match word {
        "user" => judged(number, Rows::Users, line, |user: &User| input::user_name(&user.name).map(drop)),
        // A name in the catalogue fits where a value does.
        "property" => judged(number, Rows::Properties, line, |property: &Property| {
            input::property_value(&property.name).and_then(|()| input::property_value(&property.value))
        }),
        "oauth_entity" => {
            judged(number, Rows::OauthEntities, line, |entity: &OauthEntity| input::entity_name(&entity.name).map(drop))
        }
        "session" => session(number, parsed(number, line)?),
        "ended_session" => ended(number, &parsed::<EndedLine>(number, line)?.session),
        "event" => event(number, &parsed::<EventLine>(number, line)?.event),
        _ => Err(Remark::new(number, "type", "No export has lines of this type.")),
    }
}

fn parsed<T: DeserializeOwned>(number: u64, line: &[u8]) -> Result<T, Remark> {
    // The words of the parser name fields, and quote values.
    serde_json::from_slice(line)
        .map_err(|error| Remark::new(number, "", format!("It is no line of an export, at column {}.", error.column())))
}

fn judged<T: DeserializeOwned + Serialize>(
    number: u64,
    rows: Rows,
    line: &[u8],
    judge: impl Fn(&T) -> crate::Result<()>,
) -> Result<Item, Remark> {
    let columns = parsed(number, line)?;
    judge(&columns).map_err(|error| Remark::new(number, "", error.to_string()))?;
    super::row(number, rows, &columns)
}

/// Refuses a text of history that is longer than this store writes any, and that an index might not take.
fn bounded(number: u64, texts: &[(&str, usize, Option<&str>)]) -> Result<(), Remark> {
    let long = |(_, most, text): &&(&str, usize, Option<&str>)| text.is_some_and(|text| text.chars().count() > *most);
    match texts.iter().find(long) {
        Some((field, most, _)) => Err(Remark::new(number, *field, format!("It has more than {most} characters."))),
        None => Ok(()),
    }
}

fn ended(number: u64, ended: &Ended) -> Result<Item, Remark> {
    let texts = [
        ("user_name", NAME, ended.user_name.as_deref()),
        ("oauth_entity", NAME, ended.oauth_entity.as_deref()),
        ("app_state", TEXT, ended.app_state.as_deref()),
        ("node", TEXT, ended.node.as_deref()),
        ("client_address", TEXT, ended.client_address.as_deref()),
        ("user_agent", TEXT, ended.user_agent.as_deref()),
        ("ended_by", TEXT, Some(&ended.ended_by)),
        ("ended_on", TEXT, ended.ended_on.as_deref()),
    ];
    bounded(number, &texts)?;
    super::row(number, Rows::Ended, ended)
}

/// How deep valid JSON is nested.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn event(number: u64, event: &Event) -> Result<Item, Remark> {
    let texts = [
        ("type", TEXT, Some(&*event.r#type)),
        ("user_name", NAME, event.user_name.as_deref()),
        ("actor", TEXT, Some(&event.actor)),
        ("reason", TEXT, event.reason.as_deref()),
        ("node", TEXT, event.node.as_deref()),
    ];
    bounded(number, &texts)?;
    // What is kept as it is written was not looked into.
    if event.details.as_ref().is_some_and(|details| depth(details.get()) > DEPTH) {
        return Err(Remark::new(number, "details", format!("It is nested deeper than {DEPTH} levels.")));
    }
    super::row(number, Rows::Events, event)
}

fn session(number: u64, line: SessionLine) -> Result<Item, Remark> {
    if let Some(place) = &line.place {
        let attributes: Map<String, Value> = serde_json::from_str(place.attributes.get())
            .map_err(|_| Remark::new(number, "attributes", "They are no JSON object."))?;
        // Which one does not fit would quote its key.
        input::attributes(&attributes)
            .map_err(|_| Remark::new(number, "attributes", "They are more than the attributes of a session may be."))?;
    }
    let SessionLine { user, oauth_entity, session, place, tokens, .. } = line;
    // No client application has tokens that live longer, and no window is longer than its tokens (M2).
    if session.window_seconds.is_some_and(|seconds| seconds > LIFESPAN) {
        return Err(Remark::new(number, "window_seconds", "It is longer than a token of any client application lives."));
    }
    let long = |token: &Token| {
        (token.expires_at - token.issued_at).num_seconds() > LIFESPAN.into()
            || token.access_seconds.is_some_and(|seconds| seconds > LIFESPAN)
    };
    if tokens.iter().any(long) {
        return Err(Remark::new(number, "tokens", "One lives longer than a token of any client application."));
    }
    ImportSession::own(number, user, oauth_entity.as_deref(), &session.token_hash.0, &session, place.as_ref(), &tokens)
        .map(Item::Session)
        .map_err(|error| Remark::unwritten(number, &error))
}

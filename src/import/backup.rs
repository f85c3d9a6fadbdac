//! This store's own exports: lines of JSON between a header that says what they are, and a trailer that says how many there
//! should be. A file without its trailer, or whose digest differs, is refused before anything of it is imported.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::file::{Opened, open};
use super::{ReadError, Remark};
use crate::input;

/// The version of this form. Another one is refused.
const FORMAT: u64 = 1;

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

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
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

/// Columns of a live session.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "they are the columns of tenure.sessions")]
pub struct BackupSession {
    pub id: uuid::Uuid,
    pub token_hash: Hash,
    pub kind: String,
    pub device: Option<String>,
    pub remember_me: bool,
    pub residue: bool,
    pub created_at: DateTime<Utc>,
    pub anchor_at: DateTime<Utc>,
    pub refresh_seconds: Option<i32>,
    pub idle_limit_seconds: Option<i32>,
    pub window_seconds: Option<i32>,
    pub app_state: Option<String>,
    pub app_state_at: Option<DateTime<Utc>>,
    pub node: Option<String>,
    pub foreign_hash: Option<Hash>,
}

/// Columns of its attributes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "they are the columns of tenure.session_attributes")]
pub struct BackupPlace {
    pub client_address: Option<String>,
    pub user_agent: Option<String>,
    pub attributes: Map<String, Value>,
    pub version: i64,
}

/// Columns of an OAuth token of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "they are the columns of tenure.oauth_tokens")]
pub struct BackupToken {
    pub token_hash: Hash,
    pub r#type: String,
    pub issued_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub used_at: Option<DateTime<Utc>>,
    pub access_seconds: Option<i32>,
    pub successor_hash: Option<Hash>,
    pub predecessor_hash: Option<Hash>,
    pub sealed_successor: Option<String>,
}

/// A line. A field that no export has is refused: a raw token has none to be in (81).
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs, reason = "they are the columns of the tables")]
pub enum BackupLine {
    User {
        name: String,
        display_name: Option<String>,
        active: bool,
        locked_out: bool,
        roles: Vec<String>,
        epoch: i64,
        password_hash: Option<String>,
        homepage_refresh_minutes: Option<i32>,
        created_at: DateTime<Utc>,
    },
    Property {
        name: String,
        value: String,
    },
    OauthEntity {
        name: String,
        client_id: String,
        client_secret_hash: Option<Hash>,
        access_token_lifespan: i32,
        refresh_token_lifespan: i32,
    },
    Session {
        user: Option<String>,
        oauth_entity: Option<String>,
        session: Box<BackupSession>,
        place: Option<BackupPlace>,
        tokens: Vec<BackupToken>,
    },
    EndedSession {
        session: Map<String, Value>,
    },
    Event {
        event: Map<String, Value>,
    },
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
        let (trailer, sha256, counts) = scan(path, |_, _| Ok(()))?;
        if trailer.sha256 != sha256 || trailer.counts != counts {
            return Err(ReadError::Data(
                "The export was changed or damaged: its digest is another than its last line says. Export again.".to_owned(),
            ));
        }
        Ok(Self { path: path.to_owned(), sha256, counts })
    }

    /// Hands each line to `take`, by its number; the error of a line says why it cannot be taken.
    pub fn each<E: From<ReadError>>(
        &self,
        mut take: impl FnMut(u64, Result<BackupLine, Remark>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut stopped = None;
        let scanned = scan(&self.path, |number, line| {
            take(number, parsed(number, line)).map_err(|error| {
                stopped = Some(error);
                ReadError::Stopped
            })
        });
        if let Some(error) = stopped {
            return Err(error);
        }
        let (_, sha256, _) = scanned?;
        if sha256 != self.sha256 {
            return Err(ReadError::Data(
                "The file was changed while it was imported. Begin again with the right one.".to_owned(),
            )
            .into());
        }
        Ok(())
    }
}

/// Reads every line between header and trailer: the trailer, the digest of what is before it, and what was counted.
fn scan(path: &Path, mut each: impl FnMut(u64, &[u8]) -> Result<(), ReadError>) -> Result<(Trailer, String, Counts), ReadError> {
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
        *counts.entry(word).or_default() += 1;
        if counts.len() > TYPES {
            return Err(ReadError::Data(format!("Line {number} has yet another type: no export has so many.")));
        }
        each(number, &line)?;
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

/// Judges a line as every other door would.
fn parsed(number: u64, line: &[u8]) -> Result<BackupLine, Remark> {
    // The words of the parser name fields, and quote values.
    let line: BackupLine = serde_json::from_slice(line)
        .map_err(|error| Remark::new(number, "", format!("It is no line of an export, at column {}.", error.column())))?;
    let judged = match &line {
        BackupLine::User { name, .. } => input::user_name(name).map(drop),
        BackupLine::Session { place: Some(place), .. } => input::attributes(&place.attributes),
        _ => Ok(()),
    };
    judged.map_err(|error| Remark::new(number, "", error.to_string()))?;
    Ok(line)
}

//! Records of ServiceNow's exports, one after the other: XML of an unload or a list, CSV, JSON.

use std::collections::HashMap;
use std::io::BufRead;
use std::sync::atomic::Ordering;

use quick_xml::events::{BytesRef, BytesStart, Event};
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::file::{Opened, RECORD, broken};
use super::{ReadError, Remark};

/// Deepest element: file, record, field, and one within a field that is skipped.
const DEPTH: usize = 4;
/// Most fields of a record: a table has a few hundred columns.
const FIELDS: usize = 1000;

/// A record: its fields as text.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// The line in CSV, the number of the record in XML and JSON.
    pub line: u64,
    /// The table, where the record says so.
    pub table: Option<String>,
    /// Whether it is a deletion.
    pub deleted: bool,
    /// Its fields; one that is empty has an empty text, and one that the export does not have is not there.
    pub fields: HashMap<String, String>,
}

/// Hands every record to `take`, and every line that is none. The form is known by its first character.
pub fn each_record(
    mut file: Opened,
    take: &mut dyn FnMut(Result<Record, Remark>) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let start = file.fill_buf().map_err(|error| broken(&error))?;
    match start.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => Err(ReadError::Data("The file is empty.".to_owned())),
        Some(b'<') => xml(file, take),
        Some(b'{' | b'[') => json(file, take),
        Some(_) => csv(file, take),
    }
}

fn xml(file: Opened, take: &mut dyn FnMut(Result<Record, Remark>) -> Result<(), ReadError>) -> Result<(), ReadError> {
    let malformed = |number: u64, what: &str| ReadError::Data(format!("Record {number}: {what}"));
    let meter = file.meter();
    let mut reader = quick_xml::Reader::from_reader(file);
    reader.config_mut().expand_empty_elements = true;
    let (mut buffer, mut depth, mut number, mut rooted) = (Vec::new(), 0_usize, 0, false);
    let (mut record, mut field, mut text) = (Record::default(), String::new(), String::new());
    loop {
        buffer.clear();
        let event = reader.read_event_into(&mut buffer).map_err(|error| match error {
            quick_xml::Error::Io(error) => broken(&error),
            // Its own words quote the file.
            _ => malformed(number, &format!("this is not well-formed XML, at byte {}.", reader.error_position())),
        })?;
        match event {
            Event::Start(start) => {
                depth += 1;
                if depth > DEPTH {
                    return Err(malformed(number, "elements are nested deeper than 4. This is no export of a table."));
                }
                let name = String::from_utf8_lossy(start.local_name().as_ref()).into_owned();
                match depth {
                    1 if !rooted && matches!(&*name, "unload" | "xml") => rooted = true,
                    1 => {
                        return Err(ReadError::Data(
                            "The file is no export of ServiceNow: those are <unload> or <xml>.".to_owned(),
                        ));
                    }
                    2 => {
                        meter.store(RECORD, Ordering::Relaxed);
                        number += 1;
                        record = Record { line: number, deleted: deletes(&start), table: Some(name), ..Record::default() };
                    }
                    3 => {
                        field = name;
                        text.clear();
                    }
                    _ => {}
                }
            }
            Event::End(_) => {
                match depth {
                    2 => take(Ok(std::mem::take(&mut record)))?,
                    3 => {
                        if text.trim().is_empty() {
                            text.clear();
                        }
                        record.fields.insert(std::mem::take(&mut field), std::mem::take(&mut text));
                        if record.fields.len() > FIELDS {
                            return Err(malformed(number, "more than 1,000 fields. This is no export of a table."));
                        }
                    }
                    _ => {}
                }
                depth = depth.saturating_sub(1);
            }
            Event::Text(part) if depth == 3 => {
                text.push_str(&part.decode().map_err(|_| malformed(number, "the text is not UTF-8."))?);
            }
            Event::CData(part) if depth == 3 => {
                text.push_str(&part.decode().map_err(|_| malformed(number, "the text is not UTF-8."))?);
            }
            Event::GeneralRef(reference) if depth == 3 => {
                let meant = character(&reference)
                    .ok_or_else(|| malformed(number, "an entity that XML itself does not define. None is expanded."))?;
                text.push(meant);
            }
            // What stands outside of the table was not written by an export: something was appended, or two files are one.
            Event::Text(part) if depth == 0 && part.iter().all(u8::is_ascii_whitespace) => {}
            Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) if depth == 0 => {
                return Err(ReadError::Data(format!("After record {number} there is more than the table.")));
            }
            // What a document type declares could be expanded, or fetched from elsewhere.
            Event::DocType(_) => return Err(malformed(number, "a document type declaration is refused. Remove it.")),
            Event::Decl(declaration) => {
                let encoding = declaration.encoding().transpose().ok().flatten();
                if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"utf-8")) {
                    return Err(ReadError::Data("The XML is in another encoding than UTF-8. Convert it with iconv.".to_owned()));
                }
            }
            Event::Eof if depth > 0 || !rooted => {
                return Err(ReadError::Data(format!("The file is truncated after record {number}.")));
            }
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
}

/// Whether an unload says that the record was deleted.
fn deletes(start: &BytesStart<'_>) -> bool {
    start.try_get_attribute("action").ok().flatten().is_some_and(|action| action.value.eq_ignore_ascii_case(b"DELETE"))
}

/// The five entities of XML itself, and characters by number.
fn character(reference: &BytesRef<'_>) -> Option<char> {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return Some(character);
    }
    let name: &[u8] = reference;
    match name {
        b"amp" => Some('&'),
        b"lt" => Some('<'),
        b"gt" => Some('>'),
        b"quot" => Some('"'),
        b"apos" => Some('\''),
        _ => None,
    }
}

fn csv(file: Opened, take: &mut dyn FnMut(Result<Record, Remark>) -> Result<(), ReadError>) -> Result<(), ReadError> {
    let meter = file.meter();
    let mut reader = csv::ReaderBuilder::new().from_reader(file);
    let fatal = |error: &csv::Error| match error.kind() {
        csv::ErrorKind::Io(error) => broken(error),
        _ => ReadError::Data(format!("The file is not CSV: {error}.")),
    };
    let names = reader.headers().map_err(|error| fatal(&error))?.clone();
    if names.len() > FIELDS {
        return Err(ReadError::Data("More than 1,000 columns: this is no export of a table.".to_owned()));
    }
    let mut row = csv::StringRecord::new();
    loop {
        meter.store(RECORD, Ordering::Relaxed);
        let read = reader.read_record(&mut row);
        let line = reader.position().line();
        match read {
            Ok(false) => return Ok(()),
            Ok(true) => {
                let line = row.position().map_or(line, csv::Position::line);
                let fields = names.iter().zip(&row).map(|(name, value)| (name.trim().to_owned(), value.to_owned())).collect();
                take(Ok(Record { line, fields, ..Record::default() }))?;
            }
            Err(error) => match error.kind() {
                csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
                    let line = pos.as_ref().map_or(line, csv::Position::line);
                    take(Err(Remark::new(line, "", format!("{len} fields instead of {expected_len}."))))?;
                }
                csv::ErrorKind::Utf8 { pos, .. } => {
                    take(Err(Remark::new(pos.as_ref().map_or(line, csv::Position::line), "", "It is not UTF-8.")))?;
                }
                _ => return Err(fatal(&error)),
            },
        }
    }
}

fn json(file: Opened, take: &mut dyn FnMut(Result<Record, Remark>) -> Result<(), ReadError>) -> Result<(), ReadError> {
    let mut stopped = None;
    let meter = file.meter();
    let mut number = 0;
    let mut one = |value: Value| {
        meter.store(RECORD, Ordering::Relaxed);
        number += 1;
        let record = match value {
            Value::Object(fields) if fields.len() <= FIELDS => Ok(Record {
                line: number,
                fields: fields.into_iter().filter_map(|(name, value)| Some((name, text(value)?))).collect(),
                ..Record::default()
            }),
            _ => Err(Remark::new(number, "", "It is no object of at most 1,000 fields.")),
        };
        take(record).map_err(|error| stopped = Some(error))
    };
    let mut deserializer = serde_json::Deserializer::from_reader(file);
    let done = Document(&mut one).deserialize(&mut deserializer).and_then(|()| deserializer.end());
    match (stopped, done) {
        (Some(error), _) => Err(error),
        (None, Err(error)) if error.is_eof() => Err(ReadError::Data(format!("The file is truncated after record {number}."))),
        (None, Err(error)) if error.is_io() => Err(broken(&error.into())),
        (None, Err(error)) => Err(ReadError::Data(format!(
            "The file is not JSON of the form {{\"records\": [...]}} at line {}, column {}.",
            error.line(),
            error.column()
        ))),
        (None, Ok(())) => Ok(()),
    }
}

/// A field as text: plain, or with its value beside what is displayed. What is neither is as good as not there.
fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(value) => Some(value.to_string()),
        Value::Object(mut parts) => parts.remove("value").and_then(text),
        Value::Null => Some(String::new()),
        Value::Array(_) => None,
    }
}

type Take<'a> = &'a mut dyn FnMut(Value) -> Result<(), ()>;

/// The whole file: an object with the records, or the array of them.
struct Document<'a>(Take<'a>);

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("records")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut found = false;
        while let Some(name) = entries.next_key::<String>()? {
            if matches!(name.as_str(), "records" | "result") && !found {
                found = true;
                entries.next_value_seed(Document(&mut *self.0))?;
            } else {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        if found { Ok(()) } else { Err(A::Error::custom("no records")) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(value) = items.next_element::<Value>()? {
            (self.0)(value).map_err(|()| A::Error::custom("stopped"))?;
        }
        Ok(())
    }
}

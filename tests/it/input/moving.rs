//! Cases 76 to 87 without a database: whatever an export or the table of another store holds, its reader refuses or takes it, and never panics.

use std::fs;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use tenure::import::{Backup, DecodeOptions, Decoded, Owner, ReadError, Remark, Table, convert, decode, each_record, open};
use tenure::store::{ForeignFormat, ForeignRow};

use super::SECRET;
use crate::support::rounds;

const KEY: &str = "kYPpXyTmsqP8wlwHqg8QmVwZm1l7Q0pY";

fn row(text: &str, data: &[u8]) -> ForeignRow {
    ForeignRow {
        key: KEY.to_owned(),
        text: Some(text.to_owned()),
        data: Some(data.to_owned()),
        too_long: false,
        expires_at: None,
        created_at: None,
        last_activity_at: None,
        principal: None,
    }
}

fn read(format: ForeignFormat, row: ForeignRow) -> Result<Decoded, Remark> {
    let path = if format == ForeignFormat::Django { "" } else { "user.name" };
    let user_path = path.split('.').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    decode(7, row, format, &DecodeOptions { user_path, cookie_secret: None })
}

/// What a row holds, and what is said of it. No value is quoted.
#[test]
fn rows_of_other_stores_that_cannot_be_read_say_why() {
    use ForeignFormat::{Connect, Django, Spring, Tower};
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let base64 = |text: &str| {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(text)
    };
    let texts = [
        (Connect, String::new(), "no JSON object"),
        (Connect, SECRET.to_owned(), "no JSON object"),
        (Connect, format!("{{\"a\":\"{SECRET}\""), "no JSON object"),
        (Connect, format!("[\"{SECRET}\"]"), "no JSON object"),
        (Connect, deep, "no JSON object"),
        (Connect, format!("{{\"user\":{{\"name\":[\"{SECRET}\"]}}}}"), "neither text nor a number"),
        (Connect, format!("{{\"user\":{{\"name\":\"{SECRET}\\u202e\"}}}}"), "no user name"),
        (Connect, "{\"user\":{\"name\":\"\"}}".to_owned(), "no user name"),
        (Connect, format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 20)), "longer than 1 MiB"),
        // Nobody becomes a guest because their name cannot be read.
        (Connect, "{\"user\":{\"name\":\"\\ud83d\"}}".to_owned(), "cannot be read"),
        (Django, String::new(), "not what Django's signing writes"),
        (Django, SECRET.to_owned(), "not what Django's signing writes"),
        (Django, format!("{SECRET}:1:1"), "not what Django's signing writes"),
        (Django, ".AAAA:1:1".to_owned(), "compressed data is damaged"),
        (Django, base64("no colon"), "not what Django's signing writes"),
        (Django, base64("digest:{"), "no JSON object"),
        (Django, base64("digest:\x03cos\nsystem\n(S'true'\ntR."), "a pickle, which is not read"),
        (Django, base64("digest:{\"_auth_user_id\":\"one\"}"), "no number"),
    ];
    for (format, text, about) in texts {
        let remark = read(format, row(&text, b"")).unwrap_err();
        assert!(remark.line == 7 && remark.reason.contains(about), "{about}: {remark:?}");
        assert!(!remark.reason.contains(SECRET) && !remark.field.contains(SECRET), "{remark:?}");
    }
    let data: [(&[u8], &str); 8] = [
        (b"", "no MessagePack"),
        (b"\xc1", "not what tower-sessions writes"),
        (b"\x93", "no MessagePack"),
        (b"\x90", "not what tower-sessions writes"),
        (b"\x92\xc0\x80\xc0", "not what tower-sessions writes"),
        (b"\x92\xc0\x81\xc0\xc0", "not what tower-sessions writes"),
        (b"\x92\xc0\x81\xa1a\xc7\x00\x01", "not what tower-sessions writes"),
        (&[0x91; 5000], "nested too deep"),
    ];
    for (data, about) in data {
        let remark = read(Tower, row("", data)).unwrap_err();
        assert!(remark.reason.contains(about), "{data:x?}: {remark:?}");
    }
    for key in ["", "short", "with a space in its middle", &"x".repeat(513), "tn_AAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        let remark = read(Connect, ForeignRow { key: key.to_owned(), ..row("{}", b"") }).unwrap_err();
        assert_eq!((&*remark.field, remark.reason.contains("no token of 16 to 512")), ("key", true), "{key}: {remark:?}");
    }
    let foreign = read(Spring, ForeignRow { principal: Some("a\u{202e}b".to_owned()), ..row("", b"") });
    assert!(foreign.unwrap_err().reason.contains("no user name"));
}

#[test]
fn a_row_keeps_its_user_and_not_too_much_data() {
    let large = format!("{{\"user\":{{\"name\":\"abel.tuter\"}},\"a\":\"{}\"}}", "x".repeat(5000));
    let taken = read(ForeignFormat::Connect, row(&large, b"")).unwrap();
    assert_eq!(taken.owner, Owner::Name("abel.tuter".to_owned()));
    assert!(taken.facts.attributes.is_empty() && taken.remark.unwrap().reason.contains("without its data"));
    // What is no Unicode, or too deep, stays behind as well; and what stays behind is not told by its name.
    let deep = format!("{}1{}", "[".repeat(130), "]".repeat(130));
    for odd in ["\"\\ud83d\"", &deep, "\"\\u0000\""] {
        let text = format!(
            "{{\"{SECRET}\":{odd},\"cookie\":{{\"originalMaxAge\":1000}},\"user\":{{\"{SECRET}\":{odd},\"name\":\"abel.tuter\"}}}}"
        );
        let row = ForeignRow { expires_at: chrono::DateTime::from_timestamp(60, 0), ..row(&text, b"") };
        let taken = read(ForeignFormat::Connect, row).unwrap_or_else(|remark| panic!("{odd}: {remark:?}"));
        assert_eq!(taken.owner, Owner::Name("abel.tuter".to_owned()), "{odd}");
        assert_eq!(taken.facts.last_activity_at, chrono::DateTime::from_timestamp(59, 0), "{odd}");
        let reason = taken.remark.unwrap().reason;
        assert!(taken.facts.attributes.is_empty() && reason.contains("without its data") && !reason.contains(SECRET), "{reason}");
    }
    let guest = read(ForeignFormat::Connect, row("{\"user\":[],\"a\":\"\\ud83d\"}", b"")).unwrap();
    assert_eq!(guest.owner, Owner::Guest);
    // base64 of `digest:{"_auth_user_id":"7","a":"\ud83d"}`.
    let django = read(ForeignFormat::Django, row("ZGlnZXN0OnsiX2F1dGhfdXNlcl9pZCI6IjciLCJhIjoiXHVkODNkIn0=", b"")).unwrap();
    assert_eq!((django.owner, django.remark.is_some()), (Owner::Id(7), true));
    // Numbers come out as they went in.
    let exact = "{\"user\":{\"name\":42},\"a\":0.30000000000000004,\"b\":1.7976931348623157e308,\"c\":-9223372036854775808}";
    let taken = read(ForeignFormat::Connect, row(exact, b"")).unwrap();
    assert_eq!(taken.owner, Owner::Name("42".to_owned()));
    assert_eq!(serde_json::to_value(&taken.facts.attributes).unwrap().to_string(), {
        "{\"a\":0.30000000000000004,\"b\":1.7976931348623157e+308,\"c\":-9223372036854775808,\"user\":{\"name\":42}}"
    });
    // Instants beyond every calendar say nothing.
    for age in ["0", "-1", "9223372036854775807", "1e300", "\"1\"", "null"] {
        let text = format!("{{\"cookie\":{{\"originalMaxAge\":{age}}}}}");
        let row = ForeignRow { expires_at: chrono::DateTime::from_timestamp(0, 0), ..row(&text, b"") };
        assert_eq!(read(ForeignFormat::Connect, row).unwrap().facts.last_activity_at, None, "{age}");
    }
}

const BACKUP: &str = r#"{"format":1,"type":"tenure_export"}
{"name":"abel.tuter","type":"user","epoch":0,"roles":["admin"],"active":true,"created_at":"2026-11-23T13:06:42.085173+00:00","locked_out":false,"display_name":"hush-hush-4711","password_hash":null,"homepage_refresh_minutes":null}
{"name":"glide.ui.session_timeout","type":"property","value":"45"}
{"name":"Mobile App","type":"oauth_entity","client_id":"3a3f4b","client_secret_hash":null,"access_token_lifespan":1800,"refresh_token_lifespan":8640000}
{"type":"session","user":"abel.tuter","place":{"version":1,"attributes":{"a":"hush-hush-4711"},"user_agent":null,"client_address":null},"tokens":[],"session":{"id":"01a20884-0f79-77b3-852e-ea80884629a5","kind":"user","node":"node-1","device":"desktop","residue":false,"anchor_at":"2026-11-23T13:06:43.848551+00:00","app_state":null,"created_at":"2026-11-23T13:06:42.16968+00:00","token_hash":"\\xc4a11ba74852748cc2e0a0d61003b2009033c4bf2807ead2a1e9f475aa8142e3","remember_me":true,"app_state_at":null,"foreign_hash":null,"window_seconds":null,"refresh_seconds":null,"idle_limit_seconds":null},"oauth_entity":null}
{"type":"event","event":{"id":"01a20884-0f79-77b3-852e-ea80884629a5","at":"2026-11-23T13:06:43.848551+00:00","type":"session_created","session_id":null,"user_name":null,"actor":"a","reason":null,"node":null,"details":{"kind":"user"}}}
{"type":"end","counts":{"event":1,"oauth_entity":1,"property":1,"session":1,"user":1},"sha256":"DIGEST"}
"#;

/// The export with the digest it should have, whatever was done to the rest.
fn sealed(text: &[u8]) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    let end = text.windows(13).rposition(|part| part == b"{\"type\":\"end\"").unwrap_or(text.len());
    let digest: String = Sha256::digest(&text[..end]).iter().map(|byte| format!("{byte:02x}")).collect();
    [&text[..end], String::from_utf8_lossy(&text[end..]).replace("DIGEST", &digest).as_bytes()].concat()
}

fn read_backup(path: &Path) -> Result<(usize, Vec<Remark>), ReadError> {
    let backup = Backup::verify(path)?;
    let (mut taken, mut remarks) = (0, Vec::new());
    backup.each(|item| {
        item.map_or_else(|remark| remarks.push(remark), |_| taken += 1);
        Ok(())
    })?;
    Ok((taken, remarks))
}

fn read_records(path: &Path, table: Option<Table>) -> Result<(usize, Vec<Remark>), ReadError> {
    let (mut taken, mut remarks) = (0, Vec::new());
    each_record(open(path)?, &mut |record| {
        record.and_then(|record| convert(&record, table)).map_or_else(|remark| remarks.push(remark), |_| taken += 1);
        Ok(())
    })?;
    Ok((taken, remarks))
}

const UNLOAD: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<unload unload_date="2027-06-01 09:00:00"><sys_user action="INSERT_OR_UPDATE"><active>true</active><locked_out/><name>Abel &amp; &#252;<![CDATA[<b>]]></name><user_name>abel.tuter</user_name></sys_user><sys_properties><name>glide.ui.session_timeout</name><value>045</value></sys_properties></unload>"#;
const LIST: &str = "user_name,name,active,locked_out\r\nabel.tuter,\"Tuter, \"\"Abel\"\"\",true,\r\nbeth.anglin,,false,\r\n";
const RECORDS: &str = r#"{"records":[{"user_name":{"value":"abel.tuter","display_value":"x"},"name":"A\u00fc","active":"true","locked_out":"false"},{"user_name":"b","active":"","locked_out":null}]}"#;

/// Puts something else somewhere.
fn damage(text: &[u8], rng: &mut impl Rng) -> Vec<u8> {
    const PIECES: [&[u8]; 20] = [
        b"\0",
        b"\xff",
        b"\"",
        b"\\",
        b"\n",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"<",
        b">",
        b"&",
        b"-1",
        b"1e999",
        b"null",
        b"\\ud800",
        b"99999999999999999999",
        b"\xf0\x9f\x91\xa9",
    ];
    let mut text = text.to_owned();
    for _ in 0..rng.random_range(1..4) {
        let at = rng.random_range(0..=text.len());
        let to = rng.random_range(at..=(at + 8).min(text.len()));
        let piece = PIECES[rng.random_range(0..PIECES.len())];
        text.splice(at..to, piece.iter().copied());
    }
    text
}

/// The key of an attribute may be as secret as its value.
#[test]
fn an_attribute_that_does_not_fit_is_not_told_by_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let large = format!("\"attributes\":{{\"{SECRET}\":\"{}\"}}", "x".repeat(5000));
    fs::write(&path, sealed(BACKUP.replace("\"attributes\":{\"a\":\"hush-hush-4711\"}", &large).as_bytes())).unwrap();
    let (taken, remarks) = read_backup(&path).unwrap();
    assert_eq!((taken, remarks.len(), &*remarks[0].field), (4, 1, "attributes"), "{remarks:?}");
    assert!(!format!("{remarks:?}").contains(SECRET), "{remarks:?}");
}

#[test]
fn files_cut_or_damaged_anywhere_are_refused_or_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let users = Some(Table::Users);
    let read = |content: &[u8], form: &str| {
        fs::write(&path, content).unwrap();
        match form {
            "backup" => read_backup(&path),
            "xml" => read_records(&path, None),
            _ => read_records(&path, users),
        }
    };
    let whole = sealed(BACKUP.as_bytes());
    let forms =
        [("backup", &*whole, 5), ("xml", UNLOAD.as_bytes(), 2), ("csv", LIST.as_bytes(), 2), ("json", RECORDS.as_bytes(), 2)];
    for (form, content, lines) in forms {
        let (taken, remarks) = read(content, form).unwrap_or_else(|error| panic!("{form}: {error}"));
        assert_eq!((taken, &*remarks), (lines, &[][..]), "{form}");
        for end in 0..content.trim_ascii_end().len() {
            let cut = read(&content[..end], form);
            // Half a list is no list; half of CSV is one that is shorter.
            assert!(cut.is_err() || form == "csv", "{form} cut at {end}: {cut:?}");
        }
        let mut rng = StdRng::seed_from_u64(4711);
        for _ in 0..rounds(20_000) {
            let damaged = damage(if form == "backup" { BACKUP.as_bytes() } else { content }, &mut rng);
            let damaged = if form == "backup" { sealed(&damaged) } else { damaged };
            let said = match read(&damaged, form) {
                Ok((_, remarks)) => format!("{remarks:?}"),
                Err(error) => error.to_string(),
            };
            assert!(!said.contains(SECRET), "{form}: {said}");
        }
    }
}

#[test]
fn rows_damaged_anywhere_are_refused_or_read() {
    let rows: [(ForeignFormat, &[u8]); 4] = [
        (ForeignFormat::Connect, b"{\"cookie\":{\"originalMaxAge\":86400000},\"user\":{\"name\":\"hush-hush-4711\"},\"cart\":[1,2.5]}"),
        (ForeignFormat::Django, b".eJyrVopPLC3JiC8tTi2Kz0xRslIyV9JRyssvSQUyE4cJUKoFAE6rVbk:1xVSkH:Ql3XAMahgwxf7AWUCiYpXnKHzmOMs3MyXbf8Q58vVQU"),
        (ForeignFormat::Django, b"MDEyMzQ1Njc4OWFiY2RlZjp7Il9hdXRoX3VzZXJfaWQiOiI3In0="),
        (ForeignFormat::Tower, b"\x93\xc4\x10\0\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x82\xa4user\x81\xa4name\xaaabel.tuter\xa4hits\x07\x99\xcd\x07\xeb\x20\x01\x02\x03\x04\0\0\0"),
    ];
    let mut rng = StdRng::seed_from_u64(4711);
    for (format, whole) in rows {
        let row = |bytes: &[u8]| row(&String::from_utf8_lossy(bytes), bytes);
        read(format, row(whole)).unwrap_or_else(|remark| panic!("{format:?}: {remark:?}"));
        for _ in 0..rounds(50_000) {
            if let Err(remark) = read(format, row(&damage(whole, &mut rng))) {
                assert!(!remark.reason.contains(SECRET), "{remark:?}");
            }
        }
    }
}

//! Arrows only point right: `main -> cli -> server -> manager -> {maintenance, activity} -> cluster -> {cache, store} -> session`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// From each room, the rooms it may name.
const ARROWS: [(&str, &[&str]); 16] = [
    ("main", &["cli", "error"]),
    // Doctor compares the database's clock with this machine's.
    (
        "cli",
        &["server", "manager", "maintenance", "cluster", "store", "session", "clock", "input", "import", "embedded", "error"],
    ),
    ("server", &["manager", "maintenance", "cluster", "store", "session", "input", "error"]),
    ("manager", &["maintenance", "activity", "cluster", "cache", "store", "session", "clock", "input", "error"]),
    // The sweeper tells its node whether it has fallen behind; a node knows nothing of sweeping.
    ("maintenance", &["cluster", "store", "session", "clock", "error"]),
    ("activity", &["cluster", "cache", "store", "session", "clock", "error"]),
    ("cluster", &["cache", "store", "session", "clock", "error"]),
    // What is searched exhaustively knows of no database and reads no clock.
    ("cache", &["session", "clock"]),
    ("clock", &[]),
    // A merge of attributes is judged by its result, which only the store knows, under the lock of the row.
    ("store", &["session", "input", "error"]),
    ("session", &[]),
    // What comes from outside becomes what the store takes.
    ("input", &["store", "session", "error"]),
    // The same for what other stores wrote: many values at once, in forms of theirs.
    ("import", &["store", "session", "input", "error"]),
    ("embedded", &[]),
    ("error", &[]),
    // The crate's root only declares the rooms and re-exports.
    ("lib", &["error", "manager", "store"]),
];

/// Libraries that belong to one room.
const RESERVED: [(&str, &[&str]); 17] = [
    ("sqlx", &["store"]),
    ("refinery", &["store"]),
    ("refinery_core", &["store"]),
    ("axum", &["server"]),
    ("askama", &["server"]),
    ("tower_http", &["server"]),
    ("hyper", &["server"]),
    ("hyper_util", &["server"]),
    ("argon2", &["session"]),
    ("rpassword", &["cli"]),
    ("clap", &["cli", "main"]),
    ("reqwest", &["cli"]),
    // Forms of other stores are read in one place.
    ("csv", &["import"]),
    ("quick_xml", &["import"]),
    ("flate2", &["import"]),
    ("hmac", &["import"]),
    ("rmpv", &["import"]),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every source file by its room, comments left out.
fn rooms() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 30, "the scan found too little: {}", files.len());
    files
        .into_iter()
        .map(|path| {
            let inside = path.strip_prefix(&root).unwrap().to_owned();
            let room = inside.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
            let code = fs::read_to_string(&path).unwrap();
            let code = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
            (room, inside, code)
        })
        .collect()
}

/// Names that follow a path root such as `crate::`, nested `use` lists included.
fn named(code: &str, root: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    code.match_indices(root)
        .filter(|(at, _)| !code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
        .flat_map(|(at, _)| {
            let rest = &code[at + root.len()..];
            match rest.strip_prefix('{') {
                Some(list) => list[..list.find('}').unwrap()].split(',').map(|part| word(part.trim())).collect(),
                None => vec![word(rest)],
            }
        })
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn arrows_only_point_right() {
    let arrows: BTreeMap<_, _> = ARROWS.into();
    let mut seen = 0;
    for (room, path, code) in rooms() {
        let allowed = arrows.get(&*room).unwrap_or_else(|| panic!("{}: the room {room} has no place", path.display()));
        let roots: &[&str] = if room == "main" { &["tenure::", "crate::"] } else { &["crate::"] };
        for name in roots.iter().flat_map(|root| named(&code, root)) {
            // Types re-exported by the root are those of `error` and `manager`.
            let target = match &*name {
                "Error" | "Refusal" | "Result" => "error",
                "Manager" => "manager",
                "Store" => "store",
                name => name,
            };
            seen += 1;
            assert!(target == room || allowed.contains(&target), "{}: {room} may not name {name}", path.display());
        }
    }
    assert!(seen > 30, "the scan found too few arrows: {seen}");
}

#[test]
fn libraries_stay_in_their_room() {
    for (room, path, code) in rooms() {
        for (library, rooms) in RESERVED {
            let uses = !named(&code, &format!("{library}::")).is_empty() || code.contains(&format!("use {library};"));
            assert!(!uses || rooms.contains(&&*room), "{}: {library} belongs to {rooms:?}", path.display());
        }
    }
}

#[test]
fn the_domain_has_no_clock_and_does_no_io() {
    for (room, path, code) in rooms() {
        for banned in ["tokio::", "std::fs", "std::net::Tcp", "Instant::now", "Utc::now", "SystemTime", "async fn"] {
            assert!(room != "session" || !code.contains(banned), "{}: {banned}", path.display());
        }
    }
}

#[test]
fn the_scan_sees_what_it_must() {
    assert_eq!(named("use crate::{store::Store, error};", "crate::"), ["store", "error"]);
    assert_eq!(named("let x = crate::session::Limits::of(s);", "crate::"), ["session"]);
    assert!(named("my_crate::store", "crate::").is_empty());
}

//! What the documents tell readers to run is what runs.

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Targets of the Makefile, with what each needs and runs.
fn make_targets() -> Vec<String> {
    read("Makefile").lines().filter_map(|line| line.split_once(": ").map(|(target, _)| target.to_owned())).collect()
}

#[test]
fn the_readmes_two_commands_are_what_ci_runs() {
    let (readme, makefile, ci) = (read("README.md"), read("Makefile"), read(".ci/run"));
    for command in ["make demo", "make test"] {
        assert!(
            readme.lines().any(|line| line.trim() == command || line.trim().starts_with(&format!("{command} "))),
            "{command}"
        );
    }
    let check = makefile.lines().find(|line| line.starts_with("check:")).unwrap();
    assert!(check.split_whitespace().any(|word| word == "test"), "make check runs make test");
    assert!(ci.contains("make check") && ci.contains("make demo"));
}

/// The pages for people.
const DOCUMENTS: [&str; 13] = [
    "README.md",
    "docs/ARCHITECTURE.md",
    "docs/GUARANTEES.md",
    "docs/MIGRATIONS.md",
    "docs/OPERATIONS.md",
    "docs/SECURITY.md",
    "docs/SEMANTICS.md",
    "docs/FAULTS.md",
    "docs/FORWARD-AUTH.md",
    "docs/BROWSER.md",
    "docs/CONSOLE.md",
    "docs/PROBLEMS.md",
    "docs/REPORTING.md",
];

#[test]
fn every_make_command_a_document_names_exists() {
    let targets = make_targets();
    for document in DOCUMENTS {
        for line in read(document).lines().filter(|line| line.trim_start().starts_with("make ")) {
            let target = line.split_whitespace().nth(1).unwrap();
            assert!(targets.iter().any(|known| known == target), "{document}: make {target}");
        }
    }
}

/// What refinery's own program would run, by the library it is made of: every file, with the checksum that ours writes.
#[test]
fn the_stock_refinery_program_finds_what_the_migrations_page_tells_it() {
    use refinery_core::{Migration, MigrationType, find_migration_files};

    mod embedded {
        refinery::embed_migrations!("migrations");
    }
    let (page, manifest) = (read("docs/MIGRATIONS.md"), read("Cargo.toml"));
    let (major, _) = page.split_once("refinery_cli --version ").unwrap().1.split_once(".0 ").unwrap();
    assert!(manifest.contains(&format!("refinery = {{ version = \"{major}\"")), "{major} is another refinery than ours");
    let command = page.lines().map(str::trim).find(|line| line.starts_with("refinery migrate ")).unwrap();
    let words: Vec<_> = command.split(' ').collect();
    assert!(words.contains(&"-d") && words.contains(&"-m"), "it has to abort when files were changed or are missing");
    assert!(words.windows(2).any(|pair| pair == ["-e", "DATABASE_URL"]));
    let folder = words.windows(2).find(|pair| pair[0] == "-p").unwrap()[1];

    let files = find_migration_files(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), MigrationType::Sql).unwrap();
    let mut found: Vec<_> = files
        .map(|file| {
            Migration::unapplied(file.file_stem().unwrap().to_str().unwrap(), &fs::read_to_string(&file).unwrap()).unwrap()
        })
        .map(|migration| (migration.version(), migration.name().to_owned(), migration.checksum()))
        .collect();
    let runner = embedded::migrations::runner();
    let mut ours: Vec<_> =
        runner.get_migrations().iter().map(|one| (one.version(), one.name().to_owned(), one.checksum())).collect();
    found.sort();
    ours.sort();
    assert_eq!(found, ours);
}

#[test]
fn links_between_documents_lead_somewhere() {
    for document in DOCUMENTS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(document).parent().unwrap().to_owned();
        let text = read(document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            assert!(folder.join(file).exists(), "{document} links to {link}");
        }
    }
}

/// A table that says "shown by" must not name what nobody runs.
#[test]
fn the_tests_that_the_security_page_names_exist() {
    let mut sources = String::new();
    for folder in ["tests", "src"] {
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    sources += &fs::read_to_string(path).unwrap();
                }
            }
        }
    }
    let page = read("docs/SECURITY.md");
    let mut named = 0;
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let shown_by = row.trim_end_matches('|').rsplit('|').next().unwrap();
        for test in shown_by.split('`').skip(1).step_by(2) {
            assert!(sources.contains(&format!("fn {test}(")), "there is no test {test}: {row}");
            named += 1;
        }
    }
    assert!(named > 40, "the scan found too little: {named}");
    let requirements = page.lines().filter(|line| line.starts_with("| 7.")).count();
    assert_eq!(requirements, 19, "requirements of chapter V7");
}

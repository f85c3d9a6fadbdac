//! What the migrations make, read from their own text: a second list would be forgotten when a migration is added.
//!
//! Only what stands outside of function bodies counts. That is enough because a name is used once: constraints and indexes carry
//! the name of their table (`tests/it/schema_rules.rs`).

use super::super::migrate;

/// One index, trigger or constraint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) table: String,
    pub(super) name: String,
    /// The statement that makes it anew.
    pub(super) statement: String,
}

/// Words of a statement that do not change what it makes.
const FILLERS: [&str; 8] = ["if", "not", "exists", "concurrently", "only", "or", "replace", "cascade"];

/// Everything the migrations leave.
#[derive(Debug, Default)]
pub(super) struct Expected {
    pub(super) indexes: Vec<Made>,
    pub(super) triggers: Vec<Made>,
    pub(super) constraints: Vec<Made>,
    /// Names of the functions granted to `tenure_reporter`.
    pub(super) reporter: Vec<String>,
}

/// Reads the migrations up to a version, as they were applied.
pub(super) fn expected(version: i64) -> Expected {
    let mut migrations: Vec<_> = migrate::known();
    migrations.sort();
    let mut expected = Expected::default();
    for migration in migrations.iter().filter(|migration| i64::from(migration.version()) <= version) {
        expected.read(migration.sql().unwrap_or_default());
    }
    expected
}

impl Expected {
    fn read(&mut self, text: &str) {
        self.read_grants(text);
        for statement in outside_of_bodies(text).split(';') {
            let words: Vec<&str> = statement.split_whitespace().collect();
            self.read_statement(&words, statement);
        }
    }

    fn read_statement(&mut self, words: &[&str], text: &str) {
        let telling: Vec<&str> = words.iter().copied().filter(|word| !FILLERS.contains(word)).collect();
        match telling.as_slice() {
            ["create", "unique", "index", name, "on", table, ..] | ["create", "index", name, "on", table, ..] => {
                self.indexes.push(made(bare(table), name, words));
            }
            ["create", "trigger", name, rest @ ..] | ["create", "constraint", "trigger", name, rest @ ..] => {
                if let Some(table) = after(rest, "on") {
                    self.triggers.push(made(bare(table), name, words));
                }
            }
            ["create" | "alter", "table", table, ..] | ["create", "unlogged", "table", table, ..] => {
                let table = bare(table);
                for (at, _) in text.match_indices("constraint ") {
                    let rest = text[at + "constraint ".len()..].trim_start();
                    let rest = rest.strip_prefix("if exists").map_or(rest, str::trim_start);
                    let (name, rest) = rest.split_at(rest.find([' ', '\n', ',']).unwrap_or(rest.len()));
                    match text[..at].split_whitespace().next_back() {
                        Some("drop") => self.constraints.retain(|made| made.name != name),
                        Some("validate" | "alter" | "rename") => {}
                        _ => {
                            let body = item(rest).split_whitespace().collect::<Vec<_>>().join(" ");
                            let statement = format!("alter table tenure.{table} add constraint {name} {body};");
                            self.constraints.push(Made { table: table.clone(), name: name.to_owned(), statement });
                        }
                    }
                }
            }
            ["drop", "index", name, ..] => self.indexes.retain(|made| made.name != bare(name)),
            ["drop", "trigger", name, ..] => self.triggers.retain(|made| made.name != bare(name)),
            ["drop", "table", table, ..] => {
                let table = bare(table);
                for list in [&mut self.indexes, &mut self.triggers, &mut self.constraints] {
                    list.retain(|made| made.table != table);
                }
            }
            _ => {}
        }
    }

    /// Grants stand in `do` blocks, because the role may be missing.
    fn read_grants(&mut self, text: &str) {
        for (at, _) in text.match_indices("grant execute on function") {
            let Some((list, _)) = text[at..].split_once("to tenure_reporter") else { continue };
            for (name_at, _) in list.match_indices("tenure.") {
                let name: String =
                    list[name_at + "tenure.".len()..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                // The types of parameters are tables: only what a parenthesis follows is a function.
                if list[name_at + "tenure.".len() + name.len()..].starts_with('(') && !self.reporter.contains(&name) {
                    self.reporter.push(name);
                }
            }
        }
    }
}

fn made(table: String, name: &str, words: &[&str]) -> Made {
    Made { table, name: name.to_owned(), statement: format!("{};", words.join(" ")) }
}

/// A name without schema and punctuation.
fn bare(name: &str) -> String {
    name.trim_start_matches("tenure.").trim_end_matches(['(', ',']).to_owned()
}

fn after<'a>(words: &[&'a str], word: &str) -> Option<&'a str> {
    words.iter().position(|w| *w == word).and_then(|at| words.get(at + 1)).copied()
}

/// The first item of a list: up to a comma or closing parenthesis that belongs to the list itself.
fn item(list: &str) -> &str {
    let mut depth = 0;
    let mut quoted = false;
    for (at, c) in list.char_indices() {
        match c {
            '\'' => quoted = !quoted,
            '(' | '[' if !quoted => depth += 1,
            ',' | ')' | ']' if !quoted && depth == 0 => return &list[..at],
            ')' | ']' if !quoted => depth -= 1,
            _ => {}
        }
    }
    list
}

/// The text without comments and dollar-quoted bodies; no semicolon is left in its strings.
fn outside_of_bodies(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['-', '$', '\'']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = if rest.starts_with("--") {
            rest.find('\n')
        } else if let Some(body) = rest.strip_prefix("$$") {
            body.find("$$").map(|end| end + 4)
        } else if let Some(string) = rest.strip_prefix('\'') {
            let end = string.find('\'').map(|end| end + 2);
            out.push_str(&rest[..end.unwrap_or(rest.len())].replace(';', ","));
            end
        } else {
            out.push_str(&rest[..1]);
            Some(1)
        };
        rest = &rest[end.unwrap_or(rest.len())..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(texts: &[&str]) -> Expected {
        let mut expected = Expected::default();
        for text in texts {
            expected.read(text);
        }
        expected
    }

    fn names(made: &[Made]) -> Vec<&str> {
        made.iter().map(|made| &*made.name).collect()
    }

    #[test]
    fn what_a_later_migration_drops_is_not_expected() {
        let first = "create table tenure.t (\n    a int,\n    constraint t_pkey primary key (a),\n    constraint t_a_check check (a > 0 and (a, 1) <> (b, 2)),\n    c text\n);\n\
                     create index t_a_idx on tenure.t (a);\ncreate trigger t_follow after insert on tenure.t for each row execute function x();";
        let expected = read(&[first]);
        assert_eq!(names(&expected.constraints), ["t_pkey", "t_a_check"]);
        assert_eq!(names(&expected.indexes), ["t_a_idx"]);
        assert_eq!(expected.triggers[0].table, "t");
        assert_eq!(
            expected.constraints[1].statement,
            "alter table tenure.t add constraint t_a_check check (a > 0 and (a, 1) <> (b, 2));"
        );
        let expected = read(&[first, "drop index tenure.t_a_idx; alter table tenure.t drop constraint t_a_check;"]);
        assert_eq!(names(&expected.constraints), ["t_pkey"]);
        assert!(expected.indexes.is_empty());
        let hedged = "alter table tenure.t drop constraint if exists t_a_check; drop index if exists tenure.t_a_idx;
                      drop trigger if exists t_follow on tenure.t; alter table tenure.t validate constraint t_pkey;";
        let expected = read(&[first, hedged]);
        assert_eq!(names(&expected.constraints), ["t_pkey"]);
        assert!(expected.indexes.is_empty() && expected.triggers.is_empty());
        let expected = read(&[first, "drop table tenure.t;"]);
        assert!(expected.triggers.is_empty() && expected.constraints.is_empty());
    }

    #[test]
    fn bodies_comments_and_strings_make_nothing() {
        let expected = read(&[
            "-- create index a_idx on tenure.a (b);\ncreate function f() as $$ create index b_idx on tenure.a (b); $$;\n\
             comment on table t is 'It''s; create index c_idx on tenure.a (b);';",
        ]);
        assert!(expected.indexes.is_empty(), "{:?}", expected.indexes);
    }

    #[test]
    fn functions_are_granted_by_name_and_types_are_none() {
        let expected = read(&[
            "do $$ begin grant execute on function tenure.now(), tenure.limits(tenure.sessions) to tenure_reporter; end $$;",
        ]);
        assert_eq!(expected.reporter, ["now", "limits"]);
    }

    #[test]
    fn the_migrations_are_understood() {
        let expected = expected(i64::MAX);
        assert!(expected.indexes.len() > 8 && expected.triggers.len() > 15 && expected.constraints.len() > 50);
        assert!(expected.reporter.iter().any(|name| name == "barred"));
    }
}

//! What the migrations make, read from their own text: a second list would be forgotten when a migration is added.
//!
//! Of tables only what stands outside of function bodies counts. That is enough because a name is used once: constraints and indexes
//! carry the name of their table (`tests/it/schema_rules.rs`).

use super::super::migrate;
use super::functions::Function;

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
    pub(super) functions: Vec<Function>,
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
        for statement in statements(text) {
            let words: Vec<&str> = statement.outside.split_whitespace().collect();
            self.read_statement(&words, &statement.outside);
            self.read_function(&words, &statement);
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

    fn read_function(&mut self, words: &[&str], statement: &Statement<'_>) {
        let telling: Vec<&str> = words.iter().copied().filter(|word| !FILLERS.contains(word)).take(2).collect();
        match *telling {
            ["create", "function"] => {
                if let Some(function) = Function::made(statement) {
                    self.functions.retain(|known| !known.is(&function));
                    self.functions.push(function);
                }
            }
            ["alter", "function"] => {
                for function in &mut self.functions {
                    function.alter(statement);
                }
            }
            ["drop", "function"] => self.functions.retain(|known| !known.is_named_by(&statement.outside)),
            _ => {}
        }
    }

    /// Whether a function is granted to `tenure_reporter`: some of `tenure`, and all of `reporting`.
    pub(super) fn is_reporters(&self, name: &str) -> bool {
        name.strip_prefix("tenure.").is_none_or(|name| self.reporter.iter().any(|granted| granted == name))
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

/// A statement of a migration.
#[derive(Debug)]
pub(super) struct Statement<'a> {
    /// As it is written, without the comments before it and the semicolon.
    pub(super) text: &'a str,
    /// Without comments and body.
    pub(super) outside: String,
    /// Its dollar-quoted body.
    pub(super) body: Option<&'a str>,
}

fn statements(text: &str) -> Vec<Statement<'_>> {
    let mut list = Vec::new();
    let (mut outside, mut body) = (String::new(), None);
    // Where the statement begins, and how far it is read.
    let (mut from, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text[at..];
        let step = if rest.starts_with("--") {
            let step = rest.find('\n').unwrap_or(rest.len());
            if outside.trim().is_empty() {
                from = at + step;
            }
            step
        } else if let Some(inside) = rest.strip_prefix("$$") {
            let end = inside.find("$$").unwrap_or(inside.len());
            body = Some(&inside[..end]);
            end + 4
        } else if let Some(inside) = rest.strip_prefix('\'') {
            let step = inside.find('\'').map_or(rest.len(), |end| end + 2);
            outside.push_str(&rest[..step]);
            step
        } else if rest.starts_with(';') {
            list.push(Statement { text: text[from..at].trim(), outside: std::mem::take(&mut outside), body: body.take() });
            from = at + 1;
            1
        } else {
            let step = rest.chars().next().map_or(1, char::len_utf8);
            outside.push_str(&rest[..step]);
            step
        };
        at = (at + step).min(text.len());
    }
    list
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
    fn the_last_statement_about_a_function_counts() {
        let first = "create function tenure.f(p_a int, p_b timestamptz[] default null, out c text)\n    language sql stable set jit = off\n    as $$ select 1; -- ;\n $$;
                     create function tenure.f(a tenure.policies) returns table (stable text, volatile int)\n    language plpgsql security definer as $$ a $$;
                     alter function tenure.f(int, timestamptz[]) parallel safe;";
        let expected = read(&[first]);
        let [f, other] = expected.functions.as_slice() else { panic!("{:?}", expected.functions) };
        assert_eq!(f.signature(), "tenure.f(integer, timestamp with time zone[])");
        assert_eq!((&*f.body, &*f.language, f.volatility, f.parallel_safe), (" select 1; -- ;\n ", "sql", 's', true));
        assert_eq!(f.settings, ["jit=off"]);
        assert!(
            f.statement.starts_with("create or replace function tenure.f(p_a int") && f.statement.ends_with("parallel safe;")
        );
        assert_eq!(other.signature(), "tenure.f(tenure.policies)");
        assert_eq!((other.definer, other.volatility, other.parallel_safe), (true, 'v', false));

        // As in PostgreSQL, a replacement takes the marks back.
        let replaced =
            "create or replace function tenure.f(p_a int, p_b timestamptz[]) returns text language sql as $$ select 2 $$;";
        let expected = read(&[first, replaced]);
        assert_eq!((&*expected.functions[1].body, expected.functions[1].parallel_safe), (" select 2 ", false));
        let expected = read(&[first, "drop function if exists tenure.f(int, timestamptz[]);"]);
        assert_eq!(expected.functions.len(), 1);
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
        assert!(expected.functions.len() > 70, "{}", expected.functions.len());
    }
}

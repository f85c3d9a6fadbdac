//! Functions: the rules are written in them, so one that was replaced is another store.

use sqlx::PgConnection;

use super::expected::{Statement, expected};
use super::{Answer, Finding, counted, schema};
use crate::store::migrate;

/// The clock, which has findings of its own.
pub(super) const CLOCK: &str = "tenure.now()";

/// A function, as the migrations make it or as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Function {
    /// With its schema.
    pub(super) name: String,
    /// What it takes, as PostgreSQL writes types.
    pub(super) types: Vec<String>,
    pub(super) language: String,
    pub(super) body: String,
    /// Whether it runs as its owner.
    pub(super) definer: bool,
    /// `i`, `s` or `v`.
    pub(super) volatility: char,
    pub(super) parallel_safe: bool,
    /// Settings in force while it runs, `name=value`.
    pub(super) settings: Vec<String>,
    /// What makes it anew, with every mark.
    pub(super) statement: String,
}

impl Function {
    /// The function that a statement `create function` makes.
    pub(super) fn made(statement: &Statement<'_>) -> Option<Self> {
        let (name, types, rest) = heading(&statement.outside)?;
        // `create` is followed by its name, or by `or replace`.
        let text = &statement.text[statement.text.find("function ")?..];
        let mut function = Self {
            name,
            types,
            language: String::new(),
            body: statement.body?.to_owned(),
            definer: false,
            volatility: 'v',
            parallel_safe: false,
            settings: Vec::new(),
            statement: format!("create or replace {text};"),
        };
        function.mark(rest);
        Some(function)
    }

    /// Applies a statement `alter function`, if it is about this one.
    pub(super) fn alter(&mut self, statement: &Statement<'_>) {
        if let Some((_, _, rest)) =
            heading(&statement.outside).filter(|(name, types, _)| *name == self.name && *types == self.types)
        {
            self.mark(rest);
            self.statement = format!("{}\n{};", self.statement, statement.text);
        }
    }

    /// Whether both have one name and take the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.name == other.name && self.types == other.types
    }

    /// Whether a statement `drop function` is about this one.
    pub(super) fn is_named_by(&self, statement: &str) -> bool {
        heading(statement).is_some_and(|(name, types, _)| name == self.name && types == self.types)
    }

    /// Its name and what it takes, as in `drop function`.
    pub(super) fn signature(&self) -> String {
        format!("{}({})", self.name, self.types.join(", "))
    }

    /// What makes it where there is none: a new function is everybody's until that is taken back.
    pub(super) fn anew(&self, for_reporter: bool) -> String {
        let signature = self.signature();
        let grant =
            if for_reporter { format!("\ngrant execute on function {signature} to tenure_reporter;") } else { String::new() };
        format!("{}\nrevoke execute on function {signature} from public;{grant}", self.statement)
    }

    /// Whether both do the same. Their lines may be indented in another way, as after a copy from a terminal.
    fn does_as(&self, other: &Self) -> bool {
        fn lines(body: &str) -> impl Iterator<Item = &str> {
            body.lines().map(str::trim).filter(|line| !line.is_empty())
        }
        lines(&self.body).eq(lines(&other.body))
    }

    /// What stands behind the parameters: language and marks, in any order.
    fn mark(&mut self, rest: &str) {
        let rest = outside_of_parentheses(rest);
        let words: Vec<&str> = rest.split_whitespace().collect();
        for (at, word) in words.iter().enumerate() {
            let next = words.get(at + 1).copied().unwrap_or_default();
            match (*word, next) {
                ("language", _) => next.clone_into(&mut self.language),
                ("immutable", _) => self.volatility = 'i',
                ("stable", _) => self.volatility = 's',
                ("volatile", _) => self.volatility = 'v',
                ("security", _) => self.definer = next == "definer",
                ("parallel", _) => self.parallel_safe = next == "safe",
                ("set", _) => {
                    let value: Vec<&str> =
                        words[at + 2..].iter().skip(1).copied().take_while(|word| !ENDS_A_SETTING.contains(word)).collect();
                    self.settings.push(format!("{next}={}", value.join(" ").trim_matches('\'')));
                }
                _ => {}
            }
        }
        self.settings.sort();
    }
}

/// Words that may follow a setting of a function.
const ENDS_A_SETTING: [&str; 8] = ["as", "set", "language", "immutable", "stable", "volatile", "security", "parallel"];

/// Name, types taken, and what stands behind them, of a statement about one function. A type without a parameter's name is one word.
fn heading(statement: &str) -> Option<(String, Vec<String>, &str)> {
    let (_, rest) = statement.split_once("function ")?;
    let rest = rest.trim_start().strip_prefix("if exists").unwrap_or(rest).trim_start();
    let (name, rest) = rest.split_once('(')?;
    let mut depth = 1;
    let end = rest.find(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth == 0
    })?;
    let (parameters, rest) = (&rest[..end], &rest[end + 1..]);
    let mut depth = 0;
    let types = parameters
        .split(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            depth == 0 && c == ','
        })
        .filter_map(taken)
        .collect();
    Some((name.trim().to_owned(), types, rest))
}

/// The type of a parameter that is taken; `None` for one that is given back.
fn taken(parameter: &str) -> Option<String> {
    let parameter = parameter.split(" default ").next().unwrap_or(parameter);
    let mut words: Vec<&str> = parameter.split_whitespace().collect();
    if matches!(words.first(), Some(&"in" | &"inout" | &"variadic")) {
        words.remove(0);
    }
    match words.as_slice() {
        [] | ["out", ..] => None,
        [one] => Some(full(one)),
        [_, rest @ ..] => Some(full(&rest.join(" "))),
    }
}

/// A type as PostgreSQL writes it.
fn full(name: &str) -> String {
    let (base, array) = name.strip_suffix("[]").map_or((name, ""), |base| (base, "[]"));
    let base = match base {
        "int" | "int4" => "integer",
        "int8" => "bigint",
        "int2" => "smallint",
        "bool" => "boolean",
        "timestamptz" => "timestamp with time zone",
        "float8" => "double precision",
        other => other,
    };
    format!("{base}{array}")
}

fn outside_of_parentheses(text: &str) -> String {
    let mut depth = 0;
    text.chars()
        .filter(|c| {
            depth += i32::from(*c == '(');
            let outside = depth == 0;
            depth -= i32::from(*c == ')');
            outside
        })
        .collect()
}

/// Every function of both schemas against the migrations.
pub(super) async fn compared(connection: &mut PgConnection) -> Result<Answer, sqlx::Error> {
    // Those of another release differ as they should, and are told by the history.
    if !is_of_this_release(connection).await? {
        return Ok(Answer::default());
    }
    let expected = expected(schema::version(connection).await?);
    let there: Vec<Function> = sqlx::query!(
        r#"/* doctor_functions */
        select format('%I.%I', n.nspname, p.proname) as "name!", l.lanname::text as "language!", p.prosrc as "body!", p.prosecdef as "definer!",
               p.provolatile::text as "volatility!", p.proparallel::text = 's' as "parallel_safe!", coalesce(p.proconfig, '{}') as "settings!",
               array(select format_type(t.type, null) from unnest(p.proargtypes) with ordinality t (type, place) order by t.place) as "types!"
          from pg_proc p
          join pg_namespace n on n.oid = p.pronamespace
          join pg_language l on l.oid = p.prolang
         where n.nspname in ('tenure', 'reporting') and p.prokind = 'f'
         order by n.nspname, p.proname, p.oid"#
    )
    .fetch_all(connection)
    .await?
    .into_iter()
    .map(|row| Function {
        name: row.name,
        types: row.types,
        language: row.language,
        body: row.body,
        definer: row.definer,
        volatility: row.volatility.chars().next().unwrap_or_default(),
        parallel_safe: row.parallel_safe,
        settings: {
            let mut settings = row.settings;
            settings.sort();
            settings
        },
        statement: String::new(),
    })
    .collect();

    let mut found = Vec::new();
    let mut unmarked = Vec::new();
    for made in &expected.functions {
        let signature = made.signature();
        let Some(now) = there.iter().find(|function| function.is(made)) else {
            if signature != CLOCK {
                found.push(Finding::problem(
                    "function_missing",
                    format!("The function {signature} is missing: what calls it fails."),
                    made.anew(expected.is_reporters(&made.name)),
                ));
            }
            continue;
        };
        let differs = [
            ("body", made.does_as(now)),
            ("language", made.language == now.language),
            ("security definer", made.definer == now.definer),
            ("volatility", made.volatility == now.volatility),
            ("settings", made.settings == now.settings),
            ("parallel safe", made.parallel_safe || !now.parallel_safe),
        ];
        let differs: Vec<&str> = differs.into_iter().filter(|(_, same)| !same).map(|(what, _)| what).collect();
        if signature == CLOCK && differs.contains(&"body") {
            continue;
        }
        if !differs.is_empty() {
            found.push(Finding::problem(
                "function_differs",
                format!(
                    "The function {signature} was replaced ({}): other rules hold than this release has.",
                    differs.join(", ")
                ),
                made.statement.clone(),
            ));
        } else if made.parallel_safe && !now.parallel_safe {
            unmarked.push(signature);
        }
    }
    if !unmarked.is_empty() {
        found.push(Finding::warning(
            "not_parallel_safe",
            format!(
                "{} the mark parallel safe: {}. One process alone works on a report that needs it.",
                counted(i64::try_from(unmarked.len()).unwrap_or(i64::MAX), "function has lost", "functions have lost"),
                unmarked.join(", ")
            ),
            unmarked.iter().map(|signature| format!("alter function {signature} parallel safe;")).collect::<Vec<_>>().join(" "),
        ));
    }
    found.extend(there.iter().filter(|now| !expected.functions.iter().any(|made| made.is(now))).map(|now| {
        let signature = now.signature();
        Finding::note(
            "function_added",
            format!("The function {signature} is none of the migrations'."),
            format!("drop function {signature};  -- if nobody needs it"),
        )
    }));
    Ok(Answer { seen: counted(i64::try_from(there.len()).unwrap_or(i64::MAX), "function", "functions"), found })
}

/// Whether what was applied is what this program would apply, as far as it goes; without the right to know, it most likely is.
async fn is_of_this_release(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let Some(Ok(applied)) = migrate::applied(connection).await.ok().flatten() else { return Ok(true) };
    let known = migrate::known();
    Ok(applied
        .iter()
        .all(|theirs| known.iter().any(|ours| ours.version() == theirs.version() && ours.checksum() == theirs.checksum())))
}

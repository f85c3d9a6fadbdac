//! What a change of a property would do, in words.

use super::super::shown;
use crate::store::{ForecastExample, KindForecast, PropertyForecast};

/// A forecast as a page shows it.
pub(super) struct Preview {
    /// What would be, for instance `45 minutes`.
    pub(super) what: String,
    /// What that does, in a sentence.
    pub(super) told: String,
    /// The value to send; `None` restores the default.
    pub(super) value: Option<String>,
    pub(super) kinds: Vec<KindForecast>,
    pub(super) examples: Vec<Example>,
    pub(super) warnings: Vec<String>,
    pub(super) needs_force: bool,
    /// The guard.
    pub(super) expect: i64,
    pub(super) basis: String,
}

/// A session that the change concerns.
pub(super) struct Example {
    pub(super) id: String,
    pub(super) who: String,
    pub(super) ends: String,
    pub(super) because: String,
    pub(super) would: String,
    pub(super) would_because: String,
}

impl From<ForecastExample> for Example {
    fn from(example: ForecastExample) -> Self {
        Self {
            id: example.id.to_string(),
            who: format!("{} of {}", example.kind, example.user.as_deref().unwrap_or("a guest")),
            ends: shown::instant(example.expires_at),
            because: shown::words(&example.reason),
            would: if example.effect == "ends_now" { "now".to_owned() } else { shown::instant(example.would_expire_at) },
            would_because: shown::words(&example.would_reason),
        }
    }
}

impl Preview {
    pub(super) fn of(forecast: PropertyForecast, value: Option<&str>) -> Self {
        let unit = forecast.property.unit.as_deref().map(|unit| format!(" {unit}")).unwrap_or_default();
        let shown = forecast.property.value.as_ref().map_or_else(|| "unset".to_owned(), |value| format!("{value}{unit}"));
        Self {
            what: if value.is_some() { shown } else { format!("the default, {shown}") },
            told: told(forecast.ends_now, forecast.ends_earlier, forecast.ends_later),
            value: value.map(str::to_owned),
            kinds: forecast.kinds,
            examples: forecast.examples.into_iter().map(Example::from).collect(),
            warnings: forecast.property.warnings,
            needs_force: forecast.needs_force,
            expect: forecast.guard.expect.unwrap_or_default(),
            basis: forecast.guard.expect_basis.unwrap_or_default(),
        }
    }
}

fn told(now: i64, earlier: i64, later: i64) -> String {
    let effects = [(now, "at once"), (earlier, "earlier than they would have"), (later, "later than they would have")];
    let parts: Vec<_> = effects
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, when)| {
            let (sessions, when) = match count {
                1 => ("session ends", when.replace("they", "it")),
                _ => ("sessions end", (*when).to_owned()),
            };
            format!("{count} {sessions} {when}")
        })
        .collect();
    if parts.is_empty() { "No session ends earlier or later by it.".to_owned() } else { format!("{}.", parts.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn what_happens_is_said_in_a_sentence() {
        assert_eq!(told(0, 0, 0), "No session ends earlier or later by it.");
        assert_eq!(told(3, 1, 0), "3 sessions end at once, 1 session ends earlier than it would have.");
    }
}

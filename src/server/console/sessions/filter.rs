//! The filter of the list: that of `/v1/sessions`, as a form sends it. A field left empty asks for nothing.

use serde::Deserialize;

use super::super::super::routes::sessions::ListQuery;
use super::super::form::{Form, encoded};
use super::super::shown;
use crate::store::ListFilter;

/// The fields as they were typed.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::server::console) struct Filter {
    pub(super) user: String,
    pub(super) kind: String,
    pub(super) node: String,
    pub(super) active: String,
    pub(super) address: String,
    /// Without activity for at least so many minutes.
    pub(super) idle: String,
    /// `YYYY-MM-DDTHH:MM`, in UTC, as browsers send a date with a time.
    pub(super) created_from: String,
    pub(super) created_to: String,
    /// Cursor of the page before.
    pub(super) after: String,
}

fn given(text: &str) -> Option<String> {
    Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// An instant of a form: browsers leave out the seconds when they are 0, and never name a zone.
fn utc(text: &str) -> Option<String> {
    given(text).map(|text| if text.len() == "2026-03-01T12:00".len() { format!("{text}:00Z") } else { format!("{text}Z") })
}

impl Filter {
    /// The filter of the store, once every part of it is judged.
    pub(super) fn judged(&self) -> crate::Result<ListFilter> {
        ListQuery {
            user: given(&self.user),
            kind: given(&self.kind),
            node: given(&self.node),
            active: given(&self.active),
            address: given(&self.address),
            idle_minutes_min: given(&self.idle),
            created_from: utc(&self.created_from),
            created_to: utc(&self.created_to),
            after: given(&self.after),
            ..ListQuery::default()
        }
        .filter()
    }

    /// Whether it asks for something.
    pub(super) fn narrows(&self) -> bool {
        !self.given().is_empty()
    }

    /// The filter that a form carries along.
    pub(super) fn of(form: &Form) -> Self {
        let field = |name| form.one(name).to_owned();
        Self {
            user: field("user"),
            kind: field("kind"),
            node: field("node"),
            active: field("active"),
            address: field("address"),
            idle: field("idle"),
            created_from: field("created_from"),
            created_to: field("created_to"),
            after: String::new(),
        }
    }

    /// The query string of the page after `after`; of the first page without it.
    pub(super) fn query(&self, after: &str) -> String {
        let after = Some(("after", after)).filter(|(_, after)| !after.is_empty());
        let fields = self.given().into_iter().chain(after).map(|(name, text)| format!("{name}={}", encoded(text)));
        fields.collect::<Vec<_>>().join("&")
    }

    /// Fields that ask for something.
    pub(super) fn given(&self) -> Vec<(&'static str, &str)> {
        self.fields().into_iter().filter(|(_, text)| !text.is_empty()).collect()
    }

    /// The same in words.
    pub(super) fn conditions(&self) -> Vec<(String, &str)> {
        let word = |name| match name {
            "idle" => "Idle for minutes at least".to_owned(),
            "active" => "Active now".to_owned(),
            "created_to" => "Created before".to_owned(),
            name => shown::capital(&shown::words(name)),
        };
        self.given().into_iter().map(|(name, text)| (word(name), text)).collect()
    }

    fn fields(&self) -> [(&'static str, &str); 8] {
        [
            ("user", &self.user),
            ("kind", &self.kind),
            ("node", &self.node),
            ("active", &self.active),
            ("address", &self.address),
            ("idle", &self.idle),
            ("created_from", &self.created_from),
            ("created_to", &self.created_to),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_asks_what_the_api_would() {
        let filter = Filter {
            user: " abel.tuter ".into(),
            active: "true".into(),
            created_from: "2026-03-01T12:00".into(),
            created_to: "2026-03-01T12:00:30".into(),
            ..Filter::default()
        };
        let judged = filter.judged().unwrap();
        assert_eq!((judged.user.as_deref(), judged.active, judged.kind), (Some("abel.tuter"), Some(true), None));
        assert_eq!((judged.created_to.unwrap() - judged.created_from.unwrap()).num_seconds(), 30);
        assert!(filter.narrows() && !Filter::default().narrows());
        let filter = Filter { user: "a&b".into(), ..Filter::default() };
        assert_eq!((&*filter.query("x"), &*filter.query("")), ("user=a%26b&after=x", "user=a%26b"));
        for (name, wrong) in [("kind", "x"), ("address", "203.0.113.0/24"), ("idle", "-1"), ("created_from", "yesterday")] {
            let mut filter = Filter::default();
            match name {
                "kind" => filter.kind = wrong.into(),
                "address" => filter.address = wrong.into(),
                "idle" => filter.idle = wrong.into(),
                _ => filter.created_from = wrong.into(),
            }
            assert!(filter.judged().is_err(), "{name}");
        }
    }
}

//! What the database says, read in one snapshot.

use std::collections::{HashMap, HashSet};

use sqlx::{Connection, PgConnection, Row};
use uuid::Uuid;

use crate::postgres::Postgres;

/// What the database says.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Live sessions, and their users.
    pub live: HashMap<Uuid, String>,
    /// Ended sessions, and why.
    pub ended: HashMap<Uuid, String>,
    /// Sessions that have a row of attributes.
    pub attributes: HashSet<Uuid>,
    /// How many events of a type a session has.
    pub events: HashMap<(Uuid, String), i64>,
    /// Users, whether they are locked out, and how many events of that they have.
    pub users: HashMap<String, (bool, i64)>,
    /// Overrides of properties.
    pub properties: HashMap<String, String>,
    /// Events of properties: name and new value, in any order.
    pub settings: Vec<(String, String)>,
    /// Kinds whose policy is not the one that the properties ask for.
    pub astray: Vec<String>,
}

impl Facts {
    /// Reads them.
    pub async fn read(postgres: &Postgres) -> Self {
        let mut connection = postgres.connect().await.unwrap();
        let mut reading = connection.begin().await.unwrap();
        sqlx::query("set transaction isolation level repeatable read, read only").execute(&mut *reading).await.unwrap();
        let live = "select s.id, u.name from tenure.sessions s join tenure.users u on u.id = s.user_id";
        let event = "select session_id, type, count(*) from tenure.session_events where session_id is not null group by 1, 2";
        let user = "select u.name, u.locked_out,
                           (select count(*) from tenure.session_events e where e.type = 'user_locked_out' and e.user_name = u.name)
                      from tenure.users u";
        let setting = "select details ->> 'name', details ->> 'new' from tenure.session_events where type = 'property_set'";
        let astray =
            "select p.kind from tenure.policies p join tenure.resolved_policies(tenure.property_rows()) r on r.kind = p.kind
                       where not to_jsonb(p) @> to_jsonb(r)";
        let rows = async |connection: &mut PgConnection, sql: &'static str| sqlx::query(sql).fetch_all(connection).await.unwrap();
        let pairs = |rows: Vec<sqlx::postgres::PgRow>| rows.into_iter().map(|row| (row.get(0), row.get(1))).collect();
        Self {
            live: pairs(rows(&mut reading, live).await),
            ended: pairs(rows(&mut reading, "select id, end_reason from tenure.ended_sessions").await),
            attributes: rows(&mut reading, "select session_id from tenure.session_attributes")
                .await
                .iter()
                .map(|row| row.get(0))
                .collect(),
            events: rows(&mut reading, event).await.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect(),
            users: rows(&mut reading, user).await.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect(),
            properties: rows(&mut reading, "select name, value from tenure.properties")
                .await
                .iter()
                .map(|row| (row.get(0), row.get(1)))
                .collect(),
            settings: rows(&mut reading, setting).await.iter().map(|row| (row.get(0), row.get(1))).collect(),
            astray: rows(&mut reading, astray).await.iter().map(|row| row.get(0)).collect(),
        }
    }

    /// How many events of a type a session has.
    pub fn count(&self, id: Uuid, kind: &str) -> i64 {
        self.events.get(&(id, kind.to_owned())).copied().unwrap_or(0)
    }
}

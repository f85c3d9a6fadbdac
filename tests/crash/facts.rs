//! What the database says, read in one snapshot.

use std::collections::{HashMap, HashSet};

use sqlx::postgres::PgRow;
use sqlx::{Connection, FromRow, PgConnection};
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
        let attributes: Vec<(Uuid,)> = rows(&mut reading, "select session_id from tenure.session_attributes").await;
        let events: Vec<(Uuid, String, i64)> = rows(&mut reading, event).await;
        let users: Vec<(String, bool, i64)> = rows(&mut reading, user).await;
        let astray: Vec<(String,)> = rows(&mut reading, astray).await;
        Self {
            live: rows(&mut reading, live).await.into_iter().collect(),
            ended: rows(&mut reading, "select id, end_reason from tenure.ended_sessions").await.into_iter().collect(),
            attributes: attributes.into_iter().map(|(id,)| id).collect(),
            events: events.into_iter().map(|(id, kind, count)| ((id, kind), count)).collect(),
            users: users.into_iter().map(|(name, locked_out, count)| (name, (locked_out, count))).collect(),
            properties: rows(&mut reading, "select name, value from tenure.properties").await.into_iter().collect(),
            settings: rows(&mut reading, setting).await,
            astray: astray.into_iter().map(|(kind,)| kind).collect(),
        }
    }

    /// How many events of a type a session has.
    pub fn count(&self, id: Uuid, kind: &str) -> i64 {
        self.events.get(&(id, kind.to_owned())).copied().unwrap_or(0)
    }
}

async fn rows<T>(connection: &mut PgConnection, sql: &'static str) -> Vec<T>
where
    T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    sqlx::query_as(sql).fetch_all(connection).await.unwrap()
}

//! Reading everything, in one snapshot and as a stream: each row as the line of an export, written by the database itself.

use sqlx::{Postgres, Row, Transaction};

use super::Store;
use crate::error::Result;

/// A part of an export, in the order of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// Users, by name.
    Users,
    /// Overrides of properties, by name.
    Properties,
    /// Client applications, by name.
    OauthEntities,
    /// Live sessions, by id.
    Sessions,
    /// Ended sessions, by id.
    Ended,
    /// Events, by id.
    Events,
}

impl Section {
    /// Every part.
    pub const ALL: [Self; 6] = [Self::Users, Self::Properties, Self::OauthEntities, Self::Sessions, Self::Ended, Self::Events];

    /// The word in its lines.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Users => "user",
            Self::Properties => "property",
            Self::OauthEntities => "oauth_entity",
            Self::Sessions => "session",
            Self::Ended => "ended_session",
            Self::Events => "event",
        }
    }

    /// Ids, epochs and due dates are not told: they are the database's own and come anew. Nor is maintenance: it is of the store it was
    /// announced in, and would end every session wherever the export arrives.
    const fn statement(self) -> &'static str {
        match self {
            Self::Users => {
                "/* export_users */
                select jsonb_build_object('type', 'user', 'name', u.name, 'display_name', u.display_name, 'active', u.active,
                           'locked_out', u.locked_out, 'roles', u.roles, 'epoch', u.epoch, 'password_hash', u.password_hash,
                           'homepage_refresh_minutes', u.homepage_refresh_minutes, 'created_at', u.created_at)::text
                  from tenure.users u order by u.name collate \"C\""
            }
            Self::Properties => {
                "/* export_properties */
                select jsonb_build_object('type', 'property', 'name', p.name, 'value', p.value)::text
                  from tenure.properties p where p.name <> 'tenure.maintenance_at' order by p.name collate \"C\""
            }
            Self::OauthEntities => {
                "/* export_oauth_entities */
                select jsonb_build_object('type', 'oauth_entity', 'name', o.name, 'client_id', o.client_id, 'client_secret_hash', o.client_secret_hash,
                           'access_token_lifespan', o.access_token_lifespan, 'refresh_token_lifespan', o.refresh_token_lifespan)::text
                  from tenure.oauth_entities o order by o.name collate \"C\""
            }
            Self::Sessions => {
                "/* export_sessions */
                select jsonb_build_object('type', 'session', 'user', v.user_name, 'oauth_entity', v.oauth_entity,
                           'session', to_jsonb(s) - '{user_id,user_epoch,oauth_entity_id,due_at}'::text[],
                           'place', to_jsonb(a) - 'session_id',
                           'tokens', coalesce((select jsonb_agg(to_jsonb(t) - 'session_id' order by t.token_hash)
                                                 from tenure.oauth_tokens t where t.session_id = s.id), '[]'))::text
                  from tenure.live v
                  join tenure.sessions s                on s.id = v.id
                  left join tenure.session_attributes a on a.session_id = v.id
                 order by v.id"
            }
            Self::Ended => {
                "/* export_ended_sessions */
                select jsonb_build_object('type', 'ended_session', 'session', r.session)::text
                  from (select e.id, to_jsonb(e) - 'user_id' as session
                          from tenure.ended_sessions e
                         union all
                        -- Over, and not yet swept: neither live nor ended, they would be lost.
                        select s.id,
                               to_jsonb(s) - '{user_id,user_epoch,oauth_entity_id,due_at,foreign_hash}'::text[]
                               || jsonb_build_object('user_name', v.user_name, 'oauth_entity', v.oauth_entity, 'client_address', v.client_address,
                                      'user_agent', v.user_agent, 'ended_at', v.over_at, 'end_reason', v.end_reason, 'ended_by', v.ended_by,
                                      'ended_on', v.ended_on,
                                      'oauth_hashes', case when s.kind = 'mobile'
                                                           then (select array_agg(t.token_hash order by t.token_hash) from tenure.oauth_tokens t
                                                                  where t.session_id = s.id and t.used_at is null and t.expires_at > v.over_at)
                                                           when s.foreign_hash is not null then array[s.foreign_hash] end)
                          from tenure.sessions s
                          join tenure.all_sessions v on v.id = s.id and v.state = 'ended') r
                 order by r.id"
            }
            Self::Events => {
                "/* export_events */
                select jsonb_build_object('type', 'event', 'event', to_jsonb(e) - 'xid')::text from tenure.session_events e order by e.id"
            }
        }
    }
}

/// A snapshot of the database; nothing that is committed later is in it.
#[derive(Debug)]
pub struct ExportSnapshot(Transaction<'static, Postgres>);

impl Store {
    /// Opens a snapshot to read from. It may stay open for as long as its reader takes.
    pub async fn export_snapshot(&self) -> Result<ExportSnapshot> {
        let mut transaction = self.pool.begin_with("begin isolation level repeatable read read only").await?;
        sqlx::query(
            "/* export_begin */ select set_config('statement_timeout', '0', true), set_config('idle_in_transaction_session_timeout', '0', true)",
        )
        .execute(&mut *transaction)
        .await?;
        Ok(ExportSnapshot(transaction))
    }
}

impl ExportSnapshot {
    /// Hands each line of a part to `line`, as it arrives.
    ///
    /// # Errors
    /// Those of the database, and of `line`, after which nothing more is read.
    pub async fn each<E: From<crate::error::Error>>(
        &mut self,
        section: Section,
        mut line: impl FnMut(&str) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        use futures_core::Stream;
        let mut rows = std::pin::pin!(sqlx::query(section.statement()).fetch(&mut *self.0));
        while let Some(row) = std::future::poll_fn(|context| rows.as_mut().poll_next(context)).await {
            let row = row.map_err(crate::error::Error::from)?;
            line(row.try_get::<&str, _>(0).map_err(crate::error::Error::from)?)?;
        }
        Ok(())
    }
}

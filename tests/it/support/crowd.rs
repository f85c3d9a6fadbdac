//! Many sessions at once, by set-based inserts; their tokens can be computed again.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use super::Db;

/// The full number when `TENURE_TEST_LONG` is set, else a tenth.
pub fn rounds(full: u32) -> u32 {
    if std::env::var_os("TENURE_TEST_LONG").is_some() { full } else { full / 10 }
}

/// Who measures pruning write-locks this, who loads many rows read-locks it: a long writing transaction holds back what may
/// be pruned, in whatever database of the server it runs.
pub static CALM: tokio::sync::RwLock<()> = tokio::sync::RwLock::const_new(());

/// Sessions to make.
#[derive(Debug, Clone, Copy)]
pub struct Crowd {
    /// How many.
    pub sessions: u32,
    /// Over how many users, `u1` and so on; made when missing.
    pub users: u32,
    /// Seconds ago the oldest began; the youngest begins `youngest` seconds ago.
    pub oldest: u32,
    /// See `oldest`.
    pub youngest: u32,
}

impl Db {
    /// Makes the sessions of a crowd with attributes; the due date follows the idle limit in force.
    pub async fn crowd(&self, crowd: Crowd) {
        let Crowd { sessions, users, oldest, youngest } = crowd;
        let _loading = CALM.read().await;
        let mut connection = self.connection().await;
        // One statement: what is not there is made, without the events of ordinary sign-ins.
        sqlx::raw_sql(AssertSqlSafe(format!(
            "insert into tenure.users (name) select 'u' || n from generate_series(1, {users}) n
               where not exists (select from tenure.users u where u.name = 'u' || n);
             with made as (
                 insert into tenure.sessions (id, token_hash, kind, user_id, user_epoch, device, created_at, anchor_at, due_at, node)
                 select tenure.uuid_v7(t.at), sha256(sha256(convert_to(n::text, 'UTF8'))), 'user', u.id, u.epoch, 'desktop',
                        t.at, t.at, t.at + make_interval(secs => p.idle_seconds), 'node-1'
                   from generate_series(1, {sessions}) n
                   join tenure.users u on u.name = 'u' || (1 + n % {users})
                   join tenure.policies p on p.kind = 'user'
                  cross join lateral (select tenure.now() - make_interval(secs =>
                        {youngest} + ({oldest} - {youngest})::double precision * ({sessions} - n) / {sessions}) as at) t
                 returning id)
             insert into tenure.session_attributes (session_id, client_address, user_agent)
             select id, '203.0.113.7', 'Mozilla/5.0 (X11; Linux x86_64)' from made;"
        )))
        .execute(&mut connection)
        .await
        .unwrap();
        sqlx::raw_sql("vacuum analyze tenure.sessions, tenure.session_attributes, tenure.users")
            .execute(&mut connection)
            .await
            .unwrap();
    }

    /// Id and token of every live session of a crowd of `sessions`, oldest first.
    pub async fn tokens(&self, sessions: u32) -> Vec<(Uuid, String)> {
        let secrets: std::collections::HashMap<Vec<u8>, [u8; 32]> = (1..=sessions)
            .map(|n| {
                let secret: [u8; 32] = Sha256::digest(n.to_string()).into();
                (Sha256::digest(secret).to_vec(), secret)
            })
            .collect();
        sqlx::query("select id, token_hash from tenure.sessions order by id")
            .fetch_all(self.pool())
            .await
            .unwrap()
            .iter()
            .filter_map(|row| {
                let id: Uuid = row.get(0);
                let secret = secrets.get(&row.get::<Vec<u8>, _>(1))?;
                Some((id, format!("tn_{}", URL_SAFE_NO_PAD.encode([id.as_bytes().as_slice(), secret].concat()))))
            })
            .collect()
    }
}

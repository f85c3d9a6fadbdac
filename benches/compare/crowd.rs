//! Live sessions in any number: inserted as sets, with ids and secrets that follow from their numbers, so that millions
//! of tokens need not be read back.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

/// Users the sessions belong to.
const USERS: usize = 10_000;
/// Rows of one inserting statement.
const BATCH: usize = 250_000;
/// Sessions are two milliseconds apart, in the order of their numbers, and all began before the measurement.
const APART_MS: i64 = 2;
/// How long ago the first one began; what lies between is enough for 3,500,000.
const OLDEST_MS: i64 = 7_200_000;
/// Characters of a token.
const LENGTH: usize = 67;

/// The sessions of a database.
#[derive(Debug, Clone, Copy)]
pub struct Crowd {
    began_ms: i64,
}

impl Crowd {
    /// The crowd of a database that has none.
    pub async fn found(url: &str) -> Self {
        let mut connection = PgConnection::connect(url).await.unwrap();
        sqlx::query(AssertSqlSafe(format!("insert into tenure.users (name) select 'u' || n from generate_series(1, {USERS}) n")))
            .execute(&mut connection)
            .await
            .unwrap();
        let now: i64 = sqlx::query_scalar("select floor(extract(epoch from tenure.now()) * 1000)::bigint")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        Self::since(now - OLDEST_MS)
    }

    /// A crowd that another process founded.
    pub fn since(began_ms: i64) -> Self {
        Self { began_ms }
    }

    /// What [`Crowd::since`] wants.
    pub fn began_ms(self) -> i64 {
        self.began_ms
    }

    /// Inserts the sessions of these numbers with their attributes.
    pub async fn load(self, url: &str, numbers: std::ops::Range<usize>) {
        let mut connection = PgConnection::connect(url).await.unwrap();
        // A crash in between would only end the measurement; references are right by construction.
        run(&mut connection, "set synchronous_commit = off; set session_replication_role = replica").await;
        for from in numbers.clone().step_by(BATCH) {
            let last = numbers.end.min(from + BATCH) - 1;
            run(&mut connection, &self.insert(from, last)).await;
        }
        // All tables: with the size of a small one unknown, plans differ.
        run(&mut connection, "vacuum analyze").await;
        run(&mut connection, "checkpoint").await;
    }

    fn insert(self, from: usize, last: usize) -> String {
        let began_ms = self.began_ms;
        format!(
            "with numbered as materialized (
                 select n::text as n, u.id as user_id, u.epoch, {began_ms} + {APART_MS} * n as ms,
                        encode(sha256(convert_to('id ' || n, 'UTF8')), 'hex') as random
                   from generate_series({from}::bigint, {last}) n join tenure.users u on u.name = 'u' || (1 + n % {USERS})
             ), made as (
                 insert into tenure.sessions (id, token_hash, kind, user_id, user_epoch, device, created_at, anchor_at, due_at, node)
                 select (lpad(to_hex(m.ms), 12, '0') || '7' || left(m.random, 3) || '8' || substr(m.random, 4, 15))::uuid,
                        sha256(sha256(convert_to(m.n, 'UTF8'))), 'user', m.user_id, m.epoch, 'desktop',
                        'epoch'::timestamptz + m.ms * interval '1 millisecond', c.now, c.now + make_interval(secs => p.idle_seconds),
                        'node-1'
                   from numbered m, tenure.policies p, (select tenure.now() as now offset 0) c where p.kind = 'user'
                 returning id
             )
             insert into tenure.session_attributes (session_id, client_address, user_agent)
             select id, '203.0.113.7', 'Mozilla/5.0 (X11; Linux x86_64)' from made"
        )
    }

    /// The id of a session.
    pub fn id(self, number: usize) -> Uuid {
        let milliseconds = (self.began_ms + APART_MS * number as i64).to_be_bytes();
        let random = Sha256::digest(format!("id {number}"));
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&milliseconds[2..]);
        // Twelve random bits follow the version, sixty the variant: the statement's digits, half a byte aside.
        bytes[6] = 0x70 | (random[0] >> 4);
        bytes[7] = (random[0] << 4) | (random[1] >> 4);
        bytes[8] = 0x80 | (random[1] & 0x0f);
        bytes[9..].copy_from_slice(&random[2..9]);
        Uuid::from_bytes(bytes)
    }

    /// What the token carries: id and secret.
    pub fn decoded(self, number: usize) -> [u8; 48] {
        let mut bytes = [0; 48];
        bytes[..16].copy_from_slice(self.id(number).as_bytes());
        bytes[16..].copy_from_slice(&Sha256::digest(number.to_string()));
        bytes
    }

    /// The tokens of these numbers.
    pub fn tokens(self, numbers: std::ops::Range<usize>) -> Tokens {
        let mut text = String::with_capacity(numbers.len() * LENGTH);
        for number in numbers {
            text.push_str("tn_");
            URL_SAFE_NO_PAD.encode_string(self.decoded(number), &mut text);
        }
        Tokens(text)
    }
}

/// Tokens, end to end.
#[derive(Debug)]
pub struct Tokens(String);

impl Tokens {
    /// One of them, counted from the first.
    pub fn get(&self, index: usize) -> &str {
        &self.0[index * LENGTH..(index + 1) * LENGTH]
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len() / LENGTH
    }
}

/// Runs a statement of the benchmark's own.
pub async fn run(connection: &mut PgConnection, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(connection).await.unwrap();
}

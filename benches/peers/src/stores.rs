//! The stores, each filled with the same sessions.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use fred::clients::Pool;
use fred::prelude::{ClientLike, Config, ServerConfig};
use fred::types::CustomCommand;
use serde_json::json;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use time::{Duration, OffsetDateTime};
use tower_sessions::session::{Id, Record};
use tower_sessions::{MemoryStore, SessionStore};
use tower_sessions_redis_store::RedisStore;
use tower_sessions_sqlx_store::PostgresStore;

/// What there is to measure; a store whose server was not given is missing.
pub struct Stores {
    /// Every session.
    pub ids: Arc<[Id]>,
    /// In the memory of this process.
    pub memory: MemoryStore,
    /// On PostgreSQL.
    pub postgres: Option<PostgresStore>,
    /// Connections to Redis.
    pub pool: Option<Pool>,
}

impl Stores {
    /// Connects to and fills what was given.
    pub async fn open(postgres: &str, redis: &str, sessions: usize, tasks: usize) -> Self {
        let ids: Arc<[Id]> = (0..sessions).map(|_| Id(random())).collect();
        let connections = u32::try_from(tasks).unwrap();
        let memory = MemoryStore::default();
        fill(&memory, &ids, tasks).await;

        let postgres = if postgres == "-" {
            None
        } else {
            let store = PostgresStore::new(connect(postgres, connections, "on").await);
            store.migrate().await.unwrap();
            // Filling need not wait for the disk, measuring does.
            fill(&PostgresStore::new(connect(postgres, connections, "off").await), &ids, tasks).await;
            Some(store)
        };
        let pool = if redis == "-" {
            None
        } else {
            let server = ServerConfig::new_centralized("127.0.0.1", redis.parse().unwrap());
            let pool = Pool::new(Config { server, ..Config::default() }, None, None, None, tasks).unwrap();
            pool.init().await.unwrap();
            fill(&RedisStore::new(pool.clone()), &ids, tasks).await;
            Some(pool)
        };
        Self { ids, memory, postgres, pool }
    }

    /// On Redis.
    pub fn redis(&self) -> Option<RedisStore<Pool>> {
        self.pool.clone().map(RedisStore::new)
    }
}

/// When a session ends without further activity.
pub fn expiry() -> OffsetDateTime {
    OffsetDateTime::now_utc() + Duration::minutes(30)
}

/// The least a check on Redis is: one command that reads a session and moves its end.
pub async fn getex(pool: &Pool, id: &Id) {
    let arguments = vec![id.to_string(), "EX".to_owned(), "1800".to_owned()];
    let session: Option<Vec<u8>> = pool.custom(CustomCommand::new_static("GETEX", None, false), arguments).await.unwrap();
    session.expect("every session was stored");
}

fn random() -> i128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).unwrap();
    i128::from_le_bytes(bytes)
}

/// As Tenure connects: no question to the server before each statement.
async fn connect(url: &str, connections: u32, synchronous_commit: &str) -> PgPool {
    let options = PgConnectOptions::from_str(url).unwrap().options([("synchronous_commit", synchronous_commit)]);
    PgPoolOptions::new()
        .max_connections(connections)
        .min_connections(connections)
        .test_before_acquire(false)
        .connect_with(options)
        .await
        .unwrap()
}

async fn fill<S: SessionStore + Clone>(store: &S, ids: &Arc<[Id]>, tasks: usize) {
    let running: Vec<_> = (0..tasks)
        .map(|task| {
            let (store, ids) = (store.clone(), Arc::clone(ids));
            tokio::spawn(async move {
                for (number, id) in ids.iter().enumerate().skip(task).step_by(tasks) {
                    // What Tenure knows of a session without its payload.
                    let data = HashMap::from([
                        ("user".to_owned(), json!(format!("u{number}"))),
                        ("kind".to_owned(), json!("user")),
                        ("device".to_owned(), json!("desktop")),
                        ("created_at".to_owned(), json!("2026-03-01T12:00:00.020443Z")),
                    ]);
                    store.create(&mut Record { id: *id, data, expiry_date: expiry() }).await.unwrap();
                }
            })
        })
        .collect();
    for task in running {
        task.await.unwrap();
    }
}

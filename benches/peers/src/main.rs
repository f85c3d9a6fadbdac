//! The stores that Tenure is compared with, measured on request.
//!
//! `tenure-peers POSTGRES_URL|- REDIS_PORT|- SESSIONS TASKS` fills each store, prints `{"ready":true}`, and then answers
//! each line `MEASURE MILLISECONDS` on stdin with one line of JSON, so that whoever asks decides whose turn it is.
#![allow(clippy::cast_precision_loss)]

mod stores;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tower_sessions::SessionStore;
use tower_sessions::session::Id;

use stores::Stores;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [postgres, redis, sessions, tasks] = arguments.as_slice() else {
        panic!("tenure-peers POSTGRES_URL|- REDIS_PORT|- SESSIONS TASKS");
    };
    let tasks = tasks.parse().unwrap();
    let stores = Stores::open(postgres, redis, sessions.parse().unwrap(), tasks).await;
    println!("{}", json!({ "ready": true }));

    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        let (measure, milliseconds) = line.split_once(' ').unwrap();
        let time = Duration::from_millis(milliseconds.parse().unwrap());
        println!("{}", answer(&stores, measure, tasks, time).await);
    }
}

async fn answer(stores: &Stores, measure: &str, tasks: usize, time: Duration) -> serde_json::Value {
    let ids = Arc::clone(&stores.ids);
    match measure {
        "memory" => load_and_save(stores.memory.clone(), ids, tasks, time).await,
        "postgres" => load_and_save(stores.postgres.clone().unwrap(), ids, tasks, time).await,
        "redis" => load_and_save(stores.redis().unwrap(), ids, tasks, time).await,
        "getex" => {
            let pool = stores.pool.clone().unwrap();
            during(tasks, time, move |random| {
                let (pool, id) = (pool.clone(), ids[random % ids.len()]);
                async move { stores::getex(&pool, &id).await }
            })
            .await
        }
        other => json!({ "error": format!("no measure {other}") }),
    }
}

/// What a request costs with such a store: its session is read, changed and written back.
async fn load_and_save<S: SessionStore + Clone>(store: S, ids: Arc<[Id]>, tasks: usize, time: Duration) -> serde_json::Value {
    during(tasks, time, move |random| {
        let (store, id) = (store.clone(), ids[random % ids.len()]);
        async move {
            let mut record = store.load(&id).await.unwrap().expect("every session was stored");
            record.expiry_date = stores::expiry();
            store.save(&record).await.unwrap();
        }
    })
    .await
}

/// Runs `work` in so many tasks for a while.
async fn during<F, W>(tasks: usize, time: Duration, work: W) -> serde_json::Value
where
    F: Future<Output = ()> + Send,
    W: Fn(usize) -> F + Clone + Send + 'static,
{
    let begun = Instant::now();
    let until = begun + time;
    let running: Vec<_> = (0..tasks)
        .map(|_| {
            let work = work.clone();
            tokio::spawn(async move {
                let mut random = getrandom::u64().unwrap() | 1;
                let mut calls = 0_u64;
                while Instant::now() < until {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    work(usize::try_from(random >> 16).unwrap()).await;
                    calls += 1;
                    // A store that never waits, as the one in memory, would keep the other tasks from their turn.
                    if calls.is_multiple_of(256) {
                        tokio::task::yield_now().await;
                    }
                }
                calls
            })
        })
        .collect();
    let mut calls = 0;
    for task in running {
        calls += task.await.unwrap();
    }
    json!({ "calls": calls, "per_second": calls as f64 / begun.elapsed().as_secs_f64() })
}

//! P3 and the order of locks: property writers against each other, and a lock-out amid everything else.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tenure::session::Activity;
use tenure::store::{Actor, Expect, SweepPosition};

use super::{deadlocks, pid, until_waiting};
use crate::support::{Clock, Crowd, Db, rounds};

const IDLE: &str = "glide.ui.session_timeout";
const LIFE: &str = "glide.ui.active.session.life_span";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_p3_relations_hold_when_two_property_writers_race() {
    let db = Db::with(Clock::Real).await;
    let (mut idle_won, mut life_won) = (0, 0);
    let mut random = StdRng::seed_from_u64(3);
    for _ in 0..rounds(300) {
        // Each is good beside the defaults, both together are not: a life span of 35 under an idle limit of 40.
        let delay = random.random_range(-3..=3_i32);
        let write = async |name: &str, value: &str, trips: i32| {
            for _ in 0..trips {
                db.now().await;
            }
            db.store.change_property(name, Some(value), false, &Expect::default(), Actor("race")).await
        };
        let (idle, life) = tokio::join!(write(IDLE, "40", delay.max(0)), write(LIFE, "35", (-delay).max(0)));
        for lost in [idle.as_ref().err(), life.as_ref().err()].into_iter().flatten() {
            assert_eq!(lost.code(), "relation_broken", "{lost}");
        }
        assert!(idle.is_ok() != life.is_ok(), "exactly one of two contradicting writers wins");
        assert_eq!(db.count("select count(*) from tenure.broken_relations(tenure.property_rows())").await, 0);
        if idle.is_ok() {
            idle_won += 1;
        } else {
            life_won += 1;
        }
        db.sql("delete from tenure.properties").await;
    }
    assert!(idle_won > 0 && life_won > 0, "always the same winner: {idle_won} to {life_won}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_p3_a_stale_writer_at_repeatable_read_gets_a_serialization_error() {
    let db = Db::with(Clock::Real).await;
    let (mut stale, mut watcher, mut quick) = (db.connection().await, db.connection().await, db.connection().await);
    let stale_pid = pid(&mut stale).await;
    sqlx::raw_sql("begin isolation level repeatable read; select count(*) from tenure.properties")
        .execute(&mut stale)
        .await
        .unwrap();
    sqlx::raw_sql("begin; insert into tenure.properties values ('glide.ui.session_timeout', '40')")
        .execute(&mut quick)
        .await
        .unwrap();
    let writer = tokio::spawn(async move {
        sqlx::raw_sql("insert into tenure.properties values ('glide.ui.active.session.life_span', '35')")
            .execute(&mut stale)
            .await
    });
    until_waiting(&mut watcher, stale_pid).await;
    sqlx::raw_sql("commit").execute(&mut quick).await.unwrap();
    let error = writer.await.unwrap().unwrap_err();
    assert_eq!(error.as_database_error().unwrap().code().unwrap(), "40001", "{error}");
    assert_eq!(db.count("select count(*) from tenure.properties").await, 1);
}

/// Locks are taken in one order (policies, user, sessions by id) or skipped, so nobody meets a deadlock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_u1_a_lock_out_amid_checks_sweeps_and_a_property_change_meets_no_deadlock() {
    let db = Db::with(Clock::Real).await;
    let sessions = 3_000;
    for round in 0..rounds(30) {
        db.sql("update tenure.users set locked_out = false; set tenure.force = 'on'; delete from tenure.properties").await;
        // Half of them belong to the one who is locked out; a third are over, so that sweeps meet the same rows.
        db.crowd(Crowd { sessions, users: 2, oldest: 2700, youngest: 0 }).await;
        let mut tokens = db.tokens(sessions).await;
        let mut random = StdRng::seed_from_u64(round.into());
        for place in (1..tokens.len()).rev() {
            tokens.swap(place, random.random_range(0..=place));
        }
        let mut tasks = Vec::new();
        for part in tokens.chunks(sessions as usize / 4) {
            let (store, part) = (db.store.clone(), part[..300].to_vec());
            tasks.push(tokio::spawn(async move {
                for (_, token) in part {
                    store.check(&token, Some(Activity::User), Actor("race")).await.unwrap();
                }
            }));
        }
        for _ in 0..2 {
            let store = db.store.clone();
            tasks.push(tokio::spawn(async move {
                for _ in 0..20 {
                    store.sweep(SweepPosition::START, 100).await.unwrap();
                    store.lower_deadlines(500).await.unwrap();
                }
            }));
        }
        let store = db.store.clone();
        tasks.push(tokio::spawn(async move {
            store.change_property(IDLE, Some("20"), true, &Expect::default(), Actor("race")).await.unwrap();
        }));
        let mut operator = db.connection().await;
        tasks.push(tokio::spawn(async move {
            let statement = "set deadlock_timeout = '20ms'; update tenure.users set locked_out = true where name = 'u2'";
            sqlx::raw_sql(statement).execute(&mut operator).await.unwrap();
        }));
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(db.count("select count(*) from tenure.live where user_name = 'u2'").await, 0);
        db.sql("select tenure.end_sessions(array_agg(id), array_agg('maintenance'::text), array_agg(tenure.now()), 'test') from tenure.sessions having count(*) > 0")
            .await;
    }
    db.store.close().await;
    assert_eq!(deadlocks(&db).await, 0, "a deadlock was met and hidden by a retry");
}

//! The embedded server: shared by its users, stopped by the last, and never at the cost of data.
#![allow(clippy::unwrap_used, unreachable_pub, missing_docs)]

#[path = "embedded/manners.rs"]
mod manners;
#[path = "embedded/refusals.rs"]
mod refusals;
#[path = "embedded/support.rs"]
mod support;
#[path = "embedded/survival.rs"]
mod survival;

use std::io::{BufRead, stdin};
use std::path::PathBuf;

use support::{Other, Scratch, sql};
use tenure::embedded::Embedded;

/// Not a test: the other process of the tests below.
#[tokio::test]
#[ignore = "run by the other tests in a process of its own"]
async fn helper() {
    let Some(dir) = std::env::var_os("TENURE_TEST_DIR") else {
        return;
    };
    let tell = |said: &str| println!("helper progress {said}");
    let server = Embedded::start(&PathBuf::from(dir), &tell).await.unwrap();
    println!("helper url {}", server.url());
    if std::env::var("TENURE_TEST_MODE").unwrap() == "leave" {
        return;
    }
    stdin().lock().lines().count();
    println!("helper last {}", server.stop().await.unwrap());
}

#[tokio::test]
async fn a_second_start_reuses_the_server_and_the_last_one_out_stops_it() {
    let scratch = Scratch::new();
    let first = scratch.start().await;
    sql(&first.url(), "CREATE TABLE kept AS SELECT 7 AS n");
    let pid = scratch.server();
    let second = scratch.start().await;
    assert_eq!(second.url(), first.url());
    assert_eq!(scratch.server(), pid);

    assert!(!first.stop().await.unwrap());
    assert_eq!(sql(&second.url(), "SELECT n FROM kept"), "7");
    let url = second.url();
    assert!(second.stop().await.unwrap());
    assert_eq!(scratch.server(), None);

    let third = scratch.start().await;
    assert_eq!(third.url(), url, "port and password stay");
    assert_eq!(sql(&third.url(), "SELECT n FROM kept"), "7");
    assert!(third.stop().await.unwrap());
}

#[test]
fn two_processes_may_start_at_once_in_an_empty_directory() {
    let scratch = Scratch::new();
    let mut one = Other::begin(&scratch.dir);
    let mut two = Other::begin(&scratch.dir);
    let url = one.hear("url");
    assert_eq!(two.hear("url"), url);
    assert!(!one.finish());
    assert_eq!(sql(&url, "SELECT 1"), "1");
    assert!(two.finish());
    assert_eq!(scratch.server(), None);
}

#[test]
fn starters_and_stoppers_may_meet_at_any_moment() {
    let scratch = Scratch::new();
    let rounds = || {
        for _ in 0..4 {
            let mut other = Other::begin(&scratch.dir);
            assert_eq!(sql(&other.hear("url"), "SELECT 1"), "1");
            other.finish();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(rounds);
        scope.spawn(rounds);
        scope.spawn(rounds);
    });
    assert_eq!(scratch.server(), None, "the last one out has stopped it");
}

//! What kills leave behind, and how the next start copes with it.

use std::fs;

use tenure::input::CreateSession;
use tenure::session::{EndReason, Presented, SessionToken};
use tenure::store::{Actor, ConnectSettings, EntityPut, Redeemed, Store, User, migrate};

use crate::support::{Other, Scratch, sql};

const SETUP: Actor<'static> = Actor("setup");

fn user(name: &str) -> User {
    User {
        name: name.to_owned(),
        display_name: None,
        active: true,
        locked_out: false,
        roles: Vec::new(),
        homepage_refresh_minutes: None,
    }
}

#[tokio::test]
async fn a_killed_server_is_started_again_with_its_data() {
    let scratch = Scratch::new();
    let first = scratch.start().await;
    sql(&first.url(), "CREATE TABLE kept AS SELECT 7 AS n");
    scratch.kill_server();
    // The first user is still there; its pool finds the server on the same port again.
    let second = scratch.start().await;
    assert_eq!(second.url(), first.url());
    assert_eq!(sql(&first.url(), "SELECT n FROM kept"), "7");
    assert!(!second.stop().await.unwrap());
    assert!(first.stop().await.unwrap());
}

#[tokio::test]
async fn a_server_with_busy_children_is_started_again_after_they_ended() {
    let scratch = Scratch::new();
    let first = scratch.start().await;
    let url = first.url();
    sql(&url, "CREATE TABLE kept AS SELECT 7 AS n");
    // A backend that is busy does not notice at once that its server was killed.
    let busy = std::thread::spawn({
        let url = url.clone();
        move || {
            let psql = tenure::embedded::Binaries::find().unwrap().dir.join("psql");
            let busy = "SELECT 'busy', count(*) FROM generate_series(1, 30000000)";
            let mut command = std::process::Command::new(psql);
            command.args(["-X", "-c", busy, &url]).output().unwrap();
        }
    });
    let seen = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT ''busy%' AND state = 'active'";
    while sql(&url, seen) == "0" {}
    scratch.kill_server();
    let second = scratch.start().await;
    assert_eq!(sql(&url, "SELECT n FROM kept"), "7");
    busy.join().unwrap();
    assert!(!second.stop().await.unwrap());
    assert!(first.stop().await.unwrap());
}

/// C43: that a refresh token was used is in the table alone, so a restart forgets nothing of it.
#[tokio::test]
async fn fault_c43_a_replayed_refresh_token_is_known_after_a_kill_of_the_server() {
    let scratch = Scratch::new();
    let first = scratch.start().await;
    let settings = ConnectSettings::new(first.url(), "node-1");
    migrate(&settings, &|_| {}).await.unwrap();
    let store = Store::connect(&settings).await.unwrap();
    store.put_user(&user("abel.tuter"), SETUP).await.unwrap();
    store.put_entity("Mobile App", &EntityPut::default(), SETUP).await.unwrap();
    let sign_in = CreateSession {
        kind: "mobile".into(),
        user: Some("abel.tuter".into()),
        oauth_entity: Some("Mobile App".into()),
        ..Default::default()
    };
    let session = store.create(&sign_in.validate().unwrap(), SETUP).await.unwrap();
    let client = store.client("mobile-app").await.unwrap().unwrap();
    let used = session.grant.unwrap().refresh;
    let redeem = async |store: &Store, token: &SessionToken| {
        store.redeem(&Presented::parse(token.reveal()).unwrap(), client.id, SETUP).await.unwrap()
    };
    let Redeemed::Granted(second) = redeem(&store, &used).await else { panic!() };
    let Redeemed::Granted(third) = redeem(&store, &second.refresh).await else { panic!() };
    store.close().await;
    scratch.kill_server();

    let again = scratch.start().await;
    let store = Store::connect(&settings).await.unwrap();
    assert!(matches!(redeem(&store, &used).await, Redeemed::Reused));
    assert!(matches!(redeem(&store, &third.refresh).await, Redeemed::Ended(EndReason::TokenReuse)));
    store.close().await;
    assert!(!again.stop().await.unwrap());
    assert!(first.stop().await.unwrap());
}

#[tokio::test]
async fn a_killed_user_leaves_the_server_to_the_next() {
    let scratch = Scratch::new();
    let mut other = Other::begin(&scratch.dir);
    let url = other.hear("url");
    let pid = scratch.server();
    other.child.kill().unwrap();
    other.child.wait().unwrap();
    let server = scratch.start().await;
    assert_eq!(server.url(), url);
    assert_eq!(scratch.server(), pid);
    assert!(server.stop().await.unwrap(), "the dead one's share is gone");
}

#[tokio::test]
async fn a_start_killed_amid_initialisation_is_begun_anew() {
    let scratch = Scratch::new();
    let mut other = Other::begin(&scratch.dir);
    while !other.hear("progress").contains("make a new cluster") {}
    other.child.kill().unwrap();
    other.child.wait().unwrap();
    assert!(leftovers(&scratch) > 0);
    let server = scratch.start().await;
    assert_eq!(sql(&server.url(), "SELECT 1"), "1");
    assert!(server.stop().await.unwrap());
    // What could not be removed while the killed one's initdb was dying goes at the next start.
    let server = scratch.start().await;
    assert!(server.stop().await.unwrap());
    assert_eq!(leftovers(&scratch), 0);
}

#[tokio::test]
async fn an_initialisation_killed_before_its_last_step_is_finished() {
    let scratch = Scratch::new();
    let server = scratch.start().await;
    sql(&server.url(), "CREATE TABLE kept AS SELECT 7 AS n");
    assert!(server.stop().await.unwrap());
    let aside = scratch.dir.join("postgres.init-0123");
    fs::create_dir(&aside).unwrap();
    fs::rename(scratch.cluster(), aside.join("cluster")).unwrap();
    let server = scratch.start().await;
    assert_eq!(sql(&server.url(), "SELECT n FROM kept"), "7");
    assert!(server.stop().await.unwrap());
    assert_eq!(leftovers(&scratch), 0);
}

#[tokio::test]
async fn an_outdated_pid_file_that_names_another_process_is_no_obstacle() {
    let scratch = Scratch::new();
    assert!(scratch.start().await.stop().await.unwrap());
    let pid_file = scratch.cluster().join("postmaster.pid");
    // First the number of a living process, then what a full disk leaves: nothing.
    for text in
        [format!("{}\n{}\n1\n5432\n\n127.0.0.1\n1 1\nready\n", std::process::id(), scratch.cluster().display()), String::new()]
    {
        fs::write(&pid_file, text).unwrap();
        let server = scratch.start().await;
        assert_eq!(sql(&server.url(), "SELECT 1"), "1");
        assert!(server.stop().await.unwrap());
    }
}

fn leftovers(scratch: &Scratch) -> usize {
    let entries = fs::read_dir(&scratch.dir).unwrap().flatten();
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("postgres.init-")).count()
}

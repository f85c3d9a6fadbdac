//! How the server behaves towards its caller, the machine and secrets.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc;
use std::time::Duration;

use crate::support::{Scratch, command, sql};

#[test]
fn the_server_keeps_none_of_the_callers_pipes() {
    let scratch = Scratch::new();
    let (tell, told) = mpsc::channel();
    let mut leaving = command(&scratch.dir, "leave");
    // Reads both pipes to their end, which comes only when the last process holding them is gone.
    std::thread::spawn(move || tell.send(leaving.output().unwrap()));
    let output = told.recv_timeout(Duration::from_mins(1)).unwrap();
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let url = said.split("helper url ").nth(1).unwrap();
    assert_eq!(sql(url.lines().next().unwrap(), "SELECT 1"), "1");
}

#[tokio::test]
async fn a_terminal_signal_to_the_caller_does_not_reach_the_server() {
    let scratch = Scratch::new();
    let server = scratch.start().await;
    let stat = fs::read_to_string(format!("/proc/{}/stat", scratch.server().unwrap())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let mine = fs::read_to_string("/proc/self/stat").unwrap();
    let mine: Vec<&str> = mine.rsplit_once(')').unwrap().1.split_whitespace().collect();
    assert_ne!(fields[2], mine[2], "process group");
    assert_ne!(fields[3], mine[3], "session");
    assert!(server.stop().await.unwrap());
}

#[tokio::test]
async fn the_settings_hold_and_the_password_stays_secret() {
    let scratch = Scratch::new();
    let server = scratch.start().await;
    let url = server.url();
    let setting = |name: &str| sql(&url, &format!("SHOW {name}"));
    assert_eq!(setting("fsync"), "on");
    assert_eq!(setting("full_page_writes"), "on");
    assert_eq!(setting("data_checksums"), "on");
    assert_eq!(setting("listen_addresses"), "127.0.0.1");
    assert_eq!(setting("unix_socket_directories"), "");
    assert_eq!(setting("max_connections"), "200");
    assert_eq!(setting("shared_buffers"), "256MB");
    assert_eq!(setting("timezone"), "UTC");
    assert_eq!(setting("server_encoding"), "UTF8");
    let password = url.split([':', '@']).nth(2).unwrap().to_owned();
    assert_eq!(password.len(), 64);
    assert!(!format!("{server:?}").contains(&password));
    let log = fs::read_to_string(scratch.dir.join("postgres.log")).unwrap();
    assert!(!log.contains(&password));
    let record = fs::metadata(scratch.dir.join("postgres.record")).unwrap();
    assert_eq!(record.permissions().mode() & 0o777, 0o600);
    assert!(server.stop().await.unwrap());
}

/// Outgoing connections are given ports too, from 32768 on; one of them must not find the port of a server that crashed.
#[tokio::test]
async fn the_port_is_none_that_an_outgoing_connection_is_given() {
    let scratch = Scratch::new();
    let server = scratch.start().await;
    assert!((20_000..32_768).contains(&port(&server.url())), "{}", port(&server.url()));
    assert!(server.stop().await.unwrap());
}

fn port(url: &str) -> u16 {
    url.split([':', '@', '/']).nth(6).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_taken_port_is_left_alone() {
    let scratch = Scratch::new();
    let server = scratch.start().await;
    let old = port(&server.url());
    assert!(server.stop().await.unwrap());
    let _taken = TcpListener::bind(("127.0.0.1", old)).unwrap();
    let server = scratch.start().await;
    assert_ne!(port(&server.url()), old);
    assert_eq!(sql(&server.url(), "SELECT 1"), "1");
    assert!(server.stop().await.unwrap());
}

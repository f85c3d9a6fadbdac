//! One PostgreSQL for the whole run: `TEST_DATABASE_URL`, else the machine's server binaries, else a container.
//! `TENURE_TEST_POSTGRES=container` forces the container.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tenure::embedded::{Binaries, Embedded, default_data_dir};

/// URL of a superuser's database on the server that this run uses.
pub fn url() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| {
        // Started on a runtime of its own: each test's runtime ends with the test, the server with the process.
        std::thread::spawn(|| tokio::runtime::Runtime::new().unwrap().block_on(start())).join().unwrap()
    })
}

async fn start() -> String {
    let forced = std::env::var("TENURE_TEST_POSTGRES").is_ok_and(|kind| kind == "container");
    if let (false, Ok(url)) = (forced, std::env::var("TEST_DATABASE_URL")) {
        return url;
    }
    if !forced && Binaries::find().is_ok() {
        let data_dir = data_dir();
        let embedded = Embedded::start(&data_dir, &|step| eprintln!("{step}")).await.unwrap();
        watch(&data_dir);
        let url = embedded.url();
        // The guardian holds a share of its own from here on.
        std::mem::forget(embedded);
        return url;
    }
    container().await
}

fn data_dir() -> PathBuf {
    default_data_dir(&PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("tenure-tests"))
}

/// Starts this binary once more as a guardian: it holds a share of the server and gives it back when this process has
/// ended, however it ended.
fn watch(data_dir: &std::path::Path) {
    let mut guardian = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "support::server::guardian", "--ignored", "--nocapture"])
        .env("TENURE_TEST_GUARDIAN", data_dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = guardian.stdout.take().unwrap();
    let mut seen = String::new();
    while !seen.contains("guarding") {
        let mut byte = [0];
        assert_eq!(line.read(&mut byte).unwrap(), 1, "the guardian ended early: {seen}");
        seen.push(byte[0].into());
    }
    // Its stdin closes with this process; forgetting the handle keeps it open until then.
    std::mem::forget((guardian, line));
}

/// Not a test: the guardian's body, run by [`watch`] in a process of its own.
#[tokio::test]
#[ignore = "the guardian of the test server, started by the fixture"]
async fn guardian() {
    let Ok(data_dir) = std::env::var("TENURE_TEST_GUARDIAN") else { return };
    let embedded = Embedded::start(data_dir.as_ref(), &|_| {}).await.unwrap();
    println!("guarding");
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
    embedded.stop().await.unwrap();
}

async fn container() -> String {
    use testcontainers::core::{IntoContainerPort, WaitFor};
    use testcontainers::runners::AsyncRunner;
    use testcontainers::{GenericImage, ImageExt};

    let container = GenericImage::new("postgres", "15")
        .with_exposed_port(5432.tcp())
        .with_wait_for(WaitFor::message_on_stderr("database system is ready to accept connections"))
        .with_env_var("POSTGRES_PASSWORD", "tenure")
        .start()
        .await
        .expect("a container runtime: there are no PostgreSQL server binaries and no TEST_DATABASE_URL");
    let port = container.get_host_port_ipv4(5432.tcp()).await.unwrap();
    std::mem::forget(container);
    format!("postgres://postgres:tenure@127.0.0.1:{port}/postgres")
}

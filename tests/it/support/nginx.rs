//! A real nginx as a child process, with a configuration of the test's in a folder of its own.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

/// The process; stopped when dropped.
pub struct Nginx {
    /// Where it listens, without a slash at the end.
    pub url: String,
    child: Child,
    folder: TempDir,
}

impl Nginx {
    /// Starts it with the `server` blocks that `servers` writes for a port.
    pub async fn start(servers: impl Fn(u16) -> String) -> Self {
        // Between finding a port and binding it, somebody else may take it.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
            let mut nginx = Self::spawn(port, &servers(port));
            let begun = Instant::now();
            while nginx.child.try_wait().unwrap().is_none() {
                if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                    return nginx;
                }
                assert!(begun.elapsed() < Duration::from_secs(10), "nginx does not listen: {}", nginx.log());
                sleep(Duration::from_millis(20)).await;
            }
            assert!(nginx.log().contains("Address already in use"), "nginx ended: {}", nginx.log());
        }
        panic!("nginx found no free port");
    }

    fn spawn(port: u16, servers: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("    {kind}_temp_path {place}/{kind};\n"))
            .collect();
        // One process in the foreground: killing it leaves nothing behind.
        let whole = format!(
            "daemon off;\nmaster_process off;\npid {place}/pid;\nevents {{}}\nhttp {{\n    access_log off;\n{temporary}{servers}\n}}\n"
        );
        fs::write(folder.path().join("nginx.conf"), whole).unwrap();
        let file = |name: &str| folder.path().join(name);
        let child = Command::new(program())
            .arg("-c")
            .arg(file("nginx.conf"))
            .arg("-e")
            .arg(file("error.log"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { url: format!("http://127.0.0.1:{port}"), child, folder }
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("error.log")).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// nginx, from the path or from where Debian keeps it out of the path.
fn program() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin"])
        .map(|folder| format!("{folder}/nginx"))
        .find(|program| std::path::Path::new(program).is_file())
        .expect("this test needs nginx: run scripts/install-nginx.sh, or all tests with make test")
}

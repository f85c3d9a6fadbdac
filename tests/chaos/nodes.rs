//! The node processes, seen from the driver: started, killed, stopped, told what to do, and listened to.

use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::history::Way;
use crate::link::Link;
use crate::node;
use crate::postgres::Failure;
use crate::tally::{FRAME, Tally};
use crate::world::World;

/// How long a node asked to stop may take; it gives itself ten seconds.
const FAREWELL: Duration = Duration::from_secs(15);

/// A place for one process after the other.
pub struct Node {
    /// Its link to PostgreSQL.
    pub link: Link,
    number: usize,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    child: Option<Child>,
    commands: Option<UnboundedSender<String>>,
    port: Option<u16>,
    heard: Vec<JoinHandle<()>>,
}

impl Node {
    /// A place without a process.
    pub fn new(number: usize, link: Link) -> Self {
        Self { link, number, running: Mutex::default() }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where its API listens; `None` while there is no process that has said so.
    pub fn port(&self) -> Option<u16> {
        self.running().port
    }

    /// Sends it a line, if it runs.
    pub fn tell(&self, line: &str) {
        if let Some(commands) = &self.running().commands {
            let _ = commands.send(line.to_owned());
        }
    }

    /// Starts a process.
    pub fn start(&self, world: &Arc<World>, seed: u64) -> Result<(), Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([node::ARGUMENT, &format!("node-{}", self.number + 1), &self.link.url, &seed.to_string()]);
        command.args(world.options.weaken.as_deref());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("a node process without pipes".into());
        };
        let (commands, lines) = unbounded_channel();
        tokio::spawn(talk(stdin, lines));
        world.introduce(|told| {
            let mut running = self.running();
            for line in told {
                let _ = commands.send(line);
            }
            running.commands = Some(commands);
            running.child = Some(child);
            running.heard.push(tokio::spawn(listen(stdout, Arc::clone(world), self.number)));
        });
        Ok(())
    }

    /// Kills the process and waits until it is gone.
    pub async fn kill(&self) {
        let child = {
            let mut running = self.running();
            (running.port, running.commands) = (None, None);
            running.child.take()
        };
        if let Some(mut child) = child {
            let _ = child.kill().await;
        }
    }

    /// Stops the process or lets it continue; its id goes with it, for a continuation must not reach a successor.
    pub fn signal(&self, signal: Signal, only: Option<Pid>) -> Option<Pid> {
        let running = self.running();
        let pid = running.child.as_ref().and_then(Child::id).and_then(|id| Pid::from_raw(id.cast_signed()))?;
        if only.is_none_or(|only| only == pid) {
            let _ = kill_process(pid, signal);
        }
        Some(pid)
    }

    /// Whether the process has ended although nobody killed it.
    pub fn has_failed(&self) -> bool {
        self.running().child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))))
    }

    /// Asks the process to stop, and waits for it and for all that it had to tell.
    pub async fn stop(&self) {
        let (child, heard) = {
            let mut running = self.running();
            running.commands = None;
            (running.child.take(), std::mem::take(&mut running.heard))
        };
        if let Some(mut child) = child
            && timeout(FAREWELL, child.wait()).await.is_err()
        {
            let _ = child.kill().await;
        }
        for heard in heard {
            let _ = timeout(FAREWELL, heard).await;
        }
    }
}

/// Any node that listens, with its port.
pub fn any(world: &World, random: &mut StdRng) -> Option<(usize, u16)> {
    let first = random.random_range(0..world.nodes.len());
    let order = (0..world.nodes.len()).map(|step| (first + step) % world.nodes.len());
    order.into_iter().find_map(|number| Some((number, world.nodes[number].port()?)))
}

/// Waits until every node listens.
pub async fn all_listen(world: &World) {
    while !world.nodes.iter().all(|node| node.port().is_some() || node.has_failed()) {
        sleep(Duration::from_millis(50)).await;
    }
}

async fn talk(mut stdin: ChildStdin, mut lines: UnboundedReceiver<String>) {
    while let Some(mut line) = lines.recv().await {
        // What has gathered meanwhile goes in one write.
        while let Ok(next) = lines.try_recv() {
            line.push('\n');
            line.push_str(&next);
        }
        line.push('\n');
        if stdin.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn listen(mut stdout: ChildStdout, world: Arc<World>, number: usize) {
    let mut buffer = Vec::with_capacity(64 * 1024);
    loop {
        match stdout.read_buf(&mut buffer).await {
            Ok(1..) => {}
            _ => return,
        }
        let whole = buffer.len() - buffer.len() % FRAME;
        let mut port = None;
        {
            let mut history = world.history();
            for frame in buffer[..whole].chunks_exact(FRAME) {
                let (token, tally) = Tally::unframe(frame);
                match usize::try_from(token) {
                    Ok(token) if token as u64 != node::HELLO => history.add(Way::InProcess, number, token, &tally),
                    _ => port = u16::try_from(tally.accepts).ok(),
                }
            }
        }
        if port.is_some() {
            world.nodes[number].running().port = port;
        }
        buffer.drain(..whole);
    }
}

//! Two nodes of the real program on one PostgreSQL, and how each of them dies.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use reqwest::{Client, Method, RequestBuilder};
use tokio::time::{Instant, sleep};

use crate::postgres::Postgres;

/// How many nodes.
pub const NODES: usize = 2;
/// How long everything may take to work again.
const PATIENCE: Duration = Duration::from_mins(1);

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// A node, by number.
    Node(usize),
    /// PostgreSQL's first process alone: the others notice and leave.
    Postmaster,
    /// Every process of PostgreSQL.
    AllOfPostgres,
    /// PostgreSQL, told to stop at once.
    Immediate,
}

impl Victim {
    /// Nodes and PostgreSQL by turns.
    pub fn draw(round: u32, random: &mut StdRng) -> Self {
        match (round % 2, random.random_range(0..3)) {
            (0, _) => Self::Node(random.random_range(0..NODES)),
            (_, 0) => Self::Postmaster,
            (_, 1) => Self::AllOfPostgres,
            _ => Self::Immediate,
        }
    }
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(number) => write!(f, "node-{}", number + 1),
            Self::Postmaster => f.write_str("the postmaster"),
            Self::AllOfPostgres => f.write_str("all of PostgreSQL"),
            Self::Immediate => f.write_str("PostgreSQL, in immediate mode,"),
        }
    }
}

/// One node process.
struct Node {
    process: Child,
    address: String,
}

/// The way to a node: it leads nowhere once the node has died.
pub struct Door {
    client: Client,
    key: String,
    address: String,
}

impl Door {
    /// A request.
    pub fn to(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.address)).bearer_auth(&self.key)
    }
}

/// Everything that can be killed.
pub struct Cluster {
    /// The database.
    pub postgres: Postgres,
    key: String,
    client: Client,
    nodes: Vec<Option<Node>>,
}

impl Cluster {
    /// A new PostgreSQL in a folder of that name, and the nodes.
    pub async fn start(name: &str) -> Self {
        let (postgres, key) = Postgres::start(name).await.unwrap();
        let client = Client::builder().timeout(Duration::from_secs(8)).build().unwrap();
        let nodes = (0..NODES).map(|number| Some(Node::start(&postgres.url, number))).collect();
        let this = Self { postgres, key, client, nodes };
        this.all_ready().await;
        this
    }

    /// From now on PostgreSQL answers before its log is written; everything is started anew to make it so.
    pub async fn let_postgres_forget(&mut self) {
        let mut connection = self.postgres.connect().await.unwrap();
        for statement in ["alter system set synchronous_commit = off", "alter system set wal_writer_delay = '10s'"] {
            sqlx::query(statement).execute(&mut connection).await.unwrap();
        }
        drop(connection);
        self.postgres.restart(Duration::ZERO).await.unwrap();
        self.all_ready().await;
    }

    /// The way to a node.
    pub fn door(&self, node: usize) -> Door {
        let address = self.nodes[node].as_ref().map(|node| node.address.clone()).unwrap_or_default();
        Door { client: self.client.clone(), key: self.key.clone(), address }
    }

    /// Kills. PostgreSQL is started again at once, a node by [`Cluster::mend`].
    pub async fn kill(&mut self, victim: Victim) {
        let way = match victim {
            Victim::Node(number) => {
                self.nodes[number] = None;
                return;
            }
            Victim::Postmaster => 0,
            Victim::AllOfPostgres => 1,
            Victim::Immediate => 2,
        };
        self.postgres.crash(way, Duration::ZERO).await.unwrap();
    }

    /// Starts the node that was killed.
    pub fn mend(&mut self) {
        for (number, node) in self.nodes.iter_mut().enumerate() {
            if node.is_none() {
                *node = Some(Node::start(&self.postgres.url, number));
            }
        }
    }

    /// Waits until every node is ready.
    pub async fn all_ready(&self) {
        let begun = Instant::now();
        for node in 0..NODES {
            while !self.door(node).to(Method::GET, "/readyz").send().await.is_ok_and(|answer| answer.status() == 200) {
                assert!(begun.elapsed() < PATIENCE, "node-{} is not ready {} s after the kill", node + 1, PATIENCE.as_secs());
                sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Ends everything.
    pub async fn stop(mut self) {
        self.nodes.clear();
        self.postgres.stop().await.unwrap();
    }
}

impl Node {
    /// Starts one and waits for the line that tells its address.
    fn start(url: &str, number: usize) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_tenure"))
            .args(["serve", "--listen", "127.0.0.1:0", "--node", &format!("node-{}", number + 1)])
            .env("DATABASE_URL", url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut said = lines.by_ref().map_while(Result::ok);
        let address = said.find_map(|line| line.split_once("listens on ").map(|(_, address)| address.to_owned()));
        let address = address.expect("the node ended at its start");
        // What it says later has to go somewhere.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

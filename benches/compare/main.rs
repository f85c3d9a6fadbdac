//! Tenure against its limits and its peers: one run, the same servers, one table of ratios.
//!
//! `cargo bench --bench compare` on `TEST_DATABASE_URL`, else on an embedded server; `make bench` installs what it compares
//! with. Lines can be named: `cargo bench --bench compare -- cold peers`. `TENURE_BENCH_SESSIONS` (3,000,000) is what the
//! table of sessions grows to. With `--strict` a gate that is missed is a failure.
//!
//! | name | line | what |
//! |---|---|---|
//! | `hit` | G1 | a check from memory, few sessions, against a bare map |
//! | `million` | G2 | the same with a million, and the memory they take |
//! | `allocations` | G3 | what such a check allocates |
//! | `cold` | G4 | a check that PostgreSQL answers, against a read by key |
//! | `durable` | G5 | writing activity down, and how few statements a busy node sends |
//! | `http` | G6 | a check over HTTP against `/healthz` |
//! | `barrier` | G7 | until no node accepts an ended session |
//! | `growth` | G8 | what does not grow with the table |
//! | `change` | G9 | a property changes under a full memory |
//! | `peers` | R | tower-sessions, Redis, plain reads |
//!
//! Rates belong to the machine; read the ratios.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]
// Numbers of a measurement, none of them near a limit of its type.
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)]

mod bare;
mod barrier;
mod change;
mod cold;
mod crowd;
mod durable;
mod growth;
mod hit;
mod http;
mod near;
mod node;
mod peers;
mod place;
mod rounds;
mod table;

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crowd::Crowd;
use growth::Size;
use place::{Place, store};
use table::Table;

const LINES: [&str; 10] = ["hit", "million", "allocations", "cold", "durable", "http", "barrier", "growth", "change", "peers"];
const FEW: usize = 10_000;
const MILLION: usize = 1_000_000;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|argument| argument == node::ROLE) {
        node::run(&arguments[1..]).await;
        return ExitCode::SUCCESS;
    }
    // `cargo test --all-targets` runs this too, without the argument.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    let named: Vec<&str> = arguments.iter().map(String::as_str).filter(|argument| !argument.starts_with("--")).collect();
    if let Some(unknown) = named.iter().find(|name| !LINES.contains(name)) {
        eprintln!("There is no line {unknown}; there are {}.", LINES.join(", "));
        return ExitCode::FAILURE;
    }
    let mut place = Place::open().await;
    let mut run = Run { table: Table::default(), named: named.into_iter().map(str::to_owned).collect() };
    run.all(&mut place).await;
    println!("\n{}, {} processors", place.description().await, std::thread::available_parallelism().unwrap());
    print!("{}", run.table.text());
    place.close().await;
    let failed = !run.table.passed() && arguments.iter().any(|argument| argument == "--strict");
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// What is wanted and what came of it.
struct Run {
    table: Table,
    named: Vec<String>,
}

impl Run {
    fn wants(&self, line: &str) -> bool {
        self.named.is_empty() || self.named.iter().any(|name| name == line)
    }

    async fn all(&mut self, place: &mut Place) {
        let sessions: usize =
            std::env::var("TENURE_BENCH_SESSIONS").map_or(3_000_000, |sessions| sessions.replace('_', "").parse().unwrap());
        if self.wants("http") {
            step("HTTP");
            http::measure(&mut self.table, place).await;
        }
        if self.wants("barrier") {
            step("Barrier");
            barrier::measure(&mut self.table, place).await;
        }
        if self.named.iter().all(|name| name == "http" || name == "barrier") && !self.named.is_empty() {
            return;
        }
        let (few, million) = (FEW.min(sessions), MILLION.min(sessions));
        let url = place.migrated("large").await;
        let crowd = Crowd::found(&url).await;
        step(&format!("Loading {million} sessions"));
        crowd.load(&url, 0..million).await;
        // First, while the process has nothing to use again: its growth is measured.
        let durable = self.many(&url, crowd, million).await;
        self.few(&url, crowd, few).await;
        if self.wants("cold") {
            step("A node that remembers nothing yet");
            cold::measure(&mut self.table, &url, crowd, million).await;
        }
        if self.wants("peers") {
            step("Peers");
            peers::measure(&mut self.table, place, &url, crowd, million, durable).await;
        }
        if self.wants("growth") {
            step(&format!("Loading up to {sessions} sessions"));
            crowd.load(&url, million..sessions).await;
            let small = place.migrated("small").await;
            let small = Size { crowd: Crowd::found(&small).await, url: small, sessions: few };
            small.crowd.load(&small.url, 0..few).await;
            step("Growth");
            growth::measure(&mut self.table, &small, &Size { url, crowd, sessions }).await;
        }
    }

    /// A node that remembers few sessions.
    async fn few(&mut self, url: &str, crowd: Crowd, few: usize) {
        if !self.wants("hit") && !self.wants("allocations") {
            return;
        }
        step("A node that remembers few sessions");
        let manager = Arc::new(near::node(store(url, "few").await, "few", true).await);
        hit::fill(&manager, crowd, few).await;
        let tokens = crowd.tokens(0..few);
        if self.wants("hit") {
            hit::against_bare_map(&mut self.table, "G1", &manager, crowd, &tokens).await;
        }
        if self.wants("allocations") {
            hit::allocations(&mut self.table, &manager, &tokens);
        }
        manager.drain().await.unwrap();
    }

    /// A node that remembers a million sessions; the rate at which it writes activity, if that is wanted.
    async fn many(&mut self, url: &str, crowd: Crowd, million: usize) -> Option<f64> {
        if !["million", "change", "durable"].into_iter().any(|line| self.wants(line)) {
            return None;
        }
        step(&format!("A node that remembers {million} sessions"));
        let tokens = crowd.tokens(0..million);
        let manager = Arc::new(near::node(store(url, "many").await, "many", true).await);
        hit::memory(&mut self.table, &manager, crowd, million).await;
        let mut durable = None;
        if self.wants("durable") {
            durable::statements(&mut self.table, url, &manager, &tokens).await;
            durable = Some(durable::flusher(&mut self.table, url, &manager, crowd, &tokens).await);
        }
        if self.wants("change") {
            change::measure(&mut self.table, &manager, &tokens);
            hit::fill(&manager, crowd, million).await;
        }
        // Last, because it leaves activity of every session to be written.
        if self.wants("million") {
            hit::against_bare_map(&mut self.table, "G2", &manager, crowd, &tokens).await;
        }
        manager.drain().await.unwrap();
        durable
    }
}

/// Tells whoever waits what begins, and how long it has taken so far.
fn step(name: &str) {
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    eprintln!("{:>4} s  {name}", BEGUN.get_or_init(Instant::now).elapsed().as_secs());
}

//! The one PostgreSQL of a run, in a folder of its own: killed, restarted, and asked at the end what it remembers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection, PgConnection, Row};
use tenure::embedded::Embedded;
use tenure::session::{Role, TokenParts};
use tenure::store::{Actor, ConnectSettings, Store};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::clock::{Micros, SECOND, now};

/// Whatever goes wrong before the run can judge anything.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The server.
pub struct Postgres {
    folder: PathBuf,
    embedded: tokio::sync::Mutex<Option<Embedded>>,
    /// The database's URL, without any link between.
    pub url: String,
}

/// What the database remembers of sessions.
pub struct Records {
    /// Ids of live sessions.
    pub live: Vec<Uuid>,
    /// Ids of ended sessions.
    pub ended: Vec<Uuid>,
    /// Events of endings, by session.
    pub events: Vec<(Uuid, i64)>,
}

/// A session put in as if it had begun some time ago.
pub struct Aged {
    /// Its id.
    pub id: Uuid,
    /// Its token.
    pub token: String,
    /// Its last activity, by the database's clock: microseconds since 1970.
    pub anchor: i64,
}

impl Postgres {
    /// A new cluster in a folder named after the run, migrated; and an API key.
    pub async fn start(name: &str) -> Result<(Self, String), Failure> {
        let folder = std::env::temp_dir().join(format!("tenure-{name}-{}", std::process::id()));
        let embedded = Embedded::start(&folder, &|said| eprintln!("{name}: {said}")).await?;
        let url = embedded.url();
        let this = Self { folder, embedded: tokio::sync::Mutex::new(Some(embedded)), url };
        let settings =
            ConnectSettings { url: this.url.clone(), connections: 2, node: None, allow_plaintext: true, allow_lossy: false };
        tenure::store::migrate(&settings, &|_| {}).await?;
        let store = Store::connect(&settings).await?;
        let (_, key) = store.create_key(name, Role::Admin, Actor(name)).await?;
        store.close().await;
        Ok((this, key.reveal().to_owned()))
    }

    /// A connection as an operator's psql has one.
    pub async fn connect(&self) -> Result<PgConnection, Failure> {
        Ok(timeout(Duration::from_secs(3), PgConnection::connect(&self.url)).await??)
    }

    /// Kills it in one of three ways, and starts it again after a pause.
    pub async fn crash(&self, way: u8, pause: Duration) -> Result<(), Failure> {
        let mut embedded = self.embedded.lock().await;
        if let Some(postmaster) = self.postmaster() {
            match way % 3 {
                0 => kill(postmaster, Signal::KILL),
                1 => {
                    for process in children(postmaster).into_iter().chain([postmaster]) {
                        kill(process, Signal::KILL);
                    }
                }
                // Immediate mode.
                _ => kill(postmaster, Signal::QUIT),
            }
            // A dead process works nowhere, even before anyone reaps it.
            while std::fs::read_link(format!("/proc/{postmaster}/cwd")).is_ok() {
                sleep(Duration::from_millis(5)).await;
            }
        }
        sleep(pause).await;
        *embedded = Some(self.again().await?);
        Ok(())
    }

    /// Stops it as an operator does, and starts it again after a pause.
    pub async fn restart(&self, pause: Duration) -> Result<(), Failure> {
        let mut embedded = self.embedded.lock().await;
        if let Some(running) = embedded.take() {
            running.stop().await?;
        }
        sleep(pause).await;
        *embedded = Some(self.again().await?);
        Ok(())
    }

    async fn again(&self) -> Result<Embedded, Failure> {
        let embedded = Embedded::start(&self.folder, &|_| {}).await?;
        if embedded.url() != self.url {
            return Err("PostgreSQL came back at another address: its port was taken meanwhile".into());
        }
        Ok(embedded)
    }

    /// Stops it for good.
    pub async fn stop(&self) -> Result<(), Failure> {
        if let Some(running) = self.embedded.lock().await.take() {
            running.stop().await?;
        }
        Ok(())
    }

    /// What its clock shows beside ours: their difference in microseconds, and how wide the bounds of it are.
    pub async fn clock_offset(&self) -> Result<(i64, Micros), Failure> {
        let mut connection = self.connect().await?;
        let mut best = (0, Micros::MAX);
        for _ in 0..20 {
            let before = now();
            let there: i64 =
                sqlx::query_scalar("select (extract(epoch from tenure.now()) * 1e6)::bigint").fetch_one(&mut connection).await?;
            let after = now();
            if after - before < best.1 {
                best = (there - i64::try_from(before.midpoint(after))?, after - before);
            }
        }
        Ok(best)
    }

    /// Puts in sessions that began between `ages.0` and `ages.1` seconds ago: of kind user with an idle limit of a minute of
    /// their own, or guests.
    pub async fn age(&self, user: Option<&str>, count: usize, ages: (f64, f64)) -> Result<Vec<Aged>, Failure> {
        let secrets: Vec<TokenParts> = (0..count).map(|_| TokenParts::new()).collect();
        let hashes: Vec<Vec<u8>> = secrets.iter().map(|secret| secret.hash().as_bytes().to_vec()).collect();
        let mut connection = self.connect().await?;
        let rows = sqlx::query(
            "with made as (
                 insert into tenure.sessions
                        (id, token_hash, kind, user_id, user_epoch, device, created_at, anchor_at, due_at, node, idle_limit_seconds)
                 select tenure.uuid_v7(t.at), h.hash, p.kind, u.id, u.epoch, 'desktop', t.at, t.at,
                        t.at + make_interval(secs => case when u.id is null then p.idle_seconds else 60 end), 'chaos',
                        case when u.id is not null then 60 end
                   from unnest($1::bytea[]) with ordinality as h (hash, n)
                   left join tenure.users u on u.name = $2
                   join tenure.policies p on p.kind = case when u.id is null then 'guest' else 'user' end
                  cross join lateral (select tenure.now() - make_interval(secs => $3 + ($4 - $3) * h.n / cardinality($1)) as at offset 0) t
                 returning id, token_hash, anchor_at),
             placed as (insert into tenure.session_attributes (session_id) select id from made)
             select id, token_hash, (extract(epoch from anchor_at) * 1e6)::bigint from made",
        )
        .bind(&hashes)
        .bind(user)
        .bind(ages.0)
        .bind(ages.1)
        .fetch_all(&mut connection)
        .await?;
        let made = rows.iter().filter_map(|row| {
            let (id, hash): (Uuid, Vec<u8>) = (row.get(0), row.get(1));
            let secret = &secrets[hashes.iter().position(|other| *other == hash)?];
            Some(Aged { id, token: secret.for_session(id).reveal().to_owned(), anchor: row.get(2) })
        });
        Ok(made.collect())
    }

    /// What it remembers.
    pub async fn records(&self) -> Result<Records, Failure> {
        let mut connection = self.connect().await?;
        let live = sqlx::query_scalar("select id from tenure.sessions").fetch_all(&mut connection).await?;
        let ended = sqlx::query_scalar("select id from tenure.ended_sessions").fetch_all(&mut connection).await?;
        let events = sqlx::query(
            "select session_id, count(*) from tenure.session_events where type = 'session_ended' group by session_id",
        )
        .fetch_all(&mut connection)
        .await?;
        Ok(Records { live, ended, events: events.iter().map(|row| (row.get(0), row.get(1))).collect() })
    }

    fn postmaster(&self) -> Option<i32> {
        let text = std::fs::read_to_string(self.folder.join("postgres/postmaster.pid")).ok()?;
        text.lines().next()?.trim().parse().ok()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let here = self.folder.join("postgres");
        let lives = |pid: &i32| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == here);
        if let Some(postmaster) = self.postmaster().filter(lives) {
            kill(postmaster, Signal::QUIT);
            std::thread::sleep(Duration::from_millis(500));
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Of an instant of the database's clock, by ours.
pub fn to_ours(theirs: i64, offset: i64) -> Micros {
    Micros::try_from(theirs - offset).unwrap_or(SECOND)
}

fn kill(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

/// Processes whose parent this is.
fn children(parent: i32) -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| is_child(Path::new(&format!("/proc/{pid}/stat")), parent)).collect()
}

fn is_child(stat: &Path, parent: i32) -> bool {
    let text = std::fs::read_to_string(stat).unwrap_or_default();
    // The name in parentheses may hold anything; after it come the state and the parent.
    let rest = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
    rest.split(' ').nth(1).and_then(|word| word.parse::<i32>().ok()) == Some(parent)
}

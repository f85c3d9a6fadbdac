//! The database of a command: the one a URL names, else the embedded one.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

use super::{Failure, Global};
use crate::embedded::Embedded;
use crate::manager::Manager;
use crate::store::{Actor, ConnectSettings, LANES, Store, create_database, drop_database, migrate};

/// How to reach the database, and the share of an embedded server that keeps it running.
pub(super) struct Database {
    pub(super) settings: ConnectSettings,
    embedded: Option<Embedded>,
}

impl Database {
    /// Finds the database; an embedded one is started and migrated.
    pub(super) async fn find(global: &Global) -> Result<Self, Failure> {
        let database = Self::open(global).await?;
        if database.embedded.is_some() {
            let spinner = spinner();
            let migrated = migrate(&database.settings, &|step| spinner.set_message(step.to_owned())).await;
            spinner.finish_and_clear();
            if let Err(error) = migrated {
                database.close().await?;
                return Err(error.into());
            }
        }
        Ok(database)
    }

    /// Finds the database; an embedded one is started, and its schema left as it is.
    pub(super) async fn open(global: &Global) -> Result<Self, Failure> {
        let settings = |url: String| ConnectSettings {
            url,
            // An import claims its right on one, and gets a page ready on another while its lanes write.
            connections: u32::try_from(LANES).unwrap_or(0) + 2,
            node: None,
            allow_plaintext: global.allow_plaintext_database,
            allow_lossy: global.allow_lossy_database,
        };
        if let Some(url) = global.database_url.clone() {
            if url.is_empty() {
                let advice = "DATABASE_URL is empty. Give it a URL, or unset it to use the embedded PostgreSQL.";
                return Err(Failure::Config(advice.to_owned()));
            }
            return Ok(Self { settings: settings(url), embedded: None });
        }
        let spinner = spinner();
        let embedded = Embedded::start(&global.data_dir(), &|step| spinner.set_message(step.to_owned())).await;
        spinner.finish_and_clear();
        let embedded = embedded?;
        Ok(Self { settings: settings(embedded.url()), embedded: Some(embedded) })
    }

    /// A connected store whose schema this program knows.
    pub(super) async fn store(&self) -> Result<Store, Failure> {
        let store = Store::connect(&self.settings).await?;
        store.check_schema().await?;
        Ok(store)
    }

    /// Gives back the share of an embedded server; the last user out stops it.
    pub(super) async fn close(self) -> Result<(), Failure> {
        if let Some(embedded) = self.embedded {
            embedded.stop().await?;
        }
        Ok(())
    }
}

/// Runs one command against the use cases, whatever it answers closing what was opened.
pub(super) async fn with_manager<T>(
    global: &Global,
    work: impl AsyncFnOnce(&Manager) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let database = Database::find(global).await?;
    let result = async {
        let manager = Manager::tool(database.store().await?);
        let result = work(&manager).await;
        manager.store().close().await;
        result
    }
    .await;
    database.close().await?;
    result
}

/// Works in a new database beside the one `server` names, migrated, and drops it afterwards whatever came of the work: no
/// session of anybody else is touched, and several may work at once.
pub(super) async fn with_own_database<T>(
    server: &ConnectSettings,
    purpose: &str,
    work: impl AsyncFnOnce(ConnectSettings) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let name = format!("tenure_{purpose}_{}", std::process::id());
    let named =
        server.url.rsplit_once('/').filter(|(place, _)| place.split_once("://").is_some_and(|(_, host)| !host.is_empty()));
    let Some((place, rest)) = named else {
        return Err(Failure::Config("The database URL names no database.".to_owned()));
    };
    let parameters = rest.split_once('?').map_or_else(String::new, |(_, parameters)| format!("?{parameters}"));
    let settings = ConnectSettings { url: format!("{place}/{name}{parameters}"), ..server.clone() };
    create_database(server, &name).await?;
    let done = async {
        let spinner = spinner();
        let migrated = migrate(&settings, &|step| spinner.set_message(step.to_owned())).await;
        spinner.finish_and_clear();
        migrated?;
        work(settings).await
    }
    .await;
    drop_database(server, &name).await?;
    done
}

/// Who acts: the operating system's user.
pub(super) fn operator() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).ok().filter(|user| !user.is_empty());
    format!("cli:{}", user.unwrap_or_else(|| rustix::process::getuid().as_raw().to_string()))
}

/// The operator as an actor.
pub(super) fn actor(operator: &str) -> Actor<'_> {
    Actor(operator)
}

/// A line on stderr for long steps; invisible where stderr is no terminal.
pub(super) fn spinner() -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    spinner.set_style(
        ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}").unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

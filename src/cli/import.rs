//! `tenure import ...`: moving in. What is there already is skipped, so an import that was stopped is begun again as it was.

mod flow;
mod foreign;
mod report;
mod servicenow;
mod source;
mod tenure;

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::database::{actor, operator};
use super::{Failure, Global};
use crate::import::DecodeOptions;
use crate::input::expect_parameters;
use crate::store::{ConnectSettings, ForeignDatabase, ForeignFormat, ImportWay, PropertyWay};
use flow::claimed;
use foreign::Import;
use report::Report;
use source::secret;

#[derive(Debug, Subcommand)]
pub(super) enum ImportCommand {
    /// Sessions of connect-pg-simple (Express), table `session`.
    Connect {
        #[command(flatten)]
        args: ForeignArgs,
        /// Where the secret is that signs the cookies, as env:NAME or a file: then the cookie itself is the token. Without it the bare
        /// session id is, and the application must verify the signature before it asks.
        #[arg(long, value_name = "SOURCE")]
        cookie_secret: Option<String>,
    },
    /// Sessions of Django, table `django_session`; their users are found in `auth_user`.
    Django {
        #[command(flatten)]
        args: ForeignArgs,
        /// The table that has `id`, `username` and `is_active` of users.
        #[arg(long, value_name = "SCHEMA.TABLE", default_value = "public.auth_user")]
        users_table: String,
    },
    /// Sessions of tower-sessions' `PostgresStore`, table `tower_sessions.session`.
    TowerSessions {
        #[command(flatten)]
        args: ForeignArgs,
    },
    /// Sessions of Spring Session JDBC, table `spring_session`; their attributes, serialised Java objects, stay behind.
    Spring {
        #[command(flatten)]
        args: ForeignArgs,
    },
    /// A file that ServiceNow exported: users, properties or OAuth entities, as XML, CSV or JSON.
    Servicenow(servicenow::ServicenowArgs),
    /// An export of this store: users, properties, client applications, sessions, and history if it holds any.
    Tenure(tenure::TenureArgs),
}

/// Options of every import of sessions.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that stands by itself")]
pub(super) struct ForeignArgs {
    /// Where the other database's URL is: env:NAME, or a file that only its owner can read.
    source: String,
    /// The table, when it has another name.
    #[arg(long, value_name = "SCHEMA.TABLE")]
    table: Option<String>,
    /// Where in a session's data the user's name is, such as passport.user; a session without one is a guest's.
    #[arg(long, value_name = "NAME.NAME")]
    user_path: Option<String>,
    /// The time zone that instants without one were written in: what `show timezone` answers the application. Required for a table
    /// that has such instants, as connect's has.
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// Create users that are missing, instead of leaving their sessions out.
    #[arg(long)]
    create_users: bool,
    /// The source does not tell users apart by case: ADMIN there is admin here.
    #[arg(long)]
    ignore_case: bool,
    /// Leave out what has been idle for too long, instead of counting the import as its activity.
    #[arg(long)]
    strict_idle: bool,
    /// Say what would be imported, and write nothing. Sessions of users who are yet to be created are not judged.
    #[arg(long)]
    dry_run: bool,
    /// Write a line of JSON into this file for each row that was left out or taken in part. The report of an earlier run goes on.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// What the properties of a file may do to the live sessions here.
#[derive(Debug, Args)]
pub(super) struct PropertyArgs {
    /// Accept properties that end more than 10,000 live sessions at once, and a maximum life not above its idle limit.
    #[arg(long)]
    force: bool,
    /// How many live sessions the properties end, as the dry run said; with another number none is set.
    #[arg(long, value_name = "N")]
    expect_count: Option<String>,
}

impl PropertyArgs {
    fn way(&self, rehearse: bool) -> Result<PropertyWay, Failure> {
        let expect = expect_parameters("expect-count", self.expect_count.as_deref(), "expect-basis", None)?;
        Ok(PropertyWay { rehearse, force_relations: self.force, force_endings: self.force, expect })
    }
}

pub(super) async fn run(global: &Global, command: ImportCommand) -> Result<(), Failure> {
    let operator = operator();
    let (format, source, args, users_table, cookie_secret) = match &command {
        ImportCommand::Connect { args, cookie_secret } => {
            (ForeignFormat::Connect, "connect", args, None, cookie_secret.as_deref())
        }
        ImportCommand::Django { args, users_table } => (ForeignFormat::Django, "django", args, Some(users_table.clone()), None),
        ImportCommand::TowerSessions { args } => (ForeignFormat::Tower, "tower-sessions", args, None, None),
        ImportCommand::Servicenow(args) => return servicenow::run(global, args).await,
        ImportCommand::Tenure(args) => return tenure::run(global, args).await,
        ImportCommand::Spring { args } => (ForeignFormat::Spring, "spring", args, None, None),
    };
    let user_path: Vec<String> = args.user_path.iter().flat_map(|path| path.split('.')).map(str::to_owned).collect();
    // Without it everybody would become a guest, and nothing would say so.
    if user_path.is_empty() && matches!(format, ForeignFormat::Connect | ForeignFormat::Tower) {
        return Err(Failure::Usage(
            "Say with --user-path where in a session the user's name is, such as passport.user.".to_owned(),
        ));
    }
    if user_path.iter().any(String::is_empty) {
        return Err(Failure::Usage("--user-path is names with a dot between them, such as passport.user.".to_owned()));
    }
    let cookie_secret = cookie_secret.map(secret).transpose()?.map(String::into_bytes);
    let import = Import {
        args,
        format,
        options: Arc::new(DecodeOptions { user_path, cookie_secret }),
        users_table,
        way: ImportWay { source, strict_idle: args.strict_idle, ignore_case: args.ignore_case, rehearse: args.dry_run },
        actor: actor(&operator),
    };
    let settings = ConnectSettings {
        url: secret(&args.source)?,
        connections: 2,
        node: None,
        allow_plaintext: global.allow_plaintext_database,
        // Nothing is written there.
        allow_lossy: true,
    };
    let report = Report::new(args.report.as_deref(), args.dry_run);
    claimed(global, report, async |manager, stop, report| {
        let mut foreign = ForeignDatabase::connect(&settings, format, args.table.as_deref(), args.time_zone.as_deref()).await?;
        import.all(manager, &mut foreign, stop, report).await
    })
    .await
}

//! Every statement of docs/REPORTING.md is run as the role it is written for, on sessions whose answers are known.

use sqlx::{AssertSqlSafe, Column, Connection, Executor, Row};
use tenure::input::CreateSession;
use tenure::store::{Actor, EntityPut};

use crate::support::{Clock, Db};

/// The questions of the page: heading and statement.
pub fn questions() -> Vec<(String, String)> {
    let page = include_str!("../../../docs/REPORTING.md");
    let mut found = Vec::new();
    for section in page.split("\n### ").skip(1) {
        let heading = section.lines().next().unwrap();
        for block in section.split("```sql\n").skip(1) {
            found.push((heading.to_owned(), block.split("```").next().unwrap().trim().trim_end_matches(';').to_owned()));
        }
    }
    found
}

/// A day in March that the page asks about, the last days, and what is live now.
const HISTORY: &str = "
    insert into tenure.ended_sessions (id, token_hash, kind, user_id, user_name, device, remember_me, residue, created_at, anchor_at,
                                       client_address, ended_at, end_reason, ended_by)
    select tenure.uuid_v7(e.began), sha256(e.n::text::bytea), e.kind, u.id, u.name, 'desktop', false, false, e.began, e.began,
           e.address, e.ended, e.reason, e.by
      from (select 1000 + row_number() over () as n, v.* from (values
                ('user', 'abel.tuter',  '2026-03-02 08:00+00'::timestamptz, '2026-03-02 12:00+00'::timestamptz, '203.0.113.7'::inet, 'signed_out', 'shop'),
                ('user',        'beth.anglin', '2026-03-02 09:00+00', '2026-03-02 09:45+00', '203.0.113.7',  'idle',       'tenure'),
                ('user',        'bow.ruggeri', '2026-03-02 09:15+00', '2026-03-02 10:00+00', '203.0.113.99', 'terminated', 'operator'),
                ('guest',       null,          '2026-03-02 09:20+00', '2026-03-02 09:50+00', '203.0.113.7',  'idle',       'tenure'),
                ('integration', 'abel.tuter',  '2026-03-02 09:30+00', '2026-03-02 09:35+00', '203.0.113.7',  'idle',       'tenure'),
                -- Until the peak of the 2nd, and from the day before into it.
                ('user',        'beth.anglin', '2026-03-01 20:00+00', '2026-03-02 09:30+00', '203.0.113.7',  'max_life',   'tenure')
           ) v (kind, name, began, ended, address, reason, by)
            union all
           select n, 'user', 'abel.tuter',  now() - interval '1 hour' * (2 + 3 * n), now() - interval '1 hour' * (3 * n),
                  '203.0.113.7', 'signed_out', 'shop'
             from generate_series(1, 20) n
            union all
           select 100 + n, 'user', 'beth.anglin', now() - interval '1 hour' * (1.5 + 3 * n), now() - interval '1 hour' * (0.5 + 3 * n),
                  '203.0.113.8', 'idle', 'tenure'
             from generate_series(1, 21) n) e (n, kind, name, began, ended, address, reason, by)
      left join tenure.users u on u.name = e.name";

const ADMIN: Actor<'static> = Actor("shop");

async fn create(db: &Db, new: CreateSession) -> uuid::Uuid {
    db.manager.create(&new.validate().unwrap(), ADMIN).await.unwrap().session.id
}

/// A database with the history, and the id of a live session.
pub async fn seeded() -> (Db, uuid::Uuid) {
    let db = Db::with(Clock::Real).await;
    for user in ["abel.tuter", "beth.anglin", "bow.ruggeri", "idle.ida"] {
        db.user(user).await;
    }
    db.sql(HISTORY).await;
    let put = EntityPut { access_token_lifespan: Some(1_800), refresh_token_lifespan: Some(86_400), ..EntityPut::default() };
    db.manager.put_entity("Mobile App", &put, ADMIN).await.unwrap();
    let of = |kind: &str, user: Option<&str>| CreateSession {
        kind: kind.into(),
        user: user.map(Into::into),
        client_address: Some("203.0.113.7".into()),
        ..Default::default()
    };
    let session = create(&db, of("user", Some("abel.tuter"))).await;
    create(&db, CreateSession { client_address: Some("198.51.100.1".into()), ..of("user", Some("abel.tuter")) }).await;
    create(&db, CreateSession { oauth_entity: Some("Mobile App".into()), ..of("mobile", Some("beth.anglin")) }).await;
    // Its idle limit is five minutes.
    create(&db, of("integration", Some("abel.tuter"))).await;
    create(&db, of("guest", None)).await;
    let ended = create(&db, of("user", Some("beth.anglin"))).await;
    db.manager.terminate(ended, false, ADMIN).await.unwrap();
    db.sql("update tenure.users set locked_out = true where name = 'bow.ruggeri';
            insert into tenure.properties (name, value) values ('glide.ui.session_timeout', '45');
            insert into tenure.nodes (id, name, version, started_at, beat_at, swept_at, applied)
            select gen_random_uuid(), 'node-1', '0', tenure.now(), tenure.now() + interval '1 hour', tenure.now(), pg_current_snapshot()")
        .await;
    db.sql(&format!(
        "insert into tenure.transactions (session_id, id, node_id, started_at)
         select '{session}', gen_random_uuid(), n.id, tenure.now() from tenure.nodes n"
    ))
    .await;
    (db, session)
}

/// Every statement answers, and has something to say about these sessions.
#[tokio::test]
async fn every_statement_of_the_page_runs_as_the_reporter() {
    let (db, session) = seeded().await;
    let questions = questions();
    assert!(questions.len() >= 30, "the page has {}", questions.len());
    let mut reporter = super::reporter(&db).await;
    for (heading, statement) in questions {
        let statement = statement.replace("01a205fb-7e88-7c68-b49f-eb29cd1b461e", &session.to_string());
        let mut transaction = reporter.begin().await.unwrap();
        sqlx::raw_sql("set transaction read only").execute(&mut *transaction).await.unwrap();
        let rows = transaction.fetch_all(sqlx::raw_sql(AssertSqlSafe(statement.clone()))).await;
        let rows = rows.unwrap_or_else(|error| panic!("{heading} {error}\n{statement}"));
        assert!(!rows.is_empty(), "{heading} Nothing.\n{statement}");
        for column in rows[0].columns() {
            assert!(!column.name().contains('?'), "{heading} {} has no name", column.ordinal());
        }
        transaction.rollback().await.unwrap();
    }
}

/// The answer of a question, row by row, as text.
async fn answer(db: &Db, heading: &str) -> Vec<String> {
    let (_, statement) =
        questions().into_iter().find(|(found, _)| found == heading).unwrap_or_else(|| panic!("no question {heading}"));
    let mut reporter = super::reporter(db).await;
    sqlx::raw_sql("set timezone to 'UTC'").execute(&mut reporter).await.unwrap();
    sqlx::query_scalar(AssertSqlSafe(format!("select a::text from ({statement}) a"))).fetch_all(&mut reporter).await.unwrap()
}

fn begin_with(answer: &[String], expected: &[&str]) {
    assert_eq!(answer.len(), expected.len(), "{answer:#?}");
    for (row, begin) in answer.iter().zip(expected) {
        assert!(row.starts_with(begin), "{row} does not begin with {begin}: {answer:#?}");
    }
}

#[tokio::test]
async fn the_answers_are_right_where_it_is_easy_to_be_wrong() {
    let (db, _) = seeded().await;
    // The session that ended at that very instant is not among them, the one that began then is.
    begin_with(
        &answer(&db, "Who was logged in at a given instant?").await,
        &[
            "(abel.tuter,user",
            "(abel.tuter,integration",
            "(beth.anglin,user,,203.0.113.7,\"2026-03-02 09:00:00+00\"",
            "(bow.ruggeri,user",
        ],
    );
    assert_eq!(answer(&db, "What was the peak of a day?").await, ["(4,\"2026-03-02 09:15:00+00\")"]);
    let mut lives = answer(&db, "How long do sessions live, by kind?").await;
    // Twenty of two hours, twenty-one of one, and the one that was terminated at once.
    lives.retain(|row| row.starts_with("(user,"));
    begin_with(&lives, &["(user,42,01:00:00,02:00:00,02:00:00)"]);
    begin_with(&answer(&db, "Which users never sign out?").await, &["(beth.anglin,22,21,"]);
    begin_with(&answer(&db, "Which active users have not come for 90 days?").await, &["(bow.ruggeri,,t)", "(idle.ida,"]);
    begin_with(&answer(&db, "Who ended whose session, and why?").await[..1], &["(\""]);
    let ended = answer(&db, "Who ended whose session, and why?").await;
    assert!(ended[0].contains(",shop,terminated,beth.anglin,user,"), "{ended:#?}");
    begin_with(
        &answer(&db, "Who has the most sessions, and from how many addresses?").await,
        &["(abel.tuter,3,2,", "(beth.anglin,1,1,"],
    );
    begin_with(&answer(&db, "Who is being served right now?").await, &["(abel.tuter,user,"]);
    db.sql(
        "update tenure.sessions set created_at = created_at - interval '2 minutes', anchor_at = anchor_at - interval '2 minutes'
             where kind = 'integration'",
    )
    .await;
    db.manager.set_property("glide.integration.session_timeout", "1", true, ADMIN).await.unwrap();
    let ended = answer(&db, "Did a change of a limit end sessions?").await;
    assert!(ended[0].contains(",shop,glide.integration.session_timeout,,1,1)"), "{ended:#?}");
    db.manager.unset_property("glide.integration.session_timeout", true, ADMIN).await.unwrap();
    let changes = answer(&db, "What was changed in the properties, and by whom?").await;
    assert!(changes[2].contains(",glide.ui.session_timeout,,45,"), "{changes:#?}");
    let hours = answer(&db, "How many were logged in, hour by hour?").await;
    assert_eq!(hours.len(), 24, "{hours:#?}");
    // Whoever began on the hour is there, and whoever ended on it is not, as at any instant.
    let by_instant =
        "select count(*) from reporting.logged_in_at(date_trunc('hour', now() - interval '3 hours')) where kind <> 'guest'";
    db.sql(
        "update tenure.ended_sessions set created_at = date_trunc('hour', created_at), ended_at = date_trunc('hour', ended_at)
             where ended_at > now() - interval '1 day' and end_reason <> 'terminated'",
    )
    .await;
    let hours = answer(&db, "How many were logged in, hour by hour?").await;
    assert!(hours[20].ends_with(&format!(",{})", db.count(by_instant).await)), "{hours:#?}");
    let locked_out = answer(&db, "Who is locked out, and since when?").await;
    assert!(
        locked_out.len() == 1 && locked_out[0].starts_with("(bow.ruggeri,") && !locked_out[0].ends_with(",)"),
        "{locked_out:#?}"
    );
}

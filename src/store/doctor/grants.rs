//! Rights: functions of schema tenure are for their owner, views of schema reporting for `tenure_reporter`.

use sqlx::PgConnection;

use super::expected::expected;
use super::{Answer, Finding, counted, schema};

/// Tables that plain SQL is welcome to change: triggers do what follows.
const WELCOME: [&str; 4] = ["users", "properties", "oauth_entities", "api_keys"];

/// Functions that write and yet are for everybody who may call them.
const CALLABLE: [&str; 2] = ["tenure.applied_everywhere", "tenure.wake"];

/// What PUBLIC, that is everybody, may do; `tenure_reporter` among them, who may look into both schemas.
pub(super) async fn public(connection: &mut PgConnection) -> Result<Answer, sqlx::Error> {
    let functions = sqlx::query!(
        r#"/* doctor_grants_public_functions */
        select n.nspname as "schema!", min(p.oid::regprocedure::text) as "first!", count(*) as "number!"
          from pg_proc p
          join pg_namespace n on n.oid = p.pronamespace
         where n.nspname in ('tenure', 'reporting')
           and exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) g
                        where g.grantee = 0 and g.privilege_type = 'EXECUTE')
         group by n.nspname
         order by n.nspname desc"#
    )
    .fetch_all(&mut *connection)
    .await?;
    let row = sqlx::query!(
        r#"/* doctor_grants_public */
        select array(select format('%s on %I.%I', string_agg(lower(g.privilege_type), ', ' order by g.privilege_type), n.nspname, c.relname)
                       from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) g
                      where n.nspname in ('tenure', 'reporting') and g.grantee = 0
                      group by n.nspname, c.relname
                      union all
                     select format('%s (%I) on %I.%I', lower(g.privilege_type), a.attname, n.nspname, c.relname)
                       from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace, aclexplode(a.attacl) g
                      where n.nspname in ('tenure', 'reporting') and g.grantee = 0
                      order by 1) as "tables!",
               array(select distinct n.nspname::text from pg_namespace n, aclexplode(n.nspacl) g
                      where n.nspname in ('tenure', 'reporting') and g.grantee = 0 order by 1) as "schemas!""#
    )
    .fetch_one(connection)
    .await?;
    let mut found = Vec::new();
    found.extend(functions.iter().map(|row| {
        let number = counted(row.number, "function", "functions");
        Finding::problem(
            "public_may_execute",
            format!("Everybody (PUBLIC) may execute {number} of schema {}, for instance {}.", row.schema, row.first),
            format!("revoke execute on all functions in schema {} from public;", row.schema),
        )
    }));
    found.extend(row.tables.iter().map(|right| {
        Finding::problem(
            "public_may_read",
            format!("Everybody (PUBLIC) has {right}, and tenure_reporter too."),
            format!("revoke {right} from public;"),
        )
    }));
    found.extend(row.schemas.iter().map(|name| {
        Finding::warning(
            "public_schema_usage",
            format!("Everybody (PUBLIC) has rights on schema {name}."),
            format!("revoke all on schema {name} from public;"),
        )
    }));
    Ok(Answer { seen: String::new(), found })
}

/// The role of analysts: there, with what the views need, and with nothing else.
pub(super) async fn reporter(connection: &mut PgConnection) -> Result<Answer, sqlx::Error> {
    let functions = expected(schema::version(connection).await?).reporter;
    let role = sqlx::query!(
        r#"/* doctor_reporter */
        select r.rolsuper or r.rolcreaterole or r.rolcreatedb or r.rolreplication or r.rolbypassrls as "powerful!",
               array(select m.rolname::text from pg_auth_members a join pg_roles m on m.oid = a.roleid
                      where a.member = r.oid order by 1) as "member_of!"
          from pg_roles r where r.rolname = 'tenure_reporter'"#
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(role) = role else {
        let missing = Finding::warning(
            "reporter_missing",
            "The role tenure_reporter is missing: nobody but the owner can read the views of schema reporting.",
            "create role tenure_reporter nologin;  -- then the grants of docs/OPERATIONS.md, Roles",
        );
        return Ok(Answer { seen: String::new(), found: vec![missing] });
    };
    let rights = sqlx::query!(
        r#"/* doctor_reporter_rights */
        select array(select format('%s on %I.%I', string_agg(g.privilege_type, ', ' order by g.privilege_type), n.nspname, c.relname)
                       from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) g
                      where n.nspname in ('tenure', 'reporting') and g.grantee = 'tenure_reporter'::regrole
                        and not (n.nspname = 'reporting' and g.privilege_type = 'SELECT')
                      group by n.nspname, c.relname order by 1) as "tables!",
               array(select format('%s (%I) on %I.%I', g.privilege_type, a.attname, n.nspname, c.relname)
                       from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace, aclexplode(a.attacl) g
                      where n.nspname in ('tenure', 'reporting') and g.grantee = 'tenure_reporter'::regrole order by 1) as "columns!",
               array(select p.oid::regprocedure::text
                       from pg_proc p join pg_namespace n on n.oid = p.pronamespace, aclexplode(p.proacl) g
                      where n.nspname = 'tenure' and g.grantee = 'tenure_reporter'::regrole and not p.proname = any ($1) order by 1) as "functions!",
               array(select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
                      where (n.nspname = 'tenure' and p.proname = any ($1) or n.nspname = 'reporting')
                        and not has_function_privilege('tenure_reporter', p.oid, 'EXECUTE') order by 1) as "lacking_functions!",
               array(select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
                      where n.nspname = 'reporting' and c.relkind in ('v', 'm')
                        and not has_table_privilege('tenure_reporter', c.oid, 'SELECT') order by 1) as "lacking_views!",
               array(select n.nspname::text from pg_namespace n where n.nspname in ('tenure', 'reporting')
                        and not has_schema_privilege('tenure_reporter', n.oid, 'USAGE') order by 1) as "lacking_schemas!""#,
        &functions
    )
    .fetch_one(connection)
    .await?;
    let mut found = Vec::new();
    for right in rights.tables.iter().chain(&rights.columns) {
        let (what, place) = right.split_once(" on ").unwrap_or((right, ""));
        found.push(Finding::problem(
            "reporter_has_more",
            format!("tenure_reporter has {what} on {place}, and should have nothing but select on views of reporting."),
            format!("revoke {what} on {place} from tenure_reporter;"),
        ));
    }
    for function in &rights.functions {
        found.push(Finding::problem(
            "reporter_has_more",
            format!("tenure_reporter may execute {function}, which no view of reporting needs."),
            format!("revoke execute on function {function} from tenure_reporter;"),
        ));
    }
    if role.powerful {
        found.push(Finding::problem(
            "reporter_has_more",
            "tenure_reporter is superuser, or may make roles or databases, replicate or bypass row security.",
            "alter role tenure_reporter nosuperuser nocreaterole nocreatedb noreplication nobypassrls;",
        ));
    }
    for group in &role.member_of {
        found.push(Finding::warning(
            "reporter_is_member",
            format!("tenure_reporter is a member of {group} and has its rights."),
            format!("revoke {group} from tenure_reporter;"),
        ));
    }
    let lacking = [
        ("usage on schema", rights.lacking_schemas),
        ("select on", rights.lacking_views),
        ("execute on function", rights.lacking_functions),
    ];
    for (right, names) in lacking {
        if !names.is_empty() {
            let names = names.join(", ");
            found.push(Finding::warning(
                "reporter_lacks",
                format!("tenure_reporter lacks {right} {names}: views or functions of reporting fail for it."),
                format!("grant {right} {names} to tenure_reporter;"),
            ));
        }
    }
    Ok(Answer { seen: if found.is_empty() { "tenure_reporter reads the views".to_owned() } else { String::new() }, found })
}

/// Rights of further roles on tables and views, some of which show secrets: welcome on some, a way around the rules on others.
pub(super) async fn tables(connection: &mut PgConnection) -> Result<Answer, sqlx::Error> {
    let rows = sqlx::query!(
        r#"/* doctor_grants_tables */
        select g.grantee::regrole::text as "role!", c.relname as "table!",
               string_agg(distinct lower(g.privilege_type), ', ' order by lower(g.privilege_type)) as "rights!",
               bool_or(g.privilege_type <> 'SELECT') as "writes!"
          from pg_class c
          join pg_namespace n on n.oid = c.relnamespace
         cross join lateral (select x.grantee, x.privilege_type from aclexplode(c.relacl) x
                             union all
                             select x.grantee, x.privilege_type from pg_attribute a, aclexplode(a.attacl) x where a.attrelid = c.oid) g
         where n.nspname = 'tenure' and c.relkind in ('r', 'p', 'v', 'm', 'f')
           and g.grantee not in (0, c.relowner) and g.grantee::regrole::text <> 'tenure_reporter'
         group by 1, 2
         order by 1, 2"#
    )
    .fetch_all(connection)
    .await?;
    let found = rows
        .iter()
        .map(|row| {
            let message = format!("The role {} has {} on tenure.{}.", row.role, row.rights, row.table);
            let advice = format!("revoke all on tenure.{} from {};", row.table, row.role);
            if row.writes && !WELCOME.contains(&&*row.table) {
                let message = format!("{message} Writes there go around the rules: events, nodes and deadlines do not follow.");
                Finding::warning("writes_granted", message, advice)
            } else {
                Finding::note("extra_grant", message, format!("{advice}  -- if that is not meant"))
            }
        })
        .collect();
    Ok(Answer { seen: String::new(), found })
}

/// Functions that further roles may execute: those that run as their owner are made to be given away, others go around the rules.
pub(super) async fn functions(connection: &mut PgConnection) -> Result<Answer, sqlx::Error> {
    let rows = sqlx::query!(
        r#"/* doctor_grants_functions */
        select g.grantee::regrole::text as "role!", f.around as "around!", array_agg(p.oid::regprocedure::text order by p.proname, p.oid) as "names!"
          from pg_proc p
          join pg_namespace n on n.oid = p.pronamespace
         cross join lateral aclexplode(p.proacl) g
         cross join lateral (select p.provolatile = 'v' and not p.prosecdef and not format('%s.%s', n.nspname, p.proname) = any ($1) as around) f
         where n.nspname = 'tenure'
           and g.grantee not in (0, p.proowner) and g.grantee::regrole::text <> 'tenure_reporter'
         group by 1, 2
         order by 1, 2"#,
        &CALLABLE.map(str::to_owned)
    )
    .fetch_all(connection)
    .await?;
    let found = rows
        .iter()
        .map(|row| {
            let names = row.names.join(", ");
            let message = format!("The role {} may execute {names}.", row.role);
            let advice = format!("revoke execute on function {names} from {};", row.role);
            if row.around {
                let message = format!("{message} Whoever calls them goes around the rules, as far as that role may write.");
                Finding::warning("writes_granted", message, advice)
            } else {
                Finding::note("extra_grant", message, format!("{advice}  -- if that is not meant"))
            }
        })
        .collect();
    Ok(Answer { seen: String::new(), found })
}

/// The role that asks, which nodes most likely use too.
pub(super) async fn own(connection: &mut PgConnection) -> Result<Answer, sqlx::Error> {
    let role = sqlx::query!(
        r#"/* doctor_own_role */ select r.rolname as "name!", r.rolsuper as "superuser!" from pg_roles r where r.rolname = current_user"#
    )
    .fetch_one(connection)
    .await?;
    let mut found = Vec::new();
    if role.superuser {
        found.push(Finding::note(
            "superuser",
            format!("This connection's role {} is a superuser, which nodes do not need.", role.name),
            "Let nodes connect as an owner of its own: docs/OPERATIONS.md, Roles.",
        ));
    }
    Ok(Answer { seen: format!("connected as {}", role.name), found })
}

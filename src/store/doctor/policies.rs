//! The limits in force: a trigger writes them from the properties, so a difference means that somebody went around it.

use sqlx::PgConnection;

use super::{Answer, Finding, counted};

/// Every field of `policies` against what the properties resolve to. Compared key by key, so that a later column needs nothing here.
pub(super) async fn follow(connection: &mut PgConnection) -> Result<Answer, sqlx::Error> {
    let rows = sqlx::query!(
        r#"/* doctor_policies */
        select r.kind as "kind!", f.key as "field!", to_jsonb(p) ->> f.key as held, f.value as due
          from tenure.resolved_policies(tenure.property_rows()) r
          left join tenure.policies p on p.kind = r.kind
         cross join lateral jsonb_each_text(to_jsonb(r)) as f (key, value)
         where (to_jsonb(p) ->> f.key) is distinct from f.value
         order by r.kind, f.key"#
    )
    .fetch_all(&mut *connection)
    .await?;
    let counts = sqlx::query!(
        r#"/* doctor_overrides */
        select count(*) as "overrides!", (select count(*) from tenure.policies) as "policies!",
               (select count(*) from tenure.resolved_policies('{}')) as "kinds!", min(p.name) as first
          from tenure.properties p"#
    )
    .fetch_one(connection)
    .await?;
    // Any write of a property resolves all of them again.
    let advice = counts.first.as_ref().map_or_else(
        || {
            "insert into tenure.properties (name, value) values ('glide.ui.forgetme', 'false'); \
             delete from tenure.properties where name = 'glide.ui.forgetme';"
                .to_owned()
        },
        |name| format!("update tenure.properties set value = value where name = '{name}';"),
    );
    let mut found: Vec<Finding> = rows
        .iter()
        .filter(|row| row.field != "kind")
        .map(|row| {
            Finding::problem(
                "policy_differs",
                format!(
                    "{} of {} sessions is {} in force, and {} by the properties.",
                    row.field,
                    row.kind,
                    row.held.as_deref().unwrap_or("none"),
                    row.due.as_deref().unwrap_or("none")
                ),
                advice.clone(),
            )
        })
        .collect();
    if counts.policies < counts.kinds {
        found.push(Finding::problem(
            "policy_missing",
            format!("tenure.policies has {} of {} kinds: sessions of the others cannot be judged.", counts.policies, counts.kinds),
            "insert into tenure.policies (kind, idle_seconds, ...) select kind, idle_seconds, ... from tenure.resolved_policies(tenure.property_rows());",
        ));
    }
    Ok(Answer { seen: counted(counts.overrides, "property set", "properties set"), found })
}

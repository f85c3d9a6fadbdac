//! Users: plain writes; what a lock-out or inactivation does is the trigger's.

use serde::Serialize;

use super::error::retrying;
use super::list::Page;
use super::revision::{Revision, changed_since};
use super::{Actor, Expect, Store};
use crate::error::{Error, Result};

/// USER as documents show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct User {
    /// Sign-in name.
    pub name: String,
    /// Name to show.
    pub display_name: Option<String>,
    /// Whether active.
    pub active: bool,
    /// Whether locked out.
    pub locked_out: bool,
    /// Console roles.
    pub roles: Vec<String>,
    /// Homepage refresh interval, minutes.
    pub homepage_refresh_minutes: Option<i32>,
}

/// Changes to a user; a field that is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserPatch {
    /// Name to show; `Some(None)` clears it.
    pub display_name: Option<Option<String>>,
    /// Whether active.
    pub active: Option<bool>,
    /// Whether locked out.
    pub locked_out: Option<bool>,
    /// Console roles.
    pub roles: Option<Vec<String>>,
    /// Homepage refresh interval, minutes; `Some(None)` clears it.
    pub homepage_refresh_minutes: Option<Option<i32>>,
}

impl Store {
    /// A user by name, regardless of case.
    pub async fn user(&self, name: &str) -> Result<Option<User>> {
        Ok(sqlx::query_as!(
            User,
            r#"/* user_read */
            select name, display_name, active, locked_out, roles, homepage_refresh_minutes
              from tenure.users where lower(name collate "und-x-icu") = lower($1 collate "und-x-icu")"#,
            name
        )
        .fetch_optional(&self.pool)
        .await?)
    }

    /// The revision of a user, for a change that rests on having seen them: read it first, and then the user, so that it is never
    /// newer than what is seen.
    pub async fn user_revision(&self, name: &str) -> Result<Option<Revision>> {
        let found = sqlx::query_scalar!(
            r#"/* user_revision */
            select xmin::text::bigint as "revision!"
              from tenure.users where lower(name collate "und-x-icu") = lower($1 collate "und-x-icu")"#,
            name
        );
        Ok(found.fetch_optional(&self.pool).await?.map(Revision))
    }

    /// A page of users, newest first.
    pub async fn users(
        &self,
        active: Option<bool>,
        locked_out: Option<bool>,
        limit: i64,
        after: Option<i64>,
    ) -> Result<Page<User>> {
        let rows = sqlx::query!(
            "/* user_list */
            select id, name, display_name, active, locked_out, roles, homepage_refresh_minutes
              from tenure.users
             where id < coalesce($3, 9223372036854775807)
               and ($1::boolean is null or active = $1)
               and ($2::boolean is null or locked_out = $2)
             order by id desc
             limit $4::bigint + 1",
            active,
            locked_out,
            after,
            limit
        )
        .fetch_all(&self.pool)
        .await?;
        let limit = usize::try_from(limit).unwrap_or(1);
        let next = (rows.len() > limit).then(|| rows[limit - 1].id.to_string());
        let items = rows
            .into_iter()
            .take(limit)
            .map(|row| User {
                name: row.name,
                display_name: row.display_name,
                active: row.active,
                locked_out: row.locked_out,
                roles: row.roles,
                homepage_refresh_minutes: row.homepage_refresh_minutes,
            })
            .collect();
        Ok(Page { items, next })
    }

    /// Users whose name, or name to show, has this part, regardless of case: the first `limit` by name. It looks at every user.
    pub async fn users_named(
        &self,
        part: &str,
        active: Option<bool>,
        locked_out: Option<bool>,
        limit: i64,
    ) -> Result<Page<User>> {
        let items = sqlx::query_as!(
            User,
            r#"/* user_search */
            select name, display_name, active, locked_out, roles, homepage_refresh_minutes
              from tenure.users
             where strpos(lower(concat_ws(' ', name, display_name) collate "und-x-icu"), lower($1 collate "und-x-icu")) > 0
               and ($2::boolean is null or active = $2)
               and ($3::boolean is null or locked_out = $3)
             order by name
             limit $4"#,
            part,
            active,
            locked_out,
            limit
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(Page { items, next: None })
    }

    /// Creates a user, and never replaces one: `false` when there is one of this name, in whatever case.
    pub async fn create_user(&self, user: &User, password_hash: Option<&str>, actor: Actor<'_>) -> Result<bool> {
        Ok(sqlx::query!(
            r#"/* user_create */
            with context as materialized (select tenure.act_as($8, $9) as set)
            insert into tenure.users (name, display_name, active, locked_out, roles, homepage_refresh_minutes, password_hash)
            select $1, $2, $3, $4, $5, $6, $7 from context where context.set
            on conflict (lower(name collate "und-x-icu")) do nothing"#,
            user.name,
            user.display_name,
            user.active,
            user.locked_out,
            &user.roles,
            user.homepage_refresh_minutes,
            password_hash,
            actor.0,
            self.node
        )
        .execute(&self.pool)
        .await?
        .rows_affected()
            > 0)
    }

    /// Creates or replaces a user; `true` when created. Returns how many sessions ended with it.
    ///
    /// A replaced user is locked out as asked, not as `excluded` says: there the row trigger has already judged the user as
    /// a new one, and would lock out somebody who is inactive as before (U2).
    pub async fn put_user(&self, user: &User, actor: Actor<'_>) -> Result<(bool, i64)> {
        retrying(|| self.try_put_user(user, actor)).await
    }

    async fn try_put_user(&self, user: &User, actor: Actor<'_>) -> Result<(bool, i64)> {
        let mut transaction = self.begin_long(actor, false).await?;
        let created = sqlx::query!(
            r#"/* user_put */
            insert into tenure.users (name, display_name, active, locked_out, roles, homepage_refresh_minutes)
            values ($1, $2, $3, $4, $5, $6)
            on conflict (lower(name collate "und-x-icu")) do update
               set display_name = excluded.display_name, active = excluded.active, locked_out = $4,
                   roles = excluded.roles, homepage_refresh_minutes = excluded.homepage_refresh_minutes
             where users.name = normalize(excluded.name, nfc)
            returning xmax = 0 as "created!""#,
            user.name,
            user.display_name,
            user.active,
            user.locked_out,
            &user.roles,
            user.homepage_refresh_minutes
        )
        .fetch_optional(&mut *transaction)
        .await?;
        // Whoever spells a name in another case means somebody else, and must not replace this user by accident.
        let Some(row) = created else {
            return Err(Error::refused(
                409,
                "user_exists",
                "There is a user whose name differs only in case, and names are unique regardless of case.",
                "Use the spelling of the list of users, or choose another name.",
            ));
        };
        let created = row.created;
        let ended = ended_here(&mut transaction).await?;
        transaction.commit().await?;
        Ok((created, ended))
    }

    /// Changes a user; `expect` refuses what was previewed otherwise. Returns how many sessions ended with it; `None` when there is
    /// no such user.
    pub async fn patch_user(&self, name: &str, patch: &UserPatch, expect: &Expect, actor: Actor<'_>) -> Result<Option<i64>> {
        retrying(|| self.try_patch_user(name, patch, expect, Guards::default(), actor)).await
    }

    /// The same, refused also when it would leave no administrator with access where there was one.
    pub async fn patch_user_and_keep_an_admin(
        &self,
        name: &str,
        patch: &UserPatch,
        expect: &Expect,
        actor: Actor<'_>,
    ) -> Result<Option<i64>> {
        let guards = Guards { keep_an_admin: true, seen: None };
        retrying(|| self.try_patch_user(name, patch, expect, guards, actor)).await
    }

    /// The same for a change that ends nothing, refused when the user is another one than was seen.
    pub async fn patch_user_as_seen(
        &self,
        name: &str,
        patch: &UserPatch,
        seen: Revision,
        actor: Actor<'_>,
    ) -> Result<Option<i64>> {
        let (expect, guards) = (Expect::default(), Guards { keep_an_admin: true, seen: Some(seen) });
        retrying(|| self.try_patch_user(name, patch, &expect, guards, actor)).await
    }

    async fn try_patch_user(
        &self,
        name: &str,
        patch: &UserPatch,
        expect: &Expect,
        guards: Guards,
        actor: Actor<'_>,
    ) -> Result<Option<i64>> {
        let mut transaction = self.begin_guarded(actor, false, expect).await?;
        let guarded = guards.keep_an_admin && had_admin(&mut transaction).await?;
        if let Some(seen) = guards.seen
            && !is_as_seen(&mut transaction, name, seen).await?
        {
            return Ok(None);
        }
        let found = sqlx::query!(
            r#"/* user_patch */
            update tenure.users
               set display_name = case when $2 then $3 else display_name end,
                   active       = coalesce($4, active),
                   locked_out   = coalesce($5, locked_out),
                   roles        = coalesce($6, roles),
                   homepage_refresh_minutes = case when $7 then $8 else homepage_refresh_minutes end
             where lower(name collate "und-x-icu") = lower($1 collate "und-x-icu")"#,
            name,
            patch.display_name.is_some(),
            patch.display_name.clone().flatten(),
            patch.active,
            patch.locked_out,
            patch.roles.as_deref(),
            patch.homepage_refresh_minutes.is_some(),
            patch.homepage_refresh_minutes.flatten()
        )
        .execute(&mut *transaction)
        .await?
        .rows_affected()
            > 0;
        if guarded {
            keep_admin(&mut transaction).await?;
        }
        let ended = ended_here(&mut transaction).await?;
        transaction.commit().await?;
        Ok(found.then_some(ended))
    }

    /// Deletes a user whose sessions end with it, and what they were stays on record; refused when `expect` says that another number
    /// ends, when the user is another one than was seen, or when it leaves no administrator with access where there was one. Returns
    /// how many ended; `None` when there is no such user.
    ///
    /// A user with sessions cannot be deleted, so it is locked out before, in the same transaction: that ends them, and keeps
    /// whoever signs in at this moment waiting until there is no user.
    pub async fn delete_user(&self, name: &str, expect: &Expect, seen: Revision, actor: Actor<'_>) -> Result<Option<i64>> {
        retrying(|| self.try_delete_user(name, expect, seen, actor)).await
    }

    async fn try_delete_user(&self, name: &str, expect: &Expect, seen: Revision, actor: Actor<'_>) -> Result<Option<i64>> {
        let mut transaction = self.begin_guarded(actor, false, expect).await?;
        let guarded = had_admin(&mut transaction).await?;
        if !is_as_seen(&mut transaction, name, seen).await? {
            return Ok(None);
        }
        sqlx::query!(
            r#"/* user_delete_lock_out */
            update tenure.users set locked_out = true
             where lower(name collate "und-x-icu") = lower($1 collate "und-x-icu")"#,
            name
        )
        .execute(&mut *transaction)
        .await?;
        let ended = ended_here(&mut transaction).await?;
        sqlx::query!(
            r#"/* user_delete */
            delete from tenure.users where lower(name collate "und-x-icu") = lower($1 collate "und-x-icu")"#,
            name
        )
        .execute(&mut *transaction)
        .await?;
        if guarded {
            keep_admin(&mut transaction).await?;
        }
        transaction.commit().await?;
        Ok(Some(ended))
    }

    /// The hash of a user's password; `None` without a password, and without such a user.
    pub async fn password_hash(&self, name: &str) -> Result<Option<String>> {
        Ok(sqlx::query_scalar!(
            r#"/* user_password_read */
            select password_hash from tenure.users where lower(name collate "und-x-icu") = lower($1 collate "und-x-icu")"#,
            name
        )
        .fetch_optional(&self.pool)
        .await?
        .flatten())
    }

    /// Gives a user another password; `false` when there is no such user. Sessions go on.
    pub async fn set_password_hash(&self, name: &str, hash: &str, actor: Actor<'_>) -> Result<bool> {
        Ok(sqlx::query!(
            r#"/* user_password_set */
            with context as materialized (select tenure.act_as($3, $4) as set)
            update tenure.users u set password_hash = $2
              from context
             where context.set and lower(u.name collate "und-x-icu") = lower($1 collate "und-x-icu")"#,
            name,
            hash,
            actor.0,
            self.node
        )
        .execute(&self.pool)
        .await?
        .rows_affected()
            > 0)
    }

    /// Why a user has no access; `Some(None)` when nothing speaks against it, `None` when there is no such user (U1, U3).
    pub async fn access(&self, name: &str) -> Result<Option<Option<&'static str>>> {
        let row = sqlx::query!(
            r#"/* user_access */
            select u.locked_out, u.active or not p.refuse_inactive as "admitted!"
              from tenure.users u cross join tenure.policies p
             where lower(u.name collate "und-x-icu") = lower($1 collate "und-x-icu") and p.kind = 'user'"#,
            name
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| match (row.locked_out, row.admitted) {
            (true, _) => Some("locked_out"),
            (false, false) => Some("inactive"),
            (false, true) => None,
        }))
    }
}

/// What a change of a user is refused by, beside the number of sessions that end with it.
#[derive(Debug, Clone, Copy, Default)]
struct Guards {
    /// It leaves no administrator with access where there was one.
    keep_an_admin: bool,
    /// The user is another one than this.
    seen: Option<Revision>,
}

/// Locks a user's row, so that it stays as it was found until the change is made, and refuses when it is another one than was seen;
/// `false` when there is no such user.
async fn is_as_seen(connection: &mut sqlx::PgConnection, name: &str, Revision(seen): Revision) -> Result<bool> {
    let current = sqlx::query_scalar!(
        r#"/* user_seen */
        select xmin::text::bigint as "revision!" from tenure.users
         where lower(name collate "und-x-icu") = lower($1 collate "und-x-icu") for update"#,
        name
    );
    match current.fetch_optional(connection).await? {
        None => Ok(false),
        Some(current) if current != seen => Err(changed_since("The user")),
        Some(_) => Ok(true),
    }
}

/// Whether there is an administrator to keep. One at a time: two who would each leave the other as the last one must not both find
/// one left.
async fn had_admin(transaction: &mut sqlx::Transaction<'static, sqlx::Postgres>) -> Result<bool> {
    sqlx::query!("/* admin_lock */ select pg_advisory_xact_lock(hashtextextended('tenure.administrators', 0))")
        .fetch_one(&mut **transaction)
        .await?;
    has_admin(transaction).await
}

/// Refuses what leaves none.
async fn keep_admin(transaction: &mut sqlx::Transaction<'static, sqlx::Postgres>) -> Result<()> {
    if has_admin(transaction).await? {
        return Ok(());
    }
    Err(Error::refused(
        409,
        "last_administrator",
        "This is the last administrator who has access, and nobody could take it back.",
        "Make another user an administrator first.",
    ))
}

/// Whether any administrator has access to pages, which takes a password.
async fn has_admin(transaction: &mut sqlx::Transaction<'static, sqlx::Postgres>) -> Result<bool> {
    let found = sqlx::query_scalar!(
        r#"/* user_has_admin */
        select exists (select from tenure.users u join tenure.policies p on p.kind = 'user'
                        where 'admin' = any (u.roles) and u.password_hash is not null
                          and not u.locked_out and (u.active or not p.refuse_inactive)) as "found!""#
    );
    Ok(found.fetch_one(&mut **transaction).await?)
}

/// Sessions ended by this transaction so far.
async fn ended_here(transaction: &mut sqlx::Transaction<'static, sqlx::Postgres>) -> Result<i64> {
    Ok(sqlx::query_scalar!(r#"/* user_ended */ select tenure.guarded() as "ended!""#).fetch_one(&mut **transaction).await?)
}

-- V16 import: sessions that other stores began, with the tokens their clients hold.

-- oauth_tokens could not carry the foreign token: its rows are of mobile sessions, each with an expiry of its own, and what was
-- rotated away leaves no row to know a second import by. In the session's own row it lives and dies with the session, and it is
-- good while it is the session's token: a rotation voids it without knowing of it.
alter table tenure.sessions
    add column foreign_hash bytea,
    add constraint sessions_foreign_hash_check check (foreign_hash is null or length(foreign_hash) = 32 and kind in ('user', 'guest'));
create index sessions_foreign_hash_idx on tenure.sessions (foreign_hash) where foreign_hash is not null;
comment on column tenure.sessions.foreign_hash is 'SHA-256 of the token it was imported with; that token is good while token_hash is the same.';

create index ended_sessions_foreign_hash_idx on tenure.ended_sessions ((oauth_hashes[1])) where kind in ('user', 'guest') and oauth_hashes is not null;
comment on column tenure.ended_sessions.oauth_hashes is
    'SHA-256 of the tokens that died with it, so that whoever holds one learns the reason (E2): OAuth tokens, or the one it was imported with.';

-- tenure.end_sessions: as in V10, and an imported session keeps the digest of the token it came with.
create or replace function tenure.end_sessions(p_ids uuid[], p_reasons text[], p_ats timestamptz[], p_actor text) returns bigint
    language plpgsql set plan_cache_mode = force_generic_plan set jit = off
    as $$
declare
    v_ended bigint;
begin
    -- session_end
    with ending as (
        select * from unnest(p_ids, p_reasons, p_ats) as e (id, reason, at)
    ), gone as (
        delete from tenure.sessions s using ending e where s.id = e.id
        returning s.*, e.reason, e.at
    ), moved as (
        insert into tenure.ended_sessions
              (id, token_hash, kind, user_id, user_name, device, remember_me, residue, created_at, anchor_at, refresh_seconds,
               idle_limit_seconds, window_seconds, oauth_entity, app_state, app_state_at, node, client_address, user_agent,
               ended_at, end_reason, ended_by, ended_on, oauth_hashes)
        select g.id, g.token_hash, g.kind, g.user_id, u.name, g.device, g.remember_me, g.residue, g.created_at, g.anchor_at, g.refresh_seconds,
               g.idle_limit_seconds, g.window_seconds, o.name, g.app_state, g.app_state_at, g.node, a.client_address, a.user_agent,
               g.at, g.reason, p_actor, tenure.node(),
               case when g.kind = 'mobile' then (select array_agg(t.token_hash) from tenure.oauth_tokens t
                                                  where t.session_id = g.id and t.used_at is null and t.expires_at > g.at)
                    when g.foreign_hash is not null then array[g.foreign_hash] end
          from gone g
          left join tenure.users u              on u.id = g.user_id
          left join tenure.session_attributes a on a.session_id = g.id
          left join tenure.oauth_entities o     on o.id = g.oauth_entity_id
        returning id, user_name, end_reason
    ), noted as (
        insert into tenure.session_events (id, at, type, session_id, user_name, actor, reason, node)
        select tenure.uuid_v7(n.at), n.at, 'session_ended', m.id, m.user_name, p_actor, m.end_reason, tenure.node()
          from moved m, (select tenure.now() as at) n
    )
    select count(*) into v_ended from gone;
    perform set_config('tenure.ended', (tenure.ended_here() + v_ended)::text, true);
    return v_ended;
end
$$;

-- tenure.foreign_session: the session that a foreign token was imported with: live, or ended and retained (E2). One that was rotated
-- away leads nowhere, and so does an unknown one (E3).
create function tenure.foreign_session(p_hash bytea) returns uuid
    language sql stable
    as $$
    select f.id
      from (select s.id, 0 as place
              from tenure.sessions s
             where s.foreign_hash = p_hash and s.token_hash = p_hash
             union all
            select e.id, 1
              from tenure.ended_sessions e
             where e.kind in ('user', 'guest') and e.oauth_hashes is not null and e.oauth_hashes[1] = p_hash
               and e.token_hash = p_hash) f
     order by f.place
     limit 1
    $$;
comment on function tenure.foreign_session(bytea) is 'The session whose token is this foreign one, by its digest; null when there is none.';

-- tenure.has_foreign_tokens: whether any foreign token could be known: two looks at indexes that are empty without an import.
create function tenure.has_foreign_tokens() returns boolean
    language sql stable
    as $$
    select exists (select from tenure.sessions s where s.foreign_hash is not null)
        or exists (select from tenure.ended_sessions e where e.kind in ('user', 'guest') and e.oauth_hashes is not null)
    $$;
comment on function tenure.has_foreign_tokens() is 'Whether any session, live or retained, was imported with a token of another store.';

-- tenure.claim_import: the lock of imports, held until the connection ends; refused while another has it.
create function tenure.claim_import() returns boolean
    language plpgsql
    as $$
begin
    if not pg_try_advisory_lock(hashtextextended('tenure.import', 0)) then
        perform tenure.refuse(409, 'import_running', 'Another import is running on this database.', 'Wait for its end, then repeat this one.');
    end if;
    return true;
end
$$;
comment on function tenure.claim_import() is 'Takes the lock of imports for this connection, or refuses.';

-- tenure.import_users: creates those that are missing, as they are given. Whoever is there stays as they are: an import unlocks nobody.
create function tenure.import_users(p_rows jsonb) returns table (line bigint, outcome text)
    language plpgsql
    as $$
#variable_conflict use_column
declare
    v_made     text[];
    v_lines    bigint[];
    v_outcomes text[];
begin
    -- import_users
    with given as materialized (
        select r.*, lower(normalize(r.name, nfc) collate "und-x-icu") as folded
          from jsonb_to_recordset(p_rows) as r (line bigint, name text, display_name text, active boolean, locked_out boolean, roles text[],
                                                epoch bigint, password_hash text, homepage_refresh_minutes int, created_at timestamptz)
    ), placed as materialized (
        select g.*, row_number() over (partition by g.folded order by g.line) as place from given g
    ), made as (
        insert into tenure.users (name, display_name, active, locked_out, roles, epoch, password_hash, homepage_refresh_minutes, created_at)
        select g.name, g.display_name, g.active, g.locked_out, coalesce(g.roles, '{}'), coalesce(g.epoch, 0), g.password_hash,
               g.homepage_refresh_minutes, coalesce(g.created_at, tenure.now())
          from placed g
         where g.place = 1
         order by g.line
            on conflict (lower(name collate "und-x-icu")) do nothing
        returning lower(name collate "und-x-icu") as folded
    )
    select array_agg(g.line order by g.line),
           array_agg(case when g.place > 1 then 'duplicate' when m.folded is null then 'present' else 'imported' end order by g.line),
           array_agg(g.folded) filter (where g.place = 1 and m.folded is not null and g.epoch is not null and not g.active and not g.locked_out)
      into v_lines, v_outcomes, v_made
      from placed g
      left join made m on m.folded = g.folded;
    -- import_users_unlock: the rule for the inactive (U2) has judged them as new; this store's own export says what they are.
    update tenure.users u set locked_out = false
     where lower(u.name collate "und-x-icu") = any (v_made) and u.locked_out;
    return query select * from unnest(v_lines, v_outcomes);
end
$$;
comment on function tenure.import_users(jsonb) is
    'Creates users in bulk: line and fields of each. Answers imported, present or duplicate for each line; nobody who is there is changed.';

-- tenure.import_properties: those of a file, all at once, because they are judged against each other (P3), and behind the guard of a
-- single change (P5, X2): counted together before anything is written, whatever number of statements and triggers writes them. Maintenance is
-- of the store it was announced in: no file announces any.
create function tenure.import_properties(p_rows jsonb, p_many boolean) returns table (line bigint, outcome text, ends_now bigint)
    language plpgsql
    as $$
#variable_conflict use_column
declare
    v_lines    bigint[];
    v_outcomes text[];
    v_new      jsonb;
    v_ends     bigint;
begin
    -- import_properties_lock: in the order of a change: its own row, then the policies, behind which writers queue.
    perform from tenure.properties o
      where o.name in (select r.name from jsonb_to_recordset(p_rows) as r (name text)) order by o.name for update;
    perform from tenure.policies p order by p.kind for no key update;
    -- import_properties_judge
    with given as (
        select r.line, r.name, r.value,
               case when c.name is null or c.name = 'tenure.maintenance_at'                    then 'ignored'
                    when row_number() over (partition by r.name order by r.line) > 1           then 'duplicate'
                    when tenure.property_problem(r.name, r.value) is not null                  then 'invalid'
                    when o.value = r.value                                                     then 'present'
                    else 'imported' end as outcome
          from jsonb_to_recordset(p_rows) as r (line bigint, name text, value text)
          left join tenure.property_catalogue c on c.name = r.name
          left join tenure.properties o         on o.name = r.name
    )
    select array_agg(g.line order by g.line), array_agg(g.outcome order by g.line),
           coalesce(jsonb_object_agg(g.name, g.value) filter (where g.outcome = 'imported'), '{}')
      into v_lines, v_outcomes, v_new
      from given g;
    -- import_properties_count
    select coalesce(sum(r.sessions), 0) into v_ends
      from tenure.rehearse_policies(tenure.property_rows() || v_new) r
     where r.effect = 'ends_now';
    perform tenure.guard(v_ends);
    if v_ends > 10000 and not p_many then
        perform tenure.refuse(409, 'too_many_endings',
                              format('The properties would end %s live sessions at once; more than 10,000 need force.', v_ends),
                              'Repeat it with --force, or leave those properties out.', v_ends);
    end if;
    -- import_properties_write: the guard has compared the sum; each trigger would compare its part.
    perform tenure.expect(null);
    insert into tenure.properties (name, value)
    select n.key, n.value from jsonb_each_text(v_new) n
        on conflict (name) do update set value = excluded.value;
    return query select *, v_ends from unnest(v_lines, v_outcomes);
end
$$;
comment on function tenure.import_properties(jsonb, boolean) is
    'Sets properties in bulk: line, name and value of each. Answers imported, present, ignored, duplicate or invalid for each line, and how many live sessions all of them end together; more than 10,000 only if p_many.';

-- tenure.import_sessions: one batch, wholly or not at all. The user rows are locked first, in a statement of its own, as a sign-in does:
-- a lock-out comes wholly before or wholly after (U4). Other sessions of the user stay, and no limit on their number applies.
-- Without ids the sessions are another store's: their ids are made, their token is a foreign one, and what is not recorded there
-- is taken to be as late as it can have been. Where the idle limit alone would end such a session at once, the
-- import counts as its activity, unless p_strict; the maximum life does not move. Two people there whose names differ only in case
-- would become one here: unless p_ignore_case, only whoever is spelled as the user here is that user. During maintenance nobody comes in who could not
-- sign in: an import is no way around it, and of unknown begin is not begun in it.
-- With ids they are this store's own, exactly as they were.
-- Whatever is looked up is looked up by an index: a plan made while the table was empty would read it from end to end for every batch.
-- A rehearsal judges and writes nothing. Lanes run at once, and do not see each other: whoever calls keeps the sessions of a user in one of
-- them, and sends no token to both.
create function tenure.import_sessions(p_lane int, p_source text, p_strict boolean, p_ignore_case boolean, p_rehearse boolean, p_users text[],
                                       p_rows jsonb)
    returns table (line bigint, outcome text)
    language plpgsql set plan_cache_mode = force_generic_plan set jit = off set enable_seqscan = off
    as $$
#variable_conflict use_column
declare
    v_now   timestamptz;
    v_actor text := tenure.actor();
    v_node  text := tenure.node();
begin
    -- import_admission: a maintenance that begins at once comes wholly before this batch or wholly after, as for a sign-in (X3).
    perform pg_advisory_xact_lock_shared(hashtextextended('tenure.maintenance', 0));
    -- Behind a transaction pooler the lock of the import would hold nothing; this one keeps a token from being imported twice.
    perform pg_advisory_xact_lock(hashtextextended('tenure.import', 1 + p_lane));
    -- import_lock_users
    perform from tenure.users u
      where lower(u.name collate "und-x-icu") in (select lower(n.name collate "und-x-icu") from unnest(p_users) n (name))
      order by u.id
        for no key update;
    v_now := tenure.now();
    return query
    -- import_sessions
    with given as materialized (
        select r.*, (r.session).id is not null as own
          from jsonb_to_recordset(p_rows) as r (line bigint, "user" text, oauth_entity text, expires_at timestamptz,
                                                session tenure.sessions, place tenure.session_attributes, tokens jsonb)
    ), named as materialized (
        select n.name, u.id, u.name as user_name, u.epoch, u.locked_out, u.active, 'admin' = any (u.roles) as admin
          from unnest(p_users) n (name)
          join tenure.users u on lower(u.name collate "und-x-icu") = lower(n.name collate "und-x-icu")
    ), candidate as materialized (
        select g.line, g.own, g.expires_at, g.place, g.tokens, n.user_name, n.locked_out, n.active, n.admin,
               g."user" is not null and n.id is null         as user_lost,
               not g.own and not p_ignore_case and n.name <> n.user_name as user_differs,
               g.oauth_entity is not null and o.id is null   as entity_lost,
               (g.session).created_at is not null            as begun,
               g.own and ((g.session).created_at > (g.session).anchor_at or (g.session).anchor_at > v_now
                          or exists (select from jsonb_array_elements(nullif(g.tokens, 'null')) k (token)
                                      where (k.token ->> 'issued_at')::timestamptz > v_now)) as future,
               -- In the order of the table; its deadline is not yet known.
               row(case when g.own then (g.session).id else tenure.uuid_v7(a.created_at) end, (g.session).token_hash, (g.session).kind,
                   n.id, n.epoch, (g.session).device, (g.session).remember_me, (g.session).residue, a.created_at, a.anchor_at, null,
                   (g.session).refresh_seconds, (g.session).idle_limit_seconds, (g.session).window_seconds, o.id,
                   (g.session).app_state, (g.session).app_state_at, (g.session).node, (g.session).foreign_hash)::tenure.sessions as s
          from given g
          left join named n                 on n.name = g."user"
          left join tenure.oauth_entities o on o.name = g.oauth_entity
         cross join lateral (select least(coalesce((g.session).anchor_at, v_now), v_now) as anchor_at,
                                    least(coalesce((g.session).created_at, (g.session).anchor_at, v_now), (g.session).anchor_at, v_now) as created_at) a
    ), judged as materialized (
        select c.*, n.anchor_at as active_at, d.due_at,
               case when c.expires_at <= v_now                                     then 'expired'
                    when row_number() over (partition by (c.s).token_hash order by c.line) > 1 then 'duplicate'
                    when c.own and coalesce((select true from tenure.sessions x where x.id = (c.s).id),
                                            (select true from tenure.ended_sessions x where x.id = (c.s).id)) then 'present'
                    when not c.own and coalesce((select true from tenure.sessions x where x.foreign_hash = (c.s).foreign_hash limit 1),
                                                (select true from tenure.ended_sessions x
                                                  where x.kind in ('user', 'guest') and x.oauth_hashes is not null
                                                    and x.oauth_hashes[1] = (c.s).foreign_hash limit 1)) then 'present'
                    when c.user_lost                                               then 'unknown_user'
                    when c.user_differs                                            then 'user_differs'
                    when c.entity_lost                                             then 'unknown_oauth_entity'
                    when c.locked_out                                              then 'user_locked_out'
                    when not c.active and p.refuse_inactive                        then 'user_inactive'
                    when c.future                                                  then 'in_the_future'
                    when p.maintenance_at <= v_now
                         and not (coalesce(c.admin, false) and c.begun and (c.s).created_at >= p.maintenance_at) then 'maintenance'
                    when l.expires_at is null                                      then 'unfit'
                    when d.due_at > v_now                                          then 'imported'
                    else 'over' end as outcome
          from candidate c
          join tenure.policies p on p.kind = (c.s).kind
         -- The fences have each deadline computed once.
         cross join lateral (select x.expires_at, x.reason from tenure.limits(c.s, p) x offset 0) l
         cross join lateral (select case when l.expires_at <= v_now and l.reason = 'idle' and not c.own and not p_strict then v_now
                                         else (c.s).anchor_at end as anchor_at) n
          -- Under its new anchor another limit may have ended it before now.
         cross join lateral (select case when n.anchor_at = (c.s).anchor_at then l.expires_at
                                         else (select x.expires_at
                                                 from tenure.limits(jsonb_populate_record(c.s, jsonb_build_object('anchor_at', n.anchor_at)), p) x)
                                    end as due_at
                            offset 0) d
    ), settled as materialized (
        select j.line, j.user_name, j.place, j.tokens, j.s, j.active_at as anchor_at, j.due_at
          from judged j
         where j.outcome = 'imported' and not p_rehearse
    ), born as (
        insert into tenure.sessions
              (id, token_hash, kind, user_id, user_epoch, device, remember_me, residue, created_at, anchor_at, due_at, refresh_seconds,
               idle_limit_seconds, window_seconds, oauth_entity_id, app_state, app_state_at, node, foreign_hash)
        select (t.s).id, (t.s).token_hash, (t.s).kind, (t.s).user_id, (t.s).user_epoch, (t.s).device, (t.s).remember_me, (t.s).residue,
               (t.s).created_at, t.anchor_at, t.due_at, (t.s).refresh_seconds, (t.s).idle_limit_seconds, (t.s).window_seconds,
               (t.s).oauth_entity_id, (t.s).app_state, (t.s).app_state_at, (t.s).node, (t.s).foreign_hash
          from settled t
    ), described as (
        insert into tenure.session_attributes (session_id, client_address, user_agent, attributes, version)
        select (t.s).id, (t.place).client_address, (t.place).user_agent, coalesce((t.place).attributes, '{}'), coalesce((t.place).version, 1)
          from settled t
    ), granted as (
        insert into tenure.oauth_tokens
        select r.*
          from settled t
         cross join lateral jsonb_array_elements(coalesce(t.tokens, '[]')) k (token)
         cross join lateral jsonb_populate_record(null::tenure.oauth_tokens, k.token || jsonb_build_object('session_id', (t.s).id)) r
    ), noted as (
        insert into tenure.session_events (id, at, type, session_id, user_name, actor, node, details)
        select tenure.uuid_v7(v_now), v_now, 'session_imported', (t.s).id, t.user_name, v_actor, v_node,
               jsonb_build_object('kind', (t.s).kind, 'source', p_source)
          from settled t
    )
    select j.line, j.outcome from judged j;
end
$$;
comment on function tenure.import_sessions(int, text, boolean, boolean, boolean, text[], jsonb) is
    'Imports sessions in bulk; answers for each line imported, present, expired, over, duplicate, unknown_user, user_differs, user_locked_out, user_inactive, unknown_oauth_entity, in_the_future, maintenance or unfit.';

revoke execute on all functions in schema tenure from public;

-- V21 import_speed: an import sends less of each row, and asks first what of a page is there already.

-- tenure.foreign_present: those of these digests of other stores' tokens that a session came with, live or ended: what an import that
-- was cut off begins with. tenure.import_sessions looks for each again, under its lock.
create function tenure.foreign_present(p_hashes bytea[]) returns setof bytea
    language sql stable set enable_seqscan = off
    as $$
    select g.hash
      from unnest(p_hashes) g (hash)
     where coalesce((select true from tenure.sessions x where x.foreign_hash = g.hash limit 1),
                    (select true from tenure.ended_sessions x
                      where x.kind in ('user', 'guest') and x.oauth_hashes is not null and x.oauth_hashes[1] = g.hash limit 1))
    $$;
comment on function tenure.foreign_present(bytea[]) is
    'Those of these digests of tokens that sessions were imported with, live or ended.';

-- tenure.import_sessions: as it was, but that what all sessions of other stores have in common need not be said of each, and that
-- such a session which is here is present, whether or not it has expired there.
create or replace function tenure.import_sessions(p_lane int, p_source text, p_strict boolean, p_ignore_case boolean, p_rehearse boolean, p_users text[],
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
               row(case when g.own then (g.session).id else tenure.uuid_v7(a.created_at) end,
                   case when g.own then (g.session).token_hash else (g.session).foreign_hash end,
                   case when g.own then (g.session).kind when g."user" is null then 'guest' else 'user' end,
                   n.id, n.epoch,
                   case when g.own then (g.session).device else 'desktop' end,
                   g.own and (g.session).remember_me,
                   g.own and (g.session).residue,
                   a.created_at, a.anchor_at, null,
                   (g.session).refresh_seconds, (g.session).idle_limit_seconds, (g.session).window_seconds, o.id,
                   (g.session).app_state, (g.session).app_state_at, (g.session).node, (g.session).foreign_hash)::tenure.sessions as s
          from given g
          left join named n                 on n.name = g."user"
          left join tenure.oauth_entities o on o.name = g.oauth_entity
         cross join lateral (select least(coalesce((g.session).anchor_at, v_now), v_now) as anchor_at,
                                    least(coalesce((g.session).created_at, (g.session).anchor_at, v_now), (g.session).anchor_at, v_now) as created_at) a
    ), judged as materialized (
        select c.*, n.anchor_at as active_at, d.due_at,
               case when not c.own and coalesce((select true from tenure.sessions x where x.foreign_hash = (c.s).foreign_hash limit 1),
                                                (select true from tenure.ended_sessions x
                                                  where x.kind in ('user', 'guest') and x.oauth_hashes is not null
                                                    and x.oauth_hashes[1] = (c.s).foreign_hash limit 1)) then 'present'
                    when c.expires_at <= v_now                                     then 'expired'
                    when row_number() over (partition by (c.s).token_hash order by c.line) > 1 then 'duplicate'
                    when c.own and coalesce((select true from tenure.sessions x where x.id = (c.s).id),
                                            (select true from tenure.ended_sessions x where x.id = (c.s).id)) then 'present'
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

revoke execute on all functions in schema tenure from public;

-- V15 rehearsal: what a change would do to the live sessions (X2), judged by what the change itself judges by, and a guard that applies
-- what was previewed or nothing.

-- tenure.refuse: a refusal with a number that a program reads, in the detail field.
create function tenure.refuse(status int, code text, message text, advice text, count bigint) returns void
    language plpgsql
    as $$
begin
    raise exception using errcode    = 'TN' || status,
                          constraint = code,
                          message    = message,
                          detail     = count::text,
                          hint       = advice;
end
$$;
comment on function tenure.refuse(int, text, text, text, bigint) is 'Refuses like its namesake, and says how many sessions it is about.';

-- tenure.expect: says, for the rest of this transaction, what was previewed. A change of properties or users, and an order to end many
-- sessions, that would do something else is refused; one property a statement, for each is compared by itself.
create function tenure.expect(p_count bigint, p_basis text default null) returns boolean
    language sql volatile
    as $$
    select set_config('tenure.expect', coalesce(p_count::text, ''), true) is not null
       and set_config('tenure.expect_basis', coalesce(p_basis, ''), true) is not null
    $$;
comment on function tenure.expect(bigint, text) is
    'Sets the guard of this transaction: how many live sessions each change may end, and the basis its preview rested on; null for none.';

-- tenure.guard: refuses what was previewed otherwise, and remembers the number. A change of properties calls it before it locks any
-- session, and again with what really ends.
create function tenure.guard(p_count bigint, p_basis text default null) returns void
    language plpgsql
    as $$
declare
    v_message text;
begin
    v_message := case when nullif(current_setting('tenure.expect', true), '')::bigint <> p_count
                      then format('It would end %s live sessions now; the preview said otherwise.', p_count)
                      when nullif(current_setting('tenure.expect_basis', true), '') <> p_basis
                      then format('A property has changed since the preview; it would end %s live sessions now.', p_count) end;
    if v_message is not null then
        perform tenure.refuse(409, 'preview_changed', v_message, 'Nothing was changed. Preview it again, and repeat it with what that says.', p_count);
    end if;
    perform set_config('tenure.guarded', p_count::text, true);
end
$$;
comment on function tenure.guard(bigint, text) is
    'Refuses a change that would end another number of live sessions than its preview said, or whose preview rested on other properties.';

-- tenure.guarded: what the last change said to its guard.
create function tenure.guarded() returns bigint
    language sql stable
    as $$ select coalesce(nullif(current_setting('tenure.guarded', true), ''), '0')::bigint $$;
comment on function tenure.guarded() is 'How many live sessions the last change of a property or user in this transaction ended.';

-- tenure.basis: what a preview of a change of properties rests on besides the sessions.
create function tenure.basis(p_rows jsonb) returns text
    language sql stable
    as $$ select left(encode(sha256(convert_to(p_rows::text, 'UTF8')), 'hex'), 16) $$;
comment on function tenure.basis(jsonb) is 'A digest of all overrides: it changes when one of them does.';

-- policies ------------------------------------------------------------------------------------------------------------

-- tenure.policies_under: the policies as they would be under given overrides.
create function tenure.policies_under(p_rows jsonb) returns setof tenure.policies
    language sql stable
    as $$
    select n.*
      from tenure.policies p
      join tenure.resolved_policies(p_rows) r on r.kind = p.kind
     cross join lateral jsonb_populate_record(p, to_jsonb(r)) n
    $$;
comment on function tenure.policies_under(jsonb) is 'The rows of policies as they would be under given overrides.';

-- tenure.kinds_between: the kinds whose deadlines may differ between two sets of policies; null when none. A new column counts until
-- it is named here.
create function tenure.kinds_between(p_old tenure.policies[], p_new tenure.policies[]) returns text[]
    language sql stable
    as $$
    select array_agg(n.kind order by n.kind)
      from unnest(p_old) o
      join unnest(p_new) n on n.kind = o.kind
     cross join lateral (
         select array['prompt_seconds', 'ajax_prompt', 'ajax_resubmit', 'heartbeat_seconds', 'max_sessions', 'at_max_sessions',
                      'revision', 'lowering_pass', 'lowering_from', 'lowering_after']
                -- The mobile window is frozen in the session: the idle limit does not touch it.
                || case when n.kind = 'mobile' then array['idle_seconds', 'auto_refresh_extends'] else '{}' end as columns) beside
     where to_jsonb(o) - beside.columns <> to_jsonb(n) - beside.columns
    $$;
comment on function tenure.kinds_between(tenure.policies[], tenure.policies[]) is
    'The kinds whose sessions may end at another instant under the second policies than under the first; null when none.';

-- tenure.effect: what becomes of a session when its deadline moves, or its user's state ends it: the one judgement of the change and of
-- its rehearsal.
create function tenure.effect(was_at timestamptz, becomes_at timestamptz, barred boolean, at timestamptz) returns text
    language sql immutable
    as $$
    select case
               when was_at <= at              then 'over'
               when becomes_at <= at or barred then 'ends_now'
               when becomes_at < was_at       then 'ends_earlier'
               when becomes_at > was_at       then 'ends_later'
               else 'unchanged'
           end
    $$;
comment on function tenure.effect(timestamptz, timestamptz, boolean, timestamptz) is
    'over, ends_now, ends_earlier, ends_later or unchanged: what moving its deadline does to a session at an instant.';

-- tenure.foreseen: what a change of its policy from o to p does to one session, with deadline and reason before and after. The fence
-- has each deadline computed once, and makes of them columns, without which tenure.effect would be called and not written in.
create function tenure.foreseen(s tenure.sessions, o tenure.policies, p tenure.policies, barred boolean, at timestamptz)
    returns table (effect text, was_at timestamptz, was_reason text, becomes_at timestamptz, becomes_reason text)
    language sql stable
    as $$
    select tenure.effect(l.was_at, l.becomes_at, barred, at), l.was_at, l.was_reason,
           case when barred then at else greatest(l.becomes_at, at) end,
           case when barred and l.becomes_at > at then 'inactivated' else l.becomes_reason end
      from (select was.expires_at as was_at, was.reason as was_reason, becomes.expires_at as becomes_at, becomes.reason as becomes_reason
              from tenure.limits(s, o) was
             cross join tenure.limits(s, p) becomes
            offset 0) l
    $$;
comment on function tenure.foreseen(tenure.sessions, tenure.policies, tenure.policies, boolean, timestamptz) is
    'What a change of its policy does to a session at an instant, given whether its user''s state then ends it: the effect, deadline and reason before and after.';

-- tenure.moved: the sessions of these kinds with their deadlines under both sets of policies: what the scans of a change and of its
-- rehearsal read. The fence has each deadline computed once.
create function tenure.moved(p_old tenure.policies[], p_new tenure.policies[], p_kinds text[])
    returns table (id uuid, kind text, created_at timestamptz, was_at timestamptz, becomes_at timestamptz, barred boolean)
    language sql stable
    as $$
    select s.id, s.kind, s.created_at, was.expires_at, becomes.expires_at, p.refuse_inactive and u.id is not null
      from tenure.sessions s
      join unnest(p_old) o on o.kind = s.kind
      join unnest(p_new) p on p.kind = s.kind
      left join tenure.users u on u.id = s.user_id and not u.active
     cross join lateral tenure.limits(s, o) was
     cross join lateral tenure.limits(s, p) becomes
     where s.kind = any (p_kinds)
    offset 0
    $$;
comment on function tenure.moved(tenure.policies[], tenure.policies[], text[]) is
    'Every session of these kinds with its deadline under the old and the new policies, and whether its user''s state ends it under the new.';

-- tenure.settle_policy_change: as in V13, by tenure.effect, and guarded. Compiling such statements takes longer than running them.
drop function tenure.settle_policy_change(tenure.policies[]);
create function tenure.settle_policy_change(p_old tenure.policies[], p_basis text) returns void
    language plpgsql set jit = off
    as $$
declare
    v_now      timestamptz := tenure.now();
    v_new      tenure.policies[];
    v_kinds    text[];
    v_due      uuid[];
    v_causes   text[];
    v_ats      timestamptz[];
    v_ids      uuid[];
    v_reasons  text[];
    v_live     bigint;
begin
    v_new   := array(select p from tenure.policies p);
    v_kinds := tenure.kinds_between(p_old, v_new);
    if v_kinds is null then
        perform tenure.guard(0, p_basis);
        return;
    end if;

    -- policy_change_scan: no lock is taken on sessions that live on.
    select array_agg(m.id), count(*) filter (where tenure.effect(m.was_at, m.becomes_at, m.barred, v_now) = 'ends_now')
      into v_ids, v_live
      from tenure.moved(p_old, v_new, v_kinds) m
     where tenure.effect(m.was_at, m.becomes_at, m.barred, v_now) in ('over', 'ends_now');

    -- Refused before any row is locked: a check must not wait for a change that will not happen.
    perform tenure.guard(v_live, p_basis);
    if v_live > 10000 and not tenure.forced() then
        perform tenure.refuse(409, 'too_many_endings', format('The change would end %s live sessions at once; more than 10,000 need force.', v_live),
                              'Repeat it with force, or choose a longer limit.', v_live);
    end if;

    if v_ids is not null then
        -- policy_change_lock
        perform from tenure.sessions s where s.id = any (v_ids) order by s.id for update;
        -- policy_change_judge: judged again under the row locks, so that activity recorded meanwhile counts. It is a statement of its
        -- own: what is fenced is not computed again for a row that the lock was waited for.
        -- What was over already ends as what it was, by the store itself; the rest by whoever made the change.
        select array_agg(d.id order by d.id) filter (where d.effect = 'over'), array_agg(d.was_reason order by d.id) filter (where d.effect = 'over'),
               array_agg(d.was_at order by d.id) filter (where d.effect = 'over'),
               array_agg(d.id order by d.id) filter (where d.effect = 'ends_now'),
               array_agg(d.becomes_reason order by d.id) filter (where d.effect = 'ends_now')
          into v_due, v_causes, v_ats, v_ids, v_reasons
          from (select s.id, f.*
                  from tenure.sessions s
                  join unnest(p_old) o   on o.kind = s.kind
                  join tenure.policies p on p.kind = s.kind
                  left join tenure.users u on u.id = s.user_id and not u.active
                 cross join lateral tenure.foreseen(s, o, p, p.refuse_inactive and u.id is not null, v_now) f
                 where s.id = any (v_ids)
                   and f.effect in ('over', 'ends_now')) d;
        perform tenure.guard(coalesce(cardinality(v_ids), 0));
        if v_due is not null then
            perform tenure.end_sessions(v_due, v_causes, v_ats, 'tenure');
        end if;
        if v_ids is not null then
            perform tenure.end_sessions(v_ids, v_reasons, array_fill(v_now, array[cardinality(v_ids)]), tenure.actor());
        end if;
    end if;

    update tenure.policies p
       set lowering_pass = 2, lowering_from = v_now, lowering_after = null
     where p.kind = any (v_kinds);
end
$$;
comment on function tenure.settle_policy_change(tenure.policies[], text) is
    'Ends what a change of policies makes due and owes the lowering job; given the policies from before, and the basis of the change. Only properties_follow calls it.';

-- properties ----------------------------------------------------------------------------------------------------------

-- tenure.newly_broken: the relations that hold under the overrides before and not under those after: only these are refused (P3).
create function tenure.newly_broken(p_before jsonb, p_after jsonb)
    returns table (name text, other text, forceable boolean, message text)
    language sql stable
    as $$
    select b.*
      from tenure.broken_relations(p_after) b
     where not exists (select from tenure.broken_relations(p_before) h where h.name = b.name and h.other = b.other)
    $$;
comment on function tenure.newly_broken(jsonb, jsonb) is 'Pairs of properties that contradict each other after a change and did not before.';

-- tenure.refuse_broken: refuses a change that breaks a relation, unless by force and forceable.
create function tenure.refuse_broken(p_before jsonb, p_after jsonb, p_forced boolean) returns void
    language plpgsql
    as $$
declare
    v_broken record;
begin
    select b.* into v_broken from tenure.newly_broken(p_before, p_after) b where not (b.forceable and p_forced) limit 1;
    if found then
        perform tenure.refuse(422, 'relation_broken', v_broken.message,
                              case when v_broken.forceable then 'Change the other property first, or force it: the earlier limit then wins.'
                                   else 'Change the other property first.' end);
    end if;
end
$$;
comment on function tenure.refuse_broken(jsonb, jsonb, boolean) is 'Refuses overrides that break a relation which held under those before.';

-- tenure.properties_follow: as in V13, guarded.
create or replace function tenure.properties_follow() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
declare
    v_old      jsonb := '{}';
    v_new      jsonb := '{}';
    v_before   jsonb;
    v_after    jsonb;
    v_policies tenure.policies[];
    v_name     text;
begin
    if tg_op in ('UPDATE', 'DELETE') then
        select coalesce(jsonb_object_agg(o.name, o.value), '{}') into v_old from old_properties o;
    end if;
    if tg_op in ('INSERT', 'UPDATE') then
        select coalesce(jsonb_object_agg(n.name, n.value), '{}') into v_new from new_properties n;
    end if;
    if v_old = '{}' and v_new = '{}' then
        -- INSERT ... ON CONFLICT fires both triggers, one of them with nothing; a DELETE that finds nothing has no other.
        if tg_op = 'DELETE' then
            perform tenure.guard(0, tenure.basis(tenure.property_rows()));
        end if;
        return null;
    end if;

    -- Writers queue here, in one order; a writer with an older snapshot gets a serialization error instead of a stale verdict.
    perform from tenure.policies p order by p.kind for no key update;
    update tenure.policies p set revision = p.revision + 1;

    v_after  := tenure.property_rows();
    v_before := (v_after - array(select jsonb_object_keys(v_new))) || v_old;
    perform tenure.refuse_broken(v_before, v_after, tenure.forced());

    select array_agg(p order by p.kind) into v_policies from tenure.policies p;
    update tenure.policies p
       set idle_seconds         = r.idle_seconds,
           max_life_seconds     = r.max_life_seconds,
           remember_me_seconds  = r.remember_me_seconds,
           residue_seconds      = r.residue_seconds,
           prompt_seconds       = r.prompt_seconds,
           auto_refresh_extends = r.auto_refresh_extends,
           refuse_inactive      = r.refuse_inactive,
           ajax_prompt          = r.ajax_prompt,
           ajax_resubmit        = r.ajax_resubmit,
           heartbeat_seconds    = r.heartbeat_seconds,
           max_sessions         = r.max_sessions,
           at_max_sessions      = r.at_max_sessions,
           maintenance_at       = r.maintenance_at
      from tenure.policies_under(v_after) r
     where r.kind = p.kind;
    perform tenure.settle_policy_change(v_policies, tenure.basis(v_before));

    for v_name in select jsonb_object_keys(v_old || v_new) loop
        if v_old -> v_name is distinct from v_new -> v_name then
            perform tenure.note(case when v_new ? v_name then 'property_set' else 'property_removed' end, null, null,
                                jsonb_build_object('name', v_name, 'old', v_old -> v_name, 'new', v_new -> v_name));
        end if;
    end loop;
    insert into tenure.invalidations (kind) values ('p');
    return null;
end
$$;

-- tenure.rehearse_property: the overrides after setting a property, or after removing its row (null); refuses what no force would
-- make acceptable.
create function tenure.rehearse_property(p_name text, p_value text, out rows_after jsonb, out basis text, out breaks_relation boolean)
    language plpgsql
    as $$
declare
    v_before jsonb := tenure.property_rows();
begin
    rows_after := case when p_value is null then v_before - p_name
                       else v_before || jsonb_build_object(p_name, tenure.accepted_value(p_name, p_value)) end;
    basis := tenure.basis(v_before);
    perform tenure.refuse_broken(v_before, rows_after, true);
    breaks_relation := exists (select from tenure.newly_broken(v_before, rows_after));
end
$$;
comment on function tenure.rehearse_property(text, text) is
    'The overrides as a change of one property would leave them, the basis of this preview, and whether it breaks a relation that force accepts; refuses like the change.';

-- tenure.rehearse_policies: how many live sessions of the kinds concerned would end now, earlier, later or as before under given
-- overrides, with the oldest and the newest of each: one scan, as long as the change's own, and no lock.
create function tenure.rehearse_policies(p_rows jsonb) returns table (kind text, effect text, sessions bigint, examples jsonb)
    language plpgsql set jit = off
    as $$
declare
    v_now   timestamptz := tenure.now();
    v_old   tenure.policies[];
    v_new   tenure.policies[];
    v_kinds text[];
begin
    select array_agg(p order by p.kind) into v_old from tenure.policies p;
    select array_agg(p order by p.kind) into v_new from tenure.policies_under(p_rows) p;
    v_kinds := tenure.kinds_between(v_old, v_new);
    if v_kinds is null then
        return;
    end if;
    -- policy_rehearsal
    return query
    with judged as (
        select m.kind, m.created_at, tenure.effect(m.was_at, m.becomes_at, m.barred, v_now) as effect
          from tenure.moved(v_old, v_new, v_kinds) m
        offset 0
    ), counted as materialized (
        select j.kind, j.effect, count(*) as sessions, min(j.created_at) as oldest, max(j.created_at) as newest
          from judged j
         where j.effect <> 'over'
         group by j.kind, j.effect
    )
    select c.kind, c.effect, c.sessions,
           -- Ids begin with the instant of creation: each example is looked up.
           (select jsonb_agg(distinct e.example)
              from unnest(array[c.oldest, c.newest]) as t (at)
             cross join lateral (
                 select jsonb_build_object('id', s.id, 'kind', s.kind, 'user', u.name, 'effect', f.effect,
                                           'expires_at', f.was_at, 'reason', f.was_reason,
                                           'would_expire_at', f.becomes_at, 'would_reason', f.becomes_reason) as example
                   from tenure.sessions s
                   join unnest(v_old) o on o.kind = s.kind
                   join unnest(v_new) p on p.kind = s.kind
                   left join tenure.users u on u.id = s.user_id
                  cross join lateral tenure.foreseen(s, o, p, p.refuse_inactive and not u.active, v_now) f
                  where s.id >= tenure.uuid_v7_floor(t.at)
                    and s.created_at = t.at
                    and s.kind = c.kind
                    and f.effect = c.effect
                  order by s.id
                  limit 1) e
             where c.effect <> 'unchanged')
      from counted c
     order by c.kind, c.effect;
end
$$;
comment on function tenure.rehearse_policies(jsonb) is
    'What given overrides would do to the live sessions: kind, effect, how many, and up to two examples of each.';

-- users ---------------------------------------------------------------------------------------------------------------

-- tenure.derived_user: what a user row must say of itself: composed name, lock-out of the inactive (U2), a bumped epoch. A new user has
-- none before.
create function tenure.derived_user(p_before tenure.users, p_after tenure.users) returns tenure.users
    language plpgsql
    as $$
begin
    p_after.name := normalize(p_after.name, nfc);
    if not p_after.active and coalesce(p_before.active, true)
       and tenure.property_value('tenure.lock_out_inactive_users') = 'true' then
        p_after.locked_out := true;
    end if;
    if p_before.id is not null then
        p_after.epoch := greatest(p_before.epoch, p_after.epoch);                                -- C30: never goes down
        if (p_after.locked_out and not p_before.locked_out)
           or (p_before.active and not p_after.active and (select p.refuse_inactive from tenure.policies p where p.kind = 'user')) then
            p_after.epoch := p_after.epoch + 1;
        end if;
    end if;
    return p_after;
end
$$;
comment on function tenure.derived_user(tenure.users, tenure.users) is
    'A user row as it is stored when it was the one before and is written as the one after: composed, locked out when it becomes inactive (U2), under a new epoch when it loses access.';

-- tenure.users_derive: as in V7, by tenure.derived_user.
create or replace function tenure.users_derive() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
begin
    if tg_op = 'INSERT' then
        return tenure.derived_user(null, new);
    end if;
    return tenure.derived_user(old, new);
end
$$;

-- tenure.users_follow: as in V7, guarded; what matters most to an auditor is in the details.
create or replace function tenure.users_follow() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
begin
    if tg_op = 'INSERT' then
        perform tenure.note('user_created', n.name, null, jsonb_strip_nulls(jsonb_build_object(
                                'active', n.active, 'locked_out', n.locked_out, 'roles', case when n.roles <> '{}' then to_jsonb(n.roles) end)))
           from new_users n;
        return null;
    elsif tg_op = 'DELETE' then
        perform tenure.note('user_deleted', o.name, null, null) from old_users o;
        return null;
    end if;

    perform tenure.end_outdated(array_agg(n.id))
       from new_users n join old_users o on o.id = n.id
      where n.epoch > o.epoch
     having count(*) > 0;
    if not found and exists (select from new_users) then
        perform tenure.guard(0);
    end if;

    perform tenure.note(e.type, n.name, null, case when e.type = 'user_changed' then m.more end)
       from new_users n
       join old_users o on o.id = n.id
      cross join lateral (
          select nullif(jsonb_strip_nulls(jsonb_build_object(
                     'roles',        case when n.roles <> o.roles then jsonb_build_object('old', o.roles, 'new', n.roles) end,
                     'password_set', case when n.password_hash is distinct from o.password_hash then true end)), '{}') as more) m
      cross join lateral unnest(
          case when n.active     <> o.active     then array[case when n.active     then 'user_activated'  else 'user_deactivated' end] end
          || case when n.locked_out <> o.locked_out then array[case when n.locked_out then 'user_locked_out' else 'user_unlocked' end] end
          || case when (n.active, n.locked_out) = (o.active, o.locked_out) or m.more is not null then array['user_changed'] end) as e (type)
      where (n.*) is distinct from (o.*);

    perform tenure.invalidate('u', array_agg(n.id::text))
       from new_users n join old_users o on o.id = n.id
      where (n.*) is distinct from (o.*)
     having count(*) > 0;
    return null;
end
$$;

-- tenure.end_outdated: as in V6, guarded.
create or replace function tenure.end_outdated(p_user_ids bigint[]) returns bigint
    language plpgsql
    as $$
declare
    v_now     timestamptz := tenure.now();
    v_due     uuid[];
    v_causes  text[];
    v_ats     timestamptz[];
    v_barred  uuid[];
    v_reasons text[];
begin
    -- end_outdated_pick
    select array_agg(d.id order by d.id) filter (where d.due), array_agg(d.cause order by d.id) filter (where d.due),
           array_agg(d.expires_at order by d.id) filter (where d.due),
           array_agg(d.id order by d.id) filter (where not d.due), array_agg(d.reason order by d.id) filter (where not d.due)
      into v_due, v_causes, v_ats, v_barred, v_reasons
      from (select s.id, l.expires_at <= v_now as due, l.reason as cause, l.expires_at, tenure.barred(s, u, p) as reason
              from tenure.sessions s
              join tenure.users u    on u.id = s.user_id
              join tenure.policies p on p.kind = s.kind
             cross join lateral tenure.limits(s, p) l
             where s.user_id = any (p_user_ids)
               and tenure.barred(s, u, p) is not null
             order by s.id
               for update of s) d;
    perform tenure.guard(coalesce(cardinality(v_barred), 0));
    return coalesce(case when v_due is not null then tenure.end_sessions(v_due, v_causes, v_ats, 'tenure') end, 0)
         + coalesce(case when v_barred is not null
                         then tenure.end_sessions(v_barred, v_reasons, array_fill(v_now, array[cardinality(v_barred)]), tenure.actor()) end, 0);
end
$$;

-- tenure.rehearse_user: a user as a change would leave it, and the live sessions that would end with it; none when there is no such user.
create function tenure.rehearse_user(p_name text, p_active boolean, p_locked_out boolean,
                                     out display_name text, out name text, out active boolean, out locked_out boolean, out roles text[],
                                     out homepage_refresh_minutes int, out sessions jsonb, out examples jsonb)
    returns setof record
    language plpgsql
    as $$
declare
    v_now    timestamptz := tenure.now();
    v_before tenure.users;
    v_after  tenure.users;
begin
    select * into v_before from tenure.users u
     where lower(u.name collate "und-x-icu") = lower(p_name collate "und-x-icu");
    if not found then
        return;
    end if;
    v_after            := v_before;
    v_after.active     := coalesce(p_active, v_before.active);
    v_after.locked_out := coalesce(p_locked_out, v_before.locked_out);
    v_after            := tenure.derived_user(v_before, v_after);
    -- user_rehearsal
    with ending as (
        select s.id, s.kind, s.node, l.expires_at, l.reason, tenure.barred(s, v_after, p) as would_reason
          from tenure.sessions s
          join tenure.policies p on p.kind = s.kind
         cross join lateral tenure.limits(s, p) l
         where s.user_id = v_after.id
           and v_after.epoch > v_before.epoch
           and l.expires_at > v_now
           and tenure.barred(s, v_after, p) is not null
    )
    select coalesce((select jsonb_agg(c order by c.kind, c.node nulls last)
                       from (select e.kind, e.node, count(*) as sessions from ending e group by e.kind, e.node) c), '[]'),
           coalesce((select jsonb_agg(jsonb_build_object('id', e.id, 'kind', e.kind, 'user', v_after.name, 'effect', 'ends_now',
                                                         'expires_at', e.expires_at, 'reason', e.reason,
                                                         'would_expire_at', v_now, 'would_reason', e.would_reason) order by e.id desc)
                       from (select * from ending order by id desc limit 5) e), '[]')
      into sessions, examples;
    name                     := v_after.name;
    display_name             := v_after.display_name;
    active                   := v_after.active;
    locked_out               := v_after.locked_out;
    roles                    := v_after.roles;
    homepage_refresh_minutes := v_after.homepage_refresh_minutes;
    return next;
end
$$;
comment on function tenure.rehearse_user(text, boolean, boolean) is
    'A user as a change of active or locked_out would leave it (null: as it is), how many live sessions would end with it by kind and node, and up to five of them.';

-- many sessions at once -----------------------------------------------------------------------------------------------

-- tenure.terminate_many: ends many sessions by decision (X3), guarded. What is over by its deadline or its user ends as what it was.
create function tenure.terminate_many(ids uuid[], reason text default 'terminated') returns bigint
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
declare
    v_now    timestamptz;
    v_over   uuid[];
    v_causes text[];
    v_ats    timestamptz[];
    v_live   uuid[];
begin
    if terminate_many.reason not in ('terminated', 'maintenance') then
        perform tenure.refuse(422, 'unknown_reason', format('%L is not a reason for ending sessions by decision.', terminate_many.reason),
                              'Use terminated or maintenance.');
    end if;
    if cardinality(terminate_many.ids) > 10000 and not tenure.forced() then
        perform tenure.refuse(409, 'too_many_endings', format('These are %s ids; more than 10,000 at once need force.', cardinality(terminate_many.ids)),
                              'End them in batches.');
    end if;
    -- terminate_many_lock: in the order of ids, as every statement that locks several sessions locks them.
    perform from tenure.sessions s where s.id = any (terminate_many.ids) order by s.id for update;
    v_now := tenure.now();
    -- terminate_many_judge
    select array_agg(d.id    order by d.id) filter (where d.cause is not null),
           array_agg(d.cause order by d.id) filter (where d.cause is not null),
           array_agg(d.at    order by d.id) filter (where d.cause is not null),
           array_agg(d.id    order by d.id) filter (where d.cause is null)
      into v_over, v_causes, v_ats, v_live
      from (select s.id, least(l.expires_at, v_now) as at,
                   coalesce(case when l.expires_at <= v_now then l.reason end, tenure.barred(s, u, p)) as cause
              from tenure.sessions s
              join tenure.policies p on p.kind = s.kind
              left join tenure.users u on u.id = s.user_id
             cross join lateral tenure.limits(s, p) l
             where s.id = any (terminate_many.ids)) d;
    perform tenure.guard(coalesce(cardinality(v_live), 0));
    if v_over is not null then
        perform tenure.end_sessions(v_over, v_causes, v_ats, 'tenure');
    end if;
    if v_live is null then
        return 0;
    end if;
    perform tenure.end_sessions(v_live, array_fill(terminate_many.reason, array[cardinality(v_live)]),
                                array_fill(v_now, array[cardinality(v_live)]), tenure.actor());
    perform tenure.invalidate('s', v_live::text[]);
    return cardinality(v_live);
end
$$;
comment on function tenure.terminate_many(uuid[], text) is
    'Ends sessions by their ids, as terminated or for maintenance; their users keep every other session. How many ended now; others were over already, or are none.';

revoke execute on all functions in schema tenure from public;

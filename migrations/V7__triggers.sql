-- V7 triggers: what follows from a plain write to users, properties, OAuth entities and API keys. They never notify.

-- tenure.note: one event by the current actor.
create function tenure.note(p_type text, p_user_name text, p_reason text, p_details jsonb) returns void
    language sql volatile
    as $$
    insert into tenure.session_events (id, at, type, user_name, actor, reason, node, details)
    select tenure.uuid_v7(n.at), n.at, p_type, p_user_name, tenure.actor(), p_reason, tenure.node(), p_details
      from (select tenure.now() as at offset 0) n
    $$;
comment on function tenure.note(text, text, text, jsonb) is 'Writes one event that is not about a session.';

-- users ---------------------------------------------------------------------------------------------------------------

-- tenure.users_derive: what a user row must say of itself: composed name, lock-out of the inactive (U2), a bumped epoch.
create function tenure.users_derive() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
begin
    new.name := normalize(new.name, nfc);
    if not new.active and (tg_op = 'INSERT' or old.active)
       and tenure.property_value('tenure.lock_out_inactive_users') = 'true' then
        new.locked_out := true;
    end if;
    if tg_op = 'UPDATE' then
        new.epoch := greatest(old.epoch, new.epoch);                                             -- C30: never goes down
        if (new.locked_out and not old.locked_out)
           or (old.active and not new.active and (select p.refuse_inactive from tenure.policies p where p.kind = 'user')) then
            new.epoch := new.epoch + 1;
        end if;
    end if;
    return new;
end
$$;
create trigger users_derive before insert or update on tenure.users
    for each row execute function tenure.users_derive();

-- tenure.users_follow: ends the sessions of users who lost access, writes events and invalidations.
create function tenure.users_follow() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
begin
    if tg_op = 'INSERT' then
        perform tenure.note('user_created', n.name, null, jsonb_build_object('active', n.active, 'locked_out', n.locked_out))
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

    perform tenure.note(e.type, n.name, null, null)
       from new_users n
       join old_users o on o.id = n.id
      cross join lateral unnest(
          case when n.active     <> o.active     then array[case when n.active     then 'user_activated'  else 'user_deactivated' end] end
          || case when n.locked_out <> o.locked_out then array[case when n.locked_out then 'user_locked_out' else 'user_unlocked' end] end
          || case when (n.active, n.locked_out) = (o.active, o.locked_out) then array['user_changed'] end) as e (type)
      where (n.*) is distinct from (o.*);

    perform tenure.invalidate('u', array_agg(n.id::text))
       from new_users n join old_users o on o.id = n.id
      where (n.*) is distinct from (o.*)
     having count(*) > 0;
    return null;
end
$$;
create trigger users_follow_insert after insert on tenure.users referencing new table as new_users
    for each statement execute function tenure.users_follow();
create trigger users_follow_update after update on tenure.users referencing old table as old_users new table as new_users
    for each statement execute function tenure.users_follow();
create trigger users_follow_delete after delete on tenure.users referencing old table as old_users
    for each statement execute function tenure.users_follow();
create trigger users_refuse_truncate before truncate on tenure.users
    for each statement execute function tenure.refuse_truncate();

-- properties ----------------------------------------------------------------------------------------------------------

-- tenure.properties_check: one value by itself (P2).
create function tenure.properties_check() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
declare
    v_problem text;
begin
    perform from tenure.property_catalogue c where c.name = new.name;
    if not found then
        perform tenure.refuse(404, 'unknown_property', format('There is no property %L.', left(new.name, 128)),
                              'List the properties to see their names.');
    end if;
    v_problem := tenure.property_problem(new.name, new.value);
    if v_problem is not null then
        perform tenure.refuse(422, 'invalid_value', v_problem, 'The catalogue of properties lists each with its range.');
    end if;
    new.updated_at := tenure.now();
    return new;
end
$$;
create trigger properties_check before insert or update on tenure.properties
    for each row execute function tenure.properties_check();

-- tenure.properties_follow: validates relations, rewrites the policies, ends what is due, writes events and invalidations (P3, P5, A11).
create function tenure.properties_follow() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
declare
    v_old      jsonb := '{}';
    v_new      jsonb := '{}';
    v_before   jsonb;
    v_after    jsonb;
    v_broken   record;
    v_policies tenure.policies[];
    v_name     text;
begin
    -- Writers queue here, in one order; a writer with an older snapshot gets a serialization error instead of a stale verdict.
    perform from tenure.policies p order by p.kind for no key update;
    update tenure.policies p set revision = p.revision + 1;

    if tg_op in ('UPDATE', 'DELETE') then
        select coalesce(jsonb_object_agg(o.name, o.value), '{}') into v_old from old_properties o;
    end if;
    if tg_op in ('INSERT', 'UPDATE') then
        select coalesce(jsonb_object_agg(n.name, n.value), '{}') into v_new from new_properties n;
    end if;
    v_after  := tenure.property_rows();
    v_before := (v_after - array(select jsonb_object_keys(v_new))) || v_old;

    select b.* into v_broken
      from tenure.broken_relations(v_after) b
     where not (b.forceable and tenure.forced())
       and not exists (select from tenure.broken_relations(v_before) h where h.name = b.name and h.other = b.other)
     limit 1;
    if found then
        perform tenure.refuse(422, 'relation_broken', v_broken.message,
                              case when v_broken.forceable then 'Change the other property first, or force it: the earlier limit then wins.'
                                   else 'Change the other property first.' end);
    end if;

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
           ajax_resubmit        = r.ajax_resubmit
      from tenure.resolved_policies(v_after) r
     where r.kind = p.kind;
    perform tenure.settle_policy_change(v_policies);

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
create trigger properties_follow_insert after insert on tenure.properties referencing new table as new_properties
    for each statement execute function tenure.properties_follow();
create trigger properties_follow_update after update on tenure.properties referencing old table as old_properties new table as new_properties
    for each statement execute function tenure.properties_follow();
create trigger properties_follow_delete after delete on tenure.properties referencing old table as old_properties
    for each statement execute function tenure.properties_follow();
create trigger properties_refuse_truncate before truncate on tenure.properties
    for each statement execute function tenure.refuse_truncate();

-- tenure.settle_policy_change: ends, in the transaction of the change, what was due under the old policies, and what the new ones
-- move into the past; then owes the job that lowers due_at (A11).
create function tenure.settle_policy_change(p_old tenure.policies[]) returns void
    language plpgsql
    as $$
declare
    v_now      timestamptz := tenure.now();
    v_kinds    text[];
    v_due      uuid[];
    v_causes   text[];
    v_ats      timestamptz[];
    v_ids      uuid[];
    v_reasons  text[];
    v_live     bigint;
begin
    select array_agg(p.kind)
      into v_kinds
      from tenure.policies p
      join unnest(p_old) o on o.kind = p.kind
     where (p.max_life_seconds, p.remember_me_seconds, p.residue_seconds, p.refuse_inactive)
           is distinct from (o.max_life_seconds, o.remember_me_seconds, o.residue_seconds, o.refuse_inactive)
           -- The mobile window is frozen in the session: the idle limit does not touch it.
        or (p.kind <> 'mobile' and (p.idle_seconds, p.auto_refresh_extends) is distinct from (o.idle_seconds, o.auto_refresh_extends));
    if v_kinds is null then
        return;
    end if;

    -- policy_change_scan: no lock is taken on sessions that live on.
    select array_agg(s.id), count(*) filter (where was.expires_at > v_now)
      into v_ids, v_live
      from tenure.sessions s
      join unnest(p_old) o   on o.kind = s.kind
      join tenure.policies p on p.kind = s.kind
      left join tenure.users u on u.id = s.user_id and not u.active
     cross join lateral tenure.limits(s, o) was
     cross join lateral tenure.limits(s, p) becomes
     where s.kind = any (v_kinds)
       and (was.expires_at <= v_now or becomes.expires_at <= v_now or (p.refuse_inactive and u.id is not null));

    -- Refused before any row is locked: a check must not wait for a change that will not happen.
    if v_live > 10000 and not tenure.forced() then
        perform tenure.refuse(409, 'too_many_endings', format('The change would end %s live sessions at once; more than 10,000 need force.', v_live),
                              'Repeat it with force, or choose a longer limit.');
    end if;

    if v_ids is not null then
        -- policy_change_judge: judged again under the row locks, so that activity recorded meanwhile counts.
        -- What was over already ends as what it was, by the store itself; the rest by whoever made the change.
        select array_agg(d.id order by d.id) filter (where d.was_over), array_agg(d.was_reason order by d.id) filter (where d.was_over),
               array_agg(d.was_at order by d.id) filter (where d.was_over),
               array_agg(d.id order by d.id) filter (where not d.was_over), array_agg(d.reason order by d.id) filter (where not d.was_over)
          into v_due, v_causes, v_ats, v_ids, v_reasons
          from (select s.id, was.expires_at <= v_now as was_over, was.reason as was_reason, was.expires_at as was_at,
                       case when becomes.expires_at <= v_now then becomes.reason else 'inactivated' end as reason
                  from tenure.sessions s
                  join unnest(p_old) o   on o.kind = s.kind
                  join tenure.policies p on p.kind = s.kind
                  left join tenure.users u on u.id = s.user_id and not u.active
                 cross join lateral tenure.limits(s, o) was
                 cross join lateral tenure.limits(s, p) becomes
                 where s.id = any (v_ids)
                   and (was.expires_at <= v_now or becomes.expires_at <= v_now or (p.refuse_inactive and u.id is not null))
                 order by s.id
                   for update of s) d;
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
comment on function tenure.settle_policy_change(tenure.policies[]) is
    'Ends what a change of policies makes due and owes the lowering job; given the policies from before. Only properties_follow calls it.';

-- OAuth entities and API keys ---------------------------------------------------------------------------------------------

-- tenure.oauth_entities_follow: one event per changed client application.
create function tenure.oauth_entities_follow() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
begin
    if tg_op = 'DELETE' then
        perform tenure.note('oauth_entity_deleted', null, null, jsonb_build_object('name', o.name)) from old_rows o;
    else
        perform tenure.note(case tg_op when 'INSERT' then 'oauth_entity_created' else 'oauth_entity_changed' end, null, null,
                            jsonb_build_object('name', n.name, 'access_token_lifespan', n.access_token_lifespan,
                                               'refresh_token_lifespan', n.refresh_token_lifespan))
           from new_rows n;
    end if;
    return null;
end
$$;
create trigger oauth_entities_follow_insert after insert on tenure.oauth_entities referencing new table as new_rows
    for each statement execute function tenure.oauth_entities_follow();
create trigger oauth_entities_follow_update after update on tenure.oauth_entities referencing old table as old_rows new table as new_rows
    for each statement execute function tenure.oauth_entities_follow();
create trigger oauth_entities_follow_delete after delete on tenure.oauth_entities referencing old table as old_rows
    for each statement execute function tenure.oauth_entities_follow();
create trigger oauth_entities_refuse_truncate before truncate on tenure.oauth_entities
    for each statement execute function tenure.refuse_truncate();

-- tenure.api_keys_follow: one event per key made, changed or revoked, and what caches must forget.
create function tenure.api_keys_follow() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
begin
    if tg_op = 'INSERT' then
        perform tenure.note('api_key_created', null, null, jsonb_build_object('name', n.name, 'role', n.role)) from new_rows n;
    elsif tg_op = 'UPDATE' then
        perform tenure.note('api_key_changed', null, null, jsonb_build_object('name', n.name, 'role', n.role)) from new_rows n;
        perform tenure.invalidate('k', array_agg(n.id::text)) from new_rows n having count(*) > 0;
    else
        perform tenure.note('api_key_revoked', null, null, jsonb_build_object('name', o.name, 'role', o.role)) from old_rows o;
        perform tenure.invalidate('k', array_agg(o.id::text)) from old_rows o having count(*) > 0;
    end if;
    return null;
end
$$;
create trigger api_keys_follow_insert after insert on tenure.api_keys referencing new table as new_rows
    for each statement execute function tenure.api_keys_follow();
create trigger api_keys_follow_update after update on tenure.api_keys referencing old table as old_rows new table as new_rows
    for each statement execute function tenure.api_keys_follow();
create trigger api_keys_follow_delete after delete on tenure.api_keys referencing old table as old_rows
    for each statement execute function tenure.api_keys_follow();
create trigger api_keys_refuse_truncate before truncate on tenure.api_keys
    for each statement execute function tenure.refuse_truncate();

create trigger sessions_refuse_truncate before truncate on tenure.sessions
    for each statement execute function tenure.refuse_truncate();

do $$
declare
    v_function text;
begin
    foreach v_function in array array['users_derive', 'users_follow', 'properties_check', 'properties_follow', 'oauth_entities_follow', 'api_keys_follow'] loop
        execute format('comment on function tenure.%I() is %L', v_function, 'Trigger function: see the triggers of the same name.');
    end loop;
end
$$;

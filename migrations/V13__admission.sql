-- V13 admission: who may sign in: limits of concurrent sessions (X5), and maintenance, which refuses sign-ins and ends the rest (X3).

-- tenure.utc_instant: text as an instant, if it is one as RFC 3339 writes it in UTC.
create function tenure.utc_instant(p_text text) returns timestamptz
    language plpgsql stable
    as $$
begin
    -- PostgreSQL takes 24:00:00 and a sixtieth second too, and makes another instant of them.
    return case when p_text ~ '^[12][0-9]{3}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,6})?Z$' then p_text::timestamptz end;
exception
    when datetime_field_overflow or invalid_datetime_format then
        return null;
end
$$;
comment on function tenure.utc_instant(text) is 'An instant written as RFC 3339 has it, in UTC, such as 2027-03-01T22:00:00Z; null for any other text.';

insert into tenure.property_catalogue (name, type, unit, default_value, minimum, maximum, zero_is_off, description, choices) values
    ('tenure.user.max_sessions',           'integer', 'sessions', '0',          1,    1000, true,  'How many live sessions of kind user one user may have; 0 is off. Judged at each sign-in.', null),
    ('tenure.integration.max_sessions',    'integer', 'sessions', '0',          1,    1000, true,  'How many live sessions of kind integration one user may have; 0 is off. Judged at each sign-in.', null),
    ('tenure.mobile.max_sessions',         'integer', 'sessions', '0',          1,    1000, true,  'How many live sessions of kind mobile one user may have; 0 is off. Judged at each sign-in.', null),
    ('tenure.user.at_max_sessions',        'string',  null,       'end_idlest', null, null, false, 'What a sign-in beyond tenure.user.max_sessions does: end the session idle for longest, end the oldest, or be refused.', '{end_idlest,end_oldest,reject}'),
    ('tenure.integration.at_max_sessions', 'string',  null,       'end_idlest', null, null, false, 'What a sign-in beyond tenure.integration.max_sessions does: end the session idle for longest, end the oldest, or be refused.', '{end_idlest,end_oldest,reject}'),
    ('tenure.mobile.at_max_sessions',      'string',  null,       'end_idlest', null, null, false, 'What a sign-in beyond tenure.mobile.max_sessions does: end the session idle for longest, end the oldest, or be refused.', '{end_idlest,end_oldest,reject}'),
    ('tenure.maintenance_at',              'string',  null,       null,         null, null, false, 'When maintenance begins, an instant in UTC: every session begun before it ends then. While it is set only users with role admin can sign in.', null);

alter table tenure.policies
    add column max_sessions    int,
    add column at_max_sessions text not null default 'end_idlest',
    add column maintenance_at  timestamptz,
    add constraint policies_max_sessions_check    check (max_sessions is null or max_sessions between 1 and 1000 and kind <> 'guest'),
    add constraint policies_at_max_sessions_check check (at_max_sessions in ('end_idlest', 'end_oldest', 'reject'));
comment on column tenure.policies.max_sessions    is 'How many live sessions of this kind one user may have; null when off.';
comment on column tenure.policies.at_max_sessions is 'What a sign-in beyond max_sessions does: end_idlest, end_oldest or reject.';
comment on column tenure.policies.maintenance_at  is 'tenure.maintenance_at: when every session begun before it ends; null without maintenance.';

-- tenure.property_problem: as in V3, and an instant.
create or replace function tenure.property_problem(p_name text, p_value text) returns text
    language sql stable
    as $$
    select case
               when c.type = 'boolean' and p_value not in ('true', 'false') then
                   format('%s is a boolean: exactly true or false.', p_name)
               when c.choices is not null and p_value <> all (c.choices) then
                   format('%s is one of: %s.', p_name, array_to_string(c.choices, ', '))
               when p_name = 'tenure.maintenance_at' and tenure.utc_instant(p_value) is null then
                   format('%s is an instant in UTC, such as 2027-03-01T22:00:00Z.', p_name)
               when c.minimum is not null and p_value !~ '^(0|[1-9][0-9]{0,8})$' then
                   format('%s is a whole number of %s without sign, spaces or leading zeros.', p_name, c.unit)
               when c.minimum is not null and not (p_value::int between c.minimum and c.maximum or (c.zero_is_off and p_value::int = 0)) then
                   format('%s is %s%s to %s %s.', p_name, case when c.zero_is_off then '0 (off) or ' else '' end, c.minimum, c.maximum, c.unit)
           end
      from tenure.property_catalogue c
     where c.name = p_name
    $$;

-- tenure.accepted_value: the value a property takes when it is set: refuses what does not fit, and a maintenance that should have
-- begun begins now. One that has begun since that instant stays: whoever asks twice ends nothing that began in between.
create function tenure.accepted_value(p_name text, p_value text) returns text
    language plpgsql
    as $$
declare
    v_now     timestamptz := tenure.now();
    v_problem text;
    v_begun   text;
begin
    perform from tenure.property_catalogue c where c.name = p_name;
    if not found then
        perform tenure.refuse(404, 'unknown_property', format('There is no property %L.', left(p_name, 128)),
                              'List the properties to see their names.');
    end if;
    v_problem := tenure.property_problem(p_name, p_value);
    if v_problem is not null then
        perform tenure.refuse(422, 'invalid_value', v_problem, 'The catalogue of properties lists each with its range.');
    end if;
    if p_name = 'tenure.maintenance_at' and tenure.utc_instant(p_value) <= v_now then
        select o.value into v_begun
          from tenure.properties o
         where o.name = p_name and tenure.utc_instant(o.value) between tenure.utc_instant(p_value) and v_now;
        return coalesce(v_begun, to_char(v_now at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'));
    end if;
    return p_value;
end
$$;
comment on function tenure.accepted_value(text, text) is
    'The value that setting a property leaves: the given one, or now for a maintenance in the past; refuses unknown names and values that do not fit.';

-- tenure.close_admission: waits for the sign-ins under way, and from the moment it waits until this transaction ends none begins:
-- they are refused rather than queued, and so they wait for nothing while they hold what somebody else may need.
create function tenure.close_admission() returns void
    language plpgsql set lock_timeout = '2s'
    as $$
begin
    perform pg_advisory_xact_lock(hashtextextended('tenure.maintenance', 0));
exception
    when lock_not_available then
        perform tenure.refuse(503, 'sign_ins_under_way', 'Maintenance waited two seconds for a sign-in, an import or another maintenance under way. Nothing was changed.',
                              'Ask again; if it stays so, see who holds the advisory lock (pg_locks).');
end
$$;
comment on function tenure.close_admission() is
    'Lets no sign-in begin before the end of this transaction, once those under way are done; refused when that takes more than two seconds.';

-- tenure.properties_check: as in V7, by tenure.accepted_value. A new maintenance comes after every sign-in under way: a session that one
-- of them began later than an instant ahead would outlive it. So the instant is compared with the clock once they are done.
create or replace function tenure.properties_check() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
declare
    v_value text := tenure.accepted_value(new.name, new.value);
begin
    -- Also for the value that is there: while this waits for the row, somebody may be lifting it.
    if new.name = 'tenure.maintenance_at' then
        perform tenure.close_admission();
        v_value := tenure.accepted_value(new.name, new.value);
    end if;
    new.value      := v_value;
    new.updated_at := tenure.now();
    return new;
end
$$;

-- tenure.resolved_policies: as in V10, with limits of concurrent sessions and maintenance.
drop function tenure.resolved_policies(jsonb);
create function tenure.resolved_policies(p_rows jsonb)
    returns table (kind text, idle_seconds int, max_life_seconds int, remember_me_seconds int, residue_seconds int, prompt_seconds int,
                   auto_refresh_extends boolean, refuse_inactive boolean, ajax_prompt boolean, ajax_resubmit boolean, heartbeat_seconds int,
                   max_sessions int, at_max_sessions text, maintenance_at timestamptz)
    language sql stable
    as $$
    with value as materialized (
        select c.name, tenure.property_value(c.name, p_rows) as value from tenure.property_catalogue c
    ), v as materialized (
        select max(value::int)     filter (where name = 'glide.ui.session_timeout')                                       as user_idle,
               max(value::int)     filter (where name = 'glide.guest.session_timeout')                                    as guest_idle,
               max(value::int)     filter (where name = 'glide.integration.session_timeout')                              as integration_idle,
               nullif(max(value::int) filter (where name = 'glide.ui.active.session.life_span'), 0)                       as user_life,
               nullif(max(value::int) filter (where name = 'glide.guest.active.session.life_span'), 0)                    as guest_life,
               nullif(max(value::int) filter (where name = 'glide.integrations.active.session.life_span'), 0)             as integration_life,
               nullif(max(value::int) filter (where name = 'tenure.mobile.active.session.life_span'), 0)                  as mobile_life,
               max(value::int)     filter (where name = 'tenure.mobile.heartbeat_seconds')                                as heartbeat,
               max(value::int)     filter (where name = 'glide.ui.user_cookie.life_span_in_days')                         as remember_me_days,
               max(value::int)     filter (where name = 'glide.unauthorized.session_timeout')                             as residue,
               max(value::int)     filter (where name = 'glide.ui.session_timeleft')                                      as prompt,
               bool_and(value = 'true') filter (where name = 'glide.active.session.timeout.invalidate.session')           as integration_life_on,
               bool_and(value = 'true') filter (where name = 'glide.ui.forgetme')                                         as forget_me,
               bool_and(value = 'true') filter (where name = 'glide.session.unauthorized.timeout.enabled')                as residue_on,
               bool_and(value = 'true') filter (where name = 'glide.ui.auto_req.extend.session')                          as auto_refresh_extends,
               bool_and(value = 'true') filter (where name = 'glide.authenticate.only.allow.active.user.login')           as refuse_inactive,
               bool_and(value = 'true') filter (where name = 'glide.security.csrf.handle.ajax.timeout')                   as ajax_prompt,
               bool_and(value = 'true') filter (where name = 'glide.security.auto.resubmit.ajax')                         as ajax_resubmit,
               tenure.utc_instant(max(value) filter (where name = 'tenure.maintenance_at'))                               as maintenance_at
          from value
    )
    select k.kind, k.idle * 60, k.life * 60, k.remember_me_days * 86400, k.residue * 60, k.prompt * 60,
           v.auto_refresh_extends, v.refuse_inactive, v.ajax_prompt, v.ajax_resubmit, k.heartbeat,
           nullif(m.max_sessions, 0), coalesce(m.at_max_sessions, 'end_idlest'), v.maintenance_at
      from v
     cross join lateral (
         values ('user',        v.user_idle,        v.user_life,  case when not v.forget_me then v.remember_me_days end, null::int, v.prompt, null::int),
                ('guest',       v.guest_idle,       v.guest_life, null::int, case when v.residue_on then v.residue end,  0,        null::int),
                ('integration', v.integration_idle, case when v.integration_life_on then v.integration_life end, null::int, null::int, 0, null::int),
                ('mobile',      v.user_idle,        v.mobile_life, null::int, null::int, 0, v.heartbeat)
     ) as k (kind, idle, life, remember_me_days, residue, prompt, heartbeat)
      -- Guests have no user, and so no such property.
     cross join lateral (
         select max(value.value::int) filter (where value.name = 'tenure.' || k.kind || '.max_sessions')    as max_sessions,
                max(value.value)      filter (where value.name = 'tenure.' || k.kind || '.at_max_sessions') as at_max_sessions
           from value
     ) as m
    $$;
comment on function tenure.resolved_policies(jsonb) is 'The limits per kind in seconds under given overrides: what policies holds, or would hold.';

-- tenure.properties_follow: as in V10, with limits of concurrent sessions and maintenance.
create or replace function tenure.properties_follow() returns trigger
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
    if tg_op in ('UPDATE', 'DELETE') then
        select coalesce(jsonb_object_agg(o.name, o.value), '{}') into v_old from old_properties o;
    end if;
    if tg_op in ('INSERT', 'UPDATE') then
        select coalesce(jsonb_object_agg(n.name, n.value), '{}') into v_new from new_properties n;
    end if;
    if v_old = '{}' and v_new = '{}' then
        return null;
    end if;

    -- Writers queue here, in one order; a writer with an older snapshot gets a serialization error instead of a stale verdict.
    perform from tenure.policies p order by p.kind for no key update;
    update tenure.policies p set revision = p.revision + 1;

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
           ajax_resubmit        = r.ajax_resubmit,
           heartbeat_seconds    = r.heartbeat_seconds,
           max_sessions         = r.max_sessions,
           at_max_sessions      = r.at_max_sessions,
           maintenance_at       = r.maintenance_at
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

-- tenure.settle_policy_change: as in V7, and what maintenance ends. A limit of concurrent sessions ends nothing before the next sign-in.
create or replace function tenure.settle_policy_change(p_old tenure.policies[]) returns void
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
     where (p.max_life_seconds, p.remember_me_seconds, p.residue_seconds, p.refuse_inactive, p.maintenance_at)
           is distinct from (o.max_life_seconds, o.remember_me_seconds, o.residue_seconds, o.refuse_inactive, o.maintenance_at)
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

-- tenure.limits: as in V5, and maintenance: what began before it ends with it.
create or replace function tenure.limits(s tenure.sessions, p tenure.policies)
    returns table (idle_deadline_at timestamptz, max_life_deadline_at timestamptz, remember_me_deadline_at timestamptz,
                   residue_deadline_at timestamptz, expires_at timestamptz, reason text)
    language sql stable
    as $$
    select l.idle, l.max_life, l.remember_me, l.residue,
           least(l.max_life, l.remember_me, l.residue, l.maintenance, l.idle),
           case least(l.max_life, l.remember_me, l.residue, l.maintenance, l.idle)      -- on a tie the first named wins (A11)
               when l.max_life    then 'max_life'
               when l.remember_me then 'remember_me'
               when l.residue     then 'residue'
               when l.maintenance then 'maintenance'
               else 'idle'
           end
      from (select case
                       when s.kind = 'mobile'                                          -- M3
                           then s.anchor_at + make_interval(secs => s.window_seconds)
                       when s.remember_me and p.remember_me_seconds is not null        -- A8: no idle limit
                           then null
                       when s.refresh_seconds is not null and s.device = 'desktop' and not p.auto_refresh_extends   -- A6
                           then s.anchor_at + make_interval(secs => coalesce(s.idle_limit_seconds, p.idle_seconds) + s.refresh_seconds)
                       else s.anchor_at + make_interval(secs => coalesce(s.idle_limit_seconds, p.idle_seconds))     -- A2, K5
                   end                                                                 as idle,
                   s.created_at + make_interval(secs => p.max_life_seconds)            as max_life,       -- A9
                   case when s.remember_me then s.created_at + make_interval(secs => p.remember_me_seconds) end as remember_me,
                   case when s.residue then s.created_at + make_interval(secs => p.residue_seconds) end as residue,     -- K4
                   case when s.created_at < p.maintenance_at then p.maintenance_at end as maintenance           -- X3
           ) as l
    $$;

-- tenure.session_facts: as in V10, with maintenance.
create or replace view tenure.session_facts as
select s.id, s.token_hash, s.kind, u.name as user_name, s.device, s.remember_me, s.residue, s.created_at, s.anchor_at, s.refresh_seconds,
       s.idle_limit_seconds, s.window_seconds, o.name as oauth_entity, tenure.shown_app_state(s, p, (select tenure.now())) as app_state, s.app_state_at, s.node, s.user_id,
       a.client_address, a.user_agent,
       exists (select from tenure.open_transactions t where t.session_id = s.id) as active,
       tenure.barred(s, u, p) as barred, l.expires_at, (select tenure.now()) as now,
       p.idle_seconds, p.max_life_seconds, p.remember_me_seconds, p.residue_seconds, p.prompt_seconds, p.auto_refresh_extends,
       p.ajax_prompt, p.ajax_resubmit, p.maintenance_at
  from tenure.sessions s
  join tenure.policies p                on p.kind = s.kind
  left join tenure.users u              on u.id = s.user_id
  left join tenure.session_attributes a on a.session_id = s.id
  left join tenure.oauth_entities o     on o.id = s.oauth_entity_id
 cross join lateral tenure.limits(s, p) l;
comment on column tenure.session_facts.maintenance_at is 'tenure.maintenance_at: when every session begun before it ends; null without maintenance.';

-- tenure.make_room: makes room for one more session of a user and kind (X5), or refuses. Only sign_in calls it, with the user row
-- locked: no other session of the user can begin meanwhile, and those there are can only become fewer. What is over by its deadline
-- or its user does not count, and ends as what it was.
create function tenure.make_room(p_user tenure.users, p_kind text, p_guest_id uuid) returns bigint
    language plpgsql
    as $$
declare
    -- As many as end well within the time a sign-in has.
    c_most    constant int := 5000;
    v_policy  tenure.policies;
    v_now     timestamptz := tenure.now();
    v_live    bigint;
    v_picked  uuid[];
    v_rest    uuid[];
    v_over    uuid[];
    v_causes  text[];
    v_ats     timestamptz[];
    v_surplus uuid[];
    v_revived bigint;
begin
    select * into v_policy from tenure.policies p where p.kind = p_kind;
    if v_policy.max_sessions is null then
        return 0;
    end if;
    -- An older snapshot would miss the session that the sign-in before this one began.
    if current_setting('transaction_isolation') <> 'read committed' then
        perform tenure.refuse(409, 'isolation_level', 'Sign-ins under a limit of concurrent sessions are counted at READ COMMITTED only.',
                              'Begin the transaction at READ COMMITTED.');
    end if;
    -- make_room_pick
    with held as materialized (
        select s.id, s.created_at, s.anchor_at, l.expires_at > v_now and tenure.barred(s, p_user, v_policy) is null as live
          from tenure.sessions s
         cross join lateral tenure.limits(s, v_policy) l
         where s.user_id = p_user.id
           and s.kind = p_kind
    ), ranked as (
        select h.id, count(*) over () as live,
               row_number() over (order by case v_policy.at_max_sessions when 'end_idlest' then h.anchor_at else h.created_at end,
                                           h.created_at, h.id) as place
          from held h
         where h.live
    )
    select (select count(*) from ranked),
           array(select r.id from ranked r where r.place <= r.live - v_policy.max_sessions + 1),
           array(select h.id from held h where not h.live limit c_most)
      into v_live, v_picked, v_rest;
    if cardinality(v_picked) > 0 and v_policy.at_max_sessions = 'reject' then
        perform tenure.refuse(409, 'session_limit_reached',
                              format('The user has %s live sessions of kind %s, and may have %s at once.', v_live, p_kind, v_policy.max_sessions),
                              'Sign out of one of them, or have one ended, and sign in again.');
    elsif cardinality(v_picked) > c_most then
        perform tenure.refuse(409, 'session_limit_reached',
                              format('The user has %s live sessions of kind %s, and may have %s at once; a sign-in ends %s at most.',
                                     v_live, p_kind, v_policy.max_sessions, c_most),
                              'An administrator has to end some of them, with tenure sessions terminate, or to raise the limit.');
    elsif cardinality(v_picked || v_rest) = 0 then
        return 0;
    end if;
    -- All locks at once, in one order with every other statement. Those that have ended meanwhile leave more room than is needed;
    -- a check under way may have moved an anchor: what was on record when it was counted decides.
    perform from tenure.sessions s where s.id = any (v_picked || v_rest || p_guest_id) order by s.id for update;
    v_now := tenure.now();
    -- make_room_judge
    select array_agg(d.id    order by d.id) filter (where d.cause is not null),
           array_agg(d.cause order by d.id) filter (where d.cause is not null),
           array_agg(d.at    order by d.id) filter (where d.cause is not null),
           array_agg(d.id    order by d.id) filter (where d.cause is null),
           count(*) filter (where d.cause is null and d.id = any (v_rest))
      into v_over, v_causes, v_ats, v_surplus, v_revived
      from (select s.id, least(l.expires_at, v_now) as at,
                   coalesce(case when l.expires_at <= v_now then l.reason end, tenure.barred(s, p_user, v_policy)) as cause
              from tenure.sessions s
             cross join lateral tenure.limits(s, v_policy) l
             where s.id = any (v_picked || v_rest)) d;
    if v_revived > 0 then
        raise exception using errcode = 'serialization_failure',
                              message = 'A check kept a session of the user alive at its deadline, while the sign-in counted it as over.',
                              hint    = 'Repeat the sign-in: it counts again.';
    end if;
    if v_over is not null then
        perform tenure.end_sessions(v_over, v_causes, v_ats, 'tenure');
    end if;
    if v_surplus is null then
        return 0;
    end if;
    perform tenure.invalidate('s', v_surplus::text[]);
    return tenure.end_sessions(v_surplus, array_fill('concurrent_limit'::text, array[cardinality(v_surplus)]),
                               array_fill(v_now, array[cardinality(v_surplus)]), tenure.actor());
end
$$;
comment on function tenure.make_room(tenure.users, text, uuid) is
    'Ends as many live sessions of a user and kind as a sign-in needs to stay within their limit, or refuses it; how many it ended. Only sign_in calls it.';

-- tenure.refuse_in_maintenance: refuses a sign-in while maintenance is set, but for administrators.
create function tenure.refuse_in_maintenance(p_kind text, p_roles text[]) returns void
    language plpgsql
    as $$
declare
    v_at timestamptz;
begin
    select p.maintenance_at into v_at from tenure.policies p where p.kind = p_kind;
    if v_at is not null and not coalesce('admin' = any (p_roles), false) then
        perform tenure.refuse(503, 'maintenance',
                              format('Nobody can sign in: maintenance %s at %s.', case when v_at > tenure.now() then 'begins' else 'began' end,
                                     to_char(v_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')),
                              'Sign in when it is over. Users with role admin can sign in.');
    end if;
end
$$;
comment on function tenure.refuse_in_maintenance(text, text[]) is 'Refuses who signs in during maintenance without role admin.';

-- tenure.enter_admission: false while a maintenance is being set; true: none can be before this transaction ends, and tenure.policies
-- says whether there is one. It waits for nobody at READ COMMITTED. Above, a snapshot could be older than the maintenance:
-- this lock then fails to serialize instead of missing it.
create function tenure.enter_admission(p_kind text) returns boolean
    language plpgsql
    as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        perform from tenure.policies p where p.kind = p_kind for share;
    end if;
    return pg_try_advisory_xact_lock_shared(hashtextextended('tenure.maintenance', 0));
end
$$;
comment on function tenure.enter_admission(text) is
    'Keeps maintenance from being set until this transaction ends; false when somebody is setting it now.';

-- tenure.sign_in: as in V10, with maintenance and the limit of concurrent sessions. The user row is locked before anything is counted,
-- in a statement of its own: one statement would count what its snapshot showed before it waited.
drop function tenure.sign_in(text, text, bytea, boolean, text, int, int, uuid, bytea, boolean, inet, text, jsonb, text, bytea, bytea);
create function tenure.sign_in(p_kind text, p_user text, p_token_hash bytea, p_remember_me boolean, p_device text, p_refresh_minutes int,
                               p_idle_limit_minutes int, p_guest_id uuid, p_guest_token_hash bytea, p_carry_attributes boolean,
                               p_client_address inet, p_user_agent text, p_attributes jsonb,
                               p_oauth_entity text default null, p_refresh_hash bytea default null, p_access_hash bytea default null,
                               out id uuid, out displaced bigint)
    language plpgsql
    as $$
declare
    v_user    tenure.users;
    v_entity  tenure.oauth_entities;
    v_session tenure.sessions;
    v_guest   jsonb;
    v_attributes jsonb := p_attributes;
begin
    if p_kind in ('user', 'integration', 'mobile') then
        -- sign_in_lock_user
        select * into v_user from tenure.users u
         where lower(u.name collate "und-x-icu") = lower(p_user collate "und-x-icu")
           for no key update;
        if not found then
            perform tenure.refuse(404, 'unknown_user', 'There is no user of this name.', 'Create the user with PUT /v1/users/{name}, or check the spelling.');
        elsif v_user.locked_out then
            perform tenure.refuse(403, 'user_locked_out', 'The user is locked out and cannot sign in.', 'An administrator can unlock the user.');
        elsif not v_user.active and (select p.refuse_inactive from tenure.policies p where p.kind = p_kind) then
            perform tenure.refuse(403, 'user_inactive', 'The user is inactive and only active users may sign in.', 'An administrator can activate the user.');
        end if;
    end if;

    perform tenure.refuse_in_maintenance(p_kind, v_user.roles);                                  -- X3

    if p_kind = 'mobile' then
        select * into v_entity from tenure.oauth_entities e where e.name = p_oauth_entity for key share;
        if not found then
            perform tenure.refuse(404, 'unknown_oauth_entity', 'There is no OAuth entity of this name.',
                                  'Create it with PUT /v1/oauth-entities/{name}, or check the spelling.');
        end if;
        v_session.oauth_entity_id := v_entity.id;
        v_session.window_seconds  := greatest(v_entity.refresh_token_lifespan, v_entity.access_token_lifespan,       -- M2
                                              (select max(p.idle_seconds) from tenure.policies p where p.kind in ('user', 'integration')));
    end if;

    displaced := case when v_user.id is null then 0 else tenure.make_room(v_user, p_kind, p_guest_id) end;                       -- X5

    if p_guest_id is not null then                                                               -- K3
        select tenure.end_guest(p_guest_id, p_guest_token_hash) into v_guest;
        if p_carry_attributes and v_guest is not null then
            v_attributes := v_guest || p_attributes;
        end if;
    end if;

    -- sign_in_admission: only now, when nothing is left to wait for: a maintenance that is set waits for whoever passed here, and
    -- whoever comes later finds it.
    if not tenure.enter_admission(p_kind) then
        perform tenure.refuse(503, 'maintenance', 'Nobody can sign in at this moment: maintenance is being announced.',
                              'Sign in when it is over. Users with role admin can sign in a moment later.');
    end if;
    perform tenure.refuse_in_maintenance(p_kind, v_user.roles);

    v_session.token_hash         := p_token_hash;
    v_session.kind               := p_kind;
    v_session.user_id            := v_user.id;
    v_session.user_epoch         := v_user.epoch;
    v_session.device             := p_device;
    v_session.created_at         := tenure.now();
    v_session.idle_limit_seconds := p_idle_limit_minutes * 60;
    if p_kind = 'user' then
        v_session.remember_me     := coalesce(p_remember_me, tenure.property_value('glide.ui.remember.me.default')::boolean);
        v_session.refresh_seconds := coalesce(p_refresh_minutes, v_user.homepage_refresh_minutes) * 60;
    end if;
    id := tenure.start_session(v_session, v_user.name, p_client_address, p_user_agent, v_attributes);
    if p_kind = 'mobile' then
        perform tenure.issue_tokens(id, v_session.created_at, p_refresh_hash, make_interval(secs => v_entity.refresh_token_lifespan),
                                    p_access_hash, v_entity.access_token_lifespan);
    end if;
end
$$;
comment on function tenure.sign_in(text, text, bytea, boolean, text, int, int, uuid, bytea, boolean, inet, text, jsonb, text, bytea, bytea) is
    'Starts a session: its id, and how many others of its user it ended to stay within their limit. It refuses unknown, locked-out and, where they have no access, inactive users, unknown client applications, and nearly everybody during maintenance.';

-- tenure.sign_out: as in V6, and during maintenance nothing stays behind: a guest session begun after it would outlive it (X3).
create or replace function tenure.sign_out(p_id uuid, p_guest_token_hash bytea) returns uuid
    language plpgsql
    as $$
declare
    v_session tenure.sessions;
    v_where   tenure.session_attributes;
    v_guest   tenure.sessions;
begin
    select * into v_session from tenure.sessions s where s.id = p_id for update;
    select * into v_where from tenure.session_attributes a where a.session_id = p_id;
    if not tenure.terminate(p_id, 'signed_out') or v_session.kind <> 'user' then
        return null;
    end if;
    v_guest.token_hash := p_guest_token_hash;
    v_guest.kind       := 'guest';
    v_guest.device     := v_session.device;
    v_guest.residue    := true;
    v_guest.created_at := tenure.now();
    if not tenure.enter_admission('guest')
       or exists (select from tenure.policies p where p.kind = 'guest' and p.maintenance_at <= v_guest.created_at) then
        return null;
    end if;
    return tenure.start_session(v_guest, null, v_where.client_address, v_where.user_agent, '{}');
end
$$;
comment on function tenure.sign_out(uuid, bytea) is
    'Ends a session by its own client; the id of the guest session left behind, or null for other kinds, sessions already over, and during maintenance.';

-- tenure.sign_in_once: as in V12, and without a key every sign-in: there is one way in.
drop function tenure.sign_in_once(uuid, bytea, bytea, text, text, bytea, boolean, text, int, int, uuid, bytea, boolean, inet, text, jsonb, text, bytea, bytea);
create function tenure.sign_in_once(p_api_key_id uuid, p_key_hash bytea, p_request_hash bytea, p_kind text, p_user text, p_token_hash bytea,
                                    p_remember_me boolean, p_device text, p_refresh_minutes int, p_idle_limit_minutes int, p_guest_id uuid,
                                    p_guest_token_hash bytea, p_carry_attributes boolean, p_client_address inet, p_user_agent text,
                                    p_attributes jsonb, p_oauth_entity text default null, p_refresh_hash bytea default null,
                                    p_access_hash bytea default null,
                                    out session_id uuid, out repeated boolean, out live boolean, out displaced bigint)
    language plpgsql
    as $$
declare
    v_now  timestamptz := tenure.now();
    v_once tenure.idempotency_keys;
    v_life           interval;
    v_access_seconds int;
begin
    displaced := 0;
    repeated  := false;
    if p_key_hash is not null then
        -- idempotency_claim: a row past its day is taken over, a younger one is only locked
        insert into tenure.idempotency_keys as k (api_key_id, key_hash, request_hash, created_at)
        values (p_api_key_id, p_key_hash, p_request_hash, v_now)
            on conflict on constraint idempotency_keys_pkey do update
               set request_hash = excluded.request_hash, session_id = null, created_at = excluded.created_at
             where k.created_at <= v_now - interval '24 hours';
        repeated := not found;
    end if;
    if not repeated then
        select s.id, s.displaced into session_id, displaced
          from tenure.sign_in(p_kind, p_user, p_token_hash, p_remember_me, p_device, p_refresh_minutes, p_idle_limit_minutes,
                              p_guest_id, p_guest_token_hash, p_carry_attributes, p_client_address, p_user_agent, p_attributes,
                              p_oauth_entity, p_refresh_hash, p_access_hash) s;
        live := true;
        if p_key_hash is not null then
            -- idempotency_settle
            update tenure.idempotency_keys k set session_id = sign_in_once.session_id
             where k.api_key_id = p_api_key_id and k.key_hash = p_key_hash;
        end if;
        return;
    end if;
    -- idempotency_read
    select * into strict v_once from tenure.idempotency_keys k where k.api_key_id = p_api_key_id and k.key_hash = p_key_hash;
    if v_once.request_hash <> p_request_hash then
        perform tenure.refuse(422, 'idempotency_key_reused', 'This Idempotency-Key was used for another request.',
                              'Choose a new key for each sign-in; repeat a request as it was.');
    end if;
    session_id := v_once.session_id;
    live       := tenure.rotate(session_id, p_token_hash);
    if live and p_kind = 'mobile' then
        -- oauth_tokens_replace: the tokens of the lost answer are dead as well, their lifespans stay.
        with lost as (
            delete from tenure.oauth_tokens t where t.session_id = sign_in_once.session_id
            returning t.type, t.expires_at - t.issued_at as life, t.access_seconds
        )
        select l.life, l.access_seconds into v_life, v_access_seconds from lost l where l.type = 'refresh' limit 1;
        if v_life is null then
            -- Somebody deleted them by hand: what the application says today.
            select make_interval(secs => e.refresh_token_lifespan), e.access_token_lifespan into v_life, v_access_seconds
              from tenure.oauth_entities e where e.name = p_oauth_entity;
        end if;
        perform tenure.issue_tokens(session_id, v_now, p_refresh_hash, v_life, p_access_hash, v_access_seconds);
    end if;
end
$$;
comment on function tenure.sign_in_once(uuid, bytea, bytea, text, text, bytea, boolean, text, int, int, uuid, bytea, boolean, inet, text, jsonb, text, bytea, bytea) is
    'Starts a session; with an Idempotency-Key one only, however often it is asked. A repetition gives the session another token, because the first one is stored nowhere; live is false when it has ended meanwhile.';

revoke execute on all functions in schema tenure from public;

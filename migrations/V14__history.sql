-- V14 history: who was logged in at an instant, why a session stands or stood, and what serves those questions among millions.

-- Ended rows lie in the order of their ending, so a few pages of bounds find any hour; no look-up and no ending pays for a tree.
create index ended_sessions_ended_at_idx on tenure.ended_sessions using brin (ended_at, created_at)
    with (pages_per_range = 16, autosummarize = on);

-- What happened to users and properties is rare among the events of sessions.
create index session_events_type_idx on tenure.session_events (type, user_name, id) where session_id is null;

-- Reports over millions may be worked on by several processes.
alter function tenure.now() parallel safe;
alter function tenure.lease_interval() parallel safe;
alter function tenure.uuid_v7_floor(timestamptz) parallel safe;
alter function tenure.limits(tenure.sessions, tenure.policies) parallel safe;
alter function tenure.heard(tenure.sessions, tenure.policies, timestamptz) parallel safe;
alter function tenure.barred(tenure.sessions, tenure.users, tenure.policies) parallel safe;
alter function tenure.shown_app_state(tenure.sessions, tenure.policies, timestamptz) parallel safe;

-- tenure.live: as it was. The planner takes a bare "is null" of what it cannot estimate for one row in two hundred, and would look
-- the rest of a million up one by one.
create or replace view tenure.live as
select s.id, s.token_hash, s.kind, s.user_id, s.user_epoch, s.device, s.remember_me, s.residue, s.created_at, s.anchor_at, s.due_at,
       s.refresh_seconds, s.idle_limit_seconds, s.window_seconds, s.oauth_entity_id,
       tenure.shown_app_state(s, p, (select tenure.now())) as app_state, s.app_state_at, s.node, u.name as user_name, o.name as oauth_entity,
       l.idle_deadline_at, l.max_life_deadline_at, l.remember_me_deadline_at, l.residue_deadline_at, l.expires_at
  from tenure.sessions s
  join tenure.policies p            on p.kind = s.kind
  left join tenure.users u          on u.id = s.user_id
  left join tenure.oauth_entities o on o.id = s.oauth_entity_id
 cross join lateral tenure.limits(s, p) l
 where l.expires_at > (select tenure.now())
   and case when tenure.barred(s, u, p) is null then true else false end;

-- tenure.all_sessions: every session there is a row of. One that is over and not yet swept shows what a check would answer. When a
-- user's state ended it, nobody wrote down the instant yet: until its last activity it was surely accepted.
create view tenure.all_sessions as
select s.id, s.kind, s.user_id, u.name as user_name, s.device, s.node, a.client_address, a.user_agent, s.remember_me, s.residue,
       o.name as oauth_entity, s.created_at, s.anchor_at as last_activity_at,
       case when b.barred is null or l.expires_at <= (select tenure.now()) then l.expires_at else least(l.expires_at, s.anchor_at) end as over_at,
       case when b.barred is null and l.expires_at > (select tenure.now()) then 'live' else 'ended' end as state,
       case when l.expires_at <= (select tenure.now()) then l.reason else b.barred end as end_reason,
       case when b.barred is not null or l.expires_at <= (select tenure.now()) then 'tenure' end as ended_by,
       null::text as ended_on
  from tenure.sessions s
  join tenure.policies p                on p.kind = s.kind
  left join tenure.users u              on u.id = s.user_id
  left join tenure.session_attributes a on a.session_id = s.id
  left join tenure.oauth_entities o     on o.id = s.oauth_entity_id
 cross join lateral tenure.limits(s, p) l
 cross join lateral (select tenure.barred(s, u, p) as barred) b
 union all
select e.id, e.kind, e.user_id, e.user_name, e.device, e.node, e.client_address, e.user_agent, e.remember_me, e.residue,
       e.oauth_entity, e.created_at, e.anchor_at, e.ended_at, 'ended', e.end_reason, e.ended_by, e.ended_on
  from tenure.ended_sessions e;
comment on view tenure.all_sessions is 'Every session, live or ended and retained, with the instant until which it is or was accepted.';

create view reporting.sessions as
select v.id, v.kind, v.user_name as "user", v.device, v.node, v.client_address, v.user_agent, v.remember_me, v.residue, v.oauth_entity,
       v.created_at, v.last_activity_at, v.over_at, v.state, v.end_reason, v.ended_by, v.ended_on
  from tenure.all_sessions v;
comment on view   reporting.sessions                  is 'Every session, live or ended and retained: it was accepted from created_at until just before over_at.';
comment on column reporting.sessions.id               is 'Public session id.';
comment on column reporting.sessions.kind             is 'user, guest, integration or mobile.';
comment on column reporting.sessions."user"           is 'User name, for an ended one as it was then; null for guests.';
comment on column reporting.sessions.device           is 'desktop, tablet, phone or app.';
comment on column reporting.sessions.node             is 'Node that last counted activity.';
comment on column reporting.sessions.client_address   is 'Client address at sign-in.';
comment on column reporting.sessions.user_agent       is 'User agent at sign-in.';
comment on column reporting.sessions.remember_me      is 'Remember Me was asked for.';
comment on column reporting.sessions.residue          is 'Left by a sign-out.';
comment on column reporting.sessions.oauth_entity     is 'Client application of a mobile session.';
comment on column reporting.sessions.created_at       is 'When it began.';
comment on column reporting.sessions.last_activity_at is 'Last counted activity.';
comment on column reporting.sessions.over_at          is 'When it ended; for a live one, when it will without further activity.';
comment on column reporting.sessions.state            is 'live or ended.';
comment on column reporting.sessions.end_reason       is 'Why it ended; null while it lives.';
comment on column reporting.sessions.ended_by         is 'Who ended it; tenure is the store itself.';
comment on column reporting.sessions.ended_on         is 'Node it was ended through; null while it lives, and for plain SQL.';

do $$
declare
    v_column record;
begin
    for v_column in
        select a.attname as name, col_description(f.attrelid, f.attnum) as comment
          from pg_attribute a
          join pg_attribute f on f.attrelid = 'reporting.sessions'::regclass and f.attname = a.attname
         where a.attrelid = 'tenure.all_sessions'::regclass and a.attnum > 0
    loop
        execute format('comment on column tenure.all_sessions.%I is %L', v_column.name, v_column.comment);
    end loop;
end
$$;
comment on column tenure.all_sessions.user_id   is 'Whose it is or was.';
comment on column tenure.all_sessions.user_name is 'User name, for an ended one as it was then; null for guests.';

-- reporting.logged_in_at: an id tells the millisecond of its session's beginning, so the partitions of later months are not read.
create function reporting.logged_in_at(at timestamptz) returns setof reporting.sessions
    language sql stable parallel safe
    as $$
    select v.*
      from reporting.sessions v
     where v.created_at <= logged_in_at.at
       and v.over_at > logged_in_at.at
       and v.id < tenure.uuid_v7_floor(logged_in_at.at + interval '1 millisecond')
    $$;
comment on function reporting.logged_in_at(timestamptz) is
    'The sessions that were accepted at an instant, as far as they are retained; of a live one it is known what it would answer without further activity.';

-- reporting.sessions_of: runs as the owner, because the index is on the user's number, which is nobody else's business.
create function reporting.sessions_of(name text) returns setof reporting.sessions
    language sql stable security definer set search_path = pg_catalog, pg_temp
    as $$
    select v.id, v.kind, v.user_name, v.device, v.node, v.client_address, v.user_agent, v.remember_me, v.residue, v.oauth_entity,
           v.created_at, v.last_activity_at, v.over_at, v.state, v.end_reason, v.ended_by, v.ended_on
      from tenure.all_sessions v
     where v.user_id = (select u.id from tenure.users u
                         where lower(u.name collate "und-x-icu") = lower(normalize(sessions_of.name, nfc) collate "und-x-icu"))
    $$;
comment on function reporting.sessions_of(text) is
    'The sessions of a user, live and ended, by an index; none for a user that was deleted.';

-- tenure.explain: the rows of HTTP's explain (X1), without its sentences. Reads only: what is over and not yet swept is shown as
-- the sweep will end it.
create function tenure.explain(id uuid)
    returns table (session_id uuid, state text, "limit" text, applies boolean, binding boolean, deadline_at timestamptz,
                   name text, value text, unit text, source text, ended_at timestamptz, end_reason text, ended_by text, ended_on text)
    language plpgsql stable security definer set search_path = pg_catalog, pg_temp
    as $$
begin
    return query
    with session as (
        select s.id, s.kind, s.idle_limit_seconds, s.window_seconds,
               l.idle_deadline_at, l.max_life_deadline_at, l.remember_me_deadline_at, l.residue_deadline_at, l.reason,
               s.created_at, least(l.expires_at, n.now) as ended_at,
               coalesce(case when l.expires_at <= n.now then l.reason end, tenure.barred(s, u, p)) as end_reason,
               'tenure' as ended_by, null::text as ended_on
          from tenure.sessions s
          join tenure.policies p   on p.kind = s.kind
          left join tenure.users u on u.id = s.user_id
         cross join lateral tenure.limits(s, p) l
         cross join (select tenure.now() as now offset 0) n
         where s.id = explain.id
         union all
        select e.id, e.kind, e.idle_limit_seconds, e.window_seconds, null, null, null, null, e.end_reason,
               e.created_at, e.ended_at, e.end_reason, e.ended_by, e.ended_on
          from tenure.ended_sessions e
         where e.id = explain.id
    ), candidate as (
        select x.*, c."limit", c.deadline_at, c.name, c.value, c.source, c.place,
               c."limit" = case when x.kind = 'mobile' and x.reason = 'idle' then 'mobile_window' else x.reason end
                   and (x.end_reason is null or x.end_reason = x.reason)
                   -- By hand it ends what has not come to it, or began later.
                   and (c."limit" <> 'maintenance' or x.created_at < p.maintenance_at and (x.end_reason is null or p.maintenance_at <= x.ended_at))
                   as binding
          from session x
          join tenure.policies p on p.kind = x.kind
         cross join lateral (
               values (1, case x.kind when 'mobile' then 'mobile_window' else 'idle' end, x.idle_deadline_at,
                       case when x.idle_limit_seconds is not null then 'idle_limit_minutes'
                            when x.kind = 'mobile'                then 'window_seconds'
                            when x.kind = 'user'                  then 'glide.ui.session_timeout'
                            else format('glide.%s.session_timeout', x.kind) end,
                       case when x.kind = 'mobile' then x.window_seconds else x.idle_limit_seconds / 60 end::text,
                       case when x.idle_limit_seconds is not null then 'override' when x.kind = 'mobile' then 'frozen' end),
                      (2, 'max_life', x.max_life_deadline_at,
                       case x.kind when 'user'        then 'glide.ui.active.session.life_span'
                                   when 'guest'       then 'glide.guest.active.session.life_span'
                                   when 'integration' then 'glide.integrations.active.session.life_span'
                                   else 'tenure.mobile.active.session.life_span' end, null, null),
                      (3, 'remember_me', x.remember_me_deadline_at, 'glide.ui.user_cookie.life_span_in_days', null, null),
                      (3, 'residue', x.residue_deadline_at, 'glide.unauthorized.session_timeout', null, null),
                      -- tenure.limits answers with its instant only when it is the earliest.
                      (4, 'maintenance', case when x.created_at < p.maintenance_at then p.maintenance_at end, 'tenure.maintenance_at', null, null)
               ) c (place, "limit", deadline_at, name, value, source)
         where c."limit" not in ('remember_me', 'residue', 'maintenance')
            or c."limit" = 'remember_me' and x.kind = 'user'
            or c."limit" = 'residue'     and x.kind = 'guest'
            or c."limit" = 'maintenance' and p.maintenance_at is not null
    )
    select c.id, case when c.end_reason is null then 'live' else 'ended' end, c."limit",
           c.end_reason is null and c.deadline_at is not null, c.binding,
           case when c.end_reason is null then c.deadline_at when c.binding then c.ended_at end,
           c.name, case when c.source is null then tenure.property_value(c.name) else c.value end,
           case c.source when 'override' then 'minutes' when 'frozen' then 'seconds' else k.unit end,
           case when c.source is not null                                                          then c.source
                when exists (select from tenure.properties r where r.name = c.name)                then 'row'
                when c.name = 'glide.integration.session_timeout'                                  then 'release_profile'
                else 'default' end,
           case when c.end_reason is not null then c.ended_at end, c.end_reason,
           case when c.end_reason is not null then c.ended_by end, c.ended_on
      from candidate c
      left join tenure.property_catalogue k on k.name = c.name
     order by c.place;
    if not found then
        perform tenure.refuse(404, 'unknown_session', 'There is no session of this id, live or retained.', 'List sessions to find its id.');
    end if;
end
$$;
comment on function tenure.explain(uuid) is
    'Every limit of a session: whether it applies, when it ends the session, where it comes from, which one binds; for one that is over, how it ended.';

-- The two views that look for rare events name what the index is about.
create or replace view reporting.locked_out_users as
select u.name as "user", u.display_name, u.active,
       (select e.at from tenure.session_events e
         where e.type = 'user_locked_out' and e.user_name = u.name and e.session_id is null
         order by e.id desc limit 1) as locked_out_at
  from tenure.users u where u.locked_out;

create or replace view reporting.property_changes as
select e.at, e.actor, e.details ->> 'name' as property, e.details ->> 'old' as old_value, e.details ->> 'new' as new_value, e.node
  from tenure.session_events e where e.type in ('property_set', 'property_removed') and e.session_id is null;

-- retention -----------------------------------------------------------------------------------------------------------

insert into tenure.property_catalogue (name, type, unit, default_value, minimum, maximum, zero_is_off, description, choices) values
    ('tenure.retention.ended_sessions_days', 'integer', 'days', '400', 1, 3650, true, 'How long ended sessions are kept at least, by whole months; 0 keeps them for ever.', null),
    ('tenure.retention.events_days',         'integer', 'days', '400', 1, 3650, true, 'How long events are kept at least, by whole months; 0 keeps them for ever.', null);

-- tenure.instant_of: what tenure.uuid_v7 put into an id.
create function tenure.instant_of(id uuid) returns timestamptz
    language sql immutable
    as $$ select to_timestamp(('x0000' || left(replace(instant_of.id::text, '-', ''), 12))::bit(64)::bigint / 1000.0) $$;
comment on function tenure.instant_of(uuid) is 'The millisecond a UUID version 7 was made in.';

-- tenure.history_partitions: a month is past retention when until_at <= keep_from.
create function tenure.history_partitions()
    returns table (parent text, name text, from_at timestamptz, until_at timestamptz, keep_from timestamptz)
    language sql stable
    as $$
    select p.relname::text, c.relname::text, tenure.instant_of(b.bound[1]::uuid), tenure.instant_of(b.bound[2]::uuid), k.keep_from
      from (values ('tenure.ended_sessions'::regclass, 'tenure.retention.ended_sessions_days'),
                   ('tenure.session_events',           'tenure.retention.events_days')) h (parent, property)
      join pg_catalog.pg_inherits i on i.inhparent = h.parent
      join pg_catalog.pg_class p    on p.oid = i.inhparent
      join pg_catalog.pg_class c    on c.oid = i.inhrelid
     cross join lateral (select regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''([0-9a-f-]{36})''\) TO \(''([0-9a-f-]{36})''\)') as bound) b
     cross join lateral (select tenure.now() - make_interval(hours => 24 * nullif(tenure.property_value(h.property)::int, 0)) as keep_from) k
    $$;
comment on function tenure.history_partitions() is
    'The partitions of ended sessions and events: the time they are for (null for the default ones), and the instant before which nothing needs to be kept (null when everything is).';

-- tenure.retire_history: drops at most one month each of ended sessions and of events.
--
-- A partition is of the month its sessions began in, and one session may have lived on for long: what ended since keep_from is moved
-- to the default partition when it is little, and is waited for when it is much. It is found while only endings of that month wait;
-- look-ups and other endings wait for the drop alone. Whoever is in the way of that for 100 ms is let pass until the next call.
create function tenure.retire_history() returns int
    language plpgsql set lock_timeout = '100ms'
    as $$
declare
    c_batch   constant int := 10000;
    v_month   record;
    v_late    tenure.ended_sessions[];
    v_dropped text[] := '{}';
    v_done    text[] := '{}';
begin
    -- An older snapshot would miss what ended while this waited for the lock, and drop it.
    if current_setting('transaction_isolation') <> 'read committed' then
        perform tenure.refuse(409, 'isolation_level', 'History is dropped at READ COMMITTED only.', 'Begin the transaction at READ COMMITTED.');
    end if;
    if not pg_try_advisory_xact_lock(hashtextextended('tenure.make_partitions', 0)) then
        return 0;
    end if;
    for v_month in select * from tenure.history_partitions() h where h.until_at <= h.keep_from order by h.until_at loop
        continue when v_month.parent = any (v_done);
        begin
            execute format('lock table only tenure.%I in exclusive mode', v_month.name);
            v_late := null;
            if v_month.parent = 'ended_sessions' then
                -- history_late
                select array_agg(l.late)
                  into v_late
                  from (select e as late from tenure.ended_sessions e
                         where e.id >= tenure.uuid_v7_floor(v_month.from_at) and e.id < tenure.uuid_v7_floor(v_month.until_at)
                           and e.ended_at > v_month.keep_from
                         limit c_batch + 1) l;
                continue when cardinality(v_late) > c_batch;
            end if;
            execute format('drop table tenure.%I', v_month.name);
            insert into tenure.ended_sessions select l.* from unnest(v_late) l;
            v_done    := v_done || v_month.parent;
            v_dropped := v_dropped || v_month.name;
        exception
            when lock_not_available then
                v_done := v_done || v_month.parent;
            when dependent_objects_still_exist then
                raise notice 'tenure.% is not dropped while something of somebody else''s depends on it.', v_month.name;
        end;
    end loop;
    if v_dropped <> '{}' then
        perform tenure.note('history_dropped', null, null, jsonb_build_object('partitions', v_dropped, 'rows', 0));
    end if;
    return cardinality(v_dropped);
end
$$;
comment on function tenure.retire_history() is
    'Drops what is past retention, a month at a time; returns how many partitions it dropped. Every node calls it once a minute.';

-- tenure.retire_leftovers: apart from the drops, so that nobody waits for a lock of theirs while the default partitions are read.
create function tenure.retire_leftovers() returns bigint
    language plpgsql
    as $$
declare
    c_batch   constant int := 10000;
    v_removed bigint;
begin
    -- history_leftovers
    with ended as (
        delete from tenure.ended_sessions_default e
         where e.ctid = any (array(select d.ctid from tenure.ended_sessions_default d
                                     join tenure.history_partitions() h on h.name = 'ended_sessions_default'
                                    where d.ended_at <= h.keep_from limit c_batch))
        returning 1
    ), noted as (
        delete from tenure.session_events_default e
         where e.ctid = any (array(select d.ctid from tenure.session_events_default d
                                     join tenure.history_partitions() h on h.name = 'session_events_default'
                                    where d.id < tenure.uuid_v7_floor(h.keep_from) limit c_batch))
        returning 1
    )
    select (select count(*) from ended) + (select count(*) from noted) into v_removed;
    if v_removed > 0 then
        perform tenure.note('history_dropped', null, null, jsonb_build_object('partitions', '[]'::jsonb, 'rows', v_removed));
    end if;
    return v_removed;
end
$$;
comment on function tenure.retire_leftovers() is
    'Removes rows past retention from the default partitions, 10,000 of each at most; returns how many. Every node calls it once a minute.';

-- tenure.make_partitions: as it was, but whoever is in the way for 100 ms is let pass until the next call: two months are made ahead.
create or replace function tenure.make_partitions() returns int
    language plpgsql set lock_timeout = '100ms'
    as $$
declare
    v_parent text;
    v_month  timestamp;
    v_name   text;
    v_made   int := 0;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('tenure.make_partitions', 0)) then
        return 0;
    end if;
    foreach v_parent in array array['ended_sessions', 'session_events'] loop
        for v_month in select date_trunc('month', tenure.now() at time zone 'UTC') + make_interval(months => n) from generate_series(0, 2) n loop
            v_name := format('%s_%s', v_parent, to_char(v_month, 'YYYY_MM'));
            continue when to_regclass('tenure.' || v_name) is not null;
            begin
                execute format('create table tenure.%I partition of tenure.%I for values from (%L) to (%L)', v_name, v_parent,
                               tenure.uuid_v7_floor(v_month at time zone 'UTC'),
                               tenure.uuid_v7_floor((v_month + interval '1 month') at time zone 'UTC'));
                execute format('comment on table tenure.%I is %L', v_name, format('Partition of %s: %s.', v_parent, to_char(v_month, 'YYYY-MM')));
                v_made := v_made + 1;
            exception
                when check_violation then
                    raise notice 'tenure.%: rows of % already lie in the default partition and stay there.', v_parent, to_char(v_month, 'YYYY-MM');
                when lock_not_available then
                    exit;
            end;
        end loop;
    end loop;
    return v_made;
end
$$;

-- What a reporter's own function may be shown must not depend on the order in which conditions are tried.
alter view reporting.property_changes set (security_barrier);

revoke execute on all functions in schema tenure, reporting from public;

do $$
begin
    if exists (select from pg_roles where rolname = 'tenure_reporter') then
        grant select on all tables in schema reporting to tenure_reporter;
        grant execute on all functions in schema reporting to tenure_reporter;
        grant execute on function tenure.uuid_v7_floor(timestamptz), tenure.explain(uuid) to tenure_reporter;
    end if;
end
$$;

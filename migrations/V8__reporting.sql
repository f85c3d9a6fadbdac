-- V8 reporting: stable views for analysts (DESIGN of the schema: docs/ARCHITECTURE.md). No secrets; columns are only ever added.

-- tenure.live: live sessions as checks see them: not over by deadline, not barred by their user (A11, U4).
create view tenure.live as
select s.*, u.name as user_name, o.name as oauth_entity,
       l.idle_deadline_at, l.max_life_deadline_at, l.remember_me_deadline_at, l.residue_deadline_at, l.expires_at
  from tenure.sessions s
  join tenure.policies p            on p.kind = s.kind
  left join tenure.users u          on u.id = s.user_id
  left join tenure.oauth_entities o on o.id = s.oauth_entity_id
 cross join lateral tenure.limits(s, p) l
 where l.expires_at > (select tenure.now())
   and tenure.barred(s, u, p) is null;
comment on view tenure.live is 'Live sessions as a check sees them, with their deadlines.';

create view reporting.live_sessions as
select v.id, v.kind, v.user_name as "user", v.device, v.node, a.client_address, a.user_agent, v.remember_me, v.residue, v.oauth_entity,
       v.app_state, v.created_at, v.anchor_at as last_activity_at, v.idle_deadline_at, v.max_life_deadline_at, v.remember_me_deadline_at,
       v.residue_deadline_at, v.expires_at, exists (select from tenure.open_transactions t where t.session_id = v.id) as active
  from tenure.live v
  left join tenure.session_attributes a on a.session_id = v.id;
comment on view   reporting.live_sessions                         is 'Every session a check would accept now.';
comment on column reporting.live_sessions.id                      is 'Public session id.';
comment on column reporting.live_sessions.kind                    is 'user, guest, integration or mobile.';
comment on column reporting.live_sessions."user"                  is 'User name; null for guests.';
comment on column reporting.live_sessions.device                  is 'desktop, tablet, phone or app.';
comment on column reporting.live_sessions.node                    is 'Node that last counted activity.';
comment on column reporting.live_sessions.client_address          is 'Client address at sign-in.';
comment on column reporting.live_sessions.user_agent              is 'User agent at sign-in.';
comment on column reporting.live_sessions.remember_me             is 'Remember Me was asked for.';
comment on column reporting.live_sessions.residue                 is 'Left by a sign-out.';
comment on column reporting.live_sessions.oauth_entity            is 'Client application of a mobile session.';
comment on column reporting.live_sessions.app_state               is 'Last state the mobile app reported.';
comment on column reporting.live_sessions.created_at              is 'When it began.';
comment on column reporting.live_sessions.last_activity_at        is 'Last counted activity.';
comment on column reporting.live_sessions.idle_deadline_at        is 'When it ends without further activity; null under Remember Me.';
comment on column reporting.live_sessions.max_life_deadline_at    is 'When it ends whatever the activity; null when off.';
comment on column reporting.live_sessions.remember_me_deadline_at is 'When Remember Me ends it; null without.';
comment on column reporting.live_sessions.residue_deadline_at     is 'When the residue of a sign-out ends; null for others.';
comment on column reporting.live_sessions.expires_at              is 'The earliest deadline that applies.';
comment on column reporting.live_sessions.active                  is 'A transaction is open right now.';

create view reporting.ended_sessions as
select e.id, e.kind, e.user_name as "user", e.device, e.node, e.client_address, e.user_agent, e.remember_me, e.residue, e.oauth_entity,
       e.created_at, e.anchor_at as last_activity_at, e.ended_at, e.end_reason, e.ended_by, e.ended_on
  from tenure.ended_sessions e;
comment on view   reporting.ended_sessions                  is 'Sessions that were ended and are still retained.';
comment on column reporting.ended_sessions.id               is 'Public session id.';
comment on column reporting.ended_sessions.kind             is 'Session kind.';
comment on column reporting.ended_sessions."user"           is 'User name; null for guests.';
comment on column reporting.ended_sessions.device           is 'Device.';
comment on column reporting.ended_sessions.node             is 'Node that last counted activity.';
comment on column reporting.ended_sessions.client_address   is 'Client address at sign-in.';
comment on column reporting.ended_sessions.user_agent       is 'User agent at sign-in.';
comment on column reporting.ended_sessions.remember_me      is 'Remember Me was asked for.';
comment on column reporting.ended_sessions.residue          is 'Was left by a sign-out.';
comment on column reporting.ended_sessions.oauth_entity     is 'Client application of a mobile session.';
comment on column reporting.ended_sessions.created_at       is 'When it began.';
comment on column reporting.ended_sessions.last_activity_at is 'Last counted activity.';
comment on column reporting.ended_sessions.ended_at         is 'The deadline that passed, or the moment of the act.';
comment on column reporting.ended_sessions.end_reason       is 'Why it ended.';
comment on column reporting.ended_sessions.ended_by         is 'Who ended it; tenure is the store itself.';
comment on column reporting.ended_sessions.ended_on         is 'Node it was ended through.';

create view reporting.logged_in_users as
select v.user_name as "user", count(*) as sessions, min(v.created_at) as first_sign_in_at, max(v.anchor_at) as last_activity_at, max(v.expires_at) as expires_at
  from tenure.live v
 where v.user_name is not null
 group by v.user_name;
comment on view   reporting.logged_in_users                  is 'Users with at least one live session.';
comment on column reporting.logged_in_users."user"           is 'User name.';
comment on column reporting.logged_in_users.sessions         is 'How many live sessions.';
comment on column reporting.logged_in_users.first_sign_in_at is 'When the oldest of them began.';
comment on column reporting.logged_in_users.last_activity_at is 'Last counted activity of any.';
comment on column reporting.logged_in_users.expires_at       is 'When the last of them would end.';

create view reporting.active_users as
select u.name as "user", u.display_name, u.locked_out, u.roles, u.created_at from tenure.users u where u.active;
comment on view   reporting.active_users              is 'Users who are active (U2).';
comment on column reporting.active_users."user"       is 'User name.';
comment on column reporting.active_users.display_name is 'Name to show.';
comment on column reporting.active_users.locked_out   is 'Whether locked out all the same.';
comment on column reporting.active_users.roles        is 'Console roles.';
comment on column reporting.active_users.created_at   is 'When the user was made.';

create view reporting.locked_out_users as
select u.name as "user", u.display_name, u.active,
       (select max(e.at) from tenure.session_events e where e.type = 'user_locked_out' and e.user_name = u.name) as locked_out_at
  from tenure.users u where u.locked_out;
comment on view   reporting.locked_out_users               is 'Users who are locked out.';
comment on column reporting.locked_out_users."user"        is 'User name.';
comment on column reporting.locked_out_users.display_name  is 'Name to show.';
comment on column reporting.locked_out_users.active        is 'Whether active.';
comment on column reporting.locked_out_users.locked_out_at is 'When, by the retained events; null when made so or longer ago.';

create view reporting.sessions_by_node as
select v.node, v.kind, count(*) as sessions, max(v.anchor_at) as last_activity_at from tenure.live v group by v.node, v.kind;
comment on view   reporting.sessions_by_node                  is 'Live sessions by the node that last counted their activity, and kind.';
comment on column reporting.sessions_by_node.node             is 'Node name.';
comment on column reporting.sessions_by_node.kind             is 'Session kind.';
comment on column reporting.sessions_by_node.sessions         is 'How many.';
comment on column reporting.sessions_by_node.last_activity_at is 'Last counted activity of any.';

create view reporting.session_starts_hourly as
select date_trunc('hour', b.created_at, 'UTC') as hour, b.kind, count(*) as sessions
  from (select created_at, kind from tenure.sessions union all select created_at, kind from tenure.ended_sessions) b
 group by 1, 2;
comment on view   reporting.session_starts_hourly          is 'Sessions started, by hour (UTC) and kind.';
comment on column reporting.session_starts_hourly.hour     is 'Beginning of the hour.';
comment on column reporting.session_starts_hourly.kind     is 'Session kind.';
comment on column reporting.session_starts_hourly.sessions is 'How many began.';

create view reporting.session_ends_daily as
select (e.ended_at at time zone 'UTC')::date as day, e.kind, e.end_reason as reason, count(*) as sessions
  from tenure.ended_sessions e group by 1, 2, 3;
comment on view   reporting.session_ends_daily          is 'Sessions ended, by day (UTC), kind and reason.';
comment on column reporting.session_ends_daily.day      is 'Day.';
comment on column reporting.session_ends_daily.kind     is 'Session kind.';
comment on column reporting.session_ends_daily.reason   is 'Why they ended.';
comment on column reporting.session_ends_daily.sessions is 'How many ended.';

create view reporting.property_changes as
select e.at, e.actor, e.details ->> 'name' as property, e.details ->> 'old' as old_value, e.details ->> 'new' as new_value, e.node
  from tenure.session_events e where e.type in ('property_set', 'property_removed');
comment on view   reporting.property_changes           is 'Every change of a property.';
comment on column reporting.property_changes.at        is 'When.';
comment on column reporting.property_changes.actor     is 'Who.';
comment on column reporting.property_changes.property  is 'Which property.';
comment on column reporting.property_changes.old_value is 'Row before; null when there was none.';
comment on column reporting.property_changes.new_value is 'Row after; null when removed.';
comment on column reporting.property_changes.node      is 'Node it came through; null for plain SQL.';

create view reporting.oauth_grants as
select t.session_id, v.user_name as "user", v.oauth_entity, t.type, t.issued_at, t.expires_at, t.used_at
  from tenure.oauth_tokens t join tenure.live v on v.id = t.session_id;
comment on view   reporting.oauth_grants              is 'OAuth tokens of live sessions, without the tokens.';
comment on column reporting.oauth_grants.session_id   is 'Session they belong to.';
comment on column reporting.oauth_grants."user"       is 'User name.';
comment on column reporting.oauth_grants.oauth_entity is 'Client application.';
comment on column reporting.oauth_grants.type         is 'access or refresh.';
comment on column reporting.oauth_grants.issued_at    is 'When issued.';
comment on column reporting.oauth_grants.expires_at   is 'When no longer good.';
comment on column reporting.oauth_grants.used_at      is 'When a refresh token was redeemed.';

-- tenure.node_state: live while its lease lives, draining when it said so, silent otherwise.
create function tenure.node_state(n tenure.nodes) returns text
    language sql volatile
    as $$
    select case when n.fenced or n.beat_at + tenure.lease_interval() <= tenure.now() then 'silent'
                when n.draining then 'draining' else 'live' end
    $$;
comment on function tenure.node_state(tenure.nodes) is 'State of a node: live, draining or silent.';

create view reporting.node_health as
select n.name as node, n.address, n.version, tenure.node_state(n) as state, n.started_at, n.beat_at,
       n.beat_at + tenure.lease_interval() as lease_expires_at,
       greatest(0, extract(epoch from tenure.now() - n.swept_at))::double precision as sweep_late_seconds
  from tenure.nodes n;
comment on view   reporting.node_health                    is 'One row per registered node process.';
comment on column reporting.node_health.node               is 'Node name.';
comment on column reporting.node_health.address            is 'Address of its HTTP API.';
comment on column reporting.node_health.version            is 'Program version.';
comment on column reporting.node_health.state              is 'live, draining or silent.';
comment on column reporting.node_health.started_at         is 'When it registered.';
comment on column reporting.node_health.beat_at            is 'Last heartbeat.';
comment on column reporting.node_health.lease_expires_at   is 'When it must stop trusting its memory without another heartbeat.';
comment on column reporting.node_health.sweep_late_seconds is 'Seconds since its sweeper last had nothing left to do.';

-- The views of schema tenure show columns of tables under their own names: those carry the comments of the tables.
do $$
declare
    v_column record;
begin
    for v_column in
        select distinct on (a.attrelid, a.attnum) a.attrelid::regclass as view, a.attname as name, col_description(f.attrelid, f.attnum) as comment
          from (values ('tenure.open_transactions'::regclass, 'tenure.transactions'::regclass,       1),
                       ('tenure.live',                        'tenure.sessions',                     1),
                       ('tenure.live',                        'reporting.live_sessions',             2),
                       ('tenure.session_facts',               'tenure.sessions',                     1),
                       ('tenure.session_facts',               'tenure.session_attributes',           2),
                       ('tenure.session_facts',               'tenure.policies',                     3),
                       ('tenure.session_facts',               'reporting.live_sessions',             4)) as source (view, shows, place)
          join pg_attribute a on a.attrelid = source.view and a.attnum > 0
          join pg_attribute f on f.attrelid = source.shows and f.attname = a.attname
         order by a.attrelid, a.attnum, source.place
    loop
        execute format('comment on column %s.%I is %L', v_column.view, v_column.name, v_column.comment);
    end loop;
end
$$;
comment on column tenure.live.user_name          is 'User name; null for guests.';
comment on column tenure.session_facts.user_name is 'User name; null for guests.';
comment on column tenure.session_facts.barred    is 'Why the user''s state alone ends it; null when it does not.';
comment on column tenure.session_facts.now       is 'The database''s time of the reading.';

-- Functions are for their owner; a view's functions, which run as its reader, are granted by name.
revoke execute on all functions in schema tenure from public;

do $$
begin
    if exists (select from pg_roles where rolname = 'tenure_reporter') then
        grant usage on schema reporting to tenure_reporter;
        grant select on all tables in schema reporting to tenure_reporter;
        grant usage on schema tenure to tenure_reporter;
        grant execute on function tenure.now(), tenure.limits(tenure.sessions, tenure.policies), tenure.lease_interval(),
                                  tenure.barred(tenure.sessions, tenure.users, tenure.policies), tenure.node_state(tenure.nodes)
              to tenure_reporter;
    end if;
end
$$;

-- V10 mobile: sessions of native apps, their state (M3) and their OAuth tokens (M5); a sweep that reads its index once.

-- The lease of a mobile app's last report belongs to the policy, which a check reads anyway.
alter table tenure.policies add column heartbeat_seconds int;
update tenure.policies p set heartbeat_seconds = tenure.property_value('tenure.mobile.heartbeat_seconds')::int where p.kind = 'mobile';
alter table tenure.policies add constraint policies_heartbeat_seconds_check check ((kind = 'mobile') = (heartbeat_seconds is not null));
comment on column tenure.policies.heartbeat_seconds is 'How long the last report of a mobile app holds (M3); null for other kinds.';

-- A refresh token carries what is frozen with its family; one that was used remembers its successor.
alter table tenure.oauth_tokens
    add column access_seconds   int,
    add column successor_hash   bytea,
    add column predecessor_hash bytea,
    add column sealed_successor bytea,
    add constraint oauth_tokens_access_seconds_check   check ((type = 'refresh') = (access_seconds is not null) and access_seconds > 0),
    add constraint oauth_tokens_successor_hash_check   check ((used_at is null) = (successor_hash is null) and length(successor_hash) = 32),
    add constraint oauth_tokens_predecessor_hash_check check (predecessor_hash is null or type = 'refresh' and length(predecessor_hash) = 32),
    add constraint oauth_tokens_sealed_successor_check check (sealed_successor is null or successor_hash is not null and length(sealed_successor) <= 64),
    add constraint oauth_tokens_used_at_check          check (used_at is null or type = 'refresh');
comment on column tenure.oauth_tokens.access_seconds   is 'Lifespan of the access tokens issued with a refresh token, frozen at sign-in, seconds; null for access tokens.';
comment on column tenure.oauth_tokens.successor_hash   is 'SHA-256 of the refresh token that took the place of a used one.';
comment on column tenure.oauth_tokens.predecessor_hash is 'SHA-256 of the refresh token it took the place of; null for the first of a family.';
comment on column tenure.oauth_tokens.sealed_successor is 'That refresh token, encrypted under the used one, for a client that lost the answer; erased when the successor is used, or the time for it has passed.';
create index oauth_tokens_sealed_idx on tenure.oauth_tokens (used_at) where sealed_successor is not null;

create index sessions_oauth_entity_id_idx on tenure.sessions (oauth_entity_id, id) where oauth_entity_id is not null;

alter table tenure.oauth_entities
    add constraint oauth_entities_client_id_check          check (client_id ~ '^[A-Za-z0-9._~-]{1,255}$'),
    add constraint oauth_entities_client_secret_hash_check check (length(client_secret_hash) = 32);

alter table tenure.ended_sessions add column oauth_hashes bytea[];
comment on column tenure.ended_sessions.oauth_hashes is 'SHA-256 of the tokens that died with it, so that whoever holds one learns the reason (E2).';

-- tenure.heard: whether the app's last report still holds: visible or busy, and heard of within the lease (M3).
create function tenure.heard(s tenure.sessions, p tenure.policies, at timestamptz) returns boolean
    language sql stable
    as $$ select coalesce(s.app_state in ('foreground', 'task') and s.app_state_at + make_interval(secs => p.heartbeat_seconds) > at, false) $$;
comment on function tenure.heard(tenure.sessions, tenure.policies, timestamptz) is
    'Whether a mobile app counts as active at an instant: it reported foreground or task, and that lease has not lapsed.';

-- tenure.shown_app_state: the state to show: background once the lease of another has lapsed (M3).
create function tenure.shown_app_state(s tenure.sessions, p tenure.policies, at timestamptz) returns text
    language sql stable
    as $$ select case when s.app_state is null or tenure.heard(s, p, at) then s.app_state else 'background' end $$;
comment on function tenure.shown_app_state(tenure.sessions, tenure.policies, timestamptz) is
    'The state of a mobile app at an instant; null while it has reported none.';

-- tenure.default_activity: what a check is that does not say (A1).
create function tenure.default_activity(s tenure.sessions) returns text
    language sql immutable
    as $$ select case when s.kind <> 'mobile' then 'user' when s.app_state = 'background' then 'passive' else 'foreground' end $$;
comment on function tenure.default_activity(tenure.sessions) is
    'The activity of a check that names none: user, for mobile foreground, or passive while the last reported state is background.';

-- tenure.counted_anchor: as in V5, and what a mobile app reports (M3).
create or replace function tenure.counted_anchor(s tenure.sessions, p tenure.policies, activity text, at timestamptz) returns timestamptz
    language sql stable
    as $$
    select greatest(s.anchor_at,
               case
                   when activity in ('user', 'ajax', 'chat_poll', 'foreground', 'task') then at                 -- A3, M3
                   when activity = 'background' and tenure.heard(s, p, at)  then at                             -- M3
                   when activity = 'auto_refresh' and s.kind = 'user' and s.device = 'desktop' and p.auto_refresh_extends then
                       least(s.anchor_at + make_interval(secs => s.refresh_seconds), at)                        -- A4: null means at
                   else s.anchor_at                                                                             -- A5
               end)
    $$;

-- tenure.resolved_policies: as in V3, with the lease of mobile apps.
drop function tenure.resolved_policies(jsonb);
create function tenure.resolved_policies(p_rows jsonb)
    returns table (kind text, idle_seconds int, max_life_seconds int, remember_me_seconds int, residue_seconds int, prompt_seconds int,
                   auto_refresh_extends boolean, refuse_inactive boolean, ajax_prompt boolean, ajax_resubmit boolean, heartbeat_seconds int)
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
               bool_and(value = 'true') filter (where name = 'glide.security.auto.resubmit.ajax')                         as ajax_resubmit
          from value
    )
    select k.kind, k.idle * 60, k.life * 60, k.remember_me_days * 86400, k.residue * 60, k.prompt * 60,
           v.auto_refresh_extends, v.refuse_inactive, v.ajax_prompt, v.ajax_resubmit, k.heartbeat
      from v
     cross join lateral (
         values ('user',        v.user_idle,        v.user_life,  case when not v.forget_me then v.remember_me_days end, null::int, v.prompt, null::int),
                ('guest',       v.guest_idle,       v.guest_life, null::int, case when v.residue_on then v.residue end,  0,        null::int),
                ('integration', v.integration_idle, case when v.integration_life_on then v.integration_life end, null::int, null::int, 0, null::int),
                ('mobile',      v.user_idle,        v.mobile_life, null::int, null::int, 0, v.heartbeat)
     ) as k (kind, idle, life, remember_me_days, residue, prompt, heartbeat)
    $$;
comment on function tenure.resolved_policies(jsonb) is 'The limits per kind in seconds under given overrides: what policies holds, or would hold.';

-- tenure.properties_follow: as in V9, with the lease of mobile apps.
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
           heartbeat_seconds    = r.heartbeat_seconds
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

-- tenure.end_sessions: as in V5, and the tokens that were still good are remembered with the ended session.
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
                                                  where t.session_id = g.id and t.used_at is null and t.expires_at > g.at) end
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

-- tenure.issue_tokens: a refresh token with the lifespans of its family, and the access token that goes with it.
create function tenure.issue_tokens(p_session_id uuid, p_at timestamptz, p_refresh_hash bytea, p_refresh_life interval,
                                    p_access_hash bytea, p_access_seconds int, p_predecessor_hash bytea default null) returns void
    language sql volatile
    as $$
    /* oauth_tokens_issue */
    insert into tenure.oauth_tokens (session_id, token_hash, type, issued_at, expires_at, access_seconds, predecessor_hash)
    select p_session_id, p_access_hash, 'access', p_at, p_at + make_interval(secs => p_access_seconds), null::int, null::bytea
     union all
    select p_session_id, p_refresh_hash, 'refresh', p_at, p_at + p_refresh_life, p_access_seconds, p_predecessor_hash
     where p_refresh_hash is not null
    $$;
comment on function tenure.issue_tokens(uuid, timestamptz, bytea, interval, bytea, int, bytea) is
    'Writes a fresh access token of a session and, unless its hash is null, the refresh token beside it; only sign_in and redeem_refresh_token call it.';

-- tenure.sign_in: as in V6, and sessions of mobile apps: their window is frozen (M2), their first tokens are issued (M5).
drop function tenure.sign_in(text, text, bytea, boolean, text, int, int, uuid, bytea, boolean, inet, text, jsonb);
create function tenure.sign_in(p_kind text, p_user text, p_token_hash bytea, p_remember_me boolean, p_device text, p_refresh_minutes int,
                               p_idle_limit_minutes int, p_guest_id uuid, p_guest_token_hash bytea, p_carry_attributes boolean,
                               p_client_address inet, p_user_agent text, p_attributes jsonb,
                               p_oauth_entity text default null, p_refresh_hash bytea default null, p_access_hash bytea default null) returns uuid
    language plpgsql
    as $$
declare
    v_user    tenure.users;
    v_entity  tenure.oauth_entities;
    v_session tenure.sessions;
    v_guest   jsonb;
    v_attributes jsonb := p_attributes;
    v_id      uuid;
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

    if p_guest_id is not null then                                                               -- K3
        select tenure.end_guest(p_guest_id, p_guest_token_hash) into v_guest;
        if p_carry_attributes and v_guest is not null then
            v_attributes := v_guest || p_attributes;
        end if;
    end if;

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
    v_id := tenure.start_session(v_session, v_user.name, p_client_address, p_user_agent, v_attributes);
    if p_kind = 'mobile' then
        perform tenure.issue_tokens(v_id, v_session.created_at, p_refresh_hash, make_interval(secs => v_entity.refresh_token_lifespan),
                                    p_access_hash, v_entity.access_token_lifespan);
    end if;
    return v_id;
end
$$;
comment on function tenure.sign_in(text, text, bytea, boolean, text, int, int, uuid, bytea, boolean, inet, text, jsonb, text, bytea, bytea) is
    'Starts a session and returns its id; refuses unknown, locked-out and, where they have no access, inactive users, and unknown client applications.';

-- tenure.redeem_refresh_token: the refresh grant with rotation (M5, RFC 6749 section 6). One row lock: the session before its tokens.
--   issued    the token was unused: it has a successor now, and a new access token
--   repeated  used within 10 s and the successor not yet used: the same successor, sealed, and a new access token
--   reused    any other use of a used token: session and tokens are over (token_reuse)
--   expired, ended, unknown   nothing was issued
create function tenure.redeem_refresh_token(p_session_id uuid, p_token_hash bytea, p_entity_id bigint, p_refresh_hash bytea, p_sealed bytea,
                                            p_access_hash bytea, out outcome text, out sealed bytea, out access_seconds int)
    language plpgsql
    as $$
declare
    v_now   timestamptz;
    v_token tenure.oauth_tokens;
begin
    -- Nothing is locked for what is no token at all: anybody may present one.
    perform from tenure.oauth_tokens t where t.session_id = p_session_id and t.token_hash = p_token_hash and t.type = 'refresh';
    if found then
        perform from tenure.sessions s where s.id = p_session_id and s.oauth_entity_id = p_entity_id for update;
    end if;
    if not found then
        outcome := 'unknown';
        return;
    end if;
    if tenure.end_due(p_session_id) then
        outcome := 'ended';
        return;
    end if;
    v_now := tenure.now();
    select * into v_token
      from tenure.oauth_tokens t
     where t.session_id = p_session_id and t.token_hash = p_token_hash and t.type = 'refresh';
    if not found then
        outcome := 'unknown';
        return;
    elsif v_token.used_at is null and v_token.expires_at <= v_now then
        outcome := 'expired';
        return;
    elsif v_token.used_at is not null
          and (v_token.sealed_successor is null or v_token.used_at + interval '10 seconds' <= v_now) then
        outcome := 'reused';
        perform tenure.end_sessions(array[p_session_id], array['token_reuse'], array[v_now], 'tenure');
        perform tenure.invalidate('s', array[p_session_id::text]);
        return;
    end if;

    -- oauth_tokens_forget: all but the newest hundred of each type, and access tokens that expired a day ago.
    delete from tenure.oauth_tokens t
     using (select o.token_hash, row_number() over (partition by o.type order by o.issued_at desc) as place
              from tenure.oauth_tokens o where o.session_id = p_session_id) n
     where t.session_id = p_session_id
       and t.token_hash = n.token_hash
       and (n.place >= 100 or t.type = 'access' and t.expires_at + interval '1 day' <= v_now)
       and t.token_hash <> p_token_hash;
    access_seconds := v_token.access_seconds;
    if v_token.used_at is not null then
        perform from tenure.oauth_tokens t
          where t.session_id = p_session_id and t.token_hash = v_token.successor_hash and t.expires_at > v_now;
        if not found then
            outcome := 'expired';
            return;
        end if;
        outcome := 'repeated';
        sealed  := v_token.sealed_successor;
        perform tenure.issue_tokens(p_session_id, v_now, null, null, p_access_hash, access_seconds);
    else
        outcome := 'issued';
        -- oauth_token_use: the token before this one gives its successor away no more.
        update tenure.oauth_tokens t
           set used_at          = case when t.token_hash = p_token_hash then v_now          else t.used_at        end,
               successor_hash   = case when t.token_hash = p_token_hash then p_refresh_hash else t.successor_hash end,
               sealed_successor = case when t.token_hash = p_token_hash then p_sealed end
         where t.session_id = p_session_id
           and t.token_hash in (p_token_hash, v_token.predecessor_hash);
        perform tenure.issue_tokens(p_session_id, v_now, p_refresh_hash, v_token.expires_at - v_token.issued_at, p_access_hash, access_seconds,
                                    p_token_hash);
    end if;
    -- oauth_tokens_note
    insert into tenure.session_events (id, at, type, session_id, user_name, actor, node, details)
    select tenure.uuid_v7(v_now), v_now, 'tokens_refreshed', s.id, u.name, tenure.actor(), tenure.node(),
           jsonb_build_object('repeated', outcome = 'repeated')
      from tenure.sessions s join tenure.users u on u.id = s.user_id
     where s.id = p_session_id;
end
$$;
comment on function tenure.redeem_refresh_token(uuid, bytea, bigint, bytea, bytea, bytea) is
    'Redeems a refresh token for a successor and an access token; a replay outside its ten seconds of grace ends the session.';

-- tenure.revoke_token: takes an access token back, or ends the session of a refresh token, the whole grant (RFC 7009).
create function tenure.revoke_token(p_session_id uuid, p_token_hash bytea, p_entity_id bigint) returns text
    language plpgsql
    as $$
declare
    v_type text;
begin
    perform from tenure.oauth_tokens t where t.session_id = p_session_id and t.token_hash = p_token_hash;
    if found then
        perform from tenure.sessions s where s.id = p_session_id and s.oauth_entity_id = p_entity_id for update;
    end if;
    if not found or tenure.end_due(p_session_id) then
        return null;
    end if;
    select t.type into v_type from tenure.oauth_tokens t where t.session_id = p_session_id and t.token_hash = p_token_hash;
    if v_type = 'refresh' then
        perform tenure.terminate(p_session_id, 'signed_out');
    elsif v_type = 'access' then
        -- oauth_token_revoke
        with revoked as (
            delete from tenure.oauth_tokens t where t.session_id = p_session_id and t.token_hash = p_token_hash
            returning t.session_id
        )
        insert into tenure.session_events (id, at, type, session_id, user_name, actor, node)
        select tenure.uuid_v7(n.at), n.at, 'access_token_revoked', s.id, u.name, tenure.actor(), tenure.node()
          from revoked r
          join tenure.sessions s on s.id = r.session_id
          join tenure.users u    on u.id = s.user_id
         cross join (select tenure.now() as at offset 0) n;
    end if;
    return v_type;
end
$$;
comment on function tenure.revoke_token(uuid, bytea, bigint) is
    'Revokes a token of a client application: access (only it), refresh (the session signs out), null when there was nothing to revoke.';

-- Views that show what a mobile app reported show whether that still holds.
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
   and tenure.barred(s, u, p) is null;

create or replace view tenure.session_facts as
select s.id, s.token_hash, s.kind, u.name as user_name, s.device, s.remember_me, s.residue, s.created_at, s.anchor_at, s.refresh_seconds,
       s.idle_limit_seconds, s.window_seconds, o.name as oauth_entity, tenure.shown_app_state(s, p, (select tenure.now())) as app_state, s.app_state_at, s.node, s.user_id,
       a.client_address, a.user_agent,
       exists (select from tenure.open_transactions t where t.session_id = s.id) as active,
       tenure.barred(s, u, p) as barred, l.expires_at, (select tenure.now()) as now,
       p.idle_seconds, p.max_life_seconds, p.remember_me_seconds, p.residue_seconds, p.prompt_seconds, p.auto_refresh_extends,
       p.ajax_prompt, p.ajax_resubmit
  from tenure.sessions s
  join tenure.policies p                on p.kind = s.kind
  left join tenure.users u              on u.id = s.user_id
  left join tenure.session_attributes a on a.session_id = s.id
  left join tenure.oauth_entities o     on o.id = s.oauth_entity_id
 cross join lateral tenure.limits(s, p) l;

-- tenure.sweep: as in V5, and whether anything is due is asked first.
create or replace function tenure.sweep(p_from timestamptz, p_from_id uuid, p_batch int,
                             out ended bigint, out rearmed bigint, out reached_at timestamptz, out reached_id uuid,
                             out next_due_at timestamptz, out revision bigint)
    language plpgsql set plan_cache_mode = force_generic_plan set jit = off
    as $$
declare
    v_now      timestamptz := tenure.now();
    v_over     uuid[];
    v_reasons  text[];
    v_ats      timestamptz[];
    v_rest     uuid[];
    v_rest_due timestamptz[];
begin
    -- sweep_next: an idle sweep ends here, after one descent of the index.
    select s.due_at into next_due_at
      from tenure.sessions s
     where (s.due_at, s.id) > (p_from, p_from_id)
     order by s.due_at, s.id
     limit 1;
    select sum(p.revision) into revision from tenure.policies p;
    if next_due_at is null or next_due_at > v_now then
        ended      := 0;
        rearmed    := 0;
        reached_at := p_from;
        reached_id := p_from_id;
        return;
    end if;

    -- sweep_pick
    select array_agg(d.id)         filter (where d.reason is not null), array_agg(d.reason) filter (where d.reason is not null),
           array_agg(least(d.expires_at, v_now)) filter (where d.reason is not null),
           array_agg(d.id)         filter (where d.reason is null),
           array_agg(d.expires_at) filter (where d.reason is null),
           (array_agg(d.due_at order by d.due_at desc, d.id desc))[1],
           (array_agg(d.id     order by d.due_at desc, d.id desc))[1]
      into v_over, v_reasons, v_ats, v_rest, v_rest_due, reached_at, reached_id
      from (select s.id, s.due_at, l.expires_at,
                   coalesce(case when l.expires_at <= v_now then l.reason end,
                            (select tenure.barred(s, u, p) from tenure.users u where u.id = s.user_id)) as reason
              from tenure.sessions s
              join tenure.policies p on p.kind = s.kind
             cross join lateral tenure.limits(s, p) l
             where (s.due_at, s.id) > (p_from, p_from_id)
               and s.due_at <= v_now
             order by s.due_at, s.id
             limit p_batch
               for update of s skip locked) d;

    ended   := case when v_over is null then 0
                    else tenure.end_sessions(v_over, v_reasons, v_ats, 'tenure') end;
    rearmed := coalesce(cardinality(v_rest), 0);
    if v_rest is not null then
        -- sweep_rearm
        update tenure.sessions s set due_at = r.due_at
          from unnest(v_rest, v_rest_due) as r (id, due_at)
         where s.id = r.id;
    end if;

    reached_at := coalesce(reached_at, p_from);
    reached_id := coalesce(reached_id, p_from_id);
    -- sweep_next_after
    select s.due_at into next_due_at
      from tenure.sessions s
     where (s.due_at, s.id) > (reached_at, reached_id)
     order by s.due_at, s.id
     limit 1;
end
$$;

comment on column reporting.live_sessions.app_state is 'State of the mobile app: what it last reported, background once that has lapsed.';
comment on column tenure.live.app_state             is 'State of the mobile app: what it last reported, background once that has lapsed.';
comment on column tenure.session_facts.app_state    is 'State of the mobile app: what it last reported, background once that has lapsed.';

revoke execute on all functions in schema tenure from public;
do $$
begin
    if exists (select from pg_roles where rolname = 'tenure_reporter') then
        grant execute on function tenure.heard(tenure.sessions, tenure.policies, timestamptz),
                                  tenure.shown_app_state(tenure.sessions, tenure.policies, timestamptz) to tenure_reporter;
    end if;
end
$$;

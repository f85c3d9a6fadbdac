-- V6 transitions: sign-in, sign-out, rotation, termination.

-- tenure.start_session: inserts a prepared session with its attributes and event; the due date comes from its limits.
create function tenure.start_session(s tenure.sessions, p_user_name text, p_client_address inet, p_user_agent text, p_attributes jsonb) returns uuid
    language plpgsql
    as $$
begin
    s.id         := tenure.uuid_v7(s.created_at);
    s.anchor_at  := s.created_at;
    s.node       := tenure.node();
    s.remember_me := coalesce(s.remember_me, false);
    s.residue     := coalesce(s.residue, false);
    select l.expires_at into s.due_at from tenure.policies p, tenure.limits(s, p) l where p.kind = s.kind;
    -- session_create
    with born as (
        insert into tenure.sessions select s.*
    ), described as (
        insert into tenure.session_attributes (session_id, client_address, user_agent, attributes)
        values (s.id, p_client_address, p_user_agent, p_attributes)
    )
    insert into tenure.session_events (id, at, type, session_id, user_name, actor, node, details)
    values (tenure.uuid_v7(s.created_at), s.created_at, 'session_created', s.id, p_user_name, tenure.actor(), tenure.node(),
            jsonb_strip_nulls(jsonb_build_object('kind', s.kind, 'device', s.device, 'client_address', host(p_client_address),
                                                 'residue', nullif(s.residue, false))));
    return s.id;
end
$$;
comment on function tenure.start_session(tenure.sessions, text, inet, text, jsonb) is
    'Inserts a session whose facts the caller has decided; only sign_in and sign_out call it.';

-- tenure.sign_in: starts a session. The user row is locked first, so that a lock-out comes wholly before or wholly after (U4).
create function tenure.sign_in(p_kind text, p_user text, p_token_hash bytea, p_remember_me boolean, p_device text, p_refresh_minutes int,
                               p_idle_limit_minutes int, p_guest_id uuid, p_guest_token_hash bytea, p_carry_attributes boolean,
                               p_client_address inet, p_user_agent text, p_attributes jsonb) returns uuid
    language plpgsql
    as $$
declare
    v_user    tenure.users;
    v_session tenure.sessions;
    v_guest   jsonb;
    v_attributes jsonb := p_attributes;
begin
    if p_kind in ('user', 'integration') then
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
    elsif p_kind <> 'guest' then
        perform tenure.refuse(422, 'kind_not_available', format('Sessions of kind %s are not available.', p_kind), 'Use user, guest or integration.');
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
    return tenure.start_session(v_session, v_user.name, p_client_address, p_user_agent, v_attributes);
end
$$;
comment on function tenure.sign_in(text, text, bytea, boolean, text, int, int, uuid, bytea, boolean, inet, text, jsonb) is
    'Starts a session of kind user, guest or integration and returns its id; refuses unknown, locked-out and, where they have no access, inactive users.';

-- tenure.end_guest: ends the guest session a sign-in replaces (K3); answers its attributes, or null when there is none to end.
create function tenure.end_guest(p_id uuid, p_token_hash bytea) returns jsonb
    language plpgsql
    as $$
declare
    v_attributes jsonb;
begin
    perform from tenure.sessions s where s.id = p_id and s.token_hash = p_token_hash and s.kind = 'guest' for update;
    if not found or tenure.end_due(p_id) then
        return null;
    end if;
    select a.attributes into v_attributes from tenure.session_attributes a where a.session_id = p_id;
    perform tenure.end_sessions(array[p_id], array['signed_in'], array[tenure.now()], tenure.actor());
    perform tenure.invalidate('s', array[p_id::text]);
    return coalesce(v_attributes, '{}');
end
$$;
comment on function tenure.end_guest(uuid, bytea) is 'Ends a live guest session by signing in; null when the token is not one.';

-- tenure.terminate: ends a session by decision (U5): true now, false when it was over already.
create function tenure.terminate(id uuid, reason text default 'terminated') returns boolean
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
begin
    if terminate.reason not in ('terminated', 'maintenance', 'signed_out', 'token_reuse', 'concurrent_limit') then
        perform tenure.refuse(422, 'unknown_reason', format('%L is not a reason for ending a session by decision.', terminate.reason),
                              'Use terminated or maintenance.');
    end if;
    perform from tenure.sessions s where s.id = terminate.id for update;
    if not found then
        perform from tenure.ended_sessions e where e.id = terminate.id;
        if not found then
            perform tenure.refuse(404, 'unknown_session', 'There is no session of this id, live or retained.', 'List sessions to find its id.');
        end if;
        return false;
    end if;
    if tenure.end_due(terminate.id) then
        return false;
    end if;
    perform tenure.end_sessions(array[terminate.id], array[terminate.reason], array[tenure.now()], tenure.actor());
    perform tenure.invalidate('s', array[terminate.id::text]);
    return true;
end
$$;
comment on function tenure.terminate(uuid, text) is
    'Ends one session; its user is not locked out and keeps every other session. True when it ended now, false when it was already over.';

-- tenure.sign_out: ends a session as signed out; kind user leaves a guest session (K4), returned by id.
create function tenure.sign_out(p_id uuid, p_guest_token_hash bytea) returns uuid
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
    return tenure.start_session(v_guest, null, v_where.client_address, v_where.user_agent, '{}');
end
$$;
comment on function tenure.sign_out(uuid, bytea) is
    'Ends a session by its own client; the id of the guest session left behind, or null for other kinds and sessions already over.';

-- tenure.rotate: gives a live session a new token; the old one is dead at commit.
create function tenure.rotate(p_id uuid, p_token_hash bytea) returns boolean
    language plpgsql
    as $$
begin
    perform from tenure.sessions s where s.id = p_id for update;
    if not found or tenure.end_due(p_id) then
        return false;
    end if;
    -- session_rotate
    with rotated as (
        update tenure.sessions s set token_hash = p_token_hash where s.id = p_id
        returning s.id, (select u.name from tenure.users u where u.id = s.user_id) as user_name
    )
    insert into tenure.session_events (id, at, type, session_id, user_name, actor, node)
    select tenure.uuid_v7(n.at), n.at, 'token_rotated', r.id, r.user_name, tenure.actor(), tenure.node()
      from rotated r, (select tenure.now() as at) n;
    perform tenure.invalidate('s', array[p_id::text]);
    return true;
end
$$;
comment on function tenure.rotate(uuid, bytea) is 'Replaces the token of a live session; false when it is over.';

-- tenure.end_outdated: ends the sessions whose user's state ends them, whatever snapshot the change of the user ran under.
-- One that was over already ends as what it was, by the store itself (A11).
-- All users at once, in the order of session ids, as every statement that locks several sessions locks them.
create function tenure.end_outdated(p_user_ids bigint[]) returns bigint
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
    return coalesce(case when v_due is not null then tenure.end_sessions(v_due, v_causes, v_ats, 'tenure') end, 0)
         + coalesce(case when v_barred is not null
                         then tenure.end_sessions(v_barred, v_reasons, array_fill(v_now, array[cardinality(v_barred)]), tenure.actor()) end, 0);
end
$$;
comment on function tenure.end_outdated(bigint[]) is
    'Ends a user''s sessions of an older epoch: what the user trigger calls, and every node again for a change it could not see.';

-- tenure.open_transactions: what makes a session active (C2): opened within 10 minutes through a node whose lease lives.
create view tenure.open_transactions as
select t.session_id, t.id, t.node_id, t.started_at
  from tenure.transactions t
  join tenure.nodes n on n.id = t.node_id
 where t.started_at > (select tenure.now()) - interval '10 minutes'
   and n.beat_at > (select tenure.now()) - tenure.lease_interval();
comment on view tenure.open_transactions is 'Transactions that are open and have not lapsed.';

-- tenure.session_facts: a row of sessions with all that a reader needs to judge and show it; the program mirrors tenure.limits on it.
create view tenure.session_facts as
select s.id, s.token_hash, s.kind, u.name as user_name, s.device, s.remember_me, s.residue, s.created_at, s.anchor_at, s.refresh_seconds,
       s.idle_limit_seconds, s.window_seconds, o.name as oauth_entity, s.app_state, s.app_state_at, s.node, s.user_id,
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
comment on view tenure.session_facts is 'Rows of sessions with user, place, policy and deadline, over or not: what the program reads.';

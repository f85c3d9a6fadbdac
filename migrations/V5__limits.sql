-- V5 limits: the one place that turns a session and a policy into deadlines, and the one that ends sessions.

-- tenure.limits: every limit of a session as an instant, the earliest of them, and its reason (SEMANTICS 3, M2, K4).
-- It is a plain, stable SQL function so that the planner writes it into the statement that calls it.
-- Only seconds are added: a day would be an hour off over a change of daylight saving time.
create function tenure.limits(s tenure.sessions, p tenure.policies)
    returns table (idle_deadline_at timestamptz, max_life_deadline_at timestamptz, remember_me_deadline_at timestamptz,
                   residue_deadline_at timestamptz, expires_at timestamptz, reason text)
    language sql stable
    as $$
    select l.idle, l.max_life, l.remember_me, l.residue,
           least(l.max_life, l.remember_me, l.residue, l.idle),
           case least(l.max_life, l.remember_me, l.residue, l.idle)      -- on a tie the first named wins (A11)
               when l.max_life    then 'max_life'
               when l.remember_me then 'remember_me'
               when l.residue     then 'residue'
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
                   case when s.residue then s.created_at + make_interval(secs => p.residue_seconds) end as residue      -- K4
           ) as l
    $$;
comment on function tenure.limits(tenure.sessions, tenure.policies) is
    'The candidate deadlines of a session under a policy; a limit that does not apply is null. Every check, sweep, view and explanation selects from here.';

-- tenure.counted_anchor: where activity moves the anchor (A3 to A5); never backwards (A7).
create function tenure.counted_anchor(s tenure.sessions, p tenure.policies, activity text, at timestamptz) returns timestamptz
    language sql stable
    as $$
    select greatest(s.anchor_at,
               case
                   when activity in ('user', 'ajax', 'chat_poll') then at                               -- A3
                   when activity = 'auto_refresh' and s.kind = 'user' and s.device = 'desktop' and p.auto_refresh_extends then
                       least(s.anchor_at + make_interval(secs => s.refresh_seconds), at)                -- A4: null means at
                   else s.anchor_at                                                                     -- A5
               end)
    $$;
comment on function tenure.counted_anchor(tenure.sessions, tenure.policies, text, timestamptz) is
    'The activity anchor after an activity at an instant; activity that does not count leaves it where it is.';

-- tenure.barred: why the user's state alone ends a session, whatever its deadlines (U1, U3); null when it does not.
create function tenure.barred(s tenure.sessions, u tenure.users, p tenure.policies) returns text
    language sql stable
    as $$
    select case
               when s.user_id is null                     then null
               when p.refuse_inactive and not u.active    then 'inactivated'
               when u.locked_out or u.epoch <> s.user_epoch then 'locked_out'
           end
    $$;
comment on function tenure.barred(tenure.sessions, tenure.users, tenure.policies) is
    'locked_out or inactivated when the user''s state ends the session; null otherwise. The epoch catches a sign-in that raced with a lock-out.';

-- tenure.ended_here: how many sessions this transaction has ended so far.
create function tenure.ended_here() returns bigint
    language sql stable
    as $$ select coalesce(nullif(current_setting('tenure.ended', true), ''), '0')::bigint $$;
comment on function tenure.ended_here() is 'How many sessions this transaction has ended so far, whatever the cause.';

-- tenure.end_sessions: moves sessions to ended_sessions with exactly one event each, in one statement; their children go with them.
-- Callers hold the row locks, or do not mind that another ending came first.
-- The generic plan looks every row up by its key; a plan made for long arrays would read whole tables for each batch.
create function tenure.end_sessions(p_ids uuid[], p_reasons text[], p_ats timestamptz[], p_actor text) returns bigint
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
               ended_at, end_reason, ended_by, ended_on)
        select g.id, g.token_hash, g.kind, g.user_id, u.name, g.device, g.remember_me, g.residue, g.created_at, g.anchor_at, g.refresh_seconds,
               g.idle_limit_seconds, g.window_seconds, o.name, g.app_state, g.app_state_at, g.node, a.client_address, a.user_agent,
               g.at, g.reason, p_actor, tenure.node()
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
comment on function tenure.end_sessions(uuid[], text[], timestamptz[], text) is
    'Ends sessions: id, reason and instant of each, then who does it (tenure: the store itself). Returns how many were still there.';

-- tenure.end_due: ends one session that is over by its deadline or its user's state; false when it is not, or is gone.
create function tenure.end_due(p_id uuid) returns boolean
    language plpgsql
    as $$
declare
    v_now    timestamptz := tenure.now();
    v_reason text;
    v_at     timestamptz;
begin
    select coalesce(case when l.expires_at <= v_now then l.reason end, tenure.barred(s, u, p)),
           least(l.expires_at, v_now)
      into v_reason, v_at
      from tenure.sessions s
      join tenure.policies p on p.kind = s.kind
      left join tenure.users u on u.id = s.user_id
     cross join lateral tenure.limits(s, p) l
     where s.id = p_id
       for update of s;
    if v_reason is null then
        return false;
    end if;
    return tenure.end_sessions(array[p_id], array[v_reason], array[v_at], 'tenure') > 0;
end
$$;
comment on function tenure.end_due(uuid) is 'Ends one session if it is over; what a check calls before it answers that it is.';

-- tenure.sweep: one batch of the expiry sweep: from where the sweeper stands, ends what is over and re-arms the rest.
-- Rows that someone holds are skipped and met again by the next full scan.
-- The generic plan: planning for given values probes the end of the index, where dead entries wait for vacuum.
create function tenure.sweep(p_from timestamptz, p_from_id uuid, p_batch int,
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
    -- sweep_next
    select s.due_at into next_due_at
      from tenure.sessions s
     where (s.due_at, s.id) > (reached_at, reached_id)
     order by s.due_at, s.id
     limit 1;
    select sum(p.revision) into revision from tenure.policies p;
end
$$;
comment on function tenure.sweep(timestamptz, uuid, int) is
    'One sweep batch from a position in (due_at, id): how many ended and were re-armed, the position reached, when the next row is due, and the revision of the policies.';

-- tenure.lower_deadlines: one batch of the job owed after a tightened policy: ends what is over, lowers due_at of the rest.
-- It waits for locked rows. The second pass, 5 s later, meets rows written under the old policy by statements then still running.
create function tenure.lower_deadlines(p_batch int, out kind text, out examined bigint, out ended bigint, out lowered bigint)
    language plpgsql
    as $$
declare
    v_now    timestamptz := tenure.now();
    v_policy tenure.policies;
    v_last   uuid;
    v_over   uuid[];
    v_reasons text[];
    v_ats    timestamptz[];
begin
    select * into v_policy
      from tenure.policies p
     where p.lowering_pass > 0 and p.lowering_from <= v_now
     order by p.kind
     limit 1
       for no key update skip locked;
    if not found then
        return;
    end if;
    kind := v_policy.kind;

    -- lower_pick
    with batch as materialized (
        select s.id
          from tenure.sessions s
         where s.id > coalesce(v_policy.lowering_after, '00000000-0000-0000-0000-000000000000')
         order by s.id
         limit p_batch
    ), locked as materialized (
        select s.id, s.due_at, l.expires_at,
               coalesce(case when l.expires_at <= v_now then l.reason end, tenure.barred(s, u, v_policy)) as reason
          from tenure.sessions s
          left join tenure.users u on u.id = s.user_id
         cross join lateral tenure.limits(s, v_policy) l
         where s.id in (select b.id from batch b)
           and s.kind = v_policy.kind
           and (s.due_at > l.expires_at or l.expires_at <= v_now or tenure.barred(s, u, v_policy) is not null)
         order by s.id
           for update of s
    ), lowering as (
        update tenure.sessions s set due_at = k.expires_at
          from locked k
         where s.id = k.id and k.reason is null
        returning s.id
    )
    select (select count(*) from batch), (select b.id from batch b order by b.id desc limit 1), (select count(*) from lowering),
           (select array_agg(k.id     order by k.id) from locked k where k.reason is not null),
           (select array_agg(k.reason order by k.id) from locked k where k.reason is not null),
           (select array_agg(least(k.expires_at, v_now) order by k.id) from locked k where k.reason is not null)
      into examined, v_last, lowered, v_over, v_reasons, v_ats;

    ended := case when v_over is null then 0
                  else tenure.end_sessions(v_over, v_reasons, v_ats, 'tenure') end;

    update tenure.policies p
       set lowering_after = case when examined = p_batch then v_last end,
           lowering_pass  = case when examined = p_batch then p.lowering_pass else p.lowering_pass - 1 end,
           lowering_from  = case when examined = p_batch then p.lowering_from else v_now + interval '5 seconds' end,
           revision       = case when examined = p_batch then p.revision else p.revision + 1 end
     where p.kind = v_policy.kind;
end
$$;
comment on function tenure.lower_deadlines(int) is
    'One batch of the job that follows a tightened policy; kind is null when nothing is owed now. Any node goes on where another stopped.';

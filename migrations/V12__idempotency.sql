-- V12 idempotency: sign-ins that may be repeated, and events in the order of their transactions.

-- No table had room for it: what belongs to a session dies with it, but a repetition after its end still needs an answer, and
-- events are partitioned by id, so that no unique index could make the second of two sign-ins wait for the first.
create table tenure.idempotency_keys (
    api_key_id   uuid        not null,
    key_hash     bytea       not null,
    request_hash bytea       not null,
    session_id   uuid,
    created_at   timestamptz not null,
    constraint idempotency_keys_pkey primary key (api_key_id, key_hash),
    constraint idempotency_keys_key_hash_check     check (length(key_hash) = 32),
    constraint idempotency_keys_request_hash_check check (length(request_hash) = 32)
);
create index idempotency_keys_created_at_idx on tenure.idempotency_keys (created_at);
comment on table  tenure.idempotency_keys              is 'Sign-ins that named an Idempotency-Key within the last 24 hours: what a repetition is answered from.';
comment on column tenure.idempotency_keys.api_key_id   is 'The API key that sent it: each has keys of its own.';
comment on column tenure.idempotency_keys.key_hash     is 'SHA-256 of the Idempotency-Key.';
comment on column tenure.idempotency_keys.request_hash is 'SHA-256 of what was asked for: another request under the same key is refused.';
comment on column tenure.idempotency_keys.session_id   is 'The session it started; null only within the transaction that starts it.';
comment on column tenure.idempotency_keys.created_at   is 'When it was first used; it is forgotten 24 hours later.';

-- tenure.sign_in_once: tenure.sign_in for the first request of a key; for a repetition a new token of the session it started.
-- The row of the key comes first: who comes second waits there until the first has committed or failed.
create function tenure.sign_in_once(p_api_key_id uuid, p_key_hash bytea, p_request_hash bytea, p_kind text, p_user text, p_token_hash bytea,
                                    p_remember_me boolean, p_device text, p_refresh_minutes int, p_idle_limit_minutes int, p_guest_id uuid,
                                    p_guest_token_hash bytea, p_carry_attributes boolean, p_client_address inet, p_user_agent text,
                                    p_attributes jsonb, p_oauth_entity text default null, p_refresh_hash bytea default null,
                                    p_access_hash bytea default null,
                                    out session_id uuid, out repeated boolean, out live boolean)
    language plpgsql
    as $$
declare
    v_now  timestamptz := tenure.now();
    v_once tenure.idempotency_keys;
    v_life           interval;
    v_access_seconds int;
begin
    -- idempotency_claim: a row past its day is taken over, a younger one is only locked
    insert into tenure.idempotency_keys as k (api_key_id, key_hash, request_hash, created_at)
    values (p_api_key_id, p_key_hash, p_request_hash, v_now)
        on conflict on constraint idempotency_keys_pkey do update
           set request_hash = excluded.request_hash, session_id = null, created_at = excluded.created_at
         where k.created_at <= v_now - interval '24 hours';
    repeated := not found;
    if not repeated then
        session_id := tenure.sign_in(p_kind, p_user, p_token_hash, p_remember_me, p_device, p_refresh_minutes, p_idle_limit_minutes,
                                     p_guest_id, p_guest_token_hash, p_carry_attributes, p_client_address, p_user_agent, p_attributes,
                                     p_oauth_entity, p_refresh_hash, p_access_hash);
        live := true;
        -- idempotency_settle
        update tenure.idempotency_keys k set session_id = sign_in_once.session_id
         where k.api_key_id = p_api_key_id and k.key_hash = p_key_hash;
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
    'Starts one session for an Idempotency-Key, however often it is asked. A repetition gives the session another token, because the first one is stored nowhere; live is false when it has ended meanwhile.';

-- Who follows the events reads them by transaction: ids are made before the commit, so they say nothing of what became visible when.
create index session_events_xid_idx on tenure.session_events (xid, id);

revoke execute on all functions in schema tenure from public;

-- V11 access: API keys that expire and that say when they were used.

alter table tenure.api_keys
    add column expires_at   timestamptz,
    add column last_used_at timestamptz,
    add constraint api_keys_expires_at_check check (expires_at > created_at);
comment on column tenure.api_keys.expires_at   is 'From when it is void; null never.';
comment on column tenure.api_keys.last_used_at is 'When a node last noted its use, once a minute at most; null never.';

-- tenure.api_keys_follow: as in V7, but a note of use is no change: it writes no event, and no node forgets the key. An event
-- says until when a key is good.
create or replace function tenure.api_keys_follow() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
begin
    if tg_op = 'INSERT' then
        perform tenure.note('api_key_created', null, null,
                            jsonb_build_object('name', n.name, 'role', n.role, 'expires_at', n.expires_at))
           from new_rows n;
    elsif tg_op = 'UPDATE' then
        perform tenure.note('api_key_changed', null, null,
                            jsonb_build_object('name', n.name, 'role', n.role, 'expires_at', n.expires_at))
           from new_rows n
          where not exists (select from old_rows o
                             where o.id = n.id and to_jsonb(o) - 'last_used_at' = to_jsonb(n) - 'last_used_at');
        -- The old ids as well: nodes know a key by its id, which plain SQL may change.
        perform tenure.invalidate('k', array_agg(o.id::text))
           from old_rows o
          where not exists (select from new_rows n
                             where n.id = o.id and to_jsonb(n) - 'last_used_at' = to_jsonb(o) - 'last_used_at')
         having count(*) > 0;
    else
        perform tenure.note('api_key_revoked', null, null, jsonb_build_object('name', o.name, 'role', o.role)) from old_rows o;
        perform tenure.invalidate('k', array_agg(o.id::text)) from old_rows o having count(*) > 0;
    end if;
    return null;
end
$$;

-- V18 oauth_audit: the audit tells a secret that was replaced from a lifespan that was changed.

-- tenure.oauth_entities_follow: as in V7, and what a client application has to be told of is in its event: its client id, and
-- whether it has a secret and got another one. No digest of a secret is.
create or replace function tenure.oauth_entities_follow() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
begin
    if tg_op = 'DELETE' then
        perform tenure.note('oauth_entity_deleted', null, null, jsonb_build_object('name', o.name)) from old_rows o;
    elsif tg_op = 'INSERT' then
        perform tenure.note('oauth_entity_created', null, null,
                            jsonb_build_object('name', n.name, 'access_token_lifespan', n.access_token_lifespan,
                                               'refresh_token_lifespan', n.refresh_token_lifespan,
                                               'client_id', n.client_id, 'public', n.client_secret_hash is null))
           from new_rows n;
    else
        perform tenure.note('oauth_entity_changed', null, null,
                            jsonb_build_object('name', n.name, 'access_token_lifespan', n.access_token_lifespan,
                                               'refresh_token_lifespan', n.refresh_token_lifespan)
                            || jsonb_strip_nulls(jsonb_build_object(
                                   'client_id',  case when n.client_id <> o.client_id then jsonb_build_object('old', o.client_id, 'new', n.client_id) end,
                                   'public',     case when (n.client_secret_hash is null) <> (o.client_secret_hash is null)
                                                      then jsonb_build_object('old', o.client_secret_hash is null, 'new', n.client_secret_hash is null) end,
                                   'secret_set', case when n.client_secret_hash <> coalesce(o.client_secret_hash, '') then true end)))
           from new_rows n
           join old_rows o on o.id = n.id;
    end if;
    return null;
end
$$;

revoke execute on all functions in schema tenure from public;
